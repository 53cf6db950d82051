"""README.zh-CN.md keeps in step with README.md, paragraph by paragraph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.test_readme import README, ROOT, tables

CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")

PART = re.compile(
    r"^(?P<code>```[\s\S]*?^```)$"
    r"|^(?P<heading>#+ .*)$"
    r"|^(?P<row>\|.*\|)$"
    r"|^(?P<item>- .*(?:\n  .*)*)$"
    r"|^(?P<comment><!--.*-->)$"
    r"|^(?P<paragraph>\S.*(?:\n(?!```|#|\||- |<!--)\S.*)*)$",
    re.MULTILINE,
)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"(!?\[[^\]]*)\]\(([^)]*)\)")
# Not \b: Chinese characters are letters too, and may follow at once.
FIGURE = re.compile(r"(\d+(?:[.,]\d+)*)(?:\s*(%|[KMG]iB|[mu]s|s|bytes|秒|字节)(?![A-Za-z]))?")
UNITS = {"秒": "s", "字节": "bytes"}


class Part(NamedTuple):
    """A paragraph or the like; kind is the name of a group of PART."""

    section: str
    kind: str
    text: str


def parts(text: str) -> Iterator[Part]:
    """Return the parts of a page in order; a heading is the first of its section."""
    section = ""
    for match in PART.finditer(text):
        kind = match.lastgroup
        assert kind is not None
        if kind == "heading":
            section = match[0].lstrip("# ")
        yield Part(section, kind, match[0])


def sections(text: str) -> list[list[Part]]:
    """Return the parts of each section."""
    return [list(group) for _, group in groupby(parts(text), key=lambda part: part.section)]


def spans(text: str) -> set[str]:
    """Return what is set as code in a text, line breaks aside."""
    return {" ".join(span.split()) for span in SPAN.findall(text)}


def figures(text: str) -> Counter[tuple[str, str]]:
    """Return the numbers in the prose of a text, with their units."""
    prose = LINK.sub(r"\1]", SPAN.sub("``", text))
    return Counter((number, UNITS.get(unit, unit)) for number, unit in FIGURE.findall(prose))


def links(text: str) -> Counter[tuple[bool, str]]:
    """Return the targets in a text, those of images marked, either README for the other."""
    return Counter(
        (name.startswith("!"), "README" if target in ("README.md", "README.zh-CN.md") else target)
        for name, target in LINK.findall(SPAN.sub("``", text))
    )


def cells(row: Part) -> list[str]:
    """Return the cells of a row."""
    (found,) = tables(row.text)
    return found


class TranslationTests(SynchronousTestCase):
    """The two pages, part by part. A failure names the section and how the part begins."""

    def setUp(self) -> None:
        self.sections = list(zip(sections(README), sections(CHINESE), strict=False))

    def pairs(self, *kinds: str) -> Iterator[tuple[Part, Part, str]]:
        """Return what should correspond, with a message; test_structure finds what does not."""
        for one, other in self.sections:
            for english, chinese in zip(one, other, strict=False):
                if english.kind == chinese.kind and english.kind in kinds:
                    message = f"in {english.section} / {chinese.section}, at {chinese.text[:60]!r}"
                    yield english, chinese, message

    def texts(self) -> Iterator[tuple[str, str, str]]:
        """Return what is not a code block, tables cell by cell."""
        for english, chinese, message in self.pairs("heading", "paragraph", "item", "comment"):
            yield english.text, chinese.text, message
        for english, chinese, message in self.pairs("row"):
            for one, other in zip(cells(english), cells(chinese), strict=False):
                yield one, other, message

    def test_headings(self) -> None:
        """They have the same headings: as many, of the same levels."""
        for english, chinese in self.sections:
            one, other = (part.text.split()[0] for part in (english[0], chinese[0]))
            self.assertEqual(one, other, f"in {english[0].section} / {chinese[0].section}")
        self.assertEqual(len(sections(README)), len(sections(CHINESE)), "as many sections")

    def test_structure(self) -> None:
        """A section consists of the same paragraphs, list items, tables and code blocks."""
        for english, chinese in self.sections:
            one, other = ([part.kind for part in section] for section in (english, chinese))
            self.assertEqual(one, other, f"in {english[0].section} / {chinese[0].section}")
        for text in (README, CHINESE):
            self.assertEqual(PART.sub("", text).strip(), "", "of a kind that is not compared")

    def test_code_blocks(self) -> None:
        """Code blocks are identical."""
        found = list(self.pairs("code"))
        self.assertTrue(found)
        for english, chinese, message in found:
            self.assertEqual(english.text, chinese.text, message)

    def test_tables(self) -> None:
        """Rows have the same cells, and those in the first column that are code are identical."""
        for english, chinese, message in self.pairs("row"):
            one, other = cells(english), cells(chinese)
            self.assertEqual(len(one), len(other), message)
            if SPAN.sub("", one[0]).strip("-: ") == "":
                self.assertEqual(one[0], other[0], message)
            if set(english.text) <= set("|-: "):
                self.assertEqual(english.text, chinese.text, message)

    def test_code_spans(self) -> None:
        """The same options, files and the like are named."""
        for english, chinese, message in self.texts():
            self.assertEqual(spans(english), spans(chinese), message)

    def test_figures(self) -> None:
        """The same numbers are stated, as often, and in the same units."""
        for english, chinese, message in self.texts():
            self.assertEqual(figures(english), figures(chinese), message)

    def test_links(self) -> None:
        """The same pages are linked, and the same images shown."""
        for english, chinese, message in self.texts():
            self.assertEqual(links(english), links(chinese), message)

    def test_translated(self) -> None:
        """No paragraph is left in English."""
        for english, chinese, message in self.pairs("paragraph", "item"):
            self.assertNotEqual(english.text, chinese.text, message)

    def test_marks(self) -> None:
        """What lies between the marks of the benchmark is identical."""
        marked = r"^<!-- bench -->$[\s\S]*^<!-- /bench -->$"
        english, chinese = (re.findall(marked, text, re.MULTILINE) for text in (README, CHINESE))
        self.assertEqual(len(english), 1, "one pair of marks in README.md")
        self.assertEqual(english, chinese, "in the table of the benchmark")

    def test_each_other(self) -> None:
        """Each page links the other at its top."""
        for text, link in ((README, "[中文](README.zh-CN.md)"), (CHINESE, "[English](README.md)")):
            self.assertIn(link, [part.text for part in sections(text)[0]])
