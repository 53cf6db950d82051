"""
Upstream connections that a client has authenticated, with NTLM or its kin, and that nobody else may
use (RFC 9110 section 3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcar_tw.http.target import Origin
from fastcar_tw.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from fastcar_tw.downstream.http1 import DownstreamConnection
    from fastcar_tw.forward.forwarder import Forwarder


class Pin:
    """
    Holds an idle upstream connection to a client connection; when either ends, so does the other.
    """

    __slots__ = ("_connection", "_downstream", "_forwarder", "_origin", "_until")

    def __init__(
        self,
        forwarder: Forwarder,
        downstream: DownstreamConnection,
        connection: UpstreamConnection,
        origin: Origin,
    ) -> None:
        """
        It takes the place of any that this client connection had before.

        @param origin: whom the connection has been authenticated to; itself it may lead to a proxy.
        """
        self._forwarder = forwarder
        self._downstream = downstream
        self._connection: UpstreamConnection | None = connection
        self._origin = origin.over_http1
        self._until = forwarder.now() + connection.idle_limit
        connection.keeper = self
        previous, downstream.companion = downstream.companion, self
        if previous is not None:
            previous.client_ended()

    def take(self, origin: Origin, next_hop: Origin) -> UpstreamConnection | None:
        """
        The connection, if it is to this origin and leads to this next hop, whether or not HTTP/2
        would be offered there; it is pinned no longer.

        When it has ended without our being told, the client's ends too, unanswered: as the origin
        would have done to a client of its own, which then begins anew.
        """
        connection = self._connection
        if connection is None or origin.over_http1 != self._origin:
            return None
        if next_hop.over_http1 != connection.origin.over_http1:
            return None
        if self._forwarder.now() < self._until and not connection.is_stale():
            self._downstream.companion = connection.keeper = None
            return connection
        self._forwarder.log.info(
            "the connection to {origin} that a client has authenticated is over: so is its own",
            origin=str(origin),
        )
        self._downstream.close()
        return None

    def pinned_ended(self) -> None:
        """
        The connection has ended: its client is no longer who it was.
        """
        self._connection = None
        self._downstream.companion = None
        self._downstream.drain()

    def client_ended(self) -> None:
        """
        The client connection has ended, or leaves HTTP.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.keeper = None
            connection.close()
