"""Tables and JSON from the slices of a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from bench.fastcgi.gateways import BASELINE
from bench.fastcgi.measure import Result, Slice, reasons
from bench.ratios import Ratio, compare, texts
from bench.report import grid

_T = TypeVar("_T")

HEADINGS = (
    "scenario", "by", "req/s", "vs nginx", "range", "p50 ms", "p99 ms", "vs nginx", "range",
    "requests", "failed", "CPU us/req", "PHP us/req", "peak MiB", "load us/req", "",
)  # fmt: skip
# Below this the generator had time left; above, its speed is what was measured.
_BUSY = 0.9


@dataclass(frozen=True)
class Row:
    """One group of clients at one gateway: medians over the rounds, and sums."""

    scenario: str
    group: str
    gateway: str
    rate: float
    rate_ratio: Ratio | None
    p50: float
    p99: float
    p99_ratio: Ratio | None
    requests: int
    failed: int
    reasons: list[str]
    gateway_cpu: float
    php_cpu: float
    load_cpu: float
    peak_kib: int
    client_bound: bool
    failure: str = ""

    @property
    def name(self) -> str:
        """Return the name of scenario and group."""
        return " ".join(filter(None, (self.scenario, self.group)))


def summarise(results: Sequence[Result]) -> list[Row]:
    """Return a row for each group of each result, the gateways of a group together."""
    rows = []
    for scenario in dict.fromkeys(each.scenario for each in results):
        entries = [each for each in results if each.scenario is scenario]
        for index in range(len(scenario.groups)):
            rows += [_row(each, _baseline(entries), index) for each in entries]
    return rows


def _baseline(entries: Iterable[Result]) -> list[Slice]:
    return next((each.slices for each in entries if each.gateway.name == BASELINE), [])


def _row(result: Result, baseline: list[Slice], index: int) -> Row:
    slices = [] if result.failure else result.slices
    own = [each.groups[index] for each in slices]
    other = [each.groups[index] for each in baseline]
    failures = [each.failures for each in own]
    return Row(
        scenario=result.scenario.name,
        group=result.scenario.groups[index].name,
        gateway=result.gateway.name,
        rate=_median(own, lambda each: each.rate),
        rate_ratio=compare([each.rate for each in own], [each.rate for each in other]),
        p50=_median(own, lambda each: each.p50),
        p99=_median(own, lambda each: each.p99),
        p99_ratio=compare([each.p99 for each in own], [each.p99 for each in other]),
        requests=sum(each.requests for each in own),
        failed=sum(sum(each.values()) for each in failures),
        reasons=reasons(failures),
        gateway_cpu=_median(slices, lambda each: each.gateway_cpu),
        php_cpu=_median(slices, lambda each: each.php_cpu),
        load_cpu=_median(slices, lambda each: each.load_cpu),
        peak_kib=result.peak_kib,
        client_bound=_median(slices, lambda each: each.load_busy) > _BUSY,
        failure=result.failure,
    )


def _median(values: Sequence[_T], value: Callable[[_T], float]) -> float:
    return statistics.median(map(value, values)) if values else 0.0


def cells(row: Row) -> list[str]:
    """Return the texts of a row, one for each of HEADINGS."""
    if row.failure:
        return [row.name, row.gateway, *[""] * 13, f"FAILED: {row.failure}"]
    return [
        row.name,
        row.gateway,
        f"{row.rate:.0f}",
        *texts(row.rate_ratio),
        f"{row.p50 / 1000:.2f}",
        f"{row.p99 / 1000:.2f}",
        *texts(row.p99_ratio),
        str(row.requests),
        str(row.failed),
        f"{row.gateway_cpu:.0f}",
        f"{row.php_cpu:.0f}",
        f"{row.peak_kib / 1024:.1f}",
        f"{row.load_cpu:.0f}",
        "; ".join([*row.reasons, *(["client-bound"] if row.client_bound else [])]),
    ]


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Return the rows as a text or markdown table."""
    return grid(HEADINGS, [cells(row) for row in rows], markdown)


def slices_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return every slice as plain data, in the order of the rounds."""
    return [
        {"scenario": each.scenario.name, "gateway": each.gateway.name, **asdict(slice_)}
        for each in results
        for slice_ in each.slices
    ]
