"""The numbers of a pool."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.pool.core import MAX_DISUSED
from fastcar_tw.pool.stats import Counts, Retired, Tally, sum_counts

from .driver import Driver


def counts(**changed: int) -> Counts:
    """No numbers but these."""
    names = ("active", "idle", "opening", "leaving", "waiting", "queued")
    past = ("opened", "reused", "retried", "failed", "refused")
    return Counts(**(dict.fromkeys(names + past, 0) | changed), retired={})


class StatsTests(SynchronousTestCase):
    """What a snapshot says."""

    def test_empty(self) -> None:
        """A new pool has no origins and nothing else either."""
        stats = Driver().core.stats()
        self.assertEqual(stats.origins, {})
        self.assertEqual(stats.total, counts())

    def test_life(self) -> None:
        """A connection is being opened, in use, idle, leaving and gone, one at a time."""
        pool = Driver()
        pool.acquire("a", "1")
        self.assertEqual(pool.counts("a"), counts(opening=1, waiting=1))
        connection = pool.succeed()
        self.assertEqual(pool.counts("a"), counts(active=1, opened=1))
        pool.release(connection)
        self.assertEqual(pool.counts("a"), counts(idle=1, opened=1))
        pool.clear()
        gone = {Retired.CLOSED: 1}
        self.assertEqual(pool.counts("a").leaving, 1)
        pool.end(connection)
        self.assertEqual(pool.counts("a").leaving, 0)
        self.assertEqual(pool.counts("a").retired, gone)

    def test_waiting(self) -> None:
        """Of those that wait, those count as queued for whom nothing is being opened."""
        pool = Driver(max_connections_per_origin=3)
        pool.acquire("a", "1", "2", "3", "4")
        pool.acquire("a", "5", again=True)
        seen = pool.counts("a")
        self.assertEqual((seen.waiting, seen.queued, seen.opening), (5, 2, 3))

    def test_reused(self) -> None:
        """A request that gets a connection which is open already reuses it, waiting or not."""
        pool = Driver(max_connections_per_origin=1)
        pool.acquire("a", "1", "2")
        connection = pool.succeed()
        self.assertEqual(pool.counts("a").reused, 0)
        pool.release(connection)
        self.assertEqual(pool.counts("a").reused, 1)
        pool.release(connection)
        pool.acquire("a", "3")
        self.assertEqual(pool.counts("a").reused, 2)
        pool.release(connection)
        pool.core.take("a", pool.now)
        self.assertEqual(pool.counts("a").reused, 3)

    def test_failed(self) -> None:
        """An attempt that fails is counted, and is not a refusal of the pool's."""
        pool = Driver()
        pool.acquire("a", "1")
        pool.fail()
        self.assertEqual(pool.counts("a"), counts(failed=1))

    def test_refused(self) -> None:
        """Refusals of requests for which nothing was being opened are counted."""
        pool = Driver(max_connections=1, max_queue=1)
        pool.acquire("a", "1", "2", "3")
        pool.wait(10)
        self.assertEqual(pool.counts("a").refused, 2)

    def test_found_dead(self) -> None:
        """A connection that was taken and turns out to have ended was not reused."""
        pool = Driver()
        pool.idle("a")
        connection = pool.core.take("a", pool.now)
        assert connection is not None
        pool.core.found_dead(connection)
        seen = pool.counts("a")
        self.assertEqual((seen.reused, seen.retired), (0, {Retired.ENDED: 1}))
        self.assertEqual((seen.active, seen.leaving), (0, 1))

    def test_retried(self) -> None:
        """Requests that are sent again are counted when told: not all that come again were sent."""
        pool = Driver()
        pool.acquire("a", "1", again=True)
        self.assertEqual(pool.counts("a").retried, 0)
        pool.core.count_retry("a")
        self.assertEqual(pool.counts("a").retried, 1)

    def test_retired(self) -> None:
        """What serves no more is counted once, by the first reason."""
        pool = Driver()
        broken, ended, condemned = pool.connect("a", 3)
        pool.core.retired(broken, Retired.BROKEN)
        pool.core.retired(broken, Retired.ENDED)
        pool.end(broken, broken, ended)
        pool.condemn(condemned)
        pool.release(condemned)
        self.assertEqual(
            pool.counts("a").retired, {Retired.BROKEN: 1, Retired.ENDED: 1, Retired.ADDRESS: 1}
        )

    def test_total(self) -> None:
        """The total is the sum of all origins."""
        pool = Driver()
        pool.idle("a", 2)
        pool.connect("b", 3)
        pool.acquire("c", "1")
        self.assertEqual(
            pool.core.stats().total,
            counts(active=3, idle=2, opening=1, waiting=1, opened=5),
        )

    def test_snapshot(self) -> None:
        """A snapshot stays as it is while the pool goes on."""
        pool = Driver()
        (connection,) = pool.idle("a")
        before = pool.core.stats()
        pool.end(connection)
        self.assertEqual((before.total.idle, before.total.retired), (1, {}))

    def test_repr(self) -> None:
        """The pool's repr tells what it is doing."""
        pool = Driver(max_connections_per_origin=2)
        pool.connect("a", 2)
        pool.idle("b")
        pool.acquire("c", "1")
        pool.acquire("a", "2")
        self.assertEqual(repr(pool.core), "2 active, 1 idle, 1 opening, 2 waiting")

    def test_sum(self) -> None:
        """Of what is forgotten only the past is left."""
        past = Tally()
        past.add(counts(active=7, opened=5, refused=1))
        self.assertEqual(
            sum_counts([counts(active=1, opened=1), counts(idle=2, opened=2)], past),
            counts(active=1, idle=2, opened=8, refused=1),
        )


class ForgettingTests(SynchronousTestCase):
    """Not every name ever asked for is kept."""

    def crowded(self, **changed: float) -> Driver:
        """A pool with one disused origin more than it remembers: 0, 1, 2 ..."""
        pool = Driver(**changed)
        for number in range(MAX_DISUSED + 1):
            pool.end(*pool.idle(str(number)))
        return pool

    def test_forgotten(self) -> None:
        """The origins in excess are forgotten, those first that came first."""
        pool = self.crowded()
        pool.wait(1)
        origins = pool.core.stats().origins
        self.assertEqual(len(origins), MAX_DISUSED)
        self.assertNotIn("0", origins)
        self.assertIn("1", origins)

    def test_totals_stay(self) -> None:
        """The numbers of forgotten origins stay in the total."""
        pool = self.crowded()
        before = pool.core.stats().total
        pool.wait(1)
        self.assertEqual(pool.core.stats().total, before)
        self.assertEqual(before.opened, MAX_DISUSED + 1)

    def test_in_use(self) -> None:
        """An origin with a connection, an attempt, or connections to keep is not forgotten."""
        pool = self.crowded()
        pool.idle("0")
        pool.acquire("1", "w")
        pool.core.keep_warm("2", 1)
        pool.wait(1)
        origins = pool.core.stats().origins
        self.assertEqual([each in origins for each in "0123"], [True, True, True, False])

    def test_tripped(self) -> None:
        """An origin that is left alone is not forgotten until it may be tried again."""
        pool = self.crowded(fail_fast_after=1)
        pool.acquire("0", "w")
        pool.fail()
        pool.wait(0.5)
        self.assertIn("0", pool.core.stats().origins)
        pool.acquire("again", "w2")
        pool.wait(0.5)
        self.assertNotIn("0", pool.core.stats().origins)

    def test_again(self) -> None:
        """A forgotten origin is as good as a new one."""
        pool = self.crowded()
        pool.wait(1)
        (connection,) = pool.idle("0")
        pool.acquire("0", "w")
        self.assertIs(pool.assigned["w"], connection)
