"""
One connection to a backend.  It serves the requests of one client after another's, or it is handed
over to one client (see L{KeptConnection.hand_over}).
"""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from fastcar_tw.pool.stats import Retired
from fastcar_tw.relay.framing import FrameError, Framer, Framing
from fastcar_tw.tunnel import TunnelEnd
from fastcar_tw.upstream.backends import Backend
from fastcar_tw.upstream.kept_connection import ConnectionOwner, KeptConnection
from fastcar_tw.wire import acknowledge


class RelayExchange(Protocol):
    """
    What a busy connection tells whom it serves.
    """

    def response(self, data: bytes, ends: list[int]) -> None:
        """
        A part of the responses.

        @param ends: behind the last byte of each response that ends in it.
        """

    def response_end(self, data: bytes, ends: list[int]) -> None:
        """
        The last part of them: the connection is to be given back, kept or aborted.
        """

    def upstream_full(self) -> None: ...

    def upstream_drained(self) -> None: ...

    def upstream_failed(self, text: str, *, unsent: bool) -> None:
        """
        There will be nothing more.

        @param unsent: nothing of the requests has left this process.
        """


class RelayOwner(ConnectionOwner["BackendConnection"], Protocol):
    """
    The pool, as a connection sees it.
    """

    def unasked(self, connection: BackendConnection) -> None:
        """
        An idle connection was sent something, and has been ended.
        """


class BackendConnection(KeptConnection):
    """
    A connection to a backend.

    @ivar backend: whom it leads to.
    @ivar own: it was handed over, so what passes is counted elsewhere.
    @ivar responses: how many have come.
    @ivar received: bytes of them.
    """

    __slots__ = (
        "_answered",
        "_due",
        "_framer",
        "_sent",
        "_sent_before",
        "_surplus",
        "backend",
        "own",
        "received",
        "responses",
    )

    _exchange: RelayExchange | None
    _owner: RelayOwner

    def __init__(self, backend: Backend, owner: RelayOwner, framing: Framing | None) -> None:
        """
        @param framing: None: it will be handed over.
        """
        super().__init__(owner)
        self.backend = backend
        self.own = False
        self.responses = 0
        self.received = 0
        self._framer: Framer | None = None if framing is None else framing.responses()
        # How many responses have not ended yet.
        self._due = 0
        self._answered = False
        self._surplus = False
        self._sent_before = 0
        self._sent = 0

    def __repr__(self) -> str:
        return self.describe(self.backend)

    # From the pool.

    def sent(self) -> int:
        """
        See L{KeptConnection.sent}; when the connection has ended, too.
        """
        return self._sent if self._wire is None else self._wire.bytes_sent

    # From the client.

    def hand_over(self, end: TunnelEnd) -> None:
        """
        See L{KeptConnection.hand_over}.
        """
        self.own = True
        super().hand_over(end)

    def start(self, exchange: RelayExchange, requests: bytes, count: int) -> None:
        """
        Send requests.

        @param count: how many responses are due.
        """
        wire = self._wire
        assert wire is not None and not self._due
        self._exchange = exchange
        self._due = count
        self._answered = False
        self.served += count
        self.fresh = False
        self._sent_before = wire.bytes_sent
        wire.write(requests)

    def give_back(self) -> None:
        """
        All responses have come, and the connection is as it was before.
        """
        self._exchange = None
        if self._surplus:
            self._end(Retired.BROKEN, abort=True)
            self._owner.unasked(self)
        else:
            self._owner.release(self)

    # From the wire.

    def dataReceived(self, data: bytes) -> None:
        exchange, framer = self._exchange, self._framer
        if exchange is None or framer is None:
            # Whose response it is can only be guessed.
            self._end(Retired.BROKEN, abort=True)
            self._owner.unasked(self)
            return
        if not self._due:
            self._fail("sent something unasked")
            return
        self.received += len(data)
        self._answered = True
        wrong = ""
        try:
            ends = framer.feed(data)
        except FrameError as error:
            wrong = f"sent no valid response: {error}"
            ends = list(error.ends)
        due = self._due - len(ends)
        if due > 0:
            self._due = due
            self.responses += len(ends)
            if not wrong:
                exchange.response(data, ends)
                if self._exchange is exchange and self._wire is not None:
                    acknowledge(self._wire)  # there is more to come
                return
            if ends:
                exchange.response(data[: ends[-1]], ends)  # what came before it is whole
            self._fail(wrong)
            return
        self.responses += self._due
        if due or ends[-1] != len(data):
            self._surplus = True
            del ends[self._due :]
            data = data[: ends[-1]]
        self._due = 0
        exchange.response_end(data, ends)
        if self._surplus and self._exchange is exchange:
            self._fail("sent something unasked")

    def readConnectionLost(self) -> None:
        """
        Of TLS only: the backend has said its last.
        """
        self._fail_at_end()
        self._end(Retired.ENDED, abort=False)

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        self._fail_at_end()
        self._end(Retired.ENDED, abort=True)
        if self._leaving is not None:
            self._sent = self._leaving.bytes_sent
            self._leaving = None
        self._owner.closed(self)

    # Ours.

    def _fail_at_end(self) -> None:
        if self._exchange is None:
            return
        if not self._due:
            self._fail("closed the connection")
        else:
            part = "in the middle of" if self._answered else "before"
            self._fail(f"closed the connection {part} its response")

    def _fail(self, what: str) -> None:
        exchange, self._exchange = self._exchange, None
        wire = self._wire
        # Less, if not even what was written before has been taken, though it was counted.
        unsent = wire is not None and wire.bytes_sent <= self._sent_before and not self._answered
        self._end(Retired.BROKEN, abort=True)
        if exchange is not None:
            exchange.upstream_failed(f"{self.backend} {what}", unsent=unsent)
