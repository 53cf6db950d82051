"""
The server's side of CONNECT (RFC 9110 section 9.3.6), and what is asked for inside of a tunnel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.tunnelling import enter_tunnel
from fastcar_tw.http.errors import GatewayError, MessageError, error_response
from fastcar_tw.http.head import RequestHead
from fastcar_tw.http.target import Origin, parse_connect_target

if TYPE_CHECKING:
    from fastcar_tw.forward.forwarder import Forwarder

#: The answer when it is granted.  Nothing may follow its head but the tunnel.
_GRANTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def answer_connect(forwarder: Forwarder, entrance: Entrance, request: RequestHead) -> Any:
    """
    @param request: a CONNECT.
    @return: the protocol to leave the wire to, which answers.
    @raise MessageError: it is not one that can be answered.
    """
    if entrance.target is not None:
        raise MessageError("CONNECT inside of a tunnel is not supported", 501)
    if request.content_length or request.chunked:
        raise MessageError("a CONNECT has no body")
    inside = entrance.inside_tunnel("connect", *parse_connect_target(request.target))
    return enter_tunnel(forwarder, inside, _GRANTED, _refusal)


def check_destination(named: Origin, destination: Origin) -> None:
    """
    See that an absolute-form target in a tunnel repeats where the tunnel leads to.

    @raise MessageError: it names something else.
    """
    hosts = (destination.host, destination.tls_name)
    same = (named.scheme, named.port) == (destination.scheme, destination.port)
    if not same or named.host not in hosts:
        raise MessageError("the target is not where the tunnel leads to")


def _refusal(error: GatewayError) -> bytes:
    return error_response(error, head_only=False, close=True)
