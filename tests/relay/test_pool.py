"""The pool of connections to backends that all do the same."""

from __future__ import annotations

import errno
import os
from functools import partial
from itertools import pairwise
from typing import Any

from twisted.internet.error import ConnectError

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.pool.stats import Retired
from fastcar_tw.relay.connection import BackendConnection
from fastcar_tw.relay.traffic import Traffic
from fastcar_tw.upstream.backends import Backend

from .support import SIGNS, End, MemoryBackend, MemoryRelay, RelayTestCase, logged

#: What pins a connection to its client, and what takes it out of the pool.
MULTI = b"*1\r\n$5\r\nMULTI\r\n"
SUBSCRIBE = b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"
PING = b"*1\r\n$4\r\nPING\r\n"
PONG = b"+PONG\r\n"


class PoolTestCase(RelayTestCase):
    """Has a relay with two backends and no client yet."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, **options: Any) -> None:
        """Begin anew, in pair mode unless something else is said."""
        self.relay = MemoryRelay(**{"backends": 2, "pool": None, **options})
        self.addCleanup(self.relay.close)

    @property
    def one(self) -> MemoryBackend:
        """The first backend."""
        return self.relay.backends[0]

    @property
    def two(self) -> MemoryBackend:
        """The second."""
        return self.relay.backends[1]

    def come(self, count: int = 1) -> list[End]:
        """So many clients connect, one after another."""
        clients = []
        for _ in range(count):
            clients.append(self.relay.client())
            self.relay.reactor.settle()
        return clients

    def attempts(self) -> list[int]:
        """How often each backend was tried."""
        return [len(each.attempts) for each in self.relay.backends]

    def open(self) -> list[int]:
        """How many connections each has."""
        return [len(each.open) for each in self.relay.backends]


class ChooseTests(PoolTestCase):
    """Whom to ask for a connection."""

    def test_fewest(self) -> None:
        """The backend with the fewest clients."""
        clients = self.come(6)
        self.assertEqual(self.open(), [3, 3])
        for client in clients[1::2]:  # of the second backend
            client.close()
        self.assertEqual(self.open(), [3, 0])
        self.come(2)
        self.assertEqual(self.open(), [3, 2])

    def test_fewest_while_connecting(self) -> None:
        """One that is on its way is a client as much as one that is there."""
        self.two.refusing = True
        self.come(3)
        self.assertEqual(self.open(), [3, 0])
        self.two.refusing = self.two.accepting = False
        self.relay.elapse(2.0)
        self.two.attempts[-1].accept()
        self.one.accepting = False
        before = self.attempts()
        for _ in range(5):
            self.relay.client()
        after = self.attempts()
        self.assertEqual([now - then for now, then in zip(after, before, strict=True)], [1, 4])

    def test_turns(self) -> None:
        """Equals take turns, also when each client has left before the next one comes."""
        for _ in range(4):
            (client,) = self.come()
            client.close()
        self.assertEqual(self.attempts(), [2, 2])

    def test_one(self) -> None:
        """The only backend is the choice whatever is wrong with it."""
        self.begin(backends=1, fail_fast_after=1)
        self.one.refusing = True
        self.come(2)
        self.assertEqual(self.relay.pool.choose(), self.one.backend)
        self.assertEqual(self.attempts(), [1])

    def test_rather_not(self) -> None:
        """Not the one that has just failed, unless it is the only one, or the other one fails to
        be reached."""
        pool = self.relay.pool
        one, two = self.one.backend, self.two.backend
        for _ in range(4):
            self.assertEqual(pool.choose(but=one), two)
        self.assertEqual(pool.choose(), one)
        self.two.refusing = True
        while not self.two.attempts:
            self.come()
        self.assertEqual(pool.choose(but=one), one)
        self.begin(backends=1)
        self.assertEqual(self.relay.pool.choose(but=one), one)

    def test_full(self) -> None:
        """One with room before one that has none."""
        self.begin(pool=2)
        clients = self.come(4)
        for client in clients:
            client.send(b"ask\n")
        for connection in self.two.open:
            connection.send(b"told\n")
        for client in clients[:3:2]:
            self.assertEqual(client.received, b"")
        self.assertEqual([self.relay.pool.choose() for _ in range(3)], [self.two.backend] * 3)

    def test_full_first(self) -> None:
        """So it is though it has more clients, with connections of their own."""
        self.begin(pool=1, framing="resp")
        clients = self.come(4)
        for client in clients[:2]:
            client.send(SUBSCRIBE)
        clients[2].send(PING)  # to the first backend, as equals take turns
        clients[3].send(SUBSCRIBE)
        self.assertEqual([self.one.counts.active, self.two.counts.active], [1, 0])
        self.assertEqual([self.one.traffic.owned, self.two.traffic.owned], [1, 2])
        self.assertEqual([self.relay.pool.choose() for _ in range(3)], [self.two.backend] * 3)

    def test_own_count(self) -> None:
        """Clients with a connection of their own count, though it is out of the pool."""
        self.begin(pool=2, framing="resp")
        clients = self.come(4)
        for client in clients:
            client.send(SUBSCRIBE)
        self.assertEqual(self.open(), [2, 2])
        for client in clients[1::2]:
            client.close()
        self.assertEqual(self.open(), [2, 0])
        for client in self.come(2):
            client.send(SUBSCRIBE)
        self.assertEqual(self.open(), [2, 2])


class FailingTests(PoolTestCase):
    """Backends that cannot be reached."""

    def failing(self, **options: Any) -> list[End]:
        """The first backend is not there, and somebody has found that out."""
        self.begin(**options)
        self.one.refusing = True
        clients = self.come()
        if "pool" in options:
            clients[0].send(b"find out\n")
            self.two.connections[0].take()
            self.two.connections[0].send(b"found out\n")
        self.assertEqual(self.attempts(), [1, 1])
        return clients

    def test_skipped(self) -> None:
        """While another works nobody is sent to it, from the first failure on, and nobody fails."""
        self.failing()
        clients = self.come(5)
        self.assertEqual((self.attempts(), self.open()), ([1, 6], [0, 6]))
        self.assertFalse(any(each.closed for each in clients))

    def test_tried_again(self) -> None:
        """The pool itself finds out when it can be reached again, and clients are sent there."""
        self.failing()
        self.relay.elapse(1.25)
        self.assertEqual(self.attempts(), [2, 1])
        self.one.refusing = False
        self.relay.elapse(1.25)
        self.assertEqual(self.attempts(), [3, 1])
        self.assertEqual(self.one.open, [])  # nobody wanted it
        self.come()
        self.assertEqual(self.open(), [1, 1])

    def test_intervals(self) -> None:
        """It is tried every second until it is left alone, then less and less often."""
        self.failing(fail_fast_after=3)
        times = []
        for at in range(60):
            before = self.attempts()[0]
            self.relay.elapse(1.0)
            if self.attempts()[0] > before:
                times.append(at)
        gaps = [late - early for early, late in pairwise(times)]
        self.assertEqual(gaps[0], 1)
        self.assertEqual(sorted(gaps), gaps)
        self.assertGreaterEqual(gaps[-1], 11)
        self.assertEqual(self.attempts()[1], 1)

    def test_pooled(self) -> None:
        """Of shared connections, too, and the one that shows it serves whoever comes."""
        self.failing(pool=1)
        (client,) = self.come()
        client.send(b"ask\n")
        self.assertEqual(self.attempts(), [1, 1])
        self.one.refusing = False
        self.relay.elapse(1.25)
        self.assertEqual(self.open(), [1, 1])
        (other,) = self.come()
        other.send(b"ask too\n")
        self.assertEqual(
            [each.received for each in self.relay.connections], [b"ask\n", b"ask too\n"]
        )

    def test_all(self) -> None:
        """When all have failed clients are sent to the one that is not left alone, or whose turn
        it is; each tries all of them."""
        self.one.refusing = self.two.refusing = True
        (client,) = self.come()
        self.assertTrue(client.aborted)
        self.assertEqual(self.attempts(), [1, 1])
        (client,) = self.come()
        self.assertTrue(client.aborted)
        self.assertEqual(sum(self.attempts()), 3)
        self.one.refusing = False
        clients = self.come(2)
        self.assertTrue(all(each.backend == self.one.backend for each in self.relay.connections))
        self.assertFalse(clients[-1].closed)

    def test_left_alone(self) -> None:
        """Of those that have failed one that may be tried is the choice, in any case."""
        self.begin(fail_fast_after=2)
        self.one.refusing = self.two.refusing = True
        self.come(2)
        alone = [each for each in self.relay.backends if len(each.attempts) == 2]
        [other] = [each for each in self.relay.backends if each not in alone]
        self.assertEqual([self.relay.pool.choose() for _ in range(4)], [other.backend] * 4)
        self.assertEqual(self.relay.pool.choose(but=other.backend), other.backend)

    def test_error(self) -> None:
        """Why a backend cannot be reached is told until it can."""
        self.failing()
        error = self.relay.pool.last_error(self.one.backend)
        assert isinstance(error, GatewayError)
        self.assertEqual(error.text, f"{self.one.backend}: connection refused")
        self.one.refusing = False
        self.relay.elapse(1.25)
        self.assertIsNone(self.relay.pool.last_error(self.one.backend))


class StoppingTests(PoolTestCase):
    """A relay that stops."""

    def test_no_probes(self) -> None:
        """Backends that have failed are not tried any more, until it begins again."""
        for options in ({}, {"pool": 1}):
            self.begin(**options)
            self.one.refusing = self.two.refusing = True
            client = self.relay.client()
            client.send(b"ask\n")
            self.relay.elapse(1.25)
            before = self.attempts()
            self.assertEqual(before, [2, 2])
            self.relay.drain()
            self.relay.elapse(20.0)
            self.assertEqual(self.attempts(), before)
            self.relay.prewarm()
            self.relay.elapse(2.0)
            self.assertGreater(min(self.attempts()), 2)

    def test_still_asked(self) -> None:
        """Who waits for a connection still gets one."""
        self.begin(backends=1, pool=1)
        self.one.accepting = False
        (client,) = self.come()
        client.send(b"ask\n")
        self.relay.drain()
        self.one.attempts[0].accept()
        self.assertEqual(self.connection.take(), b"ask\n")
        self.connection.send(b"told\n")
        self.assertEqual(client.take(), b"told\n")
        self.assertTrue(client.ended_cleanly)


class ShortageTests(PoolTestCase):
    """What this machine has no more of."""

    def short(self, backend: MemoryBackend) -> None:
        """What is being opened there fails for want of descriptors."""
        for attempt in list(backend.attempts):
            if attempt.pending:
                attempt.refuse(ConnectError(errno.EMFILE, os.strerror(errno.EMFILE)))

    def test_not_blamed(self) -> None:
        """However many clients fail by it, the next is served as soon as it is over."""
        for backends in (1, 2):
            self.begin(backends=backends, fail_fast_after=2)
            for backend in self.relay.backends:
                backend.accepting = False
            clients = [self.relay.client() for _ in range(6)]

            def fail() -> None:
                while any(each.pending for one in self.relay.backends for each in one.attempts):
                    for backend in self.relay.backends:
                        self.short(backend)

            lines = logged(fail)
            self.assertTrue(all(each.aborted for each in clients))
            self.assertEqual(len(lines), 6)
            for line in lines:
                self.assertTrue(line.startswith("client "), line)
                self.assertIn("connection failed (Too many open files); closed", line)
            for backend in self.relay.backends:
                backend.accepting = True
            self.assertEqual(logged(partial(self.come, 4)), [])
            self.assertEqual(sum(self.open()), 4)

    def test_nothing_to_tell(self) -> None:
        """Nor is it told that a backend cannot be reached, or that it can be again."""
        self.one.accepting = False
        (client,) = self.come()
        self.assertEqual(logged(lambda: self.short(self.one)), [])
        self.assertEqual(self.attempts(), [1, 1])
        self.assertFalse(client.closed)
        self.one.accepting = True
        self.assertEqual(logged(lambda: self.relay.elapse(2.0)), [])
        self.assertEqual(self.attempts(), [2, 1])


class AddressTests(PoolTestCase):
    """Connections to addresses that the name of a backend had."""

    def begin(self, **options: Any) -> None:
        """Begin anew, with a backend whose name is looked up."""
        super().begin(**{"backends": 1, "pool": 4, "framing": SIGNS, **options})
        self.asked: list[str] = []
        self.relay.pool.watch.name_of = lambda backend: "redis.test"
        self.relay.pool.watch.look_up = self.asked.append
        self.one.accepting = False

    def at(self, address: str | None, request: bytes = b"ask\n") -> tuple[End, End]:
        """A client that has sent a request, and the connection to an address that was opened."""
        client = self.relay.client()
        client.send(request)
        connection = self.one.attempts[-1].accept(address=address)
        self.assertEqual(connection.take(), request)
        return client, connection

    def moved(self, *addresses: str) -> None:
        """The name has these addresses now."""
        self.relay.pool.addresses_changed("redis.test", frozenset(addresses))
        self.relay.reactor.settle()

    def test_moved(self) -> None:
        """An idle connection to another address is closed at once, a busy one when it comes back,
        and neither serves anybody else."""
        pairs = [self.at(f"192.0.2.{number}") for number in (1, 2, 3)]
        (_, stays), (_, idle), (client, busy) = pairs
        stays.send(b"told\n")
        idle.send(b"told\n")
        self.moved("192.0.2.1", "192.0.2.9")
        self.assertEqual([each.closed for each in (stays, idle, busy)], [False, True, False])
        self.assertTrue(idle.ended_cleanly)
        busy.send(b"told\n")
        self.assertEqual(client.take(), b"told\n")
        self.assertTrue(busy.ended_cleanly)
        self.exchange(b"next\n", b"NEXT\n", client)
        self.assertEqual(self.one.open, [stays])
        self.assertEqual(self.relay.pool.stats().total.retired, {Retired.ADDRESS: 2})

    def test_transaction(self) -> None:
        """A transaction ends where it began."""
        client, connection = self.at("192.0.2.1", b"+begin\n")
        connection.send(b"OK\n")
        self.assertEqual(client.take(), b"OK\n")
        self.moved("192.0.2.2")
        self.exchange(b"inside\n", b"OK\n", client)
        self.assertFalse(connection.closed)
        self.exchange(b"-end\n", b"OK\n", client)
        self.assertTrue(connection.ended_cleanly)

    def test_own(self) -> None:
        """Connections of clients' own stay theirs."""
        for options, request in (({}, b"!own\n"), ({"pool": None}, b"anything")):
            self.begin(**options)
            client, connection = self.at("192.0.2.1", request)
            self.moved("192.0.2.2")
            connection.send(b"still\n")
            self.assertEqual(client.take(), b"still\n")
            self.assertFalse(connection.closed)
            client.close()
            self.assertTrue(connection.closed)
            self.assertEqual(self.one.counts.leaving, 0)

    def test_unknown(self) -> None:
        """A connection without an address stays, and so do those of other names."""
        for _, connection in [self.at(None), self.at("192.0.2.1")]:
            connection.send(b"told\n")
        self.relay.pool.addresses_changed("other.test", frozenset({"192.0.2.2"}))
        self.moved("192.0.2.1")
        self.assertEqual(len(self.one.open), 2)

    def test_looked_up_again(self) -> None:
        """The name is looked up again while there are connections, and only then."""
        self.relay.elapse(12.0)
        self.assertEqual(self.asked, [])
        _, connection = self.at("192.0.2.1")
        connection.send(b"told\n")
        self.relay.elapse(12.0)
        self.assertIn(self.asked, (["redis.test"] * 2, ["redis.test"] * 3))
        connection.close()
        self.asked.clear()
        self.relay.elapse(12.0)
        self.assertEqual(self.asked, [])


class TimeTests(PoolTestCase):
    """What takes too long."""

    def test_idle(self) -> None:
        """A shared connection that is idle for too long is closed."""
        self.begin(backends=1, pool=1, pool_idle_timeout=5.0)
        (client,) = self.come()
        client.send(b"ask\n")
        self.connection.send(b"told\n")
        self.relay.elapse(4.0)
        self.assertFalse(self.connection.closed)
        self.relay.elapse(2.5)
        self.assertTrue(self.connection.ended_cleanly)

    def test_queue(self) -> None:
        """A request that waits for too long for one ends its client, which is told."""
        self.begin(backends=1, pool=1, queue_timeout=4.0)
        for client in self.come(2):
            client.send(b"ask\n")
        self.assertEqual(logged(lambda: self.relay.elapse(3.5)), [])
        [line] = logged(lambda: self.relay.elapse(1.5))
        self.assertIn("no connection came free in time; closed", line)


class OwnTests(PoolTestCase):
    """Connections that belong to one client."""

    def traffic(self, backend: int = 0) -> Traffic:
        """The numbers of a backend."""
        return self.relay.backends[backend].traffic

    def test_handed_over(self) -> None:
        """They are counted while they are there, and how many there were."""
        self.begin(backends=1)
        first, second = self.come(2)
        self.assertEqual((self.traffic().owned, self.traffic().served), (2, 2))
        first.close()
        self.assertEqual((self.traffic().owned, self.traffic().served), (1, 2))
        self.one.open[0].reset()
        self.assertTrue(second.closed)
        self.assertEqual((self.traffic().owned, self.traffic().served), (0, 2))

    def test_in_the_pool(self) -> None:
        """Where none is shared they are the pool's until they are closed."""
        self.begin(backends=1)
        (client,) = self.come()
        self.assertEqual((self.one.counts.active, self.one.counts.idle), (1, 0))
        client.close()
        self.assertEqual((self.one.counts.active, self.one.counts.leaving), (0, 0))

    def test_taken_out(self) -> None:
        """Out of a pool of shared ones they leave room for others."""
        self.begin(backends=1, pool=1, framing="resp")
        pinned, other = self.come(2)
        pinned.send(SUBSCRIBE)
        self.assertEqual((self.one.counts.active, self.traffic().owned), (0, 1))
        other.send(PING)
        self.assertEqual((len(self.one.open), self.one.counts.active), (2, 1))
        self.exchange_on(other, self.one.open[1])
        pinned.close()
        self.assertEqual((len(self.one.open), self.traffic().owned), (1, 0))
        self.assertEqual(self.one.counts.idle, 1)

    def exchange_on(self, client: End, connection: End) -> None:
        """A request of this client has come here: answer it."""
        self.assertEqual(connection.take(), PING)
        connection.send(PONG)
        self.assertEqual(client.take(), PONG)

    def test_waiting_for_room(self) -> None:
        """Who waits for a connection gets one as soon as another is taken out."""
        self.begin(backends=1, pool=1, framing="resp")
        pinned, other = self.come(2)
        pinned.send(MULTI)
        self.one.open[0].take()
        self.one.open[0].send(b"+OK\r\n")
        other.send(PING)
        self.assertEqual(len(self.one.open), 1)
        pinned.send(SUBSCRIBE)
        self.assertEqual(len(self.one.open), 2)
        self.exchange_on(other, self.one.open[1])


class TrafficTests(PoolTestCase):
    """What has passed, in numbers."""

    def numbers(self, backend: int = 0) -> tuple[int, int, int, int]:
        """Requests, responses, bytes sent and bytes received."""
        traffic = self.relay.backends[backend].traffic
        return traffic.requests, traffic.responses, traffic.sent, traffic.received

    def test_pair(self) -> None:
        """Bytes of a pair are counted while it is there, and stay counted; there are no requests
        in it."""
        self.begin(backends=1)
        (client,) = self.come()
        client.send(b"question")
        self.assertEqual(self.numbers(), (0, 0, 8, 0))
        self.connection.send(b"an answer")
        self.assertEqual(self.numbers(), (0, 0, 8, 9))
        client.close()
        self.assertEqual(self.numbers(), (0, 0, 8, 9))
        (client,) = self.come()
        client.send(b"more")
        self.assertEqual(self.numbers(), (0, 0, 12, 9))

    def test_pair_unread(self) -> None:
        """Bytes count when they have been read, which waits for who is to have them."""
        self.begin(backends=1)
        client = self.relay.client(capacity=4096)
        self.relay.reactor.settle()
        client.pause()
        self.connection.send(bytes(1 << 20))
        self.assertGreater(self.numbers()[3], 0)
        self.assertLess(self.numbers()[3], 1 << 18)
        client.resume()
        self.assertEqual(self.numbers()[3], 1 << 20)

    def test_proxy_header(self) -> None:
        """The PROXY headers are not counted, neither the client's nor that for the backend."""
        self.begin(backends=1, proxy_protocol="v1", accept_proxy_protocol=True)
        (client,) = self.come()
        client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello")
        self.assertEqual(self.numbers(), (0, 0, 5, 0))

    def test_early(self) -> None:
        """What came before there was a connection is counted as well."""
        self.begin(backends=1)
        self.one.accepting = False
        (client,) = self.come()
        client.send(b"early")
        self.assertEqual(self.numbers(), (0, 0, 0, 0))
        self.one.attempts[0].accept()
        self.assertEqual(self.numbers(), (0, 0, 5, 0))

    def test_by_backend(self) -> None:
        """Each backend has its own numbers."""
        clients = self.come(2)
        for client, size in zip(clients, (3, 5), strict=True):
            client.send(bytes(size))
        self.assertEqual((self.numbers(0), self.numbers(1)), ((0, 0, 3, 0), (0, 0, 5, 0)))

    def test_pooled(self) -> None:
        """Requests and responses over shared connections are counted, and stay counted."""
        self.begin(backends=1)
        self.begin(backends=1, pool=1)
        (client,) = self.come()
        client.send(b"one\ntwo\nth")
        self.assertEqual(self.numbers(), (2, 0, 8, 0))
        self.connection.send(b"1\n2")
        self.assertEqual(self.numbers(), (2, 1, 8, 3))
        self.connection.send(b"\n")
        self.assertEqual(self.numbers(), (2, 2, 8, 4))
        self.connection.close()
        self.assertEqual(self.numbers(), (2, 2, 8, 4))
        client.send(b"ree\n")
        self.assertEqual(self.numbers(), (3, 2, 14, 4))

    def test_tls(self) -> None:
        """What TLS adds is not counted: the numbers are of what backends are sent and send."""
        for pool in (None, 1):
            self.begin(backends=1, pool=pool, tls=True)
            (client,) = self.come()
            client.send(b"question\n")
            self.connection.send(b"answer\n")
            self.assertEqual(client.take(), b"answer\n")
            self.assertEqual(self.numbers()[2:], (9, 7))
            client.close()
            self.assertEqual(self.numbers()[2:], (9, 7))

    def test_pinned(self) -> None:
        """What a client has sent and got over shared connections before it has its own is counted
        once."""
        self.begin(backends=1, pool=1, framing="resp")
        (client,) = self.come()
        client.send(MULTI)
        self.connection.send(b"+OK\r\n")
        before = self.numbers()
        self.assertEqual(before, (1, 1, len(MULTI), 5))
        client.send(SUBSCRIBE)
        sent = len(MULTI) + len(SUBSCRIBE)
        self.assertEqual(self.numbers(), (1, 1, sent, 5))
        self.connection.send(b"-ERR\r\n")
        self.assertEqual(self.numbers(), (1, 1, sent, 11))
        client.close()
        self.assertEqual(self.numbers(), (1, 1, sent, 11))

    def test_pinned_elsewhere(self) -> None:
        """So is it when that was another connection."""
        self.begin(backends=1, pool=1, framing="resp")
        client, other = self.come(2)
        client.send(PING)
        self.connection.send(PONG)
        other.send(PING)
        client.send(SUBSCRIBE)
        self.connection.send(PONG)
        self.assertEqual(self.one.traffic.owned, 1)
        self.assertEqual(self.numbers(), (2, 2, 2 * len(PING) + len(SUBSCRIBE), 2 * len(PONG)))


class UnaskedTests(PoolTestCase):
    """What nobody has asked for."""

    def test_unasked(self) -> None:
        """A shared connection that is sent something while it is idle is closed, which is told with
        the backend's name."""
        self.begin(backends=1, pool=1)
        self.come()[0].send(b"ask\n")
        self.connection.send(b"told\n")
        lines = logged(lambda: self.connection.send(b"more\n"))
        self.assertEqual(
            lines,
            [f"{self.one.backend}: sent something unasked; the connection is closed"],
        )
        self.assertTrue(self.connection.aborted)


class Waiting:
    """
    Wants a connection of its own.

    @ivar got: what it was given.
    """

    def __init__(self) -> None:
        self.got: list[BackendConnection | GatewayError] = []
        self.connected = self.got.append
        self.connect_failed = self.got.append

    def is_repeatable(self) -> bool:
        """It does not matter."""
        return False


class NewConnectionTests(PoolTestCase):
    """What is opened."""

    def test_backend(self) -> None:
        """A connection knows whom it leads to, and says so."""
        waiting = Waiting()
        key: Backend = self.one.backend
        self.relay.pool.acquire(key, waiting)
        self.relay.reactor.settle()
        [connection] = waiting.got
        assert isinstance(connection, BackendConnection)
        self.assertEqual(connection.backend, key)
        self.assertIn(str(key), repr(connection))
