"""What fastcar is to reach, and whether it has."""

from __future__ import annotations

from collections.abc import Sequence

from bench.relay.relays import FASTCAR, POOLED
from bench.relay.report import Row
from bench.report import grid

# In pair mode, as a share of what HAProxy does with one thread.
_SHARES = {
    "small-32": 0.6,
    "redis-ping-1": 0.6,
    "down-1": 0.8,
    "up-1": 0.8,
    "down-4": 0.8,
    "up-4": 0.8,
}
# Requests a second on kept connections that swoole claims for its relay, on machines of its own.
_CLAIM = ("pipelined-32", 100_000)

Line = list[str]


def lines(rows: Sequence[Row]) -> list[Line]:
    """Return a line for each target that was measured: what, by whom, wanted, got, verdict."""
    found = []
    for row in rows:
        if row.relay in (FASTCAR, POOLED):
            found += [*_share(row), *_claim(row), _failures(row)]
    return found


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Return the lines as a table."""
    return grid(["target", "by", "wanted", "measured", ""], lines(rows), markdown)


def _share(row: Row) -> list[Line]:
    wanted, ratio = _SHARES.get(row.scenario), row.rate_ratio
    if wanted is None or ratio is None or row.relay != FASTCAR:
        return []
    return [
        [
            f"{row.scenario}: {row.unit}/s vs haproxy",
            row.relay,
            f">= {wanted}",
            f"{ratio.median:.3f}",
            _verdict(ratio.median >= wanted),
        ]
    ]


def _claim(row: Row) -> list[Line]:
    scenario, wanted = _CLAIM
    if row.scenario != scenario or row.relay != POOLED:
        return []
    measured = f"{row.rate:.0f}"
    return [
        [f"{scenario}: req/s", row.relay, f">= {wanted}", measured, _verdict(row.rate >= wanted)]
    ]


def _failures(row: Row) -> Line:
    return [f"{row.scenario}: failed", row.relay, "0", str(row.failed), _verdict(not row.failed)]


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"
