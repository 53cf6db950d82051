"""Which tunnels are relayed unseen."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.routes.allowed_tunnels import (
    AllowedTunnelError,
    AllowedTunnels,
    parse_allowed_tunnel,
)


class ParseTests(SynchronousTestCase):
    """C{[HOST:]PORT}."""

    def test_accepted(self) -> None:
        """A port alone is that of any host; hosts are in their normal form."""
        for text, expected in (
            ("22", (None, 22)),
            ("1", (None, 1)),
            ("65535", (None, 65535)),
            ("0022", (None, 22)),
            ("a.test:22", ("a.test", 22)),
            ("A.Test.:22", ("a.test", 22)),
            ("my_db:3306", ("my_db", 3306)),
            ("10.0.0.1:25", ("10.0.0.1", 25)),
            ("[::1]:5432", ("::1", 5432)),
            ("[2001:DB8:0:0::1]:1", ("2001:db8::1", 1)),
        ):
            self.assertEqual((text, parse_allowed_tunnel(text)), (text, expected))

    def test_refused(self) -> None:
        """Anything else is none, and no attempt is made to guess."""
        for text in (
            "",
            ":",
            ":22",
            "0",
            "00000",
            "65536",
            "000022",
            "-1",
            "+22",
            " 22",
            "22 ",
            "2_2",
            "\N{SUPERSCRIPT TWO}",
            "\N{ARABIC-INDIC DIGIT TWO}",
            "ssh",
            "a.test",
            "a.test:",
            "a.test:0",
            "a.test:ssh",
            "a.test:65536",
            "a..b:22",
            "*:22",
            "*.test:22",
            "u@a.test:22",
            "a b:22",
            "a.test:22\n",
            "::1:22",
            "[::1]",
            "[::1%lo]:22",
            "[a.test]:22",
            "http://a.test:22",
            "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.test:22",
        ):
            error: AllowedTunnelError = self.assertRaises(
                AllowedTunnelError, parse_allowed_tunnel, text
            )
            self.assertEqual(
                (error.expected, error.reason), ("PORT or HOST:PORT, a port from 1 to 65535", "")
            )


class AllowedTunnelsTests(SynchronousTestCase):
    """Asking."""

    def test_nothing(self) -> None:
        """By default no tunnel is relayed."""
        self.assertNotIn(("a.test", 22), AllowedTunnels())

    def test_port(self) -> None:
        """A port alone allows every host, at that port."""
        allowed = AllowedTunnels(["22"])
        for host in ("a.test", "10.0.0.1", "::1"):
            self.assertIn((host, 22), allowed)
            self.assertNotIn((host, 220), allowed)

    def test_host(self) -> None:
        """A host allows itself, however it is written, and nobody else."""
        allowed = AllowedTunnels(["a.test:22", "[2001:db8::1]:22", "10.0.0.1:25"])
        for host, port, expected in (
            ("a.test", 22, True),
            ("A.TEST.", 22, True),
            ("2001:db8:0::1", 22, True),
            ("10.0.0.1", 25, True),
            ("a.test", 25, False),
            ("b.a.test", 22, False),
            ("test", 22, False),
            ("10.0.0.1", 22, False),
            ("2001:db8::2", 22, False),
        ):
            self.assertIs((host, port) in allowed, expected, host)

    def test_broken(self) -> None:
        """A text that is none is an error."""
        self.assertRaises(AllowedTunnelError, AllowedTunnels, ["22", "x"])
