"""The lean load generator: raw non-blocking sockets on one epoll loop, for any number of clients.

It sends what PHP's curl sends and costs a fraction of it, so that it is not what is measured.
Every response is checked for status and length. See workers.py for how it is driven.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import ssl
import sys
import time

from bench import worker
from bench.jobs import Job
from bench.wire import TIMEOUT, client_context, dial
from bench.workers import LoadError

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BUFFER = bytearray(1 << 18)


class _Client:
    """One client: one request at a time, on a new or on a kept connection."""

    __slots__ = ("_begun", "_connected", "_head", "_load", "_missing", "_shaking", "_sock")

    _sock: socket.socket

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._connected = False
        self._shaking = False

    def start(self) -> None:
        """Send the next request, after connecting if need be."""
        self._begun = time.monotonic_ns()
        self._head = b""
        self._missing = -1  # unknown before the head has come
        if not self._connected:
            self._connect()
        if not self._shaking:
            self._sock.send(self._load.request)

    def _connect(self) -> None:
        load = self._load
        sock = dial(load.address)
        sock.setblocking(False)
        if load.context is not None:
            sock = load.context.wrap_socket(
                sock, server_hostname=load.job.host, do_handshake_on_connect=False
            )
            self._shaking = True
        self._sock = sock
        self._connected = True
        load.register(sock.fileno(), self)
        if self._shaking:
            self._shake()

    def _shake(self) -> None:
        assert isinstance(self._sock, ssl.SSLSocket)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._sock.do_handshake()
            self._shaking = False

    def readable(self) -> None:
        """Take what has arrived; at the end of the response go on with the next request."""
        if self._shaking:
            self._shake()
            if not self._shaking:
                self._sock.send(self._load.request)
            return
        while self._missing:
            try:
                size = self._sock.recv_into(_BUFFER)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not size:
                raise LoadError("connection closed before the end of a response")
            self._take(size)
        self._load.latencies.append(time.monotonic_ns() - self._begun)
        if self._load.job.fresh:
            self.close()
        self._load.completed(self)

    def _take(self, size: int) -> None:
        if self._missing < 0:
            self._missing = self._measure(size)
            return
        self._missing -= size
        if self._missing < 0:
            raise LoadError("more bytes than the response's length")

    def _measure(self, size: int) -> int:
        """Return how many body bytes are still to come, -1 while the head is incomplete."""
        data: bytes | bytearray = _BUFFER
        if self._head:
            data = self._head + _BUFFER[:size]
            size = len(data)
        end = data.find(b"\r\n\r\n", 0, size)
        if end < 0:
            self._head = bytes(data[:size])
            return -1
        self._head = b""
        if not data.startswith(b"HTTP/1.1 200 "):
            raise LoadError(f"expected status 200, got {bytes(data[: min(size, 60)])!r}")
        length = _CONTENT_LENGTH.search(data, 0, end + 2)
        if length is None or int(length[1]) != self._load.job.length:
            raise LoadError(f"expected Content-Length: {self._load.job.length}")
        missing = end + 4 + self._load.job.length - size
        if missing < 0:
            raise LoadError("more bytes than the response's length")
        return missing

    def close(self) -> None:
        """Close the connection, if there is one."""
        if not self._connected:
            return
        if isinstance(self._sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()  # close_notify, as curl sends it
        self._sock.close()
        self._connected = False


class _Load:
    """The clients of one job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.address = job.socket or ("127.0.0.1", job.port)
        self.context = client_context(job.ca) if job.scheme == "https" else None
        self.request = (
            f"GET {job.path} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\nAccept: */*\r\n\r\n"
        ).encode()
        self.latencies: list[int] = []  # nanoseconds
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Client] = {}
        self._clients = [_Client(self) for _ in range(job.clients)]
        self._active = 0
        self._end = 0

    def register(self, fd: int, client: _Client) -> None:
        """Call the client when its socket is readable, until that is closed."""
        self._by_fd[fd] = client
        self._epoll.register(fd, select.EPOLLIN)

    def completed(self, client: _Client) -> None:
        """Let the client go on until the time is over."""
        if time.monotonic_ns() < self._end:
            client.start()
        else:
            self._active -= 1

    def run(self, seconds: float) -> float:
        """Load for so long, finish what is in flight, and return the seconds it took."""
        self.latencies.clear()
        begun = time.monotonic_ns()
        self._end = begun + int(seconds * 1e9)
        self._active = len(self._clients)
        for client in self._clients:
            client.start()
        poll, by_fd = self._epoll.poll, self._by_fd
        while self._active:
            events = poll(TIMEOUT)
            if not events:
                raise LoadError(f"no response for {TIMEOUT:.0f} s")
            for fd, _ in events:
                by_fd[fd].readable()
        return (time.monotonic_ns() - begun) / 1e9

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._epoll.close()


def _perform(line: str) -> None:
    job = Job(**json.loads(line))
    load = _Load(job)

    def measured(elapsed: float) -> dict[str, object]:
        return {"elapsed": elapsed, "latencies": [value // 1000 for value in load.latencies]}

    worker.perform(load, job.warm_up, lambda: load.run(job.duration), measured)


if __name__ == "__main__":
    sys.exit(worker.serve(_perform))
