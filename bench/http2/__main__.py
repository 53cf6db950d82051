"""Compare fastcar with HTTP/1.1 and with HTTP/2 to the origin."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from bench import certificates, command, setting
from bench.arguments import checked, positive_int
from bench.http2 import report
from bench.http2.measure import Measurement
from bench.http2.origin import run_origin
from bench.http2.proxies import BASELINE, MODES
from bench.http2.scenarios import CLIENT_COUNTS, DOWNLOAD, select
from bench.measure import Pace
from bench.report import as_json

_FULL = Pace(rounds=5, duration=1.0, warm_up=0.3)
_QUICK = Pace(rounds=1, duration=0.3, warm_up=0.1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.http2", description=__doc__)
    add = parser.add_argument
    command.add_options(parser, select, _FULL, examples="warm-*,cold-200", of="fastcar")
    add(
        "--http2",
        type=checked(_modes),
        default=[BASELINE, "always"],
        metavar="MODE[,MODE]",
        help=f"fastcar's --http2, a fastcar for each (default {BASELINE},always)",
    )
    add(
        "--connections",
        type=checked(positive_int),
        default=CLIENT_COUNTS[-1],
        metavar="N",
        help="connections a fastcar may have to the origin, in use or idle"
        f" (default {CLIENT_COUNTS[-1]})",
    )
    return parser  # fmt: skip


def _modes(text: str) -> list[str]:
    modes = text.split(",")
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"{mode!r}: expected some of {', '.join(MODES)}")
    return modes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison. Returns 0 if nothing failed."""
    return command.run(_parser(), argv, _compare)


def _compare(options: argparse.Namespace) -> int:
    pace = command.chosen_pace(options, _FULL, _QUICK)
    with tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp") as name:
        folder = Path(name)
        files = certificates.create(folder)
        with run_origin(folder / "origin", files, options.http2, DOWNLOAD) as origin:
            run = Measurement(folder, origin, options.connections, pace, command.progress)
            results = run.run(options.scenarios)
    command.progress("")
    rows = report.summarise(results)
    about = _about(pace, options.connections)
    table = report.table(rows, options.markdown)
    print(command.outcome(about, [table], options.markdown))
    if options.out:
        data = {"about": about, "rows": as_json(rows), "slices": report.slices_json(results)}
        text = command.outcome(about, [report.table(rows, markdown=True)], markdown=True)
        command.write(options.out, text, data)
    return 1 if any(row.failed for row in rows) else 0


def _about(pace: Pace, connections: int) -> list[str]:
    return [
        setting.machine(),
        ", ".join([*setting.versions(), f"h2 {metadata.version('h2')}"]),
        f"{pace.rounds} rounds of {pace.duration:g} s after {pace.warm_up:g} s;"
        f" at most {connections} connections to the origin",
    ]


if __name__ == "__main__":
    sys.exit(main())
