"""However a conversation is cut into pieces on its way, it says the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.body import BodyReader, ChunkedReader, LengthReader
from fastcar_tw.http.head import find_head_end
from fastcar_tw.testing import MemoryProxy

from .support import CHUNKED, GET, OK, OK_CLOSE, POST, request, response

#: Requests and the responses they get, of every framing.
CONVERSATION = (
    (GET, OK),
    (POST, b"HTTP/1.1 100 Continue\r\n\r\n" + OK),
    (b"\r\n" + request(method=b"DELETE"), response(b"204 No Content", b"Content-Length: 0")),
    (
        request(b"/", CHUNKED, method=b"PUT", body=b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-T: 1\r\n\r\n"),
        response(b"200 OK", CHUNKED, body=b"a\r\n0123456789\r\n1\r\n!\r\n0\r\nX-U: 2\r\n\r\n"),
    ),
    (GET, OK_CLOSE),
    (request(b"/", b"Connection: x", b"X: 1"), response(b"304 Not Modified", b"ETag: x")),
    (POST, response(b"103 Early Hints", b"Link: x") + response(b"404 No", b"Content-Length: 0")),
    (GET, response(b"200 OK", CHUNKED, body=b"0\r\n\r\n")),
)


class Message(NamedTuple):
    """A message without its cuts: chunks joined, extensions gone."""

    head: bytes
    content: bytes
    trailers: bytes


def messages(stream: bytes) -> Iterator[Message]:
    """The complete messages of a stream."""
    while (end := find_head_end(stream, 0)) > 0:
        head, rest = stream[:end], stream[end:]
        reader: BodyReader = LengthReader(_length(head))
        if CHUNKED in head:
            reader = ChunkedReader()
        content = reader.feed(rest) if rest and not reader.finished else b""
        if not reader.finished:
            return
        stream = reader.leftover or (b"" if content or CHUNKED in head else rest)
        yield Message(head, content, reader.trailers)


def _length(head: bytes) -> int:
    _, _, value = head.partition(b"Content-Length: ")
    return int(value.split(b"\r\n")[0]) if value else 0


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """A stream in pieces, of the sizes given over and over; of one if there are none."""
    result = []
    at = turn = 0
    while at < len(stream):
        size = cuts[turn % len(cuts)] if cuts else len(stream)
        result.append(stream[at : at + size])
        at += size
        turn += 1
    return result


def converse(tls: bool, asked: list[int], answered: list[int]) -> tuple[list[Message], ...]:
    """What arrives at the origins and at the client."""
    proxy = MemoryProxy()
    client = proxy.tls_client() if tls else proxy.client()
    served = 0
    for piece in pieces(b"".join(asked for asked, _ in CONVERSATION), asked):
        client.send(piece)
        while served < len(_received(proxy)):
            for part in pieces(CONVERSATION[served][1], answered):
                if not proxy.origins[-1].closed:
                    proxy.origins[-1].send(part)
            served += 1
    result = _received(proxy), list(messages(client.received))
    assert not client.ended
    proxy.close()
    return result


def _received(proxy: MemoryProxy) -> list[Message]:
    return [message for origin in proxy.origins for message in messages(origin.received)]


CUTS = st.lists(st.integers(1, 60), max_size=8)


class RechunkingTests(SynchronousTestCase):
    """A whole conversation, cut anywhere on both sides."""

    maxDiff = None

    def test_whole(self) -> None:
        """In whole pieces every request and every response arrives, interim ones included."""
        requests, responses = converse(False, [], [])
        self.assertEqual(len(requests), len(CONVERSATION))
        self.assertEqual(len(responses), len(CONVERSATION) + 2)
        self.assertEqual(requests[3].content, b"abcde")
        self.assertEqual(requests[3].trailers, b"X-T: 1\r\n")
        self.assertEqual(responses[4].content, b"0123456789!")
        self.assertEqual(responses[4].trailers, b"X-U: 2\r\n")

    @settings(max_examples=60, deadline=None)
    @given(asked=CUTS, answered=CUTS)
    def test_plain(self, asked: list[int], answered: list[int]) -> None:
        """In any pieces the same arrives."""
        self.assertEqual(converse(False, asked, answered), converse(False, [], []))

    @settings(max_examples=30, deadline=None)
    @given(asked=CUTS, answered=CUTS)
    def test_tls(self, asked: list[int], answered: list[int]) -> None:
        """Inside TLS too."""
        self.assertEqual(converse(True, asked, answered), converse(True, [], []))

    def test_byte_by_byte(self) -> None:
        """Byte by byte too."""
        self.assertEqual(converse(False, [1], [1]), converse(False, [], []))
