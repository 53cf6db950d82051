"""
The rules for the values of a L{Config<fastcar_tw.config.Config>}, one check a field, and the error
they raise.

A check takes the field's name and the value given, whatever its type, and returns the value to
keep or raises L{ConfigError}.  All values are judged here, whoever supplies them: the command line
passes on text that it cannot convert, and the check refuses it.  What a file, an origin or a path
must be is known to the module that uses it; the check asks there.
"""

from __future__ import annotations

import grp
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from fastcar_tw.downstream import socketfile
from fastcar_tw.downstream.listeners import Listener, ListenerError, parse_listener
from fastcar_tw.http.grammar import TOKEN
from fastcar_tw.names.overrides import OverrideError, parse_resolve
from fastcar_tw.routes.allowed_tunnels import AllowedTunnelError, parse_allowed_tunnel
from fastcar_tw.routes.proxy import ProxyURLError, parse_proxy
from fastcar_tw.routes.selection import DirectHostsError, check_direct_hosts
from fastcar_tw.tls.server_contexts import CertificateFileError, KeyFileError, ServerContexts
from fastcar_tw.tls.trust import TrustError, check_ca_file, parse_origin
from fastcar_tw.upstream.backends import BackendError, expected_backend, parse_backend
from fastcar_tw.upstream.prewarm import PrewarmError, parse_prewarm

__all__ = [
    "CHECKS",
    "ConfigError",
    "check_cert_and_key",
    "check_listeners",
    "check_places",
    "check_prewarm",
    "option_name",
]

#: Bytes; nothing that anybody sends is larger.
MAX_SIZE = 1 << 50


def option_name(field: str) -> str:
    """
    @return: the command-line option of a field: C{--insecure-origin}.
    """
    singular = "insecure_origin" if field == "insecure_origins" else field
    return "--" + singular.replace("_", "-")


class ConfigError(ValueError):
    """
    A value of the configuration is not usable.  The message is one line.

    @ivar field: the name of the field.
    @ivar value: what it was given.
    @ivar expected: what would do.
    @ivar reason: where there is one, what the system or OpenSSL said about it.
    """

    def __init__(self, field: str, value: object, expected: str, reason: str = "") -> None:
        self.field = field
        self.value = value
        self.expected = expected
        self.reason = reason
        message = f"{option_name(field)}: got {_shown(value)}, expected {expected}"
        # Reasons may repeat what was given, line breaks included.
        super().__init__(f"{message} ({' '.join(reason.split())})" if reason else message)


def _shown(value: object) -> str:
    try:
        return "nothing" if value is None else repr(value)
    except ValueError:
        return "too long a number"


class Hidden:
    """
    Stands in an error for a value that may hold a secret.
    """

    def __repr__(self) -> str:
        return "a value that is not shown here"


def check_path(field: str, value: object, expected: str = "a path") -> str:
    if not isinstance(value, str) or not value or not is_system_text(value):
        raise ConfigError(field, value, expected)
    return os.path.abspath(value)


def is_system_text(text: str) -> bool:
    """
    Whether a text can be given to the system, or to php-fpm.
    """
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # there are halves of surrogate pairs in it
        return False


def _socket_path(field: str, value: object) -> str:
    expected = f"a path of at most {socketfile.MAX_PATH_LENGTH} bytes"
    path = check_path(field, value, expected)
    try:
        socketfile.check_path(path)
    except socketfile.SocketPathError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ConfigError(field, value, expected, reason) from None
    return path


def _optional_socket_path(field: str, value: object) -> str | None:
    return None if value is None else _socket_path(field, value)


def check_directory(field: str, value: object) -> str | None:
    if value is None:
        return None
    path = check_path(field, value, "a directory")
    if os.path.exists(path) and not os.path.isdir(path):
        raise ConfigError(field, value, "a directory", "it is something else")
    return path


def check_optional_file(field: str, value: object) -> str | None:
    if value is None:
        return None
    expected = "a readable PEM file"
    path = check_path(field, value, expected)
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise ConfigError(field, value, expected, error.strerror or "") from None


def check_ca_files(field: str, value: object) -> tuple[str, ...]:
    return tuple(_ca_file(field, each) for each in check_several(field, value, "PEM files"))


def _ca_file(field: str, value: object) -> str:
    path = check_path(field, value, "a readable file of PEM certificates")
    try:
        check_ca_file(path)
    except TrustError as error:
        raise ConfigError(field, value, error.expected, error.reason) from None
    return path


def check_origins(field: str, value: object) -> tuple[str, ...]:
    return tuple(_origin(field, each) for each in check_several(field, value, "origins"))


def _origin(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(field, value, "HOST or HOST:PORT")
    try:
        host, port = parse_origin(value)
    except TrustError as error:
        raise ConfigError(field, value, error.expected) from None
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def check_listen(field: str, value: object) -> tuple[str, ...]:
    several = check_several(field, value, "endpoints")
    return tuple(check_parsed(field, each, parse_listener, ListenerError) for each in several)


def check_backends(field: str, value: object, kinds: Sequence[str]) -> tuple[str, ...]:
    """
    See that there is a backend, and none twice.

    @param kinds: those wanted, see L{parse_backend}.
    """
    parse = partial(parse_backend, kinds=kinds)
    several = check_several(field, value, "endpoints")
    texts = tuple(check_parsed(field, each, parse, BackendError) for each in several)
    if not texts:
        raise ConfigError(field, None, expected_backend(kinds))
    backends = set()
    for text in texts:
        backend = parse(text)
        if backend in backends:
            raise ConfigError(field, text, "each place once")
        backends.add(backend)
    return texts


def _tunnel(field: str, value: object) -> tuple[str, ...]:
    several = check_several(field, value, "ports")
    return tuple(
        check_parsed(field, each, parse_allowed_tunnel, AllowedTunnelError) for each in several
    )


def _prewarm(field: str, value: object) -> tuple[str, ...]:
    return tuple(
        check_parsed(field, each, parse_prewarm, PrewarmError)
        for each in check_several(field, value, "URLs")
    )


def _resolve(field: str, value: object) -> tuple[str, ...]:
    return tuple(
        check_parsed(field, each, parse_resolve, OverrideError)
        for each in check_several(field, value, "texts")
    )


def check_parsed(field: str, value: object, parse: Callable[[str], object], error_type: Any) -> str:
    """
    A text that stays as it is when it can be parsed.

    @param error_type: what C{parse} raises, which has C{expected} and C{reason}.
    """
    if not isinstance(value, str):
        raise ConfigError(field, value, "text")
    try:
        parse(value)
    except error_type as error:
        shown = Hidden() if "@" in value else value  # what is before it may be a password
        raise ConfigError(field, shown, error.expected, error.reason) from None
    return value


def _proxy(field: str, value: object) -> str | None:
    if value is None or value == "":
        return value
    # The value is not shown: it may hold a password.
    if not isinstance(value, str):
        raise ConfigError(field, type(value), "a URL")
    try:
        parse_proxy(value)
    except ProxyURLError as error:
        raise ConfigError(field, Hidden(), error.expected, error.reason) from None
    return value


def _no_proxy(field: str, value: object) -> str | None:
    return (
        None if value is None else check_parsed(field, value, check_direct_hosts, DirectHostsError)
    )


def check_several(field: str, value: object, expected: str) -> Iterable[object]:
    # A lone string would pass as a sequence of its characters.
    if not isinstance(value, (tuple, list)):
        raise ConfigError(field, value, f"a list of {expected}")
    return value


def check_socket_mode(field: str, value: object) -> int:
    expected = "octal permissions from 000 to 777"
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(field, value, expected)
    if not 0 <= value <= 0o777:
        raise ConfigError(field, f"{value:o}", expected)
    return value


def check_group(field: str, value: object) -> str | None:
    if value is None:
        return None
    expected = "the name of an existing group"
    if not isinstance(value, str):
        raise ConfigError(field, value, expected)
    try:
        return grp.getgrnam(value).gr_name
    except (KeyError, ValueError):
        raise ConfigError(field, value, expected) from None


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    # Excludes infinities, NaN and whole numbers that no float can hold.
    return abs(value) <= sys.float_info.max


def check_timeout(field: str, value: Any) -> float:
    if not _is_number(value) or value <= 0:
        raise ConfigError(field, value, "a number of seconds greater than 0")
    return float(value)


def check_timeout_or_zero(field: str, value: Any) -> float:
    if not _is_number(value) or value < 0:
        raise ConfigError(field, value, "a number of seconds, 0 or more")
    return float(value)


def check_count(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(field, value, "a whole number, 0 or more")
    return value


def check_positive(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(field, value, "a whole number, 1 or more")
    return value


def check_size(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
        raise ConfigError(field, value, "a number of bytes, as 65536, 64k, 100M or 1G")
    return value


def _token(field: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(TOKEN, value.encode("ascii", "replace")):
        raise ConfigError(field, value, "a token of RFC 9110: letters, digits and !#$%&'*+-.^_`|~")
    return value


def _http2(field: str, value: object) -> str:
    if not isinstance(value, str) or value not in ("auto", "off", "always"):
        raise ConfigError(field, value, "auto, off or always")
    return value


def check_flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(field, value, "true or false")
    return value


def check_cert_and_key(cert: str | None, key: str | None) -> None:
    """
    See that the pair is complete and that OpenSSL accepts it as a server's.

    @raise ConfigError: if not.
    """
    if cert is None and key is None:
        return
    if key is None:
        raise ConfigError("key", key, "the private key of --cert; the two go together")
    if cert is None:
        raise ConfigError("cert", cert, "the certificate of --key; the two go together")
    try:
        ServerContexts.from_files(cert, key)
    except KeyFileError as error:
        raise ConfigError("key", key, error.expected, error.reason) from None
    except CertificateFileError as error:
        raise ConfigError("cert", cert, error.expected, error.reason) from None


def check_listeners(
    unix: str, https_unix: str | None, listen: Sequence[str], allow_remote: bool
) -> None:
    """
    See that no two listeners are at one place, and none is open to other machines unless that is
    wanted.

    @raise ConfigError: if not.
    """
    if https_unix == unix:
        raise ConfigError("https_unix", https_unix, "another path than --unix has")
    for text in listen:
        if not (allow_remote or parse_listener(text).is_local):
            raise ConfigError(
                "listen",
                text,
                "interface=127.0.0.1, or --allow-remote",
                "other machines could use everything this one can reach",
            )
    check_places(listen, {str(Listener(path)) for path in (unix, https_unix) if path is not None})


def check_places(listen: Sequence[str], others: Collection[str] = ()) -> None:
    """
    See that there is a listener, and no two at one place.

    @param others: listeners besides, as texts of L{Listener}.
    @raise ConfigError: if not.
    """
    taken = set(others)
    for text in listen:
        listener = parse_listener(text)
        place = str(listener)
        any_port = not (listener.path or listener.port)
        if place in taken and not any_port:
            raise ConfigError("listen", text, "a place where nothing else listens")
        taken.add(place)
    if not taken:
        raise ConfigError("listen", None, "an endpoint such as tcp:8080:interface=127.0.0.1")


def check_prewarm(
    prewarm: Iterable[str], max_idle: int, max_per_origin: int, max_connections: int
) -> None:
    """
    See that connections that are to be kept open may be kept.

    @raise ConfigError: if not.
    """
    total = 0
    for text in prewarm:
        count = parse_prewarm(text).connections
        total += count
        for number, limit, option in (
            (count, max_idle, "--max-idle-per-origin"),
            (count, max_per_origin, "--max-connections-per-origin"),
            (total, max_connections, "--max-connections"),
        ):
            if number > limit:
                raise ConfigError("prewarm", text, f"at most {limit} in all, which is {option}")


#: The check of each field.
CHECKS: dict[str, Callable[[str, Any], object]] = {
    "unix": _socket_path,
    "listen": check_listen,
    "allow_remote": check_flag,
    "https_unix": _optional_socket_path,
    "tunnel": _tunnel,
    "cert": check_optional_file,
    "key": check_optional_file,
    "ca_dir": check_directory,
    "trust": check_ca_files,
    "insecure_origins": check_origins,
    "socket_mode": check_socket_mode,
    "socket_group": check_group,
    "connect_timeout": check_timeout,
    "response_timeout": check_timeout,
    "stall_timeout": check_timeout,
    "client_timeout": check_timeout,
    "keepalive_timeout": check_timeout,
    "idle_timeout": check_timeout,
    "max_idle_per_origin": check_count,
    "max_connections_per_origin": check_positive,
    "max_connections": check_positive,
    "max_queue": check_count,
    "queue_timeout": check_timeout,
    "max_age": check_timeout,
    "fail_fast_after": check_count,
    "prewarm": _prewarm,
    "http2": _http2,
    "dns_ttl": check_timeout_or_zero,
    "resolve": _resolve,
    "proxy": _proxy,
    "no_proxy": _no_proxy,
    "drain_timeout": check_timeout_or_zero,
    "via": _token,
    "verbose": check_flag,
}
