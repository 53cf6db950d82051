"""examples/php: WordPress."""

from __future__ import annotations

import os
import subprocess
from unittest import SkipTest

from tests.peers import recipes
from tests.peers.openings import local

_LOADER = os.path.join(os.path.dirname(__file__), "wordpress.php")


class WordPressTests(recipes.HTTP, recipes.LocalTLS):
    """fastcar-mu-plugin.php."""

    recipe = "fastcar-mu-plugin.php"

    def require(self) -> None:
        super().require()
        if not os.path.exists("/usr/share/wordpress/wp-includes/class-wp-http.php"):
            raise SkipTest("WordPress is not installed (Debian package wordpress)")

    def cook(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Fetch a URL with a WordPress that has loaded the plug-in."""
        plugin = os.path.join(recipes.EXAMPLES, self.recipe)
        return self.php(_LOADER, plugin, *arguments, **environ)

    def test_redirect(self) -> None:
        """WordPress follows redirects itself, each through fastcar."""
        target = self.texts("https")
        origin = self.redirecting(target, "http")
        for _ in range(2):
            self.assert_fetches(local(origin))
        self.assertEqual((origin.accepted, target.accepted), (1, 1))

    def test_all_proxy(self) -> None:
        """Without the plug-in ALL_PROXY is not enough: WordPress has a CA file of its own."""
        url = local(self.texts("https"))
        proxy = {"ALL_PROXY": f"socks5h://localhost{self.doors.socket}"}
        settings = ["-d", f"curl.cainfo={self.doors.ca_file}"]
        done = self.php(*settings, _LOADER, "", url, **proxy)
        self.assertIn("cURL error 60", done.stderr)
        plugin = os.path.join(recipes.EXAMPLES, self.recipe)
        done = self.php(*settings, _LOADER, plugin, url, **proxy)
        self.assertEqual((done.stdout, done.stderr), (recipes.BODY, ""), done)

    def test_certificates(self) -> None:
        """What a program says of certificates has no effect: fastcar's is verified."""
        url = local(self.texts("https"))
        for arguments in ('{"sslcertificates": "/etc/hostname"}', '{"sslverify": false}'):
            done = self.cook(url, arguments)
            self.assertEqual((done.stdout, done.stderr), (recipes.BODY, ""), done)
            done = self.cook(url, arguments, FASTCAR_CA=self.shared.authority.file)
            self.assertIn("certificate", done.stderr)
