"""A pool without I/O: carries out what the core decides, as far as a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fastcar_tw.pool.core import (
    Assign,
    Attempt,
    Close,
    Decision,
    Open,
    PoolCore,
    PooledConnection,
    PoolLimits,
    Refusal,
    Refuse,
)
from fastcar_tw.pool.stats import Counts, Retired

#: Too wide for any test to meet by chance.
WIDE = PoolLimits(
    max_connections=1000,
    max_connections_per_origin=1000,
    max_idle_per_origin=1000,
    max_queue=1000,
    queue_timeout=10.0,
    idle_timeout=60.0,
    max_age=3600.0,
    fail_fast_after=0,
)


class Connection(PooledConnection):
    """Only what the pool needs of one, and a name."""

    __slots__ = ("key", "name")

    def __init__(self, key: str, name: int) -> None:
        super().__init__()
        self.key = key
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.key}{self.name}>"


class Multiplexed(Connection):
    """One that serves several requests at once."""

    __slots__ = ()

    multiplexed = True

    def __init__(self, key: str, name: int, capacity: int) -> None:
        super().__init__(key, name)
        self.capacity = capacity


Core = PoolCore[str, Connection, str]
PoolAttempt = Attempt[str, Connection, str]
PoolDecision = Decision[str, Connection, str]


def limits(**changed: float) -> PoolLimits:
    """Wide limits but for those given."""
    return replace(WIDE, **changed)  # type: ignore[arg-type]  # whole numbers where due


class Driver:
    """
    Tells a core events and remembers its decisions, in the order they came in.

    @ivar now: seconds; rises only in L{wait}.
    @ivar assigned: connections by the request that got them.
    @ivar opening: attempts that have neither succeeded nor failed.
    @ivar closing: connections the core wants closed and that are not.
    @ivar refused: refusals by request.
    """

    #: Makes the core.
    core_type: Callable[..., Core] = PoolCore

    def __init__(self, *, expected: float = 1, **changed: float) -> None:
        """@param expected: how many requests at once a connection is expected to serve."""
        self.now = 1000.0
        self.core: Core = self.core_type(limits(**changed), lambda: 0.5, lambda key: int(expected))
        self.assigned: dict[str, Connection] = {}
        self.opening: list[PoolAttempt] = []
        self.closing: list[Connection] = []
        self.refused: dict[str, Refuse[str, str]] = {}
        self._names = 0

    def acquire(self, key: str, *waiters: str, again: bool = False) -> None:
        """These requests want a connection each."""
        for waiter in waiters:
            self._perform(self.core.acquire(key, waiter, self.now, again=again))

    def cancel(self, key: str, waiter: str) -> None:
        """This request does not any more."""
        self.core.cancel(key, waiter)

    def succeed(
        self,
        attempt: PoolAttempt | None = None,
        *,
        capacity: int | None = None,
        unheard: bool = False,
    ) -> Connection:
        """
        An attempt, the oldest if none is given, becomes a connection, a multiplexed one if its
        capacity is given, or so many are to begin until the origin is heard.
        """
        attempt = self.opening[0] if attempt is None else attempt
        self.opening.remove(attempt)
        self._names += 1
        connection = (
            Connection(attempt.key, self._names)
            if capacity is None
            else Multiplexed(attempt.key, self._names, capacity)
        )
        connection.unheard = unheard
        self._perform(self.core.opened(attempt, connection, self.now))
        return connection

    def fail(
        self, attempt: PoolAttempt | None = None, error: object = "refused", *, blamed: bool = True
    ) -> None:
        """An attempt, the oldest if none is given, comes to nothing."""
        attempt = self.opening[0] if attempt is None else attempt
        self.opening.remove(attempt)
        self._perform(self.core.open_failed(attempt, error, self.now, blamed=blamed))

    def connect(self, key: str, count: int = 1) -> list[Connection]:
        """New connections to an origin for which nobody waits, in use."""
        waiters = [f"first of {key}{self._names + number}" for number in range(count)]
        self.acquire(key, *waiters)
        for attempt in [each for each in self.opening if each.key == key]:
            self.succeed(attempt)
        return [self.assigned.pop(waiter) for waiter in waiters]

    def idle(self, key: str, count: int = 1) -> list[Connection]:
        """New connections to an origin, idle; the first has been for longest."""
        connections = self.connect(key, count)
        self.release(*connections)
        return connections

    def release(self, *connections: Connection) -> None:
        """These have served a request."""
        for connection in connections:
            self._perform(self.core.release(connection, self.now))

    def end(self, *connections: Connection) -> None:
        """These are closed, by whichever side."""
        for connection in connections:
            if connection in self.closing:
                self.closing.remove(connection)
            self._perform(self.core.closed(connection, self.now))

    def change(self, connection: Connection, capacity: int) -> None:
        """The origin says how many requests at once a multiplexed connection may serve."""
        connection.capacity = capacity
        self._perform(self.core.capacity_changed(connection, self.now))

    def condemn(self, connection: Connection, why: Retired = Retired.ADDRESS) -> None:
        """This is to serve nobody from now on."""
        self._perform(self.core.condemn(connection, why, self.now))

    def wait(self, seconds: float) -> None:
        """Time passes, and the pool is told."""
        self.now += seconds
        self._perform(self.core.tick(self.now))

    def probe(self, key: str) -> None:
        """See whether an origin that has failed can be reached again."""
        self._perform(self.core.probe(key, self.now))

    def clear(self) -> None:
        """Close what is idle."""
        self._perform(self.core.clear())

    def refusal(self, waiter: str) -> Refusal | None:
        """Why a request was refused; None: it was not."""
        refused = self.refused.get(waiter)
        return None if refused is None else refused.refusal

    @property
    def opening_for(self) -> list[str]:
        """To which origins connections are being opened."""
        return [each.key for each in self.opening]

    def counts(self, key: str) -> Counts:
        """The numbers of one origin."""
        return self.core.stats().origins[key]

    def _perform(self, decisions: Sequence[PoolDecision]) -> None:
        for decision in decisions:
            match decision:
                case Assign(waiter, connection):
                    assert waiter not in self.assigned
                    self.assigned[waiter] = connection
                    if connection.multiplexed:
                        connection.fresh = False  # the request is sent
                case Open(attempt):
                    self.opening.append(attempt)
                case Close(connection):
                    self.closing.append(connection)
                case Refuse(waiter=waiter):
                    assert waiter not in self.refused
                    self.refused[waiter] = decision
