"""
The pool of connections to php-fpm: to one, or to several that all do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from fastcar_tw.fastcgi.backends import Backend
from fastcar_tw.fastcgi.connection import FastCGIConnection
from fastcar_tw.fastcgi.finishing import FinishingConnections
from fastcar_tw.pool.core import PoolLimits
from fastcar_tw.pool.stats import Retired
from fastcar_tw.upstream.failures import connect_error
from fastcar_tw.upstream.pool_shell import PoolShell, timed_out

EndpointFor = Callable[[Backend], IStreamClientEndpoint]


class FastCGIPool(PoolShell[Backend, FastCGIConnection]):
    """
    A pool of L{FastCGIConnection}s, with L{Backend}s as keys, and one line for all of them.

    @ivar keep: whether connections are kept.
    @ivar max_requests: how many requests one serves; 0: no limit.
    """

    def __init__(
        self,
        clock: IReactorTime,
        backends: Sequence[Backend],
        endpoint_for: EndpointFor,
        limits: PoolLimits,
        *,
        connect_timeout: float,
        keep: bool = True,
        max_requests: int = 0,
    ) -> None:
        """
        @param connect_timeout: seconds, name look-up included.
        """
        super().__init__(clock, limits, one_line=True)
        self.keep = keep
        self.max_requests = max_requests
        self._clock = clock
        self._backends = backends
        self._endpoint_for = endpoint_for
        self._connect_timeout = connect_timeout
        self._finishing = FinishingConnections(clock, self.release)

    def choose(self, tried: Collection[Backend]) -> Backend | None:
        """
        Whom a request is to be sent to, as far as that can be told before a connection is free.

        The least busy one that works, idle connections before new ones: a request stays in the line
        of all in any case.

        @param tried: not to these.
        @return: None: there is no other.
        """
        backends = self._backends
        if len(backends) == 1 and not tried:
            return backends[0]
        now = self._clock.seconds()
        left = [backend for backend in backends if backend not in tried]
        return min(left, key=lambda backend: self._core.load(backend, now), default=None)

    # For connections.

    def finishing(self, connection: FastCGIConnection) -> None:
        """
        A connection's response is complete, but its child is not done.
        """
        self._finishing.add(connection)

    def retired(self, connection: FastCGIConnection, why: Retired) -> None:
        """
        See L{PoolShell.retired}.
        """
        self._finishing.discard(connection)
        super().retired(connection, why)

    # Ours.

    def _connect(self, key: Backend) -> Deferred[FastCGIConnection]:
        connecting: Deferred[Any] = maybeDeferred(
            lambda: self._endpoint_for(key).connect(_ConnectionFactory(key, self))
        )
        connecting.addTimeout(self._connect_timeout, self._clock, timed_out)
        return connecting.addErrback(connect_error, key)


class _ConnectionFactory(Factory):
    """
    Builds the protocol of one new connection.
    """

    noisy = False

    def __init__(self, backend: Backend, pool: FastCGIPool) -> None:
        self._backend = backend
        self._pool = pool

    # Not an IProtocol by the letter: nobody asks for its connectionMade.
    def buildProtocol(self, addr: IAddress | None) -> FastCGIConnection:  # type: ignore[override]
        return FastCGIConnection(self._backend, self._pool)
