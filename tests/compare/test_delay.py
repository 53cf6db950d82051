"""One direction of a slow link, on a clock of its own."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.compare.delay import DelayLine


class DelayTests(SynchronousTestCase):
    """Times are such that floats hold them exactly."""

    def take(self, line: DelayLine, now: float) -> list[bytes]:
        """All that is due."""
        found = []
        while (data := line.due(now)) is not None:
            line.taken(len(data))
            found.append(data)
        return found

    def test_delay(self) -> None:
        """Bytes arrive after the delay, and not before."""
        line = DelayLine(0.25)
        line.put(b"a", 1.0)
        self.assertEqual(line.next_due, 1.25)
        self.assertEqual(self.take(line, 1.125), [])
        self.assertEqual(self.take(line, 1.25), [b"a"])

    def test_nothing(self) -> None:
        """An empty line waits for nothing."""
        line = DelayLine(0.25)
        self.assertIsNone(line.next_due)
        self.assertIsNone(line.due(100.0))

    def test_in_flight_together(self) -> None:
        """A link is not occupied by what is under way: each has its own time."""
        line = DelayLine(0.5)
        line.put(b"a", 1.0)
        line.put(b"b", 1.25)
        self.assertEqual(self.take(line, 1.5), [b"a"])
        self.assertEqual(self.take(line, 1.75), [b"b"])

    def test_first_is_held(self) -> None:
        """The first bytes take the time of the handshake too; later ones do not."""
        line = DelayLine(0.5, hold=1.0)
        line.put(b"hello", 1.0)
        self.assertEqual(line.next_due, 2.5)
        self.assertEqual(self.take(line, 2.5), [b"hello"])
        line.put(b"more", 3.0)
        self.assertEqual(line.next_due, 3.5)

    def test_order(self) -> None:
        """What follows the held bytes does not overtake them."""
        line = DelayLine(0.5, hold=1.0)
        line.put(b"a", 1.0)
        line.put(b"b", 1.25)
        self.assertEqual(self.take(line, 2.25), [])
        self.assertEqual(self.take(line, 2.5), [b"a", b"b"])

    def test_end(self) -> None:
        """The end is delayed as bytes are, and comes behind them."""
        line = DelayLine(0.5)
        line.put(b"a", 1.0)
        line.put(b"", 1.25)
        self.assertEqual(self.take(line, 1.5), [b"a"])
        self.assertEqual(self.take(line, 1.75), [b""])
        self.assertIsNone(line.next_due)

    def test_partly_taken(self) -> None:
        """What could not be sent stays, and stays due."""
        line = DelayLine(0.5)
        line.put(b"abc", 1.0)
        line.put(b"d", 1.0)
        self.assertEqual(line.due(1.5), b"abc")
        line.taken(1)
        self.assertEqual(self.take(line, 1.5), [b"bc", b"d"])

    def test_full(self) -> None:
        """At its capacity a line is full, until enough has been taken."""
        line = DelayLine(0.5, capacity=4)
        line.put(b"abc", 1.0)
        self.assertFalse(line.full)
        line.put(b"de", 1.0)
        self.assertTrue(line.full)
        self.assertEqual(line.due(1.5), b"abc")
        line.taken(2)
        self.assertFalse(line.full)
