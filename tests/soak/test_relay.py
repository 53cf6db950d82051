"""Whatever backends do, no client gets another's answer, and none is asked twice."""

from __future__ import annotations

import asyncio
import re
import time

from tests.peers.relay import Relay, RelayTestCase
from tests.soak.relay_backends import Backends
from tests.soak.relay_clients import Clients
from tests.soak.relay_frames import EOFFrames, Frames, LengthFrames
from tests.soak.test_soak import SECONDS, SEED, becomes, descriptors

CLIENTS = 500
#: Requests of one test, while backends die and afterwards; there are two.
REQUESTS, AFTERWARDS = (45_000, 5_000) if SECONDS >= 30 else (4_500, 500)
#: Connections to each backend.
POOL = 8
#: What buffers of so many clients may need, and the allocator keeps.
MOST_GROWTH_KIB = 96 * 1024

#: Why a client may be left: not because a backend could not be reached, when others could.
_REASON = re.compile(
    r"client of .*: (tcp|unix):\S+ (closed the connection (before|in the middle of) its response"
    r"|is silent and owes a response); closed"
)
#: How many more there were, when many were left at once.
_LEFT_OUT = re.compile(r"(\d+) more like these were left out")

OPTIONS = {
    "--pool": POOL,
    "--queue-timeout": 60,
    "--pool-idle-timeout": 0.3,
    "--response-timeout": 3,
}


class RelaySoakTests(RelayTestCase):
    """Many clients that share few connections to backends that die at any moment."""

    def test_length(self) -> None:
        """Every answer is the next one of its client, no request reaches a backend twice, nothing
        that was answered is lost, the limits hold, and at the end no connection is left."""
        self._soak(LengthFrames())

    def test_eof(self) -> None:
        """So it is with the other framing."""
        self._soak(EOFFrames())

    def _soak(self, frames: Frames) -> None:
        print(f"\nsoak: FASTCAR_SOAK_SECONDS={SECONDS:g} FASTCAR_SOAK_SEED={SEED} {frames.option}")
        backends = Backends(self.folder(), frames, SEED)
        self.addCleanup(backends.close)
        named = [f"--backend={endpoint}" for endpoint in backends.endpoints]
        options = [f"{name}={value}" for name, value in OPTIONS.items()]
        relay = self.start_relay(f"--framing={frames.option}", *named, *options)
        client = relay.dial()
        client.end_output()
        self.assertEqual(client.read_to_end(), b"")
        client.close()
        # It runs, and nobody is there.
        before = descriptors(relay), relay.resident_kib()
        clients = Clients(relay.socket, frames, SEED)
        asyncio.run(self._drive(relay, clients, backends, before))

    async def _drive(
        self, relay: Relay, clients: Clients, backends: Backends, before: tuple[int, int]
    ) -> None:
        await backends.listen()
        try:
            started = time.monotonic()
            await self._drive_troubled(clients, backends)
            self._report(clients, backends, time.monotonic() - started)
            self._check(clients, backends)
            await self._drive_calm(clients, backends)
            self._check_log(relay, backends)
            await becomes(lambda: descriptors(relay), before[0])
        finally:
            backends.close()
        growth = relay.peak_kib() - before[1]
        print(f"{growth:7} KiB more memory")
        self.assertLess(growth, MOST_GROWTH_KIB)

    async def _drive_troubled(self, clients: Clients, backends: Backends) -> None:
        trouble = asyncio.create_task(backends.trouble())
        await clients.run(CLIENTS, REQUESTS)
        backends.calm = True
        trouble.cancel()
        await asyncio.wait([trouble])
        await becomes(lambda: backends.doomed, 0)

    async def _drive_calm(self, clients: Clients, backends: Backends) -> None:
        """Nothing is lost while nothing happens."""
        before = clients.outcomes.copy()
        await clients.run(CLIENTS, AFTERWARDS)
        await becomes(lambda: backends.connections, 0)
        self._check(clients, backends)
        for outcome in ("lost", "connections that were cut off"):
            self.assertEqual(clients.outcomes[outcome], before[outcome], outcome)

    def _report(self, clients: Clients, backends: Backends, elapsed: float) -> None:
        for outcome, count in sorted(clients.outcomes.items()):
            print(f"{count:7} {outcome}")
        print(f"{len(backends.owed):7} answers nothing may take away")
        for end, count in sorted(backends.ended.items()):
            print(f"{count:7} backend connections ended {end}")
        print(f"{backends.extra:7} were to end by more than an answer")
        print(f"{backends.accepted:7} were accepted, at most {backends.most} at a time")
        print(f"{backends.restarts:7} restarts of a backend, in {elapsed:.1f} s")

    def _check(self, clients: Clients, backends: Backends) -> None:
        self.assertEqual((clients.wrong + backends.wrong)[:5], [])
        self.assertEqual([key for key, count in backends.seen.items() if count > 1], [])
        self.assertEqual(sorted(clients.lost & backends.owed), [])
        outcomes = clients.outcomes
        requests = sum(outcomes[each] for each in ("answered", "lost", "left alone"))
        self.assertGreaterEqual(requests, REQUESTS)
        self.assertGreater(outcomes["answered"], 0.8 * requests)
        self.assertLessEqual(backends.most, POOL)

    def _check_log(self, relay: Relay, backends: Backends) -> None:
        lines = [line for line in relay.output.splitlines() if "client of" in line]
        self.assertEqual([line for line in lines if not _REASON.search(line)], [])
        left_out = sum(int(number) for number in _LEFT_OUT.findall(relay.output))
        # Each of them was one client's at most; those not accepted yet are not counted.
        harm = sum(backends.ended.values()) + POOL * backends.restarts
        self.assertLessEqual(len(lines) + left_out, harm)
