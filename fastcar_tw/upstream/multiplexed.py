"""
One connection to an origin, speaking HTTP/2 for many exchanges at once.

What HTTP/2 is about is in L{Session<fastcar_tw.http2.session.Session>}; here it gets its bytes, and
the pool is told what has become of a stream's place.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import maxsize
from typing import Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.http2.session import Session
from fastcar_tw.http2.stream import Stream
from fastcar_tw.pool.stats import Retired
from fastcar_tw.upstream.exchange import OriginConnection, UpstreamExchange
from fastcar_tw.upstream.kept_connection import ConnectionOwner
from fastcar_tw.wire import Wire, hung_up, input_ended

_log = Logger(namespace="fastcar")


class MultiplexingOwner(ConnectionOwner["MultiplexedConnection"], Protocol):
    """
    The pool, as such a connection sees it.
    """

    def capacity_changed(self, connection: MultiplexedConnection) -> None:
        """
        It can serve another number of exchanges at once.
        """

    def used_up(self, connection: MultiplexedConnection) -> None:
        """
        It has begun as many exchanges as its origin answers on a connection.
        """

    def drain(self, connection: MultiplexedConnection, accepted: int | None) -> None:
        """
        It will serve those that it has, and no more.

        @param accepted: how many those were in all, if it was to serve others too.
        """


@implementer(IHalfCloseableProtocol)
class MultiplexedConnection(OriginConnection):
    """
    An HTTP/2 connection to one origin.

    @ivar failure: why it has ended, if it has before the origin was heard.
    """

    __slots__ = ("_clock", "_limit", "_opened", "_session", "failure")

    protocol = "HTTP/2"
    multiplexed = True

    _owner: MultiplexingOwner

    def __init__(
        self,
        origin: Origin,
        owner: MultiplexingOwner,
        address: str | None,
        clock: Callable[[], float],
        limit: int = maxsize,
    ) -> None:
        """
        @param limit: how many exchanges its origin answers on a connection.
        """
        super().__init__(origin, owner, address)
        self._session = Session(self, clock, str(origin))
        self._clock = clock
        self._opened = clock()
        self.failure = GatewayError(
            502,
            "connection_terminated",
            f"{origin} ended the connection, or broke it, before HTTP/2 had begun",
        )
        self._limit = limit
        self.capacity = min(self._session.capacity, limit)
        self.unheard = True

    # From the exchange.

    def start(self, exchange: UpstreamExchange, content: bytes, ended: bool) -> Stream:
        """
        See L{OriginConnection.start}.
        """
        self.served += 1
        self.fresh = False
        if self.served >= self._limit:
            self._owner.used_up(self)
        try:
            fields = exchange.request_fields()
        except Exception:
            self._owner.release(self)
            raise
        return self._session.open(exchange, fields, content, ended)

    # From the pool.

    def is_stale(self) -> bool:
        """
        Whether the origin has ended the connection.  What is unread on it may be anything; what
        could be wrong besides is seen to by a PING.
        """
        wire = self._wire
        return wire is None or input_ended(wire) or hung_up(wire, half=True)

    def found_stale(self) -> None:
        """
        See L{KeptConnection.found_stale}: what has come for others may still be unread.
        """
        self._owner.release(self)

    def spoiled(self, *, begun: bool) -> None:
        """
        See L{KeptConnection.spoiled}: the other exchanges are not to blame.  A stream that has been
        opened gives its place back when it ends.
        """
        if not begun:
            self._owner.release(self)

    def abort(self) -> None:
        """
        See L{KeptConnection.abort}: nothing of any exchange comes any more.
        """
        self._lose(Retired.BROKEN)

    def close(self) -> None:
        """
        See L{KeptConnection.close}.
        """
        self._session.close()
        super().close()

    def check(self, patience: float) -> None:
        """
        About a second has passed.

        @param patience: seconds from the end of the handshake to the origin's first word.
        """
        if not self._session.greeted and self._clock() - self._opened >= patience:
            text = f"{self.origin}: connecting took too long: HTTP/2 has not begun"
            self.failure = GatewayError(504, "connection_timeout", text)
            self._lose(Retired.BROKEN, self.failure)
            return
        self._session.check()
        self._end_if_broken()

    # From the session.

    def transmit(self, data: bytes) -> None:
        """
        Send.
        """
        if self._wire is not None:
            self._wire.write(data)

    def stream_ended(self) -> None:
        """
        There is room for one more.
        """
        self._owner.release(self)

    def capacity_changed(self) -> None:
        """
        The origin has said how many streams it allows.
        """
        self.capacity = min(self._session.capacity, self._limit)
        self._owner.capacity_changed(self)

    def going_away(self) -> None:
        """
        There will be no new streams.
        """
        self._owner.drain(self, self._session.accepted)

    def user_raised(self) -> None:
        """
        An exchange has a bug.
        """
        _log.failure("while telling an exchange with {origin}", origin=str(self.origin))

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        self._session.begin()

    def dataReceived(self, data: bytes) -> None:
        self._session.receive(data)
        self._end_if_broken()

    def readConnectionLost(self) -> None:
        self._lose(Retired.ENDED)

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        self._lose(Retired.ENDED)
        self._leaving = None
        self._owner.closed(self)

    def pauseProducing(self) -> None:
        self._full = True
        self._session.pause_sending()

    def resumeProducing(self) -> None:
        self._full = False
        self._session.resume_sending()

    # Ours.

    def _end_if_broken(self) -> None:
        if self._session.broken:
            # A GOAWAY that says why is still to be sent; but nobody is to wait for that.
            self._end(Retired.BROKEN, abort=not self._session.greeted)

    def _lose(self, why: Retired, error: GatewayError | None = None) -> None:
        """
        End the connection, and with it all its exchanges.
        """
        wire = self._wire
        if wire is None:
            return
        sent = self.sent()
        self._end(why, abort=True)
        text = f"{self.origin} closed the connection"
        self._session.lost(error or GatewayError(502, "connection_terminated", text), sent)
