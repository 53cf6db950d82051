"""
Which idle connection serves the next request, and which ones have to go: bookkeeping without I/O.

Last in, first out: the most recently used connection is the least likely to have been closed by its
origin, and the ones that are not needed grow old and go.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from fastcar_tw.http.target import Origin

C = TypeVar("C")


class IdleConnections(Generic[C]):
    """
    Idle connections by origin.  To take, put and discard one takes constant time.

    @ivar max_per_origin: the most kept for one origin; at the limit the oldest gives way.
    @ivar timeout: seconds a connection may be idle.
    """

    def __init__(self, max_per_origin: int, timeout: float) -> None:
        self.max_per_origin = max_per_origin
        self.timeout = timeout
        # Insertion order is the order of going idle: popitem() takes the newest.
        self._by_origin: dict[Origin, dict[C, float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_origin.values()))

    def count(self, origin: Origin) -> int:
        """
        How many are idle for one origin.
        """
        return len(self._by_origin.get(origin, ()))

    def take(self, origin: Origin) -> C | None:
        """
        Remove and return the connection that went idle last, if there is one.
        """
        stack = self._by_origin.get(origin)
        return stack.popitem()[0] if stack else None

    def put(self, origin: Origin, connection: C, now: float) -> C | None:
        """
        Keep a connection that went idle at C{now}.

        @return: a connection to close in its place, if any.
        """
        stack = self._by_origin.setdefault(origin, {})
        stack[connection] = now
        if len(stack) <= self.max_per_origin:
            return None
        oldest = next(iter(stack))
        del stack[oldest]
        return oldest

    def discard(self, origin: Origin, connection: C) -> None:
        """
        Forget a connection that has ended, whether it was idle or not.
        """
        stack = self._by_origin.get(origin)
        if stack is not None:
            stack.pop(connection, None)

    def expire(self, now: float) -> list[C]:
        """
        Remove and return what has been idle for too long, and forget origins without connections.
        """
        expired: list[C] = []
        for origin, stack in list(self._by_origin.items()):
            for connection, since in list(stack.items()):
                if now - since < self.timeout:
                    break
                del stack[connection]
                expired.append(connection)
            if not stack:
                del self._by_origin[origin]
        return expired

    def clear(self) -> list[C]:
        """
        Remove and return all.
        """
        connections = [connection for stack in self._by_origin.values() for connection in stack]
        self._by_origin.clear()
        return connections
