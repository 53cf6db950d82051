"""
A log that stays readable when the same happens to everybody.
"""

from __future__ import annotations

from twisted.logger import Logger

from fastcar_tw.deadlines import NEVER, Deadlines

#: Lines that are told in one interval, and its length in seconds.
MAX_LINES = 20
INTERVAL = 1.0


class LimitedLog:
    """
    Tells some lines in full, and of those that follow too soon only how many there were.

    @ivar deadline: when to tell how many.
    """

    def __init__(self, log: Logger, deadlines: Deadlines) -> None:
        """
        @param deadlines: sees to it that the number is told.
        """
        self.deadline = NEVER
        self._log = log
        self._deadlines = deadlines
        self._since = -INTERVAL
        self._lines = 0
        self._untold = 0

    def warn(self, text: str) -> None:
        """
        Tell a line, or count it.
        """
        now = self._deadlines.clock.seconds()
        if now >= self._since + INTERVAL:
            self.expired()
            self._since = now
            self._lines = 0
        if self._lines < MAX_LINES:
            self._lines += 1
            self._log.warn("{text}", text=text)
        else:
            self._untold += 1
            self.deadline = self._since + INTERVAL
            self._deadlines.watch(self)

    def expired(self) -> None:
        """
        See L{Expiring<fastcar_tw.deadlines.Expiring>}.
        """
        untold, self._untold = self._untold, 0
        self.deadline = NEVER
        self._deadlines.unwatch(self)
        if untold:
            self._log.warn("{count} more like these were left out", count=untold)
