"""A log that stays readable when the same happens to everybody."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.deadlines import Deadlines
from fastcar_tw.relay.log_limit import INTERVAL, MAX_LINES, LimitedLog

from .support import RelayTestCase, logged

#: Of deadlines: how late a line may be.
SWEEP = 0.25


def lines(first: int, count: int) -> list[str]:
    """So many of them, with consecutive numbers."""
    return [f"line {number}" for number in range(first, first + count)]


class LimitedLogTests(SynchronousTestCase):
    """A few lines in full, and of the others how many there were."""

    def setUp(self) -> None:
        """Have one."""
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock, SWEEP)
        self.deadlines.start()
        self.addCleanup(self.deadlines.stop)
        self.log = LimitedLog(Logger(namespace="fastcar"), self.deadlines)
        self.number = 0

    def warn(self, count: int) -> list[str]:
        """Have so many lines told; return those that are."""

        def warn_all() -> None:
            for line in lines(self.number, count):
                self.log.warn(line)
            self.number += count

        return logged(warn_all)

    def elapse(self, seconds: float) -> list[str]:
        """Let time go by, in small steps; return what is logged."""
        steps = round(seconds / 0.125)
        return logged(lambda: self.clock.pump([0.125] * steps))

    def test_few(self) -> None:
        """Up to the limit all are told, and nothing follows."""
        self.assertEqual(self.warn(MAX_LINES), lines(0, MAX_LINES))
        self.assertEqual(self.elapse(5 * INTERVAL), [])

    def test_many(self) -> None:
        """Of those beyond only the number is told, once, when the interval is over."""
        self.assertEqual(self.warn(MAX_LINES + 1000), lines(0, MAX_LINES))
        self.assertEqual(self.elapse(INTERVAL - 0.125), [])
        told = self.elapse(SWEEP + 0.125)
        self.assertEqual(told, ["1000 more like these were left out"])
        self.assertEqual(self.elapse(5 * INTERVAL), [])

    def test_one_more(self) -> None:
        """The first beyond the limit is left out already."""
        self.assertEqual(self.warn(MAX_LINES + 1), lines(0, MAX_LINES))
        self.assertEqual(self.elapse(2 * INTERVAL), ["1 more like these were left out"])

    def test_spread(self) -> None:
        """The limit is for the interval from the first line on, however they are spread in it."""
        told = []
        for _ in range(6):
            told += self.warn(5) + self.elapse(INTERVAL / 8)
        self.assertEqual(told, lines(0, MAX_LINES))
        self.assertEqual(self.elapse(INTERVAL / 2), ["10 more like these were left out"])

    def test_next_interval(self) -> None:
        """In the next one lines are told again, and the next limit is as the first."""
        self.warn(MAX_LINES + 7)
        self.elapse(INTERVAL + SWEEP)
        first = self.number
        self.assertEqual(self.warn(MAX_LINES + 3), lines(first, MAX_LINES))
        self.assertEqual(self.elapse(2 * INTERVAL), ["3 more like these were left out"])

    def test_next_line_first(self) -> None:
        """If a line comes before the deadline is seen, the number stands before it, and is not
        told again."""
        self.deadlines.stop()
        self.warn(MAX_LINES + 7)
        self.clock.advance(INTERVAL)
        first = self.number
        self.assertEqual(self.warn(1), ["7 more like these were left out", *lines(first, 1)])
        self.deadlines.start()
        self.assertEqual(self.elapse(2 * INTERVAL), [])

    def test_slowly(self) -> None:
        """Lines that come slowly are all told."""
        for number in range(2 * MAX_LINES):
            self.assertEqual(self.warn(1), lines(number, 1))
            self.assertEqual(self.elapse(INTERVAL), [])

    def test_watched(self) -> None:
        """It costs a deadline only while there is something to be told."""
        self.warn(MAX_LINES)
        self.assertEqual(len(self.deadlines), 0)
        self.warn(2)
        self.assertEqual(len(self.deadlines), 1)
        self.elapse(INTERVAL + SWEEP)
        self.assertEqual(len(self.deadlines), 0)

    def test_text(self) -> None:
        """Both are warnings, and a line is told as it is, whatever is in it."""
        with capturedLogs() as events:
            for _ in range(MAX_LINES + 1):
                self.log.warn("{nothing} {here!r}")
            self.clock.pump([SWEEP] * 8)
        self.assertEqual(len(events), MAX_LINES + 1)
        self.assertEqual({event["log_level"] for event in events}, {LogLevel.warn})
        self.assertEqual(events[0]["text"], "{nothing} {here!r}")


class RelayLogTests(RelayTestCase):
    """What of a relay is limited."""

    def check_limited(self, happen: Callable[[], object]) -> None:
        """Check that of what happens to many clients a few lines and their number are told."""
        told = logged(happen)
        self.assertEqual(len(told), MAX_LINES, told[-1])
        told = logged(lambda: self.relay.elapse(2.0))
        self.assertEqual(told, ["30 more like these were left out"])

    def test_closed(self) -> None:
        """Clients that are closed: those of a pool, and those with connections of their own."""
        for pool in (1, None):
            self.start(pool=pool, fail_fast_after=0, client_timeout=60.0)
            self.relay.backends[0].accepting = False
            clients = [self.relay.client() for _ in range(MAX_LINES + 30)]
            for client in clients:
                client.send(b"a\n")
            self.check_limited(self.refuse)
            self.assertTrue(all(client.closed for client in clients))

    def refuse(self) -> None:
        """Let all attempts fail, and those that follow them."""
        attempts = self.relay.backends[0].attempts
        while pending := [each for each in attempts if each.pending]:
            pending[0].refuse()

    def test_refused(self) -> None:
        """Requests that are refused."""
        self.start(framing="resp", fail_fast_after=0)
        self.relay.backends[0].refusing = True

        def ask() -> None:
            for _ in range(MAX_LINES + 30):
                self.client.send(b"*1\r\n$4\r\nPING\r\n")

        self.check_limited(ask)
        self.assertEqual(self.client.take().count(b"\r\n"), MAX_LINES + 30)

    def test_broken_off(self) -> None:
        """Pairs that are broken off."""
        self.start(pool=None)
        others = [self.relay.client() for _ in range(MAX_LINES + 29)]
        for client in (self.client, *others):
            client.send(b"a\n")

        def reset() -> None:
            for connection in self.relay.connections:
                connection.reset()

        self.check_limited(reset)
