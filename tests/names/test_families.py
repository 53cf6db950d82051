"""The order in which addresses are tried."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.names.families import interleaved
from fastcar_tw.names.resolver import Address

SIXES = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
FOURS = ["192.0.2.1", "192.0.2.2"]


def in_turn(*hosts: str) -> list[str]:
    """These addresses in the order in which they are tried."""
    addresses: list[Address] = [
        IPv6Address("TCP", host, 80) if ":" in host else IPv4Address("TCP", host, 80)
        for host in hosts
    ]
    return [address.host for address in interleaved(addresses)]


class InterleavedTests(SynchronousTestCase):
    """L{interleaved}."""

    def test_families_take_turns(self) -> None:
        """The families take turns, the resolver's favourite first (RFC 8305 section 4)."""
        self.assertEqual(
            in_turn(*SIXES, *FOURS),
            [SIXES[0], FOURS[0], SIXES[1], FOURS[1], SIXES[2]],
        )
        self.assertEqual(
            in_turn(*FOURS, *SIXES), [FOURS[0], SIXES[0], FOURS[1], SIXES[1], SIXES[2]]
        )

    def test_one_family(self) -> None:
        """Addresses of one family stay in their order."""
        for hosts in (SIXES, FOURS, []):
            self.assertEqual(in_turn(*hosts), hosts)
