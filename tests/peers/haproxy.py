"""A haproxy of a test's own."""

from __future__ import annotations

import os

from tests.peers.processes import LIMIT, Process, require

_CONFIG = f"""
global
    log stdout format raw local0
defaults
    log global
    mode tcp
    option tcplog
    timeout connect {LIMIT:.0f}s
    timeout client {LIMIT:.0f}s
    timeout server {LIMIT:.0f}s
"""


class HAProxy(Process):
    """A running haproxy, which prints a line for every connection when that ends."""

    def __init__(self, folder: str, sections: str) -> None:
        """Start it in `folder`, with `sections` of its configuration; wait until it listens."""
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(_CONFIG + sections)
        # A master tells when its worker is there, and that has its sockets from the master.
        super().__init__([require("haproxy", "haproxy"), "-W", "-db", "-f", path], folder)
        self.wait_for("Loading success")
