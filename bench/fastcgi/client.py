"""The clients of the load generator: raw non-blocking sockets, one request at a time each."""

from __future__ import annotations

import socket
import time
from collections import Counter
from typing import Protocol

from bench.fastcgi.job import GroupJob
from bench.fastcgi.response import STATUS_OK, Response, ResponseError
from bench.wire import dial
from bench.workers import LoadError

_BUFFER = bytearray(1 << 18)
_VIEW = memoryview(_BUFFER)
# A whole request must fit into an empty socket, so that it is sent by one call.
_SEND_BUFFER = 1 << 18


class Owner(Protocol):
    """The load that a client is part of; `end` of the slice is in monotonic nanoseconds."""

    port: int
    end: int

    def watch(self, fd: int, client: Client) -> None:
        """Call the client when its socket is readable."""

    def unwatch(self, fd: int) -> None:
        """Call nobody for this socket any more."""

    def next(self, client: Client, now: int) -> None:
        """Let a client that has its response go on, until the slice is over."""


class Group:
    """What a group of clients has in common, and what it has measured."""

    __slots__ = (
        "answered", "completed", "every", "expected", "failures", "latencies", "request", "tail",
    )  # fmt: skip

    def __init__(self, job: GroupJob) -> None:
        self.request = job.request.encode("latin-1")
        expected = job.expected
        self.expected = expected if isinstance(expected, int) else expected.encode("latin-1")
        self.every = int(job.every * 1e9)
        self.tail = b""  # of the first response, checked: the others end the same
        self.clear()

    def clear(self) -> None:
        """Forget what has been measured."""
        self.completed = self.answered = 0
        self.latencies: list[int] = []
        self.failures: Counter[str] = Counter()


class Client:
    """One client: one request at a time on one connection, and a new one after a failure."""

    __slots__ = ("_load", "_response", "_sock", "asked", "due", "group")

    def __init__(self, load: Owner, group: Group, due: int) -> None:
        self._load = load
        self.group = group
        self.due = due
        self.asked = 0
        self._sock: socket.socket | None = None
        self._response: Response | None = None

    def ask(self) -> None:
        """Send the next request, after connecting if need be."""
        self.asked = time.monotonic_ns()
        if not self.group.every:
            self.due = self.asked
        sock = self._sock or self._connect()
        try:
            sent = sock.send(self.group.request)
        except OSError as error:
            self.fail(f"send: {error.strerror}")
            return
        if sent < len(self.group.request):
            raise LoadError("a request does not fit into the socket")

    def _connect(self) -> socket.socket:
        sock = dial(("127.0.0.1", self._load.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        sock.setblocking(False)
        self._sock = sock
        self._load.watch(sock.fileno(), self)
        return sock

    def readable(self) -> None:
        """Take what has arrived; at the end of the response go on with the next request."""
        assert self._sock is not None
        try:
            size = self._sock.recv_into(_BUFFER)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(f"receive: {error.strerror}")
            return
        tail = self.group.tail
        if not size:
            self.fail("connection closed before the end of a response")
        elif tail and self._response is None and _whole(size, tail):
            self._completed()
        else:
            self._take(_VIEW[:size].tobytes())

    def _take(self, data: bytes) -> None:
        response = self._response = self._response or Response(self.group.expected)
        try:
            if response.feed(data):
                self.group.tail = response.tail()
                self._completed()
        except ResponseError as error:
            self.fail(str(error))

    def _completed(self) -> None:
        self._response = None
        now = time.monotonic_ns()
        self.group.latencies.append(now - self.due)
        self.group.answered += 1
        if now < self._load.end:
            self.group.completed += 1
        self._load.next(self, now)

    def fail(self, reason: str) -> None:
        """Count a failure and go on with a new connection."""
        now = time.monotonic_ns()
        self.group.latencies.append(now - self.due)
        self.group.failures[reason] += 1
        self.close()
        self._load.next(self, now)

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._response = None
        if self._sock is not None:
            self._load.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None


def _whole(size: int, tail: bytes) -> bool:
    return _BUFFER.startswith(STATUS_OK) and _BUFFER.endswith(tail, 0, size)
