"""The origin: an nginx of its own on loopback ports, HTTP and HTTPS."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import SERVER_NAMES, Certificates
from bench.processes import free_ports, require, running, wait_until_listening
from bench.scenarios import LARGE, SMALL
from bench.wire import Connection

HOST = SERVER_NAMES[0]
LOOPBACK = "127.0.0.1"

# keepalive_requests: the stock 1000 would make the origin close kept connections mid-run.
_CONFIG = """
{head}
http {{
    {common}
    server {{
        listen 127.0.0.1:{http} backlog=4096;
        listen 127.0.0.1:{https} ssl backlog=4096;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        location = /small {{ default_type application/json; return 200 '{small}'; }}
        location = /large {{ root {folder}; }}
        location = /status {{ stub_status; }}
    }}
}}
"""


def nginx_head(folder: Path) -> str:
    """Return the lines above http{}: one worker, in the foreground."""
    # As root, nginx would give its worker to an account that cannot enter our folder.
    user = "user root root;\n" if os.geteuid() == 0 else ""
    return (
        f"{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\n"
        "error_log stderr error;\nevents { worker_connections 8192; }"
    )


def nginx_common(folder: Path) -> str:
    """Return the lines inside http{} that origin and proxy share."""
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind}; "
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"access_log off; default_type application/octet-stream; sendfile on; {paths}\n"
        "    keepalive_timeout 3600s; keepalive_requests 1000000000;"
    )


@contextlib.contextmanager
def run_nginx(folder: Path, config: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run an nginx with this configuration; yield the process and its log file."""
    program = require("nginx", "nginx")
    (folder / "nginx.conf").write_text(config)
    log = folder / "nginx.log"
    argv = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with running(argv, log) as process:
        yield process, log


@dataclass(frozen=True)
class Counters:
    """What the origin has seen since it started."""

    accepted: int
    requests: int


@dataclass(frozen=True)
class Origin:
    """Where an origin listens on loopback, by scheme, and the files its certificate is in."""

    ports: dict[str, int]
    certificates: Certificates


@dataclass(frozen=True)
class CountingOrigin(Origin):
    """The nginx that runs as origin."""

    _status: Connection

    def counters(self) -> Counters:
        """Return connections accepted and requests served, on all ports.

        Asked over one kept connection: it adds no connection, but one request, to the counts.
        """
        text = self._status.fetch("/status").decode()
        match = re.search(r"requests\s+(\d+) \d+ (\d+)", text)
        if match is None:
            raise ValueError(f"nginx stub_status: unexpected text {text!r}")
        return Counters(int(match[1]), int(match[2]))


@contextlib.contextmanager
def run_origin(folder: Path, certificates: Certificates) -> Iterator[CountingOrigin]:
    """Run the origin while the block lasts. Raises BenchError if it cannot start."""
    folder.mkdir()
    http, https = free_ports(2)
    (folder / LARGE.path.strip("/")).write_bytes(LARGE.body)
    config = _CONFIG.format(
        head=nginx_head(folder),
        common=nginx_common(folder),
        http=http,
        https=https,
        cert=certificates.cert_file,
        key=certificates.key_file,
        small=SMALL.body.decode(),
        folder=folder,
    )
    with run_nginx(folder, config) as (process, log):
        wait_until_listening((LOOPBACK, https), process, log)
        status = Connection((LOOPBACK, http), HOST, http)
        with contextlib.closing(status):
            yield CountingOrigin({"http": http, "https": https}, certificates, status)
