"""Scripts that name what to answer with in their place: another resource, or a file."""

from __future__ import annotations

import os

from tests.forward.support import CHUNKED, Answer, answer, request

from .support import GatewayTestCase, logged


def location(target: bytes) -> bytes:
    """What a script writes that names another resource."""
    return b"Location: " + target + b"\r\n\r\n"


class RedirectTests(GatewayTestCase):
    """Local redirections (RFC 3875 section 6.2.2)."""

    def setUp(self) -> None:
        # So that there is no doubt which child is meant.
        self.start(connections=1)
        self.gateway.write("other.php")

    def test_script(self) -> None:
        """Another script has the request as a GET of the path and query that were named."""
        self.client.send(request(b"/?a", b"X: y", b"Cookie: c"))
        self.child.answer(location(b"/other.php/more?b=c"))
        asked = self.child.request.params
        self.assertEqual(asked[b"SCRIPT_NAME"], b"/other.php")
        self.assertEqual(asked[b"PATH_INFO"], b"/more")
        self.assertEqual(asked[b"QUERY_STRING"], b"b=c")
        self.assertEqual(asked[b"REQUEST_URI"], b"/other.php/more?b=c")
        self.assertEqual((asked[b"HTTP_X"], asked[b"HTTP_COOKIE"]), (b"y", b"c"))
        self.assertEqual(asked[b"HTTP_HOST"], b"a.test")
        self.assertEqual(self.client.take(), b"")
        self.child.answer(b"Content-Type: x/y\r\n\r\nother")
        got = answer(self.client.take())
        self.assertEqual((got.status, got.body), (200, b"other"))
        self.assertNotIn(b"location", got.fields)
        self.alive()

    def test_post(self) -> None:
        """A body is not sent on, and nothing is said of it."""
        for asked in (
            request(b"/", b"Content-Type: x/y", method=b"POST", body=b"hello"),
            request(b"/", b"Content-Type: x/y", method=b"PUT", body=b"hello"),
            request(b"/", CHUNKED, method=b"POST", body=b"5\r\nhello\r\n0\r\n\r\n"),
        ):
            self.client.send(asked)
            self.child.answer(location(b"/other.php"))
            second = self.child.request
            self.assertEqual(second.params[b"REQUEST_METHOD"], b"GET")
            for name in (b"CONTENT_LENGTH", b"CONTENT_TYPE"):
                self.assertNotIn(name, second.params)
            self.assertEqual((second.stdin, second.complete), (b"", True))
            self.child.answer()
            self.assertEqual(answer(self.client.take()).status, 200)

    def test_head(self) -> None:
        """A HEAD stays one."""
        self.client.send(request(method=b"HEAD"))
        self.child.answer(location(b"/other.php"))
        self.assertEqual(self.child.request.params[b"REQUEST_METHOD"], b"HEAD")
        self.child.answer()
        self.assertEqual(answer(self.client.take()).body, b"")
        self.alive()

    def test_file(self) -> None:
        """A file that is named is sent."""
        got = answer(self.exchange(request(method=b"POST", body=b"x"), location(b"/file.txt")))
        self.assertEqual((got.status, got.body), (200, b"text"))

    def test_nothing(self) -> None:
        """What is not there is 404, and costs no more."""
        got = answer(self.exchange(request(), location(b"/none")))
        self.assertEqual(got.status, 404)
        self.alive()

    def test_nonsense(self) -> None:
        """What cannot be there is 502: not the client has asked for it."""
        for target in (b"/%zz", b"/../x", b"/%00"):
            self.client.send(request())
            lines = logged(lambda target=target: self.child.answer(location(target)))  # type: ignore[misc]
            got = answer(self.client.take())
            self.assertEqual(got.status, 502)
            self.assertNotIn(b"Location", got.body)
            self.assertEqual(len(lines), 1)
            self.assertIn("Location: invalid request target", lines[0])
        self.alive()

    def test_at_most_ten(self) -> None:
        """Ten times a request is sent on, the eleventh is 502."""
        self.client.send(request())
        for _ in range(10):
            self.child.answer(location(b"/other.php"))
        self.assertEqual(len(self.child.requests), 11)
        self.assertEqual(self.client.take(), b"")
        lines = logged(lambda: self.child.answer(location(b"/other.php")))
        self.assertEqual(answer(self.client.take()).status, 502)
        self.assertEqual(len(self.child.requests), 11)
        self.assertIn("too many redirections", lines[-1])
        self.alive()

    def test_to_client(self) -> None:
        """A redirection with a status, to elsewhere, or with more to say, is the client's."""
        for head in (
            b"Status: 302\r\nLocation: /other.php\r\n\r\n",
            location(b"http://b.test/other.php"),
            location(b"//b.test/other.php"),
            b"Set-Cookie: a=b\r\nLocation: /other.php\r\n\r\n",
        ):
            got = answer(self.exchange(request(), head))
            self.assertEqual(got.status, 302)
            self.assertTrue(got.fields[b"location"].endswith(b"/other.php"))

    def test_in_pieces(self) -> None:
        """Nothing is sent before the script has ended, however its head comes."""
        self.client.send(request())
        for byte in location(b"/other.php"):
            self.child.stdout(bytes((byte,)))
        self.child.stdout(b"<p>moved")
        self.assertEqual(len(self.child.requests), 1)
        self.child.end_request()
        self.assertEqual(len(self.child.requests), 2)
        self.assertEqual(self.client.take(), b"")
        self.child.answer()
        self.assertEqual(answer(self.client.take()).body, b"hi")

    def test_trusted(self) -> None:
        """What a trusted proxy says of the client counts for the second script too."""
        self.start(connections=1, trusted_proxy=("203.0.113.0/24",))
        forwarded = b"X-Forwarded-For: 198.51.100.7"
        self.client.send(request(b"/", forwarded, b"X-Forwarded-Proto: https"))
        first = dict(self.child.request.params)
        self.child.answer(location(b"/"))
        second = self.child.request.params
        self.assertEqual(len(self.child.requests), 2)
        for name in (b"REMOTE_ADDR", b"HTTPS", b"SERVER_PORT", b"HTTP_X_FORWARDED_FOR"):
            self.assertEqual(second[name], first[name])
        self.assertEqual(second[b"REMOTE_ADDR"], b"198.51.100.7")

    def test_early(self) -> None:
        """A body that the first script did not wait for is of no interest to the second."""
        self.client.send(request(b"/", b"Content-Length: 4", method=b"PUT") + b"ab")
        self.child.answer(location(b"/other.php"))
        self.assertEqual(self.child.request.params[b"SCRIPT_NAME"], b"/other.php")
        self.client.send(b"cd")
        self.child.answer()
        self.assertEqual(self.child.request.stdin, b"")
        self.assertEqual(answer(self.client.take()).body, b"hi")
        self.alive()

    def test_pipelined(self) -> None:
        """The next request comes after the second script's response."""
        self.client.send(request(b"/?1") + request(b"/?2"))
        self.child.answer(location(b"/other.php"))
        self.assertEqual(self.child.request.params[b"SCRIPT_NAME"], b"/other.php")
        self.child.answer()
        self.assertEqual(self.child.request.params[b"QUERY_STRING"], b"2")

    def test_close(self) -> None:
        """A client that wants its connection closed has it closed after that."""
        self.client.send(request(b"/", b"Connection: close"))
        self.child.answer(location(b"/other.php"))
        self.child.answer()
        self.assertEqual(answer(self.client.take()).fields[b"connection"], b"close")
        self.assertTrue(self.client.ended_cleanly)

    def test_drained(self) -> None:
        """So has one whose service stops in between."""
        self.client.send(request())
        self.gateway.gateway.drain()
        self.child.answer(location(b"/other.php"))
        self.child.answer()
        self.assertEqual(answer(self.client.take()).fields[b"connection"], b"close")
        self.assertTrue(self.client.ended_cleanly)


class SendfileTests(GatewayTestCase):
    """X-Sendfile and X-Accel-Redirect."""

    def setUp(self) -> None:
        self.start(sendfile="{beside}")
        self.path = self.gateway.write("dir/a b.txt", b"0123456789", beside=True).encode()

    def ask(self, head: bytes, *fields: bytes, method: bytes = b"GET") -> Answer:
        """Have a script say something."""
        asked = request(b"/", *fields, method=method)
        return answer(self.exchange(asked, head + b"\r\n\r\nnot this"))

    def test_sent(self) -> None:
        """The file is sent in place of the script's page, with the script's fields."""
        for head in (b"X-Sendfile: " + self.path, b"X-Accel-Redirect: /dir/a%20b.txt"):
            got = self.ask(head + b"\r\nX-A: b\r\nContent-Type: x/y")
            self.assertEqual((got.status, got.body), (200, b"0123456789"))
            self.assertEqual(got.fields[b"x-a"], b"b")
            self.assertEqual(got.fields[b"content-type"], b"x/y")
            self.assertEqual(got.fields[b"content-length"], b"10")
            for name in (b"x-sendfile", b"x-accel-redirect"):
                self.assertNotIn(name, got.fields)
        self.alive()

    def test_content_length(self) -> None:
        """A script may tell the length of the file as its own, as Symfony does."""
        for length in (b"10", b"3", b"99"):
            got = self.ask(b"X-Sendfile: " + self.path + b"\r\nContent-Length: " + length)
            self.assertEqual((got.status, got.body), (200, b"0123456789"))
            self.assertEqual(got.fields[b"content-length"], b"10")

    def test_query(self) -> None:
        """The query of a URI says nothing about the file."""
        self.assertEqual(self.ask(b"X-Accel-Redirect: /dir/a%20b.txt?x").body, b"0123456789")

    def test_range(self) -> None:
        """A part is sent if that was asked for."""
        got = self.ask(b"X-Sendfile: " + self.path, b"Range: bytes=2-3")
        self.assertEqual((got.status, got.body), (206, b"23"))

    def test_methods(self) -> None:
        """What method it was for is the script's affair; a HEAD has no body."""
        self.assertEqual(self.ask(b"X-Sendfile: " + self.path, method=b"POST").status, 200)
        got = self.ask(b"X-Sendfile: " + self.path, method=b"HEAD")
        self.assertEqual((got.fields[b"content-length"], got.body), (b"10", b""))

    def test_missing(self) -> None:
        """A file that is not there is 404."""
        self.assertEqual(self.ask(b"X-Accel-Redirect: /none").status, 404)

    def test_outside(self) -> None:
        """What is not inside that directory is 502, and the client is not told which it was."""
        inside = self.gateway.beside.encode()
        index = os.path.join(self.gateway.root, "file.txt").encode()
        os.symlink(index, os.path.join(inside, b"link"))
        os.symlink(self.gateway.root, os.path.join(inside, b"tree"))
        os.mkdir(inside + b"more")
        self.gateway.write("../besidemore/x", b"x")
        for head in (
            b"X-Sendfile: " + index,
            b"X-Sendfile: " + inside + b"/../public/file.txt",
            b"X-Sendfile: " + inside + b"/%2e%2e/public/file.txt",
            b"X-Sendfile: " + inside + b"/link",
            b"X-Sendfile: " + inside + b"/tree/file.txt",
            b"X-Sendfile: " + inside + b"more/x",
            b"X-Sendfile: " + inside,
            b"X-Sendfile: dir/a b.txt",
            b"X-Sendfile: " + inside + b"/dir/a b.txt%00.png",
            b"X-Sendfile: /etc/passwd",
            b"X-Accel-Redirect: /../public/file.txt",
            b"X-Accel-Redirect: /%2e%2e/public/file.txt",
            b"X-Accel-Redirect: /link",
            b"X-Accel-Redirect: /tree/file.txt",
            b"X-Accel-Redirect: /dir/a%20b.txt%00",
            b"X-Accel-Redirect: /",
        ):
            self.client.send(request())
            lines = logged(lambda head=head: self.child.answer(head + b"\r\n\r\n"))  # type: ignore[misc]
            got = answer(self.client.take())
            self.assertEqual(got.status, 502, head)
            self.assertNotIn(b"sendfile", got.body)
            self.assertEqual(len(lines), 1)
        self.alive()

    def test_no_file(self) -> None:
        """A directory and a pipe are no files: they are 404, and nothing waits for them."""
        os.mkfifo(os.path.join(self.gateway.beside, "pipe"))
        for name in (b"dir", b"pipe"):
            self.assertEqual(self.ask(b"X-Accel-Redirect: /" + name).status, 404)

    def test_link_inside(self) -> None:
        """A link that stays inside is followed."""
        os.symlink("dir/a b.txt", os.path.join(self.gateway.beside, "link"))
        self.assertEqual(self.ask(b"X-Accel-Redirect: /link").body, b"0123456789")

    def test_not_without(self) -> None:
        """Without --sendfile nothing is sent, whatever is named."""
        self.start()
        self.gateway.write("a.txt", b"x", beside=True)
        for head in (
            b"X-Sendfile: %b/a.txt" % self.gateway.beside.encode(),
            b"X-Sendfile: %b/file.txt" % self.gateway.root.encode(),
            b"X-Accel-Redirect: /file.txt",
        ):
            got = self.ask(head)
            self.assertEqual(got.status, 502)
            self.assertNotIn(b"text", got.body)
        self.alive()

    def test_bodiless(self) -> None:
        """204 and 304 have no body, so there is nothing to substitute."""
        for status in (b"204", b"304"):
            got = self.ask(b"Status: " + status + b"\r\nX-Sendfile: " + self.path)
            self.assertEqual((got.status, got.body), (int(status), b""))

    def test_status(self) -> None:
        """The script's status is the response's."""
        got = self.ask(b"Status: 404 Nope\r\nX-Sendfile: " + self.path)
        self.assertEqual((got.status, got.body), (404, b"0123456789"))

    def test_killed(self) -> None:
        """A script that ends before its time has named nothing."""
        self.client.send(request())
        self.child.stdout(b"X-Sendfile: " + self.path + b"\r\n\r\n")
        self.child.close()
        self.assertEqual(answer(self.client.take()).status, 502)

    def test_early(self) -> None:
        """A script that did not read its request has its file sent, and the client closes."""
        self.client.send(request(b"/", b"Content-Length: 9", method=b"PUT"))
        self.child.answer(b"X-Sendfile: " + self.path + b"\r\n\r\n")
        got = answer(self.client.take())
        self.assertEqual((got.body, got.fields[b"connection"]), (b"0123456789", b"close"))

    def test_large(self) -> None:
        """A client that does not read a large file makes nobody hold it; then it goes on."""
        self.gateway.write("large", b"x" * (4 << 20), beside=True)
        client = self.gateway.client(capacity=8192)
        client.send(request())
        client.pause()
        self.child.answer(b"X-Accel-Redirect: /large\r\n\r\n")
        self.assertLess(client.transport.buffered, 256 << 10)
        client.resume()
        self.assertEqual(len(answer(client.take()).body), 4 << 20)
        self.alive(client)
