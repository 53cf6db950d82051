"""fastcar fastcgi: files that are no scripts."""

from __future__ import annotations

import os

from tests.peers.gateway import GatewayTestCase, request, target
from tests.peers.sockets import Message

_TEXT = b"".join(b"line %03d\n" % number for number in range(1000))
_OPTIONS = ("--sendfile", "{folder}/files", "--symlinks-to", "{folder}/files")
_SOURCE = "<?php echo 'it ', 'ran';"


class FileTests(GatewayTestCase):
    """Files below the root."""

    def setUp(self) -> None:
        super().setUp()
        self.site.write("text.txt", _TEXT)

    def test_whole(self) -> None:
        """A file comes as it is, with its length, date and tag."""
        answer = self.ask("/text.txt")
        self.assertEqual((answer.status, answer.body), (200, _TEXT))
        self.assertEqual(answer.values(b"Content-Length"), [b"%d" % len(_TEXT)])
        self.assertEqual(answer.values(b"Accept-Ranges"), [b"bytes"])
        self.assertTrue(answer.values(b"Last-Modified") and answer.values(b"ETag"))

    def test_types(self) -> None:
        """The type follows from the name; what nobody knows is for no browser to interpret."""
        for name, kind in (
            ("style.css", "text/css"),
            ("code.js", "text/javascript"),
            ("module.mjs", "text/javascript"),
            ("data.json", "application/json"),
            ("page.html", "text/html"),
            ("icon.svg", "image/svg+xml"),
            ("photo.JPG", "image/jpeg"),
            ("font.woff2", "font/woff2"),
            ("binary.wasm", "application/wasm"),
            ("paper.pdf", "application/pdf"),
            ("thing.unheard-of", "application/octet-stream"),
            ("README", "application/octet-stream"),
        ):
            self.site.write(f"types/{name}", "content")
            answer = self.ask(f"/types/{name}")
            self.assertEqual((answer.status, answer.body), (200, b"content"), name)
            [found] = answer.values(b"Content-Type")
            self.assertEqual(found.partition(b";")[0].decode(), kind)
            self.assertEqual(answer.values(b"X-Content-Type-Options"), [b"nosniff"])

    def test_names(self) -> None:
        """Names may hold what they like, encoded; a query is ignored."""
        for name, path in (("a b.txt", "a%20b.txt"), ("ü#?.txt", "%C3%BC%23%3F.txt")):
            self.site.write(f"names/{name}", name)
            self.assertEqual(self.ask(f"/names/{path}?v=3").body, name.encode())

    def test_head(self) -> None:
        """A HEAD has the same head, and the connection serves on."""
        peer = self.dial_site()
        for _ in range(2):
            peer.send(request("/text.txt", method="HEAD"))
            answer = peer.read_message(bodiless=True)
            self.assertEqual(answer.values(b"Content-Length"), [b"%d" % len(_TEXT)])
        peer.send(request("/text.txt"))
        self.assertEqual(peer.read_message().body, _TEXT)

    def test_large(self) -> None:
        """A file of 20 MB comes whole."""
        content = os.urandom(20_000_000)
        self.site.write("large", content)
        self.assertTrue(self.ask("/large").body == content)

    def test_empty(self) -> None:
        """So does an empty one."""
        self.site.write("empty.txt", "")
        answer = self.ask("/empty.txt")
        self.assertEqual((answer.status, answer.values(b"Content-Length")), (200, [b"0"]))

    def test_other_methods(self) -> None:
        """A file can only be got."""
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = self.ask("/text.txt", method=method, body=b"x")
            self.assertEqual((answer.status, answer.values(b"Allow")), (405, [b"GET, HEAD"]))
        self.assertEqual(self.ask("/text.txt").body, _TEXT)

    def test_slash(self) -> None:
        """A file is no folder."""
        for path in ("/text.txt/", "/text.txt/more"):
            self.assertEqual(self.ask(path).status, 404, path)

    def test_listing(self) -> None:
        """A folder without an index tells nothing."""
        self.site.write("listed/secret.txt", "x")
        for path in ("/listed", "/listed/"):
            answer = self.ask(path)
            self.assertEqual(answer.status, 404)
            self.assertNotIn(b"secret", answer.body)

    def test_changed(self) -> None:
        """A file that was replaced is another one."""
        self.site.write("changing.txt", "one")
        first = self.ask("/changing.txt")
        self.site.write("changing.txt", "another")
        self.assertEqual(self.ask("/changing.txt").body, b"another")
        path = self.site.write("gone.txt", "here")
        self.assertEqual(self.ask("/gone.txt").status, 200)
        os.unlink(path)
        self.assertEqual(self.ask("/gone.txt").status, 404)
        tag = first.values(b"ETag")[0].decode()
        self.assertEqual(self.ask("/changing.txt", f"If-None-Match: {tag}").status, 200)


class PartTests(GatewayTestCase):
    """Parts of files, and files that the client has."""

    def setUp(self) -> None:
        super().setUp()
        self.site.write("text.txt", _TEXT)

    def part(self, ranges: str, *fields: str) -> Message:
        """The response to a request for a range."""
        return self.ask("/text.txt", f"Range: bytes={ranges}", *fields)

    def test_ranges(self) -> None:
        """A range comes alone, wherever it is."""
        size = len(_TEXT)
        for ranges, start, end in (
            ("0-0", 0, 1),
            ("100-199", 100, 200),
            (f"{size - 5}-", size - 5, size),
            ("-7", size - 7, size),
            (f"10-{size * 2}", 10, size),
            (f"-{size * 2}", 0, size),
        ):
            answer = self.part(ranges)
            self.assertEqual((answer.status, answer.body), (206, _TEXT[start:end]), ranges)
            expected = b"bytes %d-%d/%d" % (start, end - 1, size)
            self.assertEqual(answer.values(b"Content-Range"), [expected])

    def test_several(self) -> None:
        """Several come in parts, of a known length."""
        answer = self.part("0-8,18-26")
        self.assertEqual(answer.status, 206)
        self.assertIn(b"multipart/byteranges", answer.values(b"Content-Type")[0])
        self.assertIn(b"line 000\n", answer.body)
        self.assertIn(b"line 002\n", answer.body)
        self.assertNotIn(b"line 001\n", answer.body)

    def test_unsatisfiable(self) -> None:
        """A range behind the end is a 416; one that is none, and too many, are ignored."""
        answer = self.part(f"{len(_TEXT)}-")
        self.assertEqual(answer.status, 416)
        self.assertEqual(answer.values(b"Content-Range"), [b"bytes */%d" % len(_TEXT)])
        for ranges in ("5-2", "a-b", "", "0-,0-,0-"):
            self.assertEqual((self.part(ranges).status), 200, ranges)

    def test_if_range(self) -> None:
        """A range is only sent of the version that it is for."""
        whole = self.ask("/text.txt")
        for value in (whole.values(b"ETag")[0], whole.values(b"Last-Modified")[0]):
            self.assertEqual(self.part("0-8", f"If-Range: {value.decode()}").status, 206)
        for other in ('"other"', "Thu, 01 Jan 1970 00:00:00 GMT"):
            self.assertEqual(self.part("0-8", f"If-Range: {other}").body, _TEXT)

    def test_not_modified(self) -> None:
        """Who has the file is told so, without it, and the connection serves on."""
        whole = self.ask("/text.txt")
        peer = self.dial_site()
        for field, name in (("If-Modified-Since", b"Last-Modified"), ("If-None-Match", b"ETag")):
            peer.send(request("/text.txt", f"{field}: {whole.values(name)[0].decode()}"))
            answer = peer.read_message(bodiless=True)
            self.assertEqual((answer.status, answer.values(name)), (304, whole.values(name)))
        peer.send(request("/text.txt", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"))
        self.assertEqual(peer.read_message().body, _TEXT)

    def test_curl_resumes(self) -> None:
        """curl continues a download."""
        answer = self.curl_site("/text.txt", "--continue-at", "1000")
        self.assertEqual((answer.status, answer.body), (206, _TEXT[1000:]))


class NeverTests(GatewayTestCase):
    """Files that are not for clients."""

    def test_hidden(self) -> None:
        """What begins with a dot is not there; /.well-known is meant to be."""
        for name in (".env", ".git/config", ".htaccess", ".user.ini", "a/.hidden/b.txt", ".x.php"):
            self.site.write(name, _SOURCE)
            for path in (f"/{name}", f"/{name.replace('.', '%2e', 1)}"):
                answer = self.ask(path)
                self.assertEqual(answer.status, 404, path)
                self.assertNotIn(b"ran", answer.body)
        self.site.write(".well-known/security.txt", "Contact: us")
        self.assertEqual(self.ask("/.well-known/security.txt").body, b"Contact: us")

    def test_sources(self) -> None:
        """What may be source code is not there, whatever follows its suffix."""
        for suffix in ("PHP", "php5", "phtml", "phar", "inc", "php~", "php.bak", "php.swp", "pHp"):
            self.site.write(f"sources/page.{suffix}", _SOURCE)
            answer = self.ask(f"/sources/page.{suffix}")
            self.assertEqual(answer.status, 404, suffix)

    def test_links(self) -> None:
        """A link that leads outside the root is not there, one inside is."""
        outside = os.path.join(self.site.folder, "outside.txt")
        with open(outside, "w") as file:
            file.write("secret")
        inside = self.site.write("links/inside.txt", "public")
        folder = os.path.dirname(inside)
        os.symlink(outside, os.path.join(folder, "out.txt"))
        os.symlink(self.site.folder, os.path.join(folder, "up"))
        os.symlink("inside.txt", os.path.join(folder, "in.txt"))
        for path in ("/links/out.txt", "/links/up/outside.txt"):
            self.assertEqual(self.ask(path).status, 404)
        self.assertEqual(self.ask("/links/in.txt").body, b"public")

    def test_no_file(self) -> None:
        """A pipe is no file: nobody waits for it."""
        os.mkfifo(os.path.join(self.site.root, "pipe.txt"))
        os.mkfifo(os.path.join(self.site.root, "pipe.php"))
        for path in ("/pipe.txt", "/pipe.php"):
            self.assertEqual(self.ask(path).status, 404)


class LinkedTests(GatewayTestCase):
    """--symlinks-to."""

    options = _OPTIONS

    def test_links(self) -> None:
        """Links may lead to files there, but not to scripts."""
        for name in ("shared.txt", "shared.php"):
            with open(os.path.join(self.site.files, name), "w") as file:
                file.write(_SOURCE)
            os.symlink(file.name, os.path.join(self.site.root, name))
        self.assertEqual(self.ask("/shared.txt").body, _SOURCE.encode())
        self.assertEqual(self.ask("/shared.php").status, 404)


class NoStaticTests(GatewayTestCase):
    """--no-static."""

    options = ("--no-static",)

    def test_scripts_only(self) -> None:
        """Only scripts are served."""
        self.site.write("text.txt", _TEXT)
        self.assertEqual(self.ask("/text.txt").status, 404)
        self.assert_serving()


class SentFileTests(GatewayTestCase):
    """--sendfile."""

    options = _OPTIONS

    def setUp(self) -> None:
        super().setUp()
        self.files = self.site.files
        for folder, content in ((self.files, _TEXT), (self.site.folder, b"secret")):
            with open(os.path.join(folder, "book.txt"), "wb") as file:
                file.write(content)

    def send(self, field: str, *fields: str, ranges: str = "") -> Message:
        """The response of a script that has a file sent, in place of its own body."""
        more = (f"Range: bytes={ranges}",) if ranges else ()
        return self.ask(target("respond.php", fields=[field, *fields], body="own"), *more)

    def test_sent(self) -> None:
        """A file is sent by its path, or its name in the folder, with the script's fields."""
        for field in (f"X-Sendfile: {self.files}/book.txt", "X-Accel-Redirect: /book.txt"):
            answer = self.send(field, "Content-Type: x/book", "X-Mine: 1", "Content-Length: 3")
            self.assertEqual((answer.status, answer.body), (200, _TEXT), field)
            self.assertEqual(answer.values(b"Content-Type"), [b"x/book"])
            self.assertEqual(answer.values(b"X-Mine"), [b"1"])
            self.assertEqual(answer.values(b"Content-Length"), [b"%d" % len(_TEXT)])
            self.assertNotIn(self.site.folder.encode(), answer.head)

    def test_range(self) -> None:
        """A part of it can be had."""
        answer = self.send("X-Accel-Redirect: /book.txt", ranges="0-8")
        self.assertEqual((answer.status, answer.body), (206, _TEXT[:9]))

    def test_outside(self) -> None:
        """What lies elsewhere is not sent, and nothing of it is said."""
        os.symlink(os.path.join(self.site.folder, "book.txt"), os.path.join(self.files, "link.txt"))
        for field in (
            f"X-Sendfile: {self.site.folder}/book.txt",
            f"X-Sendfile: {self.files}/../book.txt",
            f"X-Sendfile: {self.files}/link.txt",
            "X-Sendfile: book.txt",
            "X-Sendfile: /etc/passwd",
            "X-Accel-Redirect: /../book.txt",
            "X-Accel-Redirect: /%2e%2e/book.txt",
            "X-Accel-Redirect: /link.txt",
        ):
            answer = self.send(field)
            self.assertIn(answer.status, (404, 502), field)
            self.assertNotIn(b"secret", answer.body)
            self.assertNotIn(self.site.folder.encode(), answer.head + answer.body)
        self.assert_serving()

    def test_missing(self) -> None:
        """One that is not there is a 404."""
        answer = self.send("X-Accel-Redirect: /no-such-book.txt")
        self.assertEqual(answer.status, 404)
        self.assertNotIn(b"book", answer.body)


class NoSentFileTests(GatewayTestCase):
    """Without --sendfile."""

    def test_not_sent(self) -> None:
        """A script cannot have files sent."""
        for field in ("X-Sendfile: /etc/passwd", "X-Accel-Redirect: /respond.php"):
            answer = self.ask(target("respond.php", fields=[field], body="own"))
            self.assertEqual(answer.status, 502, field)
