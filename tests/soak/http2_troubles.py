"""What befalls a connection of an HTTP/2 origin, and all requests on it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from h2.events import Event, PingAckReceived, SettingsAcknowledged
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from tests.soak.http2_responses import NO_LIMIT, RespondingConnection

if TYPE_CHECKING:
    from tests.soak.http2_origin import Chaos

#: Seconds between two things that happen to a connection, on average.
_PEACE = 0.7
#: Seconds between two looks whether an upload has room, and how much it is given at most.
_TICK, _ROOM = 0.02, 65536

_CALM_SETTINGS: dict[int, int] = {
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


class Connection(RespondingConnection):
    """A connection, and what befalls it.

    `doomed`: fastcar is to close it.
    """

    def __init__(self, chaos: Chaos, index: int) -> None:
        super().__init__(chaos, index)
        self.doomed = False
        # The settings that were sent last are in force.
        self._agreed = False
        self._trouble: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.chaos.opened(self)
        self.rng.seed(f"{self.chaos.seed}//{self.chaos.accepted}")
        self.introduce(_CALM_SETTINGS if self.chaos.calm else self._random_settings())
        self.begin(self._open_windows())
        if not self.chaos.calm:
            self._trouble = self.begin(self._make_trouble())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # What a client has cancelled last may be lost with the rest when the connection is reset.
        reset = isinstance(exc, ConnectionResetError)
        abandoned = [
            each.plan
            for each in self.exchanges.values()
            if each.acted and not (reset and each.plan.leaves)
        ]
        if abandoned and not self.over:
            self.chaos.wrong.append(f"requests were abandoned: {exc!r} {abandoned[:3]}")
        self.chaos.closed(self)

    def handle(self, event: Event) -> None:
        super().handle(event)
        if isinstance(event, SettingsAcknowledged):
            self._agreed = True
            if self.chaos.calm:
                self.become_calm()
        elif isinstance(event, PingAckReceived):
            self.chaos.events["pings answered"] += 1

    def become_calm(self) -> None:
        """Do nothing wrong from now on."""
        if self._trouble is not None:
            self._trouble.cancel()
        current = {code: self.h2.local_settings[code] for code in _CALM_SETTINGS}
        if self._agreed and not (self.over or self.doomed) and current != _CALM_SETTINGS:
            self._settle(_CALM_SETTINGS)

    async def _open_windows(self) -> None:
        """Uploads get room by and by; that every window was shrunk is no excuse."""
        while True:
            await asyncio.sleep(_TICK)
            for exchange in self.exchanges.values():
                if exchange.complete.done():
                    continue
                if self.h2.remote_flow_control_window(exchange.id) < _ROOM // 4:
                    room = self.rng.choice((self.rng.randrange(1, 2000), _ROOM))
                    self.h2.increment_flow_control_window(room, exchange.id)
            self.flush()

    async def _make_trouble(self) -> None:
        while not self.doomed:
            await asyncio.sleep(self.rng.expovariate(1 / _PEACE))
            name, trouble = self.rng.choices(_TROUBLES, _TROUBLE_WEIGHTS)[0]
            self.chaos.events[name] += 1
            await trouble(self)

    async def _change_settings(self) -> None:
        # h2 takes an acknowledgement for that of all that were sent.
        if self._agreed:
            settings = self._random_settings()
            some = self.rng.sample(sorted(settings), self.rng.randrange(1, 5))
            self._settle({code: settings[code] for code in some})

    async def _ping(self) -> None:
        self.h2.ping(self.rng.randbytes(8))
        self.flush()

    async def _stall(self) -> None:
        self.transport.pause_reading()
        try:
            await asyncio.sleep(self.rng.random() * 0.4)
        finally:
            self.transport.resume_reading()

    async def _go_away(self) -> None:
        """What has been acted on is the least that will be."""
        newest = self.h2.highest_inbound_stream_id
        between = self.rng.randint(self.acted, newest)
        self._announce(self.rng.choice((self.acted, between, newest)))

    async def _go_away_gracefully(self) -> None:
        self.doomed = True
        self.write(GoAwayFrame(0, last_stream_id=NO_LIMIT))
        await asyncio.sleep(self.rng.random() * 0.3)
        self._announce(self.h2.highest_inbound_stream_id)

    async def _go_away_and_close(self) -> None:
        await self._go_away()
        await asyncio.sleep(self.rng.random() * 0.1)
        self.chaos.harms(self)
        self.over = True
        self.transport.close()

    async def _vanish(self) -> None:
        self.chaos.harms(self)
        if self.rng.random() < 0.5:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end()

    async def _break_rules(self) -> None:
        self.chaos.harms(self)
        self.over = self.doomed = True
        self.transport.write(self.rng.choice(_BROKEN))

    def _announce(self, last: int) -> None:
        """Send GOAWAY, and act on nothing that came after this stream."""
        self.doomed = True
        self.last = last
        self.chaos.leaves(self)
        self.write(GoAwayFrame(0, last_stream_id=last, error_code=self.rng.choice((0, 0, 2, 11))))
        for exchange in list(self.exchanges.values()):
            if exchange.id > last:
                self.refuse(exchange.plan, "too late")
                self.forget(exchange.id)

    def _random_settings(self) -> dict[int, int]:
        rng = self.rng
        return {
            SettingCodes.MAX_CONCURRENT_STREAMS: rng.choice((1, 2, 5, 10, rng.randint(1, 50), 50)),
            SettingCodes.INITIAL_WINDOW_SIZE: rng.choice((0, 1, 1000, 16384, 65535, 1 << 20)),
            SettingCodes.MAX_FRAME_SIZE: rng.choice((16384, 16385, 65536, 2**24 - 1)),
            SettingCodes.HEADER_TABLE_SIZE: rng.choice((0, 100, 4096, 65536)),
        }

    def _settle(self, settings: dict[int, int]) -> None:
        self._agreed = False
        self.h2.update_settings({SettingCodes(code): value for code, value in settings.items()})
        self.flush()


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
_TROUBLE_WEIGHTS = (36, 18, 8, 12, 8, 6, 8, 4)
