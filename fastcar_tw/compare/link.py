"""
With C{--rtt}: a local origin that seems to be far away.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization

from fastcar_tw.compare.processes import running
from fastcar_tw.tls.local_ca import LocalCA

HOST = "localhost"


@dataclass(frozen=True)
class Link:
    """
    The origin as clients see it.

    @ivar urls: one with http, one with https.
    @ivar resolve: the addresses of its name, as C{--resolve} and C{CURLOPT_RESOLVE} want them.
    @ivar ca_file: who has signed its certificate; no other certificate is in it.
    """

    urls: list[str]
    resolve: list[str]
    ca_file: str


@contextlib.contextmanager
def local_link(rtt: float, folder: str) -> Iterator[Link]:
    """
    Run an origin and the relay in front of it while the block lasts.

    @param rtt: round-trip time, in seconds.
    @param folder: for the CA and the keys; it is made.
    """
    ca = LocalCA.load_or_create(folder)
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(_listener()) for _ in range(4)]
        ports = [listener.getsockname()[1] for listener in listeners]
        http, https, far_http, far_https = [listener.fileno() for listener in listeners]
        pairs = [far_http, ports[0], far_https, ports[1]]
        origin = [http, https, *_certificate(ca, folder)]
        stack.enter_context(_module("origin", origin, [http, https]))
        stack.enter_context(_module("relay", [rtt * 1000, *pairs], [far_http, far_https]))
        yield Link(
            [f"http://{HOST}:{ports[2]}/", f"https://{HOST}:{ports[3]}/"],
            [f"{HOST}:{port}:127.0.0.1" for port in ports[2:]],
            ca.certificate_path,
        )


def _listener() -> socket.socket:
    # What connects before the child accepts waits in the backlog.
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def _certificate(ca: LocalCA, folder: str) -> tuple[str, str]:
    certificate, key = ca.issue([HOST])
    encoding = serialization.Encoding.PEM
    pem = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = os.path.join(folder, "origin.pem"), os.path.join(folder, "origin.key")
    for path, content in zip(paths, (certificate.public_bytes(encoding), pem), strict=True):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    return paths


@contextlib.contextmanager
def _module(name: str, arguments: Sequence[object], sockets: Sequence[int]) -> Iterator[None]:
    argv = [sys.executable, "-m", f"fastcar_tw.compare.{name}", *map(str, arguments)]
    with running(argv, subprocess.DEVNULL, sockets):
        yield
