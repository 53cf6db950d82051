"""`fastcar_tw.tls.local_ca` and its files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.tls.local_ca import LocalCA, LocalCAError
from tests.tls import support

DAY = 86400
#: Prints the certificate of the CA that a process gets.
RACER = """
import sys
from fastcar_tw.tls.local_ca import LocalCA
sys.stdin.readline()
print(hex(LocalCA.load_or_create(sys.argv[1]).certificate.serial_number))
"""


class Files(SynchronousTestCase):
    """A directory to keep a CA in, and what is wrong with it."""

    def setUp(self) -> None:
        self.directory = os.path.join(support.temporary_directory(self), "deep", "ca")
        self.key = os.path.join(self.directory, "ca-key.pem")
        self.certificate = os.path.join(self.directory, "ca.pem")

    def mode(self, path: str) -> int:
        return stat.S_IMODE(os.stat(path).st_mode)

    def refused(self, *words: str) -> None:
        """Loading is refused, with all these words, and the files stay as they are."""
        before = sorted(os.listdir(self.directory))
        message = str(self.assertRaises(LocalCAError, LocalCA.load_or_create, self.directory))
        for word in words:
            self.assertIn(word, message)
        self.assertNotIn("\n", message)
        self.assertEqual(sorted(os.listdir(self.directory)), before)

    def replace(self, path: str, data: bytes) -> None:
        with open(path, "r+b") as file:
            file.truncate()
            file.write(data)


class CreationTests(Files):
    """The first start."""

    def test_files(self) -> None:
        """Key 0600, certificate 0644 and directory 0755, whatever the umask; nothing else."""
        for umask in (0, 0o077):
            self.directory += "x"
            previous = os.umask(umask)
            try:
                ca = LocalCA.load_or_create(self.directory)
            finally:
                os.umask(previous)
            names = sorted(os.listdir(self.directory))
            self.assertEqual(names, ["ca-key.pem", "ca.pem"])
            self.assertEqual(self.mode(os.path.join(self.directory, "ca-key.pem")), 0o600)
            self.assertEqual(self.mode(ca.certificate_path), 0o644)
            self.assertEqual(self.mode(self.directory), 0o755)

    def test_existing_directory(self) -> None:
        """The mode of a directory that was there is left alone."""
        os.makedirs(self.directory)
        os.chmod(self.directory, 0o755)
        LocalCA.load_or_create(self.directory)
        self.assertEqual(self.mode(self.directory), 0o755)

    def test_one_certificate(self) -> None:
        """ca.pem has one certificate: clients read it on each request."""
        LocalCA.load_or_create(self.directory)
        with open(self.certificate, "rb") as file:
            self.assertEqual(len(x509.load_pem_x509_certificates(file.read())), 1)

    def test_certificate(self) -> None:
        """The CA may sign leaves only (RFC 5280 section 4.2.1), for ten years."""
        clock = Clock()
        clock.advance(1_800_000_000)
        certificate = LocalCA.load_or_create(self.directory, clock.seconds).certificate
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        self.assertEqual(constraints.value, x509.BasicConstraints(ca=True, path_length=0))
        self.assertTrue(constraints.critical and usage.critical)
        self.assertTrue(usage.value.key_cert_sign and usage.value.crl_sign)
        self.assertFalse(usage.value.digital_signature)
        self.assertIn("fastcar local CA ", certificate.subject.rfc4514_string())
        self.assertEqual(certificate.not_valid_before_utc.timestamp(), clock.seconds() - DAY)
        self.assertEqual(certificate.not_valid_after_utc.timestamp(), clock.seconds() + 3650 * DAY)
        certificate.verify_directly_issued_by(certificate)

    def test_second_start(self) -> None:
        """A second start finds the same CA."""
        first = LocalCA.load_or_create(self.directory)
        self.assertEqual(LocalCA.load_or_create(self.directory).certificate, first.certificate)

    def test_race(self) -> None:
        """Processes that start at once all get the one CA that is left on disk."""
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACER, self.directory],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                text=True,
            )
            for _ in range(4)
        ]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        serials = {racer.communicate()[0].strip() for racer in racers}
        on_disk = LocalCA.load_or_create(self.directory).certificate.serial_number
        self.assertEqual(serials, {hex(on_disk)})

    def test_unusable_directory(self) -> None:
        """A directory that cannot be is named."""
        with open(self.directory.removesuffix("/deep/ca") + "/deep", "w"):
            pass
        error = self.assertRaises(LocalCAError, LocalCA.load_or_create, self.directory)
        self.assertIn(self.directory, str(error))


class RefusalTests(Files):
    """What is on disk is not trusted blindly."""

    def setUp(self) -> None:
        super().setUp()
        LocalCA.load_or_create(self.directory)

    def test_exposed_key(self) -> None:
        """A key that others may read or write is refused."""
        for mode in (0o640, 0o604, 0o620, 0o666):
            os.chmod(self.key, mode)
            self.refused(self.key, "0600", f"{mode:04o}")

    def test_foreign_key(self) -> None:
        """A key that another user planted is refused."""
        if os.geteuid() != 0:
            self.skipTest("only root can give files away")
        os.chown(self.key, 12345, -1)
        self.refused(self.key, "owned by user id", "12345")

    def test_missing_half(self) -> None:
        """One file without the other is refused, and the message says what to delete."""
        for missing, left in ((self.key, self.certificate), (self.certificate, self.key)):
            os.rename(missing, missing + ".away")
            self.refused(f"{missing} is missing", f"delete {left}")
            os.rename(missing + ".away", missing)

    def test_mismatch(self) -> None:
        """A key that is not the certificate's is refused."""
        self.replace(self.key, support.key_pem(ec.generate_private_key(ec.SECP256R1())))
        self.refused(self.certificate, self.key, "delete both")

    def test_bad_key(self) -> None:
        """Anything but an unencrypted EC key is refused."""
        encrypted = support.key_pem(ec.generate_private_key(ec.SECP256R1()), b"secret")
        for data in (b"", b"garbage", encrypted):
            self.replace(self.key, data)
            self.refused(self.key, "unencrypted EC private key")

    def test_bad_certificate(self) -> None:
        """Anything but one CA certificate is refused."""
        with open(self.certificate, "rb") as file:
            good = file.read()
        leaf = support.SelfSigned().certificate.public_bytes(serialization.Encoding.PEM)
        for data in (b"", b"garbage", good + good, leaf):
            self.replace(self.certificate, data)
            self.refused(self.certificate, "expected one CA certificate")

    def test_not_a_file(self) -> None:
        """A directory or a pipe in place of a file is refused at once."""
        os.unlink(self.key)
        os.mkfifo(self.key, 0o600)
        self.refused(self.key, "regular file")
        os.unlink(self.key)
        os.mkdir(self.key, 0o700)
        self.refused(self.key)

    def test_expiry(self) -> None:
        """A CA is used until 30 days before its end; then the message says what to delete."""
        end = LocalCA.load_or_create(self.directory).certificate.not_valid_after_utc
        clock = Clock()
        clock.advance((end - timedelta(days=30)).timestamp())
        LocalCA.load_or_create(self.directory, clock.seconds)
        clock.advance(1)
        for _ in range(2):
            error = self.assertRaises(
                LocalCAError, LocalCA.load_or_create, self.directory, clock.seconds
            )
            for word in (self.certificate, self.key, "delete", f"{end:%Y-%m-%d}"):
                self.assertIn(word, str(error))
            clock.advance(40 * DAY)


class IssueTests(Files):
    """Leaves."""

    def test_leaf(self) -> None:
        """A leaf is for servers only, valid a day ago and for 90 days, signed by the CA."""
        clock = Clock()
        clock.advance(1_800_000_000)
        ca = LocalCA.load_or_create(self.directory, clock.seconds)
        clock.advance(1000)
        leaf, key = ca.issue(["a.test", "127.0.0.1", "::1"])
        leaf.verify_directly_issued_by(ca.certificate)
        self.assertEqual(leaf.public_key(), key.public_key())
        self.assertEqual(leaf.not_valid_before_utc.timestamp(), clock.seconds() - DAY)
        self.assertEqual(leaf.not_valid_after_utc.timestamp(), clock.seconds() + 90 * DAY)
        get = leaf.extensions.get_extension_for_class
        names = get(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["a.test"])
        addresses = names.get_values_for_type(x509.IPAddress)
        self.assertEqual([str(address) for address in addresses], ["127.0.0.1", "::1"])
        self.assertFalse(get(x509.BasicConstraints).value.ca)
        self.assertEqual(list(get(x509.ExtendedKeyUsage).value), [ExtendedKeyUsageOID.SERVER_AUTH])
        self.assertTrue(get(x509.KeyUsage).value.digital_signature)
        self.assertFalse(get(x509.KeyUsage).value.key_cert_sign)
        identifier = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        self.assertEqual(
            get(x509.AuthorityKeyIdentifier).value.key_identifier, identifier.value.digest
        )

    def test_serials(self) -> None:
        """Leaves share a key; serial numbers are random (RFC 5280 section 4.1.2.2)."""
        ca = LocalCA.load_or_create(self.directory)
        (one, key), (two, same) = ca.issue(["a.test"]), ca.issue(["a.test"])
        self.assertIs(key, same)
        self.assertNotEqual(one.serial_number, two.serial_number)
        self.assertGreater(one.serial_number.bit_length(), 64)

    def test_long_names(self) -> None:
        """The longest DNS name fits, though a common name of that length does not."""
        name = ".".join(["a" * 62] * 4)
        leaf, _ = LocalCA.load_or_create(self.directory).issue([name])
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual(names.value.get_values_for_type(x509.DNSName), [name])

    def test_names_refused(self) -> None:
        """Wildcards and what is no name are refused."""
        ca = LocalCA.load_or_create(self.directory)
        for name in ("", "*.test", "A.test", "a\0b", "a.test.", "a" * 64, "[::1]"):
            error = self.assertRaises(ValueError, ca.issue, ["a.test", name])
            self.assertIn(repr(name), str(error))
