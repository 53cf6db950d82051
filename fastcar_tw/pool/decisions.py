"""
What a pool can decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic

from fastcar_tw.pool.lane import Attempt, C, K, W

__all__ = ["Assign", "Close", "Decision", "Open", "Refusal", "Refuse"]


class Refusal(Enum):
    """
    Why a request gets no connection.
    """

    #: Too many wait already.
    QUEUE_FULL = 1
    #: It has waited for too long.
    QUEUE_TIMEOUT = 2
    #: The attempt that was made for it has failed.
    ATTEMPT_FAILED = 3
    #: So many attempts have failed that none is made at present.
    FAILING = 4


@dataclass(slots=True)
class Assign(Generic[W, C]):
    """
    This connection is for this request.
    """

    waiter: W
    connection: C


@dataclass(slots=True)
class Open(Generic[K, C, W]):
    """
    Connect, and tell L{opened<fastcar_tw.pool.core.PoolCore.opened>} or
    L{open_failed<fastcar_tw.pool.core.PoolCore.open_failed>}.
    """

    attempt: Attempt[K, C, W]


@dataclass(slots=True)
class Close(Generic[C]):
    """
    Close this connection, which serves nobody, and tell
    L{closed<fastcar_tw.pool.core.PoolCore.closed>}.
    """

    connection: C


@dataclass(slots=True)
class Refuse(Generic[K, W]):
    """
    This request gets no connection.

    @ivar key: to whom it wanted one.
    @ivar error: why the last attempt to connect to its origin failed, if any did.
    @ivar retry_after: seconds after which another try makes sense.
    """

    key: K
    waiter: W
    refusal: Refusal
    error: object = None
    retry_after: float = 1.0


Decision = Assign[W, C] | Open[K, C, W] | Close[C] | Refuse[K, W]
