"""As many bytes as possible one way: the backend, ``python -m bench.relay.bulk PORT``, and clients.

A client's first byte says what is to happen. A backend that sends (DOWN) sends whole blocks until
the client has ended its side. One that receives (UP; SLOW_UP: it stalls before it begins) does so
until the client has ended its side, and then says how many bytes there were. So bytes that are
lost, invented or out of place show, without a checksum, which would cost more than what is
measured.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import sys
import threading
import time
from collections.abc import Callable

from bench.wire import Address, dial

DOWN, UP, SLOW_UP = b"D", b"U", b"S"
STALL_SECONDS = 3.0
_BLOCK = random.Random(0).randbytes(1 << 18)
_CHECKED = 8
_CYCLE = _BLOCK + _BLOCK[:_CHECKED]

# Told how many bytes there were so far.
Enough = Callable[[int], bool]


class BulkError(Exception):
    """The bytes that arrived are not those sent."""


class _Reader:
    """Takes bytes and sees that each piece begins with what belongs there."""

    def __init__(self, sock: socket.socket) -> None:
        self._recv_into = sock.recv_into
        self._buffer = bytearray(1 << 18)
        self.count = 0

    def read(self) -> int:
        """Take a piece and return its size; 0 is the end."""
        size = self._recv_into(self._buffer)
        begin = self.count % len(_BLOCK)
        looked_at = min(size, _CHECKED)
        if self._buffer[:looked_at] != _CYCLE[begin : begin + looked_at]:
            raise BulkError(f"other bytes than those sent after {self.count}")
        self.count += size
        return size


def download(address: Address, enough: Enough, stall: float = 0.0) -> int:
    """Read until it is `enough`, after `stall` seconds, and return how many bytes there were.

    Raises BulkError or OSError.
    """
    with dial(address) as sock:
        sock.sendall(DOWN)
        time.sleep(stall)
        reader = _Reader(sock)
        while not enough(reader.count):
            if not reader.read():
                raise BulkError(f"connection closed after {reader.count} bytes")
        sock.shutdown(socket.SHUT_WR)
        while reader.read():
            pass
    if reader.count % len(_BLOCK):
        raise BulkError(f"{reader.count} bytes, which are no whole blocks")
    return reader.count


def upload(address: Address, enough: Enough, kind: bytes = UP) -> int:
    """Send until it is `enough`, and return how many bytes have arrived.

    Raises BulkError or OSError.
    """
    count = 0
    with dial(address) as sock:
        sock.sendall(kind)
        while not enough(count):
            sock.sendall(_BLOCK)
            count += len(_BLOCK)
        sock.shutdown(socket.SHUT_WR)
        answer = sock.makefile("rb").read()
    arrived = int.from_bytes(answer, "big")
    if arrived != count:
        raise BulkError(f"{arrived} bytes arrived of {count}")
    return count


def _serve(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError, BulkError):
        kind = sock.recv(1)
        if kind == DOWN:
            while not select.select([sock], [], [], 0)[0]:
                sock.sendall(_BLOCK)
        elif kind in (UP, SLOW_UP):
            time.sleep(STALL_SECONDS if kind == SLOW_UP else 0.0)
            reader = _Reader(sock)
            while reader.read():
                pass
            sock.sendall(reader.count.to_bytes(8, "big"))


def main() -> None:
    """Listen on the port of 127.0.0.1 that is named on the command line."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
