"""
Asking the system's resolver, each name in a thread of its own.

Twisted's resolver asks in the ten threads of the reactor's pool: ten names whose servers are silent
(10 s each with glibc's defaults) stop all others, and the shutdown waits for them.  Here they hold
up nobody: a thread serves one name, and none is waited for at the end (daemon threads).
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads

__all__ = ["Lookup", "LookupFailedError", "NoSuchNameError", "ThreadedLookup"]

#: Look-ups under way at a time.  Each holds a thread, of whose memory little is touched, and a
#: descriptor or two.  A handful is enough while the resolver answers; the others are for names
#: that hang.  When so many do, the resolver is of no use to those in line either.
MAX_RUNNING = 128
#: Look-ups in line behind them; more are refused.
MAX_WAITING = 1024

# The name is known not to exist, or to have no address: EAI_NODATA is not in POSIX, and gone from
# some systems; EAI_ADDRFAMILY likewise.
_AUTHORITATIVE = {
    socket.EAI_NONAME,
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME),
    getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NONAME),
}


class NoSuchNameError(Exception):
    """
    The resolver says that the name does not exist or has no address.  The message is the reason.
    """


class LookupFailedError(Exception):
    """
    The resolver could not tell.  The message is the reason.
    """


class Lookup(Protocol):
    """
    Something that finds the addresses of names, without a cache.

    Twisted's C{IHostnameResolver} will not do: it gives no addresses both for names that do not
    exist and when it fails.
    """

    def start(self, host: str) -> Deferred[tuple[str, ...]]:
        """
        Begin to look up a name.

        @return: fires with its IP addresses, one at least, the best first; fails with
            L{NoSuchNameError}, or, if that cannot be told, with L{LookupFailedError}.
        """


class ThreadedLookup:
    """
    A L{Lookup} with the system's C{getaddrinfo}: /etc/hosts, DNS and what else nsswitch.conf names.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        limit: int = MAX_RUNNING,
        getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo,
    ) -> None:
        """
        @param limit: look-ups under way at a time; further ones wait in line.
        """
        self._reactor = reactor
        self._limit = limit
        self._getaddrinfo = getaddrinfo
        self._running = 0
        self._line: deque[tuple[str, Deferred[tuple[str, ...]]]] = deque()

    def start(self, host: str) -> Deferred[tuple[str, ...]]:
        """
        See L{Lookup.start}.
        """
        if len(self._line) >= MAX_WAITING:
            return fail(LookupFailedError("too many look-ups are under way"))
        result: Deferred[tuple[str, ...]] = Deferred()
        self._line.append((host, result))
        self._begin()
        return result

    def _begin(self) -> None:
        while self._line and self._running < self._limit:
            host, result = self._line.popleft()
            thread = Thread(target=self._run, args=(host, result), name=host, daemon=True)
            try:
                thread.start()
            except Exception as error:  # the system has no thread left
                result.errback(_explained(error))
            else:
                self._running += 1

    def _run(self, host: str, result: Deferred[tuple[str, ...]]) -> None:
        # In the thread.
        outcome: tuple[str, ...] | BaseException
        try:
            outcome = self._ask(host)
        except BaseException as error:  # whatever it is, somebody waits for an answer
            outcome = error
        self._reactor.callFromThread(self._finish, result, outcome)

    def _ask(self, host: str) -> tuple[str, ...]:
        # As bytes, the name reaches the system as it is: Python's idna codec has rules of its own.
        name = host.encode("ascii")
        # Without AI_ADDRCONFIG, like Go and curl: it hides ::1 where IPv6 is only local, and an
        # address that cannot be reached costs the race nothing.
        try:
            found = self._getaddrinfo(name, 0, socket.AF_UNSPEC, socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno == socket.EAI_NONAME:
                _require_descriptor()
            raise
        # In the order of RFC 6724.  /etc/hosts may say the same twice.
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _finish(
        self, result: Deferred[tuple[str, ...]], outcome: tuple[str, ...] | BaseException
    ) -> None:
        self._running -= 1
        self._begin()
        if isinstance(outcome, BaseException):
            result.errback(_explained(outcome))
        elif outcome:
            result.callback(outcome)
        else:
            result.errback(NoSuchNameError("it has no address"))


def _require_descriptor() -> None:
    """
    When no descriptor is left, glibc can read neither /etc/hosts nor DNS and finds that no name
    exists.

    @raise OSError: that is so.
    """
    os.close(os.open(os.devnull, os.O_RDONLY))


def _explained(error: BaseException) -> NoSuchNameError | LookupFailedError:
    if isinstance(error, UnicodeError):
        return NoSuchNameError("expected a name in ASCII")
    reason = str(getattr(error, "strerror", None) or error) or type(error).__name__
    if isinstance(error, socket.gaierror) and error.errno in _AUTHORITATIVE:
        return NoSuchNameError(reason)
    return LookupFailedError(reason)
