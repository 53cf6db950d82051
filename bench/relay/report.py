"""Tables and JSON from the slices of a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from bench.fastcgi.measure import reasons
from bench.ratios import Ratio, compare, texts
from bench.relay.measure import Result, Slice
from bench.relay.relays import BASELINE
from bench.report import grid

HEADINGS = (
    "scenario", "by", "unit", "units/s", "vs haproxy", "range", "p50 ms", "p99 ms", "CPU us/unit",
    "vs haproxy", "busy", "backend us", "load us", "peak MiB", "failed", "",
)  # fmt: skip
# Below this the generator had time left; above, its speed is what was measured.
_BUSY = 0.9


@dataclass(frozen=True)
class Row:
    """One line of the report: medians over the rounds, and sums."""

    scenario: str
    relay: str
    unit: str
    rate: float
    rate_ratio: Ratio | None
    p50: float | None
    p99: float | None
    relay_cpu: float | None
    cpu_ratio: Ratio | None
    relay_busy: float | None
    backend_cpu: float
    load_cpu: float
    peak_kib: int
    failed: int
    reasons: list[str]
    client_bound: bool


def summarise(results: Sequence[Result]) -> list[Row]:
    """Return a row for each result."""
    baselines = {each.scenario.name: each.slices for each in results if each.relay.name == BASELINE}
    return [_row(each, baselines.get(each.scenario.name, [])) for each in results]


def _row(result: Result, baseline: list[Slice | None]) -> Row:
    def median(value: Callable[[Slice], float | None]) -> float | None:
        found = [value(each) for each in result.slices if each is not None]
        known = [each for each in found if each is not None]
        return statistics.median(known) if known else None

    def ratio(value: Callable[[Slice], float | None]) -> Ratio | None:
        series = [
            [None if each is None else value(each) for each in slices]
            for slices in (result.slices, baseline)
        ]
        return compare(*series)

    return Row(
        scenario=result.scenario.name,
        relay=result.relay.name,
        unit=result.scenario.kind.unit,
        rate=median(lambda each: each.rate) or 0.0,
        rate_ratio=ratio(lambda each: each.rate),
        p50=median(lambda each: each.p50),
        p99=median(lambda each: each.p99),
        relay_cpu=median(lambda each: each.relay_cpu),
        cpu_ratio=ratio(lambda each: each.relay_cpu),
        relay_busy=median(lambda each: each.relay_busy),
        backend_cpu=median(lambda each: each.backend_cpu) or 0.0,
        load_cpu=median(lambda each: each.load_cpu) or 0.0,
        peak_kib=result.peak_kib,
        failed=result.failures.total(),
        reasons=reasons([result.failures]),
        client_bound=(median(lambda each: each.load_busy) or 0.0) > _BUSY,
    )


def cells(row: Row) -> list[str]:
    """Return the texts of a row, one for each of HEADINGS."""
    return [
        row.scenario,
        row.relay,
        row.unit,
        f"{row.rate:.0f}",
        *texts(row.rate_ratio),
        _scaled(row.p50, 1000, 2),
        _scaled(row.p99, 1000, 2),
        _scaled(row.relay_cpu, 1, 1),
        texts(row.cpu_ratio)[0],
        _scaled(row.relay_busy, 1, 2),
        f"{row.backend_cpu:.1f}",
        f"{row.load_cpu:.1f}",
        _scaled(row.peak_kib or None, 1024, 1),
        str(row.failed),
        "; ".join([*row.reasons, *(["client-bound"] if row.client_bound else [])]),
    ]


def _scaled(value: float | None, unit: int, digits: int) -> str:
    return "" if value is None else f"{value / unit:.{digits}f}"


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Return the rows as a text or markdown table."""
    return grid(HEADINGS, [cells(row) for row in rows], markdown)


def slices_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return every slice that did not fail as plain data, in the order of the rounds."""
    return [
        {"scenario": each.scenario.name, "relay": each.relay.name, **asdict(slice_)}
        for each in results
        for slice_ in each.slices
        if slice_ is not None
    ]
