"""Measure how a gateway's memory grows while much passes through it, up and down."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import procfs
from bench.arguments import checked, positive_int
from bench.fastcgi import bulk, gateways, php_fpm
from bench.fastcgi.bulk import Way
from bench.fastcgi.gateways import Gateway
from bench.processes import BenchError, stop_signals
from bench.report import grid
from bench.transfer import MIB, TransferError
from bench.wire import Connection

# For closing and freeing to be over with before memory is read.
_SETTLE_SECONDS = 0.5
# Of a transfer; what is held of it must not grow with it.
_LARGEST_SHARE = 0.2

HEADINGS = ["way", "by", "MiB", "seconds", "before MiB", "peak MiB", "growth MiB", ""]


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fastcgi.memory", description=__doc__)
    add = parser.add_argument
    add("--gateway", choices=names, default=names[-1], help=f"whom to measure ({names[-1]})")
    add(
        "--size",
        type=checked(positive_int),
        default=100,
        metavar="MIB",
        help="of a transfer (100)",
    )
    add("--markdown", action="store_true", help="print a markdown table")
    return parser  # fmt: skip


@contextlib.contextmanager
def _started(name: str, start: gateways.Start) -> Iterator[Gateway]:
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp"))
        )
        php = stack.enter_context(php_fpm.run_php_fpm(folder / "php", [name]))
        bulk.write_block(folder / "php")
        yield stack.enter_context(start(folder / name, php.sockets[name]))


def transfer(gateway: Gateway, way: Way, size: int) -> list[str]:
    """Move `size` bytes and return the line of the report."""
    client = Connection(gateway.address, "localhost", gateway.port)
    with contextlib.closing(client):
        way.move(client, MIB, False)  # brings the buffers every transfer needs
        time.sleep(_SETTLE_SECONDS)
        before = procfs.resident_kib(gateway.pid)
        procfs.reset_peak(gateway.pid)
        begun = time.monotonic()
        way.move(client, size, way.slow)
        elapsed = time.monotonic() - begun
    peak = procfs.peak_kib(gateway.pid)
    growth = (peak - before) * 1024
    return [
        way.name,
        gateway.name,
        f"{size / MIB:g}",
        f"{elapsed:.1f}",
        f"{before / 1024:.1f}",
        f"{peak / 1024:.1f}",
        f"{growth / MIB:.1f}",
        "" if growth < _LARGEST_SHARE * size else "GREW",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0 if everything arrived whole and memory stayed bounded."""
    starts = gateways.starts([php_fpm.CHILDREN - 1])
    options = _parser(list(starts)).parse_args(argv)
    name = options.gateway
    lines = []
    try:
        with stop_signals():
            # Started anew for each line, so that none has left memory behind.
            for way in bulk.WAYS:
                with _started(name, starts[name]) as gateway:
                    lines.append(transfer(gateway, way, options.size * MIB))
    except (BenchError, TransferError, OSError, http.client.HTTPException) as error:
        print(f"bench.fastcgi.memory: {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.fastcgi.memory: interrupted", file=sys.stderr)
        return 130
    print(grid(HEADINGS, lines, options.markdown))
    return 1 if any(line[-1] for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
