"""
The command line of C{twistd fastcar relay}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastcar_tw.config_options import (
    ConfigOptions,
    as_typed,
    number,
    octal,
    parameters,
    size,
    whole_number,
)
from fastcar_tw.relay.config import RelayConfig

__all__ = ["RelayOptions"]

_PARAMETERS = (
    ("cert", as_typed, "PEM certificate chain; with it clients speak TLS."),
    ("key", as_typed, "PEM private key of --cert."),
    ("socket_mode", octal, "Permissions of the sockets listened on, octal."),
    ("socket_group", as_typed, "Group of those sockets [default: that of the process]"),
    (
        "proxy_protocol",
        as_typed,
        "v1 or v2, the PROXY header that backends are sent [default: none]",
    ),
    (
        "framing",
        as_typed,
        "How requests and responses are told apart for --pool: eof:TERMINATOR, "
        "length:TYPE:OFFSET:BODY_OFFSET, memcached, resp, or a class in Python",
    ),
    (
        "pool",
        whole_number,
        "Connections to each backend that clients share [default: each client has its own]",
    ),
    ("pool_min", whole_number, "Connections of --pool to keep open to each backend."),
    ("pool_idle_timeout", number, "Seconds a connection of --pool may be idle."),
    ("pool_max_age", number, "Seconds after which a connection of --pool is replaced."),
    ("max_frame", size, "Bytes of the largest request or response, with --pool."),
    ("max_clients", whole_number, "Clients at a time."),
    ("max_queue", whole_number, "Requests that may wait for a connection of --pool."),
    ("queue_timeout", number, "Seconds to wait for a connection."),
    ("connect_timeout", number, "Seconds to connect to a backend, with TLS."),
    ("response_timeout", number, "Seconds a backend that owes a response may be silent."),
    ("client_timeout", number, "Seconds a client may stop in the middle of something."),
    ("idle_timeout", number, "Seconds in which no byte passes, or no request comes."),
    ("fail_fast_after", whole_number, "Failed connects in a row to fail fast after; 0: never."),
    ("drain_timeout", number, "Seconds for clients to finish at shutdown."),
)


class RelayOptions(ConfigOptions):
    """
    What C{twistd fastcar relay} is told.
    """

    table = _PARAMETERS
    optParameters = parameters(RelayConfig, _PARAMETERS)
    optFlags = [
        ["accept-proxy-protocol", None, "Every client begins with a PROXY header."],
        ["verbose", None, "Log every client, not only the failures."],
    ]
    flags = {
        "accept-proxy-protocol": ("accept_proxy_protocol", True),
        "verbose": ("verbose", True),
    }
    lists = ("listen", "backend", "trust", "insecure_origins")

    def make_config(self, values: Mapping[str, Any]) -> RelayConfig:
        """
        See L{ConfigOptions.make_config}.
        """
        return RelayConfig(**values)

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen, as tcp:6379:interface=127.0.0.1 or unix:/PATH; repeatable."""
        self["listen"].append(endpoint)

    def opt_backend(self, endpoint: str) -> None:
        """Where to connect to: tcp:HOST:PORT, unix:/PATH or tls:HOST:PORT; repeatable."""
        self["backend"].append(endpoint)

    def opt_trust(self, path: str) -> None:
        """PEM file of CAs to trust besides the system's, for tls: backends; repeatable."""
        self["trust"].append(path)

    def opt_insecure_origin(self, origin: str) -> None:
        """HOST[:PORT] of a tls: backend whose certificate is not verified; repeatable."""
        self["insecure-origin"].append(origin)
