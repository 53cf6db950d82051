"""Whatever clients and children do, everybody gets the own response, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.testing import Peer
from tests.forward.support import CHUNKED, request

from .support import Child, MemoryGateway, ScriptRequest, end_request, stderr, stdout


class World:
    """
    A gateway, some clients with numbered requests, and children that answer with these numbers.

    @ivar asked: the numbers that each client has sent, in order.
    @ivar answered: the requests that children have answered to the end.
    """

    def __init__(self) -> None:
        fpm = ("unix:/run/one", "unix:/run/two")
        self.gateway = MemoryGateway(fpm=fpm, connections=1, spool_memory=8)
        self.clients: list[Peer] = []
        self.asked: dict[Peer, list[int]] = {}
        self.answered: set[ScriptRequest] = set()
        self.number = 0

    def connect(self, at: int) -> None:
        if len(self.clients) < 5:
            client = self.gateway.client(tls=at % 3 == 0)
            self.clients.append(client)
            self.asked[client] = []

    def ask(self, at: int) -> None:
        """A request, which may have a body, that may be incomplete."""
        client = self._client(at)
        if client is None:
            return
        self.number += 1
        target = b"/?%d" % self.number
        self.asked[client].append(self.number)
        length = b"Content-Length: 12"
        client.send(
            (
                request(target),
                request(target, method=b"POST", body=b"hello"),
                request(target, CHUNKED, method=b"PUT", body=b"a\r\n0123456789\r\n0\r\n\r\n"),
                request(target, length, method=b"PUT") + b"half of",
                request(target, length, method=b"POST") + b"half of",
                request(target) + request(target, method=b"HEAD")[:10],
            )[at % 6]
        )

    def go_on(self, at: int) -> None:
        """Some bytes, which complete a body, or make nonsense."""
        client = self._client(at)
        if client is not None:
            client.send(b" it." if at % 2 else b" it.\n")

    def leave(self, at: int) -> None:
        client = self._client(at)
        if client is not None:
            self.clients.remove(client)
            (Peer.end, Peer.close)[at % 2](client)

    def say(self, at: int) -> None:
        """Part of a response."""
        child = self._busy(at)
        if child is not None:
            number = child.request.params[b"QUERY_STRING"]
            child.stdout(b"A: b\r\n\r\n<%b>" % number)

    def answer(self, at: int) -> None:
        """A whole response, or the end of one."""
        child = self._busy(at)
        if child is not None:
            number = child.request.params[b"QUERY_STRING"]
            page = stdout(b"A: b\r\n\r\n<%b>" % number)
            self.answered.add(child.request)
            child.send(stderr(b"x\n") + page + end_request())

    def die(self, at: int) -> None:
        child = self._child(at)
        if child is not None:
            child.close()

    def pause(self, at: int) -> None:
        """Read nothing for some time."""
        peer = self._child(at) if at % 2 else self._client(at)
        if peer is not None:
            (peer.resume if at % 3 else peer.pause)()

    def refuse(self, at: int) -> None:
        backends = self.gateway.config.backends
        self.gateway.refusing = {each for n, each in enumerate(backends) if at >> n & 1}

    def elapse(self, at: int) -> None:
        self.gateway.elapse((0.1, 1, 3, 11, 70)[at % 5])

    def end(self) -> None:
        """Everybody goes."""
        for client in self.clients:
            client.resume()
            client.close()
        self.gateway.elapse(1)

    def _client(self, at: int) -> Peer | None:
        there = [each for each in self.clients if not each.closed]
        return there[at % len(there)] if there else None

    def _child(self, at: int) -> Child | None:
        there = [each for each in self.gateway.children if not each.closed]
        return there[at % len(there)] if there else None

    def _busy(self, at: int) -> Child | None:
        """A child with something to answer, which one that reads nothing does not learn of."""
        child = self._child(at)
        if child is None or not child.requests or child.request in self.answered:
            return None
        return child


ACTS = (
    World.connect,
    World.ask,
    World.ask,
    World.go_on,
    World.leave,
    World.say,
    World.answer,
    World.answer,
    World.die,
    World.pause,
    World.refuse,
    World.elapse,
)


def numbers(received: bytes) -> list[int]:
    """The numbers in the bodies that a client has got, one a response."""
    found: list[int] = []
    for part in received.split(b"<")[1:]:
        number = int(part.partition(b">")[0])
        if not found or found[-1] != number:
            found.append(number)
    return found


class AnythingTests(SynchronousTestCase):
    """Any acts in any order."""

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 29)), min_size=8, max_size=40))
    def test_own_responses(self, acts: list[tuple[Callable[[World, int], None], int]]) -> None:
        """Each client gets its own responses only, in their order; nothing breaks or stays."""
        world = World()
        for at in range(3):
            world.connect(at)
            world.ask(at * 7)
        for act, at in acts:
            act(world, at)
            for client, asked in world.asked.items():
                got = numbers(client.received)
                rest = iter(asked)
                self.assertTrue(all(number in rest for number in got), (got, asked))
        world.end()
        self.assertEqual(world.gateway.gateway.clients, set())
        total = world.gateway.pool.stats().total
        self.assertEqual((total.active, total.waiting), (0, 0))
        world.gateway.close()
        self.assertEqual(self.flushLoggedErrors(), [])
