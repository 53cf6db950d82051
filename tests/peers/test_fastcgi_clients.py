"""fastcar fastcgi: what PHP is told of the client, over TLS and behind other proxies."""

from __future__ import annotations

import json
import os
import socket
import ssl

from tests.peers.gateway import GatewayTestCase, request
from tests.peers.sockets import Peer

_NAMES = (
    *("REMOTE_ADDR", "HTTPS", "REQUEST_SCHEME", "SERVER_PORT", "HTTP_X_FORWARDED_FOR"),
    *("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED", "HTTP_X_REAL_IP"),
)
#: What proxies say.
_FORWARDED = (
    "X-Forwarded-For: 192.0.2.7, 198.51.100.1, 127.0.0.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.test",
    "X-Real-IP: 192.0.2.7",
    "Forwarded: for=192.0.2.7;proto=https",
)


class ClientsTestCase(GatewayTestCase):
    """Tests of what PHP is told."""

    def told(self, *fields: str, peer: Peer | None = None) -> dict[str, str]:
        """Those variables that are about the client, without the empty ones."""
        peer = peer or self.dial_site()
        peer.send(request("/variables.php", *fields))
        server = json.loads(peer.read_message().body)["server"]
        return {name: server[name] for name in _NAMES if server.get(name)}

    @property
    def direct(self) -> dict[str, str]:
        """What is told of a client without any proxy."""
        port = str(self.site.gateway.port)
        return {"REMOTE_ADDR": "127.0.0.1", "REQUEST_SCHEME": "http", "SERVER_PORT": port}


class AnyoneTests(ClientsTestCase):
    """Without --trusted-proxy."""

    def test_not_believed(self) -> None:
        """Nobody is believed to be a proxy, and what it says is not passed on."""
        self.assertEqual(self.told(*_FORWARDED), self.direct)


class TrustedProxyTests(ClientsTestCase):
    """With ourselves as --trusted-proxy."""

    options = ("--trusted-proxy", "127.0.0.0/8")

    def test_believed(self) -> None:
        """The client is the last address that is no such proxy; the scheme is the proxy's."""
        told = self.told(*_FORWARDED)
        self.assertEqual(told["REMOTE_ADDR"], "198.51.100.1")
        expected = ("on", "https", "443")
        self.assertEqual(
            (told["HTTPS"], told["REQUEST_SCHEME"], told["SERVER_PORT"]), expected, told
        )
        self.assertEqual(told["HTTP_X_FORWARDED_HOST"], "shop.test")
        self.assertNotIn("192.0.2.7", told["HTTP_X_FORWARDED_FOR"])

    def test_nothing_said(self) -> None:
        """A proxy that says nothing is the client."""
        self.assertEqual(self.told(), self.direct)

    def test_nonsense(self) -> None:
        """What is no address, or no scheme, is ignored."""
        told = self.told("X-Forwarded-For: 192.0.2.1, unknown", "X-Forwarded-Proto: gopher")
        self.assertEqual(told["REMOTE_ADDR"], "127.0.0.1")
        self.assertNotIn("HTTPS", told)

    def test_each_request(self) -> None:
        """Each request on a connection has its own client."""
        peer = self.dial_site()
        for address in ("192.0.2.1", "2001:db8::1"):
            told = self.told(f"X-Forwarded-For: {address}", peer=peer)
            self.assertEqual(told["REMOTE_ADDR"], address)
        self.assertEqual(self.told(peer=peer), self.direct)


class TLSTests(ClientsTestCase):
    """With --cert and --key."""

    def setUp(self) -> None:
        super().setUp()
        pair = self.shared.pair
        self.start_site("--cert", pair.certificate, "--key", pair.key)

    def test_https(self) -> None:
        """Over TLS it is https, which the certificate is verified for; without it is http."""
        context = ssl.create_default_context(cafile=self.shared.authority.file)
        plain = self.dial_site()
        sock = context.wrap_socket(self.dial_site().socket, server_hostname="localhost")
        told = self.told(peer=Peer(sock))
        self.assertEqual((told["HTTPS"], told["REQUEST_SCHEME"]), ("on", "https"))
        self.assertEqual(told["SERVER_PORT"], str(self.site.gateway.port))
        sock.close()
        self.assertEqual(self.told(peer=plain), self.direct)


class UNIXTests(ClientsTestCase):
    """With a UNIX socket as --listen, and whoever reaches that as --trusted-proxy, and others."""

    options = (
        *("--listen", "unix:{folder}/http.sock", "--trusted-proxy", "unix"),
        *("--trusted-proxy", "192.0.2.0/24"),
    )

    def dial_unix(self) -> Peer:
        """A connection to the socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(os.path.join(self.site.folder, "http.sock"))
        self.addCleanup(sock.close)
        return Peer(sock)

    def test_believed(self) -> None:
        """A proxy on this host is believed; a peer that is not named is not, whatever it says."""
        told = self.told(*_FORWARDED, peer=self.dial_unix())
        # 127.0.0.9 is no proxy that is trusted.
        self.assertEqual((told["REMOTE_ADDR"], told["HTTPS"]), ("127.0.0.9", "on"))
        self.assertEqual(self.told(*_FORWARDED, "X-Forwarded-For: 192.0.2.1"), self.direct)

    def test_nothing_said(self) -> None:
        """Without a word about it the client is on this host."""
        self.assertEqual(self.told(peer=self.dial_unix())["REMOTE_ADDR"], "127.0.0.1")
