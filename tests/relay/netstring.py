"""
Netstrings (https://cr.yp.to/proto/netstrings.txt), as an example of a framing of one's own::

    twistd -n fastcar relay ... --framing my_package.netstring.NetstringFraming --pool 4
"""

from __future__ import annotations

from fastcar_tw.relay.framing import FrameError, Framing, FramingError, SizedFramer

__all__ = ["NetstringFramer", "NetstringFraming"]


class NetstringFraming(Framing):
    """
    Requests and responses are netstrings: 5:hello, for instance.
    """

    usage = "my_package.netstring.NetstringFraming"

    def __init__(self, argument: str, max_frame: int) -> None:
        if argument:
            raise FramingError(self.usage, "it takes no argument")
        self.max_frame = max_frame

    def requests(self) -> NetstringFramer:
        return NetstringFramer(self.max_frame)

    responses = requests


class NetstringFramer(SizedFramer):
    """
    Tells the size of a netstring by the number that it begins with.
    """

    #: Up to nine digits and the colon.
    max_head = 10

    def feed(self, data: bytes) -> list[int]:
        ends = super().feed(data)
        for number, end in enumerate(ends):
            # An end in an earlier piece is no end here, so this byte is there.
            if data[end - 1 : end] != b",":
                error = FrameError("expected ',' behind a netstring")
                error.ends = ends[:number]
                raise error
        return ends

    def frame_size(self, data: bytes, start: int) -> int | None:
        colon = data.find(b":", start, start + self.max_head)
        if colon < 0:
            return None
        digits = data[start:colon]
        if not digits.isdigit():
            raise FrameError("expected a netstring")
        return len(digits) + len(":") + int(digits) + len(",")
