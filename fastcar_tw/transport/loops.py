"""
Connections that would lead back to where they come from.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any


class LoopError(Exception):
    """
    A connection was to be made to a port that the same process listens on.
    """


def leads_to(host: str, interface: str) -> bool:
    """
    Whether who connects to an address finds who listens at an interface, on the same port.

    @param host: an IP address.
    @param interface: an IP address; the unspecified one means all of this machine.
    """
    target, listening = _plain(host), _plain(interface)
    if target is None or listening is None:
        return False
    if target.is_unspecified:
        # Linux takes it for the loopback interface.
        return listening.is_unspecified or listening.is_loopback
    return target == listening or (listening.is_unspecified and _is_ours(target))


def _plain(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _is_ours(address: IPv4Address | IPv6Address) -> bool:
    """
    Whether it is an address of this machine: only those can be bound to.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((str(address), 0))
    except OSError as reason:
        return reason.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


class LoopGuard:
    """
    Everything the given reactor is, except that it does not connect to certain ports.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        #: Interface and port of those.
        self.own: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        """
        Start connecting.

        @param host: an IP address.
        @raise LoopError: it would lead to one of our own ports.
        """
        for interface, number in self.own:
            if number == port and leads_to(host, interface):
                raise LoopError(f"{host}:{port}")
        return self._reactor.connectTCP(host, port, *args, **kwargs)
