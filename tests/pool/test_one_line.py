"""The rules of a pool whose origins all do the same, so that they have one line."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.pool.core import Refusal
from fastcar_tw.pool.one_line import OneLineCore

from .driver import Connection, Driver


class OneLine(Driver):
    """Two origins that do the same, with two connections each unless something else is said."""

    core_type = OneLineCore

    def __init__(self, each: int = 2, **changed: float) -> None:
        super().__init__(
            **{"max_connections": 2 * each, "max_connections_per_origin": each, **changed}
        )
        self.load("a"), self.load("b")

    def load(self, key: str) -> tuple[bool, bool, int]:
        """How good a choice an origin is."""
        assert isinstance(self.core, OneLineCore)
        return self.core.load(key, self.now)

    def all_busy(self) -> list[Connection]:
        """Both origins with all the connections they may have, in use: those of "a" first."""
        count = self.core.limits.max_connections_per_origin
        return [*self.connect("a", count), *self.connect("b", count)]

    def trip(self, key: str) -> None:
        """An origin fails until it is left alone."""
        while not self.load(key)[0]:
            waiter = f"tries {key}{self.now}"
            self.acquire(key, waiter, again=True)
            self.cancel(key, waiter)
            self.fail(next(each for each in self.opening if each.key == key))
            self.now += 0.001


class OrderTests(SynchronousTestCase):
    """Who comes first."""

    def test_any_connection(self) -> None:
        """A released connection serves the first of all that wait, wherever it wanted to go."""
        pool = OneLine()
        a1, a2, b1, b2 = pool.all_busy()
        for number, key in enumerate("abba"):
            pool.acquire(key, f"{number}")
        pool.release(b1, b2, a1, a2)
        self.assertEqual(pool.assigned, {"0": b1, "1": b2, "2": a1, "3": a2})

    def test_drawn_keeps_its_turn(self) -> None:
        """Who was moved to an origin with room, but did not get it, is still first of all."""
        pool = OneLine(1)
        a1, b1 = pool.all_busy()
        pool.acquire("b", "1", "2")
        pool.acquire("a", "again", again=True)
        pool.acquire("a", "3")
        pool.end(a1)
        self.assertEqual([each.waiter for each in pool.opening], ["again"])
        pool.release(b1)
        self.assertEqual(pool.assigned, {"1": b1})

    def test_drawn_in_order(self) -> None:
        """Where a connection may be opened again, it is for the first of all, not of its origin."""
        pool = OneLine(1)
        a1, b1 = pool.all_busy()
        pool.acquire("b", "1")
        pool.acquire("a", "2")
        pool.end(a1)
        pool.release(b1)
        self.assertEqual(pool.assigned, {"1": b1})
        self.assertEqual(pool.succeed(), pool.assigned["2"])

    def test_orphan(self) -> None:
        """An attempt that nobody counts on any more is for the first of all, not the next."""
        pool = OneLine(1)
        (b1,) = pool.connect("b")
        pool.acquire("a", "gone")
        pool.acquire("b", "1")
        pool.cancel("a", "gone")
        pool.acquire("a", "2")
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"1": connection})
        pool.release(b1)
        self.assertIs(pool.assigned["2"], b1)

    def test_opened_for_another(self) -> None:
        """A new connection that serves someone of another origin is new, and is not one reused."""
        pool = OneLine(1)
        (b1,) = pool.connect("b")
        pool.acquire("a", "1")
        pool.release(b1)
        pool.acquire("b", "2")
        connection = pool.succeed()
        self.assertIs(pool.assigned["2"], connection)
        self.assertTrue(connection.fresh)
        self.assertEqual((pool.counts("a").reused, pool.counts("b").reused), (0, 1))

    def test_put_back_first(self) -> None:
        """Who is put back comes before those who came later and count on an attempt."""
        pool = OneLine(2)
        b1 = pool.connect("b")[0]
        pool.acquire("a", "1")
        pool.acquire("b", "2")
        pool.fail()
        pool.release(b1)
        self.assertEqual(pool.assigned, {"1": b1})

    def test_promised_in_order(self) -> None:
        """So does who counts on an attempt again: whichever succeeds first is for the first."""
        pool = OneLine(3)
        pool.connect("b")
        pool.acquire("a", "1")
        pool.acquire("b", "2")
        pool.fail()
        self.assertEqual(pool.opening_for, ["b", "b"])
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"1": connection})

    def test_again_first(self) -> None:
        """A request that is sent again gets the next connection that its origin opens."""
        pool = OneLine(1)
        a1, _ = pool.all_busy()
        pool.acquire("b", "1")
        pool.acquire("a", "2", again=True)
        pool.end(a1)
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"2": connection})


class WaitingTests(SynchronousTestCase):
    """Nobody waits without need."""

    def test_idle_elsewhere(self) -> None:
        """An idle connection serves, whichever origin's it is; the wanted one's comes first."""
        pool = OneLine()
        a1, b1 = *pool.connect("a"), *pool.connect("b")
        pool.release(b1, a1)
        pool.acquire("b", "1", "2")
        self.assertEqual(pool.assigned, {"1": b1, "2": a1})
        self.assertEqual(pool.opening, [])

    def test_room_elsewhere(self) -> None:
        """A request for an origin that has no room has a connection to another one opened."""
        pool = OneLine(1)
        pool.connect("a")
        pool.acquire("a", "1")
        self.assertEqual(pool.opening_for, ["b"])

    def test_slow_attempt(self) -> None:
        """Who counts on an attempt is served by whatever comes free before, anywhere."""
        pool = OneLine(1)
        (b1,) = pool.connect("b")
        pool.acquire("a", "1")
        pool.release(b1)
        self.assertEqual(pool.assigned, {"1": b1})
        pool.succeed()
        self.assertEqual((pool.counts("a").idle, pool.counts("a").waiting), (1, 0))

    def test_room_again(self) -> None:
        """When an attempt succeeds after failures, more are made for those in line."""
        pool = OneLine(2, fail_fast_after=1)
        pool.connect("a", 2)
        pool.trip("b")
        pool.acquire("a", "1", "2")
        self.assertEqual(pool.opening, [])
        pool.now += 5.0
        pool.acquire("b", "probe", again=True)
        pool.succeed()
        self.assertEqual(pool.opening_for, ["b"])
        connection = pool.succeed()
        self.assertIs(pool.assigned["1"], connection)

    def test_limits(self) -> None:
        """No origin gets more connections than it may have."""
        pool = OneLine(2)
        pool.acquire("a", *map(str, range(9)))
        self.assertEqual(sorted(pool.opening_for), ["a", "a", "b", "b"])


class FailureTests(SynchronousTestCase):
    """An origin that fails holds nobody."""

    def test_put_back(self) -> None:
        """Whose attempt has failed waits for another origin's connection, in its old turn."""
        pool = OneLine(1)
        (b1,) = pool.connect("b")
        pool.acquire("a", "1", "2")
        pool.fail()
        self.assertEqual((pool.refused, pool.opening), ({}, []))
        pool.release(b1)
        self.assertEqual(pool.assigned, {"1": b1})

    def test_other_tried(self) -> None:
        """Whose attempt has failed has one made at the other origin at once."""
        pool = OneLine(1)
        pool.acquire("a", "1")
        pool.fail()
        self.assertEqual((pool.refused, pool.opening_for), ({}, ["b"]))
        self.assertIs(pool.succeed(), pool.assigned["1"])

    def test_orphan(self) -> None:
        """Whose attempt has failed counts on one that nobody counts on, before any is begun."""
        pool = OneLine(1, max_connections=3)
        pool.load("c")
        pool.acquire("a", "1")
        pool.acquire("c", "gone")
        pool.cancel("c", "gone")
        pool.fail()
        self.assertEqual(pool.opening_for, ["c"])
        self.assertIs(pool.succeed(), pool.assigned["1"])

    def test_best_refuge(self) -> None:
        """It is made where nothing has failed, rather than waited where less is in use."""
        pool = OneLine(3, max_connections=9)
        pool.connect("a")
        pool.acquire("a", "x", again=True)
        pool.cancel("a", "x")
        pool.fail()
        pool.connect("b", 2)
        pool.acquire("c", "1")
        pool.fail()
        self.assertEqual(pool.opening_for, ["b"])

    def test_new_one_elsewhere(self) -> None:
        """Who must have a new connection, and whose attempt has failed, has one opened elsewhere,
        though others are there."""
        pool = OneLine(2)
        pool.load("b")
        (b1,) = pool.connect("b")
        pool.release(b1)
        pool.acquire("a", "1", again=True)
        pool.fail()
        self.assertEqual((pool.refused, pool.opening_for), ({}, ["b"]))
        self.assertIsNot(pool.succeed(), b1)
        self.assertIn("1", pool.assigned)

    def test_new_one_in_time(self) -> None:
        """That takes none of the time it may wait again."""
        pool = OneLine(1, queue_timeout=10.0, max_connections=4)
        pool.load("c")
        pool.connect("b"), pool.connect("c")
        pool.acquire("a", "1", again=True)
        pool.wait(8.0)
        pool.fail()
        self.assertEqual((pool.refused, pool.core.queued), ({}, 1))
        pool.wait(2.5)
        self.assertEqual(pool.refusal("1"), Refusal.QUEUE_TIMEOUT)

    def test_new_one_nowhere(self) -> None:
        """It ends where every origin has failed when last asked, whatever connections there are."""
        pool = OneLine(2)
        pool.connect("b")
        pool.acquire("a", "1", again=True)
        pool.fail()
        pool.fail()
        self.assertEqual(pool.refusal("1"), Refusal.ATTEMPT_FAILED)
        self.assertEqual(pool.opening, [])

    def test_all_fail(self) -> None:
        """Where every origin fails, a request is told so, in the name of the last one."""
        pool = OneLine(1)
        pool.acquire("a", "1")
        pool.fail()
        pool.fail(error="gone")
        refused = pool.refused["1"]
        self.assertEqual(
            (refused.refusal, refused.key, refused.error), (Refusal.ATTEMPT_FAILED, "b", "gone")
        )
        self.assertEqual(pool.opening, [])

    def test_left_alone(self) -> None:
        """While an origin is left alone, its requests wait for the other one's connections."""
        pool = OneLine(1, fail_fast_after=1)
        (b1,) = pool.connect("b")
        pool.trip("a")
        pool.acquire("a", "1")
        self.assertIsNone(pool.refusal("1"))
        self.assertEqual(pool.opening, [])
        pool.release(b1)
        self.assertEqual(pool.assigned, {"1": b1})

    def test_not_drawn_to_failing(self) -> None:
        """Nobody is moved to an origin whose last attempt has failed."""
        pool = OneLine(1)
        a1, _ = pool.all_busy()
        pool.acquire("a", "1")
        pool.acquire("b", "2")
        pool.end(a1)
        pool.fail()
        self.assertEqual((pool.opening, pool.refused), ([], {}))

    def test_all_left_alone(self) -> None:
        """While all origins are left alone, requests are refused."""
        pool = OneLine(1, fail_fast_after=1)
        pool.trip("a")
        pool.trip("b")
        pool.acquire("a", "1")
        self.assertEqual(pool.refusal("1"), Refusal.FAILING)

    def test_last_one_ends(self) -> None:
        """When the last connection ends, and none can be opened, all are refused."""
        pool = OneLine(1, fail_fast_after=1)
        (b1,) = pool.connect("b")
        pool.trip("a")
        pool.acquire("a", "1", "2")
        pool.end(b1)
        pool.fail()
        self.assertEqual(
            (pool.refusal("1"), pool.refusal("2")), (Refusal.ATTEMPT_FAILED, Refusal.FAILING)
        )

    def test_probe_counted_on(self) -> None:
        """The first of all counts on an attempt that nobody has asked for, and is no worse off for
        it: whatever comes free before serves it, and when that fails it has its old turn."""
        pool = OneLine(1)
        (b1,) = pool.connect("b")
        pool.acquire("a", "x")
        pool.fail()
        pool.cancel("a", "x")
        pool.acquire("b", "1", "2")
        pool.probe("a")
        self.assertEqual((pool.opening_for, pool.core.queued), (["a"], 1))
        pool.fail()
        self.assertEqual((pool.refused, pool.core.queued), ({}, 2))
        pool.release(b1)
        self.assertEqual(pool.assigned, {"1": b1})
        pool.probe("a")
        pool.release(b1)
        self.assertIs(pool.assigned["2"], b1)
        pool.succeed()
        self.assertEqual(pool.counts("a").idle, 1)

    def test_timeout_after_move(self) -> None:
        """A request that was moved waits no longer than others."""
        pool = OneLine(1, queue_timeout=10.0)
        a1, _ = pool.all_busy()
        pool.acquire("b", "1")
        pool.now += 6.0
        pool.acquire("b", "2")
        pool.acquire("a", "again", again=True)
        pool.end(a1)
        pool.wait(4.0)
        self.assertEqual(pool.refusal("1"), Refusal.QUEUE_TIMEOUT)
        self.assertIsNone(pool.refusal("2"))


class CancelTests(SynchronousTestCase):
    """Requests that go."""

    def test_moved(self) -> None:
        """A request that was moved to another origin can be cancelled where it wanted to go."""
        pool = OneLine(1)
        a1, b1 = pool.all_busy()
        pool.acquire("b", "1")
        pool.end(a1)
        self.assertEqual(pool.opening_for, ["a"])
        pool.cancel("b", "1")
        self.assertEqual((pool.counts("a").waiting, pool.counts("b").waiting), (0, 0))
        pool.succeed()
        pool.release(b1)
        self.assertEqual((pool.counts("a").idle, pool.counts("b").idle), (1, 1))
        self.assertEqual(pool.assigned, {})

    def test_queued(self) -> None:
        """One that counts on nothing gives its turn to the next."""
        pool = OneLine(1)
        _, b1 = pool.all_busy()
        pool.acquire("a", "1", "2")
        pool.cancel("a", "1")
        pool.release(b1)
        self.assertEqual(pool.assigned, {"2": b1})


class QueueTests(SynchronousTestCase):
    """How many may wait."""

    def test_full(self) -> None:
        """The limit is one for all, and the last to come is refused."""
        pool = OneLine(1, max_queue=2)
        pool.all_busy()
        pool.acquire("a", "1")
        pool.acquire("b", "2")
        pool.acquire("a", "3")
        self.assertEqual(pool.refusal("3"), Refusal.QUEUE_FULL)
        self.assertEqual(list(pool.refused), ["3"])


class LoadTests(SynchronousTestCase):
    """Which origin is the best choice."""

    def test_least_busy(self) -> None:
        """The one with the fewest connections in use or being opened; idle ones do not count."""
        pool = OneLine(3)
        pool.connect("a")
        pool.idle("b", 2)
        self.assertLess(pool.load("b"), pool.load("a"))
        pool.acquire("b", "1", "2", "3")
        self.assertLess(pool.load("a"), pool.load("b"))

    def test_full(self) -> None:
        """One that has room, or an idle connection, before one that has neither."""
        pool = OneLine(2)
        pool.connect("a", 2)
        pool.connect("b", 1)
        self.assertLess(pool.load("b"), pool.load("a"))

    def test_left_alone(self) -> None:
        """One that works before one that is left alone, however busy."""
        pool = OneLine(1, fail_fast_after=1)
        pool.connect("a")
        pool.trip("b")
        self.assertLess(pool.load("a"), pool.load("b"))
