"""
One message read as the connections read it: head, destination, framing, body, in pieces of any
size.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastcar_tw.forward.local import answer_locally
from fastcar_tw.http.body import (
    BodyReader,
    LengthReader,
    request_body_reader,
    response_body_reader,
)
from fastcar_tw.http.head import (
    RequestHead,
    ResponseHead,
    find_head_end,
    parse_request_head,
    parse_response_head,
)
from fastcar_tw.http.target import parse_authority

#: Bytes at either end of a message that are always fed singly.
LONG = 512


class Driver:
    """
    Feeds one message to the parsers.

    @ivar content: the body so far.
    """

    def __init__(self) -> None:
        self.content = b""
        self._reader: BodyReader | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._behind = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes; MessageError when they are wrong."""
        if self.finished:
            self._behind += data
        elif self._reader is not None:
            self.content += self._reader.feed(data)
        else:
            self._buffer += data
            self._look_for_head()

    @property
    def finished(self) -> bool:
        """The message is complete."""
        return self._reader is not None and self._reader.finished

    @property
    def leftover(self) -> bytes:
        """What came behind the message."""
        return (self._reader.leftover if self._reader is not None else b"") + self._behind

    @property
    def trailers(self) -> bytes:
        """The trailer section."""
        return self._reader.trailers if self._reader is not None else b""

    def end_of_stream(self) -> bool:
        """The peer has ended; whether the message is complete."""
        return self._reader is not None and self._reader.end_of_stream()

    def _look_for_head(self) -> None:
        end = find_head_end(self._buffer, self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return
        data = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        self._reader = self._parse_head(data, end)
        if data[end:]:
            self.feed(data[end:])

    def _parse_head(self, data: bytes, end: int) -> BodyReader | None:
        raise NotImplementedError


class RequestDriver(Driver):
    """
    Reads a request.

    @ivar head: its head, once complete and judged.
    @ivar authority: host and port it is for; None when it was answered locally.
    """

    head: RequestHead | None = None
    authority: tuple[str, int] | None = None

    def _parse_head(self, data: bytes, end: int) -> BodyReader:
        head = parse_request_head(data, end)
        authority = parse_authority(head.host, head.scheme or "http")
        if answer_locally(head) is None:
            self.authority = authority
        self.head = head
        return request_body_reader(head) or LengthReader(0)


class ResponseDriver(Driver):
    """
    Reads a response and the interim responses before it.

    @ivar head: the final response's head.
    @ivar interim: the interim responses' heads.
    """

    def __init__(self, head_only: bool = False) -> None:
        super().__init__()
        self.head: ResponseHead | None = None
        self.interim: list[ResponseHead] = []
        self._head_only = head_only

    def _parse_head(self, data: bytes, end: int) -> BodyReader | None:
        head = parse_response_head(data, end)
        if head.status < 200:
            self.interim.append(head)
            return None
        self.head = head
        return response_body_reader(head, self._head_only)


def read_request(pieces: Iterable[bytes]) -> RequestDriver:
    """Read one request; MessageError when it is refused."""
    driver = RequestDriver()
    for piece in pieces:
        driver.feed(piece)
    return driver


def read_response(pieces: Iterable[bytes], head_only: bool = False) -> ResponseDriver:
    """Read one response; MessageError when it is refused."""
    driver = ResponseDriver(head_only)
    for piece in pieces:
        driver.feed(piece)
    return driver


def bytewise(data: bytes) -> Iterable[bytes]:
    """The bytes one at a time; the middle of what is very long goes faster."""
    at = 0
    while at < len(data):
        size = 1 if at < LONG or at > len(data) - LONG else 199
        yield data[at : at + size]
        at += size
