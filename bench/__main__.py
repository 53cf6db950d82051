"""Compare the ways to reach an origin: direct, nginx, fastcar and any other proxy."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import certificates, chart, contestants, measure, report, setting
from bench.arguments import checked, positive, positive_int
from bench.contestants import Contestant
from bench.jobs import Generator
from bench.measure import Pace, Result
from bench.origin import Origin, run_origin
from bench.processes import BenchError, stop_signals
from bench.report import Row
from bench.scenarios import select

_FULL = Pace(rounds=5, duration=0.7, warm_up=0.2)
_QUICK = Pace(rounds=2, duration=0.15, warm_up=0.05)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add(
        "--scenarios",
        type=checked(select),
        default="*",
        metavar="PATTERNS",
        help="comma-separated shell patterns, such as 'http-*,https-fresh-16' (default: all)",
    )
    add(
        "--rounds",
        type=checked(positive_int),
        metavar="N",
        help=f"slices of each contestant in each scenario (default {_FULL.rounds})",
    )
    add(
        "--slice",
        type=checked(positive),
        metavar="SECONDS",
        help=f"length of a slice (default {_FULL.duration})",
    )
    add("--quick", action="store_true", help="a few short slices: shows that it works, no more")
    add(
        "--client",
        choices=("lean", "php"),
        default="php",
        help="the load generator (default php)",
    )
    add(
        "--extra",
        type=checked(contestants.extra),
        action="append",
        default=[],
        metavar="NAME=SOCKET:PID[:CA]",
        help="another proxy that is running; without CA its certificate is not verified",
    )
    add(
        "--certificates",
        type=Path,
        metavar="DIR",
        help="keep the CA there, for an extra proxy to trust DIR/ca.pem (default: a new CA)",
    )
    add("--markdown", action="store_true", help="print a markdown table")
    add(
        "--out", type=Path, metavar="DIR", help="write results.md, results.json and chart.png there"
    )
    return parser  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison. Returns 0 if every contestant answered every scenario."""
    options = _parser().parse_args(argv)
    try:
        with stop_signals():
            return _compare(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


def _compare(options: argparse.Namespace) -> int:
    quickness = _QUICK if options.quick else _FULL
    pace = Pace(
        options.rounds or quickness.rounds, options.slice or quickness.duration, quickness.warm_up
    )
    with contextlib.ExitStack() as stack:
        # UNIX socket paths are short: not wherever TMPDIR points to.
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp"))
        )
        generator = stack.enter_context(contextlib.closing(Generator(options.client)))
        files = certificates.load_or_create((options.certificates or folder).resolve())
        origin = stack.enter_context(run_origin(folder / "origin", files))
        entered, missing = _enter(stack, folder, origin, options.extra)
        results = measure.run(options.scenarios, entered, origin, generator, pace, _progress)
        _progress("")
    rows = report.summarise(results)
    about = setting.describe(options.client, pace, missing)
    print("\n".join(about) + "\n\n" + report.table(rows, options.markdown))
    if options.out:
        _write(options.out, about, rows, results)
    return 1 if missing or any(each.failure for each in results) else 0


def _enter(
    stack: contextlib.ExitStack, folder: Path, origin: Origin, extras: list[Contestant]
) -> tuple[list[Contestant], list[str]]:
    """Start the contestants; return them, and a line for one that did not start."""
    entered = [
        contestants.direct(origin),
        stack.enter_context(contestants.nginx(folder / "nginx", origin)),
    ]
    missing = []
    try:
        entered.append(stack.enter_context(contestants.fastcar(folder / "fastcar", origin)))
    except BenchError as error:
        missing.append(f"fastcar did not start: {error}")
        print(f"bench: {missing[0]}", file=sys.stderr)
    return entered + extras, missing


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _write(folder: Path, about: list[str], rows: list[Row], results: list[Result]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    listed = "".join(f"- {line}\n" for line in about)
    (folder / "results.md").write_text(f"{listed}\n{report.table(rows, markdown=True)}\n")
    data = {"about": about, "rows": report.as_json(rows), "slices": report.slices_json(results)}
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    if not chart.draw(rows, folder / "chart.png"):
        print("bench: no chart without matplotlib (the extra 'bench')", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
