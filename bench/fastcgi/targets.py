"""What fastcar is to reach, and whether it has."""

from __future__ import annotations

from collections.abc import Sequence

from bench.fastcgi.gateways import BASELINE, FASTCAR
from bench.fastcgi.report import Row
from bench.report import grid

# Requests a second as a share of those of nginx without kept connections, by scenario.
_RATES = {"hello": 0.45, "5ms": 0.97, "1mib": 0.7}

Line = list[str]


def lines(rows: Sequence[Row]) -> list[Line]:
    """Return a line for each target that was measured: what, by whom, wanted, got, verdict."""
    found = []
    for row in rows:
        if row.gateway.startswith(FASTCAR):
            found += [*_rate(row), *_beside(row, rows), _failures(row)]
    return found


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Return the lines as a table."""
    return grid(["target", "by", "wanted", "measured", ""], lines(rows), markdown)


def _rate(row: Row) -> list[Line]:
    wanted, ratio = _RATES.get(row.name), row.rate_ratio
    if wanted is None or ratio is None:
        return []
    return [
        [
            f"{row.name}: req/s vs nginx",
            row.gateway,
            f">= {wanted}",
            f"{ratio.median:.3f}",
            _verdict(ratio.median >= wanted),
        ]
    ]


def _beside(row: Row, rows: Sequence[Row]) -> list[Line]:
    """Compare the latency of fast requests beside slow ones with every nginx's."""
    if row.group != "fast" or row.failure:
        return []
    others = [each for each in rows if each.name == row.name and each.gateway.startswith(BASELINE)]
    return [
        [
            f"{row.name}: p99 ms vs {other.gateway}",
            row.gateway,
            f"< {other.p99 / 1000:.1f}",
            f"{row.p99 / 1000:.1f}",
            _verdict(row.p99 < other.p99),
        ]
        for other in others
        if not other.failure
    ]


def _failures(row: Row) -> Line:
    right = not row.failed and not row.failure
    return [
        f"{row.name}: failed",
        row.gateway,
        "0",
        row.failure or str(row.failed),
        _verdict(right),
    ]


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"
