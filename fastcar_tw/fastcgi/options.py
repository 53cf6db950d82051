"""
The command line of C{twistd fastcar fastcgi}.
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
from fastcar_tw.fastcgi.config import DEFAULT_LISTEN, FastCGIConfig

__all__ = ["FastCGIOptions"]

_PARAMETERS = (
    ("root", as_typed, "Directory with what is served."),
    ("socket_mode", octal, "Permissions of the sockets listened on, octal."),
    ("socket_group", as_typed, "Group of those sockets [default: that of the process]"),
    ("cert", as_typed, "PEM certificate chain; with it TLS is served too."),
    ("key", as_typed, "PEM private key of --cert."),
    ("fpm_root", as_typed, "The root as php-fpm sees it [default: the same]"),
    ("front_controller", as_typed, "Script for whatever is no file [default: none]"),
    ("split", as_typed, "How the name of a script ends."),
    ("sendfile", as_typed, "Directory of files that scripts may have sent [default: none]"),
    ("connections", whole_number, "Connections to each php-fpm; at most pm.max_children - 1."),
    ("prewarm", whole_number, "Connections to open ahead to each php-fpm."),
    ("max_queue", whole_number, "Requests that may wait for a connection."),
    ("queue_timeout", number, "Seconds a request may wait for a connection."),
    ("connect_timeout", number, "Seconds to connect to php-fpm."),
    ("response_timeout", number, "Seconds to the first byte of a response."),
    ("stall_timeout", number, "Seconds a body may stand still."),
    ("client_timeout", number, "Seconds for a request head, for a TLS handshake."),
    ("keepalive_timeout", number, "Seconds a client connection may be idle."),
    ("idle_timeout", number, "Seconds a connection to php-fpm may be idle."),
    ("max_age", number, "Seconds after which a connection to php-fpm is replaced."),
    ("max_requests", whole_number, "Requests that a connection to php-fpm serves; 0: no limit."),
    ("fail_fast_after", whole_number, "Failed connects in a row to fail fast after; 0: never."),
    ("max_body", size, "Bytes of the largest request body; 0: no limit."),
    ("spool_memory", size, "Bytes of a request body that are held in memory."),
    ("drain_timeout", number, "Seconds for requests in flight at shutdown."),
)


class FastCGIOptions(ConfigOptions):
    """
    What C{twistd fastcar fastcgi} is told.
    """

    table = _PARAMETERS
    optParameters = parameters(FastCGIConfig, _PARAMETERS)
    optFlags = [
        ["no-static", None, "Serve scripts only, no other files."],
        ["no-keep", None, "Open a connection to php-fpm for each request."],
        ["verbose", None, "Log every exchange, not only the failures."],
    ]
    flags = {
        "no-static": ("static", False),
        "no-keep": ("keep", False),
        "verbose": ("verbose", True),
    }
    lists = ("fpm", "listen", "index", "symlinks_to", "param", "trusted_proxy")

    def make_config(self, values: Mapping[str, Any]) -> FastCGIConfig:
        """
        See L{ConfigOptions.make_config}.
        """
        defaults = {"listen": DEFAULT_LISTEN, "index": ("index.php",)}
        chosen = {name: values[name] or default for name, default in defaults.items()}
        return FastCGIConfig(**{**values, **chosen})

    def opt_fpm(self, endpoint: str) -> None:
        """Where php-fpm listens: unix:/PATH or tcp:HOST:PORT; repeatable."""
        self["fpm"].append(endpoint)

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen [default: tcp:8080:interface=127.0.0.1]; repeatable."""
        self["listen"].append(endpoint)

    def opt_index(self, name: str) -> None:
        """File served for a directory [default: index.php]; repeatable."""
        self["index"].append(name)

    def opt_symlinks_to(self, path: str) -> None:
        """Directory outside the root that links to files may lead into; repeatable."""
        self["symlinks-to"].append(path)

    def opt_param(self, text: str) -> None:
        """NAME=VALUE, a further variable for scripts; repeatable."""
        self["param"].append(text)

    def opt_trusted_proxy(self, address: str) -> None:
        """ADDR, ADDR/BITS or unix, whose X-Forwarded-* is believed; repeatable."""
        self["trusted-proxy"].append(address)
