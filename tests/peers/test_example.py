"""examples/php/curl.php does what its first lines promise."""

from __future__ import annotations

import os
import socket
import subprocess
from unittest import SkipTest

from fastcar_tw.config import default_ca_dir
from tests.peers.case import PeersTestCase
from tests.peers.clients import require_php_curl
from tests.peers.processes import LIMIT

_EXAMPLE = os.path.join(
    os.path.dirname(__file__), os.pardir, os.pardir, "examples", "php", "curl.php"
)


class CurlExampleTests(PeersTestCase):
    """The example, run as a user would."""

    def run_example(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        require_php_curl()
        default = {"FASTCAR_SOCKET": self.fastcar.socket, "FASTCAR_CA": self.fastcar.ca_file}
        return subprocess.run(
            ["php", _EXAMPLE, *arguments],
            env={**os.environ, **default, **environ},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def test_fetch(self) -> None:
        """It fetches a page twice over HTTPS, verified, and tells status, size and time."""
        url = self.nginx.url("https", "/hello")
        done = self.run_example(url)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 2, lines)
        for line in lines:
            self.assertRegex(line, rf"{url}: status 200, 6 bytes, \d+\.\d ms$")

    def test_no_socket(self) -> None:
        """Without a fastcar it says how to start one."""
        done = self.run_example(FASTCAR_SOCKET="/no/such.sock")
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn("/no/such.sock", done.stderr)
        self.assertIn("make run", done.stderr)

    def test_dead_socket(self) -> None:
        """With a socket that nobody listens on it says so."""
        path = os.path.join(self.folder(), "dead.sock")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        done = self.run_example(FASTCAR_SOCKET=path)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn(f"Nobody answers on {path}", done.stderr)

    def test_no_ca(self) -> None:
        """Without the CA file it says who knows its path."""
        done = self.run_example(FASTCAR_CA="/no/such.pem")
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn("/no/such.pem", done.stderr)
        self.assertIn("FASTCAR_CA", done.stderr)

    def test_default_ca(self) -> None:
        """It looks for the CA file where fastcar puts it."""
        for environ in (
            {"XDG_STATE_HOME": "/no/state"},
            {"XDG_STATE_HOME": "relative", "HOME": "/no/home"},
        ):
            expected = os.path.join(default_ca_dir(environ, os.geteuid()), "ca.pem")
            if os.path.exists(expected):
                raise SkipTest(f"there is a {expected}")
            done = self.run_example(FASTCAR_CA="", **environ)
            self.assertIn(expected, done.stderr)

    def test_origin_down(self) -> None:
        """fastcar's reason for a failure is shown."""
        done = self.run_example("https://localhost:1/")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("https://localhost:1: connection refused", done.stderr)
