"""What is asked of every contestant."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bench.arguments import matching


@dataclass(frozen=True)
class Resource:
    """Something the origin serves."""

    path: str
    body: bytes


SMALL = Resource(
    "/small",
    b'{"id": 4711, "name": "benchmark", "tags": ["a", "b"], "active": true, "note": "about 100 B"}',
)
LARGE = Resource("/large", os.urandom(1 << 20))
CLIENT_COUNTS = (1, 16)


@dataclass(frozen=True)
class Scenario:
    """One row group of the report; `fresh` means a new connection for every request."""

    scheme: str
    fresh: bool
    clients: int
    resource: Resource

    @property
    def name(self) -> str:
        """Return the name used on the command line and in the report."""
        kind = "1mib" if self.resource is LARGE else "fresh" if self.fresh else "kept"
        return f"{self.scheme}-{kind}-{self.clients}"


def all_scenarios() -> list[Scenario]:
    """Return the full matrix, in report order."""
    small = [
        Scenario(scheme, fresh, clients, SMALL)
        for scheme in ("http", "https")
        for fresh in (True, False)
        for clients in CLIENT_COUNTS
    ]
    large = [Scenario(scheme, False, CLIENT_COUNTS[-1], LARGE) for scheme in ("http", "https")]
    return small + large


def select(patterns: str) -> list[Scenario]:
    """Return the scenarios whose name matches one of the comma-separated shell patterns.

    Raises ValueError for a pattern that matches none.
    """
    return matching(patterns, all_scenarios())
