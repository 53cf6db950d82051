"""php-fpm with a pool of children for each gateway.

A child belongs to a FastCGI connection as long as that is open. So gateways that keep connections
would take each other's children away, were they to share a pool: each has its own, and all pools
are the same.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, running, wait_until_listening

CHILDREN = 4
_GLOBAL = """
[global]
error_log = /dev/stderr
log_level = warning
daemonize = no
"""
_POOL = """
[{name}]
{user}
listen = {socket}
listen.backlog = 4096
pm = static
pm.max_children = {children}
env[BLOCK] = {folder}/block
php_admin_value[post_max_size] = 0
php_admin_value[upload_tmp_dir] = {folder}
php_admin_value[sys_temp_dir] = {folder}
"""


@dataclass(frozen=True)
class PHPFPM:
    """A running php-fpm: its master process, and the socket of each pool."""

    pid: int
    sockets: dict[str, Path]


def program() -> str:
    """Return the path of the newest php-fpm. Raises BenchError if there is none."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    found = [each for place in places if place for each in glob.glob(f"{place}/php-fpm*")]
    if not found:
        raise BenchError("php-fpm: not found; install the package php-fpm")
    return max(found, key=_version)


def _version(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", os.path.basename(path))]


def version() -> str:
    """Return what php-fpm calls itself."""
    done = subprocess.run([program(), "-v"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return f"php-fpm {words[1]}" if len(words) > 1 else "php-fpm"


@contextlib.contextmanager
def run_php_fpm(folder: Path, pools: Sequence[str]) -> Iterator[PHPFPM]:
    """Run it while the block lasts, with a pool for each name; `folder` is made.

    Raises BenchError if it does not start.
    """
    folder.mkdir()
    sockets = {name: folder / f"{name}.sock" for name in pools}
    root = os.geteuid() == 0
    # As root, php-fpm would give its children to an account that cannot read our folder.
    user = "user = root\ngroup = root" if root else ""
    config = _GLOBAL + "".join(
        _POOL.format(name=name, user=user, socket=socket, children=CHILDREN, folder=folder)
        for name, socket in sockets.items()
    )
    path, log = folder / "php-fpm.conf", folder / "php-fpm.log"
    path.write_text(config)
    argv = [program(), "--fpm-config", str(path), *(["--allow-to-run-as-root"] if root else [])]
    with running(argv, log) as process:
        for socket in sockets.values():
            wait_until_listening(str(socket), process, log)
        yield PHPFPM(process.pid, sockets)
