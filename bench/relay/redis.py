"""redis-benchmark as a load generator: C, like the relays it is to load.

It ends at an answer that is an error, and waits for ever for one that does not come.
"""

from __future__ import annotations

import contextlib
import csv
import resource
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.measure import Pace
from bench.origin import LOOPBACK
from bench.processes import require
from bench.relay.generators import Load, Run
from bench.wire import TIMEOUT
from bench.workers import LoadError

# Of the warm-up, whose speed says how many requests a slice needs.
_WARM_UP_ROUND_TRIPS = 50


@dataclass(frozen=True)
class RedisCommands:
    """A test of redis-benchmark, with `depth` commands at a time on each kept connection."""

    test: str
    clients: int
    depth: int
    unit: str = "req"

    @contextlib.contextmanager
    def generator(self) -> Iterator[Run]:
        """See generators.Kind."""
        program = require("redis-benchmark", "redis-tools")

        def run(port: int, pace: Pace, at_start: Callable[[], None]) -> Load:
            def benchmark(requests: int) -> Load:
                return _benchmark(self._argv(program, port, requests), requests)

            warm = benchmark(_WARM_UP_ROUND_TRIPS * self.clients * self.depth)
            requests = round(warm.amount / warm.elapsed * pace.duration)
            at_start()
            return benchmark(requests)

        yield run

    def _argv(self, program: str, port: int, requests: int) -> list[str]:
        options = {
            "-h": LOOPBACK,
            "-p": port,
            "-c": self.clients,
            "-P": self.depth,
            "-n": requests,
            "-t": self.test,
        }
        given = [text for name, value in options.items() for text in (name, str(value))]
        return [program, *given, "--csv"]


def _benchmark(argv: list[str], requests: int) -> Load:
    before = _children_cpu()
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise LoadError(f"redis-benchmark: not done after {TIMEOUT:.0f} s") from None
    found = list(csv.DictReader(done.stdout.splitlines()))
    if done.returncode or len(found) != 1:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise LoadError(f"redis-benchmark: {output[-1] if output else 'no result'}")
    return Load(
        amount=requests,
        # By its own clock, which its start is not part of.
        elapsed=requests / float(found[0]["rps"]),
        cpu=_children_cpu() - before,
        processes=1,
        p50=float(found[0]["p50_latency_ms"]) * 1000,
        p99=float(found[0]["p99_latency_ms"]) * 1000,
    )


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
