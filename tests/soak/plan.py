"""What is to become of each request: drawn from the seed and its number, alike on both sides."""

from __future__ import annotations

import random
from typing import NamedTuple

#: What follows a whole response.
KEEP, ANNOUNCED, UNSAID, RESET, EXTRA, LATE = range(6)
_AFTER = (KEEP, ANNOUNCED, UNSAID, RESET, EXTRA, LATE)
_AFTER_WEIGHTS = (80, 5, 5, 4, 3, 1)

#: How a response ends.
LENGTH, CHUNKED, UNTIL_CLOSE = range(3)
_FRAMINGS = (LENGTH, CHUNKED, UNTIL_CLOSE)
_FRAMING_WEIGHTS = (60, 35, 5)

_SIZES = (0, 1, 300, 3000, 20_000, 150_000)
_SIZE_WEIGHTS = (2, 1, 6, 5, 2, 1)


class Plan(NamedTuple):
    """One request, its response, and what goes wrong.

    `upload` and `download` are sizes of bodies. `pause`: seconds between the halves of the request,
    or until a client that `leaves` is gone. `cut`: where the response breaks off, as a part of its
    length, or None; it then `stalls` instead of ending. `early`: the origin answers before it has
    read the request's body; `unread`: it hangs up instead of reading it. `after`: see `KEEP`.
    """

    number: int
    method: bytes
    origin: int
    keyed: bool
    upload: int
    chunked: bool
    pause: float
    leaves: bool
    download: int
    framing: int
    interim: bool
    drops: bool
    early: bool
    unread: bool
    cut: float | None
    stalls: bool
    after: int

    @property
    def repeatable(self) -> bool:
        """It may be sent twice (RFC 9110 section 9.2.2)."""
        return self.keyed or self.method != b"POST"

    @property
    def fair(self) -> bool:
        """Its origin gives it a whole response, and its client waits for that."""
        harmed = self.leaves or self.unread or self.cut is not None
        return not harmed and self.after != RESET


def draw(seed: int, number: int, origins: int) -> Plan:
    """The plan of a request, to one of so many origins; the first is asked most."""
    rng = random.Random(f"{seed}/{number}")
    after = rng.choices(_AFTER, _AFTER_WEIGHTS)[0]
    method = rng.choices((b"GET", b"POST", b"HEAD"), (50, 45, 5))[0]
    posts = method == b"POST"
    return Plan(
        number=number,
        method=method,
        origin=min(rng.randrange(origins) for _ in range(2)),
        keyed=posts and rng.random() < 0.1,
        upload=_size(rng) if posts else 0,
        chunked=posts and rng.random() < 0.4,
        pause=rng.random() * 0.05 if rng.random() < 0.2 else 0.0,
        leaves=rng.random() < 0.02,
        # What is extra has to be read together with the response.
        download=min(_size(rng), 10_000) if after == EXTRA else _size(rng),
        framing=LENGTH if after == EXTRA else rng.choices(_FRAMINGS, _FRAMING_WEIGHTS)[0],
        interim=rng.random() < 0.1,
        drops=rng.random() < 0.1 and after != EXTRA,
        early=posts and rng.random() < 0.1,
        unread=rng.random() < 0.01,
        cut=rng.choice((0, rng.random() * 0.1, rng.random())) if rng.random() < 0.1 else None,
        stalls=rng.random() < 0.1,
        after=after,
    )


def _size(rng: random.Random) -> int:
    return int(rng.choices(_SIZES, _SIZE_WEIGHTS)[0] * (1 + rng.random()))


def upload(plan: Plan) -> bytes:
    """The body of the request."""
    return random.Random(plan.number).randbytes(plan.upload)


def download(plan: Plan) -> bytes:
    """The body of the response."""
    return random.Random(-1 - plan.number).randbytes(plan.download)
