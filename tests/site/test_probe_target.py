"""What may be probed, and how it has to be written."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.target import Origin, parse_authority
from fastcar_tw.site.probe_target import ProbeTarget, parse_probe


def parse(query: bytes) -> ProbeTarget:
    """Read a query where no origin has a route."""
    return parse_probe(query, lambda scheme, host: Origin(scheme, *parse_authority(host, scheme)))


class URLTests(SynchronousTestCase):
    """The URL, and what is asked of whom."""

    def test_origin(self) -> None:
        """Scheme, host and port are the URL's; case and default port are those of any origin."""
        cases = {
            b"http://a.test": Origin("http", "a.test", 80),
            b"https://a.test/": Origin("https", "a.test", 443),
            b"HTTPS://A.test:8443/x": Origin("https", "a.test", 8443),
            b"http://[::1]:81/": Origin("http", "::1", 81),
            b"http://127.0.0.1?x": Origin("http", "127.0.0.1", 80),
        }
        for url, origin in cases.items():
            self.assertEqual(parse(b"url=" + url).origin, origin)

    def test_request(self) -> None:
        """It is a GET for path and query as they stand, empty ones included."""
        cases = {
            b"http://a.test": b"/",
            b"http://a.test?": b"/?",
            b"http://a.test?b": b"/?b",
            b"http://a.test/b?c=d+e": b"/b?c=d+e",
            b"http://a.test/@:/?@": b"/@:/?@",
        }
        for url, path in cases.items():
            target = parse(b"url=" + url)
            self.assertEqual((target.request.method, target.request.target), (b"GET", path))
            self.assertIn(b"Host: a.test\r\n", target.request.fields)
            self.assertEqual(target.url, url.decode())

    def test_encoding(self) -> None:
        """The parameter is percent-decoded, once; a plus sign is no space."""
        target = parse(b"url=http%3A%2F%2Fa.test%2f%3Fb%3d1%26c%3D%2541+")
        self.assertEqual(target.request.target, b"/?b=1&c=%41+")
        self.assertEqual(target.url, "http://a.test/?b=1&c=%41+")


class RefusalTests(SynchronousTestCase):
    """What is refused with 400 (RFC 9110 section 15.5.1), and in which words."""

    def assert_refused(self, text: str, *queries: bytes) -> None:
        """Of all these queries, with a text that holds these words."""
        for query in queries:
            error = self.assertRaises(MessageError, parse, query)
            self.assertEqual(error.status, 400)
            self.assertIn(text, error.text, query)

    def test_parameters(self) -> None:
        """There is one parameter, url, and each percent sign begins an encoded byte."""
        url = b"url=http://a.test/"
        cases = (b"", b"u", b"URL=http://a.test/", url + b"&", url + b"&a=b", b"a=b&" + url)
        self.assert_refused("expected ?url=URL and no more", *cases)
        broken = (url + b"&" + url, url + b"%", url + b"%4", url + b"%4g", url + b"?a=b&c=d")
        self.assert_refused("each & of the URL as %26", *broken)

    def test_bytes(self) -> None:
        """Nothing gets into the request that could end its line, or is no URL at all."""
        codes = (0, 9, 10, 13, 32, 0x23, 0x7F, 0x80, 0xFF)
        cases = [b"url=http://a.test/%%%02X" % code for code in codes]
        cases += [b"url=", b"url=http://a.test/%0D%0AX:%20y", b"url=http://a.test/\xc3\xa9"]
        cases += [b"url=http://a%0d%0ab.test/", b"url=%20http://a.test/"]
        self.assert_refused("expected percent-encoded ASCII without a fragment", *cases)

    def test_user_information(self) -> None:
        """Credentials are not taken, and not repeated."""
        cases = (b"http://me:hidden@a.test/", b"https://hidden@a.test", b"http://hidden%40a.test?x")
        for case in cases:
            error = self.assertRaises(MessageError, parse, b"url=" + case)
            self.assertEqual((error.status, "no user information" in error.text), (400, True))
            self.assertNotIn("hidden", error.text)

    def test_other_schemes(self) -> None:
        """Only http and https, and nothing relative."""
        urls = (b"ftp://a.test/", b"file:///etc/passwd", b"//a.test/", b"a.test", b"/x", b"http:/x")
        self.assert_refused("expected http://host/path", *(b"url=" + url for url in urls))

    def test_host(self) -> None:
        """The host has to be one that could be in a request."""
        urls = (b"http://", b"http:///x", b"http://a_b%25/", b"http://a.test:0/", b"http://a..b/")
        self.assert_refused("invalid Host", *(b"url=" + url for url in urls))
