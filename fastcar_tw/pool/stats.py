"""
What a pool has done and is doing, in numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Retired(Enum):
    """
    Why a connection serves no more requests.
    """

    #: Idle for longer than the pool keeps any.
    IDLE = "idle"
    #: Idle for as long, or used as often, as its origin's Keep-Alive field allows.
    KEEP_ALIVE = "keep-alive"
    #: Older than the pool keeps any.
    AGE = "age"
    #: The address it leads to is no longer one of the name's.
    ADDRESS = "address"
    #: More idle ones than the pool keeps for one origin.
    SURPLUS = "surplus"
    #: It had to make room.
    EVICTED = "evicted"
    #: Its origin ended it, or announced to.
    ENDED = "ended"
    #: An exchange on it went wrong or was given up: nobody knows what would come next.
    BROKEN = "broken"
    #: It was for one client only, which has gone, or was handed over for good (a tunnel).
    TAKEN = "taken"
    #: The pool was closed.
    CLOSED = "closed"


@dataclass(frozen=True)
class Counts:
    """
    Of one origin, or of all.

    @ivar active: connections in use.
    @ivar idle: connections that wait for a request.
    @ivar opening: attempts to connect.
    @ivar leaving: connections that serve no more, but are not closed yet.
    @ivar waiting: requests that wait for a connection.
    @ivar queued: those among them for which none may be opened at present.
    @ivar opened: connections opened so far.
    @ivar reused: requests so far that were given a connection which was open already.
    @ivar retried: requests so far that were sent again.
    @ivar failed: attempts to connect so far that failed.
    @ivar refused: requests so far that were refused by the pool, without an attempt of their own.
    @ivar retired: connections so far that serve no more, by reason.
    """

    active: int
    idle: int
    opening: int
    leaving: int
    waiting: int
    queued: int
    opened: int
    reused: int
    retried: int
    failed: int
    refused: int
    retired: Mapping[Retired, int]


@dataclass(frozen=True)
class PoolStats(Generic[K]):
    """
    A snapshot of a pool.

    @ivar origins: by origin; one that was not used for long may be forgotten.
    @ivar total: of all origins, the forgotten ones included.
    """

    origins: Mapping[K, Counts]
    total: Counts


class Tally:
    """
    What only ever grows.
    """

    __slots__ = ("failed", "opened", "refused", "retired", "retried", "reused")

    def __init__(self) -> None:
        self.opened = 0
        self.reused = 0
        self.retried = 0
        self.failed = 0
        self.refused = 0
        self.retired: Counter[Retired] = Counter()

    def counts(self, **present: int) -> Counts:
        """
        These numbers, with those of the present beside them.
        """
        return Counts(
            **present,
            opened=self.opened,
            reused=self.reused,
            retried=self.retried,
            failed=self.failed,
            refused=self.refused,
            retired=dict(self.retired),
        )

    def add(self, other: Tally | Counts) -> None:
        """
        Add another's numbers.
        """
        self.opened += other.opened
        self.reused += other.reused
        self.retried += other.retried
        self.failed += other.failed
        self.refused += other.refused
        self.retired.update(other.retired)


def sum_counts(counts: Iterable[Counts], past: Tally) -> Counts:
    """
    The sum of some counts, and of the numbers of what is forgotten.
    """
    names = ("active", "idle", "opening", "leaving", "waiting", "queued")
    present = dict.fromkeys(names, 0)
    total = Tally()
    total.add(past)
    for each in counts:
        for name in names:
            present[name] += getattr(each, name)
        total.add(each)
    return total.counts(**present)
