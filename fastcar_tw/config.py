"""
The configuration: one frozen L{Config}, checked as a whole when it is made.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastcar_tw.checks import (
    CHECKS,
    ConfigError,
    check_cert_and_key,
    check_listeners,
    check_prewarm,
)
from fastcar_tw.pool.core import PoolLimits

__all__ = ["Config", "ConfigError", "default_ca_dir"]


def default_ca_dir(environ: Mapping[str, str], uid: int) -> str:
    """
    Where the local CA of a user lives unless L{Config.ca_dir} says otherwise.

    That is C{/var/lib/fastcar} for root, else C{fastcar} in the XDG state directory (XDG Base
    Directory Specification 0.8; a relative C{XDG_STATE_HOME} is ignored, as it demands).
    """
    if uid == 0:
        return "/var/lib/fastcar"
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        home = environ.get("HOME") or pwd.getpwuid(uid).pw_dir
        state = os.path.join(home, ".local", "state")
    return os.path.join(state, "fastcar")


@dataclass(frozen=True, slots=True)
class Config:
    """
    What a fastcar is to do.  All times are in seconds; paths become absolute.

    Files named here are read once to see that they can be.
    """

    #: Path of the socket to listen on, at most 107 bytes.
    unix: str = "/tmp/fastcar.sock"
    #: Further places to listen: Twisted's server endpoint strings.
    listen: tuple[str, ...] = ()
    #: Whether those may be open to other machines.
    allow_remote: bool = False
    #: Path of a socket where plain HTTP is for https origins; None: no such socket.
    https_unix: str | None = None
    #: What tunnels (CONNECT, SOCKS5) relay unseen: "port" or "host:port".
    tunnel: tuple[str, ...] = ()
    #: PEM certificate chain and private key shown to clients; without them a local CA mints one.
    cert: str | None = None
    key: str | None = None
    #: Directory of the local CA; None: L{default_ca_dir}, see L{ca_directory}.
    ca_dir: str | None = None
    #: PEM files of further CAs to trust upstream, besides the system's.
    trust: tuple[str, ...] = ()
    #: Origins whose certificate is not verified: "host" (any port) or "host:port", lower case,
    #: an IPv6 address in brackets and in its shortest form.
    insecure_origins: tuple[str, ...] = ()
    #: Permission bits and group of the socket file; None: the group of the process.
    socket_mode: int = 0o660
    socket_group: str | None = None
    #: Time to connect to an origin, TLS handshake included.
    connect_timeout: float = 10.0
    #: Time from the end of a request to the first byte of its response.
    response_timeout: float = 60.0
    #: Time a body may stand still in either direction.
    stall_timeout: float = 60.0
    #: Time a client has for a request head, and for the TLS handshake.
    client_timeout: float = 15.0
    #: Time a client's connection may be idle between requests.
    keepalive_timeout: float = 75.0
    #: Time a pooled upstream connection may be idle.
    idle_timeout: float = 120.0
    #: Idle upstream connections kept for each origin; 0 keeps none.
    max_idle_per_origin: int = 100
    #: Upstream connections of all states, those being opened included: for each origin, and in all.
    max_connections_per_origin: int = 128
    max_connections: int = 1024
    #: Requests that may wait because no connection may be opened, and for how long.
    max_queue: int = 1024
    queue_timeout: float = 10.0
    #: Age at which an upstream connection is closed, as soon as it is idle.
    max_age: float = 3600.0
    #: Failed attempts to connect to an origin, in a row, after which requests to it fail at once
    #: for a while; 0: never.
    fail_fast_after: int = 5
    #: Origins to keep connections open to: "http://host:port" or "https://host:port=count".
    prewarm: tuple[str, ...] = ()
    #: HTTP/2 to https origins: "auto" offers it beside HTTP/1.1, "always" accepts nothing else,
    #: "off" does not offer it.
    http2: str = "auto"
    #: Time the addresses of a name are used before it is looked up again; 0: always look up.
    dns_ttl: float = 30.0
    #: Addresses that replace a look-up: "host:port:address,...", or "*" for the host.
    resolve: tuple[str, ...] = ()
    #: URL of the proxy to reach origins through; empty: none; None: what the environment says.
    proxy: str | None = field(default=None, repr=False)
    #: Hosts to reach without a proxy, separated by commas; None: what the environment says.
    no_proxy: str | None = None
    #: Time requests in flight get to finish at shutdown; 0 aborts them at once.
    drain_timeout: float = 10.0
    #: Pseudonym for the Via field (RFC 9110 section 7.6.3); None sends no Via.
    via: str | None = None
    #: Log every exchange, not only the failures.
    verbose: bool = False

    def __post_init__(self) -> None:
        """
        Check every field, then those that belong together.

        @raise ConfigError: for the first that is not usable.
        """
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        check_listeners(self.unix, self.https_unix, self.listen, self.allow_remote)
        check_cert_and_key(self.cert, self.key)
        check_prewarm(
            self.prewarm,
            self.max_idle_per_origin,
            self.max_connections_per_origin,
            self.max_connections,
        )

    @property
    def ca_directory(self) -> str:
        """
        The directory of the local CA: L{ca_dir}, or the default of the running user.
        """
        return self.ca_dir or default_ca_dir(os.environ, os.geteuid())

    @property
    def pool_limits(self) -> PoolLimits:
        """
        The limits that the pool keeps to.
        """
        return PoolLimits(
            max_connections=self.max_connections,
            max_connections_per_origin=self.max_connections_per_origin,
            max_idle_per_origin=self.max_idle_per_origin,
            max_queue=self.max_queue,
            queue_timeout=self.queue_timeout,
            idle_timeout=self.idle_timeout,
            max_age=self.max_age,
            fail_fast_after=self.fail_fast_after,
        )
