"""Who gets which connection, and what is opened for whom."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import HTTPConnectionPool

from fastcar_tw.config import Config
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.pool.stats import Retired
from fastcar_tw.testing import MemoryProxy, Peer
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.exchange import OriginConnection
from fastcar_tw.upstream.pool_shell import MAX_LEAVING, SWEEP_INTERVAL
from tests.forward.support import GET, OK, OK_CLOSE, ProxyTestCase, logged, request
from tests.forward.test_upgrade import ASK, SWITCH

A = Origin("http", "a.test", 80)


class Waiter:
    """Keeps what it gets."""

    def __init__(self, repeatable: bool = True) -> None:
        self.connection: OriginConnection | None = None
        self._repeatable = repeatable
        self.error: GatewayError | None = None

    def is_repeatable(self) -> bool:
        """As was said."""
        return self._repeatable

    def connected(self, connection: OriginConnection) -> None:
        """Keep it."""
        assert self.connection is None and self.error is None
        self.connection = connection

    def connect_failed(self, error: GatewayError) -> None:
        """Keep it."""
        assert self.connection is None and self.error is None
        self.error = error

    @property
    def served(self) -> bool:
        """Whether it has got anything."""
        return self.connection is not None or self.error is not None


class PoolTestCase(SynchronousTestCase):
    """Has a pool whose attempts to connect wait to be accepted or refused."""

    def setUp(self) -> None:
        """Make the pool."""
        self.start(Config(fail_fast_after=0))

    def start(self, config: Config) -> None:
        """Begin anew."""
        self.proxy = MemoryProxy(config)
        self.addCleanup(self.proxy.close)
        self.proxy.accepting = False
        self.pool = self.proxy.pool

    def acquire(self, origin: Origin = A, fresh: bool = False, safe: bool = True) -> Waiter:
        """Ask for a connection."""
        waiter = Waiter(safe)
        (self.pool.acquire_again if fresh else self.pool.acquire)(origin, waiter)
        return waiter

    def opened(self, origin: Origin = A) -> OriginConnection:
        """A new connection, in use."""
        waiter = self.acquire(origin, fresh=True)
        self.proxy.connects[-1].accept()
        assert waiter.connection is not None
        return waiter.connection

    def state(self, active: int, idle: int, opening: int = 0, waiting: int = 0) -> None:
        """Check the pool's account of itself."""
        self.assertEqual(
            repr(self.pool),
            f"<ConnectionPool {active} active, {idle} idle, {opening} opening, {waiting} waiting>",
        )


class IdleTests(PoolTestCase):
    """Connections that are kept."""

    def test_last_in_first_out(self) -> None:
        """The one used last is used next, so that the others grow old."""
        first, second = self.opened(), self.opened()
        self.pool.release(first)
        self.pool.release(second)
        self.assertIs(self.acquire().connection, second)
        self.assertIs(self.acquire().connection, first)
        self.state(2, 0)

    def test_limit(self) -> None:
        """At --max-idle-per-origin the oldest is closed."""
        self.start(Config(max_idle_per_origin=2))
        for connection in [self.opened() for _ in range(3)]:
            self.pool.release(connection)
        self.proxy.reactor.settle()
        self.assertEqual([peer.closed for peer in self.proxy.origins], [True, False, False])
        self.assertTrue(self.proxy.origins[0].ended_cleanly)
        self.state(0, 2)

    def test_keep_none(self) -> None:
        """With a limit of 0 none is kept."""
        self.start(Config(max_idle_per_origin=0))
        self.pool.release(self.opened())
        self.proxy.reactor.settle()
        self.assertTrue(self.proxy.origins[0].closed)
        self.state(0, 0)

    def test_limit_does_not_count_busy_ones(self) -> None:
        """Busy connections are not limited."""
        self.start(Config(max_idle_per_origin=1))
        for _ in range(5):
            self.opened()
        self.state(5, 0)

    def test_expiry(self) -> None:
        """After --idle-timeout they are closed, the oldest first."""
        self.start(Config(idle_timeout=10))
        first, second = self.opened(), self.opened()
        self.pool.release(first)
        self.proxy.elapse(5)
        self.pool.release(second)
        self.proxy.elapse(6.5)
        self.assertEqual([peer.closed for peer in self.proxy.origins], [True, False])
        self.proxy.elapse(5)
        self.assertEqual([peer.closed for peer in self.proxy.origins], [True, True])
        self.state(0, 0)

    def test_ended_by_the_origin(self) -> None:
        """One that its origin ends is forgotten."""
        self.pool.release(self.opened())
        self.proxy.origins[0].close()
        self.state(0, 0)
        self.assertFalse(self.acquire().served)

    def test_keys(self) -> None:
        """Scheme, host, port and trust: connections that differ in any are never shared."""
        keys = [
            A,
            Origin("https", "a.test", 80),
            Origin("http", "b.test", 80),
            Origin("http", "a.test", 81),
            Origin("https", "a.test", 80, verified=False),
        ]
        self.pool.release(self.opened(A))
        for other in keys[1:]:
            self.assertFalse(self.acquire(other).served, other)
        self.assertIsNotNone(self.acquire(A).connection)

    def test_fresh(self) -> None:
        """Who needs a fresh one gets a fresh one."""
        self.pool.release(self.opened())
        waiter = self.acquire(fresh=True)
        self.assertFalse(waiter.served)
        self.proxy.connects[-1].accept()
        self.assertIsNotNone(waiter.connection)
        self.state(1, 1)

    def test_stale(self) -> None:
        """Who cannot repeat its request gets none that has ended unnoticed."""
        connection = self.opened()
        self.pool.release(connection)
        self.assertFalse(connection.is_stale())
        peer = self.proxy.origins[0]
        peer._socket.close()
        self.proxy.reactor.peers.remove(peer)
        self.assertTrue(connection.is_stale())
        self.assertFalse(self.acquire(safe=False).served)
        self.assertTrue(peer.aborted)


class LineTests(PoolTestCase):
    """Waiting for a connection."""

    def test_opened_for_the_first(self) -> None:
        """Without an idle connection one is opened for each in line."""
        waiters = [self.acquire() for _ in range(3)]
        self.assertEqual(len(self.proxy.connects), 3)
        self.state(0, 0, 3, 3)
        self.proxy.connects[1].accept()
        self.assertEqual([waiter.served for waiter in waiters], [True, False, False])
        self.state(1, 0, 2, 2)

    def test_released_for_the_first(self) -> None:
        """A released connection serves the first in line; the one opened for it serves the next,
        or goes idle."""
        busy = self.opened()
        first, second = self.acquire(), self.acquire()
        self.pool.release(busy)
        self.assertIs(first.connection, busy)
        self.proxy.connects[1].accept()
        self.assertIsNotNone(second.connection)
        self.proxy.connects[2].accept()
        self.state(2, 1)

    def test_lines_are_apart(self) -> None:
        """A connection to one origin does not serve the line of another."""
        other = self.opened(Origin("http", "b.test", 80))
        waiter = self.acquire()
        self.pool.release(other)
        self.assertFalse(waiter.served)
        self.state(0, 1, 1, 1)

    def test_failure_for_the_only_one(self) -> None:
        """A failure to open is told to who waits for it."""
        waiter = self.acquire()
        self.proxy.connects[0].refuse()
        assert waiter.error is not None
        self.assertEqual(waiter.error.proxy_status, "connection_refused")
        self.state(0, 0)

    def test_failure_for_the_first(self) -> None:
        """One failure fails one in line, the first; the others have attempts of their own."""
        waiters = [self.acquire() for _ in range(3)]
        self.proxy.connects[2].refuse()
        self.assertEqual([waiter.served for waiter in waiters], [True, False, False])
        self.proxy.connects[0].accept()
        self.assertEqual([waiter.served for waiter in waiters], [True, True, False])
        self.assertIsNone(waiters[1].error)

    def test_failure_for_nobody(self) -> None:
        """A failure fails nobody when the one it was for was served or has gone."""
        busy = self.opened()
        first, second = self.acquire(), self.acquire()
        self.pool.release(busy)
        self.proxy.connects[1].refuse()
        self.assertIs(first.connection, busy)
        self.assertFalse(second.served)
        self.pool.cancel(A, second)
        self.proxy.connects[2].refuse()
        self.assertFalse(second.served)
        self.state(1, 0)

    def test_cancel(self) -> None:
        """Who has gone gets nothing; what was opened for it serves the next or goes idle."""
        first, second = self.acquire(), self.acquire()
        self.pool.cancel(A, first)
        self.proxy.connects[0].accept()
        self.assertFalse(first.served)
        self.assertIsNotNone(second.connection)
        self.proxy.connects[1].accept()
        self.state(1, 1)

    def test_cancel_twice(self) -> None:
        """Cancelling who does not wait does no harm."""
        waiter = self.acquire()
        self.pool.cancel(A, waiter)
        self.pool.cancel(A, waiter)
        self.pool.cancel(Origin("http", "b.test", 80), waiter)
        self.state(0, 0, 1, 0)

    def test_attempt_of_who_has_gone(self) -> None:
        """A newcomer does not open another connection while one is being opened for nobody."""
        self.pool.cancel(A, self.acquire())
        waiter = self.acquire()
        self.assertEqual(len(self.proxy.connects), 1)
        self.proxy.connects[0].accept()
        self.assertIsNotNone(waiter.connection)

    def test_fresh_failure(self) -> None:
        """Who needs a fresh connection is told when it cannot be had, and nobody else."""
        ordinary, fresh = self.acquire(), self.acquire(fresh=True)
        self.proxy.connects[1].refuse()
        self.assertIsNotNone(fresh.error)
        self.assertFalse(ordinary.served)

    def test_timeout(self) -> None:
        """An attempt that takes too long fails, and is given up."""
        self.start(Config(connect_timeout=3))
        waiter = self.acquire()
        self.proxy.elapse(2.75)
        self.assertFalse(waiter.served)
        self.proxy.elapse(0.5)
        assert waiter.error is not None
        self.assertEqual(waiter.error.status, 504)
        self.assertTrue(self.proxy.connects[0].cancelled)

    def test_abort(self) -> None:
        """Aborting ends all connections, in whatever state, and fails who waits."""
        idle, _busy = self.opened(), self.opened()
        self.pool.release(idle)
        waiters = [self.acquire(Origin("http", "b.test", 80)), self.acquire(A, fresh=True)]
        self.pool.abort()
        self.proxy.reactor.settle()
        for peer in self.proxy.origins:
            self.assertTrue(peer.aborted and peer.closed)
        for waiter in waiters:
            assert waiter.error is not None
            self.assertEqual(waiter.error.status, 503)
        self.state(0, 0)
        self.assertEqual([call for call in self.proxy.reactor.calls if call.getTime() > 2], [])


class DecisionTests(PoolTestCase):
    """What the core decides, and becomes of it here."""

    def test_queue_full(self) -> None:
        """Beyond --max-queue a request is refused with 503 and told when to come again."""
        self.start(Config(max_connections_per_origin=1, max_queue=1))
        self.acquire()
        self.acquire()
        error = self.acquire().error
        assert error is not None
        self.assertEqual((error.status, error.proxy_status), (503, "connection_limit_reached"))
        self.assertEqual(error.retry_after, 1)
        self.state(0, 0, 1, 2)

    def test_queue_timeout(self) -> None:
        """After --queue-timeout a request that may not connect is refused."""
        self.start(Config(max_connections_per_origin=1, queue_timeout=3))
        self.opened()
        waiter = self.acquire()
        self.proxy.elapse(2.75)
        self.assertFalse(waiter.served)
        self.proxy.elapse(1)
        assert waiter.error is not None
        self.assertEqual(waiter.error.proxy_status, "connection_limit_reached")

    def test_attempts_are_not_limited_by_the_queue_timeout(self) -> None:
        """A request for which a connection is being opened has --connect-timeout."""
        self.start(Config(queue_timeout=1, connect_timeout=5))
        waiter = self.acquire()
        self.proxy.elapse(4)
        self.assertFalse(waiter.served)

    def test_eviction(self) -> None:
        """At --max-connections an idle connection to any origin makes room, and is closed in order
        before the new one is opened."""
        self.start(Config(max_connections=2))
        for host in ("b.test", "c.test"):
            self.pool.release(self.opened(Origin("http", host, 80)))
        waiter = self.acquire()
        self.assertEqual(len(self.proxy.connects), 2)
        self.proxy.reactor.settle()
        self.assertEqual([peer.closed for peer in self.proxy.origins], [True, False])
        self.assertTrue(self.proxy.origins[0].ended_cleanly)
        self.proxy.connects[2].accept()
        self.assertIsNotNone(waiter.connection)
        self.state(1, 1)

    def test_fail_fast(self) -> None:
        """After repeated failures requests are refused at once, with the last reason."""
        self.start(Config(fail_fast_after=2))
        for _ in range(2):
            self.acquire()
            self.proxy.connects[-1].refuse()
        error = self.acquire().error
        assert error is not None
        self.assertEqual((error.status, error.proxy_status), (503, "destination_unavailable"))
        self.assertEqual(
            error.text,
            "http://a.test:80: not tried again yet after repeated failures; "
            "the last: connection refused",
        )
        self.assertIn(error.retry_after, (1, 2))
        self.assertEqual(len(self.proxy.connects), 2)
        self.proxy.elapse(2)
        probe = self.acquire()
        self.assertFalse(probe.served)
        self.proxy.connects[2].accept()
        self.assertIsNotNone(probe.connection)

    def test_events(self) -> None:
        """It is logged once when an origin is not tried any more, and when it is back."""
        self.start(Config(fail_fast_after=2))
        waiters = [self.acquire() for _ in range(4)]

        def fail() -> None:
            for connect in list(self.proxy.connects):
                connect.refuse()

        [line] = logged(fail)
        self.assertTrue(all(waiter.error for waiter in waiters))
        self.assertRegex(
            line,
            r"^http://a\.test:80: connection refused; after repeated failures "
            r"not tried again for 1\.[0-3] s$",
        )
        self.proxy.elapse(2)
        self.acquire()
        [line] = logged(lambda: self.proxy.connects[-1].accept())
        self.assertEqual(line, "http://a.test:80 can be reached again")

    def test_failures_within_failures(self) -> None:
        """Thousands of requests whose attempts fail at once are refused one after another."""
        self.start(Config(fail_fast_after=0, max_connections_per_origin=1, max_queue=5000))
        origin = Origin("https", "-", 443)  # no certificate can be for it
        self.acquire(origin, fresh=True)
        waiters = [self.acquire(origin) for _ in range(3000)]
        self.assertTrue(all(waiter.error for waiter in waiters))
        self.state(0, 0)

    def test_bug_of_a_waiter(self) -> None:
        """An error in one request's code costs no other its connection; the request is told."""
        self.start(Config(max_connections_per_origin=1))
        busy = self.opened()

        class Broken(Waiter):
            def connected(self, connection: OriginConnection) -> None:
                raise ZeroDivisionError

        broken = Broken()
        self.pool.acquire(A, broken)
        self.pool.release(busy)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        assert broken.error is not None
        self.assertEqual(broken.error.status, 500)
        other = self.acquire()
        self.proxy.reactor.settle()
        self.proxy.connects[-1].accept()
        self.assertIsNotNone(other.connection)

    def test_broken_endpoint(self) -> None:
        """An endpoint that raises is a failed attempt."""

        def broken(_: Origin) -> IStreamClientEndpoint:
            raise ZeroDivisionError

        self.pool._endpoint_for = broken
        waiter = self.acquire()
        assert waiter.error is not None
        self.assertEqual(waiter.error.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.state(0, 0)

    def test_max_age(self) -> None:
        """After --max-age a connection is not reused."""
        self.start(Config(max_age=5))
        connection = self.opened()
        self.proxy.elapse(6)
        self.pool.release(connection)
        self.proxy.reactor.settle()
        self.assertTrue(self.proxy.origins[0].ended_cleanly)
        self.assertEqual(self.pool.stats().total.retired, {Retired.AGE: 1})


class AddressTests(PoolTestCase):
    """Connections to addresses that a name had."""

    def setUp(self) -> None:
        """An origin whose name is looked up."""
        super().setUp()
        self.asked: list[str] = []
        self.pool.watch.name_of = lambda origin: origin.host
        self.pool.watch.look_up = self.asked.append

    def at(self, address: str) -> OriginConnection:
        """A new connection to an address."""
        connection = self.opened()
        connection.address = address
        return connection

    def test_moved(self) -> None:
        """An idle connection to an address that is not among the new ones is retired at once, a
        busy one when it is released."""
        stays, idle, busy = (self.at(f"192.0.2.{number}") for number in (1, 2, 3))
        self.pool.release(stays)
        self.pool.release(idle)
        self.pool.addresses_changed("a.test", frozenset({"192.0.2.1"}))
        self.state(1, 1)
        self.pool.release(busy)
        self.state(0, 1)
        self.assertIs(self.acquire().connection, stays)
        self.assertEqual(self.pool.stats().total.retired, {Retired.ADDRESS: 2})

    def test_unknown_address(self) -> None:
        """A connection whose address is not known stays, and so do those of other names."""
        self.pool.release(self.opened())
        self.pool.release(self.at("192.0.2.1"))
        self.pool.addresses_changed("a.test", frozenset({"192.0.2.1"}))
        self.pool.addresses_changed("b.test", frozenset({"192.0.2.2"}))
        self.state(0, 2)

    def test_looked_up_again(self) -> None:
        """The names of origins are looked up again while there are connections to them."""
        self.pool.release(self.opened())
        self.proxy.elapse(12)
        self.assertIn(self.asked, (["a.test"] * 2, ["a.test"] * 3))
        self.proxy.origins[0].close()
        self.asked.clear()
        self.proxy.elapse(12)
        self.assertEqual(self.asked, [])


class PrewarmTests(PoolTestCase):
    """Connections that are kept open."""

    def test_from_the_start(self) -> None:
        """They are opened at once; the first outcome of each is waited for."""
        ready = self.pool.prewarm({A: 2})
        self.assertEqual(len(self.proxy.connects), 2)
        self.proxy.connects[0].accept()
        self.assertNoResult(ready)
        self.proxy.connects[1].refuse()
        self.successResultOf(ready)
        self.state(0, 1)

    def test_none(self) -> None:
        """With none to open it is ready at once."""
        self.successResultOf(self.pool.prewarm({}))

    def test_tls_is_done(self) -> None:
        """One to an https origin counts when its certificate is verified."""
        ready = self.pool.prewarm({Origin("https", "a.test", 443): 1})
        self.proxy.connects[0].accept()
        self.successResultOf(ready)
        self.state(0, 1)

    def test_after_loss(self) -> None:
        """One that is lost is replaced."""
        self.pool.prewarm({A: 1})
        self.proxy.connects[0].accept()
        self.proxy.origins[0].close()
        self.proxy.elapse(2.5)
        self.proxy.connects[1].accept()
        self.state(0, 1)

    def test_backoff(self) -> None:
        """While the origin cannot be reached, it is tried less and less often."""
        self.start(Config(fail_fast_after=0))
        self.proxy.accepting = False
        self.pool.prewarm({A: 3})
        for _ in range(240):
            self.proxy.elapse(0.5)
            for connect in self.proxy.connects:
                if connect.pending:
                    connect.refuse()
        # In two minutes, three at a time: at 0, 1, 3, 7, 15, 31, 61 and 91 s, give or take.
        self.assertIn(len(self.proxy.connects), range(3 * 7, 3 * 10 + 1))


class StatsTests(PoolTestCase):
    """The pool's account of itself."""

    def test_numbers(self) -> None:
        """Each origin has its own, and all have a sum."""
        b = Origin("http", "b.test", 80)
        self.pool.release(self.opened())
        self.acquire()
        self.acquire(b)
        self.acquire(b)
        self.proxy.connects[-1].refuse()
        stats = self.pool.stats()
        a_counts, b_counts = stats.origins[A], stats.origins[b]
        self.assertEqual((a_counts.active, a_counts.opened, a_counts.reused), (1, 1, 1))
        self.assertEqual((b_counts.opening, b_counts.waiting, b_counts.failed), (1, 1, 1))
        self.assertEqual((stats.total.active, stats.total.opening, stats.total.idle), (1, 1, 0))

    def test_found_dead(self) -> None:
        """A connection that turns out to have ended was not reused."""
        self.pool.release(self.opened())
        peer = self.proxy.origins[0]
        peer._socket.close()
        self.proxy.reactor.peers.remove(peer)
        self.acquire(safe=False)
        total = self.pool.stats().total
        self.assertEqual((total.reused, total.retired), (0, {Retired.ENDED: 1}))

    def test_aborted_attempts(self) -> None:
        """Attempts that the pool gives up when it is aborted do not count against the origin."""
        self.start(Config(fail_fast_after=1))
        self.acquire()
        self.pool.abort()
        self.assertFalse(self.acquire().served)
        self.state(0, 0, 1, 1)

    def test_reasons(self) -> None:
        """Every connection that goes has a reason."""
        ended, broken, tunnel = (self.opened() for _ in range(3))
        self.pool.release(ended)
        self.proxy.origins[0].close()
        broken.abort()
        tunnel.close()
        self.assertEqual(
            self.pool.stats().total.retired,
            {Retired.ENDED: 1, Retired.BROKEN: 1, Retired.TAKEN: 1},
        )


class LeavingTests(ProxyTestCase):
    """Connections that come to their end with bytes unsent, because the origin does not read."""

    def unread(self, head: bytes) -> Peer:
        """An origin that has not read all that its client has sent behind a head, 40 KB of it."""
        self.proxy.capacity = 8192
        self.client.send(head)
        origin = self.origin
        origin.take()
        origin.pause()
        return origin

    def upload(self) -> Peer:
        """An origin that has not read a whole request, though the proxy has."""
        origin = self.unread(request(b"/", b"Content-Length: 40000", method=b"POST"))
        self.client.send(bytes(40000))
        self.assertGreater(origin.transport.buffered, 0)
        self.assertFalse(self.client.transport.paused)
        return origin

    def tunnel(self) -> Peer:
        """An origin that has not read all of a tunnel whose client has gone."""
        origin = self.unread(ASK)
        origin.send(SWITCH)
        self.client.send(bytes(40000))
        self.client.close()
        self.assertGreater(origin.transport.buffered, 0)
        self.assertFalse(origin.closed)
        return origin

    def test_response_before_its_request_has_left(self) -> None:
        """A connection whose response is complete before its request has left is not reused."""
        origin = self.upload()
        origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.assertTrue(origin.aborted and origin.closed)
        other = self.proxy.client()
        other.send(GET)
        self.assertIsNot(self.origin, origin)
        self.assertEqual(self.origin.take(), GET)
        self.origin.send(OK)
        self.assertEqual(other.take(), OK)

    def test_last_response_before_its_request_has_left(self) -> None:
        """It is broken off at once even if the response was announced to be its last."""
        origin = self.upload()
        origin.send(OK_CLOSE)
        self.assertTrue(origin.aborted and origin.closed)

    def test_tunnel_to_an_origin_that_does_not_read(self) -> None:
        """What a tunnel leaves unread is kept for it until it has stood still for too long."""
        origin = self.tunnel()
        self.proxy.elapse(Config().stall_timeout - 1)
        self.assertFalse(origin.closed)
        self.proxy.elapse(Config().stall_timeout + 3)
        self.assertTrue(origin.aborted and origin.closed)

    def test_tunnel_to_an_origin_that_reads_late(self) -> None:
        """An origin that reads within this time gets all of it."""
        origin = self.tunnel()
        self.proxy.elapse(Config().stall_timeout - 1)
        origin.resume()
        self.assertEqual(len(origin.received), 40000)
        self.assertTrue(origin.ended_cleanly and origin.closed)

    def unsent(self) -> Peer:
        """An origin whose idle connection is over but for bytes that it has not read."""
        self.client.send(GET)
        origin = self.origin
        origin.take()
        origin.send(OK)
        origin.pause()
        origin.transport.write(bytes(1 << 20))
        self.proxy.pool.closeCachedConnections()
        self.assertFalse(origin.closed)
        return origin

    def test_origin_that_does_not_read(self) -> None:
        """What is left to be sent is kept for a while, and then broken off."""
        origin = self.unsent()
        self.proxy.elapse(MAX_LEAVING - SWEEP_INTERVAL)
        self.assertFalse(origin.closed)
        self.proxy.elapse(2 * SWEEP_INTERVAL)
        self.assertTrue(origin.aborted and origin.closed)

    def test_origin_that_reads_late(self) -> None:
        """An origin that reads within this time gets all of it."""
        origin = self.unsent()
        self.proxy.elapse(MAX_LEAVING - SWEEP_INTERVAL)
        origin.resume()
        self.assertEqual(len(origin.received), 1 << 20)
        self.assertTrue(origin.ended_cleanly and origin.closed)

    def test_abort(self) -> None:
        """When the pool is aborted, so are the connections that only have bytes to send."""
        origin = self.tunnel()
        self.proxy.pool.abort()
        self.proxy.reactor.settle()
        self.assertTrue(origin.aborted and origin.closed)


class ContractTests(PoolTestCase):
    """What users of L{HTTPConnectionPool} expect."""

    def endpoint(self) -> Deferred[OriginConnection]:
        """Ask by the base class's method."""
        return self.pool.getConnection(A, self.pool._endpoint_for(A))

    def test_kind(self) -> None:
        """It is one, and persistent."""
        self.assertIsInstance(self.pool, HTTPConnectionPool)
        self.assertTrue(self.pool.persistent)
        self.assertEqual(self.pool.maxPersistentPerHost, Config().max_idle_per_origin)

    def test_get_new(self) -> None:
        """getConnection opens a connection when there is none."""
        got = self.endpoint()
        self.assertNoResult(got)
        self.proxy.connects[0].accept()
        self.assertIsInstance(self.successResultOf(got), UpstreamConnection)
        self.state(1, 0)

    def test_get_idle(self) -> None:
        """It returns an idle one when there is one."""
        connection = self.opened()
        self.pool.release(connection)
        self.assertIs(self.successResultOf(self.endpoint()), connection)

    def test_cancelled(self) -> None:
        """Who has cancelled leaves the line, and what comes serves others."""
        got = self.endpoint()
        got.cancel()
        self.failureResultOf(got, CancelledError)
        self.proxy.connects[0].accept()
        self.state(0, 1)

    def test_get_fails(self) -> None:
        """It fails with the reason."""
        got = self.endpoint()
        self.proxy.connects[0].refuse(ConnectionRefusedError())
        self.assertEqual(self.failureResultOf(got, GatewayError).value.status, 502)

    def test_close_cached_connections(self) -> None:
        """closeCachedConnections closes all idle ones, and tells when they are closed."""
        idle = [self.opened() for _ in range(3)]
        busy = self.opened()
        for connection in idle:
            self.pool.release(connection)
        closed = self.pool.closeCachedConnections()
        self.assertNoResult(closed)
        self.proxy.reactor.settle()
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual([peer.closed for peer in self.proxy.origins], [True, True, True, False])
        self.state(1, 0)
        self.pool.release(busy)
        self.state(0, 1)

    def test_close_nothing(self) -> None:
        """With nothing to close it is done at once."""
        self.assertIsNone(self.successResultOf(self.pool.closeCachedConnections()))
