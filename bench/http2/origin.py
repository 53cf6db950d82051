"""The origin: an nginx of its own that speaks HTTP/1.1 and HTTP/2, on a port for each proxy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import Certificates
from bench.origin import HOST, LOOPBACK, CountingOrigin, nginx_common, nginx_head, run_nginx
from bench.processes import free_ports, running, wait_until_listening
from bench.scenarios import SMALL
from bench.transfer import blocks
from bench.wire import Connection

SLOW = "/slow"

# Streams at once are nginx's own 128. TLS 1.3, which saves a round trip, is stock with newer ones
# only. An upload is taken in before it is passed on, as is stock, too: else the origin's window
# would be 64 KiB.
_CONFIG = """
{head}
http {{
    {common}
    client_max_body_size 0;
    upstream application {{
        server 127.0.0.1:{application}; keepalive 300; keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{http};
        location = /status {{ stub_status; }}
    }}
    server {{
        {listen}
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location = {small} {{ default_type application/json; return 200 '{body}'; }}
        location = {slow} {{ proxy_pass http://application; }}
        location = / {{ proxy_pass http://application; }}
        location / {{ root {folder}; }}
    }}
}}
"""


@dataclass(frozen=True)
class Http2Origin(CountingOrigin):
    """An origin whose `ports` are named after who is to use them; and its processes."""

    pids: tuple[int, ...]


@contextlib.contextmanager
def run_origin(
    folder: Path, certificates: Certificates, users: Sequence[str], size: int
) -> Iterator[Http2Origin]:
    """Run the origin while the block lasts, which has `size` bytes to give at /SIZE.

    Raises BenchError if it cannot start.
    """
    folder.mkdir()
    http, application, *https = free_ports(2 + len(users))
    with (folder / str(size)).open("wb") as file:
        file.writelines(blocks(size))
    config = _CONFIG.format(
        head=nginx_head(folder),
        common=nginx_common(folder),
        application=application,
        http=http,
        listen=" ".join(f"listen 127.0.0.1:{port} ssl http2 backlog=4096;" for port in https),
        cert=certificates.cert_file,
        key=certificates.key_file,
        small=SMALL.path,
        body=SMALL.body.decode(),
        slow=SLOW,
        folder=folder,
    )
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(_application(folder / "application.log", application))
        process, log = stack.enter_context(run_nginx(folder, config))
        wait_until_listening((LOOPBACK, https[-1]), process, log)
        status = Connection((LOOPBACK, http), HOST, http)
        stack.enter_context(contextlib.closing(status))
        ports = dict(zip(users, https, strict=True))
        yield Http2Origin(ports, certificates, status, (process.pid, behind))


@contextlib.contextmanager
def _application(log: Path, port: int) -> Iterator[int]:
    argv = [sys.executable, "-m", "bench.http2.application", str(port)]
    with running(argv, log) as process:
        wait_until_listening((LOOPBACK, port), process, log)
        yield process.pid
