"""Addresses that the operator gives."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.names.overrides import Override, OverrideError, Overrides, parse_resolve


class ParseTests(SynchronousTestCase):
    """L{parse_resolve}."""

    def test_accepted(self) -> None:
        """What curl takes is taken."""
        for text, host, port, *addresses in (
            ("a.test:80:192.0.2.1", "a.test", 80, "192.0.2.1"),
            ("a.test:80:192.0.2.1,192.0.2.2", "a.test", 80, "192.0.2.1", "192.0.2.2"),
            ("a.test:1:[2001:db8::1],192.0.2.1", "a.test", 1, "2001:db8::1", "192.0.2.1"),
            ("a.test:65535:2001:DB8:0::1,::1", "a.test", 65535, "2001:db8::1", "::1"),
            ("*:443:192.0.2.1", "*", 443, "192.0.2.1"),
            ("+a.test:80:192.0.2.1", "a.test", 80, "192.0.2.1"),
            ("under_score.A.test.:80:192.0.2.1", "under_score.a.test", 80, "192.0.2.1"),
        ):
            self.assertEqual(parse_resolve(text), Override(host, port, tuple(addresses)), text)

    def test_refused(self) -> None:
        """Anything else is refused with what was expected, and what is wrong if that is not all."""
        for text, reason in (
            ("", ""),
            ("a.test", ""),
            ("a.test:80", ""),
            ("a.test:80:", ""),
            ("a.test::192.0.2.1", ""),
            (":80:192.0.2.1", ""),
            ("a.test:*:192.0.2.1", ""),
            ("[::1]:80:192.0.2.1", ""),
            ("-a.test:80", "no built-in overrides"),
            ("192.0.2.9:80:192.0.2.1", "never looked up"),
            ("*.test:80:192.0.2.1", "not a DNS name"),
            ("a test:80:192.0.2.1", "not a DNS name"),
            ("a.test:0:192.0.2.1", "1 to 65535"),
            ("a.test:65536:192.0.2.1", "1 to 65535"),
            ("a.test:80:b.test", "'b.test' is not an IP address"),
            ("a.test:80:192.0.2.1,", "'' is not an IP address"),
            ("a.test:80:192.0.2.1, 192.0.2.2", "' 192.0.2.2' is not"),
            ("a.test:80:[192.0.2.1]", "is not an IP address"),
            ("a.test:80:[::1", "is not an IP address"),
            ("a.test:80:fe80::1%eth0", "is not an IP address"),
            ("a.test:80:192.0.2.1\n", "is not an IP address"),
        ):
            error = self.assertRaises(OverrideError, parse_resolve, text)
            self.assertIn("HOST:PORT:ADDRESS", error.expected)
            self.assertEqual(bool(error.reason), bool(reason), text)
            self.assertIn(reason, error.reason)
            self.assertIn(repr(text), str(error))
            self.assertNotIn("\n", str(error))

    @given(
        st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,9}){0,3}", fullmatch=True),
        st.integers(1, 65535),
        st.lists(st.ip_addresses(), min_size=1, max_size=4),
    )
    def test_every_entry(self, host: str, port: int, addresses: list[object]) -> None:
        """Whatever is written by the rules is read back."""
        told = tuple(map(str, addresses))
        bracketed = [f"[{each}]" if ":" in each else each for each in told]
        self.assertEqual(
            parse_resolve(f"{host}:{port}:{','.join(bracketed)}"), Override(host, port, told)
        )

    @given(st.text(st.sampled_from("a.*:,+-[]018%\n é")))
    def test_nothing_else_is_raised(self, text: str) -> None:
        """No text has another effect than an override or an OverrideError."""
        with contextlib.suppress(OverrideError):
            self.assertTrue(parse_resolve(text).addresses)


class FindTests(SynchronousTestCase):
    """L{Overrides}."""

    def find(self, host: str, port: int, *texts: str) -> tuple[str, ...] | None:
        """Look for a host in overrides."""
        return Overrides(map(parse_resolve, texts)).find(host, port)

    def test_host_and_port(self) -> None:
        """An entry is for one port of one name, in any spelling of it."""
        entry = "A.test:80:192.0.2.1,192.0.2.2"
        for host in ("a.test", "a.TEST", "a.test."):
            self.assertEqual(self.find(host, 80, entry), ("192.0.2.1", "192.0.2.2"))
        self.assertIsNone(self.find("a.test", 443, entry))
        self.assertIsNone(self.find("b.test", 80, entry))
        self.assertIsNone(self.find("a.test", 80))

    def test_wildcard(self) -> None:
        """The wildcard is for all names at its port that have no entry of their own."""
        entries = ("a.test:80:192.0.2.1", "*:80:192.0.2.9")
        for order in (entries, entries[::-1]):
            self.assertEqual(self.find("a.test", 80, *order), ("192.0.2.1",))
            self.assertEqual(self.find("b.test", 80, *order), ("192.0.2.9",))
            self.assertIsNone(self.find("b.test", 443, *order))

    def test_last_counts(self) -> None:
        """Of several entries for the same host and port the last counts, as with curl."""
        for host in ("a.test", "*"):
            entries = (f"{host}:80:192.0.2.1", f"{host}:80:192.0.2.2")
            self.assertEqual(self.find("a.test", 80, *entries), ("192.0.2.2",))
