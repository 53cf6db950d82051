"""The rules of the pool, one by one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.pool.core import HANDOVER_DELAY, SHORT_LIFE, Refusal
from fastcar_tw.pool.stats import Retired

from .driver import Connection, Driver


class AssignmentTests(SynchronousTestCase):
    """Who gets which connection."""

    def test_opened(self) -> None:
        """Where none is idle one is opened, and serves the request it was opened for."""
        pool = Driver()
        pool.acquire("a", "1")
        self.assertEqual(pool.opening_for, ["a"])
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"1": connection})

    def test_last_in_first_out(self) -> None:
        """The connection that went idle last is taken first."""
        pool = Driver()
        first, second, third = pool.idle("a", 3)
        pool.acquire("a", "1", "2", "3")
        self.assertEqual(pool.assigned, {"1": third, "2": second, "3": first})

    def test_take(self) -> None:
        """The quick way leads to the same connection, and to none where none is idle."""
        pool = Driver()
        first, second = pool.idle("a", 2)
        taken = [pool.core.take(key, pool.now) for key in ("a", "a", "a", "b")]
        self.assertEqual(taken, [second, first, None, None])

    def test_own_origin(self) -> None:
        """A connection serves its own origin only."""
        pool = Driver()
        pool.idle("a")
        pool.acquire("b", "1")
        self.assertEqual(pool.assigned, {})
        self.assertEqual(pool.opening_for, ["b"])

    def test_first_in_line(self) -> None:
        """Connections serve the line in the order of arrival, whichever was opened for whom."""
        pool = Driver()
        pool.acquire("a", "1", "2", "3")
        third = pool.succeed(pool.opening[2])
        first = pool.succeed(pool.opening[0])
        second = pool.succeed()
        self.assertEqual(pool.assigned, {"1": third, "2": first, "3": second})

    def test_released_serves_line(self) -> None:
        """A released connection serves who waits for one that is still being opened."""
        pool = Driver()
        (released,) = pool.connect("a")
        pool.acquire("a", "1")
        pool.release(released)
        self.assertEqual(pool.assigned, {"1": released})
        self.assertEqual(pool.succeed().lane, released.lane)
        self.assertEqual((pool.counts("a").idle, pool.closing), (1, []))

    def test_released_before_opened(self) -> None:
        """A released connection serves who is queued, and nothing is opened for that."""
        pool = Driver(max_connections_per_origin=1)
        pool.acquire("a", "1", "2")
        connection = pool.succeed()
        pool.release(connection)
        self.assertIs(pool.assigned["2"], connection)
        self.assertEqual(pool.opening, [])

    def test_next_counts_on_attempt(self) -> None:
        """Who was queued counts on the attempt that its predecessor does not need any more."""
        pool = Driver(max_connections_per_origin=2)
        (released,) = pool.connect("a")
        pool.acquire("a", "1", "2")
        pool.release(released)
        self.assertEqual(pool.counts("a").queued, 0)
        connection = pool.succeed()
        self.assertIs(pool.assigned["2"], connection)

    def test_fresh(self) -> None:
        """A connection is fresh to the request it was opened for, and to no other."""
        pool = Driver(max_connections_per_origin=1)
        pool.acquire("a", "1", "2")
        connection = pool.succeed()
        self.assertTrue(connection.fresh)
        pool.release(connection)
        self.assertIs(pool.assigned["2"], connection)
        self.assertFalse(connection.fresh)
        pool.release(connection)
        self.assertFalse(connection.fresh)

    def test_connections(self) -> None:
        """The connections of an origin are those that serve, in use or idle."""
        pool = Driver()
        used, idle, leaving = pool.connect("a", 3)
        pool.idle("b")
        pool.release(idle)
        pool.core.retired(leaving, Retired.BROKEN)
        self.assertEqual(set(pool.core.connections("a")), {used, idle})
        self.assertEqual(list(pool.core.connections("c")), [])


class CancelTests(SynchronousTestCase):
    """Requests that have gone."""

    def test_not_assigned(self) -> None:
        """Who has gone is not given anything; the connection becomes idle."""
        pool = Driver()
        pool.acquire("a", "1")
        pool.cancel("a", "1")
        pool.succeed()
        self.assertEqual(pool.assigned, {})
        self.assertEqual(pool.counts("a").idle, 1)

    def test_serves_next(self) -> None:
        """What is being opened for who has gone serves the next, for whom nothing is opened."""
        pool = Driver()
        pool.acquire("a", "1")
        pool.cancel("a", "1")
        pool.acquire("a", "2")
        self.assertEqual(len(pool.opening), 1)
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"2": connection})

    def test_queued_moves_up(self) -> None:
        """Who is queued counts on the attempt of who has gone."""
        pool = Driver(max_connections=1)
        pool.acquire("a", "1", "2")
        pool.cancel("a", "1")
        self.assertEqual(pool.counts("a").queued, 0)
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"2": connection})

    def test_queued(self) -> None:
        """Who is queued and goes leaves its place to the next."""
        pool = Driver(max_connections=1)
        pool.acquire("a", "1", "2", "3")
        pool.cancel("a", "2")
        pool.release(pool.succeed())
        self.assertEqual(list(pool.assigned), ["1", "3"])

    def test_fails_nobody(self) -> None:
        """The attempt of who has gone fails without a refusal."""
        pool = Driver()
        pool.acquire("a", "1")
        pool.cancel("a", "1")
        pool.fail()
        self.assertEqual(pool.refused, {})

    def test_again(self) -> None:
        """What is being opened for a request that is sent again serves others when it goes."""
        pool = Driver(max_connections=1)
        pool.acquire("a", "1", again=True)
        pool.acquire("a", "2")
        pool.cancel("a", "1")
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"2": connection})

    def test_unknown(self) -> None:
        """Nothing happens when who is assigned, refused or unknown goes."""
        pool = Driver()
        pool.acquire("a", "1", "2")
        connection = pool.succeed()
        pool.fail()
        for waiter in ("1", "2", "3"):
            pool.cancel("a", waiter)
            pool.cancel("b", waiter)
        self.assertEqual(pool.counts("a").active, 1)
        pool.release(connection)
        self.assertEqual(pool.counts("a").idle, 1)


class LimitTests(SynchronousTestCase):
    """How many connections there may be."""

    def test_per_origin(self) -> None:
        """No more are opened to one origin than allowed, and others are not concerned."""
        pool = Driver(max_connections_per_origin=2)
        pool.acquire("a", "1", "2", "3")
        pool.acquire("b", "4")
        self.assertEqual(pool.opening_for, ["a", "a", "b"])
        self.assertEqual(pool.counts("a").queued, 1)

    def test_total(self) -> None:
        """No more are opened in all than allowed."""
        pool = Driver(max_connections=2)
        for key in "abc":
            pool.acquire(key, key)
        self.assertEqual(pool.opening_for, ["a", "b"])

    def test_eviction(self) -> None:
        """At the total the connection idle for longest, of whichever origin, makes room."""
        pool = Driver(max_connections=3)
        (oldest, other), (third,) = pool.connect("a", 2), pool.connect("b")
        pool.release(oldest, third, other)
        pool.acquire("c", "1")
        self.assertEqual(pool.closing, [oldest])
        self.assertEqual(oldest.lane and oldest.lane.tally.retired, {Retired.EVICTED: 1})

    def test_descriptors(self) -> None:
        """What makes room counts until it is closed."""
        pool = Driver(max_connections=1)
        (evicted,) = pool.idle("a")
        pool.acquire("b", "1")
        self.assertEqual(pool.opening, [])
        pool.end(evicted)
        self.assertEqual(pool.opening_for, ["b"])

    def test_leaving(self) -> None:
        """What serves no more counts until it is closed, for its origin too."""
        pool = Driver(max_connections_per_origin=1)
        (leaving,) = pool.connect("a")
        pool.core.retired(leaving, Retired.BROKEN)
        pool.acquire("a", "1")
        self.assertEqual(pool.opening, [])
        pool.end(leaving)
        self.assertEqual(pool.opening_for, ["a"])

    def test_failed(self) -> None:
        """An attempt that has failed does not count any more."""
        pool = Driver(max_connections=1)
        pool.acquire("a", "1")
        pool.acquire("b", "2")
        pool.fail()
        self.assertEqual(pool.opening_for, ["b"])

    def test_no_more_than_needed(self) -> None:
        """For each request one is evicted, and none where one is leaving anyway."""
        pool = Driver(max_connections=4)
        leaving, *others = pool.connect("a", 4)
        pool.release(*others)
        pool.core.retired(leaving, Retired.BROKEN)
        pool.acquire("b", "1")
        self.assertEqual(pool.closing, [])
        pool.acquire("b", "2")
        pool.acquire("c", "3")
        self.assertEqual(len(pool.closing), 2)

    def test_own_limit_evicts_nobody(self) -> None:
        """Nothing is evicted for a request that its own origin's limit keeps waiting."""
        pool = Driver(max_connections=2, max_connections_per_origin=1)
        pool.idle("a")
        pool.acquire("b", "1", "2")
        self.assertEqual(pool.closing, [])

    def test_evicted_on_release(self) -> None:
        """Where none is idle the next that is released makes room."""
        pool = Driver(max_connections=1)
        (connection,) = pool.connect("a")
        pool.acquire("b", "1")
        self.assertEqual(pool.closing, [])
        pool.release(connection)
        self.assertEqual(pool.closing, [connection])
        pool.end(connection)
        self.assertEqual(pool.opening_for, ["b"])

    def test_surplus(self) -> None:
        """Of more idle ones than an origin may have the one idle for longest is closed."""
        pool = Driver(max_idle_per_origin=2)
        first, second, third = pool.idle("a", 3)
        self.assertEqual(pool.closing, [first])
        self.assertEqual(pool.counts("a").retired, {Retired.SURPLUS: 1})
        pool.acquire("a", "1", "2")
        self.assertEqual(pool.assigned, {"1": third, "2": second})


class FairnessTests(SynchronousTestCase):
    """Whose turn it is when there is not enough for all."""

    def test_arrival_order(self) -> None:
        """At the total, origins get room in the order of arrival of their requests."""
        pool = Driver(max_connections=1)
        (connection,) = pool.connect("a")
        for number, key in enumerate("bcbd"):
            pool.now += 1
            pool.acquire(key, str(number))
        opened = ""
        for _ in "bcbd":
            pool.release(connection)
            pool.end(connection)
            opened += pool.opening[0].key
            connection = pool.succeed()
        self.assertEqual(opened, "bcbd")

    def test_no_starvation(self) -> None:
        """An origin with requests all the time does not keep others waiting for ever."""
        pool = Driver(max_connections=2)
        one, other = pool.connect("a", 2)
        pool.acquire("a", "a1")
        pool.acquire("b", "b1")
        pool.now += 1
        pool.acquire("a", "a2", "a3")
        pool.release(one)
        self.assertIs(pool.assigned["a1"], one)
        pool.release(other)
        self.assertEqual(pool.closing, [other])
        pool.end(other)
        self.assertEqual(pool.opening_for, ["b"])

    def test_enough_is_leaving(self) -> None:
        """A released connection goes on serving its line when another makes room already."""
        pool = Driver(max_connections=2)
        one, other = pool.connect("a", 2)
        pool.acquire("b", "b1")
        pool.now += 1
        pool.acquire("a", "a1")
        pool.release(one)
        pool.release(other)
        self.assertEqual(pool.closing, [one])
        self.assertIs(pool.assigned["a1"], other)

    def test_not_for_a_moment(self) -> None:
        """An origin keeps its connection while its own requests came hardly later than others'."""
        pool = Driver(max_connections=1)
        (connection,) = pool.connect("a")
        pool.acquire("b", "b1")
        pool.now += HANDOVER_DELAY
        pool.acquire("a", "a1")
        pool.release(connection)
        self.assertIs(pool.assigned["a1"], connection)

    def test_two_of_one(self) -> None:
        """The second request of an origin gets room in its turn, when nothing else happens."""
        pool = Driver(max_connections=2)
        connections = pool.connect("a", 2)
        pool.acquire("b", "1", "2")
        pool.end(*connections)
        self.assertEqual(pool.opening_for, ["b", "b"])

    def test_saturated(self) -> None:
        """Room goes past a request that its own origin's limit keeps waiting."""
        pool = Driver(max_connections=2, max_connections_per_origin=1)
        pool.connect("a")
        (released,) = pool.connect("b")
        pool.acquire("a", "a1")
        pool.acquire("c", "c1")
        pool.release(released)
        pool.end(released)
        self.assertEqual(pool.opening_for, ["c"])

    def test_counted_on(self) -> None:
        """A new connection serves who counts on it, though another origin's request is older."""
        pool = Driver(max_connections=2)
        (released,) = pool.connect("a")
        pool.acquire("a", "a1")
        pool.acquire("b", "b1")
        pool.wait(1)
        pool.acquire("a", "a2")
        pool.release(released)
        self.assertIs(pool.assigned["a1"], released)
        connection = pool.succeed()
        self.assertIs(pool.assigned["a2"], connection)
        self.assertEqual(pool.closing, [])


class BooksTests(SynchronousTestCase):
    """What is kept in mind, and for how long."""

    def test_lanes_that_wanted_room(self) -> None:
        """Origins that nobody asks for any more are forgotten, though they got no room."""
        pool = Driver(max_connections=1)
        pool.connect("busy")
        pool.acquire("first", "first")
        for number in range(100):
            pool.acquire(f"b{number}", f"{number}")
            pool.cancel(f"b{number}", f"{number}")
        pool.wait(1)
        self.assertEqual(len(pool.core._listed), 1)


class QueueTests(SynchronousTestCase):
    """Requests for which nothing may be opened."""

    def test_bound(self) -> None:
        """More than so many may not wait; the next is refused at once."""
        pool = Driver(max_connections_per_origin=1, max_queue=2)
        pool.acquire("a", "1", "2", "3", "4")
        self.assertEqual(pool.refusal("4"), Refusal.QUEUE_FULL)
        self.assertEqual(len(pool.refused), 1)

    def test_bound_of_all(self) -> None:
        """The bound is for all origins together."""
        pool = Driver(max_connections=1, max_queue=1)
        for key in "abc":
            pool.acquire(key, key)
        self.assertEqual(pool.refusal("c"), Refusal.QUEUE_FULL)

    def test_none(self) -> None:
        """With the bound 0 nobody waits but for an attempt."""
        pool = Driver(max_connections=1, max_queue=0)
        pool.acquire("a", "1", "2")
        self.assertEqual(list(pool.refused), ["2"])
        pool.release(pool.succeed())
        pool.acquire("a", "3")
        self.assertEqual(list(pool.assigned), ["1", "3"])

    def test_none_but_room(self) -> None:
        """Also with the bound 0 an idle connection makes room."""
        pool = Driver(max_connections=1, max_queue=0)
        (evicted,) = pool.idle("a")
        pool.acquire("b", "1")
        pool.acquire("b", "2")
        self.assertEqual(list(pool.refused), ["2"])
        pool.end(evicted)
        self.assertEqual(pool.opening_for, ["b"])

    def test_room_elsewhere(self) -> None:
        """What is leaving makes no room for a request that its own origin's limit keeps waiting."""
        pool = Driver(max_connections_per_origin=1, max_queue=0)
        (leaving,) = pool.connect("a")
        pool.core.retired(leaving, Retired.BROKEN)
        pool.connect("b")
        pool.acquire("b", "1")
        self.assertEqual(pool.refusal("1"), Refusal.QUEUE_FULL)

    def test_again(self) -> None:
        """A request that had a connection already is not refused for a full queue."""
        pool = Driver(max_connections=1, max_queue=0)
        pool.connect("a")
        pool.acquire("a", "1", again=True)
        self.assertEqual(pool.refused, {})

    def test_attempts_do_not_count(self) -> None:
        """Requests that wait for an attempt are not queued."""
        pool = Driver(max_queue=0)
        pool.acquire("a", *map(str, range(50)))
        self.assertEqual((pool.refused, len(pool.opening)), ({}, 50))

    def test_timeout(self) -> None:
        """Who has been queued for so long is refused, later ones are not."""
        pool = Driver(max_connections=1, queue_timeout=10)
        pool.acquire("a", "1", "2")
        pool.wait(4)
        pool.acquire("b", "3")
        pool.wait(5.5)
        self.assertEqual(pool.refused, {})
        pool.wait(0.5)
        self.assertEqual(list(pool.refused), ["2"])
        self.assertEqual(pool.refusal("2"), Refusal.QUEUE_TIMEOUT)

    def test_timeout_ends_with_attempt(self) -> None:
        """Who waits for an attempt is left to the attempt's own timeout."""
        pool = Driver(queue_timeout=10)
        pool.acquire("a", "1")
        pool.wait(100)
        self.assertEqual(pool.refused, {})

    def test_refused_is_gone(self) -> None:
        """Who was refused is not given anything later."""
        pool = Driver(max_connections=1, queue_timeout=10)
        pool.acquire("a", "1", "2")
        pool.wait(10)
        pool.release(pool.succeed())
        self.assertEqual(list(pool.assigned), ["1"])

    def test_key(self) -> None:
        """A refusal tells to whom a connection was wanted."""
        pool = Driver(max_connections=1, max_queue=0)
        pool.acquire("a", "1")
        pool.acquire("b", "2")
        self.assertEqual(pool.refused["2"].key, "b")


class AgeTests(SynchronousTestCase):
    """Connections that are not used any more."""

    def retired(self, pool: Driver, connection: Connection, why: Retired) -> None:
        """Check that the connection, of origin a, and nothing else, is to be closed, and why."""
        self.assertEqual(pool.closing, [connection])
        self.assertEqual(pool.counts("a").retired, {why: 1})

    def test_idle_timeout(self) -> None:
        """What has been idle for so long is closed."""
        pool = Driver(idle_timeout=60)
        (connection,) = pool.idle("a")
        pool.wait(59.9)
        self.assertEqual(pool.closing, [])
        pool.wait(0.1)
        self.retired(pool, connection, Retired.IDLE)

    def test_not_while_used(self) -> None:
        """The idle time begins with the release."""
        pool = Driver(idle_timeout=60)
        (connection,) = pool.connect("a")
        pool.wait(100)
        pool.release(connection)
        pool.wait(59)
        self.assertEqual(pool.closing, [])

    def test_before_the_sweep(self) -> None:
        """What has been idle for too long is not given to anyone, swept or not."""
        pool = Driver(idle_timeout=60)
        (connection,) = pool.idle("a")
        pool.now += 60
        self.assertIs(pool.core.take("a", pool.now), None)
        pool.acquire("a", "1")
        self.retired(pool, connection, Retired.IDLE)
        self.assertEqual(pool.opening_for, ["a"])

    def test_older_one_lives(self) -> None:
        """Where the last used may not be used any more an older one may."""
        pool = Driver()
        older, last = pool.connect("a", 2)
        last.idle_limit = 5
        pool.release(older, last)
        pool.now += 5
        pool.acquire("a", "1")
        self.assertIs(pool.assigned["1"], older)
        self.retired(pool, last, Retired.KEEP_ALIVE)

    def test_max_age(self) -> None:
        """What exists for so long is closed when idle."""
        pool = Driver(max_age=30, idle_timeout=60)
        (connection,) = pool.idle("a")
        pool.wait(29.9)
        self.assertEqual(pool.closing, [])
        pool.wait(0.1)
        self.retired(pool, connection, Retired.AGE)

    def test_max_age_in_use(self) -> None:
        """What grows too old in use is closed when released, though others wait."""
        pool = Driver(max_connections=1, max_age=5)
        pool.acquire("a", "1", "2")
        connection = pool.succeed()
        pool.wait(5)
        self.assertEqual(pool.closing, [])
        pool.release(connection)
        self.retired(pool, connection, Retired.AGE)
        pool.end(connection)
        self.assertEqual(pool.opening_for, ["a"])

    def test_idle_limit(self) -> None:
        """A connection is not idle for longer than its origin allows."""
        pool = Driver()
        (connection,) = pool.connect("a")
        connection.idle_limit = 2.0
        pool.release(connection)
        pool.wait(1.9)
        self.assertEqual(pool.closing, [])
        pool.wait(0.1)
        self.retired(pool, connection, Retired.KEEP_ALIVE)

    def test_idle_limit_wide(self) -> None:
        """An origin that allows more than the pool does not lengthen the idle time."""
        pool = Driver(idle_timeout=60)
        (connection,) = pool.connect("a")
        connection.idle_limit = 3600.0
        pool.release(connection)
        pool.wait(60)
        self.retired(pool, connection, Retired.IDLE)

    def test_idle_limit_zero(self) -> None:
        """A connection that may not be idle at all is closed, even if others wait."""
        for others in ((), ("2",)):
            pool = Driver(max_connections=1)
            pool.acquire("a", "1", *others)
            connection = pool.succeed()
            connection.idle_limit = 0.0
            pool.release(connection)
            self.retired(pool, connection, Retired.KEEP_ALIVE)

    def test_condemned_idle(self) -> None:
        """What is condemned while idle is closed at once."""
        pool = Driver()
        (connection,) = pool.idle("a")
        pool.condemn(connection)
        self.retired(pool, connection, Retired.ADDRESS)

    def test_condemned_in_use(self) -> None:
        """What is condemned in use is closed when released, though others wait."""
        for others in ((), ("2",)):
            pool = Driver(max_connections=1)
            pool.acquire("a", "1", *others)
            connection = pool.succeed()
            pool.condemn(connection)
            self.assertEqual(pool.closing, [])
            pool.release(connection)
            self.retired(pool, connection, Retired.ADDRESS)

    def test_ended_idle(self) -> None:
        """What ends while idle is not given to anyone."""
        pool = Driver()
        (connection,) = pool.idle("a")
        pool.core.retired(connection, Retired.ENDED)
        pool.acquire("a", "1")
        self.assertEqual((pool.assigned, pool.opening_for), ({}, ["a"]))

    def test_ended_before_release(self) -> None:
        """What has ended in the meantime is not idle after its release, nor given to anyone."""
        for end in (lambda pool, each: pool.core.retired(each, Retired.ENDED), Driver.end):
            pool = Driver(max_connections=2)
            ended, _ = pool.connect("a", 2)
            end(pool, ended)
            pool.acquire("b", "1", "2")
            pool.acquire("a", "3")
            pool.release(ended)
            self.assertEqual((pool.assigned, pool.closing, pool.counts("a").idle), ({}, [], 0))

    def test_clear(self) -> None:
        """All idle connections can be closed, and only those."""
        pool = Driver()
        used, *others = pool.connect("a", 3)
        pool.release(*others)
        others += pool.idle("b")
        pool.clear()
        self.assertEqual(pool.closing, others)
        self.assertFalse(used.leaving)

    def test_closed_twice(self) -> None:
        """The end of a connection counts once."""
        pool = Driver(max_connections=1)
        (connection,) = pool.connect("a")
        pool.end(connection, connection)
        pool.acquire("a", "1", "2")
        self.assertEqual(len(pool.opening), 1)


class AgainTests(SynchronousTestCase):
    """Requests that are sent again."""

    def test_new_connection(self) -> None:
        """They get a new connection though another is idle."""
        pool = Driver()
        pool.idle("a")
        pool.acquire("a", "1", again=True)
        self.assertEqual(pool.assigned, {})
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"1": connection})

    def test_no_released_one(self) -> None:
        """They do not get a released one."""
        pool = Driver()
        (connection,) = pool.connect("a")
        pool.acquire("a", "1", again=True)
        pool.release(connection)
        self.assertEqual(pool.assigned, {})

    def test_theirs_alone(self) -> None:
        """The attempt of one serves nobody else, though others came before."""
        pool = Driver()
        pool.acquire("a", "1")
        pool.acquire("a", "2", again=True)
        connection = pool.succeed(pool.opening[1])
        self.assertEqual(pool.assigned, {"2": connection})

    def test_come_first(self) -> None:
        """They come before all others, of other origins too."""
        pool = Driver(max_connections=1)
        (connection,) = pool.connect("a")
        pool.acquire("b", "b1")
        pool.acquire("c", "c1")
        pool.acquire("c", "c2", again=True)
        pool.release(connection)
        pool.end(connection)
        fresh = pool.succeed()
        self.assertEqual(pool.assigned, {"c2": fresh})

    def test_come_before_line(self) -> None:
        """A connection that could serve the line makes room for them, at either limit."""
        for limit in ("max_connections", "max_connections_per_origin"):
            pool = Driver(**{limit: 1})
            (connection,) = pool.connect("a")
            pool.acquire("a", "1")
            pool.acquire("a", "2", again=True)
            pool.release(connection)
            self.assertEqual(pool.closing, [connection])
            pool.end(connection)
            fresh = pool.succeed()
            self.assertEqual(pool.assigned, {"2": fresh})

    def test_idle_ones_make_room(self) -> None:
        """At the limit of the origin its idle connections make room, as many as needed."""
        pool = Driver(max_connections_per_origin=2)
        first, _ = pool.idle("a", 2)
        pool.acquire("a", "1", again=True)
        self.assertEqual(pool.closing, [first])
        pool.end(first)
        fresh = pool.succeed()
        self.assertEqual(pool.assigned, {"1": fresh})

    def test_failure(self) -> None:
        """They fail with their attempt."""
        pool = Driver()
        pool.acquire("a", "1")
        pool.acquire("a", "2", again=True)
        pool.fail(pool.opening[1])
        self.assertEqual(list(pool.refused), ["2"])


class FailureTests(SynchronousTestCase):
    """Attempts that fail."""

    def test_refused(self) -> None:
        """The request is refused, and told why."""
        pool = Driver()
        pool.acquire("a", "1")
        pool.fail(error="no route")
        self.assertEqual(pool.refusal("1"), Refusal.ATTEMPT_FAILED)
        self.assertEqual(pool.refused["1"].error, "no route")

    def test_one_each(self) -> None:
        """One failure refuses one request, the first in line."""
        pool = Driver()
        pool.acquire("a", "1", "2")
        pool.fail(pool.opening[1])
        self.assertEqual(list(pool.refused), ["1"])
        pool.succeed()
        self.assertEqual(list(pool.assigned), ["2"])

    def test_newcomer(self) -> None:
        """An attempt begun before a request came does not fail it; it gets one of its own."""
        pool = Driver()
        pool.acquire("a", "1")
        pool.cancel("a", "1")
        pool.acquire("a", "2")
        pool.fail()
        self.assertEqual((pool.refused, len(pool.opening)), ({}, 1))
        pool.fail()
        self.assertEqual(list(pool.refused), ["2"])

    def test_nobody_left(self) -> None:
        """A failure refuses nobody when enough others are being opened."""
        pool = Driver()
        (released,) = pool.connect("a")
        pool.acquire("a", "1", "2")
        pool.release(released)
        pool.fail()
        self.assertEqual(pool.refused, {})

    def test_last_error(self) -> None:
        """Who is refused for another reason is told why the last attempt failed, if it did."""
        pool = Driver(max_connections=1, queue_timeout=10)
        pool.acquire("a", "1", "2", "3")
        pool.fail(error="no route")
        pool.wait(10)
        self.assertEqual(pool.refused["3"].error, "no route")

    def test_forgotten_error(self) -> None:
        """A success makes an earlier failure no reason any more."""
        pool = Driver(max_connections=1, queue_timeout=10)
        pool.acquire("a", "1", "2", "3")
        pool.fail(error="no route")
        pool.succeed()
        pool.wait(10)
        self.assertEqual(pool.refused["3"].error, None)


class BreakerTests(SynchronousTestCase):
    """Origins that fail again and again."""

    def tripped(self, **changed: float) -> Driver:
        """A pool that leaves origin a alone for a second."""
        pool = Driver(fail_fast_after=2, **changed)
        for waiter in ("x", "y"):
            pool.acquire("a", waiter)
            pool.fail(error="no route")
        pool.refused.clear()
        return pool

    def test_fails_fast(self) -> None:
        """While it is left alone requests are refused at once, with the reason and a time."""
        pool = self.tripped()
        pool.acquire("a", "1")
        refused = pool.refused["1"]
        self.assertEqual((refused.refusal, refused.error), (Refusal.FAILING, "no route"))
        self.assertEqual(refused.retry_after, 1.0)
        self.assertEqual(pool.opening, [])

    def test_again(self) -> None:
        """So are requests that are sent again."""
        pool = self.tripped()
        pool.acquire("a", "1", again=True)
        self.assertEqual(pool.refusal("1"), Refusal.FAILING)

    def test_retry_after(self) -> None:
        """The time told is the rest of the interval, at least a second."""
        pool = self.tripped()
        pool.wait(1)
        pool.acquire("a", "1")
        pool.fail()
        for passed, waiter, seconds in ((0, "2", 2.0), (0.5, "3", 1.5), (1.4, "4", 1.0)):
            pool.wait(passed)
            pool.acquire("a", waiter)
            self.assertAlmostEqual(pool.refused[waiter].retry_after, seconds)

    def test_others(self) -> None:
        """Other origins are not concerned."""
        pool = self.tripped()
        pool.acquire("b", "1")
        self.assertEqual(pool.opening_for, ["b"])

    def test_probe(self) -> None:
        """After the interval one attempt is made; others are refused until it has ended."""
        pool = self.tripped()
        pool.wait(1)
        pool.acquire("a", "1", "2")
        self.assertEqual((len(pool.opening), list(pool.refused)), (1, ["2"]))
        pool.succeed()
        pool.acquire("a", "3", "4")
        self.assertEqual(len(pool.opening), 2)

    def test_probe_fails(self) -> None:
        """When the probe fails the origin is left alone again."""
        pool = self.tripped()
        pool.wait(1)
        pool.acquire("a", "1")
        pool.fail()
        pool.wait(1.9)
        pool.acquire("a", "2")
        self.assertEqual(pool.refusal("2"), Refusal.FAILING)

    def test_not_blamed(self) -> None:
        """A probe that fails by no fault of the origin's shows nothing; the next comes at once."""
        pool = self.tripped()
        pool.wait(1)
        pool.acquire("a", "1")
        pool.fail(blamed=False)
        pool.acquire("a", "2")
        self.assertEqual(len(pool.opening), 1)
        pool.fail()
        pool.acquire("a", "3")
        self.assertEqual(pool.refusal("3"), Refusal.FAILING)

    def test_working_connections(self) -> None:
        """Connections that are open go on serving, those who wait included."""
        pool = Driver(fail_fast_after=1, max_connections_per_origin=3)
        working, other = pool.connect("a", 2)
        pool.release(other)
        pool.core.take("a", pool.now)
        pool.acquire("a", "1")
        pool.fail()
        pool.acquire("a", "2")
        self.assertEqual((list(pool.refused), pool.opening), (["1"], []))
        pool.release(working)
        self.assertIs(pool.assigned["2"], working)
        pool.release(working)
        pool.acquire("a", "3")
        self.assertIs(pool.assigned["3"], working)

    def test_last_working_ends(self) -> None:
        """Who waits for a connection that ends, the last one, is refused."""
        pool = Driver(fail_fast_after=1, max_connections_per_origin=2)
        (working,) = pool.connect("a")
        pool.acquire("a", "1", "2")
        pool.fail()
        self.assertEqual(list(pool.refused), ["1"])
        pool.end(working)
        self.assertEqual(pool.refusal("2"), Refusal.FAILING)

    def test_queued_probe(self) -> None:
        """Who waits for a busy connection while the interval ends is the probe's."""
        pool = Driver(fail_fast_after=1, max_connections_per_origin=2)
        pool.connect("a")
        pool.acquire("a", "1", "2")
        pool.fail()
        self.assertEqual(pool.opening, [])
        pool.wait(1)
        self.assertEqual(len(pool.opening), 1)
        pool.succeed()
        self.assertEqual(list(pool.assigned), ["2"])

    def test_evicts_nobody(self) -> None:
        """Nothing makes room for an origin that is left alone."""
        pool = Driver(fail_fast_after=1, max_connections=2)
        pool.connect("a")
        pool.acquire("a", "1")
        pool.fail()
        pool.idle("b")
        pool.acquire("a", "2")
        self.assertEqual(pool.closing, [])

    def test_newcomer(self) -> None:
        """A failure that trips it refuses the newcomer too: there is no other attempt."""
        pool = Driver(fail_fast_after=1)
        pool.acquire("a", "1")
        pool.cancel("a", "1")
        pool.acquire("a", "2")
        pool.fail()
        self.assertEqual(pool.refusal("2"), Refusal.ATTEMPT_FAILED)

    def test_off(self) -> None:
        """With 0 every request gets its attempt."""
        pool = Driver(fail_fast_after=0)
        for number in range(100):
            pool.acquire("a", str(number))
            pool.fail()
        self.assertEqual(pool.counts("a").failed, 100)


class ProbeTests(SynchronousTestCase):
    """Origins that have failed are tried again though nobody asks for them."""

    def failed(self, **changed: float) -> Driver:
        """A pool whose last attempt to reach origin a has failed, once."""
        pool = Driver(**changed)
        pool.acquire("a", "x")
        pool.fail()
        return pool

    def test_failed(self) -> None:
        """One attempt is made, and no other until it has ended."""
        pool = self.failed()
        pool.probe("a")
        pool.probe("a")
        self.assertEqual(pool.opening_for, ["a"])
        pool.fail()
        self.assertEqual(pool.counts("a").failed, 2)
        pool.probe("a")
        self.assertEqual(pool.opening_for, ["a"])

    def test_succeeds(self) -> None:
        """One that succeeds is the end of it: the connection is idle, for whoever comes."""
        pool = self.failed()
        pool.probe("a")
        connection = pool.succeed()
        pool.probe("a")
        self.assertEqual((pool.opening, pool.counts("a").idle), ([], 1))
        pool.acquire("a", "1")
        self.assertIs(pool.assigned["1"], connection)

    def test_not_kept(self) -> None:
        """Where nothing may be idle, it is closed."""
        pool = self.failed(max_idle_per_origin=0)
        pool.probe("a")
        self.assertEqual([pool.succeed()], pool.closing)

    def test_nothing_wrong(self) -> None:
        """Where nothing has failed nothing is tried, known or not."""
        pool = Driver()
        pool.end(*pool.connect("a"))
        pool.probe("a")
        pool.probe("b")
        self.assertEqual(pool.opening, [])

    def test_under_way(self) -> None:
        """An attempt for a request will show it as well."""
        pool = self.failed()
        pool.acquire("a", "1")
        pool.probe("a")
        self.assertEqual(len(pool.opening), 1)

    def test_left_alone(self) -> None:
        """While an origin is left alone it is not tried, and the intervals grow."""
        pool = self.failed(fail_fast_after=1)
        tried = []
        for second in range(16):
            pool.probe("a")
            if pool.opening:
                tried.append(second)
                pool.fail()
            pool.wait(1)
        # Left alone for 1, 2, 4 and 8 seconds.
        self.assertEqual(tried, [1, 3, 7, 15])

    def test_reached_again(self) -> None:
        """When it succeeds the origin is left alone no more."""
        pool = self.failed(fail_fast_after=1)
        pool.wait(1)
        pool.probe("a")
        pool.acquire("a", "1")
        pool.succeed()
        pool.acquire("a", "2")
        self.assertEqual((list(pool.assigned), pool.refused.keys()), (["1"], {"x"}))
        self.assertEqual(len(pool.opening), 1)

    def test_limits(self) -> None:
        """The limit of all is kept to, and nothing evicted."""
        pool = self.failed(max_connections=1)
        pool.idle("b")
        pool.probe("a")
        self.assertEqual((pool.opening, pool.closing), ([], []))

    def test_counted_on(self) -> None:
        """Who waits counts on it, and has no other one made."""
        pool = Driver(fail_fast_after=1)
        (working,) = pool.connect("a")
        pool.acquire("a", "x")
        pool.fail()
        pool.acquire("a", "1")
        pool.now += 1
        pool.probe("a")
        self.assertEqual((len(pool.opening), pool.core.queued), (1, 0))
        connection = pool.succeed()
        self.assertIs(pool.assigned["1"], connection)
        pool.release(working)
        self.assertEqual(pool.opening, [])


class WarmTests(SynchronousTestCase):
    """Connections that are kept open."""

    def warm(self, count: int = 2, **changed: float) -> Driver:
        """A pool that keeps some to origin a, and has been told the time once."""
        pool = Driver(**changed)
        pool.core.keep_warm("a", count)
        pool.wait(0)
        return pool

    def test_from_start(self) -> None:
        """They are opened with the first tick, once."""
        pool = self.warm()
        pool.wait(1)
        self.assertEqual(pool.opening_for, ["a", "a"])
        pool.succeed()
        pool.succeed()
        pool.wait(1)
        self.assertEqual((pool.opening, pool.counts("a").idle), ([], 2))

    def test_serve(self) -> None:
        """They serve requests, also while they are being opened."""
        pool = self.warm()
        pool.acquire("a", "1")
        self.assertEqual(len(pool.opening), 2)
        connection = pool.succeed()
        self.assertEqual(pool.assigned, {"1": connection})

    def test_in_use(self) -> None:
        """Connections in use count as kept, those for requests too."""
        pool = Driver()
        pool.connect("a", 2)
        pool.core.keep_warm("a", 2)
        pool.wait(1)
        self.assertEqual(pool.opening, [])

    def test_after_loss(self) -> None:
        """What is lost is replaced, also what the pool closes itself."""
        pool = self.warm(idle_timeout=60)
        lost, timed_out = pool.succeed(), pool.succeed()
        pool.end(lost)
        pool.wait(1)
        self.assertEqual(len(pool.opening), 1)
        pool.wait(59)
        self.assertEqual(pool.closing, [timed_out])
        self.assertEqual(len(pool.opening), 2)

    def test_backoff(self) -> None:
        """After a failure there is a growing interval, until a success."""
        pool = self.warm(1)
        attempts = []
        for _ in range(8):
            attempts.append(len(pool.opening))
            if pool.opening:
                pool.fail()
            pool.wait(1)
        # Failures at 0, 1, 3 and 7.
        self.assertEqual(attempts, [1, 1, 0, 1, 0, 0, 0, 1])

    def test_backoff_ends(self) -> None:
        """A success makes the next interval the first again."""
        pool = self.warm(1)
        for interval in (1, 2):
            pool.fail()
            pool.wait(interval)
        connection = pool.succeed()
        pool.wait(SHORT_LIFE)
        pool.end(connection)
        pool.wait(1)
        pool.fail()
        pool.wait(1)
        self.assertEqual(len(pool.opening), 1)

    def test_short_life(self) -> None:
        """An origin that ends each connection at once is not asked again at once."""
        pool = self.warm(1)
        attempts = []
        for _ in range(8):
            attempts.append(len(pool.opening))
            if pool.opening:
                pool.end(pool.succeed())
            pool.wait(1)
        self.assertEqual(attempts, [1, 1, 0, 1, 0, 0, 0, 1])

    def test_ended_in_order(self) -> None:
        """One that the pool itself ends, young as it may be, is replaced at once."""
        pool = self.warm(1, idle_timeout=3)
        for _ in range(5):
            connection = pool.succeed()
            pool.wait(3)
            pool.end(connection)
            pool.wait(1)
            self.assertEqual(len(pool.opening), 1)

    def test_twice(self) -> None:
        """Of two numbers for the same origin the larger counts."""
        pool = self.warm(3)
        pool.core.keep_warm("a", 1)
        for _ in range(3):
            pool.succeed()
        pool.wait(1)
        self.assertEqual(pool.counts("a").idle, 3)

    def test_let_cool(self) -> None:
        """When they are not to be kept open any more, none is replaced."""
        pool = self.warm(1)
        connection = pool.succeed()
        pool.core.let_cool()
        pool.end(connection)
        pool.wait(60)
        self.assertEqual(pool.opening, [])

    def test_failures_at_once(self) -> None:
        """Failures of attempts begun together are one step of the interval."""
        pool = self.warm(3)
        for _ in range(3):
            pool.fail()
        pool.wait(1)
        self.assertEqual(len(pool.opening), 3)

    def test_limits(self) -> None:
        """No limit is exceeded for them, and nothing evicted."""
        for limit in ("max_connections", "max_connections_per_origin"):
            pool = self.warm(5, **{limit: 2})
            self.assertEqual(len(pool.opening), 2)
        pool = Driver(max_connections=1)
        pool.idle("b")
        pool.core.keep_warm("a", 1)
        pool.wait(1)
        self.assertEqual((pool.opening, pool.closing), ([], []))

    def test_tripped(self) -> None:
        """An origin that is left alone is probed to keep them."""
        pool = self.warm(2, fail_fast_after=2)
        pool.fail()
        pool.fail()
        pool.wait(1)
        self.assertEqual(len(pool.opening), 1)
        pool.succeed()
        pool.wait(1)
        self.assertEqual(len(pool.opening), 1)

    def test_waiting_first(self) -> None:
        """Requests that wait for room get it before they do."""
        pool = Driver(max_connections=1)
        (connection,) = pool.connect("b")
        pool.core.keep_warm("a", 1)
        pool.acquire("c", "1")
        pool.end(connection)
        pool.wait(1)
        self.assertEqual(pool.opening_for, ["c"])
