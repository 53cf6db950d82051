"""HTTP/2 origins that do whatever an origin may do, and some of what it may not."""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from collections import Counter

from tests.peers.tcp import is_open
from tests.soak import http2_plan as plans
from tests.soak.http2_plan import Plan
from tests.soak.http2_troubles import Connection

#: Seconds for which a connection that has ended may still be taken for one that has not.
_NEWS = 1.0


class Chaos:
    """The origins, and their account of what they got.

    `acted`: how often requests were acted on, by their number; `refused`: how often an origin has
    said that it did not and will not. `events`: what has happened. `most`: the most connections
    that were open at a time, of each origin and, last, of all.
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
        self._left_at: list[float] = []
        self._open: list[set[Connection]] = []
        self._servers: list[asyncio.Server] = []
        self._context = context
        context.set_alpn_protocols(["h2"])

    @property
    def _all(self) -> list[Connection]:
        return [each for group in self._open for each in group]

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._all)

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return sum(len(each.exchanges) for each in self._all)

    @property
    def doomed(self) -> int:
        """Connections that fastcar is to close."""
        return sum(each.doomed for each in self._all)

    def plan(self, number: int) -> Plan:
        """What is to become of a request."""
        return plans.draw(self.seed, number, len(self.ports))

    async def listen(self, origins: int) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        for index in range(origins):
            make = functools.partial(Connection, self, index)
            server = await loop.create_server(make, "127.0.0.1", ssl=self._context, backlog=512)
            self._servers.append(server)
            self._open.append(set())
            self._harmed_at.append(0)
            self._left_at.append(0)
            self.most.append(0)
            self.ports.append(server.sockets[0].getsockname()[1])

    def become_calm(self) -> None:
        """Do nothing wrong from now on."""
        self.calm = True
        for connection in self._all:
            connection.become_calm()

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        for server in self._servers:
            server.close()
        for connection in self._all:
            connection.end()

    def has_harmed(self, plan: Plan, since: float) -> bool:
        """Whether a request that began then may have suffered from what was not its own fate."""
        if self._harmed_at[plan.origin] > since - _NEWS:
            return True
        refused = self.refused[plan.number]
        if plan.whole_at_once:
            # It is sent eight times at most.
            return refused > 7
        return refused > 0 or self._left_at[plan.origin] > since - _NEWS

    # From connections.

    def opened(self, connection: Connection) -> None:
        """It is there."""
        self._open[connection.index].add(connection)
        self.accepted += 1
        # As they are, not as we have been told so far.
        counts = [sum(is_open(each.socket) for each in group) for group in self._open]
        counts.append(sum(counts))
        self.most = list(map(max, self.most, counts))

    def closed(self, connection: Connection) -> None:
        """It is not there any more."""
        self._open[connection.index].discard(connection)

    def leaves(self, connection: Connection) -> None:
        """It is about to say that it takes no more requests; what is on the way may be lost."""
        self._left_at[connection.index] = time.monotonic()

    def harms(self, connection: Connection) -> None:
        """It is about to end under its requests."""
        self._harmed_at[connection.index] = time.monotonic()
