"""A script's response becomes HTTP/1.1: its framing, whatever it says and however it comes."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.response import ScriptResponse
from fastcar_tw.http.body import ChunkedReader
from fastcar_tw.http.errors import MessageError

OWN = b"Date: now\r\n"


class Taken(NamedTuple):
    """What a client was sent, taken apart."""

    line: bytes
    fields: list[bytes]
    body: bytes


def taken(response: ScriptResponse, *pieces: bytes, at_once: bool = False) -> Taken:
    """Feed pieces, and take what there is after each one, or only after the last."""
    out = b""
    for piece in pieces:
        response.feed(piece)
        if response.head is not None and not at_once:
            out += response.take(b"" if response.begun else OWN)
    response.end()
    out += response.take(b"" if response.begun else OWN)
    head, _, body = out.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    return Taken(line, fields, body)


def unchunked(body: bytes) -> bytes:
    """The content of a chunked body that is whole."""
    reader = ChunkedReader()
    content = reader.feed(body)
    assert reader.finished and not reader.leftover
    return content


class FramingTests(SynchronousTestCase):
    """How the client learns where the response ends."""

    def response(self, version: int = 11, head_only: bool = False) -> ScriptResponse:
        return ScriptResponse(version, head_only)

    def test_whole(self) -> None:
        """A response that is complete before its head was taken is told its length."""
        for version in (10, 11):
            got = taken(self.response(version), b"A: b\r\n\r\nhello", at_once=True)
            self.assertEqual(got.line, b"HTTP/1.1 200 OK")
            self.assertEqual(got.fields, [b"A: b", b"Date: now", b"Content-Length: 5"])
            self.assertEqual(got.body, b"hello")

    def test_empty(self) -> None:
        """So is one without a body."""
        got = taken(self.response(), b"A: b\r\n\r\n", at_once=True)
        self.assertEqual(got.fields, [b"A: b", b"Date: now", b"Content-Length: 0"])
        self.assertEqual(got.body, b"")

    def test_chunked(self) -> None:
        """One that is not complete when its head is taken is chunked."""
        got = taken(self.response(), b"A: b\r\n\r\nhel", b"lo")
        self.assertEqual(got.fields, [b"A: b", b"Date: now", b"Transfer-Encoding: chunked"])
        self.assertEqual(got.body, b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")

    def test_chunked_head_first(self) -> None:
        """A head that is taken alone makes no empty chunk, which would be the last."""
        response = self.response()
        response.feed(b"A: b\r\n\r\n")
        self.assertTrue(response.take(b"").endswith(b"Transfer-Encoding: chunked\r\n\r\n"))
        self.assertEqual(response.take(b""), b"")
        response.end()
        self.assertEqual(response.take(b""), b"0\r\n\r\n")

    def test_close_delimited(self) -> None:
        """To HTTP/1.0 such a body is sent as it is, and ends with the connection."""
        response = self.response(10)
        response.feed(b"A: b\r\n\r\nhel")
        self.assertTrue(response.take(b"").endswith(b"A: b\r\n\r\nhel"))
        response.feed(b"lo")
        response.end()
        self.assertEqual(response.take(b""), b"lo")

    def test_declared(self) -> None:
        """The length that the script has told stands, once, and the body is sent as it is."""
        for version in (10, 11):
            got = taken(self.response(version), b"Content-Length: 5\r\n\r\nhel", b"lo")
            self.assertEqual(got.fields, [b"Content-Length: 5", b"Date: now"])
            self.assertEqual(got.body, b"hello")

    def test_too_long(self) -> None:
        """What exceeds that length is left out, and noticed."""
        for pieces in ((b"hello!",), (b"hello", b"!"), (b"hel", b"lo!!", b"!")):
            response = self.response()
            got = taken(response, b"Content-Length: 5\r\n\r\n", *pieces)
            self.assertEqual(got.body, b"hello")
            self.assertTrue(response.excess)

    def test_as_long(self) -> None:
        """Exactly that length is no excess."""
        response = self.response()
        taken(response, b"Content-Length: 5\r\n\r\nhello")
        self.assertFalse(response.excess)

    def test_too_short(self) -> None:
        """A body that ends before is an error, which says how much is missing."""
        response = self.response()
        response.feed(b"Content-Length: 5\r\n\r\nhi")
        with self.assertRaises(MessageError) as caught:
            response.end()
        self.assertIn("3 bytes", caught.exception.text)

    def test_head(self) -> None:
        """The answer to HEAD has the script's fields and no body, without anything being wrong."""
        response = self.response(head_only=True)
        got = taken(response, b"Content-Length: 5\r\n\r\nhello")
        self.assertEqual(got.fields, [b"Content-Length: 5", b"Date: now"])
        self.assertEqual(got.body, b"")
        self.assertFalse(response.excess)

    def test_head_without_body(self) -> None:
        """The length it tells is that of a GET, so a HEAD may leave the body out."""
        got = taken(self.response(head_only=True), b"Content-Length: 5\r\n\r\n")
        self.assertEqual(got.fields, [b"Content-Length: 5", b"Date: now"])

    def test_head_unknown(self) -> None:
        """What a HEAD's script does not say of the length is not made up."""
        for at_once in (False, True):
            response = self.response(head_only=True)
            got = taken(response, b"A: b\r\n\r\nhello", at_once=at_once)
            self.assertEqual(got.fields, [b"A: b", b"Date: now"])
            self.assertEqual(got.body, b"")

    def test_bodiless(self) -> None:
        """204 and 304 have neither a body nor a length of ours; a body there is noticed."""
        for status, line in ((b"204", b"204 No Content"), (b"304", b"304 Not Modified")):
            for body in (b"", b"hello"):
                response = self.response()
                got = taken(response, b"Status: %b\r\n\r\n" % status, body)
                self.assertEqual(got.line, b"HTTP/1.1 " + line)
                self.assertEqual(got.fields, [b"Date: now"])
                self.assertEqual(got.body, b"")
                self.assertEqual(response.excess, bool(body))

    def test_no_content_length(self) -> None:
        """204 has no Content-Length; that of a 304 is the length of the page (RFC 9110 8.6)."""
        for status, fields in (
            (b"204 None", [b"Date: now"]),
            (b"304 Same", [b"Content-Length: 5", b"Date: now"]),
        ):
            head = b"Status: %b\r\nContent-Length: 5\r\n\r\n" % status
            self.assertEqual(taken(self.response(), head).fields, fields)

    def test_nothing(self) -> None:
        """No head is no response."""
        for written, what in ((b"", "nothing"), (b"A: b\r\n", "only a part of a head")):
            response = self.response()
            response.feed(written)
            self.assertIsNone(response.head)
            with self.assertRaises(MessageError) as caught:
                response.end()
            self.assertIn(what, caught.exception.text)

    def test_malformed(self) -> None:
        """A malformed head is told as soon as it has come."""
        with self.assertRaises(MessageError):
            self.response().feed(b"no field\r\n\r\n")


#: Responses of every framing, with the content that is to arrive.
RESPONSES = (
    (b"A: b\r\n\r\nhello", b"hello"),
    (b"A: b\n\nhello", b"hello"),
    (b"Content-Length: 5\r\n\r\nhello", b"hello"),
    (b"Status: 404 Not Here\r\nA: b\r\n\r\n\r\n\r\n\n\n", b"\r\n\r\n\n\n"),
    (b"Status: 204\r\n\r\n", b""),
    (b"A: b\r\n\r\n", b""),
)


class CutTests(SynchronousTestCase):
    """A response that comes in pieces."""

    def content(self, version: int, head_only: bool, pieces: list[bytes]) -> tuple[bytes, bytes]:
        got = taken(ScriptResponse(version, head_only), *pieces)
        chunked = b"Transfer-Encoding: chunked" in got.fields
        return got.line, unchunked(got.body) if chunked else got.body

    def test_every_byte(self) -> None:
        """Wherever it is cut, and cut everywhere, the same content arrives."""
        for written, content in RESPONSES:
            line, _ = self.content(11, False, [written])
            bytewise = [written[at : at + 1] for at in range(len(written))]
            cuts = [[written[:at], written[at:]] for at in range(1, len(written))]
            for pieces in (bytewise, *cuts):
                for version in (10, 11):
                    self.assertEqual(self.content(version, False, pieces), (line, content))
                self.assertEqual(self.content(11, True, pieces), (line, b""))

    @given(st.lists(st.binary(min_size=1, max_size=50), max_size=10))
    def test_any_content(self, pieces: list[bytes]) -> None:
        """Whatever the body is, it arrives unchanged."""
        content = b"".join(pieces)
        for head in (b"A: b\r\n\r\n", b"Content-Length: %d\r\n\r\n" % len(content)):
            for version in (10, 11):
                self.assertEqual(self.content(version, False, [head, *pieces])[1], content)
