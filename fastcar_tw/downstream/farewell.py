"""
The end of a connection whose client is refused, so that it can read why.
"""

from __future__ import annotations

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from fastcar_tw.downstream.clients import Clients
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.wire import Wire


@implementer(IHalfCloseableProtocol)
class Farewell(Stage):
    """
    Says its last and waits for the client to go, whatever it still sends: closing at once could
    destroy the answer (RFC 9112 section 9.6 has the reason).
    """

    __slots__ = ("_answer",)

    def __init__(self, clients: Clients, answer: bytes) -> None:
        super().__init__(clients, clients.client_deadline())
        self._answer = answer

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
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
