"""
How a client has come to us, as it is told about itself.
"""

from __future__ import annotations

import socket
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING, Any

import fastcar_tw
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.peer import peer_credentials
from fastcar_tw.http.head import RequestHead
from fastcar_tw.http.target import join_authority

if TYPE_CHECKING:
    from fastcar_tw.forward.forwarder import Forwarder

try:
    VERSION = fastcar_tw.__version__
except PackageNotFoundError:  # not installed
    VERSION = "unknown"


def describe_arrival(
    forwarder: Forwarder, entrance: Entrance, request: RequestHead, handle: socket.socket | None
) -> dict[str, Any]:
    """
    What C{/} tells; nothing of it is a secret to its client.

    @param handle: the client's socket; None: it is closed.
    """
    form = "origin-form" if request.scheme is None else "absolute-form"
    tls = {"version": entrance.tls_version, "server_name": entrance.server_name or None}
    return {
        "version": VERSION,
        "listener": entrance.listener,
        "opening": entrance.opening or form,
        "tunnel": None if entrance.target is None else join_authority(*entrance.target),
        "tls": tls if entrance.tls_version else None,
        "scheme": entrance.scheme,
        "peer": None if handle is None else describe_peer(handle),
        "verification": {"on": True, "exceptions": len(forwarder.config.insecure_origins)},
    }


def describe_peer(handle: socket.socket) -> dict[str, Any] | None:
    """
    Who is at the other end: the process that has connected to a UNIX socket, or a TCP address; None
    when it has gone.
    """
    try:
        if handle.family == socket.AF_UNIX:
            credentials = peer_credentials(handle)
            return None if credentials is None else credentials._asdict()
        address, port = handle.getpeername()[:2]
    except OSError:
        return None
    return {"address": address, "port": port}
