"""
Requests that fastcar answers itself, because they may not be forwarded.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.http.head import RequestHead

if TYPE_CHECKING:
    from fastcar_tw.downstream.http1 import DownstreamConnection


class LocalExchange(DownstreamExchange):
    """
    A request whose answer is known, and ends the connection; the request's rest is not looked at.
    """

    __slots__ = ("_downstream", "_response")

    def __init__(
        self, downstream: DownstreamConnection, request: RequestHead, response: bytes
    ) -> None:
        super().__init__(request)
        self.persist = False
        self._downstream = downstream
        self._response = response

    def start(self) -> None:
        """
        The request's head is there: answer.
        """
        self.responded = True
        self._downstream.queue(self._response)
        self._downstream.response_done(persist=False)

    def request_end(self, trailers: bytes) -> None:
        """
        Nobody waits for that.
        """


def answer_locally(request: RequestHead) -> bytes | None:
    """
    The response for a request that ends here: Max-Forwards is 0 (RFC 9110 section 7.6.2).

    @return: a whole response that closes the connection; None when the request is to be forwarded.
    """
    if request.max_forwards != 0:
        return None
    if request.method == b"OPTIONS":
        return _response(b"", b"")
    # RFC 9110 section 9.3.8: the request as received, without what might be a secret.
    reflected = b"TRACE %b HTTP/1.1\r\nHost: %b\r\nMax-Forwards: 0\r\n\r\n" % (
        request.target,
        request.host,
    )
    return _response(b"Content-Type: message/http\r\n", reflected)


def _response(fields: bytes, body: bytes) -> bytes:
    date = formatdate(usegmt=True).encode("ascii")
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        date,
        fields,
        len(body),
        body,
    )
