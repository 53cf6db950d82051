"""
The configuration of the relay: one frozen L{RelayConfig}, checked as a whole when it is made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from fastcar_tw.checks import check_cert_and_key, check_places
from fastcar_tw.pool.core import PoolLimits
from fastcar_tw.relay.checks import (
    BACKEND_KINDS,
    CHECKS,
    PROXY_VERSIONS,
    check_no_pool,
    check_pool,
    check_proxy_protocol,
    check_relayed,
    check_trust,
)
from fastcar_tw.relay.framing import Framing, parse_framing
from fastcar_tw.upstream.backends import Backend, parse_backend

__all__ = ["RelayConfig"]

#: Without a pool these have no effect.
_OF_POOLS = (
    "pool_min",
    "pool_idle_timeout",
    "pool_max_age",
    "max_frame",
    "max_queue",
    "response_timeout",
)


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """
    What a fastcar in front of TCP backends is to do.  All times are in seconds, sizes in bytes;
    paths become absolute.
    """

    #: Places to listen: Twisted's server endpoint strings.
    listen: tuple[str, ...] = ()
    #: Where to connect to: "tcp:host:port", "unix:/path" or "tls:host:port".
    backend: tuple[str, ...] = ()
    #: PEM files of CAs to trust besides the system's, for backends with TLS.
    trust: tuple[str, ...] = ()
    #: "host" or "host:port" of backends whose certificate is not verified.
    insecure_origins: tuple[str, ...] = ()
    #: PEM certificate chain and private key; with them clients speak TLS.
    cert: str | None = None
    key: str | None = None
    #: Permission bits and group of socket files; None: the group of the process.
    socket_mode: int = 0o660
    socket_group: str | None = None
    #: The version of the PROXY header that backends are sent: "v1" or "v2"; None: none is.
    proxy_protocol: str | None = None
    #: Whether every client must begin with a PROXY header, of either version.
    accept_proxy_protocol: bool = False
    #: How requests and responses are told apart; with a pool, and only with one.
    framing: str | None = None
    #: Connections to each backend that all clients share; None: each client has its own.
    pool: int | None = None
    #: How many of these are kept open, to each backend.
    pool_min: int = 0
    #: Time a connection of the pool may be idle, and the age at which it is closed.
    pool_idle_timeout: float = 60.0
    pool_max_age: float = 3600.0
    #: The largest request and the largest response.
    max_frame: int = 2 << 20
    #: Clients at a time.
    max_clients: int = 10000
    #: Requests that may wait for a connection of the pool.
    max_queue: int = 1024
    #: Time a client or a request may wait for a connection.
    queue_timeout: float = 10.0
    #: Time to connect to a backend, with TLS.
    connect_timeout: float = 5.0
    #: Time a backend that owes a response may be silent.
    response_timeout: float = 60.0
    #: Time a client may be silent in the middle of a request, of a PROXY header or of a TLS
    #: handshake, may not take its response, or may take for a transaction.
    client_timeout: float = 15.0
    #: Time in which no byte passes, or no request comes.
    idle_timeout: float = 3600.0
    #: Failed attempts to connect to a backend, in a row, after which it is left alone for a while;
    #: 0: never.
    fail_fast_after: int = 5
    #: Time clients get to finish at shutdown; 0 aborts them at once.
    drain_timeout: float = 10.0
    #: Log every client, not only the failures.
    verbose: bool = False

    def __post_init__(self) -> None:
        """
        Check every field, then those that belong together.

        @raise ConfigError: for the first that is not usable.
        """
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        check_places(self.listen)
        check_relayed(self.listen, self.backend)
        check_trust(self.trust, self.insecure_origins, self.backend)
        check_cert_and_key(self.cert, self.key)
        check_proxy_protocol(self.proxy_protocol, self.pooled, self.backend)
        if self.pool is None:
            check_no_pool(self.framing, self._said_of_pools())
        else:
            check_pool(self.pool, self.pool_min, self.framing, self.max_frame)

    def _said_of_pools(self) -> dict[str, object]:
        defaults = {field.name: field.default for field in fields(self)}
        values = {name: getattr(self, name) for name in _OF_POOLS}
        return {name: value for name, value in values.items() if value != defaults[name]}

    @property
    def backends(self) -> list[Backend]:
        """
        Each backend.
        """
        return [parse_backend(text, BACKEND_KINDS) for text in self.backend]

    @property
    def pooled(self) -> bool:
        """
        Whether clients share connections.
        """
        return self.pool is not None

    @property
    def proxy_version(self) -> int | None:
        """
        The version of the PROXY header that backends are sent; None: none is.
        """
        return None if self.proxy_protocol is None else PROXY_VERSIONS[self.proxy_protocol]

    @property
    def keepalive_timeout(self) -> float:
        """
        See L{ClientConfig<fastcar_tw.downstream.clients.ClientConfig>}.
        """
        return self.idle_timeout

    @property
    def stall_timeout(self) -> float:
        """
        See L{ClientConfig<fastcar_tw.downstream.clients.ClientConfig>}.
        """
        return self.idle_timeout

    @property
    def pool_limits(self) -> PoolLimits:
        """
        The limits that the pool keeps to.  Where clients share no connections, there are as many
        connections as there are clients.
        """
        most = self.max_clients if self.pool is None else self.pool
        return PoolLimits(
            max_connections=most * len(self.backend),
            max_connections_per_origin=most,
            max_idle_per_origin=self.pool or 0,
            max_queue=self.max_queue if self.pooled else self.max_clients,
            queue_timeout=self.queue_timeout,
            idle_timeout=self.pool_idle_timeout,
            max_age=self.pool_max_age,
            fail_fast_after=self.fail_fast_after,
        )

    def make_framing(self) -> Framing | None:
        """
        @return: what tells requests and responses apart; None: nothing does.
        """
        return None if self.framing is None else parse_framing(self.framing, self.max_frame)
