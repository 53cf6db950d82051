"""
The command line of C{twistd fastcar}: text in, L{Config} out.

Only the conversion from text is done here.  Text that does not convert goes to L{Config} as it is,
which refuses it in its own words; so there is one message for each rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from twisted.python import usage

from fastcar_tw.checks import ConfigError, option_name
from fastcar_tw.config import Config

__all__ = ["Options"]

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Config)}


def _whole_number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else text


def _number(text: str) -> float | str:
    # A whole number stays one, to be shown in an error as it was typed.
    return float(text) if re.fullmatch(r"[0-9]*\.[0-9]+", text) else _whole_number(text)


def _octal(text: str) -> int | str:
    return int(text, 8) if re.fullmatch(r"(0o)?[0-7]{1,6}", text) else text


def _same(text: str) -> str:
    return text


# Field, conversion, help. Defaults come from Config; usage prints those that are not None.
_PARAMETERS = (
    ("unix", _same, "Path of the socket to listen on."),
    ("https_unix", _same, "Path of a socket where plain HTTP is for https origins."),
    ("cert", _same, "PEM certificate chain to show to clients [default: from a local CA]"),
    ("key", _same, "PEM private key of --cert."),
    ("ca_dir", _same, "Directory of the local CA [default: XDG state; root: /var/lib/fastcar]"),
    ("socket_mode", _octal, "Permissions of the socket, octal."),
    ("socket_group", _same, "Group of the socket [default: that of the process]"),
    ("connect_timeout", _number, "Seconds to connect to an origin, with TLS."),
    ("response_timeout", _number, "Seconds to the first byte of a response."),
    ("stall_timeout", _number, "Seconds a body may stand still."),
    ("client_timeout", _number, "Seconds for a request head, for a TLS handshake."),
    ("keepalive_timeout", _number, "Seconds a client connection may be idle."),
    ("idle_timeout", _number, "Seconds an upstream connection may be idle."),
    ("max_idle_per_origin", _whole_number, "Idle upstream connections per origin."),
    ("max_connections_per_origin", _whole_number, "Upstream connections per origin."),
    ("max_connections", _whole_number, "Upstream connections in all."),
    ("max_queue", _whole_number, "Requests that may wait for a connection."),
    ("queue_timeout", _number, "Seconds a request may wait to be let through."),
    ("max_age", _number, "Seconds after which an upstream connection is replaced."),
    ("fail_fast_after", _whole_number, "Failed connects in a row to fail fast after; 0: never."),
    ("dns_ttl", _number, "Seconds the addresses of a name are used."),
    ("drain_timeout", _number, "Seconds for requests in flight at shutdown."),
    ("proxy", _same, "URL of the proxy to reach origins through [default: environment]"),
    ("no_proxy", _same, "Hosts to reach without a proxy, comma-separated [default: environment]"),
    ("via", _same, "Name to add to the Via field [default: no Via]"),
)


def _as_text(field: str) -> str | None:
    """
    Return a default as it would be typed.
    """
    value = _DEFAULTS[field]
    if field == "socket_mode":
        return f"{value:o}"
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)


class Options(usage.Options):
    """
    Parses the arguments behind C{twistd fastcar}.

    L{parseOptions} is what twistd calls: an error ends the process with one line on stderr and
    exit status 1.  L{parse} raises C{usage.UsageError} instead.
    """

    synopsis = "[options]"
    optParameters = [
        [option_name(field)[2:], None, _as_text(field), text] for field, _, text in _PARAMETERS
    ]
    optFlags = [
        ["allow-remote", None, "Let --listen be open to other machines."],
        ["verbose", None, "Log every exchange, not only the failures."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        self["tunnel"] = []
        self["trust"] = []
        self["insecure-origin"] = []
        self["prewarm"] = []
        self["resolve"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Further place to listen, as tcp:3128:interface=127.0.0.1; repeatable."""
        self["listen"].append(endpoint)

    def opt_tunnel(self, text: str) -> None:
        """[HOST:]PORT that tunnels relay unseen; repeatable."""
        self["tunnel"].append(text)

    def opt_trust(self, path: str) -> None:
        """PEM file of CAs to trust upstream besides the system's; repeatable."""
        self["trust"].append(path)

    def opt_insecure_origin(self, origin: str) -> None:
        """HOST[:PORT] whose certificate is not verified; repeatable."""
        self["insecure-origin"].append(origin)

    def opt_prewarm(self, url: str) -> None:
        """http[s]://HOST[:PORT][=COUNT] to keep connections open to; repeatable."""
        self["prewarm"].append(url)

    def opt_resolve(self, text: str) -> None:
        """HOST:PORT:ADDRESS[,ADDRESS...] to use instead of a look-up; repeatable."""
        self["resolve"].append(text)

    def opt_version(self) -> None:
        """Display the version of fastcar and exit."""
        from fastcar_tw import __version__

        print(f"fastcar {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *args: str) -> None:
        """
        @raise UsageError: for anything that is not an option.
        """
        if args:
            raise usage.UsageError(f"got {args[0]!r}, expected only options")

    def postOptions(self) -> None:
        """
        Check the values.

        @raise UsageError: for one that L{Config} refuses.
        """
        try:
            self.to_config()
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None

    def parse(self, arguments: Sequence[str]) -> Config:
        """
        Parse the arguments.

        @raise UsageError: for any mistake, with a one-line message.
        """
        super().parseOptions(arguments)
        return self.to_config()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the arguments for twistd.

        @raise SystemExit: for any mistake, with one line instead of a usage page.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            # getopt's own messages repeat what was typed, line breaks included.
            raise SystemExit(f"fastcar: {' '.join(str(error).split())}") from None

    def to_config(self) -> Config:
        """
        @return: the configuration.
        @raise ConfigError: if a value is not usable.
        """
        values: dict[str, Any] = {
            field: None if (text := self[option_name(field)[2:]]) is None else convert(text)
            for field, convert, _ in _PARAMETERS
        }
        return Config(
            listen=tuple(self["listen"]),
            allow_remote=bool(self["allow-remote"]),
            tunnel=tuple(self["tunnel"]),
            trust=tuple(self["trust"]),
            insecure_origins=tuple(self["insecure-origin"]),
            prewarm=tuple(self["prewarm"]),
            resolve=tuple(self["resolve"]),
            verbose=bool(self["verbose"]),
            **values,
        )
