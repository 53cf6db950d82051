"""
Listening ports that accept eagerly.

A wake-up accepts up to L{ACCEPTS_PER_WAKEUP} connections and reads each at once: a client that
connects and writes its request in one go is served without another turn of the reactor.
One connection that goes wrong costs itself only; a system out of descriptors or memory costs a
pause, during which clients wait in the listen queue instead of being turned away.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .eager import EagerConnection, EagerTCPServer, EagerUNIXServer

ACCEPTS_PER_WAKEUP = 64
ACCEPT_PAUSE = 0.1  # seconds
_ANONYMOUS = UNIXAddress("")

# The connection died before it was accepted (accept(2), "Error handling"), or a firewall said no.
_LOST_BEFORE_ACCEPT = {
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
}


class EagerPort(tcp.Port):
    """
    The mixin that makes a port accept eagerly; put it before the stock class.
    """

    transport: Any
    factory: Any
    reactor: Any  # one of Twisted's: IReactorFDSet, IReactorTime
    _log = Logger()
    _retry: IDelayedCall | None = None
    _starved = False

    def doRead(self) -> None:
        """
        Accept what is waiting, up to a limit that leaves the others their turn.
        """
        listener: Any = self.socket
        for _ in range(ACCEPTS_PER_WAKEUP):
            try:
                # socket.accept() without its two conversions to enum members
                fileno, peer = listener._accept()
            except BlockingIOError:
                return
            except OSError as reason:
                if reason.errno in _LOST_BEFORE_ACCEPT:
                    continue
                self._pause(reason)
                return
            self._starved = False
            self._serve(socket.socket(self.addressFamily, self.socketType, 0, fileno), peer)
            if self.disconnecting or not self.connected:
                return

    def _serve(self, skt: socket.socket, peer: Any) -> None:
        """
        Give the connection a protocol and its first read; on any failure close it.
        """
        transport: EagerConnection | None = None
        try:
            peer, address = self._peer(peer)
            protocol = self.factory.buildProtocol(address)
            if protocol is None:
                skt.close()
                return
            number = self.sessionno
            self.sessionno = number + 1
            transport = self.transport(skt, protocol, peer, self, number, self.reactor)
            protocol.makeConnection(transport)
            why = transport.doRead()
            if why is not None:
                transport.end_reading(why)
        except Exception:
            self._close_failed(skt, transport, Failure())

    def _close_failed(
        self, skt: socket.socket, transport: EagerConnection | None, reason: Failure
    ) -> None:
        self._log.failure("closing a connection that failed at its start", reason)
        try:
            if transport is not None:
                transport.connectionLost(reason)
        except Exception:
            self._log.failure("connectionLost failed")
        finally:
            skt.close()

    def _peer(self, peer: Any) -> tuple[Any, IAddress]:
        """
        @return: what the transport and what the factory gets to know of the peer.
        """
        raise NotImplementedError

    def _pause(self, reason: OSError) -> None:
        """
        Stop accepting for L{ACCEPT_PAUSE} seconds; log only the first pause of a shortage.
        """
        if not self._starved:
            self._starved = True
            self._log.warn(
                "{port}: cannot accept ({reason}); new clients wait, trying every {pause} s",
                port=self._place(),
                reason=os.strerror(reason.errno or 0),
                pause=ACCEPT_PAUSE,
            )
        self.reactor.removeReader(self)
        self._retry = self.reactor.callLater(ACCEPT_PAUSE, self._resume)

    def _place(self) -> str:
        own = self.getHost()
        if isinstance(own, UNIXAddress):
            return f"unix:{os.fsdecode(own.name or '')}"
        return f"tcp:[{own.host}]:{own.port}" if ":" in own.host else f"tcp:{own.host}:{own.port}"

    def _resume(self) -> None:
        self._retry = None
        if self.connected and not self.disconnecting:
            self.reactor.addReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """
        Close the listening socket.
        """
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        # Past unix.Port, which would unlink whatever is at its path by now.
        tcp.Port.connectionLost(self, reason)


class EagerTCPPort(EagerPort, tcp.Port):
    """
    A listening TCP socket.
    """

    transport: Any = EagerTCPServer

    def _peer(self, peer: Any) -> tuple[Any, IAddress]:
        if len(peer) == 4:  # IPv6: with the scope, as the stock port has it
            host, _ = socket.getnameinfo(peer, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            peer = (host, *peer[1:])
        return peer, self._addressType("TCP", *peer)


class _BoundSocket(socket.socket):
    """
    A listening UNIX socket that knows its file, which only its owner can use until the port
    gives it its mode.
    """

    _path: str | bytes | None = None
    _inode: tuple[int, int] | None = None

    def bind(self, address: Any) -> None:
        """
        Bind to a path or an abstract name.
        """
        previous = os.umask(0o177)
        try:
            super().bind(address)
        finally:
            os.umask(previous)
        self._path = address
        self._inode = self._current_inode()

    def unlink(self) -> None:
        """
        Remove the file, if it is still the one that was bound.
        """
        if self._path and self._inode and self._inode == self._current_inode():
            with suppress(OSError):
                os.unlink(self._path)
        self._inode = None

    def _current_inode(self) -> tuple[int, int] | None:
        try:
            found = os.lstat(self._path or "")
        except (OSError, ValueError):  # gone, or an abstract name
            return None
        return found.st_dev, found.st_ino


class EagerUNIXPort(EagerPort, unix.Port):
    """
    A listening UNIX socket.

    The file is created for its owner only and then given C{mode}.  On closing it is removed only
    if it is still the file created here: it may have been replaced by a successor's, and an
    adopted socket's file belongs to whoever passed the socket.
    """

    transport: Any = EagerUNIXServer
    # shutdown() would silence every process that shares the listening socket; close() ends ours.
    _shouldShutdown = False
    _bound: _BoundSocket | None = None

    def createInternetSocket(self) -> socket.socket:
        """
        Create the socket that will be bound (stock name; no internet involved).
        """
        self._bound = _BoundSocket(self.addressFamily, self.socketType)
        self._bound.setblocking(False)
        return self._bound

    def startListening(self) -> None:
        """
        Bind and listen.

        @raise CannotListenError: if that fails.
        """
        try:
            unix.Port.startListening(self)
        except BaseException:
            if self._bound is not None:
                self._bound.unlink()
                self._bound.close()
            raise

    def connectionLost(self, reason: Failure) -> None:
        """
        Close the listening socket and remove its file if it is ours.
        """
        if self._bound is not None:
            self._bound.unlink()
        if self.lockFile is not None:
            self.lockFile.unlock()
        super().connectionLost(reason)

    def _peer(self, peer: Any) -> tuple[Any, IAddress]:
        return peer, UNIXAddress(peer) if peer else _ANONYMOUS
