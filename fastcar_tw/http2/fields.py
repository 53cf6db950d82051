"""
Heads and trailers between HTTP/1.1's lines and HTTP/2's fields (RFC 9113 sections 8.2 and 8.3).

Rules of this file: requests come from our own parser, so their lines are valid, and what is about
one connection is gone.  Of responses nothing is believed: what the result holds is line by line
what HTTP/1.1's parser would have let through, or there is no result.  No value is ever quoted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from hpack import NeverIndexedHeaderTuple

from fastcar_tw.http.errors import REASONS, MessageError
from fastcar_tw.http.fields import check_trailers
from fastcar_tw.http.grammar import FIELD_VALUE
from fastcar_tw.http.head import CONTENT_LENGTH, RequestHead, ResponseHead

#: Name and value.
Field = tuple[bytes, bytes]

#: Fields that make a response malformed (RFC 9113 section 8.2.2); TE is for requests.
CONNECTION_SPECIFIC = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
#: Bytes from which on a cookie is too long to be guessed by what it compresses to (RFC 7541
#: section 7.1.3).
LONG_COOKIE = 20

#: Where a Cookie is split (RFC 9113 section 8.2.3), except where a piece would begin or end with
#: white space, which section 8.2.1 forbids.
_CRUMBS = re.compile(rb"(?<![ \t]); (?![ \t])")
#: A value as section 8.2.1 wants it: without white space around it.
_VALUE = rb"(?![ \t])" + FIELD_VALUE + rb"(?<![ \t])"
_NAME = rb"[!#$%&'*+\-.^_`|~0-9a-z]+"
#: Lines whose values are marked with a NUL, which is in no valid name or value: a colon alone could
#: also belong to a name.
_MARKED_LINES = re.compile(rb"(?:" + _NAME + rb": \0" + _VALUE + rb"\r\n)*")
_VALID_NAME = re.compile(_NAME)
_VALID_VALUE = re.compile(_VALUE)
#: Section 8.6 knows no 101.
_STATUS = re.compile(rb"(?!101)[1-9][0-9][0-9]")
#: Names as in RFC 9110, which Python's own table has since 3.13.
_REASONS = {
    b"%d" % status: b" " + phrase
    for status, phrase in {
        **{member.value: member.phrase.encode("ascii") for member in HTTPStatus},
        **REASONS,
        416: b"Range Not Satisfiable",
        422: b"Unprocessable Content",
    }.items()
    if status != 101
}


def request_fields(request: RequestHead, own: bytes) -> list[Field]:
    """
    The fields of a request that goes to an https origin.

    @param request: it asks for no upgrade, and is no CONNECT.  That it expects 100 (Continue) is
        left out: many origins say so in HTTP/1.1 only, and it is for the sender to say it.
    @param own: our own field lines, each ended by CRLF; nothing about the connection.
    @return: pseudo-fields first, our own last.  What must not get into the compression's memory is
        marked (RFC 7541 section 7.1.3).
    """
    fields: list[Field] = [
        (b":method", request.method),
        (b":scheme", b"https"),
        (b":authority", request.host),
        (b":path", request.target),
    ]
    for field in trailer_fields(request.fields):
        name, value = field
        if name == b"cookie":
            fields += _crumbs(value)
        elif name == b"authorization":
            fields.append(NeverIndexedHeaderTuple(name, value))
        elif name == b"expect" and value.lower() == b"100-continue":
            pass
        elif name != b"host":
            fields.append(field)
    if request.te_trailers:
        fields.append((b"te", b"trailers"))
    if own:
        fields += trailer_fields(own)
    return fields


def trailer_fields(lines: bytes) -> list[Field]:
    """
    Field lines as fields.

    @param lines: valid ones, each ended by CRLF.
    @return: names in lower case, values without white space around them (RFC 9113 section 8.2).
    """
    fields = []
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def response_head(fields: Sequence[Field]) -> ResponseHead:
    """
    The head of a response, interim or final.

    @raise MessageError: it is malformed (RFC 9113 section 8.1.1).
    """
    status, reason = _status(fields)
    head = ResponseHead(status, reason, 20)
    fields = fields[1:]
    head.fields = _field_lines(fields)
    lengths = [value for name, value in fields if name == b"content-length"]
    if lengths:
        if len(lengths) > 1 or CONTENT_LENGTH.fullmatch(lengths[0]) is None:
            raise MessageError("invalid content-length: expected one decimal number")
        head.content_length = int(lengths[0])
    return head


def trailer_lines(fields: Sequence[Field]) -> bytes:
    """
    The trailers of a response as field lines, each ended by CRLF.

    @raise MessageError: they are malformed, or hold what may not stand in a trailer (RFC 9113
        section 8.1, RFC 9110 section 6.5.1).
    """
    lines = _field_lines(fields)
    check_trailers(lines)
    return lines


def _crumbs(cookie: bytes) -> list[Field]:
    return [
        (b"cookie", crumb)
        if len(crumb) >= LONG_COOKIE
        else NeverIndexedHeaderTuple(b"cookie", crumb)
        for crumb in _CRUMBS.split(cookie)
    ]


def _status(fields: Sequence[Field]) -> tuple[int, bytes]:
    """
    The status, and its reason phrase, which HTTP/2 does not tell (RFC 9113 section 8.3.2).
    """
    if not fields or fields[0][0] != b":status":
        raise MessageError("no :status in front of the fields")
    value = fields[0][1]
    reason = _REASONS.get(value)
    if reason is None:
        if _STATUS.fullmatch(value) is None:
            raise MessageError("invalid :status: expected three digits, and not 101")
        reason = b" "
    return int(value), reason


def _field_lines(fields: Sequence[Field]) -> bytes:
    """
    Fields without pseudo-fields as field lines, as many as there are fields.

    @raise MessageError: a field is malformed.
    """
    marked = b"".join([b"%b: \0%b\r\n" % field for field in fields])
    # A value that holds whole lines would look valid, but there would be more of them.
    if _MARKED_LINES.fullmatch(marked) is None or marked.count(b"\n") != len(fields):
        raise MessageError(_explain(fields))
    for name, _ in fields:
        if name in CONNECTION_SPECIFIC:
            raise MessageError(f"the field {name.decode('ascii')} has no place in HTTP/2")
    return marked.replace(b"\0", b"")


def _explain(fields: Sequence[Field]) -> str:
    """
    Say which field is wrong without quoting it: it may hold a secret.
    """
    number, name = next(
        (number, name)
        for number, (name, value) in enumerate(fields, 1)
        if not (_VALID_NAME.fullmatch(name) and _VALID_VALUE.fullmatch(value))
    )
    if name[:1] == b":":
        return f"field {number} is a pseudo-field that does not belong there"
    if _VALID_NAME.fullmatch(name) is None:
        return f"field {number} has an invalid name: expected a token in lower case"
    return f"field {number} ({name[:64].decode('ascii')}) has an invalid value"
