"""The ways to reach the origin that are compared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.origin import HOST, LOOPBACK, Origin, nginx_common, nginx_head, run_nginx
from bench.processes import BenchError, running, twistd, wait_until_listening
from bench.wire import Address

BASELINE = "nginx"

# The same work as a forward proxy with a pool: TLS verified upstream, connections kept on both
# sides, no cache, nginx's own buffering. Tickets are off, because fresh PHP handles never resume.
_NGINX = """
{head}
http {{
    {common}
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    upstream origin_http {{
        server 127.0.0.1:{http}; keepalive 100; keepalive_requests 1000000000;
    }}
    upstream origin_https {{
        server 127.0.0.1:{https}; keepalive 100; keepalive_requests 1000000000;
    }}
    server {{
        listen unix:{folder}/http.sock backlog=4096;
        location / {{ proxy_pass http://origin_http; }}
    }}
    server {{
        listen unix:{folder}/https.sock ssl backlog=4096;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_session_cache off;
        ssl_session_tickets off;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {ca};
        proxy_ssl_server_name on;
        proxy_ssl_name {name};
        location / {{ proxy_pass https://origin_https; }}
    }}
}}
"""


@dataclass(frozen=True)
class Contestant:
    """One way to the origin.

    `sockets` maps a scheme to the UNIX socket that takes it; without it requests go directly.
    `ca_file` (one certificate) verifies its TLS; empty means its certificate is not verified.
    """

    name: str
    ca_file: str
    pid: int | None = None
    sockets: dict[str, str] | None = None

    def address(self, scheme: str, origin: Origin) -> Address:
        """Return where a client connects to."""
        return self.sockets[scheme] if self.sockets else (LOOPBACK, origin.ports[scheme])


def direct(origin: Origin) -> Contestant:
    """Return the way without a proxy."""
    return Contestant("direct", str(origin.certificates.ca_file))


@contextlib.contextmanager
def nginx(folder: Path, origin: Origin) -> Iterator[Contestant]:
    """Run nginx as the same proxy."""
    folder.mkdir()
    files = origin.certificates
    config = _NGINX.format(
        head=nginx_head(folder),
        common=nginx_common(folder),
        folder=folder,
        cert=files.cert_file,
        key=files.key_file,
        ca=files.ca_file,
        name=HOST,
        **origin.ports,
    )
    sockets = {scheme: f"{folder}/{scheme}.sock" for scheme in ("http", "https")}
    with run_nginx(folder, config) as (process, log):
        wait_until_listening(sockets["https"], process, log)
        yield Contestant(BASELINE, str(files.ca_file), process.pid, sockets)


@contextlib.contextmanager
def fastcar(folder: Path, origin: Origin) -> Iterator[Contestant]:
    """Run `twistd -n fastcar` of this Python environment."""
    folder.mkdir()
    path, ca_dir, log = folder / "fastcar.sock", folder / "ca", folder / "fastcar.log"
    options = ["--unix", path, "--ca-dir", ca_dir, "--trust", origin.certificates.ca_file]
    argv = [twistd(), "-n", "--pidfile=", "fastcar", *map(str, options)]
    with running(argv, log) as process:
        wait_until_listening(str(path), process, log)
        sockets = {scheme: str(path) for scheme in ("http", "https")}
        yield Contestant("fastcar", _find_ca(ca_dir), process.pid, sockets)


def _find_ca(ca_dir: Path) -> str:
    """Return the one-certificate PEM file of the local CA."""
    for path in sorted(ca_dir.rglob("*")):
        text = path.read_text(errors="replace") if path.is_file() else ""
        if text.count("BEGIN CERTIFICATE") == 1 and "PRIVATE KEY" not in text:
            return str(path)
    raise BenchError(f"{ca_dir}: no file with one CA certificate there")


def extra(text: str) -> Contestant:
    """Return a proxy somebody else runs, from ``name=socket:pid[:ca-file]``.

    Raises ValueError if the text is not of that form or the process does not exist.
    """
    name, equals, rest = text.partition("=")
    path, _, more = rest.partition(":")
    pid, _, ca_file = more.partition(":")
    if not (name and equals and path and pid.isdigit()):
        raise ValueError(f"{text!r}: expected name=socket:pid or name=socket:pid:ca-file")
    if not Path("/proc", pid).exists():
        raise ValueError(f"{text!r}: there is no process {pid}")
    if ca_file and not Path(ca_file).is_file():
        raise ValueError(f"{text!r}: there is no file {ca_file}")
    return Contestant(name, ca_file, int(pid), {"http": path, "https": path})
