"""More clients than connections: who waits, and what those are told who may not."""

from __future__ import annotations

import contextlib
import queue
import resource
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from unittest import SkipTest

from tests.peers.case import Fastcar, PeersTestCase
from tests.peers.processes import LIMIT
from tests.peers.sockets import Peer, RawOrigin
from tests.peers.tcp import is_open

#: Clients at once, and connections for them.
CROWD = 1000
CAP = 8


class Ledger:
    """What origins write down together.

    `arrived` has the numbers of the requests in the order of their arrival; `most` is how many
    connections were open at a time.
    """

    def __init__(self) -> None:
        self.arrived: queue.Queue[int] = queue.Queue()
        self.most = 0
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def connected(self, sock: socket.socket) -> None:
        """A connection was accepted."""
        with self._lock:
            self._sockets = [each for each in self._sockets if is_open(each)] + [sock]
            self.most = max(self.most, len(self._sockets))

    def numbers(self, count: int) -> list[int]:
        """The next so many requests, when they are there."""
        return [self.arrived.get(timeout=LIMIT) for _ in range(count)]


class GatedOrigin:
    """An origin that answers a request only when it is told to."""

    def __init__(self, ledger: Ledger, fields: bytes) -> None:
        """With Connection: close in `fields` it ends each connection after one response."""
        self._ledger = ledger
        self._fields = fields
        self._go_on = threading.Semaphore(0)
        self.raw = RawOrigin(self._script)

    def answer(self, count: int) -> None:
        """Answer so many requests, those that are there or those that come."""
        self._go_on.release(count)

    def end(self) -> None:
        """Answer whatever waits, and close."""
        self.answer(10_000)
        self.raw.close()

    def _script(self, peer: Peer) -> None:
        self._ledger.connected(peer.socket)
        while True:
            path = peer.read_message().start_line.split(b" ")[1]
            self._ledger.arrived.put(int(path[1:]))
            self._go_on.acquire(timeout=LIMIT)
            head = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (self._fields, len(path))
            peer.send(head + path)
            if self._fields:
                return


class LimitsTestCase(PeersTestCase):
    """Clients that connect and ask once, as PHP does."""

    def setUp(self) -> None:
        super().setUp()
        self.ledger = Ledger()

    def gated(self, fields: bytes = b"") -> GatedOrigin:
        """An origin that waits to be told."""
        origin = GatedOrigin(self.ledger, fields)
        self.addCleanup(origin.end)
        return origin

    @contextlib.contextmanager
    def stopped(self, fastcar: Fastcar) -> Iterator[None]:
        """Have fastcar find all that is done here at once, in the order it was done in."""
        with open("/proc/sys/net/core/somaxconn") as file:
            backlog = int(file.read())
        if backlog < CROWD:
            raise SkipTest(f"net.core.somaxconn is {backlog}, {CROWD} are needed")
        fastcar.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            fastcar.send_signal(signal.SIGCONT)

    def ask(self, fastcar: Fastcar, origin: GatedOrigin, numbers: Iterable[int]) -> list[Peer]:
        """So many clients, one after the other."""
        clients = []
        for number in numbers:
            clients.append(self.dial(fastcar))
            authority = origin.raw.authority.encode()
            clients[-1].send(b"GET /%d HTTP/1.1\r\nHost: %b\r\n\r\n" % (number, authority))
        return clients

    def assert_answered(self, clients: list[Peer], numbers: Iterable[int]) -> None:
        """Each client has its own response."""
        for client, number in zip(clients, numbers, strict=True):
            answer = client.read_message()
            self.assertEqual(
                (answer.start_line, answer.body), (b"HTTP/1.1 200 OK", b"/%d" % number)
            )

    def assert_refused(self, client: Peer) -> None:
        """A client is told that there is no room, and when to come again."""
        answer = client.read_message()
        self.assertEqual(answer.start_line, b"HTTP/1.1 503 Service Unavailable")
        error = [b"fastcar; error=connection_limit_reached"]
        self.assertEqual(answer.values(b"Proxy-Status"), error)
        self.assertRegex(b",".join(answer.values(b"Retry-After")), rb"^[1-9]\d*$")


class CrowdTests(LimitsTestCase):
    """1,000 clients at once, and eight connections."""

    def setUp(self) -> None:
        """Have descriptors for them."""
        super().setUp()
        need = CROWD + 100
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = resource.RLIM_INFINITY
        if hard != unlimited and hard < need:
            raise SkipTest(f"the limit of descriptors is {hard} (ulimit -Hn), {need} are needed")
        if soft != unlimited and soft < need:
            resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def serve(self, origin: GatedOrigin) -> None:
        """Check that they are answered, eight at a time, in the order of their arrival."""
        limits = ("--max-connections-per-origin", str(CAP), "--max-queue", str(CROWD))
        fastcar = self.start_fastcar(*limits)
        with self.stopped(fastcar):
            clients = self.ask(fastcar, origin, range(CROWD))
        for start in range(0, CROWD, CAP):
            # Nobody is answered until eight are there: the next ones of the line.
            self.assertEqual(sorted(self.ledger.numbers(CAP)), list(range(start, start + CAP)))
            origin.answer(CAP)
        self.assert_answered(clients, range(CROWD))
        self.assertEqual(self.ledger.most, CAP)

    def test_kept(self) -> None:
        """All are answered, over eight connections, in the order of their arrival."""
        origin = self.gated()
        self.serve(origin)
        self.assertEqual(origin.raw.accepted, CAP)

    def test_closed(self) -> None:
        """So they are when each connection serves once: never more than eight are open."""
        origin = self.gated(b"Connection: close\r\n")
        self.serve(origin)
        self.assertEqual(origin.raw.accepted, CROWD)


class QueueTests(LimitsTestCase):
    """Those who wait."""

    def test_full(self) -> None:
        """With --max-queue waiting the others are refused while those still wait, who are then
        served."""
        origin = self.gated()
        fastcar = self.start_fastcar("--max-connections-per-origin", "1", "--max-queue", "10")
        clients = self.ask(fastcar, origin, range(30))
        refused = _readable(clients, 19)
        for client in refused:
            self.assert_refused(client)
        waiting = [client for client in clients if client not in refused]
        self.assertEqual(_readable(waiting, 0), [])
        origin.answer(11)
        answers = [client.read_message() for client in waiting]
        self.assertEqual({answer.start_line for answer in answers}, {b"HTTP/1.1 200 OK"})
        self.assertEqual(len({answer.body for answer in answers}), 11)
        self.assertEqual(origin.raw.accepted, 1)
        fastcar.logs(r"GET .*: connection_limit_reached \(503\)")

    def test_timeout(self) -> None:
        """A request that has waited for --queue-timeout is refused, and never sent."""
        origin = self.gated()
        fastcar = self.start_fastcar("--max-connections-per-origin", "1", "--queue-timeout", "0.5")
        [first] = self.ask(fastcar, origin, [1])
        self.assertEqual(self.ledger.numbers(1), [1])
        [second] = self.ask(fastcar, origin, [2])
        self.assert_refused(second)
        origin.answer(2)
        self.assert_answered([first], [1])
        self.assert_answered(self.ask(fastcar, origin, [3]), [3])
        self.assertEqual(self.ledger.numbers(1), [3])

    def test_no_starvation(self) -> None:
        """With all connections at one origin, where each client that is served is followed by
        another, another origin's client is served too."""
        busy, other = self.gated(), self.gated()
        fastcar = self.start_fastcar("--max-connections", "4")
        crowd = self.ask(fastcar, busy, range(50))
        served = self.ledger.numbers(4)
        [client] = self.ask(fastcar, other, [-1])
        give_up = time.monotonic() + LIMIT
        while -1 not in served:
            self.assertLess(time.monotonic(), give_up)
            crowd += self.ask(fastcar, busy, [len(crowd)])
            busy.answer(1)
            served += self.ledger.numbers(1)
        other.answer(1)
        busy.answer(len(crowd))
        self.assert_answered([client, *crowd], [-1, *range(len(crowd))])
        self.assertEqual(self.ledger.most, 4)


def _readable(clients: list[Peer], count: int) -> list[Peer]:
    """Those clients that have something to read, when there are so many."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        end = time.monotonic() + LIMIT
        while True:
            found: list[Peer] = [key.data for key, _ in selector.select(0.01 if count else 0)]
            if len(found) >= count or time.monotonic() > end:
                return found
