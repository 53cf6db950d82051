"""
A request's body on its way to a script.
"""

from __future__ import annotations

from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import Protocol

from fastcar_tw.http.errors import FastcarError

#: Bytes taken at a time from a body that lies ready.
PIECE = 64 * 1024


class RequestBody(Protocol):
    """
    Takes a body as it comes, and gives it as it is wanted.

    @ivar collected: it has to be complete before a script is asked for.
    @ivar length: bytes; of a collected one, as soon as it is complete.
    """

    @property
    def collected(self) -> bool: ...

    @property
    def length(self) -> int: ...

    @property
    def finished(self) -> bool:
        """
        All of it was taken.
        """

    def feed(self, content: bytes) -> None:
        """
        Some of it has come.

        @raise FastcarError: 413: it is too large; 507: there is no room for it.
        """

    def end(self) -> None:
        """
        That was all.

        @raise FastcarError: 507: there is no room for it.
        """

    def take(self) -> bytes:
        """
        Some of it, for the script.
        """

    def rewind(self) -> bool:
        """
        Begin again.

        @return: whether that is possible.
        """

    def close(self) -> None:
        """
        It is of no use any more.
        """


class StreamedBody:
    """
    A body of known length, which is passed on as it comes.
    """

    __slots__ = ("_ended", "_pieces", "_taken", "length")

    collected = False

    def __init__(self, length: int) -> None:
        self.length = length
        self._pieces: list[bytes] = []
        self._ended = False
        # Of all that was taken, if that was once only; None: it is lost.
        self._taken: bytes | None = b""

    @property
    def finished(self) -> bool:
        return self._ended and not self._pieces

    def feed(self, content: bytes) -> None:
        self._pieces.append(content)

    def end(self) -> None:
        self._ended = True

    def take(self) -> bytes:
        content = b"".join(self._pieces)
        self._pieces.clear()
        if content:
            self._taken = content if self._taken == b"" else None
        return content

    def rewind(self) -> bool:
        if self._taken is None:
            return False
        if self._taken:
            self._pieces.insert(0, self._taken)
        self._taken = b""
        return True

    def close(self) -> None:
        pass


class CollectedBody:
    """
    A body that has to be complete before a script begins: one of unknown length, which php-fpm
    could not read, or one that php-fpm would wait for.  What exceeds a size lies in a temporary
    file.
    """

    __slots__ = ("_file", "_left", "_limit", "length")

    collected = True

    def __init__(self, memory: int, limit: int) -> None:
        """
        @param memory: bytes held in memory.
        @param limit: bytes in all; 0: any number.
        """
        # To a spooled file, 0 means no limit.
        self._file = SpooledTemporaryFile(max(memory, 1))  # noqa: SIM115  # outlives this method
        self._limit = limit
        self.length = 0
        self._left = 0

    @property
    def finished(self) -> bool:
        return not self._left

    def feed(self, content: bytes) -> None:
        self.length += len(content)
        if 0 < self._limit < self.length:
            raise too_large(self._limit)
        try:
            self._file.write(content)
        except OSError as error:
            raise _not_stored(error) from None

    def end(self) -> None:
        try:
            # What was written last is stored only now.
            self._file.seek(0)
        except OSError as error:
            raise _not_stored(error) from None
        self._left = self.length

    def take(self) -> bytes:
        content = self._file.read(PIECE)
        self._left -= len(content)
        return content

    def rewind(self) -> bool:
        self._file.seek(0)
        self._left = self.length
        return True

    def close(self) -> None:
        # What could not be written before cannot be now.
        with suppress(OSError):
            self._file.close()


def _not_stored(error: OSError) -> FastcarError:
    text = f"the request body could not be stored: {error.strerror}"
    return FastcarError(507, "proxy_internal_error", text)


def too_large(limit: int) -> FastcarError:
    """
    What there is to say of a body that exceeds a number of bytes.
    """
    return FastcarError(413, "http_request_error", f"the request body exceeds {limit} bytes")
