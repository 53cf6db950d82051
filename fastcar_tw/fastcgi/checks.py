"""
The rules for the values of a L{FastCGIConfig<fastcar_tw.fastcgi.config.FastCGIConfig>}; see
L{fastcar_tw.checks}.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from fastcar_tw.checks import (
    ConfigError,
    check_count,
    check_flag,
    check_group,
    check_listen,
    check_optional_file,
    check_parsed,
    check_path,
    check_positive,
    check_several,
    check_socket_mode,
    check_timeout,
    check_timeout_or_zero,
)
from fastcar_tw.downstream.listeners import parse_listener
from fastcar_tw.fastcgi.backends import BackendError, parse_backend
from fastcar_tw.fastcgi.forwarded import TrustedProxyError, parse_trusted_proxy

__all__ = ["CHECKS", "check_places", "check_prewarmed"]

#: Bytes; nothing that php could make use of is larger.
MAX_SIZE = 1 << 50


def _existing_directory(field: str, value: object) -> str:
    path = check_path(field, value, "an existing directory")
    if not os.path.isdir(path):
        raise ConfigError(field, value, "an existing directory")
    return path


def _optional_existing_directory(field: str, value: object) -> str | None:
    return None if value is None else _existing_directory(field, value)


def _directories(field: str, value: object) -> tuple[str, ...]:
    return tuple(
        _existing_directory(field, each) for each in check_several(field, value, "directories")
    )


def _absolute_path(field: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ConfigError(field, value, "an absolute path")
    return os.path.normpath(value)


def _fpm(field: str, value: object) -> tuple[str, ...]:
    several = check_several(field, value, "endpoints")
    texts = tuple(check_parsed(field, each, parse_backend, BackendError) for each in several)
    if not texts:
        raise ConfigError(field, None, "where php-fpm listens: unix:/PATH or tcp:HOST:PORT")
    if len(set(map(parse_backend, texts))) < len(texts):
        raise ConfigError(field, texts[-1], "each php-fpm once")
    return texts


def _name_in_root(field: str, value: object) -> str:
    expected = "a path below the root, as index.php"
    path = value if isinstance(value, str) else ""
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(field, value, expected)
    return path


def _names_in_root(field: str, value: object) -> tuple[str, ...]:
    return tuple(_name_in_root(field, each) for each in check_several(field, value, "names"))


def _optional_name_in_root(field: str, value: object) -> str | None:
    return (
        None
        if value is None
        else _name_in_root(field, value.removeprefix("/"))
        if isinstance(value, str)
        else _name_in_root(field, value)
    )


def _suffix(field: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\.[A-Za-z0-9]+", value):
        raise ConfigError(field, value, "a dot with letters and digits, as .php")
    return value


def _variables(field: str, value: object) -> tuple[str, ...]:
    return tuple(_variable(field, each) for each in check_several(field, value, "variables"))


def _variable(field: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*=[^\0]*", value):
        raise ConfigError(field, value, "NAME=VALUE")
    return value


def _trusted_proxies(field: str, value: object) -> tuple[str, ...]:
    return tuple(
        check_parsed(field, each, parse_trusted_proxy, TrustedProxyError)
        for each in check_several(field, value, "addresses")
    )


def _size(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
        raise ConfigError(field, value, "a number of bytes, as 65536, 64k, 100M or 1G")
    return value


def check_places(listen: Iterable[str]) -> None:
    """
    See that there is a listener, and no two at one place.

    @raise ConfigError: if not.
    """
    taken = set()
    for text in listen:
        listener = parse_listener(text)
        if str(listener) in taken and (listener.path or listener.port):
            raise ConfigError("listen", text, "a place where nothing else listens")
        taken.add(str(listener))
    if not taken:
        raise ConfigError("listen", None, "an endpoint such as tcp:8080:interface=127.0.0.1")


def check_prewarmed(prewarm: int, connections: int, keep: bool) -> None:
    """
    See that connections that are to be kept open may be kept.

    @raise ConfigError: if not.
    """
    if prewarm > connections:
        raise ConfigError("prewarm", prewarm, f"at most {connections}, which is --connections")
    if prewarm and not keep:
        raise ConfigError("prewarm", prewarm, "no --no-keep beside it")


#: The check of each field.
CHECKS: dict[str, Callable[[str, Any], object]] = {
    "fpm": _fpm,
    "root": _existing_directory,
    "listen": check_listen,
    "socket_mode": check_socket_mode,
    "socket_group": check_group,
    "cert": check_optional_file,
    "key": check_optional_file,
    "fpm_root": _absolute_path,
    "index": _names_in_root,
    "front_controller": _optional_name_in_root,
    "split": _suffix,
    "static": check_flag,
    "symlinks_to": _directories,
    "sendfile": _optional_existing_directory,
    "param": _variables,
    "trusted_proxy": _trusted_proxies,
    "connections": check_positive,
    "keep": check_flag,
    "prewarm": check_count,
    "max_queue": check_count,
    "queue_timeout": check_timeout,
    "connect_timeout": check_timeout,
    "response_timeout": check_timeout,
    "stall_timeout": check_timeout,
    "client_timeout": check_timeout,
    "keepalive_timeout": check_timeout,
    "idle_timeout": check_timeout,
    "max_age": check_timeout,
    "max_requests": check_count,
    "fail_fast_after": check_count,
    "max_body": _size,
    "spool_memory": _size,
    "drain_timeout": check_timeout_or_zero,
    "verbose": check_flag,
}
