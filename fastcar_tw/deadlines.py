"""
Deadlines of connections, kept by one timer for all of them.

A timer per connection would cost more than the rest of a short exchange.  Here a state's deadline
is one attribute, so that moving it costs an assignment; a sweep looks at every connection a few
times per second at most.  A deadline is therefore met up to one interval late, never early.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: A deadline that never comes.
NEVER = float("inf")


class Expiring(Protocol):
    """
    Something with a deadline.

    @ivar deadline: seconds, on the clock of the L{Deadlines} that watches it.
    """

    deadline: float

    def expired(self) -> None:
        """
        The deadline has passed: move it or end.
        """


class Deadlines:
    """
    Watches objects with a deadline.

    @ivar clock: tells and schedules time.
    @ivar interval: seconds between sweeps.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval: float) -> None:
        self.clock = clock
        self.interval = interval
        self._watched: set[Expiring] = set()
        self._call: IDelayedCall | None = None
        self.watch = self._watched.add
        self.unwatch = self._watched.discard

    def __len__(self) -> int:
        return len(self._watched)

    def start(self) -> None:
        """
        Begin to sweep.
        """
        self._call = self.clock.callLater(self.interval, self._sweep)

    def stop(self) -> None:
        """
        End sweeping; what is watched stays watched.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _sweep(self) -> None:
        self.start()
        now = self.clock.seconds()
        for item in [item for item in self._watched if item.deadline <= now]:
            try:
                item.expired()
            except Exception:
                # One object's bug must not end the deadlines of all others.
                self._log.failure("while ending {item!r}", item=item)
                if item.deadline <= now:  # it would be the same again
                    self.unwatch(item)
