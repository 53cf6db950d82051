"""How the kernel watches the peers of outgoing connections."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SkipTest, TestCase

from fastcar_tw.transport.facade import EagerReactor
from fastcar_tw.transport.liveness import (
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_LIMIT,
)

from .harness import Recorder


class WatchTests(TestCase):
    """Options of real connections, as the kernel has them."""

    async def connected(self, host: str, *patience: float) -> socket.socket:
        """The socket of a connection to a server that accepts."""
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            server = socket.create_server((host, 0), family=family)
        except OSError:
            raise SkipTest(f"no {host} here") from None
        self.addCleanup(server.close)
        eager: Any = EagerReactor(reactor, *patience)
        endpoint = kind(eager, host, server.getsockname()[1])
        client: Any = await endpoint.connect(Factory.forProtocol(Recorder))
        self.addCleanup(client.ends)
        self.addCleanup(client.transport.loseConnection)
        skt: socket.socket = client.transport.getHandle()
        return skt

    async def test_keepalive(self) -> None:
        """An idle peer is asked for a sign of life, on IPv4 and on IPv6."""
        for host in ("127.0.0.1", "::1"):
            skt = await self.connected(host)
            self.assertTrue(skt.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            if sys.platform != "linux":
                continue
            for option, value in (
                (socket.TCP_KEEPIDLE, KEEPALIVE_IDLE),
                (socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL),
                (socket.TCP_KEEPCNT, KEEPALIVE_COUNT),
            ):
                self.assertEqual(skt.getsockopt(socket.IPPROTO_TCP, option), value)

    async def test_user_timeout(self) -> None:
        """A peer may leave unread what was sent to it for as long as was said, and never less than
        keepalive needs to count to its end (tcp(7), TCP_USER_TIMEOUT)."""
        if sys.platform != "linux":
            raise SkipTest("TCP_USER_TIMEOUT is Linux's")
        for patience, expected in (
            ((), KEEPALIVE_LIMIT * 1000),
            ((5.0,), KEEPALIVE_LIMIT * 1000),
            ((300.5,), 300500),
            ((1e12,), 2**31 - 1),
        ):
            for host in ("127.0.0.1", "::1"):
                skt = await self.connected(host, *patience)
                option = socket.TCP_USER_TIMEOUT
                self.assertEqual(skt.getsockopt(socket.IPPROTO_TCP, option), expected)
