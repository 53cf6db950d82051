"""What an origin may send that brings nothing: floods are ended, honest origins are not."""

from __future__ import annotations

from h2.errors import ErrorCodes
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http2.budget import BURST, PER_SECOND, FloodError, FrameBudget


class FrameBudgetTests(SynchronousTestCase):
    """Tests of FrameBudget alone: numbers in, FloodError out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.budget = FrameBudget(self.clock.seconds)

    def spend_all(self) -> None:
        for _ in range(int(BURST)):
            self.budget.spend(0)

    def test_burst(self) -> None:
        """A burst is allowed, and one frame more is a flood."""
        self.spend_all()
        error = self.assertRaises(FloodError, self.budget.spend, 0)
        self.assertIs(error.error_code, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_time_gives_back(self) -> None:
        """Each second allows some more frames."""
        self.spend_all()
        self.clock.advance(1)
        for _ in range(int(PER_SECOND)):
            self.budget.spend(0)
        self.assertRaises(FloodError, self.budget.spend, 0)

    def test_idle_does_not_save_up(self) -> None:
        """A connection that idled for a day is allowed no larger a flood."""
        self.spend_all()
        self.clock.advance(24 * 3600)
        self.budget.spend(0)
        self.spend_all()
        self.assertRaises(FloodError, self.budget.spend, 0)

    def test_responses_give_back(self) -> None:
        """Frames that bring nothing may go on for ever among responses."""
        for _ in range(int(10 * BURST)):
            self.budget.response()
            self.budget.spend(0)

    def test_content_gives_back(self) -> None:
        """A PING for each piece of content is no flood."""
        for _ in range(int(10 * BURST)):
            self.budget.content(1400)
            self.budget.spend_sent(8)

    def test_small_content_gives_nothing(self) -> None:
        """Content of a byte at a time does not pay for a flood, and is none by itself."""
        self.spend_all()
        for _ in range(int(2 * BURST)):
            self.budget.content(1)
        self.assertRaises(FloodError, self.budget.spend, 0)

    def test_large_frames_cost_more(self) -> None:
        """Payload that brings nothing costs by its size."""
        for _ in range(3):
            self.budget.spend(64 * 1024)
        self.assertRaises(FloodError, self.budget.spend, 64 * 1024)

    def test_windows_of_an_upload(self) -> None:
        """An origin that gives its windows back late and in 4 KiB pieces is honest."""
        for _ in range(1024):
            self.budget.sent(16 * 1024)
        for _ in range(16 * 1024 // 4):
            self.budget.spend_sent(4)
            self.budget.spend_sent(4)

    def test_pings_of_an_upload(self) -> None:
        """An origin may answer each DATA frame with a PING, as gRPC does, however small."""
        for _ in range(int(10 * BURST)):
            self.budget.sent(5)
            self.budget.spend_sent(8)

    def test_uploads_pay_for_nothing_else(self) -> None:
        """What was sent does not pay for SETTINGS, empty DATA and the like."""
        self.budget.sent(1 << 30)
        self.spend_all()
        self.assertRaises(FloodError, self.budget.spend, 0)

    def test_given_up(self) -> None:
        """What may be under way when a stream is given up costs nothing, and no more than that."""
        self.budget.given_up(16 * 1024)
        self.spend_all()
        for _ in range(32):
            self.budget.spend_late(1024)
        self.assertRaises(FloodError, self.budget.spend_late, 0)
