"""Names with several addresses (RFC 8305)."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.names.resolver import Address
from fastcar_tw.upstream.address_race import ATTEMPT_DELAY, NameEndpoint


def addresses(*hosts: str) -> list[Address]:
    """Addresses of either family."""
    return [
        IPv6Address("TCP", host, 80) if ":" in host else IPv4Address("TCP", host, 80)
        for host in hosts
    ]


class Resolver:
    """Answers when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self._result: Deferred[list[Address]] = Deferred()

    def resolve(self, host: str, port: int) -> Deferred[list[Address]]:
        """Keep the question."""
        self.asked.append((host, port))
        self._result = Deferred()
        return self._result

    def answer(self, *hosts: str) -> None:
        """Answer it."""
        self._result.callback(addresses(*hosts))

    def fail(self) -> None:
        """Say that there is no such name."""
        self._result.errback(DNSLookupError("no such name"))

    def is_waited_for(self) -> bool:
        """Whether the question still stands."""
        return not self._result.called


class RaceTests(SynchronousTestCase):
    """L{NameEndpoint}."""

    def setUp(self) -> None:
        """Connect to a name."""
        self.reactor: Any = MemoryReactorClock()
        self.resolver = Resolver()
        self.result = self.connect("a.test")

    def connect(self, host: str) -> Deferred[IProtocol]:
        """Connect to a host."""
        endpoint = NameEndpoint(self.reactor, self.resolver, host, 80, 7.0)
        return endpoint.connect(Factory.forProtocol(Protocol))

    def tried(self) -> list[str]:
        """The addresses tried so far."""
        return [client[0] for client in self.reactor.tcpClients]

    def accept(self, index: int) -> None:
        """Let an attempt succeed."""
        self.reactor.tcpClients[index][2].buildProtocol(None).makeConnection(StringTransport())

    def refuse(self, index: int, reason: Exception | None = None) -> None:
        """Let an attempt fail."""
        factory = self.reactor.tcpClients[index][2]
        factory.clientConnectionFailed(None, Failure(reason or ConnectionRefusedError()))

    def stopped(self, index: int) -> bool:
        """Whether an attempt was given up."""
        return bool(self.reactor.connectors[index].stoppedConnecting)

    def test_one_address(self) -> None:
        """The name is looked up, its address connected to, with the time it may take."""
        self.assertEqual(self.resolver.asked, [("a.test", 80)])
        self.resolver.answer("192.0.2.1")
        [(host, port, _, timeout, _)] = self.reactor.tcpClients
        self.assertEqual((host, port, timeout), ("192.0.2.1", 80, 7.0))
        self.accept(0)
        self.assertIsInstance(self.successResultOf(self.result), Protocol)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_literals(self) -> None:
        """Addresses are not looked up."""
        self.connect("192.0.2.9")
        self.connect("2001:db8::9")
        self.assertEqual(self.tried(), ["192.0.2.9", "2001:db8::9"])
        self.assertEqual(len(self.resolver.asked), 1)

    def test_unknown_name(self) -> None:
        """A name without address fails as its look-up did."""
        self.resolver.fail()
        self.failureResultOf(self.result, DNSLookupError)

    def test_next_after_a_while(self) -> None:
        """An address that does not answer gets company."""
        self.resolver.answer("192.0.2.1", "192.0.2.2", "192.0.2.3")
        self.reactor.advance(ATTEMPT_DELAY - 0.01)
        self.assertEqual(self.tried(), ["192.0.2.1"])
        self.reactor.advance(0.01)
        self.assertEqual(self.tried(), ["192.0.2.1", "192.0.2.2"])
        self.reactor.advance(ATTEMPT_DELAY)
        self.assertEqual(len(self.tried()), 3)
        self.reactor.advance(ATTEMPT_DELAY)
        self.assertEqual(len(self.tried()), 3)

    def test_next_after_a_failure(self) -> None:
        """After a failure the next is tried at once."""
        self.resolver.answer("192.0.2.1", "192.0.2.2")
        self.refuse(0)
        self.assertEqual(self.tried(), ["192.0.2.1", "192.0.2.2"])
        self.accept(1)
        self.successResultOf(self.result)

    def test_winner_ends_the_others(self) -> None:
        """The first connection wins, whichever it is; the other attempts are given up."""
        self.resolver.answer("192.0.2.1", "192.0.2.2", "192.0.2.3")
        self.reactor.advance(ATTEMPT_DELAY)
        self.accept(1)
        self.successResultOf(self.result)
        self.assertTrue(self.stopped(0))
        self.assertFalse(self.stopped(1))
        self.reactor.advance(10)
        self.assertEqual(len(self.tried()), 2)

    def test_all_fail(self) -> None:
        """When all fail the first failure tells."""
        self.resolver.answer("192.0.2.1", "192.0.2.2")
        self.reactor.advance(ATTEMPT_DELAY)
        self.refuse(1, ZeroDivisionError())
        self.assertNoResult(self.result)
        self.refuse(0)
        self.failureResultOf(self.result, ZeroDivisionError)

    def test_cancel(self) -> None:
        """Giving up ends all attempts and the timer."""
        self.resolver.answer("192.0.2.1", "192.0.2.2", "192.0.2.3")
        self.reactor.advance(ATTEMPT_DELAY)
        self.result.cancel()
        self.failureResultOf(self.result, ConnectingCancelledError)
        self.assertTrue(self.stopped(0) and self.stopped(1))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancel_before_the_answer(self) -> None:
        """Giving up before the addresses are known gives up the look-up, and starts nothing."""
        self.assertTrue(self.resolver.is_waited_for())
        self.result.cancel()
        self.failureResultOf(self.result, ConnectingCancelledError)
        self.assertFalse(self.resolver.is_waited_for())
        self.resolver.answer("192.0.2.1")
        self.assertEqual(self.tried(), [])

    def test_families_take_turns(self) -> None:
        """The families take turns, the resolver's favourite first (RFC 8305 section 4)."""
        self.resolver.answer("2001:db8::1", "2001:db8::2", "192.0.2.1")
        for _ in range(3):
            self.reactor.advance(ATTEMPT_DELAY)
        self.assertEqual(self.tried(), ["2001:db8::1", "192.0.2.1", "2001:db8::2"])
