"""README.md and docs/operating.md: what they say about options, commands and errors is so."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from twisted.application.app import ServerOptions
from twisted.application.service import IService
from twisted.internet import defer, reactor
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from fastcar_tw.config import Config, default_ca_dir
from fastcar_tw.fastcgi.options import FastCGIOptions
from fastcar_tw.options import Options
from fastcar_tw.relay.options import RelayOptions
from tests.peers.case import PeersTestCase
from tests.peers.clients import require_php_curl
from tests.peers.processes import LIMIT

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
OPERATING = (ROOT / "docs" / "operating.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")

#: Error types of RFC 9209 section 2.3.
PROXY_ERRORS = """
    dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited
    destination_ip_unroutable connection_refused connection_terminated connection_timeout
    connection_read_timeout connection_write_timeout connection_limit_reached tls_protocol_error
    tls_certificate_error tls_alert_received http_request_error http_request_denied
    http_response_incomplete http_response_header_section_size http_response_header_size
    http_response_body_size http_response_trailer_section_size http_response_trailer_size
    http_response_transfer_coding http_response_content_coding http_response_timeout
    http_upgrade_failed http_protocol_error proxy_internal_response proxy_internal_error
    proxy_configuration_error proxy_loop_detected
"""


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """Return the words of each command in the shell blocks."""
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line)


def tables(text: str) -> Iterator[list[str]]:
    """Return the cells of each row of each table."""
    for line in re.findall(r"^\|(.*)\|$", text, re.MULTILINE):
        yield [cell.strip() for cell in line.split("|")]


def names(options: usage.Options) -> set[str]:
    """Return the long options, spelled with hyphens."""
    return {f"--{name.rstrip('=')}".replace("_", "-") for name in options.longOpt}


class OptionsTests(SynchronousTestCase):
    """The table of options."""

    def setUp(self) -> None:
        rows = [row for row in tables(README) if row[0].startswith("`--")]
        self.rows = {row[0].strip("`"): row for row in rows}

    def test_complete(self) -> None:
        """Each option has a row, and each row an option."""
        self.assertEqual(set(self.rows), names(Options()))

    def test_defaults(self) -> None:
        """A default in the table is the default; where there is none, none is stated."""
        for name, _, default, _ in Options.optParameters:
            stated = self.rows[f"--{name}"][1]
            self.assertEqual(stated.startswith("`"), default is not None, name)
            if default is not None:
                self.assertEqual(stated, f"`{default}`", name)

    def test_default_ca_files(self) -> None:
        """So are the two places of the CA file."""
        for uid, environ in ((0, {}), (1, {"HOME": "~"})):
            self.assertIn(f"`{default_ca_dir(environ, uid)}/ca.pem`", README)


class CommandTests(SynchronousTestCase):
    """The commands, and the options and files named in the text."""

    def check_make(self, words: list[str]) -> None:
        target, *variables = words
        self.assertRegex(MAKEFILE, rf"(?m)^{target}:")
        for name, _, value in (variable.partition("=") for variable in variables):
            self.assertRegex(MAKEFILE, rf"(?m)^{name} \?=")
            if (target, name) == ("run", "ARGS"):
                Options().parse(shlex.split(value))

    def check_curl(self, arguments: list[str]) -> None:
        self.assertEqual(arguments[:2], ["--unix-socket", Config().unix])

    def check_php(self, arguments: list[str]) -> None:
        self.assertTrue((ROOT / arguments[0]).is_file(), arguments)

    def check_python3(self, arguments: list[str]) -> None:
        self.assertEqual(arguments[:2], ["-m", "venv"])

    def check_pip(self, arguments: list[str]) -> None:
        self.assertEqual(arguments, ["install", "."])

    def check_twistd(self, arguments: list[str]) -> None:
        if arguments[:4] == ["-n", "--pidfile=", "fastcar", "fastcgi"]:
            # Not parsed as a whole: the root is that of an application.
            used = {word.partition("=")[0] for word in arguments[4:] if word.startswith("--")}
            self.assertEqual(used - names(FastCGIOptions()), set())
        elif arguments[:4] == ["-n", "--pidfile=", "fastcar", "relay"]:
            RelayOptions().parse(arguments[4:])
        elif arguments[:3] == ["-n", "--pidfile=", "fastcar"]:
            Options().parse(arguments[3:])
        else:
            self.assertEqual(arguments[0], "-ny")
            self.assertTrue((ROOT / arguments[1]).is_file(), arguments)

    def test_readme(self) -> None:
        """Every command in the README names things that exist."""
        found = list(commands(README))
        self.assertTrue(found)
        for program, *arguments in found:
            getattr(self, f"check_{os.path.basename(program)}")(arguments)

    def test_unit(self) -> None:
        """The systemd unit starts twistd with options that it and fastcar have."""
        unit = next(block for block in blocks(OPERATING, "ini") if "[Service]" in block)
        line = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)
        assert line is not None
        words = shlex.split(line[1].replace("\\\n", " "))
        own = words.index("fastcar")
        used = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        self.assertEqual(used - names(Options()), {"--pidfile"})
        # Not parsed as a whole: the group is that of a machine with php-fpm.
        self.assertTrue(words[0].endswith("/twistd") and words[own + 1] == "--unix", words)

    def test_options_in_the_text(self) -> None:
        """An option named in the text is one of fastcar's or twistd's."""
        known = names(Options()) | names(FastCGIOptions()) | names(RelayOptions())
        known |= names(ServerOptions())
        known |= {"--syslog", "--pidfile", "--uid", "--gid", "--umask"}  # of twistd on POSIX
        for text in (README, OPERATING):
            self.assertEqual(set(re.findall(r"`(--[a-z0-9-]+)", text)) - known, set())

    def test_links(self) -> None:
        """A relative link leads to a file."""
        for folder, text in ((ROOT, README), (ROOT / "docs", OPERATING)):
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
                self.assertTrue((folder / target).exists(), target)


class ErrorTests(SynchronousTestCase):
    """The table of errors in docs/operating.md."""

    def test_complete(self) -> None:
        """It holds the RFC 9209 error types that the source uses, and no others."""
        source = "".join(path.read_text("utf-8") for path in (ROOT / "fastcar_tw").rglob("*.py"))
        types = set(PROXY_ERRORS.split())
        used = {name for name in types if f'"{name}"' in source}
        listed = {row[0].strip("`") for row in tables(OPERATING)}
        self.assertEqual(listed & types, used)


class EmbeddingTests(TestCase):
    """fastcar in an application of one's own."""

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)

    async def test_example(self) -> None:
        """The example in the README has five lines, and serves."""
        (example,) = blocks(README, "python")
        self.assertEqual(len(example.splitlines()), 5)
        stated = 'unix="/run/shop.sock"'
        self.assertIn(stated, example)
        here = f'unix="{self.folder}/shop.sock", ca_dir="{self.folder}/ca"'
        namespace: dict[str, object] = {}
        exec(example.replace(stated, here), namespace)
        service = IService(namespace["application"])
        service.privilegedStartService()
        service.startService()
        try:
            answer = await ask(f"{self.folder}/shop.sock")
        finally:
            await defer.maybeDeferred(service.stopService)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)


def ask(path: str) -> defer.Deferred[bytes]:
    """Send a request that is answered without an origin (RFC 9110 section 7.6.2)."""
    answer: defer.Deferred[bytes] = defer.Deferred()

    class Client(Protocol):
        received = b""

        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.write(b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")

        def dataReceived(self, data: bytes) -> None:
            self.received += data

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            answer.callback(self.received)

    connectProtocol(UNIXClientEndpoint(reactor, path), Client()).addErrback(answer.errback)
    return answer


class PhpTests(PeersTestCase):
    """PHP's side."""

    def run_php(self, script: str) -> str:
        """Return what a script prints, with the README's paths and URLs replaced by ours."""
        require_php_curl()
        origin = self.nginx.url("https", "", "localhost")
        for stated, here in (
            ("https://www.example.com/", f"{origin}/echo"),
            ("http://www.example.com/", f"{origin.replace('https:', 'http:')}/echo"),
            ("/var/lib/fastcar/ca.pem", self.fastcar.ca_file),
            ("/tmp/fastcar.sock", self.fastcar.socket),
        ):
            script = script.replace(stated, here)
        done = subprocess.run(
            ["php"], input=script, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        return done.stdout

    def expected(self) -> str:
        return f"GET /echo localhost:{self.nginx.https_port}\n"

    def test_verified(self) -> None:
        """The first example verifies, and gets the page."""
        example = blocks(README, "php")[0]
        self.assertIn("CURLOPT_CAINFO", example)
        self.assertNotIn("VERIFYPEER", example)
        self.assertEqual(self.run_php(example), self.expected())

    def test_without_local_tls(self) -> None:
        """The second one gets it from the same HTTPS origin, without TLS on the socket."""
        example = blocks(README, "php")[1]
        self.assertNotIn("CAINFO", example)
        path = f"{self.folder()}/https.sock"
        self.start_fastcar("--https-unix", path)
        self.assertIn("'/tmp/fastcar-https.sock'", example)
        example = example.replace("/tmp/fastcar-https.sock", path)
        script = f"<?php\n$handle = curl_init();\n{example}curl_exec($handle);\n"
        self.assertEqual(self.run_php(script), self.expected())
