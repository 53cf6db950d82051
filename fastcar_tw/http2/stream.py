"""
One request and its response on a multiplexed connection: what an exchange holds of it.

Theory of operation.  A stream judges the response as a message and tells its user; frames, order
and the connection are the session's.  Content that the origin's windows do not let through waits
here, and the user is told when that is much.  A stream ends once, by its response, a reset, or with
its session; from then on every call to it does nothing, and its user is told at most that this was
all.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Protocol

from fastcar_tw.http.errors import GatewayError, MessageError
from fastcar_tw.http.head import MAX_INTERIM, ResponseHead
from fastcar_tw.http2.fields import Field, response_head, trailer_fields, trailer_lines
from fastcar_tw.http2.windows import StreamWindow

if TYPE_CHECKING:
    from fastcar_tw.http2.library import ClientConnection
    from fastcar_tw.http2.session import Session

#: Bytes of content that wait: from how many on a stream is full, and down to how many it stays so.
FULL = 64 * 1024
DRAINED = FULL // 2
#: Bytes of one DATA frame, where the origin allows as many; then it is another stream's turn.
MAX_DATA = 64 * 1024


class StreamUser(Protocol):
    """
    An exchange, as its stream sees it; it may leave out what has a C{return} here.

    @ivar head_only: the response has no body whatever its head says.
    @ivar request_trailers: field lines, each ended by CRLF; valid once the request has ended.
    """

    __slots__ = ()

    head_only: bool
    request_trailers: bytes

    def is_repeatable(self) -> bool:
        """
        The request may be sent again without doing more than once (RFC 9110 section 9.2.2).
        """

    def interim_response(self, head: ResponseHead) -> None:
        return

    def response_head(self, head: ResponseHead, has_body: bool) -> None:
        """
        @raise GatewayError: it is none to pass on.
        """

    def response_body(self, content: bytes) -> None: ...

    def response_end(self, trailers: bytes) -> None: ...

    def flush_response(self) -> None:
        return

    def upstream_full(self) -> None:
        return

    def upstream_drained(self) -> None:
        return

    def upstream_failed(self, error: GatewayError, *, answered: bool, unprocessed: bool) -> None:
        """
        There will be no response, or no more of it.

        @param answered: some byte of a response was received.
        @param unprocessed: the origin has provably done nothing: no byte of the request has left,
            or it has said so (RFC 9113 section 8.7).
        """


class Stream:
    """
    A request under way.

    @ivar id: the stream's number; 0 while nothing of it has been sent.
    @ivar user: who is told.
    @ivar window: for what the origin sends.
    @ivar answered: the origin has sent something in response, whatever it is.
    @ivar responded: the final response has begun.
    @ivar sent_before: bytes the kernel had taken of the connection's output when the request was
        handed over.
    @ivar finished: the request has been sent to its end.
    @ivar queued: it is in line to send content.
    @ivar told: its user has been told something since the last C{flush_response}.
    """

    __slots__ = (
        "_content",
        "_ended",
        "_full",
        "_interim",
        "_remaining",
        "_sent",
        "_session",
        "_trailers",
        "answered",
        "finished",
        "id",
        "queued",
        "responded",
        "sent_before",
        "told",
        "user",
        "window",
    )

    def __init__(self, session: Session, user: StreamUser, window: StreamWindow) -> None:
        self.id = 0
        self.user = user
        self.window = window
        self.sent_before = -1
        self.answered = False
        self.responded = False
        self.finished = False
        self.queued = False
        self.told = False
        self._session: Session | None = session
        self._content = bytearray()
        self._ended = False
        self._full = False
        self._sent = 0
        self._interim = 0
        # Bytes of content still to come; negative: there is no head yet.
        self._remaining: float = -1
        self._trailers = b""

    def __repr__(self) -> str:
        state = "ended" if self._session is None else "responded" if self.responded else "open"
        return f"<Stream {self.id} {state} waiting={len(self._content)}>"

    # From the exchange.

    @property
    def full(self) -> bool:
        """
        The origin has not made room for what was sent.
        """
        return self._full

    def sent(self) -> int:
        """
        Bytes of the request's content that windows and wire have let through.
        """
        return self._sent

    def send(self, content: bytes, ended: bool) -> None:
        """
        Send more of the request; its user may be told meanwhile that the stream is full.

        @param ended: this is the last of it; C{request_trailers} follow.
        """
        session = self._session
        if session is not None:
            self.add(content, ended)
            session.send_soon(self)
            self.check_full()

    def pause_reading(self) -> None:
        """
        Take no more of the response for now; what is under way, at most a window, still comes.
        """
        self.window.pause()

    def resume_reading(self) -> None:
        """
        Take more of the response.
        """
        self.window.resume()
        if self._session is not None:
            self._session.read(self)

    def abort(self) -> None:
        """
        Neither the request nor its response is wanted any more.
        """
        if self._session is not None:
            self._session.cancel(self)

    # From the session: the request.

    @property
    def has_ended(self) -> bool:
        """
        Nothing happens to it any more.
        """
        return self._session is None

    @property
    def has_content(self) -> bool:
        """
        There is content that has not been sent.
        """
        return bool(self._content)

    def add(self, content: bytes, ended: bool) -> None:
        """
        Take content that is to be sent.
        """
        self._content += content
        self._ended = ended

    def hold(self) -> None:
        """
        Nothing of it is sent for now, and nothing more is taken.
        """
        if not self._ended:
            self._full = True
            self.user.upstream_full()

    def check_full(self) -> None:
        """
        Tell the user if the stream has become full.
        """
        if len(self._content) >= FULL and not self._full:
            self._full = True
            self.user.upstream_full()

    def check_drained(self) -> None:
        """
        Tell the user if the stream is not full any more.
        """
        if self._full and len(self._content) <= DRAINED:
            self._full = False
            self.user.upstream_drained()

    def send_head(self, library: ClientConnection, fields: Sequence[Field]) -> None:
        """
        Frame the head, and the end if there is nothing between them.
        """
        self.finished = self._ended and not self._content and not self.user.request_trailers
        library.send_headers(self.id, fields, self.finished)

    def send_some(self, library: ClientConnection) -> int:
        """
        Frame as much content as the origin's windows and one frame hold, and the end behind it.

        @return: bytes of content.
        """
        content = self._content
        if not content:
            return 0
        window = library.local_flow_control_window(self.id)
        size = min(len(content), window, library.max_outbound_frame_size, MAX_DATA)
        if size <= 0:
            return 0
        part = bytes(memoryview(content)[:size])
        del content[:size]
        self._sent += size
        self.finished = self._ended and not content and not self.user.request_trailers
        library.send_data(self.id, part, self.finished)
        if not content:
            self.send_end(library)
        return size

    def send_end(self, library: ClientConnection) -> None:
        """
        Frame the end, if it has come and has not been framed: alone, or with trailers (RFC 9113
        section 8.1).
        """
        if not self._ended or self.finished:
            return
        self.finished = True
        trailers = self.user.request_trailers
        if trailers:
            library.send_headers(self.id, trailer_fields(trailers), end_stream=True)
        else:
            library.end_stream(self.id)

    def close(self) -> None:
        """
        It has ended.
        """
        self._session = None
        self._content.clear()
        self.window.close()
        self._full = False

    # From the session: the response.

    def interim_head(self, fields: Sequence[Field]) -> None:
        """
        @raise MessageError: it is malformed, or there are too many.
        """
        self.answered = True
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise MessageError("too many interim responses")
        self.user.interim_response(response_head(fields))

    def head(self, fields: Sequence[Field]) -> None:
        """
        The final response begins.

        @raise MessageError: it is malformed.
        @raise GatewayError: the user does not pass it on.
        """
        self.answered = True
        head = response_head(fields)
        self.responded = True
        length = head.content_length
        # Whatever they say about it, these have none (RFC 9113 section 8.1.1).
        if self.user.head_only or head.status in (204, 304):
            length = 0
        self._remaining = inf if length is None else length
        self.user.response_head(head, length != 0)

    def body(self, content: bytes) -> None:
        """
        @raise MessageError: it is more than its head says.
        """
        remaining = self._remaining - len(content)
        if remaining < 0:
            raise MessageError("more content than the head says")
        self._remaining = remaining
        if content:
            self.user.response_body(content)

    def trailers(self, fields: Sequence[Field]) -> None:
        """
        @raise MessageError: they are malformed.
        """
        self._trailers = trailer_lines(fields)

    def end(self) -> None:
        """
        The response is complete.

        @raise MessageError: it cannot be.
        """
        if self._remaining not in (0, inf):
            raise MessageError("less content than the head says")
        session = self._session
        if session is not None:
            session.complete(self)
        self.user.response_end(self._trailers)
