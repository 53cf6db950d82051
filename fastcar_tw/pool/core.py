"""
The core of a pool: events in, decisions out, no I/O and no clock of its own.

Rules of this file.  Each method is one event, told with the time it happened at; most return
L{Decision}s, which the owner carries out in their order.  What follows from a decision is told as
an event again.  A connection counts until it is closed, an attempt from its beginning, so the
limits hold for descriptors and not only in the books.

Theory of operation.  A request takes the connection of its origin that went idle last.  If there is
none it stands in line, and an attempt to connect is begun; whichever connection comes free first,
opened or released, serves the first in line.  So a request is never slower than a new connection,
and often faster.

Where no more may be opened for an origin, its requests wait for one that is released.  Where no
more may be opened at all, the connection that has been idle for longest, whosesoever it is, makes
room; if none is idle, the next one released does, if the first request that wants it came well
before the first in line for the one that has it.  So no origin starves, and requests are served
nearly in the order of their arrival between origins too.

What is different for multiplexed connections, which serve several requests at once, is in
L{fastcar_tw.pool.sharing}; see L{fastcar_tw.pool.one_line} for origins that all do the same.

Costs.  Taking and releasing take constant time, whatever else there is.  An origin that waits for
room is in a heap, ordered by its first request without an attempt: O(log n) in the number of such
origins.  L{PoolCore.tick} looks at every idle connection and every waiting origin.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastcar_tw.pool.breaker import Backoff, Breaker
from fastcar_tw.pool.decisions import Assign, Close, Decision, Open, Refusal, Refuse
from fastcar_tw.pool.lane import Attempt, C, K, Lane, Place, PooledConnection, W
from fastcar_tw.pool.sharing import SharingCore
from fastcar_tw.pool.stats import Counts, PoolStats, Retired, Tally, sum_counts

__all__ = [
    "Assign",
    "Attempt",
    "Close",
    "Decision",
    "Open",
    "PoolCore",
    "PoolLimits",
    "PooledConnection",
    "Refusal",
    "Refuse",
    "Trouble",
]

#: Origins remembered for their numbers' sake, at least.
MAX_DISUSED = 1024
#: Seconds by which a request must have come before those of an origin that has a connection, to
#: have it closed for its sake.  Without, a pool that many origins fill opens a connection for
#: almost every request, which costs more time than is evened out.
HANDOVER_DELAY = 0.25
#: Seconds before which an origin that ends a connection that was to be kept open has failed.
SHORT_LIFE = 10.0
#: Places of requests that are sent again come before all others.
_BEFORE_ALL = -(1 << 62)


@dataclass(frozen=True)
class PoolLimits:
    """
    What a pool keeps to; times are in seconds.

    @ivar max_connections: connections of all origins, attempts included.
    @ivar max_connections_per_origin: the same of one origin.
    @ivar max_idle_per_origin: idle connections of one origin; at the limit the oldest is closed.
    @ivar max_queue: requests for which nothing is being opened.
    @ivar queue_timeout: how long each of them may wait.
    @ivar idle_timeout: how long a connection may be idle.
    @ivar max_age: how long a connection may exist.
    @ivar fail_fast_after: failed attempts in a row after which an origin is left alone; 0: never.
    """

    max_connections: int
    max_connections_per_origin: int
    max_idle_per_origin: int
    max_queue: int
    queue_timeout: float
    idle_timeout: float
    max_age: float
    fail_fast_after: int


class Trouble(NamedTuple):
    """
    Why an origin cannot be reached.

    @ivar error: why the last attempt has failed; None: it has not.
    @ivar left_alone: so many have failed that requests are refused.
    @ivar until: when the next attempt may be made, if it is left alone; seconds.
    """

    error: object
    left_alone: bool
    until: float


_NONE: Sequence[Decision] = ()  # type: ignore[type-arg]  # there is nothing in it


class PoolCore(SharingCore[K, C, W]):
    """
    Decides for a pool of connections C{C}, to origins C{K}, for requests C{W}; the latter two are
    hashable, and a request waits for one connection at a time.
    """

    def __init__(
        self,
        limits: PoolLimits,
        random_number: Callable[[], float] = random.random,
        expected_capacity: Callable[[K], int] = lambda key: 1,
    ) -> None:
        """
        @param random_number: returns numbers from 0 to 1, for jitter.
        @param expected_capacity: how many requests at once a connection to an origin will probably
            serve of which none has been opened yet.
        """
        super().__init__()
        self.limits = limits
        self._random = random_number
        self._expected_capacity = expected_capacity
        self._lanes: dict[K, Lane[K, C, W]] = {}
        self._warm: list[Lane[K, C, W]] = []
        # All idle connections, the longest idle first, and until when they may be used.
        self._idle: OrderedDict[C, float] = OrderedDict()
        # All requests for which nothing is being opened, in the order of their deadlines.
        self._queue: OrderedDict[W, Place[K, C, W]] = OrderedDict()
        # Lanes that want to open, by the number of their first such request, or an earlier one.
        self._listed: list[tuple[int, Lane[K, C, W]]] = []
        self._number = 0
        self._total = 0
        # Connections that are about to close; others that serve no more still answer requests.
        self._leaving = 0
        self._wanting = 0
        self._past = Tally()

    def __repr__(self) -> str:
        total = self._sum()
        return (
            f"{total.active} active, {total.idle} idle, {total.opening} opening, "
            f"{total.waiting} waiting"
        )

    # Events.

    def take(self, key: K, now: float) -> C | None:
        """
        The quick way to a connection: one in use that has room, else the one that went idle last.

        @return: None does not mean that there is none; L{acquire} tells.
        """
        lane = self._lanes.get(key)
        if lane is None:
            return None
        if lane.roomy:
            shared = self._share(lane, now)
            if shared is not None:
                return shared
        if not lane.idle:
            return None
        connection, until = lane.idle.popitem()
        if until <= now:
            lane.idle[connection] = until
            return None
        del self._idle[connection]
        if connection.multiplexed:
            self._occupy(lane, connection)
        lane.tally.reused += 1
        return connection

    def acquire(
        self, key: K, waiter: W, now: float, *, again: bool = False
    ) -> Sequence[Decision[W, C, K]]:
        """
        A request wants a connection.

        @param again: it had one that has failed; it gets a new one, before all others.  Where
            connections are multiplexed it gets any: one that has failed is not among them.
        """
        decisions: list[Decision[W, C, K]] = []
        lane = self._lane(key)
        new = again and not lane.multiplexed
        if not new:
            for each in self._serving(lane):
                connection = self._take_usable(each, now, decisions)
                if connection is not None:
                    decisions.append(Assign(waiter, connection))
                    return decisions
        self._stand_in_line(lane, waiter, now, new)
        self._settle(lane, now, decisions)
        for other in self._serving(lane)[1:]:
            if waiter in self._queue:
                self._settle(other, now, decisions)
        if not again and waiter in self._queue:
            # Those for which room is being made hardly wait.
            waiting = len(self._queue) - min(self._leaving, self._wanting)
            if waiting > self.limits.max_queue:
                self._refuse_queued(self._queue[waiter], Refusal.QUEUE_FULL, decisions)
        return decisions

    def cancel(self, key: K, waiter: W) -> None:
        """
        A request wants no connection any more.  What is being opened for it will serve others.
        """
        lane = self._lanes.get(key)
        if lane is None:
            return
        for each in self._serving(lane):
            attempt = each.owned.pop(waiter, None)
            if attempt is not None:
                attempt.waiter = None
            self._leave_line(each, waiter)

    def release(self, connection: C, now: float) -> Sequence[Decision[W, C, K]]:
        """
        A connection is ready for its next request; a multiplexed one is told for each that it has
        served.
        """
        lane: Lane[K, C, W] | None = connection.lane
        if lane is None:
            return _NONE
        if connection.multiplexed:
            return self._release_one(lane, connection, now)
        if connection.leaving:
            return _NONE  # it has ended since it was assigned
        if lane.line or lane.fresh_queued or self._wanting or self._do_others_wait():
            decisions: list[Decision[W, C, K]] = []
            self._employ(lane, connection, now, decisions)
            self._settle(lane, now, decisions)
            return decisions
        return self._put(lane, connection, now)

    def opened(
        self, attempt: Attempt[K, C, W], connection: C, now: float
    ) -> Sequence[Decision[W, C, K]]:
        """
        An attempt has succeeded.
        """
        decisions: list[Decision[W, C, K]] = []
        lane = attempt.lane
        lane.opening -= 1
        lane.open.add(connection)
        lane.tally.opened += 1
        connection.lane = lane
        connection.retire_at = now + self.limits.max_age
        self._size_up(lane, connection, attempt)
        if attempt.waiter is not None:
            del lane.owned[attempt.waiter]
            self._assign(attempt.waiter, connection, decisions)
        elif lane.line:
            # Someone in line may count on this attempt, whoever else wants room.
            self._serve(next(iter(lane.line.values())), connection, decisions)
        elif (other := self._first_in_line(lane)) is not None:
            self._serve(other, connection, decisions)
        elif not connection.multiplexed:
            self._employ(lane, connection, now, decisions)
        if connection.multiplexed:
            self._offer(lane, connection, now, decisions)
        self._promise_anew(lane)
        self._settle(lane, now, decisions)
        self._warm_up(lane, now, decisions)
        return decisions

    def open_failed(
        self, attempt: Attempt[K, C, W], error: object, now: float, *, blamed: bool = True
    ) -> Sequence[Decision[W, C, K]]:
        """
        An attempt has failed.

        @param error: why; it is told to those who are refused because of it.
        @param blamed: it counts as a failure of the origin, which is left alone after some.
        """
        decisions: list[Decision[W, C, K]] = []
        lane = attempt.lane
        lane.opening -= 1
        self._total -= 1
        lane.tally.failed += 1
        lane.error = error
        self._cool_down(lane, now)
        if blamed:
            lane.breaker.failed(now, attempt.probe)
        else:
            lane.breaker.ended(attempt.probe)
        if attempt.waiter is not None:
            del lane.owned[attempt.waiter]
            if not self._send_on(attempt.waiter, attempt.deadline, lane, now, decisions):
                decisions.append(Refuse(lane.key, attempt.waiter, Refusal.ATTEMPT_FAILED, error))
        self._let_down(lane, attempt, error, now, decisions)
        self._settle(lane, now, decisions)
        return decisions

    def retired(self, connection: C, why: Retired) -> None:
        """
        A connection will serve no more; it may be told more than once.
        """
        lane: Lane[K, C, W] | None = connection.lane
        if lane is None or connection.leaving:
            return
        if connection in self._idle:
            del self._idle[connection]
            del lane.idle[connection]
        connection.leaving = True
        connection.condemned = why
        lane.leaving += 1
        if connection.multiplexed:
            lane.roomy.pop(connection, None)
            if connection.unheard and why not in (Retired.ENDED, Retired.BROKEN):
                # Our doing, and no failure of the origin.
                self._heard(lane, connection)
                self._promise_anew(lane)
        if connection.in_use:
            self._draining += 1
        else:
            self._leaving += 1
        lane.tally.retired[why] += 1

    def closed(
        self, connection: C, now: float, error: object = None
    ) -> Sequence[Decision[W, C, K]]:
        """
        A connection has ended.

        @param error: why, of one whose origin has never been heard: that is a failed attempt.
        """
        lane: Lane[K, C, W] | None = connection.lane
        if lane is None:
            return _NONE
        self.retired(connection, Retired.ENDED)
        connection.lane = None
        lane.open.discard(connection)
        lane.leaving -= 1
        if connection.in_use:
            self._draining -= 1
        else:
            self._leaving -= 1
        self._total -= 1
        if lane.warm:
            age = now - connection.retire_at + self.limits.max_age
            if connection.condemned is Retired.ENDED and age < SHORT_LIFE:
                self._cool_down(lane, now)
            else:
                lane.warm_backoff.reset()
        decisions: list[Decision[W, C, K]] = []
        attempt = lane.unheard.pop(connection, None)
        if attempt is not None:
            lane.error = error
            self._cool_down(lane, now)
            lane.breaker.failed(now, attempt.probe)
            self._let_down(lane, attempt, error, now, decisions)
        if self._queue:
            self._settle(lane, now, decisions)
        return decisions

    def found_dead(self, connection: C) -> None:
        """
        A connection that was taken, or assigned, turns out to have ended: it was not reused.
        """
        lane: Lane[K, C, W] | None = connection.lane
        if lane is not None:
            lane.tally.reused -= 1
            self.retired(connection, Retired.ENDED)

    def count_retry(self, key: K) -> None:
        """
        A request is sent again; L{acquire} follows.
        """
        self._lane(key).tally.retried += 1

    def condemn(self, connection: C, why: Retired, now: float) -> Sequence[Decision[W, C, K]]:
        """
        A connection is to serve no request after those it may be serving.
        """
        decisions: list[Decision[W, C, K]] = []
        connection.condemned = why
        if connection in self._idle:
            self._close(connection, why, decisions)
        elif connection.multiplexed:
            self.retired(connection, why)
            lane: Lane[K, C, W] | None = connection.lane
            if connection.unheard and lane is not None:
                self._heard(lane, connection)
                self._promise_anew(lane)
            # Those who have counted on it may have done so for long.
            self._end_waiting(now, decisions)
        return decisions

    def keep_warm(self, key: K, count: int) -> None:
        """
        Keep some connections to an origin open, in use or idle, from the next L{tick} on.  Said
        twice, the larger number counts.
        """
        lane = self._lane(key)
        if not lane.warm:
            self._warm.append(lane)
        lane.warm = max(count, lane.warm)

    def let_cool(self) -> None:
        """
        Keep no connections open any more for which nothing asks.
        """
        for lane in self._warm:
            lane.warm = 0
            lane.warm_from = 0.0
        self._warm.clear()

    def probe(self, key: K, now: float) -> Sequence[Decision[W, C, K]]:
        """
        If the last attempt to reach an origin has failed, and it need not be left alone any longer,
        see whether it can be reached again, though no request asks for it.
        """
        lane = self._lane(key)
        decisions: list[Decision[W, C, K]] = []
        if (
            lane.error is not None
            and not lane.opening
            and self._total < self.limits.max_connections
            and lane.may_open(self.limits.max_connections_per_origin, now)
        ):
            self._begin(lane, None, now, decisions)
            self._recount(lane, now)
        return decisions

    def tick(self, now: float) -> Sequence[Decision[W, C, K]]:
        """
        Some time has passed: close what is too old, refuse who has waited too long, open what is to
        be kept open.  Once a second is enough.
        """
        decisions: list[Decision[W, C, K]] = []
        for connection in [each for each, until in self._idle.items() if until <= now]:
            self._close(connection, self._overdue(connection, now), decisions)
        self._end_waiting(now, decisions)
        for lane in self._warm:
            self._warm_up(lane, now, decisions)
        if len(self._lanes) > MAX_DISUSED:
            self._forget(now)
        if len(self._listed) > len(self._queue):
            self._unlist()
        return decisions

    def clear(self) -> Sequence[Decision[W, C, K]]:
        """
        Close all idle connections.
        """
        decisions: list[Decision[W, C, K]] = []
        for connection in list(self._idle):
            self._close(connection, Retired.CLOSED, decisions)
        return decisions

    # Questions.

    def connections(self, key: K) -> Iterator[C]:
        """
        The connections to one origin that serve.
        """
        return (each for each in self.all_connections(key) if not each.leaving)

    def all_connections(self, key: K) -> Iterator[C]:
        """
        The connections to one origin that are not closed.
        """
        lane = self._lanes.get(key)
        return iter(()) if lane is None else iter(lane.open)

    def width(self, key: K) -> int:
        """
        How many requests at once a new connection to an origin will probably serve.
        """
        return self._lane(key).width

    @property
    def queued(self) -> int:
        """
        How many requests wait for which nothing is being opened.
        """
        return len(self._queue)

    def trouble(self, key: K) -> Trouble:
        """
        What is wrong with an origin.
        """
        lane = self._lane(key)
        return Trouble(lane.error, lane.breaker.tripped, lane.breaker.until)

    def stats(self) -> PoolStats[K]:
        """
        A snapshot of all numbers.
        """
        return PoolStats({key: lane.counts() for key, lane in self._lanes.items()}, self._sum())

    # Decisions about connections.

    def _take_usable(
        self, lane: Lane[K, C, W], now: float, decisions: list[Decision[W, C, K]]
    ) -> C | None:
        while lane.idle or lane.roomy:
            connection = self.take(lane.key, now)
            if connection is not None:
                return connection
            if lane.idle:
                connection = next(reversed(lane.idle))
                self._close(connection, self._overdue(connection, now), decisions)
        return None

    def _employ(
        self,
        lane: Lane[K, C, W],
        connection: C,
        now: float,
        decisions: list[Decision[W, C, K]],
    ) -> None:
        """
        Give a connection that has come free to whose turn it is.
        """
        first = self._first_in_line(lane)
        if not self._may_serve(connection, now):
            self._close(connection, self._overdue(connection, now), decisions)
        elif first is not None and not self._others_first(lane, first, now):
            lane.tally.reused += 1
            connection.fresh = False
            self._serve(first, connection, decisions)
        elif first is not None or self._is_room_wanted():
            self._close(connection, Retired.EVICTED, decisions)
        else:
            decisions += self._put(lane, connection, now)

    def _first_in_line(self, lane: Lane[K, C, W]) -> Place[K, C, W] | None:
        """
        Who is to have a connection that has come free.
        """
        return next(iter(lane.line.values()), None)

    def _serve(
        self, place: Place[K, C, W], connection: C, decisions: list[Decision[W, C, K]]
    ) -> None:
        self._leave_line(place.lane, place.waiter)
        self._assign(place.waiter, connection, decisions)

    def _assign(self, waiter: W, connection: C, decisions: list[Decision[W, C, K]]) -> None:
        if connection.multiplexed:
            assert connection.lane is not None
            self._occupy(connection.lane, connection)
        decisions.append(Assign(waiter, connection))

    def _put(self, lane: Lane[K, C, W], connection: C, now: float) -> Sequence[Decision[W, C, K]]:
        """
        Let a connection be idle.
        """
        limits = self.limits
        limit = connection.idle_limit
        until = now + (limit if limit < limits.idle_timeout else limits.idle_timeout)
        if until > connection.retire_at:
            until = connection.retire_at
        connection.fresh = False
        if until > now and connection.condemned is None:
            lane.idle[connection] = self._idle[connection] = until
            if len(lane.idle) <= limits.max_idle_per_origin:
                return _NONE
            surplus, why = next(iter(lane.idle)), Retired.SURPLUS
        else:
            surplus, why = connection, self._overdue(connection, now)
        decisions: list[Decision[W, C, K]] = []
        self._close(surplus, why, decisions)
        return decisions

    def _may_serve(self, connection: C, now: float) -> bool:
        return (
            connection.condemned is None
            and now < connection.retire_at
            and connection.idle_limit > 0
            and connection.capacity > 0
        )

    def _overdue(self, connection: C, now: float) -> Retired:
        """
        Why a connection is not used any more.
        """
        if connection.condemned is not None:
            return connection.condemned
        if connection.retire_at <= now:
            return Retired.AGE
        if not connection.capacity:
            return Retired.ENDED
        if connection.idle_limit < self.limits.idle_timeout:
            return Retired.KEEP_ALIVE
        return Retired.IDLE

    def _close(self, connection: C, why: Retired, decisions: list[Decision[W, C, K]]) -> None:
        self.retired(connection, why)
        decisions.append(Close(connection))

    # Decisions about requests.

    def _stand_in_line(self, lane: Lane[K, C, W], waiter: W, now: float, again: bool) -> None:
        self._number += 1
        number = self._number + (_BEFORE_ALL if again else 0)
        place = Place(waiter, lane, number, again, now + self.limits.queue_timeout)
        if again:
            lane.fresh_queued[waiter] = place
        else:
            lane.line[waiter] = lane.queued[waiter] = place
        self._queue[waiter] = place
        for each in self._serving(lane):
            self._promise(each)

    def _leave_line(self, lane: Lane[K, C, W], waiter: W) -> None:
        lane.line.pop(waiter, None)
        lane.queued.pop(waiter, None)
        lane.fresh_queued.pop(waiter, None)
        self._queue.pop(waiter, None)
        self._promise(lane)

    def _promise(self, lane: Lane[K, C, W]) -> None:
        """
        Those who wait for nothing count on the attempts that nobody counts on.
        """
        if lane.opening or lane.unheard:
            while lane.promised < lane.may_promise and self._has_next(lane):
                waiter, _ = lane.queued.popitem(last=False)
                del self._queue[waiter]
        self._limit_wanting(lane)

    def _limit_wanting(self, lane: Lane[K, C, W]) -> None:
        if lane.wanting and lane.wanting > lane.wanted:
            self._wanting -= lane.wanting - lane.wanted
            lane.wanting = lane.wanted

    def _sort_queue(self) -> None:
        self._queue = OrderedDict(sorted(self._queue.items(), key=lambda item: item[1].order))

    def _refuse_queued(
        self,
        place: Place[K, C, W],
        refusal: Refusal,
        decisions: list[Decision[W, C, K]],
        retry_after: float = 1.0,
    ) -> None:
        lane = place.lane
        self._leave_line(lane, place.waiter)
        lane.tally.refused += 1
        decisions.append(Refuse(lane.key, place.waiter, refusal, lane.error, retry_after))

    def _end_waiting(self, now: float, decisions: list[Decision[W, C, K]]) -> None:
        while self._queue:
            place = next(iter(self._queue.values()))
            if place.deadline > now:
                break
            self._refuse_queued(place, Refusal.QUEUE_TIMEOUT, decisions)
        # An origin that was left alone may be tried again by now.
        for lane in {place.lane: None for place in self._queue.values()}:
            self._settle(lane, now, decisions)

    # Decisions about opening.

    def _settle(self, lane: Lane[K, C, W], now: float, decisions: list[Decision[W, C, K]]) -> None:
        """
        After any change to a lane: refuse whom it cannot help, open what may be opened, and make
        room for what may not.
        """
        if self._is_settled(lane):
            return
        if lane.queue_length:
            self._refuse_hopeless(lane, now, decisions)
        if self._queue:
            self._draw(lane, now)
        self._recount(lane, now)
        self._list(lane)
        while self._total < self.limits.max_connections:
            first = self._first_listed(now)
            if first is None:
                break
            heapq.heappop(self._listed)
            first.listed = None
            self._begin(first, first.first_queued(), now, decisions)
            self._recount(first, now)
            self._list(first)
        self._make_room(lane, decisions)

    def _is_settled(self, lane: Lane[K, C, W]) -> bool:
        """
        The usual case under load: an origin has all the connections that it may have, its requests
        wait for these, and no other origin wants room.
        """
        return (
            lane.count >= self.limits.max_connections_per_origin
            and not (lane.fresh_queued or self._wanting or self._listed)
            and not lane.breaker.tripped
        )

    def _refuse_hopeless(
        self, lane: Lane[K, C, W], now: float, decisions: list[Decision[W, C, K]]
    ) -> None:
        """
        While an origin is left alone, only a connection that is open already can help.
        """
        breaker = lane.breaker
        if breaker.allows(now):
            return
        hopeless: list[Place[K, C, W]] = []
        for place in list(lane.fresh_queued.values()):
            self._leave_line(lane, place.waiter)
            if not self._send_on(place.waiter, place.deadline, lane, now, decisions):
                hopeless.append(place)
        if lane.queued and not lane.working and not self._move_away(lane, now, decisions):
            hopeless += lane.queued.values()
        for place in hopeless:
            self._refuse_queued(place, Refusal.FAILING, decisions, max(breaker.until - now, 1.0))

    def _begin(
        self,
        lane: Lane[K, C, W],
        place: Place[K, C, W] | None,
        now: float,
        decisions: list[Decision[W, C, K]],
    ) -> None:
        """
        Begin an attempt: for the one in this place if it must be fresh, else for anyone in line.
        """
        attempt = Attempt(lane, self._number, now, probe=lane.breaker.started())
        lane.opening += 1
        self._total += 1
        if place is not None and place.fresh:
            del self._queue[place.waiter]
            del lane.fresh_queued[place.waiter]
            attempt.waiter = place.waiter
            attempt.deadline = place.deadline
            lane.owned[place.waiter] = attempt
        else:
            self._promise(lane)
        decisions.append(Open(attempt))

    def _let_down(
        self,
        lane: Lane[K, C, W],
        attempt: Attempt[K, C, W],
        error: object,
        now: float,
        decisions: list[Decision[W, C, K]],
    ) -> None:
        """
        An attempt has come to nothing that some have counted on.
        """
        while lane.promised > lane.may_promise:
            first = next(iter(lane.line.values()))
            if self._put_back(first, now, decisions):
                pass
            elif self._came_late(first, attempt, now) and lane.breaker.allows(now):
                self._begin(lane, None, now, decisions)
            else:
                del lane.line[first.waiter]
                decisions.append(Refuse(lane.key, first.waiter, Refusal.ATTEMPT_FAILED, error))

    def _came_late(self, place: Place[K, C, W], attempt: Attempt[K, C, W], now: float) -> bool:
        """
        Whether a request came after an attempt was begun that has failed: it gets one of its own.
        Where many count on one, it must have come when most of its time was over.
        """
        if not place.lane.multiplexed:
            return place.number > attempt.number
        came = place.deadline - self.limits.queue_timeout
        return came - attempt.begun > now - came

    def _warm_up(self, lane: Lane[K, C, W], now: float, decisions: list[Decision[W, C, K]]) -> None:
        if not lane.warm or now < lane.warm_from:
            return
        while (
            (lane.working + lane.opening) * lane.width < lane.warm
            and self._total < self.limits.max_connections
            and lane.may_open(self.limits.max_connections_per_origin, now)
        ):
            self._begin(lane, None, now, decisions)
            self._recount(lane, now)

    def _cool_down(self, lane: Lane[K, C, W], now: float) -> None:
        """
        Something went wrong: keep nothing warm for a while.
        """
        if lane.warm and now >= lane.warm_from:
            lane.warm_from = now + lane.warm_backoff.next()

    def _list(self, lane: Lane[K, C, W]) -> None:
        first = lane.first_queued()
        if first is not None and (lane.listed is None or first.number < lane.listed):
            lane.listed = first.number
            heapq.heappush(self._listed, (first.number, lane))

    def _first_listed(self, now: float) -> Lane[K, C, W] | None:
        """
        The lane whose turn it is to open; those that cannot at present are dropped, until something
        happens to them.
        """
        listed = self._listed
        while listed:
            number, lane = listed[0]
            first = lane.first_queued()
            if number != lane.listed:  # listed again, further in front
                heapq.heappop(listed)
            elif first is None or not lane.may_open(self.limits.max_connections_per_origin, now):
                heapq.heappop(listed)
                lane.listed = None
            elif first.number != number:
                heapq.heapreplace(listed, (first.number, lane))
                lane.listed = first.number
            else:
                return lane
        return None

    def _unlist(self) -> None:
        """
        Drop the lanes that want nothing any more.
        """
        for _, lane in self._listed:
            lane.listed = None
        self._listed.clear()
        for place in self._queue.values():
            self._list(place.lane)

    def _recount(self, lane: Lane[K, C, W], now: float) -> None:
        """
        Keep C{wanting}, of the lane and in all, up to date.
        """
        wanting = lane.wanted
        if wanting:
            room = self.limits.max_connections_per_origin - lane.count
            wanting = min(wanting, room) if lane.breaker.allows(now) else 0
        self._wanting += wanting - lane.wanting
        lane.wanting = wanting

    def _is_room_wanted(self, spared: int = 0) -> bool:
        """
        More is wanted than will have room when all have closed that are about to.

        @param spared: how many of those that want room do not count.
        """
        room = self._leaving + self.limits.max_connections - self._total
        return self._wanting - spared > room

    def _others_first(
        self, lane: Lane[K, C, W], first: Place[K, C, W], now: float, spared: int = 0
    ) -> bool:
        """
        A request that needs room comes before the first one in line.

        @param spared: how many of those that want room do not count.
        """
        if not (self._wanting or lane.fresh_queued):
            return False
        if self._lacks_room_for_fresh(lane):
            return True
        # Of this lane only those count for whom this connection is of no use.
        spared += max(lane.wanting - len(lane.fresh_queued), 0)
        other = self._first_listed(now) if self._is_room_wanted(spared) else None
        place = None if other is None else other.first_queued()
        if place is None:
            return False
        return place.fresh or place.deadline + HANDOVER_DELAY < first.deadline

    def _has_waited_long(self, place: Place[K, C, W], now: float) -> bool:
        """
        So long that a connection in use is to make room for a request.
        """
        return place.deadline - self.limits.queue_timeout + HANDOVER_DELAY < now

    def _lacks_room_for_fresh(self, lane: Lane[K, C, W]) -> bool:
        """
        The origin's own limit keeps out requests that must have a new connection.
        """
        if not lane.fresh_queued:
            return False
        free = self.limits.max_connections_per_origin - lane.count
        closing = sum(each.leaving and not each.in_use for each in lane.open)
        return len(lane.fresh_queued) > free + closing

    def _make_room(self, lane: Lane[K, C, W], decisions: list[Decision[W, C, K]]) -> None:
        while self._idle and self._is_room_wanted():
            self._close(next(iter(self._idle)), Retired.EVICTED, decisions)
        # Idle ones are of no use to requests that must have a new one.
        while lane.idle and self._lacks_room_for_fresh(lane):
            self._close(next(iter(lane.idle)), Retired.EVICTED, decisions)

    # What is different where all origins do the same; see L{fastcar_tw.pool.one_line}.

    def _serving(self, lane: Lane[K, C, W]) -> Sequence[Lane[K, C, W]]:
        """
        The lanes whose connections will do for a request of this one, which comes first.
        """
        return (lane,)

    def _do_others_wait(self) -> bool:
        """
        Whether a connection may be wanted by requests of other lanes.
        """
        return False

    def _has_next(self, lane: Lane[K, C, W]) -> bool:
        """
        Whether there is somebody in the queue of a lane to be promised an attempt.
        """
        return bool(lane.queued)

    def _draw(self, lane: Lane[K, C, W], now: float) -> None:
        """
        Let those come to a lane that may open connections for them.
        """

    def _put_back(
        self, place: Place[K, C, W], now: float, decisions: list[Decision[W, C, K]]
    ) -> bool:
        """
        Let a request whose attempt has failed wait for something else.

        @return: whether there is such a thing.
        """
        return False

    def _send_on(
        self,
        waiter: W,
        deadline: float,
        lane: Lane[K, C, W],
        now: float,
        decisions: list[Decision[W, C, K]],
    ) -> bool:
        """
        Have another connection opened for a request that must have a new one, and whose attempt has
        failed.

        @param deadline: until when it may be in a queue; seconds.
        @return: whether there is whom to ask.
        """
        return False

    def _move_away(
        self, lane: Lane[K, C, W], now: float, decisions: list[Decision[W, C, K]]
    ) -> bool:
        """
        Let those in the queue of a lane that is left alone wait elsewhere.

        @return: whether there is such a place.
        """
        return False

    # Books.

    def _lane(self, key: K) -> Lane[K, C, W]:
        lane = self._lanes.get(key)
        if lane is None:
            breaker = Breaker(self.limits.fail_fast_after, self._random)
            lane = Lane(key, breaker, Backoff(self._random), self._expected_capacity(key))
            self._lanes[key] = lane
        return lane

    def _forget(self, now: float) -> None:
        """
        Forget disused lanes, so that not every name ever asked for is kept.
        """
        disused = [lane for lane in self._lanes.values() if lane.is_disused(now)]
        for lane in disused[: len(self._lanes) - MAX_DISUSED]:
            self._past.add(lane.tally)
            del self._lanes[lane.key]

    def _sum(self) -> Counts:
        return sum_counts((lane.counts() for lane in self._lanes.values()), self._past)
