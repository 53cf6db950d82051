"""
A request to fastcar itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcar_tw.http.errors import FastcarError
from fastcar_tw.http.head import RequestHead

if TYPE_CHECKING:
    from fastcar_tw.downstream.http1 import DownstreamConnection
    from fastcar_tw.forward.forwarder import Forwarder

#: The host that is fastcar itself, on every listener and whatever the port.
SITE_NAME = "fastcar.localhost"


class SiteExchange:
    """
    One request to fastcar itself and its response; see
    L{Exchange<fastcar_tw.forward.exchange.Exchange>}, whose part it takes towards the client.
    """

    def __init__(
        self, forwarder: Forwarder, downstream: DownstreamConnection, request: RequestHead
    ) -> None:
        self.head_only = request.method == b"HEAD"
        self.request_complete = False
        self.responded = False
        self.persist = not request.close
        self._forwarder = forwarder
        self._downstream = downstream

    def start(self) -> None:
        """
        The request's head, and what came with it, is there.
        """
        self._downstream.failed(FastcarError(501, "http_request_denied", "not yet"))

    def request_body(self, content: bytes) -> None:
        """
        Is not looked at.
        """

    def request_end(self, trailers: bytes) -> None:
        """
        The request is complete.
        """
        self.request_complete = True

    def flush_request(self) -> None:
        """
        Nothing is sent on.
        """

    def downstream_full(self) -> None:
        """
        The client does not read.
        """

    def downstream_drained(self) -> None:
        """
        The client has read what was there.
        """

    def downstream_lost(self) -> None:
        """
        The client has gone.
        """

    def expired(self) -> None:
        """
        It has taken too long.
        """
        self._downstream.failed(FastcarError(504, "http_response_timeout", "took too long"))
