"""Slow pages beside others: the reserve in the pool, and how long requests take."""

from __future__ import annotations

from typing import Any

from fastcar_tw.fastcgi.pace import SLOW
from fastcar_tw.testing import Peer
from tests.forward.support import answer, request

from .support import FPM, PAGE, Child, GatewayTestCase

SLOW_PAGE = b"/slow.php"
FAST_PAGE = b"/index.php"


class SlowPageTestCase(GatewayTestCase):
    """Has a gateway with a page that is slow, and one that is not."""

    def start(self, **options: Any) -> None:
        super().start(**options)
        self.gateway.write("slow.php")

    def learn(self) -> None:
        """Know the slow page."""
        for _ in range(8):
            self.gateway.pool.pace.took(SLOW_PAGE, 1.0)

    def ask(self, target: bytes, *fields: bytes) -> Peer:
        """Have a new client ask for a page."""
        client = self.gateway.client()
        client.send(request(target, *fields))
        return client

    def slow(self, count: int) -> list[Peer]:
        """Have new clients ask for the slow page, each with a query that is its number."""
        return [self.ask(SLOW_PAGE + b"?%d" % number) for number in range(count)]

    @property
    def working(self) -> dict[str, Child]:
        """The connections to children that are at work, by the queries they work on."""
        queries = {}
        for child in self.gateway.children:
            if not child.closed and child.requests and id(child.request) not in self.answered:
                queries[child.request.params[b"QUERY_STRING"].decode()] = child
        return queries

    def setUp(self) -> None:
        super().setUp()
        self.answered: set[int] = set()

    def finish(self, query: str) -> None:
        """Let a child answer."""
        child = self.working[query]
        self.answered.add(id(child.request))
        child.answer()

    def serve_fast(self) -> None:
        """Check that another page is served at once."""
        client = self.ask(FAST_PAGE + b"?fast")
        self.finish("fast")
        self.assertEqual(answer(client.received).status, 200)


class ReserveTests(SlowPageTestCase):
    """Who gets a connection."""

    def setUp(self) -> None:
        """Have three connections, a slow page, and someone else who has come just now."""
        super().setUp()
        self.begin()

    def begin(self, **options: Any) -> None:
        """The same with other options."""
        self.start(**{"connections": 3, **options})
        self.learn()
        self.serve_fast()

    def test_others_are_served(self) -> None:
        """A quick page is served at once, however many wait for slow ones."""
        self.slow(5)
        self.assertEqual([*self.working], ["0", "1"])
        for _ in range(3):
            self.serve_fast()

    def test_in_order(self) -> None:
        """As slow requests end, others are served, in the order of their arrival."""
        clients = self.slow(5)
        for ended, begun in (("1", "2"), ("0", "3"), ("3", "4")):
            self.finish(ended)
            self.assertIn(begun, self.working)
            self.assertEqual(len(self.working), 2)
        self.finish("2")
        self.finish("4")
        self.assertEqual([answer(each.received).status for each in clients], [200] * 5)

    def test_nobody_else(self) -> None:
        """Where none but slow pages are asked for, all connections serve them."""
        self.gateway.elapse(2)
        self.slow(5)
        self.assertEqual([*self.working], ["0", "1", "2"])

    def test_nobody_else_any_more(self) -> None:
        """When no other page was asked for for some seconds, those held go on."""
        self.slow(5)
        self.gateway.elapse(3)
        self.assertEqual([*self.working], ["0", "1", "2"])
        self.finish("1")
        self.assertIn("3", self.working)

    def test_single_connection(self) -> None:
        """With one connection nothing is kept back."""
        self.begin(connections=1)
        self.slow(2)
        self.assertEqual([*self.working], ["0"])
        self.finish("0")
        self.assertEqual([*self.working], ["1"])

    def test_client_of_held_leaves(self) -> None:
        """A held request whose client has left never reaches a script."""
        clients = self.slow(4)
        clients[2].close()
        self.finish("0")
        self.assertEqual([*self.working], ["3", "1"])

    def test_client_of_served_leaves(self) -> None:
        """A request that is given up makes room for the next."""
        clients = self.slow(3)
        clients[0].close()
        self.assertCountEqual(self.working, ["1", "2"])

    def test_child_dies(self) -> None:
        """A request whose child has died makes room for the next."""
        self.slow(3)
        self.working["0"].close()
        self.assertIn("2", self.working)

    def test_too_long(self) -> None:
        """One that is held for --queue-timeout is refused as one in the line is."""
        self.begin(queue_timeout=4)
        clients = self.slow(3)
        for _ in range(5):
            self.gateway.elapse(1)
            self.serve_fast()
        got = answer(clients[2].received)
        self.assertEqual((got.status, got.fields[b"retry-after"]), (503, b"1"))
        self.finish("0")
        self.assertEqual([*self.working], ["1"])

    def test_too_many(self) -> None:
        """Those held count for --max-queue."""
        self.begin(max_queue=2)
        clients = self.slow(5)
        got = answer(clients[4].received)
        self.assertEqual((got.status, got.fields[b"retry-after"]), (503, b"1"))
        self.assertEqual(clients[3].received, b"")

    def test_no_keep(self) -> None:
        """With --no-keep the same holds."""
        self.begin(keep=False)
        self.slow(4)
        self.assertEqual([*self.working], ["0", "1"])
        self.serve_fast()
        self.finish("0")
        self.assertEqual([*self.working], ["1", "2"])

    def test_goes_on_working(self) -> None:
        """A child that works on after its response counts until it is done."""
        child = self.child
        child.pause()
        client = self.ask(SLOW_PAGE)
        child.answer()
        self.assertEqual(answer(client.received).status, 200)
        self.slow(2)
        self.assertEqual([*self.working], ["0"])
        self.serve_fast()
        child.resume()
        self.gateway.elapse(0.25)
        self.assertIn("1", self.working)

    def test_sent_again(self) -> None:
        """A request that is sent again is not held."""
        self.slow(1)
        child = self.working["0"]
        self.finish("0")
        self.slow(3)
        self.assertIs(self.working["0"], child)
        child.close()
        self.assertCountEqual(self.working, ["0", "1", "2"])

    def test_several_backends(self) -> None:
        """One connection is kept in all, not one to each php-fpm."""
        self.begin(connections=2, fpm=(FPM, FPM + "2"))
        self.slow(5)
        self.assertEqual(len(self.working), 3)
        self.serve_fast()

    def test_slow_readers(self) -> None:
        """Clients that read large pages slowly do not get all connections, once that is known."""
        self.start(connections=3)
        readers = [self.gateway.client(capacity=4096) for _ in range(3)]
        for number, reader in enumerate(readers):
            reader.pause()
            reader.send(request(SLOW_PAGE + b"?%d" % number))
        for child in self.working.values():
            child.stdout(PAGE + b"a" * 1_000_000)
        self.gateway.elapse(1)
        for reader in readers:
            reader.resume()
        for child in self.working.values():
            self.answered.add(id(child.request))
            child.end_request()
        self.serve_fast()
        self.slow(3)
        self.assertEqual([*self.working], ["1", "0"])
        self.serve_fast()

    def test_no_line(self) -> None:
        """With --max-queue 0 nobody is held: who finds a connection is served, others are not."""
        self.begin(connections=2, max_queue=0)
        clients = self.slow(3)
        self.assertEqual([*self.working], ["0", "1"])
        self.assertEqual([each.received for each in clients[:2]], [b"", b""])
        self.assertEqual(answer(clients[2].received).status, 503)

    def test_too_long_with_others(self) -> None:
        """So it is where the time of others who leave the line ends with it."""
        self.begin(connections=2)
        clients = self.slow(2)
        self.ask(FAST_PAGE)
        for number in range(9):
            self.ask(FAST_PAGE + b"?%d" % number)
            self.gateway.elapse(1)
        self.gateway.elapse(4)
        self.assertEqual(answer(clients[1].received).status, 503)

    def test_backend_fails(self) -> None:
        """Connections to a php-fpm that is left alone do not count."""
        self.begin(connections=2, fpm=(FPM, FPM + "2"), fail_fast_after=1)
        self.gateway.refusing.add(self.gateway.config.backends[1])
        for number in range(2):
            self.ask(FAST_PAGE + b"?%d" % number)
        for query in [*self.working]:
            self.finish(query)
        self.slow(5)
        self.assertEqual([*self.working], ["0"])
        self.serve_fast()
        self.finish("0")
        self.assertEqual([*self.working], ["1"])

    def test_all_fail(self) -> None:
        """When php-fpm is gone all who wait are told so, the held ones too."""
        self.begin(fail_fast_after=2)
        self.gateway.accepting = False
        for child in self.gateway.children:
            child.close()
        clients = self.slow(5)
        while pending := [each for each in self.gateway.attempts if each.pending]:
            pending[0].refuse()
        statuses = [answer(each.received).status for each in clients]
        self.assertEqual(statuses, [502, 502, 502, 503, 503])


class PaceTests(SlowPageTestCase):
    """What is learnt of a page."""

    def is_slow(self, page: bytes = SLOW_PAGE) -> bool:
        """What is known of it."""
        return self.gateway.pool.pace.is_slow(page)

    def test_learnt(self) -> None:
        """A page is slow when it has taken long twice, whatever its query was."""
        for number in range(2):
            self.assertFalse(self.is_slow())
            self.slow(number + 1)
            self.gateway.elapse(0.5)
            for query in [*self.working]:
                self.finish(query)
        self.assertTrue(self.is_slow())

    def test_line_does_not_count(self) -> None:
        """The time in line is not the page's."""
        self.start(connections=1)
        self.ask(SLOW_PAGE + b"?first")
        clients = [self.ask(FAST_PAGE + b"?%d" % number) for number in range(3)]
        self.gateway.elapse(1)
        self.finish("first")
        for number in range(3):
            self.finish(str(number))
        self.assertEqual([answer(each.received).status for each in clients], [200] * 3)
        self.assertFalse(self.is_slow(FAST_PAGE))

    def test_upload_does_not_count(self) -> None:
        """The time in which a client sends is not the page's."""
        for method in (b"PUT", b"POST"):
            for _ in range(3):
                self.client.send(request(SLOW_PAGE, method=method, body=b"a" * 10)[:-1])
                self.gateway.elapse(1)
                self.client.send(b"a")
                self.exchange(b"")
            self.assertFalse(self.is_slow())

    def test_after_an_upload(self) -> None:
        """The time after a collected body is."""
        for _ in range(2):
            self.client.send(request(SLOW_PAGE, method=b"POST", body=b"a" * 10))
            self.gateway.elapse(1)
            self.exchange(b"")
        self.assertTrue(self.is_slow())

    def test_client_does_not_read(self) -> None:
        """The time in which a child waits for a client that reads slowly is the page's as well: it
        is held for so long."""
        for _ in range(2):
            self.assertFalse(self.is_slow())
            client = self.gateway.client()
            client.pause()
            client.send(request(SLOW_PAGE))
            self.child.stdout(PAGE + b"a" * 1_000_000)
            self.assertTrue(self.child.transport.paused)
            self.gateway.elapse(1)
            client.resume()
            self.child.end_request()
            self.assertTrue(client.received.endswith(b"\r\n0\r\n\r\n"))
        self.assertTrue(self.is_slow())

    def test_client_reads_later(self) -> None:
        """A page that is complete costs no more time, though its client has not read it."""
        for _ in range(3):
            client = self.gateway.client(capacity=4096)
            client.pause()
            client.send(request(SLOW_PAGE))
            self.child.answer(PAGE + b"a" * 200_000)
            self.gateway.elapse(1)
            client.resume()
            self.assertTrue(client.received.endswith(b"a\r\n0\r\n\r\n"))
        self.assertFalse(self.is_slow())

    def test_failures_do_not_count(self) -> None:
        """Children that ended in the middle say nothing of the page."""
        for _ in range(3):
            self.ask(SLOW_PAGE)
            self.gateway.elapse(1)
            self.child.stdout(PAGE)
            self.child.close()
        self.assertFalse(self.is_slow())

    def test_given_up(self) -> None:
        """A page whose clients do not wait for it is known for the time that it holds a child."""
        for _ in range(3):
            self.give_up()
            self.gateway.elapse(1)
            self.child.resume()
            self.gateway.elapse(1)
        self.assertTrue(self.is_slow())

    def give_up(self) -> None:
        """Have a client leave while a child works on its page."""
        self.ask(FAST_PAGE)
        self.child.answer(PAGE)
        self.child.pause()
        self.ask(SLOW_PAGE).close()

    def test_given_up_holds(self) -> None:
        """Who comes next is not sent to where no child is free."""
        self.start(connections=1)
        self.give_up()
        self.ask(FAST_PAGE)
        self.gateway.elapse(1)
        self.assertEqual(len(self.gateway.attempts), 1)
        self.child.resume()
        self.gateway.elapse(1)
        self.assertEqual(len(self.gateway.attempts), 2)
        self.assertEqual(self.child.request.params[b"REQUEST_URI"], FAST_PAGE)

    def test_streamed(self) -> None:
        """Bodies that are streamed never have all connections, also while nothing else comes."""
        for _ in range(6):
            self.gateway.client().send(
                b"PUT /index.php HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"
            )
        self.gateway.elapse(1)
        self.assertEqual(len(self.gateway.attempts), 2)

    def test_substitute(self) -> None:
        """A page that is answered by another has its own time, and the other one its own."""
        for _ in range(2):
            self.client.send(request(SLOW_PAGE))
            self.gateway.elapse(1)
            self.child.answer(b"Location: /index.php\r\n\r\n")
            self.assertEqual(answer(self.exchange(b"")).status, 200)
        self.assertTrue(self.is_slow())
        self.assertFalse(self.is_slow(FAST_PAGE))

    def test_work_after_the_response(self) -> None:
        """The time in which a child works on after its response is the page's."""
        self.warm()
        for _ in range(2):
            self.child.pause()
            self.client.send(request(SLOW_PAGE))
            self.child.answer()
            self.assertEqual(answer(self.client.take()).status, 200)
            self.gateway.elapse(2 * SLOW)
            self.assertFalse(self.is_slow())
            self.gateway.elapse(1)
            self.child.resume()
            self.gateway.elapse(0.25)
        self.assertTrue(self.is_slow())
