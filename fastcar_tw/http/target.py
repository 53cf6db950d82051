"""
Where a request goes: request-target and Host, judged once (RFC 9112 section 3.2, 3.3).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.grammar import ABSOLUTE_FORM, AUTHORITY

if TYPE_CHECKING:
    from fastcar_tw.routes.proxy import Proxy

DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """
    The server a request is for, and with it the key under which its connections are pooled:
    requests that differ in any of this never share a connection.

    @ivar scheme: C{"http"} or C{"https"}; C{"tcp"} where only bytes are relayed.
    @ivar host: lower-case name or address; IPv6 addresses without their brackets.
    @ivar port: TCP port, 1 to 65535.
    @ivar verified: whether the origin's certificate is verified (the trust policy).
    @ivar route: the proxy it is reached through, None when there is none.
    @ivar tls_name: whom its certificate has to name, where that is not C{host}; else empty.
    @ivar http2: HTTP/2 is offered to it, in the TLS handshake (RFC 9113 section 3.2); https only.
    """

    scheme: str
    host: str
    port: int
    verified: bool = True
    route: Proxy | None = None
    tls_name: str = ""
    http2: bool = False

    def __str__(self) -> str:
        if not self.host:
            return f"proxy {self.route}"
        origin = f"{self.scheme}://{join_authority(self.host, self.port)}"
        if self.tls_name:
            origin += f" as {self.tls_name}"
        return origin if self.route is None else f"{origin} through proxy {self.route}"

    @property
    def next_hop(self) -> Origin:
        """
        Whom a connection for this origin leads to, and the key it is pooled under: the origin
        itself, tunnels included; but an HTTP proxy serves all http origins on the same connections,
        and is told with each request which one is meant (except for upgrades, which take a tunnel).
        It is an origin without host and port.
        """
        if self.route is None or self.scheme != "http" or not self.route.forwards_http:
            return self
        return Origin(self.scheme, "", 0, True, self.route)

    @property
    def over_http1(self) -> Origin:
        """
        The same origin where nothing but HTTP/1.1 will do: other connections, another key.
        """
        return self._replace(http2=False) if self.http2 else self

    @property
    def peer(self) -> tuple[str, int]:
        """
        Host and port that its connections lead to: the proxy's, if there is one.
        """
        return (self.host, self.port) if self.route is None else (self.route.host, self.route.port)


def join_authority(host: str, port: int) -> str:
    """
    C{host:port} of a host without brackets (RFC 3986 section 3.2).
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ip_literal(host: str) -> IPv4Address | IPv6Address | None:
    """
    The address that a host states literally, None for a name.  Scopes (C{fe80::1%eth0}) are not
    understood: anything could stand in them.
    """
    try:
        return ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def parse_authority(authority: bytes, scheme: str) -> tuple[str, int]:
    """
    Split C{host[:port]}; a missing or empty port is the scheme's default.

    @raise MessageError: for anything else; 400 (RFC 9110 section 7.2, RFC 9112 section 3.2).
    """
    match = AUTHORITY.fullmatch(authority)
    if match is None:
        raise MessageError("invalid Host: expected a name or address with an optional port")
    host = match[1].decode("ascii").lower()
    if host[0] == "[":
        host = host[1:-1]
        if not isinstance(ip_literal(host), IPv6Address):
            raise MessageError("invalid Host: expected an IPv6 address between the brackets")
    elif not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        raise MessageError("invalid Host: expected labels of 1 to 63 characters")
    port = int(match[2]) if match[2] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise MessageError("invalid Host: expected a port from 1 to 65535")
    return host, port


def parse_connect_target(target: bytes) -> tuple[str, int]:
    """
    Split the C{host:port} of a CONNECT, where there is no default port.

    @raise MessageError: for anything else; 400 (RFC 9110 section 9.3.6).
    """
    match = AUTHORITY.fullmatch(target)
    if match is None or not match[2]:
        raise MessageError("invalid target of CONNECT: expected host:port")
    return parse_authority(target, "http")


def check_host(host: str) -> str:
    """
    See that a host could stand in an authority; IPv6 addresses have no brackets here.

    @return: it in lower case.
    @raise MessageError: it could not.
    """
    if isinstance(ip_literal(host), IPv6Address):
        return host.lower()
    if ":" in host or "[" in host:
        raise MessageError("invalid host: expected a name or an address")
    return parse_authority(host.encode("ascii", "replace"), "http")[0]


def split_absolute_form(target: bytes) -> tuple[str, bytes, bytes]:
    """
    Split an absolute-form target into scheme, authority and origin-form target; the last is empty
    when the URI has neither path nor query.

    @raise MessageError: when it is not C{http://} or C{https://}, carries user information (RFC
        9110 section 4.2.4), or has a fragment.
    """
    match = ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise MessageError("invalid request target: expected /path, or http://host/path")
    path = match[3]
    if path[:1] == b"?":
        path = b"/" + path
    return match[1].decode("ascii").lower(), match[2], path
