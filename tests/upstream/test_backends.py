"""Where backends listen, as the operator writes it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.upstream.backends import Backend, BackendError, parse_backend

EXPECTED = "unix:/PATH or tcp:HOST:PORT"
KINDS = ("unix", "tcp", "tls")


class ParseTests(SynchronousTestCase):
    """What is understood."""

    def test_understood(self) -> None:
        """A socket by its absolute path, a port by name or address; each has one spelling."""
        for text, backend, spelling in (
            ("unix:/run/php/fpm.sock", Backend("/run/php/fpm.sock"), ""),
            ("unix:/run//php/./fpm.sock", Backend("/run/php/fpm.sock"), "unix:/run/php/fpm.sock"),
            ("unix:/a:b=c", Backend("/a:b=c"), ""),
            ("unix:/" + "a" * 106, Backend("/" + "a" * 106), ""),
            ("tcp:127.0.0.1:9000", Backend(host="127.0.0.1", port=9000), ""),
            ("tcp:PHP.test:1", Backend(host="php.test", port=1), "tcp:php.test:1"),
            ("tcp:php_1:65535", Backend(host="php_1", port=65535), ""),
            ("tcp:[::1]:9000", Backend(host="::1", port=9000), ""),
            ("tcp:[2001:DB8::1]:09", Backend(host="2001:db8::1", port=9), "tcp:[2001:db8::1]:9"),
        ):
            found = parse_backend(text)
            self.assertEqual((found, str(found)), (backend, spelling or text))

    def test_refused(self) -> None:
        """Anything else is refused, and the error tells what would do."""
        for text, expected in (
            ("", EXPECTED),
            ("/run/php/fpm.sock", EXPECTED),
            ("127.0.0.1:9000", EXPECTED),
            ("9000", EXPECTED),
            ("tcp", EXPECTED),
            ("tcp:", EXPECTED),
            ("tcp:9000", EXPECTED),
            ("tcp::9000", EXPECTED),
            ("tcp:localhost", EXPECTED),
            ("tcp:localhost:", EXPECTED),
            ("tcp:localhost:http", EXPECTED),
            ("tcp:localhost:9000:timeout=5", EXPECTED),
            ("tcp:localhost:9000\n", EXPECTED),
            ("tcp:local host:9000", EXPECTED),
            ("tcp:::1:9000", EXPECTED),
            ("tcp:[::1:9000", EXPECTED),
            ("tcp:[localhost]:9000", EXPECTED),
            ("tcp:]localhost[:9000", EXPECTED),
            ("tcp:[::1%lo]:9000", EXPECTED),
            ("tcp:b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.test:9000", EXPECTED),
            ("tcp:a\udcff.test:9000", EXPECTED),
            ("tcp:a..test:9000", f"{EXPECTED} (expected labels of 1 to 63 characters)"),
            ("tcp:a.test:0", f"{EXPECTED} (expected a port from 1 to 65535)"),
            ("tcp:a.test:65536", f"{EXPECTED} (expected a port from 1 to 65535)"),
            ("TCP:a.test:1", EXPECTED),
            ("ssl:a.test:1", EXPECTED),
            ("unix:", "an absolute path of a socket"),
            ("unix:run/fpm.sock", "an absolute path of a socket"),
            ("unix:/a\0b", "the path of a socket ('/a\\x00b': expected the path of a file)"),
            ("unix:/\ud800", "the path of a socket ('/\\ud800': expected the path of a file)"),
        ):
            error = self.assertRaises(BackendError, parse_backend, text)
            self.assertTrue(str(error).startswith(f"expected {expected}"), error)

    def test_long_path(self) -> None:
        """The path of a socket has at most 107 bytes (unix(7))."""
        error = self.assertRaises(BackendError, parse_backend, "unix:/" + "a" * 107)
        self.assertEqual(error.expected, "the path of a socket")
        self.assertIn("108 bytes long", error.reason)

    def test_tls(self) -> None:
        """TLS is spoken with a host and a port where that is wanted, and is another backend."""
        for text, backend, spelling in (
            ("tls:a.test:6380", Backend(host="a.test", port=6380, tls=True), ""),
            ("tls:[::1]:1", Backend(host="::1", port=1, tls=True), ""),
            ("tls:A.test:1", Backend(host="a.test", port=1, tls=True), "tls:a.test:1"),
            ("tcp:a.test:6380", Backend(host="a.test", port=6380), ""),
            ("unix:/a.sock", Backend("/a.sock"), ""),
        ):
            found = parse_backend(text, KINDS)
            self.assertEqual((found, str(found)), (backend, spelling or text))
        self.assertNotEqual(parse_backend("tls:a:1", KINDS), parse_backend("tcp:a:1", KINDS))

    def test_kinds(self) -> None:
        """Only the kinds that are wanted are understood, and the error tells which they are."""
        for text, kinds, expected in (
            ("tls:a.test:1", ("unix", "tcp"), EXPECTED),
            ("ssl:a.test:1", KINDS, "unix:/PATH, tcp:HOST:PORT or tls:HOST:PORT"),
            ("tls:a.test", KINDS, "unix:/PATH, tcp:HOST:PORT or tls:HOST:PORT"),
            ("tls:/a.sock", KINDS, "unix:/PATH, tcp:HOST:PORT or tls:HOST:PORT"),
            ("unix:/a.sock", ("tcp",), "tcp:HOST:PORT"),
        ):
            error = self.assertRaises(BackendError, parse_backend, text, kinds)
            self.assertEqual((error.expected, error.reason), (expected, ""), text)
