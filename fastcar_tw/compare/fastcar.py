"""
The fastcar that is measured, when none runs that should be.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from fastcar_tw.compare import CompareError
from fastcar_tw.compare.processes import running
from fastcar_tw.compare.ways import Sockets

#: twistd without its script, which may lie anywhere.
_TWISTD = "from twisted.scripts.twistd import run; run()"
_START_SECONDS = 20.0


@contextlib.contextmanager
def own_fastcar(folder: str, options: Sequence[str]) -> Iterator[Sockets]:
    """
    Run a fastcar while the block lasts.

    @param folder: for its sockets, CA and log; the path is short enough for sockets.
    @param options: further ones of its command line.
    @raise CompareError: if it does not start; the text is its last line.
    """
    plain, https = os.path.join(folder, "fastcar.sock"), os.path.join(folder, "https.sock")
    ca_dir, log = os.path.join(folder, "ca"), os.path.join(folder, "fastcar.log")
    argv = [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "fastcar"]
    # As PHP's direct requests, without a proxy that the environment names.
    argv += ["--unix", plain, "--https-unix", https, "--ca-dir", ca_dir, "--proxy", "", *options]
    with open(log, "wb") as output, running(argv, output) as process:
        for path in (plain, https):
            _wait_until_listening(path, process, log)
        yield Sockets(plain, https, os.path.join(ca_dir, "ca.pem"))


def _wait_until_listening(path: str, process: subprocess.Popen[bytes], log: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _accepts(path):
        if process.poll() is not None or time.monotonic() > deadline:
            with open(log, errors="replace") as file:
                lines = file.read().strip().splitlines() or ["it printed nothing"]
            raise CompareError(f"fastcar did not start: {lines[-1].strip()}")
        time.sleep(0.05)


def _accepts(path: str) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
