"""fastcar relay --pool: many clients on few connections, and backends that fail them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

from tests.peers.memcached import shared_memcached
from tests.peers.processes import LIMIT, Process
from tests.peers.redis import Redis, RedisClient, RedisError, Reply, command, shared_redis
from tests.peers.relay import Relay, RelayTestCase
from tests.peers.scenarios import command_of, php_with
from tests.peers.sockets import Peer, RawOrigin

#: Short-lived clients; of those in PHP ten come from a process each.
PHP_PROCESSES = 10
PHP_CLIENTS = 10 * PHP_PROCESSES
PYTHON_CLIENTS = 200 - PHP_CLIENTS

#: A request, and a response, is a line.
LINES = ("--framing", r"eof:\n")


def ended(peer: Peer) -> bytes:
    """What comes before the connection ends, in order or not."""
    data = b""
    try:
        while True:
            data += peer.read(1)
    except (EOFError, ConnectionError):
        return data


def increment(peer: Peer) -> None:
    """Have Redis count this client."""
    RedisClient(peer).ask("INCR", "count")


class CountingTests(RelayTestCase):
    """200 clients that stay for one request, and four connections."""

    pool = ("--pool", "4")

    def setUp(self) -> None:
        super().setUp()
        self.redis = shared_redis()
        self.redis.reset()

    def run_php(self, scenario: str, extension: str, relay: Relay) -> list[Process]:
        """Processes that count on either listener."""
        places = (relay.socket, f"127.0.0.1:{relay.port}")
        processes = []
        for number in range(PHP_PROCESSES):
            argv = command_of(extension, scenario, places[number % 2])
            processes.append(Process(argv, self.folder()))
            self.addCleanup(processes[-1].stop)
        return processes

    def count(self, relay: Relay, add: Callable[[Peer], None]) -> None:
        """Have clients in Python do something, several at a time."""

        def visit(number: int) -> None:
            peer = relay.dial_tcp() if number % 2 else relay.dial()
            try:
                add(peer)
            finally:
                peer.close()

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(visit, range(PYTHON_CLIENTS)))

    def test_redis(self) -> None:
        """INCR is carried out once for each, and Redis sees the four connections only."""
        php_with("redis")
        relay = self.start_relay(
            *self.pool, "--pool-min", "4", "--framing", "resp", backend=self.redis.backend
        )
        relay.wait_for(r"prewarmed .*: 4 of 4 open")
        processes = self.run_php("counting", "redis", relay)
        self.count(relay, increment)
        for process in processes:
            self.assertEqual(process.wait(), 0, process.output)
        self.assertEqual(self.redis.control.ask("GET", "count"), b"200")
        self.assertEqual((self.redis.accepted(), self.redis.connected()), (4, 4))

    def test_opened_on_demand(self) -> None:
        """As many connections as allowed are opened for clients that come at once, and no more."""
        relay = self.start_relay(*self.pool, "--framing", "resp", backend=self.redis.backend)
        with relay.stopped():
            clients = [self.client(relay, command("INCR", "count")) for _ in range(200)]
        counts = [RedisClient(client).read() for client in clients]
        self.assertEqual(sorted(map(str, counts), key=int), [str(n) for n in range(1, 201)])
        self.assertEqual((self.redis.accepted(), self.redis.connected()), (4, 4))

    def test_memcached(self) -> None:
        """The same of memcached."""
        php_with("memcached")
        memcached = shared_memcached()
        memcached.reset()
        memcached.control.send(b"set count 0 0 1\r\n0\r\n")
        memcached.control.read_through(b"STORED\r\n")
        relay = self.start_relay(
            *self.pool, "--pool-min", "4", "--framing", "memcached", backend=memcached.backend
        )
        relay.wait_for(r"prewarmed .*: 4 of 4 open")

        def add(peer: Peer) -> None:
            peer.send(b"incr count 1\r\n")
            self.assertTrue(peer.read_through(b"\r\n")[:-2].isdigit())

        processes = self.run_php("counting", "memcached", relay)
        self.count(relay, add)
        for process in processes:
            self.assertEqual(process.wait(), 0, process.output)
        memcached.control.send(b"get count\r\n")
        self.assertIn(b"\r\n200\r\n", memcached.control.read_through(b"END\r\n"))
        self.assertEqual(memcached.accepted(), 4)

    def test_connection_for_each(self) -> None:
        """Without a pool there are as many connections as clients, all gone when these are."""
        relay = self.shared_relay(backend=self.redis.backend)
        self.count(relay, increment)
        self.assertEqual(self.redis.control.ask("GET", "count"), str(PYTHON_CLIENTS).encode())
        self.assertEqual(self.redis.accepted(), PYTHON_CLIENTS)
        self.redis.wait_connected(0)


class RealFailuresTests(RelayTestCase):
    """A Redis that closes connections, and that ends."""

    def test_killed_while_idle(self) -> None:
        """Requests that come after it has closed its connections are served on new ones."""
        redis = shared_redis()
        kill = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        redis.control.ask(*kill)
        redis.reset()
        relay = self.shared_relay("--pool", "2", "--framing", "resp", backend=redis.backend)
        client = RedisClient(self.client(relay))
        for number in range(1, 11):
            self.assertEqual(client.ask("INCR", "a"), number)
            redis.control.ask(*kill)
        self.assertEqual(redis.accepted(), 10)

    def test_killed_at_any_time(self) -> None:
        """A command whose connection ends is carried out once or not at all; answers are right."""
        redis = shared_redis()
        redis.reset()
        relay = self.shared_relay("--pool", "2", "--framing", "resp", backend=redis.backend)
        counts: list[Reply] = []
        lost: list[int] = []

        def visit(number: int) -> None:
            peer = relay.dial()
            try:
                for _ in range(40):
                    counts.append(RedisClient(peer).ask("INCR", "a"))
            except (EOFError, ConnectionError):
                lost.append(number)
            finally:
                peer.close()

        with ThreadPoolExecutor(8) as threads:
            visits = [threads.submit(visit, number) for number in range(100)]
            for each in visits:
                each.result()
                redis.control.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.assertEqual(len(set(map(str, counts))), len(counts))
        total = redis.control.ask("GET", "a")
        assert isinstance(total, bytes)
        self.assertLessEqual(len(counts), int(total))
        self.assertLessEqual(int(total), len(counts) + len(lost))

    def test_ended_and_begun(self) -> None:
        """A Redis that is there again is used again, by the clients that have stayed."""
        folder = self.folder()
        redis = Redis(folder)
        self.addCleanup(redis.stop)
        relay = self.start_relay("--pool", "2", "--framing", "resp", backend=redis.backend)
        client = RedisClient(self.client(relay))
        self.assertEqual(client.ask("INCR", "a"), 1)
        redis.stop()
        second = Redis(folder)
        self.addCleanup(second.stop)
        self.assertEqual(client.ask("INCR", "a"), 1)

    def test_not_there(self) -> None:
        """While it is not, clients that ask are told so, and the log says why."""
        folder = self.folder()
        redis = Redis(folder)
        self.addCleanup(redis.stop)
        relay = self.start_relay("--pool", "2", "--framing", "resp", backend=redis.backend)
        idle = self.client(relay)
        self.assertEqual(RedisClient(self.client(relay)).ask("PING"), b"PONG")
        redis.send_signal(signal.SIGKILL)
        redis.wait()
        asking = RedisClient(self.client(relay))
        with self.assertRaisesRegex(RedisError, "^FASTCAR .*(refused|No such file)"):
            asking.ask("PING")
        self.assertRegex(relay.logs(r"redis\.sock.*(refused|No such file)"), "#warn")
        # Both are there, and served when they can be.
        os.unlink(redis.socket)
        second = Redis(folder)
        self.addCleanup(second.stop)
        for client in (asking, RedisClient(idle)):
            self.assertEqual(client.ask("PING"), b"PONG")


class FailuresTests(RelayTestCase):
    """Backends written by hand, whose requests and responses are lines."""

    def relay_to(self, script: Callable[[Peer], None], *options: str) -> tuple[Relay, RawOrigin]:
        """A relay with one connection unless an option says otherwise, and its backend."""
        backend = self.backend(script)
        return self.shared_relay("--pool", "1", *LINES, *options, backend=backend), backend

    def test_ends_within_response(self) -> None:
        """A client gets what there was of its response, and not a byte more."""

        def script(peer: Peer) -> None:
            peer.read_through(b"\n")
            peer.send(b"half an ans")

        relay, backend = self.relay_to(script)
        for _ in range(3):
            self.assertIn(ended(self.client(relay, b"question\n")), (b"", b"half an ans"))
            relay.logs("closed the connection in the middle of its response")
        self.assertEqual(backend.accepted, 3)

    def test_breaks_off(self) -> None:
        """The same when the connection is broken off, after one of two responses."""

        def script(peer: Peer) -> None:
            peer.read_through(b"2\n")
            peer.send(b"one\n")
            go_on.get(timeout=LIMIT)
            peer.send(b"tw")
            peer.reset()

        go_on: Queue[None] = Queue()
        relay, _ = self.relay_to(script)
        client = self.client(relay, b"1\n2\n")
        self.assertEqual(client.read_through(b"\n"), b"one\n")
        go_on.put(None)
        self.assertIn(ended(client), (b"", b"t", b"tw"))
        relay.logs("owes|closed the connection|lost")

    def test_ends_before_response(self) -> None:
        """What was sent is not sent again: only the client knows whether that would do harm."""

        def script(peer: Peer) -> None:
            requests.put(peer.read_through(b"\n"))

        requests: Queue[bytes] = Queue()
        relay, backend = self.relay_to(script)
        self.assertEqual(ended(self.client(relay, b"question\n")), b"")
        relay.logs("closed the connection before its response")
        self.assertEqual((requests.qsize(), backend.accepted), (1, 1))

    def test_ends_while_idle(self) -> None:
        """A connection that has ended meanwhile is replaced, and the client does not notice."""

        def script(peer: Peer) -> None:
            peer.send(b"to " + peer.read_through(b"\n"))

        relay, backend = self.relay_to(script)
        client = self.client(relay)
        for number in range(1, 11):
            client.send(b"%d\n" % number)
            self.assertEqual(client.read_through(b"\n"), b"to %d\n" % number)
            backend.wait()
        self.assertEqual(backend.accepted, 10)

    def test_silent(self) -> None:
        """A backend that does not answer in time costs the client its connection, and itself."""
        ends: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            if peer.read_through(b"\n") == b"difficult\n":
                ends.put(ended(peer))
            else:
                peer.send(b"fine\n")

        relay, _ = self.relay_to(script, "--response-timeout", "1")
        self.assertEqual(ended(self.client(relay, b"difficult\n")), b"")
        relay.logs("is silent and owes a response")
        self.assertEqual(ends.get(timeout=LIMIT), b"")
        self.assertEqual(self.client(relay, b"easy\n").read(5), b"fine\n")

    def test_unasked(self) -> None:
        """What an idle connection gets is nobody's: nothing is asked on it any more."""
        go_on: Queue[None] = Queue()
        ends: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            peer.send(b"to " + peer.read_through(b"\n"))
            go_on.get(timeout=LIMIT)
            peer.send(b"to nobody\n")
            ends.put(ended(peer))

        relay, backend = self.relay_to(script)
        client = self.client(relay)
        for number in range(3):
            client.send(b"%d\n" % number)
            self.assertEqual(client.read_through(b"\n"), b"to %d\n" % number)
            go_on.put(None)
            self.assertEqual(ends.get(timeout=LIMIT), b"")
            relay.logs("sent something unasked; the connection is closed")
        self.assertEqual(backend.accepted, 3)

    def test_more_than_asked(self) -> None:
        """What comes with a response, but is too much, reaches neither this client nor the next."""

        def script(peer: Peer) -> None:
            while True:
                peer.send(b"to " + peer.read_through(b"\n") + b"to nobody\n")

        relay, backend = self.relay_to(script)
        client, other = self.client(relay), self.client(relay)
        for number in range(3):
            for each in (client, other):
                each.send(b"%d\n" % number)
                self.assertEqual(each.read_through(b"\n"), b"to %d\n" % number)
        self.assertEqual(backend.accepted, 6)
        relay.logs("sent something unasked; the connection is closed")

    def test_client_leaves(self) -> None:
        """The response to a client that has left goes to nobody."""
        requests: Queue[bytes] = Queue()
        go_on: Queue[None] = Queue()

        def script(peer: Peer) -> None:
            while True:
                request = peer.read_through(b"\n")
                requests.put(request)
                go_on.get(timeout=LIMIT)
                peer.send(b"to " + request)

        relay, _ = self.relay_to(script)
        for leave in (Peer.close, Peer.reset):
            leaving = self.client(relay, b"leaving\n")
            self.assertEqual(requests.get(timeout=LIMIT), b"leaving\n")
            leave(leaving)
            staying = self.client(relay, b"staying\n")
            go_on.put(None)
            self.assertEqual(requests.get(timeout=LIMIT), b"staying\n")
            go_on.put(None)
            self.assertEqual(staying.read_through(b"\n"), b"to staying\n")
            # One client more than the backend has written to.
            while not go_on.empty():
                go_on.get()

    def test_large_request(self) -> None:
        """A request that is too large ends its client; those before it are answered."""

        def script(peer: Peer) -> None:
            while True:
                peer.send(b"%d\n" % len(peer.read_through(b"\n")))

        relay, _ = self.relay_to(script, "--max-frame", "1000")
        for size in (1000, 50_000):
            client = self.client(relay, b"small\n" + b"y" * size + b"\n" + b"later\n")
            self.assertEqual(ended(client), b"6\n")
            self.assertRegex(relay.logs("--max-frame"), "#warn")
            relay.new_output()
        self.assertEqual(self.client(relay, b"x" * 999 + b"\n").read(5), b"1000\n")

    def test_large_response(self) -> None:
        """A response that is too large ends the connection, and the client that it was for."""

        def script(peer: Peer) -> None:
            while True:
                size = int(peer.read_through(b"\n"))
                peer.send(b"x" * (size - 1) + b"\n")

        relay, _ = self.relay_to(script, "--max-frame", "1000")
        self.assertEqual(len(self.client(relay, b"1000\n").read_through(b"\n")), 1000)
        for size in (1001, 2000, 500_000):
            relay.new_output()
            self.assertNotIn(b"\n", ended(self.client(relay, b"%d\n" % size)))
            self.assertRegex(relay.logs("--max-frame"), "#warn")

    def test_malformed(self) -> None:
        """What cannot be a request ends its client, which is told why; the log does not repeat
        it."""
        redis = shared_redis()
        relay = self.shared_relay("--pool", "1", "--framing", "resp", backend=redis.backend)
        malformed = (b"*1\r\n$secret\r\n", b"*secret\r\n", b"*1\r\n+secret\r\n")
        # It is about what the client's own connection has done, and there is none.
        for data in (*malformed, command("WAIT", 1, 0)):
            client = self.client(relay, command("PING") + data)
            said = ended(client)
            self.assertRegex(said, rb"^\+PONG\r\n-FASTCAR expected [^\r\n]+\r\n$", data)
            self.assertNotIn(b"secret", said)
            self.assertNotIn("secret", relay.logs("no valid request"))
            relay.new_output()
        self.assertEqual(RedisClient(self.client(relay)).ask("PING"), b"PONG")

    def test_malformed_response(self) -> None:
        """What cannot be a response ends the connection and its client."""

        def script(peer: Peer) -> None:
            peer.read_through(b"PING\r\n")
            peer.send(b"?\r\n")

        backend = self.backend(script)
        relay = self.shared_relay("--pool", "1", "--framing", "resp", backend=backend)
        for _ in range(2):
            self.assertIn(ended(self.client(relay, command("PING"))), (b"", b"?\r\n"))
            relay.logs("no valid response")

    def test_of_several_backends(self) -> None:
        """Of two backends one that fails is passed over."""
        gone = self.origin(lambda peer: None)
        gone.close()

        def script(peer: Peer) -> None:
            while True:
                peer.send(b"to " + peer.read_through(b"\n"))

        well = self.origin(script)
        both = ("--backend", f"tcp:{gone.authority}", "--backend", f"tcp:{well.authority}")
        relay = self.start_relay("--pool", "1", *LINES, *both)
        for number in range(10):
            client = self.client(relay, b"%d\n" % number)
            self.assertEqual(client.read_through(b"\n"), b"to %d\n" % number)


class QueueTests(RelayTestCase):
    """Clients that wait for the one connection."""

    def held(self, *options: str) -> tuple[Relay, Queue[None]]:
        """A relay to a backend that answers when it is told to."""
        go_on: Queue[None] = Queue()

        def script(peer: Peer) -> None:
            while True:
                request = peer.read_through(b"\n")
                go_on.get(timeout=LIMIT)
                peer.send(b"to " + request)

        relay = self.shared_relay("--pool", "1", *LINES, *options, backend=self.backend(script))
        self.addCleanup(go_on.put, None)
        return relay, go_on

    def test_order(self) -> None:
        """They are served in the order in which they came."""
        served: list[int] = []
        go_on: Queue[None] = Queue()

        def script(peer: Peer) -> None:
            go_on.get(timeout=LIMIT)
            while True:
                request = peer.read_through(b"\n")
                served.append(int(request))
                peer.send(b"to " + request)

        relay = self.shared_relay("--pool", "1", *LINES, backend=self.backend(script))
        with relay.stopped():
            clients = [self.client(relay, b"%d\n" % number) for number in range(50)]
        go_on.put(None)
        for number, client in enumerate(clients):
            self.assertEqual(client.read_through(b"\n"), b"to %d\n" % number)
        self.assertEqual(served, list(range(50)))

    def test_timeout(self) -> None:
        """Who waits for too long is closed, and the log says why."""
        relay, go_on = self.held("--queue-timeout", "0.5")
        with relay.stopped():
            first, second = self.client(relay, b"1\n"), self.client(relay, b"2\n")
        self.assertEqual(ended(second), b"")
        self.assertRegex(relay.logs("no connection came free in time"), "#warn")
        go_on.put(None)
        self.assertEqual(first.read_through(b"\n"), b"to 1\n")
        third = self.client(relay, b"3\n")
        go_on.put(None)
        self.assertEqual(third.read_through(b"\n"), b"to 3\n")

    def test_full(self) -> None:
        """So is who would be one more in the line than may be, at once."""
        relay, go_on = self.held("--max-queue", "1")
        with relay.stopped():
            clients = [self.client(relay, b"%d\n" % number) for number in range(3)]
        self.assertEqual(ended(clients[2]), b"")
        self.assertRegex(relay.logs("too many requests wait"), "#warn")
        for number in range(2):
            go_on.put(None)
            self.assertEqual(clients[number].read_through(b"\n"), b"to %d\n" % number)

    def test_left(self) -> None:
        """Who leaves the line is not served, and makes room."""
        relay, go_on = self.held("--max-queue", "1")
        visitor = self.client(relay)
        with relay.stopped():
            first, second = self.client(relay, b"1\n"), self.client(relay, b"2\n")
            self.client(relay, b"3\n")
        relay.logs("too many requests wait")
        second.reset()
        # Who has seen this one go has seen the other go before.
        visitor.end_output()
        self.assertEqual(ended(visitor), b"")
        last = self.client(relay, b"4\n")
        for client, expected in ((first, b"to 1\n"), (last, b"to 4\n")):
            go_on.put(None)
            self.assertEqual(client.read_through(b"\n"), expected)

    def test_slow_client(self) -> None:
        """A client that does not take its response does not keep the others from theirs."""
        size = 1 << 20

        def script(peer: Peer) -> None:
            while True:
                peer.send(peer.read_through(b"\n")[:-1] * (size // 4) + b"\n")

        relay = self.shared_relay("--pool", "1", *LINES, backend=self.backend(script))
        slow = self.client(relay, b"slow\n")
        for _ in range(10):
            quick = self.client(relay, b"fast\n")
            self.assertEqual(quick.read(size + 1), b"fast" * (size // 4) + b"\n")
        self.assertEqual(slow.read(size + 1), b"slow" * (size // 4) + b"\n")

    def test_all_at_once(self) -> None:
        """Many clients with many requests each get their own responses, whole and in order."""

        def script(peer: Peer) -> None:
            while True:
                request = peer.read_through(b"\n")
                peer.send(request[:-1] * (hash(request) % 50) + request)

        relay = self.shared_relay("--pool", "3", *LINES, backend=self.backend(script))
        wrong: list[tuple[bytes, bytes]] = []

        def visit(number: int) -> None:
            peer = relay.dial()
            for first in range(0, 300, 10):
                requests = [b"%d-%d\n" % (number, n) for n in range(first, first + 10)]
                peer.send(b"".join(requests))
                for request in requests:
                    expected = request[:-1] * (hash(request) % 50) + request
                    got = peer.read_through(b"\n")
                    if got != expected:
                        wrong.append((expected, got))
            peer.close()

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * LIMIT)
        self.assertEqual(wrong, [])
