"""TLS between client and fastcar, as curl sees it."""

from __future__ import annotations

import os
import ssl
import stat

from tests.peers.case import PeersTestCase
from tests.peers.clients import curl
from tests.peers.sockets import Peer

#: curl's error number for a server certificate that it does not trust.
PEER_FAILED_VERIFICATION = 60


class CertificateTests(PeersTestCase):
    """The certificates that fastcar shows."""

    def shown(self, name: str) -> list[str]:
        """The names in the certificate for a client that asks for `name`."""
        trust = ssl.create_default_context(cafile=self.fastcar.ca_file)
        peer = Peer.dial(self.fastcar.socket, trust, name)
        self.addCleanup(peer.close)
        assert isinstance(peer.socket, ssl.SSLSocket)
        certificate = peer.socket.getpeercert()
        assert certificate is not None
        names = certificate["subjectAltName"]
        return [str(name[1]) for name in names]

    def test_server_name(self) -> None:
        """The certificate is for the server name that the client asks for."""
        self.assertEqual(self.shown("shop.example.test"), ["shop.example.test"])

    def test_no_server_name(self) -> None:
        """A client that sends none, as for an address, gets one for the loopback."""
        names = self.shown("127.0.0.1")
        self.assertEqual(names, ["localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"])

    def test_address(self) -> None:
        """curl verifies the certificate for a URL with a loopback address."""
        answer = self.curl(self.nginx.url("https", "/sni"))
        self.assertEqual((answer.exit_status, answer.status, answer.body), (0, 200, b""), answer)

    def test_server_name_goes_on(self) -> None:
        """The origin is asked for the same server name."""
        answer = self.curl(self.nginx.url("https", "/sni", "localhost"))
        self.assertEqual((answer.exit_status, answer.body), (0, b"localhost"), answer)

    def test_wrong_ca(self) -> None:
        """A client with another CA fails with curl's error 60, and nobody else notices."""
        url = self.nginx.url("https", "/hello")
        answer = curl(self.fastcar.socket, url, "--cacert", self.shared.authority.file)
        self.assertEqual(answer.exit_status, PEER_FAILED_VERIFICATION, answer)
        self.fastcar.logs("client TLS failed: .*unknown ca")
        self.assert_still_serving()

    def test_not_verified(self) -> None:
        """A client that verifies nothing is served."""
        answer = curl(self.fastcar.socket, self.nginx.url("https", "/hello"), "--insecure")
        self.assertEqual((answer.exit_status, answer.body), (0, b"hello\n"), answer)

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are offered, and nothing older (RFC 8996)."""
        for version in ("1.2", "1.3"):
            arguments = (f"--tlsv{version}", "--tls-max", version)
            answer = self.curl(self.nginx.url("https", "/hello"), *arguments)
            self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
        old = ("--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0")
        self.assertEqual(self.curl(self.nginx.url("https", "/hello"), *old).exit_status, 35)

    def test_http_2_declined(self) -> None:
        """A client that would like HTTP/2 speaks HTTP/1.1."""
        arguments = ("--http2", "-w", "%{http_version}")
        answer = self.curl(self.nginx.url("https", "/hello"), *arguments)
        self.assertEqual(answer.body, b"hello\n1.1", answer)

    def test_only_http_2_offered(self) -> None:
        """A client that offers nothing but HTTP/2 is let in without a choice, to try HTTP/1.1."""
        trust = ssl.create_default_context(cafile=self.fastcar.ca_file)
        trust.set_alpn_protocols(["h2"])
        peer = Peer.dial(self.fastcar.socket, trust, "localhost")
        self.addCleanup(peer.close)
        assert isinstance(peer.socket, ssl.SSLSocket)
        self.assertIsNone(peer.socket.selected_alpn_protocol())

    def test_closed_properly(self) -> None:
        """The end of a connection is told in TLS, so that it cannot be forged."""
        trust = ssl.create_default_context(cafile=self.fastcar.ca_file)
        peer = Peer.dial(self.fastcar.socket, trust, "127.0.0.1")
        self.addCleanup(peer.close)
        authority = self.nginx.url("https", "").partition("//")[2]
        peer.send(f"GET /hello HTTP/1.0\r\nHost: {authority}\r\n\r\n".encode())
        self.assertTrue(peer.read_to_end().endswith(b"hello\n"))


class FileTests(PeersTestCase):
    """The certificate files."""

    def test_key_is_secret(self) -> None:
        """The CA's key is for its owner only, its certificate for everyone."""
        for name, mode in (("ca-key.pem", 0o600), ("ca.pem", 0o644)):
            status = os.stat(os.path.join(self.fastcar.ca_directory, name))
            self.assertEqual(stat.S_IMODE(status.st_mode), mode)

    def test_own_certificate(self) -> None:
        """--cert and --key are shown instead of minted certificates."""
        pair = self.shared.authority.issue("localhost")
        fastcar = self.start_fastcar("--cert", pair.certificate, "--key", pair.key)
        url = self.nginx.url("https", "/hello", "localhost")
        answer = curl(fastcar.socket, url, "--cacert", self.shared.authority.file)
        self.assertEqual((answer.exit_status, answer.body), (0, b"hello\n"), answer)
        self.assertFalse(os.path.exists(fastcar.ca_file))
