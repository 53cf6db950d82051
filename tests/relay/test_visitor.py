"""Who a client is, as far as that is known."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.proxy_protocol import ProxyAddresses
from fastcar_tw.relay.visitor import Visitor, peer_pid
from tests.tls.support import temporary_directory
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

    def test_pid(self) -> None:
        """One of a UNIX socket by its process, too, unless it has an address."""
        self.assertEqual(str(Visitor("unix:/s", pid=17)), "client of unix:/s (pid 17)")
        self.assertEqual(str(Visitor("unix:/s", None, TOLD, 17)), "client 192.0.2.1:1234")

    def test_told(self) -> None:
        """One that has told of another address by that, if it has told of any."""
        for peer in (PEER, None):
            self.assertEqual(str(Visitor("here", peer, TOLD)), "client 192.0.2.1:1234")
        self.assertEqual(str(Visitor("here", PEER, NOTHING)), "client 203.0.113.5:40000")
        self.assertEqual(str(Visitor("here", None, NOTHING)), "client of here")


class ProcessTests(SynchronousTestCase):
    """Whose the other end of a UNIX socket is."""

    def setUp(self) -> None:
        """Connect."""
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX)
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.wire: Any = FakeWire(self.ours)

    def test_seen(self) -> None:
        """The process that has connected it is known from then on; the rest stays."""
        seen = Visitor("unix:/s", None, TOLD).seen(self.wire)
        self.assertEqual(seen, Visitor("unix:/s", None, TOLD, os.getpid()))

    def test_seen_before(self) -> None:
        """Who is known already is not asked for again."""
        for visitor in (Visitor("here", PEER), Visitor("unix:/s", pid=17)):
            self.assertIs(visitor.seen(self.wire), visitor)

    def test_gone(self) -> None:
        """It is known after it has closed the connection, but not after we have."""
        self.theirs.close()
        self.assertEqual(peer_pid(self.ours), os.getpid())
        self.ours.close()
        self.assertEqual(peer_pid(self.ours), 0)
        self.assertEqual(Visitor("unix:/s").seen(self.wire), Visitor("unix:/s"))

    def test_other_process(self) -> None:
        """It is the process at the other end, not ours."""
        path = os.path.join(temporary_directory(self), "s")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen()
        code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        process = subprocess.Popen([sys.executable, "-c", code, path])
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        self.assertEqual(process.wait(), 0)
        self.assertEqual(peer_pid(accepted), process.pid)

    def test_tcp(self) -> None:
        """Of a TCP connection it is not known."""
        ours, theirs = tcp_pair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.assertEqual(peer_pid(ours), 0)


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
