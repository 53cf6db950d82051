"""Certificates, machine pairs and hand-made TLS messages for the tests of TLS."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.tls.local_ca import LocalCA
from fastcar_tw.tls.machine import TLSError, TLSMachine


def temporary_directory(case: SynchronousTestCase) -> str:
    """A directory that goes with the test."""
    path = tempfile.mkdtemp(prefix="fc", dir="/tmp")
    case.addCleanup(shutil.rmtree, path)
    return path


def local_ca(case: SynchronousTestCase) -> LocalCA:
    return LocalCA.load_or_create(os.path.join(temporary_directory(case), "ca"))


# Alert descriptions, RFC 8446 section 6.
UNEXPECTED_MESSAGE = 10
HANDSHAKE_FAILURE = 40
PROTOCOL_VERSION = 70
UNRECOGNIZED_NAME = 112


class SelfSigned:
    """A self-signed certificate for `name`, from `start` to `end` in days from now."""

    def __init__(self, name: str | None = "a.test", start: int = -1, end: int = 90) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or "nobody")])
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateBuilder(subject, subject, self.key.public_key(), 1)
            .not_valid_before(now + timedelta(days=start))
            .not_valid_after(now + timedelta(days=end))
        )
        if name is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            builder = builder.add_extension(names, critical=False)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    def context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(self.certificate)
        context.use_privatekey(self.key)
        return context

    def write(self, directory: str) -> tuple[str, str]:
        """Write both as PEM; returns the paths of certificate and key."""
        certificate = os.path.join(directory, "cert.pem")
        key = os.path.join(directory, "key.pem")
        with open(certificate, "wb") as file:
            file.write(self.certificate.public_bytes(serialization.Encoding.PEM))
        with open(key, "wb") as file:
            file.write(key_pem(self.key))
        return certificate, key


def key_pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def careless_context(version: int | None = None) -> SSL.Context:
    """A client context that verifies nothing; `version` limits it to one TLS version."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    return context


def shake(client: TLSMachine, server: TLSMachine) -> None:
    """Carry handshake messages both ways until neither side has any; TLSError is let through."""
    data = client.start()
    while data:
        server.receive(data)
        client.receive(server.outgoing())
        data = client.outgoing()
    if client.ready and server.ready:
        client.receive(server.send(b"."))  # the tickets go with the first data


def shaken(
    server_context: SSL.Context, client_context: SSL.Context | None = None
) -> tuple[TLSMachine, TLSMachine]:
    """Client and server machine with the handshake done."""
    client = TLSMachine.client(client_context or careless_context(), "a.test")
    server = TLSMachine.server(server_context)
    shake(client, server)
    assert client.ready and server.ready
    return client, server


def leaf_of(client: TLSMachine) -> list[str]:
    """The names in the certificate that the server showed."""
    certificate = client.connection.get_peer_certificate()
    assert certificate is not None
    extension = certificate.to_cryptography().extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return [str(name.value) for name in extension.value]


def failure(case: SynchronousTestCase, machine: TLSMachine, data: bytes) -> TLSError:
    """The error that `data` makes `machine` raise."""
    error = case.assertRaises(TLSError, machine.receive, data)
    assert isinstance(error, TLSError)
    return error


def sent_alert(machine: TLSMachine) -> int:
    """The description in the fatal alert that ends the machine's output, sent before any keys (RFC
    8446 section 6)."""
    record = machine.outgoing()[-7:]
    assert record[:2] == b"\x15\x03" and record[3:6] == b"\x00\x02\x02", record
    return record[6]


def vector(data: bytes, size: int) -> bytes:
    """A length-prefixed vector (RFC 8446 section 3.4)."""
    return len(data).to_bytes(size, "big") + data


def client_hello(sni: bytes | None = None, version: bytes = b"\x03\x03") -> bytes:
    """A ClientHello of TLS 1.2 at most, with whatever is given as its server name."""
    extensions = b"\x00\x0a" + vector(vector(b"\x00\x1d\x00\x17", 2), 2)  # groups
    extensions += b"\x00\x0d" + vector(vector(b"\x04\x03\x08\x04", 2), 2)  # signatures
    if sni is not None:
        extensions += b"\x00\x00" + vector(vector(b"\x00" + vector(sni, 2), 2), 2)
    ciphers = b"\xc0\x2b\xc0\x2f\xc0\x09\xc0\x13"
    body = version + bytes(32) + b"\x00" + vector(ciphers, 2) + b"\x01\x00"
    message = b"\x01" + vector(body + vector(extensions, 2), 3)
    return b"\x16\x03\x01" + vector(message, 2)


class RecordWriter:
    """Encrypts records of TLS 1.3 by hand (RFC 8446 sections 5.2 and 7.3), AES-128-GCM only."""

    def __init__(self, secret: bytes) -> None:
        self._set(secret)

    def _set(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = AESGCM(self._expand(b"key", 16))
        self._nonce = int.from_bytes(self._expand(b"iv", 12), "big")
        self._sequence = 0

    def update(self) -> None:
        """Go on to the next keys, as after a KeyUpdate (RFC 8446 section 7.2)."""
        self._set(self._expand(b"traffic upd", 32))

    def record(self, kind: int, data: bytes) -> bytes:
        inner = data + bytes([kind])
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (self._nonce ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def _expand(self, label: bytes, size: int) -> bytes:
        info = size.to_bytes(2, "big") + vector(b"tls13 " + label, 1) + b"\x00"
        return HKDFExpand(hashes.SHA256(), size, info).derive(self._secret)


def hand_written(server_context: SSL.Context) -> tuple[RecordWriter, TLSMachine]:
    """A server machine, and a writer of the records its client sends."""
    secrets: dict[bytes, bytes] = {}

    def keep(connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.split()
        secrets[label] = bytes.fromhex(secret.decode("ascii"))

    context = careless_context()
    context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
    context.set_keylog_callback(keep)
    _, server = shaken(server_context, context)
    return RecordWriter(secrets[b"CLIENT_TRAFFIC_SECRET_0"]), server
