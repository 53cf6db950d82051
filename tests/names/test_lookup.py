"""The system's resolver in threads."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from fastcar_tw.names import lookup
from fastcar_tw.names.lookup import LookupFailedError, NoSuchNameError, ThreadedLookup


def found(*hosts: str) -> list[tuple[Any, ...]]:
    """An answer of getaddrinfo."""
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, 0, 0, 0))
        if ":" in host
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
        for host in hosts
    ]


class HangingTests(TestCase):
    """Names whose servers are silent."""

    def setUp(self) -> None:
        """Have a getaddrinfo that hangs for names of the domain C{hangs} until it is released."""
        self.released = Event()
        self.addCleanup(self.released.set)
        from_threads: Any = reactor
        self.lookup = ThreadedLookup(from_threads, getaddrinfo=self.system)

    def system(self, host: bytes, *hints: object) -> list[tuple[Any, ...]]:
        """Find an address, sooner or later."""
        if host.endswith(b".hangs"):
            self.released.wait(60)
        return found("192.0.2.1")

    async def test_others_go_on(self) -> None:
        """Names that hang delay no other, even if only one thread is left."""
        hanging = [self.lookup.start(f"{number}.hangs") for number in range(lookup.MAX_RUNNING - 1)]
        for name in ("a.test", "b.test", "c.test"):
            self.assertEqual(await self.lookup.start(name), ("192.0.2.1",))
        self.assertFalse(any(each.called for each in hanging))
        self.released.set()
        for each in hanging:
            self.assertEqual(await each, ("192.0.2.1",))


class Reactor:
    """Calls at once, from whichever thread, and tells when it has."""

    def __init__(self) -> None:
        self.called = Event()

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call the function."""
        function(*arguments)
        self.called.set()


class LateThread:
    """
    Runs when told to, in the test's own thread.

    @cvar started: those that were started and have not run.
    """

    started: list[LateThread]

    def __init__(
        self, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool
    ) -> None:
        assert daemon, "the end of the process would wait for it"
        self.name = name
        self._run = partial(target, *args)

    def start(self) -> None:
        """Begin."""
        self.started.append(self)

    @classmethod
    def end(cls, name: str) -> None:
        """Let the one for this name come to its end."""
        [thread] = [each for each in cls.started if each.name == name]
        cls.started.remove(thread)
        thread._run()


class LineTests(SynchronousTestCase):
    """Who waits in line."""

    def setUp(self) -> None:
        """Have two look-ups at a time."""
        self.patch(lookup, "Thread", LateThread)
        LateThread.started = []
        threads: Any = Reactor()
        self.lookup = ThreadedLookup(threads, 2, lambda *_: found("192.0.2.1"))

    def start(self, names: str) -> list[Deferred[tuple[str, ...]]]:
        """Look up several names."""
        return [self.lookup.start(name) for name in names]

    def running(self) -> list[str]:
        """The names of the look-ups under way."""
        return [thread.name for thread in LateThread.started]

    def test_bound_and_order(self) -> None:
        """No more than the limit run; the others are served in the order of their arrival."""
        results = self.start("abcde")
        self.assertEqual(self.running(), ["a", "b"])
        LateThread.end("b")
        self.assertEqual(self.running(), ["a", "c"])
        self.successResultOf(results[1])
        for name in "cdea":
            LateThread.end(name)
        for index in (0, 2, 3, 4):
            self.successResultOf(results[index])
        self.start("fgh")
        self.assertEqual(self.running(), ["f", "g"])

    def test_long_line(self) -> None:
        """When too many are in line, the next is refused at once, until there is room again."""
        self.patch(lookup, "MAX_WAITING", 2)
        *_, refused = self.start("abcde")
        failure = self.failureResultOf(refused, LookupFailedError)
        self.assertIn("too many", failure.getErrorMessage())
        LateThread.end("a")
        self.assertNoResult(self.lookup.start("f"))


class OutcomeTests(SynchronousTestCase):
    """What becomes of what getaddrinfo returns and raises."""

    def look_up(self, system: Callable[..., Any], name: str = "a.test") -> Deferred[Any]:
        """Look a name up and wait for the thread."""
        threads: Any = Reactor()
        result = ThreadedLookup(threads, 1, system).start(name)
        self.assertTrue(threads.called.wait(60))
        return result

    def raised(self, error: BaseException) -> Deferred[Any]:
        """Look up a name with a getaddrinfo that raises."""

        def system(*arguments: object) -> None:
            raise error

        return self.look_up(system)

    def test_order(self) -> None:
        """Addresses come in the system's order (RFC 6724), none of them twice."""
        hosts = ("2001:db8::2", "192.0.2.9", "2001:db8::1", "192.0.2.1")
        result = self.look_up(lambda *_: found(*hosts, "192.0.2.9"))
        self.assertEqual(self.successResultOf(result), hosts)

    def test_question(self) -> None:
        """The name goes to the system as it is, for streams of any family, without flags."""
        asked: list[object] = []

        def system(*arguments: object) -> list[tuple[Any, ...]]:
            asked.extend(arguments)
            return found("192.0.2.1")

        self.look_up(system, "Under_score.a.test.")
        self.assertEqual(asked, [b"Under_score.a.test.", 0, socket.AF_UNSPEC, socket.SOCK_STREAM])

    def test_no_such_name(self) -> None:
        """That there is no such name, or no address for it, is an answer."""
        for number in (socket.EAI_NONAME, socket.EAI_NODATA):
            result = self.raised(socket.gaierror(number, "the reason"))
            error = self.failureResultOf(result, NoSuchNameError)
            self.assertEqual(error.getErrorMessage(), "the reason")

    def test_no_address(self) -> None:
        """So is an empty list."""
        self.failureResultOf(self.look_up(lambda *_: []), NoSuchNameError)

    def test_not_ascii(self) -> None:
        """So is that a name cannot be one."""
        self.failureResultOf(self.look_up(socket.getaddrinfo, "ä.test"), NoSuchNameError)

    def test_temporary(self) -> None:
        """Everything else is a failure, told with its reason."""
        for error, reason in (
            (socket.gaierror(socket.EAI_AGAIN, "try again"), "try again"),
            (socket.gaierror(socket.EAI_FAIL, "broken"), "broken"),
            (socket.gaierror(socket.EAI_SYSTEM, "system"), "system"),
            (OSError(24, "Too many open files"), "Too many open files"),
            (MemoryError(), "MemoryError"),
            (ValueError("embedded null byte"), "embedded null byte"),
            (SystemExit(3), "3"),
        ):
            failure = self.failureResultOf(self.raised(error), LookupFailedError)
            self.assertEqual(failure.getErrorMessage(), reason)

    def test_answer_that_makes_no_sense(self) -> None:
        """An answer that cannot be read is a failure, too."""
        self.failureResultOf(self.look_up(lambda *_: None), LookupFailedError)
        self.failureResultOf(self.look_up(lambda *_: [()]), LookupFailedError)

    def test_no_descriptor(self) -> None:
        """
        When no descriptor is left the look-up fails, even where glibc, which could read neither
        /etc/hosts nor resolv.conf, says that the name does not exist.
        """

        def system(*arguments: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # All numbers below the lowest free one are taken.
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            result = self.look_up(system)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        failure = self.failureResultOf(result, LookupFailedError)
        self.assertEqual(failure.getErrorMessage(), "Too many open files")

    def test_no_thread(self) -> None:
        """When the system has no thread left the look-up fails, and the next one is tried."""
        made: list[str] = []

        class NoThread:
            def __init__(self, name: str, **_: object) -> None:
                made.append(name)

            def start(self) -> None:
                raise RuntimeError("can't start new thread")

        self.patch(lookup, "Thread", NoThread)
        threads: Any = Reactor()
        threaded = ThreadedLookup(threads, 1)
        for name in ("a.test", "b.test"):
            failure = self.failureResultOf(threaded.start(name), LookupFailedError)
            self.assertEqual(failure.getErrorMessage(), "can't start new thread")
        self.assertEqual(made, ["a.test", "b.test"])


class SystemTests(TestCase):
    """The system's own getaddrinfo."""

    def look_up(self, name: str) -> Deferred[tuple[str, ...]]:
        """Look up a name for real."""
        from_threads: Any = reactor
        return ThreadedLookup(from_threads).start(name)

    async def test_localhost(self) -> None:
        """The name localhost is found."""
        self.assertTrue({"127.0.0.1", "::1"} & set(await self.look_up("localhost")))

    async def test_literals(self) -> None:
        """Addresses are their own."""
        self.assertEqual(await self.look_up("192.0.2.1"), ("192.0.2.1",))
        self.assertEqual(await self.look_up("2001:db8::1"), ("2001:db8::1",))


class ShutdownTests(SynchronousTestCase):
    """The end of the process."""

    def test_not_delayed(self) -> None:
        """Names that hang, for ever here, do not keep the process from ending."""
        program = """
            from threading import Event
            from twisted.internet import reactor
            from fastcar_tw.names.lookup import ThreadedLookup

            lookup = ThreadedLookup(reactor, 2, lambda *_: Event().wait())
            for number in range(4):
                lookup.start(f"{number}.test")
            reactor.callWhenRunning(reactor.stop)
            reactor.run()
            print("stopped")
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("stopped\n", "", 0))
