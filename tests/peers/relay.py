"""What the tests of `fastcar relay` stand on: it in front of backends, both really running."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import socket
import tempfile
from collections import OrderedDict
from collections.abc import Callable

from tests.peers.case import PeersTestCase, Twistd
from tests.peers.processes import LIMIT
from tests.peers.sockets import Peer, RawOrigin


class Relay(Twistd):
    """A `fastcar relay`, on a UNIX socket and on a loopback port."""

    def __init__(self, folder: str, *options: str) -> None:
        """Start it in `folder`, with options that name a backend; wait until it listens."""
        self.socket = os.path.join(folder, "relay.sock")
        fixed = ("--listen", f"unix:{self.socket}", "--listen", "tcp:0:interface=127.0.0.1")
        super().__init__(folder, "relay", *fixed, *options)
        self.wait_for(r"relaying to .*\n")
        self.port = int(self.wait_for(r"listening on tcp:127\.0\.0\.1:(\d+)\n")[1])

    def dial(self) -> Peer:
        """Connect to its UNIX socket."""
        return Peer.dial(self.socket)

    def dial_tcp(self) -> Peer:
        """Connect to its port."""
        return dial_port(self.port)


def dial_port(port: int) -> Peer:
    """A connection to a loopback port; what is sent split on it arrives split."""
    sock = socket.create_connection(("127.0.0.1", port), LIMIT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Peer(sock)


class SharedBackend(RawOrigin):
    """A backend that several tests use, one after the other, each with a script of its own."""

    def __init__(self) -> None:
        super().__init__(_end_at_once)

    def play(self, script: Callable[[Peer], None]) -> None:
        """Run `script` for each connection from now on."""
        self._script = script
        self.accepted = 0

    def end(self) -> None:
        """End the connections, and raise what the script has raised."""
        self._script = _end_at_once
        sockets, self._sockets[:] = list(self._sockets), []
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.wait()
        failures, self._failures[:] = list(self._failures), []
        if failures:
            raise failures[0]


def _end_at_once(peer: Peer) -> None:
    """A script for those who come when nobody expects them."""


shared_backend = functools.cache(SharedBackend)

#: Relays that are kept for other tests.
MAX_SHARED = 6


class SharedRelays:
    """Those that several tests use, as many as were used last."""

    def __init__(self) -> None:
        self._relays: OrderedDict[tuple[str, ...], tuple[str, Relay]] = OrderedDict()
        atexit.register(self.close)

    def get(self, options: tuple[str, ...]) -> Relay:
        """One with these options."""
        found = self._relays.pop(options, None)
        if found is None:
            folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
            found = folder, Relay(folder, *options)
        self._relays[options] = found
        if len(self._relays) > MAX_SHARED:
            self._end(*self._relays.popitem(last=False)[1])
        return found[1]

    def close(self) -> None:
        """End them."""
        while self._relays:
            self._end(*self._relays.popitem()[1])

    @staticmethod
    def _end(folder: str, relay: Relay) -> None:
        relay.stop()
        shutil.rmtree(folder, ignore_errors=True)


shared_relays = functools.cache(SharedRelays)


class RelayTestCase(PeersTestCase):
    """A test with relays, which fails if one of them has logged a bug by its end."""

    def shared_relay(self, *options: str, backend: str | RawOrigin | None = None) -> Relay:
        """One that other tests use too; its backend has to outlive them."""
        relay = shared_relays().get((*_named(backend), *options))
        relay.new_output()
        self.addCleanup(self._assert_no_bug, relay)
        return relay

    def start_relay(self, *options: str, backend: str | RawOrigin | None = None) -> Relay:
        """A relay; `backend` is an endpoint, or an origin of a script."""
        relay = Relay(self.folder(), *_named(backend), *options)
        # Last added, first run.
        self.addCleanup(self._assert_no_bug, relay)
        self.addCleanup(relay.stop)
        return relay

    def client(self, relay: Relay, data: bytes = b"") -> Peer:
        """A connection to the relay's port, on which `data` has been sent."""
        peer = relay.dial_tcp()
        self.addCleanup(peer.close)
        if data:
            peer.send(data)
        return peer

    def backend(self, script: Callable[[Peer], None]) -> RawOrigin:
        """The backend that all tests share; it runs `script` for each connection of this one's."""
        backend = shared_backend()
        backend.play(script)
        self.addCleanup(backend.end)
        return backend


def _named(backend: str | RawOrigin | None) -> tuple[str, ...]:
    if isinstance(backend, RawOrigin):
        backend = f"tcp:{backend.authority}"
    return () if backend is None else ("--backend", backend)
