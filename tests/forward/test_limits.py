"""--max-connections-per-origin, --max-connections, --max-queue and --queue-timeout: who waits, in
which order, for how long, and what those are told who may not."""

from __future__ import annotations

from fastcar_tw.testing import Peer

from .support import GET, OK, OK_CLOSE, ProxyTestCase, answer, logged, request


class LimitsTestCase(ProxyTestCase):
    """Clients whose requests are numbered by their targets."""

    def ask(self, count: int, host: bytes = b"a.test", start: int = 0) -> list[Peer]:
        """So many new clients, one after the other, each with one request."""
        clients = []
        for number in range(start, start + count):
            clients.append(self.proxy.client())
            clients[-1].send(_numbered(number, host))
        return clients

    def busy(self) -> list[Peer]:
        """Connections on which a request waits for its response, in the order of opening."""
        return [origin for origin in self.proxy.origins if origin.received]

    def answer_next(self, response: bytes = OK) -> bytes:
        """Answer the request that has waited longest of those in hand; return its host and
        target."""
        origin = min(self.busy(), key=lambda origin: _target(origin.received))
        asked = origin.take()
        origin.send(response)
        return _host(asked) + _target(asked)

    def refused(self, client: Peer) -> bool:
        """Whether a client was told that there is no room, as it has to be."""
        data = client.received
        if not data.startswith(b"HTTP/1.1 503 "):
            return False
        got = answer(data)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=connection_limit_reached")
        self.assertRegex(got.fields[b"retry-after"], rb"^[1-9]\d*$")
        return True


class OrderTests(LimitsTestCase):
    """Who comes first is served first."""

    def serve(self, response: bytes) -> list[bytes]:
        """The order in which the requests of 100 clients reach an origin that takes four."""
        self.start(max_connections_per_origin=4)
        clients = self.ask(100)
        served = []
        while busy := self.busy():
            self.assertLessEqual(len([o for o in self.proxy.origins if not o.closed]), 4)
            for origin in busy:
                served.append(_target(origin.take()))
                origin.send(response)
        self.assertEqual({client.received for client in clients}, {OK})
        return served

    def test_kept(self) -> None:
        """Four connections serve 100 clients, in the order of their arrival."""
        self.assertEqual(self.serve(OK), [b"%03d" % number for number in range(100)])
        self.assertEqual(len(self.proxy.connects), 4)

    def test_closed(self) -> None:
        """So do 100 connections, of which never more than four are open."""
        served = self.serve(OK_CLOSE)
        self.assertEqual(len(self.proxy.connects), 100)
        # Each four are opened together.
        for start in range(0, 100, 4):
            expected = [b"%03d" % number for number in range(start, start + 4)]
            self.assertEqual(sorted(served[start : start + 4]), expected)

    def test_a_client_that_leaves(self) -> None:
        """A client that leaves while it waits gives its place up; its request is not sent."""
        self.start(max_connections_per_origin=1)
        clients = self.ask(4)
        clients[1].close()
        clients[2].close()
        served = [self.answer_next() for _ in range(2)]
        self.assertEqual(served, [b"a.test000", b"a.test003"])
        self.assertEqual(self.busy(), [])

    def test_new_clients_do_not_overtake(self) -> None:
        """A request that comes just when a connection is free stands behind those that wait."""
        self.start(max_connections_per_origin=1)
        self.ask(3)
        self.answer_next()
        self.ask(1, start=3)
        self.assertEqual(len(self.busy()), 1)
        served = [self.answer_next() for _ in range(3)]
        self.assertEqual(served, [b"a.test001", b"a.test002", b"a.test003"])


class QueueTests(LimitsTestCase):
    """Those who cannot be served yet."""

    def test_full(self) -> None:
        """With --max-queue requests waiting the next is refused at once; those before are
        served."""
        self.start(max_connections_per_origin=1, max_queue=10)
        clients = self.ask(15)
        self.assertEqual([self.refused(client) for client in clients], [False] * 11 + [True] * 4)
        for number in range(11):
            self.assertEqual(self.answer_next(), b"a.test%03d" % number)
        self.assertEqual({client.received for client in clients[:11]}, {OK})
        self.alive(clients[-1])

    def test_no_queue(self) -> None:
        """With --max-queue 0 nobody waits for others, but everybody for his own connection."""
        self.start(max_connections_per_origin=2, max_queue=0)
        clients = self.ask(3)
        self.assertEqual([self.refused(client) for client in clients], [False, False, True])
        self.assertEqual(len(self.busy()), 2)

    def test_logged(self) -> None:
        """One line tells of each refusal."""
        self.start(max_connections_per_origin=1, max_queue=0)
        self.ask(1)
        [line] = logged(lambda: self.ask(1))
        self.assertRegex(line, r"^GET http://a\.test:80: connection_limit_reached \(503\): ")

    def test_timeout(self) -> None:
        """A request that has waited for --queue-timeout is refused, and never sent."""
        self.start(max_connections_per_origin=1, queue_timeout=10)
        self.ask(1)
        [early] = self.ask(1, start=1)
        self.proxy.elapse(5)
        [late] = self.ask(1, start=2)
        self.proxy.elapse(4.5)
        self.assertFalse(early.received)
        self.proxy.elapse(2)
        self.assertTrue(self.refused(early))
        self.assertFalse(late.received)
        served = [self.answer_next() for _ in range(2)]
        self.assertEqual(served, [b"a.test000", b"a.test002"])
        self.assertEqual(late.received, OK)

    def test_timeout_is_for_the_queue(self) -> None:
        """The time counts only while a request waits, not while it is answered."""
        self.start(max_connections_per_origin=1, queue_timeout=2)
        self.ask(1)
        [second] = self.ask(1, start=1)
        self.proxy.elapse(1)
        self.assertEqual(self.answer_next(), b"a.test000")
        self.proxy.elapse(10)
        self.assertEqual(self.answer_next(), b"a.test001")
        self.assertEqual(second.received, OK)

    def test_connecting_is_not_queueing(self) -> None:
        """Nor while its own connection is being opened."""
        self.start(queue_timeout=2)
        self.proxy.accepting = False
        self.client.send(GET)
        self.proxy.elapse(5)
        self.assertFalse(self.client.received)
        self.proxy.connects[0].accept()
        self.origin.send(OK)
        self.assertEqual(self.client.received, OK)


class SharingTests(LimitsTestCase):
    """Several origins share --max-connections."""

    def open_connections(self) -> int:
        """Connections that the proxy has not closed."""
        return sum(not origin.closed for origin in self.proxy.origins)

    def test_no_starvation(self) -> None:
        """An origin that everybody asks does not keep another from being asked: its request is
        answered before any that came a little later."""
        self.start(max_connections=4)
        before = self.ask(54)
        [other] = self.ask(1, b"b.test")
        self.proxy.elapse(0.5)
        later = self.ask(46, start=54)
        while not other.received:
            self.answer_next()
            self.assertLessEqual(self.open_connections(), 4)
        self.assertEqual([client.received for client in later], [b""] * 46)
        while self.busy():
            self.answer_next()
        self.assertEqual({client.received for client in before + later}, {OK})

    def test_oldest_idle_makes_room(self) -> None:
        """With all connections idle the one that has been so for longest, of whatever origin, is
        closed for a new one."""
        self.start(max_connections=3)
        for host in (b"a.test", b"b.test", b"c.test", b"a.test"):
            self.client.send(request(host=host))
            self.answer_next()
        self.ask(1, b"d.test")
        closed = [o.origin.host for o in self.proxy.origins if o.closed and o.origin is not None]
        self.assertEqual(closed, ["b.test"])
        self.assertEqual(self.open_connections(), 3)

    def test_busy_ones_stay(self) -> None:
        """With all connections busy a request waits, even if it is its origin's first."""
        self.start(max_connections=3)
        self.ask(3)
        [other] = self.ask(1, b"b.test")
        self.assertEqual(len(self.proxy.connects), 3)
        self.assertEqual(self.answer_next(), b"a.test000")
        self.assertEqual(self.open_connections(), 3)
        self.assertEqual(self.answer_next(), b"b.test000")
        self.assertEqual(other.received, OK)


def _numbered(number: int, host: bytes) -> bytes:
    return request(b"/%03d" % number, host=host)


def _target(asked: bytes) -> bytes:
    return asked.split(b" ", 2)[1][1:]


def _host(asked: bytes) -> bytes:
    return asked.partition(b"\r\nHost: ")[2].partition(b"\r\n")[0]
