"""
Message heads: parsed once, judged once, and kept as the bytes that are passed on.

Theory of operation: almost every field is none of our business and must go through unchanged in
order, case and multiplicity.  So a head is not taken apart into names and values.  One expression
proves that the whole block consists of valid field lines; a second one finds the few fields that
concern an intermediary; those that are hop-by-hop (RFC 9110 section 7.6.1) are cut out, and the
rest stays one slice of the bytes that came in.

llhttp (through httptools) is not used: it refuses methods it has no number for, cannot be told that
a response answers a HEAD, and still needs a second pass for what it is lenient about.  The tests
use it as an oracle instead.
"""

from __future__ import annotations

import re
from collections.abc import Set

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.grammar import (
    BROKEN_LINE_END,
    FIELD_LINES,
    REQUEST_LINE,
    STATUS_LINE,
    special_field,
)
from fastcar_tw.http.target import split_absolute_form

#: Bytes of a whole head, and of the request-target in it.  Servers commonly stop at 8 to 64 KiB.
MAX_HEAD = 64 * 1024
MAX_TARGET = 32 * 1024

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
_REQUEST_FIELDS = special_field(
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
)
_RESPONSE_FIELDS = special_field(
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
)
#: Fields a Connection option may not name: cutting them out would change what the message means.
_NEVER_HOP_BY_HOP = frozenset((b"content-length", b"host"))
_DIGITS = re.compile(rb"[0-9]{1,18}")

#: RFC 9110 section 9.2.2.
IDEMPOTENT_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class RequestHead:
    """
    What an intermediary needs to know of a request.

    @ivar method: as received; methods are case-sensitive.
    @ivar target: origin-form, asterisk-form, or authority-form for CONNECT.
    @ivar version: 10 or 11.
    @ivar scheme: of an absolute-form target, else None.
    @ivar host: the authority that decides the destination.
    @ivar fields: field lines to pass on, each ended by CRLF; Content-Length is among them,
        hop-by-hop fields are not.
    @ivar content_length: bytes of the body, None when the field is absent.
    @ivar chunked: the body is chunked.
    @ivar close: the client does not want its connection to persist.
    @ivar upgrade: value of Upgrade, if it was asked for properly (RFC 9110 section 7.8).
    @ivar expect: an Expect field is present.
    @ivar idempotency_key: an Idempotency-Key field is present: sending the request twice does no
        more than sending it once, whatever the method.
    @ivar max_forwards: hops left, of a TRACE or OPTIONS only (RFC 9110 section 7.6.2); C{fields}
        already holds the number for the next hop.
    """

    __slots__ = (
        "chunked",
        "close",
        "content_length",
        "expect",
        "fields",
        "host",
        "idempotency_key",
        "max_forwards",
        "method",
        "scheme",
        "target",
        "upgrade",
        "version",
    )

    def __init__(self, method: bytes, target: bytes, version: int) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.scheme: str | None = None
        self.host = b""
        self.fields = b""
        self.content_length: int | None = None
        self.chunked = False
        self.close = version == 10
        self.upgrade: bytes | None = None
        self.expect = False
        self.idempotency_key = False
        self.max_forwards: int | None = None


class ResponseHead:
    """
    What an intermediary needs to know of a response.

    @ivar status: 100 to 999.
    @ivar reason: reason phrase with its leading space, as received.
    @ivar version: 10 or 11.
    @ivar fields: as in L{RequestHead}.
    @ivar content_length: as in L{RequestHead}.
    @ivar chunked: the body is chunked, unless status or method say there is none.
    @ivar close: the origin will not, or must not be expected to, serve another request here.
    @ivar upgrade: value of Upgrade, of a 101 or 426.
    """

    __slots__ = (
        "chunked",
        "close",
        "content_length",
        "fields",
        "reason",
        "status",
        "upgrade",
        "version",
    )

    def __init__(self, status: int, reason: bytes, version: int) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.fields = b""
        self.content_length: int | None = None
        self.chunked = False
        self.close = version == 10
        self.upgrade: bytes | None = None


_Found = list[tuple[bytes, bytes]]


def find_head_end(buffer: bytes | bytearray, searched: int) -> int:
    """
    The index after the empty line that ends a head, or -1 when it has not arrived yet.

    @param searched: how many bytes an earlier call has already looked at.
    @raise MessageError: 431 when the head is too large; 400 when a line ends in something that is
        no CRLF, which would otherwise wait for an end that never comes.
    """
    end = buffer.find(b"\r\n\r\n", max(0, searched - 3))
    if end >= 0:
        if end + 4 > MAX_HEAD:
            raise _too_large(buffer)
        return end + 4
    if len(buffer) >= MAX_HEAD:
        raise _too_large(buffer)
    if BROKEN_LINE_END.search(buffer, max(0, searched - 1)):
        raise MessageError("a line of the head does not end in CRLF")
    return -1


def parse_request_head(data: bytes, end: int) -> RequestHead:
    """
    Parse the request head C{data[:end]}, where C{end} comes from L{find_head_end}.

    @raise MessageError: with the status to answer (RFC 9112 sections 3, 5, 6; RFC 9110 section 15).
    """
    line = REQUEST_LINE.match(data, 0, end)
    if line is None:
        raise MessageError("invalid request line: expected METHOD TARGET HTTP/1.1")
    method, target, major, minor = line.groups()
    if major != b"1":
        raise MessageError("expected HTTP/1.0 or HTTP/1.1", 505)
    if len(target) > MAX_TARGET:
        raise MessageError(f"request target longer than {MAX_TARGET} bytes", 414)
    head = RequestHead(method, target, 10 if minor == b"0" else 11)
    head.fields, found = _cut_fields(data, line.end(), end - 2, _REQUEST_FIELDS)
    if found:
        _judge_request(head, found)
    _judge_target(head)
    return head


def parse_response_head(data: bytes, end: int) -> ResponseHead:
    """
    Parse the response head C{data[:end]}, where C{end} comes from L{find_head_end}.

    @raise MessageError: when it is broken or ambiguous (RFC 9112 sections 4, 5, 6).
    """
    line = STATUS_LINE.match(data, 0, end)
    if line is None:
        raise MessageError("invalid status line")
    major, minor, status, reason = line.groups()
    if major != b"1":
        raise MessageError("expected HTTP/1.0 or HTTP/1.1")
    head = ResponseHead(int(status), reason or b" ", 10 if minor == b"0" else 11)
    head.fields, found = _cut_fields(data, line.end(), end - 2, _RESPONSE_FIELDS)
    if found:
        _judge_response(head, found)
    return head


def without_field(fields: bytes, name: bytes) -> bytes:
    """
    Field lines without those of one field.

    @param name: in lower case.
    """
    lines = fields.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line[: line.find(b":")].lower() != name)


def check_trailers(lines: bytes) -> None:
    """
    Check a trailer section (RFC 9112 section 7.1.2): valid lines, and no field that would change
    the framing or routing of the message it follows (RFC 9110 section 6.5.1).

    @raise MessageError: otherwise.
    """
    _, found = _cut_fields(b"\n" + lines, 1, len(lines) + 1, _REQUEST_FIELDS)
    if found:
        raise MessageError(f"the field {found[0][0].decode('ascii')} may not stand in a trailer")


def _too_large(buffer: bytes | bytearray) -> MessageError:
    # 414 when it is the request line alone that does not end (RFC 9112 section 3).
    if buffer.find(b"\r\n", 0, MAX_HEAD) < 0:
        return MessageError(f"request target longer than {MAX_TARGET} bytes", 414)
    return MessageError(f"head larger than {MAX_HEAD} bytes", 431)


def _cut_fields(
    data: bytes, start: int, end: int, special: re.Pattern[bytes]
) -> tuple[bytes, _Found]:
    """
    Validate C{data[start:end]}; return the lines to pass on, and the special fields found with
    lower-case name and trimmed value.
    """
    if FIELD_LINES.fullmatch(data, start, end) is None:
        raise MessageError(_explain(data[start:end]))
    found: _Found = []
    pieces: list[bytes] = []
    options: list[bytes] = []
    kept = start
    for match in special.finditer(data, start - 1, end):
        name = match[1].lower()
        value = match[2].strip(b" \t")
        found.append((name, value))
        if name in _HOP_BY_HOP:
            pieces.append(data[kept : match.start() + 1])
            kept = match.end() + 1
            if name == b"connection":
                options += value.lower().split(b",")
    if not pieces:
        return data[start:end], found
    pieces.append(data[kept:end])
    return _cut_named(b"".join(pieces), options), found


def _cut_named(fields: bytes, options: list[bytes]) -> bytes:
    """
    Cut out the fields that Connection options name (RFC 9110 section 7.6.1).
    """
    named = {option.strip(b" \t") for option in options} - _COMMON_OPTIONS
    if not named:
        return fields
    if named & _NEVER_HOP_BY_HOP:
        raise MessageError("Connection names a field that is not hop-by-hop")
    lines = fields.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line[: line.find(b":")].lower() not in named)


_COMMON_OPTIONS: Set[bytes] = _HOP_BY_HOP | {b"close", b""}


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


def _judge_request(head: RequestHead, found: _Found) -> None:
    options: set[bytes] = set()
    upgrade: list[bytes] = []
    hosts = 0
    for name, value in found:
        if name == b"host":
            head.host = value
            hosts += 1
        elif name == b"content-length":
            _content_length(head, value)
        elif name == b"transfer-encoding":
            _transfer_encoding(head, value, 501)
        elif name == b"connection":
            options.update(option.strip(b" \t") for option in value.lower().split(b","))
        elif name == b"upgrade":
            upgrade.append(value)
        elif name == b"expect":
            head.expect = True
        elif name == b"idempotency-key":
            head.idempotency_key = True
        elif name == b"max-forwards":
            _max_forwards(head, value)
    if hosts > 1:
        raise MessageError("more than one Host field")
    _check_framing(head)
    if b"close" in options:
        head.close = True
    # h2c is dropped: it would turn a pooled exchange into an opaque tunnel (RFC 9113 section 3.1).
    if upgrade and b"upgrade" in options and head.version == 11 and upgrade != [b"h2c"]:
        head.upgrade = b", ".join(upgrade)


def _judge_response(head: ResponseHead, found: _Found) -> None:
    upgrade: list[bytes] = []
    for name, value in found:
        if name == b"content-length":
            _content_length(head, value)
        elif name == b"transfer-encoding":
            _transfer_encoding(head, value, 400)
        elif name == b"connection":
            options = [option.strip(b" \t") for option in value.lower().split(b",")]
            if b"close" in options:
                head.close = True
            elif head.version == 10 and b"keep-alive" in options:
                head.close = False
        elif name == b"upgrade":
            upgrade.append(value)
    _check_framing(head)
    if upgrade and head.status in (101, 426):
        head.upgrade = b", ".join(upgrade)


def _judge_target(head: RequestHead) -> None:
    target = head.target
    if target[:1] == b"/":
        pass
    elif head.method == b"CONNECT":
        return
    elif target == b"*":
        if head.method != b"OPTIONS":
            raise MessageError("the target * is for OPTIONS only")
    else:
        # The Host field is ignored and replaced (RFC 9112 section 3.2.2).
        head.scheme, head.host, head.target = split_absolute_form(target)
        head.fields = b"Host: %b\r\n%b" % (head.host, without_field(head.fields, b"host"))
    if not head.host:
        raise MessageError("no Host field: expected the name of the origin")


def _content_length(head: RequestHead | ResponseHead, value: bytes) -> None:
    # RFC 9112 section 6.3: several are refused even when they agree.
    if head.content_length is not None or _DIGITS.fullmatch(value) is None:
        raise MessageError("invalid Content-Length: expected one decimal number")
    head.content_length = int(value)


def _transfer_encoding(head: RequestHead | ResponseHead, value: bytes, unknown: int) -> None:
    # RFC 9112 section 6.1: the one coding relayed here is chunked; a second field may not repeat
    # it.
    if head.chunked:
        raise MessageError("more than one Transfer-Encoding field")
    if value.lower() != b"chunked":
        known = b"chunked" in value.lower() or not value
        raise MessageError("Transfer-Encoding: expected chunked", 400 if known else unknown)
    head.chunked = True


def _check_framing(head: RequestHead | ResponseHead) -> None:
    if head.chunked:
        if head.content_length is not None:
            raise MessageError("both Content-Length and Transfer-Encoding")
        if head.version == 10:
            raise MessageError("Transfer-Encoding in an HTTP/1.0 message")


def _max_forwards(head: RequestHead, value: bytes) -> None:
    if head.method not in (b"TRACE", b"OPTIONS"):
        return
    if head.max_forwards is not None or _DIGITS.fullmatch(value) is None:
        raise MessageError("invalid Max-Forwards: expected one decimal number")
    head.max_forwards = int(value)
    if head.max_forwards:
        head.fields = b"%bMax-Forwards: %d\r\n" % (
            without_field(head.fields, b"max-forwards"),
            head.max_forwards - 1,
        )
