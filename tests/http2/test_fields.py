"""
Heads between HTTP/1.1 and HTTP/2: tables, generated messages, and two oracles.

What becomes of a response is read again by our own HTTP/1.1 parser, and what is malformed in either
direction is compared with what the library h2 says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

from h2.exceptions import ProtocolError
from h2.utilities import HeaderValidationFlags, validate_headers
from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.fields import HOP_BY_HOP
from fastcar_tw.http.head import RequestHead, parse_request_head, parse_response_head
from fastcar_tw.http2.fields import (
    LONG_COOKIE,
    Field,
    request_fields,
    response_head,
    trailer_fields,
    trailer_lines,
)

quick = settings(max_examples=300, derandomize=True, deadline=None, database=None)

OK: Field = (b":status", b"200")
#: Bytes that are no part of a name in HTTP/2; a name of its own begins with no colon either.
NO_NAME = bytes(range(0x21)) + b'"(),/:;<=>?@ABCXYZ[\\]{}' + bytes(range(0x7F, 0x100))
#: Bytes that are no part of a value.
NO_VALUE = bytes(byte for byte in range(0x20) if byte != 0x09) + b"\x7f"


def request(lines: bytes = b"", line: bytes = b"GET / HTTP/1.1") -> RequestHead:
    """Parse a request with these field lines in front of its Host."""
    data = b"%b\r\n%bHost: a.test\r\n\r\n" % (line, lines)
    return parse_request_head(data, len(data))


def regular(lines: bytes, own: bytes = b"") -> list[Field]:
    """The fields of a request with these lines, behind the pseudo-fields."""
    return request_fields(request(lines), own)[4:]


class RequestTests(SynchronousTestCase):
    """RFC 9113 sections 8.2 and 8.3.1: requests as they are sent."""

    def control(self, line: bytes, lines: bytes = b"") -> list[Field]:
        """The fields of a request in front of the first that is no pseudo-field."""
        fields = request_fields(request(lines, line), b"")
        self.assertFalse([field for field in fields[4:] if field[0][:1] == b":"])
        return fields[:4]

    def test_pseudo_fields(self) -> None:
        """Method, scheme, authority and path come first, once each, byte for byte."""
        target = b"/a%2F%2f/../b//c;d=e?f=%zz&g=\xff+{}|\"'"
        self.assertEqual(
            self.control(b"gEt " + target + b" HTTP/1.1", b"A: 1\r\n"),
            [
                (b":method", b"gEt"),
                (b":scheme", b"https"),
                (b":authority", b"a.test"),
                (b":path", target),
            ],
        )

    def test_authority_is_the_target_s(self) -> None:
        """:authority is that of an absolute-form target, whatever Host says, and Host goes."""
        head = request(b"A: 1\r\n", b"GET https://b.test:8443?q HTTP/1.1")
        self.assertEqual(
            request_fields(head, b""),
            [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", b"b.test:8443"),
                (b":path", b"/?q"),
                (b"a", b"1"),
            ],
        )

    def test_authority_is_the_host(self) -> None:
        """:authority is Host's value without white space around it, and Host itself is not sent."""
        data = b"GET / HTTP/1.1\r\nA: 1\r\nhOST:\tA.test:443 \r\nB: 2\r\n\r\n"
        self.assertEqual(
            request_fields(parse_request_head(data, len(data)), b"")[2:],
            [(b":authority", b"A.test:443"), (b":path", b"/"), (b"a", b"1"), (b"b", b"2")],
        )

    def test_path_is_never_empty(self) -> None:
        """A target without a path has the path /, or * for OPTIONS; the asterisk stays one."""
        for line, path in [
            (b"GET https://a.test HTTP/1.1", b"/"),
            (b"OPTIONS https://a.test HTTP/1.1", b"*"),
            (b"OPTIONS https://a.test?q HTTP/1.1", b"/?q"),
            (b"OPTIONS * HTTP/1.1", b"*"),
        ]:
            self.assertEqual(self.control(line)[3], (b":path", path))

    def test_order_case_and_white_space(self) -> None:
        """Fields keep order and multiplicity; names become lower case, values lose the white space
        around them and nothing else."""
        lines = (
            b"Zulu:1\r\nA:\r\nB: \t\r\nX-aB:  Va lue\t\r\nzulu: \xe9\t:x\r\n"
            b"!#$%&'*+-.^_`|~09: x\r\n"
        )
        self.assertEqual(
            regular(lines),
            [
                (b"zulu", b"1"),
                (b"a", b""),
                (b"b", b""),
                (b"x-ab", b"Va lue"),
                (b"zulu", b"\xe9\t:x"),
                (b"!#$%&'*+-.^_`|~09", b"x"),
            ],
        )

    def test_connection_specific(self) -> None:
        """What is about the connection is not sent, nor what Connection names, nor Host."""
        lines = b"".join(
            b"%b: x\r\n" % name.title() for name in HOP_BY_HOP - {b"transfer-encoding"}
        )
        self.assertEqual(
            regular(
                b"%bTransfer-Encoding: chunked\r\nConnection: Foo\r\nFoo: 1\r\nB: 2\r\n" % lines
            ),
            [(b"b", b"2")],
        )

    def test_content_length(self) -> None:
        """Content-Length goes on as it came."""
        self.assertEqual(regular(b"Content-Length: 007\r\n"), [(b"content-length", b"007")])

    def test_te(self) -> None:
        """TE goes on as trailers if it asks for them, in whatever company, and not at all
        otherwise."""
        for lines, asked in [
            (b"TE: trailers\r\n", True),
            (b"te: gzip;q=0.5 ,\tTrailers\r\nConnection: TE\r\n", True),
            (b"TE: deflate\r\nTE: trailers\r\n", True),
            (b"TE: gzip\r\n", False),
            (b"TE:\r\n", False),
            (b"TE: xtrailers, trailers;q=1\r\n", False),
            (b"Trailer: trailers\r\n", False),
        ]:
            self.assertIs(request(lines).te_trailers, asked)
            sent = [field for field in regular(lines) if field[0] == b"te"]
            self.assertEqual(sent, [(b"te", b"trailers")] * asked)

    def test_te_of_1_0(self) -> None:
        """An HTTP/1.0 client cannot be given trailers, and TE asks for none."""
        self.assertFalse(request(b"TE: trailers\r\n", b"GET / HTTP/1.0").te_trailers)

    def test_own_fields_are_last(self) -> None:
        """Our own fields stand behind the client's."""
        fields = regular(b"Via: 1.0 x\r\nTE: trailers\r\n", b"Via: 1.1 fastcar\r\nA: B\r\n")
        self.assertEqual(
            fields,
            [(b"via", b"1.0 x"), (b"te", b"trailers"), (b"via", b"1.1 fastcar"), (b"a", b"B")],
        )

    def test_trailers(self) -> None:
        """A request's trailers become fields in the same way."""
        self.assertEqual(trailer_fields(b""), [])
        self.assertEqual(
            trailer_fields(b"Digest:x=: \r\nB:\r\ndigest: y\r\n"),
            [(b"digest", b"x=:"), (b"b", b""), (b"digest", b"y")],
        )


class CookieTests(SynchronousTestCase):
    """RFC 9113 section 8.2.3."""

    def test_crumbs(self) -> None:
        """A Cookie is split at "; " where no piece gets white space at its ends, and joining the
        pieces gives the same bytes."""
        for value, crumbs in [
            (b"a=1", [b"a=1"]),
            (b"a=1; b=2; c", [b"a=1", b"b=2", b"c"]),
            (b"a=1;b=2; c", [b"a=1;b=2", b"c"]),
            (b"a=1;  b=2", [b"a=1;  b=2"]),
            (b"a=1 ; b=2", [b"a=1 ; b=2"]),
            (b"a=1; \tb=2\t; c", [b"a=1; \tb=2\t; c"]),
            (b"a; ; b", [b"a", b"; b"]),
            (b"a=1;", [b"a=1;"]),
            (b"; a", [b"", b"a"]),
            (b"", [b""]),
        ]:
            fields = regular(b"Cookie: %b \r\nB: 1\r\n" % value)
            self.assertEqual(fields, [*((b"cookie", crumb) for crumb in crumbs), (b"b", b"1")])
            self.assertEqual(b"; ".join(crumbs), value)

    def test_never_indexed(self) -> None:
        """Credentials and short cookies are sent so that no compression remembers them, here or at
        the next hop (RFC 7541 section 7.1.3)."""
        self.assertEqual(LONG_COOKIE, 20)
        fields = regular(
            b"Authorization: Basic eA==\r\nAUTHORIZATION: %b\r\n"
            b"Cookie: %b; s=%b; t=1\r\nB: 1\r\n" % (b"x" * 50, b"l" * 20, b"s" * 17)
        )
        decoded = Decoder().decode(Encoder().encode(fields), raw=True)
        self.assertEqual(
            [(*field, field.indexable) for field in decoded],
            [
                (b"authorization", b"Basic eA==", False),
                (b"authorization", b"x" * 50, False),
                (b"cookie", b"l" * 20, True),
                (b"cookie", b"s=" + b"s" * 17, False),
                (b"cookie", b"t=1", False),
                (b"b", b"1", True),
            ],
        )


class ResponseTests(SynchronousTestCase):
    """RFC 9113 sections 8.2 and 8.3.2: responses as they come."""

    def refused(self, *fields: Field) -> str:
        """Why a response with these fields is malformed."""
        error: MessageError = self.assertRaises(MessageError, response_head, fields)
        return error.text

    def test_head(self) -> None:
        """Fields become lines, in order, as often as they came."""
        fields = [
            OK,
            (b"zulu", b"1"),
            (b"set-cookie", b"a=b; c"),
            (b"set-cookie", b"a=b; c"),
            (b"x", b""),
            (b"content-length", b"12"),
            (b"y", b": \x80\t\xff"),
        ]
        head = response_head([HeaderTuple(*field) for field in fields])
        self.assertEqual(
            head.fields,
            b"zulu: 1\r\nset-cookie: a=b; c\r\nset-cookie: a=b; c\r\nx: \r\n"
            b"content-length: 12\r\ny: : \x80\t\xff\r\n",
        )
        self.assertEqual((head.status, head.reason, head.version), (200, b" OK", 20))
        self.assertEqual((head.content_length, head.chunked, head.close), (12, False, False))
        self.assertEqual((head.keep_alive, head.upgrade, set(head.named)), (None, None, set()))

    def test_no_fields(self) -> None:
        """A response may have nothing but its status."""
        head = response_head([(b":status", b"204")])
        self.assertEqual((head.status, head.reason), (204, b" No Content"))
        self.assertEqual((head.fields, head.content_length), (b"", None))

    def test_reasons(self) -> None:
        """HTTP/1.1's reason phrase is the standard one, in every version of Python, or empty."""
        for value, reason in [
            (b"100", b" Continue"),
            (b"103", b" Early Hints"),
            (b"413", b" Content Too Large"),
            (b"414", b" URI Too Long"),
            (b"416", b" Range Not Satisfiable"),
            (b"422", b" Unprocessable Content"),
            (b"299", b" "),
            (b"999", b" "),
        ]:
            head = response_head([(b":status", value)])
            self.assertEqual((head.status, head.reason), (int(value), reason))
        for status in set(HTTPStatus) - {HTTPStatus.SWITCHING_PROTOCOLS}:
            data = b"HTTP/1.1 %d%b\r\n\r\n" % (
                status,
                response_head([(b":status", b"%d" % status)]).reason,
            )
            self.assertEqual(parse_response_head(data, len(data)).status, status)

    def test_status(self) -> None:
        """:status is one number of three digits, first of all; 101 does not exist (section 8.6)."""
        for value in (
            b"",
            b"20",
            b"2000",
            b"099",
            b"2x0",
            b"200 ",
            b" 200",
            b"+20",
            b"\xb2\xb2\xb2",
        ):
            self.assertIn("invalid :status", self.refused((b":status", value)))
        self.assertIn("invalid :status", self.refused((b":status", b"101")))
        self.assertIn("no :status", self.refused())
        self.assertIn("no :status", self.refused((b"a", b"1")))
        self.assertIn("no :status", self.refused((b"a", b"1"), OK))

    def test_pseudo_fields(self) -> None:
        """No pseudo-field but one :status, in front."""
        for name in (b":status", b":method", b":path", b":authority", b":scheme", b":new", b":"):
            expected = "field 1 is a pseudo-field that does not belong there"
            self.assertEqual(self.refused(OK, (name, b"200")), expected)
            self.assertIn("field 2 is", self.refused(OK, (b"a", b"1"), (name, b"200")))
            self.assertIn("no :status", self.refused((b":new", b"200"), OK))

    def test_names(self) -> None:
        """A name with upper case or any byte that is no token's is malformed (section 8.2.1)."""
        for byte in NO_NAME:
            for form in (b"%b", b"a%b", b"%bb", b"a%bb", b"a%b b", b"x: %b"):
                name = form % bytes((byte,))
                self.assertRaises(MessageError, response_head, [OK, (name, b"1")])
                self.assertRaises(MessageError, trailer_lines, [(name, b"1")])
        self.assertEqual(
            self.refused(OK, (b"a", b"1"), (b"Secret", b"")),
            "field 2 has an invalid name: expected a token in lower case",
        )
        self.assertIn("field 1 has an invalid name", self.refused(OK, (b"", b"1")))

    def test_values(self) -> None:
        """A value with CR, LF, NUL or another control in it is malformed (section 8.2.1)."""
        for byte in NO_VALUE:
            for form in (b"%b", b"a%b", b"%bb", b"a%bb", b"a%bb: c"):
                value = form % bytes((byte,))
                self.assertRaises(MessageError, response_head, [OK, (b"a", value)])
                self.assertRaises(MessageError, trailer_lines, [(b"a", value)])

    def test_white_space(self) -> None:
        """A value with white space at either end is malformed (section 8.2.1)."""
        for value in (b" ", b"\t", b" a", b"\ta", b"a ", b"a\t", b" a ", b": "):
            self.assertEqual(self.refused(OK, (b"a", value)), "field 1 (a) has an invalid value")

    def test_injection(self) -> None:
        """Whole lines in a name or value do not become lines."""
        for field in [
            (b"a", b"1\r\nset-cookie: b"),
            (b"a", b"1\r\nset-cookie: \0b"),
            (b"a: \0b\r\nset-cookie", b"1"),
            (b"a", b"\r\n"),
            (b"a", b"1\r\n\r\nHTTP/1.1 200 OK"),
            (b"a: b", b"c"),
            (b"a: \0b", b"c"),
            (b"a:", b"c"),
            (b"\r\n", b""),
        ]:
            self.assertIn("field 1 ", self.refused(OK, field))
            self.assertIn("field 2 ", self.refused(OK, (b"x", b"y"), field))
            self.assertRaises(MessageError, trailer_lines, [field])

    def test_connection_specific(self) -> None:
        """Fields about the connection are malformed (section 8.2.2), TE included: it is for
        requests."""
        for name in (
            b"connection",
            b"proxy-connection",
            b"keep-alive",
            b"transfer-encoding",
            b"upgrade",
            b"te",
        ):
            expected = f"the field {name.decode()} has no place in HTTP/2"
            self.assertEqual(self.refused(OK, (b"a", b"1"), (name, b"trailers")), expected)
            error = self.assertRaises(MessageError, trailer_lines, [(name, b"")])
            self.assertEqual(error.text, expected)

    def test_content_length(self) -> None:
        """Content-Length is one decimal number, once."""
        for values in (
            [b""],
            [b"-1"],
            [b"+1"],
            [b"1, 1"],
            [b"0x1"],
            [b"1" * 19],
            [b"1", b"1"],
            [b"1", b"2"],
        ):
            fields = [(b"content-length", value) for value in values]
            self.assertIn("invalid content-length", self.refused(OK, *fields, (b"a", b"1")))
        head = response_head([OK, (b"a", b"content-length: 3"), (b"content-length", b"9" * 18)])
        self.assertEqual(head.content_length, 10**18 - 1)

    def test_texts_quote_no_value(self) -> None:
        """Errors say which field is wrong without its value, and without much of its name."""
        for fields in (
            [(b":status", b"SECRET")],
            [OK, (b"a" * 999, b"SECRET ")],
            [OK, (b"SECRET", b"")],
            [OK, (b":SECRET", b"")],
            [OK, (b"te", b"SECRET")],
            [OK, (b"content-length", b"SECRET")],
        ):
            text = self.refused(*fields)
            self.assertNotIn("SECRET", text)
            self.assertLess(len(text), 120)

    def test_trailers(self) -> None:
        """Trailers become lines; there are no pseudo-fields among them (section 8.1)."""
        self.assertEqual(trailer_lines([]), b"")
        self.assertEqual(
            trailer_lines([(b"grpc-status", b"0"), (b"digest", b"")]),
            b"grpc-status: 0\r\ndigest: \r\n",
        )
        for name in (b":status", b":path", b":new"):
            error = self.assertRaises(MessageError, trailer_lines, [(name, b"200")])
            self.assertEqual(error.text, "field 1 is a pseudo-field that does not belong there")

    def test_trailers_frame_nothing(self) -> None:
        """What may not stand in a trailer is refused there (RFC 9110 section 6.5.1)."""
        for name in (b"content-length", b"host", b"authorization", b"http2-settings"):
            error = self.assertRaises(MessageError, trailer_lines, [(name, b"1")])
            self.assertIn(f"the field {name.decode()} may not stand in a trailer", error.text)


_name = st.one_of(
    st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=6).map(lambda name: b"X" + name.encode()),
    st.sampled_from([b"Cookie", b"cookie", b"Authorization", b"Via", b"Accept", b"Set-Cookie"]),
)
_value = st.lists(
    st.sampled_from([b"a", b"Z=0", b" ", b"\t", b":", b";", b"; ", b",", b"\x80", b"\xff", b"~"]),
    max_size=8,
).map(b"".join)
_hop_by_hop = st.sampled_from(
    [
        (b"Connection", b"close"),
        (b"keep-alive", b"timeout=5"),
        (b"TE", b"trailers"),
        (b"TE", b"gzip"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Proxy-Authorization", b"Basic eA=="),
        (b"HTTP2-Settings", b"x"),
        (b"Upgrade", b"h2c"),
    ]
)
_lines = st.lists(st.one_of(st.tuples(_name, _value), _hop_by_hop), max_size=8)
_methods = st.sampled_from([b"GET", b"POST", b"get", b"M-SEARCH", b"TRACE"])
_targets = st.sampled_from([b"/", b"/a/b?c=d&%20", b"//x", b'/"{|}^', b"/\xc3\xa9", b"/*"])

_good = st.tuples(
    st.one_of(
        st.text("!#$%&'*+-.^_`|~09az", min_size=1, max_size=6).map(str.encode),
        st.sampled_from([b"set-cookie", b"content-type", b"trailer", b"connections"]),
    ),
    _value.map(lambda value: value.strip(b" \t")),
)
#: Names and values that are in order alone, nearly so, and not at all.
_odd = st.tuples(
    st.one_of(
        st.sampled_from([b"a", b"content-length", b"connection", b"te", b"transfer-encoding"]),
        st.sampled_from([b":status", b":path", b":protocol", b"Upper", b"", b"a:", b"a: b", b"a/"]),
        st.binary(max_size=3),
    ),
    st.one_of(
        st.sampled_from([b"200", b"5", b"5", b"trailers", b" a", b"a\t", b"", b"a\x01", b"a\x7f"]),
        st.sampled_from([b"a\r\nb: c", b"a\r\nb: \0c", b"\r\n", b"chunked", b"1\n", b"\0"]),
        st.binary(max_size=4),
    ),
)
_fields = st.builds(
    lambda fields, odd, place: fields[:place] + odd + fields[place:],
    st.lists(_good, max_size=5),
    st.lists(_odd, max_size=2),
    st.integers(0, 5),
)
_front = st.sampled_from(
    [[(b":status", value)] for value in (b"200", b"204", b"103", b"999", b"404", b"200", b"200")]
    + [[(b":status", value)] for value in (b"101", b"20x", b"99")]
    + [[], [OK, OK]]
)
_responses = st.builds(lambda front, fields: front + fields, _front, _fields)

_RESPONSE = HeaderValidationFlags(
    is_client=True, is_trailer=False, is_response_header=True, is_push_promise=False
)
_REQUEST = HeaderValidationFlags(
    is_client=False, is_trailer=False, is_response_header=False, is_push_promise=False
)
_TRAILER = HeaderValidationFlags(
    is_client=True, is_trailer=True, is_response_header=False, is_push_promise=False
)

#: What is refused though h2 lets it pass, and why.
STRICTER: list[tuple[str, Callable[[Sequence[Field]], bool], str]] = [
    (
        "invalid name",
        lambda fields: any(
            re.search(rb'[\x00-\x20"(),/:;<=>?@\[\\\]{}\x7f-\xff]', name) for name, _ in fields
        ),
        "h2 checks the minimum of section 8.2.1 and, before 4.2, little of that; a name is a token "
        "(RFC 9110 section 5.1)",
    ),
    (
        "invalid value",
        lambda fields: any(re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value) for _, value in fields),
        "controls have no place in a value (RFC 9110 section 5.5)",
    ),
    (
        "the field te has no place",
        lambda fields: (b"te", b"trailers") in fields,
        "TE is for requests (section 8.2.2)",
    ),
    (
        "invalid content-length|content-length may not stand in a trailer",
        lambda fields: any(name == b"content-length" for name, _ in fields),
        "h2 judges Content-Length elsewhere, and lets it stand in trailers",
    ),
    (
        "invalid :status",
        lambda fields: re.fullmatch(rb"[2-9][0-9]{2}|10[02-9]|1[1-9][0-9]", fields[0][1]) is None,
        "h2 takes any value",
    ),
    (
        "no :status in front|pseudo-field",
        lambda fields: any(name == b":protocol" for name, _ in fields),
        "h2 lets a :protocol stand in responses",
    ),
]


def agrees(fields: Sequence[Field], flags: HeaderValidationFlags) -> bool:
    """Whether h2 finds nothing malformed."""
    try:
        list(validate_headers(fields, flags))
    except ProtocolError:
        return False
    return True


def without(name: bytes, fields: Iterable[Field]) -> list[Field]:
    """The fields of other names, as plain pairs."""
    return [(other, value) for other, value in fields if other != name]


def joined_cookie(fields: Iterable[Field]) -> bytes:
    """What RFC 9113 section 8.2.3 has a recipient make of all Cookie fields."""
    return b"; ".join(value for name, value in fields if name == b"cookie")


class GeneratedTests(SynchronousTestCase):
    """Generated heads, against our own HTTP/1.1 parser and h2."""

    @quick
    @given(_methods, _targets, _lines)
    def test_requests(self, method: bytes, target: bytes, lines: list[Field]) -> None:
        """Any request arrives with the fields it came with, in lower case, and h2 finds nothing
        wrong with it."""
        block = b"".join(b"%b:%b\r\n" % line for line in lines)
        sent = request_fields(request(block, b"%b %b HTTP/1.1" % (method, target)), b"")
        self.assertEqual(
            [tuple(field) for field in sent[:4]],
            [
                (b":method", method),
                (b":scheme", b"https"),
                (b":authority", b"a.test"),
                (b":path", target),
            ],
        )
        expected = [
            (name.lower(), value.strip(b" \t"))
            for name, value in lines
            if name.lower() not in HOP_BY_HOP
        ]
        if (b"TE", b"trailers") in lines:
            expected.append((b"te", b"trailers"))
        self.assertEqual(without(b"cookie", sent[4:]), without(b"cookie", expected))
        self.assertEqual(joined_cookie(sent), joined_cookie(expected))
        self.assertTrue(agrees(sent, _REQUEST))
        secret = [field for field in sent if isinstance(field, NeverIndexedHeaderTuple)]
        self.assertTrue({name for name, _ in secret} <= {b"authorization", b"cookie"})

    @settings(quick, max_examples=600)
    @given(_responses)
    def test_responses(self, fields: list[Field]) -> None:
        """Any response is refused, or HTTP/1.1 reads the same names and values, no more and no
        less, and h2 finds nothing wrong with it."""
        try:
            head = response_head(fields)
        except MessageError as error:
            self.assert_refused_rightly(fields, _RESPONSE, error)
            return
        self.assertTrue(agrees(fields, _RESPONSE), fields)
        self.assertEqual(b"%d" % head.status, fields[0][1])
        data = b"HTTP/1.1 %d%b\r\n%b\r\n" % (head.status, head.reason, head.fields)
        self.assertEqual(data.find(b"\r\n\r\n"), len(data) - 4)
        parsed = parse_response_head(data, len(data))
        # Nothing was hop-by-hop, so the parser has cut nothing out.
        self.assertEqual(parsed.fields, head.fields)
        self.assertEqual(trailer_fields(parsed.fields), fields[1:])
        self.assertEqual(
            (parsed.status, parsed.content_length, parsed.chunked, parsed.close, parsed.upgrade),
            (head.status, head.content_length, False, False, None),
        )

    @quick
    @given(_fields)
    def test_trailers(self, fields: list[Field]) -> None:
        """The same of trailers."""
        try:
            lines = trailer_lines(fields)
        except MessageError as error:
            self.assert_refused_rightly(fields, _TRAILER, error)
            return
        self.assertTrue(agrees(fields, _TRAILER), fields)
        self.assertEqual(lines.count(b"\n"), len(fields))
        self.assertEqual(trailer_fields(lines), fields)

    def assert_refused_rightly(
        self, fields: Sequence[Field], flags: HeaderValidationFlags, error: MessageError
    ) -> None:
        """h2 refuses it too, or we know why it does not."""
        if agrees(fields, flags) and not any(
            re.search(text, error.text) and may(fields) for text, may, _ in STRICTER
        ):
            self.fail(f"h2 lets {fields!r} pass: {error.text}")
