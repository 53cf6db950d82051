"""
The order in which the addresses of a name are tried (RFC 8305 section 4).
"""

from __future__ import annotations

from itertools import chain, zip_longest

from fastcar_tw.names.resolver import Address

__all__ = ["interleaved"]


def interleaved(addresses: list[Address]) -> list[Address]:
    """
    The addresses with the families taking turns, the resolver's favourite first.
    """
    first = [a for a in addresses if type(a) is type(addresses[0])]
    other = [a for a in addresses if type(a) is not type(addresses[0])]
    return [a for a in chain.from_iterable(zip_longest(first, other)) if a is not None]
