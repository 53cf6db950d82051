"""
What happens when a client has asked for a tunnel, in whatever way: it gets one to fastcar itself,
or, where the operator allows it, one that nobody looks into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.deadlines import NEVER
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.farewell import Farewell
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.site.exchange import SITE_NAMES
from fastcar_tw.tunnel import Tunnel, TunnelEnd
from fastcar_tw.wire import Wire, hung_up

if TYPE_CHECKING:
    from fastcar_tw.forward.forwarder import Forwarder

#: Makes the answer for a tunnel that could not be opened.
Refused = Callable[[GatewayError], bytes]


def enter_tunnel(forwarder: Forwarder, entrance: Entrance, granted: bytes, refused: Refused) -> Any:
    """
    @param entrance: inside of the tunnel.
    @param granted: the answer that says that it is open.
    @return: the protocol for the client's wire, which answers.
    """
    # A tunnel begins as a connection does.
    from fastcar_tw.downstream.front import Front

    assert entrance.target is not None
    if entrance.target in forwarder.relayed and entrance.target[0] not in SITE_NAMES:
        return TunnelOpening(forwarder, entrance.target, granted, refused)
    return Front(forwarder, entrance, granted)


@implementer(IHalfCloseableProtocol)
class TunnelOpening(Stage):
    """
    A client waits for a tunnel that is relayed unseen.  fastcar connects before it answers, so that
    the answer is true.
    """

    __slots__ = (
        "_connecting",
        "_early",
        "_forwarder",
        "_granted",
        "_input_ended",
        "_refused",
        "_started",
        "_target",
        "_tunnel",
    )

    def __init__(
        self, forwarder: Forwarder, target: tuple[str, int], granted: bytes, refused: Refused
    ) -> None:
        super().__init__(forwarder, NEVER)  # connecting has its own
        self._forwarder = forwarder
        self._target = forwarder.relayed_origin(*target)
        self._granted = granted
        self._refused = refused
        self._started = forwarder.now()
        self._tunnel = Tunnel(forwarder, f"tunnel {self._target}", self._started)
        self._connecting: Deferred[Any] | None = None
        self._early = b""
        self._input_ended = False

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        transport.pauseProducing()
        forwarder = self._forwarder
        if forwarder.relaying >= forwarder.config.max_connections:
            self._refuse(GatewayError(503, "connection_limit_reached", "too many tunnels"))
            return
        forwarder.relaying += 1
        factory = _EndFactory(self._tunnel.origin)
        self._connecting = connecting = forwarder.pool.connect(self._target, factory)
        connecting.addCallbacks(self._connected, self._failed)

    def dataReceived(self, data: bytes) -> None:
        # No more than came with the request for the tunnel.
        if self._wire is None:
            self._tunnel.client.dataReceived(data)
        else:
            self._early += data

    def readConnectionLost(self) -> None:
        self._input_ended = True

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        if self._connecting is not None:
            self._connecting.cancel()

    # From the target.

    def _connected(self, _: object) -> None:
        self._connecting = None
        wire, tunnel = self._wire, self._tunnel
        tunnel.origin.on_lost = self._forwarder.relay_ended
        if wire is None or hung_up(wire):
            tunnel.origin.abort()
            self.abort()
            return
        if self._forwarder.config.verbose:
            self._forwarder.log.info("tunnel {target}: open", target=str(self._target))
        tunnel.start()
        wire.write(self._granted)
        self.pass_on(tunnel.client)
        if not self._input_ended:
            wire.resumeProducing()
        if self._early:
            tunnel.client.dataReceived(self._early)
        if self._input_ended:
            tunnel.client.readConnectionLost()

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        self._forwarder.relaying -= 1
        error = failure.value
        assert isinstance(error, GatewayError)
        # If the client has gone, that is why.
        if self._wire is not None:
            self._refuse(error)

    def _refuse(self, error: GatewayError) -> None:
        forwarder, wire = self._forwarder, self._wire
        forwarder.failed(f"tunnel {self._target}", error, self._started)
        self.pass_on(Farewell(forwarder, self._refused(error)))
        if self._input_ended and wire is not None:
            wire.loseConnection()


class _EndFactory(Factory):
    noisy = False

    def __init__(self, end: TunnelEnd) -> None:
        self._end = end

    # Not an IProtocol by the letter: nobody asks for its connectionMade.
    def buildProtocol(self, addr: IAddress | None) -> TunnelEnd:  # type: ignore[override]
        return self._end
