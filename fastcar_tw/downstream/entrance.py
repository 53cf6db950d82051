"""
How a client has come in: through which listener, tunnel and TLS.
"""

from __future__ import annotations

from typing import NamedTuple


class Entrance(NamedTuple):
    """
    All that is known of a client connection when its HTTP begins.  Each opening that a client goes
    through (TLS, CONNECT, SOCKS5) makes a further one.

    @ivar listener: where it was accepted, as C{unix:/tmp/fastcar.sock}.
    @ivar secure: what comes here in plain HTTP is for https origins.
    @ivar opening: the first opening; empty: none but plain HTTP so far.
    @ivar target: host and port that the innermost tunnel leads to; None outside of tunnels.
    @ivar tls_version: as OpenSSL names it, C{TLSv1.3}; empty: no TLS, or none inside the tunnel.
    @ivar server_name: the name that TLS asked for (SNI); empty: none.
    @ivar peer: address and port of a TCP client, where the service wants to know.
    """

    listener: str
    secure: bool = False
    opening: str = ""
    target: tuple[str, int] | None = None
    tls_version: str = ""
    server_name: str = ""
    peer: tuple[str, int] | None = None

    @property
    def scheme(self) -> str:
        """
        What requests that name none are for.
        """
        return "https" if self.secure or self.tls_version else "http"

    def inside_tls(self, version: str, server_name: str) -> Entrance:
        """
        After a TLS handshake.
        """
        opening = self.opening or "tls"
        # _replace would take three times as long.
        return Entrance(
            self.listener, self.secure, opening, self.target, version, server_name, self.peer
        )

    def inside_tunnel(self, opening: str, host: str, port: int) -> Entrance:
        """
        After CONNECT or SOCKS5, which may have come through TLS themselves.
        """
        return Entrance(self.listener, self.secure, self.opening or opening, (host, port))
