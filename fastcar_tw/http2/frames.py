"""
HTTP/2 frames out of bytes (RFC 9113 section 4): what is too long is refused before it has come,
what is not wanted is not even parsed, and everything that brings nothing is charged.

hyperframe knows the layout of each type of frame; the order they may come in, as far as it is about
header sections, is judged here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from h2.exceptions import (
    DenialOfServiceError,
    FrameDataMissingError,
    FrameTooLargeError,
    ProtocolError,
)
from hyperframe.exceptions import InvalidDataError, InvalidFrameError, InvalidPaddingError
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

#: Bytes of a header section, encoded or not (RFC 9113 section 6.5.2 tells how they are counted).
MAX_HEADER_LIST = 64 * 1024
#: Bytes of the payload of one frame from an origin.
MAX_FRAME = 64 * 1024

_HEADER = struct.Struct(">HBBBL")
_STREAM_ID = 2**31 - 1
#: Flags of DATA, and of SETTINGS.
_END_STREAM = 0x01
_PADDED = 0x08
_ACK = 0x01
#: Types of frames that mean something to a client.  The others are to be ignored (RFC 9113
#: section 5.5); so are PRIORITY (section 5.3.2) and ALTSVC, which we have no use for.
_KNOWN = {
    frame.type: frame
    for frame in (
        DataFrame,
        HeadersFrame,
        RstStreamFrame,
        SettingsFrame,
        PushPromiseFrame,
        PingFrame,
        GoAwayFrame,
        WindowUpdateFrame,
        ContinuationFrame,
    )
}


class Content:
    """
    DATA frames of one stream that came together, with content and without padding: most of what
    comes, and so it is not taken apart any further.

    @ivar stream_id: of the stream.
    @ivar pieces: the content, a piece from each.
    @ivar ended: the last of them had END_STREAM.
    """

    __slots__ = ("ended", "pieces", "stream_id")

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.pieces: list[memoryview] = []
        self.ended = False


class FrameReader:
    """
    Takes frames out of the bytes of one connection.

    It stands in for h2's C{FrameBuffer}, which first collects up to 16 MiB of a frame that it then
    finds too long, and swallows CONTINUATION frames uncounted.
    """

    __slots__ = ("_block", "_block_size", "_budget", "_need", "_partial")

    def __init__(self, budget: FrameBudget) -> None:
        self._budget = budget
        self._partial = bytearray()
        self._need = 9
        # HEADERS or PUSH_PROMISE without END_HEADERS, and the CONTINUATION frames behind it.
        self._block: list[HeadersFrame | PushPromiseFrame | ContinuationFrame] = []
        self._block_size = 0

    def frames(self, data: bytes) -> Iterator[Frame | Content]:
        """
        Yields the frames that are complete with these bytes.

        @raise ProtocolError: the connection is at an end; its class has the C{error_code}.
        """
        if self._partial:
            self._partial += data
            if len(self._partial) < self._need:
                return
            data = bytes(self._partial)
            self._partial.clear()
        start, need = 0, 9
        end = len(data)
        view = memoryview(data)
        run: Content | None = None
        while end - start >= 9:
            high, low, kind, flags, stream_id = _HEADER.unpack_from(data, start)
            length = high << 8 | low
            stream_id &= _STREAM_ID
            plain = kind == 0 and 0 < length <= MAX_FRAME and not (flags & _PADDED or self._block)
            if run is not None and (run.ended or run.stream_id != stream_id or not plain):
                yield run
                run = None
            if length > MAX_FRAME:
                raise FrameTooLargeError(f"a frame of {length} bytes, {MAX_FRAME} are allowed")
            need = 9 + length
            if end - start < need:
                break
            payload = view[start + 9 : start + need]
            start += need
            need = 9
            if plain:
                run = run or Content(stream_id)
                run.pieces.append(payload)
                run.ended = bool(flags & _END_STREAM)
                continue
            frame = self._parse(kind, flags, stream_id, payload)
            if frame is not None:
                yield frame
        if run is not None:
            yield run
        self._need = need
        self._partial += data[start:]

    def _parse(self, kind: int, flags: int, stream_id: int, payload: memoryview) -> Frame | None:
        if self._block and kind != ContinuationFrame.type:
            raise ProtocolError("a frame within a header section")
        known = _KNOWN.get(kind)
        if known is None:
            self._budget.spend(len(payload))
            return None
        if known is SettingsFrame and flags & _ACK and payload:
            raise FrameDataMissingError("an acknowledgement of SETTINGS that has content")
        try:
            frame = known(stream_id)
            frame.parse_flags(flags)
            frame.parse_body(payload)
        except InvalidPaddingError as error:
            raise ProtocolError("a frame is shorter than its padding") from error
        except InvalidFrameError as error:
            raise FrameDataMissingError("a frame has the wrong length") from error
        except InvalidDataError as error:
            # The reserved bit is to be ignored, and an increment of zero may concern one stream.
            if known is not WindowUpdateFrame:
                raise ProtocolError("a frame has invalid content") from error
        if isinstance(frame, (HeadersFrame, PushPromiseFrame, ContinuationFrame)):
            return self._assemble(frame)
        return frame

    def _assemble(self, frame: HeadersFrame | PushPromiseFrame | ContinuationFrame) -> Frame | None:
        """Gathers a header section (RFC 9113 section 4.3), as one large frame."""
        block = self._block
        if isinstance(frame, ContinuationFrame):
            self._budget.spend(0)
            if not block or block[0].stream_id != frame.stream_id:
                raise ProtocolError("CONTINUATION without a header section")
        elif "END_HEADERS" in frame.flags:
            return frame
        block.append(frame)
        self._block_size += len(frame.data)
        if self._block_size > MAX_HEADER_LIST:
            raise DenialOfServiceError(f"a header section of more than {MAX_HEADER_LIST} bytes")
        if "END_HEADERS" not in frame.flags:
            return None
        whole = block[0]
        whole.data = b"".join(part.data for part in block)
        self._block = []
        self._block_size = 0
        return whole
