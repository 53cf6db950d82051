"""Programs in the background: their output as events, and their end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from unittest import SkipTest

#: Seconds after which something that should have happened long ago is given up. Not a judgement
#: of speed: on any machine the thing happens within a small part of it, or never.
LIMIT = 20.0


def require(program: str, package: str) -> str:
    """Return the path of a program; skip the test if there is none."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise SkipTest(f"{program} is not installed (Debian package {package})")
    return found


class Process:
    """A running program.

    A thread reads what it prints, so that it can always print, and wakes whoever waits for that.
    """

    def __init__(self, argv: Sequence[str], folder: str, environ: dict[str, str] | None = None):
        """Start it in `folder`, with the variables `environ` besides our own."""
        self._popen = subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._popen.pid
        self._text = ""
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as output:
            while data := os.read(output.fileno(), 65536):
                with self._changed:
                    self._text += data.decode("utf-8", "replace")
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """What it has printed so far, on either stream."""
        with self._changed:
            return self._text

    def wait_for(self, pattern: str, start: int = 0) -> re.Match[str]:
        """Return the first match in the output from `start` on, waiting until it is printed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or re.search(pattern, self._text[start:]), LIMIT
            )
            found = re.search(pattern, self._text[start:])
            if found is None:
                raise AssertionError(f"no {pattern!r} in what it printed:\n{self._text[start:]}")
            return found

    def send_signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        """Return the exit status (negative: the signal that ended it) when it has ended."""
        status = self._popen.wait(LIMIT)
        self._reader.join(LIMIT)
        return status

    def stop(self) -> int:
        """End it if it still runs: with SIGTERM or, when that does not help, with SIGKILL."""
        if self._popen.poll() is None:
            self.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            return self.wait()
