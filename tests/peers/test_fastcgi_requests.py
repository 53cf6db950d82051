"""fastcar fastcgi: what PHP gets of a request, and the client of PHP's response."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

from tests.peers.gateway import GatewayTestCase, request, target

#: None, some, and about the sizes of lengths, of records (65535) and of buffers.
SIZES = (0, 1, 127, 128, 65535, 65536, 1_000_003, 20_000_000)
_BLOCK = b"0123456789abcdef"


def content(size: int) -> bytes:
    """A body, as bytes.php makes it too."""
    return (_BLOCK * (size // len(_BLOCK) + 1))[:size]


class VariablesTests(GatewayTestCase):
    """What PHP knows of a request."""

    def server(self, path: str, *fields: str, method: str = "GET") -> dict[str, str]:
        """$_SERVER."""
        server: dict[str, str] = self.ask_json(path, *fields, method=method)["server"]
        return server

    def assert_variables(self, found: dict[str, str], **expected: str | None) -> None:
        """These variables have these values; None: there is no such variable."""
        self.assertEqual({name: found.get(name) for name in expected}, expected)

    def test_meta_variables(self) -> None:
        """PHP gets the variables of RFC 3875, and those that applications expect besides."""
        root = os.path.realpath(self.site.root)
        found = self.server("/variables.php?a=1&b=%20+c")
        self.assert_variables(
            found,
            GATEWAY_INTERFACE="CGI/1.1",
            REQUEST_METHOD="GET",
            REQUEST_URI="/variables.php?a=1&b=%20+c",
            QUERY_STRING="a=1&b=%20+c",
            DOCUMENT_ROOT=root,
            SCRIPT_NAME="/variables.php",
            SCRIPT_FILENAME=f"{root}/variables.php",
            PHP_SELF="/variables.php",
            SERVER_PROTOCOL="HTTP/1.1",
            SERVER_NAME="site.test",
            SERVER_PORT=str(self.site.gateway.port),
            SERVER_ADDR="127.0.0.1",
            REMOTE_ADDR="127.0.0.1",
            REQUEST_SCHEME="http",
            REDIRECT_STATUS="200",
            HTTP_HOST="site.test",
        )
        self.assertRegex(found["REMOTE_PORT"], r"^\d+$")
        self.assertIn("SERVER_SOFTWARE", found)

    def test_plain(self) -> None:
        """Without TLS there is no HTTPS, without a path behind the script no PATH_INFO."""
        found = self.server("/variables.php")
        self.assertEqual(found.get("HTTPS", ""), "")
        self.assertEqual(found.get("PATH_INFO", ""), "")
        self.assertEqual(found.get("PATH_TRANSLATED", ""), "")
        self.assertEqual((found["QUERY_STRING"], found.get("CONTENT_LENGTH", "")), ("", ""))

    def test_fields(self) -> None:
        """A field becomes HTTP_ and its name; Content-Type keeps its own."""
        fields = ("User-Agent: curl/8", "X-Forwarded: 7", "Accept:  a/b ", "Content-Type: x/y")
        found = self.server("/variables.php", *fields)
        self.assert_variables(
            found,
            HTTP_USER_AGENT="curl/8",
            HTTP_X_FORWARDED="7",
            HTTP_ACCEPT="a/b",
            CONTENT_TYPE="x/y",
        )

    def test_empty_field(self) -> None:
        """A field without value is there, and empty."""
        self.assert_variables(self.server("/variables.php", "X-Nothing:"), HTTP_X_NOTHING="")

    def test_duplicates(self) -> None:
        """Lines of one field are joined by commas, those of Cookie by semicolons."""
        fields = ("Cookie: a=1", "X-A: 1", "COOKIE: b=2", "x-a: 2", "X-a: 3")
        everything = self.ask_json("/variables.php", *fields)
        self.assert_variables(everything["server"], HTTP_COOKIE="a=1; b=2", HTTP_X_A="1, 2, 3")
        self.assertEqual(everything["cookie"], {"a": "1", "b": "2"})

    def test_connection_fields(self) -> None:
        """What concerns the connection with the client is not PHP's business."""
        fields = ("Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "TE: trailers")
        found = self.server("/variables.php", *fields)
        names = ("HTTP_CONNECTION", "HTTP_X_HOP", "HTTP_KEEP_ALIVE", "HTTP_TE", "HTTP_UPGRADE")
        self.assertEqual([name for name in names if name in found], [])

    def test_path_info(self) -> None:
        """What stands behind a script in the path is PATH_INFO, decoded.

        There is no PATH_TRANSLATED: with cgi.fix_pathinfo=0 php-fpm would run what it names.
        """
        root = os.path.realpath(self.site.root)
        path = "/variables.php/some/path%20x/%C3%A9?q=/a.php"
        self.assert_variables(
            self.server(path),
            SCRIPT_NAME="/variables.php",
            SCRIPT_FILENAME=f"{root}/variables.php",
            PATH_INFO="/some/path x/é",
            PATH_TRANSLATED=None,
            PHP_SELF="/variables.php/some/path x/é",
            REQUEST_URI=path,
            QUERY_STRING="q=/a.php",
        )

    def test_script_suffix_in_path_info(self) -> None:
        """The first script of a path is the one that runs."""
        self.assert_variables(
            self.server("/variables.php/respond.php/x"),
            SCRIPT_NAME="/variables.php",
            PATH_INFO="/respond.php/x",
        )

    def test_escaped_script(self) -> None:
        """An escaped path leads to the same script; REQUEST_URI is as it came."""
        self.assert_variables(
            self.server("/%76ariables.ph%70"),
            SCRIPT_NAME="/variables.php",
            REQUEST_URI="/%76ariables.ph%70",
        )

    def test_methods(self) -> None:
        """Every method reaches the script."""
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            body = b"" if method in ("POST", "PUT", "PATCH") else None
            found = self.ask_json("/variables.php", method=method, body=body)["server"]
            self.assertEqual(found["REQUEST_METHOD"], method)

    def test_host(self) -> None:
        """SERVER_NAME is Host without its port."""
        for host, name in (("a.test:81", "a.test"), ("[::1]:81", "[::1]"), ("192.0.2.1", None)):
            peer = self.dial_site(f"GET /variables.php HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            found = json.loads(peer.read_message().body)["server"]
            self.assert_variables(found, HTTP_HOST=host, SERVER_NAME=name or host)

    def test_absolute_form(self) -> None:
        """The host of an absolute target is Host's; REQUEST_URI is the path."""
        found = self.server("http://other.test/variables.php?q")
        self.assert_variables(
            found, HTTP_HOST="other.test", REQUEST_URI="/variables.php?q", QUERY_STRING="q"
        )

    def test_credentials(self) -> None:
        """Authorization is for PHP, which takes it apart."""
        word = base64.b64encode(b"ann:secret").decode()
        found = self.server("/variables.php", f"Authorization: Basic {word}")
        self.assert_variables(
            found,
            HTTP_AUTHORIZATION=f"Basic {word}",
            PHP_AUTH_USER="ann",
            PHP_AUTH_PW="secret",
        )
        found = self.server("/variables.php", "Authorization: Bearer abc")
        self.assert_variables(found, HTTP_AUTHORIZATION="Bearer abc", PHP_AUTH_USER=None)

    def test_many_fields(self) -> None:
        """Fields of 50 KB in all arrive, whose lengths take one byte or four."""
        sizes = (0, 1, 126, 127, 128, 129, 255, 256, 8000, 20000)
        values = {size: content(size).decode() for size in sizes}
        fields = [f"X-Size-{size}: {value}" for size, value in values.items()]
        fields += [f"X-{'N' * size}: {size}" for size in (122, 123, 124, 250)]
        fields += [f"X-Many-{number}: {number}" for number in range(50)]
        found = self.server("/variables.php?" + "q" * 7000, *fields)
        self.assertEqual(found["QUERY_STRING"], "q" * 7000)
        for size, value in values.items():
            self.assertEqual(found[f"HTTP_X_SIZE_{size}"], value)
        for size in (122, 123, 124, 250):
            self.assertEqual(found[f"HTTP_X_{'N' * size}"], str(size))
        for number in range(50):
            self.assertEqual(found[f"HTTP_X_MANY_{number}"], str(number))

    def test_not_ascii(self) -> None:
        """Bytes beyond ASCII in a field reach PHP as they came."""
        found = self.server("/variables.php", "X-A: caf\xc3\xa9")
        self.assert_variables(found, HTTP_X_A="café")

    def test_nothing_else(self) -> None:
        """Of one request nothing is left for the next one on the same connection."""
        peer = self.dial_site()
        peer.send(request("/variables.php/x?q", "X-A: 1", "Cookie: a=1", method="POST", body=b"b"))
        first = json.loads(peer.read_message().body)["server"]
        self.assertEqual(first["HTTP_X_A"], "1")
        peer.send(request("/variables.php"))
        second = json.loads(peer.read_message().body)["server"]
        self.assert_variables(second, HTTP_X_A=None, HTTP_COOKIE=None, QUERY_STRING="")
        self.assertEqual(second.get("PATH_INFO", ""), "")
        self.assertEqual(second.get("CONTENT_LENGTH", ""), "")


class IndexTests(GatewayTestCase):
    """Paths that name a folder."""

    def test_index(self) -> None:
        """A folder's index runs, in the root and below."""
        for path, script in (("/?q=1", "/index.php"), ("/folder/", "/folder/index.php")):
            found = self.ask_json(path)
            self.assertEqual((found["SCRIPT_NAME"], found["REQUEST_URI"]), (script, path))
            self.assertEqual(found.get("PATH_INFO", ""), "")

    def test_without_slash(self) -> None:
        """Without its slash a folder is somewhere else, with the query."""
        answer = self.ask("/folder?a=b")
        self.assertEqual(answer.status, 301)
        [location] = answer.values(b"Location")
        self.assertIn(location, (b"/folder/?a=b", b"http://site.test/folder/?a=b"))

    def test_nothing(self) -> None:
        """Where nothing is it is 404, and the page says no path."""
        for path in ("/nothing", "/nothing.php", "/nothing.php/x", "/folder/nothing/", "/x/y"):
            answer = self.ask(path)
            self.assertEqual(answer.status, 404, path)
            self.assertNotIn(self.site.root.encode(), answer.head + answer.body)
            self.assertNotIn(path.encode(), answer.body)


class FrontControllerTests(GatewayTestCase):
    """--front-controller: whatever is no file goes to one script."""

    options = ("--front-controller", "index.php")

    def test_pretty_path(self) -> None:
        """The script learns the path that was asked for."""
        for path in ("/shop/cart?a=1", "/nothing.php", "/index", "/a%20b/%C3%A9"):
            found = self.ask_json(path)
            self.assertEqual(found["SCRIPT_NAME"], "/index.php")
            self.assertEqual(found["REQUEST_URI"], path)
            self.assertEqual(found["QUERY_STRING"], path.partition("?")[2])

    def test_files_first(self) -> None:
        """Scripts and files that are there go before."""
        self.site.write("style.css", "body {}")
        self.assertEqual(self.ask("/style.css").body, b"body {}")
        self.assertEqual(self.ask_json("/variables.php/x")["server"]["PATH_INFO"], "/x")
        self.assertEqual(self.ask_json("/folder/")["SCRIPT_NAME"], "/folder/index.php")

    def test_post(self) -> None:
        """Any method goes there."""
        self.assertEqual(self.ask("/api/item/7", method="DELETE").status, 200)
        self.assertEqual(self.ask("/api/item", method="POST", body=b"x").status, 200)


class ParameterTests(GatewayTestCase):
    """Options that set variables."""

    options = ("--param", "APP_ENV=test", "--param", "SERVER_NAME=fixed", "--param", "EMPTY=")

    def test_parameters(self) -> None:
        """--param sets a variable, and has the last word."""
        everything = self.ask_json("/variables.php", "App-Env: mine")
        found = everything["server"]
        self.assertEqual((found["APP_ENV"], found["SERVER_NAME"]), ("test", "fixed"))
        self.assertEqual((found["EMPTY"], found["HTTP_APP_ENV"]), ("", "mine"))


class RequestBodyTests(GatewayTestCase):
    """Bodies on their way to PHP."""

    def assert_digest(self, found: dict[str, Any], method: str, body: bytes) -> None:
        """The script has got this body, and was told its length."""
        self.assertEqual((found["method"], found["length"]), (method, len(body)))
        self.assertEqual(found["sha1"], hashlib.sha1(body).hexdigest())
        self.assertEqual(found["declared"], str(len(body)))

    def test_sizes(self) -> None:
        """A body of any size arrives as it is."""
        for size in SIZES:
            for method in ("POST", "PUT"):
                body = content(size)
                found = self.ask_json("/digest.php", method=method, body=body)
                self.assert_digest(found, method, body)

    def test_chunked(self) -> None:
        """A chunked one too, whose length PHP is told all the same."""
        for size in SIZES:
            coding = ("-H", "Transfer-Encoding: chunked", "-H", "Expect:")
            sent = ("-X", "POST", "-T", "-", *coding)
            answer = self.curl_site("/digest.php", *sent, data=content(size))
            self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
            self.assert_digest(json.loads(answer.body), "POST", content(size))

    def test_tiny_chunks(self) -> None:
        """Chunks of one byte, extensions and trailers are no part of it."""
        peer = self.dial_site(request("/digest.php", "Transfer-Encoding: chunked", method="PUT"))
        peer.send(b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in content(3000)))
        peer.send(b"0\r\nX-Trailer: 1\r\n\r\n")
        self.assert_digest(json.loads(peer.read_message().body), "PUT", content(3000))

    def test_get_with_body(self) -> None:
        """A GET may have one."""
        found = self.ask_json("/digest.php", body=b"query")
        self.assert_digest(found, "GET", b"query")

    def test_unread(self) -> None:
        """A script need not read it: the connection serves on."""
        for size in (1000, 3_000_000):
            peer = self.dial_site()
            for method in ("PUT", "POST"):
                path = target("respond.php", body="seen")
                peer.send(request(path, method=method, body=content(size)))
                self.assertEqual(peer.read_message().body, b"seen")
            peer.close()

    def test_form(self) -> None:
        """A form's values arrive in $_POST, whether its length is known or not."""
        for coding in ((), ("-H", "Transfer-Encoding: chunked")):
            answer = self.curl_site("/variables.php", *coding, "--data", "a=1&b=%C3%A9")
            self.assertEqual(json.loads(answer.body)["post"], {"a": "1", "b": "é"}, answer)

    def test_uploads(self) -> None:
        """Files arrive in $_FILES, values beside them in $_POST."""
        files = {"small": content(10), "large": content(9_000_000), "empty": b""}
        for name, body in files.items():
            with open(os.path.join(self.site.folder, name), "wb") as file:
                file.write(body)
        forms = [
            argument
            for name in files
            for argument in ("-F", f"{name}=@{self.site.folder}/{name};type=x/{name}")
        ]
        for coding in ((), ("-H", "Transfer-Encoding: chunked")):
            answer = self.curl_site("/upload.php", *coding, *forms, "-F", "note=kept")
            self.assertEqual(answer.status, 200, answer)
            found = json.loads(answer.body)
            self.assertEqual(found["post"], {"note": "kept"})
            for name, body in files.items():
                expected = {
                    "name": name,
                    "type": f"x/{name}",
                    "error": 0,
                    "size": len(body),
                    "sha1": hashlib.sha1(body).hexdigest(),
                }
                self.assertEqual(found["files"][name], expected)

    def test_expect(self) -> None:
        """A client that asks whether to send its body is told so, once."""
        expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "20")
        for method in ("POST", "PUT"):
            answer = self.curl_site(
                "/digest.php", *expect, "-X", method, "--data-binary", "@-", data=content(200_000)
            )
            self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
            self.assertEqual(len(answer.interim), 1, answer)
            self.assert_digest(json.loads(answer.body), method, content(200_000))

    def test_expect_is_not_passed_on(self) -> None:
        """PHP does not hear of it."""
        answer = self.curl_site(
            "/variables.php", "-H", "Expect: 100-continue", "--data", "a=" + "b" * 5000
        )
        self.assertNotIn("HTTP_EXPECT", json.loads(answer.body)["server"])


class BodyLimitTests(GatewayTestCase):
    """--max-body."""

    options = ("--max-body", "100k")

    def test_too_long(self) -> None:
        """A longer body is refused, as soon as that is known."""
        gate = self.gate()
        intake = target("intake.php", gate=gate.name)
        peer = self.dial_site(request(intake, "Content-Length: 200000", method="POST"))
        self.assertEqual(peer.read_message().status, 413)
        self.assertTrue(gate.quiet())

    def test_too_long_chunked(self) -> None:
        """So is one that turns out to be longer, before the script hears of it."""
        gate = self.gate()
        intake = target("intake.php", gate=gate.name)
        peer = self.dial_site(request(intake, "Transfer-Encoding: chunked", method="POST"))
        peer.send(b"10000\r\n" + content(0x10000) + b"\r\n10000\r\n" + content(0xA000))
        self.assertEqual(peer.read_message().status, 413)
        self.assertTrue(gate.quiet())

    def test_expecting(self) -> None:
        """A client that asks first need not send it."""
        expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "20")
        answer = self.curl_site("/digest.php", *expect, "-T", "-", data=content(10))
        self.assertEqual(answer.status, 200, answer)
        path = os.path.join(self.site.folder, "long")
        with open(path, "wb") as file:
            file.write(content(200_000))
        answer = self.curl_site("/digest.php", *expect, "-T", path)
        self.assertEqual((answer.status, answer.interim), (413, []), answer)

    def test_as_long_as_allowed(self) -> None:
        """What is not longer passes."""
        body = content(100 * 1024)
        self.assertEqual(self.ask_json("/digest.php", method="PUT", body=body)["length"], len(body))
