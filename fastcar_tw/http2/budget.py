"""
What an origin may send that brings nothing.

Every frame costs us time, and some cost us an answer, but only responses are what we came for.  So
an origin has an account: a frame that brings nothing (PING, SETTINGS, PRIORITY, an empty DATA,
CONTINUATION, an unknown type, anything on a stream that has ended, ...) costs, more if it is large;
response heads, content and time give back, up to a limit.  RFC 9113 section 10.5 lists the floods
that are meant; none of them breaks a rule by itself.

An upload is different: an origin that reads it in small pieces sends two WINDOW_UPDATEs for each
(net/http of Go: for 4 KiB), and those of gRPC a PING per round trip, perhaps long after the content
has left us.  What we send is therefore counted apart and without a limit, and pays for these two.
And when we give a stream up, as much as its window may be on its way to us: that costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from h2.exceptions import DenialOfServiceError

#: Frames that bring nothing an origin may send at once, and how many more each second.
BURST = 1000.0
PER_SECOND = 100.0
#: What frames that bring something give back, each.
RESPONSE_GIVES = 4.0
CONTENT_GIVES = 1.0
#: Bytes; content in smaller pieces than this neither costs nor gives back.
CONTENT_WORTH = 64
#: Bytes of a frame that brings nothing which cost as much as another such frame.
SIZE_WORTH = 256
#: Bytes sent that pay for one WINDOW_UPDATE or PING.
SENT_WORTH = 1024
#: Bytes that a stream which we give up allows to come late, beyond its window: its fields.
LATE_FIELDS = 16 * 1024


class FloodError(DenialOfServiceError):
    """
    An origin sends too much that brings nothing; its code is ENHANCE_YOUR_CALM (RFC 9113
    section 10.5).
    """


class FrameBudget:
    """
    The account of one connection.

    @param clock: tells seconds that never go back.
    """

    __slots__ = ("_clock", "_late", "_left", "_sent", "_since")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._left = BURST
        self._sent = 0
        self._late = 0

    def spend(self, size: int) -> None:
        """
        A frame that brings nothing has come.

        @param size: bytes of its payload.
        @raise FloodError: there were too many.
        """
        self._left -= 1 + size // SIZE_WORTH
        if self._left < 0:
            self._refill()

    def spend_sent(self, size: int) -> None:
        """
        A WINDOW_UPDATE or PING has come: what was sent pays for it first.

        @raise FloodError: there were too many.
        """
        if self._sent >= SENT_WORTH:
            self._sent -= SENT_WORTH
        else:
            self.spend(size)

    def spend_late(self, size: int) -> None:
        """
        A frame has come on a stream that has ended.

        @param size: bytes of its payload.
        @raise FloodError: it was not under way when we gave a stream up, and there were too many.
        """
        cost = max(size, SIZE_WORTH)
        if self._late >= cost:
            self._late -= cost
        else:
            self.spend(size)

    def given_up(self, window: int) -> None:
        """
        We have reset a stream.

        @param window: bytes of content that may have been under way.
        """
        self._late += max(window, 0) + LATE_FIELDS

    def response(self) -> None:
        """A header section has come that was waited for."""
        self._left = min(self._left + RESPONSE_GIVES, BURST)

    def content(self, size: int) -> None:
        """
        Content has come.

        @param size: bytes, padding not counted.
        """
        if size >= CONTENT_WORTH:
            self._left = min(self._left + CONTENT_GIVES, BURST)

    def sent(self, size: int) -> None:
        """
        A frame of content goes out.

        @param size: bytes.
        """
        self._sent += max(size, SENT_WORTH)

    def _refill(self) -> None:
        # Time is asked for only when the account is empty, which is almost never.
        now = self._clock()
        self._left = min(self._left + (now - self._since) * PER_SECOND, BURST)
        self._since = now
        if self._left < 0:
            raise FloodError("the origin sends too many frames that bring nothing")
