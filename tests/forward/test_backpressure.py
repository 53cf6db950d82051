"""Back-pressure: a side that does not read makes the other side wait, and nothing grows."""

from __future__ import annotations

from fastcar_tw.downstream.http1 import MAX_EARLY
from fastcar_tw.testing import Peer

from .support import CHUNKED, GET, OK, POST, ProxyTestCase, answer, request, response

MUCH = bytes(range(256)) * (1 << 14)  # 4 MiB
#: The most the proxy may hold for one side: what it has read at once beyond a full buffer.
BOUND = 256 * 1024


class DownloadTests(ProxyTestCase):
    """A client that does not read."""

    def download(self, client: Peer) -> Peer:
        """Have a large response under way to a client that does not read."""
        client.pause()
        client.send(GET)
        origin = self.origin
        origin.take()
        origin.send(response(b"200 OK", b"Content-Length: %d" % len(MUCH), body=MUCH))
        return origin

    def check(self, client: Peer) -> None:
        """The origin waits, little is held, and all arrives in the end."""
        origin = self.download(client)
        self.assertTrue(origin.transport.paused)
        self.assertGreater(len(origin.unsent), len(MUCH) // 2)
        self.assertLess(client.transport.buffered, BOUND)
        client.resume()
        self.assertTrue(client.take().endswith(MUCH))
        self.assertFalse(origin.unsent)
        self.assertFalse(origin.transport.paused)
        self.alive(client)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_plain(self) -> None:
        """The origin is paused while the client does not read, and the connection kept."""
        self.check(self.client)

    def test_tls(self) -> None:
        """The same inside TLS."""
        self.check(self.proxy.tls_client())

    def test_in_small_steps(self) -> None:
        """A client that reads a little at a time gets everything, and little is held throughout."""
        client = self.proxy.client(capacity=8192)
        origin = self.download(client)
        most = 0
        while origin.unsent:
            client.read(65536)
            most = max(most, client.transport.buffered)
        self.assertLess(most, BOUND)
        client.resume()
        self.assertTrue(client.received.endswith(MUCH))

    def test_chunked(self) -> None:
        """A chunked download waits as well."""
        self.client.pause()
        self.client.send(GET)
        chunks = b"10000\r\n%b\r\n" % bytes(65536)
        self.origin.send(response(b"200 OK", CHUNKED) + chunks * 64 + b"0\r\n\r\n")
        self.assertTrue(self.origin.transport.paused)
        self.assertLess(self.client.transport.buffered, BOUND)
        self.client.resume()
        self.assertTrue(self.client.received.endswith(b"\r\n0\r\n\r\n"))
        self.alive()

    def test_close_delimited(self) -> None:
        """So does one that ends with the connection."""
        client = self.proxy.client()
        client.pause()
        client.send(request(version=b"1.0"))
        self.origin.send(response(b"200 OK", body=MUCH))
        self.origin.end()
        self.assertTrue(self.origin.transport.paused)
        client.resume()
        self.assertTrue(client.received.endswith(MUCH))
        self.assertTrue(client.ended_cleanly)

    def test_last_response(self) -> None:
        """A connection that ends with a response which has filled the buffer is closed when all
        of it is read."""
        client = self.proxy.client(capacity=8192)
        client.pause()
        client.send(request(b"/", b"Connection: close"))
        body = bytes(2 * 65536 - 1000)
        self.origin.send(response(b"200 OK", b"Content-Length: %d" % len(body), body=body))
        self.assertFalse(self.origin.unsent or self.origin.transport.paused)
        self.assertGreater(client.transport.buffered, 65536)
        client.resume()
        self.assertTrue(client.received.endswith(body))
        self.assertTrue(client.ended_cleanly and client.closed)

    def test_early_response(self) -> None:
        """The same of a response that came before the request was complete: it is half-closed."""
        client = self.proxy.client(capacity=8192)
        client.pause()
        client.send(request(b"/", b"Content-Length: 9", method=b"POST"))
        body = bytes(2 * 65536 - 1000)
        self.origin.send(response(b"200 OK", b"Content-Length: %d" % len(body), body=body))
        self.assertGreater(client.transport.buffered, 65536)
        client.resume()
        self.assertTrue(client.received.endswith(body))
        self.assertTrue(client.ended_cleanly)
        self.assertFalse(client.closed)

    def test_next_client_is_not_paused(self) -> None:
        """An origin's connection is not left paused by the client before."""
        self.test_plain()
        other = self.proxy.client()
        self.alive(other)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_next_request_of_a_client_that_does_not_read(self) -> None:
        """A request behind an unread response waits with all it would bring."""
        self.client.pause()
        small = bytes(1 << 19)
        self.client.send(GET * 3)
        for _ in range(3):
            self.origin.take()
            self.origin.send(response(b"200 OK", b"Content-Length: %d" % len(small), body=small))
            self.assertLess(self.client.transport.buffered, BOUND)
        self.assertTrue(self.origin.unsent)
        self.client.resume()
        while len(self.client.received) < 3 * len(small):
            self.assertEqual(self.origin.take(), GET)
            self.origin.send(response(b"200 OK", b"Content-Length: %d" % len(small), body=small))

    def test_request_sent_after_the_client_stopped_reading(self) -> None:
        """A request that comes while the client's buffer is full does not fill it further."""
        self.client.pause()
        self.client.send(GET)
        size = 100_000
        while self.client.transport.buffered <= 65536:
            self.assertEqual(self.origin.take(), GET)
            self.origin.send(response(b"200 OK", b"Content-Length: %d" % size, body=bytes(size)))
            self.client.send(GET)
        self.assertEqual(self.origin.received, b"")
        self.client.resume()
        self.assertEqual(self.origin.take(), GET)
        self.origin.send(OK)
        self.assertTrue(self.client.received.endswith(OK))

    def test_failures_for_a_client_that_does_not_read(self) -> None:
        """Requests that fail at once do not pile up their error responses either."""
        self.start(fail_fast_after=0)
        self.client = self.proxy.client(capacity=8192)
        self.client.pause()
        bad = b"GET https://-/%b HTTP/1.1\r\nHost: -\r\n\r\n" % (b"x" * 300)
        self.client.send(bad * 1000)
        self.assertTrue(self.client.unsent)
        self.assertLess(self.client.transport.buffered, BOUND)
        self.client.resume()
        self.assertFalse(self.client.unsent)
        self.assertEqual(self.client.received.count(b"HTTP/1.1 502"), 1000)


class UploadTests(ProxyTestCase):
    """An origin that does not read."""

    def upload(self, client: Peer, *fields: bytes) -> Peer:
        """Have a large request under way to an origin that does not read."""
        client.send(request(b"/", *fields, b"Content-Length: %d" % len(MUCH), method=b"PUT"))
        origin = self.origin
        origin.take()
        origin.pause()
        client.send(MUCH)
        return origin

    def check(self, client: Peer) -> None:
        """The client waits, little is held, and all arrives in the end."""
        origin = self.upload(client)
        self.assertTrue(client.transport.paused)
        self.assertGreater(len(client.unsent), len(MUCH) // 2)
        self.assertLess(origin.transport.buffered, BOUND)
        origin.resume()
        self.assertEqual(origin.take(), MUCH)
        origin.send(OK)
        self.assertEqual(client.take(), OK)
        self.assertFalse(client.transport.paused)
        self.alive(client)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_plain(self) -> None:
        """The client is paused while the origin does not read, and its connection kept."""
        self.check(self.client)

    def test_tls(self) -> None:
        """The same inside TLS."""
        self.check(self.proxy.tls_client())

    def test_chunked(self) -> None:
        """A chunked upload waits as well."""
        self.client.send(request(b"/", CHUNKED, method=b"PUT"))
        self.origin.pause()
        self.client.send((b"10000\r\n%b\r\n" % bytes(65536)) * 64 + b"0\r\n\r\n")
        self.assertTrue(self.client.transport.paused)
        self.assertLess(self.origin.transport.buffered, BOUND)
        self.origin.resume()
        self.assertTrue(self.origin.received.endswith(b"\r\n0\r\n\r\n"))
        self.origin.send(OK)
        self.alive()

    def test_before_there_is_a_connection(self) -> None:
        """Until there is a connection the client is not read."""
        self.proxy.accepting = False
        self.client.send(request(method=b"PUT", body=MUCH))
        self.assertTrue(self.client.transport.paused)
        self.assertGreater(len(self.client.unsent), len(MUCH) // 2)
        self.proxy.connects[0].accept()
        self.assertTrue(self.origin.received.endswith(MUCH))
        self.assertFalse(self.client.transport.paused)

    def held(self) -> tuple[Peer, Peer]:
        """A client whose whole request is with the proxy, and an origin that has not read it."""
        client = self.proxy.client()
        size = 300_000
        client.send(request(b"/", b"Content-Length: %d" % size, method=b"PUT"))
        origin = self.origin
        origin.pause()
        client.send(bytes(size))
        while not client.transport.protocol._exchange.request_complete:
            origin.read(4096)
        self.assertTrue(client.transport.paused)
        self.assertGreater(origin.transport.buffered, 0)
        return client, origin

    def test_response_before_the_upload_has_left(self) -> None:
        """An origin that answers before it has read what we hold is not reused, and the client is
        not left paused."""
        client, origin = self.held()
        origin.send(OK)
        self.assertEqual(client.take(), OK)
        self.assertTrue(origin.closed)
        self.assertFalse(client.transport.paused)
        self.alive(client)

    def test_origin_gone_before_the_upload_has_left(self) -> None:
        """A client is not left paused by an origin that went away."""
        client, origin = self.held()
        origin.close()
        self.assertEqual(answer(client.take()).status, 502)
        self.assertFalse(client.transport.paused)
        self.alive(client)


class PipeliningTests(ProxyTestCase):
    """Requests that come before they can be served."""

    def test_early_requests_are_bounded(self) -> None:
        """While a request is served only so much of the next ones is read."""
        self.client.send(GET)
        self.client.send(GET * 50000)
        self.assertTrue(self.client.unsent)
        self.assertTrue(self.client.transport.paused)
        self.assertLess(len(self.client.transport.protocol._buffer), 2 * MAX_EARLY + 65536)

    def test_bound_holds_while_serving(self) -> None:
        """Serving one of them does not lift the bound."""
        self.client.send(GET * 50000)
        for _ in range(200):
            self.origin.send(OK)
            self.assertLess(len(self.client.transport.protocol._buffer), 2 * MAX_EARLY)
        self.assertTrue(self.client.unsent)

    def test_all_are_served(self) -> None:
        """Nothing is lost over the pauses."""
        count = 4000
        self.client.send(GET * count)
        for _ in range(count):
            self.assertEqual(self.origin.take(), GET)
            self.origin.send(OK)
        self.assertEqual(self.client.take(), OK * count)
        self.assertFalse(self.client.transport.paused)
        self.alive()

    def test_half_closed_client_that_reads_slowly(self) -> None:
        """A client that ends its sending while it does not read has all its requests served."""
        whole = response(b"200 OK", b"Content-Length: 100000", body=bytes(100_000))
        for client in (self.proxy.client(capacity=8192), self.proxy.tls_client(capacity=8192)):
            client.pause()
            client.send(GET * 3)
            client.end()
            for _ in range(3):
                self.assertEqual(self.origin.take(), GET)
                self.origin.send(whole)
                self.assertGreater(client.transport.buffered, 65536)
                client.resume()
                client.pause()
            client.resume()
            self.assertEqual(client.received, whole * 3)
            self.assertTrue(client.ended_cleanly and client.closed)

    def test_end_while_nothing_is_read(self) -> None:
        """So has one that ends it between two of them, with the first response unread."""
        whole = response(b"200 OK", b"Content-Length: 100000", body=bytes(100_000))
        for client in (self.proxy.client(capacity=8192), self.proxy.tls_client(capacity=8192)):
            client.pause()
            client.send(GET * 2)
            self.assertEqual(self.origin.take(), GET)
            self.origin.send(whole)
            client.end()
            self.assertEqual(self.origin.received, b"")
            client.resume()
            self.assertEqual(self.origin.take(), GET)
            self.origin.send(OK)
            self.assertEqual(client.received, whole + OK)
            self.assertTrue(client.ended_cleanly and client.closed)

    def test_behind_an_upload(self) -> None:
        """What comes behind an upload is bounded too."""
        self.client.send(POST + GET * 50000)
        self.assertTrue(self.client.unsent)
        self.origin.take()
        self.origin.send(OK)
        self.assertEqual(self.origin.take(), GET)
