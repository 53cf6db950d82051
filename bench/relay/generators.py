"""The kinds of load: how each is driven, and what it tells."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from bench import workers
from bench.measure import Pace
from bench.relay import frames, pump
from bench.transfer import MIB
from bench.workers import LoadError, Worker


@dataclass(frozen=True)
class Load:
    """What a slice of load amounts to: requests or MiB, latencies in microseconds."""

    amount: float
    elapsed: float
    cpu: float  # seconds, of all the generator's processes
    processes: int
    p50: float | None = None
    p99: float | None = None
    failures: dict[str, int] = field(default_factory=dict)


# Loads a port; calls what it is given when it is warm. Raises LoadError.
Run: TypeAlias = Callable[[int, Pace, Callable[[], None]], Load]


class Kind(Protocol):
    """A kind of load."""

    @property
    def unit(self) -> str:
        """Return what is counted."""

    def generator(self) -> AbstractContextManager[Run]:
        """Have a generator while the block lasts."""


class _Workers:
    """Worker processes, which are replaced after an error."""

    def __init__(self, module: str, count: int) -> None:
        self._argv = [sys.executable, "-m", module]
        self._count = count
        self._workers: list[Worker] = []

    def run(self, job: object, at_start: Callable[[], None]) -> list[Any]:
        """Run a job on each. Raises LoadError."""
        if not self._workers:
            self._workers = [Worker(self._argv) for _ in range(self._count)]
        try:
            return workers.run(self._workers, job, at_start)
        except LoadError:
            self.close()
            raise

    def close(self) -> None:
        """Stop the workers."""
        for each in self._workers:
            each.close()
        self._workers = []


@dataclass(frozen=True)
class Requests:
    """Lines that are echoed, `depth` at a time; `fresh`: each time on a new connection."""

    clients: int
    depth: int = 1
    fresh: bool = False
    unit: str = "req"

    @contextlib.contextmanager
    def generator(self) -> Iterator[Run]:
        """See Kind."""
        with contextlib.closing(_Workers("bench.relay.frames", 1)) as made:

            def run(port: int, pace: Pace, at_start: Callable[[], None]) -> Load:
                return self._load(made.run(self._job(port, pace), at_start)[0])

            yield run

    def _job(self, port: int, pace: Pace) -> dict[str, object]:
        job = frames.Job(port, self.clients, self.depth, self.fresh, pace.warm_up, pace.duration)
        return job.plain()

    def _load(self, answer: Any) -> Load:
        latencies = sorted(answer["latencies"])
        count = len(latencies)
        return Load(
            amount=answer["answered"],
            elapsed=answer["elapsed"],
            cpu=answer["cpu"],
            processes=1,
            p50=latencies[count // 2] if count else None,
            p99=latencies[min(count - 1, count * 99 // 100)] if count else None,
            failures=answer["failures"],
        )


@dataclass(frozen=True)
class Bulk:
    """As many bytes as possible, one way on each connection; a process for each of them."""

    connections: int
    upward: bool
    unit: str = "MiB"

    @contextlib.contextmanager
    def generator(self) -> Iterator[Run]:
        """See Kind."""
        with contextlib.closing(_Workers("bench.relay.pump", self.connections)) as made:

            def run(port: int, pace: Pace, at_start: Callable[[], None]) -> Load:
                job = pump.Job(port, self.upward, pace.warm_up, pace.duration)
                return self._load(made.run(job.plain(), at_start))

            yield run

    def _load(self, answers: list[Any]) -> Load:
        return Load(
            amount=sum(each["bytes"] for each in answers) / MIB,
            elapsed=max(each["elapsed"] for each in answers),
            cpu=sum(each["cpu"] for each in answers),
            processes=self.connections,
        )
