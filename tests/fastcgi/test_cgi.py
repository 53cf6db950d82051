"""What a CGI response says, and what of it is passed on (RFC 3875 section 6)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.cgi import CGIHead, find_cgi_head_end, parse_cgi_head
from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.head import MAX_HEAD

#: What PHP adds to everything.
PHP = b"X-Powered-By: PHP/8.2.35\r\nContent-type: text/html; charset=UTF-8\r\n"


def parse(lines: bytes) -> CGIHead:
    """Parse a head of these lines."""
    data = lines + b"\r\n"
    end = find_cgi_head_end(data + b"<p>\n\r\n\n\r\n\r\n", 0)
    assert end == len(data)
    return parse_cgi_head(data + b"<p>", end)


class HeadEndTests(SynchronousTestCase):
    """Where a head ends."""

    def test_line_ends(self) -> None:
        """The first empty line ends it, whatever comes behind it."""
        for head in (b"A: b\r\n\r\n", b"A: b\n\n", b"A: b\n\r\n", b"A: b\r\n\n"):
            for body in (b"", b"x", b"\n", b"\n\n", b"\r\n\r\n", b"\n\r\nx\n\n"):
                self.assertEqual(find_cgi_head_end(head + body, 0), len(head))

    def test_bytewise(self) -> None:
        """It is found however the head is divided, and only when it is complete."""
        for head in (b"A: b\r\nC: d\r\n\r\n", b"A: b\nC: d\n\n", b"A: b\nC: d\n\r\n"):
            for size in range(len(head)):
                self.assertEqual(find_cgi_head_end(head[:size], max(0, size - 1)), -1)
                self.assertEqual(find_cgi_head_end(head + b"\n\r\n", size), len(head))

    def test_limit(self) -> None:
        """A head may have 64 KiB, and no more is waited for."""
        lines = b"A: " + b"x" * (MAX_HEAD - 7)
        for exact in (lines + b"\r\n\r\n", lines + b"xx\n\n"):
            self.assertEqual(find_cgi_head_end(exact + b"x", 0), MAX_HEAD)
            self.assertRaises(MessageError, find_cgi_head_end, b"x" + exact, 0)
        self.assertEqual(find_cgi_head_end(b"x" * (MAX_HEAD - 1), 0), -1)
        self.assertRaises(MessageError, find_cgi_head_end, b"x" * MAX_HEAD, MAX_HEAD - 1)


class LineTests(SynchronousTestCase):
    """What the lines may be."""

    def test_invalid(self) -> None:
        """What HTTP/1.1 does not allow is refused: it would be passed on."""
        for lines in (
            b"Content-type text/html\r\n",
            b"HTTP/1.1 200 OK\r\nContent-type: text/html\r\n",
            b"Content-type : text/html\r\n",
            b" Content-type: text/html\r\n",
            b"A: b\r\n folded\r\n",
            b"A: b\n\tfolded\r\n",
            b": b\r\n",
            b"A: b\rSet-Cookie: c\r\n",
            b"A: b\r\r\n",
            b"A: b\0\r\n",
            b"A: b\x1b\r\n",
            b"<br />\n<b>Warning</b>: x\r\n",
        ):
            self.assertRaises(MessageError, parse, lines)

    def test_no_field(self) -> None:
        """One field at least is needed (section 6.2), so a head does not end before it."""
        self.assertEqual(find_cgi_head_end(b"\r\n", 0), -1)
        for data in (b"\n\n", b"\n\r\n", b"\r\n\r\n", b"\r\n\n"):
            self.assertEqual(find_cgi_head_end(data + b"A: b\r\n\r\n", 0), len(data))
            self.assertRaises(MessageError, parse_cgi_head, data, len(data))

    def test_lf(self) -> None:
        """Lines that end in LF are passed on with CRLF, mixed ones too."""
        for data in (b"A: b\nStatus: 404\nC: d\n\n", b"A: b\nStatus: 404\r\nC: d\r\n\n"):
            head = parse_cgi_head(data + b"\n\n", find_cgi_head_end(data, 0))
            self.assertEqual((head.status, head.fields), (404, b"A: b\r\nC: d\r\n"))

    def test_passed_on(self) -> None:
        """Fields keep their order, number and case."""
        lines = (
            PHP + b"Set-Cookie: a=1\r\nVary: *\r\nset-cookie: b=2\r\nSet-Cookie: a=1\r\nX:\xff\r\n"
        )
        head = parse(lines)
        self.assertEqual((head.status, head.reason, head.fields), (200, b" OK", lines))
        self.assertEqual((head.content_length, head.has_date), (None, False))
        self.assertEqual((head.local_redirect, head.sendfile, head.accel), (None, None, None))


class StatusTests(SynchronousTestCase):
    """Section 6.3.3."""

    def test_given(self) -> None:
        """It may stand anywhere, and is not passed on; a missing reason phrase is added."""
        for value, status, reason in [
            (b" 404 Not Found", 404, b" Not Found"),
            (b"404", 404, b" Not Found"),
            (b" 404 ", 404, b" Not Found"),
            (b"\t201  Made, at last \t", 201, b" Made, at last"),
            (b" 500 \xff", 500, b" \xff"),
            (b" 299", 299, b" "),
            (b" 599", 599, b" "),
            (b" 200 OK", 200, b" OK"),
        ]:
            for lines in (b"status:%b\r\n" + PHP, PHP + b"STATUS:%b\r\n"):
                head = parse(lines.replace(b"%b", value))
                self.assertEqual((head.status, head.reason, head.fields), (status, reason, PHP))

    def test_invalid(self) -> None:
        """It is a final status of HTTP."""
        for value in (
            b"",
            b"100 Continue",
            b"103",
            b"600",
            b"999",
            b"20",
            b"2000",
            b"200OK",
            b"-200",
            b"HTTP/1.1 200 OK",
            b"OK",
        ):
            self.assertRaises(MessageError, parse, b"Status: %b\r\n%b" % (value, PHP))

    def test_repeated(self) -> None:
        """Twice the same is once, two different ones are refused."""
        line = b"Status: 404 Not Found\r\n"
        self.assertEqual(parse(line + PHP + b"status:404 Not Found \r\n").status, 404)
        for other in (b"Status: 200 OK\r\n", b"Status: 404\r\n", b"Status:\r\n"):
            self.assertRaises(MessageError, parse, line + PHP + other)


class LocationTests(SynchronousTestCase):
    """Sections 6.2.2 to 6.2.4."""

    def test_with_status(self) -> None:
        """With a Status, which PHP nearly always gives, it is a field like any other."""
        for location in (b"/a", b"https://a.test/", b"a"):
            lines = b"Location: %b\r\n" % location
            for status in (200, 201, 303):
                head = parse(b"Status: %d\r\n" % status + lines)
                self.assertEqual((head.status, head.fields), (status, lines))
                self.assertIsNone(head.local_redirect)

    def test_absolute(self) -> None:
        """Without one, it redirects the client."""
        for location in (b"https://a.test/", b"//a.test/", b"a", b"/a b", b"/a#b"):
            lines = PHP + b"Location: %b\r\n" % location
            head = parse(lines)
            self.assertEqual((head.status, head.reason, head.fields), (302, b" Found", lines))
            self.assertIsNone(head.local_redirect)

    def test_local(self) -> None:
        """A path is a redirection to be made here, and stays one that a client can follow."""
        for lines in (b"", PHP):
            head = parse(b"Location: /a?b \r\n" + lines)
            self.assertEqual((head.local_redirect, head.status), (b"/a?b", 302))
            self.assertEqual(head.fields, b"Location: /a?b \r\n" + lines)

    def test_local_loses_nothing(self) -> None:
        """With any field that is not PHP's own, a path redirects the client."""
        for line in (b"Set-Cookie: a=b\r\n", b"Cache-Control: no-store\r\n", b"Location: /b\r\n"):
            head = parse(PHP + b"Location: /a\r\n" + line)
            self.assertEqual((head.local_redirect, head.status), (None, 302))
            self.assertIn(line, head.fields)

    def test_empty(self) -> None:
        """An empty one leads nowhere."""
        head = parse(PHP + b"Location:\r\n")
        self.assertEqual((head.local_redirect, head.status), (None, 200))


class LengthTests(SynchronousTestCase):
    """Content-Length."""

    def test_valid(self) -> None:
        """It is told, and passed on."""
        for value, length in [(b"0", 0), (b" 007 ", 7), (b"9" * 18, 10**18 - 1)]:
            lines = PHP + b"content-length:%b\r\n" % value
            head = parse(lines)
            self.assertEqual((head.content_length, head.fields), (length, lines))

    def test_invalid(self) -> None:
        """It is one decimal number."""
        for value in (b"", b"-1", b"+1", b"1.0", b"0x1", b"1, 1", b"1 1", b"1" * 19):
            self.assertRaises(MessageError, parse, b"Content-Length: %b\r\n" % value)
        self.assertRaises(MessageError, parse, b"Content-Length: 1\r\ncontent-length: 1\r\n")

    def test_no_content(self) -> None:
        """A 204 has no length (RFC 9110 section 8.6); a 304 may have that of its 200."""
        head = parse(b"Content-Length: 7\r\nStatus: 204\r\n" + PHP)
        self.assertEqual((head.content_length, head.fields), (None, PHP))
        head = parse(b"Content-Length: 7\r\nStatus: 304\r\n")
        self.assertEqual((head.content_length, head.fields), (7, b"Content-Length: 7\r\n"))


class CutTests(SynchronousTestCase):
    """What is not for the client."""

    def test_hop_by_hop(self) -> None:
        """What is about a connection is not the script's to say (section 6.3.4)."""
        for line in (
            b"Connection: close\r\n",
            b"Keep-Alive: timeout=5\r\n",
            b"Proxy-Connection: close\r\n",
            b"TE: trailers\r\n",
            b"Trailer: Digest\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"UPGRADE: websocket\r\n",
            b"Connection: foo, bar\r\nFoo: 1\r\nBAR: 2\r\nFoo: 3\r\n",
        ):
            self.assertEqual(parse(line + PHP).fields, PHP)
            self.assertEqual(parse(PHP + line).fields, PHP)
            self.assertEqual(parse(line + PHP + line).fields, PHP)

    def test_never_hop_by_hop(self) -> None:
        """Connection cannot take the length away."""
        lines = b"Connection: Content-Length\r\nContent-Length: 1\r\n"
        self.assertRaises(MessageError, parse, lines)

    def test_length_beside_coding(self) -> None:
        """There are no codings in CGI, so the length holds."""
        head = parse(b"Transfer-Encoding: chunked\r\nContent-Length: 7\r\n")
        self.assertEqual((head.content_length, head.fields), (7, b"Content-Length: 7\r\n"))

    def test_files(self) -> None:
        """X-Sendfile and X-Accel-Redirect are told; an empty one says nothing."""
        head = parse(b"X-SendFile: /srv/a b.pdf \r\n" + PHP)
        self.assertEqual((head.sendfile, head.accel, head.fields), (b"/srv/a b.pdf", None, PHP))
        head = parse(PHP + b"x-accel-redirect:/files/a.pdf\r\n")
        self.assertEqual((head.sendfile, head.accel, head.fields), (None, b"/files/a.pdf", PHP))
        head = parse(b"X-Sendfile:\r\nX-Accel-Redirect: \r\n" + PHP)
        self.assertEqual((head.sendfile, head.accel, head.fields), (None, None, PHP))

    def test_for_nginx(self) -> None:
        """What only nginx understands goes, but for what a server in front has to know too."""
        lines = b"X-Accel-Expires: 5\r\nX-Accel-Limit-Rate: 5\r\nX-Accel-Charset: a\r\n"
        kept = b"X-Accel-Buffering: no\r\nX-Statuses: 1\r\n"
        self.assertEqual(parse(lines + kept + PHP).fields, kept + PHP)

    def test_date(self) -> None:
        """A Date of the script's is kept."""
        lines = PHP + b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        head = parse(lines)
        self.assertEqual((head.has_date, head.fields), (True, lines))
