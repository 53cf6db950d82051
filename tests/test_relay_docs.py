"""docs/relay.md: what it says about options, framings, files and commands is so."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.application.app import ServerOptions
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.checks import option_name
from fastcar_tw.relay import config
from fastcar_tw.relay.framing import FRAMINGS, Use, parse_framing
from fastcar_tw.relay.framings import resp
from fastcar_tw.relay.framings.resp import RESPFraming
from fastcar_tw.relay.options import RelayOptions
from tests.peers.certificates import Authority
from tests.peers.processes import LIMIT, Process, require
from tests.peers.redis import command
from tests.peers.scenarios import php_with
from tests.test_readme import MAKEFILE, README, ROOT, blocks, commands, names, tables

PAGE = ROOT / "docs" / "relay.md"
TEXT = PAGE.read_text("utf-8")
EXAMPLE = ROOT / "examples" / "relay"
NETSTRING = ROOT / "tests" / "relay" / "netstring.py"
MAX_FRAME = 2 << 20


class RelayDocsTests(SynchronousTestCase):
    """The page on the relay."""

    def setUp(self) -> None:
        rows = [row for row in tables(TEXT) if len(row) == 4 and row[0].startswith("`--")]
        self.rows = {row[0].strip("`"): row for row in rows}

    def test_options(self) -> None:
        """Each option has a row, and each row an option."""
        self.assertEqual(set(self.rows), names(RelayOptions()))

    def test_defaults(self) -> None:
        """A default in the table is the default; where there is none, none is stated."""
        for name, _, default, _ in RelayOptions.optParameters:
            stated = self.rows[f"--{name}"][1]
            self.assertEqual(stated, "none" if default is None else f"`{default}`", name)

    def test_options_of_pools(self) -> None:
        """Which need C{--pool} is said, and those are the ones that are refused without it."""
        [said] = re.findall(r"Only with `--pool`, and refused without it: ([^.]*)\.", TEXT)
        listed = set(re.findall(r"`(--[a-z-]+)`", said))
        self.assertEqual(listed, {"--framing", *map(option_name, config._OF_POOLS)})
        for option in listed:
            value = {"--framing": "resp", "--max-frame": "1k"}.get(option, "3")
            arguments = ["--listen=unix:/a", "--backend=unix:/b", f"{option}={value}"]
            with self.assertRaisesRegex(UsageError, "--pool"):
                RelayOptions().parse(arguments)
            framing = [] if option == "--framing" else ["--framing=resp"]
            RelayOptions().parse([*arguments, "--pool=4", *framing])

    def test_options_in_the_text(self) -> None:
        """An option named in the text is one of fastcar's or twistd's."""
        known = names(RelayOptions()) | names(ServerOptions()) | {"--pidfile"}
        self.assertEqual(set(re.findall(r"`(--[a-z-]+)", TEXT)) - known, set())

    def test_links(self) -> None:
        """Its links lead somewhere, also those to its own sections."""
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", TEXT):
            self.assertTrue((PAGE.parent / link).exists(), link)
        headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        self.assertEqual(set(re.findall(r"\]\(#([^)]+)\)", TEXT)) - anchors, set())

    def test_log(self) -> None:
        """The source has the fixed parts of the lines of the log that are quoted."""
        source = "".join(path.read_text("utf-8") for path in (ROOT / "fastcar_tw").rglob("*.py"))
        # Strings that go on in the next line.
        source = re.sub(r'"\s*\n\s*f?"', "", source)
        for row in tables(TEXT):
            if row[1] not in ("info", "warn", "info, warn"):
                continue
            for part in re.findall(r"(?:(?<![\w.'])[a-z]+ ){3,}[a-z]+", row[0]):
                words = part.split()
                # Beside what is filled in there are at least three words in a row that are not.
                runs = (" ".join(words[at : at + 3]) for at in range(len(words) - 2))
                self.assertTrue(any(run in source for run in runs), row[0])


class FramingTests(SynchronousTestCase):
    """What it says about framings."""

    def test_names(self) -> None:
        """Each that has a name has a row in the table of them, and each row is one."""
        section = TEXT.partition("\n## Framings\n")[2].partition("\n## ")[0]
        cells = [row[0] for row in tables(section) if len(row) == 3 and row[0].startswith("`")]
        listed = {cell.strip("`").partition(":")[0] for cell in cells}
        self.assertEqual(listed - {"package.module.Class"}, set(FRAMINGS))

    def test_netstring(self) -> None:
        """The framing it quotes is the one that is tested."""
        self.assertEqual(blocks(TEXT, "python"), [NETSTRING.read_text("utf-8")])

    def test_redis(self) -> None:
        """Redis' commands that need a connection of their own are those that it lists as such."""
        listed = {
            name
            for row in tables(TEXT)
            if len(row) == 2 and row[1].startswith(("a connection of its own", "the same"))
            for name in re.findall(r"\b[A-Z]{4,}(?: [A-Z]+)?\b", row[0].replace("BLOCK", ""))
        }
        special = resp._OWN | resp._OWN_WITH.keys()
        self.assertEqual({name.partition(" ")[0].encode() for name in listed}, special)
        for name in listed:
            arguments = [*name.split(), "BLOCK"] if name.startswith("XREAD") else name.split()
            session = RESPFraming("", MAX_FRAME).session()
            self.assertIs(session.use(command(*arguments)), Use.OWN, name)


class CommandTests(SynchronousTestCase):
    """The commands."""

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)

    def add_package(self) -> None:
        """Have the framing of one's own where PYTHONPATH would have it."""
        package = Path(self.folder, "my_package")
        package.mkdir()
        (package / "__init__.py").touch()
        shutil.copy(NETSTRING, package / "netstring.py")
        self.patch(sys, "path", [self.folder, *sys.path])
        for name in ("my_package", "my_package.netstring"):
            self.addCleanup(sys.modules.pop, name, None)

    def test_twistd(self) -> None:
        """Every one that starts the relay is one that it understands."""
        self.add_package()
        authority = Authority(self.folder, "ca")
        pair = authority.issue("localhost")
        here = {
            "/etc/ssl/redis-ca.pem": authority.file,
            "/etc/ssl/relay.pem": pair.certificate,
            "/etc/ssl/relay.key": pair.key,
        }
        found = [words for words in commands(TEXT + README) if "relay" in words]
        self.assertGreater(len(found), 8)
        for words in found:
            own = words.index("fastcar")
            self.assertEqual(words[own - 3 : own], ["twistd", "-n", "--pidfile="])
            self.assertEqual(words[own + 1], "relay")
            RelayOptions().parse([here.get(word, word) for word in words[own + 2 :]])

    def test_make(self) -> None:
        """Every target that is named exists."""
        example = (EXAMPLE / "README.md").read_text("utf-8")
        for text in (TEXT, example):
            targets = re.findall(r"\bmake ([a-z-]+)", text)
            self.assertIn("run-relay", targets)
            for target in targets:
                self.assertRegex(MAKEFILE, rf"(?m)^{target}:")

    def test_framings(self) -> None:
        """Those of the text can be asked for."""
        for text in set(re.findall(r"--framing ([a-z]+:[^\s`']+|resp|memcached)", TEXT)):
            parse_framing(text, MAX_FRAME)


class ExampleTests(SynchronousTestCase):
    """examples/relay."""

    def test_complete(self) -> None:
        """It has what its page and the Makefile name."""
        for name in ("README.md", "run", "counter.php"):
            self.assertTrue((EXAMPLE / name).is_file(), name)
        self.assertTrue((EXAMPLE / "run").stat().st_mode & 0o100)

    def test_run(self) -> None:
        """It serves its PHP script, on few connections, and leaves nothing behind."""
        php = php_with("redis")
        require("redis-server", "redis-server")
        folder = tempfile.mkdtemp(prefix="fc", dir="/tmp")
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/relay.sock"
        environ = {"SOCKET": path, "TWISTD": str(Path(sys.executable).parent / "twistd")}
        process = Process([str(EXAMPLE / "run"), "--pool", "2"], folder, environ)
        self.addCleanup(process.stop)
        process.wait_for("relaying to .*, up to 2 connections")
        for number in range(1, 6):
            done = subprocess.run(
                [php, str(EXAMPLE / "counter.php"), path],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""), done)
            self.assertRegex(done.stdout, rf"^visit {number}, connections to Redis so far: [12]\n$")
        process.stop()
        self.assertFalse(Path(path).exists())

    def test_not_running(self) -> None:
        """Without a relay the script says how to start one."""
        done = subprocess.run(
            [php_with("redis"), str(EXAMPLE / "counter.php"), "/no/such.sock"],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn("make run-relay", done.stderr)
