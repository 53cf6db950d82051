"""The load generator of bulk: one connection, one way. See bench.workers for how it is driven.

The answer is `bytes`, what has arrived, and `elapsed`, seconds until it had.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench import worker
from bench.relay.bulk import BulkError, download, upload
from bench.wire import Address
from bench.workers import LoadError


@dataclass(frozen=True)
class Job:
    """A slice of load on a port of 127.0.0.1; times in seconds."""

    port: int
    upward: bool
    warm_up: float
    duration: float

    def plain(self) -> dict[str, object]:
        """Return what the constructor takes, before it is JSON."""
        return asdict(self)


class _Load:
    """One connection after another."""

    def __init__(self, job: Job) -> None:
        self._address: Address = ("127.0.0.1", job.port)
        self._move: Callable[..., int] = upload if job.upward else download

    def run(self, seconds: float) -> dict[str, object]:
        """Load for so long on a new connection."""
        begun = time.monotonic()
        end = begun + seconds
        try:
            count = self._move(self._address, lambda _: time.monotonic() >= end)
        except BulkError as error:
            raise LoadError(str(error)) from None
        return {"bytes": count, "elapsed": time.monotonic() - begun}

    def close(self) -> None:
        """There is nothing that outlasts run()."""


def _perform(line: str) -> None:
    job = Job(**json.loads(line))
    load = _Load(job)
    worker.perform(load, job.warm_up, lambda: load.run(job.duration), lambda outcome: outcome)


if __name__ == "__main__":
    sys.exit(worker.serve(_perform))
