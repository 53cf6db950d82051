"""
What a client connection tells an exchange, whoever answers it.
"""

from __future__ import annotations

from typing import Protocol


class DownstreamExchange(Protocol):
    """
    One request and its response, as the client connection sees them, which may leave out what has a
    C{return} here.

    @ivar head_only: the response has no body whatever its head says.
    @ivar request_complete: the client has sent all of it.
    @ivar responded: the response's head was queued to the client.
    @ivar persist: the client connection may serve another request afterwards.
    @cvar may_half_close: a client that has sent its last byte may still wait for the response; if
        not, it counts as gone.
    """

    __slots__ = ("head_only", "persist", "request_complete", "responded")

    may_half_close: bool = True

    head_only: bool
    request_complete: bool
    responded: bool
    persist: bool

    def start(self) -> None:
        """
        The request's head, and what came with it, is there.
        """

    def request_body(self, content: bytes) -> None:
        """
        Some of the request's body.
        """
        return

    def request_end(self, trailers: bytes) -> None:
        """
        The request is complete.
        """

    def flush_request(self) -> None:
        """
        All that arrived together has been told.
        """
        return

    def downstream_full(self) -> None:
        """
        The client does not read.
        """
        return

    def downstream_drained(self) -> None:
        """
        The client has read what was there.
        """
        return

    def downstream_lost(self) -> None:
        """
        The client has gone.
        """

    def expired(self) -> None:
        """
        Its deadline has passed.
        """
