"""fastcar fastcgi: what arrives while the rest is not there yet."""

from __future__ import annotations

import random
import threading

from tests.peers.gateway import GatewayTestCase, request, target
from tests.peers.sockets import Peer

#: Bytes without which PHP does not let a script have any of a body, unless it ends.
BLOCK = 8192


def read_piece(peer: Peer) -> bytes:
    """A chunk, as it comes."""
    size = int(peer.read_through(b"\r\n"), 16)
    return peer.read(size + 2)[:-2]


def read_pieces(peer: Peer, size: int) -> bytes:
    """The next chunks, of so many bytes together."""
    data = b""
    while len(data) < size:
        data += read_piece(peer)
    return data


class DownloadTests(GatewayTestCase):
    """Responses, while the script waits."""

    def test_flush(self) -> None:
        """What a script flushes reaches the client before it goes on."""
        gate = self.gate()
        pieces = [f"part {number}" for number in range(20)]
        peer = self.dial_site(request(target("parts.php", gate=gate.name, parts=pieces)))
        self.assertEqual(peer.read_head()[:15], b"HTTP/1.1 200 OK")
        for piece in pieces:
            self.assertEqual(read_piece(peer), piece.encode())
            gate.let_on()
        self.assertEqual(peer.read_through(b"\r\n\r\n"), b"0\r\n\r\n")

    def test_flush_of_known_length(self) -> None:
        """So it does when its length was told."""
        gate = self.gate()
        path = target(
            "parts.php", gate=gate.name, parts=["one", "two"], fields=["Content-Length: 6"]
        )
        peer = self.dial_site(request(path))
        for piece in (b"one", b"two"):
            peer.read_through(piece)
            gate.let_on()

    def test_event_stream(self) -> None:
        """An EventSource gets each event when it happens, and is told not to buffer."""
        gate = self.gate()
        fields = ["Content-Type: text/event-stream", "Cache-Control: no-cache"]
        events = [f"id: {number}\ndata: tick\n\n" for number in range(5)]
        path = target("parts.php", gate=gate.name, parts=events, fields=fields)
        peer = self.dial_site(request(path))
        self.assertIn(b"text/event-stream", peer.read_head())
        for event in events:
            self.assertEqual(read_piece(peer), event.encode())
            gate.let_on()

    def test_slow_reader(self) -> None:
        """A client that does not read stops the script, and not the memory: 200 MB wait in it."""
        self.ask(target("bytes.php", count=1000))
        before = self.site.gateway.peak_kib()
        peer = self.dial_site(request(target("bytes.php", count=200_000_000)))
        peer.read_head()
        # Other requests are served meanwhile.
        for _ in range(20):
            self.assert_serving()
        peer.read(1_000_000)
        peer.close()
        self.assertLess(self.site.gateway.peak_kib() - before, 20_000)


class UploadTests(GatewayTestCase):
    """Requests, while the client has not sent all."""

    def test_echo(self) -> None:
        """PHP reads a PUT while it comes, and its answer comes meanwhile."""
        path, length = "/echo.php", f"Content-Length: {10 * BLOCK}"
        peer = self.dial_site(request(path, length, method="PUT"))
        for number in range(10):
            piece = b"%08d" % number * (BLOCK // 8)
            peer.send(piece)
            if not number:
                self.assertEqual(peer.read_head()[:15], b"HTTP/1.1 200 OK")
            self.assertEqual(read_pieces(peer, BLOCK), piece)
        self.assertEqual(peer.read_through(b"\r\n\r\n"), b"0\r\n\r\n")

    def test_echo_of_much(self) -> None:
        """20 MB in both directions at once do not stop each other."""
        body = random.Random(1).randbytes(20_000_000)
        peer = self.dial_site(request("/echo.php", f"Content-Length: {len(body)}", method="PUT"))
        sender = threading.Thread(target=peer.send, args=(body,))
        sender.start()
        self.addCleanup(sender.join)
        self.assertTrue(peer.read_message().body == body)

    def test_memory(self) -> None:
        """100 MB that have to be collected do not lie in memory."""
        gate = self.gate()
        self.assert_serving()
        before = self.site.gateway.peak_kib()
        for coding in ((), ("-H", "Transfer-Encoding: chunked")):
            data = ("-H", "Expect:", "-H", "Content-Type: x/y", "--data-binary", "@-")
            path = target("intake.php", gate=gate.name)
            answer = self.curl_site(path, *coding, *data, data=bytes(100_000_000))
            self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
            self.assertEqual(gate.reports(2), ["reading", "read 100000000"])
        self.assertLess(self.site.gateway.peak_kib() - before, 20_000)

    def test_starts_early(self) -> None:
        """A script with a PUT starts before the body is there; it gets what comes until the end."""
        gate = self.gate()
        path = target("intake.php", gate=gate.name)
        peer = self.dial_site(request(path, "Content-Length: 6", method="PUT"))
        self.assertEqual(gate.report(), "reading")
        peer.send(b"sesame")
        self.assertEqual(gate.report(), "read 6")
        self.assertEqual(peer.read_message().status, 200)

    def test_slow_clients(self) -> None:
        """Clients that are slow to send a POST hold no child of php-fpm: others are served."""
        for length in (1000, 3_000_000):
            head = request("/digest.php", f"Content-Length: {length}", method="POST")
            slow = [self.dial_site(head + b"x") for _ in range(10)]
            for _ in range(10):
                self.assert_serving()
            for peer in slow:
                peer.send(b"x" * (length - 1))
            for peer in slow:
                self.assertIn(b'"length":%d,' % length, peer.read_message().body)

    def test_early_answer(self) -> None:
        """A script may answer before it has the body; the client gets that at once."""
        gate = self.gate()
        path = target("parts.php", gate=gate.name, parts=["early"])
        peer = self.dial_site(request(path, "Content-Length: 1000000", method="PUT"))
        peer.read_head()
        self.assertEqual(read_piece(peer), b"early")
        gate.let_on()
        # PHP reads it nevertheless, before it ends.
        peer.send(bytes(1_000_000))
        self.assertEqual(peer.read_through(b"\r\n\r\n"), b"0\r\n\r\n")
