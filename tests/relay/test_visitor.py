"""Who a client is, as far as that is known."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.proxy_protocol import ProxyAddresses
from fastcar_tw.relay.visitor import Visitor
from tests.transport.harness import tcp_pair

PEER = ("203.0.113.5", 40000)
TOLD = ProxyAddresses(("192.0.2.1", 1234), ("198.51.100.2", 443))
NOTHING = ProxyAddresses(None, None)


class FakeWire:
    """Has a socket, and nothing else."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def getHandle(self) -> socket.socket:
        """That."""
        return self._socket


class NameTests(SynchronousTestCase):
    """What the log calls a client."""

    def test_peer(self) -> None:
        """A TCP client by its address."""
        self.assertEqual(str(Visitor("here", PEER)), "client 203.0.113.5:40000")
        self.assertEqual(str(Visitor("here", ("2001:db8::1", 5))), "client [2001:db8::1]:5")

    def test_elsewhere(self) -> None:
        """Any other by the place where it came in."""
        self.assertEqual(str(Visitor("unix:/s")), "client of unix:/s")

    def test_told(self) -> None:
        """One that has told of another address by that, if it has told of any."""
        for peer in (PEER, None):
            self.assertEqual(str(Visitor("here", peer, TOLD)), "client 192.0.2.1:1234")
        self.assertEqual(str(Visitor("here", PEER, NOTHING)), "client 203.0.113.5:40000")
        self.assertEqual(str(Visitor("here", None, NOTHING)), "client of here")


class AddressesTests(SynchronousTestCase):
    """What a backend is told of a client."""

    def setUp(self) -> None:
        """Connect."""
        ours, theirs = tcp_pair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.socket = ours
        self.wire: Any = FakeWire(ours)
        self.own = ours.getsockname()

    def test_connection(self) -> None:
        """The ends of its connection: its own, and ours."""
        self.assertEqual(Visitor("here", PEER).addresses(self.wire), ProxyAddresses(PEER, self.own))

    def test_told(self) -> None:
        """What it has told, if it has told anything."""
        for peer in (PEER, None):
            self.assertEqual(Visitor("here", peer, TOLD).addresses(self.wire), TOLD)
        self.assertEqual(
            Visitor("here", PEER, NOTHING).addresses(self.wire), ProxyAddresses(PEER, self.own)
        )

    def test_unix(self) -> None:
        """Nothing of a client of a UNIX socket."""
        for told in (None, NOTHING):
            self.assertEqual(Visitor("here", None, told).addresses(self.wire), NOTHING)

    def test_ended(self) -> None:
        """Nothing of a connection that has ended."""
        self.socket.close()
        self.assertEqual(Visitor("here", PEER).addresses(self.wire), NOTHING)
