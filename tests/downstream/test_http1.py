"""Client connections: one request after another, and how they end."""

from __future__ import annotations

import gc
import weakref

from fastcar_tw.http.head import MAX_HEAD
from tests.forward.support import (
    CHUNKED,
    GET,
    OK,
    POST,
    ProxyTestCase,
    answer,
    logged,
    request,
    response,
)


class PersistenceTests(ProxyTestCase):
    """Several requests on one connection (RFC 9112 section 9.3)."""

    def test_persists_by_default(self) -> None:
        """A connection serves any number of requests."""
        for _ in range(5):
            self.assertEqual(self.exchange(), (GET, OK))
        self.assertEqual(len(self.proxy.connects), 1)

    def test_close_is_answered_with_close(self) -> None:
        """Connection: close is obeyed and answered with the same (RFC 9112 section 9.6)."""
        got = self.exchange(request(b"/", b"Connection: close"))[1]
        self.assertEqual(
            got, response(b"200 OK", b"Content-Length: 2", b"Connection: close", body=b"hi")
        )
        self.assertTrue(self.client.ended_cleanly and self.client.closed)

    def test_http_1_0(self) -> None:
        """HTTP/1.0 is not kept alive, even when asked to (RFC 9112 section 9.3)."""
        for fields in ((), (b"Connection: keep-alive",)):
            self.start()
            got = self.exchange(request(b"/", *fields, version=b"1.0"))[1]
            self.assertIn(b"\r\nConnection: close\r\n", got)
            self.assertTrue(self.client.ended_cleanly and self.client.closed)

    def test_requests_after_close_are_not_served(self) -> None:
        """What comes behind a request with Connection: close is dropped."""
        self.client.send(request(b"/", b"Connection: close") + request(b"/2"))
        self.assertEqual(self.origin.received, GET)
        self.origin.send(OK)
        self.assertTrue(self.client.closed)
        self.assertEqual(self.origin.received, GET)

    def test_empty_lines_between_requests(self) -> None:
        """Empty lines in front of a request are ignored (RFC 9112 section 2.2)."""
        for before in (b"\r\n", b"\r\n\r\n"):
            self.assertEqual(self.exchange(before + GET), (GET, OK))
        self.client.send(POST + b"\r\n" + GET)
        self.origin.send(OK)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK + OK)

    def test_empty_lines_in_pieces(self) -> None:
        """Also when CR and LF come apart."""
        for piece in (b"\r", b"\n", b"\r", b"\n" + GET):
            self.client.send(piece)
        self.assertEqual(self.origin.received, GET)

    def test_nothing_is_forwarded_before_the_head_is_complete(self) -> None:
        """No origin is asked before the empty line has arrived."""
        for at in range(len(GET)):
            self.assertEqual(self.proxy.connects, [])
            self.client.send(GET[at : at + 1])
        self.assertEqual(self.origin.received, GET)

    def test_body_in_pieces(self) -> None:
        """A body may come byte by byte."""
        for at in range(len(POST)):
            self.client.send(POST[at : at + 1])
        self.assertEqual(self.origin.received, POST)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.alive()


class PipeliningTests(ProxyTestCase):
    """Requests that do not wait for responses (RFC 9112 section 9.3.2)."""

    def test_order(self) -> None:
        """Responses come in the order of the requests, whoever answers first."""
        self.client.send(b"".join(request(b"/%d" % n, host=b"%d.test" % n) for n in range(4)))
        for n in range(4):
            self.assertEqual(self.origin.take(), request(b"/%d" % n, host=b"%d.test" % n))
            self.origin.send(response(b"200 OK", b"Content-Length: 1", body=b"%d" % n))
        bodies = [part[:1] for part in self.client.received.split(b"\r\n\r\n")[1:]]
        self.assertEqual(bodies, [b"0", b"1", b"2", b"3"])

    def test_one_at_a_time(self) -> None:
        """The next request is not begun before the response is complete."""
        self.client.send(GET + request(b"/2"))
        self.assertEqual(self.origin.take(), GET)
        self.origin.send(OK[:-1])
        self.assertEqual(self.origin.received, b"")
        self.origin.send(OK[-1:])
        self.assertEqual(self.origin.received, request(b"/2"))

    def test_bodies(self) -> None:
        """Requests with bodies of either framing follow one another."""
        chunked = request(b"/", CHUNKED, method=b"POST", body=b"2\r\nhi\r\n0\r\n\r\n")
        requests = [POST, chunked, GET, chunked, POST]
        self.client.send(b"".join(requests))
        for asked in requests:
            self.assertEqual(self.origin.take(), asked)
            self.origin.send(OK)
        self.assertEqual(self.client.take(), OK * 5)

    def test_one_write_each(self) -> None:
        """Each response is one write."""
        self.client.send(GET * 3)
        for _ in range(3):
            self.origin.send(OK)
        self.assertEqual(self.client.transport.writes, [OK] * 3)

    def test_in_pieces(self) -> None:
        """Requests may be cut anywhere."""
        stream = GET + POST + GET
        for at in range(0, len(stream), 7):
            self.client.send(stream[at : at + 7])
        for asked in (GET, POST, GET):
            self.assertEqual(self.origin.take(), asked)
            self.origin.send(OK)
        self.alive()

    def test_many_failures_at_once(self) -> None:
        """A thousand requests that fail at once are answered one after another."""
        self.start(fail_fast_after=0)
        bad = b"GET https://-/ HTTP/1.1\r\nHost: -\r\n\r\n"
        self.client.send(bad * 1000)
        self.assertEqual(self.client.take().count(b"HTTP/1.1 502 "), 1000)
        self.alive()

    def test_refused_request_behind_a_good_one(self) -> None:
        """A good request is answered, the broken one behind it refused, and no more is read."""
        self.client.send(GET + b"BROKEN\r\n\r\n" + request(b"/3"))
        self.origin.send(OK)
        got = self.client.take()
        self.assertTrue(got.startswith(OK))
        self.assertEqual(answer(got[len(OK) :]).status, 400)
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.origin.received, GET)

    def test_head_that_comes_to_its_end_later(self) -> None:
        """A head that was begun behind another request is completed afterwards."""
        self.client.send(GET + GET[:10])
        self.origin.send(OK)
        self.client.send(GET[10:])
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK + OK)


class RefusalTests(ProxyTestCase):
    """Requests that break the rules."""

    def refused(self, asked: bytes, status: int) -> None:
        """It is refused with this status, and the connection ends."""
        [line] = logged(lambda: self.client.send(asked))
        got = answer(self.client.take())
        self.assertEqual(got.status, status)
        self.assertEqual(got.fields[b"connection"], b"close")
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=http_request_error")
        self.assertTrue(line.startswith(f"client refused: {status} "))
        self.assertTrue(self.client.ended_cleanly)

    def test_broken(self) -> None:
        """A broken head is a 400, nothing reaches an origin, and what follows is not read."""
        self.refused(request(b"/", b"Bad Field: x") + GET, 400)
        self.assertEqual(self.proxy.connects, [])
        self.client.end()
        self.assertTrue(self.client.closed)

    def test_nothing_quoted(self) -> None:
        """Neither response nor log quote what was sent."""
        with_secret = request(b"/s3cret", b"Authorization s3cret")
        lines = logged(lambda: self.client.send(with_secret))
        self.assertNotIn("s3cret", "".join(lines))
        self.assertNotIn(b"s3cret", self.client.received)

    def test_large_head(self) -> None:
        """A head over the limit is a 431, whether it has an end or not."""
        large = request(b"/", b"A: " + b"x" * MAX_HEAD)
        self.refused(large, 431)
        self.client = self.proxy.client()
        self.refused(large[:-4], 431)

    def test_large_target(self) -> None:
        """A target over the limit is a 414."""
        self.refused(request(b"/" + b"x" * 40000), 414)

    def test_largest_head(self) -> None:
        """A head that just fits is served."""
        filler = b"A: " + b"x" * (MAX_HEAD - len(request(b"/", b"A: ")))
        asked = request(b"/", filler)
        self.assertEqual(len(asked), MAX_HEAD)
        self.assertEqual(self.exchange(asked)[0], asked)

    def test_no_http(self) -> None:
        """What is no HTTP at all is refused like a broken request."""
        self.refused(b"\x06\x01\x00\r\n\r\n", 400)

    def test_line_without_end(self) -> None:
        """A line that ends in LF alone is refused at once, not waited for."""
        self.refused(b"GET / HTTP/1.1\nHost: a.test\n\n", 400)

    def test_other_version(self) -> None:
        """HTTP/2 without negotiation is a 505."""
        self.refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)

    def test_broken_body(self) -> None:
        """A chunked body that breaks is a 400; the origin's connection is broken off."""
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=b"2\r\nhi\r\n"))
        self.refused(b"x\r\n", 400)
        self.assertTrue(self.origin.aborted)
        self.assertFalse(self.origin.received.endswith(b"0\r\n\r\n"))

    def test_broken_body_with_its_head(self) -> None:
        """One that came with its head reaches no origin."""
        self.refused(request(b"/", CHUNKED, method=b"POST", body=b"2\r\nhi\r\nx\r\n"), 400)
        self.assertEqual(self.proxy.connects, [])

    def test_broken_body_while_waiting(self) -> None:
        """One that breaks while a connection is being opened gives up its place in line."""
        self.proxy.accepting = False
        client = self.proxy.client()
        client.send(request(b"/", CHUNKED, method=b"POST", body=b"2\r\nhi\r\n"))
        client.send(b"x\r\n")
        self.proxy.connects[0].accept()
        self.assertEqual(answer(client.take()).status, 400)
        self.assertTrue(self.origin.aborted)

    def test_broken_body_under_a_response(self) -> None:
        """One that breaks after the response began breaks the client off."""
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=b"2\r\nhi\r\n"))
        self.origin.send(response(b"200 OK", b"Content-Length: 5"))
        self.client.send(b"x\r\n")
        self.assertTrue(self.client.aborted and self.origin.aborted)

    def test_abuse_is_not_answered_twice(self) -> None:
        """What comes behind a refused request is read and dropped."""
        self.refused(b"BROKEN\r\n\r\n", 400)
        self.client.send(b"BROKEN\r\n\r\n" * 100)
        self.assertEqual(self.client.received, b"")
        self.assertFalse(self.client.closed)
        self.client.end()
        self.assertTrue(self.client.closed)


class LifeTests(ProxyTestCase):
    """Beginning and end of connections."""

    def test_clients_are_counted(self) -> None:
        """The forwarder knows its clients as long as they are there."""
        clients = self.proxy.forwarder.clients
        self.assertEqual(len(clients), 1)
        tls = self.proxy.tls_client()
        self.assertEqual(len(clients), 2)
        self.exchange()
        self.client.close()
        tls.close()
        self.assertEqual(len(clients), 0)
        self.assertEqual(len(self.proxy.forwarder.deadlines), 1)

    def test_connect_and_close(self) -> None:
        """Clients that connect and close cost nothing, and nothing is logged."""
        for _ in range(50):
            self.assertEqual(logged(lambda: self.proxy.client().close()), [])
        self.assertEqual(len(self.proxy.forwarder.clients), 1)
        self.alive()

    def test_no_garbage(self) -> None:
        """A connection that has ended is freed at once, without the help of the collector."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.exchange()
        downstream = weakref.ref(self.client.transport)
        upstream = weakref.ref(self.origin.transport.protocol)
        self.origin.close()
        self.client.close()
        self.proxy.origins.clear()
        del self.client
        self.proxy.connects.clear()
        self.assertIsNone(downstream())
        self.assertIsNone(upstream())

    def test_drain_idle(self) -> None:
        """Draining ends idle connections at once."""
        self.exchange()
        drained = self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        self.successResultOf(drained)
        self.assertTrue(self.client.ended_cleanly and self.client.closed)

    def test_drain_busy(self) -> None:
        """Draining lets an exchange finish, and announces the end in its response (RFC 9112
        section 9.6)."""
        self.client.send(GET + request(b"/never"))
        drained = self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        self.assertNoResult(drained)
        self.origin.send(OK)
        self.assertEqual(
            self.client.received,
            response(b"200 OK", b"Content-Length: 2", b"Connection: close", body=b"hi"),
        )
        self.successResultOf(drained)
        self.assertEqual(self.origin.received, GET)

    def test_drain_in_the_response(self) -> None:
        """A response that has begun is finished; then the connection ends."""
        self.client.send(GET)
        self.origin.send(OK[:-1])
        drained = self.proxy.forwarder.drain()
        self.origin.send(OK[-1:])
        self.assertEqual(self.client.received, OK)
        self.successResultOf(drained)
        self.assertTrue(self.client.ended_cleanly)

    def test_drain_in_the_request(self) -> None:
        """A request that has begun is finished too."""
        self.client.send(POST[:-1])
        drained = self.proxy.forwarder.drain()
        self.client.send(POST[-1:])
        self.assertEqual(self.origin.received, POST)
        self.origin.send(OK)
        self.successResultOf(drained)

    def test_drain_a_head(self) -> None:
        """A head that has begun is not waited for."""
        self.client.send(GET[:10])
        drained = self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        self.successResultOf(drained)

    def test_drain_several(self) -> None:
        """Draining is done when the last has gone."""
        other = self.proxy.client()
        for client in (self.client, other):
            client.send(GET)
        drained = self.proxy.forwarder.drain()
        for origin in self.proxy.origins:
            self.proxy.reactor.settle()
            self.assertNoResult(drained)
            origin.send(OK)
        self.successResultOf(drained)

    def test_drain_nobody(self) -> None:
        """Without clients draining is done at once."""
        self.client.close()
        self.successResultOf(self.proxy.forwarder.drain())

    def test_drain_all_kinds(self) -> None:
        """Clients in any state before their request are ended."""
        handshaking = self.proxy.client()
        handshaking.send(b"\x16\x03\x01")
        tls = self.proxy.tls_client()
        drained = self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        self.successResultOf(drained)
        for client in (self.client, handshaking, tls):
            self.assertTrue(client.closed)

    def test_abort(self) -> None:
        """Aborting ends every exchange at once, those that wait for a connection too."""
        self.client.send(GET)
        busy = self.origin
        self.proxy.accepting = False
        waiting = self.proxy.client()
        waiting.send(request(host=b"b.test"))
        self.proxy.forwarder.abort()
        self.proxy.reactor.settle()
        self.assertTrue(self.client.aborted and waiting.aborted and busy.aborted)
        self.proxy.connects[1].accept()
        self.assertEqual(self.origin.received, b"")
