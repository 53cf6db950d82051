"""
What every kept connection is, whatever is spoken on it: a wire, an owner, and at times an exchange.

Who owns what: the pool owns an idle connection, an exchange owns a busy one, and C{_exchange} tells
which it is.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol, TypeVar

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.pool.lane import PooledConnection
from fastcar_tw.pool.stats import Retired
from fastcar_tw.tunnel import TunnelEnd
from fastcar_tw.wire import Wire, input_ended

KC_contra = TypeVar("KC_contra", bound="KeptConnection", contravariant=True)


class ConnectionOwner(Protocol[KC_contra]):
    """
    The pool, as a connection sees it.
    """

    def release(self, connection: KC_contra) -> None: ...

    def retired(self, connection: KC_contra, why: Retired) -> None: ...

    def closed(self, connection: KC_contra) -> None: ...


@implementer(IPushProducer)
class KeptConnection(PooledConnection):
    """
    A connection that serves one exchange after another.

    @ivar address: the IP address it is connected to; None: not known, or none.
    @ivar served: how many exchanges it has begun.
    """

    __slots__ = (
        "__weakref__",
        "_exchange",
        "_full",
        "_leaving",
        "_owner",
        "_wire",
        "address",
        "served",
    )

    def __init__(self, owner: ConnectionOwner[Any]) -> None:
        super().__init__()
        self.served = 0
        self.address: str | None = None
        self._owner = owner
        self._wire: Wire | None = None
        self._leaving: Wire | None = None
        self._exchange: Any = None
        self._full = False

    def describe(self, where: object) -> str:
        """
        @param where: whom it leads to.
        """
        state = "closed" if self._wire is None else "busy" if self._exchange else "idle"
        return f"<{type(self).__name__} {where} {state} served={self.served}>"

    # From the exchange.

    @property
    def full(self) -> bool:
        """
        The other side has not read what was written to it.
        """
        return self._full

    def sent(self) -> int:
        """
        Bytes the kernel has taken.
        """
        return self._wire.bytes_sent if self._wire is not None else 0

    def pause_reading(self) -> None:
        """
        Take no more of the response for now.
        """
        if self._wire is not None:
            self._wire.pauseProducing()

    def resume_reading(self) -> None:
        """
        Take more of the response.
        """
        if self._wire is not None:
            self._wire.resumeProducing()

    def hand_over(self, end: TunnelEnd) -> None:
        """
        Be the end of a tunnel from now on: this connection only counts it, until it is closed.
        """
        self._exchange = None
        if self._wire is not None:
            self._wire.unregisterProducer()
            end.on_lost = self._tunnel_closed
            end.makeConnection(self._wire)

    # From the pool.

    def is_stale(self) -> bool:
        """
        Whether the other side has ended the connection, or sent something unasked, which the
        reactor has not got round to telling: asked before a request that could not be sent again.
        """
        wire = self._wire
        if wire is None or input_ended(wire):
            return True
        try:
            wire.getHandle().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except (OSError, AttributeError):
            pass
        return True

    def abort(self) -> None:
        """
        End the connection at once.
        """
        self._exchange = None
        self._end(Retired.BROKEN, abort=True)

    def found_stale(self) -> None:
        """
        It was given to an exchange, for which it turned out to be of no use.
        """
        self.abort()

    def spoiled(self, *, begun: bool) -> None:
        """
        The exchange that was to begin has failed, nobody knows where.

        @param begun: it has begun.
        """
        self.abort()

    def break_off(self) -> None:
        """
        Close has taken too long: the other side does not read what is still to be sent.
        """
        if self._leaving is not None:
            self._leaving.abortConnection()

    def close(self) -> None:
        """
        End the connection as soon as what was written is sent.
        """
        self._exchange = None
        self._end(Retired.TAKEN, abort=False)

    # From the wire.

    def makeConnection(self, transport: Wire) -> None:
        # Endpoints put a wrapper between transport and protocol; it has done its work now, and
        # every read would pass through it.
        transport.protocol = self
        self._wire = transport
        transport.registerProducer(self, True)

    # Back-pressure: the other side reads more slowly than the client sends.

    def pauseProducing(self) -> None:
        self._full = True
        if self._exchange is not None:
            self._exchange.upstream_full()

    def resumeProducing(self) -> None:
        self._full = False
        if self._exchange is not None:
            self._exchange.upstream_drained()

    def stopProducing(self) -> None:
        pass

    # Ending.

    def _tunnel_closed(self, reason: Failure) -> None:
        if self._wire is not None:
            self._wire = None
            self._owner.retired(self, Retired.TAKEN)
        self._leaving = None
        self._owner.closed(self)

    def _end(self, why: Retired, *, abort: bool) -> None:
        wire = self._wire
        if wire is None:
            return
        self._wire = None
        self._leaving = wire
        self._owner.retired(self, why)
        wire.unregisterProducer()
        if abort:
            wire.abortConnection()
        else:
            wire.loseConnection()
