"""Whatever HTTP/2 origins do, nobody gets what is not his, and nothing is left over."""

from __future__ import annotations

import asyncio

from tests.peers.case import PeersTestCase
from tests.peers.openings import OpenFastcar
from tests.peers.processes import LIMIT
from tests.soak.http2_clients import PATIENCE, Clients
from tests.soak.http2_origin import Chaos
from tests.soak.test_soak import SECONDS, SEED, becomes, descriptors

CLIENTS = 100
ORIGINS = 3
PER_ORIGIN, IN_ALL = 5, 12
#: Seconds of calm at the end.
CALM = max(1.0, SECONDS / 10)
#: What buffers of so many clients may need, and the allocator keeps.
MOST_GROWTH_KIB = 64 * 1024

OPTIONS = {
    "--http2": "always",
    "--max-connections-per-origin": PER_ORIGIN,
    "--max-connections": IN_ALL,
    "--queue-timeout": 3,
    "--max-age": 5,
    "--response-timeout": PATIENCE,
    "--stall-timeout": PATIENCE,
    "--idle-timeout": 3,
}


class HTTP2SoakTests(PeersTestCase):
    """Many clients that share few connections, and origins that do everything wrong."""

    def test_http2(self) -> None:
        """Every response is whole and belongs to its request, no POST is acted on twice, nobody
        suffers from another's stream, the limits hold, and at the end no stream, place and
        connection is left."""
        print(f"\nsoak: FASTCAR_SOAK_SECONDS={SECONDS:g} FASTCAR_SOAK_SEED={SEED}")
        options = [str(each) for option in OPTIONS.items() for each in option]
        fastcar = OpenFastcar(self.folder(), "--trust", self.shared.authority.file, *options)
        self.addCleanup(self._assert_no_bug, fastcar)
        self.addCleanup(fastcar.stop)
        asyncio.run(self._soak(fastcar))

    async def _soak(self, fastcar: OpenFastcar) -> None:
        chaos = Chaos(SEED, self.shared.pair.server_context())
        await chaos.listen(ORIGINS)
        clients = Clients(fastcar, chaos)
        client = self.dial(fastcar)
        client.send(b"GET / HTTP/1.1\r\nHost: fastcar.localhost\r\n\r\n")
        client.read_message()
        before, memory = descriptors(fastcar) - 1, fastcar.resident_kib()
        client.close()
        try:
            await self._drive(clients, chaos)
            await becomes(lambda: descriptors(fastcar), before)
        except asyncio.TimeoutError:
            self.fail(f"these do not end: {list(clients.under_way)[:5]}; {clients.wrong[:5]}")
        finally:
            growth = fastcar.peak_kib() - memory
            self._report(clients, chaos, growth)
            chaos.close()
        self._check(clients, chaos)
        self.assertLess(growth, MOST_GROWTH_KIB)

    async def _drive(self, clients: Clients, chaos: Chaos) -> None:
        await asyncio.wait_for(clients.run(CLIENTS, SECONDS), SECONDS + LIMIT)
        fair = {each: count for each, count in clients.outcomes.items() if each.startswith("fair")}
        self.assertGreater(
            clients.outcomes["fair: answered"], 0.9 * sum(fair.values()), clients.outcomes
        )
        chaos.become_calm()
        await becomes(lambda: chaos.doomed, 0)
        await becomes(lambda: chaos.streams, 0)
        await asyncio.wait_for(clients.run_calmly(CLIENTS, CALM), CALM + LIMIT)
        await becomes(lambda: chaos.streams, 0)
        # A place that nobody gives back would keep its connection from being idle.
        await becomes(lambda: chaos.connections, 0)

    def _report(self, clients: Clients, chaos: Chaos, growth: int) -> None:
        outcomes = sorted(clients.outcomes.items(), key=lambda item: -item[1])
        for outcome, count in [("requests", sum(clients.outcomes.values())), *outcomes]:
            print(f"{count:7} {outcome}")
        for event, count in sorted(chaos.events.items()):
            print(f"{count:7} {event}")
        print(f"{chaos.accepted:7} connections, at most {chaos.most} at a time")
        print(f"slowest {clients.longest:.1f} s, {growth} KiB more memory")

    def _check(self, clients: Clients, chaos: Chaos) -> None:
        self.assertEqual((clients.wrong + chaos.wrong)[:5], [])
        for number, attempts in chaos.acted.items():
            plan = chaos.plan(number)
            self.assertLessEqual(attempts, 2 if plan.repeatable else 1, plan)
        self.assertLess(clients.longest, LIMIT)
        *each, together = chaos.most
        self.assertLessEqual(max(each), PER_ORIGIN)
        self.assertLessEqual(together, IN_ALL)
