"""
What the short stages have in common that a client connection passes through.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from fastcar_tw.downstream.clients import Clients
from fastcar_tw.wire import Wire


class Stage:
    """
    A protocol that soon gives its wire to the next one, or ends; nothing has been asked for yet
    that would be worth waiting for when fastcar stops.

    @ivar deadline: until when it has to be over.
    """

    __slots__ = ("_clients", "_wire", "deadline")

    def __init__(self, clients: Clients, deadline: float) -> None:
        self.deadline = deadline
        self._clients = clients
        self._wire: Wire | None = None

    def makeConnection(self, transport: Wire) -> None:
        self._wire = transport
        self._clients.watch(self)

    def pass_on(self, successor: Any, early: bytes = b"") -> None:
        """
        Leave the wire to the next protocol.

        @param early: what has already arrived for it.
        """
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.protocol = successor
            successor.makeConnection(wire)
            # Not before: a client that nobody watches is one that has gone.
            self._clients.unwatch(self)
            if early:
                successor.dataReceived(early)

    def connectionLost(self, reason: Failure) -> None:
        self._clients.unwatch(self)
        self._wire = None

    def expired(self) -> None:
        """
        It has taken too long.
        """
        self.abort()

    def drain(self) -> None:
        """
        fastcar is stopping.
        """
        self.abort()

    def abort(self) -> None:
        """
        End at once.
        """
        if self._wire is not None:
            self._wire.abortConnection()
