"""What the tests of examples/php stand on: each file there run as it is, by PHP's own process."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from unittest import SkipTest

from tests.peers.case import PeersTestCase
from tests.peers.openings import OpenFastcar, local, open_fastcar
from tests.peers.processes import LIMIT, require
from tests.peers.sockets import RawOrigin, answering

EXAMPLES = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "examples", "php")

#: What the origins answer.
BODY = "All's well that ends well.\n"
RESPONSE = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}".encode()

#: PHP processes that share one connection to the origin.
PROCESSES = 5

#: Variables that send recipes where nobody listens.
NOWHERE = {
    "FASTCAR_SOCKET": "/tmp/no-such-fastcar.sock",
    "FASTCAR_HTTPS_SOCKET": "/tmp/no-such-fastcar.sock",
    "FASTCAR_PROXY": "tcp://127.0.0.1:1",
}


def recipe_environ(fastcar: OpenFastcar) -> dict[str, str]:
    """The variables that tell the recipes where it is."""
    return {
        "FASTCAR_SOCKET": fastcar.socket,
        "FASTCAR_HTTPS_SOCKET": fastcar.https_socket,
        "FASTCAR_PROXY": f"tcp://127.0.0.1:{fastcar.port}",
        "FASTCAR_CA": fastcar.ca_file,
    }


def clean_environ() -> dict[str, str]:
    """Our own environment, without proxies and recipes' settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("FASTCAR_")
    }


def run_php(
    *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run PHP in an environment in which nothing but `environ` is about proxies.

    PHP's own messages go to standard error.
    """
    messages = ["-d", "display_errors=0", "-d", "log_errors=1", "-d", "error_log="]
    return subprocess.run(
        [require("php", "php-cli"), *messages, *arguments],
        env={**clean_environ(), **(environ or {})},
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )


@functools.cache
def _holds(condition: str) -> bool:
    return run_php("-r", f"exit({condition} ? 0 : 1);").returncode == 0


def require_extension(name: str, package: str) -> None:
    """Skip the test if PHP lacks an extension."""
    require("php", "php-cli")
    if not _holds(f"extension_loaded('{name}')"):
        raise SkipTest(f"PHP has no extension {name} (Debian package {package})")


def require_library(path: str, package: str) -> None:
    """Skip the test if a file is not in PHP's include path."""
    require("php", "php-cli")
    if not _holds(f"stream_resolve_include_path('{path}')"):
        raise SkipTest(f"PHP has no {path} (Debian package {package})")


class RecipeTestCase(PeersTestCase):
    """A test of a file in examples/php."""

    #: The file.
    recipe: str

    def setUp(self) -> None:
        super().setUp()
        self.require()
        self.doors = open_fastcar()

    def tearDown(self) -> None:
        super().tearDown()
        self._assert_no_bug(self.doors)

    def require(self) -> None:
        """Skip the test if something that the recipe needs is not installed."""
        require_extension("curl", "php-curl")

    def php(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run PHP as the recipe is run, with variables besides or instead of its own."""
        return run_php(*arguments, environ={**recipe_environ(self.doors), **environ})

    def cook(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the recipe."""
        return self.php(os.path.join(EXAMPLES, self.recipe), *arguments, **environ)

    def open_fastcar(self, *options: str) -> OpenFastcar:
        """Have a fastcar of this test's own, in place of the shared one."""
        trust = ("--trust", self.shared.authority.file)
        self.doors = OpenFastcar(self.folder(), *trust, *options)
        self.addCleanup(self.doors.stop)
        return self.doors

    def texts(self, scheme: str) -> RawOrigin:
        """An origin that answers everything with `BODY`."""
        return self.origin(answering(RESPONSE), scheme)

    def assert_fetches(self, *urls: str, body: str = BODY, **environ: str) -> None:
        """The recipe prints the bodies and nothing else."""
        done = self.cook(*urls, **environ)
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr), (0, body * len(urls), ""), done
        )

    def redirecting(self, target: RawOrigin, scheme: str) -> RawOrigin:
        """An origin that sends everybody on to another one."""
        location = local(target).encode()
        response = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location
        return self.origin(answering(response), scheme)

    def assert_shares(self, scheme: str, processes: int = PROCESSES, requests: int = 1) -> None:
        """Processes after each other open one connection to the origin."""
        origin = self.texts(scheme)
        for _ in range(processes):
            self.assert_fetches(*[local(origin)] * requests)
        self.assertEqual(origin.accepted, 1)

    def assert_fails(self, origin: RawOrigin, **environ: str) -> None:
        """The recipe fails, says why, and the origin has not heard of it."""
        done = self.cook(local(origin), **environ)
        self.assertNotEqual(done.returncode, 0, done)
        self.assertNotEqual(done.stderr, "", done)
        self.assertEqual(origin.accepted, 0)

    def assert_arrives(self, scheme: str, opening: str) -> None:
        """fastcar's own page, where the recipe fetches it, says with what it came."""
        done = self.cook(f"{scheme}://fastcar.localhost/")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        arrived = json.loads(done.stdout)
        self.assertEqual((arrived["opening"], arrived["scheme"]), (opening, scheme), arrived)


class HTTP(RecipeTestCase):
    """Tests of every recipe for http:// origins."""

    def test_http(self) -> None:
        """Many PHP processes, one connection to an http:// origin."""
        self.assert_shares("http")

    def test_http_without_fastcar(self) -> None:
        """Without fastcar it fails: nothing goes to the origin directly."""
        self.assert_fails(self.texts("http"), **NOWHERE)


class HTTPS(RecipeTestCase):
    """Tests of every recipe for https:// origins."""

    def test_https(self) -> None:
        """Many PHP processes, one verified connection to an https:// origin."""
        self.assert_shares("https")

    def test_https_without_fastcar(self) -> None:
        """Without fastcar it fails: nothing goes to the origin directly."""
        self.assert_fails(self.texts("https"), **NOWHERE)


class LocalTLS(HTTPS):
    """The same, of those that speak TLS with fastcar."""

    def test_wrong_ca(self) -> None:
        """With another CA it fails: the certificate is verified."""
        self.assert_fails(self.texts("https"), FASTCAR_CA=self.shared.authority.file)
