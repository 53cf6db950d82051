"""Requests of a pool's clients that are not carried out, where the framing has a response for
that: the client learns why, and goes on."""

from __future__ import annotations

from functools import partial
from typing import Any

from .support import REFUSING, SIGNS, VISITOR, End, MemoryBackend, RelayTestCase, logged

BACKEND = "unix:/run/backend-0.sock"
REFUSED = b"-NO connection refused\n"
FAILING = b"-NO not tried again yet after repeated failures; the last: connection refused\n"
FULL = b"-NO too many requests wait for a connection\n"
LATE = b"-NO no connection came free in time\n"


class RefusingTestCase(RelayTestCase):
    """Has such a framing."""

    def setUp(self) -> None:
        self.start()

    def start(self, **options: Any) -> None:
        super().start(**{"framing": REFUSING, **options})

    @property
    def backend(self) -> MemoryBackend:
        """The first one."""
        return self.relay.backends[0]

    def down(self, **options: Any) -> None:
        """Begin anew, with a backend that refuses connections."""
        self.start(**options)
        self.backend.refusing = True

    def left_alone(self, **options: Any) -> None:
        """Begin anew, with one that is not even tried."""
        self.down(**{"fail_fast_after": 1, **options})
        self.relay.client().send(b"first\n")

    def up_again(self) -> None:
        """Let it accept connections, and be known to."""
        self.backend.refusing = False
        self.relay.elapse(3.0)

    def busy(self, **options: Any) -> End:
        """Begin anew, with another client that has the only connection."""
        self.start(**options)
        other = self.relay.client()
        other.send(b"busy\n")
        self.assertEqual(self.connection.take(), b"busy\n")
        return other

    def check(self, expected: bytes, client: End | None = None) -> None:
        """Check that the client has got that, and is there."""
        client = client or self.client
        self.assertEqual(client.take(), expected)
        self.assertFalse(client.ended)


class ReasonTests(RefusingTestCase):
    """Why a request may be refused."""

    def test_not_connected(self) -> None:
        """No backend can be reached: it is told without a name, and logged with it."""
        self.down()
        lines = logged(lambda: self.client.send(b"a\n"))
        self.assertEqual(lines, [f"{VISITOR}: {BACKEND}: connection refused; refused"])
        self.check(REFUSED)
        self.up_again()
        self.exchange(b"b\n", b"B\n")

    def test_left_alone(self) -> None:
        """They have failed too often, and are not tried yet."""
        self.left_alone()
        lines = logged(lambda: self.client.send(b"a\n"))
        what = "not tried again yet after repeated failures; the last: connection refused"
        self.assertEqual(lines, [f"{VISITOR}: {BACKEND}: {what}; refused"])
        self.check(FAILING)
        self.assertEqual(len(self.backend.attempts), 1)
        self.up_again()
        self.exchange(b"b\n", b"B\n")

    def test_all_left_alone(self) -> None:
        """All of several: which of them that is goes into the log only."""
        self.start(backends=2, fail_fast_after=1)
        for backend in self.relay.backends:
            backend.refusing = True
        for _ in range(3):
            lines = logged(lambda: self.client.send(b"a\n"))
            self.assertTrue(lines[-1].startswith(f"{VISITOR}: unix:/run/backend-"), lines)
            told = self.client.take()
            self.assertIn(told, (REFUSED, FAILING))
        self.assertEqual(told, FAILING)

    def test_full(self) -> None:
        """Too many wait already: those go on waiting."""
        other = self.busy(max_queue=1)
        waiting = self.relay.client()
        waiting.send(b"waiting\n")
        lines = logged(lambda: self.client.send(b"a\n"))
        what = "too many requests wait for a connection"
        self.assertEqual(lines, [f"{VISITOR}: {BACKEND}: {what}; refused"])
        self.check(FULL)
        self.connection.send(b"BUSY\n")
        self.check(b"BUSY\n", other)
        self.assertEqual(self.connection.take(), b"waiting\n")
        self.connection.send(b"WAITED\n")
        self.check(b"WAITED\n", waiting)
        self.exchange(b"b\n", b"B\n")

    def test_late(self) -> None:
        """No connection came free in time: it is not sent later, either."""
        self.busy(queue_timeout=4.0, response_timeout=60.0)
        self.client.send(b"a\n")
        self.relay.elapse(3.5)
        self.check(b"")
        lines = logged(lambda: self.relay.elapse(1.0))
        what = "no connection came free in time"
        self.assertEqual(lines, [f"{VISITOR}: {BACKEND}: {what}; refused"])
        self.check(LATE)
        self.connection.send(b"BUSY\n")
        self.assertEqual(self.connection.take(), b"")
        self.exchange(b"b\n", b"B\n")

    def test_no_words(self) -> None:
        """If the framing has no response for it, the client is closed, whatever the reason."""
        self.busy(framing=SIGNS, max_queue=0)
        lines = logged(lambda: self.client.send(b"a\n"))
        what = "too many requests wait for a connection"
        self.assertEqual(lines, [f"{VISITOR}: {BACKEND}: {what}; closed"])
        self.assertTrue(self.client.aborted)
        self.busy(framing=SIGNS, queue_timeout=4.0)
        self.client.send(b"a\n")
        self.relay.elapse(4.5)
        self.assertTrue(self.client.aborted)
        for begin in (self.down, self.left_alone):
            begin(framing=SIGNS)
            self.client.send(b"a\n")
            self.assertTrue(self.client.aborted)
            self.assertEqual(self.client.take(), b"")

    def test_owed(self) -> None:
        """What was sent may have happened: its client is closed, and nothing is invented."""
        for sent in (b"", b"A", b"A\nB"):
            self.start()
            self.client.send(b"a\nb\n")
            self.connection.send(sent)
            self.connection.close()
            self.assertEqual(self.client.take(), sent)
            self.assertTrue(self.client.closed)
        self.start(response_timeout=4.0)
        self.client.send(b"a\n")
        self.relay.elapse(4.5)
        self.assertEqual(self.client.take(), b"")
        self.assertTrue(self.client.aborted)


class OrderTests(RefusingTestCase):
    """Each request has its own response, in order."""

    def test_each(self) -> None:
        """One for each that was sent together, and one line in the log for all."""
        for begin, refusal in ((self.down, REFUSED), (self.left_alone, FAILING)):
            begin()
            lines = logged(lambda: self.client.send(b"a\nb\nc\nd"))
            self.assertEqual(len(lines), 1, lines)
            self.check(3 * refusal)
            self.up_again()
            self.client.send(b"\n")
            self.assertEqual(self.connection.take(), b"d\n")

    def test_behind_responses(self) -> None:
        """Those behind others are refused after the responses to these."""
        self.client.send(b"a\n")
        self.client.send(b"b\nc\n")
        self.backend.refusing = True
        self.connection.unsent = b"A\n"
        self.connection.end()
        self.check(b"A\n" + 2 * REFUSED)

    def test_behind_a_long_response(self) -> None:
        """They are not even asked for before the client has taken these."""
        client = self.client = self.relay.client(capacity=8192)
        client.send(b"a\n")
        client.send(b"b\n")
        client.pause()
        self.connection.send(b"A" * 500_000)
        self.backend.refusing = True
        self.connection.unsent = b"\n"
        self.connection.end()
        self.assertEqual(len(self.backend.attempts), 1)
        client.resume()
        self.check(b"A" * 500_000 + b"\n" + REFUSED)

    def test_waiting_behind(self) -> None:
        """Those that come while others wait are another's turn."""
        self.busy(queue_timeout=4.0, response_timeout=60.0)
        self.client.send(b"a\n")
        self.client.send(b"b\n")
        self.relay.elapse(4.5)
        self.check(LATE)
        self.connection.send(b"BUSY\n")
        self.assertEqual(self.connection.take(), b"b\n")
        self.connection.send(b"B\n")
        self.check(b"B\n")

    def test_last(self) -> None:
        """Who asks to leave gets all of them, and is then told good-bye."""
        self.down()
        self.client.send(b"a\nb\n.\n")
        self.assertEqual(self.client.take(), 2 * REFUSED + b"bye\n")
        self.assertTrue(self.client.ended_cleanly)

    def test_half_closed(self) -> None:
        """Who has ended its sending gets all of them, and then the end."""
        self.backend.accepting = False
        self.client.send(b"a\nb\n")
        self.client.end()
        self.backend.attempts[0].refuse()
        self.assertEqual(self.client.take(), 2 * REFUSED)
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.relay.relay.clients, set())

    def test_draining(self) -> None:
        """So does who is taken leave of."""
        self.backend.accepting = False
        self.client.send(b"a\n")
        drained = self.relay.drain()
        self.assertNoResult(drained)
        self.backend.attempts[0].refuse()
        self.assertEqual(self.client.take(), REFUSED)
        self.assertTrue(self.client.ended_cleanly)
        self.successResultOf(drained)

    def test_left(self) -> None:
        """Who has gone is told nothing, and nothing of it stays."""
        self.backend.accepting = False
        self.client.send(b"a\n")
        self.client.vanish()
        self.assertEqual(logged(self.backend.attempts[0].refuse)[1:], [])
        self.relay.elapse(1.0)
        total = self.relay.pool.stats().total
        self.assertEqual((total.waiting, total.queued), (0, 0))


class MultitudeTests(RefusingTestCase):
    """Many requests, each of which is refused by itself."""

    #: Each ends something, so that it is not sent together with the next.
    one = b"-\n"
    many = 10_000

    def test_at_once(self) -> None:
        """If that is so at once, they need no stack."""
        self.left_alone()
        self.client.send(self.one * self.many)
        self.check(FAILING * self.many)
        self.busy(max_queue=0)
        self.client.send(self.one * self.many)
        self.check(FULL * self.many)

    def test_one_by_one(self) -> None:
        """So it is if each is tried."""
        self.down(fail_fast_after=0)
        self.client.send(self.one * 2000)
        self.check(REFUSED * 2000)
        self.assertEqual(len(self.backend.attempts), 2000)

    def test_together(self) -> None:
        """Many that could be sent together are tried together."""
        self.down(fail_fast_after=0)
        self.client.send(b"a\n" * self.many)
        self.check(REFUSED * self.many)
        self.assertLess(len(self.backend.attempts), self.many // 100)

    def test_unread(self) -> None:
        """They wait, as the client's other requests do, while it does not take its responses."""
        self.left_alone()
        client = self.client = self.relay.client(capacity=8192)
        client.pause()
        client.send(self.one * self.many)
        self.relay.elapse(0.1)
        self.assertLess(client.transport.buffered, 200_000)
        client.resume()
        self.check(FAILING * self.many)

    def test_never_read(self) -> None:
        """A client that takes nothing of them is closed in time."""
        self.busy(max_queue=0, client_timeout=4.0, response_timeout=60.0)
        client = self.client = self.relay.client(capacity=8192)
        client.pause()
        client.send(self.one * self.many)
        self.relay.elapse(3.5)
        self.assertFalse(client.closed)
        # What the system has taken in the meantime does not count twice.
        lines = logged(lambda: self.relay.elapse(5.0))
        self.assertEqual(lines, [f"{VISITOR}: does not take its responses; closed"])
        self.assertTrue(client.aborted)


class TimeTests(RefusingTestCase):
    """How long clients may stay that were refused."""

    def check_in(self, seconds: float, lines: list[str]) -> None:
        """Check that the client is closed after so many seconds, not before, and what is logged."""
        self.assertEqual(logged(lambda: self.relay.elapse(seconds - 0.5)), [])
        self.assertFalse(self.client.closed)
        self.assertEqual(logged(lambda: self.relay.elapse(1.0)), lines)
        self.assertTrue(self.client.closed)

    def test_idle(self) -> None:
        """As long as any that is owed nothing."""
        for begin in (self.down, self.left_alone):
            begin(idle_timeout=100.0, client_timeout=5.0, fail_fast_after=1)
            self.client.send(b"a\n")
            self.backend.refusing = False
            self.relay.elapse(3.0)
            self.client.send(b"#\n")
            self.check_in(100.0, [])

    def test_half_request(self) -> None:
        """In the middle of a request, as any other."""
        for begin in (self.down, self.left_alone):
            begin(client_timeout=5.0)
            self.client.send(b"a\nb")
            self.backend.accepting, self.backend.refusing = False, False
            self.check_in(5.0, [f"{VISITOR}: is silent in the middle of a request; closed"])


class TransactionTests(RefusingTestCase):
    """Requests that belong together."""

    def test_whole(self) -> None:
        """If all of them were sent together, each is refused."""
        for begin, refusal in ((self.down, REFUSED), (self.left_alone, FAILING)):
            begin()
            self.client.send(b"+\na\nb\n-\n")
            self.check(4 * refusal)
            self.up_again()
            self.exchange(b"c\n", b"C\n")

    def test_begun(self) -> None:
        """If there may be more, it must not be taken for requests of their own: the client is
        told, and closed, and what it still sends is dropped."""
        for begin, refusal in ((self.down, REFUSED), (self.left_alone, FAILING)):
            for requests in (b"+\n", b"a\n+\n", b"+\na\nb\n"):
                begin(client_timeout=4.0)
                lines = logged(partial(self.client.send, requests))
                self.assertTrue(lines[-1].endswith("connection refused; closed"), lines)
                self.assertEqual(self.client.take(), requests.count(b"\n") * refusal)
                self.assertTrue(self.client.output_ended)
                self.up_again()
                self.client.send(b"c\n-\nd\n")
                self.assertEqual(self.client.take(), b"")
                self.assertEqual(b"".join(each.received for each in self.relay.connections), b"")
                self.relay.elapse(2.0)
                self.assertTrue(self.client.aborted)

    def test_begun_and_behind(self) -> None:
        """What had come already is dropped as well."""
        self.backend.accepting = False
        self.client.send(b"+\n")
        self.client.send(b"a\n-\nb\n")
        self.backend.attempts[0].refuse()
        self.assertEqual(self.client.take(), REFUSED)
        self.assertTrue(self.client.output_ended)
        self.client.close()
        self.assertEqual(len(self.backend.attempts), 1)
        self.assertEqual(self.relay.relay.clients, set())

    def test_begun_without_words(self) -> None:
        """Without a response for it, there is none for this either."""
        self.down(framing=SIGNS)
        self.client.send(b"+\n")
        self.assertTrue(self.client.aborted)
        self.assertEqual(self.client.take(), b"")


class OwnTests(RefusingTestCase):
    """Clients that need a connection of their own."""

    def test_told(self) -> None:
        """One is told once, and closed: what it still sends would have been the backend's."""
        for begin, refusal in ((self.down, REFUSED), (self.left_alone, FAILING)):
            begin()
            lines = logged(lambda: self.client.send(b"!\nb\nc\n"))
            self.assertTrue(lines[-1].startswith(f"{VISITOR}: {BACKEND}: "), lines)
            self.assertTrue(lines[-1].endswith("connection refused; closed"), lines)
            self.assertEqual(self.client.take(), refusal)
            self.assertTrue(self.client.output_ended)
            self.up_again()
            before = len(self.relay.relay.clients)
            self.client.send(b"d\n")
            self.client.close()
            self.assertEqual(self.client.take(), b"")
            self.assertEqual(len(self.relay.relay.clients), before - 1)
            self.assertEqual(b"".join(each.received for each in self.relay.connections), b"")

    def test_behind(self) -> None:
        """What comes before is refused by itself."""
        self.left_alone()
        self.client.send(b"a\nb\n!\nc\n")
        self.assertEqual(self.client.take(), 3 * FAILING)
        self.assertTrue(self.client.output_ended)

    def test_half_closed(self) -> None:
        """One that has ended its sending is told, too."""
        self.backend.accepting = False
        self.client.send(b"!\n")
        self.client.end()
        self.backend.attempts[0].refuse()
        self.assertEqual(self.client.take(), REFUSED)
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.relay.relay.clients, set())

    def test_stays(self) -> None:
        """One that does not go is broken off."""
        self.down(client_timeout=4.0)
        self.client.send(b"!\n")
        self.relay.elapse(3.5)
        self.assertFalse(self.client.closed)
        self.relay.elapse(1.0)
        self.assertTrue(self.client.aborted)

    def test_no_words(self) -> None:
        """Without a response for it, it is closed."""
        for options in ({"framing": SIGNS}, {"pool": None}):
            self.down(**options)
            self.client.send(b"!\n")
            self.assertTrue(self.client.aborted)
            self.assertEqual(self.client.take(), b"")


class InvalidTests(RefusingTestCase):
    """What is no request."""

    NONE = b"-NO expected no question\n"

    def test_told(self) -> None:
        """The client is told, and closed."""
        self.client.send(b"?\n")
        self.assertEqual(self.client.take(), self.NONE)
        self.assertTrue(self.client.output_ended)
        self.client.send(b"a\n")
        self.assertEqual(self.relay.connections, [])
        self.client.close()
        self.assertEqual(self.client.take(), b"")
        self.assertEqual(self.relay.relay.clients, set())

    def test_too_large(self) -> None:
        """So it is of one that is too large, at once."""
        self.start(max_frame=8)
        self.client.send(b"123456789")
        told = b"-NO expected a frame of 1 to 8 bytes (--max-frame)\n"
        self.assertEqual(self.client.take(), told)
        self.assertTrue(self.client.output_ended)

    def test_behind(self) -> None:
        """It is told after what came before was answered, or refused."""
        for pieces in ([b"a\n", b"?\n"], [b"a\n?\n"]):
            self.start()
            for piece in pieces:
                self.client.send(piece)
            self.assertEqual(self.client.take(), b"")
            self.connection.send(b"A\n")
            self.assertEqual(self.client.take(), b"A\n" + self.NONE)
            self.assertTrue(self.client.output_ended)
            self.down()
            for piece in pieces:
                self.client.send(piece)
            self.assertEqual(self.client.take(), REFUSED + self.NONE)
            self.assertTrue(self.client.output_ended)

    def test_half_closed(self) -> None:
        """A client is told that has ended its sending meanwhile."""
        self.client.send(b"a\n?\n")
        self.client.end()
        self.connection.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n" + self.NONE)
        self.assertTrue(self.client.ended_cleanly)
        self.assertEqual(self.relay.relay.clients, set())

    def test_in_transaction(self) -> None:
        """In a transaction it is told, too; what was begun is not ended."""
        self.exchange(b"+\n", b"OK\n")
        self.client.send(b"?\n")
        self.assertEqual(self.client.take(), self.NONE)
        self.assertTrue(self.client.output_ended)
        self.assertTrue(self.connection.aborted)

    def test_response_missing(self) -> None:
        """If what came before is not answered, or not to its end, it is not told: it would be
        taken for what is missing."""
        for end in (End.close, End.reset):
            client = self.client = self.relay.client(capacity=8192)
            client.send(b"a\n?\n")
            client.pause()
            self.connection.send(b"A" * 100_000)
            end(self.connection)
            client.resume()
            self.assertEqual(client.take(), b"A" * 100_000)
            self.assertTrue(client.ended)
            client.close()
            self.start()
