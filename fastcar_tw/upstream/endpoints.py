"""
How an origin is reached: which address, which transport, which TLS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.http.target import Origin
from fastcar_tw.routes.connect import ConnectHandshake
from fastcar_tw.routes.proxy import Proxy
from fastcar_tw.routes.socks5 import SOCKS5Handshake
from fastcar_tw.routes.tunnel import ResolvedTunnelEndpoint, TunnelEndpoint
from fastcar_tw.stacked import connect_stacked
from fastcar_tw.tls.layer import TLSLayer
from fastcar_tw.tls.machine import TLSMachine
from fastcar_tw.tls.trust import Trust
from fastcar_tw.upstream.address_race import NameEndpoint, NameResolver
from fastcar_tw.upstream.backends import Backend


class OriginEndpoints:
    """
    Makes the client endpoint for an origin: every address of its name is tried, the families in
    parallel (RFC 8305), and https origins have proven who they are before the endpoint connects.
    So have https proxies, by the same rules.
    """

    def __init__(self, reactor: Any, trust: Trust, timeout: float, resolver: NameResolver) -> None:
        """
        @param timeout: seconds for one address.
        """
        self._reactor = reactor
        self._trust = trust
        self._timeout = timeout
        self._resolver = resolver

    def __call__(self, origin: Origin) -> IStreamClientEndpoint:
        endpoint = self.dial(*origin.peer)
        if origin.route is not None:
            endpoint = self._through(origin.route, endpoint, origin)
        if origin.scheme != "https":
            return endpoint
        name = origin.tls_name or origin.host
        return TLSClientEndpoint(endpoint, self._trust, name, origin.port)

    def dial(self, host: str, port: int) -> IStreamClientEndpoint:
        """
        @return: the endpoint that connects directly, and without TLS.
        """
        return NameEndpoint(self._reactor, self._resolver, host, port, self._timeout)

    def _through(
        self, proxy: Proxy, endpoint: IStreamClientEndpoint, origin: Origin
    ) -> IStreamClientEndpoint:
        if proxy.scheme == "https":
            endpoint = TLSClientEndpoint(endpoint, self._trust, proxy.host, proxy.port)
        host, port = origin.host, origin.port
        if not host:
            return endpoint
        server_begins = origin.scheme == "tcp"
        if proxy.scheme == "socks5":
            return ResolvedTunnelEndpoint(
                endpoint, proxy, host, port, self._resolver.resolve, server_begins
            )
        handshake = SOCKS5Handshake if proxy.scheme == "socks5h" else ConnectHandshake
        return TunnelEndpoint(endpoint, lambda: handshake(proxy, host, port), server_begins)


def backend_endpoint(
    reactor: Any, resolver: NameResolver, backend: Backend, timeout: float
) -> IStreamClientEndpoint:
    """
    @param timeout: seconds for one address.
    @return: the endpoint that connects to a backend, without TLS.
    """
    if backend.path:
        return UNIXClientEndpoint(reactor, backend.path, timeout)
    return NameEndpoint(reactor, resolver, backend.host, backend.port, timeout)


@implementer(IStreamClientEndpoint)
class TLSClientEndpoint:
    """
    Connects over TLS; the Deferred of L{connect} fires when the handshake is finished and the
    certificate verified, so nothing is ever sent to a server that is not the one asked for.
    """

    def __init__(
        self,
        below: IStreamClientEndpoint,
        trust: Trust,
        host: str,
        port: int,
        alpn: Sequence[bytes] = (b"http/1.1",),
        *,
        server_begins: bool = False,
    ) -> None:
        """
        @param host: whom the certificate has to name.
        @param server_begins: what is spoken inside may be begun by the server.
        """
        self._below = below
        self._trust = trust
        self._host = host
        self._port = port
        self._alpn = alpn
        self._server_begins = server_begins

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: fires with the factory's protocol; fails with L{TLSError} or what the endpoint
            below fails with.
        """
        try:
            machine = self._trust.client(self._host, self._port, self._alpn)
        except Exception as error:
            return fail(error)
        return connect_stacked(
            self._below,
            protocolFactory,
            lambda above, ready: TLSClientLayer(machine, above, ready, self._server_begins),
        )


class TLSClientLayer(TLSLayer):
    """
    The client side of TLS, which reports the end of its handshake to a Deferred.
    """

    __slots__ = ("_above", "_ready", "peer_begins")

    def __init__(
        self, machine: TLSMachine, above: Any, ready: Deferred[IProtocol], server_begins: bool
    ) -> None:
        super().__init__(machine)
        self._above = above
        self._ready = ready
        self.peer_begins = server_begins

    def makeConnection(self, transport: Any) -> None:
        # Endpoints put a wrapper between transport and protocol; it has done its work now, and
        # every read would pass through it.
        transport.protocol = self
        super().makeConnection(transport)
        transport.write(self.machine.start())

    def handshaken(self) -> None:
        self.protocol = self._above
        self.protocol.makeConnection(self)
        self._ready.callback(self.protocol)

    def failed(self, reason: Failure) -> None:
        # It may have been given up before.
        if not self._ready.called:
            self._ready.errback(reason)
