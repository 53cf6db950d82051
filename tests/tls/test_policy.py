"""What every TLS context has in common, and what HTTP/2 demands of TLS (RFC 9113 section 9.2)."""

from __future__ import annotations

from typing import NamedTuple

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.tls.machine import TLSError, TLSMachine
from fastcar_tw.tls.policy import new_context, permits_http2
from tests.tls.support import SelfSigned, shake

#: RFC 9113 section 9.2.2: what HTTP/2 in TLS 1.2 can count on.
MANDATORY = "ECDHE-ECDSA-AES128-GCM-SHA256"

PERMITTED = (
    MANDATORY,
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ARIA256-GCM-SHA384",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES128-CCM",
    "DHE-PSK-AES128-GCM-SHA256",
)
#: Of appendix A: one for each reason, of all that are in OpenSSL.
PROHIBITED = (
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-CAMELLIA256-SHA384",
    "ECDHE-RSA-NULL-SHA",
    "ECDHE-RSA-RC4-SHA",
    "DHE-RSA-AES256-SHA256",
    "AES128-GCM-SHA256",
    "AES256-CCM8",
    "AES128-SHA",
    "ECDH-RSA-AES128-GCM-SHA256",
    "PSK-AES128-GCM-SHA256",
    "RSA-PSK-AES256-GCM-SHA384",
    "ADH-AES128-GCM-SHA256",
    "AECDH-AES128-SHA",
    "NULL-MD5",
)


class Suite(NamedTuple):
    """A connection, as far as it is asked."""

    name: str | None
    version: str | None = "TLSv1.2"

    def get_cipher_name(self) -> str | None:
        """Its cipher suite."""
        return self.name

    def get_cipher_version(self) -> str | None:
        """The version of TLS that this is one of."""
        return self.version


class HTTP2Tests(SynchronousTestCase):
    """Which cipher suites HTTP/2 may be spoken over."""

    def test_by_name(self) -> None:
        """In TLS 1.2 those with an ephemeral key exchange and AEAD; what is not known to be one of
        them is none (RFC 9113 appendix A)."""
        for name in PERMITTED:
            self.assertEqual((name, permits_http2(Suite(name))), (name, True))  # type: ignore[arg-type]
        for suite in (*map(Suite, PROHIBITED), Suite(None, None), Suite("DES-CBC-SHA", "SSLv3")):
            self.assertEqual((suite, permits_http2(suite)), (suite, False))  # type: ignore[arg-type]

    def permits(self, ciphers: bytes, version: int) -> bool:
        """Ask after a handshake with a server that has nothing else."""
        context = SelfSigned().context()
        context.set_max_proto_version(version)
        context.set_cipher_list(ciphers)
        client = TLSMachine.client(new_context(SSL.TLS_CLIENT_METHOD), "a.test")
        shake(client, TLSMachine.server(context))
        self.assertTrue(client.ready)
        return permits_http2(client.connection)

    def test_negotiated(self) -> None:
        """So it is with connections, whose clients offer the others as well; TLS 1.3 has nothing
        that is prohibited (section 9.2.3)."""
        mandatory, old = MANDATORY.encode(), b"ECDHE-ECDSA-AES128-SHA"
        for ciphers, version, expected in (
            (mandatory, SSL.TLS1_2_VERSION, True),
            (old, SSL.TLS1_2_VERSION, False),
            (old, SSL.TLS1_3_VERSION, True),
        ):
            self.assertIs(self.permits(ciphers, version), expected)

    def test_compression(self) -> None:
        """No compression is offered (section 9.2.1)."""
        hello = TLSMachine.client(new_context(SSL.TLS_CLIENT_METHOD), "a.test").start()
        # Behind record and handshake header: version, random, session, cipher suites.
        position = 5 + 4 + 2 + 32
        position += 1 + hello[position]
        position += 2 + int.from_bytes(hello[position : position + 2], "big")
        self.assertEqual(hello[position : position + 2], b"\x01\x00")

    def test_renegotiation(self) -> None:
        """A server gets no second handshake (section 9.2.1): it is told so by an alert, which
        OpenSSL's servers take for the end."""
        context = SelfSigned().context()
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = TLSMachine.client(new_context(SSL.TLS_CLIENT_METHOD), "a.test")
        server = TLSMachine.server(context)
        shake(client, server)
        server.connection.renegotiate()
        hello_request = server.send(b"?")
        client.receive(hello_request)
        error = self.assertRaises(TLSError, server.receive, client.outgoing())
        assert isinstance(error, TLSError)
        self.assertIn("no renegotiation", error.reason)
