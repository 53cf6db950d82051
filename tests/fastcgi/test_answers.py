"""Answers that need no script, and what clients are told of failures."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from fastcar_tw.fastcgi.answers import for_client
from fastcar_tw.http.errors import FastcarError, GatewayError
from tests.fastcgi.support import GatewayTestCase, logged
from tests.forward.support import CHUNKED, answer, request

#: A request for what is not there.
NONE = request(b"/none.php")


class AnswerTests(GatewayTestCase):
    """Requests that no script is asked about."""

    def answered(self, asked: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        """Send a request and return what comes, without the date, which is looked at."""
        self.client.send(asked)
        status, fields, body = answer(self.client.take())
        parsedate_to_datetime(fields.pop(b"date").decode("ascii"))
        self.assertEqual(self.gateway.children, [])
        return status, fields, body

    def test_text(self) -> None:
        """A refusal is a short text that names no path, and the connection goes on."""
        expected = (
            404,
            {
                b"content-length": b"19",
                b"content-type": b"text/plain; charset=utf-8",
                b"proxy-status": b"fastcar; error=http_request_error",
            },
            b"fastcar: not found\n",
        )
        for _ in range(2):
            self.assertEqual(self.answered(NONE), expected)
        self.assertFalse(self.client.closed)

    def test_head(self) -> None:
        """A HEAD gets the head that a GET would, and no body (RFC 9110 section 9.3.2)."""
        status, fields, body = self.answered(request(b"/none.php", method=b"HEAD"))
        self.assertEqual((status, fields[b"content-length"], body), (404, b"19", b""))

    def test_all_of_the_server(self) -> None:
        """OPTIONS * is answered for the server itself (RFC 9110 section 9.3.7)."""
        got = self.answered(request(b"*", method=b"OPTIONS"))
        self.assertEqual(got, (200, {b"content-length": b"0"}, b""))

    def test_redirect(self) -> None:
        """A directory without its slash is redirected to, with its query."""
        self.gateway.write("a b/index.php")
        status, fields, body = self.answered(request(b"/a%20b?c=d"))
        self.assertEqual((status, body), (301, b""))
        self.assertEqual(fields, {b"location": b"/a%20b/?c=d", b"content-length": b"0"})

    def test_trace(self) -> None:
        """TRACE would show what the client cannot see of its own request, such as cookies."""
        status, _, body = self.answered(request(b"/index.php", b"Cookie: a=b", method=b"TRACE"))
        self.assertEqual((status, body), (501, b"fastcar: TRACE is not served\n"))

    def test_connect(self) -> None:
        """There are no tunnels here."""
        self.client.send(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")
        got = answer(self.client.take())
        self.assertEqual(got.status, 501)
        self.assertIn(b"no tunnels", got.body)
        self.assertTrue(self.client.ended)

    def test_too_large(self) -> None:
        """A body that is announced too large is refused before any of it has come."""
        self.start(max_body=4)
        asked = b"POST /index.php HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n"
        status, fields, body = self.answered(asked)
        self.assertEqual((status, fields[b"connection"]), (413, b"close"))
        self.assertIn(b"4", body)

    def test_body_that_has_come(self) -> None:
        """After a body that has come with its request the connection goes on."""
        status, fields, _ = self.answered(request(b"/none.php", method=b"POST", body=b"hello"))
        self.assertEqual(status, 404)
        self.assertNotIn(b"connection", fields)
        self.assertEqual(self.answered(NONE)[0], 404)

    def test_body_that_is_still_to_come(self) -> None:
        """The answer does not wait for a body, and then the connection is of no further use."""
        for asked in (
            b"POST /none.php HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhell",
            request(b"/none.php", CHUNKED, method=b"POST", body=b"5\r\nhello\r\n"),
        ):
            self.client = self.gateway.client()
            status, fields, _ = self.answered(asked)
            self.assertEqual((status, fields[b"connection"]), (404, b"close"))
            self.assertTrue(self.client.ended)

    def test_expect(self) -> None:
        """Who asks whether to send a body is told the outcome instead."""
        status, fields, _ = self.answered(
            b"POST /none.php HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        self.assertEqual((status, fields[b"connection"]), (404, b"close"))

    def test_close(self) -> None:
        """A client that wants the connection closed gets that."""
        for asked in (
            request(b"/none.php", b"Connection: close"),
            request(b"/none.php", version=b"1.0"),
        ):
            self.client = self.gateway.client()
            status, fields, _ = self.answered(asked)
            self.assertEqual((status, fields[b"connection"]), (404, b"close"))
            self.assertTrue(self.client.ended)

    def test_pipelined(self) -> None:
        """Requests sent in one piece are answered in order."""
        self.client.send(NONE + request(b"*", method=b"OPTIONS") + NONE)
        answers = self.client.take().split(b"HTTP/1.1 ")
        self.assertEqual([each[:3] for each in answers], [b"", b"404", b"200", b"404"])
        self.assertEqual(self.answered(NONE)[0], 404)

    def test_log(self) -> None:
        """Every exchange is a line of the log if that is wanted, without its query."""
        asked = request(b"/none.php?secret") + request(b"*", method=b"OPTIONS")
        self.assertEqual(logged(lambda: self.client.send(asked)), [])
        self.start(verbose=True)
        lines = logged(lambda: self.client.send(asked))
        self.assertEqual(
            lines, ["GET /none.php: 404 after 0.000 s", "OPTIONS *: 200 after 0.000 s"]
        )

    def test_what_is_logged_is_one_line(self) -> None:
        """Nothing that a client sends can break a line of the log, or make it long."""
        self.start(verbose=True)
        asked = request(b"/\xff\xc2\x85" + b"x" * 1000, method=b"M" * 100)
        [line] = logged(lambda: self.client.send(asked))
        self.assertTrue(line.startswith("M" * 32 + " /\\xff\\xc2\\x85xxx"), line)
        self.assertLess(len(line), 400)


class ForClientTests(GatewayTestCase):
    """What clients are told of failures."""

    def test_nothing_of_the_inside(self) -> None:
        """No text of a gateway's error names a script, a path or a php-fpm."""
        for status in (500, 502, 503, 504, 507):
            error = GatewayError(status, "http_protocol_error", "unix:/run/fpm.sock: secret", 7)
            told = for_client(error)
            self.assertNotIn("secret", told.text)
            self.assertNotIn("/", told.text)
            self.assertEqual(
                (told.status, told.proxy_status, told.retry_after),
                (status, "http_protocol_error", 7),
            )

    def test_errors_of_clients(self) -> None:
        """What a client did wrong itself it is told."""
        for status in (400, 408, 413, 431):
            told = for_client(FastcarError(status, "http_request_error", "expected less"))
            self.assertEqual((told.status, told.text), (status, "expected less"))
