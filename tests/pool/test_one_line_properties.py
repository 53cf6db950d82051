"""
Any sequence of events where all origins do the same and have one line: the model of
L{tests.pool.test_properties} with the rules of that.
"""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.pool.core import Assign, PoolLimits, Refuse
from fastcar_tw.pool.one_line import OneLineCore
from fastcar_tw.pool.stats import Counts, Retired

from .driver import Connection
from .test_properties import FULL, KEYS, LIMITS, USUAL, Past, PoolMachine, Request, State

ONE_LINE = LIMITS.map(
    lambda each: replace(
        each,
        max_connections=len(KEYS) * each.max_connections_per_origin,
        max_idle_per_origin=each.max_connections_per_origin,
    )
)
SIMPLE = st.just(dict.fromkeys(KEYS, (1, None)))


class OneLineMachine(PoolMachine):
    """Events at random, and the rules of one line for all."""

    multiplexing = False

    @initialize(limits=ONE_LINE, numbers=st.sampled_from((0.0, 0.5, 1.0)), origins=SIMPLE)
    def begin(
        self, limits: PoolLimits, numbers: float, origins: dict[str, tuple[int, int | None]]
    ) -> None:
        """A new pool."""
        super().begin(limits, numbers, origins)
        self.core = OneLineCore(limits, lambda: numbers)
        self.past = {key: Past() for key in KEYS}
        #: Those who counted on nothing after the last event.
        self.before: list[Request] = []
        #: Who waited after the last event.
        self.known: set[str] = set()
        #: A connection that has just been opened may serve who was promised one.
        self.opening = False
        for key in KEYS:
            self.lane(key)

    # Events.

    def acquire(self, key: str, again: bool) -> None:
        """A request comes, wherever it wants to go."""
        self.arrivals += 1
        name = f"{key}{self.arrivals}"
        usable = [each for each in self.idle if self.connections[each].until > self.now]
        own = [each for each in usable if each.key == key]
        self.waiting[name] = Request(name, key, again, self.arrivals, self.now)
        queued = len(self.core._queue)
        if again:
            self.core.count_retry(key)
            self.past[key].retried += 1
        decisions = self.core.acquire(key, name, self.now, again=again)
        if usable and not again:
            last = decisions[-1]
            assert isinstance(last, Assign), "waits beside an idle connection"
            assert last.connection in usable
            assert not own or last == Assign(name, own[-1]), "not the last used"
        self.perform(decisions)
        if any(isinstance(each, Refuse) and each.refusal is FULL for each in decisions):
            assert not again
            assert queued >= self.limits.max_queue
        elif name in self.core._queue and not again:
            assert len(self.core._queue) - self.count(State.LEAVING) <= self.limits.max_queue

    def released(self, connection: Connection, limit: float | None = None) -> None:
        """A connection has served."""
        if limit is not None:
            connection.idle_limit = limit
        known = self.connections[connection]
        known.state = State.FREE
        known.until = min(
            self.now + min(connection.idle_limit, self.limits.idle_timeout), known.old_at
        )
        line = self.everyone()
        lacking = len(self.lane(known.key).fresh_queued)
        is_lacking = lacking > self.room_of(known.key) + self.count(State.LEAVING, known.key)
        decisions = self.core.release(connection, self.now)
        if line and connection.condemned is None and known.until > self.now:
            is_served = decisions[0] == Assign(line[0].name, connection)
            assert is_served is not is_lacking, "not its turn, or needlessly closed"
        self.perform(decisions)

    def opened(self, attempt: object) -> None:
        """An attempt succeeds."""
        self.opening = True
        super().opened(attempt)  # type: ignore[arg-type]
        self.opening = False

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""
        if self.connections[connection].state is not State.LEAVING:
            self.leaves(connection, Retired.ENDED)
        del self.connections[connection]
        self.perform(self.core.closed(connection, self.now))
        assert self.core.closed(connection, self.now) == ()

    # What the decisions mean.

    def assigned(self, request: Request, connection: Connection) -> None:
        """Check the rules of assignment."""
        known = self.connections[connection]
        promised = self.opening and request not in self.before
        if not request.again and not promised:
            assert request is self.everyone()[0], "not its turn"
        # Any origin's will do.
        request.key = known.key
        held, self.waiting = self.waiting, {request.name: request}
        super().assigned(request, connection)
        self.waiting = {name: each for name, each in held.items() if name != request.name}

    def stands_at(self, request: Request, key: str) -> bool:
        """Where a request stands is the core's affair."""
        return True

    # The model's books.

    def everyone(self) -> list[Request]:
        """Who may have any connection, in the order of arrival."""
        return [each for each in self.waiting.values() if not each.again]

    def queued(self, key: str | None = None) -> list[Request]:
        """Requests for which nothing is being opened, wherever they stand."""
        return [each for name, each in self.waiting.items() if name in self.core._queue]

    # The rules.

    def nobody_waits_needlessly(self) -> None:
        """No request waits beside an idle connection, or beside room where nothing has failed."""
        unpromised = [each for each in self.queued() if not each.again]
        assert not (self.everyone() and self.idle), "waits beside an idle connection"
        for key in KEYS:
            lane = self.lane(key)
            room = self.room_of(key) - len(lane.fresh_queued)
            assert not (unpromised and room > 0 and lane.error is None), "waits beside room"
            if len(lane.fresh_queued) > self.room_of(key) + self.count(State.LEAVING, key):
                assert not self.idle_of(key), "waits for room that idle connections take"
        if unpromised:
            lanes = [self.lane(key) for key in KEYS]
            # The end of one that is leaving is the next event.
            hopeful = [each for each in lanes if each.open or each.opening or not each.error]
            assert hopeful, "waits for nothing"

    def nothing_lies_idle(self) -> None:
        """See L{nobody_waits_needlessly}."""

    def nobody_is_lost(self) -> None:
        """Each request stands in one lane; the first ones count on all attempts there are."""
        standing = [name for key in KEYS for name in self.lane(key).line]
        assert sorted(standing) == sorted(each.name for each in self.everyone())
        owners = {name for key in KEYS for name in self.lane(key).owned}
        again = owners.union(*(self.lane(key).fresh_queued for key in KEYS))
        assert again == {each.name for each in self.waiting.values() if each.again}
        unpromised = [each for each in self.queued() if not each.again]
        shared = sum(each.waiter is None for each in self.attempts)
        assert len(unpromised) == max(len(standing) - shared, 0)
        numbers = [place.number for place in self.core._queue.values() if not place.fresh]
        assert numbers == sorted(numbers), "the queue is out of order"
        assert all(
            place.lane.queued[name] is place
            for name, place in self.core._queue.items()
            if not place.fresh
        )
        for key in KEYS:
            lane = self.lane(key)
            assert list(lane.queued) == list(lane.line)[lane.promised :]
            own = [place.number for place in lane.queued.values()]
            assert own == sorted(own), "a lane is out of order"
        # Who has come to count on an attempt was the first of those who counted on none.
        left = {each.name for each in unpromised}
        gone = [each for each in self.everyone() if each.name not in left]
        news = [each for each in gone if each in self.before or each.name not in self.known]
        assert all(
            each.number > new.number for new in news for each in self.before if each.name in left
        ), "promised out of turn"
        self.before = unpromised
        self.known = set(self.waiting)

    def books_agree(self) -> None:
        """The core's counters are the model's."""
        core = self.core
        assert core._total == self.total
        assert core._leaving == self.count(State.LEAVING)
        assert list(core._idle) == self.idle
        assert core._wanting == sum(self.lane(key).wanting for key in KEYS)
        stats = core.stats()
        for key in KEYS:
            known = stats.origins[key]
            assert list(self.lane(key).idle) == self.idle_of(key)
            assert self.without_lines(known) == self.without_lines(self.counts(key))
        assert stats.total.waiting == len(self.waiting)
        assert stats.total.queued == len(self.queued())

    @staticmethod
    def without_lines(counts: Counts) -> Counts:
        """Where requests stand is no matter."""
        return replace(counts, waiting=0, queued=0)


class OneLinePropertyTests(SynchronousTestCase):
    """Any sequence of events; for POOL_EXAMPLES see L{tests.pool.test_properties}."""

    def test_any_sequence(self) -> None:
        """Whatever happens in whatever order, every rule of one line holds after each event."""
        run_state_machine_as_test(
            OneLineMachine,
            settings=settings(
                max_examples=int(os.environ.get("POOL_EXAMPLES", USUAL)),
                stateful_step_count=50,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
