"""
Failing fast: after repeated failures to connect to an origin it is left alone for a while, so that
not every request waits for the same timeout.

The breaker of an origin trips after some failures in a row.  For an interval nothing may be opened;
then one attempt, the probe, may.  If it succeeds all is as before, if not the next interval is
longer.
"""

from __future__ import annotations

from collections.abc import Callable

#: Seconds of the first interval, and of the longest.  Long enough to spare a struggling origin,
#: short enough for one that was only restarted.
FIRST_INTERVAL = 1.0
LONGEST_INTERVAL = 30.0
#: An interval is longer or shorter by up to this part, so that not all probes come at once.
JITTER = 0.25


class Backoff:
    """
    Intervals that double, with jitter.
    """

    __slots__ = ("_interval", "_random")

    def __init__(self, random: Callable[[], float]) -> None:
        """
        @param random: returns a number from 0 to 1.
        """
        self._random = random
        self._interval = 0.0

    def next(self) -> float:
        """
        The next interval in seconds, within L{FIRST_INTERVAL} and L{LONGEST_INTERVAL}.
        """
        self._interval = min(2 * self._interval or FIRST_INTERVAL, LONGEST_INTERVAL)
        jittered = self._interval * (1 + JITTER * (2 * self._random() - 1))
        return min(max(jittered, FIRST_INTERVAL), LONGEST_INTERVAL)

    def reset(self) -> None:
        """
        Begin with the shortest again.
        """
        self._interval = 0.0


class Breaker:
    """
    The breaker of one origin.

    @ivar until: when the next attempt may be made, once tripped; seconds.
    """

    __slots__ = ("_backoff", "_failures", "_probing", "_threshold", "until")

    def __init__(self, threshold: int, random: Callable[[], float]) -> None:
        """
        @param threshold: failures in a row that trip it; 0: it never trips.
        @param random: see L{Backoff}.
        """
        self.until = 0.0
        self._threshold = threshold
        self._backoff = Backoff(random)
        self._failures = 0
        self._probing = False

    @property
    def tripped(self) -> bool:
        """
        The origin has failed too often, and not succeeded since.
        """
        return 0 < self._threshold <= self._failures

    def allows(self, now: float) -> bool:
        """
        Whether a connection may be opened.
        """
        return not self.tripped or (now >= self.until and not self._probing)

    def started(self) -> bool:
        """
        An attempt begins.

        @return: whether it is a probe.
        """
        self._probing = self._probing or self.tripped
        return self._probing

    def succeeded(self) -> None:
        """
        An attempt has succeeded.
        """
        if self._failures:
            self._failures = 0
            self._probing = False
            self._backoff.reset()

    def ended(self, probe: bool) -> None:
        """
        An attempt has ended without showing anything.

        @param probe: what L{started} returned for it.
        """
        if probe:
            self._probing = False

    def failed(self, now: float, probe: bool) -> None:
        """
        An attempt has failed.

        @param probe: what L{started} returned for it.
        """
        self._failures += 1
        # What was begun before it tripped does not count against the next interval.
        if self.tripped and (probe or self._failures == self._threshold):
            self._probing = False
            self.until = now + self._backoff.next()
