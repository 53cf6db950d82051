"""The proxies that people have between them and the world: tinyproxy, microsocks, and TLS before.

One of each, started at first use, serves all tests of a process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import selectors
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import quote

from tests.peers.certificates import KeyPair
from tests.peers.processes import LIMIT, Process, require
from tests.peers.sockets import Peer, RawOrigin

USER = "me"
#: All that tinyproxy takes in a password; microsocks takes anything.
PASSWORD = "Wax-9_seal"
SOCKS_PASSWORD = "w@x:s/e%l é"

_CONFIG = """
Listen 127.0.0.1
Port {port}
Allow 127.0.0.1
LogLevel Info
MaxClients 100
"""


class ProxyProgram:
    """A running proxy, which prints a line for every request.

    `scheme` is that of its URL, `authority` its host and port. Without a `password` it serves
    everybody.
    """

    scheme: str
    process: Process
    #: Finds a request in what it prints.
    _request: str

    def __init__(self, password: str = "", port: int = 0) -> None:
        self.password = password
        self.port = port or _free_port()
        self.authority = f"127.0.0.1:{self.port}"

    def url(self, scheme: str = "", password: str | None = None) -> str:
        """The URL to reach it at, with its credentials or another password; "" gives none."""
        return proxy_url(
            scheme or self.scheme, self.port, self.password if password is None else password
        )

    def requests(self) -> list[str]:
        """What it was asked for so far, in words of its own."""
        # It may have printed what we have not read; whatever it prints comes before this.
        start = len(self.process.output)
        marker = f"http://{self.authority}/"
        argv = [require("curl", "curl"), "-q", "-s", "-x", self.url(), marker]
        subprocess.run(argv, capture_output=True, timeout=LIMIT, check=False)
        self.process.wait_for(self._request.replace("(.*)", f".*{self.authority}"), start)
        found = re.findall(self._request, self.process.output)
        return [request for request in found if self.authority not in request]


class Tinyproxy(ProxyProgram):
    """An HTTP proxy. What it is asked for is a request line."""

    scheme = "http"
    _request = r"Request \(file descriptor \d+\): (.*)"

    def __init__(
        self, folder: str, password: str = "", connect_ports: Iterable[int] = (), port: int = 0
    ) -> None:
        """Start it with a file in `folder`; without `connect_ports` it opens tunnels to any."""
        super().__init__(password, port)
        lines = [f"ConnectPort {each}\n" for each in connect_ports]
        if password:
            lines.append(f"BasicAuth {USER} {password}\n")
        path = os.path.join(folder, f"tinyproxy-{self.port}.conf")
        with open(path, "w") as file:
            file.write(_CONFIG.format(port=self.port) + "".join(lines))
        # In the foreground it logs to its output.
        program = require("tinyproxy", "tinyproxy")
        self.process = Process([program, "-d", "-c", path], folder)
        self.process.wait_for("Accepting connections")


class Microsocks(ProxyProgram):
    """A SOCKS5 proxy. What it is asked for is a host, as it was given, and a port; it tells only
    what it could connect to.
    """

    scheme = "socks5h"
    _request = "connected to (.*)"

    def __init__(self, folder: str, password: str = "") -> None:
        super().__init__(password)
        argv = [require("microsocks", "microsocks"), "-i", "127.0.0.1", "-p", str(self.port)]
        if password:
            argv += ["-u", USER, "-P", password]
        self.process = Process(argv, folder)
        _wait_for_listener(self.port)


def proxy_url(scheme: str, port: int, password: str = "") -> str:
    """The URL of a proxy on a loopback port, with credentials if there is a password."""
    credentials = f"{USER}:{quote(password, safe='')}@" if password else ""
    return f"{scheme}://{credentials}127.0.0.1:{port}"


_Program = TypeVar("_Program", bound=ProxyProgram)


class Proxies:
    """One of each, made at first use."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self._folder, ignore_errors=True)
        atexit.register(self._closing.close)

    @functools.cached_property
    def tinyproxy(self) -> Tinyproxy:
        return self._keep(Tinyproxy(self._folder))

    @functools.cached_property
    def closed_tinyproxy(self) -> Tinyproxy:
        """One that asks for a password."""
        return self._keep(Tinyproxy(self._folder, PASSWORD))

    @functools.cached_property
    def microsocks(self) -> Microsocks:
        return self._keep(Microsocks(self._folder))

    @functools.cached_property
    def closed_microsocks(self) -> Microsocks:
        """One that asks for a password."""
        return self._keep(Microsocks(self._folder, SOCKS_PASSWORD))

    def _keep(self, proxy: _Program) -> _Program:
        self._closing.callback(proxy.process.stop)
        return proxy


proxies = functools.lru_cache(maxsize=None)(Proxies)


def tls_before(port: int, pair: KeyPair) -> RawOrigin:
    """TLS in front of a server on a loopback port: what makes an HTTPS proxy of an HTTP proxy."""

    def script(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as inner:
            relay(peer.socket, inner)
        with contextlib.suppress(OSError):
            peer.end()

    return RawOrigin(script, pair.server_context())


def relay(one: socket.socket, two: socket.socket) -> None:
    """Pass on what comes from either of two sockets to the other, until one of them ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, two)
        selector.register(two, selectors.EVENT_READ, one)
        while all(_pass_on(one, two) for one, two in _readable(selector)):
            pass


def _readable(selector: selectors.BaseSelector) -> list[tuple[socket.socket, socket.socket]]:
    return [(key.fileobj, key.data) for key, _ in selector.select()]  # type: ignore[misc]


def _pass_on(source: socket.socket, target: socket.socket) -> bool:
    """Pass on what there is; return whether there can be more."""
    try:
        # Up to the end of it: TLS may hold more than the socket, which alone is selected.
        source.settimeout(0)
        while data := source.recv(65536):
            target.settimeout(LIMIT)
            target.sendall(data)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_for_listener(port: int) -> None:
    """For a program that does not say when it listens."""
    end = time.monotonic() + LIMIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
