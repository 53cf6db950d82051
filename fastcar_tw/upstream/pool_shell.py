"""
The shell of a pool: carries out what L{PoolCore<fastcar_tw.pool.core.PoolCore>} decides, whatever
it is that is pooled.

Rules of this file: whatever happens is told to the core, and what the core answers is carried out
in its order.  Carrying out one decision may make other things happen at once; what the core decides
then is done after what it had decided before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any, Generic, TypeVar, cast
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

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.names.resolver import Resolver
from fastcar_tw.pool.core import (
    Assign,
    Attempt,
    Close,
    Open,
    PoolCore,
    Refusal,
    Refuse,
)
from fastcar_tw.pool.lane import K
from fastcar_tw.pool.stats import PoolStats, Retired
from fastcar_tw.upstream.address_watch import AddressWatch
from fastcar_tw.upstream.failures import SHORTAGE, connect_error
from fastcar_tw.upstream.kept_connection import KC_contra, KeptConnection

#: Seconds between two looks for what has taken too long, at most.
SWEEP_INTERVAL = 1.0
#: Seconds between two looks for names to look up again, however short their answers are kept.
REFRESH_INTERVAL = 5.0
#: Failures that come at once and stay, and those that are our own: there is no use in leaving
#: anybody alone.
_NOT_BLAMED = (
    SHORTAGE,
    "http_request_denied",
    "proxy_configuration_error",
    "proxy_loop_detected",
)
#: Seconds a connection may take to send its last bytes.
MAX_LEAVING = 30.0


KC = TypeVar("KC", bound=KeptConnection)


class Waiter(TypingProtocol[KC_contra]):
    """
    Who wants a connection.
    """

    def is_repeatable(self) -> bool:
        """
        The request may be sent again.  One that may not is given a connection that has served
        before only after that was asked whether it is still alive.
        """

    def connected(self, connection: KC_contra) -> None:
        """
        Here it is; C{connection.fresh} tells whether it was opened for this.
        """

    def connect_failed(self, error: GatewayError) -> None:
        """
        There will be none.
        """


class PoolShell(Generic[K, KC]):
    """
    A pool of connections to whatever a key stands for.  L{acquire} and L{cancel} are the way in for
    exchanges.

    @ivar watch: retires connections whose address is no longer one of their name's.
    @ivar deadline: when to look for what has taken too long.
    """

    def __init__(
        self,
        clock: IReactorTime,
        core: PoolCore[K, KC, Waiter[KC]],
        endpoint_for: Callable[[K], IStreamClientEndpoint],
        connect_timeout: float,
    ) -> None:
        """
        @param core: one that has decided nothing yet.
        @param endpoint_for: how what a key stands for is reached; what it connects must be ready
            for requests.
        @param connect_timeout: seconds for name look-up, connection and TLS together.
        """
        self.deadline = 0.0
        self._log = Logger(namespace="fastcar")
        self._now = clock.seconds
        self._sweep_interval = min(SWEEP_INTERVAL, core.limits.queue_timeout / 4)
        self._core = core
        self.watch: AddressWatch[K] = AddressWatch(core)
        self._refresh_at = 0.0
        self._clock = clock
        self._endpoint_for = endpoint_for
        self._connect_timeout: float = connect_timeout
        self._todo: deque[Any] = deque()
        self._busy = False
        self._connecting: dict[Attempt[Any, Any, Any], Deferred[Any]] = {}
        # Retired but not closed, and until when they may take; in that order.
        self._leaving: dict[KC, float] = {}
        self._closing: dict[KC, Deferred[None]] = {}
        self._aborting = False
        self._prewarming: set[Attempt[Any, Any, Any]] = set()
        self._prewarmed_keys: frozenset[K] = frozenset()
        self._prewarmed: Deferred[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core!r}>"

    # What depends on what is pooled.

    def new_connection(self, key: K, address: IAddress | None) -> Any:
        """
        @return: the protocol of a connection that is being opened; it may leave its place to
            another one.
        """
        raise NotImplementedError

    def _what_went_wrong(self, connection: KC) -> GatewayError | None:
        """
        Why a connection has ended before it could be of use.
        """
        return None

    def _was_opened(self, key: K) -> None:
        """
        A connection was opened.
        """
        self.watch.opened(key)

    # Questions.

    def last_error(self, key: K) -> GatewayError | None:
        """
        Why the last attempt to connect has failed; None if it has not.
        """
        error = self._core.trouble(key).error
        return error if isinstance(error, GatewayError) else None

    def stats(self) -> PoolStats[K]:
        """
        A snapshot of all numbers, by key and in all.
        """
        return self._core.stats()

    # For exchanges.

    def connect(self, key: K, factory: IProtocolFactory) -> Deferred[Any]:
        """
        Connect as the pool does, for something that cannot be pooled.

        @return: fires with the factory's protocol; fails with L{GatewayError}.
        """
        connecting: Deferred[Any] = maybeDeferred(lambda: self._endpoint_for(key).connect(factory))
        connecting.addTimeout(self._connect_timeout, self._clock, _timed_out)
        return connecting.addErrback(connect_error, key)

    def acquire(self, key: K, waiter: Waiter[KC]) -> None:
        """
        Get a connection for a waiter: at once when one is idle, else as soon as one is there.
        """
        core = self._core
        now = self._now()
        connection = core.take(key, now)
        while connection is not None:
            if waiter.is_repeatable() or not connection.is_stale():
                self._give(waiter, connection)
                return
            core.found_dead(connection)
            connection.found_stale()
            connection = core.take(key, now)
        self._carry_out(core.acquire(key, waiter, now))

    def acquire_again(self, key: K, waiter: Waiter[KC]) -> None:
        """
        Get a connection for a waiter whose request was sent before: a new one, before all others.
        """
        self._core.count_retry(key)
        self._carry_out(self._core.acquire(key, waiter, self._now(), again=True))

    def cancel(self, key: K, waiter: Waiter[KC]) -> None:
        """
        A waiter has gone.  What is being opened for it will serve others.
        """
        self._core.cancel(key, waiter)

    # For the service.

    def prewarm(self, wanted: Mapping[K, int]) -> Deferred[None]:
        """
        Keep connections open from now on.

        @param wanted: to whom, and how many.
        @return: fires when each has been opened or has failed for the first time.
        """
        for key, count in wanted.items():
            self._core.keep_warm(key, count)
        self._prewarmed_keys = frozenset(wanted)
        decisions = self._core.tick(self._now())
        self._prewarming = {each.attempt for each in decisions if isinstance(each, Open)}
        if not self._prewarming:
            return succeed(None)
        self._prewarmed = Deferred()
        prewarmed = self._prewarmed
        self._carry_out(decisions)
        return prewarmed

    def follow(self, resolver: Resolver, name_of: Callable[[K], str | None]) -> None:
        """
        Retire connections to addresses that their name no longer has.

        @param name_of: tells the name that is looked up to reach what a key stands for; None if
            there is none.
        """
        self.watch.name_of = name_of
        self.watch.look_up = resolver.refresh
        resolver.on_answer = self.addresses_changed

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
        for connection, until in list(self._leaving.items()):
            if until > now:
                break
            connection.break_off()
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_INTERVAL
            self.watch.refresh()

    def addresses_changed(self, name: str, addresses: frozenset[str]) -> None:
        """
        A look-up has answered: connections to other addresses are not used any more.
        """
        self._carry_out(self.watch.answered(name, addresses, self._now()))

    def close_idle(self) -> Deferred[None]:
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
        for key in self._core.stats().origins:
            for connection in list(self._core.all_connections(key)):
                connection.abort()
        for connection in list(self._leaving):
            connection.break_off()

    # For connections.

    def release(self, connection: KC) -> None:
        """
        A connection is ready for its next request.
        """
        decisions = self._core.release(connection, self._now())
        if decisions:
            self._carry_out(decisions)

    def retired(self, connection: KC, why: Retired) -> None:
        """
        A connection will serve no more requests.
        """
        self._core.retired(connection, why)
        self._leaving[connection] = self._now() + MAX_LEAVING

    def closed(self, connection: KC) -> None:
        """
        A connection has ended.
        """
        self._leaving.pop(connection, None)
        error = self._what_went_wrong(connection)
        self._carry_out(self._core.closed(connection, self._now(), error))
        closing = self._closing.pop(connection, None)
        if closing is not None:
            closing.callback(None)

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

    def _assign(self, decision: Assign[Waiter[KC], KC]) -> None:
        connection, waiter = decision.connection, decision.waiter
        if not connection.fresh and not waiter.is_repeatable() and connection.is_stale():
            # Its last response was its last, and only that was read yet.
            assert connection.lane is not None
            key = connection.lane.key
            self._core.found_dead(connection)
            connection.found_stale()
            self._carry_out(self._core.acquire(key, waiter, self._now(), again=True))
            return
        self._give(waiter, connection)

    def _give(self, waiter: Waiter[KC], connection: KC) -> None:
        served = connection.served
        try:
            waiter.connected(connection)
        except Exception:
            # One request's bug must not cost the others a connection.
            self._log.failure("while giving {waiter!r} a connection", waiter=waiter)
            connection.spoiled(begun=connection.served != served)
            waiter.connect_failed(GatewayError(500, "proxy_internal_error", "internal error"))

    def _close(self, decision: Close[KC]) -> None:
        decision.connection.close()

    def _refuse(self, decision: Refuse[K, Waiter[KC]]) -> None:
        error = decision.error
        if decision.refusal is not Refusal.ATTEMPT_FAILED:
            error = _refusal_error(decision)
        assert isinstance(error, GatewayError)
        decision.waiter.connect_failed(error)

    def _begin(self, decision: Open[K, KC, Any]) -> None:
        attempt = decision.attempt
        key = attempt.key
        if self._prewarmed is not None and key in self._prewarmed_keys:
            # How many are needed may become known with the first.
            self._prewarming.add(attempt)
        connecting = self.connect(key, _ConnectionFactory(partial(self.new_connection, key)))
        self._connecting[attempt] = connecting
        connecting.addCallbacks(
            self._opened, self._not_opened, callbackArgs=(attempt,), errbackArgs=(attempt,)
        )

    def _opened(
        self,
        connection: KC,
        attempt: Attempt[K, KC, Any],
    ) -> None:
        if self._core.trouble(attempt.key).left_alone:
            self._log.info("{key} can be reached again", key=str(attempt.key))
        self._was_opened(attempt.key)
        self._carry_out(self._core.opened(attempt, connection, self._now()))
        self._attempt_ended(attempt)

    def _not_opened(self, failure: Failure, attempt: Attempt[K, KC, Any]) -> None:
        error = cast(GatewayError, failure.value)
        blamed = not self._aborting and error.proxy_status not in _NOT_BLAMED
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

    def _attempt_ended(self, attempt: Attempt[K, KC, Any]) -> None:
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


def _refusal_error(refused: Refuse[Any, Any]) -> GatewayError:
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


class _ConnectionFactory(Factory):
    """
    Builds the protocol of one new connection.
    """

    noisy = False

    def __init__(self, build: Callable[[IAddress | None], Any]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._build(addr)


#: What is done for each kind of decision.
_HANDLERS: dict[type, Callable[[PoolShell[Any, Any], Any], None]] = {
    Assign: PoolShell._assign,
    Close: PoolShell._close,
    Open: PoolShell._begin,
    Refuse: PoolShell._refuse,
}
