"""TLS on top of any endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fastcar_tw.config import Config
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.routes.selection import Routes
from fastcar_tw.testing import MemoryProxy, MemoryReactor, Peer
from fastcar_tw.tls.machine import TLSError, TLSMachine
from fastcar_tw.tls.trust import Trust
from fastcar_tw.upstream.endpoints import (
    InadequateSecurityError,
    OriginEndpoints,
    TLSClientEndpoint,
    TLSClientLayer,
)
from fastcar_tw.upstream.failures import connect_error
from tests.tls.support import SelfSigned, shake
from tests.transport.harness import HalfCloseRecorder

GREETING = b"220 ready\r\n"
HTTP2, HTTP1 = b"h2", b"http/1.1"
#: In TLS 1.2: a cipher suite that HTTP/2 prohibits, and one that it demands.
PROHIBITED = b"ECDHE-ECDSA-AES128-SHA"
PERMITTED = b"ECDHE-ECDSA-AES128-GCM-SHA256"


class HastyServer(TLSMachine):
    """A server that says something together with the last of its handshake."""

    __slots__ = ("_said",)

    def outgoing(self) -> bytes:
        """What TLS has to say, and once what it has to say itself."""
        data = super().outgoing()
        if self.ready and not hasattr(self, "_said"):
            self._said = True
            data += self.send(GREETING)
        return data


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """
    Leads to servers in memory, each of which takes one connection.

    @ivar peers: those that have been connected.
    """

    def __init__(self, *machines: TLSMachine) -> None:
        self.reactor = MemoryReactor()
        self.peers: list[Peer] = []
        self._machines = list(machines)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        protocol: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        self.peers.append(Peer(self.reactor, protocol, machine=self._machines.pop(0)))
        return succeed(protocol)

    def release(self) -> None:
        """Give back what is still there."""
        for peer in list(self.reactor.peers):
            peer.release()


def connect(
    case: SynchronousTestCase, below: MemoryEndpoint, *alpn: Any, **options: Any
) -> Deferred[Any]:
    """Connect over TLS."""
    endpoint = TLSClientEndpoint(below, Trust((), ("a.test",)), "a.test", 443, *alpn, **options)
    connecting: Deferred[Any] = endpoint.connect(Factory.forProtocol(HalfCloseRecorder))
    below.reactor.settle()
    case.addCleanup(below.release)
    return connecting


class TLSClientEndpointTests(SynchronousTestCase):
    """Connecting over TLS."""

    def context(self, offered: list[bytes]) -> SSL.Context:
        """A server's, which notes what protocols it is offered."""
        context = SelfSigned().context()
        # There the last word of the handshake is the server's.
        context.set_max_proto_version(SSL.TLS1_2_VERSION)

        def choose(connection: SSL.Connection, names: list[bytes]) -> bytes:
            offered.extend(names)
            return names[0]

        context.set_alpn_select_callback(choose)
        return context

    def connect(self, machine: TLSMachine, *alpn: Any, **options: Any) -> Deferred[Any]:
        """Connect to a server."""
        return connect(self, MemoryEndpoint(machine), *alpn, **options)

    def test_alpn(self) -> None:
        """HTTP/1.1 is asked for unless something else is said; where nothing is, nothing is."""
        for alpn, expected in (((), [b"http/1.1"]), (((),), []), (((b"imap",),), [b"imap"])):
            offered: list[bytes] = []
            machine = TLSMachine.server(self.context(offered))
            self.successResultOf(self.connect(machine, *alpn))
            self.assertEqual(offered, expected)

    def test_server_begins(self) -> None:
        """What a server says together with the end of its handshake is read where servers may
        begin."""
        machine = HastyServer.server(self.context([]))
        connected = self.successResultOf(self.connect(machine, server_begins=True))
        self.assertEqual(connected.received, GREETING)

    def test_server_must_not_begin(self) -> None:
        """Anywhere else it would answer what is about to be asked: no connection comes about."""
        machine = HastyServer.server(self.context([]))
        failure = self.failureResultOf(self.connect(machine), TLSError)
        self.assertEqual(failure.value.reason, "the peer sent data before it was asked")


class ChoiceTests(SynchronousTestCase):
    """What a server makes of the protocols it is offered."""

    def server(
        self, choice: Any, ciphers: bytes | None = None, kind: type[TLSMachine] = TLSMachine
    ) -> TLSMachine:
        """One that chooses this, offered or not; in TLS 1.2 if its cipher suites are given."""
        context = SelfSigned().context()
        if ciphers is not None:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.set_cipher_list(ciphers)
        context.set_alpn_select_callback(lambda connection, offered: choice)
        return kind.server(context)

    def connect(self, *servers: TLSMachine, **options: Any) -> tuple[MemoryEndpoint, Deferred[Any]]:
        """Connect to them, one after another as far as that is wanted."""
        below = MemoryEndpoint(*servers)
        options.setdefault("alpn", (HTTP2, HTTP1))
        return below, connect(self, below, **options)

    def refused(self, *servers: TLSMachine, **options: Any) -> TLSError:
        """Nothing comes about, and nothing is sent."""
        below, connecting = self.connect(*servers, **options)
        error: TLSError = self.failureResultOf(connecting, TLSError).value
        for peer in below.peers:
            self.assertTrue(peer.ended)
            self.assertEqual(peer.received, b"")
        self.assertEqual(len(below.peers), len(servers))
        return error

    def test_chosen(self) -> None:
        """What was chosen can be asked for, by what speaks inside."""
        for choice, expected in (
            (HTTP2, "h2"),
            (HTTP1, "http/1.1"),
            (SSL.NO_OVERLAPPING_PROTOCOLS, None),
        ):
            for ciphers in (None, PERMITTED):
                _, connecting = self.connect(self.server(choice, ciphers))
                self.assertEqual(self.successResultOf(connecting).transport.alpn, expected)

    def test_not_offered(self) -> None:
        """A choice that was not offered is refused (RFC 7301 section 3.2), whatever it is."""
        for choice, alpn in (
            (HTTP2, (HTTP1,)),
            (HTTP1, (HTTP2,)),
            (b"spdy/3", (HTTP2, HTTP1)),
            (b"h2\r\nX: y", (HTTP2, HTTP1)),
        ):
            for ciphers in (None, PERMITTED):
                error = self.refused(self.server(choice, ciphers), alpn=alpn)
                self.assertNotIn("\n", error.reason)
                self.assertFalse(error.certificate_error)

    def test_not_offered_unnoticed(self) -> None:
        """So it is by OpenSSLs that do not look at it."""
        machine = Trust((), ("a.test",)).client("a.test", 443, (HTTP2,))
        shake(machine, self.server(HTTP2))
        for alpn, refused in (((HTTP2,), False), ((HTTP1,), True), ((), True)):
            layer = TLSClientLayer(machine, None, Deferred(), alpn, False)
            if not refused:
                layer.check(b"")
                continue
            error: TLSError = self.assertRaises(TLSError, layer.check, b"")
            self.assertEqual(error.reason, "the peer chose a protocol that was not offered")

    def test_required(self) -> None:
        """Where there has to be HTTP/2, a server that chooses nothing is refused: a 502."""
        error = self.refused(self.server(SSL.NO_OVERLAPPING_PROTOCOLS), alpn=(HTTP2,))
        self.assertEqual(error.reason, "the origin does not speak HTTP/2")
        told = self.assertRaises(GatewayError, connect_error, Failure(error), "https://a:443")
        assert isinstance(told, GatewayError)
        self.assertEqual((told.status, told.proxy_status), (502, "tls_protocol_error"))
        self.assertEqual(told.text, "https://a:443: the origin does not speak HTTP/2")
        _, connecting = self.connect(self.server(HTTP2), alpn=(HTTP2,))
        self.assertEqual(self.successResultOf(connecting).transport.alpn, "h2")

    def test_first_frames(self) -> None:
        """In HTTP/2 the server may speak first (RFC 9113 section 3.4), in HTTP/1.1 it may not."""
        server = self.server(HTTP2, PERMITTED, HastyServer)
        _, connecting = self.connect(server)
        self.assertEqual(self.successResultOf(connecting).received, GREETING)
        error = self.refused(self.server(HTTP1, PERMITTED, HastyServer))
        self.assertEqual(error.reason, "the peer sent data before it was asked")

    def test_inadequate_security(self) -> None:
        """Over a cipher suite that it prohibits no HTTP/2 is spoken (RFC 9113 section 9.2.2): what
        else there was to offer is, over another connection."""
        weak = [self.server(choice, PROHIBITED) for choice in (HTTP2, HTTP1)]
        below, connecting = self.connect(*weak)
        connected = self.successResultOf(connecting)
        first, second = below.peers
        self.assertEqual(connected.transport.alpn, "http/1.1")
        self.assertEqual((first.received, first.ended, second.ended), (b"", True, False))
        connected.transport.write(b"hello")
        below.reactor.settle()
        self.assertEqual(second.received, b"hello")

    def test_inadequate_security_again(self) -> None:
        """The other connection is the last."""
        error = self.refused(*[self.server(HTTP2, PROHIBITED) for _ in range(2)])
        self.assertNotIsInstance(error, InadequateSecurityError)

    def test_inadequate_security_only(self) -> None:
        """If there has to be HTTP/2, there is nothing else to offer."""
        server = self.server(HTTP2, PROHIBITED)
        error = self.refused(server, alpn=(HTTP2,))
        self.assertIsInstance(error, InadequateSecurityError)
        for word in (PROHIBITED.decode(), "INADEQUATE_SECURITY"):
            self.assertIn(word, error.reason)

    def test_inadequate_security_remembered(self) -> None:
        """What an origin has chosen with such a suite is not offered to it again."""
        below = MemoryEndpoint(
            self.server(HTTP2, PROHIBITED), *[self.server(HTTP1, PROHIBITED) for _ in range(2)]
        )
        self.addCleanup(below.release)

        class Endpoints(OriginEndpoints):
            def dial(self, host: str, port: int) -> Any:
                return below

        trust = Trust((), ("a.test",))
        endpoints = Endpoints(below.reactor, trust, 0.0, None)  # type: ignore[arg-type]  # no names
        for number in (2, 3):
            connecting: Deferred[Any] = endpoints(
                Origin("https", "a.test", 443, False, http2=True)
            ).connect(Factory.forProtocol(HalfCloseRecorder))
            below.reactor.settle()
            self.assertEqual(self.successResultOf(connecting).transport.alpn, "http/1.1")
            self.assertEqual(len(below.peers), number)

    def test_http1_over_any(self) -> None:
        """HTTP/1.1 may use what there is."""
        _, connecting = self.connect(self.server(HTTP1, PROHIBITED))
        self.assertEqual(self.successResultOf(connecting).transport.alpn, "http/1.1")

    def test_other_failures(self) -> None:
        """A failure of another kind is one, without a second attempt."""
        self.refused(self.server(b"spdy/3", PROHIBITED))

    def test_given_up(self) -> None:
        """The other connection can be given up as the first can."""
        below = MemoryEndpoint(*[self.server(HTTP2, PROHIBITED) for _ in range(2)])
        pending: list[Deferred[Any]] = []
        first = below.connect

        def connect_below(factory: IProtocolFactory) -> Deferred[Any]:
            if not below.peers:
                return first(factory)
            pending.append(Deferred())
            return pending[0]

        self.patch(below, "connect", connect_below)
        connecting = connect(self, below, (HTTP2, HTTP1))
        self.assertNoResult(connecting)
        connecting.cancel()
        self.failureResultOf(connecting)
        self.assertTrue(pending[0].called)


class OriginEndpointsTests(SynchronousTestCase):
    """What origins are offered."""

    def connected(
        self,
        origin: Origin,
        *,
        mode: str = "auto",
        proxy: str = "",
        alpn: Sequence[bytes] = (HTTP2, HTTP1),
    ) -> tuple[MemoryProxy, list[Any]]:
        """Connect; return what came of it, or what went wrong."""
        memory = MemoryProxy(Config(http2=mode), Routes(proxy, "", {}))
        self.addCleanup(memory.close)
        memory.accepting = False
        results: list[Any] = []
        endpoint = memory._endpoint_for(origin)
        endpoint.connect(Factory.forProtocol(HalfCloseRecorder)).addBoth(results.append)
        memory.connects[0].accept(alpn=alpn)
        if proxy:
            peer = memory.origins[0]
            peer.take()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            peer.start_tls()
        return memory, results

    def test_modes(self) -> None:
        """Origins with HTTP/2 are offered it first, and nothing else where it has to be; those
        without are offered HTTP/1.1, in any mode."""
        both = Origin("https", "a.test", 443, http2=True)
        for origin, mode, alpn, expected in (
            (both, "auto", (HTTP2, HTTP1), "h2"),
            (both, "auto", (HTTP1, HTTP2), "http/1.1"),
            (both, "auto", (HTTP1,), "http/1.1"),
            (both, "auto", (), None),
            (both, "always", (HTTP1, HTTP2), "h2"),
            (both.over_http1, "auto", (HTTP2, HTTP1), "http/1.1"),
            (both.over_http1, "auto", (HTTP2,), None),
            (both.over_http1, "always", (HTTP2, HTTP1), "http/1.1"),
        ):
            _, [connected] = self.connected(origin, mode=mode, alpn=alpn)
            self.assertEqual(connected.transport.alpn, expected, (origin, mode, alpn))

    def test_only_http2(self) -> None:
        """Where it has to be, an origin without it is refused."""
        for alpn in ((HTTP1,), ()):
            origin = Origin("https", "a.test", 443, http2=True)
            memory, [failure] = self.connected(origin, mode="always", alpn=alpn)
            self.assertEqual(failure.value.reason, "the origin does not speak HTTP/2")
            self.assertEqual(memory.origins[0].received, b"")

    def test_proxies(self) -> None:
        """A tunnel changes nothing, and an https proxy is spoken to in HTTP/1.1."""
        for url in ("http://p.test:3128", "https://p.test:3128"):
            route = Routes(url, "", {}).route("https", "a.test")
            origin = Origin("https", "a.test", 443, True, route, http2=True)
            for mode in ("auto", "always"):
                memory, [connected] = self.connected(origin, mode=mode, proxy=url)
                self.assertEqual(connected.transport.alpn, "h2")
                outer = getattr(memory.origins[0].machine, "outer", None)
                if outer is not None:
                    chosen = outer.connection.get_alpn_proto_negotiated()
                    self.assertEqual(chosen, HTTP1)
                self.assertEqual(outer is not None, url.startswith("https"))
