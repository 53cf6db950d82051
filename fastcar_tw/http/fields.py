"""
Field lines: proven valid, searched for the few that concern an intermediary, and passed on.

Rules of this file: a block of field lines stays the bytes it came as.  Lines are cut out of it,
never rewritten (RFC 9110 section 5.3: order and multiplicity carry meaning).
"""

from __future__ import annotations

import re
from collections.abc import Container, Set
from functools import lru_cache

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.grammar import FIELD_LINES, special_fields

#: Fields about one connection and not about the message (RFC 9110 section 7.6.1; HTTP2-Settings:
#: RFC 9113 section 3.1).  Proxy-Authorization is for the next proxy, which fastcar is, and no
#: origin's business (RFC 9110 section 11.7.2).
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
#: Fields in which a proxy speaks to its own client, in trailers too (RFC 9110 sections 11.7.1 and
#: 11.7.3).
PROXY_FIELDS = frozenset((b"proxy-authenticate", b"proxy-authentication-info"))
REQUEST_FIELDS = special_fields(
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
)
RESPONSE_FIELDS = special_fields(
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
)
#: Fields a Connection option may not name: without them the message would mean something else.
_NEVER_HOP_BY_HOP = frozenset((b"content-length", b"host"))

#: Connection options in a message, and bytes of a Connection value whose meaning is remembered.
MAX_OPTIONS = 64
MAX_REMEMBERED = 64

_COMMON_OPTIONS: Set[bytes] = HOP_BY_HOP | {b"close", b""}


def scan(
    data: bytes, start: int, end: int, special: re.Pattern[bytes]
) -> tuple[bytes, dict[bytes, bytes]]:
    """
    Validate the field lines C{data[start:end]} and find the special ones.

    @param start: behind an LF.
    @return: the lines without hop-by-hop fields; and the special fields, hop-by-hop or not, by
        lower-case name.  A field that came in several lines has its values joined by commas, which
        is what they mean (RFC 9110 section 5.2), and which no field with a single value survives.
    @raise MessageError: a line is invalid.
    """
    if FIELD_LINES.fullmatch(data, start, end) is None:
        raise MessageError(_explain(data[start:end]))
    found: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    kept = start
    for match in special.finditer(data, start - 1, end):
        name = match[1].lower()
        value = match[2].strip(b" \t")
        found[name] = b"%b, %b" % (found[name], value) if name in found else value
        if name in HOP_BY_HOP:
            pieces.append(data[kept : match.start() + 1])
            kept = match.end() + 1
    if not pieces:
        return data[start:end], found
    pieces.append(data[kept:end])
    return b"".join(pieces), found


def split_list(value: bytes) -> list[bytes]:
    """
    The elements of a comma-separated list of tokens, in lower case (RFC 9110 section 5.6.1).
    """
    return [element.strip(b" \t") for element in value.lower().split(b",")]


def without_fields(lines: bytes, names: Container[bytes]) -> bytes:
    """
    Field lines without those of some fields.

    @param names: in lower case.
    """
    return b"\r\n".join(
        line for line in lines.split(b"\r\n") if line[: line.find(b":")].lower() not in names
    )


def connection_options(value: bytes) -> tuple[Set[bytes], Set[bytes]]:
    """
    The options of a Connection field in lower case, and the fields among them that are to be cut
    out beyond the common ones.

    @raise MessageError: a field that cannot be hop-by-hop is named, or there are too many.
    """
    return _remembered(value) if len(value) <= MAX_REMEMBERED else _connection_options(value)


def _connection_options(value: bytes) -> tuple[Set[bytes], Set[bytes]]:
    if value.count(b",") >= MAX_OPTIONS:
        raise MessageError(f"more than {MAX_OPTIONS} Connection options")
    options = frozenset(split_list(value))
    named = options - _COMMON_OPTIONS
    if named & _NEVER_HOP_BY_HOP:
        raise MessageError("Connection names a field that is not hop-by-hop")
    return options, named


#: Nearly all messages have one of a few values.
_remembered = lru_cache(256)(_connection_options)


def check_trailers(lines: bytes) -> None:
    """
    Check a trailer section (RFC 9112 section 7.1.2): valid lines, and no field that would change
    the framing or routing of the message it follows (RFC 9110 section 6.5.1).

    @raise MessageError: otherwise.
    """
    _, found = scan(b"\n" + lines, 1, len(lines) + 1, REQUEST_FIELDS)
    for name in found:
        raise MessageError(f"the field {name.decode('ascii')} may not stand in a trailer")


def _explain(block: bytes) -> str:
    """
    Say which line is wrong without quoting it: it may hold a secret.
    """
    for number, line in enumerate(block.split(b"\r\n"), 1):
        if FIELD_LINES.fullmatch(line + b"\r\n") is None:
            if line[:1] in (b" ", b"\t"):
                return f"field line {number} is folded over several lines"
            return f"field line {number} is invalid: expected name: value"
    return "the field lines are invalid"
