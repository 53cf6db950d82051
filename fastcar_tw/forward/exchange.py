"""
The exchange: one request and its response, between a client connection and an upstream connection.

Theory of operation.  Towards the origin, C{_content} collects what is not yet handed over; that is
done once for all that arrived together.  Until there is a connection the client is not read, so it
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

from collections.abc import Container, Sequence
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
from fastcar_tw.http2.errors import HTTP1RequiredError
from fastcar_tw.http2.fields import request_fields
from fastcar_tw.routes.connect import wanted_credentials
from fastcar_tw.tunnel import Tunnel
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.exchange import OriginConnection, UpstreamHandle

if TYPE_CHECKING:
    from fastcar_tw.downstream.http1 import DownstreamConnection
    from fastcar_tw.forward.forwarder import Forwarder

#: To be cut from 1xx and 204 responses (RFC 9110 section 8.6).
_CONTENT_LENGTH = frozenset((b"content-length",))

#: How often a request is sent at most, however sure it is that no origin has acted on it.
MAX_SENDS = 8

#: Bytes of content that are kept to be sent again, where an origin says what it has not acted on.
MAX_REPLAY = 256 * 1024

#: Bytes of a request's fields and target that every origin takes: over more, some end an HTTP/2
#: connection and with it the requests of others (nginx: over 8 KiB of one field).
MAX_SHARED_HEAD = 8000

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
        "_content",
        "_downstream",
        "_ended",
        "_forwarder",
        "_handle",
        "_moved",
        "_named",
        "_next_hop",
        "_replay",
        "_replay_room",
        "_reused",
        "_sends",
        "_started",
        "_status",
        "_to_proxy",
        "_unsent",
        "_waiting",
        "origin",
        "pinned",
        "request",
        "request_chunked",
        "request_trailers",
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
        self._handle: UpstreamHandle | None = None
        self._next_hop = origin if origin.route is None else _next_hop(request, origin)
        self._to_proxy = self._next_hop is not origin
        if origin.http2 and _wants_own_connection(request):
            self._next_hop = origin.over_http1
        self.request_chunked = request.chunked
        self.request_trailers = b""
        self._content: list[bytes] = []
        self._unsent = False
        # What was sent of the content, as long as that is all kept.
        self._replay: list[bytes] | None = None
        self._replay_room = 0
        self._reused = False
        self._sends = 0
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
        self._content.append(content)
        self._unsent = True

    def request_end(self, trailers: bytes) -> None:
        """
        The request is complete.
        """
        self.request_complete = self._unsent = True
        if trailers and self.request.named:
            trailers = without_fields(trailers, self.request.named)
        self.request_trailers = trailers

    def flush_request(self) -> None:
        """
        Send on what has arrived.
        """
        handle = self._handle
        if handle is not None and self._unsent:
            content = self._take_content()
            if self._replay is not None:
                self._replay_room -= len(content)
                if self._replay_room < 0:
                    self._replay = None
                else:
                    self._replay.append(content)
            handle.send(content, self.request_complete)
            self._set_deadline()

    def downstream_full(self) -> None:
        """
        The client does not read.
        """
        if self._handle is not None:
            self._handle.pause_reading()

    def downstream_drained(self) -> None:
        """
        The client has read what was there.
        """
        if self._handle is not None:
            self._handle.resume_reading()

    def downstream_lost(self) -> None:
        """
        The client has gone.
        """
        handle = self._end()
        if handle is not None:
            handle.abort()

    def expired(self) -> None:
        """
        Nothing was seen to happen for too long.
        """
        moved = self._bytes_moved()
        if moved != self._moved:
            # Buffers were emptying all the while.
            self._set_deadline()
            return
        handle = self._end()
        by_client = not self.request_complete and not (handle and handle.full)
        if handle is not None:
            handle.abort()
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

    def request_head(self) -> bytes:
        """
        See L{UpstreamExchange<fastcar_tw.upstream.exchange.UpstreamExchange>}.
        """
        request = self.request
        via = self._forwarder.via[request.version]
        if self._to_proxy:
            return request_head_to_proxy(request, via, self.origin)
        return request_head(request, request.target, via)

    def request_fields(self) -> Sequence[tuple[bytes, bytes]]:
        """
        See L{UpstreamExchange<fastcar_tw.upstream.exchange.UpstreamExchange>}.
        """
        return request_fields(self.request, self._forwarder.via[self.request.version])

    def connected(self, connection: OriginConnection) -> None:
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
        # No more than was read at once.
        content = self._take_content()
        self._replay = [content]
        self._replay_room = MAX_REPLAY - len(content) if connection.multiplexed else 0
        self._sends += 1
        self._reused = not connection.fresh
        self._waiting = False
        handle = self._handle = connection.start(self, content, self.request_complete)
        self._set_deadline()
        if not self.request_complete:
            if connection.multiplexed and self.request.expects_continue:
                self._continue()
            if not handle.full:
                self._downstream.resume_reading()

    def connect_failed(self, error: GatewayError) -> None:
        """
        There will be no connection.
        """
        if not self._ended:
            handle = self._end()
            if handle is not None:
                handle.abort()
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
            unwanted = _CONTENT_LENGTH | PROXY_FIELDS if self._to_proxy else _CONTENT_LENGTH
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
        if head.status == 407 and self._to_proxy:
            raise refused_by_proxy(self.origin)
        self.responded = True
        self._replay = None
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
        if self._to_proxy:
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

    def upstream_failed(self, error: GatewayError, *, answered: bool, unprocessed: bool) -> None:
        """
        The connection has ended before the response did.

        The request is sent again, on another connection, only if nothing of a response was
        received, and either the origin has provably not acted on it, or it is idempotent and the
        connection had served before, so that its origin may have closed it just then (RFC 9110
        section 9.2.2); the latter once.

        @param answered: some byte of a response was received.
        @param unprocessed: the origin has provably not acted on the request.
        """
        if isinstance(error, HTTP1RequiredError):
            self._forwarder.http1_only(self.origin)
            self._next_hop = self.origin.over_http1
        replay = self._replay
        if answered or replay is None or not self._may_send_again(unprocessed):
            self._end()
            self._fail(error)
            return
        self._handle = None
        self._content[:0] = replay
        self._waiting = True
        self._downstream.deadline = NEVER
        if not self.request_complete:
            self._downstream.pause_reading()
        self._forwarder.log.info("{what}: sent again: {text}", what=self._what(), text=error.text)
        self._forwarder.pool.acquire_again(self._next_hop, self)

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """
        The origin has switched protocols (RFC 9110 section 7.8): what follows is a tunnel.

        @param early: what it has already sent in the new one.
        """
        connection = self._handle
        if not isinstance(connection, UpstreamConnection):
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

    def _continue(self) -> None:
        """
        Ask for the body: an origin that does not want it can say so in HTTP/2 at any time, and most
        do not ask for it there.
        """
        self.request.expects_continue = False
        self._downstream.queue(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._downstream.flush()

    def _take_content(self) -> bytes:
        """
        What of the request's body has come since it was last asked for.
        """
        self._unsent = False
        pieces = self._content
        if not pieces:
            return b""
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return content

    def _may_send_again(self, unprocessed: bool) -> bool:
        if unprocessed:
            return self._sends < MAX_SENDS
        repeatable = self._reused and self.request_complete and self.is_repeatable()
        return repeatable and self._sends == 1

    def _set_deadline(self) -> None:
        config = self._forwarder.config
        waiting_for_response = self.request_complete and not self.responded
        self._downstream.deadline = self._forwarder.now() + (
            config.response_timeout if waiting_for_response else config.stall_timeout
        )
        self._moved = self._bytes_moved()

    def _bytes_moved(self) -> int:
        handle = self._handle
        return self._downstream.sent() + (handle.sent() if handle is not None else 0)

    def _end(self) -> UpstreamHandle | None:
        """
        Let go of the connection, or of the place in line for one.
        """
        self._ended = True
        handle, self._handle = self._handle, None
        if self._waiting:
            self._waiting = False
            self._forwarder.pool.cancel(self._next_hop, self)
        return handle

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


def refused_by_proxy(origin: Origin) -> GatewayError:
    """
    What a 407 means that comes from the proxy in front of an origin.
    """
    assert origin.route is not None
    text = f"{origin}: the proxy {wanted_credentials(origin.route)}"
    return GatewayError(502, "proxy_configuration_error", text)


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


def _wants_own_connection(request: RequestHead) -> bool:
    """
    Whether a request must go over HTTP/1.1: what it is about is a connection, which in HTTP/2 is
    others' too, or it could cost them theirs.
    """
    return (
        request.upgrade is not None
        or request.connection_auth
        or len(request.fields) + len(request.target) > MAX_SHARED_HEAD
    )


def _offered(wanted: bytes | None, chosen: bytes | None) -> bool:
    """
    Whether what an origin switched to is among what the client wanted (RFC 9110 section 7.8).
    """
    return bool(wanted and chosen) and set(split_list(chosen or b"")) <= set(
        split_list(wanted or b"")
    )
