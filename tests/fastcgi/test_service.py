"""The FastCGI service as Twisted starts and stops it: a real reactor, real sockets, and something
that stands in for php-fpm."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.logger import capturedLogs, formatEvent

from fastcar_tw.downstream.listeners import ListenerError
from fastcar_tw.fastcgi.config import FastCGIConfig
from fastcar_tw.fastcgi.service import FastCGIService
from fastcar_tw.options import Options
from fastcar_tw.service import CommandLineService, makeService
from tests.fastcgi.stand_in import ChildProcess, StandIn
from tests.forward.support import answer
from tests.services import DirectoryTestCase, SocketTests
from tests.tls.support import SelfSigned
from tests.transport.harness import Recorder

REACTOR: Any = reactor
ANY_PORT = "tcp:0:interface=127.0.0.1"
GET = b"GET /index.php?a=b HTTP/1.1\r\nHost: a.test\r\n\r\n"


def over(client: Recorder) -> Deferred[None]:
    """The service has ended the connection, in whatever way."""
    return client.when(lambda: bool({"read lost", "lost"} & set(client.events)))


def turn() -> Deferred[None]:
    """One turn of the reactor."""
    deferred: Deferred[None] = Deferred()
    REACTOR.callLater(0, deferred.callback, None)
    return deferred


class ServiceTestCase(DirectoryTestCase):
    """
    Has a service in a directory with a root, and what stands in for php-fpm.
    """

    def setUp(self) -> None:
        """Make the root."""
        super().setUp()
        self.root = self.join("root")
        os.mkdir(self.root)
        with open(os.path.join(self.root, "index.php"), "wb"):
            pass
        with open(os.path.join(self.root, "file.txt"), "wb") as file:
            file.write(b"text")
        self.fpm = StandIn()

    def listen_fpm(self, name: str = "fpm", fpm: StandIn | None = None) -> None:
        """Have php-fpm there."""
        port = REACTOR.listenUNIX(self.join(name), fpm or self.fpm)
        self.addCleanup(port.stopListening)

    def config(self, **options: Any) -> FastCGIConfig:
        """Options of a service in the directory."""
        needed = {
            "root": self.root,
            "fpm": (f"unix:{self.join('fpm')}",),
            "listen": (f"unix:{self.path}",),
        }
        return FastCGIConfig(**{**needed, **options})

    def make_service(self, **options: Any) -> FastCGIService:
        """See L{DirectoryTestCase.make_service}."""
        return FastCGIService(self.config(**options))

    @inlineCallbacks
    def fetch(self, client: Any, asked: bytes = GET) -> Any:
        """Have a request answered; return the answer."""
        client.received = b""
        client.transport.write(asked)
        yield client.when(lambda: b"\r\n\r\n" in client.received or "lost" in client.events)
        body = client.received.partition(b"\r\n\r\n")[2]
        missing = int(answer(client.received).fields[b"content-length"]) - len(body)
        yield client.gets(len(client.received) + missing)
        return answer(client.received)

    @inlineCallbacks
    def ask(self, asked: bytes = GET) -> Any:
        """Have a request under way; return client and child."""
        self.fpm.answering = False
        client = yield self.connect()
        before = len(self.fpm.requests)
        client.transport.write(asked)
        yield self.fpm.when(lambda: len(self.fpm.requests) > before)
        return client, self.fpm.children[-1]


class StartTests(ServiceTestCase, SocketTests):
    """Starting."""

    @inlineCallbacks
    def test_serves(self) -> Any:
        """Scripts are run, files are sent, and what is neither is not found."""
        self.listen_fpm()
        self.start()
        client = yield self.connect()
        for _ in range(3):
            got = yield self.fetch(client)
            self.assertEqual((got.status, got.body), (200, b"hi"))
        got = yield self.fetch(client, GET.replace(b"index.php", b"file.txt"))
        self.assertEqual((got.status, got.body), (200, b"text"))
        got = yield self.fetch(client, GET.replace(b"index.php", b"none.php"))
        self.assertEqual(got.status, 404)
        [child] = self.fpm.children
        self.assertEqual(len(child.requests), 3)
        variables = child.requests[0]
        self.assertEqual(variables[b"SCRIPT_FILENAME"], f"{self.root}/index.php".encode())
        self.assertEqual(variables[b"QUERY_STRING"], b"a=b")

    def test_lines(self) -> None:
        """Lines tell each place with the port that it has, and what is served."""
        with capturedLogs() as events:
            self.start(
                listen=(ANY_PORT, f"unix:{self.path}", "tcp:0"),
                fpm=("unix:/run/fpm.sock", "tcp:php.test:9000"),
                connections=4,
            )
        told = [
            (event["log_level"].name, re.sub(r"(?<=[01]):[1-9][0-9]*", ":N", formatEvent(event)))
            for event in events
            if event["log_namespace"] == "fastcar"
        ]
        expected = [
            "listening on tcp:127.0.0.1:N",
            f"listening on unix:{self.path}",
            "listening on tcp:0.0.0.0:N, which is open to other machines",
            f"serving {self.root} with unix:/run/fpm.sock, tcp:php.test:9000, up to 4 connections "
            "each",
        ]
        self.assertEqual(told, [("info", line) for line in expected])

    @inlineCallbacks
    def test_all_serve(self) -> Any:
        """Clients are served wherever they come in, and scripts are told where that was."""
        self.listen_fpm()
        paths = (f"unix:{self.path}", f"unix:{self.join('t')}")
        _, [one, two] = self.started(listen=(ANY_PORT, "tcp:0:interface=\\:\\:1", *paths))
        for endpoint, address, port in (
            (UNIXClientEndpoint(REACTOR, self.path), b"127.0.0.1", 80),
            (UNIXClientEndpoint(REACTOR, self.join("t")), b"127.0.0.1", 80),
            (TCP4ClientEndpoint(REACTOR, "127.0.0.1", one), b"127.0.0.1", one),
            (TCP6ClientEndpoint(REACTOR, "::1", two), b"::1", two),
        ):
            client = yield self.connect(endpoint)
            got = yield self.fetch(client)
            self.assertEqual((got.status, got.body), (200, b"hi"))
            variables = self.fpm.children[0].requests[-1]
            self.assertEqual(variables[b"REMOTE_ADDR"], address)
            self.assertEqual(variables[b"SERVER_PORT"], b"%d" % port)
            self.assertNotIn(b"HTTPS", variables)

    @inlineCallbacks
    def test_tls(self) -> Any:
        """With a certificate TLS is served at the same place as HTTP."""
        self.listen_fpm()
        cert, key = SelfSigned().write(self.directory)
        _, [port] = self.started(listen=(ANY_PORT,), cert=cert, key=key)
        client = yield self.connect(TCP4ClientEndpoint(REACTOR, "127.0.0.1", port))
        got = yield self.fetch(client)
        self.assertEqual(got.body, b"hi")
        client = yield self.connect(TCP4ClientEndpoint(REACTOR, "127.0.0.1", port))
        client.transport.startTLS(CertificateOptions())
        for _ in range(2):
            got = yield self.fetch(client)
            self.assertEqual(got.body, b"hi")
        plain, *secure = self.fpm.requests
        self.assertNotIn(b"HTTPS", plain)
        self.assertEqual([variables[b"HTTPS"] for variables in secure], [b"on", b"on"])
        self.assertEqual([variables[b"REQUEST_SCHEME"] for variables in secure], [b"https"] * 2)

    @inlineCallbacks
    def test_fpm_on_tcp(self) -> Any:
        """php-fpm may be at a port, by name; its connections are kept as well, and used again when
        it has said that it is ready."""
        port = REACTOR.listenTCP(0, self.fpm, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.start(fpm=(f"tcp:localhost:{port.getHost().port}",), connections=1)
        client = yield self.connect()
        for _ in range(3):
            got = yield self.fetch(client)
            self.assertEqual(got.body, b"hi")
        self.assertEqual([len(child.requests) for child in self.fpm.children], [3])

    @inlineCallbacks
    def test_fpm_comes_later(self) -> Any:
        """Without php-fpm the service starts, files are sent, and scripts are run as soon as it is
        there."""
        self.start()
        client = yield self.connect()
        got = yield self.fetch(client)
        self.assertEqual(got.status, 502)
        self.assertNotIn(b"fpm", got.body)
        got = yield self.fetch(client, GET.replace(b"index.php", b"file.txt"))
        self.assertEqual(got.status, 200)
        self.listen_fpm()
        got = yield self.fetch(client)
        self.assertEqual((got.status, got.body), (200, b"hi"))

    @inlineCallbacks
    def test_all_or_none(self) -> Any:
        """When one place cannot be had none is taken, and all can be when it is free again."""
        self.listen_fpm()
        taken = REACTOR.listenTCP(0, Factory(), interface="127.0.0.1")
        number = taken.getHost().port
        service = self.service(
            listen=(f"unix:{self.path}", ANY_PORT, f"tcp:{number}:interface=127.0.0.1")
        )
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
        for endpoint in (
            UNIXClientEndpoint(REACTOR, self.path),
            TCP4ClientEndpoint(REACTOR, "127.0.0.1", number),
        ):
            client = yield self.connect(endpoint)
            got = yield self.fetch(client)
            self.assertEqual(got.status, 200)


class PrewarmTests(ServiceTestCase):
    """Connections that are opened ahead."""

    @inlineCallbacks
    def prewarmed(self, **options: Any) -> Any:
        """Start and wait until all have been tried; return what the log says of them."""
        with capturedLogs() as events:
            service = self.start(**options)
            yield service.ready
        return [
            (event["log_level"].name, formatEvent(event))
            for event in events
            if "prewarmed" in event["log_format"]
        ]

    @inlineCallbacks
    def test_opened(self) -> Any:
        """As many as asked for are opened to each php-fpm, and serve."""
        other = StandIn()
        self.listen_fpm()
        self.listen_fpm("other", other)
        fpm = tuple(f"unix:{self.join(name)}" for name in ("fpm", "other"))
        lines = yield self.prewarmed(prewarm=2, fpm=fpm)
        self.assertEqual(lines, [("info", f"prewarmed {each}: 2 of 2 open") for each in fpm])
        for each in (self.fpm, other):
            yield each.when(lambda each=each: len(each.open) == 2)  # type: ignore[misc]
        client = yield self.connect()
        got = yield self.fetch(client)
        self.assertEqual(got.status, 200)
        self.assertEqual((len(self.fpm.children), len(other.children)), (2, 2))

    @inlineCallbacks
    def test_not_there(self) -> Any:
        """That php-fpm is not there is a warning, and the service runs."""
        lines = yield self.prewarmed(prewarm=1)
        [(level, line)] = lines
        self.assertEqual(level, "warn")
        self.assertTrue(line.startswith(f"prewarmed unix:{self.join('fpm')}: 0 of 1 open; "), line)
        client = yield self.connect()
        got = yield self.fetch(client, GET.replace(b"index.php", b"file.txt"))
        self.assertEqual(got.status, 200)

    @inlineCallbacks
    def test_none(self) -> Any:
        """Unless asked for none are opened, and nothing is said."""
        self.listen_fpm()
        lines = yield self.prewarmed()
        yield turn()
        self.assertEqual((lines, self.fpm.children), ([], []))


class StopTests(ServiceTestCase):
    """Stopping."""

    def setUp(self) -> None:
        """Have php-fpm."""
        super().setUp()
        self.listen_fpm()

    @inlineCallbacks
    def freed(self, child: ChildProcess) -> Any:
        """See that a child is free again."""
        yield self.fpm.when(lambda: child.closed)

    @inlineCallbacks
    def test_finishes_what_is_under_way(self) -> Any:
        """A request in flight gets its response, marked as the last; nobody new is let in."""
        service = self.start()
        client, child = yield self.ask()
        with capturedLogs() as events:
            stopped = service.stopService()
        lines = [formatEvent(event) for event in events if event["log_namespace"] == "fastcar"]
        self.assertEqual(lines, ["stopping; client connections that get up to 10 s: 1"])
        yield turn()
        self.assertFalse(os.path.exists(self.path))
        self.assertNoResult(stopped)
        child.answer()
        yield over(client)
        got = answer(client.received)
        self.assertEqual((got.status, got.fields[b"connection"], got.body), (200, b"close", b"hi"))
        yield stopped
        yield self.freed(child)

    @inlineCallbacks
    def test_finishes_what_waits(self) -> Any:
        """So does one that still waits for a child."""
        service = self.start(connections=1)
        client, child = yield self.ask()
        waiting = yield self.connect()
        waiting.transport.write(GET)
        while not service._pool.stats().total.waiting:
            yield turn()
        stopped = service.stopService()
        self.fpm.answering = True
        child.answer()
        for each in (client, waiting):
            yield over(each)
            self.assertEqual(answer(each.received).status, 200)
        yield stopped
        yield self.freed(child)

    @inlineCallbacks
    def test_closes_what_is_idle(self) -> Any:
        """Idle connections are closed at once, on both sides."""
        service = self.start(drain_timeout=600)
        client = yield self.connect()
        yield self.fetch(client)
        silent = yield self.connect()
        yield service.stopService()
        for each in (client, silent):
            yield over(each)
        yield self.freed(self.fpm.children[0])

    @inlineCallbacks
    def test_prewarmed(self) -> Any:
        """What was opened ahead is closed, and not opened again."""
        service = self.start(prewarm=3)
        yield service.ready
        yield self.fpm.when(lambda: len(self.fpm.open) == 3)
        yield service.stopService()
        yield self.fpm.when(lambda: not self.fpm.open)
        yield turn()
        self.assertEqual(len(self.fpm.children), 3)

    @inlineCallbacks
    def test_at_once(self) -> Any:
        """It can be stopped before what is opened ahead is there."""
        service = self.start(prewarm=3, fpm=("tcp:127.0.0.1:1", f"unix:{self.join('fpm')}"))
        yield service.stopService()
        yield self.fpm.when(lambda: not self.fpm.open)
        self.assertFalse(os.path.exists(self.path))

    @inlineCallbacks
    def test_drain_timeout(self) -> Any:
        """What takes longer than --drain-timeout is broken off, and the child learns of it."""
        for seconds in (0.05, 0):
            service = self.start(drain_timeout=seconds)
            client, child = yield self.ask()
            with capturedLogs() as events:
                yield service.stopService()
            yield over(client)
            self.assertEqual(client.received, b"")
            self.assertIn(
                "stopping; client connections broken off: 1", map(formatEvent, events), seconds
            )
            self.assertEqual(len(service.gateway.clients), 0)
            yield self.freed(child)

    @inlineCallbacks
    def test_waits_to_the_end(self) -> Any:
        """What still waits then is not begun: the end of one request makes no room for another."""
        service = self.start(connections=6, drain_timeout=0)
        pool: Any = service._pool
        for _ in range(8):
            pool.pace.took(b"/index.php", 1.0)
        quick, _ = yield self.ask(GET.replace(b"/index.php", b"/"))
        clients = []
        for _ in range(9):
            client = yield self.connect()
            clients.append(client)
        # In whatever order they are broken off, one at work comes before the last that is held.
        for client in clients[::2]:
            client.transport.write(GET)
        yield self.fpm.when(lambda: len(self.fpm.requests) == 6)
        for client in clients[1::2]:
            client.transport.write(GET)
        while len(pool._reserve) < 4:
            yield turn()
        self.fpm.children[0].answer()
        while not pool.stats().total.idle:
            yield turn()
        yield service.stopService()
        for client in (quick, *clients):
            yield over(client)
        yield self.fpm.when(lambda: not self.fpm.open)
        self.assertEqual(len(self.fpm.requests), 6)

    @inlineCallbacks
    def test_second_signal(self) -> Any:
        """A second signal ends the waiting at once."""
        service = CommandLineService()
        child_service = FastCGIService(self.config(drain_timeout=600))
        child_service.setServiceParent(service)
        service.privilegedStartService()
        service.startService()
        client, child = yield self.ask()
        before = signal.getsignal(signal.SIGTERM)
        stopped = service.stopService()
        yield turn()
        self.assertNoResult(stopped)
        os.kill(os.getpid(), signal.SIGTERM)
        yield stopped
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
        yield over(client)
        yield self.freed(child)

    @inlineCallbacks
    def test_starts_again(self) -> Any:
        """A service that was stopped can be started again, and serves."""
        service = self.start(prewarm=1)
        yield service.ready
        yield service.stopService()
        service.startService()
        client = yield self.connect()
        got = yield self.fetch(client)
        self.assertEqual(got.status, 200)


class CommandLineTests(ServiceTestCase):
    """What C{twistd fastcar fastcgi} loads."""

    def make(self, *arguments: str) -> IService:
        """Make the services of a command line."""
        options = Options()
        options.parseOptions(
            [
                "fastcgi",
                f"--root={self.root}",
                f"--fpm=unix:{self.join('fpm')}",
                f"--listen=unix:{self.path}",
                *arguments,
            ]
        )
        return makeService(options)

    @inlineCallbacks
    def test_starts(self) -> Any:
        """It starts and stops what it was asked for."""
        self.listen_fpm()
        service: Any = self.make()
        self.assertIsInstance(service.getServiceNamed("fastcgi"), FastCGIService)
        service.privilegedStartService()
        service.startService()
        client = yield self.connect()
        got = yield self.fetch(client)
        self.assertEqual(got.status, 200)
        yield service.stopService()
        self.assertFalse(os.path.exists(self.path))

    def test_in_use(self) -> None:
        """A place in use ends the process with one line."""
        self.start()
        ended = self.assertRaises(SystemExit, self.make().privilegedStartService)
        self.assertEqual(str(ended), f"fastcar: {self.path}: in use")
        taken = REACTOR.listenTCP(0, Factory(), interface="127.0.0.1")
        self.addCleanup(taken.stopListening)
        self.path = self.join("t")
        place = f"127.0.0.1:{taken.getHost().port}"
        service = self.make(f"--listen=tcp:{taken.getHost().port}:interface=127.0.0.1")
        ended = self.assertRaises(SystemExit, service.privilegedStartService)
        self.assertEqual(
            str(ended),
            f"fastcar: --listen: expected a free port of this machine, not tcp:{place} "
            "(Address already in use)",
        )
        self.assertFalse(os.path.exists(self.path))

    def test_directory_of_a_socket(self) -> None:
        """So does a socket for which there is no directory."""
        self.path = self.join("none/s")
        ended = self.assertRaises(SystemExit, self.make().privilegedStartService)
        self.assertIn(f"fastcar: {self.path}: ", str(ended))
        self.assertIn("is not an existing directory", str(ended))

    def test_certificate_that_vanished(self) -> None:
        """So does a certificate that has gone since the options were checked."""
        cert, key = SelfSigned().write(self.directory)
        options = Options()
        options.parseOptions(
            ["fastcgi", f"--root={self.root}", "--fpm=unix:/x", f"--cert={cert}", f"--key={key}"]
        )
        sub: Any = options.subOptions
        config = sub.to_config()
        os.unlink(cert)
        self.patch(sub, "to_config", lambda: config)
        ended = self.assertRaises(SystemExit, makeService, options)
        self.assertTrue(str(ended).startswith(f"fastcar: {cert}: "), ended)

    @inlineCallbacks
    def test_root_that_vanished(self) -> Any:
        """A root that is not there while a new one is put in its place is no error: nothing is
        found, and what is in the new one is when it is there."""
        self.start()
        client = yield self.connect()
        os.rename(self.root, self.join("old"))
        got = yield self.fetch(client, GET.replace(b"index.php", b"file.txt"))
        self.assertEqual(got.status, 404)
        os.rename(self.join("old"), self.root)
        got = yield self.fetch(client, GET.replace(b"index.php", b"file.txt"))
        self.assertEqual(got.status, 200)
