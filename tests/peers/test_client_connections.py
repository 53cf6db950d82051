"""What clients may do with their connection, beyond what curl does with it."""

from __future__ import annotations

import ssl
from queue import Queue

from tests.peers.case import PeersTestCase
from tests.peers.sockets import Message, Peer, RawOrigin, answering, echo


def request(origin: RawOrigin, path: str = "/", fields: str = "", method: str = "GET") -> bytes:
    """A request's head."""
    return f"{method} {path} HTTP/1.1\r\nHost: {origin.authority}\r\n{fields}\r\n".encode()


def tell_path(peer: Peer) -> None:
    """A script that answers with the path asked for."""
    while True:
        path = peer.read_message().start_line.split(b" ")[1]
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))


class PipeliningTests(PeersTestCase):
    """Requests that do not wait for the response before them."""

    def test_in_order(self) -> None:
        """A hundred requests in one write are answered in their order."""
        origin = self.origin(tell_path)
        client = self.dial()
        client.send(b"".join(request(origin, f"/{number}") for number in range(100)))
        paths = [client.read_message().body for _ in range(100)]
        self.assertEqual(paths, [b"/%d" % number for number in range(100)])

    def test_to_two_origins(self) -> None:
        """Each request goes where its own Host says."""
        one = self.origin(answering(b"HTTP/1.1 201 One\r\nContent-Length: 0\r\n\r\n"))
        two = self.origin(answering(b"HTTP/1.1 202 Two\r\nContent-Length: 0\r\n\r\n"))
        client = self.dial()
        client.send(request(one) + request(two) + request(one))
        lines = [client.read_message().start_line.split()[1] for _ in range(3)]
        self.assertEqual(lines, [b"201", b"202", b"201"])

    def test_bodies_between(self) -> None:
        """Bodies, of known length and chunked, end exactly where the next request begins."""
        origin = self.origin(echo)
        client = self.dial()
        known = request(origin, fields="Content-Length: 3\r\n", method="POST") + b"abc"
        chunked = request(origin, fields="Transfer-Encoding: chunked\r\n", method="POST")
        chunked += b"2\r\nde\r\n0\r\n\r\n"
        client.send((known + chunked) * 3)
        bodies = [client.read_message().body for _ in range(6)]
        self.assertEqual(bodies, [b"abc", b"de"] * 3)

    def test_byte_by_byte(self) -> None:
        """A request may arrive in pieces of any size."""
        origin = self.origin(tell_path)
        client = self.dial()
        for byte in request(origin, "/slowly"):
            client.send(bytes([byte]))
        self.assertEqual(client.read_message().body, b"/slowly")


class HalfCloseTests(PeersTestCase):
    """Clients that say with FIN that they have asked everything."""

    def test_gets_its_response(self) -> None:
        """A client that has half-closed its connection gets the response, then the end."""
        origin = self.origin(tell_path)
        client = self.dial()
        client.send(request(origin, "/last"))
        client.end_output()
        self.assertEqual(client.read_message().body, b"/last")
        self.assertEqual(client.read_to_end(), b"")

    def test_pipelined(self) -> None:
        """So does one that has sent several requests."""
        origin = self.origin(tell_path)
        client = self.dial()
        client.send(request(origin, "/1") + request(origin, "/2"))
        client.end_output()
        self.assertEqual([client.read_message().body for _ in range(2)], [b"/1", b"/2"])
        self.assertEqual(client.read_to_end(), b"")

    def test_incomplete_request(self) -> None:
        """An upload that ends too early does not look complete to the origin."""
        ends: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            peer.read_head()
            try:
                ends.put(peer.read_to_end())
            except ConnectionError:
                ends.put(b"reset")

        origin = self.origin(script)
        client = self.dial()
        client.send(request(origin, fields="Content-Length: 10\r\n", method="POST") + b"half")
        client.end_output()
        client.read_to_end()
        self.assertIn(ends.get(timeout=20), (b"half", b"reset"))


class HTTP10Tests(PeersTestCase):
    """Clients of HTTP/1.0."""

    def test_closed_after_the_response(self) -> None:
        """Without keep-alive the connection ends with the response."""
        origin = self.origin(tell_path)
        client = self.dial()
        client.send(b"GET /x HTTP/1.0\r\nHost: %b\r\n\r\n" % origin.authority.encode())
        self.assertTrue(client.read_to_end().endswith(b"\r\n\r\n/x"))

    def test_no_chunks(self) -> None:
        """A chunked response is decoded, and ends with the connection."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        origin = self.origin(answering(head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"))
        client = self.dial()
        client.send(b"GET / HTTP/1.0\r\nHost: %b\r\n\r\n" % origin.authority.encode())
        answer = client.read_to_end()
        self.assertTrue(answer.endswith(b"\r\n\r\nabc"), answer)
        self.assertNotIn(b"chunked", answer)


class UpgradeTests(PeersTestCase):
    """Connections that become something else."""

    def upgraded(self, scheme: str) -> tuple[Peer, list[Message]]:
        """A client connection switched to an echo of lines, and the request that switched it."""
        requests: list[Message] = []

        def script(peer: Peer) -> None:
            requests.append(peer.read_message())
            peer.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPL\r\n\r\nwelcome\n"
            )
            while (line := peer.read_through(b"\n")) not in (b"bye\n", b"cut\n"):
                peer.send(line)
            if line == b"bye\n":
                peer.end()

        origin = self.origin(script, scheme)
        client = self.dial()
        if scheme == "https":
            trust = ssl.create_default_context(cafile=self.fastcar.ca_file)
            client = Peer.dial(self.fastcar.socket, trust, "localhost")
            self.addCleanup(client.close)
        fields = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: x\r\n"
        client.send(request(origin, "/chat", fields))
        return client, requests

    def check(self, scheme: str) -> None:
        client, requests = self.upgraded(scheme)
        answer = client.read_message()
        self.assertEqual(answer.start_line, b"HTTP/1.1 101 Switching Protocols")
        self.assertEqual(answer.values(b"Upgrade"), [b"websocket"])
        self.assertEqual(answer.values(b"Sec-WebSocket-Accept"), [b"s3pPL"])
        self.assertEqual(requests[0].values(b"Upgrade"), [b"websocket"])
        self.assertEqual(client.read_through(b"\n"), b"welcome\n")
        for line in (b"one\n", b"\x00\xff binary\n", b"x" * 200_000 + b"\n"):
            client.send(line)
            self.assertEqual(client.read_through(b"\n"), line)
        client.send(b"bye\n")
        self.assertEqual(client.read_to_end(), b"")

    def test_http(self) -> None:
        """After 101 bytes pass both ways, until one side ends."""
        self.check("http")

    def test_https(self) -> None:
        """So they do over TLS."""
        self.check("https")

    def test_truncated(self) -> None:
        """An end that the origin's TLS does not tell is none that the client's TLS tells."""
        client, _ = self.upgraded("https")
        client.read_message()
        client.send(b"cut\n")
        with self.assertRaises(OSError):
            client.read_to_end()

    def test_client_half_closes(self) -> None:
        """The origin may finish what it says after the client's last byte."""

        def script(peer: Peer) -> None:
            peer.read_message()
            peer.send(b"HTTP/1.1 101 Now\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            peer.send(b"got " + peer.read_to_end())

        origin = self.origin(script)
        client = self.dial()
        client.send(request(origin, fields="Upgrade: x\r\nConnection: upgrade\r\n"))
        client.read_message()
        client.send(b"everything")
        client.end_output()
        self.assertEqual(client.read_to_end(), b"got everything")

    def test_refused(self) -> None:
        """An origin that ignores the wish answers in HTTP, and the connection goes on."""
        origin = self.origin(tell_path)
        client = self.dial()
        for _ in range(2):
            client.send(request(origin, "/x", "Upgrade: x\r\nConnection: upgrade\r\n"))
            self.assertEqual(client.read_message().body, b"/x")
