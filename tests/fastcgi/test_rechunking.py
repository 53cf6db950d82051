"""However a conversation is cut into pieces on its way, it says the same."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.forward.support import CHUNKED, request
from tests.forward.test_rechunking import CUTS, Message, messages, pieces

from .support import PAGE, Child, MemoryGateway, end_request, stderr, stdout

#: Requests, and what a script answers, as records.
CONVERSATION = (
    (request(), stdout(PAGE)),
    (
        request(method=b"POST", body=b"hello"),
        stdout(b"A: b\n\n") + stderr(b"x\n") + stdout(b"0\r\n"),
    ),
    (b"\r\n" + request(method=b"HEAD"), stdout(b"A: b\r\n\r\nnothing of this")),
    (
        request(
            b"/?4", CHUNKED, method=b"PUT", body=b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
        ),
        stdout(b"Content-Length: 5\r\n\r\nhello"),
    ),
    (request(method=b"PUT", body=b"streamed"), stdout(b"Status: 204\r\n\r\n")),
    (request(b"/file.txt"), b""),
    (request(b"/none"), b""),
    (request(b"/?8"), stderr(b"x") + stdout(b"Status: 404 Not Here\r\nA: b\r\n\r\n\r\n\r\n")),
    (request(method=b"DELETE"), stdout(b"Location: /other.php?x\r\n\r\n")),
    (b"", stdout(b"A: b\r\n\r\nthe other")),
    (request(method=b"POST", body=b"last"), stdout(b"nothing\r\n\r\n")),
    (request(), stdout(b"Status: 304\r\nETag: x\r\n\r\n")),
)


class Heard(NamedTuple):
    """What a script was told."""

    params: dict[bytes, bytes]
    stdin: bytes
    complete: bool


def converse(asked: list[int], answered: list[int]) -> tuple[list[Heard], list[Message]]:
    """What arrives at the scripts and at the client."""
    gateway = MemoryGateway(connections=1, spool_memory=6)
    gateway.write("other.php")
    client = gateway.client()
    answers = [each for _, each in CONVERSATION if each]
    heard: list[Heard] = []
    served: set[int] = set()
    for piece in pieces(b"".join(each for each, _ in CONVERSATION), asked):
        client.send(piece)
        while (child := _waiting(gateway, served)) is not None:
            said = child.request
            heard.append(Heard(_stable(said.params), said.stdin, said.complete))
            served.add(id(said))
            for part in pieces(answers[len(heard) - 1] + end_request(), answered):
                if not child.closed:
                    child.send(part)
    result = heard, [_unframed(each) for each in messages(client.received)]
    assert not client.ended
    gateway.close()
    return result


def _waiting(gateway: MemoryGateway, served: set[int]) -> Child | None:
    """A child whose request is complete and not answered."""
    for child in gateway.children:
        requests = child.requests
        if requests and requests[-1].complete and id(requests[-1]) not in served:
            return child
    return None


def _stable(params: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Variables that are the same in every temporary directory."""
    varying = (b"SCRIPT_FILENAME", b"DOCUMENT_ROOT")
    return {name: value for name, value in params.items() if name not in varying}


def _unframed(message: Message) -> Message:
    """A message without what depends on how it came, and when."""
    varying = (b"content-length:", b"transfer-encoding:", b"date:", b"last-modified:", b"etag:")
    lines = message.head.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(varying)]
    return message._replace(head=b"\r\n".join(kept))


class RechunkingTests(SynchronousTestCase):
    """A whole conversation, cut anywhere on both sides."""

    maxDiff = None

    def test_whole(self) -> None:
        """In whole pieces every request and every response arrives."""
        heard, responses = converse([], [])
        self.assertEqual(len(heard), sum(bool(each) for _, each in CONVERSATION))
        self.assertEqual(
            [each.stdin for each in heard if each.stdin], [b"hello", b"abcde", b"streamed", b"last"]
        )
        self.assertTrue(all(each.complete for each in heard))
        statuses = [int(each.head.split()[1]) for each in responses]
        self.assertEqual(statuses, [200, 200, 200, 200, 204, 200, 404, 404, 200, 502, 304])
        self.assertEqual(responses[1].content, b"0\r\n")
        self.assertEqual(responses[8].content, b"the other")

    @settings(max_examples=30, deadline=None)
    @given(asked=CUTS, answered=CUTS)
    def test_any(self, asked: list[int], answered: list[int]) -> None:
        """In any pieces the same arrives."""
        self.assertEqual(converse(asked, answered), converse([], []))

    @settings(max_examples=4, deadline=None)
    @given(st.sampled_from([([1], [1]), ([1], []), ([], [1]), ([2], [3])]))
    def test_bytewise(self, cuts: tuple[list[int], list[int]]) -> None:
        """Byte by byte too."""
        self.assertEqual(converse(*cuts), converse([], []))
