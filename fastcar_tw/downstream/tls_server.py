"""
The server side of TLS, on a connection or in a tunnel.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from fastcar_tw.downstream.clients import Clients
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.http1 import DownstreamConnection
from fastcar_tw.tls.layer import TLSLayer
from fastcar_tw.tls.machine import TLSMachine
from fastcar_tw.tls.server_contexts import server_name
from fastcar_tw.wire import Wire


class TLSServerLayer(TLSLayer):
    """
    Hands the wire over when the handshake is finished: to HTTP, unless a subclass says otherwise.

    @ivar deadline: until when the handshake has to be.
    """

    __slots__ = ("_clients", "_entrance", "deadline")

    def __init__(
        self, clients: Clients, entrance: Entrance, machine: TLSMachine, deadline: float
    ) -> None:
        super().__init__(machine)
        self._clients = clients
        self._entrance = entrance
        self.deadline = deadline

    def inside(self) -> Any:
        """
        @return: the protocol of what speaks inside.
        """
        clients = self._clients
        connection = self.machine.connection
        entrance = self._entrance.inside_tls(
            connection.get_protocol_version_name(), server_name(connection)
        )
        return DownstreamConnection(clients, entrance, clients.client_deadline())

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        self._clients.watch(self)

    def handshaken(self) -> None:
        self.protocol = self.inside()
        self.protocol.makeConnection(self)
        self._clients.unwatch(self)

    def failed(self, reason: Failure) -> None:
        # Still watched: in a tunnel there may be more to send than the alert.
        self._clients.client_failed(reason)

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._clients.unwatch(self)

    def expired(self) -> None:
        """
        The handshake has taken too long.
        """
        self.abort()

    def drain(self) -> None:
        """
        fastcar is stopping, and nothing has been asked for here.
        """
        self.abort()

    def abort(self) -> None:
        """
        End at once.
        """
        self.abortConnection()
