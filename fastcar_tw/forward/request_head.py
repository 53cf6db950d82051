"""
The heads of requests as they are sent on: fields as they came, our own fields last.
"""

from __future__ import annotations

from fastcar_tw.http.head import RequestHead
from fastcar_tw.http.target import Origin
from fastcar_tw.routes.connect import proxy_authorization


def request_head(request: RequestHead, target: bytes, own: bytes) -> bytes:
    """
    The head to send on: the fields as they came, our own last.

    @param target: origin-form for the origin itself, through whatever tunnel (RFC 9112 section
        3.2.1).
    @param own: our own field lines, besides those about the connection.
    """
    if request.chunked:
        own += b"Transfer-Encoding: chunked\r\n"
    if request.upgrade is not None:
        own += b"Connection: upgrade\r\nUpgrade: %b\r\n" % request.upgrade
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (request.method, target, request.fields, own)


def request_head_to_proxy(request: RequestHead, own: bytes, origin: Origin) -> bytes:
    """
    The head for a proxy, which is told the origin in the target (RFC 9112 section 3.2.2).

    @param own: as in L{request_head}.
    """
    # Section 3.2.4: the asterisk is for the last proxy to write.
    path = b"" if request.target == b"*" else request.target
    # What answers a TRACE tells the client what it received (RFC 9110 section 9.3.8).
    if origin.route is not None and request.method != b"TRACE":
        own += proxy_authorization(origin.route)
    return request_head(request, b"http://%b%b" % (request.host, path), own)
