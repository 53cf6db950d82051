"""Which requests go over HTTP/2: what --http2 says, what the origin can, and what HTTP/2 cannot."""

from __future__ import annotations

import os

from tests.peers.http2 import HTTP2TestCase, Hypercorn, https, origins
from tests.peers.ntlm import PASSWORD, USER
from tests.peers.openings import run_curl
from tests.peers.proxies import ProxyProgram, proxies, proxy_url, tls_before
from tests.peers.sockets import Peer, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: For origins that say in TLS that HTTP/1.1 is all they speak.
HTTP1_ONLY = {"alpn_protocols": ["http/1.1"]}


class AutoTests(HTTP2TestCase):
    """--http2 auto."""

    def test_http1_only(self) -> None:
        """Origins that do not speak HTTP/2 are spoken to as ever."""
        hypercorn = self.hypercorn(**HTTP1_ONLY)
        for _ in range(3):
            self.assertEqual(self.facts(hypercorn)["version"], "1.1")
        self.assertEqual(len(hypercorn.application.connections), 1)
        for origin in (self.origin(answering(OK), "https"), None):
            port = self.nginx.https_port if origin is None else origin.port
            url = f"http://localhost:{port}/"
            answer = run_curl(url, "--unix-socket", self.fastcar.https_socket)
            self.assertIn(answer.status, (200, 403), answer)

    def test_plain(self) -> None:
        """An http origin is spoken to with HTTP/1.1."""
        plain = origins().plain_hypercorn
        url = f"http://localhost:{plain.port}/facts"
        answer = run_curl(url, "--unix-socket", self.fastcar.socket)
        self.assertIn(b'"version": "1.1"', answer.body)


class OffTests(HTTP2TestCase):
    """--http2 off."""

    def test_off(self) -> None:
        """Nobody is spoken to with HTTP/2."""
        fastcar = self.start_open("--http2", "off")
        hypercorn = self.hypercorn()
        for _ in range(2):
            url = f"http://localhost:{hypercorn.port}/facts"
            answer = run_curl(url, "--unix-socket", fastcar.https_socket)
            self.assertEqual(answer.status, 200, answer)
        self.assertEqual(hypercorn.application.versions, {"1.1"})


class AlwaysTests(HTTP2TestCase):
    """--http2 always."""

    def test_always(self) -> None:
        """An https origin that does not speak HTTP/2 is refused, with the reason; an http origin is
        not."""
        fastcar = self.start_open("--http2", "always")
        for port in (
            self.nginx.https_port,
            self.origin(answering(OK), "https").port,
            self.hypercorn(**HTTP1_ONLY).port,
        ):
            url = f"http://localhost:{port}/"
            answer = run_curl(url, "--unix-socket", fastcar.https_socket)
            self.assertEqual(answer.status, 502, answer)
            self.assertNotEqual(answer.proxy_error, "")
            self.assertRegex(answer.body, b"does not speak HTTP/2")
        url = f"http://localhost:{origins().hypercorn.port}/facts"
        answer = run_curl(url, "--unix-socket", fastcar.https_socket)
        self.assertIn(b'"version": "2"', answer.body)
        url = f"http://localhost:{origins().plain_hypercorn.port}/facts"
        answer = run_curl(url, "--unix-socket", fastcar.socket)
        self.assertIn(b'"version": "1.1"', answer.body)


class HTTP1Tests(HTTP2TestCase):
    """What cannot go over HTTP/2 goes over HTTP/1.1 to the same origin, and nothing else does."""

    def test_ntlm(self) -> None:
        """NTLM authenticates a connection, which nobody else may be on."""
        hypercorn = self.hypercorn()
        credentials = f"{USER}:{PASSWORD}"
        ntlm = ("--no-include", "--ntlm", "-u", credentials, "-d", "a=1")
        self.assertEqual(self.fetch(hypercorn, "/ntlm").status, 401)
        answer = self.fetch(hypercorn, "/ntlm", *ntlm, tls=True)
        self.assertEqual((answer.exit_status, answer.body), (0, b"alice a=1"), answer)
        # CURLAUTH_NTLM
        answer = self.php(hypercorn, "/ntlm", POSTFIELDS="a=1", HTTPAUTH=8, USERPWD=credentials)
        self.assertEqual((answer.exit_status, answer.body), (0, b"alice a=1"), answer)
        self.assertEqual(self.fetch(hypercorn, "/ntlm").status, 401)
        seen = hypercorn.application.seen
        self.assertEqual([each.version for each in seen], ["2"] + ["1.1"] * 4 + ["2"])
        # Nor have the two who authenticated shared a connection.
        self.assertEqual(len({each.connection for each in seen}), 3)

    def test_after_refusal(self) -> None:
        """A client that learns by HTTP/2 that it has to authenticate can do so."""
        hypercorn = self.hypercorn()
        options = ("--no-include", "--anyauth", "-u", f"{USER}:{PASSWORD}")
        answer = self.fetch(hypercorn, "/ntlm", *options)
        self.assertEqual((answer.exit_status, answer.body), (0, b"alice "), answer)
        versions = [each.version for each in hypercorn.application.seen]
        self.assertEqual(versions, ["2", "1.1", "1.1"])

    def test_websocket(self) -> None:
        """Upgrade is of HTTP/1.1."""
        hypercorn = self.hypercorn()
        self.assertEqual(self.fetch(hypercorn, "/hello").status, 200)
        asker = self.ask_for_websocket(hypercorn)
        self.assertEqual(asker.read_message().status, 101)
        for text in (b"hello", b"there"):
            asker.send(_masked(text))
            self.assertEqual(asker.read(2 + len(text)), b"\x81" + bytes([len(text)]) + text)
        asker.close()
        self.assertEqual(self.fetch(hypercorn, "/hello").status, 200)
        versions = [each.version for each in hypercorn.application.seen]
        self.assertEqual(versions, ["2", "1.1", "2"])
        self.assertEqual(len(hypercorn.application.connections), 2)

    def ask_for_websocket(self, hypercorn: Hypercorn) -> Peer:
        peer = self.dial_door(self.fastcar.https_socket)
        head = (
            f"GET /chat HTTP/1.1\r\nHost: localhost:{hypercorn.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        peer.send(head.encode())
        return peer


def _masked(text: bytes) -> bytes:
    """A frame of a short text from a client (RFC 6455 section 5)."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
    return b"\x81" + bytes([0x80 | len(text)]) + mask + masked


class ProxyTests(HTTP2TestCase):
    """Through proxies, which see nothing of it."""

    def check(self, proxy: ProxyProgram, url: str, asked: str) -> None:
        """Many requests to an origin are one tunnel, and HTTP/2 within."""
        fastcar = self.start_open("--http2", "auto", "--proxy", url)
        hypercorn = self.hypercorn()
        target = f"http://localhost:{hypercorn.port}/facts"
        for _ in range(5):
            answer = run_curl(target, "--unix-socket", fastcar.https_socket)
            self.assertEqual(answer.status, 200, answer)
        data = os.urandom(1_000_000)
        target = f"http://localhost:{hypercorn.port}/echo"
        options = ("--unix-socket", fastcar.https_socket, "-T", "-", "-H", "Expect:")
        self.assertEqual(run_curl(target, *options, data=data).body, data)
        self.assertEqual(hypercorn.application.versions, {"2"})
        port = hypercorn.port
        requests = [each for each in proxy.requests() if f":{port}" in each]
        self.assertEqual(requests, [asked.format(port)])

    def test_http(self) -> None:
        """An HTTP proxy."""
        proxy = proxies().tinyproxy
        self.check(proxy, proxy.url(), "CONNECT localhost:{} HTTP/1.1")

    def test_https(self) -> None:
        """An HTTPS proxy that asks for a password."""
        proxy = proxies().closed_tinyproxy
        outer = self.own(tls_before(proxy.port, self.shared.pair))
        url = proxy_url("https", outer.port, proxy.password)
        self.check(proxy, url, "CONNECT localhost:{} HTTP/1.1")

    def test_socks(self) -> None:
        """A SOCKS5 proxy."""
        proxy = proxies().microsocks
        self.check(proxy, proxy.url(), "localhost:{}")


class PrewarmTests(HTTP2TestCase):
    """--prewarm."""

    def test_one(self) -> None:
        """It opens one connection with HTTP/2, which then serves everybody."""
        nghttpd = self.nghttpd()
        fastcar = self.start_open("--http2", "auto", "--prewarm", https(nghttpd))
        fastcar.logs(f"prewarmed https://localhost:{nghttpd.port}: 1 of 1 open")
        nghttpd.process.wait_for("The negotiated protocol: h2")
        url = f"http://localhost:{nghttpd.port}/text"
        for _ in range(3):
            answer = run_curl(url, "--unix-socket", fastcar.https_socket)
            self.assertEqual(answer.status, 200, answer)
        self.assertEqual(nghttpd.connections, 1)
