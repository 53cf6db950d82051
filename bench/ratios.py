"""One way against another over interleaved rounds: medians of what shared the same minute."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """A contestant against the baseline: the median over the rounds, each compared with itself."""

    median: float
    lowest: float
    highest: float


def texts(ratio: Ratio | None) -> tuple[str, str]:
    """Return the cells of a ratio: its median and its range, empty if there is none."""
    if ratio is None:
        return "", ""
    return f"{ratio.median:.2f}", f"{ratio.lowest:.2f}-{ratio.highest:.2f}"


def compare(own: Sequence[float | None], baseline: Sequence[float | None]) -> Ratio | None:
    """Return the ratio of two series of rounds; None if there is nothing to compare."""
    ratios = [
        numerator / denominator
        for numerator, denominator in zip(own, baseline, strict=False)
        if numerator is not None and denominator
    ]
    if not ratios:
        return None
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))
