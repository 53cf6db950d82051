"""The command line of the FastCGI service: each option reaches its field, each mistake ends in one
line."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.checks import option_name
from fastcar_tw.fastcgi.config import FastCGIConfig
from fastcar_tw.fastcgi.options import FastCGIOptions
from fastcar_tw.options import Options
from tests.test_config import certificate_and_key, pem

ROOT = Path(__file__).resolve().parent.parent.parent
FPM = "unix:/run/php/fpm.sock"
SECONDS = "a number of seconds greater than 0"
COUNT = "a whole number, 0 or more"
SIZE = "a number of bytes, as 65536, 64k, 100M or 1G"


class OptionsCase(SynchronousTestCase):
    """Has a root with a script in it."""

    def setUp(self) -> None:
        """Make the root."""
        root = Path(self.mktemp()).absolute()
        root.mkdir()
        (root / "index.php").touch()
        self.root = str(root)
        self.needed = [f"--fpm={FPM}", f"--root={self.root}"]

    def parse(self, *arguments: str) -> FastCGIConfig:
        """What these and the needed options become."""
        config: FastCGIConfig = FastCGIOptions().parse([*self.needed, *arguments])
        return config


class ParsingTests(OptionsCase):
    """What is typed becomes a FastCGIConfig."""

    def test_needed(self) -> None:
        """With what is needed alone the defaults of FastCGIConfig hold: they are stated once."""
        self.assertEqual(self.parse(), FastCGIConfig(fpm=(FPM,), root=self.root))

    def test_every_value_is_converted(self) -> None:
        """Each option sets its field, in the field's type."""
        certificate, private = certificate_and_key()
        pair = Path(self.root, "pair.pem")
        pair.write_bytes(certificate + pem(private))
        config = self.parse(
            "--listen=tcp:80",
            "--socket-mode=600",
            "--socket-group=root",
            f"--cert={pair}",
            f"--key={pair}",
            "--fpm-root=/srv/app",
            "--index=index.html",
            "--front-controller=index.php",
            "--split=.php",
            "--no-static",
            f"--symlinks-to={self.root}",
            f"--sendfile={self.root}",
            "--param=A=b c",
            "--trusted-proxy=unix",
            "--connections=4",
            "--prewarm=2",
            "--max-queue=5",
            "--queue-timeout=6",
            "--connect-timeout=.7",
            "--response-timeout=8",
            "--stall-timeout=9",
            "--client-timeout=10",
            "--keepalive-timeout=11",
            "--idle-timeout=12.5",
            "--max-age=13",
            "--max-requests=14",
            "--fail-fast-after=15",
            "--max-body=1G",
            "--spool-memory=64k",
            "--drain-timeout=0",
            "--verbose",
        )
        expected = FastCGIConfig(
            fpm=(FPM,),
            root=self.root,
            listen=("tcp:80",),
            socket_mode=0o600,
            socket_group="root",
            cert=str(pair),
            key=str(pair),
            fpm_root="/srv/app",
            index=("index.html",),
            front_controller="index.php",
            split=".php",
            static=False,
            symlinks_to=(self.root,),
            sendfile=self.root,
            param=("A=b c",),
            trusted_proxy=("unix",),
            connections=4,
            prewarm=2,
            max_queue=5,
            queue_timeout=6.0,
            connect_timeout=0.7,
            response_timeout=8.0,
            stall_timeout=9.0,
            client_timeout=10.0,
            keepalive_timeout=11.0,
            idle_timeout=12.5,
            max_age=13.0,
            max_requests=14,
            fail_fast_after=15,
            max_body=1 << 30,
            spool_memory=1 << 16,
            drain_timeout=0.0,
            verbose=True,
        )
        self.assertEqual(config, expected)

    def test_no_keep(self) -> None:
        """--no-keep opens a connection for each request."""
        self.assertFalse(self.parse("--no-keep").keep)

    def test_repeatable(self) -> None:
        """Some options add up, in order, and replace the default; one parser does not leak into the
        next."""
        default = self.parse()
        for option, one, two in (
            ("fpm", "tcp:a.test:1", "tcp:[::1]:2"),
            ("listen", "tcp:1:interface=127.0.0.1", "unix:/a.sock"),
            ("index", "index.html", "index.php"),
            ("symlinks-to", self.root, os.path.dirname(self.root)),
            ("param", "A=1", "B=2"),
            ("trusted-proxy", "10.0.0.0/8", "unix"),
        ):
            field = option.replace("-", "_")
            given = (FPM, one, two) if option == "fpm" else (one, two)
            config = self.parse(f"--{option}", one, f"--{option}={two}")
            self.assertEqual(getattr(config, field), given)
            self.assertEqual(self.parse(), default)

    def test_sizes(self) -> None:
        """Bytes are told as a number, or in KiB, MiB or GiB."""
        for text, size in (
            ("0", 0),
            ("65536", 65536),
            ("1k", 1 << 10),
            ("64k", 64 << 10),
            ("100M", 100 << 20),
            ("2G", 2 << 30),
            ("007M", 7 << 20),
        ):
            self.assertEqual(self.parse(f"--max-body={text}").max_body, size)

    def test_behind_the_forward_service(self) -> None:
        """Options of twistd fastcar lead here by the service's name."""
        options = Options()
        options.parseOptions(["fastcgi", *self.needed, "--connections", "7"])
        self.assertEqual(options.subCommand, "fastcgi")
        sub: Any = options.subOptions
        self.assertEqual(sub.to_config(), self.parse("--connections=7"))

    def test_every_field_has_an_option(self) -> None:
        """And every option a field; help and version aside."""
        opposite = {"--static": "--no-static", "--keep": "--no-keep"}
        names = [option_name(field.name) for field in dataclasses.fields(FastCGIConfig)]
        fields = {opposite.get(name, name) for name in names}
        options = {f"--{name.rstrip('=')}" for name in FastCGIOptions().longOpt}
        # Twisted adds each spelling with an underscore as well.
        dashed = {name.replace("_", "-") for name in options}
        self.assertEqual(dashed - {"--help", "--version"}, fields)


class MistakeTests(OptionsCase):
    """A mistake ends twistd with one line: SystemExit with a text is status 1 and that text."""

    def exit_line(self, *arguments: str) -> str:
        """Return the line twistd ends with."""
        error = self.assertRaises(SystemExit, Options().parseOptions, list(arguments))
        self.assertIsInstance(error.code, str)
        line = str(error.code)
        self.assertNotIn("\n", line)
        return line

    def wrong(self, *arguments: str) -> str:
        """Return the line for options beside those that are needed."""
        return self.exit_line("fastcgi", *self.needed, *arguments)

    def test_wrong_values(self) -> None:
        """The line names the option, the value as typed, and what was expected."""
        for option, value, expected in (
            ("--fpm", "9000", "unix:/PATH or tcp:HOST:PORT"),
            ("--fpm", FPM, "each place once"),
            ("--root", "", "an existing directory"),
            ("--root", "/nonexistent", "an existing directory"),
            ("--listen", "8080", "an endpoint such as tcp:3128:interface=127.0.0.1"),
            ("--socket-mode", "888", "octal permissions from 000 to 777"),
            ("--socket-group", "no such group", "the name of an existing group"),
            ("--cert", "/nonexistent", "a readable PEM file (No such file or directory)"),
            ("--key", "/nonexistent", "a readable PEM file (No such file or directory)"),
            ("--fpm-root", "srv", "an absolute path"),
            ("--index", ".x", "the name of a file that is not hidden, as index.php"),
            ("--index", "a/b.php", "the name of a file that is not hidden, as index.php"),
            ("--front-controller", "a.html", "a script below the root, its name ending in .php"),
            ("--front-controller", "none.php", "a script that is there, below --root"),
            ("--split", "php", "a suffix such as .php"),
            ("--symlinks-to", "/nonexistent", "an existing directory"),
            ("--sendfile", "/nonexistent", "an existing directory"),
            ("--param", "A", "NAME=VALUE, the name of letters, digits and _"),
            ("--trusted-proxy", "a.test", "an IP address, a network such as 10.0.0.0/8, or unix"),
            ("--connections", "0", "a whole number, 1 or more"),
            ("--prewarm", "4", "at most 3, which is --connections"),
            ("--prewarm", "all", COUNT),
            ("--max-queue", "-1", COUNT),
            ("--queue-timeout", "0", SECONDS),
            ("--connect-timeout", "soon", SECONDS),
            ("--response-timeout", "0", SECONDS),
            ("--stall-timeout", "-1", SECONDS),
            ("--client-timeout", "inf", SECONDS),
            ("--keepalive-timeout", "1_000", SECONDS),
            ("--idle-timeout", "", SECONDS),
            ("--max-age", "0", SECONDS),
            ("--max-requests", "1.5", COUNT),
            ("--fail-fast-after", "no", COUNT),
            ("--max-body", "1T", SIZE),
            ("--max-body", "-1", SIZE),
            ("--max-body", "64 k", SIZE),
            ("--spool-memory", "64K", SIZE),
            ("--spool-memory", "1.5M", SIZE),
            ("--spool-memory", "", SIZE),
            ("--drain-timeout", "-1", "a number of seconds, 0 or more"),
        ):
            line = self.wrong(f"{option}={value}")
            shown = value if value.isdecimal() and option != "--fpm" else repr(value)
            shown = repr(value) if option in ("--listen", "--socket-mode") else shown
            start = f"fastcar: {option}: got {shown}, expected {expected}"
            self.assertTrue(line.startswith(start), line)

    def test_too_large_a_size(self) -> None:
        """A size that no body has is refused like any other mistake."""
        line = self.wrong("--max-body=999999999999G")
        self.assertTrue(line.endswith(f", expected {SIZE}"), line)

    def test_needed(self) -> None:
        """The line names what is missing."""
        self.assertEqual(
            self.exit_line("fastcgi"),
            "fastcar: --fpm: got nothing, expected unix:/PATH or tcp:HOST:PORT",
        )
        self.assertEqual(
            self.exit_line("fastcgi", f"--fpm={FPM}"),
            "fastcar: --root: got nothing, expected an existing directory",
        )

    def test_options_before_the_name(self) -> None:
        """Options of the forward service would have no effect, so they are refused."""
        for arguments in (["--unix", "/x"], ["--verbose"], ["--listen=tcp:1:interface=127.0.0.1"]):
            line = self.exit_line(*arguments, "fastcgi", *self.needed)
            self.assertEqual(line, "fastcar: options of fastcgi go behind its name")

    def test_stray_argument(self) -> None:
        """A word that is no option is refused, not ignored."""
        self.assertEqual(self.wrong("/a"), "fastcar: got '/a', expected only options")

    def test_unknown(self) -> None:
        """Unknown options and services are named, without a page of usage."""
        self.assertEqual(self.wrong("--unix=/x"), "fastcar: option --unix not recognized")
        self.assertEqual(self.wrong("--root"), "fastcar: option --root requires argument")
        self.assertEqual(self.exit_line("nonsense"), "fastcar: Unknown command: nonsense")

    def test_parse_raises_usage_error(self) -> None:
        """Embedders get an exception they can handle, with the same words."""
        error = self.assertRaises(usage.UsageError, FastCGIOptions().parse, ["--split=x"])
        self.assertIn("--fpm: got nothing", str(error))


class HelpTests(SynchronousTestCase):
    """--help and --version."""

    def printed(self, *arguments: str) -> str:
        """What is printed by a command line that ends well, white space made single."""
        output = StringIO()
        self.patch(sys, "stdout", output)
        error = self.assertRaises(SystemExit, Options().parseOptions, list(arguments))
        self.assertEqual(error.code, 0)
        return " ".join(output.getvalue().split())

    def test_page(self) -> None:
        """Each option has a line, with its default as it would be typed."""
        self.patch(os, "environ", {**os.environ, "COLUMNS": "200"})
        text = self.printed("fastcgi", "--help")
        for line in (
            "--cert= PEM certificate chain; with it TLS is served too.",
            "--client-timeout= Seconds for a request head, for a TLS handshake. [default: 15]",
            "--connect-timeout= Seconds to connect to php-fpm. [default: 5]",
            "--connections= Connections to each php-fpm; at most pm.max_children - 1. [default: 3]",
            "--drain-timeout= Seconds for requests in flight at shutdown. [default: 10]",
            "--fail-fast-after= Failed connects in a row to fail fast after; 0: never. "
            "[default: 5]",
            "--fpm= Where php-fpm listens: unix:/PATH or tcp:HOST:PORT; repeatable.",
            "--fpm-root= The root as php-fpm sees it [default: the same]",
            "--front-controller= Script for whatever is no file [default: none]",
            "--help Display this help and exit.",
            "--idle-timeout= Seconds a connection to php-fpm may be idle. [default: 2]",
            "--index= File served for a directory [default: index.php]; repeatable.",
            "--keepalive-timeout= Seconds a client connection may be idle. [default: 75]",
            "--key= PEM private key of --cert.",
            "--listen= Where to listen [default: tcp:8080:interface=127.0.0.1]; repeatable.",
            "--max-age= Seconds after which a connection to php-fpm is replaced. [default: 3600]",
            "--max-body= Bytes of the largest request body; 0: no limit. [default: 100M]",
            "--max-queue= Requests that may wait for a connection. [default: 1024]",
            "--max-requests= Requests that a connection to php-fpm serves; 0: no limit. "
            "[default: 0]",
            "--no-keep Open a connection to php-fpm for each request.",
            "--no-static Serve scripts only, no other files.",
            "--param= NAME=VALUE, a further variable for scripts; repeatable.",
            "--prewarm= Connections to open ahead to each php-fpm. [default: 0]",
            "--queue-timeout= Seconds a request may wait for a connection. [default: 10]",
            "--response-timeout= Seconds to the first byte of a response. [default: 60]",
            "--root= Directory with what is served.",
            "--sendfile= Directory of files that scripts may have sent [default: none]",
            "--socket-group= Group of those sockets [default: that of the process]",
            "--socket-mode= Permissions of the sockets listened on, octal. [default: 660]",
            "--split= How the name of a script ends. [default: .php]",
            "--spool-memory= Bytes of a request body that are held in memory. [default: 1M]",
            "--stall-timeout= Seconds a body may stand still. [default: 60]",
            "--symlinks-to= Directory outside the root that links to files may lead into; "
            "repeatable.",
            "--trusted-proxy= ADDR, ADDR/BITS or unix, whose X-Forwarded-* is believed; "
            "repeatable.",
            "--verbose Log every exchange, not only the failures.",
            "--version Display the version of fastcar and exit.",
        ):
            self.assertIn(line, text)
        options = {name for name in FastCGIOptions().longOpt if "_" not in name}
        self.assertEqual({f"--{name}" for name in options} - set(text.split()), set())

    def test_synopsis(self) -> None:
        """The first line is how the service is started."""
        self.assertTrue(self.printed("fastcgi", "--help").startswith("fastcgi [options] Options:"))
        start = "[options] | fastcgi [options] | relay [options] Options:"
        self.assertTrue(self.printed("--help").startswith(start))

    def test_page_of_the_forward_service(self) -> None:
        """It names this one."""
        text = self.printed("--help")
        self.assertIn("Commands: fastcgi Serve HTTP in front of php-fpm. ", text)

    def test_version(self) -> None:
        """--version is understood behind the name as well."""
        self.assertEqual(self.printed("fastcgi", "--version"), self.printed("--version"))


class TwistdTests(OptionsCase):
    """The command line as the operator sees it."""

    def twistd(self, *arguments: str) -> tuple[int, str, str]:
        """Run twistd to its end; status, output and errors."""
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        done = subprocess.run(
            [*command, "-n", "--pidfile=", "fastcar", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def test_mistakes(self) -> None:
        """A mistake ends it with status 1 and one line on stderr."""
        for arguments, line in (
            (("nonsense",), "fastcar: Unknown command: nonsense"),
            (
                ("fastcgi", *self.needed, "--front-controller=none.php"),
                "fastcar: --front-controller: got 'none.php', expected a script that is there, "
                "below --root",
            ),
        ):
            self.assertEqual(self.twistd(*arguments), (1, "", f"{line}\n"))

    def test_help(self) -> None:
        """Help begins with how the service is started."""
        status, output, errors = self.twistd("fastcgi", "--help")
        self.assertEqual((status, errors), (0, ""))
        self.assertIn(" [options] fastcar fastcgi [options]\n", output.partition("Options:")[0])
