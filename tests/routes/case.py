"""A fastcar in memory whose origins lie behind a proxy, which is played by the test."""

from __future__ import annotations

from typing import Any

from fastcar_tw.config import Config
from fastcar_tw.routes.selection import Routes
from fastcar_tw.routes.socks5 import CONNECT, encode_message
from fastcar_tw.testing import MemoryProxy, Peer
from tests.forward.support import ProxyTestCase

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
NO_AUTH = b"\x05\x00"
SUCCEEDED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


class RoutesTestCase(ProxyTestCase):
    """
    Has a fastcar that reaches all through one proxy, and one client.
    """

    #: The proxy's URL.
    url = "http://p.test:3128"

    def start(self, **options: Any) -> None:
        """Begin anew, with another `url` perhaps."""
        self.url = options.pop("url", self.url)
        self.proxy = MemoryProxy(Config(**options), Routes(self.url, "direct.test", {}))
        self.addCleanup(self.proxy.close)
        self.client = self.proxy.client()

    def open_tunnel(self, *, tls: bool = True) -> Peer:
        """As the proxy, grant what was asked for last; from then on it is the origin."""
        peer = self.origin
        if self.url.startswith("socks"):
            peer.take()
            peer.send(NO_AUTH)
            peer.take()
            peer.send(SUCCEEDED)
        else:
            peer.take()
            peer.send(ESTABLISHED)
        if tls:
            peer.start_tls()
        return peer


def asked(host: str, port: int) -> bytes:
    """The request for a tunnel."""
    return encode_message(CONNECT, host, port)
