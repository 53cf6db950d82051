"""Preconditions and ranges, judged on bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.preconditions import (
    MAX_RANGES,
    Validators,
    find_conditions,
    judge,
    parse_date,
    satisfiable_ranges,
)

OURS = Validators(b'"a,b"', 784111777)
THEN = b"Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"


class PreconditionTests(SynchronousTestCase):
    """RFC 9110 section 13.2.2."""

    def check(self, expected: int | None, *lines: bytes) -> None:
        """Check what becomes of a request with these field lines."""
        conditions = find_conditions(b"".join(line + b"\r\n" for line in lines))
        self.assertEqual((lines, judge(conditions, OURS)), (lines, expected))

    def test_etags(self) -> None:
        """Any tag of a list may match; If-None-Match compares weakly, If-Match strongly."""
        for value, is_same, is_alike in (
            (b"*", True, True),
            (b'"a,b"', True, True),
            (b'"x", "a,b"', True, True),
            (b'"x","a,b","y"', True, True),
            (b'W/"a,b"', False, True),
            (b'W/"x", W/"a,b"', False, True),
            (b'"a", "b"', False, False),
            (b"a,b", False, False),
            (b"", False, False),
        ):
            self.check(None if is_same else 412, b"If-Match: " + value)
            self.check(304 if is_alike else None, b"If-None-Match: " + value)

    def test_several_lines(self) -> None:
        """A list may stand in several lines."""
        self.check(304, b'If-None-Match: "x"', b'if-none-match: "a,b"')

    def test_dates(self) -> None:
        """A date is that of the latest version that the client knows."""
        self.check(304, b"If-Modified-Since: " + THEN)
        self.check(None, b"If-Modified-Since: " + BEFORE)
        self.check(None, b"If-Unmodified-Since: " + THEN)
        self.check(412, b"If-Unmodified-Since: " + BEFORE)
        for name in (b"If-Modified-Since: ", b"If-Unmodified-Since: "):
            self.check(None, name + b"yesterday")

    def test_order(self) -> None:
        """A tag makes the date that stands beside it meaningless."""
        self.check(None, b'If-None-Match: "x"', b"If-Modified-Since: " + THEN)
        self.check(None, b'If-Match: "a,b"', b"If-Unmodified-Since: " + BEFORE)
        self.check(412, b'If-Match: "x"', b'If-None-Match: "a,b"')
        self.check(304, b'If-Match: "a,b"', b'If-None-Match: "a,b"')
        self.check(412, b"If-Unmodified-Since: " + BEFORE, b"If-None-Match: *")

    def test_date_forms(self) -> None:
        """A date comes in three forms (RFC 9110 section 5.6.7); nothing else is one."""
        for form in (THEN, b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"):
            self.assertEqual(parse_date(form), OURS.modified)
        for form in (b"", b" ", b"0", b"\xff", b"Sun, 06 Nov 1066 08:49:37 GMT", THEN * 100):
            self.assertIsNone(parse_date(form))

    @given(st.binary(max_size=50) | st.text("SunNov, 0619:-").map(str.encode))
    def test_any_date(self, value: bytes) -> None:
        """Whatever is sent for a date, it is one or none."""
        parse_date(value)


class RangeTests(SynchronousTestCase):
    """RFC 9110 section 14."""

    def test_too_many(self) -> None:
        """There is a limit, below which many may be asked for."""
        asked = [b"%d-%d" % (n, n) for n in range(MAX_RANGES + 1)]
        self.assertIsNone(satisfiable_ranges(b"bytes=" + b",".join(asked), 1000))
        found = satisfiable_ranges(b"bytes=" + b",".join(asked[1:]), 1000)
        self.assertEqual(found, [(n, n) for n in range(1, MAX_RANGES + 1)])

    def test_too_much(self) -> None:
        """Never is more asked for than there is."""
        self.assertIsNone(satisfiable_ranges(b"bytes=0-5,5-9", 10))
        self.assertEqual(satisfiable_ranges(b"bytes=5-9, 0-4", 10), [(5, 9), (0, 4)])

    @given(st.text("0123456789-, ").map(str.encode), st.integers(0, 200))
    def test_any(self, specs: bytes, size: int) -> None:
        """Whatever is asked for, what is found lies inside the file."""
        ranges = satisfiable_ranges(b"bytes=" + specs, size)
        for first, last in ranges or ():
            self.assertTrue(0 <= first <= last < size)
