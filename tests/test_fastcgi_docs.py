"""docs/fastcgi.md: what it says about options, errors, files and commands is so."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.application.app import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.config import FastCGIConfig
from fastcar_tw.fastcgi.options import FastCGIOptions
from tests.test_readme import MAKEFILE, PROXY_ERRORS, ROOT, commands, names, tables

PAGE = ROOT / "docs" / "fastcgi.md"
TEXT = PAGE.read_text("utf-8")


class FastCGIDocsTests(SynchronousTestCase):
    """The page on the FastCGI service."""

    def setUp(self) -> None:
        rows = [row for row in tables(TEXT) if len(row) == 4 and row[0].startswith("`--")]
        self.rows = {row[0].strip("`"): row for row in rows}

    def test_options(self) -> None:
        """Each option has a row, and each row an option."""
        self.assertEqual(set(self.rows), names(FastCGIOptions()))

    def test_defaults(self) -> None:
        """A default in the table is the default."""
        for name, _, default, _ in FastCGIOptions.optParameters:
            if default is not None:
                self.assertEqual(self.rows[f"--{name}"][1], f"`{default}`", name)
        for name in ("listen", "index"):
            (default,) = getattr(FastCGIConfig(fpm=("unix:/a",), root="/"), name)
            self.assertEqual(self.rows[f"--{name}"][1], f"`{default}`", name)

    def test_options_in_the_text(self) -> None:
        """An option named in the text is one of fastcar's or twistd's."""
        known = names(FastCGIOptions()) | names(ServerOptions()) | {"--pidfile"}
        self.assertEqual(set(re.findall(r"`(--[a-z-]+)", TEXT)) - known, set())

    def test_errors(self) -> None:
        """The errors in its table are those of RFC 9209, and the source has them."""
        source = "".join(path.read_text("utf-8") for path in (ROOT / "fastcar_tw").rglob("*.py"))
        listed = {
            name
            for row in tables(TEXT)
            if re.match(r"[45][0-9][0-9]", row[0])
            for name in re.findall(r"`([a-z_]+)`", row[1])
        }
        self.assertTrue(listed)
        self.assertEqual(listed - set(PROXY_ERRORS.split()), set())
        for name in listed:
            self.assertIn(f'"{name}"', source)

    def test_links(self) -> None:
        """Its links lead somewhere, also those to its own sections."""
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", TEXT):
            self.assertTrue((PAGE.parent / link).exists(), link)
        headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        self.assertEqual(set(re.findall(r"\]\(#([^)]+)\)", TEXT)) - anchors, set())


class CommandTests(SynchronousTestCase):
    """The commands."""

    def test_twistd(self) -> None:
        """Every one that starts the service is one that it understands."""
        root = Path(self.mktemp()).absolute()
        root.mkdir()
        (root / "index.php").touch()
        found = [words for words in commands(TEXT) if words[:1] == ["twistd"]]
        self.assertTrue(found)
        for words in found:
            own = words.index("fastcar")
            self.assertEqual(words[own + 1], "fastcgi")
            # The directories are those of an application.
            arguments = [str(root) if word.startswith("/srv/") else word for word in words]
            FastCGIOptions().parse(arguments[own + 2 :])

    def test_make(self) -> None:
        """Every target that is named exists."""
        targets = re.findall(r"\bmake ([a-z-]+)", TEXT)
        self.assertIn("run-fastcgi", targets)
        for target in targets:
            self.assertRegex(MAKEFILE, rf"(?m)^{target}:")


class ExampleTests(SynchronousTestCase):
    """The example application."""

    def test_complete(self) -> None:
        """It has what its page and the Makefile name."""
        folder = ROOT / "examples" / "fastcgi"
        for name in ("README.md", "run", "php-fpm.conf", "public/index.php"):
            self.assertTrue((folder / name).is_file(), name)
        self.assertTrue(Path(folder / "run").stat().st_mode & 0o100)
