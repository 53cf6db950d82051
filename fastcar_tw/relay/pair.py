"""
Clients that have a connection to a backend of their own, and what passes untouched between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.deadlines import NEVER
from fastcar_tw.downstream.farewell import Farewell
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.relay.connection import BackendConnection
from fastcar_tw.relay.framing import Framing
from fastcar_tw.relay.proxy_protocol import encode
from fastcar_tw.relay.visitor import Visitor
from fastcar_tw.tunnel import Tunnel, TunnelEnd
from fastcar_tw.upstream.backends import Backend
from fastcar_tw.wire import Wire, hung_up

if TYPE_CHECKING:
    from fastcar_tw.relay.relay import Relay

#: Bytes that are kept of what a client sends before its backend is connected.
MAX_EARLY = 64 * 1024


@implementer(IHalfCloseableProtocol)
class PairClient(Stage):
    """
    A client that waits for its connection to a backend.
    """

    __slots__ = (
        "_backend",
        "_early",
        "_framing",
        "_held",
        "_input_ended",
        "_relay",
        "_started",
        "_visitor",
    )

    def __init__(
        self,
        relay: Relay,
        visitor: Visitor,
        early: bytes = b"",
        input_ended: bool = False,
        held: BackendConnection | None = None,
        framing: Framing | None = None,
    ) -> None:
        """
        @param early: what has come from it already.
        @param input_ended: and that was all.
        @param held: the connection it is to have; None: any.
        @param framing: knows how to say that there is none.
        """
        super().__init__(relay, NEVER)  # connecting has its own
        self._relay = relay
        self._visitor = visitor
        self._early = bytearray(early)
        self._input_ended = input_ended
        self._held = held
        self._framing = framing
        self._started = relay.now()
        self._backend: Backend | None = None

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        self._visitor = self._visitor.seen(transport)
        self._look_whether_full()
        held, self._held = self._held, None
        if held is not None:
            self.connected(held)
            return
        pool = self._relay.pool
        self._backend = pool.choose()
        pool.acquire(self._backend, self)

    def dataReceived(self, data: bytes) -> None:
        self._early += data
        self._look_whether_full()

    def readConnectionLost(self) -> None:
        self._input_ended = True
        if self._wire is not None and self._has_gone(self._wire):
            self.abort()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        if self._backend is not None:
            self._relay.pool.cancel(self._backend, self)

    # From the pool.

    def is_repeatable(self) -> bool:
        """
        See L{Waiter<fastcar_tw.upstream.pool_shell.Waiter>}.
        """
        return False

    def connected(self, connection: BackendConnection) -> None:
        """
        See L{Waiter<fastcar_tw.upstream.pool_shell.Waiter>}.
        """
        self._backend = None
        wire, relay = self._wire, self._relay
        if wire is None or self._has_gone(wire):
            connection.abort()
            self.abort()
            return
        version = relay.config.proxy_version
        header = b"" if version is None else encode(version, self._visitor.addresses(wire))
        pair = Pair(relay, f"{self._visitor} with {connection.backend}", self._started, connection)
        pair.start()
        connection.hand_over(pair.origin)
        relay.paired(pair, connection)
        if header:
            pair.origin.write(header)
        self.pass_on(pair.client)
        if len(self._early) >= MAX_EARLY:
            pair.client.resume_reading()
        if self._early:
            pair.client.dataReceived(bytes(self._early))
        if self._input_ended:
            pair.client.readConnectionLost()

    def connect_failed(self, error: GatewayError) -> None:
        """
        See L{Waiter<fastcar_tw.upstream.pool_shell.Waiter>}.
        """
        self._backend = None
        self._relay.gave_up(self._visitor, error.text)
        refusal = None if self._framing is None else self._framing.refusal(reason(error))
        if refusal is None:
            self.abort()
        else:
            self.pass_on(Farewell(self._relay, refusal))

    # From the relay.

    def drain(self) -> None:
        """
        See L{Stage.drain}: what it has sent is still passed on.
        """
        if not self._early:
            self.abort()

    # Ours.

    def _has_gone(self, wire: Wire) -> bool:
        """
        Nobody is left to take an answer, and nothing is there to be passed on.
        """
        return not self._early and hung_up(wire)

    def _look_whether_full(self) -> None:
        if self._wire is not None and len(self._early) >= MAX_EARLY:
            self._wire.pauseProducing()


def reason(error: GatewayError) -> str:
    """
    @return: what a client is told of it: not where the backends are.
    """
    return error.text.partition(": ")[2] or error.text


class Pair(Tunnel):
    """
    A client and its connection.

    @ivar backend: whom the latter leads to.
    """

    __slots__ = ("_relay", "backend")

    def __init__(
        self, relay: Relay, what: str, started: float, connection: BackendConnection
    ) -> None:
        super().__init__(relay, what, started)
        self._relay = relay
        self.backend = connection.backend

    def lost(self, end: TunnelEnd) -> None:
        """
        See L{Tunnel.lost}.
        """
        # Where the other had ended, it is not always meant: TLS may just not have been closed.
        if end.broke_off and not end.other.input_ended:
            self._relay.broken_off(self, "client" if end is self.client else "backend")
        super().lost(end)
        if self.client.is_lost and self.origin.is_lost:
            self._relay.pair_ended(self)
