"""Tables as tests: every row becomes a test method of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar


class Row(Protocol):
    """What a row needs to become a test: its source, and its rule in one phrase."""

    @property
    def section(self) -> str: ...

    @property
    def rule(self) -> str: ...


R = TypeVar("R", bound=Row)
T = TypeVar("T", bound=type)


def tests_for(rows: Iterable[R], check: Callable[[Any, R], None]) -> Callable[[T], T]:
    """
    A class decorator that adds C{test_<rule>} to a test case for every row.

    @param check: called with the test case and the row.
    """

    def decorate(case: T) -> T:
        for row in rows:
            name = "test_" + re.sub(r"\W+", "_", row.rule).strip("_").lower()
            assert name not in vars(case), f"two rows with the rule {row.rule!r}"
            setattr(case, name, _method(name, row, check))
        return case

    return decorate


def _method(name: str, row: R, check: Callable[[Any, R], None]) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        check(self, row)

    test.__name__ = name
    test.__doc__ = f"{row.section}: {row.rule}."
    return test
