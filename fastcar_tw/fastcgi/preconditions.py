"""
Conditional requests and ranges (RFC 9110 sections 13 and 14), judged before a file is served.

L{twisted.web.static.File} knows neither entity tags nor If-Range, and trips over ranges that are
unusual: a suffix longer than the file, several of which none can be satisfied.  So it is shown what
was understood here, in a form that it cannot take for anything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from twisted.web.http import stringToDatetime

from fastcar_tw.http.fields import scan, split_list
from fastcar_tw.http.grammar import special_fields

#: Ranges in one request; more are ignored, and so are ranges that are longer than the whole when
#: taken together: a short request must not have much sent (RFC 9110 section 14.2).
MAX_RANGES = 100
#: Bytes of a date in any of the three forms (RFC 9110 section 5.6.7).
MAX_DATE = 40

_CONDITIONS = special_fields(
    "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range"
)
_ENTITY_TAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE = re.compile(rb"([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18})")


class Validators(NamedTuple):
    """
    What tells one version of a file from the next.

    @ivar etag: the entity tag, with its quotes.
    @ivar modified: POSIX seconds, as Last-Modified tells them.
    """

    etag: bytes
    modified: int


def find_conditions(lines: bytes) -> dict[bytes, bytes]:
    """
    The fields that this module is about.

    @param lines: a request's field lines, which are valid.
    @return: values by lower-case name; those of several lines are joined by commas.
    """
    return scan(b"\n" + lines, 1, len(lines) + 1, _CONDITIONS)[1]


def judge(conditions: Mapping[bytes, bytes], validators: Validators) -> int | None:
    """
    Judge the preconditions of a GET or HEAD in their order (RFC 9110 section 13.2.2).

    @return: 412, 304, or None: the response is what it would be without them.
    """
    if b"if-match" in conditions:
        if not _matches(conditions[b"if-match"], validators.etag, strong=True):
            return 412
    else:
        unmodified = parse_date(conditions.get(b"if-unmodified-since", b""))
        if unmodified is not None and validators.modified > unmodified:
            return 412
    if b"if-none-match" in conditions:
        matches = _matches(conditions[b"if-none-match"], validators.etag, strong=False)
        return 304 if matches else None
    modified = parse_date(conditions.get(b"if-modified-since", b""))
    return 304 if modified is not None and validators.modified <= modified else None


def range_to_send(
    conditions: Mapping[bytes, bytes], validators: Validators, size: int
) -> bytes | None:
    """
    What to send of a file that was asked for by a GET whose preconditions hold.

    @param size: bytes of the file.
    @return: None: all of it.  Otherwise the value of a Range that says the same as the client's:
        ranges inside the file only, or, if none can be satisfied, one that begins at its end.
    """
    value = conditions.get(b"range")
    if value is None or not _is_in_range(conditions.get(b"if-range"), validators):
        return None
    ranges = satisfiable_ranges(value, size)
    if ranges is None:
        return None
    if not ranges:
        return b"bytes=%d-" % size
    return b"bytes=" + b",".join(b"%d-%d" % each for each in ranges)


def satisfiable_ranges(value: bytes, size: int) -> list[tuple[int, int]] | None:
    """
    Parse a Range field.

    @param size: bytes of the file.
    @return: first and last byte of each range that begins inside the file, in the client's order;
        None: the field is invalid or asks for too much, and is to be ignored.
    """
    unit, _, specs = value.partition(b"=")
    ranges = []
    elements = [spec for spec in split_list(specs) if spec]
    if unit.strip().lower() != b"bytes" or not 0 < len(elements) <= MAX_RANGES:
        return None
    for spec in elements:
        match = _RANGE.fullmatch(spec)
        if match is None:
            return None
        start, end, suffix = match.groups()
        if suffix is not None:
            first, last = max(0, size - int(suffix)), size - 1
        else:
            first, last = int(start), int(end) if end else max(int(start), size - 1)
            if last < first:
                return None
        if first < size:
            ranges.append((first, min(last, size - 1)))
    if sum(last - first + 1 for first, last in ranges) > size:
        return None
    return ranges


def parse_date(value: bytes) -> int | None:
    """
    A date in one of the three forms of RFC 9110 section 5.6.7, in POSIX seconds; None: it is none.
    """
    if len(value) > MAX_DATE:
        return None
    try:
        return int(stringToDatetime(value))
    except (ValueError, IndexError):
        return None


def _matches(value: bytes, etag: bytes, *, strong: bool) -> bool:
    """
    @param value: of If-Match or If-None-Match.
    @param strong: compare strongly (RFC 9110 section 8.8.3.2).
    """
    if value.strip() == b"*":
        return True
    ours = _ENTITY_TAG.fullmatch(etag)
    if ours is None or (strong and ours[1]):
        return False
    return any(tag == ours[2] and not (strong and weak) for weak, tag in _ENTITY_TAG.findall(value))


def _is_in_range(value: bytes | None, validators: Validators) -> bool:
    """
    @param value: of If-Range, which holds if it names the very version that there is.
    """
    if value is None:
        return True
    if value.endswith(b'"'):
        return value == validators.etag and not value.startswith(b"W/")
    return parse_date(value) == validators.modified
