"""The pool of connections to php-fpm."""

from __future__ import annotations

from typing import Any

from fastcar_tw.fastcgi.connection import FastCGIConnection
from fastcar_tw.fastcgi.records import END_OF_STDIN, encode_pair, encode_params
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.pool.stats import Counts
from fastcar_tw.upstream.backends import Backend

from .support import Child, GatewayTestCase
from .test_connection import Exchange

A, B = Backend("/run/a.sock"), Backend("/run/b.sock")
ONE = ("unix:/run/a.sock",)
TWO = ("unix:/run/a.sock", "unix:/run/b.sock")


class Request(Exchange):
    """
    Wants a connection, and sends a small request on it.

    @ivar connection: what it got.
    @ivar refusal: what it was told instead.
    """

    def __init__(self, name: str, repeatable: bool = True) -> None:
        super().__init__()
        self.name = name
        self.repeatable = repeatable
        self.connection: FastCGIConnection | None = None
        self.was_fresh = False
        self.refusal: GatewayError | None = None

    def is_repeatable(self) -> bool:
        """It is, unless something else was said."""
        return self.repeatable

    def connected(self, connection: FastCGIConnection) -> None:
        """Send it."""
        self.connection = connection
        self.was_fresh = connection.fresh
        self.stdin_complete = True
        pairs = [encode_pair(b"SCRIPT_NAME", self.name.encode())]
        connection.start(self, encode_params(pairs) + END_OF_STDIN)

    def connect_failed(self, error: GatewayError) -> None:
        """Note it."""
        self.refusal = error


class PoolTestCase(GatewayTestCase):
    """Has a pool with one backend and three connections, unless something else is said."""

    def setUp(self) -> None:
        self.start(fpm=ONE)

    def ask(self, *names: str, **options: Any) -> list[Request]:
        """Requests, one after another, each for the backend that is the best choice then."""
        requests = []
        for name in names:
            request = Request(name, **options)
            self.gateway.pool.acquire(self.gateway.pool.choose(), request)
            self.gateway.reactor.settle()
            requests.append(request)
        return requests

    @property
    def children(self) -> list[Child]:
        """Connections to php-fpm that are open."""
        return [each for each in self.gateway.children if not each.closed]

    @property
    def served(self) -> list[str]:
        """All requests that children have got so far, in the order of their connections."""
        return [each.name.decode() for child in self.gateway.children for each in child.requests]

    def counts(self, backend: Backend = A) -> Counts:
        """The numbers of a backend."""
        return self.gateway.pool.stats().origins[backend]


class ReuseTests(PoolTestCase):
    """Connections are kept."""

    def test_reused(self) -> None:
        """One connection serves one request after another, and the last one used comes first."""
        self.ask("1", "2")
        first, second = self.children
        second.answer()
        first.answer()
        (third,) = self.ask("3")
        self.assertEqual([each.name for each in first.requests], [b"1", b"3"])
        self.assertFalse(third.was_fresh)
        self.assertEqual(len(second.requests), 1)

    def test_limit(self) -> None:
        """No more connections are opened than allowed; who comes later waits in line."""
        requests = self.ask(*"12345")
        self.assertEqual((len(self.children), self.counts().waiting), (3, 2))
        self.children[1].answer()
        self.children[0].answer()
        self.assertEqual([requests[at].connection is not None for at in (3, 4)], [True, True])
        self.assertEqual(self.children[1].request.name, b"4")
        self.assertEqual(self.children[0].request.name, b"5")

    def test_not_kept(self) -> None:
        """With --no-keep each request has a connection of its own, which is closed."""
        self.start(fpm=ONE, keep=False, connections=1)
        self.ask("1", "2")
        (child,) = self.children
        self.assertFalse(child.request.keep)
        child.answer()
        (other,) = self.children
        self.assertIsNot(other, child)
        self.assertTrue(child.ended_cleanly)
        self.assertEqual(other.request.name, b"2")

    def test_max_requests(self) -> None:
        """With --max-requests the next request gets a new connection after so many."""
        self.start(fpm=ONE, max_requests=2, connections=1)
        self.ask("1", "2", "3")
        first = self.child
        first.answer()
        first.answer()
        self.assertTrue(first.ended_cleanly)
        self.assertEqual(len(first.requests), 2)
        self.assertFalse(first.begun_ahead)
        self.assertEqual(self.child.request.name, b"3")

    def test_idle_timeout(self) -> None:
        """A connection that is idle for too long is closed, which frees its child."""
        self.start(fpm=ONE, idle_timeout=5)
        self.ask("1")
        self.child.answer()
        self.gateway.elapse(4.0)
        self.assertFalse(self.child.closed)
        self.gateway.elapse(2.5)
        self.assertTrue(self.child.ended_cleanly)

    def test_end_while_idle(self) -> None:
        """A child that ends costs no request: the next one has a new connection."""
        self.ask("1")
        self.child.answer()
        self.child.end()
        (second,) = self.ask("2", repeatable=False)
        self.assertEqual((second.was_fresh, second.failure), (True, None))

    def test_end_untold(self) -> None:
        """The same if nobody has told yet and the request could not be sent again."""
        self.ask("1")
        self.child.answer()
        self.child.vanish()
        (second,) = self.ask("2", repeatable=False)
        self.assertEqual((second.was_fresh, second.failure), (True, None))
        self.assertEqual(self.counts().reused, 0)


class FinishingTests(PoolTestCase):
    """A child that works on after its response."""

    def test_busy(self) -> None:
        """What it has not read keeps its connection from the next request, which gets another."""
        self.gateway.accepting = False
        (first,) = self.ask("1")
        child = self.gateway.attempts[0].accept(paused=True)
        child.answer()
        self.assertEqual(first.events[:1], ["end"])
        self.gateway.accepting = True
        (second,) = self.ask("2")
        self.assertIsNot(second.connection, first.connection)
        self.assertEqual((self.counts().active, self.counts().idle), (2, 0))
        child.resume()
        self.gateway.elapse(0.25)
        self.assertEqual((self.counts().active, self.counts().idle), (1, 1))

    def test_line(self) -> None:
        """When it is done it serves the first in line, without any other event."""
        self.start(fpm=ONE, connections=1)
        self.gateway.accepting = False
        first, second = self.ask("1", "2")
        child = self.gateway.attempts[0].accept(paused=True)
        child.answer()
        self.gateway.elapse(1.0)
        self.assertIsNone(second.connection)
        child.resume()
        self.gateway.elapse(0.25)
        self.assertIs(second.connection, first.connection)
        self.assertEqual(self.served, ["1", "2"])

    def test_ends(self) -> None:
        """If it ends instead, its place is free for a new connection."""
        self.start(fpm=ONE, connections=1)
        self.gateway.accepting = False
        _, second = self.ask("1", "2")
        child = self.gateway.attempts[0].accept(paused=True)
        child.answer()
        self.gateway.accepting = True
        child.close()
        self.assertTrue(second.was_fresh)
        self.assertEqual(self.counts().active, 1)
        # Nobody looks after it any more.
        self.assertEqual(len(self.gateway.pool._finishing), 0)


class BackendsTests(PoolTestCase):
    """More than one php-fpm."""

    def setUp(self) -> None:
        self.start(fpm=TWO, connections=2)

    def backends(self) -> list[Backend]:
        """Of all attempts to connect."""
        return [each.backend for each in self.gateway.attempts]

    def test_least_busy(self) -> None:
        """Requests go to where the fewest are at work."""
        self.ask("1", "2", "3", "4")
        self.assertEqual(self.backends(), [A, B, A, B])

    def test_least_busy_idle(self) -> None:
        """What is idle is not at work, and is used before anything is opened."""
        self.ask("1", "2", "3")
        self.children[1].answer()
        (request,) = self.ask("4")
        assert request.connection is not None
        self.assertEqual((request.connection.backend, len(self.children)), (B, 3))

    def test_choose(self) -> None:
        """The choice is the first of those that are equally busy, and goes where least is done."""
        chosen = []
        for name in "1234":
            chosen.append(self.gateway.pool.choose())
            self.ask(name)
        self.assertEqual(chosen, [A, B, A, B])

    def test_choose_always(self) -> None:
        """There is a choice also where all is busy, or the only backend cannot be reached."""
        self.ask(*"12345")
        self.assertIn(self.gateway.pool.choose(), (A, B))
        self.start(fpm=ONE, fail_fast_after=1)
        self.gateway.refusing.add(A)
        self.ask("1")
        self.assertEqual(self.gateway.pool.choose(), A)

    def test_one_line(self) -> None:
        """A connection that comes free serves who came first, wherever he was sent to."""
        self.ask("1", "2", "3", "4")
        requests = self.ask("5", "6", "7")
        for at in (3, 0, 1):
            self.children[at].answer()
        got = [self.gateway.children[at].request.name for at in (3, 0, 1)]
        self.assertEqual(got, [b"5", b"6", b"7"])
        self.assertTrue(all(each.connection for each in requests))

    def test_one_dead(self) -> None:
        """With one php-fpm that is not there every request is served, in the order of arrival."""
        self.gateway.refusing.add(A)
        requests = self.ask(*(str(number) for number in range(20)))
        order = []
        while self.children and any(not each.events for each in requests):
            for child in self.children:
                order.append(child.request.name.decode())
                child.answer()
        self.assertEqual([each.refusal for each in requests], [None] * 20)
        self.assertEqual(order, [str(number) for number in range(20)])

    def test_one_dies(self) -> None:
        """When one goes away under load, nobody who waits is refused for that."""
        requests = self.ask(*(str(number) for number in range(20)))
        self.gateway.refusing.add(A)
        for child in self.children:
            if child.backend == A:
                child.close()
        self.gateway.reactor.settle()
        while any(not (each.events or each.failure) for each in requests):
            self.assertTrue(self.children)
            for child in self.children:
                child.answer()
        self.assertEqual([each.refusal for each in requests], [None] * 20)
        # Those that were with it when it died, no more.
        self.assertEqual([each.failure is not None for each in requests].count(True), 2)

    def test_both_dead(self) -> None:
        """When nothing can be reached, a request is told so by the pool."""
        self.gateway.refusing |= {A, B}
        (request,) = self.ask("1")
        assert request.refusal is not None
        self.assertEqual(request.refusal.proxy_status, "connection_refused")

    def test_failing(self) -> None:
        """One that has failed too often is not chosen while the other one works."""
        self.start(fpm=TWO, connections=2, fail_fast_after=1)
        self.gateway.refusing.add(A)
        self.ask("1")
        self.assertEqual(self.gateway.pool.choose(), B)
        self.ask("2", "3")
        self.assertEqual(self.backends().count(A), 1)

    def test_cancelled(self) -> None:
        """A request that has left costs no turn, wherever it stands by then."""
        requests = self.ask(*"123456")
        for backend in (A, B):
            self.gateway.pool.cancel(backend, requests[4])
        self.children[0].answer()
        self.assertIsNone(requests[4].connection)
        self.assertIsNotNone(requests[5].connection)


class FailureTests(PoolTestCase):
    """Attempts that come to nothing."""

    def test_connect_timeout(self) -> None:
        """A connection that does not come about in time is given up."""
        self.start(fpm=ONE, connect_timeout=3)
        self.gateway.accepting = False
        (request,) = self.ask("1")
        self.gateway.elapse(2.5)
        self.assertIsNone(request.refusal)
        self.gateway.elapse(1.0)
        assert request.refusal is not None
        self.assertEqual(request.refusal.status, 504)
        self.assertTrue(self.gateway.attempts[0].cancelled)

    def test_queue_full(self) -> None:
        """Who finds too many in line is told when to come again."""
        self.start(fpm=ONE, connections=1, max_queue=1)
        refused = self.ask("1", "2", "3")[2].refusal
        assert refused is not None
        self.assertEqual((refused.status, refused.retry_after), (503, 1))

    def test_queue_timeout(self) -> None:
        """Who has waited for too long is told so, and later ones still wait."""
        self.start(fpm=ONE, connections=1, queue_timeout=10)
        _, second = self.ask("1", "2")
        self.gateway.elapse(6.0)
        (third,) = self.ask("3")
        self.gateway.elapse(6.0)
        assert second.refusal is not None
        self.assertEqual((second.refusal.status, third.refusal), (503, None))

    def test_leaves_nothing(self) -> None:
        """After its end no connection and no call is left."""
        self.gateway.accepting = False
        self.ask("1", "2")
        self.gateway.attempts[0].accept(paused=True).answer()
        self.gateway.pool.abort()
        self.gateway.reactor.settle()
        self.assertEqual(self.children, [])
        self.assertTrue(self.gateway.attempts[1].cancelled)
        self.gateway.elapse(1.0)
        self.assertEqual((self.counts().active, self.counts().opening), (0, 0))


class PrewarmTests(PoolTestCase):
    """Connections that are there before anybody asks."""

    def test_prewarm(self) -> None:
        """They are opened and begun, so that php-fpm keeps them, and serve the first requests."""
        self.successResultOf(self.warm_up(2))
        self.assertEqual(len(self.children), 2)
        self.assertTrue(all(each.begun_ahead for each in self.children))
        (request,) = self.ask("1")
        self.assertEqual((len(self.children), request.failure), (2, None))

    def warm_up(self, count: int) -> Any:
        """Begin."""
        result = self.gateway.pool.prewarm({A: count})
        self.gateway.reactor.settle()
        return result
