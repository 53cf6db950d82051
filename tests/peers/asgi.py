"""The application of the origins that run one: it echoes, waits, streams, and tells what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import queue
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tests.peers.ntlm import NTLMServer

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Fields = list[tuple[bytes, bytes]]

#: What /large is made of.
BLOCK = bytes(range(256)) * 256
#: Seconds that those who came together wait.
DELAY = 0.2


class Seen(NamedTuple):
    """A request as it came; `connection` is the port at its other end."""

    method: str
    path: str
    version: str
    connection: int


class Application:
    """An ASGI application. It runs in a thread of its own; tests call in from theirs.

    The first part of a path says what is done, the rest is an argument. `seen` has all requests in
    order, `arrived` and `left` tell of those that are held: that they are there, and that who
    asked has gone.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.arrived: queue.Queue[Seen] = queue.Queue()
        self.left: queue.Queue[Seen] = queue.Queue()
        self.loop: asyncio.AbstractEventLoop
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))
        self._meetings: dict[str, asyncio.Event] = {}
        self._crowds: defaultdict[str, int] = defaultdict(int)
        self._users: defaultdict[int, NTLMServer] = defaultdict(NTLMServer)

    @property
    def connections(self) -> set[int]:
        """Those on which requests have come."""
        return {each.connection for each in self.seen}

    @property
    def versions(self) -> set[str]:
        """The versions of HTTP of all requests."""
        return {each.version for each in self.seen}

    def let_on(self, path: str, count: int = 1) -> None:
        """Let so many on that wait at `path`, or will come there."""
        for _ in range(count):
            self.loop.call_soon_threadsafe(self._gates[path].release)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        seen = Seen(
            scope.get("method", ""), scope["path"], scope["http_version"], scope["client"][1]
        )
        self.seen.append(seen)
        if scope["type"] == "websocket":
            await _chat(receive, send)
            return
        kind, _, argument = seen.path[1:].partition("/")
        answer = Answer(send, receive)
        with contextlib.suppress(_GoneError):
            await getattr(self, f"_{kind}")(seen, argument, scope, answer)

    async def _hello(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        await answer.whole(b"hello\n")

    async def _echo(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """The request's body."""
        await answer.whole(await answer.request_body())

    async def _facts(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """All about the request; what its X-Echo- fields have comes back in fields as well."""
        body = await answer.request_body()
        fields = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        facts = {
            **seen._asdict(),
            "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode(),
            "fields": fields,
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        echoed = [pair for pair in scope["headers"] if pair[0].startswith(b"x-echo-")]
        await answer.whole(json.dumps(facts).encode(), echoed)

    async def _status(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """This status, without a body."""
        await answer.begin([(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")], int(argument))
        await answer.end()

    async def _large(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """So many blocks, without a length."""
        await answer.begin([])
        for _ in range(int(argument)):
            await answer.piece(BLOCK)
        await answer.end()

    async def _pieces(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """So many pieces; behind each it waits to be let on."""
        await answer.begin([(b"content-type", b"text/event-stream")])
        for number in range(int(argument)):
            await answer.piece(b"data: %d\n\n" % number)
            await self._gates[seen.path].acquire()
        await answer.end()

    async def _hold(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """The request's body, when it is let on."""
        body = await answer.request_body()
        self.arrived.put(seen)
        gate = asyncio.ensure_future(self._gates[seen.path].acquire())
        gone = asyncio.ensure_future(answer.gone())
        await asyncio.wait({gate, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            gate.cancel()
            self.left.put(seen)
            return
        gone.cancel()
        await answer.whole(body)

    async def _together(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """When so many are there it waits a little, and answers all of them."""
        await answer.request_body()
        meeting = self._meetings.setdefault(seen.path, asyncio.Event())
        self._crowds[seen.path] += 1
        if self._crowds[seen.path] == int(argument):
            meeting.set()
        await meeting.wait()
        await asyncio.sleep(DELAY)
        await answer.whole(scope["query_string"])

    async def _hints(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """103 in front of 200; only in HTTP/2."""
        await answer.send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await answer.whole(b"hinted\n")

    async def _trailers(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """A body and trailers; only in HTTP/2."""
        await answer.begin([(b"trailer", b"x-sum")], trailers=True)
        await answer.piece(b"summed\n")
        await answer.end()
        fields = [(b"x-sum", b"6"), (b"x-other", b"")]
        await answer.send({"type": "http.response.trailers", "headers": fields})

    async def _ntlm(self, seen: Seen, argument: str, scope: Scope, answer: Answer) -> None:
        """Who has authenticated the connection, and the request's body."""
        body = await answer.request_body()
        server, offer = self._users[seen.connection], b"NTLM"
        for name, value in scope["headers"]:
            if name == b"authorization" and value.startswith(b"NTLM "):
                token = server.receive(value[5:])
                offer += b" " + token if token else b""
        if server.user:
            await answer.whole(server.user.encode() + b" " + body)
        else:
            await answer.whole(b"who?", [(b"www-authenticate", offer)], 401)


class _GoneError(Exception):
    """Who asked has gone."""


class Answer:
    """The answer to one request."""

    def __init__(self, send: Send, receive: Receive) -> None:
        self.send = send
        self._receive = receive

    async def request_body(self) -> bytes:
        """The whole of it."""
        pieces: list[bytes] = []
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise _GoneError
            pieces.append(event["body"])
            if not event["more_body"]:
                return b"".join(pieces)

    async def gone(self) -> None:
        """Wait until who asked has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, fields: Fields, status: int = 200, *, trailers: bool = False) -> None:
        """Send the head."""
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": fields,
                "trailers": trailers,
            }
        )

    async def piece(self, content: bytes, *, more: bool = True) -> None:
        """Send some of the body."""
        await self.send({"type": "http.response.body", "body": content, "more_body": more})

    async def end(self) -> None:
        """Send the end of the body."""
        await self.piece(b"", more=False)

    async def whole(self, body: bytes, fields: Fields | None = None, status: int = 200) -> None:
        """Send all of an answer."""
        length = (b"content-length", b"%d" % len(body))
        await self.begin([length, *(fields or [])], status)
        await self.piece(body, more=False)


async def _chat(receive: Receive, send: Send) -> None:
    """A WebSocket that says what it is told."""
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": event["text"]})
