"""TLS on top of any endpoint."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fastcar_tw.testing import MemoryReactor, Peer
from fastcar_tw.tls.machine import TLSError, TLSMachine
from fastcar_tw.tls.trust import Trust
from fastcar_tw.upstream.endpoints import TLSClientEndpoint
from tests.tls.support import SelfSigned
from tests.transport.harness import HalfCloseRecorder

GREETING = b"220 ready\r\n"


class HastyServer(TLSMachine):
    """A server that says something together with the last of its handshake."""

    __slots__ = ("_said",)

    def outgoing(self) -> bytes:
        """What TLS has to say, and once what it has to say itself."""
        data = super().outgoing()
        if self.ready and not hasattr(self, "_said"):
            self._said = True
            data += self.send(GREETING)
        return data


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """
    Leads to a server in memory.

    @ivar peer: that server, once connected.
    """

    def __init__(self, machine: TLSMachine) -> None:
        self.reactor = MemoryReactor()
        self.peer: Any = None
        self._machine = machine

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        protocol: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        self.peer = Peer(self.reactor, protocol, machine=self._machine)
        return succeed(protocol)


class TLSClientEndpointTests(SynchronousTestCase):
    """Connecting over TLS."""

    def context(self, offered: list[bytes]) -> SSL.Context:
        """A server's, which notes what protocols it is offered."""
        context = SelfSigned().context()
        # There the last word of the handshake is the server's.
        context.set_max_proto_version(SSL.TLS1_2_VERSION)

        def choose(connection: SSL.Connection, names: list[bytes]) -> bytes:
            offered.extend(names)
            return names[0]

        context.set_alpn_select_callback(choose)
        return context

    def connect(self, machine: TLSMachine, *alpn: Any, **options: Any) -> Deferred[Any]:
        """Connect to a server."""
        below = MemoryEndpoint(machine)
        endpoint = TLSClientEndpoint(below, Trust((), ("a.test",)), "a.test", 443, *alpn, **options)
        connecting: Deferred[Any] = endpoint.connect(Factory.forProtocol(HalfCloseRecorder))
        below.reactor.settle()
        if below.peer in below.reactor.peers:
            self.addCleanup(below.peer.release)
        return connecting

    def test_alpn(self) -> None:
        """HTTP/1.1 is asked for unless something else is said; where nothing is, nothing is."""
        for alpn, expected in (((), [b"http/1.1"]), (((),), []), (((b"imap",),), [b"imap"])):
            offered: list[bytes] = []
            machine = TLSMachine.server(self.context(offered))
            self.successResultOf(self.connect(machine, *alpn))
            self.assertEqual(offered, expected)

    def test_server_begins(self) -> None:
        """What a server says together with the end of its handshake is read where servers may
        begin."""
        machine = HastyServer.server(self.context([]))
        connected = self.successResultOf(self.connect(machine, server_begins=True))
        self.assertEqual(connected.received, GREETING)

    def test_server_must_not_begin(self) -> None:
        """Anywhere else it would answer what is about to be asked: no connection comes about."""
        machine = HastyServer.server(self.context([]))
        failure = self.failureResultOf(self.connect(machine), TLSError)
        self.assertEqual(failure.value.reason, "the peer sent data before it was asked")
