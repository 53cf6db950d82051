"""The load generator: raw non-blocking sockets on one epoll loop, on kept connections.

Unlike bench.lean it goes on after a failure, and counts it: another status or body than expected,
a connection lost, or no complete response in time. A failure counts as long as it took. See
bench.workers for how it is driven. The answer is `cpu`, seconds of this process, and for each
group `completed` (responses within the slice), `answered` (those after it, too), `latencies` in
microseconds and `failures` (how many, by reason).

Latencies are those of all requests that were due within the slice. A client that asks at a steady
pace, whatever becomes of the request before, counts from when each was due, so that one that is
kept waiting is not counted once where others are counted a hundred times ("coordinated omission").
"""

from __future__ import annotations

import heapq
import select
import sys
import time

from bench import worker
from bench.fastcgi.client import Client, Group
from bench.fastcgi.job import Job

_LOOK_SECONDS = 0.05


class _Load:
    """The clients of one job."""

    def __init__(self, job: Job) -> None:
        self.port = job.port
        self.end = 0  # of the slice; monotonic nanoseconds
        self.groups = [Group(each) for each in job.groups]
        self._timeout = int(job.timeout * 1e9)
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        self._asking: set[Client] = set()
        self._look = 0
        self._later: list[tuple[int, int, Client]] = []  # a heap; the number breaks ties
        now = time.monotonic_ns()
        for group, each in zip(self.groups, job.groups, strict=True):
            for delay in each.delays:
                self._ask_later(Client(self, group, now + int(delay * 1e9)))

    def watch(self, fd: int, client: Client) -> None:
        """See client.Owner."""
        self._by_fd[fd] = client
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """See client.Owner."""
        del self._by_fd[fd]
        self._epoll.unregister(fd)

    def next(self, client: Client, now: int) -> None:
        """See client.Owner."""
        every = client.group.every
        if now >= self.end:
            self._asking.discard(client)
            if every:
                never_asked = range(client.due + every, self.end, every)
                client.group.latencies += [now - due for due in never_asked]
        elif client.due + every > now:
            self._asking.discard(client)
            client.due += every
            self._ask_later(client)
        else:
            client.due += every
            client.ask()

    def _ask_later(self, client: Client) -> None:
        heapq.heappush(self._later, (client.due, id(client), client))

    def run(self, seconds: float) -> None:
        """Load for so long; what is in flight stays so."""
        self.end = 1 << 63  # until the slice's end is known, everybody goes on
        self._until(time.monotonic_ns() + int(seconds * 1e9))

    def run_and_finish(self, seconds: float) -> None:
        """Load for so long, counting from now, and finish what is in flight then."""
        for group in self.groups:
            group.clear()
        self.end = time.monotonic_ns() + int(seconds * 1e9)
        self._until(self.end)
        self._later.clear()
        while self._asking:
            self._turn()

    def _until(self, when: int) -> None:
        while time.monotonic_ns() < when:
            self._turn()

    def _turn(self) -> None:
        by_fd = self._by_fd
        for fd, _ in self._epoll.poll(_LOOK_SECONDS if not self._later else 0.001):
            client = by_fd.get(fd)
            if client is not None:
                client.readable()
        now = time.monotonic_ns()
        if self._later:
            self._begin(now)
        if now >= self._look:
            self._look = now + int(_LOOK_SECONDS * 1e9)
            self._time_out(now)

    def _begin(self, now: int) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, client = heapq.heappop(self._later)
            self._asking.add(client)
            client.ask()

    def _time_out(self, now: int) -> None:
        for client in [each for each in self._asking if now - each.asked > self._timeout]:
            client.fail(f"no response within {self._timeout / 1e9:g} s")

    def close(self) -> None:
        """Close all connections."""
        for client in list(self._by_fd.values()):
            client.close()
        self._epoll.close()


def _measured(group: Group) -> dict[str, object]:
    return {
        "completed": group.completed,
        "answered": group.answered,
        "latencies": [value // 1000 for value in group.latencies],
        "failures": dict(group.failures),
    }


def _perform(line: str) -> None:
    job = Job.of(line)
    load = _Load(job)

    def measured(_: None) -> dict[str, object]:
        return {"groups": [_measured(each) for each in load.groups]}

    worker.perform(load, job.warm_up, lambda: load.run_and_finish(job.duration), measured)


if __name__ == "__main__":
    sys.exit(worker.serve(_perform))
