"""What the tests of `fastcar fastcgi` stand on: it in front of a php-fpm, both really running.

The scripts of tests/peers/fastcgi are copied to a root of their own, where tests may add files.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import grp
import itertools
import json
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from tests.peers.case import PeersTestCase, Twistd
from tests.peers.clients import Answer
from tests.peers.fpm import FPM
from tests.peers.gates import Gate
from tests.peers.openings import run_curl
from tests.peers.processes import LIMIT
from tests.peers.sockets import Message, Peer

SCRIPTS = os.path.join(os.path.dirname(__file__), "fastcgi")
#: Processes of a php-fpm.
CHILDREN = 4

_POOL = """
[site]
user = {user}
group = {group}
listen = {folder}/fpm.sock
pm = static
pm.max_children = {children}
clear_env = yes
php_admin_value[opcache.enable] = 0
php_admin_value[output_buffering] = 0
php_admin_value[post_max_size] = 0
php_admin_value[upload_max_filesize] = 100M
php_admin_value[upload_tmp_dir] = {folder}
php_admin_value[session.save_path] = {folder}
"""


def start_fpm(folder: str, *lines: str, children: int = CHILDREN) -> FPM:
    """Start a php-fpm in `folder`, with `lines` at the end of its pool's configuration."""
    pool = _POOL.format(
        user=pwd.getpwuid(os.geteuid()).pw_name,
        group=grp.getgrgid(os.getegid()).gr_name,
        folder=folder,
        children=children,
    )
    return FPM(folder, pool + "".join(f"{line}\n" for line in lines))


class Gateway(Twistd):
    """A `fastcar fastcgi`, on a loopback port."""

    def __init__(self, folder: str, root: str, sockets: Sequence[str], *options: str) -> None:
        """Start it in `folder`, in front of the php-fpms at `sockets`; wait until it listens."""
        fixed = ["--listen", "tcp:0:interface=127.0.0.1", "--root", root]
        for path in sockets:
            fixed += ["--fpm", f"unix:{path}"]
        super().__init__(folder, "fastcgi", *fixed, *options)
        self.port = int(self.wait_for(r"tcp:127\.0\.0\.1:(\d+)")[1])

    def dial(self) -> Peer:
        """Connect to it."""
        sock = socket.create_connection(("127.0.0.1", self.port), LIMIT)
        # What is split arrives split.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Peer(sock)


class Site:
    """A root, a php-fpm that runs what lies there, and a gateway in front of both."""

    def __init__(self, *options: str, fpm: Sequence[str] = (), children: int = CHILDREN) -> None:
        """Start them, with `options` and with lines `fpm` of the pool's configuration.

        An option may name the site's own `{folder}`.
        """
        self.folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.root = os.path.join(self.folder, "site")
        self._gates = itertools.count()
        self._start_fpm = functools.partial(start_fpm, self.folder, *fpm, children=children)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            shutil.copytree(SCRIPTS, self.root)
            self.fpm = self._start_fpm()
            stack.callback(lambda: self.fpm.stop())
            named = [option.replace("{folder}", self.folder) for option in options]
            self.gateway = Gateway(self.folder, self.root, [self.fpm.socket], *named)
            stack.callback(self.gateway.stop)
            #: Ends the processes, and removes the files.
            self.close = stack.pop_all().close

    def restart_fpm(self) -> None:
        """Have another php-fpm in the place of this one."""
        self.fpm.stop()
        self.fpm = self._start_fpm()

    def write(self, name: str, content: str | bytes) -> str:
        """Put a file below the root; return its path."""
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        return path

    def gate(self) -> Gate:
        """A new gate for scripts of this site."""
        return Gate(self.folder, f"gate{next(self._gates)}")


@functools.cache
def shared_site(*options: str, fpm: tuple[str, ...] = ()) -> Site:
    """One for all tests of this process that need the same."""
    site = Site(*options, fpm=fpm)
    atexit.register(site.close)
    return site


def target(script: str, **query: str | int | Sequence[str]) -> str:
    """The path of a script and a query; a sequence becomes an array of PHP."""
    pairs: list[tuple[str, str | int]] = []
    for name, value in query.items():
        if isinstance(value, (str, int)):
            pairs.append((name, value))
        else:
            pairs += [(f"{name}[]", each) for each in value]
    return f"/{script}?{urlencode(pairs)}" if pairs else f"/{script}"


def request(path: str, *fields: str, method: str = "GET", body: bytes | None = None) -> bytes:
    """A request, whose body has its length told."""
    lines = [f"{method} {path} HTTP/1.1", "Host: site.test", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + (body or b"")


class GatewayTestCase(PeersTestCase):
    """A test with a site, that of its class unless it needs its own."""

    #: The options of the class's site, and lines for its php-fpm's pool.
    options: tuple[str, ...] = ()
    fpm: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.site = shared_site(*self.options, fpm=self.fpm)
        self.site.gateway.new_output()

    def tearDown(self) -> None:
        super().tearDown()
        self._assert_no_bug(self.site.gateway)

    def start_site(self, *options: str, fpm: Sequence[str] = (), children: int = CHILDREN) -> Site:
        """Have a site of this test's own, in place of the class's."""
        self.site = Site(*options, fpm=fpm, children=children)
        self.addCleanup(self.site.close)
        return self.site

    def gate(self) -> Gate:
        """A gate that goes with the test; whoever waits there at its end is let on."""
        gate = self.site.gate()
        self.addCleanup(gate.close)
        self.addCleanup(gate.let_on, 100)
        return gate

    def dial_site(self, data: bytes = b"") -> Peer:
        """A connection, on which `data` has been sent; it is closed with the test."""
        peer = self.site.gateway.dial()
        self.addCleanup(peer.close)
        if data:
            peer.send(data)
        return peer

    def ask(
        self, path: str, *fields: str, method: str = "GET", body: bytes | None = None
    ) -> Message:
        """The response to a request, on a connection of its own."""
        peer = self.site.gateway.dial()
        try:
            peer.send(request(path, *fields, method=method, body=body))
            return peer.read_message(bodiless=method == "HEAD")
        finally:
            peer.close()

    def ask_json(
        self, path: str, *fields: str, method: str = "GET", body: bytes | None = None
    ) -> Any:
        """What a script that answers in JSON says."""
        answer = self.ask(path, *fields, method=method, body=body)
        self.assertEqual(answer.status, 200, answer)
        return json.loads(answer.body)

    def curl_site(self, path: str, *arguments: str, data: bytes = b"") -> Answer:
        """What curl makes of a response; `data` is its standard input."""
        return run_curl(f"http://127.0.0.1:{self.site.gateway.port}{path}", *arguments, data=data)

    def assert_serving(self) -> None:
        """A request is answered as it should be."""
        answer = self.ask(target("respond.php", body="fine"))
        self.assertEqual((answer.status, answer.body), (200, b"fine"), answer)
