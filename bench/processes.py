"""Start, await and stop the programs that take part in a run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from bench.wire import Address, dial

ROOT = Path(__file__).resolve().parent.parent
# A proxy that drains (fastcar: 10 s) must be able to finish before it is killed.
STOP_SECONDS = 15.0


class BenchError(Exception):
    """The run cannot go on; the text is for the user, one line."""


def require(program: str, package: str) -> str:
    """Return the path of a program, or say which Debian package brings it."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise BenchError(f"{program}: not found; install the package {package}")
    return found


def twistd() -> str:
    """Return the path of twistd, that of this Python environment first."""
    beside = Path(sys.executable).with_name("twistd")
    found = str(beside) if beside.exists() else shutil.which("twistd")
    if found is None:
        raise BenchError("twistd: not found; install the project into this environment")
    return found


def free_ports(count: int) -> list[int]:
    """Return loopback TCP ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
        return ports


@contextlib.contextmanager
def running(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block lasts; its output goes to the file `log`.

    It gets a session of its own, so that Ctrl-C reaches the benchmark alone, which then stops
    what it has started in order.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process started in a session of its own: politely, then with its children."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_listening(
    address: Address, process: subprocess.Popen[bytes], log: Path, seconds: float = 15.0
) -> None:
    """Return when `address` accepts connections.

    Raises BenchError with the end of the log when the process ends or `seconds` pass first.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            dial(address).close()
            return
        except OSError as error:
            reason = str(error)
        if process.poll() is not None:
            raise BenchError(f"exited with status {process.returncode}: {_last_line(log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"not listening after {seconds:.0f} s ({reason}): {_last_line(log)}")
        time.sleep(0.05)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no output"


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that every clean-up runs."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
