"""
What the ways of opening a tunnel through a proxy have in common.
"""

from __future__ import annotations

from typing import Protocol


class HandshakeError(Exception):
    """
    A proxy did not open a tunnel.

    @ivar reason: what it did, as the predicate of a sentence about it; no credential.
    @ivar proxy_status: RFC 9209 error type.
    @ivar other_address: it may yet open one to another address of the same name.
    """

    def __init__(self, reason: str, proxy_status: str, *, other_address: bool = False) -> None:
        super().__init__(f"the proxy {reason}")
        self.reason = reason
        self.proxy_status = proxy_status
        self.other_address = other_address


class Handshake(Protocol):
    """
    The client's side of opening one tunnel, without I/O.

    @ivar done: the tunnel is open.
    @ivar leftover: what arrived behind the handshake in the same read.
    """

    done: bool
    leftover: bytes

    def start(self) -> bytes:
        """
        @return: what to send first.
        """

    def receive(self, data: bytes) -> bytes:
        """
        Take what the proxy sent, in pieces of any size, until C{done}.

        @return: what to send.
        @raise HandshakeError: the proxy refused, or broke the protocol.
        """
