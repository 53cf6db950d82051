"""
Who a client is, as far as that is known.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from fastcar_tw.downstream.peer import peer_credentials
from fastcar_tw.http.target import join_authority
from fastcar_tw.relay.proxy_protocol import ProxyAddresses
from fastcar_tw.wire import Wire


class Visitor(NamedTuple):
    """
    A client, as logs name it.

    @ivar listener: where it came in.
    @ivar peer: address and port of a TCP client.
    @ivar pid: the process of a client that came in by a UNIX socket; 0: not known.
    @ivar told: what it has said in a PROXY header; None: nothing.
    """

    listener: str
    peer: tuple[str, int] | None = None
    told: ProxyAddresses | None = None
    pid: int = 0

    def __str__(self) -> str:
        source = self.peer
        if self.told is not None and self.told.source is not None:
            source = self.told.source
        if source is not None:
            return f"client {join_authority(*source)}"
        return f"client of {self.listener}" + (f" (pid {self.pid})" if self.pid else "")

    def seen(self, wire: Wire) -> Visitor:
        """
        @return: the same, with what the wire tells.
        """
        if self.peer is not None or self.pid:
            return self
        return self._replace(pid=peer_pid(wire.getHandle()))

    def addresses(self, wire: Wire) -> ProxyAddresses:
        """
        What a backend is to know of the client: what that has said itself, or where it came in.
        """
        # A header that tells nothing leaves the connection itself to count.
        if self.told is not None and self.told.source is not None:
            return self.told
        if self.peer is None:
            return ProxyAddresses(None, None)
        try:
            host, port = wire.getHandle().getsockname()[:2]
        except OSError:  # the connection has ended
            return ProxyAddresses(None, None)
        return ProxyAddresses(self.peer, (host, port))


def peer_pid(sock: socket.socket) -> int:
    """
    @return: the process that has connected a UNIX socket; 0: not known.
    """
    credentials = peer_credentials(sock)
    return 0 if credentials is None else credentials.pid
