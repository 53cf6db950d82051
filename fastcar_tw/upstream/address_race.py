"""
Connecting to a name that has several addresses (Happy Eyeballs, RFC 8305).

Twisted's C{HostnameEndpoint} does nearly this, but looks at a failed attempt only when the next one
is due, so that a refused connection costs 0.3 s, and it knows no names with an underscore, which
are common among containers.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.http.target import ip_literal
from fastcar_tw.names.families import interleaved
from fastcar_tw.names.resolver import Address, tcp_addresses

#: Seconds before the next address is tried beside those that have not answered: RFC 8305 section 5.
ATTEMPT_DELAY = 0.25


class NameResolver(Protocol):
    """
    What is asked for addresses: L{fastcar_tw.names.resolver.Resolver}.
    """

    def resolve(self, host: str, port: int) -> Deferred[list[Address]]:
        """
        @return: fires with one address at least.
        """


@implementer(IStreamClientEndpoint)
class NameEndpoint:
    """
    Connects to whichever address of a name answers first.
    """

    def __init__(
        self, reactor: Any, resolver: NameResolver, host: str, port: int, timeout: float
    ) -> None:
        """
        @param host: a name or an IP literal.
        @param timeout: seconds for each address.
        """
        self._reactor = reactor
        self._resolver = resolver
        self._host = host
        self._port = port
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: fires with the connected protocol; fails as the look-up did, with
            C{DNSLookupError}, or with why the address tried first could not be connected to.
        """
        race = AddressRace(self._reactor, protocolFactory, self._timeout)
        if ip_literal(self._host) is None:
            race.start_after(self._resolver.resolve(self._host, self._port))
        else:
            race.start(tcp_addresses([self._host], self._port))
        return race.result


class AddressRace:
    """
    Tries addresses one after another, not waiting long for any.

    @ivar result: fires with the protocol of the first connection.
    """

    def __init__(self, reactor: Any, factory: IProtocolFactory, timeout: float) -> None:
        self.result: Deferred[IProtocol] = Deferred(self._cancel)
        self._reactor = reactor
        self._factory = factory
        self._timeout = timeout
        self._looking_up: Deferred[None] | None = None
        self._left: list[Address] = []
        self._running: set[Deferred[IProtocol]] = set()
        self._next_start: IDelayedCall | None = None
        self._first_failure: Failure | None = None
        self._over = False

    def start(self, addresses: list[Address]) -> None:
        """
        Begin, with at least one address.
        """
        self._left = addresses[::-1]
        self._start_next()

    def start_after(self, looking_up: Deferred[list[Address]]) -> None:
        """
        Begin as soon as the addresses are known.
        """
        self._looking_up = looking_up.addCallback(interleaved).addCallbacks(self.start, self._fail)

    def _fail(self, failure: Failure) -> None:
        if not self._over:
            self._end()
            self.result.errback(failure)

    def _start_next(self) -> None:
        self._stop_timer()
        address = self._left.pop()
        if self._left:
            self._next_start = self._reactor.callLater(ATTEMPT_DELAY, self._start_next)
        kind = TCP4ClientEndpoint if isinstance(address, IPv4Address) else TCP6ClientEndpoint
        attempt = kind(self._reactor, address.host, address.port, self._timeout).connect(
            self._factory
        )
        self._running.add(attempt)
        attempt.addCallbacks(self._won, self._lost, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _won(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._running.discard(attempt)
        self._end()
        self.result.callback(protocol)

    def _lost(self, failure: Failure, attempt: Deferred[IProtocol]) -> None:
        self._running.discard(attempt)
        if self._over:
            return
        self._first_failure = self._first_failure or failure
        if self._left:
            self._start_next()
        elif not self._running:
            self._fail(self._first_failure)

    def _cancel(self, result: Deferred[IProtocol]) -> None:
        self._end()
        result.errback(ConnectingCancelledError(None))

    def _end(self) -> None:
        self._over = True
        self._stop_timer()
        if self._looking_up is not None:
            self._looking_up.cancel()
        for attempt in list(self._running):
            attempt.cancel()

    def _stop_timer(self) -> None:
        if self._next_start is not None and self._next_start.active():
            self._next_start.cancel()
        self._next_start = None
