"""How many requests a connection in HTTP/2 carries, and how long it lives: what the origin says
(RFC 9113 section 5.1.2), and what our limits say."""

from __future__ import annotations

from h2.errors import ErrorCodes

from fastcar_tw.http2 import session
from fastcar_tw.http2.session import ASSUMED_CAPACITY, EARLY_STREAMS
from fastcar_tw.pool.stats import Retired
from fastcar_tw.testing import Peer

from .http2 import HTTP2TestCase, answers
from .support import GET, OK, answer, request, response


class CapacityTests(HTTP2TestCase):
    """Connections are opened for as many requests as they will carry, and no more."""

    def served(self, clients: list[Peer], prefix: bytes = b"/") -> None:
        """Answer all until everybody has got what it has asked for."""
        while sum(origin.answer_all() for origin in self.origins if not origin.peer.closed):
            self.run_origins()
        self.assertEqual(answers(clients), [b"%b%d" % (prefix, at) for at in range(len(clients))])

    def carried(self) -> list[int]:
        """How many requests each connection has carried."""
        self.run_origins()
        return [len(origin.requests) for origin in self.origins]

    def test_cold(self) -> None:
        """Requests that all come before the first connection is there share as few as can be."""
        self.proxy.accepting = False
        clients = self.get(2 * ASSUMED_CAPACITY)
        self.assertEqual(len(self.proxy.connects), 2)
        for connect in self.proxy.connects:
            connect.accept()
        self.assertEqual(self.carried(), [ASSUMED_CAPACITY] * 2)
        self.served(clients)
        self.assertEqual(len(self.proxy.connects), 2)

    def test_cold_with_more_capacity(self) -> None:
        """If the first then turns out to carry all, nobody waits for the second."""
        self.proxy.accepting = False
        self.settings = {3: 1000}
        clients = self.get(150)
        self.proxy.connects[0].accept()
        self.run_origins()
        self.assertEqual(self.carried(), [150])
        self.served(clients)

    def test_cold_with_less_capacity(self) -> None:
        """If it turns out to carry fewer, the others never get there but go on to as few more as
        they need."""
        self.settings = {3: 10}
        clients = self.get(35)
        self.assertEqual(sorted(self.carried()), [5, 10, 10, 10])
        self.served(clients)

    def test_cold_with_less_capacity_and_no_other(self) -> None:
        """Where no other may be opened, they wait for it."""
        self.start(max_connections_per_origin=1)
        self.settings = {3: 10}
        clients = self.get(35)
        self.assertEqual(len(self.h2.open), 10)
        self.served(clients)
        self.assertEqual(self.carried(), [35])

    def test_refused_meanwhile(self) -> None:
        """Requests that cross with a lower number are refused, and sent again as there is room."""
        self.start(max_connections_per_origin=1)
        origin = self.warm_up()
        origin.h2.update_settings({3: 3})
        clients = self.get(10)
        self.assertEqual(len(origin.open), 10)
        for stream in origin.open[3:]:
            origin.reset(stream, ErrorCodes.REFUSED_STREAM)
        self.run_origins()
        self.assertEqual(len(origin.open), 3)
        self.served(clients)
        self.assertEqual(self.carried(), [1 + 10 + 7])

    def test_two_settings_at_once(self) -> None:
        """An origin that changes something else in the same breath has nevertheless said how many
        it takes."""
        self.start(max_connections_per_origin=1)
        self.settings = {3: 6}
        self.proxy.accepting = False
        clients = self.get(10)
        self.proxy.connects[0].accept()
        self.adopt()
        self.origins[0].h2.update_settings({4: 70_000})
        self.run_origins()
        self.assertLessEqual(len(self.h2.open), 6)
        self.served(clients)

    def test_http1_after_all(self) -> None:
        """If the origin chooses HTTP/1.1, there are as many connections as requests."""
        self.proxy.http2 = False
        clients = self.get(8)
        self.assertEqual(len(self.proxy.origins), 8)
        for origin in self.proxy.origins:
            origin.send(OK)
        self.assertEqual([client.take() for client in clients], [OK] * 8)

    def test_default(self) -> None:
        """An origin that does not say how many gets at most our own number."""
        self.warm_up()
        clients = self.get(ASSUMED_CAPACITY + 1)
        self.assertEqual(self.carried(), [1 + ASSUMED_CAPACITY, 1])
        self.served(clients)

    def test_told(self) -> None:
        """An origin that says how many gets that many."""
        self.settings = {3: 3}
        self.warm_up()
        clients = self.get(3)
        self.assertEqual(self.carried(), [4])
        clients += self.ask(request(b"/3"))
        self.assertEqual(self.carried(), [4, 1])
        self.served(clients)

    def test_at_most(self) -> None:
        """However many it says, there is a limit of ours."""
        self.patch(session, "MAX_CAPACITY", 7)
        self.start(max_connections_per_origin=1)
        self.settings = {3: 2**31 - 1}
        self.warm_up()
        clients = self.get(9)
        self.assertEqual(len(self.h2.open), 7)
        self.served(clients)

    def test_lowered(self) -> None:
        """An origin that lowers its number keeps what it has, and gets no more."""
        self.start(max_connections_per_origin=1)
        self.warm_up()
        clients = self.get(5)
        self.h2.settings(max_concurrent_streams=2)
        clients += self.ask(request(b"/5"), request(b"/6"))
        self.assertEqual(len(self.h2.open), 5)
        for stream in self.h2.open[:3]:
            self.h2.respond(stream, dict(self.h2.fields_of(stream))[b":path"])
            self.assertEqual(len(self.origins), 1)
        self.assertEqual(len(self.h2.open), 2)
        self.served(clients)
        self.assertEqual(self.carried(), [8])

    def test_lowered_then_another_connection(self) -> None:
        """Where another connection may be opened, it is."""
        self.warm_up()
        clients = self.get(5)
        self.h2.settings(max_concurrent_streams=2)
        clients += self.ask(request(b"/5"))
        self.assertEqual(self.carried(), [6, 1])
        self.served(clients)

    def test_raised(self) -> None:
        """An origin that raises its number is sent who waits at once."""
        self.start(max_connections_per_origin=1)
        self.settings = {3: 2}
        self.warm_up()
        clients = self.get(6)
        self.assertEqual(len(self.h2.open), 2)
        self.h2.settings(max_concurrent_streams=5)
        self.run_origins()
        self.assertEqual(len(self.h2.open), 5)
        self.served(clients)

    def test_nobody_for_a_while(self) -> None:
        """An origin may allow none for a while: who waits is served when it allows some again."""
        self.start(max_connections_per_origin=1)
        self.warm_up()
        first = self.get(1)
        self.h2.settings(max_concurrent_streams=0)
        second = self.ask(request(b"/0"))
        self.assertEqual(len(self.h2.open), 1)
        self.h2.settings(max_concurrent_streams=10)
        self.run_origins()
        self.assertEqual(len(self.h2.open), 2)
        self.served(first)
        self.served(second)

    def test_released(self) -> None:
        """Who waits gets the next place, in the order of arrival."""
        self.start(max_connections_per_origin=1)
        self.settings = {3: 1}
        self.warm_up()
        clients = self.get(4)
        for number in range(4):
            self.assertEqual(self.h2.paths[1:], [b"/%d" % each for each in range(number + 1)])
            self.h2.answer_now()
            self.run_origins()
        self.assertEqual(answers(clients), [b"/%d" % number for number in range(4)])

    def test_queue_timeout(self) -> None:
        """Who waits too long is told so; the others go on."""
        self.start(max_connections_per_origin=1, queue_timeout=5.0)
        self.settings = {3: 1}
        self.warm_up()
        served, waiting = self.get(2)
        self.elapse(6)
        got = self.assert_error(waiting, 503, "connection_limit_reached")
        self.assertIn(b"retry-after", got.fields)
        self.served([served])
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_queue_full(self) -> None:
        """More than may wait are refused at once."""
        self.start(max_connections_per_origin=1, max_queue=2)
        self.settings = {3: 1}
        self.warm_up()
        clients = self.get(4)
        self.assert_error(clients[3], 503, "connection_limit_reached")
        self.served(clients[:3])

    def test_waiting_client_leaves(self) -> None:
        """Who leaves while waiting is not asked for any more."""
        self.start(max_connections_per_origin=1)
        self.settings = {3: 1}
        self.warm_up()
        first, second, third = self.get(3)
        second.close()
        self.h2.answer_now()
        self.run_origins()
        self.h2.answer_now()
        self.assertEqual(self.h2.paths[1:], [b"/0", b"/2"])
        self.assertEqual(answers([first, third]), [b"/0", b"/2"])


class EarlyTests(HTTP2TestCase):
    """On a new connection all but a few requests wait for the origin's SETTINGS."""

    def early(self, *asked: bytes) -> list[Peer]:
        """Have requests under way to an origin that has said nothing yet."""
        self.proxy.accepting = False
        clients = self.ask(*(request(b"/%d" % number) for number in range(EARLY_STREAMS)), *asked)
        self.proxy.accepting = True
        self.proxy.connects[0].accept()
        self.adopt()
        self.origins[0].receive(self.origin.take())
        return clients

    def test_few(self) -> None:
        """So few begin at once, the others with the SETTINGS."""
        clients = self.early(*[request(b"/more")] * 20)
        self.assertEqual(len(self.origins[0].requests), EARLY_STREAMS)
        self.run_origins()
        self.assertEqual(len(self.origins[0].requests), EARLY_STREAMS + 20)
        self.h2.answer_all()
        self.assertEqual(answers(clients)[-1], b"/more")

    def test_client_leaves(self) -> None:
        """Who leaves meanwhile is not asked for."""
        clients = self.early(request(b"/gone"), request(b"/stays"))
        clients[-2].close()
        self.run_origins()
        self.assertNotIn(b"/gone", self.h2.paths)
        self.h2.answer_all()
        self.assertEqual(answers(clients[-1:]), [b"/stays"])
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_origin_leaves(self) -> None:
        """If the origin goes instead, that was a failed attempt, for those who have counted on it,
        too."""
        clients = self.early(request(b"/post", method=b"POST", body=b"hello"))
        self.origins[0].peer.close()
        self.run_origins()
        self.assert_error(clients[-1], 502, "connection_terminated")

    def test_origin_goes_away(self) -> None:
        """If it says that it goes, what has waited is sent on another connection, POSTs too."""
        clients = self.early(request(b"/post", method=b"POST", body=b"hello"))
        self.origins[0].go_away(2 * EARLY_STREAMS - 1)
        self.run_origins()
        self.assertEqual(len(self.origins), 2)
        stream = self.h2.requests[self.h2.paths.index(b"/post")]
        self.assertEqual(self.h2.content_of(stream), b"hello")
        for each in self.origins:
            each.answer_all()
        self.run_origins()
        self.assertEqual(answers(clients[-1:]), [b"/post"])
        self.assertEqual(answers(clients[:1]), [b"/0"])

    def test_silent_origin(self) -> None:
        """An origin that never says anything is a timeout for all of them, one after another."""
        self.start(response_timeout=3.0)
        clients = self.early(request(b"/post", method=b"POST", body=b"hello"))
        self.proxy.elapse(4)
        for client in clients[:EARLY_STREAMS]:
            self.assert_error(client, 504, "http_response_timeout")
        self.proxy.elapse(4)
        self.assert_error(clients[-1], 504, "http_response_timeout")
        self.assertEqual(self.counts()[2], 0)

    def test_upload(self) -> None:
        """An upload that waits is read no further than its beginning."""
        clients = self.early(request(b"/up", method=b"POST", body=bytes(1 << 20)))
        self.assertGreater(len(clients[-1].unsent), 1 << 19)
        self.run_origins()
        self.assertEqual(len(self.h2.content_of(self.h2.requests[-1])), 1 << 20)


class AbortTests(HTTP2TestCase):
    """Clients that leave."""

    def test_reset(self) -> None:
        """A client that leaves has its stream reset with CANCEL; others do not notice."""
        first, second = self.get(2)
        first.close()
        self.run_origins()
        self.assertEqual(self.h2.resets(), [(1, 8)])
        self.h2.answer_all()
        self.assertEqual(answers([second]), [b"/1"])
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_place(self) -> None:
        """Its place goes to the next."""
        self.start(max_connections_per_origin=1)
        self.settings = {3: 1}
        self.warm_up()
        first, second = self.get(2)
        self.assertEqual(self.h2.paths[1:], [b"/0"])
        first.close()
        self.run_origins()
        self.assertEqual(self.h2.paths[1:], [b"/0", b"/1"])
        self.h2.answer_all()
        self.assertEqual(answers([second]), [b"/1"])

    def test_in_the_middle_of_the_response(self) -> None:
        """What still comes for it is dropped, and the connection goes on."""
        [client] = self.get(1)
        origin = self.h2
        origin.respond(1, b"some", ended=False)
        origin.h2.send_data(1, b"more")
        more = origin.data_to_send()
        client.close()
        origin.peer.send(more)
        self.run_origins()
        self.assertEqual(origin.resets(), [(1, 8)])
        self.assert_alive()
        self.assertEqual(len(self.origins), 1)

    def test_in_the_middle_of_the_request(self) -> None:
        """An upload that is broken off is never complete for the origin."""
        self.send(request(b"/", b"Content-Length: 10", method=b"POST") + b"12345")
        self.client.close()
        self.run_origins()
        self.assertFalse(self.h2.has_ended(1))
        self.assertEqual(self.h2.resets(), [(1, 8)])
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_many(self) -> None:
        """A hundred that leave at once leave a connection that serves."""
        clients = self.get(100)
        for client in clients:
            client.close()
        self.run_origins()
        self.assertEqual(len(self.h2.resets()), 100)
        self.assert_alive()
        self.assertEqual(self.counts(), (0, 1, 0))


class LifeTests(HTTP2TestCase):
    """When a connection is used no more, though it is in order."""

    def retired(self) -> dict[Retired, int]:
        """Why connections were closed, and how many."""
        return {why: n for why, n in self.proxy.pool.stats().total.retired.items() if n}

    def test_idle(self) -> None:
        """One without requests is closed after its time, with a GOAWAY."""
        self.start(idle_timeout=20.0)
        origin = self.warm_up()
        self.elapse(22)
        self.assertEqual(origin.goaway(), 0)
        self.assertTrue(origin.peer.ended_cleanly)

    def test_not_idle(self) -> None:
        """One with a single long request is not idle."""
        self.start(idle_timeout=5.0, response_timeout=100.0)
        clients = self.get(1)
        self.elapse(30)
        self.h2.answer_all()
        self.assertEqual(answers(clients), [b"/0"])
        self.assertEqual(self.h2.resets(), [])

    def test_max_age(self) -> None:
        """One that is old gets no new request, and closes when its last has been answered."""
        self.start(max_age=60.0, response_timeout=1000.0)
        old = self.warm_up()
        long = self.ask(request(b"/long"))
        self.elapse(61)
        short = self.ask(request(b"/short"))
        self.assertEqual(len(self.origins), 2)
        self.h2.answer_all()
        self.assertEqual(answers(short), [b"/short"])
        self.assertFalse(old.peer.ended)
        old.answer_all()
        self.assertEqual(answers(long), [b"/long"])
        self.run_origins()
        self.assertTrue(old.peer.ended_cleanly)

    def test_max_age_without_another(self) -> None:
        """One that is always in use is replaced as well, where only one may be open."""
        self.start(max_age=60.0, max_connections_per_origin=1, response_timeout=1000.0)
        old = self.warm_up()
        long = self.ask(request(b"/long"))
        self.elapse(61)
        waiting = self.ask(request(b"/next"))
        self.assertEqual(len(self.proxy.connects), 1)
        old.answer_all()
        self.run_origins()
        self.assertEqual(len(self.origins), 2)
        self.h2.answer_all()
        self.assertEqual(answers(long + waiting), [b"/long", b"/next"])

    def test_pool_full(self) -> None:
        """An idle one makes room for another origin, where no more may be opened."""
        self.start(max_connections=1)
        origin = self.warm_up()
        self.send(request(b"/b", host=b"b.test"))
        self.assertTrue(origin.peer.ended)
        self.assertEqual(self.h2.paths, [b"/b"])

    def test_pool_full_of_streams(self) -> None:
        """One in use does so when somebody has waited a while, and its requests are answered
        before."""
        self.start(max_connections=1)
        first = self.ask(request(b"/a"))
        other = self.ask(request(b"/b", host=b"b.test"))
        self.elapse(1)
        more = self.ask(request(b"/a2"))
        self.assertEqual(len(self.proxy.connects), 1)
        origin = self.origins[0]
        while origin.open:
            origin.answer_all()
            self.run_origins()
        self.assertEqual(answers(first), [b"/a"])
        self.served_by_now(other + more)

    def served_by_now(self, clients: list[Peer]) -> None:
        """All get answers in the end, on as many connections as it takes."""
        for _ in range(10):
            self.run_origins()
            for origin in self.origins:
                if not origin.peer.closed:
                    origin.answer_all()
            self.elapse(0.5)
        self.assertTrue(all(client.received for client in clients))

    def test_busy_origin_lets_others_in(self) -> None:
        """Requests without a pause to one origin do not keep others out for good."""
        self.start(max_connections=1)
        self.ask(request(b"/0"))
        other = self.ask(request(b"/b", host=b"b.test"))
        for number in range(1, 20):
            # There is always one under way.
            self.ask(request(b"/%d" % number))
            origin = self.origins[0]
            origin.respond(origin.open[0], b"x")
            self.elapse(0.25)
            if len(self.origins) > 1:
                break
            if len(origin.open) == 0:
                break
        self.served_by_now(other)

    def test_address_change(self) -> None:
        """A connection to an address that its name no longer has takes no more, and ends with its
        last request."""
        origin = self.warm_up()
        long = self.ask(request(b"/long"))
        pool = self.proxy.pool
        pool.watch.name_of = lambda key: key.host
        for key in pool.stats().origins:
            pool.watch.opened(key)
            for connection in pool._core.connections(key):
                connection.address = "192.0.2.1"
        pool.addresses_changed("a.test", frozenset(["192.0.2.1", "192.0.2.2"]))
        self.assertEqual(self.retired(), {})
        pool.addresses_changed("a.test", frozenset(["192.0.2.2"]))
        short = self.ask(request(b"/short"))
        self.assertEqual(len(self.origins), 2)
        origin.answer_all()
        self.h2.answer_all()
        self.assertEqual(answers(long + short), [b"/long", b"/short"])
        self.run_origins()
        self.assertTrue(origin.peer.ended_cleanly)
        self.assertEqual(self.retired(), {Retired.ADDRESS: 1})

    def test_prewarmed(self) -> None:
        """One connection is kept open for as many requests as were asked for."""
        key = self.proxy.forwarder.origin("https", b"a.test")
        self.proxy.pool.prewarm({key: 10})
        self.run_origins()
        self.assertEqual(self.counts()[1], len(self.origins))
        opened = len(self.origins)
        self.assertEqual(opened, 1)
        clients = self.get(10)
        self.assertEqual(len(self.origins), opened)
        self.h2.answer_all()
        self.assertEqual(len(answers(clients)), 10)

    def test_prewarmed_again(self) -> None:
        """When it has to go, another one takes its place."""
        key = self.proxy.forwarder.origin("https", b"a.test")
        self.proxy.pool.prewarm({key: 1})
        self.run_origins()
        self.elapse(60)
        self.origins[0].go_away(0)
        self.elapse(20)
        self.assertTrue(self.origins[0].peer.ended)
        self.assertEqual(len(self.origins), 2)
        self.assertEqual(self.counts(), (0, 1, 0))


class StopTests(HTTP2TestCase):
    """What the end of the service means for connections with requests."""

    def test_drain(self) -> None:
        """Requests under way are answered; then everything closes."""
        clients = self.get(3)
        drained = self.proxy.forwarder.drain()
        self.run_origins()
        self.assertFalse(drained.called)
        self.h2.answer_all()
        self.assertTrue(drained.called)
        for client in clients:
            got = client.take()
            self.assertEqual(answer(got).status, 200)
            self.assertTrue(client.ended_cleanly)
        closed = self.proxy.pool.close_idle()
        self.run_origins()
        self.assertTrue(self.h2.peer.ended_cleanly)
        self.assertEqual(self.h2.goaway(), 0)
        self.assertTrue(closed.called)

    def test_abort(self) -> None:
        """What is not answered in time is broken off, and everything closes."""
        clients = self.get(3)
        self.h2.respond(1, b"part", ended=False)
        self.proxy.forwarder.abort()
        self.proxy.pool.abort()
        self.run_origins()
        self.assertTrue(all(client.ended for client in clients))
        self.assertTrue(self.origins[0].peer.ended)
        total = self.proxy.pool.stats().total
        self.assertEqual((total.active, total.idle, total.leaving), (0, 0, 0))


class Http1BesideTests(HTTP2TestCase):
    """Connections in HTTP/1.1 to the same origin, for what needs them, count too."""

    def test_upgrade(self) -> None:
        """An upgrade takes its own connection while streams go on."""
        clients = self.get(2)
        upgrade = b"Connection: Upgrade", b"Upgrade: websocket"
        asker = self.secure()
        self.proxy.http2 = False
        self.send(request(b"/chat", *upgrade), asker)
        self.assertEqual(len(self.proxy.origins), 2)
        self.assertIn(b"Upgrade: websocket\r\n", self.origin.take())
        self.origin.send(response(b"101 Switching Protocols", *upgrade))
        self.assertEqual(answer(asker.take()).status, 101)
        asker.send(b"tunnelled")
        self.assertEqual(self.origin.received, b"tunnelled")
        self.h2.answer_all()
        self.assertEqual(answers(clients), [b"/0", b"/1"])

    def test_alpn(self) -> None:
        """HTTP/2 is not offered there, so even an origin that prefers it speaks HTTP/1.1."""
        self.send(request(b"/chat", b"Connection: Upgrade", b"Upgrade: websocket"))
        self.assertTrue(self.origin.received.startswith(b"GET /chat HTTP/1.1\r\n"))
        self.assertEqual(self.origins, [])

    def test_ntlm(self) -> None:
        """A client that authenticates a connection gets one of its own, in HTTP/1.1, and later
        requests of others go on over HTTP/2."""
        clients = self.get(1)
        asker = self.secure()
        for step in (b"AAB", b"AAD"):
            self.send(request(b"/", b"Authorization: NTLM " + step), asker)
            self.assertTrue(self.origin.take().startswith(b"GET / HTTP/1.1\r\n"))
            self.origin.send(OK)
            self.assertEqual(asker.take(), OK)
        self.assertEqual(len(self.proxy.origins), 2)
        self.send(GET, asker)
        self.assertTrue(self.origin.take().startswith(b"GET / HTTP/1.1\r\n"))
        clients += self.ask(request(b"/1"))
        self.assertEqual(self.h2.paths, [b"/0", b"/1"])
        self.h2.answer_all()
        self.assertEqual(answers(clients), [b"/0", b"/1"])
