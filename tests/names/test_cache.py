"""What is known about names, and when to ask."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.names.cache import (
    DISTRUST_TIME,
    MAX_STALE,
    RETRY_TIME,
    Answer,
    Decision,
    NameCache,
)

OLD = ("192.0.2.1", "2001:db8::1")
NEW = ("192.0.2.2",)
WAIT_AND_ASK = Decision(None, True)
WAIT = Decision(None, False)


class CacheTestCase(SynchronousTestCase):
    """Has a cache that keeps good answers for 30 s."""

    def setUp(self) -> None:
        """Nothing is known."""
        self.cache: NameCache[str] = NameCache(30.0)

    def look_up(self, now: float, waiter: str = "w") -> Decision:
        """Look up the name that these tests are about."""
        return self.cache.look_up("a.test", waiter, now)

    def learn(self, now: float = 0.0) -> None:
        """Look the name up and have it answered."""
        self.assertEqual(self.look_up(now), WAIT_AND_ASK)
        self.cache.answered("a.test", OLD, now)


class AnswerTests(CacheTestCase):
    """Good answers and "no such name"."""

    def test_used_for_its_time(self) -> None:
        """An answer is used for its time to live, in its order, and then asked for again."""
        self.learn()
        self.assertEqual(self.look_up(29.9), Decision(Answer(OLD), False))
        self.assertEqual(self.look_up(30.0), WAIT_AND_ASK)

    def test_time_to_live_of_zero(self) -> None:
        """With a time to live of 0 every look-up asks, whatever the last one brought."""
        self.cache = NameCache(0.0)
        self.learn()
        self.assertEqual(self.look_up(0.0), WAIT_AND_ASK)
        self.cache.missing("a.test", "gone", 0.0)
        self.assertEqual(self.look_up(0.0), WAIT_AND_ASK)
        self.cache.failed("a.test", "broken", 0.0)
        self.assertEqual(self.look_up(0.0), WAIT_AND_ASK)

    def test_one_query(self) -> None:
        """Look-ups at the same time share one query, even with a time to live of 0."""
        for ttl in (30.0, 0.0):
            self.cache = NameCache(ttl)
            self.assertEqual(self.look_up(0.0, "1"), WAIT_AND_ASK)
            self.assertEqual(self.look_up(0.0, "2"), WAIT)
            self.assertEqual(self.look_up(5.0, "3"), WAIT)
            answer, waiters = self.cache.answered("a.test", NEW, 6.0)
            self.assertEqual((answer, waiters), (Answer(NEW), ["1", "2", "3"]))

    def test_names_are_apart(self) -> None:
        """One name's answer is not another's."""
        self.learn()
        self.assertEqual(self.cache.look_up("b.test", "w", 0.0), WAIT_AND_ASK)

    def test_no_such_name(self) -> None:
        """That a name does not exist is believed for a second."""
        self.look_up(0.0)
        gone = Answer((), "no such name")
        self.assertEqual(self.cache.missing("a.test", gone.reason, 0.0), (gone, ["w"]))
        self.assertEqual(self.look_up(RETRY_TIME - 0.1), Decision(gone, False))
        self.assertEqual(self.look_up(RETRY_TIME), WAIT_AND_ASK)

    def test_forgotten_waiter(self) -> None:
        """A waiter that has gone is not told; the others and the query stay."""
        self.look_up(0.0, "1")
        self.look_up(0.0, "2")
        self.cache.forget("a.test", "1")
        self.cache.forget("b.test", "1")
        self.assertEqual(self.cache.answered("a.test", NEW, 1.0)[1], ["2"])

    def test_query_without_waiters(self) -> None:
        """A query whose waiters have all gone still serves those who come later."""
        self.look_up(0.0, "1")
        self.cache.forget("a.test", "1")
        self.assertEqual(self.look_up(1.0, "2"), WAIT)
        self.cache.answered("a.test", NEW, 2.0)
        self.assertEqual(self.look_up(3.0), Decision(Answer(NEW), False))


class StaleTests(CacheTestCase):
    """What is told when the resolver fails (RFC 8767)."""

    def test_failure(self) -> None:
        """When a query fails, its waiters get the answer from before."""
        self.learn()
        self.look_up(40.0, "1")
        self.look_up(40.0, "2")
        told = self.cache.failed("a.test", "broken", 41.0)
        self.assertEqual(told, (Answer(OLD), ["1", "2"]))

    def test_failure_with_nothing_known(self) -> None:
        """Without one they get the reason; it holds for a second (RFC 9520)."""
        self.look_up(0.0)
        broken = Answer((), "broken")
        self.assertEqual(self.cache.failed("a.test", "broken", 5.0), (broken, ["w"]))
        self.assertEqual(self.look_up(5.9), Decision(broken, False))
        self.assertEqual(self.look_up(6.0), WAIT_AND_ASK)

    def test_no_such_name_is_no_failure(self) -> None:
        """A name that is gone has no stale answer, not even when the resolver fails next."""
        self.learn()
        self.look_up(40.0)
        self.assertEqual(self.cache.missing("a.test", "gone", 41.0)[0], Answer((), "gone"))
        self.look_up(43.0)
        self.assertEqual(self.cache.failed("a.test", "broken", 44.0)[0], Answer((), "broken"))

    def test_slow_query(self) -> None:
        """When a query takes long, its waiters and all that follow get the answer from before."""
        self.learn()
        self.look_up(40.0, "1")
        self.assertEqual(self.cache.overdue("a.test", 41.8), (Answer(OLD), ["1"]))
        self.assertEqual(self.look_up(42.0, "2"), Decision(Answer(OLD), False))
        self.assertEqual(self.cache.answered("a.test", NEW, 45.0), (Answer(NEW), []))
        self.assertEqual(self.look_up(46.0), Decision(Answer(NEW), False))

    def test_slow_query_with_nothing_known(self) -> None:
        """Without one they wait for the query."""
        self.look_up(0.0, "1")
        self.assertEqual(self.cache.overdue("a.test", 1.8)[1], [])
        self.assertEqual(self.look_up(2.0, "2"), WAIT)
        self.assertEqual(self.cache.answered("a.test", NEW, 9.0)[1], ["1", "2"])

    def test_nobody_waits_while_there_is_trouble(self) -> None:
        """After a failure, look-ups get the stale answer at once and cause one query a second."""
        self.learn()
        self.look_up(40.0)
        self.cache.failed("a.test", "broken", 40.0)
        stale = Answer(OLD)
        self.assertEqual(self.look_up(40.9), Decision(stale, False))
        self.assertEqual(self.look_up(41.0), Decision(stale, True))
        self.assertEqual(self.look_up(41.5), Decision(stale, False))
        self.cache.answered("a.test", NEW, 42.0)
        self.assertEqual(self.look_up(42.0), Decision(Answer(NEW), False))

    def test_trouble_is_forgotten(self) -> None:
        """Some time after a failure the resolver is waited for again."""
        self.learn()
        self.look_up(40.0)
        self.cache.failed("a.test", "broken", 40.0)
        self.assertEqual(self.look_up(40.0 + DISTRUST_TIME), WAIT_AND_ASK)

    def test_stale_for_a_day(self) -> None:
        """A stale answer is used for a day, however often the resolver fails meanwhile."""
        self.learn()
        end = 30.0 + MAX_STALE
        for now in (100.0, end / 2, end - 1):
            self.look_up(now)
            self.assertEqual(self.cache.failed("a.test", "broken", now)[0], Answer(OLD))
        self.assertEqual(self.look_up(end), WAIT_AND_ASK)
        self.assertEqual(self.cache.failed("a.test", "broken", end)[0], Answer((), "broken"))

    def test_too_old_for_a_slow_query(self) -> None:
        """An answer that is older does not stand in for a slow query either."""
        self.learn()
        self.look_up(30.0 + MAX_STALE)
        self.assertEqual(self.cache.overdue("a.test", 32.0 + MAX_STALE)[1], [])


class RefreshTests(CacheTestCase):
    """Questions for which nobody waits."""

    def test_when_old(self) -> None:
        """An old answer is asked for again, once; a fresh one is not, nor is an unknown name."""
        self.assertFalse(self.cache.refresh("a.test", 0.0))
        self.learn()
        self.assertFalse(self.cache.refresh("a.test", 29.9))
        self.assertTrue(self.cache.refresh("a.test", 30.0))
        self.assertFalse(self.cache.refresh("a.test", 31.0))
        self.assertEqual(self.look_up(32.0), WAIT)
        self.assertEqual(self.cache.answered("a.test", NEW, 33.0), (Answer(NEW), ["w"]))

    def test_after_a_failure(self) -> None:
        """When the resolver has failed it is left alone for a while (RFC 8767 section 5, failure
        recheck timer), however short the time to live."""
        for ttl in (30.0, 5.0):
            self.cache = NameCache(ttl)
            self.learn()
            for now in (100.0, 100.0 + DISTRUST_TIME):
                self.assertTrue(self.cache.refresh("a.test", now))
                self.cache.failed("a.test", "broken", now)
                self.assertFalse(self.cache.refresh("a.test", now + DISTRUST_TIME - 0.1))

    def test_look_up_after_a_failed_refresh(self) -> None:
        """Who needs the name does not wait for that: it is asked for, and the old answer used."""
        self.learn()
        self.cache.refresh("a.test", 30.0)
        self.cache.failed("a.test", "broken", 30.0)
        self.assertEqual(self.look_up(30.0 + RETRY_TIME), Decision(Answer(OLD), True))

    def test_missing(self) -> None:
        """A name that does not exist is asked for again once in a time to live; who needs it has
        it asked for earlier."""
        self.learn()
        self.cache.refresh("a.test", 30.0)
        self.cache.missing("a.test", "gone", 30.0)
        self.assertFalse(self.cache.refresh("a.test", 59.9))
        self.assertEqual(self.look_up(30.0 + RETRY_TIME), WAIT_AND_ASK)
        self.cache.missing("a.test", "gone", 32.0)
        self.assertTrue(self.cache.refresh("a.test", 62.0))


class BoundTests(SynchronousTestCase):
    """How much is kept."""

    def setUp(self) -> None:
        """Room for two names."""
        self.cache: NameCache[str] = NameCache(30.0, 2)

    def learn(self, *names: str) -> None:
        """Have the names answered, all at the same time."""
        for name in names:
            self.assertTrue(self.cache.look_up(name, "w", 0.0).ask)
            self.cache.answered(name, NEW, 0.0)

    def knows(self, name: str) -> bool:
        """Whether there is an answer to a name."""
        return self.cache.look_up(name, "w", 1.0).answer is not None

    def test_least_recently_used(self) -> None:
        """The name that was not looked up for longest gives way."""
        self.learn("a", "b")
        self.cache.look_up("a", "w", 0.0)
        self.learn("c")
        self.assertEqual(len(self.cache), 2)
        self.assertEqual([self.knows(name) for name in "abc"], [True, False, True])

    def test_bad_answers_count(self) -> None:
        """Names that do not exist are no way around the bound."""
        for number in range(9):
            self.cache.look_up(f"{number}", "w", 0.0)
            (self.cache.missing if number % 2 else self.cache.failed)(f"{number}", "why", 0.0)
        self.assertEqual(len(self.cache), 2)

    def test_name_that_is_asked_for(self) -> None:
        """A name that is being asked for keeps its waiters and its stale answer."""
        self.learn("a")
        self.cache.look_up("a", "waiter", 40.0)
        self.learn("b", "c", "d")
        self.assertEqual(self.cache.look_up("a", "another", 40.0), WAIT)
        told = self.cache.failed("a", "broken", 41.0)
        self.assertEqual(told, (Answer(NEW), ["waiter", "another"]))
        self.assertEqual(len(self.cache), 2)


class Life(RuleBasedStateMachine):
    """Any order of events, checked against what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: NameCache[int] = NameCache(5.0, 3)
        self.now = 0.0
        self.asked: set[str] = set()
        self.good: dict[str, tuple[float, tuple[str, ...]]] = {}
        self.waiting: dict[int, str] = {}
        self.count = 0

    names = st.sampled_from(["a", "b", "c", "d", "e"])

    def told(self, name: str, result: tuple[Answer, list[int]]) -> None:
        """Nobody is told twice, or about another name, or without a reason."""
        answer, waiters = result
        for waiter in waiters:
            assert self.waiting.pop(waiter) == name
        if not answer.addresses:
            assert answer.reason
            return
        since, addresses = self.good[name]
        assert answer.addresses == addresses
        assert self.now < since + 5.0 + MAX_STALE

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 40.0, MAX_STALE]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(name=names)
    def look_up(self, name: str) -> None:
        """A query is started exactly when there is none; who gets no answer waits for one."""
        self.count += 1
        answer, ask = self.cache.look_up(name, self.count, self.now)
        if ask:
            assert name not in self.asked
            self.asked.add(name)
        if answer is None:
            assert name in self.asked
            self.waiting[self.count] = name
        else:
            self.told(name, (answer, []))

    @rule(name=names)
    def refresh(self, name: str) -> None:
        """A refresh starts no second query."""
        if self.cache.refresh(name, self.now):
            assert name not in self.asked
            self.asked.add(name)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Waiters may go."""
        waiter = data.draw(st.sampled_from(sorted(self.waiting)))
        self.cache.forget(self.waiting.pop(waiter), waiter)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), end=st.sampled_from(["answered", "missing", "failed", "overdue"]))
    def event(self, data: st.DataObject, end: str) -> None:
        """After the end of its query nobody waits for a name."""
        name = data.draw(st.sampled_from(sorted(self.asked)))
        if end == "overdue":
            self.told(name, self.cache.overdue(name, self.now))
            return
        self.asked.remove(name)
        if end == "answered":
            addresses = (f"192.0.2.{self.count % 256}",)
            self.good[name] = (self.now, addresses)
            self.told(name, self.cache.answered(name, addresses, self.now))
        elif end == "missing":
            self.good.pop(name, None)
            self.told(name, self.cache.missing(name, "gone", self.now))
        else:
            self.told(name, self.cache.failed(name, "broken", self.now))
        assert name not in self.waiting.values()

    @invariant()
    def bounded(self) -> None:
        """No more names are kept than there is room for."""
        assert len(self.cache) <= 3


class LifeTests(SynchronousTestCase):
    """L{Life}."""

    def test_any_order(self) -> None:
        """
        In any order of events every waiter is told exactly once, a name has one query at most,
        stale answers are the last good ones, and the bound holds.
        """
        run_state_machine_as_test(
            Life, settings=settings(max_examples=200, stateful_step_count=60, deadline=None)
        )
