"""
The front: looks at the first byte of a connection, decides who speaks on it, and steps aside.

A tunnel that a client has opened to us begins with a front of its own.
"""

from __future__ import annotations

from string import ascii_letters, digits
from typing import Any

from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.farewell import Farewell
from fastcar_tw.downstream.http1 import DownstreamConnection
from fastcar_tw.downstream.socks5 import SOCKS5Opening
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.downstream.tls_server import TLSServerLayer
from fastcar_tw.downstream.tunnel_errors import not_http, silent_tunnel
from fastcar_tw.forward.forwarder import Forwarder
from fastcar_tw.http.errors import MessageError
from fastcar_tw.routes.socks5 import VERSION as SOCKS5
from fastcar_tw.wire import Wire

#: The first byte of a TLS connection: a record of type handshake (RFC 8446 section 5.1).
TLS_HANDSHAKE = 0x16
#: The first byte of SOCKS4, and its answer "rejected or failed", without an address.
SOCKS4 = 4
SOCKS4_REJECTED = b"\x00\x5b" + bytes(6)
#: With which a request, or an empty line in front of it, may begin.
_HTTP = frozenset(b"!#$%&'*+-.^_`|~\r\n" + f"{ascii_letters}{digits}".encode())


class Front(Stage):
    """
    The first protocol on every client connection, and in every tunnel.  TLS is terminated here, and
    SOCKS5 answered, which does not begin again in a tunnel; anything else is taken for HTTP/1.x,
    whose parser answers what is neither.
    """

    __slots__ = ("_entrance", "_forwarder", "_granted")

    def __init__(self, forwarder: Forwarder, entrance: Entrance, granted: bytes = b"") -> None:
        """
        @param granted: what tells the client that its tunnel is open.
        """
        super().__init__(forwarder, forwarder.client_deadline())
        self._forwarder = forwarder
        self._entrance = entrance
        self._granted = granted

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        if self._granted:
            transport.write(self._granted)

    def dataReceived(self, data: bytes) -> None:
        if self._wire is None:
            return
        first = data[0]
        if self._entrance.target is not None and first != TLS_HANDSHAKE and first not in _HTTP:
            # There is no use in answering.
            self._forwarder.refused(not_http(self._entrance.target))
            self.abort()
            return
        self.pass_on(self._successor(first), data)

    def readConnectionLost(self) -> None:
        # Inside TLS only: a transport ends altogether, since nothing here says it need not.
        self.abort()

    def _successor(self, first: int) -> Any:
        forwarder, entrance = self._forwarder, self._entrance
        if first == TLS_HANDSHAKE:
            name = entrance.target[0] if entrance.target is not None else ""
            machine = forwarder.server_contexts.server(name)
            return TLSServerLayer(forwarder, entrance, machine, self.deadline)
        if first == SOCKS5 and entrance.target is None:
            return SOCKS5Opening(forwarder, entrance, self.deadline)
        if first == SOCKS4 and entrance.target is None:
            forwarder.refused(MessageError("SOCKS4 is not served, only SOCKS5 (socks5h://)"))
            return Farewell(forwarder, SOCKS4_REJECTED)
        return DownstreamConnection(forwarder, entrance, self.deadline)

    def expired(self) -> None:
        """
        The client has connected and said nothing.
        """
        if self._entrance.target is not None:
            self._forwarder.refused(silent_tunnel(self._entrance.target))
        self.abort()
