"""The pool, and connections whose protocol is known only when they are there."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.http2.session import ASSUMED_CAPACITY
from fastcar_tw.upstream import pool
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.exchange import OriginConnection
from fastcar_tw.upstream.multiplexed import MultiplexedConnection
from tests.forward.http2 import HTTP2TestCase, answers
from tests.forward.support import GET, OK, request

A = Origin("https", "a.test", 443, http2=True)


class NegotiationTests(HTTP2TestCase):
    """What becomes of a connection."""

    def get_one(self, key: Origin = A) -> OriginConnection:
        """A connection of the pool."""
        connection: OriginConnection = self.successResultOf(self.get_later(key))
        return connection

    def get_later(self, key: Origin = A) -> Deferred[Any]:
        """The same as soon as it is there."""
        # The pool knows how its origins are reached.
        endpoint: Any = None
        got = self.proxy.pool.getConnection(key, endpoint)
        self.run_origins()
        return got

    def test_http2(self) -> None:
        """Where HTTP/2 was chosen it is a multiplexed one."""
        connection = self.get_one()
        self.assertIsInstance(connection, MultiplexedConnection)
        self.assertEqual(connection.origin, A)
        self.assertEqual(connection.protocol, "HTTP/2")
        self.assertEqual(connection.tls_version, "TLSv1.3")

    def test_http1(self) -> None:
        """Where it was not it is one of HTTP/1.1."""
        self.proxy.http2 = False
        connection = self.get_one()
        self.assertIsInstance(connection, UpstreamConnection)
        self.assertEqual((connection.protocol, connection.capacity), ("HTTP/1.1", 1))

    def test_not_offered(self) -> None:
        """A key without HTTP/2 never gets one of HTTP/2, idle or new."""
        self.get_one()
        self.assertIsInstance(self.get_one(A.over_http1), UpstreamConnection)

    def test_shared(self) -> None:
        """A multiplexed one is given to many at once."""
        self.assertEqual(len({self.get_one() for _ in range(ASSUMED_CAPACITY)}), 1)
        self.assertEqual(len(self.proxy.connects), 1)
        self.get_one()
        self.assertEqual(len(self.proxy.connects), 2)

    def test_fresh(self) -> None:
        """It is fresh for the first of them."""
        self.assertTrue(self.get_one().fresh)

    def test_released(self) -> None:
        """Given back by all, it is idle, and taken again."""
        connections = [self.get_one() for _ in range(3)]
        self.assertEqual(self.counts(), (1, 0, 0))
        for connection in connections:
            self.proxy.pool.release(connection)
        self.assertEqual(self.counts(), (0, 1, 0))
        self.assertIs(self.get_one(), connections[0])

    def test_cancelled(self) -> None:
        """Who does not wait any more does not get it; others do."""
        self.proxy.accepting = False
        first, second = self.get_later(), self.get_later()
        first.cancel()
        self.failureResultOf(first)
        self.proxy.connects[0].accept()
        self.assertIsInstance(self.successResultOf(second), MultiplexedConnection)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_failed(self) -> None:
        """An attempt that fails is told to who waits."""
        self.proxy.accepting = False
        got = self.get_later()
        self.proxy.connects[0].refuse()
        error = self.failureResultOf(got, GatewayError).value
        self.assertEqual(error.proxy_status, "connection_refused")

    def test_closed_as_soon_as_open(self) -> None:
        """An origin that hangs up right after the handshake leaves nothing behind."""
        self.proxy.accepting = False
        got = self.get_later()
        self.proxy.connects[0].accept().close()
        self.run_origins()
        self.assertTrue(got.called)
        total = self.proxy.pool.stats().total
        self.assertEqual((total.active + total.idle, total.leaving, total.opening), (0, 0, 0))

    def test_checked(self) -> None:
        """Every connection is looked after from its opening to its end."""
        self.warm_up()
        self.send(GET)
        self.elapse(15)
        self.assertGreater(self.h2.pings, 0)
        self.h2.peer.close()
        self.run_origins()
        self.assertEqual(self.proxy.pool._multiplexed - set(self._open()), set())

    def _open(self) -> list[Any]:
        return list(self.proxy.pool._core.all_connections(A))

    def test_close_idle(self) -> None:
        """Idle ones are closed with a GOAWAY, and those in use stay."""
        first = self.warm_up()
        self.send(request(host=b"b.test"), self.secure())
        closed = self.proxy.pool.close_idle()
        self.run_origins()
        self.assertTrue(closed.called)
        self.assertEqual(first.goaway(), 0)
        self.assertFalse(self.h2.peer.ended)

    def test_abort(self) -> None:
        """In the end all are ended, when the clients have been."""
        self.warm_up()
        self.get(3)
        self.send(request(host=b"b.test"), self.secure())
        self.proxy.forwarder.abort()
        self.proxy.pool.abort()
        self.run_origins()
        self.assertTrue(all(each.peer.ended for each in self.origins))
        total = self.proxy.pool.stats().total
        self.assertEqual((total.active + total.idle, total.leaving, total.opening), (0, 0, 0))
        self.assertEqual(self.proxy.pool._multiplexed, set())


class CapacityTests(HTTP2TestCase):
    """What is known of an origin's capacity."""

    def test_remembered(self) -> None:
        """What the last connection could take decides how many are opened."""
        self.settings = {3: 5}
        first = self.warm_up()
        first.go_away(1)
        self.run_origins()
        self.proxy.accepting = False
        clients = self.get(20)
        self.assertEqual(len(self.proxy.connects), 1 + 4)
        self.settings = {3: 50}
        self.proxy.connects[1].accept()
        self.run_origins()
        self.assertEqual(len(self.h2.requests), 20)
        self.h2.answer_all()
        self.assertEqual(answers(clients), [b"/%d" % number for number in range(20)])

    def test_one_request_a_connection(self) -> None:
        """An origin that ends each connection after its first request gets one for each, once that
        is known: twice is enough."""
        clients = self.get(8)
        for _ in range(20):
            for each in self.origins:
                if each.open:
                    each.answer_now()
                    each.go_away(1)
            self.run_origins()
        self.assertEqual(answers(clients), [b"/%d" % number for number in range(8)])
        self.assertLessEqual(len(self.origins), 8 + 2)

    def test_believed_for_a_while(self) -> None:
        """After some time it is tried again whether it is still so."""
        for _ in range(2):
            self.get(2)
            self.h2.go_away(2 * len(self.h2.requests) - 3)
            self.run_origins()
            self.h2.answer_all()
        a_test = self.origin.origin
        assert a_test is not None
        self.assertEqual(self.proxy.pool.request_limit(a_test), 1)
        self.proxy.elapse(pool.SHORT_LIVED_TRUST)
        self.assertGreater(self.proxy.pool.request_limit(a_test), 1000)

    def test_restart(self) -> None:
        """Once says nothing: it may be a restart."""
        self.warm_up()
        self.get(6)
        self.h2.go_away(1)
        self.run_origins()
        self.assertEqual(len(self.origins), 2)
        self.assertEqual(len(self.h2.open), 6)

    def test_many_origins(self) -> None:
        """That of so many origins is remembered, and no more."""
        self.patch(pool, "MAX_SHORT_LIVED", 2)
        for name in (b"a.test", b"b.test", b"c.test"):
            clients = [self.secure() for _ in range(2)]
            for client in clients:
                self.send(request(host=name), client)
            self.h2.go_away(1)
            self.run_origins()
        self.assertEqual(len(self.proxy.pool._short_lived), 1)

    def test_http1_then_http2(self) -> None:
        """An origin that has begun to speak HTTP/2 is served by one connection before long."""
        self.proxy.http2 = False
        self.send(GET)
        self.origin.send(OK)
        self.client.take()
        self.origin.close()
        self.proxy.http2 = True
        self.warm_up()
        opened = len(self.proxy.connects)
        clients = self.get(30)
        self.assertEqual(len(self.proxy.connects), opened)
        self.h2.answer_all()
        self.assertEqual(len(answers(clients)), 30)
