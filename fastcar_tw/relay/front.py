"""
Who speaks on a new client connection of the relay: what may come before the client's own bytes, a
PROXY header and TLS.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.downstream.tls_server import TLSServerLayer
from fastcar_tw.relay.proxy_protocol import ProxyHeaderError, ProxyHeaderReader
from fastcar_tw.relay.relay import Relay
from fastcar_tw.relay.visitor import Visitor
from fastcar_tw.tls.machine import TLSError
from fastcar_tw.tls.server_contexts import ServerContexts


class ProxyHeaderStage(Stage):
    """
    A client that has to say first whom it speaks for.
    """

    __slots__ = ("_contexts", "_reader", "_relay", "_visitor")

    def __init__(self, relay: Relay, contexts: ServerContexts | None, visitor: Visitor) -> None:
        super().__init__(relay, relay.client_deadline())
        self._relay = relay
        self._contexts = contexts
        self._visitor = visitor
        self._reader = ProxyHeaderReader()

    def dataReceived(self, data: bytes) -> None:
        try:
            addresses = self._reader.feed(data)
        except ProxyHeaderError as error:
            self._relay.gave_up(self._visitor, str(error))
            self.abort()
            return
        if addresses is not None:
            visitor = self._visitor._replace(told=addresses)
            self.pass_on(behind_header(self._relay, self._contexts, visitor), self._reader.rest)

    def expired(self) -> None:
        """
        See L{Stage.expired}.
        """
        self._relay.gave_up(self._visitor, "sent no whole PROXY header in time")
        super().expired()


class RelayTLSLayer(TLSServerLayer):
    """
    A client that speaks TLS.
    """

    __slots__ = ("_relay", "_visitor")

    def __init__(self, relay: Relay, contexts: ServerContexts, visitor: Visitor) -> None:
        entrance = Entrance(visitor.listener)
        super().__init__(relay, entrance, contexts.server(""), relay.client_deadline())
        self._relay = relay
        self._visitor = visitor

    def inside(self) -> Any:
        """
        See L{TLSServerLayer.inside}.
        """
        return self._relay.client(self._visitor)

    def failed(self, reason: Failure) -> None:
        """
        See L{TLSServerLayer.failed}.
        """
        error = reason.value
        if isinstance(error, TLSError):
            self._relay.gave_up(self._visitor, f"TLS failed: {error.reason}")


def behind_header(relay: Relay, contexts: ServerContexts | None, visitor: Visitor) -> Any:
    """
    @return: the protocol of a client that has no PROXY header to send any more.
    """
    if contexts is None:
        return relay.client(visitor)
    return RelayTLSLayer(relay, contexts, visitor)


class RelayFactory(Factory):
    """
    Builds the protocol of each client connection.

    @ivar listener: where they come in.
    """

    noisy = False

    listener: str

    def __init__(self, relay: Relay, contexts: ServerContexts | None) -> None:
        """
        @param contexts: for TLS; None: clients speak none.
        """
        self._relay = relay
        self._contexts = contexts

    def buildProtocol(self, addr: IAddress | None) -> Any:
        relay = self._relay
        if not relay.admit():
            return None
        host = getattr(addr, "host", None)
        peer = None if host is None else (host, getattr(addr, "port", 0))
        visitor = Visitor(self.listener, peer)
        if relay.config.accept_proxy_protocol:
            return ProxyHeaderStage(relay, self._contexts, visitor)
        return behind_header(relay, self._contexts, visitor)
