"""Clients of a pool, and backends, that do not read: what is kept for them is bounded."""

from __future__ import annotations

from .support import SIGNS, VISITOR, End, RelayTestCase, logged

#: Bytes a connection of a test holds, roughly.
CAPACITY = 8192
MAX_FRAME = 1 << 20


class SlowClientTests(RelayTestCase):
    """A client that does not read what it is sent."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, **options: object) -> None:
        """Have a client that does not read, beside one that has asked nothing."""
        self.start(**{"max_frame": MAX_FRAME, **options})
        self.client = self.relay.client(capacity=CAPACITY)
        self.client.pause()

    def resume(self) -> bytes:
        """Read, and return what arrives."""
        self.client.resume()
        return self.client.take()

    def test_large_response(self) -> None:
        """A response up to C{--max-frame} waits here: its connection serves others meanwhile."""
        other = self.relay.client()
        self.client.send(b"a\n")
        other.send(b"b\n")
        response = b"x" * (MAX_FRAME - 1) + b"\n"
        self.connection.take()
        self.connection.send(response)
        self.assertGreater(self.client.transport.buffered, MAX_FRAME - 2 * CAPACITY)
        self.assertEqual(self.connection.take(), b"b\n")
        self.connection.send(b"B\n")
        self.assertEqual(other.take(), b"B\n")
        self.assertEqual(self.resume(), response)

    def test_no_more_requests(self) -> None:
        """No more of its requests are sent before it has read."""
        response = b"x" * 200_000 + b"\n"
        self.client.send(b"a\n")
        self.client.send(b"b\n")
        self.connection.send(response)
        self.assertEqual(self.connection.take(), b"a\n")
        self.client.send(b"c\n")
        self.assertEqual(self.connection.take(), b"")
        self.assertEqual(self.relay.backends[0].counts.idle, 1)
        self.assertEqual(self.resume(), response)
        self.assertEqual(self.connection.take(), b"b\nc\n")
        self.connection.send(b"B\nC\n")
        self.assertEqual(self.client.take(), b"B\nC\n")

    def test_more_than_a_frame(self) -> None:
        """What waits here is bounded: beyond that the backend has to wait, and all arrives."""
        self.client.send(b"a\nb\nc\nd\n")
        responses = (b"x" * (MAX_FRAME - 1) + b"\n") * 4
        self.connection.send(responses)
        self.assertTrue(self.connection.paused)
        self.assertGreater(self.client.transport.buffered, MAX_FRAME)
        self.assertLess(self.client.transport.buffered, MAX_FRAME + 100_000)
        self.assertGreater(len(self.connection.unsent), MAX_FRAME)
        self.assertEqual(self.resume(), responses)
        self.assertFalse(self.connection.paused)
        self.assertEqual(self.relay.backends[0].counts.idle, 1)

    def test_many_requests(self) -> None:
        """It cannot pile up requests either."""
        self.client.send(b"a\n")
        self.connection.send(b"x" * 200_000 + b"\n")
        asked = b"12345678\n" * 100_000
        self.client.send(asked)
        self.assertTrue(self.client.paused)
        self.assertGreater(len(self.client.unsent), len(asked) - 200_000)
        self.assertEqual(self.connection.take(), b"a\n")
        self.client.resume()
        count = 0
        while requests := self.connection.take():
            count += requests.count(b"\n")
            self.connection.send(b"x\n" * requests.count(b"\n"))
        self.assertEqual(count, 100_000)
        self.assertEqual(len(self.client.take()), 200_001 + 2 * 100_000)
        self.assertFalse(self.client.paused)

    def test_gives_up(self) -> None:
        """One that takes nothing for C{--client-timeout} is closed, not what others wait for."""
        for requests, paused in ((b"a\n", False), (b"a\nb\nc\n", True)):
            self.begin(client_timeout=8.0)
            self.client.send(requests)
            response = b"x" * (MAX_FRAME - 1) + b"\n"
            self.connection.send(response * requests.count(b"\n"))
            self.assertEqual(self.connection.paused, paused)
            self.assertEqual(logged(lambda: self.relay.elapse(7.5)), [])
            lines = logged(lambda: self.relay.elapse(2.0))
            self.assertEqual(lines, [f"{VISITOR}: does not take its responses; closed"])
            self.assertTrue(self.client.aborted)
            self.assertEqual(self.connection.closed, paused)
            self.assertEqual(len(self.relay.relay.clients), 1)
            self.connection.take()
            self.exchange(b"next\n", b"NEXT\n", self.relay.client())

    def test_slow(self) -> None:
        """One that takes a little now and then is waited for while no connection is stopped."""
        self.begin(client_timeout=8.0, response_timeout=5.0)
        self.client.send(b"a\n")
        response = b"x" * (MAX_FRAME - 1) + b"\n"
        self.connection.send(response)
        self.assertFalse(self.connection.paused)
        for _ in range(6):
            self.relay.elapse(5.0)
            self.client.read(20_000)
        self.assertFalse(self.client.closed)
        self.client.resume()
        self.assertEqual(self.client.take(), response)

    def test_stops_reading(self) -> None:
        """One that has taken a little and then nothing any more is closed as well."""
        self.begin(client_timeout=8.0)
        self.client.send(b"a\n")
        self.connection.send(b"x" * (MAX_FRAME - 1) + b"\n")
        self.relay.elapse(5.0)
        self.client.read(20_000)
        self.relay.elapse(10.0)
        self.assertFalse(self.client.closed)
        self.relay.elapse(8.0)
        self.assertTrue(self.client.aborted)

    def test_stopped(self) -> None:
        """One that has its connection stopped has C{--client-timeout} in all, whatever it takes
        meanwhile."""
        self.begin(client_timeout=8.0)
        self.client.send(b"a\nb\nc\n")
        self.connection.send((b"x" * (MAX_FRAME - 1) + b"\n") * 3)
        self.assertTrue(self.connection.paused)
        for _ in range(7):
            self.relay.elapse(1.0)
            self.client.read(20_000)
        self.assertFalse(self.client.closed)
        lines = logged(lambda: self.relay.elapse(2.0))
        self.assertEqual(lines, [f"{VISITOR}: does not take its responses; closed"])
        self.assertTrue(self.client.aborted)
        self.assertTrue(self.connection.aborted)

    def test_stopped_later(self) -> None:
        """That time begins when the connection is stopped, however long it took little before."""
        self.begin(client_timeout=8.0)
        self.client.send(b"a\nb\n")
        self.connection.send(b"x" * (MAX_FRAME // 2) + b"\n")
        for _ in range(5):
            self.relay.elapse(3.0)
            self.client.read(4096)
        self.connection.send(b"x" * (MAX_FRAME - 1))
        self.assertTrue(self.connection.paused)
        for _ in range(7):
            self.relay.elapse(1.0)
            self.client.read(4096)
            self.assertFalse(self.client.closed)
        self.relay.elapse(2.0)
        self.assertTrue(self.client.aborted)

    def test_stopped_for_a_while(self) -> None:
        """One that takes everything in this time has as much for what comes next."""
        self.begin(client_timeout=8.0, response_timeout=20.0)
        self.client.send(b"a\nb\nc\nd\n")
        response = b"x" * (MAX_FRAME - 1) + b"\n"
        for _ in range(2):
            self.client.pause()
            self.connection.send(response * 2)
            self.assertTrue(self.connection.paused)
            self.relay.elapse(7.0)
            self.assertEqual(self.resume(), response * 2)
            self.assertFalse(self.connection.paused)
        self.assertFalse(self.client.closed)

    def test_starves_nobody(self) -> None:
        """One that pipelines and takes a little now and then keeps nobody from the connection."""
        self.client.send(b"a\n" * 20)
        connection = self.connection
        connection.send((b"x" * (MAX_FRAME - 1) + b"\n") * 20)
        self.relay.elapse(11.0)
        self.client.read(4096)
        other = self.relay.client()
        other.send(b"b\n")
        self.relay.elapse(6.0)
        self.assertTrue(self.client.aborted)
        self.assertFalse(other.closed)
        self.assertIsNot(self.connection, connection)
        self.assertEqual(self.connection.take(), b"b\n")
        self.connection.send(b"B\n")
        self.assertEqual(other.take(), b"B\n")

    def test_reads_again(self) -> None:
        """When it reads again, it is the backend that is waited for."""
        self.begin(client_timeout=8.0, response_timeout=40.0)
        self.client.send(b"a\n")
        self.connection.send(b"x" * 200_000)
        self.relay.elapse(7.0)
        self.client.resume()
        self.relay.elapse(39.0)
        self.assertFalse(self.client.closed)
        self.relay.elapse(3.0)
        self.assertTrue(self.client.closed)
        self.assertTrue(self.connection.aborted)

    def test_little(self) -> None:
        """So it is if it leaves so little that more could be sent; in the end it is given up."""
        self.begin(client_timeout=8.0, response_timeout=40.0)
        self.client.send(b"a\n")
        self.connection.send(b"x" * 40_000)
        self.assertGreater(self.client.transport.buffered, 0)
        self.assertEqual(logged(lambda: self.relay.elapse(39.0)), [])
        lines = logged(lambda: self.relay.elapse(2 * 8.0 + 4.0))
        silent = "unix:/run/backend-0.sock is silent and owes a response"
        self.assertEqual(lines[0], f"{VISITOR}: {silent}; closed")
        self.assertTrue(self.client.closed)
        self.assertTrue(self.connection.aborted)

    def test_closing(self) -> None:
        """One that is to be closed gets what it is owed first, if it takes that in time."""
        for takes in (True, False):
            self.begin(client_timeout=8.0)
            self.client.send(b"a\n")
            self.client.end()
            self.connection.send(b"x" * 50_000 + b"\n")
            self.relay.elapse(7.0)
            self.assertFalse(self.client.closed)
            if takes:
                self.assertEqual(len(self.resume()), 50_001)
                self.assertTrue(self.client.ended_cleanly)
            else:
                lines = logged(lambda: self.relay.elapse(3.0))
                self.assertEqual(lines, [f"{VISITOR}: does not take its responses; closed"])
                self.assertTrue(self.client.aborted)

    def test_half_close(self) -> None:
        """Saying that this was all changes nothing."""
        self.client.send(b"a\n")
        self.client.send(b"b\n")
        self.client.end()
        self.connection.send(b"x" * 200_000 + b"\n")
        self.assertEqual(self.connection.take(), b"a\n")
        self.client.resume()
        self.assertEqual(self.connection.take(), b"b\n")
        self.connection.send(b"B\n")
        self.assertEqual(self.client.take()[200_001:], b"B\n")
        self.assertTrue(self.client.ended_cleanly)

    def test_backend_leaves(self) -> None:
        """What has come arrives, though the backend has failed meanwhile."""
        self.client.send(b"a\n")
        self.client.send(b"b\n")
        self.connection.send(b"x" * 200_000)
        lines = logged(self.connection.close)
        what = "unix:/run/backend-0.sock closed the connection in the middle of its response"
        self.assertEqual(lines, [f"{VISITOR}: {what}; closed"])
        self.assertEqual(logged(lambda: self.assertEqual(self.resume(), b"x" * 200_000)), [])
        self.assertTrue(self.client.closed)
        self.assertEqual(len(self.relay.connections), 1)

    def test_transaction(self) -> None:
        """Within a transaction the connection stays, and what comes next waits as well."""
        self.begin(framing=SIGNS)
        self.client.send(b"+\na\n")
        self.client.send(b"-\n")
        self.connection.send(b"OK\n" + b"x" * 200_000 + b"\n")
        self.assertEqual(self.connection.take(), b"+\na\n")
        self.client.resume()
        self.assertEqual(self.connection.take(), b"-\n")
        self.connection.send(b"DONE\n")
        self.assertTrue(self.client.take().endswith(b"x\nDONE\n"))
        self.assertEqual(self.relay.backends[0].counts.idle, 1)


class BusyClientTests(RelayTestCase):
    """A client that asks more than is answered."""

    def test_bounded(self) -> None:
        """It is not read when 64 KiB of requests wait, and again when fewer do."""
        client = self.relay.client(capacity=CAPACITY)
        client.send(b"a\n")
        request = b"y" * 999 + b"\n"
        client.send(request * 1000)
        self.assertTrue(client.paused)
        self.assertGreater(len(client.unsent), 1_000_000 - 64 * 1024 - 100_000)
        self.assertEqual(self.connection.take(), b"a\n")
        self.connection.send(b"A\n")
        count = 0
        while requests := self.connection.take():
            self.assertLess(len(requests), 140_000)
            count += len(requests) // 1000
            self.connection.send(b"B\n" * (len(requests) // 1000))
        self.assertEqual(count, 1000)
        self.assertFalse(client.paused)
        self.assertEqual(client.take(), b"A\n" + b"B\n" * 1000)

    def test_small_requests(self) -> None:
        """No more is read because a few of them have been answered."""
        client = self.relay.client(capacity=CAPACITY)
        asked = b"123456789\n" * 100_000
        client.send(asked)
        answered = 0
        for _ in range(100):
            requests = self.connection.take()
            self.connection.send(b"\n" * requests.count(b"\n"))
            answered += len(requests)
            waiting = len(asked) - len(client.unsent) - answered
            self.assertLess(waiting, 128 * 1024 + 2 * CAPACITY)
        self.assertTrue(client.paused)

    def test_large_request(self) -> None:
        """A single request may be as large as C{--max-frame}."""
        self.start(max_frame=MAX_FRAME)
        request = b"x" * (MAX_FRAME - 1) + b"\n"
        self.client.send(request)
        self.assertEqual(self.connection.take(), request)
        self.connection.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n")


class SlowBackendTests(RelayTestCase):
    """A backend that does not read what it is sent."""

    def test_waits(self) -> None:
        """What is sent to it at once is bounded; it has the rest when it has answered."""
        self.relay.capacity = CAPACITY
        self.relay.backends[0].accepting = False
        self.client.send(b"a" * 1_000_000 + b"\n")
        connection: End = self.relay.backends[0].attempts[0].accept(paused=True)
        self.client.send(b"b\n")
        self.assertGreater(connection.transport.buffered, 900_000)
        connection.resume()
        self.assertEqual(len(connection.take()), 1_000_001)
        connection.send(b"A\n")
        self.assertEqual(connection.take(), b"b\n")
        connection.send(b"B\n")
        self.assertEqual(self.client.take(), b"A\nB\n")

    def test_answers_early(self) -> None:
        """It may answer before it has read everything."""
        self.relay.capacity = CAPACITY
        self.relay.backends[0].accepting = False
        self.client.send(b"a" * 1_000_000 + b"\n")
        connection: End = self.relay.backends[0].attempts[0].accept(paused=True)
        connection.send(b"A\n")
        self.assertEqual(self.client.take(), b"A\n")
        other = self.relay.client()
        other.send(b"b\n")
        connection.resume()
        self.assertEqual(connection.take(), b"a" * 1_000_000 + b"\nb\n")
        connection.send(b"B\n")
        self.assertEqual(other.take(), b"B\n")
