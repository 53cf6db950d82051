"""Every way into a fastcar: its listeners, what curl is told to use them, and openings by hand."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import ssl
import subprocess
import tempfile

from tests.peers.case import Fastcar, PeersTestCase, shared
from tests.peers.clients import Answer, split_heads
from tests.peers.processes import LIMIT, require
from tests.peers.sockets import Peer, RawOrigin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
#: A SOCKS5 reply (RFC 1928 section 6) is one of these codes, and no address.
SUCCEEDED, NOT_REACHED, REFUSED = 0, 4, 5


class OpenFastcar(Fastcar):
    """A fastcar with a listener of each kind, the TCP port any free one."""

    def __init__(self, folder: str, *options: str) -> None:
        """Start it, as `Fastcar` does."""
        self.https_socket = os.path.join(folder, "https.sock")
        listen = ("--https-unix", self.https_socket, "--listen", "tcp:0:interface=127.0.0.1")
        super().__init__(folder, *listen, *options)
        self.port = int(self.wait_for(r"listening on tcp:127\.0\.0\.1:(\d+)\n")[1])

    @property
    def doors(self) -> tuple[str | int, ...]:
        """All of its listeners: paths, and the port."""
        return self.socket, self.https_socket, self.port


@functools.cache
def open_fastcar() -> OpenFastcar:
    """The one that most tests use; it trusts the shared authority."""
    folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fastcar = OpenFastcar(folder, "--trust", shared().authority.file)
    atexit.register(fastcar.stop)
    return fastcar


def run_curl(url: str, *arguments: str, data: bytes = b"") -> Answer:
    """Fetch `url` as the arguments say, and not the environment; `data` is standard input."""
    fixed = ["-q", "-sS", "-i", "--suppress-connect-headers", "--max-time", str(LIMIT)]
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [require("curl", "curl"), *fixed, *arguments, url],
        input=data,
        capture_output=True,
        env=environ,
        timeout=2 * LIMIT,
        check=False,
    )
    heads, body = split_heads(done.stdout)
    return Answer(
        done.returncode, done.stderr.decode(), heads[:-1], heads[-1] if heads else b"", body
    )


def local(origin: RawOrigin, path: str = "/") -> str:
    """The URL of an origin, by name."""
    return f"{origin.scheme}://localhost:{origin.port}{path}"


def dial(door: str | int) -> Peer:
    """A connection to a listener: the path of a UNIX socket, or a loopback port."""
    if isinstance(door, str):
        return Peer.dial(door)
    sock = socket.create_connection(("127.0.0.1", door), LIMIT)
    # What is split arrives split.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Peer(sock)


def connect_request(target: str, version: str = "1.1") -> bytes:
    """A CONNECT without any field."""
    return f"CONNECT {target} HTTP/{version}\r\n\r\n".encode()


def socks5_request(host: str, port: int, *, greeting: bytes = b"\x05\x01\x00") -> bytes:
    """A greeting and a CONNECT of SOCKS5; addresses go as such, anything else as a name."""
    for family, kind in ((socket.AF_INET, 1), (socket.AF_INET6, 4)):
        try:
            address = bytes([kind]) + socket.inet_pton(family, host)
            break
        except OSError:
            continue
    else:
        address = bytes([3, len(host)]) + host.encode()
    return greeting + b"\x05\x01\x00" + address + port.to_bytes(2, "big")


def socks5_reply(code: int) -> bytes:
    """What fastcar answers, after the greeting, to a CONNECT of SOCKS5."""
    return bytes([5, code, 0, 1]) + bytes(6)


def open_tunnel(opening: str, door: str | int, host: str, port: int) -> Peer:
    """A tunnel that has been granted; `opening` is "connect", "connect 1.0" or "socks5"."""
    peer = dial(door)
    if opening == "socks5":
        peer.send(socks5_request(host, port))
        expected = b"\x05\x00" + socks5_reply(SUCCEEDED)
    else:
        version = opening.partition(" ")[2] or "1.1"
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        peer.send(connect_request(target, version))
        expected = CONNECTED
    answer = peer.read(len(expected))
    if answer != expected:
        raise AssertionError((opening, door, answer))
    return peer


def inside_tls(peer: Peer, trust: str, name: str | None) -> Peer:
    """The same connection inside TLS, with the CA file `trust`; without a name there is no SNI."""
    context = ssl.create_default_context(cafile=trust)
    context.check_hostname = name is not None
    return Peer(context.wrap_socket(peer.socket, server_hostname=name))


class OpeningsTestCase(PeersTestCase):
    """A test with an `OpenFastcar`, which fails if that has logged a bug by its end."""

    @property
    def fastcar(self) -> OpenFastcar:
        """The shared one."""
        return open_fastcar()

    def setUp(self) -> None:
        super().setUp()
        self.fastcar.new_output()

    def tearDown(self) -> None:
        self._assert_no_bug(self.fastcar)

    def start_open(self, *options: str) -> OpenFastcar:
        """One of this test's own."""
        fastcar = OpenFastcar(self.folder(), "--trust", self.shared.authority.file, *options)
        self.addCleanup(self._assert_no_bug, fastcar)
        self.addCleanup(fastcar.stop)
        return fastcar

    def tunnel(self, opening: str, door: str | int, host: str, port: int) -> Peer:
        """A tunnel that has been granted, and is closed with the test."""
        peer = open_tunnel(opening, door, host, port)
        self.addCleanup(peer.close)
        return peer

    def dial_door(self, door: str | int, data: bytes = b"") -> Peer:
        """A connection to a listener on which `data` has been sent."""
        peer = dial(door)
        self.addCleanup(peer.close)
        if data:
            peer.send(data)
        return peer
