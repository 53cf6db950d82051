"""
What every service is that serves clients at listeners from a pool, as Twisted starts and stops it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet import defer, task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger, LogLevel

from fastcar_tw.downstream.clients import Clients
from fastcar_tw.downstream.listeners import Listener, listen_tcp, listen_unix
from fastcar_tw.transport.loops import LoopGuard
from fastcar_tw.upstream.pool_shell import PoolShell

#: Seconds for idle connections to be closed in order at shutdown.
GOODBYE_TIMEOUT = 0.5


class ListenerConfig(Protocol):
    """
    What a configuration says about listeners, and about their end.
    """

    @property
    def socket_mode(self) -> int: ...

    @property
    def socket_group(self) -> str | None: ...

    @property
    def drain_timeout(self) -> float: ...


class DownstreamService(Service):
    """
    Serves clients.
    """

    def __init__(
        self,
        name: str,
        config: ListenerConfig,
        reactor: Any,
        listening: Any,
        clients: Clients,
        pool: PoolShell[Any, Any],
        guard: LoopGuard | None = None,
    ) -> None:
        """
        @param listening: the reactor that makes the ports.
        @param guard: sees to it that the pool does not connect to them.
        """
        self.setName(name)
        self.log = Logger(namespace="fastcar")
        self._listener_config = config
        self._reactor = reactor
        self._listening = listening
        self._clients = clients
        self._pool = pool
        self._guard = guard
        self._open_ports: list[tuple[Listener, IListeningPort]] = []
        #: Fires when all connections that are to be kept open have been tried for the first time.
        self.ready: Deferred[None] = Deferred()

    def open_listeners(self) -> None:
        """
        Call L{open_listener} for each.

        @raise SocketPathError: a path is in use, or cannot be used.
        @raise ListenerError: so is, or can, a port.
        """
        raise NotImplementedError

    def privilegedStartService(self) -> None:
        """
        Take the sockets, while the process may still have the right to.

        @raise SocketPathError: see L{open_listeners}.
        @raise ListenerError: so.
        """
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """
        Serve.

        @raise SocketPathError: see L{open_listeners}.
        @raise ListenerError: so.
        """
        super().startService()
        if not self._open_ports:
            self._listen()
        self._clients.deadlines.start()
        self._clients.deadlines.watch(self._pool)

    def stopService(self) -> Deferred[None]:
        """
        Take no more connections, let exchanges under way finish, and end them when that takes
        longer than the drain timeout.

        @return: fires when no client is left.
        """
        super().stopService()
        self._pool.let_cool()
        stopped = self.stop_listening()
        drained = self._clients.drain()
        seconds = self._listener_config.drain_timeout
        if self._clients.clients:
            self.log.info(
                "stopping; client connections that get up to {seconds:g} s: {count}",
                count=len(self._clients.clients),
                seconds=seconds,
            )
        drained.addTimeout(seconds, self._reactor, lambda *_: None)
        return defer.DeferredList([stopped, drained]).addCallback(self._finish)

    def hurry(self) -> None:
        """
        Break off what L{stopService} still waits for.
        """
        count = len(self._clients.clients)
        if count:
            self.log.warn("stopping; client connections broken off: {count}", count=count)
        self._clients.abort()

    def prewarm(self, wanted: Mapping[Any, int]) -> None:
        """
        Keep connections open from now on; tell in the log when they are.

        @param wanted: to whom, and how many.
        """
        self._pool.prewarm(wanted).addCallback(self._became_ready, wanted)

    def open_listener(self, listener: Listener, factory: Factory) -> Listener:
        """
        Listen.

        @return: where, which says more where any free port would do.
        """
        config = self._listener_config
        if listener.path:
            mode, group = config.socket_mode, config.socket_group
            port = listen_unix(self._listening, listener, factory, mode, group)
        else:
            port = listen_tcp(self._listening, listener, factory)
            own: Any = port.getHost()
            listener = listener._replace(port=own.port)
            if self._guard is not None:
                self._guard.own.append((listener.interface or "0.0.0.0", listener.port))
        self._open_ports.append((listener, port))
        return listener

    def tell_listener(self, listener: Listener) -> None:
        """
        Tell in the log where clients come in.
        """
        self.log.info(
            "listening on {listener}{notes}",
            listener=str(listener),
            notes="" if listener.is_local else ", which is open to other machines",
        )

    def stop_listening(self) -> Deferred[Any]:
        """
        Close all listeners.
        """
        if self._guard is not None:
            self._guard.own.clear()
        opened, self._open_ports = self._open_ports, []
        return defer.DeferredList([defer.maybeDeferred(port.stopListening) for _, port in opened])

    def _became_ready(self, _: None, wanted: Mapping[Any, int]) -> None:
        counts = self._pool.stats().origins
        for key, number in wanted.items():
            opened = counts[key].active + counts[key].idle
            error = self._pool.last_error(key) if opened < number else None
            self.log.emit(
                LogLevel.info if error is None else LogLevel.warn,
                "prewarmed {key}: {open} of {wanted} open{reason}",
                key=str(key),
                open=opened,
                wanted=number,
                reason="" if error is None else f"; {error.text}",
            )
        if not self.ready.called:  # a service can be started more than once
            self.ready.callback(None)

    def _listen(self) -> None:
        """
        Open all listeners, or none.
        """
        try:
            self.open_listeners()
        except BaseException:
            for listener, _ in self._open_ports:
                if listener.path:
                    # Ports do so themselves, but in the next turn of a reactor that will not run.
                    os.unlink(listener.path)
            self.stop_listening()
            raise

    def _finish(self, _: object) -> Deferred[None]:
        self._clients.deadlines.stop()
        # Idle connections take leave of whom they lead to, which hardly takes time; no more is
        # given.  They go first: the end of one client must not give one to another.
        closed = self._pool.close_idle()
        self.hurry()
        closed.addTimeout(GOODBYE_TIMEOUT, self._reactor, lambda *_: None)
        return closed.addCallback(self._abort)

    def _abort(self, _: object) -> Deferred[None]:
        self._pool.abort()
        # Aborted connections end in the next turn.
        return task.deferLater(self._reactor, 0, lambda: None)
