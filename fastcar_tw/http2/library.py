"""
The library h2 as a client of origins that may be hostile or broken needs it.

This is the one module that touches what h2 does not promise to keep.  h2 ends a connection for what
RFC 9113 calls an error of one stream, which would let one response break a hundred others, and it
guards servers rather than clients.  So frames are taken apart in L{fastcar_tw.http2.frames}, errors
are sorted here (L{ClientConnection}), and h2 keeps what it is good at: the states of streams,
windows, settings, and the frames that go out.

How it is used differs from C{H2Connection} in this only:

  - C{receive_data()} never raises.  The last event is L{ConnectionFailed} when the connection is
    broken: GOAWAY lies in C{data_to_send()} then, and whatever else arrives is ignored.  What came
    before it in the same bytes is delivered.
  - L{StreamFailed} is the end of one stream by an error in what the origin sent; RST_STREAM lies in
    C{data_to_send()}.  C{StreamReset} always comes from the origin.
  - C{ConnectionTerminated} (GOAWAY) ends nothing: open streams go on.
  - A stream that has ended is forgotten at once.  C{reset_stream()} and
    C{increment_flow_control_window()} do nothing then.
  - The connection's window is given back by C{give_back_window()}, to be called after each
    C{receive_data()}: it counts content that came for streams which have ended, too.  Those of
    streams are opened by C{increment_flow_control_window(bytes, stream_id)}.
  - C{open_outbound_streams} costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionState, H2Connection
from h2.errors import ErrorCodes, _error_code_from_int
from h2.events import ConnectionTerminated, Event, InformationalResponseReceived
from h2.exceptions import (
    DenialOfServiceError,
    FlowControlError,
    ProtocolError,
    StreamClosedError,
)
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamClosedBy, StreamInputs
from h2.utilities import HeaderValidationFlags
from hpack import Encoder
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from fastcar_tw.http2.budget import FrameBudget
from fastcar_tw.http2.compression import TABLE_SIZE, FieldEncoder, SectionDecoder
from fastcar_tw.http2.frames import MAX_FRAME, MAX_HEADER_LIST, Content, FrameReader

if TYPE_CHECKING:
    from hpack.struct import HeaderWeaklyTyped

#: Interim responses bring little; how much less than other frames a large one costs for its size.
_INTERIM_WORTH = 16
#: Changes of the table's size (RFC 7541 section 6.3): more than anybody has reason for.
_TABLE_SIZES = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\x00-\x7f]){9}")
_STREAM_ID = 2**31 - 1
_LARGEST_WINDOW = 2**31 - 1
_SETTINGS = frozenset(SettingCodes)
#: What h2 would validate by, if it did.
_NO_FLAGS = HeaderValidationFlags(True, False, False, False)


class StreamFailed(Event):
    """
    What the origin sent ended one stream; RST_STREAM is queued (RFC 9113 section 5.4.2).

    @ivar error_code: of the RST_STREAM.
    @ivar text: what was wrong, for people; nothing in it is quoted from the origin.
    """

    __slots__ = ("error_code", "stream_id", "text")

    def __init__(self, stream_id: int, error_code: ErrorCodes, text: str) -> None:
        self.stream_id = stream_id
        self.error_code = error_code
        self.text = text


class ConnectionFailed(Event):
    """
    What the origin sent ended the connection; GOAWAY is queued (RFC 9113 section 5.4.1).

    @ivar error_code: of the GOAWAY.
    @ivar text: what was wrong, for people; nothing in it is quoted from the origin.
    """

    __slots__ = ("error_code", "text")

    def __init__(self, error_code: ErrorCodes, text: str) -> None:
        self.error_code = error_code
        self.text = text


class CompressionError(ProtocolError):
    """A header section cannot be decompressed (RFC 9113 section 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class ClientStream(H2Stream):
    """
    A stream that leaves its fields alone: Content-Length is judged by who knows the request, and
    what h2 looks for in fields (authority, method, text to encode) costs time and serves nobody.
    """

    def send_headers(
        self, headers: Iterable[HeaderWeaklyTyped], encoder: Encoder, end_stream: bool = False
    ) -> list[HeadersFrame | ContinuationFrame | PushPromiseFrame]:
        self.state_machine.process_input(StreamInputs.SEND_HEADERS)
        head = HeadersFrame(self.stream_id)
        # What passes here are pairs of bytes, though h2 would take others.
        frames = self._build_headers_frames(headers, encoder, head, _NO_FLAGS)  # type: ignore[arg-type]
        if end_stream:
            self.state_machine.process_input(StreamInputs.SEND_END_STREAM)
            head.flags.add("END_STREAM")
        return frames

    def _initialize_content_length(self, headers: object) -> None:
        pass

    def _track_content_length(self, length: int, end_stream: bool) -> None:
        pass

    def _build_hdr_validation_flags(self, events: object) -> HeaderValidationFlags:
        return _NO_FLAGS


class ClientConnection(H2Connection):
    """
    The state of one connection, without I/O.

    @param clock: tells seconds that never go back.
    @param stream_window: bytes an origin may send on a stream before it is given more.
    """

    def __init__(self, clock: Callable[[], float], *, stream_window: int) -> None:
        super().__init__(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                # Whatever passes here is judged and made by http2.fields.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.HEADER_TABLE_SIZE: TABLE_SIZE,
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: stream_window,
                SettingCodes.MAX_FRAME_SIZE: MAX_FRAME,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
            },
        )
        self.decoder = SectionDecoder(MAX_HEADER_LIST)
        self.encoder = FieldEncoder()
        self._budget = FrameBudget(clock)
        self._reader = FrameReader(self._budget)
        self._greeted = False
        self._handlers: dict[type, Callable[[Any], tuple[list[Frame], list[Event]]]] = {
            **self._frame_dispatch_table,
            Content: self._take_content,
        }

    def receive_data(self, data: bytes) -> list[Event]:  # type: ignore[override]
        """
        Takes what the origin sent; see the module for what differs from h2.

        @return: what it means, in order.
        """
        events: list[Event] = []
        if self.state_machine.state is ConnectionState.CLOSED:
            return events
        try:
            for frame in self._reader.frames(data):
                events += self._receive_frame(frame)
        except ProtocolError as error:
            code = ErrorCodes(error.error_code)
            text = _text(error)
            if not self._greeted:
                # Its first bytes make no frame, as those of HTTP/1.1 do not (RFC 9113 section 3.4).
                code, text = ErrorCodes.PROTOCOL_ERROR, "the origin does not begin with SETTINGS"
            self._terminate_connection(code)
            events.append(ConnectionFailed(code, text))
        return events

    def _receive_frame(self, frame: Frame | Content) -> list[Event]:
        # h2's makes a string of each frame for a log nobody reads, and looks up how a stream has
        # ended, to answer late frames one by one.
        if not self._greeted:
            if not isinstance(frame, SettingsFrame) or "ACK" in frame.flags:
                raise ProtocolError
            self._greeted = True
        frames, events = self._handlers[frame.__class__](frame)
        if frames:
            self._prepare_for_sending(frames)
        return events

    def _opened(self, stream_id: int) -> H2Stream | None:
        """
        Finds a stream, or None if it has ended.

        @raise ProtocolError: we have not opened it yet, or it is one of the origin's.
        """
        stream = self.streams.get(stream_id)
        if stream is None and (stream_id % 2 == 0 or stream_id > self.highest_outbound_stream_id):
            raise ProtocolError("a frame on a stream that nobody has opened")
        return stream

    def _forget(self, stream: H2Stream) -> None:
        if not stream.closed or self.streams.pop(stream.stream_id, None) is None:
            return
        if stream.closed_by is StreamClosedBy.SEND_RST_STREAM:
            self._budget.given_up(stream.inbound_flow_control_window)

    def _fail(self, stream_id: int, error: ProtocolError) -> tuple[list[Frame], list[Event]]:
        """Ends a stream that h2 would end the connection for."""
        code = ErrorCodes(error.error_code)
        self._budget.given_up(self.streams.pop(stream_id).inbound_flow_control_window)
        return [RstStreamFrame(stream_id, code)], [StreamFailed(stream_id, code, _text(error))]

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        # Whatever becomes of the section, it has to be decoded: it changes the table.
        headers = self._decode(frame.data)
        stream = self._opened(frame.stream_id)
        if stream is None:
            self._budget.spend_late(len(frame.data))
            return [], []
        try:
            # h2 says TrailersReceived, ResponseReceived or InformationalResponseReceived.
            frames, events = stream.receive_headers(headers, "END_STREAM" in frame.flags, None)
        except ProtocolError as error:
            return self._fail(frame.stream_id, error)
        if isinstance(events[0], InformationalResponseReceived):
            self._budget.spend(len(frame.data) // _INTERIM_WORTH)
        else:
            self._budget.response()
        self._forget(stream)
        return frames, events

    def _decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        # hpack would take a second over a block of nothing but changes of the table's size.
        if _TABLE_SIZES.match(block):
            raise CompressionError("a header section that changes the table's size many times")
        # h2 tells the others as PROTOCOL_ERROR.
        try:
            return self.decoder.decode(block, raw=True)  # type: ignore[return-value]
        except OversizedHeaderListError as error:
            raise DenialOfServiceError(f"fields of more than {MAX_HEADER_LIST} bytes") from error
        except (HPACKError, IndexError, TypeError, ValueError) as error:
            raise CompressionError("a header section that cannot be decompressed") from error

    def _receive_data_frame(self, frame: DataFrame) -> tuple[list[Frame], list[Event]]:
        ended = "END_STREAM" in frame.flags
        return self._take(frame.stream_id, frame.data, [frame.flow_controlled_length], ended)

    def _take_content(self, run: Content) -> tuple[list[Frame], list[Event]]:
        content = b"".join(run.pieces)
        return self._take(run.stream_id, content, [len(piece) for piece in run.pieces], run.ended)

    def _take(
        self, stream_id: int, content: bytes, sizes: list[int], ended: bool
    ) -> tuple[list[Frame], list[Event]]:
        """
        @param sizes: bytes of each frame that count for the windows.
        """
        length = sum(sizes)
        self._inbound_flow_control_window_manager.window_consumed(length)
        stream = self._opened(stream_id)
        if stream is None:
            for size in sizes:
                self._budget.spend_late(size)
            return [], []
        if content or ended:
            self._budget.content(len(content))
        else:
            self._budget.spend(length)
        try:
            frames, events = stream.receive_data(content, ended, length)
        except ProtocolError as error:
            return self._fail(stream_id, error)
        self._forget(stream)
        return frames, events

    def _receive_rst_stream_frame(self, frame: RstStreamFrame) -> tuple[list[Frame], list[Event]]:
        stream = self._opened(frame.stream_id)
        if stream is None:
            self._budget.spend_late(0)
            return [], []
        result = stream.stream_reset(frame)
        self._forget(stream)
        return result

    def _receive_window_update_frame(
        self, frame: WindowUpdateFrame
    ) -> tuple[list[Frame], list[Event]]:
        self._budget.spend_sent(0)
        increment = frame.window_increment & _STREAM_ID
        if not frame.stream_id:
            if not increment:
                raise ProtocolError("WINDOW_UPDATE by nothing")
            frame.window_increment = increment
            return super()._receive_window_update_frame(frame)
        stream = self._opened(frame.stream_id)
        if stream is None:
            return [], []
        if not increment:
            return self._fail(frame.stream_id, ProtocolError("WINDOW_UPDATE by nothing"))
        if increment > _LARGEST_WINDOW - stream.outbound_flow_control_window:
            return self._fail(frame.stream_id, FlowControlError("a window of 2 GiB and more"))
        return stream.receive_window_update(increment)

    def _receive_settings_frame(self, frame: SettingsFrame) -> tuple[list[Frame], list[Event]]:
        self._budget.spend(frame.body_len)
        # h2 would keep any number of those it does not know.
        frame.settings = {
            code: value for code, value in frame.settings.items() if code in _SETTINGS
        }
        return super()._receive_settings_frame(frame)

    def _receive_ping_frame(self, frame: PingFrame) -> tuple[list[Frame], list[Event]]:
        self._budget.spend_sent(0)
        return super()._receive_ping_frame(frame)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        # h2's ends the connection and throws away what it has not sent.
        self._budget.spend(frame.body_len)
        event = ConnectionTerminated()
        event.error_code = _error_code_from_int(frame.error_code)
        event.last_stream_id = frame.last_stream_id & _STREAM_ID
        event.additional_data = frame.additional_data or None
        return [], [event]

    def _receive_push_promise_frame(
        self, frame: PushPromiseFrame
    ) -> tuple[list[Frame], list[Event]]:
        raise ProtocolError("PUSH_PROMISE, which we have forbidden")

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        if stream_id <= self.highest_outbound_stream_id or stream_id % 2 != allowed_ids:
            raise ProtocolError(f"the stream {stream_id} cannot be opened")
        stream = self.streams[stream_id] = ClientStream(
            stream_id,
            config=self.config,
            inbound_window_size=self.local_settings.initial_window_size,
            outbound_window_size=self.remote_settings.initial_window_size,
        )
        stream.max_outbound_frame_size = self.max_outbound_frame_size
        self.highest_outbound_stream_id = stream_id
        return stream

    def _open_streams(self, remainder: int) -> int:
        # h2 walks through all of them, at each request.  Those here are open, and ours.
        return len(self.streams) if remainder else 0

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        # All that goes out comes through here, after the stream's state has changed.
        if not frames:
            return
        frame = frames[0]
        self._data_to_send += b"".join([frame.serialize() for frame in frames])
        if isinstance(frame, DataFrame):
            self._budget.sent(len(frame.data))
        stream = self.streams.get(frame.stream_id)
        if stream is not None:
            self._forget(stream)

    def reset_stream(self, stream_id: int, error_code: ErrorCodes | int = 0) -> None:
        """
        Gives a stream up; nothing happens if it has ended.

        @param error_code: tells the origin why (RFC 9113 section 7).
        """
        if stream_id in self.streams:
            super().reset_stream(stream_id, error_code)

    def increment_flow_control_window(self, increment: int, stream_id: int | None = None) -> None:
        """
        Allows the origin to send more; nothing happens if the stream has ended.

        @param increment: bytes.
        @param stream_id: None for the connection's window.
        """
        if stream_id is None or stream_id in self.streams:
            super().increment_flow_control_window(increment, stream_id)

    def is_open(self, stream_id: int) -> bool:
        """
        Whether something can still be sent or received on a stream.
        """
        return stream_id in self.streams

    def forget(self, stream_id: int) -> None:
        """
        Forget a stream that the origin has not taken (RFC 9113 section 6.8).
        """
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._budget.given_up(stream.inbound_flow_control_window)

    def give_back_window(self) -> None:
        """
        Opens the connection's window again, wholly, when a quarter of it has been used: whatever
        has come on it has been taken in, also what came for streams which have ended.
        """
        window = self._inbound_flow_control_window_manager
        used = window.max_window_size - window.current_window_size
        if 4 * used >= window.max_window_size:
            self.increment_flow_control_window(used)


def _text(error: ProtocolError) -> str:
    if isinstance(error, StreamClosedError):
        return "a frame on a stream that has ended"
    return str(error)
