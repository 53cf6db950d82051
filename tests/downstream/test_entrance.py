"""What is known of a client when its HTTP begins."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.downstream.entrance import Entrance

PLAIN = Entrance("unix:/s")


class EntranceTests(SynchronousTestCase):
    """One opening after another."""

    def test_plain(self) -> None:
        """At first nothing is known but the listener."""
        self.assertEqual(PLAIN, ("unix:/s", False, "", None, "", "", None))

    def test_tls(self) -> None:
        """TLS tells its version and the name it asked for."""
        self.assertEqual(
            PLAIN.inside_tls("TLSv1.3", "a.test"),
            Entrance("unix:/s", opening="tls", tls_version="TLSv1.3", server_name="a.test"),
        )

    def test_tunnel(self) -> None:
        """A tunnel tells where it leads to."""
        for opening in ("connect", "socks5"):
            self.assertEqual(
                PLAIN.inside_tunnel(opening, "a.test", 81),
                Entrance("unix:/s", opening=opening, target=("a.test", 81)),
            )

    def test_first_opening(self) -> None:
        """The first of several openings is the one that is told."""
        inside = PLAIN.inside_tunnel("socks5", "a.test", 443).inside_tls("TLSv1.2", "b.test")
        self.assertEqual((inside.opening, inside.target), ("socks5", ("a.test", 443)))
        inside = PLAIN.inside_tls("TLSv1.3", "").inside_tunnel("connect", "a.test", 443)
        self.assertEqual(inside.opening, "tls")

    def test_tls_around_a_tunnel(self) -> None:
        """TLS around a tunnel says nothing of what is inside it."""
        inside = PLAIN.inside_tls("TLSv1.3", "proxy.test").inside_tunnel("connect", "a.test", 80)
        self.assertEqual((inside.tls_version, inside.server_name, inside.scheme), ("", "", "http"))

    def test_scheme(self) -> None:
        """Requests are for https origins inside TLS, and at a listener for such; a tunnel does not
        change that."""
        secure = Entrance("unix:/s", True)
        for entrance, scheme in (
            (PLAIN, "http"),
            (PLAIN.inside_tls("TLSv1.3", ""), "https"),
            (PLAIN.inside_tunnel("connect", "a.test", 443), "http"),
            (PLAIN.inside_tunnel("connect", "a.test", 80).inside_tls("TLSv1.2", ""), "https"),
            (secure, "https"),
            (secure.inside_tls("TLSv1.3", ""), "https"),
            (secure.inside_tunnel("socks5", "a.test", 80), "https"),
        ):
            self.assertEqual(entrance.scheme, scheme, entrance)
            self.assertEqual(entrance.listener, "unix:/s")
