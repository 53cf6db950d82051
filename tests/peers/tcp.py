"""What the kernel knows about a TCP connection."""

from __future__ import annotations

import socket

_ESTABLISHED = 1


def is_open(sock: socket.socket) -> bool:
    """Whether neither end has closed or broken off a connection (the first byte of TCP_INFO)."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED
    except OSError:
        return False
