"""
The names below the document root that the operator gives: C{--split}, C{--index} and
C{--front-controller}.
"""

from __future__ import annotations

import os
import re

__all__ = ["DocumentNameError", "parse_front_controller", "parse_index", "parse_suffix"]

_SUFFIX = re.compile(r"\.[0-9A-Za-z._+-]*[0-9A-Za-z]")
#: Segments that mean what they say: none is hidden, encoded, empty or a parent.
_PLAIN = re.compile(rb"[^/.%\\\x00\n\r][^/%\\\x00\n\r]*(?:/[^/.%\\\x00\n\r][^/%\\\x00\n\r]*)*")


class DocumentNameError(ValueError):
    """
    A text is no such name.

    @ivar expected: what would do.
    """

    reason = ""

    def __init__(self, option: str, expected: str) -> None:
        super().__init__(f"{option}: expected {expected}")
        self.expected = expected


def parse_suffix(text: str) -> bytes:
    """
    How the name of a script ends, with its dot.

    @raise DocumentNameError: it is no suffix.
    """
    if not _SUFFIX.fullmatch(text):
        raise DocumentNameError("--split", "a suffix such as .php")
    return text.encode("ascii")


def parse_index(text: str) -> bytes:
    """
    The name of a file that stands for its directory.

    @raise DocumentNameError: it could be none.
    """
    name = _encode(text)
    if not _PLAIN.fullmatch(name) or b"/" in name:
        raise DocumentNameError("--index", "the name of a file that is not hidden, as index.php")
    return name


def parse_front_controller(text: str, suffix: bytes) -> bytes:
    """
    The path of a script below the root, a slash in front or not.

    @return: with it.
    @raise DocumentNameError: it could be none.
    """
    path = _encode(text).removeprefix(b"/")
    if not _PLAIN.fullmatch(path) or not path.endswith(suffix):
        expected = f"a script below the root, its name ending in {suffix.decode('ascii')}"
        raise DocumentNameError("--front-controller", expected)
    return b"/" + path


def _encode(text: str) -> bytes:
    """
    A text as the file system has it; empty if it cannot be.
    """
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return b""
