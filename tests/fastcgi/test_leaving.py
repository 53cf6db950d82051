"""Clients that leave before they have their response: their requests are dropped."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from fastcar_tw.testing import Peer
from tests.forward.support import CHUNKED, answer, request

from .support import PAGE, Child, GatewayTestCase, logged
from .test_connection import tcp_pair

#: Ways to leave: to close the connection, and to end one's own half of it alone.
WAYS: tuple[Callable[[Peer], None], ...] = (Peer.close, Peer.end)


class LeavingTests(GatewayTestCase):
    """At every stage of an exchange."""

    def gone(self, child: Child | None = None) -> None:
        """Check that nothing of the client is left, nor of the child that worked for it."""
        self.assertEqual(self.gateway.gateway.clients, set())
        if child is not None:
            self.assertTrue(child.closed)
        stats = self.gateway.pool.stats()
        self.assertEqual((stats.total.active, stats.total.waiting), (0, 0))

    def test_idle(self) -> None:
        """Between requests nothing happens but that the connection ends."""
        for leave in WAYS:
            self.start()
            self.warm()
            self.assertEqual(logged(lambda leave=leave: leave(self.client)), [])  # type: ignore[misc]
            self.gone()
            self.assertFalse(self.child.closed)

    def test_in_head(self) -> None:
        """A half head makes no request."""
        for leave in WAYS:
            self.start()
            self.client.send(request()[:-2])
            leave(self.client)
            self.gone()
            self.assertEqual(self.gateway.attempts, [])

    def test_collecting(self) -> None:
        """A half body that was collected is thrown away, and no script is run."""
        for leave in WAYS:
            for head in (
                request(b"/", CHUNKED, method=b"POST") + b"1\r\nx\r\n",
                request(b"/", b"Content-Length: 2", method=b"POST") + b"x",
            ):
                self.start()
                self.client.send(head)
                leave(self.client)
                self.gone()
                self.assertEqual(self.gateway.attempts, [])

    def test_streaming(self) -> None:
        """A script that reads a body is let go by closing: never is a cut one ended properly."""
        for leave in WAYS:
            self.start()
            self.client.send(request(b"/", b"Content-Length: 2", method=b"PUT") + b"x")
            leave(self.client)
            self.assertEqual(self.child.request.stdin, b"x")
            self.assertFalse(self.child.request.complete)
            self.gone(self.child)

    def test_connecting(self) -> None:
        """Where a connection is being opened, the next request has that."""
        for leave in WAYS:
            self.start(connections=1)
            self.gateway.accepting = False
            self.client.send(request(b"/?gone"))
            leave(self.client)
            self.gone()
            other = self.gateway.client()
            other.send(request(b"/?other"))
            self.gateway.attempts[0].accept()
            self.assertEqual(
                [each.params[b"QUERY_STRING"] for each in self.child.requests], [b"other"]
            )

    def test_queued(self) -> None:
        """A request that waits for a connection is never sent."""
        for leave in WAYS:
            for data in (
                request(b"/?gone"),
                request(b"/?gone", method=b"POST", body=b"x"),
                request(b"/?gone", CHUNKED, method=b"PUT", body=b"1\r\nx\r\n0\r\n\r\n"),
            ):
                self.start(connections=1)
                self.client.send(request(b"/?first"))
                gone, last = self.gateway.client(), self.gateway.client()
                gone.send(data)
                last.send(request(b"/?last"))
                leave(gone)
                self.child.answer(PAGE)
                self.assertEqual(
                    [each.params[b"QUERY_STRING"] for each in self.child.requests],
                    [b"first", b"last"],
                )

    def test_queued_unread(self) -> None:
        """So it is if it was not read because its body is still to come, or others behind it."""
        for data in (
            request(b"/?gone", b"Content-Length: 9", method=b"PUT") + b"x",
            request(b"/?gone", method=b"POST", body=b"x") + request() + b"GET /" + b"y" * 70000,
        ):
            for tcp in (False, True):
                for leave in WAYS:
                    self.start(connections=1)
                    self.client.send(request(b"/?first"))
                    gone, last = self.connect(tcp), self.gateway.client()
                    gone.send(data)
                    last.send(request(b"/?last"))
                    while not gone.transport.paused:
                        self.arrives(gone, select.POLLIN)
                    leave(gone)
                    self.arrives(gone, select.POLLRDHUP)
                    self.child.answer(PAGE)
                    self.assertEqual(
                        [each.params[b"QUERY_STRING"] for each in self.child.requests],
                        [b"first", b"last"],
                    )
                    self.assertEqual(len(self.gateway.children), 1)
                    self.assertEqual(len(self.gateway.gateway.clients), 2)

    def connect(self, tcp: bool) -> Peer:
        """Another client, over TCP, where closing looks like ending, or over a UNIX socket."""
        if not tcp:
            return self.gateway.client()
        patched = self.patch(socket, "socketpair", tcp_pair)
        client = self.gateway.client()
        patched.restore()
        return client

    def arrives(self, client: Peer, event: int) -> None:
        """Wait until something of a client has come through its connection."""
        poll = select.poll()
        poll.register(client.transport.getHandle(), event)
        self.assertTrue(poll.poll(10_000), "nothing arrives")
        self.gateway.reactor.settle()

    def test_running(self) -> None:
        """A script that has not answered yet is let go at once; its child is another's soon."""
        for leave in WAYS:
            self.start(connections=1)
            waiting = self.gateway.client()
            self.client.send(request())
            waiting.send(request())
            first = self.child
            leave(self.client)
            self.assertTrue(first.closed)
            self.assertEqual(len(self.gateway.children), 2)
            self.child.answer(PAGE)
            self.assertEqual(answer(waiting.received).status, 200)

    def test_responding(self) -> None:
        """So is one in the middle of its response, and that is no failure to be logged."""
        for leave in WAYS:
            self.start()
            self.client.send(request())
            self.child.stdout(PAGE)
            self.assertEqual(logged(lambda leave=leave: leave(self.client)), [])  # type: ignore[misc]
            self.gone(self.child)

    def test_full(self) -> None:
        """A client that does not read its response and closes is noticed."""
        self.client.close()
        self.client = self.gateway.client(capacity=4096)
        self.client.send(request())
        self.client.pause()
        self.child.stdout(PAGE + b"x" * 500000)
        self.assertTrue(self.child.transport.paused)
        self.client.close()
        self.gone(self.child)

    def test_file(self) -> None:
        """Only what runs for somebody ends with that: who has ended sending gets a whole file."""
        self.gateway.write("large.bin", b"x" * 1_000_000)
        for leave, size in ((Peer.end, 1_000_000), (Peer.close, 0)):
            client = self.gateway.client(capacity=65536)
            client.pause()
            client.send(request(b"/large.bin"))
            leave(client)
            if size:
                client.resume()
                self.assertEqual(len(answer(client.received).body), size)
                self.assertFalse(client.aborted)
            self.assertTrue(client.closed)

    def test_answered(self) -> None:
        """Who leaves with the last byte of its response costs no child."""
        self.client.send(request())
        self.child.answer(PAGE)
        self.client.close()
        self.gone()
        self.assertFalse(self.child.closed)

    def test_pipelined(self) -> None:
        """The requests behind the present one go with it."""
        self.start(connections=1)
        self.client.send(request() * 3)
        self.client.close()
        self.gone(self.child)
        self.assertEqual(len(self.child.requests), 1)
        self.assertEqual(len(self.gateway.children), 1)

    def test_tls(self) -> None:
        """Inside TLS leaving is the same, be it with close_notify alone."""
        for leave in WAYS:
            self.start()
            self.client.close()
            client = self.gateway.client(tls=True)
            client.send(request())
            leave(client)
            self.gone(self.child)

    def test_redirected(self) -> None:
        """Who leaves while a second script is at work takes that with it."""
        self.start(connections=1)
        self.client.send(request())
        self.child.answer(b"Location: /?second\r\n\r\n")
        self.assertEqual(self.child.request.params[b"QUERY_STRING"], b"second")
        self.client.close()
        self.gone(self.child)

    def test_redirected_early(self) -> None:
        """So it is if the first script did not wait for the request."""
        for connections in (1, 3):
            for leave in WAYS:
                self.start(connections=connections)
                self.client.send(request(b"/", b"Content-Length: 9", method=b"PUT"))
                self.child.answer(b"Location: /?second\r\n\r\n")
                self.assertEqual(self.child.request.params[b"QUERY_STRING"], b"second")
                leave(self.client)
                self.gone(self.child)
