"""Where scripts report what they do, and wait to be let on, so that no test waits for a time."""

from __future__ import annotations

import os
import select

from tests.peers.processes import LIMIT


class Gate:
    """Two named pipes, for all scripts that are given its name: see fastcgi/pipes.php."""

    def __init__(self, folder: str, name: str) -> None:
        """Make them in `folder`."""
        self.name = name
        # With both ends of a pipe open here, opening one there never waits.
        self._reports = _make_pipe(os.path.join(folder, f"{name}.reports"))
        self._passes = _make_pipe(os.path.join(folder, f"{name}.passes"))
        self._text = b""

    def report(self) -> str:
        """The next line that a script reports, in the order in which all of them do."""
        while b"\n" not in self._text:
            if not select.select([self._reports], [], [], LIMIT)[0]:
                raise AssertionError(f"no script has reported anything; {self._text!r}")
            self._text += os.read(self._reports, 65536)
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()

    def reports(self, count: int) -> list[str]:
        """The next so many."""
        return [self.report() for _ in range(count)]

    def quiet(self) -> bool:
        """Nothing has been reported beyond what was asked for."""
        return not self._text and not select.select([self._reports], [], [], 0)[0]

    def let_on(self, count: int = 1) -> None:
        """Let so many scripts on, those that wait or those that come."""
        os.write(self._passes, b"." * count)

    def close(self) -> None:
        os.close(self._reports)
        os.close(self._passes)


def _make_pipe(path: str) -> int:
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)
