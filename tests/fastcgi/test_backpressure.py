"""Neither side can be made to hold more than a bounded part of what the other sends."""

from __future__ import annotations

from fastcar_tw.fastcgi.exchange import RESPONSE_MEMORY
from tests.forward.support import CHUNKED, answer, request

from .support import GatewayTestCase

MUCH = 4 << 20
#: What one connection may hold besides the system's buffers: a read, and what was made of it.
BOUND = 256 << 10
#: The same of one to a client, for which some may wait before the script has to.
RESPONSE_BOUND = RESPONSE_MEMORY + BOUND


class ResponseTests(GatewayTestCase):
    """The client does not read."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.gateway.client(capacity=8192)

    def flood(self, asked: bytes, head: bytes) -> None:
        """Ask without reading, and have a lot written."""
        self.client.send(asked)
        self.client.pause()
        self.child.stdout(head)
        self.child.stdout(b"x" * MUCH)

    def test_bounded(self) -> None:
        """php-fpm is not read, so that little is held, however the response is framed."""
        for asked, head in (
            (request(), b"A: b\r\n\r\n"),
            (request(), b"Content-Length: %d\r\n\r\n" % MUCH),
            (request(version=b"1.0"), b"A: b\r\n\r\n"),
        ):
            self.client = self.gateway.client(capacity=8192)
            self.flood(asked, head)
            self.assertTrue(self.child.transport.paused)
            self.assertLess(self.client.transport.buffered, RESPONSE_BOUND)
            self.assertGreater(len(self.child.unsent), MUCH // 2)

    def test_trickle(self) -> None:
        """Nor is more held while the client reads now and then."""
        self.flood(request(), b"A: b\r\n\r\n")
        for _ in range(200):
            self.client.read(4096)
            self.assertLess(self.client.transport.buffered, RESPONSE_BOUND)

    def test_goes_on(self) -> None:
        """When it reads again, everything arrives."""
        self.flood(request(), b"Content-Length: %d\r\n\r\n" % MUCH)
        self.child.end_request()
        self.client.resume()
        got = answer(self.client.take())
        self.assertEqual(got.body, b"x" * MUCH)
        self.client = self.gateway.client()
        self.alive()
        self.assertEqual(len(self.gateway.children), 1)

    def test_connection_given_back(self) -> None:
        """A response that is complete holds no child, though its client has not read it."""
        self.client.send(request())
        self.client.pause()
        self.child.answer(b"A: b\r\n\r\n" + b"x" * 60000)
        self.assertGreater(self.client.transport.buffered, 10000)
        other = self.gateway.client()
        self.alive(other)
        self.assertEqual(len(self.gateway.children), 1)

    def test_usual_pages(self) -> None:
        """Nor does one of usual size that is written piece by piece: the script never waits."""
        self.start(connections=1)
        self.client = self.gateway.client(capacity=4096)
        self.client.send(request())
        self.client.pause()
        self.child.stdout(b"A: b\r\n\r\n")
        for _ in range(50):
            self.child.stdout(b"x" * 4096)
            self.assertFalse(self.child.transport.paused)
        self.child.end_request()
        self.alive(self.gateway.client())
        self.assertEqual(len(self.gateway.children), 1)
        self.client.resume()
        self.assertTrue(self.client.received.endswith(b"x\r\n0\r\n\r\n"))

    def test_pipelined(self) -> None:
        """No further request of a client that does not read is begun."""
        self.start(connections=1)
        self.client = self.gateway.client(capacity=8192)
        self.client.send(request(b"/?1") + request(b"/?2"))
        self.client.pause()
        self.child.answer(b"A: b\r\n\r\n" + b"x" * 200000)
        self.assertEqual(len(self.child.requests), 1)
        self.client.resume()
        self.assertEqual(self.child.request.params[b"QUERY_STRING"], b"2")

    def test_discarded(self) -> None:
        """What a script writes behind a response that is answered by something else is not held."""
        self.client.send(request())
        self.child.stdout(b"X-Accel-Redirect: /x\r\n\r\n")
        for _ in range(64):
            self.child.stdout(b"x" * 65528)
        self.assertLess(self.held(), BOUND)

    def test_head_discarded(self) -> None:
        """Nor is the body that a HEAD's script writes."""
        self.client.send(request(method=b"HEAD"))
        self.child.stdout(b"A: b\r\n\r\n")
        for _ in range(64):
            self.child.stdout(b"x" * 65528)
        self.assertLess(self.held(), BOUND)

    def held(self) -> int:
        """Bytes of a response that wait in the only exchange."""
        (client,) = (
            each
            for each in self.gateway.gateway.clients
            if getattr(each, "_exchange", None) is not None
        )
        exchange = client._exchange  # type: ignore[attr-defined]
        return sum(map(len, exchange._response._pieces))


class RequestTests(GatewayTestCase):
    """The script does not read."""

    def upload(self) -> None:
        """Send a lot to a child that reads nothing after the head."""
        self.gateway.capacity = 8192
        self.client.send(request(b"/", b"Content-Length: %d" % MUCH, method=b"PUT"))
        self.child.pause()
        self.client.send(b"x" * MUCH)

    def test_bounded(self) -> None:
        """A client that streams is not read, so that little is held."""
        self.upload()
        self.assertTrue(self.client.transport.paused)
        self.assertLess(self.child.transport.buffered, BOUND)
        self.assertGreater(len(self.client.unsent), MUCH // 2)

    def test_full_at_once(self) -> None:
        """So it is if the head and what came with it have already filled the connection."""
        self.gateway.capacity = 4096
        self.gateway.accepting = False
        head = request(b"/", b"X: " + b"x" * 60000, b"Content-Length: %d" % MUCH, method=b"PUT")
        self.client.send(head[:-1])
        self.client.send(head[-1:] + b"x" * MUCH)
        child = self.gateway.attempts[0].accept(paused=True)
        self.assertTrue(self.client.transport.paused)
        self.assertGreater(len(self.client.unsent), MUCH // 2)
        child.resume()
        self.assertEqual(child.request.stdin, b"x" * MUCH)
        self.assertTrue(child.request.complete)

    def test_full_again(self) -> None:
        """Nor is more held while the script reads now and then."""
        self.upload()
        for _ in range(50):
            self.child.read(30000)
            self.assertLess(self.child.transport.buffered, BOUND)
            self.assertLess(MUCH - len(self.client.unsent), 50 * 30000 + BOUND)

    def test_goes_on(self) -> None:
        """When the script reads again, everything arrives."""
        self.upload()
        self.child.resume()
        self.assertEqual(self.child.request.stdin, b"x" * MUCH)
        self.assertTrue(self.child.request.complete)
        self.child.answer()
        self.assertEqual(answer(self.client.take()).status, 200)
        self.alive()

    def test_collected(self) -> None:
        """Of a body in a file no more is read than the script takes."""
        self.start(spool_memory=1000)
        self.gateway.capacity = 8192
        self.gateway.accepting = False
        body = b"%x\r\n" % MUCH + b"x" * MUCH + b"\r\n0\r\n\r\n"
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=body))
        self.gateway.reactor.peers.remove(self.client)  # it does not count here
        self.gateway.attempts[0].accept()
        self.gateway.reactor.peers.append(self.client)
        self.assertEqual(self.child.request.stdin, b"x" * MUCH)
        largest = max(map(len, self.child.transport.writes))
        self.assertLess(largest, BOUND)

    def test_collected_bounded(self) -> None:
        """A script that reads nothing of it costs little memory."""
        self.start(spool_memory=1000, connections=1)
        self.gateway.capacity = 8192
        child = self.warm()
        child.pause()
        body = b"%x\r\n" % MUCH + b"x" * MUCH + b"\r\n0\r\n\r\n"
        self.client.send(request(b"/", CHUNKED, method=b"POST", body=body))
        self.assertLess(child.transport.buffered, BOUND)
        self.assertLess(sum(map(len, child.transport.writes)), 2 * BOUND)
        child.resume()
        self.assertEqual(child.request.stdin, b"x" * MUCH)
        self.assertTrue(child.request.complete)

    def test_early_answer(self) -> None:
        """A script that answers without reading has its answer passed on meanwhile."""
        self.upload()
        self.child.stdout(b"A: b\r\n\r\nearly")
        self.assertTrue(self.client.received.endswith(b"early\r\n"))
        self.child.end_request()
        self.assertTrue(self.client.received.endswith(b"0\r\n\r\n"))
        # What it is still sending is read, so that it comes to read the response.
        self.assertFalse(self.client.transport.paused)
