"""
The local CA: made on first start, trusted by PHP through one file, minting leaves by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fastcar_tw.http.target import ip_literal
from fastcar_tw.tls.ca_store import CAStore, LocalCAError
from fastcar_tw.tls.names import is_dns_name

__all__ = ["LEAF_LIFETIME", "LocalCA", "LocalCAError"]

_DAY = 86400.0
#: Life of a CA, in seconds, and how much of it must be left at a start.
CA_LIFETIME = 3650 * _DAY
CA_RESERVE = 30 * _DAY
#: Life of a leaf, in seconds.
LEAF_LIFETIME = 90 * _DAY
#: How long before its making a certificate is valid, in seconds: clients' clocks may be late.
BACKDATED = _DAY
#: Longest common name, RFC 5280 appendix A.1 (ub-common-name).
_MAX_COMMON_NAME = 64


class LocalCA:
    """
    A CA of EC P-256 in a directory, and one key for all the leaves of this process.

    @ivar certificate: the CA's own.
    @ivar certificate_path: the file to give to clients.
    """

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        certificate_path: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.certificate = certificate
        self.certificate_path = certificate_path
        self._key = key
        self._clock = clock
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        subject = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        self._issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject.value)

    @classmethod
    def load_or_create(cls, directory: str, clock: Callable[[], float] = time.time) -> LocalCA:
        """
        Load the CA of a directory, or make one where there is none.

        Safe when several processes do so at once: all get the same CA.

        @param clock: gives POSIX seconds.
        @raise LocalCAError: if what is there cannot be used.
        """
        store = CAStore(directory)
        with store.locked():
            stored = store.read()
            if stored is None:
                stored = _create(clock())
                store.write(*stored)
        key = _load_key(stored[0], store.key_path)
        certificate = _load_certificate(stored[1], store.certificate_path)
        _check(key, certificate, store, clock())
        return cls(key, certificate, store.certificate_path, clock)

    def issue(self, names: Sequence[str]) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """
        Mint a server certificate.

        @param names: DNS names (lower case, A-labels) and IP literals.
        @raise ValueError: for anything else, wildcards included.
        """
        subjects = [_general_name(name) for name in names]
        common_name = names[0] if len(names[0]) <= _MAX_COMMON_NAME else "fastcar"
        builder = (
            _builder(common_name, self._leaf_key.public_key(), self._clock(), LEAF_LIFETIME)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.SubjectAlternativeName(subjects), critical=False)
            .add_extension(self._issuer, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()), self._leaf_key


def _create(now: float) -> tuple[bytes, bytes]:
    """
    A new key and its self-signed CA certificate (RFC 5280 section 4.2.1), as PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # No two CAs have the same name: clients look issuers up by it.
    name = f"fastcar local CA {identifier.digest.hex()[:8]}"
    builder = _builder(name, key.public_key(), now, CA_LIFETIME)
    certificate = (
        builder.issuer_name(_common_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    name: str, public_key: ec.EllipticCurvePublicKey, now: float, lifetime: float
) -> x509.CertificateBuilder:
    made = datetime.fromtimestamp(now, timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(made - timedelta(seconds=BACKDATED))
        .not_valid_after(made + timedelta(seconds=lifetime))
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(**used: bool) -> x509.KeyUsage:
    every = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**every, **used})


def _general_name(name: str) -> x509.GeneralName:
    address = ip_literal(name)
    if address is not None:
        return x509.IPAddress(address)
    if not is_dns_name(name):
        raise ValueError(f"{name!r}: expected a DNS name in lower case or an IP literal")
    return x509.DNSName(name)


def _load_key(pem: bytes, path: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise LocalCAError(f"{path}: expected an unencrypted EC private key in PEM")
    return key


def _load_certificate(pem: bytes, path: str) -> x509.Certificate:
    expected = f"{path}: expected one CA certificate in PEM with a subject key identifier"
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem)
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (ValueError, x509.ExtensionNotFound):
        raise LocalCAError(expected) from None
    if not constraints.ca:
        raise LocalCAError(expected)
    return certificate


def _check(
    key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, store: CAStore, now: float
) -> None:
    if certificate.public_key() != key.public_key():
        raise LocalCAError(
            f"{store.certificate_path}: expected the certificate of {store.key_path}; restore "
            "the one that belongs to it, or delete both to have a new CA made"
        )
    end = certificate.not_valid_after_utc
    if end.timestamp() - now < CA_RESERVE:
        raise LocalCAError(
            f"{store.certificate_path}: expected a CA that is valid for 30 more days, this one "
            f"ends on {end:%Y-%m-%d}; delete it and {store.key_path} to have a new one made, "
            "and give the new file to clients"
        )
