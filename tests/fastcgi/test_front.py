"""Who speaks on a new client connection: the first byte says."""

from __future__ import annotations

from typing import Any

from fastcar_tw.testing import Peer
from tests.fastcgi.support import OK, GatewayTestCase, logged
from tests.forward.support import answer, request

#: The first bytes of a TLS record that holds a handshake.
HANDSHAKE = b"\x16\x03\x01\x02\x00"


class FrontTests(GatewayTestCase):
    """TLS and HTTP at one place."""

    def https(self, client: Peer) -> bytes | None:
        """Have a script run; return its HTTPS."""
        client.send(request())
        variables = self.child.request.params
        self.child.answer(OK)
        self.assertEqual(answer(client.take()).body, b"hi")
        return variables.get(b"HTTPS")

    def test_first_byte(self) -> None:
        """A client that begins with a handshake gets TLS, any other HTTP."""
        self.assertIsNone(self.https(self.client))
        self.assertEqual(self.https(self.gateway.client(tls=True)), b"on")

    def test_tls_on_a_unix_socket(self) -> None:
        """It is the same there."""
        self.assertEqual(self.https(self.gateway.client(None, tls=True)), b"on")

    def test_name_does_not_matter(self) -> None:
        """There is one certificate, for whatever name is asked."""
        client = self.gateway.client(tls=True)
        assert client.machine is not None
        machine: Any = client.machine
        certificate = machine.connection.get_peer_certificate()
        self.assertIsNotNone(certificate)

    def test_without_a_certificate(self) -> None:
        """Without one a handshake is no HTTP."""
        self.gateway.gateway.server_contexts = None
        client = self.gateway.client()
        client.send(HANDSHAKE)
        self.gateway.elapse(self.gateway.config.client_timeout + 1.5)
        self.assertTrue(client.ended)
        self.assertIn(answer(client.take()).status, (400, 408))

    def test_silence(self) -> None:
        """Who says nothing, or does not get on with the handshake, is not waited for."""
        half = self.gateway.client()
        half.send(HANDSHAKE)
        for client in (self.client, half):
            self.assertFalse(client.ended)
        self.gateway.elapse(self.gateway.config.client_timeout + 1.5)
        for client in (self.client, half):
            self.assertTrue(client.closed)
        self.assertEqual(self.gateway.gateway.clients, set())

    def test_broken_handshake(self) -> None:
        """A handshake that fails is a line of the log."""
        [line] = logged(lambda: self.client.send(HANDSHAKE + b"x" * 600))
        self.assertTrue(line.startswith("client TLS failed: "), line)
        self.assertEqual(self.gateway.gateway.clients, set())

    def test_peer(self) -> None:
        """The address of a client is that of its connection, also without a certificate."""
        for contexts in (self.gateway.gateway.server_contexts, None):
            self.gateway.gateway.server_contexts = contexts
            client = self.gateway.client(("198.51.100.7", 1234))
            client.send(request())
            variables = self.child.request.params
            self.child.answer(OK)
            self.assertEqual(
                (variables[b"REMOTE_ADDR"], variables[b"REMOTE_PORT"]), (b"198.51.100.7", b"1234")
            )
