"""
When a stream's window is given back, and when it grows.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http2.windows import INITIAL_WINDOW, LARGEST_WINDOW, RESERVE, Reserve, StreamWindow


class StreamWindowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.reserve = Reserve()
        self.window = StreamWindow(lambda: self.now, self.reserve)

    def _read(self, size: int) -> int:
        self.window.take(size)
        return self.window.give_back()

    def _round(self) -> None:
        size = self.window.size
        self._read(size // 2)
        self._read(size - size // 2)

    def test_small(self) -> None:
        """
        Nothing is given back for what is less than a quarter of a window: most responses.
        """
        self.assertEqual(self._read(INITIAL_WINDOW // 4 - 1), 0)

    def test_quarter(self) -> None:
        """
        A quarter of a window is given back as a whole.
        """
        self.assertEqual(self._read(INITIAL_WINDOW // 8), 0)
        self.assertEqual(self._read(INITIAL_WINDOW // 8 + 5), INITIAL_WINDOW // 4 + 5)
        self.assertEqual(self._read(1), 0)

    def test_growth(self) -> None:
        """
        A window that was read without a pause is given back twice.
        """
        self._read(INITIAL_WINDOW // 2)
        self.assertEqual(self._read(INITIAL_WINDOW // 2), INITIAL_WINDOW * 3 // 2)
        self.assertEqual(self.window.size, 2 * INITIAL_WINDOW)

    def test_largest(self) -> None:
        """
        It does not grow for ever.
        """
        for _ in range(20):
            self._round()
        self.assertEqual(self.window.size, LARGEST_WINDOW)

    def test_paused(self) -> None:
        """
        While the user does not read, nothing is given back; then what was held is.
        """
        self.window.pause()
        self.assertEqual(self._read(INITIAL_WINDOW - 1), 0)
        self.window.resume()
        self.assertEqual(self.window.give_back(), INITIAL_WINDOW - 1)

    def test_slow_reader(self) -> None:
        """
        A window does not grow for one who is waited for nearly all the time.
        """
        for _ in range(10):
            self.window.pause()
            self.now += 0.9
            self.window.resume()
            self.now += 0.1
            self._round()
        self.assertEqual(self.window.size, INITIAL_WINDOW)

    def test_short_pauses(self) -> None:
        """
        Pauses that are short beside the round trip do not keep it from growing.
        """
        for _ in range(4):
            self.window.pause()
            self.now += 0.001
            self.window.resume()
            self.now += 0.020
            self._round()
        self.assertEqual(self.window.size, 16 * INITIAL_WINDOW)

    def test_recovers(self) -> None:
        """
        Each round is judged by itself.
        """
        self.window.pause()
        self.now += 60
        self.window.resume()
        self._round()
        self.assertEqual(self.window.size, INITIAL_WINDOW)
        self.now += 0.02
        self._round()
        self.assertEqual(self.window.size, 2 * INITIAL_WINDOW)

    def test_pause_twice(self) -> None:
        """
        Pausing and resuming again means nothing.
        """
        self.window.pause()
        self.now += 1
        self.window.pause()
        self.now += 1
        self.window.resume()
        self.window.resume()
        self.now += 0.2
        self._round()
        self.assertEqual(self.window.size, INITIAL_WINDOW)

    def test_reserve(self) -> None:
        """
        All windows of a connection grow out of one reserve, and give back to it what they have
        taken.
        """
        many = [StreamWindow(lambda: self.now, self.reserve) for _ in range(20)]
        for self.window in many:
            for _ in range(8):
                self._round()
        grown = sum(each.size - INITIAL_WINDOW for each in many)
        self.assertEqual((grown, self.reserve.left), (RESERVE, 0))
        self.assertEqual(many[-1].size, INITIAL_WINDOW)
        many[0].close()
        self._round()
        self.assertGreater(many[-1].size, INITIAL_WINDOW)
