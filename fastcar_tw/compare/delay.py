"""
One direction of a slow link, without I/O: bytes come out in order, as much later as told.
"""

from __future__ import annotations

from collections import deque


class DelayLine:
    """
    A queue of bytes, each with the time when it arrives.

    All times are in seconds, on any one clock that does not go back.
    """

    __slots__ = ("_capacity", "_delay", "_hold", "_last", "_queue", "_size")

    def __init__(self, delay: float, hold: float = 0.0, capacity: int = 1 << 20) -> None:
        """
        @param delay: time on the way.
        @param hold: further time for what comes first, and so for all that follows too closely.
        @param capacity: bytes on the way at which the line is L{full}.
        """
        self._delay = delay
        self._hold = hold
        self._capacity = capacity
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._last = float("-inf")

    @property
    def full(self) -> bool:
        """
        Nothing more should be put in for now.
        """
        return self._size >= self._capacity

    @property
    def next_due(self) -> float | None:
        """
        When the first on the way arrives; None if nothing is on the way.
        """
        return self._queue[0][0] if self._queue else None

    def put(self, data: bytes, now: float) -> None:
        """
        Send bytes on their way; none mean the end, which is delayed as they are.
        """
        # Not overtaking what was held.
        self._last = max(self._last, now + self._delay + self._hold)
        self._hold = 0.0
        self._queue.append((self._last, data))
        self._size += len(data)

    def due(self, now: float) -> bytes | None:
        """
        What has arrived: bytes, or none for the end.  It stays until L{taken}.

        @return: None if nothing has.
        """
        if not self._queue or self._queue[0][0] > now:
            return None
        return self._queue[0][1]

    def taken(self, count: int) -> None:
        """
        Remove so many of the bytes that were due, or the end.
        """
        due, data = self._queue.popleft()
        self._size -= count
        if count < len(data):
            self._queue.appendleft((due, data[count:]))
