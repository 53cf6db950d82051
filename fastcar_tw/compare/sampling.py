"""
The requests: as many each way, in turns, so that what else happens meanwhile is shared by all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from fastcar_tw.compare import CompareError
from fastcar_tw.compare.client import CurlOptions, Timing
from fastcar_tw.compare.ways import Way

_BAR_WIDTH = 40


@dataclass
class Series:
    """
    What one way took: milliseconds of each request, in their order, and how often which status.
    """

    name: str
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


def sample(
    request: Callable[[CurlOptions], Timing],
    ways: Sequence[Way],
    count: int,
    progress: Callable[[int, int], None],
) -> list[Series]:
    """
    Send C{count} requests each way, after one that is not counted.

    @param progress: called with the number of requests done, and of all.
    @return: a series for each way, in their order.
    @raise CompareError: for a request without a response; the text names the way.
    """
    series = [Series(way.name) for way in ways]
    total = (count + 1) * len(ways)
    for number in range(total):
        progress(number, total)
        turn, index = divmod(number, len(ways))
        try:
            timing = request(ways[index].options)
        except CompareError as error:
            raise CompareError(f"{ways[index].name}: {error}") from None
        series[index].statuses[timing.status] += 1
        if turn > 0:
            series[index].latencies.append(timing.ms)
    return series


class ProgressBar:
    """
    A line that is drawn over again; nothing on what is no terminal.
    """

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream = stream if stream.isatty() else None
        self._label = label

    def __call__(self, done: int, total: int) -> None:
        """
        Show how far it is.
        """
        bar = "#" * (_BAR_WIDTH * done // total)
        self._show(f"{self._label} [{bar:<{_BAR_WIDTH}}] {done}/{total}")

    def clear(self) -> None:
        """
        Remove the bar.
        """
        self._show("")

    def _show(self, text: str) -> None:
        if self._stream is not None:
            print(f"\r\x1b[K{text}", end="", file=self._stream, flush=True)
