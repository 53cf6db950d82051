"""Who is believed about where a request came from, and what."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.forwarded import (
    MAX_HOPS,
    Arrival,
    TrustedProxies,
    TrustedProxyError,
    parse_trusted_proxy,
    tells_of_client,
)

PROXY = ("10.0.0.1", 40000)
LOCAL = ("10.0.0.9", 8080)
OTHERS = b"Host: a.test\r\nAccept: */*\r\n"


def arrival(lines: bytes, https: bool = False) -> Arrival:
    """What is made of these fields, if 10.0.0.0/8 and fd00::/8 are trusted."""
    proxies = TrustedProxies(["10.0.0.0/8", "fd00::/8"])
    return proxies.arrival(PROXY, LOCAL, https, OTHERS + lines)


class ParseTests(SynchronousTestCase):
    """Values of --trusted-proxy."""

    def test_valid(self) -> None:
        """An address, a network, or all clients on UNIX sockets."""
        for text, network in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1/128"),
            ("FD00::/8", "fd00::/8"),
        ]:
            self.assertEqual(str(parse_trusted_proxy(text)), network)
        self.assertIsNone(parse_trusted_proxy("unix"))

    def test_invalid(self) -> None:
        """Anything else is refused, with what was expected."""
        for text in (
            "",
            "localhost",
            "UNIX",
            "unix:/run/a.sock",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.1:80",
            "[::1]",
            "fe80::1%eth0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/8/8",
            "10",
            " 10.0.0.1",
            "*",
        ):
            error = self.assertRaises(TrustedProxyError, parse_trusted_proxy, text)
            self.assertIn("an IP address, a network such as 10.0.0.0/8, or unix", str(error))
            self.assertRaises(TrustedProxyError, TrustedProxies, ["::1", text])

    def test_reasons(self) -> None:
        """An address inside of a network is no network, and IPv4 has one form."""
        for text, reason in [
            ("10.0.0.1/8", "its network is 10.0.0.0/8"),
            ("::ffff:10.0.0.1", "IPv4 addresses are known as such"),
        ]:
            error = self.assertRaises(TrustedProxyError, parse_trusted_proxy, text)
            self.assertEqual(error.reason, reason)


class TrustTests(SynchronousTestCase):
    """Which peers are trusted."""

    def test_nobody(self) -> None:
        """Without any named, nobody is."""
        for peer in (None, PROXY, ("::1", 1)):
            self.assertFalse(TrustedProxies().trusts(peer))

    def test_named(self) -> None:
        """Those inside the networks are, in whatever form their address comes."""
        proxies = TrustedProxies(["10.0.0.0/8", "192.0.2.1", "fe80::/10"])
        for host, trusted in [
            ("10.1.2.3", True),
            ("::ffff:10.1.2.3", True),
            ("192.0.2.1", True),
            ("fe80::1%eth0", True),
            ("11.0.0.1", False),
            ("192.0.2.2", False),
            ("::a00:1", False),
        ]:
            self.assertEqual((host, proxies.trusts((host, 1))), (host, trusted))
        self.assertFalse(proxies.trusts(None))

    def test_unix(self) -> None:
        """Clients on UNIX sockets are if that is said, and nobody else then."""
        proxies = TrustedProxies(["unix"])
        self.assertTrue(proxies.trusts(None))
        self.assertFalse(proxies.trusts(("127.0.0.1", 1)))

    def test_fields(self) -> None:
        """The fields that need trust are those with which proxies tell of their clients."""
        for name, expected in [
            (b"x-forwarded-for", True),
            (b"x-forwarded-whatever", True),
            (b"forwarded", True),
            (b"x-real-ip", True),
            (b"x-forwarded", False),
            (b"forwarded-for", False),
            (b"host", False),
        ]:
            self.assertEqual((name, tells_of_client(name)), (name, expected))


class AddressTests(SynchronousTestCase):
    """X-Forwarded-For."""

    def test_absent(self) -> None:
        """A proxy that tells nothing is the client."""
        self.assertEqual(arrival(b""), Arrival(PROXY, LOCAL, False, OTHERS))

    def test_right_most_that_is_not_trusted(self) -> None:
        """The client is who spoke to the first of our proxies."""
        for value, client in [
            (b"192.0.2.1", "192.0.2.1"),
            (b"198.51.100.1, 192.0.2.1", "192.0.2.1"),
            (b"198.51.100.1,192.0.2.1 ,10.0.0.2,\t10.0.0.3 ", "192.0.2.1"),
            (b"10.0.0.5, 192.0.2.1", "192.0.2.1"),
            (b"10.0.0.5, 10.0.0.6", "10.0.0.5"),
            (b"2001:DB8::1, fd00::1", "2001:db8::1"),
            (b"192.0.2.1:5000", "192.0.2.1"),
            (b"[2001:db8::1]:5000", "2001:db8::1"),
            (b"[2001:db8::1]", "2001:db8::1"),
            (b"::ffff:192.0.2.1", "192.0.2.1"),
            (b"192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
        ]:
            found = arrival(b"X-Forwarded-For: %b\r\n" % value)
            self.assertEqual((value, found.peer), (value, (client, 0)))
            fields = b"%bX-Forwarded-For: %b\r\n" % (OTHERS, client.encode())
            self.assertEqual(found.fields, fields)

    def test_several_fields(self) -> None:
        """Several fields are one list, and one field is passed on."""
        lines = b"X-Forwarded-For: 198.51.100.1\r\nA: b\r\nx-forwarded-for: 192.0.2.1, 10.0.0.2\r\n"
        found = arrival(lines)
        self.assertEqual(found.peer, ("192.0.2.1", 0))
        self.assertEqual(found.fields, OTHERS + b"A: b\r\nX-Forwarded-For: 192.0.2.1\r\n")

    def test_invalid(self) -> None:
        """What is no address ends the search: nothing left of it is believed."""
        for value in (b"", b"unknown", b"192.0.2.1,", b"_hidden", b"192.0.2.1 x", b"192.0.2.256"):
            found = arrival(b"X-Forwarded-For: %b\r\n" % value)
            self.assertEqual((value, found.peer, found.fields), (value, PROXY, OTHERS))
        for value in (b"192.0.2.1, unknown, 10.0.0.2", b"192.0.2.1,,10.0.0.2", b"[x], 10.0.0.2"):
            self.assertEqual(arrival(b"X-Forwarded-For: %b\r\n" % value).peer, ("10.0.0.2", 0))

    def test_hops(self) -> None:
        """The search has an end."""
        value = b"192.0.2.1" + b", 10.0.0.2" * MAX_HOPS
        self.assertEqual(arrival(b"X-Forwarded-For: %b\r\n" % value).peer, ("192.0.2.1", 0))
        value += b", 10.0.0.2"
        self.assertEqual(arrival(b"X-Forwarded-For: %b\r\n" % value).peer, ("10.0.0.2", 0))

    def test_unix(self) -> None:
        """A proxy on a UNIX socket tells no less."""
        lines = b"X-Forwarded-For: 198.51.100.1, 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
        found = TrustedProxies(["unix"]).arrival(None, None, False, lines)
        self.assertEqual(found[:3], (("192.0.2.1", 0), ("127.0.0.1", 443), True))


class SchemeTests(SynchronousTestCase):
    """X-Forwarded-Proto and X-Forwarded-Port."""

    def facts(self, lines: bytes, https: bool = False) -> tuple[bool, tuple[str, int] | None]:
        """Scheme and address, where the fields have to be passed on as they are."""
        found = arrival(lines, https)
        self.assertEqual((found.peer, found.fields), (PROXY, OTHERS + lines))
        return found.https, found.local

    def test_scheme(self) -> None:
        """It decides scheme and port, whatever the proxy itself speaks."""
        for value, https, port in [
            (b"https", True, 443),
            (b"HTTPS", True, 443),
            (b"http", False, 80),
            (b"http, https", True, 443),
            (b"https,http ", False, 80),
        ]:
            for inside in (False, True):
                facts = self.facts(b"X-Forwarded-Proto: %b\r\n" % value, inside)
                self.assertEqual(facts, (https, ("10.0.0.9", port)))

    def test_last_field(self) -> None:
        """Of several the last counts."""
        lines = b"X-Forwarded-Proto: https\r\nx-forwarded-proto: http\r\n"
        self.assertEqual(self.facts(lines), (False, ("10.0.0.9", 80)))

    def test_other_schemes(self) -> None:
        """Anything else changes nothing."""
        for value in (b"", b"on", b"wss", b"https,", b"https:"):
            for inside in (False, True):
                facts = self.facts(b"X-Forwarded-Proto: %b\r\n" % value, inside)
                self.assertEqual(facts, (inside, LOCAL))

    def test_port(self) -> None:
        """It counts with a scheme and without."""
        port = b"X-Forwarded-Port: 8443\r\n"
        self.assertEqual(self.facts(port), (False, ("10.0.0.9", 8443)))
        lines = port + b"X-Forwarded-Proto: https\r\n"
        self.assertEqual(self.facts(lines), (True, ("10.0.0.9", 8443)))

    def test_invalid_port(self) -> None:
        """One that is none changes nothing."""
        for value in (b"", b"0", b"65536", b"-1", b"8443 x", b"123456", b"https"):
            self.assertEqual(self.facts(b"X-Forwarded-Port: %b\r\n" % value), (False, LOCAL))

    def test_what_is_not_understood(self) -> None:
        """X-Forwarded-Host and Forwarded change nothing, and are the application's to judge."""
        for line in (b"X-Forwarded-Host: b.test\r\n", b"Forwarded: for=192.0.2.1;proto=https\r\n"):
            self.assertEqual(self.facts(line), (False, LOCAL))
