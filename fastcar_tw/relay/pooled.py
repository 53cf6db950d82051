"""
Clients that share connections to backends: one has a connection only from when its requests are
complete until the responses are.

Rules of this file.  A client's requests are answered in their order, so the next ones are sent only
when all responses to those before have come.  A client that does not read its response keeps nobody
from a connection: up to the size of the largest frame waits here; only who pipelines can have more
than that under way.  What was sent is not sent again.  What could not be sent is refused, where the
protocol has words for that; whatever else goes wrong ends the client, which then knows what it has
not got.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.deadlines import NEVER
from fastcar_tw.downstream.farewell import Farewell
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.relay.connection import BackendConnection
from fastcar_tw.relay.framing import FrameError, Framing, Use
from fastcar_tw.relay.pair import MAX_EARLY, PairClient, reason
from fastcar_tw.relay.requests import Batch, RequestQueue
from fastcar_tw.relay.visitor import Visitor
from fastcar_tw.upstream.backends import Backend
from fastcar_tw.wire import Wire, hung_up

if TYPE_CHECKING:
    from fastcar_tw.relay.relay import Relay

#: Bytes of whole requests that wait, above which a client is not read.
MAX_WAITING = MAX_EARLY
#: How often requests go to another connection of which nothing has left.
MAX_MOVES = 2
#: Bytes of a response, if it has so many, by which it is seen whether it tells of an error.
MAX_BEGINNING = 64


@implementer(IHalfCloseableProtocol, IPushProducer)
class PooledClient(Stage):
    """
    A client, and whom its connection serves while it has one.
    """

    __slots__ = (
        "_answered",
        "_backend",
        "_batch",
        "_beginning",
        "_closing",
        "_connection",
        "_deaf",
        "_draining",
        "_farewell",
        "_framing",
        "_full",
        "_held_until",
        "_holding",
        "_input_ended",
        "_moves",
        "_paused",
        "_pausing",
        "_relay",
        "_requests",
        "_sent",
        "_since",
        "_visitor",
    )

    def __init__(self, relay: Relay, visitor: Visitor, framing: Framing) -> None:
        super().__init__(relay, relay.keepalive_deadline())
        self._relay = relay
        self._visitor = visitor
        self._since = relay.now()
        self._answered = 0
        self._framing = framing
        self._requests = RequestQueue(framing)
        # What was sent, or is to be sent as soon as there is a connection, which was asked for with
        # this backend as key.
        self._batch: Batch | None = None
        self._backend: Backend | None = None
        self._moves = 0
        self._connection: BackendConnection | None = None
        # The connection stays ours, though nothing is due: until then.
        self._holding = False
        self._held_until = NEVER
        # How the present response begins, where that matters.
        self._beginning = b""
        # The client does not take what it is sent, and had taken so much when last looked at.
        self._full = False
        self._sent = 0
        # It is not read; its connection is not read for its sake.
        self._paused = False
        self._pausing = False
        self._input_ended = False
        self._draining = False
        self._closing = False
        # It has sent what is no request; what follows is read and dropped, since a connection that
        # is closed before all was read takes the last responses with it.
        self._deaf = False
        self._farewell = b""

    def __repr__(self) -> str:
        return f"<PooledClient {self._visitor}>"

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        super().makeConnection(transport)
        self._visitor = self._visitor.seen(transport)
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._input_ended:
            return
        try:
            self._requests.feed(data)
        except FrameError as error:
            self._relay.gave_up(self._visitor, f"sent no valid request: {error}")
            # What came before it is answered first.
            self._farewell = self._framing.refusal(str(error)) or b""
            self._deaf = self._input_ended = True
            if self._batch is None:
                self._go_on()
            return
        if self._batch is None:
            self._go_on()
        if self._requests.size >= MAX_WAITING and not self._paused and self._wire is not None:
            self._paused = True
            self._wire.pauseProducing()

    def readConnectionLost(self) -> None:
        wire = self._wire
        if wire is None or (self._input_ended and not self._deaf):
            return
        if hung_up(wire):
            wire.abortConnection()
        else:
            self._input_ended, self._deaf = True, False
            if self._batch is None:
                self._go_on()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        connection = self._connection
        self._wire = None
        if self._batch is not None and connection is not None and not self._batch.holds:
            # It was sent, so it has happened; the responses are for nobody.
            self._resume_connection()
            return
        if connection is not None:
            self._connection = None
            connection.abort()
        elif self._backend is not None:
            self._relay.pool.cancel(self._backend, self)
        self._end()

    # Back-pressure: the client reads more slowly than it is answered.

    def pauseProducing(self) -> None:
        self._full = True
        self._expect_reading()

    def resumeProducing(self) -> None:
        self._full = False
        self._resume_connection()
        if self._batch is None:
            self._go_on()
        elif self._connection is not None:
            self.deadline = self._relay.response_deadline()
        else:
            self.deadline = NEVER

    def stopProducing(self) -> None:
        pass

    # From the pool.

    def is_repeatable(self) -> bool:
        """
        See L{Waiter<fastcar_tw.upstream.pool_shell.Waiter>}.
        """
        return False

    def connected(self, connection: BackendConnection) -> None:
        """
        See L{Waiter<fastcar_tw.upstream.pool_shell.Waiter>}.
        """
        batch = self._batch
        assert batch is not None
        self._backend = None
        self._connection = connection
        self.deadline = self._relay.response_deadline()
        connection.start(self, batch.data, batch.number)

    def connect_failed(self, error: GatewayError) -> None:
        """
        See L{Waiter<fastcar_tw.upstream.pool_shell.Waiter>}.
        """
        self._backend = None
        batch, wire = self._batch, self._wire
        refusal = self._framing.refusal(reason(error))
        if batch is None or wire is None or refusal is None:
            self._give_up(error.text)
            return
        self._batch = None
        wire.write(refusal * batch.number)
        if batch.holds:
            # What would follow in a transaction must not be carried out without one.
            self._relay.gave_up(self._visitor, error.text)
            self._deaf = self._input_ended = True
            self._close(wire)
            return
        self._relay.turned_down(self._visitor, error.text)
        self._go_on()

    # From the connection.

    def response(self, data: bytes, ends: list[int]) -> None:
        """
        See L{RelayExchange<fastcar_tw.relay.connection.RelayExchange>}.
        """
        wire, batch = self._wire, self._batch
        assert batch is not None
        if batch.ends:
            self._note_beginning(data, ends)
        if wire is not None:
            wire.write(data)
        if not self._full or wire is None:
            self.deadline = self._relay.response_deadline()
        elif wire.unsent > self._relay.config.max_frame and self._connection is not None:
            if not self._pausing:
                self._expect_reading()
            self._pausing = True
            self._connection.pause_reading()

    def response_end(self, data: bytes, ends: list[int]) -> None:
        """
        See L{RelayExchange<fastcar_tw.relay.connection.RelayExchange>}.
        """
        batch, connection, wire = self._batch, self._connection, self._wire
        assert batch is not None and connection is not None
        self._batch = None
        self._resume_connection()
        self._answered += batch.number
        if batch.holds and not self._holding:
            self._held_until = self._relay.client_deadline()
        self._holding = batch.holds
        if not batch.holds:
            self._connection = None
            if batch.ends and self._ended_badly(data, ends):
                connection.abort()
            else:
                # Whoever is next has its requests sent before this response is passed on.
                connection.give_back()
        if wire is None:
            self._end()
            return
        wire.write(data)
        self._go_on()

    def upstream_full(self) -> None:
        """
        The backend takes requests slowly; no more is sent before it has answered in any case.
        """

    def upstream_drained(self) -> None:
        """
        See L{upstream_full}.
        """

    def upstream_failed(self, text: str, *, unsent: bool) -> None:
        """
        See L{RelayExchange<fastcar_tw.relay.connection.RelayExchange>}.
        """
        connection, self._connection = self._connection, None
        self._pausing = False
        if self._wire is None:
            self._end()
        elif unsent and not self._holding and self._moves < MAX_MOVES and connection is not None:
            self._moves += 1
            pool = self._relay.pool
            self.deadline = NEVER
            self._backend = pool.choose(but=connection.backend)
            pool.acquire_again(self._backend, self)
        else:
            self._give_up(text)

    # From the relay.

    def expired(self) -> None:
        """
        See L{Expiring<fastcar_tw.deadlines.Expiring>}.
        """
        wire = self._wire
        # Who has its connection stopped has no more time for taking a little.
        moves = wire is not None and wire.unsent and wire.bytes_sent != self._sent
        if moves and not self._pausing:
            self._expect_reading()
        elif self._full or self._closing:
            self._give_up("does not take its responses", at_once=True)
        elif self._batch is not None and self._connection is not None:
            self._give_up(f"{self._connection.backend} is silent and owes a response")
        elif self._holding:
            self._give_up("takes too long for its transaction")
        elif self._requests.partial:
            self._give_up("is silent in the middle of a request")
        else:
            self.abort()

    def drain(self) -> None:
        """
        See L{Client<fastcar_tw.downstream.clients.Client>}.
        """
        self._draining = True
        if self._batch is None:
            self._go_on()

    def abort(self) -> None:
        """
        End at once.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if self._backend is not None:
            self._relay.pool.cancel(self._backend, self)
            self._backend = None
        wire = self._wire
        if wire is not None:
            self._closing = self._input_ended = True
            wire.unregisterProducer()
            wire.abortConnection()
        elif connection is not None:
            self._end()

    # Ours.

    def _go_on(self) -> None:
        """
        Nothing is due to the client: see what comes next.
        """
        wire, requests = self._wire, self._requests
        if wire is None or self._full or self._closing:
            return
        batch = requests.next()
        if self._paused and requests.size < MAX_WAITING and not self._input_ended:
            self._paused = False
            wire.resumeProducing()
        if self._holding and self._relay.now() >= self._held_until:
            self._give_up("takes too long for its transaction")
        elif batch is not None:
            self._send(batch)
        elif requests.last is Use.OWN:
            self._become_pair(wire)
        elif requests.last is Use.LAST:
            wire.write(self._framing.farewell)
            self._close(wire)
        elif self._input_ended or (self._draining and not (self._holding or requests.partial)):
            self._close(wire)
        elif self._holding:
            self.deadline = self._held_until
        elif requests.partial:
            self.deadline = self._relay.client_deadline()
        else:
            self.deadline = self._relay.keepalive_deadline()

    def _send(self, batch: Batch) -> None:
        relay = self._relay
        self._batch = batch
        self._moves = 0
        self._beginning = b""
        if self._holding and self._connection is not None:
            self.deadline = relay.response_deadline()
            self._connection.start(self, batch.data, batch.number)
            return
        self.deadline = NEVER  # the pool has one
        self._backend = relay.pool.choose()
        relay.pool.acquire(self._backend, self)

    def _become_pair(self, wire: Wire) -> None:
        """
        From here on the client has a connection of its own.
        """
        held, self._connection = self._connection, None
        wire.unregisterProducer()
        rest = self._requests.rest()
        pair = PairClient(self._relay, self._visitor, rest, self._input_ended, held, self._framing)
        self.pass_on(pair)

    def _close(self, wire: Wire) -> None:
        """
        Everything is said.
        """
        self._closing = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        wire.unregisterProducer()
        if self._deaf:
            self.pass_on(Farewell(self._relay, self._farewell))
            return
        if self._farewell:
            wire.write(self._farewell)
        self._expect_reading()
        wire.loseConnection()

    def _give_up(self, text: str, *, at_once: bool = False) -> None:
        """
        Something went wrong, and is not told to the client.

        @param at_once: what it has not taken is dropped: else it gets the responses that came
            before.
        """
        wire = self._wire
        if wire is not None:
            self._relay.gave_up(self._visitor, text)
        if wire is None or at_once or not wire.unsent:
            self.abort()
            return
        self._input_ended = True
        self._farewell = b""  # it would be taken for what is missing
        self._close(wire)

    def _end(self) -> None:
        """
        Neither the client nor anything of it is there any more.
        """
        self._relay.unwatch(self)
        self._relay.left(self._visitor, self._since, self._answered)

    def _expect_reading(self) -> None:
        if self._wire is not None:
            self._sent = self._wire.bytes_sent
        self.deadline = self._relay.client_deadline()

    def _resume_connection(self) -> None:
        if self._pausing and self._connection is not None:
            self._pausing = False
            self._connection.resume_reading()

    # How the last response of a batch begins.

    def _note_beginning(self, data: bytes, ends: list[int]) -> None:
        if ends:
            self._beginning = data[ends[-1] :]
        elif len(self._beginning) < MAX_BEGINNING:
            self._beginning += data

    def _ended_badly(self, data: bytes, ends: list[int]) -> bool:
        beginning = data[ends[-2] :] if len(ends) > 1 else self._beginning
        if len(ends) == 1 and len(beginning) < MAX_BEGINNING:
            beginning += data
        return self._framing.is_error(beginning)
