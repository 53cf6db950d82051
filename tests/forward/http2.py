"""What the tests of exchanges over HTTP/2 have in common: a proxy whose origins speak it."""

from __future__ import annotations

from typing import Any

from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded, TrailersReceived
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from fastcar_tw.testing import Peer
from tests.http2.origin import OK, Fields, ScriptedOrigin

from .support import Answer, ProxyTestCase, answer, request

__all__ = ["OK", "HTTP2TestCase", "Origin2", "answers", "dechunked", "fields"]

#: Seconds that pass between two moments at which the origins do something.
STEP = 1.0


class Origin2(ScriptedOrigin):
    """
    An HTTP/2 origin at the far end of a connection in memory.

    @ivar peer: the connection.
    """

    def __init__(self, peer: Peer, settings: dict[int, int] | None = None) -> None:
        super().__init__(settings)
        # What it has said counts from when that was read, which h2 takes for granted.
        self.h2.local_settings.max_concurrent_streams = 2**31 - 1
        self.h2.local_settings.acknowledge()
        self.peer = peer
        self._answered: set[int] = set()

    @property
    def requests(self) -> list[int]:
        """
        The streams of all requests so far, in order.
        """
        return [event.stream_id for event in self.seen(RequestReceived)]

    @property
    def paths(self) -> list[bytes]:
        """
        What was asked for, in order.
        """
        return [dict(self.fields_of(stream))[b":path"] for stream in self.requests]

    @property
    def open(self) -> list[int]:
        """
        The streams whose requests were neither answered nor reset.
        """
        reset = {stream for stream, _ in self.resets()}
        return [each for each in self.requests if each not in self._answered | reset]

    def has_ended(self, stream: int) -> bool:
        """
        Whether a request is complete.
        """
        return stream in [event.stream_id for event in self.seen(StreamEnded)]

    def trailers_of(self, stream: int) -> list[tuple[bytes, bytes]]:
        """
        The trailers of a request.
        """
        for event in self.seen(TrailersReceived):
            if event.stream_id == stream:
                return [(bytes(name), bytes(value)) for name, value in event.headers]
        return []

    def respond(
        self,
        stream_id: int,
        content: bytes = b"",
        head: Fields = OK,
        *,
        trailers: Fields | None = None,
        ended: bool = True,
    ) -> None:
        self._answered.add(stream_id)
        super().respond(stream_id, content, head, trailers=trailers, ended=ended)
        self.run()

    def more(self, stream: int, content: bytes, ended: bool = False) -> None:
        """
        Send more of a response.
        """
        self.h2.send_data(stream, content, ended)
        self.run()

    def answer_now(self) -> int:
        """
        Answer what is open with its path; tell how many that were.
        """
        streams = self.open
        for stream in streams:
            self.respond(stream, dict(self.fields_of(stream))[b":path"])
        return len(streams)

    def answer_all(self) -> int:
        """
        The same, until no more comes.
        """
        count = 0
        while self.open:
            count += self.answer_now()
        return count

    def interim(self, stream: int, status: bytes, *more: tuple[bytes, bytes]) -> None:
        """
        Send an interim response.
        """
        self.h2.send_headers(stream, [(b":status", status), *more])
        self.run()

    def reset(self, stream: int, code: int) -> None:
        """
        Reset a stream, even one that has ended.
        """
        self._answered.add(stream)
        try:
            self.h2.reset_stream(stream, code)
        except StreamClosedError:
            self.write(RstStreamFrame(stream, error_code=code))
        self.run()

    def go_away(self, last: int, code: int = ErrorCodes.NO_ERROR) -> None:
        """
        Announce the connection's end; requests above the last stream are forgotten.
        """
        self._answered.update(stream for stream in self.requests if stream > last)
        self.write(GoAwayFrame(0, last_stream_id=last, error_code=code))
        self.run()

    def settings(self, **values: int) -> None:
        """
        Change settings, named as in RFC 9113 section 6.5.2, in lower case.
        """
        self.h2.update_settings(
            {SettingCodes[name.upper()]: value for name, value in values.items()}
        )
        self.run()

    def run(self) -> bool:
        """
        Receive and send until nothing more happens.

        @return: whether anything happened.
        """
        moved = False
        while True:
            came = self.peer.take()
            if came:
                self.receive(came)
            sent = self.data_to_send()
            if sent and not self.peer.closed:
                self.peer.send(sent)
            if not came and not sent:
                return moved
            moved = True


class HTTP2TestCase(ProxyTestCase):
    """
    Has a proxy with one client on the https socket, and origins that speak HTTP/2.

    @ivar settings: what new origins begin with.
    @ivar origins: all connections to origins so far on which HTTP/2 was chosen.
    """

    settings: dict[int, int]
    origins: list[Origin2]

    def start(self, **options: Any) -> None:
        """Begin anew with these options."""
        super().start(**options)
        self.ready()

    def ready(self) -> None:
        """Let the proxy's origins speak HTTP/2."""
        self.settings = {}
        self.origins = []
        self.proxy.http2 = True
        self.client = self.secure()

    def secure(self, **more: Any) -> Peer:
        """One more client on the https socket."""
        return self.proxy.client(secure=True, **more)

    def run_origins(self) -> None:
        """Let everything happen that can at the present time."""
        moved = True
        while moved:
            self.proxy.reactor.settle()
            self.adopt()
            moved = sum(origin.run() for origin in self.origins) > 0

    def adopt(self) -> None:
        """Play the origins of new connections."""
        known = {id(each.peer) for each in self.origins}
        for peer in self.proxy.origins:
            if id(peer) not in known and speaks_http2(peer):
                self.origins.append(Origin2(peer, self.settings))

    def send(self, asked: bytes, client: Peer | None = None) -> None:
        """Send a request, and let it arrive."""
        (client or self.client).send(asked)
        self.run_origins()

    def ask(self, *asked: bytes) -> list[Peer]:
        """Have new clients send a request each, all at once."""
        clients = []
        for each in asked:
            client = self.secure()
            client.unsent = each
            clients.append(client)
        self.run_origins()
        return clients

    def get(self, count: int, prefix: bytes = b"/") -> list[Peer]:
        """Have new clients ask for /0, /1, ..., all at once."""
        return self.ask(*(request(b"%b%d" % (prefix, number)) for number in range(count)))

    def elapse(self, seconds: float) -> None:
        """Let time go by, with origins that react."""
        end = self.proxy.reactor.seconds() + seconds
        while self.proxy.reactor.seconds() < end:
            self.proxy.elapse(min(STEP, end - self.proxy.reactor.seconds()))
            self.run_origins()

    @property
    def h2(self) -> Origin2:
        """The latest HTTP/2 connection to an origin."""
        self.run_origins()
        return self.origins[-1]

    def warm_up(self) -> Origin2:
        """Have an HTTP/2 connection that has served one request."""
        self.send(request(b"/warm"))
        self.h2.respond(1, b"warm")
        self.client.take()
        return self.h2

    def counts(self) -> tuple[int, int, int]:
        """Active and idle connections, and waiting requests, in all."""
        total = self.proxy.pool.stats().total
        return total.active, total.idle, total.waiting

    def assert_alive(self, client: Peer | None = None) -> None:
        """Check that a client connection serves another request over HTTP/2."""
        client = client or self.client
        client.take()
        self.send(request(b"/alive"), client)
        self.h2.answer_all()
        self.assertEqual(dechunked(client.take()), b"/alive")

    def assert_error(self, client: Peer, status: int, kind: str) -> Answer:
        """Check what went wrong, as a client is told."""
        got = answer(client.take())
        told = got.fields.get(b"proxy-status", b"").partition(b";")[2].strip()
        self.assertEqual((got.status, told.split(b";")[0]), (status, b"error=" + kind.encode()))
        return got


def speaks_http2(peer: Peer) -> bool:
    """
    Whether HTTP/2 was chosen on a connection.
    """
    machine = peer.machine
    if machine is None or not machine.ready:
        return False
    return machine.connection.get_alpn_proto_negotiated() == b"h2"


def answers(clients: list[Peer]) -> list[bytes]:
    """The content that each has been answered with."""
    return [dechunked(client.take()) for client in clients]


def dechunked(data: bytes) -> bytes:
    """
    The content of a response that fastcar made chunked.

    @raise ValueError: it is not complete.
    """
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"\r\nTransfer-Encoding: chunked" not in head:
        raise ValueError(f"not chunked: {data[:200]!r}")
    content = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return content
        content += rest[:length]
        rest = rest[length + 2 :]


def fields(origin: Origin2, stream: int) -> dict[bytes, bytes]:
    """The head of a request; no field may stand twice."""
    pairs = origin.fields_of(stream)
    found = dict(pairs)
    assert len(found) == len(pairs), pairs
    return found
