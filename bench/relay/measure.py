"""The interleaved rounds: every relay gets a short slice of every scenario in turn."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import procfs
from bench.measure import Pace
from bench.processes import BenchError
from bench.relay import relays
from bench.relay.backends import Backend
from bench.relay.generators import Run
from bench.relay.relays import Relay
from bench.relay.scenarios import Scenario
from bench.workers import LoadError


@dataclass(frozen=True)
class Slice:
    """One relay's slice: requests or MiB, a second; latencies, and CPU for each, in microseconds.

    `relay_busy` and `load_busy` are CPU seconds a second and process: 1.0 is all one can do.
    """

    rate: float
    p50: float | None
    p99: float | None
    amount: float
    relay_cpu: float | None
    backend_cpu: float
    load_cpu: float
    relay_busy: float | None
    load_busy: float


@dataclass
class Result:
    """All slices of one relay in one scenario, None where one failed, and all failures."""

    scenario: Scenario
    relay: Relay
    slices: list[Slice | None] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    peak_kib: int = 0


class Measurement:
    """A run. `missing` has a line for each relay that did not start."""

    def __init__(self, folder: Path, pace: Pace, progress: Callable[[str], None]) -> None:
        self._folder = folder
        self._pace = pace
        self._progress = progress
        self.missing: dict[str, str] = {}

    def run(self, scenarios: Sequence[Scenario]) -> list[Result]:
        """Measure everything. Raises BenchError if a backend or a generator cannot start."""
        results: list[Result] = []
        for scenario in scenarios:
            self._progress(f"{scenario.name}: starting")
            with contextlib.ExitStack() as stack:
                folder = self._folder / scenario.name
                folder.mkdir()
                backend = stack.enter_context(scenario.backend(folder / "backend"))
                entered = self._enter(stack, folder, scenario, backend)
                load = stack.enter_context(scenario.kind.generator())
                entries = [Result(scenario, relay) for relay in entered]
                self._rounds(entries, backend, load)
            results += entries
        return results

    def _enter(
        self, stack: contextlib.ExitStack, folder: Path, scenario: Scenario, backend: Backend
    ) -> list[Relay]:
        """Start the relays, each anew for each scenario."""
        entered = []
        for name, start in relays.starts(scenario.framing).items():
            try:
                entered.append(stack.enter_context(start(folder / name, backend.port)))
            except BenchError as error:
                self.missing[name] = f"{name} did not start: {error}"
        return entered

    def _rounds(self, entries: list[Result], backend: Backend, load: Run) -> None:
        for number in range(self._pace.rounds):
            for entry in entries:
                name = f"{entry.scenario.name}: {entry.relay.name}"
                self._progress(f"{name}: round {number + 1} of {self._pace.rounds}")
                self._add_slice(entry, backend, load)

    def _add_slice(self, entry: Result, backend: Backend, load: Run) -> None:
        found: Slice | None = None
        try:
            found = self._slice(entry, backend, load)
        except LoadError as error:
            entry.failures[str(error)] += 1
        entry.slices.append(found)
        if entry.relay.pid is not None:
            entry.peak_kib = max(entry.peak_kib, procfs.peak_kib(entry.relay.pid))

    def _slice(self, entry: Result, backend: Backend, load: Run) -> Slice:
        pids = [pid for pid in (backend.pid, entry.relay.pid) if pid is not None]
        start: list[float] = []
        got = load(entry.relay.port, self._pace, lambda: start.extend(_cpu(pids)))
        entry.failures.update(got.failures)
        if not got.amount:
            raise LoadError("nothing came back")
        spent = [after - before for after, before in zip(_cpu(pids), start, strict=True)]
        each = [1e6 * seconds / got.amount for seconds in spent]
        return Slice(
            rate=got.amount / got.elapsed,
            p50=got.p50,
            p99=got.p99,
            amount=got.amount,
            relay_cpu=each[1] if each[1:] else None,
            backend_cpu=each[0],
            load_cpu=1e6 * got.cpu / got.amount,
            relay_busy=spent[1] / got.elapsed if spent[1:] else None,
            load_busy=got.cpu / got.elapsed / got.processes,
        )


def _cpu(pids: Sequence[int]) -> list[float]:
    return [procfs.cpu_seconds(pid) for pid in pids]
