"""A Redis of the tests' own, and a client that speaks RESP2 by hand."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import tempfile
import time

from tests.peers.gateway import free_port
from tests.peers.processes import LIMIT, Process, require
from tests.peers.sockets import Peer

Reply = bytes | int | list["Reply"] | None


class RedisError(Exception):
    """An error reply."""


def command(*arguments: str | bytes | int) -> bytes:
    """A command as clients send it: an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class RedisClient:
    """A client of Redis on a connection to it, or to what stands in front of it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def send(self, *arguments: str | bytes | int) -> None:
        """Send a command."""
        self.peer.send(command(*arguments))

    def ask(self, *arguments: str | bytes | int) -> Reply:
        """Send a command; return its reply."""
        self.send(*arguments)
        return self.read()

    def read(self) -> Reply:
        """The next reply. Raises RedisError if it is one, EOFError if there is none."""
        line = self.peer.read_through(b"\r\n")
        kind, text = line[:1], line[1:-2]
        if kind == b"+":
            return text
        if kind == b"-":
            raise RedisError(text.decode())
        number = int(text)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"$":
            return self.peer.read(number + 2)[:-2]
        return [self.read() for _ in range(number)]


class Redis(Process):
    """A redis-server on a UNIX socket and on a loopback port, which keeps nothing on the disk."""

    def __init__(self, folder: str, *options: str) -> None:
        """Start it in `folder`, and wait until it is ready."""
        self.socket = os.path.join(folder, "redis.sock")
        self.port = free_port()
        argv = [require("redis-server", "redis-server"), "--bind", "127.0.0.1"]
        argv += ["--port", str(self.port), "--unixsocket", self.socket, "--dir", folder]
        super().__init__([*argv, "--save", "", "--appendonly", "no", *options], folder)
        self.wait_for(r"ready to accept connections at /.*\n")
        self.control = RedisClient(Peer.dial(self.socket))
        #: Connections of our own since `reset`.
        self._own = 0

    @property
    def backend(self) -> str:
        """Where it listens, as an endpoint."""
        return f"unix:{self.socket}"

    def reset(self) -> None:
        """Forget all data, what was counted, and whom a test has left behind."""
        self.control.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.control.ask("FLUSHALL")
        self.control.ask("CONFIG", "RESETSTAT")
        self._own = 0

    def direct(self) -> RedisClient:
        """A connection of our own, which is not counted."""
        self._own += 1
        return RedisClient(Peer.dial(self.socket))

    def accepted(self) -> int:
        """The connections of others that it has accepted since `reset`."""
        return int(self._info("stats")["total_connections_received"]) - self._own

    def connected(self) -> int:
        """The connections that it has now, besides `control`."""
        return int(self._info("clients")["connected_clients"]) - 1

    def wait_connected(self, number: int) -> None:
        """Wait until it has this many connections, besides `control`."""
        end = time.monotonic() + LIMIT
        while self.connected() != number:
            if time.monotonic() > end:
                raise AssertionError(f"{self.connected()} connections, not {number}")

    def calls(self) -> dict[str, int]:
        """How often each command was called since `reset`."""
        stats = self._info("commandstats")
        return {
            name.removeprefix("cmdstat_"): int(value.partition(",")[0].removeprefix("calls="))
            for name, value in stats.items()
        }

    def _info(self, section: str) -> dict[str, str]:
        reply = self.control.ask("INFO", section)
        assert isinstance(reply, bytes)
        return dict(re.findall(r"^(\w[^:\n]*):(.*)\r$", reply.decode(), re.MULTILINE))


class Monitor:
    """Tells what a Redis is asked, when it is asked."""

    def __init__(self, redis: Redis) -> None:
        self._client = redis.direct()
        self._client.ask("MONITOR")

    def wait_for(self, name: str) -> None:
        """Wait until a command of this name has come."""
        while f'] "{name}"'.encode().upper() not in self.next().upper():
            pass

    def next(self) -> bytes:
        """The line that tells of the next command."""
        return self._client.peer.read_through(b"\r\n")

    def close(self) -> None:
        self._client.peer.close()


@functools.cache
def shared_redis() -> Redis:
    """The one that most tests use."""
    folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    redis = Redis(folder)
    atexit.register(redis.stop)
    return redis
