"""A server that notes how it was addressed, and as what: as a proxy of some kind or an origin."""

from __future__ import annotations

import base64
import socket
from typing import NamedTuple

from tests.peers.sockets import Peer, RawOrigin, field_values

_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SOCKS_REFUSAL = b"\x05\x05\x00\x01" + bytes(6)


class Contact(NamedTuple):
    """What a connection was made for.

    `kind`: "absolute", "connect", "socks5" (an address was sent) or "socks5h" (a name) to a proxy,
    "origin" for a request as an origin gets it, and "tls" for a handshake, with either.
    `target`: what a proxy was asked for. `credentials`: what was offered to a proxy, "user:word".
    """

    name: str
    kind: str
    target: str = ""
    credentials: str = ""


class Recorder(RawOrigin):
    """Notes every connection in `contacts`, under its name, and lets none come to anything."""

    def __init__(self, name: str) -> None:
        super().__init__(self._record)
        self.name = name
        self.contacts: list[Contact] = []

    def _record(self, peer: Peer) -> None:
        first = peer.socket.recv(1, socket.MSG_PEEK)
        if first == b"\x16":
            self._note("tls")
        elif first == b"\x05":
            self._record_socks(peer)
        elif first:
            self._record_http(peer)

    def _note(self, kind: str, target: str = "", credentials: bytes = b"") -> None:
        self.contacts.append(Contact(self.name, kind, target, credentials.decode()))

    def _record_http(self, peer: Peer) -> None:
        head = peer.read_head()
        method, target, _ = head.decode().split(" ", 2)
        fields = field_values(head, b"proxy-authorization")
        credentials = base64.b64decode(fields[0].removeprefix(b"Basic ")) if fields else b""
        if target.startswith("/"):
            self._note("origin", "", credentials)
        else:
            self._note("connect" if method == "CONNECT" else "absolute", target, credentials)
        peer.send(_REFUSAL)

    def _record_socks(self, peer: Peer) -> None:
        credentials = b""
        methods = peer.read(peer.read(2)[1])
        if 2 in methods:
            peer.send(b"\x05\x02")
            _, length = peer.read(2)
            credentials = peer.read(length) + b":" + peer.read(peer.read(1)[0])
            peer.send(b"\x01\x00")
        else:
            peer.send(b"\x05\x00")
        kind = peer.read(4)[3]
        host = _read_host(peer, kind)
        port = int.from_bytes(peer.read(2), "big")
        self._note("socks5h" if kind == 3 else "socks5", f"{host}:{port}", credentials)
        peer.send(_SOCKS_REFUSAL)


def _read_host(peer: Peer, kind: int) -> str:
    """The address of a SOCKS request (RFC 1928 section 5)."""
    if kind == 3:
        return peer.read(peer.read(1)[0]).decode()
    if kind == 4:
        return f"[{socket.inet_ntop(socket.AF_INET6, peer.read(16))}]"
    return socket.inet_ntoa(peer.read(4))
