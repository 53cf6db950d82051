"""What the command lines of the benchmarks share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.arguments import checked, positive, positive_int
from bench.measure import Pace
from bench.processes import BenchError, stop_signals


def add_options(
    parser: argparse.ArgumentParser,
    select: Callable[[str], object],
    full: Pace,
    *,
    examples: str,
    of: str,
    written: str = "results.md and results.json",
) -> None:
    """Add what every comparison is told.

    `select`: the scenarios of some patterns; `of`: what is compared; `full`: the usual pace.
    """
    add = parser.add_argument
    add(
        "--scenarios",
        type=checked(select),
        default="*",
        metavar="PATTERNS",
        help=f"comma-separated shell patterns, such as '{examples}' (default: all)",
    )
    add(
        "--rounds",
        type=checked(positive_int),
        metavar="N",
        help=f"slices of each {of} in each scenario (default {full.rounds})",
    )
    add(
        "--slice",
        type=checked(positive),
        metavar="SECONDS",
        help=f"length of a slice (default {full.duration:g})",
    )
    add("--quick", action="store_true", help="a few short slices: shows that it works, no more")
    add("--markdown", action="store_true", help="print markdown tables")
    add("--out", type=Path, metavar="DIR", help=f"write {written} there")


def chosen_pace(options: argparse.Namespace, full: Pace, quick: Pace) -> Pace:
    """The pace that the options ask for."""
    usual = quick if options.quick else full
    return Pace(options.rounds or usual.rounds, options.slice or usual.duration, usual.warm_up)


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    compare: Callable[[argparse.Namespace], int],
) -> int:
    """Run a comparison; return the exit status, and say in one line why it could not be done."""
    options = parser.parse_args(argv)
    name = parser.prog.removeprefix("python -m ")
    try:
        with stop_signals():
            return compare(options)
    except BenchError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


def progress(text: str) -> None:
    """Show on a terminal what is being done; an empty text: nothing any more."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def outcome(about: Sequence[str], tables: Sequence[str], markdown: bool) -> str:
    """The text of what came out: what was run, and tables."""
    head = "".join(f"{'- ' if markdown else ''}{line}\n" for line in about)
    return "\n\n".join([f"{head}\n{tables[0]}", *tables[1:]])


def write(folder: Path, text: str, data: Any) -> None:
    """Write what came out to a folder: for people, and for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(text + "\n")
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n")
