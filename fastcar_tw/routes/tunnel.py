"""
Endpoints that connect through a proxy.

When a tunnel is open, what stands above it takes the place of what opened it: nothing of this
module remains between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.http.target import ip_literal
from fastcar_tw.names.families import interleaved
from fastcar_tw.names.resolver import Address
from fastcar_tw.routes.handshake import Handshake, HandshakeError
from fastcar_tw.routes.proxy import Proxy
from fastcar_tw.routes.socks5 import SOCKS5Handshake
from fastcar_tw.stacked import connect_stacked
from fastcar_tw.wire import Wire, acknowledge

#: Addresses of a name that a proxy is asked for in turn.
MAX_ADDRESSES = 4

#: Gives a name's addresses in the order of preference; fails with C{DNSLookupError}.
Resolve = Callable[[str, int], "Deferred[list[Address]]"]


class ProxyUnreachableError(Exception):
    """
    There is no connection to the proxy.

    @ivar cause: why.
    """

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__(str(cause))
        self.cause = cause


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """
    Connects through a tunnel.
    """

    def __init__(
        self,
        proxy: IStreamClientEndpoint,
        handshake: Callable[[], Handshake],
        server_begins: bool = False,
    ) -> None:
        """
        @param proxy: connects to the proxy.
        @param handshake: asks it for one tunnel.
        @param server_begins: the other end may speak first.
        """
        self._proxy = proxy
        self._handshake = handshake
        self._server_begins = server_begins

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: fires with the factory's protocol; fails with L{ProxyUnreachableError} or
            L{HandshakeError}.
        """
        handshake = self._handshake()
        return connect_stacked(
            self._proxy,
            protocolFactory,
            lambda above, ready: _Opening(handshake, above, ready, self._server_begins),
            _unreachable,
        )


@implementer(IStreamClientEndpoint)
class ResolvedTunnelEndpoint:
    """
    Connects through a SOCKS5 proxy that is to be given addresses: a few of the name's, each on a
    connection of its own, until the proxy can connect to one.
    """

    def __init__(
        self,
        below: IStreamClientEndpoint,
        proxy: Proxy,
        host: str,
        port: int,
        resolve: Resolve,
        server_begins: bool = False,
    ) -> None:
        """
        @param below: connects to the proxy.
        @param host: name or address of the origin.
        @param server_begins: see L{TunnelEndpoint}.
        """
        self._server_begins = server_begins
        self._below = below
        self._proxy = proxy
        self._host = host
        self._port = port
        self._resolve = resolve

    @inlineCallbacks
    def connect(
        self, protocolFactory: IProtocolFactory
    ) -> Generator[Deferred[Any], Any, IProtocol]:
        """
        @return: fires with the factory's protocol; fails with C{DNSLookupError} or as
            L{TunnelEndpoint} does, then for the first address.
        """
        hosts = [self._host]
        if ip_literal(self._host) is None:
            addresses = yield self._resolve(self._host, self._port)
            hosts = [address.host for address in interleaved(addresses)[:MAX_ADDRESSES]]
        first: Exception = DNSLookupError(f"no address found for {self._host}")
        for number, host in enumerate(hosts):
            try:
                protocol: IProtocol = yield self._through(host).connect(protocolFactory)
                return protocol
            except HandshakeError as error:
                first = first if number else error
                if not error.other_address:
                    break
        raise first

    def _through(self, host: str) -> TunnelEndpoint:
        return TunnelEndpoint(
            self._below,
            lambda: SOCKS5Handshake(self._proxy, host, self._port),
            self._server_begins,
        )


def _unreachable(failure: Failure) -> Failure:
    if failure.check(CancelledError, ConnectingCancelledError):
        return failure
    raise ProxyUnreachableError(failure.value) from None


@implementer(IHalfCloseableProtocol)
class _Opening:
    """
    Speaks with the proxy until the tunnel is open.
    """

    __slots__ = ("_above", "_handshake", "_ready", "_server_begins", "_wire")

    def __init__(
        self, handshake: Handshake, above: Any, ready: Deferred[IProtocol], server_begins: bool
    ) -> None:
        self._server_begins = server_begins
        self._handshake = handshake
        self._above = above
        self._ready = ready
        self._wire: Wire | None = None

    def makeConnection(self, transport: Wire) -> None:
        # See TLSClientLayer.
        transport.protocol = self
        self._wire = transport
        transport.write(self._handshake.start())

    def dataReceived(self, data: bytes) -> None:
        wire = self._wire
        if wire is None:
            return
        try:
            reply = self._handshake.receive(data)
        except HandshakeError:
            self._fail(Failure())
            return
        if reply:
            wire.write(reply)
        if self._handshake.leftover and not self._server_begins:
            # What it would answer has not been asked: neither in HTTP nor in TLS do servers begin.
            reason = "sent bytes before it was asked"
            self._fail(Failure(HandshakeError(reason, "http_protocol_error")))
        elif self._handshake.done:
            self._hand_over(wire)
        else:
            acknowledge(wire)

    def readConnectionLost(self) -> None:
        self._closed()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        self._closed()

    def abortConnection(self) -> None:
        """
        Give up.
        """
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abortConnection()

    def _hand_over(self, wire: Wire) -> None:
        self._wire = None
        self._above.makeConnection(wire)
        self._ready.callback(self._above)
        if self._handshake.leftover:
            self._above.dataReceived(self._handshake.leftover)

    def _closed(self) -> None:
        reason = "closed the connection instead of opening a tunnel"
        self._fail(Failure(HandshakeError(reason, "connection_terminated")))

    def _fail(self, reason: Failure) -> None:
        # Not if it was given up before.
        if self._wire is not None:
            self.abortConnection()
            self._ready.errback(reason)
