"""
The pool of connections to origins, as an L{HTTPConnectionPool}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.web.client import HTTPConnectionPool

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.pool.core import PoolCore, PoolLimits
from fastcar_tw.upstream.address_watch import AddressWatch
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.failures import connect_error
from fastcar_tw.upstream.pool_shell import PoolShell, timed_out

#: Seconds between two looks for names to look up again, however short their answers are kept.
REFRESH_INTERVAL = 5.0


class ConnectionPool(PoolShell[Origin, UpstreamConnection], HTTPConnectionPool):
    """
    A persistent L{HTTPConnectionPool} of L{UpstreamConnection}s, with L{Origin}s as keys.

    L{acquire} and L{cancel} are the way in for exchanges; L{getConnection} and
    L{closeCachedConnections} keep the contract of the base class.

    @ivar watch: retires connections whose address is no longer one of their name's.
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
        PoolShell.__init__(self, reactor, PoolCore(limits))
        HTTPConnectionPool.__init__(self, reactor, persistent=True)
        self.maxPersistentPerHost = limits.max_idle_per_origin
        self._clock = reactor
        self._endpoint_for = endpoint_for
        self._connect_timeout: float = connect_timeout
        self.watch = AddressWatch(self._core)
        self._refresh_at = 0.0

    # For exchanges.

    def connect(self, origin: Origin, factory: IProtocolFactory) -> Deferred[Any]:
        """
        Connect to an origin as the pool does, for something that cannot be pooled.

        @return: fires with the factory's protocol; fails with L{GatewayError}.
        """
        connecting: Deferred[Any] = maybeDeferred(
            lambda: self._endpoint_for(origin).connect(factory)
        )
        connecting.addTimeout(self._connect_timeout, self._clock, timed_out)
        return connecting.addErrback(connect_error, origin)

    def _connect(self, key: Origin) -> Deferred[UpstreamConnection]:
        return self.connect(key, _ConnectionFactory(key, self))

    # For the service.

    def expired(self) -> None:
        """
        Time to look for what has taken too long; see L{fastcar_tw.deadlines.Expiring}.
        """
        super().expired()
        now = self._now()
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_INTERVAL
            self.watch.refresh()

    def addresses_changed(self, name: str, addresses: frozenset[str]) -> None:
        """
        A look-up has answered: connections to other addresses are not used any more.
        """
        self._carry_out(self.watch.answered(name, addresses))

    def _was_opened(self, key: Origin) -> None:
        self.watch.opened(key)

    # The contract of HTTPConnectionPool, whose keys and connections are of any type.

    def getConnection(  # type: ignore[override]
        self, key: Origin, endpoint: IStreamClientEndpoint
    ) -> Deferred[UpstreamConnection]:
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


class _DeferredWaiter:
    """
    Waits for whoever called L{ConnectionPool.getConnection}.
    """

    def __init__(self, cancel: Callable[[_DeferredWaiter], None]) -> None:
        self.result: Deferred[UpstreamConnection] = Deferred(lambda _: cancel(self))

    def is_repeatable(self) -> bool:
        return False

    def connected(self, connection: UpstreamConnection) -> None:
        self.result.callback(connection)

    def connect_failed(self, error: GatewayError) -> None:
        self.result.errback(error)


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
        return UpstreamConnection(self._origin, self._pool, getattr(addr, "host", None))
