"""An origin that does everything an origin can do wrong."""

from __future__ import annotations

import asyncio
import functools
import random
import re
import socket
import struct
from collections import Counter

from tests.peers.tcp import is_open
from tests.soak import plan as plans
from tests.soak.messages import BROKEN_OFF, chunked, read_body, read_head
from tests.soak.plan import Plan

#: Bytes for which there is room in any buffer.
_SURELY_RECEIVED = 30_000
#: Comes in the same segment as the response, else nobody could tell whose it is.
_POISON = b"HTTP/1.1 200 OK\r\nX-Number: 0\r\nContent-Length: 6\r\n\r\npoison"


class Chaos:
    """The origins, and their account of what they got.

    `attempts`: heads received, by the number of the request. `late`: bytes sent after a response
    that may have hit the next one. `calm`: idle connections are left alone from now on. `most`: the
    most connections that were open at a time, of each origin and, last, of all.
    """

    def __init__(self, seed: int) -> None:
        self.attempts: Counter[int] = Counter()
        self.late = 0
        self.calm = False
        self.wrong: list[str] = []
        self.accepted = 0
        self.most: list[int] = [0]
        self.ports: list[int] = []
        self._seed = seed
        self._open: list[set[asyncio.WriteTransport]] = []
        self._servers: list[asyncio.Server] = []

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return sum(map(len, self._open))

    def plan(self, number: int) -> Plan:
        """What is to become of a request."""
        return plans.draw(self._seed, number, len(self.ports))

    async def listen(self, origins: int) -> None:
        """Begin."""
        for index in range(origins):
            server = await asyncio.start_server(
                functools.partial(self._accepted, index),
                "127.0.0.1",
                backlog=512,
            )
            self._servers.append(server)
            self._open.append(set())
            self.most.append(0)
            self.ports.append(server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        for server in self._servers:
            server.close()
        for transport in [each for group in self._open for each in group]:
            transport.abort()

    async def _accepted(
        self, index: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open[index].add(writer.transport)
        self.accepted += 1
        self._count()
        rng = random.Random(f"{self._seed}//{self.accepted}")
        try:
            await _Connection(self, rng, reader, writer).serve()
        except BROKEN_OFF:
            pass
        except Exception as failure:
            self.wrong.append(f"an origin has received nonsense: {failure!r}")
        finally:
            self._open[index].discard(writer.transport)
            writer.transport.abort()

    def _count(self) -> None:
        # As they are, not as we have been told so far.
        counts = [sum(is_open(_socket(each)) for each in group) for group in self._open]
        counts.append(sum(counts))
        self.most = list(map(max, self.most, counts))


def _socket(transport: asyncio.WriteTransport) -> socket.socket:
    sock: socket.socket = transport.get_extra_info("socket")
    return sock


class _Connection:
    """One connection: requests and their responses, as planned."""

    def __init__(
        self,
        chaos: Chaos,
        rng: random.Random,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._chaos = chaos
        self._rng = rng
        self._reader = reader
        self._writer = writer

    async def serve(self) -> None:
        """Answer requests until the connection is to end."""
        head = await read_head(self._reader)
        plan = self._planned(head)
        while await self._answer(plan, head):
            head = await self._next_head(plan)
            if self._writer.is_closing():
                # It has come too late.
                return
            plan = self._planned(head)
        self._writer.close()
        await self._writer.wait_closed()

    async def _next_head(self, last: Plan) -> bytes:
        # A reset takes back what has not been received.
        reset = last.download < _SURELY_RECEIVED and self._rng.random() < 0.2
        loop = asyncio.get_running_loop()
        idle = loop.call_later(self._rng.expovariate(2), self._hang_up, reset)
        try:
            return await read_head(self._reader)
        finally:
            idle.cancel()

    def _planned(self, head: bytes) -> Plan:
        found = re.match(rb"(GET|HEAD|POST) /(\d+) HTTP/1\.1\r\n(?s:.*)X-Number: \2\r\n", head)
        if found is None:
            raise ValueError(f"no request: {head!r}")
        number = int(found[2])
        plan = self._chaos.plan(number)
        self._chaos.attempts[number] += 1
        if self._chaos.attempts[number] > 1:
            # The second time all goes well.
            return plan._replace(cut=None, unread=False, after=plans.KEEP)
        return plan

    async def _answer(self, plan: Plan, head: bytes) -> bool:
        """Whether another request may follow."""
        if plan.unread:
            return False
        if not plan.early:
            await self._read_upload(plan, head)
        await self._send(plan)
        if plan.cut is not None:
            await self._break_off(plan)
        elif plan.early:
            await self._read_upload(plan, head)
        after = plan.after
        if plan.cut is not None or plan.framing == plans.UNTIL_CLOSE:
            return False
        if after == plans.RESET:
            self._reset()
        elif after == plans.EXTRA:
            await self._see_nothing_more(plan)
        elif after == plans.LATE:
            await self._send_rubbish()
        return after == plans.KEEP

    async def _read_upload(self, plan: Plan, head: bytes) -> None:
        if await read_body(self._reader, head) != plans.upload(plan):
            self._chaos.wrong.append(f"another body than was sent: {plan}")

    async def _send(self, plan: Plan) -> None:
        if plan.interim:
            self._writer.write(b"HTTP/1.1 103 Early Hints\r\nX-Number: %d\r\n\r\n" % plan.number)
        whole = _response(plan)
        if plan.after == plans.EXTRA:
            whole += _POISON
        if plan.cut is not None:
            whole = whole[: int(plan.cut * len(whole))]
        if plan.drops:
            for _ in range(3):
                first = whole[: self._rng.randrange(len(whole) + 1)]
                whole = whole[len(first) :]
                self._writer.write(first)
                await self._writer.drain()
                await asyncio.sleep(self._rng.random() * 0.02)
        self._writer.write(whole)
        await self._writer.drain()

    async def _break_off(self, plan: Plan) -> None:
        if plan.stalls:
            await self._reader.read()
        # An end in order would be that of a whole response.
        elif plan.framing == plans.UNTIL_CLOSE or self._rng.random() < 0.5:
            self._reset()

    async def _see_nothing_more(self, plan: Plan) -> None:
        if await self._reader.read(1):
            self._chaos.wrong.append(f"a request behind a response with more behind it: {plan}")

    async def _send_rubbish(self) -> None:
        await asyncio.sleep(self._rng.random() * 0.05)
        self._chaos.late += 1
        self._writer.write(b"rubbish\r\n\r\n")
        await self._reader.read()

    def _hang_up(self, reset: bool) -> None:
        if self._chaos.calm:
            return
        if reset:
            self._reset()
        self._writer.close()

    def _reset(self) -> None:
        sock = _socket(self._writer.transport)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def _response(plan: Plan) -> bytes:
    """The whole response, as it is when nothing goes wrong."""
    body = plans.download(plan)
    lines = [b"HTTP/1.1 200 OK", b"X-Number: %d" % plan.number]
    if plan.framing == plans.LENGTH:
        lines.append(b"Content-Length: %d" % len(body))
    elif plan.framing == plans.CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(body)
    if plan.after == plans.ANNOUNCED:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if plan.method == b"HEAD" else body)
