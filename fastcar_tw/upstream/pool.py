"""
The pool: who gets which connection, and what is opened for whom.

A request takes an idle connection or waits in line for its origin, and for each one in line a
connection is being opened.  Whichever connection comes free first, opened or released, serves the
first in line; what arrives when nobody waits goes idle.  So a request is never slower than a new
connection, and often faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.failures import connect_error
from fastcar_tw.upstream.idle import IdleConnections

#: Seconds between two looks for connections that have been idle for too long.
SWEEP_INTERVAL = 1.0
#: Seconds a connection may take to send its last bytes.
MAX_LEAVING = 30.0


class Waiter(TypingProtocol):
    """
    Who wants a connection.
    """

    def connected(self, connection: UpstreamConnection) -> None:
        """
        Here it is; C{connection.fresh} tells whether it was opened for this.
        """

    def connect_failed(self, error: GatewayError) -> None:
        """
        There will be none.
        """


class ConnectionPool(HTTPConnectionPool):
    """
    A persistent L{HTTPConnectionPool} of L{UpstreamConnection}s, with L{Origin}s as keys.

    L{acquire} and L{cancel} are the way in for exchanges; L{getConnection} and
    L{closeCachedConnections} keep the contract of the base class.
    """

    _connect_timeout: float

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint_for: Callable[[Origin], IStreamClientEndpoint],
        *,
        max_idle_per_origin: int,
        idle_timeout: float,
        connect_timeout: float,
    ) -> None:
        """
        @param endpoint_for: how an origin is reached; what it connects must be ready for requests.
        @param max_idle_per_origin: see L{IdleConnections}.
        @param idle_timeout: seconds.
        @param connect_timeout: seconds for name look-up, connection and TLS together.
        """
        super().__init__(reactor, persistent=True)
        self.maxPersistentPerHost = max_idle_per_origin
        self._clock = reactor
        self._endpoint_for = endpoint_for
        self._connect_timeout = connect_timeout
        self._idle: IdleConnections[UpstreamConnection] = IdleConnections(
            max_idle_per_origin, idle_timeout
        )
        # The inner dict is an ordered set: first come, first served, and quick to leave.
        self._waiting: dict[Origin, dict[Waiter, None]] = {}
        self._opening: dict[Origin, int] = {}
        self._connecting: set[Deferred[Any]] = set()
        self._open: set[UpstreamConnection] = set()
        # Retired but not closed, and until when they may take; in that order.
        self._leaving: dict[UpstreamConnection, float] = {}
        self._closing: dict[UpstreamConnection, Deferred[None]] = {}
        #: When to look for what has been idle for too long.
        self.deadline = 0.0
        #: Connections opened since the start.
        self.opened = 0

    def __repr__(self) -> str:
        idle = len(self._idle)
        opening = sum(self._opening.values())
        waiting = sum(map(len, self._waiting.values()))
        return (
            f"<ConnectionPool {len(self._open) - idle} active, {idle} idle, {opening} opening, "
            f"{waiting} waiting>"
        )

    # For exchanges.

    def acquire(
        self, origin: Origin, waiter: Waiter, *, fresh: bool = False, safe: bool = True
    ) -> None:
        """
        Get a connection for a waiter: at once when one is idle, else as soon as one is there.

        @param fresh: it must be a new one.
        @param safe: the request may be sent again; when it may not, an idle connection is asked
            whether it is still alive.
        """
        if fresh:
            self._connect(origin).addCallbacks(
                waiter.connected, lambda failure: _tell_failed(waiter, failure)
            )
            return
        connection = self._take(origin, safe)
        if connection is not None:
            waiter.connected(connection)
            return
        waiting = self._waiting.setdefault(origin, {})
        waiting[waiter] = None
        if self._opening.get(origin, 0) < len(waiting):
            self._open_for_line(origin)

    def cancel(self, origin: Origin, waiter: Waiter) -> None:
        """
        A waiter has gone.  What is being opened for it will serve others.
        """
        waiting = self._waiting.get(origin)
        if waiting is not None:
            waiting.pop(waiter, None)
            if not waiting:
                del self._waiting[origin]

    def expired(self) -> None:
        """
        Time to look for what has been idle for too long; see L{fastcar_tw.deadlines.Expiring}.
        """
        now = self._clock.seconds()
        self.deadline = now + SWEEP_INTERVAL
        for connection in self._idle.expire(now):
            connection.close()
        for connection, until in list(self._leaving.items()):
            if until > now:
                break
            connection.break_off()

    def abort(self) -> None:
        """
        End every connection at once, those that are being opened too.
        """
        for connecting in list(self._connecting):
            connecting.cancel()
        for connection in list(self._open):
            connection.abort()
        for connection in list(self._leaving):
            connection.break_off()

    # For connections.

    def release(self, connection: UpstreamConnection) -> None:
        """
        A connection is ready for its next request.
        """
        if connection.origin in self._waiting:
            self._first_in_line(connection.origin).connected(connection)
            return
        connection.fresh = False
        surplus = self._idle.put(connection.origin, connection, self._clock.seconds())
        if surplus is not None:
            surplus.close()

    def retired(self, connection: UpstreamConnection) -> None:
        """
        A connection will serve no more requests.
        """
        self._open.discard(connection)
        self._idle.discard(connection.origin, connection)
        self._leaving[connection] = self._clock.seconds() + MAX_LEAVING

    def closed(self, connection: UpstreamConnection) -> None:
        """
        A connection has ended.
        """
        self._leaving.pop(connection, None)
        closing = self._closing.pop(connection, None)
        if closing is not None:
            closing.callback(None)

    # The contract of HTTPConnectionPool, whose keys and connections are of any type.

    def getConnection(  # type: ignore[override]
        self, key: Origin, endpoint: IStreamClientEndpoint
    ) -> Deferred[UpstreamConnection]:
        """
        An idle connection for a key, or a new one over the given endpoint.
        """
        connection = self._take(key, safe=False)
        return self._newConnection(key, endpoint) if connection is None else succeed(connection)

    def closeCachedConnections(self) -> Deferred[None]:
        """
        Close all idle connections.

        @return: fires when they are closed.
        """
        closing: list[Deferred[None]] = []
        for connection in self._idle.clear():
            closed: Deferred[None] = Deferred()
            self._closing[connection] = closed
            closing.append(closed)
            connection.close()
        return DeferredList(closing).addCallback(lambda _: None)

    def _newConnection(  # type: ignore[override]
        self, key: Origin, endpoint: IStreamClientEndpoint
    ) -> Deferred[UpstreamConnection]:
        connecting: Deferred[Any] = endpoint.connect(_ConnectionFactory(key, self))
        connecting.addTimeout(self._connect_timeout, self._clock)
        self._connecting.add(connecting)
        connecting.addBoth(self._connecting_ended, connecting)
        connecting.addCallbacks(self._count_opened, connect_error, errbackArgs=(key,))
        return connecting

    def _connecting_ended(self, result: Any, connecting: Deferred[Any]) -> Any:
        self._connecting.discard(connecting)
        return result

    def _connect(self, origin: Origin) -> Deferred[UpstreamConnection]:
        return self._newConnection(origin, self._endpoint_for(origin))

    def _count_opened(self, connection: UpstreamConnection) -> UpstreamConnection:
        self.opened += 1
        self._open.add(connection)
        return connection

    def _take(self, origin: Origin, safe: bool) -> UpstreamConnection | None:
        while True:
            connection = self._idle.take(origin)
            if connection is None or safe or not connection.is_stale():
                return connection
            connection.abort()

    def _open_for_line(self, origin: Origin) -> None:
        self._opening[origin] = self._opening.get(origin, 0) + 1
        self._connect(origin).addCallbacks(
            self._opened_for_line, self._not_opened, errbackArgs=(origin,)
        )

    def _opened_for_line(self, connection: UpstreamConnection) -> None:
        self._opening_ended(connection.origin)
        self.release(connection)

    def _not_opened(self, failure: Failure, origin: Origin) -> None:
        self._opening_ended(origin)
        waiting = self._waiting.get(origin)
        # Others in line have a connection of their own being opened.
        if waiting and len(waiting) > self._opening.get(origin, 0):
            _tell_failed(self._first_in_line(origin), failure)

    def _first_in_line(self, origin: Origin) -> Waiter:
        waiting = self._waiting[origin]
        waiter = next(iter(waiting))
        del waiting[waiter]
        if not waiting:
            del self._waiting[origin]
        return waiter

    def _opening_ended(self, origin: Origin) -> None:
        self._opening[origin] -= 1
        if not self._opening[origin]:
            del self._opening[origin]


def _tell_failed(waiter: Waiter, failure: Failure) -> None:
    failure.trap(GatewayError)
    waiter.connect_failed(cast(GatewayError, failure.value))


class _ConnectionFactory(Factory):
    """
    Builds the protocol of one new connection.
    """

    noisy = False

    def __init__(self, origin: Origin, pool: ConnectionPool) -> None:
        self._origin = origin
        self._pool = pool

    # Not an IProtocol by the letter: nobody asks for its connectionMade.
    def buildProtocol(self, addr: IAddress | None) -> UpstreamConnection:  # type: ignore[override]
        return UpstreamConnection(self._origin, self._pool)
