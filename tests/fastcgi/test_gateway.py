"""What requests become, and what all exchanges share: addresses, variables, dates."""

from __future__ import annotations

import socket
from email.utils import parsedate_to_datetime

from fastcar_tw.fastcgi import gateway
from fastcar_tw.testing import MemoryTransport
from tests.forward.support import CHUNKED, answer, request

from .support import GatewayTestCase, logged


class DispatchTests(GatewayTestCase):
    """Which requests are for scripts."""

    def asked(self, *args: bytes, method: bytes = b"GET") -> tuple[int, dict[bytes, bytes], bytes]:
        """What the client is answered without any script."""
        self.client.send(request(*args, method=method))
        self.assertEqual(self.gateway.attempts, [])
        return answer(self.client.take())

    def test_file(self) -> None:
        """A file is sent, and no php-fpm is asked."""
        status, fields, body = self.asked(b"/file.txt?x")
        self.assertEqual((status, body), (200, b"text"))
        self.assertEqual(fields[b"content-type"], b"text/plain")
        self.alive()

    def test_file_range(self) -> None:
        """A part of it, if that was asked for."""
        status, fields, body = self.asked(b"/file.txt", b"Range: bytes=1-2")
        self.assertEqual((status, body), (206, b"ex"))
        self.assertEqual(fields[b"content-range"], b"bytes 1-2/4")

    def test_file_not_modified(self) -> None:
        """Nothing, if the client has it."""
        _, fields, _ = self.asked(b"/file.txt")
        status, _, body = self.asked(b"/file.txt", b"If-None-Match: " + fields[b"etag"])
        self.assertEqual((status, body), (304, b""))
        self.alive()

    def test_file_head(self) -> None:
        """To HEAD its length is told."""
        status, fields, body = self.asked(b"/file.txt", method=b"HEAD")
        self.assertEqual((status, fields[b"content-length"], body), (200, b"4", b""))
        self.alive()

    def test_file_methods(self) -> None:
        """Other methods are not for files."""
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS"):
            status, fields, _ = self.asked(b"/file.txt", method=method)
            self.assertEqual((status, fields[b"allow"]), (405, b"GET, HEAD"))
        self.alive()

    def test_no_static(self) -> None:
        """Without files there are only scripts."""
        self.start(static=False)
        self.assertEqual(self.asked(b"/file.txt")[0], 404)

    def test_directory(self) -> None:
        """A directory without its slash is redirected there, with its query."""
        self.gateway.write("dir/index.php")
        status, fields, _ = self.asked(b"/dir?a=b")
        self.assertEqual((status, fields[b"location"]), (301, b"/dir/?a=b"))
        self.alive()

    def test_source(self) -> None:
        """The source of a script is never sent, however it is asked for."""
        self.gateway.write("index.php", b"secret")
        for target in (
            b"/index.php/",
            b"/index.php.",
            b"/INDEX.PHP",
            b"/index.php%20",
            b"//index.php",
        ):
            self.client.send(request(target))
            self.assertNotIn(b"secret", self.client.take())

    def test_options(self) -> None:
        """OPTIONS of the server as a whole needs no script."""
        status, fields, body = self.asked(b"*", method=b"OPTIONS")
        self.assertEqual((status, fields[b"content-length"], body), (200, b"0", b""))
        self.alive()

    def test_trace(self) -> None:
        """TRACE would tell scripts in a page what cookies they must not see: it is refused."""
        self.assertEqual(self.asked(b"/", b"Cookie: secret", method=b"TRACE")[0], 501)
        self.alive()

    def test_connect(self) -> None:
        """CONNECT is refused: there are no tunnels here."""
        self.client.send(b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n")
        self.assertEqual(answer(self.client.take()).status, 501)
        self.assertTrue(self.client.ended)
        self.assertEqual(self.gateway.attempts, [])

    def test_body_of_refused(self) -> None:
        """Who is refused with a body still to come is told that the connection ends."""
        for asked in (
            request(b"/none", b"Content-Length: 5", method=b"POST"),
            request(b"/none", CHUNKED, method=b"POST"),
            request(b"/file.txt", b"Content-Length: 5", method=b"POST"),
            request(b"*", b"Content-Length: 5", method=b"OPTIONS"),
        ):
            client = self.gateway.client()
            client.send(asked)
            self.assertEqual(answer(client.take()).fields[b"connection"], b"close")
            client.send(b"hello")
            self.assertEqual(client.take(), b"")

    def test_absolute_form(self) -> None:
        """A target in absolute form is the same, and its authority the Host (RFC 9112 3.2.2)."""
        self.client.send(request(b"http://b.test:81/index.php?q", host=b"a.test"))
        asked = self.child.request.params
        self.assertEqual(asked[b"SCRIPT_NAME"], b"/index.php")
        self.assertEqual(asked[b"HTTP_HOST"], b"b.test:81")
        self.assertEqual(asked[b"SERVER_NAME"], b"b.test")
        self.assertEqual(asked[b"REQUEST_URI"], b"/index.php?q")

    def test_verbose(self) -> None:
        """Answers without a script are logged too if that is wanted."""
        self.start(verbose=True)
        for target, status in ((b"/file.txt?s", 200), (b"/none?s", 404)):
            lines = logged(lambda target=target: self.asked(target))  # type: ignore[misc]
            self.assertEqual(len(lines), 1)
            self.assertIn(str(status), lines[0])
            self.assertNotIn("?", lines[0])


class VariableTests(GatewayTestCase):
    """What scripts are told that is not in the request's head."""

    def told(self, *fields: bytes, address: tuple[str, int] | None) -> dict[bytes, bytes]:
        """The variables of a request of this client."""
        client = self.gateway.client(address)
        client.send(request(b"/", *fields))
        params = self.child.request.params
        self.child.answer()
        return params

    def test_client(self) -> None:
        """The client's address is told; what it says of itself is not believed, nor passed on."""
        params = self.told(
            b"X-Forwarded-For: 192.0.2.1",
            b"X-Forwarded-Proto: https",
            b"Forwarded: for=192.0.2.1",
            address=("198.51.100.9", 1234),
        )
        self.assertEqual(params[b"REMOTE_ADDR"], b"198.51.100.9")
        self.assertEqual(params[b"REMOTE_PORT"], b"1234")
        self.assertEqual(params[b"REQUEST_SCHEME"], b"http")
        for name in (b"HTTPS", b"HTTP_X_FORWARDED_FOR", b"HTTP_FORWARDED"):
            self.assertNotIn(name, params)

    def test_unix(self) -> None:
        """A client of a UNIX socket is on this machine."""
        self.assertEqual(self.told(address=None)[b"REMOTE_ADDR"], b"127.0.0.1")

    def test_local_address(self) -> None:
        """The address of the listener is told, where there is one only."""
        self.gateway.gateway.local_addresses["memory"] = ("192.0.2.80", 8080)
        params = self.told(address=("198.51.100.9", 1234))
        self.assertEqual(params[b"SERVER_ADDR"], b"192.0.2.80")
        self.assertEqual(params[b"SERVER_PORT"], b"8080")
        self.assertEqual(self.told(address=None)[b"SERVER_PORT"], b"80")

    def test_any_address(self) -> None:
        """Where the listener has several, it is the one that the client has come to."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            accepted = socket.create_connection(("127.0.0.1", port)), server.accept()[0]
            for end in accepted:
                self.addCleanup(end.close)
            self.patch(MemoryTransport, "getHandle", lambda _: accepted[1])
            params = self.told(address=("198.51.100.9", 1234))
        self.assertEqual(params[b"SERVER_ADDR"], b"127.0.0.1")
        self.assertEqual(params[b"SERVER_PORT"], b"%d" % port)

    def test_trusted(self) -> None:
        """A trusted proxy is believed, and others are still not."""
        self.start(trusted_proxy=("198.51.100.0/24", "unix"))
        said = (b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https")
        for address in (("198.51.100.9", 1234), None):
            params = self.told(*said, address=address)
            self.assertEqual(params[b"REMOTE_ADDR"], b"192.0.2.1")
            self.assertEqual(params[b"HTTPS"], b"on")
            self.assertEqual(params[b"HTTP_X_FORWARDED_FOR"], b"192.0.2.1")
        params = self.told(*said, address=("203.0.113.9", 1234))
        self.assertEqual(params[b"REMOTE_ADDR"], b"203.0.113.9")
        self.assertNotIn(b"HTTPS", params)

    def test_per_request(self) -> None:
        """What it says holds for one request, not for its connection."""
        self.start(trusted_proxy=("203.0.113.0/24",))
        for address in (b"192.0.2.1", b"192.0.2.2"):
            self.exchange(request(b"/", b"X-Forwarded-For: " + address))
            self.assertEqual(self.child.request.params[b"REMOTE_ADDR"], address)
        self.exchange(request())
        self.assertEqual(self.child.request.params[b"REMOTE_ADDR"], b"203.0.113.5")

    def test_param(self) -> None:
        """What the operator says counts, whatever the request says."""
        self.start(param=("APP_ENV=prod=1", "HTTP_X=mine", "EMPTY=", "SERVER_NAME=x"))
        params = self.told(b"X: yours", address=None)
        self.assertEqual(params[b"APP_ENV"], b"prod=1")
        self.assertEqual(params[b"HTTP_X"], b"mine")
        self.assertEqual(params[b"EMPTY"], b"")
        self.assertEqual(params[b"SERVER_NAME"], b"x")

    def test_never(self) -> None:
        """No request sets what would change php, or what HTTP clients take for theirs."""
        params = self.told(
            b"Proxy: http://b.test",
            b"PHP_VALUE: auto_prepend_file=/x",
            b"PHP-VALUE: x",
            b"Content_Length: 5",
            b"X_Forwarded_For: 192.0.2.1",
            address=None,
        )
        self.assertFalse({b"HTTP_PROXY", b"PHP_VALUE", b"CONTENT_LENGTH"} & params.keys())
        self.assertNotIn(b"HTTP_X_FORWARDED_FOR", params)
        self.assertFalse([name for name in params if name.startswith(b"PHP_")])

    def test_hop_by_hop(self) -> None:
        """What is about the client's connection is not passed on."""
        params = self.told(
            b"Connection: x-a", b"X-A: 1", b"Keep-Alive: 5", b"TE: trailers", address=None
        )
        for name in (b"CONNECTION", b"X_A", b"KEEP_ALIVE", b"TE"):
            self.assertNotIn(b"HTTP_" + name, params)


class DateTests(GatewayTestCase):
    """The Date of responses."""

    def test_moves_on(self) -> None:
        """It is that of the moment, though it is not made anew for each response."""
        self.patch(gateway, "formatdate", lambda usegmt: f"{self.gateway.reactor.seconds():.1f}")
        dates = []
        for _ in range(4):
            dates.append(answer(self.exchange(request())).fields[b"date"])
            self.gateway.elapse(0.25)
        self.assertEqual(dates, [b"0.0", b"0.0", b"0.5", b"0.5"])

    def test_form(self) -> None:
        """It is written as RFC 9110 section 5.6.7 has it."""
        date = answer(self.exchange(request())).fields[b"date"].decode()
        self.assertTrue(date.endswith(" GMT"))
        self.assertIsNotNone(parsedate_to_datetime(date))
