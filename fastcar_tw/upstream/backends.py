"""
Backends: what an operator has requests served by, as the texts of C{--fpm} and C{--backend} tell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from fastcar_tw.downstream import socketfile
from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.target import join_authority, parse_authority

__all__ = ["Backend", "BackendError", "expected_backend", "parse_backend"]

#: The kinds of backends, and how each is written.
_FORMS = {"unix": "unix:/PATH", "tcp": "tcp:HOST:PORT", "tls": "tls:HOST:PORT"}
#: With a port, for which there is no default.
_HOST_AND_PORT = re.compile(r".+:[0-9]{1,5}")


class BackendError(ValueError):
    """
    A text says of no place where a backend could listen.

    @ivar expected: what would do.
    @ivar reason: where there is one, what else there is to say.
    """

    def __init__(self, expected: str, reason: str = "") -> None:
        super().__init__(f"expected {expected}" + (f" ({reason})" if reason else ""))
        self.expected = expected
        self.reason = reason


class Backend(NamedTuple):
    """
    A backend, and the key under which its connections are pooled.

    @ivar path: of its UNIX socket; empty: it has a TCP port.
    @ivar host: name or address, IPv6 without brackets.
    @ivar port: 1 to 65535.
    @ivar tls: whether TLS is spoken with it.
    """

    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"{'tls' if self.tls else 'tcp'}:{join_authority(self.host, self.port)}"


def expected_backend(kinds: Sequence[str]) -> str:
    """
    @return: how backends of these kinds are written: C{unix:/PATH or tcp:HOST:PORT}.
    """
    forms = [_FORMS[kind] for kind in kinds]
    return " or ".join(filter(None, (", ".join(forms[:-1]), forms[-1])))


def parse_backend(text: str, kinds: Sequence[str] = ("unix", "tcp")) -> Backend:
    """
    Understand C{unix:/run/php/php-fpm.sock}, C{tcp:127.0.0.1:9000} or C{tls:cache.example:6380}.

    @param kinds: those wanted here.
    @raise BackendError: it is none of them.
    """
    kind, _, rest = text.partition(":")
    expected = expected_backend(kinds)
    if kind not in kinds:
        raise BackendError(expected)
    if kind == "unix":
        return _parse_unix(rest)
    if not _HOST_AND_PORT.fullmatch(rest):
        raise BackendError(expected)
    try:
        host, port = parse_authority(rest.encode("ascii", "replace"), "http")
    except MessageError as error:
        raise BackendError(expected, error.text.removeprefix("invalid Host: ")) from None
    return Backend(host=host, port=port, tls=kind == "tls")


def _parse_unix(path: str) -> Backend:
    if not os.path.isabs(path):
        # twistd may change directory before it connects.
        raise BackendError("an absolute path of a socket")
    try:
        socketfile.check_path(path)
    except socketfile.SocketPathError as error:
        raise BackendError("the path of a socket", str(error)) from None
    return Backend(path=os.path.normpath(path))
