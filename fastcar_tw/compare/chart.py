"""
The picture of comparisons; needs matplotlib, which the extra C{compare} brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastcar_tw.compare.report import Comparison
from fastcar_tw.compare.statistics import reduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("0.45", "tab:blue", "tab:green")


def draw(comparisons: Sequence[Comparison], path: str) -> bool:
    """
    Draw every latency, in the order of the requests, one panel for each comparison.

    @param path: ends with the format.
    @return: False without matplotlib.
    @raise OSError: if the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 4.2 * len(comparisons)), layout="constrained")
    panels = figure.subplots(len(comparisons), 1, squeeze=False)[:, 0]
    for axes, comparison in zip(panels, comparisons, strict=True):
        _draw_one(axes, comparison)
    figure.savefig(path, dpi=120)
    return True


def _draw_one(axes: Axes, comparison: Comparison) -> None:
    direct, *_ = means = [each.mean for each in comparison.summaries]
    for index, (series, mean) in enumerate(zip(comparison.series, means, strict=True)):
        label = f"{series.name}\nmean {mean:.1f} ms"
        if index > 0:
            less = reduction(mean, direct)
            label += f", {abs(less):.1f} % {'less' if less >= 0 else 'more'}"
        numbers = range(1, len(series.latencies) + 1)
        colour = _COLOURS[index]
        axes.plot(numbers, series.latencies, ".", color=colour, alpha=0.8, label=label)
        axes.axhline(mean, color=colour, linestyle="--", linewidth=1)
    axes.set_title(comparison.title, fontsize=11)
    axes.set_xlabel("request")
    axes.set_ylabel("latency (ms)")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=9, frameon=False)
