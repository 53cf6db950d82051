"""What is asked of each fastcar."""

from __future__ import annotations

from dataclasses import dataclass

from bench.arguments import matching
from bench.http2.loads import Burst, Kind, Requests, Transfer
from bench.http2.origin import SLOW
from bench.scenarios import SMALL

CLIENT_COUNTS = (1, 16, 200)
RTTS = (0.0, 0.02)
DOWNLOAD, UPLOAD = 100 * 10**6, 50 * 10**6
_MB = 10**6


@dataclass(frozen=True)
class Scenario:
    """A kind of load, and the seconds of a round trip between fastcar and the origin.

    `cold`: fastcar has just been started, so it has no connection yet and knows nothing of the
    origin.
    """

    name: str
    kind: Kind
    rtt: float = 0.0
    cold: bool = False


def _name(*parts: str | int, rtt: float) -> str:
    return "-".join(map(str, parts)) + (f"-{rtt * 1000:.0f}ms" if rtt else "")


def _all() -> list[Scenario]:
    most = CLIENT_COUNTS[-1]
    warm = [
        Scenario(_name("warm", count, rtt=rtt), Requests(count, SMALL.path), rtt)
        for rtt in RTTS
        for count in CLIENT_COUNTS
    ]
    cold = [
        Scenario(_name("cold", count, rtt=rtt), Burst(count, SMALL.path), rtt, cold=True)
        for rtt in RTTS
        for count in CLIENT_COUNTS
    ]
    # Some waves of answers in each slice.
    slow = [
        Scenario(f"slow-warm-{most}", Requests(most, SLOW, longer=2.0)),
        Scenario(f"slow-cold-{most}", Burst(most, SLOW), cold=True),
    ]
    bulk = [
        Scenario(_name(way, size // _MB, rtt=rtt), Transfer(size, upward=way == "up"), rtt)
        for rtt in RTTS
        for way, size in (("down", DOWNLOAD), ("up", UPLOAD))
    ]
    return warm + cold + slow + bulk


ALL = _all()


def select(patterns: str) -> list[Scenario]:
    """Return the scenarios that match one of the patterns. Raises ValueError like matching()."""
    return matching(patterns, ALL)
