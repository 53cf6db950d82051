"""HTTP messages on asyncio's streams."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tests.peers.sockets import field_values

#: What reading raises when a message does not come to its end.
BROKEN_OFF = (EOFError, OSError)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """A head, with the empty line."""
    return await reader.readuntil(b"\r\n\r\n")


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The body of a message that says where it ends; else it has none."""
    if field_values(head, b"transfer-encoding"):
        return await _read_chunks(reader)
    length = field_values(head, b"content-length")
    return await reader.readexactly(int(length[0])) if length else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body.append(await reader.readexactly(size))
        if await reader.readexactly(2) != b"\r\n":
            raise ValueError("a chunk does not end where it said")
    if await reader.readuntil(b"\r\n") != b"\r\n":
        raise ValueError("a trailer nobody has sent")
    return b"".join(body)


def chunked(body: bytes) -> bytes:
    """A body in three chunks, if there are so many bytes."""
    size = len(body) // 3 + 1
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Asked(Protocol):
    """What is planned for a request, of which only its head matters here."""

    @property
    def method(self) -> bytes: ...

    @property
    def number(self) -> int: ...

    @property
    def keyed(self) -> bool: ...

    @property
    def chunked(self) -> bool: ...

    @property
    def upload(self) -> int: ...


def request_head(plan: Asked, host: bytes, *, has_upload: bool) -> bytes:
    """The head of a request, which tells its number."""
    lines = [
        b"%b /%d HTTP/1.1" % (plan.method, plan.number),
        b"Host: %b" % host,
        b"X-Number: %d" % plan.number,
    ]
    if plan.keyed:
        lines.append(b'Idempotency-Key: "%d"' % plan.number)
    if plan.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif has_upload:
        lines.append(b"Content-Length: %d" % plan.upload)
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def send_late(writer: asyncio.StreamWriter, seconds: float, data: bytes) -> None:
    """Send what there is, if anything, after a while."""
    if data:
        await asyncio.sleep(seconds)
        writer.write(data)
