"""Which version of HTTP an origin is spoken to in: what is offered, what it chooses, and what else
has a say; through proxies too."""

from __future__ import annotations

import json
from typing import Any

from OpenSSL import SSL

from fastcar_tw.forward.exchange import MAX_SHARED_HEAD
from fastcar_tw.testing import Peer, _context
from fastcar_tw.tls.machine import TLSMachine
from tests.routes.case import RoutesTestCase
from tests.site.support import probe_request

from .http2 import HTTP2TestCase, answers, dechunked, fields
from .support import GET, OK, answer, request, response

UPGRADE = b"Connection: Upgrade", b"Upgrade: websocket"


class ModeTests(HTTP2TestCase):
    """The option --http2."""

    def test_auto(self) -> None:
        """By default both are offered, and the origin chooses."""
        self.send(GET)
        self.assertEqual(self.h2.paths, [b"/"])
        self.start()
        self.proxy.http2 = False
        self.send(GET)
        self.assertEqual(self.origin.received, GET)

    def test_off(self) -> None:
        """If it is off even an origin that would like HTTP/2 is spoken to in HTTP/1.1."""
        self.start(http2="off")
        self.send(GET)
        self.assertEqual(self.origin.received, GET)
        self.assertEqual(self.origins, [])

    def test_always(self) -> None:
        """If it is required, an origin that speaks it is served."""
        self.start(http2="always")
        self.assert_alive()

    def test_always_refused(self) -> None:
        """One that does not is refused, and sent nothing."""
        self.start(http2="always")
        self.proxy.http2 = False
        self.send(GET)
        self.assert_error(self.client, 502, "tls_protocol_error")
        self.assertEqual(self.origin.received, b"")

    def test_always_without_an_answer(self) -> None:
        """So is one that does not know how to choose."""
        self.start(http2="always")
        self.proxy.accepting = False
        self.send(GET)
        self.proxy.connects[0].accept(alpn=())
        self.assert_error(self.client, 502, "tls_protocol_error")

    def test_always_and_http(self) -> None:
        """http origins are spoken to in HTTP/1.1 nevertheless."""
        self.start(http2="always")
        client = self.proxy.client()
        client.send(GET)
        self.origin.send(OK)
        self.assertEqual(client.take(), OK)

    def test_always_and_upgrades(self) -> None:
        """So are https origins for what HTTP/2 cannot carry."""
        self.start(http2="always")
        self.send(request(b"/chat", *UPGRADE))
        self.assertTrue(self.origin.received.startswith(b"GET /chat HTTP/1.1\r\n"))
        self.send(request(b"/", b"Authorization: Negotiate YII="), self.secure())
        self.assertTrue(self.origin.received.startswith(b"GET / HTTP/1.1\r\n"))


class ChoiceTests(HTTP2TestCase):
    """What an origin chooses is used, for as long as the connection lasts."""

    def test_no_choice(self) -> None:
        """An origin that does not know ALPN is spoken to in HTTP/1.1."""
        self.proxy.accepting = False
        self.send(GET)
        self.proxy.connects[0].accept(alpn=())
        self.assertEqual(self.origin.received, GET)

    def test_changed_its_mind(self) -> None:
        """A new connection may speak the other one; requests are served in either."""
        first = self.warm_up()
        first.go_away(1)
        self.proxy.http2 = False
        self.send(GET)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.origin.close()
        self.proxy.http2 = True
        self.assert_alive()

    def test_different_each_time(self) -> None:
        """Requests that wait are served by connections of both kinds."""
        self.proxy.accepting = False
        clients = self.get(150)
        first, second = self.proxy.connects[:2]
        first.accept(alpn=(b"http/1.1",))
        self.origin.send(OK)
        second.accept(alpn=(b"h2",))
        served = 0
        for _ in range(200):
            self.run_origins()
            if self.origins:
                served += self.h2.answer_now()
            for peer in self.proxy.origins:
                if peer.machine is not None and b"\r\n\r\n" in peer.received:
                    peer.take()
                    peer.send(OK)
        self.assertTrue(all(client.received for client in clients))

    def test_retried_in_the_other(self) -> None:
        """A request that is sent again may go over the other one."""
        first = self.warm_up()
        self.send(request(b"/again", b"X-A: b"))
        self.proxy.http2 = False
        first.peer.close()
        self.run_origins()
        self.assertEqual(self.origin.take(), request(b"/again", b"X-A: b"))
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)

    def test_retried_in_http2(self) -> None:
        """The other way about too."""
        self.proxy.http2 = False
        self.send(GET)
        self.origin.send(OK)
        self.client.take()
        first = self.origin
        self.send(request(b"/again", b"X-A: b"))
        self.proxy.http2 = True
        first.close()
        self.run_origins()
        self.assertEqual(fields(self.h2, 1)[b"x-a"], b"b")
        self.h2.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/again")

    def test_large_head(self) -> None:
        """A request with so many fields that an origin may end the connection over it goes over
        HTTP/1.1, and cannot end those of others."""
        self.send(request(b"/", b"X: " + b"x" * MAX_SHARED_HEAD))
        self.assertEqual(self.proxy.connects[-1].origin.http2, False)
        self.send(request(b"/", b"X: " + b"x" * (MAX_SHARED_HEAD - 100)), self.secure())
        self.assertEqual(self.proxy.connects[-1].origin.http2, True)

    def test_weak_cipher(self) -> None:
        """An origin that chooses HTTP/2 with a cipher suite that it prohibits is connected to
        again, without HTTP/2 (RFC 9113 section 9.2.2)."""
        self.proxy.accepting = False
        self.send(GET)
        self.proxy.connects[0].accept(weak())
        self.proxy.connects[1].accept()
        self.assertEqual(self.origin.received, GET)
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)

    def test_connecting_fails(self) -> None:
        """When an origin cannot be reached all who wait are told, after a single attempt."""
        self.proxy.accepting = False
        clients = self.get(5)
        self.proxy.connects[0].refuse()
        self.assertEqual(len(self.proxy.connects), 1)
        for client in clients:
            self.assert_error(client, 502, "connection_refused")


class ProbeTests(HTTP2TestCase):
    """Probes go over HTTP/2 like requests."""

    def report(self, path: bytes = b"/") -> dict[str, Any]:
        """Have a probe answered; what is told about it."""
        client = self.proxy.client()
        client.send(probe_request("https://a.test" + path.decode()))
        self.h2.answer_all()
        report: dict[str, Any] = json.loads(answer(client.take()).body)
        return report

    def test_report(self) -> None:
        """The report says so."""
        report = self.report(b"/x")
        self.assertEqual(self.h2.paths, [b"/x"])
        self.assertEqual((report["protocol"], report["status"]), ("HTTP/2", 200))
        self.assertEqual((report["bytes"], report["error"], report["reused"]), (2, None, False))

    def test_shared(self) -> None:
        """A probe takes a place on the connection that serves others."""
        clients = self.get(2)
        client = self.proxy.client()
        client.send(probe_request("https://a.test/probe"))
        self.assertEqual(self.h2.paths, [b"/0", b"/1", b"/probe"])
        self.h2.answer_all()
        self.assertTrue(json.loads(answer(client.take()).body)["reused"])
        self.assertEqual(answers(clients), [b"/0", b"/1"])

    def test_reset(self) -> None:
        """A probe that its origin resets tells why."""
        client = self.proxy.client()
        client.send(probe_request("https://a.test/"))
        self.h2.reset(1, 2)
        report = json.loads(answer(client.take()).body)
        self.assertEqual(report["error"]["type"], "connection_terminated")
        self.assertIn("INTERNAL_ERROR", report["error"]["text"])

    def test_refused(self) -> None:
        """One that is refused is sent again."""
        client = self.proxy.client()
        client.send(probe_request("https://a.test/"))
        self.h2.reset(1, 7)
        self.run_origins()
        self.h2.answer_all()
        self.assertEqual(json.loads(answer(client.take()).body)["status"], 200)

    def test_client_leaves(self) -> None:
        """When who has asked leaves, the stream is reset."""
        client = self.proxy.client()
        client.send(probe_request("https://a.test/"))
        self.run_origins()
        client.close()
        self.assertEqual(self.h2.resets(), [(1, 8)])
        self.assertEqual(self.counts(), (0, 1, 0))


class RoutesTests(RoutesTestCase, HTTP2TestCase):
    """HTTP/2 inside of tunnels through proxies, which are spoken to in HTTP/1.1 or SOCKS."""

    URLS = "http://p.test:3128", "https://p.test:3128", "socks5h://p.test:1080"

    def start(self, **options: Any) -> None:
        """Begin anew, with another `url` perhaps."""
        RoutesTestCase.start(self, **options)
        self.ready()

    def tunnelled(self, asked: bytes = GET, client: Peer | None = None) -> Peer:
        """Send a request, and let the proxy open a tunnel for it."""
        (client or self.client).send(asked)
        peer = self.open_tunnel()
        self.run_origins()
        return peer

    def test_inside(self) -> None:
        """The origin chooses HTTP/2 in the tunnel, and one tunnel serves many."""
        for url in self.URLS:
            self.start(url=url)
            self.tunnelled()
            clients = self.get(20)
            self.assertEqual(len(self.proxy.connects), 1)
            self.assertEqual(self.h2.answer_all(), 21)
            self.assertEqual(answers([self.client, *clients])[:2], [b"/", b"/0"])

    def test_resolved_here(self) -> None:
        """With a SOCKS proxy that is told addresses too."""
        self.start(url="socks5://p.test:1080")
        self.proxy.addresses["a.test"] = ["192.0.2.1"]
        self.tunnelled()
        self.h2.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/")

    def test_http1_inside(self) -> None:
        """An origin that does not speak it is spoken to in HTTP/1.1 there."""
        for url in self.URLS:
            self.start(url=url)
            self.proxy.http2 = False
            peer = self.tunnelled()
            self.assertEqual(peer.take(), GET)
            peer.send(OK)
            self.assertEqual(self.client.take(), OK)

    def test_proxy_is_not_offered_it(self) -> None:
        """A proxy behind TLS, even one that would like HTTP/2, is asked in HTTP/1.1."""
        self.start(url="https://p.test:3128")
        self.client.send(GET)
        self.assertTrue(self.origin.received.startswith(b"CONNECT a.test:443 HTTP/1.1\r\n"))

    def test_always(self) -> None:
        """If HTTP/2 is required, that is about the origin."""
        for url in self.URLS:
            self.start(url=url, http2="always")
            self.tunnelled()
            self.h2.answer_all()
            self.assertEqual(dechunked(self.client.take()), b"/")

    def test_http_origins(self) -> None:
        """http origins go to the proxy in HTTP/1.1."""
        client = self.proxy.client()
        client.send(GET)
        self.assertTrue(self.origin.received.startswith(b"GET http://a.test/ HTTP/1.1\r\n"))

    def test_upgrade(self) -> None:
        """An upgrade gets a tunnel of its own, in HTTP/1.1."""
        self.tunnelled()
        other = self.secure()
        peer = self.tunnelled(request(b"/chat", *UPGRADE), other)
        self.assertTrue(peer.take().startswith(b"GET /chat HTTP/1.1\r\n"))
        peer.send(response(b"101 Switching Protocols", *UPGRADE))
        self.assertEqual(answer(other.take()).status, 101)
        self.h2.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/")

    def test_go_away(self) -> None:
        """A request above a GOAWAY goes through a new tunnel."""
        self.tunnelled(request(method=b"POST", body=b"hello"))
        self.h2.go_away(0)
        self.open_tunnel()
        self.assertEqual(self.h2.content_of(1), b"hello")
        self.assertEqual(len(self.origins), 2)

    def test_early_settings(self) -> None:
        """An origin that says its SETTINGS with the end of the handshake is heard."""
        self.client.send(GET)
        peer = self.origin
        peer.take()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.start_tls()
        self.run_origins()
        self.h2.settings(max_concurrent_streams=1)
        clients = self.get(1)
        self.assertEqual(len(self.proxy.connects), 2)
        self.assertEqual(len(clients), 1)


def weak() -> TLSMachine:
    """
    An origin that chooses HTTP/2, but in TLS 1.2 with a suite that HTTP/2 prohibits.
    """
    context = _context.__wrapped__("a.test", (b"h2",))
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(b"ECDHE-ECDSA-AES128-SHA")
    return TLSMachine.server(context)
