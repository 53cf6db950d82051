"""The interleaved rounds: every gateway gets a short slice of every scenario in turn."""

from __future__ import annotations

import contextlib
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import procfs, workers
from bench.fastcgi.gateways import Gateway
from bench.fastcgi.job import GroupJob, Job
from bench.fastcgi.scenarios import Group, Scenario
from bench.measure import Pace
from bench.workers import LoadError, Worker


@dataclass(frozen=True)
class GroupSlice:
    """What a group of clients saw: responses a second, latencies in microseconds."""

    rate: float
    p50: float
    p99: float
    requests: int
    failures: dict[str, int]


@dataclass(frozen=True)
class Slice:
    """One gateway's slice; CPU time in microseconds for each request of any group."""

    groups: list[GroupSlice]
    gateway_cpu: float
    php_cpu: float
    load_cpu: float
    load_busy: float  # CPU seconds of the generator a second: 1.0 is all it can do


@dataclass
class Result:
    """All slices of one gateway in one scenario, or why it has none."""

    scenario: Scenario
    gateway: Gateway
    slices: list[Slice] = field(default_factory=list)
    peak_kib: int = 0
    failure: str = ""


class Generator:
    """Runs jobs on one worker process, which is replaced after an error."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def run(self, job: Job, at_start: Callable[[], None]) -> Any:
        """Run a job; call `at_start` when it is warm. Raises LoadError if that is impossible."""
        worker = self._worker = self._worker or Worker([sys.executable, "-m", "bench.fastcgi.load"])
        try:
            (answer,) = workers.run([worker], job.plain(), at_start)
        except LoadError:
            self.close()
            raise
        return answer

    def close(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


@contextlib.contextmanager
def generator() -> Iterator[Generator]:
    """Have a generator while the block lasts."""
    with contextlib.closing(Generator()) as made:
        yield made


@dataclass(frozen=True)
class Measurement:
    """Everything a run needs; `timeout` (seconds) is when a request has failed."""

    gateways: Sequence[Gateway]
    php_pid: int
    pace: Pace
    timeout: float
    progress: Callable[[str], None]

    def run(self, scenarios: Sequence[Scenario]) -> list[Result]:
        """Measure everything; a gateway that cannot be loaded keeps its reason instead."""
        results: list[Result] = []
        with generator() as load:
            for scenario in scenarios:
                results += self._rounds(scenario, load)
        return results

    def _rounds(self, scenario: Scenario, load: Generator) -> list[Result]:
        entries = [Result(scenario, gateway) for gateway in self.gateways]
        for gateway in self.gateways:
            procfs.reset_peak(gateway.pid)
        for number in range(self.pace.rounds):
            for entry in entries:
                name = entry.gateway.name
                self.progress(f"{scenario.name}: round {number + 1} of {self.pace.rounds}: {name}")
                self._add_slice(entry, number, load)
        return entries

    def _add_slice(self, entry: Result, number: int, load: Generator) -> None:
        if entry.failure:
            return
        try:
            entry.slices.append(self._slice(entry, number, load))
        except LoadError as error:
            entry.failure = str(error)
        entry.peak_kib = max(entry.peak_kib, procfs.peak_kib(entry.gateway.pid))

    def _slice(self, entry: Result, number: int, load: Generator) -> Slice:
        pids = (entry.gateway.pid, self.php_pid)
        start: list[float] = []
        job = self._job(entry, number)
        answer = load.run(job, lambda: start.extend(map(procfs.cpu_seconds, pids)))
        end = map(procfs.cpu_seconds, pids)
        groups = [_group_slice(each, job.duration) for each in answer["groups"]]
        requests = sum(each.requests for each in groups)
        if not requests:
            raise LoadError(f"no request answered: {_reasons(groups)}")
        gateway_cpu, php_cpu = (after - before for before, after in zip(start, end, strict=True))
        return Slice(
            groups=groups,
            gateway_cpu=gateway_cpu / requests * 1e6,
            php_cpu=php_cpu / requests * 1e6,
            load_cpu=answer["cpu"] / requests * 1e6,
            load_busy=answer["cpu"] / job.duration,
        )

    def _job(self, entry: Result, number: int) -> Job:
        scenario = entry.scenario
        # The same for every gateway in a round.
        chance = random.Random(number)
        return Job(
            port=entry.gateway.port,
            warm_up=self.pace.warm_up * scenario.share,
            duration=self.pace.duration * scenario.share,
            timeout=self.timeout,
            groups=[_group_job(each, chance) for each in scenario.groups],
        )


def _group_job(group: Group, chance: random.Random) -> GroupJob:
    expected = group.expected
    return GroupJob(
        delays=[chance.uniform(0.0, group.spread) for _ in range(group.clients)],
        request=group.request.decode("latin-1"),
        expected=expected if isinstance(expected, int) else expected.decode("latin-1"),
        every=group.every,
    )


def _group_slice(answer: Any, duration: float) -> GroupSlice:
    latencies = sorted(answer["latencies"])
    count = len(latencies)
    return GroupSlice(
        rate=answer["completed"] / duration,
        p50=latencies[count // 2] if count else 0.0,
        p99=latencies[min(count - 1, count * 99 // 100)] if count else 0.0,
        requests=answer["answered"],
        failures=answer["failures"],
    )


def _reasons(groups: list[GroupSlice]) -> str:
    return ", ".join(reasons(each.failures for each in groups)) or "no reason given"


def reasons(failures: Sequence[dict[str, int]] | Iterator[dict[str, int]]) -> list[str]:
    """Return the reasons of all failures, each with its number."""
    counts: Counter[str] = Counter()
    for each in failures:
        counts.update(each)
    return [f"{count} x {reason}" for reason, count in counts.most_common()]
