"""The rules of the pool for connections that serve several requests at once, one by one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.pool.core import HANDOVER_DELAY, Refusal
from fastcar_tw.pool.sharing import DRAIN_PATIENCE
from fastcar_tw.pool.stats import Retired

from .driver import Connection, Driver, Multiplexed


def names(first: int, last: int) -> list[str]:
    """Requests with these numbers, the last included."""
    return [str(number) for number in range(first, last + 1)]


def connected(
    pool: Driver, key: str, requests: int = 1, capacity: int = 100, mark: str = ""
) -> Connection:
    """A new connection to an origin that serves some requests."""
    waiters = [f"{key}{mark}{number}" for number in range(requests)]
    pool.acquire(key, *waiters)
    attempt = next(each for each in pool.opening if each.key == key)
    connection = pool.succeed(attempt, capacity=capacity)
    for waiter in waiters:
        assert pool.assigned.pop(waiter) is connection
    return connection


def served(pool: Driver, connection: Connection) -> list[str]:
    """The requests that have got this connection."""
    return [waiter for waiter, each in pool.assigned.items() if each is connection]


class ColdTests(SynchronousTestCase):
    """Nothing is known of an origin, or little."""

    def test_as_many_as_needed(self) -> None:
        """As many connections are opened as requests need that each is expected to serve."""
        pool = Driver(expected=100)
        pool.acquire("a", *names(1, 200))
        self.assertEqual(len(pool.opening), 2)
        self.assertEqual(pool.counts("a").queued, 0)
        pool.acquire("a", "201")
        self.assertEqual(len(pool.opening), 3)

    def test_all_at_once(self) -> None:
        """A new connection serves all that wait, up to its capacity, in the order of arrival."""
        pool = Driver(expected=100)
        pool.acquire("a", *names(1, 200))
        first = pool.succeed(capacity=100)
        self.assertEqual(served(pool, first), names(1, 100))
        second = pool.succeed(capacity=100)
        self.assertEqual(served(pool, second), names(101, 200))

    def test_more_than_expected(self) -> None:
        """A connection with a larger capacity serves those too who counted on another."""
        pool = Driver(expected=100)
        pool.acquire("a", *names(1, 200))
        connection = pool.succeed(capacity=1000)
        self.assertEqual(served(pool, connection), names(1, 200))
        pool.succeed(capacity=1000)
        self.assertEqual((pool.counts("a").active, pool.counts("a").idle), (1, 1))

    def test_less_than_expected(self) -> None:
        """With a smaller capacity the rest have as many more opened at once as they need."""
        pool = Driver(expected=100)
        pool.acquire("a", *names(1, 100))
        pool.succeed(capacity=10)
        self.assertEqual(len(pool.assigned), 10)
        self.assertEqual(len(pool.opening), 9)

    def test_exclusive_after_all(self) -> None:
        """Where a connection turns out to serve one at a time, each has its own at once."""
        pool = Driver(expected=100, max_connections_per_origin=16)
        pool.acquire("a", *names(1, 20))
        self.assertEqual(len(pool.opening), 1)
        connection = pool.succeed()
        self.assertEqual(served(pool, connection), ["1"])
        self.assertEqual(len(pool.opening), 15)
        self.assertEqual(pool.counts("a").queued, 4)
        while pool.opening:
            pool.succeed()
        self.assertEqual(list(pool.assigned), names(1, 16))
        pool.release(connection)
        self.assertIs(pool.assigned["17"], connection)

    def test_time_goes_on(self) -> None:
        """Those who counted on more than there was have waited since they came."""
        pool = Driver(expected=100, max_connections=1, queue_timeout=10)
        pool.acquire("a", "1", "2")
        pool.wait(1)
        pool.acquire("b", "3")
        pool.wait(1)
        pool.succeed()
        pool.wait(8)
        self.assertIs(pool.refusal("2"), Refusal.QUEUE_TIMEOUT)
        self.assertIsNone(pool.refusal("3"))

    def test_learned(self) -> None:
        """What the last connection serves is expected of the next."""
        pool = Driver(expected=100)
        connected(pool, "a", requests=4, capacity=4)
        pool.acquire("a", *names(1, 5))
        self.assertEqual(len(pool.opening), 2)

    def test_learned_under_way(self) -> None:
        """More count on an attempt under way when it turns out that it will serve more."""
        pool = Driver(expected=1, max_connections_per_origin=2)
        pool.acquire("a", *names(1, 6))
        self.assertEqual(pool.counts("a").queued, 4)
        pool.succeed(capacity=3)
        self.assertEqual(list(pool.assigned), names(1, 3))
        self.assertEqual(pool.counts("a").queued, 0)

    def test_learned_without_room(self) -> None:
        """So it is when that becomes known of a connection that is full."""
        pool = Driver(expected=100, max_connections_per_origin=2)
        connection = connected(pool, "a", requests=3, capacity=3)
        pool.change(connection, 1)
        pool.acquire("a", *names(1, 4))
        self.assertEqual(pool.counts("a").queued, 3)
        pool.change(connection, 3)
        self.assertEqual(pool.counts("a").queued, 1)

    def test_one_sent_again(self) -> None:
        """What was opened for a request that must have a new connection serves others beside it."""
        pool = Driver(expected=1, max_connections_per_origin=2)
        pool.acquire("a", "again", again=True)
        pool.acquire("a", *names(1, 3))
        connection = pool.succeed(capacity=4)
        self.assertEqual(served(pool, connection), ["again", *names(1, 3)])

    def test_origins_apart(self) -> None:
        """What is known of one origin says nothing about another."""
        pool = Driver(expected=100)
        connected(pool, "a", requests=1, capacity=1)
        pool.acquire("b", *names(1, 100))
        self.assertEqual(pool.opening_for, ["b"])


class SharingTests(SynchronousTestCase):
    """Connections in use that have room."""

    def test_shared(self) -> None:
        """A connection in use that has room is given to the next, and nothing is opened."""
        pool = Driver(expected=100)
        connection = connected(pool, "a", capacity=3)
        self.assertIs(pool.core.take("a", pool.now), connection)
        pool.acquire("a", "1")
        self.assertIs(pool.assigned["1"], connection)
        self.assertEqual(connection.in_use, 3)

    def test_full(self) -> None:
        """A second connection is opened only when the first is full."""
        pool = Driver(expected=100)
        connected(pool, "a", capacity=2)
        pool.acquire("a", "1")
        self.assertEqual(pool.opening, [])
        self.assertIsNone(pool.core.take("a", pool.now))
        pool.acquire("a", "2")
        self.assertEqual(pool.opening_for, ["a"])

    def test_released_place(self) -> None:
        """A place that comes free serves the first in line."""
        pool = Driver(max_connections_per_origin=1)
        connection = connected(pool, "a", requests=2, capacity=2)
        pool.acquire("a", "1", "2")
        pool.release(connection)
        self.assertEqual(served(pool, connection), ["1"])
        self.assertEqual(connection.in_use, 2)

    def test_before_idle(self) -> None:
        """One in use is taken before an idle one, so that few do the work."""
        pool = Driver(expected=100)
        used = connected(pool, "a", requests=2, capacity=2)
        idle = connected(pool, "a", capacity=2, mark="idle")
        pool.release(idle)
        pool.release(used)
        pool.acquire("a", "1")
        self.assertIs(pool.assigned["1"], used)

    def test_fullest(self) -> None:
        """Of two in use the one that was full last is taken, so that the other may become idle."""
        pool = Driver(expected=100)
        first = connected(pool, "a", requests=4, capacity=4)
        second = connected(pool, "a", requests=4, capacity=4, mark="second")
        pool.release(first, first, second)
        pool.acquire("a", "1", "2")
        self.assertIs(pool.assigned["1"], second)
        self.assertIs(pool.assigned["2"], first)

    def test_idle(self) -> None:
        """Without requests a connection is idle like any other, and is closed after some time."""
        pool = Driver(expected=100, idle_timeout=60)
        connection = connected(pool, "a", requests=2)
        pool.release(connection)
        self.assertEqual((pool.counts("a").active, pool.counts("a").idle), (1, 0))
        pool.release(connection)
        self.assertEqual((pool.counts("a").active, pool.counts("a").idle), (0, 1))
        pool.wait(60)
        self.assertEqual(pool.closing, [connection])
        self.assertEqual(pool.counts("a").retired, {Retired.IDLE: 1})

    def test_idle_serves(self) -> None:
        """An idle one serves several again."""
        pool = Driver(expected=100)
        connection = connected(pool, "a", capacity=2)
        pool.release(connection)
        self.assertIs(pool.core.take("a", pool.now), connection)
        self.assertIs(pool.core.take("a", pool.now), connection)
        self.assertIsNone(pool.core.take("a", pool.now))

    def test_cancelled(self) -> None:
        """Who has gone from the line takes no place."""
        pool = Driver(expected=100)
        pool.acquire("a", "1", "2", "3")
        pool.cancel("a", "2")
        connection = pool.succeed(capacity=2)
        self.assertEqual(served(pool, connection), ["1", "3"])

    def test_again(self) -> None:
        """A request that is sent again may have a connection in use: not the one that failed."""
        pool = Driver(expected=100)
        failed = connected(pool, "a", requests=2, capacity=2)
        other = connected(pool, "a", requests=2, capacity=2, mark="other")
        pool.core.retired(failed, Retired.BROKEN)
        pool.release(other)
        pool.acquire("a", "1", again=True)
        self.assertIs(pool.assigned["1"], other)
        self.assertEqual(pool.opening, [])

    def test_again_is_not_refused(self) -> None:
        """A request that is sent again may wait, however many do."""
        pool = Driver(expected=100, max_connections_per_origin=1, max_queue=0)
        connected(pool, "a", requests=2, capacity=2)
        pool.acquire("a", "1", again=True)
        self.assertIsNone(pool.refusal("1"))
        pool.acquire("a", "2")
        self.assertIs(pool.refusal("2"), Refusal.QUEUE_FULL)

    def test_found_dead(self) -> None:
        """One that turns out to have ended is given to nobody else, though it has room."""
        pool = Driver(expected=100)
        connection = connected(pool, "a")
        self.assertIs(pool.core.take("a", pool.now), connection)
        pool.core.found_dead(connection)
        self.assertIsNone(pool.core.take("a", pool.now))
        pool.end(connection)
        self.assertEqual(pool.core.release(connection, pool.now), ())
        self.assertEqual(pool.core.stats().total.leaving, 0)


class CapacityTests(SynchronousTestCase):
    """The origin says how many requests it serves on a connection."""

    def test_raised(self) -> None:
        """More places serve those in line."""
        pool = Driver(max_connections_per_origin=1)
        connection = connected(pool, "a", capacity=1)
        pool.acquire("a", *names(1, 4))
        pool.change(connection, 3)
        self.assertEqual(served(pool, connection), ["1", "2"])

    def test_raised_makes_room(self) -> None:
        """More places serve those who come."""
        pool = Driver()
        connection = connected(pool, "a", capacity=1)
        pool.change(connection, 2)
        self.assertIs(pool.core.take("a", pool.now), connection)

    def test_lowered(self) -> None:
        """With fewer places than requests nobody new is served until enough have gone."""
        pool = Driver(max_connections_per_origin=1)
        connection = connected(pool, "a", requests=3, capacity=4)
        pool.change(connection, 2)
        pool.acquire("a", "1")
        pool.release(connection)
        self.assertEqual(pool.assigned, {})
        pool.release(connection)
        self.assertEqual(served(pool, connection), ["1"])

    def test_none_in_use(self) -> None:
        """A connection that may serve nobody new serves those it has, and others again later."""
        pool = Driver(max_connections_per_origin=1)
        connection = connected(pool, "a", requests=2, capacity=4)
        pool.change(connection, 0)
        pool.acquire("a", "1")
        pool.release(connection)
        self.assertEqual(pool.assigned, {})
        pool.change(connection, 2)
        self.assertEqual(served(pool, connection), ["1"])

    def test_none_until_the_end(self) -> None:
        """One that may serve nobody new is closed after its last request."""
        pool = Driver(max_connections_per_origin=1)
        connection = connected(pool, "a", capacity=4)
        pool.change(connection, 0)
        pool.acquire("a", "1")
        pool.release(connection)
        self.assertEqual(pool.closing, [connection])
        self.assertEqual(pool.counts("a").retired, {Retired.ENDED: 1})
        pool.end(connection)
        self.assertEqual(pool.opening_for, ["a"])

    def test_none_idle(self) -> None:
        """An idle one that may serve nobody is closed."""
        pool = Driver()
        connection = connected(pool, "a")
        pool.release(connection)
        pool.change(connection, 0)
        self.assertEqual(pool.closing, [connection])

    def test_none_says_nothing(self) -> None:
        """What is expected of a new connection stays as it was when one may serve nobody."""
        pool = Driver(expected=100)
        connection = connected(pool, "a", capacity=100)
        pool.change(connection, 0)
        pool.acquire("a", *names(1, 100))
        self.assertEqual(len(pool.opening), 1)

    def test_none_from_the_start(self) -> None:
        """One that may serve nobody when it is opened serves one: else it would wait for ever."""
        pool = Driver(expected=100)
        pool.acquire("a", "1", "2")
        connection = pool.succeed(capacity=0)
        self.assertEqual(served(pool, connection), ["1"])
        self.assertEqual(pool.opening_for, ["a"])
        pool.release(connection)
        self.assertEqual(pool.closing, [connection])

    def test_idle(self) -> None:
        """An idle one serves as many as its origin has said last."""
        pool = Driver()
        connection = connected(pool, "a", capacity=1)
        pool.release(connection)
        pool.change(connection, 2)
        taken = [pool.core.take("a", pool.now) for _ in range(3)]
        self.assertEqual(taken, [connection, connection, None])

    def test_after_the_end(self) -> None:
        """What is said of one that is to go changes nothing."""
        pool = Driver(expected=100)
        connection = connected(pool, "a")
        pool.condemn(connection)
        pool.change(connection, 1)
        self.assertIsNone(pool.core.take("a", pool.now))
        pool.acquire("a", *names(1, 100))
        self.assertEqual(len(pool.opening), 1)


class FailureTests(SynchronousTestCase):
    """Attempts that fail."""

    def test_all_of_them(self) -> None:
        """An attempt that fails lets all down who have counted on it from its beginning."""
        pool = Driver(expected=100, max_connections=1)
        pool.acquire("b", "0")
        pool.acquire("a", *names(1, 100))
        pool.fail()
        pool.fail()
        self.assertEqual(list(pool.refused), ["0", *names(1, 100)])
        self.assertEqual({each.refusal for each in pool.refused.values()}, {Refusal.ATTEMPT_FAILED})

    def test_not_more(self) -> None:
        """It lets no more down than counted on it while another attempt is under way."""
        pool = Driver(expected=100)
        pool.acquire("a", *names(1, 130))
        pool.fail(pool.opening[1])
        self.assertEqual(len(pool.refused), 30)
        connection = pool.succeed(capacity=100)
        self.assertEqual(served(pool, connection), names(31, 130))

    def test_enough_others(self) -> None:
        """It lets nobody down where the other attempts suffice."""
        pool = Driver(expected=100)
        pool.acquire("a", *names(1, 101))
        pool.cancel("a", "1")
        pool.fail()
        self.assertEqual(pool.refused, {})

    def test_newcomers(self) -> None:
        """Those who came when most of its time was over get one of their own together."""
        pool = Driver(expected=100)
        pool.acquire("a", *names(1, 20))
        pool.wait(3)
        pool.acquire("a", *names(21, 50))
        pool.wait(2)
        pool.fail()
        self.assertEqual(list(pool.refused), list(names(1, 20)))
        self.assertEqual(pool.opening_for, ["a"])
        self.assertEqual(pool.counts("a").queued, 0)

    def test_in_use(self) -> None:
        """Where an origin is left alone, those wait who can have a place on what is open."""
        pool = Driver(max_connections_per_origin=2, fail_fast_after=1)
        connection = connected(pool, "a", capacity=1)
        pool.acquire("a", "1")
        pool.fail()
        pool.acquire("a", "2")
        self.assertIsNone(pool.refusal("2"))
        pool.release(connection)
        self.assertEqual(served(pool, connection), ["2"])


class DrainingTests(SynchronousTestCase):
    """Connections that are to go while they serve."""

    def test_drains(self) -> None:
        """A condemned one serves nobody new, and is closed after its last request."""
        pool = Driver(expected=100)
        connection = connected(pool, "a", requests=2)
        pool.condemn(connection, Retired.ENDED)
        self.assertIsNone(pool.core.take("a", pool.now))
        pool.release(connection)
        self.assertEqual(pool.closing, [])
        pool.release(connection)
        self.assertEqual(pool.closing, [connection])
        pool.end(connection)
        self.assertEqual(pool.counts("a").retired, {Retired.ENDED: 1})
        self.assertEqual(pool.core.stats().total.leaving, 0)

    def test_successor(self) -> None:
        """Who comes meanwhile has another one opened, and only one."""
        pool = Driver(expected=100)
        pool.condemn(connected(pool, "a", requests=100))
        pool.acquire("a", *names(1, 100))
        self.assertEqual(pool.opening_for, ["a"])

    def test_counts(self) -> None:
        """It counts until it is closed."""
        pool = Driver(expected=100, max_connections_per_origin=1)
        connection = connected(pool, "a")
        pool.condemn(connection)
        pool.acquire("a", "1")
        self.assertEqual(pool.opening, [])
        pool.release(connection)
        self.assertEqual(pool.opening, [])
        pool.end(connection)
        self.assertEqual(pool.opening_for, ["a"])

    def test_lost(self) -> None:
        """One that is lost with all its requests is forgotten, whatever they say later."""
        pool = Driver(expected=100, max_connections=1)
        connection = connected(pool, "a", requests=3)
        pool.condemn(connection)
        pool.acquire("b", "1")
        pool.end(connection)
        self.assertEqual(pool.opening_for, ["b"])
        pool.release(connection, connection, connection)
        self.assertEqual(pool.closing, [])
        used = pool.succeed(capacity=1)
        pool.acquire("a", "2")
        pool.release(used)
        self.assertEqual(pool.closing, [used])

    def test_idle(self) -> None:
        """An idle one is closed at once."""
        pool = Driver(expected=100)
        connection = connected(pool, "a")
        pool.release(connection)
        pool.condemn(connection)
        self.assertEqual(pool.closing, [connection])

    def test_not_waited_for(self) -> None:
        """For a request that must have a new connection an idle one goes, rather than wait."""
        pool = Driver(expected=100, max_connections_per_origin=2)
        pool.condemn(connected(pool, "a"))
        (idle,) = pool.idle("a")
        pool.acquire("a", "1", again=True)
        self.assertEqual(pool.closing, [idle])

    def test_age(self) -> None:
        """One that is too old is not shared any more."""
        pool = Driver(expected=100, max_age=30)
        connection = connected(pool, "a", requests=2)
        pool.now += 30
        self.assertIsNone(pool.core.take("a", pool.now))
        pool.acquire("a", "1")
        self.assertEqual(pool.opening_for, ["a"])
        pool.release(connection, connection)
        self.assertEqual(pool.closing, [connection])
        self.assertEqual(pool.counts("a").retired, {Retired.AGE: 1})

    def test_age_on_release(self) -> None:
        """One that is too old when its last request ends is not given to anybody."""
        pool = Driver(expected=100, max_age=30)
        connection = connected(pool, "a")
        pool.now += 30
        pool.release(connection)
        self.assertEqual(pool.closing, [connection])
        self.assertIsNone(pool.core.take("a", pool.now))


class RoomTests(SynchronousTestCase):
    """Other origins want room."""

    def test_idle(self) -> None:
        """A connection without requests makes room at once."""
        pool = Driver(expected=100, max_connections=1)
        connection = connected(pool, "a")
        pool.acquire("b", "1")
        pool.release(connection)
        self.assertEqual(pool.closing, [connection])
        self.assertIsNone(pool.core.take("a", pool.now))

    def test_not_at_once(self) -> None:
        """One in use goes on while others have hardly waited, and drains when they have."""
        pool = Driver(expected=100, max_connections=1)
        connection = connected(pool, "a", requests=4)
        pool.acquire("b", "1")
        pool.now += HANDOVER_DELAY
        pool.release(connection)
        self.assertIs(pool.core.take("a", pool.now), connection)
        pool.now += HANDOVER_DELAY
        pool.release(connection)
        self.assertIsNone(pool.core.take("a", pool.now))
        pool.release(connection, connection, connection)
        self.assertEqual(pool.closing, [connection])
        self.assertEqual(pool.counts("a").retired, {Retired.EVICTED: 1})
        pool.end(connection)
        self.assertEqual(pool.opening_for, ["b"])

    def test_no_starvation(self) -> None:
        """An origin that always has requests under way does not keep others waiting for ever."""
        pool = Driver(expected=100, max_connections=1)
        connection = connected(pool, "a", requests=2)
        pool.acquire("b", "b")
        taken = 0
        while pool.core.take("a", pool.now) is connection:
            taken += 1
            self.assertLess(taken, 10)
            pool.now += 0.1
            pool.release(connection)
        self.assertGreater(taken, 1)

    def test_only_as_many_as_needed(self) -> None:
        """No more drain than others need."""
        pool = Driver(expected=2, max_connections=3)
        connections = [connected(pool, "a", 2, 2, mark) for mark in "xyz"]
        pool.acquire("b", *names(1, 4))
        pool.now += 2 * HANDOVER_DELAY
        pool.release(*connections)
        self.assertEqual([each.leaving for each in connections], [True, True, False])

    def test_line_of_their_own(self) -> None:
        """Nor do more where requests of the same origin wait that came later."""
        pool = Driver(expected=2, max_connections=2)
        connections = [connected(pool, "a", 2, 2, mark) for mark in "xy"]
        pool.acquire("b", "b")
        pool.now += 2 * HANDOVER_DELAY
        pool.acquire("a", "a1", "a2")
        pool.release(*connections)
        self.assertEqual([each.leaving for each in connections], [True, False])
        self.assertEqual(served(pool, connections[1]), ["a1"])

    def test_one_that_takes_long(self) -> None:
        """Where one takes long to drain another one does, so that others do not wait for it."""
        pool = Driver(expected=2, max_connections=2)
        slow, other = (connected(pool, "a", 2, 2, mark) for mark in "xy")
        pool.acquire("b", "b")
        pool.now += 2 * HANDOVER_DELAY
        pool.release(slow, other)
        self.assertEqual((slow.leaving, other.leaving), (True, False))
        self.assertIs(pool.core.take("a", pool.now), other)
        pool.now += DRAIN_PATIENCE
        pool.release(other)
        self.assertTrue(other.leaving)

    def test_not_for_itself(self) -> None:
        """A full connection does not drain for its own origin's requests, however long they wait:
        they get the places that come free."""
        pool = Driver(max_connections=1)
        connection = connected(pool, "a", requests=2, capacity=2)
        pool.acquire("a", "1", "2")
        pool.now += 4 * HANDOVER_DELAY
        pool.release(connection)
        self.assertEqual(served(pool, connection), ["1"])
        self.assertFalse(connection.leaving)

    def test_not_before_its_own(self) -> None:
        """Nor does it for others who came after these."""
        pool = Driver(max_connections=1)
        connection = connected(pool, "a", requests=2, capacity=2)
        pool.acquire("a", "1", "2")
        pool.acquire("b", "3")
        pool.now += 4 * HANDOVER_DELAY
        pool.release(connection)
        self.assertFalse(connection.leaving)
        pool.release(connection)
        self.assertEqual(served(pool, connection), ["1", "2"])
        self.assertTrue(connection.leaving)

    def test_new_one(self) -> None:
        """A new one serves all who counted on it, before it makes room for those before them."""
        pool = Driver(expected=100, max_connections=1)
        pool.acquire("a", "0")
        pool.acquire("b", "b")
        pool.now += 2 * HANDOVER_DELAY
        pool.acquire("a", *names(1, 50))
        connection = pool.succeed(capacity=100)
        self.assertEqual(served(pool, connection), names(0, 50))
        self.assertTrue(connection.leaving)
        pool.release(*[connection] * 51)
        pool.end(connection)
        self.assertEqual(pool.opening_for, ["b"])

    def test_evicts_as_many_as_needed(self) -> None:
        """For many requests that one connection will serve, one idle connection makes room."""
        pool = Driver(expected=100, max_connections=3)
        pool.release(*[connected(pool, "c", 1, 1, mark) for mark in "xyz"])
        pool.acquire("a", *names(1, 100))
        self.assertEqual(len(pool.closing), 1)

    def test_draining_makes_no_room_yet(self) -> None:
        """An idle one makes room although another drains, which may take long."""
        pool = Driver(expected=100, max_connections=2)
        pool.condemn(connected(pool, "a"))
        (idle,) = pool.idle("c")
        pool.acquire("b", "1")
        self.assertEqual(pool.closing, [idle])


class WarmTests(SynchronousTestCase):
    """Connections that are kept open."""

    def test_enough(self) -> None:
        """As many are kept as serve the number of requests that is asked for."""
        pool = Driver(expected=100)
        pool.core.keep_warm("a", 16)
        pool.wait(1)
        self.assertEqual(pool.opening_for, ["a"])
        pool.succeed(capacity=100)
        pool.wait(1)
        self.assertEqual(pool.opening_for, [])

    def test_exclusive(self) -> None:
        """The others are opened as soon as the first serves only one."""
        pool = Driver(expected=100)
        pool.core.keep_warm("a", 16)
        pool.wait(1)
        pool.succeed()
        self.assertEqual(len(pool.opening), 15)

    def test_draining(self) -> None:
        """One that drains is replaced."""
        pool = Driver(expected=100)
        pool.core.keep_warm("a", 1)
        pool.condemn(connected(pool, "a"))
        pool.wait(1)
        self.assertEqual(pool.opening_for, ["a"])


class StatsTests(SynchronousTestCase):
    """The numbers."""

    def test_reused(self) -> None:
        """All requests but the first on a connection have been given one that was open."""
        pool = Driver(expected=100)
        connection = connected(pool, "a", requests=3)
        pool.core.take("a", pool.now)
        pool.acquire("a", "1")
        pool.release(connection)
        counts = pool.counts("a")
        self.assertEqual((counts.opened, counts.reused), (1, 4))

    def test_states(self) -> None:
        """A connection is active, idle or leaving, however many requests it serves."""
        pool = Driver(expected=2)
        idle, active, draining = (connected(pool, "a", 2, 2, mark) for mark in "xyz")
        pool.release(idle, idle, active)
        pool.condemn(draining)
        counts = pool.counts("a")
        self.assertEqual((counts.idle, counts.active, counts.leaving), (1, 1, 1))

    def test_waiting(self) -> None:
        """Those wait who have no connection; those are queued for whom none is being opened."""
        pool = Driver(expected=2, max_connections=1)
        pool.acquire("a", *names(1, 5))
        counts = pool.counts("a")
        self.assertEqual((counts.opening, counts.waiting, counts.queued), (1, 5, 3))

    def test_fresh(self) -> None:
        """A new connection is fresh until it has served, whatever the request has done with it."""
        pool = Driver(expected=100)
        pool.acquire("a", "1", "2")
        connection = Multiplexed("a", 1, 2)
        pool.core.opened(pool.opening.pop(), connection, pool.now)
        self.assertTrue(connection.fresh)
        pool.release(connection)
        self.assertFalse(connection.fresh)


class UnheardTests(SynchronousTestCase):
    """Connections whose origin has not said yet how many requests it takes at once."""

    def setUp(self) -> None:
        """Have one that some requests count on, four of which have begun."""
        self.pool = Driver(expected=100, queue_timeout=10)
        self.pool.acquire("a", *names(1, 50))
        self.connection = self.pool.succeed(capacity=4, unheard=True)

    def test_few_begin(self) -> None:
        """A few begin; the others go on counting on it, and nothing is opened for them."""
        self.assertEqual(served(self.pool, self.connection), names(1, 4))
        self.assertEqual(self.pool.opening, [])
        self.assertEqual(self.pool.counts("a").queued, 0)

    def test_heard(self) -> None:
        """When the origin is heard, as many begin as it takes."""
        self.pool.change(self.connection, 128)
        self.assertEqual(served(self.pool, self.connection), names(1, 50))

    def test_heard_as_expected(self) -> None:
        """It need not be more than have begun."""
        self.pool.change(self.connection, 4)
        self.assertFalse(self.connection.unheard)
        self.assertEqual(len(served(self.pool, self.connection)), 4)
        self.assertEqual(len(self.pool.opening), 12)

    def test_fewer(self) -> None:
        """If it takes fewer than were expected, as many are opened as the others need."""
        self.pool.change(self.connection, 10)
        self.assertEqual(served(self.pool, self.connection), names(1, 10))
        self.assertEqual(len(self.pool.opening), 4)
        self.assertEqual(self.pool.counts("a").queued, 0)

    def test_newcomers(self) -> None:
        """Requests that come meanwhile count on it too, as many as are expected."""
        self.pool.acquire("a", *names(51, 100))
        self.assertEqual(self.pool.opening, [])
        self.pool.acquire("a", "101")
        self.assertEqual(len(self.pool.opening), 1)

    def test_released(self) -> None:
        """One that is answered meanwhile makes room for the next."""
        self.pool.release(self.connection)
        self.assertEqual(served(self.pool, self.connection), names(1, 5))

    def test_known_width(self) -> None:
        """What is known of the origin is not forgotten for a connection that says nothing yet."""
        self.pool.change(self.connection, 10)
        for _ in range(4):
            self.pool.succeed(capacity=4, unheard=True)
        self.pool.acquire("a", *names(51, 61))
        self.assertEqual(len(self.pool.opening), 2)

    def test_after_all(self) -> None:
        """An origin that has spoken HTTP/1.1 is expected to take several when it does not."""
        pool = Driver(expected=100)
        pool.acquire("a", "1")
        pool.succeed()
        pool.acquire("a", *names(2, 50))
        self.assertEqual(len(pool.opening), 49)
        connection = pool.succeed(capacity=4, unheard=True)
        pool.change(connection, 100)
        self.assertEqual(served(pool, connection), names(2, 50))

    def test_moved(self) -> None:
        """If it must go before that, another is opened for those who counted on it."""
        self.pool.condemn(self.connection, Retired.ADDRESS)
        self.assertEqual(len(self.pool.opening), 1)
        self.assertEqual(self.pool.refused, {})
        connection = self.pool.succeed(capacity=100)
        self.assertEqual(served(self.pool, connection), names(5, 50))

    def test_broken(self) -> None:
        """If it ends before that, it was a failed attempt, for those who counted on it early."""
        self.pool.wait(6)
        self.pool.acquire("a", "late")
        self.pool.wait(1)
        self.pool.core.retired(self.connection, Retired.BROKEN)
        self.pool.end(self.connection)
        self.assertEqual(list(self.pool.refused), names(5, 50))
        self.assertEqual(self.pool.refused["5"].refusal, Refusal.ATTEMPT_FAILED)
        self.assertEqual(len(self.pool.opening), 1)
        self.assertEqual(self.pool.core._lane("a").unheard, {})

    def test_closed_by_us(self) -> None:
        """If we end it, that is no failure, and nobody goes on counting on it."""
        pool = Driver(expected=100, fail_fast_after=1, max_connections=1)
        pool.acquire("a", *names(1, 10))
        connection = pool.succeed(capacity=4, unheard=True)
        pool.acquire("b", "other")
        pool.wait(1)
        pool.release(connection)
        self.assertTrue(connection.leaving)
        self.assertEqual(pool.counts("a").queued, 5)
        for _ in range(4):
            pool.release(connection)
        pool.end(connection)
        self.assertFalse(pool.core.trouble("a").left_alone)
        self.assertEqual(pool.refused, {})

    def test_left_alone(self) -> None:
        """An origin that ends one connection after the other before that is left alone."""
        pool = Driver(expected=100, fail_fast_after=3)
        for number in range(3):
            pool.acquire("a", str(number))
            pool.end(pool.succeed(capacity=4, unheard=True))
        pool.acquire("a", "refused")
        self.assertEqual(pool.refusal("refused"), Refusal.FAILING)

    def test_sent_again(self) -> None:
        """A request that is sent again may wait for it too, whatever the last one could take."""
        self.pool.change(self.connection, 1)
        for attempt in list(self.pool.opening):
            self.pool.fail(attempt)
        self.pool.acquire("a", "again", again=True)
        self.pool.change(self.connection, 100)
        self.assertIn("again", served(self.pool, self.connection))
