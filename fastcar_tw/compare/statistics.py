"""
Percentiles, means and reductions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], percent: int) -> float:
    """
    The smallest value that at least so many percent of all do not exceed (nearest rank).

    @param values: in any order, at least one.
    @param percent: from 1 to 100.
    """
    rank = -(-percent * len(values) // 100)
    return sorted(values)[rank - 1]


@dataclass(frozen=True)
class Summary:
    """
    Latencies in a few numbers, of their own unit.
    """

    p50: float
    p95: float
    p99: float
    mean: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """
        @param values: at least one.
        """
        p50, p95, p99 = (percentile(values, percent) for percent in (50, 95, 99))
        return cls(p50, p95, p99, sum(values) / len(values))


def reduction(value: float, baseline: float) -> float:
    """
    By how many percent of C{baseline} a value is below it; negative when it is above.
    """
    return 100.0 * (baseline - value) / baseline
