"""fastcar as it is compared: with each --http2, and a way to the origin that takes its time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import Certificates
from bench.origin import LOOPBACK
from bench.processes import free_ports, running, twistd, wait_until_listening
from fastcar_tw.tls.ca_store import CERTIFICATE_FILE

MODES = ("off", "always", "auto")
BASELINE = "off"


@dataclass(frozen=True)
class Proxy:
    """A running fastcar: its process, socket and CA, and the port its origin is named by."""

    pid: int
    socket: str
    ca_file: str
    port: int


@contextlib.contextmanager
def fastcar(
    mode: str, folder: Path, certificates: Certificates, port: int, connections: int
) -> Iterator[Proxy]:
    """Run `twistd -n fastcar --http2 MODE` of this Python environment, in a folder to make.

    `connections`: how many it may have to an origin. Raises BenchError if it does not start.
    """
    folder.mkdir()
    path, ca_dir, log = folder / "fastcar.sock", folder / "ca", folder / "log"
    options = {
        "unix": path,
        "ca-dir": ca_dir,
        "trust": certificates.ca_file,
        "http2": mode,
        "max-connections-per-origin": connections,
        "max-idle-per-origin": connections,
    }
    argv = [twistd(), "-n", "--pidfile=", "fastcar"]
    argv += [f"--{option}={value}" for option, value in options.items()]
    with running(argv, log) as process:
        wait_until_listening(str(path), process, log)
        yield Proxy(process.pid, str(path), str(ca_dir / CERTIFICATE_FILE), port)


@dataclass(frozen=True)
class Way:
    """How the origin's ports, by who uses them, are reached; `pid`: who takes the time."""

    ports: Mapping[str, int]
    pid: int | None = None


@contextlib.contextmanager
def way(rtt: float, log: Path, ports: Mapping[str, int]) -> Iterator[Way]:
    """Have a way to the origin that takes `rtt` seconds there and back; 0: none is between."""
    if not rtt:
        yield Way(ports)
        return
    own = free_ports(len(ports))
    pairs = [str(port) for pair in zip(own, ports.values(), strict=True) for port in pair]
    argv = [sys.executable, "-m", "bench.http2.link", f"{rtt * 1000:g}", *pairs]
    with running(argv, log) as process:
        wait_until_listening((LOOPBACK, own[-1]), process, log)
        yield Way(dict(zip(ports, own, strict=True)), process.pid)
