"""The same scenarios on Twisted's plain transports and on the eager ones, with equal outcome."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Factory
from twisted.trial.unittest import TestCase

from fastcar_tw.transport.facade import EagerReactor

from .harness import HalfCloseRecorder, PullProducer, PushProducer, Recorder

MUCH = bytes(range(256)) * 16384  # 4 MiB


class Once(ClientFactory):
    """Builds the one protocol it was given."""

    noisy = False

    def __init__(self, protocol: Recorder) -> None:
        self.instance = protocol

    def buildProtocol(self, addr: IAddress | None) -> Recorder:
        return self.instance


class Scenarios:
    """Scenarios with the transport under test on the near side; a mixin for TestCase."""

    timeout = 20

    def reactor(self) -> Any:
        """Return the reactor that makes the near side's transport."""
        raise NotImplementedError

    def listen(self, reactor: Any, factory: Factory) -> Any:
        """Return a listening port."""
        raise NotImplementedError

    def dial(self, reactor: Any, port: Any, factory: Factory) -> None:
        """Connect to the port."""
        raise NotImplementedError

    async def open(self, near: Recorder | None = None, far: Recorder | None = None) -> None:
        """Connect the near side, whose transport is under test, with a plain far side."""
        self.near, self.far = near or Recorder(), far or Recorder()
        await self.connect_sides()
        await self.near.when(lambda: "made" in self.near.events)
        await self.far.when(lambda: "made" in self.far.events)
        self.transport: Any = self.near.transport
        self.there: Any = self.far.transport

    async def connect_sides(self) -> None:
        """Make the near side the accepting one."""
        port = self.listen(self.reactor(), Once(self.near))
        self.addCleanup(port.stopListening)  # type: ignore[attr-defined]
        self.dial(reactor, port, Once(self.far))

    async def close(self) -> None:
        """End what a scenario left open."""
        for side in (self.near, self.far):
            if side.reason is None:
                side.transport.abortConnection()  # type: ignore[union-attr]
        await self.near.ends()
        await self.far.ends()

    def ended(self, side: Recorder, reason: type[Exception]) -> None:
        """Assert for what reason a side lost its connection."""
        assert side.reason is not None
        side.reason.trap(reason)

    async def test_exchange(self: Any) -> None:
        """Bytes go both ways, in order."""
        await self.open()
        self.transport.write(b"a")
        self.transport.writeSequence([b"b", b"c"])
        self.there.write(b"xyz")
        await self.far.gets(3)
        await self.near.gets(3)
        self.assertEqual((self.far.received, self.near.received), (b"abc", b"xyz"))
        await self.close()

    async def test_much(self: Any) -> None:
        """A write far beyond the buffers arrives whole, also when loseConnection follows it."""
        await self.open()
        self.transport.write(MUCH)
        self.transport.write(b"end")
        self.transport.loseConnection()
        await self.near.ends()
        await self.far.ends()
        self.assertEqual(self.far.received, MUCH + b"end")
        self.ended(self.near, ConnectionDone)
        self.ended(self.far, ConnectionDone)
        self.assertEqual(self.near.events, ["made", "lost"])

    async def test_write_after_lose(self: Any) -> None:
        """A write after loseConnection is still sent while the connection stands."""
        await self.open()
        self.transport.loseConnection()
        self.transport.write(b"late")
        await self.far.ends()
        self.assertEqual(self.far.received, b"late")
        await self.near.ends()

    async def test_lose_is_not_synchronous(self: Any) -> None:
        """connectionLost never comes from inside loseConnection or abortConnection."""
        for end in ("loseConnection", "abortConnection"):
            await self.open()
            getattr(self.transport, end)()
            self.assertIsNone(self.near.reason)
            await self.near.ends()
            await self.far.ends()

    async def test_abort(self: Any) -> None:
        """An abort drops what is buffered, and this side sees ConnectionAborted."""
        await self.open()
        self.there.pauseProducing()
        self.transport.write(MUCH * 4)
        self.transport.abortConnection()
        self.transport.write(b"late")
        await self.near.ends()
        self.ended(self.near, ConnectionAborted)
        self.there.resumeProducing()
        await self.far.ends()
        self.assertTrue(len(self.far.received) < len(MUCH) * 4)

    async def test_far_end_closes(self: Any) -> None:
        """The peer's close is a clean end, after its last bytes."""
        await self.open()
        self.there.write(b"bye")
        self.there.loseConnection()
        await self.near.ends()
        self.assertEqual(self.near.received, b"bye")
        self.ended(self.near, ConnectionDone)
        await self.far.ends()

    async def test_far_end_gone(self: Any) -> None:
        """A peer that goes with our data unsent loses the connection; nothing is raised."""
        await self.open()
        self.there.pauseProducing()
        self.transport.pauseProducing()
        self.transport.write(MUCH * 4)
        self.there.abortConnection()
        await self.near.ends()
        self.ended(self.near, ConnectionLost)
        self.transport.write(b"late")
        self.transport.loseConnection()
        await self.far.ends()
        self.assertEqual(self.near.events, ["made", "lost"])

    async def test_half_close(self: Any) -> None:
        """loseWriteConnection flushes and ends one direction; the other goes on."""
        await self.open(HalfCloseRecorder(), HalfCloseRecorder())
        self.transport.write(MUCH)
        self.transport.loseWriteConnection()
        await self.far.when(lambda: "read lost" in self.far.events)
        self.assertEqual(self.far.received, MUCH)
        await self.near.when(lambda: "write lost" in self.near.events)
        self.transport.write(b"dropped")
        self.there.write(b"answer")
        await self.near.gets(6)
        self.there.loseConnection()
        await self.near.when(lambda: "read lost" in self.near.events)
        self.transport.loseConnection()
        await self.near.ends()
        await self.far.ends()
        self.assertEqual(self.far.received, MUCH)
        self.assertEqual(self.near.events, ["made", "write lost", "data", "read lost", "lost"])

    async def test_far_end_half_closes(self: Any) -> None:
        """After the peer's half-close we can still send, if the protocol takes half-closes."""
        await self.open(HalfCloseRecorder(), HalfCloseRecorder())
        self.there.write(b"question")
        self.there.loseWriteConnection()
        await self.near.when(lambda: "read lost" in self.near.events)
        self.transport.write(MUCH)
        self.transport.loseConnection()
        await self.near.ends()
        await self.far.when(lambda: "read lost" in self.far.events)
        self.assertEqual((self.near.received, self.far.received), (b"question", MUCH))
        await self.close()

    async def test_pause(self: Any) -> None:
        """A paused transport delivers nothing until it is resumed, and then everything."""

        class Pausing(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.pauseProducing()  # type: ignore[union-attr]
                super().dataReceived(data)

        await self.open(Pausing())
        self.there.write(MUCH)
        await self.near.gets(1)
        while len(self.near.received) < len(MUCH):
            before = len(self.near.received)
            self.transport.resumeProducing()
            await self.near.gets(before + 1)
        self.assertEqual(self.near.received, MUCH)
        await self.close()

    async def test_push_producer(self: Any) -> None:
        """A push producer is paused while the peer does not read, then resumed, once each."""
        await self.open()
        producer = PushProducer()
        self.there.pauseProducing()
        self.transport.registerProducer(producer, True)
        self.transport.write(MUCH * 4)
        self.assertEqual(producer.asked, ["pause"])
        self.there.resumeProducing()
        await self.far.gets(len(MUCH) * 4)
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        await self.far.ends()
        await self.near.ends()
        self.assertEqual(producer.asked, ["pause", "resume"])

    async def test_pull_producer(self: Any) -> None:
        """A pull producer is served to its end, also after loseConnection."""
        await self.open()
        pieces = [b"%d," % number for number in range(500)]
        expected = b"".join(pieces)
        self.transport.registerProducer(PullProducer(self.transport, pieces), False)
        self.transport.loseConnection()
        await self.far.ends()
        self.assertEqual(self.far.received, expected)
        await self.near.ends()

    async def test_producer_on_a_lost_connection(self: Any) -> None:
        """A lost connection stops its producer, and any that comes later."""
        await self.open()
        first, second = PushProducer(), PushProducer()
        self.transport.registerProducer(first, True)
        self.there.loseConnection()
        await self.near.ends()
        self.transport.registerProducer(second, True)
        self.assertEqual((first.asked, second.asked), (["stop"], ["stop"]))
        await self.far.ends()

    async def test_exception_in_data_received(self: Any) -> None:
        """An exception in dataReceived is logged and loses the connection with that reason."""

        class Raising(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        await self.open(Raising())
        self.there.write(b"x")
        await self.near.ends()
        self.ended(self.near, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        await self.far.ends()

    async def test_lose_in_data_received(self: Any) -> None:
        """An answer followed by loseConnection inside dataReceived arrives, then the end."""

        class OneShot(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.write(b"answer")  # type: ignore[union-attr]
                self.transport.loseConnection()  # type: ignore[union-attr]

        await self.open(OneShot())
        self.there.write(b"x")
        await self.far.ends()
        self.assertEqual(self.far.received, b"answer")
        await self.near.ends()
        self.assertEqual(self.near.events, ["made", "data", "lost"])

    async def test_ping_pong(self: Any) -> None:
        """Two protocols that answer each other from dataReceived do not pile up the stack."""

        class Answering(Recorder):
            def dataReceived(self, data: bytes) -> None:
                if len(self.received) < 3000:
                    self.transport.write(data)  # type: ignore[union-attr]
                super().dataReceived(data)

        await self.open(Answering(), Answering())
        self.transport.write(b"x")
        await self.near.gets(3000)
        await self.close()

    async def test_refused_types(self: Any) -> None:
        """Text is a TypeError."""
        await self.open()
        self.assertRaises(TypeError, self.transport.write, "text")
        self.assertRaises(TypeError, self.transport.writeSequence, ["text"])
        await self.close()


class OnUNIX(Scenarios):
    """Scenarios over UNIX sockets."""

    def listen(self: Any, reactor: Any, factory: Factory) -> Any:
        directory = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, directory)
        return reactor.listenUNIX(os.path.join(directory, "s"), factory)

    def dial(self, reactor: Any, port: Any, factory: Factory) -> None:
        reactor.connectUNIX(port.getHost().name, factory)


class OnTCP(Scenarios):
    """Scenarios over TCP, the near side accepting."""

    def listen(self, reactor: Any, factory: Factory) -> Any:
        return reactor.listenTCP(0, factory, interface="127.0.0.1")

    def dial(self, reactor: Any, port: Any, factory: Factory) -> None:
        reactor.connectTCP("127.0.0.1", port.getHost().port, factory)


class Connecting(Scenarios):
    """The near side is the connecting one."""

    async def connect_sides(self) -> None:
        port = self.listen(reactor, Once(self.far))
        self.addCleanup(port.stopListening)  # type: ignore[attr-defined]
        self.dial(self.reactor(), port, Once(self.near))


class OnUNIXClient(Connecting, OnUNIX):
    """Scenarios over UNIX sockets, the near side connecting."""


class OnTCPClient(Connecting, OnTCP):
    """Scenarios over TCP, the near side connecting."""


class Plain:
    """Twisted's own transports."""

    def reactor(self) -> Any:
        return reactor


class Eager:
    """The eager transports."""

    def reactor(self) -> Any:
        return EagerReactor(reactor)


class PlainUNIXTests(Plain, OnUNIX, TestCase):
    """Plain, UNIX, accepting."""


class EagerUNIXTests(Eager, OnUNIX, TestCase):
    """Eager, UNIX, accepting."""


class PlainTCPTests(Plain, OnTCP, TestCase):
    """Plain, TCP, accepting."""


class EagerTCPTests(Eager, OnTCP, TestCase):
    """Eager, TCP, accepting."""


class PlainTCPClientTests(Plain, OnTCPClient, TestCase):
    """Plain, TCP, connecting."""


class EagerTCPClientTests(Eager, OnTCPClient, TestCase):
    """Eager, TCP, connecting."""


class PlainUNIXClientTests(Plain, OnUNIXClient, TestCase):
    """Plain, UNIX, connecting."""


class EagerUNIXClientTests(Eager, OnUNIXClient, TestCase):
    """Eager, UNIX, connecting."""
