"""
The exchange: one request and its response, between a client connection and an upstream connection.

Theory of operation.  Towards the origin, C{_out} collects what is not yet written; it is flushed
once for all that arrived together.  Until there is a connection the client is not read, so C{_out}
stays small.  Towards the client, the downstream connection does the same.  Either side that cannot
take more makes the other side stop reading: an exchange never holds more than what was read at
once.

Nothing is sent twice unless that is safe: see L{Exchange.upstream_failed}.

NTLM and its kin authenticate a connection, so two connections become one as soon as a client
answers a challenge, or does not wait for it: the upstream connection serves this client connection
alone, no request of that client to that origin takes another one, and when either ends the other
does too.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from fastcar_tw.deadlines import NEVER
from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.forward.pinning import Pin
from fastcar_tw.forward.request_head import request_head, request_head_to_proxy
from fastcar_tw.http.body import chunk, last_chunk
from fastcar_tw.http.errors import FastcarError, GatewayError, stall_error
from fastcar_tw.http.fields import PROXY_FIELDS, split_list, without_fields
from fastcar_tw.http.head import RequestHead, ResponseHead
from fastcar_tw.http.target import Origin, parse_authority
from fastcar_tw.routes.connect import wanted_credentials
from fastcar_tw.tunnel import Tunnel
from fastcar_tw.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from fastcar_tw.downstream.http1 import DownstreamConnection
    from fastcar_tw.forward.forwarder import Forwarder

#: To be cut from 1xx and 204 responses (RFC 9110 section 8.6).
_CONTENT_LENGTH = frozenset((b"content-length",))

#: RFC 9110 section 9.2.2.
IDEMPOTENT_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class Exchange(DownstreamExchange):
    """
    One request and its response.

    @ivar request: the request's head.
    @ivar origin: where it goes.
    @ivar pinned: the upstream connection is authenticated, or about to be, and belongs to this
        client connection for good (RFC 9110 section 3.3); False again once that has it.
    """

    __slots__ = (
        "_answering",
        "_chunk_response",
        "_connection",
        "_downstream",
        "_ended",
        "_forwarder",
        "_moved",
        "_named",
        "_next_hop",
        "_out",
        "_replay",
        "_reused",
        "_sent_again",
        "_started",
        "_status",
        "_waiting",
        "origin",
        "pinned",
        "request",
    )

    def __init__(
        self,
        forwarder: Forwarder,
        downstream: DownstreamConnection,
        request: RequestHead,
        origin: Origin,
    ) -> None:
        super().__init__(request)
        self.request = request
        self.origin = origin
        self.pinned = request.connection_auth
        self._forwarder = forwarder
        self._downstream = downstream
        self._started = forwarder.now()
        self._connection: UpstreamConnection | None = None
        self._next_hop = origin if origin.route is None else _next_hop(request, origin)
        via = forwarder.via[request.version]
        if self._next_hop is origin:
            self._out = [request_head(request, request.target, via)]
        else:
            self._out = [request_head_to_proxy(request, via, origin)]
        self._replay: bytes | None = None
        self._reused = False
        self._sent_again = False
        self._waiting = False
        self._ended = False
        self._answering = False
        self._chunk_response = False
        self._moved = 0
        self._status = 0
        self._named: Container[bytes] = ()

    def __repr__(self) -> str:
        return f"<Exchange {self._what()} {'ended' if self._ended else 'under way'}>"

    # From the client.

    def start(self) -> None:
        """
        The request's head, and what came with it, is there: get a connection.
        """
        self._downstream.deadline = NEVER  # the pool has one
        pin = self._downstream.companion
        if isinstance(pin, Pin) and self._start_pinned(pin):
            return
        self._waiting = True
        self._forwarder.pool.acquire(self._next_hop, self)
        if self._waiting and not self.request_complete:
            self._downstream.pause_reading()

    def _start_pinned(self, pin: Pin) -> bool:
        """
        Take the connection that the client has authenticated to this origin, if there is one.

        @return: whether that was all; if it has ended, so has the client's.
        """
        connection = pin.take(self.origin, self._next_hop)
        if connection is not None:
            self.pinned = True
            self.connected(connection)
            # Anywhere else it would be somebody else's request.
            self._replay = None
        return connection is not None or self._ended

    def request_body(self, content: bytes) -> None:
        """
        Some of the request's body.
        """
        self._out.append(chunk(content) if self.request.chunked else content)

    def request_end(self, trailers: bytes) -> None:
        """
        The request is complete.
        """
        self.request_complete = True
        if self.request.chunked:
            if trailers and self.request.named:
                trailers = without_fields(trailers, self.request.named)
            self._out.append(last_chunk(trailers))

    def flush_request(self) -> None:
        """
        Send on what has arrived.
        """
        connection = self._connection
        if connection is not None and self._out:
            connection.send(b"".join(self._out))
            self._out.clear()
            self._replay = None
            self._set_deadline()

    def downstream_full(self) -> None:
        """
        The client does not read.
        """
        if self._connection is not None:
            self._connection.pause_reading()

    def downstream_drained(self) -> None:
        """
        The client has read what was there.
        """
        if self._connection is not None:
            self._connection.resume_reading()

    def downstream_lost(self) -> None:
        """
        The client has gone.
        """
        connection = self._end()
        if connection is not None:
            connection.abort()

    def expired(self) -> None:
        """
        Nothing was seen to happen for too long.
        """
        moved = self._bytes_moved()
        if moved != self._moved:
            # Buffers were emptying all the while.
            self._set_deadline()
            return
        connection = self._end()
        by_client = not self.request_complete and not (connection and connection.full)
        if connection is not None:
            connection.abort()
        if self.responded:
            error = stall_error()
        elif by_client:
            error = FastcarError(408, "http_request_error", "the request body took too long")
        elif not self.request_complete:
            error = FastcarError(
                504, "connection_write_timeout", f"{self.origin}: the request is not read"
            )
        else:
            error = FastcarError(
                504, "http_response_timeout", f"{self.origin}: no response in time"
            )
        self._fail(error)

    # From the pool.

    def is_repeatable(self) -> bool:
        """
        The request may be sent again without doing more than once (RFC 9110 section 9.2.2).
        """
        request = self.request
        if request.idempotency_key:
            return True
        bodiless = not request.content_length and not request.chunked
        return bodiless and request.upgrade is None and request.method in IDEMPOTENT_METHODS

    def connected(self, connection: UpstreamConnection) -> None:
        """
        A connection is there: send the request.
        """
        if self._ended:
            self._forwarder.pool.release(connection)
            return
        if not self.request_complete and self._downstream.is_gone():
            # Nothing was read while there was no connection, so nobody has told.
            self._end()
            self._forwarder.pool.release(connection)
            self._downstream.abort()
            return
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        # All that was written so far, no more than was read at once.
        self._replay = None if self._sent_again else data
        self._reused = not connection.fresh
        self._connection = connection
        connection.start(self, data)
        self._set_deadline()
        if not self.request_complete:
            self._downstream.resume_reading()
        self._waiting = False

    def connect_failed(self, error: GatewayError) -> None:
        """
        There will be no connection.
        """
        if not self._ended:
            self._end()
            self._fail(error)

    # From the origin.

    def upstream_full(self) -> None:
        """
        The origin does not read.
        """
        self._downstream.pause_reading()

    def upstream_drained(self) -> None:
        """
        The origin has read what was there.
        """
        self._downstream.resume_reading()

    def interim_response(self, head: ResponseHead) -> None:
        """
        A 1xx response: passed on, except to HTTP/1.0 clients (RFC 9110 section 15.2).
        """
        if self.request.version == 11:
            of_proxy = self._next_hop is not self.origin
            unwanted = _CONTENT_LENGTH | PROXY_FIELDS if of_proxy else _CONTENT_LENGTH
            fields = without_fields(head.fields, unwanted)
            via = self._forwarder.via[head.version]
            self._downstream.queue(
                b"HTTP/1.1 %d%b\r\n%b%b\r\n" % (head.status, head.reason, fields, via)
            )
        self._answering = True

    def response_head(self, head: ResponseHead, has_body: bool) -> None:
        """
        The final response begins.

        @raise GatewayError: it is from a proxy that does not let us through.
        """
        if head.status == 407:
            check_proxy(self.origin, self._next_hop)
        self.responded = True
        self._status = head.status
        self._named = head.named
        fields = head.fields
        framing = b""
        if has_body and head.content_length is None:
            if self.request.version == 11:
                self._chunk_response = True
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self.persist = False
        elif head.status == 204 and head.content_length is not None:
            fields = without_fields(fields, _CONTENT_LENGTH)
        if self._next_hop is not self.origin:
            fields = without_fields(fields, PROXY_FIELDS)
            self._named = head.named | PROXY_FIELDS
        if not self.request_complete or (self.pinned and head.close):
            # What the client still sends would have to be read to its end first; and it must not
            # take the next upstream connection for the one it has authenticated.
            self.persist = False
        if head.upgrade is not None:
            framing += b"Connection: upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        if not self.persist:
            framing += b"Connection: close\r\n"
        self._downstream.queue(
            b"HTTP/1.1 %d%b\r\n%b%b%b\r\n"
            % (head.status, head.reason, fields, self._forwarder.via[head.version], framing)
        )

    def response_body(self, content: bytes) -> None:
        """
        Some of the response's body.
        """
        self._downstream.queue(chunk(content) if self._chunk_response else content)

    def response_end(self, trailers: bytes) -> None:
        """
        The response is complete; the connection is no longer ours.
        """
        if self._chunk_response:
            if trailers and self._named:
                trailers = without_fields(trailers, self._named)
            self._downstream.queue(last_chunk(trailers))
        self._end()
        if self.pinned:
            self.persist = False
        if self._forwarder.config.verbose:
            self._forwarder.succeeded(self._what(), self._status, self._started)
        self._downstream.response_done(self.persist)

    def keep(self, connection: UpstreamConnection) -> None:
        """
        The response is complete, and the connection is for this client only.
        """
        self.pinned = False
        Pin(self._forwarder, self._downstream, connection, self.origin)

    def flush_response(self) -> None:
        """
        All that arrived together has been told.
        """
        if not self._ended:
            self._downstream.flush()
            # Bytes of a head are no answer yet: they do not move its deadline.
            if self.responded or self._answering:
                self._answering = False
                self._set_deadline()

    def upstream_failed(self, error: GatewayError, *, answered: bool, unsent: bool) -> None:
        """
        The connection has ended before the response did.

        The request is sent again, once and on a new connection, only if nothing of a response was
        received, and either provably none of the request was sent, or it is idempotent and the
        connection had served before, so that its origin may have closed it just then (RFC 9110
        section 9.2.2).

        @param answered: some byte of a response was received.
        @param unsent: no byte of the request has left.
        """
        replay = self._replay
        repeatable = self._reused and self.request_complete and self.is_repeatable()
        if answered or replay is None or not (unsent or repeatable):
            self._end()
            self._fail(error)
            return
        self._connection = None
        self._sent_again = True
        self._out.insert(0, replay)
        self._waiting = True
        self._downstream.deadline = NEVER
        if not self.request_complete:
            self._downstream.pause_reading()
        self._forwarder.log.info(
            "{what}: sent again on a new connection: {text}", what=self._what(), text=error.text
        )
        self._forwarder.pool.acquire_again(self._next_hop, self)

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """
        The origin has switched protocols (RFC 9110 section 7.8): what follows is a tunnel.

        @param early: what it has already sent in the new one.
        """
        connection = self._connection
        if connection is None:
            return
        if not self.request_complete or not _offered(self.request.upgrade, head.upgrade):
            self._end()
            connection.abort()
            self._fail(
                GatewayError(
                    502, "http_upgrade_failed", f"{self.origin} switched protocols unasked"
                )
            )
            return
        self.responded = True
        self._downstream.queue(
            b"HTTP/1.1 101%b\r\n%b%bConnection: upgrade\r\nUpgrade: %b\r\n\r\n%b"
            % (
                head.reason,
                without_fields(head.fields, _CONTENT_LENGTH),
                self._forwarder.via[head.version],
                head.upgrade or b"",
                early,
            )
        )
        self._end()
        tunnel = Tunnel(self._forwarder, self._what(), self._started)
        tunnel.start()
        connection.hand_over(tunnel.origin)
        self._downstream.hand_over(tunnel.client)

    # Ours.

    def _set_deadline(self) -> None:
        config = self._forwarder.config
        waiting_for_response = self.request_complete and not self.responded
        self._downstream.deadline = self._forwarder.now() + (
            config.response_timeout if waiting_for_response else config.stall_timeout
        )
        self._moved = self._bytes_moved()

    def _bytes_moved(self) -> int:
        connection = self._connection
        return self._downstream.sent() + (connection.sent() if connection is not None else 0)

    def _end(self) -> UpstreamConnection | None:
        """
        Let go of the connection, or of the place in line for one.
        """
        self._ended = True
        connection, self._connection = self._connection, None
        if self._waiting:
            self._waiting = False
            self._forwarder.pool.cancel(self._next_hop, self)
        return connection

    def _fail(self, error: FastcarError) -> None:
        self._forwarder.failed(self._what(), error, self._started)
        if self.pinned:
            self.persist = False
        if self.responded:
            self._downstream.abort()
        else:
            self._downstream.failed(error)

    def _what(self) -> str:
        # A method may be of any length.
        return f"{self.request.method[:32].decode('ascii')} {self.origin}"


def check_proxy(origin: Origin, next_hop: Origin) -> None:
    """
    Judge a 407.

    @param next_hop: who says it.
    @raise GatewayError: it is a proxy, which does not let us through.
    """
    if next_hop is not origin and origin.route is not None:
        text = f"{origin}: the proxy {wanted_credentials(origin.route)}"
        raise GatewayError(502, "proxy_configuration_error", text)


def _next_hop(request: RequestHead, origin: Origin) -> Origin:
    """
    Whom the connection for a request has to lead to, where there is a proxy.

    A proxy need not pass an upgrade on (RFC 9110 section 7.8), and cannot be told of an origin and
    another Host: both take a tunnel through it.
    """
    named = parse_authority(request.host, origin.scheme)
    if request.upgrade is not None or named != (origin.host, origin.port):
        return origin
    return origin.next_hop


def _offered(wanted: bytes | None, chosen: bytes | None) -> bool:
    """
    Whether what an origin switched to is among what the client wanted (RFC 9110 section 7.8).
    """
    return bool(wanted and chosen) and set(split_list(chosen or b"")) <= set(
        split_list(wanted or b"")
    )
