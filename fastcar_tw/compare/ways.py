"""
The ways to an origin, as what PHP sets for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastcar_tw.compare.client import CurlOptions


@dataclass(frozen=True)
class Sockets:
    """
    Where a fastcar listens, and the file of its CA; None for what is not there.
    """

    plain: str
    https: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True)
class Way:
    """
    One way: what it is called, and the options of curl.
    """

    name: str
    options: CurlOptions


def ways_to(url: str, sockets: Sockets, direct: CurlOptions) -> list[Way]:
    """
    The ways to a URL, the direct one first, which no proxy of the environment's comes into.

    @param direct: further options for that one.
    """
    found = [Way("direct", {"URL": url, "PROXY": "", **direct})]
    https = url.startswith("https:")
    through = {"URL": url, "UNIX_SOCKET_PATH": sockets.plain}
    if not https:
        found.append(Way("fastcar", through))
    elif sockets.ca_file is not None:
        found.append(Way("fastcar, TLS on socket", {**through, "CAINFO": sockets.ca_file}))
    if https and sockets.https is not None:
        plain = url.replace("https:", "http:", 1)
        options = {"URL": plain, "UNIX_SOCKET_PATH": sockets.https}
        found.append(Way("fastcar, https socket", options))
    return found
