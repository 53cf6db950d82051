"""What docs/conformance.md claims of exchanges and no other test shows."""

from __future__ import annotations

import re

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from fastcar_tw.http.head import MAX_HEAD, MAX_TARGET
from fastcar_tw.http.target import Origin
from fastcar_tw.testing import Peer
from fastcar_tw.tls.machine import TLSError
from fastcar_tw.tls.trust import Trust
from fastcar_tw.upstream.endpoints import OriginEndpoints

from .support import (
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
from .test_upgrade import ASK, SWITCH

#: A field line as a sender should write it: one space, no other white space at either end.
FIELD_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
#: A list without empty elements, each behind a comma and one space.
TOKENS = re.compile(rb"[^,\s]+(?:, [^,\s]+)*")
#: Fields whose value fastcar writes anew, and whose value is a list of tokens.
LISTS = (b"connection", b"upgrade", b"transfer-encoding")

REQUEST_FIELDS = (
    b'Authorization: Digest username="x"',
    b"Referer: http://u@b.test/#f",
    b"User-Agent: x (y)",
    b"From: a@b.test",
    b"Accept: text/*;q=0.3, */*",
    b"Accept-Charset: utf-8",
    b"Accept-Encoding: ",
    b"Accept-Language: da, en;q=0.7",
    b'If-Match: "x"',
    b'If-None-Match: W/"x", *',
    b"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",
    b"If-Unmodified-Since: never",
    b'If-Range: "x"',
    b"Range: lines=1-2",
    b"Max-Forwards: 0",
    b"Cache-Control: no-transform",
    b'Warning: 199 - "x"',
    b"Trailer: Digest",
)
RESPONSE_FIELDS = (
    b'WWW-Authenticate: Basic realm="a", Newauth x=y',
    b"WWW-Authenticate: Negotiate",
    b'Authentication-Info: nextnonce="x"',
    b"Allow: ",
    b"Allow: GET, PURGE",
    b"Vary: *",
    b"Cache-Control: no-transform",
    b"Content-Encoding: x-unknown",
    b"Content-Location: /y",
    b"Content-Range: lines 1-2/3",
    b"Accept-Ranges: lines",
    b'ETag: W/"x"',
    b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
    b"Location: //b.test/#f",
    b"Retry-After: 120",
    b"Server: x/1 (y)",
    b"Trailer: Digest",
)


class FieldTests(ProxyTestCase):
    """Fields and content that belong to the ends, not to what is between them."""

    def test_end_to_end_fields(self) -> None:
        """Credentials, conditions, ranges, Allow, Vary, Referer and the like are not touched (RFC
        9110 sections 7.7, 10.1.3, 10.2.1, 11.6, 12.5.5, 13.2.1)."""
        asked = request(b"/", *REQUEST_FIELDS)
        answered = response(b"401 No", *RESPONSE_FIELDS, b"Content-Length: 2", body=b"hi")
        self.assertEqual(self.exchange(asked, answered), (asked, answered))

    def test_unknown_range_unit(self) -> None:
        """A 206 with an unknown range unit is forwarded (RFC 9110 section 14.4)."""
        whole = response(
            b"206 Partial Content",
            b"Content-Range: lines 1-2/3",
            b"Content-Length: 2",
            body=b"x\n",
        )
        asked = request(b"/", b"Range: lines=1-2")
        self.assertEqual(self.exchange(asked, whole), (asked, whole))

    def test_no_length_in_101(self) -> None:
        """Content-Length and Transfer-Encoding are cut from a 101 (RFC 9110 section 8.6, RFC 9112
        section 6.1)."""
        for field in (b"Content-Length: 0", CHUNKED):
            self.client = self.proxy.client()
            odd = SWITCH.replace(b"Sec-Accept: y", field)
            got = self.exchange(ASK, odd)[1]
            self.assertTrue(got.startswith(b"HTTP/1.1 101 "))
            self.assertNotIn(field, got)

    def test_no_coding_in_1xx(self) -> None:
        """Transfer-Encoding is cut from an interim response, and no body is expected (RFC 9112
        section 6.1)."""
        got = self.exchange(GET, response(b"103 Early Hints", CHUNKED) + OK)[1]
        self.assertEqual(got, response(b"103 Early Hints") + OK)

    def test_response_trailers_named_by_connection(self) -> None:
        """A trailer of a response that Connection names is for one hop (RFC 9110 section 7.6.1)."""
        body = b"1\r\nx\r\n0\r\nX-Mine: 1\r\nX-Ours: 2\r\n\r\n"
        got = self.exchange(GET, response(b"200 OK", CHUNKED, b"Connection: X-Mine", body=body))[1]
        self.assertTrue(got.endswith(b"\r\n\r\n1\r\nx\r\n0\r\nX-Ours: 2\r\n\r\n"))
        self.assertNotIn(b"X-Mine", got)

    def test_trailers_stay_trailers(self) -> None:
        """Trailer fields are never moved into a header section (RFC 9110 section 6.5.1)."""
        body = b"1\r\nx\r\n0\r\nX-Late: 1\r\n\r\n"
        asked = request(b"/", CHUNKED, method=b"PUT", body=body)
        for message in self.exchange(asked, response(b"200 OK", CHUNKED, body=body)):
            head, _, rest = message.partition(b"\r\n\r\n")
            self.assertNotIn(b"X-Late", head)
            self.assertEqual(rest, body)


class GeneratedTests(ProxyTestCase):
    """What fastcar writes itself is as strict as what it is sent may be odd."""

    def check(self, message: bytes) -> None:
        """Every line of a head is within the grammar, written as a sender should."""
        self.assertRegex(message, rb"^[!-~]")
        head = message.partition(b"\r\n\r\n")[0]
        for line in head.split(b"\r\n")[1:]:
            self.assertTrue(FIELD_LINE.fullmatch(line), line)
            name, _, value = line.partition(b": ")
            if name.lower() in LISTS:
                self.assertTrue(TOKENS.fullmatch(value), line)

    def test_forwarded_messages(self) -> None:
        """No bare CR, no folding, no white space around what we write, no empty list elements, no
        extra line ends (RFC 9110 sections 2.2, 5.6.1.1, 5.6.3; RFC 9112 sections 2.2, 5.2)."""
        self.start(via="php-host")
        upgrade = request(
            b"/", b"Connection:\t, Upgrade ,,", b"Upgrade: ,\ta/1 ,, B\t,", version=b"1.9"
        )
        chunked = (
            b"POST http://a.test HTTP/1.1\r\nHost:\t x \r\nTransfer-Encoding: \tCHUNKED \r\n"
            b"Connection: ,,\t\r\n\r\n0\r\n\r\n"
        )
        options = request(b"/", b"Max-Forwards: \t 007 ", method=b"OPTIONS")
        for asked in (b"\r\n" + upgrade, chunked, options):
            for got in self.exchange(
                asked,
                b"HTTP/1.0 426\r\nConnection: upgrade\t,\r\nUpgrade:\ta/1 \r\n"
                b"Content-Length: 0\r\n\r\n",
            ):
                self.check(got)

    def test_own_responses(self) -> None:
        """The same of responses that fastcar makes (RFC 9110 section 2.2)."""
        for asked in (
            b"BROKEN\r\n\r\n",
            request(b"/", b"Max-Forwards: 0", method=b"TRACE"),
            request(b"/", b"Max-Forwards: 0", method=b"OPTIONS"),
            b"CONNECT a.test:0 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ):
            client = self.proxy.client()
            client.send(asked)
            self.check(client.received)
            self.assertRegex(
                client.received, rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r\n"
            )

    def test_fields_stand_once(self) -> None:
        """No field that we write stands beside one that was received (RFC 9110 section 5.3)."""
        self.start(via="php-host")
        asked = (
            b"POST http://a.test/ HTTP/1.1\r\nhost: b.test\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n0\r\n\r\n"
        )
        for message in self.exchange(asked, response(b"200 OK", CHUNKED, body=b"0\r\n\r\n")):
            head = message.partition(b"\r\n\r\n")[0]
            names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
            self.assertEqual(len(names), len(set(names)), names)


class ViaTests(ProxyTestCase):
    """Via, where it was asked for (RFC 9110 section 7.6.3)."""

    def test_via_in_101(self) -> None:
        """A 101 is a forwarded message too."""
        self.start(via="php-host")
        got, answered = self.exchange(ASK, SWITCH)
        self.assertIn(b"\r\nVia: 1.1 php-host\r\n", got)
        self.assertIn(b"\r\nVia: 1.1 php-host\r\n", answered)


class RefusalTests(ProxyTestCase):
    """Requests that are refused, and how."""

    def test_head_gets_no_content(self) -> None:
        """A HEAD that is refused is answered without content, however much of its head there is
        (RFC 9110 section 9.3.2)."""
        for asked, status in (
            (request(b"/", b"Bad Field: x", method=b"HEAD"), 400),
            (b"HEAD / HTTP/1.1\r\nHost: a.test\n\r\n", 400),
            (b"\r\nHEAD / HTTP/1.1\r\nHost: a.test\n\r\n", 400),
            (request(method=b"HEAD").replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
            (request(b"/" + b"x" * MAX_TARGET, method=b"HEAD"), 414),
            (request(b"/", b"A: " + b"x" * MAX_HEAD, method=b"HEAD"), 431),
            (b"HEAD / HTTP/1.1\r\nA: " + b"x" * MAX_HEAD, 431),
        ):
            client = self.proxy.client()
            client.send(asked)
            got = answer(client.received)
            self.assertEqual((got.status, got.body), (status, b""))
            self.assertGreater(int(got.fields[b"content-length"]), 10)

    def test_late_head_gets_no_content(self) -> None:
        """Nor has the 408 of a HEAD whose head does not come to its end any (RFC 9110 section
        9.3.2)."""
        self.client.send(request(method=b"HEAD")[:-2])
        self.proxy.elapse(self.proxy.forwarder.config.client_timeout + 1.5)
        got = answer(self.client.received)
        self.assertEqual((got.status, got.body), (408, b""))

    def test_host_is_judged_before_local_answers(self) -> None:
        """A missing, second or invalid Host is a 400 also where fastcar would answer itself; but a
        CONNECT, which says all in its target, may do without (RFC 9112 section 3.2)."""
        for line in (
            b"TRACE / HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"OPTIONS http://a.test HTTP/1.1",
            b"CONNECT a.test:443 HTTP/1.1",
        ):
            for host in (b"", b"Host: a.test\r\nHost: a.test\r\n", b"Host: a b\r\n"):
                client = self.proxy.client()
                client.send(line + b"\r\nMax-Forwards: 0\r\n" + host + b"\r\n")
                granted = line.startswith(b"CONNECT") and not host
                status = 200 if granted else 400
                self.assertEqual(answer(client.received).status, status, (line, host))
        self.assertEqual(self.proxy.connects, [])

    def test_connect_ports(self) -> None:
        """A CONNECT without a valid port is a 400 (RFC 9110 section 9.3.6)."""
        for target in (b"a.test:", b"a.test", b"a.test:0", b"a.test:65536", b"a.test:x"):
            client = self.proxy.client()
            client.send(b"CONNECT %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % target)
            self.assertEqual(answer(client.received).status, 400)
        self.assertEqual(self.proxy.connects, [])


class SharingTests(ProxyTestCase):
    """Which connections to origins serve whom."""

    def ask(self, client: Peer, *fields: bytes) -> Peer:
        """Have an exchange; return the origin's connection that served it."""
        client.send(request(b"/", *fields))
        [serving] = [origin for origin in self.proxy.origins if origin.take()]
        serving.send(OK)
        self.assertEqual(client.take(), OK)
        return serving

    def test_authenticated_connection_is_not_shared(self) -> None:
        """A connection that NTLM or Negotiate authenticates serves its client only, and ends with
        it (RFC 9110 section 3.3)."""
        for scheme in (b"NTLM", b"Negotiate"):
            client, other = self.proxy.client(), self.proxy.client()
            first = self.ask(client, b"Authorization: %b x" % scheme)
            self.assertIsNot(self.ask(other), first)
            self.assertIs(self.ask(client, b"Authorization: %b y" % scheme), first)
            self.assertIs(self.ask(client), first)
            self.assertIsNot(self.ask(other), first)
            client.close()
            self.assertTrue(first.closed)
            self.assertIsNot(self.ask(other), first)

    def test_other_credentials_are_for_one_request(self) -> None:
        """What other schemes say is for one request, so that the connection may serve anybody (RFC
        9110 section 3.3)."""
        first = self.ask(self.client, b"Authorization: Basic x")
        self.assertIs(self.ask(self.proxy.client()), first)

    def test_pinned_connection_is_for_one_origin(self) -> None:
        """A request to another origin does not go over the authenticated connection (RFC 9110
        section 3.3)."""
        first = self.ask(self.client, b"Authorization: NTLM x")
        self.client.send(request(host=b"b.test"))
        self.assertEqual(first.take(), b"")
        self.assertEqual(str(self.origin.origin), "http://b.test:80")

    def test_close_in_an_interim_response(self) -> None:
        """Connection: close counts in an interim response too: no request follows there (RFC 9112
        section 9.6)."""
        self.exchange(GET, response(b"103 Early Hints", b"Connection: close") + OK)
        self.assertTrue(self.origin.closed)
        self.alive()
        self.assertEqual(len(self.proxy.origins), 2)
        self.exchange()
        self.assertEqual(len(self.proxy.origins), 2)

    def test_close_is_not_announced_to_origins(self) -> None:
        """Origins are asked alike, whether or not a connection will be kept (RFC 9112 section 9.6,
        deliberate)."""
        self.start(max_idle_per_origin=0)
        self.assertEqual(self.exchange(request(b"/", b"Connection: close"))[0], GET)
        self.assertTrue(self.origin.closed)

    def test_origins_are_reached_over_tcp_only(self) -> None:
        """No request can come back to the UNIX socket: origins are reached over TCP (RFC 9110
        section 7.6)."""
        reactor = MemoryReactorClock()
        endpoints = OriginEndpoints(reactor, Trust(), 10, self.proxy)
        for scheme in ("http", "https"):
            attempt = endpoints(Origin(scheme, "127.0.0.1", 80)).connect(Factory())
            attempt.cancel()
            self.failureResultOf(attempt)
        self.assertEqual(len(reactor.tcpClients), 2)
        self.assertEqual(reactor.unixClients, [])


class EarlyResponseTests(ProxyTestCase):
    """Responses that come before the end of the request (RFC 9110 section 7.5)."""

    def test_upload_ends_with_the_response(self) -> None:
        """Once the response is complete no more of the body is sent (RFC 9112 section 9.5)."""
        self.client.send(POST[:-3])
        origin = self.origin
        origin.take()
        origin.send(response(b"413 Too Large", b"Connection: close", b"Content-Length: 0"))
        self.client.send(POST[-3:])
        self.assertEqual(origin.received, b"")
        self.assertTrue(origin.closed)


class EndTests(ProxyTestCase):
    """How TLS ends (RFC 9112 section 9.8, RFC 8446 section 6)."""

    def served(self) -> Peer:
        """A TLS client whose request was answered."""
        client = self.proxy.tls_client()
        client.send(GET)
        self.origin.send(OK)
        self.assertEqual(client.take(), OK)
        return client

    def test_unclean_close_by_a_client_is_tolerated(self) -> None:
        """A client may be gone without close_notify once it has its response: nothing is logged,
        and the origin's connection stays (RFC 9112 section 9.8)."""
        client = self.served()
        self.assertEqual(logged(lambda: client.close(notify=False)), [])
        self.assertFalse(self.origin.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_fatal_alert_from_a_client(self) -> None:
        """A fatal alert ends the exchange, and nothing more is sent (RFC 8446 section 6.2)."""
        client = self.proxy.tls_client()
        machine = client.machine
        assert machine is not None
        client.send(GET)
        # A record that is wrong makes the client's side say so by a fatal alert.
        self.assertRaises(TLSError, machine.receive, b"\x17\x03\x03\x00\x20" + bytes(32))
        client.transport.writes.clear()
        client.send_raw(machine.outgoing())
        self.assertTrue(client.closed)
        self.assertTrue(self.origin.aborted)
        self.assertEqual(client.transport.writes, [])

    def test_close_notify_at_the_end(self) -> None:
        """Both sides of fastcar say close_notify before they close in peace (RFC 8446 section
        6.1)."""
        client = self.proxy.tls_client()
        client.send(request(b"/", b"Connection: close"))
        self.origin.send(OK)
        self.assertTrue(client.ended_cleanly)
        self.proxy.elapse(self.proxy.forwarder.config.idle_timeout + 1.5)
        self.assertTrue(self.origin.ended_cleanly)

    def test_https_is_never_sent_in_plain(self) -> None:
        """Nothing of an https request is sent outside TLS, whatever the origin speaks (RFC 9110
        section 4.2.2)."""
        for asked in (GET, b"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"):
            self.proxy.accepting = False
            client = self.client if b"https:" in asked else self.proxy.tls_client()
            client.send(asked)
            peer = self.proxy.connects[-1].accept(plain=True)
            self.assertEqual(peer.received[:1], b"\x16")
            peer.send(OK)
            self.assertNotIn(b"GET", peer.received)
            self.assertEqual(answer(client.received).status, 502)

    def test_handshake_is_not_tried_again(self) -> None:
        """An origin whose handshake fails is not asked again with less (RFC 8446 section D.1)."""
        self.proxy.accepting = False
        client = self.proxy.tls_client()
        client.send(GET)
        # handshake_failure, as of a server of old versions only
        self.proxy.connects[0].accept(plain=True).send(b"\x15\x03\x01\x00\x02\x02\x28")
        self.assertEqual(answer(client.received).status, 502)
        self.proxy.elapse(60)
        self.assertEqual(len(self.proxy.connects), 1)
