"""What all clients of the relay share: numbers, and what the log tells."""

from __future__ import annotations

from fastcar_tw.relay.traffic import RelayStats, Traffic

from .support import VISITOR, logged
from .test_pair import PairTestCase


class StatsTests(PairTestCase):
    """A snapshot of all numbers."""

    @property
    def stats(self) -> RelayStats:
        """Now."""
        return self.relay.relay.stats()

    def test_beginning(self) -> None:
        """Before any client all is zero, and every backend is there."""
        self.begin(clients=0, backends=2)
        stats = self.stats
        self.assertEqual((stats.clients, stats.accepted, stats.refused), (0, 0, 0))
        self.assertEqual(list(stats.traffic), [each.backend for each in self.relay.backends])
        self.assertEqual(list(stats.traffic.values()), [Traffic(), Traffic()])

    def test_clients(self) -> None:
        """Clients are counted while they are there, and how many have come."""
        other = self.relay.client()
        self.assertEqual((self.stats.clients, self.stats.accepted), (2, 2))
        other.close()
        self.assertEqual((self.stats.clients, self.stats.accepted), (1, 2))
        self.client.close()
        self.assertEqual((self.stats.clients, self.stats.accepted), (0, 2))

    def test_waiting(self) -> None:
        """Who waits for a connection is told by the pool's numbers."""
        self.waiting()
        self.assertEqual((self.stats.pool.total.waiting, self.stats.pool.total.opening), (1, 1))
        self.accept()
        self.assertEqual((self.stats.pool.total.waiting, self.stats.pool.total.active), (0, 1))

    def test_snapshot(self) -> None:
        """It does not change any more, and asking changes nothing."""
        self.client.send(b"12345")
        key = self.relay.backends[0].backend
        before = self.stats
        self.client.send(b"67")
        self.assertEqual((before.traffic[key].sent, self.stats.traffic[key].sent), (5, 7))
        self.client.close()
        self.assertEqual((before.traffic[key].owned, self.stats.traffic[key].owned), (1, 0))
        self.assertEqual((self.stats.traffic[key].sent, self.stats.traffic[key].sent), (7, 7))

    def test_several_pairs(self) -> None:
        """What passes in several pairs is added up, those that have ended included."""
        clients = [self.client, self.relay.client(), self.relay.client()]
        for client, size in zip(clients, (1, 10, 100), strict=True):
            client.send(bytes(size))
        for connection in self.relay.connections:
            connection.send(b"xy")
        clients[1].close()
        [traffic] = self.stats.traffic.values()
        self.assertEqual(traffic, Traffic(owned=2, served=3, sent=111, received=6))


class LogTests(PairTestCase):
    """What is told of clients that are served."""

    def test_quiet(self) -> None:
        """Unless asked for nothing is told of what goes well."""

        def serve() -> None:
            self.begin()
            self.client.send(b"question")
            self.connection.send(b"answer")
            self.client.close()
            self.begin(pool=1)
            self.exchange(b"ask\n", b"told\n")
            self.client.close()

        self.assertEqual(logged(serve), [])

    def test_verbose(self) -> None:
        """With --verbose each pair is told of, when it is connected, and when it has ended, with
        the time since the client came and what has passed."""
        self.begin(clients=0, verbose=True)
        backend = self.relay.backends[0]
        backend.accepting = False
        self.relay.elapse(5.0)
        self.client = self.relay.client()
        self.assertEqual(logged(lambda: self.relay.elapse(1.5)), [])
        pair = f"{VISITOR} with {backend.backend}"
        self.assertEqual(logged(backend.attempts[0].accept), [f"{pair}: connected"])
        self.client.send(b"question")
        self.connection.send(b"an answer")
        self.relay.elapse(2.5)
        lines = logged(self.client.close)
        self.assertEqual(
            lines,
            [f"{pair}: ended after 4.000 s, 8 bytes sent to the backend, 9 to the client"],
        )

    def test_verbose_end(self) -> None:
        """The end is told once, when both connections have ended."""
        self.begin(verbose=True)
        self.assertEqual(logged(self.client.end), [])
        self.assertEqual(len(logged(self.connection.end)), 1)

    def test_verbose_leaving(self) -> None:
        """A client that has left before it was connected is no pair."""
        self.begin(clients=0, verbose=True)
        self.relay.backends[0].accepting = False
        self.client = self.relay.client()

        def leave() -> None:
            self.client.close()
            self.relay.backends[0].attempts[0].accept()

        self.assertEqual(logged(leave), [])
