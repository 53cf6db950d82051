"""
A regular file, opened once and for one response.
"""

from __future__ import annotations

import io
import os
import stat
import time
from typing import IO, Any, cast

from twisted.web.static import File, Registry

from fastcar_tw.fastcgi.media_types import MEDIA_TYPES, UNKNOWN
from fastcar_tw.fastcgi.preconditions import Validators

#: For resources that are programs, of which there are none.
_REGISTRY = Registry()


class ServedFile(File):
    """
    What twisted.web serves, reduced to this very file: whatever happens to its name meanwhile, what
    is told of it (type, length, date) and what is sent are of one and the same.

    @ivar size: bytes that it had when it was opened, of which there are no more and no fewer.
    @ivar validators: its own.
    """

    contentTypes = MEDIA_TYPES

    def __init__(self, path: bytes) -> None:
        """
        @param path: without symbolic links.
        @raise OSError: it cannot be opened, or is no regular file.
        """
        super().__init__(os.fsdecode(path), UNKNOWN, registry=_REGISTRY)
        self._content = _Content(path)
        status = self._content.status
        self.size = status.st_size
        etag = b'"%x-%x"' % (status.st_mtime_ns, status.st_size)
        # Never later than the response's date (RFC 9110 section 8.8.2.1).
        self.validators = Validators(etag, min(int(status.st_mtime), int(time.time())))

    def close(self) -> None:
        """
        Give the descriptor back; also after it was.
        """
        self._content.close()

    def set_type(self, content_type: bytes) -> None:
        """
        Make it of this type, whatever its name says, and not compressed.
        """
        self.type = content_type.decode("ascii", "ignore")
        self.encoding = None

    # From twisted.web.

    def restat(self, reraise: bool = True) -> None:
        pass

    def exists(self) -> bool:
        return True

    def isdir(self) -> bool:
        return False

    def openForReading(self) -> IO[bytes]:
        return cast("IO[bytes]", self._content)

    def getFileSize(self) -> int:
        return self.size

    def getModificationTime(self) -> float:
        return self.validators.modified


class _Content(io.FileIO):
    """
    An open file with the length it had when it was opened.

    @ivar status: as it was then.
    """

    def __init__(self, path: bytes) -> None:
        super().__init__(path, opener=_open)
        self.status = os.fstat(self.fileno())
        if not stat.S_ISREG(self.status.st_mode):
            self.close()
            raise FileNotFoundError("no regular file")

    def read(self, size: int | None = -1) -> bytes:
        """
        @param size: bytes, at most.
        @raise EOFError: the file has become shorter.  Without it a producer of twisted.web would
            take the response for complete, or for ever wait for the rest.
        """
        rest = self.status.st_size - self.tell()
        wanted = rest if size is None or size < 0 else min(size, rest)
        data = super().read(wanted)
        if wanted and not data:
            raise EOFError("the file has become shorter")
        return data


def _open(path: Any, flags: int) -> int:
    # A FIFO would be waited for.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
