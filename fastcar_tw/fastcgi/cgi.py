"""
The head of a CGI response (RFC 3875 section 6), as php-fpm writes it to STDOUT, and what becomes of
it in HTTP/1.1.

It is field lines without a status line.  As in L{fastcar_tw.http.head} they are not taken apart:
one expression proves the block valid, another finds the few fields that are meant for the server,
and what is not for the client is cut out.

Rules of this file: a line may end in LF alone, which section 6.2 leaves to the system; nothing else
is tolerated that HTTP/1.1 does not allow.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.fields import connection_options, scan, without_fields
from fastcar_tw.http.grammar import FIELD_VALUE, special_fields
from fastcar_tw.http.head import MAX_HEAD

__all__ = ["CGIHead", "find_cgi_head_end", "parse_cgi_head"]

#: Fields that speak to the server alone.  X-Accel-Buffering is not among them: it is also for a
#: server in front of this one.
_FOR_SERVER = (
    "status",
    "x-accel-charset",
    "x-accel-expires",
    "x-accel-limit-rate",
    "x-accel-redirect",
    "x-sendfile",
    "trailer",  # there are none that it could announce
)
#: Fields that need to be looked at.
_SPECIAL = special_fields(
    *_FOR_SERVER,
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "location",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
)
_FOR_SERVER_NAMES = frozenset(name.encode("ascii") for name in _FOR_SERVER)
_FOR_SERVER_FIELDS = special_fields(*_FOR_SERVER)
_STATUS_FIELDS = special_fields("status")
#: Section 6.3.3, and 1xx is refused: the response would still be to come.
_STATUS = re.compile(rb"([2-5][0-9][0-9])(?:[ \t](" + FIELD_VALUE + rb"))?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
#: Section 6.2.2; two slashes would begin an authority (RFC 3986 section 4.2).
_LOCAL = re.compile(rb"/(?!/)[\x21\x22\x24-\x7e\x80-\xff]*")
#: Fields that PHP adds by itself.
_ADDED = (b"content-type", b"x-powered-by")

_REASONS = {status.value: b" " + status.phrase.encode("ascii") for status in HTTPStatus}


class CGIHead:
    """
    What a gateway needs to know of a response.

    @ivar status: 200 to 599.
    @ivar reason: reason phrase with its leading space; the usual one if none was given.
    @ivar fields: field lines for the client, each ended by CRLF; Content-Length, Date and Location
        are among them; what is for the server, or about a connection, is not.
    @ivar content_length: bytes of the body, None when the field is absent.
    @ivar has_date: there is a Date among the fields.
    @ivar local_redirect: path and query of the resource to answer with instead (section 6.2.2).
        The rest describes the redirection that a client can follow as well.
    @ivar sendfile: value of X-Sendfile: the path of a file to answer with.
    @ivar accel: value of X-Accel-Redirect: a URI to answer with.
    """

    __slots__ = (
        "accel",
        "content_length",
        "fields",
        "has_date",
        "local_redirect",
        "reason",
        "sendfile",
        "status",
    )

    def __init__(self, fields: bytes) -> None:
        self.status = 200
        self.reason = b" OK"
        self.fields = fields
        self.content_length: int | None = None
        self.has_date = False
        self.local_redirect: bytes | None = None
        self.sendfile: bytes | None = None
        self.accel: bytes | None = None

    @property
    def has_substitute(self) -> bool:
        """
        Something else is to be answered in place of the script's own body.
        """
        named = self.local_redirect or self.sendfile or self.accel
        return named is not None and self.status not in (204, 304)


def find_cgi_head_end(buffer: bytes | bytearray, searched: int) -> int:
    """
    The index after the empty line that ends a head, or -1 when it has not arrived yet.

    @param searched: how many bytes an earlier call has already looked at.
    @raise MessageError: the head is larger than L{MAX_HEAD} bytes.
    """
    # What follows may be a body with empty lines of either kind, so the first one counts.
    start = max(0, searched - 2)
    crlf = buffer.find(b"\n\r\n", start, MAX_HEAD)
    lf = buffer.find(b"\n\n", start, MAX_HEAD if crlf < 0 else crlf + 1)
    if lf >= 0:
        return lf + 2
    if crlf >= 0:
        return crlf + 3
    if len(buffer) >= MAX_HEAD:
        raise MessageError(f"head larger than {MAX_HEAD} bytes")
    return -1


def parse_cgi_head(data: bytes, end: int) -> CGIHead:
    """
    Parse the head C{data[:end]}, where C{end} comes from L{find_cgi_head_end}.

    @raise MessageError: it is none.
    """
    block = b"\n" + data[:end]
    if block.count(b"\n") > block.count(b"\r\n") + 1:
        block = block.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")[1:]
    fields, found = scan(block, 1, len(block) - 2, _SPECIAL)
    head = CGIHead(fields)
    if found:
        _judge(head, found)
    return head


def _judge(head: CGIHead, found: dict[bytes, bytes]) -> None:
    if b"status" in found:
        _judge_status(head, found[b"status"])
    elif found.get(b"location"):
        _judge_location(head, found[b"location"])
    if b"content-length" in found:
        _judge_length(head, found[b"content-length"])
    if b"connection" in found:
        _, named = connection_options(found[b"connection"])
        head.fields = without_fields(head.fields, named)
    if not _FOR_SERVER_NAMES.isdisjoint(found):
        head.fields = _FOR_SERVER_FIELDS.sub(b"", b"\n" + head.fields)[1:]
    head.has_date = b"date" in found
    head.sendfile = found.get(b"x-sendfile") or None
    head.accel = found.get(b"x-accel-redirect") or None


def _judge_length(head: CGIHead, value: bytes) -> None:
    if _LENGTH.fullmatch(value) is None:
        raise MessageError("invalid Content-Length: expected one decimal number")
    if head.status == HTTPStatus.NO_CONTENT:
        # RFC 9110 section 8.6.
        head.fields = without_fields(head.fields, (b"content-length",))
    else:
        head.content_length = int(value)


def _judge_status(head: CGIHead, value: bytes) -> None:
    if b"," in value:
        # From a reason phrase, or from several fields that were joined.
        values = {match[2].strip(b" \t") for match in _STATUS_FIELDS.finditer(b"\n" + head.fields)}
        if len(values) > 1:
            raise MessageError("several different Status fields")
        value = values.pop()
    match = _STATUS.fullmatch(value)
    if match is None:
        raise MessageError("invalid Status: expected three digits from 200 to 599")
    _set_status(head, int(match[1]))
    if match[2]:
        head.reason = b" " + match[2].lstrip(b" \t")


def _judge_location(head: CGIHead, location: bytes) -> None:
    """
    Of a Location without a Status (sections 6.2.2 to 6.2.4).

    A redirection here is made only if it loses nothing, a cookie for example.  A reference that is
    neither a path nor absolute is left to the client, which knows them (RFC 9110 section 10.2.2).
    """
    _set_status(head, HTTPStatus.FOUND)
    if _LOCAL.fullmatch(location) and not without_fields(head.fields, (b"location", *_ADDED)):
        head.local_redirect = location


def _set_status(head: CGIHead, status: int) -> None:
    head.status = int(status)
    head.reason = _REASONS.get(status, b" ")
