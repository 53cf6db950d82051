"""What an origin says about the life of its connection (the field Keep-Alive)."""

from __future__ import annotations

import math
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from fastcar_tw.config import Config
from fastcar_tw.testing import MemoryReactor, Peer
from fastcar_tw.transport.facade import EagerReactor
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.pool import ConnectionPool

from .test_connection import ORIGIN, Exchange, Owner


class KeepAliveTests(SynchronousTestCase):
    """What a connection makes of it."""

    def setUp(self) -> None:
        """Have a connection, and its origin."""
        self.reactor = MemoryReactor()
        self.owner = Owner()
        self.connection = UpstreamConnection(ORIGIN, self.owner)
        self.origin = Peer(self.reactor, self.connection)
        self.addCleanup(self.release)

    def release(self) -> None:
        """Give the sockets back."""
        for peer in list(self.reactor.peers):
            peer.release()

    def ask(self, fields: bytes = b"", pinned: bool = False) -> str:
        """Have an exchange; return what became of the connection."""
        exchange = Exchange()
        exchange.pinned = pinned
        self.connection.start(exchange, b"", True)
        self.reactor.settle()
        self.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%b\r\n" % fields)
        self.assertIn("end", exchange.events)
        return "keep" if "keep" in exchange.events else self.owner.events[-1]

    def test_nothing_said(self) -> None:
        """Without the field there is no limit."""
        for _ in range(3):
            self.assertEqual(self.ask(), "release")
        self.assertEqual(self.connection.idle_limit, math.inf)
        self.assertEqual(self.connection.requests_left, math.inf)

    def test_timeout(self) -> None:
        """The latest timeout counts, less a margin, and stays when the field does."""
        for fields, limit in (
            (b"Keep-Alive: timeout=5\r\n", 4),
            (b"", 4),
            (b"Keep-Alive: max=50\r\n", 4),
            (b"Keep-Alive: timeout=2\r\n", 1),
            (b"Keep-Alive: timeout=75\r\n", 74),
        ):
            self.assertEqual(self.ask(fields), "release")
            self.assertEqual((fields, self.connection.idle_limit), (fields, limit))

    def test_no_time_at_all(self) -> None:
        """With a timeout of zero the connection is not used again."""
        self.assertEqual(self.ask(b"Keep-Alive: timeout=0\r\n"), "closed")

    def test_counted_down_by_the_origin(self) -> None:
        """An origin that counts down loses its connection one request before the end."""
        for left in (4, 3, 2):
            self.assertEqual(self.ask(b"Keep-Alive: max=%d\r\n" % left), "release")
            self.assertEqual(self.connection.requests_left, left - 1)
        self.assertEqual(self.ask(b"Keep-Alive: max=1\r\n"), "closed")
        self.assertTrue(self.origin.ended_cleanly)

    def test_counted_down_here(self) -> None:
        """One that says the same each time, or says it once, is counted down for."""
        for later in (b"Keep-Alive: max=3\r\n", b""):
            self.setUp()
            self.assertEqual(self.ask(b"Keep-Alive: max=3\r\n"), "release")
            self.assertEqual(self.ask(later), "release")
            self.assertEqual(self.ask(later), "closed")

    def test_last_one(self) -> None:
        """A connection that the origin ends anyway is not used again."""
        for most in (0, 1):
            self.setUp()
            self.assertEqual(self.ask(b"Keep-Alive: max=%d\r\n" % most), "closed")

    def test_garbage(self) -> None:
        """What is not understood is no limit."""
        self.assertEqual(self.ask(b"Keep-Alive: 300, max=\r\n"), "release")
        self.assertEqual(self.connection.idle_limit, math.inf)

    def test_pinned(self) -> None:
        """A pinned connection is its client's, which counts for itself or does not."""
        self.assertEqual(self.ask(b"Keep-Alive: max=1\r\n", pinned=True), "keep")

    def test_interim(self) -> None:
        """An interim response says nothing about it."""
        exchange = Exchange()
        self.connection.start(exchange, b"", True)
        self.reactor.settle()
        self.origin.send(
            b"HTTP/1.1 103 Hints\r\nKeep-Alive: max=1\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertEqual(self.owner.events, ["release"])


class AddressTests(TestCase):
    """The address of a connection."""

    def test_unknown(self) -> None:
        """It need not be known."""
        self.assertIsNone(UpstreamConnection(ORIGIN, Owner()).address)

    async def connected(self, host: str) -> str | None:
        """The address of a real connection to a host that a look-up has given."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            server = socket.create_server((host, 0), family=family)
        except OSError:
            raise SkipTest(f"no {host} here") from None
        self.addCleanup(server.close)
        eager: Any = EagerReactor(reactor)
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        endpoint = kind(eager, host, server.getsockname()[1])
        limits = Config().pool_limits
        pool = ConnectionPool(eager, lambda _: endpoint, limits, connect_timeout=10)
        connection = await pool.getConnection(ORIGIN, endpoint)
        pool.release(connection)
        await pool.closeCachedConnections()
        return connection.address

    async def test_real(self) -> None:
        """It is the one connected to, in the form in which look-ups give it."""
        for host in ("127.0.0.1", "::1"):
            self.assertEqual(await self.connected(host), host)
