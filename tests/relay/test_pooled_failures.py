"""What goes wrong with a pool and its clients: nothing is invented, and nothing sent twice."""

from __future__ import annotations

from functools import partial

from fastcar_tw.relay.pooled import MAX_MOVES

from .support import SIGNS, VISITOR, End, RelayTestCase, logged

BACKEND = "unix:/run/backend-0.sock"


class RequestTests(RelayTestCase):
    """Clients that send what is no request."""

    def check_refused(self, what: str, data: bytes) -> None:
        """Send it, and check what is logged."""
        lines = logged(lambda: self.client.send(data))
        self.assertEqual(lines, [f"{VISITOR}: sent no valid request: {what}; closed"])

    def test_too_large(self) -> None:
        """One that is too large ends its client, and no backend sees anything of it."""
        what = "expected a frame of 1 to 8 bytes (--max-frame)"
        for first, second in ((b"12345678\n", b""), (b"12345678", b""), (b"1234567", b"8")):
            self.start(max_frame=8)
            if second:
                self.client.send(first)
            self.check_refused(what, second or first)
            self.assertTrue(self.client.ended_cleanly)
            self.assertEqual(self.client.take(), b"")
            self.assertEqual(self.relay.backends[0].attempts, [])
            self.client.close()
            self.assertEqual(self.relay.relay.clients, set())

    def test_largest(self) -> None:
        """The largest one may be so large."""
        self.start(max_frame=8)
        self.exchange(b"1234567\n", b"A\n")

    def test_malformed(self) -> None:
        """So does one that is none."""
        self.start(framing=SIGNS)
        self.check_refused("expected no question", b"?\n")
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.relay.backends[0].attempts, [])

    def test_what_came_before(self) -> None:
        """What came before is answered, in the same piece or not; what comes behind is dropped."""
        for pieces in (
            [b"a\n", b"b\n", b"?\n"],
            [b"a\nb\n?\n"],
            [b"a\nb\n" + b"x" * 200],
            [b"a\n", b"b\n" + b"x" * 200],
        ):
            self.start(framing=SIGNS, max_frame=100)
            for piece in pieces:
                self.client.send(piece)
            self.client.send(b"c\nd\n")
            while self.connection.received:
                self.connection.send(self.connection.take().upper())
            self.assertEqual(self.client.take(), b"A\nB\n")
            self.assertTrue(self.client.ended_cleanly)
            self.client.close()
            self.assertEqual(self.relay.relay.clients, set())
            self.assertEqual(self.relay.backends[0].counts.idle, 1)

    def test_still_sending(self) -> None:
        """What it goes on sending is read, so that it can read what it is told; but not forever."""
        client = self.client = self.relay.client(capacity=8192)
        client.send(b"a\n")
        client.send(b"x" * (2 << 20))
        client.send(b"x" * 1_000_000)
        self.assertEqual(client.unsent, b"")
        self.connection.send(b"A\n")
        client.send(b"x" * 1_000_000)
        self.assertEqual(client.unsent, b"")
        self.assertEqual(client.take(), b"A\n")
        self.assertTrue(client.output_ended)
        self.assertEqual(len(self.relay.relay.clients), 2)
        client.close()
        self.assertEqual(len(self.relay.relay.clients), 1)

    def test_never_leaves(self) -> None:
        """One that does not go is broken off."""
        self.start(client_timeout=4.0, max_frame=8)
        self.client.send(b"123456789")
        self.relay.elapse(3.5)
        self.assertTrue(self.client.output_ended)
        self.relay.elapse(2.0)
        self.assertTrue(self.client.aborted)
        self.assertEqual(self.relay.relay.clients, set())

    def test_much_before(self) -> None:
        """So it is read when requests had piled up before."""
        client = self.client = self.relay.client(capacity=8192)
        client.send(b"a\n")
        client.send(b"b" * 99 + b"\n")
        client.send((b"b" * 99 + b"\n") * 2000 + b"x" * (2 << 20) + b"x" * 1_000_000)
        while count := self.connection.take().count(b"\n"):
            self.connection.send(b"A\n" * count)
        self.assertEqual(client.take(), b"A\n" * 2002)
        self.assertEqual(client.unsent, b"")
        self.assertTrue(client.output_ended)

    def test_much_in_one_piece(self) -> None:
        """So it is if many came together with what is none."""
        self.start(framing=SIGNS)
        self.client.send(b"a\n")
        self.client.send(b"b" * 59_999 + b"\n")
        self.client.send(b"b" * 29_999 + b"\n?\n")
        self.client.send(b"x" * 1_000_000)
        self.assertEqual(self.client.unsent, b"")
        while count := self.connection.take().count(b"\n"):
            self.connection.send(b"A\n" * count)
        self.assertEqual(self.client.take(), b"A\n" * 3)
        self.assertTrue(self.client.output_ended)

    def test_leaves(self) -> None:
        """If it leaves while it is owed something, that is as ever."""
        for leave in (End.close, End.reset, End.end):
            self.start(max_frame=8)
            self.client.send(b"a\n")
            self.client.send(b"123456789")
            leave(self.client)
            self.connection.send(b"A\n")
            self.assertEqual(self.client.take(), b"" if leave is not End.end else b"A\n")
            self.assertEqual(self.relay.relay.clients, set())
            self.assertEqual(self.relay.backends[0].counts.idle, 1)

    def test_in_transaction(self) -> None:
        """What was begun is not ended: the connection is closed."""
        self.start(framing=SIGNS)
        self.exchange(b"+\n", b"OK\n")
        self.check_refused("expected no question", b"?\n")
        self.assertTrue(self.client.ended)
        self.assertTrue(self.connection.aborted)

    def test_waiting(self) -> None:
        """What came before is sent when there is a connection."""
        self.start(max_frame=8)
        backend = self.relay.backends[0]
        backend.accepting = False
        self.client.send(b"a\n")
        self.client.send(b"123456789")
        self.assertFalse(self.client.ended)
        connection = backend.attempts[0].accept()
        self.assertEqual(connection.take(), b"a\n")
        connection.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n")
        self.assertTrue(self.client.ended_cleanly)


class ResponseTests(RelayTestCase):
    """Backends that do not send what is due."""

    lines: list[str]

    def check_ended(self, what: str, got: bytes) -> None:
        """Check what the client got, and that it, and the connection, are closed."""
        self.assertEqual(self.client.take(), got)
        self.assertTrue(self.client.closed)
        self.assertTrue(self.connection.closed)
        self.assertEqual(self.lines, [f"{VISITOR}: {BACKEND} {what}; closed"])
        self.assertEqual(len(self.relay.connections), 1)
        self.assertEqual(self.relay.relay.clients, set())
        self.relay.client().send(b"next\n")
        self.assertEqual(self.connection.take(), b"next\n")

    def test_closed(self) -> None:
        """If one ends the connection, the client learns it; requests are not sent again."""
        for end in (End.close, End.reset, End.end):
            for sent, when in ((b"", "before"), (b"A", "in the middle of")):
                self.start(backends=1)
                self.client.send(b"a\nb\n")
                self.connection.send(sent)
                self.lines = logged(partial(end, self.connection))
                self.check_ended(f"closed the connection {when} its response", sent)

    def test_closed_between(self) -> None:
        """What came whole has arrived; what is missing, is missing."""
        self.client.send(b"a\nb\nc\n")
        self.connection.send(b"A\nB\n")
        self.lines = logged(self.connection.close)
        self.check_ended("closed the connection in the middle of its response", b"A\nB\n")

    def test_closed_at_once(self) -> None:
        """What came arrives, even if the end comes with it."""
        self.client.send(b"a\nb\n")
        self.connection.unsent = b"A\nB"
        self.lines = logged(self.connection.end)
        self.check_ended("closed the connection in the middle of its response", b"A\nB")

    def test_requests_behind(self) -> None:
        """Requests that were not sent yet are not sent either: those before have no response."""
        self.start(pool=2)
        self.client.send(b"a\n")
        self.client.send(b"b\n")
        self.connection.close()
        self.assertTrue(self.client.closed)
        self.assertEqual(len(self.relay.connections), 1)

    def test_closed_after(self) -> None:
        """After the response it may: the next request has another connection."""
        for end in (End.close, End.reset, End.end):
            self.start()
            self.warm()
            self.assertEqual(logged(partial(end, self.connection)), [])
            self.exchange(b"a\n", b"A\n")
            self.assertEqual(len(self.relay.connections), 2)

    def test_closed_with_response(self) -> None:
        """So it may together with it: the response arrives, and nobody gets the connection."""
        other = self.relay.client()
        self.client.send(b"a\n")
        other.send(b"b\n")
        first = self.connection
        first.unsent = b"A\n"
        first.end()
        self.assertEqual(self.client.take(), b"A\n")
        self.assertEqual(first.take(), b"a\n")
        self.assertEqual(self.connection.take(), b"b\n")
        self.connection.send(b"B\n")
        self.assertEqual(other.take(), b"B\n")

    def test_too_large(self) -> None:
        """A response that is too large is broken off."""
        self.start(max_frame=8)
        self.client.send(b"a\n")
        self.lines = logged(lambda: self.connection.send(b"123456789"))
        what = "sent no valid response: expected a frame of 1 to 8 bytes (--max-frame)"
        self.check_ended(what, b"")
        self.assertTrue(self.relay.connections[0].aborted)

    def test_malformed(self) -> None:
        """So is what is none."""
        self.start(framing="resp")
        self.client.send(b"*1\r\n$4\r\nPING\r\n")
        lines = logged(lambda: self.connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        self.assertTrue(lines[0].startswith(f"{VISITOR}: {BACKEND} sent no valid response: "))
        self.assertTrue(self.connection.aborted)
        self.assertEqual(self.client.take(), b"")
        self.assertTrue(self.client.closed)

    def test_unasked(self) -> None:
        """What an idle connection says is nobody's; the next request has another one."""
        first = self.warm()
        lines = logged(lambda: first.send(b"B\n"))
        text = f"{BACKEND}: sent something unasked; the connection is closed"
        self.assertEqual(lines, [text])
        self.assertTrue(first.aborted)
        self.assertEqual(self.client.take(), b"")
        self.exchange(b"a\n", b"A\n")
        self.assertIsNot(self.connection, first)

    def test_unasked_unseen(self) -> None:
        """So it is if the request comes in the same instant."""
        for before in (b"", b"\n"):
            self.start()
            first = self.warm()
            first.unsent = b"B\n"
            first.carry()
            self.client.send(b"a" + before + b"\n")
            self.assertTrue(first.aborted)
            self.assertEqual(first.take(), b"")
            self.assertEqual(self.client.take(), b"")

    def test_behind_response(self) -> None:
        """What stands behind a response is nobody's: neither this client's nor the next one's."""
        other = self.relay.client()
        self.client.send(b"a\n")
        other.send(b"b\n")
        first = self.connection
        lines = logged(lambda: first.send(b"A\nB\n"))
        text = f"{BACKEND}: sent something unasked; the connection is closed"
        self.assertEqual(lines, [text])
        self.assertTrue(first.aborted)
        self.assertEqual((self.client.take(), other.take()), (b"A\n", b""))
        self.assertEqual(first.take(), b"a\n")
        self.assertEqual(self.connection.take(), b"b\n")
        self.connection.send(b"B\n")
        self.assertEqual(other.take(), b"B\n")
        self.exchange(b"c\n", b"C\n")


class UnsentTests(RelayTestCase):
    """Requests of which nothing has left: only these are sent on another connection."""

    def test_closed_meanwhile(self) -> None:
        """A connection that has ended without that being known is not used."""
        first = self.warm()
        first.vanish()
        self.client.send(b"a\n")
        self.assertIsNot(self.connection, first)
        self.assertEqual(self.connection.take(), b"a\n")
        self.connection.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n")

    def test_moved(self) -> None:
        """If a new one has ended already, requests go to another, of another backend."""
        self.start(backends=2)
        for backend in self.relay.backends:
            backend.accepting = False
        self.client.send(b"a\nb\n")
        first, second = sorted(self.relay.backends, key=lambda each: not each.attempts)
        first.attempts[0].accept(gone=True)
        self.assertEqual((len(first.attempts), len(second.attempts)), (1, 1))
        connection = second.attempts[0].accept()
        self.assertEqual(connection.take(), b"a\nb\n")
        connection.send(b"A\nB\n")
        self.assertEqual(self.client.take(), b"A\nB\n")
        self.assertEqual(self.relay.pool.stats().total.retried, 1)

    def test_before_others(self) -> None:
        """They go before those that came later."""
        self.relay.backends[0].accepting = False
        attempts = self.relay.backends[0].attempts
        other = self.relay.client()
        self.client.send(b"a\n")
        other.send(b"b\n")
        attempts[0].accept(gone=True)
        self.assertEqual(attempts[1].accept().take(), b"a\n")

    def test_twice(self) -> None:
        """They go to another so often, and then no more."""
        backend = self.relay.backends[0]
        backend.accepting = False
        self.client.send(b"a\n")
        for number in range(MAX_MOVES):
            self.assertEqual(logged(partial(backend.attempts[number].accept, gone=True)), [])
            self.assertFalse(self.client.closed)
        lines = logged(lambda: backend.attempts[MAX_MOVES].accept(gone=True))
        what = f"{BACKEND} closed the connection before its response"
        self.assertEqual(lines, [f"{VISITOR}: {what}; closed"])
        self.assertTrue(self.client.closed)
        self.assertEqual(len(backend.attempts), MAX_MOVES + 1)

    def test_each_time(self) -> None:
        """The next requests may be moved as often."""
        backend = self.relay.backends[0]
        for _ in range(3):
            backend.accepting = False
            self.client.send(b"a\n")
            for _ in range(MAX_MOVES):
                backend.attempts[-1].accept(gone=True)
            connection = backend.attempts[-1].accept()
            self.assertEqual(connection.take(), b"a\n")
            connection.send(b"A\n")
            self.assertEqual(self.client.take(), b"A\n")
            connection.close()

    def test_partly_sent(self) -> None:
        """If a part has left, they are not."""
        self.relay.capacity = 8192
        backend = self.relay.backends[0]
        backend.accepting = False
        self.client.send(b"a" * 500_000 + b"\n")
        connection = backend.attempts[0].accept(paused=True)
        self.assertGreater(connection.transport.buffered, 0)
        connection.close()
        self.assertTrue(self.client.closed)
        self.assertEqual(len(backend.attempts), 1)

    def test_waits(self) -> None:
        """Meanwhile no backend owes a response."""
        self.start(response_timeout=4.0, connect_timeout=30.0)
        backend = self.relay.backends[0]
        backend.accepting = False
        self.client.send(b"a\n")
        backend.attempts[0].accept(gone=True)
        self.relay.elapse(20.0)
        connection = backend.attempts[1].accept()
        self.assertEqual(connection.take(), b"a\n")
        connection.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n")

    def test_leaves(self) -> None:
        """Whoever leaves then leaves nothing behind."""
        backend = self.relay.backends[0]
        backend.accepting = False
        self.client.send(b"a\n")
        backend.attempts[0].accept(gone=True)
        self.client.close()
        total = self.relay.pool.stats().total
        self.assertEqual((total.waiting, total.queued), (0, 0))
        self.assertEqual(self.relay.relay.clients, set())
        connection = backend.attempts[1].accept()
        self.assertEqual(connection.take(), b"")
        self.exchange(b"b\n", b"B\n", self.relay.client())


class ConnectTests(RelayTestCase):
    """Backends that cannot be reached."""

    def test_refused(self) -> None:
        """If none can, the client is closed, and the log says why."""
        self.relay.backends[0].refusing = True
        lines = logged(lambda: self.client.send(b"a\n"))
        self.assertTrue(lines[0].startswith(f"{VISITOR}: {BACKEND}: "), lines)
        self.assertTrue(lines[0].endswith("; closed"))
        self.assertTrue(self.client.aborted)
        self.assertEqual(self.relay.relay.clients, set())

    def test_other(self) -> None:
        """If another can, it serves."""
        self.start(backends=2, pool=2)
        self.relay.backends[0].refusing = True
        for _ in range(4):
            self.exchange(b"a\n", b"A\n", self.relay.client())
        self.assertEqual(self.relay.backends[0].connections, [])

    def test_idle_clients(self) -> None:
        """Clients that ask nothing stay."""
        self.relay.backends[0].refusing = True
        self.relay.client().send(b"a\n")
        self.assertFalse(self.client.closed)
        self.relay.backends[0].refusing = False
        self.exchange(b"a\n", b"A\n")
