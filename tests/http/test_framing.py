"""
The tables of tests.http.shapes against the parsers: each shape whole, byte by byte, and with more
behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import MessageError, as_response_error

from .driver import Driver, RequestDriver, ResponseDriver, bytewise
from .shapes import (
    BAD_REQUESTS,
    BAD_RESPONSES,
    GOOD_REQUESTS,
    GOOD_RESPONSES,
    Accepted,
    Shape,
)
from .table import tests_for

#: What a smuggler would have an origin take for a request or response of its own.
BEHIND = b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"


def three_ways(data: bytes) -> list[tuple[str, Iterable[bytes], bytes]]:
    """How to feed it, and what of it comes behind the message."""
    return [
        ("whole", [data], b""),
        ("byte by byte", bytewise(data), b""),
        ("with more behind", [data + BEHIND], BEHIND),
    ]


class TableCase(SynchronousTestCase):
    """Feeds shapes to drivers."""

    def assert_refused(
        self, shape: Shape, driver: Callable[[], Driver], status: int | None
    ) -> None:
        for way, pieces, _ in three_ways(shape.data):
            message = driver()
            with self.assertRaises(MessageError, msg=way) as caught:
                for piece in pieces:
                    message.feed(piece)
            self.assertFalse(message.finished, way)
            error = caught.exception
            if status is not None:
                self.assertEqual((way, error.status), (way, status))
            else:
                self.assertEqual(as_response_error("http://o:80", error).status, shape.status)

    def assert_accepted(self, row: Accepted, driver: Callable[[], Driver]) -> None:
        for way, pieces, behind in three_ways(row.data):
            message = driver()
            for piece in pieces:
                self.assertFalse(message.finished, way)
                message.feed(piece)
            content = row.content
            if row.until_close:
                content += behind
                behind = b""
                self.assertFalse(message.finished, way)
                self.assertTrue(message.end_of_stream(), way)
            self.assertTrue(message.finished, way)
            self.assertEqual((way, message.content), (way, content))
            self.assertEqual((way, message.trailers), (way, row.trailers))
            self.assertEqual((way, message.leftover), (way, behind))


def check_bad_request(case: TableCase, shape: Shape) -> None:
    """It is refused with its status, and its head only where that is in order passes."""
    heads: list[RequestDriver] = []

    def driver() -> RequestDriver:
        heads.append(RequestDriver())
        return heads[-1]

    case.assert_refused(shape, driver, shape.status)
    case.assertEqual({head.head is not None for head in heads}, {shape.in_body})


def check_bad_response(case: TableCase, shape: Shape) -> None:
    """It is refused, which makes it a 502, and its head only where that is in order passes."""
    heads: list[ResponseDriver] = []

    def driver() -> ResponseDriver:
        heads.append(ResponseDriver())
        return heads[-1]

    case.assert_refused(shape, driver, None)
    case.assertEqual({head.head is not None for head in heads}, {shape.in_body})


def check_good_request(case: TableCase, row: Accepted) -> None:
    """It is understood, with its body and where it ends."""
    case.assert_accepted(row, RequestDriver)


def check_good_response(case: TableCase, row: Accepted) -> None:
    """It is understood, with its body and where it ends."""
    case.assert_accepted(row, lambda: ResponseDriver(row.head_only))


@tests_for(BAD_REQUESTS, check_bad_request)
class BadRequestTests(TableCase):
    """Requests that have to be refused."""


@tests_for(BAD_RESPONSES, check_bad_response)
class BadResponseTests(TableCase):
    """Responses that have to be refused."""


@tests_for(GOOD_REQUESTS, check_good_request)
class GoodRequestTests(TableCase):
    """Requests that look odd and are fine."""


@tests_for(GOOD_RESPONSES, check_good_response)
class GoodResponseTests(TableCase):
    """Responses that look odd and are fine."""


@tests_for([row for row in GOOD_REQUESTS if row.content], lambda case, row: case.check(row))
class IncompleteRequestTests(SynchronousTestCase):
    """Requests cut short."""

    def check(self, row: Accepted) -> None:
        """RFC 9112 section 8: whatever is missing at its end, a request is not complete."""
        for end in range(len(row.data)):
            message = RequestDriver()
            message.feed(row.data[:end])
            self.assertFalse(message.end_of_stream(), end)
