"""Connections whose children still work after their response."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.connection import FastCGIConnection
from fastcar_tw.fastcgi.finishing import LONGEST_PAUSE, SHORTEST_PAUSE, FinishingConnections
from fastcar_tw.upstream.backends import Backend

from .test_connection import Owner


class Finishing(FastCGIConnection):
    """A connection that is ready when a test says so, and counts how often that is asked."""

    def __init__(self, done: Callable[[FastCGIConnection], object]) -> None:
        super().__init__(Backend("/run/php.sock"), Owner(True, 0))
        self.ready = False
        self.looks = 0
        self.done = done

    def is_ready(self) -> bool:
        """What the test has said."""
        self.looks += 1
        return self.ready

    def finished(self) -> None:
        """Its child is."""
        self.done(self)


class FinishingTests(SynchronousTestCase):
    """What is looked at, when, and who is told."""

    def setUp(self) -> None:
        """Nothing is watched."""
        self.clock = Clock()
        self.done: list[FastCGIConnection] = []
        self.finishing = FinishingConnections(self.clock)

    def watch(self) -> Finishing:
        """One more."""
        connection = Finishing(self.done.append)
        self.finishing.add(connection)
        return connection

    def elapse(self, seconds: float) -> None:
        """Let time go by, a millisecond at a time."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(0.001)

    def test_ready(self) -> None:
        """A connection that has become ready is told once, and not watched any more."""
        connection = self.watch()
        self.assertEqual(self.done, [])
        connection.ready = True
        self.clock.advance(0)
        self.elapse(1.0)
        self.assertEqual((self.done, len(self.finishing)), ([connection], 0))

    def test_not_ready(self) -> None:
        """One that is not is watched on, until it is."""
        connection = self.watch()
        self.elapse(1.0)
        self.assertEqual((self.done, len(self.finishing)), ([], 1))
        connection.ready = True
        self.elapse(LONGEST_PAUSE)
        self.assertEqual(self.done, [connection])

    def test_others(self) -> None:
        """Each is told when it is ready itself."""
        first, second = self.watch(), self.watch()
        second.ready = True
        self.elapse(0.1)
        self.assertEqual(self.done, [second])
        first.ready = True
        self.elapse(0.1)
        self.assertEqual(self.done, [second, first])

    def test_soon_at_first(self) -> None:
        """At first it is looked often, since most need the time only to get there."""
        connection = self.watch()
        self.clock.advance(0)
        self.assertEqual(connection.looks, 1)
        self.clock.advance(SHORTEST_PAUSE)
        self.assertEqual(connection.looks, 2)

    def test_seldom_later(self) -> None:
        """A script that takes long costs few looks: the pauses grow to the longest one."""
        connection = self.watch()
        self.elapse(1.0)
        before = connection.looks
        self.elapse(1.0)
        self.assertLessEqual(connection.looks - before, 1.0 / LONGEST_PAUSE + 1)
        self.assertGreaterEqual(connection.looks - before, 0.7 / LONGEST_PAUSE)

    def test_new_one_beside_old(self) -> None:
        """One that is added is looked at soon, however long others take already."""
        self.watch()
        self.elapse(1.0)
        connection = self.watch()
        self.clock.advance(0)
        connection.ready = True
        self.clock.advance(SHORTEST_PAUSE)
        self.assertEqual(self.done, [connection])

    def test_discarded(self) -> None:
        """One that has ended is not looked at any more, and when none is left nothing happens."""
        connection, other = self.watch(), self.watch()
        self.finishing.discard(other)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.finishing.discard(connection)
        self.finishing.discard(connection)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.elapse(0.1)
        self.assertEqual((self.done, connection.looks), ([], 0))
        self.watch().ready = True
        self.elapse(0.1)
        self.assertEqual(len(self.done), 1)

    def test_added_meanwhile(self) -> None:
        """Whoever is told of one may add another."""
        finishing = FinishingConnections(self.clock)
        second = Finishing(self.done.append)
        first = Finishing(lambda _: finishing.add(second))
        first.ready = second.ready = True
        finishing.add(first)
        self.elapse(0.1)
        self.assertEqual((self.done, len(finishing)), ([second], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_discarded_meanwhile(self) -> None:
        """Whoever is told of one may end another, which then is not told."""

        def done(connection: FastCGIConnection) -> None:
            self.done.append(connection)
            finishing.discard(second)

        finishing = FinishingConnections(self.clock)
        first, second = Finishing(done), Finishing(self.done.append)
        first.ready = second.ready = True
        finishing.add(first)
        finishing.add(second)
        self.elapse(0.1)
        self.assertEqual((self.done, len(finishing)), ([first], 0))
