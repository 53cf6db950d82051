"""The relays that are compared, each listening on a TCP port of loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from bench.origin import LOOPBACK, nginx_head, run_nginx
from bench.processes import (
    BenchError,
    free_ports,
    require,
    running,
    twistd,
    wait_until_listening,
)
from bench.wire import Address

DIRECT, BASELINE, NGINX, FASTCAR, POOLED = "direct", "haproxy", "nginx", "fastcar", "fastcar-pool"
POOL = 4
_STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

_HAPROXY = """
global
    nbthread 1
    maxconn 4096
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen relay
    bind 127.0.0.1:{port} backlog 4096
    server backend 127.0.0.1:{backend}
"""

# proxy_half_close: without it an end of input would close both directions, as nobody else does.
_NGINX = """
load_module {module};
{head}
stream {{
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass 127.0.0.1:{backend};
        proxy_timeout 1h;
        proxy_half_close on;
    }}
}}
"""


@dataclass(frozen=True)
class Relay:
    """A running relay; `pid` is None where there is none."""

    name: str
    pid: int | None
    port: int

    @property
    def address(self) -> Address:
        """Return where a client connects to."""
        return (LOOPBACK, self.port)


# From a folder to make, and the backend's port. Raises BenchError if the relay does not start.
Start: TypeAlias = Callable[[Path, int], AbstractContextManager[Relay]]


def starts(framing: str) -> dict[str, Start]:
    """Return how each relay is started, by name.

    A `framing` tells requests apart for a relay that pools; without one there is none.
    """
    found: dict[str, Start] = {
        DIRECT: _direct,
        BASELINE: _haproxy,
        NGINX: _nginx,
        FASTCAR: partial(_fastcar, FASTCAR, {}),
    }
    if framing:
        found[POOLED] = partial(_fastcar, POOLED, {"pool": str(POOL), "framing": framing})
    return found


@contextlib.contextmanager
def _direct(folder: Path, backend: int) -> Iterator[Relay]:
    """Let clients connect to the backend itself."""
    yield Relay(DIRECT, None, backend)


@contextlib.contextmanager
def _haproxy(folder: Path, backend: int) -> Iterator[Relay]:
    """Run HAProxy with one thread, as it comes."""
    folder.mkdir()
    (port,) = free_ports(1)
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(port=port, backend=backend))
    argv = [require("haproxy", "haproxy"), "-db", "-q", "-f", str(config)]
    with _listening(BASELINE, argv, folder, port) as relay:
        yield relay


@contextlib.contextmanager
def _nginx(folder: Path, backend: int) -> Iterator[Relay]:
    """Run one worker of nginx with its stream module, as it comes."""
    if not _STREAM_MODULE.exists():
        raise BenchError(f"{_STREAM_MODULE}: not found; install the package libnginx-mod-stream")
    folder.mkdir()
    (port,) = free_ports(1)
    head = nginx_head(folder)
    config = _NGINX.format(module=_STREAM_MODULE, head=head, port=port, backend=backend)
    with run_nginx(folder, config) as (process, log):
        relay = Relay(NGINX, process.pid, port)
        wait_until_listening(relay.address, process, log)
        yield relay


@contextlib.contextmanager
def _fastcar(name: str, extra: dict[str, str], folder: Path, backend: int) -> Iterator[Relay]:
    """Run `twistd -n fastcar relay` of this Python environment."""
    folder.mkdir()
    (port,) = free_ports(1)
    options = {
        "listen": f"tcp:{port}:interface={LOOPBACK}",
        "backend": f"tcp:{LOOPBACK}:{backend}",
        **extra,
    }
    argv = [twistd(), "-n", "--pidfile=", "fastcar", "relay"]
    argv += [f"--{option}={value}" for option, value in options.items()]
    with _listening(name, argv, folder, port) as relay:
        yield relay


@contextlib.contextmanager
def _listening(name: str, argv: Sequence[str], folder: Path, port: int) -> Iterator[Relay]:
    log = folder / "log"
    with running(argv, log) as process:
        relay = Relay(name, process.pid, port)
        wait_until_listening(relay.address, process, log)
        yield relay
