"""
What ends a stream or a session early, in words for people and in RFC 9209's for machines.
"""

from __future__ import annotations

from h2.errors import ErrorCodes

from fastcar_tw.http.errors import GatewayError

#: Codes with which an origin says that it has not acted on a request (RFC 9113 section 8.7).
UNPROCESSED = frozenset((ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED))


class HTTP1RequiredError(GatewayError):
    """
    The origin wants this request over HTTP/1.1 (RFC 9113 section 7, C{HTTP_1_1_REQUIRED}).
    """


def reset_error(origin: str, code: int, responded: bool) -> GatewayError:
    """
    The failure of a stream that its origin has reset.

    @param responded: the final response had begun.
    """
    text = f"{origin} ended the request early ({code_name(code)})"
    if responded:
        return GatewayError(502, "http_response_incomplete", text)
    if code == ErrorCodes.HTTP_1_1_REQUIRED:
        return HTTP1RequiredError(502, "http_upgrade_failed", text)
    return GatewayError(502, "connection_terminated", text)


def going_away_error(origin: str, code: int) -> GatewayError:
    """
    The failure of a stream that a GOAWAY says was not acted on.
    """
    text = f"{origin} is closing the connection ({code_name(code)})"
    return GatewayError(502, "connection_terminated", text)


def incomplete(error: GatewayError) -> GatewayError:
    """
    What the failure of a connection is for a stream whose response had begun.
    """
    if error.proxy_status != "connection_terminated":
        return error
    return GatewayError(error.status, "http_response_incomplete", error.text)


def protocol_error(origin: str, code: int, text: str) -> GatewayError:
    """
    The failure of every stream of a connection on which the origin broke HTTP/2's rules.

    @param text: what it did; nothing it sent is in it.
    """
    words = f"{origin} broke the rules of HTTP/2 ({code_name(code)}): {text}"
    return GatewayError(502, "http_protocol_error", words)


def code_name(code: int) -> str:
    """
    An error code as RFC 9113 section 7 names it.
    """
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error code {code:#x}"
