"""fastcar fastcgi: what must not happen, with a php-fpm that would do anything it is told.

security.limit_extensions is empty and cgi.fix_pathinfo is on: whatever SCRIPT_FILENAME names, or
begins with, would run.
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse

from tests.peers.gateway import GatewayTestCase, request, target
from tests.peers.sockets import Message, Peer

#: Runs if anyone lets it, and shows if anyone sends it.
_SOURCE = "<?php echo 'it ', 'ran';"
_TOLD = re.compile(rb"it ran|<\?php|it ', 'ran|root:")


class SecurityTestCase(GatewayTestCase):
    """Tests that look for what a client must not get."""

    fpm = ("security.limit_extensions =", "php_admin_value[cgi.fix_pathinfo] = 1")

    def raw(self, data: bytes) -> bytes:
        """All that is answered to some bytes, behind which a request ends the connection."""
        peer = self.dial_site(data)
        try:
            return peer.read_to_end()
        finally:
            peer.close()

    def get(self, path: str) -> bytes:
        """All that is answered to a GET of a path, which goes as it is."""
        return self.raw(request(path, "Connection: close"))

    def assert_refused(self, *paths: str) -> None:
        """For all of these paths nothing is run or sent, and nothing is told."""
        for path in paths:
            answer = self.get(path)
            self.assertRegex(answer, rb"^HTTP/1\.1 (400|404) ", path)
            self.assertIsNone(_TOLD.search(answer), path)
            self.assertNotIn(self.site.folder.encode(), answer, path)

    def variables(self, *fields: str, path: str = "/variables.php") -> dict[str, str]:
        """$_SERVER, of a request with these fields."""
        server: dict[str, str] = self.ask_json(path, *fields)["server"]
        return server


class SanityTests(SecurityTestCase):
    """That php-fpm is as these tests want it."""

    def test_runs_anything(self) -> None:
        """Asked directly, it runs an image, also through a path behind it."""
        image = self.site.write("sanity.jpg", _SOURCE)
        self.assertEqual(self.site.fpm.get(image, ""), "it ran")
        self.assertEqual(self.site.fpm.get(f"{image}/x.php", ""), "it ran")


class VariableTests(SecurityTestCase):
    """Variables that a client must not set."""

    def test_httpoxy(self) -> None:
        """A field Proxy does not become HTTP_PROXY (CVE-2016-5385)."""
        for name in ("Proxy", "PROXY", "proxy"):
            everything = self.ask_json("/variables.php", f"{name}: http://evil.test/")
            self.assertNotIn("HTTP_PROXY", everything["server"])
            self.assertNotIn("HTTP_PROXY", everything["environment"])

    def test_underscores(self) -> None:
        """A name that is not of letters, digits and hyphens is nobody's other spelling."""
        names = ("X_Real_IP", "X_Forwarded_For", "Content_Type", "X.Forwarded.For", "Au!th", "_")
        found = self.variables(*[f"{name}: evil" for name in names], "Authorization: Basic eDp5")
        self.assertNotIn("evil", found.values())
        self.assertEqual(found["HTTP_AUTHORIZATION"], "Basic eDp5")

    def test_content_length(self) -> None:
        """Content_Length does not change where a body ends."""
        for field in ("Content_Length: 2", "CONTENT_LENGTH: 9", "Content.Length: 0"):
            for method in ("POST", "PUT"):
                found = self.ask_json("/digest.php", field, method=method, body=b"five5")
                self.assertEqual((found["declared"], found["length"]), ("5", 5))

    def test_php_values(self) -> None:
        """No field sets PHP's configuration, for this request or later ones."""
        evil = self.site.write("evil.txt", _SOURCE)
        for name in ("PHP_VALUE", "PHP_ADMIN_VALUE", "PHP-VALUE", "PHP-ADMIN-VALUE", "Php_Value"):
            for _ in range(4):
                everything = self.ask_json("/variables.php", f"{name}: auto_prepend_file={evil}")
                self.assertEqual(everything["prepended"], "")
                self.assertNotIn("PHP_VALUE", everything["server"])
                self.assertNotIn("PHP_ADMIN_VALUE", everything["server"])

    def test_meta_variables(self) -> None:
        """No field replaces a variable that is not its own."""
        names = ("Script-Filename", "Remote-Addr", "Https", "Document-Root", "Request-Method")
        plain = self.variables()
        found = self.variables(*[f"{name}: evil" for name in names])
        for name in names:
            variable = name.upper().replace("-", "_")
            self.assertEqual(found.get(variable), plain.get(variable))
            self.assertEqual(found[f"HTTP_{variable}"], "evil")

    def test_nobody_is_authenticated(self) -> None:
        """Nobody is told to be a user that was not verified."""
        found = self.variables("Remote-User: root", "Auth-Type: Basic", "Remote_User: root")
        self.assertNotIn("REMOTE_USER", found)
        self.assertNotIn("AUTH_TYPE", found)

    def test_forwarded(self) -> None:
        """Who says that it came from elsewhere is not believed."""
        found = self.variables("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https")
        self.assertEqual((found["REMOTE_ADDR"], found.get("HTTPS", "")), ("127.0.0.1", ""))
        self.assertNotIn("HTTP_X_FORWARDED_FOR", found)

    def test_query_is_no_argument(self) -> None:
        """A query without = is not taken for arguments of a command (CVE-2012-1823)."""
        answer = self.ask("/respond.php?-s")
        self.assertNotIn(b"strict_types", answer.body)


class ScriptTests(SecurityTestCase):
    """Files that must not run, and scripts whose source must not be sent."""

    def test_behind_other_files(self) -> None:
        """What is no script does not run because of a path behind it (CVE-2010-2266's kin)."""
        for name in ("evil.jpg", "evil.txt", "evil", "uploads/evil.gif"):
            self.site.write(name, _SOURCE)
            self.assert_refused(
                f"/{name}/x.php",
                f"/{name}/.php",
                f"/{name}/x.php/y.php",
                f"/{name}%2fx.php",
                f"/{name}/%2e%2e/x.php",
                f"/{name}%00.php",
                f"/{name}%00/x.php",
                f"/{name}%20.php",
                f"/{name}\\x.php",
                f"/{name}%5cx.php",
                f"/{name}%0a.php",
                f"/{name}%0d%0a.php",
                f"/{name};.php",
                f"/{name}?.php/x".replace("?", "%3f"),
                f"/{name}.php",
            )

    def test_suffix(self) -> None:
        """Only exactly the suffix makes a script; other spellings are neither run nor sent."""
        for suffix in (
            *("PHP", "Php", "pHP", "php5", "php7", "phtml", "phar", "pht", "inc", "phps", "php "),
            *("php.", "php..", "php~", "php.bak", "php.jpg", "php_", "php%", "php#", "php\u0307"),
            *("\uff50hp", "ph\u2c62", "\U0001d4f9hp"),
        ):
            self.site.write(f"spelt/evil.{suffix}", _SOURCE)
            path = "/spelt/evil." + urllib.parse.quote(suffix)
            for wanted in (path, f"{path}/x.php"):
                answer = self.get(wanted)
                # What only looks like it, beyond ASCII, is text like any other.
                told = b"it ran" if not suffix.isascii() else _TOLD
                self.assertIsNone(re.search(told, answer), wanted)

    def test_sources(self) -> None:
        """No spelling of a script's path sends its source."""
        for path in (
            *("/index.php.", "/index.php..", "/index.php%00", "/index.php%00.txt"),
            *("/index.php%20", "/index.php%20/", "/index.php~", "/index.php::$DATA"),
            *("/index.php%2f", "/index.php%5c", "/index.php\\", "/index.php%0a", "/INDEX.PHP"),
            *("/index.PHP", "/index.php%2e", "/index.php%252f", "/index%2ephp%00"),
            *("/index.php;x", "/index.php:x", "/index.php+", "/index.php%e2%80%8b"),
        ):
            answer = self.get(path)
            self.assertIsNone(_TOLD.search(answer), path)
            self.assertNotIn(b"strict_types", answer, path)

    def test_script_runs_anyway(self) -> None:
        """Slashes, dots and escapes that mean the same lead to the script, which runs."""
        for path in ("//index.php", "/./index.php", "/folder/../index.php", "/index%2Ephp"):
            answer = self.get(path)
            self.assertNotIn(b"strict_types", answer, path)
            if answer.startswith(b"HTTP/1.1 200 "):
                self.assertIn(b'"SCRIPT_NAME":"\\/index.php"', answer, path)

    def test_traversal(self) -> None:
        """No spelling of a way upwards leaves the root."""
        for name in ("secret.php", "secret.txt"):
            with open(os.path.join(self.site.folder, name), "w") as file:
                file.write(_SOURCE)
            ups = ("..", "%2e%2e", ".%2e", "%2E.", "..;", "..%00", "...", "....", "..%c0%af")
            separators = ("/", "%2f", "%2F", "\\", "%5c", "//", "%252f", "/./", "%c0%af")
            for up in ups:
                for separator in separators:
                    self.assert_refused(
                        f"/{up}{separator}{name}",
                        f"/folder/{up}{separator}{up}{separator}{name}",
                        f"/folder{separator}{up}{separator}{up}{separator}{name}",
                    )
        self.assert_refused("//etc/passwd", "/etc/passwd", "/%2fetc%2fpasswd", "/folder/../../x")

    def test_absolute_form(self) -> None:
        """Nor does one in an absolute target, which is a path of ours all the same."""
        with open(os.path.join(self.site.folder, "secret.php"), "w") as file:
            file.write(_SOURCE)
        for path in ("/../secret.php", "/%2e%2e/secret.php", "/..%2fsecret.php"):
            self.assert_refused(f"http://site.test{path}")
        for form in (
            "file:///etc/passwd",
            "etc/passwd",
            "../secret.php",
            "*.php",
            "http:///index.php",
        ):
            answer = self.get(form)
            self.assertIsNone(_TOLD.search(answer), form)
            self.assertRegex(answer, rb"^HTTP/1\.1 [45]", form)

    def test_links(self) -> None:
        """A link out of the root leads to no script, whatever its name."""
        outside = os.path.join(self.site.folder, "outside")
        os.makedirs(outside)
        for name in ("evil.php", "evil.txt"):
            with open(os.path.join(outside, name), "w") as file:
                file.write(_SOURCE)
        os.symlink(outside, os.path.join(self.site.root, "linked"))
        os.symlink(os.path.join(outside, "evil.php"), os.path.join(self.site.root, "out.php"))
        os.symlink(os.path.join(outside, "evil.txt"), os.path.join(self.site.root, "text.php"))
        image = self.site.write("upload.png", _SOURCE)
        os.symlink(image, os.path.join(self.site.root, "image.php"))
        os.symlink(self.site.write("inner.php", _SOURCE), os.path.join(self.site.root, "code.txt"))
        self.assert_refused(
            "/linked/evil.php", "/linked/evil.txt", "/out.php", "/text.php", "/image.php"
        )
        self.assert_refused("/code.txt")

    def test_no_regular_file(self) -> None:
        """A folder or a pipe with the name of a script is none."""
        os.makedirs(os.path.join(self.site.root, "folder.php"))
        os.mkfifo(os.path.join(self.site.root, "pipe.php"))
        self.assert_refused("/folder.php", "/folder.php/", "/folder.php/x", "/pipe.php")

    def test_php_fpm_pages(self) -> None:
        """php-fpm's own pages are not reached."""
        self.start_site(
            fpm=[*self.fpm, "pm.status_path = /status", "ping.path = /ping"],
        )
        for path in ("/status", "/ping", "/status?full", "/index.php/status", "//status"):
            answer = self.get(path)
            self.assertNotIn(b"pool:", answer, path)
            self.assertNotIn(b"pong", answer, path)

    def test_header_injection(self) -> None:
        """Line ends in a path are refused, in a query they stay encoded (CVE-2019-11043)."""
        self.assert_refused(
            "/variables.php/a%0ab", "/variables.php/a%0d", "/variables.php%0a", "/x%0d%0aX:%20y"
        )
        long = "Q" * 1700
        answer = self.get(f"/variables.php/PHP%0Ais_the_shittiest_lang.php?{long}")
        self.assertRegex(answer, rb"^HTTP/1\.1 400 ")
        found = self.variables(path="/variables.php?a=%0d%0aX")
        self.assertEqual(found["QUERY_STRING"], "a=%0d%0aX")
        self.assert_serving()

    def test_redirect_stays_here(self) -> None:
        """The redirect to a folder leads to no other host."""
        os.makedirs(os.path.join(self.site.root, "evil.test"), exist_ok=True)
        self.site.write("evil.test/index.php", _SOURCE)
        for path in (
            "//evil.test",
            "///evil.test",
            "/%2fevil.test",
            "/\\evil.test",
            "/.//evil.test",
        ):
            for line in self.get(path).split(b"\r\n"):
                if line.lower().startswith(b"location:"):
                    self.assertRegex(line, rb"^Location: (/[^/\\]|http://site\.test/)", path)
        answer = self.get("/folder?x=%0d%0aSet-Cookie:%20evil")
        self.assertNotIn(b"\r\nSet-Cookie", answer)


class FixPathinfoTests(SecurityTestCase):
    """A php-fpm with cgi.fix_pathinfo off, which runs what PATH_TRANSLATED names."""

    fpm = ("security.limit_extensions =", "php_admin_value[cgi.fix_pathinfo] = 0")

    def test_path_info(self) -> None:
        """The script runs, not what the path behind it names, and gets its variables."""
        self.site.write("evil.jpg", _SOURCE)
        found = self.variables(path="/variables.php/evil.jpg")
        self.assertEqual(found["PATH_INFO"], "/evil.jpg")
        self.assertEqual(found["SCRIPT_NAME"], "/variables.php")
        self.assertNotIn("PATH_TRANSLATED", found)
        self.assert_refused("/evil.jpg/x.php")


class FramingTests(SecurityTestCase):
    """Requests whose end is not clear."""

    def assert_one_refusal(self, data: bytes) -> None:
        """It is refused, and what may look like another request behind it never runs."""
        gate = self.gate()
        hidden = request(target("gate.php", gate=gate.name, name="hidden"))
        try:
            answer = self.raw(data + hidden)
        except ConnectionError:
            answer = b""
        self.assertRegex(answer, rb"^(HTTP/1\.1 (400|501|505) |$)", data)
        self.assertEqual(answer.count(b"HTTP/1.1 "), bool(answer), data)
        self.assert_serving()
        self.assertTrue(gate.quiet(), data)

    def test_framing(self) -> None:
        """Two lengths, a length beside chunks, other codings, blanks before a colon, folded lines
        and whatever else proxies understand differently."""
        for fields in (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 6",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length:",
            "Content-Length: -0",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "X-A: b\r\n Content-Length: 5",
            "X-A: b\rContent-Length: 5",
            "X-A: b\nContent-Length: 5",
            "X-A: \x00",
            "X A: b",
            ": b",
        ):
            head = f"POST /digest.php HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"
            self.assert_one_refusal(head.encode() + b"0\r\n\r\n")

    def test_chunks(self) -> None:
        """Chunks whose size is no number, or that end otherwise."""
        head = b"PUT /digest.php HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for chunks in (
            b"x\r\n",
            b"-1\r\n",
            b"0x5\r\nabcde\r\n",
            b"5\r\nabcdefg\r\n",
            b"5\nabcde\n",
        ):
            self.assert_one_refusal(head + chunks)

    def test_hosts(self) -> None:
        """No Host, two of them, or one that is none, is refused, whatever is asked for."""
        self.site.write("host.txt", "text")
        for path in ("/variables.php", "/host.txt", "/folder", "http:///variables.php"):
            hosts = ("a\r\nHost: b", "a/b", "a b", "a,b", "a@b", "<a>", "a:b", "..", "[::1")
            for fields in ("X: y", *[f"Host: {host}" for host in hosts]):
                head = f"GET {path} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n"
                answer = self.raw(head.encode())
                self.assertRegex(answer, rb"^HTTP/1\.1 400 ", head)

    def test_request_lines(self) -> None:
        """Request lines that are none."""
        for line in ("GET /variables.php", "GET  /variables.php HTTP/1.1", "GET /a b HTTP/1.1"):
            self.assert_one_refusal(f"{line}\r\nHost: a\r\n\r\n".encode())

    def test_connect_and_trace(self) -> None:
        """There are no tunnels, and no echo of a request."""
        for line in ("CONNECT 127.0.0.1:22", "TRACE /respond.php"):
            answer = self.raw(
                f"{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Secret: 1\r\n\r\n".encode()
            )
            self.assertRegex(answer, rb"^HTTP/1\.1 (400|405|501) ")
            self.assertNotIn(b"X-Secret", answer)


class TellTaleTests(SecurityTestCase):
    """What answers must not tell."""

    def read(self, answer: Message) -> bytes:
        """All of an answer."""
        return answer.head + answer.body

    def test_errors_of_php(self) -> None:
        """What PHP writes to its log goes to ours, with the script's name, and nowhere else."""
        for query in ({"log": "window broken"}, {"log": "window broken", "body": "x", "flush": 1}):
            answer = self.ask(target("respond.php", **query))
            self.assertNotIn(b"window", self.read(answer))
            self.assertIn("respond.php", self.site.gateway.logs("window broken"))
        answer = self.ask(target("respond.php", fatal=1))
        self.assertNotIn(b"no_such_function", self.read(answer))
        self.assertNotIn(self.site.folder.encode(), self.read(answer))
        self.site.gateway.logs("no_such_function")

    def test_log_is_not_forged(self) -> None:
        """What a script logs is a line of ours, whatever is in it."""
        self.ask(target("respond.php", log="one\n2026-01-01 [fastcar#info] forged \x1b[31m"))
        line = self.site.gateway.logs("forged")
        self.assertNotIn("\x1b", line)
        self.assertIn("respond.php: stderr:", line)

    def test_failures(self) -> None:
        """Pages for failures name no path, no socket and no version."""
        for path in ("/nothing.php", "/nothing", "/%zz", "/folder/../../x"):
            answer = self.ask(path)
            told = self.read(answer)
            for secret in (self.site.folder, "fpm", "twisted", "python", path):
                self.assertNotIn(secret.encode(), told.lower(), path)
            self.assertTrue(answer.values(b"Content-Type")[0].startswith(b"text/plain"))

    def test_scripts_cannot_frame(self) -> None:
        """A script's fields do not make two responses of one."""
        peer = self.dial_site()
        for fields in (
            ["X-A: b\r\nX-B: c"],
            ["Status: 200 OK\nX-B: c"],
            ["Location: /\r\n\r\nHTTP/1.1 200 OK"],
        ):
            self._assert_single(peer, fields)

    def _assert_single(self, peer: Peer, fields: list[str]) -> None:
        peer.send(request(target("respond.php", fields=fields, body="x")))
        answer = peer.read_message()
        self.assertEqual(answer.values(b"X-B"), [])
        peer.send(request("/variables.php"))
        self.assertEqual(json.loads(peer.read_message().body)["get"], {})
