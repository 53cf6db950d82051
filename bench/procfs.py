"""CPU time and memory of a process and all its descendants, from the kernel (proc(5))."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """Return `pid` and every living descendant. Empty if the process is gone."""
    found = []
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
        children = [
            int(child) for task in tasks for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    found.append(pid)
    for child in children:
        found.extend(tree(child))
    return found


def cpu_seconds(pid: int) -> float:
    """Return user + system time, in seconds, of the tree, ended and reaped children included."""
    return sum(_own_seconds(member) + _reaped_seconds(member) for member in tree(pid))


def _stat(pid: int) -> list[str]:
    # The command, field 2, may hold spaces and parentheses: count from the last one.
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _own_seconds(pid: int) -> float:
    """All threads' utime + stime, in nanosecond steps rather than /proc/PID/stat's 10 ms.

    The clock id is what clock_getcpuclockid(3) computes: the same sum, before its rounding.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        utime, stime = _stat(pid)[11:13]
        return (int(utime) + int(stime)) / _TICK


def _reaped_seconds(pid: int) -> float:
    cutime, cstime = _stat(pid)[13:15]
    return (int(cutime) + int(cstime)) / _TICK


def resident_kib(pid: int) -> int:
    """Return VmRSS of the tree, in KiB; pages shared by its processes count for each."""
    return sum(_status_kib(member, "VmRSS") for member in tree(pid))


def peak_kib(pid: int) -> int:
    """Return VmHWM of the tree, in KiB, since start or the last reset_peak()."""
    return sum(_status_kib(member, "VmHWM") for member in tree(pid))


def reset_peak(pid: int) -> None:
    """Let VmHWM start again from the present VmRSS, where the kernel lets us."""
    for member in tree(pid):
        with contextlib.suppress(OSError):
            (_PROC / str(member) / "clear_refs").write_text("5")


def _status_kib(pid: int, field: str) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0
