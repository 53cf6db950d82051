"""
The grammar of RFC 9110 and RFC 9112 as regular expressions over bytes.

Rules of this file: every expression is linear (no two adjacent repeats can match the same byte),
and none accepts what a peer could read in another way: a line ends in CRLF only, a field name is
followed by its colon at once, and no control byte passes but the tab.
"""

from __future__ import annotations

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
#: field-content, obs-text included (RFC 9110 section 5.5); bare CR, LF, NUL and other controls are
#: not.
FIELD_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"

#: RFC 9112 section 3.  The target may hold any byte that is no white space, control or fragment:
#: what is merely unusual in a URI cannot be misread, and clients that send it reach their origin
#: today.
REQUEST_LINE = re.compile(
    rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])\r\n"
)

#: RFC 9112 section 4.  The reason phrase may be empty; its leading space missing is tolerated
#: there.
STATUS_LINE = re.compile(
    rb"HTTP/([0-9])\.([0-9]) ([1-9][0-9][0-9])((?: " + FIELD_VALUE + rb")?)\r\n"
)

#: Zero or more field lines, RFC 9112 section 5.
FIELD_LINES = re.compile(rb"(?:" + TOKEN + rb":" + FIELD_VALUE + rb"\r\n)*")

#: RFC 9112 section 7.1: size, and extensions, which are ignored; at most 2**60 - 1 bytes.
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;" + FIELD_VALUE + rb")?\r\n")

#: A line end that is no CRLF, or a NUL: a head that holds one is wrong before it is complete.  A
#: last CR may still be followed by its LF.
BROKEN_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")

#: uri-host [":" port] of the destinations fastcar connects to: a name, an IPv4 address, or an IPv6
#: address in brackets (RFC 9110 section 7.2).
AUTHORITY = re.compile(rb"([0-9A-Za-z._\-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?")

#: absolute-form, RFC 9112 section 3.2.2.
ABSOLUTE_FORM = re.compile(rb"((?i:https?))://([^/?#@]*)((?:[/?][^#]*)?)")


def special_fields(*names: str) -> re.Pattern[bytes]:
    """
    An expression that finds the named fields in a block of valid field lines.

    It matches from the LF that ends the line before (so the search starts one byte early) up to the
    CR that ends the field; the groups are name and value, white space around the value included.
    """
    by_letter: dict[str, list[str]] = {}
    for name in names:
        by_letter.setdefault(name[0], []).append(name[1:])
    # Expressions skip an alternative quickly if its first letter is not a folded one.
    alternatives = "|".join(
        f"[{letter.upper()}{letter}](?i:{'|'.join(rests)})" for letter, rests in by_letter.items()
    )
    return re.compile(f"\n({alternatives}):([^\r]*)\r".encode("ascii"))
