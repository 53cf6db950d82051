"""The interleaved rounds: each fastcar gets a short slice of every scenario in turn."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import procfs
from bench.http2.loads import Run
from bench.http2.origin import Http2Origin
from bench.http2.proxies import Proxy, Way, fastcar, way
from bench.http2.scenarios import Scenario
from bench.http2.sockets import watched
from bench.measure import Pace
from bench.workers import LoadError


@dataclass(frozen=True)
class Slice:
    """One slice: requests or MB, a second; latencies, and CPU for each, in microseconds."""

    rate: float
    p50: float
    p99: float
    slowest: float
    amount: float
    proxy_cpu: float
    origin_cpu: float
    way_cpu: float
    load_cpu: float
    proxy_busy: float  # CPU seconds a second: 1.0 is all it can do
    load_busy: float
    opened: int  # connections the origin has accepted, warm-up included
    most_open: int


@dataclass
class Result:
    """All slices of one fastcar in one scenario, None where one failed, and all failures."""

    scenario: Scenario
    mode: str
    slices: list[Slice | None] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    peak_kib: int = 0


class Measurement:
    """A run of the comparison, in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        origin: Http2Origin,
        connections: int,
        pace: Pace,
        progress: Callable[[str], None],
    ) -> None:
        """`connections`: how many each fastcar may have."""
        self._folder = folder
        self._origin = origin
        self._connections = connections
        self._pace = pace
        self._progress = progress
        self._started = 0

    def run(self, scenarios: Sequence[Scenario]) -> list[Result]:
        """Measure everything. Raises BenchError if something cannot start."""
        return [each for scenario in scenarios for each in self._run(scenario)]

    def _run(self, scenario: Scenario) -> list[Result]:
        entries = [Result(scenario, mode) for mode in self._origin.ports]
        with contextlib.ExitStack() as stack:
            log = self._folder / f"{scenario.name}.log"
            there = stack.enter_context(way(scenario.rtt, log, self._origin.ports))
            load = stack.enter_context(scenario.kind.generator())
            kept: dict[str, Proxy] = {}
            if not scenario.cold:
                for entry in entries:
                    kept[entry.mode] = stack.enter_context(self._proxy(entry.mode, there))
            for number in range(self._pace.rounds):
                for entry in entries:
                    name = f"{scenario.name}: {entry.mode}"
                    self._progress(f"{name}: round {number + 1} of {self._pace.rounds}")
                    self._add_slice(entry, kept.get(entry.mode), there, load)
        return entries

    @contextlib.contextmanager
    def _proxy(self, mode: str, there: Way) -> Iterator[Proxy]:
        """Have a fastcar that has just been started."""
        self._started += 1
        folder = self._folder / str(self._started)
        files = self._origin.certificates
        with fastcar(mode, folder, files, there.ports[mode], self._connections) as proxy:
            yield proxy

    def _add_slice(self, entry: Result, kept: Proxy | None, there: Way, load: Run) -> None:
        found: Slice | None = None
        with contextlib.ExitStack() as stack:
            proxy = kept or stack.enter_context(self._proxy(entry.mode, there))
            try:
                found = self._slice(entry.mode, proxy, there, load)
            except LoadError as error:
                entry.failures[str(error)] += 1
            entry.peak_kib = max(entry.peak_kib, procfs.peak_kib(proxy.pid))
        entry.slices.append(found)

    def _slice(self, mode: str, proxy: Proxy, there: Way, load: Run) -> Slice:
        origin = self._origin
        pids = [(proxy.pid,), origin.pids, (there.pid,) if there.pid else ()]
        accepted = origin.counters().accepted
        start: list[float] = []
        with watched(origin.ports[mode]) as watch:
            got = load(proxy, self._pace, lambda: start.extend(map(_cpu, pids)))
            spent = [_cpu(each) - before for each, before in zip(pids, start, strict=True)]
        each = [1e6 * seconds / got.amount for seconds in spent]
        count = len(got.latencies)
        return Slice(
            rate=got.amount / got.elapsed,
            p50=got.latencies[count // 2],
            p99=got.latencies[min(count - 1, count * 99 // 100)],
            slowest=got.latencies[-1],
            amount=got.amount,
            proxy_cpu=each[0],
            origin_cpu=each[1],
            way_cpu=each[2],
            load_cpu=1e6 * got.cpu / got.amount,
            proxy_busy=spent[0] / got.elapsed,
            load_busy=got.cpu / got.elapsed,
            opened=origin.counters().accepted - accepted,
            most_open=watch.most,
        )


def _cpu(pids: Sequence[int]) -> float:
    return sum(map(procfs.cpu_seconds, pids))
