"""
A lane: the connections to one origin and the requests that wait for one.

Rules of this file: a lane only keeps the books; L{PoolCore<fastcar_tw.pool.core.PoolCore>} decides.
Requests that may take any connection stand in C{line}, in the order of their arrival.  The first of
them, C{width} for each attempt to connect that is under way, are promised one; the others are also
in C{queued}, and so C{queued} is always the end of C{line}.  Requests that must have a new
connection are in C{fresh_queued} until an attempt is begun that is theirs alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from fastcar_tw.pool.breaker import Backoff, Breaker
from fastcar_tw.pool.stats import Counts, Retired, Tally

K = TypeVar("K", bound=Hashable)
C = TypeVar("C", bound="PooledConnection")
W = TypeVar("W")


class PooledConnection:
    """
    What a pool notes of a connection; the base class of those that are pooled.

    @ivar fresh: it has served nobody and was never idle: its origin has had no reason to close it.
    @ivar idle_limit: seconds that its origin lets it be idle, a margin taken off; infinite unless
        the origin has said so.
    @ivar lane: where it belongs; None before and after its time in a pool.
    @ivar leaving: it serves no more, but is not closed yet.
    @ivar retire_at: when it is too old; seconds.
    @ivar condemned: why it goes, or is to go as soon as it is not in use.
    @cvar multiplexed: it may serve several requests at once.
    @ivar capacity: how many.
    @ivar in_use: how many it serves, of a multiplexed one.
    @ivar unheard: its origin has not said yet how many it may serve; C{capacity} is how many may
        begin until then.
    """

    __slots__ = (
        "capacity",
        "condemned",
        "fresh",
        "idle_limit",
        "in_use",
        "lane",
        "leaving",
        "retire_at",
        "unheard",
    )

    multiplexed = False

    def __init__(self) -> None:
        self.fresh = True
        self.idle_limit = float("inf")
        self.lane: Lane | None = None  # type: ignore[type-arg]  # a slot has no type parameters
        self.leaving = False
        self.retire_at = float("inf")
        self.condemned: Retired | None = None
        self.capacity = 1
        self.in_use = 0
        self.unheard = False


class Place(Generic[K, C, W]):
    """
    A waiting request.

    @ivar number: rises with each arrival.
    @ivar fresh: it must have a new connection.
    @ivar deadline: until when it may be in a queue; seconds.
    """

    __slots__ = ("deadline", "fresh", "lane", "number", "waiter")

    def __init__(
        self, waiter: W, lane: Lane[K, C, W], number: int, fresh: bool, deadline: float
    ) -> None:
        self.waiter = waiter
        self.lane = lane
        self.number = number
        self.fresh = fresh
        self.deadline = deadline

    @property
    def order(self) -> tuple[float, int]:
        """
        Sorts requests by their arrival.
        """
        return self.deadline, self.number


class Attempt(Generic[K, C, W]):
    """
    An attempt to connect.

    @ivar key: to whom.
    @ivar waiter: whose it is; None: it is for the first in line when it succeeds.
    @ivar deadline: until when that may be in a queue, should this fail; seconds.
    @ivar number: requests with a larger one have come later.
    @ivar begun: when it was begun; seconds.
    @ivar probe: it shows whether an origin that has failed works again.
    """

    __slots__ = ("begun", "deadline", "key", "lane", "number", "probe", "waiter")

    def __init__(
        self,
        lane: Lane[K, C, W],
        number: int,
        begun: float,
        waiter: W | None = None,
        probe: bool = False,
    ) -> None:
        self.key = lane.key
        self.lane = lane
        self.number = number
        self.begun = begun
        self.waiter = waiter
        self.deadline = 0.0
        self.probe = probe


class Lane(Generic[K, C, W]):
    """
    One origin's connections and requests.

    @ivar idle: idle connections, the last used at the end, and until when they may be used.
    @ivar roomy: multiplexed connections in use that could serve more requests.
    @ivar width: how many requests at once a new connection will probably serve.
    @ivar multiplexed: its connections probably serve several.
    @ivar unheard: connections that may serve more as soon as their origin is heard, and the
        attempts that have brought them.
    @ivar open: all connections that are not closed.
    @ivar leaving: how many of them serve no more.
    @ivar opening: how many attempts to connect are under way.
    @ivar owned: those of them that are for one waiter only, by waiter.
    @ivar error: why the last attempt failed, if it did.
    @ivar listed: its place in the pool's list of lanes that want to open, if it has one.
    @ivar last_promised: the number of the last request that counted on an attempt.
    @ivar wanting: how many connections it would open if only the pool's limit allowed.
    @ivar warm: how many connections to keep open.
    @ivar warm_from: when one may be opened to keep it; seconds.
    """

    __slots__ = (
        "breaker",
        "error",
        "fresh_queued",
        "idle",
        "key",
        "last_promised",
        "leaving",
        "line",
        "listed",
        "multiplexed",
        "open",
        "opening",
        "owned",
        "queued",
        "roomy",
        "tally",
        "unheard",
        "wanting",
        "warm",
        "warm_backoff",
        "warm_from",
        "width",
    )

    def __init__(self, key: K, breaker: Breaker, warm_backoff: Backoff, width: int = 1) -> None:
        self.key = key
        self.idle: OrderedDict[C, float] = OrderedDict()
        self.roomy: OrderedDict[C, None] = OrderedDict()
        self.width = width
        self.multiplexed = width > 1
        self.unheard: dict[C, Attempt[K, C, W]] = {}
        self.open: set[C] = set()
        self.leaving = 0
        self.opening = 0
        self.owned: dict[W, Attempt[K, C, W]] = {}
        self.line: OrderedDict[W, Place[K, C, W]] = OrderedDict()
        self.queued: OrderedDict[W, Place[K, C, W]] = OrderedDict()
        self.fresh_queued: OrderedDict[W, Place[K, C, W]] = OrderedDict()
        self.error: object = None
        self.listed: int | None = None
        self.last_promised = 0
        self.wanting = 0
        self.breaker = breaker
        self.warm = 0
        self.warm_backoff = warm_backoff
        self.warm_from = 0.0
        self.tally = Tally()

    def __lt__(self, other: object) -> bool:
        """
        For a heap: two lanes listed for the same request, which has moved, are alike.
        """
        return False

    @property
    def count(self) -> int:
        """
        Connections of all states, and attempts.
        """
        return len(self.open) + self.opening

    @property
    def working(self) -> int:
        """
        Connections that serve, or will again.
        """
        return len(self.open) - self.leaving

    @property
    def queue_length(self) -> int:
        """
        Requests for which nothing is being opened.
        """
        return len(self.queued) + len(self.fresh_queued)

    @property
    def wanted(self) -> int:
        """
        How many connections those requests would need.
        """
        return len(self.fresh_queued) - (-len(self.queued) // self.width)

    @property
    def may_promise(self) -> int:
        """
        How many requests in line may count on an attempt, or on what it has brought.
        """
        promises = (self.opening - len(self.owned)) * self.width
        if self.unheard:
            promises += sum(max(self.width - each.in_use, 0) for each in self.unheard)
        return promises

    @property
    def promised(self) -> int:
        """
        How many requests in line count on an attempt.
        """
        return len(self.line) - len(self.queued)

    def first_queued(self) -> Place[K, C, W] | None:
        """
        Whose turn it is when something may be opened: one that has been sent before comes first.
        """
        for queue in (self.fresh_queued, self.queued):
            if queue:
                return next(iter(queue.values()))
        return None

    def may_open(self, cap: int, now: float) -> bool:
        """
        Whether the limits of this origin let another connection be opened.
        """
        return self.count < cap and self.breaker.allows(now)

    def is_disused(self, now: float) -> bool:
        """
        Nothing would be missed but the numbers.
        """
        busy = self.open or self.opening or self.line or self.fresh_queued or self.warm
        return not busy and self.breaker.allows(now)

    def counts(self) -> Counts:
        """
        A snapshot.
        """
        return self.tally.counts(
            active=self.working - len(self.idle),
            idle=len(self.idle),
            opening=self.opening,
            leaving=self.leaving,
            waiting=len(self.line) + len(self.fresh_queued) + len(self.owned),
            queued=self.queue_length,
        )
