"""Request bodies: collected before a script begins, or streamed to it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fastcar_tw.fastcgi import request_body
from tests.forward.support import CHUNKED, answer, request

from .support import PAGE, GatewayTestCase, MemoryGateway, logged
from .test_request_body import FullDisk, FullLater

EXPECT = b"Expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def upload(method: bytes, length: int, *fields: bytes, version: bytes = b"1.1") -> bytes:
    """The head of a request whose body is still to come."""
    lines = (b"Content-Length: %d" % length, *fields)
    return request(b"/", *lines, method=method, version=version)


class ChunkedTests(GatewayTestCase):
    """Bodies of unknown length, which php-fpm could not read."""

    def test_collected(self) -> None:
        """The script begins when all has come, and is told the exact length."""
        for method in (b"POST", b"PUT", b"GET"):
            self.client.send(request(b"/", CHUNKED, method=method))
            before = len(self.gateway.children[0].requests) if self.gateway.children else 0
            self.client.send(b"5\r\nhello\r\n1;x=y\r\n \r\n")
            self.client.send(b"5\r\nthere\r\n0\r\n")
            self.assertEqual(len(self.gateway.attempts), min(1, before))
            self.client.send(b"T: 1\r\n\r\n")
            asked = self.child.request
            self.assertEqual(len(self.child.requests), before + 1)
            self.assertEqual(asked.params[b"CONTENT_LENGTH"], b"11")
            self.assertNotIn(b"HTTP_TRANSFER_ENCODING", asked.params)
            self.assertNotIn(b"HTTP_T", asked.params)
            self.assertEqual((asked.stdin, asked.complete), (b"hello there", True))
            self.child.answer(PAGE)
            self.assertEqual(answer(self.client.take()).status, 200)

    def test_whole(self) -> None:
        """So it is when head and body come together."""
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=b"1\r\nx\r\n0\r\n\r\n"))
        self.assertEqual(self.child.request.stdin, b"x")
        self.assertEqual(self.child.request.params[b"CONTENT_LENGTH"], b"1")

    def test_empty(self) -> None:
        """One of no bytes has the length 0."""
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=b"0\r\n\r\n"))
        self.assertEqual(self.child.request.params[b"CONTENT_LENGTH"], b"0")
        self.assertTrue(self.child.request.complete)

    def test_large(self) -> None:
        """What exceeds the memory for it goes through a file, and is the same."""
        self.start(spool_memory=1000)
        content = bytes(range(256)) * 1024
        self.client.send(request(b"/", CHUNKED, method=b"POST"))
        for at in range(0, len(content), 10000):
            piece = content[at : at + 10000]
            self.client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.client.send(b"0\r\n\r\n")
        self.assertEqual(self.child.request.params[b"CONTENT_LENGTH"], b"%d" % len(content))
        self.assertEqual(self.child.request.stdin, content)
        self.assertTrue(self.child.request.complete)

    def test_too_large(self) -> None:
        """One that becomes too large is 413 at once, and no script is run."""
        self.start(max_body=10)
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=b"a\r\n0123456789\r\n"))
        self.assertEqual(self.client.received, b"")
        self.client.send(b"1\r\nx\r\n")
        got = answer(self.client.received)
        self.assertEqual((got.status, got.fields[b"connection"]), (413, b"close"))
        self.assertIn(b"10 bytes", got.body)
        self.client.send(b"1\r\nx\r\n0\r\n\r\n" + request())
        self.assertEqual(self.gateway.attempts, [])
        self.assertEqual(self.client.received.count(b"HTTP/1.1"), 1)

    def test_too_large_at_once(self) -> None:
        """One that came whole with its head is 413 too."""
        self.start(max_body=10)
        body = b"b\r\n0123456789a\r\n0\r\n\r\n"
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=body))
        self.assertEqual(answer(self.client.received).status, 413)
        self.assertEqual(self.gateway.attempts, [])

    def test_too_large_leaves(self) -> None:
        """After a 413 within the last piece of a body the end of the client is noticed."""
        self.start(max_body=10)
        self.client.send(request(b"/", CHUNKED, method=b"POST"))
        self.client.send(b"b\r\n0123456789a\r\n0\r\n\r\n")
        self.assertEqual(answer(self.client.received).status, 413)
        self.assertEqual(self.gateway.attempts, [])
        self.client.send(b"y" * 100_000)
        self.assertFalse(self.client.transport.paused)
        self.client.close()
        self.assertEqual(self.gateway.gateway.clients, set())

    def test_disk_full(self) -> None:
        """A body that cannot be stored is 507, whenever that is noticed, and no script is run."""
        for file in (FullDisk, FullLater):
            self.start()
            self.patch(request_body, "SpooledTemporaryFile", file)
            self.client.send(request(b"/", CHUNKED, method=b"POST"))
            lines = logged(lambda: self.client.send(b"5\r\nhello\r\n0\r\n\r\n"))
            got = answer(self.client.take())
            self.assertEqual(got.status, 507)
            self.assertNotIn(b"secret", got.body)
            self.assertEqual(len(lines), 1)
            self.assertIn("No space left", lines[0])
            self.assertEqual(self.gateway.attempts, [])
            self.client.close()
            self.assertEqual(self.gateway.gateway.clients, set())

    def test_malformed(self) -> None:
        """A body that is no chunked one is 400, and no script is run."""
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=b"1\r\nxx"))
        self.assertEqual(answer(self.client.received).status, 400)
        self.assertTrue(self.client.ended)
        self.assertEqual(self.gateway.attempts, [])

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=30), max_size=8), st.integers(1, 40))
    def test_any(self, chunks: list[bytes], size: int) -> None:
        """However it is divided, the script has the same bytes and their exact number."""
        gateway = MemoryGateway(spool_memory=20)
        client = gateway.client()
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        data = request(b"/", CHUNKED, method=b"PUT", body=body)
        for at in range(0, len(data), size):
            self.assertEqual(gateway.children, [])
            client.send(data[at : at + size])
        asked = gateway.children[0].request
        self.assertEqual(asked.stdin, b"".join(chunks))
        self.assertEqual(asked.params[b"CONTENT_LENGTH"], b"%d" % len(asked.stdin))
        self.assertTrue(asked.complete)
        gateway.close()


class PostTests(GatewayTestCase):
    """Forms, which php-fpm reads to their end before the script begins."""

    def test_collected(self) -> None:
        """A slow client holds no child: the script begins when all has come."""
        self.client.send(upload(b"POST", 5) + b"he")
        self.client.send(b"ll")
        self.assertEqual(self.gateway.attempts, [])
        self.client.send(b"o")
        asked = self.child.request
        self.assertEqual(asked.params[b"CONTENT_LENGTH"], b"5")
        self.assertEqual((asked.stdin, asked.complete), (b"hello", True))
        self.assertEqual(answer(self.exchange_rest()).status, 200)

    def exchange_rest(self) -> bytes:
        """Answer the request that is there."""
        self.child.answer(PAGE)
        return self.client.take()

    def test_whole(self) -> None:
        """One that comes in one piece leaves in one write, the next one begun ahead."""
        self.warm()
        before = len(self.child.transport.writes)
        self.client.send(request(method=b"POST", body=b"hello"))
        self.assertEqual(len(self.child.transport.writes), before + 1)
        self.assertEqual(self.child.request.stdin, b"hello")
        self.assertTrue(self.child.begun_ahead)

    def test_large(self) -> None:
        """One that exceeds the memory for it takes no child before it is complete either."""
        self.start(spool_memory=4)
        self.client.send(upload(b"POST", 6) + b"abc")
        self.client.send(b"de")
        self.assertEqual(self.gateway.attempts, [])
        self.client.send(b"f")
        self.assertEqual(self.child.request.stdin, b"abcdef")

    def test_too_large(self) -> None:
        """One that says that it is too large is 413 at once, and not asked to go on."""
        self.start(max_body=10)
        for fields in ((), (EXPECT,)):
            for method in (b"POST", b"PUT"):
                client = self.gateway.client()
                client.send(upload(method, 11, *fields))
                got = answer(client.received)
                self.assertEqual((got.status, got.fields[b"connection"]), (413, b"close"))
        self.assertEqual(self.gateway.attempts, [])

    def test_as_large(self) -> None:
        """One of just that size is served, and so is any size if there is no limit."""
        for limit in (10, 0):
            self.start(max_body=limit)
            self.client.send(upload(b"POST", 10) + b"0123456789")
            self.assertEqual(self.child.request.stdin, b"0123456789")

    def test_extra(self) -> None:
        """What comes after the last byte is not the script's."""
        self.client.send(upload(b"POST", 2) + b"ab\r\n")
        self.assertEqual(self.child.request.stdin, b"ab")
        self.assertTrue(self.child.request.complete)


class StreamedTests(GatewayTestCase):
    """Bodies of known length of other methods, which scripts can read as they come."""

    def test_streamed(self) -> None:
        """The script begins with the head, and has each piece as it comes."""
        self.client.send(upload(b"PUT", 10))
        asked = self.child.request
        self.assertEqual(asked.params[b"CONTENT_LENGTH"], b"10")
        self.assertEqual((asked.stdin, asked.complete), (b"", False))
        self.client.send(b"01234")
        self.assertEqual(self.child.request.stdin, b"01234")
        self.client.send(b"5678")
        self.assertFalse(self.child.request.complete)
        self.assertFalse(self.child.begun_ahead)
        self.client.send(b"9")
        self.assertEqual(self.child.request.stdin, b"0123456789")
        self.assertTrue(asked.complete)
        self.assertTrue(self.child.begun_ahead)
        self.child.answer(PAGE)
        self.assertEqual(answer(self.client.take()).status, 200)
        self.alive()
        self.assertEqual(len(self.gateway.children), 1)

    def test_collected_response(self) -> None:
        """The response may begin before the request has ended; then the connection is not kept."""
        self.client.send(upload(b"PUT", 4) + b"ab")
        self.child.stdout(b"A: b\r\n\r\none")
        self.assertTrue(self.client.received.endswith(b"\r\n\r\n3\r\none\r\n"))
        self.assertIn(b"\r\nConnection: close\r\n", self.client.received)
        self.client.send(b"cd")
        self.assertEqual(self.child.request.stdin, b"abcd")
        self.child.end_request()
        self.assertTrue(self.client.received.endswith(b"0\r\n\r\n"))
        self.assertTrue(self.client.ended_cleanly)

    def test_early_end(self) -> None:
        """A script may end without its body; its connection cannot go on, the client is told."""
        self.client.send(upload(b"PUT", 4) + b"ab")
        self.child.answer(PAGE)
        got = answer(self.client.received)
        self.assertEqual((got.status, got.body), (200, b"hi"))
        self.assertEqual(got.fields[b"connection"], b"close")
        self.assertTrue(self.child.closed)
        # Closing at once could destroy the response while the client is still sending.
        self.assertFalse(self.client.closed)
        self.client.send(b"cd")
        self.assertEqual(len(self.gateway.children), 1)

    def test_early_end_unsent(self) -> None:
        """So it is if the request has come to its end, but not to the script."""
        self.gateway.capacity = 4096
        content = b"x" * 200000
        self.client.send(upload(b"PUT", len(content)))
        self.child.pause()
        self.client.send(content)
        self.child.answer(PAGE)
        self.assertEqual(answer(self.client.take()).status, 200)
        self.assertTrue(self.child.aborted)

    def test_waits_for_connection(self) -> None:
        """While there is no connection, the body is not read."""
        self.gateway.accepting = False
        self.client.send(upload(b"PUT", 1 << 20) + b"x")
        self.assertTrue(self.client.transport.paused)
        self.client.send(b"y" * ((1 << 20) - 1))
        self.gateway.attempts[0].accept()
        self.assertFalse(self.client.transport.paused)
        self.assertEqual(len(self.child.request.stdin), 1 << 20)
        self.assertTrue(self.child.request.complete)

    def test_get(self) -> None:
        """A GET may have a body too."""
        self.client.send(request(body=b"hello"))
        self.assertEqual(self.child.request.stdin, b"hello")
        self.assertEqual(self.child.request.params[b"CONTENT_LENGTH"], b"5")


class ExpectTests(GatewayTestCase):
    """Clients that send their body when they are asked to."""

    def test_collected(self) -> None:
        """A body that is collected is asked for at once."""
        for head, body in (
            (upload(b"POST", 2, EXPECT), b"ab"),
            (request(b"/", CHUNKED, EXPECT, method=b"PUT"), b"2\r\nab\r\n0\r\n\r\n"),
        ):
            self.client.send(head)
            self.assertEqual(self.client.take(), CONTINUE)
            self.client.send(body)
            self.assertEqual(self.child.request.stdin, b"ab")
            self.assertNotIn(b"HTTP_EXPECT", self.child.request.params)
            self.child.answer(PAGE)
            self.assertEqual(answer(self.client.take()).status, 200)

    def test_streamed(self) -> None:
        """One that is streamed is asked for when there is a script that reads it."""
        self.gateway.accepting = False
        self.client.send(upload(b"PUT", 2, EXPECT))
        self.assertEqual(self.client.take(), b"")
        self.gateway.attempts[0].accept()
        self.assertEqual(self.client.take(), CONTINUE)
        self.client.send(b"ab")
        self.assertEqual(self.child.request.stdin, b"ab")
        self.child.answer(PAGE)
        self.assertEqual(answer(self.client.take()).status, 200)

    def test_not_needed(self) -> None:
        """What has come by itself is not asked for (RFC 9110 section 10.1.1)."""
        for method in (b"POST", b"PUT"):
            self.client.send(upload(method, 2, EXPECT) + b"ab")
            self.assertEqual(self.client.take(), b"")
            self.child.answer(PAGE)
            self.client.take()

    def test_old(self) -> None:
        """A client of HTTP/1.0 is told nothing of the kind."""
        for method in (b"POST", b"PUT"):
            client = self.gateway.client()
            client.send(upload(method, 2, EXPECT, version=b"1.0"))
            self.assertEqual(client.take(), b"")

    def test_refused(self) -> None:
        """Where no script would read the body, the answer is final."""
        self.client.send(b"PUT /none HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n")
        self.client.send(EXPECT + b"\r\n\r\n")
        self.assertEqual(answer(self.client.received).status, 404)

    def test_no_connection(self) -> None:
        """So it is where there is no php-fpm."""
        self.gateway.accepting = False
        self.client.send(upload(b"PUT", 2, EXPECT))
        lines = logged(lambda: self.gateway.attempts[0].refuse())
        self.assertEqual(len(lines), 1)
        self.assertIn(answer(self.client.received).status, (502, 503))

    def test_early_answer(self) -> None:
        """A script that answers without the body has its answer passed on after the 100."""
        self.client.send(upload(b"PUT", 2, EXPECT))
        self.child.answer(b"Status: 401\r\n\r\n")
        self.assertTrue(self.client.take().startswith(CONTINUE + b"HTTP/1.1 401 "))
