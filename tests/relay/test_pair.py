"""Clients that have a connection of their own."""

from __future__ import annotations

from typing import Any

from twisted.internet import error

from fastcar_tw.relay.pair import MAX_EARLY
from fastcar_tw.relay.proxy_protocol import ProxyAddresses, encode

from .support import VISITOR, End, MemoryRelay, RelayTestCase, logged

#: More than any buffer in between holds.
MUCH = 1 << 20


class PairTestCase(RelayTestCase):
    """Has a backend, and a client that is connected to it."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, *, clients: int = 1, **options: Any) -> None:
        """Begin anew, in pair mode."""
        self.relay = MemoryRelay(**{"pool": None, **options})
        self.addCleanup(self.relay.close)
        if clients:
            self.client = self.relay.client()
            self.relay.reactor.settle()

    def waiting(self, **options: Any) -> End:
        """A client whose connection is still being made."""
        self.begin(clients=0, **options)
        for backend in self.relay.backends:
            backend.accepting = False
        self.client = self.relay.client()
        self.relay.reactor.settle()
        return self.client

    def accept(self, **options: Any) -> End:
        """The first attempt succeeds."""
        return self.relay.backends[0].attempts[0].accept(**options)

    def check_nothing_left(self) -> None:
        """Neither client nor connection is known any more."""
        self.assertEqual(self.relay.relay.clients, set())
        self.assertEqual(len(self.relay.relay.deadlines), 1)  # the pool
        for backend in self.relay.backends:
            self.assertEqual((backend.traffic.owned, backend.open), (0, []))
            self.assertEqual((backend.counts.active, backend.counts.leaving), (0, 0))


class RelayingTests(PairTestCase):
    """Bytes."""

    def test_untouched(self) -> None:
        """Bytes are relayed as they come, both ways, in whatever order."""
        everything = bytes(range(256)) * 3
        self.client.send(everything)
        self.assertEqual(self.connection.take(), everything)
        self.connection.send(everything[::-1])
        self.connection.send(b"\r\n")
        self.assertEqual(self.client.take(), everything[::-1] + b"\r\n")
        self.client.send(b"\0")
        self.assertEqual(self.connection.take(), b"\0")

    def test_backend_first(self) -> None:
        """A backend may speak first."""
        self.connection.send(b"220 ready\r\n")
        self.assertEqual(self.client.take(), b"220 ready\r\n")
        self.client.send(b"HELO\r\n")
        self.assertEqual(self.connection.take(), b"HELO\r\n")

    def test_one_each(self) -> None:
        """Each client has a connection of its own, which nobody has after it."""
        other = self.relay.client()
        self.relay.reactor.settle()
        self.client.send(b"one")
        other.send(b"two")
        self.assertEqual([each.received for each in self.relay.connections], [b"one", b"two"])
        self.client.close()
        self.relay.client().send(b"three")
        self.assertEqual(len(self.relay.connections), 3)
        self.assertEqual(self.relay.connections[2].received, b"three")

    def test_connected_at_once(self) -> None:
        """The connection is made when the client comes, not when it sends something."""
        self.assertEqual(len(self.relay.connections), 1)
        self.assertEqual(self.connection.received, b"")

    def test_tls(self) -> None:
        """Inside of TLS all is as without, whoever speaks first."""
        self.begin(tls=True)
        self.connection.send(b"220 ready\r\n")
        self.assertEqual(self.client.take(), b"220 ready\r\n")
        self.client.send(b"HELO\r\n")
        self.assertEqual(self.connection.take(), b"HELO\r\n")
        self.client.end()
        self.assertTrue(self.connection.output_ended)
        self.connection.send(b"bye")
        self.connection.end()
        self.assertEqual(self.client.take(), b"bye")
        self.assertTrue(self.client.ended_cleanly)
        self.check_nothing_left()


class EarlyTests(PairTestCase):
    """What a client sends before it has its connection."""

    def test_kept(self) -> None:
        """It is kept, and sent first."""
        client = self.waiting()
        client.send(b"one ")
        client.send(b"two ")
        connection = self.accept()
        self.assertEqual(connection.take(), b"one two ")
        client.send(b"three")
        self.assertEqual(connection.take(), b"three")

    def test_bounded(self) -> None:
        """When there is too much of it the client is not read, until it has its connection."""
        client = self.waiting()
        client.send(bytes(MAX_EARLY - 1))
        self.assertFalse(client.paused)
        client.send(b"x")
        self.assertTrue(client.paused)
        client.send(bytes(MUCH))
        self.assertTrue(client.unsent)
        connection = self.accept()
        self.assertFalse(client.paused)
        self.assertEqual(connection.take(), bytes(MAX_EARLY - 1) + b"x" + bytes(MUCH))
        client.send(b"more")
        self.assertEqual(connection.take(), b"more")

    def test_bounded_slow_backend(self) -> None:
        """It is not read either while the backend does not take what was kept."""
        client = self.waiting()
        self.relay.capacity = 4096
        client.send(bytes(MAX_EARLY + MUCH))
        connection = self.accept(paused=True)
        self.assertTrue(client.paused)
        self.assertLess(connection.transport.buffered, 4 * MAX_EARLY)
        connection.resume()
        self.assertEqual(len(connection.take()), MAX_EARLY + MUCH)
        self.assertFalse(client.paused)

    def test_bounded_behind_requests(self) -> None:
        """So it is with what came together with the request that needs the connection."""
        self.begin(clients=0, pool=1, framing="resp")
        self.relay.backends[0].accepting = False
        client = self.client = self.relay.client()
        subscribe = b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"
        data = subscribe + bytes(MAX_EARLY - len(subscribe))
        client.send(data)
        self.assertTrue(client.paused)
        connection = self.accept()
        self.assertEqual(connection.take(), data)
        self.assertFalse(client.paused)

    def test_ended(self) -> None:
        """An end of input is kept, too, and passed on behind the rest; the answer comes back."""
        client = self.waiting()
        client.send(b"all of it")
        client.end()
        self.assertFalse(client.closed)
        connection = self.accept()
        self.assertEqual(connection.take(), b"all of it")
        self.assertTrue(connection.output_ended)
        connection.send(b"answer")
        connection.end()
        self.assertEqual(client.take(), b"answer")
        self.assertTrue(client.ended_cleanly)
        self.check_nothing_left()

    def test_ended_at_once(self) -> None:
        """So is one without any bytes before it."""
        client = self.waiting()
        client.end()
        connection = self.accept()
        self.assertTrue(connection.output_ended)
        connection.send(b"answer")
        self.assertEqual(client.take(), b"answer")

    def test_ended_full(self) -> None:
        """And one that is only read when the connection is there."""
        client = self.waiting()
        client.send(bytes(MAX_EARLY))
        client.end()
        connection = self.accept()
        self.assertEqual(len(connection.take()), MAX_EARLY)
        self.assertTrue(connection.output_ended)
        self.assertFalse(client.closed)


class LeavingTests(PairTestCase):
    """Clients that go before they have their connection."""

    def test_leaves(self) -> None:
        """Who has left without a word costs no connection: the one that comes is closed, and
        nothing is told."""
        client = self.waiting()
        self.assertEqual(logged(client.close), [])
        self.assertTrue(client.closed)
        connection = self.accept()
        self.assertEqual(connection.received, b"")
        self.assertTrue(connection.closed)
        self.check_nothing_left()

    def test_said_all(self) -> None:
        """What one has sent that has left is passed on, and its end: many say all at once."""
        client = self.waiting()
        client.send(b"metric\n")
        self.assertEqual(logged(client.close), [])
        connection = self.accept()
        self.assertEqual(connection.received, b"metric\n")
        self.assertTrue(connection.ended_cleanly)
        self.assertTrue(client.closed)
        self.check_nothing_left()

    def test_said_all_in_vain(self) -> None:
        """If it cannot be passed on, that is told."""
        client = self.waiting()
        client.send(b"metric\n")
        client.close()
        backend = self.relay.backends[0]
        lines = logged(backend.attempts[0].refuse)
        self.assertEqual(lines, [f"{VISITOR}: {backend.backend}: connection refused; closed"])
        self.check_nothing_left()

    def test_said_all_behind_requests(self) -> None:
        """So it is with what came together with the request that needs the connection."""
        self.begin(clients=0, pool=1, framing="resp")
        self.relay.backends[0].accepting = False
        client = self.client = self.relay.client()
        client.send(b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\nSET a b\r\n")
        client.close()
        connection = self.accept()
        self.assertEqual(connection.received, b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\nSET a b\r\n")
        self.assertTrue(connection.ended_cleanly)
        self.check_nothing_left()

    def test_serves_next(self) -> None:
        """What was being opened serves who comes next."""
        client = self.waiting()
        client.close()
        other = self.relay.client()
        other.send(b"other")
        self.assertEqual(len(self.relay.backends[0].attempts), 1)
        self.assertEqual(self.accept().received, b"other")

    def test_reset(self) -> None:
        """A reset is the same."""
        client = self.waiting()
        self.assertEqual(logged(client.reset), [])
        self.assertTrue(self.accept().closed)
        self.check_nothing_left()

    def test_left_untold(self) -> None:
        """It is the same when the reactor has not told yet that a client has gone."""
        client = self.waiting()
        client.vanish()
        self.assertTrue(self.accept().aborted)
        self.check_nothing_left()
        client = self.waiting()
        client.send(b"metric\n")
        client.vanish()
        connection = self.accept()
        self.assertEqual(connection.received, b"metric\n")
        self.assertTrue(connection.ended_cleanly)
        self.check_nothing_left()

    def test_left_unread(self) -> None:
        """What was not even read of it is passed on, too."""
        client = self.waiting()
        client.send(bytes(MAX_EARLY))
        self.assertTrue(client.paused)
        client.send(b"rest")
        self.assertFalse(client.unsent)
        client.close()
        connection = self.accept()
        self.assertEqual(connection.received, bytes(MAX_EARLY) + b"rest")
        self.assertTrue(connection.ended_cleanly)
        self.check_nothing_left()

    def test_left_with_a_slow_backend(self) -> None:
        """It is kept until the backend has taken it."""
        client = self.waiting()
        self.relay.capacity = 4096
        client.send(bytes(MAX_EARLY - 1))
        client.close()
        connection = self.accept(paused=True)
        self.assertTrue(connection.transport.buffered)
        connection.resume()
        self.assertEqual(len(connection.received), MAX_EARLY - 1)
        self.assertTrue(connection.ended_cleanly)
        self.check_nothing_left()

    def test_stopping(self) -> None:
        """Who has no connection yet when the relay stops and has sent nothing is not waited for."""
        client = self.waiting()
        self.successResultOf(self.relay.drain())
        self.assertTrue(client.aborted)

    def test_stopping_with_a_request(self) -> None:
        """Who has sent something is still served."""
        client = self.waiting()
        client.send(b"question")
        drained = self.relay.drain()
        self.assertFalse(client.closed)
        self.assertNoResult(drained)
        connection = self.accept()
        self.assertEqual(connection.take(), b"question")
        connection.send(b"answer")
        self.assertEqual(client.take(), b"answer")
        client.end()
        connection.end()
        self.assertTrue(client.ended_cleanly)
        self.successResultOf(drained)
        self.check_nothing_left()

    def test_stopping_behind_requests(self) -> None:
        """So is who waits for a connection of its own beside those that are shared."""
        self.begin(clients=0, pool=1, framing="resp")
        self.relay.backends[0].accepting = False
        client = self.client = self.relay.client()
        subscribe = b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"
        client.send(subscribe)
        drained = self.relay.drain()
        connection = self.accept()
        self.assertEqual(connection.take(), subscribe)
        connection.send(b"*3\r\n")
        self.assertEqual(client.take(), b"*3\r\n")
        client.close()
        self.successResultOf(drained)
        self.check_nothing_left()

    def test_stopping_paired(self) -> None:
        """Who has one is, until both sides have ended."""
        drained = self.relay.drain()
        self.client.send(b"still")
        self.assertEqual(self.connection.take(), b"still")
        self.assertNoResult(drained)
        self.client.end()
        self.assertNoResult(drained)
        self.connection.end()
        self.successResultOf(drained)
        self.assertTrue(self.client.ended_cleanly)


class FailureTests(PairTestCase):
    """Connections that do not come about."""

    def test_refused(self) -> None:
        """A client whose backend cannot be reached is ended at once, and why is logged."""
        client = self.waiting()
        client.send(b"hello")
        backend = self.relay.backends[0]
        lines = logged(backend.attempts[0].refuse)
        self.assertEqual(lines, [f"{VISITOR}: {backend.backend}: connection refused; closed"])
        self.assertTrue(client.aborted)
        self.check_nothing_left()

    def test_reason(self) -> None:
        """Other reasons are told as well."""
        client = self.waiting()
        attempt = self.relay.backends[0].attempts[0]
        [line] = logged(lambda: attempt.refuse(error.NoRouteError()))
        self.assertIn("no route to the address; closed", line)
        self.assertTrue(client.closed)

    def test_timeout(self) -> None:
        """A connection that takes too long is one that cannot be had."""
        client = self.waiting(connect_timeout=3.0)
        self.assertEqual(logged(lambda: self.relay.elapse(2.75)), [])
        lines = logged(lambda: self.relay.elapse(0.5))
        key = self.relay.backends[0].backend
        self.assertEqual(lines, [f"{VISITOR}: {key}: connecting took too long; closed"])
        self.assertTrue(client.aborted)
        self.assertTrue(self.relay.backends[0].attempts[0].cancelled)

    def test_no_other_timeout(self) -> None:
        """Nothing else limits the time: neither what a client has to be read, nor idleness."""
        client = self.waiting(
            connect_timeout=50.0, queue_timeout=1.0, idle_timeout=1.0, client_timeout=1.0
        )
        self.relay.elapse(45.0)
        self.assertFalse(client.closed)
        client.send(b"still")
        self.assertEqual(self.accept().received, b"still")

    def test_moved(self) -> None:
        """When a backend cannot be reached another one is tried, with all that was kept."""
        client = self.waiting(backends=2)
        client.send(b"hello")
        first, second = self.relay.backends
        lines = logged(first.attempts[0].refuse)
        told = f"{first.backend}: connection refused; clients go to other backends until it can be"
        self.assertEqual((lines, client.closed), ([f"{told} reached"], False))
        [attempt] = second.attempts
        connection = attempt.accept()
        self.assertEqual(connection.take(), b"hello")
        connection.send(b"hi")
        self.assertEqual(client.take(), b"hi")
        self.assertEqual((first.traffic.served, second.traffic.served), (0, 1))

    def test_moved_in_vain(self) -> None:
        """When no backend can be reached the last reason is told, once."""
        client = self.waiting(backends=2)
        first, second = self.relay.backends
        first.attempts[0].refuse()
        lines = logged(second.attempts[0].refuse)
        self.assertEqual(lines, [f"{VISITOR}: {second.backend}: connection refused; closed"])
        self.assertTrue(client.aborted)
        self.assertEqual((len(first.attempts), len(second.attempts)), (1, 1))

    def test_left_alone(self) -> None:
        """Who comes while all backends are left alone is ended at once, without an attempt."""
        self.begin(clients=0, fail_fast_after=1)
        backend = self.relay.backends[0]
        backend.refusing = True
        self.relay.client()
        self.relay.reactor.settle()
        clients = []
        [line] = logged(lambda: clients.append(self.relay.client()))
        self.relay.reactor.settle()
        self.assertIn(f"{backend.backend}: not tried again yet", line)
        self.assertIn("connection refused", line)
        self.assertTrue(clients[0].aborted)
        self.assertEqual(len(backend.attempts), 1)

    def test_gone_at_once(self) -> None:
        """A backend that closes as soon as it is connected ends the client."""
        client = self.waiting()
        client.send(b"hello")
        self.accept(gone=True)
        self.assertTrue(client.closed)
        self.check_nothing_left()


class EndTests(PairTestCase):
    """Ends of input, and of connections."""

    def test_client_ends(self) -> None:
        """A client that has sent all still gets all that there is for it."""
        self.client.send(b"question")
        self.client.end()
        self.assertEqual(self.connection.take(), b"question")
        self.assertTrue(self.connection.output_ended)
        self.connection.send(b"ans")
        self.connection.send(b"wer")
        self.assertEqual(self.client.take(), b"answer")
        self.assertFalse(self.client.ended)
        self.connection.end()
        self.assertTrue(self.client.ended_cleanly)
        self.assertTrue(self.connection.ended_cleanly)
        self.check_nothing_left()

    def test_backend_ends(self) -> None:
        """A backend that has sent all still gets all that there is for it."""
        self.connection.send(b"greeting")
        self.connection.end()
        self.assertEqual(self.client.take(), b"greeting")
        self.assertTrue(self.client.output_ended)
        self.client.send(b"thanks")
        self.assertEqual(self.connection.take(), b"thanks")
        self.client.end()
        self.assertTrue(self.client.ended_cleanly)
        self.assertTrue(self.connection.ended_cleanly)
        self.check_nothing_left()

    def test_end_behind_much(self) -> None:
        """An end comes behind all bytes, however slowly these are taken."""
        for name in ("client", "connection"):
            self.relay.close()
            self.begin(clients=0)
            self.relay.capacity = 4096
            self.client = self.relay.client(capacity=4096)
            self.relay.reactor.settle()
            ends = [self.client, self.connection]
            sender, receiver = ends if name == "client" else ends[::-1]
            receiver.pause()
            sender.send(bytes(MUCH))
            sender.end()
            receiver.resume()
            self.assertEqual(len(receiver.take()), MUCH)
            self.assertTrue(receiver.output_ended)

    def test_client_gone(self) -> None:
        """When the client has gone altogether its connection ends at once."""
        self.client.close()
        self.assertTrue(self.connection.closed)
        self.check_nothing_left()

    def test_reset(self) -> None:
        """A reset of either is the end of the other, at once, and not as if all had been said."""
        for name in ("client", "connection"):
            self.relay.close()
            self.begin()
            ends = [self.client, self.connection]
            one, other = ends if name == "client" else ends[::-1]
            one.reset()
            self.assertTrue(other.aborted)
            self.check_nothing_left()

    def test_reset_behind_the_end(self) -> None:
        """Behind an end of input it takes nothing from the other."""
        self.connection.send(b"all")
        self.connection.end()
        self.connection.reset()
        self.assertEqual(self.client.take(), b"all")
        self.assertTrue(self.client.ended_cleanly)
        self.check_nothing_left()

    def test_truncated_tls(self) -> None:
        """A client that ends TLS without saying so has not sent all: neither looks complete."""
        self.begin(tls=True)
        self.client.send(b"half")
        self.client.end(notify=False)
        self.assertTrue(self.connection.aborted)
        self.check_nothing_left()


class ResetLogTests(PairTestCase):
    """What is told of connections that were broken off."""

    def test_told(self) -> None:
        """Who has broken a pair off is told, once, with both names."""
        for name in ("client", "backend"):
            self.begin()
            end = self.client if name == "client" else self.connection
            pair = f"{VISITOR} with {self.relay.backends[0].backend}"
            self.assertEqual(logged(end.reset), [f"{pair}: the {name} has broken it off"])

    def test_behind_the_end(self) -> None:
        """Behind an end of input nothing was broken off, nor where the relay itself does that."""
        self.connection.end()
        self.assertEqual(logged(self.connection.reset), [])
        self.begin()
        self.assertEqual(logged(self.relay.close), [])

    def test_quiet(self) -> None:
        """What ends as it should is not told of, nor is a client that goes."""

        def end() -> None:
            self.client.end()
            self.connection.end()

        self.assertEqual(logged(end), [])
        self.begin()
        self.assertEqual(logged(self.client.close), [])


class BackPressureTests(PairTestCase):
    """Sides that read slowly."""

    def slow(self, name: str) -> tuple[End, End]:
        """Who sends much, and who reads none of it."""
        self.begin(clients=0)
        self.relay.capacity = 4096
        self.client = self.relay.client(capacity=4096)
        self.relay.reactor.settle()
        ends = [self.client, self.connection]
        sender, receiver = ends if name == "client" else ends[::-1]
        receiver.pause()
        sender.send(bytes(MUCH))
        return sender, receiver

    def test_bounded(self) -> None:
        """Who sends more than the other takes is not read, so little is kept."""
        for name in ("client", "connection"):
            sender, receiver = self.slow(name)
            self.assertTrue(sender.paused)
            self.assertTrue(sender.unsent)
            self.assertLess(receiver.transport.buffered, 3 * MAX_EARLY)
            self.relay.close()

    def test_resumed(self) -> None:
        """It is read again when the other has taken what was kept, and nothing is lost."""
        for name in ("client", "connection"):
            sender, receiver = self.slow(name)
            receiver.resume()
            self.assertEqual(len(receiver.take()), MUCH)
            self.assertFalse(sender.paused)
            sender.send(b"more")
            self.assertEqual(receiver.take(), b"more")
            self.relay.close()

    def test_one_way(self) -> None:
        """The other direction is not held up."""
        for name in ("client", "connection"):
            sender, receiver = self.slow(name)
            self.assertFalse(receiver.paused)
            receiver.send(b"meanwhile")
            self.assertEqual(sender.take(), b"meanwhile")
            self.relay.close()


class IdleTests(PairTestCase):
    """Pairs in which nothing moves."""

    def test_idle(self) -> None:
        """A pair through which nothing has passed for too long is closed, which is logged."""
        self.begin(idle_timeout=8.0)
        self.assertEqual(logged(lambda: self.relay.elapse(7.5)), [])
        self.assertFalse(self.client.closed)
        lines = logged(lambda: self.relay.elapse(2.0))
        key = self.relay.backends[0].backend
        self.assertEqual(lines, [f"{VISITOR} with {key}: nothing has passed for 8 s; closed"])
        self.assertTrue(self.client.aborted)
        self.assertTrue(self.connection.aborted)
        self.check_nothing_left()

    def test_any_byte(self) -> None:
        """A byte in either direction is enough to stay."""
        self.begin(idle_timeout=8.0)
        for end in (self.client, self.connection, self.client):
            self.relay.elapse(7.0)
            end.send(b".")
        self.relay.elapse(7.0)
        self.assertFalse(self.client.closed)

    def test_slowly_taken(self) -> None:
        """So is one that waited and is taken now."""
        self.begin(clients=0, idle_timeout=8.0)
        self.client = self.relay.client(capacity=4096)
        self.relay.reactor.settle()
        self.client.pause()
        self.connection.send(bytes(200_000))
        for _ in range(5):
            self.relay.elapse(7.0)
            self.client.read(65536)
        self.assertFalse(self.client.closed)
        self.relay.elapse(20.0)
        self.assertTrue(self.client.aborted)

    def test_half_closed(self) -> None:
        """A pair of which one side has ended waits no longer than others."""
        self.begin(idle_timeout=8.0)
        self.relay.elapse(5.0)
        self.client.end()
        self.relay.elapse(10.0)
        self.assertTrue(self.connection.aborted)
        self.check_nothing_left()


class ProxyHeaderTests(PairTestCase):
    """What a backend is told of the client."""

    def test_first(self) -> None:
        """The header comes first, before what the client has sent early, once."""
        for name, version in (("v1", 1), ("v2", 2)):
            self.waiting(proxy_protocol=name, accept_proxy_protocol=True)
            told = ProxyAddresses(("192.0.2.1", 1234), ("198.51.100.2", 443))
            self.client.send(encode(1, told) + b"early ")
            connection = self.accept()
            self.client.send(b"late")
            self.assertEqual(connection.take(), encode(version, told) + b"early late")
            self.relay.close()

    def test_at_once(self) -> None:
        """It is sent though the client says nothing, as the backend may be the first to speak."""
        for name, version in (("v1", 1), ("v2", 2)):
            self.begin(clients=0, proxy_protocol=name)
            self.client = self.relay.client(None)
            self.relay.reactor.settle()
            expected = encode(version, ProxyAddresses(None, None))
            self.assertEqual(self.connection.take(), expected)
            self.connection.send(b"hello")
            self.assertEqual(self.client.take(), b"hello")
            self.relay.close()

    def test_ended(self) -> None:
        """It is sent before an end of input, too."""
        self.begin(clients=0, proxy_protocol="v1")
        self.relay.backends[0].accepting = False
        self.client = self.relay.client(None)
        self.client.end()
        connection = self.accept()
        self.assertEqual(connection.take(), b"PROXY UNKNOWN\r\n")
        self.assertTrue(connection.output_ended)

    def test_cannot_be_made(self) -> None:
        """Should there be none for a client, both connections are closed, and no pair is left."""
        client = self.waiting(proxy_protocol="v1")  # no address of TCP goes with its UNIX socket
        connection = self.accept()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(connection.received, b"")
        self.assertTrue(connection.aborted)
        backend = self.relay.backends[0]
        self.assertEqual((backend.traffic.owned, backend.counts.active), (0, 0))
        self.assertTrue(client.closed)
        self.check_nothing_left()

    def test_none(self) -> None:
        """Unless asked for there is none, also for clients that send one."""
        self.begin(accept_proxy_protocol=True)
        told = ProxyAddresses(("192.0.2.1", 1234), ("198.51.100.2", 443))
        self.client.send(encode(2, told) + b"hello")
        self.assertEqual(self.connection.take(), b"hello")
