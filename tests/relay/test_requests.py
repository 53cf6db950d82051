"""What waits of one client: whole requests, put together into what is sent at once."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.framing import FrameError, FrameSizeError, Use, parse_framing
from fastcar_tw.relay.requests import MAX_BATCH_BYTES, MAX_BATCH_REQUESTS, Batch, RequestQueue

from .support import SIGNS


def lines(max_frame: int = 1 << 20) -> RequestQueue:
    """For requests that have nothing to do with one another."""
    return RequestQueue(parse_framing("eof:\\n", max_frame))


def signs(max_frame: int = 1 << 20) -> RequestQueue:
    """For requests that say what they do to their connection."""
    return RequestQueue(parse_framing(SIGNS, max_frame))


def everything(queue: RequestQueue) -> list[Batch]:
    """All batches."""
    batches = []
    while (batch := queue.next()) is not None:
        batches.append(batch)
    return batches


class BatchTests(SynchronousTestCase):
    """Requests that have nothing to do with one another."""

    def test_nothing(self) -> None:
        """Of nothing there is nothing to send."""
        queue = lines()
        self.assertIsNone(queue.next())
        self.assertFalse(queue.partial)
        self.assertEqual((queue.size, queue.rest(), queue.last), (0, b"", None))

    def test_one(self) -> None:
        """A request is sent as soon as it is whole, however many pieces it came in."""
        queue = lines()
        for piece in (b"a", b"b", b"c"):
            queue.feed(piece)
            self.assertIsNone(queue.next())
            self.assertTrue(queue.partial)
            self.assertEqual(queue.size, 0)
        queue.feed(b"\n")
        self.assertFalse(queue.partial)
        self.assertEqual(queue.size, 4)
        self.assertEqual(everything(queue), [Batch(b"abc\n", 1)])
        self.assertEqual(queue.size, 0)

    def test_together(self) -> None:
        """Requests that came together are sent together, without the one that is not whole."""
        queue = lines()
        queue.feed(b"a\nbc\nd")
        self.assertEqual((queue.size, queue.partial), (5, True))
        self.assertEqual(everything(queue), [Batch(b"a\nbc\n", 2)])
        queue.feed(b"e\nf\n")
        self.assertEqual((queue.size, queue.partial), (5, False))
        self.assertEqual(everything(queue), [Batch(b"de\nf\n", 2)])

    def test_joined(self) -> None:
        """So are requests that came one after another and waited."""
        queue = lines()
        for piece in (b"a\n", b"b\nc\n", b"d", b"\n"):
            queue.feed(piece)
        self.assertEqual(queue.size, 8)
        self.assertEqual(everything(queue), [Batch(b"a\nb\nc\nd\n", 4)])
        self.assertEqual(queue.size, 0)

    def test_many(self) -> None:
        """No more than so many are sent together, whether they came together or not."""
        for count in (1, MAX_BATCH_REQUESTS - 1, MAX_BATCH_REQUESTS, MAX_BATCH_REQUESTS + 1):
            for make in (lines, signs):
                together, apart = make(), make()
                together.feed(b"a\n" * (count + MAX_BATCH_REQUESTS))
                for _ in range(count + MAX_BATCH_REQUESTS):
                    apart.feed(b"a\n")
                for queue in (together, apart):
                    batches = everything(queue)
                    self.assertEqual(batches[0], Batch(b"a\n" * MAX_BATCH_REQUESTS, 128))
                    self.assertEqual(sum(each.number for each in batches), count + 128)
                    self.assertLessEqual(max(each.number for each in batches), 128)
                    self.assertEqual(
                        b"".join(each.data for each in batches), b"a\n" * (count + 128)
                    )
                    self.assertEqual(queue.size, 0)

    def test_long(self) -> None:
        """No more bytes than so many are put together."""
        queue = lines()
        half = b"x" * (MAX_BATCH_BYTES // 2 - 1) + b"\n"
        for piece in (half, half, b"y\n"):
            queue.feed(piece)
        self.assertEqual(everything(queue), [Batch(half + half, 2), Batch(b"y\n", 1)])
        for piece in (half, b"x" + half, b"y\n"):
            queue.feed(piece)
        self.assertEqual(everything(queue), [Batch(half, 1), Batch(b"x" + half + b"y\n", 2)])

    def test_longer(self) -> None:
        """A single one is sent, however long it is."""
        queue = lines()
        long = b"x" * (3 * MAX_BATCH_BYTES) + b"\n"
        for piece in (b"a\n", long, b"b\n"):
            queue.feed(piece)
        self.assertEqual(everything(queue), [Batch(b"a\n", 1), Batch(long, 1), Batch(b"b\n", 1)])

    def test_refused(self) -> None:
        """What is no request is refused; what came before it can be sent."""
        for pieces in (
            [b"before\n", b"123456789"],
            [b"before\n123456789"],
            [b"bef", b"ore\n123456789"],
            [b"before\n1234", b"56789"],
            [b"bef", b"ore\n123456789\nbehind\n"],
        ):
            queue = lines(8)
            for piece in pieces[:-1]:
                queue.feed(piece)
            self.assertRaises(FrameSizeError, queue.feed, pieces[-1])
            self.assertEqual(everything(queue), [Batch(b"before\n", 1)])
            self.assertEqual(queue.size, 0)

    def test_refused_behind_last(self) -> None:
        """Behind a request that needs a connection of its own nothing is refused."""
        for pieces in ([b"a\n!\n", b"123456789"], [b"a\n!\n123456789"]):
            queue = signs(8)
            for piece in pieces:
                queue.feed(piece)
            self.assertEqual(everything(queue), [Batch(b"a\n", 1)])
            self.assertEqual((queue.last, queue.rest()), (Use.OWN, b"!\n123456789"))


class UseTests(SynchronousTestCase):
    """Requests that do something to their connection."""

    def cut(self, data: bytes, queue: RequestQueue | None = None) -> list[Batch]:
        """The batches of what came in one piece."""
        queue = queue or signs()
        queue.feed(data)
        batches = everything(queue)
        self.assertEqual(queue.size, 0)
        return batches

    def test_shared(self) -> None:
        """Most do nothing."""
        self.assertEqual(self.cut(b"a\nb\nc"), [Batch(b"a\nb\n", 2)])

    def test_begins(self) -> None:
        """From one that begins something on, the connection stays."""
        queue = signs()
        self.assertEqual(self.cut(b"a\n", queue), [Batch(b"a\n", 1, holds=False)])
        self.assertEqual(self.cut(b"+\n", queue), [Batch(b"+\n", 1, holds=True)])
        self.assertEqual(self.cut(b"b\nc\n", queue), [Batch(b"b\nc\n", 2, holds=True)])
        self.assertEqual(self.cut(b"-\n", queue), [Batch(b"-\n", 1, holds=False, ends=True)])
        self.assertEqual(self.cut(b"d\n", queue), [Batch(b"d\n", 1, holds=False)])

    def test_begins_within(self) -> None:
        """What counts is how a batch leaves the connection."""
        self.assertEqual(self.cut(b"a\n+\n"), [Batch(b"a\n+\n", 2, holds=True)])
        self.assertEqual(self.cut(b"+\na\n"), [Batch(b"+\na\n", 2, holds=True)])
        self.assertEqual(self.cut(b"+\na\n-\n"), [Batch(b"+\na\n-\n", 3, ends=True)])

    def test_ends(self) -> None:
        """What ends something is the last of its batch: how it fared has to be seen."""
        self.assertEqual(
            self.cut(b"+\n-\na\n+\nb\n-\nc\n"),
            [
                Batch(b"+\n-\n", 2, ends=True),
                Batch(b"a\n+\nb\n-\n", 4, ends=True),
                Batch(b"c\n", 1),
            ],
        )

    def test_nothing(self) -> None:
        """What has no response is left out, and is no request that has begun."""
        self.assertEqual(self.cut(b"#\na\n#x\n#y\nb\n#\n"), [Batch(b"a\nb\n", 2)])
        queue = signs()
        queue.feed(b"#")
        self.assertTrue(queue.partial)
        queue.feed(b"\n")
        self.assertFalse(queue.partial)
        self.assertIsNone(queue.next())

    def test_own(self) -> None:
        """From one that needs a connection of its own on nothing is told apart."""
        queue = signs()
        queue.feed(b"a\nb\n!own\nc\n.\n?\nd")
        self.assertEqual((queue.last, queue.partial), (Use.OWN, False))
        self.assertEqual(queue.size, 4 + 12)
        queue.feed(b"e\nf")
        self.assertEqual(queue.size, 4 + 15)
        self.assertEqual(everything(queue), [Batch(b"a\nb\n", 2)])
        self.assertEqual(queue.size, 15)
        self.assertEqual(queue.rest(), b"!own\nc\n.\n?\nde\nf")
        self.assertEqual((queue.size, queue.rest()), (0, b""))

    def test_own_in_pieces(self) -> None:
        """So it is if that one came in pieces."""
        queue = signs()
        for piece in (b"a\n!o", b"w", b"n\nb", b"\n"):
            queue.feed(piece)
        self.assertEqual(everything(queue), [Batch(b"a\n", 1)])
        self.assertEqual(queue.rest(), b"!own\nb\n")

    def test_last(self) -> None:
        """What follows the last one is of no interest."""
        queue = signs()
        queue.feed(b"a\n.\nb\n?\n")
        queue.feed(b"c\n" * 1000)
        self.assertEqual((queue.last, queue.partial, queue.size), (Use.LAST, False, 2))
        self.assertEqual(everything(queue), [Batch(b"a\n", 1)])
        self.assertEqual(queue.rest(), b"")

    def test_refused(self) -> None:
        """What the session refuses is refused; what came before it can be sent."""
        for pieces in ([b"a\n+\nb\n", b"?\nc\n"], [b"a\n+\nb\n?\nc\n"], [b"a\n+\nb", b"\n?\nc\n"]):
            queue = signs()
            for piece in pieces[:-1]:
                queue.feed(piece)
            self.assertRaises(FrameError, queue.feed, pieces[-1])
            self.assertEqual(everything(queue), [Batch(b"a\n+\nb\n", 3, holds=True)])
            self.assertIsNone(queue.last)


class PropertyTests(SynchronousTestCase):
    """Whatever comes, in whatever pieces, and whenever it is asked for."""

    @settings(max_examples=200, derandomize=True, deadline=None, database=None)
    @given(
        sent=st.lists(
            st.tuples(st.sampled_from([b"", b"", b"", b"+", b"-", b"#", b"!", b"."]), st.binary()),
            max_size=30,
        ),
        cuts=st.lists(st.integers(0, 400), max_size=12),
        takes=st.lists(st.booleans(), max_size=13),
        end=st.sampled_from([b"", b"x", b"+", b"!"]),
    )
    def test_same(
        self, sent: list[tuple[bytes, bytes]], cuts: list[int], takes: list[bool], end: bytes
    ) -> None:
        """Batches are what was sent, in order, with the right numbers, and hold where they must."""
        requests = [sign + text.translate(None, b"\n?") + b"\n" for sign, text in sent]
        data = b"".join(requests) + end
        bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        queue = signs()
        batches = []
        for number, (start, stop) in enumerate(pairwise(bounds)):
            queue.feed(data[start:stop])
            if number < len(takes) and takes[number] and (batch := queue.next()) is not None:
                batches.append(batch)
        waiting = queue.size
        rest = everything(queue)
        batches += rest
        last = next((i for i, each in enumerate(requests) if each[:1] in (b"!", b".")), None)
        counted = [each for each in requests[:last] if each[:1] != b"#"]
        own = last is not None and requests[last][:1] == b"!"
        self.assertEqual(b"".join(each.data for each in batches), b"".join(counted))
        kept = b"".join(requests[last:]) + end if own else b""
        self.assertEqual(queue.size, len(kept))
        self.assertEqual(waiting, len(kept) + sum(len(each.data) for each in rest))
        self.assertEqual(queue.partial, last is None and bool(end))
        self.assertEqual(queue.last, None if last is None else Use.OWN if own else Use.LAST)
        if last is not None:
            self.assertEqual(queue.rest(), kept)
        self.check(batches, counted)

    def check(self, batches: list[Batch], requests: list[bytes]) -> None:
        """Check each batch against the requests in it."""
        at, holding = 0, False
        for data, number, holds, ends in batches:
            within = requests[at : at + number]
            at += number
            self.assertEqual(data, b"".join(within))
            signs = [each[:1] for each in within]
            self.assertNotIn(b"-", signs[:-1])
            self.assertEqual(ends, signs[-1] == b"-")
            for sign in signs:
                holding = sign == b"+" or (holding and sign != b"-")
            self.assertEqual(holds, holding)
