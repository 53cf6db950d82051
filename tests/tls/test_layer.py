"""TLS as a layer of a connection, inside a whole proxy."""

from __future__ import annotations

from OpenSSL import SSL

from fastcar_tw.testing import Peer
from fastcar_tw.tls.layer import MAX_UNASKED
from fastcar_tw.tls.machine import TLSMachine
from tests.forward.support import GET, OK, POST, ProxyTestCase, answer
from tests.tls.support import RecordWriter, SelfSigned, careless_context

#: Content types of records (RFC 8446 section 5.1).
HANDSHAKE, APPLICATION_DATA = 22, 23
#: A KeyUpdate that asks for one in return (RFC 8446 section 4.6.3).
KEY_UPDATE = b"\x18\x00\x00\x01\x01"


class KeyUpdateTests(ProxyTestCase):
    """Clients that change their keys, and ask the proxy to do so, by records written by hand."""

    writer: RecordWriter

    def setUp(self) -> None:
        """Shake hands, and note the keys."""
        super().setUp()
        secrets: dict[bytes, bytes] = {}

        def keep(connection: SSL.Connection, line: bytes) -> None:
            label, _, secret = line.split()
            secrets[label] = bytes.fromhex(secret.decode("ascii"))

        self.client.close()
        context = careless_context()
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
        context.set_keylog_callback(keep)
        self.client = self.proxy.tls_client(context=context)
        self.writer = RecordWriter(secrets[b"CLIENT_TRAFFIC_SECRET_0"])

    def key_updates(self, count: int) -> bytes:
        """So many changes of keys."""
        records = []
        for _ in range(count):
            records.append(self.writer.record(HANDSHAKE, KEY_UPDATE))
            self.writer.update()
        return b"".join(records)

    def served(self, client: Peer) -> None:
        """The next request is answered."""
        client.send_raw(self.writer.record(APPLICATION_DATA, GET))
        self.assertEqual(self.origin.take(), GET)
        self.origin.send(OK)
        self.assertEqual(client.take(), OK)

    def test_a_few(self) -> None:
        """A few are made, and the client is served as before, at any time."""
        self.served(self.client)
        for _ in range(10):
            self.client.send_raw(self.key_updates(5))
            self.served(self.client)

    def test_flood(self) -> None:
        """A client that asks for them without end, and reads none, is broken off before its
        answers fill the memory."""
        self.client.pause()
        for _ in range(MAX_UNASKED // 100):
            self.client.send_raw(self.key_updates(5))
            self.assertLessEqual(self.client.transport.buffered, MAX_UNASKED)
            if self.client.closed:
                break
        self.assertTrue(self.client.aborted and self.client.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 0)


class HastyServer(TLSMachine):
    """A server that says something with the last of its handshake, before it was asked anything."""

    __slots__ = ("_said",)

    def outgoing(self) -> bytes:
        """What TLS has to say, and once what it has to say itself."""
        data = super().outgoing()
        if self.ready and not hasattr(self, "_said"):
            self._said = True
            data += self.send(OK)
        return data


class HastyServerTests(ProxyTestCase):
    """Origins that speak before they have been asked."""

    def test_answer_before_the_request(self) -> None:
        """A response that comes with the end of the handshake answers no request, which is not
        even sent."""
        self.start(insecure_origins=("a.test",))
        self.proxy.accepting = False
        self.client = self.proxy.tls_client()
        self.client.send(POST)
        context = SelfSigned("a.test").context()
        # There the last word of the handshake is the server's.
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        origin = self.proxy.connects[-1].accept(HastyServer.server(context))
        got = answer(self.client.take())
        self.assertEqual(got.status, 502)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=tls_protocol_error")
        self.assertIn(b"sent data before it was asked", got.body)
        self.assertEqual((origin.received, origin.closed), (b"", True))
