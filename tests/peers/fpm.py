"""A php-fpm of a test's own, and the little of FastCGI that it takes to ask it something.

The records are those of the FastCGI specification 1.0, section 3.3.
"""

from __future__ import annotations

import glob
import os
import struct
from collections.abc import Iterator
from unittest import SkipTest

from tests.peers.processes import Process
from tests.peers.sockets import Peer

_BEGIN, _END, _PARAMS, _STDIN, _STDOUT, _STDERR = 1, 3, 4, 5, 6, 7
_RESPONDER = 1

_CONFIG = """
[global]
error_log = {folder}/fpm.log
daemonize = no
include = {folder}/pool.conf
"""


class FPM(Process):
    """A running php-fpm."""

    def __init__(self, folder: str, pool: str) -> None:
        """Start it in `folder`, with the configuration of a pool that listens on `socket` there."""
        self.socket = os.path.join(folder, "fpm.sock")
        for name, text in (("pool.conf", pool), ("fpm.conf", _CONFIG.format(folder=folder))):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        argv = [_program(), "--nodaemonize", "--force-stderr"]
        argv += ["--fpm-config", os.path.join(folder, "fpm.conf")]
        if os.geteuid() == 0:
            argv.append("--allow-to-run-as-root")
        super().__init__(argv, folder)
        self.wait_for("ready to handle connections")

    def get(self, script: str, query: str) -> str:
        """Run a script; return what it wrote after its fields, and then its error messages."""
        peer = Peer.dial(self.socket)
        try:
            peer.send(_request({"SCRIPT_FILENAME": script, "QUERY_STRING": query}))
            written = {_STDOUT: b"", _STDERR: b""}
            for kind, content in _records(peer):
                written[kind] += content
        finally:
            peer.close()
        return (written[_STDOUT].partition(b"\r\n\r\n")[2] + written[_STDERR]).decode()


def _program() -> str:
    found = glob.glob("/usr/sbin/php-fpm*")
    if not found:
        raise SkipTest("php-fpm is not installed (Debian package php-fpm)")
    return sorted(found)[-1]


def _record(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


def _request(variables: dict[str, str]) -> bytes:
    pairs = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", **variables}
    content = b""
    for name, value in pairs.items():
        # Lengths of less than 128 take one byte, others four with the highest bit set.
        content += struct.pack("!BI", len(name), len(value.encode()) | 1 << 31)
        content += name.encode() + value.encode()
    begin = _record(_BEGIN, struct.pack("!HB5x", _RESPONDER, 0))
    return begin + _record(_PARAMS, content) + _record(_PARAMS) + _record(_STDIN)


def _records(peer: Peer) -> Iterator[tuple[int, bytes]]:
    while True:
        _, kind, _, length, padding = struct.unpack("!BBHHBx", peer.read(8))
        content = peer.read(length + padding)[:length]
        if kind == _END:
            return
        yield kind, content
