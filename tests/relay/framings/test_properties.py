"""What holds for the frames of any stream, however it is cut."""

from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.framing import FrameError, Framer
from fastcar_tw.relay.framings.eof import EOFFramer, EOFFraming
from fastcar_tw.relay.framings.length import LengthFraming
from tests.relay.framings.support import ends

quick = settings(max_examples=300, derandomize=True, deadline=None, database=None)

MAX_FRAME = 40

#: Few different bytes, so that terminators are met, and met in part.
few = st.sampled_from([b"a", b"b", b"c"])
terminators = st.lists(few, min_size=1, max_size=5).map(b"".join)
streams = st.lists(few, max_size=60).map(b"".join)

cuts = st.lists(st.integers(0, 200), max_size=12)


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    """The stream in chunks; some may be empty."""
    places = [0, *sorted(place for place in at if place <= len(stream)), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


def outcome(framer: Framer, chunks: list[bytes]) -> list[int] | None:
    """The ends; None: there is an error."""
    try:
        return ends(framer, chunks)
    except FrameError:
        return None


def searched(stream: bytes, terminator: bytes) -> list[int] | None:
    """The ends that a search of the whole stream finds; None: a frame is too large."""
    found = [0]
    while (at := stream.find(terminator, found[-1])) >= 0:
        found.append(at + len(terminator))
        if found[-1] - found[-2] > MAX_FRAME:
            return None
    return None if len(stream) - found[-1] >= MAX_FRAME else found[1:]


def counted(stream: bytes, code: str, offset: int, body_offset: int) -> list[int] | None:
    """The ends by the definition of swoole's options; None: a length is out of bounds."""
    found = [0]
    header = offset + struct.calcsize(code)
    while len(rest := stream[found[-1] :]) >= header:
        size = body_offset + struct.unpack(code, rest[offset:header])[0]
        if size < header or size > MAX_FRAME:
            return None
        if size > len(rest):
            break
        found.append(found[-1] + size)
    return found[1:]


class EOF(SynchronousTestCase):
    """Frames that end with a terminator."""

    @quick
    @given(terminators, streams, cuts)
    def test_as_searched(self, terminator: bytes, stream: bytes, at: list[int]) -> None:
        """In any chunks there are the frames, or the error, that a search of the stream finds."""
        found = outcome(EOFFramer(terminator, MAX_FRAME), cut(stream, at))
        self.assertEqual(found, searched(stream, terminator))

    @quick
    @given(st.binary(min_size=1, max_size=6))
    def test_any_terminator(self, terminator: bytes) -> None:
        """Any bytes can be written as a terminator."""
        text = "".join(f"\\x{byte:02x}" for byte in terminator)
        framer = EOFFraming(text, MAX_FRAME).requests()
        self.assertEqual(framer.feed(terminator * 2), [len(terminator), 2 * len(terminator)])


class Length(SynchronousTestCase):
    """Frames that tell their length."""

    @quick
    @given(
        st.sampled_from([("C", "B"), ("n", ">H"), ("v", "<H"), ("N", ">I"), ("J", ">Q")]),
        st.integers(0, 6),
        st.integers(0, 12),
        st.lists(st.tuples(st.integers(0, 45), st.integers(-2, 2)), max_size=6),
        cuts,
    )
    def test_as_counted(
        self,
        kind: tuple[str, str],
        offset: int,
        body_offset: int,
        frames: list[tuple[int, int]],
        at: list[int],
    ) -> None:
        """In any chunks there are the frames, or the error, that the definition has."""
        letter, code = kind
        # The length that is written, and how many bytes more or less than that there are.
        stream = b"".join(
            (bytes(offset) + struct.pack(code, length)).ljust(body_offset + length + more, b"\1")
            for length, more in frames
        )
        framer = LengthFraming(f"{letter}:{offset}:{body_offset}", MAX_FRAME).requests()
        found = outcome(framer, cut(stream, at))
        self.assertEqual(found, counted(stream, code, offset, body_offset))
