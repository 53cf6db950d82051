"""Clients that keep account of what they get."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter

from tests.peers.sockets import field_values
from tests.soak import plan as plans
from tests.soak.messages import (
    BROKEN_OFF,
    chunked,
    read_body,
    read_head,
    request_head,
    send_late,
)
from tests.soak.origin import Chaos
from tests.soak.plan import Plan

#: Seconds that fastcar is to wait for an origin.
PATIENCE = 2
#: Responses of fastcar's own that an origin like this gives rise to.
_EXPECTED = (b"502", b"503", b"504")


class Clients:
    """So many clients at a time, for a while.

    `under_way`: requests that have not ended. `outcomes`: how many ended in which way; "fair:"
    before those to which the origin did no harm. `unlucky`: requests without body and harm that got
    502 all the same. `longest`: seconds that the slowest request took.
    """

    def __init__(self, path: str, chaos: Chaos, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.under_way: set[Plan] = set()
        self.unlucky = 0
        self.longest = 0.0
        self.wrong: list[str] = []
        self._path = path
        self._chaos = chaos
        self._seed = seed
        self._numbers = itertools.count(1)

    async def run(self, count: int, seconds: float) -> None:
        """Have `count` clients make requests for so long."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._run_one(index, end) for index in range(count)))

    async def _run_one(self, index: int, end: float) -> None:
        rng = random.Random(f"{self._seed}///{index}")
        while time.monotonic() < end:
            reader, writer = await asyncio.open_unix_connection(self._path)
            try:
                # Half of the connections are for one request, as PHP's are.
                for _ in range(rng.choice((1, rng.randrange(2, 30)))):
                    plan = self._chaos.plan(next(self._numbers))
                    if not await self._request(plan, reader, writer):
                        break
            finally:
                writer.close()

    async def _request(
        self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection may serve another request."""
        started = time.monotonic()
        self.under_way.add(plan)
        outcome, goes_on = await self._outcome(plan, reader, writer)
        self.under_way.discard(plan)
        elapsed = time.monotonic() - started
        self.longest = max(self.longest, elapsed)
        if plan.fair and plan.method != b"POST" and outcome.startswith("502"):
            self.unlucky += 1
        if plan.fair and outcome == "broken off" and elapsed < PATIENCE:
            self.wrong.append(f"a whole response was broken off: {plan}")
        self.outcomes[("fair: " if plan.fair else "") + outcome] += 1
        return goes_on

    async def _outcome(
        self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, bool]:
        host = b"127.0.0.1:%d" % self._chaos.ports[plan.origin]
        has_upload = plan.method == b"POST"
        data = request_head(plan, host, has_upload=has_upload) + _framed_upload(plan)
        half = len(data) // 2 if plan.pause else len(data)
        writer.write(data[:half])
        if plan.leaves:
            await asyncio.sleep(plan.pause)
            return "left", False
        rest = asyncio.create_task(send_late(writer, plan.pause, data[half:]))
        try:
            head = await read_head(reader)
            while head.startswith(b"HTTP/1.1 1"):
                self._check_interim(plan, head)
                head = await read_head(reader)
            body = b"" if plan.method == b"HEAD" else await read_body(reader, head)
        except BROKEN_OFF:
            return "broken off", False
        finally:
            complete = rest.done()
            rest.cancel()
        goes_on = b"close" not in field_values(head, b"connection")
        if goes_on and not complete:
            self.wrong.append(f"another request is welcome in the middle of one: {plan}")
        return self._judge(plan, head, body), goes_on

    def _check_interim(self, plan: Plan, head: bytes) -> None:
        if not plan.interim or field_values(head, b"x-number") != [b"%d" % plan.number]:
            self.wrong.append(f"another's interim response: {head!r} for {plan}")

    def _judge(self, plan: Plan, head: bytes, body: bytes) -> str:
        """What a complete response is worth."""
        status = head[9:12]
        error = b"".join(field_values(head, b"proxy-status"))
        if error:
            if status not in _EXPECTED:
                self.wrong.append(f"an error nothing gave rise to: {head!r} {body!r} for {plan}")
            return f"{status.decode()} {error.decode().partition('=')[2]}"
        expected = b"" if plan.method == b"HEAD" else plans.download(plan)
        number = field_values(head, b"x-number")
        if (status, number, body) != (b"200", [b"%d" % plan.number], expected):
            self.wrong.append(f"not the response: {head!r} and {len(body)} bytes for {plan}")
        return "answered"


def _framed_upload(plan: Plan) -> bytes:
    body = plans.upload(plan)
    return chunked(body) if plan.chunked else body
