"""Origins that speak HTTP/2 over TLS: nginx, nghttpd, and hypercorn with an application of ours.

Those that most tests share are started at first use; they, and what is kept open to them, have
served others before. A test that counts connections, or ends the origin, starts its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
from typing import Any, Protocol
from unittest import SkipTest

from tests.peers.asgi import Application
from tests.peers.case import shared
from tests.peers.certificates import KeyPair
from tests.peers.clients import Answer, php
from tests.peers.openings import OpenFastcar, OpeningsTestCase, run_curl
from tests.peers.processes import LIMIT, Process, require
from tests.peers.sockets import Message, Peer, field_values

#: A page of nginx and of nghttpd.
TEXT = b"The fault, dear Brutus, is not in our stars.\n" * 40

_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr notice;
worker_shutdown_timeout 20s;
events {{ worker_connections 1024; }}
http {{
    log_format told "$connection $request_method $request_uri $server_protocol $status";
    access_log {folder}/access.log told;
    client_body_temp_path {folder}/temporary;
    proxy_temp_path {folder}/temporary;
    fastcgi_temp_path {folder}/temporary;
    uwsgi_temp_path {folder}/temporary;
    scgi_temp_path {folder}/temporary;
    client_max_body_size 0;
    default_type text/plain;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=512;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        add_header X-Connection $connection always;
        add_header X-Protocol $server_protocol always;
        location = /text {{ alias {folder}/files/text; gzip on; gzip_types text/plain; }}
        location = /told {{ return 200 $request_uri; }}
        location = /cookies {{ return 200 $http_cookie; }}
        location = /small {{ client_max_body_size 1k; proxy_pass {backend}/echo; }}
        location = /nothing {{ return 444; }}
        location /files/ {{ alias {folder}/files/; }}
        location / {{
            proxy_pass {backend};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
        {more}
    }}
}}
"""


class Origin(Protocol):
    """An origin on a loopback port."""

    port: int

    def stop(self) -> object:
        """End it."""


def https(origin: Origin, path: str = "/") -> str:
    """The https URL of something there."""
    return f"https://localhost:{origin.port}{path}"


class Hypercorn:
    """A hypercorn in a thread; what its requests come to is in `application`."""

    def __init__(self, pair: KeyPair | None, **settings: Any) -> None:
        """Start it, over TLS if there is a certificate; `settings` are those of hypercorn."""
        try:
            from hypercorn.asyncio import serve
            from hypercorn.config import Config
        except ImportError:
            raise SkipTest("hypercorn is not installed (extra test)") from None
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = listener.getsockname()[1]
        self.application = Application()
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.backlog = 512
        config.keep_alive_timeout = LIMIT
        # It would drop the requests that are under way when there were so many.
        config.keep_alive_max_requests = 1_000_000
        config.errorlog = None
        config.graceful_timeout = 0.2
        if pair is not None:
            config.certfile, config.keyfile = pair
        for name, value in settings.items():
            setattr(config, name, value)
        application: Any = self.application  # in hypercorn's terms it is more than that
        self._serve = functools.partial(serve, application, config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        self._ready.wait(LIMIT)

    async def _run(self) -> None:
        self.application.loop = asyncio.get_running_loop()
        # Those that are still open at the end are cancelled, of which hypercorn makes an error.
        self.application.loop.set_exception_handler(lambda loop, context: None)
        self._end = asyncio.Event()
        self._ready.set()
        await self._serve(shutdown_trigger=self._end.wait)

    def begin_to_end(self) -> None:
        """Take no new requests, and end when those under way are answered."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self.application.loop.call_soon_threadsafe(self._end.set)

    def wait(self) -> None:
        """Wait until it has ended."""
        self._thread.join(LIMIT)

    def stop(self) -> None:
        self.begin_to_end()
        self.wait()


class HTTP2Nginx:
    """An nginx with files, and before a plain HTTP server that serves all else.

    Every response tells on which connection it came, and with which protocol.
    """

    def __init__(self, folder: str, pair: KeyPair, backend: str, more: str = "") -> None:
        """Start it, with what it writes in `folder`.

        `backend`: the URL of the plain server; `more`: directives of its server block.
        """
        self.folder = folder
        os.mkdir(os.path.join(folder, "files"))
        os.mkdir(os.path.join(folder, "temporary"))
        self.write("text", TEXT)
        self.port = free_port()
        config = _NGINX.format(
            # As root, nginx would give its worker to an account that cannot enter our folder.
            user="user root root;" if os.geteuid() == 0 else "",
            folder=folder,
            port=self.port,
            certificate=pair.certificate,
            key=pair.key,
            backend=backend,
            more=more,
        )
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w") as file:
            file.write(config)
        program = require("nginx", "nginx")
        self.process = Process([program, "-p", folder, "-c", path, "-e", "stderr"], folder)
        self.process.wait_for("start worker process ")

    def write(self, name: str, content: bytes) -> None:
        """Offer a file, at /files/name."""
        with open(os.path.join(self.folder, "files", name), "wb") as file:
            file.write(content)

    def end(self) -> list[list[str]]:
        """End in order; return its log: connection, method, target, protocol and status."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()
        with open(os.path.join(self.folder, "access.log")) as log:
            return [line.split() for line in log]

    def reload(self) -> None:
        """Have a new worker, and the old one end in order."""
        start = len(self.process.output)
        self.process.send_signal(signal.SIGHUP)
        self.process.wait_for("start worker process ", start)

    def stop(self) -> int:
        return self.process.stop()


class Nghttpd:
    """nghttp2's own server, which offers the files in `folder`, sends what it gets by POST or PUT
    back, and prints what it sees. It speaks nothing but HTTP/2."""

    def __init__(self, folder: str, pair: KeyPair, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        with open(os.path.join(folder, "text"), "wb") as file:
            file.write(TEXT)
        fixed = ["-v", "-a", "127.0.0.1", "-d", folder, "--echo-upload"]
        program = require("nghttpd", "nghttp2-server")
        argv = [program, *fixed, *options, str(self.port), pair.key, pair.certificate]
        self.process = Process(argv, folder)
        self.process.wait_for("listen 127.0.0.1")

    @property
    def connections(self) -> int:
        """How many were opened."""
        return len(re.findall("The negotiated protocol: h2", self.process.output))

    def stop(self) -> int:
        return self.process.stop()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Origins:
    """One of each, made at first use."""

    def __init__(self) -> None:
        self._closing = contextlib.ExitStack()
        atexit.register(self._closing.close)

    @functools.cached_property
    def hypercorn(self) -> Hypercorn:
        origin = Hypercorn(shared().pair)
        self._closing.callback(origin.stop)
        return origin

    @functools.cached_property
    def plain_hypercorn(self) -> Hypercorn:
        """One without TLS, and therefore without HTTP/2."""
        origin = Hypercorn(None)
        self._closing.callback(origin.stop)
        return origin

    @functools.cached_property
    def nginx(self) -> HTTP2Nginx:
        backend = f"http://127.0.0.1:{self.plain_hypercorn.port}"
        origin = HTTP2Nginx(self._folder(), shared().pair, backend)
        self._closing.callback(origin.stop)
        return origin

    @functools.cached_property
    def nghttpd(self) -> Nghttpd:
        origin = Nghttpd(self._folder(), shared().pair)
        self._closing.callback(origin.stop)
        return origin

    def _folder(self) -> str:
        path = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self._closing.callback(shutil.rmtree, path, ignore_errors=True)
        return path


origins = functools.lru_cache(maxsize=None)(Origins)


@functools.cache
def http2_fastcar() -> OpenFastcar:
    """The fastcar that most tests use."""
    folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = ("--trust", shared().authority.file, "--http2", "auto")
    fastcar = OpenFastcar(folder, *options)
    atexit.register(fastcar.stop)
    return fastcar


class HTTP2TestCase(OpeningsTestCase):
    """A test with a fastcar that offers HTTP/2."""

    @property
    def fastcar(self) -> OpenFastcar:
        """The shared one."""
        return http2_fastcar()

    def hypercorn(self, **settings: Any) -> Hypercorn:
        """One of this test's own."""
        origin = Hypercorn(self.shared.pair, **settings)
        self.addCleanup(origin.stop)
        return origin

    def http2_nginx(self, more: str = "", backend: str = "") -> HTTP2Nginx:
        """One of this test's own; see `HTTP2Nginx`."""
        backend = backend or f"http://127.0.0.1:{origins().plain_hypercorn.port}"
        origin = HTTP2Nginx(self.folder(), self.shared.pair, backend, more)
        self.addCleanup(origin.stop)
        return origin

    def nghttpd(self, *options: str) -> Nghttpd:
        """One of this test's own."""
        origin = Nghttpd(self.folder(), self.shared.pair, *options)
        self.addCleanup(origin.stop)
        return origin

    def fetch(
        self, origin: Origin, path: str, *arguments: str, data: bytes = b"", tls: bool = False
    ) -> Answer:
        """Fetch with curl; either with plain HTTP, or with TLS inside the socket."""
        return run_curl(*self.way(origin, path, tls), *arguments, data=data)

    def way(self, origin: Origin, path: str, tls: bool) -> tuple[str, ...]:
        """The URL, and what else curl has to be told."""
        url = https(origin, path)
        if tls:
            return url, "--unix-socket", self.fastcar.socket, "--cacert", self.fastcar.ca_file
        return url.replace("https:", "http:"), "--unix-socket", self.fastcar.https_socket

    def php(self, origin: Origin, path: str, *, tls: bool = False, **more: Any) -> Answer:
        """Fetch with PHP; as `fetch` does."""
        url = https(origin, path)
        if tls:
            own = {"UNIX_SOCKET_PATH": self.fastcar.socket, "CAINFO": self.fastcar.ca_file}
        else:
            url = url.replace("https:", "http:")
            own = {"UNIX_SOCKET_PATH": self.fastcar.https_socket}
        return php({"URL": url, **own, **more})[0]

    def facts(self, origin: Origin, *arguments: str, path: str = "/facts") -> dict[str, Any]:
        """What the application knows about a request of curl's."""
        answer = self.fetch(origin, path, *arguments)
        self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
        facts: dict[str, Any] = json.loads(answer.body)
        return facts

    def ask(self, origin: Origin, path: str, method: str = "GET", body: bytes = b"") -> Asker:
        """Send a request, and go on."""
        asker = Asker(self.fastcar.https_socket)
        self.addCleanup(asker.close)
        asker.ask(origin, path, method, body)
        return asker


class Asker:
    """A client by hand, on a connection for https origins without TLS."""

    def __init__(self, path: str) -> None:
        self._peer = Peer.dial(path)

    def ask(
        self, origin: Origin, path: str, method: str = "GET", body: bytes = b"", fields: str = ""
    ) -> None:
        """Send a request."""
        if body:
            fields += f"Content-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{origin.port}\r\n{fields}\r\n"
        self._peer.send(head.encode() + body)

    def answer(self) -> Message:
        """The response."""
        return self._peer.read_message()

    def chunk(self) -> bytes:
        """One chunk of a response's body; the last one is empty."""
        size = int(self._peer.read_through(b"\r\n"), 16)
        return self._peer.read(size + 2)[:-2] if size else b""

    @property
    def peer(self) -> Peer:
        """What it is made of."""
        return self._peer

    def close(self) -> None:
        self._peer.close()


def connection_of(message: Message) -> bytes:
    """On which of nginx's connections a response came, and that it did with HTTP/2."""
    if field_values(message.head, b"x-protocol") != [b"HTTP/2.0"]:
        raise AssertionError(message)
    return field_values(message.head, b"x-connection")[0]
