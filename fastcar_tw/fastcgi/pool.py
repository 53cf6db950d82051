"""
The pool of connections to php-fpm: to one, or to several that all do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint

from fastcar_tw.fastcgi.connection import FastCGIConnection
from fastcar_tw.fastcgi.finishing import FinishingConnections
from fastcar_tw.fastcgi.pace import Pace, Turn
from fastcar_tw.fastcgi.reserve import Reserve
from fastcar_tw.pool.core import PoolLimits, Refusal, Refuse
from fastcar_tw.pool.one_line import OneLineCore
from fastcar_tw.pool.stats import Retired
from fastcar_tw.upstream.backends import Backend
from fastcar_tw.upstream.pool_shell import PoolShell, Waiter

EndpointFor = Callable[[Backend], IStreamClientEndpoint]


class SlowWaiter(Waiter[FastCGIConnection], Protocol):
    """
    Whoever wants a connection for long.
    """

    def let_through(self) -> None:
        """
        It was held; now it may ask again for what it wants, wherever that is to be had best.
        """


class FastCGIPool(PoolShell[Backend, FastCGIConnection]):
    """
    A pool of L{FastCGIConnection}s, with L{Backend}s as keys, and one line for all of them; slow
    requests may be held before they come to it (see L{Reserve}).

    @ivar keep: whether connections are kept.
    @ivar max_requests: how many requests one serves; 0: no limit.
    @ivar pace: which requests are slow.
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
        core: OneLineCore[Backend, FastCGIConnection, Any] = OneLineCore(limits)
        super().__init__(clock, core, endpoint_for, connect_timeout)
        self._load = core.load
        self.keep = keep
        self.max_requests = max_requests
        self._backends = backends
        self._finishing = FinishingConnections(clock)
        self.pace = Pace()
        self._reserve: Reserve[Backend, Any] = Reserve(self._capacity)
        self._letting_through = False

    def choose(self, but: Backend | None = None) -> Backend:
        """
        Whom a request is to be sent to, as far as that can be told before a connection is free.

        The least busy one that works, idle connections before new ones: a request stays in the line
        of all in any case.

        @param but: rather not to this one, which has just failed.
        """
        backends = self._backends
        if len(backends) == 1:
            return backends[0]
        now = self._now()
        loads = {backend: self._load(backend, now) for backend in backends}
        # The first of a load is whether it is left alone.
        return min(backends, key=lambda each: (loads[each][0], each == but, loads[each]))

    def acquire(self, key: Backend, waiter: Waiter[FastCGIConnection]) -> None:
        """
        See L{PoolShell.acquire}: for requests that are not slow.
        """
        self._reserve.fast_at = self._now()
        super().acquire(key, waiter)

    def acquire_slow(self, key: Backend, waiter: SlowWaiter, always: bool) -> None:
        """
        The same for a slow one, which may be held first.

        @param always: see L{Reserve.admits}.
        """
        reserve = self._reserve
        now = self._now()
        limit = self._core.limits.max_queue
        if not limit or reserve.admits(waiter, now, always):
            super().acquire(key, waiter)
        elif len(reserve) + self._core.queued >= limit:
            self._carry_out([Refuse(key, waiter, Refusal.QUEUE_FULL)])
        else:
            reserve.hold(waiter, key, now + self._core.limits.queue_timeout, always)

    def cancel(self, key: Backend, waiter: Waiter[FastCGIConnection]) -> None:
        """
        See L{PoolShell.cancel}.
        """
        if not self._reserve.leave(waiter):
            super().cancel(key, waiter)
            self._let_through()

    # For the service.

    def expired(self) -> None:
        """
        See L{PoolShell.expired}.
        """
        # Those held for too long come first: others who are refused would let them through.
        for waiter, key in self._reserve.overdue(self._now()):
            self._carry_out([Refuse(key, waiter, Refusal.QUEUE_TIMEOUT)])
        super().expired()
        self._let_through()

    # For connections.

    def new_connection(self, key: Backend, address: IAddress | None) -> FastCGIConnection:
        """
        See L{PoolShell.new_connection}.
        """
        return FastCGIConnection(key, self)

    def release(self, connection: FastCGIConnection) -> None:
        """
        See L{PoolShell.release}.
        """
        turn, connection.turn = connection.turn, None
        super().release(connection)
        if turn is not None:
            self._turn_ended(turn, turn.response_complete)

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

    def closed(self, connection: FastCGIConnection) -> None:
        """
        See L{PoolShell.closed}.
        """
        turn, connection.turn = connection.turn, None
        self._finishing.discard(connection)
        super().closed(connection)
        if turn is not None:
            self._turn_ended(turn, connection.given_up)

    # Ours.

    def _turn_ended(self, turn: Turn, counts: bool) -> None:
        """
        @param counts: the time it took is that of the page.
        """
        if counts and turn.began is not None:
            self.pace.took(turn.path, self._now() - turn.began)
        if turn.slow:
            self._reserve.leave(turn)
            self._let_through()

    def _let_through(self) -> None:
        """
        Let slow requests go on to the line, as many as may.
        """
        if self._letting_through or not self._reserve:
            return
        self._letting_through = True
        while (waiter := self._reserve.let_through(self._now())) is not None:
            try:
                waiter.let_through()
            except Exception:
                # One request's bug must not hold up the others.
                self._log.failure("while letting {waiter!r} through", waiter=waiter)
        self._letting_through = False

    def _capacity(self) -> int:
        """
        How many connections there can be, to those that work.
        """
        working = sum(not self._core.trouble(each).left_alone for each in self._backends)
        return working * self._core.limits.max_connections_per_origin
