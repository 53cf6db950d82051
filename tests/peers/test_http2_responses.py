"""Responses of origins that speak HTTP/2, as they come to curl and PHP."""

from __future__ import annotations

import gzip

from tests.peers.http2 import TEXT, HTTP2TestCase, connection_of, https, origins
from tests.peers.openings import run_curl
from tests.peers.sockets import Peer


class BodilessTests(HTTP2TestCase):
    """Responses without a body; the next one is whole."""

    def test_no_content(self) -> None:
        """204 is that, with both of its cookies."""
        for answer in (
            self.fetch(origins().hypercorn, "/status/204"),
            self.php(origins().hypercorn, "/status/204"),
        ):
            self.assertEqual((answer.exit_status, answer.status, answer.body), (0, 204, b""))
            self.assertEqual(answer.values("Set-Cookie"), ["a=1", "b=2"])

    def test_not_modified(self) -> None:
        """304 has no body, whatever its length is said to be."""
        nginx = origins().nginx
        [tag] = self.fetch(nginx, "/files/text").values("ETag")
        asker = self.ask(nginx, "/files/text")
        self.assertEqual(asker.answer().body, TEXT)
        asker.ask(nginx, "/files/text", fields=f"If-None-Match: {tag}\r\n")
        self.assertEqual(asker.peer.read_message(bodiless=True).status, 304)
        asker.ask(nginx, "/files/text")
        self.assertEqual(asker.answer().body, TEXT)

    def test_head(self) -> None:
        """The answer to HEAD has a length and no body."""
        nginx = origins().nginx
        asker = self.ask(nginx, "/files/text", "HEAD")
        message = asker.peer.read_message(bodiless=True)
        self.assertEqual(message.values(b"content-length"), [b"%d" % len(TEXT)])
        asker.ask(nginx, "/files/text")
        self.assertEqual(asker.answer().body, TEXT)

    def test_range(self) -> None:
        """A part of a file is that."""
        answer = self.fetch(origins().nginx, "/files/text", "--range", "4-8")
        self.assertEqual((answer.status, answer.body), (206, b"fault"), answer)


class HeadTests(HTTP2TestCase):
    """Heads, before and behind the body."""

    def test_early_hints(self) -> None:
        """103 comes before the response."""
        answer = self.fetch(origins().hypercorn, "/hints")
        self.assertEqual((answer.status, answer.body), (200, b"hinted\n"), answer)
        [hints] = answer.interim
        self.assertTrue(hints.startswith(b"HTTP/1.1 103 Early Hints\r\n"), hints)
        self.assertIn(b"link: </a.css>; rel=preload\r\n", hints)

    def test_reason(self) -> None:
        """A response has the reason phrase that HTTP/2 has not."""
        answer = self.fetch(origins().nginx, "/files/missing")
        self.assertTrue(answer.head.startswith(b"HTTP/1.1 404 Not Found\r\n"), answer)

    def test_trailers(self) -> None:
        """Trailers come to who asked for them."""
        asker = self.ask(origins().hypercorn, "/hello")
        asker.answer()
        fields = "TE: trailers\r\nConnection: TE\r\n"
        asker.ask(origins().hypercorn, "/trailers", fields=fields)
        head = asker.peer.read_head()
        self.assertIn(b"transfer-encoding: chunked\r\n", head.lower())
        self.assertEqual((asker.chunk(), asker.chunk()), (b"summed\n", b""))
        self.assertEqual(asker.peer.read_head(), b"x-sum: 6\r\nx-other: \r\n\r\n")

    def test_unasked_trailers(self) -> None:
        """Those that nobody asked for do no harm, whether there is a place for them or not."""
        peer = self.nghttpd("--trailer", "x-sum: abc")
        answer = self.fetch(peer, "/text")
        self.assertEqual((answer.exit_status, answer.body), (0, TEXT), answer)
        peer = self.nghttpd("--trailer", "x-sum: abc", "--no-content-length")
        answer = self.php(peer, "/text")
        self.assertEqual((answer.exit_status, answer.body), (0, TEXT), answer)

    def test_bare(self) -> None:
        """What is sent with padding and without a length is whole."""
        peer = self.nghttpd("--no-content-length", "-b", "200", "--early-response")
        for _ in range(3):
            answer = self.fetch(peer, "/text")
            self.assertEqual((answer.exit_status, answer.body), (0, TEXT), answer)


class ContentTests(HTTP2TestCase):
    """Bodies."""

    def test_compressed(self) -> None:
        """What the origin has compressed arrives byte for byte."""
        nginx = origins().nginx
        gzipped = ("-H", "Accept-Encoding: gzip")
        trust = ("--cacert", self.shared.authority.file)
        direct = run_curl(https(nginx, "/text"), "--http2", *trust, *gzipped)
        answer = self.fetch(nginx, "/text", *gzipped)
        self.assertEqual(answer.values("Content-Encoding"), ["gzip"])
        self.assertEqual(answer.body, direct.body)
        self.assertEqual(gzip.decompress(answer.body), TEXT)
        answer = self.php(nginx, "/text", ENCODING="")
        self.assertEqual((answer.values("Content-Encoding"), answer.body), (["gzip"], TEXT))

    def test_pieces(self) -> None:
        """What comes slowly is delivered as it comes."""
        for origin, application in (
            (origins().hypercorn, origins().hypercorn.application),
            (origins().nginx, origins().plain_hypercorn.application),
        ):
            asker = self.ask(origin, "/pieces/5")
            asker.peer.read_head()
            for number in range(5):
                self.assertEqual(asker.chunk(), b"data: %d\n\n" % number)
                application.let_on("/pieces/5")
            self.assertEqual(asker.chunk(), b"")

    def test_interrupted(self) -> None:
        """A body that the origin breaks off (RST_STREAM) is an error to everybody, and the other
        requests on the connection have no part in it."""
        raw = self.origin(_broken_off)
        nginx = self.http2_nginx(backend=f"http://{raw.authority}")
        before = self.fetch(nginx, "/told")
        for path in ("/length", "/chunked"):
            self.assertNotEqual(self.fetch(nginx, path).exit_status, 0)
            self.assertNotEqual(self.php(nginx, path).exit_status, 0)
        after = self.fetch(nginx, "/told")
        self.assertEqual(after.body, b"/told", after)
        self.assertEqual(after.values("X-Connection"), before.values("X-Connection"))

    def test_reset(self) -> None:
        """A request that the origin answers with RST_STREAM alone is 502."""
        nginx = origins().nginx
        answer = self.fetch(nginx, "/nothing", "-d", "a=1")
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)
        self.assertNotEqual(answer.proxy_error, "", answer)

    def test_early_response(self) -> None:
        """An upload that the origin does not want ends with its response, and the connection goes
        on."""
        nginx = self.http2_nginx()
        asker = self.ask(nginx, "/told")
        before = connection_of(asker.answer())
        arguments = ("--data-binary", "@-", "-H", "Expect:")
        answer = self.fetch(nginx, "/small", *arguments, data=bytes(10_000_000))
        self.assertEqual(answer.status, 413, answer)
        asker = self.ask(nginx, "/told")
        self.assertEqual(connection_of(asker.answer()), before)


def _broken_off(peer: Peer) -> None:
    """A script that answers half of what it says, and ends."""
    path = peer.read_message().start_line.split()[1]
    if path == b"/length":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    else:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
