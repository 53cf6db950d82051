"""What answers behind the relays, each listening on a TCP port of loopback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from bench.origin import LOOPBACK
from bench.processes import free_ports, require, running, wait_until_listening


@dataclass(frozen=True)
class Backend:
    """A running backend."""

    pid: int
    port: int


# Takes a folder to make. Raises BenchError if the backend does not start.
Start: TypeAlias = Callable[[Path], AbstractContextManager[Backend]]


@contextlib.contextmanager
def _backend(argv: Callable[[int], Sequence[str]], folder: Path) -> Iterator[Backend]:
    folder.mkdir()
    (port,) = free_ports(1)
    log = folder / "log"
    with running(argv(port), log) as process:
        wait_until_listening((LOOPBACK, port), process, log)
        yield Backend(process.pid, port)


def _module(name: str, port: int) -> Sequence[str]:
    return [sys.executable, "-m", name, str(port)]


def _redis_server(port: int) -> Sequence[str]:
    program = require("redis-server", "redis-server")
    return [program, "--bind", LOOPBACK, "--port", str(port), "--save", "", "--appendonly", "no"]


echo: Start = partial(_backend, partial(_module, "bench.relay.echo"))
bulk: Start = partial(_backend, partial(_module, "bench.relay.bulk"))
redis: Start = partial(_backend, _redis_server)
