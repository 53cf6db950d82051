"""Twisted programs use the socket too: treq through fastcar to a twisted.web site."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXClientEndpoint
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from fastcar_tw.config import Config
from fastcar_tw.forward.service import ForwardService

REACTOR: Any = reactor


@implementer(IAgentEndpointFactory)
class SocketEndpoints:
    """Sends every request to one UNIX socket, whatever its URI."""

    def __init__(self, path: str) -> None:
        self._path = path

    def endpointForURI(self, uri: object) -> UNIXClientEndpoint:
        """The way in."""
        return UNIXClientEndpoint(REACTOR, self._path)


class Echo(Resource):
    """Answers with what it was sent, and counts its connections."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.peers: set[object] = set()

    def render(self, request: Any) -> bytes:
        """Method and body."""
        self.peers.add(request.transport.getPeer())
        answer: bytes = request.method + b" " + request.content.read()
        return answer


class TreqTests(TestCase):
    """A client of its own kind, and an origin of its own kind."""

    async def test_many_requests_one_connection(self) -> None:
        """Fresh client connections share one connection to the origin."""
        directory = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "s")
        service = ForwardService(Config(unix=path, ca_dir=os.path.join(directory, "ca")))
        service.privilegedStartService()
        service.startService()
        echo = Echo()
        port: Any = await TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1").listen(Site(echo))
        agent = Agent.usingEndpointFactory(
            REACTOR, SocketEndpoints(path), HTTPConnectionPool(REACTOR, persistent=False)
        )
        client = HTTPClient(agent)
        url = f"http://127.0.0.1:{port.getHost().port}/"
        for number in range(3):
            response = await client.post(url, data=b"%d" % number)
            self.assertEqual(response.code, 200)
            self.assertEqual(await treq.content(response), b"POST %d" % number)
        response = await client.get(url)
        self.assertEqual(await treq.content(response), b"GET ")
        self.assertEqual(len(echo.peers), 1)
        await service.stopService()
        await port.stopListening()
