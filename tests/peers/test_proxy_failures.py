"""When a proxy fails, the client is told which and why, and never its password."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from queue import Queue

from tests.peers.case import Fastcar, PeersTestCase
from tests.peers.certificates import Authority
from tests.peers.clients import Answer, curl
from tests.peers.processes import LIMIT
from tests.peers.proxies import PASSWORD, Tinyproxy, proxies, proxy_url, relay, tls_before
from tests.peers.sockets import Message, Peer, RawOrigin, answering
from tests.peers.test_failures import closed_port, deaf_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class FailureTestCase(PeersTestCase):
    """A fastcar with a proxy of the test's own."""

    def through(self, proxy: str, *options: str) -> Fastcar:
        return self.start_fastcar("--proxy", proxy, *options)

    def fetch(self, fastcar: Fastcar, url: str, *options: str) -> Answer:
        return curl(fastcar.socket, url, "--cacert", fastcar.ca_file, *options)

    def check(self, answer: Answer, error: str, *words: object, status: int = 502) -> None:
        """The response names what failed, in one line."""
        self.assertEqual((answer.exit_status, answer.status), (0, status), answer)
        self.assertEqual(answer.proxy_error, error, answer)
        text = answer.body.decode()
        self.assertEqual(text.count("\n"), 1, text)
        for word in words:
            self.assertIn(str(word), text)


class RefusalTests(FailureTestCase):
    """A proxy that does not want to."""

    def check_password(self, fastcar: Fastcar, password: str, *answers: Answer) -> None:
        for answer in answers:
            self.assertNotIn(password.encode(), answer.head + answer.body)
        self.assertNotIn(password, fastcar.output)

    def test_wrong_password(self) -> None:
        """A wrong password for an HTTP proxy; tinyproxy then answers 401, not 407."""
        proxy = proxies().closed_tinyproxy
        fastcar = self.through(proxy.url(password="Wrong7pass"))
        answer = self.fetch(fastcar, self.nginx.url("https", "/hello"))
        self.check(answer, "http_request_denied", proxy.authority, "401")
        self.check_password(fastcar, "Wrong7pass", answer)

    def test_no_password(self) -> None:
        """No password for an HTTP proxy that wants one: 407, for http and for https origins."""
        proxy = proxies().closed_tinyproxy
        fastcar = self.through(proxy.url(password=""))
        for scheme in ("http", "https"):
            answer = self.fetch(fastcar, self.nginx.url(scheme, "/hello"))
            self.check(answer, "proxy_configuration_error", proxy.authority, "407")
            self.assertEqual(answer.values("Proxy-Authenticate"), [])

    def test_socks_passwords(self) -> None:
        """A wrong password for a SOCKS proxy, or none."""
        proxy = proxies().closed_microsocks
        for password, words in (("Wrong7pass", "not accept"), ("", "wants credentials")):
            fastcar = self.through(proxy.url(password=password))
            answers = [
                self.fetch(fastcar, self.nginx.url(scheme, "/hello"))
                for scheme in ("http", "https")
            ]
            for answer in answers:
                self.check(answer, "proxy_configuration_error", proxy.authority, words)
            self.check_password(fastcar, "Wrong7pass", *answers)

    def test_port_not_allowed(self) -> None:
        """A CONNECT that the proxy refuses."""
        proxy = Tinyproxy(self.folder(), PASSWORD, connect_ports=[443])
        self.addCleanup(proxy.process.stop)
        fastcar = self.through(proxy.url())
        answer = self.fetch(fastcar, self.nginx.url("https", "/hello"))
        self.check(answer, "http_request_denied", proxy.authority, "403")
        self.check_password(fastcar, PASSWORD, answer)
        self.assertEqual(self.fetch(fastcar, self.nginx.url("http", "/hello")).body, b"hello\n")

    def test_socks_replies(self) -> None:
        """What is behind a SOCKS proxy: a closed port, and a name that nobody has."""
        fastcar = self.through(proxies().microsocks.url())
        for scheme in ("http", "https"):
            answer = self.fetch(fastcar, f"{scheme}://127.0.0.1:{closed_port()}/")
            self.check(answer, "connection_refused", proxies().microsocks.authority, "refused")
            answer = self.fetch(fastcar, f"{scheme}://no.invalid/")
            self.check(answer, "destination_unavailable", "no.invalid", "general failure")


class DownTests(FailureTestCase):
    """A proxy that is not there."""

    def test_refused(self) -> None:
        """A refused connection to the proxy names the proxy."""
        for scheme in ("http", "https", "socks5", "socks5h"):
            port = closed_port()
            fastcar = self.through(proxy_url(scheme, port, PASSWORD))
            for origin in ("http", "https"):
                answer = self.fetch(fastcar, self.nginx.url(origin, "/hello"))
                self.check(answer, "connection_refused", f"127.0.0.1:{port}")
            self.assertNotIn(PASSWORD, fastcar.output)

    def test_unknown_name(self) -> None:
        """A proxy whose name nobody knows."""
        fastcar = self.through("http://proxy.invalid:3128")
        self.check(self.fetch(fastcar, "http://127.0.0.1/"), "dns_error", "proxy.invalid:3128")

    def test_deaf(self) -> None:
        """A proxy that takes no connection is 504 after the time for connecting."""
        with deaf_port() as port:
            fastcar = self.through(f"http://127.0.0.1:{port}", "--connect-timeout", "0.2")
            answer = self.fetch(fastcar, "http://127.0.0.1/")
        self.check(answer, "connection_timeout", f"127.0.0.1:{port}", status=504)

    def test_restarted(self) -> None:
        """When it comes back, so do the tunnels."""
        folder = self.folder()
        proxy = Tinyproxy(folder)
        fastcar = self.through(proxy.url())
        url = self.nginx.url("https", "/hello")
        self.assertEqual(self.fetch(fastcar, url).body, b"hello\n")
        proxy.process.stop()
        self.check(self.fetch(fastcar, url), "connection_refused", proxy.authority)
        proxy = Tinyproxy(folder, port=proxy.port)
        self.addCleanup(proxy.process.stop)
        self.assertEqual(self.fetch(fastcar, url).body, b"hello\n")


class CertificateTests(FailureTestCase):
    """TLS to the proxy itself."""

    def check_proxy(self, proxy: RawOrigin, error: str, host: str, *words: str) -> None:
        """The password is not sent to a proxy that has not proven its name."""
        url = f"https://me:{PASSWORD}@{host}:{proxy.port}"
        fastcar = self.through(url)
        for scheme in ("http", "https"):
            answer = self.fetch(fastcar, self.nginx.url(scheme, "/hello"))
            self.check(answer, error, f"{host}:{proxy.port}", *words)
        self.assertNotIn(PASSWORD, fastcar.output)

    def test_unknown_authority(self) -> None:
        """A proxy with a certificate of an unknown CA."""
        pair = Authority(self.folder(), "other").issue("127.0.0.1")
        proxy = self.own(tls_before(proxies().tinyproxy.port, pair))
        self.check_proxy(proxy, "tls_certificate_error", "127.0.0.1", "unknown issuer")

    def test_wrong_name(self) -> None:
        """A proxy with a certificate for another name."""
        pair = self.shared.authority.issue("elsewhere.test")
        proxy = self.own(tls_before(proxies().tinyproxy.port, pair))
        self.check_proxy(proxy, "tls_certificate_error", "localhost", "elsewhere.test")

    def test_not_verified(self) -> None:
        """--insecure-origin is for proxies as well, and for origins behind them."""
        pair = Authority(self.folder(), "other").issue("elsewhere.test")
        proxy = self.own(tls_before(proxies().tinyproxy.port, pair))
        origin = self.own(RawOrigin(answering(OK), pair.server_context()))
        options = ("--insecure-origin", proxy.authority, "--insecure-origin", origin.authority)
        fastcar = self.through(f"https://{proxy.authority}", *options)
        answer = self.fetch(fastcar, origin.url)
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)

    def test_no_tls(self) -> None:
        """A proxy that speaks no TLS."""
        seen: list[bytes] = []

        def script(peer: Peer) -> None:
            seen.append(peer.read(1))
            peer.send(b"HTTP/1.1 400 Plain HTTP\r\nContent-Length: 0\r\n\r\n")

        proxy = self.origin(script)
        self.check_proxy(proxy, "tls_protocol_error", "127.0.0.1")
        self.assertEqual(set(seen), {b"\x16"})


class OddProxyTests(FailureTestCase):
    """Proxies made to test what the real ones do not do."""

    def connect_through(
        self, opening: bytes, *, bytewise: bool = False, options: tuple[str, ...] = ()
    ) -> tuple[Answer, bytes]:
        """Fetch over https through a proxy that answers CONNECT with `opening`.

        Return the answer, and the head of the CONNECT.
        """
        origin = self.origin(answering(OK), "https")
        heads: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            heads.put(peer.read_head())
            step = 1 if bytewise else len(opening)
            peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(opening), step):
                peer.send(opening[start : start + step])
            with socket.create_connection(("127.0.0.1", origin.port)) as inner:
                relay(peer.socket, inner)

        proxy = self.origin(script)
        fastcar = self.through(f"http://me:{PASSWORD}@{proxy.authority}")
        return self.fetch(fastcar, origin.url, *options), heads.get(timeout=LIMIT)

    def test_connect(self) -> None:
        """CONNECT says no more than where to; what the client sends is for the origin alone."""
        options = ("-u", "a:b", "-b", "c=d", "-A", "agent", "-H", "Proxy-Authorization: Basic eA==")
        answer, head = self.connect_through(b"HTTP/1.1 200 OK\r\n\r\n", options=options)
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        lines = head.decode().split("\r\n")
        target = re.fullmatch(r"CONNECT (127\.0\.0\.1:\d+) HTTP/1\.1", lines[0])
        self.assertIsNotNone(target, head)
        assert target is not None
        self.assertIn(f"Host: {target[1]}", lines)
        self.assertIn("Proxy-Authorization: Basic bWU6V2F4LTlfc2VhbA==", lines)
        names = {line.partition(":")[0].lower() for line in lines[1:-2]}
        self.assertLessEqual(names, {"host", "proxy-authorization", "user-agent"})
        self.assertNotIn(b"agent\r\n", head)

    def test_bytewise(self) -> None:
        """The proxy's answer may come byte by byte."""
        opening = b"HTTP/1.0 200 Connection established\r\nProxy-agent: odd\r\n\r\n"
        answer, _ = self.connect_through(opening, bytewise=True)
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)

    def test_length_of_a_tunnel(self) -> None:
        """Content-Length and Transfer-Encoding mean nothing in it (RFC 9110 section 9.3.6)."""
        length, coding = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
        for fields in (length, coding, length + coding, length + b"Content-Length: 6\r\n"):
            answer, _ = self.connect_through(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
            self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)

    def test_any_success(self) -> None:
        """Every 2xx opens the tunnel, and 1xx may come before."""
        opening = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        answer, _ = self.connect_through(opening)
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)

    def check_broken(self, script: Callable[[Peer], None], *schemes: str) -> None:
        """A proxy that does nonsense is 502 for an https origin."""
        proxy = self.origin(script)
        for scheme in schemes:
            fastcar = self.through(proxy_url(scheme, proxy.port, PASSWORD))
            answer = self.fetch(fastcar, self.nginx.url("https", "/hello"))
            self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)
            self.assertIn(proxy.authority, answer.body.decode())
            self.assertNotIn(PASSWORD, fastcar.output + answer.body.decode())

    def test_closing(self) -> None:
        """It closes the connection without a word."""
        self.check_broken(lambda peer: None, "http", "socks5h")

    def test_nonsense(self) -> None:
        """It speaks another protocol."""

        def script(peer: Peer) -> None:
            peer.send(b"220 mail.test ESMTP\r\n\r\n")
            peer.read_to_end()

        self.check_broken(script, "http", "socks5h")

    def test_endless_head(self) -> None:
        """Its head does not end: it is not kept for ever."""

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(b"HTTP/1.1 200 OK\r\n")
            while True:
                peer.send(b"X-Field: " + b"x" * 8000 + b"\r\n")

        self.check_broken(script, "http")

    def test_silent(self) -> None:
        """It takes the connection and says nothing: 504 after the time for connecting."""

        def script(peer: Peer) -> None:
            peer.read_to_end()

        proxy = self.origin(script)
        for scheme in ("http", "https", "socks5h"):
            url = proxy_url(scheme, proxy.port, PASSWORD)
            fastcar = self.through(url, "--connect-timeout", "0.2")
            answer = self.fetch(fastcar, self.nginx.url("https", "/hello"))
            self.check(answer, "connection_timeout", proxy.authority, status=504)

    def test_absolute_form(self) -> None:
        """An http request names the origin in its target; all origins share connections."""
        requests: Queue[Message] = Queue()
        proxy = self.origin(answering(OK, requests))
        fastcar = self.through(f"http://me:{PASSWORD}@{proxy.authority}")
        own = ("-H", "Proxy-Authorization: Basic eA==")
        for host, path in (("example.test", "/a?b=c"), ("other.test:81", "/")):
            answer = self.fetch(fastcar, f"http://{host}{path}", *own)
            self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
            request = requests.get_nowait()
            expected = f"GET http://{host}{path} HTTP/1.1".encode()
            self.assertEqual(request.start_line, expected)
            self.assertEqual(request.values(b"Host"), [host.encode()])
            credentials = request.values(b"Proxy-Authorization")
            self.assertEqual(credentials, [b"Basic bWU6V2F4LTlfc2VhbA=="])
        self.assertEqual(proxy.accepted, 1)

    def test_asterisk(self) -> None:
        """OPTIONS * is asked for without a path (RFC 9112 section 3.2.4)."""
        requests: Queue[Message] = Queue()
        proxy = self.origin(answering(OK, requests))
        fastcar = self.through(f"http://{proxy.authority}")
        options = ("-X", "OPTIONS", "--request-target", "*")
        answer = self.fetch(fastcar, "http://example.test/", *options)
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        start_line = requests.get_nowait().start_line
        self.assertEqual(start_line, b"OPTIONS http://example.test HTTP/1.1")


class StartTests(FailureTestCase):
    """What is no proxy is found at the start, and told without the password."""

    def check_start(self, word: str, *options: str, environ: dict[str, str] | None = None) -> None:
        fastcar = Fastcar(self.folder(), *options, ready=False, environ=environ)
        self.addCleanup(fastcar.stop)
        self.assertEqual(fastcar.wait(), 1, fastcar.output)
        self.assertIn(word, fastcar.output)
        self.assertEqual(fastcar.output.count("\n"), 1, fastcar.output)
        self.assertNotIn(PASSWORD, fastcar.output)

    def test_option(self) -> None:
        """--proxy."""
        for scheme in ("socks4", "ftp"):
            self.check_start("--proxy", "--proxy", f"{scheme}://me:{PASSWORD}@127.0.0.1:1080")

    def test_variable(self) -> None:
        """A variable is named as it was set."""
        value = f"socks4://me:{PASSWORD}@127.0.0.1:1080"
        self.check_start("all_proxy", environ={"all_proxy": value})
