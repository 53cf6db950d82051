"""
When an origin is asked whether it is still there, and when it is given up.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http2.liveness import (
    IDLE_TRUST,
    MAX_PING_AFTER,
    PING_AFTER,
    PING_PATIENCE,
    Liveness,
)


class LivenessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.liveness = Liveness(lambda: self.now)

    def _answer(self) -> None:
        self.liveness.heard()
        self.liveness.answered()

    def _silence_until_asked(self) -> float:
        """
        Seconds of silence after which a PING is sent, which is answered at once.
        """
        begun = self.now
        while not self.liveness.ask_if_silent():
            self.now += 1
        self._answer()
        return self.now - begun

    def test_doubtful(self) -> None:
        """
        A connection is trusted for a while after each byte.
        """
        self.now += IDLE_TRUST
        self.assertFalse(self.liveness.is_doubtful)
        self.now += 0.1
        self.assertTrue(self.liveness.is_doubtful)
        self.liveness.heard()
        self.assertFalse(self.liveness.is_doubtful)

    def test_one_at_a_time(self) -> None:
        """
        While a PING is under way no other is sent, whoever asks.
        """
        self.assertTrue(self.liveness.ask())
        self.now += PING_AFTER
        self.assertFalse(self.liveness.ask())
        self.assertFalse(self.liveness.ask_if_silent())
        self._answer()
        self.assertTrue(self.liveness.ask())

    def test_silence(self) -> None:
        """
        A PING is sent when nothing has come for long, counted from the last byte.
        """
        self.now += PING_AFTER - 1
        self.liveness.heard()
        self.now += 1
        self.assertFalse(self.liveness.ask_if_silent())
        self.now += PING_AFTER - 1
        self.assertTrue(self.liveness.ask_if_silent())

    def test_less_often(self) -> None:
        """
        The silence before the next PING doubles with each, up to a limit.
        """
        doubled = [PING_AFTER * factor for factor in (1, 2, 4, 8, 16)]
        silences = [self._silence_until_asked() for _ in range(6)]
        self.assertEqual(silences, [*doubled, MAX_PING_AFTER])

    def test_progress(self) -> None:
        """
        When more has come than signs of life, it is asked as early as at first.
        """
        self._silence_until_asked()
        self.liveness.progressed()
        self.assertEqual(self._silence_until_asked(), PING_AFTER)

    def test_asked_otherwise(self) -> None:
        """
        A PING that was not sent because of a silence does not put off the next.
        """
        self.liveness.ask()
        self._answer()
        self.assertEqual(self._silence_until_asked(), PING_AFTER)

    def test_lost(self) -> None:
        """
        An origin that says nothing is given up some time after the PING.
        """
        self.liveness.ask()
        self.now += PING_PATIENCE - 0.1
        self.assertFalse(self.liveness.is_lost)
        self.now += 0.1
        self.assertTrue(self.liveness.is_lost)

    def test_any_byte(self) -> None:
        """
        Any byte is a sign of life, though the answer may be behind much else.
        """
        self.liveness.ask()
        self.now += PING_PATIENCE - 1
        self.liveness.heard()
        self.now += PING_PATIENCE - 1
        self.assertFalse(self.liveness.is_lost)
        self.now += 1
        self.assertTrue(self.liveness.is_lost)

    def test_not_asked(self) -> None:
        """
        An origin that was not asked is not given up, however long it says nothing.
        """
        self.now += 1000
        self.assertFalse(self.liveness.is_lost)
        self.liveness.ask()
        self._answer()
        self.now += 1000
        self.assertFalse(self.liveness.is_lost)
