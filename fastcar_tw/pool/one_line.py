"""
A pool in which all origins do the same, so that a request may be given a connection to any: one
line for all.

Rules of this file: in which lane a request stands says where something would be opened for it, and
no more.  Whichever connection comes free serves whoever came first, and a request that a lane has
failed goes on to another, in its old turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from fastcar_tw.pool.core import PoolCore
from fastcar_tw.pool.decisions import Decision
from fastcar_tw.pool.lane import C, K, Lane, Place, W


class OneLineCore(PoolCore[K, C, W]):
    """
    A L{PoolCore} whose limits must leave room for all connections of every origin.
    """

    def load(self, key: K, now: float) -> tuple[bool, bool, int]:
        """
        How good a choice an origin is for a request, the least being the best: it is left alone, it
        has no connection to spare, how many are in use or being opened.
        """
        lane = self._lane(key)
        full = not (lane.idle or lane.may_open(self.limits.max_connections_per_origin, now))
        return not lane.breaker.allows(now), full, lane.count - len(lane.idle)

    def _serving(self, lane: Lane[K, C, W]) -> Sequence[Lane[K, C, W]]:
        if len(self._lanes) == 1:
            return (lane,)
        return (lane, *(each for each in self._lanes.values() if each is not lane))

    def _do_others_wait(self) -> bool:
        return len(self._lanes) > 1 and any(each.line for each in self._lanes.values())

    def _first_in_line(self, lane: Lane[K, C, W]) -> Place[K, C, W] | None:
        if len(self._lanes) == 1:
            return super()._first_in_line(lane)
        lines = [next(iter(each.line.values())) for each in self._lanes.values() if each.line]
        lines += islice(self._unpromised(), 1)
        return min(lines, key=lambda place: place.number, default=None)

    def _has_next(self, lane: Lane[K, C, W]) -> bool:
        first = next(self._unpromised(), None)
        if first is None:
            return False
        self._bring([first], lane)
        if first.number < lane.last_promised:
            # One that was put back may have come before those promised meanwhile.
            promised = [*islice(lane.line.values(), lane.promised), first]
            for place in sorted(promised, key=lambda each: each.number, reverse=True):
                lane.line.move_to_end(place.waiter, last=False)
        else:
            lane.last_promised = first.number
        return True

    def _draw(self, lane: Lane[K, C, W], now: float) -> None:
        cap = self.limits.max_connections_per_origin
        if lane.error is None and lane.may_open(cap, now):
            self._bring(list(islice(self._unpromised(), cap - lane.count)), lane)

    def _put_back(
        self, place: Place[K, C, W], now: float, decisions: list[Decision[W, C, K]]
    ) -> bool:
        refuge = self._refuge(place.lane, now)
        if refuge is None:
            return False
        place.lane.queued[place.waiter] = self._queue[place.waiter] = place
        self._sort_queue()
        self._take_refuge(refuge, now, decisions)
        return True

    def _send_on(
        self,
        waiter: W,
        deadline: float,
        lane: Lane[K, C, W],
        now: float,
        decisions: list[Decision[W, C, K]],
    ) -> bool:
        refuge = self._refuge(lane, now)
        # One that refuses more connections than it has is not asked in vain.
        if refuge is None or refuge.error is not None:
            return False
        self._stand_in_line(refuge, waiter, now, again=True)
        self._queue[waiter].deadline = deadline
        self._sort_queue()
        self._settle(refuge, now, decisions)
        return True

    def _move_away(
        self, lane: Lane[K, C, W], now: float, decisions: list[Decision[W, C, K]]
    ) -> bool:
        refuge = self._refuge(lane, now)
        if refuge is not None:
            self._take_refuge(refuge, now, decisions)
        return refuge is not None

    def _unpromised(self) -> Iterator[Place[K, C, W]]:
        """
        The requests for which nothing is being opened, but those that must have a new connection.
        """
        return (place for place in self._queue.values() if not place.fresh)

    def _bring(self, first: Sequence[Place[K, C, W]], lane: Lane[K, C, W]) -> None:
        """
        Let those who are first of all that are not promised a connection stand in this lane.
        """
        strangers = [place for place in first if place.lane is not lane]
        if not strangers:
            return  # its own are in order
        in_order = not lane.queued
        for place in strangers:
            waiter, left = place.waiter, place.lane
            del left.line[waiter], left.queued[waiter]
            self._limit_wanting(left)
            place.lane = lane
            lane.line[waiter] = lane.queued[waiter] = place
        if in_order:
            return
        promised = list(islice(lane.line, lane.promised))
        for place in reversed(first):
            lane.line.move_to_end(place.waiter, last=False)
            lane.queued.move_to_end(place.waiter, last=False)
        for waiter in reversed(promised):
            lane.line.move_to_end(waiter, last=False)

    def _refuge(self, lane: Lane[K, C, W], now: float) -> Lane[K, C, W] | None:
        """
        Where else those may stand whom this lane has failed: where there are connections, or where
        the last attempt has not failed.
        """
        others = [
            each
            for each in self._lanes.values()
            if each is not lane and (each.working or each.error is None)
        ]
        return min(
            others,
            key=lambda each: (each.error is not None, self.load(each.key, now)),
            default=None,
        )

    def _take_refuge(
        self, lane: Lane[K, C, W], now: float, decisions: list[Decision[W, C, K]]
    ) -> None:
        """
        Let the whole line stand here, so that nothing more is opened for it where that fails.
        """
        self._bring(list(self._unpromised()), lane)
        for each in self._serving(lane):
            self._promise(each)
        if lane.error is None:
            self._settle(lane, now, decisions)
