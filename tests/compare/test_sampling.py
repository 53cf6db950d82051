"""The requests of a comparison, with a client that only takes notes."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.compare import CompareError
from fastcar_tw.compare.client import CurlOptions, Timing
from fastcar_tw.compare.sampling import ProgressBar, sample
from fastcar_tw.compare.ways import Way

WAYS = [Way("direct", {"URL": "d"}), Way("fastcar", {"URL": "f"})]


class SampleTests(SynchronousTestCase):
    """Order, counting and failures."""

    def setUp(self) -> None:
        self.asked: list[object] = []

    def request(self, options: CurlOptions) -> Timing:
        """Take as many milliseconds as requests there were."""
        self.asked.append(options["URL"])
        return Timing(float(len(self.asked)), 200 if options["URL"] == "f" else 404)

    def test_turns(self) -> None:
        """All ways take turns, and the first request of each is not counted."""
        shown: list[tuple[int, int]] = []
        direct, fastcar = sample(self.request, WAYS, 2, lambda *counts: shown.append(counts))
        self.assertEqual(self.asked, ["d", "f", "d", "f", "d", "f"])
        self.assertEqual((direct.name, direct.latencies), ("direct", [3.0, 5.0]))
        self.assertEqual((fastcar.name, fastcar.latencies), ("fastcar", [4.0, 6.0]))
        self.assertEqual(shown, [(number, 6) for number in range(6)])

    def test_statuses(self) -> None:
        """Every response is counted by its status."""
        direct, fastcar = sample(self.request, WAYS, 2, lambda *_: None)
        self.assertEqual((direct.statuses, fastcar.statuses), ({404: 3}, {200: 3}))

    def test_failure(self) -> None:
        """A request without a response ends it, and the way is named."""

        def request(options: CurlOptions) -> Timing:
            if options["URL"] == "f":
                raise CompareError("curl error 7: no")
            return Timing(1.0, 200)

        with self.assertRaises(CompareError) as raised:
            sample(request, WAYS, 2, lambda *_: None)
        self.assertEqual(str(raised.exception), "fastcar: curl error 7: no")


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


class ProgressTests(SynchronousTestCase):
    """The bar."""

    def test_terminal(self) -> None:
        """It grows in place, and goes."""
        terminal = Terminal()
        bar = ProgressBar(terminal, "http")
        bar(1, 2)
        bar.clear()
        shown = f"\r\x1b[Khttp [{'#' * 20}{' ' * 20}] 1/2"
        self.assertEqual(terminal.getvalue(), f"{shown}\r\x1b[K")

    def test_no_terminal(self) -> None:
        """A file gets nothing."""
        file = io.StringIO()
        bar = ProgressBar(file, "http")
        bar(1, 2)
        bar.clear()
        self.assertEqual(file.getvalue(), "")
