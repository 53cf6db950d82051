"""Connections through tunnels, from the request to the origin and back, in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from fastcar_tw.names.resolver import Address
from fastcar_tw.routes.proxy import parse_proxy
from fastcar_tw.routes.tunnel import ResolvedTunnelEndpoint
from fastcar_tw.testing import NestedTLS, Peer
from fastcar_tw.tls.machine import TLSMachine
from tests.forward.support import GET, OK, POST, answer, logged, request, response
from tests.routes.case import ESTABLISHED, NO_AUTH, SUCCEEDED, RoutesTestCase, asked
from tests.tls.support import SelfSigned

CONNECT_A = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n"
#: As `user:secret`, RFC 7617.
BASIC = b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"
UNASKED = (
    "http_protocol_error: https://a.test:443 through proxy {}: "
    "the proxy sent bytes before it was asked"
)
#: None of these may show anywhere.
SECRETS = ("user", "secret", "dXNlcjpzZWNyZXQ=")

BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000


class TunnelTestCase(RoutesTestCase):
    """With a client that asks for https."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.proxy.tls_client()
        self.events: list[LogEvent] = []
        keep: Any = self.events.append
        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)

    def restart(self, url: str, **options: object) -> None:
        """Begin anew with another proxy."""
        self.start(url=url, **options)
        self.client = self.proxy.tls_client()

    def served(self) -> Peer:
        """The origin, which has answered the request sent before."""
        origin = self.open_tunnel()
        origin.take()
        origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        return origin

    def failed(self, status: int = 502) -> str:
        """The text that the client was answered with; nothing secret is in it, nor in the log."""
        got = answer(self.client.take())
        self.assertEqual(got.status, status)
        told = " ".join([repr(got), *map(formatEvent, self.events)])
        self.assertIn("GET https://a.test:443 through proxy ", told)
        for secret in SECRETS:
            self.assertNotIn(secret, told)
        kind = got.fields[b"proxy-status"].decode().removeprefix("fastcar; error=")
        text = got.body.decode().removeprefix("fastcar: ").rstrip()
        return f"{kind}: {text}"


class ConnectTests(TunnelTestCase):
    """Through an HTTP proxy."""

    def test_exchange(self) -> None:
        """An https origin is spoken to through a tunnel, in TLS of its own."""
        self.client.send(GET)
        self.assertEqual(self.origin.received, CONNECT_A + b"\r\n")
        origin = self.open_tunnel()
        self.assertEqual(origin.take(), GET)
        origin.send(OK)
        self.assertEqual(self.client.take(), OK)

    def test_reuse(self) -> None:
        """A tunnel is pooled under its origin: the next request takes it, that of another origin
        does not."""
        self.client.send(GET)
        self.served()
        self.exchange(POST)
        self.assertEqual(len(self.proxy.connects), 1)
        self.client.send(request(host=b"b.test"))
        self.assertEqual(len(self.proxy.connects), 2)
        self.assertTrue(self.origin.received.startswith(b"CONNECT b.test:443 "))

    def test_nothing_remains(self) -> None:
        """When the tunnel is open nothing but TLS stands between transport and connection."""
        self.client.send(GET)
        origin = self.open_tunnel()
        self.assertEqual(type(origin.transport.protocol).__name__, "TLSClientLayer")

    def test_credentials(self) -> None:
        """They are sent to the proxy, and not through the tunnel."""
        self.restart("http://user:secret@p.test")
        self.client.send(GET)
        self.assertEqual(self.origin.received, CONNECT_A + BASIC + b"\r\n")
        self.assertEqual(self.open_tunnel().take(), GET)

    def test_bytes_behind_the_answer(self) -> None:
        """Servers do not begin: what comes from the tunnel with the proxy's answer, were it TLS,
        ends it."""
        for early in (b"SSH-2.0-x\r\n", b"\x16"):
            self.restart("http://p.test")
            self.client.send(GET)
            self.origin.take()
            self.origin.send(ESTABLISHED + early)
            self.assertEqual(self.failed(), UNASKED.format("http://p.test:1080"))
            self.assertTrue(self.origin.closed)
            self.assertEqual(self.origin.take(), b"")

    def test_bytewise(self) -> None:
        """The proxy's answer may come in any pieces."""
        self.client.send(GET)
        for index in range(len(ESTABLISHED)):
            self.origin.send(ESTABLISHED[index : index + 1])
        self.origin.take()
        self.origin.start_tls()
        self.origin.take()

    def test_refused(self) -> None:
        """What the proxy says is told, without anything that is secret."""
        cases = (
            (b"403 No", 502, "http_request_denied", "answered CONNECT with status 403"),
            (b"502 No", 502, "destination_unavailable", "answered CONNECT with status 502"),
            (b"504 No", 504, "connection_timeout", "answered CONNECT with status 504"),
            (b"407 No", 502, "proxy_configuration_error", "does not accept the credentials (407)"),
        )
        for status, told, kind, words in cases:
            self.restart("http://user:secret@p.test:3128", verbose=True)
            self.client.send(GET)
            lines = logged(
                lambda status=status: self.origin.send(  # type: ignore[misc]
                    b"HTTP/1.1 " + status + b"\r\nContent-Length: 100\r\nX: secret\r\n\r\nsecret"
                )
            )
            where = "https://a.test:443 through proxy http://p.test:3128"
            self.assertEqual(self.failed(told), f"{kind}: {where}: the proxy {words}")
            self.assertIn(f"GET {where}: {kind} ({told})", " ".join(lines))
            self.assertTrue(self.origin.closed)

    def test_407_of_the_origin(self) -> None:
        """Inside the tunnel 407 is the origin's, and passes with all its fields."""
        self.client.send(GET)
        refusal = response(
            b"407 Auth",
            b"Proxy-Authenticate: Basic realm=x",
            b"Proxy-Authentication-Info: x",
            b"Content-Length: 0",
        )
        origin = self.open_tunnel()
        origin.take()
        origin.send(refusal)
        self.assertEqual(self.client.take(), refusal)
        self.exchange()
        self.assertEqual(len(self.proxy.connects), 1)

    def test_proxy_closes(self) -> None:
        """A proxy that goes away without an answer is named as the one who did."""
        for act in (Peer.close, Peer.end):
            self.restart("http://p.test:3128")
            self.client.send(GET)
            self.origin.send(b"HTTP/1.1 2")
            act(self.origin)
            self.assertEqual(
                self.failed(),
                "connection_terminated: https://a.test:443 through proxy http://p.test:3128: "
                "the proxy closed the connection instead of opening a tunnel",
            )

    def test_proxy_unreachable(self) -> None:
        """When there is no connection to the proxy, it is said whom it was to."""
        for reason, expected in (
            (error.ConnectionRefusedError(), "connection_refused: {}: connection refused"),
            (
                error.DNSLookupError("p.test: why"),
                "dns_error: {}: name look-up failed (p.test: why)",
            ),
            (error.NoRouteError(), "destination_ip_unroutable: {}: no route to the address"),
        ):
            self.restart("http://p.test:3128")
            self.proxy.accepting = False
            self.client.send(GET)
            self.proxy.connects[-1].refuse(reason)
            where = "https://a.test:443 through proxy http://p.test:3128"
            self.assertEqual(self.failed(), expected.format(f"{where}: no connection to the proxy"))

    def test_wrong_certificate_of_the_origin(self) -> None:
        """The origin has to prove who it is, through a tunnel too."""
        self.client.send(GET)
        self.origin.take()
        self.origin.send(ESTABLISHED)
        self.origin.start_tls(TLSMachine.server(SelfSigned("a.test").context()))
        self.assertEqual(
            self.failed(),
            "tls_certificate_error: https://a.test:443 through proxy http://p.test:3128: "
            "certificate verify failed: self-signed certificate",
        )
        self.assertEqual(self.origin.received, b"")

    def test_timeout(self) -> None:
        """A proxy that does not answer takes too long."""
        self.client.send(GET)
        self.proxy.elapse(11)
        where = "https://a.test:443 through proxy http://p.test:3128"
        self.assertEqual(self.failed(504), f"connection_timeout: {where}: connecting took too long")
        self.assertTrue(self.origin.aborted)

    def test_timeout_before_the_proxy(self) -> None:
        """So does one that there is no connection to yet: the attempt is given up, through one
        layer of TLS and through two."""
        for url in ("http://p.test", "https://p.test", "socks5h://p.test"):
            self.restart(url)
            self.proxy.accepting = False
            self.client.send(GET)
            self.assertFalse(self.proxy.connects[-1].cancelled)
            self.proxy.elapse(11)
            self.assertTrue(self.proxy.connects[-1].cancelled)
            self.assertIn("connection_timeout: ", self.failed(504))

    def test_stopping(self) -> None:
        """A tunnel that is being opened is given up when fastcar stops, and that is said."""
        self.client.send(GET)
        self.proxy.pool.abort()
        self.proxy.reactor.settle()
        where = "https://a.test:443 through proxy http://p.test:3128"
        self.assertEqual(self.failed(503), f"destination_unavailable: {where}: fastcar is stopping")
        self.assertTrue(self.origin.aborted)

    def test_answer_after_the_end(self) -> None:
        """What a proxy says after it was given up is not heard."""
        self.client.send(GET)
        peer = self.origin
        self.proxy.pool.abort()
        peer.transport.protocol.dataReceived(ESTABLISHED)
        peer.transport.protocol.connectionLost(None)
        self.assertEqual(len(self.proxy.origins), 1)

    def test_exception(self) -> None:
        """A host of --no-proxy is reached directly."""
        client = self.proxy.tls_client("direct.test")
        client.send(request(host=b"direct.test"))
        self.assertEqual(self.origin.take(), request(host=b"direct.test"))


class TLSInTLSTests(TunnelTestCase):
    """Through an HTTP proxy that is spoken to in TLS: two layers, one on top of the other."""

    url = "https://user:secret@p.test"

    def setUp(self) -> None:
        super().setUp()
        self.client.send(GET)

    def test_exchange(self) -> None:
        """The proxy's TLS carries the tunnel, the origin's is inside it."""
        machine = self.origin.machine
        assert machine is not None
        self.assertEqual(machine.connection.get_servername(), b"p.test")
        self.assertEqual(machine.connection.get_alpn_proto_negotiated(), b"http/1.1")
        self.assertEqual(self.origin.received, CONNECT_A + BASIC + b"\r\n")
        origin = self.open_tunnel()
        self.assertIsInstance(origin.machine, NestedTLS)
        assert origin.machine is not None
        self.assertEqual(origin.machine.connection.get_servername(), b"a.test")
        self.assertEqual(origin.take(), GET)
        origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.exchange(POST)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_large(self) -> None:
        """Bodies of many records pass both ways."""
        origin = self.open_tunnel()
        origin.take()
        origin.send(BIG)
        self.assertEqual(self.client.take(), BIG)
        body = b"y" * 300000
        self.client.send(request(method=b"PUT", body=body))
        self.assertTrue(origin.take().endswith(b"\r\n\r\n" + body))

    def test_back_pressure(self) -> None:
        """An origin that does not read stops the client from being read."""
        self.restart(self.url)
        self.proxy.capacity = 8192
        self.client.send(GET)
        origin = self.served()
        origin.pause()
        body = b"y" * 3000000
        self.client.send(request(method=b"PUT", body=body))
        self.assertTrue(self.client.transport.paused)
        self.assertTrue(self.client.unsent)
        origin.resume()
        self.assertFalse(self.client.transport.paused)
        self.assertTrue(origin.take().endswith(b"\r\n\r\n" + body))

    def test_slow_client(self) -> None:
        """A client that does not read stops the origin from being read."""
        origin = self.served()
        slow = self.proxy.tls_client(capacity=8192)
        slow.send(GET)
        slow.pause()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3000000)
        self.assertTrue(origin.transport.paused)
        slow.resume()
        self.assertTrue(slow.take().endswith(b"x" * 3000000))

    def test_close(self) -> None:
        """An idle connection is closed with both goodbyes."""
        origin = self.served()
        self.proxy.elapse(125)
        self.assertTrue(origin.closed)
        self.assertTrue(origin.ended_cleanly)

    def test_origin_says_goodbye(self) -> None:
        """A response that ends with the connection is complete with the origin's close_notify."""
        origin = self.open_tunnel()
        origin.take()
        origin.send(b"HTTP/1.1 200 OK\r\n\r\nhi")
        origin.end()
        self.assertTrue(self.client.take().endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))

    def test_proxy_cuts_off(self) -> None:
        """Without it, it is not: the proxy's own goodbye says nothing about the origin."""
        origin = self.open_tunnel()
        origin.take()
        origin.send(b"HTTP/1.1 200 OK\r\n\r\nhi")
        machine = origin.machine
        assert isinstance(machine, NestedTLS)
        origin.send_raw(machine.outer.shutdown())
        origin.end(notify=False)
        self.assertFalse(self.client.take().endswith(b"0\r\n\r\n"))
        self.assertTrue(self.client.aborted)

    def test_is_stale(self) -> None:
        """A POST is not sent on a connection that the far end has closed unnoticed."""
        origin = self.served()
        connection = origin.transport.protocol.protocol.protocol
        self.assertFalse(connection.is_stale())
        origin._socket.close()
        self.assertTrue(connection.is_stale())

    def test_wrong_certificate_of_the_proxy(self) -> None:
        """The proxy has to prove who it is before it is told anything."""
        self.restart(self.url)
        self.proxy.accepting = False
        self.client.send(GET)
        peer = self.proxy.connects[-1].accept(TLSMachine.server(SelfSigned("p.test").context()))
        self.assertEqual(
            self.failed(),
            "tls_certificate_error: https://a.test:443 through proxy https://p.test:443: "
            "no connection to the proxy: certificate verify failed: self-signed certificate",
        )
        self.assertEqual(peer.received, b"")


class SOCKS5Tests(TunnelTestCase):
    """Through a SOCKS5 proxy."""

    url = "socks5h://p.test"

    def test_names(self) -> None:
        """With socks5h the proxy is told names."""
        self.client.send(GET)
        peer = self.origin
        self.assertEqual(peer.take(), b"\x05\x01\x00")
        peer.send(NO_AUTH)
        self.assertEqual(peer.take(), asked("a.test", 443))
        peer.send(SUCCEEDED)
        peer.start_tls()
        self.assertEqual(peer.take(), GET)
        peer.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.exchange(POST)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_http(self) -> None:
        """An http origin gets a tunnel too, and the request as it came; the tunnel is its own."""
        client = self.client = self.proxy.client()
        client.send(GET)
        origin = self.open_tunnel(tls=False)
        self.assertEqual(type(origin.transport.protocol).__name__, "UpstreamConnection")
        self.assertEqual(origin.take(), GET)
        origin.send(OK)
        self.assertEqual(client.take(), OK)
        self.exchange()
        client.send(request(host=b"b.test"))
        self.assertEqual(len(self.proxy.connects), 2)

    def test_bytes_behind_the_answer(self) -> None:
        """A response that was there before the request answers none."""
        client = self.proxy.client()
        for early in (OK, b"H"):
            client.send(POST)
            self.origin.send(NO_AUTH)
            self.origin.take()
            self.origin.send(SUCCEEDED + early)
            got = answer(client.take())
            self.assertEqual(got.status, 502)
            self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=http_protocol_error")
            self.assertEqual((self.origin.take(), self.origin.closed), (b"", True))

    def test_password(self) -> None:
        """Credentials are sent when wanted, and told to nobody else."""
        self.restart("socks5h://user:secret@p.test", verbose=True)
        self.client.send(GET)
        self.assertEqual(self.origin.take(), b"\x05\x02\x00\x02")
        self.origin.send(b"\x05\x02")
        self.assertEqual(self.origin.take(), b"\x01\x04user\x06secret")
        self.origin.send(b"\x01\x01")
        self.assertEqual(
            self.failed(),
            "proxy_configuration_error: https://a.test:443 through proxy socks5h://p.test:1080: "
            "the proxy does not accept the credentials",
        )

    def test_refused(self) -> None:
        """What the proxy says is told."""
        self.client.send(GET)
        self.origin.send(NO_AUTH)
        self.origin.send(b"\x05\x05")
        self.assertEqual(
            self.failed(),
            "connection_refused: https://a.test:443 through proxy socks5h://p.test:1080: "
            "the proxy reports: connection refused",
        )
        self.assertEqual(len(self.proxy.connects), 1)


class ResolvedTests(TunnelTestCase):
    """Through a SOCKS5 proxy that is told addresses."""

    url = "socks5://p.test"

    def ask(self, *addresses: str) -> None:
        """Send a request whose origin has these addresses."""
        self.proxy.addresses["a.test"] = list(addresses)
        self.client.send(GET)

    def reply(self, reply: bytes) -> bytes:
        """Answer what the proxy was asked last, and return what that was."""
        peer = self.origin
        peer.take()
        peer.send(NO_AUTH)
        got = peer.take()
        peer.send(reply)
        return got

    def test_address(self) -> None:
        """The name is looked up here."""
        self.ask("192.0.2.1", "192.0.2.2")
        self.assertEqual(self.reply(SUCCEEDED), asked("192.0.2.1", 443))
        self.origin.start_tls()
        self.assertEqual(self.origin.take(), GET)

    def test_next_address(self) -> None:
        """The next address is tried when the proxy cannot reach one, on a connection of its own."""
        self.ask("192.0.2.1", "192.0.2.2")
        self.assertEqual(self.reply(b"\x05\x04"), asked("192.0.2.1", 443))
        self.assertEqual(len(self.proxy.connects), 2)
        self.assertTrue(self.proxy.origins[0].closed)
        self.assertEqual(self.reply(SUCCEEDED), asked("192.0.2.2", 443))

    def test_no_address_left(self) -> None:
        """Of several failures the first is told."""
        self.ask("192.0.2.1", "192.0.2.2")
        self.reply(b"\x05\x05")
        self.reply(b"\x05\x04")
        self.assertIn("connection_refused: ", self.failed())

    def test_at_most_four(self) -> None:
        """A name with many addresses does not keep the proxy busy."""
        self.ask(*(f"192.0.2.{number}" for number in range(9)))
        for _ in range(4):
            self.reply(b"\x05\x04")
        self.assertEqual(len(self.proxy.connects), 4)
        self.failed()

    def test_both_families(self) -> None:
        """Both families are among those few, whichever the resolver prefers."""
        hosts = [f"2001:db8::{number}" for number in range(1, 6)]
        addresses: list[Address] = [IPv6Address("TCP", host, 443) for host in hosts]
        addresses.append(IPv4Address("TCP", "192.0.2.1", 443))
        self.patch(self.proxy, "resolve", lambda host, port: succeed(addresses))
        self.client.send(GET)
        for host in (hosts[0], "192.0.2.1", hosts[1], hosts[2]):
            self.assertEqual(self.reply(b"\x05\x08"), asked(host, 443))
        self.assertIn("does not support this type of address", self.failed())

    def test_timeout_of_an_address(self) -> None:
        """That the proxy got no answer from the address is 504."""
        self.ask("192.0.2.1")
        self.reply(b"\x05\x06")
        self.assertIn("connection_timeout: ", self.failed(504))

    def test_other_refusals(self) -> None:
        """What is not about the address is not asked again."""
        self.ask("192.0.2.1", "192.0.2.2")
        self.reply(b"\x05\x07")
        self.assertIn("does not support CONNECT", self.failed())
        self.assertEqual(len(self.proxy.connects), 1)

    def test_unknown_name(self) -> None:
        """A name without addresses is not asked for."""
        self.ask()
        self.assertEqual(
            self.failed(),
            "dns_error: https://a.test:443 through proxy socks5://p.test:1080: "
            "name look-up failed (a.test)",
        )
        self.assertEqual(self.proxy.connects, [])

    def test_literal(self) -> None:
        """An address is not looked up."""
        client = self.proxy.client()
        client.send(request(host=b"[2001:db8::1]:8080"))
        self.assertEqual(self.reply(SUCCEEDED), asked("2001:db8::1", 8080))
        self.assertEqual(self.origin.take(), request(host=b"[2001:db8::1]:8080"))

    def test_given_up_during_the_look_up(self) -> None:
        """The look-up is given up too, and nothing is connected."""
        looking: Deferred[list[Address]] = Deferred()
        proxy = parse_proxy(self.url)
        endpoint = ResolvedTunnelEndpoint(
            TCP4ClientEndpoint(self.proxy.reactor, "p.test", 1080),
            proxy,
            "a.test",
            443,
            lambda host, port: looking,
        )
        connecting = endpoint.connect(Factory())
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertTrue(looking.called)

    def test_timeout(self) -> None:
        """All attempts together have the time of one."""
        self.ask("192.0.2.1", "192.0.2.2")
        self.proxy.elapse(6)
        self.reply(b"\x05\x04")
        self.proxy.elapse(5)
        self.assertIn("connecting took too long", self.failed(504))
        self.assertTrue(self.origin.aborted)
