"""
What all exchanges of the forward service share: configuration, pool, clients and the log.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from fastcar_tw.config import Config
from fastcar_tw.downstream.clients import Clients
from fastcar_tw.downstream.connect import answer_connect, check_destination
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.downstream.http1 import DownstreamConnection
from fastcar_tw.forward.exchange import Exchange
from fastcar_tw.forward.local import LocalExchange, answer_locally
from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.head import RequestHead
from fastcar_tw.http.target import Origin, parse_authority
from fastcar_tw.routes.allowed_tunnels import AllowedTunnels
from fastcar_tw.routes.proxy import Proxy
from fastcar_tw.routes.selection import Routes
from fastcar_tw.site.exchange import SITE_NAMES, SiteExchange
from fastcar_tw.tls.names import normal_host
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.tls.trust import Trust
from fastcar_tw.upstream.pool import ConnectionPool

#: Host fields whose origin is remembered.
MAX_KNOWN_ORIGINS = 4096


class Forwarder(Clients):
    """
    The forward service's shared parts.

    @ivar pool: connections to the origins.
    @ivar server_contexts: certificates shown to the clients.
    @ivar relayed: the targets of tunnels into which nobody looks.
    @ivar relaying: how many of those there are, connecting or open.
    @ivar via: the Via field line for a message received in HTTP/1.0 (10), 1.1 (11) and 2 (20), or
        nothing.
    """

    config: Config

    def __init__(
        self,
        config: Config,
        clock: IReactorTime,
        pool: ConnectionPool,
        server_contexts: ServerContexts,
        trust: Trust,
        routes: Routes | None = None,
    ) -> None:
        """
        @param routes: which origins are reached through a proxy; None: none is.
        """
        super().__init__(config, clock)
        self.pool = pool
        self.server_contexts = server_contexts
        self.via = {
            version: _via(name, config.via)
            for version, name in ((10, "1.0"), (11, "1.1"), (20, "2.0"))
        }
        self.relayed = AllowedTunnels(config.tunnel)
        self.relaying = 0
        self._trust = trust
        self._routes = routes
        # Of tunnels: where they lead.
        self._destinations: dict[Entrance, Origin] = {}
        self._origins: dict[tuple[str, bytes], Origin] = {}
        self._http1_only: set[Origin] = set()

    def exchange(
        self, downstream: DownstreamConnection, request: RequestHead
    ) -> DownstreamExchange:
        """
        See L{Clients.exchange}.
        """
        if not request.host:
            raise MessageError("no Host field: expected the name of the origin")
        entrance = downstream.entrance
        scheme = entrance.scheme
        if request.scheme is not None and not entrance.secure:
            scheme = request.scheme
        origin = self.origin(scheme, request.host)
        if entrance.target is not None:
            destination = self.tunnel_origin(entrance)
            if request.scheme is not None:
                check_destination(origin, destination)
            origin = destination
        local = answer_locally(request)
        if local is not None:
            return LocalExchange(downstream, request, local)
        if origin.host in SITE_NAMES:
            return SiteExchange(self, downstream, request)
        return Exchange(self, downstream, request, origin)

    def tunnel(self, entrance: Entrance, request: RequestHead) -> Any:
        """
        See L{Clients.tunnel}.
        """
        return answer_connect(self, entrance, request)

    def origin(self, scheme: str, host: bytes) -> Origin:
        """
        The origin that a Host field or an authority names.

        @raise MessageError: 400 when it is invalid.
        """
        key = (scheme, host)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origin(scheme, *parse_authority(host, scheme))
            if len(self._origins) >= MAX_KNOWN_ORIGINS:
                self._origins.clear()
            self._origins[key] = origin
        return origin

    def tunnel_origin(self, entrance: Entrance) -> Origin:
        """
        The origin that requests in a tunnel are for, whatever they say.
        """
        destination = self._destinations.get(entrance)
        if destination is None:
            destination = self._tunnel_origin(entrance)
            if len(self._destinations) >= MAX_KNOWN_ORIGINS:
                self._destinations.clear()
            self._destinations[entrance] = destination
        return destination

    def http1_only(self, origin: Origin) -> None:
        """
        An origin wants HTTP/1.1 (HTTP_1_1_REQUIRED, RFC 9113 section 7): HTTP/2 is not offered to
        it again, until so many others have wanted that that it is forgotten.
        """
        if origin.over_http1 in self._http1_only:
            return
        if len(self._http1_only) >= MAX_KNOWN_ORIGINS:
            self._http1_only.clear()
        self._http1_only.add(origin.over_http1)
        self._origins.clear()
        self._destinations.clear()

    def relayed_origin(self, host: str, port: int) -> Origin:
        """
        The target of a tunnel that is relayed unseen.
        """
        # Whatever a tunnel carries, a proxy is asked for it as for https.
        return Origin("tcp", host, port, True, self._route("https", host))

    def _tunnel_origin(self, entrance: Entrance) -> Origin:
        """
        In TLS its certificate has to be for the name that the client has asked us to be.
        """
        assert entrance.target is not None
        host, port = entrance.target
        if not entrance.tls_version:
            if entrance.secure and port == 80:
                port = 443
            return self._origin(entrance.scheme, host, port)
        name = entrance.server_name
        return self._origin("https", host, port, "" if name == normal_host(host) else name)

    def _origin(self, scheme: str, host: str, port: int, tls_name: str = "") -> Origin:
        verified = scheme == "http" or self._trust.verifies(tls_name or host, port)
        origin = Origin(scheme, host, port, verified, self._route(scheme, host), tls_name)
        if scheme == "http" or self.config.http2 == "off" or origin in self._http1_only:
            return origin
        return origin._replace(http2=True)

    def _route(self, scheme: str, host: str) -> Proxy | None:
        return self._routes.route(scheme, host) if self._routes is not None else None

    def relay_ended(self, reason: Failure) -> None:
        """
        A tunnel that was relayed unseen has ended.
        """
        self.relaying -= 1


def _via(version: str, pseudonym: str | None) -> bytes:
    return f"Via: {version} {pseudonym}\r\n".encode("ascii") if pseudonym else b""
