"""
TCP's own ways to notice that a peer has gone without a word: a host that lost its power, a NAT or a
firewall that forgot the connection.

Without them, a connection that waits in a pool finds out with its next request, and a request that
is under way when the peer goes finds out when its client's patience ends.
"""

from __future__ import annotations

import socket

#: Seconds without a byte received after which the peer is asked whether it is there.  Middle boxes
#: forget connections that say nothing, the impatient ones after a minute (Azure's after 4, AWS's
#: after 6), so this also keeps alive a request that its origin takes long to answer.
KEEPALIVE_IDLE = 30
#: Seconds between further questions, and how many stay unanswered before the connection is given
#: up: 60 s after the last sign of life, and two lost packets are no death.
KEEPALIVE_INTERVAL = 10
KEEPALIVE_COUNT = 3

KEEPALIVE_LIMIT = KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_COUNT

#: Milliseconds that fit into the option.
_MOST = 2**31 - 1

# Linux has all of them; macOS calls the first one differently, and has no fourth.
_TCP_KEEPIDLE: int | None = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
_TCP_KEEPINTVL: int | None = getattr(socket, "TCP_KEEPINTVL", None)
_TCP_KEEPCNT: int | None = getattr(socket, "TCP_KEEPCNT", None)
_TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


def watch_peer(sock: socket.socket, patience: float) -> None:
    """
    Have the kernel end a TCP connection whose peer is not there any more.

    Keepalive asks only while nothing is under way.  What is under way and not acknowledged would be
    sent again for 15 minutes; TCP_USER_TIMEOUT ends that (tcp(7)).  But it also ends a connection
    whose peer acknowledges everything and only does not read, so it must never be less than the
    time that a peer may take to read.  It is not less than what keepalive takes either, because it
    replaces KEEPALIVE_COUNT: the first question that is unanswered at that time ends the
    connection.

    @param patience: seconds for which the peer may leave unread what was sent to it.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    user_timeout = int(min(max(patience, KEEPALIVE_LIMIT) * 1000, _MOST))
    for option, value in (
        (_TCP_KEEPIDLE, KEEPALIVE_IDLE),
        (_TCP_KEEPINTVL, KEEPALIVE_INTERVAL),
        (_TCP_KEEPCNT, KEEPALIVE_COUNT),
        (_TCP_USER_TIMEOUT, user_timeout),
    ):
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
