"""
The two files of the local CA, and the rules for them on disk.

Everything happens under an exclusive lock on the directory, so that of processes starting at
once one writes and the others read; files appear complete (written aside, then renamed), for
those who read ca.pem without the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator

__all__ = ["CERTIFICATE_FILE", "KEY_FILE", "CAStore", "LocalCAError"]

KEY_FILE = "ca-key.pem"
CERTIFICATE_FILE = "ca.pem"


class LocalCAError(Exception):
    """
    The local CA cannot be used; the message names the file and what was expected.
    """


class CAStore:
    """
    The directory of one local CA.
    """

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        self.key_path = os.path.join(self.directory, KEY_FILE)
        self.certificate_path = os.path.join(self.directory, CERTIFICATE_FILE)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """
        Hold the directory alone, creating it if need be.

        Its mode is 0755: the certificate in it is for PHP, which runs as another user.

        @raise LocalCAError: if it cannot be made or locked.
        """
        with _explained(self.directory, "a directory to keep the local CA in"):
            if not os.path.isdir(self.directory):
                os.makedirs(self.directory, exist_ok=True)
                os.chmod(self.directory, 0o755)
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with _explained(self.directory, "a directory that can be locked"):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> tuple[bytes, bytes] | None:
        """
        @return: key and certificate as PEM, None if there are none.
        @raise LocalCAError: if there is only one, or a file is not as it should be.
        """
        key = self._read(self.key_path, secret=True)
        certificate = self._read(self.certificate_path, secret=False)
        if key is None and certificate is None:
            return None
        if key is None or certificate is None:
            missing, left = self.key_path, self.certificate_path
            if key is not None:
                missing, left = left, missing
            raise LocalCAError(
                f"{missing} is missing: expected it beside {left}; "
                f"restore it, or delete {left} to have a new CA made"
            )
        return key, certificate

    def write(self, key: bytes, certificate: bytes) -> None:
        """
        Store a new CA: the key for us alone, the certificate for everyone.

        @raise LocalCAError: if the directory cannot be written to.
        """
        with _explained(self.directory, "a directory that can be written to"):
            self._write(self.key_path, key, 0o600)
            self._write(self.certificate_path, certificate, 0o644)

    def _read(self, path: str, *, secret: bool) -> bytes | None:
        with _explained(path, "a readable file"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                return None
            with open(descriptor, "rb") as file:
                # Of the open file, not of the path: they may differ by now.
                _check_status(path, os.fstat(descriptor), secret)
                return file.read()

    def _write(self, path: str, data: bytes, mode: int) -> None:
        # mkstemp creates with O_EXCL and mode 0600.
        descriptor, temporary = tempfile.mkstemp(".tmp", os.path.basename(path), self.directory)
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _check_status(path: str, status: os.stat_result, secret: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise LocalCAError(f"{path}: expected a regular file")
    if secret and status.st_mode & 0o077:
        raise LocalCAError(
            f"{path}: expected a key that only its owner can read (mode 0600), "
            f"got mode {stat.S_IMODE(status.st_mode):04o}"
        )
    if secret and status.st_uid not in (os.geteuid(), 0):
        raise LocalCAError(
            f"{path}: expected a key owned by user id {os.geteuid()}, got {status.st_uid}"
        )


@contextlib.contextmanager
def _explained(path: str, expected: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalCAError(f"{path}: expected {expected} ({error.strerror})") from None
