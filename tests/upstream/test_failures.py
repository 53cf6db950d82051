"""Why a connection could not be opened, and whose fault that is."""

from __future__ import annotations

import errno
import os

from twisted.internet import error
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError, ConnectionRefusedError, NoRouteError
from twisted.python.failure import Failure

from fastcar_tw.config import Config
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.upstream.failures import SHORTAGE, connect_error
from tests.forward.support import logged
from tests.upstream.test_pool import PoolTestCase

#: What a machine, or a process, can run out of.
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
#: What only the other side can be the reason of.
OTHERS = (errno.ENOENT, errno.ECONNRESET, errno.EACCES, errno.EAGAIN)


def connect_failed(number: int) -> ConnectError:
    """What Twisted makes of an error number of connect()."""
    return ConnectError(number, os.strerror(number))


class ExplainTests(PoolTestCase):
    """Exceptions become errors with a text."""

    def explained(self, reason: Exception) -> tuple[int, str, str]:
        """Status, RFC 9209 error type and text."""
        try:
            connect_error(Failure(reason), "tcp:a.test:1")
        except GatewayError as told:
            return told.status, told.proxy_status, told.text

    def test_shortage(self) -> None:
        """What this machine has no more of is a limit, not a failure of the other side; however
        Twisted tells of it."""
        for number in SHORTAGES:
            text = f"tcp:a.test:1: connection failed ({os.strerror(number)})"
            for reason in (
                connect_failed(number),
                error.ConnectBindError(number, os.strerror(number)),
                OSError(number, os.strerror(number)),
            ):
                self.assertEqual(self.explained(reason), (503, SHORTAGE, text))

    def test_others(self) -> None:
        """Other error numbers are told in the same words, as failures to reach it."""
        for number in OTHERS:
            text = f"tcp:a.test:1: connection failed ({os.strerror(number)})"
            expected = (502, "destination_unavailable", text)
            self.assertEqual(self.explained(connect_failed(number)), expected)

    def test_kinds(self) -> None:
        """What Twisted has a type of its own for keeps its own words."""
        for reason, status, kind in (
            (ConnectionRefusedError(), 502, "connection_refused"),
            (DeferredTimeoutError(), 504, "connection_timeout"),
            (NoRouteError(), 502, "destination_ip_unroutable"),
            (error.DNSLookupError("no address"), 502, "dns_error"),
        ):
            self.assertEqual(self.explained(reason)[:2], (status, kind))

    def test_bug(self) -> None:
        """What nobody has thought of is a bug, and logged."""
        for reason in (ZeroDivisionError(), OSError(errno.EACCES, "Permission denied")):
            expected = (500, "proxy_internal_error", "tcp:a.test:1: internal error")
            self.assertEqual(self.explained(reason), expected)
            self.assertEqual(len(self.flushLoggedErrors(type(reason))), 1)


class BlameTests(PoolTestCase):
    """Which failures count against an origin."""

    def failed(self, number: int) -> list[str]:
        """Let four attempts fail where two are enough; return what is logged."""
        self.start(Config(fail_fast_after=2))
        waiters = [self.acquire() for _ in range(4)]

        def refuse() -> None:
            for connect in list(self.proxy.connects):
                connect.refuse(connect_failed(number))

        lines = logged(refuse)
        self.assertTrue(all(waiter.error for waiter in waiters))
        return lines

    def test_shortage(self) -> None:
        """For a shortage of ours no origin is left alone, so that all goes on when it is over."""
        for number in SHORTAGES:
            self.assertEqual(self.failed(number), [])
            waiter = self.acquire()
            self.assertFalse(waiter.served)
            self.proxy.connects[-1].accept()
            self.assertIsNotNone(waiter.connection)

    def test_others(self) -> None:
        """For others it is."""
        for number in OTHERS:
            [line] = self.failed(number)
            self.assertIn(f"connection failed ({os.strerror(number)}); after repeated", line)
            self.assertIsNotNone(self.acquire().error)
