"""
Tunnels: two connections become one, and nothing in between looks at the bytes.

What follows an upgrade (RFC 9110 section 7.8) is one, and so is what CONNECT or SOCKS5 have asked
for where the operator allows it.  Each end is the protocol and the producer of its own wire: what
arrives at one is written to the other; an end that cannot take more stops the other from being
read; an end of input is passed on, and the other direction stays open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.deadlines import NEVER
from fastcar_tw.wire import Wire, hung_up, read_in_bulk


class TunnelKeeper(Protocol):
    """
    Who watches over tunnels.
    """

    def watch(self, client: Tunnel) -> None: ...

    def unwatch(self, client: Tunnel) -> None: ...

    def stall_deadline(self) -> float:
        """
        When a tunnel through which no byte passes from now on has stood still for too long.
        """

    def stalled(self, what: str, started: float) -> None:
        """
        A tunnel was broken off because nothing moved.
        """


class Tunnel:
    """
    Both ends, and the time in which something has to move.

    @ivar what: what to call it in the log.
    @ivar started: when it was asked for, in seconds.
    @ivar client: the protocol for the client's wire.
    @ivar origin: the protocol for the origin's wire.
    @ivar deadline: when to see whether something has moved.
    """

    __slots__ = ("_keeper", "_moved", "client", "deadline", "origin", "started", "what")

    def __init__(self, keeper: TunnelKeeper, what: str, started: float) -> None:
        self.what = what
        self.started = started
        self._keeper = keeper
        self._moved = 0
        self.client = TunnelEnd(self)
        self.origin = TunnelEnd(self)
        self.client.other, self.origin.other = self.origin, self.client
        self.deadline = NEVER

    def start(self) -> None:
        """
        Both ends are about to be connected.
        """
        self.moved()
        self._keeper.watch(self)

    # From the ends.

    def moved(self) -> None:
        """
        Bytes have arrived.
        """
        self.deadline = self._keeper.stall_deadline()

    def ended(self) -> None:
        """
        An end will send no more: close when neither will.
        """
        if self.client.input_ended and self.origin.input_ended:
            self.client.close()
            self.origin.close()

    def lost(self, end: TunnelEnd) -> None:
        """
        An end has no connection any more.
        """
        if end.input_ended:
            end.other.close()
        else:
            # It did not say that this was all.
            end.other.abort()
        if self.client.is_lost and self.origin.is_lost:
            self._keeper.unwatch(self)

    # From the keeper.

    def expired(self) -> None:
        """
        No byte has arrived for too long; but some that wait may have left since the last look.
        """
        sent = self.client.sent() + self.origin.sent()
        if sent != self._moved and (self.client.waiting() or self.origin.waiting()):
            self._moved = sent
            self.moved()
            return
        if not (self.client.closing or self.origin.closing):
            self._keeper.stalled(self.what, self.started)
        self.abort()

    def drain(self) -> None:
        """
        fastcar is stopping: only the ends know when they are done.
        """

    def abort(self) -> None:
        """
        Break both connections off.
        """
        self.client.abort()
        self.origin.abort()


@implementer(IHalfCloseableProtocol, IPushProducer)
class TunnelEnd:
    """
    One of the two connections.

    @ivar other: the other end.
    @ivar input_ended: nothing more will come from here.
    @ivar closing: nothing more is to be sent here.
    @ivar broke_off: the connection was lost, and neither side had said that it would be.
    @ivar received: bytes that have come from here.
    @ivar on_lost: is told when the connection has ended.
    """

    __slots__ = (
        "_tunnel",
        "_wire",
        "broke_off",
        "closing",
        "input_ended",
        "is_lost",
        "on_lost",
        "other",
        "received",
    )

    other: TunnelEnd

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._wire: Wire | None = None
        self.received = 0
        self.input_ended = False
        self.closing = False
        self.broke_off = False
        self.is_lost = False
        self.on_lost: Callable[[Failure], None] | None = None

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        # Endpoints put a wrapper between transport and protocol; it has done its work now.
        transport.protocol = self
        self._wire = transport
        transport.registerProducer(self, True)
        if self.other._wire is not None:
            read_in_bulk(transport, self.other._wire)

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.other.write(data)
        self._tunnel.moved()

    def readConnectionLost(self) -> None:
        if self.input_ended or self._wire is None:
            return
        self.input_ended = True
        if self is self._tunnel.client and not self.other.input_ended and hung_up(self._wire):
            # Nobody is left to take an answer.  Were ours ended too, this would look the same.
            self.abort()
            return
        self.other.end_output()
        self._tunnel.ended()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        self._wire = None
        self.broke_off = not (self.input_ended or self.closing)
        self.is_lost = self.closing = True
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost(reason)
        self._tunnel.lost(self)

    # Back-pressure: what was written here is not read.

    def pauseProducing(self) -> None:
        self.other.pause_reading()

    def resumeProducing(self) -> None:
        self.other.resume_reading()

    def stopProducing(self) -> None:
        pass

    # From the other end, and the tunnel.

    def sent(self) -> int:
        """
        Bytes that the kernel has taken.
        """
        return self._wire.bytes_sent if self._wire is not None else 0

    def waiting(self) -> int:
        """
        Bytes that it has not.
        """
        return self._wire.unsent if self._wire is not None else 0

    def write(self, data: bytes) -> None:
        """
        Send.
        """
        if self._wire is not None:
            self._wire.write(data)

    def pause_reading(self) -> None:
        """
        Take no more for now.
        """
        if self._wire is not None:
            self._wire.pauseProducing()

    def resume_reading(self) -> None:
        """
        Take more.
        """
        if self._wire is not None and not self.input_ended:
            self._wire.resumeProducing()

    def end_output(self) -> None:
        """
        The other end has said its last.
        """
        if self._wire is not None:
            self._wire.loseWriteConnection()

    def close(self) -> None:
        """
        Close when all is sent.
        """
        if self._wire is not None and not self.closing:
            self.closing = True
            self._wire.unregisterProducer()
            self._wire.loseConnection()

    def abort(self) -> None:
        """
        Break off.
        """
        if self._wire is not None:
            self.closing = True
            self._wire.unregisterProducer()
            self._wire.abortConnection()
