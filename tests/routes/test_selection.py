"""Which proxy a request goes through."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.routes.proxy import ProxyURLError
from fastcar_tw.routes.selection import DirectHosts, Routes

# From curl's own tests/unit/unit1614.c: host, list, whether it is reached directly.
CURL = (
    ("www.example.com", "localhost,.example.com,.example.de", True),
    ("www.example.com.", "localhost,.example.com,.example.de", True),
    ("example.com", "localhost,.example.com,.example.de", True),
    ("example.com.", "localhost,.example.com,.example.de", True),
    ("www.example.com", "localhost,.example.com.,.example.de", True),
    ("www.example.com", "localhost,www.example.com.,.example.de", True),
    ("example.com", "localhost,example.com,.example.de", True),
    ("example.com.", "localhost,example.com,.example.de", True),
    ("nexample.com", "localhost,example.com,.example.de", False),
    ("www.example.com", "localhost,example.com,.example.de", True),
    ("127.0.0.1", "127.0.0.1,localhost", True),
    ("127.0.0.1", "127.0.0.1,localhost,", True),
    ("127.0.0.1", "127.0.0.1/8,localhost,", True),
    ("127.0.0.1", "127.0.0.1/28,localhost,", True),
    ("127.0.0.1", "127.0.0.1/31,localhost,", True),
    ("127.0.0.1", "localhost,127.0.0.1", True),
    ("127.0.0.1", "localhost," + "127.0.0.1." * 12 + "127.0.0.", False),
    ("127.0.0.1", "localhost," + "127.0.0.1." * 12 + "127.0.0", False),
    ("localhost", "localhost,127.0.0.1", True),
    ("localhost", "127.0.0.1,localhost", True),
    ("foobar", "barfoo", False),
    ("foobar", "foobar", True),
    ("192.168.0.1", "foobar", False),
    ("192.168.0.1", "192.168.0.0/16", True),
    ("192.168.0.1", "192.168.0.0/16a", False),
    ("192.168.0.1", "192.168.0.0/16 ", True),
    ("192.168.0.1", "192.168.0.0/a16", False),
    ("192.168.0.1", "192.168.0.0/ 16", False),
    ("192.168.0.1", "192.168.0.0/24", True),
    ("192.168.0.1", "192.168.0.0/32", False),
    ("192.168.0.1", "192.168.0.1/32", True),
    ("192.168.0.1", "192.168.0.1/33", False),
    ("192.168.0.1", "192.168.0.0", False),
    ("192.168.1.1", "192.168.0.0/24", False),
    ("192.168.1.1", "192.168.0.0/33", False),
    ("192.168.1.1", "foo, bar, 192.168.0.0/24", False),
    ("192.168.1.1", "foo, bar, 192.168.0.0/16", True),
    ("::1", "foo, bar, 192.168.0.0/16", False),
    ("::1", "foo, bar, ::1/64", True),
    ("::1", "::1/64", True),
    ("::1", "::1/96", True),
    ("::1", "::1/129", False),
    ("::1", "::1/128", True),
    ("::1", "::1/127", True),
    ("::1", "::1/a127", False),
    ("::1", "::1/127a", False),
    ("::1", "::1/ 127", False),
    ("::1", "::1/127 ", True),
    ("::1", "::1/122", True),
    ("2001:db8:8000::1", "2001:db8::/65", False),
    ("2001:db8:8000::1", "2001:db8::/72", False),
    ("2001:db8::1", "2001:db8::/65", True),
    ("2001:db8::1", "2001:db8::/72", True),
    ("bar", "foo, bar, ::1/64", True),
    ("bar", "foo, BAr, ::1/64", True),
    ("bar", "foo,,,,,              bar, ::1/64", True),
    ("www.example.com", "foo, .example.com", True),
    ("www.example.com", "www2.example.com, .example.net", False),
    ("example.com", ".example.com, .example.net", True),
    ("nonexample.com", ".example.com, .example.net", False),
    ("192.160.0.1", "192.160.0.1/0", True),
    ("192.160.0.1", "10.0.0.1/0", False),
    ("192.160.0.1", "10.0.0.1/8", False),
    ("::1", "0:0::1/0", True),
    ("fe80::ab47:4396:55c9:8474", "fe80::ab47:4396:55c9:8474/64", True),
)
# Where curl's tests say nothing.
MORE = (
    ("a.test", "", False),
    ("a.test", "*", True),
    ("::1", "*", True),
    ("a.test", "*,b.test", False),
    ("a.test", "*.test", False),
    ("a.test", "test", True),
    ("a.test", ".", False),
    ("a.test", ",", False),
    ("a.test", "b.test\ta.test", True),
    ("a.test", "b.test a.test", True),
    ("a.test", "a.test:80", False),
    ("a.test", "10.0.0.0/8", False),
    ("::1", "[::1]", False),
    ("::1", "0:0:0:0:0:0:0:1", True),
    ("127.0.0.1", "::ffff:127.0.0.1", False),
    ("10.1.2.3", ".10.1.2.3", False),
    ("10.1.2.3", "10.0.0.0/", False),
    ("10.1.2.3", "10.0.0.0/-8", False),
    ("10.1.2.3", "10.0.0.0/8/8", False),
)

P, Q, R, S = (f"http://{name}.test:1" for name in "pqrs")


class DirectHostsTests(SynchronousTestCase):
    """L{DirectHosts}."""

    def test_as_curl(self) -> None:
        """A list means what it means to curl."""
        for host, text, expected in (*CURL, *MORE):
            self.assertIs(host in DirectHosts(text), expected, f"{host} in {text!r}")


class RoutesTests(SynchronousTestCase):
    """L{Routes}."""

    def check(
        self,
        http: str | None,
        https: str | None,
        proxy: str | None = None,
        no_proxy: str | None = None,
        **environ: str,
    ) -> None:
        """a.test is reached through these proxies."""
        routes = Routes(proxy, no_proxy, environ)
        for scheme, expected in (("http", http), ("https", https)):
            chosen = routes.route(scheme, "a.test")
            self.assertEqual(None if chosen is None else str(chosen), expected, environ)

    def test_none(self) -> None:
        """Nothing is said about proxies: there is none."""
        self.check(None, None)

    def test_order_of_variables(self) -> None:
        """The scheme's own variable beats the one for all, lower case beats upper case, and one
        that is empty is not set."""
        self.check(P, None, http_proxy=P)
        self.check(P, None, HTTP_PROXY=P)
        self.check(None, P, https_proxy=P)
        self.check(None, P, HTTPS_PROXY=P)
        self.check(P, P, all_proxy=P)
        self.check(P, P, ALL_PROXY=P)
        self.check(P, P, all_proxy=P, ALL_PROXY=Q)
        self.check(P, Q, http_proxy=P, HTTP_PROXY=S, https_proxy=Q, HTTPS_PROXY=S, all_proxy=S)
        self.check(P, Q, HTTP_PROXY=P, HTTPS_PROXY=Q, all_proxy=S, ALL_PROXY=S)
        self.check(P, R, http_proxy=P, ALL_PROXY=R)
        self.check(P, Q, http_proxy="", HTTP_PROXY=P, https_proxy="", all_proxy="", ALL_PROXY=Q)

    def test_cgi(self) -> None:
        """Where a request may have set it, HTTP_PROXY does not count."""
        self.check(None, Q, HTTP_PROXY=P, HTTPS_PROXY=Q, REQUEST_METHOD="GET")
        self.check(R, R, HTTP_PROXY=P, ALL_PROXY=R, REQUEST_METHOD="GET")
        self.check(P, P, http_proxy=P, ALL_PROXY=P, REQUEST_METHOD="GET")
        self.check(P, None, HTTP_PROXY=P, REQUEST_METHOD="")

    def test_option(self) -> None:
        """The option beats all variables, and switches them off when it is empty."""
        self.check(P, P, proxy=P, http_proxy=Q, HTTPS_PROXY=R, all_proxy=S)
        self.check(None, None, proxy="", http_proxy=Q, HTTPS_PROXY=R, all_proxy=S)
        self.check(P, P, proxy=P, all_proxy="not a url")

    def test_no_proxy(self) -> None:
        """The exceptions hold for variables and option, and come from option or variables."""
        self.check(None, None, all_proxy=P, no_proxy="a.test")
        self.check(None, None, proxy=P, no_proxy="a.test")
        self.check(None, None, proxy=P, NO_PROXY="a.test")
        variables = {"all_proxy": P, "NO_PROXY": "a.test"}
        for option, environ, expected in (
            (None, variables, None),
            ("", variables, P),
            ("b.test", variables, P),
            (None, {**variables, "no_proxy": "b.test"}, P),
            (None, {**variables, "no_proxy": ""}, None),
            (None, {"all_proxy": P, "no_proxy": "a.test", "NO_PROXY": "b.test"}, None),
        ):
            chosen = Routes(None, option, environ).route("http", "a.test")
            self.assertEqual(None if chosen is None else str(chosen), expected, environ)

    def test_errors_name_the_variable(self) -> None:
        """A bad URL is told at once, by the name of its variable and nothing else of it."""
        bad = "socks9://user:secret@p.test"
        for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            error = self.assertRaises(ProxyURLError, Routes, None, None, {name: bad})
            self.assertIn(f"{name}: expected ", str(error))
            self.assertNotIn("secret", str(error))
        error = self.assertRaises(ProxyURLError, Routes, bad, None, {})
        self.assertIn("--proxy: expected ", str(error))

    def test_unused_variables(self) -> None:
        """A variable that is never looked at may hold anything."""
        Routes(None, None, {"http_proxy": P, "https_proxy": P, "ALL_PROXY": "/run/x.sock"})

    def test_repr(self) -> None:
        """It tells the proxies, without credentials."""
        routes = Routes(None, None, {"http_proxy": "http://user:secret@p.test:1"})
        self.assertEqual(repr(routes), "<Routes http through http://p.test:1>")
