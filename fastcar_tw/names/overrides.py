"""
Addresses that the operator gives for a name, like C{curl --resolve}.

They replace the look-up of one name at one port.  Nothing else changes: the name is still what the
certificate is verified for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from fastcar_tw.http.target import ip_literal
from fastcar_tw.tls.names import is_dns_name, normal_host

__all__ = ["Override", "OverrideError", "Overrides", "parse_resolve"]

#: The host that stands for all.
WILDCARD = "*"

_ENTRY = re.compile(r"\+?([^:]+):([0-9]{1,5}):(.+)", re.DOTALL)


class OverrideError(ValueError):
    """
    A text is no override.

    @ivar expected: what would do.
    @ivar reason: where that does not tell, what is wrong.
    """

    expected = "HOST:PORT:ADDRESS[,ADDRESS...], with IP addresses; * for any HOST"

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(
            f"override {text!r}: expected {self.expected}{f' ({reason})' if reason else ''}"
        )
        self.reason = reason


class Override(NamedTuple):
    """
    The addresses of one name at one port.

    @ivar host: in lower case and without a final dot, or L{WILDCARD}.
    @ivar port: 1 to 65535.
    @ivar addresses: IP addresses, one at least, in their shortest form, best first.
    """

    host: str
    port: int
    addresses: tuple[str, ...]


def parse_resolve(text: str) -> Override:
    """
    Read C{HOST:PORT:ADDRESS[,ADDRESS...]}, with IPv6 addresses in brackets or without.

    A leading C{+}, with which curl lets an entry expire, is ignored: here none does.

    @raise OverrideError: it is something else.
    """
    if text.startswith("-"):
        raise OverrideError(text, "there are no built-in overrides to remove")
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise OverrideError(text)
    host = normal_host(match[1])
    if ip_literal(host) is not None:
        raise OverrideError(text, "an address as HOST is never looked up")
    if host != WILDCARD and not is_dns_name(host):
        raise OverrideError(text, "HOST is not a DNS name")
    port = int(match[2])
    if not 0 < port < 65536:
        raise OverrideError(text, "PORT is not from 1 to 65535")
    return Override(host, port, tuple(_address(text, each) for each in match[3].split(",")))


def _address(text: str, given: str) -> str:
    bracketed = given.startswith("[") and given.endswith("]")
    address = ip_literal(given[1:-1] if bracketed else given)
    # A zone (fe80::1%eth0) may hold anything.
    if address is None or "%" in given or (bracketed and address.version == 4):
        raise OverrideError(text, f"{given!r} is not an IP address")
    return str(address)


class Overrides:
    """
    All overrides.  Of several for the same host and port the last counts.
    """

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self._addresses = {(host, port): addresses for host, port, addresses in overrides}

    def find(self, host: str, port: int) -> tuple[str, ...] | None:
        """
        The addresses given for a name, however it is spelt; else those for any name; else None.
        """
        if not self._addresses:
            return None
        exact = self._addresses.get((normal_host(host), port))
        return exact if exact is not None else self._addresses.get((WILDCARD, port))
