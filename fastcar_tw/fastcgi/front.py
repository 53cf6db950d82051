"""
Who speaks on a new client connection of the FastCGI service.
"""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.front import TLS_HANDSHAKE
from fastcar_tw.downstream.http1 import DownstreamConnection
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.downstream.tls_server import TLSServerLayer
from fastcar_tw.fastcgi.gateway import Gateway
from fastcar_tw.tls.server_contexts import ServerContexts


class GatewayFront(Stage):
    """
    Looks at the first byte: TLS, or HTTP.
    """

    __slots__ = ("_contexts", "_entrance")

    def __init__(self, gateway: Gateway, contexts: ServerContexts, entrance: Entrance) -> None:
        super().__init__(gateway, gateway.client_deadline())
        self._contexts = contexts
        self._entrance = entrance

    def dataReceived(self, data: bytes) -> None:
        if data[0] == TLS_HANDSHAKE:
            machine = self._contexts.server("")
            layer = TLSServerLayer(self._clients, self._entrance, machine, self.deadline)
            self.pass_on(layer, data)
        else:
            self.pass_on(DownstreamConnection(self._clients, self._entrance, self.deadline), data)


class GatewayFactory(Factory):
    """
    Builds the protocol of each client connection.

    @ivar listener: where they come in.
    """

    noisy = False

    listener: str

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    # Not an IProtocol by the letter: nobody asks for its connectionMade.
    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> GatewayFront | DownstreamConnection:
        gateway = self._gateway
        host = getattr(addr, "host", None)
        peer = None if host is None else (host, getattr(addr, "port", 0))
        entrance = Entrance(self.listener, peer=peer)
        if gateway.server_contexts is not None:
            return GatewayFront(gateway, gateway.server_contexts, entrance)
        return DownstreamConnection(gateway, entrance, gateway.client_deadline())
