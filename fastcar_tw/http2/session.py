"""
One HTTP/2 connection to an origin, without I/O: bytes in, bytes out, and many streams between.

Theory of operation.  Whoever calls in, what is to be sent is collected, and transmitted once before
the call returns.  What the origin sends is told stream by stream in its order; then each user that
was told something is told that this was all, and only then windows are given back.  Users may call
in meanwhile: such calls leave the sending to the one that is under way.

Sending is fair: streams with content are in one line and take turns, one DATA frame each.  One
whose window is closed leaves the line until that opens.  While the wire is full nobody's content is
framed, so what waits does so in the streams, whose users are told.

Nobody can do more than end its own stream.  A user that raises is cut off; what is malformed resets
one stream; only what breaks the connection itself (RFC 9113 section 5.4.1) ends them all.

An idle connection may have died unnoticed.  So the first request after a pause goes with a PING,
and one that must not be sent twice waits for the answer, and takes no content meanwhile: if none
comes it was certainly not acted on, and can be sent again.  When to ask is known to L{Liveness}.

Until the origin's SETTINGS have said how many requests it takes at once, only a few begin: some
origins end the connection over one too many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.settings import SettingCodes

from fastcar_tw.http.errors import GatewayError, MessageError, as_response_error
from fastcar_tw.http2.errors import (
    UNPROCESSED,
    going_away_error,
    incomplete,
    protocol_error,
    reset_error,
)
from fastcar_tw.http2.fields import Field
from fastcar_tw.http2.library import ClientConnection, ConnectionFailed, StreamFailed
from fastcar_tw.http2.liveness import Liveness
from fastcar_tw.http2.stream import Stream, StreamUser
from fastcar_tw.http2.windows import CONNECTION_WINDOW, INITIAL_WINDOW, Reserve, StreamWindow

#: Streams at once: before the origin's SETTINGS have come, if they do not say how many, and however
#: many they say.
EARLY_STREAMS = 4
ASSUMED_CAPACITY = 100
MAX_CAPACITY = 1000
#: After the last one no stream is opened; a margin is kept for those that are held back.
LAST_STREAM_ID = 2**31 - 1 - 2 * MAX_CAPACITY

#: What a PING carries.
_PING = b"fastcar?"

#: Bytes of content framed between two transmissions: how far the wire's fullness may be overshot.
_BATCH = 128 * 1024


class SessionOwner(Protocol):
    """
    The connection that a session is spoken on.
    """

    __slots__ = ()

    def transmit(self, data: bytes) -> None:
        """
        Write to the wire.
        """

    def sent(self) -> int:
        """
        Bytes of the connection's output that the kernel has taken.
        """

    def stream_ended(self) -> None:
        """
        There is room for another request; told for each that ends, except when all end together
        with the session (see L{Session.broken}).
        """

    def capacity_changed(self) -> None:
        """
        L{Session.capacity} is another, or is what the origin's first SETTINGS say.
        """

    def going_away(self) -> None:
        """
        No more requests can begin: the origin says so, the numbers of streams are used up, or the
        session has failed.  Otherwise those that have begun go on.  Told once, before the users
        whom it concerns.
        """

    def user_raised(self) -> None:
        """
        A user's call has raised what it should not; called while that is being handled, to log it.
        """


class Session:
    """
    The client's side of one HTTP/2 connection.

    @ivar capacity: requests it may serve at once; 0: no more begin.
    @ivar accepted: how many requests the origin has taken in all, if a GOAWAY has said that it has
        not taken others; else None.
    @ivar going_away: no more begin; see L{SessionOwner.going_away}.
    @ivar greeted: the origin's first SETTINGS have come.
    @ivar broken: it has failed, and so have all streams, or it was closed: what was transmitted is
        to be sent, and the connection ended.
    """

    __slots__ = (
        "_busy",
        "_clock",
        "_farewell",
        "_held",
        "_library",
        "_line",
        "_liveness",
        "_name",
        "_owner",
        "_reserve",
        "_streams",
        "_told",
        "_wire_full",
        "accepted",
        "broken",
        "capacity",
        "going_away",
        "greeted",
    )

    def __init__(self, owner: SessionOwner, clock: Callable[[], float], origin_name: str) -> None:
        """
        @param clock: seconds.
        @param origin_name: for errors.
        """
        self.capacity = EARLY_STREAMS
        self.accepted: int | None = None
        self.going_away = False
        self.broken = False
        self._owner = owner
        self._clock = clock
        self._name = origin_name
        self._library = ClientConnection(clock, stream_window=INITIAL_WINDOW)
        self._streams: dict[int, Stream] = {}
        # Requests that wait for a sign of life.
        self._held: dict[Stream, Sequence[Field]] = {}
        # Streams with content, in turns; some have ended since.
        self._line: deque[Stream] = deque()
        self._told: list[Stream] = []
        self._busy = False
        self._wire_full = False
        self.greeted = False
        self._liveness = Liveness(clock)
        self._reserve = Reserve()
        # The code of the last GOAWAY; 0: there was none, or nothing was wrong.
        self._farewell = 0

    def __repr__(self) -> str:
        state = "broken" if self.broken else "going away" if self.going_away else "open"
        return f"<Session {self._name} {state} {self.streams}/{self.capacity}>"

    # From the owner.

    @property
    def streams(self) -> int:
        """
        Requests under way.
        """
        return len(self._streams) + len(self._held)

    def begin(self) -> None:
        """
        The connection is there: introduce ourselves (RFC 9113 section 3.4).  Requests need not wait
        for the origin to do so.
        """
        self._liveness.heard()
        library = self._library
        library.initiate_connection()
        library.increment_flow_control_window(
            CONNECTION_WINDOW - library.inbound_flow_control_window
        )
        self._settle()

    def open(
        self, user: StreamUser, fields: Sequence[Field], content: bytes, ended: bool
    ) -> Stream:
        """
        Begin a request; only while there are fewer L{streams} than L{capacity}.

        @param content: what is there of it.
        @param ended: that is all of it.
        """
        assert self.streams < self.capacity
        stream = Stream(self, user, StreamWindow(self._clock, self._reserve))
        stream.add(content, ended)
        doubtful = self._liveness.is_doubtful
        if doubtful and self._liveness.ask():
            self._library.ping(_PING)
        if doubtful and not user.is_repeatable():
            self._held[stream] = fields
            stream.hold()
        else:
            self._start(stream, fields)
        self._settle()
        stream.check_full()
        return stream

    def receive(self, data: bytes) -> None:
        """
        The origin has sent something.
        """
        if self.broken:
            return
        self._liveness.heard()
        self._busy = True
        events = self._library.receive_data(data)
        # The library has taken in all of it: what bears on new requests is told before the news
        # that lets some begin, the end of the connection first.
        for event in reversed(events):
            prepare = _FIRST.get(type(event))
            if prepare is not None:
                prepare(self, event)
        for event in events:
            kind = type(event)
            tell = _OF_STREAMS.get(kind)
            if tell is not None:
                self._tell(tell, event)
            elif kind in _OF_CONNECTION:
                _OF_CONNECTION[kind](self, event)
        self._flush_users()
        self._busy = False
        if not self.broken:
            self._library.give_back_window()
        self._settle()

    def pause_sending(self) -> None:
        """
        The wire is full.
        """
        self._wire_full = True

    def resume_sending(self) -> None:
        """
        The wire has room.
        """
        self._wire_full = False
        self._settle()

    def check(self) -> None:
        """
        About a second has passed: see that the origin is alive while something is expected of it.
        """
        if self.broken:
            return
        if self._liveness.is_lost:
            text = f"{self._name} does not answer any more"
            self._fail_all(GatewayError(504, "connection_read_timeout", text))
        elif self.streams and self._liveness.ask_if_silent():
            self._library.ping(_PING)
            self._settle()

    def close(self) -> None:
        """
        Take leave (RFC 9113 section 6.8), when there are no streams; nothing can be done any more.
        """
        if not self.broken:
            self.going_away = True  # the owner knows
            self._library.close_connection()
            self._transmit()
            text = f"the connection to {self._name} was closed"
            self._fail_all(GatewayError(502, "connection_terminated", text))

    def lost(self, error: GatewayError, sent: int) -> None:
        """
        The connection has ended: every stream fails.

        @param sent: as L{SessionOwner.sent} told last.
        """
        self.going_away = True  # the owner knows
        if self._farewell:
            error = going_away_error(self._name, self._farewell)
        self._fail_all(error, sent)

    # From streams.

    def send_soon(self, stream: Stream) -> None:
        """
        It has something to send.
        """
        self._queue(stream)
        self._settle()

    def read(self, stream: Stream) -> None:
        """
        Its user has read.
        """
        self._give_back(stream)
        self._settle()

    def cancel(self, stream: Stream) -> None:
        """
        It is not wanted any more.
        """
        self._drop(stream, ErrorCodes.CANCEL)
        self._settle()

    def complete(self, stream: Stream) -> None:
        """
        Its response is complete; the rest of a request that the origin did not wait for is not sent
        any more (RFC 9113 section 8.1).
        """
        self._drop(stream, None if stream.finished else ErrorCodes.NO_ERROR)

    # Sending.

    def _start(self, stream: Stream, fields: Sequence[Field]) -> None:
        library = self._library
        stream.id = (library.highest_outbound_stream_id or -1) + 2
        stream.sent_before = self._owner.sent()
        stream.send_head(library, fields)
        self._streams[stream.id] = stream
        self._queue(stream)
        if stream.id >= LAST_STREAM_ID:
            self._go_away()

    def _queue(self, stream: Stream) -> None:
        """
        Let it send content when its turn comes; an end alone needs neither turn nor window.
        """
        if stream.queued or not stream.id or self.broken:
            return
        if stream.has_content:
            stream.queued = True
            self._line.append(stream)
        elif self._library.is_open(stream.id):
            stream.send_end(self._library)

    def _settle(self) -> None:
        """
        The end of every call from outside: send what there is.
        """
        if self._busy or self.broken:
            return
        self._busy = True
        while self._line and not self._wire_full and self._library.outbound_flow_control_window > 0:
            self._send_batch()
            self._transmit()
        self._busy = False
        self._transmit()

    def _send_batch(self) -> None:
        """
        Everybody in line frames as much as it may, in turns.
        """
        left = _BATCH
        line = self._line
        library = self._library
        while line and left > 0 and library.outbound_flow_control_window > 0:
            stream = line.popleft()
            stream.queued = False
            size = stream.send_some(library)
            left -= size
            if size and stream.has_content:
                stream.queued = True
                line.append(stream)
            # Else its own window is closed, or there is no more; or it has ended.
            self._guard(stream, stream.check_drained)

    def _transmit(self) -> None:
        data = self._library.data_to_send()
        if data:
            self._owner.transmit(data)

    # Receiving.

    def _tell(self, tell: Callable[[Session, Stream, Any], None], event: Any) -> None:
        """
        Tell a stream what came for it; what is wrong about that ends this stream only.
        """
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        if not stream.told:
            stream.told = True
            self._told.append(stream)
        try:
            tell(self, stream, event)
        except MessageError as error:
            self._drop(stream, ErrorCodes.PROTOCOL_ERROR, as_response_error(self._name, error))
        except GatewayError as error:
            self._drop(stream, ErrorCodes.CANCEL, error)
        except Exception:
            self._cut_off(stream)

    def _guard(self, stream: Stream, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            self._cut_off(stream)

    def _cut_off(self, stream: Stream) -> None:
        """
        Its user has raised, which is our fault and nobody else's.
        """
        self._owner.user_raised()
        text = f"{self._name}: internal error"
        error = GatewayError(500, "proxy_internal_error", text)
        self._drop(stream, ErrorCodes.INTERNAL_ERROR, error)

    def _flush_users(self) -> None:
        told = self._told
        if told:
            self._liveness.progressed()
        for stream in told:
            stream.told = False
            self._guard(stream, stream.user.flush_response)
            self._give_back(stream)
        told.clear()

    def _give_back(self, stream: Stream) -> None:
        if stream.has_ended or self.broken:
            return
        increment = stream.window.give_back()
        if increment:
            self._library.increment_flow_control_window(increment, stream.id)

    # What comes for streams.

    def _data_received(self, stream: Stream, event: DataReceived) -> None:
        stream.window.take(event.flow_controlled_length)
        stream.body(event.data)

    def _window_updated(self, event: WindowUpdated) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._queue(stream)

    def _stream_reset(self, stream: Stream, event: StreamReset) -> None:
        code = event.error_code or 0
        unprocessed = code in UNPROCESSED and not stream.answered
        # It did so on purpose: that is an answer, and no accident of an idle connection.
        stream.answered = not unprocessed
        error = reset_error(self._name, code, stream.responded)
        self._drop(stream, None, error, unprocessed=unprocessed)

    def _stream_failed(self, stream: Stream, event: StreamFailed) -> None:
        stream.answered = True
        error = as_response_error(self._name, MessageError(event.text))
        self._drop(stream, None, error)

    # What comes for the connection.

    def _settings_changed(self, event: RemoteSettingsChanged) -> None:
        changed = event.changed_settings
        if SettingCodes.INITIAL_WINDOW_SIZE in changed:
            for stream in self._streams.values():
                self._queue(stream)
        # Of several in one segment the last one holds already.
        limit = self._library.remote_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)
        capacity = ASSUMED_CAPACITY if limit is None else min(limit, MAX_CAPACITY)
        news = capacity != self.capacity or not self.greeted
        self.greeted = True
        if news and not self.going_away:
            self.capacity = capacity
            self._owner.capacity_changed()

    def _ping_answered(self, event: PingAckReceived) -> None:
        self._liveness.answered()
        while self._held:
            stream, fields = next(iter(self._held.items()))
            if len(self._streams) < self.capacity:
                self._start(stream, fields)
                self._held.pop(stream, None)
                self._guard(stream, stream.check_drained)
            else:
                # It would be refused.
                error = reset_error(self._name, ErrorCodes.REFUSED_STREAM, False)
                self._drop(stream, None, error, unprocessed=True)

    def _announced(self, event: ConnectionTerminated) -> None:
        """
        A GOAWAY has come.
        """
        last = event.last_stream_id or 0
        self._farewell = event.error_code or 0
        if last < self._library.highest_outbound_stream_id:
            self.accepted = (last + 1) // 2
        self._go_away()

    def _terminated(self, event: ConnectionTerminated) -> None:
        """
        GOAWAY: what the origin has begun goes on, the rest it has not acted on (RFC 9113 section
        6.8).  There may be another one, with a smaller number.
        """
        last = event.last_stream_id or 0
        error = going_away_error(self._name, event.error_code or 0)
        for stream in [*self._streams.values(), *self._held]:
            if stream.id > last or not stream.id:
                # It has been forgotten over there: there is nothing to reset.
                self._library.forget(stream.id)
                self._drop(stream, None, error, unprocessed=True)

    def _take_leave(self, event: ConnectionFailed) -> None:
        self._transmit()
        self._break()

    def _connection_failed(self, event: ConnectionFailed) -> None:
        self._fail_all(protocol_error(self._name, event.error_code, event.text))

    # Ending.

    def _go_away(self) -> None:
        if not self.going_away:
            self.going_away = True
            self.capacity = 0
            self._owner.going_away()

    def _drop(
        self,
        stream: Stream,
        code: ErrorCodes | None,
        error: GatewayError | None = None,
        *,
        unprocessed: bool = False,
    ) -> None:
        """
        The end of one stream.

        @param code: to reset it with; None: the origin knows.
        @param error: what its user is told, if anything.
        """
        if stream.has_ended:
            return
        stream.close()
        if stream.id:
            self._streams.pop(stream.id, None)
            if code is not None and not self.broken:
                self._library.reset_stream(stream.id, code)
        else:
            self._held.pop(stream, None)
        self._owner.stream_ended()
        if error is not None:
            self._fail(stream, error, unprocessed)

    def _fail_all(self, error: GatewayError, sent: int | None = None) -> None:
        """
        The end of all of them.

        @param sent: bytes the kernel has taken, if that is all that it will take.
        """
        self._break()
        streams: Iterable[Stream] = [*self._streams.values(), *self._held]
        self._streams.clear()
        self._held.clear()
        self._line.clear()
        for stream in streams:
            if not stream.has_ended:
                stream.close()
                unsent = not stream.id or (sent is not None and sent <= stream.sent_before)
                self._fail(stream, incomplete(error) if stream.responded else error, unsent)

    def _break(self) -> None:
        """
        Nothing can be sent any more; the owner knows before users do, who may want to begin again.
        """
        self.broken = True
        self.capacity = 0
        self._go_away()

    def _fail(self, stream: Stream, error: GatewayError, unprocessed: bool) -> None:
        try:
            stream.user.upstream_failed(error, answered=stream.answered, unprocessed=unprocessed)
        except Exception:
            self._owner.user_raised()


#: What is to be known before anything is told.
_FIRST: dict[type[Event], Callable[[Session, Any], None]] = {
    ConnectionFailed: Session._take_leave,
    ConnectionTerminated: Session._announced,
    RemoteSettingsChanged: Session._settings_changed,
}
#: What the library tells about one stream, and about the connection; the rest needs no action.
_OF_STREAMS: dict[type[Event], Callable[[Session, Stream, Any], None]] = {
    DataReceived: Session._data_received,
    InformationalResponseReceived: lambda _, stream, event: stream.interim_head(event.headers),
    ResponseReceived: lambda _, stream, event: stream.head(event.headers),
    StreamEnded: lambda _, stream, event: stream.end(),
    StreamFailed: Session._stream_failed,
    StreamReset: Session._stream_reset,
    TrailersReceived: lambda _, stream, event: stream.trailers(event.headers),
}
_OF_CONNECTION: dict[type[Event], Callable[[Session, Any], None]] = {
    ConnectionFailed: Session._connection_failed,
    ConnectionTerminated: Session._terminated,
    PingAckReceived: Session._ping_answered,
    WindowUpdated: Session._window_updated,
}
