"""Clients that do not behave cost only their own connection."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import socket
import threading

from tests.peers.case import PeersTestCase
from tests.peers.clients import Answer, curl
from tests.peers.openings import (
    CONNECTED,
    SUCCEEDED,
    OpenFastcar,
    OpeningsTestCase,
    connect_request,
    dial,
    run_curl,
    socks5_reply,
    socks5_request,
)
from tests.peers.recorder import Recorder
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
        """Clients send anything: 400, or what SOCKS has for it, and the end; or just the end."""
        for number, client in enumerate(self.dial_many(100)):
            client.send(bytes([number % 22]) + os.urandom(600) + b"\r\n\r\n")
            client.end_output()
            answer = client.read_to_end()
            self.assertRegex(answer, rb"^(HTTP/1.1 4[0-9][0-9] |\x00\x5b|\x05|$)")
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


#: Lines for what a client in a tunnel did wrong, or asked for, which nobody gave it.
_EXPECTED_OF_TUNNELS = re.compile(
    r".*\[fastcar#(?:info|warn)\] (?:client TLS failed: |client refused: [45]\d\d |\S+ https?://).*"
)
#: Nothing, or an answer in HTTP.
_MAYBE_HTTP = b"(?:HTTP/1.1 [45][0-9][0-9] .*)?"
_GREETED = b"\x05\x00"


def end_output(peer: Peer) -> None:
    """Send no more, unless the connection is gone."""
    # Not a ConnectionError: ENOTCONN.
    with contextlib.suppress(OSError):
        peer.end_output()


def everything(peer: Peer) -> bytes:
    """What comes until the end, which may be a reset."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := peer.socket.recv(65536):
            received += data
    return received


class OpeningTests(OpeningsTestCase):
    """Openings that are wrong: the protocol's own error or a close, on every listener."""

    def assert_answered(self, opening: bytes, expected: bytes) -> None:
        """What comes on each listener matches, and then the connection ends."""
        for door in self.fastcar.doors:
            peer = self.dial_door(door)
            with contextlib.suppress(ConnectionError):
                peer.send(opening)
                end_output(peer)
            received = everything(peer)
            self.assertIsNotNone(
                re.fullmatch(expected, received, re.DOTALL), (door, opening[:80], received)
            )
            peer.close()

    def check(self) -> None:
        """Others are served, and the log shows no more than it should."""
        for line in self.fastcar.new_output().splitlines():
            self.assertRegex(line, _EXPECTED_OF_TUNNELS)
        self.assert_still_serving()

    def test_truncated(self) -> None:
        """An opening may end anywhere."""
        for opening in (connect_request("origin.test:81"), socks5_request("origin.test", 81)):
            for end in range(1, len(opening)):
                self.assert_answered(opening[:end], b"(?:" + _GREETED + b")?")
        self.check()

    def test_connect(self) -> None:
        """A CONNECT that is wrong is answered with 400, or with what fits better."""
        for target, version, status in (
            ("", "1.1", 400),
            ("origin.test", "1.1", 400),
            (":81", "1.1", 400),
            ("origin.test:0", "1.1", 400),
            ("origin.test:65536", "1.1", 400),
            ("origin.test:" + "9" * 5000, "1.1", 400),
            ("me:word@origin.test:81", "1.1", 400),
            ("http://origin.test:81/", "1.1", 400),
            ("[::1%eth0]:81", "1.1", 400),
            ("[1.2.3.4]:81", "1.1", 400),
            ("a" * 64 + ".test:81", "1.1", 400),
            ("a" * 70000 + ":81", "1.1", 414),
            ("origin.test:81", "2.0", 505),
            ("origin.test:81", "x", 400),
        ):
            expected = b"HTTP/1.1 %d .*" % status
            self.assert_answered(connect_request(target, version), expected)
        fields = b"CONNECT origin.test:81 HTTP/1.1\r\n" + b"A: b\r\n" * 20000
        self.assert_answered(fields, b"HTTP/1.1 431 .*")
        body = b"CONNECT origin.test:81 HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde"
        self.assert_answered(body, b"HTTP/1.1 400 .*")
        self.check()

    def test_socks5_greeting(self) -> None:
        """Who offers nothing that there is, is told so; and so is who speaks another version."""
        for methods in (b"\x00", b"\x01\x02", b"\xff" + bytes(range(1, 256))):
            self.assert_answered(b"\x05" + methods, b"\x05\xff")
        version4 = b"\x04\x01\x00\x50\x7f\x00\x00\x01me\x00"
        self.assert_answered(version4, re.escape(b"\x00\x5b" + bytes(6)))
        self.assert_answered(b"\x06\x01\x00", _MAYBE_HTTP)
        self.check()

    def test_socks5_request(self) -> None:
        """What is wrong with a request is told by the code that RFC 1928 has for it."""
        for request, code in (
            (b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x51", 7),  # BIND
            (b"\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x51", 7),  # UDP ASSOCIATE
            (b"\x05\xff\x00\x01\x7f\x00\x00\x01\x00\x51", 7),
            (b"\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x51", 8),
            (b"\x05\x01\x00\xff\x7f\x00\x00\x01\x00\x51", 8),
            (b"\x05\x01\x00\x03\x00\x00\x51", None),  # no name
            (b"\x05\x01\x00\x03\x03a\x00b\x00\x51", None),
            (b"\x05\x01\x00\x03\x03a\nb\x00\x51", None),
            (b"\x05\x01\x00\x03\x07::1%\r\na\x00\x51", None),
            (b"\x05\x01\x00\x03\xff" + b"a" * 255 + b"\x00\x51", None),
            (b"\x05\x01\x00\x03\x02\xc3\xbc\x00\x51", None),
            (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", 1),  # port 0
            (b"\x04\x01\x00\x01\x7f\x00\x00\x01\x00\x51", 1),
        ):
            answer = b"\x05[\x01-\x08]\x00\x01" + bytes(6) if code is None else socks5_reply(code)
            self.assert_answered(b"\x05\x01\x00" + request, _GREETED + answer)
        self.check()

    def test_in_a_tunnel(self) -> None:
        """So is what is wrong inside of a tunnel."""
        garbage = (b"\x00", b"\x05\x01\x00", b"\x80\x2e\x01\x00\x02", b"\xff" * 70000)
        tls = (b"\x16\x03\x01", b"\x16" + b"\xff" * 600, b"\x16\x03\x01\x00\x05hello")
        http = (b"GET", b"CONNECT a.test:81 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        for opening, granted in (
            (connect_request("origin.test:81"), CONNECTED),
            (socks5_request("origin.test", 81), _GREETED + socks5_reply(SUCCEEDED)),
        ):
            # On TCP a reset may overtake what was granted.
            maybe = b"(?:%b)?" % re.escape(granted)
            for inside in garbage:
                self.assert_answered(opening + inside, maybe)
            for inside in tls:
                self.assert_answered(opening + inside, maybe + b"(?:\x15.*)?")
            for inside in http:
                self.assert_answered(opening + inside, maybe + _MAYBE_HTTP)
        self.check()


class RandomOpeningTests(OpeningsTestCase):
    """Openings that make no sense, in great numbers."""

    COUNT = 2000

    def setUp(self) -> None:
        super().setUp()
        # Whatever random targets there are: nobody but this is asked for them.
        proxy = Recorder("proxy")
        self.own(proxy)
        there = ("--proxy", f"http://127.0.0.1:{proxy.port}", "--no-proxy", "127.0.0.1")
        self.own_fastcar = self.start_open(*there)
        self.random = random.Random(4)

    @property
    def fastcar(self) -> OpenFastcar:
        return self.own_fastcar if hasattr(self, "own_fastcar") else super().fastcar

    def opening(self) -> bytes:
        """Any bytes; or an opening, with more openings inside, of which some bytes are wrong, lost
        or too many."""
        draw = self.random
        if draw.random() < 0.2:
            return draw.randbytes(draw.randrange(1, 400))
        tunnel = [
            connect_request("origin.test:81"),
            socks5_request("origin.test", 81),
            socks5_request("2001:db8::1", 443),
        ]
        inside = [
            b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n",
            b"GET https://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03" + draw.randbytes(120),
            *tunnel,
        ]
        data = bytearray(draw.choice(tunnel) + draw.choice(inside))
        for _ in range(draw.randrange(4)):
            place = draw.randrange(len(data))
            data[place : place + draw.randrange(2)] = draw.randbytes(draw.randrange(3))
        return bytes(data[: draw.randrange(1, 2 * len(data))])

    def abuse(self) -> None:
        """One of them, on any listener; its client may wait, or go without a word."""
        draw = self.random
        peer = dial(draw.choice(self.fastcar.doors))
        with contextlib.closing(peer), contextlib.suppress(ConnectionError):
            data = self.opening()
            middle = draw.randrange(len(data))
            peer.send(data[:middle])
            peer.send(data[middle:])
            if draw.random() < 0.5:
                end_output(peer)
                everything(peer)

    def test_random(self) -> None:
        """2,000 of them are borne, while others are served, and leave nothing behind."""
        self.assert_still_serving()
        self.fastcar.new_output()
        descriptors = len(os.listdir(f"/proc/{self.fastcar.pid}/fd"))
        ended = threading.Event()
        answers: list[Answer] = []

        def others() -> None:
            options = ("--proxy", f"http://127.0.0.1:{self.fastcar.port}")
            while not ended.is_set():
                answers.append(run_curl(self.nginx.url("http", "/hello"), *options))

        thread = threading.Thread(target=others)
        thread.start()
        try:
            for _ in range(self.COUNT):
                self.abuse()
        finally:
            ended.set()
            thread.join()
        self.assertEqual(
            {(answer.exit_status, answer.body) for answer in answers}, {(0, b"hello\n")}
        )
        for line in self.fastcar.new_output().splitlines():
            self.assertRegex(line, _EXPECTED_OF_TUNNELS)
        self.assert_still_serving()
        self.assertLess(len(os.listdir(f"/proc/{self.fastcar.pid}/fd")), descriptors + 10)


class DescriptorTests(PeersTestCase):
    """File descriptors run out."""

    def test_clients_wait(self) -> None:
        """Clients in excess wait until others have gone; the log tells in one line."""
        fastcar = self.start_fastcar()
        self.assert_still_serving(fastcar)
        resource.prlimit(fastcar.pid, resource.RLIMIT_NOFILE, (60, 60))
        silent = [self.dial(fastcar) for _ in range(200)]
        place = f"unix:{fastcar.socket}: cannot accept"
        self.assertIn("Too many open files", fastcar.logs(place))
        for client in silent:
            client.close()
        self.assert_still_serving(fastcar)
        self.assertEqual(fastcar.output.count("cannot accept"), 1)

    def test_no_connection_to_the_origin(self) -> None:
        """A client that is in, but whose origin cannot be reached for want of one, gets 503."""
        fastcar = self.start_fastcar()
        client = self.dial(fastcar)
        authority = self.nginx.url("http", "").partition("//")[2]
        request = f"GET /hello HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        client.send(request)
        self.assertEqual(client.read_message().body, b"hello\n")
        used = len(os.listdir(f"/proc/{fastcar.pid}/fd"))
        resource.prlimit(fastcar.pid, resource.RLIMIT_NOFILE, (used, 60))
        client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.2:1\r\n\r\n")
        self.assertEqual(client.read_message().start_line[9:12], b"503")
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


class OpeningTimeoutTests(OpeningsTestCase):
    """So it is in every opening."""

    def test_half_openings(self) -> None:
        """However far a client has come, it is disconnected."""
        fastcar = self.start_open("--client-timeout", "1")
        greeting = b"\x05\x01\x00"
        connect, socks5 = connect_request("origin.test:81"), socks5_request("origin.test", 81)
        granted = _GREETED + socks5_reply(SUCCEEDED)
        openings = (
            (b"", b""),
            (b"\x05", b""),
            (greeting, _GREETED),
            (socks5[:-1], _GREETED),
            (connect[:9], b"HTTP/1.1 408 .*"),
            (connect[:-2], b"HTTP/1.1 408 .*"),
            (connect, CONNECTED),
            (connect + b"\x16\x03\x01\x02", CONNECTED),
            (connect + b"GET / HTT", CONNECTED + b"HTTP/1.1 40[08] .*"),
            (socks5, granted),
            (socks5 + b"\x16\x03\x01\x02", granted),
            (socks5 + b"GET / HTT", granted + b"HTTP/1.1 40[08] .*"),
        )
        peers = [
            (self.dial_door(door, opening), opening, expected)
            for door in fastcar.doors
            for opening, expected in openings
        ]
        for peer, opening, expected in peers:
            received = everything(peer)
            self.assertIsNotNone(re.fullmatch(expected, received, re.DOTALL), (opening, received))
