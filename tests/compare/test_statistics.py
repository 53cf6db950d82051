"""The numbers of the table."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.compare.statistics import Summary, percentile, reduction


class PercentileTests(SynchronousTestCase):
    """Nearest rank."""

    def test_hundred_values(self) -> None:
        """Of 1 to 100, the n-th percentile is n, whatever the order."""
        values = [float(number) for number in range(100, 0, -1)]
        for percent in (1, 50, 95, 99, 100):
            self.assertEqual(percentile(values, percent), percent)

    def test_few_values(self) -> None:
        """It is always one of the values."""
        self.assertEqual(percentile([7.0], 50), 7.0)
        self.assertEqual(percentile([1.0, 2.0], 50), 1.0)
        self.assertEqual(percentile([1.0, 2.0, 4.0], 50), 2.0)
        self.assertEqual(percentile([1.0, 2.0], 99), 2.0)


class SummaryTests(SynchronousTestCase):
    """What is said of a series."""

    def test_summary(self) -> None:
        """The mean counts every value, the percentiles leave outliers out."""
        summary = Summary.of([1.0] * 98 + [3.0, 99.0])
        self.assertEqual(summary, Summary(p50=1.0, p95=1.0, p99=3.0, mean=2.0))

    def test_reduction(self) -> None:
        """Half is 50 % less; more than the baseline is a negative reduction."""
        self.assertEqual(reduction(10.0, 20.0), 50.0)
        self.assertEqual(reduction(25.0, 20.0), -25.0)
