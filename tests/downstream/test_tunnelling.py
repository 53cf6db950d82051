"""Tunnels that are relayed unseen, as --tunnel allows it."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from fastcar_tw.config import Config
from fastcar_tw.http.target import Origin
from fastcar_tw.routes.selection import Routes
from fastcar_tw.testing import MemoryProxy, Peer
from tests.forward.support import OK, answer, logged, request
from tests.routes.case import ESTABLISHED, NO_AUTH
from tests.routes.support import bytewise

from .support import (
    CHOSEN,
    CONNECTED,
    GREETING,
    SUCCEEDED,
    TUNNELS,
    OpeningsTestCase,
    connect,
    opening,
    refusal,
    start_tls,
)

BANNER = b"SSH-2.0-x\r\n"
ANYTHING = bytes(range(256))


class RelayedTestCase(OpeningsTestCase):
    """
    Has a proxy that relays port 22, and no more.
    """

    def start(self, **options: Any) -> None:
        """Begin anew with these options."""
        super().start(**{"tunnel": ("22",), **options})

    def asked(self, how: str = "connect", client: Peer | None = None, early: bytes = b"") -> Peer:
        """Have a client that has asked for a tunnel and waits; a new one unless given."""
        self.proxy.accepting = False
        client = client or self.proxy.client()
        client.send(opening(how, port=22)[0] + early)
        return client

    def relayed(self, how: str = "connect", client: Peer | None = None) -> tuple[Peer, Peer]:
        """Have a tunnel; return both ends."""
        client = self.asked(how, client)
        client.take()
        origin = self.proxy.connects[-1].accept()
        self.assertEqual(client.take(), CONNECTED if how == "connect" else SUCCEEDED)
        return client, origin


class OpenTests(RelayedTestCase):
    """Until the tunnel is open."""

    def test_allowed(self) -> None:
        """Only what is allowed is relayed; the rest is looked into as ever."""
        self.start(tunnel=("22", "b.test:25", "[::1]:5432"))
        self.proxy.accepting = False
        for how in TUNNELS:
            for host, port, relayed in (
                ("a.test", 22, True),
                ("b.test", 22, True),
                ("B.test.", 25, True),
                ("::1", 5432, True),
                ("a.test", 25, False),
                ("127.0.0.1", 5432, False),
                ("a.test", 443, False),
                ("a.test", 2222, False),
                ("fastcar.localhost", 22, False),  # nobody else is there
                ("fastcar.localhost.", 22, False),
            ):
                client = self.proxy.client()
                asked, answered = opening(how, host, port)
                client.send(asked)
                before = CHOSEN if how == "socks5" else b""
                self.assertEqual(client.take(), before if relayed else answered, (host, port))
                self.assertEqual(bool(self.proxy.connects), relayed)
                if relayed:
                    self.proxy.connects.pop().refuse()
                client.close()
        self.start(tunnel=())
        client = self.tunnel(port=22)
        client.send(b"\x00")
        self.assertTrue(client.closed)

    def test_whom(self) -> None:
        """The target is connected to, and no TLS spoken."""
        for how in TUNNELS:
            client, origin = self.relayed(how)
            self.assertEqual(str(origin.origin), "tcp://a.test:22")
            self.assertEqual(origin.received, b"")
            client.send(ANYTHING)
            self.assertEqual(origin.take(), ANYTHING)
            origin.send(ANYTHING)
            self.assertEqual(client.take(), ANYTHING)

    def test_verbose(self) -> None:
        """With --verbose an open tunnel is a line in the log, else it is none."""
        for verbose in (False, True):
            self.start(verbose=verbose)
            self.asked()
            self.proxy.elapse(1)
            lines = logged(self.proxy.connects[-1].accept)
            expected = ["tunnel tcp://a.test:22: open"] if verbose else []
            self.assertEqual(lines, expected)

    def test_too_many(self) -> None:
        """There are no more of them than --max-connections; who comes then is refused at once, and
        one that has ended makes room."""
        self.start(max_connections=2)
        first, origin = self.relayed()
        waiting = self.asked()
        for how, refused in (("connect", b"HTTP/1.1 503 "), ("socks5", CHOSEN + refusal(1))):
            client = self.asked(how)
            self.assertTrue(client.take().startswith(refused))
            self.assertTrue(client.ended_cleanly)
        self.assertEqual(len(self.proxy.connects), 2)
        self.proxy.connects[1].refuse()
        self.assertTrue(waiting.take().startswith(b"HTTP/1.1 502 "))
        first.close()
        self.assertTrue(origin.closed)
        for _ in range(2):
            self.relayed()

    def test_connected_at_once(self) -> None:
        """What came with the request is delivered also when the connection is there at once."""
        connected: list[Peer] = []

        attempt = self.proxy.attempt

        def connect_now(origin: Origin, factory: IProtocolFactory) -> Deferred[Any]:
            connecting = attempt(origin, factory)
            connected.append(self.proxy.connects[-1].accept())
            return connecting

        self.patch(self.proxy, "attempt", connect_now)
        self.asked(early=b"early")
        self.assertEqual(connected[0].take(), b"early")

    def test_connected_first(self) -> None:
        """The client is not answered before there is a connection."""
        for how in TUNNELS:
            client = self.asked(how)
            self.assertEqual(client.take(), CHOSEN if how == "socks5" else b"")
            self.proxy.connects[-1].accept()
            self.assertTrue(client.take())

    def test_refused(self) -> None:
        """When there is none, the client is told why in its own protocol, and the log too."""
        for reason, status, proxy_status, code in (
            (error.ConnectionRefusedError(), 502, b"connection_refused", 5),
            (error.DNSLookupError("a.test"), 502, b"dns_error", 4),
            (error.NoRouteError(), 502, b"destination_ip_unroutable", 3),
            (error.TimeoutError(), 504, b"connection_timeout", 4),
            (TimeoutError(), 504, b"connection_timeout", 4),
            (error.ConnectError(), 502, b"destination_unavailable", 1),
        ):
            for how in TUNNELS:
                client = self.asked(how)
                [line] = logged(partial(self.proxy.connects[-1].refuse, reason))
                words = f"tunnel tcp://a.test:22: {proxy_status.decode()} ({status}): "
                self.assertTrue(line.startswith(words), line)
                got = client.take()
                if how == "socks5":
                    self.assertEqual(got, CHOSEN + refusal(code))
                else:
                    told = answer(got)
                    field = b"fastcar; error=" + proxy_status
                    self.assertEqual((told.status, told.fields[b"proxy-status"]), (status, field))
                    self.assertEqual(told.fields[b"connection"], b"close")
                    self.assertIn(b"tcp://a.test:22", told.body)
                self.assertTrue(client.ended_cleanly)
                self.assertFalse(client.closed)
                client.end()
                self.assertTrue(client.closed and not client.aborted)

    def test_refused_at_once(self) -> None:
        """Also where there is not even an attempt."""

        def refuse(origin: object, factory: IProtocolFactory) -> Deferred[Any]:
            return fail(error.DNSLookupError("a.test"))

        self.patch(self.proxy, "attempt", refuse)
        for how in TUNNELS:
            client = self.proxy.client()
            client.send(opening(how, port=22)[0] + b"early")
            expected = CHOSEN + refusal(4) if how == "socks5" else b"HTTP/1.1 502 "
            self.assertTrue(client.take().startswith(expected))
            self.assertTrue(client.ended_cleanly)

    def test_too_slow(self) -> None:
        """An attempt has the time of --connect-timeout, and is then given up."""
        for how in TUNNELS:
            client = self.asked(how)
            self.proxy.elapse(self.proxy.forwarder.config.connect_timeout - 1)
            self.assertTrue(self.proxy.connects[-1].pending)
            self.proxy.elapse(2)
            self.assertTrue(self.proxy.connects[-1].cancelled)
            expected = CHOSEN + refusal(4) if how == "socks5" else b"HTTP/1.1 504 "
            self.assertTrue(client.received.startswith(expected))

    def test_refused_and_silent(self) -> None:
        """A client that was refused and does not go is broken off after a while."""
        client = self.asked()
        self.proxy.connects[-1].refuse()
        self.elapse_deadline()
        self.assertTrue(client.closed)

    def test_long_attempt(self) -> None:
        """The time of a client is not that of the attempt."""
        self.start(client_timeout=1, connect_timeout=60)
        client = self.asked()
        self.proxy.elapse(50)
        self.assertFalse(client.closed)
        self.proxy.connects[-1].accept()
        self.assertEqual(client.received, CONNECTED)

    def test_early(self) -> None:
        """What a client sends without waiting comes first, in its order."""
        for how in TUNNELS:
            client = self.asked(how, early=b"one ")
            client.send(b"two ")
            origin = self.proxy.connects[-1].accept()
            client.send(b"three")
            self.assertEqual(origin.received, b"one two three")

    def test_much_early(self) -> None:
        """While it waits it is not read further."""
        client = self.asked()
        much = ANYTHING * 8192
        client.send(much)
        self.assertTrue(client.transport.paused)
        self.assertTrue(client.unsent)
        origin = self.proxy.connects[-1].accept()
        self.assertEqual(origin.take(), much)

    def test_early_back_pressure(self) -> None:
        """What came early counts, too, when the target does not read: nothing more is read
        then."""
        self.proxy.capacity = 4096
        client = self.proxy.client()
        client.send(request(host=b"b.test") + connect(b"a.test:22") + bytes(4 << 20))
        before = self.origin
        before.take()
        self.proxy.accepting = False
        before.send(OK)
        carry = Peer.carry
        unread = self.patch(Peer, "carry", lambda peer: peer.origin is None and carry(peer))
        origin = self.proxy.connects[-1].accept()
        self.assertLess(origin.transport.buffered, 140_000)
        self.assertTrue(client.transport.paused)
        unread.restore()
        origin.resume()
        self.assertEqual(len(origin.take()), 4 << 20)

    def test_early_in_pieces(self) -> None:
        """However the opening is cut."""
        for how in TUNNELS:
            whole = opening(how, port=22)[0] + ANYTHING
            size = len(whole) - len(ANYTHING)
            for at in range(1, size + 2):
                client = self.proxy.client()
                client.send(whole[:at])
                client.send(whole[at:])
                origin = self.proxy.connects[-1]
                peer = origin.accept() if origin.pending else self.origin
                self.assertEqual(peer.take(), ANYTHING, (how, at))
                client.close()

    def test_byte_by_byte(self) -> None:
        """Or byte by byte."""
        for how in TUNNELS:
            client = self.proxy.client()
            for byte in bytewise(opening(how, port=22)[0] + b"early"):
                client.send(byte)
            self.assertEqual(self.origin.take(), b"early")

    def test_server_begins(self) -> None:
        """A server that speaks first is heard, at once, and behind the answer."""
        for how in TUNNELS:
            client, origin = self.relayed(how)
            origin.send(BANNER)
            self.assertEqual(client.take(), BANNER)
            client = self.asked(how)
            connect = self.proxy.connects[-1]
            client.pause()
            origin = connect.accept()
            origin.send(BANNER)
            client.resume()
            self.assertTrue(client.take().endswith(opening(how)[1][-10:] + BANNER))

    def test_client_gone_while_connecting(self) -> None:
        """A client that goes while it waits leaves nothing behind: what was connected for it is
        dropped, and nothing is told of it."""
        for how in TUNNELS:
            client = self.asked(how, early=b"early")
            client.close()
            lines = logged(self.proxy.connects[-1].accept)
            self.assertEqual(lines, [])
            self.assertTrue(self.origin.closed)
            self.assertEqual(self.origin.received, b"")
            self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_client_gone_and_refused(self) -> None:
        """Or there is nobody to refuse."""
        for how in TUNNELS:
            client = self.asked(how)
            client.close()
            self.proxy.connects[-1].refuse()
            self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_client_half_closed_while_connecting(self) -> None:
        """A client that ends its sending there has its tunnel, with that end."""
        for how in TUNNELS:
            client = self.asked(how, early=b"bye")
            client.end()
            origin = self.proxy.connects[-1].accept()
            self.assertEqual(origin.take(), b"bye")
            self.assertTrue(origin.ended_cleanly)
            origin.send(b"more")
            self.assertTrue(client.take().endswith(b"more"))
            origin.end()
            self.assertTrue(client.closed and origin.closed)

    def test_pipelined_and_half_closed(self) -> None:
        """Also one that has ended it before its CONNECT was looked at."""
        client = self.proxy.client()
        client.send(request(host=b"b.test") + connect(b"a.test:22") + b"bye")
        client.end()
        self.origin.take()
        self.origin.send(OK)
        self.assertEqual(client.take(), OK + CONNECTED)
        self.assertEqual(self.origin.take(), b"bye")
        self.assertTrue(self.origin.ended_cleanly)
        self.origin.send(b"more")
        self.assertEqual(client.take(), b"more")

    def test_pipelined_half_closed_and_refused(self) -> None:
        """One that is then refused is let go when it has been told."""
        self.proxy.accepting = False
        client = self.proxy.client()
        client.send(request(host=b"b.test") + connect(b"a.test:22") + b"bye")
        client.end()
        origin = self.proxy.connects[-1].accept()
        origin.send(OK)
        self.proxy.connects[-1].refuse()
        self.assertIn(b"HTTP/1.1 502 ", client.received)
        self.assertTrue(client.closed)

    def test_half_closed_and_refused_in_tls(self) -> None:
        """Inside TLS close_notify is such an end, though what carries it stays open."""
        self.proxy.accepting = False
        client = self.proxy.tls_client("proxy.test")
        client.send(request(host=b"b.test") + connect(b"a.test:22"))
        assert client.machine is not None
        client.send_raw(client.machine.shutdown())
        self.proxy.connects[-1].accept().send(OK)
        self.proxy.connects[-1].refuse()
        self.assertIn(b"HTTP/1.1 502 ", client.received)
        self.assertTrue(client.ended_cleanly and client.closed)

    def test_inside_tls(self) -> None:
        """A tunnel may be asked for inside TLS, too."""
        client, origin = self.relayed(client=self.proxy.tls_client("proxy.test"))
        origin.send(BANNER)
        self.assertEqual(client.take(), BANNER)
        client.send(ANYTHING)
        client.end()
        self.assertEqual(origin.take(), ANYTHING)
        self.assertTrue(origin.ended_cleanly)
        origin.send(b"more")
        origin.end()
        self.assertEqual(client.take(), b"more")
        self.assertTrue(client.ended_cleanly and client.closed and origin.closed)

    def test_refused_inside_tls(self) -> None:
        """There the refusal is inside TLS, and ended with close_notify."""
        client = self.asked(client=self.proxy.tls_client("proxy.test"))
        self.proxy.connects[-1].refuse()
        self.assertEqual(answer(client.received).status, 502)
        self.assertTrue(client.ended_cleanly)

    def test_handshake_is_relayed(self) -> None:
        """TLS in such a tunnel is the client's and its target's own affair."""
        self.start(tunnel=("443",))
        self.proxy.accepting = False
        client = self.proxy.client()
        client.send(connect(b"a.test:443"))
        origin = self.proxy.connects[-1].accept()
        client.take()
        inner = start_tls(client, "b.test")
        hello = origin.received
        self.assertEqual(hello[:1], b"\x16")
        self.assertIn(b"b.test", hello)
        origin.start_tls()
        self.assertTrue(inner.ready)
        client.send(b"secret")
        self.assertEqual(origin.received, b"secret")

    def test_shutdown_while_connecting(self) -> None:
        """A tunnel that is not open yet is nothing to wait for when fastcar stops."""
        for how in TUNNELS:
            client = self.asked(how)
            self.proxy.forwarder.drain()
            self.proxy.reactor.settle()
            self.assertTrue(client.closed)
            self.assertTrue(self.proxy.connects[-1].cancelled)


class RelayTests(RelayedTestCase):
    """While it is open."""

    def test_half_close(self) -> None:
        """The end of one side is passed on, and the other goes on."""
        for how in TUNNELS:
            for index in (0, 1):
                ends = self.relayed(how)
                first, second = ends[index], ends[1 - index]
                first.send(b"bye")
                first.end()
                self.assertEqual(second.take(), b"bye")
                self.assertTrue(second.ended_cleanly)
                self.assertFalse(first.closed or second.closed)
                second.send(b"more")
                self.assertEqual(first.take(), b"more")
                self.assertEqual(logged(second.end), [])
                self.assertTrue(first.closed and second.closed)
                self.assertFalse(first.aborted or second.aborted)

    def test_client_closes(self) -> None:
        """What a client has said before it has gone is delivered."""
        client, origin = self.relayed()
        client._socket.send(b"last")
        client.close()
        self.assertEqual(origin.received, b"last")
        self.assertTrue(origin.closed and not origin.aborted)

    def test_back_pressure(self) -> None:
        """An end that does not read makes the other wait, both ways."""
        for how in TUNNELS:
            client, origin = self.relayed(how)
            for slow, fast in ((client, origin), (origin, client)):
                slow.pause()
                fast.send(bytes(4 << 20))
                self.assertTrue(fast.unsent)
                self.assertTrue(fast.transport.paused)
                self.assertLess(slow.transport.buffered, 256 << 10)
                slow.resume()
                self.assertEqual(len(slow.take()), 4 << 20)

    def test_outstanding_data(self) -> None:
        """When both sides have ended, what was not read yet is delivered before the end (RFC 9110
        section 9.3.6)."""
        client, origin = self.relayed()
        client.pause()
        much = bytes(1 << 19)
        origin.send(much)
        client.end()
        origin.end()
        self.assertFalse(client.closed)
        client.resume()
        self.assertEqual(len(client.received), len(much))
        self.assertTrue(client.ended_cleanly and client.closed and origin.closed)

    def test_stall(self) -> None:
        """When no byte moves for too long, both ends are broken off and the log says so."""
        client, origin = self.relayed()
        stall = self.proxy.forwarder.config.stall_timeout
        self.proxy.elapse(stall - 1)
        origin.send(b"x")
        self.proxy.elapse(stall - 1)
        client.send(b"x")
        self.proxy.elapse(stall - 1)
        self.assertFalse(client.closed)
        [line] = logged(lambda: self.proxy.elapse(3))
        self.assertRegex(
            line,
            r"^tunnel tcp://a.test:22: connection_read_timeout \(504\): "
            r"no byte moved for too long after 1[78]\d\.\d{3} s$",
        )
        self.assertTrue(client.aborted and origin.aborted)

    def test_slow_reader_is_no_stall(self) -> None:
        """A reader that takes little at a time keeps its tunnel."""
        client, origin = self.relayed()
        client.pause()
        origin.send(bytes(4 << 20))
        for _ in range(10):
            self.proxy.elapse(self.proxy.forwarder.config.stall_timeout / 2)
            client.read(300000)
        self.assertFalse(client.closed)

    def test_shutdown(self) -> None:
        """A tunnel under way may go on until --drain-timeout; then it is broken off."""
        client, origin = self.relayed()
        self.client.close()
        drained = self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        client.send(b"x")
        self.assertEqual(origin.received, b"x")
        self.assertNoResult(drained)
        self.proxy.forwarder.abort()
        self.proxy.reactor.settle()
        self.assertTrue(client.aborted and origin.aborted)

    def test_shutdown_of_one_that_ends(self) -> None:
        """One that ends by itself is all that was waited for."""
        client, origin = self.relayed()
        self.client.close()
        drained = self.proxy.forwarder.drain()
        client.end()
        self.assertNoResult(drained)
        origin.end()
        self.successResultOf(drained)

    def test_reset(self) -> None:
        """An end that breaks off takes the other with it."""
        client, origin = self.relayed()
        origin.transport.connectionLost(Failure(error.ConnectionLost()))
        self.proxy.reactor.settle()
        self.assertTrue(client.aborted)
        client, origin = self.relayed()
        client.transport.abortConnection()
        self.proxy.reactor.settle()
        self.assertTrue(origin.closed)

    def test_never_pooled(self) -> None:
        """Nobody else is given such a connection, and the pool does not count it."""
        first = self.relayed()[1]
        second = self.relayed()[1]
        self.assertIsNot(first, second)
        self.assertEqual(self.proxy.pool.stats().origins, {})
        self.proxy.accepting = True
        self.served(self.client, "http://a.test:80")


class ProxyTests(RelayedTestCase):
    """Where the target is reached through a proxy."""

    def route(self, url: str) -> None:
        """Begin anew with this proxy."""
        self.proxy = MemoryProxy(Config(tunnel=("22",)), Routes(url, "direct.test", {}))
        self.addCleanup(self.proxy.close)
        self.addCleanup(self.check_left, self.proxy)

    def test_http_proxy(self) -> None:
        """An HTTP proxy is asked for a tunnel, and the client answered when it is granted."""
        self.route("http://u:p@p.test:3128")
        for how in TUNNELS:
            client = self.asked(how, early=b"early")
            client.take()
            peer = self.proxy.connects[-1].accept()
            self.assertEqual(
                peer.take(),
                b"CONNECT a.test:22 HTTP/1.1\r\nHost: a.test:22\r\n"
                b"Proxy-Authorization: Basic dTpw\r\n\r\n",
            )
            self.assertEqual(client.received, b"")
            peer.send(ESTABLISHED)
            self.assertEqual(client.take(), opening(how)[1].removeprefix(CHOSEN))
            self.assertEqual(peer.take(), b"early")
            peer.send(BANNER)
            self.assertEqual(client.take(), BANNER)

    def test_socks_proxy(self) -> None:
        """So is a SOCKS5 proxy."""
        self.route("socks5h://p.test:1080")
        client = self.asked()
        peer = self.proxy.connects[-1].accept()
        self.assertEqual(peer.take(), GREETING)
        peer.send(NO_AUTH)
        self.assertEqual(peer.take(), b"\x05\x01\x00\x03\x06a.test\x00\x16")
        peer.send(SUCCEEDED)
        self.assertEqual(client.take(), CONNECTED)
        client.send(ANYTHING)
        self.assertEqual(peer.take(), ANYTHING)

    def test_resolving_socks_proxy(self) -> None:
        """Or one that is given addresses."""
        self.route("socks5://p.test:1080")
        self.proxy.addresses["a.test"] = ["10.0.0.1"]
        client = self.asked()
        peer = self.proxy.connects[-1].accept()
        peer.take()
        peer.send(NO_AUTH)
        self.assertEqual(peer.take(), b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x16")
        peer.send(SUCCEEDED)
        self.assertEqual(client.take(), CONNECTED)

    def test_refused(self) -> None:
        """What the proxy says against it is told."""
        self.route("http://p.test:3128")
        for said, how, expected in (
            (b"HTTP/1.1 403 No\r\n\r\n", "connect", b"HTTP/1.1 502 "),
            (b"HTTP/1.1 403 No\r\n\r\n", "socks5", CHOSEN + refusal(2)),
            (b"HTTP/1.1 504 No\r\n\r\n", "connect", b"HTTP/1.1 504 "),
            (b"HTTP/1.1 504 No\r\n\r\n", "socks5", CHOSEN + refusal(4)),
        ):
            client = self.asked(how)
            self.proxy.connects[-1].accept().send(said)
            self.assertTrue(client.received.startswith(expected), client.received)
            self.assertTrue(client.ended_cleanly)

    def test_direct(self) -> None:
        """A target that is excepted from the proxy is connected to."""
        self.route("http://p.test:3128")
        self.proxy.accepting = False
        self.client = self.proxy.client()
        self.client.send(connect(b"direct.test:22"))
        self.proxy.connects[-1].accept().send(BANNER)
        self.assertEqual(self.client.received, CONNECTED + BANNER)

    def test_server_begins_at_once(self) -> None:
        """A proxy may pass on what a server says first together with its own answer."""
        for url, said in (("http://p.test:3128", ESTABLISHED), ("socks5h://p.test", SUCCEEDED)):
            self.route(url)
            client = self.asked()
            peer = self.proxy.connects[-1].accept()
            if url.startswith("socks"):
                peer.send(NO_AUTH)
            peer.send(said + BANNER)
            self.assertEqual(client.take(), CONNECTED + BANNER)

    def test_client_gone(self) -> None:
        """A client that goes while the proxy is asked leaves nothing behind."""
        self.route("http://p.test:3128")
        client = self.asked()
        peer = self.proxy.connects[-1].accept()
        client.close()
        peer.send(ESTABLISHED)
        self.assertTrue(peer.closed)
        self.assertEqual(self.proxy.forwarder.clients, set())
