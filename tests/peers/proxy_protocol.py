"""Who speaks the PROXY protocol: haproxy and nginx, as receivers that tell what they were told, and
as senders.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import socket
import tempfile
from typing import Protocol
from unittest import SkipTest

from tests.peers.gateway import free_port
from tests.peers.haproxy import HAProxy
from tests.peers.processes import Process, require
from tests.peers.sockets import Peer

#: The options of haproxy's servers, by the version that they send.
SEND = {"v1": "send-proxy", "v2": "send-proxy-v2"}
#: What receivers answer on their UNIX sockets if the header tells them nothing.
NOTHING = "   "

_HAPROXY = """
frontend receiving
    mode http
    bind 127.0.0.1:{port} accept-proxy
    bind unix@{socket} accept-proxy
    http-request return status 200 content-type text/plain lf-string \
        "%[src] %[src_port] %[dst] %[dst_port]"
"""

_NGINX = """
{modules}
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
{sections}
"""
_NGINX_RECEIVING = """
http {{
    access_log off;
    client_body_temp_path {folder}/temporary;
    proxy_temp_path {folder}/temporary;
    fastcgi_temp_path {folder}/temporary;
    uwsgi_temp_path {folder}/temporary;
    scgi_temp_path {folder}/temporary;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port} proxy_protocol;
        listen unix:{socket} proxy_protocol;
        set $source "$proxy_protocol_addr $proxy_protocol_port";
        set $destination "$proxy_protocol_server_addr $proxy_protocol_server_port";
        return 200 "$source $destination";
    }}
    server {{
        listen unix:{socket}.plain;
        return 200 "plain";
    }}
}}
"""
_NGINX_SENDING = """
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass {target};
        proxy_protocol on;
    }}
}}
"""
_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


class Receiver(Protocol):
    """Answers every request with the addresses of its PROXY header.

    `tcp` and `unix` are the endpoints where it listens.
    """

    port: int
    tcp: str
    unix: str


class ReceivingHAProxy(HAProxy):
    """See `Receiver`."""

    def __init__(self, folder: str) -> None:
        """Start it in `folder`."""
        self.port = free_port()
        self.tcp = f"tcp:127.0.0.1:{self.port}"
        path = os.path.join(folder, "haproxy.sock")
        self.unix = f"unix:{path}"
        super().__init__(folder, _HAPROXY.format(port=self.port, socket=path))


class ReceivingNginx(Process):
    """See `Receiver`. On the UNIX socket `plain` it answers "plain", and expects no header."""

    def __init__(self, folder: str) -> None:
        """Start it in `folder`."""
        self.port = free_port()
        self.tcp = f"tcp:127.0.0.1:{self.port}"
        path = os.path.join(folder, "nginx.sock")
        self.unix = f"unix:{path}"
        self.plain = f"{self.unix}.plain"
        os.mkdir(os.path.join(folder, "temporary"))
        section = _NGINX_RECEIVING.format(folder=folder, port=self.port, socket=path)
        super().__init__(_nginx(folder, section), folder)
        self.wait_for("start worker process ")


class SendingNginx(Process):
    """Passes on what comes to `port`, with a PROXY header of version 1 before it."""

    def __init__(self, folder: str, target: str) -> None:
        """Start it in `folder`, in front of what is at `target`, as nginx writes that."""
        if not os.path.exists(_STREAM_MODULE):
            raise SkipTest("nginx's stream module is not there (Debian: libnginx-mod-stream)")
        self.port = free_port()
        section = _NGINX_SENDING.format(port=self.port, target=target)
        super().__init__(_nginx(folder, section, _STREAM_MODULE), folder)
        self.wait_for("start worker process ")


def _nginx(folder: str, sections: str, *modules: str) -> list[str]:
    """Write a configuration; return the command that runs it."""
    config = _NGINX.format(
        # As root, nginx would give its worker to an account that cannot enter our folder.
        user="user root root;" if os.geteuid() == 0 else "",
        modules="".join(f"load_module {module};" for module in modules),
        folder=folder,
        sections=sections,
    )
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as file:
        file.write(config)
    return [require("nginx", "nginx"), "-p", folder, "-c", path, "-e", "stderr"]


class SendingHAProxy(HAProxy):
    """Passes on what comes to `port` or to the UNIX socket `socket`, with a PROXY header before it.

    What it has to say of the health of the other side, it logs.
    """

    def __init__(self, folder: str, target: str, options: str) -> None:
        """Start it in `folder`, in front of what is at `target`, as haproxy writes that.

        `options`: of its server; they say which version is sent.
        """
        self.port = free_port()
        self.socket = os.path.join(folder, "sending.sock")
        lines = [
            "listen sending",
            f"bind 127.0.0.1:{self.port}",
            f"bind unix@{self.socket}",
            "unique-id-format %ci:%cp",
            "option log-health-checks",
            "option tcp-check",
            r'tcp-check send "GET / HTTP/1.0\r\n\r\n"',
            "tcp-check expect string 200",
            f"server receiving {target} {options}",
        ]
        super().__init__(folder, "\n    ".join(lines) + "\n")


class Receivers:
    """One of each, made at first use, which serve all tests of a process."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self._folder, ignore_errors=True)
        atexit.register(self._closing.close)

    @functools.cached_property
    def haproxy(self) -> ReceivingHAProxy:
        haproxy = ReceivingHAProxy(self._folder)
        self._closing.callback(haproxy.stop)
        return haproxy

    @functools.cached_property
    def nginx(self) -> ReceivingNginx:
        nginx = ReceivingNginx(self._folder)
        self._closing.callback(nginx.stop)
        return nginx

    @property
    def all(self) -> tuple[Receiver, ...]:
        return self.haproxy, self.nginx


receivers = functools.cache(Receivers)


def ask(peer: Peer, before: bytes = b"") -> str:
    """What a receiver says that it was told, at the other end of a connection.

    `before` is sent before the request.
    """
    peer.send(before + b"GET / HTTP/1.0\r\n\r\n")
    return peer.read_message().body.decode()


def ends(peer: Peer) -> str:
    """What a receiver should say of the client at this end of a connection."""
    (source, port), (destination, listening) = (
        peer.socket.getsockname()[:2],
        peer.socket.getpeername()[:2],
    )
    return f"{source} {port} {destination} {listening}"


def has_ipv6() -> bool:
    """Whether there is IPv6 on the loopback interface."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
