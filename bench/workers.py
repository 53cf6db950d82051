"""The worker processes that produce load, and how they are driven.

A worker reads jobs from its standard input, one JSON object a line, and for each of them: makes
its connections and warms up, answers ``ready``, waits for the line ``go``, loads for `duration`
seconds, finishes what is in flight, and answers one JSON object with what it has measured; or with
`error`, at any point, and then exits. So what happens between ``go`` and the answer is exactly
what is counted.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.processes import ROOT, stop

# A worker gives up by itself after wire.TIMEOUT; this is for one that hangs.
_GRACE = 40.0


class LoadError(Exception):
    """The load was not answered as it must be; the text says how."""


class Worker:
    """One worker process."""

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
        """Send one line. Raises LoadError if the worker has ended."""
        try:
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            raise LoadError(f"load generator ended: {self._process.wait()}") from None

    def receive(self, deadline: float) -> str:
        """Return the next line. Raises LoadError if there is none at `deadline` (monotonic)."""
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
        """Stop the process."""
        stop(self._process)
        self._stdin.close()
        self._stdout.close()


def run(workers: Sequence[Worker], job: object, at_start: Callable[[], None]) -> list[Any]:
    """Let each worker do `job` (plain data), all at once; return their answers.

    `at_start` is called when everything is warm, just before what counts. Raises LoadError for
    an answer that is an error, or no answer.
    """
    for worker in workers:
        worker.send(json.dumps(job))
    deadline = time.monotonic() + _GRACE
    for worker in workers:
        line = worker.receive(deadline)
        if line != "ready":
            raise _load_error(line)
    at_start()
    for worker in workers:
        worker.send("go")
    deadline = time.monotonic() + _GRACE
    return [_answer(worker.receive(deadline)) for worker in workers]


def _answer(line: str) -> Any:
    try:
        answer = json.loads(line)
    except ValueError:
        raise _load_error(line) from None
    if "error" in answer:
        raise _load_error(line)
    return answer


def _load_error(line: str) -> LoadError:
    try:
        return LoadError(str(json.loads(line)["error"]))
    except (ValueError, KeyError):
        return LoadError(f"load generator says {line[:200]!r}")
