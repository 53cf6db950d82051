"""Which pages are slow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.pace import MAX_PATH, MAX_PATHS, SLOW, Pace

PAGE = b"/page.php"


class PaceTests(SynchronousTestCase):
    """What is made of the times that requests took."""

    def setUp(self) -> None:
        """Know nothing yet."""
        self.pace = Pace()

    def took(self, *seconds: float) -> bool:
        """Let requests for the page take so long; return whether it is slow then."""
        for each in seconds:
            self.pace.took(PAGE, each)
        return self.pace.is_slow(PAGE)

    def test_unknown(self) -> None:
        """A page not asked for before is not slow."""
        self.assertFalse(self.pace.is_slow(PAGE))

    def test_once(self) -> None:
        """One request alone makes no page slow, however long it takes."""
        self.assertFalse(self.took(3600.0))

    def test_twice(self) -> None:
        """Two in a row that take long do."""
        self.assertTrue(self.took(0.2, 0.2))

    def test_now_and_then(self) -> None:
        """A page that takes long once in ten times is not slow."""
        for _ in range(50):
            self.assertFalse(self.took(60.0, *[0.001] * 9))

    def test_a_little_too_long(self) -> None:
        """A page that always takes somewhat longer than is quick becomes slow."""
        self.assertTrue(self.took(*[SLOW * 1.1] * 12))

    def test_quick_enough(self) -> None:
        """A page that never takes longer than is quick is not slow, and not remembered."""
        self.assertFalse(self.took(*[SLOW] * 100))
        self.assertEqual(len(self.pace), 0)

    def test_quick_again(self) -> None:
        """Five quick requests make a page quick, however slow it was; then it is forgotten."""
        self.assertTrue(self.took(*[60.0] * 100))
        self.assertTrue(self.took(*[0.001] * 4))
        self.assertFalse(self.took(0.001))
        self.took(*[0.001] * 20)
        self.assertEqual(len(self.pace), 0)

    def test_each_for_itself(self) -> None:
        """What one page takes says nothing of another."""
        self.took(1.0, 1.0)
        self.assertFalse(self.pace.is_slow(PAGE + b"/more"))

    def test_bounded(self) -> None:
        """So many slow pages are remembered; those not asked for the longest go first."""
        for number in range(MAX_PATHS):
            for _ in range(2):
                self.pace.took(b"/%d" % number, 1.0)
        self.pace.took(b"/0", 1.0)
        self.took(1.0, 1.0)
        self.assertEqual(len(self.pace), MAX_PATHS)
        self.assertTrue(self.pace.is_slow(b"/0") and self.pace.is_slow(PAGE))
        self.assertFalse(self.pace.is_slow(b"/1"))

    def test_long_paths(self) -> None:
        """Paths that are very long are not remembered, since clients choose them."""
        for length, slow in ((MAX_PATH, True), (MAX_PATH + 1, False)):
            path = b"/".ljust(length, b"a")
            for _ in range(3):
                self.pace.took(path, 1.0)
            self.assertEqual(self.pace.is_slow(path), slow)

    @given(st.lists(st.floats(0, 100), max_size=40))
    def test_justified(self, times: list[float]) -> None:
        """A page that is slow took too long at least twice, and one time among the last eight."""
        pace = Pace()
        for seconds in times:
            pace.took(PAGE, seconds)
        if pace.is_slow(PAGE):
            self.assertGreaterEqual(sum(each > SLOW for each in times), 2)
            self.assertGreater(max(times[-8:]), SLOW / 8)
