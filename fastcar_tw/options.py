"""
The command line of C{twistd fastcar}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.python import usage

from fastcar_tw.config import Config
from fastcar_tw.config_options import (
    ConfigOptions,
    as_typed,
    number,
    octal,
    parameters,
    whole_number,
)
from fastcar_tw.fastcgi.options import FastCGIOptions
from fastcar_tw.relay.options import RelayOptions

__all__ = ["Options"]

_PARAMETERS = (
    ("unix", as_typed, "Path of the socket to listen on."),
    ("https_unix", as_typed, "Path of a socket where plain HTTP is for https origins."),
    ("cert", as_typed, "PEM certificate chain to show to clients [default: from a local CA]"),
    ("key", as_typed, "PEM private key of --cert."),
    ("ca_dir", as_typed, "Directory of the local CA [default: XDG state; root: /var/lib/fastcar]"),
    ("socket_mode", octal, "Permissions of the socket, octal."),
    ("socket_group", as_typed, "Group of the socket [default: that of the process]"),
    ("connect_timeout", number, "Seconds to connect to an origin, with TLS."),
    ("response_timeout", number, "Seconds to the first byte of a response."),
    ("stall_timeout", number, "Seconds a body may stand still."),
    ("client_timeout", number, "Seconds for a request head, for a TLS handshake."),
    ("keepalive_timeout", number, "Seconds a client connection may be idle."),
    ("idle_timeout", number, "Seconds an upstream connection may be idle."),
    ("max_idle_per_origin", whole_number, "Idle upstream connections per origin."),
    ("max_connections_per_origin", whole_number, "Upstream connections per origin."),
    ("max_connections", whole_number, "Upstream connections in all."),
    ("max_queue", whole_number, "Requests that may wait for a connection."),
    ("queue_timeout", number, "Seconds a request may wait to be let through."),
    ("max_age", number, "Seconds after which an upstream connection is replaced."),
    ("fail_fast_after", whole_number, "Failed connects in a row to fail fast after; 0: never."),
    ("http2", as_typed, "HTTP/2 to https origins: auto, off or always."),
    ("dns_ttl", number, "Seconds the addresses of a name are used."),
    ("drain_timeout", number, "Seconds for requests in flight at shutdown."),
    ("proxy", as_typed, "URL of the proxy to reach origins through [default: environment]"),
    (
        "no_proxy",
        as_typed,
        "Hosts to reach without a proxy, comma-separated [default: environment]",
    ),
    ("via", as_typed, "Name to add to the Via field [default: no Via]"),
)


class Options(ConfigOptions):
    """
    What C{twistd fastcar} is told: options of the forward service, or another service and its own.
    """

    synopsis = "[options] | fastcgi [options] | relay [options]"
    table = _PARAMETERS
    optParameters = parameters(Config, _PARAMETERS)
    optFlags = [
        ["allow-remote", None, "Let --listen be open to other machines."],
        ["verbose", None, "Log every exchange, not only the failures."],
    ]
    flags = {"allow-remote": ("allow_remote", True), "verbose": ("verbose", True)}
    lists = ("listen", "tunnel", "trust", "insecure_origins", "prewarm", "resolve")
    subCommands = [
        ["fastcgi", None, FastCGIOptions, "Serve HTTP in front of php-fpm."],
        ["relay", None, RelayOptions, "Relay TCP, over few shared connections if wanted."],
    ]

    def make_config(self, values: Mapping[str, Any]) -> Config:
        """
        See L{ConfigOptions.make_config}.
        """
        return Config(**values)

    def getSynopsis(self) -> str:
        """
        The command line, or how that of another service begins.
        """
        if self.subCommand is not None:
            self.synopsis = ""
        return super().getSynopsis().rstrip()

    def postOptions(self) -> None:
        """
        Check the values.

        @raise UsageError: for one that L{Config} refuses, or that would have no effect.
        """
        super().postOptions()
        if self.subCommand is not None and self.to_config() != Config():
            raise usage.UsageError(f"options of {self.subCommand} go behind its name")

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
