"""An HTTP/2 origin that does whatever an origin may do, and some of what it may not."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, SettingsFrame

from tests.peers.tcp import is_open
from tests.soak import http2_plan as plans
from tests.soak.http2_plan import Plan

Fields = list[tuple[bytes, bytes]]

_NO_LIMIT = 2**31 - 1
#: Seconds for which a connection that has ended may still be taken for one that has not.
_NEWS = 1.0
#: Seconds between two things that happen to a connection, on average.
_PEACE = 0.7
#: Seconds between two looks whether an upload has room, and how much it is given at most.
_TICK, _ROOM = 0.02, 65536

_CALM_SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: 50,
    SettingCodes.INITIAL_WINDOW_SIZE: 65535,
    SettingCodes.MAX_FRAME_SIZE: 16384,
    SettingCodes.HEADER_TABLE_SIZE: 4096,
}

#: What ends a connection, whoever it is sent to.
_BROKEN = (
    b"\0\0\x08\x05\x04\0\0\0\1\0\0\0\2\x88\x88\x88\x88",  # PUSH_PROMISE
    b"\0\0\x01\0\0\0\0\0\0x",  # DATA on no stream
    b"\xff\xff\xff\0\0\0\0\0\1",  # a frame of 16 MiB
    b"\0\0\5\4\0\0\0\0\0\0\0\0\0\0",  # SETTINGS of five bytes
    b"\0\0\4\x08\0\0\0\0\0\0\0\0\0",  # WINDOW_UPDATE by nothing
    b"\0\0\1\x09\4\0\0\0\1\x88",  # CONTINUATION of nothing
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
)


class Chaos:
    """The origins, and their account of what they got.

    `acted`: how often requests were acted on, by their number; `refused`: how often an origin has
    said that it did not and will not. `most`: the most connections that were open at a time, of
    each origin and, last, of all.
    """

    def __init__(self, seed: int, context: ssl.SSLContext) -> None:
        self.acted: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.events: Counter[str] = Counter()
        self.calm = False
        self.wrong: list[str] = []
        self.accepted = 0
        self.most: list[int] = [0]
        self.ports: list[int] = []
        self.seed = seed
        self._harmed_at: list[float] = []
        self._open: list[set[Connection]] = []
        self._servers: list[asyncio.Server] = []
        self._context = context
        context.set_alpn_protocols(["h2"])

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return sum(map(len, self._open))

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return sum(each.streams for group in self._open for each in group)

    @property
    def doomed(self) -> int:
        """Connections that fastcar is to close."""
        return sum(each.doomed for group in self._open for each in group)

    def plan(self, number: int) -> Plan:
        """What is to become of a request."""
        return plans.draw(self.seed, number, len(self.ports))

    async def listen(self, origins: int) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        for index in range(origins):
            self._open.append(set())
            self._harmed_at.append(0)
            self.most.append(0)
            server = await loop.create_server(
                lambda index=index: Connection(self, index),  # type: ignore[misc]
                "127.0.0.1",
                ssl=self._context,
                backlog=512,
            )
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    def become_calm(self) -> None:
        """Do nothing wrong from now on."""
        self.calm = True
        for connection in [each for group in self._open for each in group]:
            connection.become_calm()

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        for server in self._servers:
            server.close()
        for connection in [each for group in self._open for each in group]:
            connection.end()

    def opened(self, index: int, connection: Connection) -> None:
        """An origin has a connection."""
        self._open[index].add(connection)
        self.accepted += 1
        # As they are, not as we have been told so far.
        counts = [sum(is_open(each.socket) for each in group) for group in self._open]
        counts.append(sum(counts))
        self.most = list(map(max, self.most, counts))

    def closed(self, index: int, connection: Connection) -> None:
        """An origin has a connection less."""
        self._open[index].discard(connection)

    def harms(self, index: int) -> None:
        """An origin is about to end a connection under its requests."""
        self._harmed_at[index] = time.monotonic()

    def has_harmed(self, plan: Plan, since: float) -> bool:
        """Whether a request that began then may have suffered from what was not its own fate."""
        if self._harmed_at[plan.origin] > since - _NEWS:
            return True
        refused = self.refused[plan.number]
        return refused > 3 or (refused > 0 and not plan.whole_at_once)


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


class _Server(H2Connection):
    """A server as h2 has it, but for two mistakes.

    What is empty fits into any window, even one that was shrunk; and what was acknowledged is in
    force from then on, not from the next segment on.
    """

    def _receive_settings_frame(self, frame: SettingsFrame) -> Any:
        result = super()._receive_settings_frame(frame)
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        return result

    def _receive_data_frame(self, frame: DataFrame) -> Any:
        stream = self.streams.get(frame.stream_id)
        manager = stream and stream._inbound_window_manager
        shrunk = min(manager.current_window_size, 0) if manager else 0
        if frame.flow_controlled_length or not shrunk or manager is None:
            return super()._receive_data_frame(frame)
        manager.current_window_size -= shrunk
        result = super()._receive_data_frame(frame)
        manager.current_window_size += shrunk
        return result


class Connection(asyncio.Protocol):
    """One connection: requests, their responses as planned, and what befalls all of them."""

    def __init__(self, chaos: Chaos, index: int) -> None:
        self.socket: socket.socket
        self._chaos = chaos
        self._index = index
        self._exchanges: dict[int, Exchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed: list[asyncio.Future[None]] = []
        self._full = False
        # The settings that were sent last are in force.
        self._agreed = False
        # Streams up to this have been acted on, and those beyond this will not be.
        self._acted = 0
        self._last = _NO_LIMIT
        self._trouble: asyncio.Task[None] | None = None
        self.doomed = False
        self._over = False
        self._h2 = _Server(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return len(self._exchanges)

    # From the wire.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.socket = transport.get_extra_info("socket")
        self._chaos.opened(self._index, self)
        self._rng = random.Random(f"{self._chaos.seed}//{self._chaos.accepted}")
        settings = _CALM_SETTINGS if self._chaos.calm else self._random_settings()
        # Until they are acknowledged the defaults are in force, although they are never sent.
        self._h2.initiate_connection()
        self._h2.data_to_send()
        self._h2.local_settings.update(settings)
        self._write(SettingsFrame(0, settings=settings))
        self._begin(self._open_windows())
        if not self._chaos.calm:
            self._trouble = self._begin(self._make_trouble())

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            self._chaos.wrong.append(f"a client that breaks the rules: {error!r}")
            self.end()
            return
        for event in events:
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        abandoned = [each.plan for each in self._exchanges.values() if each.acted]
        if abandoned and not self._over:
            self._chaos.wrong.append(f"requests were abandoned: {exc!r} {abandoned[:3]}")
        self._stop()
        self._chaos.closed(self._index, self)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._tell_changed()

    # What has come.

    def _requested(self, event: RequestReceived) -> None:
        assert event.stream_id is not None
        plan = self._planned(dict(event.headers or ()))
        if plan is None:
            self._chaos.wrong.append(f"no request: {event.headers!r}")
            self.end()
        elif event.stream_id > self._last:
            self._refuse(plan, "too late")
        else:
            exchange = self._exchanges[event.stream_id] = Exchange(event.stream_id, plan)
            exchange.task = self._begin(self._serve(exchange))

    def _planned(self, fields: dict[bytes, bytes]) -> Plan | None:
        number = fields.get(b"x-number", b"")
        expected = {
            b":path": b"/" + number,
            b":scheme": b"https",
            b":authority": b"localhost:%d" % self._chaos.ports[self._index],
        }
        if not number.isdigit() or not expected.items() <= fields.items():
            return None
        plan = self._chaos.plan(int(number))
        return plan if plan.method == fields[b":method"] else None

    def _received(self, event: DataReceived) -> None:
        size = event.flow_controlled_length or 0
        # fastcar may have taken leave behind it.
        if size and self._h2.state_machine.state is not ConnectionState.CLOSED:
            self._h2.increment_flow_control_window(size)
        exchange = self._exchanges.get(event.stream_id or 0)
        if exchange is not None:
            exchange.received += event.data or b""

    def _trailed(self, event: TrailersReceived) -> None:
        exchange = self._exchanges.get(event.stream_id or 0)
        if exchange is not None:
            exchange.trailers = list(event.headers or ())

    def _completed(self, event: StreamEnded) -> None:
        exchange = self._exchanges.get(event.stream_id or 0)
        if exchange is None:
            return
        plan = exchange.plan
        if exchange.received != plans.upload(plan):
            self._chaos.wrong.append(f"another body than was sent: {plan}")
        if exchange.trailers != ([(b"x-trailer", b"%d" % plan.number)] if plan.trailers else []):
            self._chaos.wrong.append(f"other trailers than were sent: {plan}")
        exchange.complete.set_result(None)

    def _was_reset(self, event: StreamReset) -> None:
        code = event.error_code
        name = code.name if isinstance(code, ErrorCodes) else hex(code or 0)
        self._chaos.events[f"streams reset by fastcar: {name}"] += 1
        self._forget(event.stream_id or 0)

    def _windows_changed(self, event: WindowUpdated | RemoteSettingsChanged) -> None:
        self._tell_changed()

    def _settings_agreed(self, event: SettingsAcknowledged) -> None:
        self._agreed = True
        if self._chaos.calm:
            self.become_calm()

    def _ping_answered(self, event: PingAckReceived) -> None:
        self._chaos.events["pings answered"] += 1

    def _terminated(self, event: ConnectionTerminated) -> None:
        """fastcar takes leave; h2 says nothing any more."""
        code = event.error_code or 0
        under_way = [each.plan for each in self._exchanges.values() if each.acted]
        if under_way or code:
            self._chaos.wrong.append(f"fastcar leaves with {code!r}, {under_way[:3]} under way")
        self._over = True
        self._stop()

    # One request.

    async def _serve(self, exchange: Exchange) -> None:
        plan = exchange.plan
        if plan.hold:
            await asyncio.sleep(plan.hold)
        refused = self._chaos.refused[plan.number]
        if plan.fate == plans.REFUSED and refused < plan.refusals:
            self._refuse(plan, "refused")
            self._reset(exchange, ErrorCodes.REFUSED_STREAM)
            return
        exchange.acted = True
        self._acted = max(self._acted, exchange.id)
        self._chaos.acted[plan.number] += 1
        if self._chaos.acted[plan.number] > 1:
            # The second time all goes well.
            plan = plan._replace(fate=plans.WHOLE)
        if plan.fate == plans.SILENT:
            await _never()
        await self._respond(exchange, plan)

    async def _respond(self, exchange: Exchange, plan: Plan) -> None:
        if not plan.early:
            await exchange.complete
        if plan.interim:
            self._send_head(exchange, [(b":status", b"103"), *_numbered(plan)])
        if plan.fate == plans.RESET and plan.cut is None:
            self._reset(exchange, plan.code)
            return
        if plan.fate == plans.MALFORMED:
            self._send_malformed(exchange, plan)
            await self._end_malformed(exchange)
            return
        body = plans.download(plan)
        head = [(b":status", b"200"), *_numbered(plan)]
        if plan.sized:
            head.append((b"content-length", b"%d" % plan.download))
        cut = plan.fate == plans.RESET
        bare = not (body or plan.trailed or cut)
        self._send_head(exchange, head, ended=bare)
        if cut:
            await self._send_body(exchange, body[: int((plan.cut or 0) * len(body))], False)
            self._reset(exchange, plan.code)
            return
        if not bare:
            await self._send_body(exchange, body, not plan.trailed)
        if plan.trailed:
            self._send_head(exchange, [(b"x-trailer", b"%d" % plan.number)], ended=True)
        await self._end_early(exchange)

    async def _end_early(self, exchange: Exchange) -> None:
        """The response is complete; the request need not be."""
        if not exchange.complete.done():
            if self._rng.random() < 0.5:
                self._reset(exchange, ErrorCodes.NO_ERROR)
                return
            await exchange.complete
        self._exchanges.pop(exchange.id, None)

    async def _end_malformed(self, exchange: Exchange) -> None:
        """fastcar resets it, unless it is at its end anyway."""
        await exchange.complete
        stream = self._h2.streams.get(exchange.id)
        if stream is not None and not stream.closed:
            await _never()
        self._exchanges.pop(exchange.id, None)

    async def _send_body(self, exchange: Exchange, body: bytes, ends: bool) -> None:
        plan = exchange.plan
        at = 0
        while at < len(body) or (ends and not body):
            if plan.drops:
                await asyncio.sleep(self._rng.random() * 0.01)
            padding = self._rng.randrange(256) if plan.padded else None
            room = min(
                self._h2.local_flow_control_window(exchange.id),
                self._h2.max_outbound_frame_size,
            )
            size = min(room - (padding or 0) - 1, len(body) - at)
            if self._full or (size <= 0 and body):
                await self._change()
                continue
            if plan.drops:
                size = min(size, self._rng.randrange(1, 20_000))
            part = body[at : at + max(size, 0)]
            at += len(part)
            ended = ends and at == len(body)
            self._h2.send_data(exchange.id, part, ended, padding)
            self._flush()
            if ended:
                return

    def _send_head(self, exchange: Exchange, fields: Fields, ended: bool = False) -> None:
        self._h2.send_headers(exchange.id, fields, ended)
        self._flush()

    def _send_malformed(self, exchange: Exchange, plan: Plan) -> None:
        """What RFC 9113 section 8.1.1 calls malformed: it concerns this stream only."""
        head = [(b":status", b"200"), *_numbered(plan)]
        bad_heads: list[Fields] = [
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
        # A good head is all there is of a response to HEAD.
        kind = self._rng.randrange(len(bad_heads) + (1 if plan.method == b"HEAD" else 4))
        if kind < len(bad_heads):
            self._send_head(exchange, bad_heads[kind])
            return
        kind -= len(bad_heads)
        if kind == 0:
            frame = DataFrame(exchange.id)
            frame.data = b"poison"
            self._write(frame)
        elif kind == 1:
            self._send_head(exchange, [*head, (b"content-length", b"7")], ended=True)
        elif kind == 2:
            self._send_head(exchange, [*head, (b"content-length", b"6")])
            frame = DataFrame(exchange.id)
            frame.data = b"poison!"
            self._write(frame)
        else:
            self._send_head(exchange, head)
            self._send_head(exchange, [(b":status", b"200")], ended=True)

    def _reset(self, exchange: Exchange, code: int) -> None:
        self._h2.reset_stream(exchange.id, code)
        self._flush()
        self._exchanges.pop(exchange.id, None)

    def _refuse(self, plan: Plan, how: str) -> None:
        self._chaos.refused[plan.number] += 1
        self._chaos.events[f"requests not acted on: {how}"] += 1

    def _forget(self, stream_id: int) -> None:
        exchange = self._exchanges.pop(stream_id, None)
        if exchange is not None and exchange.task is not None:
            exchange.task.cancel()

    # What befalls all of them.

    async def _open_windows(self) -> None:
        """Uploads get room by and by; that every window was shrunk is no excuse."""
        while True:
            await asyncio.sleep(_TICK)
            for exchange in list(self._exchanges.values()):
                if exchange.complete.done():
                    continue
                if self._h2.remote_flow_control_window(exchange.id) < _ROOM // 4:
                    room = self._rng.choice((self._rng.randrange(1, 2000), _ROOM))
                    self._h2.increment_flow_control_window(room, exchange.id)
            self._flush()

    async def _make_trouble(self) -> None:
        while not self.doomed:
            await asyncio.sleep(self._rng.expovariate(1 / _PEACE))
            name, trouble = self._rng.choices(_TROUBLES, _TROUBLE_WEIGHTS)[0]
            self._chaos.events[name] += 1
            await trouble(self)

    async def _change_settings(self) -> None:
        if self._agreed:
            settings = self._random_settings()
            some = self._rng.sample(sorted(settings), self._rng.randrange(1, 5))
            self._settle({code: settings[code] for code in some})

    async def _ping(self) -> None:
        self._h2.ping(self._rng.randbytes(8))
        self._flush()

    async def _go_away(self) -> None:
        """What has been acted on is the least that will be."""
        acted, newest = self._acted, self._h2.highest_inbound_stream_id
        self._announce(self._rng.choice((acted, newest, self._rng.randint(acted, newest))))

    async def _go_away_gracefully(self) -> None:
        self.doomed = True
        self._write(GoAwayFrame(0, last_stream_id=_NO_LIMIT))
        await asyncio.sleep(self._rng.random() * 0.3)
        self._announce(self._h2.highest_inbound_stream_id)

    async def _go_away_and_close(self) -> None:
        await self._go_away()
        await asyncio.sleep(self._rng.random() * 0.1)
        self._chaos.harms(self._index)
        self._over = True
        self._transport.close()

    async def _vanish(self) -> None:
        self._chaos.harms(self._index)
        if self._rng.random() < 0.5:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end()

    async def _break_rules(self) -> None:
        self._chaos.harms(self._index)
        self._over = self.doomed = True
        self._transport.write(self._rng.choice(_BROKEN))

    async def _stall(self) -> None:
        self._transport.pause_reading()
        try:
            await asyncio.sleep(self._rng.random() * 0.4)
        finally:
            self._transport.resume_reading()

    def _random_settings(self) -> dict[int, int]:
        rng = self._rng
        return {
            SettingCodes.MAX_CONCURRENT_STREAMS: rng.choice((1, 2, 5, 10, rng.randint(1, 50), 50)),
            SettingCodes.INITIAL_WINDOW_SIZE: rng.choice((0, 1, 1000, 16384, 65535, 1 << 20)),
            SettingCodes.MAX_FRAME_SIZE: rng.choice((16384, 16385, 65536, 2**24 - 1)),
            SettingCodes.HEADER_TABLE_SIZE: rng.choice((0, 100, 4096, 65536)),
        }

    def _settle(self, settings: dict[int, int]) -> None:
        """Change settings; h2 takes an acknowledgement for that of all that were sent."""
        self._agreed = False
        self._h2.update_settings(settings)  # type: ignore[arg-type]
        self._flush()

    def _announce(self, last: int) -> None:
        """Send GOAWAY, and act on nothing that came after this stream."""
        self.doomed = True
        self._last = last
        self._write(GoAwayFrame(0, last_stream_id=last, error_code=self._rng.choice((0, 0, 2, 11))))
        for exchange in list(self._exchanges.values()):
            if exchange.id > last:
                self._refuse(exchange.plan, "too late")
                self._forget(exchange.id)

    # Ending.

    def become_calm(self) -> None:
        """Do nothing wrong from now on."""
        if self._trouble is not None:
            self._trouble.cancel()
        if self._agreed and not (self._over or self.doomed):
            current = {code: self._h2.local_settings[code] for code in _CALM_SETTINGS}
            if current != _CALM_SETTINGS:
                self._settle(dict(_CALM_SETTINGS))

    def end(self) -> None:
        """End it at once."""
        self._over = True
        self._stop()
        self._transport.abort()

    def _stop(self) -> None:
        self._exchanges.clear()
        for task in self._tasks:
            task.cancel()

    # Ours.

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._chaos.wrong.append(f"an origin's own failure: {task.exception()!r}")

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._over:
            self._transport.write(data)

    def _write(self, frame: Frame) -> None:
        self._flush()
        if not self._over:
            self._transport.write(frame.serialize())

    def _tell_changed(self) -> None:
        changed, self._changed = self._changed, []
        for waiter in changed:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(waiter)
        await waiter


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


def _numbered(plan: Plan) -> Fields:
    return [(b"x-number", b"%d" % plan.number)]


_HANDLERS: dict[type, Callable[[Connection, Any], None]] = {
    ConnectionTerminated: Connection._terminated,
    DataReceived: Connection._received,
    PingAckReceived: Connection._ping_answered,
    RemoteSettingsChanged: Connection._windows_changed,
    RequestReceived: Connection._requested,
    SettingsAcknowledged: Connection._settings_agreed,
    StreamEnded: Connection._completed,
    StreamReset: Connection._was_reset,
    TrailersReceived: Connection._trailed,
    WindowUpdated: Connection._windows_changed,
}

_TROUBLES: list[tuple[str, Callable[[Connection], Coroutine[Any, Any, None]]]] = [
    ("changes of settings", Connection._change_settings),
    ("pings", Connection._ping),
    ("stalls", Connection._stall),
    ("GOAWAY", Connection._go_away),
    ("GOAWAY, graceful", Connection._go_away_gracefully),
    ("GOAWAY, then closed", Connection._go_away_and_close),
    ("vanished", Connection._vanish),
    ("broke the rules", Connection._break_rules),
]
_TROUBLE_WEIGHTS = (40, 20, 8, 12, 8, 4, 4, 3)
