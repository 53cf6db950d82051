"""
Many bodies at once in both directions, and bytes that arrive in any pieces.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256

from h2.events import DataReceived, StreamEnded
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http2.stream import Stream
from tests.http2.origin import OK, POST, Link, ScriptedOrigin, User, linked

WINDOW = int(SettingCodes.INITIAL_WINDOW_SIZE)
FRAME = int(SettingCodes.MAX_FRAME_SIZE)

#: Bytes: nothing, the sizes at which frames and windows end, and much.
SIZES = [
    *(0, 1, 16383, 16384, 16385, 65535, 65536, 65537, 262143, 262144, 262145),
    *range(2, 300_000, 8191),
    1_000_000,
    50_000_000,
]
_PATTERN = random.Random(7).randbytes(1 << 16)


def _body(seed: int, size: int) -> bytes:
    start = seed * 97 % 1000
    return (_PATTERN[start:] * (size // (len(_PATTERN) - start) + 1))[:size]


class _HashingUser(User):
    """
    A user that keeps no content, and stops reading now and then.
    """

    def __init__(self, random_number: random.Random) -> None:
        super().__init__()
        self.hash = sha256()
        self.stream: Stream | None = None
        self._random = random_number

    def response_body(self, content: bytes) -> None:
        self.hash.update(content)

    def flush_response(self) -> None:
        if self.stream is not None and self._random.random() < 0.2:
            self.stream.pause_reading()


def _sender(origin: ScriptedOrigin, stream_id: int, body: bytes) -> Iterator[None]:
    """
    Send a response as windows allow; an item is a turn that made no more progress.
    """
    origin.h2.send_headers(stream_id, OK, not body)
    view = memoryview(body)
    while view:
        window = origin.h2.local_flow_control_window(stream_id)
        size = min(window, origin.h2.max_outbound_frame_size, len(view))
        if size <= 0:
            yield
            continue
        origin.h2.send_data(stream_id, bytes(view[:size]), size == len(view))
        view = view[size:]


class BodyTests(SynchronousTestCase):
    def test_downloads(self) -> None:
        """
        Fifty responses from nothing to 50 MB at once, some of them not read for a while: each
        arrives whole, and where it belongs.
        """
        link = linked()
        number = random.Random(1)
        sizes = SIZES
        users = []
        for _ in sizes:
            user = _HashingUser(number)
            user.stream = link.request(user)[1]
            users.append(user)
        link.run()
        bodies = [_body(index, size) for index, size in enumerate(sizes)]
        senders = [_sender(link.origin, 2 * index + 1, body) for index, body in enumerate(bodies)]
        while senders:
            senders = [sender for sender in senders if next(sender, self) is not self]
            link.run()
            for user in users:
                assert user.stream is not None
                user.stream.resume_reading()
        link.run()
        self.assertEqual([user.error for user in users], [None] * 50)
        self.assertEqual(
            [user.hash.digest() for user in users], [sha256(body).digest() for body in bodies]
        )
        self.assertEqual(link.session.streams, 0)

    def test_uploads(self) -> None:
        """
        Fifty such requests at once through small windows: each arrives whole.
        """
        link = linked({WINDOW: 100_000, FRAME: 65536})
        bodies = [_body(index, size) for index, size in enumerate(SIZES)]
        hashes = {2 * index + 1: sha256() for index in range(50)}
        for body in bodies:
            _upload(link, body)
        ended = 0
        while ended < 50:
            before = len(link.origin.events)
            link.run()
            for event in link.origin.events:
                if isinstance(event, DataReceived):
                    hashes[event.stream_id].update(event.data)
                ended += isinstance(event, StreamEnded)
            self.assertGreater(len(link.origin.events), before)
            link.origin.events.clear()
        self.assertEqual(
            [each.digest() for each in hashes.values()], [sha256(body).digest() for body in bodies]
        )


def _upload(link: Link, body: bytes) -> None:
    """
    Send a request as a client does that heeds when it is full.
    """
    user = User()
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)][::-1]
    _, stream = link.request(user, POST, pieces.pop() if pieces else b"", not pieces)

    def feed() -> None:
        while pieces and not stream.full:
            stream.send(pieces.pop(), not pieces)

    user.on["drained"] = feed
    feed()


def _answers(link: Link) -> bytes:
    """
    Everything an origin may send: bytes in which each frame has its place.
    """
    origin = link.origin
    origin.respond(1, b"", [(b":status", b"103"), (b"link", b"</a>")], ended=False)
    origin.respond(1, b"x" * 20_000, [*OK, (b"content-length", b"20000")])
    origin.h2.update_settings({WINDOW: 100_000})
    origin.respond(3, b"y" * 100, ended=False)
    origin.respond(5, b"too much", [*OK, (b"content-length", b"3")])
    origin.h2.send_data(3, b"", False, pad_length=10)
    origin.h2.send_headers(3, [(b"a", b"b")], True)
    origin.h2.reset_stream(7, 7)
    origin.write(PingFrame(0, b"12345678"), GoAwayFrame(0, last_stream_id=9))
    origin.respond(9, b"z", ended=False)
    origin.write(DataFrame(2, b"which nobody has opened"))
    return origin.data_to_send()


def _calls(pieces: list[int]) -> list[object]:
    """
    What six users and the owner are told, content joined, without the flushes; the owner in any
    order, for it is told of an error before what came with it.
    """
    link = linked()
    users = [link.request()[0] for _ in range(6)]
    link.run()
    data = _answers(link)
    for size in [*pieces, len(data)]:
        link.session.receive(data[:size])
        data = data[size:]
    told: list[object] = [sorted(link.calls)]
    for user in users:
        calls = [call for call in user.calls if call[0] not in ("flush", "body")]
        told.append((calls, user.content, user.answered, user.unprocessed))
    return told


class SplitTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """
        What is compared below is what it should be.
        """
        owner, *users = _calls([])
        self.assertEqual(owner, ["going_away", *["stream_ended"] * 5])
        ends = [user[0][-1] for user in users]  # type: ignore[index]
        self.assertEqual(
            ends,
            [
                ("end", b""),
                ("end", b"a: b\r\n"),
                ("failed", "http_protocol_error"),
                ("failed", "connection_terminated"),
                ("failed", "http_protocol_error"),
                ("failed", "connection_terminated"),
            ],
        )

    def test_single_bytes(self) -> None:
        """
        Bytes that arrive one by one mean what they mean together.
        """
        self.assertEqual(_calls([1] * 25_000), _calls([]))

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.integers(0, 2000), max_size=40))
    def test_split(self, pieces: list[int]) -> None:
        """
        Wherever the bytes are split, the same is told.
        """
        self.assertEqual(_calls(pieces), _calls([]))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=300), st.integers(0, 21_000))
    def test_garbage(self, garbage: bytes, at: int) -> None:
        """
        Whatever the origin sends, nothing is raised, and no user is told two ends.
        """
        link = linked()
        users = [link.request()[0] for _ in range(6)]
        link.run()
        data = _answers(link)
        link.session.receive(data[:at] + garbage + data[at:])
        link.session.receive(garbage)
        for user in users:
            ends = [name for name, _ in user.calls if name in ("end", "failed")]
            self.assertLessEqual(len(ends), 1)
        self.assertNotIn("user_raised", link.calls)
