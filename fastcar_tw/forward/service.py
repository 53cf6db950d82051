"""
The forward service as Twisted starts and stops it.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel

from fastcar_tw.config import Config
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.front import Front
from fastcar_tw.downstream.listeners import Listener, parse_listener
from fastcar_tw.downstream.service import DownstreamService
from fastcar_tw.forward.forwarder import Forwarder
from fastcar_tw.http.target import Origin, ip_literal
from fastcar_tw.names.lookup import Lookup, ThreadedLookup
from fastcar_tw.names.overrides import Overrides, parse_resolve
from fastcar_tw.names.resolver import Resolver
from fastcar_tw.routes.selection import Routes
from fastcar_tw.tls.local_ca import LocalCA
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.tls.trust import Trust
from fastcar_tw.transport.facade import EagerReactor
from fastcar_tw.transport.loops import LoopGuard
from fastcar_tw.upstream.endpoints import OriginEndpoints
from fastcar_tw.upstream.pool import ConnectionPool
from fastcar_tw.upstream.prewarm import parse_prewarm


class ForwardFactory(Factory):
    """
    Puts a L{Front} on every client connection.

    @ivar entrance: of whoever comes in.
    """

    noisy = False

    entrance: Entrance

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    # Not an IProtocol by the letter: nobody asks for its connectionMade.
    def buildProtocol(self, addr: IAddress | None) -> Front:  # type: ignore[override]
        return Front(self._forwarder, self.entrance)


class ForwardService(DownstreamService):
    """
    Forwards HTTP and HTTPS from a UNIX socket over pooled connections.

    @ivar forwarder: the running service's shared parts.
    """

    def __init__(self, config: Config, reactor: Any = None, lookup: Lookup | None = None) -> None:
        """
        @param reactor: the global one unless given.
        @param lookup: finds the addresses of names, in place of the system's resolver: the place
            for another one, C{twisted.names} for instance.  Cache and C{config.resolve} stand
            before it.
        """
        if reactor is None:
            from twisted.internet import reactor
        self._config = config
        eager = EagerReactor(reactor, patience=config.stall_timeout)
        guard = LoopGuard(eager)
        trust = Trust(config.trust, config.insecure_origins)
        self._routes = Routes(config.proxy, config.no_proxy, os.environ)
        self._resolver = Resolver(
            reactor,
            lookup or ThreadedLookup(reactor),
            config.dns_ttl,
            Overrides(map(parse_resolve, config.resolve)),
        )
        pool = ConnectionPool(
            reactor,
            OriginEndpoints(
                guard,
                trust,
                config.connect_timeout,
                self._resolver,
                http2_only=config.http2 == "always",
            ),
            config.pool_limits,
            connect_timeout=config.connect_timeout,
        )
        pool.follow(self._resolver, self._name_of)
        self._ca_file: str | None = None
        self.forwarder = Forwarder(
            config, reactor, pool, self._server_contexts(), trust, self._routes
        )
        super().__init__("forward", config, reactor, eager, self.forwarder, pool, guard)

    def startService(self) -> None:
        """
        Serve.

        @raise SocketPathError: see L{open_listeners}.
        @raise ListenerError: so.
        """
        super().startService()
        if str(self._routes):
            self.log.info("origins are reached {routes}", routes=str(self._routes))
        self._prewarm()
        for origin in self._config.insecure_origins:
            self.log.warn("certificates of {origin} are NOT verified", origin=origin)
        self.log.info(
            "forwarding from {path} (mode {mode:o}); CA for clients: {ca}",
            path=self._config.unix,
            mode=self._config.socket_mode,
            ca=self._ca_file or f"the one that signed {self._config.cert}",
        )

    def open_listeners(self) -> None:
        """
        See L{DownstreamService.open_listeners}.
        """
        self._open(Listener(self._config.unix))
        if self._config.https_unix is not None:
            self._open(Listener(self._config.https_unix), secure=True)
        for text in self._config.listen:
            self._open(parse_listener(text))

    def _open(self, listener: Listener, secure: bool = False) -> None:
        """
        @param secure: plain HTTP there is for https origins.
        """
        factory = ForwardFactory(self.forwarder)
        listener = self.open_listener(listener, factory)
        # Nobody has been accepted yet.
        factory.entrance = Entrance(str(listener), secure)
        if listener.path != self._config.unix:
            self._tell_listener(listener, secure)

    def _tell_listener(self, listener: Listener, secure: bool) -> None:
        notes = "; plain HTTP there is for https origins" if secure else ""
        level = LogLevel.info
        if not listener.is_local:
            notes, level = ", which is open to other machines", LogLevel.warn
        self.log.emit(level, "listening on {listener}{notes}", listener=str(listener), notes=notes)

    def _prewarm(self) -> None:
        wanted: Counter[Origin] = Counter()
        for each in map(parse_prewarm, self._config.prewarm):
            # Several origins may share the connections to a proxy.
            hop = self.forwarder.origin(each.scheme, each.authority).next_hop
            wanted[hop] += each.connections
        self.prewarm(wanted)

    def _name_of(self, origin: Origin) -> str | None:
        """
        The name whose addresses decide where an origin is; None if none does.
        """
        host, port = origin.peer
        literal = ip_literal(host) is not None
        return None if literal or self._resolver.is_overridden(host, port) else host

    def _server_contexts(self) -> ServerContexts:
        config = self._config
        if config.cert is not None and config.key is not None:
            return ServerContexts.from_files(config.cert, config.key)
        ca = LocalCA.load_or_create(config.ca_directory)
        self._ca_file = ca.certificate_path
        return ServerContexts.from_ca(ca)
