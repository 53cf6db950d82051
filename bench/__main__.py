"""Compare the ways to reach an origin: direct, nginx, fastcar and any other proxy."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import certificates, chart, command, contestants, measure, report, setting
from bench.arguments import checked
from bench.contestants import Contestant
from bench.jobs import Generator
from bench.measure import Pace
from bench.origin import Origin, run_origin
from bench.processes import BenchError
from bench.scenarios import select

_FULL = Pace(rounds=5, duration=0.7, warm_up=0.2)
_QUICK = Pace(rounds=2, duration=0.15, warm_up=0.05)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    command.add_options(
        parser,
        select,
        _FULL,
        examples="http-*,https-fresh-16",
        of="contestant",
        written="results.md, results.json and chart.png",
    )
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
    return parser  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison. Returns 0 if every contestant answered every scenario."""
    return command.run(_parser(), argv, _compare)


def _compare(options: argparse.Namespace) -> int:
    pace = command.chosen_pace(options, _FULL, _QUICK)
    with contextlib.ExitStack() as stack:
        # UNIX socket paths are short: not wherever TMPDIR points to.
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp"))
        )
        generator = stack.enter_context(contextlib.closing(Generator(options.client)))
        files = certificates.load_or_create((options.certificates or folder).resolve())
        origin = stack.enter_context(run_origin(folder / "origin", files))
        entered, missing = _enter(stack, folder, origin, options.extra)
        results = measure.run(options.scenarios, entered, origin, generator, pace, command.progress)
        command.progress("")
    rows = report.summarise(results)
    about = setting.describe(options.client, pace, missing)
    print(command.outcome(about, [report.table(rows, options.markdown)], markdown=False))
    if options.out:
        text = command.outcome(about, [report.table(rows, markdown=True)], markdown=True)
        data = {"about": about, "rows": report.as_json(rows), "slices": report.slices_json(results)}
        command.write(options.out, text, data)
        if not chart.draw(rows, options.out / "chart.png"):
            print("bench: no chart without matplotlib (the extra 'bench')", file=sys.stderr)
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


if __name__ == "__main__":
    sys.exit(main())
