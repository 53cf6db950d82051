"""The text and the picture of a comparison."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections import Counter
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.compare import chart
from fastcar_tw.compare.report import Comparison, notes, preface, table
from fastcar_tw.compare.sampling import Series


def series(name: str, latencies: list[float], *statuses: int) -> Series:
    """A series with these latencies and statuses."""
    return Series(name, latencies, Counter(statuses or (200,)))


DIRECT = series("direct", [40.0, 42.0, 44.0])
FASTCAR = series("fastcar", [20.5, 21.0, 21.5])


class TableTests(SynchronousTestCase):
    """What is printed."""

    def test_table(self) -> None:
        """Percentiles, the mean, and by how much it is below that of the direct way."""
        self.assertEqual(
            table(Comparison("http://a/", None, [DIRECT, FASTCAR])).splitlines(),
            [
                "         p50 ms  p95 ms  p99 ms  mean ms  mean reduced by",
                "direct    42.00   44.00   44.00    42.00",
                "fastcar   21.00   21.50   21.50    21.00           50.0 %",
            ],
        )

    def test_rtt(self) -> None:
        """With a known round-trip time there is a column of what was added to one."""
        self.assertEqual(
            table(Comparison("http://a/", 0.02, [DIRECT, FASTCAR])).splitlines(),
            [
                "         p50 ms  p95 ms  p99 ms  mean ms  mean reduced by  p50 over one RTT",
                "direct    42.00   44.00   44.00    42.00                           22.00 ms",
                "fastcar   21.00   21.50   21.50    21.00           50.0 %           1.00 ms",
            ],
        )

    def test_title(self) -> None:
        """It says what was asked for, but no query, which may hold a key."""
        comparison = Comparison("https://a/b?key=secret", 0.02, [DIRECT])
        self.assertEqual(comparison.title, "https://a/b, 20 ms RTT, 3 requests each way")

    def test_notes(self) -> None:
        """Statuses are told where there was another than 200."""
        other = series("fastcar", [1.0, 2.0], 200, 503, 503)
        comparison = Comparison("http://a/", None, [DIRECT, other])
        self.assertEqual(notes(comparison), ["fastcar: 1 x 200, 2 x 503"])

    def test_preface(self) -> None:
        """It names the versions, and whose CA file was read."""
        self.assertIn("PHP 8.2 with", preface("PHP 8.2 with libcurl 7", local=False))
        self.assertIn("PHP's own CA file", preface("", local=False))
        self.assertIn("a CA file of one certificate", preface("", local=True))


class ChartTests(SynchronousTestCase):
    """The picture."""

    def test_formats(self) -> None:
        """The file has the format that its name says."""
        if importlib.util.find_spec("matplotlib") is None:
            raise SkipTest("matplotlib is not installed (the extra compare)")
        folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, folder)
        comparison = Comparison("http://a/", None, [DIRECT, FASTCAR])
        for name, start in (("c.png", b"\x89PNG\r\n"), ("c.svg", b"<?xml")):
            path = os.path.join(folder, name)
            self.assertTrue(chart.draw([comparison, comparison], path))
            with open(path, "rb") as file:
                self.assertEqual(file.read(len(start)), start)
