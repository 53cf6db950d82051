"""Whatever origins do, nobody gets what is not his, and nothing is left over."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable

from tests.peers.case import Fastcar, PeersTestCase, Twistd
from tests.peers.processes import LIMIT
from tests.soak.clients import PATIENCE, Clients
from tests.soak.origin import Chaos

SECONDS = float(os.environ.get("FASTCAR_SOAK_SECONDS", "3"))
SEED = int(os.environ.get("FASTCAR_SOAK_SEED", random.randrange(1 << 32)))
CLIENTS = 200
ORIGINS = 3
PER_ORIGIN, IN_ALL = 40, 64
#: What buffers of so many clients may need, and the allocator keeps.
MOST_GROWTH_KIB = 64 * 1024

OPTIONS = {
    "--max-connections-per-origin": PER_ORIGIN,
    "--max-connections": IN_ALL,
    "--max-queue": 120,
    "--queue-timeout": 3,
    "--max-age": 2,
    "--response-timeout": PATIENCE,
    "--stall-timeout": PATIENCE,
    "--idle-timeout": 1,
}


class SoakTests(PeersTestCase):
    """Many clients, and origins that do everything wrong."""

    def test_soak(self) -> None:
        """Every response is whole and belongs to its request, no POST is carried out twice, every
        request ends, the limits hold, and at the end no connection is left."""
        print(f"\nsoak: FASTCAR_SOAK_SECONDS={SECONDS:g} FASTCAR_SOAK_SEED={SEED}")
        options = [str(each) for option in OPTIONS.items() for each in option]
        fastcar = self.start_fastcar(*options)
        asyncio.run(self._soak(fastcar))

    async def _soak(self, fastcar: Fastcar) -> None:
        chaos = Chaos(SEED)
        await chaos.listen(ORIGINS)
        clients = Clients(fastcar.socket, chaos, SEED)
        client = self.dial(fastcar)
        client.send(b"GET / HTTP/1.1\r\nHost: fastcar.localhost\r\n\r\n")
        client.read_message()
        before, memory = descriptors(fastcar) - 1, fastcar.resident_kib()
        client.close()
        try:
            await asyncio.wait_for(clients.run(CLIENTS, SECONDS), SECONDS + LIMIT)
            chaos.calm = True
            self._report(clients, chaos, fastcar.peak_kib() - memory)
            await becomes(lambda: chaos.connections, 0)
            await becomes(lambda: descriptors(fastcar), before)
        except asyncio.TimeoutError:
            self.fail(f"these do not end: {list(clients.under_way)[:5]}; {clients.wrong[:5]}")
        finally:
            chaos.close()
        self._check(clients, chaos)
        self.assertLess(fastcar.peak_kib() - memory, MOST_GROWTH_KIB)

    def _report(self, clients: Clients, chaos: Chaos, growth: int) -> None:
        outcomes = sorted(clients.outcomes.items(), key=lambda item: -item[1])
        for outcome, count in [("requests", sum(clients.outcomes.values())), *outcomes]:
            print(f"{count:7} {outcome}")
        print(f"{clients.unlucky:7} of 502 where nothing was wrong but {chaos.late} late bytes")
        print(f"{chaos.accepted:7} connections, at most {chaos.most} at a time")
        print(f"slowest {clients.longest:.1f} s, {growth} KiB more memory")

    def _check(self, clients: Clients, chaos: Chaos) -> None:
        self.assertEqual((clients.wrong + chaos.wrong)[:5], [])
        for number, attempts in chaos.attempts.items():
            plan = chaos.plan(number)
            self.assertLessEqual(attempts, 2 if plan.repeatable else 1, plan)
        # An idle connection that ends costs them nothing; bytes just when they come do.
        self.assertLessEqual(clients.unlucky, chaos.late)
        answered = clients.outcomes["fair: answered"]
        self.assertGreater(2 * answered, sum(clients.outcomes.values()))
        self.assertLess(clients.longest, LIMIT)
        *each, together = chaos.most
        self.assertLessEqual(max(each), PER_ORIGIN)
        self.assertLessEqual(together, IN_ALL)


def descriptors(fastcar: Twistd) -> int:
    """How many descriptors a service has."""
    return len(os.listdir(f"/proc/{fastcar.pid}/fd"))


async def becomes(count: Callable[[], int], expected: int) -> None:
    """Wait until a number is what it should be."""
    end = time.monotonic() + LIMIT
    while (found := count()) != expected:
        if time.monotonic() > end:
            raise AssertionError(f"{found} connections or descriptors instead of {expected}")
        await asyncio.sleep(0.05)
