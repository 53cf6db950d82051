"""
Why an origin could not be reached, in words for people and in RFC 9209's for machines.
"""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from twisted.internet import defer, error
from twisted.logger import Logger
from twisted.python.failure import Failure

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.routes.handshake import HandshakeError
from fastcar_tw.routes.tunnel import ProxyUnreachableError
from fastcar_tw.tls.machine import TLSError
from fastcar_tw.transport.loops import LoopError

_log = Logger()

#: Exception, status, RFC 9209 error type, words.  The first that fits is taken.
_FAILURES: tuple[tuple[type[BaseException], int, str, str], ...] = (
    (error.DNSLookupError, 502, "dns_error", "name look-up failed"),
    (error.ConnectionRefusedError, 502, "connection_refused", "connection refused"),
    (defer.TimeoutError, 504, "connection_timeout", "connecting took too long"),
    (error.TimeoutError, 504, "connection_timeout", "connecting took too long"),
    (error.NoRouteError, 502, "destination_ip_unroutable", "no route to the address"),
    (LoopError, 502, "proxy_loop_detected", "that is fastcar itself"),
    (error.ConnectionClosed, 502, "connection_terminated", "closed while connecting"),
    (error.ConnectingCancelledError, 503, "destination_unavailable", "fastcar is stopping"),
    (defer.CancelledError, 503, "destination_unavailable", "fastcar is stopping"),
    (error.ConnectError, 502, "destination_unavailable", "connection failed"),
)


#: The RFC 9209 error type of failures in which the origin has no part: this machine, or this
#: process, has no more of something.
SHORTAGE = "connection_limit_reached"
_SHORTAGES = frozenset(
    [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM]
)


def connect_error(failure: Failure, origin: object) -> NoReturn:
    """
    An errback: whatever kept a connection from being opened becomes a L{GatewayError}.

    @param origin: whom the connection was to lead to; its text names the proxy, if there is one.
    @raise GatewayError: always.
    """
    reason = failure.value
    where = str(origin)
    if isinstance(reason, ProxyUnreachableError):
        reason = reason.cause
        where += ": no connection to the proxy"
    told = _explain(reason, where)
    if told is not None:
        raise told
    _log.failure("while connecting to {origin}", failure, origin=str(origin))
    raise GatewayError(500, "proxy_internal_error", f"{where}: internal error")


def _explain(reason: BaseException | None, where: str) -> GatewayError | None:
    if isinstance(reason, TLSError):
        kind = "tls_certificate_error" if reason.certificate_error else "tls_protocol_error"
        if reason.alert_received and not reason.certificate_error:
            kind = "tls_alert_received"
        return GatewayError(502, kind, f"{where}: {reason.reason}")
    if isinstance(reason, HandshakeError):
        status = 504 if reason.proxy_status == "connection_timeout" else 502
        return GatewayError(status, reason.proxy_status, f"{where}: the proxy {reason.reason}")
    for kind_of, status, proxy_status, words in _FAILURES:
        if isinstance(reason, kind_of):
            if kind_of is error.DNSLookupError and reason.args:
                # "NAME: REASON"
                words += f" ({reason.args[0]})"
            elif kind_of is error.ConnectError and isinstance(
                number := getattr(reason, "osError", None), int
            ):
                words += f" ({os.strerror(number)})"
                if number in _SHORTAGES:
                    status, proxy_status = 503, SHORTAGE
            return GatewayError(status, proxy_status, f"{where}: {words}")
    if isinstance(reason, OSError) and reason.errno in _SHORTAGES:
        # Where a UNIX socket cannot even be made, Twisted lets the error through as it is.
        words = f"{where}: connection failed ({reason.strerror})"
        return GatewayError(503, SHORTAGE, words)
    return None
