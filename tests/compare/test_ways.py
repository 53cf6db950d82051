"""What PHP sets for each way."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.compare.ways import Sockets, ways_to

SOCKETS = Sockets("/run/plain", "/run/https", "/run/ca.pem")


class WayTests(SynchronousTestCase):
    """Ways to http and https URLs."""

    def test_http(self) -> None:
        """An http URL has two ways; no proxy and the further options are for the direct one."""
        direct, through = ways_to("http://a/", SOCKETS, {"CAINFO": "/ca"})
        self.assertEqual(direct.options, {"URL": "http://a/", "PROXY": "", "CAINFO": "/ca"})
        self.assertEqual(through.options, {"URL": "http://a/", "UNIX_SOCKET_PATH": "/run/plain"})

    def test_https(self) -> None:
        """An https URL has a third; neither switches verification off."""
        direct, tls, https = ways_to("https://a:8443/b", SOCKETS, {})
        self.assertEqual(direct.options, {"URL": "https://a:8443/b", "PROXY": ""})
        self.assertEqual(
            tls.options,
            {
                "URL": "https://a:8443/b",
                "UNIX_SOCKET_PATH": "/run/plain",
                "CAINFO": "/run/ca.pem",
            },
        )
        self.assertEqual(
            https.options, {"URL": "http://a:8443/b", "UNIX_SOCKET_PATH": "/run/https"}
        )

    def test_what_is_not_there(self) -> None:
        """Without a CA file there is no TLS on the socket, without an https socket none either."""
        names = [way.name for way in ways_to("https://a/", Sockets("/s", "/h"), {})]
        self.assertEqual(names, ["direct", "fastcar, https socket"])
        names = [way.name for way in ways_to("https://a/", Sockets("/s", None, "/c"), {})]
        self.assertEqual(names, ["direct", "fastcar, TLS on socket"])
