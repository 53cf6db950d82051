"""How many connections to a port are open, from the kernel (proc(5), /proc/net/tcp)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

_TABLE = Path("/proc/net/tcp")
_ESTABLISHED = "01"
_INTERVAL = 0.05


def established(port: int) -> int:
    """Return how many connections the listener on a port has."""
    suffix = f":{port:04X}"
    rows = (line.split() for line in _TABLE.read_text().splitlines()[1:])
    # What changes while it is read may stand there twice.
    return len({row[2] for row in rows if row[1].endswith(suffix) and row[3] == _ESTABLISHED})


class Watch:
    """The most connections that were open at a time, looked at again and again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.most = 0

    def look(self) -> None:
        """Look once."""
        self.most = max(self.most, established(self._port))


@contextlib.contextmanager
def watched(port: int) -> Iterator[Watch]:
    """Look while the block lasts, and at its end."""
    watch, ended = Watch(port), threading.Event()

    def look() -> None:
        while not ended.wait(_INTERVAL):
            watch.look()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()
        watch.look()
