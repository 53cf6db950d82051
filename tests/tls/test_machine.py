"""`fastcar_tw.tls.machine` in memory: pairs of machines, and hand-made input."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.tls.machine import OVERHEAD, RECORD, SLICE, TLSError, TLSMachine
from fastcar_tw.tls.policy import new_context
from tests.tls import support

SELF_SIGNED = support.SelfSigned()
VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}


def server_context() -> SSL.Context:
    context = new_context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(SELF_SIGNED.certificate)
    context.use_privatekey(SELF_SIGNED.key)
    return context


def pairs() -> list[tuple[TLSMachine, TLSMachine]]:
    """A client and a server after the handshake, for each TLS version."""
    return [
        support.shaken(server_context(), support.careless_context(version))
        for version in VERSIONS.values()
    ]


class HandshakeTests(SynchronousTestCase):
    """From the first byte to `ready`."""

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are both spoken."""
        spoken = [client.connection.get_protocol_version_name() for client, _ in pairs()]
        self.assertEqual(spoken, list(VERSIONS))

    def test_one_byte_at_a_time(self) -> None:
        """The handshake may come in pieces of any size, here single bytes, in both directions."""
        for version in VERSIONS.values():
            client = TLSMachine.client(support.careless_context(version), "a.test")
            server = TLSMachine.server(server_context())
            data, receiver, sender = client.start(), server, client
            while data:
                for octet in data:
                    self.assertEqual(receiver.receive(bytes([octet])), b"")
                receiver, sender = sender, receiver
                data = sender.outgoing()
            self.assertTrue(client.ready and server.ready)
            self.assertEqual(server.receive(client.send(b"hello")), b"hello")

    def test_data_with_last_flight(self) -> None:
        """Data in the same read as the end of the handshake comes out of that very call."""
        client = TLSMachine.client(support.careless_context(SSL.TLS1_3_VERSION), "a.test")
        server = TLSMachine.server(server_context())
        server.receive(client.start())
        client.receive(server.outgoing())
        self.assertTrue(client.ready)
        flight = client.outgoing() + client.send(b"x" * 40000)
        self.assertEqual(server.receive(flight), b"x" * 40000)
        self.assertTrue(server.ready)

    def test_partial_record_with_last_flight(self) -> None:
        """A record that only begins in the read that ends the handshake is finished later."""
        for cut in range(1, 30):
            client = TLSMachine.client(support.careless_context(SSL.TLS1_3_VERSION), "a.test")
            server = TLSMachine.server(server_context())
            server.receive(client.start())
            client.receive(server.outgoing())
            flight, data = client.outgoing(), client.send(b"hello")
            plaintext = server.receive(flight + data[:cut]) + server.receive(data[cut:])
            self.assertEqual(plaintext, b"hello")

    def test_send_collects_last_flight(self) -> None:
        """What the handshake left to be sent goes out before the data of a send."""
        client = TLSMachine.client(support.careless_context(SSL.TLS1_3_VERSION), "a.test")
        server = TLSMachine.server(server_context())
        server.receive(client.start())
        client.receive(server.outgoing())
        self.assertEqual(server.receive(client.send(b"hello")), b"hello")

    def test_send_before_ready(self) -> None:
        """Nothing is sent before the handshake is done, not even kept for later."""
        client = TLSMachine.client(support.careless_context(), "a.test")
        server = TLSMachine.server(server_context())
        self.assertRaises(TLSError, client.send, b"secret")
        support.shake(client, server)
        self.assertEqual(server.receive(client.send(b"open")), b"open")

    def test_nothing_received(self) -> None:
        """An empty read changes nothing, before and after the handshake."""
        server = TLSMachine.server(server_context())
        self.assertEqual((server.receive(b""), server.outgoing()), (b"", b""))
        for client, server in pairs():
            self.assertEqual((server.receive(b""), server.outgoing()), (b"", b""))
            self.assertEqual(client.send(b""), b"")

    def test_verify_comes_before_ready(self) -> None:
        """The verification sees the peer's certificate while sending is still refused."""
        seen: list[bool] = []

        def verify(connection: SSL.Connection) -> None:
            self.assertIsNotNone(connection.get_peer_certificate())
            self.assertRaises(TLSError, client.send, b"early")
            seen.append(client.ready)

        client = TLSMachine.client(support.careless_context(), "a.test", verify)
        support.shake(client, TLSMachine.server(server_context()))
        self.assertEqual((seen, client.ready), ([False], True))

    def test_verify_refuses(self) -> None:
        """A refused peer gets no application byte, and gives none."""

        def verify(connection: SSL.Connection) -> None:
            raise TLSError("no", certificate_error=True)

        client = TLSMachine.client(support.careless_context(SSL.TLS1_3_VERSION), "a.test", verify)
        server = TLSMachine.server(server_context())
        server.receive(client.start())
        self.assertIs(support.failure(self, client, server.outgoing()).certificate_error, True)
        self.assertFalse(client.ready)
        self.assertRaises(TLSError, client.send, b"secret")
        self.assertEqual(server.receive(client.outgoing()), b"")
        self.assertEqual(client.receive(server.outgoing() + server.send(b"reply")), b"")


class DataTests(SynchronousTestCase):
    """Application data after the handshake."""

    def test_sizes(self) -> None:
        """Data of every size around the limits of records and slices passes both ways."""
        sizes = [1, 2, RECORD - 1, RECORD, RECORD + 1, 2 * RECORD, SLICE, SLICE + 1, 300001]
        for client, server in pairs():
            for size in sizes:
                data = os.urandom(size)
                self.assertEqual(server.receive(client.send(data)), data)
                self.assertEqual(client.receive(server.send(data)), data)

    def test_small_fragments(self) -> None:
        """A context that writes partially, record by record, loses nothing."""
        context = SELF_SIGNED.context()  # as pyOpenSSL makes it: partial writes
        client, server = support.shaken(context)
        data = os.urandom(100000)
        for size in (20000, len(data)):
            self.assertEqual(client.receive(server.send(data[:size])), data[:size])

    def test_many_records_at_once(self) -> None:
        """All records of one read come out of it, in order."""
        for client, server in pairs():
            messages = [bytes([n]) * n for n in range(1, 40)]
            wire = b"".join(client.send(message) for message in messages)
            self.assertEqual(server.receive(wire), b"".join(messages))

    @given(st.lists(st.integers(1, 200), max_size=60), st.sampled_from(list(VERSIONS)))
    @settings(max_examples=60, deadline=None)
    def test_any_chunks(self, cuts: list[int], version: str) -> None:
        """However the bytes are cut, the same plaintext comes out, each record when complete."""
        client, server = support.shaken(
            server_context(), support.careless_context(VERSIONS[version])
        )
        messages = [b"first", b"", b"x" * 700, b"last one"]
        wire = b"".join(client.send(message) for message in messages)
        plaintext = b""
        for size in cuts:
            plaintext += server.receive(wire[:size])
            wire = wire[size:]
        self.assertEqual(plaintext + server.receive(wire), b"".join(messages))

    def test_record_comes_when_complete(self) -> None:
        """The byte that completes a record brings its plaintext, not a later one."""
        for client, server in pairs():
            wire = client.send(b"hello")
            self.assertEqual(server.receive(wire[:-1]), b"")
            self.assertEqual(server.receive(wire[-1:]), b"hello")

    def test_tickets_are_no_data(self) -> None:
        """Tickets give no plaintext, alone or before data in the same read."""
        client = TLSMachine.client(support.careless_context(SSL.TLS1_3_VERSION), "a.test")
        server = TLSMachine.server(server_context())
        server.receive(client.start())
        client.receive(server.outgoing())
        server.receive(client.outgoing())
        tickets = server.outgoing()
        self.assertEqual(client.receive(tickets[:10]), b"")
        self.assertEqual(client.receive(tickets[10:] + server.send(b"hello")), b"hello")
        self.assertEqual(client.outgoing(), b"")

    def test_empty_records(self) -> None:
        """Records without content are allowed (RFC 8446 section 5.1) and give nothing."""
        writer, server = support.hand_written(server_context())
        self.assertEqual(server.receive(writer.record(23, b"")), b"")
        wire = writer.record(23, b"") + writer.record(23, b"hello") + writer.record(23, b"")
        self.assertEqual(server.receive(wire), b"hello")

    def test_key_update(self) -> None:
        """A KeyUpdate (RFC 8446 section 4.6.3) is answered, and data goes on under new keys."""
        for before, after in ((b"", b""), (b"one", b"two")):
            writer, server = support.hand_written(server_context())
            server.send(b"with tickets")
            wire = writer.record(23, before) + writer.record(22, b"\x18\x00\x00\x01\x01")
            writer.update()
            wire += writer.record(23, after)
            self.assertEqual(server.receive(wire), before + after)
            answer = server.outgoing() + server.send(b"answer")
            self.assertEqual(answer[:5] + answer[27:30], b"\x17\x03\x03\x00\x16\x17\x03\x03")
            self.assertEqual(server.outgoing(), b"")
            self.assertEqual(server.receive(writer.record(23, b"three")), b"three")

    def test_tickets_go_with_the_first_data(self) -> None:
        """After a TLS 1.3 handshake a server has nothing to say before its first data; then it
        says all of it; in TLS 1.2 the client waits for its Finished."""
        for version, silent in ((SSL.TLS1_3_VERSION, True), (SSL.TLS1_2_VERSION, False)):
            client = TLSMachine.client(support.careless_context(version), "a.test")
            server = TLSMachine.server(server_context())
            server.receive(client.start())
            client.receive(server.outgoing())
            server.receive(client.outgoing())
            self.assertTrue(server.ready)
            self.assertEqual(server.outgoing() == b"", silent)
            if silent:
                self.assertEqual(client.receive(server.send(b"hi")), b"hi")

    def test_output_fits(self) -> None:
        """The room for overhead holds what encryption adds to a whole slice."""
        for client, _ in pairs():
            self.assertLess(len(client.send(bytes(SLICE))) - SLICE, OVERHEAD)


class EndTests(SynchronousTestCase):
    """close_notify, truncation and failures."""

    def test_close_notify(self) -> None:
        """close_notify, even in the same read as data, sets `closed` and loses nothing."""
        for client, server in pairs():
            self.assertFalse(server.closed)
            self.assertEqual(server.receive(client.send(b"bye") + client.shutdown()), b"bye")
            self.assertTrue(server.closed)

    def test_half_close(self) -> None:
        """After the peer's close_notify data can still be sent to it (RFC 8446 section 6.1)."""
        for client, server in pairs():
            server.receive(client.shutdown())
            self.assertEqual(client.receive(server.send(b"still here")), b"still here")
            self.assertEqual(client.receive(server.shutdown()), b"")
            self.assertTrue(client.closed)

    def test_truncation(self) -> None:
        """Without close_notify, or with half of it, `closed` stays false."""
        for client, server in pairs():
            server.receive(client.send(b"half of a mess"))
            server.receive(client.shutdown()[:-1])
            self.assertFalse(server.closed)

    def test_data_after_close_notify(self) -> None:
        """What follows close_notify is ignored (RFC 8446 section 6.1)."""
        writer, server = support.hand_written(server_context())
        self.assertEqual(server.receive(writer.record(21, b"\x01\x00")), b"")
        self.assertEqual(server.receive(writer.record(23, b"late")), b"")
        self.assertTrue(server.closed)

    def test_shutdown_any_time(self) -> None:
        """A shutdown is said once, and harmless before the handshake and after a failure."""
        self.assertEqual(TLSMachine.server(server_context()).shutdown(), b"")
        for client, server in pairs():
            self.assertNotEqual(client.shutdown(), b"")
            self.assertEqual(client.shutdown(), b"")
            self.assertRaises(TLSError, client.send, b"after")
            support.failure(self, server, b"\x17\x03\x03\x00\x20" + bytes(32))
            server.shutdown()

    def test_forged_record(self) -> None:
        """A changed byte fails the connection once; nothing passes after that."""
        for client, server in pairs():
            wire = bytearray(client.send(b"hello"))
            wire[-1] ^= 1
            error = support.failure(self, server, bytes(wire))
            self.assertIn("bad record mac", error.reason)
            self.assertFalse(server.ready)
            self.assertEqual(server.receive(client.send(b"again")), b"")
            self.assertRaises(TLSError, server.send, b"answer")
            refused = support.failure(self, client, server.outgoing())
            self.assertEqual(refused.reason, "the peer sent the alert 'bad record mac'")
            self.assertTrue(refused.alert_received)

    def test_garbage(self) -> None:
        """Anything but a ClientHello fails with an alert, a short reason and no other error."""
        for garbage, reason in (
            (b"GET / HTTP/1.1\r\n\r\n", "http request"),
            (b"\x16" * 100, "wrong version number"),
            (b"\x16\x03\x01\x00\x05hello", "unexpected message"),
            (b"\x16\x03\x01\xff\xff", "length too long"),
            (b"\x17\x03\x03\x00\x01x", "unexpected message"),
            (bytes(64), "wrong version number"),
        ):
            server = TLSMachine.server(server_context())
            error = support.failure(self, server, garbage)
            self.assertIn(reason, error.reason)
            self.assertFalse(error.certificate_error or error.alert_received)
            self.assertEqual(server.receive(b"more"), b"")

    @given(st.binary(min_size=1, max_size=400))
    @settings(max_examples=200, deadline=None)
    def test_any_garbage(self, data: bytes) -> None:
        """No first bytes whatever raise anything but TLSError, or make the machine ready."""
        server = TLSMachine.server(server_context())
        try:
            self.assertEqual(server.receive(b"\x16\x03\x01" + data), b"")
        except TLSError as error:
            self.assertTrue(error.reason)
        self.assertFalse(server.ready)

    def test_truncated_hello(self) -> None:
        """A ClientHello cut anywhere is waited for, without output."""
        hello = TLSMachine.client(support.careless_context(), "a.test").start()
        for size in range(len(hello)):
            server = TLSMachine.server(server_context())
            self.assertEqual(server.receive(hello[:size]), b"")
            self.assertEqual(server.outgoing(), b"")

    def test_alert_is_sent(self) -> None:
        """A failure leaves the alert that tells the peer of it."""
        server = TLSMachine.server(server_context())
        support.failure(self, server, b"\x16\x03\x01\x00\x05hello")
        self.assertEqual(support.sent_alert(server), support.UNEXPECTED_MESSAGE)

    def test_old_versions(self) -> None:
        """A client of TLS 1.0 or 1.1 only is refused by protocol_version (RFC 8996)."""
        for version in (b"\x03\x01", b"\x03\x02"):
            server = TLSMachine.server(server_context())
            support.failure(self, server, support.client_hello(version=version))
            self.assertEqual(support.sent_alert(server), support.PROTOCOL_VERSION)

    def test_client_rejects_certificate(self) -> None:
        """A client that does not trust us tells by alert, in both versions."""
        for version in VERSIONS.values():
            context = support.careless_context(version)
            context.set_verify(SSL.VERIFY_PEER)
            client = TLSMachine.client(context, "a.test")
            server = TLSMachine.server(server_context())
            server.receive(client.start())
            self.assertTrue(support.failure(self, client, server.outgoing()).certificate_error)
            error = support.failure(self, server, client.outgoing())
            self.assertEqual(error.reason, "the peer sent the alert 'unknown ca'")
            self.assertTrue(error.alert_received)
            self.assertFalse(error.certificate_error)

    def test_close_notify_in_handshake(self) -> None:
        """close_notify in the middle of the handshake is a failure, not a clean end."""
        server = TLSMachine.server(server_context())
        server.receive(support.client_hello(version=b"\x03\x03"))
        error = support.failure(self, server, b"\x15\x03\x03\x00\x02\x01\x00")
        self.assertEqual(error.reason, "the peer closed the connection")
        self.assertTrue(error.alert_received)
        self.assertFalse(server.closed or server.ready)

    def test_renegotiation(self) -> None:
        """A client's renegotiation is refused by an alert (RFC 5246 section 7.2.2)."""
        client, server = support.shaken(
            server_context(), support.careless_context(SSL.TLS1_2_VERSION)
        )
        client.connection.renegotiate()
        self.assertRaises(SSL.WantReadError, client.connection.do_handshake)
        self.assertEqual(server.receive(client.connection.bio_read(9999)), b"")
        error = support.failure(self, client, server.outgoing())
        self.assertIn("no renegotiation", error.reason)
        self.assertTrue(server.ready)
