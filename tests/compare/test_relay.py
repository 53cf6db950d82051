"""The relay on real sockets; how much later bytes come is the subject of test_delay."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.compare.relay import Relay
from tests.peers.processes import LIMIT

#: Several times what a line holds.
_MUCH = os.urandom(1 << 16) * 64


def _read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


class RelayTests(SynchronousTestCase):
    """A relay with a short delay, in a thread."""

    def setUp(self) -> None:
        self.origin = self.listener()
        self.front = self.listener()
        relay = Relay(0.002, [(self.front, self.origin.getsockname()[1])])
        control, end = os.pipe()
        self.addCleanup(os.close, control)

        def run() -> None:
            while relay.turn(control):
                pass

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join, LIMIT)
        self.addCleanup(os.close, end)

    def listener(self) -> socket.socket:
        """A socket that listens on loopback."""
        made = socket.create_server(("127.0.0.1", 0))
        made.settimeout(LIMIT)
        self.addCleanup(made.close)
        return made

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection through the relay: the client's, the origin's."""
        client = socket.create_connection(self.front.getsockname(), LIMIT)
        self.addCleanup(client.close)
        origin, _ = self.origin.accept()
        origin.settimeout(LIMIT)
        self.addCleanup(origin.close)
        return client, origin

    def test_both_ways(self) -> None:
        """Bytes pass both ways."""
        client, origin = self.connect()
        client.sendall(b"ask")
        self.assertEqual(origin.recv(100), b"ask")
        origin.sendall(b"answer")
        self.assertEqual(client.recv(100), b"answer")

    def test_half_close(self) -> None:
        """The end of one direction passes on, and leaves the other open."""
        client, origin = self.connect()
        client.sendall(b"ask")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(_read_all(origin), b"ask")
        origin.sendall(b"answer")
        origin.close()
        self.assertEqual(_read_all(client), b"answer")

    def test_more_than_it_holds(self) -> None:
        """A reader that is slower than the sender gets everything, in order."""
        client, origin = self.connect()
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(_read_all(origin)))
        # Nobody reads while as much is sent as can be.
        client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < len(_MUCH):
                sent += client.send(_MUCH[sent:])
        client.settimeout(LIMIT)
        reader.start()
        client.sendall(_MUCH[sent:])
        client.shutdown(socket.SHUT_WR)
        reader.join(LIMIT)
        self.assertEqual(len(received[0]), len(_MUCH))
        self.assertEqual(received[0], _MUCH)

    def test_origin_is_gone(self) -> None:
        """A client whose origin cannot be reached is let go, and the relay stays."""
        self.origin.close()
        for _ in range(2):
            with socket.create_connection(self.front.getsockname(), LIMIT) as client:
                self.assertEqual(client.recv(1), b"")
