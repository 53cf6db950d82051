"""Requests for scripts, and their responses: whole exchanges."""

from __future__ import annotations

from tests.forward.support import CHUNKED, answer, request

from .support import OK, PAGE, GatewayTestCase, end_request, logged, stderr, stdout


class RequestTests(GatewayTestCase):
    """What a script is told of a request."""

    def test_get(self) -> None:
        """A GET has its variables and an ended, empty STDIN, and its page comes with a length."""
        self.client.send(request(b"/index.php/more?a=b"))
        asked = self.child.request
        self.assertEqual(asked.params[b"REQUEST_METHOD"], b"GET")
        self.assertEqual(asked.params[b"SCRIPT_NAME"], b"/index.php")
        self.assertEqual(asked.params[b"PATH_INFO"], b"/more")
        self.assertEqual(asked.params[b"QUERY_STRING"], b"a=b")
        self.assertEqual(asked.params[b"HTTP_HOST"], b"a.test")
        self.assertNotIn(b"CONTENT_LENGTH", asked.params)
        self.assertEqual((asked.stdin, asked.complete, asked.keep), (b"", True, True))
        self.child.answer(PAGE)
        got = answer(self.client.received)
        self.assertEqual((got.status, got.body), (200, b"hi"))
        self.assertEqual(got.fields[b"content-length"], b"2")
        self.assertEqual(got.fields[b"content-type"], b"text/plain")
        self.assertIn(b"date", got.fields)
        self.assertNotIn(b"connection", got.fields)

    def test_head(self) -> None:
        """A HEAD is told as such, and no body reaches its client, whatever the script writes."""
        got = self.exchange(request(method=b"HEAD"))
        self.assertEqual(self.child.request.params[b"REQUEST_METHOD"], b"HEAD")
        self.assertEqual(answer(got).body, b"")
        self.alive()

    def test_other_methods(self) -> None:
        """Methods that this knows nothing of reach the script too."""
        for method in (b"DELETE", b"OPTIONS", b"PROPFIND", b"PURGE"):
            self.assertEqual(answer(self.exchange(request(method=method))).status, 200)
            self.assertEqual(self.child.request.params[b"REQUEST_METHOD"], method)

    def test_empty_body(self) -> None:
        """A POST that says that it has no body is told to have none."""
        self.client.send(request(b"/", b"Content-Length: 0", method=b"POST"))
        self.assertEqual(self.child.request.params[b"CONTENT_LENGTH"], b"0")
        self.assertTrue(self.child.request.complete)

    def test_large_variables(self) -> None:
        """All variables that fit into a record each reach the script."""
        field = b"X: " + b"x" * 60000
        self.client.send(request(b"/", field))
        self.assertEqual(self.child.request.params[b"HTTP_X"], field[3:])

    def test_no_host(self) -> None:
        """HTTP/1.1 without Host is refused (RFC 9112 section 3.2), and no script is run."""
        self.client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(answer(self.client.received).status, 400)
        self.assertEqual(self.gateway.children, [])

    def test_bad_host(self) -> None:
        """A Host that is no authority is refused."""
        self.client.send(request(host=b"a b"))
        self.assertEqual(answer(self.client.received).status, 400)
        self.assertEqual(self.gateway.children, [])


class ClientConnectionTests(GatewayTestCase):
    """What becomes of a client's connection."""

    def test_kept(self) -> None:
        """It serves one request after another, all by the same connection to php-fpm."""
        for number in range(3):
            target = b"/index.php/%d" % number
            self.assertEqual(answer(self.exchange(request(target))).body, b"hi")
            self.assertEqual(self.child.request.params[b"PATH_INFO"], b"/%d" % number)
        self.assertEqual(len(self.gateway.children), 1)
        self.assertEqual(len(self.child.requests), 3)

    def test_close_asked(self) -> None:
        """It ends after the response if the client wants that, and says so."""
        got = self.exchange(request(b"/", b"Connection: close"))
        self.assertEqual(answer(got).fields[b"connection"], b"close")
        self.assertTrue(self.client.ended_cleanly)

    def test_close_of_script(self) -> None:
        """What a script says about a connection is not about this one."""
        got = self.exchange(request(), b"Connection: close, X-A\r\nX-A: 1\r\n" + OK)
        self.assertNotIn(b"connection", answer(got).fields)
        self.assertNotIn(b"x-a", answer(got).fields)
        self.alive()

    def test_pipelined(self) -> None:
        """Pipelined requests are served one by one, in their order."""
        self.start(connections=1)
        self.client.send(b"".join(request(b"/index.php/%d" % number) for number in range(3)))
        for number in range(3):
            self.assertEqual(len(self.child.requests), number + 1)
            self.assertEqual(self.child.request.params[b"PATH_INFO"], b"/%d" % number)
            self.child.answer(b"A: b\r\n\r\n%d" % number)
            self.assertTrue(self.client.take().endswith(b"\r\n\r\n%d" % number))

    def test_pipelined_after_body(self) -> None:
        """What follows a body is the next request."""
        self.start(connections=1)
        body = request(b"/", CHUNKED, method=b"POST", body=b"2\r\nab\r\n0\r\n\r\n")
        self.client.send(request(method=b"PUT", body=b"hello") + body + request(b"/?3"))
        self.assertEqual(self.child.request.stdin, b"hello")
        self.child.answer()
        self.assertEqual(self.child.request.stdin, b"ab")
        self.child.answer()
        self.assertEqual(self.child.request.params[b"QUERY_STRING"], b"3")

    def test_tls(self) -> None:
        """Inside TLS it is the same, and the script is told."""
        client = self.gateway.client(tls=True)
        client.send(request())
        self.assertEqual(self.child.request.params[b"HTTPS"], b"on")
        self.assertEqual(self.child.request.params[b"REQUEST_SCHEME"], b"https")
        self.child.answer()
        self.assertEqual(answer(client.take()).body, b"hi")
        self.alive(client)

    def test_drained(self) -> None:
        """At a stop an exchange goes on to its end, and its client is told of the close."""
        self.warm()
        idle, self.client = self.client, self.gateway.client()
        self.client.send(request())
        drained = self.gateway.gateway.drain()
        self.gateway.reactor.settle()
        self.assertTrue(idle.ended_cleanly)
        self.assertNoResult(drained)
        self.child.answer()
        self.assertEqual(answer(self.client.received).fields[b"connection"], b"close")
        self.assertTrue(self.client.ended_cleanly)
        self.successResultOf(drained)

    def test_drained_while_collecting(self) -> None:
        """So does one whose body is still to come, and one that waits for a connection."""
        self.start(connections=1)
        waiting = self.gateway.client()
        self.client.send(request(b"/", b"Content-Length: 2", method=b"PUT") + b"x")
        waiting.send(request())
        drained = self.gateway.gateway.drain()
        self.client.send(b"y")
        self.assertEqual(self.child.request.stdin, b"xy")
        self.child.answer()
        self.assertEqual(answer(self.client.received).status, 200)
        self.child.answer()
        self.assertEqual(answer(waiting.received).status, 200)
        self.gateway.reactor.settle()
        self.successResultOf(drained)

    def test_drained_while_responding(self) -> None:
        """After a head that promised more the connection ends nevertheless."""
        self.client.send(request())
        self.child.stdout(PAGE)
        self.gateway.gateway.drain()
        self.child.end_request()
        self.assertTrue(self.client.received.endswith(b"0\r\n\r\n"))
        self.assertTrue(self.client.ended_cleanly)


class HTTP10Tests(GatewayTestCase):
    """Clients of HTTP/1.0."""

    def test_whole(self) -> None:
        """A response is never chunked, and the connection ends after it."""
        got = self.exchange(request(version=b"1.0"))
        self.assertEqual(answer(got).body, b"hi")
        self.assertEqual(answer(got).fields[b"content-length"], b"2")
        self.assertEqual(self.child.request.params[b"SERVER_PROTOCOL"], b"HTTP/1.0")
        self.assertTrue(self.client.ended_cleanly)

    def test_streamed(self) -> None:
        """One that comes in pieces ends with the connection."""
        self.client.send(request(version=b"1.0"))
        self.child.stdout(PAGE)
        self.child.stdout(b" there")
        self.assertFalse(self.client.ended)
        self.child.end_request()
        got = answer(self.client.received)
        self.assertEqual(got.body, b"hi there")
        self.assertNotIn(b"transfer-encoding", got.fields)
        self.assertNotIn(b"content-length", got.fields)
        self.assertEqual(got.fields[b"connection"], b"close")
        self.assertTrue(self.client.ended_cleanly)

    def test_no_host(self) -> None:
        """One that does not say whom it asks is served."""
        self.client.send(b"GET / HTTP/1.0\r\n\r\n")
        asked = self.child.request
        self.assertNotIn(b"HTTP_HOST", asked.params)
        self.assertEqual(asked.params[b"SERVER_NAME"], b"localhost")
        self.child.answer()
        self.assertEqual(answer(self.client.received).status, 200)

    def test_broken_off(self) -> None:
        """A response that breaks off before its end is not ended as a whole one would be."""
        self.client.send(request(version=b"1.0"))
        self.child.stdout(PAGE)
        self.child.close()
        self.assertTrue(self.client.aborted)


class ResponseTests(GatewayTestCase):
    """How a response is passed on."""

    def test_streamed(self) -> None:
        """What has come is sent at once: first the head, then each piece."""
        self.client.send(request())
        self.child.stdout(b"A: b\r\n")
        self.assertEqual(self.client.take(), b"")
        self.child.stdout(b"\r\n")
        head = self.client.take()
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\nA: b\r\nDate: "))
        self.assertTrue(head.endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n"))
        self.child.stdout(b"one")
        self.assertEqual(self.client.take(), b"3\r\none\r\n")
        self.child.send(stdout(b"two") + stdout(b"three"))
        self.assertEqual(self.client.take(), b"8\r\ntwothree\r\n")
        self.child.end_request()
        self.assertEqual(self.client.take(), b"0\r\n\r\n")
        self.alive()

    def test_one_write(self) -> None:
        """What comes together leaves together: one write for a whole response."""
        self.client.send(request())
        before = len(self.client.transport.writes)
        self.child.send(stdout(b"A: b\r\n\r\n") + stderr(b"x") + stdout(b"one") + end_request())
        self.assertEqual(len(self.client.transport.writes), before + 1)
        self.assertEqual(answer(self.client.take()).fields[b"content-length"], b"3")

    def test_status(self) -> None:
        """A script's status and reason are the response's."""
        got = self.exchange(request(), b"X: y\r\nStatus: 404 Gone Fishing\r\n\r\nno")
        self.assertTrue(got.startswith(b"HTTP/1.1 404 Gone Fishing\r\nX: y\r\n"))

    def test_own_date(self) -> None:
        """A script's own Date is the only one."""
        got = self.exchange(request(), b"Date: some day\r\n\r\n")
        self.assertEqual(answer(got).fields[b"date"], b"some day")

    def test_bodiless(self) -> None:
        """204 and 304 end with their head, in one piece and in two."""
        for status in (b"204 No Content", b"304 Not Modified"):
            for together in (True, False):
                self.client.send(request())
                self.child.send(stdout(b"Status: %b\r\n\r\n" % status))
                if together:
                    self.child.stdout(b"nothing of this")
                self.child.end_request()
                got = self.client.take()
                self.assertTrue(got.startswith(b"HTTP/1.1 %b\r\n" % status))
                self.assertTrue(got.endswith(b"\r\n\r\n"))
                self.assertNotIn(b"transfer-encoding", got.lower())
                self.alive()

    def test_too_long(self) -> None:
        """A body longer than it says is cut, logged, and the connection still serves."""
        self.client.send(request())
        lines = logged(lambda: self.child.answer(b"Content-Length: 2\r\n\r\nhi!!"))
        self.assertEqual(answer(self.client.take()).body, b"hi")
        self.assertEqual(len(lines), 1)
        self.assertIn("longer than it says", lines[0])
        self.alive()

    def test_too_short(self) -> None:
        """A body shorter than it says is broken off, so that nobody takes it for a whole one."""
        self.client.send(request())
        self.child.stdout(b"Content-Length: 3\r\n\r\nhi")
        self.assertTrue(self.client.take().endswith(b"hi"))
        self.child.end_request()
        self.assertTrue(self.client.aborted)

    def test_too_short_at_once(self) -> None:
        """If nothing of it has been sent yet, it is 502."""
        got = answer(self.exchange(request(), b"Content-Length: 3\r\n\r\nhi"))
        self.assertEqual(got.status, 502)
        self.alive()

    def test_stderr(self) -> None:
        """What a script complains of is logged, and never sent to the client."""
        self.client.send(request())
        lines = logged(
            lambda: self.child.send(
                stderr(b"PHP Warning: /srv/secret\r\nmore\x1b[31m\n\n")
                + stdout(PAGE)
                + end_request()
            )
        )
        self.assertEqual(
            lines,
            [
                "/index.php: stderr: PHP Warning: /srv/secret",
                "/index.php: stderr: more [31m",
            ],
        )
        self.assertEqual(answer(self.client.take()).body, b"hi")
        self.assertNotIn(b"secret", self.client.take())

    def test_stderr_limits(self) -> None:
        """Of one request 50 lines are logged, and 2000 characters of each; of the next, again."""
        long = b"x" * 3000 + b"\n"
        for _ in range(2):
            self.client.send(request())
            lines = logged(lambda: self.child.send(stderr(long * 30) + stderr(long * 30)))
            self.assertEqual(len(lines), 51)
            self.assertTrue(lines[0].endswith(": stderr: " + "x" * 2000))
            self.assertIn("no more", lines[50])
            self.assertEqual(logged(lambda: self.child.stderr(b"again\n")), [])
            self.child.answer()

    def test_verbose(self) -> None:
        """Every exchange is logged if that is wanted, without its query."""
        self.assertEqual(logged(lambda: self.exchange(request(b"/?secret"))), [])
        self.start(verbose=True)
        (line,) = logged(lambda: self.exchange(request(b"/?secret")))
        self.assertEqual(line, "GET /: 200 after 0.000 s")
