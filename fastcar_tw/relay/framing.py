"""
Framings: how requests and responses are told apart in streams of bytes, so that many clients can
share few connections to a backend.

A framing is a class named in C{--framing}, by a short name or by its place in Python::

    --framing eof:\\r\\n
    --framing my_package.netstring.NetstringFraming

What follows the name and a colon is for the class to understand.  To add one, subclass L{Framing};
docs/relay.md has an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from twisted.python.reflect import namedAny

__all__ = [
    "FRAMINGS",
    "FrameError",
    "FrameSizeError",
    "Framer",
    "Framing",
    "FramingError",
    "Session",
    "SizedFramer",
    "Use",
    "parse_framing",
]

#: The framings that have a short name, and their places in Python.  They are imported only if they
#: are asked for.
FRAMINGS: dict[str, str] = {
    "eof": "fastcar_tw.relay.framings.eof.EOFFraming",
    "length": "fastcar_tw.relay.framings.length.LengthFraming",
    "memcached": "fastcar_tw.relay.framings.memcached.MemcachedFraming",
    "resp": "fastcar_tw.relay.framings.resp.RESPFraming",
}


class FramingError(ValueError):
    """
    A text of C{--framing} names nothing of use.

    @ivar expected: what would do.
    @ivar reason: where there is one, what else there is to say.
    """

    def __init__(self, expected: str, reason: str = "") -> None:
        super().__init__(f"--framing: expected {expected}" + (f" ({reason})" if reason else ""))
        self.expected = expected
        self.reason = reason


class FrameError(ValueError):
    """
    What was received is no frame, or one that is too large.  The message says what was expected,
    without a byte of the frame itself.

    @ivar ends: of the frames before it, as L{Framer.feed} has them.
    """

    ends: Sequence[int] = ()


class FrameSizeError(FrameError):
    """
    A frame is larger than C{--max-frame} allows, or too small to be one.
    """

    def __init__(self, max_frame: int, min_frame: int = 1) -> None:
        super().__init__(f"expected a frame of {min_frame} to {max_frame} bytes (--max-frame)")


class Framer(Protocol):
    """
    Finds the ends of frames in one direction of a connection.
    """

    def feed(self, data: bytes) -> list[int]:
        """
        Look at the bytes that follow those looked at before.

        @return: for each frame that ends in C{data} the offset behind its last byte, ascending.
        @raise FrameError: what follows the last whole frame cannot be one; nothing more is fed.
            Whole frames in C{data} are lost, unless it has their C{ends}.
        """


class SizedFramer:
    """
    A L{Framer} of frames whose first bytes tell their size.  How, a subclass says in L{frame_size};
    no more than those bytes are kept, however large a frame is.

    @cvar max_head: the bytes within which a frame tells its size.
    """

    __slots__ = ("_head", "_max_frame", "_missing")

    max_head = 64

    def __init__(self, max_frame: int) -> None:
        """
        @param max_frame: bytes of the largest frame.
        """
        self._max_frame = max_frame
        #: What there is of a frame that has not told its size yet.
        self._head = b""
        #: How many bytes the frame that has told it still needs.
        self._missing = 0

    def frame_size(self, data: bytes, start: int) -> int | None:
        """
        @param data: whose byte C{start} is a frame's first.  It may end too early, and it may go on
            behind the frame.
        @return: how many bytes the whole frame has, those that tell it included; None: C{data} ends
            before this can be told.
        @raise FrameError: no frame begins so.
        """
        raise NotImplementedError

    def feed(self, data: bytes) -> list[int]:
        """
        Find the ends, as L{Framer.feed} has it.
        """
        before = len(self._head)
        if before:
            data = self._head + data
        end = self._missing
        ends = [end] if end else []
        try:
            self._find(data, end, ends)
        except FrameError as error:
            error.ends = [end - before for end in ends]
            raise
        size = len(data)
        if ends:
            end = ends[-1]
            if end > size:
                ends.pop()
        self._missing = max(0, end - size)
        self._head = data[end:]
        return [end - before for end in ends] if before else ends

    def _find(self, data: bytes, start: int, ends: list[int]) -> None:
        """
        Add the ends of all frames that tell their size in C{data}; the last may lie behind it.

        @param start: where the first of them begins; it may lie behind C{data}.
        """
        size = len(data)
        while start < size:
            length = self.frame_size(data, start)
            if length is None:
                if size - start >= self.max_head:
                    raise FrameError(f"expected a frame's size in its first {self.max_head} bytes")
                return
            if not 0 < length <= self._max_frame:
                raise FrameSizeError(self._max_frame)
            start += length
            ends.append(start)


class Use(Enum):
    """
    What a request does to the connection that it is sent on.
    """

    #: It has one response, and then the connection is as it was.
    SHARED = "shared"
    #: So has it, but the connection must stay with this client...
    BEGINS = "begins"
    #: ...until a request of this kind has its response.
    ENDS = "ends"
    #: The connection is this client's until it leaves, and nothing more is told apart on it.
    OWN = "own"
    #: It has no response, and can be left out.
    NOTHING = "nothing"
    #: Its client wants to leave: it is told L{Framing.farewell}, and backends need not know.
    LAST = "last"


class Session(Protocol):
    """
    What the requests of one client have to do with one another.
    """

    def use(self, frame: bytes) -> Use:
        """
        @param frame: the client's next request.
        @raise FrameError: it is none.
        """


class Framing:
    """
    How one protocol is told apart: a request is one frame, and so is its response.

    @cvar usage: how it is asked for, to be shown in errors.
    @cvar farewell: what a client is told that asks to leave (L{Use.LAST}).
    """

    usage: str
    farewell: bytes = b""

    def __init__(self, argument: str, max_frame: int) -> None:
        """
        @param argument: what followed the name and a colon; empty: nothing did.
        @param max_frame: bytes of the largest frame.
        @raise FramingError: C{argument} cannot be understood.
        """

    def requests(self) -> Framer:
        """
        @return: for the requests of one client.
        """
        raise NotImplementedError

    def responses(self) -> Framer:
        """
        @return: for the responses on one connection to a backend.
        """
        raise NotImplementedError

    def session(self) -> Session | None:
        """
        @return: for one client; None: all requests of all clients are L{Use.SHARED}.
        """
        return None

    def refusal(self, text: str) -> bytes | None:
        """
        @param text: why a request was not carried out; one line of ASCII.
        @return: the response that says so; None: there is no such response, and the client is
            closed.
        """
        return None

    def is_error(self, response: bytes) -> bool:
        """
        @param response: the beginning of the response to a request that L{Use.ENDS} what another
            has begun.
        @return: whether it failed, so that the connection may not be as it was.
        """
        return False


_EXPECTED = "a subclass of fastcar_tw.relay.framing.Framing"


def parse_framing(text: str, max_frame: int) -> Framing:
    """
    Make the framing that a text asks for.

    @param max_frame: bytes of the largest frame.
    @raise FramingError: there is none, or it does not understand its argument.
    """
    name, _, argument = text.partition(":")
    place = FRAMINGS.get(name, name)
    if "." not in place:
        raise FramingError(f"{', '.join(sorted(FRAMINGS))} or the place of a class in Python")
    try:
        found = namedAny(place)
    except Exception as error:
        # Whatever the module does when it is imported may fail.
        raise FramingError("the place of a class in Python", str(error)) from None
    if not (isinstance(found, type) and issubclass(found, Framing)):
        raise FramingError(_EXPECTED, f"{place} is not one")
    try:
        framing = found(argument, max_frame)
    except FramingError:
        raise
    except Exception as error:
        raise FramingError(_EXPECTED, f"{place}(argument, max_frame): {error}") from None
    return framing
