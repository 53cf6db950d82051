"""
Connections whose response is complete, or was given up, while the child still works: no event tells
when it is done, so it is asked from time to time.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from fastcar_tw.fastcgi.connection import FastCGIConnection

#: Seconds between two looks, at least and at most.  The system does not wake us more precisely.
SHORTEST_PAUSE = 0.001
LONGEST_PAUSE = 0.02
#: Pauses grow with the time that a child already takes.
PATIENCE = 0.25


class FinishingConnections:
    """
    Watches connections until their children are done.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._since: dict[FastCGIConnection, float] = {}
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._since)

    def add(self, connection: FastCGIConnection) -> None:
        """
        Watch a connection.
        """
        self._since[connection] = self._clock.seconds()
        # Nearly always it only takes the time to get there.
        self._look_after(0)

    def discard(self, connection: FastCGIConnection) -> None:
        """
        It has ended.
        """
        self._since.pop(connection, None)
        if not self._since and self._call is not None:
            self._call.cancel()
            self._call = None

    def _look_after(self, pause: float) -> None:
        if self._call is not None:
            if self._call.getTime() <= self._clock.seconds() + pause:
                return
            self._call.cancel()
        self._call = self._clock.callLater(pause, self._look)

    def _look(self) -> None:
        self._call = None
        for connection in [each for each in self._since if each.is_ready()]:
            # What is done for one may end another.
            if self._since.pop(connection, None) is not None:
                connection.finished()
        if self._since:
            elapsed = self._clock.seconds() - max(self._since.values())
            self._look_after(min(max(elapsed * PATIENCE, SHORTEST_PAUSE), LONGEST_PAUSE))
