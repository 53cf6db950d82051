"""
Keeps one connection out of reach of slow requests, as long as there are others.

Why.  With N connections and one line, N slow requests in flight make every other one wait until the
first of them ends, so that the quickest page takes as long as the slowest.  No order of the line
helps: nothing that is in flight can be interrupted.  So where it is known which requests are slow,
they never get all connections.  The price is that of one connection in N while others come, and
that quick requests overtake slow ones; among slow ones, and among the others, the order of arrival
is kept.  Who wants the line to be one for all has one connection, or no slow pages.

Rules of this file: no I/O and no clock.  Slow requests ask here first; those that are let through
go on to the pool's line, and count until they are told to have L{left<Reserve.leave>}: the pool, or
the connection that they were given.  The others are held, until some leave or no other kind of
request has come for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K")
W = TypeVar("W", bound=Hashable)

#: Seconds after which those who have come are no longer expected to come again.
MEMORY = 2.0


class Reserve(Generic[K, W]):
    """
    Decides which slow requests C{W} may go on to a pool with keys C{K}.

    @ivar fast_at: when the latest request that is not slow has come, in seconds.
    """

    __slots__ = ("_capacity", "_held", "_passed", "fast_at")

    def __init__(self, capacity: Callable[[], int]) -> None:
        """
        @param capacity: returns how many connections there can be; of one, none is kept.
        """
        self.fast_at = float("-inf")
        self._capacity = capacity
        self._passed: set[W] = set()
        self._held: OrderedDict[W, tuple[K, float, bool]] = OrderedDict()

    def __len__(self) -> int:
        """
        How many are held.
        """
        return len(self._held)

    def __repr__(self) -> str:
        return f"<Reserve {len(self._passed)} let through, {len(self._held)} held>"

    def admits(self, waiter: W, now: float, always: bool = False) -> bool:
        """
        Whether a slow request may go on; one that was let through before always may.

        @param always: also while nothing else comes, one connection is kept from it: how long it
            takes is its client's choice.
        """
        if waiter in self._passed:
            return True
        if self._held or not self._has_room(now, always):
            return False
        self._passed.add(waiter)
        return True

    def hold(self, waiter: W, key: K, deadline: float, always: bool = False) -> None:
        """
        Hold one that may not.

        @param key: where it wanted to go.
        @param deadline: in seconds; later ones are never earlier.
        @param always: as in L{admits}.
        """
        self._held[waiter] = key, deadline, always

    def leave(self, waiter: W) -> bool:
        """
        A request has ended, or wants nothing any more; it may be told more than once.

        @return: it was held.
        """
        self._passed.discard(waiter)
        return self._held.pop(waiter, None) is not None

    def let_through(self, now: float) -> W | None:
        """
        The one among those held that may go on now; ask until there is none.
        """
        if not self._held:
            return None
        waiter, (_, _, always) = next(iter(self._held.items()))
        if not self._has_room(now, always):
            return None
        del self._held[waiter]
        self._passed.add(waiter)
        return waiter

    def overdue(self, now: float) -> list[tuple[W, K]]:
        """
        Give up those that were held for too long.
        """
        late = []
        while self._held:
            waiter, (key, deadline, _) = next(iter(self._held.items()))
            if deadline > now:
                break
            del self._held[waiter]
            late.append((waiter, key))
        return late

    def _has_room(self, now: float, always: bool) -> bool:
        if not always and now - self.fast_at >= MEMORY:
            return True
        capacity = self._capacity()
        return capacity < 2 or len(self._passed) < capacity - 1
