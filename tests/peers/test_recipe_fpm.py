"""examples/php: php-fpm-pool.conf."""

from __future__ import annotations

import grp
import os
import pwd
from urllib.parse import urlencode

from tests.peers import recipes
from tests.peers.fpm import FPM
from tests.peers.sockets import Peer, RawOrigin

#: Has streams verify with fastcar's CA.
_CAFILE = "php_admin_value[openssl.cafile] = /var/lib/fastcar/ca.pem"
_PAGE = os.path.join(os.path.dirname(__file__), "page.php")


class PoolTests(recipes.RecipeTestCase):
    """A php-fpm with that pool, whose programs know nothing of fastcar."""

    recipe = "php-fpm-pool.conf"

    def start_fpm(self, origin: RawOrigin, *lines: str) -> FPM:
        """Start one, and a fastcar that alone knows where origin.test is.

        Of `lines`, those that the pool file has commented out are in force, others are added.
        """
        folder = self.folder()
        self.open_fastcar("--resolve", f"origin.test:{origin.port}:127.0.0.1")
        with open(os.path.join(recipes.EXAMPLES, self.recipe)) as file:
            pool = file.read()
        for line in lines:
            pool = pool.replace(f";{line}", "") + f"{line}\n"
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

    def get(self, fpm: FPM, origin: RawOrigin, client: str, host: str = "origin.test") -> str:
        """What a page says that has fetched from `origin`."""
        url = f"{origin.scheme}://{host}:{origin.port}/"
        query = {
            "client": client,
            "url": url,
            "proxy": recipes.recipe_environ(self.doors)["FASTCAR_PROXY"],
        }
        return fpm.get(_PAGE, urlencode(query))

    def assert_shares_among_workers(self, scheme: str, client: str, *lines: str) -> None:
        """The workers share one connection to the origin."""
        origin = self.texts(scheme)
        fpm = self.start_fpm(origin, *lines)
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
        """Streams go through fastcar if told the proxy, and have the line that is commented out."""
        self.assert_shares_among_workers("https", "streams", _CAFILE)

    def test_direct_streams(self) -> None:
        """Streams that are not told go directly, verified with the system's CAs."""
        self.assertEqual(self.get_directly(), recipes.BODY)

    def test_direct_streams_with_cafile(self) -> None:
        """With the line that is commented out they fail."""
        self.assertIn("certificate verify failed", self.get_directly(_CAFILE))

    def get_directly(self, *lines: str) -> str:
        """What a page says of an origin whose CA the system has, asked past fastcar."""

        def script(peer: Peer) -> None:
            peer.read_message()
            peer.send(recipes.RESPONSE)
            peer.end()

        origin = self.origin(script, "https")
        fpm = self.start_fpm(origin, f"env[SSL_CERT_FILE] = {self.shared.authority.file}", *lines)
        return self.get(fpm, origin, "direct streams", "localhost")

    def test_without_fastcar(self) -> None:
        """Without fastcar nothing goes to the origin directly."""
        origin = self.texts("http")
        fpm = self.start_fpm(origin)
        self.doors.stop()
        self.assertIn("connect", self.get(fpm, origin, "curl"))
        self.assertEqual(origin.accepted, 0)
