"""
The text of a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastcar_tw.compare.sampling import Series
from fastcar_tw.compare.statistics import Summary, reduction

HEADINGS = ("", "p50 ms", "p95 ms", "p99 ms", "mean ms", "mean reduced by")
#: With a known round-trip time.
OVER_RTT = "p50 over one RTT"


@dataclass(frozen=True)
class Comparison:
    """
    All ways to one URL, the direct one first.

    @ivar rtt: round-trip time of the link, in seconds, where that is known.
    """

    url: str
    rtt: float | None
    series: Sequence[Series]

    @property
    def title(self) -> str:
        """
        What was asked for, without a query, and how often.
        """
        where = urlsplit(self.url)._replace(query="").geturl()
        far = "" if self.rtt is None else f", {self.rtt * 1000:g} ms RTT"
        return f"{where}{far}, {len(self.series[0].latencies)} requests each way"

    @property
    def summaries(self) -> list[Summary]:
        """
        One for each series.
        """
        return [Summary.of(each.latencies) for each in self.series]


def table(comparison: Comparison) -> str:
    """
    One line for each way; reductions are those of the mean, against the direct way.
    """
    rows = _rows(comparison)
    headings = [*HEADINGS, OVER_RTT][: len(rows[0])]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return "\n".join(_line(cells, widths) for cells in [headings, *rows])


def _rows(comparison: Comparison) -> list[list[str]]:
    rows: list[list[str]] = []
    summaries = comparison.summaries
    for series, each in zip(comparison.series, summaries, strict=True):
        row = [series.name, *(f"{ms:.2f}" for ms in (each.p50, each.p95, each.p99, each.mean))]
        row.append(f"{reduction(each.mean, summaries[0].mean):.1f} %" if rows else "")
        if comparison.rtt is not None:
            row.append(f"{each.p50 - comparison.rtt * 1000:.2f} ms")
        rows.append(row)
    return rows


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return "  ".join(padded).rstrip()


def notes(comparison: Comparison) -> list[str]:
    """
    What to know about the responses: statuses other than 200.
    """
    return [
        f"{series.name}: "
        + ", ".join(f"{count} x {status}" for status, count in sorted(series.statuses.items()))
        for series in comparison.series
        if set(series.statuses) != {200}
    ]


def preface(about: str, local: bool) -> str:
    """
    What was measured, and with what.

    @param about: the versions.
    @param local: whether the origin is one of our own.
    """
    ca_file = "PHP's own CA file, as ever"
    if local:
        ca_file = "a CA file of one certificate; with all public CAs in it each takes longer"
    return (
        f"Measured in {about}: a new curl handle for each request,\n"
        "sharing nothing, from its making to its end, reading the CA file included.\n"
        f"Direct requests use {ca_file}.\n"
        "All ways take turns. The first request of each is not counted: it opens the connection\n"
        "that fastcar keeps."
    )
