"""Thousands of openings that mean no good, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from twisted.logger import LogLevel, capturedLogs, formatEvent

from fastcar_tw.testing import Peer
from fastcar_tw.tls.machine import TLSMachine
from tests.forward.support import OK, POST
from tests.tls.support import careless_context, client_hello

from .support import OpeningsTestCase, connect, named, socks5
from .test_front import OPENINGS

COUNT = 10_000
#: How many are there at a time.
AT_ONCE = 100
#: Chosen more often than chance would.
TELLING = b"\x00\x01\x02\x03\x04\x05\x16\x17\xff\r\n :/.[]%@CGHPST"

#: All that fastcar may say when it was asked for nothing that can be served: errors of HTTP (none
#: of its own), refusals of SOCKS5, alerts and handshakes of TLS, behind what grants a tunnel.
ANSWER = re.compile(
    rb"(?:HTTP/1\.1 200 Connection established\r\n\r\n"
    rb"|\x05\x00(?:\x05\x00\x00\x01\x00{6})?)?"
    rb"(?:HTTP/1\.1 200 OK\r\n.*"
    rb"|HTTP/1\.1 (?:400|403|404|405|408|414|431|501|502|503|504|505) .*"
    rb"|\x05\xff|\x05[\x01-\x08]\x00\x01\x00{6}"
    rb"|\x00\x5b\x00{6}"
    rb"|[\x15\x16]\x03.*"
    rb")?",
    re.DOTALL,
)


def valid() -> list[bytes]:
    """Openings that are in order, and the beginnings of handshakes."""
    hello = TLSMachine.client(careless_context(), "a.test").start()
    old = client_hello(b"a.test")
    return [
        *(sent for sent, *_ in OPENINGS.values()),
        POST,
        hello,
        old,
        connect(b"a.test:443") + hello,
        socks5("a.test", 443) + old,
        connect(b"a.test:22") + b"anything",
        socks5("a.test", 22) + b"anything",
        socks5() + connect(),
        b"\x05\x03\x00\x01\x02" + named(b"a.test"),
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x00a.test\x00",
        b"GET http://fastcar.localhost/ HTTP/1.1\r\nHost: fastcar.localhost\r\n\r\n",
        connect(b"fastcar.localhost:80") + b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
    ]


def random_openings(random: Random) -> Iterator[bytes]:
    """Without end: random bytes, and valid openings cut short, changed, or put together."""
    openings = valid()
    while True:
        kind = random.randrange(6)
        data = bytearray(random.choice(openings))
        if kind == 0:
            data = bytearray(random.randbytes(random.randrange(1, 300)))
            if random.random() < 0.7:
                data[0] = random.choice(TELLING)
        elif kind == 1:
            del data[random.randrange(1, len(data)) :]
        elif kind == 2:
            data += random.choice(openings)[random.randrange(8) :]
        else:
            for _ in range(random.choice((1, 1, 2, 5, 20))):
                _change(random, data)
        yield bytes(data or b"\x05")


def _change(random: Random, data: bytearray) -> None:
    """Change, insert, remove or repeat something."""
    at = random.randrange(len(data) + 1)
    byte = random.choice(TELLING) if random.random() < 0.5 else random.randrange(256)
    kind = random.randrange(4)
    if kind == 0 and at < len(data):
        data[at] = byte
    elif kind == 1:
        data.insert(at, byte)
    elif kind == 2:
        del data[at : at + random.choice((1, 1, 2, 10))]
    else:
        data[at:at] = data[at : at + random.randrange(20)]


class FuzzTests(OpeningsTestCase):
    """Whatever a client says, it gets an error of its protocol or its connection ends, no bug
    shows, and nobody else suffers."""

    def setUp(self) -> None:
        """Have short deadlines, and take note of every bug."""
        self.start(
            client_timeout=0.5,
            response_timeout=0.5,
            keepalive_timeout=0.5,
            stall_timeout=0.5,
            tunnel=("22",),
        )
        captured = capturedLogs()
        self.events = captured.__enter__()
        self.seen = 0
        self.addCleanup(captured.__exit__, None, None, None)

    def bugs(self) -> list[str]:
        """What was logged since the last time that is worse than a warning."""
        new = self.events[self.seen :]
        self.seen = len(self.events)
        return [formatEvent(event) for event in new if event["log_level"] >= LogLevel.error]

    def open(self, random: Random, data: bytes) -> Peer:
        """Have a client say this, in one piece or in more, and perhaps end or go."""
        client = self.proxy.client(secure=random.random() < 0.2)
        if random.random() < 0.3:
            at = random.randrange(len(data))
            client.unsent = data[:at]
            client.carry()
            client.unsent += data[at:]
        else:
            client.unsent = data
        return client

    def test_random(self) -> None:
        """Ten thousand openings; the same each time, but for the random numbers of TLS."""
        random = Random(4)
        openings = random_openings(random)
        served = self.proxy.client()
        for _ in range(COUNT // AT_ONCE):
            said = [next(openings) for _ in range(AT_ONCE)]
            clients = [self.open(random, data) for data in said]
            self.proxy.reactor.settle()
            for client in clients:
                if random.random() < 0.3:
                    client.end()
                elif random.random() < 0.1:
                    client.close()
            for origin in self.proxy.origins:
                if random.random() < 0.5 and not origin.closed:
                    origin.send(OK)
            self.alive_beside(served)
            self.proxy.elapse(3.5)
            for client, data in zip(clients, said, strict=True):
                self.assertTrue(client.ended or client not in self.proxy.reactor.peers, data)
                self.assertTrue(ANSWER.fullmatch(client.received), (data, client.received))
                client.close()
            self.assertEqual(self.bugs(), [], said)
            self.forget_origins()
            served = self.proxy.client()
            self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def alive_beside(self, client: Peer) -> None:
        """Another client is served meanwhile."""
        before = set(self.proxy.origins)
        client.send(b"GET / HTTP/1.1\r\nHost: beside.test\r\nConnection: close\r\n\r\n")
        [origin] = [peer for peer in self.proxy.origins if b"beside.test" in peer.received]
        self.assertTrue(origin not in before or not origin.closed)
        origin.send(OK)
        self.assertTrue(client.take().endswith(b"\r\n\r\nhi"))
        self.assertTrue(client.closed)

    def forget_origins(self) -> None:
        """All origins close."""
        for origin in self.proxy.origins:
            origin.close()
        self.proxy.origins.clear()
        self.proxy.connects.clear()

    def test_truncated(self) -> None:
        """Every opening that is in order, cut anywhere, whereupon the client ends or waits."""
        for data in valid():
            sizes = range(1, len(data), 1 if len(data) < 200 else 11)
            clients = [self.open(Random(0), data[:size]) for size in sizes for _ in "ab"]
            self.proxy.reactor.settle()
            for client in clients[::2]:
                client.end()
            self.proxy.elapse(3.5)
            for client in clients:
                self.assertTrue(client.ended, data)
                self.assertTrue(ANSWER.fullmatch(client.received), client.received)
                client.close()
            self.forget_origins()
        self.assertEqual(self.bugs(), [])

    def test_oversized(self) -> None:
        """Openings that never end are ended."""
        for data in (
            b"\x05\xff" + bytes(range(1, 256)) * 1000,
            b"\x05\x01\x00\x05\x01\x00\x03\xff" + b"a" * 200_000,
            b"\x05" * 200_000,
            b"\x16" * 200_000,
            b"\x16\x03\x01\xff\xff" + bytes(200_000),
            b"\x04" * 200_000,
            b"\x00" * 200_000,
            b"CONNECT " + b"a" * 200_000,
            b"CONNECT a.test:80 HTTP/1.1\r\nA: " + b"a" * 200_000,
            connect() + b"\x16" * 200_000,
            connect() + b"GET /" + b"a" * 200_000,
            socks5() + b"\x05" * 200_000,
            b"\r\n" * 100_000,
        ):
            client = self.proxy.client()
            client.send(data)
            self.assertFalse(client.unsent and not client.ended, data[:20])
            self.proxy.elapse(3)
            self.assertTrue(client.ended, data[:20])
            self.assertTrue(ANSWER.fullmatch(client.received), client.received)
        self.assertEqual(self.bugs(), [])
        self.assertEqual(self.proxy.connects, [])
