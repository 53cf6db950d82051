"""What docs/conformance.md claims of TLS and no other test shows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.tls.machine import TLSError, TLSMachine
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.tls.trust import Trust
from tests.tls import support

#: Cipher suites by number: TLS 1.3, and the signalling value of RFC 5746.
TLS_AES_128_GCM_SHA256 = 0x1301
SCSV = 0x00FF
#: Extensions by number (RFC 8446 section 4.2).
SERVER_NAME, GROUPS, SIGNATURES, TRUNCATED_HMAC, SESSION_TICKET = 0, 10, 13, 4, 35
PRE_SHARED_KEY, EARLY_DATA, VERSIONS, COOKIE, POST_HANDSHAKE_AUTH = 41, 42, 43, 44, 49

#: The last byte of an OID, and what stands before the digest (RFC 8017 section 9.2), by hash.
SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
WEAK = {
    "sha256": (b"\x0b", bytes.fromhex("3031300d060960864801650304020105000420")),
    "sha1": (b"\x05", bytes.fromhex("3021300906052b0e03021a05000414")),
    "md5": (b"\x04", bytes.fromhex("3020300c06082a864886f70d020505000410")),
}


class Hello:
    """A ClientHello, taken apart (RFC 8446 section 4.1.2)."""

    def __init__(self, record: bytes) -> None:
        assert record[0] == 22 and record[5] == 1
        self.record_version = record[1:3]
        body = record[9:]
        self.version, body = body[:2], body[34:]
        self.session, body = _cut(body, 1)
        suites, body = _cut(body, 2)
        self.suites = _numbers(suites)
        self.compression, body = _cut(body, 1)
        extensions, body = _cut(body, 2)
        assert not body
        self.extensions: dict[int, bytes] = {}
        while extensions:
            kind = int.from_bytes(extensions[:2], "big")
            self.extensions[kind], extensions = _cut(extensions[2:], 2)


def _cut(data: bytes, size: int) -> tuple[bytes, bytes]:
    """A vector (RFC 8446 section 3.4) and what follows it."""
    end = size + int.from_bytes(data[:size], "big")
    return data[size:end], data[end:]


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def _certificate(
    name: str, key: rsa.RSAPrivateKey, issuer: str = "", issuer_key: rsa.RSAPrivateKey | None = None
) -> x509.Certificate:
    """A certificate, self-signed unless an issuer is given; one without issuer is a CA too."""
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder(_name(issuer or name), _name(name), key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(not issuer, None), critical=True)
        .sign(issuer_key or key, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _resigned(certificate: x509.Certificate, key: rsa.RSAPrivateKey, name: str) -> x509.Certificate:
    """The same certificate signed by a hash that libraries do not sign with any more."""
    oid, prefix = WEAK[name]
    tbs = certificate.tbs_certificate_bytes.replace(SHA256_WITH_RSA, SHA256_WITH_RSA[:-1] + oid)
    digest = prefix + hashlib.new(name, tbs).digest()
    size = key.key_size // 8
    # RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2.1).
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    numbers = key.private_numbers()
    signature = pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n)
    whole = certificate.public_bytes(serialization.Encoding.DER)
    whole = whole.replace(certificate.tbs_certificate_bytes, tbs)
    whole = whole.replace(SHA256_WITH_RSA, SHA256_WITH_RSA[:-1] + oid)
    return x509.load_der_x509_certificate(whole[:-size] + signature.to_bytes(size, "big"))


class RecordReader(support.RecordWriter):
    """Decrypts the records of the side whose secret it has."""

    def open(self, record: bytes) -> bytes:
        """The content of one record, its type behind it."""
        nonce = (self._nonce ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return self._cipher.decrypt(nonce, record[5:], record[:5])


class TicketReader:
    """Keeps the secrets of a connection, and reads what its server sends in TLS 1.3."""

    def __init__(self, context: SSL.Context) -> None:
        self._secrets: dict[bytes, bytes] = {}
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
        context.set_keylog_callback(self._keep)

    def _keep(self, connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.split()
        self._secrets[label] = bytes.fromhex(secret.decode("ascii"))

    def messages(self, wire: bytes) -> Iterator[bytes]:
        """The handshake messages in the server's first records of application keys."""
        reader = RecordReader(self._secrets[b"SERVER_TRAFFIC_SECRET_0"])
        while wire:
            size = int.from_bytes(wire[3:5], "big")
            inner = reader.open(wire[: 5 + size])
            assert inner[-1] == 22
            yield inner[:-1]
            wire = wire[5 + size :]


class ClientHelloTests(SynchronousTestCase):
    """What origins are asked for."""

    def setUp(self) -> None:
        """Begin a handshake with an origin."""
        self.machine = Trust().client("a.test", 443)
        self.hello = Hello(self.machine.start())

    def test_versions(self) -> None:
        """TLS 1.3 and 1.2 are offered, in supported_versions; the version fields say 1.2 at most
        (RFC 8446 sections 4.1.2 and 4.2.1, RFC 8996 sections 4 and 5)."""
        offered, rest = _cut(self.hello.extensions[VERSIONS], 1)
        self.assertEqual((_numbers(offered), rest), ([0x0304, 0x0303], b""))
        self.assertEqual(self.hello.version, b"\x03\x03")
        self.assertIn(self.hello.record_version, (b"\x03\x01", b"\x03\x03"))
        self.assertEqual(self.hello.compression, b"\x00")

    def test_mandatory_algorithms(self) -> None:
        """What every implementation of TLS 1.3 has is offered (RFC 8446 sections 4.2.3, 9.1)."""
        self.assertIn(TLS_AES_128_GCM_SHA256, self.hello.suites)
        groups = _numbers(_cut(self.hello.extensions[GROUPS], 2)[0])
        self.assertTrue({0x0017, 0x001D} <= set(groups))  # secp256r1, x25519
        signatures = _numbers(_cut(self.hello.extensions[SIGNATURES], 2)[0])
        # rsa_pkcs1_sha256, rsa_pss_rsae_sha256, ecdsa_secp256r1_sha256
        self.assertTrue({0x0401, 0x0804, 0x0403} <= set(signatures))

    def test_no_md5(self) -> None:
        """No signature with MD5 or SHA-1 is offered (RFC 8446 section 4.2.3)."""
        signatures = _numbers(_cut(self.hello.extensions[SIGNATURES], 2)[0])
        self.assertFalse({number >> 8 for number in signatures} & {1, 2})

    def test_what_is_not_offered(self) -> None:
        """Neither resumption nor early data, post-handshake authentication or a truncated HMAC
        (RFC 8446 sections 4.2.6, 4.2.10, 4.2.11, D.5 and E.5)."""
        for kind in (
            PRE_SHARED_KEY,
            EARLY_DATA,
            COOKIE,
            POST_HANDSHAKE_AUTH,
            SESSION_TICKET,
            TRUNCATED_HMAC,
        ):
            self.assertNotIn(kind, self.hello.extensions)

    def test_ciphers(self) -> None:
        """No NULL, anonymous, export, RC4, DES or 3DES suite is offered, and of TLS 1.2 those with
        forward secrecy and AEAD come first (RFC 8446 section D.5)."""
        names = self.machine.connection.get_cipher_list()
        for name in names:
            for weak in ("NULL", "ADH", "AECDH", "EXP", "RC4", "RC2", "DES", "MD5", "IDEA"):
                self.assertNotIn(weak, name)
        old = [number for number in self.hello.suites if number >> 8 != 0x13 and number != SCSV]
        # ECDHE and DHE with GCM (RFC 5288, 5289), and with ChaCha20 (RFC 7905).
        best = {*range(0xC02B, 0xC033), 0x9E, 0x9F, *range(0xCCA8, 0xCCAB)}
        strong = [number in best for number in old]
        self.assertTrue(strong[0])
        self.assertEqual(strong, sorted(strong, reverse=True))

    def test_server_name(self) -> None:
        """server_name is sent (RFC 8446 sections 4.4.2.2 and 9.2)."""
        names, _ = _cut(self.hello.extensions[SERVER_NAME], 2)
        self.assertEqual(names, b"\x00" + support.vector(b"a.test", 2))


class ServerTests(SynchronousTestCase):
    """What clients are offered."""

    def setUp(self) -> None:
        """Have certificates."""
        self.ca = support.local_ca(self)
        self.contexts = ServerContexts.from_ca(self.ca)

    def test_any_record_version(self) -> None:
        """A ClientHello may say {03,XX} in its record layer, whatever XX (RFC 8996 sections 4 and
        5)."""
        for minor in (0, 1, 2, 3, 4, 0x99):
            hello = bytearray(TLSMachine.client(support.careless_context(), "a.test").start())
            hello[2] = minor
            server = self.contexts.server()
            server.receive(bytes(hello))
            self.assertEqual(server.outgoing()[:1], b"\x16", minor)

    def test_no_ssl(self) -> None:
        """SSL 3.0 and SSL 2.0 are refused (RFC 8446 section D.5)."""
        server = self.contexts.server()
        support.failure(self, server, support.client_hello(version=b"\x03\x00"))
        self.assertEqual(support.sent_alert(server), support.PROTOCOL_VERSION)
        old = b"\x01\x00\x02\x00\x03\x00\x00\x00\x10\x01\x00\x80" + bytes(16)
        server = self.contexts.server()
        support.failure(self, server, (len(old) | 0x8000).to_bytes(2, "big") + old)
        self.assertFalse(server.ready)

    def test_mandatory_algorithms(self) -> None:
        """A client that has nothing but what every implementation has is served (RFC 8446 section
        9.1)."""
        context = support.careless_context(SSL.TLS1_3_VERSION)
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
        context.set_tmp_ecdh(ec.SECP256R1())
        client, server = TLSMachine.client(context, "a.test"), self.contexts.server()
        groups = _cut(Hello(hello := client.start()).extensions[GROUPS], 2)[0]
        self.assertEqual(_numbers(groups), [0x0017])
        server.receive(hello)
        client.receive(server.outgoing())
        self.assertEqual(client.connection.get_cipher_name(), "TLS_AES_128_GCM_SHA256")
        self.assertTrue(client.ready)

    def test_tickets_allow_no_early_data(self) -> None:
        """No ticket says that early data is taken (RFC 8446 sections 4.2.10, 4.6.1 and E.5)."""
        context = support.careless_context(SSL.TLS1_3_VERSION)
        reader = TicketReader(context)
        client, server = TLSMachine.client(context, "a.test"), self.contexts.server()
        server.receive(client.start())
        client.receive(server.outgoing())
        server.receive(client.outgoing())
        tickets = list(reader.messages(server.connection.bio_read(4096)))
        self.assertTrue(tickets)
        for message in tickets:
            self.assertEqual(message[0], 4)
            _, rest = _cut(message[12:], 1)
            _, rest = _cut(rest, 2)
            self.assertEqual(rest, b"\x00\x00")  # no extensions

    def test_leaf(self) -> None:
        """A leaf is an X.509v3 certificate on P-256, signed with SHA-256 (RFC 8446 section
        4.4.2.2)."""
        leaf, key = self.ca.issue(["a.test"])
        self.assertIs(leaf.version, x509.Version.v3)
        self.assertIsInstance(key.curve, ec.SECP256R1)
        self.assertIsInstance(leaf.signature_hash_algorithm, hashes.SHA256)
        self.assertIsInstance(self.ca.certificate.public_key(), ec.EllipticCurvePublicKey)

    def test_leaf_comes_first(self) -> None:
        """The server's own certificate comes first, what certifies it behind it (RFC 8446 section
        4.4.2)."""
        leaf, key = self.ca.issue(["a.test"])
        directory = support.temporary_directory(self)
        paths = os.path.join(directory, "chain.pem"), os.path.join(directory, "key.pem")
        with open(paths[0], "wb") as file:
            for certificate in (leaf, self.ca.certificate):
                file.write(certificate.public_bytes(serialization.Encoding.PEM))
        with open(paths[1], "wb") as file:
            file.write(support.key_pem(key))
        for contexts, chain in (
            (ServerContexts.from_files(*paths), [leaf, self.ca.certificate]),
            (self.contexts, None),
        ):
            client = TLSMachine.client(support.careless_context(), "a.test")
            support.shake(client, contexts.server())
            shown = client.connection.get_peer_cert_chain(as_cryptography=True) or []
            self.assertEqual(support.leaf_of(client), ["a.test"])
            if chain is not None:
                self.assertEqual(shown, chain)
            else:
                self.assertEqual(shown[0].issuer, self.ca.certificate.subject)


class TrustTests(SynchronousTestCase):
    """Certificates of origins."""

    def shake(
        self, host: str, context: SSL.Context, trusted: x509.Certificate
    ) -> tuple[TLSMachine, TLSMachine]:
        """Shake hands with a server whose certificate, or whose CA, is trusted."""
        path = os.path.join(support.temporary_directory(self), "ca.pem")
        with open(path, "wb") as file:
            file.write(trusted.public_bytes(serialization.Encoding.PEM))
        client, server = Trust([path]).client(host, 443), TLSMachine.server(context)
        support.shake(client, server)
        return client, server

    def refused(self, host: str, context: SSL.Context, trusted: x509.Certificate) -> TLSError:
        """It is refused all the same, for its certificate."""
        error = self.assertRaises(TLSError, self.shake, host, context, trusted)
        assert isinstance(error, TLSError)
        self.assertTrue(error.certificate_error)
        return error

    def context(self, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> SSL.Context:
        """A server that does not mind what it shows."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_cipher_list(b"DEFAULT@SECLEVEL=0")
        context.use_certificate(certificate)
        context.use_privatekey(key)
        return context

    def test_address_needs_address(self) -> None:
        """A DNS name that spells an address is no proof of the address (RFC 9110 section
        4.3.4)."""
        for host, name in (("10.0.0.1", "10.0.0.1"), ("127.0.0.1", "localhost")):
            shown = support.SelfSigned(name)
            self.refused(host, shown.context(), shown.certificate)

    def test_rsa(self) -> None:
        """Origins with RSA certificates are served, in TLS 1.2 and 1.3 (RFC 8446 section 9.1)."""
        key = rsa.generate_private_key(65537, 2048)
        certificate = _certificate("a.test", key)
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            context = self.context(certificate, key)
            context.set_max_proto_version(version)
            client, server = self.shake("a.test", context, certificate)
            self.assertEqual(server.receive(client.send(b"hello")), b"hello")

    def test_weak_signatures(self) -> None:
        """A certificate signed with MD5 or SHA-1 is refused, the same with SHA-256 is not (RFC 8446
        section 4.4.2.4)."""
        ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        ca = _certificate("ca.test", ca_key)
        leaf = _certificate("a.test", key, "ca.test", ca_key)
        for name in ("sha1", "md5"):
            error = self.refused("a.test", self.context(_resigned(leaf, ca_key, name), key), ca)
            self.assertIn("signature algorithm is too weak", error.reason)
        self.shake("a.test", self.context(_resigned(leaf, ca_key, "sha256"), key), ca)

    def test_weak_keys(self) -> None:
        """A certificate with an RSA key of 1024 bits is refused (RFC 8446 section C.2)."""
        key = rsa.generate_private_key(65537, 1024)
        certificate = _certificate("a.test", key)
        error = self.refused("a.test", self.context(certificate, key), certificate)
        self.assertIn("key is too small", error.reason)
