"""
One connection to an origin, speaking HTTP/1.1 for one exchange after another.

The connection knows where messages end; it judges nothing else.  It goes back to the pool only when
request and response have both ended cleanly and nothing came behind them; any doubt ends it (RFC
9112 section 9).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.http.body import BodyReader, chunk, last_chunk, response_body_reader
from fastcar_tw.http.errors import GatewayError, MessageError, as_response_error
from fastcar_tw.http.head import MAX_INTERIM, find_head_end, parse_response_head
from fastcar_tw.http.keep_alive import SPARED_REQUESTS, parse_keep_alive, usable_idle_time
from fastcar_tw.http.target import Origin
from fastcar_tw.pool.stats import Retired
from fastcar_tw.upstream.exchange import OriginConnection, UpstreamExchange
from fastcar_tw.upstream.kept_connection import ConnectionOwner
from fastcar_tw.wire import acknowledge


class Keeper(Protocol):
    """
    The client connection that a pinned connection belongs to.
    """

    def pinned_ended(self) -> None:
        """
        The connection has ended while nothing was asked of it.
        """


@implementer(IHalfCloseableProtocol)
class UpstreamConnection(OriginConnection):
    """
    An HTTP/1.1 connection to one origin.

    @ivar keeper: whom it belongs to while it is pinned and idle.
    """

    _exchange: UpstreamExchange | None

    __slots__ = (
        "_buffer",
        "_interim",
        "_keep_alive",
        "_last_request",
        "_reader",
        "_receive",
        "_responded",
        "_response_close",
        "_sent_before",
        "keeper",
    )

    protocol = "HTTP/1.1"

    def __init__(
        self, origin: Origin, owner: ConnectionOwner[UpstreamConnection], address: str | None = None
    ) -> None:
        super().__init__(origin, owner, address)
        self.keeper: Keeper | None = None
        self._keep_alive: bytes | None = None
        self._last_request: float = inf
        self._receive: Callable[[bytes], None] = self._receive_head
        self._buffer = b""
        self._reader: BodyReader | None = None
        self._response_close = False
        self._responded = False
        self._interim = 0
        self._sent_before = 0

    # From the exchange.

    @property
    def requests_left(self) -> float:
        """
        How many requests its origin still answers here, a margin taken off; infinite unless the
        origin has said so.
        """
        return self._last_request - self.served

    def start(self, exchange: UpstreamExchange, content: bytes, ended: bool) -> UpstreamConnection:
        """
        See L{OriginConnection.start}.
        """
        wire = self._wire
        assert wire is not None and self._exchange is None
        self._exchange = exchange
        self.served += 1
        self.fresh = False
        self._responded = False
        self._interim = 0
        self._response_close = False
        self._sent_before = wire.bytes_sent
        data = exchange.request_head()
        if content or exchange.request_chunked:
            data += _framed(exchange, content, ended)
        wire.write(data)
        return self

    def send(self, content: bytes, ended: bool) -> None:
        """
        Send more of the request's body.

        @param ended: that was all.
        """
        if self._wire is not None and self._exchange is not None:
            self._wire.write(_framed(self._exchange, content, ended))

    # From the wire.

    def dataReceived(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            # A response nobody asked for: what it answers can only be guessed (RFC 9112 section
            # 9.2).
            self._end(Retired.BROKEN, abort=True)
            return
        try:
            self._receive(data)
        except MessageError as error:
            self._fail(as_response_error(str(self.origin), error), answered=True)
        except GatewayError as error:
            self._fail(error, answered=True)
        if self._exchange is exchange and self._wire is not None:
            acknowledge(self._wire)  # there is more to come
        exchange.flush_response()

    def readConnectionLost(self) -> None:
        exchange = self._exchange
        if exchange is not None:
            reader = self._reader
            # There is nothing to release, even if the response has ended properly.
            self._response_close = True
            if reader is not None and reader.end_of_stream():
                self._finish(exchange, reader)
                exchange.flush_response()
            else:
                self._incomplete()
        self._end(Retired.ENDED, abort=False)

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        if self._exchange is not None:
            self._incomplete()
        self._end(Retired.ENDED, abort=True)
        # A bound method in an attribute is a reference cycle.
        self._receive = _ignore
        self._leaving = None
        self._owner.closed(self)

    # Reading a response; each method is a state.

    def _receive_head(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        searched = len(self._buffer)
        if searched:
            data = self._buffer + data
        while True:
            end = find_head_end(data, searched)
            if end < 0:
                self._buffer = data
                return
            head = parse_response_head(data, end)
            data = data[end:]
            if head.status >= 200 or head.status == 101:
                break
            self._count_interim()
            # It counts in any response (RFC 9112 section 9.6).
            self._response_close |= head.close
            exchange.interim_response(head)
            searched = 0
        self._buffer = b""
        self._responded = True
        if head.status == 101:
            exchange.switched(head, data)
            return
        reader = response_body_reader(head, exchange.head_only)
        self._response_close |= head.close
        # The same again says nothing new.
        if head.keep_alive is not None and head.keep_alive != self._keep_alive:
            self._limit(head.keep_alive)
        exchange.response_head(head, not reader.finished)
        self._reader = reader
        self._receive = self._receive_body
        if data:
            self._receive_body(data)
        elif reader.finished:
            self._finish(exchange, reader)

    def _receive_body(self, data: bytes) -> None:
        reader = self._reader
        exchange = self._exchange
        if reader is None or exchange is None:
            return
        if reader.finished:
            reader.leftover = data
        else:
            content = reader.feed(data)
            if content:
                exchange.response_body(content)
        # The exchange may have ended this connection in the middle.
        if reader.finished and self._exchange is exchange:
            self._finish(exchange, reader)

    def _tunnel_closed(self, reason: Failure) -> None:
        self._receive = _ignore
        super()._tunnel_closed(reason)

    def _limit(self, keep_alive: bytes) -> None:
        """
        Take note of how long, and for how many requests, the origin keeps the connection.
        """
        self._keep_alive = keep_alive
        timeout, requests = parse_keep_alive(keep_alive)
        if timeout is not None:
            self.idle_limit = usable_idle_time(timeout)
            if not timeout:
                requests = 0
        if requests is not None:
            # Some origins count down, others say the same number each time.
            last = self.served + max(requests - SPARED_REQUESTS, 0)
            self._last_request = min(self._last_request, last)

    def _count_interim(self) -> None:
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise MessageError("too many interim responses")

    def _finish(self, exchange: UpstreamExchange, reader: BodyReader) -> None:
        self._exchange = None
        self._reader = None
        self._receive = self._receive_head
        wire = self._wire
        sent = exchange.request_complete and wire is not None and not wire.unsent
        if not sent or reader.leftover:
            # The rest of a request that the origin did not wait for is not sent any more.
            self._end(Retired.BROKEN, abort=not sent)
        elif self._response_close:
            self._end(Retired.ENDED, abort=False)
        elif exchange.pinned:
            exchange.keep(self)
        elif self.served >= self._last_request:
            self._end(Retired.KEEP_ALIVE, abort=False)
        else:
            self._owner.release(self)
        exchange.response_end(reader.trailers)

    def _incomplete(self) -> None:
        """
        The connection has ended before the response did.
        """
        part = "in the middle of" if self._responded or self._buffer else "before"
        self._fail(
            GatewayError(
                502,
                "http_response_incomplete" if self._responded else "connection_terminated",
                f"{self.origin} closed the connection {part} its response",
            ),
            answered=self._responded or bool(self._buffer) or self._interim > 0,
        )

    def _fail(self, error: GatewayError, *, answered: bool) -> None:
        exchange = self._exchange
        self._exchange = None
        unsent = self._wire is not None and self._wire.bytes_sent == self._sent_before
        self._end(Retired.BROKEN, abort=True)
        if exchange is not None:
            exchange.upstream_failed(error, answered=answered, unprocessed=unsent)

    def _end(self, why: Retired, *, abort: bool) -> None:
        super()._end(why, abort=abort)
        keeper, self.keeper = self.keeper, None
        if keeper is not None:
            keeper.pinned_ended()


def _framed(exchange: UpstreamExchange, content: bytes, ended: bool) -> bytes:
    if not exchange.request_chunked:
        return content
    data = chunk(content)
    return data + last_chunk(exchange.request_trailers) if ended else data


def _ignore(data: bytes) -> None:
    """
    The state of a connection that has ended.
    """
