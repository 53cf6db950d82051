"""
Who has connected a UNIX socket.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import NamedTuple

#: struct ucred of unix(7).
_CREDENTIALS = Struct("iII")


class PeerCredentials(NamedTuple):
    """
    The process at the other end, as the kernel has noted it.
    """

    pid: int
    uid: int
    gid: int


def peer_credentials(sock: socket.socket) -> PeerCredentials | None:
    """
    @return: None: it has gone, or the system does not tell (SO_PEERCRED).
    """
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (AttributeError, OSError):
        return None
    return PeerCredentials(*_CREDENTIALS.unpack(told))
