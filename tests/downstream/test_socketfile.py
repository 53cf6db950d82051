"""What may stand at a socket's path, and what is done about it."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.downstream import socketfile
from fastcar_tw.downstream.socketfile import (
    MAX_PATH_LENGTH,
    SocketInUseError,
    SocketPathError,
    prepare,
    set_group,
)


class SocketFileTestCase(SynchronousTestCase):
    """Works at a path in a directory of its own."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        os.chmod(self.directory, 0o755)
        self.path = os.path.join(self.directory, "s")

    def bind(self, kind: int = socket.SOCK_STREAM, path: str = "") -> socket.socket:
        """Bind a socket to the path; stale until it listens."""
        bound = socket.socket(socket.AF_UNIX, kind)
        self.addCleanup(bound.close)
        bound.bind(path or self.path)
        return bound

    def refused(self, kind: type[SocketPathError] = SocketPathError, path: str = "") -> str:
        """Assert that the path is refused; return the reason without the path."""
        path = path or self.path
        error = self.assertRaises(kind, prepare, path)
        self.assertIs(type(error), kind)
        self.assertTrue(str(error).startswith(path + ": "), str(error))
        return str(error)[len(path) + 2 :]

    def become_nobody(self) -> None:
        """For the rest of the test do without root's power over permissions."""
        if os.geteuid() == 0:
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)


class PrepareTests(SocketFileTestCase):
    """C{prepare}."""

    def test_nothing_there(self) -> None:
        """A free path in a writable directory is fine, and stays free."""
        prepare(self.path)
        self.assertEqual(os.listdir(self.directory), [])

    def test_relative(self) -> None:
        """A path without a directory means the current one."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        self.bind().close()
        prepare("s")
        self.assertEqual(os.listdir("."), [])

    def test_live(self) -> None:
        """A socket somebody listens on is in use, and keeps working."""
        listener = self.bind()
        listener.listen()
        self.assertEqual(self.refused(SocketInUseError), "in use")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)

    def test_live_with_full_queue(self) -> None:
        """A listener too busy to accept is in use too."""
        self.bind().listen(0)
        with self.assertRaises(BlockingIOError):
            while True:
                client = socket.socket(socket.AF_UNIX)
                self.addCleanup(client.close)
                client.setblocking(False)
                client.connect(self.path)
        self.assertEqual(self.refused(SocketInUseError), "in use")

    def test_live_datagram_socket(self) -> None:
        """A socket of another type that somebody has bound is in use."""
        self.bind(socket.SOCK_DGRAM)
        self.assertEqual(self.refused(SocketInUseError), "in use")

    def test_stale(self) -> None:
        """A socket nobody listens on is removed."""
        self.bind().close()
        prepare(self.path)
        self.assertFalse(os.path.lexists(self.path))

    def test_stale_and_replaced(self) -> None:
        """A socket that another process put there since is not removed, whatever its inode."""
        self.bind().close()
        found = os.lstat(self.path)
        values = list(found)
        older = os.stat_result(values, {"st_ctime_ns": found.st_ctime_ns - 1})
        socketfile._unlink_stale(self.path, older)
        self.assertTrue(os.path.lexists(self.path))

    def test_regular_file(self) -> None:
        """A regular file is named as such and not deleted."""
        with open(self.path, "w"):
            pass
        self.assertEqual(self.refused(), "is a regular file, which is never deleted; remove it")
        self.assertTrue(os.path.exists(self.path))

    def test_directory(self) -> None:
        """So is a directory."""
        os.mkdir(self.path)
        self.assertIn("is a directory, which is never deleted", self.refused())
        self.assertTrue(os.path.exists(self.path))

    def test_fifo(self) -> None:
        """So is a FIFO."""
        os.mkfifo(self.path)
        self.assertIn("is a FIFO, which is never deleted", self.refused())
        self.assertTrue(os.path.exists(self.path))

    def test_link_to_file(self) -> None:
        """So is a symbolic link to something that is no socket; the target is safe as well."""
        target = self.path + ".target"
        with open(target, "w"):
            pass
        os.symlink(target, self.path)
        self.assertIn("is a symbolic link to a regular file, which is never", self.refused())
        self.assertTrue(os.path.islink(self.path) and os.path.exists(target))

    def test_dangling_link(self) -> None:
        """So is a symbolic link to nothing."""
        os.symlink(self.path + ".target", self.path)
        self.assertIn("is a symbolic link to nothing, which is never deleted", self.refused())
        self.assertTrue(os.path.islink(self.path))

    def test_link_to_live_socket(self) -> None:
        """A symbolic link to a live socket is in use."""
        self.bind(path=self.path + ".target").listen()
        os.symlink(self.path + ".target", self.path)
        self.assertEqual(self.refused(SocketInUseError), "in use")

    def test_link_to_stale_socket(self) -> None:
        """Of a symbolic link to a stale socket the link is removed, not the socket."""
        self.bind(path=self.path + ".target").close()
        os.symlink(self.path + ".target", self.path)
        prepare(self.path)
        self.assertEqual(os.listdir(self.directory), ["s.target"])

    def test_no_directory(self) -> None:
        """A missing directory is named."""
        missing = os.path.join(self.directory, "missing")
        reason = self.refused(path=os.path.join(missing, "s"))
        self.assertEqual(reason, f"{missing} is not an existing directory")

    def test_file_as_directory(self) -> None:
        """A file where the directory should be is named."""
        with open(self.path, "w"):
            pass
        reason = self.refused(path=os.path.join(self.path, "s"))
        self.assertEqual(reason, f"{self.path} is not an existing directory")

    def test_directory_not_writable(self) -> None:
        """A directory we may not write to is named."""
        os.chmod(self.directory, 0o555)
        self.addCleanup(os.chmod, self.directory, 0o755)
        self.become_nobody()
        reason = self.refused()
        self.assertEqual(reason, f"{self.directory} is not writable by user {os.geteuid()}")

    def test_stale_in_directory_not_writable(self) -> None:
        """A stale socket that we may not remove is an error, and stays."""
        self.bind().close()
        os.chmod(self.path, 0o777)
        os.chmod(self.directory, 0o555)
        self.addCleanup(os.chmod, self.directory, 0o755)
        self.become_nobody()
        self.assertIn("is not writable", self.refused())
        self.assertTrue(os.path.exists(self.path))

    def test_socket_not_ours_to_connect(self) -> None:
        """A socket we may not connect to could be live: an error, and it stays."""
        self.bind().listen()
        os.chmod(self.path, 0)
        self.become_nobody()
        self.assertIn("cannot tell whether the socket is in use: Permission", self.refused())
        self.assertTrue(os.path.exists(self.path))

    def test_stale_socket_of_another_user(self) -> None:
        """A stale socket that a sticky directory protects is an error, and stays."""
        if os.geteuid() != 0:
            self.skipTest("needs root to make a file of another user")
        self.bind().close()
        os.chmod(self.path, 0o777)
        os.chmod(self.directory, 0o1777)
        self.become_nobody()
        self.assertIn("cannot remove the stale socket: Operation not", self.refused())
        self.assertTrue(os.path.exists(self.path))

    def test_longest_path(self) -> None:
        """A path of 107 bytes is fine and can be bound."""
        path = os.path.join(self.directory, "")
        path += "s" * (MAX_PATH_LENGTH - len(path))
        prepare(path)
        self.bind(path=path)

    def test_too_long(self) -> None:
        """A path of more than 107 bytes, not characters, is refused with its length."""
        path = os.path.join(self.directory, "")
        path += "é" * ((MAX_PATH_LENGTH - len(path)) // 2 + 1)
        length = len(path.encode())
        self.assertIn(f"{length} bytes long, but a UNIX socket's path", self.refused(path=path))

    def test_no_path(self) -> None:
        """An empty path and one with a NUL (an abstract name) are refused."""
        for path in ("", "\0abstract", "/tmp/a\0b"):
            self.assertRaises(SocketPathError, prepare, path)


class GroupTests(SocketFileTestCase):
    """C{set_group}."""

    def test_own_group(self) -> None:
        """The file is given to the group of that name; its owner stays."""
        self.bind()
        group = grp.getgrgid(max(os.getgroups() or [os.getegid()]))
        set_group(self.path, group.gr_name)
        found = os.stat(self.path)
        self.assertEqual((found.st_uid, found.st_gid), (os.geteuid(), group.gr_gid))

    def test_unknown_group(self) -> None:
        """An unknown group is an error that names it."""
        self.bind()
        error = self.assertRaises(SocketPathError, set_group, self.path, "no-such-group")
        self.assertEqual(str(error), f"{self.path}: there is no group named 'no-such-group'")

    def test_not_permitted(self) -> None:
        """A file we may not give away is an error that names the group."""
        self.bind()
        if os.geteuid() == 0:
            self.become_nobody()
            group = grp.getgrgid(0).gr_name
        else:
            ours = {os.getegid(), *os.getgroups()}
            group = next(g.gr_name for g in grp.getgrall() if g.gr_gid not in ours)
        error = self.assertRaises(SocketPathError, set_group, self.path, group)
        self.assertIn(f"cannot give to group {group}: Operation not permitted", str(error))
