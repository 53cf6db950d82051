"""
The resolver that everything else asks: overrides, then the cache, then the system.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from fastcar_tw.names.cache import CLIENT_RESPONSE_TIME, Answer, NameCache
from fastcar_tw.names.lookup import MAX_RUNNING, Lookup, LookupFailedError, NoSuchNameError
from fastcar_tw.names.overrides import Overrides

__all__ = ["Address", "Resolver", "tcp_addresses"]

#: Queries under way for which nobody waited when they began: a quarter of what look-ups may take.
MAX_BACKGROUND = MAX_RUNNING // 4

Address = IPv4Address | IPv6Address


def _tell_nobody(host: str, addresses: frozenset[str]) -> None:
    pass


class Resolver:
    """
    Finds the addresses of names.

    @ivar on_answer: is called with a name, in lower case, and all its addresses, whenever a query
        has found them; never for stale addresses or overrides.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, lookup: Lookup, ttl: float, overrides: Overrides | None = None
    ) -> None:
        """
        @param ttl: seconds an answer is used before the name is looked up again; 0: none is.
        """
        self._clock = clock
        self._lookup = lookup
        self._overrides = overrides or Overrides()
        self._cache: NameCache[Deferred[Answer]] = NameCache(ttl)
        self._timers: dict[str, IDelayedCall] = {}
        self._background: set[str] = set()
        self.on_answer: Callable[[str, frozenset[str]], None] = _tell_nobody

    def resolve(self, host: str, port: int) -> Deferred[list[Address]]:
        """
        @return: fires with the addresses, one at least, the best first; fails with
            C{DNSLookupError}, which names the host and the reason.  Cancelling it concerns nobody
            else who waits for the name.
        """
        override = self._overrides.find(host, port)
        if override is not None:
            return succeed(tcp_addresses(override, port))
        name = host.lower()
        waiter: Deferred[Answer] = Deferred(partial(self._cache.forget, name))
        answer, ask = self._cache.look_up(name, waiter, self._clock.seconds())
        if answer is not None:
            waiter.callback(answer)
        if ask:
            self._ask(name)
        return waiter.addCallback(_judge, host, port)

    def is_overridden(self, host: str, port: int) -> bool:
        """
        Whether the operator has given the addresses, so that what L{on_answer} tells about the host
        does not concern connections to this port.
        """
        return self._overrides.find(host, port) is not None

    def refresh(self, host: str) -> None:
        """
        Look a name up in the background if it has been looked up before and that answer has
        expired; not now, if L{MAX_BACKGROUND} others are being looked up so.
        """
        if len(self._background) >= MAX_BACKGROUND:
            return
        name = host.lower()
        if self._cache.refresh(name, self._clock.seconds()):
            self._background.add(name)
            self._ask(name)

    def _ask(self, name: str) -> None:
        self._timers[name] = self._clock.callLater(CLIENT_RESPONSE_TIME, self._overdue, name)
        query = maybeDeferred(self._lookup.start, name)
        ended = query.addCallbacks(
            self._answered, self._failed, callbackArgs=(name,), errbackArgs=(name,)
        )
        ended.addErrback(
            lambda failure: self._log.failure("after looking up {name}", failure, name=name)
        )

    def _answered(self, addresses: tuple[str, ...], name: str) -> None:
        self._ended(name)
        answer, waiters = self._cache.answered(name, addresses, self._clock.seconds())
        _tell(answer, waiters)
        self.on_answer(name, frozenset(addresses))

    def _failed(self, failure: Failure, name: str) -> None:
        self._ended(name)
        now = self._clock.seconds()
        reason = str(failure.value)
        if failure.check(NoSuchNameError):
            _tell(*self._cache.missing(name, reason, now))
            return
        if not failure.check(LookupFailedError):
            self._log.failure("while looking up {name}", failure, name=name)
            reason = "internal error"
        answer, waiters = self._cache.failed(name, reason, now)
        self._note_stale(name, reason, answer, waiters)
        _tell(answer, waiters)

    def _overdue(self, name: str) -> None:
        del self._timers[name]
        answer, waiters = self._cache.overdue(name, self._clock.seconds())
        self._note_stale(name, "no answer yet", answer, waiters)
        _tell(answer, waiters)

    def _note_stale(
        self, name: str, reason: str, answer: Answer, waiters: Sequence[Deferred[Answer]]
    ) -> None:
        # Told when the trouble begins: as long as it lasts, nobody waits for a query.
        if waiters and answer.addresses:
            self._log.warn(
                "look-up of {name}: {reason}; using its last known addresses",
                name=name,
                reason=reason,
            )

    def _ended(self, name: str) -> None:
        self._background.discard(name)
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def _tell(answer: Answer, waiters: Sequence[Deferred[Answer]]) -> None:
    for waiter in waiters:
        # One that was told may have cancelled another.
        if not waiter.called:
            waiter.callback(answer)


def _judge(answer: Answer, host: str, port: int) -> list[Address]:
    if not answer.addresses:
        raise DNSLookupError(f"{host}: {answer.reason}")
    return tcp_addresses(answer.addresses, port)


def tcp_addresses(addresses: Sequence[str], port: int) -> list[Address]:
    """
    IP addresses of either family, with a port.
    """
    return [
        IPv6Address("TCP", address, port) if ":" in address else IPv4Address("TCP", address, port)
        for address in addresses
    ]
