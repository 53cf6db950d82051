"""
The pool of connections to backends that all do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.pool.core import Attempt, PoolLimits
from fastcar_tw.pool.one_line import OneLineCore
from fastcar_tw.pool.stats import Retired
from fastcar_tw.relay.connection import BackendConnection
from fastcar_tw.relay.framing import Framing
from fastcar_tw.relay.traffic import Traffic
from fastcar_tw.upstream.backends import Backend
from fastcar_tw.upstream.failures import SHORTAGE
from fastcar_tw.upstream.pool_shell import PoolShell

EndpointFor = Callable[[Backend], IStreamClientEndpoint]


class RelayPool(PoolShell[Backend, BackendConnection]):
    """
    A pool of L{BackendConnection}s, with L{Backend}s as keys, and one line for all of them.
    """

    def __init__(
        self,
        clock: IReactorTime,
        backends: Sequence[Backend],
        endpoint_for: EndpointFor,
        limits: PoolLimits,
        connect_timeout: float,
        framing: Framing | None,
    ) -> None:
        """
        @param connect_timeout: seconds, name look-up and TLS included.
        @param framing: None: no connection is shared.
        """
        core: OneLineCore[Backend, BackendConnection, Any] = OneLineCore(limits)
        super().__init__(clock, core, endpoint_for, connect_timeout)
        self._load = core.load
        self._backends = backends
        self._framing = framing
        self._probing = True
        self._turns = dict.fromkeys(backends, 0)
        self._traffic = {backend: Traffic() for backend in backends}

    def choose(self, but: Backend | None = None) -> Backend:
        """
        Whom to ask for a connection, as far as that can be told before one is free: of the backends
        that could be reached when last tried, one with the fewest clients.

        @param but: rather not this one, which has just failed.
        """
        backends = self._backends
        if len(backends) == 1:
            return backends[0]
        now = self._now()
        best = min(backends, key=lambda backend: self._rank(backend, backend == but, now))
        self._turns[best] += 1
        return best

    def traffic(self) -> dict[Backend, Traffic]:
        """
        A snapshot of what has passed so far; over connections that were handed over, only where
        they have ended.
        """
        result = {backend: copy(traffic) for backend, traffic in self._traffic.items()}
        for backend, traffic in result.items():
            for connection in self._core.connections(backend):
                if not connection.own:
                    _add(traffic, connection)
        return result

    # For the service.

    def expired(self) -> None:
        """
        See L{PoolShell.expired}.  Backends that have failed are tried again: clients are sent to
        others meanwhile, so that nothing else would tell that they work.
        """
        super().expired()
        now = self._now()
        for backend in self._backends if self._probing else ():
            self._carry_out(self._core.probe(backend, now))

    def prewarm(self, wanted: Mapping[Backend, int]) -> Deferred[None]:
        """
        See L{PoolShell.prewarm}: the service begins, for the first time or again.
        """
        self._probing = True
        return super().prewarm(wanted)

    def let_cool(self) -> None:
        """
        See L{PoolShell.let_cool}.
        """
        super().let_cool()
        self._probing = False

    # For connections.

    def new_connection(self, key: Backend, address: IAddress | None) -> BackendConnection:
        """
        See L{PoolShell.new_connection}.
        """
        connection = BackendConnection(key, self, self._framing)
        connection.address = getattr(address, "host", None)
        return connection

    def unasked(self, connection: BackendConnection) -> None:
        """
        See L{RelayOwner<fastcar_tw.relay.connection.RelayOwner>}.
        """
        self._log.warn(
            "{backend}: sent something unasked; the connection is closed",
            backend=str(connection.backend),
        )

    def handed_over(self, backend: Backend) -> None:
        """
        A connection now belongs to a client.
        """
        traffic = self._traffic[backend]
        traffic.owned += 1
        traffic.served += 1

    def taken_out(self, connection: BackendConnection) -> None:
        """
        It was one of those that are shared: another may be opened in its place.
        """
        _add(self._traffic[connection.backend], connection)
        self._core.retired(connection, Retired.TAKEN)
        self._carry_out(self._core.closed(connection, self._now()))

    def returned(self, backend: Backend, sent: int, received: int) -> None:
        """
        The client, or the connection, has gone.

        @param sent: bytes that have passed on it, to the backend.
        @param received: and from it.
        """
        traffic = self._traffic[backend]
        traffic.owned -= 1
        traffic.sent += sent
        traffic.received += received

    def closed(self, connection: BackendConnection) -> None:
        """
        See L{PoolShell.closed}.
        """
        if not connection.own:
            _add(self._traffic[connection.backend], connection)
        super().closed(connection)

    # Ours.

    def _was_opened(self, key: Backend) -> None:
        super()._was_opened(key)
        error = self.last_error(key)
        # Of one that was left alone it is told in any case.
        told = self._core.trouble(key).left_alone or _is_ours(error)
        if error is not None and not told and len(self._backends) > 1:
            self._log.info("{key} can be reached again", key=str(key))

    def _not_opened(self, failure: Failure, attempt: Attempt[Backend, Any, Any]) -> None:
        worked = self.last_error(attempt.key) is None
        super()._not_opened(failure, attempt)
        error = self.last_error(attempt.key)
        others = any(self.last_error(backend) is None for backend in self._backends)
        ours = self._aborting or _is_ours(error)
        if worked and others and error is not None and not ours:
            self._log.warn(
                "{text}; clients go to other backends until it can be reached", text=error.text
            )

    def _rank(self, backend: Backend, avoided: bool, now: float) -> tuple[Any, ...]:
        left_alone, full, active = self._load(backend, now)
        failed = self._core.trouble(backend).error is not None
        # Of a pool that is shared, those handed over are no part.
        busy = active if self._framing is None else active + self._traffic[backend].owned
        return left_alone, failed, avoided, full, busy, self._turns[backend]


def _is_ours(error: GatewayError | None) -> bool:
    """
    The backend has no part in a failure, so nothing is told of it.
    """
    return error is not None and error.proxy_status == SHORTAGE


def _add(traffic: Traffic, connection: BackendConnection) -> None:
    traffic.requests += connection.served
    traffic.responses += connection.responses
    traffic.sent += connection.sent()
    traffic.received += connection.received
