"""
Which tunnels carry anything at all, unseen, as the operator has allowed.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.target import parse_authority
from fastcar_tw.tls.names import normal_host


class AllowedTunnelError(ValueError):
    """
    A text does not say which tunnels are allowed.

    @ivar expected: what would do.
    @ivar reason: nothing more.
    """

    expected = "PORT or HOST:PORT, a port from 1 to 65535"
    reason = ""


def parse_allowed_tunnel(text: str) -> tuple[str | None, int]:
    """
    Split C{[HOST:]PORT}.

    @return: the host in its normal form, None: any; and the port.
    @raise AllowedTunnelError: for anything else.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < len(port) < 6 and 0 < int(port) < 65536):
        raise AllowedTunnelError(text)
    if not host:
        if text != port:
            raise AllowedTunnelError(text)
        return None, int(port)
    try:
        name, number = parse_authority(text.encode("ascii", "backslashreplace"), "http")
    except MessageError:
        raise AllowedTunnelError(text) from None
    return normal_host(name), number


class AllowedTunnels:
    """
    The targets of tunnels that are relayed unseen.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """
        @raise AllowedTunnelError: see L{parse_allowed_tunnel}.
        """
        self._allowed = frozenset(map(parse_allowed_tunnel, texts))

    def __contains__(self, target: tuple[str, int]) -> bool:
        if not self._allowed:
            return False
        host, port = target
        return (None, port) in self._allowed or (normal_host(host), port) in self._allowed
