"""What the tests of whole exchanges have in common: a proxy in memory, messages, and the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.config import Config
from fastcar_tw.testing import MemoryProxy, Peer

#: A whole response, and one that is not kept.
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
OK_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
CHUNKED = b"Transfer-Encoding: chunked"


def request(
    target: bytes = b"/",
    *fields: bytes,
    method: bytes = b"GET",
    host: bytes = b"a.test",
    version: bytes = b"1.1",
    body: bytes = b"",
) -> bytes:
    """A request; a body gets its Content-Length unless the fields say it is chunked."""
    lines = [b"%b %b HTTP/%b" % (method, target, version), b"Host: " + host, *fields]
    if body and CHUNKED not in fields:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def response(status: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """A response with exactly these fields."""
    return b"\r\n".join((b"HTTP/1.1 " + status, *fields)) + b"\r\n\r\n" + body


GET = request()
POST = request(method=b"POST", body=b"hello")


class Answer(NamedTuple):
    """A response, taken apart as far as the tests look at it."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes


def answer(data: bytes) -> Answer:
    """Take apart a response that fastcar wrote itself."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        assert name.lower() not in fields, f"{name!r} stands twice"
        fields[name.lower()] = value
    return Answer(int(status.split()[1]), fields, body)


class ProxyTestCase(SynchronousTestCase):
    """
    Has a proxy with one client.
    """

    proxy: MemoryProxy
    client: Peer

    def setUp(self) -> None:
        self.start()

    def start(self, **options: Any) -> None:
        """Begin anew with these options."""
        self.proxy = MemoryProxy(Config(**options))
        self.addCleanup(self.proxy.close)
        self.client = self.proxy.client()

    @property
    def origin(self) -> Peer:
        """The latest connection to an origin."""
        return self.proxy.origins[-1]

    def exchange(self, asked: bytes = GET, answered: bytes = OK) -> tuple[bytes, bytes]:
        """Send a request and its response; return what reached the origin and the client."""
        self.client.send(asked)
        got = self.origin.take()
        self.origin.send(answered)
        return got, self.client.take()

    def warm(self) -> Peer:
        """Have one idle connection to the origin, used once before."""
        self.exchange()
        self.assertFalse(self.origin.closed)
        return self.origin

    def alive(self, client: Peer | None = None) -> None:
        """Check that a client connection serves another request."""
        client = client or self.client
        client.take()
        client.send(request(b"/alive"))
        self.origin.send(OK)
        self.assertEqual(client.take(), OK)


def logged(act: Callable[[], Any], namespace: str = "fastcar") -> list[str]:
    """The lines that are logged while something is done."""
    with capturedLogs() as events:
        act()
    return [formatEvent(event) for event in events if event["log_namespace"] == namespace]
