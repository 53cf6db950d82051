"""
What all client connections of a service share: their deadlines, their end, and the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from fastcar_tw.deadlines import Deadlines, Expiring
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.http.errors import FastcarError, MessageError, stall_error
from fastcar_tw.http.head import RequestHead
from fastcar_tw.tls.machine import TLSError

if TYPE_CHECKING:
    from fastcar_tw.downstream.exchange import DownstreamExchange
    from fastcar_tw.downstream.http1 import DownstreamConnection


class ClientConfig(Protocol):
    """
    What a configuration says about clients; all times are in seconds.
    """

    @property
    def client_timeout(self) -> float: ...

    @property
    def keepalive_timeout(self) -> float: ...

    @property
    def stall_timeout(self) -> float: ...

    @property
    def response_timeout(self) -> float: ...

    @property
    def idle_timeout(self) -> float: ...

    @property
    def queue_timeout(self) -> float: ...

    @property
    def verbose(self) -> bool: ...


class Client(Expiring, Protocol):
    """
    A client connection in any of its states.
    """

    def drain(self) -> None:
        """
        fastcar is stopping: end when the exchange ends, at once if there is none.
        """

    def abort(self) -> None:
        """
        End at once.
        """


class Clients:
    """
    The client connections of one service, which says what their requests become.

    @ivar config: the configuration.
    @ivar clients: those that are there.
    """

    config: ClientConfig

    def __init__(self, config: ClientConfig, clock: IReactorTime) -> None:
        # As a class attribute it would be made anew at each use, with a namespace of its own.
        self.log = Logger(namespace="fastcar")
        self.config = config
        self.now = clock.seconds
        self.deadlines = Deadlines(clock, sweep_interval(config))
        self.clients: set[Client] = set()
        self._drained: Deferred[None] | None = None

    # What requests become.

    def exchange(
        self, downstream: DownstreamConnection, request: RequestHead
    ) -> DownstreamExchange:
        """
        @return: what serves a request.
        @raise MessageError: nothing does, and nothing further that this client sends is looked at.
        """
        raise NotImplementedError

    def tunnel(self, entrance: Entrance, request: RequestHead) -> Any:
        """
        @param request: a CONNECT.
        @return: the protocol to leave the wire to, which answers.
        @raise MessageError: there are no tunnels here, or not for this request.
        """
        raise NotImplementedError

    # Who is there.

    def watch(self, client: Client) -> None:
        """
        A client connection begins, or changes hands.
        """
        self.clients.add(client)
        self.deadlines.watch(client)

    def unwatch(self, client: Client) -> None:
        """
        A client connection has ended, or changed hands.
        """
        self.clients.discard(client)
        self.deadlines.unwatch(client)
        if self._drained is not None and not self.clients:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def drain(self) -> Deferred[None]:
        """
        End every client connection as soon as its exchange has ended.

        @return: fires when none is left.
        """
        drained: Deferred[None] = Deferred()
        if not self.clients:
            drained.callback(None)
            return drained
        self._drained = drained
        for client in list(self.clients):
            client.drain()
        return drained

    def abort(self) -> None:
        """
        End every client connection at once.
        """
        for client in list(self.clients):
            client.abort()

    # Until when.

    def client_deadline(self) -> float:
        """
        When a client must have sent what it owes.
        """
        return self.now() + self.config.client_timeout

    def keepalive_deadline(self) -> float:
        """
        When a client connection has been idle for too long.
        """
        return self.now() + self.config.keepalive_timeout

    def stall_deadline(self) -> float:
        """
        When a body has stood still for too long.
        """
        return self.now() + self.config.stall_timeout

    # The log.

    def refused(self, error: MessageError) -> None:
        """
        Log what a client did wrong.
        """
        self.log.warn("client refused: {status} {text}", status=error.status, text=error.text)

    def client_failed(self, reason: Failure) -> None:
        """
        Log why a client's TLS handshake failed.
        """
        error = reason.value
        if isinstance(error, TLSError):
            self.log.warn("client TLS failed: {reason}", reason=error.reason)

    def succeeded(self, what: str, status: int, started: float) -> None:
        """
        Log an exchange that went well.

        @param what: as in L{failed}.
        @param started: when its request head had come.
        """
        elapsed = self.now() - started
        self.log.info(
            "{what}: {status} after {elapsed:.3f} s", what=what, status=status, elapsed=elapsed
        )

    def stalled(self, what: str, started: float) -> None:
        """
        Log a tunnel that was broken off.

        @param what: as in L{failed}.
        @param started: when it was asked for.
        """
        self.failed(what, stall_error(), started)

    def failed(self, what: str, error: FastcarError, started: float) -> None:
        """
        Log a failed exchange.

        @param what: method and origin or script, or C{tunnel} and origin.
        @param started: when its request head had come.
        """
        self.log.warn(
            "{what}: {error} ({status}): {text} after {elapsed:.3f} s",
            what=what,
            error=error.proxy_status,
            status=error.status,
            text=error.text,
            elapsed=self.now() - started,
        )


def sweep_interval(config: ClientConfig) -> float:
    """
    How often deadlines are looked at, in seconds: a fraction of the shortest, at most once a
    second.
    """
    shortest = min(
        config.response_timeout,
        config.stall_timeout,
        config.client_timeout,
        config.keepalive_timeout,
        config.idle_timeout,
        config.queue_timeout,
    )
    return min(1.0, shortest / 4)
