"""
The exchange with a script: one request and its response, between a client connection and a
connection to php-fpm.

Theory of operation.  A connection to php-fpm holds a child, so it is asked for as late as possible:
a body that php-fpm would read to its end before the script begins, or whose length is not known, is
collected first.  Other bodies are passed on as they come; the client is not read while there is no
connection.  Responses are always passed on as they come.  Either side that cannot take more makes
the other side stop reading.

Nothing is sent twice unless that is safe: see L{ScriptExchange.upstream_failed}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcar_tw.deadlines import NEVER
from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.fastcgi.answers import describe, for_client
from fastcar_tw.fastcgi.cgi import CGIHead
from fastcar_tw.fastcgi.connection import FastCGIConnection
from fastcar_tw.fastcgi.documents import Script
from fastcar_tw.fastcgi.records import END_OF_STDIN, RecordError, encode_params, encode_stdin
from fastcar_tw.fastcgi.request_body import CollectedBody, RequestBody, StreamedBody
from fastcar_tw.fastcgi.response import ScriptResponse
from fastcar_tw.forward.exchange import IDEMPOTENT_METHODS
from fastcar_tw.http.errors import FastcarError, GatewayError, MessageError, stall_error
from fastcar_tw.http.head import RequestHead
from fastcar_tw.upstream.backends import Backend

if TYPE_CHECKING:
    from fastcar_tw.downstream.http1 import DownstreamConnection
    from fastcar_tw.fastcgi.gateway import Gateway

#: Bytes of a response that wait for a client which reads slowly, besides those that the system
#: holds, so that pages of the usual size do not hold a child for it.
RESPONSE_MEMORY = 256 * 1024

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ScriptExchange(DownstreamExchange):
    """
    One request for a script and its response.  It does not outlast its client, who may have ended
    its sending only: on TCP nothing else tells of those who have left, and what nobody waits for is
    not run.

    @ivar stdin_complete: the end of the body is among what was sent to the script.
    @ivar path: as C{slow}, C{began} and C{response_complete}: see
        L{Turn<fastcar_tw.fastcgi.pace.Turn>}.
    """

    may_half_close = False

    __slots__ = (
        "_backend",
        "_body",
        "_connection",
        "_downstream",
        "_ended",
        "_gateway",
        "_moved",
        "_queued",
        "_redirects",
        "_request",
        "_response",
        "_reused",
        "_script",
        "_sent_again",
        "_started",
        "_stderr",
        "_streamed",
        "_variables",
        "_waiting",
        "began",
        "path",
        "response_complete",
        "slow",
        "stdin_complete",
    )

    def __init__(
        self,
        gateway: Gateway,
        downstream: DownstreamConnection,
        request: RequestHead,
        script: Script,
        redirects: int = 0,
    ) -> None:
        """
        @param redirects: how many scripts have already sent this request on to another.
        """
        super().__init__(request)
        self.stdin_complete = False
        self.path = request.target.partition(b"?")[0]
        self.slow = False
        self.began: float | None = None
        self.response_complete = False
        self._gateway = gateway
        self._downstream = downstream
        self._request = request
        self._script = script
        self._redirects = redirects
        self._started = gateway.now()
        self._connection: FastCGIConnection | None = None
        self._backend: Backend | None = None
        self._body = _request_body(request, gateway)
        self._variables = b""
        self._response = ScriptResponse(request.version, self.head_only)
        self._reused = False
        self._sent_again = False
        self._waiting = False
        self._queued = False
        self._ended = False
        self._moved = 0
        self._stderr = 0
        self._streamed = False

    def __repr__(self) -> str:
        return f"<ScriptExchange {self._what()} {'ended' if self._ended else 'under way'}>"

    # From the client.

    def start(self) -> None:
        """
        The request's head, and what came with it, is there.
        """
        body = self._body
        if body is None or self.request_complete or not body.collected:
            self._ask()
            return
        self._set_deadline()
        if self._request.expects_continue:
            self._tell_to_continue()

    def request_body(self, content: bytes) -> None:
        """
        Some of the request's body.
        """
        body = self._body
        if body is None or self._ended:
            return
        try:
            body.feed(content)
        except FastcarError as error:
            self._fail(error)

    def request_end(self, trailers: bytes) -> None:
        """
        The request is complete.
        """
        self.request_complete = True
        if self._body is not None and not self._ended:
            try:
                self._body.end()
            except FastcarError as error:
                self._fail(error)

    def flush_request(self) -> None:
        """
        All that arrived together has been told.
        """
        body = self._body
        if self._ended or self._waiting or body is None:
            return
        if self._connection is not None:
            self._send_body(body)
        elif body.collected and self.request_complete:
            self._ask()
            return
        self._set_deadline()

    def downstream_full(self) -> None:
        """
        The client does not read as quickly as the script writes.
        """
        self._hold_back()

    def downstream_drained(self) -> None:
        """
        The client has read what was there.
        """
        if self._connection is not None:
            self._connection.resume_reading()

    def downstream_lost(self) -> None:
        """
        The client has gone: php-fpm learns that from its connection alone, since it does not know
        ABORT_REQUEST.
        """
        ended = self._ended
        connection = self._end()
        if connection is not None:
            connection.abort()
        if self._gateway.config.verbose and not ended:
            elapsed = self._gateway.now() - self._started
            self._gateway.log.info(
                "{what}: the client has left after {elapsed:.3f} s",
                what=self._what(),
                elapsed=elapsed,
            )

    def expired(self) -> None:
        """
        Nothing was seen to happen for too long.
        """
        if self._bytes_moved() != self._moved:
            # Buffers were emptying all the while.
            self._set_deadline()
            return
        connection = self._connection
        if self.responded:
            error = stall_error()
        elif self.stdin_complete:
            error = FastcarError(504, "http_response_timeout", "no response in time")
        elif not self.request_complete and not (connection and connection.full):
            error = FastcarError(408, "http_request_error", "the request body took too long")
        else:
            error = FastcarError(504, "connection_write_timeout", "the request is not read")
        self._fail(error)

    # From the pool.

    def is_repeatable(self) -> bool:
        """
        The request may be sent again without doing more than once (RFC 9110 section 9.2.2).
        """
        request = self._request
        if request.idempotency_key:
            return True
        return self._body is None and request.method in IDEMPOTENT_METHODS

    def connected(self, connection: FastCGIConnection) -> None:
        """
        A connection is there: send the request.
        """
        if self._ended:
            self._gateway.pool.release(connection)
            return
        if (self._queued or self._downstream.paused) and self._downstream.is_gone():
            # Nobody has told yet, or could while nothing was read.
            self._end()
            self._gateway.pool.release(connection)
            self._downstream.abort()
            return
        self._waiting = False
        self._reused = not connection.fresh
        self._connection = connection
        self._backend = connection.backend
        body = self._body
        connection.turn = self
        if body is None or body.collected:
            self.began = self._gateway.now()
        # Before anything can go wrong.
        self._set_deadline()
        connection.start(self, self._variables + self._next_stdin(body))
        if body is not None:
            self._send_body(body)
        if not self.request_complete:
            if self._request.expects_continue and not self._sent_again:
                self._tell_to_continue()
            self._read_on()
        self._set_deadline()

    def let_through(self) -> None:
        """
        Nothing keeps the request from the line any more, in which slow ones may not stand at all
        times.
        """
        self._stand_in_line(self._gateway.pool.choose())

    def connect_failed(self, error: GatewayError) -> None:
        """
        There will be no connection, to any php-fpm.
        """
        if not self._ended:
            self._fail(error)

    # From php-fpm.

    def upstream_full(self) -> None:
        """
        The script does not read.
        """
        if not self.request_complete:
            self._downstream.pause_reading()

    def upstream_drained(self) -> None:
        """
        The script has read what was there.
        """
        if self._body is not None:
            self._send_body(self._body)
        if not self.request_complete:
            self._read_on()

    def stdout(self, content: bytes) -> None:
        """
        Some of the response.
        """
        try:
            self._response.feed(content)
        except MessageError as error:
            self._break_off(error)

    def stderr(self, content: bytes) -> None:
        """
        Something for the log; clients are never told.
        """
        self._stderr = self._gateway.log_stderr(self._script_name(), content, self._stderr)

    def response_end(self) -> None:
        """
        The response is complete; the connection is no longer ours.
        """
        if self._ended:
            return
        response = self._response
        self._connection = None
        head = response.head
        if head is not None and head.has_substitute:
            # Its Content-Length may well be that of the substitute.
            self._end()
            self._substitute(head)
            return
        try:
            response.end()
        except MessageError as error:
            self._break_off(error)
            return
        self._end()
        assert head is not None
        if response.excess:
            self._gateway.log.warn("{what}: the response is longer than it says", what=self._what())
        self._pass_on()
        if self._gateway.config.verbose:
            self._gateway.succeeded(self._what(), head.status, self._started)
        self._downstream.response_done(self.persist)

    def flush_response(self) -> None:
        """
        All that arrived together has been told.
        """
        head = self._response.head
        if self._ended or head is None:
            return
        if head.has_substitute:
            self._response.discard()
        else:
            self._pass_on()
            self._downstream.flush()
            self._hold_back()
        self._set_deadline()

    def upstream_failed(self, error: GatewayError, *, answered: bool, unsent: bool) -> None:
        """
        The connection has ended before the response did.

        The request is sent again, once and on a new connection, only if nothing of a response was
        received, and either provably none of the request was sent, or it is idempotent and the
        connection had served before, so that the child may have been replaced just then (RFC 9110
        section 9.2.2).

        @param answered: something was received.
        @param unsent: no byte of the request has left.
        """
        body = self._body
        repeatable = self._reused and self.request_complete and self.is_repeatable()
        self._connection = None
        if (
            answered
            or self._sent_again
            or not (unsent or repeatable)
            or not (body is None or body.rewind())
        ):
            self._fail(error)
            return
        self._sent_again = True
        self.stdin_complete = False
        self._gateway.log.info(
            "{what}: sent again on a new connection: {text}", what=self._what(), text=error.text
        )
        self._stand_in_line(self._gateway.pool.choose(but=self._backend), again=True)

    # Ours.

    def _ask(self) -> None:
        """
        Ask for a connection.
        """
        body = self._body
        try:
            variables = self._gateway.variables(
                self._downstream, self._request, self._script, body.length if body else 0
            )
            self._variables = encode_params(variables)
        except MessageError as error:
            self._fail(error)
            return
        except RecordError:
            self._fail(FastcarError(431, "http_request_error", "a request field is too large"))
            return
        # A body that is passed on as it comes takes as long as its client likes.
        self._streamed = body is not None and not body.collected
        self.slow = self._streamed or self._gateway.pool.pace.is_slow(self.path)
        self.let_through()

    def _stand_in_line(self, backend: Backend, again: bool = False) -> None:
        self._backend = backend
        self._waiting = True
        self._downstream.deadline = NEVER  # the pool has one
        pool = self._gateway.pool
        if again:
            pool.acquire_again(backend, self)
        elif self.slow:
            pool.acquire_slow(backend, self, self._streamed)
        else:
            pool.acquire(backend, self)
        self._queued = self._waiting
        if self._waiting and not self.request_complete:
            self._downstream.pause_reading()

    def _tell_to_continue(self) -> None:
        if not self.request_complete:
            self._downstream.queue(_CONTINUE)
            self._downstream.flush()

    def _next_stdin(self, body: RequestBody | None) -> bytes:
        """
        More of the body, in records.
        """
        if body is None:
            self.stdin_complete = True
            return END_OF_STDIN
        records = encode_stdin(body.take())
        if body.finished and self.request_complete:
            self.stdin_complete = True
            records += END_OF_STDIN
        return records

    def _send_body(self, body: RequestBody) -> None:
        """
        Send what there is of the body, as long as the script takes it.
        """
        while not self.stdin_complete:
            connection = self._connection
            records = b"" if connection is None or connection.full else self._next_stdin(body)
            if connection is None or not records:
                return
            connection.send(records)

    def _hold_back(self) -> None:
        """
        Let the script wait for its client, when that is far behind.
        """
        if self._connection is not None and self._downstream.unsent >= RESPONSE_MEMORY:
            self._connection.pause_reading()

    def _read_on(self) -> None:
        """
        Take more of the request, unless what was there has filled the connection again.
        """
        if self._connection is not None and not self._connection.full:
            self._downstream.resume_reading()

    def _pass_on(self) -> None:
        response = self._response
        own = b""
        if not response.begun:
            own = self._own_fields()
            self.responded = True
        self._downstream.queue(response.take(own))

    def _own_fields(self) -> bytes:
        head = self._response.head
        assert head is not None
        if not self.request_complete:
            # What the client still sends would have to be read to its end first.
            self.persist = False
        own = b"" if head.has_date else self._gateway.date_field()
        return own if self.persist else own + b"Connection: close\r\n"

    def _substitute(self, head: CGIHead) -> None:
        """
        The script has named what to answer with instead.
        """
        try:
            exchange = self._gateway.substitute(
                self._downstream, self._request, head, self._redirects
            )
        except MessageError as error:
            # It is not the client who has asked for that.
            self._fail(GatewayError(502, "http_protocol_error", f"Location: {error.text}"))
            return
        except FastcarError as error:
            self._fail(error)
            return
        exchange.persist = self.persist
        exchange.request_complete = self.request_complete
        self._downstream.replace(exchange)

    def _set_deadline(self) -> None:
        config = self._gateway.config
        waiting_for_response = self.stdin_complete and not self.responded
        self._downstream.deadline = self._gateway.now() + (
            config.response_timeout if waiting_for_response else config.stall_timeout
        )
        self._moved = self._bytes_moved()

    def _bytes_moved(self) -> int:
        connection = self._connection
        return self._downstream.sent() + (connection.sent() if connection is not None else 0)

    def _end(self) -> FastCGIConnection | None:
        """
        Let go of the connection, or of the place in line for one.
        """
        self._ended = True
        connection, self._connection = self._connection, None
        if self._waiting and self._backend is not None:
            self._waiting = False
            self._gateway.pool.cancel(self._backend, self)
        if self._body is not None:
            self._body.close()
        return connection

    def _break_off(self, error: MessageError) -> None:
        """
        What the script writes is no response.
        """
        self._fail(GatewayError(502, "http_protocol_error", f"invalid response: {error.text}"))

    def _fail(self, error: FastcarError) -> None:
        connection = self._end()
        if connection is not None:
            connection.abort()
        self._gateway.failed(self._what(), error, self._started)
        if self.responded:
            self._downstream.abort()
        else:
            self._downstream.failed(for_client(error))

    def _script_name(self) -> str:
        return self._script.name.decode("ascii", "backslashreplace")

    def _what(self) -> str:
        return describe(self._request)


def _request_body(request: RequestHead, gateway: Gateway) -> RequestBody | None:
    """
    How a request's body is passed on; None: it has none.
    """
    config = gateway.config
    length = request.content_length
    if request.chunked:
        return CollectedBody(config.spool_memory, config.max_body)
    if not length:
        return None
    if request.method == b"POST":
        return CollectedBody(config.spool_memory, config.max_body)
    return StreamedBody(length)
