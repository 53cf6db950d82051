"""Compare relays between clients and a TCP backend: none, HAProxy, nginx, fastcar."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import setting
from bench.arguments import checked, positive, positive_int
from bench.measure import Pace
from bench.processes import BenchError, require, stop_signals
from bench.relay import report, targets
from bench.relay.measure import Measurement, Result
from bench.relay.relays import FASTCAR, POOL, POOLED
from bench.relay.report import Row
from bench.relay.scenarios import select

_FULL = Pace(rounds=5, duration=0.7, warm_up=0.2)
_QUICK = Pace(rounds=1, duration=0.15, warm_up=0.05)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    add = parser.add_argument
    add(
        "--scenarios",
        type=checked(select),
        default="*",
        metavar="PATTERNS",
        help="comma-separated shell patterns, such as 'small-*,down-1' (default: all)",
    )
    add(
        "--rounds",
        type=checked(positive_int),
        metavar="N",
        help=f"slices of each relay in each scenario (default {_FULL.rounds})",
    )
    add(
        "--slice",
        type=checked(positive),
        metavar="SECONDS",
        help=f"length of a slice (default {_FULL.duration:g})",
    )
    add("--quick", action="store_true", help="one short slice each: shows that it works, no more")
    add("--markdown", action="store_true", help="print markdown tables")
    add("--out", type=Path, metavar="DIR", help="write results.md and results.json there")
    return parser  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison. Returns 0 if fastcar started and failed nothing."""
    options = _parser().parse_args(argv)
    try:
        with stop_signals():
            return _compare(options)
    except BenchError as error:
        print(f"bench.relay: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.relay: interrupted", file=sys.stderr)
        return 130


def _compare(options: argparse.Namespace) -> int:
    quickness = _QUICK if options.quick else _FULL
    pace = Pace(
        options.rounds or quickness.rounds, options.slice or quickness.duration, quickness.warm_up
    )
    with tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp") as folder:
        run = Measurement(Path(folder), pace, _progress)
        results = run.run(options.scenarios)
    _progress("")
    rows = report.summarise(results)
    about = _about(pace, list(run.missing.values()))
    print(_text(about, rows, markdown=options.markdown))
    if options.out:
        _write(options.out, _text(about, rows, markdown=True), about, rows, results)
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


def _text(about: list[str], rows: list[Row], markdown: bool) -> str:
    head = "".join(f"{'- ' if markdown else ''}{line}\n" for line in about)
    parts = [head, report.table(rows, markdown)]
    if targets.lines(rows):
        parts.append("\n" + targets.table(rows, markdown))
    return "\n".join(parts)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _write(
    folder: Path, text: str, about: list[str], rows: list[Row], results: list[Result]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(text + "\n")
    data = {"about": about, "rows": report.as_json(rows), "slices": report.slices_json(results)}
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
