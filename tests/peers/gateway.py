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
from collections import OrderedDict
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


#: Sites that are kept for other tests.
MAX_SHARED = 3


def start_fpm(folder: str, *lines: str) -> FPM:
    """Start a php-fpm in `folder`, with `lines` at the end of its pool's configuration."""
    if not any(line.startswith("listen =") for line in lines):
        lines = (f"listen = {folder}/fpm.sock", *lines)
    pool = _POOL.format(
        user=pwd.getpwuid(os.geteuid()).pw_name,
        group=grp.getgrgid(os.getegid()).gr_name,
        folder=folder,
        children=CHILDREN,
    )
    return FPM(folder, pool + "".join(f"{line}\n" for line in lines))


class Gateway(Twistd):
    """A `fastcar fastcgi`, on a loopback port."""

    def __init__(self, folder: str, root: str, fpm: str, *options: str) -> None:
        """Start it in `folder`, in front of the php-fpm at `fpm`; wait until it listens."""
        fixed = ["--listen", "tcp:0:interface=127.0.0.1", "--root", root, "--fpm", fpm]
        super().__init__(folder, "fastcgi", *fixed, *options)
        self.wait_for(r"serving .*\n")
        self.port = int(self.wait_for(r"listening on tcp:127\.0\.0\.1:(\d+)\n")[1])

    def new_output(self) -> str:
        """What it has printed itself: what scripts complain of is theirs."""
        lines = super().new_output().splitlines(keepends=True)
        return "".join(line for line in lines if " stderr: " not in line)

    def dial(self) -> Peer:
        """Connect to it."""
        sock = socket.create_connection(("127.0.0.1", self.port), LIMIT)
        # What is split arrives split.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Peer(sock)


class Site:
    """A root, a php-fpm that runs what lies there, and a gateway in front of both."""

    def __init__(self, *options: str, fpm: Sequence[str] = (), tcp: bool = False) -> None:
        """Start them, with `options` and with lines `fpm` of the pool's configuration.

        An option may name the site's own `{folder}`. With `tcp` php-fpm listens on a port.
        """
        self.folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.root = os.path.join(self.folder, "site")
        #: A folder beside the root.
        self.files = os.path.join(self.folder, "files")
        self._gates = itertools.count()
        backend = f"tcp:127.0.0.1:{free_port()}" if tcp else f"unix:{self.folder}/fpm.sock"
        lines = (f"listen = {backend.partition(':')[2]}", *fpm)
        self._start_fpm = functools.partial(start_fpm, self.folder, *lines)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            shutil.copytree(SCRIPTS, self.root)
            os.mkdir(self.files)
            self.fpm = self._start_fpm()
            stack.callback(lambda: self.fpm.stop())
            named = [option.replace("{folder}", self.folder) for option in options]
            self.gateway = Gateway(self.folder, self.root, backend, *named)
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


class SharedSites:
    """Those that several tests use, as many as were used last."""

    def __init__(self) -> None:
        self._sites: OrderedDict[object, Site] = OrderedDict()
        atexit.register(self.close)

    def get(self, options: tuple[str, ...], fpm: tuple[str, ...]) -> Site:
        """One with these options, and these lines of the pool's configuration."""
        site = self._sites.pop((options, fpm), None) or Site(*options, fpm=fpm)
        self._sites[options, fpm] = site
        if len(self._sites) > MAX_SHARED:
            self._sites.popitem(last=False)[1].close()
        return site

    def close(self) -> None:
        """End them."""
        for site in self._sites.values():
            site.close()


shared_sites = functools.cache(SharedSites)


def free_port() -> int:
    """A loopback port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


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


def read_to_any_end(peer: Peer) -> bytes:
    """What comes until the connection ends, in whichever way."""
    try:
        return peer.read_to_end()
    except ConnectionError:
        return b""


class GatewayTestCase(PeersTestCase):
    """A test with a site, that of its class unless it needs its own."""

    #: The options of the class's site, and lines for its php-fpm's pool.
    options: tuple[str, ...] = ()
    fpm: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.site = shared_sites().get(self.options, self.fpm)
        self.site.gateway.new_output()

    def tearDown(self) -> None:
        super().tearDown()
        self._assert_no_bug(self.site.gateway)

    def start_site(self, *options: str, fpm: Sequence[str] = (), tcp: bool = False) -> Site:
        """Have a site of this test's own, in place of the class's."""
        self.site = Site(*options, fpm=fpm, tcp=tcp)
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
