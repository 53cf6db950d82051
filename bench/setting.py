"""The circumstances of a run, without which its numbers mean nothing."""

from __future__ import annotations

import datetime
import os
import platform
import ssl
import subprocess
from importlib import metadata
from pathlib import Path

from cryptography.hazmat.backends.openssl.backend import backend

from bench.measure import Pace
from bench.processes import require


def describe(client: str, pace: Pace, missing: list[str]) -> list[str]:
    """Return a line for the machine, the software, the run and each contestant missing."""
    software = versions()
    if client == "php":
        software.append(_output(["php", "-r", 'echo "PHP ", PHP_VERSION;']))
    return [
        machine(),
        ", ".join(software),
        f"load: {client}; {pace.rounds} rounds of {pace.duration} s after {pace.warm_up} s",
        *missing,
    ]


def machine() -> str:
    """Return the day, the processor and the kernel."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return f"{now:%Y-%m-%d}, {_processor()}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def versions() -> list[str]:
    """Return the names and versions of what takes part in every run."""
    found = [f"Python {platform.python_version()} ({_short(ssl.OPENSSL_VERSION)})"]
    found += [f"{name} {_version(name)}" for name in ("fastcar_tw", "Twisted")]
    # Its own OpenSSL, often another than Python's (the lean client's) and nginx's.
    found.append(f"cryptography ({_short(backend.openssl_version_text())})")
    found.append(_output([require("nginx", "nginx"), "-v"]).replace("nginx version: ", ""))
    return found


def _short(openssl: str) -> str:
    return " ".join(openssl.split()[:2])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _output(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
