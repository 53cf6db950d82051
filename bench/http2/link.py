"""A long way to the origin, in user space: ``python -m bench.http2.link MS PORT ORIGIN ...``.

Listens on each PORT of loopback and relays to the ORIGIN port behind it, half of the round-trip
time later, each way. As in fastcar_tw.compare.relay, whose bytes this delays, connecting counts as
a round trip; but hundreds of connections must cost no more than one does, else what is compared
would be the cost of the link. So it waits in epoll(7), and what is due stands in one heap. Nothing
is waited for without sleeping: bytes come some 0.1 ms late.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import select
import socket
import sys
import time
from collections.abc import Sequence

from bench.origin import LOOPBACK
from fastcar_tw.compare.delay import DelayLine

_CHUNK = 1 << 17
# Bytes on the way at a time, each way: no bound for what two cores can do in 20 ms.
_CAPACITY = 1 << 24


class _Side:
    """One of the two sockets of a way: what it reads goes to the other, later."""

    __slots__ = ("ended", "line", "mask", "other", "reading", "sock")

    other: _Side

    def __init__(self, sock: socket.socket, line: DelayLine) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.line = line
        self.mask = select.EPOLLIN
        self.reading = True
        self.ended = False


class Link:
    """All connections, and the loop."""

    def __init__(self, rtt: float, ports: Sequence[tuple[int, int]]) -> None:
        """Listen. `rtt`: seconds; `ports`: pairs of a port to listen on and one to relay to."""
        self._rtt = rtt
        self._epoll = select.epoll()
        self._targets: dict[int, tuple[socket.socket, int]] = {}
        self._sides: dict[int, _Side] = {}
        # When something is due, a number that no other has, and who has read it.
        self._heap: list[tuple[float, int, _Side]] = []
        self._count = 0
        for port, origin in ports:
            listener = socket.create_server((LOOPBACK, port), backlog=4096)
            self._targets[listener.fileno()] = (listener, origin)
            self._epoll.register(listener.fileno(), select.EPOLLIN)

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        timeout = max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None
        # epoll_wait(2) counts milliseconds, select(2) microseconds.
        if select.select([self._epoll], [], [], timeout)[0]:
            for fd, event in self._epoll.poll(0):
                if fd in self._targets:
                    self._accept(*self._targets[fd])
                elif fd in self._sides:
                    self._work(self._sides[fd], event)
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            self._write(heapq.heappop(self._heap)[2], now)

    def _accept(self, listener: socket.socket, port: int) -> None:
        client, _ = listener.accept()
        try:
            origin = socket.create_connection((LOOPBACK, port), timeout=5.0)
        except OSError:
            client.close()
            return
        here = _Side(client, DelayLine(self._rtt / 2, hold=self._rtt, capacity=_CAPACITY))
        there = _Side(origin, DelayLine(self._rtt / 2, capacity=_CAPACITY))
        here.other, there.other = there, here
        for side in (here, there):
            self._sides[side.sock.fileno()] = side
            self._epoll.register(side.sock.fileno(), side.mask)

    def _work(self, side: _Side, event: int) -> None:
        if event & select.EPOLLOUT:
            self._want(side, side.mask & ~select.EPOLLOUT)
            self._schedule(side.other)
        elif event & select.EPOLLIN:
            self._read(side)
        else:
            self._close(side)

    def _read(self, side: _Side) -> None:
        try:
            data = side.sock.recv(_CHUNK)
        except OSError:
            self._close(side)
            return
        line = side.line
        idle = line.next_due is None
        line.put(data, time.monotonic())
        if idle:
            self._schedule(side)
        side.reading = bool(data)
        if not data or line.full:
            self._want(side, side.mask & ~select.EPOLLIN)

    def _schedule(self, side: _Side) -> None:
        """Note when the first that it has read is due."""
        due = side.line.next_due
        if due is not None:
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, side))

    def _write(self, side: _Side, now: float) -> None:
        line, target = side.line, side.other
        if side.sock.fileno() < 0:
            return
        was_full = line.full
        try:
            while data := line.due(now):
                line.taken(target.sock.send(data))
            if data is not None:
                self._end(side)
                return
        except BlockingIOError:
            self._want(target, target.mask | select.EPOLLOUT)
        except OSError:
            self._close(side)
            return
        else:
            self._schedule(side)
        if side.reading and was_full and not line.full:
            self._want(side, side.mask | select.EPOLLIN)

    def _end(self, side: _Side) -> None:
        """All that it reads has been relayed."""
        side.line.taken(0)
        side.ended = True
        with contextlib.suppress(OSError):
            side.other.sock.shutdown(socket.SHUT_WR)
        if side.other.ended:
            self._close(side)

    def _want(self, side: _Side, mask: int) -> None:
        side.mask = mask
        self._epoll.modify(side.sock.fileno(), mask)

    def _close(self, side: _Side) -> None:
        for each in (side, side.other):
            del self._sides[each.sock.fileno()]
            each.sock.close()


def main(arguments: Sequence[str]) -> None:
    """Relay until the process is ended."""
    ports = [int(each) for each in arguments[1:]]
    link = Link(float(arguments[0]) / 1000, list(zip(ports[::2], ports[1::2], strict=True)))
    gc.freeze()
    while True:
        link.turn()


if __name__ == "__main__":
    main(sys.argv[1:])
