"""TLS between fastcar and origin: no request goes to an origin that has not proven its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from tests.peers.case import Fastcar, PeersTestCase
from tests.peers.certificates import Authority, KeyPair
from tests.peers.clients import Answer, curl
from tests.peers.sockets import Peer, RawOrigin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class UntrustedTests(PeersTestCase):
    """Origins with certificates that prove nothing."""

    def origin_with(self, pair: KeyPair) -> tuple[RawOrigin, list[bytes]]:
        """An origin with a certificate, and everything that was ever sent to it inside TLS."""
        seen: list[bytes] = []

        def script(peer: Peer) -> None:
            seen.append(peer.read_head())
            peer.send(OK)

        return self.own(RawOrigin(script, pair.server_context())), seen

    def check(self, pair: KeyPair, reason: str, host: str = "127.0.0.1") -> None:
        """A request ends with 502, which says why, and nothing was sent to the origin."""
        origin, seen = self.origin_with(pair)
        url = f"https://{host}:{origin.port}/secret?token=1"
        answer = self.curl(url, "--data", "password")
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)
        self.assertEqual(answer.proxy_error, "tls_certificate_error", answer)
        self.assertIn(f"https://{host}:{origin.port}", answer.body.decode())
        self.assertIn(reason, answer.body.decode())
        origin.close()
        self.assertEqual(seen, [])
        line = self.fastcar.logs(f"POST https://{host}:{origin.port}: ")
        for secret in ("secret", "token", "password"):
            self.assertNotIn(secret, line)

    def test_unknown_authority(self) -> None:
        """A certificate of an unknown CA is refused."""
        other = Authority(self.folder(), "other")
        self.check(other.issue("127.0.0.1"), "unknown issuer")

    def test_expired(self) -> None:
        """An expired certificate is refused."""
        self.check(self.shared.authority.issue("127.0.0.1", start=-9, end=-2), "expired")

    def test_not_yet_valid(self) -> None:
        """A certificate of tomorrow is refused."""
        self.check(self.shared.authority.issue("127.0.0.1", start=2), "not yet valid")

    def test_wrong_name(self) -> None:
        """A certificate for another name is refused."""
        self.check(self.shared.authority.issue("elsewhere.test"), "elsewhere.test", "localhost")

    def test_wrong_address(self) -> None:
        """A certificate for another address is refused."""
        self.check(self.shared.authority.issue("127.0.0.2", "localhost"), "127.0.0.2")

    def test_not_tls(self) -> None:
        """An origin that does not speak TLS is no origin for https."""
        seen: list[bytes] = []

        def script(peer: Peer) -> None:
            seen.append(peer.read(1))
            peer.send(b"HTTP/1.1 400 Plain HTTP\r\nContent-Length: 0\r\n\r\n")

        origin = self.origin(script)
        answer = self.curl(f"https://{origin.authority}/")
        self.assertEqual((answer.status, answer.proxy_error), (502, "tls_protocol_error"), answer)
        origin.close()
        self.assertEqual(seen, [b"\x16"])


class InsecureOriginTests(PeersTestCase):
    """The way out: --insecure-origin."""

    def setUp(self) -> None:
        super().setUp()
        other = Authority(self.folder(), "other")
        context = other.issue("elsewhere.test", end=-1, start=-2).server_context()
        self.one = self.own(RawOrigin(_answer_one, context))
        self.two = self.own(RawOrigin(_answer_one, context))

    def fetch(self, fastcar: Fastcar, origin: RawOrigin) -> Answer:
        return curl(fastcar.socket, origin.url, "--cacert", fastcar.ca_file)

    def test_one_port(self) -> None:
        """HOST:PORT is served unverified, and only that; the log warns at the start."""
        fastcar = self.start_fastcar("--insecure-origin", self.one.authority)
        self.assertRegex(fastcar.output, rf"{self.one.authority}.* NOT verified")
        self.assertEqual(self.fetch(fastcar, self.one).body, b"ok")
        self.assertEqual(self.fetch(fastcar, self.two).proxy_error, "tls_certificate_error")

    def test_any_port(self) -> None:
        """HOST stands for all its ports."""
        fastcar = self.start_fastcar("--insecure-origin", "127.0.0.1")
        for origin in (self.one, self.two):
            self.assertEqual(self.fetch(fastcar, origin).body, b"ok")


def _answer_one(peer: Peer) -> None:
    peer.read_head()
    peer.send(OK)


class TrustFileTests(PeersTestCase):
    """The file of --trust."""

    def test_read_at_the_start(self) -> None:
        """It is read once, at the start, and may go or become unreadable afterwards."""
        path = shutil.copy(self.shared.authority.file, os.path.join(self.folder(), "trust.pem"))
        fastcar = self.start_fastcar("--trust", path)
        os.unlink(path)
        url = self.nginx.url("https", "/hello")
        answer = curl(fastcar.socket, url, "--cacert", fastcar.ca_file)
        self.assertEqual((answer.exit_status, answer.body), (0, b"hello\n"), answer)


class TruncationTests(PeersTestCase):
    """Bodies that TLS alone ends."""

    def body(self, end: Callable[[Peer], object]) -> Answer:
        """What a client gets of a close-delimited body, when the connection ends with `end`."""

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\neverything")
            end(peer)

        return self.curl(self.origin(script, "https").url)

    def test_close_notify(self) -> None:
        """With close_notify the body is complete."""
        answer = self.body(Peer.end)
        self.assertEqual((answer.exit_status, answer.body), (0, b"everything"), answer)

    def test_without_close_notify(self) -> None:
        """Without it, it may have been cut off, and the client is told (RFC 9112 section 9.8)."""
        answer = self.body(lambda peer: None)
        self.assertNotEqual(answer.exit_status, 0, answer)
        self.fastcar.logs("http_response_incomplete")
