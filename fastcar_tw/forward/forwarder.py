"""
What all exchanges of the forward service share: configuration, pool, deadlines and the log.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from fastcar_tw.config import Config
from fastcar_tw.deadlines import Deadlines, Expiring
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.http.errors import FastcarError, MessageError, stall_error
from fastcar_tw.http.target import Origin, parse_authority
from fastcar_tw.routes.allowed_tunnels import AllowedTunnels
from fastcar_tw.routes.proxy import Proxy
from fastcar_tw.routes.selection import Routes
from fastcar_tw.tls.machine import TLSError
from fastcar_tw.tls.names import normal_host
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.tls.trust import Trust
from fastcar_tw.upstream.pool import ConnectionPool

#: Host fields whose origin is remembered.
MAX_KNOWN_ORIGINS = 4096


class Client(Expiring, Protocol):
    """
    A client connection in any of its states.
    """

    def drain(self) -> None:
        """
        fastcar is stopping: end when the exchange ends, at once if there is none.
        """

    def abort(self) -> None:
        """
        End at once.
        """


class Forwarder:
    """
    The forward service's shared parts.

    @ivar config: the configuration.
    @ivar pool: connections to the origins.
    @ivar server_contexts: certificates shown to the clients.
    @ivar relayed: the targets of tunnels into which nobody looks.
    @ivar relaying: how many of those there are, connecting or open.
    @ivar via: the Via field line for a message received in HTTP/1.0 (10) and 1.1 (11), or nothing.
    """

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
        # As a class attribute it would be made anew at each use, with a namespace of its own.
        self.log = Logger(namespace="fastcar")
        self.config = config
        self.pool = pool
        self.server_contexts = server_contexts
        self.via = {10: _via("1.0", config.via), 11: _via("1.1", config.via)}
        self.now = clock.seconds
        self.deadlines = Deadlines(clock, sweep_interval(config))
        self.clients: set[Client] = set()
        self.relayed = AllowedTunnels(config.tunnel)
        self.relaying = 0
        self._trust = trust
        self._routes = routes
        self._drained: Deferred[None] | None = None
        self._origins: dict[tuple[str, bytes], Origin] = {}

    def watch(self, client: Client) -> None:
        """
        A client connection begins, or changes hands.
        """
        self.clients.add(client)
        self.deadlines.watch(client)

    def unwatch(self, client: Client) -> None:
        """
        A client connection has ended, or changed hands.
        """
        self.clients.discard(client)
        self.deadlines.unwatch(client)
        if self._drained is not None and not self.clients:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def drain(self) -> Deferred[None]:
        """
        End every client connection as soon as its exchange has ended.

        @return: fires when none is left.
        """
        drained: Deferred[None] = Deferred()
        if not self.clients:
            drained.callback(None)
            return drained
        self._drained = drained
        for client in list(self.clients):
            client.drain()
        return drained

    def abort(self) -> None:
        """
        End every client connection at once.
        """
        for client in list(self.clients):
            client.abort()

    def client_deadline(self) -> float:
        """
        When a client must have sent what it owes.
        """
        return self.now() + self.config.client_timeout

    def keepalive_deadline(self) -> float:
        """
        When a client connection has been idle for too long.
        """
        return self.now() + self.config.keepalive_timeout

    def stall_deadline(self) -> float:
        """
        When a body has stood still for too long.
        """
        return self.now() + self.config.stall_timeout

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
        The origin that requests in a tunnel are for, whatever they say.  In TLS its certificate has
        to be for the name that the client has asked us to be.
        """
        assert entrance.target is not None
        host, port = entrance.target
        if not entrance.tls_version:
            if entrance.secure and port == 80:
                port = 443
            return self._origin(entrance.scheme, host, port)
        name = entrance.server_name
        return self._origin("https", host, port, "" if name == normal_host(host) else name)

    def relayed_origin(self, host: str, port: int) -> Origin:
        """
        The target of a tunnel that is relayed unseen.
        """
        # Whatever a tunnel carries, a proxy is asked for it as for https.
        return Origin("tcp", host, port, True, self._route("https", host))

    def _origin(self, scheme: str, host: str, port: int, tls_name: str = "") -> Origin:
        verified = scheme == "http" or self._trust.verifies(tls_name or host, port)
        return Origin(scheme, host, port, verified, self._route(scheme, host), tls_name)

    def _route(self, scheme: str, host: str) -> Proxy | None:
        return self._routes.route(scheme, host) if self._routes is not None else None

    def refused(self, error: MessageError) -> None:
        """
        Log what a client did wrong.
        """
        self.log.warn("client refused: {status} {text}", status=error.status, text=error.text)

    def client_failed(self, reason: Failure) -> None:
        """
        Log why a client's TLS handshake failed.
        """
        error = reason.value
        if isinstance(error, TLSError):
            self.log.warn("client TLS failed: {reason}", reason=error.reason)

    def relay_ended(self, reason: Failure) -> None:
        """
        A tunnel that was relayed unseen has ended.
        """
        self.relaying -= 1

    def succeeded(self, what: str, status: int, started: float) -> None:
        """
        Log an exchange that went well.

        @param what: as in L{failed}.
        @param started: when its request head had come.
        """
        elapsed = self.now() - started
        self.log.info(
            "{what}: {status} after {elapsed:.3f} s", what=what, status=status, elapsed=elapsed
        )

    def stalled(self, what: str, started: float) -> None:
        """
        Log a tunnel that was broken off.

        @param what: as in L{failed}.
        @param started: when it was asked for.
        """
        self.failed(what, stall_error(), started)

    def failed(self, what: str, error: FastcarError, started: float) -> None:
        """
        Log a failed exchange.

        @param what: method and origin, or C{tunnel} and origin.
        @param started: when its request head had come.
        """
        self.log.warn(
            "{what}: {error} ({status}): {text} after {elapsed:.3f} s",
            what=what,
            error=error.proxy_status,
            status=error.status,
            text=error.text,
            elapsed=self.now() - started,
        )


def _via(version: str, pseudonym: str | None) -> bytes:
    return f"Via: {version} {pseudonym}\r\n".encode("ascii") if pseudonym else b""


def sweep_interval(config: Config) -> float:
    """
    How often deadlines are looked at, in seconds: a fraction of the shortest, at most once a
    second.
    """
    shortest = min(
        config.response_timeout,
        config.stall_timeout,
        config.client_timeout,
        config.keepalive_timeout,
        config.idle_timeout,
        config.queue_timeout,
    )
    return min(1.0, shortest / 4)
