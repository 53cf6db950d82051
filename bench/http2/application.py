"""What stands behind the origin: ``python -m bench.http2.application PORT``.

GET is answered with the small resource, SLOW_SECONDS after it was asked for; POST with the size and
the CRC of the body, once that is complete. It understands what nginx sends to it, and no more.
"""

from __future__ import annotations

import asyncio
import re
import sys
import zlib

from bench.origin import LOOPBACK
from bench.scenarios import SMALL

SLOW_SECONDS = 0.2
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    """A connection, one request at a time."""

    def __init__(self) -> None:
        self._head = b""
        self._size = self._missing = self._crc = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            data = self._take_head(self._head + data)
        if self._missing:
            self._take_body(data)

    def _take_head(self, data: bytes) -> bytes:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
            return b""
        self._head = b""
        length = _CONTENT_LENGTH.search(data, 0, end + 2)
        self._size = self._missing = int(length[1]) if length else 0
        self._crc = 0
        if not self._missing:
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._answer, SMALL.body)
        return data[end + 4 :]

    def _take_body(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._missing -= len(data)
        if not self._missing:
            self._answer(f"{self._size} {self._crc}".encode())

    def _answer(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, LOOPBACK, port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
