"""The first byte of a connection decides what is spoken on it."""

from __future__ import annotations

from OpenSSL import SSL

from fastcar_tw.tls.machine import TLSMachine
from tests.forward.support import GET, OK, ProxyTestCase, answer, logged, request
from tests.tls.support import careless_context


class FrontTests(ProxyTestCase):
    """Sniffing."""

    def test_plain(self) -> None:
        """HTTP in the clear is served as http."""
        self.exchange()
        self.assertEqual(str(self.origin.origin), "http://a.test:80")

    def test_tls(self) -> None:
        """A TLS handshake is taken up, and what is inside served as https."""
        client = self.proxy.tls_client()
        client.send(GET)
        self.origin.send(OK)
        self.assertEqual(client.received, OK)
        self.assertEqual(str(self.origin.origin), "https://a.test:443")

    def test_first_byte_alone(self) -> None:
        """One byte is enough to decide, and may come alone."""
        for asked in (GET, request(b"/2")):
            for piece in (asked[:1], asked[1:2], asked[2:]):
                self.client.send(piece)
            self.assertEqual(self.origin.take(), asked)
            self.origin.send(OK)

    def test_handshake_byte_by_byte(self) -> None:
        """A handshake may come byte by byte."""
        client = self.proxy.client()
        client.machine = TLSMachine.client(careless_context(), "a.test")
        for byte in client.machine.start():
            client.send_raw(bytes([byte]))
        self.assertTrue(client.machine.ready)
        client.send(GET)
        self.assertEqual(self.origin.received, GET)

    def test_verified_by_the_client(self) -> None:
        """A client that trusts the local CA accepts the certificate for the name it asks for."""
        client = self.proxy.tls_client("php.example")
        assert client.machine is not None
        self.assertIsNone(client.failure)
        self.assertTrue(client.machine.ready)

    def test_refused_by_the_client(self) -> None:
        """A client that refuses our certificate is one line in the log, and hurts nobody."""
        context = careless_context()
        context.set_verify(SSL.VERIFY_PEER)
        lines = logged(lambda: self.proxy.tls_client(context=context))
        [line] = lines
        self.assertRegex(line, "^client TLS failed: .*unknown")
        self.assertEqual(len(self.proxy.forwarder.clients), 1)
        self.alive()

    def test_garbage_in_the_handshake(self) -> None:
        """So is one that sends garbage in its handshake."""
        client = self.proxy.client()
        [line] = logged(lambda: client.send(b"\x16garbage garbage garbage"))
        self.assertTrue(line.startswith("client TLS failed: "))
        self.assertTrue(client.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 1)
        self.alive()

    def test_old_version(self) -> None:
        """A client that offers nothing newer than TLS 1.1 is refused."""
        client = self.proxy.client()
        hello = b"\x03\x02" + bytes(32) + b"\x00\x00\x02\xc0\x13\x01\x00"
        message = b"\x01" + len(hello).to_bytes(3, "big") + hello
        record = b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message
        self.assertEqual(len(logged(lambda: client.send(record))), 1)
        self.assertTrue(client.received.startswith(b"\x15"))
        self.assertTrue(client.closed)

    def test_gone_in_the_handshake(self) -> None:
        """A client that goes away in its handshake is nothing to talk about."""
        client = self.proxy.client()
        client.send(b"\x16\x03\x01")
        self.assertEqual(logged(client.close), [])
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_half_closed_in_the_handshake(self) -> None:
        """Nor is one that ends its sending there."""
        client = self.proxy.client()
        client.send(b"\x16\x03\x01")
        client.end()
        self.assertTrue(client.closed)

    def test_half_closed_before_the_first_byte(self) -> None:
        """A client that ends before it has said anything is let go."""
        self.client.end()
        self.assertTrue(self.client.closed)

    def test_silent_clients_cost_only_themselves(self) -> None:
        """Many silent clients do not keep others from being served."""
        silent = [self.proxy.client() for _ in range(50)]
        for client in silent[::2]:
            client.send(b"\x16")
        self.alive()
        self.proxy.elapse(20)
        self.assertTrue(all(client.closed for client in silent))

    def test_data_with_the_end_of_the_handshake(self) -> None:
        """A request that comes with the last message of the handshake is served."""
        client = self.proxy.client()
        machine = TLSMachine.client(careless_context(), "a.test")
        client.send_raw(machine.start())
        machine.receive(client.take())
        self.assertTrue(machine.ready)
        client.send_raw(machine.outgoing() + machine.send(GET))
        self.assertEqual(self.origin.received, GET)

    def test_plain_http_in_tls(self) -> None:
        """Plain HTTP sent on a connection where TLS is spoken ends it."""
        client = self.proxy.tls_client()
        client.send_raw(GET * 300)  # its first bytes tell of a record of 8 KiB
        self.assertTrue(client.closed)
        self.assertEqual(self.proxy.connects, [])

    def test_truncated_tls(self) -> None:
        """A client that ends TLS without close_notify in its request has not finished it."""
        client = self.proxy.tls_client()
        client.send(request(b"/", b"Content-Length: 5", method=b"POST") + b"he")
        client.end(notify=False)
        self.assertTrue(self.origin.aborted)
        self.assertTrue(client.closed)

    def test_broken_record_under_a_response(self) -> None:
        """A broken record ends the exchange, also when the client reads nothing more."""
        client = self.proxy.tls_client()
        client.send(GET)
        client.pause()
        self.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + bytes(500000))
        client.send_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.assertTrue(client.closed)
        self.assertTrue(self.origin.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_http_error_in_tls(self) -> None:
        """A broken request inside TLS is answered inside TLS, and ended with close_notify."""
        client = self.proxy.tls_client()
        client.send(b"BROKEN\r\n\r\n")
        self.assertEqual(answer(client.received).status, 400)
        self.assertTrue(client.ended_cleanly)
