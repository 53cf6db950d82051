"""One HTTP/2 connection to an origin, without a proxy around it: what its owner is told, and what
becomes of its exchanges."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.target import Origin
from fastcar_tw.http2.liveness import PING_AFTER, PING_PATIENCE
from fastcar_tw.http2.session import ASSUMED_CAPACITY, EARLY_STREAMS
from fastcar_tw.http2.stream import Stream
from fastcar_tw.pool.stats import Retired
from fastcar_tw.testing import MemoryReactor, Peer
from fastcar_tw.upstream.multiplexed import MultiplexedConnection
from tests.http2.origin import GET, Fields, ScriptedOrigin, User

ORIGIN = Origin("https", "origin.test", 443, http2=True)


class Owner:
    """A pool that takes notes, and counts as a pool does."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def release(self, connection: MultiplexedConnection) -> None:
        """One exchange less."""
        connection.in_use -= 1
        self.events.append("release")

    def retired(self, connection: MultiplexedConnection, why: Retired) -> None:
        """Of no more use."""
        self.events.append(f"retired {why.value}")

    def closed(self, connection: MultiplexedConnection) -> None:
        """Gone."""
        self.events.append("closed")

    def capacity_changed(self, connection: MultiplexedConnection) -> None:
        """Another capacity."""
        self.events.append(f"capacity {connection.capacity}")

    def used_up(self, connection: MultiplexedConnection) -> None:
        """It has begun as many as its origin answers."""
        self.events.append("used up")

    def drain(self, connection: MultiplexedConnection, accepted: int | None) -> None:
        """It will serve no more than it has."""
        self.events.append("drain" if accepted is None else f"drain after {accepted}")


class Exchange(User):
    """An exchange that a connection asks for its fields."""

    pinned = False
    request_chunked = False
    request_complete = True

    def request_fields(self) -> Sequence[tuple[bytes, bytes]]:
        """What is asked."""
        return GET

    def request_head(self) -> bytes:
        """It is never asked for that."""
        raise NotImplementedError

    def switched(self, head: object, early: bytes) -> None:
        """Nor told this."""
        raise NotImplementedError

    def keep(self, connection: object) -> None:
        """Nor this."""
        raise NotImplementedError


class MultiplexedTestCase(SynchronousTestCase):
    """
    Has a connection and its origin.
    """

    def setUp(self) -> None:
        """Have them introduce themselves."""
        self.connect()

    def connect(
        self,
        settings: dict[int, int] | None = None,
        limit: int = sys.maxsize,
    ) -> None:
        """Begin anew, with what the origin says."""
        self.reactor = MemoryReactor()
        self.owner = Owner()
        self.connection = MultiplexedConnection(
            ORIGIN, self.owner, "192.0.2.1", self.reactor.seconds, limit
        )
        self.peer = Peer(self.reactor, self.connection)
        self.addCleanup(self.release)
        self.origin = ScriptedOrigin(settings)
        self.run_origin()
        self.owner.events.clear()

    def release(self) -> None:
        """Give the sockets back."""
        for peer in list(self.reactor.peers):
            peer.release()

    def run_origin(self) -> None:
        """Let both say what they have to say."""
        while True:
            self.reactor.settle()
            data = self.peer.take()
            if data:
                self.origin.receive(data)
            out = self.origin.data_to_send()
            if out and not self.peer.closed:
                self.peer.send(out)
            elif not data:
                return

    def start(self, exchange: Exchange | None = None) -> tuple[Exchange, Stream]:
        """Begin an exchange, as the pool has it."""
        exchange = exchange or Exchange()
        self.connection.in_use += 1
        stream = self.connection.start(exchange, b"", True)
        self.run_origin()
        return exchange, stream

    def respond(self, stream: int, content: bytes = b"", head: Fields | None = None) -> None:
        """Answer."""
        if head is None:
            self.origin.respond(stream, content)
        else:
            self.origin.respond(stream, content, head)
        self.run_origin()

    def events(self) -> list[str]:
        """What the owner was told since the last time."""
        events, self.owner.events = self.owner.events, []
        return events


class LifeTests(MultiplexedTestCase):
    """What the owner is told."""

    def test_release(self) -> None:
        """Each exchange that ends makes room for one, and the connection stays."""
        first, _ = self.start()
        second, _ = self.start()
        self.respond(3, b"x")
        self.assertEqual(self.events(), ["release"])
        self.respond(1)
        self.assertEqual(self.events(), ["release"])
        self.assertTrue(first.ended and second.ended)
        self.assertFalse(self.peer.ended)

    def test_served(self) -> None:
        """It counts what it has begun, and is fresh before the first."""
        self.assertTrue(self.connection.fresh)
        self.start()
        self.start()
        self.assertFalse(self.connection.fresh)
        self.assertEqual(self.connection.served, 2)
        self.assertIn("origin.test", repr(self.connection))

    def test_protocol(self) -> None:
        """It says what it speaks, and where it leads to."""
        self.assertEqual(self.connection.protocol, "HTTP/2")
        self.assertTrue(self.connection.multiplexed)
        self.assertEqual((self.connection.origin, self.connection.address), (ORIGIN, "192.0.2.1"))

    def test_capacity(self) -> None:
        """The owner is told how many exchanges the origin allows, whenever that changes."""
        self.connect({3: 7})
        self.assertEqual(self.connection.capacity, 7)
        self.origin.h2.update_settings({3: 9})
        self.run_origin()
        self.assertEqual(self.events(), ["capacity 9"])

    def test_unheard(self) -> None:
        """Only a few may begin before the origin has been heard; that it has been is told, too."""
        origin = self.origin
        connection = MultiplexedConnection(ORIGIN, self.owner, None, self.reactor.seconds)
        self.assertEqual((connection.capacity, connection.unheard), (EARLY_STREAMS, True))
        self.peer = Peer(self.reactor, connection)
        self.origin = ScriptedOrigin()
        self.run_origin()
        self.assertEqual(self.events(), [f"capacity {ASSUMED_CAPACITY}"])
        self.origin = origin

    def test_short_lived(self) -> None:
        """Of an origin that ends its connections early no more begin at once than it answers, and
        with the last of them the connection is used up."""
        self.connect({3: 20}, 2)
        self.assertEqual(self.connection.capacity, 2)
        self.start()
        self.assertEqual(self.events(), [])
        self.start()
        self.assertEqual(self.events(), ["used up"])

    def test_reset_by_the_origin(self) -> None:
        """A stream that is reset makes room too."""
        exchange, _ = self.start()
        self.origin.write(RstStreamFrame(1, error_code=ErrorCodes.CANCEL))
        self.run_origin()
        self.assertEqual(self.events(), ["release"])
        self.assertIsNotNone(exchange.error)

    def test_abort_of_an_exchange(self) -> None:
        """So does one that its exchange gives up, once."""
        _, stream = self.start()
        stream.abort()
        stream.abort()
        self.run_origin()
        self.assertEqual(self.events(), ["release"])
        self.assertEqual(self.origin.resets(), [(1, ErrorCodes.CANCEL)])

    def test_going_away(self) -> None:
        """A GOAWAY is told once; what is under way goes on."""
        exchange, _ = self.start()
        for _ in range(2):
            self.origin.write(GoAwayFrame(0, last_stream_id=1))
            self.run_origin()
        self.assertEqual(self.events(), ["drain"])
        self.respond(1)
        self.assertTrue(exchange.ended)
        self.assertEqual(self.events(), ["release"])


class EndTests(MultiplexedTestCase):
    """How it ends."""

    def test_close(self) -> None:
        """Closed, it takes leave with a GOAWAY, and its owner is told both steps."""
        self.run_origin()
        self.connection.close()
        self.run_origin()
        self.assertEqual(self.origin.goaway(), ErrorCodes.NO_ERROR)
        self.assertTrue(self.peer.ended_cleanly)
        self.assertEqual(self.events(), ["retired taken", "closed"])

    def test_abort(self) -> None:
        """Aborted, it fails what is under way, and is gone at once."""
        exchange, _ = self.start()
        self.connection.abort()
        self.run_origin()
        self.assertIsNotNone(exchange.error)
        self.assertTrue(self.peer.aborted)
        self.assertEqual(self.events(), ["retired broken", "closed"])

    def test_lost(self) -> None:
        """Lost, it fails all, once; then its owner hears that it is closed."""
        exchanges = [self.start()[0] for _ in range(3)]
        self.peer.close()
        self.run_origin()
        self.assertEqual(self.events(), ["retired ended", "closed"])
        for exchange in exchanges:
            self.assertEqual([call[0] for call in exchange.calls], ["failed"])
            self.assertFalse(exchange.unprocessed)

    def test_half_closed(self) -> None:
        """An origin that ends its sending has ended the connection."""
        exchange, _ = self.start()
        self.peer.end()
        self.assertEqual(self.events(), ["retired ended", "closed"])
        self.assertIsNotNone(exchange.error)

    def test_retired_before_exchanges_fail(self) -> None:
        """The owner knows before exchanges are told, so that none gets it again."""
        exchange = Exchange()
        seen: list[list[str]] = []
        exchange.on["failed"] = lambda: seen.append(self.events())
        self.start(exchange)
        self.peer.close()
        self.assertEqual(seen, [["retired ended"]])

    def test_drained_before_exchanges_fail(self) -> None:
        """The same if it is the origin that has broken the rules."""
        exchange = Exchange()
        seen: list[list[str]] = []
        exchange.on["failed"] = lambda: seen.append(self.events())
        self.start(exchange)
        self.origin.write_bytes(b"\0" * 100)
        self.run_origin()
        self.assertEqual(len(seen), 1)
        self.assertTrue(seen[0] and seen[0][0].split()[0] in ("drain", "retired"), seen)
        self.assertEqual(self.events()[-1:], ["closed"])

    def test_broken(self) -> None:
        """Then a GOAWAY says what is wrong, and the connection is closed behind it."""
        exchange, _ = self.start()
        self.origin.write(*[PingFrame(0, opaque_data=b"x" * 8)] * 5000)
        self.run_origin()
        self.assertEqual(self.origin.goaway(), ErrorCodes.ENHANCE_YOUR_CALM)
        assert exchange.error is not None
        self.assertEqual(exchange.error.proxy_status, "http_protocol_error")
        self.assertTrue(self.peer.ended)

    def test_nothing_sent(self) -> None:
        """An exchange of which nothing has left, for the wire is full, is told so."""
        self.run_origin()
        self.peer.pause()
        wire = self.connection._wire
        assert wire is not None
        wire.write(bytes(10_000_000))
        self.connection.in_use += 1
        exchange = Exchange(repeatable=False)
        self.connection.start(exchange, b"", True)
        self.peer.close()
        self.assertTrue(exchange.unprocessed)

    def test_dead(self) -> None:
        """One that does not answer a PING fails all, and is closed."""
        exchange, _ = self.start()
        self.peer.pause()
        while self.reactor.seconds() < PING_AFTER + PING_PATIENCE + 2:
            self.reactor.advance(1)
            self.connection.check(10.0)
        assert exchange.error is not None
        self.assertEqual(exchange.error.proxy_status, "connection_read_timeout")
        self.assertTrue(any(event.startswith("retired") for event in self.events()))

    def test_never_heard(self) -> None:
        """One whose origin never speaks fails all, too, when the time to connect is over."""
        connection = MultiplexedConnection(ORIGIN, self.owner, None, self.reactor.seconds)
        Peer(self.reactor, connection)
        exchange = Exchange()
        connection.start(exchange, b"", True)
        for _ in range(10):
            self.assertIsNone(exchange.error)
            self.reactor.advance(1)
            connection.check(10.0)
        assert exchange.error is not None
        self.assertEqual(exchange.error.proxy_status, "connection_timeout")
        self.assertEqual(connection.failure, exchange.error)

    def test_stale(self) -> None:
        """It is stale once its origin has ended it, which nobody need have been told yet."""
        self.run_origin()
        self.assertFalse(self.connection.is_stale())
        self.peer._socket.close()
        self.assertTrue(self.connection.is_stale())

    def test_unread(self) -> None:
        """What is unread on it may be anything, and does not make it stale."""
        self.run_origin()
        self.peer._socket.send(PingFrame(0, opaque_data=b"x" * 8).serialize())
        self.assertFalse(self.connection.is_stale())


class FaultTests(MultiplexedTestCase):
    """Exchanges that have a bug."""

    def test_raises(self) -> None:
        """An exchange that raises is cut off and logged; the others go on."""
        bad = Exchange()

        def broken() -> None:
            raise ValueError("oops")

        bad.on["head"] = broken
        self.start(bad)
        good, _ = self.start()
        self.origin.respond(1, b"x", ended=False)
        self.respond(3, b"y")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(good.content, b"y")
        self.assertEqual(self.origin.resets(), [(1, ErrorCodes.INTERNAL_ERROR)])
        self.assertEqual(self.events(), ["release", "release"])

    def test_spoiled(self) -> None:
        """One that raises before it has begun gives its place back, and nobody else's."""
        good, _ = self.start()
        self.connection.in_use += 1
        self.connection.spoiled(begun=False)
        self.assertEqual(self.events(), ["release"])
        self.respond(1, b"y")
        self.assertEqual(good.content, b"y")

    def test_spoiled_after_it_has_begun(self) -> None:
        """One that raises after that keeps it, until its stream ends."""
        self.start()
        self.connection.spoiled(begun=True)
        self.assertEqual(self.events(), [])

    def test_no_fields(self) -> None:
        """One that cannot say what it asks for gives its place back too."""

        class Speechless(Exchange):
            def request_fields(self) -> Fields:
                raise ValueError("oops")

        self.assertRaises(ValueError, self.start, Speechless())
        self.assertEqual(self.events(), ["release"])


class PressureTests(MultiplexedTestCase):
    """Wires that are full."""

    def test_upload(self) -> None:
        """While the wire is full, streams become full, and drained when it empties."""
        self.connect({4: 1 << 24})
        self.run_origin()
        self.origin.h2.increment_flow_control_window(1 << 24)
        self.run_origin()
        self.peer.pause()
        exchange = Exchange()
        self.connection.in_use += 1
        stream = self.connection.start(exchange, b"", False)
        body = bytes(1 << 20)
        for _ in range(4):
            stream.send(body, False)
        self.assertTrue(stream.full)
        self.assertEqual([call[0] for call in exchange.calls], ["full"])
        self.peer.resume()
        self.run_origin()
        self.assertFalse(stream.full)
        self.assertEqual([call[0] for call in exchange.calls], ["full", "drained"])
        stream.send(b"", True)
        self.run_origin()
        self.assertEqual(len(self.origin.content_of(1)), 4 << 20)

    def test_sent(self) -> None:
        """A stream that makes no progress says the same number each time."""
        self.run_origin()
        self.origin.acknowledges = False
        self.connection.in_use += 1
        stream = self.connection.start(Exchange(), bytes(200_000), False)
        self.run_origin()
        before = stream.sent()
        self.assertEqual(before, 65535)
        self.run_origin()
        self.assertEqual(stream.sent(), before)
