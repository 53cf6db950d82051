"""
The whole relay for tests: no listening socket, no network, and a clock moved by hand.

    relay = MemoryRelay(backends=2, pool=2)
    client = relay.client()
    client.send(b"question\\n")
    connection = relay.connections[0]
    connection.received  # the request
    connection.send(b"answer\\n")
    client.received  # the response
    relay.close()

As in L{fastcar_tw.testing} everything between the two ends is the real thing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet import error
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fastcar_tw.pool.stats import Counts
from fastcar_tw.relay.config import RelayConfig
from fastcar_tw.relay.framing import FrameError, Framing, Session, Use
from fastcar_tw.relay.framings.eof import EOFFramer
from fastcar_tw.relay.front import RelayFactory
from fastcar_tw.relay.pool import RelayPool
from fastcar_tw.relay.relay import Relay
from fastcar_tw.relay.traffic import Traffic
from fastcar_tw.testing import MemoryReactor, Peer
from fastcar_tw.tls.machine import TLSMachine
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.upstream.backends import Backend
from tests.forward.support import logged
from tests.tls.support import SelfSigned, careless_context

__all__ = [
    "REFUSING",
    "SIGNS",
    "VISITOR",
    "Attempt",
    "End",
    "MemoryBackend",
    "MemoryRelay",
    "RelayTestCase",
    "SignFraming",
    "logged",
]

#: The address of clients, unless a test says another, and how the log calls them.
CLIENT = ("203.0.113.5", 40000)
VISITOR = "client 203.0.113.5:40000"
#: C{--framing} of requests that say what they do to their connection.
SIGNS = "tests.relay.support.SignFraming"
#: The same, with a response for those that are not carried out.
REFUSING = "tests.relay.support.RefusingFraming"


class SignFraming(Framing):
    """
    Lines, whose first byte says what a request does.  A response that begins with "-ERR" failed.
    """

    uses: ClassVar[dict[bytes, Use]] = {
        b"+": Use.BEGINS,
        b"-": Use.ENDS,
        b"!": Use.OWN,
        b".": Use.LAST,
        b"#": Use.NOTHING,
    }
    farewell = b"bye\n"

    def __init__(self, argument: str, max_frame: int) -> None:
        self._max_frame = max_frame

    def requests(self) -> EOFFramer:
        return EOFFramer(b"\n", self._max_frame)

    responses = requests

    def session(self) -> Session:
        return self  # one line says all there is to say

    def use(self, frame: bytes) -> Use:
        """A question mark begins no request."""
        if frame.startswith(b"?"):
            raise FrameError("expected no question")
        return self.uses.get(frame[:1], Use.SHARED)

    def is_error(self, response: bytes) -> bool:
        return response.startswith(b"-ERR")


class RefusingFraming(SignFraming):
    """The same, with a response for requests that are not carried out."""

    def refusal(self, text: str) -> bytes:
        """A line that begins with "-NO"."""
        return b"-NO %b\n" % text.encode("ascii")


class End(Peer):
    """
    The far end of one of the relay's connections: a client, or a connection to a backend.

    @ivar backend: which one; None for a client.
    """

    def __init__(
        self,
        reactor: MemoryReactor,
        protocol: Any,
        backend: Backend | None = None,
        *,
        machine: TLSMachine | None = None,
        capacity: int | None = None,
    ) -> None:
        self.backend = backend
        super().__init__(reactor, protocol, machine=machine, capacity=capacity)

    @property
    def output_ended(self) -> bool:
        """The relay has ended its sending, and has not closed the connection."""
        return self.ended and not self.closed

    @property
    def paused(self) -> bool:
        """The relay takes nothing from this connection at present."""
        return self.transport.paused

    def reset(self) -> None:
        """Be gone with a reset, which sockets in memory have none of."""
        self.vanish()
        self.transport.connectionLost(Failure(error.ConnectionLost()))
        self._reactor.settle()

    def vanish(self) -> None:
        """Be gone without the reactor having had the time to tell."""
        self._reactor.peers.remove(self)
        self._socket.close()


class Attempt:
    """
    An attempt to connect to a backend.

    @ivar cancelled: it was given up.
    """

    def __init__(
        self, relay: MemoryRelay, backend: MemoryBackend, factory: IProtocolFactory
    ) -> None:
        self.cancelled = False
        self.result: Deferred[Any] = Deferred(self._cancel)
        self._relay = relay
        self._backend = backend
        self._factory = factory

    @property
    def pending(self) -> bool:
        """It was neither accepted nor refused nor given up."""
        return not self.result.called

    def accept(
        self, *, paused: bool = False, gone: bool = False, address: str | None = None
    ) -> End:
        """
        Let it succeed.

        @param paused: the backend reads nothing yet.
        @param gone: it has closed the connection before anybody could use that.
        @param address: the IP address that it has; None: it is on a UNIX socket.
        """
        relay, backend = self._relay, self._backend
        where = UNIXAddress(None) if address is None else IPv4Address("TCP", address, 6379)
        protocol: Any = self._factory.buildProtocol(where)
        end = End(relay.reactor, protocol, backend.backend, capacity=relay.capacity)
        if paused:
            end.pause()
        if gone:
            end.vanish()
        backend.connections.append(end)
        relay.connections.append(end)
        self.result.callback(protocol)
        relay.reactor.settle()
        return end

    def refuse(self, reason: Exception | None = None) -> None:
        """Let it fail: connection refused, unless another reason is given."""
        self.result.errback(reason or error.ConnectionRefusedError())
        self._relay.reactor.settle()

    def settle(self) -> None:
        """What the backend does of itself."""
        if self.pending and self._backend.refusing:
            self.result.errback(error.ConnectionRefusedError())
        elif self.pending:
            self.accept()

    def _cancel(self, _: object) -> None:
        self.cancelled = True


@implementer(IStreamClientEndpoint)
class MemoryBackend:
    """
    A backend.

    @ivar backend: how the relay calls it.
    @ivar accepting: attempts to connect succeed by themselves; else each waits in L{attempts}.
    @ivar refusing: they fail by themselves.
    @ivar attempts: all attempts so far.
    @ivar connections: all connections so far.
    """

    def __init__(self, relay: MemoryRelay, backend: Backend) -> None:
        self.backend = backend
        self.accepting = True
        self.refusing = False
        self.attempts: list[Attempt] = []
        self.connections: list[End] = []
        self._relay = relay

    @property
    def open(self) -> list[End]:
        """The connections that the relay has not closed."""
        return [each for each in self.connections if not each.closed]

    @property
    def counts(self) -> Counts:
        """What the pool knows of it."""
        return self._relay.pool.stats().origins[self.backend]

    @property
    def traffic(self) -> Traffic:
        """What the relay knows of it."""
        return self._relay.relay.stats().traffic[self.backend]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        attempt = Attempt(self._relay, self, protocolFactory)
        self.attempts.append(attempt)
        if self.accepting or self.refusing:
            self._relay.reactor.callLater(0, attempt.settle)
        return attempt.result


class MemoryRelay:
    """
    A relay, its clients, and its backends.

    @ivar reactor: its clock and the carrier of its bytes.
    @ivar relay: what is to be tested.
    @ivar pool: its connections to backends.
    @ivar backends: in the order of C{--backend}.
    @ivar connections: all connections to them so far.
    @ivar capacity: bytes that a connection to a backend holds; see L{Peer}.
    """

    def __init__(
        self,
        *,
        backends: int = 1,
        pool: int | None = 1,
        framing: str | None = "eof:\\n",
        tls: bool = False,
        **options: Any,
    ) -> None:
        """
        @param backends: how many.
        @param pool: None: each client has a connection of its own, and there is no framing.
        @param tls: clients speak TLS.
        @param options: of RelayConfig.
        """
        self.reactor = MemoryReactor()
        self.capacity: int | None = None
        self.connections: list[End] = []
        self.config = RelayConfig(
            listen=("unix:/run/relay.sock",),
            backend=tuple(f"unix:/run/backend-{number}.sock" for number in range(backends)),
            pool=pool,
            framing=framing if pool is not None else None,
            **options,
        )
        self.backends = [MemoryBackend(self, backend) for backend in self.config.backends]
        by_key = {each.backend: each for each in self.backends}
        made = self.config.make_framing()
        self.pool = RelayPool(
            self.reactor,
            self.config.backends,
            by_key.__getitem__,
            self.config.pool_limits,
            self.config.connect_timeout,
            made,
        )
        self.relay = Relay(self.config, self.reactor, self.pool, made)
        contexts = ServerContexts(SelfSigned().context()) if tls else None
        self.factory = RelayFactory(self.relay, contexts)
        self.factory.listener = "memory"
        self._tls = tls
        self.relay.deadlines.watch(self.pool)
        self.relay.deadlines.start()

    def client(
        self, address: tuple[str, int] | None = CLIENT, *, capacity: int | None = None
    ) -> End:
        """
        Connect a client.

        @param address: its own; None: it has come through a UNIX socket.
        @param capacity: see L{Peer}.
        """
        where = UNIXAddress(None) if address is None else IPv4Address("TCP", *address)
        machine = TLSMachine.client(careless_context(), "a.test") if self._tls else None
        protocol = self.factory.buildProtocol(where)
        assert protocol is not None, "turned away"
        client = End(self.reactor, protocol, machine=machine, capacity=capacity)
        if machine is not None:
            client.send_raw(machine.start())
        return client

    def prewarm(self) -> None:
        """Keep as many connections open as the configuration says, as the service does."""
        self.pool.prewarm(dict.fromkeys(self.config.backends, self.config.pool_min))
        self.reactor.settle()

    def drain(self) -> Deferred[None]:
        """Take leave of clients, as the service does when it stops."""
        self.pool.let_cool()
        drained = self.relay.drain()
        self.reactor.settle()
        return drained

    def elapse(self, seconds: float) -> None:
        """Let time go by."""
        self.reactor.elapse(seconds)

    def close(self) -> None:
        """End it all, at once."""
        self.relay.deadlines.stop()
        self.relay.abort()
        self.pool.abort()
        self.reactor.settle()
        for peer in list(self.reactor.peers):
            peer.release()


class RelayTestCase(SynchronousTestCase):
    """
    Has a relay with one client.
    """

    relay: MemoryRelay
    client: End

    def setUp(self) -> None:
        self.start()

    def start(self, **options: Any) -> None:
        """Begin anew with these options of L{MemoryRelay}."""
        self.relay = MemoryRelay(**options)
        self.addCleanup(self.relay.close)
        self.client = self.relay.client()

    @property
    def connection(self) -> End:
        """The latest connection to a backend."""
        return self.relay.connections[-1]

    def exchange(self, request: bytes, response: bytes, client: End | None = None) -> None:
        """Send a request, and check that it and its response arrive."""
        client = client or self.client
        client.send(request)
        for connection in self.relay.connections:
            if connection.received == request:
                connection.take()
                connection.send(response)
                break
        else:
            self.fail(f"{request!r} has not arrived")
        self.assertEqual(client.take(), response)

    def warm(self) -> End:
        """Have one idle connection to a backend, used once before."""
        self.exchange(b"warm\n", b"warmed\n")
        self.assertFalse(self.connection.closed)
        return self.connection
