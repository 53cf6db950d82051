"""The interleaved rounds: every contestant gets a short slice of every scenario in turn."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bench import procfs
from bench.contestants import Contestant
from bench.jobs import Generator, Job, Load
from bench.origin import HOST, Counters, CountingOrigin
from bench.scenarios import Scenario
from bench.wire import Connection, client_context
from bench.workers import LoadError


@dataclass(frozen=True)
class Pace:
    """How long a run takes: seconds of each slice, and how often the round is gone."""

    rounds: int
    duration: float
    warm_up: float


@dataclass(frozen=True)
class Slice:
    """One contestant's slice. Rates per second, latencies and CPU per request in microseconds."""

    rate: float
    p50: float
    p99: float
    proxy_cpu: float | None
    load_cpu: float
    load_busy: float  # CPU seconds of the generator a second and process: 1.0 is all it can do
    requests: int
    opened: int  # connections the origin has accepted, warm-up included,
    served: int  # for so many requests, warm-up included


@dataclass
class Result:
    """All slices of one contestant in one scenario, or why it has none."""

    scenario: Scenario
    contestant: Contestant
    slices: list[Slice] = field(default_factory=list)
    peak_kib: int = 0
    failure: str = ""


def run(
    scenarios: Iterable[Scenario],
    contestants: list[Contestant],
    origin: CountingOrigin,
    generator: Generator,
    pace: Pace,
    progress: Callable[[str], None],
) -> list[Result]:
    """Measure everything; a contestant that fails a scenario keeps its reason instead."""
    results: list[Result] = []
    for scenario in scenarios:
        entries = [Result(scenario, contestant) for contestant in contestants]
        for entry in entries:
            entry.failure = _probe(entry, origin)
            if entry.contestant.pid is not None:
                procfs.reset_peak(entry.contestant.pid)
        for number in range(pace.rounds):
            progress(f"{scenario.name}: round {number + 1} of {pace.rounds}")
            for entry in entries:
                _add_slice(entry, origin, generator, pace)
        results += entries
    return results


def _probe(entry: Result, origin: CountingOrigin) -> str:
    """Fetch the resource once, by other means than the generator; return what went wrong."""
    scenario, contestant = entry.scenario, entry.contestant
    context = client_context(contestant.ca_file) if scenario.scheme == "https" else None
    address = contestant.address(scenario.scheme, origin)
    connection = Connection(address, HOST, origin.ports[scenario.scheme], context)
    try:
        right = connection.fetch(scenario.resource.path) == scenario.resource.body
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if right else "the body is not what the origin sent"


def _add_slice(entry: Result, origin: CountingOrigin, generator: Generator, pace: Pace) -> None:
    if entry.failure:
        return
    pid = entry.contestant.pid
    try:
        entry.slices.append(_slice(entry, origin, generator, pace))
    except LoadError as error:
        entry.failure = str(error)
    if pid is not None:
        entry.peak_kib = max(entry.peak_kib, procfs.peak_kib(pid))


def _slice(entry: Result, origin: CountingOrigin, generator: Generator, pace: Pace) -> Slice:
    pid = entry.contestant.pid
    before_all = origin.counters()
    start: list[tuple[Counters, float]] = []

    def at_start() -> None:
        start.append((origin.counters(), procfs.cpu_seconds(pid) if pid else 0.0))

    load = generator.run(_job(entry, origin, pace), at_start)
    end_cpu = procfs.cpu_seconds(pid) if pid else 0.0
    end = origin.counters()
    (warm, start_cpu) = start[0]
    requests = len(load.latencies)
    served = end.requests - warm.requests - 1  # less the question itself
    if served < requests:
        raise LoadError(f"{requests} responses, but the origin served {served} requests")
    cpu = (end_cpu - start_cpu) / requests * 1e6 if pid else None
    opened = end.accepted - before_all.accepted
    return _summary(load, cpu, opened, end.requests - before_all.requests - 2)


def _summary(load: Load, proxy_cpu: float | None, opened: int, served: int) -> Slice:
    requests = len(load.latencies)
    return Slice(
        rate=requests / load.elapsed,
        p50=load.latencies[requests // 2],
        p99=load.latencies[min(requests - 1, requests * 99 // 100)],
        proxy_cpu=proxy_cpu,
        load_cpu=load.cpu / requests * 1e6,
        load_busy=load.cpu / load.elapsed / load.workers,
        requests=requests,
        opened=opened,
        served=served,
    )


def _job(entry: Result, origin: CountingOrigin, pace: Pace) -> Job:
    scenario, contestant = entry.scenario, entry.contestant
    sockets = contestant.sockets or {}
    return Job(
        scheme=scenario.scheme,
        host=HOST,
        port=origin.ports[scenario.scheme],
        path=scenario.resource.path,
        socket=sockets.get(scenario.scheme, ""),
        ca=contestant.ca_file,
        clients=scenario.clients,
        fresh=scenario.fresh,
        length=len(scenario.resource.body),
        warm_up=pace.warm_up,
        duration=pace.duration,
    )
