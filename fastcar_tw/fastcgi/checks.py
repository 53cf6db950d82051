"""
The rules for the values of a L{FastCGIConfig<fastcar_tw.fastcgi.config.FastCGIConfig>}; see
L{fastcar_tw.checks}.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastcar_tw.checks import (
    ConfigError,
    Hidden,
    check_backends,
    check_count,
    check_flag,
    check_group,
    check_listen,
    check_optional_file,
    check_parsed,
    check_path,
    check_positive,
    check_several,
    check_size,
    check_socket_mode,
    check_timeout,
    check_timeout_or_zero,
    is_system_text,
)
from fastcar_tw.fastcgi.document_names import (
    DocumentNameError,
    parse_front_controller,
    parse_index,
    parse_suffix,
)
from fastcar_tw.fastcgi.documents import DocumentRoot, NotFoundError, Script
from fastcar_tw.fastcgi.forwarded import TrustedProxyError, parse_trusted_proxy

__all__ = ["CHECKS", "check_front_controller", "check_prewarmed"]

#: Bytes of all --param, which have to fit into one record.
MAX_VARIABLES = 32768

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_FRONT_CONTROLLER = "a script that is there, below --root"


#: A body of another length would be cut or waited for; php-fpm may run the file that the other
#: names.
_NEVER_SET = ("CONTENT_LENGTH", "PATH_TRANSLATED")


def _existing_directory(field: str, value: Any) -> str:
    expected = "an existing directory"
    plain = check_path(field, value, expected)
    # Where there are symbolic links, ".." leads elsewhere than it looks.
    path = os.path.join(os.getcwd(), value) if ".." in value.split("/") else plain
    if not os.path.isdir(path):
        raise ConfigError(field, value, expected)
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
    if not isinstance(value, str) or not value.startswith("/") or not is_system_text(value):
        raise ConfigError(field, value, "an absolute path")
    return os.path.normpath(value)


def _fpm(field: str, value: object) -> tuple[str, ...]:
    return check_backends(field, value, ("unix", "tcp"))


def _index(field: str, value: object) -> tuple[str, ...]:
    several = check_several(field, value, "names")
    return tuple(check_parsed(field, each, parse_index, DocumentNameError) for each in several)


def _suffix(field: str, value: object) -> str:
    return check_parsed(field, value, parse_suffix, DocumentNameError)


def _script(field: str, value: object) -> str | None:
    # Whether it is one is seen when the root and the suffix are known.
    if not isinstance(value, (str, type(None))):
        raise ConfigError(field, value, "a script below the root")
    return value


def _variables(field: str, value: object) -> tuple[str, ...]:
    several = tuple(_variable(field, each) for each in check_several(field, value, "variables"))
    size = 0
    for text in several:
        size += len(os.fsencode(text))
        if size > MAX_VARIABLES:
            raise ConfigError(field, Hidden(), f"at most {MAX_VARIABLES} bytes in all")
    return several


def _variable(field: str, value: object) -> str:
    valid = isinstance(value, str) and _VARIABLE.fullmatch(value) and is_system_text(value)
    if not valid:
        # What is behind the name may be a password.
        shown = Hidden() if isinstance(value, str) and "=" in value else value
        raise ConfigError(field, shown, "NAME=VALUE, the name of letters, digits and _")
    if str(value).partition("=")[0] in _NEVER_SET:
        raise ConfigError(field, value, f"none of {', '.join(_NEVER_SET)}")
    return str(value)


def _trusted_proxies(field: str, value: object) -> tuple[str, ...]:
    return tuple(
        check_parsed(field, each, parse_trusted_proxy, TrustedProxyError)
        for each in check_several(field, value, "addresses")
    )


def check_front_controller(root: str, path: str | None, split: str) -> None:
    """
    See that the front controller is a script that is there.

    @raise ConfigError: if not.
    """
    if path is None:
        return
    field = "front_controller"
    try:
        url = parse_front_controller(path, parse_suffix(split))
        document = DocumentRoot(root, split=split, now=float).find(quote(url).encode("ascii"))
    except DocumentNameError as error:
        raise ConfigError(field, path, error.expected) from None
    except NotFoundError as error:
        raise ConfigError(field, path, _FRONT_CONTROLLER, error.reason) from None
    if not isinstance(document, Script):
        raise ConfigError(field, path, _FRONT_CONTROLLER, "it is a directory")


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
    "index": _index,
    "front_controller": _script,
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
    "max_body": check_size,
    "spool_memory": check_size,
    "drain_timeout": check_timeout_or_zero,
    "verbose": check_flag,
}
