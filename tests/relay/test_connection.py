"""A connection to a backend, as those who use it and the pool see it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.pool.stats import Retired
from fastcar_tw.relay.connection import BackendConnection
from fastcar_tw.relay.framing import parse_framing
from fastcar_tw.testing import MemoryReactor
from fastcar_tw.tunnel import Tunnel
from fastcar_tw.upstream.backends import Backend

from .support import End

BACKEND = Backend(path="/run/backend.sock")


class Pool:
    """
    What owns the connection.

    @ivar told: what it was told.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def release(self, connection: BackendConnection) -> None:
        self.told.append("release")

    def retired(self, connection: BackendConnection, why: Retired) -> None:
        self.told.append(f"retired {why.name}")

    def closed(self, connection: BackendConnection) -> None:
        self.told.append("closed")

    def unasked(self, connection: BackendConnection) -> None:
        self.told.append("unasked")


class Exchange:
    """
    Whom the connection serves.

    @ivar told: what it was told.
    @ivar after: what it does with the connection after the last response.
    """

    def __init__(self, connection: BackendConnection, after: str = "give_back") -> None:
        self.told: list[tuple[object, ...]] = []
        self.after = after
        self._connection = connection

    def response(self, data: bytes, ends: list[int]) -> None:
        self.told.append((data, ends))

    def response_end(self, data: bytes, ends: list[int]) -> None:
        self.told.append((data, ends, "last"))
        if self.after == "give_back":
            self._connection.give_back()
        elif self.after == "abort":
            self._connection.abort()

    def upstream_full(self) -> None:
        self.told.append(("full",))

    def upstream_drained(self) -> None:
        self.told.append(("drained",))

    def upstream_failed(self, text: str, *, unsent: bool) -> None:
        self.told.append((text, "unsent" if unsent else "sent"))


class Keeper:
    """Who watches over tunnels."""

    def watch(self, client: Tunnel) -> None: ...

    def unwatch(self, client: Tunnel) -> None: ...

    def stall_deadline(self) -> float:
        return 60.0

    def stalled(self, what: str, started: float) -> None: ...


class ConnectionTestCase(SynchronousTestCase):
    """Has a connection."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, framing: str | None = "eof:\\n", capacity: int | None = None) -> None:
        """Have a new one."""
        self.reactor = MemoryReactor()
        self.addCleanup(self.release, self.reactor)
        self.pool = Pool()
        made = None if framing is None else parse_framing(framing, 100)
        self.connection = BackendConnection(BACKEND, self.pool, made)
        self.backend = End(self.reactor, self.connection, BACKEND, capacity=capacity)

    def release(self, reactor: MemoryReactor) -> None:
        """Give the sockets back."""
        for peer in list(reactor.peers):
            peer.release()

    def start(
        self, requests: bytes = b"a\n", count: int = 1, *, after: str = "give_back"
    ) -> Exchange:
        """Send requests."""
        exchange = Exchange(self.connection, after)
        self.connection.start(exchange, requests, count)
        self.reactor.settle()
        return exchange


class TLSEndTests(ConnectionTestCase):
    """Below TLS a connection is told of the end of its input before it is lost."""

    def end_input(self) -> None:
        """The backend says its last, and closes."""
        self.connection.readConnectionLost()
        self.connection.writeConnectionLost()
        self.reactor.settle()
        self.assertTrue(self.backend.ended)
        self.backend.close()

    def test_idle(self) -> None:
        """An idle connection is closed in order, and counted once."""
        self.end_input()
        self.assertEqual(self.pool.told, ["retired ENDED", "closed"])

    def test_busy(self) -> None:
        """Whom it serves is told."""
        exchange = self.start()
        self.end_input()
        self.assertEqual(
            exchange.told, [(f"{BACKEND} closed the connection before its response", "sent")]
        )
        self.assertEqual(self.pool.told, ["retired BROKEN", "closed"])


class ResponseTests(ConnectionTestCase):
    """What comes back, and what becomes of the connection."""

    def test_one(self) -> None:
        """The response to one request goes to whom it is due; then the pool has it again."""
        exchange = self.start(b"ab\n")
        self.assertEqual(self.backend.take(), b"ab\n")
        self.assertEqual(self.pool.told, [])
        self.backend.send(b"AB\n")
        self.assertEqual(exchange.told, [(b"AB\n", [3], "last")])
        self.assertEqual(self.pool.told, ["release"])

    def test_pieces(self) -> None:
        """It is passed on as it comes; the last part is told from the others."""
        exchange = self.start()
        for piece in (b"A", b"BC", b"D\n"):
            self.backend.send(piece)
        self.assertEqual(exchange.told, [(b"A", []), (b"BC", []), (b"D\n", [2], "last")])
        self.assertEqual(self.pool.told, ["release"])

    def test_many(self) -> None:
        """As many responses are due as there were requests, however they are cut."""
        exchange = self.start(b"a\nb\nc\n", 3)
        self.assertEqual(self.backend.take(), b"a\nb\nc\n")
        self.backend.send(b"A\nB")
        self.backend.send(b"B\nC\n")
        self.assertEqual(exchange.told, [(b"A\nB", [2]), (b"B\nC\n", [2, 4], "last")])
        self.assertEqual(self.pool.told, ["release"])

    def test_next(self) -> None:
        """What remains of one exchange does not touch the next."""
        for number in range(3):
            exchange = self.start(b"a\nb\n", 2)
            self.backend.send(b"A\n")
            self.backend.send(b"B\n")
            self.assertEqual(exchange.told, [(b"A\n", [2]), (b"B\n", [2], "last")])
            self.assertEqual(self.pool.told, ["release"] * (number + 1))
        self.assertEqual(self.connection.served, 6)

    def test_held(self) -> None:
        """A connection that is not given back serves whom it served before."""
        exchange = self.start(after="hold")
        self.backend.send(b"A\n")
        self.assertEqual(self.pool.told, [])
        self.connection.start(exchange, b"b\n", 1)
        self.reactor.settle()
        self.assertEqual(self.backend.take(), b"a\nb\n")
        self.backend.send(b"B\n")
        self.assertEqual(exchange.told, [(b"A\n", [2], "last"), (b"B\n", [2], "last")])

    def test_numbers(self) -> None:
        """Requests, responses and bytes are counted as they come, and stay when it has ended."""
        self.assertTrue(self.connection.fresh)
        exchange = self.start(b"a\nb\n", 2, after="hold")
        self.assertFalse(self.connection.fresh)
        numbers = self.numbers()
        self.assertEqual(numbers, (2, 0, 4, 0))
        self.backend.send(b"A")
        self.assertEqual(self.numbers(), (2, 0, 4, 1))
        self.backend.send(b"\nBB")
        self.assertEqual(self.numbers(), (2, 1, 4, 4))
        self.backend.send(b"\n")
        self.assertEqual(self.numbers(), (2, 2, 4, 5))
        self.connection.start(exchange, b"c\n", 1)
        self.reactor.settle()
        self.backend.send(b"C\n")
        self.backend.close()
        self.assertEqual(self.pool.told[-1], "closed")
        self.assertEqual(self.numbers(), (3, 3, 6, 7))

    def numbers(self) -> tuple[int, int, int, int]:
        """Requests, responses, bytes sent and received."""
        connection = self.connection
        return connection.served, connection.responses, connection.sent(), connection.received

    def test_paused(self) -> None:
        """Whom it serves may have it wait."""
        exchange = self.start()
        self.backend.send(b"A")
        self.connection.pause_reading()
        self.backend.send(b"B\n")
        self.assertEqual(exchange.told, [(b"A", [])])
        self.connection.resume_reading()
        self.reactor.settle()
        self.assertEqual(exchange.told, [(b"A", []), (b"B\n", [2], "last")])

    def test_full(self) -> None:
        """A backend that takes nothing is told of to whom it concerns."""
        self.begin(capacity=8192)
        self.backend.pause()
        exchange = self.start(b"a" * 500_000)
        self.assertTrue(self.connection.full)
        self.assertEqual(exchange.told, [("full",)])
        self.backend.resume()
        self.assertEqual(exchange.told, [("full",), ("drained",)])
        self.assertFalse(self.connection.full)


class UnaskedTests(ConnectionTestCase):
    """What no request has asked for."""

    def check_aborted(self, *told: str) -> None:
        """Check what the pool was told, and that the connection was broken off."""
        self.assertEqual(self.pool.told, [*told, "closed"])
        self.assertTrue(self.backend.aborted)
        self.assertTrue(self.backend.closed)

    def test_fresh(self) -> None:
        """A new connection is ended: it is not known whose response that will be."""
        self.backend.send(b"hello\n")
        self.check_aborted("retired BROKEN", "unasked")

    def test_idle(self) -> None:
        """So is one that has served."""
        self.start()
        self.backend.send(b"A\n")
        self.backend.send(b"B\n")
        self.check_aborted("release", "retired BROKEN", "unasked")

    def test_without_framing(self) -> None:
        """So is one that waits to be handed over."""
        self.begin(None)
        self.backend.send(b"hello")
        self.check_aborted("retired BROKEN", "unasked")

    def test_behind_response(self) -> None:
        """What comes with the last response is nobody's, and nobody gets the connection."""
        for surplus, ends in ((b"B", [2]), (b"B\n", [2]), (b"B\nC\n", [2])):
            self.begin()
            exchange = self.start()
            self.backend.send(b"A\n" + surplus)
            self.assertEqual(exchange.told, [(b"A\n", ends, "last")])
            self.check_aborted("retired BROKEN", "unasked")

    def test_behind_many(self) -> None:
        """So it is behind many."""
        exchange = self.start(b"a\nb\n", 2)
        self.backend.send(b"A\n")
        self.backend.send(b"B\nC\nD")
        self.assertEqual(exchange.told, [(b"A\n", [2]), (b"B\n", [2], "last")])
        self.assertEqual(self.connection.responses, 2)
        self.check_aborted("retired BROKEN", "unasked")

    def test_behind_held(self) -> None:
        """Whoever keeps the connection is told."""
        exchange = self.start(after="hold")
        self.backend.send(b"A\nB\n")
        failed = ("unix:/run/backend.sock sent something unasked", "sent")
        self.assertEqual(exchange.told, [(b"A\n", [2], "last"), failed])
        self.check_aborted("retired BROKEN")

    def test_behind_aborted(self) -> None:
        """Whoever has ended the connection is not."""
        exchange = self.start(after="abort")
        self.backend.send(b"A\nB\n")
        self.assertEqual(exchange.told, [(b"A\n", [2], "last")])
        self.check_aborted("retired BROKEN")

    def test_held(self) -> None:
        """Between two requests of the same client it is as wrong."""
        exchange = self.start(after="hold")
        self.backend.send(b"A\n")
        self.backend.send(b"B\n")
        failed = ("unix:/run/backend.sock sent something unasked", "sent")
        self.assertEqual(exchange.told, [(b"A\n", [2], "last"), failed])
        self.check_aborted("retired BROKEN")


class FailureTests(ConnectionTestCase):
    """Connections that end, or should."""

    def test_idle(self) -> None:
        """That an idle one has ended concerns the pool alone."""
        self.start()
        self.backend.send(b"A\n")
        self.backend.close()
        self.assertEqual(self.pool.told, ["release", "retired ENDED", "closed"])

    def test_before(self) -> None:
        """Whoever has nothing of the response is told so, and that requests were sent."""
        exchange = self.start()
        self.backend.close()
        told = "unix:/run/backend.sock closed the connection before its response"
        self.assertEqual(exchange.told, [(told, "sent")])
        self.assertEqual(self.pool.told, ["retired BROKEN", "closed"])

    def test_reset(self) -> None:
        """A reset is no different."""
        exchange = self.start()
        self.backend.reset()
        told = "unix:/run/backend.sock closed the connection before its response"
        self.assertEqual(exchange.told, [(told, "sent")])

    def test_amid(self) -> None:
        """So is who has a part."""
        for part in (b"A", b"A\n"):
            self.begin()
            exchange = self.start(b"a\nb\n", 2)
            self.backend.send(part)
            self.backend.close()
            told = "unix:/run/backend.sock closed the connection in the middle of its response"
            self.assertEqual(exchange.told[1:], [(told, "sent")])

    def test_amid_next(self) -> None:
        """What came in the exchange before does not count."""
        self.start()
        self.backend.send(b"A\n")
        exchange = self.start()
        self.backend.close()
        told = "unix:/run/backend.sock closed the connection before its response"
        self.assertEqual(exchange.told, [(told, "sent")])

    def test_held(self) -> None:
        """Whoever keeps it is told when nothing is due, too."""
        exchange = self.start(after="hold")
        self.backend.send(b"A\n")
        self.backend.close()
        told = "unix:/run/backend.sock closed the connection"
        self.assertEqual(exchange.told[1:], [(told, "sent")])
        self.assertEqual(self.pool.told, ["retired BROKEN", "closed"])

    def test_unsent(self) -> None:
        """If nothing of the requests has left, that is said."""
        for before in (0, 1):
            self.begin()
            for _ in range(before):
                self.start(b"long before\n")
                self.backend.send(b"A\n")
            self.backend.vanish()
            exchange = self.start()
            told = "unix:/run/backend.sock closed the connection before its response"
            self.assertEqual(exchange.told, [(told, "unsent")])

    def test_partly_sent(self) -> None:
        """A request of which a part has left may have been carried out."""
        self.begin(capacity=8192)
        self.backend.pause()
        exchange = self.start(b"a" * 500_000)
        self.backend.close()
        told = "unix:/run/backend.sock closed the connection before its response"
        self.assertEqual(exchange.told, [("full",), (told, "sent")])

    def test_invalid_behind_valid(self) -> None:
        """What came whole before an invalid response is passed on, in one read or several."""
        for pieces in ((b"A\n", b"x" * 101), (b"A\n" + b"x" * 101,)):
            self.begin()
            exchange = self.start(b"a\nb\n", 2)
            for piece in pieces:
                self.backend.send(piece)
            self.assertEqual(exchange.told[0], (b"A\n", [2]))
            self.assertIn("sent no valid response", str(exchange.told[1][0]))
            self.assertEqual(len(exchange.told), 2)

    def test_invalid_behind_all(self) -> None:
        """If all that was due came before, the connection alone is at fault."""
        exchange = self.start()
        self.backend.send(b"A\n" + b"x" * 101)
        self.assertEqual(exchange.told, [(b"A\n", [2], "last")])
        self.assertIn("unasked", self.pool.told)

    def test_invalid(self) -> None:
        """What is no response ends the connection, and those who waited for one learn why."""
        exchange = self.start()
        self.backend.send(b"x" * 101)
        told = (
            "unix:/run/backend.sock sent no valid response:"
            " expected a frame of 1 to 100 bytes (--max-frame)"
        )
        self.assertEqual(exchange.told, [(told, "sent")])
        self.assertEqual(self.pool.told, ["retired BROKEN", "closed"])
        self.assertTrue(self.backend.aborted)

    def test_aborted(self) -> None:
        """Whoever breaks it off is told nothing more."""
        exchange = self.start()
        self.connection.abort()
        self.reactor.settle()
        self.assertEqual(exchange.told, [])
        self.assertEqual(self.pool.told, ["retired BROKEN", "closed"])
        self.assertTrue(self.backend.aborted)


class HandOverTests(ConnectionTestCase):
    """A connection that becomes a client's own."""

    def test_handed_over(self) -> None:
        """Nothing is told apart on it any more; the pool is told of its end alone."""
        for framing in (None, "eof:\\n"):
            self.begin(framing)
            self.assertFalse(self.connection.own)
            tunnel = Tunnel(Keeper(), "tunnel", 0.0)
            tunnel.start()
            self.connection.hand_over(tunnel.origin)
            self.assertTrue(self.connection.own)
            client = End(self.reactor, tunnel.client)
            self.backend.send(b"no frame" * 100)
            self.assertEqual(client.take(), b"no frame" * 100)
            client.send(b"neither")
            self.assertEqual(self.backend.take(), b"neither")
            self.assertEqual(self.pool.told, [])
            self.backend.reset()
            self.assertEqual(self.pool.told, ["retired TAKEN", "closed"])
            self.assertTrue(client.closed)

    def test_held(self) -> None:
        """One that a client keeps can be handed over, too."""
        exchange = self.start(after="hold")
        self.backend.send(b"A\n")
        tunnel = Tunnel(Keeper(), "tunnel", 0.0)
        tunnel.start()
        self.connection.hand_over(tunnel.origin)
        client = End(self.reactor, tunnel.client)
        self.backend.send(b"more\n")
        self.assertEqual(client.take(), b"more\n")
        self.assertEqual(exchange.told, [(b"A\n", [2], "last")])
