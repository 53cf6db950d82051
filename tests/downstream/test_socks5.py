"""The server's side of SOCKS5."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.downstream.socks5 import SOCKS5Error, SOCKS5Server, refusal, reply
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.routes.proxy import parse_proxy
from fastcar_tw.routes.socks5 import SOCKS5Handshake
from fastcar_tw.testing import Peer
from tests.forward.support import GET, OK, logged, request
from tests.routes.support import bytewise

from .support import CHOSEN, GREETING, SUCCEEDED, OpeningsTestCase, named, socks5
from .support import refusal as refused_with

#: As they stand in a request, and what becomes of them.
TARGETS = [
    ("a.test", 80, "a.test"),
    ("A.Test", 443, "a.test"),
    ("a.test.", 1, "a.test."),
    ("my_service", 65535, "my_service"),
    ("a" * 63 + ".test", 80, "a" * 63 + ".test"),
    ("127.0.0.1", 8080, "127.0.0.1"),
    ("::1", 443, "::1"),
    ("2001:db8::1", 443, "2001:db8::1"),
]
#: What cannot be connected to; the last could become part of a message to a proxy, or of the log.
NO_NAMES = (
    b"",
    b".",
    b"a..b",
    b"a b",
    b"a/b",
    b"a\0b",
    b"a:80",
    b"[::1]",
    b"u@a.test",
    b"b\xc3\xbccher.test",
    b"\xff",
    b"*",
    b"a\r\nHost: b.test",
    b"a" * 64,
    b"a" * 255,
    b"::1%eth0",
    b"::1%\r\nX: y",
)


class ServerTests(SynchronousTestCase):
    """The conversation without I/O."""

    def test_splits(self) -> None:
        """A conversation may be cut anywhere, and what is behind the request is kept."""
        for host, port, expected in TARGETS:
            whole = socks5(host, port) + b"early"
            cuts = [[whole[:at], whole[at:]] for at in range(1, len(whole))]
            for pieces in ([whole], *cuts, bytewise(whole)):
                server, said, behind = SOCKS5Server(), b"", b""
                for piece in pieces:
                    if server.target is None:
                        said += server.receive(piece)
                    else:
                        behind += piece
                self.assertEqual((said, server.target), (CHOSEN, (expected, port)), pieces)
                self.assertEqual(server.leftover + behind, b"early", pieces)

    def test_own_client(self) -> None:
        """The handshake of our own client side is understood."""
        for host, port, expected in TARGETS:
            client = SOCKS5Handshake(parse_proxy("socks5h://p.test"), host, port)
            server = SOCKS5Server()
            answer = server.receive(client.start())
            self.assertEqual(server.receive(client.receive(answer)), b"")
            self.assertEqual(server.target, (expected, port))
            client.receive(reply(0) + b"x")
            self.assertEqual((client.done, client.leftover), (True, b"x"))

    def test_methods(self) -> None:
        """No authentication is chosen wherever it stands among the methods."""
        for methods in (b"\x00", b"\x02\x00", b"\x00\x01\x02", bytes(range(255, -1, -1))[1:]):
            server = SOCKS5Server()
            self.assertEqual(server.receive(b"\x05%c%b" % (len(methods), methods)), CHOSEN)

    def refused(self, data: bytes, answer: bytes, text: str, greeting: bytes = GREETING) -> None:
        """These bytes are refused so, whole and byte by byte, and not before the last."""
        whole, bytewise_ = SOCKS5Server(), SOCKS5Server()
        if greeting:
            for server in (whole, bytewise_):
                self.assertEqual(server.receive(greeting), CHOSEN)
        error: SOCKS5Error = self.assertRaises(SOCKS5Error, whole.receive, data)
        self.assertEqual((error.answer, str(error)), (answer, text))
        for piece in bytewise(data)[:-1]:
            self.assertEqual(bytewise_.receive(piece), b"")
        error = self.assertRaises(SOCKS5Error, bytewise_.receive, data[-1:])
        self.assertEqual((error.answer, str(error)), (answer, text))

    def test_no_acceptable_method(self) -> None:
        """A client that wants to authenticate, or offers nothing, is told FF (RFC 1928 section
        3)."""
        for methods in (b"", b"\x02", b"\x01\x02\x80", b"\xff", bytes(range(1, 256))):
            self.refused(
                b"\x05%c%b" % (len(methods), methods),
                b"\x05\xff",
                "expected the method without authentication",
                b"",
            )

    def test_version_of_the_greeting(self) -> None:
        """What does not begin with 5 is not SOCKS5 and is told nothing."""
        for version in (0, 4, 6, 0x16):
            text = f"expected version 5, got {version}"
            self.refused(bytes([version]), b"", text, b"")

    def test_version_of_the_request(self) -> None:
        """A request of another version is a general failure."""
        for version in (0, 1, 4, 6):
            text = f"expected version 5, got {version}"
            self.refused(bytes([version]), refused_with(1), text)

    def test_command(self) -> None:
        """Anything but CONNECT is not supported: 07, at once (RFC 1928 section 6)."""
        for command in (0, 2, 3, 4, 255):
            text = f"command {command} is not CONNECT"
            self.refused(bytes((5, command)), refused_with(7), text)

    def test_address_type(self) -> None:
        """An unknown type of address is not supported: 08, at once."""
        for kind in (0, 2, 5, 255):
            text = f"unknown address type {kind}"
            self.refused(bytes((5, 1, 0, kind)), refused_with(8), text)

    def test_names(self) -> None:
        """What is no name is 08 too, and its bytes are not repeated."""
        for name in NO_NAMES:
            text = "invalid name" if name.isascii() else "the name is not ASCII"
            self.refused(named(name), refused_with(8), text)

    def test_port_0(self) -> None:
        """Nobody can be connected to at port 0."""
        for host in ("a.test", "127.0.0.1", "::1"):
            request = socks5(host, 0)[len(GREETING) :]
            self.refused(request, refused_with(1), "port 0 cannot be connected to")

    def test_refusal_with_the_greeting(self) -> None:
        """A client that does not wait for the choice of a method is told that, too, before it is
        told why its request is refused."""
        for behind, code in ((b"\x05\x02", 7), (b"\x05\x01\x00\x09", 8), (b"\x04", 1)):
            server = SOCKS5Server()
            error: SOCKS5Error = self.assertRaises(SOCKS5Error, server.receive, GREETING + behind)
            self.assertEqual(error.answer, CHOSEN + refused_with(code))

    def test_replies(self) -> None:
        """Why a tunnel could not be opened is told in SOCKS5's words (RFC 1928 section 6)."""
        for proxy_status, code in (
            ("http_request_denied", 2),
            ("destination_ip_unroutable", 3),
            ("dns_error", 4),
            ("connection_timeout", 4),
            ("connection_refused", 5),
            ("proxy_loop_detected", 1),
            ("tls_certificate_error", 1),
            ("anything", 1),
        ):
            self.assertEqual(refusal(GatewayError(502, proxy_status, "")), refused_with(code))


class OpeningTests(OpeningsTestCase):
    """Its shell."""

    def refused(self, client: Peer, answer: bytes, *pieces: bytes) -> str:
        """Send this, and see the client told this and its connection ended in peace; return the
        line of the log."""

        def say() -> None:
            for piece in pieces:
                client.send(piece)

        lines = logged(say)
        self.assertEqual(client.take(), answer)
        self.assertTrue(client.ended_cleanly)
        self.assertFalse(client.closed)
        client.send(b"still sending" * 1000)
        self.assertEqual(client.received, b"")
        client.end()
        self.assertTrue(client.closed and not client.aborted)
        self.assertEqual(self.proxy.connects, [])
        [line] = lines
        return line

    def test_refused(self) -> None:
        """A client that is refused reads why, whatever it still sends, and is one line in the
        log."""
        for answer, text, pieces in (
            (b"\x05\xff", "expected the method without authentication", (b"\x05\x01\x02",)),
            (CHOSEN + refused_with(7), "command 3 is not CONNECT", (GREETING, b"\x05\x03")),
            (
                CHOSEN + refused_with(8),
                "unknown address type 9",
                (GREETING, b"\x05\x01\x00\x09" + bytes(600)),
            ),
            (CHOSEN + refused_with(8), "invalid name", (GREETING, named(b"a b"))),
            (
                CHOSEN + refused_with(1),
                "port 0 cannot be connected to",
                (GREETING, named(b"a.test", 0)),
            ),
        ):
            line = self.refused(self.proxy.client(), answer, *pieces)
            self.assertEqual(line, f"client refused: 400 SOCKS5: {text}")
        self.alive()

    def test_refused_and_silent(self) -> None:
        """One that then neither goes nor says anything is broken off after a while."""
        client = self.proxy.client()
        client.send(b"\x05\x01\x02")
        self.proxy.elapse(self.proxy.forwarder.config.client_timeout - 1)
        self.assertFalse(client.closed)
        self.proxy.elapse(2.5)
        self.assertTrue(client.closed)

    def test_truncated(self) -> None:
        """A client that ends before it has asked is let go, wherever that is."""
        whole = socks5()
        for size in range(1, len(whole)):
            client = self.proxy.client()
            client.send(whole[:size])
            self.assertEqual(logged(client.end), [])
            self.assertTrue(client.closed)
        self.assertEqual(self.proxy.connects, [])
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_gone(self) -> None:
        """So is one that has gone altogether."""
        client = self.proxy.client()
        client.send(GREETING)
        self.assertEqual(logged(client.close), [])
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_deadline(self) -> None:
        """The whole conversation has the time of a request head; bytes that trickle in do not
        prolong it."""
        whole = socks5("name-of-a-host.test")
        lines = []
        for size in range(1, len(whole)):
            self.start(client_timeout=10)
            self.proxy.elapse(4)
            self.client.send(whole[:1])
            self.proxy.elapse(3)
            self.client.send(whole[1:size])
            self.proxy.elapse(2)
            self.assertFalse(self.client.closed, size)
            lines += logged(lambda: self.proxy.elapse(2))
            self.assertTrue(self.client.closed, size)
        expected = "client refused: 408 SOCKS5: the request took too long"
        self.assertEqual(lines, [expected] * (len(whole) - 1))

    def test_no_answer_twice(self) -> None:
        """Each answer is given when it is due, and once."""
        self.client.send(GREETING)
        self.assertEqual(self.client.take(), CHOSEN)
        self.client.send(named(b"a.test"))
        self.assertEqual(self.client.take(), SUCCEEDED)
        self.served(self.client, "http://a.test:80")

    def test_several(self) -> None:
        """Conversations do not mix."""
        clients = [self.proxy.client() for _ in range(20)]
        for byte in range(len(socks5("00.test"))):
            for number, client in enumerate(clients):
                client.send(socks5(f"{number:02}.test")[byte : byte + 1])
        for number, client in enumerate(clients):
            self.assertEqual(client.take(), CHOSEN + SUCCEEDED)
            self.served(client, f"http://{number:02}.test:80", request(host=b"%02d.test" % number))

    def test_shutdown(self) -> None:
        """A conversation is nothing to wait for when fastcar stops."""
        self.client.send(GREETING)
        refused = self.proxy.client()
        refused.send(b"\x05\x00")
        drained = self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        self.assertTrue(self.client.closed and refused.closed)
        self.successResultOf(drained)

    def test_exactly_one_request(self) -> None:
        """What comes behind the request is for the tunnel: SOCKS5 does not begin again there."""
        client = self.proxy.client()
        [line] = logged(lambda: client.send(socks5() + socks5("b.test")))
        self.assertTrue(client.closed)
        self.assertIn("tunnel to a.test:80 carries neither TLS nor HTTP", line)

    def test_early_request(self) -> None:
        """A client that waits for nothing is served."""
        self.client.send(socks5() + GET)
        self.assertEqual(self.origin.take(), GET)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), CHOSEN + SUCCEEDED + OK)
