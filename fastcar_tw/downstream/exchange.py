"""
What a client connection tells an exchange, whoever answers it.
"""

from __future__ import annotations

from fastcar_tw.http.head import RequestHead


class DownstreamExchange:
    """
    One request and its response, as the client connection sees them; the base class of those who
    answer it.

    @ivar head_only: the response has no body whatever its head says.
    @ivar request_complete: the client has sent all of it.
    @ivar responded: the response's head was queued to the client.
    @ivar persist: the client connection may serve another request afterwards.
    @cvar may_half_close: a client that has sent its last byte may still wait for the response; if
        not, it counts as gone.
    """

    __slots__ = ("head_only", "persist", "request_complete", "responded")

    may_half_close = True

    def __init__(self, request: RequestHead) -> None:
        self.head_only = request.method == b"HEAD"
        self.request_complete = False
        self.responded = False
        self.persist = not request.close

    def start(self) -> None:
        """
        The request's head, and what came with it, is there.
        """
        raise NotImplementedError

    def request_body(self, content: bytes) -> None:
        """
        Some of the request's body.
        """

    def request_end(self, trailers: bytes) -> None:
        """
        The request is complete.
        """
        self.request_complete = True

    def flush_request(self) -> None:
        """
        All that arrived together has been told.
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
        Its deadline has passed.
        """
