"""Request bodies on their way to a script: collected or streamed, and sent again."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from typing import NoReturn

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.request_body import PIECE, CollectedBody, RequestBody, StreamedBody
from fastcar_tw.http.errors import FastcarError


def drain(body: RequestBody) -> bytes:
    """All that there is at present."""
    pieces = []
    while piece := body.take():
        pieces.append(piece)
    return b"".join(pieces)


class FullDisk:
    """
    A file on a disk that is full.

    @cvar room: bytes that are taken before that is noticed.
    """

    room = 0

    def __init__(self, max_size: int = 0) -> None:
        self.written = 0

    def write(self, content: bytes) -> int:
        self.written += len(content)
        if self.written > self.room:
            self._refuse()
        return len(content)

    def seek(self, offset: int) -> int:
        self._refuse()

    def close(self) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/tmp/secret")


class FullLater(FullDisk):
    """One where it is noticed only when all is written."""

    room = 1 << 20


class CollectedBodyTests(SynchronousTestCase):
    """Bodies that have to be complete before a script begins."""

    def body(self, memory: int = 1 << 20, limit: int = 0) -> CollectedBody:
        body = CollectedBody(memory, limit)
        self.addCleanup(body.close)
        return body

    def test_given_back(self) -> None:
        """What was fed comes out in the same order, and the length is its length."""
        body = self.body()
        body.feed(b"one ")
        body.feed(b"two")
        body.end()
        self.assertTrue(body.collected)
        self.assertEqual(body.length, 7)
        self.assertFalse(body.finished)
        self.assertEqual(drain(body), b"one two")
        self.assertTrue(body.finished)

    def test_empty(self) -> None:
        """A body of no bytes is finished at once."""
        body = self.body()
        body.end()
        self.assertEqual(body.length, 0)
        self.assertTrue(body.finished)

    def test_pieces(self) -> None:
        """It is taken in pieces of 64 KiB, the last of which finishes it."""
        body = self.body()
        body.feed(b"x" * (PIECE + 1))
        body.end()
        self.assertEqual(len(body.take()), PIECE)
        self.assertFalse(body.finished)
        self.assertEqual(len(body.take()), 1)
        self.assertTrue(body.finished)

    def test_rewound(self) -> None:
        """It can be taken once more from its beginning, at any time."""
        body = self.body(memory=4)
        content = os.urandom(PIECE + 100)
        body.feed(content)
        body.end()
        body.take()
        self.assertTrue(body.rewind())
        self.assertFalse(body.finished)
        self.assertEqual(drain(body), content)
        self.assertTrue(body.rewind())
        self.assertEqual(drain(body), content)

    def test_limit(self) -> None:
        """A body of as many bytes as are allowed is taken, one byte more is 413."""
        body = self.body(limit=5)
        body.feed(b"12345")
        with self.assertRaises(FastcarError) as caught:
            body.feed(b"6")
        self.assertEqual(caught.exception.status, 413)
        self.assertIn("5 bytes", caught.exception.text)

    def test_no_limit(self) -> None:
        """A limit of 0 is none."""
        body = self.body(limit=0)
        body.feed(b"x" * 100)
        self.assertEqual(body.length, 100)

    def test_no_memory(self) -> None:
        """Where nothing is to be held in memory, everything but the first byte lies in a file."""
        body = self.body(memory=0)
        body.feed(b"12")
        self.assertTrue(body._file._rolled)  # type: ignore[attr-defined]

    def test_in_memory(self) -> None:
        """What does not exceed the memory makes no file."""
        body = self.body(memory=4)
        body.feed(b"1234")
        self.assertFalse(body._file._rolled)  # type: ignore[attr-defined]
        body.feed(b"5")
        self.assertTrue(body._file._rolled)  # type: ignore[attr-defined]

    def full(self, file: FullDisk, act: Callable[[CollectedBody], None]) -> None:
        """Check that a body in this file is told to be too much by an act, and can be closed."""
        body = self.body()
        self.patch(body, "_file", file)
        with self.assertRaises(FastcarError) as caught:
            act(body)
        self.assertEqual(caught.exception.status, 507)
        self.assertIn("No space left", caught.exception.text)
        self.assertNotIn("secret", caught.exception.text)
        body.close()

    def test_disk_full(self) -> None:
        """A body that cannot be stored is 507, which says why and not where."""
        self.full(FullDisk(), lambda body: body.feed(b"x"))

    def test_disk_full_at_end(self) -> None:
        """So is one of which only the last bytes cannot."""

        def act(body: CollectedBody) -> None:
            body.feed(b"x")
            body.end()

        self.full(FullLater(), act)

    def test_closed(self) -> None:
        """When it is of no use any more its file goes."""
        body = self.body(memory=1)
        body.feed(b"xx")
        body.close()
        self.assertTrue(body._file.closed)

    def test_no_directory(self) -> None:
        """So is one for which no file can be made."""
        self.patch(tempfile, "tempdir", "/nonexistent/directory")
        body = self.body(memory=1)
        with self.assertRaises(FastcarError) as caught:
            body.feed(b"xx")
        self.assertEqual(caught.exception.status, 507)

    @given(st.lists(st.binary(max_size=40)), st.integers(0, 100))
    def test_any(self, pieces: list[bytes], memory: int) -> None:
        """Whatever the pieces and the memory, the same bytes come out, twice."""
        body = self.body(memory=memory)
        for piece in pieces:
            body.feed(piece)
        body.end()
        content = b"".join(pieces)
        self.assertEqual(body.length, len(content))
        self.assertEqual(drain(body), content)
        body.rewind()
        self.assertEqual(drain(body), content)


class StreamedBodyTests(SynchronousTestCase):
    """Bodies that are passed on as they come."""

    def test_passed_on(self) -> None:
        """What has come can be taken at once, and is held no longer."""
        body = StreamedBody(7)
        self.assertFalse(body.collected)
        self.assertEqual(body.length, 7)
        self.assertEqual(body.take(), b"")
        body.feed(b"one ")
        body.feed(b"t")
        self.assertEqual(body.take(), b"one t")
        self.assertEqual(body.take(), b"")
        self.assertFalse(body.finished)
        body.feed(b"wo")
        body.end()
        self.assertFalse(body.finished)
        self.assertEqual(body.take(), b"wo")
        self.assertTrue(body.finished)

    def test_not_finished(self) -> None:
        """It is not finished as long as more may come."""
        body = StreamedBody(1)
        self.assertFalse(body.finished)
        body.end()
        self.assertTrue(body.finished)

    def test_rewound(self) -> None:
        """What was taken in one piece can be taken again, in front of what has come since."""
        body = StreamedBody(4)
        body.feed(b"ab")
        body.take()
        body.feed(b"cd")
        self.assertTrue(body.rewind())
        self.assertEqual(body.take(), b"abcd")

    def test_rewound_untouched(self) -> None:
        """Of what was not taken nothing comes twice."""
        body = StreamedBody(2)
        body.feed(b"ab")
        self.assertTrue(body.rewind())
        self.assertEqual(body.take(), b"ab")
        self.assertEqual(body.take(), b"")

    def test_rewound_twice(self) -> None:
        """What was taken again in one piece can be taken a third time."""
        body = StreamedBody(2)
        body.feed(b"ab")
        for _ in range(3):
            self.assertEqual(body.take(), b"ab")
            self.assertTrue(body.rewind())

    def test_not_rewound(self) -> None:
        """What was taken in several pieces is not kept, so it cannot be taken again."""
        body = StreamedBody(2)
        body.feed(b"a")
        body.take()
        body.feed(b"b")
        body.take()
        self.assertFalse(body.rewind())

    def test_nothing_taken(self) -> None:
        """Taking nothing does not count as a piece."""
        body = StreamedBody(2)
        body.take()
        body.feed(b"a")
        body.take()
        body.take()
        self.assertTrue(body.rewind())
        self.assertEqual(body.take(), b"a")
