"""
What a request of twisted.web stands on, in place of its own HTTP server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.http import Request
from twisted.web.http_headers import Headers


class RequestChannel:
    """
    The part of L{twisted.web.http.HTTPChannel} that a response needs.

    @ivar producer: of the body, while there is more of it; one that is asked for each block.
    @ivar finished: the response is queued to its end.
    @ivar write: queues some of the body.
    """

    __slots__ = ("_begin", "finished", "producer", "write")

    transport = None

    def __init__(
        self, begin: Callable[[int, bytes, Headers], None], write: Callable[[bytes], None]
    ) -> None:
        """
        @param begin: queues the head.
        """
        self.write = write
        self.producer: Any = None
        self.finished = False
        self._begin = begin

    def getPeer(self) -> None:
        pass

    def getHost(self) -> None:
        pass

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        self._begin(int(code), reason, headers)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def requestDone(self, request: Request) -> None:
        self.finished = True
