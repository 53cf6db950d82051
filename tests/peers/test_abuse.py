"""Clients that do not behave cost only their own connection."""

from __future__ import annotations

import os
import re
import resource
import socket

from tests.peers.case import PeersTestCase
from tests.peers.clients import curl
from tests.peers.sockets import Peer

#: Lines that tell what a client did wrong: all that the log may show here.
_EXPECTED = re.compile(r".*(?:client TLS failed: |client refused: 4\d\d |GET https?://).*")


class AbuseTests(PeersTestCase):
    """The fastcar that everybody uses, while somebody does not behave."""

    def setUp(self) -> None:
        super().setUp()
        self.assert_still_serving()
        self.fastcar.new_output()

    def check(self) -> None:
        """Others are served over HTTP and HTTPS, and the log shows no more than it should."""
        for scheme in ("http", "https"):
            answer = self.curl(self.nginx.url(scheme, "/hello"))
            self.assertEqual((answer.exit_status, answer.body), (0, b"hello\n"), answer)
        for line in self.fastcar.new_output().splitlines():
            self.assertRegex(line, _EXPECTED)

    def dial_many(self, count: int) -> list[Peer]:
        return [self.dial() for _ in range(count)]

    def test_connect_and_close(self) -> None:
        """500 clients connect and go without a word."""
        for _ in range(500):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(self.fastcar.socket)
        self.check()

    def test_silent(self) -> None:
        """200 clients connect and say nothing."""
        self.dial_many(200)
        self.check()

    def test_half_a_head(self) -> None:
        """200 clients send the beginning of a request."""
        for client in self.dial_many(200):
            client.send(b"GET / HTTP/1.1\r\nHos")
        self.check()

    def test_half_a_handshake(self) -> None:
        """200 clients send the beginning of a TLS handshake."""
        for client in self.dial_many(200):
            client.send(b"\x16\x03\x01\x02\x00\x01")
        self.check()

    def test_refused_certificate(self) -> None:
        """Clients end the handshake because they do not trust the certificate."""
        for _ in range(10):
            url = self.nginx.url("https", "/hello")
            answer = curl(self.fastcar.socket, url, "--cacert", self.shared.authority.file)
            self.assertEqual(answer.exit_status, 60, answer)
        self.check()

    def test_handshake_garbage(self) -> None:
        """Clients send a byte that looks like TLS, and then anything."""
        for client in self.dial_many(100):
            client.send(b"\x16" + os.urandom(600))
            client.end_output()
            try:
                client.read_to_end()
            except ConnectionError:
                continue
        self.check()

    def test_garbage(self) -> None:
        """Clients send anything: 400 and the end, or just the end."""
        for number, client in enumerate(self.dial_many(100)):
            client.send(bytes([number % 22]) + os.urandom(600) + b"\r\n\r\n")
            client.end_output()
            answer = client.read_to_end()
            self.assertRegex(answer, b"^(HTTP/1.1 4[0-9][0-9] |$)")
        self.check()

    def test_plain_http_inside_tls_alert(self) -> None:
        """A client that sends a TLS alert first is no TLS client."""
        client = self.dial()
        client.send(b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n")
        self.assertRegex(client.read_to_end(), b"^HTTP/1.1 400 ")
        self.check()

    def test_gone_before_the_response(self) -> None:
        """200 clients ask and go."""
        authority = self.nginx.url("http", "").partition("//")[2]
        for client in self.dial_many(200):
            client.send(f"GET /hello HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            client.close()
        self.check()


class DescriptorTests(PeersTestCase):
    """File descriptors run out."""

    def test_clients_wait(self) -> None:
        """Clients in excess wait until others have gone; the log tells in one line."""
        fastcar = self.start_fastcar()
        self.assert_still_serving(fastcar)
        resource.prlimit(fastcar.pid, resource.RLIMIT_NOFILE, (60, 60))
        silent = [self.dial(fastcar) for _ in range(200)]
        self.assertIn("Too many open files", fastcar.logs("cannot accept"))
        for client in silent:
            client.close()
        self.assert_still_serving(fastcar)
        self.assertEqual(fastcar.output.count("cannot accept"), 1)

    def test_no_connection_to_the_origin(self) -> None:
        """A client that is in, but whose origin cannot be reached for want of one, gets 502."""
        fastcar = self.start_fastcar()
        client = self.dial(fastcar)
        authority = self.nginx.url("http", "").partition("//")[2]
        request = f"GET /hello HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        client.send(request)
        self.assertEqual(client.read_message().body, b"hello\n")
        used = len(os.listdir(f"/proc/{fastcar.pid}/fd"))
        resource.prlimit(fastcar.pid, resource.RLIMIT_NOFILE, (used, 60))
        client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.2:1\r\n\r\n")
        self.assertEqual(client.read_message().start_line[9:12], b"502")
        client.send(request)
        self.assertEqual(client.read_message().body, b"hello\n")


class ClientTimeoutTests(PeersTestCase):
    """A client that owes something has --client-timeout for it."""

    def client(self, data: bytes, *options: str) -> Peer:
        fastcar = self.start_fastcar(*(options or ("--client-timeout", "0.2")))
        client = self.dial(fastcar)
        if data:
            client.send(data)
        return client

    def test_silent(self) -> None:
        """A silent client is disconnected."""
        self.assertEqual(self.client(b"").read_to_end(), b"")

    def test_half_a_head(self) -> None:
        """Half a request head is answered with 408."""
        answer = self.client(b"GET / HTTP/1.1\r\nHos").read_to_end()
        self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)

    def test_half_a_handshake(self) -> None:
        """A handshake that does not go on is given up."""
        self.assertEqual(self.client(b"\x16\x03\x01\x02\x00\x01").read_to_end(), b"")

    def test_idle(self) -> None:
        """A kept connection without a request ends after --keepalive-timeout."""
        authority = self.nginx.url("http", "").partition("//")[2]
        request = f"GET /hello HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        client = self.client(request, "--keepalive-timeout", "0.2")
        self.assertEqual(client.read_message().body, b"hello\n")
        self.assertEqual(client.read_to_end(), b"")
