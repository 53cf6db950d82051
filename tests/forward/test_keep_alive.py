"""Origins that close what has been idle for a time, and say so: C{Keep-Alive: timeout=N}."""

from __future__ import annotations

from fastcar_tw.testing import Peer

from .support import OK, POST, ProxyTestCase, answer, response

#: What an origin says that closes connections idle for two seconds.
TWO_SECONDS = response(b"200 OK", b"Keep-Alive: timeout=2", b"Content-Length: 2", body=b"hi")


class RaceTests(ProxyTestCase):
    """The origin closes a connection just when a request is sent on it."""

    def race(self, promise: bytes, seconds: float) -> Peer:
        """Have a POST sent when the connection has been idle for so long that the origin has
        decided to close it, but nothing of that has arrived; return the connection."""
        self.exchange(answered=promise)
        first = self.origin
        self.proxy.elapse(seconds)
        self.client.send(POST)
        first.close()
        return first

    def test_without_the_field(self) -> None:
        """Nobody can know: the POST is lost, and is not sent again."""
        first = self.race(OK, 2)
        self.assertEqual(first.received, POST)
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertEqual(answer(self.client.received).status, 502)

    def test_with_the_field(self) -> None:
        """The POST is sent on a new connection, in time for what is on its way."""
        for seconds in (1.9, 2, 2.1):
            self.start()
            first = self.race(TWO_SECONDS, seconds)
            self.assertEqual(first.received, b"")
            self.assertEqual(self.origin.take(), POST)
            self.origin.send(OK)
            self.assertEqual(self.client.received, OK)

    def test_time_begins_with_the_response(self) -> None:
        """It is the time since the last response, not since the connection was opened."""
        for _ in range(5):
            self.exchange(answered=TWO_SECONDS)
            self.proxy.elapse(0.5)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_long_time(self) -> None:
        """A connection is not used for longer than without the field."""
        self.start(idle_timeout=5)
        promise = TWO_SECONDS.replace(b"timeout=2", b"timeout=600")
        self.exchange(answered=promise)
        self.proxy.elapse(6.5)
        self.assertTrue(self.origin.closed)

    def test_last_word_counts(self) -> None:
        """What the latest response says counts."""
        self.exchange(answered=TWO_SECONDS.replace(b"timeout=2", b"timeout=600"))
        self.race(TWO_SECONDS, 2)
        self.assertEqual(len(self.proxy.connects), 2)
