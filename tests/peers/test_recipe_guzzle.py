"""examples/php: Guzzle."""

from __future__ import annotations

import queue
import subprocess

from tests.peers import recipes
from tests.peers.openings import local
from tests.peers.sockets import Message, answering

# A program that uses the middleware and has options of its own.
_PROGRAM = """
require 'GuzzleHttp/autoload.php';
require '%(examples)s/FastcarMiddleware.php';
$stack = GuzzleHttp\\HandlerStack::create();
$stack->push(new FastcarMiddleware(
    getenv('FASTCAR_SOCKET'), getenv('FASTCAR_CA'), getenv('FASTCAR_HTTPS_SOCKET') ?: null
));
$client = new GuzzleHttp\\Client(['handler' => $stack, %(options)s]);
echo $client->get($argv[1])->getBody();
"""


class GuzzleCase(recipes.RecipeTestCase):
    """guzzle.php with FastcarMiddleware.php."""

    recipe = "guzzle.php"

    def require(self) -> None:
        super().require()
        recipes.require_library("GuzzleHttp/autoload.php", "php-guzzlehttp-guzzle")

    def run_with(self, options: str, url: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Fetch `url` with a Guzzle that has options of its own."""
        program = _PROGRAM % {"examples": recipes.EXAMPLES, "options": options}
        return self.php("-r", program, url, **environ)

    def assert_output(self, done: subprocess.CompletedProcess[str], output: str) -> None:
        """PHP has printed this, and ended well."""
        self.assertEqual((done.stdout, done.stderr, done.returncode), (output, "", 0), done)


class SocketTests(GuzzleCase, recipes.HTTP, recipes.LocalTLS):
    """Over TLS."""

    def php(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return super().php(*arguments, **{**environ, "FASTCAR_HTTPS_SOCKET": ""})

    def test_stream(self) -> None:
        """Option `stream` does not make Guzzle take PHP's streams, and go past fastcar."""
        origin = self.texts("https")
        for _ in range(2):
            done = self.run_with("'stream' => true", local(origin))
            self.assert_output(done, recipes.BODY)
        self.assertEqual(origin.accepted, 1)

    def test_proxy(self) -> None:
        """Option `proxy` has no effect."""
        done = self.run_with("'proxy' => 'http://127.0.0.1:1'", local(self.texts("https")))
        self.assert_output(done, recipes.BODY)

    def test_verify(self) -> None:
        """Nor has option `verify`: the CA is fastcar's, and the certificate is verified."""
        url = local(self.texts("https"))
        for option in ("'verify' => false", "'verify' => '/etc/hostname'"):
            self.assert_output(self.run_with(option, url), recipes.BODY)
            done = self.run_with(option, url, FASTCAR_CA=self.shared.authority.file)
            self.assertIn("certificate", done.stderr)


class HTTPSSocketTests(GuzzleCase, recipes.HTTP, recipes.HTTPS):
    """Without TLS between PHP and fastcar."""

    def test_cookies_and_redirects(self) -> None:
        """Cookies, also those for https:// alone, and redirects are as ever."""
        requests: queue.Queue[Message] = queue.Queue()
        target = self.origin(answering(recipes.RESPONSE, requests), "https")
        location = local(target).encode()
        origin = self.origin(
            answering(
                b"HTTP/1.1 302 Found\r\nSet-Cookie: a=1; Secure\r\nContent-Length: 0\r\n"
                b"Location: %b\r\n\r\n" % location
            ),
            "https",
        )
        done = self.run_with(
            "'cookies' => true, 'allow_redirects' => ['referer' => true]", local(origin)
        )
        self.assert_output(done, recipes.BODY)
        request = requests.get_nowait()
        self.assertEqual(request.values(b"cookie"), [b"a=1"])
        self.assertEqual(request.values(b"referer"), [local(origin).encode()])

    def test_statistics(self) -> None:
        """`on_stats` is told the https:// URL."""
        url = local(self.texts("https"))
        done = self.run_with("'on_stats' => fn ($it) => print($it->getEffectiveUri() . ' ')", url)
        self.assert_output(done, f"{url} {recipes.BODY}")

    def test_port(self) -> None:
        """An unusual port stays."""
        done = self.run_with("'http_errors' => false", "https://localhost:80/")
        self.assertIn("https://localhost:80", done.stdout)
