"""What the tests of handshakes have in common."""

from __future__ import annotations

from collections.abc import Iterable

from fastcar_tw.routes.handshake import Handshake


def run(handshake: Handshake, pieces: Iterable[bytes]) -> list[bytes]:
    """Start a handshake, give it these pieces until it is done, and return what it says.  What
    comes when it is done goes past it."""
    said = [handshake.start()]
    for piece in pieces:
        if handshake.done:
            handshake.leftover += piece
        else:
            said.append(handshake.receive(piece))
    return [each for each in said if each]


def bytewise(data: bytes) -> list[bytes]:
    """One byte at a time."""
    return [data[index : index + 1] for index in range(len(data))]
