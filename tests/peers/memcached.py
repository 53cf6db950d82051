"""A memcached of the tests' own."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import tempfile

from tests.peers.gateway import free_port
from tests.peers.processes import Process, require
from tests.peers.relay import dial_port
from tests.peers.sockets import Peer


class Memcached(Process):
    """A running memcached, on a UNIX socket or on a loopback port."""

    def __init__(self, folder: str, *, tcp: bool = False) -> None:
        """Start it in `folder`, and wait until it listens."""
        self.socket = os.path.join(folder, "memcached.sock")
        self.port = free_port() if tcp else 0
        argv = [require("memcached", "memcached"), "-vv"]
        argv += ["-u", pwd.getpwuid(os.geteuid()).pw_name]
        argv += ["-l", "127.0.0.1", "-p", str(self.port)] if tcp else ["-s", self.socket]
        super().__init__(argv, folder)
        self.wait_for(r"server listening")
        self.control = dial_port(self.port) if tcp else Peer.dial(self.socket)
        #: What was accepted before the counting began.
        self._before = 0

    @property
    def backend(self) -> str:
        """Where it listens, as an endpoint."""
        return f"tcp:127.0.0.1:{self.port}" if self.port else f"unix:{self.socket}"

    def reset(self) -> None:
        """Forget all data, and what was counted."""
        self.control.send(b"flush_all\r\n")
        self.control.read_through(b"OK\r\n")
        self._before = self._total_connections()

    def accepted(self) -> int:
        """The connections that it has accepted since `reset`."""
        return self._total_connections() - self._before

    def _total_connections(self) -> int:
        self.control.send(b"stats\r\n")
        lines = self.control.read_through(b"END\r\n").split(b"\r\n")
        return next(int(line.split()[2]) for line in lines if b" total_connections " in line)


@functools.cache
def shared_memcached() -> Memcached:
    """The one that most tests use."""
    folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    memcached = Memcached(folder)
    atexit.register(memcached.stop)
    return memcached
