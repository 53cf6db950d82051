"""fastcar relay --framing resp: what a client does to its connection does not concern others."""

from __future__ import annotations

from tests.peers.redis import Monitor, RedisClient, RedisError, command, shared_redis
from tests.peers.relay import Relay, RelayTestCase


class PinningTestCase(RelayTestCase):
    """A test with a Redis, and with clients that share one connection to it."""

    pool = 1

    def setUp(self) -> None:
        super().setUp()
        self.redis = shared_redis()
        self.redis.reset()

    @property
    def relay(self) -> Relay:
        """One that all tests of a class use."""
        sharing = ("--pool", str(self.pool), "--framing", "resp")
        return self.shared_relay("--backend", self.redis.backend, *sharing)

    def join(self, relay: Relay | None = None) -> RedisClient:
        """A client of the relay."""
        return RedisClient(self.client(relay or self.relay))

    def monitor(self) -> Monitor:
        """What Redis is asked from now on."""
        monitor = Monitor(self.redis)
        self.addCleanup(monitor.close)
        return monitor

    def fails(self, client: RedisClient, *arguments: str | int) -> str:
        """The error that Redis gives."""
        with self.assertRaises(RedisError) as caught:
            client.ask(*arguments)
        return str(caught.exception)

    def assert_untouched(self) -> None:
        """Whoever comes now finds a connection as it is after its beginning."""
        newcomer = self.join()
        self.assertEqual(newcomer.ask("SET", "mark", "x"), b"OK")
        self.assertEqual(self.redis.control.ask("GET", "mark"), b"x")
        self.assertEqual(newcomer.ask("ACL", "WHOAMI"), b"default")
        self.assertEqual(self.fails(newcomer, "EXEC"), "ERR EXEC without MULTI")
        newcomer.peer.close()


class TransactionTests(PinningTestCase):
    """MULTI and WATCH keep others away until they are over."""

    def test_others_wait(self) -> None:
        """Nothing that others send becomes part of a transaction."""
        first, second = self.join(), self.join()
        self.assertEqual(first.ask("MULTI"), b"OK")
        self.assertEqual(first.ask("SET", "a", "mine"), b"QUEUED")
        second.send("SET", "a", "yours")
        self.assertEqual(first.ask("GET", "a"), b"QUEUED")
        self.assertEqual(first.ask("EXEC"), [b"OK", b"mine"])
        self.assertEqual(second.read(), b"OK")
        self.assertEqual(first.ask("GET", "a"), b"yours")

    def test_in_one_write(self) -> None:
        """The same in one piece, with requests before and after it."""
        first, second = self.join(), self.join()
        data = b"".join(
            command(*text.split())
            for text in ("SET a 1", "MULTI", "INCR a", "EXEC", "GET a", "MULTI", "INCR a", "EXEC")
        )
        for number in range(50):
            for client in (first, second):
                client.peer.send(data)
            for client in (first, second):
                replies = [client.read() for _ in range(8)]
                expected = [b"OK", b"OK", b"QUEUED", [2], b"2", b"OK", b"QUEUED", [3]]
                # Between two transactions, others may have had their turn.
                loose = [replies[:4], replies[5:7]]
                self.assertEqual(loose, [expected[:4], expected[5:7]], number)

    def test_discarded(self) -> None:
        """A transaction that is given up leaves nothing behind."""
        first, second = self.join(), self.join()
        first.ask("MULTI")
        first.ask("SET", "a", "mine")
        second.send("SET", "b", "yours")
        self.assertEqual(first.ask("DISCARD"), b"OK")
        self.assertEqual(second.read(), b"OK")
        self.assertEqual(second.ask("MGET", "a", "b"), [None, b"yours"])
        self.assert_untouched()

    def test_refused(self) -> None:
        """So does one that Redis refuses."""
        first, second = self.join(), self.join()
        first.ask("MULTI")
        self.assertIn("unknown command", self.fails(first, "NONSENSE"))
        second.send("SET", "b", "yours")
        self.assertIn("EXECABORT", self.fails(first, "EXEC"))
        self.assertEqual(second.read(), b"OK")
        self.assert_untouched()
        self.assertIn("EXEC without MULTI", self.fails(first, "EXEC"))
        self.assertIn("DISCARD without MULTI", self.fails(first, "DISCARD"))
        self.assert_untouched()

    def test_nested(self) -> None:
        """A MULTI inside of one is an error, and changes nothing."""
        first = self.join()
        first.ask("MULTI")
        self.assertIn("can not be nested", self.fails(first, "MULTI"))
        second = self.join()
        second.send("INCR", "a")
        self.assertEqual(first.ask("INCR", "b"), b"QUEUED")
        # Whatever becomes of the transaction, the other is not part of it.
        try:
            self.assertEqual(first.ask("EXEC"), [1])
        except RedisError as error:
            self.assertIn("EXECABORT", str(error))
        self.assertEqual(second.read(), 1)
        self.assert_untouched()

    def test_client_leaves(self) -> None:
        """A client that leaves in the middle takes its transaction with it."""
        for ending in (b"", b"*1\r\n$4\r\nEX"):
            first = self.join()
            first.ask("MULTI")
            self.assertEqual(first.ask("SET", "a", "left behind"), b"QUEUED")
            first.peer.send(ending)
            first.peer.close()
            self.assert_untouched()
            self.assertIsNone(self.redis.control.ask("GET", "a"))

    def test_client_breaks_off(self) -> None:
        """However it leaves, and whether or not it has seen the reply to its MULTI."""
        first = self.join()
        first.peer.send(command("MULTI") + command("SET", "a", "left behind"))
        first.peer.reset()
        self.assert_untouched()
        second = self.join()
        second.peer.send(command("MULTI") + command("SET", "a", "left behind"))
        second.peer.end_output()
        self.assertEqual(second.peer.read_to_end(), b"+OK\r\n+QUEUED\r\n")
        self.assert_untouched()
        self.assertIsNone(self.redis.control.ask("GET", "a"))

    def test_watch(self) -> None:
        """What has changed since WATCH is noticed, also if another client did it."""
        first = self.join()
        self.assertEqual(first.ask("WATCH", "a"), b"OK")
        self.redis.control.ask("SET", "a", "changed")
        first.ask("MULTI")
        first.ask("SET", "a", "lost")
        self.assertIsNone(first.ask("EXEC"))
        self.assertEqual(self.join().ask("GET", "a"), b"changed")

    def test_watched_and_left(self) -> None:
        """What a client has watched is not watched for the next, when it has left or not."""
        for ending in ((), ("UNWATCH",), ("MULTI", "DISCARD")):
            first = self.join()
            first.ask("WATCH", "a")
            for text in ending:
                first.ask(text)
            if not ending:
                first.peer.close()
            second = self.join()
            self.redis.control.ask("INCR", "a")
            second.ask("MULTI")
            second.ask("SET", "b", "x")
            self.assertEqual(second.ask("EXEC"), [b"OK"], ending)
            second.peer.close()

    def test_silent(self) -> None:
        """A client that forgets its transaction is left, so that others come to their turn."""
        timeout = ("--client-timeout", "0.5", "--pool", "1", "--framing", "resp")
        relay = self.start_relay(*timeout, backend=self.redis.backend)
        first, second = self.join(relay), self.join(relay)
        first.peer.send(command("MULTI") + command("SET", "a", "forgotten"))
        self.assertEqual([first.read(), first.read()], [b"OK", b"QUEUED"])
        second.send("SET", "b", "x")
        self.assertEqual(second.read(), b"OK")
        self.assertRaises((EOFError, ConnectionError), first.read)
        relay.logs("takes too long for its transaction")
        self.assertIsNone(second.ask("GET", "a"))

    def test_database_selected(self) -> None:
        """What a transaction does to its connection is not done to that of others."""
        first, second = self.join(), self.join()
        first.ask("MULTI")
        first.ask("SELECT", 1)
        first.ask("SET", "a", "in 1")
        second.send("SET", "a", "in 0")
        self.assertEqual(first.ask("EXEC"), [b"OK", b"OK"])
        self.assertEqual(second.read(), b"OK")
        self.assertEqual(first.ask("GET", "a"), b"in 1")
        self.assertEqual(second.ask("GET", "a"), b"in 0")
        first.peer.close()
        self.assertEqual(self.join().ask("GET", "a"), b"in 0")

    def test_own_connection_follows(self) -> None:
        """A client that needs its connection for good has the one on which it watches."""
        first, second = self.join(), self.join()
        first.ask("WATCH", "a")
        self.assertEqual(first.ask("SELECT", 1), b"OK")
        self.assertEqual(second.ask("SET", "a", "changed"), b"OK")
        first.ask("MULTI")
        first.ask("SET", "b", "lost")
        self.assertIsNone(first.ask("EXEC"))

    def test_subscribed_inside(self) -> None:
        """A subscription that begins in a transaction is not one of others."""
        first, second = self.join(), self.join()
        first.ask("MULTI")
        self.assertEqual(first.ask("SUBSCRIBE", "news"), b"QUEUED")
        first.send("EXEC")
        self.assertEqual(second.ask("PUBLISH", "other", "x"), 0)
        first.peer.read_through(b"news\r\n:1\r\n")
        self.assertEqual(second.ask("PUBLISH", "news", "word"), 1)
        first.peer.read_through(b"word\r\n")
        self.assert_untouched()


class TwoConnectionsTests(PinningTestCase):
    """Where there are two connections, one that is taken leaves the other."""

    pool = 2

    def test_others_do_not_wait(self) -> None:
        """While one client is in a transaction, others are served."""
        first, second = self.join(), self.join()
        first.ask("MULTI")
        first.ask("SET", "a", "mine")
        for number in range(1, 51):
            self.assertEqual(second.ask("INCR", "b"), number)
        self.assertEqual(first.ask("EXEC"), [b"OK"])

    def test_watch(self) -> None:
        """A change that another client makes through the relay is seen."""
        first, second = self.join(), self.join()
        first.ask("WATCH", "a")
        self.assertEqual(second.ask("SET", "a", "changed"), b"OK")
        first.ask("MULTI")
        first.ask("SET", "a", "lost")
        self.assertIsNone(first.ask("EXEC"))
        self.assertEqual(first.ask("GET", "a"), b"changed")

    def test_both_taken(self) -> None:
        """A third waits until one of two transactions is over."""
        first, second, third = self.join(), self.join(), self.join()
        for client in (first, second):
            client.ask("MULTI")
            client.ask("INCR", "a")
        third.send("INCR", "a")
        self.assertEqual(first.ask("EXEC"), [1])
        self.assertEqual(third.read(), 2)
        self.assertEqual(second.ask("EXEC"), [3])


class OwnConnectionTests(PinningTestCase):
    """What cannot be shared has a connection of its own; all others go on sharing theirs."""

    def test_subscriber(self) -> None:
        """A subscriber gets what others publish through the relay, as long as it stays."""
        subscriber, other = self.join(), self.join()
        self.assertEqual(subscriber.ask("SUBSCRIBE", "news"), [b"subscribe", b"news", 1])
        for number in range(20):
            self.assertEqual(other.ask("INCR", "a"), number + 1)
            self.assertEqual(self.join().ask("PUBLISH", "news", f"number {number}"), 1)
            expected = [b"message", b"news", f"number {number}".encode()]
            self.assertEqual(subscriber.read(), expected)
        self.assertEqual(subscriber.ask("UNSUBSCRIBE"), [b"unsubscribe", b"news", 0])
        self.assertEqual(subscriber.ask("GET", "a"), b"20")
        self.assert_untouched()

    def test_patterns(self) -> None:
        """So does one of patterns, and one of a shard's channels."""
        for subscribe, publish in (("PSUBSCRIBE", "PUBLISH"), ("SSUBSCRIBE", "SPUBLISH")):
            subscriber = self.join()
            subscriber.ask(subscribe, "n")
            self.assertEqual(self.join().ask(publish, "n", "word"), 1)
            reply = subscriber.read()
            assert isinstance(reply, list)
            self.assertEqual(reply[-1], b"word")

    def test_database(self) -> None:
        """The database that one client selects is that of no other, before and after it left."""
        first, second = self.join(), self.join()
        second.ask("SET", "a", "in 0")
        self.assertEqual(first.ask("SELECT", 1), b"OK")
        self.assertEqual(first.ask("SET", "a", "in 1"), b"OK")
        for client in (second, self.join()):
            self.assertEqual(client.ask("GET", "a"), b"in 0")
        self.assertEqual(first.ask("GET", "a"), b"in 1")
        first.peer.close()
        for client in (second, self.join()):
            self.assertEqual(client.ask("GET", "a"), b"in 0")

    def test_database_and_more(self) -> None:
        """Commands that come with SELECT in one piece are carried out where they belong."""
        first, second = self.join(), self.join()
        first.peer.send(
            command("SET", "a", "in 0") + command("SELECT", 1) + command("SET", "a", "in 1")
        )
        self.assertEqual([first.read() for _ in range(3)], [b"OK"] * 3)
        self.assertEqual(second.ask("GET", "a"), b"in 0")

    def test_script_cannot_select(self) -> None:
        """A script that selects a database does so for itself."""
        first, second = self.join(), self.join()
        self.assertIsNone(first.ask("EVAL", "redis.call('SELECT', 1) return false", 0))
        first.ask("SET", "a", "in 0")
        self.assertEqual(second.ask("GET", "a"), b"in 0")
        self.assertEqual(self.redis.control.ask("GET", "a"), b"in 0")

    def test_user(self) -> None:
        """The user that one client becomes is that of no other."""
        self.redis.control.ask("ACL", "SETUSER", "guest", "on", "nopass", "+acl|whoami")
        self.addCleanup(self.redis.control.ask, "ACL", "DELUSER", "guest")
        for become in (("AUTH", "guest", "x"), ("HELLO", "2", "AUTH", "guest", "x")):
            first, second = self.join(), self.join()
            first.ask(*become)
            self.assertEqual(first.ask("ACL", "WHOAMI"), b"guest")
            self.assertEqual(second.ask("ACL", "WHOAMI"), b"default")
            first.peer.close()
            self.assert_untouched()

    def test_protocol_version(self) -> None:
        """So is the version of the protocol."""
        first, second = self.join(), self.join()
        second.ask("HSET", "hash", "field", "value")
        first.send("HELLO", "3")
        self.assertEqual(first.peer.read(1), b"%")
        first.peer.read_through(b"modules\r\n*0\r\n")
        pair = b"$5\r\nfield\r\n$5\r\nvalue\r\n"
        for client, expected in ((first, b"%1\r\n" + pair), (second, b"*2\r\n" + pair)):
            client.send("HGETALL", "hash")
            self.assertEqual(client.peer.read(len(expected)), expected)

    def test_name(self) -> None:
        """So is what a client says about itself."""
        first, second = self.join(), self.join()
        self.assertEqual(first.ask("CLIENT", "SETNAME", "first"), b"OK")
        self.assertEqual(first.ask("CLIENT", "GETNAME"), b"first")
        self.assertIn(second.ask("CLIENT", "GETNAME"), (None, b""))
        first.peer.close()
        self.assertIn(self.join().ask("CLIENT", "GETNAME"), (None, b""))

    def test_no_replies(self) -> None:
        """A client that wants no replies does not cost others theirs."""
        first, second = self.join(), self.join()
        first.peer.send(command("CLIENT", "REPLY", "OFF") + command("SET", "a", "x"))
        self.assertEqual(second.ask("PING"), b"PONG")
        self.assertEqual(first.ask("CLIENT", "REPLY", "ON"), b"OK")
        self.assertEqual(first.ask("GET", "a"), b"x")

    def test_monitor(self) -> None:
        """A client that watches Redis sees what others ask."""
        first, second = self.join(), self.join()
        self.assertEqual(first.ask("MONITOR"), b"OK")
        self.assertEqual(second.ask("SET", "a", "x"), b"OK")
        while b'"SET" "a" "x"' not in first.peer.read_through(b"\r\n"):
            pass
        self.assert_untouched()

    def test_blocking(self) -> None:
        """Who waits in Redis for others does not keep these away."""
        stream = ("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")
        self.redis.control.ask(*stream)
        other = self.join()
        for text in (
            "BLPOP queue 0",
            "BRPOP queue 0",
            "BRPOPLPUSH queue other 0",
            "BLMOVE queue other LEFT RIGHT 0",
            "BLMPOP 0 1 queue LEFT",
            "BZPOPMIN sorted 0",
            "BZPOPMAX sorted 0",
            "BZMPOP 0 1 sorted MIN",
            "XREAD BLOCK 0 STREAMS stream $",
            "XREADGROUP GROUP group me BLOCK 0 STREAMS stream >",
        ):
            monitor = self.monitor()
            waiting = self.join()
            waiting.send(*text.split())
            monitor.wait_for(text.split()[0])
            self.assertEqual(other.ask("PING"), b"PONG", text)
            waiting.peer.close()

    def test_blocked_and_served(self) -> None:
        """Who waits gets what another pushes, be there one connection for the others."""
        waiting = [self.join() for _ in range(5)]
        for client in waiting:
            monitor = self.monitor()
            client.send("BLPOP", "queue", 0)
            monitor.wait_for("blpop")
        other = self.join()
        for number, client in enumerate(waiting):
            self.assertEqual(other.ask("RPUSH", "queue", number), 1)
            self.assertEqual(client.read(), [b"queue", str(number).encode()])

    def test_blocked_client_leaves(self) -> None:
        """What is pushed later is not lost to a client that has left."""
        monitor = self.monitor()
        waiting = self.join()
        waiting.send("BLPOP", "queue", 0)
        monitor.wait_for("blpop")
        number = self.redis.connected()
        waiting.peer.close()
        self.redis.wait_connected(number - 1)
        self.assertEqual(self.join().ask("RPUSH", "queue", "kept"), 1)
        self.assertEqual(self.join().ask("LPOP", "queue"), b"kept")


class SharingTests(PinningTestCase):
    """Everything else is shared."""

    def test_pipelined(self) -> None:
        """Requests that do not wait for one another are answered in their order."""
        clients = [self.join() for _ in range(3)]
        for number, client in enumerate(clients):
            client.peer.send(b"".join(command("ECHO", f"{number}-{n}") for n in range(1000)))
        for number, client in enumerate(clients):
            for n in range(1000):
                self.assertEqual(client.read(), f"{number}-{n}".encode())

    def test_inline(self) -> None:
        """So are those that somebody has typed."""
        client = self.join()
        client.peer.send(b'SET a "two words"\r\nGET a\r\n\r\nPING\n')
        self.assertEqual([client.read() for _ in range(3)], [b"OK", b"two words", b"PONG"])

    def test_half_closed(self) -> None:
        """A client that sends no more gets all its replies, and then the end."""
        for data, expected in (
            (b"PING\r\n", b"+PONG\r\n"),
            (b"PING\r\nINCR a\r\nPIN", b"+PONG\r\n:1\r\n"),
            (command("PING") * 500, b"+PONG\r\n" * 500),
            (command("ECHO", "x" * 300_000), b"$300000\r\n" + b"x" * 300_000 + b"\r\n"),
            (b"", b""),
        ):
            peer = self.client(self.relay, data)
            peer.end_output()
            self.assertEqual(peer.read_to_end(), expected)
            peer.close()

    def test_quit(self) -> None:
        """QUIT ends a client, and no connection of the pool."""
        for _ in range(5):
            peer = self.client(self.relay, command("INCR", "a") + command("QUIT") + b"INCR a\r\n")
            self.assertTrue(peer.read_to_end().endswith(b"\r\n+OK\r\n"))
        self.assertEqual(self.join().ask("GET", "a"), b"5")
        self.assertEqual(self.redis.calls().get("quit"), None)

    def test_client_leaves(self) -> None:
        """The reply to a client that has left is nobody else's."""
        for number in range(20):
            leaving = self.client(self.relay, command("ECHO", f"for nobody {number}" * 1000))
            leaving.close()
            self.assertEqual(self.join().ask("ECHO", f"{number}"), str(number).encode())

    def test_errors(self) -> None:
        """An error is a reply, and the connection is the same after it."""
        self.join().ask("PING")
        before = self.redis.accepted()
        client = self.join()
        self.assertIn("unknown command", self.fails(client, "NONSENSE"))
        self.assertIn("wrong number", self.fails(client, "GET"))
        self.assertEqual(client.ask("PING"), b"PONG")
        self.assertEqual(self.redis.accepted(), before)
