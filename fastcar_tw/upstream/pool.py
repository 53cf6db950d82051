"""
The pool of connections to origins: carries out what L{PoolCore<fastcar_tw.pool.core.PoolCore>}
decides.

Rules of this file: whatever happens is told to the core, and what the core answers is carried out
in its order.  Carrying out one decision may make other things happen at once; what the core decides
then is done after what it had decided before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, cast
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred, DeferredList, TimeoutError, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.pool.core import (
    Assign,
    Attempt,
    Close,
    Open,
    PoolCore,
    PoolLimits,
    Refusal,
    Refuse,
)
from fastcar_tw.pool.stats import PoolStats, Retired
from fastcar_tw.upstream.address_watch import AddressWatch
from fastcar_tw.upstream.connection import UpstreamConnection
from fastcar_tw.upstream.failures import connect_error

#: Seconds between two looks for what has taken too long, at most.
SWEEP_INTERVAL = 1.0
#: Seconds between two looks for names to look up again, however short their answers are kept.
REFRESH_INTERVAL = 5.0
#: Failures that come at once and stay: there is no use in leaving anybody alone.
_LASTING = ("http_request_denied", "proxy_configuration_error", "proxy_loop_detected")
#: Seconds a connection may take to send its last bytes.
MAX_LEAVING = 30.0


class Waiter(TypingProtocol):
    """
    Who wants a connection.
    """

    def is_repeatable(self) -> bool:
        """
        The request may be sent again.  One that may not is given a connection that has served
        before only after that was asked whether it is still alive.
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
        super().__init__(reactor, persistent=True)
        self.maxPersistentPerHost = limits.max_idle_per_origin
        self.deadline = 0.0
        self._log = Logger(namespace="fastcar")
        self._now = reactor.seconds
        self._clock = reactor
        self._sweep_interval = min(SWEEP_INTERVAL, limits.queue_timeout / 4)
        self._endpoint_for = endpoint_for
        self._connect_timeout: float = connect_timeout
        self._core: PoolCore[Origin, UpstreamConnection, Waiter] = PoolCore(limits)
        self.watch = AddressWatch(self._core)
        self._todo: deque[Any] = deque()
        self._busy = False
        self._connecting: dict[Attempt[Any, Any, Any], Deferred[Any]] = {}
        # Retired but not closed, and until when they may take; in that order.
        self._leaving: dict[UpstreamConnection, float] = {}
        self._closing: dict[UpstreamConnection, Deferred[None]] = {}
        self._aborting = False
        self._refresh_at = 0.0
        self._prewarming: set[Attempt[Any, Any, Any]] = set()
        self._prewarmed: Deferred[None] | None = None

    def __repr__(self) -> str:
        return f"<ConnectionPool {self._core!r}>"

    def last_error(self, origin: Origin) -> GatewayError | None:
        """
        Why the last attempt to connect to an origin has failed; None if it has not.
        """
        error = self._core.trouble(origin).error
        return error if isinstance(error, GatewayError) else None

    def stats(self) -> PoolStats[Origin]:
        """
        A snapshot of all numbers, by origin and in all.
        """
        return self._core.stats()

    # For exchanges.

    def acquire(self, origin: Origin, waiter: Waiter) -> None:
        """
        Get a connection for a waiter: at once when one is idle, else as soon as one is there.
        """
        core = self._core
        now = self._now()
        connection = core.take(origin, now)
        while connection is not None:
            if waiter.is_repeatable() or not connection.is_stale():
                waiter.connected(connection)
                return
            core.found_dead(connection)
            connection.abort()
            connection = core.take(origin, now)
        self._carry_out(core.acquire(origin, waiter, now))

    def acquire_again(self, origin: Origin, waiter: Waiter) -> None:
        """
        Get a connection for a waiter whose request was sent before: a new one, before all others.
        """
        self._core.count_retry(origin)
        self._carry_out(self._core.acquire(origin, waiter, self._now(), again=True))

    def cancel(self, origin: Origin, waiter: Waiter) -> None:
        """
        A waiter has gone.  What is being opened for it will serve others.
        """
        self._core.cancel(origin, waiter)

    def connect(self, origin: Origin, factory: IProtocolFactory) -> Deferred[Any]:
        """
        Connect to an origin as the pool does, for something that cannot be pooled.

        @return: fires with the factory's protocol; fails with L{GatewayError}.
        """
        connecting: Deferred[Any] = maybeDeferred(
            lambda: self._endpoint_for(origin).connect(factory)
        )
        connecting.addTimeout(self._connect_timeout, self._clock, _timed_out)
        return connecting.addErrback(connect_error, origin)

    # For the service.

    def prewarm(self, wanted: Mapping[Origin, int]) -> Deferred[None]:
        """
        Keep connections open from now on.

        @param wanted: to whom, and how many.
        @return: fires when each has been opened or has failed for the first time.
        """
        for origin, count in wanted.items():
            self._core.keep_warm(origin, count)
        decisions = self._core.tick(self._now())
        self._prewarming = {each.attempt for each in decisions if isinstance(each, Open)}
        if not self._prewarming:
            return succeed(None)
        self._prewarmed = Deferred()
        prewarmed = self._prewarmed
        self._carry_out(decisions)
        return prewarmed

    def let_cool(self) -> None:
        """
        Keep no connections open any more for which nothing asks; see L{prewarm}.
        """
        self._core.let_cool()

    def expired(self) -> None:
        """
        Time to look for what has taken too long; see L{fastcar_tw.deadlines.Expiring}.
        """
        now = self._now()
        self.deadline = now + self._sweep_interval
        self._carry_out(self._core.tick(now))
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_INTERVAL
            self.watch.refresh()
        for connection, until in list(self._leaving.items()):
            if until > now:
                break
            connection.break_off()

    def addresses_changed(self, name: str, addresses: frozenset[str]) -> None:
        """
        A look-up has answered: connections to other addresses are not used any more.
        """
        self._carry_out(self.watch.answered(name, addresses))

    def abort(self) -> None:
        """
        End every connection at once, those that are being opened too.
        """
        self._aborting = True
        self._prewarmed = None
        while self._connecting:  # one that ends may let another begin
            for connecting in list(self._connecting.values()):
                connecting.cancel()
        self._aborting = False
        for origin in self._core.stats().origins:
            for connection in list(self._core.connections(origin)):
                connection.abort()
        for connection in list(self._leaving):
            connection.break_off()

    # For connections.

    def release(self, connection: UpstreamConnection) -> None:
        """
        A connection is ready for its next request.
        """
        decisions = self._core.release(connection, self._now())
        if decisions:
            self._carry_out(decisions)

    def retired(self, connection: UpstreamConnection, why: Retired) -> None:
        """
        A connection will serve no more requests.
        """
        self._core.retired(connection, why)
        self._leaving[connection] = self._now() + MAX_LEAVING

    def closed(self, connection: UpstreamConnection) -> None:
        """
        A connection has ended.
        """
        self._leaving.pop(connection, None)
        self._carry_out(self._core.closed(connection, self._now()))
        closing = self._closing.pop(connection, None)
        if closing is not None:
            closing.callback(None)

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
        Close all idle connections.

        @return: fires when they are closed.
        """
        decisions = self._core.clear()
        closing: list[Deferred[None]] = []
        for decision in decisions:
            if isinstance(decision, Close):
                closed: Deferred[None] = Deferred()
                self._closing[decision.connection] = closed
                closing.append(closed)
        self._carry_out(decisions)
        # Whoever loses patience cancels them.
        return DeferredList(closing, consumeErrors=True).addCallback(lambda _: None)

    # What the core has decided.

    def _carry_out(self, decisions: Sequence[Any]) -> None:
        self._todo.extend(decisions)
        if self._busy:
            return
        self._busy = True
        while self._todo:
            decision = self._todo.popleft()
            try:
                _HANDLERS[type(decision)](self, decision)
            except Exception:
                self._log.failure("while carrying out {decision!r}", decision=decision)
        self._busy = False

    def _assign(self, decision: Assign[Waiter, UpstreamConnection]) -> None:
        connection, waiter = decision.connection, decision.waiter
        if not connection.fresh and not waiter.is_repeatable() and connection.is_stale():
            # Its last response was its last, and only that was read yet.
            self._core.found_dead(connection)
            connection.abort()
            origin = connection.origin
            self._carry_out(self._core.acquire(origin, waiter, self._now(), again=True))
            return
        try:
            waiter.connected(connection)
        except Exception:
            # One request's bug must not cost the others a connection.
            self._log.failure("while giving {waiter!r} a connection", waiter=waiter)
            connection.abort()

    def _close(self, decision: Close[UpstreamConnection]) -> None:
        decision.connection.close()

    def _refuse(self, decision: Refuse[Origin, Waiter]) -> None:
        error = decision.error
        if decision.refusal is not Refusal.ATTEMPT_FAILED:
            error = _refusal_error(decision)
        assert isinstance(error, GatewayError)
        decision.waiter.connect_failed(error)

    def _begin(self, decision: Open[Origin, UpstreamConnection, Waiter]) -> None:
        attempt = decision.attempt
        origin = attempt.key
        connecting = self.connect(origin, _ConnectionFactory(origin, self))
        self._connecting[attempt] = connecting
        connecting.addCallbacks(
            self._opened, self._not_opened, callbackArgs=(attempt,), errbackArgs=(attempt,)
        )

    def _opened(
        self,
        connection: UpstreamConnection,
        attempt: Attempt[Origin, UpstreamConnection, Waiter],
    ) -> None:
        if self._core.trouble(attempt.key).left_alone:
            self._log.info("{origin} can be reached again", origin=str(attempt.key))
        self.watch.opened(attempt.key)
        self._carry_out(self._core.opened(attempt, connection, self._now()))
        self._attempt_ended(attempt)

    def _not_opened(
        self, failure: Failure, attempt: Attempt[Origin, UpstreamConnection, Waiter]
    ) -> None:
        error = cast(GatewayError, failure.value)
        blamed = not self._aborting and error.proxy_status not in _LASTING
        before = self._core.trouble(attempt.key)
        decisions = self._core.open_failed(attempt, error, self._now(), blamed=blamed)
        after = self._core.trouble(attempt.key)
        if after.left_alone and after.until != before.until:
            self._log.warn(
                "{text}; after repeated failures not tried again for {seconds:.1f} s",
                text=error.text,
                seconds=after.until - self._now(),
            )
        self._carry_out(decisions)
        self._attempt_ended(attempt)

    def _attempt_ended(self, attempt: Attempt[Origin, UpstreamConnection, Waiter]) -> None:
        self._connecting.pop(attempt, None)
        self._prewarming.discard(attempt)
        if not self._prewarming and self._prewarmed is not None:
            prewarmed, self._prewarmed = self._prewarmed, None
            prewarmed.callback(None)


def _timed_out(result: Any, timeout: float) -> Any:
    """
    An attempt that was given up after its time has timed out, whatever it calls that itself.
    """
    if isinstance(result, Failure):
        raise TimeoutError(timeout, "Deferred")
    return result


def _refusal_error(refused: Refuse[Origin, Any]) -> GatewayError:
    """
    What a request is told that no attempt was made for.
    """
    origin = refused.key
    retry_after = ceil(refused.retry_after)
    if refused.refusal is Refusal.FAILING:
        text = f"{origin}: not tried again yet after repeated failures"
        if isinstance(refused.error, GatewayError):
            text += f"; the last: {refused.error.text.removeprefix(f'{origin}: ')}"
        return GatewayError(503, "destination_unavailable", text, retry_after)
    why = (
        "too many requests wait for a connection"
        if refused.refusal is Refusal.QUEUE_FULL
        else "no connection came free in time"
    )
    return GatewayError(503, "connection_limit_reached", f"{origin}: {why}", retry_after)


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


#: What is done for each kind of decision.
_HANDLERS: dict[type, Callable[[ConnectionPool, Any], None]] = {
    Assign: ConnectionPool._assign,
    Close: ConnectionPool._close,
    Open: ConnectionPool._begin,
    Refuse: ConnectionPool._refuse,
}
