"""
What the core of a pool decides about multiplexed connections, which serve several requests at once.

Rules of this file.  It knows of requests, room and idle connections only what it asks the core for.
A connection counts as one, whatever it carries, and without requests it is idle like any other.
C{in_use} says how many it has; C{roomy} holds those in use that could take more, and no others.

Theory of operation.  A connection serves as many requests at once as its capacity says.  While it
has room it is taken before an idle one, so that few do the work.  One that is to go I{drains}: it
takes no more, and is closed when the last of its requests has been answered.  If others wait for
room, one that is in use does so when somebody has waited for long, and no more than are needed.

What a new connection will probably carry is known from the last one, or guessed before the first:
that is its lane's width.  So many requests count on an attempt, and another is begun only for those
beyond.  Until its origin has been heard, a new connection serves few; the others go on counting on
it.  Where it turns out to carry less, the last of them wait again for something to be opened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Generic

from fastcar_tw.pool.decisions import Close, Decision
from fastcar_tw.pool.lane import Attempt, C, K, Lane, Place, W
from fastcar_tw.pool.stats import Retired

#: Seconds in which a connection that was told to make room is expected to have answered its last
#: request; where it has not, another one is told.
DRAIN_PATIENCE = 1.0


class SharingCore(ABC, Generic[K, C, W]):
    """
    The part of a L{PoolCore<fastcar_tw.pool.core.PoolCore>} that is about multiplexed connections.
    """

    # What the core keeps.

    _expected_capacity: Callable[[K], int]
    _idle: OrderedDict[C, float]
    _leaving: int
    _queue: OrderedDict[W, Place[K, C, W]]

    def __init__(self) -> None:
        # Connections that serve no more requests but still answer some, which may take long.
        self._draining = 0
        # Until when it is not yet too long.
        self._patient_until = 0.0

    # An event.

    def capacity_changed(self, connection: C, now: float) -> Sequence[Decision[W, C, K]]:
        """
        A multiplexed connection can serve another number of requests at once than before, or its
        origin has confirmed it.
        """
        decisions: list[Decision[W, C, K]] = []
        lane: Lane[K, C, W] | None = connection.lane
        if lane is None or connection.leaving:
            return decisions
        if connection.unheard:
            self._heard(lane, connection)
            self._succeeded(lane)
        self._learn_width(lane, connection)
        if connection in self._idle:
            if not self._may_serve(connection, now):
                self._close(connection, self._overdue(connection, now), decisions)
        else:
            self._offer(lane, connection, now, decisions)
        self._promise_anew(lane)
        self._settle(lane, now, decisions)
        return decisions

    # Who has how many requests.

    def _share(self, lane: Lane[K, C, W], now: float) -> C | None:
        """
        A connection in use that has room: the one that had none, or was idle, last.
        """
        while lane.roomy:
            connection = next(reversed(lane.roomy))
            if connection.retire_at > now:
                self._occupy(lane, connection)
                lane.tally.reused += 1
                return connection
            self.retired(connection, Retired.AGE)
        return None

    def _occupy(self, lane: Lane[K, C, W], connection: C) -> None:
        """
        One more request is for a connection.
        """
        connection.in_use += 1
        if connection.in_use < connection.capacity:
            lane.roomy[connection] = None
        else:
            lane.roomy.pop(connection, None)

    def _release_one(
        self, lane: Lane[K, C, W], connection: C, now: float
    ) -> Sequence[Decision[W, C, K]]:
        """
        A multiplexed connection has one request less.
        """
        connection.in_use -= 1
        connection.fresh = False
        if not connection.leaving:
            decisions: list[Decision[W, C, K]] = []
            self._offer(lane, connection, now, decisions)
            if self._queue:
                self._settle(lane, now, decisions)
            return decisions
        if connection.in_use:
            return ()
        self._draining -= 1
        self._leaving += 1
        return (Close(connection),)

    def _offer(
        self,
        lane: Lane[K, C, W],
        connection: C,
        now: float,
        decisions: list[Decision[W, C, K]],
    ) -> None:
        """
        Give what room a multiplexed connection has to whose turn it is.
        """
        if connection.in_use and not connection.capacity:
            lane.roomy.pop(connection, None)  # its origin may allow some again
            return
        why = None if self._may_serve(connection, now) else self._overdue(connection, now)
        while why is None and connection.in_use < connection.capacity:
            first = self._first_in_line(lane)
            if first is None:
                break
            spared = self._soon_drained(connection, now)
            # The line has counted on a new one, whoever else wants room.
            if not connection.fresh and self._others_first(lane, first, now, spared):
                why = Retired.EVICTED
            else:
                lane.tally.reused += 1
                self._serve(first, connection, decisions)
        if why is None and self._must_yield(lane, connection, now):
            why = Retired.EVICTED
        if why is not None:
            self._drain(connection, why, now, decisions)
        elif not connection.in_use:
            lane.roomy.pop(connection, None)
            decisions += self._put(lane, connection, now)
        elif connection.in_use < connection.capacity:
            lane.roomy[connection] = None
        else:
            lane.roomy.pop(connection, None)

    def _drain(
        self, connection: C, why: Retired, now: float, decisions: list[Decision[W, C, K]]
    ) -> None:
        """
        Close a multiplexed connection, as soon as it has no requests.
        """
        if not connection.in_use:
            self._close(connection, why, decisions)
            return
        self.retired(connection, why)
        if why is Retired.EVICTED:
            self._patient_until = now + DRAIN_PATIENCE

    def _soon_drained(self, connection: C, now: float) -> int:
        """
        How many connections need not make room because others will, as soon as their requests are
        answered, if that does not take long.  One without requests makes it at once.
        """
        return self._draining if connection.in_use and now < self._patient_until else 0

    def _must_yield(self, lane: Lane[K, C, W], connection: C, now: float) -> bool:
        """
        Whether a connection is to make room for other origins: at once without requests, else if
        somebody has waited for long, and not more connections than are needed.
        """
        # One's own line is served by what it has.
        spared = max(lane.wanting - len(lane.fresh_queued), 0)
        if not self._is_room_wanted(spared + self._soon_drained(connection, now)):
            return False
        if not connection.in_use:
            return True
        other = self._first_listed(now)
        place = None if other is None else other.first_queued()
        if place is None or (other is lane and not place.fresh):
            return False
        return self._has_waited_long(place, now)

    # What a new connection will serve.

    def _size_up(self, lane: Lane[K, C, W], connection: C, attempt: Attempt[K, C, W]) -> None:
        """
        A connection is new, multiplexed or not: what does it say about the next?
        """
        if connection.unheard:
            lane.unheard[connection] = attempt
            if not lane.multiplexed:
                lane.multiplexed = True
                lane.width = self._expected_capacity(lane.key)
        else:
            self._succeeded(lane)
            self._learn_width(lane, connection)

    def _learn_width(self, lane: Lane[K, C, W], connection: C) -> None:
        """
        What one connection serves is expected of the next; that one serves nobody for the moment
        says nothing.
        """
        lane.multiplexed = connection.multiplexed
        if not connection.multiplexed:
            lane.width = 1
        elif connection.capacity:
            lane.width = connection.capacity

    def _heard(self, lane: Lane[K, C, W], connection: C) -> None:
        """
        Nobody counts on more from a connection any longer than it can serve.
        """
        connection.unheard = False
        lane.unheard.pop(connection, None)

    def _succeeded(self, lane: Lane[K, C, W]) -> None:
        """
        An attempt has brought a connection of use.
        """
        lane.breaker.succeeded()
        lane.error = None

    def _promise_anew(self, lane: Lane[K, C, W]) -> None:
        """
        The attempts under way will help more than before, or fewer than counted on them: the last
        of these wait again for something to be opened.
        """
        surplus = lane.promised - lane.may_promise
        if surplus <= 0:
            self._promise(lane)
            return
        promised = list(islice(lane.line.values(), lane.promised))
        for place in reversed(promised[-surplus:]):
            lane.queued[place.waiter] = self._queue[place.waiter] = place
            lane.queued.move_to_end(place.waiter, last=False)
        self._sort_queue()

    # What the core is asked for, which describes it.

    @abstractmethod
    def retired(self, connection: C, why: Retired) -> None: ...

    @abstractmethod
    def _close(self, connection: C, why: Retired, decisions: list[Decision[W, C, K]]) -> None: ...

    @abstractmethod
    def _put(
        self, lane: Lane[K, C, W], connection: C, now: float
    ) -> Sequence[Decision[W, C, K]]: ...

    @abstractmethod
    def _may_serve(self, connection: C, now: float) -> bool: ...

    @abstractmethod
    def _overdue(self, connection: C, now: float) -> Retired: ...

    @abstractmethod
    def _first_in_line(self, lane: Lane[K, C, W]) -> Place[K, C, W] | None: ...

    @abstractmethod
    def _serve(
        self, place: Place[K, C, W], connection: C, decisions: list[Decision[W, C, K]]
    ) -> None: ...

    @abstractmethod
    def _promise(self, lane: Lane[K, C, W]) -> None: ...

    @abstractmethod
    def _sort_queue(self) -> None: ...

    @abstractmethod
    def _settle(
        self, lane: Lane[K, C, W], now: float, decisions: list[Decision[W, C, K]]
    ) -> None: ...

    @abstractmethod
    def _first_listed(self, now: float) -> Lane[K, C, W] | None: ...

    @abstractmethod
    def _others_first(
        self, lane: Lane[K, C, W], first: Place[K, C, W], now: float, spared: int = 0
    ) -> bool: ...

    @abstractmethod
    def _is_room_wanted(self, spared: int = 0) -> bool: ...

    @abstractmethod
    def _has_waited_long(self, place: Place[K, C, W], now: float) -> bool: ...
