"""When a request is sent a second time, and when it must not be."""

from __future__ import annotations

from fastcar_tw.upstream.backends import Backend
from tests.forward.support import CHUNKED, answer, request

from .support import PAGE, Child, GatewayTestCase, logged, stderr

POST = request(method=b"POST", body=b"hello")
CHUNKED_POST = request(b"/", CHUNKED, method=b"POST", body=b"5\r\nhello\r\n0\r\n\r\n")
KEY = b"Idempotency-Key: 1"


class RetryTests(GatewayTestCase):
    """A connection that ends just when it is used again."""

    def lose(self, asked: bytes) -> Child:
        """Send a request to a child that reads it and goes; return the first child."""
        child = self.warm()
        self.client.send(asked)
        self.assertEqual(len(child.requests), 2)
        child.close()
        return child

    def repeated(self) -> None:
        """Check that the request has come to another child, and is answered."""
        self.assertEqual(len(self.gateway.children), 2)
        self.child.answer(PAGE)
        self.assertEqual(answer(self.client.take()).status, 200)
        self.alive()

    def failed(self, children: int = 1) -> None:
        """Check that it has not."""
        self.assertEqual(len(self.gateway.children), children)
        self.assertEqual(answer(self.client.take()).status, 502)

    def test_idempotent(self) -> None:
        """A request that may be repeated is, on a new connection, with the same variables."""
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
            self.start()
            child = self.lose(request(b"/?x", method=method))
            self.assertEqual(self.child.request.params, child.request.params)
            self.assertTrue(self.child.request.complete)
            self.repeated()

    def test_logged(self) -> None:
        """That is logged, without a warning."""
        child = self.warm()
        self.client.send(request())
        (line,) = logged(child.close)
        self.assertIn("sent again on a new connection", line)

    def test_not_idempotent(self) -> None:
        """A POST that was sent is not repeated, nor any request with a body."""
        for asked in (
            POST,
            CHUNKED_POST,
            request(b"/", b"Content-Length: 0", method=b"POST"),
            request(method=b"PATCH"),
            request(method=b"PUT", body=b"hello"),
        ):
            self.start()
            self.lose(asked)
            self.failed()

    def test_idempotency_key(self) -> None:
        """A client that says that it may be repeated is believed; its body is sent again."""
        for asked in (
            request(b"/", KEY, method=b"POST", body=b"hello"),
            request(b"/", KEY, CHUNKED, method=b"POST", body=b"5\r\nhello\r\n0\r\n\r\n"),
            request(b"/", KEY, method=b"PUT", body=b"hello"),
        ):
            self.start()
            self.lose(asked)
            self.assertEqual(self.child.request.stdin, b"hello")
            self.assertEqual(self.child.request.params[b"CONTENT_LENGTH"], b"5")
            self.assertTrue(self.child.request.complete)
            self.repeated()

    def test_file_again(self) -> None:
        """A body in a file is sent again from its beginning."""
        self.start(spool_memory=1000)
        content = bytes(range(256)) * 2000
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        self.lose(request(b"/", KEY, CHUNKED, method=b"POST", body=body))
        self.assertEqual(self.child.request.stdin, content)
        self.repeated()

    def test_streamed_lost(self) -> None:
        """A body that was streamed in pieces is gone, so it cannot be sent again."""
        child = self.warm()
        self.client.send(request(b"/", KEY, b"Content-Length: 3", method=b"PUT") + b"a")
        self.client.send(b"b")
        self.client.send(b"c")
        self.assertTrue(child.request.complete)
        child.close()
        self.failed()

    def test_incomplete(self) -> None:
        """A request that is not complete is not repeated."""
        child = self.warm()
        self.client.send(request(b"/", KEY, b"Content-Length: 3", method=b"PUT") + b"a")
        child.close()
        self.failed()

    def test_fresh(self) -> None:
        """A connection that was opened for the request and fails it will do so again: no."""
        self.client.send(request())
        self.child.close()
        self.failed()

    def test_once(self) -> None:
        """It is repeated once only, and that not on another connection that has served."""
        self.start(connections=3)
        others = [self.gateway.client() for _ in range(2)]
        for client in others:
            client.send(request())
        for child in list(self.gateway.children):
            child.answer(PAGE)
        self.assertEqual(len(self.gateway.children), 2)
        self.client.send(request(b"/?x"))
        (busy,) = (each for each in self.gateway.children if len(each.requests) == 2)
        busy.close()
        self.assertEqual(len(self.gateway.children), 3)
        self.assertEqual(self.child.request.params[b"QUERY_STRING"], b"x")
        self.child.close()
        self.failed(children=3)

    def test_unsent(self) -> None:
        """What was not sent at all can be sent again, whatever it is: once."""
        for asked in (
            request(),
            POST,
            CHUNKED_POST,
            request(method=b"PUT", body=b"hello"),
            request(b"/", b"Content-Length: 9", method=b"PUT") + b"half",
        ):
            for again in (False, True):
                self.start()
                self.gateway.accepting = False
                self.client.send(asked)
                self.gateway.attempts[0].accept(gone=True)
                self.assertEqual(self.client.take(), b"")
                child = self.gateway.attempts[1].accept(gone=again)
                if again:
                    self.assertEqual(answer(self.client.take()).status, 502)
                    self.assertEqual(len(self.gateway.attempts), 2)
                else:
                    body = asked.partition(b"\r\n\r\n")[2]
                    self.assertIn(child.request.stdin, (body, b"hello"))
                    child.answer(PAGE)
                    self.assertEqual(answer(self.client.take()).status, 200)

    def test_answered(self) -> None:
        """Who has said anything has begun to work: no."""
        for said in (stderr(b"x"), b"", None):
            self.start()
            child = self.warm()
            self.client.send(request())
            if said is None:
                child.stdout(b"A: b\r\n")
            elif said:
                child.send(said)
            child.close()
            if said == b"":
                self.repeated()
            else:
                self.failed()

    def test_found_dead(self) -> None:
        """A connection that has ended before is not used for what could not be repeated."""
        for asked in (POST, CHUNKED_POST, request(method=b"PUT", body=b"hello")):
            self.start()
            child = self.warm()
            child.vanish()
            self.client.send(asked)
            self.assertEqual(len(self.gateway.children), 2)
            self.assertEqual(self.child.request.stdin, b"hello")
            self.child.answer(PAGE)
            self.assertEqual(answer(self.client.take()).status, 200)

    def test_recycled(self) -> None:
        """A child that goes after its last request, as pm.max_requests has it, costs nobody."""
        for asked in (request(), POST):
            self.start()
            self.warm().close()
            self.client.send(asked)
            self.repeated()


class FailoverTests(GatewayTestCase):
    """Two php-fpm that do the same."""

    def setUp(self) -> None:
        self.one, self.two = Backend(path="/run/one"), Backend(path="/run/two")
        self.start(fpm=("unix:/run/one", "unix:/run/two"), connections=1)

    def test_spread(self) -> None:
        """Requests go to both."""
        clients = [self.gateway.client() for _ in range(2)]
        for client in clients:
            client.send(request())
        self.assertEqual({each.backend for each in self.gateway.children}, {self.one, self.two})

    def test_refused(self) -> None:
        """Where one refuses, the other serves, whatever the request: nothing was sent."""
        for asked in (request(), POST, CHUNKED_POST, request(method=b"PUT", body=b"hello")):
            self.setUp()
            self.gateway.refusing = {self.one}
            for _ in range(3):
                self.client.send(asked)
                self.assertEqual(self.child.backend, self.two)
                self.child.answer(PAGE)
                self.assertEqual(answer(self.client.take()).status, 200)

    def test_both_refuse(self) -> None:
        """Where both refuse, both are tried, and the client is told."""
        self.gateway.refusing = {self.one, self.two}
        self.client.send(request())
        self.assertEqual({each.backend for each in self.gateway.attempts}, {self.one, self.two})
        self.assertEqual(len(self.gateway.attempts), 2)
        self.assertEqual(answer(self.client.take()).status, 502)

    def test_timeout(self) -> None:
        """One that does not accept is as one that refuses."""
        self.gateway.accepting = False
        self.client.send(request())
        self.gateway.accepting = True
        self.gateway.elapse(6)
        self.assertEqual(len(self.gateway.attempts), 2)
        self.child.answer(PAGE)
        self.assertEqual(answer(self.client.take()).status, 200)

    def test_not_after_sent(self) -> None:
        """A request that one has failed is not given to the other."""
        self.client.send(request())
        self.child.close()
        self.assertEqual(answer(self.client.take()).status, 502)
        self.assertEqual(len(self.gateway.attempts), 1)

    def test_sent_again(self) -> None:
        """What is sent again goes to nobody's kept connection, also if there is no new one."""
        self.gateway.accepting = False
        other = self.gateway.client()
        self.client.send(request(b"/?1"))
        other.send(request(b"/?2"))
        for child in [each.accept() for each in self.gateway.attempts]:
            child.answer()
        self.client.send(request(b"/?3"))
        used, kept = sorted(self.gateway.children, key=lambda each: -len(each.requests))
        used.close()
        self.gateway.attempts[-1].refuse()
        self.assertEqual(len(kept.requests), 1)

    def test_sent_again_elsewhere(self) -> None:
        """What is sent again goes to another than the one that has just failed."""
        self.client.send(request(b"/?1"))
        first = self.child
        first.answer(PAGE)
        self.client.take()
        self.client.send(request(b"/?2"))
        self.gateway.refusing = {first.backend}
        first.close()
        self.assertNotEqual(self.child.backend, first.backend)
        self.child.answer(PAGE)
        self.assertEqual(answer(self.client.take()).status, 200)

    def test_one_line(self) -> None:
        """A child that comes free serves who came first, wherever that one asked."""
        clients = [self.gateway.client() for _ in range(4)]
        for number, client in enumerate(clients):
            client.send(request(b"/?%d" % number))
        first, second = self.gateway.children
        second.answer(PAGE)
        self.assertEqual(second.request.params[b"QUERY_STRING"], b"2")
        second.answer(PAGE)
        self.assertEqual(second.request.params[b"QUERY_STRING"], b"3")
        self.assertEqual(len(first.requests), 1)

    def test_queue(self) -> None:
        """Who has waited for too long does not wait again for the other."""
        for _ in range(2):
            self.gateway.client().send(request())
        self.client.send(request())
        self.gateway.elapse(11.5)
        self.assertEqual(answer(self.client.take()).status, 503)
