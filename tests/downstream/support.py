"""What the tests of openings have in common: the bytes of each, and a look at what is left over."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from fastcar_tw.routes.socks5 import CONNECT, encode_message
from fastcar_tw.testing import MemoryProxy, NestedTLS, Peer
from fastcar_tw.tls.machine import TLSMachine
from tests.forward.support import GET, OK, ProxyTestCase
from tests.tls.support import careless_context, leaf_of

CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
#: SOCKS5: what a client begins with, and what it is answered.
GREETING = b"\x05\x01\x00"
CHOSEN = b"\x05\x00"
SUCCEEDED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#: Openings that lead into a tunnel.
TUNNELS = ("connect", "socks5")


def connect(target: bytes = b"a.test:80", *fields: bytes, version: bytes = b"1.0") -> bytes:
    """A CONNECT with exactly these fields."""
    return b"\r\n".join((b"CONNECT %b HTTP/%b" % (target, version), *fields)) + b"\r\n\r\n"


def socks5(host: str = "a.test", port: int = 80) -> bytes:
    """All that a SOCKS5 client says, which need not wait."""
    return GREETING + encode_message(CONNECT, host, port)


def named(name: bytes, port: int = 80) -> bytes:
    """A request that gives any bytes as a name, without the greeting."""
    return b"\x05\x01\x00\x03%c%b%b" % (len(name), name, port.to_bytes(2, "big"))


def refusal(code: int) -> bytes:
    """The reply with this code."""
    return b"\x05%c\x00\x01\x00\x00\x00\x00\x00\x00" % code


def opening(how: str, host: str = "a.test", port: int = 80) -> tuple[bytes, bytes]:
    """Ask for a tunnel in one of `TUNNELS`; what is sent and what is answered."""
    if how == "socks5":
        return socks5(host, port), CHOSEN + SUCCEEDED
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return connect(authority.encode("ascii")), CONNECTED


def start_tls(client: Peer, name: str = "", context: SSL.Context | None = None) -> TLSMachine:
    """Shake hands on a connection, inside of any TLS there is; an empty name: no SNI."""
    inner = TLSMachine.client(context or careless_context(), name)
    hello = inner.start()
    if client.machine is None:
        client.machine = inner
    else:
        hello = client.machine.send(hello)
        client.machine = NestedTLS(client.machine, inner)
    client.send_raw(hello)
    return inner


class OpeningsTestCase(ProxyTestCase):
    """
    Looks after each test whether anything was left behind by clients that have gone.
    """

    def start(self, **options: Any) -> None:
        """Begin anew with these options."""
        super().start(**options)
        self.addCleanup(self.check_left, self.proxy)

    def check_left(self, proxy: MemoryProxy) -> None:
        """When clients and origins have gone nothing of them is left."""
        for connect in proxy.connects:
            if connect.pending:
                connect.refuse()
        for peer in list(proxy.reactor.peers):
            if peer in proxy.reactor.peers:
                peer.close()
        self.assertEqual(proxy.forwarder.clients, set())
        self.assertEqual(proxy.forwarder.relaying, 0)
        self.assertEqual(len(proxy.forwarder.deadlines), 1)  # the pool

    def tunnel(
        self,
        host: str = "a.test",
        port: int = 80,
        how: str = "connect",
        client: Peer | None = None,
    ) -> Peer:
        """Have a client with a tunnel, a new one unless given."""
        client = client or self.proxy.client()
        asked, answered = opening(how, host, port)
        client.send(asked)
        self.assertEqual(client.take(), answered)
        return client

    def served(self, client: Peer, origin: str, asked: bytes = GET, got: bytes = b"") -> Peer:
        """See that a request goes to this origin, and comes back; return the origin's end."""
        client.send(asked)
        [serving] = [peer for peer in self.proxy.origins if peer.received]
        self.assertEqual((str(serving.origin), serving.take()), (origin, got or asked))
        serving.send(OK)
        self.assertEqual(client.take(), OK)
        return serving

    def leaf(self, client: Peer) -> list[str]:
        """The names in the certificate that a client was shown."""
        assert client.machine is not None
        machine: Any = client.machine
        return leaf_of(machine)

    def elapse_deadline(self) -> None:
        """Let the time pass that a client has for what it owes."""
        self.proxy.elapse(self.proxy.forwarder.config.client_timeout + 1.5)
