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
    now = datetime.datetime.now(datetime.timezone.utc)
    versions = [f"Python {platform.python_version()} ({_short(ssl.OPENSSL_VERSION)})"]
    versions += [f"{name} {_version(name)}" for name in ("fastcar_tw", "Twisted")]
    # Its own OpenSSL, often another than Python's (the lean client's) and nginx's.
    versions.append(f"cryptography ({_short(backend.openssl_version_text())})")
    versions.append(_output([require("nginx", "nginx"), "-v"]).replace("nginx version: ", ""))
    if client == "php":
        versions.append(_output(["php", "-r", 'echo "PHP ", PHP_VERSION;']))
    return [
        f"{now:%Y-%m-%d}, {_processor()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
        ", ".join(versions),
        f"load: {client}; {pace.rounds} rounds of {pace.duration} s after {pace.warm_up} s",
        *missing,
    ]


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
