"""
The FastCGI service as Twisted starts and stops it.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from fastcar_tw.downstream.listeners import parse_listener
from fastcar_tw.downstream.service import DownstreamService
from fastcar_tw.fastcgi.config import FastCGIConfig
from fastcar_tw.fastcgi.front import GatewayFactory
from fastcar_tw.fastcgi.gateway import Gateway
from fastcar_tw.fastcgi.pool import FastCGIPool
from fastcar_tw.names.lookup import ThreadedLookup
from fastcar_tw.names.overrides import Overrides
from fastcar_tw.names.resolver import Resolver
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.transport.facade import EagerReactor
from fastcar_tw.upstream.backends import Backend
from fastcar_tw.upstream.endpoints import backend_endpoint

#: Seconds the addresses of a php-fpm's name are used.
_DNS_TTL = 30.0


class FastCGIService(DownstreamService):
    """
    Serves HTTP in front of php-fpm.

    @ivar gateway: the running service's shared parts.
    """

    def __init__(self, config: FastCGIConfig, reactor: Any = None) -> None:
        """
        @param reactor: the global one unless given.
        """
        if reactor is None:
            from twisted.internet import reactor
        self._config = config
        self._eager = EagerReactor(reactor, patience=config.stall_timeout)
        self._resolver = Resolver(reactor, ThreadedLookup(reactor), _DNS_TTL, Overrides(()))
        pool = FastCGIPool(
            reactor,
            config.backends,
            self._endpoint,
            config.pool_limits,
            connect_timeout=config.connect_timeout,
            keep=config.keep,
            max_requests=config.max_requests,
        )
        contexts = None
        if config.cert is not None and config.key is not None:
            contexts = ServerContexts.from_files(config.cert, config.key)
        self.gateway = Gateway(config, reactor, pool, contexts)
        super().__init__("fastcgi", config, reactor, self._eager, self.gateway, pool)

    def open_listeners(self) -> None:
        """
        See L{DownstreamService.open_listeners}.
        """
        for text in self._config.listen:
            factory = GatewayFactory(self.gateway)
            listener = self.open_listener(parse_listener(text), factory)
            # Nobody has been accepted yet.
            factory.listener = str(listener)
            if not listener.path and not ip_address(listener.interface or "0.0.0.0").is_unspecified:
                self.gateway.local_addresses[str(listener)] = (listener.interface, listener.port)
            self.tell_listener(listener)

    def startService(self) -> None:
        """
        See L{DownstreamService.startService}.
        """
        super().startService()
        config = self._config
        self.log.info(
            "serving {root} with {backends}, up to {connections} connections each",
            root=config.root,
            backends=", ".join(map(str, config.backends)),
            connections=config.connections,
        )
        wanted = dict.fromkeys(config.backends, config.prewarm) if config.prewarm else {}
        self.prewarm(wanted)

    def _endpoint(self, backend: Backend) -> IStreamClientEndpoint:
        timeout = self._config.connect_timeout
        return backend_endpoint(self._eager, self._resolver, backend, timeout)
