"""The variables of a request (RFC 3875 section 4.1)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

import fastcar_tw
from fastcar_tw.fastcgi import variables
from fastcar_tw.fastcgi.documents import Script
from fastcar_tw.fastcgi.records import parse_values
from fastcar_tw.fastcgi.variables import (
    MAX_NAME,
    MAX_NAMES,
    client_variables,
    common_variables,
    encode_variables,
    request_variables,
)
from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.head import parse_request_head

SCRIPT = Script(b"/srv/public/a.php", b"/a.php", b"", b"/srv/public")
WITH_PATH = SCRIPT._replace(path_info=b"/x.jpg")


def encoded(
    lines: bytes = b"",
    line: bytes = b"GET /a.php HTTP/1.1",
    *,
    script: Script = SCRIPT,
    length: int = 0,
    believed: bool = False,
    host: bytes = b"a.test",
) -> list[bytes]:
    """The variables of a request with these lines, as they are sent."""
    data = b"%b\r\nHost: %b\r\n%b\r\n" % (line, host, lines)
    head = parse_request_head(data, len(data))
    return request_variables(head, script, length, believed)


def of(
    lines: bytes = b"",
    line: bytes = b"GET /a.php HTTP/1.1",
    *,
    script: Script = SCRIPT,
    length: int = 0,
    believed: bool = False,
    host: bytes = b"a.test",
) -> dict[bytes, bytes]:
    """The same, as they are read."""
    pairs = encoded(lines, line, script=script, length=length, believed=believed, host=host)
    return parse_values(b"".join(pairs))


class RequestTests(SynchronousTestCase):
    """What a request and its script are."""

    def test_all(self) -> None:
        """These, and no others."""
        self.assertEqual(
            of(b"Accept: */*\r\n", b"GET /b/../a.php?x=%2f?&y HTTP/1.1"),
            {
                b"SCRIPT_FILENAME": b"/srv/public/a.php",
                b"SCRIPT_NAME": b"/a.php",
                b"DOCUMENT_ROOT": b"/srv/public",
                b"DOCUMENT_URI": b"/a.php",
                b"SERVER_NAME": b"a.test",
                b"SERVER_PROTOCOL": b"HTTP/1.1",
                b"REQUEST_METHOD": b"GET",
                b"REQUEST_URI": b"/b/../a.php?x=%2f?&y",
                b"QUERY_STRING": b"x=%2f?&y",
                b"HTTP_HOST": b"a.test",
                b"HTTP_ACCEPT": b"*/*",
            },
        )

    def test_path_info(self) -> None:
        """A path behind the script is told, but never where it would lead: with
        cgi.fix_pathinfo=0 php-fpm would run that."""
        found = of(script=WITH_PATH)
        self.assertEqual(found[b"PATH_INFO"], b"/x.jpg")
        self.assertEqual(found[b"SCRIPT_NAME"], b"/a.php")
        self.assertEqual(found[b"SCRIPT_FILENAME"], b"/srv/public/a.php")
        self.assertEqual(found[b"DOCUMENT_URI"], b"/a.php/x.jpg")
        self.assertNotIn(b"PATH_TRANSLATED", found)

    def test_remembered_scripts(self) -> None:
        """Scripts are remembered, but not with what clients put behind them, however long."""
        of()
        before = variables._remembered_script.cache_info()
        for number in range(10):
            of(script=SCRIPT._replace(path_info=b"/%d" % number + b"x" * 30000))
        self.assertEqual(variables._remembered_script.cache_info(), before)
        of()
        self.assertEqual(variables._remembered_script.cache_info().hits, before.hits + 1)

    def test_no_path_info(self) -> None:
        """An empty one would make PHP_SELF empty, with cgi.fix_pathinfo=0."""
        self.assertNotIn(b"PATH_INFO", of())

    def test_query(self) -> None:
        """QUERY_STRING is always there, and not decoded (RFC 3875 section 4.1.7)."""
        for target, query in [(b"/", b""), (b"/?", b""), (b"/?a=%00+b", b"a=%00+b")]:
            found = of(line=b"GET %b HTTP/1.1" % target)
            self.assertEqual((found[b"REQUEST_URI"], found[b"QUERY_STRING"]), (target, query))

    def test_absolute_form(self) -> None:
        """Of an absolute-form the path is told, and its host instead of the field's."""
        found = of(line=b"GET http://B.test:81/c?d HTTP/1.1", host=b"evil.test")
        self.assertEqual(found[b"REQUEST_URI"], b"/c?d")
        self.assertEqual(found[b"HTTP_HOST"], b"B.test:81")
        self.assertEqual(found[b"SERVER_NAME"], b"b.test")

    def test_protocol(self) -> None:
        """The client's version (RFC 3875 section 4.1.16)."""
        self.assertEqual(of(line=b"GET / HTTP/1.0")[b"SERVER_PROTOCOL"], b"HTTP/1.0")
        self.assertEqual(of(line=b"GET / HTTP/1.9")[b"SERVER_PROTOCOL"], b"HTTP/1.1")

    def test_method(self) -> None:
        """Any method, as it is spelt."""
        self.assertEqual(of(line=b"proPFIND / HTTP/1.1")[b"REQUEST_METHOD"], b"proPFIND")

    def test_server_name(self) -> None:
        """The host without port, in lower case; IPv6 in brackets (RFC 3875 section 4.1.14)."""
        for host, name in [
            (b"a.test", b"a.test"),
            (b"A.Test:8080", b"a.test"),
            (b"192.0.2.1:80", b"192.0.2.1"),
            (b"[::1]", b"[::1]"),
            (b"[2001:DB8::1]:80", b"[2001:db8::1]"),
        ]:
            found = of(host=host)
            self.assertEqual((found[b"SERVER_NAME"], found[b"HTTP_HOST"]), (name, host))

    def test_no_host(self) -> None:
        """A Host that is none never reaches the application: it puts it into links and mails."""
        for host in (b"a/b", b"a@b", b"a b", b"a, b", b'"><script>', b"a:b", b"[::1", b"a.test:0"):
            self.assertRaises(MessageError, encoded, host=host)

    def test_length(self) -> None:
        """It is exact, whether the body came with one or chunked."""
        post = b"POST / HTTP/1.1"
        for lines, length, told in [
            (b"Content-Length: 0\r\n", 0, b"0"),
            (b"Content-Length: 007\r\n", 7, b"7"),
            (b"Transfer-Encoding: chunked\r\n", 0, b"0"),
            (b"Transfer-Encoding: chunked\r\n", 10**10, b"10000000000"),
        ]:
            found = of(lines, post, length=length)
            self.assertEqual(found[b"CONTENT_LENGTH"], told)
            self.assertNotIn(b"HTTP_CONTENT_LENGTH", found)
            self.assertNotIn(b"HTTP_TRANSFER_ENCODING", found)

    def test_no_body(self) -> None:
        """Without a body there is neither length nor type."""
        for line in (b"GET / HTTP/1.1", b"POST / HTTP/1.1"):
            self.assertNotIn(b"CONTENT_LENGTH", of(line=line))
            self.assertNotIn(b"CONTENT_TYPE", of(line=line))

    def test_type(self) -> None:
        """The type has a variable of its own, body or not."""
        found = of(b"content-type: text/plain; charset=x\r\n")
        self.assertEqual(found[b"CONTENT_TYPE"], b"text/plain; charset=x")
        self.assertNotIn(b"HTTP_CONTENT_TYPE", found)

    def test_long_values(self) -> None:
        """Lengths from 128 on are encoded as such."""
        for size in (127, 128, 40000):
            found = of(b"A: %b\r\nB%b: c\r\n" % (b"x" * size, b"b" * size))
            self.assertEqual(found[b"HTTP_A"], b"x" * size)
            self.assertEqual(found[b"HTTP_B" + b"B" * size], b"c")


class FieldTests(SynchronousTestCase):
    """Fields as variables (RFC 3875 section 4.1.18)."""

    def passed_on(self, lines: bytes, believed: bool = False) -> dict[bytes, bytes]:
        """What these lines add."""
        found = of(lines, believed=believed)
        before = of()
        return {name: value for name, value in found.items() if before.get(name) != value}

    def test_names(self) -> None:
        """Names are put in upper case, with _ for -; values lose the white space around them."""
        for line, name, value in [
            (b"accept-Language: de \t", b"HTTP_ACCEPT_LANGUAGE", b"de"),
            (b"X-1-a:b: c", b"HTTP_X_1_A", b"b: c"),
            (b"Empty:", b"HTTP_EMPTY", b""),
            (b"X: \xff\t\xfe", b"HTTP_X", b"\xff\t\xfe"),
            (b"Authorization: Basic YTpi", b"HTTP_AUTHORIZATION", b"Basic YTpi"),
            (b"PHP-VALUE: a", b"HTTP_PHP_VALUE", b"a"),
            (b"Content-Encoding: gzip", b"HTTP_CONTENT_ENCODING", b"gzip"),
        ]:
            self.assertEqual(self.passed_on(line + b"\r\n"), {name: value})

    def test_several_lines(self) -> None:
        """Values are joined in their order: with a comma, of cookies with a semicolon."""
        lines = b"Cookie: a=1\r\nX-A: 1\r\ncookie: b=2\r\nx-a: 2, 3\r\nCOOKIE: c\r\nX-a:\r\n"
        self.assertEqual(
            self.passed_on(lines), {b"HTTP_COOKIE": b"a=1; b=2; c", b"HTTP_X_A": b"1, 2, 3, "}
        )

    def test_sent_once(self) -> None:
        """No variable is sent twice: php-fpm would keep the last."""
        for pairs in (encoded(b"A: b\r\nA: b\r\na: c\r\n", script=WITH_PATH), encoded()):
            names = [name for pair in pairs for name in parse_values(pair)]
            self.assertEqual(len(names), len(set(names)))

    def test_other_names(self) -> None:
        """Only letters, digits and - pass: no field can take another's variable."""
        for name in (
            b"Content_Length",
            b"X_Forwarded_For",
            b"Auth_orization",
            b"PHP_VALUE",
            b"PHP_ADMIN_VALUE",
            b"_",
            b"a.b",
            b"a+b",
            b"a'b",
            b"a~b",
        ):
            self.assertEqual(self.passed_on(b"%b: 1\r\n" % name), {})

    def test_httpoxy(self) -> None:
        """Proxy would become HTTP_PROXY, in which HTTP clients look for theirs."""
        for name in (b"Proxy", b"proxy", b"PROXY"):
            self.assertEqual(self.passed_on(b"%b: http://evil.test/\r\n" % name), {})

    def test_not_for_the_application(self) -> None:
        """Expect has been dealt with, as have hop-by-hop fields."""
        lines = b"Expect: 100-continue\r\nConnection: te, foo\r\nTE: trailers\r\nFoo: 1\r\n"
        self.assertEqual(self.passed_on(lines + b"Keep-Alive: 5\r\nUpgrade: h2c\r\n"), {})

    def test_told_by_anyone(self) -> None:
        """What only a trusted proxy is believed does not come from others."""
        lines = (
            b"X-Forwarded-For: 127.0.0.1\r\nx-forwarded-proto: https\r\nX-Forwarded-Prefix: /a\r\n"
            b"Forwarded: for=127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n"
        )
        self.assertEqual(self.passed_on(lines), {})

    def test_told_by_trusted(self) -> None:
        """From a trusted proxy it does, and that changes nothing for others."""
        lines = (
            b"X-Forwarded-Host: b.test\r\nForwarded: for=a\r\nProxy: b\r\nX_Forwarded_For: c\r\n"
        )
        self.assertEqual(
            self.passed_on(lines, believed=True),
            {b"HTTP_X_FORWARDED_HOST": b"b.test", b"HTTP_FORWARDED": b"for=a"},
        )
        self.assertEqual(self.passed_on(lines), {})

    def test_remembered_names(self) -> None:
        """Names are remembered, but not more than a number, and no long ones."""
        names = variables._OF_ANYONE
        for number in range(MAX_NAMES * 2):
            of(b"X-%d: a\r\n" % number)
            self.assertLessEqual(len(names), MAX_NAMES)
        long = b"x" * (MAX_NAME + 1)
        self.assertEqual(of(long + b": a\r\n")[b"HTTP_" + long.upper()], b"a")
        self.assertNotIn(long, names)
        self.assertIn(b"Host", names)


class ConnectionTests(SynchronousTestCase):
    """What a connection is."""

    def test_tcp(self) -> None:
        """Both ends are told."""
        self.assertEqual(
            parse_values(client_variables(("192.0.2.1", 5000), ("192.0.2.9", 8080), False)),
            {
                b"REMOTE_ADDR": b"192.0.2.1",
                b"REMOTE_PORT": b"5000",
                b"SERVER_ADDR": b"192.0.2.9",
                b"SERVER_PORT": b"8080",
                b"REQUEST_SCHEME": b"http",
            },
        )

    def test_https(self) -> None:
        """HTTPS is there for https only: applications ask whether it is not empty."""
        found = parse_values(client_variables(("192.0.2.1", 1), ("192.0.2.9", 8443), True))
        self.assertEqual((found[b"HTTPS"], found[b"REQUEST_SCHEME"]), (b"on", b"https"))

    def test_unix(self) -> None:
        """A client on a UNIX socket is on this host, at the scheme's port."""
        for https, port in [(False, b"80"), (True, b"443")]:
            found = parse_values(client_variables(None, None, https))
            self.assertEqual((found[b"REMOTE_ADDR"], found[b"REMOTE_PORT"]), (b"127.0.0.1", b"0"))
            self.assertEqual((found[b"SERVER_ADDR"], found[b"SERVER_PORT"]), (b"127.0.0.1", port))

    def test_addresses(self) -> None:
        """IPv4 is told as such, and no zone: applications know neither."""
        for given, told in [
            ("::ffff:192.0.2.1", b"192.0.2.1"),
            ("fe80::1%eth0.5", b"fe80::1"),
            ("::1", b"::1"),
        ]:
            found = parse_values(client_variables((given, 1), (given, 2), False))
            self.assertEqual((found[b"REMOTE_ADDR"], found[b"SERVER_ADDR"]), (told, told))


class OtherTests(SynchronousTestCase):
    """The rest."""

    def test_common(self) -> None:
        """What is the same for all requests."""
        self.assertEqual(
            parse_values(common_variables()),
            {
                b"GATEWAY_INTERFACE": b"CGI/1.1",
                b"SERVER_SOFTWARE": b"fastcar/" + fastcar_tw.__version__.encode(),
                b"REDIRECT_STATUS": b"200",
            },
        )

    def test_text(self) -> None:
        """The operator's variables are the bytes that were typed."""
        given = [("A", "\u00e4"), ("B", "\udcff"), ("C", "")]
        self.assertEqual(
            parse_values(encode_variables(given)), {b"A": b"\xc3\xa4", b"B": b"\xff", b"C": b""}
        )
