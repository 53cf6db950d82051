"""
The pool of connections to origins, as an L{HTTPConnectionPool}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.web.client import HTTPConnectionPool

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.pool.core import PoolCore, PoolLimits
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.pool_shell import PoolShell


class ConnectionPool(PoolShell[Origin, UpstreamConnection], HTTPConnectionPool):
    """
    A persistent L{HTTPConnectionPool} of L{UpstreamConnection}s, with L{Origin}s as keys.

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
        PoolShell.__init__(self, reactor, PoolCore(limits), endpoint_for, connect_timeout)
        HTTPConnectionPool.__init__(self, reactor, persistent=True)
        self.maxPersistentPerHost = limits.max_idle_per_origin

    def new_connection(self, key: Origin, address: IAddress | None) -> UpstreamConnection:
        """
        See L{PoolShell.new_connection}.
        """
        return UpstreamConnection(key, self, getattr(address, "host", None))

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
