"""The picture of a run; needs matplotlib, which the extra `bench` brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contestants import BASELINE
from bench.ratios import Ratio
from bench.report import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(rows: Sequence[Row], path: Path) -> bool:
    """Draw the ratios to nginx into `path` (PNG, SVG ...); False without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    cpu, rate = figure.subplots(2, 1)
    _bars(cpu, rows, lambda row: row.cpu_ratio)
    cpu.set_title("CPU time of the proxy per request, nginx = 1 (less is better)")
    _bars(rate, rows, lambda row: row.rate_ratio)
    rate.set_title("Requests per second, nginx = 1 (more is better)")
    figure.savefig(path, dpi=120)
    return True


def _bars(axes: Axes, rows: Sequence[Row], ratio: Callable[[Row], Ratio | None]) -> None:
    """Draw one group of bars a scenario, one bar a contestant, its range as a whisker."""
    values = {(row.scenario, row.contestant): ratio(row) for row in rows}
    scenarios = list(dict.fromkeys(row.scenario for row in rows))
    # A contestant has its colour in both panels, also where another is left out.
    everyone = list(dict.fromkeys(row.contestant for row in rows))
    names = [name for name in everyone if any(values[scenario, name] for scenario in scenarios)]
    width = 0.8 / max(1, len(names))
    for index, name in enumerate(names):
        drawn = [
            (number + index * width, value)
            for number, scenario in enumerate(scenarios)
            if (value := values[scenario, name])
        ]
        places, heights = [x for x, _ in drawn], [value.median for _, value in drawn]
        below = [value.median - value.lowest for _, value in drawn]
        above = [value.highest - value.median for _, value in drawn]
        colour = "0.7" if name == BASELINE else f"C{everyone.index(name)}"
        bars = axes.bar(places, heights, width, yerr=(below, above), label=name, color=colour)
        axes.bar_label(bars, fmt="%.2f", fontsize=7, padding=2)
    centre = (len(names) - 1) * width / 2
    axes.set_xticks(
        [number + centre for number in range(len(scenarios))], scenarios, rotation=20, fontsize=8
    )
    axes.legend(fontsize=8)
