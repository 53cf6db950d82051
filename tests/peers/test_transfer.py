"""Large bodies: every byte arrives, and nobody stores what the reader does not take."""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
from collections.abc import Callable
from queue import Queue

from tests.peers.case import Fastcar, PeersTestCase
from tests.peers.processes import LIMIT
from tests.peers.sockets import Peer

MIB = 1 << 20
BLOCK = 1 << 18


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class HTTPTests(PeersTestCase):
    """Between curl and nginx, over plain HTTP."""

    scheme = "http"

    def download(self, size: int) -> None:
        data = os.urandom(size)
        self.nginx.write("large", data)
        answer = self.curl(self.nginx.url(self.scheme, "/large"))
        self.assertEqual(answer.exit_status, 0, answer.error)
        self.assertEqual(digest(answer.body), digest(data))

    def upload(self, size: int, *arguments: str) -> None:
        data = os.urandom(size)
        path = os.path.join(self.folder(), "body")
        with open(path, "wb") as file:
            file.write(data)
        url = self.nginx.url(self.scheme, "/stored/large")
        answer = self.curl(url, "-T", path, *arguments)
        self.assertEqual(answer.exit_status, 0, answer.error)
        self.assertIn(answer.status, (201, 204), answer)
        self.assertEqual(digest(self.nginx.read("stored/large")), digest(data))

    def test_download_1_mib(self) -> None:
        """1 MiB comes down byte for byte."""
        self.download(MIB)

    def test_download_50_mib(self) -> None:
        """So do 50 MiB."""
        self.download(50 * MIB)

    def test_upload_1_mib(self) -> None:
        """1 MiB goes up byte for byte."""
        self.upload(MIB)

    def test_upload_50_mib(self) -> None:
        """So do 50 MiB."""
        self.upload(50 * MIB)

    def test_upload_chunked(self) -> None:
        """So does a body of unknown length."""
        self.upload(5 * MIB, "-H", "Transfer-Encoding: chunked")

    def test_resumed(self) -> None:
        """A download that was broken off goes on where it ended, with a range."""
        data = os.urandom(3 * MIB)
        self.nginx.write("large", data)
        answer = self.curl(self.nginx.url(self.scheme, "/large"), "--range", f"{MIB}-")
        self.assertEqual(answer.status, 206, answer.error)
        self.assertEqual(digest(answer.body), digest(data[MIB:]))


class HTTPSTests(HTTPTests):
    """The same over TLS on both sides."""

    scheme = "https"


class StalledReaderTests(PeersTestCase):
    """The reader stops for a while; the sender has to, too, and memory does not grow."""

    SIZE = 64 * MIB
    #: Bytes that all kernel buffers on the way may take together.
    ON_THE_WAY = 16 * MIB
    #: KiB that the process may grow by.
    GROWTH = 16 * 1024

    def client(self, fastcar: Fastcar, scheme: str) -> Peer:
        if scheme == "http":
            return self.dial(fastcar)
        trust = ssl.create_default_context(cafile=fastcar.ca_file)
        peer = Peer.dial(fastcar.socket, trust, "127.0.0.1")
        self.addCleanup(peer.close)
        return peer

    def warm_up(self, fastcar: Fastcar, scheme: str) -> int:
        """Resident memory, in KiB, when everything has been used once."""
        peer = self.client(fastcar, scheme)
        authority = self.nginx.url(scheme, "").partition("//")[2]
        peer.send(f"GET /hello HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        peer.read_message()
        return fastcar.resident_kib()

    def check_download(self, scheme: str) -> None:
        stalls: Queue[int] = Queue()
        go_on = threading.Event()

        def stalled(sent: int) -> None:
            stalls.put(sent)
            go_on.wait(LIMIT)

        def script(peer: Peer) -> None:
            peer.read_message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.SIZE)
            send_blocks(peer, self.SIZE, stalled)

        origin = self.origin(script, scheme)
        fastcar = self.start_fastcar()
        before = self.warm_up(fastcar, scheme)
        client = self.client(fastcar, scheme)
        client.send(f"GET / HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n".encode())
        client.read_head()
        self.assertLess(stalls.get(timeout=LIMIT), self.ON_THE_WAY)
        go_on.set()
        self.assertTrue(gets_blocks(client, self.SIZE))
        self.assertLess(fastcar.peak_kib() - before, self.GROWTH)

    def check_upload(self, scheme: str) -> None:
        stalls: Queue[int] = Queue()
        go_on = threading.Event()

        def stalled(sent: int) -> None:
            stalls.put(sent)
            go_on.set()

        def script(peer: Peer) -> None:
            peer.read_head()
            go_on.wait(LIMIT)
            status = 200 if gets_blocks(peer, self.SIZE) else 500
            peer.send(b"HTTP/1.1 %d Done\r\nContent-Length: 0\r\n\r\n" % status)

        origin = self.origin(script, scheme)
        fastcar = self.start_fastcar()
        before = self.warm_up(fastcar, scheme)
        client = self.client(fastcar, scheme)
        head = f"PUT / HTTP/1.1\r\nHost: {origin.authority}\r\nContent-Length: {self.SIZE}\r\n\r\n"
        client.send(head.encode())
        send_blocks(client, self.SIZE, stalled)
        self.assertEqual(client.read_message().start_line, b"HTTP/1.1 200 Done")
        self.assertLess(stalls.get_nowait(), self.ON_THE_WAY)
        self.assertLess(fastcar.peak_kib() - before, self.GROWTH)

    def test_download_http(self) -> None:
        """The origin of a download has to stop while the client does not read."""
        self.check_download("http")

    def test_download_https(self) -> None:
        """So it has to over TLS."""
        self.check_download("https")

    def test_upload_http(self) -> None:
        """The client of an upload has to stop while the origin does not read."""
        self.check_upload("http")

    def test_upload_https(self) -> None:
        """So it has to over TLS."""
        self.check_upload("https")


def block(number: int) -> bytes:
    """The block of a long body with this number; no two are alike."""
    return number.to_bytes(8, "big") * (BLOCK // 8)


def send_blocks(peer: Peer, size: int, stalled: Callable[[int], None]) -> None:
    """Send a long body; tell `stalled` how much was sent when it does not go on.

    A reader that is merely slow may be taken for a stalled one; that makes the figure smaller, and
    never a test fail.
    """
    peer.socket.settimeout(0.5)
    sent = 0
    while sent < size:
        rest = memoryview(block(sent // BLOCK))[sent % BLOCK :]
        try:
            sent += peer.socket.send(rest)
        except TimeoutError:
            if peer.socket.gettimeout() == LIMIT:
                raise
            peer.socket.settimeout(LIMIT)
            stalled(sent)
    if peer.socket.gettimeout() != LIMIT:
        stalled(sent)


def gets_blocks(peer: Peer, size: int) -> bool:
    """Whether what comes is that long body, byte for byte."""
    return all(peer.read(BLOCK) == block(number) for number in range(size // BLOCK))
