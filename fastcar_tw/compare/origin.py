"""
An origin on loopback: HTTP and HTTPS, a small JSON body, connections that are kept.

C{python -m fastcar_tw.compare.origin HTTP_FD HTTPS_FD CHAIN KEY} accepts on the listening sockets
it has inherited, and ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import sys
import threading
from collections.abc import Sequence

_BODY = b'{"from": "the origin", "to": "PHP", "text": "a small body"}\n'
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY
)
#: Seconds a connection may be idle: longer than fastcar keeps one.
_IDLE = 600.0


def tls_context(chain: str, key: str) -> ssl.SSLContext:
    """
    TLS 1.3, whose handshake is one round trip; 1.2 would take two.

    @param chain: PEM file.
    @param key: PEM file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(chain, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _serve(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    """
    Answer every request head; requests have no bodies.
    """
    connection.settimeout(_IDLE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.enter_context(connection)
        if context is not None:
            connection = stack.enter_context(context.wrap_socket(connection, server_side=True))
        received = b""
        while data := connection.recv(65536):
            received += data
            while b"\r\n\r\n" in received:
                received = received.partition(b"\r\n\r\n")[2]
                connection.sendall(_RESPONSE)


def _accept(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, context), daemon=True).start()


def main(arguments: Sequence[str]) -> None:
    """
    Serve until standard input ends.
    """
    http, https, chain, key = arguments
    for descriptor, context in ((http, None), (https, tls_context(chain, key))):
        listener = socket.socket(fileno=int(descriptor))
        threading.Thread(target=_accept, args=(listener, context), daemon=True).start()
    # A collection of all that was imported would take longer than what is measured.
    gc.freeze()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(sys.argv[1:])
