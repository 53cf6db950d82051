"""
Redis' protocol, versions 2 and 3: C{--framing resp}.  See
https://redis.io/docs/latest/develop/reference/protocol-spec/.

Requests are read as Redis reads them, or more strictly.  What Redis answers with "Protocol error"
is no request here: it closes such a connection, which would take it from those who share it.

For which commands a connection cannot be shared was looked up in those of Redis 8 and Valkey 9.
Redis may know such a command by another name (C{rename-command}), or learn one from a module; that
cannot be seen from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fastcar_tw.relay.framing import FrameError, Framing, FramingError, Session, Use
from fastcar_tw.relay.framings.lines import LineFramer, Lines, Shape, counted

__all__ = ["RESPFraming"]

#: They change their connection for good, wait, or have none or many responses.
_OWN = frozenset(
    b"ASKING AUTH BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLIENT DEBUG HELLO"
    b" MONITOR PSUBSCRIBE PSYNC PUNSUBSCRIBE READONLY READWRITE REPLCONF SELECT SHUTDOWN SSUBSCRIBE"
    b" SUBSCRIBE SUNSUBSCRIBE SYNC UNSUBSCRIBE".split()
)
#: So do these, if one of their arguments is that.
_OWN_WITH = {
    b"CLUSTER": b"SYNCSLOTS",
    b"SCRIPT": b"DEBUG",
    b"XREAD": b"BLOCK",
    b"XREADGROUP": b"BLOCK",
}
_TRANSACTION = frozenset([b"DISCARD", b"EXEC", b"MULTI", b"RESET", b"UNWATCH", b"WATCH"])
#: They are about what was written before on the same connection, which was any.
_ABOUT_WRITES = frozenset([b"WAIT", b"WAITAOF"])
#: Redis closes the connection: a browser was made to send HTTP to it.
_HTTP = frozenset([b"HOST:", b"POST"])


def _beginnings(names: Iterable[bytes]) -> bytes:
    """
    @return: a pattern of words, grouped by their first letters: most others fail at that.
    """
    letters: dict[bytes, list[bytes]] = {}
    for name in sorted(names):
        letters.setdefault(name[:1], []).append(name[1:])
    return b"|".join(
        rb"[%b%b](?i:%b)" % (letter, letter.lower(), b"|".join(others))
        for letter, others in letters.items()
    )


#: What may be no ordinary command: it is inline, empty, or its name begins like one of those.
_is_special = re.compile(
    rb"[^*]|\*[0-]|\*\d+\r\n\$(?:[4-9]|\d\d+)\r\n(?:%b)"
    % _beginnings({*_OWN, *_OWN_WITH, *_TRANSACTION, *_ABOUT_WRITES, *_HTTP, b"QUIT"})
).match
_header = re.compile(rb"[*$](\d+)\r\n").match

#: A number as Redis reads it: no sign but minus, no leading zero.
_array = re.compile(rb"\*(0|-?[1-9]\d{0,17})\r\n").fullmatch
_bulk = re.compile(rb"\$(0|[1-9]\d{0,17})\r\n").fullmatch
_reply = re.compile(
    rb"[-+:,(#][^\r\n]*\r\n|_\r\n|[*$]-1\r\n"
    rb"|[$=!](?P<bulk>0|[1-9]\d{0,17})\r\n"
    rb"|[*~](?P<array>0|[1-9]\d{0,17})\r\n"
    rb"|%(?P<map>0|[1-9]\d{0,17})\r\n"
    rb"|\|(?P<attributes>0|[1-9]\d{0,17})\r\n"
).fullmatch


_STRING = rb"\$%b\r\n" % counted(rb"\r\n")
#: Whole requests and replies of the usual kinds, found in a fifth of the time it takes otherwise.
_short_request = re.compile(
    rb"\*(?:%b)" % b"|".join(rb"%d\r\n(?:%b){%d}" % (n, _STRING, n) for n in range(1, 6)), re.DOTALL
).match
_short_reply = re.compile(rb"[+:][^\r\n]{0,99}\r\n|" + _STRING, re.DOTALL).match


class _RequestLines(Lines):
    """
    The first lines of requests.
    """

    def read(self, line: bytes) -> Shape:
        if not line.startswith(b"*"):
            # Redis looks for the end of the line only up to a NUL.
            if b"\0" in line:
                raise FrameError("expected an inline command without NUL")
            return 0, 0
        match = _array(line)
        if match is None:
            raise FrameError("expected '*', the number of arguments and CR LF")
        return 0, max(0, int(match[1]))


class _ArgumentLines(Lines):
    """
    The lines before arguments.
    """

    def read(self, line: bytes) -> Shape:
        match = _bulk(line)
        if match is None:
            raise FrameError("expected '$', the length of an argument and CR LF")
        return int(match[1]) + 2, 0


class _ReplyLines(Lines):
    """
    The lines of responses.  Pushed ones (C{>}) are left out: no connection is shared that asked for
    them, as are streamed ones (C{$?}), which nobody sends.
    """

    def read(self, line: bytes) -> Shape:
        match = _reply(line)
        if match is None:
            raise FrameError("expected the type of a reply, what belongs to it, and CR LF")
        kind = match.lastgroup
        if kind is None:
            return 0, 0
        number = int(match[kind])
        if kind == "bulk":
            return number + 2, 0
        if kind == "array":
            return 0, number
        # The reply follows its attributes.
        return 0, 2 * number + (kind == "attributes")


_BULKS = {b"$%d\r\n" % length: (length + 2, 0) for length in range(2048)}
_ARRAYS = {b"*%d\r\n" % count: (0, count) for count in range(64)}

_requests = _RequestLines(_ARRAYS)
_arguments = _ArgumentLines(_BULKS)
_replies = _ReplyLines(
    {**_BULKS, **_ARRAYS, b"$-1\r\n": (0, 0), b"+OK\r\n": (0, 0), b"+QUEUED\r\n": (0, 0)}
)
_replies.update((b":%d\r\n" % number, (0, 0)) for number in range(1024))


class RESPFraming(Framing):
    """
    Clients share connections, except for commands that would change them for others.
    """

    usage = "resp"
    farewell = b"+OK\r\n"

    def __init__(self, argument: str, max_frame: int) -> None:
        if argument:
            raise FramingError("resp, without an argument")
        self._max_frame = max_frame

    def requests(self) -> LineFramer:
        return LineFramer(_short_request, _requests, _arguments, 6, self._max_frame)

    def responses(self) -> LineFramer:
        return LineFramer(_short_reply, _replies, _replies, 3, self._max_frame)

    def session(self) -> Session:
        return _RESPSession()

    def refusal(self, text: str) -> bytes:
        # phpredis takes most errors that begin with ERR for nothing found.
        return b"-FASTCAR %b\r\n" % text.encode("ascii", "replace")

    def is_error(self, response: bytes) -> bool:
        return response.startswith(b"-")


class _RESPSession:
    """
    Follows one client's transactions as Redis does.  Where it may see one that Redis does not, the
    request that ends it fails (see L{RESPFraming.is_error}); the other way round does not happen.
    """

    __slots__ = ("_multi", "_watching")

    def __init__(self) -> None:
        self._multi = False
        self._watching = False

    def use(self, frame: bytes) -> Use:
        """
        See L{Session.use<fastcar_tw.relay.framing.Session.use>}.
        """
        if _is_special(frame) is None:
            return Use.SHARED
        if frame.startswith(b"*"):
            return self._use(_read_arguments(frame))
        # These are Redis' to understand; people write them, not programs.
        if b'"' in frame or b"'" in frame:
            return Use.OWN
        return self._use(frame.split())

    def _use(self, arguments: list[bytes]) -> Use:
        if not arguments:
            return Use.NOTHING
        name = arguments[0].upper()
        if b"\0" in name:
            # Redis compares names up to a NUL only, if they happen to have the same hash.
            raise FrameError("expected the name of a command without NUL")
        if name in _HTTP:
            raise FrameError("expected a command of Redis, not HTTP")
        if name in _ABOUT_WRITES:
            raise FrameError("expected no WAIT or WAITAOF where connections are shared")
        if name == b"SELECT" and arguments[1:] == [b"0"]:
            # So it is already; some libraries always ask for it.
            return Use.SHARED
        if name in _OWN or (name in _OWN_WITH and _OWN_WITH[name] in map(_word, arguments)):
            return Use.OWN
        if name == b"QUIT":
            return Use.LAST
        return self._transaction(name, len(arguments))

    def _transaction(self, name: bytes, count: int) -> Use:
        if name == b"WATCH" and count > 1 and not self._multi:
            self._watching = True
            return Use.BEGINS
        # Redis refuses the others with arguments.
        if count > 1:
            return Use.SHARED
        if name == b"MULTI" and not self._multi:
            self._multi = True
            return Use.BEGINS
        if not self._ends(name):
            return Use.SHARED
        self._multi = self._watching = False
        return Use.ENDS

    def _ends(self, name: bytes) -> bool:
        if name in (b"EXEC", b"DISCARD"):
            # Outside of a transaction they fail, and keys stay watched.
            return self._multi
        if name == b"UNWATCH":
            # Inside of one it only waits for EXEC.
            return self._watching and not self._multi
        return name == b"RESET" and (self._watching or self._multi)


def _read_arguments(frame: bytes) -> list[bytes]:
    arguments = []
    at = frame.index(b"\n") + 1
    while at < len(frame):
        match = _header(frame, at)
        assert match is not None
        start = match.end()
        end = start + int(match[1])
        arguments.append(frame[start:end])
        at = end + 2
    return arguments


def _word(argument: bytes) -> bytes:
    """
    @return: what an argument is to Redis where it expects a word, the end of a long one left out.
    """
    return argument[:16].upper().partition(b"\0")[0]
