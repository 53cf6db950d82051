"""A slice of load on the forward proxy, by one worker (lean.py) or one for each client (load.php).

A worker's answer (workers.py) is `elapsed` and `cpu` (its own, user + system) in seconds, and
`latencies` in microseconds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import workers
from bench.processes import BenchError, require
from bench.workers import LoadError, Worker


@dataclass(frozen=True)
class Job:
    """What one worker does. `socket` is empty for TCP to 127.0.0.1; times are in seconds."""

    scheme: str
    host: str
    port: int
    path: str
    socket: str
    ca: str
    clients: int
    fresh: bool
    length: int
    warm_up: float
    duration: float


@dataclass(frozen=True)
class Load:
    """What a generator measured: seconds, and sorted latencies in microseconds."""

    elapsed: float
    cpu: float
    latencies: list[int]
    workers: int


class Generator:
    """Runs jobs on worker processes: one for all clients (lean), or one for each (php)."""

    def __init__(self, kind: str) -> None:
        """Prepare `kind` "lean" or "php". Raises BenchError if what it needs is missing."""
        self._one_each = kind == "php"
        self._argv = _php() if self._one_each else [sys.executable, "-m", "bench.lean"]
        self._workers: list[Worker] = []

    def run(self, job: Job, at_start: Callable[[], None]) -> Load:
        """Run a job; call `at_start` when everything is warm, just before what counts.

        Raises LoadError as soon as one response is wrong or missing.
        """
        count = job.clients if self._one_each else 1
        while len(self._workers) < count:
            self._workers.append(Worker(self._argv))
        fields = asdict(job)
        if self._one_each:
            fields["clients"] = 1
        try:
            return _merge(workers.run(self._workers[:count], fields, at_start))
        except LoadError:
            self.close()  # the others are somewhere in their job; the next run makes new ones
            raise

    def close(self) -> None:
        """Stop all workers."""
        while self._workers:
            self._workers.pop().close()


def _merge(answers: list[Any]) -> Load:
    latencies = [value for answer in answers for value in answer["latencies"]]
    if not latencies:
        raise LoadError("no response within the slice; make --slice longer")
    elapsed = max(float(answer["elapsed"]) for answer in answers)
    cpu = sum(float(answer["cpu"]) for answer in answers)
    return Load(elapsed, cpu, sorted(latencies), len(answers))


def _php() -> list[str]:
    program = require("php", "php-cli")
    check = 'exit(extension_loaded("curl") ? 0 : 1);'
    if subprocess.run([program, "-r", check], check=False).returncode:
        raise BenchError("php: the curl extension is missing; install the package php-curl")
    return [program, str(Path(__file__).with_name("load.php"))]
