"""One connection to an origin, without a proxy around it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.head import MAX_INTERIM, ResponseHead
from fastcar_tw.http.target import Origin
from fastcar_tw.pool.stats import Retired
from fastcar_tw.testing import MemoryReactor, Peer
from fastcar_tw.upstream.connection import UpstreamConnection

ORIGIN = Origin("http", "a.test", 80)
ASKED = b"GET / HTTP/1.1\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Owner:
    """A pool that only takes notes."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def release(self, connection: UpstreamConnection) -> None:
        """Ready for more."""
        self.events.append("release")

    def retired(self, connection: UpstreamConnection, why: Retired) -> None:
        """Of no more use."""
        self.events.append("retired")

    def closed(self, connection: UpstreamConnection) -> None:
        """Gone."""
        self.events.append("closed")


class Exchange:
    """Takes notes of a response."""

    pinned = False
    request_chunked = False
    request_trailers = b""

    def __init__(self, head_only: bool = False, request_complete: bool = True) -> None:
        self.head_only = head_only
        self.request_complete = request_complete
        self.events: list[str] = []
        self.body = b""
        self.early = b""
        self.failure: tuple[GatewayError, bool, bool] | None = None

    def is_repeatable(self) -> bool:
        """It is a GET."""
        return True

    def request_head(self) -> bytes:
        """What is asked."""
        return ASKED

    def request_fields(self) -> list[tuple[bytes, bytes]]:
        """For HTTP/2, which is not spoken here."""
        raise NotImplementedError

    def interim_response(self, head: ResponseHead) -> None:
        """Note it."""
        self.events.append(f"interim {head.status}")

    def response_head(self, head: ResponseHead, has_body: bool) -> None:
        """Note it."""
        self.events.append(f"head {head.status} {has_body}")

    def response_body(self, content: bytes) -> None:
        """Keep it."""
        self.body += content

    def response_end(self, trailers: bytes) -> None:
        """Note it."""
        self.events.append("end")

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """Note it."""
        self.events.append("switched")
        self.early = early

    def tunnel_data(self, data: bytes) -> None:
        """Keep it."""
        self.body += data

    def tunnel_end(self) -> None:
        """Note it."""
        self.events.append("tunnel end")

    def flush_response(self) -> None:
        """Note it."""
        self.events.append("flush")

    def upstream_full(self) -> None:
        """Note it."""
        self.events.append("full")

    def upstream_drained(self) -> None:
        """Note it."""
        self.events.append("drained")

    def keep(self, connection: UpstreamConnection) -> None:
        """Note it."""
        self.events.append("keep")

    def upstream_failed(self, error: GatewayError, *, answered: bool, unprocessed: bool) -> None:
        """Keep it."""
        self.failure = error, answered, unprocessed


class ConnectionTests(SynchronousTestCase):
    """L{UpstreamConnection}."""

    def setUp(self) -> None:
        """Have a connection, and its origin."""
        self.reactor = MemoryReactor()
        self.owner = Owner()
        self.connection = UpstreamConnection(ORIGIN, self.owner)
        self.origin = Peer(self.reactor, self.connection, capacity=8192)
        self.addCleanup(self.release)

    def release(self) -> None:
        """Give the sockets back."""
        for peer in list(self.reactor.peers):
            peer.release()

    def ask(self, **how: bool) -> Exchange:
        """Begin an exchange."""
        exchange = Exchange(**how)
        self.connection.start(exchange, b"", exchange.request_complete)
        self.reactor.settle()
        return exchange

    def test_repr(self) -> None:
        """It tells its origin, its state, and how often it has served."""
        self.assertEqual(
            repr(self.connection), "<UpstreamConnection http://a.test:80 idle served=0>"
        )
        self.ask()
        self.assertIn("busy served=1", repr(self.connection))
        self.origin.close()
        self.assertIn("closed served=1", repr(self.connection))

    def test_told_in_order(self) -> None:
        """The parts of a response are told in order, and flushed once when they came together."""
        exchange = self.ask()
        self.origin.send(
            b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        )
        self.assertEqual(exchange.events, ["interim 103", "head 200 True", "end", "flush"])
        self.assertEqual(exchange.body, b"hi")
        self.assertEqual(self.owner.events, ["release"])

    def test_serves_again(self) -> None:
        """After its release it serves the next exchange, and the one before hears no more."""
        first = self.ask()
        self.origin.send(EMPTY)
        heard = len(first.events)
        second = self.ask()
        self.origin.send(EMPTY)
        self.assertEqual(len(first.events), heard)
        self.assertEqual(second.events, ["head 200 False", "end", "flush"])
        self.assertEqual(self.connection.served, 2)

    def test_interim_limit_is_for_each_response(self) -> None:
        """Interim responses are counted for each exchange anew, also one by one."""
        for _ in range(2):
            exchange = self.ask()
            for _ in range(MAX_INTERIM):
                self.origin.send(b"HTTP/1.1 100 Go\r\n\r\n")
            self.assertIsNone(exchange.failure)
            self.origin.send(EMPTY)

    def test_head_has_no_body(self) -> None:
        """The response to a HEAD ends with its head (RFC 9112 section 6.3, rule 1)."""
        exchange = self.ask(head_only=True)
        self.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        self.assertEqual(exchange.events, ["head 200 False", "end", "flush"])
        self.assertEqual(self.owner.events, ["release"])

    def test_unfinished_request(self) -> None:
        """With the request unfinished the connection is not released but broken off."""
        exchange = self.ask(request_complete=False)
        self.origin.send(EMPTY)
        self.assertIn("end", exchange.events)
        self.assertEqual(self.owner.events, ["retired", "closed"])
        self.assertTrue(self.origin.aborted)

    def test_data_without_request(self) -> None:
        """Data that nobody asked for ends the connection (RFC 9112 section 9.2)."""
        self.origin.send(EMPTY)
        self.assertEqual(self.owner.events, ["retired", "closed"])
        self.assertTrue(self.origin.aborted)

    def test_pinned(self) -> None:
        """A connection that is for its client only goes back to its client."""
        exchange = self.ask()
        exchange.pinned = True
        self.origin.send(EMPTY)
        self.assertIn("keep", exchange.events)
        self.assertEqual(self.owner.events, [])

    def test_unsent(self) -> None:
        """A failure tells whether any byte of the request has left."""
        exchange = self.ask()
        self.origin.close()
        assert exchange.failure is not None
        error, answered, unsent = exchange.failure
        self.assertEqual(
            (error.proxy_status, answered, unsent), ("connection_terminated", False, False)
        )

    def test_back_pressure(self) -> None:
        """Its exchange learns when the origin does not read, and when it does again."""
        exchange = self.ask()
        self.origin.pause()
        self.connection.send(bytes(200000), False)
        self.assertEqual(exchange.events, ["full"])
        self.origin.resume()
        self.assertEqual(exchange.events, ["full", "drained"])

    def test_abort_is_silent(self) -> None:
        """After an abort its exchange hears nothing more."""
        exchange = self.ask()
        self.connection.abort()
        self.reactor.settle()
        self.assertEqual((exchange.events, exchange.failure), ([], None))
        self.assertEqual(self.owner.events, ["retired", "closed"])

    def test_close_is_silent(self) -> None:
        """So it does after a close, which still sends what was written."""
        exchange = self.ask()
        self.origin.take()
        self.origin.pause()
        self.connection.send(bytes(100000), False)
        self.connection.close()
        self.reactor.settle()
        self.assertFalse(self.origin.closed)
        self.origin.resume()
        self.assertEqual(len(self.origin.received), 100000)
        self.assertTrue(self.origin.closed)
        self.assertIsNone(exchange.failure)

    def test_retired_once(self) -> None:
        """Its owner is told once that it is of no more use, and once that it is gone."""
        self.connection.close()
        self.connection.abort()
        self.connection.close()
        self.reactor.settle()
        self.assertEqual(self.owner.events, ["retired", "closed"])

    def test_stale_once_ended(self) -> None:
        """A connection that has ended is stale."""
        self.assertFalse(self.connection.is_stale())
        self.connection.close()
        self.assertTrue(self.connection.is_stale())

    def test_nothing_is_sent_once_ended(self) -> None:
        """Whatever is asked of it after its end does no harm."""
        self.connection.close()
        self.connection.send(b"x", False)
        self.connection.pause_reading()
        self.connection.resume_reading()
        self.reactor.settle()
        self.assertEqual(self.origin.received, b"")
        self.assertIn(" closed ", repr(self.connection))
