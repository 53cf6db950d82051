"""What may come before a client's own bytes."""

from __future__ import annotations

import os
from functools import partial

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from fastcar_tw.relay.front import ProxyHeaderStage, RelayTLSLayer
from fastcar_tw.relay.pair import PairClient
from fastcar_tw.relay.pooled import PooledClient
from fastcar_tw.relay.proxy_protocol import ProxyAddresses, encode
from fastcar_tw.tls.machine import TLSMachine
from tests.tls.support import careless_context

from .support import CLIENT, VISITOR, End, MemoryRelay, logged
from .test_pair import PairTestCase

TOLD = ProxyAddresses(("192.0.2.1", 1234), ("198.51.100.2", 443))
#: How the log calls a client that has told that.
TELLER = "client 192.0.2.1:1234"
HEADERS = (encode(1, TOLD), encode(2, TOLD))


def arrive(relay: MemoryRelay) -> End:
    """A client that has not begun to speak TLS."""
    where = IPv4Address("TCP", *CLIENT)
    return End(relay.reactor, relay.factory.buildProtocol(where))


def start_tls(client: End, before: bytes = b"") -> None:
    """Now it does."""
    client.machine = machine = TLSMachine.client(careless_context(), "a.test")
    client.send_raw(before + machine.start())


class ProxyHeaderTests(PairTestCase):
    """Clients that have to say first whom they speak for."""

    def setUp(self) -> None:
        self.begin(accept_proxy_protocol=True, client_timeout=8.0)

    def again(self) -> End:
        """Another client."""
        self.client = self.relay.client()
        return self.client

    def test_whole(self) -> None:
        """What comes behind the header is the client's, in the same piece or later; the header
        goes no further."""
        for header in HEADERS:
            client = self.again()
            client.send(header + b"one ")
            client.send(b"two")
            self.assertEqual(self.connection.take(), b"one two")

    def test_alone(self) -> None:
        """The header alone is enough to be connected: the backend may be the first to speak."""
        for header in HEADERS:
            client = self.again()
            client.send(header)
            self.connection.send(b"220 ready\r\n")
            self.assertEqual(client.take(), b"220 ready\r\n")

    def test_split(self) -> None:
        """It may come byte by byte, and until it is whole nobody is asked for a connection."""
        for header in HEADERS:
            client = self.again()
            before = len(self.relay.connections)
            for at in range(len(header) - 1):
                client.send(header[at : at + 1])
            self.assertEqual(len(self.relay.connections), before)
            client.send(header[-1:] + b"one")
            self.assertEqual(self.connection.take(), b"one")

    def test_named(self) -> None:
        """From then on the client is called by the address that it has told."""
        for header in HEADERS:
            self.relay.backends[0].accepting = False
            client = self.again()
            client.send(header)
            [line] = logged(self.relay.backends[0].attempts[-1].refuse)
            self.assertTrue(line.startswith(f"{TELLER}: "), line)
            self.assertTrue(client.aborted)

    def test_missing(self) -> None:
        """A client that begins with something else is ended at once; the log names it by its own
        address."""
        wrong = b"PROXY TCP4 nonsense\r\n"
        for data in (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", wrong, b"\r\n\r\nx"):
            client = self.again()
            [line] = logged(partial(client.send, data))
            self.assertTrue(
                line.startswith(f"{VISITOR}: expected a PROXY header, version 1 or 2"), line
            )
            self.assertTrue(line.endswith("; closed"), line)
            self.assertTrue(client.aborted)
        self.assertEqual(self.relay.connections, [])
        # The one that was there from the beginning has said nothing.
        self.assertEqual(len(self.relay.relay.clients), 1)

    def test_too_slow(self) -> None:
        """A client that has not sent it in time is ended, which is logged."""
        self.client.send(HEADERS[0][:10])
        self.assertEqual(logged(lambda: self.relay.elapse(7.5)), [])
        self.assertFalse(self.client.closed)
        lines = logged(lambda: self.relay.elapse(1.75))
        self.assertEqual(lines, [f"{VISITOR}: sent no whole PROXY header in time; closed"])
        self.assertTrue(self.client.aborted)
        self.check_nothing_left()

    def test_time_is_over(self) -> None:
        """Behind the header that time does not count any more."""
        self.client.send(HEADERS[0])
        self.relay.elapse(20.0)
        self.assertFalse(self.client.closed)

    def test_leaves(self) -> None:
        """A client that leaves instead is not told of."""
        clients = self.client, self.again(), self.again()
        clients[0].send(HEADERS[0][:5])
        for leave in (clients[0].close, clients[1].reset, clients[2].end):
            self.assertEqual(logged(leave), [])
        self.assertEqual(self.relay.relay.clients, set())
        self.assertEqual(self.relay.connections, [])

    def test_ended(self) -> None:
        """An end of input behind it is passed on."""
        self.client.send(HEADERS[0] + b"all")
        self.client.end()
        self.assertEqual(self.connection.take(), b"all")
        self.assertTrue(self.connection.output_ended)
        self.assertFalse(self.client.closed)

    def test_stopping(self) -> None:
        """Nobody who has not yet said it is waited for at the end."""
        self.successResultOf(self.relay.drain())
        self.assertTrue(self.client.aborted)

    def test_pooled(self) -> None:
        """Requests behind it are answered."""
        self.begin(pool=1, accept_proxy_protocol=True)
        for header in HEADERS:
            client = self.again()
            client.send(header + b"ask\n")
            self.assertEqual(self.connection.take(), b"ask\n")
            self.connection.send(b"told\n")
            self.assertEqual(client.take(), b"told\n")

    def test_tls(self) -> None:
        """It comes before TLS, not inside of it: a client that begins with TLS is ended."""
        for header in HEADERS:
            self.begin(clients=0, tls=True, accept_proxy_protocol=True, proxy_protocol="v1")
            client = arrive(self.relay)
            client.send(header)
            self.assertEqual(self.relay.connections, [])
            start_tls(client)
            client.send(b"inside")
            self.assertEqual(self.connection.take(), encode(1, TOLD) + b"inside")
            client = arrive(self.relay)
            lines = logged(partial(start_tls, client))
            self.assertEqual(len(lines), 1)
            self.assertTrue(client.aborted)
            self.relay.close()

    def test_tls_at_once(self) -> None:
        """The handshake may begin in the same piece."""
        self.begin(clients=0, tls=True, accept_proxy_protocol=True)
        client = arrive(self.relay)
        start_tls(client, HEADERS[1])
        client.send(b"inside")
        self.assertEqual(self.connection.take(), b"inside")


class TLSTests(PairTestCase):
    """Clients that speak TLS."""

    def setUp(self) -> None:
        self.begin(tls=True, client_timeout=8.0)

    def test_inside(self) -> None:
        """What is inside is relayed."""
        self.client.send(b"question")
        self.assertEqual(self.connection.take(), b"question")
        self.connection.send(b"answer")
        self.assertEqual(self.client.take(), b"answer")

    def test_pooled(self) -> None:
        """So are requests."""
        self.begin(tls=True, pool=1)
        self.exchange(b"ask\n", b"told\n")

    def test_no_tls(self) -> None:
        """Who speaks none is ended, which is logged, and no backend is asked."""
        self.begin(tls=True, clients=0)
        client = arrive(self.relay)
        lines = logged(lambda: client.send(b"GET / HTTP/1.1\r\n\r\n"))
        self.assertEqual(lines, [f"{VISITOR}: TLS failed: http request; closed"])
        self.assertTrue(client.closed)
        self.assertEqual(self.relay.connections, [])

    def test_handshake_too_slow(self) -> None:
        """A handshake that takes too long is ended, and no backend asked before it is over."""
        client = arrive(self.relay)
        before = len(self.relay.connections)
        client.send(b"\x16\x03\x01")
        self.relay.elapse(7.5)
        self.assertFalse(client.closed)
        self.relay.elapse(1.75)
        self.assertTrue(client.aborted)
        self.assertEqual(len(self.relay.connections), before)

    def test_time_is_over(self) -> None:
        """Behind the handshake that time does not count any more."""
        self.relay.elapse(20.0)
        self.assertFalse(self.client.closed)


class LimitTests(PairTestCase):
    """How many clients are served."""

    def arrive(self) -> End | None:
        """A client connects; None: it was turned away."""
        protocol = self.relay.factory.buildProtocol(UNIXAddress(None))
        return None if protocol is None else End(self.relay.reactor, protocol)

    def test_turned_away(self) -> None:
        """One client too many is turned away, which is told once."""
        self.begin(max_clients=2)
        self.assertIsNotNone(self.arrive())
        clients: list[End | None] = []
        lines = logged(lambda: clients.extend(self.arrive() for _ in range(3)))
        self.assertEqual(clients, [None] * 3)
        self.assertEqual(lines, ["2 clients, which is --max-clients: more are turned away"])
        stats = self.relay.relay.stats()
        self.assertEqual((stats.clients, stats.accepted, stats.refused), (2, 2, 3))

    def test_room_again(self) -> None:
        """When one has gone the next is served; the next one too many is told of again."""
        self.begin(max_clients=1)
        self.assertEqual(len(logged(self.arrive)), 1)
        self.client.close()
        other = self.arrive()
        assert other is not None
        other.send(b"hello")
        self.assertEqual(self.connection.take(), b"hello")
        self.assertEqual(len(logged(self.arrive)), 1)
        self.assertEqual(logged(self.arrive), [])

    def test_all_count(self) -> None:
        """Whatever state they are in: with no header yet, in a handshake, waiting, paired, or with
        shared connections."""
        for options in (
            {"accept_proxy_protocol": True},
            {"tls": True},
            {},
            {"pool": 1},
            {"pool": 1, "tls": True},
        ):
            self.begin(clients=0, max_clients=1, **options)
            self.relay.backends[0].accepting = False
            self.assertIsNotNone(self.arrive())
            self.assertIsNone(self.arrive())
            self.assertEqual(self.relay.relay.stats().clients, 1)
            self.relay.close()

    def test_gone_while_its_connection_is_there(self) -> None:
        """A client counts until its connection has ended as well."""
        self.begin(max_clients=1)
        self.client.end()
        self.assertIsNone(self.arrive())
        self.connection.end()
        self.assertIsNotNone(self.arrive())


class FactoryTests(PairTestCase):
    """Who speaks first."""

    def test_stages(self) -> None:
        """The header, then TLS, then what the mode asks for; each only where it is asked for."""
        for options, expected in (
            ({}, PairClient),
            ({"pool": 1}, PooledClient),
            ({"tls": True}, RelayTLSLayer),
            ({"tls": True, "accept_proxy_protocol": True}, ProxyHeaderStage),
            ({"pool": 1, "accept_proxy_protocol": True}, ProxyHeaderStage),
        ):
            self.begin(clients=0, **options)
            protocol = self.relay.factory.buildProtocol(None)
            self.assertIs(type(protocol), expected)
            self.relay.close()

    def test_names(self) -> None:
        """The log names a TCP client by address and port, others by where they came in and by
        their process."""
        ours = f"client of memory (pid {os.getpid()})"
        for where, name in (
            (IPv4Address("TCP", "192.0.2.7", 99), "client 192.0.2.7:99"),
            (IPv6Address("TCP", "2001:db8::7", 99), "client [2001:db8::7]:99"),
            (UNIXAddress(None), ours),
            (UNIXAddress("/run/client.sock"), ours),
        ):
            for pool in (None, 1):
                self.begin(clients=0, pool=pool)
                backend = self.relay.backends[0]
                backend.refusing = True
                client = End(self.relay.reactor, self.relay.factory.buildProtocol(where))
                lines = logged(partial(client.send, b"a\n"))
                self.assertEqual(lines, [f"{name}: {backend.backend}: connection refused; closed"])
                self.relay.close()
