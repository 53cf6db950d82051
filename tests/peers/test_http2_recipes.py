"""examples/php with an origin that speaks HTTP/2: processes come and go, one connection stays."""

from __future__ import annotations

from tests.peers import recipes, test_recipe_guzzle, test_recipe_symfony
from tests.peers.http2 import Hypercorn, http2_fastcar, https


class CurlTests(recipes.RecipeTestCase):
    """curl-https-socket.php."""

    recipe = "curl-https-socket.php"

    def setUp(self) -> None:
        super().setUp()
        self.doors = http2_fastcar()

    def test_shared_connection(self) -> None:
        """Processes after each other share one connection, with HTTP/2."""
        origin = Hypercorn(self.shared.pair)
        self.addCleanup(origin.stop)
        for _ in range(recipes.PROCESSES):
            self.assert_fetches(https(origin, "/hello"), body="hello\n")
        self.assertEqual(origin.application.versions, {"2"})
        self.assertEqual(len(origin.application.connections), 1)


class GuzzleTests(test_recipe_guzzle.GuzzleCase, CurlTests):
    """guzzle.php, which takes the socket for https origins."""


class SymfonyTests(test_recipe_symfony.SymfonyCase, CurlTests):
    """symfony.php, which speaks TLS inside the socket."""
