"""
Where fastcar listens besides its UNIX socket: Twisted's server endpoint strings, and what may
stand in them.
"""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from fastcar_tw.downstream import socketfile
from fastcar_tw.http.target import ip_literal, join_authority

#: Clients that may be waiting to be accepted: all workers of a busy php-fpm at once.
BACKLOG = 4096

#: What stands in the text of each kind, in this order or by name.
_PARTS = {
    "tcp": ("port", "interface"),
    "tcp6": ("port", "interface"),
    "unix": ("address",),
}
#: A part of a text: its name and the sign behind it, or its value and nothing.
_PART = re.compile(r":((?:\\.|[^:=\\])*)(=?)(?:\\.|[^:\\])*", re.DOTALL)


#: How one would write where to connect to.
_CLIENT_FORM = re.compile(r"tcp:([^:=]+):([0-9]+)")


class ListenerError(ValueError):
    """
    A text says of no place where fastcar could listen.

    @ivar expected: what would do.
    @ivar reason: where there is one, what else there is to say.
    """

    def __init__(self, expected: str, reason: str = "") -> None:
        super().__init__(f"--listen: expected {expected}" + (f" ({reason})" if reason else ""))
        self.expected = expected
        self.reason = reason


class Listener(NamedTuple):
    """
    A place to listen.

    @ivar path: of a UNIX socket; empty: it is a TCP port.
    @ivar interface: an address, IPv6 without brackets; empty: all of IPv4.
    @ivar port: 0 to 65535; 0: any free one.
    """

    path: str = ""
    interface: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"tcp:{join_authority(self.interface or '0.0.0.0', self.port)}"

    @property
    def is_local(self) -> bool:
        """
        Whether only clients of this machine can come in.
        """
        address = ip_literal(self.interface)
        return bool(self.path) or (address is not None and address.is_loopback)


def parse_listener(text: str) -> Listener:
    """
    Understand a server endpoint string, see L{serverFromString}.

    @raise ListenerError: for one that is none, or that fastcar has no use for.
    """
    expected = "an endpoint such as tcp:3128:interface=127.0.0.1"
    kind = text.partition(":")[0]
    if kind not in _PARTS:
        raise ListenerError(expected, f"of the kind {', '.join(_PARTS)}")
    _check_parts(kind, text)
    recorder = _Recorder()
    try:
        serverFromString(recorder, text).listen(Factory())
    except Exception as error:
        # Twisted's parsers say what is wrong in many types of their own.
        reason = str(error)
        if kind == "tcp" and (match := _CLIENT_FORM.fullmatch(text)):
            reason = f"write tcp:{match[2]}:interface={match[1]}"
        raise ListenerError(expected, reason) from None
    listener = recorder.listener
    if listener is None:
        raise ListenerError(expected)
    _check(listener)
    return listener


def listen_unix(
    reactor: Any, listener: Listener, factory: Factory, mode: int, group: str | None
) -> IListeningPort:
    """
    Listen on a UNIX socket.

    @param reactor: makes the port.
    @param mode: permissions of the file.
    @param group: its group; None: that of the process.
    @raise SocketPathError: the path is in use, or cannot be used.
    """
    path = listener.path
    socketfile.prepare(path)
    # For its owner only, until its group is set.
    port = _listening(UNIXServerEndpoint(reactor, path, BACKLOG, 0o600).listen(factory))
    try:
        if group is not None:
            socketfile.set_group(path, group)
        os.chmod(path, mode)
    except Exception:
        port.stopListening()
        os.unlink(path)
        raise
    return port


def listen_tcp(reactor: Any, listener: Listener, factory: Factory) -> IListeningPort:
    """
    Listen on a TCP port.

    @param reactor: makes the port.
    @raise ListenerError: it cannot be used.
    """
    kind = TCP6ServerEndpoint if ":" in listener.interface else TCP4ServerEndpoint
    endpoint = kind(reactor, listener.port, BACKLOG, listener.interface)
    try:
        return _listening(endpoint.listen(factory))
    except CannotListenError as error:
        reason = os.strerror(error.socketError.errno or 0)
        raise ListenerError(f"a free port of this machine, not {listener}", reason) from None


def _listening(deferred: Deferred[IListeningPort]) -> IListeningPort:
    """
    What an endpoint gave that listens at once; raise what it failed with.
    """
    ports: list[IListeningPort] = []
    failures: list[Failure] = []
    deferred.addCallbacks(ports.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return ports[0]


def _check_parts(kind: str, text: str) -> None:
    """
    Twisted understands more than has an effect here.
    """
    known = _PARTS[kind]
    for number, (word, named) in enumerate(_PART.findall(text)):
        if word not in known if named else number >= len(known):
            hint = "; --socket-mode is for all UNIX sockets" if word == "mode" else ""
            raise ListenerError(
                f"{' and '.join(known)} only", f"not understood: {word}{named}{hint}"
            )


def _check(listener: Listener) -> None:
    if listener.path:
        if not os.path.isabs(listener.path):
            # twistd may change directory before it listens.
            raise ListenerError("an absolute path of a socket")
        try:
            socketfile.check_path(listener.path)
        except socketfile.SocketPathError as error:
            raise ListenerError("the path of a socket", str(error)) from None
    elif not 0 <= listener.port < 65536:
        raise ListenerError("a port from 0 to 65535")
    elif listener.interface and ip_literal(listener.interface) is None:
        raise ListenerError("interface= with an IP address")


class _Recorder:
    """
    Takes the place of a reactor under an endpoint, to learn what its text means.
    """

    def __init__(self) -> None:
        self.listener: Listener | None = None

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> None:
        self.listener = Listener(interface=interface, port=port)

    def listenUNIX(
        self,
        address: str,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> None:
        self.listener = Listener(path=os.path.normpath(address))
