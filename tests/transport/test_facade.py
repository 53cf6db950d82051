"""The facade under Twisted's endpoints."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import providedBy

from fastcar_tw.transport.eager import (
    EagerTCPClient,
    EagerTCPServer,
    EagerUNIXClient,
    EagerUNIXServer,
)
from fastcar_tw.transport.facade import EagerReactor

from .harness import Recorder


class Echo(Recorder):
    """Sends back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]
        super().dataReceived(data)


class OneEcho(Factory):
    """Builds one Echo and shows it."""

    noisy = False

    def __init__(self) -> None:
        self.echo = Echo()

    def buildProtocol(self, addr: object) -> Echo:
        return self.echo


class NeutralTests(SynchronousTestCase):
    """What the facade leaves as it is."""

    def test_interfaces(self) -> None:
        """The facade provides just what the reactor provides."""
        facade = EagerReactor(reactor)
        self.assertEqual(list(providedBy(facade)), list(providedBy(reactor)))
        for interface in (
            IReactorCore,
            IReactorFDSet,
            IReactorPluggableNameResolver,
            IReactorTCP,
            IReactorTime,
            IReactorUNIX,
        ):
            self.assertTrue(interface.providedBy(facade))

    def test_delegation(self) -> None:
        """Everything else is the reactor's own."""
        facade = EagerReactor(reactor)
        self.assertEqual(facade.callLater, reactor.callLater)
        self.assertIs(facade.nameResolver, reactor.nameResolver)  # type: ignore[attr-defined]
        self.assertRaises(AttributeError, getattr, facade, "no_such_thing")


class EndpointTests(TestCase):
    """Endpoints on the facade make eager transports."""

    def setUp(self) -> None:
        self.reactor: Any = EagerReactor(reactor)
        self.factory = OneEcho()

    async def listen(self, endpoint: Any) -> Any:
        """Listen until the test is over."""
        port = await endpoint.listen(self.factory)
        self.addCleanup(port.stopListening)
        return port

    async def converse(self, endpoint: Any) -> Recorder:
        """Connect, send four bytes, get them back, close."""
        client: Recorder = await endpoint.connect(Factory.forProtocol(Recorder))
        transport: Any = client.transport
        transport.write(b"ping")
        await client.gets(4)
        self.assertEqual(client.received, b"ping")
        kind = type(transport)
        transport.loseConnection()
        await client.ends()
        await self.factory.echo.ends()
        self.assertIs(kind, self.expected_client)
        return client

    expected_client: type = EagerTCPClient

    async def test_unix(self) -> None:
        """UNIXServerEndpoint, with the mode it was given, and UNIXClientEndpoint are eager."""
        directory = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "s")
        await self.listen(UNIXServerEndpoint(self.reactor, path, 1024, 0o640))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
        self.expected_client = EagerUNIXClient
        await self.converse(UNIXClientEndpoint(self.reactor, path))
        self.assertIsInstance(self.factory.echo.transport, EagerUNIXServer)

    async def test_tcp(self) -> None:
        """TCP4ServerEndpoint and TCP4ClientEndpoint are eager on both sides."""
        port = await self.listen(TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1"))
        number = port.getHost().port
        await self.converse(TCP4ClientEndpoint(self.reactor, "127.0.0.1", number))
        self.assertIsInstance(self.factory.echo.transport, EagerTCPServer)

    async def test_host_name(self) -> None:
        """HostnameEndpoint (happy eyeballs) connects eagerly."""
        port = await self.listen(TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1"))
        await self.converse(HostnameEndpoint(self.reactor, "127.0.0.1", port.getHost().port))

    async def test_refused(self) -> None:
        """A refused connection fails as it does on the plain reactor."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", number)
        attempt: Deferred[Any] = endpoint.connect(Factory.forProtocol(Recorder))
        await self.assertFailure(attempt, ConnectionRefusedError)

    async def test_client_options(self) -> None:
        """A client has Nagle off from the start, and acknowledges at once when asked to."""
        port = await self.listen(TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1"))
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port.getHost().port)
        client: Any = await endpoint.connect(Factory.forProtocol(Recorder))
        transport = client.transport
        self.assertTrue(transport.getTcpNoDelay())
        if sys.platform == "linux":
            skt, option = transport.socket, socket.TCP_QUICKACK
            skt.setsockopt(socket.IPPROTO_TCP, option, 0)
            transport.write(b"ping")
            await client.gets(4)
            transport.acknowledge()
            self.assertEqual(skt.getsockopt(socket.IPPROTO_TCP, option), 1)
        transport.loseConnection()
        await client.ends()
        await self.factory.echo.ends()
