"""Overrides, cache and look-ups put together."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.names.cache import CLIENT_RESPONSE_TIME
from fastcar_tw.names.lookup import LookupFailedError, NoSuchNameError
from fastcar_tw.names.overrides import Overrides, parse_resolve
from fastcar_tw.names.resolver import MAX_BACKGROUND, Address, Resolver


class FakeLookup:
    """
    Answers when told to.

    @ivar asked: the names asked for so far.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._under_way: dict[str, Deferred[tuple[str, ...]]] = {}

    def start(self, host: str) -> Deferred[tuple[str, ...]]:
        """Keep the question."""
        assert host not in self._under_way
        self.asked.append(host)
        self._under_way[host] = Deferred()
        return self._under_way[host]

    def answer(self, host: str, *addresses: str) -> None:
        """Answer it."""
        self._under_way.pop(host).callback(addresses)

    def fail(self, host: str, error: Exception) -> None:
        """Fail to answer it."""
        self._under_way.pop(host).errback(error)


class BrokenLookup:
    """Cannot even begin."""

    def start(self, host: str) -> Deferred[tuple[str, ...]]:
        """Raise."""
        raise ZeroDivisionError


class ResolverTestCase(SynchronousTestCase):
    """Has a resolver with a time to live of 30 s."""

    def setUp(self) -> None:
        """Nothing is known."""
        self.clock = Clock()
        self.lookup = FakeLookup()
        self.told: list[tuple[str, frozenset[str]]] = []
        self.resolver = self.make()

    def make(self, *overrides: str, ttl: float = 30.0) -> Resolver:
        """Make a resolver."""
        resolver = Resolver(self.clock, self.lookup, ttl, Overrides(map(parse_resolve, overrides)))
        resolver.on_answer = lambda host, addresses: self.told.append((host, addresses))
        return resolver

    def resolve(self, host: str = "a.test", port: int = 80) -> Deferred[list[Address]]:
        """Look a name up."""
        return self.resolver.resolve(host, port)

    def addresses(self, result: Deferred[list[Address]]) -> list[str]:
        """What a look-up has brought."""
        return [address.host for address in self.successResultOf(result)]

    def learn(self) -> None:
        """Have a.test answered."""
        result = self.resolve()
        self.lookup.answer("a.test", "192.0.2.1")
        self.assertEqual(self.addresses(result), ["192.0.2.1"])


class ResolveTests(ResolverTestCase):
    """L{Resolver.resolve}."""

    def test_addresses(self) -> None:
        """Addresses of both families come in the order of the look-up, with the port."""
        result = self.resolve("a.test", 8080)
        self.lookup.answer("a.test", "2001:db8::1", "192.0.2.1")
        self.assertEqual(
            self.successResultOf(result),
            [IPv6Address("TCP", "2001:db8::1", 8080), IPv4Address("TCP", "192.0.2.1", 8080)],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_shared_query(self) -> None:
        """Look-ups at the same time share a query, whatever their ports and spelling."""
        first, second = self.resolve("a.test", 80), self.resolve("A.Test", 443)
        self.assertEqual(self.lookup.asked, ["a.test"])
        self.lookup.answer("a.test", "192.0.2.1")
        self.assertEqual(self.successResultOf(first)[0].port, 80)
        self.assertEqual(self.successResultOf(second)[0].port, 443)

    def test_time_to_live(self) -> None:
        """An answer serves for its time to live, then the name is looked up again."""
        self.learn()
        self.clock.advance(29.9)
        self.assertEqual(self.addresses(self.resolve()), ["192.0.2.1"])
        self.assertEqual(self.lookup.asked, ["a.test"])
        self.clock.advance(0.1)
        self.assertNoResult(self.resolve())
        self.assertEqual(self.lookup.asked, ["a.test"] * 2)

    def test_final_dot(self) -> None:
        """A name with a final dot is another one: search domains do not apply to it."""
        self.learn()
        self.assertNoResult(self.resolve("a.test."))
        self.assertEqual(self.lookup.asked, ["a.test", "a.test."])

    def test_one_name_does_not_delay_another(self) -> None:
        """While one name hangs, others are answered."""
        hanging = self.resolve("hangs.test")
        self.learn()
        self.assertNoResult(hanging)

    def test_no_such_name(self) -> None:
        """A name that does not exist fails with its name and the reason, for a second."""
        result = self.resolve()
        self.lookup.fail("a.test", NoSuchNameError("Name or service not known"))
        for each in (result, self.resolve()):
            failure = self.failureResultOf(each, DNSLookupError)
            self.assertIn("a.test: Name or service not known", failure.getErrorMessage())
        self.clock.advance(1.0)
        self.assertNoResult(self.resolve())
        self.assertEqual(self.told, [])

    def test_cancel(self) -> None:
        """Who gives up disturbs nobody else who waits for the name."""
        first, second = self.resolve(), self.resolve()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        self.lookup.answer("a.test", "192.0.2.1")
        self.assertEqual(self.addresses(second), ["192.0.2.1"])

    def test_all_cancel(self) -> None:
        """When all have given up, the query's answer is kept for the next."""
        self.resolve().addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.lookup.answer("a.test", "192.0.2.1")
        self.assertEqual(self.addresses(self.resolve()), ["192.0.2.1"])

    def test_cancel_while_being_told(self) -> None:
        """One that is told may cancel another."""
        first, second, third = self.resolve(), self.resolve(), self.resolve()
        first.addCallback(lambda _: second.cancel())
        self.lookup.answer("a.test", "192.0.2.1")
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.addresses(third), ["192.0.2.1"])

    def test_literal(self) -> None:
        """An address as the name is looked up like any other, to no harm."""
        result = self.resolve("2001:db8::1")
        self.lookup.answer("2001:db8::1", "2001:db8::1")
        self.assertEqual(self.addresses(result), ["2001:db8::1"])


class TroubleTests(ResolverTestCase):
    """A resolver that fails or is slow (RFC 8767)."""

    def test_failure(self) -> None:
        """When the look-up fails, the answer from before serves, and the log says so."""
        self.learn()
        self.clock.advance(30)
        results = [self.resolve(), self.resolve()]
        with capturedLogs() as events:
            self.lookup.fail("a.test", LookupFailedError("Temporary failure"))
        for each in results:
            self.assertEqual(self.addresses(each), ["192.0.2.1"])
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["look-up of a.test: Temporary failure; using its last known addresses"],
        )

    def test_failure_with_nothing_known(self) -> None:
        """Without one the look-up fails with the name and the reason."""
        result = self.resolve("A.test")
        self.lookup.fail("a.test", LookupFailedError("Temporary failure"))
        failure = self.failureResultOf(result, DNSLookupError)
        self.assertIn("A.test: Temporary failure", failure.getErrorMessage())

    def test_slow(self) -> None:
        """When the look-up takes long, the answer from before serves; the new one is awaited."""
        self.learn()
        self.clock.advance(30)
        result = self.resolve()
        self.clock.advance(CLIENT_RESPONSE_TIME - 0.1)
        self.assertNoResult(result)
        with capturedLogs() as events:
            self.clock.advance(0.1)
        self.assertEqual(self.addresses(result), ["192.0.2.1"])
        self.assertEqual(len(events), 1)
        self.assertEqual(self.addresses(self.resolve()), ["192.0.2.1"])
        self.lookup.answer("a.test", "192.0.2.2")
        self.assertEqual(self.addresses(self.resolve()), ["192.0.2.2"])
        self.assertEqual(self.lookup.asked, ["a.test"] * 2)

    def test_slow_with_nothing_known(self) -> None:
        """Without one the look-up waits on."""
        result = self.resolve()
        self.clock.advance(60)
        self.assertNoResult(result)
        self.lookup.answer("a.test", "192.0.2.1")
        self.assertEqual(self.addresses(result), ["192.0.2.1"])

    def test_slow_failure(self) -> None:
        """A look-up may be slow and then fail."""
        self.learn()
        self.clock.advance(30)
        self.resolve()
        self.clock.advance(10)
        self.lookup.fail("a.test", LookupFailedError("Temporary failure"))
        self.assertEqual(self.addresses(self.resolve()), ["192.0.2.1"])

    def test_broken_lookup(self) -> None:
        """Whatever the look-up raises is logged, and the look-up fails."""
        self.resolver = Resolver(self.clock, BrokenLookup(), 30.0)
        failure = self.failureResultOf(self.resolve(), DNSLookupError)
        self.assertIn("internal error", failure.getErrorMessage())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class NewsTests(ResolverTestCase):
    """L{Resolver.on_answer} and L{Resolver.refresh}."""

    def test_each_answer(self) -> None:
        """Every good answer of a query is told, in whatever spelling the name was asked for."""
        self.resolve("A.Test")
        self.lookup.answer("a.test", "192.0.2.1", "2001:db8::1")
        self.assertEqual(self.told, [("a.test", frozenset({"192.0.2.1", "2001:db8::1"}))])
        self.resolve()
        self.assertEqual(len(self.told), 1)
        self.clock.advance(30)
        self.resolve()
        self.lookup.answer("a.test", "192.0.2.2")
        self.assertEqual(self.told[1:], [("a.test", frozenset({"192.0.2.2"}))])

    def test_stale_is_no_news(self) -> None:
        """Stale answers are not told."""
        self.learn()
        self.clock.advance(30)
        self.resolve()
        self.clock.advance(CLIENT_RESPONSE_TIME)
        self.lookup.fail("a.test", LookupFailedError("broken"))
        self.assertEqual(len(self.told), 1)

    def test_listener_that_raises(self) -> None:
        """A listener's mistake is logged and harms no look-up."""

        def listener(host: str, addresses: frozenset[str]) -> None:
            raise ZeroDivisionError

        self.resolver.on_answer = listener
        self.learn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.addresses(self.resolve()), ["192.0.2.1"])

    def test_refresh(self) -> None:
        """An answer that has expired is asked for in the background, once."""
        self.learn()
        self.resolver.refresh("a.test")
        self.assertEqual(len(self.lookup.asked), 1)
        self.clock.advance(30)
        self.resolver.refresh("a.test")
        self.resolver.refresh("A.test")
        self.assertEqual(self.lookup.asked, ["a.test"] * 2)
        self.lookup.answer("a.test", "192.0.2.2")
        self.assertEqual(self.told[1:], [("a.test", frozenset({"192.0.2.2"}))])
        self.assertEqual(self.addresses(self.resolve()), ["192.0.2.2"])

    def test_failed_refresh(self) -> None:
        """When that fails nobody is told, and the log is silent; it is not tried every second."""
        self.learn()
        self.clock.advance(30)
        with capturedLogs() as events:
            self.resolver.refresh("a.test")
            self.clock.advance(CLIENT_RESPONSE_TIME)
            self.lookup.fail("a.test", LookupFailedError("Temporary failure"))
            for _ in range(29):
                self.clock.advance(1)
                self.resolver.refresh("a.test")
        self.assertEqual(events, [])
        self.assertEqual(self.lookup.asked, ["a.test"] * 2)
        self.assertEqual(len(self.told), 1)
        self.assertEqual(self.addresses(self.resolve()), ["192.0.2.1"])

    def test_many_refreshes(self) -> None:
        """Names in the background leave most of the look-ups that may run to those who wait."""
        names = [f"{number}.test" for number in range(MAX_BACKGROUND + 1)]
        for name in names:
            self.resolve(name)
            self.lookup.answer(name, "192.0.2.1")
        self.clock.advance(30)
        self.lookup.asked.clear()
        for name in names:
            self.resolver.refresh(name)
        self.assertEqual(self.lookup.asked, names[:-1])
        self.resolve("wanted.test")
        self.assertEqual(self.lookup.asked.pop(), "wanted.test")
        for end in (
            lambda: self.lookup.answer(names[0], "192.0.2.1"),
            lambda: self.lookup.fail(names[1], NoSuchNameError("gone")),
        ):
            end()
            self.resolver.refresh(names[-1])
            self.assertEqual(self.lookup.asked.pop(), names[-1])
            self.lookup.answer(names[-1], "192.0.2.1")
            self.clock.advance(30)

    def test_refresh_of_nothing(self) -> None:
        """A name that was never looked up is not refreshed."""
        self.resolver.refresh("a.test")
        self.assertEqual(self.lookup.asked, [])


class OverrideTests(ResolverTestCase):
    """Overrides in the resolver."""

    def test_instead_of_a_lookup(self) -> None:
        """An override is the answer, at once; nobody is asked, and it is no news."""
        self.resolver = self.make("a.test:80:192.0.2.8,[2001:db8::8]")
        self.assertEqual(
            self.successResultOf(self.resolve("A.test.", 80)),
            [IPv4Address("TCP", "192.0.2.8", 80), IPv6Address("TCP", "2001:db8::8", 80)],
        )
        self.resolver.refresh("a.test")
        self.assertEqual((self.lookup.asked, self.told), ([], []))

    def test_other_ports(self) -> None:
        """Another port of the name is looked up."""
        self.resolver = self.make("a.test:80:192.0.2.8")
        self.assertNoResult(self.resolve("a.test", 443))
        self.assertEqual(self.lookup.asked, ["a.test"])

    def test_is_overridden(self) -> None:
        """One can ask whether there is an override."""
        self.resolver = self.make("a.test:80:192.0.2.8")
        self.assertTrue(self.resolver.is_overridden("a.test", 80))
        self.assertFalse(self.resolver.is_overridden("a.test", 443))
