"""
The rules for the values of a L{RelayConfig<fastcar_tw.relay.config.RelayConfig>}; see
L{fastcar_tw.checks}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

from fastcar_tw.checks import (
    ConfigError,
    check_backends,
    check_ca_files,
    check_count,
    check_flag,
    check_group,
    check_listen,
    check_optional_file,
    check_origins,
    check_parsed,
    check_positive,
    check_size,
    check_socket_mode,
    check_timeout,
    check_timeout_or_zero,
)
from fastcar_tw.downstream.listeners import Listener, parse_listener
from fastcar_tw.http.target import ip_literal
from fastcar_tw.relay.framing import FramingError, parse_framing
from fastcar_tw.tls.names import is_dns_name, normal_host
from fastcar_tw.tls.trust import parse_origin
from fastcar_tw.upstream.backends import Backend, parse_backend

__all__ = [
    "BACKEND_KINDS",
    "CHECKS",
    "PROXY_VERSIONS",
    "check_no_pool",
    "check_pool",
    "check_proxy_protocol",
    "check_relayed",
    "check_trust",
]

#: What a backend may be, see L{parse_backend}.
BACKEND_KINDS = ("unix", "tcp", "tls")
#: The versions of the PROXY protocol, as they are asked for.
PROXY_VERSIONS = {"v1": 1, "v2": 2}

_parse = partial(parse_backend, kinds=BACKEND_KINDS)


def _backends(field: str, value: object) -> tuple[str, ...]:
    texts = check_backends(field, value, BACKEND_KINDS)
    for text in texts:
        backend = _parse(text)
        host = normal_host(backend.host)
        if backend.tls and not (is_dns_name(host) or ip_literal(host)):
            raise ConfigError(field, text, "a host that a certificate can be for")
    return texts


def _proxy_version(field: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in PROXY_VERSIONS:
        raise ConfigError(field, value, " or ".join(PROXY_VERSIONS))
    return value


def _framing(field: str, value: object) -> str | None:
    # What it means is seen when the largest frame is known.
    if not isinstance(value, (str, type(None))):
        raise ConfigError(field, value, "text")
    return value


def _optional_positive(field: str, value: object) -> int | None:
    return None if value is None else check_positive(field, value)


def _frame_size(field: str, value: object) -> int:
    size = check_size(field, value)
    if not size:
        raise ConfigError(field, value, "at least 1 byte")
    return size


def check_relayed(listen: Iterable[str], backend: Iterable[str]) -> None:
    """
    See that nothing is relayed to where it comes from, again and again.

    @raise ConfigError: if it is.
    """
    listeners = [parse_listener(text) for text in listen]
    for text in backend:
        if any(_leads_to(_parse(text), listener) for listener in listeners):
            raise ConfigError("backend", text, "another place than --listen has")


def _leads_to(backend: Backend, listener: Listener) -> bool:
    if backend.path or listener.path:
        return backend.path == listener.path
    there = ip_literal("127.0.0.1" if backend.host == "localhost" else backend.host)
    here = ip_address(listener.interface or "0.0.0.0")
    if there is None or there.version != here.version or backend.port != listener.port:
        return False
    return there == here or (here.is_unspecified and there.is_loopback)


def check_trust(
    trust: Sequence[str], insecure_origins: Iterable[str], backend: Iterable[str]
) -> None:
    """
    See that what is said about certificates is about a backend that has one.

    @raise ConfigError: if not.
    """
    secure = [each for each in map(_parse, backend) if each.tls]
    if trust and not secure:
        raise ConfigError("trust", trust[0], "a tls: --backend beside it")
    hosts = {(normal_host(each.host), port) for each in secure for port in (None, each.port)}
    for text in insecure_origins:
        if parse_origin(text) not in hosts:
            raise ConfigError("insecure_origins", text, "the host of a tls: --backend")


def check_proxy_protocol(version: str | None, pooled: bool, backend: Iterable[str]) -> None:
    """
    See that backends can be told of each client.

    @param version: of the header that is sent; None: none is.
    @raise ConfigError: if not.
    """
    if version is None:
        return
    field = "proxy_protocol"
    if pooled:
        reason = "connections of a pool are of no one client"
        raise ConfigError(field, version, "no --pool beside it", reason)
    if any(_parse(text).tls for text in backend):
        reason = "it would come inside of TLS"
        raise ConfigError(field, version, "no tls: --backend beside it", reason)


def check_pool(pool: int, pool_min: int, framing: str | None, max_frame: int) -> None:
    """
    See that there is all that a pool needs, and that connections that are to be kept open may be.

    @raise ConfigError: if not.
    """
    if framing is None:
        raise ConfigError("framing", framing, "the framing of --pool; the two go together")
    check_parsed("framing", framing, partial(parse_framing, max_frame=max_frame), FramingError)
    if pool_min > pool:
        raise ConfigError("pool_min", pool_min, f"at most {pool}, which is --pool")


def check_no_pool(framing: str | None, changed: Mapping[str, object]) -> None:
    """
    See that nothing is said about a pool where there is none.

    @param changed: what only a pool has a use for and is not left at its default.
    @raise ConfigError: if it is.
    """
    if framing is not None:
        expected = "how many connections share what --framing tells apart; the two go together"
        raise ConfigError("pool", None, expected)
    for field, value in changed.items():
        raise ConfigError(field, value, "--pool beside it")


#: The check of each field.
CHECKS: dict[str, Callable[[str, Any], object]] = {
    "listen": check_listen,
    "backend": _backends,
    "trust": check_ca_files,
    "insecure_origins": check_origins,
    "cert": check_optional_file,
    "key": check_optional_file,
    "socket_mode": check_socket_mode,
    "socket_group": check_group,
    "proxy_protocol": _proxy_version,
    "accept_proxy_protocol": check_flag,
    "framing": _framing,
    "pool": _optional_positive,
    "pool_min": check_count,
    "pool_idle_timeout": check_timeout,
    "pool_max_age": check_timeout,
    "max_frame": _frame_size,
    "max_clients": check_positive,
    "max_queue": check_count,
    "queue_timeout": check_timeout,
    "connect_timeout": check_timeout,
    "response_timeout": check_timeout,
    "client_timeout": check_timeout,
    "idle_timeout": check_timeout,
    "fail_fast_after": check_count,
    "drain_timeout": check_timeout_or_zero,
    "verbose": check_flag,
}
