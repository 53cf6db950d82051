"""The breaker of an origin, and the intervals between attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.pool.breaker import FIRST_INTERVAL, JITTER, LONGEST_INTERVAL, Backoff, Breaker


def no_jitter() -> float:
    """The middle of what random numbers there are."""
    return 0.5


class BackoffTests(SynchronousTestCase):
    """Intervals."""

    def test_growth(self) -> None:
        """Intervals double, from the first to the longest."""
        backoff = Backoff(no_jitter)
        self.assertEqual([backoff.next() for _ in range(7)], [1, 2, 4, 8, 16, 30, 30])

    def test_reset(self) -> None:
        """After a reset the first is next."""
        backoff = Backoff(no_jitter)
        backoff.next()
        backoff.next()
        backoff.reset()
        self.assertEqual(backoff.next(), FIRST_INTERVAL)

    def test_jitter(self) -> None:
        """Intervals differ, so that not all attempts come at once."""
        shortest, longest = Backoff(lambda: 0.0), Backoff(lambda: 1.0)
        for backoff in (shortest, longest):
            backoff.next()
        self.assertEqual((shortest.next(), longest.next()), (2 * (1 - JITTER), 2 * (1 + JITTER)))

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_bounds(self, numbers: list[float]) -> None:
        """Whatever the random numbers, an interval is within the bounds."""
        remaining = iter(numbers)
        backoff = Backoff(lambda: next(remaining))
        for _ in numbers:
            interval = backoff.next()
            self.assertGreaterEqual(interval, FIRST_INTERVAL)
            self.assertLessEqual(interval, LONGEST_INTERVAL)


class BreakerTests(SynchronousTestCase):
    """When an origin is left alone."""

    def tripped(self, threshold: int = 3) -> Breaker:
        """One that has just tripped, at second 100, so until 101."""
        breaker = Breaker(threshold, no_jitter)
        for _ in range(threshold):
            breaker.failed(100.0, breaker.started())
        return breaker

    def test_trips(self) -> None:
        """As many failures as the threshold trip it, fewer do not."""
        breaker = Breaker(3, no_jitter)
        for _ in range(2):
            breaker.failed(100.0, breaker.started())
        self.assertTrue(breaker.allows(100.0))
        breaker.failed(100.0, breaker.started())
        self.assertTrue(breaker.tripped)
        self.assertFalse(breaker.allows(100.0))

    def test_in_a_row(self) -> None:
        """A success in between makes the count start again."""
        breaker = Breaker(3, no_jitter)
        for _ in range(2):
            breaker.failed(100.0, breaker.started())
        breaker.succeeded()
        for _ in range(2):
            breaker.failed(100.0, breaker.started())
        self.assertFalse(breaker.tripped)

    def test_off(self) -> None:
        """With the threshold 0 it never trips."""
        breaker = Breaker(0, no_jitter)
        for _ in range(1000):
            breaker.failed(100.0, breaker.started())
        self.assertTrue(breaker.allows(100.0))

    def test_one_probe(self) -> None:
        """After the interval one attempt may be made, and no other until it has ended."""
        breaker = self.tripped()
        self.assertFalse(breaker.allows(100.9))
        self.assertTrue(breaker.allows(101.0))
        self.assertTrue(breaker.started())
        self.assertFalse(breaker.allows(101.0))
        self.assertFalse(breaker.allows(1000.0))

    def test_not_a_probe(self) -> None:
        """An attempt is no probe unless the breaker has tripped."""
        self.assertFalse(Breaker(3, no_jitter).started())

    def test_probe_succeeds(self) -> None:
        """A probe that succeeds makes all as it was at first."""
        breaker = self.tripped()
        breaker.started()
        breaker.succeeded()
        self.assertFalse(breaker.tripped)
        self.assertTrue(breaker.allows(100.0))
        self.assertFalse(breaker.started())
        for _ in range(3):
            breaker.failed(200.0, False)
        self.assertEqual(breaker.until, 201.0)

    def test_probe_fails(self) -> None:
        """A probe that fails begins the next interval, a longer one, at the time of its end."""
        breaker = self.tripped()
        breaker.failed(105.0, breaker.started())
        self.assertEqual(breaker.until, 107.0)
        self.assertFalse(breaker.allows(106.9))
        self.assertTrue(breaker.allows(107.0))

    def test_stragglers(self) -> None:
        """Attempts begun before it tripped do not lengthen the interval when they fail."""
        breaker = self.tripped()
        for _ in range(10):
            breaker.failed(100.5, False)
        self.assertEqual(breaker.until, 101.0)

    def test_straggler_succeeds(self) -> None:
        """An attempt begun before it tripped closes it too when it succeeds."""
        breaker = self.tripped()
        breaker.succeeded()
        self.assertTrue(breaker.allows(100.0))

    def test_late_probe(self) -> None:
        """A probe that fails after another attempt has succeeded counts as any failure does."""
        breaker = self.tripped()
        probe = breaker.started()
        breaker.succeeded()
        for _ in range(2):
            breaker.failed(200.0, probe)
        self.assertTrue(breaker.allows(200.0))
        breaker.failed(200.0, False)
        self.assertEqual(breaker.until, 201.0)
