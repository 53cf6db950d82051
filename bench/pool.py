"""Measure what the decisions of the pool cost, by the number of connections and of origins."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.report import grid
from fastcar_tw.pool.core import (
    Assign,
    Close,
    Decision,
    Open,
    PoolCore,
    PooledConnection,
    PoolLimits,
)

SIZES = (10, 1_000, 10_000)
ORIGINS = (1, 1_000)
_ROUNDS = 7
# Long enough for the clock, short enough to fit between other processes' turns.
_SLICE_SECONDS = 0.05

Key = int
Waiter = int
Step = Callable[[], object]


class _Connection(PooledConnection):
    __slots__ = ()


_Decisions = Sequence[Decision[Waiter, _Connection, Key]]


class _Pool:
    """A pool at its limit of `size` connections, spread evenly over `origins` known origins."""

    def __init__(self, size: int, origins: int, per_origin: int = 0) -> None:
        self.size = size
        self.origins = origins
        limits = PoolLimits(
            max_connections=size,
            max_connections_per_origin=per_origin or -(-size // origins),
            max_idle_per_origin=size,
            max_queue=2 * size,
            queue_timeout=1e9,
            idle_timeout=1e9,
            max_age=1e9,
            fail_fast_after=5,
        )
        self.core: PoolCore[Key, _Connection, Waiter] = PoolCore(limits)
        self.waiters = itertools.count()
        for key in range(origins):
            self.core.closed(self._connect(key), 0.0)  # so that the origin is known
        self.connections = [self._connect(number % origins) for number in range(size)]

    def _connect(self, key: Key) -> _Connection:
        return self.open(self.core.acquire(key, next(self.waiters), 0.0))

    def open(self, decisions: _Decisions) -> _Connection:
        """Open what has been decided to be."""
        (decision,) = decisions
        assert isinstance(decision, Open)
        connection = _Connection()
        self.core.opened(decision.attempt, connection, 0.0)
        return connection

    def release_all(self) -> None:
        """Let all connections be idle."""
        for connection in self.connections:
            self.core.release(connection, 0.0)

    def keys(self) -> Iterator[Key]:
        """Return the origins that have connections, in turns, for ever."""
        return itertools.cycle(range(min(self.size, self.origins)))


def hit(size: int, origins: int) -> Step:
    """An idle connection is taken, and released."""
    pool = _Pool(size, origins)
    pool.release_all()
    core, keys = pool.core, pool.keys()

    def step() -> None:
        connection = core.take(next(keys), 0.0)
        assert connection is not None
        core.release(connection, 0.0)

    return step


def queue(size: int, origins: int) -> Step:
    """A request joins a queue as long as there are connections; a release serves the first."""
    pool = _Pool(size, origins)
    core, waiters = pool.core, pool.waiters
    connections = itertools.cycle(pool.connections)
    for number in range(size):
        core.acquire(number % origins, next(waiters), 0.0)
    keys = itertools.cycle([number % origins for number in range(size)])

    def step() -> None:
        core.acquire(next(keys), next(waiters), 0.0)
        (decision,) = core.release(next(connections), 0.0)
        assert isinstance(decision, Assign)

    return step


def evict(size: int, origins: int) -> Step:
    """A request needs a new one: the oldest is evicted and closed, the new one opened, released."""
    pool = _Pool(size, origins)
    pool.release_all()
    core, waiters, keys = pool.core, pool.waiters, pool.keys()

    def step() -> None:
        (decision,) = core.acquire(next(keys), next(waiters), 0.0, again=True)
        assert isinstance(decision, Close)
        core.release(pool.open(core.closed(decision.connection, 0.0)), 0.0)

    return step


def contend(size: int, origins: int) -> Step:
    """A request joins a queue for room; a release serves the first, or is closed for it."""
    pool = _Pool(size, origins, per_origin=size)
    core, waiters = pool.core, pool.waiters
    keys = itertools.cycle(range(origins))
    for _ in range(size):
        core.acquire(next(keys), next(waiters), 0.0)
    connections = deque(pool.connections)

    def step() -> None:
        core.acquire(next(keys), next(waiters), 0.0)
        connection = connections.popleft()
        (decision,) = core.release(connection, 0.0)
        if isinstance(decision, Close):
            connection = pool.open(core.closed(connection, 0.0))
        connections.append(connection)

    return step


def tick(size: int, origins: int) -> Step:
    """The sweep, once a second, looks at all idle connections."""
    pool = _Pool(size, origins)
    pool.release_all()
    return lambda: pool.core.tick(0.0)


def tick_queue(size: int, origins: int) -> Step:
    """The sweep looks at the origins of a queue as long as there are connections."""
    pool = _Pool(size, origins)
    for number in range(size):
        pool.core.acquire(number % origins, next(pool.waiters), 0.0)
    return lambda: pool.core.tick(0.0)


@dataclass(frozen=True)
class _Event:
    name: str
    prepare: Callable[[int, int], Step]
    swept: bool = False


EVENTS = (
    _Event("take, release", hit),
    _Event("queue, release serves", queue),
    _Event("queue for room, release gives it", contend),
    _Event("evict, closed, opened, release", evict),
    _Event("tick, all idle", tick, swept=True),
    _Event("tick, all in use, as many queued", tick_queue, swept=True),
)


def seconds(step: Step) -> float:
    """Return the CPU time of a step, measured for a slice."""
    count = 1
    while True:
        begun = time.process_time()
        for _ in range(count):
            step()
        elapsed = time.process_time() - begun
        if elapsed >= _SLICE_SECONDS:
            return elapsed / count
        count *= 2


def measure(event: _Event, origins: int, rounds: int) -> list[float]:
    """Return microseconds by size: the best of some rounds, in each of which all sizes are."""
    steps = [event.prepare(size, origins) for size in SIZES]
    times = [[seconds(step) for step in steps] for _ in range(rounds)]
    return [1e6 * min(each) for each in zip(*times, strict=True)]


def _line(event: _Event, origins: int, times: list[float]) -> list[str]:
    return [
        event.name,
        f"{origins:,}",
        *(f"{each:.2f}" for each in times),
        *(f"{each / times[0]:.2f}" for each in times[1:]),
        f"{times[-1] / SIZES[-1]:.3f} us a connection" if event.swept else "",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.pool", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, metavar="N", help=f"({_ROUNDS})")
    options = parser.parse_args(argv)
    headings = [
        "microseconds of",
        "origins",
        *(f"{size:,}" for size in SIZES),
        *(f"{size:,} / {SIZES[0]}" for size in SIZES[1:]),
        "",
    ]
    lines = [
        _line(event, origins, measure(event, origins, max(options.rounds, 1)))
        for event in EVENTS
        for origins in ORIGINS
    ]
    print(grid(headings, lines, markdown=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
