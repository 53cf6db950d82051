"""
memcached's text protocol, with most meta commands: C{--framing memcached}.  See its
doc/protocol.txt.

Of requests only those are told apart that every memcached since 1.4 reads in the same way, and
answers once.  Any other makes the connection its client's own, so that memcached itself judges it:
one with C{noreply} or the flag C{q}, which may have no response; one that never ends, as C{watch};
one that is malformed, after which versions differ in what they take for the next; and C{ms}, of
which those before 1.6.10 do not know that data follow.

A client logs in (memcached's option -Y) with what looks like any C{set}, so connections to such a
memcached cannot be shared.
"""

from __future__ import annotations

import re

from fastcar_tw.relay.framing import (
    FrameError,
    Framer,
    FrameSizeError,
    Framing,
    FramingError,
    Session,
    Use,
)
from fastcar_tw.relay.framings.lines import LineFramer, Lines, Shape, counted

__all__ = ["MemcachedFraming"]

#: Bytes of the longest line, except for C{get} and C{gets}, which only end with the frame.
MAX_LINE = 2048

#: The first byte of the binary protocol.
_BINARY = 0x80

# Bounds keep a single line from taking long.
_SPACE = rb" {1,9}"
# Control characters can be part of keys, but versions differ about some.
_TOKEN = rb"[^\x00-\x20\x7f]"
_KEY = rb"%b%b{1,250}" % (_SPACE, _TOKEN)
_KEYS = rb"(?:%b){1,2000}" % _KEY
_NUMBER = rb"%b\d{1,20}" % _SPACE
# Larger ones do not fit everywhere, and then the data is taken for a command.
_INT = rb"(?:1?\d{1,9}|20\d{8}|21[0-3]\d{7})"
_UNSIGNED = rb"(?:[1-3]?\d{1,9}|4[01]\d{8}|4294967295)"
_TIME = rb"%b-?%b" % (_SPACE, _INT)
_DATA = rb"%b%b%b%b%b(\d{1,9})" % (_KEY, _SPACE, _UNSIGNED, _TIME, _SPACE)
_FLAGS = rb"(?:%b(?!q)%b{1,250}){0,20}" % (_SPACE, _TOKEN)
_STATS = (
    rb"items|slabs|sizes|settings|conns|extstore|reset|detail (?:on|off|dump)"
    rb"|cachedump \d{1,9} \d{1,9}"
)

#: A line that has one response.  Its group is how many bytes of data follow.
_known = re.compile(
    rb"(?:%b) {0,9}\r?\n"
    % b"|".join(
        [
            rb"gets?%b" % _KEYS,
            rb"(?:set|add|replace|append|prepend)%b" % _DATA,
            rb"cas%b%b\d{1,19}" % (_DATA, _SPACE),
            rb"delete%b" % _KEY,
            rb"(?:incr|decr)%b%b" % (_KEY, _NUMBER),
            rb"touch%b%b" % (_KEY, _TIME),
            rb"gats?%b%b" % (_TIME, _KEYS),
            rb"m[adeg]%b%b" % (_KEY, _FLAGS),
            rb"mn|version|flush_all(?:%b)?|stats(?: (?:%b))?" % (_TIME, _STATS),
            rb"(?:verbosity|cache_memlimit)%b" % _NUMBER,
        ]
    )
).match
_quit = re.compile(rb"quit {0,9}\r?\n").match

_ITEMS = rb"(?:VALUE|VA|STAT|ITEM|PREFIX) "
#: Whole responses of the usual kinds, found in a third of the time it takes otherwise.
_short_response = re.compile(
    rb"(?!%b)[^\r\n]{0,99}\r\n|VALUE [^ \r\n]{1,250} \d{1,10} %b\r\nEND\r\n"
    % (_ITEMS, counted(rb"(?: \d+)?\r\n")),
    re.DOTALL,
).match
_value = re.compile(rb"VALUE [^ \r\n]+ \d+ (\d{1,18})(?: \d+)?\r\n").fullmatch
_meta_value = re.compile(rb"VA (\d{1,18})(?: [^\n]*)?\r\n").fullmatch
_is_item = re.compile(_ITEMS).match


class MemcachedFraming(Framing):
    """
    Clients share connections, except for requests after which it is not certain what comes next.
    """

    usage = "memcached"

    def __init__(self, argument: str, max_frame: int) -> None:
        if argument:
            raise FramingError("memcached, without an argument")
        self._max_frame = max_frame

    def requests(self) -> Framer:
        return _RequestFramer(self._max_frame)

    def responses(self) -> Framer:
        return LineFramer(_short_response, _response_lines, _response_lines, 1, self._max_frame)

    def session(self) -> Session:
        return _MemcachedSession()


class _MemcachedSession:
    """
    No request has to do with another.
    """

    __slots__ = ()

    def use(self, frame: bytes) -> Use:
        """
        See L{Session.use<fastcar_tw.relay.framing.Session.use>}.
        """
        if _known(frame) is not None:
            return Use.SHARED
        return Use.OWN if _quit(frame) is None else Use.LAST


class _ResponseLines(Lines):
    """
    The lines of responses.  A response goes on behind an item, and ends with any other line: END,
    an error in its place, or the only line that there is.
    """

    def read(self, line: bytes) -> Shape:
        if _is_item(line) is None:
            return 0, 0
        if line.startswith(b"VA"):
            match = _value(line) or _meta_value(line)
            if match is None:
                raise FrameError("expected a value's length in its line")
            return int(match[1]) + 2, line.startswith(b"VALUE")
        return 0, 1


_response_lines = _ResponseLines({b"END\r\n": (0, 0)})


class _RequestFramer:
    """
    Finds the ends of requests up to the first that it does not know; after that nothing is certain.
    """

    __slots__ = ("_in_data", "_lost", "_max_frame", "_missing", "_part")

    def __init__(self, max_frame: int) -> None:
        """
        @param max_frame: bytes of the largest frame.
        """
        self._max_frame = max_frame
        # What there is of a line, or of the CR LF behind data.
        self._part = bytearray()
        # Data are expected with their CR LF, of which so many bytes are missing before that.
        self._in_data = False
        self._missing = 0
        self._lost = False

    def feed(self, data: bytes) -> list[int]:
        """
        Find the ends, as L{Framer.feed<fastcar_tw.relay.framing.Framer.feed>} has it.
        """
        if self._lost:
            return []
        part = self._part
        before = len(part)
        if before:
            if not self._in_data and b"\n" not in data:
                part += data
                self._check_line(part, 0, len(part))
                return []
            data = bytes(part) + data
            part.clear()
        ends: list[int] = []
        try:
            at = self._find(data, ends)
        except FrameError as error:
            error.ends = [end - before for end in ends]
            raise
        self._missing = max(0, at - len(data))
        part += data[at:]
        return [end - before for end in ends] if before else ends

    def _find(self, data: bytes, ends: list[int]) -> int:
        """
        Add the ends.

        @return: where to go on; it may lie behind C{data}.
        """
        at, size = self._missing, len(data)
        while True:
            if self._in_data:
                if at + 2 > size:
                    return at
                at = self._end_data(data, at)
            elif at >= size:
                return at
            elif (match := _known(data, at)) is None:
                return self._unknown(data, at, ends)
            else:
                start, at = at, match.end()
                if at - start > MAX_LINE:
                    self._check_line(data, start, at - 1)
                if match.lastindex is not None:
                    at += int(match[match.lastindex])
                    self._begin_data(at + 2 - start)
                    continue
            ends.append(at)

    def _begin_data(self, size: int) -> None:
        if size > self._max_frame:
            raise FrameSizeError(self._max_frame)
        self._in_data = True

    def _end_data(self, data: bytes, at: int) -> int:
        self._in_data = False
        if data[at : at + 2] != b"\r\n":
            raise FrameError("expected CR LF behind as much data as were announced")
        return at + 2

    def _unknown(self, data: bytes, start: int, ends: list[int]) -> int:
        """
        There is no known line, or not all of it yet.

        @return: where to go on.
        """
        if data[start] == _BINARY:
            raise FrameError(
                "expected the text protocol (for the binary one there is --framing length:N:8:24)"
            )
        end = data.find(b"\n", start)
        self._check_line(data, start, len(data) if end < 0 else end)
        if end < 0:
            return start
        self._lost = True
        ends.append(end + 1)
        return len(data)

    def _check_line(self, data: bytes | bytearray, start: int, end: int) -> None:
        """
        @param end: where its LF is, or is missing.
        @raise FrameError: it is too long; memcached would close the connection.
        """
        if end - start > MAX_LINE and not data.startswith((b"get ", b"gets "), start):
            raise FrameError(f"expected a line of at most {MAX_LINE} bytes")
        if end - start >= self._max_frame:
            raise FrameSizeError(self._max_frame)
