"""examples/php: Symfony's HttpClient."""

from __future__ import annotations

import subprocess

from tests.peers import recipes
from tests.peers.openings import local

_PROGRAM = """
require 'Symfony/Component/HttpClient/autoload.php';
@include 'Symfony/Component/HttpFoundation/autoload.php';
require '%(examples)s/FastcarHttpClient.php';
use Symfony\\Component\\HttpClient\\NoPrivateNetworkHttpClient;
use Symfony\\Component\\HttpClient\\RetryableHttpClient;
use Symfony\\Component\\HttpClient\\ScopingHttpClient;
$client = new FastcarHttpClient(getenv('FASTCAR_SOCKET'), getenv('FASTCAR_CA'));
$client = %(client)s;
echo $client->request('GET', $argv[1], [%(options)s])->getContent();
"""


class SymfonyCase(recipes.RecipeTestCase):
    """symfony.php with FastcarHttpClient.php."""

    recipe = "symfony.php"

    def require(self) -> None:
        super().require()
        library = "Symfony/Component/HttpClient/autoload.php"
        recipes.require_library(library, "php-symfony-http-client")


class SocketTests(SymfonyCase, recipes.HTTP, recipes.LocalTLS):
    """As the recipe has it, and within other clients."""

    def run_with(
        self, client: str, options: str, url: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Fetch `url` with a client made of `$client`, the recipe's, and options of its own."""
        names = {"examples": recipes.EXAMPLES, "client": client, "options": options}
        return self.php("-r", _PROGRAM % names, url, **environ)

    def test_no_socket(self) -> None:
        """Without the socket it says so, and looks no name up."""
        done = self.cook("https://origin.invalid/", **recipes.NOWHERE)
        self.assertIn("There is no socket /tmp/no-such-fastcar.sock", done.stderr)

    def test_decorated(self) -> None:
        """Other clients around it change nothing."""
        origin = self.texts("https")
        url = local(origin)
        for client in (
            "new RetryableHttpClient($client)",
            f"ScopingHttpClient::forBaseUri($client, '{url}', [])",
            "$client->withOptions(['timeout' => 5])",
        ):
            done = self.run_with(client, "", url)
            self.assertEqual((done.stdout, done.stderr), (recipes.BODY, ""), done)
        self.assertEqual(origin.accepted, 1)

    def test_private_networks(self) -> None:
        """One that wants to see IP addresses refuses; it does not go to the origin directly."""
        library = "Symfony/Component/HttpFoundation/autoload.php"
        recipes.require_library(library, "php-symfony-http-foundation")
        origin = self.texts("https")
        client = "new NoPrivateNetworkHttpClient($client, ['10.0.0.0/8'])"
        done = self.run_with(client, "", local(origin))
        self.assertRegex(done.stderr, r'IP ".*\.sock" is blocked')

    def test_options(self) -> None:
        """Nor do options of a request: not the way, and not that the certificate is verified."""
        url = local(self.texts("https"))
        for options in (
            "'bindto' => '0'",
            "'proxy' => 'http://127.0.0.1:1'",
            "'verify_peer' => false, 'verify_host' => false",
        ):
            done = self.run_with("$client", options, url)
            self.assertEqual((done.stdout, done.stderr), (recipes.BODY, ""), done)
            done = self.run_with("$client", options, url, FASTCAR_CA=self.shared.authority.file)
            self.assertIn("certificate", done.stderr)


class ProxyTests(SymfonyCase, recipes.HTTP, recipes.LocalTLS):
    """symfony-proxy.php: SOCKS5."""

    recipe = "symfony-proxy.php"

    def test_opening(self) -> None:
        """It is SOCKS5 for both."""
        for scheme, opening in (("http", "socks5"), ("https", "socks5")):
            self.assert_arrives(scheme, opening)
