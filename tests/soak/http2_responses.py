"""What an HTTP/2 origin makes of requests: responses as planned, right or wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from hyperframe.frame import DataFrame

from tests.soak import http2_plan as plans
from tests.soak.http2_plan import Plan
from tests.soak.http2_server import ServerConnection

if TYPE_CHECKING:
    from tests.soak.http2_origin import Chaos

Fields = list[tuple[bytes, bytes]]

NO_LIMIT = 2**31 - 1


class Exchange:
    """A request as its origin sees it.

    `acted`: something was done, so that nobody may say it was not.
    """

    def __init__(self, stream_id: int, plan: Plan) -> None:
        self.id = stream_id
        self.plan = plan
        self.acted = False
        self.received = bytearray()
        self.trailers: Fields = []
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None


class RespondingConnection(ServerConnection):
    """Requests, and what is planned for them.

    `exchanges`: those under way, by their streams. `last`: streams beyond this are not acted on.
    `acted`: the last one that was.
    """

    def __init__(self, chaos: Chaos, index: int) -> None:
        super().__init__(chaos)
        self.exchanges: dict[int, Exchange] = {}
        self.acted = 0
        self.last = NO_LIMIT
        self.index = index
        self.rng = random.Random()

    def handle(self, event: Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def refuse(self, plan: Plan, how: str) -> None:
        """Note that a request was not and will not be acted on."""
        self.chaos.refused[plan.number] += 1
        self.chaos.events[f"requests not acted on: {how}"] += 1

    def forget(self, stream_id: int) -> None:
        """Do nothing more for a request."""
        exchange = self.exchanges.pop(stream_id, None)
        if exchange is not None and exchange.task is not None:
            exchange.task.cancel()

    # What has come.

    def _requested(self, event: RequestReceived) -> None:
        assert event.stream_id is not None
        plan = self._planned(dict(event.headers or ()))
        if plan is None:
            self.chaos.wrong.append(f"no request: {event.headers!r}")
            self.end()
        elif event.stream_id > self.last:
            self.refuse(plan, "too late")
        else:
            exchange = self.exchanges[event.stream_id] = Exchange(event.stream_id, plan)
            exchange.task = self.begin(self._serve(exchange))

    def _planned(self, fields: dict[bytes, bytes]) -> Plan | None:
        number = fields.get(b"x-number", b"")
        expected = {
            b":path": b"/" + number,
            b":scheme": b"https",
            b":authority": b"localhost:%d" % self.chaos.ports[self.index],
        }
        if not number.isdigit() or not expected.items() <= fields.items():
            return None
        plan = self.chaos.plan(int(number))
        return plan if plan.method == fields[b":method"] else None

    def _received(self, event: DataReceived) -> None:
        size = event.flow_controlled_length or 0
        # fastcar may have taken leave behind it.
        if size and self.h2.state_machine.state is not ConnectionState.CLOSED:
            self.h2.increment_flow_control_window(size)
        exchange = self.exchanges.get(event.stream_id or 0)
        if exchange is not None:
            exchange.received += event.data or b""

    def _trailed(self, event: TrailersReceived) -> None:
        exchange = self.exchanges.get(event.stream_id or 0)
        if exchange is not None:
            exchange.trailers = list(event.headers or ())

    def _completed(self, event: StreamEnded) -> None:
        exchange = self.exchanges.get(event.stream_id or 0)
        if exchange is None:
            return
        plan = exchange.plan
        if exchange.received != plans.upload(plan):
            self.chaos.wrong.append(f"another body than was sent: {plan}")
        if exchange.trailers != ([(b"x-trailer", b"%d" % plan.number)] if plan.trailers else []):
            self.chaos.wrong.append(f"other trailers than were sent: {plan}")
        exchange.complete.set_result(None)

    def _was_reset(self, event: StreamReset) -> None:
        code = event.error_code
        name = code.name if isinstance(code, ErrorCodes) else hex(code or 0)
        self.chaos.events[f"streams reset by fastcar: {name}"] += 1
        self.forget(event.stream_id or 0)

    def _terminated(self, event: ConnectionTerminated) -> None:
        """fastcar takes leave; h2 says nothing any more."""
        code = event.error_code or 0
        # One that was answered before its end came, perhaps just now, is still to be forgotten.
        under_way = [
            each.plan
            for each in self.exchanges.values()
            if each.acted and not (each.plan.early and each.complete.done())
        ]
        if under_way or code:
            self.chaos.wrong.append(f"fastcar leaves with {code!r}, {under_way[:3]} under way")
        self.over = True
        self.exchanges.clear()
        self.stop()

    # One request.

    async def _serve(self, exchange: Exchange) -> None:
        plan = exchange.plan
        if plan.hold:
            await asyncio.sleep(plan.hold)
        if plan.fate == plans.REFUSED and self.chaos.refused[plan.number] < plan.refusals:
            self.refuse(plan, "refused")
            self._reset(exchange, ErrorCodes.REFUSED_STREAM)
            return
        exchange.acted = True
        self.acted = max(self.acted, exchange.id)
        self.chaos.acted[plan.number] += 1
        if self.chaos.acted[plan.number] > 1:
            # The second time all goes well.
            plan = plan._replace(fate=plans.WHOLE)
        if plan.fate == plans.SILENT:
            await _never()
        if not plan.early:
            await exchange.complete
        if plan.interim:
            self._send_head(exchange, [(b":status", b"103"), *_numbered(plan)])
        if plan.fate == plans.MALFORMED:
            await self._respond_malformed(exchange, plan)
        elif plan.fate == plans.RESET:
            await self._respond_in_part(exchange, plan)
        else:
            await self._respond(exchange, plan)

    async def _respond(self, exchange: Exchange, plan: Plan) -> None:
        body = plans.download(plan)
        bare = not (body or plan.trailed)
        self._send_head(exchange, _head(plan), ended=bare)
        if not bare:
            await self._send_body(exchange, body, not plan.trailed)
        if plan.trailed:
            self._send_head(exchange, [(b"x-trailer", b"%d" % plan.number)], ended=True)
        if not exchange.complete.done() and self.rng.random() < 0.5:
            # No more of the request is wanted (RFC 9113 section 8.1).
            self._reset(exchange, ErrorCodes.NO_ERROR)
            return
        await exchange.complete
        self.exchanges.pop(exchange.id, None)

    async def _respond_in_part(self, exchange: Exchange, plan: Plan) -> None:
        if plan.cut is not None:
            body = plans.download(plan)
            self._send_head(exchange, _head(plan))
            await self._send_body(exchange, body[: int(plan.cut * len(body))], False)
        self._reset(exchange, plan.code)

    async def _respond_malformed(self, exchange: Exchange, plan: Plan) -> None:
        """What RFC 9113 section 8.1.1 calls malformed concerns this stream only: fastcar resets it,
        unless it is at its end anyway."""
        parts, ends = self.rng.choice(_malformed(plan))
        for part in parts:
            if isinstance(part, bytes):
                frame = DataFrame(exchange.id)
                frame.data = part
                self.write(frame)
            else:
                self._send_head(exchange, part, ended=ends and part is parts[-1])
        await exchange.complete
        stream = self.h2.streams.get(exchange.id)
        if stream is not None and not stream.closed:
            await _never()
        self.exchanges.pop(exchange.id, None)

    def _send_head(self, exchange: Exchange, fields: Fields, ended: bool = False) -> None:
        self.h2.send_headers(exchange.id, fields, ended)
        self.flush()

    async def _send_body(self, exchange: Exchange, body: bytes, ends: bool) -> None:
        plan = exchange.plan
        while body:
            if plan.drops:
                await asyncio.sleep(self.rng.random() * 0.01)
            padding = self.rng.randrange(256) if plan.padded else None
            room = self.h2.local_flow_control_window(exchange.id)
            room = min(room, self.h2.max_outbound_frame_size) - (padding or 0) - 1
            if self.full or room <= 0:
                await self.change()
                continue
            part = body[: min(room, self.rng.randrange(1, 20_000)) if plan.drops else room]
            body = body[len(part) :]
            self.h2.send_data(exchange.id, part, ends and not body, padding)
            self.flush()

    def _reset(self, exchange: Exchange, code: int) -> None:
        self.h2.reset_stream(exchange.id, code)
        self.flush()
        self.exchanges.pop(exchange.id, None)


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


def _numbered(plan: Plan) -> Fields:
    return [(b"x-number", b"%d" % plan.number)]


def _head(plan: Plan) -> Fields:
    head = [(b":status", b"200"), *_numbered(plan)]
    return [*head, (b"content-length", b"%d" % plan.download)] if plan.sized else head


def _malformed(plan: Plan) -> list[tuple[Sequence[Fields | bytes], bool]]:
    """Heads and content of which some is wrong, and whether the stream ends with the last head."""
    head = [(b":status", b"200"), *_numbered(plan)]
    heads: list[Fields] = [
        _numbered(plan),
        [*_numbered(plan), (b":status", b"200")],
        [*head, (b":status", b"200")],
        [*head, (b":path", b"/")],
        [(b":status", b"abc")],
        [(b":status", b"101")],
        [*head, (b"X-Upper", b"x")],
        [*head, (b"connection", b"close")],
        [*head, (b"transfer-encoding", b"chunked")],
        [*head, (b"x-injected", b"x\r\nx: y")],
        [*head, (b"content-length", b"5"), (b"content-length", b"6")],
    ]
    before: list[tuple[Sequence[Fields | bytes], bool]] = [([each], False) for each in heads]
    before.append(([b"poison"], False))
    if plan.method == b"HEAD":
        # What follows a good head comes too late to be noticed.
        return before
    return [
        *before,
        ([[*head, (b"content-length", b"7")]], True),
        ([[*head, (b"content-length", b"6")], b"poison!"], False),
        ([head, [(b":status", b"200")]], True),
    ]


_HANDLERS: dict[type, Callable[[RespondingConnection, Any], None]] = {
    ConnectionTerminated: RespondingConnection._terminated,
    DataReceived: RespondingConnection._received,
    RemoteSettingsChanged: lambda connection, _: connection.tell_changed(),
    RequestReceived: RespondingConnection._requested,
    StreamEnded: RespondingConnection._completed,
    StreamReset: RespondingConnection._was_reset,
    TrailersReceived: RespondingConnection._trailed,
    WindowUpdated: lambda connection, _: connection.tell_changed(),
}
