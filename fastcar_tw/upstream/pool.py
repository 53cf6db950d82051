"""
The pool of connections to origins, as an L{HTTPConnectionPool}.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import maxsize
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.web.client import HTTPConnectionPool

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.http2.session import ASSUMED_CAPACITY
from fastcar_tw.pool.core import Attempt, PoolCore, PoolLimits
from fastcar_tw.pool.stats import Retired
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.exchange import OriginConnection
from fastcar_tw.upstream.multiplexed import MultiplexedConnection
from fastcar_tw.upstream.pool_shell import PoolShell

#: Origins of which is remembered after how many requests they end their connections.
MAX_SHORT_LIVED = 1024
#: So many requests on each connection cost nothing; if it were fewer, it must have been so twice,
#: for once may be a restart, and is believed for so many seconds.
LONG_ENOUGH = 100
SHORT_LIVED_TRUST = 30.0


class ConnectionPool(PoolShell[Origin, OriginConnection], HTTPConnectionPool):
    """
    A persistent L{HTTPConnectionPool} of L{OriginConnection}s, with L{Origin}s as keys.

    L{acquire} and L{cancel} are the way in for exchanges; L{getConnection} and
    L{closeCachedConnections} keep the contract of the base class.

    @ivar deadline: when to look for what has taken too long.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint_for: Callable[[Origin], IStreamClientEndpoint],
        limits: PoolLimits,
        *,
        connect_timeout: float,
    ) -> None:
        """
        @param endpoint_for: how an origin is reached; what it connects must be ready for requests.
        @param connect_timeout: seconds for name look-up, connection and TLS together.
        """
        core: PoolCore[Origin, OriginConnection, Any] = PoolCore(
            limits, expected_capacity=_expected_capacity
        )
        PoolShell.__init__(self, reactor, core, endpoint_for, connect_timeout)
        HTTPConnectionPool.__init__(self, reactor, persistent=True)
        self.maxPersistentPerHost = limits.max_idle_per_origin
        self._multiplexed: set[MultiplexedConnection] = set()
        # How many requests the last connections to an origin have served, one or two of them, that
        # were then ended although there were more on them; and until when that is believed.
        self._short_lived: dict[Origin, tuple[tuple[int, ...], float]] = {}

    def new_connection(self, key: Origin, address: IAddress | None) -> Any:
        """
        See L{PoolShell.new_connection}.
        """
        host = getattr(address, "host", None)
        if key.http2:
            return _Negotiation(self, key, host)
        return UpstreamConnection(key, self, host)

    def negotiated(
        self, key: Origin, address: str | None, protocol: str | None
    ) -> OriginConnection:
        """
        @param protocol: what the origin has chosen by ALPN, if anything.
        @return: the protocol of a connection that has been opened.
        """
        if protocol != "h2":
            return UpstreamConnection(key, self, address)
        limit = self.request_limit(key)
        connection = MultiplexedConnection(key, self, address, self._now, limit)
        # What its origin has allowed before, until it is heard.
        connection.capacity = min(connection.capacity, self._core.width(key))
        return connection

    def expired(self) -> None:
        """
        See L{PoolShell.expired}.
        """
        super().expired()
        for connection in list(self._multiplexed):
            connection.check(self._connect_timeout)

    # For multiplexed connections.

    def capacity_changed(self, connection: MultiplexedConnection) -> None:
        """
        It can serve another number of exchanges at once.
        """
        self._carry_out(self._core.capacity_changed(connection, self._now()))

    def used_up(self, connection: MultiplexedConnection) -> None:
        """
        It has begun as many exchanges as its origin answers on a connection.
        """
        self._carry_out(self._core.condemn(connection, Retired.KEEP_ALIVE, self._now()))

    def request_limit(self, origin: Origin) -> int:
        """
        How many exchanges an origin answers on a connection, if it has ended some before those that
        were on them.
        """
        lives, until = self._short_lived.get(origin, ((), 0.0))
        limit = max(min(lives, default=maxsize), 1)
        believed = limit >= LONG_ENOUGH or (len(lives) > 1 and self._now() < until)
        return limit if believed else maxsize

    def drain(self, connection: MultiplexedConnection, accepted: int | None) -> None:
        """
        It will serve the exchanges that it has, and no more.

        @param accepted: how many those were in all, if it was to serve others too.
        """
        if accepted is not None:
            if len(self._short_lived) >= MAX_SHORT_LIVED:
                self._short_lived.clear()
            now = self._now()
            lives, until = self._short_lived.get(connection.origin, ((), 0.0))
            last = lives[-1:] if now < until else ()
            self._short_lived[connection.origin] = (*last, accepted), now + SHORT_LIVED_TRUST
        self._carry_out(self._core.condemn(connection, Retired.ENDED, self._now()))

    def closed(self, connection: OriginConnection) -> None:
        """
        See L{PoolShell.closed}.
        """
        if isinstance(connection, MultiplexedConnection):
            self._multiplexed.discard(connection)
        super().closed(connection)

    def _what_went_wrong(self, connection: OriginConnection) -> GatewayError | None:
        return connection.failure if isinstance(connection, MultiplexedConnection) else None

    def _opened(self, connection: OriginConnection, attempt: Attempt[Origin, Any, Any]) -> None:
        if isinstance(connection, MultiplexedConnection):
            self._multiplexed.add(connection)
        super()._opened(connection, attempt)

    # The contract of HTTPConnectionPool, whose keys and connections are of any type.

    def getConnection(  # type: ignore[override]
        self, key: Origin, endpoint: IStreamClientEndpoint
    ) -> Deferred[OriginConnection]:
        """
        An idle connection for a key, or a new one as soon as the limits let it be opened.

        @param endpoint: is not used: the pool knows how its origins are reached, and that what it
            connects is ready for requests.
        @return: fails with L{GatewayError}.
        """
        waiter = _DeferredWaiter(lambda waiter: self.cancel(key, waiter))
        self.acquire(key, waiter)
        return waiter.result

    def closeCachedConnections(self) -> Deferred[None]:
        """
        See L{PoolShell.close_idle}.
        """
        return self.close_idle()


def _expected_capacity(origin: Origin) -> int:
    """
    How many requests at once a connection to an origin will serve of which nothing is known.
    """
    return ASSUMED_CAPACITY if origin.http2 else 1


class _Negotiation:
    """
    Holds the place of a connection until it is known what is spoken on it.
    """

    __slots__ = ("_address", "_origin", "_pool")

    def __init__(self, pool: ConnectionPool, origin: Origin, address: str | None) -> None:
        self._pool = pool
        self._origin = origin
        self._address = address

    def makeConnection(self, transport: Any) -> None:
        """
        The TLS handshake is finished.
        """
        connection = self._pool.negotiated(self._origin, self._address, transport.alpn)
        connection.makeConnection(transport)


class _DeferredWaiter:
    """
    Waits for whoever called L{ConnectionPool.getConnection}.
    """

    def __init__(self, cancel: Callable[[_DeferredWaiter], None]) -> None:
        self.result: Deferred[OriginConnection] = Deferred(lambda _: cancel(self))

    def is_repeatable(self) -> bool:
        return False

    def connected(self, connection: OriginConnection) -> None:
        self.result.callback(connection)

    def connect_failed(self, error: GatewayError) -> None:
        self.result.errback(error)
