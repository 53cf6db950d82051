"""examples/php: curl over the socket, over the https socket, and with ALL_PROXY alone."""

from __future__ import annotations

import queue
import subprocess

from tests.peers import recipes
from tests.peers.openings import local
from tests.peers.sockets import Message, answering

_NOBODY = "https://127.0.0.2:1/"


class SocketTests(recipes.HTTP, recipes.LocalTLS):
    """curl.php; test_example.py has more about it."""

    recipe = "curl.php"

    def assert_fetches(self, *urls: str, body: str = recipes.BODY, **environ: str) -> None:
        """It prints how long it took, for each of two requests."""
        done = self.cook(*urls, **environ)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertEqual(done.stdout.count(f"status 200, {len(body)} bytes"), 2, done)

    def test_address(self) -> None:
        """With an address in the URL curl names no origin, and the certificate is another's."""
        done = self.cook(_NOBODY)
        self.assertIn("curl error 60: SSL: no alternative certificate", done.stderr)


class HTTPSSocketTests(recipes.HTTPS):
    """curl-https-socket.php."""

    recipe = "curl-https-socket.php"

    def test_opening(self) -> None:
        """It is plain HTTP that goes on as https."""
        self.assert_arrives("https", "origin-form")

    def test_address(self) -> None:
        """An address in the URL is as good as a name."""
        self.assertIn("https://127.0.0.2:1: connection refused", self.cook(_NOBODY).stdout)

    def test_redirect(self) -> None:
        """A redirect to https:// is followed on the same socket, verified."""
        target = self.texts("https")
        origin = self.redirecting(target, "https")
        self.assert_fetches(local(origin))
        done = self.cook(local(origin), FASTCAR_CA=self.shared.authority.file)
        self.assertIn("certificate", done.stderr)
        self.assertEqual((origin.accepted, target.accepted), (1, 1))

    def test_secure_cookie(self) -> None:
        """curl, which sees http:// here, does not keep a cookie that is only for https://."""
        requests: queue.Queue[Message] = queue.Queue()
        response = b"HTTP/1.1 302 Found\r\nSet-Cookie: a=1; Secure\r\nSet-Cookie: b=2\r\n"
        response += b"Location: /\r\nContent-Length: 0\r\n\r\n"
        origin = self.origin(answering(response, requests), "https")
        self.open_fastcar("--resolve", f"origin.test:{origin.port}:127.0.0.1")
        code = """
            $handle = curl_init($argv[1]);
            curl_setopt_array($handle, [
                CURLOPT_UNIX_SOCKET_PATH => getenv('FASTCAR_HTTPS_SOCKET'),
                CURLOPT_FOLLOWLOCATION => true,
                CURLOPT_MAXREDIRS => 1,
                CURLOPT_COOKIEFILE => '',
            ]);
            curl_exec($handle);
        """
        self.php("-r", code, f"http://origin.test:{origin.port}/")
        self.assertEqual(requests.get_nowait().values(b"cookie"), [])
        self.assertEqual(requests.get_nowait().values(b"cookie"), [b"b=2"])


class AllProxyTests(recipes.HTTP, recipes.LocalTLS):
    """curl-all-proxy.php: SOCKS5."""

    recipe = "curl-all-proxy.php"

    def php(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run PHP as the first lines of the recipe say."""
        told = {**recipes.recipe_environ(self.doors), **environ}
        proxy = {"ALL_PROXY": f"socks5h://localhost{told['FASTCAR_SOCKET']}"}
        return super().php(
            "-d", f"curl.cainfo={told['FASTCAR_CA']}", *arguments, **proxy, **environ
        )

    def test_opening(self) -> None:
        """It is SOCKS5 for both."""
        for scheme, opening in (("http", "socks5"), ("https", "socks5")):
            self.assert_arrives(scheme, opening)

    def test_fifty_requests(self) -> None:
        """Fifty requests in ten processes, each in a tunnel of its own, share a connection."""
        self.assert_shares("https", processes=10, requests=5)

    def test_address(self) -> None:
        """An address in the URL is as good as a name."""
        self.assertIn("error: 502", self.cook(_NOBODY).stderr)

    def test_own_ca_file(self) -> None:
        """Code with a CA file of its own does not trust fastcar, whatever curl.cainfo is."""
        origin = self.texts("https")
        code = """
            $handle = curl_init($argv[1]);
            curl_setopt($handle, CURLOPT_CAINFO, $argv[2]);
            curl_exec($handle);
            echo curl_errno($handle);
        """
        for file, output in (
            (self.shared.authority.file, "60"),
            (self.doors.ca_file, f"{recipes.BODY}0"),
        ):
            self.assertEqual(self.php("-r", code, local(origin), file).stdout, output)

    def test_no_proxy(self) -> None:
        """NO_PROXY names hosts that PHP reaches itself."""
        origin = self.texts("http")
        self.assert_fetches(local(origin), NO_PROXY="localhost", **recipes.NOWHERE)
        self.assertEqual(origin.accepted, 1)

    def test_https_proxy(self) -> None:
        """https_proxy, where it is set, is what curl takes for https://."""
        self.assert_fails(self.texts("https"), https_proxy="http://127.0.0.1:1")

    def test_guzzle(self) -> None:
        """Guzzle without any options goes through fastcar."""
        recipes.require_library("GuzzleHttp/autoload.php", "php-guzzlehttp-guzzle")
        self.assert_untold(
            "require 'GuzzleHttp/autoload.php';"
            "echo (new GuzzleHttp\\Client())->get($argv[1])->getBody();"
        )

    def test_symfony(self) -> None:
        """So does Symfony's client."""
        library = "Symfony/Component/HttpClient/autoload.php"
        recipes.require_library(library, "php-symfony-http-client")
        self.assert_untold(
            f"require '{library}';"
            "$client = Symfony\\Component\\HttpClient\\HttpClient::create();"
            "echo $client->request('GET', $argv[1])->getContent();"
        )

    def assert_untold(self, code: str) -> None:
        """Code that says nothing of fastcar fetches through it."""
        for scheme in ("http", "https"):
            origin = self.texts(scheme)
            for _ in range(2):
                done = self.php("-r", code, local(origin))
                self.assertEqual((done.stdout, done.stderr), (recipes.BODY, ""), done)
            self.assertEqual(origin.accepted, 1)
