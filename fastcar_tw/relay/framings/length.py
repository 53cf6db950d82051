"""
Frames that tell their length in a header of fixed size, as swoole's C{package_length_type},
C{package_length_offset} and C{package_body_offset}: C{--framing length:N:0:4}.

The length is a number of TYPE that begins OFFSET bytes into the frame, and counts from BODY_OFFSET
bytes into the frame: the frame has BODY_OFFSET + length bytes.  A BODY_OFFSET of 0 means that the
length is that of the whole frame.  The types are letters of PHP's C{pack}.  memcached's binary
protocol is C{length:N:8:24}.
"""

from __future__ import annotations

import re
from struct import Struct

from fastcar_tw.relay.framing import FrameSizeError, Framing, FramingError, SizedFramer

__all__ = ["LengthFramer", "LengthFraming"]

#: Unsigned numbers whose byte order is known: of other machines' order nothing can be said here.
_TYPES = {
    "C": Struct("B"),
    "n": Struct(">H"),
    "v": Struct("<H"),
    "N": Struct(">I"),
    "V": Struct("<I"),
    "J": Struct(">Q"),
    "P": Struct("<Q"),
}

#: Of both offsets, as in swoole.
_MAX_OFFSET = 65535


class LengthFraming(Framing):
    """
    Requests and responses have the same header.
    """

    usage = "length:TYPE:OFFSET:BODY_OFFSET"

    def __init__(self, argument: str, max_frame: int) -> None:
        parts = argument.split(":")
        if len(parts) != 3:
            raise _refused("three parts are needed")
        kind, *offsets = parts
        if kind not in _TYPES:
            raise _refused("TYPE is none of these letters")
        self._number = _TYPES[kind]
        self._offset, self._body_offset = map(_parse_offset, ("OFFSET", "BODY_OFFSET"), offsets)
        self._max_frame = max_frame
        if max(self._offset + self._number.size, self._body_offset) > max_frame:
            raise _refused(f"the header has more bytes than --max-frame, {max_frame}")

    def requests(self) -> LengthFramer:
        return LengthFramer(self._number, self._offset, self._body_offset, self._max_frame)

    responses = requests


class LengthFramer(SizedFramer):
    """
    Reads the lengths, and nothing else.
    """

    __slots__ = ("_body_offset", "_header_size", "_number_at", "_offset")

    def __init__(self, number: Struct, offset: int, body_offset: int, max_frame: int) -> None:
        """
        @param number: what the length is packed as.
        @param offset: the frame's bytes before the length.
        @param body_offset: the frame's bytes that the length does not count.
        @param max_frame: bytes of the largest frame, its header included.
        """
        super().__init__(max_frame)
        self._number_at = number.unpack_from
        self._offset = offset
        self._body_offset = body_offset
        #: The bytes up to the end of the length: no frame has less.
        self._header_size = offset + number.size

    def _find(self, data: bytes, start: int, ends: list[int]) -> None:
        # SizedFramer would call a method for each frame, which takes as long as all of this.
        number_at, offset, body_offset = self._number_at, self._offset, self._body_offset
        header_size, max_frame = self._header_size, self._max_frame
        last = len(data) - header_size
        while start <= last:
            (length,) = number_at(data, start + offset)
            length += body_offset
            if not header_size <= length <= max_frame:
                raise FrameSizeError(max_frame, max(header_size, body_offset))
            start += length
            ends.append(start)


def _parse_offset(name: str, text: str) -> int:
    if re.fullmatch("[0-9]{1,5}", text) and (offset := int(text)) <= _MAX_OFFSET:
        return offset
    raise _refused(f"{name} is no number from 0 to {_MAX_OFFSET}")


def _refused(reason: str) -> FramingError:
    return FramingError(
        "length:TYPE:OFFSET:BODY_OFFSET, TYPE a letter of pack (C, n, N, v, V, J or P), OFFSET"
        " where the length stands, BODY_OFFSET where what it counts begins",
        reason,
    )
