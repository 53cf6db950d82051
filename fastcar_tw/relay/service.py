"""
The relay service as Twisted starts and stops it.
"""

from __future__ import annotations

import resource
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from fastcar_tw.downstream.listeners import parse_listener
from fastcar_tw.downstream.service import DownstreamService
from fastcar_tw.http.target import ip_literal
from fastcar_tw.names.lookup import ThreadedLookup
from fastcar_tw.names.overrides import Overrides
from fastcar_tw.names.resolver import Resolver
from fastcar_tw.relay.config import RelayConfig
from fastcar_tw.relay.front import RelayFactory
from fastcar_tw.relay.pool import RelayPool
from fastcar_tw.relay.relay import Relay
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.tls.trust import Trust
from fastcar_tw.transport.facade import EagerReactor
from fastcar_tw.transport.loops import LoopGuard
from fastcar_tw.upstream.backends import Backend
from fastcar_tw.upstream.endpoints import TLSClientEndpoint, backend_endpoint

#: Seconds the addresses of a backend's name are used.
_DNS_TTL = 30.0


class RelayService(DownstreamService):
    """
    Relays TCP to backends.

    @ivar relay: the running service's shared parts.
    """

    def __init__(self, config: RelayConfig, reactor: Any = None) -> None:
        """
        @param reactor: the global one unless given.
        """
        if reactor is None:
            from twisted.internet import reactor
        self._config = config
        eager = EagerReactor(reactor, patience=config.idle_timeout)
        self._outgoing = LoopGuard(eager)
        self._resolver = Resolver(reactor, ThreadedLookup(reactor), _DNS_TTL, Overrides(()))
        backends = config.backends
        # The system's CAs take time and memory.
        secure = any(backend.tls for backend in backends)
        self._trust = Trust(config.trust, config.insecure_origins) if secure else None
        framing = config.make_framing()
        pool = RelayPool(
            reactor, backends, self._endpoint, config.pool_limits, config.connect_timeout, framing
        )
        pool.follow(self._resolver, _name_of)
        self._contexts = None
        if config.cert is not None and config.key is not None:
            self._contexts = ServerContexts.from_files(config.cert, config.key)
        self.relay = Relay(config, reactor, pool, framing)
        super().__init__("relay", config, reactor, eager, self.relay, pool, self._outgoing)

    def open_listeners(self) -> None:
        """
        See L{DownstreamService.open_listeners}.
        """
        for text in self._config.listen:
            factory = RelayFactory(self.relay, self._contexts)
            listener = self.open_listener(parse_listener(text), factory)
            # Nobody has been accepted yet.
            factory.listener = str(listener)
            self.tell_listener(listener)

    def startService(self) -> None:
        """
        See L{DownstreamService.startService}.
        """
        super().startService()
        config = self._config
        self.log.info(
            "relaying to {backends}, {how}",
            backends=", ".join(map(str, config.backends)),
            how="a connection for each client"
            if config.pool is None
            else f"up to {config.pool} connections each for all clients",
        )
        self._check_descriptors()
        for origin in config.insecure_origins:
            self.log.warn("certificates of {origin} are NOT verified", origin=origin)
        self.prewarm(dict.fromkeys(config.backends, config.pool_min) if config.pool_min else {})

    def _check_descriptors(self) -> None:
        """
        Tell if fewer clients can come than are allowed to.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        each = 1 if self._config.pooled else 2
        if limit != resource.RLIM_INFINITY and limit < each * self._config.max_clients:
            self.log.warn(
                "--max-clients {clients} needs more than the {limit} descriptors there may be"
                " (RLIMIT_NOFILE)",
                clients=self._config.max_clients,
                limit=limit,
            )

    def _endpoint(self, backend: Backend) -> IStreamClientEndpoint:
        timeout = self._config.connect_timeout
        endpoint = backend_endpoint(self._outgoing, self._resolver, backend, timeout)
        if not backend.tls:
            return endpoint
        assert self._trust is not None
        begins = not self._config.pooled
        return TLSClientEndpoint(
            endpoint, self._trust, backend.host, backend.port, (), server_begins=begins
        )


def _name_of(backend: Backend) -> str | None:
    """
    @return: the name whose addresses decide where a backend is; None if none does.
    """
    return backend.host if backend.host and ip_literal(backend.host) is None else None
