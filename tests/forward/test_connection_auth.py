"""Connections that their client has authenticated (NTLM, Negotiate; RFC 4559 section 6): the one
towards the client and the one towards the origin live and die together."""

from __future__ import annotations

from fastcar_tw.testing import Peer

from .support import CHUNKED, GET, OK, OK_CLOSE, POST, ProxyTestCase, answer, request, response

TYPE_1 = request(b"/", b"Authorization: NTLM TlRMTVNTUAAB")
TYPE_3 = request(b"/", b"Authorization: NTLM TlRMTVNTUAAD")
CHALLENGE = response(
    b"401 Unauthorized", b"WWW-Authenticate: NTLM TlRMTVNTUAAC", b"Content-Length: 0"
)


class AuthTestCase(ProxyTestCase):
    """Has connections, and who is who."""

    def authenticate(self) -> Peer:
        """Have the client authenticate a connection; return the origin's end."""
        self.exchange(TYPE_1, CHALLENGE)
        pinned = self.origin
        self.assertEqual(self.exchange(TYPE_3), (TYPE_3, OK))
        self.assertEqual(len(self.proxy.connects), 1)
        return pinned

    def assert_broken_off(self, status: int, pinned: Peer) -> None:
        """The client gets an error and has to begin anew, and nothing was sent elsewhere."""
        got = answer(self.client.received)
        self.assertEqual((got.status, got.fields[b"connection"]), (status, b"close"))
        self.assertTrue(self.client.ended_cleanly)
        self.assertTrue(pinned.closed)
        self.assertEqual(len(self.proxy.connects), 1)


class PinningTests(AuthTestCase):
    """When a connection belongs to one client."""

    def test_offer(self) -> None:
        """An offer that nobody has taken changes nothing: the connection serves the next."""
        self.exchange(GET, CHALLENGE)
        other = self.proxy.client()
        other.send(GET)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_from_the_first_message(self) -> None:
        """The connection is the client's from its first credentials on, in the middle of the
        handshake too."""
        self.exchange(TYPE_1, CHALLENGE)
        first = self.origin
        other = self.proxy.client()
        other.send(TYPE_1)
        self.assertEqual((first.received, self.origin.take()), (b"", TYPE_1))
        self.client.send(TYPE_3)
        self.assertEqual(first.received, TYPE_3)

    def test_among_other_credentials(self) -> None:
        """Also if there are other credentials beside them, of which the origin may take any."""
        asked = request(b"/", b"Authorization: Basic eA==", b"Authorization: Negotiate x")
        self.exchange(asked)
        self.proxy.client().send(GET)
        self.assertEqual(len(self.proxy.connects), 2)

    def test_post(self) -> None:
        """A POST authenticates a connection as well, and goes over an authenticated one."""
        asked = request(b"/", b"Authorization: NTLM x", method=b"POST", body=b"hello")
        self.exchange(asked)
        pinned = self.origin
        self.client.send(POST)
        self.assertEqual(pinned.received, POST)

    def test_gone_in_the_middle(self) -> None:
        """When the client goes while it authenticates, its connection does."""
        self.exchange(TYPE_1, CHALLENGE)
        self.client.close()
        self.assertTrue(self.origin.closed)

    def test_other_origin(self) -> None:
        """A request to another origin in between changes nothing."""
        pinned = self.authenticate()
        self.exchange(request(host=b"b.test"))
        self.assertEqual((pinned.received, pinned.closed), (b"", False))
        self.client.send(GET)
        self.assertEqual(pinned.received, GET)

    def test_other_origin_authenticated(self) -> None:
        """A client has one authenticated connection at a time: the latest."""
        first = self.authenticate()
        asked = request(b"/", b"Authorization: NTLM x", host=b"b.test")
        self.exchange(asked)
        self.assertTrue(first.closed)
        self.assertFalse(self.client.closed)
        self.proxy.client().send(request(host=b"b.test"))
        self.assertEqual(len(self.proxy.connects), 3)

    def test_requests_left(self) -> None:
        """How many requests an origin allows is the client's to count, as if it were connected
        itself."""
        self.exchange(TYPE_1, CHALLENGE.replace(b"\r\n", b"\r\nKeep-Alive: max=1\r\n", 1))
        first = self.origin
        self.client.send(TYPE_3)
        self.assertEqual(first.received, TYPE_3)


class EndTests(AuthTestCase):
    """When an authenticated connection ends, its client's does: what else the client sends there
    would be somebody else's."""

    def test_idle(self) -> None:
        """An idle client is told at once, by the end of its connection."""
        self.authenticate().close()
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.client.received, b"")

    def test_unasked(self) -> None:
        """So it is when the origin says something unasked."""
        self.authenticate().send(OK)
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.client.received, b"")

    def test_unnoticed(self) -> None:
        """A request that comes before the end was noticed is not sent, neither there nor
        elsewhere."""
        pinned = self.authenticate()
        pinned._socket.close()
        self.proxy.reactor.peers.remove(pinned)
        self.client.transport.protocol.dataReceived(GET)
        self.proxy.reactor.settle()
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.client.received, b"")

    def test_announced_time(self) -> None:
        """Nor one that comes when the origin is about to end the connection, as it has
        announced."""
        for seconds, served in ((0.9, True), (1.1, False)):
            self.start()
            self.exchange(TYPE_1, CHALLENGE.replace(b"\r\n", b"\r\nKeep-Alive: timeout=2\r\n", 1))
            self.proxy.elapse(seconds)
            self.client.send(TYPE_3)
            self.assertEqual(self.origin.received, TYPE_3 if served else b"")
            self.assertEqual(self.client.ended_cleanly, not served)
            self.assertEqual(len(self.proxy.connects), 1)

    def test_lost_request(self) -> None:
        """A request is not sent again when the connection ends under it, even if it could be."""
        for asked in (GET, TYPE_3, request(b"/", b"Idempotency-Key: 1", method=b"POST")):
            self.start()
            pinned = self.authenticate()
            self.client.send(asked)
            pinned.close()
            self.assert_broken_off(502, pinned)

    def test_lost_in_the_handshake(self) -> None:
        """Nor the answer to a challenge."""
        self.exchange(TYPE_1, CHALLENGE)
        self.client.send(TYPE_3)
        self.origin.close()
        self.assert_broken_off(502, self.origin)

    def test_first_message_is_sent_again(self) -> None:
        """Before there is a challenge nothing is lost with the connection: credentials are sent
        again under the same conditions as any request."""
        first = self.warm()
        self.client.send(TYPE_1)
        first.close()
        self.assertEqual(self.origin.received, TYPE_1)
        self.origin.send(CHALLENGE)
        self.assertEqual(self.client.take(), CHALLENGE)
        self.client.send(TYPE_3)
        self.assertEqual(self.origin.take(), TYPE_1 + TYPE_3)

    def test_no_response(self) -> None:
        """A response that does not come in time ends both."""
        pinned = self.authenticate()
        self.client.send(GET)
        self.proxy.elapse(62)
        self.assert_broken_off(504, pinned)

    def test_announced_close(self) -> None:
        """Connection: close of the origin is passed on here, unlike elsewhere."""
        self.authenticate()
        closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        self.assertEqual(self.exchange(GET, OK_CLOSE), (GET, closing))
        self.assertTrue(self.client.ended_cleanly)

    def test_no_authentication(self) -> None:
        """Also before the origin has said whether it takes the credentials."""
        closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        self.assertEqual(self.exchange(TYPE_1, OK_CLOSE), (TYPE_1, closing))
        self.assertTrue(self.client.ended_cleanly)

    def test_response_to_the_end(self) -> None:
        """A response that lasts to the end of its connection is the last."""
        pinned = self.authenticate()
        self.client.send(GET)
        pinned.send(b"HTTP/1.1 200 OK\r\n\r\nhi")
        pinned.close()
        self.assertEqual(
            self.client.take(),
            b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        )
        self.assertTrue(self.client.ended_cleanly)

    def test_early_response(self) -> None:
        """A challenge that does not wait for the request's body ends both, after it was told."""
        asked = request(b"/", b"Authorization: NTLM x", method=b"POST", body=b"hello")
        self.client.send(asked[:-2])
        self.origin.send(CHALLENGE)
        got = answer(self.client.take())
        self.assertEqual((got.status, got.fields[b"connection"]), (401, b"close"))
        self.assertTrue(self.origin.closed)
        self.client.send(asked[-2:])
        self.assertEqual(len(self.proxy.connects), 1)

    def test_while_elsewhere(self) -> None:
        """A client that is being served by another origin gets that response first."""
        pinned = self.authenticate()
        asked = request(host=b"b.test")
        self.client.send(asked)
        pinned.close()
        self.origin.send(OK)
        self.assertEqual(self.client.take()[:15], OK[:15])
        self.assertTrue(self.client.ended_cleanly)

    def test_shutdown(self) -> None:
        """An idle pair of connections ends when the service stops."""
        pinned = self.authenticate()
        self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        self.assertTrue(self.client.ended_cleanly)
        self.assertTrue(pinned.closed)
