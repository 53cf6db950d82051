"""Compare relays between clients and a TCP backend: none, HAProxy, nginx, fastcar."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import command, setting
from bench.measure import Pace
from bench.processes import BenchError, require
from bench.relay import report, targets
from bench.relay.measure import Measurement
from bench.relay.relays import FASTCAR, POOL, POOLED
from bench.relay.report import Row
from bench.relay.scenarios import select
from bench.report import as_json

_FULL = Pace(rounds=5, duration=0.7, warm_up=0.2)
_QUICK = Pace(rounds=1, duration=0.15, warm_up=0.05)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    command.add_options(parser, select, _FULL, examples="small-*,down-1", of="relay")
    return parser  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison. Returns 0 if fastcar started and failed nothing."""
    return command.run(_parser(), argv, _compare)


def _compare(options: argparse.Namespace) -> int:
    pace = command.chosen_pace(options, _FULL, _QUICK)
    with tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp") as folder:
        run = Measurement(Path(folder), pace, command.progress)
        results = run.run(options.scenarios)
    command.progress("")
    rows = report.summarise(results)
    about = _about(pace, list(run.missing.values()))
    print(command.outcome(about, _tables(rows, options.markdown), options.markdown))
    if options.out:
        data = {"about": about, "rows": as_json(rows), "slices": report.slices_json(results)}
        command.write(options.out, command.outcome(about, _tables(rows, True), True), data)
    ours = {FASTCAR, POOLED}
    failed = any(row.failed for row in rows if row.relay in ours)
    return 1 if failed or ours & set(run.missing) else 0


def _about(pace: Pace, missing: list[str]) -> list[str]:
    others = [
        _version(program, package, option)
        for program, package, option in (
            ("haproxy", "haproxy", "-v"),
            ("redis-server", "redis-server", "--version"),
        )
    ]
    return [
        setting.machine(),
        ", ".join([*setting.versions(), *filter(None, others)]),
        f"{pace.rounds} rounds of {pace.duration:g} s after {pace.warm_up:g} s;"
        f" {POOLED}: --pool {POOL}",
        *missing,
    ]


def _version(program: str, package: str, option: str) -> str:
    """Return the beginning of what a program says of itself; empty: it is not there."""
    try:
        argv = [require(program, package), option]
    except BenchError:
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:3])


def _tables(rows: list[Row], markdown: bool) -> list[str]:
    tables = [report.table(rows, markdown)]
    if targets.lines(rows):
        tables.append(targets.table(rows, markdown))
    return tables


if __name__ == "__main__":
    sys.exit(main())
