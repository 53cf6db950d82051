"""Through the proxies that people have: what works directly works through them."""

from __future__ import annotations

import atexit
import base64
import functools
import os
import shutil
import tempfile
from queue import Queue
from urllib.parse import quote

from tests.peers.case import Fastcar, PeersTestCase, shared
from tests.peers.certificates import Authority
from tests.peers.clients import Answer, curl, php
from tests.peers.proxies import ProxyProgram, proxies, proxy_url, tls_before
from tests.peers.sockets import Message, Peer, RawOrigin, answering, echo, field_values

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@functools.cache
def fastcar_through(proxy: str) -> Fastcar:
    """A fastcar for all tests of one proxy."""
    folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fastcar = Fastcar(folder, "--trust", shared().authority.file, "--proxy", proxy, "--verbose")
    atexit.register(fastcar.stop)
    return fastcar


@functools.cache
def https_proxy() -> RawOrigin:
    """A tinyproxy behind TLS."""
    proxy = tls_before(proxies().closed_tinyproxy.port, shared().pair)
    atexit.register(proxy.close)
    return proxy


class HTTPProxyTests(PeersTestCase):
    """Through an HTTP proxy."""

    @property
    def proxy(self) -> ProxyProgram:
        return proxies().tinyproxy

    @property
    def proxy_url(self) -> str:
        return self.proxy.url()

    @property
    def fastcar(self) -> Fastcar:
        return fastcar_through(self.proxy_url)

    def asked(self, origin: RawOrigin) -> list[str]:
        """What the proxy was asked for that has to do with an origin."""
        return [each for each in self.proxy.requests() if f":{origin.port}" in each]

    def expected(self, scheme: str, authority: str, target: str = "/") -> str:
        """What it should be asked for."""
        if scheme == "https":
            return f"CONNECT {authority} HTTP/1.1"
        return f"GET http://{authority}{target} HTTP/1.1"

    def setUp(self) -> None:
        super().setUp()
        # Skips the test when there is no such proxy.
        self.addCleanup(self.check_log, self.fastcar)

    def check_log(self, fastcar: Fastcar) -> None:
        """It tells of no bug and, where there is a password, nobody but the proxy learned it."""
        self._assert_no_bug(fastcar)
        password = self.proxy.password
        if password:
            pair = base64.b64encode(f"me:{password}".encode()).decode()
            for secret in (password, quote(password, safe=""), pair):
                self.assertNotIn(secret, fastcar.output)

    def tearDown(self) -> None:
        """Not the shared fastcar's log: no test here has to do with it."""

    def check_request(self, scheme: str) -> None:
        """The proxy is asked for the origin, which gets a request as if there were no proxy."""
        requests: Queue[Message] = Queue()
        origin = self.origin(answering(OK, requests), scheme)
        answer = self.curl(f"{origin.url}a?b=c", "-u", "someone:else")
        self.assertEqual((answer.exit_status, answer.status, answer.body), (0, 200, b"ok"), answer)
        self.assertEqual(self.asked(origin), [self.expected(scheme, origin.authority, "/a?b=c")])
        request = requests.get_nowait()
        self.assertEqual(request.start_line, b"GET /a?b=c HTTP/1.1")
        self.assertEqual(request.values(b"Host"), [origin.authority.encode()])
        self.assertEqual(request.values(b"Authorization"), [b"Basic c29tZW9uZTplbHNl"])
        self.assertEqual(request.values(b"Proxy-Authorization"), [])

    def test_http(self) -> None:
        """An http origin gets the request that the client meant for it."""
        self.check_request("http")

    def test_https(self) -> None:
        """So does an https one."""
        self.check_request("https")

    def test_name(self) -> None:
        """A name reaches the proxy as the scheme of its URL says."""
        origin = self.origin(answering(OK), "https")
        answer = self.curl(f"https://localhost:{origin.port}/")
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        self.assertEqual(self.asked(origin), [self.expected("https", f"localhost:{origin.port}")])

    def test_upload(self) -> None:
        """Large bodies pass both ways, of known and of unknown length."""
        body = os.urandom(300_000)
        for scheme in ("http", "https"):
            origin = self.origin(echo, scheme)
            for option in ("--data-binary", "-T"):
                argument = "@-" if option == "--data-binary" else "-"
                answer = self.curl(origin.url, option, argument, "-H", "Expect:", data=body)
                self.assertEqual((answer.exit_status, answer.status), (0, 200), answer.error)
                self.assertEqual(answer.body, body)

    def test_upgrade(self) -> None:
        """An upgrade is between client and origin, of either scheme: the proxy gives a tunnel."""

        def script(peer: Peer) -> None:
            head = peer.read_head()
            heads.put(head)
            peer.send(SWITCH + b"hello")
            peer.send(peer.read(5)[::-1])
            peer.read_to_end()

        heads: Queue[bytes] = Queue()
        for scheme in ("http", "https"):
            origin = self.origin(script, scheme)
            client = self.dial(self.fastcar)
            client.send(
                b"GET %bchat HTTP/1.1\r\nHost: %b\r\nConnection: upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n" % (origin.url.encode(), origin.authority.encode())
            )
            self.assertEqual(client.read_head(), SWITCH)
            self.assertEqual(client.read(5), b"hello")
            client.send(b"abcde")
            self.assertEqual(client.read(5), b"edcba")
            head = heads.get_nowait()
            self.assertTrue(head.startswith(b"GET /chat HTTP/1.1\r\n"), head)
            self.assertEqual(field_values(head, b"Upgrade"), [b"websocket"])
            self.assertEqual(field_values(head, b"Proxy-Authorization"), [])
            self.assertEqual(self.asked(origin), [self.expected("https", origin.authority)])

    def test_php_processes_share_a_tunnel(self) -> None:
        """PHP processes after each other go through one tunnel to an https origin."""
        origin = self.origin(answering(OK), "https")
        for _ in range(3):
            answer = self.php(origin.url)
            self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        self.assertEqual(self.asked(origin), [self.expected("https", origin.authority)])
        self.assertEqual(origin.accepted, 1)

    def test_php(self) -> None:
        """A kept handle of PHP, for http and https in turn."""
        urls = [self.nginx.url(scheme, "/hello") for scheme in ("http", "https")] * 2
        for answer in php(*map(self.options, urls)):
            self.assertEqual((answer.exit_status, answer.body), (0, b"hello\n"), answer)

    def options(self, url: str) -> dict[str, str]:
        """What a PHP program sets to fetch `url` through fastcar."""
        return {
            "URL": url,
            "UNIX_SOCKET_PATH": self.fastcar.socket,
            "CAINFO": self.fastcar.ca_file,
        }

    def php(self, url: str) -> Answer:
        return php(self.options(url))[0]

    def test_untrusted_origin(self) -> None:
        """Behind the proxy too, no request goes to an origin that has not proven its name."""
        requests: Queue[Message] = Queue()
        pair = Authority(self.folder(), "other").issue("127.0.0.1")
        origin = self.own(RawOrigin(answering(OK, requests), pair.server_context()))
        answer = self.curl(origin.url)
        self.assertEqual((answer.status, answer.proxy_error), (502, "tls_certificate_error"))
        self.assertIn(f"https://{origin.authority}", answer.body.decode())
        origin.close()
        self.assertTrue(requests.empty())

    def test_origin_down(self) -> None:
        """What the proxy cannot reach is 502 for an https origin, with the proxy's word for it."""
        answer = self.curl(f"https://127.0.0.1:{_closed_port()}/")
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)
        self.assertIn(self.refusal, answer.body.decode())

    #: What the proxy says when it cannot connect.
    refusal = "500"


def _closed_port() -> int:
    origin = RawOrigin(echo)
    origin.close()
    return origin.port


class HTTPProxyWithPasswordTests(HTTPProxyTests):
    """Through an HTTP proxy that asks for a password."""

    @property
    def proxy(self) -> ProxyProgram:
        return proxies().closed_tinyproxy


class HTTPSProxyTests(HTTPProxyWithPasswordTests):
    """Through an HTTPS proxy that asks for a password."""

    @property
    def proxy_url(self) -> str:
        return proxy_url("https", https_proxy().port, self.proxy.password)


class SocksTests(HTTPProxyTests):
    """Through a SOCKS5 proxy that is sent names."""

    refusal = "refused"

    @property
    def proxy(self) -> ProxyProgram:
        return proxies().microsocks

    def expected(self, scheme: str, authority: str, target: str = "/") -> str:
        return authority

    def test_kept_connection(self) -> None:
        """A connection to an http origin is kept, too: the proxy has no part in it."""
        origin = self.origin(answering(OK))
        for _ in range(3):
            self.assertEqual(self.php(origin.url).body, b"ok")
        self.assertEqual((self.asked(origin), origin.accepted), ([origin.authority], 1))


class SocksWithPasswordTests(SocksTests):
    """Through a SOCKS5 proxy that is sent names and asks for a password."""

    @property
    def proxy(self) -> ProxyProgram:
        return proxies().closed_microsocks


class SocksWithAddressesTests(SocksTests):
    """Through a SOCKS5 proxy that is sent addresses."""

    @property
    def proxy_url(self) -> str:
        return self.proxy.url("socks5")

    def expected(self, scheme: str, authority: str, target: str = "/") -> str:
        return authority.replace("localhost", "127.0.0.1")


class PrewarmTests(PeersTestCase):
    """--prewarm through a proxy."""

    def test_tunnels(self) -> None:
        """Tunnels are open, TLS done, before the first request; which takes one of them."""
        origin = self.origin(answering(OK), "https")
        proxy = proxies().tinyproxy
        options = ("--proxy", proxy.url(), "--prewarm", f"{origin.url}=2")
        fastcar = self.start_fastcar(*options)
        asked = [f"CONNECT {origin.authority} HTTP/1.1"] * 2
        self.assertEqual([each for each in proxy.requests() if f":{origin.port}" in each], asked)
        answer = curl(fastcar.socket, origin.url, "--cacert", fastcar.ca_file)
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        self.assertEqual(origin.accepted, 2)
