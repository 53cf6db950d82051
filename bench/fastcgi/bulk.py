"""Bulk transfers through a gateway and php-fpm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import transfer
from bench.transfer import Digest
from bench.wire import Connection


def write_block(folder: Path) -> None:
    """Write what down.php sends over and over."""
    (folder / "block").write_bytes(transfer.BLOCK)


def download(connection: Connection, size: int, slow: bool) -> None:
    """GET `size` bytes; if `slow`, the client stalls, crawls and stalls again."""
    connection.request("GET", f"/down.php?size={size}")
    response = connection.getresponse()
    transfer.check(response)
    transfer.compare(transfer.read_all(response.readinto, size, slow), size)


def put(connection: Connection, size: int, slow: bool) -> None:
    """PUT `size` bytes to a script, which gets them while they come; if `slow`, it stalls."""
    _upload(connection, "PUT", size, {"Content-Length": str(size)}, slow)


def post(connection: Connection, size: int, slow: bool) -> None:
    """POST `size` bytes; php-fpm takes them as they come, before the script starts."""
    _upload(connection, "POST", size, {"Content-Length": str(size)}, slow)


def post_chunked(connection: Connection, size: int, slow: bool) -> None:
    """POST `size` bytes whose number the gateway is not told."""
    _upload(connection, "POST", size, {}, slow)


def _upload(
    connection: Connection, method: str, size: int, fields: dict[str, str], slow: bool
) -> None:
    path = "/up.php?slow" if slow else "/up.php"
    connection.request(method, path, transfer.blocks(size), fields)
    response = connection.getresponse()
    transfer.check(response)
    arrived, crc = response.read().split()
    transfer.compare(Digest(int(arrived), int(crc)), size)


@dataclass(frozen=True)
class Way:
    """One kind of transfer; each raises OSError, HTTPException or TransferError."""

    name: str
    move: Callable[[Connection, int, bool], None]
    slow: bool


WAYS = (
    Way("download", download, False),
    Way("download, slow client", download, True),
    Way("PUT, known length", put, False),
    Way("PUT, known length, slow script", put, True),
    Way("POST, known length", post, False),
    Way("POST, chunked", post_chunked, False),
)
