"""Peers written by hand, for what no real one would do: blocking sockets with scripts.

A script is straight-line code that reads and sends; an origin runs one for each connection, in a
thread of its own. Whatever waits gives up after `LIMIT` seconds.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple

from tests.peers.processes import LIMIT


class Message(NamedTuple):
    """A request or response as it came: its head with the empty line, and its decoded body."""

    head: bytes
    body: bytes

    @property
    def start_line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def status(self) -> int:
        """The status code of a response."""
        return int(self.start_line.split(b" ", 2)[1])

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field, one for each line."""
        return field_values(self.head, name)


def field_values(head: bytes, name: bytes) -> list[bytes]:
    """The values of a field in a head, one for each line."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip() for key, _, value in lines if key.lower() == name.lower()]


class Peer:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(LIMIT)
        self.socket = sock
        self._buffer = bytearray()

    @classmethod
    def dial(cls, path: str, trust: ssl.SSLContext | None = None, name: str = "") -> Peer:
        """Connect to a UNIX socket; with `trust` over TLS, where `name` is the server's.

        An end without close_notify is then an error.
        """
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(LIMIT)
        sock.connect(path)
        if trust is None:
            return cls(sock)
        return cls(trust.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises EOFError if fewer come."""
        while len(self._buffer) < count:
            self._receive()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_through(self, mark: bytes) -> bytes:
        """What comes up to and with `mark`. Raises EOFError if it does not come."""
        while mark not in self._buffer:
            self._receive()
        return self.read(self._buffer.index(mark) + len(mark))

    def read_to_end(self) -> bytes:
        """What comes until the other end stops sending."""
        try:
            while True:
                self._receive()
        except EOFError:
            return self.read(len(self._buffer))

    def read_head(self) -> bytes:
        return self.read_through(b"\r\n\r\n")

    def read_message(self, *, bodiless: bool = False) -> Message:
        """A message that Content-Length or chunked coding ends; else it has no body."""
        head = self.read_head()
        length = field_values(head, b"content-length")
        if bodiless:
            return Message(head, b"")
        if field_values(head, b"transfer-encoding"):
            return Message(head, self._read_chunks())
        return Message(head, self.read(int(length[0])) if length else b"")

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.read_through(b"\r\n").partition(b";")[0], 16):
            body += self.read(size + 2)[:-2]
        while self.read_through(b"\r\n") != b"\r\n":
            pass
        return body

    def _receive(self) -> None:
        data = self.socket.recv(262144)
        if not data:
            raise EOFError(f"the connection ended after {bytes(self._buffer[:200])!r}")
        self._buffer += data

    def end_output(self) -> None:
        """Send no more, but go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """End a connection in order: over TLS with close_notify, and wait for the other's."""
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket.unwrap()

    def reset(self) -> None:
        """End a TCP connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


class RawOrigin:
    """An origin on a loopback port that runs `script` for each connection.

    The connection is closed when the script returns. That the other side ends it earlier is no
    error, every other exception of a script is raised by `close`.
    """

    def __init__(
        self, script: Callable[[Peer], None], context: ssl.SSLContext | None = None
    ) -> None:
        """Listen; with `context` over TLS."""
        self._script = script
        self._context = context
        self._failures: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        #: Connections that were accepted.
        self.accepted = 0
        #: Messages of TLS handshakes that failed.
        self.refusals: queue.Queue[str] = queue.Queue()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._starting = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def scheme(self) -> str:
        return "https" if self._context else "http"

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}/"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
            # Who waits for all of them finds none that has not been started.
            with self._starting:
                self._threads.append(thread)
                thread.start()

    def _run(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(LIMIT)
            if self._context is not None:
                sock = self._shake(sock, self._context)
            with sock:
                self._script(Peer(sock))
        except (EOFError, ConnectionError, ssl.SSLError):
            pass
        except BaseException as failure:
            self._failures.append(failure)

    def _shake(self, sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        try:
            wrapped = context.wrap_socket(sock, server_side=True)
        except OSError as error:
            self.refusals.put(str(error))
            raise ConnectionError("handshake failed") from error
        self._sockets.append(wrapped)
        return wrapped

    def wait(self) -> None:
        """Wait until the scripts of all connections so far have ended."""
        with self._starting:
            threads = self._threads[1:]
        for thread in threads:
            thread.join(LIMIT)

    def close(self) -> None:
        """End everything, and raise what a script has raised."""
        # Unlike close, shutdown wakes the threads that wait for something.
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT)
        self._listener.close()
        if self._failures:
            raise self._failures[0]


def answering(
    response: bytes, requests: queue.Queue[Message] | None = None
) -> Callable[[Peer], None]:
    """A script that keeps every request, and answers it with `response`."""

    def script(peer: Peer) -> None:
        while True:
            request = peer.read_message()
            if requests is not None:
                requests.put(request)
            peer.send(response)

    return script


def echo(peer: Peer) -> None:
    """A script that answers every request with its own body."""
    while True:
        body = peer.read_message().body
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
