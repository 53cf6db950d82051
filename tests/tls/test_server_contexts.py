"""`fastcar_tw.tls.server_contexts`: the certificate and the protocol a client gets."""

from __future__ import annotations

import os
from unittest import mock

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.tls import server_contexts
from fastcar_tw.tls.local_ca import LEAF_LIFETIME
from fastcar_tw.tls.machine import TLSMachine
from fastcar_tw.tls.server_contexts import (
    CertificateFileError,
    KeyFileError,
    LeafCache,
    ServerContexts,
    server_name,
)
from fastcar_tw.tls.trust import Trust
from tests.tls import support

DEFAULT = ["localhost", "127.0.0.1", "::1"]


class SNITests(SynchronousTestCase):
    """Leaves from the local CA."""

    def setUp(self) -> None:
        self.ca = support.local_ca(self)
        self.contexts = ServerContexts.from_ca(self.ca)

    def client(self, sni: bytes, version: int | None = None) -> TLSMachine:
        """A client that has shaken hands, naming any bytes."""
        client = TLSMachine.client(support.careless_context(version), "")
        if sni:
            client.connection.set_tlsext_host_name(sni)
        support.shake(client, self.contexts.server())
        return client

    def test_by_name(self) -> None:
        """The leaf is for the SNI name, in both versions, and verifies with the CA's file."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.assertEqual(support.leaf_of(self.client(b"a.test", version)), ["a.test"])
        trust = Trust([self.ca.certificate_path])
        for host in (
            "a.test",
            "my_service",
            "xn--bcher-kva.example",
            "localhost",
            "127.0.0.1",
            "::1",
            "[::1]",
            "A.test.",
        ):
            client, server = trust.client(host, 443), self.contexts.server()
            support.shake(client, server)
            self.assertEqual(server.receive(client.send(b"hello")), b"hello")

    def test_without_name(self) -> None:
        """Without SNI the leaf is for this machine."""
        self.assertEqual(support.leaf_of(self.client(b"")), DEFAULT)

    def test_default_name(self) -> None:
        """A connection may have a name of its own for the case that SNI has none, or no name."""
        for default in ("b.test", "10.0.0.1", "2001:db8::1"):
            for sni in (b"", b"*.test", b"a..b"):
                client = TLSMachine.client(support.careless_context(), "")
                if sni:
                    client.connection.set_tlsext_host_name(sni)
                server = self.contexts.server(default)
                support.shake(client, server)
                self.assertEqual(support.leaf_of(client), [default])
                self.assertEqual(server_name(server.connection), "")

    def test_name_before_default_name(self) -> None:
        """SNI comes before it, and connections do not share it."""
        for default, sni, leaf in (
            ("b.test", "a.test", ["a.test"]),
            ("", "", DEFAULT),
            ("b.test.", "", ["b.test"]),
            ("not a name", "", DEFAULT),
            ("fe80::1%eth0", "", DEFAULT),
            ("a" * 64, "", DEFAULT),
        ):
            client = TLSMachine.client(support.careless_context(), sni)
            server = self.contexts.server(default)
            support.shake(client, server)
            self.assertEqual(support.leaf_of(client), leaf)
            self.assertEqual(server_name(server.connection), sni)

    def test_upper_case(self) -> None:
        """Names are compared without case (RFC 4343) and get one leaf."""
        first, second = self.client(b"A.TEST"), self.client(b"a.test")
        self.assertEqual(support.leaf_of(first), ["a.test"])
        self.assertEqual(support.leaf_of(second), ["a.test"])

    def test_literal(self) -> None:
        """A client that breaks RFC 6066 by naming an IP literal gets a leaf for it."""
        self.assertEqual(support.leaf_of(self.client(b"10.0.0.1")), ["10.0.0.1"])

    def test_hostile_names(self) -> None:
        """What is no name gets the default leaf."""
        for sni in (
            b"*.test",
            b"a b",
            b"../../etc",
            b"a\nb",
            b"\xff\xfe",
            b"a..b",
            b"-",
            b".",
            b"a" * 64,
            b"a." * 126 + b"abc",
            b"' OR 1",
            b"1",
            b"fe80::1%eth0",
            b"::1%\r\nX: y",
        ):
            self.assertEqual(support.leaf_of(self.client(sni)), DEFAULT, sni)

    def test_impossible_names(self) -> None:
        """A NUL or too many bytes as a name end this one handshake, by OpenSSL's own check."""
        for sni in (b"a\0.test", b"\0", b"a" * 256, b"a" * 5000):
            server = self.contexts.server()
            support.failure(self, server, support.client_hello(sni))
            self.assertEqual(support.sent_alert(server), support.UNRECOGNIZED_NAME)
        server = self.contexts.server()
        server.receive(support.client_hello(b""))
        self.assertEqual(server.outgoing()[:1], b"\x16")
        self.assertEqual(support.leaf_of(self.client(b"a.test")), ["a.test"])

    def test_rejected_certificate(self) -> None:
        """A client that does not know the CA says so; the next one is served."""
        client, server = Trust().client("a.test", 443), self.contexts.server()
        server.receive(client.start())
        self.assertTrue(support.failure(self, client, server.outgoing()).certificate_error)
        error = support.failure(self, server, client.outgoing())
        self.assertEqual(error.reason, "the peer sent the alert 'unknown ca'")
        self.assertEqual(support.leaf_of(self.client(b"a.test")), ["a.test"])

    def test_outlives_contexts(self) -> None:
        """A connection goes on after its `ServerContexts` is gone."""
        server = self.contexts.server()
        client = TLSMachine.client(support.careless_context(), "a.test")
        server.receive(client.start())
        del self.contexts
        client.receive(server.outgoing())
        server.receive(client.outgoing())
        self.assertEqual(server.receive(client.send(b"hello")), b"hello")


class LeafCacheTests(SynchronousTestCase):
    """Leaves are minted seldom, and not kept without bound."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.front = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.leaves = LeafCache(support.local_ca(self), self.front, self.clock.seconds)

    def test_reused(self) -> None:
        """A name is minted once."""
        self.assertIs(self.leaves.leaf("a.test"), self.leaves.leaf("a.test"))
        self.assertIsNot(self.leaves.leaf("a.test"), self.leaves.leaf("b.test"))
        self.assertEqual(len(self.leaves), 2)

    def test_reminted(self) -> None:
        """A leaf is minted again when half of its life is over, not before."""
        first = self.leaves.leaf("a.test")
        self.clock.advance(LEAF_LIFETIME / 2 - 1)
        self.assertIs(self.leaves.leaf("a.test"), first)
        self.clock.advance(1)
        second = self.leaves.leaf("a.test")
        self.assertIsNot(second, first)
        self.assertIs(self.leaves.leaf("a.test"), second)
        self.assertEqual(len(self.leaves), 1)

    def test_bound(self) -> None:
        """At the bound the name asked for least recently goes."""
        with mock.patch.object(server_contexts, "MAX_LEAVES", 3):
            kept = self.leaves.leaf("a.test")
            gone = self.leaves.leaf("b.test")
            self.leaves.leaf("c.test")
            self.leaves.leaf("a.test")
            self.leaves.leaf("d.test")
            self.assertEqual(len(self.leaves), 3)
            self.assertIs(self.leaves.leaf("a.test"), kept)
            self.assertIsNot(self.leaves.leaf("b.test"), gone)
        self.assertEqual(server_contexts.MAX_LEAVES, 1024)


class ProtocolTests(SynchronousTestCase):
    """What is agreed on besides the certificate, for leaves and for files."""

    def setUp(self) -> None:
        directory = support.temporary_directory(self)
        self.every = [
            ServerContexts.from_ca(support.local_ca(self)),
            ServerContexts.from_files(*support.SelfSigned().write(directory)),
        ]

    def test_alpn(self) -> None:
        """http/1.1 is chosen wherever it is offered; else the handshake goes on without ALPN."""
        for offered, chosen in (
            ([b"http/1.1"], b"http/1.1"),
            ([b"h2", b"http/1.1"], b"http/1.1"),
            ([b"h2"], b""),
            ([b"http/1.0", b"spdy/3"], b""),
            ([], b""),
        ):
            for contexts in self.every:
                client = TLSMachine.client(support.careless_context(), "a.test")
                if offered:
                    client.connection.set_alpn_protos(offered)
                server = contexts.server()
                support.shake(client, server)
                self.assertEqual(client.connection.get_alpn_proto_negotiated(), chosen)
                self.assertEqual(server.receive(client.send(b"hello")), b"hello")

    def test_old_versions(self) -> None:
        """TLS 1.0 and 1.1 are refused (RFC 8996 sections 4 and 5)."""
        for version in (b"\x03\x01", b"\x03\x02"):
            for contexts in self.every:
                server = contexts.server()
                support.failure(self, server, support.client_hello(b"a.test", version))
                self.assertEqual(support.sent_alert(server), support.PROTOCOL_VERSION)

    def test_weak_ciphers(self) -> None:
        """In TLS 1.2 only forward secrecy with AEAD is agreed on (RFC 9325 section 4.1)."""
        for cipher in (b"AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA"):
            context = support.careless_context(SSL.TLS1_2_VERSION)
            context.set_cipher_list(cipher)
            for contexts in self.every:
                client = TLSMachine.client(context, "a.test")
                server = contexts.server()
                support.failure(self, server, client.start())
                self.assertEqual(support.sent_alert(server), support.HANDSHAKE_FAILURE)

    def test_no_resumption(self) -> None:
        """A session is not resumed: a second handshake is a full one."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for contexts in self.every:
                context = support.careless_context(version)
                first = TLSMachine.client(context, "a.test")
                support.shake(first, contexts.server())
                session = first.connection.get_session()
                assert session is not None
                second, server = TLSMachine.client(context, "a.test"), contexts.server()
                second.connection.set_session(session)
                support.shake(second, server)
                self.assertNotEqual(first.connection.master_key(), second.connection.master_key())
                self.assertEqual(len(support.leaf_of(second)), 1)


class FileTests(SynchronousTestCase):
    """A certificate of one's own."""

    def setUp(self) -> None:
        self.directory = support.temporary_directory(self)
        self.certificate, self.key = support.SelfSigned("a.test").write(self.directory)

    def refused(self, *words: str) -> None:
        error: CertificateFileError = self.assertRaises(
            CertificateFileError, ServerContexts.from_files, self.certificate, self.key
        )
        self.assertIs(isinstance(error, KeyFileError), words[0] == self.key)
        for word in words:
            self.assertIn(word, str(error))

    def test_any_name(self) -> None:
        """The chain of the files is shown whatever name the client asks for."""
        contexts = ServerContexts.from_files(self.certificate, self.key)
        for name in ("a.test", "other.test", ""):
            for default in ("", "b.test"):
                client = TLSMachine.client(support.careless_context(), name)
                support.shake(client, contexts.server(default))
                self.assertEqual(support.leaf_of(client), ["a.test"])

    def test_chain(self) -> None:
        """Certificates after the first are sent as its chain."""
        other = support.SelfSigned("issuer.test").write(support.temporary_directory(self))[0]
        with open(self.certificate, "ab") as file, open(other, "rb") as more:
            file.write(more.read())
        client = TLSMachine.client(support.careless_context(), "a.test")
        support.shake(client, ServerContexts.from_files(self.certificate, self.key).server())
        self.assertEqual(len(client.connection.get_peer_cert_chain() or []), 2)

    def test_unreadable(self) -> None:
        """A file that is not there, or not PEM, is named."""
        for path in (self.certificate, self.key):
            with open(path, "rb") as file:
                good = file.read()
            with open(path, "wb") as file:
                file.write(b"garbage")
            self.refused(path, "expected")
            os.unlink(path)
            self.refused(path, "expected")
            with open(path, "wb") as file:
                file.write(good)
        ServerContexts.from_files(self.certificate, self.key)

    def test_encrypted_key(self) -> None:
        """An encrypted key is refused; nobody is asked for a passphrase."""
        with open(self.key, "wb") as file:
            file.write(support.key_pem(support.SelfSigned().key, b"secret"))
        self.refused(self.key, "unencrypted")

    def test_mismatch(self) -> None:
        """A key of another certificate is refused."""
        with open(self.key, "wb") as file:
            file.write(support.key_pem(support.SelfSigned().key))
        self.refused(self.key, f"private key of {self.certificate}", "key values mismatch")
