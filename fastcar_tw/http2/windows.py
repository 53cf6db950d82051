"""
Windows for what an origin sends (RFC 9113 section 5.2): how far it may be ahead of those who read.

The connection's window is given back for all that arrives, whoever it is for: a stream that is not
read must not stall the others.  A stream's window is given back as its user reads.  It begins small
and doubles with each window's worth that was read, unless the reader was what was waited for nearly
all the time: who reads in bursts, as they come from far away, pauses much of it.  So the round trip
does not limit what comes from far away, and one who does not read holds little.  All streams of a
connection grow out of one reserve, so that many who have read fast and then stop do not hold much
either.
"""

from __future__ import annotations

from collections.abc import Callable

#: Bytes: what the origin may send that has not arrived; enough for 800 MB/s at 20 ms round trip.
CONNECTION_WINDOW = 16 * 1024 * 1024
#: Bytes: a stream's window at first, and at most.
INITIAL_WINDOW = 256 * 1024
LARGEST_WINDOW = 8 * 1024 * 1024
#: Of a round: for how much of it the reader may be waited for, if its window is to grow.
MAX_PAUSED = 7 / 8
#: Bytes: what the windows of all streams of a connection may have grown by.
RESERVE = 32 * 1024 * 1024


class Reserve:
    """
    What the windows of one connection can still grow by.

    @ivar left: bytes.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = RESERVE


class StreamWindow:
    """
    The window of one stream.

    @ivar size: bytes the origin may send before they are read.
    """

    __slots__ = (
        "_clock",
        "_paused_at",
        "_paused_for",
        "_reserve",
        "_round",
        "_since",
        "_taken",
        "size",
    )

    def __init__(self, clock: Callable[[], float], reserve: Reserve) -> None:
        """
        @param clock: seconds.
        @param reserve: what it grows out of.
        """
        self.size = INITIAL_WINDOW
        self._reserve = reserve
        self._clock = clock
        self._taken = 0
        # Of the current round, which lasts until a whole window has been given back.
        self._round = 0
        self._since = clock()
        self._paused_for = 0.0
        self._paused_at: float | None = None

    def take(self, size: int) -> None:
        """
        Something arrived.

        @param size: bytes, padding included.
        """
        self._taken += size

    def give_back(self) -> int:
        """
        What has arrived was told to the user.

        @return: bytes to give back now, or 0.
        """
        taken = self._taken
        if taken * 4 < self.size or self._paused_at is not None:
            return 0
        self._taken = 0
        self._round += taken
        return taken + self._growth() if self._round >= self.size else taken

    def pause(self) -> None:
        """
        The user does not read.
        """
        if self._paused_at is None:
            self._paused_at = self._clock()

    def resume(self) -> None:
        """
        The user has read what it was told.
        """
        if self._paused_at is not None:
            self._paused_for += self._clock() - self._paused_at
            self._paused_at = None

    def close(self) -> None:
        """
        It is not needed any more.
        """
        self._reserve.left += self.size - INITIAL_WINDOW
        self.size = INITIAL_WINDOW

    def _growth(self) -> int:
        """
        A round has ended; one in which the user was what was waited for calls for no more.
        """
        now = self._clock()
        waiting = self._paused_for > MAX_PAUSED * (now - self._since)
        growth = 0 if waiting else self.size
        growth = min(growth, LARGEST_WINDOW - self.size, self._reserve.left)
        self._reserve.left -= growth
        self.size += growth
        self._round = 0
        self._since = now
        self._paused_for = 0.0
        return growth
