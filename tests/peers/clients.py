"""The clients: curl's command line and PHP's curl extension, each run as the program it is."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from typing import Any, NamedTuple
from unittest import SkipTest

from tests.peers.processes import LIMIT, require
from tests.peers.sockets import field_values

_CLIENT = os.path.join(os.path.dirname(__file__), "client.php")


class Answer(NamedTuple):
    """What a client made of a response.

    `exit_status`: curl's error number, 0 for success. `interim`: heads of 1xx responses in front.
    """

    exit_status: int
    error: str
    interim: list[bytes]
    head: bytes
    body: bytes
    connections: int = 0

    @property
    def status(self) -> int:
        """The status code; 0 when there was no response."""
        return int(self.head.split(b" ", 2)[1]) if self.head else 0

    def values(self, name: str) -> list[str]:
        """The values of a field, one for each line."""
        return [value.decode() for value in field_values(self.head, name.encode())]

    @property
    def proxy_error(self) -> str:
        """The error type in Proxy-Status (RFC 9209); empty when there is none."""
        found = re.search(r"fastcar; error=(\w+)", " ".join(self.values("Proxy-Status")))
        return found[1] if found else ""


def curl(socket_path: str, url: str, *arguments: str, data: bytes = b"") -> Answer:
    """Fetch `url` through a UNIX socket; `data` is curl's standard input."""
    fixed = ["-q", "-sS", "-i", "--unix-socket", socket_path, "--max-time", str(LIMIT)]
    argv = [require("curl", "curl"), *fixed, *arguments, url]
    # Longer than curl's own limit, which says more.
    done = subprocess.run(argv, input=data, capture_output=True, timeout=2 * LIMIT, check=False)
    heads, body = split_heads(done.stdout)
    return Answer(
        done.returncode, done.stderr.decode(), heads[:-1], heads[-1] if heads else b"", body
    )


def split_heads(output: bytes) -> tuple[list[bytes], bytes]:
    """Split what curl prints with -i: all heads, of 1xx responses too, and the body."""
    heads = []
    while output.startswith(b"HTTP/"):
        head, mark, output = output.partition(b"\r\n\r\n")
        heads.append(head + mark)
        if not head.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")) or b" 101 " in head[:13]:
            break
    return heads, output


def php(*requests: dict[str, Any]) -> list[Answer]:
    """Carry out requests in one PHP process, one after the other on one curl handle.

    A request is a dictionary of CURLOPT_ names, without that prefix, and their values.
    """
    require_php_curl()
    done = subprocess.run(
        ["php", _CLIENT],
        input=json.dumps(requests).encode(),
        capture_output=True,
        timeout=2 * LIMIT,
        check=False,
    )
    if done.returncode or done.stderr:
        raise AssertionError((done.stdout + done.stderr).decode())
    return [_from_php(answer) for answer in json.loads(done.stdout)]


def _from_php(answer: dict[str, Any]) -> Answer:
    heads, _ = split_heads(base64.b64decode(answer["heads"]))
    return Answer(
        answer["errno"],
        answer["error"],
        heads[:-1],
        heads[-1] if heads else b"",
        base64.b64decode(answer["body"]),
        answer["connections"],
    )


_missing: list[str] = []


def require_php_curl() -> None:
    """Skip the test if there is no PHP, or none with the curl extension."""
    program = require("php", "php-cli")
    if not _missing:
        code = "echo extension_loaded('curl') ? 'there' : 'missing';"
        done = subprocess.run([program, "-r", code], capture_output=True, check=False)
        _missing.append(done.stdout.decode())
    if _missing != ["there"]:
        raise SkipTest("PHP has no curl extension (Debian package php-curl)")
