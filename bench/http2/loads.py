"""The kinds of load: how each is driven, and what it tells."""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bench import transfer, workers
from bench.http2.proxies import Proxy
from bench.jobs import Generator, Job
from bench.measure import Pace
from bench.origin import HOST
from bench.scenarios import SMALL
from bench.wire import Connection, client_context
from bench.workers import LoadError, Worker


@dataclass(frozen=True)
class Load:
    """What a slice of load amounts to: requests or MB; seconds; latencies in microseconds."""

    amount: float
    elapsed: float
    cpu: float  # of the generator
    latencies: list[int]  # sorted


# Loads a proxy; calls what it is given just before what counts. Raises LoadError.
Run: TypeAlias = Callable[[Proxy, Pace, Callable[[], None]], Load]


class Kind(Protocol):
    """A kind of load."""

    @property
    def unit(self) -> str:
        """Return what is counted."""

    def generator(self) -> AbstractContextManager[Run]:
        """Have a generator while the block lasts."""


def _job(proxy: Proxy, pace: Pace, clients: int, path: str) -> Job:
    return Job(
        scheme="https",
        host=HOST,
        port=proxy.port,
        path=path,
        socket=proxy.socket,
        ca=proxy.ca_file,
        clients=clients,
        fresh=False,
        length=len(SMALL.body),
        warm_up=pace.warm_up,
        duration=pace.duration,
    )


@dataclass(frozen=True)
class Requests:
    """The small resource, by clients on kept connections; `longer`: slices, so many times."""

    clients: int
    path: str
    longer: float = 1.0
    unit: str = "req"

    @contextlib.contextmanager
    def generator(self) -> Iterator[Run]:
        """See Kind."""
        with contextlib.closing(Generator("lean")) as lean:

            def run(proxy: Proxy, pace: Pace, at_start: Callable[[], None]) -> Load:
                pace = Pace(pace.rounds, pace.duration * self.longer, pace.warm_up)
                load = lean.run(_job(proxy, pace, self.clients, self.path), at_start)
                return Load(len(load.latencies), load.elapsed, load.cpu, load.latencies)

            yield run


@dataclass(frozen=True)
class Burst:
    """One request by each client, all at once; the rate is that until the last answer."""

    clients: int
    path: str
    unit: str = "req"

    @contextlib.contextmanager
    def generator(self) -> Iterator[Run]:
        """See Kind."""

        def run(proxy: Proxy, pace: Pace, at_start: Callable[[], None]) -> Load:
            job = _job(proxy, pace, self.clients, self.path)
            with contextlib.closing(Worker([sys.executable, "-m", "bench.http2.burst"])) as worker:
                (answer,) = workers.run([worker], job.__dict__, at_start)
            latencies = sorted(answer["latencies"])
            return Load(len(latencies), answer["elapsed"], answer["cpu"], latencies)

        yield run


@dataclass(frozen=True)
class Transfer:
    """So many bytes one way, as one response or one request; the checksum is compared."""

    size: int
    upward: bool
    unit: str = "MB"

    @contextlib.contextmanager
    def generator(self) -> Iterator[Run]:
        """See Kind."""
        sent = transfer.sent(self.size)
        move = self._upload if self.upward else self._download

        def run(proxy: Proxy, pace: Pace, at_start: Callable[[], None]) -> Load:
            context = client_context(proxy.ca_file)
            with contextlib.closing(
                Connection(proxy.socket, HOST, proxy.port, context)
            ) as connection:
                try:
                    connection.fetch(SMALL.path)
                    at_start()
                    cpu, begun = time.process_time(), time.monotonic()
                    arrived = move(connection)
                    elapsed, cpu = time.monotonic() - begun, time.process_time() - cpu
                except (OSError, http.client.HTTPException, transfer.TransferError) as error:
                    raise LoadError(str(error) or type(error).__name__) from error
            if arrived != sent:
                raise LoadError(f"{self.size} bytes sent, {arrived.size} or other bytes arrived")
            return Load(self.size / 10**6, elapsed, cpu, [round(elapsed * 1e6)])

        yield run

    def _download(self, connection: Connection) -> transfer.Digest:
        connection.request("GET", f"/{self.size}")
        response = connection.getresponse()
        transfer.check(response)
        return transfer.read_all(response.readinto, self.size, slow=False)

    def _upload(self, connection: Connection) -> transfer.Digest:
        fields = {"Content-Length": str(self.size)}
        connection.request("POST", "/", transfer.blocks(self.size), fields)
        response = connection.getresponse()
        transfer.check(response)
        size, crc = response.read().split()
        return transfer.Digest(int(size), int(crc))
