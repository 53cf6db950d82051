"""
The command line of C{python -m fastcar_tw.compare}.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from fastcar_tw.compare.ways import Sockets

_T = TypeVar("_T")
#: What matplotlib is asked for.
CHART_SUFFIXES = (".png", ".svg")


@dataclass(frozen=True)
class Options:
    """
    What is to be compared.

    @ivar url: None with C{rtt}, which has an origin of its own.
    @ivar rtt: round-trip time of the local link, in seconds; None without one.
    @ivar requests: how many are counted each way.
    @ivar chart: the file; empty: none.
    @ivar sockets: of a fastcar that runs already; None: one is started.
    """

    url: str | None
    rtt: float | None
    requests: int
    chart: str
    sockets: Sockets | None


def parse(arguments: Sequence[str]) -> Options:
    """
    @raise SystemExit: for a mistake, with status 2, after a line that names the option.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    mistake = _mistake(given)
    if mistake is not None:
        parser.error(mistake)
    sockets = None
    if given.socket is not None:
        sockets = Sockets(given.socket, given.https_socket, given.ca)
    rtt = None if given.rtt is None else given.rtt / 1000
    return Options(given.url, rtt, given.requests, given.chart, sockets)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastcar_tw.compare",
        description="Compare what a PHP request takes directly and through fastcar.",
    )
    add = parser.add_argument
    add("url", nargs="?", type=_checked(_url), metavar="URL", help="what PHP asks for")
    add(
        "--requests",
        type=_checked(_requests),
        default=100,
        metavar="N",
        help="requests each way, besides the first, which is not counted (default 100)",
    )
    add(
        "--rtt",
        type=_checked(_milliseconds),
        metavar="MS",
        help="no URL: a local origin, HTTP and HTTPS, behind a round trip of so many milliseconds",
    )
    add(
        "--chart",
        type=_checked(_chart),
        default="compare.png",
        metavar="FILE",
        help="where to draw the latencies, .png or .svg, if matplotlib is there; '' draws none "
        "(default compare.png)",
    )
    add(
        "--socket",
        type=_checked(_existing),
        metavar="PATH",
        help="socket of a fastcar that runs already (default: one is started)",
    )
    add("--https-socket", type=_checked(_existing), metavar="PATH", help="its https socket")
    add("--ca", type=_checked(_existing), metavar="FILE", help="the file of its CA")
    return parser


def _mistake(given: argparse.Namespace) -> str | None:
    """
    What does not go together.
    """
    if given.rtt is None and given.url is None:
        return "expected a URL, or --rtt"
    if given.rtt is not None and given.url is not None:
        return "--rtt: expected no URL with it, it has an origin of its own"
    if given.rtt is not None and given.socket is not None:
        return "--socket: expected no --rtt with it, whose origin only a fastcar of its own trusts"
    if given.socket is None and (given.https_socket or given.ca):
        return f"{'--https-socket' if given.https_socket else '--ca'}: expected --socket with it"
    https = given.url is not None and given.url.startswith("https:")
    if https and given.socket and not (given.ca or given.https_socket):
        return "--socket: expected --ca or --https-socket with it for an https URL"
    return None


def _url(text: str) -> str:
    expected = ValueError("expected http://HOST[:PORT][/PATH] or https://..., without a user")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise expected from None
    printable = text.isascii() and text.isprintable() and " " not in text
    if parts.scheme not in ("http", "https") or not parts.hostname or not printable:
        raise expected
    # The URL is shown, and a password must not be.
    if "@" in parts.netloc or port == 0:
        raise expected
    return parts._replace(fragment="").geturl()


def _requests(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise ValueError(f"got {text!r}, expected a whole number from 1 to 100000")
    return int(text)


def _milliseconds(text: str) -> float:
    expected = ValueError(f"got {text!r}, expected milliseconds, above 0 and up to 2000")
    try:
        value = float(text)
    except ValueError:
        raise expected from None
    if not 0 < value <= 2000:
        raise expected
    return value


def _chart(text: str) -> str:
    if text and not text.endswith(CHART_SUFFIXES):
        raise ValueError(f"got {text!r}, expected a file that ends with .png or .svg")
    if text and not os.path.isdir(os.path.dirname(text) or "."):
        raise ValueError(f"got {text!r}, expected a file in a directory that exists")
    return text


def _existing(text: str) -> str:
    if not os.access(text, os.R_OK):
        raise ValueError(f"got {text!r}, expected a path that exists and may be read")
    return os.path.abspath(text)


def _checked(convert: Callable[[str], _T]) -> Callable[[str], _T]:
    """
    Let argparse show a ValueError's own text.
    """

    def checked(text: str) -> _T:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked
