"""The origin that people have: an nginx, on loopback ports for HTTP and HTTPS."""

from __future__ import annotations

import os
import socket

from tests.peers.certificates import KeyPair
from tests.peers.processes import Process, require

#: Bodies of nginx's own.
TEXT = b"All that glisters is not gold.\n" * 40

# Every response tells on which of nginx's connections it came, and as which one there.
_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/temporary;
    proxy_temp_path {folder}/temporary;
    fastcgi_temp_path {folder}/temporary;
    uwsgi_temp_path {folder}/temporary;
    scgi_temp_path {folder}/temporary;
    client_max_body_size 0;
    default_type text/plain;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {folder}/files;
        add_header X-Connection $connection always;
        add_header X-Request-Of-Connection $connection_requests always;
        location = /hello {{ return 200 "hello\\n"; }}
        location = /echo {{ return 200 "$request_method $request_uri $http_host\\n"; }}
        location = /empty {{ return 204; }}
        location = /moved {{ return 302 /hello; }}
        location = /sni {{ return 200 "$ssl_server_name"; }}
        location = /text {{ gzip on; gzip_types text/plain; }}
        location /stored/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


class Nginx:
    """A running nginx; its files lie in `files`, what is PUT under /stored/ as well."""

    def __init__(self, folder: str, pair: KeyPair) -> None:
        """Start it, with everything it writes in `folder`."""
        self.files = os.path.join(folder, "files")
        os.makedirs(os.path.join(self.files, "stored"))
        os.mkdir(os.path.join(folder, "temporary"))
        self.write("text", TEXT)
        self.http_port, self.https_port = _free_ports()
        config = _CONFIG.format(
            # As root, nginx would give its worker to an account that cannot enter our folder.
            user="user root root;" if os.geteuid() == 0 else "",
            folder=folder,
            http=self.http_port,
            https=self.https_port,
            certificate=pair.certificate,
            key=pair.key,
        )
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w") as file:
            file.write(config)
        program = require("nginx", "nginx")
        self.process = Process([program, "-p", folder, "-c", path, "-e", "stderr"], folder)
        self.process.wait_for("start worker process ")

    def url(self, scheme: str, path: str, host: str = "127.0.0.1") -> str:
        port = self.https_port if scheme == "https" else self.http_port
        return f"{scheme}://{host}:{port}{path}"

    def write(self, name: str, content: bytes) -> None:
        """Offer a file."""
        with open(os.path.join(self.files, name), "wb") as file:
            file.write(content)

    def read(self, name: str) -> bytes:
        """A file, or what was PUT there."""
        with open(os.path.join(self.files, name), "rb") as file:
            return file.read()


def _free_ports() -> tuple[int, int]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        return one.getsockname()[1], two.getsockname()[1]
