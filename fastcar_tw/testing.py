"""
A whole proxy for tests: no listening socket, no network, and a clock moved by hand.

    proxy = MemoryProxy()
    client = proxy.client()
    client.send(b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n")
    origin = proxy.origins[0]
    origin.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    client.received  # the response
    proxy.close()

Everything between the two ends is the real thing, TLS included: the transports are eager ones on
socket pairs, and the reactor that carries their bytes runs only when told to.  Whatever a test does
is followed by everything that comes of it before the call returns.
"""

from __future__ import annotations

import atexit
import functools
import os
import select
import shutil
import socket
import tempfile
from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.config import Config
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.front import Front
from fastcar_tw.forward.forwarder import Forwarder
from fastcar_tw.http.target import Origin
from fastcar_tw.routes.selection import Routes
from fastcar_tw.tls.local_ca import LocalCA
from fastcar_tw.tls.machine import TLSError, TLSMachine
from fastcar_tw.tls.policy import new_context
from fastcar_tw.tls.server_contexts import ServerContexts
from fastcar_tw.tls.trust import Trust
from fastcar_tw.transport.eager import EagerUNIXServer
from fastcar_tw.transport.poller import Poller
from fastcar_tw.upstream.endpoints import OriginEndpoints
from fastcar_tw.upstream.pool import ConnectionPool

__all__ = ["Connect", "MemoryProxy", "MemoryReactor", "MemoryTransport", "NestedTLS", "Peer"]

#: Seconds that the clock is moved at a time: deadlines are met in their order.
STEP = 0.25
#: What origins speak inside TLS, the best first: those without HTTP/2, and those with it.
_HTTP1_ALPN = (b"http/1.1",)
_HTTP2_ALPN = (b"h2", b"http/1.1")


class MemoryReactor(Clock):
    """
    A clock that also tells transports when they can read and write, but only inside L{settle}.

    @ivar poller: what transports take for their reactor, as it is in a running proxy.
    @ivar peers: the far ends, which move bytes in L{settle} too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.poller = Poller(self)
        self.peers: list[Peer] = []
        self._poll = select.poll()
        self._poll.register(self.poller.fileno(), select.POLLIN)

    def addReader(self, reader: Any) -> None:
        """
        Only the poller asks for this, and it is looked at in any case.
        """

    def removeReader(self, reader: Any) -> None:
        """
        See L{addReader}.
        """

    def settle(self) -> None:
        """
        Go on until nothing more happens at the present time.
        """
        busy = True
        while busy:
            self.advance(0)
            busy = bool(self._poll.poll(0))
            if busy:
                self.poller.doRead()
            for peer in list(self.peers):
                busy = peer.carry() or busy
                if peer.ended and peer.closed:
                    peer.release()
            busy = busy or any(call.getTime() <= self.seconds() for call in self.calls)

    def elapse(self, seconds: float) -> None:
        """
        Let time go by, in steps of at most L{STEP} seconds.
        """
        end = self.seconds() + seconds
        while self.seconds() < end:
            self.advance(min(STEP, end - self.seconds()))
            self.settle()


class MemoryTransport(EagerUNIXServer):
    """
    The proxy's end of a connection, which keeps account of what the proxy does with it.

    @ivar writes: what was written, piece by piece.
    @ivar aborted: the proxy has broken the connection off.
    """

    protocol: Any

    def __init__(self, skt: socket.socket, protocol: Any, reactor: MemoryReactor) -> None:
        super().__init__(skt, protocol, "", None, 0, reactor.poller)
        self.writes: list[bytes] = []
        self.aborted = False

    @property
    def buffered(self) -> int:
        """
        Bytes written that the kernel has not taken yet.
        """
        return 0 if self.disconnected else len(self.dataBuffer) - self.offset + self._tempDataLen

    @property
    def paused(self) -> bool:
        """
        The proxy takes nothing from this connection at present.
        """
        return not self._reading

    def write(self, data: bytes) -> None:
        if data:
            self.writes.append(data)
        super().write(data)

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Peer:
    """
    The far end of one of the proxy's connections, a client or an origin, in the hands of a test.

    @ivar transport: the proxy's end.
    @ivar origin: the origin played here, or behind the proxy played here; None for a client.
    @ivar machine: TLS, if there is any.
    @ivar failure: why TLS failed, if it did.
    @ivar ended: the proxy will send no more.
    @ivar unsent: bytes that have not found room in the connection.
    """

    def __init__(
        self,
        reactor: MemoryReactor,
        protocol: Any,
        *,
        machine: TLSMachine | None = None,
        origin: Origin | None = None,
        capacity: int | None = None,
        alpn: Sequence[bytes] = _HTTP1_ALPN,
    ) -> None:
        """
        @param protocol: speaks at the proxy's end.
        @param alpn: see L{Connect.accept}; for L{start_tls}.
        @param capacity: bytes that the connection holds either way, roughly; None: as many as the
            system gives.
        """
        ours, self._socket = socket.socketpair()
        self._socket.setblocking(False)
        if capacity is not None:
            for end in (ours, self._socket):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, capacity // 2)
        self.transport = MemoryTransport(ours, protocol, reactor)
        self.machine: TLSMachine | NestedTLS | None = machine
        self.origin = origin
        self.failure: TLSError | None = None
        self.ended = False
        self.unsent = b""
        self._reactor = reactor
        self._alpn = alpn
        self._received = bytearray()
        self._reading = True
        self._ending = False
        reactor.peers.append(self)
        protocol.makeConnection(self.transport)

    @property
    def received(self) -> bytes:
        """
        What has arrived and was not taken yet; inside TLS if there is TLS.
        """
        return bytes(self._received)

    @property
    def closed(self) -> bool:
        """
        The proxy has closed the connection altogether.
        """
        return bool(self.transport.disconnected)

    @property
    def aborted(self) -> bool:
        """
        The proxy has broken the connection off.
        """
        return self.transport.aborted

    @property
    def ended_cleanly(self) -> bool:
        """
        The proxy has ended its sending as a sender does who has said all: not by breaking off, and
        inside TLS with close_notify.
        """
        said = self.machine is None or self.machine.closed
        return self.ended and said and not self.aborted

    def take(self) -> bytes:
        """
        Return what has arrived since the last time.
        """
        data = bytes(self._received)
        self._received.clear()
        return data

    def send(self, data: bytes) -> None:
        """
        Send to the proxy; what finds no room is sent later.
        """
        self.unsent += data if self.machine is None else self.machine.send(data)
        self._reactor.settle()

    def send_raw(self, data: bytes) -> None:
        """
        Send past TLS.
        """
        self.unsent += data
        self._reactor.settle()

    def start_tls(self, machine: TLSMachine | None = None) -> None:
        """
        Be the other end of a tunnel from now on: what was not taken yet, and all that follows, is
        TLS, inside of any there is.

        @param machine: as in L{Connect.accept}.
        """
        inner = machine or _server(self.origin, self._alpn)
        self.machine = inner if self.machine is None else NestedTLS(self.machine, inner)
        self._received += inner.receive(self.take())
        self.unsent += self.machine.outgoing()
        self._reactor.settle()

    def pause(self) -> None:
        """
        Read no more.
        """
        self._reading = False

    def resume(self) -> None:
        """
        Read again.
        """
        self._reading = True
        self._reactor.settle()

    def read(self, size: int) -> None:
        """
        While paused: read up to C{size} bytes, once.
        """
        self._feed(self._socket.recv(size))
        self._reactor.settle()

    def end(self, notify: bool = True) -> None:
        """
        Send no more, but go on reading.

        @param notify: inside TLS, say so.
        """
        if self.machine is not None and notify:
            self.unsent += self.machine.shutdown()
        self._ending = True
        self._reactor.settle()

    def close(self, notify: bool = False) -> None:
        """
        Be gone.

        @param notify: inside TLS, say so before.
        """
        if self.machine is not None and notify:
            self.unsent += self.machine.shutdown()
            self._send_some()
        if self in self._reactor.peers:
            self._reactor.peers.remove(self)
        self._socket.close()
        self._reactor.settle()

    def release(self) -> None:
        """
        Give the sockets back, whatever state they are in.
        """
        self._reactor.peers.remove(self)
        self._socket.close()
        if not self.transport.disconnected:
            self.transport.connectionLost(Failure(error.ConnectionAborted()))

    def carry(self) -> bool:
        """
        Send and receive what can be.

        @return: whether anything moved.
        """
        sent = self._send_some()
        return self._receive_some() or sent

    def _send_some(self) -> bool:
        try:
            sent = self._socket.send(self.unsent) if self.unsent else 0
        except BlockingIOError:
            return False
        except OSError:
            sent = len(self.unsent)
        self.unsent = self.unsent[sent:]
        if not self._ending or self.unsent:
            return bool(sent)
        self._ending = False
        self._socket.shutdown(socket.SHUT_WR)
        return True

    def _receive_some(self) -> bool:
        if not self._reading or self.ended:
            return False
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.ended = not data
        self._feed(data)
        return True

    def _feed(self, data: bytes) -> None:
        machine = self.machine
        if machine is None:
            self._received += data
            return
        try:
            self._received += machine.receive(data)
        except TLSError as failure:
            self.failure = failure
        self.unsent += machine.outgoing()


class NestedTLS:
    """
    TLS inside of TLS; see L{TLSMachine}, whose part it takes.

    @ivar outer: what carries the inner one.
    """

    def __init__(self, outer: TLSMachine | NestedTLS, inner: TLSMachine) -> None:
        self.outer = outer
        self._inner = inner

    @property
    def closed(self) -> bool:
        """
        Both have ended cleanly.
        """
        return self.outer.closed and self._inner.closed

    @property
    def ready(self) -> bool:
        """
        Both handshakes have finished.
        """
        return self._inner.ready

    @property
    def connection(self) -> SSL.Connection:
        """
        Of the inner one.
        """
        return self._inner.connection

    def receive(self, data: bytes) -> bytes:
        """
        Take ciphertext.
        """
        return self._inner.receive(self.outer.receive(data))

    def send(self, plaintext: bytes) -> bytes:
        """
        Encrypt.
        """
        return self.outer.send(self._inner.send(plaintext))

    def outgoing(self) -> bytes:
        """
        What TLS itself has to say.
        """
        return self.outer.outgoing() + self.outer.send(self._inner.outgoing())

    def shutdown(self) -> bytes:
        """
        Say close_notify, both times.
        """
        return self.outer.send(self._inner.shutdown()) + self.outer.shutdown()


class Connect:
    """
    An attempt of the proxy to connect to an origin.

    @ivar origin: whom it is for.
    @ivar cancelled: the proxy has given it up.
    """

    def __init__(self, proxy: MemoryProxy, origin: Origin, factory: IProtocolFactory) -> None:
        self.origin = origin
        self.cancelled = False
        self._proxy = proxy
        self._factory = factory
        self._result: Deferred[Any] = Deferred(self._cancel)

    @property
    def pending(self) -> bool:
        """
        It was neither accepted nor refused nor given up.
        """
        return not self._result.called

    def accept(
        self,
        machine: TLSMachine | None = None,
        *,
        plain: bool = False,
        alpn: Sequence[bytes] | None = None,
    ) -> Peer:
        """
        Let it succeed.

        @param machine: the server side of TLS, in place of one whose certificate is right.
        @param plain: speak no TLS, even if the proxy does.
        @param alpn: the protocols that the origin speaks inside TLS, the best first: it chooses
            the first of them that it is offered, or nothing; None: as L{MemoryProxy.http2} says.
        """
        proxy = self._proxy
        if alpn is None:
            alpn = _HTTP2_ALPN if proxy.http2 else _HTTP1_ALPN
        if machine is None and self._expects_tls() and not plain:
            # A proxy is spoken to in HTTP/1.1, whatever the origins behind it speak.
            direct = self.origin.route is None
            machine = _server(self.origin, alpn) if direct else _certificates().server()
        # There is no address in memory, which the factories of a pool can do without.
        protocol = self._factory.buildProtocol(None)  # type: ignore[arg-type]
        peer = Peer(
            proxy.reactor,
            protocol,
            machine=machine,
            origin=self.origin,
            capacity=proxy.capacity,
            alpn=alpn,
        )
        proxy.origins.append(peer)
        self._result.callback(protocol)
        proxy.reactor.settle()
        return peer

    def refuse(self, reason: Exception | None = None) -> None:
        """
        Let it fail.

        @param reason: connection refused, unless given.
        """
        self._result.errback(reason or error.ConnectionRefusedError())
        self._proxy.reactor.settle()

    def _expects_tls(self) -> bool:
        first = self.origin if self.origin.route is None else self.origin.route
        return first.scheme == "https"

    def _cancel(self, _: object) -> None:
        self.cancelled = True


class _MemoryEndpoints(OriginEndpoints):
    def __init__(self, proxy: MemoryProxy, trust: Trust, origin: Origin) -> None:
        only = proxy.forwarder.config.http2 == "always"
        super().__init__(proxy.reactor, trust, 0.0, proxy, http2_only=only)
        self._proxy = proxy
        self._origin = origin

    def dial(self, host: str, port: int) -> IStreamClientEndpoint:
        return _MemoryEndpoint(self._proxy, self._origin)


@implementer(IStreamClientEndpoint)
class _MemoryEndpoint:
    def __init__(self, proxy: MemoryProxy, origin: Origin) -> None:
        self._proxy = proxy
        self._origin = origin

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        return self._proxy.attempt(self._origin, protocolFactory)


class MemoryProxy:
    """
    A forwarder, its clients, and all the origins of the world.

    @ivar reactor: its clock and the carrier of its bytes.
    @ivar forwarder: what is to be tested, as L{Forwarder} has it.
    @ivar pool: its connections to origins.
    @ivar accepting: attempts to connect succeed by themselves; else each waits in L{connects}.
    @ivar connects: all attempts to connect so far.
    @ivar origins: all connections to origins so far, one L{Peer} each.
    @ivar capacity: see L{Peer}; of all connections to origins from now on.
    @ivar http2: origins speak HTTP/2, and choose it where it is offered.
    @ivar addresses: IPv4 addresses of names, where it needs any; none: there is no such name.
    """

    def __init__(self, config: Config | None = None, routes: Routes | None = None) -> None:
        """
        @param routes: see L{Forwarder}; proxies are played by peers too.
        """
        self.reactor = MemoryReactor()
        self.accepting = True
        self.connects: list[Connect] = []
        self.origins: list[Peer] = []
        self.capacity: int | None = None
        self.http2 = False
        self.addresses: dict[str, list[str]] = {}
        config = config or Config()
        self._trust = Trust((*config.trust, _ca().certificate_path), config.insecure_origins)
        self.pool = ConnectionPool(
            self.reactor,
            self._endpoint_for,
            config.pool_limits,
            connect_timeout=config.connect_timeout,
        )
        self.forwarder = Forwarder(
            config, self.reactor, self.pool, _certificates(), self._trust, routes
        )
        self.forwarder.deadlines.watch(self.pool)
        self.forwarder.deadlines.start()

    def client(self, *, capacity: int | None = None, secure: bool = False) -> Peer:
        """
        Connect a client.

        @param capacity: see L{Peer}.
        @param secure: to the socket where plain HTTP is for https origins.
        """
        return Peer(self.reactor, self._front(secure), capacity=capacity)

    def tls_client(
        self,
        name: str = "a.test",
        *,
        capacity: int | None = None,
        context: SSL.Context | None = None,
    ) -> Peer:
        """
        Connect a client and shake hands.

        @param name: for SNI.
        @param context: in place of one that trusts the proxy's local CA.
        """
        machine = TLSMachine.client(context or _client_context(), name)
        client = Peer(self.reactor, self._front(), machine=machine, capacity=capacity)
        client.send_raw(machine.start())
        return client

    def _front(self, secure: bool = False) -> Front:
        return Front(self.forwarder, Entrance("memory", secure))

    def elapse(self, seconds: float) -> None:
        """
        Let time go by.
        """
        self.reactor.elapse(seconds)

    def attempt(self, origin: Origin, factory: IProtocolFactory) -> Deferred[Any]:
        """
        Connect to an origin, which happens when C{accepting}, or when the test says so.
        """
        connect = Connect(self, origin, factory)
        self.connects.append(connect)
        if self.accepting:
            self.reactor.callLater(0, lambda: connect.pending and connect.accept())
        return connect._result

    def close(self) -> None:
        """
        End it all, at once.
        """
        self.forwarder.deadlines.stop()
        self.forwarder.abort()
        self.pool.abort()
        self.reactor.settle()
        for peer in list(self.reactor.peers):
            peer.release()

    def resolve(self, host: str, port: int) -> Deferred[list[IPv4Address | IPv6Address]]:
        """
        Look a name up.
        """
        addresses = self.addresses.get(host)
        if not addresses:
            return fail(error.DNSLookupError(host))
        return succeed([IPv4Address("TCP", address, port) for address in addresses])

    def _endpoint_for(self, origin: Origin) -> IStreamClientEndpoint:
        return _MemoryEndpoints(self, self._trust, origin)(origin)


def _server(origin: Origin | None, alpn: Sequence[bytes]) -> TLSMachine:
    """
    The server side of TLS with the right certificate.

    @param alpn: see L{Connect.accept}.
    """
    if origin is None or alpn == _HTTP1_ALPN:
        return _certificates().server()
    return TLSMachine.server(_context(origin.tls_name or origin.host, tuple(alpn)))


@functools.cache
def _context(name: str, alpn: tuple[bytes, ...]) -> SSL.Context:
    def choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
        return next((each for each in alpn if each in offered), SSL.NO_OVERLAPPING_PROTOCOLS)

    certificate, key = _ca().issue((name,))
    context = new_context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_alpn_select_callback(choose)
    return context


@functools.cache
def _certificates() -> ServerContexts:
    """
    Certificates of the proxy and of all origins.
    """
    return ServerContexts.from_ca(_ca())


@functools.cache
def _ca() -> LocalCA:
    """
    The CA that signs all certificates.
    """
    directory = tempfile.mkdtemp(prefix="fc")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return LocalCA.load_or_create(os.path.join(directory, "ca"))


def _client_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.load_verify_locations(_ca().certificate_path)
    context.set_verify(SSL.VERIFY_PEER)
    return context
