"""`fastcar_tw.tls.trust`: origins are verified before anything is said to them."""

from __future__ import annotations

import os

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.tls.local_ca import LocalCA
from fastcar_tw.tls.machine import TLSError, TLSMachine
from fastcar_tw.tls.policy import new_context
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.tls.trust import Trust, TrustError
from tests.tls import support


def leaf_context(ca: LocalCA, names: list[str]) -> SSL.Context:
    """A server that shows a leaf for these names, whatever it is asked for."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    certificate, key = ca.issue(names)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return context


class RefusalTests(SynchronousTestCase):
    """Certificates that are refused, with the reason, before an application byte is sent."""

    def setUp(self) -> None:
        self.ca = support.local_ca(self)
        self.trust = Trust([self.ca.certificate_path])

    def refused(self, trust: Trust, host: str, context: SSL.Context) -> TLSError:
        """The error `host` causes; afterwards the server knows of no application byte."""
        client, server = trust.client(host, 443), TLSMachine.server(context)
        server.receive(client.start())
        error = support.failure(self, client, server.outgoing())
        self.assertTrue(error.certificate_error)
        self.assertFalse(client.ready)
        self.assertRaises(TLSError, client.send, b"GET / HTTP/1.1\r\n\r\n")
        left = client.outgoing() + client.shutdown()
        try:
            self.assertEqual(server.receive(left), b"")
        except TLSError as alert:
            self.assertTrue(alert.alert_received)
        self.assertEqual(client.receive(b"more"), b"")
        return error

    def test_self_signed(self) -> None:
        """A self-signed certificate is refused."""
        error = self.refused(self.trust, "a.test", support.SelfSigned("a.test").context())
        self.assertEqual(error.reason, "certificate verify failed: self-signed certificate")
        self.assertFalse(error.alert_received)

    def test_unknown_issuer(self) -> None:
        """A certificate of an unknown CA is refused."""
        context = leaf_context(support.local_ca(self), ["a.test"])
        error = self.refused(self.trust, "a.test", context)
        self.assertEqual(error.reason, "certificate verify failed: unknown issuer")

    def test_expired(self) -> None:
        """A certificate out of its time is refused, even if it is trusted as such."""
        for start, end, reason in (
            (-9, -1, "certificate has expired"),
            (1, 9, "certificate is not yet valid"),
        ):
            shown = support.SelfSigned("a.test", start, end)
            path, _ = shown.write(support.temporary_directory(self))
            error = self.refused(Trust([path]), "a.test", shown.context())
            self.assertEqual(error.reason, f"certificate verify failed: {reason}")

    def test_other_name(self) -> None:
        """A certificate for another name is refused; the error tells both."""
        for host, names, offered in (
            ("a.test", ["b.test", "10.0.0.1"], "b.test, 10.0.0.1"),
            ("sub.a.test", ["a.test"], "a.test"),
            ("10.0.0.2", ["10.0.0.1"], "10.0.0.1"),
            ("[::2]", ["::1"], "::1"),
            ("127.0.0.1", ["localhost"], "localhost"),
            (
                "a.test",
                [f"{n}x.test" for n in range(9)],
                "0x.test, 1x.test, 2x.test, 3x.test, 4x.test and 4 more",
            ),
        ):
            error = self.refused(self.trust, host, leaf_context(self.ca, names))
            self.assertEqual(
                error.reason,
                f"certificate verify failed: expected a certificate for {host.strip('[]')}, "
                f"got one for {offered}",
            )

    def test_no_name(self) -> None:
        """A certificate without names is refused; the common name does not count."""
        shown = support.SelfSigned(None)
        path, _ = shown.write(support.temporary_directory(self))
        error = self.refused(Trust([path]), "nobody", shown.context())
        self.assertIn("got one for no name", error.reason)

    def test_malformed_name(self) -> None:
        """A name from the certificate cannot break out of a log line."""
        shown = support.SelfSigned("b.test\nforged")
        path, _ = shown.write(support.temporary_directory(self))
        error = self.refused(Trust([path]), "a.test", shown.context())
        self.assertIn("got one for (malformed)", error.reason)

    def test_old_server(self) -> None:
        """The ClientHello offers nothing below TLS 1.2 (RFC 8996)."""
        client = self.trust.client("a.test", 443)
        client.start()
        hello = b"\x02" + b"\x00\x00\x26\x03\x02" + bytes(32) + b"\x00\xc0\x09\x00"
        error = support.failure(self, client, b"\x16\x03\x02\x00\x2a" + hello)
        self.assertEqual(support.sent_alert(client), support.PROTOCOL_VERSION)
        self.assertFalse(error.certificate_error)

    def test_impossible_host(self) -> None:
        """A host that no certificate can name is refused without a connection."""
        for host in ("a b", "b\u00fccher.example", "a\0b", "", "*.test", "a" * 64, "1.2.3"):
            error = self.assertRaises(TLSError, self.trust.client, host, 443)
            self.assertIn(repr(host), error.reason)


class AcceptanceTests(SynchronousTestCase):
    """What is trusted, and how it is asked."""

    def setUp(self) -> None:
        self.ca = support.local_ca(self)
        self.path = self.ca.certificate_path

    def exchange(self, trust: Trust, host: str, context: SSL.Context) -> TLSMachine:
        """Shake hands and send; returns the server."""
        client, server = trust.client(host, 443), TLSMachine.server(context)
        support.shake(client, server)
        self.assertEqual(server.receive(client.send(b"hello")), b"hello")
        return server

    def test_extra_files(self) -> None:
        """Each extra file is trusted."""
        other = support.local_ca(self)
        trust = Trust([self.path, other.certificate_path])
        for ca in (self.ca, other):
            self.exchange(trust, "a.test", leaf_context(ca, ["a.test"]))

    def test_trusted_leaf(self) -> None:
        """A certificate can be trusted as it is, without its issuer, as in libcurl."""
        certificate, key = self.ca.issue(["a.test"])
        path = os.path.join(support.temporary_directory(self), "leaf.pem")
        with open(path, "wb") as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM))
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        self.exchange(Trust([path]), "a.test", context)

    def test_environment(self) -> None:
        """SSL_CERT_FILE and SSL_CERT_DIR take the place of the system's CAs."""
        context = leaf_context(self.ca, ["a.test"])
        self.set_environment("SSL_CERT_FILE", self.path)
        self.exchange(Trust(), "a.test", context)

    def test_environment_directory(self) -> None:
        """SSL_CERT_DIR holds certificates by the hash of their subject, as OpenSSL keeps them."""
        directory = support.temporary_directory(self)
        subject = crypto.X509.from_cryptography(self.ca.certificate).subject_name_hash()
        os.symlink(self.path, os.path.join(directory, f"{subject:08x}.0"))
        self.set_environment("SSL_CERT_DIR", directory)
        self.exchange(Trust(), "a.test", leaf_context(self.ca, ["a.test"]))

    def set_environment(self, name: str, value: str | None) -> None:
        """Set or remove a variable for this test; OpenSSL reads the process's environment."""
        previous = os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
        self.addCleanup(self.restore, name, previous)

    def restore(self, name: str, value: str | None) -> None:
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

    def test_sni(self) -> None:
        """A name is sent as SNI, an IP literal never (RFC 6066 section 3)."""
        trust = Trust([self.path])
        context = leaf_context(self.ca, ["a.test", "127.0.0.1", "::1"])
        for host, sni in (
            ("a.test", b"a.test"),
            ("A.Test.", b"a.test"),
            ("127.0.0.1", None),
            ("[::1]", None),
        ):
            server = self.exchange(trust, host, context)
            self.assertEqual(server.connection.get_servername(), sni)

    def test_alpn(self) -> None:
        """http/1.1 is offered; others if asked for, or none."""
        contexts = ServerContexts.from_ca(self.ca)
        trust = Trust([self.path])
        for alpn, chosen in (((b"h2", b"http/1.1"), b"http/1.1"), ((b"h2",), b""), ((), b"")):
            client = trust.client("a.test", 443, alpn)
            support.shake(client, contexts.server())
            self.assertEqual(client.connection.get_alpn_proto_negotiated(), chosen)
        client = trust.client("a.test", 443)
        support.shake(client, contexts.server())
        self.assertEqual(client.connection.get_alpn_proto_negotiated(), b"http/1.1")

    def test_shared_context(self) -> None:
        """All verified connections share one context, insecure ones another."""
        trust = Trust([self.path], ["bad.test"])
        verified = {id(trust.client(f"{n}.a.test", n).connection.get_context()) for n in range(5)}
        insecure = id(trust.client("bad.test", 443).connection.get_context())
        self.assertEqual(len(verified), 1)
        self.assertNotIn(insecure, verified)

    def test_bad_files(self) -> None:
        """A file that is missing or has no certificate is named at once."""
        path = os.path.join(support.temporary_directory(self), "ca.pem")
        for data in (None, b"", b"garbage"):
            if data is not None:
                with open(path, "wb") as file:
                    file.write(data)
            error = self.assertRaises(TrustError, Trust, [self.path, path])
            self.assertIn(path, str(error))

    def test_system_cas(self) -> None:
        """The system's CAs are found by the OpenSSL in use, wherever the distribution has them."""
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        if not os.path.exists(bundle):
            self.skipTest("needs Debian's ca-certificates")
        self.set_environment("SSL_CERT_FILE", None)
        self.set_environment("SSL_CERT_DIR", None)
        with open(bundle, "rb") as file:
            root = x509.load_pem_x509_certificates(file.read())[0]
        context = Trust().client("a.test", 443).connection.get_context()
        store = context.get_cert_store()
        assert store is not None
        # Raises if the store does not hold it.
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(root)).verify_certificate()


class InsecureTests(SynchronousTestCase):
    """Verification is skipped where it was asked for, and only there."""

    def test_verifies(self) -> None:
        """An origin is insecure by host, or by host and port, in any spelling of the host."""
        trust = Trust((), ["Any.test", "one.test:8443", "[0:0::1]:443", "[::2]", "10.0.0.1:1"])
        for host, port, verified in (
            ("any.test", 1, False),
            ("ANY.test.", 443, False),
            ("sub.any.test", 443, True),
            ("one.test", 8443, False),
            ("one.test", 443, True),
            ("::1", 443, False),
            ("[::1]", 443, False),
            ("::1", 444, True),
            ("[::2]", 5, False),
            ("10.0.0.1", 1, False),
            ("10.0.0.1", 2, True),
            ("other.test", 443, True),
        ):
            self.assertIs(trust.verifies(host, port), verified, (host, port))

    def test_exchange(self) -> None:
        """An insecure origin may show anything; the same certificate fails elsewhere."""
        trust = Trust((), ["a.test:8443"])
        context = new_context(SSL.TLS_SERVER_METHOD)
        shown = support.SelfSigned("b.test", -9, -1)
        context.use_certificate(shown.certificate)
        context.use_privatekey(shown.key)
        client, server = trust.client("a.test", 8443), TLSMachine.server(context)
        support.shake(client, server)
        self.assertEqual(server.receive(client.send(b"hello")), b"hello")
        for host, port in (("a.test", 443), ("b.test", 8443)):
            client, server = trust.client(host, port), TLSMachine.server(context)
            server.receive(client.start())
            self.assertTrue(support.failure(self, client, server.outgoing()).certificate_error)

    def test_bad_origins(self) -> None:
        """What is no origin is refused and named."""
        for origin in (
            "",
            ":443",
            "a.test:",
            "a.test:0",
            "a.test:65536",
            "a.test:x",
            "::1",
            "https://a.test",
            "*.test",
            "[a.test]",
            "[::1",
            "a b",
            "a.test:443:1",
            "a..b",
            "[::1%lo]",
        ):
            error = self.assertRaises(TrustError, Trust, (), [origin])
            self.assertIn(repr(origin), str(error))
