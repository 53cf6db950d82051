"""Whatever clients and backends do: every response belongs to its request, none is sent twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from .support import SIGNS, End, MemoryRelay

CLIENTS = 4
POOL = 2
CAPACITY = 8192
#: What a backend says that was not asked.
JUNK = b"junk\n"


class Client:
    """
    A client that says in each request whose it is, and which.

    @ivar asked: all its requests.
    @ivar got: all that it has received.
    @ivar left: how.
    """

    def __init__(self, relay: MemoryRelay, name: int) -> None:
        self.end = relay.client(capacity=CAPACITY)
        self.asked: list[bytes] = []
        self.got = b""
        self.left = ""
        self._name = name

    def ask(self, signs: str) -> None:
        """Send a request for each sign, in one piece; that of L has a long response."""
        if self.left or self.end.closed:
            return
        requests = []
        for number, sign in enumerate(signs, len(self.asked)):
            padding = "x" * 20_000 if sign == "L" else ""
            requests.append(f"{sign}{self._name}.{number}{padding}\n".encode())
        self.asked += requests
        self.end.send(b"".join(requests))

    def leave(self, how: str) -> None:
        """Leave, once."""
        if not self.left and not self.end.closed:
            self.left = how
            getattr(self.end, how)()

    @property
    def passed_on(self) -> list[bytes]:
        """The requests that are to arrive, sooner or later."""
        found: list[bytes] = []
        own = False
        for each in self.asked:
            own = own or each.startswith(b"!")
            if own or not each.startswith(b"#"):
                found.append(each)
        return found

    @property
    def expected(self) -> bytes:
        """What it is to receive then."""
        return b"".join(b"=" + each for each in self.passed_on)


class Server:
    """
    A connection to a backend that answers each line with the same line.

    @ivar seen: all requests.
    @ivar owed: what it has not sent yet.
    @ivar left: it has ended the connection, or its half of it.
    """

    def __init__(self, end: End) -> None:
        self.end = end
        self.seen: list[bytes] = []
        self.owed = b""
        self.left = False
        self._part = b""

    def look(self) -> list[bytes]:
        """Take what has come; return the new requests."""
        *requests, self._part = (self._part + self.end.take()).split(b"\n")
        requests = [each + b"\n" for each in requests]
        self.seen += requests
        self.owed += b"".join(b"=" + each for each in requests)
        return requests

    def answer(self, size: int | None = None) -> bool:
        """Send some of what is due."""
        data = b"" if self.left or self.end.closed else self.owed[:size]
        self.owed = self.owed[len(data) :]
        self.end.send(data)
        return bool(data)

    def babble(self) -> bool:
        """Say something that was not asked, unless it has become a client's own."""
        own = any(each.startswith(b"!") for each in self.seen)
        if own or self.owed or self.left or self.end.closed:
            return False
        self.end.send(JUNK)
        return True

    def leave(self, how: str) -> bool:
        """Leave, once."""
        if self.left or self.end.closed:
            return False
        self.left = True
        getattr(self.end, how)()
        return True


class World:
    """
    Some clients, a relay, and a backend.

    @ivar failed: the backend has done what it should not.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.relay = MemoryRelay(pool=POOL, framing=SIGNS, max_frame=30_000)
        self.relay.capacity = CAPACITY
        self.clients = [Client(self.relay, name) for name in range(CLIENTS)]
        self.servers: list[Server] = []
        self.failed = False
        self._test = test
        self._seen: list[bytes] = []
        # Who has begun something, and where.
        self._held: dict[bytes, Server] = {}

    def do(self, what: str, which: int, how: Any) -> None:
        """Let something happen."""
        client = self.clients[which % CLIENTS]
        if what in ("ask", "leave"):
            getattr(client, what)(how)
        elif what == "read":
            client.end.resume() if how else client.end.pause()
        elif self.servers:
            server = self.servers[which % len(self.servers)]
            if what == "answer":
                server.answer(how)
            elif what == "babble":
                self.failed = server.babble() or self.failed
            else:
                self.failed = server.leave(how) or self.failed

    def look(self) -> None:
        """Check that nothing is wrong."""
        test = self._test
        for end in self.relay.connections[len(self.servers) :]:
            self.servers.append(Server(end))
        for server in self.servers:
            for request in server.look():
                self._seen.append(request)
                sign, whose = request[:1], request[1:2]
                # What is begun on a connection goes on there.
                test.assertIs(self._held.get(whose, server), server)
                if sign == b"+":
                    self._held[whose] = server
                elif sign == b"-":
                    self._held.pop(whose, None)
        for name, client in enumerate(self.clients):
            client.got += client.end.take()
            test.assertTrue(client.expected.startswith(client.got))
            mine = [each for each in self._seen if each[1:].startswith(b"%d." % name)]
            test.assertEqual(mine, client.passed_on[: len(mine)])
        counts = self.relay.pool.stats().total
        test.assertLessEqual(counts.active + counts.idle, POOL)

    def finish(self) -> None:
        """Let all be answered, and check that it is."""
        test = self._test
        for client in self.clients:
            client.end.resume()
            client.ask("-")
        self.settle()
        for client in self.clients:
            stays = client.left in ("", "end")
            if stays and not self.failed:
                test.assertEqual(client.got, client.expected)
            if stays:
                client.end.close()
        self.settle()
        test.assertEqual(self.relay.pool.stats().total.active, 0)
        for server in self.servers:
            test.assertEqual(intruders(server.seen), [])
            server.leave("close")
        test.assertEqual(self.relay.relay.clients, set())

    def settle(self) -> None:
        """Have all that arrives answered."""
        self.look()
        while sum(server.answer() for server in self.servers):
            self.look()


def intruders(seen: list[bytes]) -> list[bytes]:
    """
    @param seen: all requests on one connection.
    @return: those that came in between those of somebody else's transaction.
    """
    holder = b""
    found = []
    for request in seen:
        sign, name = request[:1], request[1:2]
        if holder and name != holder:
            found.append(request)
        if sign in (b"+", b"!"):
            holder = name
        elif sign == b"-":
            holder = b""
    return found


quick = settings(max_examples=80, derandomize=True, deadline=None, database=None)

_client = st.integers(0, CLIENTS - 1)
_server = st.integers(0, 5)
_signs = st.text("aaaaabbbL++--#", min_size=1, max_size=6)
_ask = st.tuples(st.just("ask"), _client, _signs)
_own = st.tuples(st.just("ask"), _client, st.just("a!b"))
_answer = st.tuples(
    st.just("answer"), _server, st.sampled_from([1, 3, 10, 5000, 50_000, None, None])
)
_read = st.tuples(st.just("read"), _client, st.booleans())
_leave = st.tuples(st.just("leave"), _client, st.sampled_from(["end", "close", "reset"]))
_fail = st.tuples(st.just("fail"), _server, st.sampled_from(["end", "close", "reset"]))
_babble = st.tuples(st.just("babble"), _server, st.none())
_well = st.one_of(_ask, _ask, _answer, _answer, _read, _own, _leave)


class PropertyTests(SynchronousTestCase):
    """Clients that ask, leave, and read or not, over few connections."""

    def check(self, steps: list[tuple[str, int, Any]]) -> World:
        """Go through all of it."""
        world = World(self)
        try:
            for what, which, how in steps:
                world.do(what, which, how)
                world.look()
            world.finish()
        finally:
            world.relay.close()
        return world

    @quick
    @given(st.lists(_well, max_size=40))
    def test_all_is_well(self, steps: list[tuple[str, int, Any]]) -> None:
        """If backends do what they should, every client that stays has every response."""
        self.assertFalse(self.check(steps).failed)

    @quick
    @given(st.lists(st.one_of(_well, _well, _well, _fail, _babble), max_size=40))
    def test_failures(self, steps: list[tuple[str, int, Any]]) -> None:
        """If not, some have fewer; none has another's, and no request arrives twice."""
        self.check(steps)
