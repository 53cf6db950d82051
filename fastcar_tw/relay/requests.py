"""
The requests of one client that wait for their turn.

A client that does not wait for a response before it sends the next request (pipelining) has its
requests sent together, as it would without a relay in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from fastcar_tw.relay.framing import FrameError, Framing, Use

#: Requests that are sent together at most, and bytes up to which they are joined.
MAX_BATCH_REQUESTS = 128
MAX_BATCH_BYTES = 64 * 1024


class Batch(NamedTuple):
    """
    Whole requests that are sent on one connection, one after another.

    @ivar number: of them, and of the responses that are due.
    @ivar holds: the connection stays with the client after them.
    @ivar ends: the last of them ends what others have begun.
    """

    data: bytes
    number: int
    holds: bool = False
    ends: bool = False


class RequestQueue:
    """
    Takes what a client sends, gives what can be sent on.

    @ivar size: bytes that wait, those of a request that is not complete yet left out.
    @ivar last: Use.OWN or Use.LAST, once a request has come that is the last to be told apart.
    """

    __slots__ = ("_batches", "_framer", "_holding", "_part", "_session", "last", "size")

    def __init__(self, framing: Framing) -> None:
        self._framer = framing.requests()
        self._session = framing.session()
        self._batches: deque[Batch] = deque()
        # What belongs to no batch: a part of a request, or all from the last one on.
        self._part = bytearray()
        self._holding = False
        self.size = 0
        self.last: Use | None = None

    @property
    def partial(self) -> bool:
        """
        A request has begun, and is not complete.
        """
        return bool(self._part) and self.last is None

    def feed(self, data: bytes) -> None:
        """
        Take what has come.

        @raise FrameError: it ends in what is no request; the client must not be heard any further.
        """
        if self.last is not None:
            self._keep(data)
            return
        try:
            ends: Sequence[int] = self._framer.feed(data)
        except FrameError as error:
            # What came before it is served, and may be the last to be told apart.
            self._divide(data, error.ends)
            if self.last is None:
                raise
            return
        self._divide(data, ends)

    def next(self) -> Batch | None:
        """
        @return: what to send next; None: nothing is there.
        """
        batches = self._batches
        if not batches:
            return None
        batch = batches.popleft()
        if batches and not batch.ends:
            batch = self._join(batch)
        self.size -= len(batch.data)
        return batch

    def rest(self) -> bytes:
        """
        @return: from the request on that needs a connection of its own (L{Use.OWN}), all that came.
        """
        rest = bytes(self._part)
        self._part.clear()
        self.size = 0
        return rest

    def _divide(self, data: bytes, ends: Sequence[int]) -> None:
        """
        @param ends: of the requests in C{data}.
        """
        if not ends:
            self._keep(data)
            return
        if self._part:
            before = len(self._part)
            data = bytes(self._part) + data
            self._part.clear()
            ends = [before + end for end in ends]
        end = self._cut(data, ends) if self._session is None else self._judge(data, ends)
        if end < len(data):
            self._keep(data[end:])

    def _keep(self, data: bytes) -> None:
        if self.last is not Use.LAST:
            self._part += data
        if self.last is Use.OWN:
            self.size += len(data)

    def _cut(self, data: bytes, ends: Sequence[int]) -> int:
        """
        Make batches of requests that have nothing to do with one another.

        @return: where the bytes begin that belong to none.
        """
        start = 0
        for first in range(0, len(ends), MAX_BATCH_REQUESTS):
            some = ends[first : first + MAX_BATCH_REQUESTS]
            self._add(data[start : some[-1]], len(some), ends=False)
            start = some[-1]
        return start

    def _judge(self, data: bytes, ends: Sequence[int]) -> int:
        """
        Make batches of requests, each of which may do something to its connection.

        @return: where the bytes begin that belong to none.
        """
        session = self._session
        assert session is not None
        begun = start = count = 0
        for end in ends:
            try:
                use = session.use(data[start:end])
            except FrameError:
                self._add(data[begun:start], count, ends=False)
                raise
            if use is Use.SHARED:
                count += 1
                if count == MAX_BATCH_REQUESTS:
                    self._add(data[begun:end], count, ends=False)
                    begun, count = end, 0
            else:
                self._add(data[begun:start], count, ends=False)
                begun, count = end, 0
                if use is Use.BEGINS or use is Use.ENDS:
                    self._holding = use is Use.BEGINS
                    self._add(data[start:end], 1, ends=use is Use.ENDS)
                elif use is not Use.NOTHING:
                    self.last = use
                    return start
            start = end
        self._add(data[begun:start], count, ends=False)
        return start

    def _add(self, data: bytes, count: int, *, ends: bool) -> None:
        if count:
            self._batches.append(Batch(data, count, self._holding, ends))
            self.size += len(data)

    def _join(self, batch: Batch) -> Batch:
        """
        Add to a batch those that can be sent with it.
        """
        parts = [batch.data]
        count, size, holds, ends = batch.number, len(batch.data), batch.holds, False
        while self._batches and not ends:
            other = self._batches[0]
            count += other.number
            size += len(other.data)
            if count > MAX_BATCH_REQUESTS or size > MAX_BATCH_BYTES:
                count -= other.number
                break
            parts.append(other.data)
            holds, ends = other.holds, other.ends
            self._batches.popleft()
        return Batch(b"".join(parts), count, holds, ends)
