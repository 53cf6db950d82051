"""Types of command line arguments, for argparse."""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

_T = TypeVar("_T")


class Named(Protocol):
    """Something that patterns choose by its name."""

    @property
    def name(self) -> str:
        """Return the name used on the command line and in the report."""


_N = TypeVar("_N", bound=Named)


def matching(patterns: str, everything: Sequence[_N]) -> list[_N]:
    """Return those whose name matches one of the comma-separated shell patterns, in order.

    Raises ValueError for a pattern that matches none.
    """
    names = [each.name for each in everything]
    chosen: set[str] = set()
    for pattern in patterns.split(","):
        found = fnmatch.filter(names, pattern.strip())
        if not found:
            raise ValueError(f"{pattern!r} matches no scenario; there are {', '.join(names)}")
        chosen.update(found)
    return [each for each in everything if each.name in chosen]


def positive(text: str) -> float:
    """Convert to a number above 0 and below 3600. Raises ValueError."""
    value = float(text)
    if not 0 < value < 3600:
        raise ValueError(f"{text!r}: expected a number above 0 and below 3600")
    return value


def positive_int(text: str) -> int:
    """Convert to a whole number above 0. Raises ValueError."""
    if not text.isdigit() or int(text) == 0:
        raise ValueError(f"{text!r}: expected a whole number above 0")
    return int(text)


def checked(convert: Callable[[str], _T]) -> Callable[[str], _T]:
    """Let argparse show a ValueError's own text."""

    def convert_or_tell(text: str) -> _T:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert_or_tell
