"""Where a request goes: request-target and Host."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.head import RequestHead, parse_request_head
from fastcar_tw.http.target import (
    Origin,
    check_host,
    ip_literal,
    join_authority,
    parse_authority,
    parse_connect_target,
    split_absolute_form,
)
from fastcar_tw.routes.proxy import Proxy


def head_of(line: bytes, lines: bytes = b"Host: h.test\r\n") -> RequestHead:
    """Parse a request head."""
    data = b"%b HTTP/1.1\r\n%b\r\n" % (line, lines)
    return parse_request_head(data, len(data))


class AuthorityTests(SynchronousTestCase):
    """RFC 9110 section 7.2; what is refused is in tests.http.shapes."""

    def test_accepted(self) -> None:
        """Names are lower-cased, brackets removed, and absent ports are the scheme's."""
        for authority, scheme, expected in [
            (b"a.test", "http", ("a.test", 80)),
            (b"a.test", "https", ("a.test", 443)),
            (b"a.test:", "https", ("a.test", 443)),
            (b"A.Test:8080", "http", ("a.test", 8080)),
            (b"a.test:1", "http", ("a.test", 1)),
            (b"a.test:65535", "http", ("a.test", 65535)),
            (b"a.test:00080", "http", ("a.test", 80)),
            (b"a.test.", "http", ("a.test.", 80)),
            (b"localhost", "http", ("localhost", 80)),
            (b"my_host-1", "http", ("my_host-1", 80)),
            (b"xn--bcher-kva.test", "http", ("xn--bcher-kva.test", 80)),
            (b"127.0.0.1:80", "https", ("127.0.0.1", 80)),
            (b"[::1]", "http", ("::1", 80)),
            (b"[2001:DB8::1]:443", "http", ("2001:db8::1", 443)),
            (b"[::ffff:127.0.0.1]:", "http", ("::ffff:127.0.0.1", 80)),
            (b"a" * 63, "http", ("a" * 63, 80)),
        ]:
            self.assertEqual((authority, parse_authority(authority, scheme)), (authority, expected))

    def test_refused(self) -> None:
        """Anything else is a 400, whatever the scheme."""
        for authority in (b"", b":80", b"a:0", b"a:65536", b"[::1", b"::1", b"a@b", b"a/b", b"a\n"):
            for scheme in ("http", "https"):
                error = self.assertRaises(MessageError, parse_authority, authority, scheme)
                self.assertEqual(error.status, 400)


class ConnectTargetTests(SynchronousTestCase):
    """RFC 9110 section 9.3.6."""

    def test_accepted(self) -> None:
        """Host and port, in the form that origins have."""
        for target, expected in (
            (b"a.test:80", ("a.test", 80)),
            (b"A.Test.:443", ("a.test.", 443)),
            (b"10.0.0.1:1", ("10.0.0.1", 1)),
            (b"[2001:DB8::1]:65535", ("2001:db8::1", 65535)),
            (b"my_service:00080", ("my_service", 80)),
        ):
            self.assertEqual((target, parse_connect_target(target)), (target, expected))

    def test_refused(self) -> None:
        """There is no default port, and nothing but those two."""
        for target in (
            b"",
            b"a.test",
            b"a.test:",
            b"a.test:0",
            b"a.test:65536",
            b"a.test:http",
            b":80",
            b"[::1]",
            b"[::1]:",
            b"::1:80",
            b"[::1%lo]:80",
            b"[a.test]:80",
            b"u@a.test:80",
            b"a.test:80/",
            b"http://a.test:80",
            b"a.test:80\n",
            b"a,b:80",
            b"a..b:80",
            b"/",
            b"*",
        ):
            error: MessageError = self.assertRaises(MessageError, parse_connect_target, target)
            self.assertEqual(error.status, 400, target)


class HostTests(SynchronousTestCase):
    """Hosts that come from elsewhere than an authority."""

    def test_accepted(self) -> None:
        """Names and addresses, in lower case; IPv6 addresses have no brackets."""
        for host, expected in (
            ("a.test", "a.test"),
            ("A.TEST.", "a.test."),
            ("my_service", "my_service"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
            ("a" * 63, "a" * 63),
        ):
            self.assertEqual((host, check_host(host)), (host, expected))

    def test_round_trip(self) -> None:
        """What is accepted can stand in an authority."""
        for host in ("a.test", "127.0.0.1", "::1"):
            authority = join_authority(check_host(host), 81).encode("ascii")
            self.assertEqual(parse_connect_target(authority), (host, 81))

    def test_refused(self) -> None:
        """Anything else is not."""
        for host in (
            "",
            ".",
            "a..b",
            "a" * 64,
            "a" * 256,
            "a b",
            "a\0b",
            "a\nb",
            "a\r\nb",
            "a/b",
            "a@b",
            "a:80",
            "127.0.0.1:80",
            "[::1]",
            "::g",
            ":",
            "*",
            "%61",
            "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher",
        ):
            self.assertRaises(MessageError, check_host, host)

    def test_scope(self) -> None:
        """An address with a scope is none: anything could stand behind the %, line breaks
        included."""
        for host in ("fe80::1%eth0", "fe80::1%1", "::1%\r\nX: y", "::1% ", "::1%a]:80/"):
            self.assertIsNone(ip_literal(host))
            self.assertRaises(MessageError, check_host, host)


class OriginTests(SynchronousTestCase):
    """The key of the pool."""

    def test_text(self) -> None:
        """An origin is written as the URI it stands for."""
        self.assertEqual(str(Origin("http", "a.test", 80)), "http://a.test:80")
        self.assertEqual(str(Origin("https", "::1", 8443)), "https://[::1]:8443")
        self.assertEqual(str(Origin("tcp", "a.test", 22)), "tcp://a.test:22")

    def test_text_with_name(self) -> None:
        """Whom its certificate has to name is told where that is somebody else."""
        origin = Origin("https", "10.0.0.1", 443, True, None, "a.test")
        self.assertEqual(str(origin), "https://10.0.0.1:443 as a.test")
        through = origin._replace(route=Proxy("http", "p.test", 3128))
        self.assertEqual(str(through), f"{origin} through proxy http://p.test:3128")

    def test_text_with_proxy(self) -> None:
        """The proxy is named too, without its credentials; in place of an origin that is none."""
        proxy = Proxy("http", "::1", 3128, b"user", b"secret")
        origin = Origin("http", "a.test", 80, True, proxy)
        self.assertEqual(str(origin), "http://a.test:80 through proxy http://[::1]:3128")
        self.assertEqual(str(origin.next_hop), "proxy http://[::1]:3128")

    def test_text_with_http2(self) -> None:
        """What it may be spoken to in is no part of its name."""
        origin = Origin("https", "a.test", 443, http2=True)
        self.assertEqual(str(origin), "https://a.test:443")

    def test_over_http1(self) -> None:
        """Where nothing but HTTP/1.1 will do, another key stands for the same origin."""
        proxy = Proxy("http", "p.test", 3128)
        only_http1 = Origin("https", "a.test", 443, False, proxy, "b.test")
        both = only_http1._replace(http2=True)
        self.assertNotEqual(both, only_http1)
        self.assertEqual(both.over_http1, only_http1)
        self.assertIs(only_http1.over_http1, only_http1)
        self.assertIs(both.next_hop, both)
        self.assertEqual(both.peer, only_http1.peer)

    def test_every_dimension_counts(self) -> None:
        """Origins that differ in scheme, host, port, trust, route, the name in their certificate or
        what may be spoken are different keys."""
        origins = {
            Origin("http", "a.test", 80),
            Origin("https", "a.test", 80),
            Origin("http", "b.test", 80),
            Origin("http", "a.test", 81),
            Origin("http", "a.test", 80, False),
            Origin("http", "a.test", 80, True, Proxy("http", "a.test", 80)),
            Origin("http", "a.test", 80, True, Proxy("http", "a.test", 80, b"u", b"p")),
            Origin("https", "a.test", 80, True, None, "b.test"),
            Origin("https", "a.test", 80, http2=True),
            Origin("tcp", "a.test", 80),
        }
        self.assertEqual(len(origins), 10)
        self.assertIn(Origin("http", "a.test", 80, True), origins)

    def test_next_hop(self) -> None:
        """Only http origins behind the same HTTP proxy share their connections."""
        for scheme in ("http", "https"):
            direct = Origin(scheme, "a.test", 80)
            self.assertIs(direct.next_hop, direct)
            self.assertEqual(direct.peer, ("a.test", 80))
            for proxy in (Proxy(each, "p", 1) for each in ("http", "https", "socks5", "socks5h")):
                one = Origin(scheme, "a.test", 80, True, proxy)
                two = Origin(scheme, "b.test", 81, True, proxy)
                shared = scheme == "http" and proxy.forwards_http
                self.assertIs(one.next_hop == two.next_hop, shared)
                self.assertIs(one.next_hop is one, not shared)
                self.assertEqual({one.peer, one.next_hop.peer}, {("p", 1)})
                self.assertEqual(one.next_hop.next_hop, one.next_hop)

    def test_ip_literal(self) -> None:
        """Addresses are told from names, and odd spellings of addresses are names."""
        self.assertEqual(str(ip_literal("127.0.0.1")), "127.0.0.1")
        self.assertEqual(str(ip_literal("::1")), "::1")
        for name in ("a.test", "127.1", "0x7f000001", "2130706433", "127.0.0.1.", "010.0.0.1"):
            self.assertIsNone(ip_literal(name))


class AbsoluteFormTests(SynchronousTestCase):
    """RFC 9112 section 3.2.2."""

    def test_split(self) -> None:
        """Path and query are kept byte for byte."""
        for target, expected in [
            (b"http://a.test/p", ("http", b"a.test", b"/p")),
            (b"HTTPS://A.test:8443/p/../q?r=%20", ("https", b"A.test:8443", b"/p/../q?r=%20")),
            (b"http://a.test", ("http", b"a.test", b"")),
            (b"http://a.test?q", ("http", b"a.test", b"/?q")),
            (b"http://a.test/", ("http", b"a.test", b"/")),
            (b"http://a.test//b", ("http", b"a.test", b"//b")),
            (b"http://a.test/u@b.test", ("http", b"a.test", b"/u@b.test")),
            (b"http://a.test?u@b.test", ("http", b"a.test", b"/?u@b.test")),
            (b"http://[::1]:81/http://b.test/", ("http", b"[::1]:81", b"/http://b.test/")),
        ]:
            self.assertEqual((target, split_absolute_form(target)), (target, expected))

    def test_refused(self) -> None:
        """Other schemes, user information and fragments are refused."""
        for target in (
            b"ftp://a.test/",
            b"httpx://a.test/",
            b"http:a.test",
            b"http:/a.test",
            b"//a.test/",
            b"http://u@a.test/",
            b"http://u:p@a.test/",
            b"http://@a.test/",
            b"http://a.test/#f",
            b"http://a.test#f",
            b"a.test",
            b"",
        ):
            self.assertRaises(MessageError, split_absolute_form, target)

    def test_becomes_origin_form(self) -> None:
        """It decides scheme and destination, and leaves as origin-form behind a Host of its own."""
        head = head_of(b"GET https://a.test:81/p?q", b"A: 1\r\nhost: b.test\r\nB: 2\r\n")
        self.assertEqual((head.scheme, head.host, head.target), ("https", b"a.test:81", b"/p?q"))
        self.assertEqual(head.fields, b"Host: a.test:81\r\nA: 1\r\nB: 2\r\n")

    def test_empty_path(self) -> None:
        """An empty path is /, of an OPTIONS the asterisk (RFC 9112 sections 3.2.1, 3.2.4)."""
        for line, target in [
            (b"GET http://a.test", b"/"),
            (b"GET http://a.test?q", b"/?q"),
            (b"OPTIONS http://a.test:80", b"*"),
            (b"OPTIONS http://a.test/", b"/"),
            (b"OPTIONS http://a.test?q", b"/?q"),
        ]:
            self.assertEqual((line, head_of(line).target), (line, target))

    def test_http_1_0_needs_no_host(self) -> None:
        """An HTTP/1.0 request in absolute-form gets the Host it lacks."""
        data = b"GET http://a.test/p HTTP/1.0\r\n\r\n"
        head = parse_request_head(data, len(data))
        self.assertEqual((head.host, head.fields), (b"a.test", b"Host: a.test\r\n"))


class OtherFormTests(SynchronousTestCase):
    """RFC 9112 sections 3.2.1, 3.2.3 and 3.2.4."""

    def test_origin_form(self) -> None:
        """Host decides the destination, and the socket the scheme."""
        head = head_of(b"GET //b.test/p")
        self.assertEqual((head.scheme, head.host, head.target), (None, b"h.test", b"//b.test/p"))

    def test_asterisk(self) -> None:
        """OPTIONS * goes on as it is."""
        head = head_of(b"OPTIONS *")
        self.assertEqual((head.scheme, head.host, head.target), (None, b"h.test", b"*"))
        self.assertRaises(MessageError, head_of, b"GET *")

    def test_authority_form(self) -> None:
        """It is kept for CONNECT, with or without a Host, and refused with other methods."""
        for lines in (b"", b"Host: h.test\r\n"):
            self.assertEqual(head_of(b"CONNECT a.test:443", lines).target, b"a.test:443")
        self.assertRaises(MessageError, head_of, b"GET a.test:443")
