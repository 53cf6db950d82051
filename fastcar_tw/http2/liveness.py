"""
Whether the origin at the other end of a connection is still there, as far as one can tell.

Rules of this file: it is told what comes, and says when to send a PING (RFC 9113 section 6.7) and
when to give up.  Whether anything is expected of the origin its owner knows, which also sends the
PINGs, one at a time.  Every byte is a sign of life.  An origin is given up only after a PING.
"""

from __future__ import annotations

from collections.abc import Callable

#: Seconds without a byte after which an idle connection is doubted before it is used: it may have
#: died unnoticed.
IDLE_TRUST = 5.0
#: Seconds without a byte after which an origin that owes something is asked for a sign of life: at
#: first, and at most; less and less often, since some end connections that ask too much.
PING_AFTER = 10.0
MAX_PING_AFTER = 160.0
#: Seconds it has to give one.
PING_PATIENCE = 10.0


class Liveness:
    """
    What is known of one connection.
    """

    __slots__ = ("_clock", "_last_byte", "_ping_after", "_pinged")

    def __init__(self, clock: Callable[[], float]) -> None:
        """
        @param clock: seconds.
        """
        self._clock = clock
        self._last_byte = clock()
        self._ping_after = PING_AFTER
        # When the PING was sent that is under way.
        self._pinged: float | None = None

    # What has happened.

    def heard(self) -> None:
        """
        A byte has come, or the connection is new.
        """
        self._last_byte = self._clock()

    def progressed(self) -> None:
        """
        What has come was more than signs of life: there is no need to ask less often any more.
        """
        self._ping_after = PING_AFTER

    def answered(self) -> None:
        """
        The answer to the PING has come.
        """
        self._pinged = None

    # What is to be done.

    @property
    def is_doubtful(self) -> bool:
        """
        Nothing has come for so long that a request should go with a PING, or wait for its answer.
        """
        return self._clock() - self._last_byte > IDLE_TRUST

    @property
    def is_lost(self) -> bool:
        """
        A PING was sent, and nothing has come for so long that nothing will.
        """
        if self._pinged is None:
            return False
        return self._clock() - max(self._pinged, self._last_byte) >= PING_PATIENCE

    def ask(self) -> bool:
        """
        A sign of life is wanted.

        @return: whether a PING is to be sent: none is under way.
        """
        if self._pinged is not None:
            return False
        self._pinged = self._clock()
        return True

    def ask_if_silent(self) -> bool:
        """
        Something is expected, and some time has passed: L{ask}, if nothing has come for long.

        @return: whether a PING is to be sent.
        """
        if self._pinged is not None or self._clock() - self._last_byte < self._ping_after:
            return False
        self._ping_after = min(2 * self._ping_after, MAX_PING_AFTER)
        return self.ask()
