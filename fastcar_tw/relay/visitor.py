"""
Who a client is, as far as that is known.
"""

from __future__ import annotations

from typing import NamedTuple

from fastcar_tw.http.target import join_authority
from fastcar_tw.relay.proxy_protocol import ProxyAddresses
from fastcar_tw.wire import Wire


class Visitor(NamedTuple):
    """
    A client, as logs name it.

    @ivar listener: where it came in.
    @ivar peer: address and port of a TCP client.
    @ivar told: what it has said in a PROXY header; None: nothing.
    """

    listener: str
    peer: tuple[str, int] | None = None
    told: ProxyAddresses | None = None

    def __str__(self) -> str:
        source = self.peer
        if self.told is not None and self.told.source is not None:
            source = self.told.source
        return f"client of {self.listener}" if source is None else f"client {_shown(source)}"

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


def _shown(address: tuple[str, int]) -> str:
    return join_authority(*address)
