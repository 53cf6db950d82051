"""Requests, and answers that prove whose they are, in the frames of two framings."""

from __future__ import annotations

import random
import zlib
from typing import NamedTuple

_SIZES = (0, 10, 300, 3000, 20_000, 150_000, 500_000)
_SIZE_WEIGHTS = (200, 600, 600, 400, 80, 30, 1)
#: Payloads from here on are not answered with more than they are.
_LARGE = 1 << 19
#: What is sent behind an answer although nobody has asked for it.
POISON = b"0 0 0 0|poison"


class Request(NamedTuple):
    """A client's request with this number, to be answered with `copies` of its payload, reversed.

    `alone`: the client sends no other before it has the answer.
    """

    client: int
    number: int
    copies: int
    alone: bool
    payload: bytes

    @property
    def key(self) -> tuple[int, int]:
        """What no other request has."""
        return self.client, self.number

    def encode(self) -> bytes:
        """What a frame carries."""
        head = (self.client, self.number, self.copies, self.alone, zlib.crc32(self.payload))
        return b"%d %d %d %d %d|%b" % (*head, self.payload)

    @classmethod
    def decode(cls, body: bytes) -> Request:
        """The inverse. Raises ValueError if it has not come as it was sent."""
        head, _, payload = body.partition(b"|")
        client, number, copies, alone, checksum = map(int, head.split())
        if zlib.crc32(payload) != checksum:
            raise ValueError(f"request {number} of client {client} has changed on the way")
        return cls(client, number, copies, bool(alone), payload)

    def answer(self, connection: int, serial: int) -> bytes:
        """The answer on a backend's connection, where no other has this serial number."""
        head = b"%d %d %d %d|" % (self.client, self.number, connection, serial)
        return head + self._answered()

    def check(self, body: bytes) -> tuple[int, int]:
        """The connection and the serial number of the answer. Raises ValueError: it is none."""
        head, _, payload = body.partition(b"|")
        client, number, connection, serial = map(int, head.split())
        if (client, number) != self.key or payload != self._answered():
            raise ValueError("no answer, or another's")
        return connection, serial

    def begins(self, part: bytes) -> bool:
        """Whether an answer may begin so."""
        start = b"%d %d " % self.key
        head, _, payload = part.partition(b"|")
        return head[: len(start)] == start[: len(head)] and self._answered().startswith(payload)

    def _answered(self) -> bytes:
        return self.payload[::-1] * self.copies


class Frames:
    """How frames are told apart."""

    #: For --framing.
    option: str

    def encode(self, body: bytes) -> bytes:
        """A frame."""
        raise NotImplementedError

    def take(self, received: bytearray) -> bytes | None:
        """Take what the first frame carries away; None: it is not whole yet."""
        raise NotImplementedError

    def part(self, received: bytearray) -> bytes:
        """What there is so far of what a frame carries that is not whole yet."""
        raise NotImplementedError

    def fit(self, payload: bytes) -> bytes:
        """Change what a frame cannot carry."""
        return payload


class LengthFrames(Frames):
    """Four bytes say how many follow."""

    option = "length:N:0:4"

    def encode(self, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + body

    def take(self, received: bytearray) -> bytes | None:
        end = 4 + int.from_bytes(received[:4], "big")
        if len(received) < max(end, 4):
            return None
        body = bytes(received[4:end])
        del received[:end]
        return body

    def part(self, received: bytearray) -> bytes:
        return bytes(received[4:])


class EOFFrames(Frames):
    """A line each."""

    option = "eof:\\n"

    def encode(self, body: bytes) -> bytes:
        return body + b"\n"

    def take(self, received: bytearray) -> bytes | None:
        end = received.find(b"\n")
        if end < 0:
            return None
        body = bytes(received[:end])
        del received[: end + 1]
        return body

    def part(self, received: bytearray) -> bytes:
        return bytes(received)

    def fit(self, payload: bytes) -> bytes:
        return payload.replace(b"\n", b"\r")


def draw(rng: random.Random, frames: Frames, key: tuple[int, int], *, alone: bool) -> Request:
    """A request of some size."""
    size = int(rng.choices(_SIZES, _SIZE_WEIGHTS)[0] * (1 + rng.random()))
    copies = rng.choice((0, 1, 1, 1, 2)) if size < _LARGE else 1
    return Request(*key, copies, alone, frames.fit(rng.randbytes(size)))
