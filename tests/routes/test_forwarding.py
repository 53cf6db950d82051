"""http origins behind an HTTP proxy: requests in absolute-form, on connections that all share."""

from __future__ import annotations

from twisted.internet import error

from fastcar_tw.http.target import Origin
from fastcar_tw.routes.proxy import parse_proxy
from fastcar_tw.testing import Peer
from tests.forward.support import GET, OK, POST, answer, logged, request, response
from tests.routes.case import RoutesTestCase

#: As `user:secret`, RFC 7617.
BASIC = b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"


class RequestTests(RoutesTestCase):
    """What a proxy is sent."""

    def test_absolute_form(self) -> None:
        """The target names the origin as the Host field does (RFC 9112 section 3.2.2)."""
        for host in (b"a.test", b"A.test:8080", b"[2001:db8::1]", b"192.0.2.1:80"):
            got, answered = self.exchange(request(b"/x?y", b"Accept: */*", host=host))
            self.assertEqual(
                got,
                b"GET http://%b/x?y HTTP/1.1\r\nHost: %b\r\nAccept: */*\r\n\r\n" % (host, host),
            )
            self.assertEqual(answered, OK)

    def test_from_absolute_form(self) -> None:
        """So does a target that was absolute before; an empty path is a slash."""
        asked = b"GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n"
        self.assertEqual(
            self.exchange(asked)[0], b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
        )

    def test_asterisk(self) -> None:
        """The server as a whole has no path: the last proxy writes the asterisk (RFC 9112 section
        3.2.4)."""
        for target in (b"*", b"http://a.test"):
            self.assertEqual(
                self.exchange(request(target, method=b"OPTIONS"))[0],
                b"OPTIONS http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
            )

    def test_body(self) -> None:
        """Bodies go as they do to origins."""
        self.assertTrue(self.exchange(POST)[0].endswith(b"Content-Length: 5\r\n\r\nhello"))

    def test_credentials(self) -> None:
        """Our credentials are sent with every request, in place of any that the client sent."""
        self.start(url="http://user:secret@p.test")
        theirs = request(b"/", b"Proxy-Authorization: Basic dGhlaXJz")
        for asked in (GET, theirs, theirs):
            self.assertEqual(
                self.exchange(asked)[0],
                b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + BASIC + b"\r\n",
            )

    def test_trace(self) -> None:
        """Who answers a TRACE repeats what it was sent: no credentials (RFC 9110 section 9.3.8)."""
        self.start(url="http://user:secret@p.test")
        got, _ = self.exchange(request(method=b"TRACE"))
        self.assertEqual(got, b"TRACE http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")

    def test_https_proxy(self) -> None:
        """TLS may lead to the proxy: inside it is the same."""
        self.start(url="https://user:secret@p.test")
        got, answered = self.exchange()
        self.assertTrue(got.startswith(b"GET http://a.test/ HTTP/1.1\r\n"))
        machine = self.origin.machine
        assert machine is not None
        self.assertEqual(machine.connection.get_servername(), b"p.test")
        self.assertEqual(answered, OK)

    def test_exception(self) -> None:
        """A host of --no-proxy is spoken to directly, in origin-form."""
        asked = request(host=b"direct.test")
        self.assertEqual(self.exchange(asked)[0], asked)


class SharingTests(RoutesTestCase):
    """One connection for all origins."""

    def test_two_origins(self) -> None:
        """A connection to the proxy serves whoever comes next."""
        for host in (b"a.test", b"b.test", b"a.test:8080"):
            got, answered = self.exchange(request(host=host))
            self.assertTrue(got.startswith(b"GET http://%b/ HTTP/1.1\r\n" % host))
            self.assertEqual(answered, OK)
        self.assertEqual(len(self.proxy.connects), 1)
        proxy = Origin("http", "", 0, True, parse_proxy(self.url))
        self.assertEqual(list(self.proxy.pool.stats().origins), [proxy])

    def test_tunnels_are_not_shared(self) -> None:
        """A connection to the proxy is no tunnel, and no tunnel such a connection."""
        self.exchange()
        client = self.proxy.tls_client()
        client.send(GET)
        self.assertEqual(len(self.proxy.connects), 2)
        self.origin.take()
        self.origin.send(b"HTTP/1.1 200 OK\r\n\r\n")
        self.origin.start_tls()
        self.assertEqual(self.origin.take(), GET)
        self.origin.send(OK)
        self.client.send(request(host=b"b.test"))
        self.assertTrue(self.proxy.origins[0].received.startswith(b"GET http://b.test/ "))

    def test_directly_reached_proxy(self) -> None:
        """The proxy as an origin of its own, reached directly, does not get its requests."""
        self.start(url="http://direct.test:80")
        self.exchange()
        got, _ = self.exchange(request(host=b"direct.test"))
        self.assertEqual(got, request(host=b"direct.test"))
        self.assertEqual(len(self.proxy.connects), 2)

    def test_retry(self) -> None:
        """What is sent again is the same, credentials included."""
        self.start(url="http://user:secret@p.test")
        self.exchange(request(host=b"b.test"))
        first = self.origin
        first.pause()
        self.client.send(GET)
        sent = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + BASIC + b"\r\n"
        lines = logged(first.close)
        self.assertEqual(self.origin.take(), sent)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.assertIn("GET http://a.test:80 through proxy http://p.test:1080: sent again", lines[0])

    def test_client_leaves_the_line(self) -> None:
        """Who does not wait any more gets nothing."""
        self.start(url=self.url, max_connections_per_origin=1)
        self.client.send(GET)
        other = self.proxy.client()
        other.send(request(host=b"b.test"))
        self.assertEqual(len(self.proxy.connects), 1)
        other.close()
        self.assertEqual(self.proxy.pool.stats().total.waiting, 0)
        self.origin.take()
        self.origin.send(OK)
        self.assertEqual(self.origin.received, b"")
        self.exchange(request(host=b"c.test"))


class UpgradeTests(RoutesTestCase):
    """A proxy need not pass an upgrade on: it gets a tunnel (RFC 9110 section 7.8)."""

    url = "http://user:secret@p.test"
    ASK = request(b"/chat", b"Connection: upgrade", b"Upgrade: websocket")
    SWITCH = response(b"101 Switching Protocols", b"Connection: upgrade", b"Upgrade: websocket")
    CONNECT = b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n" + BASIC + b"\r\n"

    def test_tunnel(self) -> None:
        """The origin gets the request as it came, without our credentials, and the connection is
        the client's."""
        for url in (self.url, "https://user:secret@p.test"):
            self.start(url=url)
            self.client.send(self.ASK)
            self.assertEqual(self.origin.received, self.CONNECT)
            origin = self.open_tunnel(tls=False)
            self.assertEqual(origin.take(), self.ASK)
            origin.send(self.SWITCH + b"hello")
            self.assertEqual(self.client.take(), self.SWITCH + b"hello")
            self.client.send(b"bytes")
            self.assertEqual(origin.take(), b"bytes")

    def test_refused(self) -> None:
        """A tunnel whose origin does not switch is kept for the next upgrade; all else still goes
        through the proxy."""
        self.client.send(self.ASK)
        origin = self.open_tunnel(tls=False)
        origin.take()
        origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.assertTrue(self.exchange()[0].startswith(b"GET http://a.test/ "))
        self.assertEqual(len(self.proxy.connects), 2)
        self.client.send(self.ASK)
        self.assertEqual(origin.take(), self.ASK)

    def test_authenticated_connection(self) -> None:
        """An authenticated connection to the proxy is no tunnel, and no tunnel such a
        connection."""
        sign_in = request(b"/", b"Authorization: NTLM x")
        self.exchange(sign_in)
        self.client.send(self.ASK)
        self.assertEqual(self.origin.received, self.CONNECT)
        tunnel = self.open_tunnel(tls=False)
        self.assertEqual(tunnel.take(), self.ASK)
        tunnel.send(OK)
        self.client.take()
        self.client.send(self.ASK.replace(b"\r\n\r\n", b"\r\nAuthorization: NTLM x\r\n\r\n"))
        tunnel.take()
        tunnel.send(OK)
        self.client.take()
        self.client.send(GET)
        self.assertEqual(tunnel.received, b"")


class ResponseTests(RoutesTestCase):
    """What a proxy says."""

    FIELDS = (b"Proxy-Authenticate: Basic realm=x", b"Proxy-Authentication-Info: nextnonce=y")

    def test_fields_for_us(self) -> None:
        """What it says to its own client, which is fastcar, goes no further (RFC 9110 sections
        11.7.1 and 11.7.3): not in interim responses, heads and trailers."""
        rest = b"X: y", b"WWW-Authenticate: Basic"
        interim, final = b"103 Hints", b"401 Who"
        chunked = (*rest, b"Transfer-Encoding: chunked")
        trailers = (
            b"0\r\n" + b"".join(b"%b\r\n" % line for line in (*self.FIELDS, rest[0])) + b"\r\n"
        )
        said = response(interim, *self.FIELDS, *rest)
        said += response(final, *self.FIELDS, *chunked, body=trailers)
        expected = response(interim, *rest)
        expected += response(final, *chunked, body=b"0\r\nX: y\r\n\r\n")
        self.assertEqual(self.exchange(answered=said)[1], expected)

    def test_fields_of_an_origin(self) -> None:
        """Where there is no proxy they pass, as any other field does."""
        said = response(b"200 OK", *self.FIELDS, b"Content-Length: 0")
        asked = request(host=b"direct.test")
        self.assertEqual(self.exchange(asked, said)[1], said)


class AuthenticatedConnectionTests(RoutesTestCase):
    """NTLM and its kin through a shared proxy."""

    AUTH = request(b"/", b"Authorization: NTLM TlRMTVNTUAAB")
    CHALLENGE = response(b"401 Who", b"WWW-Authenticate: NTLM TlRMTVNTUAAC", b"Content-Length: 0")

    def authenticate(self) -> Peer:
        """Go half the way."""
        self.exchange(self.AUTH, self.CHALLENGE)
        return self.origin

    def test_same_origin(self) -> None:
        """The connection stays with its client for that origin."""
        first = self.authenticate()
        self.exchange(self.AUTH)
        self.assertEqual(self.proxy.origins, [first])

    def test_other_origin(self) -> None:
        """It is authenticated to one origin: a request of the same client to another one goes
        elsewhere, though to the same proxy."""
        first = self.authenticate()
        self.exchange(request(host=b"b.test"))
        self.assertEqual(len(self.proxy.origins), 2)
        self.assertEqual(first.received, b"")

    def test_other_client(self) -> None:
        """Nobody else gets it."""
        first = self.authenticate()
        other = self.proxy.client()
        other.send(GET)
        self.assertEqual(len(self.proxy.origins), 2)
        self.assertEqual(first.received, b"")


class FailureTests(RoutesTestCase):
    """What goes wrong with the proxy."""

    url = "http://user:secret@p.test:3128"

    def failed(self, lines: list[str], status: int = 502) -> str:
        """Type and text that the client was answered with; the log names origin and proxy, and
        nothing is told of the credentials."""
        got = answer(self.client.take())
        self.assertEqual(got.status, status)
        told = " ".join(lines)
        self.assertIn("GET http://a.test:80 through proxy http://p.test:3128: ", told)
        for secret in ("user", "secret", "dXNlcjpzZWNyZXQ="):
            self.assertNotIn(secret, told + repr(got))
        kind = got.fields[b"proxy-status"].decode().removeprefix("fastcar; error=")
        return f"{kind}: {got.body.decode().removeprefix('fastcar: ').rstrip()}"

    def test_407(self) -> None:
        """A proxy that does not let us through is no answer to the client, whom it does not
        concern, and its connection is not used any more."""
        for url, words in (
            ("http://p.test:3128", "wants credentials (407)"),
            (self.url, "does not accept the credentials (407)"),
        ):
            for body in (b"", b"secret"):
                self.start(url=url, verbose=True)
                self.client.send(GET)
                length = b"Content-Length: %d" % len(body)
                refusal = response(b"407 Auth", b"Proxy-Authenticate: Basic", length, body=body)
                lines = logged(lambda refusal=refusal: self.origin.send(refusal))  # type: ignore[misc]
                self.assertEqual(
                    self.failed(lines),
                    "proxy_configuration_error: http://a.test:80 through proxy "
                    f"http://p.test:3128: the proxy {words}",
                )
                self.assertTrue(self.origin.closed)
                self.alive()

    def test_407_for_a_pipelined_request(self) -> None:
        """Each of several requests gets its own answer."""
        self.client.send(GET + GET)
        self.origin.send(response(b"407 Auth", b"Content-Length: 0"))
        self.assertEqual(answer(self.client.take()).status, 502)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)

    def test_407_of_an_origin(self) -> None:
        """Where no proxy has been asked, 407 is as good as any status."""
        refusal = response(b"407 Auth", b"Content-Length: 0")
        asked = request(host=b"direct.test")
        self.assertEqual(self.exchange(asked, refusal)[1], refusal)

    def test_other_refusals(self) -> None:
        """Any other status may be the origin's."""
        for status in (b"403 No", b"502 Bad Gateway", b"504 Gateway Timeout"):
            refusal = response(status, b"Content-Length: 0")
            self.assertEqual(self.exchange(answered=refusal)[1], refusal)

    def test_unreachable(self) -> None:
        """It is the proxy that there is no connection to."""
        self.start(url=self.url)
        self.proxy.accepting = False
        self.client.send(GET)
        lines = logged(lambda: self.proxy.connects[0].refuse(error.ConnectionRefusedError()))
        self.assertEqual(
            self.failed(lines), "connection_refused: proxy http://p.test:3128: connection refused"
        )

    def test_no_response(self) -> None:
        """It is the proxy that closes the connection."""
        self.client.send(GET)
        lines = logged(self.origin.close)
        self.assertEqual(
            self.failed(lines),
            "connection_terminated: proxy http://p.test:3128 closed the connection before its "
            "response",
        )

    def test_invalid_response(self) -> None:
        """It is the proxy that breaks the rules."""
        self.client.send(GET)
        lines = logged(lambda: self.origin.send(b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n"))
        self.assertIn(
            "http_protocol_error: proxy http://p.test:3128 sent an invalid response: ",
            self.failed(lines),
        )

    def test_timeout(self) -> None:
        """A response that does not come is missed from the origin."""
        self.client.send(GET)
        lines = logged(lambda: self.proxy.elapse(62))
        self.assertEqual(
            self.failed(lines, 504),
            "http_response_timeout: http://a.test:80 through proxy http://p.test:3128: "
            "no response in time",
        )

    def test_bug(self) -> None:
        """The log of a bug holds no credentials either."""
        self.start(url=self.url)
        self.proxy.accepting = False
        self.client.send(GET)
        lines = logged(
            lambda: self.proxy.connects[0].refuse(ZeroDivisionError()),
            "fastcar_tw.upstream.failures",
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("while connecting to proxy http://p.test:3128", lines[0])
        self.assertNotIn("secret", lines[0])
        self.assertEqual(answer(self.client.take()).status, 500)
