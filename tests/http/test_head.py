"""What heads mean: persistence, limits, and the fields that concern an intermediary."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.head import (
    MAX_FORWARDS,
    MAX_HEAD,
    MAX_TARGET,
    check_request_line,
    find_head_end,
    parse_request_head,
)

from .driver import bytewise, read_request, read_response
from .shapes import BAD_REQUESTS, BAD_RESPONSES
from .test_fields import HOST, request, response


class RequestLineTests(SynchronousTestCase):
    """The first line of a head that has not ended."""

    def test_judged_once(self) -> None:
        """It is judged with the read that completes it, and not again."""
        line = b"GET / HTTP/1.1\r\n"
        for size in range(len(line)):
            self.assertFalse(check_request_line(line[:size], max(0, size - 1)))
        self.assertTrue(check_request_line(line, len(line) - 1))
        self.assertTrue(check_request_line(line + b"A: b", 0))

    def test_wrong(self) -> None:
        """One that is wrong is refused before the head has ended."""
        for line in (b"PING\r\n", b"*1\r\n", b"GET /\r\nA", b"SSH-2.0-x\r\n"):
            for searched in range(line.index(b"\r") + 2):
                self.assertRaises(MessageError, check_request_line, line, searched)


class PersistenceTests(SynchronousTestCase):
    """RFC 9112 section 9.3."""

    def test_requests(self) -> None:
        """HTTP/1.1 persists unless it says close; HTTP/1.0 never does."""
        for line, lines, close in [
            (b"GET / HTTP/1.1", b"", False),
            (b"GET / HTTP/1.1", b"Connection: keep-alive\r\n", False),
            (b"GET / HTTP/1.1", b"Connection: CLOSE\r\n", True),
            (b"GET / HTTP/1.1", b"Connection: foo ,close\t\r\n", True),
            (b"GET / HTTP/1.1", b"Connection: close\r\nConnection: keep-alive\r\n", True),
            (b"GET / HTTP/1.1", b"Connection: closed\r\n", False),
            (b"GET / HTTP/1.1", b"Proxy-Connection: close\r\n", False),
            (b"GET / HTTP/1.9", b"", False),
            (b"GET / HTTP/1.0", b"", True),
            (b"GET / HTTP/1.0", b"Connection: keep-alive\r\n", True),
        ]:
            self.assertEqual((line, lines, request(lines, line).close), (line, lines, close))

    def test_responses(self) -> None:
        """HTTP/1.0 persists only with keep-alive, and close always wins."""
        for line, lines, close in [
            (b"HTTP/1.1 200 OK", b"", False),
            (b"HTTP/1.1 200 OK", b"Connection: close\r\n", True),
            (b"HTTP/1.1 200 OK", b"Connection: a\r\nConnection: b, Close\r\n", True),
            (b"HTTP/1.0 200 OK", b"", True),
            (b"HTTP/1.0 200 OK", b"Connection: Keep-Alive\r\n", False),
            (b"HTTP/1.0 200 OK", b"Keep-Alive: timeout=5\r\n", True),
            (b"HTTP/1.0 200 OK", b"Connection: keep-alive\r\nConnection: close\r\n", True),
            (b"HTTP/1.0 200 OK", b"Connection: close\r\nConnection: keep-alive\r\n", True),
        ]:
            self.assertEqual((line, lines, response(lines, line).close), (line, lines, close))


class KeepAliveTests(SynchronousTestCase):
    """The Keep-Alive field of a response, which is understood elsewhere."""

    def test_absent(self) -> None:
        """Usually there is none."""
        self.assertIsNone(response(b"Connection: keep-alive\r\n").keep_alive)

    def test_present(self) -> None:
        """Its value is kept, and the field is not passed on (RFC 9110 section 7.6.1)."""
        head = response(b"A: 1\r\nkeep-alive:  timeout=5 \r\nB: 2\r\n")
        self.assertEqual((head.keep_alive, head.fields), (b"timeout=5", b"A: 1\r\nB: 2\r\n"))

    def test_repeated(self) -> None:
        """The values of several are joined (RFC 9110 section 5.2)."""
        head = response(b"Keep-Alive: timeout=5\r\nA: 1\r\nKeep-Alive: max=3\r\n")
        self.assertEqual((head.keep_alive, head.fields), (b"timeout=5, max=3", b"A: 1\r\n"))


class RequestTests(SynchronousTestCase):
    """What a request head says."""

    def test_versions(self) -> None:
        """HTTP/1.0 is told from all later minor versions (RFC 9110 section 6.2)."""
        for minor, version in [(0, 10), (1, 11), (2, 11), (9, 11)]:
            self.assertEqual(request(b"", b"GET / HTTP/1.%d" % minor).version, version)

    def test_framing(self) -> None:
        """Length and coding are told apart from their absence (RFC 9112 section 6.3)."""
        for lines, length, chunked in [
            (b"", None, False),
            (b"Content-Length: 0\r\n", 0, False),
            (b"Content-Length: 007\r\n", 7, False),
            (b"Content-Length: 999999999999999999\r\n", 10**18 - 1, False),
            (b"Transfer-Encoding: Chunked\r\n", None, True),
        ]:
            for head in (request(lines), response(lines)):
                self.assertEqual((head.content_length, head.chunked), (length, chunked))

    def test_content_length_is_passed_on(self) -> None:
        """A length goes on, a coding does not: it is for the next connection to choose."""
        self.assertEqual(request(b"Content-Length: 7\r\n").fields, HOST + b"Content-Length: 7\r\n")
        self.assertEqual(request(b"Transfer-Encoding: chunked\r\n").fields, HOST)

    def test_methods(self) -> None:
        """Any token is a method, however long (RFC 9110 section 9.1)."""
        for method in (b"GET", b"PROPFIND", b"get", b"M-SEARCH", b"!#$%&'*+-.^_`|~0", b"X" * 9000):
            self.assertEqual(request(b"", method + b" / HTTP/1.1").method, method)

    def test_expect(self) -> None:
        """Expect is passed on for HTTP/1.1, ignored in HTTP/1.0 (RFC 9110 section 10.1.1)."""
        lines = b"A: 1\r\nExpect: 100-continue\r\nB: 2\r\n"
        self.assertEqual(request(lines).fields, HOST + lines)
        head = request(lines, b"POST / HTTP/1.0")
        self.assertEqual(head.fields, HOST + b"A: 1\r\nB: 2\r\n")

    def test_idempotency_key(self) -> None:
        """An Idempotency-Key counts if it is passed on."""
        key = b"idempotency-key: x\r\n"
        self.assertFalse(request(b"").idempotency_key)
        self.assertTrue(request(key).idempotency_key)
        for lines in (
            b"Connection: Idempotency-Key\r\n" + key,
            key + b"Connection: idempotency-key\r\n",
        ):
            head = request(lines)
            self.assertEqual((head.idempotency_key, head.fields), (False, HOST))

    def test_connection_auth(self) -> None:
        """Credentials for a connection, NTLM and Negotiate before all, are told from those of a
        request (RFC 4559 section 6)."""
        for value, expected in [
            (b"NTLM TlRMTVNTUAAB", True),
            (b"negotiate YII", True),
            (b"Nego2 YII", True),
            (b"Kerberos YII", True),
            (b"CredSSP YII", True),
            (b"\t NTLM x", True),
            (b"Basic TlRMTQ==", False),
            (b"Basic TlRMTQ==\r\nAuthorization:ntlm x", True),
            (b"Bearer negotiate", False),
            (b'Digest username="ntlm", realm="a"', False),
        ]:
            lines = b"Authorization: %b\r\n" % value
            head = request(lines)
            self.assertEqual((value, head.connection_auth), (value, expected))
            self.assertEqual(head.fields, HOST + lines)


class MaxForwardsTests(SynchronousTestCase):
    """RFC 9110 section 7.6.2."""

    def forwards(self, method: bytes, value: bytes) -> tuple[int | None, bytes]:
        """Hops left, and what goes on."""
        head = request(b"A: 1\r\nmax-forwards: %b\r\nB: 2\r\n" % value, method + b" / HTTP/1.1")
        self.assertTrue(head.fields.startswith(HOST + b"A: 1\r\n"))
        return head.max_forwards, head.fields[len(HOST) + 6 :]

    def test_decremented(self) -> None:
        """The next hop of a TRACE or OPTIONS gets one less."""
        for method in (b"TRACE", b"OPTIONS"):
            for value, hops, left in [(b"5", 5, 4), (b"1", 1, 0), (b"007", 7, 6)]:
                expected = b"B: 2\r\nMax-Forwards: %d\r\n" % left
                self.assertEqual(self.forwards(method, value), (hops, expected))

    def test_zero(self) -> None:
        """Zero, however written, ends here."""
        for value in (b"0", b"000", b"0" * 30):
            self.assertEqual(self.forwards(b"TRACE", value)[0], 0)

    def test_huge(self) -> None:
        """A number too large to be meant is lowered."""
        for value in (b"9" * 10, b"9" * 30, b"1" * 5000):
            lines = b"B: 2\r\nMax-Forwards: %d\r\n" % (MAX_FORWARDS - 1)
            self.assertEqual(self.forwards(b"OPTIONS", value), (MAX_FORWARDS, lines))

    def test_other_methods(self) -> None:
        """With other methods it passes, whatever it says; where it is absent none is made."""
        for value in (b"5", b"0", b"x", b""):
            hops, lines = self.forwards(b"GET", value)
            self.assertEqual((hops, lines), (None, b"max-forwards: %b\r\nB: 2\r\n" % value))
        self.assertEqual(request(b"", b"OPTIONS * HTTP/1.1").fields, HOST)

    def test_invalid(self) -> None:
        """With TRACE and OPTIONS it must be one number."""
        for value in (b"", b"-1", b"+1", b"1.0", b"x", b"1, 1", b"\xb2", b"1_0"):
            self.assertRaises(MessageError, self.forwards, b"TRACE", value)


class LimitTests(SynchronousTestCase):
    """RFC 9112 section 3, RFC 9110 section 5.4: what is too large is refused, at its exact size."""

    def padded(self, size: int) -> bytes:
        """A request head of so many bytes."""
        start = b"GET / HTTP/1.1\r\n" + HOST + b"X: "
        return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"

    def test_largest_head(self) -> None:
        """A head of exactly the limit passes, whole and in pieces, whatever comes behind it."""
        data = self.padded(MAX_HEAD)
        self.assertEqual(len(data), MAX_HEAD)
        for pieces in ([data], bytewise(data), [data + b"x" * MAX_HEAD]):
            self.assertIsNotNone(read_request(pieces).head)

    def test_head_one_byte_larger(self) -> None:
        """One byte more is a 431, whole and in pieces."""
        data = self.padded(MAX_HEAD + 1)
        for pieces in ([data], bytewise(data), [data + b"x"]):
            error = self.assertRaises(MessageError, read_request, pieces)
            self.assertEqual(error.status, 431)

    def test_head_that_does_not_end(self) -> None:
        """A head is refused when it can no longer end within the limit, not before."""
        data = self.padded(MAX_HEAD + 1)
        self.assertEqual(find_head_end(data[: MAX_HEAD - 1], 0), -1)
        self.assertRaises(MessageError, find_head_end, data[:MAX_HEAD], 0)

    def test_longest_target(self) -> None:
        """A target of exactly the limit passes; one byte more is a 414."""
        for size in (8000, MAX_TARGET):
            target = b"/" + b"t" * (size - 1)
            self.assertEqual(request(b"", b"GET " + target + b" HTTP/1.1").target, target)
        error = self.assertRaises(
            MessageError, request, b"", b"GET /" + b"t" * MAX_TARGET + b" HTTP/1.1"
        )
        self.assertEqual(error.status, 414)

    def test_response_too_large(self) -> None:
        """Responses have the same limit."""
        data = b"HTTP/1.1 204 X\r\nA: %b\r\n\r\n"
        full = data % (b"a" * (MAX_HEAD - len(data) + 2))
        self.assertEqual(len(full), MAX_HEAD)
        self.assertIsNotNone(read_response([full]).head)
        self.assertRaises(MessageError, read_response, [data % (b"a" * (MAX_HEAD - len(data) + 3))])


class FindHeadEndTests(SynchronousTestCase):
    """Where a head ends."""

    def test_every_split(self) -> None:
        """However a head arrives, its end is found when its last byte is there, and not before."""
        data = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
        for searched in range(len(data)):
            for size in range(searched, len(data)):
                self.assertEqual(find_head_end(data[:size], searched), -1)
            self.assertEqual(find_head_end(data + b"\r\n\r\n", searched), len(data))
            self.assertEqual(find_head_end(bytearray(data), searched), len(data))

    def test_broken_line_is_told_at_once(self) -> None:
        """A line end that is none is refused before the head is complete (RFC 9112 section 2.2)."""
        for data in (b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\rX", b"A: b\r\n\n", b"\x00", b"\n"):
            for searched in range(len(data)):
                self.assertRaises(MessageError, find_head_end, data, searched)

    def test_carriage_return_may_wait_for_its_line_feed(self) -> None:
        """A CR at the end of what has arrived is not yet wrong."""
        self.assertEqual(find_head_end(b"GET / HTTP/1.1\r", 0), -1)
        self.assertEqual(find_head_end(b"GET / HTTP/1.1\r\n", 15), -1)
        self.assertRaises(MessageError, find_head_end, b"GET / HTTP/1.1\r\r", 15)


class TextTests(SynchronousTestCase):
    """What an error says."""

    def test_no_secret(self) -> None:
        """No text quotes what a peer sent: any of it may be a secret."""
        secret = b"S3kr3t"
        heads = [
            b"GET /?%b x HTTP/1.1\r\n\r\n",
            b"GET http://u:%b@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET http://a.test/#%b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: u:%b@a.test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie : %b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: \x01%b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: x\r\n %b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\n%b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: %b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: host, %b\r\n\r\n",
            b"TRACE / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: %b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: %b\n\r\n",
        ]
        for head in heads:
            error = self.assertRaises(MessageError, read_request, [head % secret])
            self.assertNotIn("s3kr3t", error.text.lower())

    def test_one_line(self) -> None:
        """Every text is one printable line of moderate length, whatever was sent."""
        for shape in BAD_REQUESTS:
            error = self.assertRaises(MessageError, read_request, [shape.data])
            self.assertTrue(error.text.isprintable() and 0 < len(error.text) < 100, error.text)
        for shape in BAD_RESPONSES:
            error = self.assertRaises(MessageError, read_response, [shape.data])
            self.assertTrue(error.text.isprintable() and 0 < len(error.text) < 100, error.text)

    def test_bad_line_is_located(self) -> None:
        """The line that is wrong is counted from the first field."""
        for lines, text in [
            (b"A: b\r\nbad\r\nC: d\r\n", "field line 3 is invalid: expected name: value"),
            (b"A: b\r\n\tc\r\n", "field line 3 is folded over several lines"),
        ]:
            self.assertEqual(self.assertRaises(MessageError, request, lines).text, text)

    def test_versions_are_named(self) -> None:
        """A 505 says which versions are supported (RFC 9110 section 15.6.6)."""
        data = b"GET / HTTP/2.0\r\n\r\n"
        error = self.assertRaises(MessageError, parse_request_head, data, len(data))
        self.assertEqual((error.status, error.text), (505, "expected HTTP/1.0 or HTTP/1.1"))
