"""
Any sequence of events: a model that knows only the events and the decisions keeps its own books,
and after each event compares them with the rules and with the core's.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.pool.core import (
    HANDOVER_DELAY,
    Assign,
    Close,
    Open,
    PoolCore,
    PoolLimits,
    Refusal,
    Refuse,
)
from fastcar_tw.pool.lane import Lane
from fastcar_tw.pool.stats import Counts, Retired

from .driver import Connection, Core, Multiplexed, PoolAttempt, PoolDecision

LOST = (Retired.ENDED, Retired.BROKEN, Retired.TAKEN)
KEYS = ("a", "b", "c")
#: How many sequences a usual run tries.
USUAL = 120
FULL = Refusal.QUEUE_FULL
_T = TypeVar("_T")

small = st.sampled_from((1, 2, 3, 4))
LIMITS = st.builds(
    PoolLimits,
    max_connections=st.sampled_from((1, 2, 3, 4, 5, 6)),
    max_connections_per_origin=small,
    max_idle_per_origin=small,
    max_queue=st.sampled_from((0, 1, 3, 100)),
    queue_timeout=st.just(10.0),
    idle_timeout=st.sampled_from((6.0, 30.0)),
    max_age=st.sampled_from((8.0, 100.0)),
    fail_fast_after=st.sampled_from((0, 0, 1, 2)),
)
keys = st.sampled_from(KEYS)
#: Of an origin's next connections, if they are multiplexed.
CAPACITIES = (0, 1, 2, 3, 5)
kinds = st.sampled_from((None, *CAPACITIES))
ORIGINS = st.fixed_dictionaries(
    {key: st.tuples(st.sampled_from((1, 1, 2, 4)), kinds) for key in KEYS}
)
picks = st.integers(0, 11)
ways = st.lists(
    st.sampled_from(("acquire", "acquire", "take", "take", "find dead", "again")),
    min_size=1,
    max_size=5,
)
several = st.lists(picks, min_size=1, max_size=5)
#: What happens most of the time, often enough for connections to be idle and requests to wait.
DAILY = 2 * ("acquire", "take") + ("again",) + 3 * ("succeed", "release", "finish")
daily = st.lists(st.tuples(st.sampled_from(DAILY), keys, picks), min_size=3, max_size=20)


class State(Enum):
    """Of a connection."""

    FREE = "free"  # opened or released just now: the core must say what for
    ACTIVE = "active"
    IDLE = "idle"
    #: It serves no more, but still some.
    DRAINING = "draining"
    LEAVING = "leaving"


@dataclass
class Known:
    """
    What the model knows of a connection; until when it may be used, in seconds, and how many
    requests it serves.
    """

    key: str
    until: float
    old_at: float
    state: State = State.FREE
    served: bool = False
    in_use: int = 0


@dataclass
class Request:
    """What the model knows of a request that waits; C{again} if it must have a new connection."""

    name: str
    key: str
    again: bool
    number: int
    since: float


@dataclass
class Past:
    """What has happened to an origin."""

    opened: int = 0
    reused: int = 0
    retried: int = 0
    failed: int = 0
    refused: int = 0
    retired: Counter[Retired] = field(default_factory=Counter)


class PoolMachine(RuleBasedStateMachine):
    """Events at random, and the rules."""

    #: Some connections serve several requests at once.
    multiplexing = True

    @initialize(limits=LIMITS, numbers=st.sampled_from((0.0, 0.5, 1.0)), origins=ORIGINS)
    def begin(
        self, limits: PoolLimits, numbers: float, origins: dict[str, tuple[int, int | None]]
    ) -> None:
        """
        A new pool, and origins: how many requests at once a connection is expected to serve, and
        will.
        """
        self.now = 0.0
        self.limits = limits
        self.width = {key: expected for key, (expected, _) in origins.items()}
        self.kinds = {key: kind for key, (_, kind) in origins.items()}
        expected = dict(self.width)
        self.core: Core = PoolCore(limits, lambda: numbers, lambda key: expected[key])
        self.connections: dict[Connection, Known] = {}
        self.idle: list[Connection] = []
        self.waiting: dict[str, Request] = {}
        self.answered: set[str] = set()
        #: With the number of the last request that had come when each began, and the time.
        self.attempts: dict[PoolAttempt, tuple[int, float]] = {}
        self.past = {key: Past() for key in KEYS}
        self.arrivals = 0
        #: The core knows what time it is.
        self.ticked = True
        #: How many connections more others wanted before the last event than will have room.
        self.pressed = 0

    # Events.

    @rule(events=daily)
    def business(self, events: list[tuple[str, str, int]]) -> None:
        """A usual day."""
        for act, key, pick in events:
            if act == "succeed":
                self.succeed([pick])
            elif act == "release":
                self.release([pick], None)
            elif act == "finish":
                self.finish([pick])
            else:
                self.arrive(key, [act])

    @rule()
    def evening(self) -> None:
        """What can be brought to an end is."""
        for attempt in list(self.attempts):
            self.opened(attempt)
            self.check()
        for connection in self.of(State.ACTIVE, State.DRAINING):
            for _ in range(self.connections[connection].in_use or 1):
                self.released(connection)
                self.check()
        for connection in self.of(State.LEAVING):
            self.closed(connection)
            self.check()

    @rule(key=keys, ways=ways)
    def arrive(self, key: str, ways: list[str]) -> None:
        """Requests come, each in its own way."""
        for way in ways:
            if way in ("acquire", "again") or not self.take(key, way == "find dead"):
                self.acquire(key, way == "again")
            self.check()

    def acquire(self, key: str, again: bool) -> None:
        """A request comes."""
        self.arrivals += 1
        name = f"{key}{self.arrivals}"
        usable = [each for each in self.idle_of(key) if self.connections[each].until > self.now]
        best = self.shared(key) or usable[-1:]
        new = again and not self.core._lane(key).multiplexed
        self.waiting[name] = Request(name, key, new, self.arrivals, self.now)
        queued = len(self.queued())
        wanted = sum(map(self.wanted, KEYS))
        if again:
            self.core.count_retry(key)
            self.past[key].retried += 1
        decisions = self.core.acquire(key, name, self.now, again=again)
        if best and not new:
            assert decisions[-1] in [Assign(name, each) for each in best], "not the last used"
        self.perform(decisions)
        if any(isinstance(each, Refuse) and each.refusal is FULL for each in decisions):
            assert not again
            leaving = self.count(State.LEAVING)
            assert not self.ticked or queued - min(leaving, wanted) > self.limits.max_queue
        elif name in self.core._queue and self.ticked and not again:
            spared = min(self.count(State.LEAVING), sum(map(self.wanted, KEYS)))
            assert len(self.queued()) - spared <= self.limits.max_queue

    def take(self, key: str, dead: bool) -> bool:
        """A request comes the quick way, and may find that its connection has ended."""
        idle, shared = self.idle_of(key), self.shared(key)
        connection = self.core.take(key, self.now)
        self.notice_drained()
        if connection is None:
            assert not shared
            assert not idle or self.connections[idle[-1]].until <= self.now
            return False
        assert connection in (shared or idle[-1:])
        assert shared or self.connections[connection].until > self.now
        self.arrivals += 1
        self.waiting["taker"] = Request("taker", key, False, self.arrivals, self.now)
        self.perform([Assign("taker", connection)])
        self.answered.discard("taker")
        if dead:
            self.core.found_dead(connection)
            self.past[key].reused -= 1
            self.leaves(connection, Retired.ENDED)
        return True

    @precondition(lambda self: self.waiting)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        """A request goes."""
        request = chosen(list(self.waiting.values()), pick)
        self.core.cancel(request.key, request.name)
        self.answer(request.name)

    @precondition(lambda self: self.of(State.ACTIVE, State.DRAINING))
    @rule(picks=several, limit=st.sampled_from((None, None, None, 0.0, 1.0, 3.0)))
    def release(self, picks: list[int], limit: float | None) -> None:
        """Connections have served; the last one's origin may say how long it may be idle."""
        for left, pick in reversed(list(enumerate(picks))):
            active = self.of(State.ACTIVE, State.DRAINING)
            if active:
                self.released(chosen(active, pick), None if left else limit)
                self.check()

    def released(self, connection: Connection, limit: float | None = None) -> None:
        """A connection has served."""
        if connection.multiplexed:
            self.released_one(connection)
            return
        if limit is not None:
            connection.idle_limit = limit
        known = self.connections[connection]
        known.state = State.FREE
        known.until = min(
            self.now + min(connection.idle_limit, self.limits.idle_timeout), known.old_at
        )
        line = self.line(known.key)
        latest = self.latest_entitled(known.key)
        decisions = self.core.release(connection, self.now)
        if line and self.ticked and connection.condemned is None and known.until > self.now:
            is_served = decisions[0] == Assign(line[0].name, connection)
            assert is_served is (line[0].since <= latest), "not its turn, or needlessly closed"
        self.perform(decisions)

    def released_one(self, connection: Connection) -> None:
        """A multiplexed connection has served a request."""
        known = self.connections[connection]
        known.in_use -= 1
        if known.state is State.DRAINING:
            decisions = self.core.release(connection, self.now)
            assert list(decisions) == [Close(connection)] * (not known.in_use)
            self.perform(decisions)
            return
        if not known.in_use:
            known.state = State.FREE
            known.until = min(self.now + self.limits.idle_timeout, known.old_at)
        line = self.line(known.key)
        spared = self.soon_drained(known)
        latest = self.latest_entitled(known.key, spared)
        self.pressed = self.pressure(known.key)
        is_full = self.total == self.limits.max_connections
        decisions = self.core.release(connection, self.now)
        if line and self.ticked and known.in_use < connection.capacity and known.old_at > self.now:
            is_served = decisions[:1] == [Assign(line[0].name, connection)]
            assert is_served is (line[0].since <= latest), "not its turn, or needlessly drained"
        self.perform(decisions)
        if known.state is State.ACTIVE and connection.capacity and self.ticked and is_full:
            first = self.first_wanting()
            assert (
                self.pressed <= spared
                or first is None
                or (first.key == known.key and not first.again)
                or first.since + HANDOVER_DELAY >= self.now
            ), "others wait for too long"

    @precondition(lambda self: self.multiplexing)
    @rule(key=keys, kind=kinds)
    def become(self, key: str, kind: int | None) -> None:
        """An origin's next connections will be of another kind."""
        self.kinds[key] = kind

    @precondition(lambda self: self.multiplexed())
    @rule(picks=several, capacity=st.sampled_from(CAPACITIES))
    def change(self, picks: list[int], capacity: int) -> None:
        """An origin says how many requests at once it serves on some connections."""
        for pick in picks:
            multiplexed = self.multiplexed()
            if not multiplexed:
                break
            connection = chosen(multiplexed, pick)
            known = self.connections[connection]
            connection.capacity = capacity
            self.pressed = self.pressure(known.key)
            if known.state is not State.DRAINING and capacity:
                self.width[known.key] = capacity
            self.perform(self.core.capacity_changed(connection, self.now))
            self.check()

    @precondition(lambda self: self.of(State.LEAVING))
    @rule(picks=several)
    def finish(self, picks: list[int]) -> None:
        """Connections end that were to."""
        for pick in picks:
            leaving = self.of(State.LEAVING)
            if leaving:
                self.closed(chosen(leaving, pick))
                self.check()

    @precondition(lambda self: self.of(State.ACTIVE, State.DRAINING, State.IDLE))
    @rule(pick=picks, act=st.sampled_from(("end", "condemn", *LOST)))
    def lose(self, pick: int, act: str | Retired) -> None:
        """Something happens to a connection in use or idle."""
        connection = chosen(self.of(State.ACTIVE, State.DRAINING, State.IDLE), pick)
        state = self.connections[connection].state
        if act == "end":
            self.closed(connection)
        elif act == "condemn":
            if connection.multiplexed and state is State.ACTIVE:
                self.leaves(connection, Retired.ADDRESS)
            self.perform(self.core.condemn(connection, Retired.ADDRESS, self.now))
        elif isinstance(act, Retired):
            if state is not State.DRAINING:
                self.leaves(connection, act)
            self.core.retired(connection, act)
            self.core.retired(connection, Retired.CLOSED)  # what is said first counts
            if not connection.multiplexed:
                assert not self.core.release(connection, self.now)

    @precondition(lambda self: self.attempts)
    @rule(picks=several)
    def succeed(self, picks: list[int]) -> None:
        """Attempts succeed."""
        for pick in picks:
            if self.attempts:
                self.opened(chosen(list(self.attempts), pick))
                self.check()

    def opened(self, attempt: PoolAttempt) -> None:
        """An attempt succeeds."""
        del self.attempts[attempt]
        past = self.past[attempt.key]
        past.opened += 1
        connection = self.build(attempt.key, sum(each.opened for each in self.past.values()))
        old_at = self.now + self.limits.max_age
        until = min(self.now + self.limits.idle_timeout, old_at)
        self.connections[connection] = Known(attempt.key, until, old_at)
        self.pressed = self.pressure(attempt.key)
        self.perform(self.core.opened(attempt, connection, self.now))

    def build(self, key: str, name: int) -> Connection:
        """What an origin's connections are at present, and what is expected of the next."""
        kind = self.kinds[key]
        if kind is None:
            self.width[key] = 1
            return Connection(key, name)
        self.width[key] = kind or self.width[key]
        return Multiplexed(key, name, kind)

    @precondition(lambda self: self.attempts)
    @rule(pick=picks, blamed=st.sampled_from((True, True, False)))
    def fail(self, pick: int, blamed: bool) -> None:
        """An attempt fails, by the origin's fault or not."""
        attempt = chosen(list(self.attempts), pick)
        number, begun = self.attempts.pop(attempt)
        self.past[attempt.key].failed += 1
        half = (begun + self.now) / 2
        shares = self.lane(attempt.key).multiplexed
        early = {
            name
            for name, each in self.waiting.items()
            if (each.since <= half if shares else each.number <= number)
        }
        shared = sum(each.key == attempt.key and each.waiter is None for each in self.attempts)
        promised = self.lane(attempt.key).promised
        let_down = max(promised - shared * self.width[attempt.key], 0)
        owner = attempt.waiter is not None
        decisions = self.core.open_failed(attempt, "refused", self.now, blamed=blamed)
        failed = [
            each
            for each in decisions
            if isinstance(each, Refuse) and each.refusal is Refusal.ATTEMPT_FAILED
        ]
        assert len(failed) <= let_down + owner, "who did not count on it"
        assert let_down <= self.width[attempt.key]
        assert all(each.waiter in early or self.is_left_alone(attempt.key) for each in failed)
        self.perform(decisions)

    @rule(seconds=st.sampled_from((0.0, 0.25, 0.5, 1.0, 4.0, 11.0)), told=st.booleans())
    def wait(self, seconds: float, told: bool) -> None:
        """Time passes, and the core is told, or hears of it with the next event only."""
        self.now += seconds
        self.ticked = told
        if told:
            self.tick()

    def tick(self) -> None:
        """The core is told what time it is."""
        self.perform(self.core.tick(self.now))
        for connection in self.idle:
            assert self.connections[connection].until > self.now, "idle for too long"
        for request in self.queued():
            assert self.now < request.since + self.limits.queue_timeout, "queued for too long"

    @rule(act=st.sampled_from(("clear", "cool", "warm", "probe", "cancel")), key=keys, count=small)
    def seldom(self, act: str, key: str, count: int) -> None:
        """What is not among the daily business."""
        if act == "clear":
            self.clear()
        elif act == "cool":
            self.core.let_cool()
        elif act == "warm":
            self.core.keep_warm(key, count)
        elif act == "probe":
            self.probe(key)
        else:
            self.core.cancel(key, "nobody")

    def probe(self, key: str) -> None:
        """An origin is tried if it has failed, and nothing else will show whether it works."""
        lane = self.lane(key)
        untried = lane.error is not None and not lane.opening and not self.is_left_alone(key)
        room = self.total < self.limits.max_connections and self.room_of(key) > 0
        decisions = self.core.probe(key, self.now)
        assert [type(each) for each in decisions] == [Open] * (untried and room)
        self.perform(decisions)

    def clear(self) -> None:
        """All idle connections are to be closed."""
        self.perform(self.core.clear())
        assert not self.idle

    # What the decisions mean.

    def perform(self, decisions: Sequence[PoolDecision]) -> None:
        """Carry them out."""
        for decision in decisions:
            match decision:
                case Assign(waiter, connection):
                    self.assigned(self.waiting[waiter], connection)
                case Open(attempt):
                    self.attempts[attempt] = self.arrivals, self.now
                    assert self.total <= self.limits.max_connections, "over the total"
                case Close(connection):
                    known = self.connections[connection]
                    if known.state is State.DRAINING:
                        assert not known.in_use, "closed in use"
                        known.state = State.LEAVING
                    else:
                        self.leaves(connection, None)
                case Refuse(key, waiter, refusal):
                    assert self.stands_at(self.waiting[waiter], key)
                    if refusal is not Refusal.ATTEMPT_FAILED:
                        self.past[key].refused += 1
                    self.answer(waiter)
        self.notice_drained()
        for connection in self.of(State.FREE):  # kept, without a word
            self.connections[connection].state = State.IDLE
            self.idle.append(connection)

    def assigned(self, request: Request, connection: Connection) -> None:
        """Check the rules of assignment."""
        known = self.connections[connection]
        assert known.key == request.key, "another origin's"
        if connection.multiplexed:
            # One that was opened serves one request in any case: who waits must not wait for ever.
            limit = connection.capacity if known.served else max(connection.capacity, 1)
            assert known.in_use < limit, "full"
            assert known.state not in (State.DRAINING, State.LEAVING)
        else:
            assert known.state in (State.FREE, State.IDLE), "in use, or leaving"
            assert connection.condemned is None, "condemned"
        assert known.old_at > self.now, "too old"
        if request.again:
            assert known.state is State.FREE, "not new"
            assert not known.served, "not new"
        else:
            for other in self.waiting.values():
                assert other.again or other.key != request.key or other.number >= request.number
        new = known.state is State.FREE and not known.served
        self.past[known.key].reused += not new
        assert connection.fresh is new
        if known.state is State.IDLE:
            self.idle.remove(connection)
        known.state, known.served = State.ACTIVE, True
        if connection.multiplexed:
            known.in_use += 1
            connection.fresh = False  # the request is sent
        self.answer(request.name)

    def stands_at(self, request: Request, key: str) -> bool:
        """Whether a request waits for a connection to this origin."""
        return request.key == key

    def answer(self, name: str) -> None:
        """A request has got its answer, its only one."""
        assert name not in self.answered
        del self.waiting[name]
        self.answered.add(name)

    def leaves(self, connection: Connection, why: Retired | None) -> None:
        """A connection serves no more; the core counts why, if the model does not know."""
        known = self.connections[connection]
        assert known.state is not State.LEAVING, "closed twice"
        assert why is not None or known.state is not State.ACTIVE, "closed in use"
        why = why or self.why_closed(connection)
        if known.state is State.IDLE:
            self.idle.remove(connection)
        known.state = State.DRAINING if known.in_use else State.LEAVING
        self.past[known.key].retired[why] += 1

    def drained(self) -> list[Connection]:
        """Those in use that the core gives no more requests, without having said so."""
        return [each for each in self.of(State.ACTIVE) if each.multiplexed and each.leaving]

    def notice_drained(self) -> None:
        """See why."""
        for connection in self.drained():
            known = self.connections[connection]
            why = connection.condemned
            if why is Retired.AGE:
                assert known.old_at <= self.now, "not too old"
            else:
                assert why is Retired.EVICTED
                assert not self.ticked or self.is_wanted_by_others(known.key), "needlessly"
            assert why is not None
            self.leaves(connection, why)

    def is_wanted_by_others(self, key: str) -> bool:
        """Somebody has waited for long for the room that an origin's connections take."""
        again = any(each.again for each in self.queued(key))
        first = self.first_wanting()
        is_first = first is not None and (first.again or first.since + HANDOVER_DELAY < self.now)
        return again or (self.pressed > 0 and is_first)

    def why_closed(self, connection: Connection) -> Retired:
        """
        What the core has counted more than the model: if it is one reason only, who goes first is
        the one idle for longest; of several any will do, for in the end the numbers are compared.
        """
        key = self.connections[connection].key
        more = self.lane(key).tally.retired - self.past[key].retired
        for each in self.drained():
            if self.connections[each].key == key and each.condemned is not None:
                more -= Counter([each.condemned])
        idle = self.connections[connection].state is State.IDLE
        if idle and more.keys() == {Retired.EVICTED}:
            assert connection in (self.idle[0], self.idle_of(key)[0]), "not the oldest"
        if more.keys() == {Retired.SURPLUS}:
            assert connection is self.idle_of(key)[0], "not the oldest"
        return next(iter(more))

    def closed(self, connection: Connection) -> None:
        """A connection has ended; its place goes to the first who can use it."""
        known = self.connections[connection]
        if known.state not in (State.LEAVING, State.DRAINING):
            self.leaves(connection, Retired.ENDED)
        del self.connections[connection]
        hopeless = {key for key in KEYS if self.is_left_alone(key)}
        candidates = [
            each
            for each in self.queued()
            if each.key not in hopeless and self.room_of(each.key) > 0
        ]
        decisions = self.core.closed(connection, self.now)
        opened = [each.attempt for each in decisions if isinstance(each, Open)]
        if len(opened) == 1 and self.ticked:
            first = min(candidates, key=lambda each: (not each.again, each.number))
            assert opened[0].key == first.key, "not its turn"
        self.perform(decisions)
        assert self.core.closed(connection, self.now) == ()
        assert self.core.release(connection, self.now) == ()

    # The model's books.

    @property
    def total(self) -> int:
        """Connections of all states, and attempts."""
        return len(self.connections) + len(self.attempts)

    def of(self, *states: State) -> list[Connection]:
        """Connections in these states."""
        return [each for each, known in self.connections.items() if known.state in states]

    def count(self, state: State, key: str | None = None) -> int:
        """How many connections are in this state."""
        return sum(
            known.state is state and key in (None, known.key) for known in self.connections.values()
        )

    def idle_of(self, key: str) -> list[Connection]:
        """An origin's idle connections, the last used at the end."""
        return [each for each in self.idle if each.key == key]

    def multiplexed(self) -> list[Connection]:
        """Those that serve."""
        serving = self.of(State.ACTIVE, State.DRAINING, State.IDLE)
        return [each for each in serving if each.multiplexed]

    def roomy(self, key: str) -> list[Connection]:
        """An origin's connections in use that have room."""
        return [
            each
            for each in self.of(State.ACTIVE)
            if self.connections[each].key == key
            and each.multiplexed
            and self.connections[each].in_use < each.capacity
        ]

    def shared(self, key: str) -> list[Connection]:
        """Those of them that may be used."""
        return [each for each in self.roomy(key) if self.connections[each].old_at > self.now]

    def queued(self, key: str | None = None) -> list[Request]:
        """Requests without an attempt: those sent again own theirs, others count on the rest."""
        if not self.waiting:
            return []
        settled: set[str | None] = {each.waiter for each in self.attempts}
        for lane_key in KEYS if key is None else key:
            shared = sum(each.key == lane_key and each.waiter is None for each in self.attempts)
            counting = shared * self.width[lane_key]
            settled.update(each.name for each in self.line(lane_key)[:counting])
        return [
            each
            for name, each in self.waiting.items()
            if key in (None, each.key) and name not in settled
        ]

    def lane(self, key: str) -> Lane[str, Connection, str]:
        """The core's books of an origin."""
        return self.core._lane(key)

    def is_left_alone(self, key: str) -> bool:
        """Nothing may be opened because too much has failed."""
        return not self.lane(key).breaker.allows(self.now)

    def count_of(self, key: str) -> int:
        """Connections of all states, and attempts, to one origin."""
        attempts = sum(each.key == key for each in self.attempts)
        return sum(known.key == key for known in self.connections.values()) + attempts

    def room_of(self, key: str) -> int:
        """How many more its own limit allows."""
        return self.limits.max_connections_per_origin - self.count_of(key)

    def wanted(self, key: str) -> int:
        """How many would be opened to an origin if the total allowed."""
        if self.is_left_alone(key):
            return 0
        queued = self.queued(key)
        again = sum(each.again for each in queued)
        needed = again + math.ceil((len(queued) - again) / self.width[key])
        return min(needed, self.room_of(key))

    def line(self, key: str) -> list[Request]:
        """Requests that may have any connection to an origin."""
        return [each for each in self.waiting.values() if each.key == key and not each.again]

    def first_wanting(self) -> Request | None:
        """Who is the first to get room."""
        wanting = [each for key in KEYS if self.wanted(key) for each in self.queued(key)]
        return min(wanting, key=lambda each: (not each.again, each.number), default=None)

    def pressure(self, key: str) -> int:
        """
        How many connections are wanted that those of this origin are of no use for, more than will
        have room.
        """
        again = sum(each.again for each in self.queued(key))
        others = sum(self.wanted(other) for other in KEYS if other != key)
        room = self.limits.max_connections - self.total + self.count(State.LEAVING)
        return others + min(self.wanted(key), again) - room

    def soon_drained(self, known: Known) -> int:
        """How many make room as soon as their requests are answered; see the core's."""
        is_soon = known.in_use and self.now < self.core._patient_until
        return self.count(State.DRAINING) if is_soon else 0

    def latest_entitled(self, key: str, spared: int = 0) -> float:
        """
        When a request of this origin must have come at the latest to be given a connection that is
        released, though others need room: little later than the first of them.
        """
        again = [each for each in self.queued(key) if each.again]
        if len(again) > self.room_of(key) + self.count(State.LEAVING, key):
            return -math.inf
        others = [other for other in KEYS if other != key and self.wanted(other)]
        if self.pressure(key) <= spared:
            return math.inf
        competing = [each for other in others for each in self.queued(other)]
        if any(each.again for each in competing) or (again and self.wanted(key)):
            return -math.inf
        return min(each.since for each in competing) + HANDOVER_DELAY

    # The rules.

    @invariant()
    def check(self) -> None:
        """All of them."""
        self.limits_hold()
        self.nobody_waits_needlessly()
        self.nothing_lies_idle()
        self.nobody_is_lost()
        self.books_agree()

    def limits_hold(self) -> None:
        """No more connections than allowed, those counted that are not closed."""
        assert self.total <= self.limits.max_connections
        for key in KEYS:
            assert self.room_of(key) >= 0
            assert len(self.idle_of(key)) <= self.limits.max_idle_per_origin
        for connection, known in self.connections.items():
            assert connection.in_use == known.in_use

    def nobody_waits_needlessly(self) -> None:
        """No request waits while it could have a connection, or have one opened."""
        room = self.limits.max_connections - self.total
        for key in KEYS:
            assert not (self.line(key) and self.idle_of(key)), "waits beside an idle connection"
            assert not (self.line(key) and self.roomy(key)), "waits beside one that has room"
            if self.ticked:
                assert not (room and self.wanted(key)), "waits though one may be opened"
            again = [each for each in self.queued(key) if each.again]
            leaving = self.count(State.LEAVING, key)
            if len(again) > self.room_of(key) + leaving:
                assert not self.idle_of(key), "waits for room that idle connections take"

    def nothing_lies_idle(self) -> None:
        """While requests wait for room in all, nothing is idle but what is not needed for it."""
        room = self.limits.max_connections - self.total + self.count(State.LEAVING)
        if self.ticked and sum(map(self.wanted, KEYS)) > room:
            assert not self.idle

    def nobody_is_lost(self) -> None:
        """Each request that waits is in line or owns an attempt, and is queued or counts on one."""
        queued = {each.name for each in self.queued()}
        assert set(self.core._queue) == queued
        for key in KEYS:
            lane = self.lane(key)
            mine = {name: each.again for name, each in self.waiting.items() if each.key == key}
            assert list(lane.line) == [name for name, again in mine.items() if not again]
            assert {*lane.fresh_queued, *lane.owned} == {name for name in mine if mine[name]}
            assert {*lane.queued, *lane.fresh_queued} == queued & mine.keys()

    def books_agree(self) -> None:
        """The core's counters are the model's."""
        core = self.core
        assert core._total == self.total
        assert core._leaving == self.count(State.LEAVING)
        assert core._draining == self.count(State.DRAINING)
        assert list(core._idle) == self.idle
        assert core._wanting == sum(self.lane(key).wanting for key in KEYS)
        listed = {(number, lane.key) for number, lane in core._listed}
        for key in KEYS:
            lane = self.lane(key)
            assert list(lane.idle) == self.idle_of(key)
            assert set(lane.roomy) == set(self.roomy(key))
            assert lane.width == self.width[key]
            if self.ticked:
                assert lane.wanting == self.wanted(key)
            if lane.wanting:
                assert (lane.listed, key) in listed
            assert core.stats().origins[key] == self.counts(key)

    def counts(self, key: str) -> Counts:
        """The numbers of an origin, by the model."""
        past = self.past[key]
        return Counts(
            active=self.count(State.ACTIVE, key),
            idle=self.count(State.IDLE, key),
            opening=sum(each.key == key for each in self.attempts),
            leaving=self.count(State.LEAVING, key) + self.count(State.DRAINING, key),
            waiting=sum(each.key == key for each in self.waiting.values()),
            queued=len(self.queued(key)),
            opened=past.opened,
            reused=past.reused,
            retried=past.retried,
            failed=past.failed,
            refused=past.refused,
            retired=past.retired,
        )

    # The end.

    def teardown(self) -> None:
        """Without any time passing all requests are served, all connections close, all is empty."""
        if not hasattr(self, "core") or sys.exc_info()[0]:
            return  # do not hide what was wrong before
        self.core.let_cool()
        self.until_none(lambda: self.waiting)
        self.clear()
        self.until_none(lambda: self.connections or self.attempts)
        self.books_agree()
        assert all(self.lane(key).count == 0 for key in KEYS)
        assert not self.core._queue

    def until_none(self, remaining: Callable[[], object]) -> None:
        """Let everything succeed until nothing remains."""
        rounds = 0
        while remaining():
            rounds += 1
            assert rounds < 1000, f"still there: {remaining()}"
            self.evening()
            if not self.waiting and self.idle:
                self.clear()
            self.check()


def chosen(choices: Sequence[_T], pick: int) -> _T:
    """One of them; the first for 0."""
    return choices[pick % len(choices)]


class PropertyTests(SynchronousTestCase):
    """
    Any sequence of events.

    The environment variable POOL_EXAMPLES says how many sequences are tried; 10000 take ten
    minutes.
    """

    def test_any_sequence(self) -> None:
        """Whatever happens in whatever order, every rule of the pool holds after each event."""
        examples = int(os.environ.get("POOL_EXAMPLES", USUAL))
        run_state_machine_as_test(
            PoolMachine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=50,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
