"""
A script's response on its way to the client: from what php-fpm sends as STDOUT to HTTP/1.1.

What has arrived together leaves together.  If that is all of the response, its length is told; if
not, and the script has not told it either, the response is chunked, or to HTTP/1.0, where every
connection ends after its response, is sent as it is.
"""

from __future__ import annotations

from fastcar_tw.fastcgi.cgi import CGIHead, find_cgi_head_end, parse_cgi_head
from fastcar_tw.http.body import chunk, last_chunk
from fastcar_tw.http.errors import MessageError


class ScriptResponse:
    """
    One response.

    @ivar head: its head, as soon as that is there.
    @ivar begun: its head was taken.
    @ivar excess: there was more of a body than the head had announced, or could have.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_ended",
        "_head_only",
        "_left",
        "_pieces",
        "_version",
        "begun",
        "excess",
        "head",
    )

    def __init__(self, version: int, head_only: bool) -> None:
        """
        @param version: of the request: 10 or 11.
        @param head_only: it answers a HEAD.
        """
        self.head: CGIHead | None = None
        self.begun = False
        self.excess = False
        self._version = version
        self._head_only = head_only
        self._buffer = b""
        self._pieces: list[bytes] = []
        self._chunked = False
        self._ended = False
        # Bytes of the body still to come, if that is known.
        self._left: int | None = None

    def feed(self, content: bytes) -> None:
        """
        Some of what the script writes.

        @raise MessageError: its head is malformed.
        """
        head = self.head
        if head is None:
            searched = len(self._buffer)
            if searched:
                content = self._buffer + content
            end = find_cgi_head_end(content, searched)
            if end < 0:
                self._buffer = content
                return
            self._buffer = b""
            head = self.head = parse_cgi_head(content, end)
            self._left = 0 if self._is_bodiless(head) else head.content_length
            content = content[end:]
        if self._left is not None and content:
            if len(content) > self._left:
                self.excess = not self._head_only
                content = content[: self._left]
            self._left -= len(content)
        if content:
            self._pieces.append(content)

    def end(self) -> None:
        """
        The script has ended.

        @raise MessageError: its response is not complete.
        """
        if self.head is None:
            what = "only a part of a head" if self._buffer else "nothing"
            raise MessageError(f"the script has sent {what}")
        if self._left:
            raise MessageError(f"the body is {self._left} bytes shorter than Content-Length says")
        self._ended = True

    def take(self, own: bytes) -> bytes:
        """
        What there is for the client.

        @param own: our own field lines, for the head.
        """
        pieces, self._pieces = self._pieces, []
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if not self.begun:
            return self._begin(content, own)
        if self._chunked:
            content = chunk(content)
            return content + last_chunk(b"") if self._ended else content
        return content

    def discard(self) -> None:
        """
        Of the body nothing is wanted.
        """
        self._pieces.clear()

    def _begin(self, content: bytes, own: bytes) -> bytes:
        head = self.head
        assert head is not None
        self.begun = True
        if self._left is None:
            if self._ended:
                own += b"Content-Length: %d\r\n" % len(content)
            elif self._version == 11:
                self._chunked = True
                own += b"Transfer-Encoding: chunked\r\n"
                content = chunk(content)
        return b"HTTP/1.1 %d%b\r\n%b%b\r\n%b" % (
            head.status,
            head.reason,
            head.fields,
            own,
            content,
        )

    def _is_bodiless(self, head: CGIHead) -> bool:
        return self._head_only or head.status in (204, 304)
