"""The gateways that are compared, each listening on a TCP port of loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from bench.fastcgi.php_fpm import CHILDREN
from bench.fastcgi.scenarios import SCRIPTS
from bench.origin import nginx_common, nginx_head, run_nginx
from bench.processes import free_ports, running, twistd, wait_until_listening
from bench.wire import Address

BASELINE = "nginx"
FASTCAR = "fastcar"
_LOOPBACK = "127.0.0.1"

# The location is Debian's snippets/fastcgi-php.conf, the parameters are nginx's fastcgi.conf.
_NGINX = """
{head}
http {{
    {common}
    client_max_body_size 0;
    upstream php {{ server unix:{socket}; {keepalive} }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        location ~ \\.php(/|$) {{
            fastcgi_split_path_info ^(.+?\\.php)(/.*)$;
            try_files $fastcgi_script_name =404;
            set $path_info $fastcgi_path_info;
            fastcgi_param PATH_INFO $path_info;
            fastcgi_index index.php;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param SCRIPT_NAME $fastcgi_script_name;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param DOCUMENT_URI $document_uri;
            fastcgi_param DOCUMENT_ROOT $document_root;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
            fastcgi_param REQUEST_SCHEME $scheme;
            fastcgi_param HTTPS $https if_not_empty;
            fastcgi_param GATEWAY_INTERFACE CGI/1.1;
            fastcgi_param SERVER_SOFTWARE nginx/$nginx_version;
            fastcgi_param REMOTE_ADDR $remote_addr;
            fastcgi_param REMOTE_PORT $remote_port;
            fastcgi_param REMOTE_USER $remote_user;
            fastcgi_param SERVER_ADDR $server_addr;
            fastcgi_param SERVER_PORT $server_port;
            fastcgi_param SERVER_NAME $server_name;
            fastcgi_param REDIRECT_STATUS 200;
            fastcgi_pass php;
            {keep_conn}
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    name: str
    pid: int
    port: int

    @property
    def address(self) -> Address:
        """Return where a client connects to."""
        return (_LOOPBACK, self.port)


# From a folder to make, and the socket of php-fpm's pool. Raises BenchError if it does not start.
Start: TypeAlias = Callable[[Path, Path], AbstractContextManager[Gateway]]


def starts(connections: list[int]) -> dict[str, Start]:
    """Return how each gateway is started, by name; a fastcar for each number of connections."""
    kept = f"{BASELINE}-kept-{CHILDREN}"
    found: dict[str, Start] = {
        BASELINE: partial(_nginx, BASELINE, 0),
        kept: partial(_nginx, kept, CHILDREN),
    }
    for number in connections:
        name = f"{FASTCAR}-{number}"
        found[name] = partial(_fastcar, name, number)
    return found


@contextlib.contextmanager
def _nginx(name: str, keepalive: int, folder: Path, socket: Path) -> Iterator[Gateway]:
    """Run one worker of nginx; `keepalive` FastCGI connections are kept, 0: none."""
    folder.mkdir()
    (port,) = free_ports(1)
    config = _NGINX.format(
        head=nginx_head(folder),
        common=nginx_common(folder),
        port=port,
        socket=socket,
        root=SCRIPTS,
        keepalive=f"keepalive {keepalive};" if keepalive else "",
        keep_conn="fastcgi_keep_conn on;" if keepalive else "",
    )
    with run_nginx(folder, config) as (process, log):
        gateway = Gateway(name, process.pid, port)
        wait_until_listening(gateway.address, process, log)
        yield gateway


@contextlib.contextmanager
def _fastcar(name: str, connections: int, folder: Path, socket: Path) -> Iterator[Gateway]:
    """Run `twistd -n fastcar fastcgi` of this Python environment."""
    folder.mkdir()
    (port,) = free_ports(1)
    options = {
        "listen": f"tcp:{port}:interface={_LOOPBACK}",
        "fpm": f"unix:{socket}",
        "root": SCRIPTS,
        "connections": connections,
        "max-body": 0,
    }
    argv = [twistd(), "-n", "--pidfile=", "fastcar", "fastcgi"]
    argv += [f"--{option}={value}" for option, value in options.items()]
    log = folder / "fastcar.log"
    with running(argv, log) as process:
        gateway = Gateway(name, process.pid, port)
        wait_until_listening(gateway.address, process, log)
        yield gateway
