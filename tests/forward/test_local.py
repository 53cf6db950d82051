"""Requests that fastcar answers itself."""

from __future__ import annotations

from .support import ProxyTestCase, answer, request


class LocalTests(ProxyTestCase):
    """Max-Forwards at its end (RFC 9110 section 7.6.2)."""

    def asked(self, asked: bytes) -> bytes:
        """What is answered; no origin is asked, and the connection ends."""
        self.client.send(asked)
        self.assertEqual(self.proxy.connects, [])
        self.assertTrue(self.client.ended_cleanly)
        return self.client.take()

    def test_trace(self) -> None:
        """TRACE at its last hop is reflected."""
        got = answer(self.asked(request(b"/x", b"Max-Forwards: 0", method=b"TRACE")))
        self.assertEqual((got.status, got.fields[b"content-type"]), (200, b"message/http"))
        self.assertTrue(got.body.startswith(b"TRACE /x HTTP/1.1\r\nHost: a.test\r\n"))
        self.assertEqual(int(got.fields[b"content-length"]), len(got.body))

    def test_trace_hides_credentials(self) -> None:
        """Nothing that might be a secret is reflected."""
        secrets = b"Authorization: s3cret", b"Cookie: s3cret", b"X-Token: s3cret"
        got = self.asked(request(b"/", b"Max-Forwards: 0", *secrets, method=b"TRACE"))
        self.assertNotIn(b"s3cret", got)

    def test_options(self) -> None:
        """OPTIONS at its last hop gets an empty 200."""
        got = answer(self.asked(request(b"*", b"Max-Forwards: 0", method=b"OPTIONS")))
        self.assertEqual((got.status, got.fields[b"content-length"], got.body), (200, b"0", b""))

    def test_counted_down(self) -> None:
        """With hops left the number is lowered and the request forwarded."""
        for method in (b"TRACE", b"OPTIONS"):
            got = self.exchange(request(b"/", b"Max-Forwards: 5", method=method))[0]
            self.assertEqual(got, request(b"/", b"Max-Forwards: 4", method=method))

    def test_other_methods(self) -> None:
        """Other methods are not counted."""
        asked = request(b"/", b"Max-Forwards: 0")
        self.assertEqual(self.exchange(asked)[0], asked)
