"""What is to become of each request over HTTP/2: drawn from the seed and its number."""

from __future__ import annotations

import random
from typing import NamedTuple

from h2.errors import ErrorCodes

#: What the origin does: all that it should; not act on it, at first; reset it in the middle; answer
#: nonsense; or nothing.
WHOLE, REFUSED, RESET, MALFORMED, SILENT = range(5)
_FATES = (WHOLE, REFUSED, RESET, MALFORMED, SILENT)
_FATE_WEIGHTS = (820, 60, 80, 35, 5)

#: When a client leaves: while it sends, before there is a response, or in the middle of that.
STAYS, SENDING, WAITING, READING = range(4)
_LEAVES = (STAYS, SENDING, WAITING, READING)
_LEAVES_WEIGHTS = (95, 1, 2, 2)

_METHODS = (b"GET", b"HEAD", b"POST", b"PUT")
_METHOD_WEIGHTS = (45, 5, 35, 15)

_SIZES = (0, 1, 300, 3000, 20_000, 150_000)
_SIZE_WEIGHTS = (3, 1, 6, 5, 2, 1)
#: What fastcar reads at once, and can therefore send again.
_READ_AT_ONCE = 8000

#: One asks for another protocol, and one says that the request was not acted on.
_CODES = [int(code) for code in ErrorCodes if code not in (ErrorCodes.HTTP_1_1_REQUIRED, 7)]
_UNKNOWN_CODE = 0xFA57CA12

#: Requests from this number on have nothing to fear.
CALM = 1_000_000_000


class Plan(NamedTuple):
    """One request, its response, and what goes wrong.

    `upload` and `download` are sizes of bodies. `trailers`: of the request; `trailed`: of the
    response. `sized`: the response tells its length. `pause`: seconds between the halves of the
    request. `slow`: the client takes its time to read. `hold`: seconds until the origin acts.
    `early`: it answers before it has the request's body. `drops`: the response comes in pieces;
    `padded`: with padding. `refusals`: how often it is refused. `code`: of a reset; `cut`: where
    that comes, as a part of the response's length; None: before it.
    """

    number: int
    method: bytes
    origin: int
    keyed: bool
    upload: int
    chunked: bool
    trailers: bool
    pause: float
    leaves: int
    download: int
    sized: bool
    trailed: bool
    slow: bool
    hold: float
    interim: bool
    early: bool
    drops: bool
    padded: bool
    fate: int
    refusals: int
    code: int
    cut: float | None

    @property
    def has_upload(self) -> bool:
        """The request says that it has a body, if an empty one."""
        return self.method in (b"POST", b"PUT")

    @property
    def repeatable(self) -> bool:
        """It may be acted on twice (RFC 9110 section 9.2.2)."""
        return self.keyed or self.method != b"POST"

    @property
    def fair(self) -> bool:
        """Its origin gives it a whole response, sooner or later, and its client waits for that."""
        return self.fate in (WHOLE, REFUSED) and self.leaves == STAYS

    @property
    def whole_at_once(self) -> bool:
        """It can be sent again, if nobody has acted on it."""
        return self.upload <= _READ_AT_ONCE and not self.pause


def draw(seed: int, number: int, origins: int) -> Plan:
    """The plan of a request, to one of so many origins; the first is asked most."""
    rng = random.Random(f"{seed}/{number}")
    method = rng.choices(_METHODS, _METHOD_WEIGHTS)[0]
    uploads = method in (b"POST", b"PUT")
    calm = number >= CALM
    slow = rng.random() < 0.04
    chunked = uploads and rng.random() < 0.4
    sized = rng.random() < 0.6
    cut = rng.choice((None, 0.0, rng.random() * 0.1, rng.random(), 1.0))
    return Plan(
        number=number,
        method=method,
        origin=min(rng.randrange(origins) for _ in range(2)),
        keyed=method == b"POST" and rng.random() < 0.1,
        upload=_size(rng) if uploads else 0,
        chunked=chunked,
        trailers=chunked and rng.random() < 0.3,
        pause=rng.random() * 0.05 if rng.random() < 0.15 else 0.0,
        leaves=STAYS if calm else rng.choices(_LEAVES, _LEAVES_WEIGHTS)[0],
        download=_size(rng) * 4 if slow else _size(rng),
        sized=sized,
        trailed=method != b"HEAD" and rng.random() < 0.15,
        slow=slow,
        hold=rng.expovariate(50) if rng.random() < 0.4 else 0.0,
        interim=rng.random() < 0.1,
        early=uploads and rng.random() < 0.1,
        drops=rng.random() < 0.15,
        padded=rng.random() < 0.1,
        fate=WHOLE if calm else rng.choices(_FATES, _FATE_WEIGHTS)[0],
        refusals=rng.choice((1, 1, 2)),
        code=rng.choice(_CODES if rng.random() < 0.9 else (_UNKNOWN_CODE,)),
        cut=cut,
    )


def _size(rng: random.Random) -> int:
    return int(rng.choices(_SIZES, _SIZE_WEIGHTS)[0] * (1 + rng.random()))


def upload(plan: Plan) -> bytes:
    """The body of the request."""
    return random.Random(plan.number).randbytes(plan.upload)


def download(plan: Plan) -> bytes:
    """The body of the response."""
    if plan.method == b"HEAD":
        return b""
    return random.Random(-1 - plan.number).randbytes(plan.download)
