"""
Whether the peer has read what was sent to it: UNIX sockets know, on Linux.

There, what one end has sent stays accounted to it until the other end has read it, so SIOCOUTQ
(unix(7); the number of TIOCOUTQ) tells whether a peer looks at its connection at all.  On TCP it
counts what is not acknowledged, which says nothing about the peer's process.
"""

from __future__ import annotations

import fcntl
import socket
import termios
from array import array


def unread_by_peer(handle: socket.socket) -> int:
    """
    Measure the memory that the kernel holds for what the peer has not read.

    That is whole buffers and what comes with them, so more than the bytes that were sent: for one
    byte 768 or so.  A buffer, mostly one C{send}, counts in full until its last byte is read.

    @param handle: a stream socket of the UNIX family.
    @return: bytes, 0 also when the peer is gone.  While the kernel frees the last buffer it is 1
        for an instant.
    @raise OSError: the system cannot tell.
    @raise ValueError: the socket is closed.
    """
    count = array("i", (0,))
    fcntl.ioctl(handle, termios.TIOCOUTQ, count)
    return count[0]


def has_unread(handle: socket.socket) -> bool:
    """
    Tell whether the peer has something left to read, be it the last byte of what was sent.

    @param handle: a stream socket of the UNIX family, connected.
    @raise OSError: the system cannot tell.
    @raise ValueError: the socket is closed.
    """
    return unread_by_peer(handle) > 1
