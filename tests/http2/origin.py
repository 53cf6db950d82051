"""
An HTTP/2 origin that does what a test says, and a session connected to it; nothing of it does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingReceived,
    RequestReceived,
    StreamReset,
)
from hyperframe.frame import Frame

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.head import ResponseHead
from fastcar_tw.http2.session import Session
from fastcar_tw.http2.stream import Stream

E = TypeVar("E", bound=Event)
Fields = Sequence[tuple[bytes, bytes]]

GET: Fields = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"origin.test"),
    (b":path", b"/"),
)
POST: Fields = ((b":method", b"POST"), *GET[1:])
OK: Fields = ((b":status", b"200"),)


class ScriptedOrigin:
    """
    The server's side of a connection: h2 in its other role, which may also send what h2 would not.

    @ivar events: all that was received.
    @ivar acknowledges: give windows back for content as it arrives.
    """

    def __init__(self, settings: dict[int, int] | None = None) -> None:
        self.h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self.events: list[Event] = []
        self.acknowledges = True
        self._out = bytearray()
        self.h2.local_settings.update(settings or {})
        self.h2.local_settings.acknowledge()
        self.h2.max_inbound_frame_size = self.h2.local_settings.max_frame_size
        self.h2.initiate_connection()

    # What has come.

    def receive(self, data: bytes) -> None:
        """
        Take what the client sent.
        """
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, DataReceived) and self.acknowledges:
                self.give_back(event)

    def give_back(self, event: DataReceived) -> None:
        """
        Open the windows for content that has come.
        """
        if event.flow_controlled_length:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def seen(self, kind: type[E]) -> list[E]:
        """
        Events of one kind.
        """
        return [event for event in self.events if isinstance(event, kind)]

    def fields_of(self, stream_id: int) -> list[tuple[bytes, bytes]]:
        """
        The head of a request.
        """
        for event in self.seen(RequestReceived):
            if event.stream_id == stream_id:
                return [(bytes(name), bytes(value)) for name, value in event.headers]
        raise KeyError(stream_id)

    def content_of(self, stream_id: int) -> bytes:
        """
        The content of a request, as far as it has come.
        """
        data = self.seen(DataReceived)
        return b"".join(event.data for event in data if event.stream_id == stream_id)

    def resets(self) -> list[tuple[int, int]]:
        """
        Stream and error code of each RST_STREAM.
        """
        return [(event.stream_id, int(event.error_code or 0)) for event in self.seen(StreamReset)]

    def goaway(self) -> int | None:
        """
        The error code with which the client has ended the connection.
        """
        codes = [event.error_code for event in self.seen(ConnectionTerminated)]
        return None if not codes else int(codes[-1] or 0)

    @property
    def pings(self) -> int:
        """
        How many PINGs have come.
        """
        return len(self.seen(PingReceived))

    # What is sent.

    def respond(
        self,
        stream_id: int,
        content: bytes = b"",
        head: Fields = OK,
        *,
        trailers: Fields | None = None,
        ended: bool = True,
    ) -> None:
        """
        Send a response, or its beginning.  C{content} has to fit into the windows.
        """
        self.h2.send_headers(stream_id, head, ended and not content and trailers is None)
        size = self.h2.max_outbound_frame_size
        for at in range(0, len(content), size):
            last = at + size >= len(content)
            self.h2.send_data(
                stream_id, content[at : at + size], last and ended and trailers is None
            )
        if trailers is not None:
            self.h2.send_headers(stream_id, trailers, True)

    def write(self, *frames: Frame) -> None:
        """
        Send frames as they are, right or wrong.
        """
        self._out += self.h2.data_to_send()
        for frame in frames:
            self._out += frame.serialize()

    def write_bytes(self, data: bytes) -> None:
        """
        Send what need not even be a frame.
        """
        self._out += self.h2.data_to_send() + data

    def encode(self, fields: Fields) -> bytes:
        """
        Fields as a HEADERS frame of the next to be written holds them.
        """
        return bytes(self.h2.encoder.encode(fields))

    def data_to_send(self) -> bytes:
        """
        Everything not yet taken from here.
        """
        data = bytes(self._out) + self.h2.data_to_send()
        self._out.clear()
        return data


class User:
    """
    An exchange that remembers what its stream has told.

    @ivar calls: names of the calls, in order; those with an argument as pairs.
    @ivar error: what it failed with.
    """

    def __init__(self, *, head_only: bool = False, repeatable: bool = True) -> None:
        self.head_only = head_only
        self.request_trailers = b""
        self.calls: list[Any] = []
        self.heads: list[ResponseHead] = []
        self.parts: list[bytes] = []
        self.error: GatewayError | None = None
        self.answered = False
        self.unprocessed = False
        self.on: dict[str, Callable[[], None]] = {}
        self._repeatable = repeatable

    @property
    def content(self) -> bytes:
        """
        All the content it was told.
        """
        return b"".join(self.parts)

    @property
    def ended(self) -> bool:
        """
        The response was complete.
        """
        return any(call[0] == "end" for call in self.calls)

    def is_repeatable(self) -> bool:
        return self._repeatable

    def interim_response(self, head: ResponseHead) -> None:
        self._called("interim", (head.status, head.fields))

    def response_head(self, head: ResponseHead, has_body: bool) -> None:
        self.heads.append(head)
        self._called("head", (head.status, has_body))

    def response_body(self, content: bytes) -> None:
        self.parts.append(content)
        self._called("body", content)

    def response_end(self, trailers: bytes) -> None:
        self._called("end", trailers)

    def flush_response(self) -> None:
        self._called("flush", None)

    def upstream_full(self) -> None:
        self._called("full", None)

    def upstream_drained(self) -> None:
        self._called("drained", None)

    def upstream_failed(self, error: GatewayError, *, answered: bool, unprocessed: bool) -> None:
        self.error = error
        self.answered = answered
        self.unprocessed = unprocessed
        self._called("failed", error.proxy_status)

    def _called(self, name: str, what: object) -> None:
        self.calls.append((name, what))
        if name in self.on:
            self.on[name]()


class Link:
    """
    A session, its owner, and its origin, with as much of a wire as a test wants.

    @ivar calls: what the owner was told.
    @ivar now: the time in seconds.
    @ivar taken: bytes the kernel has taken; those transmitted, while it is not C{stuck}.
    """

    def __init__(self, settings: dict[int, int] | None = None) -> None:
        self.now = 1000.0
        self.calls: list[str] = []
        self.out: list[bytes] = []
        self.taken = 0
        self.stuck = False
        self.on_transmit: Callable[[], object] | None = None
        self.on_stream_ended: Callable[[], object] | None = None
        self.origin = ScriptedOrigin(settings)
        self.session = Session(self, lambda: self.now, "https://origin.test")
        self.session.begin()

    # The session's owner.

    def transmit(self, data: bytes) -> None:
        self.out.append(data)
        if not self.stuck:
            self.taken += len(data)
        if self.on_transmit is not None:
            self.on_transmit()

    def sent(self) -> int:
        return self.taken

    def stream_ended(self) -> None:
        self.calls.append("stream_ended")
        if self.on_stream_ended is not None:
            self.on_stream_ended()

    def capacity_changed(self) -> None:
        self.calls.append("capacity_changed")

    def going_away(self) -> None:
        self.calls.append("going_away")

    def user_raised(self) -> None:
        self.calls.append("user_raised")

    # For tests.

    def request(
        self,
        user: User | None = None,
        fields: Fields = GET,
        content: bytes = b"",
        ended: bool = True,
    ) -> tuple[User, Stream]:
        """
        Open a stream.
        """
        user = user or User()
        return user, self.session.open(user, fields, content, ended)

    def to_origin(self) -> None:
        """
        Let what was transmitted arrive.
        """
        data = b"".join(self.out)
        self.out.clear()
        if data:
            self.origin.receive(data)

    def to_session(self) -> None:
        """
        Let what the origin sent arrive.
        """
        data = self.origin.data_to_send()
        if data:
            self.session.receive(data)

    def run(self) -> None:
        """
        Let everything arrive until both are silent.
        """
        while True:
            self.to_origin()
            data = self.origin.data_to_send()
            if not data:
                return
            self.session.receive(data)


def linked(settings: dict[int, int] | None = None) -> Link:
    """
    A session and an origin that have introduced themselves.
    """
    link = Link(settings)
    link.run()
    link.calls.clear()
    return link
