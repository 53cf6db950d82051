"""examples/php: php-fpm-pool.conf."""

from __future__ import annotations

import grp
import os
import pwd
from urllib.parse import urlencode

from tests.peers import recipes
from tests.peers.fpm import FPM
from tests.peers.sockets import RawOrigin

_PAGE = os.path.join(os.path.dirname(__file__), "page.php")


class PoolTests(recipes.RecipeTestCase):
    """A php-fpm with that pool, whose programs know nothing of fastcar."""

    recipe = "php-fpm-pool.conf"

    def start_fpm(self, origin: RawOrigin) -> FPM:
        """Start one, and a fastcar that alone knows where origin.test is."""
        folder = self.folder()
        self.open_fastcar("--resolve", f"origin.test:{origin.port}:127.0.0.1")
        with open(os.path.join(recipes.EXAMPLES, self.recipe)) as file:
            pool = file.read()
        for name, value in (
            ("group = www-data", f"group = {grp.getgrgid(os.getegid()).gr_name}"),
            ("www-data", pwd.getpwuid(os.geteuid()).pw_name),
            ("/run/php/shop.sock", os.path.join(folder, "fpm.sock")),
            ("/run/fastcar/fastcar.sock", self.doors.socket),
            ("/var/lib/fastcar/ca.pem", self.doors.ca_file),
        ):
            self.assertIn(name, pool)
            pool = pool.replace(name, value)
        fpm = FPM(folder, pool)
        self.addCleanup(fpm.stop)
        return fpm

    def get(self, fpm: FPM, origin: RawOrigin, client: str) -> str:
        """What a page says that has fetched from `origin`."""
        url = f"{origin.scheme}://origin.test:{origin.port}/"
        query = {
            "client": client,
            "url": url,
            "proxy": recipes.recipe_environ(self.doors)["FASTCAR_PROXY"],
        }
        return fpm.get(_PAGE, urlencode(query))

    def assert_shares_among_workers(self, scheme: str, client: str) -> None:
        """The workers share one connection to the origin."""
        origin = self.texts(scheme)
        fpm = self.start_fpm(origin)
        for _ in range(recipes.PROCESSES):
            self.assertEqual(self.get(fpm, origin, client), recipes.BODY)
        self.assertEqual(origin.accepted, 1)

    def test_http(self) -> None:
        """curl follows ALL_PROXY to an http:// origin."""
        self.assert_shares_among_workers("http", "curl")

    def test_https(self) -> None:
        """And to an https:// origin, verified with curl.cainfo."""
        self.assert_shares_among_workers("https", "curl")

    def test_guzzle(self) -> None:
        """So does Guzzle."""
        recipes.require_library("GuzzleHttp/autoload.php", "php-guzzlehttp-guzzle")
        self.assert_shares_among_workers("https", "guzzle")

    def test_symfony(self) -> None:
        """So does Symfony's client."""
        library = "Symfony/Component/HttpClient/autoload.php"
        recipes.require_library(library, "php-symfony-http-client")
        self.assert_shares_among_workers("https", "symfony")

    def test_streams(self) -> None:
        """Streams have openssl.cafile; the proxy they must be told."""
        self.assert_shares_among_workers("https", "streams")

    def test_without_fastcar(self) -> None:
        """Without fastcar nothing goes to the origin directly."""
        origin = self.texts("http")
        fpm = self.start_fpm(origin)
        self.doors.stop()
        self.assertIn("connect", self.get(fpm, origin, "curl"))
        self.assertEqual(origin.accepted, 0)
