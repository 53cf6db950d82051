"""The eager connection over a socket pair, on a reactor stepped by hand."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from twisted.internet import main, ssl, unix
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.testing import MemoryReactor
from fastcar_tw.transport.eager import BULK_READ, MAX_LATE, EagerTCPServer, EagerUNIXServer

from .harness import (
    HalfCloseRecorder,
    PullProducer,
    PushProducer,
    Recorder,
    StepReactor,
    connect,
    drain,
    small_pair,
    tcp_pair,
)

CLOSED = Failure(main.CONNECTION_DONE)
MUCH = bytes(range(256)) * 4096  # 1 MiB, more than any socket buffer here


class EagerTestCase(SynchronousTestCase):
    """Sets up one eager transport and its peer."""

    def setUp(self) -> None:
        self.wire()

    def wire(self, protocol: Recorder | None = None) -> None:
        """Connect a transport, anew if need be."""
        self.reactor, self.transport, self.protocol, self.peer = connect(protocol)
        self.addCleanup(self.peer.close)
        self.addCleanup(self.transport.socket.close)

    def flush(self) -> bytes:
        """Step the reactor until nothing wants to write; return what the peer got."""
        data = drain(self.peer)
        while self.reactor.writers:
            self.reactor.step()
            data += drain(self.peer)
        return data

    def fill(self) -> int:
        """Write one byte at a time until the kernel takes no more; return how many it took."""
        while not self.reactor.writers:
            self.transport.write(b"f" * 64)
        return self.transport.bytes_sent


class WriteTests(EagerTestCase):
    """C{write} and what becomes of the bytes."""

    def test_sends_at_once(self) -> None:
        """A write is on its way when C{write} returns, with nothing asked of the reactor."""
        self.transport.write(b"hello")
        self.assertEqual(self.peer.recv(100), b"hello")
        self.assertEqual(self.transport.bytes_sent, 5)
        self.assertEqual(self.reactor.writers, set())

    def test_partial_send(self) -> None:
        """What the kernel does not take is buffered, and arrives complete and in order."""
        self.transport.write(MUCH)
        self.assertTrue(0 < self.transport.bytes_sent < len(MUCH))
        self.assertEqual(self.reactor.writers, {self.transport})
        self.assertEqual(self.flush(), MUCH)
        self.assertEqual(self.transport.bytes_sent, len(MUCH))

    def test_bytes_sent_counts_what_the_kernel_took(self) -> None:
        """C{bytes_sent} is the number of bytes the peer can read, at every moment."""
        self.transport.write(MUCH)
        arrived = 0
        while self.reactor.writers:
            arrived += len(drain(self.peer))
            self.assertEqual(self.transport.bytes_sent, arrived)
            self.reactor.step()

    def test_full_socket(self) -> None:
        """With the kernel's buffer full a write is buffered and C{bytes_sent} stands still."""
        sent = self.fill()
        self.transport.write(b"the rest")
        self.assertEqual(self.transport.bytes_sent, sent)
        self.assertTrue(self.flush().endswith(b"the rest"))

    def test_would_block_at_once(self) -> None:
        """EAGAIN on the very first attempt buffers the data and raises nothing."""
        with self.assertRaises(BlockingIOError):
            while True:
                self.transport.socket.send(b"f" * 64)
        self.transport.write(b"late")
        self.assertEqual(self.transport.bytes_sent, 0)
        self.assertTrue(self.flush().endswith(b"late"))
        self.assertEqual(self.transport.bytes_sent, 4)

    def test_order_behind_buffered_data(self) -> None:
        """A write never overtakes data that is still buffered."""
        self.transport.write(MUCH)
        got = drain(self.peer)  # there would be room for an eager send now
        self.transport.write(b"tail")
        self.assertEqual(got + self.flush(), MUCH + b"tail")

    def test_eager_again_after_flush(self) -> None:
        """Once the buffer is flushed, writes are sent at once again."""
        self.transport.write(MUCH)
        self.flush()
        self.transport.write(b"again")
        self.assertEqual(self.peer.recv(100), b"again")

    def test_broken_connection(self) -> None:
        """An error in C{send} neither raises nor loses the connection inside C{write}."""
        self.peer.close()
        self.transport.write(b"x")
        self.assertIsNone(self.protocol.reason)
        self.assertEqual(self.transport.bytes_sent, 0)
        self.reactor.step()
        assert self.protocol.reason is not None
        self.protocol.reason.trap(ConnectionLost)

    def test_not_bytes(self) -> None:
        """Anything but bytes is a TypeError, as in FileDescriptor, and sends nothing."""
        for wrong in ("text", bytearray(b"x"), memoryview(b"x"), None):
            self.assertRaises(TypeError, self.transport.write, wrong)
        self.assertRaises(TypeError, self.transport.writeSequence, [b"a", "b"])
        self.assertEqual(drain(self.peer), b"")

    def test_empty(self) -> None:
        """Writing nothing does nothing."""
        self.transport.write(b"")
        self.transport.writeSequence([])
        self.assertEqual((drain(self.peer), self.reactor.writers), (b"", set()))

    def test_sequence(self) -> None:
        """C{writeSequence} sends the pieces joined, from any iterable."""
        self.transport.writeSequence(iter([b"a", b"", b"bc"]))
        self.assertEqual(self.peer.recv(100), b"abc")

    def test_after_connection_lost(self) -> None:
        """Writing to a lost connection drops the data."""
        self.transport.connectionLost(CLOSED)
        self.transport.write(b"x")
        self.transport.writeSequence([b"x"])
        self.assertEqual(self.transport.bytes_sent, 0)

    def test_write_does_not_read(self) -> None:
        """A write inside dataReceived never calls dataReceived again, so nothing recurses."""
        depth = deepest = 0

        class Echo(Recorder):
            def dataReceived(self, data: bytes) -> None:
                nonlocal depth, deepest
                depth += 1
                deepest = max(deepest, depth)
                self.transport.write(data)  # type: ignore[union-attr]
                depth -= 1

        self.wire(Echo())
        for _ in range(50):
            self.peer.send(b"ping")
            self.transport.doRead()
            self.assertEqual(self.peer.recv(100), b"ping")
        self.assertEqual(deepest, 1)

    def test_file_descriptors_can_be_sent(self) -> None:
        """A descriptor travels with the next byte written, as on the stock transport."""
        self.transport.sendFileDescriptor(self.transport.fileno())
        self.transport.write(b"x")
        self.reactor.step()
        data, fds, _, _ = socket.recv_fds(self.peer, 10, 1)
        self.assertEqual((data, len(fds)), (b"x", 1))
        os.close(fds[0])
        self.assertEqual(self.transport.bytes_sent, 1)


class FakeSocket:
    """A socket from which comes what a test says.

    @ivar amount: bytes that come next.
    @ivar asked: how many were asked for.
    """

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.amount = 0
        self.asked: list[int] = []

    def recv(self, size: int) -> bytes:
        """Give them."""
        self.asked.append(size)
        return b"x" * min(size, self.amount)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class ReadTests(EagerTestCase):
    """C{doRead}."""

    def test_delivers(self) -> None:
        """What has arrived goes to dataReceived, at most bufferSize bytes a call."""
        self.transport.bufferSize = 3
        self.peer.send(b"hello")
        self.assertIsNone(self.transport.doRead())
        self.assertEqual(self.protocol.received, b"hel")
        self.transport.doRead()
        self.assertEqual(self.protocol.received, b"hello")

    def test_bulk(self) -> None:
        """Who may read in bulk reads more at once while much comes, and as usual before and after:
        no more bytes at a time than others can be given."""
        self.transport.bulk = True
        usual = self.transport.bufferSize
        skt: Any = FakeSocket(self.transport.socket)
        self.transport.socket = skt
        for size in (100, usual, BULK_READ, 9000, 100, 100):
            skt.amount = size
            self.transport.doRead()
        self.assertEqual(skt.asked, [usual, usual, BULK_READ, BULK_READ, BULK_READ, usual])

    def test_no_bulk(self) -> None:
        """Others read as usual, whatever comes."""
        skt: Any = FakeSocket(self.transport.socket)
        self.transport.socket = skt
        skt.amount = self.transport.bufferSize
        for _ in range(3):
            self.transport.doRead()
        self.assertEqual(set(skt.asked), {self.transport.bufferSize})

    def test_nothing_there(self) -> None:
        """A wake-up without data is no end of the connection."""
        self.assertIsNone(self.transport.doRead())
        self.assertEqual(self.protocol.events, ["made"])

    def test_end_of_file(self) -> None:
        """The end of the stream is reported to the reactor as a clean close."""
        self.peer.close()
        self.assertIs(self.transport.doRead(), main.CONNECTION_DONE)

    def test_error(self) -> None:
        """A reset is reported to the reactor as a lost connection."""
        self.transport.write(b"unread data makes the peer's close a reset")
        self.peer.close()
        self.assertIs(self.transport.doRead(), main.CONNECTION_LOST)

    def test_paused(self) -> None:
        """An event that was collected before a pause reads nothing; resuming reads again."""
        self.peer.send(b"x")
        self.transport.pauseProducing()
        self.assertNotIn(self.transport, self.reactor.readers)
        self.assertIsNone(self.transport.doRead())
        self.assertEqual(self.protocol.received, b"")
        self.transport.resumeProducing()
        self.assertIn(self.transport, self.reactor.readers)
        self.transport.doRead()
        self.assertEqual(self.protocol.received, b"x")

    def test_after_lose_connection(self) -> None:
        """After loseConnection nothing more is delivered."""
        self.peer.send(b"x")
        self.transport.loseConnection()
        self.transport.doRead()
        self.assertEqual(self.protocol.received, b"")

    def test_after_connection_lost(self) -> None:
        """A stale event for a lost connection is ignored."""
        self.transport.connectionLost(CLOSED)
        self.assertIsNone(self.transport.doRead())

    def test_end_reading(self) -> None:
        """End of file is a half-close for a protocol that asks for it, a loss for any other."""
        self.transport.end_reading(main.CONNECTION_DONE)
        self.assertEqual(self.protocol.events, ["made", "lost"])
        self.wire(HalfCloseRecorder())
        self.transport.end_reading(main.CONNECTION_DONE)
        self.assertEqual(self.protocol.events, ["made", "read lost"])
        self.transport.end_reading(main.CONNECTION_LOST)
        self.assertEqual(self.protocol.events, ["made", "read lost", "lost"])


class LoseTests(EagerTestCase):
    """The ways to end a connection."""

    def test_idle(self) -> None:
        """With nothing buffered the close comes in the next turn, not inside loseConnection."""
        self.transport.write(b"bye")
        self.transport.loseConnection()
        self.transport.loseConnection()
        self.assertIsNone(self.protocol.reason)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.reactor.step()
        assert self.protocol.reason is not None
        self.protocol.reason.trap(ConnectionDone)
        self.assertEqual(self.protocol.events.count("lost"), 1)
        self.assertEqual((self.peer.recv(10), self.peer.recv(10)), (b"bye", b""))

    def test_buffered(self) -> None:
        """Everything buffered is sent before the close."""
        self.transport.write(MUCH)
        self.transport.loseConnection()
        self.assertEqual(self.flush(), MUCH)
        self.assertEqual(self.protocol.events, ["made", "lost"])

    def test_written_meanwhile(self) -> None:
        """As on stock transports, a write between loseConnection and the close is still sent."""
        self.transport.loseConnection()
        self.transport.write(MUCH)
        self.reactor.step()
        self.assertIsNone(self.protocol.reason)
        self.assertEqual(self.flush(), MUCH)
        self.assertEqual(self.protocol.events, ["made", "lost"])

    def test_lost_meanwhile(self) -> None:
        """A connection that is lost before the close comes is not lost twice."""
        self.transport.loseConnection()
        self.transport.connectionLost(CLOSED)
        self.reactor.step()
        self.assertEqual(self.protocol.events.count("lost"), 1)

    def test_aborted_meanwhile(self) -> None:
        """An abort after loseConnection ends the connection once."""
        self.transport.loseConnection()
        self.transport.abortConnection()
        self.reactor.step()
        self.assertEqual(self.protocol.events.count("lost"), 1)

    def test_abort(self) -> None:
        """abortConnection drops what is buffered and later writes, and reports the abort."""
        self.transport.write(MUCH)
        sent = self.transport.bytes_sent
        self.transport.abortConnection()
        drain(self.peer)
        self.transport.write(b"more")
        self.assertIsNone(self.protocol.reason)
        self.reactor.step()
        assert self.protocol.reason is not None
        self.protocol.reason.trap(ConnectionAborted)
        self.assertEqual((drain(self.peer), self.transport.bytes_sent), (b"", sent))

    def test_abort_of_an_idle_connection(self) -> None:
        """A write after abortConnection is not sent although there is room for it."""
        self.transport.abortConnection()
        self.transport.write(b"x")
        self.assertEqual(drain(self.peer), b"")
        self.reactor.step()

    def test_half_close(self) -> None:
        """loseWriteConnection flushes, ends the stream, drops later writes, and reading goes on."""
        self.wire(HalfCloseRecorder())
        self.transport.write(MUCH)
        self.transport.loseWriteConnection()
        self.assertEqual(self.flush(), MUCH)
        self.assertEqual(self.peer.recv(10), b"")
        self.assertEqual(self.protocol.events, ["made", "write lost"])
        self.transport.write(b"x")
        self.assertEqual(self.transport.bytes_sent, len(MUCH))
        self.peer.send(b"still here")
        self.transport.doRead()
        self.assertEqual(self.protocol.received, b"still here")

    def test_lose_after_half_close(self) -> None:
        """loseConnection on a half-closed connection closes it, but not inside the call."""
        self.transport.loseWriteConnection()
        self.flush()
        self.transport.loseConnection()
        self.assertIsNone(self.protocol.reason)
        self.reactor.step()
        self.assertEqual(self.protocol.events, ["made", "lost"])


class ProducerTests(EagerTestCase):
    """Producers of both kinds."""

    def test_push_producer_is_paused_and_resumed(self) -> None:
        """More than bufferSize unsent bytes pause a push producer; an empty buffer resumes it."""
        producer = PushProducer()
        self.transport.registerProducer(producer, True)
        self.transport.write(MUCH)
        self.assertEqual(producer.asked, ["pause"])
        self.assertEqual(self.flush(), MUCH)
        self.assertEqual(producer.asked, ["pause", "resume"])

    def test_push_producer_below_the_threshold(self) -> None:
        """What the kernel took at once does not count as buffered."""
        producer = PushProducer()
        self.transport.registerProducer(producer, True)
        self.transport.write(b"x" * (self.transport.bufferSize + 1))
        self.flush()
        self.assertEqual(producer.asked, [])

    def test_pull_producer(self) -> None:
        """A pull producer is asked again after each piece, without deep recursion."""
        pieces = [b"%d," % number for number in range(3000)]
        expected = b"".join(pieces)
        self.transport.registerProducer(PullProducer(self.transport, pieces), False)
        self.assertEqual(self.flush(), expected)
        self.assertEqual(self.transport.bytes_sent, len(expected))

    def test_lose_waits_for_a_pull_producer(self) -> None:
        """loseConnection lets a pull producer finish (ITransport.loseConnection)."""
        self.transport.registerProducer(PullProducer(self.transport, [b"a", b"b", b"c"]), False)
        self.transport.loseConnection()
        self.assertEqual(self.flush(), b"abc")
        self.assertEqual(self.protocol.events, ["made", "lost"])

    def test_registered_after_lose(self) -> None:
        """A pull producer that is registered before the close comes is still served."""
        self.transport.loseConnection()
        self.transport.registerProducer(PullProducer(self.transport, [b"a", b"b"]), False)
        self.reactor.step()
        self.assertEqual(self.flush(), b"ab")
        self.assertEqual(self.protocol.events, ["made", "lost"])

    def test_stopped_when_lost(self) -> None:
        """A lost connection stops its producer."""
        producer = PushProducer()
        self.transport.registerProducer(producer, True)
        self.transport.connectionLost(CLOSED)
        self.assertEqual(producer.asked, ["stop"])


class RoundTests(SynchronousTestCase):
    """Writes that wait for the end of a round of events."""

    def test_write_event_in_the_same_round(self) -> None:
        """What a write event of the same round has begun to send is neither lost nor sent twice."""
        answer = bytes(range(256)) * (MAX_LATE // 256)

        class Answering(Recorder):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(answer)
                self.transport.loseConnection()

        reactor = MemoryReactor()
        ours, peer = small_pair()
        self.addCleanup(peer.close)
        protocol = Answering()
        transport = EagerUNIXServer(ours, protocol, "", None, 0, reactor.poller)
        protocol.makeConnection(transport)
        transport.startWriting()  # as for a producer that is to be resumed
        peer.send(b"x")
        reactor.settle()
        self.assertTrue(0 < transport.bytes_sent < len(answer))
        got = drain(peer)
        while len(got) < len(answer) and protocol.reason is None:
            reactor.settle()
            got += drain(peer)
        reactor.settle()
        self.assertEqual(got, answer)
        self.assertEqual(transport.bytes_sent, len(answer))
        assert protocol.reason is not None
        protocol.reason.trap(ConnectionDone)


class TLSTests(EagerTestCase):
    """startTLS on an eager transport."""

    def test_nothing_in_clear(self) -> None:
        """After startTLS every write goes through TLS."""
        self.transport.startTLS(ssl.CertificateOptions(), False)
        self.transport.write(b"secret")
        self.transport.writeSequence([b"sec", b"ret"])
        wire = self.flush()
        self.assertEqual(wire[:1], b"\x16")
        self.assertNotIn(b"secret", wire)


class DescriptionTests(SynchronousTestCase):
    """Names for logs."""

    def make(self, kind: Any, *client: Any) -> Any:
        """Construct a transport of a kind on one end of a connection."""
        ours, theirs = tcp_pair() if kind is EagerTCPServer else small_pair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return kind(ours, Recorder(), *client, None, 7, StepReactor())

    def test_log_prefix(self) -> None:
        """The log prefix is the same as that of the stock transport."""
        stock, eager = (self.make(kind, "/peer") for kind in (unix.Server, EagerUNIXServer))
        self.assertEqual(eager.logPrefix(), stock.logPrefix())
        self.assertEqual(eager.logPrefix(), "Recorder,7,/peer")
        self.assertEqual(self.make(EagerTCPServer, ("::1", 5, 0, 0)).logPrefix(), "Recorder,7,::1")

    def test_repr(self) -> None:
        """repr names the protocol and the session, also when the connection is gone."""
        eager = self.make(EagerUNIXServer, "/peer")
        self.assertIn("Recorder #7", repr(eager))
        eager.connectionLost(CLOSED)
        self.assertIn("#7", repr(eager))
        self.assertIn("7", eager.logPrefix())

    def test_addresses(self) -> None:
        """The peer's address is the one accepted."""
        self.assertEqual(self.make(EagerUNIXServer, "/peer").getPeer().name, b"/peer")
        self.assertEqual(self.make(EagerTCPServer, ("::1", 5, 0, 0)).getPeer().host, "::1")


class ErrorTests(SynchronousTestCase):
    """TCP's own way to fail."""

    def test_reset(self) -> None:
        """A TCP reset met by C{write} is left to the reactor, and ends as ConnectionLost."""
        ours, peer = tcp_pair()
        protocol, reactor = Recorder(), StepReactor()
        transport = EagerTCPServer(ours, protocol, ("127.0.0.1", 1), None, 0, reactor)
        protocol.makeConnection(transport)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        transport.write(b"a")
        transport.write(b"b")
        self.assertIsNone(protocol.reason)
        reactor.step()
        assert protocol.reason is not None
        protocol.reason.trap(ConnectionLost)
        self.assertEqual(transport.bytes_sent, 0)
