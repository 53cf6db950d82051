"""The eager ports on the real reactor."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import socket
import stat
import tempfile
from typing import Any

from twisted.internet import defer, main, reactor
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from fastcar_tw.transport.facade import EagerReactor
from fastcar_tw.transport.ports import ACCEPTS_PER_WAKEUP, EagerUNIXPort

from .harness import Recorder

CLOSED = Failure(main.CONNECTION_DONE)


class OopsError(Exception):
    """What a broken protocol raises."""


class Recorders(Factory):
    """Builds recorders; `made` fires when the wanted number has received something."""

    noisy = False

    def __init__(self, wanted: int = 1) -> None:
        self.built: list[Recorder] = []
        self.wanted = wanted
        self.served: defer.Deferred[None] = defer.Deferred()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        protocol = Recorder()
        self.built.append(protocol)
        protocol.gets(1).addCallback(self._got)
        return protocol

    def _got(self, result: None) -> None:
        self.wanted -= 1
        if not self.wanted:
            self.served.callback(None)


class PortTestCase(TestCase):
    """Listens at a path in a directory of its own."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "s")
        self.reactor = EagerReactor(reactor)

    def listen(self, factory: Factory, **options: Any) -> EagerUNIXPort:
        """Listen at the path until the test is over."""
        port = self.reactor.listenUNIX(self.path, factory, **options)
        self.addCleanup(port.stopListening)
        return port

    def client(self, data: bytes = b"") -> socket.socket:
        """Return a connected blocking socket that has sent `data`."""
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.path)
        if data:
            client.send(data)
        return client


class AcceptTests(PortTestCase):
    """Accepting and its failures."""

    async def test_burst(self) -> None:
        """200 connections that wait at once are all served."""
        factory = Recorders(200)
        self.listen(factory)
        clients = [self.client(b"x") for _ in range(200)]
        await factory.served
        self.assertEqual([p.received for p in factory.built], [b"x"] * 200)
        self.assertEqual(len({p.transport.sessionno for p in factory.built}), 200)  # type: ignore[union-attr]
        self.assertEqual(len(clients), 200)

    def test_one_wakeup(self) -> None:
        """One wake-up accepts a bounded number of connections, and reads each."""
        factory = Recorders()
        port = self.listen(factory)
        for _ in range(ACCEPTS_PER_WAKEUP + 1):
            self.client(b"x")
        port.doRead()
        self.assertEqual([p.received for p in factory.built], [b"x"] * ACCEPTS_PER_WAKEUP)
        for protocol in factory.built:
            protocol.transport.abortConnection()  # type: ignore[union-attr]

    async def test_request_and_close(self) -> None:
        """A client that writes and closes before it is accepted is read, then lost."""
        factory = Recorders()
        self.listen(factory)
        self.client(b"x").close()
        await factory.served
        (protocol,) = factory.built
        await protocol.ends()
        self.assertEqual(protocol.events, ["made", "data", "lost"])

    async def test_connect_and_close(self) -> None:
        """Clients that connect and close do not disturb the next one."""
        factory = Recorders()
        self.listen(factory)
        for _ in range(100):
            self.client().close()
        self.client(b"x")
        await factory.served
        for protocol in factory.built[:-1]:
            await protocol.ends()

    async def check_goes_on(self, refuse: Factory, errors: int) -> None:
        """Assert that a failing first connection is closed and a second one served."""
        served = Recorders()
        answers = [refuse.buildProtocol, served.buildProtocol]

        class Both(Factory):
            noisy = False

            def buildProtocol(self, addr: IAddress | None) -> Any:
                return answers.pop(0)(addr)

        self.listen(Both())
        first, second = self.client(b"x"), self.client(b"y")
        await served.served
        second.close()
        first.setblocking(False)
        with contextlib.suppress(ConnectionResetError):  # closed with our byte unread
            self.assertEqual(first.recv(10), b"")
        self.assertEqual(len(self.flushLoggedErrors(OopsError)), errors)

    def test_no_protocol(self) -> defer.Deferred[None]:
        """buildProtocol returning None closes the connection."""

        class Refusing(Factory):
            def buildProtocol(self, addr: IAddress | None) -> None:
                return None

        return defer.Deferred.fromCoroutine(self.check_goes_on(Refusing(), 0))

    def test_build_protocol_raises(self) -> defer.Deferred[None]:
        """An exception in buildProtocol closes that connection only."""

        class Raising(Factory):
            def buildProtocol(self, addr: IAddress | None) -> None:
                raise OopsError

        return defer.Deferred.fromCoroutine(self.check_goes_on(Raising(), 1))

    def test_make_connection_raises(self) -> defer.Deferred[None]:
        """An exception in connectionMade closes that connection only."""

        class Raising(Protocol):
            def connectionMade(self) -> None:
                raise OopsError

        return defer.Deferred.fromCoroutine(self.check_goes_on(Factory.forProtocol(Raising), 1))

    def test_data_received_raises(self) -> defer.Deferred[None]:
        """An exception in the first dataReceived closes that connection only."""

        class Raising(Protocol):
            def dataReceived(self, data: bytes) -> None:
                raise OopsError

        return defer.Deferred.fromCoroutine(self.check_goes_on(Factory.forProtocol(Raising), 1))

    def test_connection_lost_raises_too(self) -> defer.Deferred[None]:
        """Not even connectionLost raising on top stops the port."""

        class Raising(Protocol):
            def dataReceived(self, data: bytes) -> None:
                raise OopsError

            def connectionLost(self, reason: Failure = CLOSED) -> None:
                raise OopsError

        return defer.Deferred.fromCoroutine(self.check_goes_on(Factory.forProtocol(Raising), 2))

    async def test_stop_while_accepting(self) -> None:
        """A port that is stopped by one connection accepts no other."""
        built = []
        stopped: defer.Deferred[None] = defer.Deferred()

        class Stopping(Factory):
            noisy = False

            def buildProtocol(self, addr: IAddress | None) -> None:
                built.append(addr)
                port.stopListening().chainDeferred(stopped)

        port = self.reactor.listenUNIX(self.path, Stopping())
        self.client()
        self.client()
        await stopped
        self.assertEqual(len(built), 1)


class ShortageTests(PortTestCase):
    """Errors of accept(2)."""

    def warnings(self) -> list[LogEvent]:
        """Return the list that log events go to from now on."""
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return events

    async def test_out_of_descriptors(self) -> None:
        """With no descriptor free clients wait, with one line in the log, and are served later."""
        factory = Recorders(3)
        port = self.listen(factory)
        for _ in range(3):
            self.client(b"x")
        events = self.warnings()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            for _ in range(5):
                port.doRead()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(factory.built, [])
        self.assertEqual(len([e for e in events if "reason" in e]), 1)
        self.assertIsNotNone(port._retry)
        await factory.served

    async def test_stop_during_the_pause(self) -> None:
        """A port can be stopped while it waits for descriptors."""
        port = self.reactor.listenUNIX(self.path, Recorders())
        port._pause(OSError(errno.EMFILE, "too many"))
        await port.stopListening()

    def test_lost_before_accept(self) -> None:
        """A connection that died in the queue is skipped and the next one accepted."""
        factory = Recorders()
        port = self.listen(factory)
        self.client(b"x")
        listener: Any = port.socket
        errors = [errno.ECONNABORTED, errno.EPERM]

        class Flaky:
            def _accept(self) -> Any:
                if errors:
                    raise OSError(errors.pop(), "lost")
                return listener._accept()

        port.socket = Flaky()
        port.doRead()
        port.socket = listener
        self.assertEqual(factory.built[0].received, b"x")
        factory.built[0].transport.abortConnection()  # type: ignore[union-attr]


class FileTests(PortTestCase):
    """The file of a UNIX port."""

    def test_mode(self) -> None:
        """The file gets exactly the mode asked for, whatever the umask, which stays as it was."""
        self.addCleanup(os.umask, os.umask(0o027))
        self.listen(Recorders(), mode=0o606)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o606)
        self.assertEqual(os.umask(0o027), 0o027)

    def test_default_mode(self) -> None:
        """Without a mode, others than owner and group are kept out."""
        self.listen(Recorders())
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o660)

    def test_private_from_birth(self) -> None:
        """Before it gets its mode, only the owner can use the file."""
        self.addCleanup(os.umask, os.umask(0))
        port = EagerUNIXPort(self.path.encode(), Recorders(), reactor=reactor)
        skt = port.createInternetSocket()
        self.addCleanup(skt.close)
        skt.bind(self.path)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    async def test_removed(self) -> None:
        """Stopping removes the file."""
        await self.reactor.listenUNIX(self.path, Recorders()).stopListening()
        self.assertEqual(os.listdir(self.directory), [])

    async def test_pid_lock_removed(self) -> None:
        """Stopping removes the lock that wantPID asked for."""
        port = self.reactor.listenUNIX(self.path, Recorders(), wantPID=True)
        self.assertEqual(sorted(os.listdir(self.directory)), ["s", "s.lock"])
        await port.stopListening()
        self.assertEqual(os.listdir(self.directory), [])

    async def test_replaced(self) -> None:
        """A file that took the place of ours is left alone."""
        port = self.reactor.listenUNIX(self.path, Recorders())
        os.rename(self.path, self.path + ".old")
        with open(self.path, "w"):
            pass
        await port.stopListening()
        self.assertEqual(sorted(os.listdir(self.directory)), ["s", "s.old"])

    async def test_gone(self) -> None:
        """A file that is gone already does not hinder stopping."""
        port = self.reactor.listenUNIX(self.path, Recorders())
        os.unlink(self.path)
        await port.stopListening()

    def test_occupied(self) -> None:
        """A path that exists is an error, and is not touched."""
        with open(self.path, "w") as file:
            file.write("mine")
        self.assertRaises(CannotListenError, self.reactor.listenUNIX, self.path, Recorders())
        with open(self.path) as file:
            self.assertEqual(file.read(), "mine")

    def test_mode_refused(self) -> None:
        """If the file cannot be given its mode, nothing is left behind."""
        self.assertRaises(
            OverflowError, self.reactor.listenUNIX, self.path, Recorders(), mode=1 << 40
        )
        self.assertEqual(os.listdir(self.directory), [])

    async def test_adopted(self) -> None:
        """An adopted socket's file, and its other holders, survive the port."""
        theirs = socket.socket(socket.AF_UNIX)
        self.addCleanup(theirs.close)
        theirs.bind(self.path)
        theirs.listen()
        port = EagerUNIXPort._fromListeningDescriptor(reactor, theirs.fileno(), Recorders())
        port.startListening()
        await port.stopListening()
        self.client()
        theirs.settimeout(5)
        theirs.accept()[0].close()

    async def test_abstract(self) -> None:
        """An abstract name works too."""
        factory = Recorders()
        self.path = f"\0fc-{os.getpid()}-{id(self)}"
        self.listen(factory)
        self.client(b"x")
        await factory.served


class TCPPortTests(TestCase):
    """The eager TCP port."""

    async def check(self, host: str, family: socket.AddressFamily) -> None:
        factory = Recorders()
        port = EagerReactor(reactor).listenTCP(0, factory, interface=host)
        self.addCleanup(port.stopListening)
        client = socket.socket(family)
        self.addCleanup(client.close)
        client.connect((host, port.getHost().port))
        client.send(b"x")
        await factory.served
        transport: Any = factory.built[0].transport
        self.assertEqual(transport.getPeer().port, client.getsockname()[1])
        self.assertEqual(transport.getPeer().host, host)
        self.assertTrue(transport.getTcpNoDelay())

    def test_ipv4(self) -> defer.Deferred[None]:
        """It serves IPv4, Nagle off."""
        return defer.Deferred.fromCoroutine(self.check("127.0.0.1", socket.AF_INET))

    def test_ipv6(self) -> defer.Deferred[None]:
        """It serves IPv6, Nagle off."""
        return defer.Deferred.fromCoroutine(self.check("::1", socket.AF_INET6))
