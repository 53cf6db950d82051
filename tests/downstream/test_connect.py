"""CONNECT on a client connection: what is answered, and how the wire changes hands."""

from __future__ import annotations

from fastcar_tw.testing import Peer
from fastcar_tw.tls.machine import TLSMachine
from tests.forward.support import GET, OK, answer, logged, request, response
from tests.forward.test_upgrade import ASK, SWITCH
from tests.tls.support import careless_context

from .support import CONNECTED, TUNNELS, OpeningsTestCase, connect, opening, start_tls

NTLM = b"Authorization: NTLM x"


class AnswerTests(OpeningsTestCase):
    """RFC 9110 section 9.3.6."""

    def test_granted(self) -> None:
        """No field is needed, in either version; Host may be there and say anything that is
        valid."""
        for fields in (
            (),
            (b"Host: a.test:80",),
            (b"Host: b.test",),
            (b"User-Agent: x", b"Proxy-Connection: keep-alive", b"Connection: close"),
            (b"Proxy-Authorization: Basic eDp5", b"Content-Length: 0"),
            (b"Connection: upgrade", b"Upgrade: x", b"Expect: 100-continue", b"Max-Forwards: 0"),
        ):
            for version in (b"1.0", b"1.1", b"1.9"):
                client = self.proxy.client()
                client.send(connect(b"a.test:80", *fields, version=version))
                self.assertEqual(client.take(), CONNECTED, fields)
                self.assertFalse(client.ended)
                self.served(client, "http://a.test:80")

    def test_no_framing_in_the_answer(self) -> None:
        """The answer has neither Content-Length nor Transfer-Encoding: what follows its head is the
        tunnel."""
        self.client.send(connect())
        head, _, rest = self.client.received.partition(b"\r\n\r\n")
        self.assertEqual((head, rest), (b"HTTP/1.1 200 Connection established", b""))

    def test_nobody_is_asked(self) -> None:
        """A tunnel in which something has to be asked for connects to nobody yet."""
        self.tunnel("nowhere.test", 443)
        self.assertEqual(self.proxy.connects, [])

    def refused(self, status: int, asked: bytes) -> None:
        """It is answered with this status and close, and no origin asked."""
        client = self.proxy.client()
        client.send(asked + GET)
        got = answer(client.received)
        self.assertEqual((got.status, got.fields[b"connection"]), (status, b"close"), asked)
        self.assertTrue(client.ended_cleanly)
        self.assertEqual(self.proxy.connects, [])

    def test_invalid_targets(self) -> None:
        """A target without a valid port, or that is none, is a 400."""
        for target in (
            b"a.test",
            b"a.test:",
            b"a.test:0",
            b"a.test:00000",
            b"a.test:65536",
            b"a.test:x",
            b"a.test:-1",
            b":443",
            b"/",
            b"*",
            b"http://a.test:80/",
            b"a.test:80/",
            b"u@a.test:80",
            b"a..b:80",
            b"::1:443",
            b"[::1]",
            b"[::1%25lo]:443",
            b"[a.test]:443",
        ):
            self.refused(400, connect(target, b"Host: a.test", version=b"1.1"))
            self.refused(400, connect(target))

    def test_invalid_host(self) -> None:
        """A Host that is there has to be one, and only one."""
        for fields in ((b"Host: a b",), (b"Host: a.test", b"Host: a.test")):
            self.refused(400, connect(b"a.test:80", *fields, version=b"1.1"))

    def test_body(self) -> None:
        """A CONNECT has no body: what would be one, and what the tunnel's, could be read in two
        ways."""
        for field in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
            self.refused(400, connect(b"a.test:80", field, version=b"1.1"))

    def test_inside_of_a_tunnel(self) -> None:
        """There is no tunnel through a tunnel: 501."""
        for how in TUNNELS:
            for tls in (False, True):
                client = self.tunnel(how=how)
                if tls:
                    start_tls(client)
                    client.take()
                client.send(connect(b"b.test:80"))
                self.assertEqual(answer(client.received).status, 501)
                self.assertTrue(client.ended_cleanly)
        self.assertEqual(self.proxy.connects, [])

    def test_other_case(self) -> None:
        """Methods have a case: connect is another one, whose target makes no sense."""
        self.refused(400, connect().replace(b"CONNECT", b"connect"))

    def test_truncated(self) -> None:
        """A client that ends in the middle of it is let go."""
        whole = connect(version=b"1.1")
        for size in range(1, len(whole)):
            client = self.proxy.client()
            client.send(whole[:size])
            self.assertEqual(logged(client.end), [])
            self.assertTrue(client.closed)

    def test_late(self) -> None:
        """One that does not come to its end is a 408."""
        self.client.send(connect()[:-1])
        self.elapse_deadline()
        self.assertEqual(answer(self.client.received).status, 408)

    def test_too_large(self) -> None:
        """The limits of request heads are its own."""
        self.refused(431, connect(b"a.test:80", b"A: " + b"x" * (64 << 10)))
        self.refused(414, b"CONNECT " + b"a" * (64 << 10) + b":80 HTTP/1.1\r\n\r\n")

    def test_inside_tls(self) -> None:
        """It may come through TLS, as clients of an https proxy do it."""
        client = self.proxy.tls_client("proxy.test")
        client.send(connect())
        self.assertEqual(client.take(), CONNECTED)
        self.served(client, "http://a.test:80")


class HandOverTests(OpeningsTestCase):
    """What was going on before is over."""

    def test_after_requests(self) -> None:
        """A client connection that has served requests may open a tunnel."""
        self.exchange(request(host=b"b.test"))
        self.tunnel(client=self.client)
        self.served(self.client, "http://a.test:80")

    def test_pipelined(self) -> None:
        """A CONNECT behind a request is answered behind its response, and what follows the CONNECT
        is for the tunnel."""
        inside = request(b"/inside", host=b"c.test")
        self.client.send(request(host=b"b.test") + connect() + inside)
        before = self.origin
        self.assertEqual(before.take(), request(host=b"b.test"))
        self.assertEqual(len(self.proxy.connects), 1)
        before.send(OK)
        self.assertEqual(self.client.take(), OK + CONNECTED)
        self.assertEqual(str(self.origin.origin), "http://a.test:80")
        self.assertEqual(self.origin.take(), inside)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)

    def test_pipelined_splits(self) -> None:
        """However it is cut."""
        whole = request(host=b"b.test") + connect() + GET
        for at in range(1, len(whole)):
            client = self.proxy.client()
            client.send(whole[:at])
            client.send(whole[at:])
            [origin] = [peer for peer in self.proxy.origins if peer.received]
            self.assertEqual(origin.take(), request(host=b"b.test"))
            origin.send(OK)
            self.assertEqual(client.take(), OK + CONNECTED)
            [origin] = [peer for peer in self.proxy.origins if peer.received]
            self.assertEqual(str(origin.origin), "http://a.test:80")
            self.assertEqual(origin.take(), GET)
            origin.send(OK)
            self.assertEqual(client.take(), OK)
            client.close()

    def test_pipelined_handshake(self) -> None:
        """What follows a pipelined CONNECT may be TLS."""
        machine = TLSMachine.client(careless_context(), "a.test")
        self.client.send(request(host=b"b.test") + connect(b"a.test:443") + machine.start())
        self.origin.take()
        self.origin.send(OK)
        self.assertTrue(self.client.received.startswith(OK + CONNECTED))
        hello = self.client.take()[len(OK + CONNECTED) :]
        self.client.machine = machine
        machine.receive(hello)
        self.client.send_raw(machine.outgoing())
        self.assertTrue(machine.ready)
        self.served(self.client, "https://a.test:443")

    def test_pipelined_behind_close(self) -> None:
        """Behind a request that is the last it is dropped."""
        self.client.send(request(b"/", b"Connection: close") + connect())
        self.origin.send(OK)
        self.assertNotIn(CONNECTED, self.client.received)
        self.assertTrue(self.client.closed)

    def test_much_behind(self) -> None:
        """A client that sends much behind it before it is answered has to wait; all of it gets
        through."""
        body = bytes(1 << 20)
        asked = request(method=b"POST", body=body)
        self.client.send(request(host=b"b.test") + connect() + asked)
        self.assertTrue(self.client.transport.paused)
        before = self.origin
        before.take()
        before.send(OK)
        self.assertEqual(self.origin.take(), asked)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK + CONNECTED + OK)
        self.served(self.client, "http://a.test:80")

    def test_half_closed_before(self) -> None:
        """A client that has ended its sending before its CONNECT was answered is let go when what
        it has sent is answered."""
        self.client.send(request(host=b"b.test") + connect() + GET)
        self.client.end()
        before = self.origin
        before.take()
        before.send(OK)
        self.assertEqual(self.client.take(), OK + CONNECTED)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.assertTrue(self.client.closed)

    def test_half_closed_before_an_empty_tunnel(self) -> None:
        """If it has sent nothing more, it is let go at once."""
        self.client.send(request(host=b"b.test") + connect())
        self.client.end()
        self.origin.send(OK)
        self.assertTrue(self.client.closed)

    def test_client_that_does_not_read(self) -> None:
        """A client that does not read its responses has its CONNECT wait."""
        client = self.proxy.client(capacity=16384)
        client.pause()
        client.send(GET + connect() + GET)
        body = bytes(1 << 20)
        self.origin.take()
        self.origin.send(response(b"200 OK", b"Content-Length: %d" % len(body), body=body))
        self.assertEqual(len(self.proxy.connects), 1)
        client.resume()
        self.assertTrue(client.take().endswith(bytes(100) + CONNECTED))
        self.assertEqual(self.origin.take(), GET)
        self.origin.send(OK)
        self.assertEqual(client.take(), OK)

    def pinned(self) -> Peer:
        """Have the client authenticate its connection to the origin."""
        self.client.send(request(b"/", NTLM))
        pinned = self.origin
        pinned.take()
        pinned.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.assertFalse(pinned.closed)
        return pinned

    def test_authenticated_connection(self) -> None:
        """A connection that the client has authenticated outside of the tunnel is of no use in it,
        and let go: it serves nobody else."""
        pinned = self.pinned()
        self.tunnel(client=self.client)
        self.assertTrue(pinned.closed and not pinned.aborted)
        serving = self.served(self.client, "http://a.test:80")
        self.assertIsNot(serving, pinned)

    def test_authenticated_connection_inside(self) -> None:
        """One that it authenticates inside serves it there, and ends with it."""
        client = self.tunnel()
        client.send(request(b"/", NTLM))
        pinned = self.origin
        pinned.take()
        pinned.send(OK)
        client.take()
        self.served(self.proxy.client(), "http://a.test:80")
        self.assertEqual(len(self.proxy.origins), 2)
        self.assertIs(self.served(client, "http://a.test:80"), pinned)
        client.close()
        self.assertTrue(pinned.closed)

    def test_shutdown(self) -> None:
        """A tunnel in which nothing is asked for is closed when fastcar stops; an exchange in it is
        finished."""
        idle, busy, begun = self.tunnel(), self.tunnel(), self.tunnel()
        begun.send(b"GET / HT")
        busy.send(GET)
        drained = self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        self.client.close()
        self.assertTrue(idle.closed and begun.closed)
        self.assertNoResult(drained)
        self.origin.send(OK)
        self.assertIn(b"Connection: close", busy.take())
        self.assertTrue(busy.closed)
        self.successResultOf(drained)

    def test_upgrade_with_much_behind(self) -> None:
        """A client that was made to wait is read again when its wire has changed hands."""
        much = bytes(1 << 20)
        for client in (self.client, self.tunnel()):
            client.send(ASK + much)
            self.assertTrue(client.transport.paused)
            origin = self.proxy.origins[-1]
            origin.take()
            origin.send(SWITCH)
            self.assertEqual(len(origin.take()), len(much))

    def test_upgrade_inside(self) -> None:
        """Protocols are switched in a tunnel as they are outside."""
        for how in TUNNELS:
            for tls in (False, True):
                asked, answered = opening(how, port=443)
                client = self.proxy.client()
                client.send(asked)
                self.assertEqual(client.take(), answered)
                if tls:
                    start_tls(client, "a.test")
                    client.take()
                client.send(ASK)
                origin = self.origin
                origin.take()
                origin.send(SWITCH + b"early")
                self.assertTrue(client.take().endswith(b"early"))
                client.send(b"\x00\x01")
                self.assertEqual(origin.take(), b"\x00\x01")
                client.end()
                origin.end()
                self.assertTrue(client.closed and origin.closed)
