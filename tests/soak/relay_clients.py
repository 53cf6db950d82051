"""Clients of the relay's soak, which keep account of what they get."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import random
from collections import Counter, deque

from tests.peers.processes import LIMIT
from tests.soak.relay_frames import Frames, Request, draw

#: Requests that a client has under way at most.
DEPTH = 8
#: How a connection ends: the client goes, or is left by the other end.
LEFT, CUT_OFF = "left", "were cut off"
_READ = 1 << 18


class Clients:
    """So many clients at a time, with so many requests.

    `outcomes`: how many requests ended in which way, and connections too. `lost`: requests whose
    client has waited in vain. `wrong`: what must not happen.
    """

    def __init__(self, path: str, frames: Frames, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.lost: set[tuple[int, int]] = set()
        self.wrong: list[str] = []
        self.frames = frames
        self._path = path
        self._seed = seed
        self._serials: set[tuple[int, int]] = set()
        self._numbers = itertools.count(1)
        self._links: set[_Link] = set()

    async def run(self, count: int, requests: int) -> None:
        """Have `count` clients make that many requests together."""
        share = requests // count
        clients = (self._run_one(next(self._numbers), share) for _ in range(count))
        try:
            await asyncio.wait_for(asyncio.gather(*clients), 10 * LIMIT)
        except asyncio.TimeoutError:
            waiting = [f"{link.expected[0]!r:.80}" for link in self._links if link.expected]
            self.wrong.append(f"{len(self._links)} clients wait: {waiting[:5]}")

    def answered(self, request: Request, body: bytes) -> None:
        """This is the answer to a request, or should be."""
        try:
            serial = request.check(body)
        except ValueError as error:
            self.wrong.append(f"{error}: {body!r:.80} for {request!r:.80}")
            return
        if serial in self._serials:
            self.wrong.append(f"one answer has come twice: {request!r:.80}")
        self._serials.add(serial)
        self.outcomes["answered"] += 1

    async def _run_one(self, index: int, share: int) -> None:
        client = _Client(self, index, share, random.Random(f"{self._seed}///{index}"))
        while client.left:
            make = functools.partial(_Link, self)
            _, link = await asyncio.get_running_loop().create_unix_connection(make, self._path)
            self._links.add(link)
            ending = await client.talk(link)
            self._links.discard(link)
            self._close(link, ending)

    def _close(self, link: _Link, ending: str) -> None:
        """A client is done with a connection."""
        self.outcomes[f"connections that {ending}"] += 1
        if ending == CUT_OFF and not link.expected:
            self.wrong.append("a connection was closed although nothing was under way")
        if ending == LEFT:
            self.outcomes["left alone"] += len(link.expected)
        else:
            self.outcomes["lost"] += len(link.expected)
            self.lost.update(request.key for request in link.expected)
            self._check_rest(link)
        link.leave()

    def _check_rest(self, link: _Link) -> None:
        """What came last is the beginning of the next answer."""
        part = self.frames.part(link.received)
        if part and not (link.expected and link.expected[0].begins(part)):
            self.wrong.append(f"nobody has asked for {part!r:.80}")


class _Link(asyncio.Protocol):
    """One connection.

    `expected`: requests without an answer yet. `ended`: nothing more will come. `received`: the
    part of a frame.
    """

    def __init__(self, clients: Clients) -> None:
        self.expected: deque[Request] = deque()
        self.received = bytearray()
        self.ended = False
        self._clients = clients
        self._transport: asyncio.Transport | None = None
        self._enough = 0
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (body := self._clients.frames.take(self.received)) is not None:
            if self.expected:
                self._clients.answered(self.expected.popleft(), body)
            else:
                self._clients.wrong.append(f"nobody has asked for {body!r:.80}")
        if len(self.expected) <= self._enough:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        assert self._transport is not None
        if error is not None:
            # That it could not be written to does not say that all was read.
            self._drain(self._transport.get_extra_info("socket").fileno())
        self.ended = True
        self._wake()

    def _drain(self, descriptor: int) -> None:
        try:
            while data := os.read(descriptor, _READ):
                self.data_received(data)
        except OSError:
            pass

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, enough: int = 0) -> bool:
        """Wait until no more than that many answers are missing; False: they never will come."""
        self._enough = enough
        while len(self.expected) > enough and not self.ended:
            await self._wait()
        return len(self.expected) <= enough

    async def wait_for_end(self) -> None:
        """Wait until the other end has closed."""
        self._enough = -1
        while not self.ended:
            await self._wait()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def pause(self, seconds: float) -> None:
        """Read nothing for a while."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._transport.resume_reading)

    def send(self, data: bytes) -> None:
        """Send, if anybody is there."""
        if self._transport is not None and not self.ended:
            self._transport.write(data)

    def end_output(self) -> None:
        """Send no more, but go on reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def leave(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


class _Client:
    """One client, on one connection after the other.

    `left`: how many requests it has still to make.
    """

    def __init__(self, clients: Clients, index: int, share: int, rng: random.Random) -> None:
        self.left = share
        self._clients = clients
        self._index = index
        self._rng = rng

    async def talk(self, link: _Link) -> str:
        """Make requests on a connection; return how it came to its end."""
        rng = self._rng
        for _ in range(rng.randrange(1, 20)):
            enough = await self._send_some(link)
            if rng.random() < 0.03:
                self._send_part(link)
                return LEFT
            if not await link.wait(enough) or link.ended:
                return CUT_OFF
            if not self.left:
                break
        if rng.random() < 0.5:
            link.end_output()
            await link.wait_for_end()
            return "ended their input" if not link.expected else CUT_OFF
        return "were done" if await link.wait() else CUT_OFF

    async def _send_some(self, link: _Link) -> int:
        """Pipeline requests, as many as may be under way; return for how many not to wait."""
        rng = self._rng
        count = min(rng.randint(1, DEPTH - len(link.expected)), self.left)
        alone = count == 1 and not link.expected
        data = b"".join(self._draw(link, alone=alone) for _ in range(count))
        if rng.random() < 0.2:
            at = rng.randrange(len(data))
            link.send(data[:at])
            await asyncio.sleep(rng.random() * 0.01)
            data = data[at:]
        link.send(data)
        if rng.random() < 0.3:
            link.pause(rng.random() * 0.02)
        return 0 if alone else rng.choice((0, rng.randrange(DEPTH)))

    def _send_part(self, link: _Link) -> None:
        """Send the beginning of a request, or nothing."""
        if self.left:
            data = self._draw(link, alone=False)
            link.send(data[: self._rng.randrange(len(data))])

    def _draw(self, link: _Link, *, alone: bool) -> bytes:
        """A request, whose answer is expected from now on."""
        request = draw(self._rng, self._clients.frames, (self._index, self.left), alone=alone)
        self.left -= 1
        link.expected.append(request)
        return self._clients.frames.encode(request.encode())
