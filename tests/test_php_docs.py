"""docs/php.md shows what examples/php holds."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "php.md"
EXAMPLES = ROOT / "examples" / "php"


class PHPDocsTests(SynchronousTestCase):
    """The page on PHP."""

    def setUp(self) -> None:
        self.text = PAGE.read_text("utf-8")
        self.links = set(re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", self.text))

    def test_complete(self) -> None:
        """It links every recipe."""
        linked = {(PAGE.parent / link).resolve() for link in self.links}
        self.assertEqual(set(EXAMPLES.iterdir()) - linked, set())

    def test_links(self) -> None:
        """Its links lead somewhere."""
        for link in self.links:
            self.assertTrue((PAGE.parent / link).exists(), link)

    def test_anchors(self) -> None:
        """So do those to its own sections."""
        headings = re.findall(r"^#+ (.*)$", self.text, re.MULTILINE)
        anchors = {heading.lower().replace(" ", "-") for heading in headings}
        self.assertEqual(set(re.findall(r"\]\(#([^)]+)\)", self.text)) - anchors, set())

    def test_excerpts(self) -> None:
        """Its code is that of the recipes, which are tested."""
        lines = {
            line.strip() for path in EXAMPLES.iterdir() for line in path.read_text().splitlines()
        }
        blocks = re.findall(r"^```(?:php|ini)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        self.assertTrue(blocks)
        for line in "".join(blocks).splitlines():
            self.assertIn(line.strip(), lines)
