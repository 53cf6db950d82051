"""
How long requests hold a child of php-fpm, as far as that can be told from those before them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

#: Seconds above which a page is slow.
SLOW = 0.05
#: What the latest request counts of the average.
WEIGHT = 0.25
#: Seconds that a request counts at most: one alone makes no page slow, as the first after a
#: deployment or one that met a lock, and a few quick ones make any page quick again.
MOST = SLOW / WEIGHT
#: Seconds below which an average is forgotten.
LEAST = SLOW / 8
#: Pages remembered, and bytes of the longest path that is.
MAX_PATHS = 4096
MAX_PATH = 1024


class Turn(Protocol):
    """
    A request that a child of php-fpm works on, or whose connection is not ready again yet.

    @ivar path: of its target.
    @ivar slow: it was L{slow<Pace.is_slow>} when it came.
    @ivar began: when it was sent to the child, in seconds; None: the time it takes depends on its
        client too, who sends or reads slowly.
    @ivar response_complete: all of its response has come.
    """

    path: bytes
    slow: bool
    began: float | None
    response_complete: bool


class Pace:
    """
    Remembers which pages are slow: a moving average by path, of those that were ever slow.
    """

    __slots__ = ("_averages",)

    def __init__(self) -> None:
        self._averages: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._averages)

    def is_slow(self, path: bytes) -> bool:
        """
        Whether a page usually takes longer than L{SLOW}; one not known does not.

        @param path: of the target, without its query.
        """
        return self._averages.get(path, 0.0) > SLOW

    def took(self, path: bytes, seconds: float) -> None:
        """
        A request for a page has held a child for so long.
        """
        averages = self._averages
        average = averages.get(path)
        if average is None:
            if seconds <= SLOW or len(path) > MAX_PATH:
                return
            average = 0.0
        average += WEIGHT * (min(seconds, MOST) - average)
        if average < LEAST:
            del averages[path]
            return
        averages[path] = average
        averages.move_to_end(path)
        if len(averages) > MAX_PATHS:
            averages.popitem(last=False)
