"""
Endpoints on top of endpoints: a connection that is first opened by one protocol, for a TLS
handshake or for a tunnel, and then belongs to another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure


class Opener(Protocol):
    """
    What opens a connection; a protocol of Twisted in all else.
    """

    def abortConnection(self) -> None:
        """
        Give up.
        """


def connect_stacked(
    below: IStreamClientEndpoint,
    above: IProtocolFactory,
    make: Callable[[Any, Deferred[IProtocol]], Opener],
    not_connected: Callable[[Failure], Failure] = lambda failure: failure,
) -> Deferred[IProtocol]:
    """
    Connect, and have the connection opened.

    @param below: connects.
    @param above: makes the protocol that the connection is for.
    @param make: makes what opens it, from that protocol and the Deferred to fire with it.
    @param not_connected: an errback for what C{below} fails with.
    @return: that Deferred; cancelling it gives up, however far it has come.
    """
    factory = _OpenerFactory(above, make)

    def cancel(_: object) -> None:
        connecting.cancel()
        if factory.opener is not None:
            factory.opener.abortConnection()

    factory.ready = Deferred(cancel)
    connecting = below.connect(factory)
    connecting.addErrback(not_connected).addErrback(factory.ready.errback)
    return factory.ready


class _OpenerFactory(Factory):
    noisy = False
    ready: Deferred[IProtocol]

    def __init__(
        self, above: IProtocolFactory, make: Callable[[Any, Deferred[IProtocol]], Opener]
    ) -> None:
        self._above = above
        self._make = make
        self.opener: Opener | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        above: Any = self._above
        self.opener = self._make(above.buildProtocol(addr), self.ready)
        return self.opener
