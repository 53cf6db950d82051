"""
How an origin is reached: which address, which transport, which TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from fastcar_tw.tls.machine import TLSError, TLSMachine
from fastcar_tw.tls.policy import permits_http2
from fastcar_tw.tls.trust import Trust
from fastcar_tw.upstream.address_race import NameEndpoint, NameResolver
from fastcar_tw.upstream.backends import Backend

#: Protocol names of ALPN (RFC 9113 section 3.1, RFC 7301 section 6).
HTTP2 = b"h2"
HTTP1 = b"http/1.1"

#: Origins that are remembered for it.
MAX_INADEQUATE = 1024

_NO_HTTP2 = "the origin does not speak HTTP/2"
#: The alert with which a server says so (RFC 7301 section 3.2).
_NO_PROTOCOL = "'no application protocol'"


class OriginEndpoints:
    """
    Makes the client endpoint for an origin: every address of its name is tried, the families in
    parallel (RFC 8305), and https origins have proven who they are before the endpoint connects.
    So have https proxies, by the same rules.
    """

    def __init__(
        self,
        reactor: Any,
        trust: Trust,
        timeout: float,
        resolver: NameResolver,
        *,
        http2_only: bool = False,
    ) -> None:
        """
        @param timeout: seconds for one address.
        @param http2_only: an origin that HTTP/2 is offered to has to choose it.
        """
        self._reactor = reactor
        self._trust = trust
        self._timeout = timeout
        self._resolver = resolver
        self._http2_only = http2_only
        # Origins that have chosen HTTP/2 with a cipher suite that it prohibits.
        self._inadequate: set[Origin] = set()

    def __call__(self, origin: Origin) -> IStreamClientEndpoint:
        endpoint = self.dial(*origin.peer)
        if origin.route is not None:
            endpoint = self._through(origin.route, endpoint, origin)
        if origin.scheme != "https":
            return endpoint
        name = origin.tls_name or origin.host
        alpn: tuple[bytes, ...] = (HTTP1,)
        if origin.http2 and origin not in self._inadequate:
            alpn = (HTTP2,) if self._http2_only else (HTTP2, HTTP1)
        return TLSClientEndpoint(
            endpoint,
            self._trust,
            name,
            origin.port,
            alpn,
            without_http2=lambda: self._remember(origin),
        )

    def _remember(self, origin: Origin) -> None:
        if len(self._inadequate) >= MAX_INADEQUATE:
            self._inadequate.clear()
        self._inadequate.add(origin)

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
        alpn: Sequence[bytes] = (HTTP1,),
        *,
        server_begins: bool = False,
        without_http2: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param host: whom the certificate has to name.
        @param alpn: the protocols to offer (RFC 7301), the one that is liked best first.  A server
            that chooses none does not speak HTTP/2.  Where that is one of several, and is chosen
            with a cipher suite that it prohibits, the others are offered over a second connection.
        @param server_begins: what is spoken inside may be begun by the server; in HTTP/2 it always
            may (RFC 9113 section 3.4).
        @param without_http2: is called before such a second connection.
        """
        self._below = below
        self._trust = trust
        self._host = host
        self._port = port
        self._alpn = alpn
        self._server_begins = server_begins
        self._without_http2 = without_http2

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: fires with the factory's protocol; fails with L{TLSError} or what the endpoint
            below fails with.
        """
        connecting = self._connect(protocolFactory, self._alpn)
        if HTTP2 in self._alpn and len(self._alpn) > 1:
            connecting.addErrback(self._connect_without_http2, protocolFactory)
        return connecting

    def _connect(self, factory: IProtocolFactory, alpn: Sequence[bytes]) -> Deferred[IProtocol]:
        try:
            machine = self._trust.client(self._host, self._port, alpn)
        except Exception as error:
            return fail(error)

        def make(above: Any, ready: Deferred[IProtocol]) -> TLSClientLayer:
            return TLSClientLayer(machine, above, ready, alpn, self._server_begins)

        return connect_stacked(self._below, factory, make)

    def _connect_without_http2(
        self, failure: Failure, factory: IProtocolFactory
    ) -> Deferred[IProtocol]:
        failure.trap(InadequateSecurityError)
        self._without_http2()
        return self._connect(factory, [each for each in self._alpn if each != HTTP2])


class InadequateSecurityError(TLSError):
    """
    HTTP/2 was chosen, but with a cipher suite that it prohibits (RFC 9113 section 9.2.2).
    """


class TLSClientLayer(TLSLayer):
    """
    The client side of TLS, which reports the end of its handshake to a Deferred.
    """

    __slots__ = ("_above", "_alpn", "_ready", "peer_begins")

    def __init__(
        self,
        machine: TLSMachine,
        above: Any,
        ready: Deferred[IProtocol],
        alpn: Sequence[bytes],
        server_begins: bool,
    ) -> None:
        super().__init__(machine)
        self._above = above
        self._ready = ready
        self._alpn = alpn
        self.peer_begins = server_begins

    def makeConnection(self, transport: Any) -> None:
        # Endpoints put a wrapper between transport and protocol; it has done its work now, and
        # every read would pass through it.
        transport.protocol = self
        super().makeConnection(transport)
        transport.write(self.machine.start())

    def check(self, early: bytes) -> None:
        connection = self.machine.connection
        chosen = connection.get_alpn_proto_negotiated()
        if chosen and chosen not in self._alpn:
            raise TLSError("the peer chose a protocol that was not offered")
        if not chosen and self._needs_http2:
            raise TLSError(_NO_HTTP2)
        if chosen == HTTP2:
            if not permits_http2(connection):
                raise InadequateSecurityError(
                    "the origin chose HTTP/2 with a cipher suite that it prohibits, "
                    f"{connection.get_cipher_name()} (INADEQUATE_SECURITY)"
                )
            self.peer_begins = True
        super().check(early)

    def handshaken(self) -> None:
        self.protocol = self._above
        self.protocol.makeConnection(self)
        self._ready.callback(self.protocol)

    def failed(self, reason: Failure) -> None:
        error = reason.value
        if self._needs_http2 and isinstance(error, TLSError) and _NO_PROTOCOL in error.reason:
            reason = Failure(TLSError(_NO_HTTP2))
        # It may have been given up before.
        if not self._ready.called:
            self._ready.errback(reason)

    @property
    def _needs_http2(self) -> bool:
        return HTTP2 in self._alpn and HTTP1 not in self._alpn
