"""
Children: their start, their answers in time, and their end whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import IO

from fastcar_tw.compare import CompareError

#: Seconds a child has to end by itself; fastcar needs none unless requests are under way.
_STOP_SECONDS = 5.0


@contextlib.contextmanager
def running(
    argv: Sequence[str], output: IO[bytes] | int, pass_fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a program while the block lasts; its standard input is a pipe.

    It has a session of its own, so that Ctrl-C reaches us alone, and we end it.

    @param output: where its standard output goes, C{subprocess.PIPE} or C{DEVNULL}; or a file,
        which takes its errors too.
    @raise OSError: if it cannot be started.
    """
    process = subprocess.Popen(
        argv,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=None if isinstance(output, int) else subprocess.STDOUT,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class LineReader:
    """
    Lines from a pipe, each within a time.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._descriptor = pipe.fileno()
        self._buffer = b""

    def read(self, seconds: float) -> bytes:
        """
        @return: the next line, without its end; what there is of it when the pipe ends.
        @raise CompareError: if it does not come in C{seconds}.
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            wait = max(0.0, deadline - time.monotonic())
            if not select.select([self._descriptor], [], [], wait)[0]:
                raise CompareError(f"no answer from PHP for {seconds:.0f} s")
            data = os.read(self._descriptor, 65536)
            if not data:
                break
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """
    Turn SIGTERM and SIGHUP into SystemExit while the block lasts, so that every clean-up runs.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
