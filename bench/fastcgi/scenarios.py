"""What is asked of every gateway."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from bench.arguments import matching

SCRIPTS = Path(__file__).with_name("scripts")
_HELLO = b"Hello, world!\n"
_POSTED = os.urandom(1 << 16)
_POST_ANSWER = f"{len(_POSTED)} {zlib.crc32(_POSTED)}".encode()


@dataclass(frozen=True)
class Group:
    """Clients that ask for the same, each on a kept connection, one request at a time.

    With a `body` they POST it. A response must hold `expected`, or so many bytes. The next request
    is due at once, or `every` so many seconds whether there is a response or not. They begin at
    random times within `spread` seconds, so that slow ones do not all end together.
    """

    name: str
    clients: int
    script: str
    expected: bytes | int
    body: bytes = b""
    every: float = 0.0
    spread: float = 0.0

    @property
    def request(self) -> bytes:
        """Return the request as it is sent."""
        method = "POST" if self.body else "GET"
        head = f"{method} {self.script} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n"
        if self.body:
            head += (
                f"Content-Type: application/octet-stream\r\nContent-Length: {len(self.body)}\r\n"
            )
        return head.encode() + b"\r\n" + self.body


@dataclass(frozen=True)
class Scenario:
    """Groups that ask at the same time; the first is the one that is looked at.

    `share` multiplies the length of a slice: slow scripts need longer ones to say something.
    """

    name: str
    groups: tuple[Group, ...]
    share: float = 1.0


_FAST = Group("fast", 4, "/hello.php", _HELLO, every=0.2, spread=0.2)
_SLOW = Group("slow", 4, "/200ms.php", _HELLO, spread=0.2)
ALL = (
    Scenario("hello", (Group("", 16, "/hello.php", _HELLO),)),
    Scenario("5ms", (Group("", 16, "/5ms.php", _HELLO),)),
    Scenario("1mib", (Group("", 16, "/1mib.php", 1 << 20),)),
    Scenario("post-64kib", (Group("", 16, "/post.php", _POST_ANSWER, _POSTED),)),
    Scenario("beside-slow", (_FAST, _SLOW), share=6.0),
)


def select(patterns: str) -> list[Scenario]:
    """Return the scenarios that match one of the patterns. Raises ValueError like matching()."""
    return matching(patterns, ALL)
