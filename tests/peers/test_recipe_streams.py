"""examples/php: PHP's streams."""

from __future__ import annotations

from tests.peers import recipes
from tests.peers.openings import local
from tests.peers.processes import require


class StreamsCase(recipes.RecipeTestCase):
    """No extension is needed."""

    def require(self) -> None:
        require("php", "php-cli")


class UnixTests(StreamsCase, recipes.HTTP):
    """streams-unix.php: absolute-form on the socket."""

    recipe = "streams-unix.php"

    def test_opening(self) -> None:
        """It is absolute-form."""
        self.assert_arrives("http", "absolute-form")

    def test_https(self) -> None:
        """PHP cannot do TLS there; it says so, and the origin is not contacted."""
        self.assert_fails(self.texts("https"))


class HTTPSSocketTests(StreamsCase, recipes.HTTPS):
    """streams-https-socket.php: absolute-form on the https socket."""

    recipe = "streams-https-socket.php"

    def test_opening(self) -> None:
        """It is plain HTTP that goes on as https."""
        self.assert_arrives("https", "absolute-form")


class TCPTests(StreamsCase, recipes.HTTP, recipes.LocalTLS):
    """streams-tcp.php: absolute-form and CONNECT on TCP."""

    recipe = "streams-tcp.php"

    def test_opening(self) -> None:
        """It is absolute-form for http://, and a tunnel for https://."""
        for scheme, opening in (("http", "absolute-form"), ("https", "connect")):
            self.assert_arrives(scheme, opening)

    def test_fifty_requests(self) -> None:
        """Fifty requests in ten processes, each in a tunnel of its own, share a connection."""
        self.assert_shares("https", processes=10, requests=5)

    def test_redirect(self) -> None:
        """PHP follows a redirect from http:// to https:// through fastcar."""
        target = self.texts("https")
        origin = self.redirecting(target, "http")
        for _ in range(2):
            self.assert_fetches(local(origin))
        self.assertEqual((origin.accepted, target.accepted), (1, 1))
