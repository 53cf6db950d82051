"""The load generator of requests: raw non-blocking sockets on one epoll loop.

A request is a line, and its answer the same line. A client sends `depth` of them at once, and the
next when all have been answered; on a kept connection, or on a new one each time. It goes on after
a failure, and counts it: other bytes than those sent, or a connection lost. See bench.workers for
how it is driven. The answer is `answered`, how many lines; `elapsed`, seconds; `latencies` of each
batch in microseconds; and `failures`, how many batches, by reason.
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass

from bench import worker
from bench.wire import TIMEOUT, dial
from bench.workers import LoadError

_SHORTEST, _LONGEST = 32, 64  # bytes of a line
_BATCHES = 4  # different ones of each client
_SIZE = 1 << 16


@dataclass(frozen=True)
class Job:
    """A slice of load on a port of 127.0.0.1; times in seconds."""

    port: int
    clients: int
    depth: int
    fresh: bool
    warm_up: float
    duration: float

    def plain(self) -> dict[str, object]:
        """Return what the constructor takes, before it is JSON."""
        return asdict(self)


def _line(client: int, batch: int, number: int, chance: random.Random) -> bytes:
    size = chance.randint(_SHORTEST, _LONGEST)
    return f"{client} {batch} {number} ".encode().ljust(size - 1, b".") + b"\n"


class _Client:
    """One client: one batch at a time."""

    __slots__ = ("_batches", "_begun", "_expected", "_got", "_load", "_sock", "_turn")

    def __init__(self, load: _Load, number: int) -> None:
        chance = random.Random(number)
        self._load = load
        self._batches = [
            b"".join(_line(number, batch, line, chance) for line in range(load.job.depth))
            for batch in range(_BATCHES)
        ]
        self._turn = 0
        self._sock: socket.socket | None = None

    def ask(self) -> None:
        """Send the next batch, after connecting if need be."""
        self._begun = time.monotonic_ns()
        self._turn = (self._turn + 1) % _BATCHES
        self._expected = self._batches[self._turn]
        self._got = b""
        sock = self._sock or self._connect()
        try:
            sent = sock.send(self._expected)
        except OSError as error:
            self._fail(f"send: {error.strerror}")
            return
        if sent < len(self._expected):
            raise LoadError("a batch does not fit into the socket")

    def _connect(self) -> socket.socket:
        sock = dial(("127.0.0.1", self._load.job.port))
        sock.setblocking(False)
        self._sock = sock
        self._load.watch(sock.fileno(), self)
        return sock

    def readable(self) -> None:
        """Take what has arrived; after the last answer go on with the next batch."""
        assert self._sock is not None
        try:
            data = self._sock.recv(_SIZE)
        except OSError as error:
            self._fail(f"receive: {error.strerror}")
            return
        if not data:
            self._fail("connection closed before the last answer")
            return
        if self._got:
            data = self._got + data
        if data == self._expected:
            self._completed()
        elif self._expected.startswith(data):
            self._got = data
        else:
            self._fail("other bytes than those sent")

    def _completed(self) -> None:
        load = self._load
        load.latencies.append(time.monotonic_ns() - self._begun)
        if load.job.fresh:
            self.close()
        load.next(self)

    def _fail(self, reason: str) -> None:
        self._load.failures[reason] += 1
        self.close()
        self._load.next(self)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._sock is not None:
            self._load.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None


class _Load:
    """The clients of one job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.latencies: list[int] = []  # nanoseconds
        self.failures: Counter[str] = Counter()
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Client] = {}
        self._clients = [_Client(self, number) for number in range(job.clients)]
        self._asking: set[_Client] = set()
        self._end = 0

    def watch(self, fd: int, client: _Client) -> None:
        """Call the client when its socket is readable."""
        self._by_fd[fd] = client
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Call nobody for this socket any more."""
        del self._by_fd[fd]
        self._epoll.unregister(fd)

    def next(self, client: _Client) -> None:
        """Let a client that is done go on until the time is over."""
        if time.monotonic_ns() < self._end:
            client.ask()
        else:
            self._asking.discard(client)

    def run(self, seconds: float) -> float:
        """Load for so long, finish what is in flight, and return the seconds it took."""
        self.latencies.clear()
        self.failures.clear()
        begun = time.monotonic_ns()
        self._end = begun + int(seconds * 1e9)
        self._asking.update(self._clients)
        for client in self._clients:
            client.ask()
        poll, by_fd = self._epoll.poll, self._by_fd
        while self._asking:
            events = poll(TIMEOUT)
            if not events:
                raise LoadError(f"no answer for {TIMEOUT:.0f} s")
            for fd, _ in events:
                if fd in by_fd:
                    by_fd[fd].readable()
        return (time.monotonic_ns() - begun) / 1e9

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.close()
        self._epoll.close()


def _perform(line: str) -> None:
    job = Job(**json.loads(line))
    load = _Load(job)

    def measured(elapsed: float) -> dict[str, object]:
        return {
            "answered": len(load.latencies) * job.depth,
            "elapsed": elapsed,
            "latencies": [value // 1000 for value in load.latencies],
            "failures": dict(load.failures),
        }

    worker.perform(load, job.warm_up, lambda: load.run(job.duration), measured)


if __name__ == "__main__":
    sys.exit(worker.serve(_perform))
