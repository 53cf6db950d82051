"""
Message bodies: where one ends (RFC 9112 section 6.3), and the chunked coding (section 7.1).

Rules of this file: a reader takes bytes as they arrive and hands back content at once; it keeps no
content.  After the last byte C{finished} is True and C{leftover} holds what came behind it.
Readers never guess: what is not exactly right raises L{MessageError}.
"""

from __future__ import annotations

from typing import Protocol

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.fields import check_trailers
from fastcar_tw.http.grammar import BROKEN_LINE_END, CHUNK_LINE
from fastcar_tw.http.head import MAX_HEAD, RequestHead, ResponseHead

#: Bytes of one chunk-size line with its extensions, and of all of them beyond the sizes in a
#: message (RFC 9112 section 7.1.1 asks for such a limit).
MAX_CHUNK_LINE = 4096
MAX_CHUNK_EXTENSIONS = 64 * 1024


class BodyReader(Protocol):
    """
    What every reader offers.

    @ivar finished: the body is complete.
    @ivar leftover: bytes that arrived behind it.
    @ivar trailers: trailer field lines, each ended by CRLF.
    """

    finished: bool
    leftover: bytes
    trailers: bytes

    def feed(self, data: bytes) -> bytes:
        """
        Take the next bytes and return the content in them.

        @raise MessageError: when the framing is broken.
        """

    def end_of_stream(self) -> bool:
        """
        The peer has sent its last byte; return whether that completes the body.
        """


class LengthReader:
    """
    A body of known length.
    """

    __slots__ = ("_remaining", "finished", "leftover", "trailers")

    def __init__(self, length: int) -> None:
        self._remaining = length
        self.finished = length == 0
        self.leftover = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        remaining = self._remaining - len(data)
        if remaining > 0:
            self._remaining = remaining
            return data
        self.finished = True
        if remaining == 0:
            return data
        content, self.leftover = data[:remaining], data[remaining:]
        return content

    def end_of_stream(self) -> bool:
        return self.finished


class CloseDelimitedReader:
    """
    A response body that ends with the connection (RFC 9112 section 6.3, rule 8).
    """

    __slots__ = ("finished", "leftover", "trailers")

    def __init__(self) -> None:
        self.finished = False
        self.leftover = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        return data

    def end_of_stream(self) -> bool:
        self.finished = True
        return True


class ChunkedReader:
    """
    A chunked body.  Chunk extensions are ignored and not passed on.
    """

    __slots__ = (
        "_buffer",
        "_extensions",
        "_in_trailers",
        "_remaining",
        "finished",
        "leftover",
        "trailers",
    )

    def __init__(self) -> None:
        self._buffer = b""
        self._remaining = 0  # of the chunk being read: its data and the CRLF behind it
        self._extensions = 0
        self._in_trailers = False
        self.finished = False
        self.leftover = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        if self._remaining > len(data) + 2 and not self._buffer:
            self._remaining -= len(data)
            return data
        searched = len(self._buffer)
        if searched:
            data = self._buffer + data
            self._buffer = b""
        content: list[bytes] = []
        at = 0
        while not self.finished and not self._in_trailers:
            if self._remaining == 0:
                at = self._chunk_line(data, at)
                if self._remaining == 0:
                    break
            elif self._remaining > 2:
                take = data[at : at + self._remaining - 2]
                if not take:
                    break
                content.append(take)
                at += len(take)
                self._remaining -= len(take)
            elif not self._chunk_end(data, at):
                break
            else:
                at += 2
        if self._in_trailers:
            self._trailer_section(data, at, searched)
        else:
            self._buffer = data[at:]
        return content[0] if len(content) == 1 else b"".join(content)

    def end_of_stream(self) -> bool:
        return self.finished

    def _chunk_line(self, data: bytes, at: int) -> int:
        match = CHUNK_LINE.match(data, at)
        if match is None:
            if b"\r\n" in data[at : at + MAX_CHUNK_LINE] or len(data) - at > MAX_CHUNK_LINE:
                raise MessageError("invalid chunk size")
            if BROKEN_LINE_END.search(data, at):
                raise MessageError("a chunk size does not end in CRLF")
            return at
        self._extensions += match.end() - match.end(1) - 2
        if match.end() - at > MAX_CHUNK_LINE or self._extensions > MAX_CHUNK_EXTENSIONS:
            raise MessageError("chunk extensions too large")
        size = int(match[1], 16)
        if size:
            self._remaining = size + 2
        else:
            self._in_trailers = True
        return match.end()

    def _chunk_end(self, data: bytes, at: int) -> bool:
        end = data[at : at + 2]
        if end == b"\r\n":
            self._remaining = 0
            return True
        if end not in (b"", b"\r"):
            raise MessageError("chunk data does not end in CRLF")
        return False

    def _trailer_section(self, data: bytes, at: int, searched: int) -> None:
        # What an earlier call has searched is not searched again: that would be quadratic.
        if data.startswith(b"\r\n", at):
            end = at
        else:
            end = data.find(b"\r\n\r\n", max(at, searched - 3)) + 2
            if end < 2 and len(data) - at < MAX_HEAD:
                if BROKEN_LINE_END.search(data, max(at, searched - 1)):
                    raise MessageError("a line of the trailer does not end in CRLF")
                self._buffer = data[at:]
                return
            if end < 2 or end - at > MAX_HEAD:
                raise MessageError(f"trailer larger than {MAX_HEAD} bytes", 431)
            self.trailers = data[at:end]
            check_trailers(self.trailers)
        self.finished = True
        self.leftover = data[end + 2 :]


def request_body_reader(head: RequestHead) -> BodyReader | None:
    """
    The reader for a request's body, None when it has none (RFC 9112 section 6.3, rules 4 to 7).
    """
    if head.chunked:
        return ChunkedReader()
    return LengthReader(head.content_length) if head.content_length else None


def response_body_reader(head: ResponseHead, head_only: bool) -> BodyReader:
    """
    The reader for a response's body (RFC 9112 section 6.3, rules 1 to 8).

    @param head_only: it answers a HEAD.
    """
    if head_only or head.status in (204, 304):
        return LengthReader(0)
    if head.chunked:
        return ChunkedReader()
    if head.content_length is not None:
        return LengthReader(head.content_length)
    return CloseDelimitedReader()


def chunk(content: bytes) -> bytes:
    """
    Encode content as one chunk; empty content, which would end the body, becomes nothing.
    """
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


def last_chunk(trailers: bytes) -> bytes:
    """
    The end of a chunked body, with its trailer section.
    """
    return b"0\r\n" + trailers + b"\r\n"
