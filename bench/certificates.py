"""A throw-away certificate authority for the origin and for nginx's TLS socket."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_NAMES = ("localhost", "origin.test")


@dataclass(frozen=True)
class Certificates:
    """The PEM files of a run: one CA, and one server certificate it has signed."""

    ca_file: Path
    cert_file: Path
    key_file: Path


def _in(folder: Path) -> Certificates:
    return Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")


def load_or_create(folder: Path) -> Certificates:
    """Return the certificates an earlier run has left in `folder`, or make them."""
    found = _in(folder)
    if found.ca_file.exists() and found.cert_file.exists() and found.key_file.exists():
        return found
    folder.mkdir(parents=True, exist_ok=True)
    return create(folder)


def create(folder: Path) -> Certificates:
    """Make a CA and a server certificate (P-256, for SERVER_NAMES and 127.0.0.1).

    The CA's key is never written; the server's key is readable by its owner only.
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _sign_ca(ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _sign_leaf(ca, ca_key, key.public_key())
    made = _in(folder)
    pem = serialization.Encoding.PEM
    made.ca_file.write_bytes(ca.public_bytes(pem))
    made.cert_file.write_bytes(leaf.public_bytes(pem))
    _write_private(
        made.key_file,
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return made


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _sign_ca(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("benchmark CA")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _sign_leaf(
    ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePublicKey
) -> x509.Certificate:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in SERVER_NAMES]
    names.append(x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")))
    return (
        _builder(_name(SERVER_NAMES[0]), ca.subject, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
