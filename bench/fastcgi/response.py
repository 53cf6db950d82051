"""Responses, as the load generator reads them: of a known length, or chunked."""

from __future__ import annotations

import re

STATUS_OK = b"HTTP/1.1 200 "
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class ResponseError(Exception):
    """The response is not what was expected; the text says how."""


class Response:
    """One response, taken piece by piece; `expected` is its body, or only the length of that.

    No expected body holds what ends the last chunk: the end is where the data end with it.
    """

    __slots__ = ("_chunked", "_data", "_expected", "_head", "_missing")

    def __init__(self, expected: bytes | int) -> None:
        self._expected = expected
        self._head = True
        self._data = b""  # the head so far; then the body, if it is to be looked at
        self._missing = 0
        self._chunked = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; True at the end. Raises ResponseError if it is a wrong one."""
        if self._head:
            data = self._take_head(self._data + data)
            if self._head:
                return False
        self._missing -= len(data)
        if self._chunked or isinstance(self._expected, bytes):
            self._data += data
        return self._last_chunk() if self._chunked else self._last_byte()

    def tail(self) -> bytes:
        """Return the blank line and the body as they came, if they were kept."""
        return b"\r\n\r\n" + self._data if self._data else b""

    def _take_head(self, data: bytes) -> bytes:
        """Return what follows the head; or keep everything until that is complete."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._data = data
            return b""
        if not data.startswith(STATUS_OK):
            raise ResponseError(f"status {data[9:12].decode('latin-1')}")
        length = _CONTENT_LENGTH.search(data, 0, end + 2)
        self._chunked = _CHUNKED.search(data, 0, end + 2) is not None
        if not length and not self._chunked:
            raise ResponseError("a body without framing")
        self._missing = int(length[1]) if length else 0
        if (
            not self._chunked
            and isinstance(self._expected, int)
            and self._missing != self._expected
        ):
            raise ResponseError(f"Content-Length {self._missing}, expected {self._expected}")
        self._head = False
        self._data = b""
        return data[end + 4 :]

    def _last_chunk(self) -> bool:
        if not self._data.endswith(_LAST_CHUNK) and self._data != _LAST_CHUNK[2:]:
            return False
        self._check(_dechunk(self._data))
        return True

    def _last_byte(self) -> bool:
        if self._missing < 0:
            raise ResponseError("more bytes than Content-Length")
        if self._missing:
            return False
        if isinstance(self._expected, bytes):
            self._check(self._data)
        return True

    def _check(self, body: bytes) -> None:
        got = body if isinstance(self._expected, bytes) else len(body)
        if got != self._expected:
            raise ResponseError(f"another body than expected, of {len(body)} bytes")


def _dechunk(data: bytes) -> bytes:
    body, position, size = [], 0, -1
    while size:
        line_end = data.find(b"\r\n", position)
        try:
            size = int(data[position:line_end], 16)
        except ValueError:
            raise ResponseError("a chunk without its size") from None
        body.append(data[line_end + 2 : line_end + 2 + size])
        position = line_end + 2 + size + 2
    return b"".join(body)
