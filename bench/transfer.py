"""Bulk transfers past a reader that stalls and crawls, and the origin they need.

Whoever reads (the client of a download, the origin of an upload) stalls early, crawls, stalls
again, and then takes the rest as fast as it comes. A proxy without backpressure would swallow all
of it in the first stall.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.certificates import Certificates
from bench.origin import LOOPBACK, Origin
from bench.wire import Connection

MIB = 1 << 20
BLOCK = os.urandom(1 << 18)
# Seconds to stall after so many bytes, as shares of the whole.
_STALLS = ((1 / 256, 3.0), (1 / 2, 3.0))
_CRAWL_SHARE = 1 / 32
_CRAWL_SECONDS = 3.0


class TransferError(Exception):
    """The bytes that arrived are not those sent."""


@dataclass(frozen=True)
class Digest:
    """What was sent or has arrived."""

    size: int
    crc: int


def blocks(size: int) -> Iterator[bytes]:
    """Yield `size` bytes of noise."""
    for _ in range(size // len(BLOCK)):
        yield BLOCK
    if size % len(BLOCK):
        yield BLOCK[: size % len(BLOCK)]


def sent(size: int) -> Digest:
    """Return what blocks() amounts to."""
    crc = 0
    for block in blocks(size):
        crc = zlib.crc32(block, crc)
    return Digest(size, crc)


def read_all(readinto: Callable[[memoryview], int | None], size: int, slow: bool) -> Digest:
    """Read `size` bytes, or to the end, stalling and crawling on the way if `slow`."""
    buffer = memoryview(bytearray(1 << 16))
    stalls = [(int(share * size), seconds) for share, seconds in _STALLS] if slow else []
    crawl_end = int(_CRAWL_SHARE * size) if slow else 0
    got = crc = 0
    while got < size:
        count = readinto(buffer[: size - got])
        if not count:
            break
        crc = zlib.crc32(buffer[:count], crc)
        got += count
        if got < crawl_end:
            time.sleep(_CRAWL_SECONDS * count / crawl_end)
        if stalls and got >= stalls[0][0]:
            time.sleep(stalls.pop(0)[1])
    return Digest(got, crc)


class _Handler(http.server.BaseHTTPRequestHandler):
    """GET /SIZE sends so many bytes; POST / and POST /slow take any and answer their digest."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        size = int(self.path[1:])
        self._head(size)
        for block in blocks(size):
            self.wfile.write(block)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        digest = read_all(self.rfile.readinto, size, self.path == "/slow")
        answer = f"{digest.size} {digest.crc}".encode()
        self._head(len(answer))
        self.wfile.write(answer)

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the client's side reports what went wrong."""


@contextlib.contextmanager
def run_origin(certificates: Certificates) -> Iterator[Origin]:
    """Serve HTTP and HTTPS from threads of this process while the block lasts."""
    servers = {scheme: _Server((LOOPBACK, 0), _Handler) for scheme in ("http", "https")}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert_file, certificates.key_file)
    servers["https"].socket = context.wrap_socket(servers["https"].socket, server_side=True)
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Origin({name: server.server_port for name, server in servers.items()}, certificates)
    finally:
        for server in servers.values():
            server.shutdown()
            server.server_close()


def download(connection: Connection, size: int, slow: bool = True) -> None:
    """GET `size` bytes, reading slowly. Raises TransferError, OSError or HTTPException."""
    connection.request("GET", f"/{size}")
    response = connection.getresponse()
    check(response)
    compare(read_all(response.readinto, size, slow), size)


def upload(connection: Connection, size: int, slow: bool = True) -> None:
    """POST `size` bytes to an origin reading slowly. Raises like download()."""
    connection.request(
        "POST", "/slow" if slow else "/", blocks(size), {"Content-Length": str(size)}
    )
    response = connection.getresponse()
    check(response)
    arrived, crc = response.read().split()
    compare(Digest(int(arrived), int(crc)), size)


def check(response: http.client.HTTPResponse) -> None:
    """Raise TransferError unless it is a 200."""
    if response.status != 200:
        start = response.read(200).decode("latin-1").strip()
        raise TransferError(f"status {response.status}: {start}")


def compare(arrived: Digest, size: int) -> None:
    """Raise TransferError unless these are the bytes of blocks()."""
    if arrived != sent(size):
        raise TransferError(f"{size} bytes sent, but {arrived.size} or other bytes arrived")
