"""Measure a proxy's memory: at rest, for each idle client, and while bulk passes a slow reader."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import certificates, contestants, procfs, transfer
from bench.contestants import Contestant
from bench.origin import HOST, Origin
from bench.processes import BenchError, stop_signals
from bench.report import grid
from bench.transfer import MIB
from bench.wire import Connection, client_context

_START = {"fastcar": contestants.fastcar, "nginx": contestants.nginx}
_SCHEMES = ("http", "https")
# For closing, opening and freeing to be over with before memory is read.
_SETTLE_SECONDS = 0.5
_ERRORS = (OSError, http.client.HTTPException, transfer.TransferError)

Line = list[str]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    add = parser.add_argument
    add("--proxy", choices=sorted(_START), default="fastcar", help="whom to measure (fastcar)")
    add("--clients", type=int, default=500, metavar="N", help="idle clients; 0: none (500)")
    add("--size", type=int, default=1024, metavar="MIB", help="of a transfer; 0: none (1024)")
    add("--markdown", action="store_true", help="print markdown tables")
    return parser


class _Proxy:
    """A proxy started for one measurement, so that no other has left memory behind."""

    def __init__(self, contestant: Contestant, origin: Origin, scheme: str) -> None:
        assert contestant.pid is not None
        self.pid = contestant.pid
        self._address = contestant.address(scheme, origin)
        self._context = client_context(contestant.ca_file) if scheme == "https" else None
        self._port = origin.ports[scheme]

    def connect(self) -> Connection:
        """Return a new client, yet to connect."""
        return Connection(self._address, HOST, self._port, self._context)

    def resident(self) -> int:
        """Return KiB after all has settled."""
        time.sleep(_SETTLE_SECONDS)
        return procfs.resident_kib(self.pid)


@contextlib.contextmanager
def _started(name: str, scheme: str) -> Iterator[_Proxy]:
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp"))
        )
        origin = stack.enter_context(transfer.run_origin(certificates.create(folder)))
        contestant = stack.enter_context(_START[name](folder / name, origin))
        yield _Proxy(contestant, origin, scheme)


def idle_clients(name: str, scheme: str, count: int) -> Line:
    """Measure `count` clients that have each made one request and keep their connection."""
    with _started(name, scheme) as proxy, contextlib.ExitStack() as stack:
        at_start = proxy.resident()
        clients = [
            stack.enter_context(contextlib.closing(proxy.connect())) for _ in range(count + 1)
        ]
        clients[0].fetch("/100")
        first = proxy.resident()
        for client in clients[1:]:
            client.fetch("/100")
        every = proxy.resident()
        for client in clients:
            client.auto_open = 0  # raise NotConnected, do not connect again: all were kept
            client.fetch("/100")
    return [
        scheme,
        str(count),
        f"{at_start / 1024:.1f}",
        f"{first / 1024:.1f}",
        f"{every / 1024:.1f}",
        f"{(every - first) / count:.1f}",
    ]


def slow_transfer(name: str, scheme: str, direction: str, size: int) -> Line:
    """Measure `size` bytes going in one direction, to a reader that stalls and crawls."""
    move: Callable[..., None] = {"down": transfer.download, "up": transfer.upload}[direction]
    with _started(name, scheme) as proxy, contextlib.closing(proxy.connect()) as client:
        move(client, MIB, slow=False)  # brings the buffers every transfer needs
        before = proxy.resident()
        procfs.reset_peak(proxy.pid)
        begun = time.monotonic()
        move(client, size)
        elapsed = time.monotonic() - begun
        peak = procfs.peak_kib(proxy.pid)
    growth = (peak - before) / 1024
    return [
        scheme,
        direction,
        str(size // MIB),
        f"{elapsed:.1f}",
        f"{before / 1024:.1f}",
        f"{peak / 1024:.1f}",
        f"{growth:.1f}",
    ]


def _tables(options: argparse.Namespace) -> Iterator[str]:
    if options.clients > 0:
        headings = ["scheme", "clients", "start MiB", "first MiB", "all MiB", "KiB/client"]
        lines = [idle_clients(options.proxy, scheme, options.clients) for scheme in _SCHEMES]
        yield grid(headings, lines, options.markdown)
    if options.size > 0:
        headings = ["scheme", "way", "MiB", "seconds", "before MiB", "peak MiB", "growth MiB"]
        lines = [
            slow_transfer(options.proxy, scheme, direction, options.size * MIB)
            for scheme in _SCHEMES
            for direction in ("down", "up")
        ]
        yield grid(headings, lines, options.markdown)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0 if everything was answered and arrived whole."""
    options = _parser().parse_args(argv)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the proxy inherits it
    try:
        with stop_signals():
            for table in _tables(options):
                print(f"{table}\n", flush=True)
    except (BenchError, *_ERRORS) as error:
        print(f"bench.memory: {options.proxy}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.memory: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
