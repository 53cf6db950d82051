"""
Origins to keep connections open to, as the operator names them: C{https://host:port=count}.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.target import parse_authority

_ENTRY = re.compile(r"(https?)://([^/?#=@]+)/?(?:=([0-9]{1,6}))?", re.IGNORECASE)


class PrewarmError(ValueError):
    """
    A text names no origin to keep connections open to.

    @ivar expected: what would do.
    @ivar reason: where that does not tell, what is wrong.
    """

    expected = "http://HOST[:PORT] or https://HOST[:PORT], and =COUNT for more than one"

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(f"{text!r}: expected {self.expected}")
        self.reason = reason


class Prewarm(NamedTuple):
    """
    An origin to keep connections open to.

    @ivar scheme: C{"http"} or C{"https"}.
    @ivar authority: the host, and the port unless it is the scheme's.
    @ivar connections: how many connections, 1 or more.
    """

    scheme: str
    authority: bytes
    connections: int


def parse_prewarm(text: str) -> Prewarm:
    """
    Read C{http[s]://HOST[:PORT][=COUNT]}.

    @raise PrewarmError: it is something else.
    """
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise PrewarmError(text)
    scheme, authority = match[1].lower(), match[2].encode("ascii", "replace")
    try:
        parse_authority(authority, scheme)
    except MessageError as error:
        raise PrewarmError(text, error.text) from None
    count = int(match[3] or 1)
    if not count:
        raise PrewarmError(text, "COUNT is 0")
    return Prewarm(scheme, authority, count)
