"""What clients are told when php-fpm fails them, and what only the log is told."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from fastcar_tw.fastcgi.records import encode_record
from fastcar_tw.fastcgi.request_body import CollectedBody
from fastcar_tw.upstream.backends import parse_backend
from tests.forward.support import answer, request

from .support import (
    FPM,
    OK,
    PAGE,
    GatewayTestCase,
    MemoryGateway,
    end_request,
    logged,
    stderr,
    stdout,
)

#: What nobody outside is to know: names of scripts, files, backends and php's own words.
SECRETS = (b"index", b".php", b"/tmp", b"root", b"unix", b"run/", b"fpm", b"php", b"secret")

#: What heads are made of, and what has no place there.
TOKENS = (
    *(b"A: b", b"Status: 404", b"Status: 204", b"Status: 304", b"Status:", b"Content-Length: 3"),
    *(b"Content-Length: ", b"Location: /", b"Location: /none", b"Location: http://b.test/"),
    *(b"X-Sendfile: /x", b"X-Accel-Redirect: /", b"Transfer-Encoding: chunked", b"Connection: A"),
    *(b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\n\n", b"\r", b" ", b":", b"\0", b"x", b"<p>"),
)


class FailureTests(GatewayTestCase):
    """Responses that are none."""

    def told(self, status: int, act: Callable[[], object]) -> list[str]:
        """Check that something makes an error page that gives nothing away; return the log."""
        lines = logged(act)
        got = answer(self.client.take())
        self.assertEqual(got.status, status)
        self.assertTrue(got.body.startswith(b"fastcar: "))
        everything = got.body + b"".join(got.fields.values())
        for secret in SECRETS:
            self.assertNotIn(secret, everything.lower())
        return lines

    def test_malformed(self) -> None:
        """A head that is none is 502, and the child is let go: who knows what it is about."""
        for head in (
            b"<b>Fatal error</b>: secret in /tmp/index.php\r\n\r\n",
            b"A: b\r\n folded\r\n\r\n",
            b"Status: 99\r\n\r\n",
            b"Status: 100 Continue\r\n\r\n",
            b"Status: 101\r\n\r\n",
            b"Content-Length: many\r\n\r\n",
            b"Content-Length: 2, 3\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"A: b\0\r\n\r\n",
            b"A: " + b"x" * 70000,
        ):
            self.client.send(request())
            lines = self.told(502, lambda head=head: self.child.stdout(head))  # type: ignore[misc]
            self.assertEqual(len(lines), 1)
            self.assertIn("http_protocol_error", lines[0])
            self.assertTrue(self.child.aborted)
        self.alive()

    def test_nothing(self) -> None:
        """So is a script that ends without a head."""
        for written in (b"", b"A: b\r\n"):
            self.client.send(request())
            lines = self.told(
                502,
                lambda written=written: self.child.send(stdout(written) + end_request()),  # type: ignore[misc]
            )
            self.assertEqual(len(lines), 1)
        self.alive()
        self.assertEqual(len(self.gateway.children), 1)

    def test_only_stderr(self) -> None:
        """And one that only complains, which is logged."""
        self.client.send(request())
        lines = self.told(502, lambda: self.child.send(stderr(b"secret") + end_request()))
        self.assertEqual(len(lines), 2)
        self.assertIn("secret", lines[0])

    def test_killed(self) -> None:
        """A child that is gone before its response is 502, and the log tells whose it was."""
        self.client.send(request())
        lines = self.told(502, self.child.close)
        self.assertEqual(len(lines), 1)
        self.assertIn("GET /", lines[0])
        self.assertIn(FPM, lines[0])
        self.alive()

    def test_killed_while_responding(self) -> None:
        """One that is gone before the end of its response breaks that off."""
        for written in (b"A: b\r\n\r\nhi", b"Content-Length: 9\r\n\r\nhi"):
            self.start()
            self.client.send(request())
            self.child.stdout(written)
            lines = logged(self.child.close)
            self.assertTrue(self.client.aborted)
            self.assertNotIn(b"\r\n0\r\n\r\n", self.client.received)
            self.assertEqual(len(lines), 1)
            self.assertIn("http_response_incomplete", lines[0])

    def test_killed_with_end(self) -> None:
        """One that is gone right after its response has done what it should."""
        self.client.send(request())
        child = self.child
        child.unsent += stdout(PAGE) + end_request()
        self.assertEqual(logged(child.end), [])
        self.assertEqual(answer(self.client.take()).body, b"hi")
        self.assertTrue(child.closed)
        self.alive()

    def test_own_defect(self) -> None:
        """What goes wrong here while a request is sent costs its connection, and its client is told
        so."""

        def take(_: CollectedBody) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        self.start(connections=1)
        self.client.send(request())
        other, last = self.gateway.client(), self.gateway.client()
        other.send(request(method=b"POST", body=b"x"))
        last.send(request())
        self.patch(CollectedBody, "take", take)
        self.child.answer()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.child.answer()
        self.assertEqual(answer(last.received).status, 200)
        self.assertEqual(answer(other.received).status, 500)

    def test_half_head(self) -> None:
        """A head that is cut off is 502."""
        self.client.send(request())
        self.child.stdout(b"A: b\r\n")
        self.told(502, self.child.close)

    def test_records(self) -> None:
        """What is no FastCGI is 502 before the head, and breaks off after it."""
        for noise in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            encode_record(6, b"x", 2),
            encode_record(3, b"short"),
            struct.pack(">BBHHBx", 1, 1, 1, 8, 0) + bytes(8),
        ):
            self.start()
            self.client.send(request())
            self.told(502, lambda noise=noise: self.child.send(noise))  # type: ignore[misc]
            self.assertTrue(self.child.aborted)
            self.client.send(request())
            self.child.stdout(PAGE)
            self.child.send(noise)
            self.assertTrue(self.client.aborted)

    def test_refused(self) -> None:
        """A php-fpm that is overloaded is 503; one that cannot do what is asked is 502."""
        for protocol_status, status in ((1, 502), (2, 503), (3, 502), (77, 502)):
            self.client.send(request())
            self.told(status, lambda code=protocol_status: self.child.end_request(code))  # type: ignore[misc]

    def test_refused_while_responding(self) -> None:
        """After the head neither can be told."""
        self.client.send(request())
        self.child.stdout(PAGE)
        self.child.end_request(2)
        self.assertTrue(self.client.aborted)

    def test_unreachable(self) -> None:
        """Where there is no php-fpm it is 502."""
        self.gateway.refusing = {parse_backend(FPM)}
        lines = self.told(502, lambda: self.client.send(request()))
        self.assertEqual(len(lines), 1)
        self.assertIn("connection_refused", lines[0])

    def test_left_alone(self) -> None:
        """After some attempts nobody waits for one that fails: 503, and when to come again."""
        self.start(fail_fast_after=2)
        self.gateway.refusing = {parse_backend(FPM)}
        for _ in range(2):
            self.told(502, lambda: self.client.send(request()))
        self.client.send(request())
        got = answer(self.client.take())
        self.assertEqual(got.status, 503)
        self.assertIn(b"retry-after", got.fields)
        self.assertEqual(len(self.gateway.attempts), 2)

    def test_unasked(self) -> None:
        """What a child says without having been asked ends its connection, and reaches nobody."""
        for noise in (stdout(PAGE), stderr(b"x"), end_request()):
            child = self.warm()
            child.send(noise)
            self.assertTrue(child.closed)
            self.assertEqual(self.client.take(), b"")
            self.alive()

    def test_too_much(self) -> None:
        """What comes behind the end of a response is not the next one's beginning."""
        child = self.warm()
        self.client.send(request())
        child.send(stdout(PAGE) + end_request() + stdout(b"A: stolen\r\n\r\n") + end_request())
        self.assertEqual(answer(self.client.take()).body, b"hi")
        self.assertTrue(child.closed)
        self.client.send(request())
        self.assertEqual(self.client.take(), b"")
        self.child.answer()
        self.assertEqual(answer(self.client.take()).body, b"hi")

    def test_head_only(self) -> None:
        """The page for a failed HEAD has no body."""
        self.client.send(request(method=b"HEAD"))
        self.child.close()
        got = answer(self.client.take())
        self.assertEqual((got.status, got.body), (502, b""))
        self.alive()

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.sampled_from(TOKENS)), st.booleans())
    def test_anything(self, tokens: list[bytes], cut: bool) -> None:
        """Whatever a script writes, a client that has no response of it has 502, or its end."""
        gateway = MemoryGateway(connections=1, sendfile="{beside}")
        client = gateway.client()
        client.send(request())
        child = gateway.children[0]
        for piece in tokens if cut else [b"".join(tokens)]:
            if not child.closed:
                child.send(stdout(piece))
        if not child.closed:
            child.end_request()
        got = client.received
        if got and not client.aborted:
            self.assertIn(int(got.split()[1]), (200, 204, 302, 304, 404, 502))
            self.assertNotIn(b"\n\n", got.partition(b"\r\n\r\n")[0])
        self.assertTrue(got or client.aborted or len(child.requests) == 2)
        gateway.close()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_mixed(self) -> None:
        """A malformed head in one piece with the end of its response is one failure."""
        self.client.send(request())
        self.told(502, lambda: self.child.answer(b"bad\r\n\r\n" + OK))
        self.assertEqual(self.client.take(), b"")
        self.alive()


class NotFoundTests(GatewayTestCase):
    """What is not there."""

    def test_not_found(self) -> None:
        """404 names neither a path nor what was looked for."""
        for target in (b"/none.php", b"/none", b"/none/x.php", b"/file.txt/x"):
            self.client.send(request(target))
            got = answer(self.client.take())
            self.assertEqual(got.status, 404)
            self.assertNotIn(self.gateway.root.encode(), got.body)
            self.assertNotIn(b"none", got.body)
        self.assertEqual(self.gateway.attempts, [])

    def test_logged(self) -> None:
        """What the operator can mend is logged, what is just not there is not."""
        os.symlink("/etc/hostname", os.path.join(self.gateway.root, "link.txt"))
        lines = logged(lambda: self.client.send(request(b"/link.txt")))
        self.assertEqual(answer(self.client.take()).status, 404)
        self.assertEqual(len(lines), 1)
        self.assertIn("/etc/hostname", lines[0])
        self.assertEqual(logged(lambda: self.client.send(request(b"/none"))), [])

    def test_malformed(self) -> None:
        """A target that cannot be a name is 400, and no script is run."""
        for target in (b"/index.php%00.txt", b"/%zz", b"/%", b"/%2e%2e/x"):
            client = self.gateway.client()
            client.send(request(target))
            self.assertEqual(answer(client.take()).status, 400)
        self.assertEqual(self.gateway.attempts, [])
