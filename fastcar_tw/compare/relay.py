"""
A relay on loopback that stands for a long way: what it is sent arrives later.

C{python -m fastcar_tw.compare.relay MS FD PORT [FD PORT ...]} accepts on the listening sockets it
has inherited, relays to the ports, and ends when its standard input does.

Half the round-trip time goes by each way.  Connecting on loopback takes no time, so the first bytes
a client sends are held for one round trip more: what the TCP handshake would have taken.

The loop waits in select(2), whose timeouts are in microseconds: epoll_wait(2) counts milliseconds.
"""

from __future__ import annotations

import gc
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from fastcar_tw.compare.delay import DelayLine

Handle: TypeAlias = socket.socket | int

_CHUNK = 65536
#: Seconds that select may sleep too long: the kernel's timer slack (prctl(2)) and waking up.
#: It is to wake so much earlier, and the rest is waited for without sleeping.
_EARLY = 0.0001


class _Direction:
    __slots__ = ("blocked", "ended", "line", "reading", "source", "target")

    def __init__(self, source: socket.socket, target: socket.socket, line: DelayLine) -> None:
        self.source = source
        self.target = target
        self.line = line
        self.reading = True
        self.blocked = False
        self.ended = False

    def read(self, now: float) -> None:
        """
        @raise OSError: if the source is broken.
        """
        data = self.source.recv(_CHUNK)
        self.line.put(data, now)
        self.reading = bool(data)

    def write(self, now: float) -> None:
        """
        Pass on what has arrived.

        @raise OSError: if the target is broken.
        """
        self.blocked = False
        while (data := self.line.due(now)) is not None:
            if not data:
                self.target.shutdown(socket.SHUT_WR)
                self.line.taken(0)
                self.ended = True
                return
            try:
                sent = self.target.send(data)
            except BlockingIOError:
                self.blocked = True
                return
            self.line.taken(sent)


class Connection:
    """
    A client's connection and the one to the origin, two directions.
    """

    __slots__ = ("directions",)

    def __init__(self, client: socket.socket, port: int, rtt: float) -> None:
        """
        @param rtt: round-trip time, in seconds.
        @raise OSError: if the origin cannot be reached.
        """
        origin = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        for each in (client, origin):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.directions = (
            _Direction(client, origin, DelayLine(rtt / 2, hold=rtt)),
            _Direction(origin, client, DelayLine(rtt / 2)),
        )

    @property
    def ended(self) -> bool:
        return all(each.ended for each in self.directions)

    def close(self) -> None:
        for each in self.directions:
            each.source.close()

    def work(self, readable: set[Handle], writable: set[Handle], now: float) -> None:
        """
        Read and write what can be.

        @raise OSError: if either connection is broken.
        """
        for each in self.directions:
            if each.source in readable:
                each.read(now)
            if not each.blocked or each.target in writable:
                each.write(now)


class Relay:
    """
    All connections, and the loop.
    """

    def __init__(self, rtt: float, listeners: Sequence[tuple[socket.socket, int]]) -> None:
        """
        @param rtt: round-trip time, in seconds.
        @param listeners: sockets, and the port of the origin of each.
        """
        self._rtt = rtt
        self._ports = dict(listeners)
        self._connections: list[Connection] = []

    def turn(self, control: int) -> bool:
        """
        Wait for something to do, and do it.

        @param control: a descriptor.
        @return: False when that is readable, which means the end.
        """
        read, write = self._wanted()
        timeout = self._timeout(time.monotonic())
        found = select.select([control, *read], write, [], timeout)
        readable, writable = set(found[0]), set(found[1])
        if control in readable:
            return False
        for listener in self._ports.keys() & readable:
            self._accept(listener)
        now = time.monotonic()
        for connection in list(self._connections):
            try:
                connection.work(readable, writable, now)
            except OSError:
                self._close(connection)
            else:
                if connection.ended:
                    self._close(connection)
        return True

    def _directions(self) -> Iterator[_Direction]:
        for connection in self._connections:
            yield from connection.directions

    def _wanted(self) -> tuple[list[Handle], list[Handle]]:
        read: list[Handle] = [*self._ports]
        write: list[Handle] = []
        for each in self._directions():
            if each.reading and not each.line.full:
                read.append(each.source)
            if each.blocked:
                write.append(each.target)
        return read, write

    def _timeout(self, now: float) -> float | None:
        dues = [each.line.next_due for each in self._directions() if not each.blocked]
        return min((max(0.0, due - now - _EARLY) for due in dues if due is not None), default=None)

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        try:
            self._connections.append(Connection(client, self._ports[listener], self._rtt))
        except OSError:
            client.close()

    def _close(self, connection: Connection) -> None:
        self._connections.remove(connection)
        connection.close()


def main(arguments: Sequence[str]) -> None:
    """
    Relay until standard input ends.
    """
    rtt = float(arguments[0]) / 1000
    pairs = zip(arguments[1::2], arguments[2::2], strict=True)
    relay = Relay(rtt, [(socket.socket(fileno=int(fd)), int(port)) for fd, port in pairs])
    # A collection of all that was imported would take longer than what is measured.
    gc.freeze()
    while relay.turn(sys.stdin.fileno()):
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
