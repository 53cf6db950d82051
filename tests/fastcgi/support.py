"""
The whole FastCGI service for tests: no listening socket, no php-fpm, and a clock moved by hand.

    gateway = MemoryGateway()
    gateway.write("index.php")
    client = gateway.client()
    client.send(b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n")
    child = gateway.children[0]
    child.request.params[b"SCRIPT_NAME"]
    child.answer(b"Content-Type: text/plain\\r\\n\\r\\nhi")
    client.received  # the response
    gateway.close()

As in L{fastcar_tw.testing} everything between the two ends is the real thing.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from typing import Any, NamedTuple

from twisted.internet import error
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fastcar_tw.fastcgi.config import FastCGIConfig
from fastcar_tw.fastcgi.front import GatewayFactory
from fastcar_tw.fastcgi.gateway import Gateway
from fastcar_tw.fastcgi.pool import FastCGIPool
from fastcar_tw.fastcgi.records import (
    BEGIN_REQUEST,
    END_REQUEST,
    GET_VALUES_RESULT,
    PARAMS,
    STDERR,
    STDIN,
    STDOUT,
    encode_pair,
    encode_record,
    parse_values,
)
from fastcar_tw.testing import MemoryReactor, Peer
from fastcar_tw.tls.machine import TLSMachine
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.upstream.backends import Backend
from tests.forward.support import logged
from tests.tls.support import SelfSigned, careless_context

__all__ = [
    "OK",
    "PAGE",
    "Attempt",
    "Child",
    "GatewayTestCase",
    "MemoryGateway",
    "ScriptRequest",
    "end_request",
    "logged",
    "stderr",
    "stdout",
]

GET_VALUES = 9
HEADER = struct.Struct(">BBHHBx")
#: What a script writes whose page is "hi", and the same from a script that says its length.
PAGE = b"Content-Type: text/plain\r\n\r\nhi"
OK = b"Content-Length: 2\r\n\r\nhi"
#: The address of clients, unless a test says another.
CLIENT = ("203.0.113.5", 40000)
FPM = "unix:/run/php-fpm.sock"


def stdout(content: bytes) -> bytes:
    """Output of a script, in as many records as it takes."""
    return _stream(STDOUT, content)


def stderr(content: bytes) -> bytes:
    """The same for its messages."""
    return _stream(STDERR, content)


def _stream(kind: int, content: bytes) -> bytes:
    pieces = [content[at : at + 65528] for at in range(0, len(content), 65528)]
    return b"".join(encode_record(kind, piece) for piece in pieces)


def end_request(protocol_status: int = 0) -> bytes:
    """The end of a response."""
    return encode_record(END_REQUEST, struct.pack(">IB3x", 0, protocol_status))


class ScriptRequest:
    """
    A request as a child of php-fpm sees it.

    @ivar keep: the connection stays.
    @ivar params: its variables, as far as they have come.
    @ivar begun: all variables have come, so that the child is at work.
    @ivar stdin: its body, as far as it has come.
    @ivar complete: that is all of it.
    """

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.params: dict[bytes, bytes] = {}
        self.begun = False
        self.stdin = b""
        self.complete = False

    @property
    def name(self) -> bytes:
        """The script."""
        return self.params[b"SCRIPT_NAME"]


class Child(Peer):
    """
    A connection to php-fpm, in the hands of a test, and as strict as php-fpm is.

    What a child writes in one call arrives in one piece.

    @ivar backend: the php-fpm it belongs to.
    """

    def __init__(
        self, reactor: MemoryReactor, protocol: Any, backend: Backend, capacity: int | None
    ) -> None:
        self.backend = backend
        self._asked = 0
        self._unread = b""
        self._requests: list[ScriptRequest] = []
        super().__init__(reactor, protocol, capacity=capacity)

    # What has come.

    @property
    def requests(self) -> list[ScriptRequest]:
        """All requests so far, the one that was only begun ahead not included."""
        return [each for each in self._look() if each.params]

    @property
    def request(self) -> ScriptRequest:
        """The latest one."""
        return self.requests[-1]

    @property
    def begun_ahead(self) -> bool:
        """The latest BEGIN_REQUEST is of a request that has not come yet."""
        requests = self._look()
        return bool(requests) and not requests[-1].params

    @property
    def asked(self) -> int:
        """How many GET_VALUES have come and were not answered."""
        self._look()
        return self._asked

    def _look(self) -> list[ScriptRequest]:
        data = self._unread + self.take()
        at = 0
        while len(data) - at >= HEADER.size:
            version, kind, request_id, length, padding = HEADER.unpack_from(data, at)
            end = at + HEADER.size + length + padding
            if end > len(data):
                break
            start = at + HEADER.size
            assert version == 1 and request_id == (kind != GET_VALUES)
            self._take_record(kind, data[start : start + length])
            at = end
        self._unread = data[at:]
        return self._requests

    def _take_record(self, kind: int, content: bytes) -> None:
        requests = self._requests
        if kind == GET_VALUES:
            assert parse_values(content) == {b"FCGI_MPXS_CONNS": b""}
            self._asked += 1
        elif kind == BEGIN_REQUEST:
            assert not requests or requests[-1].complete, "a request within another"
            role, flags = struct.unpack(">HB5x", content)
            assert role == 1 and flags < 2
            requests.append(ScriptRequest(bool(flags)))
        elif kind == PARAMS:
            assert not requests[-1].begun
            requests[-1].begun = not content
            requests[-1].params.update(parse_values(content))
        else:
            assert kind == STDIN and requests[-1].begun and not requests[-1].complete
            requests[-1].complete = not content
            requests[-1].stdin += content

    # What is said.

    def vanish(self) -> None:
        """Be gone without the reactor having had the time to tell."""
        self._reactor.peers.remove(self)
        self._socket.close()

    def stdout(self, content: bytes) -> None:
        """Write."""
        self.send(stdout(content))

    def stderr(self, content: bytes) -> None:
        """Complain."""
        self.send(stderr(content))

    def end_request(self, protocol_status: int = 0) -> None:
        """Have done with the request."""
        self.send(end_request(protocol_status))

    def answer(self, content: bytes = PAGE) -> None:
        """Write everything and be done, in one piece."""
        self.send(stdout(content) + end_request())

    def values(self) -> None:
        """Answer GET_VALUES."""
        assert self.asked
        self._asked -= 1
        self.send(encode_record(GET_VALUES_RESULT, encode_pair(b"FCGI_MPXS_CONNS", b"0"), 0))


class Attempt:
    """
    An attempt to connect to a php-fpm.

    @ivar backend: to which.
    @ivar cancelled: it was given up.
    """

    def __init__(self, gateway: MemoryGateway, backend: Backend, factory: IProtocolFactory) -> None:
        self.backend = backend
        self.cancelled = False
        self.result: Deferred[Any] = Deferred(self._cancel)
        self._gateway = gateway
        self._factory = factory

    @property
    def pending(self) -> bool:
        """It was neither accepted nor refused nor given up."""
        return not self.result.called

    def accept(self, *, paused: bool = False, gone: bool = False) -> Child:
        """
        Let it succeed.

        @param paused: the child reads nothing yet.
        @param gone: it has closed the connection before anybody could use that.
        """
        gateway = self._gateway
        protocol: Any = self._factory.buildProtocol(UNIXAddress(None))
        child = Child(gateway.reactor, protocol, self.backend, gateway.capacity)
        if paused:
            child.pause()
        if gone:
            child.vanish()
        gateway.children.append(child)
        self.result.callback(protocol)
        gateway.reactor.settle()
        return child

    def refuse(self, reason: Exception | None = None) -> None:
        """Let it fail: connection refused, unless another reason is given."""
        self.result.errback(reason or error.ConnectionRefusedError())
        self._gateway.reactor.settle()

    def _cancel(self, _: object) -> None:
        self.cancelled = True


@implementer(IStreamClientEndpoint)
class _MemoryEndpoint(NamedTuple):
    gateway: MemoryGateway
    backend: Backend

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        return self.gateway.attempt(self.backend, protocolFactory)


class MemoryGateway:
    """
    A gateway, its clients, a root with files, and all of php-fpm.

    @ivar reactor: its clock and the carrier of its bytes.
    @ivar root: a new directory; "index.php" and "file.txt" (of "text") are there.
    @ivar beside: another one next to it, empty.
    @ivar gateway: what is to be tested.
    @ivar pool: its connections to php-fpm.
    @ivar accepting: attempts to connect succeed by themselves; else each waits in L{attempts}.
    @ivar refusing: backends that refuse every attempt.
    @ivar attempts: all attempts to connect so far.
    @ivar children: all connections to php-fpm so far.
    @ivar capacity: bytes that a connection to php-fpm holds; see L{Peer}.
    """

    def __init__(self, **options: Any) -> None:
        """
        @param options: of FastCGIConfig; "{beside}" stands for that directory.
        """
        top = os.path.realpath(tempfile.mkdtemp(prefix="fc", dir="/tmp"))
        self._top = top
        self.root = os.path.join(top, "public")
        self.beside = os.path.join(top, "beside")
        os.mkdir(self.root)
        os.mkdir(self.beside)
        self.write("index.php")
        self.write("file.txt", b"text")
        self.reactor = MemoryReactor()
        self.accepting = True
        self.refusing: set[Backend] = set()
        self.attempts: list[Attempt] = []
        self.children: list[Child] = []
        self.capacity: int | None = None
        for name, value in options.items():
            if isinstance(value, str):
                options[name] = value.format(beside=self.beside)
        self.config = FastCGIConfig(**{"fpm": (FPM,), "root": self.root, **options})
        self.pool = FastCGIPool(
            self.reactor,
            self.config.backends,
            lambda backend: _MemoryEndpoint(self, backend),
            self.config.pool_limits,
            connect_timeout=self.config.connect_timeout,
            keep=self.config.keep,
            max_requests=self.config.max_requests,
        )
        contexts = ServerContexts(SelfSigned().context())
        self.gateway = Gateway(self.config, self.reactor, self.pool, contexts)
        self.gateway.deadlines.watch(self.pool)
        self.gateway.deadlines.start()

    def write(self, name: str, content: bytes = b"", *, beside: bool = False) -> str:
        """
        Make a file in the root or beside it, and the directories it is in.

        @return: its path.
        """
        path = os.path.join(self.beside if beside else self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def client(
        self,
        address: tuple[str, int] | None = CLIENT,
        *,
        tls: bool = False,
        capacity: int | None = None,
    ) -> Peer:
        """
        Connect a client.

        @param address: its own; None: it has come through a UNIX socket.
        @param capacity: see L{Peer}.
        """
        factory = GatewayFactory(self.gateway)
        factory.listener = "memory"
        where = UNIXAddress(None) if address is None else IPv4Address("TCP", *address)
        machine = TLSMachine.client(careless_context(), "a.test") if tls else None
        protocol = factory.buildProtocol(where)
        client = Peer(self.reactor, protocol, machine=machine, capacity=capacity)
        if machine is not None:
            client.send_raw(machine.start())
        return client

    def attempt(self, backend: Backend, factory: IProtocolFactory) -> Deferred[Any]:
        """Connect to a php-fpm, which happens when C{accepting}, or when the test says so."""
        attempt = Attempt(self, backend, factory)
        self.attempts.append(attempt)
        if backend in self.refusing or self.accepting:
            self.reactor.callLater(0, self._settle_attempt, attempt)
        return attempt.result

    def _settle_attempt(self, attempt: Attempt) -> None:
        if attempt.pending:
            attempt.refuse() if attempt.backend in self.refusing else attempt.accept()

    def elapse(self, seconds: float) -> None:
        """Let time go by."""
        self.reactor.elapse(seconds)

    def close(self) -> None:
        """End it all, at once."""
        self.gateway.deadlines.stop()
        self.gateway.abort()
        self.pool.abort()
        self.reactor.settle()
        for peer in list(self.reactor.peers):
            peer.release()
        shutil.rmtree(self._top)


class GatewayTestCase(SynchronousTestCase):
    """
    Has a gateway with one client.
    """

    gateway: MemoryGateway
    client: Peer

    def setUp(self) -> None:
        self.start()

    def start(self, **options: Any) -> None:
        """Begin anew with these options."""
        self.gateway = MemoryGateway(**options)
        self.addCleanup(self.gateway.close)
        self.client = self.gateway.client()

    @property
    def child(self) -> Child:
        """The latest connection to php-fpm."""
        return self.gateway.children[-1]

    def exchange(self, asked: bytes, answered: bytes = PAGE) -> bytes:
        """Send a request and what the script writes; return what reached the client."""
        self.client.send(asked)
        self.child.answer(answered)
        return self.client.take()

    def warm(self) -> Child:
        """Have one idle connection to php-fpm, used once before."""
        self.exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        self.assertFalse(self.child.closed)
        return self.child

    def alive(self, client: Peer | None = None) -> None:
        """Check that a client connection serves another request."""
        client = client or self.client
        client.take()
        client.send(b"GET /index.php/alive HTTP/1.1\r\nHost: a.test\r\n\r\n")
        self.child.answer(PAGE)
        self.assertTrue(client.take().startswith(b"HTTP/1.1 200 "))
