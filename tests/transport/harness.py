"""A reactor that is stepped by hand, and protocols that record what happens to them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import main
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.transport.eager import EagerUNIXServer


class StepReactor(Clock):
    """Keeps who wants to read and write; C{step} gives each writer one turn, as a poll would."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def step(self) -> None:
        """Run what is due now and let every writer write once."""
        self.advance(0)
        for writer in list(self.writers):
            why = writer.doWrite()
            if why:
                self.removeReader(writer)
                self.removeWriter(writer)
                writer.connectionLost(Failure(why))


class Recorder(Protocol):
    """Records what it receives and how it ends; C{when} waits for either."""

    def __init__(self) -> None:
        self.received = b""
        self.events: list[str] = []
        self.reason: Failure | None = None
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def happened(self, event: str) -> None:
        """Record an event and wake those whose condition has become true."""
        self.events.append(event)
        due = [item for item in self._waiting if item[0]()]
        self._waiting = [item for item in self._waiting if item not in due]
        for _, deferred in due:
            deferred.callback(None)

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fire once the condition holds, looking after every event."""
        deferred: Deferred[None] = Deferred()
        if condition():
            deferred.callback(None)
        else:
            self._waiting.append((condition, deferred))
        return deferred

    def gets(self, count: int) -> Deferred[None]:
        """Fire once C{count} bytes have arrived."""
        return self.when(lambda: len(self.received) >= count)

    def ends(self) -> Deferred[None]:
        """Fire once the connection is lost."""
        return self.when(lambda: self.reason is not None)

    def connectionMade(self) -> None:
        self.happened("made")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.happened("data")

    def connectionLost(self, reason: Failure = main.CONNECTION_DONE) -> None:  # type: ignore[assignment]
        self.reason = reason
        self.happened("lost")


@implementer(IHalfCloseableProtocol)
class HalfCloseRecorder(Recorder):
    """A recorder that takes half-closes for what they are."""

    def readConnectionLost(self) -> None:
        self.happened("read lost")

    def writeConnectionLost(self) -> None:
        self.happened("write lost")


@implementer(IPushProducer)
class PushProducer:
    """Records what a consumer asks of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pauseProducing(self) -> None:
        self.asked.append("pause")

    def resumeProducing(self) -> None:
        self.asked.append("resume")

    def stopProducing(self) -> None:
        self.asked.append("stop")


@implementer(IPullProducer)
class PullProducer:
    """Writes its pieces one a request, then unregisters."""

    def __init__(self, consumer: Any, pieces: list[bytes]) -> None:
        self.consumer = consumer
        self.pieces = pieces

    def resumeProducing(self) -> None:
        self.consumer.write(self.pieces.pop(0))
        if not self.pieces:
            self.consumer.unregisterProducer()

    def stopProducing(self) -> None:
        self.pieces.clear()


def small_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected stream sockets with the smallest buffers the system grants."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    theirs.setblocking(False)
    return ours, theirs


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two sockets connected by TCP over the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        return listener.accept()[0], theirs


def connect(
    protocol: Recorder | None = None,
) -> tuple[StepReactor, EagerUNIXServer, Recorder, socket.socket]:
    """Return a reactor, an eager transport on it, its protocol and the socket of the peer."""
    reactor = StepReactor()
    ours, theirs = small_pair()
    protocol = protocol or Recorder()
    transport = EagerUNIXServer(ours, protocol, "", None, 0, reactor)
    protocol.makeConnection(transport)
    return reactor, transport, protocol, theirs


def drain(peer: socket.socket) -> bytes:
    """Read what has arrived so far."""
    data = b""
    while True:
        try:
            piece = peer.recv(65536)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece
