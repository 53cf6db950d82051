"""What every test with peers stands on: a fastcar, and an nginx, that are really running.

Starting them takes longer than most tests, so one of each, made at first use, serves all tests of
a process; a test that needs other options, or ends the service, starts its own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.certificates import Authority
from tests.peers.clients import Answer, curl
from tests.peers.nginx import Nginx
from tests.peers.processes import Process
from tests.peers.sockets import Peer, RawOrigin

#: What no log may ever show.
_BUG = re.compile(r".*(?:Traceback|Unhandled|#critical|#error|Exception|Warning:).*")


class Twistd(Process):
    """A service of fastcar that is started by twistd, as its users start it."""

    def __init__(self, folder: str, *arguments: str, environ: dict[str, str] | None = None) -> None:
        """Start `twistd fastcar` with `arguments` in `folder`.

        `environ`: environment variables besides our own.
        """
        self._checked = 0
        # twistd lies beside the interpreter of the environment that fastcar is installed in.
        twistd = os.path.join(os.path.dirname(sys.executable), "twistd")
        argv = [sys.executable, twistd, "-n", "--pidfile=", "fastcar", *arguments]
        super().__init__(argv, folder, environ)

    def new_output(self) -> str:
        """What it has printed since this was last asked, which is at the end of every test."""
        start, self._checked = self._checked, len(self.output)
        return self.output[start : self._checked]

    def logs(self, pattern: str) -> str:
        """Wait for a line with `pattern`, not older than the test; return it."""
        return self.wait_for(rf".*(?:{pattern}).*\n", self._checked)[0]

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it find all that is done meanwhile at once, in the order it was done in."""
        self.send_signal(signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)
            yield
        finally:
            self.send_signal(signal.SIGCONT)

    def resident_kib(self) -> int:
        """Resident memory, in KiB, from proc(5)."""
        return self._status("VmRSS")

    def peak_kib(self) -> int:
        """The most resident memory it has had, in KiB."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        with open(f"/proc/{self.pid}/status") as file:
            found = re.search(rf"{name}:\s*(\d+) kB", file.read())
        if found is None:
            raise AssertionError(f"no {name} of process {self.pid}: has it ended?")
        return int(found[1])


class Fastcar(Twistd):
    """A fastcar on a UNIX socket."""

    def __init__(
        self,
        folder: str,
        *options: str,
        ready: bool = True,
        environ: dict[str, str] | None = None,
    ) -> None:
        """Start it on a socket in `folder`, and wait until it listens unless not `ready`."""
        self.socket = os.path.join(folder, "fastcar.sock")
        self.ca_directory = os.path.join(folder, "ca")
        self.ca_file = os.path.join(self.ca_directory, "ca.pem")
        fixed = ("--unix", self.socket, "--ca-dir", self.ca_directory)
        super().__init__(folder, *fixed, *options, environ=environ)
        if ready:
            self.wait_for(r"forwarding from .*\n")


class Shared:
    """What all tests of this process share."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        atexit.register(self.close)
        self.authority = Authority(self.folder, "origin-ca")
        self.pair = self.authority.issue("localhost", "origin.test", "127.0.0.1")

    @functools.cached_property
    def nginx(self) -> Nginx:
        """The origin, whose certificate `authority` has issued."""
        folder = os.path.join(self.folder, "nginx")
        os.mkdir(folder)
        return Nginx(folder, self.pair)

    @functools.cached_property
    def fastcar(self) -> Fastcar:
        """A fastcar that trusts `authority`."""
        return Fastcar(self.folder, "--trust", self.authority.file)

    def close(self) -> None:
        """End the processes."""
        for name in ("nginx", "fastcar"):
            owner = self.__dict__.get(name)
            if owner is not None:
                (owner if isinstance(owner, Process) else owner.process).stop()
        shutil.rmtree(self.folder, ignore_errors=True)


shared = functools.lru_cache(maxsize=None)(Shared)


class PeersTestCase(SynchronousTestCase):
    """A test with peers, which fails if a fastcar has logged a bug by its end."""

    def setUp(self) -> None:
        self.shared = shared()

    def tearDown(self) -> None:
        if "fastcar" in self.shared.__dict__:
            self._assert_no_bug(self.fastcar)

    def _assert_no_bug(self, fastcar: Twistd) -> None:
        output = fastcar.new_output()
        self.assertIsNone(_BUG.search(output), output)

    @property
    def nginx(self) -> Nginx:
        return self.shared.nginx

    @property
    def fastcar(self) -> Fastcar:
        """The shared fastcar."""
        return self.shared.fastcar

    def folder(self) -> str:
        """A directory that goes with the test; its path is short enough for sockets."""
        path = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, path)
        return path

    def start_fastcar(self, *options: str, environ: dict[str, str] | None = None) -> Fastcar:
        """A fastcar of this test's own; trusts as the shared one."""
        trust = ("--trust", self.shared.authority.file)
        fastcar = Fastcar(self.folder(), *trust, *options, environ=environ)
        # Last added, first run.
        self.addCleanup(self._assert_no_bug, fastcar)
        self.addCleanup(fastcar.stop)
        return fastcar

    def origin(self, script: Callable[[Peer], None], scheme: str = "http") -> RawOrigin:
        """An origin that runs `script`; an https one has a trusted certificate."""
        context = self.shared.pair.server_context() if scheme == "https" else None
        return self.own(RawOrigin(script, context))

    def own(self, origin: RawOrigin) -> RawOrigin:
        """Close `origin` with the test."""
        self.addCleanup(origin.close)
        return origin

    def dial(self, fastcar: Fastcar | None = None) -> Peer:
        """A plain connection to a fastcar, the shared one unless given."""
        peer = Peer.dial((fastcar or self.fastcar).socket)
        self.addCleanup(peer.close)
        return peer

    def curl(self, url: str, *arguments: str, data: bytes = b"") -> Answer:
        """curl through the shared fastcar, whose certificates it verifies."""
        options = ("--cacert", self.fastcar.ca_file, *arguments)
        return curl(self.fastcar.socket, url, *options, data=data)

    def assert_still_serving(self, fastcar: Fastcar | None = None) -> None:
        """A request is answered as it should be."""
        answer = curl((fastcar or self.fastcar).socket, self.nginx.url("http", "/hello"))
        self.assertEqual((answer.status, answer.body), (200, b"hello\n"), answer)
