"""Many deadlines on one timer."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.config import Config
from fastcar_tw.deadlines import NEVER, Deadlines
from fastcar_tw.downstream.clients import sweep_interval


class Item:
    """Something with a deadline."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired_at: list[float] = []
        self.clock = Clock()

    def expired(self) -> None:
        """Note the time, and wait for no other."""
        self.expired_at.append(self.clock.seconds())
        self.deadline = NEVER


class Broken(Item):
    """Has a bug."""

    def expired(self) -> None:
        """Fail."""
        raise ZeroDivisionError


class DeadlineTests(SynchronousTestCase):
    """L{Deadlines}."""

    def setUp(self) -> None:
        """Sweep each second."""
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock, 1.0)
        self.deadlines.start()

    def watched(self, deadline: float, kind: type[Item] = Item) -> Item:
        """An item that is watched."""
        item = kind(deadline)
        item.clock = self.clock
        self.deadlines.watch(item)
        return item

    def elapse(self, seconds: int) -> None:
        """Let time go by in quarters of a second."""
        self.clock.pump([0.25] * (seconds * 4))

    def test_never_early(self) -> None:
        """A deadline is met at the first sweep that is not before it."""
        items = [self.watched(at) for at in (2.0, 2.1, 2.9, 3.0)]
        self.elapse(10)
        self.assertEqual([item.expired_at for item in items], [[2.0], [3.0], [3.0], [3.0]])

    def test_moved(self) -> None:
        """A deadline that was moved counts in its new place."""
        item = self.watched(2.0)
        self.elapse(1)
        item.deadline = 5.0
        self.elapse(3)
        self.assertEqual(item.expired_at, [])
        self.elapse(2)
        self.assertEqual(item.expired_at, [5.0])

    def test_never(self) -> None:
        """Some never come."""
        item = self.watched(NEVER)
        self.elapse(1000)
        self.assertEqual(item.expired_at, [])

    def test_unwatched(self) -> None:
        """What is not watched any more does not expire; unwatching twice does no harm."""
        item = self.watched(2.0)
        self.deadlines.unwatch(item)
        self.deadlines.unwatch(item)
        self.elapse(5)
        self.assertEqual(item.expired_at, [])
        self.assertEqual(len(self.deadlines), 0)

    def test_watched_in_a_sweep(self) -> None:
        """The set may change while it is swept."""

        children: list[Item] = []

        class Parent(Item):
            """Replaces itself."""

            def expired(item) -> None:  # noqa: N805
                """Watch another, and not this one."""
                self.deadlines.unwatch(item)
                children.append(self.watched(item.deadline + 2))

        for _ in range(10):
            self.watched(1.0, Parent)
        self.elapse(5)
        self.assertEqual([child.expired_at for child in children], [[3.0]] * 10)
        self.assertEqual(len(self.deadlines), 10)

    def test_bug(self) -> None:
        """One object's bug is logged, and does not end the deadlines of others."""
        self.watched(1.0, Broken)
        items = [self.watched(1.0) for _ in range(5)]
        self.elapse(3)
        self.assertEqual([item.expired_at for item in items], [[1.0]] * 5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bug_of_one_that_has_moved_on(self) -> None:
        """One that has moved its deadline before it failed goes on being watched."""

        class Moving(Item):
            def expired(self) -> None:
                super().expired()
                self.deadline = self.clock.seconds() + 1
                raise ZeroDivisionError

        item = self.watched(1.0, Moving)
        self.elapse(3)
        self.assertEqual(item.expired_at, [1.0, 2.0, 3.0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_one_timer(self) -> None:
        """However many are watched, there is one timer."""
        for _ in range(100):
            self.watched(5.0)
        self.elapse(2)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_stop(self) -> None:
        """After stopping nothing expires, and no timer is left; starting goes on."""
        item = self.watched(2.0)
        self.deadlines.stop()
        self.deadlines.stop()
        self.elapse(5)
        self.assertEqual((item.expired_at, self.clock.getDelayedCalls()), ([], []))
        self.deadlines.start()
        self.elapse(1)
        self.assertEqual(item.expired_at, [6.0])


class IntervalTests(SynchronousTestCase):
    """How often deadlines are looked at."""

    def test_usual(self) -> None:
        """With long timeouts once a second."""
        self.assertEqual(sweep_interval(Config()), 1.0)

    def test_short_timeout(self) -> None:
        """With a short one a fraction of it, whichever it is."""
        for name in ("response", "stall", "client", "keepalive", "idle"):
            options: dict[str, Any] = {f"{name}_timeout": 0.4}
            config = Config(**options)
            self.assertEqual(sweep_interval(config), 0.1, name)
