"""How a client that is refused is left."""

from __future__ import annotations

from fastcar_tw.downstream.farewell import Farewell
from fastcar_tw.testing import Peer

from .support import OpeningsTestCase


class FarewellTests(OpeningsTestCase):
    """An answer, and then nothing more."""

    def leave(self, client: Peer, answer: bytes = b"bye") -> Farewell:
        """Take leave of a client."""
        farewell = Farewell(self.proxy.forwarder, answer)
        previous = client.transport.protocol
        client.transport.protocol = farewell
        farewell.makeConnection(client.transport)
        self.proxy.forwarder.unwatch(previous)
        self.proxy.reactor.settle()
        return farewell

    def test_answer(self) -> None:
        """The client reads the answer and its end, and may still send."""
        self.leave(self.client)
        self.assertEqual(self.client.take(), b"bye")
        self.assertTrue(self.client.ended_cleanly)
        self.client.send(bytes(1 << 20))
        self.assertFalse(self.client.unsent)
        self.assertFalse(self.client.closed)
        self.client.end()
        self.assertTrue(self.client.closed and not self.client.aborted)
        self.assertEqual(self.proxy.forwarder.clients, set())

    def test_no_answer(self) -> None:
        """There may be nothing to say but the end."""
        self.leave(self.client, b"")
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.client.received, b"")

    def test_wire_that_was_not_read(self) -> None:
        """Its end is noticed also where the client was not read before."""
        self.client.transport.pauseProducing()
        self.leave(self.client)
        self.client.end()
        self.assertTrue(self.client.closed)

    def test_late(self) -> None:
        """A client that stays is broken off when its time is over, not before, whatever it
        sends."""
        self.leave(self.client)
        limit = self.proxy.forwarder.config.client_timeout
        self.proxy.elapse(limit - 1)
        self.client.send(b"x")
        self.assertFalse(self.client.closed)
        self.proxy.elapse(2.5)
        self.assertTrue(self.client.aborted)

    def test_client_that_does_not_read(self) -> None:
        """So is one that does not read the answer."""
        client = self.proxy.client(capacity=4096)
        client.pause()
        self.leave(client, bytes(1 << 20))
        client.end()
        self.assertFalse(client.closed)
        self.elapse_deadline()
        self.assertTrue(client.aborted)

    def test_client_that_reads_late(self) -> None:
        """One that reads in time gets all of it."""
        client = self.proxy.client(capacity=4096)
        client.pause()
        self.leave(client, bytes(1 << 20))
        client.end()
        self.proxy.elapse(5)
        client.resume()
        self.assertEqual(len(client.take()), 1 << 20)
        self.assertTrue(client.ended_cleanly and client.closed)

    def test_gone(self) -> None:
        """One that goes is forgotten."""
        self.leave(self.client)
        self.client.close()
        self.assertEqual(self.proxy.forwarder.clients, set())

    def test_shutdown(self) -> None:
        """When fastcar stops it does not wait for such a client, nor for one told to."""
        other = self.proxy.client()
        self.leave(self.client)
        farewell = self.leave(other)
        farewell.abort()
        drained = self.proxy.forwarder.drain()
        self.proxy.reactor.settle()
        self.assertTrue(self.client.closed and other.closed)
        self.successResultOf(drained)
        farewell.abort()
