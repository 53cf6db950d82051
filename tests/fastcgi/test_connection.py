"""One connection to php-fpm, without a gateway around it."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.connection import FastCGIConnection
from fastcar_tw.fastcgi.records import (
    BEGIN_CLOSE,
    BEGIN_KEEP,
    CANT_MPX_CONN,
    END_OF_STDIN,
    GET_VALUES,
    GET_VALUES_RESULT,
    OVERLOADED,
    UNKNOWN_ROLE,
    UNKNOWN_TYPE,
    encode_record,
)
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.pool.stats import Retired
from fastcar_tw.testing import MemoryReactor, Peer
from fastcar_tw.upstream.backends import Backend

from .support import end_request, stderr, stdout

BACKEND = Backend("/run/php.sock")
#: What an exchange sends first; what is in it is no concern of a connection.
ASKED = b"variables"
VALUES = encode_record(GET_VALUES_RESULT, b"", 0)
END = end_request()


class Owner:
    """
    A pool that only takes notes.

    @ivar next_exchange: begins on the connection as soon as that is released.
    """

    def __init__(self, keep: bool, max_requests: int) -> None:
        self.keep = keep
        self.max_requests = max_requests
        self.events: list[str] = []
        self.next_exchange: Exchange | None = None

    def release(self, connection: FastCGIConnection) -> None:
        """Ready for more."""
        self.events.append("release")
        exchange, self.next_exchange = self.next_exchange, None
        if exchange is not None:
            exchange.stdin_complete = True
            connection.start(exchange, ASKED)

    def finishing(self, connection: FastCGIConnection) -> None:
        """Not yet."""
        self.events.append("finishing")

    def retired(self, connection: FastCGIConnection, why: Retired) -> None:
        """Of no more use."""
        self.events.append(f"retired {why.name}")

    def closed(self, connection: FastCGIConnection) -> None:
        """Gone."""
        self.events.append("closed")


class Exchange:
    """Takes notes of a response."""

    def __init__(self) -> None:
        self.stdin_complete = False
        self.response_complete = False
        self.events: list[str] = []
        self.out = b""
        self.log = b""
        self.failure: tuple[int, str, str, bool, bool] | None = None

    def stdout(self, content: bytes) -> None:
        """Keep it."""
        self.out += content

    def stderr(self, content: bytes) -> None:
        """Keep it."""
        self.log += content

    def response_end(self) -> None:
        """Note it."""
        self.events.append("end")

    def flush_response(self) -> None:
        """Note it."""
        self.events.append("flush")

    def upstream_full(self) -> None:
        """Note it."""
        self.events.append("full")

    def upstream_drained(self) -> None:
        """Note it."""
        self.events.append("drained")

    def upstream_failed(self, error: GatewayError, *, answered: bool, unsent: bool) -> None:
        """Note it."""
        assert error.proxy_status is not None
        self.failure = error.status, error.proxy_status, error.text, answered, unsent


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    return ours, theirs


class ConnectionTestCase(SynchronousTestCase):
    """A connection, and a child at its other end that does what a test says."""

    def connect(
        self,
        *,
        keep: bool = True,
        max_requests: int = 0,
        capacity: int | None = None,
        tcp: bool = False,
    ) -> None:
        """Open it."""
        if tcp:
            self.patch(socket, "socketpair", tcp_pair)
        self.reactor = MemoryReactor()
        self.owner = Owner(keep, max_requests)
        self.connection = FastCGIConnection(BACKEND, self.owner)
        self.child = Peer(self.reactor, self.connection, capacity=capacity)
        self.addCleanup(self.let_go, self.child)
        self.reactor.settle()

    def let_go(self, child: Peer) -> None:
        """Close what is still open."""
        if child in self.reactor.peers:
            child.release()

    def start(self, data: bytes = ASKED, *, complete: bool = True) -> Exchange:
        """Begin an exchange, whose request is complete or not."""
        exchange = Exchange()
        exchange.stdin_complete = complete
        self.connection.start(exchange, data)
        self.reactor.settle()
        return exchange

    def hear(self, expected: bytes) -> None:
        """Wait until the child has read exactly this."""
        handle = self.child._socket
        while len(self.child.received) < len(expected):
            self.assertTrue(select.select([handle], [], [], 10)[0], "nothing arrives")
            self.reactor.settle()
        self.assertEqual(self.child.take(), expected)


class BeginTests(ConnectionTestCase):
    """BEGIN_REQUEST is sent ahead."""

    def test_at_once(self) -> None:
        """A new connection begins its first request at once, so that it is not closed as silent."""
        self.connect()
        self.assertEqual(self.child.take(), BEGIN_KEEP)

    def test_with_end(self) -> None:
        """The next request is begun in the same write as the last bytes of the present one."""
        self.connect()
        self.start()
        self.assertEqual(self.child.transport.writes, [BEGIN_KEEP, ASKED + BEGIN_KEEP])

    def test_not_before_end(self) -> None:
        """Inside a body nothing is begun, which would cut it; with its end it is."""
        self.connect()
        exchange = self.start(complete=False)
        self.connection.send(b"some")
        exchange.stdin_complete = True
        self.connection.send(b"rest")
        self.assertEqual(self.child.transport.writes[1:], [ASKED, b"some", b"rest" + BEGIN_KEEP])

    def test_next(self) -> None:
        """The next request goes on where it was begun."""
        self.connect()
        self.start()
        self.child.send(stdout(b"1") + END)
        self.start(b"next")
        self.assertEqual(self.child.take(), BEGIN_KEEP + ASKED + BEGIN_KEEP + b"next" + BEGIN_KEEP)

    def test_not_kept(self) -> None:
        """A connection that is not kept says so, and begins one request only."""
        self.connect(keep=False)
        self.start()
        self.assertEqual(self.child.take(), BEGIN_CLOSE + ASKED)

    def test_last(self) -> None:
        """The last request that a connection may serve is followed by none."""
        self.connect(max_requests=2)
        self.start()
        self.child.send(END)
        self.start()
        self.assertEqual(self.child.take(), BEGIN_KEEP + ASKED + BEGIN_KEEP + ASKED)


class ResponseTests(ConnectionTestCase):
    """What comes from the child."""

    def test_content(self) -> None:
        """Output and messages are told apart, and told before all that came together is over."""
        self.connect()
        exchange = self.start()
        self.child.send(stdout(b"on") + stderr(b"oh") + stdout(b"e"))
        self.assertEqual((exchange.out, exchange.log), (b"one", b"oh"))
        self.assertEqual(exchange.events, ["flush"])
        self.child.send(END)
        self.assertEqual(exchange.events, ["flush", "end", "flush"])
        self.assertTrue(exchange.response_complete)

    def test_split(self) -> None:
        """A response is the same wherever its bytes are split."""
        data = stdout(b"one") + stderr(b"oh") + END
        self.connect()
        exchange = self.start()
        for at in range(len(data)):
            self.child.send(data[at : at + 1])
        self.assertEqual((exchange.out, exchange.log), (b"one", b"oh"))
        self.assertEqual(self.owner.events, ["release"])

    def test_acknowledged(self) -> None:
        """What comes before the end is acknowledged at once: php-fpm sends the rest only then."""
        self.connect(tcp=True)
        exchange = self.start()
        acknowledged: list[bytes] = []
        transport: Any = self.child.transport
        transport.acknowledge = lambda: acknowledged.append(exchange.out)
        for data, out in ((stdout(b"one"), b"one"), (stdout(b"two") + END, b"onetwo")):
            self.child.send(data)
            while exchange.out != out:
                self.assertTrue(select.select([transport], [], [], 10)[0], "nothing arrives")
                self.reactor.settle()
            self.assertEqual(acknowledged, [b"one"])

    def test_unknown_kinds(self) -> None:
        """Kinds of records that the specification does not know are skipped."""
        self.connect()
        exchange = self.start()
        self.child.send(encode_record(77, b"what") + encode_record(UNKNOWN_TYPE, b"8" * 8, 0))
        self.child.send(stdout(b"1") + END)
        self.assertEqual((exchange.out, self.owner.events), (b"1", ["release"]))

    def test_invalid(self) -> None:
        """An invalid record ends the connection, and the response is lost."""
        self.connect()
        exchange = self.start()
        self.child.send(b"HTTP/1.1 400 Bad Request\r\n")
        assert exchange.failure is not None
        status, proxy_status, text, answered, _ = exchange.failure
        self.assertEqual((status, proxy_status, answered), (502, "http_protocol_error", True))
        self.assertIn("sent an invalid record", text)
        self.assertEqual(self.owner.events, ["retired BROKEN", "closed"])
        self.assertTrue(self.child.aborted)

    def test_other_request(self) -> None:
        """A record for a request that nobody has made is invalid."""
        self.connect()
        exchange = self.start()
        self.child.send(encode_record(6, b"x", 2))
        assert exchange.failure is not None
        self.assertEqual(exchange.out, b"")

    def test_protocol_status(self) -> None:
        """Each way to refuse a request is an error, and ends the connection."""
        for status, expected, name in (
            (OVERLOADED, 503, "destination_unavailable"),
            (CANT_MPX_CONN, 502, "http_protocol_error"),
            (UNKNOWN_ROLE, 502, "http_protocol_error"),
            (99, 502, "http_protocol_error"),
        ):
            self.connect()
            exchange = self.start()
            self.child.send(end_request(status))
            assert exchange.failure is not None
            self.assertEqual(exchange.failure[:2], (expected, name))
            self.assertEqual((exchange.failure[3], exchange.response_complete), (True, False))
            self.assertEqual(self.owner.events, ["retired BROKEN", "closed"])
            self.assertNotIn("end", exchange.events)


class ReadyTests(ConnectionTestCase):
    """When a connection may serve its next request."""

    def test_read(self) -> None:
        """It is released when the response is complete and the child has read what was begun."""
        self.connect()
        self.start()
        self.child.send(stdout(b"1"))
        self.assertEqual(self.owner.events, [])
        self.child.send(END)
        self.assertEqual(self.owner.events, ["release"])

    def test_unread(self) -> None:
        """A child that has not read it still works; it is ready as soon as it has."""
        self.connect()
        self.child.pause()
        exchange = self.start()
        self.child.send(stdout(b"1") + END)
        self.assertEqual(exchange.events, ["end", "flush"])
        self.assertEqual(self.owner.events, ["finishing"])
        self.assertFalse(self.connection.is_ready())
        self.child.resume()
        self.assertTrue(self.connection.is_ready())

    def test_partly_read(self) -> None:
        """One that has read the request, but not what was begun, is not ready."""
        self.connect()
        self.child.pause()
        self.start()
        self.child.read(len(ASKED))
        self.child.send(END)
        self.assertEqual(self.owner.events, ["finishing"])
        self.child.read(len(BEGIN_KEEP) - 1)
        self.assertFalse(self.connection.is_ready())
        self.child.read(1)
        self.assertTrue(self.connection.is_ready())

    def test_early_end(self) -> None:
        """Where the response ends before the request, the connection ends too."""
        self.connect()
        exchange = self.start(complete=False)
        self.child.send(stdout(b"1") + END)
        self.assertEqual((exchange.out, exchange.events), (b"1", ["end", "flush"]))
        self.assertEqual(self.owner.events, ["retired BROKEN", "closed"])

    def test_early_end_unsent(self) -> None:
        """The same where the request is complete, but is still on its way."""
        self.connect(capacity=4096)
        self.child.pause()
        exchange = self.start(bytes(1 << 20))
        self.assertTrue(self.connection.full)
        self.child.send(END)
        self.assertEqual(exchange.events, ["full", "end", "flush"])
        self.assertEqual(self.owner.events, ["retired BROKEN", "closed"])

    def test_not_kept(self) -> None:
        """A connection that is not kept is closed after its response, not broken off."""
        self.connect(keep=False)
        exchange = self.start()
        self.child.send(stdout(b"1") + END)
        self.assertEqual(exchange.events, ["end", "flush"])
        self.assertEqual(self.owner.events, ["retired ENDED", "closed"])
        self.assertTrue(self.child.ended_cleanly)

    def test_max_requests(self) -> None:
        """So is one that has served as many requests as it may."""
        self.connect(max_requests=2)
        self.start()
        self.child.send(END)
        self.start()
        self.child.send(END)
        self.assertEqual(self.owner.events, ["release", "retired ENDED", "closed"])

    def test_not_before_flush(self) -> None:
        """What is written by the exchange that follows does not disturb the end of this one."""
        self.connect()
        exchange = self.start()
        self.owner.next_exchange = following = Exchange()
        self.child.send(stdout(b"1") + END)
        self.assertEqual((exchange.out, exchange.events), (b"1", ["end", "flush"]))
        self.child.send(stdout(b"2") + END)
        self.assertEqual((following.out, following.events), (b"2", ["end", "flush"]))
        self.assertEqual(self.owner.events, ["release", "release"])


class TCPTests(ConnectionTestCase):
    """Connections that do not tell what the child has read."""

    def ask(self) -> Exchange:
        """A request, its response, and the question whether the child is ready."""
        self.connect(tcp=True)
        exchange = self.start()
        self.hear(BEGIN_KEEP + ASKED)
        self.say_until(stdout(b"1") + END, lambda: "end" in exchange.events)
        return exchange

    def say_until(self, data: bytes, done: Callable[[], object]) -> None:
        """Let the child say something and wait for what comes of it."""
        self.child.send(data)
        for _ in range(100):
            if done():
                return
            select.select([self.child.transport.getHandle()], [], [], 0.1)
            self.reactor.settle()
        self.fail("nothing comes of it")

    def test_question(self) -> None:
        """After the response the child is asked, the next request begun; its answer means ready."""
        self.ask()
        self.hear(GET_VALUES + BEGIN_KEEP)
        self.assertEqual(self.owner.events, [])
        self.assertFalse(self.connection.is_ready())
        self.say_until(VALUES, lambda: self.owner.events)
        self.assertEqual(self.owner.events, ["release"])

    def test_next(self) -> None:
        """The next request goes on where it was begun."""
        self.ask()
        self.say_until(VALUES, lambda: self.owner.events)
        self.hear(GET_VALUES + BEGIN_KEEP)
        self.start(b"next")
        self.hear(b"next")

    def test_answer_unasked(self) -> None:
        """A second answer says nothing."""
        self.ask()
        self.say_until(VALUES, lambda: self.owner.events)
        self.hear(GET_VALUES + BEGIN_KEEP)
        exchange = self.start(b"next")
        self.say_until(VALUES + stdout(b"2"), lambda: exchange.out)
        self.assertTrue(self.connection.is_ready())
        self.assertEqual(self.owner.events, ["release"])

    def test_recycled(self) -> None:
        """A child that ends instead of answering ends the connection, and no request."""
        exchange = self.ask()
        self.hear(GET_VALUES + BEGIN_KEEP)
        self.child.end()
        self.say_until(b"", lambda: self.owner.events)
        self.assertEqual(self.owner.events, ["retired ENDED", "closed"])
        self.assertIsNone(exchange.failure)

    def test_stray(self) -> None:
        """One that says something else is not used again."""
        self.ask()
        self.say_until(stdout(b"?"), lambda: self.owner.events)
        self.assertEqual(self.owner.events[:1], ["retired BROKEN"])

    def test_stray_with_answer(self) -> None:
        """What comes with the answer cannot become part of the next response."""
        self.ask()
        self.owner.next_exchange = following = Exchange()
        self.say_until(VALUES + stdout(b"?"), lambda: self.owner.events)
        self.assertEqual((self.owner.events[:1], following.out), (["retired BROKEN"], b""))

    def test_skipped_with_answer(self) -> None:
        """Even what would be skipped must not come with the answer: nobody waits for ever."""
        self.ask()
        self.say_until(VALUES + encode_record(77, b""), lambda: self.owner.events)
        self.assertEqual(self.owner.events[:1], ["retired BROKEN"])

    def test_split_answer(self) -> None:
        """An answer that comes in two pieces is one."""
        self.ask()
        self.child.send(VALUES[:3])
        self.say_until(VALUES[3:], lambda: self.owner.events)
        self.assertEqual(self.owner.events, ["release"])


class StrayTests(ConnectionTestCase):
    """What a child says unasked."""

    def test_idle(self) -> None:
        """Output, messages or an end while nothing is asked end the connection."""
        for stray in (stdout(b"?"), stderr(b"?"), END, b"HTTP/1.1 400 ", END[:3], stdout(b"?")[:7]):
            self.connect()
            self.child.send(stray)
            self.assertEqual(self.owner.events, ["retired BROKEN", "closed"], stray)
            self.assertTrue(self.child.aborted)

    def test_idle_tolerated(self) -> None:
        """Kinds of records that the specification does not know are skipped."""
        self.connect()
        self.child.send(encode_record(77, b"what"))
        self.assertEqual(self.owner.events, [])
        self.assertFalse(self.connection.is_stale())

    def test_after_end(self) -> None:
        """What follows the end of a response cannot become part of the next one."""
        for stray in (stdout(b"?"), stderr(b"?"), END, stdout(b"?")[:9], END[:3]):
            self.connect()
            exchange = self.start()
            self.owner.next_exchange = following = Exchange()
            self.child.send(stdout(b"1") + END + stray)
            self.assertEqual((exchange.out, exchange.events), (b"1", ["end", "flush"]))
            self.assertEqual(self.owner.events, ["retired BROKEN", "closed"], stray)
            self.assertEqual((following.out, following.log, following.events), (b"", b"", []))

    def test_while_finishing(self) -> None:
        """The same while the child is not ready."""
        self.connect()
        self.child.pause()
        self.start()
        self.child.send(END)
        self.child.send(stdout(b"?"))
        self.assertEqual(self.owner.events, ["finishing", "retired BROKEN", "closed"])
        self.assertFalse(self.connection.is_ready())

    def test_stale(self) -> None:
        """Bytes that nobody has read yet, or an end, show before a request is sent."""
        self.connect()
        self.assertFalse(self.connection.is_stale())
        self.child._socket.send(b"?")
        self.assertTrue(self.connection.is_stale())
        self.connect()
        self.child._socket.shutdown(socket.SHUT_WR)
        self.assertTrue(self.connection.is_stale())


class EndTests(ConnectionTestCase):
    """Connections that end."""

    def test_idle(self) -> None:
        """One that is idle ends without a word."""
        self.connect()
        self.child.close()
        self.assertEqual(self.owner.events, ["retired ENDED", "closed"])

    def test_before(self) -> None:
        """Before anything of a response has come: nothing was answered."""
        self.connect()
        exchange = self.start()
        self.child.close()
        assert exchange.failure is not None
        status, proxy_status, text, answered, unsent = exchange.failure
        self.assertEqual((status, proxy_status), (502, "connection_terminated"))
        self.assertEqual((answered, unsent), (False, False))
        self.assertEqual(text, "unix:/run/php.sock closed the connection before its response")
        self.assertEqual(self.owner.events, ["retired BROKEN", "closed"])

    def test_middle(self) -> None:
        """In the middle of a response, be it after a message only: something was answered."""
        for said in (stdout(b"1"), stderr(b"oh")):
            self.connect()
            exchange = self.start()
            self.child.send(said)
            self.child.end()
            assert exchange.failure is not None
            self.assertEqual(exchange.failure[:2], (502, "http_response_incomplete"))
            self.assertEqual(exchange.failure[3:], (True, False))

    def test_answer_of_the_one_before(self) -> None:
        """What was answered before is not counted for the present request."""
        self.connect()
        self.start()
        self.child.send(stdout(b"1") + END)
        exchange = self.start()
        self.child.close()
        assert exchange.failure is not None
        self.assertFalse(exchange.failure[3])

    def test_after_end(self) -> None:
        """After the end of a response, even if it came together with that, nothing has failed."""
        self.connect()
        exchange = self.start()
        self.child._socket.send(stdout(b"1") + END)
        self.child.end()
        self.assertIsNone(exchange.failure)
        self.assertEqual(self.owner.events[-2:], ["retired ENDED", "closed"])

    def test_unsent(self) -> None:
        """Where the child was gone when the request was written, none of it was sent."""
        self.connect()
        self.child._socket.close()
        self.reactor.peers.remove(self.child)
        exchange = self.start()
        assert exchange.failure is not None
        self.assertEqual(exchange.failure[3:], (False, True))

    def test_unsent_new(self) -> None:
        """The same where it was gone before even the first bytes of the connection were sent."""
        reactor = MemoryReactor()
        connection = FastCGIConnection(BACKEND, Owner(True, 0))
        exchange = Exchange()
        exchange.stdin_complete = True

        class Client(Protocol):
            """Makes, when asked, a connection whose child has gone, and uses it at once."""

            def dataReceived(self, data: bytes) -> None:
                """See L{Protocol}."""
                child = Peer(reactor, connection)
                child._socket.close()
                reactor.peers.remove(child)
                connection.start(exchange, ASKED)

        client = Peer(reactor, Client())
        client.send(b"?")
        client.release()
        assert exchange.failure is not None
        self.assertEqual(exchange.failure[3:], (False, True))

    def test_abort(self) -> None:
        """An exchange that ends a connection hears nothing more of it."""
        for keep in (True, False):
            self.connect(keep=keep)
            exchange = self.start()
            self.connection.abort()
            self.reactor.settle()
            self.assertEqual((exchange.failure, exchange.events), (None, []))
            self.assertEqual(self.owner.events, ["retired BROKEN", "finishing"])

    def test_given_up(self) -> None:
        """What was given up counts until its child is done, and can write nothing meanwhile."""
        self.connect()
        self.child.pause()
        self.start()
        self.connection.abort()
        self.assertFalse(self.connection.is_ready())
        self.child.send(stdout(b"late"))
        self.assertFalse(self.connection.is_ready())
        self.child.resume()
        self.assertTrue(self.connection.is_ready())
        self.connection.finished()
        self.reactor.settle()
        self.assertEqual(self.owner.events, ["retired BROKEN", "finishing", "closed"])

    def test_given_up_ended(self) -> None:
        """A child that has gone is done as well."""
        self.connect()
        self.child.pause()
        self.start()
        self.connection.abort()
        self.child.close()
        self.assertTrue(self.connection.is_ready())
        self.connection.finished()
        self.reactor.settle()
        self.assertEqual(self.owner.events[-1], "closed")

    def test_send_after_end(self) -> None:
        """What is still to be sent to one that has ended goes nowhere."""
        self.connect()
        exchange = self.start(complete=False)
        self.connection.abort()
        exchange.stdin_complete = True
        self.connection.send(END_OF_STDIN)
        self.reactor.settle()
        self.assertEqual(self.child.take(), BEGIN_KEEP + ASKED)


class BackPressureTests(ConnectionTestCase):
    """A child that does not read."""

    def test_full(self) -> None:
        """The exchange is told when the child takes no more, and when it does again."""
        self.connect(capacity=4096)
        self.child.pause()
        exchange = self.start(bytes(1 << 20), complete=False)
        self.assertEqual((exchange.events, self.connection.full), (["full"], True))
        self.child.resume()
        self.assertEqual((exchange.events, self.connection.full), (["full", "drained"], False))

    def test_pause(self) -> None:
        """While the exchange takes nothing, nothing is read."""
        self.connect()
        exchange = self.start()
        self.connection.pause_reading()
        self.child.send(stdout(b"1"))
        self.assertEqual(exchange.out, b"")
        self.connection.resume_reading()
        self.reactor.settle()
        self.assertEqual(exchange.out, b"1")
