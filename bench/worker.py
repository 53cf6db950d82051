"""A worker's own side of what bench.workers drives."""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from bench.workers import LoadError

T = TypeVar("T")


class Load(Protocol):
    """The clients of one job."""

    def run(self, seconds: float) -> object:
        """Load for so long."""

    def close(self) -> None:
        """Close all connections."""


def perform(
    load: Load, warm_up: float, run: Callable[[], T], measured: Callable[[T], Mapping[str, object]]
) -> None:
    """Warm up, wait to be let go, and answer what `run` gave, with the CPU seconds it took."""
    try:
        load.run(warm_up)
        _answer("ready")
        if sys.stdin.readline() != "go\n":
            return
        before = _cpu()
        outcome = run()
        cpu = _cpu() - before
        _answer(json.dumps({"cpu": cpu, **measured(outcome)}))
    finally:
        load.close()


def serve(perform_job: Callable[[str], None]) -> int:
    """Perform jobs, a line each, until the end of standard input. Returns the exit status."""
    gc.disable()
    for line in sys.stdin:
        try:
            perform_job(line)
        except (LoadError, OSError) as error:
            _answer(json.dumps({"error": str(error)}))
            return 1
        gc.collect()
    return 0


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _answer(text: str) -> None:
    print(text, flush=True)
