"""Heads pass byte for byte, but for what belongs to one hop (RFC 9110 section 7.6.1)."""

from __future__ import annotations

from queue import Queue

from tests.peers.case import PeersTestCase
from tests.peers.sockets import Message, answering

#: Order, case, multiplicity, empty values, odd names and bytes beyond ASCII: all to be kept.
FIELDS = (
    b"set-cookie: first=1; Path=/; HttpOnly\r\n"
    b"X-Empty:\r\n"
    b"Set-Cookie: second=2; Expires=Wed, 09 Jun 2100 10:18:14 GMT\r\n"
    b"X-CaSe: MiXeD, Commas,, and  spaces\r\n"
    b"SET-COOKIE: first=1; Path=/again\r\n"
    b"cookie: a=1; b=2\r\n"
    b"!#$%&'*+-.^_`|~09az: odd name\r\n"
    b"X-Bytes: caf\xc3\xa9 \xff\r\n"
    b"Set-Cookie: second=2; Secure\r\n"
    b"X-Forwarded-For: 192.0.2.1\r\n"
    b"Via: 1.0 fred\r\n"
    b"Authorization: Bearer secret\r\n"
    b"Cookie: c=3\r\n"
)


class RequestTests(PeersTestCase):
    """From the client to the origin."""

    def sent(self, *arguments: str) -> bytes:
        """The head that the origin gets when curl is run with these arguments."""
        requests: Queue[Message] = Queue()
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        self.origin_ = self.origin(answering(response, requests))
        self.assertEqual(self.curl(self.origin_.url, *arguments).status, 200)
        return requests.get_nowait().head

    def test_from_curl(self) -> None:
        """What curl sends is what the origin gets: nothing invented, nothing lost."""
        head = self.sent("-A", "agent/1", "-H", "X-Two: a", "-H", "x-two:b", "-H", "Empty;")
        expected = (
            f"GET / HTTP/1.1\r\nHost: {self.origin_.authority}\r\nUser-Agent: agent/1\r\n"
            "Accept: */*\r\nX-Two: a\r\nx-two:b\r\nEmpty:\r\n\r\n"
        )
        self.assertEqual(head, expected.encode())

    def test_bytes(self) -> None:
        """Every legal field line arrives as it was sent."""
        requests: Queue[Message] = Queue()
        origin = self.origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", requests))
        head = b"GET /%%7e/../x?y=%%zz HTTP/1.1\r\nHost: %b\r\n%b\r\n"
        head %= (origin.authority.encode(), FIELDS)
        client = self.dial()
        client.send(head)
        client.read_message()
        self.assertEqual(requests.get_nowait().head, head)

    def test_hop_by_hop(self) -> None:
        """What belongs to the client's connection stays there, and what Connection names."""
        names = [
            "Connection: x-mine, Keep-Alive",
            "Keep-Alive: timeout=5",
            "X-Mine: 1",
            "Proxy-Connection: keep-alive",
            "TE: trailers",
        ]
        arguments = [part for name in names for part in ("-H", name)]
        head = self.sent(*arguments, "-H", "X-Other: 1").lower()
        for name in names:
            self.assertNotIn(name.partition(":")[0].lower().encode() + b":", head)
        self.assertIn(b"x-other: 1\r\n", head)

    def test_http_1_0(self) -> None:
        """The version is that of fastcar, whatever the client's (RFC 9110 section 2.5)."""
        self.assertEqual(self.sent("--http1.0").partition(b"\r\n")[0], b"GET / HTTP/1.1")

    def test_absolute_form(self) -> None:
        """An absolute-form target decides the origin, which gets origin-form and its own Host."""
        requests: Queue[Message] = Queue()
        origin = self.origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", requests))
        client = self.dial()
        client.send(b"GET %ba?b HTTP/1.1\r\nHost: other.test\r\n\r\n" % origin.url.encode())
        client.read_message()
        head = requests.get_nowait().head
        self.assertEqual(head, b"GET /a?b HTTP/1.1\r\nHost: %b\r\n\r\n" % origin.authority.encode())


class ResponseTests(PeersTestCase):
    """From the origin to the client."""

    def test_bytes(self) -> None:
        """Every legal field line, and the reason phrase, arrive as they were sent."""
        response = b"HTTP/1.1 299 Odd  reason\r\n%bContent-Length: 0\r\n\r\n" % FIELDS
        answer = self.curl(self.origin(answering(response)).url)
        self.assertEqual(answer.head, response)

    def test_hop_by_hop(self) -> None:
        """What belongs to the origin's connection stays there, and what Connection names."""
        mine = b"Connection: x-mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\n"
        rest = b"X-Other: 1\r\nContent-Length: 0\r\n\r\n"
        answer = self.curl(self.origin(answering(b"HTTP/1.1 200 OK\r\n" + mine + rest)).url)
        self.assertEqual(answer.head, b"HTTP/1.1 200 OK\r\n" + rest)

    def test_trailers(self) -> None:
        """Trailers arrive behind a chunked body."""
        head = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = self.curl(
            self.origin(answering(head + b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")).url, "--raw"
        )
        self.assertTrue(answer.body.endswith(b"0\r\nX-Sum: 7\r\n\r\n"), answer)

    def test_via(self) -> None:
        """--via adds its line in both directions, and a body still passes."""
        requests: Queue[Message] = Queue()
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        origin = self.origin(answering(response, requests))
        client = self.dial(self.start_fastcar("--via", "car"))
        client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % origin.authority.encode())
        answer = client.read_message()
        self.assertEqual((answer.values(b"Via"), answer.body), ([b"1.1 car"], b"ok"))
        self.assertEqual(requests.get_nowait().values(b"Via"), [b"1.1 car"])
