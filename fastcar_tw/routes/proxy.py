"""
A proxy as its URL names it: C{[scheme://][user:password@]host[:port]}, read by curl's rules.

Credentials are in L{Proxy.username} and L{Proxy.password} and nowhere else: no text made here, of a
proxy or of an error, holds them.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.grammar import AUTHORITY
from fastcar_tw.http.target import join_authority, parse_authority

#: Port of a proxy whose URL names none, as curl has it.
DEFAULT_PORT = 1080
_DEFAULT_PORTS = {
    "http": DEFAULT_PORT,
    "https": 443,
    "socks5": DEFAULT_PORT,
    "socks5h": DEFAULT_PORT,
}
#: Bytes of a user name or password in SOCKS5 (RFC 1929 section 2).
MAX_SOCKS_CREDENTIAL = 255

_EXPECTED = (
    "[http|https|socks5|socks5h]://[user:password@]host[:port], "
    "with special characters of user and password %-encoded"
)
#: Scheme, user information, authority, the rest.  curl too ends user information at the first @.
_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.\-]*)://)?(?:([^@/?#]*)@)?([^/?#]*)(.*)", re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


_REST = "a path, query or fragment"
#: What curl takes for a SOCKS5 proxy on a UNIX socket is what clients are given to reach a fastcar.
_SOCKET = 'it names a socket, as for clients of a fastcar; unset it here, or use --proxy ""'


class ProxyURLError(ValueError):
    """
    Text that should be a proxy's URL is not.  The message does not quote it: it may hold a
    password.

    @ivar expected: what would do.
    @ivar reason: what is wrong with it.
    """

    def __init__(self, reason: str, source: str = "proxy") -> None:
        """
        @param source: where the text came from.
        """
        super().__init__(f"{source}: expected {_EXPECTED} ({reason})")
        self.expected = _EXPECTED
        self.reason = reason


class Proxy(NamedTuple):
    """
    A proxy and how to authenticate there.

    @ivar scheme: C{"http"}, C{"https"} (TLS to the proxy itself), C{"socks5"} (it is given
        addresses), or C{"socks5h"} (it is given names).
    @ivar host: lower-case name or address; IPv6 addresses without their brackets.
    @ivar port: TCP port, 1 to 65535.
    @ivar username: None when there are no credentials.
    @ivar password: may be empty.
    """

    scheme: str
    host: str
    port: int
    username: bytes | None = None
    password: bytes = b""

    def __str__(self) -> str:
        return f"{self.scheme}://{join_authority(self.host, self.port)}"

    def __repr__(self) -> str:
        return f"<Proxy {self}{'' if self.username is None else ' with credentials'}>"

    @property
    def forwards_http(self) -> bool:
        """
        It takes requests for http origins as they are, and needs no tunnel for them.
        """
        return self.scheme in ("http", "https")


def parse_proxy(text: str, source: str = "proxy") -> Proxy:
    """
    Read a proxy's URL.  Without a scheme it is C{http}; user name and password are percent-decoded;
    IPv6 addresses stand in brackets.

    @param source: where the text came from, for the error.
    @raise ProxyURLError: it is something else.
    """
    match = _URL.fullmatch(text)
    assert match is not None
    scheme, userinfo, authority, rest = match.groups()
    scheme = (scheme or "http").lower()
    if scheme not in _DEFAULT_PORTS:
        raise ProxyURLError("another scheme", source)
    if rest not in ("", "/"):
        raise ProxyURLError(_SOCKET if _names_socket(scheme, authority) else _REST, source)
    host, port = _host_and_port(authority, _DEFAULT_PORTS[scheme], source)
    username, password = _credentials(userinfo or "", scheme, source)
    return Proxy(scheme, host, port, username, password)


def _names_socket(scheme: str, authority: str) -> bool:
    return scheme in ("socks5", "socks5h") and authority.lower() == "localhost"


def _host_and_port(text: str, default_port: int, source: str) -> tuple[str, int]:
    authority = text.encode("ascii", "replace")
    try:
        host, port = parse_authority(authority, "http")
    except MessageError:
        raise ProxyURLError("invalid host or port", source) from None
    match = AUTHORITY.fullmatch(authority)
    assert match is not None
    return host, port if match[2] else default_port


def _credentials(userinfo: str, scheme: str, source: str) -> tuple[bytes | None, bytes]:
    # Bytes in the environment that are no UTF-8 arrive as surrogates.
    username, _, password = (
        unquote_to_bytes(part)
        for part in userinfo.encode("utf-8", "surrogateescape").partition(b":")
    )
    if not username and not password:
        return None, b""
    if _CONTROL.search(username + password):
        raise ProxyURLError("a control character in the user name or password", source)
    if scheme.startswith("socks"):
        if len(username) > MAX_SOCKS_CREDENTIAL or len(password) > MAX_SOCKS_CREDENTIAL:
            raise ProxyURLError(
                f"a user name or password of more than {MAX_SOCKS_CREDENTIAL} bytes", source
            )
    elif b":" in username:
        # RFC 7617 section 2: it would end there.
        raise ProxyURLError("a colon in the user name", source)
    return username, password
