"""
What all client connections of the relay service share.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from fastcar_tw.downstream.clients import Clients
from fastcar_tw.relay.config import RelayConfig
from fastcar_tw.relay.connection import BackendConnection
from fastcar_tw.relay.framing import Framing
from fastcar_tw.relay.log_limit import LimitedLog
from fastcar_tw.relay.pair import Pair, PairClient
from fastcar_tw.relay.pool import RelayPool
from fastcar_tw.relay.pooled import PooledClient
from fastcar_tw.relay.traffic import RelayStats
from fastcar_tw.relay.visitor import Visitor


class Relay(Clients):
    """
    The clients of one relay.

    @ivar pool: the connections to backends.
    """

    config: RelayConfig

    def __init__(
        self,
        config: RelayConfig,
        clock: IReactorTime,
        pool: RelayPool,
        framing: Framing | None,
    ) -> None:
        """
        @param framing: None: each client has a connection of its own.
        """
        super().__init__(config, clock)
        self.pool = pool
        self._framing = framing
        self._pairs: set[Pair] = set()
        self._accepted = 0
        self._refused = 0
        self._full = False
        self._warnings = LimitedLog(self.log, self.deadlines)

    def admit(self) -> bool:
        """
        Whether one more client is served.
        """
        if len(self.clients) < self.config.max_clients:
            self._accepted += 1
            self._full = False
            return True
        self._refused += 1
        if not self._full:
            self._full = True
            self.log.warn(
                "{count} clients, which is --max-clients: more are turned away",
                count=self.config.max_clients,
            )
        return False

    def client(self, visitor: Visitor) -> PairClient | PooledClient:
        """
        @return: what serves a client.
        """
        if self._framing is None:
            return PairClient(self, visitor)
        return PooledClient(self, visitor, self._framing)

    def stats(self) -> RelayStats:
        """
        A snapshot of all numbers.
        """
        traffic = self.pool.traffic()
        for pair in self._pairs:
            traffic[pair.backend].sent += pair.client.received
            traffic[pair.backend].received += pair.origin.received
        return RelayStats(
            clients=len(self.clients),
            accepted=self._accepted,
            refused=self._refused,
            pool=self.pool.stats(),
            traffic=traffic,
        )

    # Until when.

    def response_deadline(self) -> float:
        """
        When a backend that owes a response has been silent for too long.
        """
        return self.now() + self.config.response_timeout

    # From the clients.

    def paired(self, pair: Pair, connection: BackendConnection) -> None:
        """
        A client has a connection of its own.
        """
        self._pairs.add(pair)
        self.pool.handed_over(pair.backend)
        if self._framing is not None:
            self.pool.taken_out(connection)
        if self.config.verbose:
            self.log.info("{pair}: connected", pair=pair.what)

    def pair_ended(self, pair: Pair) -> None:
        """
        Neither it nor its connection is there any more.
        """
        self._pairs.discard(pair)
        sent, received = pair.client.received, pair.origin.received
        self.pool.returned(pair.backend, sent, received)
        if self.config.verbose:
            self.log.info(
                "{pair}: ended after {elapsed:.3f} s, {sent} bytes sent to the backend,"
                " {received} to the client",
                pair=pair.what,
                elapsed=self.now() - pair.started,
                sent=sent,
                received=received,
            )

    def left(self, visitor: Visitor, since: float, requests: int) -> None:
        """
        A client has gone that shared connections.

        @param since: when it came.
        @param requests: how many of its requests were answered.
        """
        if self.config.verbose:
            self.log.info(
                "{visitor}: left after {elapsed:.3f} s, {requests} requests answered",
                visitor=str(visitor),
                elapsed=self.now() - since,
                requests=requests,
            )

    def broken_off(self, pair: Pair, by: str) -> None:
        """
        One end of a pair was lost that had not ended its sending.
        """
        self._warnings.warn(f"{pair.what}: the {by} has broken it off")

    def gave_up(self, visitor: Visitor, text: str) -> None:
        """
        Log why a client is not served any further.
        """
        self._warnings.warn(f"{visitor}: {text}; closed")

    def turned_down(self, visitor: Visitor, text: str) -> None:
        """
        Log why requests of a client were not carried out.
        """
        self._warnings.warn(f"{visitor}: {text}; refused")

    def stalled(self, what: str, started: float) -> None:
        """
        See L{Clients.stalled}.
        """
        self.log.info(
            "{pair}: nothing has passed for {seconds:g} s; closed",
            pair=what,
            seconds=self.config.idle_timeout,
        )
