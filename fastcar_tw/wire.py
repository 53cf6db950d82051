"""
The seam between HTTP and what carries it: a transport of Twisted, or a TLS layer on top of one.

Both sides of the seam keep Twisted's own names, so that an HTTP side can stand on a transport
directly, and no adapter stands between them.
"""

from __future__ import annotations

import select
from typing import Any, Protocol


class Wire(Protocol):
    """
    What an HTTP side asks of what is below it; see L{twisted.internet.interfaces.ITCPTransport},
    L{twisted.internet.interfaces.IConsumer} and L{twisted.internet.interfaces.IPushProducer}.

    @ivar protocol: who is told what arrives; assigning to it hands the wire over.
    """

    protocol: Any

    @property
    def bytes_sent(self) -> int:
        """
        How many bytes the kernel has taken so far; below TLS, of ciphertext.
        """

    @property
    def unsent(self) -> int:
        """
        How many bytes are written but not yet taken by the kernel.
        """

    def write(self, data: bytes) -> None: ...

    def registerProducer(self, producer: Any, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def loseConnection(self) -> None: ...

    def loseWriteConnection(self) -> None: ...

    def abortConnection(self) -> None: ...

    def getHandle(self) -> Any: ...


def acknowledge(wire: Wire) -> None:
    """
    Let a TCP peer know at once that its bytes have arrived, where the wire can do that; see
    L{fastcar_tw.transport.eager.EagerTCPClient.acknowledge}.
    """
    now = getattr(wire, "acknowledge", None)
    if now is not None:
        now()


def send_now(wire: Wire) -> None:
    """
    Send what was written at once, where the wire would wait; see
    L{fastcar_tw.transport.eager.EagerConnection.send_now}.
    """
    now = getattr(wire, "send_now", None)
    if now is not None:
        now()


def read_in_bulk(one: Wire, other: Wire) -> None:
    """
    Let two wires be read in larger pieces whose bytes go to each other; see
    L{fastcar_tw.transport.eager.EagerConnection}.  Not if there is TLS on one of them, which keeps
    buffers as large as what it was given.
    """
    if hasattr(one, "bulk") and hasattr(other, "bulk"):
        one.bulk = other.bulk = True


def input_ended(wire: Wire) -> bool:
    """
    Whether the peer has said that it will send no more, though that may not have been told yet.
    """
    return getattr(wire, "input_ended", False)


def hung_up(wire: Wire, *, half: bool = False) -> bool:
    """
    Whether the peer has closed its connection altogether, and not only its sending half.

    @param half: that will do.
    """
    poll = select.poll()
    poll.register(wire.getHandle(), select.POLLRDHUP if half else 0)
    gone = select.POLLHUP | select.POLLERR | (select.POLLRDHUP if half else 0)
    return any(events & gone for _, events in poll.poll(0))
