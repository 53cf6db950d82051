"""Backends that answer, and die at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import select
import socket
import struct
from collections import Counter

from tests.peers.processes import LIMIT
from tests.soak.messages import BROKEN_OFF
from tests.soak.relay_frames import POISON, Frames, Request

#: What becomes of a request: it is answered; the connection ends before, in the middle of, after
#: the answer; that waits until the relay gives up; there is something behind the answer.
ANSWER, BEFORE, WITHIN, AFTER, SILENT, EXTRA = range(6)
#: How many have another fate than the first, and which.
_MISFORTUNE = 0.05
_FATES = (BEFORE, WITHIN, AFTER, SILENT, EXTRA)
_FATE_WEIGHTS = (60, 100, 80, 1, 800)
#: Bytes that are surely read together with what is behind them.
_SMALL = 10_000
_READ = 1 << 16


class Backends:
    """The backends, and their account of what they got.

    `calm`: from now on they do all as they should. `seen`: how many times each request has come.
    `owed`: requests whose answers have been sent to where nothing could keep them from being read.
    `ended`: connections that have ended, or have fallen silent, for no reason that the relay gave.
    `extra`: those where more than an answer was sent. `most`: the most connections that any of them
    had open at a time.
    """

    def __init__(self, folder: str, frames: Frames, seed: int) -> None:
        self.seen: Counter[tuple[int, int]] = Counter()
        self.owed: set[tuple[int, int]] = set()
        self.ended: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.calm = False
        self.accepted = 0
        self.restarts = 0
        self.extra = 0
        self.most = 0
        self.frames = frames
        self._seed = seed
        self._rng = random.Random(f"{seed}/backends")
        path = os.path.join(folder, "backend.sock")
        self._all = [_TCP(self), _UNIX(self, path), _TCP(self)]

    @property
    def endpoints(self) -> list[str]:
        """For --backend."""
        return [each.endpoint for each in self._all]

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return sum(len(each.open) for each in self._all)

    @property
    def doomed(self) -> int:
        """Those of them that will come to a bad end."""
        return sum(connection.is_doomed for each in self._all for connection in each.open)

    async def listen(self) -> None:
        """Begin."""
        for each in self._all:
            await each.listen()

    async def trouble(self) -> None:
        """Close them and have them listen again, one at a time, until this is cancelled."""
        while True:
            # Each may be avoided for a second; one at least is there.
            await asyncio.sleep(1.2 + self._rng.expovariate(5))
            self.restarts += 1
            await self._rng.choice(self._all).restart(self._rng)

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        for each in self._all:
            each.close()

    def accept(self) -> random.Random:
        """A connection has come: what decides on it."""
        self.accepted += 1
        return random.Random(f"{self._seed}//{self.accepted}")

    def note_most(self) -> None:
        """There are more connections than before."""
        self.most = max(self.most, *(each.count() for each in self._all))


class _Backend:
    """One that listens, or not."""

    endpoint: str

    def __init__(self, backends: Backends) -> None:
        self.open: set[_Connection] = set()
        self._backends = backends
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Begin, in the same place as before."""
        raise NotImplementedError

    async def restart(self, rng: random.Random) -> None:
        """Be away for a while; connections may end with that."""
        self._stop_listening()
        if rng.random() < 0.5:
            self._abort()
        try:
            await asyncio.sleep(rng.random() * 0.3)
        finally:
            await self.listen()

    def close(self) -> None:
        self._stop_listening()
        self._abort()

    def count(self) -> int:
        """The connections that are open, as they are, not as we have been told so far."""
        return sum(connection.is_open() for connection in self.open)

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        connection = _Connection(self._backends, reader, writer)
        self.open.add(connection)
        try:
            self._backends.note_most()
            await connection.serve()
        except BROKEN_OFF:
            pass
        except Exception as failure:
            self._backends.wrong.append(f"a backend has received nonsense: {failure!r}")
        finally:
            self.open.discard(connection)
            writer.transport.abort()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _abort(self) -> None:
        self._backends.ended["with its backend"] += len(self.open)
        for connection in list(self.open):
            connection.reset()


class _TCP(_Backend):
    def __init__(self, backends: Backends) -> None:
        super().__init__(backends)
        # Keeps the port while nobody listens: else one who connects might be given it, and so be
        # connected to itself.
        self._keeper = _reusing_socket(0)
        self._port: int = self._keeper.getsockname()[1]
        self.endpoint = f"tcp:127.0.0.1:{self._port}"

    async def listen(self) -> None:
        sock = _reusing_socket(self._port)
        self._server = await asyncio.start_server(self.accepted, sock=sock, backlog=512)

    def close(self) -> None:
        super().close()
        self._keeper.close()


class _UNIX(_Backend):
    def __init__(self, backends: Backends, path: str) -> None:
        super().__init__(backends)
        self._path = path
        self.endpoint = f"unix:{path}"

    async def listen(self) -> None:
        self._server = await asyncio.start_unix_server(self.accepted, self._path, backlog=512)


def _reusing_socket(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class _Connection:
    """One connection: requests and their answers, until something happens.

    `is_doomed`: something will.
    """

    def __init__(
        self, backends: Backends, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._backends = backends
        self._reader = reader
        self._writer = writer
        self.is_doomed = False
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._rng = backends.accept()
        self._number = backends.accepted
        self._received = bytearray()
        self._answered: list[tuple[int, int]] = []
        self._is_reset = False

    async def serve(self) -> None:
        """Answer requests until the connection is to end."""
        if not self._backends.calm and self._rng.random() < 0.02:
            self.is_doomed = True
            await self._reset_later("before anything was read")
            return
        try:
            while (request := await self._read()) is not None:
                fate = self._draw_fate(request)
                if fate != ANSWER:
                    self.is_doomed = True
                    await self._misbehave(fate, request)
                    return
                await self._send(self._frame(request))
                self._answered.append(request.key)
        except BROKEN_OFF:
            # The relay does not want it any more.
            pass
        self._account()

    def reset(self) -> None:
        """Break off: what was sent may never be read."""
        self._is_reset = True
        if self._socket.fileno() >= 0:
            # A UNIX socket has no such thing, and ends as it ends.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def is_open(self) -> bool:
        """Whether the relay has not closed it."""
        if self._is_reset or self._socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return not poll.poll(0)

    def _account(self) -> None:
        if not self._is_reset:
            self._backends.owed.update(self._answered)

    async def _read(self) -> Request | None:
        """The next request; None: there will be none."""
        while (body := self._backends.frames.take(self._received)) is None:
            data = await self._reader.read(_READ)
            if not data:
                return None
            self._received += data
        request = Request.decode(body)
        self._backends.seen[request.key] += 1
        return request

    def _frame(self, request: Request) -> bytes:
        serial = len(self._answered)
        return self._backends.frames.encode(request.answer(self._number, serial))

    def _draw_fate(self, request: Request) -> int:
        if self._backends.calm or self._rng.random() >= _MISFORTUNE:
            return ANSWER
        fate = self._rng.choices(_FATES, _FATE_WEIGHTS)[0]
        unseen = fate == EXTRA and not (request.alone and len(request.payload) < _SMALL)
        return ANSWER if unseen else fate

    async def _misbehave(self, fate: int, request: Request) -> None:
        if fate == BEFORE:
            await self._end("before an answer")
        elif fate == WITHIN:
            whole = self._frame(request)
            await self._send(whole[: self._rng.randrange(len(whole))])
            await self._end("in the middle of an answer")
        elif fate == SILENT:
            self._backends.ended["by silence"] += 1
            await self._take_rest()
        elif fate == EXTRA:
            self._backends.extra += 1
            frames = self._backends.frames
            await self._send_whole(self._frame(request) + frames.encode(POISON))
            self._answered.append(request.key)
            if await self._take_rest():
                self._backends.wrong.append("a request behind an answer with more behind it")
        else:
            await self._send(self._frame(request))
            self._answered.append(request.key)
            await self._end("after an answer")

    async def _end(self, when: str) -> None:
        """End in order, at once or in a while, or not in order."""
        if self._rng.random() < 0.5:
            self._backends.ended[when + ", in order"] += 1
            self._writer.write_eof()
            await self._take_rest()
        else:
            await self._reset_later(when)

    async def _reset_later(self, when: str) -> None:
        # What comes meanwhile is not read.
        await asyncio.sleep(self._rng.choice((0, self._rng.random() * 0.05)))
        self._backends.ended[when] += 1
        self.reset()

    async def _take_rest(self) -> int:
        """Read until the relay closes the connection; the number of requests that have come."""
        count = 0
        try:
            while await asyncio.wait_for(self._read(), LIMIT) is not None:
                count += 1
        except asyncio.TimeoutError:
            self._backends.wrong.append("the relay keeps a connection that has ended")
        except BROKEN_OFF:
            pass
        self._account()
        return count

    async def _send(self, data: bytes) -> None:
        """Send, perhaps late and in pieces."""
        if self._rng.random() < 0.1:
            await asyncio.sleep(self._rng.expovariate(200))
        while data and self._rng.random() < 0.1:
            first, data = _split(self._rng, data)
            await self._send_whole(first)
            await asyncio.sleep(self._rng.expovariate(500))
        await self._send_whole(data)

    async def _send_whole(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _split(rng: random.Random, data: bytes) -> tuple[bytes, bytes]:
    at = rng.randrange(len(data) + 1)
    return data[:at], data[at:]
