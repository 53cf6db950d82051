"""Tables and JSON from the slices of a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.contestants import BASELINE
from bench.measure import Result, Slice
from bench.ratios import Ratio, compare, texts

HEADINGS = (
    "scenario", "by", "req/s", "vs nginx", "p50 ms", "p99 ms", "CPU us/req", "vs nginx", "range",
    "peak MiB", "load us/req", "opened", "for requests", "",
)  # fmt: skip
# Below this the generator had time left; above, its speed is what was measured.
_BUSY = 0.9


@dataclass(frozen=True)
class Row:
    """One line of the report: medians over the rounds."""

    scenario: str
    contestant: str
    rate: float
    p50: float
    p99: float
    proxy_cpu: float | None
    load_cpu: float
    peak_kib: int
    requests: int
    opened: int
    served: int
    rate_ratio: Ratio | None
    cpu_ratio: Ratio | None
    client_bound: bool
    failure: str = ""


def summarise(results: Sequence[Result]) -> list[Row]:
    """Return a row for each result."""
    baselines = {
        each.scenario.name: each.slices for each in results if each.contestant.name == BASELINE
    }
    return [_row(each, baselines.get(each.scenario.name, [])) for each in results]


def _row(result: Result, baseline: list[Slice]) -> Row:
    slices = [] if result.failure else result.slices
    proxy_cpu = _cpu_median(slices)
    load_cpu = _median(slices, lambda each: each.load_cpu)
    busy = _median(slices, lambda each: each.load_busy)
    return Row(
        scenario=result.scenario.name,
        contestant=result.contestant.name,
        rate=_median(slices, lambda each: each.rate),
        p50=_median(slices, lambda each: each.p50),
        p99=_median(slices, lambda each: each.p99),
        proxy_cpu=proxy_cpu,
        load_cpu=load_cpu,
        peak_kib=result.peak_kib,
        requests=sum(each.requests for each in slices),
        opened=sum(each.opened for each in slices),
        served=sum(each.served for each in slices),
        rate_ratio=_ratio(slices, baseline, lambda each: each.rate),
        cpu_ratio=_ratio(slices, baseline, lambda each: each.proxy_cpu),
        client_bound=busy > _BUSY or (proxy_cpu is not None and load_cpu > proxy_cpu),
        failure=result.failure,
    )


def _median(slices: list[Slice], value: Callable[[Slice], float]) -> float:
    return statistics.median(map(value, slices)) if slices else 0.0


def _cpu_median(slices: list[Slice]) -> float | None:
    values = [each.proxy_cpu for each in slices if each.proxy_cpu is not None]
    return statistics.median(values) if values else None


def _ratio(
    slices: list[Slice], baseline: list[Slice], value: Callable[[Slice], float | None]
) -> Ratio | None:
    return compare([value(each) for each in slices], [value(each) for each in baseline])


def cells(row: Row) -> list[str]:
    """Return the texts of a row, one for each of HEADINGS."""
    if row.failure:
        return [row.scenario, row.contestant, *[""] * 11, f"FAILED: {row.failure}"]
    rate = row.rate_ratio
    return [
        row.scenario,
        row.contestant,
        f"{row.rate:.0f}",
        f"{rate.median:.2f}" if rate else "",
        f"{row.p50 / 1000:.2f}",
        f"{row.p99 / 1000:.2f}",
        f"{row.proxy_cpu:.0f}" if row.proxy_cpu is not None else "",
        *texts(row.cpu_ratio),
        f"{row.peak_kib / 1024:.1f}" if row.peak_kib else "",
        f"{row.load_cpu:.0f}",
        str(row.opened),
        str(row.served),
        "client-bound" if row.client_bound else "",
    ]


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Return the rows as a text or markdown table."""
    return grid(HEADINGS, [cells(row) for row in rows], markdown)


def grid(headings: Sequence[str], lines: Sequence[Sequence[str]], markdown: bool) -> str:
    """Lay out a table; the first two columns and the last are left-aligned, numbers right."""
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    last = len(headings) - 1
    left = {0, 1, last}

    def line(texts: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if index in left else text.rjust(width)
            for index, (text, width) in enumerate(zip(texts, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()

    rule = [
        "-" * width if index in left else "-" * max(1, width - 1) + ":"
        for index, width in enumerate(widths)
    ]
    under = line(rule) if markdown else line(["-" * width for width in widths])
    return "\n".join([line(headings), under, *map(line, lines)])


def as_json(rows: Sequence[Any]) -> list[dict[str, object]]:
    """Return the rows of any report as plain data."""
    return [asdict(row) for row in rows]


def slices_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return every slice as plain data, in the order of the rounds."""
    return [
        {"scenario": each.scenario.name, "contestant": each.contestant.name, **asdict(slice_)}
        for each in results
        for slice_ in each.slices
    ]
