"""Interim responses (RFC 9110 section 15.2) and Expect (section 10.1.1)."""

from __future__ import annotations

from fastcar_tw.http.head import MAX_INTERIM

from .support import GET, OK, ProxyTestCase, answer, request, response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class InterimTests(ProxyTestCase):
    """Responses that are not the last."""

    def test_relayed_at_once(self) -> None:
        """100, 102, 103 and unknown ones are passed on when they come, asked for or not."""
        self.client.send(GET)
        for status in (b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Odd"):
            self.origin.send(response(status, b"Link: </x>"))
            self.assertEqual(self.client.take(), response(status, b"Link: </x>"))
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.alive()

    def test_not_to_1_0(self) -> None:
        """A client of HTTP/1.0 gets none."""
        self.client.send(request(version=b"1.0"))
        self.origin.send(CONTINUE + response(b"103 Early Hints"))
        self.assertEqual(self.client.received, b"")
        self.origin.send(response(b"200 OK", b"Content-Length: 0"))
        self.assertEqual(
            self.client.received, response(b"200 OK", b"Content-Length: 0", b"Connection: close")
        )

    def test_framing_fields_are_cut(self) -> None:
        """Content-Length and Transfer-Encoding have no business in one (RFC 9110 section 8.6)."""
        self.client.send(GET)
        self.origin.send(response(b"103 Hints", b"Content-Length: 2", b"Connection: close"))
        self.assertEqual(self.client.take(), response(b"103 Hints"))
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)

    def test_too_many(self) -> None:
        """More than a handful is an attack, and becomes a 502."""
        self.client.send(GET)
        self.origin.send(CONTINUE * (MAX_INTERIM + 1))
        self.assertEqual(answer(self.client.received[len(CONTINUE) * MAX_INTERIM :]).status, 502)
        self.assertTrue(self.origin.closed)

    def test_as_many_as_allowed(self) -> None:
        """The limit itself is allowed, for each response anew."""
        for _ in range(2):
            got = self.exchange(GET, CONTINUE * MAX_INTERIM + OK)[1]
            self.assertEqual(got, CONTINUE * MAX_INTERIM + OK)

    def test_no_final_response(self) -> None:
        """An origin that ends after an interim response has not answered."""
        self.client.send(GET)
        self.origin.send(CONTINUE)
        self.origin.close()
        self.assertEqual(answer(self.client.received[len(CONTINUE) :]).status, 502)


class ExpectTests(ProxyTestCase):
    """A client that waits for 100 before it sends its body."""

    HEAD = request(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST")

    def test_continue(self) -> None:
        """The head goes out with Expect, 100 comes back, then the body goes."""
        self.client.send(self.HEAD)
        self.assertEqual(self.origin.take(), self.HEAD)
        self.origin.send(CONTINUE)
        self.assertEqual(self.client.take(), CONTINUE)
        self.client.send(b"hello")
        self.assertEqual(self.origin.take(), b"hello")
        self.origin.send(OK)
        self.assertEqual(self.client.take(), OK)
        self.alive()

    def test_final_status(self) -> None:
        """A final status in place of 100 is delivered, and both connections end."""
        self.client.send(self.HEAD)
        self.origin.send(response(b"417 Expectation Failed", b"Content-Length: 0"))
        self.assertEqual(
            self.client.received,
            response(b"417 Expectation Failed", b"Content-Length: 0", b"Connection: close"),
        )
        self.assertTrue(self.client.ended_cleanly)
        self.assertTrue(self.origin.closed)

    def test_body_without_waiting(self) -> None:
        """A client may send its body before 100 has come."""
        self.client.send(self.HEAD)
        self.client.send(b"hello")
        self.assertEqual(self.origin.received, self.HEAD + b"hello")
        self.origin.send(CONTINUE + OK)
        self.assertEqual(self.client.received, CONTINUE + OK)

    def test_unreachable_origin(self) -> None:
        """When the origin cannot be reached the client learns it without sending its body."""
        self.proxy.accepting = False
        self.client.send(self.HEAD)
        self.proxy.connects[0].refuse()
        got = answer(self.client.received)
        self.assertEqual(got.status, 502)
        self.assertEqual(got.fields[b"connection"], b"close")
