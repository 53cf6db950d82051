"""
The end of a connection whose client is refused, so that it can read why.
"""

from __future__ import annotations

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.forward.forwarder import Forwarder
from fastcar_tw.wire import Wire


@implementer(IHalfCloseableProtocol)
class Farewell:
    """
    Says its last and waits for the client to go, whatever it still sends: closing at once could
    destroy the answer (RFC 9112 section 9.6 has the reason).

    @ivar deadline: when to wait no longer.
    """

    __slots__ = ("_answer", "_forwarder", "_wire", "deadline")

    def __init__(self, forwarder: Forwarder, answer: bytes) -> None:
        self.deadline = forwarder.client_deadline()
        self._forwarder = forwarder
        self._answer = answer
        self._wire: Wire | None = None

    def makeConnection(self, transport: Wire) -> None:
        transport.protocol = self
        self._wire = transport
        self._forwarder.watch(self)
        transport.resumeProducing()
        transport.write(self._answer)
        transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        pass

    def readConnectionLost(self) -> None:
        if self._wire is not None:
            self._wire.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        self._forwarder.unwatch(self)
        self._wire = None

    def expired(self) -> None:
        """
        The client stays.
        """
        self.abort()

    def abort(self) -> None:
        """
        End at once.
        """
        if self._wire is not None:
            self._wire.abortConnection()

    def drain(self) -> None:
        """
        fastcar is stopping, and all is said.
        """
        self.abort()
