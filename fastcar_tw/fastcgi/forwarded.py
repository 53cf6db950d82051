"""
Whom a request came from when there is another proxy in front: X-Forwarded-* of trusted peers.

Anyone can send such fields, so they mean something only if the peer that sent them is named with
C{--trusted-proxy}.  Of all other peers they do not reach the application, see L{tells_of_client}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from fastcar_tw.http.grammar import special_fields

__all__ = [
    "UNIX",
    "Arrival",
    "TrustedProxies",
    "TrustedProxyError",
    "parse_trusted_proxy",
    "tells_of_client",
]

#: Stands for every peer on a UNIX socket.
UNIX = "unix"

#: Proxies that a request may have come through behind the one that is our peer.
MAX_HOPS = 32

#: Where the address of a peer on a UNIX socket is needed: it is on this host.
LOOPBACK = "127.0.0.1"

_FOR = special_fields("x-forwarded-for")
_FIELDS = special_fields("x-forwarded-for", "x-forwarded-port", "x-forwarded-proto")
#: Of X-Forwarded-For; some proxies add the port.
_ENTRY = re.compile(
    rb"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15})(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})"
)
_PORT = re.compile(rb"[0-9]{1,5}")
_DEFAULT_PORTS = {b"http": 80, b"https": 443}


class TrustedProxyError(ValueError):
    """
    A text does not name trusted proxies.

    @ivar expected: what would do.
    @ivar reason: where that does not tell, what is wrong.
    """

    expected = "an IP address, a network such as 10.0.0.0/8, or unix"

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(
            f"trusted proxy {text!r}: expected {self.expected}{f' ({reason})' if reason else ''}"
        )
        self.reason = reason


def parse_trusted_proxy(text: str) -> IPv4Network | IPv6Network | None:
    """
    Read C{ADDR}, C{ADDR/BITS} or C{unix}, which is None.

    @raise TrustedProxyError: it is something else.
    """
    if text == UNIX:
        return None
    address, slash, bits = text.partition("/")
    if "%" in address or (slash and not (bits.isascii() and bits.isdigit())):
        raise TrustedProxyError(text)
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise TrustedProxyError(text) from None
    if network.network_address != ip_address(address):
        raise TrustedProxyError(text, f"its network is {network}")
    if getattr(network.network_address, "ipv4_mapped", None):
        raise TrustedProxyError(text, "IPv4 addresses are known as such")
    return network


def tells_of_client(name: bytes) -> bool:
    """
    Whether a field says something about a client that only a trusted proxy is believed: all
    X-Forwarded-*, X-Real-IP, and Forwarded (RFC 7239), which is passed on but not understood here.

    @param name: in lower case.
    """
    return name.startswith(b"x-forwarded-") or name in (b"forwarded", b"x-real-ip")


class Arrival(NamedTuple):
    """
    Between whom a request was made, as far as the application is concerned.

    @ivar peer: address and port of the client, None for a UNIX socket; the port is 0 if a proxy has
        told the address.
    @ivar local: address and port it connected to, None for a UNIX socket.
    @ivar https: whether it spoke https.
    @ivar fields: the request's field lines for the application.
    """

    peer: tuple[str, int] | None
    local: tuple[str, int] | None
    https: bool
    fields: bytes


class TrustedProxies:
    """
    The peers whose X-Forwarded-* fields are believed.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """
        @param texts: as L{parse_trusted_proxy} reads them.
        @raise TrustedProxyError: one of them is none.
        """
        parsed = [parse_trusted_proxy(text) for text in texts]
        self._unix = None in parsed
        self._networks = [network for network in parsed if network is not None]

    def trusts(self, peer: tuple[str, int] | None) -> bool:
        """
        Whether a peer is one of them.  A peer stays what it is, so asking once a connection will
        do.

        @param peer: address and port, None for a UNIX socket.
        """
        if peer is None:
            return self._unix
        if not self._networks:
            return False
        address = _address(peer[0].partition("%")[0])
        return address is not None and self._trusted(address)

    def arrival(
        self,
        peer: tuple[str, int] | None,
        local: tuple[str, int] | None,
        https: bool,
        fields: bytes,
    ) -> Arrival:
        """
        Understand what a trusted peer says about a request.

        The client is the right-most address of X-Forwarded-For that is not a trusted proxy's.  What
        stands left of it the client may have made up, and applications that look there themselves
        believe it; so the field is passed on with the client's address alone.

        X-Forwarded-Proto is C{http} or C{https}; of several the last counts, which is our peer's.
        It decides the port too, unless X-Forwarded-Port does.  What is invalid is ignored.
        X-Forwarded-Host does not replace Host, which a proxy can pass on itself.

        @param peer: a peer that L{trusts} is true of.
        @param local: address and port of this end.
        @param https: whether the peer spoke https.
        @param fields: the request's field lines.
        """
        found: dict[bytes, list[bytes]] = {}
        for match in _FIELDS.finditer(b"\n" + fields):
            found.setdefault(match[1].lower(), []).append(match[2])
        if b"x-forwarded-for" in found:
            fields = _FOR.sub(b"", b"\n" + fields)[1:]
            client = self._client(b",".join(found[b"x-forwarded-for"]))
            if client is not None:
                peer = (client, 0)
                fields = b"%bX-Forwarded-For: %b\r\n" % (fields, client.encode("ascii"))
        scheme = _last(found.get(b"x-forwarded-proto")).lower()
        port = _port(_last(found.get(b"x-forwarded-port")))
        if scheme in _DEFAULT_PORTS:
            https = scheme == b"https"
            port = port or _DEFAULT_PORTS[scheme]
        if port:
            local = (LOOPBACK if local is None else local[0], port)
        return Arrival(peer, local, https, fields)

    def _client(self, value: bytes) -> str | None:
        """
        The right-most address that is not trusted, else the left-most; None if the right-most entry
        is none.  An entry that is no address ends the search.
        """
        client: IPv4Address | IPv6Address | None = None
        for entry in reversed(value.rsplit(b",", MAX_HOPS)):
            match = _ENTRY.fullmatch(entry.strip(b" \t"))
            address = None if match is None else _address(match[match.lastindex or 0].decode())
            if address is None:
                break
            client = address
            if not self._trusted(address):
                break
        return None if client is None else str(client)

    def _trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


@lru_cache(1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """
    An address, as IPv4 where it is one that IPv6 only carries (RFC 4291 section 2.5.5.2).
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _last(values: list[bytes] | None) -> bytes:
    return values[-1].rpartition(b",")[2].strip(b" \t") if values else b""


def _port(value: bytes) -> int:
    """
    A port, 0 if it is none.
    """
    port = int(value) if _PORT.fullmatch(value) else 0
    return port if port < 65536 else 0
