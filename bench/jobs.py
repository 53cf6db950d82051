"""A slice of load, and the worker processes that produce it.

A worker (lean.py, load.php) reads jobs from its standard input, one JSON object a line, and for
each of them: makes its connections and warms up, answers ``ready``, waits for the line ``go``,
loads for `duration` seconds, finishes what is in flight, and answers one JSON object: `elapsed`
and `cpu` (its own, user + system) in seconds, `latencies` in microseconds; or `error`, at any
point, and then exits. So what happens between ``go`` and the answer is exactly what is counted.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.processes import ROOT, BenchError, require, stop

# A worker gives up by itself after wire.TIMEOUT; this is for one that hangs.
_GRACE = 40.0


class LoadError(Exception):
    """The load was not answered as it must be; the text says how."""


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


class _Worker:
    def __init__(self, argv: list[str]) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._buffer = b""

    def send(self, line: str) -> None:
        try:
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            raise LoadError(f"load generator ended: {self._process.wait()}") from None

    def receive(self, deadline: float) -> str:
        while b"\n" not in self._buffer:
            wait = max(0.0, deadline - time.monotonic())
            if not select.select([self._stdout], [], [], wait)[0]:
                raise LoadError("load generator does not answer")
            data = os.read(self._stdout.fileno(), 1 << 20)
            if not data:
                raise LoadError(f"load generator ended: {self._process.wait()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def close(self) -> None:
        stop(self._process)
        self._stdin.close()
        self._stdout.close()


class Generator:
    """Runs jobs on worker processes: one for all clients (lean), or one for each (php)."""

    def __init__(self, kind: str) -> None:
        """Prepare `kind` "lean" or "php". Raises BenchError if what it needs is missing."""
        self._one_each = kind == "php"
        self._argv = _php() if self._one_each else [sys.executable, "-m", "bench.lean"]
        self._workers: list[_Worker] = []

    def run(self, job: Job, at_start: Callable[[], None]) -> Load:
        """Run a job; call `at_start` when everything is warm, just before what counts.

        Raises LoadError as soon as one response is wrong or missing.
        """
        count = job.clients if self._one_each else 1
        while len(self._workers) < count:
            self._workers.append(_Worker(self._argv))
        fields = asdict(job)
        if self._one_each:
            fields["clients"] = 1
        try:
            return self._run(self._workers[:count], fields, at_start)
        except LoadError:
            self.close()  # the others are somewhere in their job; the next run makes new ones
            raise

    def _run(
        self, workers: list[_Worker], fields: dict[str, object], at_start: Callable[[], None]
    ) -> Load:
        for worker in workers:
            worker.send(json.dumps(fields))
        deadline = time.monotonic() + _GRACE
        for worker in workers:
            line = worker.receive(deadline)
            if line != "ready":
                raise _load_error(line)
        at_start()
        for worker in workers:
            worker.send("go")
        deadline = time.monotonic() + _GRACE
        return _merge([worker.receive(deadline) for worker in workers])

    def close(self) -> None:
        """Stop all workers."""
        while self._workers:
            self._workers.pop().close()


def _load_error(line: str) -> LoadError:
    try:
        return LoadError(str(json.loads(line)["error"]))
    except (ValueError, KeyError):
        return LoadError(f"load generator says {line[:200]!r}")


def _merge(lines: list[str]) -> Load:
    latencies: list[int] = []
    elapsed = cpu = 0.0
    for line in lines:
        try:
            answer = json.loads(line)
            latencies += answer["latencies"]
        except (ValueError, KeyError):
            raise _load_error(line) from None
        elapsed = max(elapsed, answer["elapsed"])
        cpu += answer["cpu"]
    if not latencies:
        raise LoadError("no response within the slice; make --slice longer")
    return Load(elapsed, cpu, sorted(latencies), len(lines))


def _php() -> list[str]:
    program = require("php", "php-cli")
    check = 'exit(extension_loaded("curl") ? 0 : 1);'
    if subprocess.run([program, "-r", check], check=False).returncode:
        raise BenchError("php: the curl extension is missing; install the package php-curl")
    return [program, str(Path(__file__).with_name("load.php"))]
