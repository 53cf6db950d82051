"""
What can go wrong with an exchange, and the response each failure becomes.

Two families, after who erred: L{MessageError}, a peer broke the rules of HTTP; L{GatewayError}, a
well-formed request could not be served.  Each carries its status and the C{error} parameter of the
C{Proxy-Status} field (RFC 9209 section 2.3) that names it for machines.
"""

from __future__ import annotations

from email.utils import formatdate

#: Reason phrases of the statuses fastcar itself answers with (RFC 9110 section 15).
REASONS: dict[int, bytes] = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    507: b"Insufficient Storage",
}


class FastcarError(Exception):
    """
    A failure that ends one exchange.

    @ivar status: the status code a client is answered with, if it still can be.
    @ivar proxy_status: the RFC 9209 error type.
    @ivar text: one line, for the client and for the log: never a credential, query or body.
    @ivar retry_after: seconds after which another try makes sense, if that is known.
    """

    def __init__(
        self, status: int, proxy_status: str, text: str, retry_after: int | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.proxy_status = proxy_status
        self.text = text
        self.retry_after = retry_after


class MessageError(FastcarError):
    """
    A peer's message broke HTTP's rules.  Raised by the parsers with a request's status; towards an
    origin it is turned into a 502 (see L{as_response_error}).
    """

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(status, "http_request_error", text)


class GatewayError(FastcarError):
    """
    The request was fine, but the origin could not be reached or did not answer properly.
    """


def stall_error() -> FastcarError:
    """
    Nothing moved for too long, when it is too late to tell the client.
    """
    return FastcarError(504, "connection_read_timeout", "no byte moved for too long")


def as_response_error(origin: str, error: MessageError) -> GatewayError:
    """
    The 502 for a response that broke HTTP's rules (RFC 9209 section 2.3.13).
    """
    return GatewayError(
        502, "http_protocol_error", f"{origin} sent an invalid response: {error.text}"
    )


def error_response(error: FastcarError, *, head_only: bool, close: bool) -> bytes:
    """
    A whole response for a failure.

    @param head_only: the request was a HEAD: the body is left out, its length is still told.
    @param close: tell the client that its connection ends.
    @return: head and body.
    """
    body = b"fastcar: " + error.text.encode("utf-8", "replace") + b"\n"
    head = (
        b"HTTP/1.1 %d %b\r\nDate: %b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\nProxy-Status: fastcar; error=%b\r\n%b%b\r\n"
    ) % (
        error.status,
        REASONS.get(error.status, b"Error"),
        formatdate(usegmt=True).encode("ascii"),
        len(body),
        error.proxy_status.encode("ascii"),
        b"" if error.retry_after is None else b"Retry-After: %d\r\n" % error.retry_after,
        b"Connection: close\r\n" if close else b"",
    )
    return head if head_only else head + body
