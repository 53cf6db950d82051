"""Clients that share connections: who is sent what, and in which order."""

from __future__ import annotations

from typing import Any

from .support import RelayTestCase, logged


class OrderTests(RelayTestCase):
    """One client, one connection."""

    def test_one(self) -> None:
        """A request goes to a backend, and its response comes back; then the client may go on."""
        for _ in range(3):
            self.exchange(b"a\n", b"A\n")
        self.assertEqual(len(self.relay.connections), 1)
        counts = self.relay.backends[0].counts
        self.assertEqual((counts.opened, counts.reused, counts.idle), (1, 2, 1))

    def test_whole(self) -> None:
        """No connection is asked for before a request is whole."""
        self.client.send(b"a")
        self.assertEqual(self.relay.backends[0].attempts, [])
        self.client.send(b"b\nc")
        self.assertEqual(self.connection.take(), b"ab\n")
        self.connection.send(b"AB\n")
        self.assertEqual(self.client.take(), b"AB\n")
        self.assertEqual(self.connection.take(), b"")

    def test_parts(self) -> None:
        """A response is passed on as it comes."""
        self.client.send(b"a\n")
        for piece in (b"A", b"B", b"C\n"):
            self.connection.send(piece)
            self.assertEqual(self.client.take(), piece)

    def test_pipelined(self) -> None:
        """Requests that came together are sent in one write, and answered in their order."""
        self.client.send(b"a\nb\nc\n")
        self.assertEqual(self.connection.transport.writes, [b"a\nb\nc\n"])
        self.connection.send(b"A\nB")
        self.assertEqual(self.client.take(), b"A\nB")
        self.connection.send(b"\nC\n")
        self.assertEqual(self.client.take(), b"\nC\n")
        self.assertEqual(self.relay.backends[0].counts.idle, 1)

    def test_waits_for_turn(self) -> None:
        """More requests are sent when those before have been answered, and not earlier."""
        self.start(pool=2)
        self.client.send(b"a\nb\n")
        for piece in (b"c\n", b"d", b"\n", b"e"):
            self.client.send(piece)
        self.connection.send(b"A\n")
        self.assertEqual(self.connection.take(), b"a\nb\n")
        self.connection.send(b"B\n")
        self.assertEqual(self.connection.take(), b"c\nd\n")
        self.assertEqual(len(self.relay.connections), 1)
        self.connection.send(b"C\nD\n")
        self.client.send(b"\n")
        self.assertEqual(self.connection.take(), b"e\n")
        self.assertEqual(self.client.take(), b"A\nB\nC\nD\n")

    def test_large_batch(self) -> None:
        """At most 128 requests are sent together."""
        self.client.send(b"a\n" * 300)
        for count in (128, 128, 44):
            self.assertEqual(self.connection.take(), b"a\n" * count)
            self.connection.send(b"A\n" * count)
            self.assertEqual(self.client.take(), b"A\n" * count)

    def test_not_verbose(self) -> None:
        """Of what goes well nothing is logged."""
        self.assertEqual(logged(self.warm), [])


class SharingTests(RelayTestCase):
    """Many clients."""

    def test_own_response(self) -> None:
        """Each has its own response, whatever the order in which connections answer."""
        self.start(pool=2)
        other = self.relay.client()
        self.client.send(b"a\n")
        other.send(b"b\n")
        first, second = self.relay.connections
        self.assertEqual((first.take(), second.take()), (b"a\n", b"b\n"))
        second.send(b"B\n")
        first.send(b"A\n")
        self.assertEqual((self.client.take(), other.take()), (b"A\n", b"B\n"))

    def test_line(self) -> None:
        """Who asked first is served first, one after another where there is one connection."""
        clients = [self.client, *(self.relay.client() for _ in range(4))]
        for number, client in enumerate(clients):
            client.send(b"%d\n" % number)
        for number, client in enumerate(clients):
            self.assertEqual(self.connection.take(), b"%d\n" % number)
            self.connection.send(b"=%d\n" % number)
            self.assertEqual(client.take(), b"=%d\n" % number)
        self.assertEqual(len(self.relay.connections), 1)

    def test_fair(self) -> None:
        """A client that always has more to ask takes turns with the others."""
        other = self.relay.client()
        self.client.send(b"a\n" * 128)
        self.client.send(b"b\n" * 128)
        other.send(b"c\n")
        self.client.send(b"d\n")
        self.connection.take()
        self.connection.send(b"A\n" * 128)
        self.assertEqual(self.connection.take(), b"c\n")
        self.connection.send(b"C\n")
        self.assertEqual(other.take(), b"C\n")
        self.assertEqual(self.connection.take(), b"b\n" * 128)

    def test_next_is_sent_first(self) -> None:
        """Whoever is next has its requests sent before the last response is passed on."""
        order: list[bytes] = []
        other = self.relay.client()
        self.client.send(b"a\n")
        other.send(b"b\n")
        for end in (self.client, self.connection):
            write = end.transport.write

            def noted(data: bytes, write: Any = write) -> None:
                order.append(data)
                write(data)

            end.transport.write = noted  # type: ignore[method-assign]  # to see the order
        self.connection.send(b"A\n")
        self.assertEqual(order, [b"b\n", b"A\n"])

    def test_silent_clients(self) -> None:
        """A client that asks nothing, or half a question, keeps nobody from a connection."""
        idle = [self.relay.client() for _ in range(3)]
        for client in idle:
            client.send(b"half a question")
        self.exchange(b"a\n", b"A\n")
        for client in idle:
            self.assertFalse(client.closed)

    def test_pool(self) -> None:
        """There are never more connections than C{--pool}, of each backend."""
        self.start(backends=2, pool=3)
        clients = [self.relay.client() for _ in range(20)]
        for client in clients:
            client.send(b"a\n")
        self.assertEqual([len(each.connections) for each in self.relay.backends], [3, 3])
        while any(each.received for each in self.relay.connections):
            for each in self.relay.connections:
                if each.take():
                    each.send(b"A\n")
        self.assertEqual([each.take() for each in clients], [b"A\n"] * 20)
        self.assertEqual(len(self.relay.connections), 6)

    def test_least_connections(self) -> None:
        """A new connection is opened where the fewest are busy."""
        self.start(backends=2, pool=2)
        for _ in range(4):
            self.relay.client().send(b"a\n")
        order = [self.relay.config.backends.index(each.backend) for each in self.busy()]
        self.assertEqual(sorted(order[:2]), [0, 1])
        self.assertEqual(sorted(order[2:]), [0, 1])

    def busy(self) -> list[Any]:
        """Connections with a request."""
        return [each for each in self.relay.connections if each.received]

    def test_any(self) -> None:
        """Whichever connection of whichever backend comes free serves who is next."""
        self.start(backends=2, pool=1)
        clients = [self.relay.client() for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(b"%d\n" % number)
        _, second = self.relay.connections
        self.assertEqual(second.take(), b"1\n")
        second.send(b"=1\n")
        self.assertEqual(second.take(), b"2\n")

    def test_other_while_connecting(self) -> None:
        """A connection that comes free serves whoever waits for one that is being opened."""
        self.start(pool=2)
        first = self.warm()
        self.client.send(b"a\n")
        self.relay.backends[0].accepting = False
        other = self.relay.client()
        other.send(b"b\n")
        self.assertEqual(first.take(), b"a\n")
        first.send(b"A\n")
        self.assertEqual(first.take(), b"b\n")
        first.send(b"B\n")
        self.assertEqual(other.take(), b"B\n")


class HalfCloseTests(RelayTestCase):
    """Clients that say that this was all."""

    def test_answered(self) -> None:
        """What was asked is answered, to the last, and then the connection is closed."""
        self.client.send(b"a\n")
        self.client.send(b"b\nc\n")
        self.client.end()
        self.connection.send(b"A\n")
        self.assertFalse(self.client.ended)
        self.assertEqual(self.connection.take(), b"a\nb\nc\n")
        self.connection.send(b"B\nC\n")
        self.assertEqual(self.client.take(), b"A\nB\nC\n")
        self.assertTrue(self.client.closed)
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.relay.relay.clients, set())
        self.assertEqual(self.relay.backends[0].counts.idle, 1)

    def test_waiting(self) -> None:
        """So it is if no connection is there yet."""
        self.relay.backends[0].accepting = False
        self.client.send(b"a\n")
        self.client.end()
        self.relay.backends[0].attempts[0].accept()
        self.connection.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n")
        self.assertTrue(self.client.ended_cleanly)

    def test_half_request(self) -> None:
        """A request that stays incomplete is forgotten, without a word."""
        self.client.send(b"a\nb")
        lines = logged(self.client.end)
        self.connection.send(b"A\n")
        self.assertEqual(self.connection.take(), b"a\n")
        self.assertEqual((self.client.take(), lines), (b"A\n", []))
        self.assertTrue(self.client.ended_cleanly)

    def test_idle(self) -> None:
        """Who is owed nothing is closed at once."""
        self.warm()
        self.client.end()
        self.assertTrue(self.client.closed)
        self.assertFalse(self.connection.closed)


class NumberTests(RelayTestCase):
    """What the relay counts."""

    def test_shared(self) -> None:
        """Requests, responses and their bytes, by backend, closed connections included."""
        self.start(backends=2)
        self.client.send(b"a\nbc\n")
        self.connection.send(b"A\n")
        backend = next(each for each in self.relay.backends if each.connections)
        for responses, received in ((1, 2), (2, 6)):
            traffic = backend.traffic
            self.assertEqual((traffic.requests, traffic.responses), (2, responses))
            self.assertEqual((traffic.sent, traffic.received), (5, received))
            self.assertEqual((traffic.owned, traffic.served), (0, 0))
            self.connection.send(b"BCD\n")
        self.connection.close()
        self.assertEqual(backend.traffic, traffic)
        other = next(each for each in self.relay.backends if each is not backend)
        self.assertEqual(other.traffic.requests, 0)
