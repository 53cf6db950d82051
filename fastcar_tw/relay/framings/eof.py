"""
Frames that end with a terminator, as swoole's C{package_eof}: C{--framing eof:\\r\\n}.
"""

from __future__ import annotations

import re

from fastcar_tw.relay.framing import FrameSizeError, Framing, FramingError

__all__ = ["EOFFramer", "EOFFraming"]

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.?))", re.DOTALL)

_ESCAPED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class EOFFraming(Framing):
    """
    Requests and responses end with the same terminator, which is part of them.
    """

    usage = "eof:TERMINATOR"

    def __init__(self, argument: str, max_frame: int) -> None:
        terminator = _unescape(argument)
        if not 0 < len(terminator) <= max_frame:
            raise _refused(f"it has {len(terminator)} bytes, and --max-frame is {max_frame}")
        self._terminator = terminator
        self._max_frame = max_frame

    def requests(self) -> EOFFramer:
        return EOFFramer(self._terminator, self._max_frame)

    responses = requests


class EOFFramer:
    """
    Finds terminators as a search of the whole stream would: the first, the first behind that...
    """

    __slots__ = ("_before", "_last", "_max_frame", "_tail", "_tail_size", "_terminator")

    def __init__(self, terminator: bytes, max_frame: int) -> None:
        """
        @param max_frame: bytes of the largest frame, its terminator included.
        """
        self._terminator = terminator
        self._last = terminator[-1:]
        self._max_frame = max_frame
        #: How many bytes of a terminator may have come without it being whole.
        self._tail_size = len(terminator) - 1
        #: How many bytes of the frame that has not ended yet were fed, and the last of them.
        self._before = 0
        self._tail = b""

    def feed(self, data: bytes) -> list[int]:
        """
        Find the ends, as L{Framer.feed<fastcar_tw.relay.framing.Framer.feed>} has it.
        """
        ends: list[int] = []
        before, size = self._before, len(data)
        # Large reads without an end: that this byte is missing is found in a fiftieth of the time.
        rest = self._add_ends(data, ends) if self._last in data else data
        if before + size >= self._max_frame:
            self._check(size, ends)
        if ends:
            self._before = len(rest)
            self._tail = b""
        else:
            self._before = before + size
        if rest and self._tail_size:
            self._tail = (self._tail + rest[-self._tail_size :])[-self._tail_size :]
        return ends

    def _add_ends(self, data: bytes, ends: list[int]) -> bytes:
        """
        @return: what follows the last terminator.
        """
        end = 0
        if self._tail:
            end = self._end_of_split_terminator(data)
            if end:
                ends.append(end)
                data = data[end:]
        # To split takes half the time of finding one terminator after the other.
        pieces = data.split(self._terminator)
        rest = pieces.pop()
        size = self._tail_size + 1
        for piece in pieces:
            end += len(piece) + size
            ends.append(end)
        return rest

    def _end_of_split_terminator(self, data: bytes) -> int:
        """
        @return: the end of the terminator that began in what was fed before; 0: none did.
        """
        tail = self._tail
        at = (tail + data[: self._tail_size]).find(self._terminator)
        return 0 if at < 0 else at + self._tail_size + 1 - len(tail)

    def _check(self, size: int, ends: list[int]) -> None:
        """
        @param size: how many bytes the data has in which frames end.
        @raise FrameSizeError: one of them, or the one that has not ended yet, is too large.
        """
        start = -self._before
        # What has not ended yet has at least one more byte.
        for number, end in enumerate([*ends, size + 1]):
            if end - start > self._max_frame:
                error = FrameSizeError(self._max_frame)
                error.ends = ends[:number]
                raise error
            start = end


def _unescape(text: str) -> bytes:
    """
    @raise FramingError: there is something else behind a backslash than what is understood.
    """

    def replace(match: re.Match[bytes]) -> bytes:
        digits, character = match.groups()
        if digits:
            return bytes.fromhex(digits.decode())
        if character not in _ESCAPED:
            raise _refused("a backslash that does not begin one of these escapes")
        return _ESCAPED[character]

    # As os.fsencode: arguments may have bytes that are no UTF-8.
    return _ESCAPE.sub(replace, text.encode("utf-8", "surrogateescape"))


def _refused(reason: str) -> FramingError:
    return FramingError(
        r"eof:TERMINATOR, a TERMINATOR of at least one byte in which \r \n \t \0 \\ and \xNN"
        " are escapes",
        reason,
    )
