"""Names below the document root that the operator gives."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi.document_names import (
    DocumentNameError,
    parse_front_controller,
    parse_index,
    parse_suffix,
)

#: No file below the root has these names, or none that may be had.
NO_NAMES = ("", ".", "..", ".php", ".x.php", "a%2e.php", "a\\b.php", "a\0.php", "a\n.php", "\ud800")


class NameTests(SynchronousTestCase):
    """What is taken and what is not."""

    def test_suffix(self) -> None:
        """A suffix begins with its dot and ends in a letter or digit."""
        for text in (".php", ".PHP", ".php8", ".class.php", ".x-y_z+1"):
            self.assertEqual(parse_suffix(text), text.encode())
        for text in ("", ".", "php", ".php/", ".php.", ".a b", ".a\n", ".p\u0127p", "\ud800"):
            error = self.assertRaises(DocumentNameError, parse_suffix, text)
            self.assertEqual(str(error), "--split: expected a suffix such as .php")

    def test_index(self) -> None:
        """An index is one segment of a path, and not hidden."""
        for text in ("index.php", "index.html", "a b", "x..y"):
            self.assertEqual(parse_index(text), text.encode())
        self.assertEqual(parse_index("\udcff.php"), b"\xff.php")
        for text in (*NO_NAMES, "a/b.php", "/index.php", "index.php/"):
            error = self.assertRaises(DocumentNameError, parse_index, text)
            self.assertEqual(error.expected, "the name of a file that is not hidden, as index.php")

    def test_front_controller(self) -> None:
        """A front controller is a script below the root, with a slash in front or without."""
        for text in ("index.php", "/index.php", "a/b c.php", "/a/b c.php"):
            path = b"/" + text.removeprefix("/").encode()
            self.assertEqual(parse_front_controller(text, b".php"), path)
        for text in (
            *NO_NAMES,
            *("/", "//a.php", "a//b.php", "a/../b.php", "../b.php", "a/.b.php"),
            *("index.php/", "index.PHP", "index.html"),
        ):
            error = self.assertRaises(DocumentNameError, parse_front_controller, text, b".php")
            self.assertEqual(
                str(error),
                "--front-controller: expected a script below the root, its name ending in .php",
            )
