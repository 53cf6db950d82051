"""Which origins requests are for, and whether HTTP/2 is offered to them."""

from __future__ import annotations

from fastcar_tw.config import Config
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.forward import forwarder
from fastcar_tw.forward.forwarder import Forwarder
from fastcar_tw.http.target import Origin
from fastcar_tw.routes.selection import Routes
from fastcar_tw.testing import MemoryProxy

from .support import GET, ProxyTestCase, answer
from .test_connection_auth import CHALLENGE, TYPE_1, TYPE_3

#: Where clients come from whose requests are in a tunnel, without and with TLS inside.
PLAIN = Entrance("memory").inside_tunnel("connect", "10.0.0.1", 443)
INSIDE_TLS = PLAIN.inside_tls("TLSv1.3", "a.test")
SECURE = Entrance("memory", secure=True).inside_tunnel("connect", "a.test", 443)


class HTTP2Tests(ProxyTestCase):
    """To whom HTTP/2 is offered."""

    @property
    def forwarder(self) -> Forwarder:
        """What knows."""
        return self.proxy.forwarder

    def https_origins(self) -> list[Origin]:
        """Some, by all the ways that requests come."""
        return [
            self.forwarder.origin("https", b"a.test"),
            self.forwarder.tunnel_origin(SECURE),
            self.forwarder.tunnel_origin(INSIDE_TLS),
        ]

    def offered(self, *origins: Origin) -> list[bool]:
        """Whether it is to these."""
        return [origin.http2 for origin in origins]

    def test_https(self) -> None:
        """To https origins, unless it is off; to no others."""
        for mode, offered in (("auto", True), ("always", True), ("off", False)):
            self.start(http2=mode)
            self.assertEqual(self.offered(*self.https_origins()), [offered] * 3)
            others = [
                self.forwarder.origin("http", b"a.test"),
                self.forwarder.tunnel_origin(PLAIN),
                self.forwarder.relayed_origin("a.test", 22),
            ]
            self.assertEqual(self.offered(*others), [False] * 3)

    def test_proxies(self) -> None:
        """Through a proxy too; connections to one that http origins share are HTTP/1.1."""
        self.proxy = MemoryProxy(Config(http2="auto"), Routes("https://p.test:3128", "", {}))
        self.addCleanup(self.proxy.close)
        [https, http] = [self.forwarder.origin(each, b"a.test") for each in ("https", "http")]
        self.assertEqual(self.offered(https, https.next_hop), [True, True])
        self.assertEqual(self.offered(http, http.next_hop), [False, False])

    def test_http1_only(self) -> None:
        """An origin that wants HTTP/1.1 is not offered it again, whichever way requests come;
        others are."""
        self.start(http2="auto")
        origins = self.https_origins()
        for origin in (origins[0], origins[2], origins[2]):
            self.forwarder.http1_only(origin)
        self.assertEqual(self.https_origins(), [origin.over_http1 for origin in origins])
        self.assertTrue(self.forwarder.origin("https", b"b.test").http2)
        self.assertTrue(self.forwarder.origin("https", b"a.test:8443").http2)

    def test_http1_only_by_either_key(self) -> None:
        """It is the same origin if it has been asked over HTTP/1.1 meanwhile."""
        self.start(http2="auto")
        self.forwarder.http1_only(self.forwarder.origin("https", b"a.test").over_http1)
        self.assertFalse(self.forwarder.origin("https", b"a.test").http2)

    def test_http1_only_is_bounded(self) -> None:
        """However many want that, no more are remembered than origins are."""
        self.patch(forwarder, "MAX_KNOWN_ORIGINS", 3)
        self.start(http2="auto")
        for number in range(5):
            origin = self.forwarder.origin("https", b"%d.test" % number)
            self.assertTrue(origin.http2)
            self.forwarder.http1_only(origin)
            self.assertFalse(self.forwarder.origin("https", b"%d.test" % number).http2)
            self.assertLessEqual(len(self.forwarder._http1_only), 3)

    def test_only_http2(self) -> None:
        """Where there has to be HTTP/2, an origin without it is answered for with 502, and is sent
        nothing."""
        self.start(http2="always")
        self.client = self.proxy.client(secure=True)
        self.client.send(GET)
        got = answer(self.client.take())
        self.assertEqual(got.status, 502)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=tls_protocol_error")
        text = b"fastcar: https://a.test:443: the origin does not speak HTTP/2\n"
        self.assertEqual((got.body, self.origin.received), (text, b""))

    def test_prewarmed(self) -> None:
        """Connections that are kept ready for an origin are those its requests take."""
        self.start(http2="auto")
        key = self.forwarder.origin("https", b"a.test").next_hop
        self.proxy.pool.prewarm({key: 1})
        self.proxy.reactor.settle()
        self.client = self.proxy.client(secure=True)
        self.assertEqual(self.exchange()[0], GET)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_authenticated_connection(self) -> None:
        """A client has its authenticated connection, which is HTTP/1.1, also for requests that
        could be made in HTTP/2."""
        self.start(http2="auto")
        self.client = self.proxy.client(secure=True)
        self.exchange(TYPE_1, CHALLENGE)
        for asked in (TYPE_3, GET, TYPE_3, GET):
            self.assertEqual(self.exchange(asked)[0], asked)
        self.assertEqual(len(self.proxy.connects), 1)


class ViaTests(ProxyTestCase):
    """RFC 9110 section 7.6.3."""

    def test_versions(self) -> None:
        """A message's Via tells the version of HTTP in which it was received."""
        self.start(via="fastcar")
        self.assertEqual(
            self.proxy.forwarder.via,
            {
                10: b"Via: 1.0 fastcar\r\n",
                11: b"Via: 1.1 fastcar\r\n",
                20: b"Via: 2.0 fastcar\r\n",
            },
        )
        self.start()
        self.assertEqual(set(self.proxy.forwarder.via.values()), {b""})
