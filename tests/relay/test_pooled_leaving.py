"""Clients of a pool that leave: what was sent for them has happened, and nobody else sees it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .support import SIGNS, VISITOR, End, RelayTestCase, logged

#: Ways to leave.
WAYS: tuple[Callable[[End], None], ...] = (End.close, End.reset)


class LeavingTests(RelayTestCase):
    """At every stage."""

    def leave(self, way: Callable[[End], None]) -> None:
        """Leave, which is nothing to be logged."""
        self.assertEqual(logged(lambda: way(self.client)), [])

    def check_gone(self) -> None:
        """Check that nothing of the client is left."""
        self.assertEqual(self.relay.relay.clients, set())
        self.assertEqual(len(self.relay.relay.deadlines), 1)  # the pool's
        total = self.relay.pool.stats().total
        self.assertEqual((total.active, total.waiting, total.queued), (0, 0, 0))

    def check_next(self, connection: End) -> None:
        """Check that another client is served by this connection, with its own response."""
        self.assertFalse(connection.closed)
        connection.take()
        self.exchange(b"next\n", b"NEXT\n", self.relay.client())
        self.assertEqual(self.relay.connections[-1], connection)

    def test_idle(self) -> None:
        """Between requests nothing happens but that the connection ends."""
        for way in WAYS:
            self.start()
            self.warm()
            self.leave(way)
            self.check_gone()
            self.check_next(self.connection)

    def test_half_request(self) -> None:
        """Half a request is none."""
        for way in WAYS:
            self.start()
            self.client.send(b"half")
            self.leave(way)
            self.check_gone()
            self.assertEqual(self.relay.connections, [])

    def test_waiting(self) -> None:
        """Of one that waits for a connection nothing is sent; those behind move up."""
        for way in WAYS:
            self.start()
            busy, other = self.relay.client(), self.relay.client()
            busy.send(b"busy\n")
            self.client.send(b"gone\n")
            other.send(b"other\n")
            self.leave(way)
            self.assertEqual(self.connection.take(), b"busy\n")
            self.connection.send(b"BUSY\n")
            self.assertEqual(self.connection.take(), b"other\n")
            self.connection.send(b"OTHER\n")
            self.assertEqual((busy.take(), other.take()), (b"BUSY\n", b"OTHER\n"))

    def test_connecting(self) -> None:
        """A connection that was being opened for it serves others."""
        for way in WAYS:
            self.start()
            backend = self.relay.backends[0]
            backend.accepting = False
            self.client.send(b"gone\n")
            self.leave(way)
            self.check_gone()
            connection = backend.attempts[0].accept()
            self.assertEqual(connection.take(), b"")
            self.check_next(connection)

    def test_under_way(self) -> None:
        """What is under way is waited for and dropped; then the connection serves others."""
        for way in WAYS:
            for part in (b"", b"A", b"A\nB"):
                self.start()
                self.client.send(b"a\nb\n")
                connection = self.connection
                if part:
                    connection.send(part)
                self.leave(way)
                other = self.relay.client()
                other.send(b"other\n")
                self.assertEqual(connection.take(), b"a\nb\n")
                connection.send(b"A\nB\n"[len(part) :])
                self.assertEqual(connection.take(), b"other\n")
                connection.send(b"OTHER\n")
                self.assertEqual(other.take(), b"OTHER\n")
                other.close()
                self.check_gone()

    def test_requests_behind(self) -> None:
        """Requests that were not sent yet are not sent any more."""
        for way in WAYS:
            self.start()
            self.client.send(b"a\n")
            self.client.send(b"b\n")
            self.leave(way)
            self.connection.send(b"A\n")
            self.assertEqual(self.connection.take(), b"a\n")
            self.check_gone()
            self.check_next(self.connection)

    def test_surplus_behind(self) -> None:
        """A connection whose backend says more than was due to one that has left is not used."""
        for way in WAYS:
            self.start()
            self.client.send(b"a\n")
            self.leave(way)
            self.connection.send(b"A\nB\n")
            self.assertTrue(self.connection.aborted)
            self.check_gone()

    def test_backend_gone(self) -> None:
        """If the backend leaves as well, that is nobody's business."""
        for way in WAYS:
            for end in (End.close, End.reset):
                self.start()
                self.client.send(b"a\n")
                self.leave(way)
                self.assertEqual(logged(partial(end, self.connection)), [])
                self.check_gone()

    def test_backend_silent(self) -> None:
        """A backend that stays silent is not waited for without end."""
        for way in WAYS:
            self.start(response_timeout=5.0)
            self.client.send(b"a\n")
            self.leave(way)
            self.relay.elapse(4.5)
            self.assertFalse(self.connection.closed)
            self.relay.elapse(2.0)
            self.assertTrue(self.connection.aborted)
            self.check_gone()

    def test_unread(self) -> None:
        """A connection that was not read for a client's sake is read when that leaves."""
        for way in WAYS:
            self.start(max_frame=1 << 20)
            client = self.client = self.relay.client(capacity=8192)
            client.pause()
            client.send(b"a\nb\nc\n")
            self.connection.send((b"x" * 900_000 + b"\n") * 2)
            self.assertTrue(self.connection.paused)
            self.leave(way)
            self.assertEqual(self.connection.unsent, b"")
            self.connection.send(b"C\n")
            self.check_next(self.connection)

    def test_verbose(self) -> None:
        """With C{--verbose} the log tells of each once, what it has not stayed for included."""
        for way in WAYS:
            self.start(verbose=True)
            self.exchange(b"a\nb\n", b"A\nB\n")
            self.relay.elapse(2.5)
            self.client.send(b"c\n")
            self.assertEqual(logged(partial(way, self.client)), [])
            lines = logged(lambda: self.connection.send(b"C\n"))
            self.assertEqual(lines, [f"{VISITOR}: left after 2.500 s, 3 requests answered"])
            other = self.relay.client()
            lines = logged(other.close)
            self.assertEqual(lines, [f"{VISITOR}: left after 0.000 s, 0 requests answered"])

    def test_stopping(self) -> None:
        """A relay that stops waits for what was sent for one that has left, and then ends it."""
        self.client.send(b"a\n")
        self.leave(End.close)
        drained = self.relay.drain()
        self.assertNoResult(drained)
        self.relay.relay.abort()
        self.relay.reactor.settle()
        self.successResultOf(drained)
        self.assertTrue(self.connection.aborted)
        self.check_gone()


class TransactionTests(RelayTestCase):
    """In the middle of what a client has begun and not ended."""

    def setUp(self) -> None:
        self.start(framing=SIGNS)

    def test_between(self) -> None:
        """The connection is closed, whoever waits for one: it is not as it was before."""
        for way in WAYS:
            self.start(framing=SIGNS)
            self.exchange(b"+\n", b"OK\n")
            first = self.connection
            other = self.relay.client()
            other.send(b"other\n")
            self.assertEqual(logged(partial(way, self.client)), [])
            self.assertTrue(first.aborted)
            self.assertEqual(first.take(), b"")
            self.assertIsNot(self.connection, first)
            self.assertEqual(self.connection.take(), b"other\n")

    def test_under_way(self) -> None:
        """So it is with a request under way."""
        for way in WAYS:
            for before in (b"", b"+\n"):
                self.start(framing=SIGNS)
                if before:
                    self.exchange(before, b"OK\n")
                self.client.send(b"+\na\n"[len(before) :])
                way(self.client)
                self.assertTrue(self.connection.aborted)
                self.assertEqual(self.relay.pool.stats().total.active, 0)
                self.assertEqual(self.relay.relay.clients, set())

    def test_connecting(self) -> None:
        """One that never had a connection leaves none behind."""
        backend = self.relay.backends[0]
        backend.accepting = False
        self.client.send(b"+\n")
        self.client.close()
        connection = backend.attempts[0].accept()
        self.exchange(b"next\n", b"NEXT\n", self.relay.client())
        self.assertEqual(self.relay.connections, [connection])

    def test_ending(self) -> None:
        """What would end it may end it: the connection is as it was if that goes well."""
        for way in WAYS:
            for response, kept in ((b"OK\n", True), (b"-ERR\n", False)):
                self.start(framing=SIGNS)
                self.exchange(b"+\n", b"OK\n")
                self.client.send(b"-\n")
                way(self.client)
                self.assertFalse(self.connection.closed)
                self.connection.send(response)
                self.assertEqual(self.connection.closed, not kept)
                self.assertEqual(self.relay.backends[0].counts.idle, int(kept))
                self.assertEqual(self.relay.relay.clients, set())
