"""A backend that sends back what it gets: ``python -m bench.relay.echo PORT``.

One epoll loop, which does nothing but one receive and one send for what has arrived. It does not
read from who does not take his echo.
"""

from __future__ import annotations

import select
import socket
import sys

_SIZE = 1 << 17
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class _Echo:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._epoll = select.epoll()
        self._peers: dict[int, socket.socket] = {}
        self._unsent: dict[int, bytes] = {}

    def run(self) -> None:
        """Serve for ever."""
        listening = self._listener.fileno()
        self._epoll.register(listening, _IN)
        while True:
            for fd, event in self._epoll.poll():
                if fd == listening:
                    self._accept()
                    continue
                try:
                    self._serve(fd, event)
                except OSError:
                    self._close(fd)

    def _accept(self) -> None:
        try:
            while True:
                peer, _ = self._listener.accept()
                peer.setblocking(False)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._peers[peer.fileno()] = peer
                self._epoll.register(peer, _IN)
        except BlockingIOError:
            pass

    def _serve(self, fd: int, event: int) -> None:
        peer = self._peers[fd]
        if event & _OUT:
            data = self._unsent.pop(fd)
        else:
            data = peer.recv(_SIZE)
            if not data:
                self._close(fd)
                return
        try:
            sent = peer.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent[fd] = data[sent:]
            self._epoll.modify(fd, _OUT)
        elif event & _OUT:
            self._epoll.modify(fd, _IN)

    def _close(self, fd: int) -> None:
        self._unsent.pop(fd, None)
        self._peers.pop(fd).close()


def main() -> None:
    """Listen on the port of 127.0.0.1 that is named on the command line."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    listener.setblocking(False)
    _Echo(listener).run()


if __name__ == "__main__":
    main()
