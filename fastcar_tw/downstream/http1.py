"""
The server side of HTTP/1.1: one client connection, one exchange after another.

Theory of operation: what arrives goes to C{_receive}, a bound method that is the state.

    head ──► body ──► early ──► head        a message, then waiting for its response, then the next
      └────────┴──────────────► ignore      after the last response, while the client still sends

After 101, and after a CONNECT, the wire belongs to somebody else: see C{hand_over}.

Writing is corked: an exchange queues what belongs together and flushes once, so that a response
which came in one piece leaves in one piece.  The connection is registered as the producer of its
own wire, once and for all; when the client does not read, the exchange is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.downstream.clients import Clients
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.downstream.tunnel_errors import not_http
from fastcar_tw.http.body import BodyReader, request_body_reader
from fastcar_tw.http.errors import FastcarError, MessageError, error_response
from fastcar_tw.http.grammar import REQUEST_LINE
from fastcar_tw.http.head import (
    check_request_line,
    find_head_end,
    parse_request_head,
)
from fastcar_tw.wire import Wire, hung_up

#: Bytes of pipelined requests held while one is being answered; then the client has to wait.
MAX_EARLY = 64 * 1024

CR = 0x0D

_Receive = Callable[[bytes], None]


class Companion(Protocol):
    """
    Something that lasts as long as a client connection speaks HTTP.
    """

    def client_ended(self) -> None:
        """
        It does no more.
        """


@implementer(IHalfCloseableProtocol, IPushProducer)
class DownstreamConnection:
    """
    A client connection.

    @ivar entrance: how the client has come in.
    @ivar companion: what an exchange has left here for those that follow, if anything.
    @ivar deadline: seconds; what passes with it depends on the state, see L{expired}.
    """

    __slots__ = (
        "_buffer",
        "_clients",
        "_closing",
        "_exchange",
        "_full",
        "_head_begun",
        "_input_ended",
        "_line_judged",
        "_looking",
        "_out",
        "_paused",
        "_reader",
        "_receive",
        "_searched",
        "_sent",
        "_wire",
        "companion",
        "deadline",
        "entrance",
    )

    def __init__(self, clients: Clients, entrance: Entrance, deadline: float) -> None:
        """
        @param deadline: for the first request head.
        """
        self.deadline = deadline
        self.entrance = entrance
        self.companion: Companion | None = None
        self._clients = clients
        self._wire: Wire | None = None
        self._exchange: DownstreamExchange | None = None
        self._receive: _Receive = self._receive_head
        self._buffer = bytearray()
        self._searched = 0
        self._head_begun = False
        self._line_judged = False
        self._reader: BodyReader | None = None
        self._out: list[bytes] = []
        self._full = False
        self._input_ended = False
        self._paused = False
        self._looking = False
        self._closing = False
        self._sent = -1

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        self._wire = transport
        transport.registerProducer(self, True)
        self._clients.watch(self)

    def dataReceived(self, data: bytes) -> None:
        self._receive(data)

    def readConnectionLost(self) -> None:
        # Told twice inside TLS: by close_notify, and by the end of what carries it.
        self._input_ended = True
        exchange = self._exchange
        if self._wire is None or (exchange is None and self._held()):
            return
        if exchange is None or not exchange.request_complete or self.is_gone():
            self._lose(abort=exchange is not None)

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        self._clients.unwatch(self)
        self._wire = None
        self._closing = True
        # A bound method in an attribute is a reference cycle.
        self._receive = _ignore
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.downstream_lost()
        self._end_companion()

    # Back-pressure: the client does not read.

    def pauseProducing(self) -> None:
        self._full = True
        if self._exchange is not None:
            self._exchange.downstream_full()

    def resumeProducing(self) -> None:
        self._full = False
        if self._exchange is not None:
            self._exchange.downstream_drained()
        elif not self._closing:
            self._receive = self._receive_head
            self._next_request()

    def stopProducing(self) -> None:
        pass

    # From the exchange.

    def is_gone(self) -> bool:
        """
        The client has closed its connection, which is not told while it is not read.
        """
        exchange = self._exchange
        half = exchange is not None and not exchange.may_half_close
        return self._wire is None or hung_up(self._wire, half=half)

    @property
    def paused(self) -> bool:
        """
        Nothing is read of what the client sends.
        """
        return self._paused

    @property
    def unsent(self) -> int:
        """
        Bytes that the kernel has not taken for the client yet.
        """
        return self._wire.unsent if self._wire is not None else 0

    def queue(self, data: bytes) -> None:
        """
        Write with the next L{flush}.
        """
        self._out.append(data)

    def flush(self) -> None:
        """
        Write what is queued.
        """
        out = self._out
        if out and self._wire is not None:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._wire.write(data)

    def pause_reading(self) -> None:
        """
        Take no more of the request for now.
        """
        if self._wire is not None:
            self._paused = True
            self._wire.pauseProducing()

    def resume_reading(self) -> None:
        """
        Take more of the request.
        """
        if self._wire is not None and not self._input_ended:
            self._paused = False
            self._wire.resumeProducing()

    @property
    def input_ended(self) -> bool:
        """
        The client will send no more.
        """
        return self._input_ended

    @property
    def handle(self) -> Any:
        """
        The socket; None when the connection is lost.
        """
        return self._wire.getHandle() if self._wire is not None else None

    def sent(self) -> int:
        """
        Bytes the kernel has taken for the client.
        """
        return self._wire.bytes_sent if self._wire is not None else 0

    def hand_over(self, successor: Any) -> None:
        """
        Leave the wire, and what has already arrived on it, to another protocol.
        """
        self.flush()
        wire, self._wire = self._wire, None
        self._exchange = None
        if wire is None:
            return
        early = bytes(self._buffer)
        self._buffer.clear()
        self._closing = True
        self._receive = _ignore
        self._end_companion()
        wire.unregisterProducer()
        if self._paused:
            wire.resumeProducing()
        wire.protocol = successor
        successor.makeConnection(wire)
        self._clients.unwatch(self)
        if early:
            successor.dataReceived(early)
        if self._input_ended:
            # It may already have been handed on.
            wire.protocol.readConnectionLost()

    def replace(self, exchange: DownstreamExchange) -> None:
        """
        Have another exchange answer the request, of which nothing was answered yet.
        """
        if self._wire is not None:
            self._exchange = exchange
            exchange.start()

    def response_done(self, persist: bool) -> None:
        """
        The response is queued to its end; serve the next request, or close.
        """
        self.flush()
        exchange, self._exchange = self._exchange, None
        if exchange is None or self._wire is None:
            return
        if not exchange.request_complete:
            self._linger()
        elif not persist or (self._input_ended and not self._buffer):
            self._lose(abort=False)
        else:
            self.deadline = self._clients.keepalive_deadline()
            self._head_begun = self._line_judged = False
            if self._full:
                # Nothing more is done for a client that does not read.
                self._receive = self._receive_early
                return
            self._receive = self._receive_head
            if self._buffer or self._paused:
                self._next_request()

    def failed(self, error: FastcarError) -> None:
        """
        The exchange has failed, and nothing of a response has been queued.
        """
        exchange = self._exchange
        if exchange is None:
            return
        exchange.persist = exchange.persist and exchange.request_complete
        self.queue(error_response(error, head_only=exchange.head_only, close=not exchange.persist))
        self.response_done(exchange.persist)

    def close(self) -> None:
        """
        End the connection without a word, as soon as what was written before is sent.
        """
        self._lose(abort=False)

    def abort(self) -> None:
        """
        Break the connection off, so that what was sent cannot be taken for a whole response.
        """
        self._lose(abort=True)

    # From the service.

    def expired(self) -> None:
        """
        The deadline has passed: of the exchange, of the request head, or of waiting for either.
        """
        if self._exchange is not None:
            self._exchange.expired()
        elif (self._closing or self._full) and self._sent != self.sent():
            # It still reads what was written before.
            self._sent = self.sent()
            self.deadline = self._clients.stall_deadline()
        elif self._closing or self._full or not self._buffer:
            self._lose(abort=self._closing or self._full)
        else:
            self._refuse(MessageError("the request head took too long", 408), self._buffer)

    def drain(self) -> None:
        """
        fastcar is stopping: end when the exchange ends, at once if there is none.
        """
        if self._exchange is not None:
            self._exchange.persist = False
        else:
            self._lose(abort=False)

    # Reading a request; each method is a state.

    def _receive_head(self, data: bytes) -> None:
        if not self._buffer and data[0] != CR:
            # The usual case: a whole head in one piece, and nothing to copy.
            end = self._head_end(data, 0)
            if end > 0:
                self._begin(data, end)
            elif end < 0:
                self._buffer += data
                self._searched = len(data)
                self._begin_head()
            return
        self._buffer += data
        self._begin_head()
        self._next_request()

    def _held(self) -> bool:
        """
        Whether there may be requests that are served when the client reads again.
        """
        return self._full and bool(self._buffer) and not self._closing

    def _begin_head(self) -> None:
        """
        Some of a request's head is there, if only an empty line: the rest has to come in time.
        """
        if not self._head_begun:
            self._head_begun = True
            self.deadline = self._clients.client_deadline()

    def _next_request(self) -> None:
        """
        Serve what is buffered, one request after another: no deeper in the stack for any that is
        answered at once.
        """
        if self._looking:
            return
        self._looking = True
        while self._exchange is None and not (self._full or self._closing):
            if not self._begin_buffered():
                break
        self._looking = False
        if self._exchange is None and not (self._full or self._closing):
            if self._input_ended:
                self._lose(abort=False)
            elif self._paused:
                self.resume_reading()

    def _begin_buffered(self) -> bool:
        """
        Begin the first request that is buffered.

        @return: whether there was a whole one.
        """
        buffer = self._buffer
        # Empty lines in front of a request are ignored (RFC 9112 section 2.2).
        while buffer.startswith(b"\r\n"):
            del buffer[:2]
            self._searched = 0
            self._line_judged = False
        if not buffer:
            return False
        end = self._head_end(buffer, self._searched)
        if end > 0:
            data = bytes(buffer)
            buffer.clear()
            self._searched = 0
            self._begin(data, end)
        elif end < 0:
            self._searched = len(buffer)
            self._begin_head()
        return end > 0

    def _head_end(self, data: bytes | bytearray, searched: int) -> int:
        """
        As L{find_head_end}; 0 when the head has been refused.
        """
        try:
            end = find_head_end(data, searched)
            if end < 0 and not self._line_judged:
                self._line_judged = check_request_line(data, searched)
            return end
        except MessageError as error:
            self._refuse(error, data)
            return 0

    def _begin(self, data: bytes, end: int) -> None:
        try:
            request = parse_request_head(data, end)
            if request.method == b"CONNECT":
                tunnel = self._clients.tunnel(self.entrance, request)
                self._buffer += data[end:]
                self.hand_over(tunnel)
                return
            exchange = self._clients.exchange(self, request)
        except MessageError as error:
            self._refuse(error, data)
            return
        self._exchange = exchange
        reader = self._reader = request_body_reader(request)
        rest = data[end:]
        if reader is None:
            self._receive = self._receive_early
            exchange.request_end(b"")
            if rest:
                self._receive_early(rest)
        else:
            self._receive = self._receive_body
            if rest:
                self._read_body(exchange, reader, rest)
        self._resume_after_early()
        if self._exchange is exchange:
            exchange.start()

    def _receive_body(self, data: bytes) -> None:
        exchange = self._exchange
        reader = self._reader
        if exchange is not None and reader is not None:
            self._read_body(exchange, reader, data)
            exchange.flush_request()

    def _read_body(self, exchange: DownstreamExchange, reader: BodyReader, data: bytes) -> None:
        try:
            content = reader.feed(data)
        except MessageError as error:
            self._refuse(error)
            return
        if content:
            exchange.request_body(content)
            if self._exchange is not exchange:
                return  # it has failed
        if reader.finished:
            self._reader = None
            self._receive = self._receive_early
            if reader.leftover:
                self._receive_early(reader.leftover)
            exchange.request_end(reader.trailers)

    def _receive_early(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > MAX_EARLY and not self._paused:
            self.pause_reading()

    def _resume_after_early(self) -> None:
        if self._paused and len(self._buffer) <= MAX_EARLY:
            self.resume_reading()

    # Ending.

    def _end_companion(self) -> None:
        companion, self.companion = self.companion, None
        if companion is not None:
            companion.client_ended()

    def _answer(self, response: bytes) -> None:
        """
        Answer without an exchange, and close: what follows the head is not looked at.
        """
        self.queue(response)
        self.flush()
        self._linger()

    def _refuse(self, error: MessageError, head: bytes | bytearray = b"") -> None:
        """
        The client broke the rules: nothing it sends can be trusted any more.

        @param head: where the request's head is what is refused, as much of it as there is.
        """
        head_only = head.startswith(b"HEAD ")
        target = self.entrance.target
        if head and target is not None and error.status == 400 and not REQUEST_LINE.match(head):
            error = not_http(target)
        exchange, self._exchange = self._exchange, None
        self._clients.refused(error)
        if exchange is not None:
            begun = exchange.responded
            head_only = exchange.head_only
            exchange.downstream_lost()
            if begun:
                self._lose(abort=True)
                return
        self._answer(error_response(error, head_only=head_only, close=True))

    def _linger(self) -> None:
        """
        Close after a response that the client may not have read while it is still sending: closing
        at once could destroy it (RFC 9112 section 9.6).
        """
        if self._wire is None:
            return
        if self._input_ended:
            self._lose(abort=False)
            return
        self._closing = True
        self._receive = _ignore
        self._buffer.clear()
        self.deadline = self._clients.client_deadline()
        self._sent = self.sent()
        self.resume_reading()
        self._wire.loseWriteConnection()

    def _lose(self, abort: bool) -> None:
        wire = self._wire
        if wire is None:
            return
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.downstream_lost()
        self._closing = True
        self._receive = _ignore
        self.deadline = self._clients.client_deadline()
        wire.unregisterProducer()
        if abort:
            wire.abortConnection()
        else:
            wire.loseConnection()


def _ignore(data: bytes) -> None:
    """
    The state of a connection whose input does not matter any more.
    """
