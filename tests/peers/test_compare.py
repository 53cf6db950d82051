"""``python -m fastcar_tw.compare`` as a whole, with real PHP; what it measures is not judged."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

from tests.peers.case import PeersTestCase
from tests.peers.clients import require_php_curl
from tests.peers.processes import LIMIT, Process

_COMMAND = [sys.executable, "-m", "fastcar_tw.compare"]
_LATENCIES = r"(?: +\d+\.\d\d){4}"
_REDUCTION = r" +-?\d+\.\d %"


class CompareTests(PeersTestCase):
    """What it prints, and with which status it ends."""

    def setUp(self) -> None:
        super().setUp()
        require_php_curl()

    def compare(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end; it draws nothing."""
        return subprocess.run(
            [*_COMMAND, "--chart", "", "--requests", "3", *arguments],
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * LIMIT,
            check=False,
        )

    def test_local_link(self) -> None:
        """With --rtt alone it has all it needs: an origin, a fastcar, verified TLS."""
        done = self.compare("--rtt", "2")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertRegex(done.stdout, r"^Measured in PHP \d+\.\d.* with libcurl \d")
        _, http, https = done.stdout.split("\n\n")
        added = r" +-?\d+\.\d\d ms"
        self.assertRegex(
            http,
            rf"\Ahttp://localhost:\d+/, 2 ms RTT, 3 requests each way\n"
            rf" +p50 ms .*\n"
            rf"direct{_LATENCIES}{added}\n"
            rf"fastcar{_LATENCIES}{_REDUCTION}{added}\Z",
        )
        self.assertRegex(
            https,
            rf"\Ahttps://localhost:\d+/, 2 ms RTT, 3 requests each way\n"
            rf" +p50 ms .*\n"
            rf"direct{_LATENCIES}{added}\n"
            rf"fastcar, TLS on socket{_LATENCIES}{_REDUCTION}{added}\n"
            rf"fastcar, https socket{_LATENCIES}{_REDUCTION}{added}\n\Z",
        )

    def test_url(self) -> None:
        """
        With a URL alone, PHP and a fastcar of its own trust whom they trust by default, and take
        no proxy from the environment.
        """
        folder = self.folder()
        with open(os.path.join(folder, "ca.ini"), "w") as file:
            file.write(f"curl.cainfo={self.shared.authority.file}\n")
        url = self.nginx.url("https", "/hello")
        trust = {"PHP_INI_SCAN_DIR": f":{folder}", "SSL_CERT_FILE": self.shared.authority.file}
        with socket.socket() as dead:
            dead.bind(("127.0.0.1", 0))  # and does not listen
            proxy = f"http://127.0.0.1:{dead.getsockname()[1]}"
            named = ("ALL_PROXY", "http_proxy", "https_proxy")
            proxies = {**dict.fromkeys(named, proxy), "NO_PROXY": "", "no_proxy": ""}
            done = self.compare(url, **trust, **proxies)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertRegex(
            done.stdout,
            rf"\n{re.escape(url)}, 3 requests each way\n"
            rf" +p50 ms .*\n"
            rf"direct{_LATENCIES}\n"
            rf"fastcar, TLS on socket{_LATENCIES}{_REDUCTION}\n"
            rf"fastcar, https socket{_LATENCIES}{_REDUCTION}\n\Z",
        )

    def test_running_fastcar(self) -> None:
        """A URL and a fastcar that runs; a status other than 200 is told."""
        url = self.nginx.url("http", "/no-such-page")
        done = self.compare("--socket", self.fastcar.socket, url)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertRegex(
            done.stdout,
            rf"\n{re.escape(url)}, 3 requests each way\n"
            rf" +p50 ms .*\n"
            rf"direct{_LATENCIES}\n"
            rf"fastcar{_LATENCIES}{_REDUCTION}\n"
            rf"statuses of direct: 4 x 404\n"
            rf"statuses of fastcar: 4 x 404\n\Z",
        )

    def test_failure(self) -> None:
        """No response ends it with one line: which way, and what curl says."""
        url = self.nginx.url("https", "/hello")
        done = self.compare("--socket", self.fastcar.socket, "--ca", self.fastcar.ca_file, url)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertRegex(done.stderr, r"\Acompare: direct: curl error 60: .*\n\Z")

    def test_without_php(self) -> None:
        """It says what is missing, and what to install."""
        environ = {**os.environ, "PATH": self.folder()}
        done = subprocess.run(
            [*_COMMAND, "http://a/"], env=environ, capture_output=True, check=False, timeout=LIMIT
        )
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rb"\Acompare: php: not found; install it \(.*php-curl\)\n\Z")

    def test_interrupted(self) -> None:
        """Ctrl-C and SIGTERM end it in the middle of a request, and PHP with it."""
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)):
            folder = self.folder()
            path = os.path.join(folder, "silent.sock")
            with socket.socket(socket.AF_UNIX) as listener:
                listener.settimeout(LIMIT)
                listener.bind(path)
                listener.listen()
                url = self.nginx.url("http", "/hello")
                process = Process([*_COMMAND, "--socket", path, url], folder)
                self.addCleanup(process.stop)
                connection, _ = listener.accept()
            with connection:
                connection.settimeout(LIMIT)
                process.send_signal(number)
                self.assertEqual(process.wait(), status, process.output)
                while connection.recv(65536):
                    pass
