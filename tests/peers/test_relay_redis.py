"""fastcar relay in front of Redis, with the clients that people use: PHP's, and redis-benchmark."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from typing import Any

from tests.peers.processes import LIMIT, Process, require
from tests.peers.redis import Monitor, Redis, RedisClient, shared_redis
from tests.peers.relay import Relay, RelayTestCase
from tests.peers.scenarios import command_of, php_with, run_scenario

POOLED = ("--pool", "4", "--framing", "resp")


run_php = functools.partial(run_scenario, "redis")


@functools.cache
def direct_results(scenario: str) -> Any:
    """What comes of it without a relay."""
    redis = shared_redis()
    redis.reset()
    return run_php(scenario, redis.socket)


class PHPTestCase(RelayTestCase):
    """A test with clients in PHP, on either listener of a relay."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        php_with("redis")
        self.redis = shared_redis()
        self.redis.reset()

    @property
    def relay(self) -> Relay:
        """In front of the shared Redis, with the options of the class."""
        return self.shared_relay("--backend", self.redis.backend, *self.options)

    @property
    def places(self) -> tuple[str, str]:
        """The listeners of the relay."""
        relay = self.relay
        return relay.socket, f"127.0.0.1:{relay.port}"

    def assert_as_direct(self, scenario: str) -> None:
        """A scenario has the results that it has without a relay."""
        expected = direct_results(scenario)
        for place in self.places:
            self.redis.reset()
            self.assertEqual(run_php(scenario, place), expected, place)


class PHPPairTests(PHPTestCase):
    """phpredis, with a connection to Redis for each of its own."""

    def test_values(self) -> None:
        """Single commands have the replies, and the errors, that Redis gives."""
        self.assert_as_direct("values")

    def test_sizes(self) -> None:
        """Binary values come back as they were, from none to a MiB."""
        self.assert_as_direct("sizes")

    def test_collections(self) -> None:
        """So do large hashes and lists."""
        self.assert_as_direct("collections")

    def test_pipelines(self) -> None:
        """Replies to pipelined commands come in their order."""
        self.assert_as_direct("pipelines")

    def test_transactions(self) -> None:
        """Transactions are carried out or, if what they watch has changed, not."""
        self.assert_as_direct("transactions")

    def test_databases(self) -> None:
        """The database that a client selects is its own."""
        self.assert_as_direct("databases")

    def test_authentication(self) -> None:
        """So is the user it becomes."""
        self.assert_as_direct("authentication")

    def test_blocking(self) -> None:
        """Blocking commands give what is there, or nothing after their time."""
        self.assert_as_direct("blocking")

    def test_waiting(self) -> None:
        """A command that waits in Redis has its reply when another client causes it."""
        for place in self.places:
            monitor = self.monitor()
            waiting = self.start("waiting", place)
            monitor.wait_for("blpop")
            self.redis.control.ask("SET", "after", "word")
            self.redis.control.ask("LPUSH", "queue", "work")
            self.assertEqual(waiting.wait(), 0, waiting.output)
            self.assertEqual(json.loads(waiting.output), [["queue", "work"], "word"])

    def test_subscribing(self) -> None:
        """A subscriber gets all that is published, in order."""
        for place in self.places:
            monitor = self.monitor()
            subscriber = self.start("subscribing", place)
            monitor.wait_for("subscribe")
            for number in range(100):
                self.redis.control.ask("PUBLISH", "news", f"number {number}")
            self.assertEqual(self.redis.control.ask("PUBLISH", "other", "end"), 1)
            self.assertEqual(subscriber.wait(), 0, subscriber.output)
            expected = [["news", f"number {number}"] for number in range(100)]
            self.assertEqual(json.loads(subscriber.output), [[*expected, ["other", "end"]]])

    def monitor(self) -> Monitor:
        """What Redis is asked from now on."""
        monitor = Monitor(self.redis)
        self.addCleanup(monitor.close)
        return monitor

    def start(self, scenario: str, place: str) -> Process:
        """A scenario that goes on meanwhile."""
        process = Process(command_of("redis", scenario, place), self.folder())
        self.addCleanup(process.stop)
        return process


class PHPPooledTests(PHPPairTests):
    """The same with few connections for all."""

    options = POOLED


class ProtectedTests(PHPTestCase):
    """A Redis that wants a password."""

    def test_password(self) -> None:
        """A client of a pool that gives it is let in, others are not: also not after it."""
        folder = self.folder()
        redis = Redis(folder)
        self.addCleanup(redis.stop)
        redis.control.ask("CONFIG", "SET", "requirepass", "secret")
        relay = self.start_relay("--pool", "1", "--framing", "resp", backend=redis.backend)
        for _ in range(3):
            known = RedisClient(self.client(relay))
            self.assertEqual(known.ask("AUTH", "secret"), b"OK")
            self.assertEqual(known.ask("SET", "a", "b"), b"OK")
            stranger = self.client(relay, b"GET a\r\n")
            self.assertTrue(stranger.read_through(b"\r\n").startswith(b"-NOAUTH "))
            known.peer.close()
            stranger.send(b"GET a\r\n")
            self.assertTrue(stranger.read_through(b"\r\n").startswith(b"-NOAUTH "))


class RefusalTests(PHPTestCase):
    """What phpredis makes of requests that are not carried out: it must notice."""

    def test_down(self) -> None:
        """Without a Redis each fails with an exception that says why."""
        path = os.path.join(self.folder(), "nothing.sock")
        relay = self.start_relay(*POOLED, "--fail-fast-after", "0", backend=f"unix:{path}")
        why = "RedisException: FASTCAR connection failed (No such file or directory)"
        for place in (relay.socket, f"127.0.0.1:{relay.port}"):
            self.assertEqual(run_php("refused", place), [why] * 5)

    def test_back_again(self) -> None:
        """When Redis is there again the same connection serves."""
        folder = self.folder()
        redis = Redis(folder)
        self.addCleanup(redis.stop)
        relay = self.start_relay(*POOLED, "--verbose", backend=redis.backend)
        argv = command_of("redis", "outage", relay.socket)
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        while redis.control.ask("EXISTS", "a") == 0:
            pass
        redis.stop()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        relay.logs("; refused")
        second = Redis(folder)
        self.addCleanup(second.stop)
        output, _ = process.communicate(timeout=LIMIT)
        stored, error, value = json.loads(output)
        self.assertEqual((stored, value), (True, False))
        self.assertTrue(error.startswith("RedisException: FASTCAR connection "), error)
        relay.logs(" left after .* requests answered")
        self.assertEqual(relay.output.count(" left after "), 1)

    def test_oversize(self) -> None:
        """A value that is too large fails at once, and changes nothing."""
        why = "RedisException: FASTCAR expected a frame of 1 to 2097152 bytes (--max-frame)"
        relay = self.start_relay(*POOLED, "--max-frame", "2M", backend=self.redis.backend)
        for place in (relay.socket, f"127.0.0.1:{relay.port}"):
            self.assertEqual(run_php("oversize", place), [True, why, "small"])


def run_benchmark(place: str, *arguments: str) -> None:
    """Run redis-benchmark against a path or HOST:PORT; it must not see an error."""
    host, _, port = place.partition(":")
    to = ["-h", host, "-p", port] if port else ["-s", place]
    argv = [require("redis-benchmark", "redis-tools"), *to, "--csv", "-r", "1000", *arguments]
    done = subprocess.run(argv, capture_output=True, timeout=3 * LIMIT, check=False)
    if done.returncode != 0 or done.stderr or b"rror" in done.stdout:
        raise AssertionError(done)


@functools.cache
def direct_calls(arguments: tuple[str, ...]) -> dict[str, int]:
    """How often Redis is asked what without a relay."""
    redis = shared_redis()
    redis.reset()
    run_benchmark(redis.socket, *arguments)
    return redis.calls()


class BenchmarkTests(RelayTestCase):
    """redis-benchmark."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.redis = shared_redis()

    def assert_all_carried_out(self, *arguments: str, tcp: bool = False) -> None:
        """Each command has reached Redis as often as without a relay."""
        expected = direct_calls(arguments)
        relay = self.shared_relay("--backend", self.redis.backend, *self.options)
        self.redis.reset()
        run_benchmark(f"127.0.0.1:{relay.port}" if tcp else relay.socket, *arguments)
        self.assertEqual(self.redis.calls(), expected)

    def test_small(self) -> None:
        """One command after the other, on 50 connections."""
        tests = ("-t", "ping,set,get,incr,mset")
        self.assert_all_carried_out(*tests, "-n", "1600", "-c", "50")

    def test_pipelined(self) -> None:
        """Sixteen commands at a time."""
        tests = ("-t", "set,get,incr,lpush,lrange_100")
        self.assert_all_carried_out(*tests, "-n", "3200", "-c", "50", "-P", "16", tcp=True)

    def test_large(self) -> None:
        """Values of 50 kB, eight at a time."""
        size = ("-n", "800", "-c", "20", "-P", "8", "-d", "50000")
        self.assert_all_carried_out("-t", "set,get", *size)


class BenchmarkPooledTests(BenchmarkTests):
    """The same with few connections for all."""

    options = POOLED
