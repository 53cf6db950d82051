"""The command line: what is understood, and that a mistake is named."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.compare.options import parse
from fastcar_tw.compare.ways import Sockets


class OptionsTests(SynchronousTestCase):
    """Arguments to Options."""

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = os.path.join(self.folder, "file")
        with open(self.file, "w"):
            pass

    def error(self, *arguments: str) -> str:
        """The line about a mistake, which ends the process with status 2."""
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), self.assertRaises(SystemExit) as raised:
            parse(arguments)
        self.assertEqual(raised.exception.code, 2)
        return stderr.getvalue().splitlines()[-1].partition("error: ")[2]

    def test_defaults(self) -> None:
        """A URL is enough."""
        options = parse(["https://a/b?c#d"])
        self.assertEqual(options.url, "https://a/b?c")
        self.assertEqual((options.rtt, options.requests), (None, 100))
        self.assertEqual((options.chart, options.sockets), ("compare.png", None))

    def test_rtt(self) -> None:
        """So is a round-trip time, given in milliseconds."""
        options = parse(["--rtt", "20", "--requests", "5", "--chart", ""])
        self.assertEqual((options.url, options.rtt), (None, 0.02))
        self.assertEqual((options.requests, options.chart), (5, ""))

    def test_running_fastcar(self) -> None:
        """The sockets and the CA of a fastcar that runs."""
        arguments = ["--socket", self.file, "--https-socket", self.file, "--ca", self.file]
        options = parse([*arguments, "https://a/"])
        self.assertEqual(options.sockets, Sockets(self.file, self.file, self.file))
        self.assertEqual(
            parse(["--socket", self.file, "http://a/"]).sockets, Sockets(self.file, None, None)
        )

    def test_what_does_not_go_together(self) -> None:
        """The option that is too much or missing is named."""
        url = "https://a/"
        self.assertEqual(self.error(), "expected a URL, or --rtt")
        self.assertRegex(self.error("--rtt", "20", url), "^--rtt: expected no URL")
        with_rtt = ("--rtt", "20", "--socket", self.file)
        self.assertRegex(self.error(*with_rtt), "^--socket: expected no --rtt")
        self.assertRegex(self.error("--ca", self.file, url), "^--ca: expected --socket")
        self.assertRegex(
            self.error("--https-socket", self.file, url), "^--https-socket: expected --socket"
        )
        self.assertRegex(self.error("--socket", self.file, url), "^--socket: expected --ca")

    def test_urls(self) -> None:
        """A URL that curl would not ask for, or that shows a password, is refused."""
        for url in ("a", "/a", "ftp://a/", "http://", "http://a:0/", "http://a:x/", "http://a b/"):
            self.assertRegex(self.error(url), "^argument URL: expected http://HOST")
        message = self.error("https://me:secret@a/")
        self.assertRegex(message, "^argument URL: expected .* without a user$")
        self.assertNotIn("secret", message)

    def test_values(self) -> None:
        """A wrong value is shown with what was expected."""
        for option, value, expected in (
            ("--requests", "0", "a whole number from 1 to 100000"),
            ("--requests", "x", "a whole number from 1 to 100000"),
            ("--rtt", "0", "milliseconds, above 0 and up to 2000"),
            ("--rtt", "nan", "milliseconds, above 0 and up to 2000"),
            ("--rtt", "x", "milliseconds, above 0 and up to 2000"),
            ("--chart", "a.gif", "a file that ends with .png or .svg"),
            ("--chart", "/no/such/a.png", "a file in a directory that exists"),
            ("--socket", "/no/such", "a path that exists and may be read"),
        ):
            self.assertEqual(
                self.error("http://a/", option, value),
                f"argument {option}: got {value!r}, expected {expected}",
            )
