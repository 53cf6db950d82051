"""The services as Twisted starts and stops them: a real reactor and a real socket."""

from __future__ import annotations

import errno
import grp
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from fastcar_tw.config import Config
from fastcar_tw.downstream import socketfile
from fastcar_tw.downstream.listeners import ListenerError
from fastcar_tw.downstream.socketfile import SocketInUseError, SocketPathError
from fastcar_tw.forward.service import ForwardService
from fastcar_tw.names.lookup import Lookup
from fastcar_tw.options import Options
from fastcar_tw.pool.stats import Retired
from fastcar_tw.service import CommandLineService, makeService
from fastcar_tw.tunnel import Tunnel
from tests.downstream.support import CONNECTED
from tests.forward.support import OK, answer, logged
from tests.transport.harness import HalfCloseRecorder, Recorder

REACTOR: Any = reactor


class Origin(Factory):
    """A server whose connections record what they get and answer when told to."""

    noisy = False

    def __init__(self) -> None:
        self.connections: list[Recorder] = []

    def buildProtocol(self, addr: object) -> Recorder:
        """Remember each connection."""
        self.connections.append(HalfCloseRecorder())
        return self.connections[-1]


class ServiceTestCase(TestCase):
    """Has a directory, and a service that listens there when told to."""

    def setUp(self) -> None:
        """Make the directory."""
        self.directory = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "s")

    def config(self, **options: Any) -> Config:
        """Options of a service in the directory."""
        ca_dir = os.path.join(self.directory, "ca")
        return Config(unix=self.path, ca_dir=ca_dir, **options)

    def service(self, lookup: Lookup | None = None, **options: Any) -> ForwardService:
        """A service that is stopped after the test."""
        service = ForwardService(self.config(**options), lookup=lookup)
        self.addCleanup(lambda: service.stopService() if service.running else None)
        return service

    def start(self, lookup: Lookup | None = None, **options: Any) -> ForwardService:
        """A service that runs."""
        service = self.service(lookup, **options)
        service.privilegedStartService()
        service.startService()
        return service

    @inlineCallbacks
    def connect(self, endpoint: IStreamClientEndpoint | None = None) -> Any:
        """Connect to the socket, or elsewhere."""
        endpoint = endpoint or UNIXClientEndpoint(REACTOR, self.path)
        client = yield endpoint.connect(Factory.forProtocol(HalfCloseRecorder))
        self.addCleanup(client.transport.abortConnection)
        return client

    @inlineCallbacks
    def origin(self) -> Any:
        """Listen on the loopback; return what listens and the request that reaches it."""
        origin = Origin()
        port = yield TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1").listen(origin)
        self.addCleanup(port.stopListening)
        address = port.getHost()
        self.origin_port = address.port
        return origin, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % address.port

    @inlineCallbacks
    def ask(self) -> Any:
        """Have a request under way; return client, and the origin's end."""
        origin, asked = yield self.origin()
        client = yield self.connect()
        client.transport.write(asked)
        while not origin.connections:
            yield _turn()
        [connection] = origin.connections
        yield connection.gets(len(asked))
        self.assertEqual(connection.received, asked)
        return client, connection


def over(connection: Recorder) -> Deferred[None]:
    """The other side has ended the connection, in whatever way."""
    return connection.when(lambda: bool({"read lost", "lost"} & set(connection.events)))


def _turn() -> Deferred[None]:
    """One turn of the reactor."""
    turn: Deferred[None] = Deferred()
    REACTOR.callLater(0, turn.callback, None)
    return turn


class StartTests(ServiceTestCase):
    """Starting."""

    @inlineCallbacks
    def test_serves(self) -> Any:
        """A request reaches its origin and its response the client."""
        self.start()
        client, origin = yield self.ask()
        origin.transport.write(OK)
        yield client.gets(len(OK))
        self.assertEqual(client.received, OK)

    def test_line(self) -> None:
        """One line tells socket, mode and CA file, all of which are there."""
        [line] = logged(self.start)
        ca_file = line.rpartition("CA for clients: ")[2]
        self.assertEqual(line, f"forwarding from {self.path} (mode 660); CA for clients: {ca_file}")
        with open(ca_file, encoding="ascii") as file:
            self.assertEqual(file.read().count("BEGIN CERTIFICATE"), 1)

    def test_insecure_origins(self) -> None:
        """Each origin that is not verified is a warning."""
        lines = logged(lambda: self.start(insecure_origins=("a.test", "b.test:444")))
        self.assertEqual(
            lines[:2],
            [f"certificates of {name} are NOT verified" for name in ("a.test", "b.test:444")],
        )

    def test_mode_and_group(self) -> None:
        """The socket file has the mode and group asked for."""
        group = grp.getgrgid(os.getegid())
        self.start(socket_mode=0o600, socket_group=group.gr_name)
        status = os.stat(self.path)
        self.assertTrue(stat.S_ISSOCK(status.st_mode))
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o600)
        self.assertEqual(status.st_gid, group.gr_gid)

    @inlineCallbacks
    def test_group_that_cannot_be_set(self) -> Any:
        """A group that cannot be set is an error that leaves neither file nor listener behind,
        and the service can start once it can be set."""
        link = self.path + "-link"

        def refuse(path: str, group: str) -> None:
            os.link(path, link)
            raise SocketPathError("not permitted")

        service = self.service(socket_group=grp.getgrgid(os.getegid()).gr_name)
        patch = self.patch(socketfile, "set_group", refuse)
        self.assertRaises(SocketPathError, service.privilegedStartService)
        self.assertFalse(os.path.exists(self.path))
        yield _turn()
        with socket.socket(socket.AF_UNIX) as client:
            with self.assertRaises(OSError) as caught:
                client.connect(link)
            self.assertEqual(caught.exception.errno, errno.ECONNREFUSED)
        patch.restore()
        service.startService()
        client = yield self.connect()
        self.assertEqual(client.events, ["made"])

    def test_without_privileges(self) -> None:
        """startService alone is enough, as in an application that drops no privileges."""
        service = self.service()
        service.startService()
        self.assertTrue(os.path.exists(self.path))

    def test_in_use(self) -> None:
        """A second instance is refused, and the first keeps its socket."""
        self.start()
        before = os.stat(self.path).st_ino
        error = self.assertRaises(SocketInUseError, self.service().privilegedStartService)
        self.assertEqual(str(error), f"{self.path}: in use")
        self.assertEqual(os.stat(self.path).st_ino, before)

    @inlineCallbacks
    def test_stale_socket(self) -> Any:
        """A socket nobody listens on is replaced."""
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(self.path)
        self.start()
        client = yield self.connect()
        self.assertEqual(client.events, ["made"])

    def test_other_file(self) -> None:
        """Any other file is an error, and stays."""
        with open(self.path, "w", encoding="ascii") as file:
            file.write("precious")
        error = self.assertRaises(SocketPathError, self.service().privilegedStartService)
        self.assertIn("never deleted", str(error))
        self.assertTrue(os.path.exists(self.path))


class ListenTests(ServiceTestCase):
    """Several places to listen."""

    def ports(self, start: Callable[[], object]) -> list[int]:
        """Start, and return the TCP ports that the log tells of."""
        found = [re.search(r"listening on tcp:\S+:([0-9]+)", line) for line in logged(start)]
        return [int(match[1]) for match in found if match]

    def join(self, name: str) -> str:
        """A path in the directory."""
        return os.path.join(self.directory, name)

    @inlineCallbacks
    def served(self, client: Any) -> Any:
        """See that a client is served."""
        origin, asked = yield self.origin()
        client.transport.write(asked)
        while not origin.connections:
            yield _turn()
        yield origin.connections[0].gets(len(asked))
        origin.connections[0].transport.write(OK)
        yield client.gets(len(OK))

    @inlineCallbacks
    def test_all_serve(self) -> Any:
        """Clients are served wherever they come in."""
        listen = (
            "tcp:0:interface=127.0.0.1",
            "tcp:0:interface=\\:\\:1",
            f"unix:{self.join('t')}",
        )
        one, two = self.ports(lambda: self.start(listen=listen))
        for endpoint in (
            UNIXClientEndpoint(REACTOR, self.path),
            UNIXClientEndpoint(REACTOR, self.join("t")),
            TCP4ClientEndpoint(REACTOR, "127.0.0.1", one),
            TCP6ClientEndpoint(REACTOR, "::1", two),
        ):
            client = yield self.connect(endpoint)
            yield self.served(client)

    @inlineCallbacks
    def test_https_socket(self) -> Any:
        """What comes in at the https socket goes out in TLS, and at no other."""
        self.start(https_unix=self.join("h"))
        origin, asked = yield self.origin()
        client = yield self.connect(UNIXClientEndpoint(REACTOR, self.join("h")))
        client.transport.write(asked)
        while not origin.connections:
            yield _turn()
        yield origin.connections[0].gets(1)
        self.assertEqual(origin.connections[0].received[:1], b"\x16")
        client = yield self.connect()
        yield self.served(client)

    def test_lines(self) -> None:
        """Each is a line of the log, with the port that it has, the socket last; one that is open
        to other machines is a warning."""
        listen = ("tcp:0:interface=127.0.0.1", f"unix:{self.join('t')}", "tcp:0")
        with capturedLogs() as events:
            self.start(https_unix=self.join("h"), listen=listen, allow_remote=True)
        told = [
            (event["log_level"].name, formatEvent(event))
            for event in events
            if event["log_namespace"] == "fastcar"
        ]
        lines = [re.sub(r":[1-9][0-9]*(?![.0-9])", ":N", line) for _, line in told]
        self.assertEqual(
            lines[:-1],
            [
                f"listening on unix:{self.join('h')}; plain HTTP there is for https origins",
                "listening on tcp:127.0.0.1:N",
                f"listening on unix:{self.join('t')}",
                "listening on tcp:0.0.0.0:N, which is open to other machines",
            ],
        )
        self.assertTrue(lines[-1].startswith(f"forwarding from {self.path} "))
        self.assertEqual([level for level, _ in told], ["info", "info", "info", "warn", "info"])

    def test_modes(self) -> None:
        """All sockets have the mode asked for."""
        options: dict[str, Any] = {
            "https_unix": self.join("h"),
            "listen": (f"unix:{self.join('t')}",),
        }
        self.start(socket_mode=0o604, **options)
        for path in (self.path, self.join("h"), self.join("t")):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o604)

    @inlineCallbacks
    def test_all_or_none(self) -> Any:
        """When one cannot be opened none is, and all can be when it is free again."""
        taken = yield TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1").listen(Factory())
        number = taken.getHost().port
        options: dict[str, Any] = {
            "https_unix": self.join("h"),
            "listen": (
                f"unix:{self.join('t')}",
                "tcp:0:interface=127.0.0.1",
                f"tcp:{number}:interface=127.0.0.1",
            ),
        }
        service = self.service(**options)
        error = self.assertRaises(ListenerError, service.privilegedStartService)
        self.assertEqual(
            str(error),
            f"--listen: expected a free port of this machine, not tcp:127.0.0.1:{number} "
            "(Address already in use)",
        )
        yield _turn()
        for path in (self.path, self.join("h"), self.join("t")):
            self.assertFalse(os.path.exists(path), path)
        yield taken.stopListening()
        service.privilegedStartService()
        service.startService()
        for path in (self.path, self.join("h"), self.join("t")):
            client = yield self.connect(UNIXClientEndpoint(REACTOR, path))
            self.assertEqual(client.events, ["made"])
        client = yield self.connect(TCP4ClientEndpoint(REACTOR, "127.0.0.1", number))
        self.assertEqual(client.events, ["made"])

    @inlineCallbacks
    def test_socket_in_use(self) -> Any:
        """That somebody listens at one of the sockets is told as of the first, and his stays."""
        self.start()
        path, self.path = self.path, self.join("own")
        service = self.service(listen=(f"unix:{path}",))
        error = self.assertRaises(SocketInUseError, service.privilegedStartService)
        self.assertEqual(str(error), f"{path}: in use")
        yield _turn()
        self.assertFalse(os.path.exists(self.path))
        client = yield self.connect(UNIXClientEndpoint(REACTOR, path))
        self.assertEqual(client.events, ["made"])

    @inlineCallbacks
    def test_stop(self) -> Any:
        """All are closed when the service stops, and open again when it starts."""
        listen = ("tcp:0:interface=127.0.0.1", f"unix:{self.join('t')}")
        services: list[ForwardService] = []
        options: dict[str, Any] = {"https_unix": self.join("h"), "listen": listen}
        [port] = self.ports(lambda: services.append(self.start(**options)))
        client = yield self.connect(TCP4ClientEndpoint(REACTOR, "127.0.0.1", port))
        yield services[0].stopService()
        yield over(client)
        for path in (self.path, self.join("h"), self.join("t")):
            self.assertFalse(os.path.exists(path))
        failed = self.connect(TCP4ClientEndpoint(REACTOR, "127.0.0.1", port))
        yield self.assertFailure(failed, ConnectionRefusedError)
        [port] = self.ports(services[0].startService)
        client = yield self.connect(TCP4ClientEndpoint(REACTOR, "127.0.0.1", port))
        yield self.served(client)

    @inlineCallbacks
    def test_finishes_what_is_under_way(self) -> Any:
        """A request of a TCP client gets its response while the service stops, a tunnel may go on
        until the drain timeout."""
        origin, _ = yield self.origin()
        services: list[ForwardService] = []

        def start() -> None:
            services.append(
                self.start(
                    listen=("tcp:0:interface=127.0.0.1",),
                    tunnel=(str(self.origin_port),),
                    drain_timeout=0.2,
                )
            )

        [port] = self.ports(start)
        client = yield self.connect(TCP4ClientEndpoint(REACTOR, "127.0.0.1", port))
        client.transport.write(b"CONNECT 127.0.0.1:%d HTTP/1.0\r\n\r\n" % self.origin_port)
        yield client.gets(len(CONNECTED))
        stopped = services[0].stopService()
        client.transport.write(b"x")
        yield origin.connections[0].gets(1)
        origin.connections[0].transport.write(b"yz")
        yield client.gets(len(CONNECTED) + 2)
        self.assertNoResult(stopped)
        yield stopped
        yield over(client)
        yield over(origin.connections[0])
        self.assertEqual(len(services[0].forwarder.clients), 0)

    @inlineCallbacks
    def test_half_closed_tunnel_over_tcp(self) -> Any:
        """Of a tunnel whose ends end one after the other all is delivered (RFC 9110 section
        9.3.6): the last end is not taken for a broken connection."""
        origin, _ = yield self.origin()
        services: list[ForwardService] = []
        options: dict[str, Any] = {
            "listen": ("tcp:0:interface=127.0.0.1",),
            "tunnel": (str(self.origin_port),),
        }
        [port] = self.ports(lambda: services.append(self.start(**options)))
        client = yield self.connect(TCP4ClientEndpoint(REACTOR, "127.0.0.1", port))
        client.transport.write(b"CONNECT 127.0.0.1:%d HTTP/1.0\r\n\r\n" % self.origin_port)
        yield client.gets(len(CONNECTED))
        client.transport.pauseProducing()
        [tunnel] = services[0].forwarder.clients
        assert isinstance(tunnel, Tunnel)
        much = bytes(200_000)
        origin.connections[0].transport.write(much)
        origin.connections[0].transport.loseWriteConnection()
        while not tunnel.origin.input_ended or tunnel.client.waiting():
            yield _turn()
        for _ in range(5):
            yield _turn()
        client.transport.loseWriteConnection()
        while services[0].forwarder.clients:
            yield _turn()
        client.transport.resumeProducing()
        whole = len(CONNECTED) + len(much)
        yield client.when(lambda: len(client.received) == whole or "lost" in client.events)
        self.assertEqual(client.received, CONNECTED + much)


class StopTests(ServiceTestCase):
    """Stopping."""

    @inlineCallbacks
    def test_socket_is_removed(self) -> Any:
        """The socket file goes."""
        yield self.start().stopService()
        self.assertFalse(os.path.exists(self.path))

    @inlineCallbacks
    def test_socket_of_another(self) -> Any:
        """A socket file that a successor has put in its place stays."""
        service = self.start()
        os.unlink(self.path)
        successor = socket.socket(socket.AF_UNIX)
        self.addCleanup(successor.close)
        successor.bind(self.path)
        yield service.stopService()
        self.assertTrue(os.path.exists(self.path))

    @inlineCallbacks
    def test_no_new_clients(self) -> Any:
        """While exchanges finish, nobody new is let in."""
        service = self.start()
        client, origin = yield self.ask()
        stopped = service.stopService()
        yield _turn()
        self.assertFalse(os.path.exists(self.path))
        self.assertNoResult(stopped)
        origin.transport.write(OK)
        yield stopped
        yield over(client)

    @inlineCallbacks
    def test_finishes_what_is_under_way(self) -> Any:
        """A request in flight gets its response, marked as the last."""
        service = self.start()
        client, origin = yield self.ask()
        stopped = service.stopService()
        origin.transport.write(OK)
        yield over(client)
        got = answer(client.received)
        self.assertEqual((got.status, got.fields[b"connection"], got.body), (200, b"close", b"hi"))
        yield stopped

    @inlineCallbacks
    def test_closes_what_is_idle(self) -> Any:
        """Idle connections are closed at once, on both sides."""
        service = self.start(drain_timeout=600)
        client, origin = yield self.ask()
        origin.transport.write(OK)
        yield client.gets(len(OK))
        silent = yield self.connect()
        yield service.stopService()
        for ended in (client, silent, origin):
            yield over(ended)

    @inlineCallbacks
    def test_drain_timeout(self) -> Any:
        """What takes longer than --drain-timeout is broken off."""
        service = self.start(drain_timeout=0.05)
        client, origin = yield self.ask()
        yield service.stopService()
        for ended in (client, origin):
            yield over(ended)
        self.assertEqual(client.received, b"")

    @inlineCallbacks
    def test_without_patience(self) -> Any:
        """With 0 it is broken off at once."""
        service = self.start(drain_timeout=0)
        client, _ = yield self.ask()
        yield service.stopService()
        yield over(client)

    @inlineCallbacks
    def test_no_client_is_left(self) -> Any:
        """Once it has stopped no client is left, not even one that was broken off."""
        service = self.start(drain_timeout=0)
        yield self.ask()
        self.assertEqual(len(service.forwarder.clients), 1)
        yield service.stopService()
        self.assertEqual(len(service.forwarder.clients), 0)

    @inlineCallbacks
    def test_starts_again(self) -> Any:
        """A service that was stopped can be started again, and serves."""
        service = self.start()
        yield service.stopService()
        service.startService()
        client, origin = yield self.ask()
        origin.transport.write(OK)
        yield client.gets(len(OK))


class OneAddress:
    """
    A look-up that finds one address for every name.

    @ivar address: that.
    """

    def __init__(self) -> None:
        self.address = "127.0.0.1"

    def start(self, host: str) -> Deferred[tuple[str, ...]]:
        """Find it."""
        return succeed((self.address,))


class NamesTests(ServiceTestCase):
    """Names whose addresses change, seen from outside."""

    #: Those that make the service look around every 50 ms.
    QUICK: dict[str, Any] = {"dns_ttl": 0.01, "queue_timeout": 0.2}

    def setUp(self) -> None:
        """Have a look-up."""
        super().setUp()
        self.lookup = OneAddress()

    def listen(self, address: str, port: int = 0) -> tuple[Origin, int]:
        """Have an origin at an address."""
        origin = Origin()
        listening = REACTOR.listenTCP(port, origin, interface=address)
        self.addCleanup(listening.stopListening)
        return origin, listening.getHost().port

    @inlineCallbacks
    def fetch(self, client: Any, port: int, origin: Origin) -> Any:
        """Have a request for a.test answered by an origin; return the connection it came on."""
        asked = b"GET / HTTP/1.1\r\nHost: a.test:%d\r\n\r\n" % port
        before = sum(len(each.received) for each in origin.connections)
        client.transport.write(asked)
        while sum(len(each.received) for each in origin.connections) < before + len(asked):
            yield _turn()
        connection: Any = origin.connections[-1]
        answered = len(client.received) + len(OK)
        connection.transport.write(OK)
        yield client.gets(answered)
        return connection

    @inlineCallbacks
    def test_moved(self) -> Any:
        """When its name has another address, the idle connection to an origin is closed, and the
        next request goes to the new address."""
        service = self.start(self.lookup, **self.QUICK)
        old, port = self.listen("127.0.0.1")
        new, _ = self.listen("127.0.0.2", port)
        client = yield self.connect()
        first = yield self.fetch(client, port, old)
        again = yield self.fetch(client, port, old)
        self.assertIs(again, first)
        self.lookup.address = "127.0.0.2"
        yield over(first)
        self.assertEqual(service.forwarder.pool.stats().total.retired[Retired.ADDRESS], 1)
        yield self.fetch(client, port, new)

    @inlineCallbacks
    def test_overridden(self) -> Any:
        """What the name's other addresses are does not concern a connection to an address that
        the operator has given."""
        pinned, port = self.listen("127.0.0.1")
        other, other_port = self.listen("127.0.0.1")
        resolve = (f"a.test:{port}:127.0.0.1",)
        service = self.start(self.lookup, resolve=resolve, **self.QUICK)
        client = yield self.connect()
        first = yield self.fetch(client, port, pinned)
        looked_up = yield self.fetch(client, other_port, other)
        self.lookup.address = "127.0.0.2"
        yield over(looked_up)
        again = yield self.fetch(client, port, pinned)
        self.assertIs(again, first)
        self.assertEqual(service.forwarder.pool.stats().total.retired[Retired.ADDRESS], 1)


class CommandLineTests(ServiceTestCase):
    """What C{twistd fastcar} loads."""

    def make(self, *arguments: str) -> IService:
        """Make the services of a command line."""
        options = Options()
        options.parseOptions(
            ["--unix", self.path, "--ca-dir", os.path.join(self.directory, "ca"), *arguments]
        )
        return makeService(options)

    @inlineCallbacks
    def test_starts(self) -> Any:
        """It starts and stops what it was asked for."""
        service = self.make()
        service.privilegedStartService()
        service.startService()
        self.assertTrue(os.path.exists(self.path))
        yield service.stopService()
        self.assertFalse(os.path.exists(self.path))

    def test_in_use(self) -> None:
        """A socket in use ends the process with one line."""
        self.start()
        ended = self.assertRaises(SystemExit, self.make().privilegedStartService)
        self.assertEqual(str(ended), f"fastcar: {self.path}: in use")

    @inlineCallbacks
    def test_port_in_use(self) -> Any:
        """So does a port in use."""
        taken = yield TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1").listen(Factory())
        self.addCleanup(taken.stopListening)
        number = taken.getHost().port
        service = self.make("--listen", f"tcp:{number}:interface=127.0.0.1")
        ended = self.assertRaises(SystemExit, service.privilegedStartService)
        self.assertRegex(
            str(ended), rf"^fastcar: --listen: expected .* not tcp:127.0.0.1:{number} "
        )
        yield _turn()
        self.assertFalse(os.path.exists(self.path))

    def test_unusable_ca(self) -> None:
        """So does a CA that cannot be used."""
        directory = os.path.join(self.directory, "ca")
        with open(directory, "w", encoding="ascii") as file:
            file.write("in the way")
        ended = self.assertRaises(SystemExit, self.make)
        self.assertTrue(str(ended).startswith("fastcar: "))
        self.assertIn(directory, str(ended))

    def test_bugs_are_not_hidden(self) -> None:
        """Anything else is no operator's error, and keeps its traceback."""

        class Broken(ForwardService):
            """Has a bug."""

            def privilegedStartService(self) -> None:
                """Fail."""
                raise ZeroDivisionError

        service = CommandLineService()
        Broken(self.config()).setServiceParent(service)
        self.assertRaises(ZeroDivisionError, service.privilegedStartService)
