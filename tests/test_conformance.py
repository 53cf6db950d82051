"""docs/conformance.md: every test it names exists, and its verdicts and numbers are right."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "conformance.md"

#: The column heads of a table of requirements; the last cell says "reason" where nothing applies.
COLUMNS = ["§", "word", "n", "requirement", "verdict"]
VERDICTS = ["met", "met by OpenSSL", "deliberately not met", "not applicable"]
#: Sentences with a BCP 14 word, by RFC.
SENTENCES = {"9110": 317, "9112": 112, "9113": 239, "8446": 399, "8996": 17}
TEST = re.compile(r"`((?:\w+\.)*test_\w+)\.(\w+)\.(test_\w+)`")


class Row(NamedTuple):
    """A row of a table of requirements."""

    rfc: str
    section: str
    sentences: int
    requirement: str
    verdict: str
    answer: str

    @property
    def tests(self) -> list[tuple[str, str, str]]:
        """Module, class and method of every test named."""
        return TEST.findall(self.answer)


def tables(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """The tables of the document, each with the heading of second rank it stands under."""
    for section in text.split("\n## "):
        heading = section.partition("\n")[0]
        for block in section.split("\n\n"):
            lines = [line for line in block.splitlines() if line.startswith("|")]
            cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            if cells:
                yield heading, [cells[0], *cells[2:]]


def read_rows(text: str) -> list[Row]:
    """The rows of all tables of requirements."""
    rows = []
    for heading, (head, *lines) in tables(text):
        if head[:5] == COLUMNS:
            named = re.match(r"RFC ([0-9]+)", heading)
            rfc = named[1] if named else ""
            for section, _, number, requirement, verdict, answer in lines:
                rows.append(Row(rfc, section, int(number or 0), requirement, verdict, answer))
    return rows


class ConformanceTests(SynchronousTestCase):
    """The document against the tests."""

    def setUp(self) -> None:
        """Read it."""
        self.text = DOCUMENT.read_text("utf-8")
        self.rows = read_rows(self.text)
        self.assertGreater(len(self.rows), 300)

    def test_tests_exist(self) -> None:
        """Every test that is named can be found, and no other name looks like one."""
        for row in self.rows:
            self.assertEqual(row.answer.count("test_"), _mentions(row), row)
            for module, case, method in row.tests:
                found = getattr(importlib.import_module(f"tests.{module}"), case, None)
                self.assertTrue(callable(getattr(found, method, None)), (module, case, method))

    def test_verdicts(self) -> None:
        """Verdicts are from the fixed vocabulary; what is met or deliberate names its tests, what
        does not apply its reason."""
        for row in self.rows:
            self.assertIn(row.verdict, VERDICTS)
            if row.verdict in ("met", "deliberately not met"):
                self.assertTrue(row.tests, row)
            if row.verdict in ("deliberately not met", "not applicable"):
                self.assertTrue(TEST.sub("", row.answer).strip(" ,"), row)

    def test_sentences(self) -> None:
        """The sentences of each RFC add up to those that were found: none was left out."""
        found: Counter[str] = Counter()
        for row in self.rows:
            found[row.rfc] += row.sentences
        found.pop("", None)
        self.assertEqual(dict(found), SENTENCES)

    def test_counts(self) -> None:
        """The table of counts is right."""
        [counts] = [lines for _, (head, *lines) in tables(self.text) if head[1:5] == VERDICTS]
        expected = []
        for rfc, sentences in SENTENCES.items():
            verdicts = Counter(row.verdict for row in self.rows if row.rfc == rfc)
            numbers = [*(verdicts[name] for name in VERDICTS), verdicts.total(), sentences]
            expected.append([f"RFC {rfc}", *map(str, numbers)])
        self.assertEqual(counts, expected)

    def test_deliberate(self) -> None:
        """Every deviation stands in the summary, and nothing else does."""
        [summary] = [lines for _, (head, *lines) in tables(self.text) if head == ["RFC, §", "what"]]
        told = {place for places, _ in summary for place in places.split(", ")}
        rows = [row for row in self.rows if row.verdict == "deliberately not met"]
        made = {
            f"{row.rfc} {section}".strip() for row in rows for section in row.section.split(", ")
        }
        self.assertEqual(told, made)


def _mentions(row: Row) -> int:
    """How often "test_" stands in the names of the tests of a row."""
    return sum(".".join(name).count("test_") for name in row.tests)
