"""Frames that tell their length in a header of fixed size."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.framing import Framer, FrameSizeError, FramingError
from fastcar_tw.relay.framings.length import LengthFraming
from tests.relay.framings.support import ends, every_split, fails


def counted(body: bytes) -> bytes:
    """A frame of length:N:0:4."""
    return struct.pack(">I", len(body)) + body


class Ends(SynchronousTestCase):
    """Where frames end."""

    def framer(self) -> Framer:
        """A framer of bodies behind four bytes of length, of up to 100 bytes together."""
        return LengthFraming("N:0:4", 100).requests()

    def test_whole(self) -> None:
        """A frame ends behind its body."""
        self.assertEqual(self.framer().feed(counted(b"hello")), [9])

    def test_several(self) -> None:
        """All frames of a read are found; a body may be empty."""
        stream = counted(b"a") + counted(b"") + counted(b"bc")
        self.assertEqual(self.framer().feed(stream), [5, 9, 15])

    def test_partial(self) -> None:
        """A body and a length may go on in later reads."""
        framer = self.framer()
        self.assertEqual(framer.feed(counted(b"hello")[:6]), [])
        self.assertEqual(framer.feed(b""), [])
        self.assertEqual(framer.feed(b"llo" + b"\0"), [3])
        self.assertEqual(framer.feed(b"\0\0\x02ab" + counted(b"c")), [5, 10])

    def test_every_split(self) -> None:
        """However frames are split, in the midst of a length too, their ends are found."""
        stream = counted(b"first") + counted(b"") + counted(b"\0" * 30) + counted(b"last")[:-1]
        self.assertEqual(every_split(self.framer, stream), [9, 13, 47])

    def test_types(self) -> None:
        """A length is packed as PHP's pack does it by the same letter."""
        for kind, packed in (
            ("C", b"\x03"),
            ("n", b"\0\x03"),
            ("v", b"\x03\0"),
            ("N", b"\0\0\0\x03"),
            ("V", b"\x03\0\0\0"),
            ("J", b"\0\0\0\0\0\0\0\x03"),
            ("P", b"\x03\0\0\0\0\0\0\0"),
        ):
            with self.subTest(kind=kind):
                size = len(packed)
                framing = LengthFraming(f"{kind}:0:{size}", 100)
                frame = packed + b"abc"
                self.assertEqual(
                    every_split(framing.responses, frame * 2 + packed),
                    [
                        size + 3,
                        2 * size + 6,
                    ],
                )

    def test_length_of_all(self) -> None:
        """With a BODY_OFFSET of 0 the length is that of the whole frame."""
        framing = LengthFraming("n:2:0", 100)
        self.assertEqual(every_split(framing.requests, b"xx\0\x06ab" + b"yy\0\x04"), [6, 10])

    def test_body_begins_before_the_length(self) -> None:
        """The length may count a part of the header."""
        framing = LengthFraming("C:3:2", 100)
        self.assertEqual(every_split(framing.requests, b"abc\x04de" + b"fgh\x02"), [6, 10])

    def test_body_begins_behind_more(self) -> None:
        """The header may go on behind the length, and is not counted."""
        framing = LengthFraming("C:1:5", 100)
        self.assertEqual(
            every_split(framing.requests, b"a\x02bcdEF" + b"g\0hij" + b"k\0l"), [7, 12]
        )

    def test_memcached_binary(self) -> None:
        """memcached's binary protocol is length:N:8:24."""
        # get "Hello", and the answer with four bytes of flags and the value "World".
        get = struct.pack(">BBHBBHIIQ", 0x80, 0, 5, 0, 0, 0, 5, 1, 0) + b"Hello"
        answer = struct.pack(">BBHBBHIIQI", 0x81, 0, 0, 4, 0, 0, 9, 1, 1, 0xDEADBEEF) + b"World"
        framing = LengthFraming("N:8:24", 2 << 20)
        self.assertEqual(every_split(framing.requests, get * 3), [29, 58, 87])
        self.assertEqual(every_split(framing.responses, answer * 2), [33, 66])


class Sizes(SynchronousTestCase):
    """Which lengths are refused."""

    def test_largest(self) -> None:
        """Frames may have as many bytes as --max-frame says, their headers included."""
        framing = LengthFraming("N:0:4", 10)
        self.assertEqual(every_split(framing.requests, counted(b"123456") * 2), [10, 20])
        said = fails(framing.requests, counted(b"1") + counted(b"1234567"))
        self.assertEqual(said, "expected a frame of 4 to 10 bytes (--max-frame)")

    def test_known_early(self) -> None:
        """A frame that will be too large is refused with the last byte of its length."""
        framer = LengthFraming("J:0:8", 10).requests()
        self.assertEqual(framer.feed(b"\xff" * 7), [])
        self.assertRaises(FrameSizeError, framer.feed, b"\xff")

    def test_smaller_than_its_header(self) -> None:
        """A frame that ends before its own length does is refused."""
        framing = LengthFraming("n:2:0", 100)
        self.assertEqual(framing.requests().feed(b"xx\0\x04"), [4])
        for length in (0, 3):
            with self.subTest(length=length):
                said = fails(framing.requests, b"xx\0\x04" + struct.pack(">2sH", b"xx", length))
                self.assertEqual(said, "expected a frame of 4 to 100 bytes (--max-frame)")

    def test_smallest(self) -> None:
        """The error names the smallest frame that there is."""
        said = fails(LengthFraming("C:0:24", 100).requests, b"\xff")
        self.assertIn("24 to 100 bytes", said)

    def test_large(self) -> None:
        """A body in many reads costs nothing but its count."""
        frame = counted(bytes(1 << 20))
        chunks = [frame[at : at + 65536] for at in range(0, len(frame), 65536)]
        framer = LengthFraming("N:0:4", 2 << 20).requests()
        self.assertEqual(ends(framer, chunks * 2), [len(frame), 2 * len(frame)])


class Arguments(SynchronousTestCase):
    """What is asked for."""

    def refused(self, argument: str, reason: str, max_frame: int = 100_000) -> None:
        """Assert that an argument is refused, with what would do and why."""
        error = self.assertRaises(FramingError, LengthFraming, argument, max_frame)
        self.assertTrue(error.expected.startswith(LengthFraming.usage), error.expected)
        self.assertIn(reason, error.reason)

    def test_parts(self) -> None:
        """There are three parts."""
        for argument in ("", "N", "N:0", "N:0:4:", "N:0:4:5"):
            with self.subTest(argument=argument):
                self.refused(argument, "three parts")

    def test_type(self) -> None:
        """The types are unsigned and have a byte order; there are no others."""
        for kind in ("", "s", "L", "q", "NN", "c", " N"):
            with self.subTest(kind=kind):
                self.refused(f"{kind}:0:4", "TYPE")

    def test_offsets(self) -> None:
        """An offset is a number in decimal digits."""
        for text in ("", "-1", "+4", "0x4", "4.0", " 4", "4\n", "\u0664", "65536", "9" * 5000):
            with self.subTest(text=text):
                self.refused(f"N:{text}:4", "OFFSET is no number from 0 to 65535")
                self.refused(f"N:0:{text}", "BODY_OFFSET is no number from 0 to 65535")

    def test_no_room(self) -> None:
        """A header that no frame has room for is refused."""
        self.assertEqual(LengthFraming("N:4:8", 8).requests().feed(bytes(8)), [8])
        self.refused("N:5:8", "--max-frame, 8", 8)
        self.refused("N:4:9", "--max-frame, 8", 8)
