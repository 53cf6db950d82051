"""
The file of a listening UNIX socket: what may stand in its place, whose it is, its group.

Everything here runs before or around listening, and blocks no longer than a few system calls.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat

#: Bytes a path may have: sun_path is 108 long on Linux and ends with a NUL (unix(7)).
MAX_PATH_LENGTH = 107

_KINDS = (
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISLNK, "a symbolic link to nothing"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class SocketPathError(Exception):
    """
    A UNIX socket cannot be made at a path; the text starts with the path and says why.
    """


class SocketInUseError(SocketPathError):
    """
    Another process listens at the path.
    """


def prepare(path: str) -> None:
    """
    Make way for a socket at a path: remove a stale one, on which nobody listens, and nothing else.

    @raise SocketInUseError: if somebody listens.
    @raise SocketPathError: if the path is too long, its directory is missing or not writable, or
        something other than a socket is there (which is never deleted).
    """
    check_path(path)
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise SocketPathError(f"{path}: {directory} is not an existing directory")
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        _check_writable(path, directory)
        return
    except OSError as reason:
        raise SocketPathError(f"{path}: {reason.strerror}") from reason
    _check_kind(path, found)
    if _is_stale(path):
        _check_writable(path, directory)
        _unlink_stale(path, found)


def check_path(path: str) -> None:
    """
    See that a path can be a UNIX socket's at all, whatever is there now.

    @raise SocketPathError: if it is empty, not of a file, or too long.
    """
    try:
        length = len(os.fsencode(path))
    except UnicodeEncodeError:
        length = 0
    if not length or "\0" in path:
        raise SocketPathError(f"{path!r}: expected the path of a file")
    if length > MAX_PATH_LENGTH:
        raise SocketPathError(
            f"{path}: {length} bytes long, but a UNIX socket's path has at most {MAX_PATH_LENGTH}"
        )


def _check_writable(path: str, directory: str) -> None:
    effective = os.access in os.supports_effective_ids
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=effective):
        raise SocketPathError(f"{path}: {directory} is not writable by user {os.geteuid()}")


def _check_kind(path: str, found: os.stat_result) -> None:
    """
    Raise SocketPathError unless the path is a socket, or a symbolic link to one.
    """
    through = ""
    if stat.S_ISLNK(found.st_mode) and os.path.exists(path):
        found, through = os.stat(path), "a symbolic link to "
    if not stat.S_ISSOCK(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "no socket")
        raise SocketPathError(f"{path}: is {through}{kind}, which is never deleted; remove it")


def _is_stale(path: str) -> bool:
    """
    Whether nobody listens at the path.

    @raise SocketInUseError: if somebody does.
    @raise SocketPathError: if that cannot be told.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        outcome = probe.connect_ex(path)
    # EAGAIN: the listener's queue is full; EPROTOTYPE: it is a listener of another socket type.
    if outcome in (0, errno.EAGAIN, errno.EPROTOTYPE):
        raise SocketInUseError(f"{path}: in use")
    if outcome not in (errno.ECONNREFUSED, errno.ENOENT):
        raise SocketPathError(
            f"{path}: cannot tell whether the socket is in use: {os.strerror(outcome)}"
        )
    return outcome == errno.ECONNREFUSED


def _unlink_stale(path: str, found: os.stat_result) -> None:
    """
    Unlink the socket that was C{found}, but not one that another process put there since.
    """
    try:
        now = os.lstat(path)
        if _identity(now) == _identity(found):
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as reason:
        raise SocketPathError(
            f"{path}: cannot remove the stale socket: {reason.strerror}"
        ) from reason


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    # The inode's number may have been given to a new file at once.
    return found.st_dev, found.st_ino, found.st_ctime_ns


def set_group(path: str, name: str) -> None:
    """
    Give the file to a group by name.

    @raise SocketPathError: if there is no such group, or we may not give the file to it.
    """
    try:
        group = grp.getgrnam(name).gr_gid
    except KeyError:
        raise SocketPathError(f"{path}: there is no group named {name!r}") from None
    try:
        os.chown(path, -1, group, follow_symlinks=False)
    except OSError as reason:
        raise SocketPathError(f"{path}: cannot give to group {name}: {reason.strerror}") from reason
