"""Tables and JSON from the slices of a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from bench.fastcgi.measure import reasons
from bench.http2.measure import Result, Slice
from bench.http2.proxies import BASELINE
from bench.ratios import Ratio, compare, texts
from bench.report import grid

HEADINGS = (
    "scenario", "--http2", "unit", "units/s", "vs off", "range", "p50 ms", "p99 ms", "slowest ms",
    "CPU us/unit", "vs off", "range", "busy", "origin us", "link us", "load us", "opened",
    "most open", "peak MiB", "failed", "",
)  # fmt: skip
# Below this the generator had time left; above, its speed is what was measured.
_BUSY = 0.9


@dataclass(frozen=True)
class Row:
    """One line of the report: medians over the rounds, and sums."""

    scenario: str
    mode: str
    unit: str
    rate: float
    rate_ratio: Ratio | None
    p50: float
    p99: float
    slowest: float
    proxy_cpu: float
    cpu_ratio: Ratio | None
    proxy_busy: float
    origin_cpu: float
    way_cpu: float
    load_cpu: float
    opened: int
    most_open: int
    peak_kib: int
    failed: int
    reasons: list[str]
    client_bound: bool


def summarise(results: Sequence[Result]) -> list[Row]:
    """Return a row for each result."""
    baselines = {each.scenario.name: each.slices for each in results if each.mode == BASELINE}
    return [_row(each, baselines.get(each.scenario.name, [])) for each in results]


def _row(result: Result, baseline: list[Slice | None]) -> Row:
    slices = [each for each in result.slices if each is not None]

    def median(value: Callable[[Slice], float]) -> float:
        return statistics.median(map(value, slices)) if slices else 0.0

    def ratio(value: Callable[[Slice], float]) -> Ratio | None:
        if result.mode == BASELINE:
            return None
        series = [
            [None if each is None else value(each) for each in side]
            for side in (result.slices, baseline)
        ]
        return compare(*series)

    return Row(
        scenario=result.scenario.name,
        mode=result.mode,
        unit=result.scenario.kind.unit,
        rate=median(lambda each: each.rate),
        rate_ratio=ratio(lambda each: each.rate),
        p50=median(lambda each: each.p50),
        p99=median(lambda each: each.p99),
        slowest=median(lambda each: each.slowest),
        proxy_cpu=median(lambda each: each.proxy_cpu),
        cpu_ratio=ratio(lambda each: each.proxy_cpu),
        proxy_busy=median(lambda each: each.proxy_busy),
        origin_cpu=median(lambda each: each.origin_cpu),
        way_cpu=median(lambda each: each.way_cpu),
        load_cpu=median(lambda each: each.load_cpu),
        opened=max((each.opened for each in slices), default=0),
        most_open=max((each.most_open for each in slices), default=0),
        peak_kib=result.peak_kib,
        failed=result.failures.total(),
        reasons=reasons([result.failures]),
        client_bound=median(lambda each: each.load_busy) > _BUSY,
    )


def cells(row: Row) -> list[str]:
    """Return the texts of a row, one for each of HEADINGS."""
    return [
        row.scenario,
        row.mode,
        row.unit,
        f"{row.rate:.0f}",
        *texts(row.rate_ratio),
        *(f"{each / 1000:.2f}" for each in (row.p50, row.p99, row.slowest)),
        f"{row.proxy_cpu:.0f}",
        *texts(row.cpu_ratio),
        f"{row.proxy_busy:.2f}",
        *(f"{each:.0f}" for each in (row.origin_cpu, row.way_cpu, row.load_cpu)),
        str(row.opened),
        str(row.most_open),
        f"{row.peak_kib / 1024:.1f}",
        str(row.failed),
        "; ".join([*row.reasons, *(["client-bound"] if row.client_bound else [])]),
    ]


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Return the rows as a text or markdown table."""
    return grid(HEADINGS, [cells(row) for row in rows], markdown)


def slices_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return every slice that did not fail as plain data, in the order of the rounds."""
    return [
        {"scenario": each.scenario.name, "mode": each.mode, **asdict(slice_)}
        for each in results
        for slice_ in each.slices
        if slice_ is not None
    ]
