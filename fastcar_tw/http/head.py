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
from fastcar_tw.http.fields import (
    REQUEST_FIELDS,
    RESPONSE_FIELDS,
    connection_options,
    scan,
    split_list,
    without_fields,
)
from fastcar_tw.http.grammar import BROKEN_LINE_END, REQUEST_LINE, STATUS_LINE
from fastcar_tw.http.target import parse_authority, split_absolute_form

#: Bytes of a whole head, and of the request-target in it.  Servers commonly stop at 8 to 64 KiB.
MAX_HEAD = 64 * 1024
MAX_TARGET = 32 * 1024
#: Interim responses in front of one response; more is an attack.
MAX_INTERIM = 32
#: The largest number of hops told to the next one (RFC 9110 section 7.6.2).
MAX_FORWARDS = 10**9

#: A Content-Length; of any more digits none is meant.
CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")

_NUMBER = re.compile(rb"[0-9]+")
#: How the schemes begin that authenticate a connection instead of a request: Negotiate (RFC 4559
#: section 6) and its successor Nego2; Kerberos and CredSSP are what WinRM adds.
_CONNECTION_AUTH = (b"ntlm", b"nego", b"kerberos", b"credssp")
_NOTHING: Set[bytes] = frozenset()


class RequestHead:
    """
    What an intermediary needs to know of a request.

    @ivar method: as received; methods are case-sensitive.
    @ivar target: origin-form, asterisk-form, or authority-form for CONNECT.
    @ivar version: 10 or 11.
    @ivar scheme: of an absolute-form target, else None.
    @ivar host: the authority that decides the destination; empty if an HTTP/1.0 request has none.
    @ivar fields: field lines to pass on, each ended by CRLF; Content-Length is among them,
        hop-by-hop fields are not.
    @ivar content_length: bytes of the body, None when the field is absent.
    @ivar chunked: the body is chunked.
    @ivar close: the client does not want its connection to persist.
    @ivar named: further fields that Connection names as hop-by-hop, in lower case.
    @ivar upgrade: value of Upgrade, if it was asked for properly (RFC 9110 section 7.8).
    @ivar connection_auth: the credentials are for the connection (NTLM, Negotiate), which then must
        serve nobody else (RFC 9110 section 3.3).
    @ivar idempotency_key: an Idempotency-Key field is present: sending the request twice does no
        more than sending it once, whatever the method.
    @ivar expects_continue: the body is sent when it was asked for (RFC 9110 section 10.1.1), or
        after a while.
    @ivar max_forwards: hops left, of a TRACE or OPTIONS only (RFC 9110 section 7.6.2); C{fields}
        already holds the number for the next hop.
    @ivar te_trailers: TE says that the client takes trailers (RFC 9110 section 10.1.4).  TE itself
        is hop-by-hop; HTTP/2 says it anew.
    """

    __slots__ = (
        "chunked",
        "close",
        "connection_auth",
        "content_length",
        "expects_continue",
        "fields",
        "host",
        "idempotency_key",
        "max_forwards",
        "method",
        "named",
        "scheme",
        "target",
        "te_trailers",
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
        self.named = _NOTHING
        self.upgrade: bytes | None = None
        self.connection_auth = False
        self.idempotency_key = False
        self.expects_continue = False
        self.max_forwards: int | None = None
        self.te_trailers = False


class ResponseHead:
    """
    What an intermediary needs to know of a response.

    @ivar status: 100 to 999.
    @ivar reason: reason phrase with its leading space, as received.
    @ivar version: 10, 11, or 20 for HTTP/2.
    @ivar fields: as in L{RequestHead}.
    @ivar content_length: as in L{RequestHead}.
    @ivar chunked: the body is chunked, unless status or method say there is none.
    @ivar close: the origin will not, or must not be expected to, serve another request here.
    @ivar keep_alive: value of Keep-Alive; see L{fastcar_tw.http.keep_alive}.
    @ivar named: as in L{RequestHead}.
    @ivar upgrade: value of Upgrade, of a 101 or 426.
    """

    __slots__ = (
        "chunked",
        "close",
        "content_length",
        "fields",
        "keep_alive",
        "named",
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
        self.keep_alive: bytes | None = None
        self.named = _NOTHING
        self.upgrade: bytes | None = None


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


def check_request_line(buffer: bytes | bytearray, searched: int) -> bool:
    """
    Of a head that has not ended: see that it begins as one, as soon as its first line is there.
    What is no HTTP would otherwise have to be waited for.

    @param searched: as in L{find_head_end}.
    @return: whether it is there, and need not be looked at again.
    @raise MessageError: it is not the first line of a request.
    """
    if buffer.find(b"\r\n", max(0, searched - 1)) < 0:
        return False
    if REQUEST_LINE.match(buffer) is None:
        raise _invalid_request_line()
    return True


def parse_request_head(data: bytes, end: int) -> RequestHead:
    """
    Parse the request head C{data[:end]}, where C{end} comes from L{find_head_end}.

    @raise MessageError: with the status to answer (RFC 9112 sections 3, 5, 6; RFC 9110 section 15).
    """
    line = REQUEST_LINE.match(data, 0, end)
    if line is None:
        raise _invalid_request_line()
    method, target, major, minor = line.groups()
    if major != b"1":
        raise MessageError("expected HTTP/1.0 or HTTP/1.1", 505)
    if len(target) > MAX_TARGET:
        raise MessageError(f"request target longer than {MAX_TARGET} bytes", 414)
    head = RequestHead(method, target, 10 if minor == b"0" else 11)
    head.fields, found = scan(data, line.end(), end - 2, REQUEST_FIELDS)
    if found:
        _judge_request(head, found)
    if target[:1] != b"/":
        _judge_other_target(head, b"host" in found)
    elif not head.host and (head.version == 11 or b"host" in found):
        raise MessageError("no Host field: expected the name of the origin")
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
    head.fields, found = scan(data, line.end(), end - 2, RESPONSE_FIELDS)
    if found:
        _judge_response(head, found)
    return head


def _invalid_request_line() -> MessageError:
    return MessageError("invalid request line: expected METHOD TARGET HTTP/1.1")


def _too_large(buffer: bytes | bytearray) -> MessageError:
    # 414 when it is the request line alone that does not end (RFC 9112 section 3).
    if buffer.find(b"\r\n", 0, MAX_HEAD) < 0:
        return MessageError(f"request target longer than {MAX_TARGET} bytes", 414)
    return MessageError(f"head larger than {MAX_HEAD} bytes", 431)


def _judge_request(head: RequestHead, found: dict[bytes, bytes]) -> None:
    head.host = found.get(b"host", b"")
    _judge_framing(head, found)
    if b"connection" in found:
        _judge_request_connection(head, found)
    if b"expect" in found:
        if head.version == 10:
            # RFC 9110 section 10.1.1: to be ignored, and the next hop would not know.
            head.fields = without_fields(head.fields, (b"expect",))
        else:
            head.expects_continue = found[b"expect"].lower() == b"100-continue"
    # A key that Connection names does not reach the origin, and makes nothing idempotent there.
    head.idempotency_key = b"idempotency-key" in found and b"idempotency-key" not in head.named
    if b"max-forwards" in found and head.method in (b"TRACE", b"OPTIONS"):
        _judge_max_forwards(head, found[b"max-forwards"])
    if b"authorization" in found:
        head.connection_auth = _authenticates_connection(found[b"authorization"].lower())
    if b"te" in found and head.version == 11:
        # HTTP/1.0 has no trailers, whatever its client says.
        head.te_trailers = b"trailers" in split_list(found[b"te"])


def _authenticates_connection(credentials: bytes) -> bool:
    if b"," not in credentials:
        return credentials.startswith(_CONNECTION_AUTH)
    # Of several fields, which are joined here, an origin takes the one it likes.
    return any(part.startswith(_CONNECTION_AUTH) for part in split_list(credentials))


def _judge_request_connection(head: RequestHead, found: dict[bytes, bytes]) -> None:
    options, head.named = connection_options(found[b"connection"])
    if b"close" in options:
        head.close = True
    if head.named:
        head.fields = without_fields(head.fields, head.named)
    if b"upgrade" in options and b"upgrade" in found and head.version == 11:
        # h2c would turn a pooled exchange into an opaque tunnel; it is gone since RFC 9113 section
        # 3.1.
        wanted = [name.strip(b" \t") for name in found[b"upgrade"].split(b",")]
        head.upgrade = b", ".join(w for w in wanted if w and w.lower() != b"h2c") or None


def _judge_response(head: ResponseHead, found: dict[bytes, bytes]) -> None:
    _judge_framing(head, found)
    if b"connection" in found:
        options, head.named = connection_options(found[b"connection"])
        # RFC 9112 section 9.3: close wins.
        if b"close" in options:
            head.close = True
        elif b"keep-alive" in options:
            head.close = False
        if head.named:
            head.fields = without_fields(head.fields, head.named)
    if b"keep-alive" in found:
        head.keep_alive = found[b"keep-alive"]
    if head.status in (101, 426):
        head.upgrade = found.get(b"upgrade")


def _judge_framing(head: RequestHead | ResponseHead, found: dict[bytes, bytes]) -> None:
    """
    RFC 9112 sections 6.1 to 6.3.  What could be read in two ways is refused, even where the RFC
    would let it be repaired: several Content-Length fields that agree, for one.
    """
    length = found.get(b"content-length")
    coding = found.get(b"transfer-encoding")
    if coding is None:
        if length is not None:
            if CONTENT_LENGTH.fullmatch(length) is None:
                raise MessageError("invalid Content-Length: expected one decimal number")
            head.content_length = int(length)
        return
    if length is not None:
        raise MessageError("both Content-Length and Transfer-Encoding")
    if head.version == 10:
        raise MessageError("Transfer-Encoding in an HTTP/1.0 message")
    if coding.lower() != b"chunked":
        codings = split_list(coding)
        framed = codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and b"" not in codings
        raise MessageError("Transfer-Encoding: expected chunked only", 501 if framed else 400)
    head.chunked = True


def _judge_other_target(head: RequestHead, has_host: bool) -> None:
    """
    Of a target that is not in origin-form (RFC 9112 section 3.2).
    """
    if has_host and head.host:
        parse_authority(head.host, "http")
    if head.method == b"CONNECT":
        # Its target is an authority; Host can only repeat it, and some clients leave it out.
        return
    if head.version == 11 and not has_host:
        raise MessageError("no Host field: expected the name of the origin")
    if head.target == b"*":
        if head.method != b"OPTIONS":
            raise MessageError("the target * is for OPTIONS only")
        if not head.host:
            raise MessageError("no Host field: expected the name of the origin")
        return
    # The Host field is ignored and replaced (section 3.2.2).
    head.scheme, head.host, path = split_absolute_form(head.target)
    if not head.host:
        # RFC 9110 section 4.2.1.
        raise MessageError("invalid request target: expected http://host/path")
    head.fields = b"Host: %b\r\n%b" % (head.host, without_fields(head.fields, (b"host",)))
    if path[:1] != b"/":
        # Section 3.2.4: the server as a whole.
        path = b"*" if head.method == b"OPTIONS" and not path else b"/" + path
    head.target = path


def _judge_max_forwards(head: RequestHead, value: bytes) -> None:
    if _NUMBER.fullmatch(value) is None:
        raise MessageError("invalid Max-Forwards: expected one decimal number")
    digits = value.lstrip(b"0") or b"0"
    head.max_forwards = int(digits) if len(digits) < 10 else MAX_FORWARDS
    if head.max_forwards:
        head.fields = b"%bMax-Forwards: %d\r\n" % (
            without_fields(head.fields, (b"max-forwards",)),
            head.max_forwards - 1,
        )
