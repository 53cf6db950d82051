"""
What a relay has done and is doing, in numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastcar_tw.pool.stats import PoolStats
from fastcar_tw.upstream.backends import Backend


@dataclass(slots=True)
class Traffic:
    """
    What has passed between clients and one backend.

    @ivar owned: clients that have a connection to it of their own now.
    @ivar served: connections to it so far that were for one client only.
    @ivar requests: sent to it over shared connections so far.
    @ivar responses: received from it there.
    @ivar sent: bytes sent to it.
    @ivar received: bytes received from it.
    """

    owned: int = 0
    served: int = 0
    requests: int = 0
    responses: int = 0
    sent: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class RelayStats:
    """
    A snapshot.

    @ivar clients: connected now.
    @ivar accepted: clients so far.
    @ivar refused: clients so far that were one too many.
    @ivar pool: the connections to backends, and who waits for one.
    @ivar traffic: by backend.
    """

    clients: int
    accepted: int
    refused: int
    pool: PoolStats[Backend]
    traffic: Mapping[Backend, Traffic] = field(default_factory=dict)
