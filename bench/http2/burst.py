"""A load generator: clients that are connected ask once, all at the same time.

That is what a proxy meets that has just been started. See bench.workers for how it is driven; the
clients connect in the warm-up.
"""

from __future__ import annotations

import json
import select
import ssl
import sys
import time

from bench import worker
from bench.fastcgi.response import Response, ResponseError
from bench.jobs import Job
from bench.wire import TIMEOUT, client_context, dial
from bench.workers import LoadError


class _Client:
    """One client, with one request."""

    __slots__ = ("_begun", "_response", "sock")

    def __init__(self, job: Job, context: ssl.SSLContext) -> None:
        self.sock = context.wrap_socket(dial(job.socket), server_hostname=job.host)
        self.sock.setblocking(False)
        self._response = Response(job.length)

    def send(self, request: bytes) -> None:
        """Ask."""
        self._begun = time.monotonic_ns()
        self.sock.send(request)

    def read(self) -> int | None:
        """Take what has come; return the nanoseconds it took, once all has come."""
        try:
            while data := self.sock.recv(1 << 16):
                if self._response.feed(data):
                    return time.monotonic_ns() - self._begun
        except ssl.SSLWantReadError:
            return None
        except ResponseError as error:
            raise LoadError(str(error)) from None
        raise LoadError("connection closed before the end of a response")


class _Load:
    """The clients of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._context = client_context(job.ca)
        self._request = f"GET {job.path} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\n\r\n".encode()
        self._epoll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self.latencies: list[int] = []

    def run(self, seconds: float) -> None:
        """Connect, however long that takes."""
        for _ in range(self._job.clients):
            client = _Client(self._job, self._context)
            self._clients[client.sock.fileno()] = client
            self._epoll.register(client.sock.fileno(), select.EPOLLIN)

    def ask(self) -> float:
        """Ask, take the answers, and return the seconds it took."""
        begun = time.monotonic_ns()
        for client in self._clients.values():
            client.send(self._request)
        while len(self.latencies) < len(self._clients):
            events = self._epoll.poll(TIMEOUT)
            if not events:
                raise LoadError(f"no response for {TIMEOUT:.0f} s")
            for fd, _ in events:
                latency = self._clients[fd].read()
                if latency is not None:
                    self.latencies.append(latency)
        return (time.monotonic_ns() - begun) / 1e9

    def close(self) -> None:
        for client in self._clients.values():
            client.sock.close()
        self._epoll.close()


def _perform(line: str) -> None:
    job = Job(**json.loads(line))
    load = _Load(job)

    def measured(elapsed: float) -> dict[str, object]:
        return {"elapsed": elapsed, "latencies": [value // 1000 for value in load.latencies]}

    worker.perform(load, job.warm_up, load.ask, measured)


if __name__ == "__main__":
    sys.exit(worker.serve(_perform))
