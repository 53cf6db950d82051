"""
One connection to php-fpm, which serves one request after another.

A connection holds a child of php-fpm from the moment it is accepted, so there is no better time to
tell that child of a next request than at the end of the one before: BEGIN_REQUEST is always sent
ahead, with the last bytes of a request.  A child reads it when it is done with everything, also
with what a script does after C{fastcgi_finish_request()}, and not if it is recycled.  On a UNIX
socket one can see whether it was read; only then does the connection go back to the pool.  On TCP
one cannot, so there GET_VALUES is sent instead, and answered when the child is done.

What is given up (its client has left, or it has taken too long) goes on in its child until it
writes something.  A connection that was just closed would be followed by another one, which no
child accepts; so on a UNIX socket it is only shut, and counts until the child is done.
"""

from __future__ import annotations

import socket
from typing import Protocol

from twisted.python.failure import Failure

from fastcar_tw.fastcgi.pace import Turn
from fastcar_tw.fastcgi.records import (
    BEGIN_CLOSE,
    BEGIN_KEEP,
    END_REQUEST,
    GET_VALUES,
    GET_VALUES_RESULT,
    OVERLOADED,
    REQUEST_COMPLETE,
    STDERR,
    STDOUT,
    EndRequest,
    RecordError,
    RecordReader,
    parse_end_request,
)
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.pool.stats import Retired
from fastcar_tw.transport.unread import has_unread
from fastcar_tw.upstream.backends import Backend
from fastcar_tw.upstream.kept_connection import ConnectionOwner, KeptConnection
from fastcar_tw.wire import Wire, acknowledge, hung_up, send_now


class FastCGIExchange(Protocol):
    """
    What a busy connection tells its exchange.
    """

    #: The end of STDIN is among what was sent, or is being sent.
    stdin_complete: bool
    #: All of its response has come.
    response_complete: bool

    def stdout(self, content: bytes) -> None: ...

    def stderr(self, content: bytes) -> None: ...

    def response_end(self) -> None: ...

    def flush_response(self) -> None: ...

    def upstream_full(self) -> None: ...

    def upstream_drained(self) -> None: ...

    def upstream_failed(self, error: GatewayError, *, answered: bool, unsent: bool) -> None: ...


class FastCGIOwner(ConnectionOwner["FastCGIConnection"], Protocol):
    """
    The pool, as a connection sees it.
    """

    #: Whether connections are kept, and for how many requests; 0: no limit.
    keep: bool
    max_requests: int

    def finishing(self, connection: FastCGIConnection) -> None:
        """
        The response is complete, or was given up, but the child is not done: tell the connection
        that it is L{finished<FastCGIConnection.finished>} when it L{is_ready}.
        """


class FastCGIConnection(KeptConnection):
    """
    A connection to php-fpm.

    @ivar backend: whom it leads to.
    @ivar given_up: its child still works, or has worked, for nobody.
    @ivar turn: whose request its child works on; the pool forgets it when that is over.
    """

    __slots__ = (
        "_answered",
        "_asking",
        "_begun",
        "_local",
        "_reader",
        "_sent_before",
        "backend",
        "given_up",
        "turn",
    )

    _exchange: FastCGIExchange | None
    _owner: FastCGIOwner

    def __init__(self, backend: Backend, owner: FastCGIOwner) -> None:
        super().__init__(owner)
        self.backend = backend
        self.turn: Turn | None = None
        self.given_up = False
        self._reader = RecordReader()
        # BEGIN_REQUEST of the request after the present one was sent.
        self._begun = False
        # GET_VALUES was sent, and not answered yet.
        self._asking = False
        self._answered = False
        self._sent_before = 0
        # On a UNIX socket: it can be seen what the child has read.
        self._local = False

    def __repr__(self) -> str:
        return self.describe(self.backend)

    # From the exchange.

    def start(self, exchange: FastCGIExchange, data: bytes) -> None:
        """
        Begin an exchange.

        @param data: PARAMS, and as much of STDIN as there is.
        """
        wire = self._wire
        assert wire is not None and self._exchange is None
        self._exchange = exchange
        self.served += 1
        self.fresh = False
        self._answered = False
        self._begun = False
        self._sent_before = wire.bytes_sent
        wire.write(self._with_next(data))
        # The child waits for it.
        send_now(wire)

    def send(self, data: bytes) -> None:
        """
        Send more of STDIN.
        """
        if self._wire is not None:
            self._wire.write(self._with_next(data))

    # From the pool.

    def is_ready(self) -> bool:
        """
        Of a connection whose response is complete, or was given up: whether the child waits for its
        next request.
        """
        if self.given_up:
            leaving = self._leaving
            done = self._begun and leaving is not None and not _has_unread(leaving)
            return done or leaving is None or hung_up(leaving)
        wire = self._wire
        return wire is not None and not self._asking and not (self._begun and _has_unread(wire))

    def finished(self) -> None:
        """
        What the child was to finish is finished: L{is_ready} has become true.
        """
        if self.given_up:
            self.break_off()
        else:
            self._owner.release(self)

    def abort(self) -> None:
        """
        Have the child do no more than it must, and end the connection: at once, unless it is known
        when the child has noticed.
        """
        exchange, wire = self._exchange, self._wire
        handed_over = exchange is not None and exchange.stdin_complete
        if wire is None or not self._local or not handed_over or wire.unsent:
            super().abort()
            return
        self._exchange = None
        self._wire, self._leaving = None, wire
        self.given_up = True
        self._owner.retired(self, Retired.BROKEN)
        wire.unregisterProducer()
        wire.pauseProducing()
        # From now on what the child writes fails.
        wire.getHandle().shutdown(socket.SHUT_RD)
        self._owner.finishing(self)

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        self._local = transport.getHandle().family == socket.AF_UNIX
        # Without a byte php-fpm would close the connection after 5 s.
        transport.write(BEGIN_KEEP if self._owner.keep else BEGIN_CLOSE)

    def dataReceived(self, data: bytes) -> None:
        exchange = self._exchange
        try:
            records = self._reader.feed(data)
            left = len(records)
            for kind, content in records:
                left -= 1
                self._take(kind, content, alone=not (left or self._reader.inside))
        except RecordError as error:
            self._fail("http_protocol_error", f"sent an invalid record: {error}")
        if exchange is not None:
            if self._exchange is exchange and self._wire is not None:
                acknowledge(self._wire)  # there is more to come
            exchange.flush_response()
        elif not self._asking and self._reader.inside:
            self._take_stray()

    def connectionLost(self, reason: Failure) -> None:
        if self._exchange is not None:
            part = "in the middle of" if self._answered else "before"
            self._fail(
                "http_response_incomplete" if self._answered else "connection_terminated",
                f"closed the connection {part} its response",
                answered=self._answered,
            )
        self._end(Retired.ENDED, abort=True)
        self._leaving = None
        self._owner.closed(self)

    # Records.

    def _take(self, kind: int, content: bytes, alone: bool) -> None:
        """
        @param alone: nothing has come after it.
        """
        exchange = self._exchange
        if exchange is None:
            self._take_unasked(kind, alone)
        elif kind == STDOUT:
            self._answered = True
            exchange.stdout(content)
        elif kind == STDERR:
            self._answered = True
            exchange.stderr(content)
        elif kind == END_REQUEST:
            self._answered = True
            self._finish(exchange, parse_end_request(content), alone)

    def _take_unasked(self, kind: int, alone: bool) -> None:
        is_answer = kind == GET_VALUES_RESULT and self._asking
        if is_answer and alone:
            self._asking = False
            self._owner.release(self)
        elif is_answer or kind in (STDOUT, STDERR, END_REQUEST):
            self._take_stray()

    def _take_stray(self) -> None:
        """
        Whose response it is can only be guessed, so it must not get into the next one.
        """
        self._end(Retired.BROKEN, abort=True)

    def _finish(self, exchange: FastCGIExchange, end: EndRequest, alone: bool) -> None:
        if end.protocol_status != REQUEST_COMPLETE:
            self._refused(end.protocol_status)
            return
        self._exchange = None
        exchange.response_complete = True
        wire = self._wire
        # The rest of a body that the script did not wait for would cut the next request's, and what
        # comes after this response would become part of the next.
        whole = alone and exchange.stdin_complete and wire is not None and not wire.unsent
        if whole and self._begun and self.is_ready():
            # The next request is sent before this response is passed on: a child waits for it.
            self._owner.release(self)
            exchange.response_end()
            return
        exchange.response_end()
        if not whole:
            self._end(Retired.BROKEN, abort=True)
        elif not self._may_go_on():
            # php-fpm waits for us to close: a connection left open would leak a child.
            self._end(Retired.ENDED, abort=False)
        else:
            self._give_back()

    def _give_back(self) -> None:
        """
        The response was passed on: give the connection back when the child is done.
        """
        wire = self._wire
        if wire is None:
            return
        if not self._begun:
            self._asking = True
            wire.write(GET_VALUES + BEGIN_KEEP)
        elif self.is_ready():
            self._owner.release(self)
        else:
            self._owner.finishing(self)

    def _refused(self, status: int) -> None:
        """
        The request was not served (FastCGI Specification 1.0 section 5.5).
        """
        if status == OVERLOADED:
            self._fail("destination_unavailable", "is overloaded", status=503)
        else:
            self._fail("http_protocol_error", f"ended the request with status {status}")

    def _fail(
        self, proxy_status: str, text: str, *, answered: bool = True, status: int = 502
    ) -> None:
        exchange, self._exchange = self._exchange, None
        wire = self._wire
        # Less, if not even what was written before has been taken, though it was counted.
        unsent = wire is not None and wire.bytes_sent <= self._sent_before
        self._end(Retired.BROKEN, abort=True)
        if exchange is not None:
            error = GatewayError(status, proxy_status, f"{self.backend} {text}")
            exchange.upstream_failed(error, answered=answered, unsent=unsent)

    # Ours.

    def _may_go_on(self) -> bool:
        owner = self._owner
        return owner.keep and (not owner.max_requests or self.served < owner.max_requests)

    def _with_next(self, data: bytes) -> bytes:
        """
        At the end of a request, begin the next one, where it can be seen whether that was read.
        """
        exchange = self._exchange
        if self._local and exchange is not None and exchange.stdin_complete and self._may_go_on():
            self._begun = True
            return data + BEGIN_KEEP
        return data


def _has_unread(wire: Wire) -> bool:
    return has_unread(wire.getHandle())
