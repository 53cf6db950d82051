"""Measure a relay's memory: for each idle client, and while bulk passes a slow reader."""

from __future__ import annotations

import argparse
import contextlib
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import procfs
from bench.arguments import checked, positive_int
from bench.processes import BenchError, stop_signals
from bench.relay import backends, bulk, relays
from bench.relay.relays import BASELINE, FASTCAR, NGINX, POOLED, Relay
from bench.report import grid
from bench.transfer import MIB
from bench.wire import Address, dial

# For closing, opening and freeing to be over with before memory is read.
_SETTLE_SECONDS = 0.5
_LINE = b"." * 47 + b"\n"
_FRAMING = "eof:\\n"
# Resident for each idle pair, at most.
_WANTED_KIB = 25
# Of a transfer; what is held of it must not grow with it.
_LARGEST_SHARE = 0.1
# For the transfers of a relay that pools: a frame, within the default of --max-frame.
_FRAME = b"." * (MIB - 1) + b"\n"

Line = list[str]
Move = Callable[[Address, int], None]


@contextlib.contextmanager
def _started(name: str, backend: backends.Start) -> Iterator[Relay]:
    """Run a relay for one measurement, so that no other has left memory behind."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp"))
        )
        behind = stack.enter_context(backend(folder / "backend"))
        yield stack.enter_context(relays.starts(_FRAMING)[name](folder / name, behind.port))


def _resident(relay: Relay) -> int:
    """Return KiB after all has settled."""
    assert relay.pid is not None
    time.sleep(_SETTLE_SECONDS)
    return procfs.resident_kib(relay.pid)


def _exchange(client: socket.socket) -> None:
    client.sendall(_LINE)
    got = b""
    while len(got) < len(_LINE):
        data = client.recv(len(_LINE))
        if not data:
            raise BenchError("a client's connection was closed")
        got += data
    if got != _LINE:
        raise BenchError(f"{got!r} is not what was sent")


def idle_clients(name: str, count: int) -> Line:
    """Measure `count` clients that have each had a message echoed and keep their connection."""
    with _started(name, backends.echo) as relay, contextlib.ExitStack() as stack:
        at_start = _resident(relay)
        _exchange(stack.enter_context(dial(relay.address)))
        first = _resident(relay)
        clients = [stack.enter_context(dial(relay.address)) for _ in range(count)]
        for client in clients:
            _exchange(client)
        every = _resident(relay)
        for client in clients:
            _exchange(client)
    each = (every - first) / count
    return [
        name,
        str(count),
        f"{at_start / 1024:.1f}",
        f"{first / 1024:.1f}",
        f"{every / 1024:.1f}",
        f"{each:.1f}",
        "" if each <= _WANTED_KIB else f"MORE THAN {_WANTED_KIB}",
    ]


def _down(address: Address, size: int) -> None:
    bulk.download(address, lambda count: count >= size, stall=bulk.STALL_SECONDS)


def _up(address: Address, size: int) -> None:
    bulk.upload(address, lambda count: count >= size, kind=bulk.SLOW_UP)


def _frames(address: Address, size: int) -> None:
    """Send frames without reading their echo before everything stands still for a while."""
    count = size // len(_FRAME)
    with dial(address) as client:
        sender = threading.Thread(target=_send_frames, args=(client, count), daemon=True)
        sender.start()
        time.sleep(bulk.STALL_SECONDS)
        with client.makefile("rb", buffering=MIB) as echo:
            for _ in range(count):
                if echo.readline() != _FRAME:
                    raise BenchError("an echo is not what was sent")
        sender.join()


def _send_frames(client: socket.socket, count: int) -> None:
    with contextlib.suppress(OSError):  # the reader tells
        for _ in range(count):
            client.sendall(_FRAME)


@dataclass(frozen=True)
class Way:
    """A transfer past a reader that stalls; it raises BulkError, BenchError or OSError."""

    name: str
    backend: backends.Start
    move: Move


_WAYS = (
    Way("down, client stalls", backends.bulk, _down),
    Way("up, backend stalls", backends.bulk, _up),
)
_POOLED_WAYS = (Way("frames, client stalls", backends.echo, _frames),)


def slow_transfer(name: str, way: Way, size: int) -> Line:
    """Measure `size` bytes going past a reader that stalls."""
    with _started(name, way.backend) as relay:
        assert relay.pid is not None
        before = _resident(relay)
        procfs.reset_peak(relay.pid)
        begun = time.monotonic()
        way.move(relay.address, size)
        elapsed = time.monotonic() - begun
        peak = procfs.peak_kib(relay.pid)
    growth = (peak - before) * 1024
    return [
        way.name,
        name,
        f"{size / MIB:g}",
        f"{elapsed:.1f}",
        f"{before / 1024:.1f}",
        f"{peak / 1024:.1f}",
        f"{growth / MIB:.1f}",
        "" if growth < _LARGEST_SHARE * size else "GREW",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.relay.memory", description=__doc__)
    add = parser.add_argument
    add(
        "--relay",
        choices=(BASELINE, NGINX, FASTCAR, POOLED),
        action="append",
        help=f"whom to measure; may be repeated ({FASTCAR} and {POOLED})",
    )
    count = checked(positive_int)
    add("--clients", type=count, default=2000, metavar="N", help="idle clients (2000)")
    add("--size", type=count, default=200, metavar="MIB", help="of a transfer (200)")
    add("--markdown", action="store_true", help="print markdown tables")
    return parser


def _tables(options: argparse.Namespace) -> Iterator[tuple[list[str], list[Line]]]:
    """Yield headings and lines of each table; the last cell tells what is wrong."""
    names: list[str] = options.relay or [FASTCAR, POOLED]
    headings = ["by", "clients", "start MiB", "first MiB", "all MiB", "KiB/client", ""]
    yield headings, [idle_clients(name, options.clients) for name in names]
    headings = ["way", "by", "MiB", "seconds", "before MiB", "peak MiB", "growth MiB", ""]
    yield (
        headings,
        [
            slow_transfer(name, way, options.size * MIB)
            for name in names
            for way in (_POOLED_WAYS if name == POOLED else _WAYS)
        ],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0 if everything arrived whole and memory stayed bounded."""
    options = _parser().parse_args(argv)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # relay and backend inherit it
    wrong = False
    try:
        with stop_signals():
            for headings, lines in _tables(options):
                print(grid(headings, lines, options.markdown) + "\n", flush=True)
                wrong |= any(line[-1] for line in lines)
    except (BenchError, bulk.BulkError, OSError) as error:
        print(f"bench.relay.memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.relay.memory: interrupted", file=sys.stderr)
        return 130
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
