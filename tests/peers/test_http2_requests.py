"""Requests to origins that speak HTTP/2: from curl and PHP, with TLS inside the socket and without.

What each origin can do is tried with each; what only an application can tell, with hypercorn.
"""

from __future__ import annotations

import hashlib
import os

from tests.peers.clients import Answer
from tests.peers.http2 import TEXT, HTTP2TestCase, Nghttpd, Origin, origins

MIB = 1 << 20
#: Around frames and windows as they are at first, and far beyond.
SIZES = (0, 1, 16_384, 65_535, 65_536, 300_000)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class HypercornTests(HTTP2TestCase):
    """hypercorn."""

    echo = "/echo"
    page, content = "/hello", b"hello\n"

    @property
    def peer(self) -> Origin:
        return origins().hypercorn

    def assert_http2(self, answer: Answer) -> None:
        """It was fetched well, and with HTTP/2."""
        self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
        self.assertEqual(origins().hypercorn.application.seen[-1].version, "2")

    def check(self, *, tls: bool) -> None:
        """What curl and PHP ask for."""
        peer, page = self.peer, self.page
        for answer in (self.fetch(peer, page, tls=tls), self.php(peer, page, tls=tls)):
            self.assert_http2(answer)
            self.assertEqual(answer.body, self.content)
        heads = (
            self.fetch(peer, page, "--head", tls=tls),
            self.php(peer, page, tls=tls, NOBODY=True),
        )
        for answer in heads:
            self.assert_http2(answer)
            length = answer.values("Content-Length")
            self.assertIn((length, answer.body), (([str(len(self.content))], b""), ([], b"")))
        sent = (
            self.fetch(peer, self.echo, "--data", "a=1&b=2", tls=tls),
            self.fetch(peer, self.echo, "-T", "-", "-H", "Expect:", data=b"a=1&b=2", tls=tls),
            self.php(peer, self.echo, tls=tls, POSTFIELDS="a=1&b=2"),
            self.php(peer, self.echo, tls=tls, POSTFIELDS="a=1&b=2", CUSTOMREQUEST="PUT"),
        )
        for answer in sent:
            self.assert_http2(answer)
            self.assertEqual(answer.body, b"a=1&b=2", answer)

    def test_plain(self) -> None:
        """With plain HTTP on the socket for https origins."""
        self.check(tls=False)

    def test_tls(self) -> None:
        """With TLS inside the socket."""
        self.check(tls=True)

    def assert_echoed(self, size: int, *, tls: bool = False) -> None:
        """A body goes up and comes down byte for byte."""
        data = os.urandom(size)
        arguments = ("--data-binary", "@-", "-H", "Expect:")
        answer = self.fetch(self.peer, self.echo, *arguments, data=data, tls=tls)
        self.assert_http2(answer)
        self.assertEqual((len(answer.body), digest(answer.body)), (size, digest(data)))

    def test_bodies(self) -> None:
        """Bodies of all sizes arrive, there and back."""
        for size in SIZES:
            self.assert_echoed(size)

    def test_large_body(self) -> None:
        """So do 20 MiB."""
        self.assert_echoed(20 * MIB)

    def test_large_body_tls(self) -> None:
        """So do 5 MiB with TLS on both sides."""
        self.assert_echoed(5 * MIB, tls=True)

    def test_php_body(self) -> None:
        """So does 1 MiB from PHP."""
        data = "0123456789abcdef" * (MIB // 16)
        answer = self.php(self.peer, self.echo, POSTFIELDS=data)
        self.assert_http2(answer)
        self.assertEqual(digest(answer.body), digest(data.encode()))


class NginxTests(HypercornTests):
    """nginx, with an application behind."""

    @property
    def peer(self) -> Origin:
        return origins().nginx

    def assert_http2(self, answer: Answer) -> None:
        self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
        self.assertEqual(answer.values("X-Protocol"), ["HTTP/2.0"])


class NghttpdTests(HypercornTests):
    """nghttpd."""

    page, content = "/text", TEXT

    @property
    def peer(self) -> Origin:
        return origins().nghttpd

    def assert_http2(self, answer: Answer) -> None:
        # It speaks nothing else.
        self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)


class FieldTests(HTTP2TestCase):
    """What becomes of the head of a request."""

    def fields(self, *arguments: str) -> list[tuple[str, str]]:
        facts = self.facts(origins().hypercorn, *arguments)
        return [(name, value) for name, value in facts["fields"]]

    def test_translated(self) -> None:
        """Names are in lower case and in order, values as they were; the authority is Host's."""
        fields = self.fields("-A", "me", "-H", "X-One: 1", "-H", "X-TWO: é ;, 2", "-H", "x-one: 3")
        ours = [pair for pair in fields if pair[0].startswith("x-")]
        # What was sent is UTF-8, what came was read as Latin-1.
        two = "é ;, 2".encode().decode("latin-1")
        self.assertEqual(ours, [("x-one", "1"), ("x-two", two), ("x-one", "3")])
        port = origins().hypercorn.port
        self.assertEqual([value for name, value in fields if name == "host"], [f"localhost:{port}"])

    def test_of_the_connection(self) -> None:
        """What is about the client's connection stays behind, except that it takes trailers."""
        fields = self.fields(
            *("-H", "Connection: keep-alive, X-Mine, TE", "-H", "X-Mine: 1", "-H", "Keep-Alive: 5"),
            *("-H", "TE: trailers, deflate", "-H", "Proxy-Connection: keep-alive"),
        )
        names = {name for name, _ in fields}
        forbidden = {"connection", "x-mine", "keep-alive", "proxy-connection", "transfer-encoding"}
        self.assertEqual(names & forbidden, set())
        self.assertEqual([value for name, value in fields if name == "te"], ["trailers"])

    def test_many(self) -> None:
        """A hundred fields, and large ones, arrive and come back."""
        sent = {f"x-echo-{number}": f"{number:03}" * 20 for number in range(100)}
        sent |= {f"x-echo-large-{number}": "v" * 6000 for number in range(3)}
        arguments = [part for pair in sent.items() for part in ("-H", ": ".join(pair))]
        answer = self.fetch(origins().hypercorn, "/facts", *arguments)
        self.assertEqual(answer.status, 200, answer)
        for name, value in sent.items():
            self.assertEqual(answer.values(name), [value])

    def test_cookies(self) -> None:
        """Cookies are one to the origin, however they travel."""
        cookie = "a=1; b=2; long=" + "x" * 100 + "; c=3"
        values = [value for name, value in self.fields("-b", cookie) if name == "cookie"]
        self.assertEqual("; ".join(values), cookie)
        self.assertEqual(
            self.fetch(origins().nginx, "/cookies", "-b", cookie).body.decode(), cookie
        )
        answer = self.php(origins().nginx, "/cookies", COOKIE=cookie)
        self.assertEqual(answer.body.decode(), cookie)

    def test_target(self) -> None:
        """The target arrives as it was written."""
        target = "/facts/a%2Fb;c=%C3%A9?q=1&r=%20+&s"
        facts = self.facts(origins().hypercorn, path=target)
        self.assertEqual(facts["target"], target)

    def test_unknown_method(self) -> None:
        """Any method may be asked with."""
        self.assertEqual(self.facts(origins().hypercorn, "-X", "PURGE")["method"], "PURGE")

    def test_unknown_length(self) -> None:
        """A body of unknown length has none in HTTP/2 either."""
        arguments = ("-T", "-", "-H", "Expect:")
        answer = self.fetch(origins().nginx, "/facts", *arguments, data=b"x" * 100_000)
        self.assertIn(b'"length": 100000', answer.body)
        self.assertEqual(answer.values("X-Protocol"), ["HTTP/2.0"])

    def test_continue(self) -> None:
        """100 (Continue) is the origin's to send."""
        arguments = ("-H", "Expect: 100-continue", "--expect100-timeout", "20", "-d", "a=1")
        answer = self.fetch(origins().nghttpd, "/", *arguments)
        self.assertEqual((answer.status, answer.body), (200, b"a=1"), answer)
        self.assertEqual([head[:12] for head in answer.interim], [b"HTTP/1.1 100"])


class TrailerTests(HTTP2TestCase):
    """Trailers of a request."""

    def test_sent(self) -> None:
        """They arrive."""
        peer: Nghttpd = origins().nghttpd
        start = len(peer.process.output)
        asker = self.ask(peer, "/text")
        asker.answer()
        asker.ask(peer, "/", "POST", fields="Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n")
        asker.peer.send(b"3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")
        self.assertEqual(asker.answer().body, b"abc")
        peer.process.wait_for(r"recv \(stream_id=\d+[^)]*\) x-sum: 6\n", start)
