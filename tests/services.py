"""What tests of services share that listen in a directory of their own."""

from __future__ import annotations

import grp
import os
import re
import shutil
import stat
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from fastcar_tw.downstream.socketfile import SocketInUseError
from tests.transport.harness import HalfCloseRecorder

REACTOR: Any = reactor


class DirectoryTestCase(TestCase):
    """Has a directory, and a service that listens there on a UNIX socket when told to."""

    def setUp(self) -> None:
        """Make the directory."""
        self.directory = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.join("s")

    def join(self, name: str) -> str:
        """A path in the directory."""
        return os.path.join(self.directory, name)

    def make_service(self, **options: Any) -> Any:
        """A service in the directory."""
        raise NotImplementedError  # each service is another

    def service(self, **options: Any) -> Any:
        """A service that is stopped after the test."""
        service = self.make_service(**options)
        self.addCleanup(lambda: service.stopService() if service.running else None)
        return service

    def start(self, **options: Any) -> Any:
        """A service that runs."""
        service = self.service(**options)
        service.privilegedStartService()
        service.startService()
        return service

    def started(self, **options: Any) -> tuple[Any, list[int]]:
        """A service that runs, and the TCP ports that its log tells of."""
        with capturedLogs() as events:
            service = self.start(**options)
        found = [
            re.search(r"listening on tcp:\S+:([0-9]+)", formatEvent(event)) for event in events
        ]
        return service, [int(match[1]) for match in found if match]

    @inlineCallbacks
    def connect(self, endpoint: IStreamClientEndpoint | int | None = None) -> Any:
        """Connect to the socket, or to a port, or elsewhere."""
        if isinstance(endpoint, int):
            endpoint = TCP4ClientEndpoint(REACTOR, "127.0.0.1", endpoint)
        endpoint = endpoint or UNIXClientEndpoint(REACTOR, self.path)
        client = yield endpoint.connect(Factory.forProtocol(HalfCloseRecorder))
        self.addCleanup(client.transport.abortConnection)
        return client


class SocketTests:
    """How every service takes its sockets; for a L{DirectoryTestCase} to inherit from."""

    def test_mode_and_group(self: Any) -> None:
        """All socket files have the mode and group asked for."""
        group = grp.getgrgid(os.getegid())
        listen = (f"unix:{self.path}", f"unix:{self.join('t')}")
        self.start(listen=listen, socket_mode=0o604, socket_group=group.gr_name)
        for path in (self.path, self.join("t")):
            status = os.stat(path)
            self.assertTrue(stat.S_ISSOCK(status.st_mode))
            self.assertEqual((stat.S_IMODE(status.st_mode), status.st_gid), (0o604, group.gr_gid))

    def test_without_privileges(self: Any) -> None:
        """startService alone is enough, as in an application that drops no privileges."""
        service = self.service()
        service.startService()
        self.assertTrue(os.path.exists(self.path))

    def test_socket_in_use(self: Any) -> None:
        """A second instance is refused, and the first keeps its socket."""
        self.start()
        before = os.stat(self.path).st_ino
        error = self.assertRaises(SocketInUseError, self.service().privilegedStartService)
        self.assertEqual(str(error), f"{self.path}: in use")
        self.assertEqual(os.stat(self.path).st_ino, before)
