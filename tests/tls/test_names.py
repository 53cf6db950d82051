"""`fastcar_tw.tls.names`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.tls.names import is_dns_name, normal_host


class NameTests(SynchronousTestCase):
    """Which names may stand in a certificate, and how hosts are compared."""

    def test_names(self) -> None:
        """DNS names in lower-case ASCII pass, A-labels and underscores too."""
        for name in (
            "localhost",
            "a.test",
            "xn--bcher-kva.example",
            "my_service",
            "1.a",
            "a" * 63 + ".test",
            ".".join(["a" * 62] * 4),
        ):
            self.assertTrue(is_dns_name(name), name)

    def test_no_names(self) -> None:
        """Wildcards, literals, bad characters and lengths, empty labels and final dots do not."""
        for name in (
            "",
            ".",
            "a..b",
            "a.test.",
            ".a",
            "*.a.test",
            "127.0.0.1",
            "1",
            "::1",
            "A.test",
            "a b",
            "a\0.test",
            "a\n",
            "-a",
            "a-",
            "b\u00fccher.example",
            "a" * 64,
            ".".join(["a" * 62] * 4) + ".bbb",
            "a/b",
            "a:443",
        ):
            self.assertFalse(is_dns_name(name), name)

    def test_normal_host(self) -> None:
        """Each host has one spelling."""
        for host, normal in (
            ("A.Test", "a.test"),
            ("a.test.", "a.test"),
            ("[::1]", "::1"),
            ("[0:0::0:1]", "::1"),
            ("FE80::A", "fe80::a"),
            ("127.0.0.1", "127.0.0.1"),
        ):
            self.assertEqual(normal_host(host), normal)
