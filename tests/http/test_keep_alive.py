"""The field Keep-Alive of responses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.keep_alive import KeepAlive, parse_keep_alive, usable_idle_time


class ParseTests(SynchronousTestCase):
    """What a value means."""

    def assert_means(self, value: bytes, timeout: float | None, most: int | None) -> None:
        """Check it, and that the value means the same when it is asked for again."""
        for _ in range(2):
            self.assertEqual((value, *parse_keep_alive(value)), (value, timeout, most))

    def test_usual(self) -> None:
        """Origins say one of the two parameters or both (RFC 2068 section 19.7.1.1)."""
        self.assert_means(b"timeout=5", 5.0, None)
        self.assert_means(b"max=100", None, 100)
        self.assert_means(b"timeout=5, max=100", 5.0, 100)

    def test_tolerance(self) -> None:
        """Order, case, white space and quotation marks do not matter."""
        for value in (
            b"max=7, timeout=5",
            b"TIMEOUT=5,Max=7",
            b"\ttimeout = 5 ,\t max =\t7 ",
            b"timeout=\"5\", max='7'",
            b"timeout=5; max=7",
            b"timeout=5 max=7",
            b",,timeout=005,, max=07,",
        ):
            self.assert_means(value, 5.0, 7)

    def test_zero(self) -> None:
        """Zero is a value, not an absence."""
        self.assert_means(b"timeout=0, max=0", 0.0, 0)

    def test_repeated(self) -> None:
        """Of a parameter that stands more than once the strictest counts."""
        self.assert_means(b"timeout=5, max=3, timeout=2, max=9, timeout=4", 2.0, 3)

    def test_unknown(self) -> None:
        """Other parameters are ignored, and do not hide those that are known."""
        self.assert_means(b"min=3, x-timeout=1, timeoutx=1, timeout=5, hard, =", 5.0, None)

    def test_garbage(self) -> None:
        """What is not understood is no limit."""
        for value in (
            b"",
            b"300",
            b"timeout",
            b"timeout=",
            b"timeout=-1",
            b"timeout=5s",
            b"timeout=5.5",
            b"timeout=0x5",
            b"timeout==5",
            b"timeout=\xb2",
            b"max=1e3",
            b"timeout: 5",
        ):
            self.assert_means(value, None, None)

    def test_huge(self) -> None:
        """A number of any length does no harm, and is no limit."""
        self.assert_means(b"timeout=999999999", 999999999.0, None)
        for digits in (10, 5000, 60000):
            self.assert_means(b"timeout=%b, max=%b" % (b"9" * digits, b"9" * digits), None, None)

    @given(st.binary(max_size=300) | st.text("timeoutmax=\"', \t;0159").map(str.encode))
    def test_anything(self, value: bytes) -> None:
        """No value is an error, and limits are never negative."""
        timeout, most = parse_keep_alive(value)
        self.assertTrue(timeout is None or timeout >= 0, timeout)
        self.assertTrue(most is None or most >= 0, most)

    def test_nothing_said(self) -> None:
        """Nothing said is no limit."""
        self.assertEqual(KeepAlive(), (None, None))


class MarginTests(SynchronousTestCase):
    """How much of an announced time is used."""

    def test_margin(self) -> None:
        """A second is left over, or half of what is less than two seconds."""
        for timeout, usable in ((0, 0), (1, 0.5), (2, 1), (3, 2), (5, 4), (60, 59)):
            self.assertEqual((timeout, usable_idle_time(timeout)), (timeout, usable))
