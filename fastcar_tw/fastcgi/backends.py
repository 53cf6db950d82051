"""
Where php-fpm listens: the texts of C{--fpm}.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from fastcar_tw.downstream import socketfile
from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.target import join_authority, parse_authority

_EXPECTED = "unix:/PATH or tcp:HOST:PORT"
#: With a port, for which there is no default.
_TCP = re.compile(r".+:[0-9]{1,5}")


class BackendError(ValueError):
    """
    A text says of no place where php-fpm could listen.

    @ivar expected: what would do.
    @ivar reason: where there is one, what else there is to say.
    """

    def __init__(self, expected: str, reason: str = "") -> None:
        super().__init__(f"--fpm: expected {expected}" + (f" ({reason})" if reason else ""))
        self.expected = expected
        self.reason = reason


class Backend(NamedTuple):
    """
    A php-fpm, and the key under which its connections are pooled.

    @ivar path: of its UNIX socket; empty: it has a TCP port.
    @ivar host: name or address, IPv6 without brackets.
    @ivar port: 1 to 65535.
    """

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"tcp:{join_authority(self.host, self.port)}"


def parse_backend(text: str) -> Backend:
    """
    Understand C{unix:/run/php/php-fpm.sock} or C{tcp:127.0.0.1:9000}.

    @raise BackendError: it is neither.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return _parse_unix(rest)
    match = _TCP.fullmatch(rest) if kind == "tcp" else None
    if match is None:
        raise BackendError(_EXPECTED)
    try:
        host, port = parse_authority(rest.encode("ascii", "replace"), "http")
    except MessageError as error:
        raise BackendError(_EXPECTED, error.text.removeprefix("invalid Host: ")) from None
    return Backend(host=host, port=port)


def _parse_unix(path: str) -> Backend:
    if not os.path.isabs(path):
        # twistd may change directory before it connects.
        raise BackendError("an absolute path of a socket")
    try:
        socketfile.check_path(path)
    except socketfile.SocketPathError as error:
        raise BackendError("the path of a socket", str(error)) from None
    return Backend(path=os.path.normpath(path))
