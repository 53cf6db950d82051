"""Two connections that become one, without any."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet import error
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.deadlines import NEVER
from fastcar_tw.tunnel import Tunnel
from fastcar_tw.wire import read_in_bulk

GONE = Failure(error.ConnectionLost())


class FakeWire:
    """
    Records what a protocol does with it.

    @ivar did: that.
    @ivar unsent: bytes that wait, as the test says.
    @ivar bytes_sent: so.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        self.did: list[str] = []
        self.written = b""
        self.protocol: Any = None
        self.unsent = self.bytes_sent = 0
        self._socket, self.far = socket.socketpair()
        case.addCleanup(self._socket.close)
        case.addCleanup(self.far.close)

    def write(self, data: bytes) -> None:
        """Keep."""
        self.written += data

    def getHandle(self) -> Any:
        """A socket, whose other end is C{far}."""
        return self._socket

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Record."""
        assert streaming
        self.did.append("register")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda: self.did.append(name)


class FakeKeeper:
    """
    Whom a tunnel tells that it is there.

    @ivar now: seconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.stalls = 0
        self.watched: set[object] = set()
        self.watch = self.watched.add
        self.unwatch = self.watched.discard

    def stall_deadline(self) -> float:
        """A minute from now."""
        return self.now + 60

    def stalled(self, what: str, started: float) -> None:
        """Count."""
        assert (what, started) == ("tunnel", 0)
        self.stalls += 1


class TunnelTests(SynchronousTestCase):
    """Both ends, connected unless a test begins anew."""

    def setUp(self) -> None:
        """Connect both."""
        self.keeper = FakeKeeper()
        self.tunnel = Tunnel(self.keeper, "tunnel", 0)
        self.assertEqual(self.tunnel.deadline, NEVER)
        self.client, self.origin = FakeWire(self), FakeWire(self)
        self.tunnel.start()
        for wire, end in ((self.client, self.tunnel.client), (self.origin, self.tunnel.origin)):
            end.makeConnection(wire)
            self.assertIs(wire.protocol, end)
            self.assertEqual(wire.did, ["register"])
            wire.did.clear()

    def test_relayed(self) -> None:
        """What arrives at one end is written to the other."""
        self.tunnel.client.dataReceived(b"there")
        self.tunnel.origin.dataReceived(b"back")
        self.assertEqual((self.origin.written, self.client.written), (b"there", b"back"))

    def test_received(self) -> None:
        """Each end counts what has come from it, and still knows when its connection has ended."""
        self.assertEqual((self.tunnel.client.received, self.tunnel.origin.received), (0, 0))
        self.tunnel.client.dataReceived(b"there")
        self.tunnel.client.dataReceived(b"!")
        self.tunnel.origin.dataReceived(b"back")
        for end in (self.tunnel.client, self.tunnel.origin):
            end.connectionLost(GONE)
        self.assertEqual((self.tunnel.client.received, self.tunnel.origin.received), (6, 4))

    def test_broke_off(self) -> None:
        """An end has broken off if it is lost though neither side has said that it would be."""
        for name, other in (("client", "origin"), ("origin", "client")):
            self.setUp()
            end = getattr(self.tunnel, name)
            self.assertFalse(end.broke_off)
            end.connectionLost(GONE)
            self.assertTrue(end.broke_off)
            # That one was ended for its sake.
            end = getattr(self.tunnel, other)
            end.connectionLost(GONE)
            self.assertFalse(end.broke_off)
            for act in ("readConnectionLost", "close", "abort"):
                self.setUp()
                end = getattr(self.tunnel, name)
                getattr(end, act)()
                end.connectionLost(GONE)
                self.assertFalse(end.broke_off)

    def test_bulk(self) -> None:
        """Both wires are read in large pieces, unless one of them cannot be: there is TLS on it."""
        self.assertIs(self.client.bulk, True)
        self.assertIs(self.origin.bulk, True)

        class Wire:
            bulk = False

        one: Any = Wire()
        read_in_bulk(one, cast(Any, object()))
        read_in_bulk(cast(Any, object()), one)
        self.assertFalse(one.bulk)

    def test_deadline(self) -> None:
        """Each byte that arrives moves the deadline."""
        self.assertEqual(self.tunnel.deadline, 60)
        for at, end in ((10, self.tunnel.client), (20, self.tunnel.origin)):
            self.keeper.now = at
            end.dataReceived(b"x")
            self.assertEqual(self.tunnel.deadline, at + 60)

    def test_stalled(self) -> None:
        """When it has passed the tunnel is broken off, which is told once."""
        self.keeper.now = 60
        self.tunnel.expired()
        for wire in (self.client, self.origin):
            self.assertEqual(wire.did, ["unregisterProducer", "abortConnection"])
        self.tunnel.expired()
        self.assertEqual(self.keeper.stalls, 1)

    def test_waiting_bytes(self) -> None:
        """Bytes that leave slowly are no stall; bytes that do not leave are one, and so is their
        having left some time before."""
        self.origin.unsent = 100
        for sent in (10, 20):
            self.origin.bytes_sent = sent
            self.keeper.now += 60
            self.tunnel.expired()
            self.assertEqual(self.tunnel.deadline, self.keeper.now + 60)
            self.assertEqual(self.origin.did, [])
        self.tunnel.expired()
        self.assertEqual(self.keeper.stalls, 1)

    def test_sent_before(self) -> None:
        """Where nothing waits it does not matter how much has been sent."""
        self.origin.bytes_sent = 10
        self.tunnel.expired()
        self.assertEqual(self.keeper.stalls, 1)

    def test_stalled_while_closing(self) -> None:
        """A tunnel that takes too long to close is broken off without a word."""
        self.tunnel.client.readConnectionLost()
        self.tunnel.origin.readConnectionLost()
        self.origin.did.clear()
        self.tunnel.expired()
        self.assertEqual(self.keeper.stalls, 0)
        self.assertIn("abortConnection", self.origin.did)

    def test_half_close(self) -> None:
        """An end of input is passed on; two close both connections."""
        for names in (("client", "origin"), ("origin", "client")):
            self.setUp()
            first, second = (getattr(self.tunnel, name) for name in names)
            wires = [getattr(self, name) for name in names]
            first.readConnectionLost()
            first.readConnectionLost()
            self.assertEqual([wire.did for wire in wires], [[], ["loseWriteConnection"]])
            second.readConnectionLost()
            closed = ["loseWriteConnection", "unregisterProducer", "loseConnection"]
            self.assertEqual([wire.did for wire in wires], [closed, closed])

    def test_client_gone(self) -> None:
        """An end of input of a client that has gone is no half-close: nobody takes an answer."""
        self.client.far.close()
        self.tunnel.client.readConnectionLost()
        self.assertEqual(self.client.did, ["unregisterProducer", "abortConnection"])
        self.tunnel.client.connectionLost(GONE)
        self.assertEqual(self.origin.did, ["unregisterProducer", "loseConnection"])

    def test_client_that_ends_last(self) -> None:
        """Behind our own end, its end looks as if it had gone: it is closed in peace."""
        self.tunnel.origin.readConnectionLost()
        self.client.far.close()
        self.tunnel.client.readConnectionLost()
        self.assertNotIn("abortConnection", self.client.did)
        self.assertIn("loseConnection", self.client.did)

    def test_end_gone(self) -> None:
        """An end whose connection is lost takes the other with it: in peace if it had ended before,
        else what it has sent must not look complete."""
        for names in (("client", "origin"), ("origin", "client")):
            self.setUp()
            first, wire = getattr(self.tunnel, names[0]), getattr(self, names[1])
            first.connectionLost(GONE)
            self.assertEqual(wire.did, ["unregisterProducer", "abortConnection"])
            self.setUp()
            first, wire = getattr(self.tunnel, names[0]), getattr(self, names[1])
            first.readConnectionLost()
            first.connectionLost(GONE)
            self.assertEqual(
                wire.did, ["loseWriteConnection", "unregisterProducer", "loseConnection"]
            )

    def test_watched(self) -> None:
        """It is watched until both connections are lost."""
        for names in (("client", "origin"), ("origin", "client")):
            self.setUp()
            first, second = (getattr(self.tunnel, name) for name in names)
            self.assertEqual(self.keeper.watched, {self.tunnel})
            first.connectionLost(GONE)
            self.assertEqual(self.keeper.watched, {self.tunnel})
            second.connectionLost(GONE)
            self.assertEqual(self.keeper.watched, set())

    def test_on_lost(self) -> None:
        """Who has handed its connection over is told of its end, once."""
        told: list[Failure] = []
        self.tunnel.origin.on_lost = told.append
        self.tunnel.origin.connectionLost(GONE)
        self.tunnel.origin.connectionLost(GONE)
        self.assertEqual(told, [GONE])

    def test_back_pressure(self) -> None:
        """An end that is full stops the other from being read, until it is not."""
        ends = self.tunnel.client, self.tunnel.origin
        for end, wire in zip(ends, (self.origin, self.client), strict=True):
            end.pauseProducing()
            end.resumeProducing()
            self.assertEqual(wire.did, ["pauseProducing", "resumeProducing"])
            end.stopProducing()

    def test_no_reading_behind_the_end(self) -> None:
        """What has ended is not read again."""
        self.tunnel.client.readConnectionLost()
        self.tunnel.origin.resumeProducing()
        self.assertEqual(self.client.did, [])

    def test_lost_wires(self) -> None:
        """An end without a connection takes everything and does nothing."""
        for end in (self.tunnel.client, self.tunnel.origin):
            end.connectionLost(GONE)
        for wire in (self.client, self.origin):
            wire.did.clear()
        for end in (self.tunnel.client, self.tunnel.origin):
            end.dataReceived(b"x")
            end.readConnectionLost()
            end.writeConnectionLost()
            end.pauseProducing()
            end.resumeProducing()
        self.tunnel.abort()
        self.assertEqual((self.client.did, self.origin.did), ([], []))
        self.assertEqual((self.client.written, self.origin.written), (b"", b""))
        self.assertEqual((self.tunnel.client.sent(), self.tunnel.client.waiting()), (0, 0))

    def test_drain(self) -> None:
        """Only the ends know when they are done; abort ends both."""
        self.tunnel.drain()
        self.assertEqual((self.client.did, self.origin.did), ([], []))
        self.tunnel.abort()
        for wire in (self.client, self.origin):
            self.assertEqual(wire.did, ["unregisterProducer", "abortConnection"])
