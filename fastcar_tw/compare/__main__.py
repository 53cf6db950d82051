"""
Compare what a PHP request takes directly and through fastcar.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence

from fastcar_tw.compare import CompareError, chart, report
from fastcar_tw.compare.client import Client, CurlOptions, php_client
from fastcar_tw.compare.fastcar import own_fastcar
from fastcar_tw.compare.link import local_link
from fastcar_tw.compare.options import Options, parse
from fastcar_tw.compare.processes import stop_signals
from fastcar_tw.compare.report import Comparison
from fastcar_tw.compare.sampling import ProgressBar, sample
from fastcar_tw.compare.ways import Sockets, ways_to


def main(arguments: Sequence[str] | None = None) -> int:
    """
    @return: the exit status: 0, 1 after an error, 130 after Ctrl-C.
    @raise SystemExit: for a mistake in the command line.
    """
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        with stop_signals():
            about, comparisons = _compare(options)
        _show(options, about, comparisons)
        return 0
    except CompareError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("compare: interrupted", file=sys.stderr)
        return 130


def _compare(options: Options) -> tuple[str, list[Comparison]]:
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(php_client())
        # The paths of sockets are short: not wherever TMPDIR points to.
        made = tempfile.TemporaryDirectory(prefix="fastcar-", dir="/tmp")
        folder = stack.enter_context(made)
        if options.rtt is None:
            assert options.url is not None
            sockets = options.sockets or stack.enter_context(own_fastcar(folder, []))
            return client.about, [_one(client, options, options.url, sockets, {})]
        link = stack.enter_context(local_link(options.rtt, os.path.join(folder, "origin")))
        resolve = [word for each in link.resolve for word in ("--resolve", each)]
        sockets = stack.enter_context(own_fastcar(folder, ["--trust", link.ca_file, *resolve]))
        direct: CurlOptions = {"CAINFO": link.ca_file, "RESOLVE": link.resolve}
        return client.about, [_one(client, options, url, sockets, direct) for url in link.urls]


def _one(
    client: Client, options: Options, url: str, sockets: Sockets, direct: CurlOptions
) -> Comparison:
    progress = ProgressBar(sys.stderr, url.partition(":")[0])
    try:
        ways = ways_to(url, sockets, direct)
        series = sample(client.request, ways, options.requests, progress)
    finally:
        progress.clear()
    return Comparison(url, options.rtt, series)


def _show(options: Options, about: str, comparisons: Sequence[Comparison]) -> None:
    print(report.preface(about, options.rtt is not None))
    for each in comparisons:
        print(f"\n{each.title}\n{report.table(each)}")
        for note in report.notes(each):
            print(f"statuses of {note}")
    if not options.chart:
        return
    try:
        drawn = chart.draw(comparisons, options.chart)
    except OSError as error:
        raise CompareError(f"--chart: {options.chart}: {error.strerror}") from None
    if drawn:
        print(f"\nchart: {options.chart}")
    else:
        print(
            "compare: no chart without matplotlib (the extra 'compare'): pip install matplotlib",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
