"""fastcar fastcgi: an application that people use, DokuWiki, as its Debian package is laid out."""

from __future__ import annotations

import atexit
import functools
import hashlib
import html
import http.client
import os
import random
import re
import shutil
import tempfile
import uuid
from http.cookies import SimpleCookie
from typing import NamedTuple
from unittest import SkipTest
from urllib.parse import urlencode, urljoin

from tests.peers.case import PeersTestCase
from tests.peers.gateway import Gateway, start_fpm

_ROOT = "/usr/share/dokuwiki"
#: Where links of the package lead.
_LINKED = "/var/lib/dokuwiki/lib"
_USER, _PASSWORD = "ann", "secret of ann"

_PREPENDED = "<?php define('DOKU_CONF', '{folder}/conf/');"
# Paths such as /doku.php/namespace/page, and files that PHP has sent by whoever is in front.
_LOCAL = """<?php
$conf['title'] = 'Wiki of a test';
$conf['savedir'] = '{folder}/data';
$conf['useacl'] = 1;
$conf['superuser'] = '{user}';
$conf['userewrite'] = 2;
$conf['useslash'] = 1;
$conf['xsendfile'] = 2;
"""
_ACL = "# <?php exit()?>\n*\t@ALL\t1\n*\t@user\t8\n"
_USERS = "# <?php exit()?>\n{user}:{word}:Ann Other:ann@site.test:user\n"
_DATA = "attic cache index locks log media media_attic media_meta meta pages tmp"


class Page(NamedTuple):
    """What a browser shows, and where."""

    status: int
    url: str
    fields: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def hidden(self, name: str) -> str:
        """The value of a hidden input of a form."""
        inputs = re.findall(r"<input\b[^>]*>", self.text)
        for each in inputs:
            if re.search(rf'name="{name}"', each) and (
                found := re.search(r'value="([^"]*)"', each)
            ):
                return html.unescape(found[1])
        raise AssertionError(f"no {name} in {self.url}")


class Browser:
    """A client with cookies and one connection, that follows redirects."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._cookies: dict[str, str] = {}

    def get(self, url: str, **fields: str) -> Page:
        """Get a page."""
        return self._request("GET", url, None, fields)

    def post(self, url: str, **values: str) -> Page:
        """Send a form."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._request("POST", url, urlencode(values).encode(), form)

    def upload(self, url: str, name: str, content: bytes, **values: str) -> Page:
        """Send a form with a file."""
        mark = uuid.uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in values.items()
        ]
        parts.append(
            f'--{mark}\r\nContent-Disposition: form-data; name="upload"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = "".join(parts).encode() + content + f"\r\n--{mark}--\r\n".encode()
        return self._request(
            "POST", url, body, {"Content-Type": f"multipart/form-data; boundary={mark}"}
        )

    def _request(self, method: str, url: str, body: bytes | None, fields: dict[str, str]) -> Page:
        for _ in range(5):
            cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            everything = {**fields, "Cookie": cookie} if cookie else fields
            self._connection.request(method, url, body, everything)
            answer = self._connection.getresponse()
            page = Page(answer.status, url, answer.msg, answer.read())
            for line in answer.msg.get_all("Set-Cookie") or []:
                for name, morsel in SimpleCookie(line).items():
                    self._cookies[name] = morsel.coded_value
            location = answer.getheader("Location")
            if location is None:
                return page
            url = re.sub("^http://[^/]*", "", urljoin(url, location))
            method, body, fields = "GET", None, {}
        raise AssertionError(f"too many redirects: {url}")

    def close(self) -> None:
        self._connection.close()


class Wiki:
    """DokuWiki with its data elsewhere."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        atexit.register(self._close)
        self._lay_out()
        prepended = f"php_admin_value[auto_prepend_file] = {self._folder}/prepended.php"
        self._fpm = start_fpm(self._folder, prepended)
        options = ("--symlinks-to", _LINKED, "--sendfile", f"{self._folder}/data")
        self.gateway = Gateway(self._folder, _ROOT, f"unix:{self._fpm.socket}", *options)

    def _lay_out(self) -> None:
        """Write the configuration."""
        word = hashlib.sha1(_PASSWORD.encode()).hexdigest()
        os.mkdir(os.path.join(self._folder, "conf"))
        for name in _DATA.split():
            os.makedirs(os.path.join(self._folder, "data", name))
        for name, text in (
            ("prepended.php", _PREPENDED),
            ("conf/local.php", _LOCAL),
            ("conf/acl.auth.php", _ACL),
            ("conf/users.auth.php", _USERS),
        ):
            with open(os.path.join(self._folder, name), "w") as file:
                file.write(text.format(folder=self._folder, user=_USER, word=word))

    def _close(self) -> None:
        for process in (self.__dict__.get("gateway"), self.__dict__.get("_fpm")):
            if process is not None:
                process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


wiki = functools.cache(Wiki)


class DokuWikiTests(PeersTestCase):
    """Browsers and a wiki."""

    def setUp(self) -> None:
        super().setUp()
        if not os.path.exists(os.path.join(_ROOT, "doku.php")):
            raise SkipTest("DokuWiki is not installed (Debian package dokuwiki)")
        self.gateway = wiki().gateway
        self.addCleanup(self._assert_no_bug, self.gateway)
        self.browser = self.browse()

    def browse(self) -> Browser:
        """Somebody who is not logged in."""
        browser = Browser(self.gateway.port)
        self.addCleanup(browser.close)
        return browser

    def log_in(self) -> None:
        """Log in as the user."""
        start = self.browser.get("/doku.php/start?do=login")
        values = {"sectok": start.hidden("sectok"), "id": "start", "do": "login"}
        page = self.browser.post("/doku.php/start", **values, u=_USER, p=_PASSWORD)
        self.assertIn("Ann Other", page.text)

    def write(self, name: str, text: str) -> Page:
        """Edit a page."""
        form = self.browser.get(f"/doku.php/{name}?do=edit")
        hidden = ("sectok", "rev", "date", "prefix", "suffix", "changecheck", "target")
        values = {field: form.hidden(field) for field in hidden}
        values |= {"id": name.replace("/", ":"), "wikitext": text, "summary": "", "do[save]": "1"}
        return self.browser.post(f"/doku.php/{name}", **values)

    def test_visitor(self) -> None:
        """Who is not logged in may read: the start page, with its styles, scripts and images."""
        page = self.browser.get("/")
        self.assertEqual((page.status, page.url), (200, "/doku.php/start"))
        self.assertIn("Wiki of a test", page.text)
        links = re.findall(r'(?:href|src)="(/lib/[^"]*)"', page.text)
        self.assertGreater(len(links), 5, page.text)
        kinds = set()
        for link in links:
            part = self.browser.get(html.unescape(link))
            self.assertEqual(part.status, 200, link)
            kinds.add(part.fields.get_content_type())
        self.assertLessEqual({"text/css", "image/png"}, kinds)
        self.assertTrue(kinds & {"text/javascript", "application/javascript"}, kinds)
        self.assertNotIn("do[save]", self.browser.get("/doku.php/start?do=edit").text)

    def test_pages(self) -> None:
        """Who is logged in may write pages, and leaf through them."""
        self.log_in()
        names = [f"book/chapter{number}" for number in range(4)]
        for number, name in enumerate(names):
            following = f"[[chapter{number + 1}|onwards]]" if number < 3 else "//The end.//"
            page = self.write(name, f"====== Chapter {number} ======\nCafé & tea. {following}\n")
            self.assertEqual((page.status, page.url), (200, f"/doku.php/{name}"))
        page = self.browser.get(f"/doku.php/{names[0]}")
        for number in range(3):
            self.assertIn(f"Chapter {number}</h1>", page.text)
            self.assertIn("Café &amp; tea.", page.text)
            link = re.search(r'<a href="([^"]*)"[^>]*>onwards</a>', page.text)
            assert link is not None
            page = self.browser.get(html.unescape(link[1]))
        self.assertIn("<em>The end.</em>", page.text)
        index = self.browser.get("/doku.php/start?do=index&idx=book")
        for name in names:
            self.assertIn(f'"/doku.php/{name}"', index.text)
        self.assertIn("chapter2", self.browser.get("/doku.php/start?do=recent").text)

    def test_upload(self) -> None:
        """A file that was uploaded can be had, whole and in parts, from DokuWiki's own storage."""
        self.log_in()
        content = b"%PDF-1.4\n" + random.Random(5).randbytes(1_500_000)
        form = self.browser.get("/lib/exe/mediamanager.php?ns=shelf")
        values = {"sectok": form.hidden("sectok"), "ns": "shelf", "mediaid": "paper.pdf"}
        page = self.browser.upload("/lib/exe/mediamanager.php", "p.pdf", content, **values)
        self.assertEqual(page.status, 200)
        self.assertIn("paper.pdf", page.text)
        path = "/lib/exe/fetch.php/shelf/paper.pdf"
        found = self.browser.get(path)
        self.assertEqual((found.status, found.fields["Content-Type"]), (200, "application/pdf"))
        self.assertTrue(found.body == content)
        self.assertNotIn("X-Sendfile", found.fields)
        part = self.browser.get(path, Range="bytes=100-199")
        self.assertEqual((part.status, part.body), (206, content[100:200]))
        self.assertEqual(self.browse().get(path).body[:8], b"%PDF-1.4")

    def test_log_out(self) -> None:
        """Who logs out is a visitor again."""
        self.log_in()
        token = self.browser.get("/doku.php/start?do=edit").hidden("sectok")
        page = self.browser.post("/doku.php/start", do="logout", sectok=token)
        self.assertNotIn("Ann Other", page.text)
        self.assertNotIn("Ann Other", self.browser.get("/doku.php/start").text)

    def test_private_files(self) -> None:
        """What the package keeps from visitors with .htaccess files tells nothing."""
        for path in ("/.htaccess", "/inc/.htaccess", "/conf/local.php", "/data/pages/start.txt"):
            self.assertEqual(self.browse().get(path).status, 404, path)
        for path in ("/VERSION.php", "/doku.php~", "/inc/lang/en/lang.php"):
            self.assertNotIn(b"<?php", self.browse().get(path).body)
