"""Sockets, TLS and one checked request, for the Python side of a run."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TypeAlias

# The path of a UNIX socket, or host and port.
Address: TypeAlias = str | tuple[str, int]
TIMEOUT = 20.0


def dial(address: Address) -> socket.socket:
    """Connect, blocking for at most TIMEOUT seconds. Raises OSError."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(address)
        if family == socket.AF_INET:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        connection.close()
        raise
    return connection


def client_context(ca_file: str) -> ssl.SSLContext:
    """Return a context that trusts `ca_file` alone, or verifies nothing where it is empty."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connection(http.client.HTTPConnection):
    """An HTTP client connection to any Address, with TLS if a context is given."""

    def __init__(
        self, address: Address, host: str, port: int, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(host, port, timeout=TIMEOUT)
        self._address = address
        self._context = context

    def connect(self) -> None:
        """Connect to the given address instead of to host and port."""
        self.sock = dial(self._address)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)

    def fetch(self, path: str) -> bytes:
        """GET `path` and return the body. Raises OSError or HTTPException unless it is a 200."""
        self.request("GET", path)
        response = self.getresponse()
        body = response.read()
        if response.status != 200:
            start = body[:200].decode("latin-1").strip()
            raise http.client.HTTPException(f"status {response.status}: {start}")
        return body
