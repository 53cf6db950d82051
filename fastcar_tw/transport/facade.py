"""
A reactor whose streams are eager, for use under Twisted's endpoints.

UNIXServerEndpoint(EagerReactor(reactor), "/tmp/fastcar.sock", mode=0o660).listen(factory)
HostnameEndpoint(EagerReactor(reactor), "example.com", 80).connect(factory)
"""

from __future__ import annotations

import select
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import ClientFactory
from zope.interface import directlyProvides, providedBy

from .eager import EagerConnector, EagerUNIXConnector
from .liveness import KEEPALIVE_LIMIT
from .poller import Poller
from .ports import EagerTCPPort, EagerUNIXPort


class EagerReactor:
    """
    Everything the given reactor is, except that C{listenUNIX}, C{listenTCP}, C{connectUNIX} and
    C{connectTCP} make eager transports.

    The reactor must be one of Twisted's that watch file descriptors (IReactorFDSet).
    """

    def __init__(self, reactor: Any, patience: float = KEEPALIVE_LIMIT) -> None:
        """
        @param patience: seconds for which the peers of outgoing TCP connections may leave unread
            what was sent to them; see L{watch_peer<fastcar_tw.transport.liveness.watch_peer>}.
        """
        self._reactor = reactor
        self._patience = patience
        # What the transports made here take for their reactor.
        self._poller = Poller(reactor) if hasattr(select, "epoll") else reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenUNIX(
        self,
        address: Any,  # a path, str or bytes
        factory: IProtocolFactory,
        backlog: int = 1024,
        mode: int = 0o660,
        wantPID: bool = False,
    ) -> EagerUNIXPort:
        """
        Listen at a path.

        @param mode: the permissions its file gets.
        @raise CannotListenError: if that fails.
        """
        port = EagerUNIXPort(address, factory, backlog, mode, self._poller, wantPID)
        port.startListening()
        return port

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 1024, interface: str = ""
    ) -> EagerTCPPort:
        """
        Listen on a TCP port.

        @raise CannotListenError: if that fails.
        """
        listening = EagerTCPPort(port, factory, backlog, interface, self._poller)
        listening.startListening()
        return listening

    def connectUNIX(
        self,
        address: Any,  # a path, str or bytes
        factory: ClientFactory[Any],
        timeout: float = 30.0,
        checkPID: bool = False,
    ) -> EagerUNIXConnector:
        """
        Start connecting.  While the server's backlog is full, it is asked again and again.

        @param timeout: seconds until it counts as failed.
        @param checkPID: fail if no process holds the lock file beside the socket.
        """
        connector = EagerUNIXConnector(address, factory, timeout, self._poller, checkPID)
        connector.connect()
        return connector

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float = 30.0,
        bindAddress: Any = None,
    ) -> EagerConnector:
        """
        Start connecting.

        @param timeout: seconds until it counts as failed.
        """
        connector = EagerConnector(host, port, factory, timeout, bindAddress, self._poller)
        connector.patience = self._patience
        connector.connect()
        return connector
