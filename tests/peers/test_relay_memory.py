"""What a relay keeps in memory: little, however slowly anybody reads and however many are idle."""

from __future__ import annotations

import itertools
import resource
import socket
import threading
from collections.abc import Callable
from queue import Queue
from unittest import SkipTest

from tests.peers.processes import LIMIT
from tests.peers.relay import Relay, RelayTestCase
from tests.peers.sockets import Peer

MIB = 1 << 20
#: Frames that are sent, of 1 MiB each.
COUNT = 64
#: Bytes that all kernel buffers on the way may take together.
ON_THE_WAY = 16 * MIB
#: KiB that the process may grow by.
GROWTH = 16 * 1024
POOLED = ("--pool", "2", "--framing", "length:N:0:4")

#: So many connections, and KiB that each may take with the backend's.
PAIRS = 500
PAIR_KIB = 25


def frame(number: int, size: int) -> bytes:
    """A frame of `size` bytes, behind their count; no two are alike."""
    return size.to_bytes(4, "big") + number.to_bytes(8, "big") * (size // 8)


def read_frame(peer: Peer) -> bytes:
    """What comes, if it is a frame."""
    head = peer.read(4)
    return head + peer.read(int.from_bytes(head, "big"))


SMALL, ASKING = frame(1, 8), frame(2, 8)


class Pusher:
    """Sends, and tells when that does not go on for the first time, or at the end that it did.

    A reader that is merely slow may be taken for a stalled one; that makes the figure smaller, and
    never a test fail.
    """

    def __init__(self, stalled: Callable[[int], None]) -> None:
        """`stalled` is told how many bytes were sent."""
        self._stalled = stalled
        self._sent = 0
        self._told = False

    def send(self, peer: Peer, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            peer.socket.settimeout(LIMIT if self._told else 0.5)
            try:
                count = peer.socket.send(rest)
            except TimeoutError:
                if self._told:
                    raise
                self.tell()
            else:
                self._sent += count
                rest = rest[count:]
        peer.socket.settimeout(LIMIT)

    def tell(self) -> None:
        """Tell, if that was not done."""
        if not self._told:
            self._told = True
            self._stalled(self._sent)


class SlowReaderTests(RelayTestCase):
    """Who does not read stops the one who sends, and nobody else; memory does not grow."""

    def setUp(self) -> None:
        """Nothing has stalled, and nobody may go on."""
        super().setUp()
        self.stalls: Queue[int] = Queue()
        self.go_on = threading.Event()

    def test_client_of_pair(self) -> None:
        """A backend has to stop while its client does not read."""
        self.check_client()

    def test_backend_of_pair(self) -> None:
        """A client has to stop while its backend does not read."""
        self.check_backend()

    def test_pooled_client(self) -> None:
        """So has a backend that owes one client many responses; others are served meanwhile."""
        self.check_client(*POOLED)

    def test_pooled_backend(self) -> None:
        """So has a client whose requests a backend does not take; others are served meanwhile."""
        self.check_backend(*POOLED)

    def check_client(self, *options: str) -> None:
        def stalled(sent: int) -> None:
            self.stalls.put(sent)
            self.go_on.wait(LIMIT)

        def script(peer: Peer) -> None:
            pusher = Pusher(stalled)
            for number in itertools.count():
                while read_frame(peer) == SMALL:
                    peer.send(SMALL)
                pusher.send(peer, frame(number, MIB))
                if number == COUNT - 1:
                    pusher.tell()

        relay, before = self.start_serving(script, *options)
        client = relay.dial()
        self.addCleanup(client.close)
        client.send(ASKING * COUNT)
        self.assertLess(self.stalls.get(timeout=LIMIT), ON_THE_WAY)
        for _ in range(10):
            self.assert_serving(relay)
        self.go_on.set()
        for number in range(COUNT):
            self.assertTrue(read_frame(client) == frame(number, MIB), number)
        self.assertLess(relay.peak_kib() - before, GROWTH)

    def check_backend(self, *options: str) -> None:
        numbers = itertools.count()

        def script(peer: Peer) -> None:
            while True:
                request = read_frame(peer)
                if request != SMALL:
                    self.go_on.wait(LIMIT)
                    number = next(numbers)
                    request = ASKING if request == frame(number, MIB) else b""
                peer.send(request)

        def stalled(sent: int) -> None:
            self.stalls.put(sent)
            for _ in range(10):
                self.assert_serving(relay)
            self.go_on.set()

        relay, before = self.start_serving(script, *options)
        client = relay.dial()
        self.addCleanup(client.close)
        pusher = Pusher(stalled)
        for number in range(COUNT):
            pusher.send(client, frame(number, MIB))
        pusher.tell()
        self.assertEqual(client.read(len(ASKING) * COUNT), ASKING * COUNT)
        self.assertLess(self.stalls.get_nowait(), ON_THE_WAY)
        self.assertLess(relay.peak_kib() - before, GROWTH)

    def start_serving(self, script: Callable[[Peer], None], *options: str) -> tuple[Relay, int]:
        """A relay that has been used once, and its resident memory then, in KiB."""
        relay = self.start_relay(*options, backend=self.backend(script))
        self.assert_serving(relay)
        return relay, relay.resident_kib()

    def assert_serving(self, relay: Relay) -> None:
        """A small frame is answered with the same."""
        peer = relay.dial()
        try:
            peer.send(SMALL)
            self.assertEqual(read_frame(peer), SMALL)
        finally:
            peer.close()


class IdlePairsTests(RelayTestCase):
    """Clients that have a connection of their own, and do not use it."""

    def setUp(self) -> None:
        """Have descriptors for them."""
        super().setUp()
        need = 3 * PAIRS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = resource.RLIM_INFINITY
        if hard != unlimited and hard < need:
            raise SkipTest(f"the limit of descriptors is {hard} (ulimit -Hn), {need} are needed")
        if soft != unlimited and soft < need:
            resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def test_memory(self) -> None:
        """They take little memory each."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(LIMIT)
        self.addCleanup(listener.close)
        relay = self.start_relay(backend=f"tcp:127.0.0.1:{listener.getsockname()[1]}")
        self.open_pairs(relay, listener, PAIRS // 10)
        before = relay.resident_kib()
        self.open_pairs(relay, listener, PAIRS)
        self.assertLess((relay.resident_kib() - before) / PAIRS, PAIR_KIB)

    def open_pairs(self, relay: Relay, listener: socket.socket, count: int) -> None:
        """Have clients and their backend say one word each."""
        for _ in range(count):
            client = relay.dial_tcp()
            self.addCleanup(client.close)
            client.send(b"hello")
            backend = Peer(listener.accept()[0])
            self.addCleanup(backend.close)
            self.assertEqual(backend.read(5), b"hello")
            backend.send(b"welcome")
            self.assertEqual(client.read(7), b"welcome")
