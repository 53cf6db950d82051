"""Compare the gateways from HTTP to php-fpm: nginx, nginx with kept connections, fastcar."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import command, setting
from bench.arguments import checked, positive, positive_int
from bench.fastcgi import gateways, php_fpm, report, targets
from bench.fastcgi.gateways import FASTCAR, Gateway, Start
from bench.fastcgi.measure import Measurement
from bench.fastcgi.report import Row
from bench.fastcgi.scenarios import select
from bench.measure import Pace
from bench.processes import BenchError
from bench.report import as_json

_FULL = Pace(rounds=5, duration=1.0, warm_up=0.3)
_QUICK = Pace(rounds=1, duration=0.2, warm_up=0.1)
_TIMEOUT = 5.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fastcgi", description=__doc__)
    add = parser.add_argument
    command.add_options(parser, select, _FULL, examples="hello,5*", of="gateway")
    add(
        "--timeout",
        type=checked(positive),
        default=_TIMEOUT,
        metavar="SECONDS",
        help=f"when a request has failed (default {_TIMEOUT:g})",
    )
    add(
        "--connections",
        type=checked(_connections),
        default=[php_fpm.CHILDREN - 1, php_fpm.CHILDREN],
        metavar="N[,N]",
        help="fastcar's --connections, a fastcar for each"
        f" (default {php_fpm.CHILDREN - 1},{php_fpm.CHILDREN}, of {php_fpm.CHILDREN} children)",
    )
    return parser  # fmt: skip


def _connections(text: str) -> list[int]:
    return [positive_int(each) for each in text.split(",")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison. Returns 0 if fastcar started and answered every request."""
    return command.run(_parser(), argv, _compare)


def _compare(options: argparse.Namespace) -> int:
    pace = command.chosen_pace(options, _FULL, _QUICK)
    starts = gateways.starts(options.connections)
    with contextlib.ExitStack() as stack:
        # UNIX socket paths are short: not wherever TMPDIR points to.
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-", dir="/tmp"))
        )
        php = stack.enter_context(php_fpm.run_php_fpm(folder / "php", list(starts)))
        entered, missing = _enter(stack, folder, php.sockets, starts)
        run = Measurement(entered, php.pid, pace, options.timeout, command.progress)
        results = run.run(options.scenarios)
        command.progress("")
    rows = report.summarise(results)
    about = _about(pace, options.timeout, missing)
    print(command.outcome(about, _tables(rows, options.markdown), options.markdown))
    if options.out:
        data = {"about": about, "rows": as_json(rows), "slices": report.slices_json(results)}
        command.write(options.out, command.outcome(about, _tables(rows, True), True), data)
    failed = any(row.failed or row.failure for row in rows if row.gateway.startswith(FASTCAR))
    return 1 if missing or failed else 0


def _enter(
    stack: contextlib.ExitStack, folder: Path, sockets: dict[str, Path], starts: dict[str, Start]
) -> tuple[list[Gateway], list[str]]:
    """Start the gateways; return them, and a line for each that did not start."""
    entered, missing = [], []
    for name, start in starts.items():
        try:
            entered.append(stack.enter_context(start(folder / name, sockets[name])))
        except BenchError as error:
            missing.append(f"{name} did not start: {error}")
            print(f"bench.fastcgi: {missing[-1]}", file=sys.stderr)
    return entered, missing


def _about(pace: Pace, timeout: float, missing: list[str]) -> list[str]:
    return [
        setting.machine(),
        ", ".join([*setting.versions(), php_fpm.version()]),
        f"{pace.rounds} rounds of {pace.duration:g} s after {pace.warm_up:g} s;"
        f" {php_fpm.CHILDREN} children; failed after {timeout:g} s",
        *missing,
    ]


def _tables(rows: list[Row], markdown: bool) -> list[str]:
    tables = [report.table(rows, markdown)]
    if targets.lines(rows):
        tables.append(targets.table(rows, markdown))
    return tables


if __name__ == "__main__":
    sys.exit(main())
