"""Clients of a pool that keep their connection, for some requests or from one on."""

from __future__ import annotations

from .support import SIGNS, VISITOR, End, MemoryBackend, RelayTestCase, logged


class TransactionTests(RelayTestCase):
    """From a request that begins something to one that ends it."""

    def setUp(self) -> None:
        self.start(framing=SIGNS)

    def start(self, **options: object) -> None:
        super().start(**{"framing": SIGNS, **options})

    def wait(self) -> End:
        """Have another client wait for a connection."""
        other = self.relay.client()
        other.send(b"other\n")
        return other

    def check_served(self, other: End, connection: End) -> None:
        """Check that the other client is served, by this connection."""
        self.assertEqual(connection.take(), b"other\n")
        connection.send(b"OTHER\n")
        self.assertEqual(other.take(), b"OTHER\n")

    def test_held(self) -> None:
        """All of it passes on the same connection, and nobody else's requests between."""
        self.exchange(b"+\n", b"OK\n")
        other = self.wait()
        for request in (b"a\n", b"b\nc\n", b"#\n", b"d\n"):
            self.client.send(request)
            sent = b"" if request == b"#\n" else request
            self.assertEqual(self.connection.take(), sent)
            self.connection.send(sent.upper())
            self.assertEqual(self.client.take(), sent.upper())
        self.client.send(b"-\n")
        self.assertEqual(self.connection.take(), b"-\n")
        self.connection.send(b"DONE\n")
        self.assertEqual(self.client.take(), b"DONE\n")
        self.check_served(other, self.connection)
        self.assertEqual(len(self.relay.connections), 1)

    def test_at_once(self) -> None:
        """So it does if it comes in one piece; what follows it takes its turn."""
        self.client.send(b"a\n+\nb\n-\nc\n")
        other = self.wait()
        self.assertEqual(self.connection.take(), b"a\n+\nb\n-\n")
        self.connection.send(b"A\nOK\nB\nDONE\n")
        self.check_served(other, self.connection)
        self.assertEqual(self.connection.take(), b"c\n")

    def test_next_waits(self) -> None:
        """A request that comes while a response is due is sent when that has come."""
        self.client.send(b"+\n")
        self.client.send(b"a\n")
        self.assertEqual(self.connection.take(), b"+\n")
        self.connection.send(b"OK\n")
        self.assertEqual(self.connection.take(), b"a\n")

    def test_elsewhere(self) -> None:
        """Others have the connections that are left."""
        self.start(pool=2)
        self.exchange(b"+\n", b"OK\n")
        held = self.connection
        other = self.wait()
        self.check_served(other, self.connection)
        self.assertIsNot(self.connection, held)

    def test_ended_badly(self) -> None:
        """If its end fails, the connection may not be as it was: nobody gets it."""
        for pieces in ([b"-ERR no\n"], [b"-", b"ERR no\n"], [b"-ERR", b" ", b"no", b"\n"]):
            self.start()
            self.exchange(b"+\n", b"OK\n")
            other = self.wait()
            held = self.connection
            self.client.send(b"-\n")
            held.take()
            for piece in pieces:
                held.send(piece)
            self.assertEqual(self.client.take(), b"-ERR no\n")
            self.assertTrue(held.aborted)
            self.assertEqual(held.take(), b"")
            self.check_served(other, self.connection)
            self.exchange(b"next\n", b"NEXT\n")

    def test_ended_badly_behind(self) -> None:
        """It is the last response that counts, however the responses are cut."""
        for responses, kept in (
            ([b"OK\nA\n-ERR\n"], False),
            ([b"-ERR\n-ERR\nB\n"], True),
            ([b"OK\nA\n", b"-ERR\n"], False),
            ([b"-ERR\n", b"-ERR\n", b"B\n"], True),
            ([b"OK\nA\n-ERR", b"\n"], False),
            ([b"OK\n-ERR", b"\nB\n"], True),
            ([b"OK\n-", b"ERR\nB", b"\n"], True),
            ([b"O", b"K\nA", b"\n-ERR", b"\n"], False),
        ):
            self.start()
            self.client.send(b"+\na\n-\n")
            for piece in responses:
                self.connection.send(piece)
            self.assertEqual(self.client.take(), b"".join(responses))
            self.assertEqual((responses, self.connection.closed), (responses, not kept))

    def test_ended_badly_next(self) -> None:
        """How one ended says nothing of the next."""
        for pieces in ([b"OK\n"], [b"OK", b"\n"]):
            self.start()
            for request in (b"+\n", b"-\n"):
                self.client.send(request)
                for piece in pieces:
                    self.connection.send(piece)
            self.assertFalse(self.connection.closed)
            self.client.send(b"+\n")
            self.connection.send(b"OK\n")
            self.client.send(b"-\n")
            self.connection.send(b"-ERR\n")
            self.assertTrue(self.connection.aborted)

    def test_errors_within(self) -> None:
        """Other responses may say what they like."""
        for request in (b"a\n", b"+\n"):
            self.start()
            self.exchange(request, b"-ERR\n")
            self.assertFalse(self.connection.closed)

    def test_ended_with_surplus(self) -> None:
        """If more comes than was due, nobody gets the connection, and nobody what came."""
        self.exchange(b"+\n", b"OK\n")
        other = self.wait()
        held = self.connection
        self.client.send(b"-\n")
        lines = logged(lambda: held.send(b"DONE\nmore\n"))
        self.assertEqual(self.client.take(), b"DONE\n")
        self.assertTrue(held.aborted)
        self.check_served(other, self.connection)
        text = "unix:/run/backend-0.sock: sent something unasked; the connection is closed"
        self.assertEqual(lines, [text])

    def test_surplus_within(self) -> None:
        """If so within, the client is closed: what more it is told would be wrong."""
        for queued in (b"", b"a\n"):
            self.start()
            self.client.send(b"+\n")
            self.client.send(queued)
            lines = logged(lambda: self.connection.send(b"OK\nmore\n"))
            self.assertTrue(self.client.closed)
            self.assertNotIn(b"more", self.client.take())
            self.assertTrue(self.connection.aborted)
            text = f"{VISITOR}: unix:/run/backend-0.sock sent something unasked; closed"
            self.assertEqual(lines, [text])

    def test_unasked_between(self) -> None:
        """So it is if that comes between two requests."""
        self.exchange(b"+\n", b"OK\n")
        lines = logged(lambda: self.connection.send(b"more\n"))
        self.assertTrue(self.client.closed)
        self.assertEqual(self.client.take(), b"")
        self.assertTrue(self.connection.aborted)
        text = f"{VISITOR}: unix:/run/backend-0.sock sent something unasked; closed"
        self.assertEqual(lines, [text])

    def test_backend_leaves(self) -> None:
        """If the backend ends the connection, so does the relay that of the client."""
        for request in (b"", b"a\n"):
            self.start(backends=2)
            self.exchange(b"+\n", b"OK\n")
            self.client.send(request)
            lines = logged(self.connection.close)
            self.assertTrue(self.client.closed)
            self.assertEqual(len(self.relay.connections), 1)
            where = self.connection.backend
            part = " before its response" if request else ""
            self.assertEqual(lines, [f"{VISITOR}: {where} closed the connection{part}; closed"])

    def test_unsent(self) -> None:
        """A request within is not moved to another connection, even if nothing of it has left."""
        self.exchange(b"+\n", b"OK\n")
        # Not so short that it would leave with others at the end of the round of events.
        self.client.unsent = b"a" * 20_000 + b"\n"
        self.client.carry()
        self.connection.vanish()
        lines = logged(self.relay.reactor.settle)
        what = "unix:/run/backend-0.sock closed the connection before its response"
        self.assertEqual(lines, [f"{VISITOR}: {what}; closed"])
        self.assertTrue(self.client.closed)
        self.assertEqual(len(self.relay.connections), 1)

    def test_half_close(self) -> None:
        """A client that says no more is answered, and its connection is closed."""
        self.client.send(b"+\na\n")
        self.client.end()
        self.connection.send(b"OK\nA\n")
        self.assertEqual(self.client.take(), b"OK\nA\n")
        self.assertTrue(self.client.ended_cleanly)
        self.assertTrue(self.connection.closed)
        self.assertEqual(self.relay.pool.stats().total.active, 0)


class OwnTests(RelayTestCase):
    """From a request that needs a connection of its own on."""

    def setUp(self) -> None:
        self.start(framing=SIGNS)

    @property
    def backend(self) -> MemoryBackend:
        """The only one."""
        return self.relay.backends[0]

    def check_tunnel(self, connection: End) -> None:
        """Check that bytes pass both ways, whatever they are."""
        for data in (b"a\nb", b"?\n", b".\n", b"\0" * 3000):
            self.client.send(data)
            self.assertEqual(connection.take(), data)
            connection.send(data * 2)
            self.assertEqual(self.client.take(), data * 2)

    def test_own(self) -> None:
        """The client gets a connection, on which all that it sends arrives."""
        self.client.send(b"!own\nmore\n?and")
        self.assertEqual(self.connection.take(), b"!own\nmore\n?and")
        self.check_tunnel(self.connection)

    def test_out_of_pool(self) -> None:
        """Another connection may be opened in its place, at once for who waits already."""
        self.warm()
        self.client.send(b"!own\n")
        own = self.connection
        self.assertEqual(own.take(), b"!own\n")
        other = self.relay.client()
        other.send(b"other\n")
        self.assertIsNot(self.connection, own)
        self.assertEqual(self.connection.take(), b"other\n")
        self.connection.send(b"OTHER\n")
        self.assertEqual(other.take(), b"OTHER\n")
        self.assertEqual((self.backend.counts.active, self.backend.counts.idle), (0, 1))
        self.assertEqual((self.backend.traffic.owned, self.backend.traffic.served), (1, 1))
        self.check_tunnel(own)

    def test_many(self) -> None:
        """However many have one, the pool has as many as before."""
        clients = [self.relay.client() for _ in range(5)]
        for client in clients:
            client.send(b"!own\n")
        self.assertEqual([each.take() for each in self.relay.connections], [b"!own\n"] * 5)
        self.exchange(b"a\n", b"A\n")
        self.assertEqual(self.backend.traffic.owned, 5)

    def test_what_came_before(self) -> None:
        """What came before is answered first."""
        self.start(framing=SIGNS, pool=2)
        self.client.send(b"a\nb\n!own\nc")
        self.assertEqual(self.connection.take(), b"a\nb\n")
        self.connection.send(b"A\n")
        self.client.send(b"d")
        self.assertEqual(self.connection.take(), b"")
        self.connection.send(b"B\n")
        self.assertEqual(self.client.take(), b"A\nB\n")
        self.assertEqual(self.connection.take(), b"!own\ncd")
        self.assertEqual(len(self.relay.connections), 1)
        self.check_tunnel(self.connection)

    def test_waits(self) -> None:
        """It takes its turn: what it sends meanwhile is kept, and then arrives."""
        other = self.relay.client()
        other.send(b"other\n")
        self.client.send(b"!own\n")
        self.client.send(b"more")
        self.assertEqual(self.connection.take(), b"other\n")
        self.connection.send(b"OTHER\n")
        self.assertEqual(self.connection.take(), b"!own\nmore")
        self.check_tunnel(self.connection)

    def test_much_meanwhile(self) -> None:
        """What is kept is bounded; all of it arrives."""
        client = self.client = self.relay.client(capacity=8192)
        self.backend.accepting = False
        data = b"!own\n" + bytes(1_000_000)
        client.send(data)
        self.assertTrue(client.paused)
        self.assertGreater(len(client.unsent), 800_000)
        self.backend.attempts[0].accept()
        self.assertEqual(self.connection.take(), data)
        self.check_tunnel(self.connection)

    def test_much_behind_request(self) -> None:
        """So it is while a response is due."""
        client = self.client = self.relay.client(capacity=8192)
        client.send(b"a\n")
        data = b"!own\n" + bytes(1_000_000)
        client.send(data)
        self.assertTrue(client.paused)
        self.assertGreater(len(client.unsent), 800_000)
        self.assertEqual(self.connection.take(), b"a\n")
        self.connection.send(b"A\n")
        self.assertEqual(self.connection.take(), data)
        self.assertEqual(client.take(), b"A\n")
        self.check_tunnel(self.connection)

    def test_in_transaction(self) -> None:
        """Within a transaction it is the connection of that."""
        self.start(framing=SIGNS, pool=2)
        self.exchange(b"+\n", b"OK\n")
        self.client.send(b"a\n!own\n")
        self.assertEqual(self.connection.take(), b"a\n")
        self.connection.send(b"A\n")
        self.assertEqual(self.connection.take(), b"!own\n")
        self.assertEqual(self.client.take(), b"A\n")
        self.assertEqual(len(self.relay.connections), 1)
        self.check_tunnel(self.connection)
        self.assertEqual(self.backend.counts.active, 0)

    def test_not_reused(self) -> None:
        """When the client leaves, its connection is closed."""
        for leave in (End.close, End.reset):
            self.start(framing=SIGNS)
            self.client.send(b"!own\n")
            leave(self.client)
            self.assertTrue(self.connection.closed)
            self.assertEqual(self.backend.traffic.owned, 0)
            self.assertEqual(self.relay.relay.clients, set())

    def test_half_close(self) -> None:
        """That a client will say no more reaches the backend, if it is said before, too."""
        for when in ("before", "after"):
            self.start(framing=SIGNS)
            self.client.send(b"a\n!own\n")
            if when == "before":
                self.client.end()
            self.connection.send(b"A\n")
            if when == "after":
                self.client.end()
            self.assertEqual(self.connection.take(), b"a\n!own\n")
            self.assertTrue(self.connection.output_ended)
            self.connection.send(b"bye")
            self.assertEqual(self.client.take(), b"A\nbye")
            self.connection.end()
            self.assertTrue(self.client.ended_cleanly)
            self.assertTrue(self.connection.closed)

    def test_numbers(self) -> None:
        """What passed on a shared connection stays counted when it becomes somebody's own."""
        self.warm()
        self.client.send(b"a\n!own\n")
        self.connection.send(b"A\n")
        for _ in range(2):
            traffic = self.backend.traffic
            self.assertEqual((traffic.requests, traffic.responses), (2, 2))
            self.assertEqual((traffic.sent, traffic.received), (12, 9))
            self.client.close()


class LastTests(RelayTestCase):
    """Clients that ask to leave."""

    def setUp(self) -> None:
        self.start(framing=SIGNS)

    def test_alone(self) -> None:
        """They are told farewell, and no backend is bothered."""
        self.client.send(b".\n")
        self.assertEqual(self.client.take(), b"bye\n")
        self.assertTrue(self.client.ended_cleanly)
        self.assertTrue(self.client.closed)
        self.assertEqual(self.backend_attempts(), 0)

    def backend_attempts(self) -> int:
        """How often the backend was asked for a connection."""
        return len(self.relay.backends[0].attempts)

    def test_after_others(self) -> None:
        """What came before is answered first; what comes behind is dropped."""
        self.client.send(b"a\nb\n.\nc\n?")
        self.client.send(b"d\n" * 1000)
        self.assertEqual(self.connection.take(), b"a\nb\n")
        self.connection.send(b"A\nB\n")
        self.assertEqual(self.client.take(), b"A\nB\nbye\n")
        self.assertTrue(self.client.ended)
        self.assertEqual(self.connection.take(), b"")
        self.assertEqual(self.relay.backends[0].counts.idle, 1)

    def test_once(self) -> None:
        """They are told so once, though the relay stops before they have taken it."""
        client = self.relay.client(capacity=8192)
        client.pause()
        client.send(b"a\n.\n")
        self.connection.send(b"x" * 40_000 + b"\n")
        self.assertGreater(client.transport.buffered, 0)
        self.relay.drain()
        client.resume()
        self.assertEqual(client.take()[40_000:], b"\nbye\n")

    def test_in_transaction(self) -> None:
        """A connection that is not as it was before is closed."""
        self.exchange(b"+\n", b"OK\n")
        self.client.send(b".\n")
        self.assertEqual(self.client.take(), b"bye\n")
        self.assertTrue(self.client.ended)
        self.assertTrue(self.connection.closed)
        self.assertEqual(self.connection.take(), b"")
