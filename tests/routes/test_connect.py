"""The client's side of CONNECT."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.head import MAX_INTERIM
from fastcar_tw.routes.connect import ConnectHandshake, proxy_authorization
from fastcar_tw.routes.handshake import HandshakeError
from fastcar_tw.routes.proxy import parse_proxy
from tests.routes.support import bytewise, run

PLAIN = parse_proxy("http://p.test")
SECRET = parse_proxy("http://Aladdin:open%20sesame@p.test")
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"

OPENING = (
    OPEN,
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 299 \r\nServer: x\r\n\r\n",
    b"HTTP/1.1 200\r\nProxy-agent: tinyproxy/1.11.1\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n" + OPEN,
    # RFC 9110 section 9.3.6: to be ignored.
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: x\r\n\r\n",
)
REFUSALS = (
    (b"400 Bad Request", "answered CONNECT with status 400", "http_request_denied"),
    (b"403 Forbidden", "answered CONNECT with status 403", "http_request_denied"),
    (b"405 No", "answered CONNECT with status 405", "http_request_denied"),
    (b"301 Moved", "answered CONNECT with status 301", "destination_unavailable"),
    (b"500 Oops", "answered CONNECT with status 500", "destination_unavailable"),
    (b"502 Bad Gateway", "answered CONNECT with status 502", "destination_unavailable"),
    (b"504 Gateway Timeout", "answered CONNECT with status 504", "connection_timeout"),
    (b"999 Odd", "answered CONNECT with status 999", "destination_unavailable"),
)
INVALID = (
    (b"SSH-2.0-x\r\n\r\n", "invalid status line"),
    (b"\x05\x00", "a line of the head does not end in CRLF"),
    (b"HTTP/2.0 200 OK\r\n\r\n", "expected HTTP/1.0 or HTTP/1.1"),
    (b"HTTP/1.1 200 OK\nA: b\n\n", "a line of the head does not end in CRLF"),
    (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "field line 1 is invalid: expected name: value"),
    (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "field line 2 is folded over several lines"),
    (b"HTTP/1.1 101 Switch\r\n\r\n", "it switched protocols unasked"),
)


class ConnectTests(SynchronousTestCase):
    """L{ConnectHandshake}."""

    def test_request(self) -> None:
        """Target and Host are the origin's authority, its port always told (RFC 9110 section
        9.3.6, RFC 9112 section 3.2.3)."""
        for host, port, authority in (
            ("a.test", 443, b"a.test:443"),
            ("192.0.2.1", 8443, b"192.0.2.1:8443"),
            ("2001:db8::1", 443, b"[2001:db8::1]:443"),
        ):
            self.assertEqual(
                ConnectHandshake(PLAIN, host, port).start(),
                b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority),
            )

    def test_credentials(self) -> None:
        """Credentials are sent as RFC 7617 has it."""
        request = ConnectHandshake(SECRET, "a.test", 443).start()
        line = b"\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
        self.assertTrue(request.endswith(line))
        self.assertEqual(proxy_authorization(PLAIN), b"")

    def test_open(self) -> None:
        """Any 2xx opens the tunnel, behind any 1xx, and what follows its head is from the
        tunnel."""
        for response in OPENING:
            whole = response + b"\x16\x03\x01"
            for pieces in ([whole], bytewise(whole), [response, b"\x16\x03\x01"]):
                handshake = ConnectHandshake(PLAIN, "a.test", 443)
                self.assertEqual(len(run(handshake, pieces)), 1)
                self.assertTrue(handshake.done, response)
                self.assertEqual(handshake.leftover, b"\x16\x03\x01")

    def test_interim_cut_anywhere(self) -> None:
        """An interim response longer than the final one, cut into two pieces anywhere."""
        whole = b"HTTP/1.1 103 Hints\r\nLink: " + b"x" * 100 + b"\r\n\r\n" + OPEN
        for size in range(len(whole)):
            handshake = ConnectHandshake(PLAIN, "a.test", 443)
            run(handshake, [whole[:size], whole[size:]])
            self.assertTrue(handshake.done, size)
            self.assertEqual(handshake.leftover, b"")

    def test_truncated(self) -> None:
        """Until the head is complete the tunnel is not open."""
        for response in OPENING:
            for size in range(len(response)):
                handshake = ConnectHandshake(PLAIN, "a.test", 443)
                run(handshake, [response[:size]])
                self.assertFalse(handshake.done)

    def refused(self, response: bytes, url: str = "http://p.test") -> HandshakeError:
        """The error for a response, in one piece or many, which holds no credentials."""
        errors: list[HandshakeError] = []
        for pieces in ([response], bytewise(response)):
            handshake = ConnectHandshake(parse_proxy(url), "a.test", 443)
            errors.append(self.assertRaises(HandshakeError, run, handshake, pieces))
            self.assertFalse(handshake.done)
        self.assertEqual(str(errors[0]), str(errors[1]))
        self.assertNotIn("secret", str(errors[0]))
        return errors[0]

    def test_refused(self) -> None:
        """Any other status is a refusal, whose body is not waited for."""
        for status, reason, proxy_status in REFUSALS:
            for framing in (b"", b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n"):
                error = self.refused(b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n")
                self.assertEqual((error.reason, error.proxy_status), (reason, proxy_status))

    def test_407(self) -> None:
        """It is told whether credentials are missing or wrong."""
        response = b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"
        for url, reason in (
            ("http://p.test", "wants credentials (407)"),
            ("http://me:secret@p.test", "does not accept the credentials (407)"),
        ):
            error = self.refused(response, url)
            self.assertEqual(error.reason, reason)
            self.assertEqual(error.proxy_status, "proxy_configuration_error")

    def test_invalid(self) -> None:
        """What could be read in two ways opens no tunnel."""
        for response, what in INVALID:
            error = self.refused(response)
            self.assertEqual(error.reason, f"sent an invalid response: {what}")
            self.assertEqual(error.proxy_status, "http_protocol_error")

    def test_bounds(self) -> None:
        """Neither a head nor the number of interim responses is without bound."""
        handshake = ConnectHandshake(PLAIN, "a.test", 443)
        endless = [b"HTTP/1.1 200 OK\r\n", *[b"A: %b\r\n" % (b"b" * 1000)] * 70]
        error = self.assertRaises(HandshakeError, run, handshake, endless)
        self.assertIn("head larger than", error.reason)
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        handshake = ConnectHandshake(PLAIN, "a.test", 443)
        run(handshake, [interim * MAX_INTERIM + OPEN])
        self.assertTrue(handshake.done)
        error = self.refused(interim * (MAX_INTERIM + 1) + OPEN)
        self.assertIn("too many interim responses", error.reason)

    @given(st.lists(st.binary(max_size=40) | st.sampled_from(OPENING), max_size=9))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Whatever a proxy says, the handshake ends, waits or is refused."""
        handshake = ConnectHandshake(SECRET, "a.test", 443)
        try:
            run(handshake, pieces)
        except HandshakeError:
            self.assertFalse(handshake.done)
