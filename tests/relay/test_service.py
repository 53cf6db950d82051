"""The relay service as Twisted starts and stops it: a real reactor, real sockets, and backends that
a test plays."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL
from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, DefaultOpenSSLContextFactory
from twisted.logger import capturedLogs, formatEvent

from fastcar_tw.downstream.listeners import ListenerError
from fastcar_tw.options import Options
from fastcar_tw.relay.config import RelayConfig
from fastcar_tw.relay.service import RelayService
from fastcar_tw.service import CommandLineService, makeService
from fastcar_tw.tls.machine import TLSMachine
from tests.services import DirectoryTestCase, SocketTests
from tests.tls.support import SelfSigned
from tests.transport.harness import HalfCloseRecorder

REACTOR: Any = reactor
ANY_PORT = "tcp:0:interface=127.0.0.1"
#: Of shared connections.
POOLED = {"pool": 1, "framing": "eof:\\n"}


def over(client: HalfCloseRecorder) -> Deferred[None]:
    """The service has ended the connection, in whatever way."""
    return client.when(lambda: bool({"read lost", "lost"} & set(client.events)))


def turn() -> Deferred[None]:
    """One turn of the reactor."""
    deferred: Deferred[None] = Deferred()
    REACTOR.callLater(0, deferred.callback, None)
    return deferred


class Serving(HalfCloseRecorder):
    """
    A connection to a backend.
    """

    transport: Any

    def __init__(self, backend: PlayedBackend) -> None:
        super().__init__()
        self._backend = backend

    def connectionMade(self) -> None:
        """Say what there is to say at first."""
        if self._backend.greeting:
            self.transport.write(self._backend.greeting)
        super().connectionMade()

    def happened(self, event: str) -> None:
        """See L{Recorder.happened}."""
        super().happened(event)
        self._backend.happened()


class PlayedBackend(Factory):
    """
    A backend.

    @ivar connections: all there were.
    @ivar greeting: what it says first.
    """

    noisy = False

    def __init__(self, greeting: bytes = b"") -> None:
        self.connections: list[Serving] = []
        self.greeting = greeting
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def buildProtocol(self, addr: object) -> Serving:
        """Another connection."""
        serving = Serving(self)
        self.connections.append(serving)
        return serving

    @property
    def open(self) -> list[Serving]:
        """The connections that are there."""
        return [each for each in self.connections if "made" in each.events and not each.reason]

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fire once the condition holds."""
        deferred: Deferred[None] = Deferred()
        self._waiting.append((condition, deferred))
        self.happened()
        return deferred

    def connected(self, count: int = 1) -> Deferred[None]:
        """Fire once so many connections are there."""
        return self.when(lambda: len(self.open) >= count)

    def happened(self) -> None:
        """Wake those whose condition has become true."""
        due = [item for item in self._waiting if item[0]()]
        self._waiting = [item for item in self._waiting if item not in due]
        for _, deferred in due:
            deferred.callback(None)


class HastyTLSServer(Protocol):
    """
    A TLS server that says something together with the last of its handshake.
    """

    def __init__(self, context: SSL.Context) -> None:
        self._machine = TLSMachine.server(context)
        self._said = False

    def dataReceived(self, data: bytes) -> None:
        """Shake hands, and speak."""
        assert self.transport is not None
        self._machine.receive(data)
        reply = self._machine.outgoing()
        if self._machine.ready and not self._said:
            self._said = True
            reply += self._machine.send(b"220 ready\n")
        self.transport.write(reply)


class ServiceTestCase(DirectoryTestCase):
    """
    Has a relay in a directory, and what plays its backend.
    """

    def setUp(self) -> None:
        """Make the backend."""
        super().setUp()
        self.backend = PlayedBackend()

    def listen_backend(self, name: str = "b", backend: PlayedBackend | None = None) -> Any:
        """Have a backend there."""
        port = REACTOR.listenUNIX(self.join(name), backend or self.backend)
        self.addCleanup(port.stopListening)
        return port

    def listen_tcp(self, backend: Any = None, contexts: Any = None) -> int:
        """Have one at a port, or one with TLS; return the port."""
        factory = backend or self.backend
        if contexts is None:
            port = REACTOR.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = REACTOR.listenSSL(0, factory, contexts, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def make_service(self, **options: Any) -> RelayService:
        """See L{DirectoryTestCase.make_service}."""
        needed = {"backend": (f"unix:{self.join('b')}",), "listen": (f"unix:{self.path}",)}
        return RelayService(RelayConfig(**{**needed, **options}))

    @inlineCallbacks
    def paired(self, endpoint: IStreamClientEndpoint | int | None = None) -> Any:
        """A client and its connection."""
        client = yield self.connect(endpoint)
        before = len(self.backend.open)
        yield self.backend.connected(before + 1)
        return client, self.backend.open[-1]

    @inlineCallbacks
    def check_relayed(self, client: Any, serving: Any) -> Any:
        """Bytes pass both ways."""
        client.received = serving.received = b""
        client.transport.write(b"question")
        yield serving.gets(8)
        serving.transport.write(b"an answer")
        yield client.gets(9)
        self.assertEqual((serving.received, client.received), (b"question", b"an answer"))


def told(events: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The levels and lines of the log, with N for port numbers."""
    return [
        (event["log_level"].name, re.sub(r"(?<=[01\]]):[1-9][0-9]*", ":N", formatEvent(event)))
        for event in events
        if event.get("log_namespace") == "fastcar"
    ]


class StartTests(ServiceTestCase, SocketTests):
    """Starting."""

    @inlineCallbacks
    def test_pairs(self) -> Any:
        """Each client has a connection of its own, wherever it comes in."""
        self.listen_backend()
        listen = (f"unix:{self.path}", ANY_PORT, "tcp:0:interface=\\:\\:1")
        _, [four, six] = self.started(listen=listen)
        for endpoint in (
            UNIXClientEndpoint(REACTOR, self.path),
            TCP4ClientEndpoint(REACTOR, "127.0.0.1", four),
            TCP6ClientEndpoint(REACTOR, "::1", six),
        ):
            client, serving = yield self.paired(endpoint)
            yield self.check_relayed(client, serving)
        self.assertEqual(len(self.backend.connections), 3)

    @inlineCallbacks
    def test_pooled(self) -> Any:
        """With --pool the requests of all share a connection."""
        self.listen_backend()
        self.start(**POOLED)
        for number in range(3):
            client = yield self.connect()
            client.transport.write(b"%d\n" % number)
            yield self.backend.connected()
            [serving] = self.backend.connections
            yield serving.gets(2)
            serving.received = b""
            serving.transport.write(b"answer\n")
            yield client.gets(7)
        self.assertEqual(len(self.backend.connections), 1)

    def test_lines(self) -> None:
        """Lines tell each place with the port that it has, and where to and how is relayed."""
        with capturedLogs() as events:
            self.start(
                listen=(ANY_PORT, f"unix:{self.path}", "tcp:0"),
                backend=("unix:/run/b.sock", "tcp:redis.test:6379", "tls:redis.test:6380"),
            )
        expected = [
            "listening on tcp:127.0.0.1:N",
            f"listening on unix:{self.path}",
            "listening on tcp:0.0.0.0:N, which is open to other machines",
            "relaying to unix:/run/b.sock, tcp:redis.test:6379, tls:redis.test:6380, a connection"
            " for each client",
        ]
        self.assertEqual(told(events), [("info", line) for line in expected])

    def test_pooled_line(self) -> None:
        """With a pool it tells how large that is."""
        with capturedLogs() as events:
            self.start(backend=("unix:/run/b.sock",), pool=3, framing="resp")
        self.assertEqual(
            told(events)[-1],
            ("info", "relaying to unix:/run/b.sock, up to 3 connections each for all clients"),
        )

    def descriptors(self, limit: int, **options: Any) -> list[tuple[str, str]]:
        """What is told at the start, beside what always is, if there may be so many of them."""
        self.patch(resource, "getrlimit", lambda what: (limit, resource.RLIM_INFINITY))
        with capturedLogs() as events:
            self.service(backend=("unix:/run/b.sock",), **options).startService()
        return [(level, line) for level, line in told(events) if level != "info"]

    def test_descriptors(self) -> None:
        """That there are fewer descriptors than clients may need is a warning: a pair has two."""
        for options, least in (({}, 200), (POOLED, 100)):
            line = (
                f"--max-clients 100 needs more than the {least - 1} descriptors there may be"
                " (RLIMIT_NOFILE)"
            )
            for limit, lines in (
                (least - 1, [("warn", line)]),
                (least, []),
                (resource.RLIM_INFINITY, []),
            ):
                self.path = self.join(f"s{limit}-{least}")
                self.assertEqual(self.descriptors(limit, max_clients=100, **options), lines)

    def test_insecure_line(self) -> None:
        """Whose certificates are not verified is a warning."""
        with capturedLogs() as events:
            self.start(backend=("tls:a.test:1", "tls:b.test:2"), insecure_origins=("b.test",))
        [line] = [line for level, line in told(events) if level != "info"]
        self.assertEqual(line, "certificates of b.test are NOT verified")

    @inlineCallbacks
    def test_tls_clients(self) -> Any:
        """With a certificate clients speak TLS; those that do not are ended."""
        self.listen_backend()
        cert, key = SelfSigned().write(self.directory)
        _, [port] = self.started(listen=(ANY_PORT,), cert=cert, key=key)
        client = yield self.connect(port)
        client.transport.startTLS(CertificateOptions())
        yield self.backend.connected()
        yield self.check_relayed(client, self.backend.open[0])
        plain = yield self.connect(port)
        plain.transport.write(b"question\r\n\r\n")
        yield over(plain)
        self.assertEqual(len(self.backend.connections), 1)

    @inlineCallbacks
    def test_backend_comes_later(self) -> Any:
        """Without a backend the service runs; clients are served as soon as it is there."""
        self.start()
        with capturedLogs() as events:
            client = yield self.connect()
            yield over(client)
        [(level, line)] = told(events)
        self.assertEqual(level, "warn")
        key = f"unix:{self.join('b')}"
        who = f"client of unix:{self.path} (pid {os.getpid()})"
        self.assertTrue(line.startswith(f"{who}: {key}: "), line)
        self.assertTrue(line.endswith("; closed"), line)
        self.listen_backend()
        client, serving = yield self.paired()
        yield self.check_relayed(client, serving)

    @inlineCallbacks
    def test_other_backend(self) -> Any:
        """Where one is not there another one serves."""
        self.listen_backend()
        service = self.start(backend=(f"unix:{self.join('none')}", f"unix:{self.join('b')}"))
        for _ in range(3):
            client, serving = yield self.paired()
            yield self.check_relayed(client, serving)
        none, there = service.relay.stats().pool.origins.values()
        self.assertEqual((none.failed, there.failed, there.opened), (1, 0, 3))

    @inlineCallbacks
    def test_by_name(self) -> Any:
        """A backend may be at a port, by name."""
        self.start(backend=(f"tcp:localhost:{self.listen_tcp()}",))
        client, serving = yield self.paired()
        yield self.check_relayed(client, serving)

    @inlineCallbacks
    def test_all_or_none(self) -> Any:
        """When one place cannot be had none is taken, and all can be when it is free again."""
        self.listen_backend()
        taken = REACTOR.listenTCP(0, Factory(), interface="127.0.0.1")
        number = taken.getHost().port
        service = self.service(listen=(f"unix:{self.path}", f"tcp:{number}:interface=127.0.0.1"))
        error = self.assertRaises(ListenerError, service.privilegedStartService)
        self.assertEqual(
            str(error),
            f"--listen: expected a free port of this machine, not tcp:127.0.0.1:{number} "
            "(Address already in use)",
        )
        yield turn()
        self.assertFalse(os.path.exists(self.path))
        yield taken.stopListening()
        service.privilegedStartService()
        service.startService()
        for endpoint in (None, number):
            client, serving = yield self.paired(endpoint)
            yield self.check_relayed(client, serving)

    @inlineCallbacks
    def test_loop(self) -> Any:
        """A backend that turns out to be the relay itself is not connected to, again and again."""
        free = REACTOR.listenTCP(0, Factory(), interface="127.0.0.1")
        port = free.getHost().port
        yield free.stopListening()
        self.start(
            listen=(f"tcp:{port}:interface=127.0.0.1",),
            backend=(f"tcp:[::ffff:127.0.0.1]:{port}",),
        )
        with capturedLogs() as events:
            client = yield self.connect(port)
            yield over(client)
        [(level, line)] = told(events)
        self.assertEqual(level, "warn")
        self.assertTrue(line.endswith(": that is fastcar itself; closed"), line)


class EndTests(ServiceTestCase):
    """How pairs end, over TCP."""

    @inlineCallbacks
    def tcp_pair(self, **options: Any) -> Any:
        """A client and its connection, both over TCP."""
        backend = (f"tcp:127.0.0.1:{self.listen_tcp()}",)
        _, [port] = self.started(listen=(ANY_PORT,), backend=backend, **options)
        return (yield self.paired(port))

    @inlineCallbacks
    def test_half_close(self) -> Any:
        """An end of input is passed on either way, and the other direction stays open."""
        client, serving = yield self.tcp_pair()
        client.transport.write(b"all")
        client.transport.loseWriteConnection()
        yield serving.when(lambda: "read lost" in serving.events)
        self.assertEqual(serving.received, b"all")
        serving.transport.write(b"answer")
        yield client.gets(6)
        self.assertNotIn("read lost", client.events)
        serving.transport.loseConnection()
        yield client.when(lambda: "read lost" in client.events)
        self.assertIsNone(client.reason)

    @inlineCallbacks
    def test_reset(self) -> Any:
        """A reset of either is one of the other, at once, and is told with the name of who it
        was."""
        for who in ("client", "backend"):
            client, serving = yield self.tcp_pair()
            one, other = (client, serving) if who == "client" else (serving, client)
            with capturedLogs() as events:
                one.transport.abortConnection()
                yield other.ends()
            self.assertIsNotNone(other.reason.check(ConnectionLost))
            self.assertNotIn("read lost", other.events)
            [(level, line)] = told(events)
            self.assertEqual(level, "warn")
            self.assertRegex(
                line, rf"^client 127\.0\.0\.1:N with tcp:127.*: the {who} has broken it off$"
            )
            self.backend = PlayedBackend()

    @inlineCallbacks
    def test_proxy_header(self) -> Any:
        """A backend is told the addresses of the client's connection, and then what it sends."""
        for version in ("v1", "v2"):
            client, serving = yield self.tcp_pair(proxy_protocol=version)
            here, there = client.transport.getHost(), client.transport.getPeer()
            ports = here.port, there.port
            line = b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % ports
            if version == "v2":
                line = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + 2 * b"\x7f\0\0\x01"
                line += b"".join(port.to_bytes(2, "big") for port in ports)
            client.transport.write(b"hello")
            yield serving.gets(len(line) + 5)
            self.assertEqual(serving.received, line + b"hello")
            self.backend = PlayedBackend()

    @inlineCallbacks
    def test_proxy_header_ipv6(self) -> Any:
        """Of IPv6 as well."""
        backend = (f"tcp:127.0.0.1:{self.listen_tcp()}",)
        listen = ("tcp:0:interface=\\:\\:1",)
        _, [port] = self.started(listen=listen, backend=backend, proxy_protocol="v1")
        client, serving = yield self.paired(TCP6ClientEndpoint(REACTOR, "::1", port))
        line = b"PROXY TCP6 ::1 ::1 %d %d\r\n" % (client.transport.getHost().port, port)
        yield serving.gets(len(line))
        self.assertEqual(serving.received, line)

    @inlineCallbacks
    def test_proxy_header_unix(self) -> Any:
        """Of UNIX sockets there is nothing to tell."""
        self.listen_backend()
        self.start(proxy_protocol="v1")
        _, serving = yield self.paired()
        yield serving.gets(15)
        self.assertEqual(serving.received, b"PROXY UNKNOWN\r\n")


class TLSBackendTests(ServiceTestCase):
    """Backends that speak TLS."""

    def secure(self, name: str = "localhost", backend: PlayedBackend | None = None) -> str:
        """Have one; return its name for --backend.  Its certificate is in C{self.cert}."""
        self.cert, key = SelfSigned(name).write(self.directory)
        port = self.listen_tcp(backend, DefaultOpenSSLContextFactory(key, self.cert))
        return f"tls:localhost:{port}"

    @inlineCallbacks
    def test_pair(self) -> Any:
        """What passes in a pair is encrypted there, and only there."""
        backend = self.secure()
        self.start(backend=(backend,), trust=(self.cert,))
        client, serving = yield self.paired()
        yield self.check_relayed(client, serving)

    @inlineCallbacks
    def test_pooled(self) -> Any:
        """So are requests over shared connections."""
        backend = self.secure()
        self.start(backend=(backend,), trust=(self.cert,), **POOLED)
        client = yield self.connect()
        client.transport.write(b"ask\n")
        yield self.backend.connected()
        [serving] = self.backend.open
        yield serving.gets(4)
        serving.transport.write(b"told\n")
        yield client.gets(5)
        self.assertEqual((serving.received, client.received), (b"ask\n", b"told\n"))

    @inlineCallbacks
    def refused(self, **options: Any) -> Any:
        """Why a client is refused."""
        self.start(**options)
        with capturedLogs() as events:
            client = yield self.connect()
            yield over(client)
        [(_, line)] = told(events)
        return line

    @inlineCallbacks
    def test_not_trusted(self) -> Any:
        """A backend whose certificate is not trusted gets nothing, and its client is ended."""
        backend = self.secure()
        line = yield self.refused(backend=(backend,))
        self.assertIn(f"{backend}: ", line)
        self.assertIn("certificate", line)
        self.assertTrue(all(not each.received for each in self.backend.connections))

    @inlineCallbacks
    def test_other_name(self) -> Any:
        """Nor does one whose certificate names another host."""
        backend = self.secure("other.test")
        line = yield self.refused(backend=(backend,), trust=(self.cert,))
        self.assertIn("localhost", line)

    @inlineCallbacks
    def test_insecure(self) -> Any:
        """Unless it need not be verified."""
        backend = self.secure("other.test")
        self.start(backend=(backend,), insecure_origins=("localhost",))
        client, serving = yield self.paired()
        yield self.check_relayed(client, serving)

    @inlineCallbacks
    def test_no_alpn(self) -> Any:
        """No protocol is asked for by name: HTTP is what is spoken least here."""
        seen: list[list[bytes]] = []
        self.cert, key = SelfSigned("localhost").write(self.directory)
        contexts = DefaultOpenSSLContextFactory(key, self.cert)

        def choose(connection: SSL.Connection, offered: list[bytes]) -> bytes:
            seen.append(offered)
            return offered[0]

        contexts.getContext().set_alpn_select_callback(choose)
        port = self.listen_tcp(contexts=contexts)
        self.start(backend=(f"tls:localhost:{port}",), trust=(self.cert,))
        client, serving = yield self.paired()
        yield self.check_relayed(client, serving)
        self.assertEqual(seen, [])

    @inlineCallbacks
    def test_greeting(self) -> Any:
        """In a pair the backend may be the first to speak."""
        self.backend.greeting = b"220 ready\n"
        backend = self.secure()
        self.start(backend=(backend,), trust=(self.cert,))
        client = yield self.connect()
        yield client.gets(10)
        self.assertEqual(client.received, b"220 ready\n")

    def hasty(self) -> str:
        """A backend that speaks together with the end of its handshake."""
        certificate = SelfSigned("localhost")
        self.cert, _ = certificate.write(self.directory)
        context = certificate.context()
        # There the last word of the handshake is the server's.
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        factory = Factory.forProtocol(lambda: HastyTLSServer(context))
        factory.noisy = False
        return f"tls:localhost:{self.listen_tcp(factory)}"

    @inlineCallbacks
    def test_hasty_pair(self) -> Any:
        """Even together with the end of the handshake."""
        backend = self.hasty()
        self.start(backend=(backend,), trust=(self.cert,))
        client = yield self.connect()
        yield client.gets(10)
        self.assertEqual(client.received, b"220 ready\n")

    @inlineCallbacks
    def test_hasty_pooled(self) -> Any:
        """Over shared connections that would be taken for a response: such a backend is none."""
        backend = self.hasty()
        self.start(backend=(backend,), trust=(self.cert,), **POOLED)
        with capturedLogs() as events:
            client = yield self.connect()
            client.transport.write(b"ask\n")
            yield over(client)
        self.assertEqual(client.received, b"")
        [(_, line)] = told(events)
        self.assertIn("sent data before it was asked", line)


class MovedTests(ServiceTestCase):
    """Backends whose names get other addresses."""

    @inlineCallbacks
    def asked(self, host: str) -> Any:
        """A service with a connection of the pool to a host, which is idle; and that."""
        backend = f"tcp:{host}:{self.listen_tcp()}"
        service = self.start(backend=(backend,), **POOLED)
        client = yield self.connect()
        client.transport.write(b"ask\n")
        yield self.backend.connected()
        [serving] = self.backend.open
        yield serving.gets(4)
        serving.transport.write(b"told\n")
        yield client.gets(5)
        return service, serving

    @inlineCallbacks
    def test_name(self) -> Any:
        """When the look-up of a name tells of others, connections to the old ones go."""
        service, serving = yield self.asked("localhost")
        service._resolver.on_answer("localhost", frozenset({"127.0.0.1", "192.0.2.1"}))
        yield turn()
        self.assertNotIn("read lost", serving.events)
        service._resolver.on_answer("localhost", frozenset({"192.0.2.1"}))
        yield over(serving)

    @inlineCallbacks
    def test_looked_up(self) -> Any:
        """The names of connections are looked up again."""
        service, _ = yield self.asked("LOCALHOST")
        seen: list[str] = []
        pool = service.relay.pool
        self.patch(pool.watch, "look_up", seen.append)
        pool._refresh_at = 0.0
        pool.expired()
        self.assertEqual(seen, ["localhost"])

    @inlineCallbacks
    def test_address(self) -> Any:
        """An address is not a name, whatever is looked up."""
        service, serving = yield self.asked("127.0.0.1")
        service._resolver.on_answer("127.0.0.1", frozenset({"192.0.2.1"}))
        yield turn()
        self.assertNotIn("read lost", serving.events)


class PrewarmTests(ServiceTestCase):
    """Connections that are opened ahead."""

    @inlineCallbacks
    def prewarmed(self, **options: Any) -> Any:
        """Start and wait until all have been tried; return what the log says of them."""
        with capturedLogs() as events:
            service = self.start(**POOLED | options)
            yield service.ready
        return [(level, line) for level, line in told(events) if "prewarmed" in line]

    @inlineCallbacks
    def test_opened(self) -> Any:
        """As many as --pool-min are opened to each backend, and serve."""
        other = PlayedBackend()
        self.listen_backend()
        self.listen_backend("o", other)
        backend = tuple(f"unix:{self.join(name)}" for name in ("b", "o"))
        lines = yield self.prewarmed(backend=backend, pool=3, pool_min=2)
        self.assertEqual(lines, [("info", f"prewarmed {each}: 2 of 2 open") for each in backend])
        for each in (self.backend, other):
            yield each.connected(2)
        client = yield self.connect()
        client.transport.write(b"ask\n")
        # The first of equals.
        yield self.backend.when(lambda: any(each.received for each in self.backend.open))
        for serving in self.backend.open:
            if serving.received:
                serving.transport.write(b"told\n")
        yield client.gets(5)
        self.assertEqual((len(self.backend.connections), len(other.connections)), (2, 2))

    @inlineCallbacks
    def test_not_there(self) -> Any:
        """That a backend is not there is a warning."""
        [(level, line)] = yield self.prewarmed(pool_min=1)
        self.assertEqual(level, "warn")
        self.assertTrue(line.startswith(f"prewarmed unix:{self.join('b')}: 0 of 1 open; "), line)

    @inlineCallbacks
    def test_none(self) -> Any:
        """Unless asked for none are opened, and nothing is said."""
        self.listen_backend()
        lines = yield self.prewarmed()
        yield turn()
        self.assertEqual((lines, self.backend.connections), ([], []))


class StopTests(ServiceTestCase):
    """Stopping."""

    @inlineCallbacks
    def test_idle(self) -> Any:
        """Without clients it stops at once, and leaves no socket file."""
        service = self.start()
        yield service.stopService()
        self.assertFalse(os.path.exists(self.path))

    @inlineCallbacks
    def test_drain(self) -> Any:
        """Pairs go on until they end, nobody else is served, and how many are waited for is
        told."""
        self.listen_backend()
        service = self.start()
        client, serving = yield self.paired()
        with capturedLogs() as events:
            stopped = service.stopService()
        self.assertEqual(
            told(events), [("info", "stopping; client connections that get up to 10 s: 1")]
        )
        yield turn()
        self.assertFalse(os.path.exists(self.path))
        yield self.check_relayed(client, serving)
        self.assertNoResult(stopped)
        client.transport.loseWriteConnection()
        yield serving.when(lambda: "read lost" in serving.events)
        serving.transport.loseConnection()
        with capturedLogs() as events:
            yield stopped
        self.assertEqual(told(events), [])

    @inlineCallbacks
    def test_drain_timeout(self) -> Any:
        """Pairs that take longer are broken off, which is told."""
        self.listen_backend()
        service = self.start(drain_timeout=0)
        client, serving = yield self.paired()
        with capturedLogs() as events:
            yield service.stopService()
        self.assertIn(("warn", "stopping; client connections broken off: 1"), told(events))
        yield over(serving)
        yield over(client)

    @inlineCallbacks
    def test_hurry(self) -> Any:
        """Who loses patience breaks them off himself."""
        self.listen_backend()
        service = self.start()
        yield self.paired()
        stopped = service.stopService()
        self.assertNoResult(stopped)
        service.hurry()
        yield stopped

    @inlineCallbacks
    def test_pooled(self) -> Any:
        """A request that was sent is answered before the end; idle connections are closed, and
        none is kept open any more."""
        self.listen_backend()
        service = self.start(**POOLED, pool_min=1)
        yield service.ready
        client, idle = (yield self.connect()), (yield self.connect())
        client.transport.write(b"ask\n")
        yield self.backend.connected()
        [serving] = self.backend.open
        yield serving.gets(4)
        stopped = service.stopService()
        yield over(idle)
        self.assertNoResult(stopped)
        serving.transport.write(b"told\n")
        yield client.gets(5)
        self.assertEqual(client.received, b"told\n")
        yield stopped
        yield self.backend.when(lambda: "read lost" in serving.events)
        self.assertEqual(len(self.backend.connections), 1)

    @inlineCallbacks
    def test_again(self) -> Any:
        """It can be started again, and then tries backends again that have failed."""
        backend = tuple(f"unix:{self.join(name)}" for name in ("b", "o"))
        service = self.start(backend=backend)
        yield service.stopService()
        service.privilegedStartService()
        service.startService()
        client = yield self.connect()
        yield over(client)
        for name in ("b", "o"):
            self.listen_backend(name)
        # Nobody has asked for them: these are the probes.
        yield self.backend.when(lambda: len(self.backend.connections) == 2)
        client, serving = yield self.paired()
        yield self.check_relayed(client, serving)


class CommandLineTests(ServiceTestCase):
    """The service as twistd makes it."""

    @inlineCallbacks
    def test_relay(self) -> Any:
        """The sub-command relays."""
        self.listen_backend()
        options = Options()
        options.parseOptions(
            ["relay", f"--listen=unix:{self.path}", f"--backend=unix:{self.join('b')}"]
        )
        service = makeService(options)
        self.assertIsInstance(service, CommandLineService)
        running: Any = IService(service)
        running.privilegedStartService()
        running.startService()
        self.addCleanup(running.stopService)
        client, serving = yield self.paired()
        yield self.check_relayed(client, serving)
