"""Deadlines of exchanges: what has to happen in time, and what only has to go on."""

from __future__ import annotations

from fastcar_tw.testing import Peer
from fastcar_tw.tls.machine import TLSMachine
from tests.tls.support import careless_context

from .support import CHUNKED, GET, OK, POST, ProxyTestCase, answer, logged, request, response
from .test_upgrade import ASK, SWITCH

MUCH = bytes(1 << 21)


class TimeoutTestCase(ProxyTestCase):
    """Every option has another value, so that it shows which one is at work."""

    def setUp(self) -> None:
        """Set the times."""
        self.start(
            connect_timeout=10,
            response_timeout=40,
            stall_timeout=20,
            client_timeout=5,
            keepalive_timeout=30,
            idle_timeout=50,
        )

    def check(self, seconds: float, ended: Peer, *, late: float = 1.5) -> list[str]:
        """
        A connection is ended after this time, not before, and at most this much later.

        @return: what is logged then.
        """
        self.proxy.elapse(seconds - 0.5)
        self.assertFalse(ended.ended or ended.closed, "too early")
        lines = logged(lambda: self.proxy.elapse(0.5 + late))
        self.assertTrue(ended.ended or ended.closed, "too late")
        return lines


class ConnectTimeoutTests(TimeoutTestCase):
    """--connect-timeout."""

    def timed_out(self, client: Peer, lines: list[str]) -> None:
        """The client was told."""
        got = answer(client.take())
        self.assertEqual(got.status, 504)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=connection_timeout")
        [line] = lines
        self.assertTrue(line.endswith(" after 10.000 s"))
        self.assertEqual(
            repr(self.proxy.pool), "<ConnectionPool 0 active, 0 idle, 0 opening, 0 waiting>"
        )

    def test_no_connection(self) -> None:
        """A connection that is not there in time is given up: 504."""
        self.proxy.accepting = False
        self.client.send(GET)
        self.proxy.elapse(9.75)
        self.assertFalse(self.client.received)
        lines = logged(lambda: self.proxy.elapse(0.5))
        self.timed_out(self.client, lines)
        self.assertTrue(self.proxy.connects[0].cancelled)

    def test_no_handshake(self) -> None:
        """So is one that does not get through TLS; it is ended."""
        self.proxy.accepting = False
        client = self.proxy.tls_client()
        client.send(GET)
        self.proxy.connects[0].accept(plain=True)
        self.proxy.elapse(9.75)
        self.assertFalse(client.received)
        lines = logged(lambda: self.proxy.elapse(0.5))
        self.timed_out(client, lines)
        self.assertTrue(self.origin.aborted)

    def test_client_waits_longer_than_it_may_be_silent(self) -> None:
        """While a connection is being opened no other deadline counts."""
        self.proxy.accepting = False
        self.client.send(POST[:-1])
        self.proxy.elapse(9)
        self.proxy.connects[0].accept()
        self.client.send(POST[-1:])
        self.assertEqual(self.origin.received, POST)


class ResponseTimeoutTests(TimeoutTestCase):
    """--response-timeout: from the end of the request to the head of the response."""

    def timed_out(self, lines: list[str]) -> None:
        """The client was told, and the origin's connection is gone."""
        got = answer(self.client.received)
        self.assertEqual(got.status, 504)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=http_response_timeout")
        self.assertIn(b"http://a.test:80: no response in time", got.body)
        [line] = lines
        self.assertRegex(line, r"http_response_timeout \(504\): .* after \d{2}\.\d{3} s$")
        self.assertTrue(self.origin.aborted)

    def test_response_over_new_tls(self) -> None:
        """So it is on a connection whose handshake has just ended, when the request leaves with its
        last message."""
        client = self.proxy.client(secure=True)
        client.send(GET)
        self.proxy.elapse(41.5)
        self.assertEqual(answer(client.received).status, 504)

    def test_silent_origin(self) -> None:
        """An origin that does not answer is a 504."""
        self.client.send(GET)
        self.timed_out(self.check(40, self.origin))
        self.origin.take()
        self.alive()

    def test_after_an_upload(self) -> None:
        """The time begins at the end of the request."""
        self.client.send(POST[:-1])
        self.proxy.elapse(15)
        self.client.send(POST[-1:])
        self.check(40, self.origin)

    def test_part_of_a_head(self) -> None:
        """A head that does not come to its end is no response."""
        self.client.send(GET)
        self.origin.send(b"HTTP/1.1 200 OK\r\n")
        lines = self.check(40, self.origin)
        self.timed_out(lines)

    def test_head_in_drops(self) -> None:
        """More of a head does not give the origin more time."""
        self.client.send(GET)
        self.origin.send(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(3):
            self.proxy.elapse(10)
            self.origin.send(b"y")
        self.timed_out(self.check(10, self.origin))

    def test_interim_response(self) -> None:
        """An interim response gives the origin its time anew."""
        self.client.send(GET)
        self.proxy.elapse(35)
        self.origin.send(response(b"102 Processing"))
        self.client.take()
        self.timed_out(self.check(40, self.origin))

    def test_not_sent_again(self) -> None:
        """A request whose time is up is not sent again."""
        origin = self.warm()
        self.client.send(GET)
        self.check(40, origin)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_client_that_half_closed(self) -> None:
        """A client that has ended its sending is told too."""
        self.client.send(GET)
        self.client.end()
        self.timed_out(self.check(40, self.origin))
        self.assertTrue(self.client.closed)


class StallTests(TimeoutTestCase):
    """--stall-timeout: a body that stands still."""

    def test_silent_client(self) -> None:
        """A client that stops in the middle of its request is told, and ended."""
        self.client.send(POST[:-2])
        [line] = self.check(20, self.client)
        self.assertRegex(line, r"^POST http://a\.test:80: .* after 2[01]\.\d{3} s$")
        self.assertIn(answer(self.client.received).status, (408, 504))
        self.assertTrue(self.origin.aborted)

    def test_origin_does_not_read(self) -> None:
        """So is one whose origin stops reading."""
        self.client.send(request(b"/", b"Content-Length: %d" % len(MUCH), method=b"PUT"))
        self.origin.pause()
        self.client.send(MUCH)
        self.check(20, self.client)
        self.assertEqual(answer(self.client.received).status, 504)

    def test_silent_origin(self) -> None:
        """An origin that stops in the middle of its response: the client is broken off."""
        self.client.send(GET)
        self.origin.send(response(b"200 OK", CHUNKED, body=b"2\r\nhi\r\n"))
        self.client.take()
        [line] = self.check(20, self.client)
        self.assertIn("connection_read_timeout (504)", line)
        self.assertTrue(self.client.aborted and self.origin.aborted)
        self.assertEqual(self.client.received, b"")

    def test_client_does_not_read(self) -> None:
        """A client that stops reading is broken off."""
        self.client.send(GET)
        self.client.pause()
        self.origin.send(response(b"200 OK", b"Content-Length: %d" % len(MUCH), body=MUCH))
        self.check(20, self.client)
        self.assertTrue(self.client.aborted and self.origin.aborted)

    def test_slow_origin(self) -> None:
        """A byte now and then is enough."""
        self.client.send(GET)
        self.origin.send(response(b"200 OK", b"Content-Length: 10"))
        for _ in range(10):
            self.proxy.elapse(19)
            self.origin.send(b"x")
        self.assertTrue(self.client.received.endswith(b"x" * 10))
        self.alive()

    def test_slow_upload(self) -> None:
        """In a request too."""
        self.client.send(POST[:-5])
        for byte in b"hello":
            self.proxy.elapse(19)
            self.client.send(bytes([byte]))
        self.assertEqual(self.origin.received, POST)

    def slow_reader(self, client: Peer) -> None:
        """A client that drains its buffers slowly, while the origin is paused, is not stalled."""
        client.pause()
        client.send(GET)
        origin = self.origin
        origin.send(response(b"200 OK", b"Content-Length: %d" % len(MUCH), body=MUCH))
        self.assertTrue(origin.transport.paused)
        for _ in range(12):
            self.proxy.elapse(15)
            client.read(8192)
            self.assertTrue(origin.transport.paused)
        self.assertFalse(client.closed)
        client.resume()
        self.assertEqual(len(client.received) & ~0xFFF, len(MUCH))

    def test_slow_reader(self) -> None:
        """Buffers that empty slowly are progress: towards the client ..."""
        self.slow_reader(self.proxy.client(capacity=8192))

    def test_slow_reader_in_tls(self) -> None:
        """... inside TLS too ..."""
        self.slow_reader(self.proxy.tls_client(capacity=8192))

    def test_slow_origin_reader(self) -> None:
        """... and towards the origin."""
        self.proxy.capacity = 8192
        self.client.send(request(b"/", b"Content-Length: %d" % len(MUCH), method=b"PUT"))
        self.origin.take()
        self.origin.pause()
        self.client.send(MUCH)
        for _ in range(12):
            self.proxy.elapse(15)
            self.origin.read(8192)
        self.assertFalse(self.origin.closed)
        self.origin.resume()
        self.assertEqual(self.origin.received, MUCH)
        self.origin.send(OK)
        self.assertEqual(self.client.received, OK)

    def test_idle_tunnel(self) -> None:
        """A tunnel through which nothing goes is broken off."""
        self.exchange(ASK, SWITCH)
        self.check(20, self.client)
        self.assertTrue(self.origin.closed)

    def test_busy_tunnel(self) -> None:
        """Traffic in one direction keeps it."""
        self.exchange(ASK, SWITCH)
        for talker, listener in ((self.client, self.origin), (self.origin, self.client)):
            for _ in range(4):
                self.proxy.elapse(19)
                talker.send(b"x")
            self.assertEqual(listener.received, b"xxxx")

    def test_half_closed_tunnel(self) -> None:
        """With one side ended the other side's silence still counts."""
        self.exchange(ASK, SWITCH)
        self.origin.end()
        self.proxy.elapse(21.5)
        self.assertTrue(self.client.closed and self.origin.closed)


class ClientTimeoutTests(TimeoutTestCase):
    """--client-timeout: what a client owes."""

    def test_silent_client(self) -> None:
        """A client that says nothing is ended without a word."""
        self.assertEqual(self.check(5, self.client), [])
        self.assertEqual(self.client.received, b"")
        self.assertTrue(self.client.closed)

    def test_slow_head(self) -> None:
        """A head that does not come to its end is a 408 (RFC 9110 section 15.5.9)."""
        self.client.send(GET[:-2])
        lines = self.check(5, self.client)
        got = answer(self.client.received)
        self.assertEqual((got.status, got.fields[b"connection"]), (408, b"close"))
        self.assertEqual(lines, ["client refused: 408 the request head took too long"])
        self.assertEqual(self.proxy.connects, [])

    def test_head_in_drops(self) -> None:
        """More of it does not give it more time."""
        self.client.send(GET[:1])
        for at in range(1, 5):
            self.proxy.elapse(1)
            self.client.send(GET[at : at + 1])
        self.proxy.elapse(2.25)
        self.assertEqual(answer(self.client.received).status, 408)

    def test_second_head(self) -> None:
        """The time of a later head begins with its first byte."""
        self.exchange()
        self.proxy.elapse(29)
        self.client.send(GET[:5])
        self.check(5, self.client)
        self.assertEqual(answer(self.client.received).status, 408)

    def test_second_head_after_one_in_pieces(self) -> None:
        """That the head before came in pieces does not change this."""
        self.client.send(GET[:5])
        self.exchange(GET[5:])
        self.client.send(GET[:5])
        self.check(5, self.client)
        self.assertEqual(answer(self.client.received).status, 408)

    def test_empty_lines(self) -> None:
        """Empty lines are no request; the client is ended without a word."""
        self.client.send(b"\r\n\r\n")
        self.check(5, self.client)
        self.assertEqual(self.client.received, b"")

    def test_empty_lines_in_drops(self) -> None:
        """More of them do not give the client more time, be it before its first request or
        later."""
        for _ in range(2):
            self.client.send(b"\r\n")
            for _ in range(4):
                self.proxy.elapse(1)
                self.client.send(b"\r\n")
            self.check(1, self.client)
            self.client = self.proxy.client()
            self.exchange()

    def test_pipelined_head(self) -> None:
        """A head that has begun behind the request before has no more time than any other."""
        self.client.send(GET + GET[:5])
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.check(5, self.client)
        self.assertEqual(answer(self.client.received).status, 408)

    def test_slow_handshake(self) -> None:
        """A TLS handshake that does not come to its end is ended."""
        hello = TLSMachine.client(careless_context(), "a.test").start()
        self.client.send(hello[:50])
        self.check(5, self.client)
        self.assertTrue(self.client.aborted)
        self.assertEqual(len(self.proxy.forwarder.clients), 0)

    def test_handshake_without_answer(self) -> None:
        """So is one whose client does not answer ours."""
        self.client.send(TLSMachine.client(careless_context(), "a.test").start())
        self.assertTrue(self.client.received)
        self.check(5, self.client)

    def test_silence_after_the_handshake(self) -> None:
        """After the handshake the time for the first head begins."""
        client = self.proxy.tls_client()
        self.check(5, client)
        self.assertTrue(client.ended_cleanly)

    def test_keepalive(self) -> None:
        """--keepalive-timeout: an idle connection is ended in good order."""
        clients = self.client, self.proxy.tls_client()
        for client in clients:
            client.send(GET)
            self.origin.send(OK)
        self.assertEqual(self.check(30, self.client), [])
        for client in clients:
            self.assertEqual(client.received, OK)
            self.assertTrue(client.ended_cleanly and client.closed)

    def test_keepalive_begins_anew(self) -> None:
        """Each request begins the time anew."""
        for _ in range(3):
            self.exchange()
            self.proxy.elapse(29)
        self.check(1.25, self.client)

    def test_lingering(self) -> None:
        """A client that goes on sending after its response is ended after a while."""
        self.exchange(POST[:-1], OK)
        self.assertFalse(self.client.closed)
        for _ in range(8):
            self.proxy.elapse(2)
            self.client.send(b"x")
        self.assertTrue(self.client.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 0)

    def test_closing_with_unread_data(self) -> None:
        """A client that does not read its last response is ended after a while."""
        self.unread()
        self.proxy.elapse(5 + 20 + 2)
        self.assertTrue(self.client.aborted)
        self.assertEqual(len(self.proxy.forwarder.clients), 0)

    def test_closing_while_data_is_read(self) -> None:
        """One that reads it slowly gets all of it."""
        size = self.unread()
        while self.client.transport.buffered:
            self.proxy.elapse(4)
            self.client.read(4096)
        self.client.resume()
        self.assertEqual(len(self.client.received), size)
        self.assertTrue(self.client.ended_cleanly)

    def unread(self) -> int:
        """Have a client with its whole last response unread; return its size."""
        self.client = self.proxy.client(capacity=8192)
        self.client.pause()
        self.client.send(request(b"/", b"Connection: close"))
        body = bytes(60000)
        whole = response(b"200 OK", b"Content-Length: %d" % len(body), body=body)
        self.origin.send(whole)
        self.assertTrue(self.client.transport.buffered)
        return len(whole) + len(b"Connection: close\r\n")


class IdleTimeoutTests(TimeoutTestCase):
    """--idle-timeout: kept connections to origins."""

    def test_idle(self) -> None:
        """One that nobody uses is ended in good order."""
        origin = self.warm()
        self.assertEqual(self.check(50, origin), [])
        self.assertTrue(origin.ended_cleanly)

    def test_idle_tls(self) -> None:
        """Inside TLS with close_notify (RFC 9112 section 9.8)."""
        client = self.proxy.tls_client()
        client.send(GET)
        origin = self.origin
        origin.send(OK)
        self.check(50, origin)
        self.assertTrue(origin.ended_cleanly)

    def test_use_begins_anew(self) -> None:
        """Each use begins the time anew."""
        for _ in range(3):
            self.exchange()
            self.proxy.elapse(29)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_never_while_busy(self) -> None:
        """A busy connection is not idle."""
        self.client.send(GET)
        self.origin.send(response(b"200 OK", b"Content-Length: 9"))
        for _ in range(9):
            self.proxy.elapse(15)
            self.origin.send(b"x")
        self.assertFalse(self.origin.closed)
