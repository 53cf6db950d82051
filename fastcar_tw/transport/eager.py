"""Eager connections: Twisted's stream transports without the detour through the reactor.

A stock transport buffers every write and sends it when the reactor next reports the descriptor
writable: three epoll calls and one turn of the loop for each response.  An eager transport calls
C{send} inside C{write}, or at the end of the round of events it was written in (see
L{fastcar_tw.transport.poller}), and leaves to the stock buffering only what the kernel did not
take.

Everything else follows L{twisted.internet.abstract.FileDescriptor}.  Whatever it does not
pay to do eagerly (TLS by C{startTLS}, pull producers, descriptor passing, a connection being
aborted) switches that one connection to the stock way of writing, for good.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet import address, main, tcp, unix
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import IDelayedCall, IProducer
from twisted.python.failure import Failure

from .liveness import KEEPALIVE_LIMIT, watch_peer

if TYPE_CHECKING:
    from twisted.internet.error import ConnectionDone, ConnectionLost

#: Bytes; larger writes gain nothing from waiting for the end of the round.
MAX_LATE = 16 * 1024

#: Seconds until a UNIX-socket server with a full backlog is asked again.
RETRY_INTERVAL = 0.01

#: Bytes read at once by who may read in bulk, when much comes: half the time of smaller pieces.  To
#: ask for so many always would have every small message copied into a block of its own.
BULK_READ = 256 * 1024
#: Bytes of a read that has more to come, and of one that has not.
_MUCH, _LITTLE = 32 * 1024, 8 * 1024

_CLOSED_CLEANLY = Failure(main.CONNECTION_DONE)
_TCP_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class EagerConnection(tcp.Connection):
    """The mixin that makes a stream transport eager; put it before the stock class.

    C{bytes_sent} counts the bytes the kernel has accepted since the connection was made, so while
    it has not moved, nothing of what was written since has left this process.
    """

    reactor: Any  # one of Twisted's: IReactorFDSet, IReactorTime
    bytes_sent: int = 0
    bulk = False
    # close() alone ends the connection: sockets are close-on-exec, no other process holds them.
    _shouldShutdown = False
    _eager = True
    _late = 0  # bytes written in the present round of events, and already counted as sent
    _reading = False
    _writing = False
    _bulk_size = 0  # bytes read at once, if not as many as usual

    def write(self, data: bytes) -> None:
        """Send C{data}, or as much as the kernel takes, and buffer the rest.

        A failing C{send} only buffers: the reactor then meets the error itself, so
        C{connectionLost} is never called from inside C{write}.
        Raises TypeError if C{data} is not bytes.
        """
        if self._late and self.connected and not (self.dataBuffer or self._writeDisconnected):
            size = self._tempDataLen + len(data)
            if size <= MAX_LATE and isinstance(data, bytes):
                # One more in the same round of events: it leaves with the first.
                self._late = self._tempDataLen = size
                self.bytes_sent += len(data)
                self._tempDataBuffer.append(data)
                return
        if not (
            self._eager
            and self.connected
            and not self.dataBuffer
            and not self._tempDataLen
            and not self._writeDisconnected
            and data
            and isinstance(data, bytes)
        ):
            tcp.Connection.write(self, data)
            return
        late = getattr(self.reactor, "late", None)
        if late is not None and len(data) <= MAX_LATE:
            # Counted now: they leave at the time at which they were written.
            self._late = len(data)
            self.bytes_sent += len(data)
            late.append(self)
            self._tempDataBuffer.append(data)
            self._tempDataLen = len(data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            tcp.Connection.write(self, data)
            return
        self.bytes_sent += sent
        if sent != len(data):
            tcp.Connection.write(self, data[sent:])

    def write_late(self) -> None:
        """Send what was written while the poller dispatched a round of events, or close.

        Whatever then remains to be done (a rest, a half-close, a producer to resume) is left to
        the stock way.
        """
        counted, self._late = self._late, 0
        self.bytes_sent -= counted
        if not self.connected or self._aborting:
            return
        if not counted:
            self._close_if_idle()
            return
        if self.dataBuffer or not self._tempDataLen:
            self.startWriting()  # doWrite was called in the same round
            return
        data = b"".join(self._tempDataBuffer)
        try:
            sent = self.socket.send(data)
        except OSError:
            self.startWriting()
            return
        self.bytes_sent += sent
        if sent == len(data):
            self._tempDataBuffer.clear()
            self._tempDataLen = 0
            if self.disconnecting and self.producer is None:
                self.connectionLost(_CLOSED_CLEANLY)
            elif self.disconnecting or self._writeDisconnecting or self.producerPaused:
                self.startWriting()
            return
        self._tempDataBuffer[:] = [data[sent:]]
        self._tempDataLen = len(data) - sent
        self.startWriting()
        self._maybePauseProducer()

    def send_now(self) -> None:
        """Send what was written in the present round of events before that ends: for a peer that
        has nothing else to do meanwhile."""
        if self._late and self.reactor.late is not None:
            self.reactor.late.remove(self)
            self.write_late()

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Join the pieces and write them as one. Raises TypeError if one is not bytes."""
        self.write(b"".join(iovec))

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Send for the stock buffering, and count what was sent."""
        result = super().writeSomeData(data)
        if isinstance(result, int):
            self.bytes_sent += result
        return result

    def doWrite(  # type: ignore[override]  # _AbortingMixin assigns a lambda
        self,
    ) -> ConnectionLost | ConnectionDone | int | None:
        """Send what is buffered.

        The stock method forgets a half-close when the end of the buffer resumes a producer.
        """
        why: ConnectionLost | ConnectionDone | int | None = super().doWrite()
        if self._writeDisconnecting and not self._writeDisconnected and not self._writing:
            self.startWriting()
        return why

    def doRead(  # type: ignore[override]  # _AbortingMixin assigns a lambda
        self,
    ) -> ConnectionLost | ConnectionDone | None:
        """Read once and hand the bytes to the protocol, unless reading was paused meanwhile.

        The reactor may have collected this event before another one in the same batch paused or
        closed this connection.
        """
        if not self._reading:
            return None
        try:
            data = self.socket.recv(self._bulk_size or self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        if self.bulk:
            size = len(data)
            if size > _MUCH:
                self._bulk_size = BULK_READ
            elif size < _LITTLE:
                self._bulk_size = 0
        self.protocol.dataReceived(data)
        return None

    def end_reading(self, why: ConnectionLost | ConnectionDone) -> None:
        """Act on a reason that C{doRead} returned, as the reactor does: end of file is a half-close
        for an IHalfCloseableProtocol, anything else loses the connection."""
        self.stopReading()
        if why is main.CONNECTION_DONE:
            self.readConnectionLost(_CLOSED_CLEANLY)
        else:
            self.connectionLost(Failure(why))

    def loseConnection(self) -> None:
        """Close after everything buffered is sent and any producer has finished.

        With nothing to wait for, the connection is closed at the end of the round of events or in
        the next turn of the reactor, without asking whether it is writable; never inside this call.
        """
        if not self._eager or not self._idle():
            tcp.Connection.loseConnection(self)
        elif self.connected and not self.disconnecting:
            self.stopReading()
            self.disconnecting = 1
            late = getattr(self.reactor, "late", None)
            if late is None:
                self.reactor.callLater(0, self._close_if_idle)
            else:
                late.append(self)

    def _idle(self) -> bool:
        return not self.dataBuffer and not self._tempDataLen and self.producer is None

    def _close_if_idle(self) -> None:
        if not self.connected or self._aborting:
            return
        if self._idle():
            self.connectionLost(_CLOSED_CLEANLY)
        else:  # written to since: the stock doWrite closes once that is flushed
            self.startWriting()

    def abortConnection(self) -> None:
        """Drop what is buffered and close at once, with a reset on TCP."""
        self._eager = False
        tcp.Connection.abortConnection(self)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register a producer; a pull producer lives on write events, so it gets stock writes."""
        if not streaming:
            self._eager = False
        tcp.Connection.registerProducer(self, producer, streaming)

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        """Start TLS the stock way: from here on C{write} belongs to the TLS layer."""
        self._eager = False
        tcp.Connection.startTLS(self, ctx, normal)

    def startReading(self) -> None:
        """Ask the reactor for read events."""
        self._reading = True
        self.reactor.addReader(self)

    def stopReading(self) -> None:
        """Take back the wish for read events; free of charge if there is none."""
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)

    def startWriting(self) -> None:
        """Ask the reactor for write events, unless the end of the round will do."""
        if not self._late:
            self._writing = True
            self.reactor.addWriter(self)

    def stopWriting(self) -> None:
        """Take back the wish for write events; free of charge if there is none."""
        if self._writing:
            self._writing = False
            self.reactor.removeWriter(self)


class _EagerServer(EagerConnection):
    """What accepted connections share: a cheap constructor and descriptions made on demand."""

    logstr = ""
    repstr = ""

    def _accepted(
        self, skt: socket.socket, protocol: Any, client: Any, port: Any, number: int, reactor: Any
    ) -> None:
        """Set what the stock constructors set, without formatting strings nobody may read."""
        self.reactor = reactor
        self._tempDataBuffer: list[bytes] = []
        self._tempDataLen = 0
        skt.setblocking(False)
        self.socket = skt
        self.fileno = skt.fileno
        self.protocol = protocol
        self.client = client
        self.hostname = client[0]
        self.server = port
        self.sessionno = number
        self.connected = 1
        self.startReading()

    def logPrefix(self) -> str:
        """Return C{<protocol>,<session number>,<peer>}, as stock transports do."""
        if not self.logstr:
            owner = self._getLogPrefix(getattr(self, "protocol", None))
            self.logstr = f"{owner},{self.sessionno},{self.hostname}"
        return self.logstr

    def __repr__(self) -> str:
        if self.repstr:
            return self.repstr
        owner = type(self.protocol).__name__ if hasattr(self, "protocol") else "lost connection"
        where = getattr(self.server, "_bindPath", None) or getattr(
            self.server, "_realPortNumber", None
        )
        return f"<{owner} #{self.sessionno} on {where!r}>"


class EagerUNIXServer(_EagerServer, unix.Server):
    """An accepted UNIX-socket connection.  Descriptors sent by the peer are not received (the
    kernel closes them); C{sendFileDescriptor} works as in the stock class."""

    def __init__(
        self, skt: socket.socket, protocol: Any, client: Any, port: Any, number: int, reactor: Any
    ) -> None:
        self._sendmsgQueue: list[int] = []
        self._accepted(skt, protocol, (client, None), port, number, reactor)

    def sendFileDescriptor(self, fileno: int) -> None:
        """Queue a descriptor to travel with the next bytes written."""
        self._eager = False
        unix.Server.sendFileDescriptor(self, fileno)


class EagerTCPServer(_EagerServer, tcp.Server):
    """An accepted TCP connection, with Nagle's algorithm off."""

    def __init__(
        self, skt: socket.socket, protocol: Any, client: Any, port: Any, number: int, reactor: Any
    ) -> None:
        if len(client) != 2:
            self._addressType = address.IPv6Address
        self._accepted(skt, protocol, client, port, number, reactor)
        self.setTcpNoDelay(True)


class EagerTCPClient(EagerConnection, tcp.Client):
    """An outgoing TCP connection, with Nagle's algorithm off, which ends when its peer is gone."""

    connector: EagerConnector

    def _connectDone(self) -> None:
        self.setTcpNoDelay(True)
        watch_peer(self.socket, self.connector.patience)
        tcp.Client._connectDone(self)

    def acknowledge(self) -> None:
        """Acknowledge what was read now, instead of with the next bytes sent.

        A peer with Nagle on that sends a message in two writes waits for the acknowledgement of
        the first, and the kernel would wait 40 ms to give it.  It is a system call, and Linux
        forgets it again (tcp(7), TCP_QUICKACK): for when more of a message is awaited.
        """
        if self.connected and _TCP_QUICKACK is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)


class EagerConnector(tcp.Connector):
    """Connects eager TCP clients.

    C{patience} is theirs, in seconds; see L{watch_peer}.
    """

    patience: float = KEEPALIVE_LIMIT

    def _makeTransport(self) -> EagerTCPClient:
        make: Any = EagerTCPClient  # its constructor is untyped
        client: EagerTCPClient = make(self.host, self.port, self.bindAddress, self, self.reactor)
        return client


class EagerUNIXClient(EagerConnection, unix.Client):
    """An outgoing UNIX-socket connection.  Descriptors sent by the peer are not received (the
    kernel closes them); C{sendFileDescriptor} works as in the stock class.

    The first attempt is made at the end of the round of events, or in the next turn of the
    reactor; never inside the call that asks for it.
    """

    connector: EagerUNIXConnector
    _retry: IDelayedCall | None = None

    def _finishInit(
        self, whenDone: Callable[[], None] | None, skt: Any, error: Any, reactor: Any
    ) -> None:
        late = getattr(reactor, "late", None)
        if late is None or self.connector.checkPID:
            super()._finishInit(whenDone, skt, error, reactor)
        else:
            stock: Any = tcp.Connection
            stock.__init__(self, skt, None, reactor)
            late.append(self)

    def doConnect(self) -> None:
        """Connect, or fail, or try again later.

        On a UNIX socket nothing is ever in progress: EAGAIN means that the server's backlog is
        full, no event tells when there is room, and the stock method would not wait for one.
        """
        self._retry = None
        if not hasattr(self, "connector"):
            return  # given up meanwhile
        try:
            self.socket.connect(self.realAddress)
        except BlockingIOError:
            self._retry = self.reactor.callLater(RETRY_INTERVAL, self.doConnect)
        except OSError as error:
            self.failIfNotConnected(getConnectError(error))
        else:
            self._connectDone()

    def write_late(self) -> None:
        """Connect, or do what there is to be done for a connection."""
        if self.connected or self.disconnected:
            super().write_late()
        else:
            self.doConnect()

    def failIfNotConnected(self, err: Any) -> None:
        """Give the attempt up, unless it has succeeded or failed already."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        super().failIfNotConnected(err)

    def sendFileDescriptor(self, fileno: int) -> None:
        """Queue a descriptor to travel with the next bytes written."""
        self._eager = False
        unix.Client.sendFileDescriptor(self, fileno)


class EagerUNIXConnector(unix.Connector):
    """Connects eager UNIX-socket clients."""

    def _makeTransport(self) -> Any:  # the base class promises one of TCP
        make: Any = EagerUNIXClient  # its constructor is untyped
        return make(self.address, self, self.reactor, self.checkPID)
