"""
What an origin says about how long its connection may be kept: the field
C{Keep-Alive: timeout=5, max=100} of a response.

It stands in RFC 2068 section 19.7.1.1 and in draft-thomson-hybi-http-timeout-03, no RFC since has
taken it up, and origins write it as they like.  It is a hint that saves a failure, so whatever it
says otherwise is no limit, and never an error.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

#: Seconds before the announced end from which on a connection is not used any more; of an
#: announcement below two seconds it is the half.
#:
#: The origin's clock starts when it has written its response, ours when we have read it, and our
#: next request has to reach the origin before its clock runs out: that is one round trip, 0.3 s
#: around the world.  The rest covers one lost packet (0.2 s is Linux's shortest retransmission
#: timeout), origins whose clocks tick in large steps, and a moment in which either side is busy.
MARGIN = 1.0
#: Requests that are not made although an origin would allow them: some count the one just answered.
SPARED_REQUESTS = 1

#: Bytes of a value whose meaning is remembered.
_MAX_REMEMBERED = 64

#: Nine digits are 31 years of seconds: a longer number is no limit.
_PARAMETER = re.compile(
    rb"""(?<![^,;\s"'])(timeout|max)\s*=\s*["']?([0-9]{1,9})(?![^,;\s"'])""", re.IGNORECASE
)


class KeepAlive(NamedTuple):
    """
    What a Keep-Alive field says.

    @ivar timeout: seconds after which the origin closes the connection if it is idle; None: it
        does not say.
    @ivar max: requests the origin answers on the connection after this one; None: it does not say.
    """

    timeout: float | None = None
    max: int | None = None


def parse_keep_alive(value: bytes) -> KeepAlive:
    """
    Understand the value of a Keep-Alive field, or of several, joined by commas.

    Order, case, white space and quotation marks do not matter.  Of a parameter that stands more
    than once the smallest value counts; what is not understood is ignored.
    """
    return _remembered(value) if len(value) <= _MAX_REMEMBERED else _parse(value)


def usable_idle_time(timeout: float) -> float:
    """
    How many seconds a connection can be idle and still be used without fear that its origin is
    closing it just then.

    That is the timeout the origin announced without L{MARGIN}, or the half of it if that is more: 5
    gives 4, 2 gives 1, 1 gives 0.5, and 0 gives 0, which is never.
    """
    return timeout - min(MARGIN, timeout / 2)


def _parse(value: bytes) -> KeepAlive:
    timeout: float | None = None
    most: int | None = None
    for match in _PARAMETER.finditer(value):
        number = int(match[2])
        if match[1].lower() == b"max":
            most = number if most is None else min(most, number)
        else:
            timeout = float(number) if timeout is None else min(timeout, float(number))
    return KeepAlive(timeout, most)


#: Most origins send one value; Apache counts max down from 100.
_remembered = lru_cache(256)(_parse)
