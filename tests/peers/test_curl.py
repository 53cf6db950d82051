"""What curl can do with an origin, it can do through fastcar, over HTTP and HTTPS."""

from __future__ import annotations

import gzip
import os
from queue import Queue

from tests.peers.case import PeersTestCase
from tests.peers.nginx import TEXT
from tests.peers.sockets import Message, Peer, answering, echo


class HTTPTests(PeersTestCase):
    """Plain HTTP from curl to the origin."""

    scheme = "http"

    def url(self, path: str) -> str:
        return self.nginx.url(self.scheme, path)

    def test_get(self) -> None:
        """A response comes whole, and without any field that the origin did not send."""
        answer = self.curl(self.url("/hello"))
        self.assertEqual((answer.status, answer.body), (200, b"hello\n"), answer)
        names = [line.partition(b":")[0] for line in answer.head.split(b"\r\n")[1:-2]]
        expected = b"Server Date Content-Type Content-Length X-Connection X-Request-Of-Connection"
        self.assertEqual(names, expected.split())

    def test_head(self) -> None:
        """HEAD brings the length of the body and no body."""
        answer = self.curl(self.url("/hello"), "--head")
        self.assertEqual((answer.status, answer.values("Content-Length")), (200, ["6"]), answer)
        self.assertEqual(answer.body, b"")

    def test_any_method(self) -> None:
        """A method nobody has heard of passes as it is."""
        answer = self.curl(self.url("/echo?a=b&c"), "-X", "FROBNICATE_IT")
        expected = "FROBNICATE_IT /echo?a=b&c " + self.url("").partition("//")[2] + "\n"
        self.assertEqual(answer.body.decode(), expected, answer)

    def test_no_content(self) -> None:
        """204 has no body, and the connection serves the next request."""
        answer = self.curl(self.url("/empty"), self.url("/empty"))
        self.assertEqual((answer.exit_status, answer.status), (0, 204), answer)

    def test_not_modified(self) -> None:
        """304 has no body, whatever its Content-Length says."""
        tag = self.curl(self.url("/text")).values("ETag")[0]
        answer = self.curl(self.url("/text"), "-H", f"If-None-Match: {tag}")
        self.assertEqual((answer.exit_status, answer.status, answer.body), (0, 304, b""), answer)

    def test_redirect(self) -> None:
        """curl follows a redirect through fastcar."""
        answer = self.curl(self.url("/moved"), "--location", "-w", "%{num_redirects}")
        self.assertTrue(answer.body.endswith(b"hello\n1"), answer)

    def test_range(self) -> None:
        """A range of a file comes as 206 with just these bytes."""
        answer = self.curl(self.url("/text"), "--range", "5-9")
        self.assertEqual((answer.status, answer.body), (206, TEXT[5:10]), answer)

    def test_several_ranges(self) -> None:
        """Several ranges come as one multipart body."""
        answer = self.curl(self.url("/text"), "--range", "0-1,4-5")
        self.assertEqual(answer.status, 206, answer)
        self.assertEqual(answer.body.count(b"Content-Range: bytes"), 2)

    def test_gzip_untouched(self) -> None:
        """A compressed body, whose end only chunked coding tells, comes compressed."""
        answer = self.curl(self.url("/text"), "-H", "Accept-Encoding: gzip")
        self.assertEqual(answer.values("Content-Encoding"), ["gzip"], answer)
        self.assertEqual(answer.values("Transfer-Encoding"), ["chunked"])
        self.assertEqual(gzip.decompress(answer.body), TEXT)

    def test_gzip_to_http_1_0(self) -> None:
        """For an HTTP/1.0 client the same body ends with the connection (RFC 9112 section 6.3)."""
        answer = self.curl(self.url("/text"), "-H", "Accept-Encoding: gzip", "--http1.0")
        self.assertEqual(answer.values("Transfer-Encoding"), [], answer)
        self.assertEqual(gzip.decompress(answer.body), TEXT)

    def test_no_accept_encoding_invented(self) -> None:
        """Who does not ask for compression gets none."""
        answer = self.curl(self.url("/text"))
        self.assertEqual((answer.values("Content-Encoding"), answer.body), ([], TEXT), answer)

    def test_post(self) -> None:
        """A small body goes to the origin as it is."""
        origin = self.origin(echo, self.scheme)
        answer = self.curl(origin.url, "--data", "a=1&b=%20")
        self.assertEqual((answer.status, answer.body), (200, b"a=1&b=%20"), answer)

    def test_chunked_upload(self) -> None:
        """A body of unknown length arrives chunked and whole."""
        requests: Queue[Message] = Queue()
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        origin = self.origin(answering(response, requests), self.scheme)
        body = os.urandom(300_000)
        self.assertEqual(self.curl(origin.url, "-T", "-", data=body).status, 200)
        request = requests.get_nowait()
        self.assertEqual(request.values(b"Transfer-Encoding"), [b"chunked"])
        self.assertEqual(request.values(b"Content-Length"), [])
        self.assertEqual(request.body, body)

    def test_expect_continue(self) -> None:
        """A client that waits for 100 Continue gets the origin's, and sends its body then."""

        def script(peer: Peer) -> None:
            head = peer.read_head()
            assert b"Expect: 100-continue\r\n" in head, head
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + peer.read(5))

        origin = self.origin(script, self.scheme)
        waiting = ("-H", "Expect: 100-continue", "--expect100-timeout", "1000")
        answer = self.curl(origin.url, "--data", "12345", *waiting)
        self.assertEqual((answer.status, answer.body), (200, b"12345"), answer)
        self.assertEqual(answer.interim, [b"HTTP/1.1 100 Continue\r\n\r\n"])

    def test_expectation_failed(self) -> None:
        """A final response instead of 100 Continue spares the body."""

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nno!\n")
            assert peer.read_to_end() == b""

        origin = self.origin(script, self.scheme)
        waiting = ("-H", "Expect: 100-continue", "--expect100-timeout", "1000")
        answer = self.curl(origin.url, "--data", "12345", *waiting)
        self.assertEqual((answer.exit_status, answer.status), (0, 413), answer)
        self.assertEqual(answer.body, b"no!\n")

    def test_early_hints(self) -> None:
        """103 comes before the response, with its fields (RFC 8297)."""
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        response = hints + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        answer = self.curl(self.origin(answering(response), self.scheme).url)
        self.assertEqual((answer.interim, answer.status), ([hints], 200), answer)

    def test_kept_client_connection(self) -> None:
        """One curl uses one connection for several requests."""
        count = ("-w", "%{num_connects}")
        answer = self.curl(self.url("/hello"), *count, self.url("/hello"))
        self.assertTrue(answer.body.startswith(b"hello\n1"), answer)
        self.assertTrue(answer.body.endswith(b"hello\n0"), answer)

    def test_connection_close_is_for_one_hop(self) -> None:
        """A client's Connection: close ends its connection, and not the origin's."""
        answers = [self.curl(self.url("/hello"), "-H", "Connection: close") for _ in range(3)]
        self.assertEqual([answer.values("Connection") for answer in answers], [["close"]] * 3)
        connections = {answer.values("X-Connection")[0] for answer in answers}
        self.assertEqual(len(connections), 1, answers)

    def test_upstream_connection_shared(self) -> None:
        """Fresh curl processes one after the other share one connection to the origin."""
        answers = [self.curl(self.url("/hello")) for _ in range(5)]
        self.assertEqual(len({answer.values("X-Connection")[0] for answer in answers}), 1)
        numbers = [int(answer.values("X-Request-Of-Connection")[0]) for answer in answers]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 5)))


class HTTPSTests(HTTPTests):
    """The same over TLS on both sides."""

    scheme = "https"
