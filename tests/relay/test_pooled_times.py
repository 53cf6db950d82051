"""How long the clients of a pool are waited for, and how long they wait; and the end of all."""

from __future__ import annotations

from .support import SIGNS, VISITOR, End, RelayTestCase, logged

BACKEND = "unix:/run/backend-0.sock"


class TimeoutTests(RelayTestCase):
    """All deadlines."""

    def check_in(self, seconds: float, what: str | None) -> None:
        """Check that the client is closed after so many seconds, not before, and what is logged."""
        self.assertEqual(logged(lambda: self.relay.elapse(seconds - 0.5)), [])
        self.assertFalse(self.client.closed)
        lines = logged(lambda: self.relay.elapse(2.0))
        self.assertTrue(self.client.closed)
        self.assertEqual(lines, [] if what is None else [f"{VISITOR}: {what}; closed"])
        self.assertEqual(self.relay.relay.clients, set())

    def test_response(self) -> None:
        """A backend that owes a response may be silent for C{--response-timeout}."""
        silent = f"{BACKEND} is silent and owes a response"
        for before, sent in ((b"", b""), (b"", b"A"), (b"", b"A\nB"), (b"+\n", b"A")):
            self.start(framing=SIGNS, response_timeout=20.0, client_timeout=5.0)
            if before:
                self.exchange(before, b"OK\n")
            self.client.send(b"a\nb\n")
            self.relay.elapse(15.0)
            if sent:
                self.connection.send(sent)
                self.check_in(20.0, silent)
            else:
                self.check_in(5.0, silent)
            self.assertEqual(self.client.take(), sent)
            self.assertTrue(self.connection.aborted)
            self.relay.client().send(b"next\n")
            self.assertEqual(self.connection.take(), b"next\n")

    def test_response_while_waiting(self) -> None:
        """The time in which it waits for a connection does not count."""
        self.start(response_timeout=5.0, queue_timeout=30.0)
        busy = self.relay.client()
        busy.send(b"busy\n")
        self.client.send(b"a\n")
        for _ in range(4):
            self.relay.elapse(4.0)
            self.connection.send(b"B")
        self.connection.send(b"\n")
        busy.close()
        self.check_in(5.0, f"{BACKEND} is silent and owes a response")

    def test_waiting(self) -> None:
        """Of who waits for a connection nothing is expected."""
        self.start(client_timeout=5.0, queue_timeout=30.0)
        busy = self.relay.client()
        busy.send(b"busy\n")
        self.client.send(b"a")
        self.client.send(b"\nb")
        self.relay.elapse(25.0)
        self.connection.take()
        self.connection.send(b"BUSY\n")
        self.assertEqual(self.connection.take(), b"a\n")

    def test_half_request(self) -> None:
        """A client in the middle of a request may be silent for C{--client-timeout}."""
        silent = "is silent in the middle of a request"
        self.start(client_timeout=20.0)
        self.warm()
        for piece in (b"a", b"b"):
            self.client.send(piece)
            self.relay.elapse(15.0)
        self.check_in(5.0, silent)

    def test_half_request_behind(self) -> None:
        """The time in which a response is due to it does not count."""
        self.start(client_timeout=5.0, response_timeout=60.0)
        self.client.send(b"a\nb")
        self.relay.elapse(50.0)
        self.connection.send(b"A\n")
        self.check_in(5.0, "is silent in the middle of a request")

    def test_transaction(self) -> None:
        """A transaction may take so long in all: its connection is closed then."""
        self.start(framing=SIGNS, client_timeout=5.0)
        self.exchange(b"+\n", b"OK\n")
        self.relay.elapse(4.0)
        self.exchange(b"a\n", b"A\n")
        self.check_in(1.0, "takes too long for its transaction")
        self.assertTrue(self.connection.aborted)

    def test_busy_transaction(self) -> None:
        """So it is for one in which something is always due: what is under way is answered."""
        self.start(framing=SIGNS, client_timeout=5.0)
        self.exchange(b"+\n", b"OK\n")
        self.client.send(b"a\n")
        self.connection.take()
        self.client.send(b"b\n")
        self.relay.elapse(6.0)
        lines = logged(lambda: self.connection.send(b"A\n"))
        self.assertEqual(lines, [f"{VISITOR}: takes too long for its transaction; closed"])
        self.assertEqual((self.connection.take(), self.connection.aborted), (b"", True))

    def test_next_transaction(self) -> None:
        """Each has its time."""
        self.start(framing=SIGNS, client_timeout=5.0)
        for _ in range(3):
            self.exchange(b"+\n", b"OK\n")
            self.relay.elapse(4.0)
            self.exchange(b"-\n", b"OK\n")

    def test_idle(self) -> None:
        """One that is owed nothing and asks nothing may be so for C{--idle-timeout}."""
        self.start(idle_timeout=100.0, client_timeout=5.0)
        self.relay.elapse(90.0)
        self.warm()
        self.check_in(100.0, None)

    def test_idle_at_first(self) -> None:
        """So it is from the first."""
        self.start(idle_timeout=100.0, client_timeout=5.0)
        self.check_in(100.0, None)

    def test_ignored(self) -> None:
        """What is left out is a sign of life as well."""
        self.start(framing=SIGNS, idle_timeout=100.0)
        self.relay.elapse(90.0)
        self.client.send(b"#\n")
        self.check_in(100.0, None)

    def test_slow_backend(self) -> None:
        """A slow response is waited for as long as something comes."""
        self.start(response_timeout=5.0, client_timeout=5.0, idle_timeout=5.0)
        self.client.send(b"a\n")
        for _ in range(10):
            self.relay.elapse(4.0)
            self.connection.send(b"A")
        self.connection.send(b"\n")
        self.assertEqual(self.client.take(), b"A" * 10 + b"\n")


class QueueTests(RelayTestCase):
    """Requests that wait for a connection."""

    def test_timeout(self) -> None:
        """They wait for C{--queue-timeout}; whoever has a connection is not concerned."""
        self.start(queue_timeout=8.0, response_timeout=30.0)
        busy = self.relay.client()
        busy.send(b"busy\n")
        self.client.send(b"a\n")
        self.assertEqual(logged(lambda: self.relay.elapse(7.5)), [])
        lines = logged(lambda: self.relay.elapse(3.0))
        what = f"{BACKEND}: no connection came free in time"
        self.assertEqual(lines, [f"{VISITOR}: {what}; closed"])
        self.assertTrue(self.client.aborted)
        self.connection.send(b"BUSY\n")
        self.assertEqual(busy.take(), b"BUSY\n")
        self.assertEqual(self.connection.take(), b"busy\n")

    def test_connecting(self) -> None:
        """Connecting has its own limit."""
        self.start(connect_timeout=3.0, queue_timeout=30.0)
        self.relay.backends[0].accepting = False
        self.client.send(b"a\n")
        lines = logged(lambda: self.relay.elapse(4.0))
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].startswith(f"{VISITOR}: {BACKEND}: "), lines)
        self.assertTrue(self.client.aborted)
        self.assertTrue(self.relay.backends[0].attempts[0].cancelled)

    def test_full(self) -> None:
        """No more than C{--max-queue} of them wait: who is one too many is closed at once."""
        self.start(max_queue=2)
        busy, *waiting = (self.relay.client() for _ in range(3))
        for client in (busy, *waiting):
            client.send(b"a\n")
        lines = logged(lambda: self.client.send(b"one too many\n"))
        what = f"{BACKEND}: too many requests wait for a connection"
        self.assertEqual(lines, [f"{VISITOR}: {what}; closed"])
        self.assertTrue(self.client.aborted)
        for client in (busy, *waiting):
            self.assertEqual(self.connection.take(), b"a\n")
            self.connection.send(b"A\n")
            self.assertEqual(client.take(), b"A\n")

    def test_much_meanwhile(self) -> None:
        """A client that is closed so while it sends much more is simply gone."""
        self.start(max_queue=0)
        self.relay.client().send(b"busy\n")
        self.client.send(b"a\n" * 100_000)
        self.assertTrue(self.client.aborted)
        self.assertEqual(len(self.relay.relay.clients), 1)
        self.assertEqual(self.connection.take(), b"busy\n")


class KeepingTests(RelayTestCase):
    """How long connections are kept."""

    def test_idle(self) -> None:
        """An idle one is closed after C{--pool-idle-timeout}."""
        self.start(pool_idle_timeout=20.0)
        self.warm()
        self.relay.elapse(19.0)
        self.assertFalse(self.connection.closed)
        self.relay.elapse(2.5)
        self.assertTrue(self.connection.closed)
        self.assertFalse(self.connection.aborted)
        self.exchange(b"a\n", b"A\n")

    def test_age(self) -> None:
        """One that is older than C{--pool-max-age} serves no more, but is not interrupted."""
        self.start(pool_max_age=30.0)
        first = self.warm()
        self.relay.elapse(29.0)
        self.client.send(b"a\n")
        self.relay.elapse(5.0)
        first.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n")
        self.assertTrue(first.closed)

    def test_held(self) -> None:
        """Neither counts for one that is kept by a client."""
        self.start(framing=SIGNS, pool_idle_timeout=5.0, pool_max_age=5.0, client_timeout=60.0)
        self.exchange(b"+\n", b"OK\n")
        self.relay.elapse(50.0)
        self.exchange(b"-\n", b"OK\n")

    def test_minimum(self) -> None:
        """C{--pool-min} of them are opened before anybody asks, and again when they end."""
        self.start(backends=2, pool=3, pool_min=2)
        self.relay.prewarm()
        self.assertEqual([len(each.open) for each in self.relay.backends], [2, 2])
        self.exchange(b"a\n", b"A\n")
        self.assertEqual(len(self.relay.connections), 4)
        self.relay.elapse(20.0)
        for connection in self.relay.backends[0].connections:
            connection.close()
        self.relay.elapse(5.0)
        self.assertEqual([len(each.open) for each in self.relay.backends], [2, 2])

    def test_minimum_taken_out(self) -> None:
        """One that has become a client's own does not count."""
        self.start(framing=SIGNS, pool=2, pool_min=2)
        self.relay.prewarm()
        self.relay.elapse(20.0)
        self.client.send(b"!own\n")
        self.relay.elapse(5.0)
        self.assertEqual(len(self.relay.backends[0].open), 3)


class StopTests(RelayTestCase):
    """A relay that stops."""

    def test_idle(self) -> None:
        """Whoever is owed nothing is closed at once."""
        self.warm()
        drained = self.relay.drain()
        self.successResultOf(drained)
        self.assertTrue(self.client.ended_cleanly)

    def test_new(self) -> None:
        """So is who has not asked anything yet."""
        self.successResultOf(self.relay.drain())
        self.assertTrue(self.client.ended_cleanly)

    def test_answers(self) -> None:
        """What was asked is answered first, all of it."""
        self.client.send(b"a\n")
        self.client.send(b"b\n")
        drained = self.relay.drain()
        for request, response in ((b"a\n", b"A\n"), (b"b\n", b"B\n")):
            self.assertNoResult(drained)
            self.assertEqual(self.connection.take(), request)
            self.connection.send(response)
            self.assertEqual(self.client.take(), response)
        self.successResultOf(drained)
        self.assertTrue(self.client.ended_cleanly)

    def test_waiting(self) -> None:
        """So it is for who waits for a connection."""
        self.relay.backends[0].accepting = False
        self.client.send(b"a\n")
        drained = self.relay.drain()
        self.assertNoResult(drained)
        self.relay.backends[0].attempts[0].accept()
        self.connection.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n")
        self.successResultOf(drained)

    def test_half_request(self) -> None:
        """A request that has begun is waited for, and answered."""
        self.client.send(b"a")
        drained = self.relay.drain()
        self.assertNoResult(drained)
        self.client.send(b"b\n")
        self.assertEqual(self.connection.take(), b"ab\n")
        self.connection.send(b"AB\n")
        self.assertEqual(self.client.take(), b"AB\n")
        self.successResultOf(drained)

    def test_transaction(self) -> None:
        """So is the end of a transaction."""
        self.start(framing=SIGNS)
        self.exchange(b"+\n", b"OK\n")
        drained = self.relay.drain()
        self.exchange(b"a\n", b"A\n")
        self.assertNoResult(drained)
        self.exchange(b"-\n", b"DONE\n")
        self.successResultOf(drained)
        self.assertTrue(self.client.ended_cleanly)

    def test_slow_client(self) -> None:
        """A client that reads slowly gets all that it is owed."""
        client = self.relay.client(capacity=8192)
        client.pause()
        client.send(b"a\n")
        self.connection.send(b"x" * 300_000 + b"\n")
        self.client.close()
        drained = self.relay.drain()
        self.assertNoResult(drained)
        client.resume()
        self.assertEqual(len(client.take()), 300_001)
        self.successResultOf(drained)

    def test_abort(self) -> None:
        """In the end all are broken off, whatever they wait for."""
        self.start(framing=SIGNS, pool=4)
        idle = self.client
        under_way, half, held, own, gone = clients = [self.relay.client() for _ in range(5)]
        under_way.send(b"a\n")
        half.send(b"b")
        self.exchange(b"+\n", b"OK\n", held)
        own.send(b"!\n")
        gone.send(b"c\n")
        gone.close()
        self.relay.backends[0].accepting = False
        waiting = [self.relay.client() for _ in range(3)]
        for client in waiting:
            client.send(b"w\n")
        drained = self.relay.drain()
        self.assertNoResult(drained)
        self.assertTrue(idle.ended_cleanly)
        lines = logged(self.abort)
        self.successResultOf(drained)
        self.assertEqual(lines, [])
        aborted: list[End] = [*clients[:4], *waiting]
        self.assertEqual([each.aborted for each in aborted], [True] * 7)
        self.assertEqual([each.closed for each in self.relay.connections], [True] * 4)
        self.assertEqual(self.relay.relay.clients, set())
        self.assertEqual(self.relay.pool.stats().total.waiting, 0)

    def abort(self) -> None:
        """Break off all clients, which wait for nothing from then on."""
        self.relay.relay.abort()
        self.assertEqual(self.relay.pool.stats().total.waiting, 0)
        self.relay.reactor.settle()
