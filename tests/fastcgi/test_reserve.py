"""The connection that slow requests do not get: the decisions, without a pool."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.reserve import MEMORY, Reserve

TIMEOUT = 10.0


class Desk:
    """
    Asks a reserve as a pool does.

    @ivar busy: slow requests that were let through and have not left.
    @ivar order: all that were ever let through.
    @ivar late: those that were given up.
    """

    def __init__(self, capacity: int) -> None:
        self.now = 100.0
        self.capacity = capacity
        self.reserve: Reserve[str, int] = Reserve(lambda: self.capacity)
        self.busy: list[int] = []
        self.order: list[int] = []
        self.late: list[int] = []
        self.number = 0

    def fast(self) -> None:
        """Another request comes."""
        self.reserve.fast_at = self.now

    def slow(self) -> int:
        """A slow one comes."""
        self.number += 1
        if self.reserve.admits(self.number, self.now):
            self.passed(self.number)
        else:
            self.reserve.hold(self.number, "key", self.now + TIMEOUT)
        return self.number

    def passed(self, number: int) -> None:
        """It goes on."""
        self.busy.append(number)
        self.order.append(number)

    def leave(self, number: int) -> bool:
        """It has ended, or has lost interest."""
        if number in self.busy:
            self.busy.remove(number)
        held = self.reserve.leave(number)
        self.look()
        return held

    def look(self) -> None:
        """See who may go on."""
        while (number := self.reserve.let_through(self.now)) is not None:
            self.passed(number)

    def elapse(self, seconds: float) -> None:
        """Let time go by, and look."""
        self.now += seconds
        self.late += [number for number, _ in self.reserve.overdue(self.now)]
        self.look()


class ReserveTests(SynchronousTestCase):
    """One rule at a time."""

    def setUp(self) -> None:
        """Have three connections, and a request that is not slow just now."""
        self.desk = Desk(3)
        self.desk.fast()

    def test_one_is_kept(self) -> None:
        """While others come, slow requests get all connections but one."""
        for _ in range(5):
            self.desk.slow()
        self.assertEqual((self.desk.busy, len(self.desk.reserve)), ([1, 2], 3))

    def test_next(self) -> None:
        """When one leaves, that which has waited for longest goes on."""
        for _ in range(5):
            self.desk.slow()
        self.assertFalse(self.desk.leave(2))
        self.assertEqual(self.desk.busy, [1, 3])
        self.desk.leave(1)
        self.assertEqual(self.desk.busy, [3, 4])

    def test_told_twice(self) -> None:
        """That one has left counts once."""
        for _ in range(5):
            self.desk.slow()
        for _ in range(3):
            self.desk.leave(1)
        self.assertEqual(self.desk.busy, [2, 3])

    def test_lost_interest(self) -> None:
        """One that leaves while it is held is not let through."""
        for _ in range(4):
            self.desk.slow()
        self.assertTrue(self.desk.leave(3))
        self.desk.leave(1)
        self.assertEqual(self.desk.busy, [2, 4])

    def test_asks_again(self) -> None:
        """One that was let through may ask again, wherever it goes next."""
        for _ in range(3):
            self.desk.slow()
        self.assertTrue(self.desk.reserve.admits(1, self.desk.now))
        self.desk.leave(1)
        self.assertFalse(self.desk.reserve.admits(1, self.desk.now))

    def test_nobody_else(self) -> None:
        """Where no other request has ever come, slow ones get all connections."""
        desk = Desk(3)
        for _ in range(5):
            desk.slow()
        self.assertEqual(desk.busy, [1, 2, 3, 4, 5])

    def test_nobody_else_any_more(self) -> None:
        """Where none has come for a while, those held are let go on."""
        for _ in range(5):
            self.desk.slow()
        self.desk.elapse(MEMORY - 0.1)
        self.assertEqual(self.desk.busy, [1, 2])
        self.desk.elapse(0.1)
        self.assertEqual(self.desk.busy, [1, 2, 3, 4, 5])

    def test_no_overtaking(self) -> None:
        """One that comes when those held may go on, but were not told yet, comes after them."""
        for _ in range(3):
            self.desk.slow()
        self.desk.now += MEMORY
        self.desk.slow()
        self.desk.look()
        self.assertEqual(self.desk.order, [1, 2, 3, 4])

    def test_others_come_back(self) -> None:
        """When others come again, as many slow ones have to end first."""
        self.desk.elapse(MEMORY)
        for _ in range(3):
            self.desk.slow()
        self.desk.fast()
        self.desk.slow()
        self.desk.leave(1)
        self.assertEqual(self.desk.busy, [2, 3])
        self.desk.leave(2)
        self.assertEqual(self.desk.busy, [3, 4])

    def test_a_single_connection(self) -> None:
        """Of one connection, or none that works, nothing is kept."""
        for capacity in (0, 1):
            desk = Desk(capacity)
            desk.fast()
            for _ in range(3):
                desk.slow()
            self.assertEqual(len(desk.busy), 3)

    def test_too_late(self) -> None:
        """Those held for too long are given up, with where they wanted to go."""
        for _ in range(3):
            self.desk.slow()
        self.desk.now += 1
        self.desk.slow()
        self.desk.now += TIMEOUT - 1
        self.assertEqual(self.desk.reserve.overdue(self.desk.now), [(3, "key")])
        self.desk.now += 1
        self.assertEqual(self.desk.reserve.overdue(self.desk.now), [(4, "key")])
        self.assertEqual(len(self.desk.reserve), 0)

    @given(
        st.integers(2, 5),
        st.lists(
            st.one_of(
                st.sampled_from(["slow", "fast"]),
                st.integers(0, 20),
                st.floats(0.01, 4.0),
            ),
            max_size=80,
        ),
    )
    def test_whatever_happens(self, capacity: int, events: list[str | int | float]) -> None:
        """
        None goes on to the last connection while others come, all go on in the order of their
        arrival, and all that are not given up go on in the end.
        """
        desk = Desk(capacity)
        gone = []
        for event in events:
            before = len(desk.order)
            if event == "slow":
                desk.slow()
            elif event == "fast":
                desk.fast()
            elif isinstance(event, int):
                if desk.leave(event):
                    gone.append(event)
            elif isinstance(event, float):
                desk.elapse(event)
            if len(desk.order) > before and desk.now - desk.reserve.fast_at < MEMORY:
                self.assertLess(len(desk.busy), capacity)
        self.assertFalse(len(desk.reserve) and len(desk.busy) < capacity - 1)
        while desk.busy:
            desk.leave(desk.busy[0])
        self.assertEqual(desk.order, sorted(desk.order))
        self.assertEqual(sorted([*desk.order, *desk.late, *gone]), [*range(1, desk.number + 1)])
