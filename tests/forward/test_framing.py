"""The table of framing and smuggling shapes, through the whole proxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.http.shapes import (
    BAD_REQUESTS,
    BAD_RESPONSES,
    GOOD_REQUESTS,
    GOOD_RESPONSES,
    Accepted,
    Shape,
)

from .support import CHUNKED, GET, ProxyTestCase, answer, request

#: A request that would be smuggled behind a broken one.
SMUGGLED = request(b"/smuggled", host=b"smuggled.test")


class TableTestCase(ProxyTestCase):
    """Goes through a table."""

    @contextmanager
    def named(self, shape: Shape | Accepted) -> Iterator[None]:
        """Say which row it was that failed."""
        try:
            yield
        except self.failureException as error:
            self.fail(f"{shape.section}: {shape.rule}: {error}")


class CutTests:
    """Runs a whole table three times over."""

    def each(self, cut: int) -> None:
        """Send every shape in pieces of C{cut} bytes; 0: in one."""
        raise NotImplementedError

    def test_whole(self) -> None:
        """In one piece."""
        self.each(0)

    def test_in_pieces(self) -> None:
        """In small pieces."""
        self.each(7)

    def test_byte_by_byte(self) -> None:
        """Byte by byte."""
        self.each(1)


class BadRequestTests(CutTests, TableTestCase):
    """Requests that have to be refused."""

    def refused(self, shape: Shape, pieces: list[bytes]) -> None:
        """The client is answered once, its connection ends, and no origin sees a whole request."""
        client = self.proxy.client()
        for piece in pieces:
            client.send(piece)
        got = answer(client.received)
        self.assertEqual(got.status, shape.status)
        self.assertEqual(got.fields[b"connection"], b"close")
        self.assertEqual(client.received.count(b"\r\nProxy-Status: "), 1)
        self.assertTrue(client.ended_cleanly)
        client.end()
        self.assertTrue(client.closed)
        if not shape.in_body:
            self.assertEqual(self.proxy.connects, [])
        for origin in self.proxy.origins:
            self.assertTrue(origin.aborted)
            self.assertNotIn(b"smuggled", origin.received)
        self.proxy.connects.clear()
        self.proxy.origins.clear()

    def each(self, cut: int) -> None:
        """Send every shape in pieces of this size, with another request behind it."""
        for shape in BAD_REQUESTS:
            with self.named(shape):
                self.refused(shape, list(_pieces(shape.data + SMUGGLED, cut)))


class BadResponseTests(CutTests, TableTestCase):
    """Responses that have to be refused."""

    def refused(self, shape: Shape, pieces: list[bytes]) -> None:
        """The client gets a 502, or is broken off when the response has begun; the origin's
        connection is thrown away."""
        client = self.proxy.client()
        client.send(GET)
        origin = self.origin
        for piece in pieces:
            origin.send(piece)
        self.assertTrue(origin.closed and origin.aborted)
        if client.aborted:
            self.assertTrue(shape.in_body)
            self.assertNotIn(b"\r\n0\r\n\r\n", client.received)
        else:
            status, _, got = client.received.rpartition(b"HTTP/1.1 502 ")
            self.assertTrue(got, client.received)
            self.assertNotIn(b"HTTP/1.1 2", status)
        client.close()

    def each(self, cut: int) -> None:
        """Send every shape in pieces of this size."""
        for shape in BAD_RESPONSES:
            with self.named(shape):
                self.refused(shape, list(_pieces(shape.data, cut)))


class GoodTests(TableTestCase):
    """Odd but proper shapes reach the other side with the one meaning they have."""

    def test_requests(self) -> None:
        """Requests."""
        for shape in GOOD_REQUESTS:
            with self.named(shape):
                self.start()
                self.client.send(shape.data)
                got = self.origin.received
                self.assertTrue(got.endswith(_body(shape, got)), got)
                self.assertFalse(self.client.ended)

    def test_responses(self) -> None:
        """Responses."""
        for shape in GOOD_RESPONSES:
            with self.named(shape):
                self.start()
                self.client.send(request(method=b"HEAD") if shape.head_only else GET)
                self.origin.send(shape.data)
                if shape.until_close:
                    self.origin.end()
                got = self.client.received
                self.assertTrue(got.endswith(_body(shape, got)), got)
                self.assertFalse(self.client.aborted)


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Data in pieces of a size, 0 for one; what is very long in larger ones."""
    size = max(size, 4096) if size and len(data) > 4096 else size or len(data)
    return (data[at : at + size] for at in range(0, len(data), size))


def _body(shape: Accepted, message: bytes) -> bytes:
    """The end of a message as it has to be passed on."""
    if b"\r\n" + CHUNKED + b"\r\n" not in message:
        return b"\r\n\r\n" + shape.content
    chunk = b"%x\r\n%b\r\n" % (len(shape.content), shape.content) if shape.content else b""
    return b"\r\n\r\n" + chunk + b"0\r\n" + shape.trailers + b"\r\n"
