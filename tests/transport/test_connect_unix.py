"""How connections to UNIX sockets are made."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from typing import Any

from twisted.internet import main
from twisted.internet.error import (
    BadFileError,
    ConnectError,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from fastcar_tw.testing import MemoryReactor
from fastcar_tw.transport.eager import RETRY_INTERVAL, EagerUNIXConnector, EagerUNIXServer

from .harness import Recorder, StepReactor, drain, small_pair

TIMEOUT = 5.0


class Dialler(ClientFactory):
    """Records what becomes of an attempt."""

    noisy = False

    def __init__(self) -> None:
        self.protocols: list[Recorder] = []
        self.failures: list[Failure] = []

    def buildProtocol(self, addr: IAddress | None) -> Recorder:
        self.protocols.append(Recorder())
        return self.protocols[-1]

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.failures.append(reason)


class ConnectCase(SynchronousTestCase):
    """Dials a listening socket whose backlog holds one connection."""

    def setUp(self) -> None:
        self.reactor = StepReactor()
        self.factory = Dialler()
        self.directory = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "s")

    def listen(self) -> socket.socket:
        """Listen without accepting."""
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(self.path)
        server.listen(0)
        server.setblocking(False)
        return server

    def dial(self, path: str | None = None, check_pid: bool = False) -> EagerUNIXConnector:
        """Start connecting, on a reactor without a poller."""
        connector = EagerUNIXConnector(
            path or self.path, self.factory, TIMEOUT, self.reactor, check_pid
        )
        connector.connect()
        self.addCleanup(self.hang_up)
        return connector

    def hang_up(self) -> None:
        """Lose what was connected."""
        for protocol in self.factory.protocols:
            transport: Any = protocol.transport
            if transport.connected:
                transport.connectionLost(Failure(main.CONNECTION_DONE))

    def assert_failed(self, kind: type[Exception]) -> None:
        """The attempt has failed, for a reason, once, and left nothing behind."""
        self.assertEqual([failure.type for failure in self.factory.failures], [kind])
        self.assertEqual(self.factory.protocols, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))


class ConnectTests(ConnectCase):
    """One attempt that succeeds or fails."""

    def test_made(self) -> None:
        """A connection is made in the next turn, without a write event, and not before."""
        server = self.listen()
        self.dial()
        self.assertEqual(self.factory.protocols, [])
        self.reactor.advance(0)
        (client,) = self.factory.protocols
        transport: Any = client.transport
        self.assertEqual((self.reactor.readers, self.reactor.writers), ({transport}, set()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        transport.write(b"hello")
        self.assertEqual((transport.bytes_sent, transport.unsent), (5, 0))
        there, _ = server.accept()
        self.addCleanup(there.close)
        self.assertEqual(there.recv(10), b"hello")
        self.assertEqual(transport.getPeer().name, os.fsencode(self.path))

    def test_missing(self) -> None:
        """A path that does not exist is a ConnectError that says so."""
        self.dial()
        self.reactor.advance(0)
        self.assert_failed(ConnectError)
        self.assertIn("No such file", str(self.factory.failures[0].value))

    def test_nobody_listens(self) -> None:
        """A socket file whose server is gone is refused."""
        self.listen().close()
        self.dial()
        self.reactor.advance(0)
        self.assert_failed(ConnectionRefusedError)

    def test_forbidden(self) -> None:
        """A socket file without permission is a ConnectError that says so."""
        if os.geteuid() == 0:
            raise SkipTest("root may connect to everything")
        self.listen()
        os.chmod(self.path, 0)
        self.dial()
        self.reactor.advance(0)
        self.assert_failed(ConnectError)
        self.assertIn("Permission denied", str(self.factory.failures[0].value))

    def test_too_long(self) -> None:
        """A path longer than an address can be is a ConnectError."""
        self.dial("/tmp/" + "x" * 200)
        self.reactor.advance(0)
        self.assert_failed(ConnectError)

    def test_lock_file(self) -> None:
        """With checkPID, a socket whose lock file nobody holds is not connected to."""
        self.listen()
        self.dial(check_pid=True)
        self.reactor.advance(0)
        self.assert_failed(BadFileError)

    def test_given_up_at_once(self) -> None:
        """An attempt that is given up before its turn never connects."""
        server = self.listen()
        self.dial().stopConnecting()
        self.reactor.advance(TIMEOUT)
        self.assert_failed(UserError)
        self.assertRaises(BlockingIOError, server.accept)

    def test_again(self) -> None:
        """A connector that has failed can be told to connect again."""
        connector = self.dial()
        self.reactor.advance(0)
        self.listen()
        connector.connect()
        self.reactor.advance(0)
        self.assertEqual(len(self.factory.protocols), 1)

    def test_file_descriptors_can_be_sent(self) -> None:
        """A descriptor travels with the next byte written, as on the stock transport."""
        server = self.listen()
        self.dial()
        self.reactor.advance(0)
        transport: Any = self.factory.protocols[0].transport
        transport.sendFileDescriptor(transport.fileno())
        transport.write(b"x")
        self.reactor.step()
        there, _ = server.accept()
        self.addCleanup(there.close)
        data, fds, _, _ = socket.recv_fds(there, 10, 1)
        self.assertEqual((data, len(fds)), (b"x", 1))
        os.close(fds[0])


class FullBacklogTests(ConnectCase):
    """A server that accepts too slowly: connect(2) says EAGAIN."""

    def setUp(self) -> None:
        super().setUp()
        if sys.platform != "linux":
            raise SkipTest("other systems refuse such connections")
        self.server = self.listen()
        with self.assertRaises(BlockingIOError):
            while True:
                waiting = socket.socket(socket.AF_UNIX)
                self.addCleanup(waiting.close)
                waiting.setblocking(False)
                waiting.connect(self.path)
        self.connector: EagerUNIXConnector = self.dial()
        self.reactor.advance(0)

    def assert_waiting(self) -> None:
        """The attempt goes on, asks for no events, and is made again after a pause."""
        self.assertEqual((self.factory.protocols, self.factory.failures), ([], []))
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        pauses = sorted(
            call.getTime() - self.reactor.seconds() for call in self.reactor.getDelayedCalls()
        )
        self.assertEqual(len(pauses), 2)  # and the timeout
        self.assertAlmostEqual(pauses[0], RETRY_INTERVAL)

    def test_waits(self) -> None:
        """It waits for as long as the backlog is full, and connects when it is not any more."""
        for _ in range(5):
            self.assert_waiting()
            self.reactor.advance(RETRY_INTERVAL)
        self.assert_waiting()
        self.server.accept()[0].close()
        self.reactor.advance(RETRY_INTERVAL)
        self.assertEqual(len(self.factory.protocols), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_times_out(self) -> None:
        """The connect timeout ends the waiting, and nothing goes on after it."""
        self.reactor.advance(TIMEOUT)
        self.assert_failed(TimeoutError)

    def test_given_up(self) -> None:
        """So does stopConnecting, by which endpoints cancel an attempt."""
        self.connector.stopConnecting()
        self.assert_failed(UserError)

    def test_server_leaves(self) -> None:
        """A server that leaves meanwhile ends the waiting too."""
        self.server.close()
        self.reactor.advance(RETRY_INTERVAL)
        self.assert_failed(ConnectionRefusedError)


class RoundTests(ConnectCase):
    """Attempts asked for while the poller dispatches a round of events."""

    def setUp(self) -> None:
        super().setUp()
        self.memory = MemoryReactor()
        self.ours, self.peer = small_pair()
        self.addCleanup(self.peer.close)
        self.during: list[Recorder] = []

    def ask(self, give_up: bool = False) -> None:
        """Have a request arrive that is answered by dialling, and let one round pass."""
        case = self

        class Dialling(Recorder):
            def dataReceived(self, data: bytes) -> None:
                connector = EagerUNIXConnector(
                    case.path, case.factory, TIMEOUT, case.memory.poller, False
                )
                connector.connect()
                case.addCleanup(case.hang_up)
                case.during = list(case.factory.protocols)
                if give_up:
                    connector.stopConnecting()

        protocol = Dialling()
        transport = EagerUNIXServer(self.ours, protocol, "", None, 0, self.memory.poller)
        protocol.makeConnection(transport)
        self.addCleanup(transport.connectionLost, Failure(main.CONNECTION_DONE))
        self.peer.send(b"x")
        self.memory.poller.doRead()

    def test_made(self) -> None:
        """The connection is made when the round ends, without a turn of the reactor, but not
        inside the call that asks for it."""
        server = self.listen()
        self.ask()
        self.assertEqual(self.during, [])
        (client,) = self.factory.protocols
        there, _ = server.accept()
        self.addCleanup(there.close)
        there.setblocking(False)
        assert client.transport is not None
        client.transport.write(b"hello")
        self.assertEqual(drain(there), b"hello")
        there.send(b"answer")
        self.memory.settle()
        self.assertEqual(client.received, b"answer")

    def test_missing(self) -> None:
        """An attempt that fails does so at that time too."""
        self.ask()
        self.assertEqual([failure.type for failure in self.factory.failures], [ConnectError])

    def test_given_up(self) -> None:
        """An attempt that is given up in the same round never connects."""
        server = self.listen()
        self.ask(give_up=True)
        self.assertEqual([failure.type for failure in self.factory.failures], [UserError])
        self.assertRaises(BlockingIOError, server.accept)

    def test_full_backlog(self) -> None:
        """A full backlog is waited for in the same way."""
        if sys.platform != "linux":
            raise SkipTest("other systems refuse such connections")
        server = self.listen()
        waiting = socket.socket(socket.AF_UNIX)
        self.addCleanup(waiting.close)
        waiting.connect(self.path)
        self.ask()
        self.memory.settle()
        self.assertEqual(self.factory.protocols, [])
        server.accept()[0].close()
        self.memory.elapse(RETRY_INTERVAL)
        self.assertEqual(len(self.factory.protocols), 1)
