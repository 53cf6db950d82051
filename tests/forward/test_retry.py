"""When a request is sent again, and when never (RFC 9110 section 9.2.2)."""

from __future__ import annotations

from fastcar_tw.testing import Peer

from .support import CHUNKED, GET, OK, POST, ProxyTestCase, answer, logged, request

KEY = b"Idempotency-Key: 1"


class RetryTests(ProxyTestCase):
    """A kept connection that its origin ends just when it is used."""

    first: Peer

    def setUp(self) -> None:
        """Have a kept connection."""
        super().setUp()
        self.first = self.warm()

    def repeated(self, asked: bytes) -> bool:
        """Whether a request is sent again when the origin hangs up on it."""
        self.client.send(asked)
        self.assertEqual(self.first.take(), asked)
        self.first.close()
        if len(self.proxy.origins) == 1:
            self.assertEqual(answer(self.client.received).status, 502)
            return False
        self.assertEqual(self.origin.received, asked)
        self.origin.send(OK)
        self.assertEqual(self.client.received, OK)
        return True

    def test_idempotent(self) -> None:
        """Idempotent requests without body are sent again."""
        for method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"):
            self.setUp()
            asked = request(method=method)
            self.client.send(asked)
            self.first.close()
            self.assertEqual(self.origin.received, asked)

    def test_same_bytes(self) -> None:
        """What is sent again is the same, byte by byte, and its response the client's."""
        self.assertTrue(self.repeated(request(b"/x?y", b"X-A: 1", b"x-a: 2")))

    def test_logged(self) -> None:
        """One line tells of it, with method and origin, but no target."""
        self.client.send(request(b"/secret"))
        [line] = logged(self.first.close)
        self.assertTrue(line.startswith("GET http://a.test:80: sent again: "))
        self.assertNotIn("secret", line)

    def test_post(self) -> None:
        """A POST is never sent twice."""
        self.assertFalse(self.repeated(POST))

    def test_post_without_body(self) -> None:
        """Not even an empty one."""
        self.assertFalse(self.repeated(request(b"/", b"Content-Length: 0", method=b"POST")))

    def test_patch(self) -> None:
        """A PATCH neither."""
        self.assertFalse(self.repeated(request(method=b"PATCH", body=b"x")))

    def test_unknown_method(self) -> None:
        """A method that is not known neither."""
        self.assertFalse(self.repeated(request(method=b"BREW")))

    def test_methods_have_case(self) -> None:
        """ "get" is not GET."""
        self.assertFalse(self.repeated(request(method=b"get")))

    def test_idempotent_with_body(self) -> None:
        """A PUT with a body neither."""
        self.assertFalse(self.repeated(request(method=b"PUT", body=b"x")))

    def test_chunked(self) -> None:
        """Nor one whose body is chunked."""
        asked = request(b"/", CHUNKED, method=b"PUT", body=b"1\r\nx\r\n0\r\n\r\n")
        self.assertFalse(self.repeated(asked))

    def test_idempotency_key(self) -> None:
        """A POST with Idempotency-Key is sent again."""
        self.assertTrue(self.repeated(request(b"/", KEY, method=b"POST", body=b"hello")))

    def test_key_with_chunked_body(self) -> None:
        """Also with a chunked body, as long as all of it was there at the start."""
        asked = request(b"/", KEY, CHUNKED, method=b"POST", body=b"1\r\nx\r\n0\r\n\r\n")
        self.assertTrue(self.repeated(asked))

    def test_key_with_body_in_pieces(self) -> None:
        """A body that came later is not kept, so the request is not sent again."""
        asked = request(b"/", KEY, method=b"POST", body=b"hello")
        self.client.send(asked[:-2])
        self.client.send(asked[-2:])
        self.first.close()
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertEqual(answer(self.client.received).status, 502)

    def test_key_with_large_body(self) -> None:
        """A body that is more than one read neither."""
        asked = request(b"/", KEY, method=b"POST", body=bytes(70000))
        self.client.send(asked)
        self.first.close()
        self.assertEqual(len(self.proxy.connects), 1)

    def test_once(self) -> None:
        """It is sent again once: a second failure is the client's."""
        self.client.send(GET)
        self.first.close()
        self.origin.close()
        self.assertEqual(len(self.proxy.connects), 2)
        self.assertEqual(answer(self.client.received).status, 502)

    def test_on_a_new_connection(self) -> None:
        """It is sent on a new connection, even if another idle one is there."""
        other = self.proxy.client()
        self.client.send(GET)
        other.send(GET)
        second = self.origin
        self.first.take()
        self.first.send(OK)
        second.send(OK)
        self.client.take()
        self.client.send(GET)
        second.close()
        self.assertEqual(len(self.proxy.connects), 3)
        self.assertEqual(self.origin.received, GET)
        self.assertEqual(self.first.received, b"")

    def test_connecting_fails(self) -> None:
        """When no new connection can be had the client learns why."""
        self.proxy.accepting = False
        self.client.send(GET)
        self.first.close()
        self.proxy.connects[1].refuse()
        got = answer(self.client.received)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=connection_refused")

    def test_client_gone_meanwhile(self) -> None:
        """A client that leaves before the new connection is there is forgotten; the connection
        serves others."""
        self.proxy.accepting = False
        self.client.send(GET)
        self.first.close()
        self.client.close()
        self.proxy.connects[1].accept()
        self.assertEqual(self.origin.received, b"")
        other = self.proxy.client()
        other.send(request(b"/other"))
        self.assertEqual(self.origin.received, request(b"/other"))

    def test_after_a_byte(self) -> None:
        """Not after any byte of a response."""
        self.client.send(GET)
        self.first.send(b"H")
        self.first.close()
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertEqual(answer(self.client.received).status, 502)

    def test_after_an_interim_response(self) -> None:
        """Nor after an interim response."""
        self.client.send(GET)
        self.first.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        self.first.close()
        self.assertEqual(len(self.proxy.connects), 1)

    def test_after_a_broken_response(self) -> None:
        """Nor after a response that was broken."""
        self.client.send(GET)
        self.first.send(b"What?\r\n\r\n")
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertEqual(answer(self.client.received).status, 502)

    def test_end_of_the_stream(self) -> None:
        """An origin that only ends its sending counts like one that is gone."""
        self.client.send(GET)
        self.first.end()
        self.assertEqual(self.origin.received, GET)

    def test_tls(self) -> None:
        """The same inside TLS, with close_notify or without."""
        client = self.proxy.tls_client()
        client.send(GET)
        self.origin.send(OK)
        for notify in (True, False):
            client.take()
            client.send(GET)
            self.origin.close(notify)
            self.origin.send(OK)
            self.assertEqual(client.received, OK)

    def test_not_on_a_first_use(self) -> None:
        """Not when the connection was new: its origin did not end it for being idle."""
        client = self.proxy.client()
        client.send(request(host=b"new.test"))
        self.origin.close()
        self.assertEqual(len(self.proxy.connects), 2)
        self.assertEqual(answer(client.received).status, 502)


class UnsentTests(ProxyTestCase):
    """Requests of which provably nothing has left (no byte was taken by the kernel)."""

    def fill(self) -> Peer:
        """A kept connection into which nothing fits."""
        self.proxy.capacity = 8192
        origin = self.warm()
        origin.pause()
        wire = origin.transport.socket
        try:
            while True:
                wire.send(bytes(65536))
        except BlockingIOError:
            pass
        return origin

    def test_post_of_which_nothing_was_sent(self) -> None:
        """A POST of which nothing was sent is sent on a new connection."""
        origin = self.fill()
        self.client.send(POST)
        origin.close()
        self.assertEqual(self.origin.received, POST)

    def lost_before_its_use(self, asked: bytes) -> None:
        """A request whose new connection ends before anything can be written to it."""
        self.proxy.accepting = False
        self.client.send(asked)
        [connect] = self.proxy.connects
        protocol = connect._factory.buildProtocol(None)  # type: ignore[arg-type]
        peer = Peer(self.proxy.reactor, protocol, origin=connect.origin)
        self.proxy.reactor.peers.remove(peer)
        peer._socket.close()
        connect._result.callback(protocol)
        self.proxy.reactor.settle()

    def test_on_a_first_use(self) -> None:
        """That the connection is new does not matter."""
        self.lost_before_its_use(POST)
        self.proxy.connects[1].accept()
        self.assertEqual(self.origin.received, POST)
        self.origin.send(OK)
        self.assertEqual(self.client.received, OK)
        self.assertEqual(self.proxy.pool.stats().total.retried, 1)

    def test_body_under_way(self) -> None:
        """Nor that the client has not sent all of it yet."""
        self.lost_before_its_use(POST[:-2])
        self.client.send(POST[-2:])
        self.proxy.connects[1].accept()
        self.assertEqual(self.origin.received, POST)

    def test_post_of_which_something_was_sent(self) -> None:
        """A POST of which a part was sent is not."""
        origin = self.fill()
        asked = request(method=b"POST", body=bytes(60000))
        before = origin.transport.bytes_sent
        self.client.send(asked)
        while origin.transport.bytes_sent == before:
            origin.read(4096)
        self.assertLess(origin.transport.bytes_sent, before + len(asked))
        origin.close()
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertEqual(answer(self.client.received).status, 502)


class StaleTests(ProxyTestCase):
    """Idle connections whose end the reactor has not noticed yet."""

    def ended(self, data: bytes = b"") -> Peer:
        """A kept connection that the origin has just ended, or written to."""
        origin = self.warm()
        if data:
            origin._socket.send(data)
        else:
            origin._socket.close()
            self.proxy.reactor.peers.remove(origin)
        return origin

    def start_request(self, asked: bytes) -> None:
        """Have a request begun before the reactor looks at the origin again."""
        self.client.transport.protocol.dataReceived(asked)
        self.proxy.reactor.settle()

    def test_post_after_the_end(self) -> None:
        """A POST is not written to a connection that has been ended."""
        self.ended()
        self.start_request(POST)
        self.assertEqual(len(self.proxy.connects), 2)
        self.assertEqual(self.origin.received, POST)

    def test_post_after_bytes(self) -> None:
        """Nor to one with bytes waiting."""
        stale = self.ended(OK)
        self.start_request(POST)
        self.assertTrue(stale.aborted)
        self.assertEqual(stale.received, b"")
        self.assertEqual(self.origin.received, POST)
        self.assertEqual(self.client.received, b"")

    def test_tls(self) -> None:
        """Inside TLS too."""
        client = self.proxy.tls_client()
        client.send(GET)
        stale = self.origin
        stale.send(OK)
        client.take()
        stale._socket.close()
        self.proxy.reactor.peers.remove(stale)
        machine = client.machine
        assert machine is not None
        client.transport.protocol.dataReceived(machine.send(POST))
        self.proxy.reactor.settle()
        self.assertIsNot(self.origin, stale)
        self.assertEqual(self.origin.received, POST)

    def in_line(self) -> tuple[Peer, Peer]:
        """A connection whose origin answers one request and then ends it, which is read at the same
        time as the response; and a client whose POST has waited for that connection."""
        self.start(max_connections_per_origin=1)
        self.client.send(GET)
        waiting = self.proxy.client()
        waiting.send(POST)
        origin = self.origin
        origin.unsent += OK
        origin.end()
        return origin, waiting

    def test_in_line(self) -> None:
        """A POST that has waited for a connection is not written to one that has been ended."""
        first, waiting = self.in_line()
        self.assertEqual(first.take(), GET)
        self.assertEqual(self.origin.take(), POST)
        self.origin.send(OK)
        self.assertEqual(waiting.received, OK)
        total = self.proxy.pool.stats().total
        self.assertEqual((total.opened, total.reused, total.retried), (2, 0, 0))

    def test_in_line_tls(self) -> None:
        """Inside TLS too, where the end may have been read with the response."""
        self.start(max_connections_per_origin=1)
        busy, waiting = self.proxy.tls_client(), self.proxy.tls_client()
        busy.send(GET)
        waiting.send(POST)
        first = self.origin
        assert first.machine is not None
        first.unsent += first.machine.send(OK)
        first.end()
        self.assertEqual(busy.received, OK)
        self.assertEqual(first.take(), GET)
        self.assertEqual(self.origin.take(), POST)

    def test_many(self) -> None:
        """All that are stale are passed over."""
        clients = [self.proxy.client() for _ in range(3)]
        for client in clients:
            client.send(GET)
        for origin in self.proxy.origins:
            origin.send(OK)
        for origin in self.proxy.origins:
            origin._socket.close()
            self.proxy.reactor.peers.remove(origin)
        self.start_request(POST)
        self.assertEqual(len(self.proxy.connects), 4)
        self.assertEqual(self.origin.received, POST)

    def test_alive(self) -> None:
        """One that is alive is used."""
        origin = self.warm()
        self.client.send(POST)
        self.assertEqual(origin.received, POST)
