"""
What happens when a client has asked for a tunnel, in whatever way: it gets one to fastcar itself,
or, where the operator allows it, one that nobody looks into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from fastcar_tw.deadlines import NEVER
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.farewell import Farewell
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.forward.forwarder import Forwarder
from fastcar_tw.http.errors import FastcarError, GatewayError, MessageError
from fastcar_tw.http.target import join_authority
from fastcar_tw.site.exchange import SITE_NAMES
from fastcar_tw.tunnel import Tunnel, TunnelEnd
from fastcar_tw.wire import Wire, hung_up

#: Makes the answer for a tunnel that could not be opened.
Refusal = Callable[[GatewayError], bytes]


def enter_tunnel(forwarder: Forwarder, entrance: Entrance, granted: bytes, refusal: Refusal) -> Any:
    """
    @param entrance: inside of the tunnel.
    @param granted: the answer that says that it is open.
    @return: the protocol for the client's wire, which answers.
    """
    # A tunnel begins as a connection does.
    from fastcar_tw.downstream.front import Front

    assert entrance.target is not None
    if entrance.target in forwarder.relayed and entrance.target[0] not in SITE_NAMES:
        return RelayedTunnel(forwarder, entrance.target, granted, refusal)
    return Front(forwarder, entrance, granted)


def not_http(target: tuple[str, int]) -> MessageError:
    """
    What there is to say of a tunnel in which is something else than what may be.
    """
    host, port = target
    return MessageError(
        f"the tunnel to {join_authority(host, port)} carries neither TLS nor HTTP; "
        f"--tunnel {port} would let anything through"
    )


class RelayedTunnel(Stage):
    """
    A client waits for a tunnel to be opened.  fastcar connects before it answers, so that the
    answer is true.
    """

    __slots__ = (
        "_connecting",
        "_early",
        "_granted",
        "_input_ended",
        "_refusal",
        "_started",
        "_target",
        "_tunnel",
    )

    def __init__(
        self, forwarder: Forwarder, target: tuple[str, int], granted: bytes, refusal: Refusal
    ) -> None:
        super().__init__(forwarder, NEVER)  # connecting has its own
        self._target = forwarder.relayed_origin(*target)
        self._granted = granted
        self._refusal = refusal
        self._started = forwarder.now()
        self._tunnel = Tunnel(forwarder, self._stalled)
        self._connecting: Deferred[Any] | None = None
        self._early: list[bytes] = []
        self._input_ended = False

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        transport.pauseProducing()
        factory = _EndFactory(self._tunnel.origin)
        self._connecting = connecting = self._forwarder.pool.connect(self._target, factory)
        connecting.addCallbacks(self._connected, self._failed)

    def dataReceived(self, data: bytes) -> None:
        # No more than came with the request for the tunnel.
        self._early.append(data)

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
        wire, self._wire = self._wire, None
        tunnel = self._tunnel
        if wire is None or hung_up(wire):
            tunnel.origin.abort()
            if wire is not None:
                wire.abortConnection()
            return
        tunnel.start()
        if self._forwarder.config.verbose:
            elapsed = self._forwarder.now() - self._started
            self._forwarder.log.info(
                "tunnel {target}: open after {elapsed:.3f} s",
                target=str(self._target),
                elapsed=elapsed,
            )
        self._forwarder.unwatch(self)
        wire.write(self._granted)
        tunnel.client.makeConnection(wire)
        if not self._input_ended:
            wire.resumeProducing()
        for data in self._early:
            tunnel.client.dataReceived(data)
        if self._input_ended:
            tunnel.client.readConnectionLost()

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        error = failure.value
        assert isinstance(error, GatewayError)
        wire, self._wire = self._wire, None
        if wire is None:
            return  # which is why it has failed
        self._tell(error)
        Farewell(self._forwarder, self._refusal(error)).makeConnection(wire)
        self._forwarder.unwatch(self)
        if self._input_ended:
            wire.loseConnection()

    def _stalled(self) -> None:
        text = f"{self._target}: no byte moved for too long"
        self._tell(FastcarError(504, "connection_read_timeout", text))

    def _tell(self, error: FastcarError) -> None:
        elapsed = self._forwarder.now() - self._started
        self._forwarder.failed(f"tunnel {self._target}", error, elapsed)


class _EndFactory(Factory):
    noisy = False

    def __init__(self, end: TunnelEnd) -> None:
        self._end = end

    # Not an IProtocol by the letter: nobody asks for its connectionMade.
    def buildProtocol(self, addr: IAddress | None) -> TunnelEnd:  # type: ignore[override]
        return self._end
