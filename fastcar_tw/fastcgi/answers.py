"""
Answers that need no script.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.http.errors import FastcarError
from fastcar_tw.http.head import RequestHead

if TYPE_CHECKING:
    from fastcar_tw.downstream.clients import Clients
    from fastcar_tw.downstream.http1 import DownstreamConnection

#: What clients are told: which script, path or php-fpm it was is for the log.
_PAGES = {
    500: "internal error",
    502: "the application did not answer properly",
    503: "the application is too busy or not there, try again later",
    504: "the application took too long",
    507: "there is no room for the request",
}


def for_client(error: FastcarError) -> FastcarError:
    """
    What a client is told of a failure.
    """
    text = _PAGES.get(error.status, error.text)
    return FastcarError(error.status, error.proxy_status, text, error.retry_after)


def describe(request: RequestHead) -> str:
    """
    A request as the log tells it: method and path; the query is nobody's business.
    """
    # Both may be of any length.
    path = request.target.partition(b"?")[0][:256].decode("ascii", "backslashreplace")
    return f"{request.method[:32].decode('ascii')} {path}"


class Answer(DownstreamExchange):
    """
    A request and its answer, which has no body, and does not wait for the request's: after it the
    client connection is of further use only if that has come already.
    """

    __slots__ = ("_clients", "_downstream", "_fields", "_request", "_status")

    def __init__(
        self,
        clients: Clients,
        downstream: DownstreamConnection,
        request: RequestHead,
        status: int,
        fields: bytes = b"",
    ) -> None:
        """
        @param fields: field lines.
        """
        super().__init__(request)
        self._clients = clients
        self._downstream = downstream
        self._request = request
        self._status = status
        self._fields = fields

    def start(self) -> None:
        """
        The request's head, and what came with it, is there: answer.
        """
        if self._clients.config.verbose:
            self._clients.succeeded(describe(self._request), self._status, self._clients.now())
        self._answer()

    def _answer(self) -> None:
        self.persist = self.persist and self.request_complete
        self.responded = True
        self._downstream.queue(
            b"HTTP/1.1 %d %b\r\nDate: %b\r\nContent-Length: 0\r\n%b%b\r\n"
            % (
                self._status,
                HTTPStatus(self._status).phrase.encode("ascii"),
                formatdate(usegmt=True).encode("ascii"),
                self._fields,
                b"" if self.persist else b"Connection: close\r\n",
            )
        )
        self._downstream.response_done(self.persist)


class Refusal(Answer):
    """
    A request that gets an error for an answer.
    """

    __slots__ = ("_error",)

    def __init__(
        self,
        clients: Clients,
        downstream: DownstreamConnection,
        request: RequestHead,
        error: FastcarError,
    ) -> None:
        super().__init__(clients, downstream, request, error.status)
        self._error = error

    def _answer(self) -> None:
        self._downstream.failed(self._error)
