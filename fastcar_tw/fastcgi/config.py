"""
The configuration of the FastCGI service: one frozen L{FastCGIConfig}, checked as a whole when it is
made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastcar_tw.checks import check_cert_and_key, check_places
from fastcar_tw.fastcgi.checks import CHECKS, check_front_controller, check_prewarmed
from fastcar_tw.pool.core import PoolLimits
from fastcar_tw.upstream.backends import Backend, parse_backend

__all__ = ["FastCGIConfig"]

#: Where clients are awaited unless something else is said.
DEFAULT_LISTEN = ("tcp:8080:interface=127.0.0.1",)


@dataclass(frozen=True, slots=True)
class FastCGIConfig:
    """
    What a fastcar in front of php-fpm is to do.  All times are in seconds, sizes in bytes; paths
    become absolute.
    """

    #: Where php-fpm listens: "unix:/path" or "tcp:host:port".
    fpm: tuple[str, ...] = ()
    #: The directory with what is served.
    root: str | None = None
    #: Places to listen: Twisted's server endpoint strings.
    listen: tuple[str, ...] = DEFAULT_LISTEN
    #: Permission bits and group of socket files; None: the group of the process.
    socket_mode: int = 0o660
    socket_group: str | None = None
    #: PEM certificate chain and private key; with them TLS is served too.
    cert: str | None = None
    key: str | None = None
    #: The same directory as php-fpm sees it; None: as we do.
    fpm_root: str | None = None
    #: What is served for a directory: the first of these that it has.
    index: tuple[str, ...] = ("index.php",)
    #: The script for whatever is no file, below the root; None: that is not found.
    front_controller: str | None = None
    #: How the name of a script ends.
    split: str = ".php"
    #: Whether files that are no scripts are served.
    static: bool = True
    #: Directories outside the root into which symbolic links of static files may lead.
    symlinks_to: tuple[str, ...] = ()
    #: The directory from which scripts may have files sent by X-Sendfile and X-Accel-Redirect.
    sendfile: str | None = None
    #: Further variables for scripts: "NAME=VALUE"; passwords may be among them.
    param: tuple[str, ...] = field(default=(), repr=False)
    #: Whose X-Forwarded-* is believed: addresses, networks, or "unix".
    trusted_proxy: tuple[str, ...] = ()
    #: Connections to each php-fpm, of all states.
    connections: int = 3
    #: Whether connections are kept, and how many are opened ahead to each php-fpm.
    keep: bool = True
    prewarm: int = 0
    #: Requests that may wait for a connection, and for how long.
    max_queue: int = 1024
    queue_timeout: float = 10.0
    #: Time to connect to php-fpm.
    connect_timeout: float = 5.0
    #: Time from the end of a request to the first byte of its response.
    response_timeout: float = 60.0
    #: Time a body may stand still in either direction.
    stall_timeout: float = 60.0
    #: Time a client has for a request head, and for the TLS handshake.
    client_timeout: float = 15.0
    #: Time a client's connection may be idle between requests.
    keepalive_timeout: float = 75.0
    #: Time a kept connection to php-fpm, which holds a child, may be idle.
    idle_timeout: float = 2.0
    #: Age at which a connection to php-fpm is closed, and requests after which it is; 0: no limit.
    max_age: float = 3600.0
    max_requests: int = 0
    #: Failed attempts to connect to a php-fpm, in a row, after which it is left alone for a while;
    #: 0: never.
    fail_fast_after: int = 5
    #: The largest request body; 0: no limit.
    max_body: int = 100 << 20
    #: Of a body that has to be complete before a script begins, what is held in memory.
    spool_memory: int = 1 << 20
    #: Time requests in flight get to finish at shutdown; 0 aborts them at once.
    drain_timeout: float = 10.0
    #: Log every exchange, not only the failures.
    verbose: bool = False

    def __post_init__(self) -> None:
        """
        Check every field, then those that belong together.

        @raise ConfigError: for the first that is not usable.
        """
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        check_places(self.listen)
        check_cert_and_key(self.cert, self.key)
        check_front_controller(self.root or "", self.front_controller, self.split)
        check_prewarmed(self.prewarm, self.connections, self.keep)

    @property
    def backends(self) -> list[Backend]:
        """
        Each php-fpm.
        """
        return [parse_backend(text) for text in self.fpm]

    @property
    def pool_limits(self) -> PoolLimits:
        """
        The limits that the pool keeps to.
        """
        return PoolLimits(
            max_connections=self.connections * len(self.fpm),
            max_connections_per_origin=self.connections,
            max_idle_per_origin=self.connections if self.keep else 0,
            max_queue=self.max_queue,
            queue_timeout=self.queue_timeout,
            idle_timeout=self.idle_timeout,
            max_age=self.max_age,
            fail_fast_after=self.fail_fast_after,
        )
