"""fastcar relay in front of memcached, with PHP's client and with what it would never send."""

from __future__ import annotations

import functools
import os
from typing import Any

from tests.peers.memcached import Memcached, shared_memcached
from tests.peers.relay import Relay, RelayTestCase
from tests.peers.scenarios import run_scenario

POOLED = ("--pool", "2", "--framing", "memcached")
BINARY = ("--pool", "2", "--framing", "length:N:8:24")


run_php = functools.partial(run_scenario, "memcached")


@functools.cache
def direct_results(scenario: str) -> Any:
    """What comes of it without a relay."""
    memcached = shared_memcached()
    memcached.reset()
    return run_php(scenario, memcached.socket)


class MemcachedTestCase(RelayTestCase):
    """A test with a memcached that has nothing in it."""

    def setUp(self) -> None:
        super().setUp()
        self.memcached = shared_memcached()
        self.memcached.reset()

    def relay(self, *options: str) -> Relay:
        """In front of it."""
        return self.shared_relay("--backend", self.memcached.backend, *options)

    def assert_as_direct(self, scenario: str, *options: str) -> None:
        """A scenario has the results that it has without a relay, on either listener."""
        expected = direct_results(scenario)
        relay = self.relay(*options)
        for place in (relay.socket, f"127.0.0.1:{relay.port}"):
            self.memcached.reset()
            self.assertEqual(run_php(scenario, place), expected, place)


class PHPTests(MemcachedTestCase):
    """The Memcached class of PHP."""

    def test_text(self) -> None:
        """The text protocol has all its results, whether connections are shared or not."""
        self.assert_as_direct("text")
        self.assert_as_direct("text", *POOLED)

    def test_unanswered(self) -> None:
        """So have writes whose client wants no answer, or collects them."""
        self.assert_as_direct("unanswered")
        self.assert_as_direct("unanswered", *POOLED)

    def test_binary(self) -> None:
        """So has the binary protocol."""
        self.assert_as_direct("binary_protocol")
        self.assert_as_direct("binary_misses")

    def test_pooled_binary(self) -> None:
        """Its frames have a length, so that requests with one response each can share."""
        self.assert_as_direct("binary_protocol", *BINARY)

    def test_over_tcp(self) -> None:
        """A memcached at a port is served as one at a path."""
        memcached = Memcached(self.folder(), tcp=True)
        self.addCleanup(memcached.stop)
        relay = self.start_relay(*POOLED, backend=memcached.backend)
        self.assertEqual(run_php("text", relay.socket), direct_results("text"))


class RefusalTests(MemcachedTestCase):
    """What PHP's client makes of requests that are not carried out."""

    def test_down(self) -> None:
        """Without a memcached each fails; nothing passes for a key that is not there."""
        path = os.path.join(self.folder(), "nothing.sock")
        relay = self.start_relay(*POOLED, backend=f"unix:{path}")
        for place in (relay.socket, f"127.0.0.1:{relay.port}"):
            self.assertEqual(run_php("refused", place), [False] * 10)

    def test_oversize(self) -> None:
        """A value that is too large fails."""
        relay = self.relay(*POOLED)
        for place in (relay.socket, f"127.0.0.1:{relay.port}"):
            self.assertEqual(run_php("oversize", place), [True, False, "small"])


class TextTests(MemcachedTestCase):
    """What PHP's client never sends."""

    def exchange(self, request: bytes, *, end_output: bool = False) -> bytes:
        """What a client gets for `request` before, in order, the end."""
        peer = self.client(self.relay(*POOLED))
        peer.send(request)
        if end_output:
            peer.end_output()
        return peer.read_to_end()

    def test_pipelined(self) -> None:
        """Requests that do not wait for one another have their responses in order."""
        request = b"".join(
            b"set k%d %d 0 %d\r\n%b\r\nget k%d missing k%d\r\n" % (n, n, n, b"x" * n, n, n)
            for n in range(300)
        )
        expected = b"".join(
            b"STORED\r\n" + 2 * (b"VALUE k%d %d %d\r\n%b\r\n" % (n, n, n, b"x" * n)) + b"END\r\n"
            for n in range(300)
        )
        self.assertEqual(self.exchange(request + b"quit\r\n"), expected)

    def test_half_closed(self) -> None:
        """A client that sends no more gets all that it has asked for, and then the end."""
        request = b"set a 0 0 5\r\nvalue\r\nget a\r\n"
        expected = b"STORED\r\nVALUE a 0 5\r\nvalue\r\nEND\r\n"
        self.assertEqual(self.exchange(request, end_output=True), expected)

    def test_misleading_values(self) -> None:
        """A value that looks like responses is one value."""
        value = b"END\r\nVALUE b 0 1\r\nx\r\nEND\r\nSTORED\r\n"
        request = b"set a 0 0 %d\r\n%b\r\nget a\r\n" % (len(value), value)
        expected = b"STORED\r\nVALUE a 0 %d\r\n%b\r\nEND\r\n" % (len(value), value)
        self.assertEqual(self.exchange(request, end_output=True), expected)

    def test_errors(self) -> None:
        """Errors of memcached are responses as well, and what follows is not confused by them."""
        request = b"incr missing 1\r\nset a 0 0 1\r\nx\r\nincr a 1\r\nversion\r\n"
        answer = self.exchange(request, end_output=True)
        lines = answer.split(b"\r\n")
        self.assertEqual(lines[:2], [b"NOT_FOUND", b"STORED"])
        self.assertTrue(lines[2].startswith(b"CLIENT_ERROR "), answer)
        self.assertTrue(lines[3].startswith(b"VERSION "), answer)

    def test_unanswered(self) -> None:
        """What is not answered is carried out, before what follows."""
        request = b"set a 0 0 1 noreply\r\n1\r\nincr a 4 noreply\r\nget a\r\n"
        expected = b"VALUE a 0 1\r\n5\r\nEND\r\n"
        self.assertEqual(self.exchange(request, end_output=True), expected)

    def test_statistics(self) -> None:
        """Responses of many lines have an end."""
        peer = self.client(self.relay(*POOLED), b"stats\r\nversion\r\n")
        self.assertTrue(peer.read_through(b"END\r\n").startswith(b"STAT "))
        self.assertTrue(peer.read_through(b"\r\n").startswith(b"VERSION "))

    def test_few_connections(self) -> None:
        """Clients beyond number share the connections that are allowed."""
        relay = self.relay(*POOLED)
        self.memcached.control.send(b"set a 0 0 1\r\n0\r\n")
        self.memcached.control.read_through(b"STORED\r\n")
        with relay.stopped():
            clients = [self.client(relay, b"incr a 1\r\n") for _ in range(50)]
        counts = [int(client.read_through(b"\r\n")) for client in clients]
        self.assertEqual(sorted(counts), list(range(1, 51)))
        self.assertLessEqual(self.memcached.accepted(), 2)


class QuietTests(MemcachedTestCase):
    """Requests of the binary protocol that have no response if there is nothing to tell."""

    def test_quiet_gets(self) -> None:
        """They cannot share: PHP's client gets what is right, or an error, and nobody else's."""
        expected = direct_results("binary_misses")
        relay = self.start_relay(
            *("--pool", "1", "--framing", "length:N:8:24", "--response-timeout", "0.3"),
            backend=self.memcached.backend,
        )
        self.memcached.reset()
        self.memcached.control.send(b"set a 0 0 5\r\nfound\r\nset b 0 0 9\r\nfound too\r\n")
        self.memcached.control.read(len(b"STORED\r\n") * 2)
        results = run_php("binary_misses", relay.socket)
        relay.logs("owes a response")
        for step, (result, right) in enumerate(zip(results, expected, strict=True)):
            self.assertIn(result, (right, False), (step, results))
        for number in range(20):
            opaque = number.to_bytes(4, "big")
            client = self.client(relay, b"\x80\x0b" + bytes(10) + opaque + bytes(8))
            answer = client.read(24)
            self.assertEqual((answer[:2], answer[12:16]), (b"\x81\x0b", opaque))
            self.assertTrue(client.read(int.from_bytes(answer[8:12], "big")).startswith(b"1."))
