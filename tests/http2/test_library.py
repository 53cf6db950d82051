"""h2 as a client of hostile origins: which errors end what, and what a new h2 must not change."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
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
from h2.stream import H2Stream
from hpack import Encoder
from hyperframe.frame import (
    FRAMES,
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http2.compression import TABLE_SIZE
from fastcar_tw.http2.frames import MAX_FRAME, MAX_HEADER_LIST
from fastcar_tw.http2.library import (
    ClientConnection,
    ClientStream,
    ConnectionFailed,
    StreamFailed,
)

WINDOW = 256 * 1024
REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"a.test"),
    (b":path", b"/x"),
]
OK = [(b":status", b"200"), (b"x-a", b"b")]


def parse(data: bytes) -> list[Frame]:
    """Takes what the client sent apart."""
    frames = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        frames.append(frame)
        data = data[9 + length :]
    return frames


def raw(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Makes a frame that hyperframe would refuse to make."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream_id.to_bytes(4, "big") + payload


class LibraryCase(SynchronousTestCase):
    """A client, greeted by an origin that is written down frame by frame."""

    def setUp(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.clock = Clock()
        self.client = ClientConnection(self.clock.seconds, stream_window=WINDOW)
        self.client.initiate_connection()
        self.greeting = self.client.data_to_send()
        self.encoder = Encoder()
        self.client.receive_data(SettingsFrame(0).serialize())
        self.client.data_to_send()

    def open(self, ended: bool = True) -> int:
        """Sends a request, and returns the number of its stream."""
        stream_id = self.client.get_next_available_stream_id()
        self.client.send_headers(stream_id, REQUEST, ended)
        self.client.data_to_send()
        return stream_id

    def headers(
        self, stream_id: int, fields: Sequence[tuple[bytes, bytes]] = OK, *flags: str
    ) -> Frame:
        block = self.encoder.encode(fields)
        return HeadersFrame(stream_id, block, flags=["END_HEADERS", *flags])

    def receive(self, *frames: Frame | bytes) -> list[Event]:
        return self.client.receive_data(
            b"".join(each if isinstance(each, bytes) else each.serialize() for each in frames)
        )

    def sent(self) -> list[Frame]:
        return parse(self.client.data_to_send())

    def assert_types(self, events: Iterable[Event], *types: type[Event]) -> None:
        self.assertEqual([type(event) for event in events], list(types))

    def assert_stream_failed(
        self, events: Sequence[Event], stream_id: int, code: ErrorCodes = ErrorCodes.PROTOCOL_ERROR
    ) -> None:
        """One stream has failed, the origin is told, and the connection serves the next request."""
        failed = events[-1]
        assert isinstance(failed, StreamFailed), events
        self.assertEqual((failed.stream_id, failed.error_code), (stream_id, code))
        self.assertTrue(failed.text)
        (frame,) = self.sent()
        assert isinstance(frame, RstStreamFrame), frame
        self.assertEqual((frame.stream_id, frame.error_code), (stream_id, code))
        self.assertNotIn(stream_id, self.client.streams)
        other = self.open()
        self.assert_types(
            self.receive(self.headers(other, OK, "END_STREAM")), ResponseReceived, StreamEnded
        )

    def assert_connection_failed(
        self, events: Sequence[Event], code: ErrorCodes = ErrorCodes.PROTOCOL_ERROR
    ) -> None:
        """The connection has ended, the origin is told why, and is listened to no more."""
        failed = events[-1]
        assert isinstance(failed, ConnectionFailed), events
        self.assertEqual(failed.error_code, code)
        self.assertTrue(failed.text)
        frame = self.sent()[-1]
        assert isinstance(frame, GoAwayFrame), frame
        self.assertEqual((frame.error_code, frame.last_stream_id), (code, 0))
        self.assertEqual(self.receive(PingFrame(0, b"12345678")), [])
        self.assertEqual(self.sent(), [])


#: Methods of our own.
NEW = (
    "_decode",
    "_fail",
    "_forget",
    "_opened",
    "_take",
    "_take_content",
    "forget",
    "give_back_window",
    "is_open",
)


class OverrideTests(SynchronousTestCase):
    """What this package takes from the inside of h2 must be there in a new release."""

    def test_methods(self) -> None:
        """Whatever is overridden exists in h2, with the same parameters."""
        for ours, theirs in ((ClientConnection, H2Connection), (ClientStream, H2Stream)):
            for name, method in vars(ours).items():
                if inspect.isfunction(method) and name not in {*NEW, "__init__"}:
                    expected = inspect.signature(getattr(theirs, name))
                    parameters = inspect.signature(method).parameters
                    self.assertEqual(list(parameters), list(expected.parameters), name)

    def test_new_names_are_free(self) -> None:
        """Names of our own do not hide any of h2's."""
        for name in NEW:
            self.assertFalse(hasattr(H2Connection, name), name)
        theirs = vars(H2Connection())
        for name in ("_budget", "_greeted", "_handlers", "_reader"):
            self.assertNotIn(name, theirs)

    def test_attributes(self) -> None:
        """What is read and written exists in h2."""
        connection = H2Connection()
        for name in (
            "_data_to_send",
            "_frame_dispatch_table",
            "_inbound_flow_control_window_manager",
            "_terminate_connection",
            "decoder",
            "encoder",
            "highest_outbound_stream_id",
            "local_settings",
            "max_outbound_frame_size",
            "outbound_flow_control_window",
            "remote_settings",
            "state_machine",
            "streams",
        ):
            self.assertTrue(hasattr(connection, name), name)
        for name in ("max_window_size", "current_window_size", "window_consumed"):
            self.assertTrue(hasattr(connection._inbound_flow_control_window_manager, name), name)

    def test_every_frame_is_dispatched_to_us(self) -> None:
        """The table h2 makes of its methods holds ours."""
        table = ClientConnection(Clock().seconds, stream_window=WINDOW)._frame_dispatch_table
        for kind in (0, 1, 3, 4, 5, 6, 7, 8):
            self.assertEqual(table[FRAMES[kind]].__module__, ClientConnection.__module__)


class OrdinaryTests(LibraryCase):
    """What honest origins send."""

    def test_greeting(self) -> None:
        """The preface announces what we keep to: no push, our window, table, and limits."""
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        self.assertEqual(self.greeting[: len(preface)], preface)
        (frame,) = parse(self.greeting[len(preface) :])
        assert isinstance(frame, SettingsFrame)
        expected = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
            SettingCodes.HEADER_TABLE_SIZE: TABLE_SIZE,
        }
        self.assertEqual({code: frame.settings[code] for code in expected}, expected)
        self.assertNotIn(SettingCodes.MAX_CONCURRENT_STREAMS, frame.settings)

    def test_with_h2(self) -> None:
        """A request, its content, response and trailers go both ways with h2 as the origin."""
        origin = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        client = ClientConnection(self.clock.seconds, stream_window=WINDOW)
        client.initiate_connection()
        origin.initiate_connection()
        client.send_headers(1, REQUEST)
        client.send_data(1, b"content")
        client.send_headers(1, [(b"x-t", b"1")], end_stream=True)
        events = origin.receive_data(client.data_to_send())
        names = [type(event).__name__ for event in events]
        self.assertEqual(
            [name for name in names if "Settings" not in name],
            ["RequestReceived", "DataReceived", "TrailersReceived", "StreamEnded"],
        )
        origin.send_headers(1, [(b":status", b"100")])
        origin.send_headers(1, OK)
        origin.send_data(1, b"answer")
        origin.send_headers(1, [(b"x-u", b"2")], end_stream=True)
        events = client.receive_data(origin.data_to_send())
        wanted = [each for each in events if "Settings" not in type(each).__name__]
        self.assert_types(
            wanted,
            InformationalResponseReceived,
            ResponseReceived,
            DataReceived,
            TrailersReceived,
            StreamEnded,
        )
        trailers = wanted[-2]
        assert isinstance(trailers, TrailersReceived)
        self.assertEqual([tuple(field) for field in trailers.headers], [(b"x-u", b"2")])
        self.assertEqual(client.streams, {})

    def test_fields_are_left_alone(self) -> None:
        """Fields h2 would refuse, join or lower pass: judging them is not its business."""
        stream_id = self.open()
        fields = [(b":status", b"200"), (b"Bad Name", b" v\r\n"), (b"cookie", b"a"), (b"te", b"x")]
        fields += [(b"cookie", b"b"), (b"connection", b"close"), (b":late", b"")]
        (event,) = self.receive(self.headers(stream_id, fields))
        assert isinstance(event, ResponseReceived)
        self.assertEqual([tuple(field) for field in event.headers], fields)

    def test_content_length_is_left_alone(self) -> None:
        """Neither a wrong nor an invalid Content-Length ends anything here."""
        for value in (b"1", b"99", b"x", b"-1"):
            stream_id = self.open()
            events = self.receive(
                self.headers(stream_id, [*OK, (b"content-length", value)]),
                DataFrame(stream_id, b"four", flags=["END_STREAM"]),
            )
            self.assert_types(events, ResponseReceived, DataReceived, StreamEnded)

    def test_padding(self) -> None:
        """Padding counts against windows and is not content."""
        stream_id = self.open()
        frame = DataFrame(stream_id, b"four", pad_length=10, flags=["PADDED"])
        *_, event = self.receive(self.headers(stream_id), frame)
        assert isinstance(event, DataReceived)
        self.assertEqual((event.data, event.flow_controlled_length), (b"four", 15))

    def test_continuation(self) -> None:
        """A header section may come in several frames."""
        stream_id = self.open()
        block = self.encoder.encode(OK)
        events = self.receive(
            HeadersFrame(stream_id, block[:1], flags=["END_STREAM"]),
            ContinuationFrame(stream_id, block[1:2]),
            ContinuationFrame(stream_id, block[2:], flags=["END_HEADERS"]),
        )
        self.assert_types(events, ResponseReceived, StreamEnded)

    def test_priority_is_ignored(self) -> None:
        """Priorities say nothing to a client, not even those that depend on themselves."""
        stream_id = self.open()
        head = HeadersFrame(
            stream_id,
            self.encoder.encode(OK),
            depends_on=stream_id,
            flags=["END_HEADERS", "PRIORITY"],
        )
        events = self.receive(PriorityFrame(stream_id, depends_on=stream_id), head)
        self.assert_types(events, ResponseReceived)

    def test_unknown_frames_are_ignored(self) -> None:
        """Frames of unknown types, ALTSVC and ORIGIN mean nothing, on whatever stream."""
        for kind in (0x0A, 0x0C, 0x10, 0xFA):
            self.assertEqual(self.receive(raw(kind, 0xFF, 77, b"\0\xff" * 20)), [])
        self.assertEqual(self.sent(), [])

    def test_ping(self) -> None:
        """A PING is answered, and the answer to ours is told."""
        self.receive(PingFrame(0, b"12345678"))
        (answer,) = self.sent()
        assert isinstance(answer, PingFrame)
        self.assertEqual((answer.opaque_data, set(answer.flags)), (b"12345678", {"ACK"}))
        self.client.ping(b"abcdefgh")
        events = self.receive(PingFrame(0, b"abcdefgh", flags=["ACK"]))
        self.assert_types(events, PingAckReceived)

    def test_reset(self) -> None:
        """An origin's RST_STREAM is told with its code, and the stream is forgotten."""
        stream_id = self.open()
        (event,) = self.receive(RstStreamFrame(stream_id, ErrorCodes.REFUSED_STREAM))
        assert isinstance(event, StreamReset)
        self.assertEqual(event.error_code, ErrorCodes.REFUSED_STREAM)
        self.assertTrue(event.remote_reset)
        self.assertEqual(self.client.streams, {})
        self.assertEqual(self.sent(), [])

    def test_windows_open(self) -> None:
        """WINDOW_UPDATE opens a window, whatever its reserved bit says."""
        stream_id = self.open(ended=False)
        events = self.receive(
            WindowUpdateFrame(0, 10),
            raw(8, 0, stream_id, (0x8000000A).to_bytes(4, "big")),
        )
        self.assert_types(events, WindowUpdated, WindowUpdated)
        self.assertEqual([event.delta for event in events], [10, 10])  # type: ignore[attr-defined]
        self.assertEqual(self.client.local_flow_control_window(stream_id), 65545)

    def test_settings(self) -> None:
        """SETTINGS are told and acknowledged."""
        events = self.receive(SettingsFrame(0, {SettingCodes.MAX_CONCURRENT_STREAMS: 7}))
        self.assert_types(events, RemoteSettingsChanged)
        self.assertEqual(self.client.remote_settings.max_concurrent_streams, 7)
        (answer,) = self.sent()
        assert isinstance(answer, SettingsFrame)
        self.assertEqual(set(answer.flags), {"ACK"})

    def test_half_closed(self) -> None:
        """A response may end before its request, which can then be given up."""
        stream_id = self.open(ended=False)
        self.receive(self.headers(stream_id, OK, "END_STREAM"))
        self.assertIn(stream_id, self.client.streams)
        self.client.reset_stream(stream_id, ErrorCodes.NO_ERROR)
        self.assertEqual(self.client.streams, {})


class StreamTests(LibraryCase):
    """How many streams there are, and what is left of them."""

    def test_count(self) -> None:
        """Streams are counted while they are open, whatever ends them."""
        ids = [self.open(ended=False) for _ in range(6)]
        self.assertEqual(self.client.open_outbound_streams, 6)
        for stream_id in ids:
            self.receive(self.headers(stream_id))
        self.client.reset_stream(ids[0])
        self.client.end_stream(ids[1])
        self.client.send_data(ids[2], b"", end_stream=True)
        self.assertEqual(self.client.open_outbound_streams, 5)
        self.receive(*(DataFrame(each, flags=["END_STREAM"]) for each in ids[1:5]))
        self.assertEqual(list(self.client.streams), ids[3:])
        self.client.end_stream(ids[3])
        self.client.send_headers(ids[4], [(b"x-t", b"1")], end_stream=True)
        self.assertEqual(list(self.client.streams), ids[5:])
        self.receive(RstStreamFrame(ids[5], 0))
        self.assertEqual(self.client.open_outbound_streams, 0)

    def test_nothing_is_kept(self) -> None:
        """A thousand requests leave nothing behind."""
        for _ in range(1000):
            stream_id = self.open()
            self.receive(self.headers(stream_id, OK, "END_STREAM"))
        self.assertEqual((self.client.streams, self.client._closed_streams), ({}, {}))

    def test_ended_streams_are_left_alone(self) -> None:
        """Opening the window of an ended stream, or resetting it, sends nothing."""
        stream_id = self.open()
        self.receive(self.headers(stream_id, OK, "END_STREAM"))
        self.client.increment_flow_control_window(1, stream_id)
        self.client.reset_stream(stream_id, ErrorCodes.CANCEL)
        self.assertEqual(self.sent(), [])

    def test_late_frames_are_ignored(self) -> None:
        """What comes after we have reset a stream is dropped; its fields count for the table."""
        stream_id = self.open()
        self.client.reset_stream(stream_id, ErrorCodes.CANCEL)
        self.client.data_to_send()
        events = self.receive(
            self.headers(stream_id, [(b":status", b"200"), (b"x-late", b"kept in the table")]),
            DataFrame(stream_id, b"late"),
            WindowUpdateFrame(stream_id, 1),
            RstStreamFrame(stream_id, 0),
        )
        self.assertEqual(events, [])
        self.assertEqual(self.sent(), [])
        other = self.open()
        (event,) = self.receive(
            self.headers(other, [(b":status", b"200"), (b"x-late", b"kept in the table")])
        )
        assert isinstance(event, ResponseReceived)
        self.assertEqual(event.headers[1][1], b"kept in the table")

    def test_window_is_given_back(self) -> None:
        """The connection's window opens again once a quarter is used, by late content too."""
        self.client.increment_flow_control_window(WINDOW - 65535)
        self.client.data_to_send()
        stream_id = self.open()
        self.receive(self.headers(stream_id), DataFrame(stream_id, bytes(WINDOW // 8)))
        self.client.give_back_window()
        self.assertEqual(self.sent(), [])
        self.client.reset_stream(stream_id)
        self.client.data_to_send()
        self.receive(DataFrame(stream_id, bytes(WINDOW // 8)))
        self.client.give_back_window()
        (frame,) = self.sent()
        assert isinstance(frame, WindowUpdateFrame)
        self.assertEqual((frame.stream_id, frame.window_increment), (0, WINDOW // 4))
        self.assertEqual(self.client.inbound_flow_control_window, WINDOW)


class StreamFailureTests(LibraryCase):
    """What h2 ends a connection for and RFC 9113 calls an error of a stream."""

    def test_interim_response_that_ends(self) -> None:
        """An interim response with END_STREAM is malformed."""
        stream_id = self.open()
        events = self.receive(self.headers(stream_id, [(b":status", b"103")], "END_STREAM"))
        self.assert_stream_failed(events, stream_id)

    def test_interim_response_behind_the_final_one(self) -> None:
        """An interim response after the final one is malformed."""
        stream_id = self.open()
        events = self.receive(
            self.headers(stream_id), self.headers(stream_id, [(b":status", b"103")])
        )
        self.assert_stream_failed(events, stream_id)

    def test_trailers_that_do_not_end(self) -> None:
        """A second header section without END_STREAM is malformed; the first is delivered."""
        stream_id = self.open()
        events = self.receive(self.headers(stream_id), self.headers(stream_id, [(b"x-t", b"1")]))
        self.assert_types(events, ResponseReceived, StreamFailed)
        self.assert_stream_failed(events, stream_id)

    def test_content_before_the_head(self) -> None:
        """DATA before a response head is malformed."""
        stream_id = self.open()
        self.assert_stream_failed(self.receive(DataFrame(stream_id, b"x")), stream_id)

    def test_frames_behind_the_end(self) -> None:
        """DATA or HEADERS after END_STREAM, while the request goes on, are for a closed stream."""
        for late in (lambda id: DataFrame(id, b"x"), self.headers):
            stream_id = self.open(ended=False)
            events = self.receive(self.headers(stream_id, OK, "END_STREAM"), late(stream_id))
            self.assert_stream_failed(events, stream_id, ErrorCodes.STREAM_CLOSED)

    def test_content_behind_the_end(self) -> None:
        """So is content that comes together with the end; what came before it counts."""
        stream_id = self.open(ended=False)
        events = self.receive(
            self.headers(stream_id),
            DataFrame(stream_id, b"all", flags=["END_STREAM"]),
            DataFrame(stream_id, b"more"),
        )
        self.assert_types(events, ResponseReceived, DataReceived, StreamEnded, StreamFailed)
        assert isinstance(events[1], DataReceived)
        self.assertEqual(events[1].data, b"all")

    def test_stream_window(self) -> None:
        """More content than a stream's window allows ends the stream."""
        self.client.increment_flow_control_window(10 * WINDOW)
        self.client.data_to_send()
        stream_id = self.open()
        self.receive(self.headers(stream_id))
        pieces = [DataFrame(stream_id, bytes(MAX_FRAME))] * (WINDOW // MAX_FRAME)
        [received] = self.receive(*pieces)
        assert isinstance(received, DataReceived)
        self.assertEqual(len(received.data), WINDOW)
        events = self.receive(DataFrame(stream_id, b"x"))
        self.assert_stream_failed(events, stream_id, ErrorCodes.FLOW_CONTROL_ERROR)

    def test_window_update_by_nothing(self) -> None:
        """A stream's window cannot be opened by nothing (RFC 9113 section 6.9)."""
        stream_id = self.open(ended=False)
        self.assert_stream_failed(self.receive(raw(8, 0, stream_id, bytes(4))), stream_id)

    def test_window_too_large(self) -> None:
        """A stream's window of 2 GiB ends the stream (RFC 9113 section 6.9.1)."""
        stream_id = self.open(ended=False)
        events = self.receive(WindowUpdateFrame(stream_id, 2**31 - 1))
        self.assert_stream_failed(events, stream_id, ErrorCodes.FLOW_CONTROL_ERROR)

    def test_others_go_on(self) -> None:
        """Streams in front of and behind one that fails, in the same bytes, are delivered."""
        first, second, third = self.open(), self.open(), self.open()
        events = self.receive(
            self.headers(first, OK, "END_STREAM"),
            DataFrame(second, b"x"),
            self.headers(third, OK, "END_STREAM"),
        )
        self.assert_types(
            events, ResponseReceived, StreamEnded, StreamFailed, ResponseReceived, StreamEnded
        )


class GoAwayTests(LibraryCase):
    """GOAWAY: an announcement, not the end."""

    def test_streams_go_on(self) -> None:
        """After GOAWAY requests are sent to their end and responses come."""
        stream_id = self.open(ended=False)
        self.client.send_data(stream_id, b"one")
        (event,) = self.receive(GoAwayFrame(0, last_stream_id=1, additional_data=b"bye"))
        assert isinstance(event, ConnectionTerminated)
        self.assertEqual(
            (event.last_stream_id, event.error_code, event.additional_data),
            (1, ErrorCodes.NO_ERROR, b"bye"),
        )
        self.client.send_data(stream_id, b"two", end_stream=True)
        sent = [frame for frame in self.sent() if isinstance(frame, DataFrame)]
        self.assertEqual([frame.data for frame in sent], [b"one", b"two"])
        events = self.receive(self.headers(stream_id, OK, "END_STREAM"))
        self.assert_types(events, ResponseReceived, StreamEnded)

    def test_unknown_code_and_reserved_bit(self) -> None:
        """A code nobody knows stays a number; the reserved bit is no part of the last stream."""
        payload = (0x80000005).to_bytes(4, "big") + (0xFFFF).to_bytes(4, "big")
        (event,) = self.receive(raw(7, 0, 0, payload))
        assert isinstance(event, ConnectionTerminated)
        self.assertEqual((event.last_stream_id, event.error_code), (5, 0xFFFF))


class ConnectionFailureTests(LibraryCase):
    """What ends a connection, with the code that RFC 9113 asks for."""

    def test_acknowledgement_with_content(self) -> None:
        """An acknowledgement of SETTINGS has no content (RFC 9113 section 6.5)."""
        events = self.receive(raw(4, 0x01, 0, bytes(6)))
        self.assert_connection_failed(events, ErrorCodes.FRAME_SIZE_ERROR)

    def test_not_http2(self) -> None:
        """An origin that speaks HTTP/1.1 is told from its first bytes."""
        self.client = ClientConnection(self.clock.seconds, stream_window=WINDOW)
        self.client.initiate_connection()
        self.client.data_to_send()
        events = self.client.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assert_connection_failed(events)

    def test_no_settings(self) -> None:
        """An origin begins with SETTINGS that are no acknowledgement."""
        for frame in (PingFrame(0, b"12345678"), SettingsFrame(0, flags=["ACK"])):
            self.client = ClientConnection(self.clock.seconds, stream_window=WINDOW)
            self.client.initiate_connection()
            self.client.data_to_send()
            self.assert_connection_failed(self.receive(frame))

    def test_frame_too_long(self) -> None:
        """A frame that is too long is refused when its header has come."""
        self.assertEqual(self.receive(raw(0, 0, 1, bytes(MAX_FRAME))[:-1]), [])
        self.begin()
        events = self.receive(raw(0, 0, 1, bytes(MAX_FRAME + 1))[:9])
        self.assert_connection_failed(events, ErrorCodes.FRAME_SIZE_ERROR)

    def test_wrong_sizes(self) -> None:
        """Frames of a fixed size have it."""
        for kind in (3, 4, 6, 7, 8):
            self.begin()
            stream_id = self.open() if kind == 3 else 0
            events = self.receive(raw(kind, 0, stream_id, b"\0\0\0\1\0\0\0"[: 3 + 4 * (kind == 6)]))
            self.assert_connection_failed(events, ErrorCodes.FRAME_SIZE_ERROR)

    def test_wrong_streams(self) -> None:
        """What is about a stream is not about the connection, and the other way round."""
        for kind, stream_id in ((0, 0), (1, 0), (3, 0), (9, 0), (4, 1), (6, 1), (7, 1)):
            self.begin()
            self.open()
            payload = bytes({3: 4, 6: 8, 7: 8}.get(kind, 0))
            self.assert_connection_failed(
                self.receive(raw(kind, 4 * (kind == 9), stream_id, payload))
            )

    def test_streams_nobody_opened(self) -> None:
        """Frames on streams that we have not opened yet, or never will, break the connection."""
        for stream_id in (3, 2, 4):
            for make in (
                self.headers,
                lambda id: DataFrame(id, b"x"),
                lambda id: RstStreamFrame(id, 0),
                lambda id: WindowUpdateFrame(id, 1),
            ):
                self.begin()
                self.open()
                self.assert_connection_failed(self.receive(make(stream_id)))

    def test_push(self) -> None:
        """PUSH_PROMISE is refused: push is disabled."""
        stream_id = self.open()
        block = self.encoder.encode(REQUEST)
        frame = PushPromiseFrame(stream_id, 2, block, flags=["END_HEADERS"])
        self.assert_connection_failed(self.receive(frame))

    def test_padding_too_long(self) -> None:
        """Padding that is longer than its frame breaks the connection."""
        stream_id = self.open()
        events = self.receive(self.headers(stream_id), raw(0, 8, stream_id, b"\x05abc"))
        self.assert_connection_failed(events)

    def test_connection_window(self) -> None:
        """More content than the connection's window allows breaks the connection."""
        stream_id = self.open()
        events = self.receive(
            self.headers(stream_id), DataFrame(stream_id, bytes(65535)), DataFrame(stream_id, b"x")
        )
        self.assert_connection_failed(events, ErrorCodes.FLOW_CONTROL_ERROR)

    def test_connection_window_update(self) -> None:
        """The connection's window is opened neither by nothing nor to 2 GiB."""
        self.assert_connection_failed(self.receive(raw(8, 0, 0, bytes(4))))
        self.begin()
        events = self.receive(WindowUpdateFrame(0, 2**31 - 1))
        self.assert_connection_failed(events, ErrorCodes.FLOW_CONTROL_ERROR)

    def test_invalid_settings(self) -> None:
        """Settings out of their range break the connection, each with its code."""
        for setting, value, code in (
            (SettingCodes.ENABLE_PUSH, 2, ErrorCodes.PROTOCOL_ERROR),
            (SettingCodes.INITIAL_WINDOW_SIZE, 2**31, ErrorCodes.FLOW_CONTROL_ERROR),
            (SettingCodes.MAX_FRAME_SIZE, 16383, ErrorCodes.PROTOCOL_ERROR),
            (SettingCodes.MAX_FRAME_SIZE, 2**24, ErrorCodes.PROTOCOL_ERROR),
        ):
            self.begin()
            self.assert_connection_failed(self.receive(SettingsFrame(0, {setting: value})), code)

    def test_settings_that_open_a_window_too_far(self) -> None:
        """INITIAL_WINDOW_SIZE moves open streams' windows, not beyond what a window can be."""
        stream_id = self.open(ended=False)
        self.receive(WindowUpdateFrame(stream_id, 2**30))
        frame = SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        self.assert_connection_failed(self.receive(frame), ErrorCodes.FLOW_CONTROL_ERROR)

    def test_what_came_before_is_delivered(self) -> None:
        """Responses in front of what breaks the connection are not lost, nor is output."""
        stream_id = self.open()
        other = self.open(ended=False)
        self.client.send_data(other, b"x")
        events = self.receive(self.headers(stream_id, OK, "END_STREAM"), raw(9, 4, 1, b""))
        self.assert_types(events, ResponseReceived, StreamEnded, ConnectionFailed)
        sent = self.sent()
        self.assertEqual([type(frame) for frame in sent], [DataFrame, GoAwayFrame])


class HeaderSectionTests(LibraryCase):
    """Header sections that are meant to cost us much."""

    def test_something_else_inside(self) -> None:
        """No other frame may come within a header section, known or not."""
        for frame in (
            PingFrame(0, b"12345678"),
            ExtensionFrame(0xFA, 0),
            PriorityFrame(1),
            ContinuationFrame(3, b"", flags=["END_HEADERS"]),
            HeadersFrame(1, b""),
            DataFrame(1, b"content"),
        ):
            self.begin()
            self.open()
            self.open()
            self.assert_connection_failed(self.receive(HeadersFrame(1, b"\x88"), frame))

    def test_continuation_of_nothing(self) -> None:
        """CONTINUATION without HEADERS breaks the connection."""
        self.open()
        self.assert_connection_failed(self.receive(ContinuationFrame(1, b"\x88")))

    def test_too_long(self) -> None:
        """Header sections are gathered up to a limit, although they never end."""
        self.open()
        pieces = [ContinuationFrame(1, bytes(16384))] * 4
        events = self.receive(HeadersFrame(1, b"\x88"), *pieces)
        self.assert_connection_failed(events, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_continuation_flood(self) -> None:
        """Empty CONTINUATION frames without end are a flood."""
        self.open()
        events = self.receive(HeadersFrame(1, b"\x88"), *[ContinuationFrame(1)] * 1001)
        self.assert_connection_failed(events, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_bomb(self) -> None:
        """A few bytes that mean a megabyte of fields are not unpacked to the end."""
        self.open()
        block = self.encoder.encode([(b":status", b"200"), (b"x", b"y" * 4000)]) + b"\xbe" * 300
        events = self.receive(HeadersFrame(1, block, flags=["END_HEADERS"]))
        self.assert_connection_failed(events, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_bomb_for_an_ended_stream(self) -> None:
        """It makes no difference that nobody waits for the fields."""
        stream_id = self.open()
        self.client.reset_stream(stream_id)
        self.client.data_to_send()
        self.test_bomb()

    def test_broken_compression(self) -> None:
        """What cannot be decompressed breaks the connection, for the table is lost."""
        for block in (
            b"\xff\xff\xff\xff\xff\xff",
            b"\x7f",
            b"\xc0",
            b"\x3f\xff\xff\x7f",
            b"\x00\x05a",
        ):
            self.begin()
            self.open()
            events = self.receive(HeadersFrame(1, block, flags=["END_HEADERS"]))
            self.assert_connection_failed(events, ErrorCodes.COMPRESSION_ERROR)

    def test_many_table_sizes(self) -> None:
        """Two changes of the table's size may begin a section, not thousands."""
        stream_id = self.open()
        block = b"\x20\x3f\xe1\x1f\x88"
        events = self.receive(HeadersFrame(stream_id, block, flags=["END_HEADERS"]))
        self.assert_types(events, ResponseReceived)
        for block in (b"\x20" * 60000, b"\x3f\xe1\x1f" * 20000):
            self.begin()
            events = self.receive(HeadersFrame(self.open(), block, flags=["END_HEADERS"]))
            self.assert_connection_failed(events, ErrorCodes.COMPRESSION_ERROR)

    def test_our_table(self) -> None:
        """However large a table the origin offers, ours stays small; smaller ones are kept to."""
        huge = SettingsFrame(0, {SettingCodes.HEADER_TABLE_SIZE: 2**32 - 1})
        self.receive(huge)
        self.assertEqual(self.client.encoder.header_table_size, TABLE_SIZE)
        for size in (200, 0, 0, 100):
            self.receive(SettingsFrame(0, {SettingCodes.HEADER_TABLE_SIZE: size}))
        self.client.data_to_send()
        self.client.send_headers(1, REQUEST, end_stream=True)
        (frame,) = self.sent()
        assert isinstance(frame, HeadersFrame)
        # RFC 7541 section 6.3: the smallest size since the last section, then the one that holds.
        self.assertEqual(frame.data[:3], b"\x20\x3f\x45")


class FloodTests(LibraryCase):
    """Frames that bring nothing, beyond what an honest origin sends."""

    def test_floods(self) -> None:
        """Each kind of frame that brings nothing is a flood, alone and without end."""
        for make in (
            lambda id, ended: PingFrame(0, b"12345678"),
            lambda id, ended: PingFrame(0, b"12345678", flags=["ACK"]),
            lambda id, ended: SettingsFrame(0),
            lambda id, ended: PriorityFrame(id),
            lambda id, ended: DataFrame(id),
            lambda id, ended: ExtensionFrame(0xFA, 0),
            lambda id, ended: GoAwayFrame(0),
            lambda id, ended: WindowUpdateFrame(id, 1),
            lambda id, ended: WindowUpdateFrame(0, 1),
            lambda id, ended: RstStreamFrame(ended, 0),
            lambda id, ended: DataFrame(ended, b"x"),
            lambda id, ended: HeadersFrame(ended, b"\x88", flags=["END_HEADERS"]),
        ):
            self.begin()
            ended, stream_id = self.open(), self.open()
            self.receive(self.headers(ended, OK, "END_STREAM"))
            self.receive(self.headers(stream_id))
            frame = make(stream_id, ended).serialize()
            events = self.receive(*[frame] * 900)
            self.assertFalse([each for each in events if isinstance(each, ConnectionFailed)], frame)
            events = self.receive(*[frame] * 110)
            self.assert_connection_failed(events, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_interim_responses(self) -> None:
        """Interim responses without end are a flood, large ones sooner."""
        for size, count in ((10, 1001), (30000, 200)):
            self.begin()
            stream_id = self.open()
            block = b"\x48\x03103" + Encoder().encode([(b"link", b"x" * size)], huffman=False)
            frame = HeadersFrame(stream_id, block, flags=["END_HEADERS"])
            events = self.receive(*[frame] * count)
            self.assert_connection_failed(events, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_padding_flood(self) -> None:
        """Frames of padding alone bring nothing either."""
        stream_id = self.open()
        frame = DataFrame(stream_id, b"", pad_length=20, flags=["PADDED"])
        events = self.receive(self.headers(stream_id), *[frame] * 1001)
        self.assert_connection_failed(events, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_large_settings(self) -> None:
        """Settings that nobody knows are not kept, and large frames of them cost more."""
        codes = range(100, 10000)
        many = raw(4, 0, 0, b"".join(code.to_bytes(2, "big") + bytes(4) for code in codes))
        self.receive(many)
        self.assertLess(len(self.client.remote_settings), 20)
        events = self.receive(*[many] * 5)
        self.assert_connection_failed(events, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_upload(self) -> None:
        """Two WINDOW_UPDATEs for each 4 KiB and a PING for each frame sent are honest."""
        stream_id = self.open(ended=False)
        self.receive(WindowUpdateFrame(0, 2**30), WindowUpdateFrame(stream_id, 2**30))
        for _ in range(2000):
            self.client.send_data(stream_id, bytes(16384))
        pair = (
            WindowUpdateFrame(0, 4096).serialize() + WindowUpdateFrame(stream_id, 4096).serialize()
        )
        ping = PingFrame(0, b"12345678").serialize()
        events = self.receive(*[pair * 4 + ping] * 2000)
        self.assertFalse([event for event in events if isinstance(event, ConnectionFailed)])

    def test_given_up(self) -> None:
        """What was under way when we gave streams up is no flood, not even in small pieces."""
        self.client.increment_flow_control_window(100 * WINDOW)
        ids = [self.open() for _ in range(80)]
        for stream_id in ids:
            self.client.reset_stream(stream_id, ErrorCodes.CANCEL)
        pieces = [each for id in ids for each in [DataFrame(id, bytes(1024))] * (WINDOW // 1024)]
        heads = [self.headers(id, [(b":status", b"200"), (b"x-a", b"%d" % id)]) for id in ids]
        self.assertEqual(self.receive(*heads, *pieces, *[RstStreamFrame(id, 0) for id in ids]), [])

    def test_more_than_was_under_way(self) -> None:
        """Content for a stream we gave up, beyond its window and without end, is a flood."""
        self.client.increment_flow_control_window(100 * WINDOW)
        stream_id = self.open()
        self.client.reset_stream(stream_id, ErrorCodes.CANCEL)
        self.client.data_to_send()
        piece = DataFrame(stream_id, bytes(16384)).serialize()
        self.assertEqual(self.receive(piece * 16), [])
        events = self.receive(piece * 18)
        self.assert_connection_failed(events, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_refusals(self) -> None:
        """An origin may refuse every request: each was opened by us."""
        for _ in range(3000):
            self.receive(RstStreamFrame(self.open(), ErrorCodes.REFUSED_STREAM))
        self.assertEqual(self.client.open_outbound_streams, 0)


class AnyBytesTests(LibraryCase):
    """What holds for whatever an origin sends."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 60), max_size=60))
    def test_splitting(self, sizes: list[int]) -> None:
        """However bytes are split, they mean the same."""
        self.begin()
        first, second = self.open(), self.open(ended=False)
        block = self.encoder.encode(OK)
        stream = b"".join(
            frame.serialize()
            for frame in (
                HeadersFrame(first, block[:2]),
                ContinuationFrame(first, block[2:], flags=["END_HEADERS"]),
                PriorityFrame(first),
                DataFrame(first, b"content" * 20, pad_length=3, flags=["PADDED"]),
                self.headers(second, [(b":status", b"103")]),
                WindowUpdateFrame(second, 5),
                DataFrame(first, flags=["END_STREAM"]),
                RstStreamFrame(second, 8),
                PingFrame(0, b"12345678"),
            )
        )
        events: list[Event] = []
        for size in sizes:
            events += self.client.receive_data(stream[:size])
            stream = stream[size:]
        events += self.client.receive_data(stream)
        self.assertEqual(
            [type(event).__name__ for event in events],
            [
                "ResponseReceived",
                "DataReceived",
                "InformationalResponseReceived",
                "WindowUpdated",
                "DataReceived",
                "StreamEnded",
                "StreamReset",
                "PingReceived",
            ],
        )

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 11),
                st.integers(0, 255),
                st.integers(0, 6),
                st.binary(max_size=24)
                | st.sampled_from([b"\x88", b"\x48\x03103", bytes(4), b"\0\0\0\1"]),
            ),
            max_size=12,
        )
    )
    def test_never_raises(self, frames: list[tuple[int, int, int, bytes]]) -> None:
        """Whatever frames come in whatever order, the answer is events, and a GOAWAY at most."""
        self.begin()
        for ended in (True, False, True):
            self.open(ended)
        events = self.receive(*(raw(*frame) for frame in frames))
        failed = [event for event in events if isinstance(event, ConnectionFailed)]
        self.assertEqual(failed, events[-1:] if failed else [])
        goaways = [frame for frame in self.sent() if isinstance(frame, GoAwayFrame)]
        self.assertEqual(len(goaways), len(failed))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=200))
    def test_noise(self, noise: bytes) -> None:
        """Noise raises nothing."""
        self.begin()
        self.open()
        self.client.receive_data(noise)
