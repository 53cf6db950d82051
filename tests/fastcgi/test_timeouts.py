"""The deadline of each state of an exchange, and what becomes of it then."""

from __future__ import annotations

from typing import Any

from fastcar_tw.testing import Peer
from tests.forward.support import CHUNKED, answer, request

from .support import PAGE, GatewayTestCase, logged

#: All different, so that each is told from the others; the last second is the sweep's.
TIMES = {
    "client_timeout": 8.0,
    "stall_timeout": 12.0,
    "response_timeout": 20.0,
    "queue_timeout": 16.0,
    "connect_timeout": 4.0,
    "keepalive_timeout": 30.0,
    "idle_timeout": 6.0,
}
#: What a sweep may be late, and what a test goes beyond.
LATE = 1.0


class TimeoutTestCase(GatewayTestCase):
    """Has those times."""

    def start(self, **options: Any) -> None:
        super().start(**{**TIMES, **options})

    def after(self, name: str, client: Peer | None = None) -> None:
        """Check that the client is not answered before that time has gone by, and is then."""
        client = client or self.client
        told = client.received
        self.gateway.elapse(TIMES[name] - 0.25)
        self.assertEqual(client.received, told)
        self.assertFalse(client.ended)
        self.gateway.elapse(0.25 + LATE)


class RequestTests(TimeoutTestCase):
    """The request takes too long."""

    def test_head(self) -> None:
        """A head that does not come to its end is 408."""
        self.client.send(request()[:-2])
        self.after("client_timeout")
        self.assertEqual(answer(self.client.received).status, 408)

    def test_collected(self) -> None:
        """So is a body that stands still while it is collected; no script is run."""
        for head in (
            request(b"/", CHUNKED, method=b"POST") + b"1\r\nx\r\n",
            request(b"/", b"Content-Length: 2", method=b"POST") + b"x",
            request(b"/", b"Content-Length: 2", method=b"POST"),
        ):
            client = self.gateway.client()
            client.send(head)
            self.after("stall_timeout", client)
            got = answer(client.received)
            self.assertEqual((got.status, got.fields[b"connection"]), (408, b"close"))
        self.assertEqual(self.gateway.attempts, [])

    def test_collected_slowly(self) -> None:
        """A body that goes on may take as long as it likes."""
        self.client.send(request(b"/", b"Content-Length: 9", method=b"POST"))
        for _ in range(9):
            self.gateway.elapse(TIMES["stall_timeout"] - LATE)
            self.assertEqual(self.client.received, b"")
            self.client.send(b"x")
        self.assertEqual(self.child.request.stdin, b"x" * 9)

    def test_streamed(self) -> None:
        """One that is streamed is 408 too, and its script is let go without an end of its body."""
        self.client.send(request(b"/", b"Content-Length: 9", method=b"PUT") + b"x")
        self.gateway.elapse(5)
        self.client.send(b"y")
        self.after("stall_timeout")
        self.assertEqual(answer(self.client.received).status, 408)
        self.assertEqual(self.child.request.stdin, b"xy")
        self.assertFalse(self.child.request.complete)
        self.assertTrue(self.child.closed)

    def test_not_read(self) -> None:
        """A script that stops reading is 504, whether its body is collected or streamed."""
        for method in (b"POST", b"PUT"):
            self.start(spool_memory=2 << 20)
            self.gateway.capacity = 4096
            self.warm()
            self.child.pause()
            self.client.send(request(method=method, body=b"x" * (1 << 20)))
            self.assertGreater(self.child.transport.buffered, 0)
            lines = logged(lambda: self.after("stall_timeout"))
            self.assertEqual(answer(self.client.received).status, 504)
            self.assertIn("connection_write_timeout", lines[-1])
            self.assertTrue(self.child.aborted)

    def test_read_slowly(self) -> None:
        """One that reads slowly is let be."""
        self.gateway.capacity = 4096
        self.warm()
        self.child.pause()
        self.client.send(request(method=b"PUT", body=b"x" * (1 << 18)))
        for _ in range(6):
            self.gateway.elapse(TIMES["stall_timeout"] / 2 + LATE)
            self.child.read(8192)
            self.assertFalse(self.child.closed)
        self.child.resume()
        self.assertEqual(len(self.child.request.stdin), 1 << 18)


class WaitingTests(TimeoutTestCase):
    """There is no connection."""

    def test_queue(self) -> None:
        """A request that no child comes free for is 503, and may be tried again."""
        self.start(connections=1, response_timeout=100)
        self.client.send(request())
        waiting = self.gateway.client()
        waiting.send(request(b"/?x=secret"))
        lines = logged(lambda: self.after("queue_timeout", waiting))
        got = answer(waiting.received)
        self.assertEqual(got.status, 503)
        self.assertIn(b"retry-after", got.fields)
        self.assertEqual(len(lines), 1)
        self.assertIn("connection_limit_reached", lines[0])
        self.assertNotIn("secret", lines[0])
        self.assertEqual(len(self.child.requests), 1)

    def test_queue_of_streamed(self) -> None:
        """So is one that is not read meanwhile; that it stands still is not its fault."""
        self.start(connections=1, response_timeout=100)
        self.client.send(request())
        waiting = self.gateway.client()
        waiting.send(request(b"/", b"Content-Length: 9", method=b"PUT") + b"x")
        self.after("queue_timeout", waiting)
        got = answer(waiting.received)
        self.assertEqual((got.status, got.fields[b"connection"]), (503, b"close"))

    def test_queue_full(self) -> None:
        """More requests than may wait are 503 at once."""
        self.start(connections=1, max_queue=1)
        for _ in range(2):
            self.gateway.client().send(request())
        self.client.send(request())
        self.assertEqual(answer(self.client.received).status, 503)
        self.assertFalse(self.client.ended)

    def test_connect(self) -> None:
        """A php-fpm that does not accept is 504."""
        self.gateway.accepting = False
        self.client.send(request())
        self.after("connect_timeout")
        self.assertEqual(answer(self.client.received).status, 504)
        self.assertTrue(self.gateway.attempts[0].cancelled)


class ResponseTests(TimeoutTestCase):
    """The response takes too long."""

    def test_none(self) -> None:
        """A script that writes nothing is 504, and let go; its client may ask again."""
        self.client.send(request())
        lines = logged(lambda: self.after("response_timeout"))
        self.assertEqual(answer(self.client.received).status, 504)
        self.assertEqual(len(lines), 1)
        self.assertTrue(self.child.aborted)
        self.alive()

    def test_counted_from_end(self) -> None:
        """Its time begins with the end of the request, as it came to be."""
        for method in (b"POST", b"PUT"):
            self.start()
            self.client.send(request(b"/", b"Content-Length: 2", method=method) + b"x")
            self.gateway.elapse(10)
            self.client.send(b"y")
            self.after("response_timeout")
            self.assertEqual(answer(self.client.received).status, 504)

    def test_only_noise(self) -> None:
        """Messages and half a head are no response."""
        self.client.send(request())
        self.gateway.elapse(10)
        self.child.stderr(b"PHP Notice")
        self.child.stdout(b"A: b\r\n")
        self.gateway.elapse(10 + LATE)
        self.assertEqual(answer(self.client.received).status, 504)

    def test_stalled(self) -> None:
        """One that stands still after its head is broken off."""
        self.client.send(request())
        self.child.stdout(b"A: b\r\n\r\n")
        lines = logged(lambda: self.after("stall_timeout"))
        self.assertTrue(self.client.aborted)
        self.assertTrue(self.child.aborted)
        self.assertEqual(len(lines), 1)
        self.assertIn("connection_read_timeout", lines[0])

    def test_slow(self) -> None:
        """One that goes on may take as long as it likes."""
        self.client.send(request())
        for _ in range(5):
            self.gateway.elapse(TIMES["stall_timeout"] - LATE)
            self.child.stdout(b"A: b\r\n\r\n")
        self.child.end_request()
        self.assertTrue(self.client.received.endswith(b"0\r\n\r\n"))

    def test_client_does_not_read(self) -> None:
        """A client that stops reading is broken off, and so is the script."""
        self.client = self.gateway.client(capacity=4096)
        self.client.send(request())
        self.client.pause()
        self.child.stdout(PAGE + b"x" * (1 << 20))
        self.gateway.elapse(TIMES["stall_timeout"] - 0.25)
        self.assertFalse(self.client.aborted)
        self.gateway.elapse(0.25 + LATE)
        self.assertTrue(self.client.aborted)
        self.assertTrue(self.child.aborted)

    def test_client_reads_slowly(self) -> None:
        """One that reads slowly is let be."""
        self.client = self.gateway.client(capacity=4096)
        self.client.send(request())
        self.client.pause()
        self.child.stdout(PAGE + b"x" * (1 << 20))
        for _ in range(6):
            self.gateway.elapse(TIMES["stall_timeout"] / 2 + LATE)
            self.client.read(8192)
            self.assertFalse(self.client.aborted)

    def test_substitute(self) -> None:
        """The script that another one names has the whole time again."""
        self.start(connections=1)
        self.client.send(request())
        self.gateway.elapse(TIMES["response_timeout"] - LATE)
        self.child.answer(b"Location: /?second\r\n\r\n")
        self.after("response_timeout")
        self.assertEqual(answer(self.client.received).status, 504)

    def test_substitute_early(self) -> None:
        """If that one stands still it is 504, though the first did not wait for the request."""
        self.client.send(request(b"/", b"Content-Length: 2", method=b"PUT"))
        self.child.answer(b"Location: /?second\r\n\r\n")
        self.after("response_timeout")
        self.assertEqual(answer(self.client.received).status, 504)

    def test_substitute_stalled(self) -> None:
        """A script that names a substitute and does not end is 504."""
        self.client.send(request())
        self.child.stdout(b"X-Sendfile: /x\r\n\r\n")
        self.after("response_timeout")
        self.assertEqual(answer(self.client.received).status, 504)
        self.assertTrue(self.child.aborted)


class IdleTests(TimeoutTestCase):
    """Nothing is asked."""

    def test_client(self) -> None:
        """An idle client's connection is closed after its time, without a word."""
        self.exchange(request())
        self.after("keepalive_timeout")
        self.assertEqual(self.client.received, b"")
        self.assertTrue(self.client.ended_cleanly)

    def test_child(self) -> None:
        """An idle child is let go after its time."""
        self.warm()
        self.gateway.elapse(TIMES["idle_timeout"] - 0.25)
        self.assertFalse(self.child.closed)
        self.gateway.elapse(0.25 + LATE)
        self.assertTrue(self.child.closed)
        self.alive()
