"""
Framing and smuggling shapes as data: what has to be refused, and what looks odd but is fine.

Use: every L{Shape} of L{BAD_REQUESTS}, sent to fastcar on a fresh connection, whole or in pieces,
with or without bytes behind it, is answered with C{status} and C{Connection: close}, and no
complete request reaches an origin.  Where C{in_body} is False, not a byte reaches one; where it is
True the head is in order, and may have been sent on when it arrived before the fault.  Every one
of L{BAD_RESPONSES} ends the origin's connection: the client is answered with 502, behind any
interim response that was in order, or, when C{in_body} is True and the head has been sent on, its
connection is aborted.

Each row names the RFC section that makes it wrong, and a rule that no other row of its table has.
"""

from __future__ import annotations

from typing import NamedTuple

from fastcar_tw.http.body import MAX_CHUNK_EXTENSIONS, MAX_CHUNK_LINE
from fastcar_tw.http.head import MAX_HEAD, MAX_TARGET


class Shape(NamedTuple):
    """
    A message that has to be refused.

    @ivar section: the RFC and its section.
    @ivar rule: what is wrong with it, in one phrase.
    @ivar data: the message, or its start: the fault shows with the last byte at the latest.
    @ivar status: what the client is answered.
    @ivar in_body: the head is in order.
    """

    section: str
    rule: str
    data: bytes
    status: int
    in_body: bool = False


class Accepted(NamedTuple):
    """
    A message that has to be understood in one way only.

    @ivar content: its body, decoded.
    @ivar head_only: of a response: it answers a HEAD.
    @ivar until_close: of a response: it ends with its connection.
    """

    section: str
    rule: str
    data: bytes
    content: bytes = b""
    trailers: bytes = b""
    head_only: bool = False
    until_close: bool = False


CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
HOST = b"Host: origin.test\r\n"


def request(lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A POST with these field lines in front of its Host."""
    return b"POST /p HTTP/%b\r\n%b%b\r\n%b" % (version, lines, HOST, body)


def response(lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A 200 with these field lines in front of its Server."""
    return b"HTTP/%b 200 OK\r\n%bServer: s\r\n\r\n%b" % (version, lines, body)


#: Section, rule, field lines, body, status as a request; wrong in either direction.
_FIELDS: list[tuple[str, str, bytes, bytes, int]] = [
    # Content-Length against Transfer-Encoding
    (
        "RFC 9112 6.3",
        "Content-Length before Transfer-Encoding",
        b"Content-Length: 5\r\n" + TE,
        CHUNKED,
        400,
    ),
    (
        "RFC 9112 6.3",
        "Transfer-Encoding before Content-Length",
        TE + b"Content-Length: 5\r\n",
        CHUNKED,
        400,
    ),
    (
        "RFC 9112 6.3",
        "Content-Length 0 with Transfer-Encoding",
        b"Content-Length: 0\r\n" + TE,
        CHUNKED,
        400,
    ),
    (
        "RFC 9112 6.3",
        "Content-Length with an unsupported coding",
        b"Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n",
        CHUNKED,
        400,
    ),
    (
        "RFC 9112 6.3",
        "Content-Length that Connection names, with Transfer-Encoding",
        b"Connection: content-length\r\nContent-Length: 5\r\n" + TE,
        CHUNKED,
        400,
    ),
    # Content-Length
    (
        "RFC 9112 6.3",
        "Content-Lengths that differ",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"hello!",
        400,
    ),
    (
        "RFC 9110 8.6",
        "Content-Lengths that agree",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"hello",
        400,
    ),
    (
        "RFC 9112 6.3",
        "Content-Lengths apart and in other case",
        b"content-length: 5\r\nX: y\r\nCONTENT-LENGTH: 50\r\n",
        b"hello",
        400,
    ),
    ("RFC 9110 8.6", "Content-Length list that agrees", b"Content-Length: 5, 5\r\n", b"hello", 400),
    ("RFC 9112 6.3", "Content-Length list that differs", b"Content-Length: 5, 6\r\n", b"", 400),
    ("RFC 9110 8.6", "Content-Length with a comma behind", b"Content-Length: 5,\r\n", b"", 400),
    ("RFC 9110 8.6", "Content-Length with a plus", b"Content-Length: +5\r\n", b"hello", 400),
    ("RFC 9110 8.6", "Content-Length below zero", b"Content-Length: -1\r\n", b"", 400),
    ("RFC 9110 8.6", "Content-Length in hexadecimal", b"Content-Length: 0x5\r\n", b"hello", 400),
    ("RFC 9110 8.6", "Content-Length in bare hexadecimal", b"Content-Length: a\r\n", b"", 400),
    ("RFC 9110 8.6", "Content-Length with a point", b"Content-Length: 5.0\r\n", b"hello", 400),
    ("RFC 9110 8.6", "Content-Length with an underscore", b"Content-Length: 1_0\r\n", b"", 400),
    ("RFC 9110 8.6", "Content-Length with a space inside", b"Content-Length: 5 5\r\n", b"", 400),
    ("RFC 9110 8.6", "Content-Length with a parameter", b"Content-Length: 5;a=b\r\n", b"", 400),
    ("RFC 9110 8.6", "Content-Length in quotes", b'Content-Length: "5"\r\n', b"hello", 400),
    (
        "RFC 9110 8.6",
        "Content-Length in digits that are not ASCII",
        b"Content-Length: \xef\xbc\x95\r\n",
        b"hello",
        400,
    ),
    (
        "RFC 9110 8.6",
        "Content-Length with a no-break space",
        b"Content-Length: \xa05\r\n",
        b"hello",
        400,
    ),
    (
        "RFC 9110 8.6",
        "Content-Length of 19 digits",
        b"Content-Length: 1000000000000000000\r\n",
        b"",
        400,
    ),
    (
        "RFC 9110 8.6",
        "Content-Length that wraps at 64 bits",
        b"Content-Length: 18446744073709551621\r\n",
        b"hello",
        400,
    ),
    ("RFC 9110 8.6", "Content-Length without a value", b"Content-Length:\r\n", b"", 400),
    ("RFC 9110 8.6", "Content-Length of white space", b"Content-Length: \t \r\n", b"", 400),
    (
        "RFC 9112 5.1",
        "space before the colon of Content-Length",
        b"Content-Length : 5\r\n",
        b"",
        400,
    ),
    (
        "RFC 9112 5.1",
        "tab before the colon of Content-Length",
        b"Content-Length\t: 5\r\n",
        b"",
        400,
    ),
    ("RFC 9112 5.2", "Content-Length folded", b"Content-Length:\r\n 5\r\n", b"hello", 400),
    (
        "RFC 9110 7.6.1",
        "Connection names Content-Length",
        b"Connection: close, Content-Length\r\nContent-Length: 5\r\n",
        b"hello",
        400,
    ),
    (
        "RFC 9110 7.6.1",
        "Connection names Host",
        b"Connection: HOST\r\nContent-Length: 0\r\n",
        b"",
        400,
    ),
    # Transfer-Encoding
    ("RFC 9112 6.1", "chunked twice", b"Transfer-Encoding: chunked, chunked\r\n", CHUNKED, 400),
    ("RFC 9112 6.1", "chunked in two fields", TE + TE, CHUNKED, 400),
    (
        "RFC 9112 6.3",
        "a coding that ends in the word chunked",
        b"Transfer-Encoding: xchunked\r\n",
        CHUNKED,
        400,
    ),
    (
        "RFC 9112 6.3",
        "a coding that begins with the word chunked",
        b"Transfer-Encoding: chunkedx\r\n",
        CHUNKED,
        400,
    ),
    ("RFC 9112 6.3", "coding identity", b"Transfer-Encoding: identity\r\n", b"hello", 400),
    ("RFC 9112 6.3", "coding gzip that nothing ends", b"Transfer-Encoding: gzip\r\n", b"", 400),
    ("RFC 9112 6.3", "chunked under gzip", b"Transfer-Encoding: chunked, gzip\r\n", CHUNKED, 400),
    (
        "RFC 9112 6.3",
        "chunked under identity in two fields",
        TE + b"Transfer-Encoding: identity\r\n",
        CHUNKED,
        400,
    ),
    (
        "RFC 9112 6.1",
        "gzip under chunked is not supported",
        b"Transfer-Encoding: gzip, chunked\r\n",
        CHUNKED,
        501,
    ),
    (
        "RFC 9112 6.1",
        "gzip under chunked in two fields is not supported",
        b"Transfer-Encoding: gzip\r\n" + TE,
        CHUNKED,
        501,
    ),
    (
        "RFC 9112 6.1",
        "identity under chunked is not supported",
        b"Transfer-Encoding: identity, chunked\r\n",
        CHUNKED,
        501,
    ),
    (
        "RFC 9112 7.1",
        "chunked with a parameter",
        b"Transfer-Encoding: chunked;q=1\r\n",
        CHUNKED,
        400,
    ),
    ("RFC 9112 6.1", "chunked in quotes", b'Transfer-Encoding: "chunked"\r\n', CHUNKED, 400),
    (
        "RFC 9112 6.1",
        "chunked with a space inside",
        b"Transfer-Encoding: chun ked\r\n",
        CHUNKED,
        400,
    ),
    (
        "RFC 9112 6.1",
        "chunked with a comma behind",
        b"Transfer-Encoding: chunked,\r\n",
        CHUNKED,
        400,
    ),
    (
        "RFC 9112 6.1",
        "chunked with a comma in front",
        b"Transfer-Encoding: ,chunked\r\n",
        CHUNKED,
        400,
    ),
    ("RFC 9112 6.1", "Transfer-Encoding without a value", b"Transfer-Encoding:\r\n", b"", 400),
    (
        "RFC 9112 6.1",
        "chunked behind a no-break space",
        b"Transfer-Encoding: \xa0chunked\r\n",
        CHUNKED,
        400,
    ),
    (
        "RFC 9110 5.5",
        "chunked behind a vertical tab",
        b"Transfer-Encoding: \x0bchunked\r\n",
        CHUNKED,
        400,
    ),
    (
        "RFC 9110 5.5",
        "chunked before a form feed",
        b"Transfer-Encoding: chunked\x0c\r\n",
        CHUNKED,
        400,
    ),
    ("RFC 9110 5.5", "chunked before a NUL", b"Transfer-Encoding: chunked\x00\r\n", CHUNKED, 400),
    (
        "RFC 9112 5.2",
        "chunked on a folded line",
        b"Transfer-Encoding:\r\n chunked\r\n",
        CHUNKED,
        400,
    ),
    ("RFC 9112 5.2", "coding added by a folded line", TE + b"\t, identity\r\n", CHUNKED, 400),
    (
        "RFC 9112 5.1",
        "space before the colon of Transfer-Encoding",
        b"Transfer-Encoding : chunked\r\n",
        CHUNKED,
        400,
    ),
    ("RFC 9112 2.2", "Transfer-Encoding on an indented first line", b" " + TE, CHUNKED, 400),
    (
        "RFC 9112 5.2",
        "Transfer-Encoding on an indented later line",
        b"X: y\r\n " + TE,
        CHUNKED,
        400,
    ),
    (
        "RFC 9110 5.1",
        "NUL in the name Transfer-Encoding",
        b"Transfer-Encoding\x00: chunked\r\n",
        CHUNKED,
        400,
    ),
    ("RFC 9112 2.2", "Transfer-Encoding behind a bare LF", b"X: y\n" + TE, CHUNKED, 400),
    ("RFC 9112 2.2", "Transfer-Encoding behind a bare CR", b"X: y\r" + TE, CHUNKED, 400),
    # Any field line
    ("RFC 9112 2.2", "line ended by a bare LF", b"X: y\n", b"", 400),
    ("RFC 9112 2.2", "line ended by CR CR LF", b"X: y\r\r\n", b"", 400),
    ("RFC 9112 2.2", "line ended by LF CR", b"X: y\n\r", b"", 400),
    ("RFC 9112 2.2", "bare CR in a value", b"X: y\rz\r\n", b"", 400),
    ("RFC 9112 2.2", "bare CR in a name", b"X\rY: z\r\n", b"", 400),
    ("RFC 9112 2.2", "bare LF in a name", b"X\nY: z\r\n", b"", 400),
    ("RFC 9110 5.5", "NUL in a value", b"X: y\x00z\r\n", b"", 400),
    ("RFC 9110 5.5", "control in a value", b"X: y\x01z\r\n", b"", 400),
    ("RFC 9110 5.5", "DEL in a value", b"X: y\x7f\r\n", b"", 400),
    ("RFC 9110 5.1", "NUL in a name", b"X\x00Y: z\r\n", b"", 400),
    ("RFC 9110 5.1", "space in a name", b"X Y: z\r\n", b"", 400),
    ("RFC 9112 5.1", "space before a colon", b"X : y\r\n", b"", 400),
    ("RFC 9112 5.1", "tab before a colon", b"X\t: y\r\n", b"", 400),
    ("RFC 9110 5.1", "bracket in a name", b"X[0]: y\r\n", b"", 400),
    ("RFC 9110 5.1", "quotes around a name", b'"X": y\r\n', b"", 400),
    ("RFC 9110 5.1", "byte outside ASCII in a name", b"X\xc3\xa9: y\r\n", b"", 400),
    ("RFC 9110 5.1", "no name", b": y\r\n", b"", 400),
    ("RFC 9112 5", "no colon", b"nonsense\r\n", b"", 400),
    ("RFC 9112 5.2", "line folded with a space", b"X: y\r\n z\r\n", b"", 400),
    ("RFC 9112 5.2", "line folded with a tab", b"X: y\r\n\tz\r\n", b"", 400),
    ("RFC 9112 5.2", "line of white space", b"X: y\r\n \r\n", b"", 400),
    ("RFC 9112 2.2", "white space before the first field", b" X: y\r\n", b"", 400),
    ("RFC 9112 2.2", "tab before the first field", b"\tX: y\r\n", b"", 400),
    ("RFC 9112 2.2", "vertical tab before a name", b"\x0bX: y\r\n", b"", 400),
    ("RFC 9112 2.2", "the empty line is a bare LF", b"X: y\r\n\n", b"", 400),
    ("RFC 9112 2.2", "two bare LFs end the head", b"X: y\n\n", b"", 400),
    ("RFC 9112 2.2", "two bare CRs end the head", b"X: y\r\r", b"", 400),
    ("RFC 9110 5.4", "head too large", b"X: y\r\n" * (MAX_HEAD // 6), b"", 431),
    ("RFC 9110 5.4", "one field line too large", b"X: %b\r\n" % (b"y" * MAX_HEAD), b"", 431),
]

#: Section, rule, what stands in place of a chunked body; wrong in either direction.
_CHUNKS: list[tuple[str, str, bytes]] = [
    ("RFC 9112 7.1", "chunk size with a plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "chunk size below zero", b"-1\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "chunk size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "chunk size with an underscore", b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "space before a chunk size", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "space behind a chunk size", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "tab behind a chunk size", b"5\t\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "two chunk sizes", b"5 5\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "empty chunk size", b"\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "extension without a chunk size", b";a=b\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "chunk size that is no number", b"five\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "chunk size of 16 digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n"),
    (
        "RFC 9112 7.1",
        "chunk size that wraps at 64 bits",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "RFC 9112 7.1",
        "chunk size in digits that are not ASCII",
        b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
    ),
    ("RFC 9112 7.1", "NUL behind a chunk size", b"5\x00\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "empty line between chunks", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("RFC 9112 2.2", "chunk size ended by a bare LF", b"5\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 2.2", "chunk size ended by a bare CR", b"5\rhello\r\n0\r\n\r\n"),
    ("RFC 9112 2.2", "chunk size ended by CR CR LF", b"5\r\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 2.2", "all chunk lines ended by a bare LF", b"5\nhello\n0\n\n"),
    ("RFC 9112 7.1", "no CRLF behind chunk data", b"5\r\nhello0\r\n\r\n"),
    ("RFC 9112 7.1", "chunk data longer than its size", b"5\r\nhello!\r\n0\r\n\r\n"),
    ("RFC 9112 7.1", "chunk data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 2.2", "bare LF behind chunk data", b"5\r\nhello\n0\r\n\r\n"),
    ("RFC 9112 2.2", "bare CR behind chunk data", b"5\r\nhello\r0\r\n\r\n"),
    ("RFC 9112 7.1.1", "bare LF in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1.1", "bare CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1.1", "NUL in an extension", b"5;a\x00b\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1.1", "control in an extension", b"5;a\x01b\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1.1", "bare LF in a quoted extension", b'5;a="\n"\r\nhello\r\n0\r\n\r\n'),
    ("RFC 9112 7.1.1", "extension without a semicolon", b"5 a=b\r\nhello\r\n0\r\n\r\n"),
    ("RFC 9112 7.1.1", "extension behind a comma", b"5,a=b\r\nhello\r\n0\r\n\r\n"),
    (
        "RFC 9112 7.1.1",
        "extension too long",
        b"5;%b\r\nhello\r\n0\r\n\r\n" % (b"a" * MAX_CHUNK_LINE),
    ),
    (
        "RFC 9112 7.1.1",
        "extension without an end",
        b"5;%b" % (b"a" * MAX_CHUNK_LINE),
    ),
    (
        "RFC 9112 7.1.1",
        "too much of extensions",
        b"1;%b\r\nx\r\n" % (b"a" * 127) * (MAX_CHUNK_EXTENSIONS // 128 + 1),
    ),
    ("RFC 9112 2.2", "last chunk ended by a bare LF", b"5\r\nhello\r\n0\n\r\n"),
    ("RFC 9112 2.2", "body ended by a bare LF", b"5\r\nhello\r\n0\r\n\n"),
    ("RFC 9112 2.2", "body ended by a bare CR", b"5\r\nhello\r\n0\r\n\rGET"),
    ("RFC 9112 7.1", "last chunk with a minus", b"5\r\nhello\r\n-0\r\n\r\n"),
    ("RFC 9112 7.1", "request in place of the empty line", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    ("RFC 9110 6.5.1", "Content-Length in the trailer", b"0\r\nContent-Length: 5\r\n\r\n"),
    ("RFC 9110 6.5.1", "Transfer-Encoding in the trailer", b"0\r\nA: b\r\n" + TE + b"\r\n"),
    ("RFC 9110 6.5.1", "Host in the trailer", b"0\r\nhost: evil.test\r\n\r\n"),
    ("RFC 9110 6.5.1", "Connection in the trailer", b"0\r\nConnection: close\r\n\r\n"),
    ("RFC 9110 6.5.1", "Upgrade in the trailer", b"0\r\nUpgrade: websocket\r\n\r\n"),
    ("RFC 9110 6.5.1", "TE in the trailer", b"0\r\nTE: trailers\r\n\r\n"),
    ("RFC 9110 6.5.1", "Authorization in the trailer", b"0\r\nAuthorization: Basic eA==\r\n\r\n"),
    ("RFC 9110 6.5.1", "Expect in the trailer", b"0\r\nExpect: 100-continue\r\n\r\n"),
    ("RFC 9112 5.2", "folded line in the trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
    ("RFC 9112 5.2", "first line of the trailer is indented", b"0\r\n A: b\r\n\r\n"),
    ("RFC 9112 5.1", "space before a colon in the trailer", b"0\r\nA : b\r\n\r\n"),
    ("RFC 9112 5", "no colon in the trailer", b"0\r\nA\r\n\r\n"),
    ("RFC 9110 5.1", "no name in the trailer", b"0\r\n: b\r\n\r\n"),
    ("RFC 9112 2.2", "bare LF in the trailer", b"0\r\nA: b\nC: d\r\n\r\n"),
    ("RFC 9112 2.2", "bare CR in the trailer", b"0\r\nA: b\rC: d\r\n\r\n"),
    ("RFC 9110 5.5", "NUL in the trailer", b"0\r\nA: b\x00\r\n\r\n"),
    ("RFC 9112 2.2", "trailer ended by bare LFs", b"0\r\nA: b\n\n"),
]

#: Section, rule, request line with its end, status.
_REQUEST_LINES: list[tuple[str, str, bytes, int]] = [
    ("RFC 9112 3", "HTTP/0.9", b"GET /p\r\n", 400),
    ("RFC 9112 3", "space in place of the version", b"GET /p \r\n", 400),
    ("RFC 9110 15.6.6", "version 0.9 spelt out", b"GET /p HTTP/0.9\r\n", 505),
    ("RFC 9110 15.6.6", "version 2.0", b"GET /p HTTP/2.0\r\n", 505),
    ("RFC 9112 2.3", "version without a minor part", b"GET /p HTTP/2\r\n", 400),
    ("RFC 9112 2.3", "version in lower case", b"GET /p http/1.1\r\n", 400),
    ("RFC 9112 2.3", "version of two digits", b"GET /p HTTP/1.10\r\n", 400),
    ("RFC 9112 2.3", "version with a zero in front", b"GET /p HTTP/01.1\r\n", 400),
    ("RFC 9112 2.3", "version with a comma", b"GET /p HTTP/1,1\r\n", 400),
    ("RFC 9112 2.3", "version with a space inside", b"GET /p HTTP/ 1.1\r\n", 400),
    ("RFC 9112 2.3", "version with a minus", b"GET /p HTTP/-1.1\r\n", 400),
    ("RFC 9112 2.3", "other protocol", b"GET /p ICE/1.0\r\n", 400),
    ("RFC 9112 3", "two spaces before the target", b"GET  /p HTTP/1.1\r\n", 400),
    ("RFC 9112 3", "two spaces before the version", b"GET /p  HTTP/1.1\r\n", 400),
    ("RFC 9112 3", "space behind the version", b"GET /p HTTP/1.1 \r\n", 400),
    ("RFC 9112 3", "tab before the target", b"GET\t/p HTTP/1.1\r\n", 400),
    ("RFC 9112 3", "tab before the version", b"GET /p\tHTTP/1.1\r\n", 400),
    ("RFC 9112 3", "vertical tab before the version", b"GET /p\x0bHTTP/1.1\r\n", 400),
    ("RFC 9112 3", "space before the method", b" GET /p HTTP/1.1\r\n", 400),
    ("RFC 9112 3", "two versions", b"GET /p HTTP/1.1 HTTP/1.1\r\n", 400),
    ("RFC 9112 3.1", "no method", b"/p HTTP/1.1\r\n", 400),
    ("RFC 9112 3.1", "method that is no token", b"GE(T /p HTTP/1.1\r\n", 400),
    ("RFC 9112 3.1", "NUL in the method", b"G\x00ET /p HTTP/1.1\r\n", 400),
    ("RFC 9112 3.1", "byte outside ASCII in the method", b"G\xc9T /p HTTP/1.1\r\n", 400),
    ("RFC 9112 3", "status line as a request", b"HTTP/1.1 200 OK\r\n", 400),
    ("RFC 9112 3.2", "no target", b"GET  HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2", "space in the target", b"GET /p q HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2", "tab in the target", b"GET /p\tq HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2", "NUL in the target", b"GET /p\x00q HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2", "control in the target", b"GET /p\x1bq HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2", "DEL in the target", b"GET /p\x7fq HTTP/1.1\r\n", 400),
    ("RFC 9112 2.2", "bare CR in the target", b"GET /p\rq HTTP/1.1\r\n", 400),
    ("RFC 9112 2.2", "bare LF in the target", b"GET /p\nq HTTP/1.1\r\n", 400),
    ("RFC 9112 2.2", "request line ended by a bare LF", b"GET /p HTTP/1.1\n", 400),
    ("RFC 9112 2.2", "request line ended by a bare CR", b"GET /p HTTP/1.1\r", 400),
    ("RFC 9112 2.2", "request line ended by CR CR LF", b"GET /p HTTP/1.1\r\r\n", 400),
    ("RFC 9112 3.2.4", "asterisk with GET", b"GET * HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2.4", "two asterisks with OPTIONS", b"OPTIONS ** HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2.3", "authority-form with GET", b"GET origin.test:80 HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2", "fragment in the target", b"GET /p#f HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2.1", "target without its slash", b"GET p HTTP/1.1\r\n", 400),
    ("RFC 9112 3.2.1", "target that begins with its query", b"GET ?q HTTP/1.1\r\n", 400),
    (
        "RFC 9110 4.2",
        "absolute-form of another scheme",
        b"GET ftp://origin.test/ HTTP/1.1\r\n",
        400,
    ),
    (
        "RFC 9110 4.2.4",
        "absolute-form with user and password",
        b"GET http://u:p@origin.test/ HTTP/1.1\r\n",
        400,
    ),
    (
        "RFC 9110 4.2.4",
        "absolute-form with an empty user",
        b"GET http://@origin.test/ HTTP/1.1\r\n",
        400,
    ),
    (
        "RFC 9112 3.2.2",
        "absolute-form with a fragment",
        b"GET http://origin.test/p#f HTTP/1.1\r\n",
        400,
    ),
    ("RFC 9110 4.2.1", "absolute-form without a host", b"GET http:///p HTTP/1.1\r\n", 400),
    ("RFC 9110 4.2.1", "absolute-form with only a port", b"GET http://:80/p HTTP/1.1\r\n", 400),
    (
        "RFC 9112 3.2.2",
        "absolute-form with one slash",
        b"GET http:/origin.test/p HTTP/1.1\r\n",
        400,
    ),
    (
        "RFC 9110 7.2",
        "absolute-form with an invalid port",
        b"GET http://origin.test:8x/ HTTP/1.1\r\n",
        400,
    ),
    (
        "RFC 9110 7.2",
        "absolute-form with a backslash",
        b"GET http://origin.test\\@evil.test/ HTTP/1.1\r\n",
        400,
    ),
    (
        "RFC 9110 7.2",
        "absolute-form with a host list",
        b"GET http://a.test,b.test/ HTTP/1.1\r\n",
        400,
    ),
    ("RFC 9110 4.1", "target too long", b"GET /%b HTTP/1.1\r\n" % (b"p" * MAX_TARGET), 414),
]

#: Section, rule, request line, field lines: where the request is for is not clear.
_HOSTS: list[tuple[str, str, bytes, bytes]] = [
    ("RFC 9112 3.2", "no Host", b"GET /p HTTP/1.1", b"X: y\r\n"),
    ("RFC 9112 3.2", "no fields", b"GET /p HTTP/1.1", b""),
    ("RFC 9112 3.2", "no Host in HTTP/1.0, so nowhere to go", b"GET /p HTTP/1.0", b""),
    ("RFC 9112 3.2", "no Host with the asterisk", b"OPTIONS * HTTP/1.1", b""),
    ("RFC 9112 3.2", "no Host with absolute-form", b"GET http://origin.test/p HTTP/1.1", b""),
    ("RFC 9112 3.2", "invalid Host with CONNECT", b"CONNECT a.test:443 HTTP/1.1", b"Host: a b\r\n"),
    ("RFC 9112 3.2", "two Hosts with CONNECT", b"CONNECT a.test:443 HTTP/1.1", HOST + HOST),
    ("RFC 9112 3.2", "two Hosts that agree", b"GET /p HTTP/1.1", HOST + HOST),
    ("RFC 9112 3.2", "two Hosts that differ", b"GET /p HTTP/1.1", HOST + b"host: evil.test\r\n"),
    ("RFC 9112 3.2", "two Hosts in HTTP/1.0", b"GET /p HTTP/1.0", HOST + b"Host: evil.test\r\n"),
    (
        "RFC 9112 3.2",
        "two Hosts with absolute-form",
        b"GET http://origin.test/p HTTP/1.1",
        HOST + b"Host: evil.test\r\n",
    ),
    ("RFC 9112 3.2", "second Host empty", b"GET /p HTTP/1.1", HOST + b"Host:\r\n"),
    (
        "RFC 9112 3.2",
        "invalid Host with absolute-form",
        b"GET http://a.test/ HTTP/1.1",
        b"Host: a b\r\n",
    ),
    (
        "RFC 9112 5.1",
        "space before the colon of Host",
        b"GET /p HTTP/1.1",
        b"Host : origin.test\r\n",
    ),
    ("RFC 9112 5.2", "folded Host", b"GET /p HTTP/1.1", b"Host: origin.test\r\n .evil.test\r\n"),
    (
        "RFC 9112 2.2",
        "Host on an indented first line",
        b"GET /p HTTP/1.1",
        b" Host: evil.test\r\n" + HOST,
    ),
]

#: Rule, value of the one Host: each against RFC 9110 7.2.
_HOST_VALUES: list[tuple[str, bytes]] = [
    ("empty Host", b""),
    ("Host of white space", b" \t"),
    ("Host list", b"a.test, b.test"),
    ("Host list without a space", b"a.test,b.test"),
    ("Host with a user", b"u@origin.test"),
    ("Host with user and password", b"u:p@origin.test"),
    ("Host with a space inside", b"origin.test evil.test"),
    ("Host with a tab inside", b"origin.test\tevil.test"),
    ("Host with a path", b"origin.test/p"),
    ("Host with a query", b"origin.test?q"),
    ("Host with a fragment", b"origin.test#f"),
    ("Host with a scheme", b"http://origin.test"),
    ("Host with a backslash", b"origin.test\\p"),
    ("Host with a semicolon", b"origin.test;a"),
    ("Host in quotes", b'"origin.test"'),
    ("Host with a percent escape", b"%6frigin.test"),
    ("Host outside ASCII", b"\xc3\xb6rigin.test"),
    ("Host with a NUL", b"origin.test\x00.evil.test"),
    ("Host with a bare CR", b"origin.test\revil.test"),
    ("Host too long", b"a" * 256),
    ("Host of only a port", b":80"),
    ("port that is no number", b"origin.test:8x"),
    ("port with a plus", b"origin.test:+80"),
    ("port below zero", b"origin.test:-80"),
    ("port in hexadecimal", b"origin.test:0x50"),
    ("port with a space in front", b"origin.test: 80"),
    ("port 0", b"origin.test:0"),
    ("port 65536", b"origin.test:65536"),
    ("port that wraps at 16 bits", b"origin.test:65616"),
    ("port of six digits", b"origin.test:000080"),
    ("two ports", b"origin.test:80:81"),
    ("port outside ASCII", b"origin.test:\xd9\xa8\xd9\xa0"),
    ("IPv6 address without brackets", b"::1"),
    ("IPv6 address without its end", b"[::1"),
    ("IPv6 address with a wrong digit", b"[::g]"),
    ("IPv6 address of nine groups", b"[1:2:3:4:5:6:7:8:9]"),
    ("IPv6 address with text behind", b"[::1]x"),
    ("IPv6 address with a zone", b"[fe80::1%25eth0]"),
    ("IPv4 address in brackets", b"[127.0.0.1]"),
    ("name in brackets", b"[origin.test]"),
    ("empty brackets", b"[]"),
]

#: Section, rule, start of a response.
_RESPONSE_STARTS: list[tuple[str, str, bytes]] = [
    ("RFC 9112 4", "no status code", b"HTTP/1.1\r\n\r\n"),
    ("RFC 9112 4", "status code of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
    ("RFC 9112 4", "status code of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    ("RFC 9110 15", "status code below 100", b"HTTP/1.1 099 Odd\r\n\r\n"),
    ("RFC 9112 4", "status code that is no number", b"HTTP/1.1 2x0 OK\r\n\r\n"),
    ("RFC 9112 4", "status code with a plus", b"HTTP/1.1 +20 OK\r\n\r\n"),
    ("RFC 9112 4", "no space behind the status code", b"HTTP/1.1 200OK\r\n\r\n"),
    ("RFC 9112 4", "tab behind the status code", b"HTTP/1.1 200\tOK\r\n\r\n"),
    ("RFC 9112 4", "two spaces before the status code", b"HTTP/1.1  200 OK\r\n\r\n"),
    ("RFC 9112 4", "tab before the status code", b"HTTP/1.1\t200 OK\r\n\r\n"),
    ("RFC 9112 4", "space before the version", b" HTTP/1.1 200 OK\r\n\r\n"),
    ("RFC 9112 2.2", "empty line before the status line", b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ("RFC 9112 2.3", "version in lower case", b"http/1.1 200 OK\r\n\r\n"),
    ("RFC 9112 2.3", "version 2.0", b"HTTP/2.0 200 OK\r\n\r\n"),
    ("RFC 9112 2.3", "version 0.9", b"HTTP/0.9 200 OK\r\n\r\n"),
    ("RFC 9112 2.3", "version without a minor part", b"HTTP/1 200 OK\r\n\r\n"),
    ("RFC 9112 2.3", "version of two digits", b"HTTP/1.10 200 OK\r\n\r\n"),
    ("RFC 9112 4", "other protocol", b"ICY 200 OK\r\n\r\n"),
    ("RFC 9112 4", "body without a head", b"<html>\r\n\r\n</html>"),
    ("RFC 9112 4", "request as a response", b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"),
    ("RFC 9112 4", "NUL in the reason phrase", b"HTTP/1.1 200 O\x00K\r\n\r\n"),
    ("RFC 9112 4", "control in the reason phrase", b"HTTP/1.1 200 O\x1bK\r\n\r\n"),
    ("RFC 9112 2.2", "bare CR in the reason phrase", b"HTTP/1.1 200 O\rK\r\n\r\n"),
    ("RFC 9112 2.2", "status line ended by a bare LF", b"HTTP/1.1 200 OK\nServer: s\r\n\r\n"),
    ("RFC 9112 2.2", "all lines ended by a bare LF", b"HTTP/1.1 200 OK\nServer: s\n\nhello"),
    ("RFC 9110 5.4", "status line too large", b"HTTP/1.1 200 " + b"x" * MAX_HEAD),
    (
        "RFC 9112 6.3",
        "interim response with two lengths",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ),
    (
        "RFC 9112 2.2",
        "bare LF in an interim response",
        b"HTTP/1.1 100 Continue\r\nX: y\n\nHTTP/1.1 200 OK\r\n\r\n",
    ),
    (
        "RFC 9112 4",
        "text behind an interim response",
        b"HTTP/1.1 100 Continue\r\n\r\nhello\r\n\r\n",
    ),
    (
        "RFC 9112 6.3",
        "no content, yet ambiguous framing",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
]

BAD_REQUESTS: list[Shape] = [
    *(Shape(s, r, request(lines, body), status) for s, r, lines, body, status in _FIELDS),
    *(Shape(s, r, request(TE, body), 400, True) for s, r, body in _CHUNKS),
    Shape(
        "RFC 9110 5.4",
        "trailer too large",
        request(TE, b"0\r\n" + b"X: y\r\n" * (MAX_HEAD // 6 + 1)),
        431,
        True,
    ),
    *(Shape(s, r, line + HOST + b"\r\n", status) for s, r, line, status in _REQUEST_LINES),
    *(Shape(s, r, b"%b\r\n%b\r\n" % (line, lines), 400) for s, r, line, lines in _HOSTS),
    *(
        Shape("RFC 9110 7.2", r, b"GET /p HTTP/1.1\r\nHost: %b\r\n\r\n" % value, 400)
        for r, value in _HOST_VALUES
    ),
    Shape("RFC 9113 3.4", "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    Shape("RFC 9112 3", "request line without an end", b"GET /" + b"p" * MAX_HEAD, 414),
    Shape("RFC 9112 6.1", "chunked in HTTP/1.0", request(TE, CHUNKED, b"1.0"), 400),
    Shape(
        "RFC 9112 6.1",
        "chunked and a length in HTTP/1.0",
        request(b"Content-Length: 5\r\n" + TE, CHUNKED, b"1.0"),
        400,
    ),
    Shape(
        "RFC 9112 5.2",
        "line folded behind the Host",
        b"GET / HTTP/1.1\r\n" + HOST + b" X: y\r\n\r\n",
        400,
    ),
    Shape(
        "RFC 9110 7.6.2",
        "Max-Forwards twice",
        b"OPTIONS * HTTP/1.1\r\nMax-Forwards: 1\r\nMax-Forwards: 2\r\n" + HOST + b"\r\n",
        400,
    ),
    Shape(
        "RFC 9110 7.6.2",
        "Max-Forwards that is no number",
        b"TRACE / HTTP/1.1\r\nMax-Forwards: -1\r\n" + HOST + b"\r\n",
        400,
    ),
]

BAD_RESPONSES: list[Shape] = [
    *(Shape(s, r, response(lines, body), 502) for s, r, lines, body, _ in _FIELDS),
    *(Shape(s, r, response(TE, body), 502, True) for s, r, body in _CHUNKS),
    *(Shape(s, r, data, 502) for s, r, data in _RESPONSE_STARTS),
    Shape("RFC 9112 6.1", "chunked in HTTP/1.0", response(TE, CHUNKED, b"1.0"), 502),
    Shape(
        "RFC 9112 6.1",
        "chunked and a length in HTTP/1.0",
        response(b"Content-Length: 5\r\n" + TE, CHUNKED, b"1.0"),
        502,
    ),
]


def _get(line: bytes, lines: bytes = HOST) -> bytes:
    return b"%b\r\n%b\r\n" % (line, lines)


GOOD_REQUESTS: list[Accepted] = [
    Accepted("RFC 9112 6.3", "no length is no body", request(b"")),
    Accepted("RFC 9112 6.2", "length 0 is no body", request(b"Content-Length: 0\r\n")),
    Accepted("RFC 9112 6.2", "length", request(b"Content-Length: 5\r\n", b"hello"), b"hello"),
    Accepted(
        "RFC 9110 5.5",
        "white space around a length",
        request(b"Content-Length:\t 5 \t\r\n", b"hello"),
        b"hello",
    ),
    Accepted(
        "RFC 9110 5.5",
        "no white space before a length",
        request(b"CONTENT-LENGTH:5\r\n", b"hello"),
        b"hello",
    ),
    Accepted(
        "RFC 9110 8.6",
        "length with zeros in front",
        request(b"Content-Length: 000005\r\n", b"hello"),
        b"hello",
    ),
    Accepted(
        "RFC 9112 6.2",
        "length in HTTP/1.0",
        request(b"Content-Length: 5\r\n", b"hello", b"1.0"),
        b"hello",
    ),
    Accepted("RFC 9112 7.1", "chunked", request(TE, CHUNKED), b"hello"),
    Accepted(
        "RFC 9112 7",
        "chunked in upper case",
        request(b"TRANSFER-ENCODING:CHUNKED\r\n", CHUNKED),
        b"hello",
    ),
    Accepted(
        "RFC 9110 5.5",
        "white space around chunked",
        request(b"Transfer-Encoding: \tchunked\t \r\n", CHUNKED),
        b"hello",
    ),
    Accepted("RFC 9112 7.1", "chunked and empty", request(TE, b"0\r\n\r\n")),
    Accepted(
        "RFC 9112 7.1",
        "chunk sizes in either case",
        request(TE, b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        b"01234567890123456789",
    ),
    Accepted(
        "RFC 9112 7.1",
        "chunk sizes of 15 digits",
        request(TE, b"000000000000005\r\nhello\r\n000000000000000\r\n\r\n"),
        b"hello",
    ),
    Accepted(
        "RFC 9112 7.1",
        "chunk data that looks like a chunk",
        request(TE, b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        b"0\r\n\r\n",
    ),
    Accepted(
        "RFC 9112 7.1.1",
        "extensions of all kinds",
        request(TE, b'3;a\r\nhel\r\n2 ; b = "c;d" ;e=f\r\nlo\r\n0;g\r\n\r\n'),
        b"hello",
    ),
    Accepted(
        "RFC 9112 7.1.1",
        "longest extension",
        request(TE, b"5;%b\r\nhello\r\n0\r\n\r\n" % (b"a" * (MAX_CHUNK_LINE - 4))),
        b"hello",
    ),
    Accepted(
        "RFC 9112 7.1.2",
        "trailer",
        request(TE, b"5\r\nhello\r\n0\r\nDigest: x\r\nempty:\r\n\r\n"),
        b"hello",
        b"Digest: x\r\nempty:\r\n",
    ),
    Accepted(
        "RFC 9110 5.1",
        "fields that only look like framing",
        request(
            b"Transfer_Encoding: chunked\r\nContent-Length-: 5\r\nX-Transfer-Encoding: chunked\r\n"
        ),
    ),
    Accepted("RFC 9112 2.3", "higher minor version", _get(b"GET /p HTTP/1.9")),
    Accepted("RFC 9112 3.1", "unknown method", _get(b"M-S!#$%&'*+.^_`|~9 /p HTTP/1.1")),
    Accepted("RFC 9112 3.1", "method in lower case", _get(b"get /p HTTP/1.1")),
    Accepted("RFC 9112 3.2", "unusual bytes in the target", _get(b'GET /"<>\\^`{|} HTTP/1.1')),
    Accepted("RFC 9112 3.2", "target outside ASCII", _get(b"GET /\xc3\xa9\xff HTTP/1.1")),
    Accepted("RFC 9112 3.2.1", "target with two slashes", _get(b"GET //evil.test/ HTTP/1.1")),
    Accepted("RFC 9112 3.2.4", "asterisk with OPTIONS", _get(b"OPTIONS * HTTP/1.1")),
    Accepted(
        "RFC 9112 3.2.2", "absolute-form with another Host", _get(b"GET http://a.test/p HTTP/1.1")
    ),
    Accepted(
        "RFC 9112 3.2",
        "HTTP/1.0 absolute-form needs no Host",
        _get(b"GET http://a.test HTTP/1.0", b""),
    ),
    Accepted("RFC 9110 7.2", "Host with a port", _get(b"GET / HTTP/1.1", b"Host: a.test:81\r\n")),
    Accepted(
        "RFC 9110 7.2", "Host with an empty port", _get(b"GET / HTTP/1.1", b"host:a.test:\r\n")
    ),
    Accepted("RFC 9110 7.2", "Host in IPv6", _get(b"GET / HTTP/1.1", b"Host: [::1]:81\r\n")),
    Accepted("RFC 9110 7.2", "Host with an underscore", _get(b"GET / HTTP/1.1", b"Host: a_b\r\n")),
    Accepted(
        "RFC 9112 5", "empty and odd values", request(b"A:\r\nB: \t\r\nC::\xff \x80\r\nD: \t e\r\n")
    ),
]

GOOD_RESPONSES: list[Accepted] = [
    Accepted("RFC 9112 6.2", "length", response(b"Content-Length: 5\r\n", b"hello"), b"hello"),
    Accepted("RFC 9112 6.2", "length 0 is no body", response(b"Content-Length: 0\r\n")),
    Accepted("RFC 9112 7.1", "chunked", response(TE, CHUNKED), b"hello"),
    Accepted(
        "RFC 9112 7.1.2",
        "trailer",
        response(TE, b"5\r\nhello\r\n0\r\nDigest: x\r\n\r\n"),
        b"hello",
        b"Digest: x\r\n",
    ),
    Accepted(
        "RFC 9112 6.3",
        "no length ends with the connection",
        response(b"", b"hello"),
        b"hello",
        until_close=True,
    ),
    Accepted(
        "RFC 9112 6.3",
        "HTTP/1.0 without a length",
        response(b"", b"hello", b"1.0"),
        b"hello",
        until_close=True,
    ),
    Accepted(
        "RFC 9112 6.3", "HEAD with a length", response(b"Content-Length: 5\r\n"), head_only=True
    ),
    Accepted("RFC 9112 6.3", "HEAD with chunked", response(TE), head_only=True),
    Accepted("RFC 9112 6.3", "HEAD without a length", response(b""), head_only=True),
    Accepted("RFC 9112 6.3", "204", b"HTTP/1.1 204 No Content\r\n\r\n"),
    Accepted("RFC 9110 8.6", "204 with a length", b"HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n"),
    Accepted("RFC 9112 6.1", "204 with chunked", b"HTTP/1.1 204 N\r\n" + TE + b"\r\n"),
    Accepted("RFC 9110 8.6", "304 with a length", b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n"),
    Accepted("RFC 9112 6.1", "304 with chunked", b"HTTP/1.1 304 N\r\n" + TE + b"\r\n"),
    Accepted(
        "RFC 9110 15.2",
        "interim responses",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 H\r\nLink: a\r\n\r\n"
        + response(b"Content-Length: 5\r\n", b"hello"),
        b"hello",
    ),
    Accepted(
        "RFC 9110 8.6",
        "interim response with a length",
        b"HTTP/1.1 102 P\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 N\r\n\r\n",
    ),
    Accepted("RFC 9112 4", "empty reason phrase", b"HTTP/1.1 204 \r\n\r\n"),
    Accepted("RFC 9112 4", "reason phrase and its space missing", b"HTTP/1.1 204\r\n\r\n"),
    Accepted("RFC 9112 4", "reason phrase outside ASCII", b"HTTP/1.1 204 \xc3\xa9 \t\r\n\r\n"),
    Accepted(
        "RFC 9110 15", "unknown status codes", b"HTTP/1.1 999 X\r\nContent-Length: 1\r\n\r\nx", b"x"
    ),
    Accepted(
        "RFC 9112 2.3",
        "higher minor version",
        response(b"Content-Length: 5\r\n", b"hello", b"1.2"),
        b"hello",
    ),
]
