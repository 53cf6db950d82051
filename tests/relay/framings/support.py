"""
What the tests of framings have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastcar_tw.relay.framing import FrameError, Framer

__all__ = ["bytewise", "ends", "every_split", "fails"]


def bytewise(stream: bytes) -> list[bytes]:
    """
    @return: each byte as a chunk of its own.
    """
    return [stream[index : index + 1] for index in range(len(stream))]


def ends(framer: Framer, chunks: Iterable[bytes]) -> list[int]:
    """
    Feed chunk by chunk.

    @return: the offsets of the frames' ends, counted from the first byte of the first chunk.
    """
    found: list[int] = []
    before = 0
    for chunk in chunks:
        offsets = framer.feed(chunk)
        assert offsets == sorted(set(offsets)), f"not ascending: {offsets}"
        assert not offsets or 0 < offsets[0] <= offsets[-1] <= len(chunk), f"outside: {offsets}"
        found += [before + offset for offset in offsets]
        before += len(chunk)
    return found


def every_split(make_framer: Callable[[], Framer], stream: bytes) -> list[int]:
    """
    Assert that it does not matter how a stream is split: in two chunks, split anywhere, and byte by
    byte it has the same frames as at once.

    @return: the offsets of the frames' ends.
    """
    whole = ends(make_framer(), [stream])
    assert ends(make_framer(), bytewise(stream)) == whole, "byte by byte it has other frames"
    for at in range(len(stream) + 1):
        parts = ends(make_framer(), [stream[:at], stream[at:]])
        assert parts == whole, f"split at {at} it has the ends {parts}, whole {whole}"
    return whole


def fails(make_framer: Callable[[], Framer], stream: bytes) -> str:
    """
    Assert that what is wrong with a stream is found, however it is split.

    @return: what the error says.
    """
    said = {_error(make_framer(), [stream[:at], stream[at:]]) for at in range(len(stream) + 1)}
    said.add(_error(make_framer(), bytewise(stream)))
    assert len(said) == 1, f"split differently it says different things: {said}"
    return said.pop()


def _error(framer: Framer, chunks: list[bytes]) -> str:
    try:
        found = ends(framer, chunks)
    except FrameError as error:
        return str(error)
    raise AssertionError(f"no error, but frames that end at {found}")
