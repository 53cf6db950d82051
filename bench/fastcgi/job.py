"""A slice of load, as the worker is told it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class GroupJob:
    """What a group of clients does: each begins after its delay; `every`: as in scenarios.Group.

    Times in seconds.
    """

    delays: list[float]
    request: str  # latin-1
    expected: str | int  # body (latin-1), or its length
    every: float


@dataclass(frozen=True)
class Job:
    """A slice of load on a port of 127.0.0.1. Times in seconds."""

    port: int
    warm_up: float
    duration: float
    timeout: float
    groups: list[GroupJob]

    @classmethod
    def of(cls, line: str) -> Job:
        """Return the job of one line of input."""
        fields = json.loads(line)
        groups = [GroupJob(**each) for each in fields.pop("groups")]
        return cls(groups=groups, **fields)

    def plain(self) -> dict[str, object]:
        """Return what `of` reads, before it is JSON."""
        return asdict(self)
