"""The rules for the values of a `Config`, one check a field, and the error they raise.

A check takes the field's name and the value given, whatever its type, and returns the value to
keep or raises `ConfigError`. Every rule about a value stands here, whoever supplies it: the
command line passes on text that it cannot convert, and the check refuses it.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from cryptography import x509
from OpenSSL import SSL

__all__ = ["CHECKS", "ConfigError", "check_cert_and_key", "option_name"]

#: Longest path of a UNIX socket: ``sockaddr_un.sun_path`` without its final NUL, in bytes.
MAX_SOCKET_PATH = 107

# RFC 9110 section 5.6.2: token = 1*tchar.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST_PORT = re.compile(r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")


def option_name(field: str) -> str:
    """Return the command-line option of a `Config` field: ``--insecure-origin``."""
    singular = "insecure_origin" if field == "insecure_origins" else field
    return "--" + singular.replace("_", "-")


class ConfigError(ValueError):
    """A value of the configuration is not usable; the message is one line.

    `field` names the field of `Config`, `value` is what it was given, `expected` says what would
    do, and `reason`, where there is one, what the system or OpenSSL said about it.
    """

    def __init__(self, field: str, value: object, expected: str, reason: str = "") -> None:
        self.field = field
        self.value = value
        self.expected = expected
        self.reason = reason
        given = "nothing" if value is None else repr(value)
        message = f"{option_name(field)}: got {given}, expected {expected}"
        super().__init__(f"{message} ({reason})" if reason else message)


def _path(field: str, value: object, expected: str = "a path") -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(field, value, expected)
    return os.path.abspath(value)


def _socket_path(field: str, value: object) -> str:
    expected = f"a path of at most {MAX_SOCKET_PATH} bytes"
    path = _path(field, value, expected)
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        raise ConfigError(field, value, expected, f"as an absolute path it has {size}")
    return path


def _directory(field: str, value: object) -> str | None:
    if value is None:
        return None
    path = _path(field, value, "a directory")
    if os.path.exists(path) and not os.path.isdir(path):
        raise ConfigError(field, value, "a directory", "it is something else")
    return path


def _optional_file(field: str, value: object) -> str | None:
    return None if value is None else _readable_file(field, value, "a readable PEM file")[0]


def _readable_file(field: str, value: object, expected: str) -> tuple[str, bytes]:
    path = _path(field, value, expected)
    try:
        with open(path, "rb") as file:
            return path, file.read()
    except OSError as error:
        raise ConfigError(field, value, expected, error.strerror or "") from None


def _ca_files(field: str, value: object) -> tuple[str, ...]:
    return tuple(_ca_file(field, each) for each in _several(field, value, "PEM files"))


def _ca_file(field: str, value: object) -> str:
    expected = "a readable file of PEM certificates"
    path, content = _readable_file(field, value, expected)
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigError(field, value, expected, "no valid certificate in it") from None
    return path


def _origins(field: str, value: object) -> tuple[str, ...]:
    return tuple(_origin(field, each) for each in _several(field, value, "origins"))


def _origin(field: str, value: object) -> str:
    expected = "HOST or HOST:PORT, an IPv6 address in brackets"
    match = _HOST_PORT.fullmatch(value.lower()) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(field, value, expected)
    host, port = match["host"], match["port"]
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            raise ConfigError(field, value, expected, "not an IPv6 address") from None
    if port is None:
        return host
    if not 1 <= int(port) <= 65535:
        raise ConfigError(field, value, expected, "ports go from 1 to 65535")
    return f"{host}:{int(port)}"


def _several(field: str, value: object, expected: str) -> Iterable[object]:
    # A lone string would pass as a sequence of its characters.
    if not isinstance(value, (tuple, list)):
        raise ConfigError(field, value, f"a list of {expected}")
    return value


def _socket_mode(field: str, value: object) -> int:
    expected = "octal permissions from 000 to 777"
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(field, value, expected)
    if not 0 <= value <= 0o777:
        raise ConfigError(field, f"{value:o}", expected)
    return value


def _group(field: str, value: object) -> str | None:
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


def _timeout(field: str, value: Any) -> float:
    if not _is_number(value) or value <= 0:
        raise ConfigError(field, value, "a number of seconds greater than 0")
    return float(value)


def _timeout_or_zero(field: str, value: Any) -> float:
    if not _is_number(value) or value < 0:
        raise ConfigError(field, value, "a number of seconds, 0 or more")
    return float(value)


def _count(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(field, value, "a whole number, 0 or more")
    return value


def _token(field: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ConfigError(field, value, "a token of RFC 9110: letters, digits and !#$%&'*+-.^_`|~")
    return value


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(field, value, "true or false")
    return value


def check_cert_and_key(cert: str | None, key: str | None) -> None:
    """See that the pair is complete and that OpenSSL accepts it as a server's."""
    if cert is None and key is None:
        return
    if key is None:
        raise ConfigError("key", key, "the private key of --cert; the two go together")
    if cert is None:
        raise ConfigError("cert", cert, "the certificate of --key; the two go together")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    # Without a callback OpenSSL would ask for a pass phrase on the terminal.
    context.set_passwd_cb(lambda *_: b"")
    try:
        context.use_certificate_chain_file(cert)
    except SSL.Error as error:
        raise ConfigError("cert", cert, "a PEM certificate chain", _openssl(error)) from None
    try:
        context.use_privatekey_file(key)
        context.check_privatekey()
    except SSL.Error as error:
        expected = f"the unencrypted PEM private key of {cert}"
        raise ConfigError("key", key, expected, _openssl(error)) from None


def _openssl(error: SSL.Error) -> str:
    """Return the last reason in an OpenSSL error: pairs of (library, function, reason)."""
    queue = error.args[0] if error.args else None
    return str(queue[-1][-1]) if queue else ""


#: The check of each field of `Config`.
CHECKS: dict[str, Callable[[str, Any], object]] = {
    "unix": _socket_path,
    "cert": _optional_file,
    "key": _optional_file,
    "ca_dir": _directory,
    "trust": _ca_files,
    "insecure_origins": _origins,
    "socket_mode": _socket_mode,
    "socket_group": _group,
    "connect_timeout": _timeout,
    "response_timeout": _timeout,
    "stall_timeout": _timeout,
    "client_timeout": _timeout,
    "keepalive_timeout": _timeout,
    "idle_timeout": _timeout,
    "max_idle_per_origin": _count,
    "drain_timeout": _timeout_or_zero,
    "via": _token,
    "verbose": _flag,
}
