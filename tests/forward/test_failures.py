"""Failures: what the client is told, what is logged, and what is broken off."""

from __future__ import annotations

import re
from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.error import ConnectError, DNSLookupError, NoRouteError
from twisted.python.failure import Failure

from fastcar_tw.testing import Peer
from fastcar_tw.tls.machine import TLSMachine
from tests.tls.support import SelfSigned, temporary_directory

from .support import CHUNKED, GET, OK, ProxyTestCase, answer, logged, request, response

#: A request full of what must not be told or logged.
SECRETS = request(
    b"/s3cret?password=s3cret",
    b"Authorization: Basic s3cret",
    b"Cookie: s3cret",
    method=b"POST",
    body=b"s3cret",
)


class FailureTestCase(ProxyTestCase):
    """Checks failures as a whole."""

    def failed(
        self, status: int, kind: str, text: str, client: Peer, lines: list[str], what: str = ""
    ) -> None:
        """The client got this error response, and one line of log says the same."""
        got = answer(client.take())
        what = what or "http://a.test:80"
        self.assertEqual(got.status, status)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=" + kind.encode())
        self.assertEqual(got.fields[b"content-type"], b"text/plain; charset=utf-8")
        self.assertEqual(int(got.fields[b"content-length"]), len(got.body))
        self.assertRegex(got.fields[b"date"].decode(), r"^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$")
        self.assertEqual(got.body.decode(), f"fastcar: {text}\n")
        self.assertIn(what, text)
        [line] = lines
        self.assertRegex(
            line,
            rf"^[A-Z]+ {re.escape(f'{what}: {kind} ({status}): {text}')} after \d+\.\d{{3}} s$",
        )
        for told in (line, got.body.decode()):
            self.assertNotIn("s3cret", told)


class ConnectTests(FailureTestCase):
    """No connection to be had."""

    def refused(self, reason: Exception, status: int, kind: str, words: str) -> None:
        """Each reason has its status, its name and its words."""
        self.proxy.accepting = False
        self.client.send(SECRETS)
        connect = self.proxy.connects[-1]
        lines = logged(lambda: connect.refuse(reason))
        self.failed(status, kind, f"http://a.test:80: {words}", self.client, lines)
        self.proxy.accepting = True
        self.alive()

    def test_connection_refused(self) -> None:
        """A refused connection is a 502."""
        self.refused(
            error.ConnectionRefusedError(), 502, "connection_refused", "connection refused"
        )

    def test_unknown_name(self) -> None:
        """A name nobody knows is a 502."""
        self.refused(
            DNSLookupError("a.test: no such name"),
            502,
            "dns_error",
            "name look-up failed (a.test: no such name)",
        )

    def test_no_route(self) -> None:
        """An address that cannot be reached is a 502."""
        self.refused(NoRouteError(), 502, "destination_ip_unroutable", "no route to the address")

    def test_timeout(self) -> None:
        """An address that does not answer is a 504."""
        self.refused(error.TimeoutError(), 504, "connection_timeout", "connecting took too long")

    def test_other_reason(self) -> None:
        """Any other failure of connecting is a 502."""
        self.refused(ConnectError(), 502, "destination_unavailable", "connection failed")

    def test_bug(self) -> None:
        """What nobody has thought of is a 500, and its traceback is logged."""
        self.refused(ZeroDivisionError(), 500, "proxy_internal_error", "internal error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_head(self) -> None:
        """A HEAD is told no body."""
        self.proxy.accepting = False
        self.client.send(request(method=b"HEAD"))
        self.proxy.connects[0].refuse()
        got = answer(self.client.take())
        self.assertEqual((got.status, got.body), (502, b""))
        self.assertGreater(int(got.fields[b"content-length"]), 10)
        self.proxy.accepting = True
        self.alive()

    def test_http_1_0(self) -> None:
        """A client of HTTP/1.0 is told, and its connection ends."""
        self.proxy.accepting = False
        self.client.send(request(version=b"1.0"))
        self.proxy.connects[0].refuse()
        self.assertEqual(answer(self.client.received).fields[b"connection"], b"close")
        self.assertTrue(self.client.ended_cleanly)

    def test_request_under_way(self) -> None:
        """With the request still under way the connection ends after the response."""
        self.proxy.accepting = False
        self.client.send(SECRETS[:-1])
        self.proxy.connects[0].refuse()
        self.assertEqual(answer(self.client.received).fields[b"connection"], b"close")
        self.assertTrue(self.client.ended_cleanly)

    def test_elapsed_time(self) -> None:
        """The log tells how long it took."""
        self.proxy.accepting = False
        self.client.send(GET)
        self.proxy.elapse(1.5)
        [line] = logged(self.proxy.connects[0].refuse)
        self.assertTrue(line.endswith(" after 1.500 s"))


class TLSTests(FailureTestCase):
    """TLS to the origin that fails."""

    def setUp(self) -> None:
        """Ask for an https origin."""
        super().setUp()
        self.ask()

    def ask(self) -> None:
        """Ask for an https origin, which is not connected to yet."""
        self.client = self.proxy.tls_client()
        self.proxy.accepting = False
        self.client.send(SECRETS)
        [self.connect] = self.proxy.connects

    def untrusted(self, machine: TLSMachine, kind: str, words: str) -> None:
        """The handshake with this server fails for this reason, and no request byte is sent."""
        lines = logged(lambda: self.connect.accept(machine))
        self.failed(
            502,
            kind,
            f"https://a.test:443: {words}",
            self.client,
            lines,
            "https://a.test:443",
        )
        self.assertEqual(self.origin.received, b"")
        self.assertTrue(self.origin.closed)

    def test_unknown_issuer(self) -> None:
        """A certificate nobody we trust has signed is a 502."""
        machine = TLSMachine.server(SelfSigned("a.test").context())
        self.untrusted(
            machine,
            "tls_certificate_error",
            "certificate verify failed: self-signed certificate",
        )

    def test_wrong_name(self) -> None:
        """A certificate for another name is a 502 which tells both."""
        certificate = SelfSigned("b.test")
        path, _ = certificate.write(temporary_directory(self))
        self.start(trust=(path,))
        self.ask()
        self.untrusted(
            TLSMachine.server(certificate.context()),
            "tls_certificate_error",
            "certificate verify failed: expected a certificate for a.test, got one for b.test",
        )

    def test_no_common_version(self) -> None:
        """An origin that sends an alert is a 502."""
        context = SelfSigned("a.test").context()
        context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        lines = logged(lambda: self.connect.accept(TLSMachine.server(context)))
        got = answer(self.client.take())
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=tls_alert_received")
        self.assertEqual(len(lines), 1)

    def test_no_tls(self) -> None:
        """An origin that does not speak TLS is a 502."""
        lines = logged(lambda: self.connect.accept(plain=True).send(b"220 mail.test ESMTP\r\n"))
        got = answer(self.client.take())
        self.assertEqual(got.status, 502)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=tls_protocol_error")
        self.assertEqual(len(lines), 1)

    def test_closed_in_the_handshake(self) -> None:
        """An origin that hangs up in the handshake is a 502."""
        peer = self.connect.accept(TLSMachine.server(SSL.Context(SSL.TLS_SERVER_METHOD)))
        peer.close()
        got = answer(self.client.take())
        self.assertEqual(got.status, 502)

    def test_impossible_name(self) -> None:
        """A name that no certificate can have is a 502 without any attempt to connect."""
        self.client = self.proxy.tls_client()
        lines = logged(lambda: self.client.send(request(host=b"-")))
        got = answer(self.client.take())
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=tls_protocol_error")
        self.assertEqual((len(lines), len(self.proxy.connects)), (1, 1))

    def test_insecure_origin(self) -> None:
        """An origin named in --insecure-origin may show any certificate."""
        self.start(insecure_origins=("a.test:443",))
        client = self.proxy.tls_client()
        self.proxy.accepting = False
        client.send(GET)
        self.proxy.connects[0].accept(TLSMachine.server(SelfSigned("b.test").context()))
        self.assertEqual(self.origin.received, GET)


class ResponseTests(FailureTestCase):
    """Origins that do not answer properly, before anything was sent to the client."""

    def broken(self, act: Callable[[Peer], object], kind: str, words: str) -> None:
        """What this origin does is a 502, and its connection is thrown away."""
        self.client.send(SECRETS)
        lines = logged(lambda: act(self.origin))
        self.failed(502, kind, f"http://a.test:80 {words}", self.client, lines)
        self.assertTrue(self.origin.closed)
        self.alive()

    def test_no_response(self) -> None:
        """An origin that hangs up without a response."""
        self.broken(
            lambda origin: origin.close(),
            "connection_terminated",
            "closed the connection before its response",
        )

    def test_end_of_stream(self) -> None:
        """An origin that ends its sending without a response."""
        self.broken(
            lambda origin: origin.end(),
            "connection_terminated",
            "closed the connection before its response",
        )

    def test_part_of_a_head(self) -> None:
        """An origin that hangs up in the middle of its head."""
        self.client.send(SECRETS)
        self.origin.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: s3cret")
        lines = logged(self.origin.close)
        self.failed(
            502,
            "connection_terminated",
            "http://a.test:80 closed the connection in the middle of its response",
            self.client,
            lines,
        )

    def test_no_http(self) -> None:
        """An origin that does not speak HTTP."""
        self.broken(
            lambda origin: origin.send(b"s3cret\r\n\r\n"),
            "http_protocol_error",
            "sent an invalid response: invalid status line",
        )

    def test_ambiguous_framing(self) -> None:
        """An origin whose response could be read in two ways."""
        whole = response(b"200 OK", b"Content-Length: 2", CHUNKED, body=b"s3cret")
        self.broken(
            lambda origin: origin.send(whole),
            "http_protocol_error",
            "sent an invalid response: both Content-Length and Transfer-Encoding",
        )

    def test_endless_head(self) -> None:
        """An origin whose head does not end."""
        self.client.send(GET)
        self.origin.send(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000)
        got = answer(self.client.take())
        self.assertEqual(got.status, 502)
        self.assertTrue(self.origin.aborted)

    def test_tls_truncation(self) -> None:
        """An origin that ends TLS without saying so has not answered."""
        client = self.proxy.tls_client()
        client.send(GET)
        self.origin.end(notify=False)
        self.assertEqual(answer(client.take()).status, 502)


class BegunTests(FailureTestCase):
    """Responses that fail after their head went out: the client's connection is broken off."""

    def broken(
        self, head: bytes, act: Callable[[Peer], object], *, tls: bool = False, old: bool = False
    ) -> str:
        """What this origin does after its head breaks the client off; return the log line."""
        client = self.proxy.tls_client() if tls else self.client
        client.send(request(version=b"1.0" if old else b"1.1"))
        self.origin.send(head)
        self.assertTrue(client.take())
        lines = logged(lambda: act(self.origin))
        self.assertTrue(client.aborted and client.closed)
        self.assertFalse(client.ended_cleanly)
        self.assertEqual(client.received, b"")
        self.assertTrue(self.origin.closed)
        [line] = lines
        return line

    def test_short_of_its_length(self) -> None:
        """A body shorter than its Content-Length."""
        head = response(b"200 OK", b"Content-Length: 5", body=b"12")
        for tls in (False, True):
            line = self.broken(head, lambda origin: origin.end(), tls=tls)
            self.assertIn("http_response_incomplete (502)", line)
            self.assertIn("closed the connection in the middle of its response", line)

    def test_chunked_without_end(self) -> None:
        """A chunked body without its last chunk: none is made up."""
        for body in (b"5\r\nhello\r\n", b"5\r\nhel", b"5\r\nhello\r\n0\r\nX: y\r\n"):
            self.setUp()
            self.broken(response(b"200 OK", CHUNKED, body=body), lambda origin: origin.end())

    def test_broken_chunk(self) -> None:
        """A chunk that is wrong."""
        line = self.broken(
            response(b"200 OK", CHUNKED, body=b"2\r\nhi\r\n"),
            lambda origin: origin.send(b"s3cret\r\n"),
        )
        self.assertIn("http_protocol_error (502)", line)
        self.assertNotIn("s3cret", line)

    def test_broken_chunk_with_the_head(self) -> None:
        """A chunk that is wrong in the piece that brought the head: nothing looks complete."""
        self.client.send(GET)
        self.origin.send(response(b"200 OK", CHUNKED, body=b"2\r\nhi\r\nx\r\n"))
        self.assertTrue(self.client.aborted)
        self.assertNotIn(b"0\r\n\r\n", self.client.received)

    def test_close_delimited_without_close_notify(self) -> None:
        """A body that ends with the connection, inside TLS, without close_notify: whether it is
        complete nobody knows (RFC 9112 section 9.8)."""
        for old in (False, True):
            client = self.proxy.tls_client()
            client.send(request(version=b"1.0" if old else b"1.1"))
            self.origin.send(response(b"200 OK", body=b"some"))
            client.take()
            self.origin.end(notify=False)
            self.assertTrue(client.aborted)
            self.assertFalse(client.ended_cleanly)
            self.assertEqual(client.received, b"")

    def test_close_delimited_reset(self) -> None:
        """One that ends in a reset is not complete either."""
        self.client.send(GET)
        origin = self.origin
        origin.send(response(b"200 OK", body=b"some"))
        origin.transport.connectionLost(Failure(error.ConnectionLost()))
        self.proxy.reactor.settle()
        self.assertTrue(self.client.aborted)

    def test_length_without_close_notify(self) -> None:
        """A body that has its whole length is complete however TLS ends."""
        client = self.proxy.tls_client()
        client.send(GET)
        self.origin.send(OK)
        self.origin.end(notify=False)
        self.assertEqual(client.received, OK)
        self.assertFalse(client.closed)

    def test_client_reads_slowly(self) -> None:
        """What the client has not read is thrown away with the rest: nothing pretends an end."""
        client = self.proxy.client()
        client.pause()
        client.send(request(version=b"1.0"))
        self.origin.send(response(b"200 OK", b"Content-Length: 9999999", body=bytes(400000)))
        self.origin.close()
        client.resume()
        self.assertTrue(client.aborted)
        self.assertLess(len(client.received), 9999999)
