"""Connections that would lead back to where they come from."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.transport.loops import LoopError, LoopGuard, leads_to


class AddressTests(SynchronousTestCase):
    """Which addresses lead to which interface."""

    def test_same(self) -> None:
        """An address leads to itself, in whatever form."""
        for host in ("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::"):
            self.assertTrue(leads_to(host, "127.0.0.1"), host)
        self.assertTrue(leads_to("::1", "::1"))

    def test_other(self) -> None:
        """Another one does not."""
        for host in ("127.0.0.2", "192.0.2.1", "::1", "origin.test"):
            self.assertFalse(leads_to(host, "127.0.0.1"), host)
        self.assertFalse(leads_to("0.0.0.0", "192.0.2.1"))

    def test_all_interfaces(self) -> None:
        """All addresses of the machine lead to a listener on all interfaces, and no others."""
        for host in ("127.0.0.1", "127.0.0.2", "0.0.0.0"):
            self.assertTrue(leads_to(host, "0.0.0.0"), host)
        self.assertFalse(leads_to("192.0.2.1", "0.0.0.0"))


class GuardTests(SynchronousTestCase):
    """What the guard makes of it."""

    def test_guard(self) -> None:
        """It does not connect to our own ports, and to all others as ever."""
        reactor = MemoryReactorClock()
        guard = LoopGuard(reactor)
        factory = Factory.forProtocol(Protocol)
        guard.own.append(("127.0.0.1", 3128))
        looped = TCP4ClientEndpoint(guard, "127.0.0.1", 3128).connect(factory)
        self.failureResultOf(looped, LoopError)
        self.assertEqual(reactor.tcpClients, [])
        for host, port in (("127.0.0.1", 3129), ("192.0.2.1", 3128)):
            TCP4ClientEndpoint(guard, host, port).connect(factory)
        self.assertEqual(len(reactor.tcpClients), 2)
