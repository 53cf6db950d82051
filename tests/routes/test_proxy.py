"""A proxy's URL, and what never shows of it."""

from __future__ import annotations

import pprint

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.target import Origin
from fastcar_tw.routes.proxy import Proxy, ProxyURLError, parse_proxy

USABLE = (
    ("p.test", Proxy("http", "p.test", 1080)),
    ("p.test:3128", Proxy("http", "p.test", 3128)),
    ("p.test:", Proxy("http", "p.test", 1080)),
    ("http://p.test", Proxy("http", "p.test", 1080)),
    ("HTTP://P.Test:80/", Proxy("http", "p.test", 80)),
    ("https://p.test", Proxy("https", "p.test", 443)),
    ("https://p.test/", Proxy("https", "p.test", 443)),
    ("socks5://127.0.0.1", Proxy("socks5", "127.0.0.1", 1080)),
    ("socks5h://p_1.test:9050", Proxy("socks5h", "p_1.test", 9050)),
    ("[::1]:3128", Proxy("http", "::1", 3128)),
    ("socks5://[2001:db8::1]", Proxy("socks5", "2001:db8::1", 1080)),
    ("me@p.test", Proxy("http", "p.test", 1080, b"me")),
    ("me:@p.test", Proxy("http", "p.test", 1080, b"me")),
    (":pw@p.test", Proxy("http", "p.test", 1080, b"", b"pw")),
    ("@p.test", Proxy("http", "p.test", 1080)),
    (":@p.test", Proxy("http", "p.test", 1080)),
    ("me:a:b@p.test", Proxy("http", "p.test", 1080, b"me", b"a:b")),
    ("m%40e:p%2fw%20%C3%A9@p.test", Proxy("http", "p.test", 1080, b"m@e", b"p/w \xc3\xa9")),
    ("mé:\udcff%zz@p.test", Proxy("http", "p.test", 1080, b"m\xc3\xa9", b"\xff%zz")),
    ("socks5://a%3Ab:c@p.test", Proxy("socks5", "p.test", 1080, b"a:b", b"c")),
)
REFUSED = (
    ("", "invalid host or port"),
    ("http://", "invalid host or port"),
    ("socks4://p.test", "another scheme"),
    ("socks://p.test", "another scheme"),
    ("ftp://me:secret@p.test", "another scheme"),
    ("http://me:secret@p.test/path", "a path, query or fragment"),
    (
        "socks5h://localhost/run/fastcar.sock",
        'it names a socket, as for clients of a fastcar; unset it here, or use --proxy ""',
    ),
    ("http://me:secret@p.test?q", "a path, query or fragment"),
    ("http://me:secret@p.test#f", "a path, query or fragment"),
    ("http://me:sec/ret@p.test", "a path, query or fragment"),
    ("http://me:sec@ret@p.test", "invalid host or port"),
    ("http://me:secret", "invalid host or port"),
    ("http://me:secret@", "invalid host or port"),
    ("http://me:secret@p.test:0", "invalid host or port"),
    ("http://me:secret@p.test:65536", "invalid host or port"),
    ("http://me:secret@p test", "invalid host or port"),
    ("http://me:secret@p.test\n", "invalid host or port"),
    ("http://me:secret@pé.test", "invalid host or port"),
    ("http://me:secret@::1", "invalid host or port"),
    ("http://me:secret@[p.test]", "invalid host or port"),
    ("http://a%3Ab:secret@p.test", "a colon in the user name"),
    ("http://me:sec%0aret@p.test", "a control character in the user name or password"),
    ("socks5://m%00e:secret@p.test", "a control character in the user name or password"),
    (f"socks5://{'a' * 256}:secret@p.test", "a user name or password of more than 255 bytes"),
    (f"socks5h://a:{'b' * 256}@p.test", "a user name or password of more than 255 bytes"),
)


class ParseTests(SynchronousTestCase):
    """L{parse_proxy}."""

    def test_usable(self) -> None:
        """URLs mean what they mean to curl."""
        for text, expected in USABLE:
            self.assertEqual(parse_proxy(text), expected, text)

    def test_refused(self) -> None:
        """An error says what is expected and what is wrong, and quotes nothing."""
        for text, reason in REFUSED:
            error = self.assertRaises(ProxyURLError, parse_proxy, text, "https_proxy")
            self.assertEqual(error.reason, reason, text)
            self.assertTrue(str(error).startswith("https_proxy: expected [http|"), text)
            self.assertIn(error.expected, str(error))
            for secret in ("secret", "sec", "aaa", "bbb"):
                self.assertNotIn(secret, str(error))
            self.assertIsNone(error.__cause__)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is either a proxy or refused."""
        try:
            proxy = parse_proxy(text)
        except ProxyURLError:
            return
        self.assertEqual(parse_proxy(str(proxy)), proxy._replace(username=None, password=b""))


class ProxyTests(SynchronousTestCase):
    """L{Proxy}."""

    def test_no_password_in_texts(self) -> None:
        """No text made of a proxy holds its credentials."""
        proxy = parse_proxy("socks5h://user:secret@[::1]:99")
        origin = Origin("http", "a.test", 80, True, proxy)
        self.assertEqual(str(proxy), "socks5h://[::1]:99")
        self.assertEqual(repr(proxy), "<Proxy socks5h://[::1]:99 with credentials>")
        for text in (f"{proxy}", f"{proxy!r}", repr(origin), str(origin), pprint.pformat([origin])):
            self.assertNotIn("secret", text)
            self.assertNotIn("user", text)

    def test_key(self) -> None:
        """Proxies that differ in anything are different keys."""
        texts = ["http://p", "https://p", "socks5://p", "http://p:1", "http://u@p", "http://u:p@p"]
        self.assertEqual(len({parse_proxy(text) for text in (*texts, *texts)}), len(texts))
