"""
Frames that are made of elements, each of which begins with a line.  The line tells how many bytes
follow it, and how many further elements it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fastcar_tw.relay.framing import FrameError, FrameSizeError

__all__ = ["MAX_LINE", "LineFramer", "Lines", "Shape", "counted"]

#: Bytes of the longest line; Redis has the same limit (PROTO_INLINE_MAX_SIZE).
MAX_LINE = 64 * 1024

#: How many bytes follow a line, and how many further elements are needed.
Shape = tuple[int, int]
#: Looks for something at an offset.
Match = Callable[[bytes, int], "re.Match[bytes] | None"]


class Lines(dict[bytes, Shape]):
    """
    What lines mean, their LF included.  The usual ones are entries, which takes half the time of
    reading them.
    """

    def __missing__(self, line: bytes) -> Shape:
        if len(line) > MAX_LINE:
            raise _line_too_long()
        return self.read(line)

    def read(self, line: bytes) -> Shape:
        """
        @raise FrameError: no such line is expected.
        """
        raise NotImplementedError


class LineFramer:
    """
    Counts elements, so it does not matter how deep they are nested.  What follows a line is passed
    over unseen.
    """

    __slots__ = (
        "_at",
        "_begin",
        "_first",
        "_least",
        "_max_frame",
        "_others",
        "_part",
        "_pending",
        "_short",
    )

    def __init__(
        self, short: Match, first: Lines, others: Lines, least: int, max_frame: int
    ) -> None:
        """
        @param short: finds a whole frame of a usual kind.
        @param first: the meaning of lines that begin frames.
        @param others: of all others.
        @param least: bytes of the smallest element.
        @param max_frame: bytes of the largest frame.
        """
        self._short = short
        self._first = first
        self._others = others
        self._least = least
        self._max_frame = max_frame
        # A line that has not ended.
        self._part = b""
        # Where the next line begins, and where the frame did; counted from the next byte, or from
        # the part of a line.
        self._at = 0
        self._begin = 0
        # Elements that are missing.
        self._pending = 0

    def feed(self, data: bytes) -> list[int]:
        """
        Find the ends, as L{Framer.feed<fastcar_tw.relay.framing.Framer.feed>} has it.
        """
        before = len(self._part)
        if before:
            data = self._part + data
        at, begin, pending, size = self._at, self._begin, self._pending, len(data)
        first, others, max_frame, find = self._first, self._others, self._max_frame, data.find
        ends: list[int] = []
        if 0 < at <= size and not pending:
            # A string was all that the frame needed.
            ends.append(at)
            begin = at
        try:
            while at < size:
                if not pending and (match := self._short(data, at)) is not None:
                    at = match.end()
                else:
                    end = find(b"\n", at) + 1
                    if not end:
                        break
                    if pending:
                        length, more = others[data[at:end]]
                        pending += more - 1
                    else:
                        length, pending = first[data[at:end]]
                    at = end + length
                if not pending:
                    if at > size or at - begin > max_frame:
                        break
                    ends.append(at - before)
                    begin = at
            if begin == size:
                self._part = b""
                self._at = self._begin = self._pending = 0
            else:
                self._keep(data, at, begin, pending)
        except FrameError as error:
            error.ends = ends
            raise
        return ends

    def _keep(self, data: bytes, at: int, begin: int, pending: int) -> None:
        """
        Note where we are.

        @raise FrameError: the frame is larger than allowed, or one of its lines longer.
        """
        size = len(data)
        known = max(at + pending * self._least, size)
        if known - begin > self._max_frame:
            raise FrameSizeError(self._max_frame)
        # Its LF is missing.
        if size - at >= MAX_LINE:
            raise _line_too_long()
        base = min(at, size)
        self._part = data[base:]
        self._at = at - base
        self._begin = begin - base
        self._pending = pending


def counted(between: bytes) -> bytes:
    """
    @param between: a pattern.
    @return: a pattern of a length below 100, C{between}, and so many bytes; for C{re.DOTALL}.
    """
    lengths: dict[bytes, list[bytes]] = {}
    for length in range(100):
        digits = b"%d" % length
        lengths.setdefault(digits[:1], []).append(rb"%b%b.{%d}" % (digits[1:], between, length))
    # By the first digit: to try a hundred of them takes as long as to do without this.
    return rb"(?:%b)" % b"|".join(
        rb"%b(?:%b)" % (first, b"|".join(others)) for first, others in lengths.items()
    )


def _line_too_long() -> FrameError:
    return FrameError(f"expected a line of at most {MAX_LINE} bytes")
