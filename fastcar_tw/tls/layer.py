"""
TLS as a layer between a transport and what speaks inside: a thin shell around L{TLSMachine}.

It looks like a transport from above and like a protocol from below.  Twisted's own TLS wrapper does
more and costs more: it declares interfaces per connection and copies producers; here back-pressure
is simply the transport's.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from fastcar_tw.tls.machine import TLSError, TLSMachine
from fastcar_tw.wire import Wire, acknowledge, hung_up

#: Bytes a peer may make us answer to its TLS messages after the handshake: some hundred key
#: updates. No back-pressure applies to them.
MAX_UNASKED = 16 * 1024


@implementer(IHalfCloseableProtocol)
class TLSLayer:
    """
    One side of a TLS connection.

    Subclasses say what happens at the end of the handshake and when it, or anything later, fails.

    @ivar protocol: what speaks inside; None until L{handshaken} has set it.
    @ivar machine: the TLS state.
    @cvar peer_begins: the peer may speak before it has been spoken to: clients do, servers do not.
    """

    __slots__ = ("_ended", "_shaken", "_unasked", "machine", "protocol", "transport")

    peer_begins = True

    def __init__(self, machine: TLSMachine) -> None:
        self.machine = machine
        self.protocol: Any = None
        self.transport: Wire | None = None
        self._shaken = False
        self._unasked = 0
        self._ended = False

    def check(self, early: bytes) -> None:
        """
        Judge what a finished handshake has come to, while nothing has been sent inside.

        @param early: what the peer has already said inside.
        @raise TLSError: the connection is of no use.
        """
        if early and not self.peer_begins:
            # It would be taken for an answer to what is about to be sent.
            raise TLSError("the peer sent data before it was asked")

    def handshaken(self) -> None:
        """
        The handshake is finished and the peer verified: set C{protocol} and connect it.
        """
        raise NotImplementedError

    def failed(self, reason: Failure) -> None:
        """
        The connection has ended before C{protocol} was there to be told.
        """
        raise NotImplementedError

    # As a protocol.

    def makeConnection(self, transport: Wire) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        machine = self.machine
        if self._ended:
            return
        try:
            plaintext = machine.receive(data)
        except TLSError as error:
            self._write_outgoing()
            self._end(Failure(error))
            return
        self._write_outgoing()
        if not self._shaken:
            if not machine.ready:
                return
            try:
                self.check(plaintext)
            except TLSError as error:
                self._end(Failure(error))
                return
            self._shaken = True
            self.handshaken()
        if not plaintext:
            self.acknowledge()  # part of a record
        elif self.protocol is not None:
            self.protocol.dataReceived(plaintext)
        if machine.closed and not self._ended:
            self._end_of_stream()

    def readConnectionLost(self) -> None:
        if self._ended:
            return
        if self.machine.closed and self.protocol is not None:
            # Known from close_notify; but the peer may be gone altogether by now.
            self.protocol.readConnectionLost()
        else:
            # A truncation (RFC 8446 section 6.1, RFC 9112 section 9.8).
            self._end(Failure(ConnectionLost("the peer ended TLS without close_notify")))

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        if not self._ended or self.protocol is not None:
            self._tell(reason)
        self._ended = True
        self.transport = None

    def _end_of_stream(self) -> None:
        if self.protocol is None:
            self._end(Failure(ConnectionLost("TLS ended during the handshake")))
        else:
            self.protocol.readConnectionLost()

    def _end(self, reason: Failure) -> None:
        """
        Nothing more can come.  What was written still goes out (an alert says why).
        """
        self._ended = True
        transport = self.transport
        self._tell(reason)
        if transport is None:
            return
        if self._shaken:
            # Nobody is left to watch over what the peer has not read.
            transport.abortConnection()
        else:
            transport.loseConnection()

    def _tell(self, reason: Failure) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)
        elif not self._shaken:
            self.failed(reason)

    def _write_outgoing(self) -> None:
        outgoing = self.machine.outgoing()
        if outgoing and self.transport is not None:
            if self._shaken:
                self._unasked += len(outgoing)
                if self._unasked > MAX_UNASKED:
                    self.transport.abortConnection()
                    return
            self.transport.write(outgoing)

    # As a transport.

    @property
    def tls_version(self) -> str:
        """
        As OpenSSL names it, C{TLSv1.3}.
        """
        return self.machine.connection.get_protocol_version_name()

    @property
    def alpn(self) -> str | None:
        """
        The protocol that was chosen in the handshake (RFC 7301), C{h2} or C{http/1.1}; None: none.
        """
        return self.machine.connection.get_alpn_proto_negotiated().decode("latin-1") or None

    @property
    def bytes_sent(self) -> int:
        """
        Of the transport: bytes of ciphertext taken by the kernel.
        """
        return self.transport.bytes_sent if self.transport is not None else 0

    @property
    def input_ended(self) -> bool:
        """
        The peer has sent close_notify, perhaps behind data that is being handled just now.
        """
        return self.machine.closed

    @property
    def unsent(self) -> int:
        """
        Of the transport: bytes of ciphertext not yet taken by the kernel.
        """
        return self.transport.unsent if self.transport is not None else 0

    def write(self, data: bytes) -> None:
        if self.transport is None or self._ended:
            return
        try:
            ciphertext = self.machine.send(data)
        except TLSError:
            # Not from inside a write: the end is told as that of any transport is.
            self.transport.abortConnection()
        else:
            self.transport.write(ciphertext)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.transport is not None:
            self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        if self.transport is not None:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        if self.transport is not None:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if self.transport is not None:
            self.transport.resumeProducing()

    def loseWriteConnection(self) -> None:
        if self.transport is not None:
            self.transport.write(self.machine.shutdown())
            self.transport.loseWriteConnection()

    def loseConnection(self) -> None:
        if self.transport is not None:
            # A peer that has said goodbye and left would not hear ours.
            if not (self.machine.closed and hung_up(self.transport)):
                self.transport.write(self.machine.shutdown())
            self.transport.loseConnection()

    def abortConnection(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def acknowledge(self) -> None:
        if self.transport is not None:
            acknowledge(self.transport)

    def getHandle(self) -> Any:
        return None if self.transport is None else self.transport.getHandle()
