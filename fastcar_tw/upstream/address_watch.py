"""
Notices that an origin has moved: connections to addresses that its name no longer has are retired.

A pool that keeps connections warm looks no name up, and would stay with an address for as long as
that answers.  So the names of origins that have connections are looked up again when what is known
of them is old, and each answer is compared with the connections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic

from fastcar_tw.pool.core import PoolCore
from fastcar_tw.pool.lane import K
from fastcar_tw.pool.stats import Retired


class AddressWatch(Generic[K]):
    """
    Watches the connections of a pool, which know their C{address}.

    @ivar name_of: tells the name that is looked up to reach an origin, None if there is none.
    @ivar look_up: looks a name up, if what is known of it is old.
    """

    def __init__(self, core: PoolCore[K, Any, Any]) -> None:
        self.name_of: Callable[[K], str | None] = lambda origin: None
        self.look_up: Callable[[str], None] = lambda name: None
        self._core = core
        self._origins: dict[str, set[K]] = {}

    def opened(self, origin: K) -> None:
        """
        There is a new connection to an origin.
        """
        name = self.name_of(origin)
        if name is not None:
            self._origins.setdefault(name, set()).add(origin)

    def refresh(self) -> None:
        """
        Have the names looked up whose origins have connections, and forget the others.
        """
        for name, origins in list(self._origins.items()):
            origins.difference_update([each for each in origins if not self._has_any(each)])
            if origins:
                self.look_up(name)
            else:
                del self._origins[name]

    def answered(self, name: str, addresses: frozenset[str], now: float) -> Sequence[Any]:
        """
        A look-up has answered.

        @return: what the core decides about connections to other addresses.
        """
        decisions: list[Any] = []
        for origin in self._origins.get(name, ()):
            for connection in list(self._core.connections(origin)):
                if connection.address is not None and connection.address not in addresses:
                    decisions += self._core.condemn(connection, Retired.ADDRESS, now)
        return decisions

    def _has_any(self, origin: K) -> bool:
        return next(iter(self._core.connections(origin)), None) is not None
