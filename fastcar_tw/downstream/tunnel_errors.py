"""
What there is to say of tunnels that carry something else than they may.
"""

from __future__ import annotations

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.target import join_authority


def not_http(target: tuple[str, int]) -> MessageError:
    """
    What there is to say of a tunnel in which is something else than what may be.
    """
    host, port = target
    return MessageError(
        f"the tunnel to {join_authority(host, port)} carries neither TLS nor HTTP; "
        f"--tunnel {port} would let anything through"
    )


def silent_tunnel(target: tuple[str, int]) -> MessageError:
    """
    The same of one in which is nothing.
    """
    host, port = target
    return MessageError(
        f"nothing came through the tunnel to {join_authority(host, port)} in time; "
        f"if its other side has to begin, --tunnel {port} lets it",
        408,
    )
