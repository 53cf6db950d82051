"""
The front: looks at the first byte of a connection, decides who speaks on it, and steps aside.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from fastcar_tw.downstream.http1 import DownstreamConnection
from fastcar_tw.forward.forwarder import Forwarder
from fastcar_tw.tls.layer import TLSLayer
from fastcar_tw.tls.machine import TLSMachine
from fastcar_tw.wire import Wire

#: The first byte of a TLS connection: a record of type handshake (RFC 8446 section 5.1).
TLS_HANDSHAKE = 0x16


class Front:
    """
    The first protocol on every client connection.  TLS is terminated here; anything else is taken
    for HTTP/1.x, whose parser answers what is neither.
    """

    __slots__ = ("_forwarder", "_transport", "deadline")

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._transport: Wire | None = None
        self.deadline = 0.0

    def makeConnection(self, transport: Wire) -> None:
        self._transport = transport
        self.deadline = self._forwarder.client_deadline()
        self._forwarder.watch(self)

    def dataReceived(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        self._forwarder.unwatch(self)
        self._transport = None
        successor: Any
        if data[0] == TLS_HANDSHAKE:
            machine = self._forwarder.server_contexts.server()
            successor = TLSServerLayer(self._forwarder, machine, self.deadline)
        else:
            successor = DownstreamConnection(self._forwarder, "http", self.deadline)
        transport.protocol = successor
        successor.makeConnection(transport)
        successor.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        self._forwarder.unwatch(self)
        self._transport = None

    def expired(self) -> None:
        """
        The client has connected and said nothing.
        """
        self.abort()

    def abort(self) -> None:
        """
        End at once.
        """
        if self._transport is not None:
            self._transport.abortConnection()

    def drain(self) -> None:
        """
        fastcar is stopping, and nothing has been asked for here.
        """
        self.abort()


class TLSServerLayer(TLSLayer):
    """
    The server side of TLS: hands the wire to HTTP when the handshake is finished.

    @ivar deadline: until when the handshake has to be.
    """

    __slots__ = ("_forwarder", "deadline")

    def __init__(self, forwarder: Forwarder, machine: TLSMachine, deadline: float) -> None:
        super().__init__(machine)
        self._forwarder = forwarder
        self.deadline = deadline

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        self._forwarder.watch(self)

    def handshaken(self) -> None:
        self._forwarder.unwatch(self)
        self.protocol = DownstreamConnection(
            self._forwarder, "https", self._forwarder.client_deadline()
        )
        self.protocol.makeConnection(self)

    def failed(self, reason: Failure) -> None:
        self._forwarder.unwatch(self)
        self._forwarder.client_failed(reason)

    def expired(self) -> None:
        """
        The handshake has taken too long.
        """
        self.abortConnection()

    def abort(self) -> None:
        """
        End at once.
        """
        self.abortConnection()

    def drain(self) -> None:
        """
        fastcar is stopping, and nothing has been asked for here.
        """
        self.abortConnection()
