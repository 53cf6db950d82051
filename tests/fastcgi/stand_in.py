"""A stand-in for php-fpm that the real reactor serves: its children answer when told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from fastcar_tw.fastcgi.records import GET_VALUES_RESULT, PARAMS, STDIN, encode_record, parse_values
from tests.fastcgi.support import GET_VALUES, HEADER, OK, end_request, stdout

__all__ = ["ChildProcess", "StandIn"]


class ChildProcess(Protocol):
    """
    A child that serves one connection.

    @ivar requests: the variables of each request that is complete.
    """

    def __init__(self, fpm: StandIn) -> None:
        self.requests: list[dict[bytes, bytes]] = []
        self.closed = False
        self._fpm = fpm
        self._unread = b""
        self._params: dict[bytes, bytes] = {}

    def connectionMade(self) -> None:
        """A child is taken."""
        self._fpm.children.append(self)
        self._fpm.happened()

    def dataReceived(self, data: bytes) -> None:
        """Take what is complete."""
        self._unread += data
        while len(self._unread) >= HEADER.size:
            _, kind, _, length, padding = HEADER.unpack_from(self._unread)
            content = self._unread[HEADER.size : HEADER.size + length]
            end = HEADER.size + length + padding
            if len(self._unread) < end:
                break
            self._unread = self._unread[end:]
            self._take(kind, content)

    def connectionLost(self, reason: Any = None) -> None:
        """The child is free."""
        self.closed = True
        self._fpm.happened()

    def answer(self, content: bytes = OK) -> None:
        """Write everything and be done."""
        assert self.transport is not None
        self.transport.write(stdout(content) + end_request())

    def _take(self, kind: int, content: bytes) -> None:
        if kind == PARAMS:
            self._params.update(parse_values(content))
        elif kind == STDIN and not content:
            self.requests.append(self._params)
            self._params = {}
            if self._fpm.answering:
                self.answer()
            self._fpm.happened()
        elif kind == GET_VALUES:
            assert self.transport is not None
            self.transport.write(encode_record(GET_VALUES_RESULT, b"", 0))


class StandIn(Factory):
    """
    All children.

    @ivar children: one for each connection there was.
    @ivar answering: they answer by themselves, with L{OK}.
    """

    noisy = False

    def __init__(self) -> None:
        self.children: list[ChildProcess] = []
        self.answering = True
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def buildProtocol(self, addr: object) -> ChildProcess:
        """Take a child."""
        return ChildProcess(self)

    @property
    def requests(self) -> list[dict[bytes, bytes]]:
        """All that are complete, child after child."""
        return [request for child in self.children for request in child.requests]

    @property
    def open(self) -> list[ChildProcess]:
        """The children that are taken."""
        return [child for child in self.children if not child.closed]

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fire once the condition holds."""
        deferred: Deferred[None] = Deferred()
        self._waiting.append((condition, deferred))
        self.happened()
        return deferred

    def happened(self) -> None:
        """Wake those whose condition has become true."""
        due = [item for item in self._waiting if item[0]()]
        self._waiting = [item for item in self._waiting if item not in due]
        for _, deferred in due:
            deferred.callback(None)
