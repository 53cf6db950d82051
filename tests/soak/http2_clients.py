"""Clients of the HTTP/2 soak, which keep account of what they get."""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
import time
from collections import Counter

from tests.peers.openings import OpenFastcar
from tests.peers.sockets import field_values
from tests.soak import http2_plan as plans
from tests.soak.http2_origin import Chaos
from tests.soak.http2_plan import Plan
from tests.soak.messages import BROKEN_OFF, chunked, read_head, request_head, send_late

#: Seconds that fastcar is to wait for an origin.
PATIENCE = 3
#: Responses of fastcar's own that an origin like this gives rise to.
_EXPECTED = (b"502", b"503", b"504")
#: Bytes that a slow client reads at a time.
_SIP = 16 * 1024


class LeftError(Exception):
    """A client has seen enough."""


class Clients:
    """So many clients at a time, for a while.

    `under_way`: requests that have not ended. `outcomes`: how many ended in which way; "fair:"
    before those to which the origin did no harm. `longest`: seconds that the slowest took.
    """

    def __init__(self, fastcar: OpenFastcar, chaos: Chaos) -> None:
        self.outcomes: Counter[str] = Counter()
        self.under_way: set[Plan] = set()
        self.longest = 0.0
        self.wrong: list[str] = []
        self._fastcar = fastcar
        self._chaos = chaos
        self._trust = ssl.create_default_context(cafile=fastcar.ca_file)
        self._numbers = itertools.count(1)

    async def run(self, count: int, seconds: float) -> None:
        """Have `count` clients make requests for so long."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._run_one(index, end) for index in range(count)))

    async def run_calmly(self, count: int, seconds: float) -> None:
        """Do that with requests that have nothing to fear."""
        self._numbers = itertools.count(plans.CALM)
        await self.run(count, seconds)

    async def _run_one(self, index: int, end: float) -> None:
        rng = random.Random(f"{self._chaos.seed}///{index}")
        while time.monotonic() < end:
            reader, writer = await self._connect(inside_tls=rng.random() < 0.15)
            try:
                # Half of the connections are for one request, as PHP's are.
                for _ in range(rng.choice((1, rng.randrange(2, 30)))):
                    plan = self._chaos.plan(next(self._numbers))
                    goes_on = await self._request(plan, reader, writer)
                    if not goes_on or time.monotonic() > end:
                        break
            finally:
                writer.close()

    async def _connect(
        self, *, inside_tls: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not inside_tls:
            return await asyncio.open_unix_connection(self._fastcar.https_socket, limit=_SIP)
        return await asyncio.open_unix_connection(
            self._fastcar.socket, limit=_SIP, ssl=self._trust, server_hostname="localhost"
        )

    async def _request(
        self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection may serve another request."""
        started = time.monotonic()
        self.under_way.add(plan)
        try:
            outcome, goes_on = await self._outcome(plan, reader, writer)
        except LeftError:
            outcome, goes_on = "left", False
            writer.transport.abort()
        self.under_way.discard(plan)
        self.longest = max(self.longest, time.monotonic() - started)
        self._check_fair(plan, outcome, started)
        self.outcomes[("fair: " if plan.fair else "") + outcome] += 1
        return goes_on

    def _check_fair(self, plan: Plan, outcome: str, started: float) -> None:
        """What the origin and the client do no harm to, nobody else does.

        In the calm there is room for everybody at once, too.
        """
        if not plan.fair or outcome == "answered":
            return
        calm = plan.number >= plans.CALM
        if calm or not (self._chaos.has_harmed(plan, started) or outcome.startswith("503")):
            self.wrong.append(f"{outcome} without a reason: {plan}")

    async def _outcome(
        self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, bool]:
        host = b"localhost:%d" % self._chaos.ports[plan.origin]
        data = request_head(plan, host, has_upload=plan.has_upload) + _framed_upload(plan)
        half = len(data) // 2 if plan.pause or plan.leaves == plans.SENDING else len(data)
        writer.write(data[:half])
        if plan.leaves in (plans.SENDING, plans.WAITING):
            await asyncio.sleep(plan.pause)
            raise LeftError
        rest = asyncio.create_task(send_late(writer, plan.pause, data[half:]))
        try:
            head = await read_head(reader)
            while head.startswith(b"HTTP/1.1 1"):
                self._check_interim(plan, head)
                head = await read_head(reader)
            body, trailers = await _Body(plan, reader).read(head)
        except BROKEN_OFF:
            return "broken off", False
        finally:
            complete = rest.done()
            rest.cancel()
        goes_on = b"close" not in field_values(head, b"connection")
        if goes_on and not complete:
            self.wrong.append(f"another request is welcome in the middle of one: {plan}")
        # One whose end alone is missing is broken off when it has been read.
        goes_on = goes_on and plan.fate != plans.RESET
        return self._judge(plan, head, body, trailers), goes_on

    def _check_interim(self, plan: Plan, head: bytes) -> None:
        if not plan.interim or field_values(head, b"x-number") != [b"%d" % plan.number]:
            self.wrong.append(f"another's interim response: {head!r} for {plan}")

    def _judge(self, plan: Plan, head: bytes, body: bytes, trailers: bytes) -> str:
        """What a complete response is worth."""
        status = head[9:12]
        error = b"".join(field_values(head, b"proxy-status"))
        if error:
            if status not in _EXPECTED:
                self.wrong.append(f"an error nothing gave rise to: {head!r} {body!r} for {plan}")
            return f"{status.decode()} {error.decode().partition('=')[2]}"
        number = field_values(head, b"x-number")
        if (status, number, body) != (b"200", [b"%d" % plan.number], plans.download(plan)):
            self.wrong.append(f"not the response: {head!r} and {len(body)} bytes for {plan}")
        expected = b"x-trailer: %d\r\n" % plan.number if plan.trailed else b""
        # With Content-Length there is no place for them.
        if trailers != expected and field_values(head, b"transfer-encoding"):
            self.wrong.append(f"other trailers than were sent: {trailers!r} for {plan}")
        if plan.fate == plans.MALFORMED and self._chaos.acted[plan.number] < 2:
            self.wrong.append(f"a malformed response was passed on: {head!r} {body!r} for {plan}")
        return "answered"


class _Body:
    """The body of a response, read as its client does."""

    def __init__(self, plan: Plan, reader: asyncio.StreamReader) -> None:
        self._plan = plan
        self._reader = reader
        self._left = plan.download // 2

    async def read(self, head: bytes) -> tuple[bytes, bytes]:
        """The body, and the lines of its trailers."""
        if self._plan.method == b"HEAD":
            return b"", b""
        if field_values(head, b"transfer-encoding"):
            return await self._read_chunks()
        length = field_values(head, b"content-length")
        return await self._read(int(length[0]) if length else 0), b""

    async def _read_chunks(self) -> tuple[bytes, bytes]:
        body, trailers = [], []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body.append(await self._read(size))
            if await self._reader.readexactly(2) != b"\r\n":
                raise ValueError("a chunk does not end where it said")
        while (line := await self._reader.readuntil(b"\r\n")) != b"\r\n":
            trailers.append(line)
        return b"".join(body), b"".join(trailers)

    async def _read(self, size: int) -> bytes:
        pieces = []
        while size:
            pieces.append(await self._reader.readexactly(min(size, _SIP)))
            size -= len(pieces[-1])
            self._left -= len(pieces[-1])
            if self._plan.slow:
                await asyncio.sleep(0.01)
            if self._plan.leaves == plans.READING and self._left < 0:
                raise LeftError
        return b"".join(pieces)


def _framed_upload(plan: Plan) -> bytes:
    body = plans.upload(plan)
    if not plan.chunked:
        return body
    trailer = b"X-Trailer: %d\r\n" % plan.number if plan.trailers else b""
    return chunked(body)[:-2] + trailer + b"\r\n"
