"""docs/fastcgi.md: what it says about options and commands is so."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.application.app import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.options import FastCGIOptions
from tests.test_readme import MAKEFILE, ROOT, commands, names

DOCS = (ROOT / "docs" / "fastcgi.md").read_text("utf-8")


class OptionsTests(SynchronousTestCase):
    """The options named in the text."""

    def test_complete(self) -> None:
        """Each option is named."""
        named = set(re.findall(r"`(--[a-z-]+)", DOCS))
        self.assertEqual(names(FastCGIOptions()) - named - {"--help", "--version"}, set())

    def test_options_in_the_text(self) -> None:
        """An option named in the text is one of fastcgi's or twistd's."""
        known = names(FastCGIOptions()) | names(ServerOptions()) | {"--pidfile"}
        self.assertEqual(set(re.findall(r"`(--[a-z-]+)", DOCS)) - known, set())


class CommandTests(SynchronousTestCase):
    """The commands."""

    def test_twistd(self) -> None:
        """Every one that starts the service is one that it understands."""
        root = Path(self.mktemp()).absolute()
        root.mkdir()
        (root / "index.php").touch()
        found = [words for words in commands(DOCS) if words[:1] == ["twistd"]]
        self.assertTrue(found)
        for words in found:
            own = words.index("fastcar")
            self.assertEqual(words[own + 1], "fastcgi")
            # The directories are those of an application.
            arguments = [str(root) if word.startswith("/srv/") else word for word in words]
            FastCGIOptions().parse(arguments[own + 2 :])

    def test_make(self) -> None:
        """Every target that is named exists."""
        targets = re.findall(r"\bmake ([a-z-]+)", DOCS)
        self.assertIn("run-fastcgi", targets)
        for target in targets:
            self.assertRegex(MAKEFILE, rf"(?m)^{target}:")
