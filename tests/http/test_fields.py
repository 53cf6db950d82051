"""What of a head is passed on, and what is not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.fields import (
    MAX_OPTIONS,
    MAX_REMEMBERED,
    _remembered,
    check_trailers,
    without_fields,
)
from fastcar_tw.http.head import RequestHead, ResponseHead, parse_request_head, parse_response_head

HOST = b"Host: a.test\r\n"


def request(lines: bytes, line: bytes = b"GET / HTTP/1.1") -> RequestHead:
    """Parse a request with these field lines behind its Host."""
    data = b"%b\r\n%b%b\r\n" % (line, HOST, lines)
    return parse_request_head(data, len(data))


def response(lines: bytes, line: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    """Parse a response with these field lines."""
    data = b"%b\r\n%b\r\n" % (line, lines)
    return parse_response_head(data, len(data))


def _connection(options: list[bytes], between: bytes = b",") -> bytes:
    """A Connection field with these options."""
    return b"Connection: %b\r\n" % between.join(options)


#: Lines that go through both ways as the bytes they are.
END_TO_END: list[tuple[str, bytes]] = [
    ("order", b"Zulu: 1\r\nAlpha: 2\r\nMike: 3\r\n"),
    ("case", b"x-LOWER-upper: Value\r\nX-Lower-Upper: vALUE\r\nACCEPT: */*\r\n"),
    ("multiplicity", b"Cookie: a=1\r\nX: y\r\nCookie: a=1\r\nSet-Cookie: b\r\nSet-Cookie: b\r\n"),
    ("white space", b"A:b\r\nC:   d\r\nE:\tf\t \r\nG: h  i\tj\r\n"),
    ("empty values", b"A:\r\nB: \r\nC:\t\r\n"),
    ("obs-text", b"A: \x80\xff\r\nB: na\xc3\xafve\r\n"),
    ("punctuation in names", b"!#$%&'*+-.^_`|~09: x\r\n"),
    ("colons in values", b"A::\r\nB: c: d\r\nReferer: http://x:1/\r\n"),
    ("nothing", b""),
    ("credentials", b"Authorization: Basic eA==\r\nauthorization: Basic eQ==\r\n"),
    ("content", b"Content-Encoding: gzip\r\nContent-Type: x/y\r\nContent-Length: 3\r\n"),
    ("ranges and conditions", b'Range: bytes=0-1\r\nIf-Match: *\r\nETag: W/"x"\r\nVary: *\r\n'),
    ("forwarding", b"Via: 1.0 x\r\nX-Forwarded-For: ::1\r\nForwarded: for=_x\r\nCDN-Loop: a\r\n"),
    ("trailer list", b"Trailer: Digest\r\nDate: now\r\nWarning: 199 - x\r\n"),
    ("names that only begin like special ones", b"Hosts: x\r\nTe-st: y\r\nUpgrade-Insecure: 1\r\n"),
    ("names that only end like special ones", b"X-Connection: close\r\nX-Te: z\r\nNote: x\r\n"),
    ("special names in values", b"A: Connection: close\r\nB: Transfer-Encoding: chunked\r\n"),
]

#: Rule, lines as they came, lines passed on: both ways.
CUT: list[tuple[str, bytes, bytes]] = [
    ("Connection itself", b"A: 1\r\nConnection: close\r\nB: 2\r\n", b"A: 1\r\nB: 2\r\n"),
    ("Keep-Alive unnamed", b"Keep-Alive: timeout=5\r\nA: 1\r\n", b"A: 1\r\n"),
    ("Proxy-Connection unnamed", b"A: 1\r\nProxy-Connection: keep-alive\r\n", b"A: 1\r\n"),
    ("TE unnamed", b"TE: trailers\r\nA: 1\r\n", b"A: 1\r\n"),
    ("Upgrade unnamed", b"upgrade: websocket\r\nA: 1\r\n", b"A: 1\r\n"),
    ("Transfer-Encoding", b"A: 1\r\nTRANSFER-ENCODING: chunked\r\nB: 2\r\n", b"A: 1\r\nB: 2\r\n"),
    ("all neighbours", b"TE: x\r\nTE: y\r\nConnection: TE\r\nConnection: close\r\n", b""),
    ("a named field", b"Connection: foo\r\nFoo: 1\r\nBar: 2\r\n", b"Bar: 2\r\n"),
    ("a field named later", b"Foo: 1\r\nBar: 2\r\nConnection: foo\r\n", b"Bar: 2\r\n"),
    (
        "every line of a named field",
        b"Foo: 1\r\nA: 2\r\nfOO: 3\r\nConnection: Foo\r\n",
        b"A: 2\r\n",
    ),
    (
        "fields named in several Connection lines",
        b"Connection: foo\r\nFoo: 1\r\nconnection: close, BAR\r\nBar: 2\r\nA: 3\r\n",
        b"A: 3\r\n",
    ),
    (
        "fields named with odd white space and empty elements",
        b"Connection: ,\tfoo , ,bar\t,\r\nFoo: 1\r\nBar: 2\r\nA: 3\r\n",
        b"A: 3\r\n",
    ),
    ("no field that is not there", b"Connection: foo\r\nFoobar: 1\r\n", b"Foobar: 1\r\n"),
    ("no field for an empty Connection", b"Connection:\r\nA: 1\r\n", b"A: 1\r\n"),
    ("no field for a quoted name", b'Connection: "a"\r\nA: 1\r\n', b"A: 1\r\n"),
]


class PassThroughTests(SynchronousTestCase):
    """RFC 9110 sections 5.3 and 7.7: what is not ours is not touched."""

    def test_requests(self) -> None:
        """Request fields go on as the bytes they came as."""
        for rule, lines in END_TO_END:
            self.assertEqual((rule, request(lines).fields), (rule, HOST + lines))

    def test_responses(self) -> None:
        """Response fields go on as the bytes they came as."""
        for rule, lines in END_TO_END:
            self.assertEqual((rule, response(lines).fields), (rule, lines))

    def test_fields_only_of_requests_pass_in_responses(self) -> None:
        """Host, Expect and Max-Forwards mean nothing in a response, and are left alone."""
        lines = b"Host: x y\r\nHost: z\r\nExpect: a\r\nMax-Forwards: -\r\nHTTP3-Settings: x\r\n"
        self.assertEqual(response(lines).fields, lines)

    def test_host_keeps_its_place(self) -> None:
        """Host is passed on where it stood, however it was written."""
        data = b"GET / HTTP/1.1\r\nA: 1\r\nhOST:\ta.test:80 \r\nB: 2\r\n\r\n"
        head = parse_request_head(data, len(data))
        self.assertEqual(head.host, b"a.test:80")
        self.assertEqual(head.fields, b"A: 1\r\nhOST:\ta.test:80 \r\nB: 2\r\n")

    def test_line_and_target(self) -> None:
        """Method and target are kept byte for byte (RFC 9110 section 7.7)."""
        target = b"/a%2F%2f/../b//c;d=e?f=%zz&g=\xff+{}|\"'"
        head = request(b"", b"gEt " + target + b" HTTP/1.1")
        self.assertEqual((head.method, head.target), (b"gEt", target))

    def test_reason(self) -> None:
        """A reason phrase is kept with its space, a missing space is added (RFC 9112 section 4)."""
        for line, reason in [
            (b"HTTP/1.1 200 OK", b" OK"),
            (b"HTTP/1.1 200  spaced out\t", b"  spaced out\t"),
            (b"HTTP/1.1 200 \xff", b" \xff"),
            (b"HTTP/1.1 200 ", b" "),
            (b"HTTP/1.1 200", b" "),
        ]:
            self.assertEqual(response(b"", line).reason, reason)


class HopByHopTests(SynchronousTestCase):
    """RFC 9110 section 7.6.1: what is about one connection ends with it."""

    def test_requests(self) -> None:
        """They are cut out of requests."""
        for rule, lines, expected in CUT:
            self.assertEqual((rule, request(lines).fields), (rule, HOST + expected))

    def test_responses(self) -> None:
        """They are cut out of responses."""
        for rule, lines, expected in CUT:
            self.assertEqual((rule, response(lines).fields), (rule, expected))

    def test_http2_settings(self) -> None:
        """HTTP2-Settings goes from requests, named or not (RFC 9113 section 3.1)."""
        self.assertEqual(
            request(b"HTTP2-Settings: AAMAAABk\r\nA: 1\r\n").fields, HOST + b"A: 1\r\n"
        )

    def test_http_1_0(self) -> None:
        """HTTP/1.0 messages are treated in the same way."""
        lines = b"Connection: foo, keep-alive\r\nFoo: 1\r\nKeep-Alive: 5\r\nA: 1\r\n"
        self.assertEqual(request(lines, b"GET / HTTP/1.0").fields, HOST + b"A: 1\r\n")
        self.assertEqual(response(lines, b"HTTP/1.0 200 OK").fields, b"A: 1\r\n")

    def test_what_may_not_be_named(self) -> None:
        """A Connection option that would cut out Host or Content-Length is refused."""
        for option in (b"Host", b"content-length", b"close, HOST", b"x,\tContent-Length ,y"):
            lines = b"Connection: %b\r\n" % option
            error = self.assertRaises(MessageError, request, lines)
            self.assertEqual(error.status, 400)
            self.assertRaises(MessageError, response, lines)

    def test_too_many_options(self) -> None:
        """More than 64 Connection options are refused, in however many lines they stand."""
        self.assertEqual(MAX_OPTIONS, 64)
        options = [b"o%d" % number for number in range(65)]
        for between in (b",", b"\r\nConnection: "):
            self.assertEqual(len(request(_connection(options[:64], between)).named), 64)
            self.assertEqual(len(response(_connection(options[:64], between)).named), 64)
            lines = _connection(options, between)
            error = self.assertRaises(MessageError, request, lines)
            self.assertEqual((error.status, error.text), (400, "more than 64 Connection options"))
            self.assertRaises(MessageError, response, lines)

    def test_long_values_are_not_remembered(self) -> None:
        """A Connection value is remembered only if it is short: memory is not for peers to fill."""
        for size, remembered in ((MAX_REMEMBERED, 1), (MAX_REMEMBERED + 1, 0)):
            _remembered.cache_clear()
            self.assertEqual(request(_connection([b"o" * size])).named, {b"o" * size})
            self.assertEqual(_remembered.cache_info().currsize, remembered)

    def test_named(self) -> None:
        """The names are kept for the trailers, without those that always go."""
        lines = b"Connection: close, Foo, te, keep-alive, upgrade\r\n"
        self.assertEqual(set(request(lines).named), {b"foo"})
        self.assertEqual(set(response(lines).named), {b"foo"})
        self.assertEqual(set(request(b"A: b\r\n").named), set())


class UpgradeTests(SynchronousTestCase):
    """RFC 9110 section 7.8."""

    def upgrade(self, lines: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes | None:
        """What a request asks for."""
        head = request(lines, line)
        self.assertEqual(head.fields, HOST)
        return head.upgrade

    def test_asked_for(self) -> None:
        """Upgrade counts with its Connection option, in any case and among others."""
        for lines in (
            b"Connection: upgrade\r\nUpgrade: websocket\r\n",
            b"UPGRADE: websocket\r\nCONNECTION: keep-alive, UPGRADE\r\n",
            b"Connection: close\r\nUpgrade:websocket \r\nConnection: Upgrade\r\n",
        ):
            self.assertEqual(self.upgrade(lines), b"websocket")

    def test_without_option(self) -> None:
        """Without its Connection option Upgrade is not meant for us, and goes nowhere."""
        self.assertIsNone(self.upgrade(b"Upgrade: websocket\r\n"))
        self.assertIsNone(self.upgrade(b"Connection: close\r\nUpgrade: websocket\r\n"))

    def test_option_alone(self) -> None:
        """The option without the field asks for nothing."""
        self.assertIsNone(self.upgrade(b"Connection: upgrade\r\n"))
        self.assertIsNone(self.upgrade(b"Connection: upgrade\r\nUpgrade:\r\n"))

    def test_http_1_0(self) -> None:
        """HTTP/1.0 requests cannot ask."""
        lines = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
        self.assertIsNone(self.upgrade(lines, b"GET / HTTP/1.0"))

    def test_several_protocols(self) -> None:
        """Protocols keep their order, from one line or several."""
        for lines in (b"Upgrade: a/1, B,,c\r\n", b"Upgrade: a/1\r\nUpgrade: B , c\r\n"):
            self.assertEqual(self.upgrade(b"Connection: upgrade\r\n" + lines), b"a/1, B, c")

    def test_h2c(self) -> None:
        """h2c is dropped in any case, and only it (RFC 9113 section 3.1)."""
        for value, expected in [
            (b"h2c", None),
            (b"H2C", None),
            (b"h2c, h2c", None),
            (b"h2c, websocket", b"websocket"),
            (b"websocket,\tH2c", b"websocket"),
            (b"h2cx", b"h2cx"),
        ]:
            lines = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n" % value
            self.assertEqual(self.upgrade(lines + b"HTTP2-Settings: x\r\n"), expected)

    def test_responses(self) -> None:
        """Only a 101 or a 426 tells of another protocol."""
        lines = b"Connection: upgrade\r\nUpgrade: websocket\r\nA: 1\r\n"
        for status, expected in [(101, b"websocket"), (426, b"websocket"), (200, None)]:
            head = response(lines, b"HTTP/1.1 %d X" % status)
            self.assertEqual((head.upgrade, head.fields), (expected, b"A: 1\r\n"))


class LineTests(SynchronousTestCase):
    """Blocks of field lines."""

    def test_without_fields(self) -> None:
        """All lines of the fields go, whatever their case, and nothing else does."""
        lines = b"A: 1\r\nFoo: A\r\na: 2\r\nAa: 3\r\nB:\r\n"
        self.assertEqual(without_fields(lines, (b"a",)), b"Foo: A\r\nAa: 3\r\nB:\r\n")
        self.assertEqual(without_fields(lines, (b"a", b"foo", b"aa", b"b")), b"")
        self.assertEqual(without_fields(lines, ()), lines)
        self.assertEqual(without_fields(b"", (b"a",)), b"")

    def test_trailers(self) -> None:
        """A trailer may hold any field that neither frames, routes nor authenticates."""
        check_trailers(b"")
        check_trailers(b"Digest: x\r\nServer-Timing: a\r\nSet-Cookie: b\r\nHosted: c\r\n")

    def test_trailer_texts(self) -> None:
        """What is refused is named, without its value (RFC 9110 section 6.5.1)."""
        error = self.assertRaises(MessageError, check_trailers, b"A: b\r\nHoSt: secret\r\n")
        self.assertEqual(error.text, "the field host may not stand in a trailer")
