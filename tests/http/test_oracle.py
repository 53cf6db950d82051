"""
Generated messages: cut anywhere, spoilt anywhere, and read by llhttp too.

The oracle is llhttp, through httptools, in its strict mode: what fastcar accepts, llhttp has to
accept as well, and to frame in the same way, or an origin could take one request for two.  Where it
refuses what fastcar relays, L{STRICTER} has the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.head import RequestHead, ResponseHead

from .driver import Driver, RequestDriver, ResponseDriver, bytewise
from .shapes import BAD_REQUESTS, GOOD_REQUESTS

try:
    httptools: Any = import_module("httptools")
except ImportError:
    httptools = None

quick = settings(max_examples=200, derandomize=True, deadline=None, database=None)

#: Odd and meaningful pieces that are put into messages.
NASTY = [
    bytes((byte,)) for byte in b'\r\n\x00 \t\x0b\x0c\x1f\x7f\x80\xa0\xff:;,="\\/?#@*_-+.0159afx'
] + [
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\n\n",
    b"chunked",
    b"HTTP/1.0",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, content-length\r\n",
    b"Host: b\r\n",
    b"0\r\n\r\n",
]

_token = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8).map(str.encode)
_value = st.lists(
    st.sampled_from([b"a", b"Z", b"0", b" ", b"\t", b":", b",", b'"', b"\x80", b"\xff", b"~"]),
    max_size=8,
).map(b"".join)
_lines = st.lists(
    st.one_of(
        st.builds(lambda name, value: b"X-%b:%b\r\n" % (name, value), _token, _value),
        st.sampled_from(
            [
                b"Connection: keep-alive\r\n",
                b"connection: X-a, X-0\r\n",
                b"Expect: 100-continue\r\n",
                b"TE: trailers\r\n",
                b"Max-Forwards: 3\r\n",
                b"Upgrade: websocket\r\n",
                b"Connection: upgrade\r\n",
                b"Cookie: a=b; c=d\r\n",
            ]
        ),
    ),
    max_size=4,
).map(b"".join)
_content = st.binary(max_size=12)
_chunk = st.builds(
    lambda content, zeros, extension: (
        b"%b%x%b\r\n%b\r\n" % (b"0" * zeros, len(content), extension, content)
    ),
    st.binary(min_size=1, max_size=12),
    st.integers(0, 3),
    st.sampled_from([b"", b"", b";a", b";a=b", b';a="b c"', b" ; a = b"]),
)
_chunked = st.builds(
    lambda chunks, trailers: (
        b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (b"".join(chunks), trailers)
    ),
    st.lists(_chunk, max_size=3),
    st.sampled_from([b"", b"", b"Digest: x\r\n", b"A:\r\nB: \xff\r\n"]),
)
_sized = _content.map(lambda content: b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
_body = st.one_of(st.just(b"\r\n"), _sized, _chunked)
_request_line = st.builds(
    lambda method, target, version: b"%b %b HTTP/%b\r\n" % (method, target, version),
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"M-SEARCH", b"UNKNOWN", b"TRACE"]),
    st.sampled_from(
        [b"/", b"/a/b?c=d&%20", b"//x", b'/"{|}^', b"/\xc3\xa9", b"http://a.test:81/p"]
    ),
    st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"1.2"]),
)
_status_line = st.builds(
    lambda interim, version, status, reason: (
        b"%bHTTP/%b %d%b\r\n" % (interim, version, status, reason)
    ),
    st.sampled_from([b"", b"", b"HTTP/1.1 100\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"]),
    st.sampled_from([b"1.1", b"1.1", b"1.0"]),
    st.sampled_from([200, 204, 304, 404, 599]),
    st.sampled_from([b" OK", b" ", b" Not \xff Found", b""]),
)
_behind = st.sampled_from([b"", b"", b"GET / HTTP/1.1\r\nHost: c.test\r\n\r\n", b"\x00\n"])


def possible(data: bytes) -> bool:
    """HTTP/1.0 has no chunked, and one Max-Forwards is enough."""
    chunked_1_0 = b"HTTP/1.0" in data and b"Transfer-Encoding" in data
    return not chunked_1_0 and data.count(b"Max-Forwards") < 2


requests = st.builds(
    lambda line, lines, body: b"%bHost: a.test\r\n%b%b" % (line, lines, body),
    _request_line,
    _lines,
    _body,
).filter(possible)
responses = st.builds(
    lambda line, lines, body: b"%b%b%b" % (line, lines, body), _status_line, _lines, _body
).filter(possible)
_mutations = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "delete"]),
        st.integers(0, 10_000),
        st.sampled_from(NASTY),
    ),
    min_size=1,
    max_size=3,
)


def spoil(data: bytes, mutations: list[tuple[str, int, bytes]]) -> bytes:
    """Change a message here and there."""
    for kind, place, piece in mutations:
        at = place % (len(data) + 1)
        if kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "replace":
            data = data[:at] + piece + data[at + len(piece) :]
        else:
            data = data[:at] + data[at + 1 + place % 3 :]
    return data


spoilt_requests = st.builds(spoil, requests, _mutations)
spoilt_responses = st.builds(spoil, responses, _mutations)
_cuts = st.lists(st.integers(0, 400), max_size=6)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut a message into pieces; none is empty."""
    ends = sorted({place for place in places if 0 < place < len(data)})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True) if a < b]


def outcome(make: Callable[[], Driver], pieces: Iterable[bytes]) -> tuple[object, ...]:
    """All there is to know of a message once it has been read, or that it was refused."""
    driver = make()
    try:
        for piece in pieces:
            driver.feed(piece)
    except MessageError:
        return ("refused",)
    head = driver.head if isinstance(driver, (RequestDriver, ResponseDriver)) else None
    return (
        driver.finished,
        [getattr(head, name) for name in head.__slots__] if head is not None else None,
        driver.content,
        driver.trailers,
        driver.leftover,
    )


class PiecesTests(SynchronousTestCase):
    """However a message is cut into pieces, it is the same message."""

    def assert_same(self, make: Callable[[], Driver], data: bytes, places: list[int]) -> None:
        whole = outcome(make, [data])
        self.assertEqual(outcome(make, cut(data, places)), whole)
        self.assertEqual(outcome(make, bytewise(data)), whole)

    @quick
    @given(requests, _behind, _cuts)
    def test_requests(self, data: bytes, behind: bytes, places: list[int]) -> None:
        """Valid requests, with something behind them."""
        whole = outcome(RequestDriver, [data + behind])
        self.assertEqual((whole[0], whole[-1]), (True, behind))
        self.assert_same(RequestDriver, data + behind, places)

    @quick
    @given(spoilt_requests, _cuts)
    def test_spoilt_requests(self, data: bytes, places: list[int]) -> None:
        """Spoilt requests: nothing but MessageError is raised, and always or never."""
        self.assert_same(RequestDriver, data, places)

    @quick
    @given(responses, _cuts)
    def test_responses(self, data: bytes, places: list[int]) -> None:
        """Valid responses."""
        self.assertNotEqual(outcome(ResponseDriver, [data]), ("refused",))
        self.assert_same(ResponseDriver, data, places)

    @quick
    @given(spoilt_responses, _cuts)
    def test_spoilt_responses(self, data: bytes, places: list[int]) -> None:
        """Spoilt responses."""
        self.assert_same(ResponseDriver, data, places)

    @quick
    @given(st.lists(st.sampled_from(NASTY), max_size=40).map(b"".join), _cuts)
    def test_noise(self, data: bytes, places: list[int]) -> None:
        """Noise, as a message and as a chunked body."""
        start = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assert_same(RequestDriver, data, places)
        self.assert_same(RequestDriver, start + data, [*places, len(start)])
        self.assert_same(ResponseDriver, data, places)


class Listener:
    """What llhttp tells."""

    def __init__(self) -> None:
        self.url = b""
        self.body = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


#: What llhttp says of a message that fastcar accepts; whether it may, by head and data; and why
#: fastcar does not follow.
STRICTER: list[tuple[str, Callable[[Any, bytes], bool], str]] = [
    (
        "Invalid method|Expected space after method",
        lambda head, data: head.method not in (b"GET", b"POST", b"OPTIONS", b"TRACE", b"M-SEARCH"),
        "llhttp knows a list of methods; any token is one (RFC 9110 section 9.1)",
    ),
    (
        "Invalid (char in url|characters in url|start char)",
        lambda head, data: not head.target.isascii(),
        "bytes outside ASCII in a target cannot be misread, and origins accept them",
    ),
    (
        "Invalid HTTP version",
        lambda head, data: re.match(rb"(\S+ \S+ )?HTTP/1\.[2-9]\b", data) is not None,
        "later minor versions are to be understood as 1.1 (RFC 9110 section 6.2)",
    ),
    (
        "Invalid character in chunk (size|extensions)|Invalid quoted-pair|Invalid character in "
        "chunk extensions quote",
        lambda head, data: head.chunked and b";" in data,
        "chunk extensions are dropped, so their syntax does not matter to anybody behind",
    ),
    (
        "invalid `Transfer-Encoding`",
        lambda head, data: re.search(rb"(?i)chunked *\t", data) is not None,
        "a tab behind a value is white space (RFC 9110 section 5.5); the coding is sent anew",
    ),
    (
        "Expected HTTP/2 Connection Preface",
        lambda head, data: head.method == b"PRI",
        "PRI is a token; without the version it is no preface",
    ),
]


class OracleTests(SynchronousTestCase):
    """llhttp agrees."""

    if httptools is None:
        skip = "httptools, the oracle, is not installed"

    def assert_agrees(self, driver: RequestDriver | ResponseDriver, data: bytes) -> bool:
        """
        What fastcar accepts, llhttp accepts and frames alike.

        @param driver: a new one.
        @return: whether both accepted it.
        """
        try:
            driver.feed(data)
        except MessageError:
            return False
        head = driver.head
        if head is None or not driver.finished:
            return False
        message = data[: len(data) - len(driver.leftover)]
        told = self.llhttp(head, message)
        if told is None:
            return False
        self.assertTrue(told.complete, data)
        self.assertEqual(told.body, driver.content, data)
        if isinstance(head, RequestHead) and head.scheme is None:
            self.assertEqual(told.url, head.target)
        return True

    def llhttp(self, head: RequestHead | ResponseHead, message: bytes) -> Listener | None:
        """What llhttp tells of a message that was accepted; None when it refuses it and may."""
        listener = Listener()
        if isinstance(head, RequestHead):
            parser = httptools.HttpRequestParser(listener)
        else:
            parser = httptools.HttpResponseParser(listener)
        try:
            parser.feed_data(message)
        except httptools.HttpParserUpgrade as upgrade:
            if upgrade.args[0] != len(message):
                # llhttp leaves it to its user whether the rest is a body.  It is: the request ends
                # before the new protocol begins, and HTTP/1.0 has none (RFC 9110 section 7.8).
                self.assertTrue(re.search(rb"(?i)\nupgrade:", message), message)
                return None
        except httptools.HttpParserError as error:
            if not any(
                re.search(text, str(error)) and may(head, message) for text, may, _ in STRICTER
            ):
                self.fail(f"llhttp refuses {message!r}: {error}")
            return None
        return listener

    @quick
    @given(requests, _behind)
    def test_requests(self, data: bytes, behind: bytes) -> None:
        """Valid requests end where llhttp says, with the same body."""
        self.assert_agrees(RequestDriver(), data + behind)

    @settings(quick, max_examples=400)
    @given(spoilt_requests)
    def test_spoilt_requests(self, data: bytes) -> None:
        """Of spoilt requests, fastcar accepts none that llhttp refuses or frames otherwise."""
        self.assert_agrees(RequestDriver(), data)

    def test_every_spoilt_byte(self) -> None:
        """The same with each odd byte in each place of a few requests."""
        agreed = 0
        for data in (
            b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        ):
            for at in range(len(data)):
                for piece in NASTY:
                    agreed += self.assert_agrees(RequestDriver(), data[:at] + piece + data[at:])
                    agreed += self.assert_agrees(
                        RequestDriver(), data[:at] + piece + data[at + len(piece) :]
                    )
        self.assertGreater(agreed, 1000)

    def test_shapes(self) -> None:
        """The tables hold for llhttp too, as far as it looks."""
        for row in GOOD_REQUESTS:
            self.assert_agrees(RequestDriver(), row.data)
        for shape in BAD_REQUESTS:
            self.assertFalse(self.assert_agrees(RequestDriver(), shape.data), shape.rule)

    @quick
    @given(responses)
    def test_responses(self, data: bytes) -> None:
        """Responses of known length have the same body for llhttp."""
        if not data.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
            self.assert_agrees(ResponseDriver(), data)

    @quick
    @given(spoilt_responses)
    def test_spoilt_responses(self, data: bytes) -> None:
        """The same of spoilt ones."""
        if not data.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
            self.assert_agrees(ResponseDriver(), data)
