"""What is asked through every relay."""

from __future__ import annotations

from dataclasses import dataclass

from bench.arguments import matching
from bench.relay import backends
from bench.relay.backends import Start
from bench.relay.generators import Bulk, Kind, Requests
from bench.relay.redis import RedisCommands

_LINES = "eof:\\n"
_CLIENTS = 32


@dataclass(frozen=True)
class Scenario:
    """A kind of load, what answers it, and the framing by which a relay can pool it."""

    name: str
    backend: Start
    kind: Kind
    framing: str = ""


def _redis(test: str, depth: int) -> Scenario:
    name = test.removesuffix("_mbulk")
    kind = RedisCommands(test, _CLIENTS, depth)
    return Scenario(f"redis-{name}-{depth}", backends.redis, kind, "resp")


ALL = (
    Scenario("small-32", backends.echo, Requests(_CLIENTS), _LINES),
    _redis("ping_mbulk", 1),
    Scenario("down-1", backends.bulk, Bulk(1, upward=False)),
    Scenario("up-1", backends.bulk, Bulk(1, upward=True)),
    Scenario("down-4", backends.bulk, Bulk(4, upward=False)),
    Scenario("up-4", backends.bulk, Bulk(4, upward=True)),
    Scenario("pipelined-32", backends.echo, Requests(_CLIENTS, depth=32), _LINES),
    Scenario("connect-32", backends.echo, Requests(_CLIENTS, fresh=True), _LINES),
    _redis("set", 1),
    _redis("get", 1),
    _redis("set", 16),
    _redis("get", 16),
)


def select(patterns: str) -> list[Scenario]:
    """Return the scenarios that match one of the patterns. Raises ValueError like matching()."""
    return matching(patterns, ALL)
