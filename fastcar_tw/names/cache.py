"""
What is known about names, and whether to ask about one: decisions without I/O.

One query a name is under way at most, whoever waits for it.  An answer is used for the time to live
that was configured, as getaddrinfo tells none.  Behind it, it is kept for the case that the
resolver does not answer (RFC 8767, serving stale data): old addresses are mostly still right, no
addresses never are.  Only trouble calls for them; "there is no such name" is an answer and ends
them.

Names are compared as they are given: the caller makes them lower case.  A final dot stays, for
"a.test." is not looked for in the search domains of resolv.conf, where "a.test" is (RFC 1034
section 3.1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["CLIENT_RESPONSE_TIME", "Answer", "Decision", "NameCache"]

#: Seconds a look-up waits for a query before it takes a stale answer: RFC 8767 section 5, client
#: response timer.
CLIENT_RESPONSE_TIME = 1.8
#: Seconds an answer may be used after its time to live: RFC 8767 section 5, maximum stale timer (1
#: to 3 days).
MAX_STALE = 86400.0
#: Seconds "no such name" is believed, and a name is not asked for again after a failure: RFC 9520
#: section 3.2 demands 1 at least.
RETRY_TIME = 1.0
#: Seconds after a failure in which look-ups take the stale answer without waiting for the query
#: they cause, and in which nothing is asked that nobody waits for: RFC 8767 section 5, failure
#: recheck timer.
DISTRUST_TIME = 30.0
#: Names kept; the one not looked up for longest gives way.
MAX_NAMES = 4096

W = TypeVar("W", bound=Hashable)


class Answer(NamedTuple):
    """
    What a look-up ends with.

    @ivar addresses: IP addresses in the resolver's order; none if the name has none.
    @ivar reason: why there are none.
    """

    addresses: tuple[str, ...]
    reason: str = ""


class Decision(NamedTuple):
    """
    What becomes of a look-up.

    @ivar answer: the answer; None: the waiter is told later.
    @ivar ask: a query has to be started.
    """

    answer: Answer | None
    ask: bool


class _Known(NamedTuple):
    # To be told without asking, until then.
    answer: Answer
    fresh_until: float
    # The addresses of the last good answer, and for how long they may stand in.
    addresses: tuple[str, ...] = ()
    usable_until: float = 0.0
    # What is asked before is asked for a waiter, who takes a stale answer at once if there is one.
    recheck_at: float = 0.0

    def stale(self, now: float) -> tuple[str, ...]:
        return self.addresses if now < self.usable_until else ()


class _Query(Generic[W]):
    __slots__ = ("before", "overdue", "waiters")

    def __init__(self, before: _Known) -> None:
        # Held here, it survives being dropped from the cache.
        self.before = before
        self.overdue = False
        self.waiters: dict[W, None] = {}


_NOTHING = _Known(Answer(()), 0.0)


class NameCache(Generic[W]):
    """
    The cache.  Times are seconds of one clock; each method takes constant time.

    The owner starts a query when a L{Decision} says so and reports its end with exactly one of
    L{answered}, L{missing} and L{failed}, and before, when L{CLIENT_RESPONSE_TIME} has passed, with
    L{overdue}.  These return an answer and the waiters to tell it to.
    """

    def __init__(self, ttl: float, max_names: int = MAX_NAMES) -> None:
        """
        @param ttl: seconds a good answer is used; 0: every look-up asks.
        @param max_names: names kept, besides those being asked for.
        """
        self._ttl = ttl
        self._retry_time = min(RETRY_TIME, ttl)
        self._max_names = max_names
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._queries: dict[str, _Query[W]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def look_up(self, name: str, waiter: W, now: float) -> Decision:
        """
        Answer at once, or keep the waiter until there is an answer.
        """
        known = self._known.get(name, _NOTHING)
        if known is not _NOTHING:
            self._known.move_to_end(name)
            if now < known.fresh_until:
                return Decision(known.answer, False)
        query = self._queries.get(name)
        ask = query is None
        if query is None:
            query = self._queries[name] = _Query(known)
        if query.overdue or now < query.before.recheck_at:
            stale = query.before.stale(now)
            if stale:
                return Decision(Answer(stale), ask)
        query.waiters[waiter] = None
        return Decision(None, ask)

    def refresh(self, name: str, now: float) -> bool:
        """
        Nobody waits, but the name is of interest.

        @return: whether to start a query: what is known has expired, and not because of a failure
            just before.  An unknown name is not asked for.
        """
        known = self._known.get(name)
        if known is None or name in self._queries:
            return False
        if now < max(known.fresh_until, known.recheck_at):
            return False
        self._queries[name] = _Query(known)
        return True

    def forget(self, name: str, waiter: W) -> None:
        """
        A waiter has gone; the query goes on.
        """
        query = self._queries.get(name)
        if query is not None:
            query.waiters.pop(waiter, None)

    def answered(self, name: str, addresses: tuple[str, ...], now: float) -> tuple[Answer, list[W]]:
        """
        The name has these addresses, one at least.
        """
        expiry = now + self._ttl
        return self._end(name, _Known(Answer(addresses), expiry, addresses, expiry + MAX_STALE))

    def missing(self, name: str, reason: str, now: float) -> tuple[Answer, list[W]]:
        """
        There is no such name, or it has no address: those known before are wrong now.
        """
        known = _Known(Answer((), reason), now + self._retry_time, recheck_at=now + self._ttl)
        return self._end(name, known)

    def failed(self, name: str, reason: str, now: float) -> tuple[Answer, list[W]]:
        """
        The resolver could not tell: what was known before stands in for it.
        """
        before = self._queries[name].before
        stale = before.stale(now)
        known = before._replace(
            answer=Answer(stale) if stale else Answer((), reason),
            fresh_until=now + self._retry_time,
            recheck_at=now + DISTRUST_TIME,
        )
        return self._end(name, known)

    def overdue(self, name: str, now: float) -> tuple[Answer, list[W]]:
        """
        The query takes long.  Without a stale answer its waiters go on waiting.
        """
        query = self._queries[name]
        query.overdue = True
        stale = query.before.stale(now)
        if not stale:
            return Answer((), "no answer yet"), []
        waiters, query.waiters = query.waiters, {}
        return Answer(stale), list(waiters)

    def _end(self, name: str, known: _Known) -> tuple[Answer, list[W]]:
        waiters = self._queries.pop(name).waiters
        self._known[name] = known
        self._known.move_to_end(name)
        if len(self._known) > self._max_names:
            self._known.popitem(last=False)
        return known.answer, list(waiters)
