"""The command line: each option reaches its field, each mistake ends in one line."""

from __future__ import annotations

import sys
from io import StringIO

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.config import Config
from fastcar_tw.options import Options


class ParsingTests(SynchronousTestCase):
    """What is typed becomes a Config."""

    def test_nothing(self) -> None:
        """Without options the defaults of Config hold: they are stated once."""
        self.assertEqual(Options().parse([]), Config())

    def test_to_config_without_parsing(self) -> None:
        """Options that parsed nothing give the defaults too."""
        self.assertEqual(Options().to_config(), Config())

    def test_every_value_is_converted(self) -> None:
        """Each option sets its field, in the field's type."""
        config = Options().parse(
            [
                "--unix=/tmp/x.sock",
                "--https-unix=/tmp/y.sock",
                "--listen=tcp:3128",
                "--allow-remote",
                "--tunnel=22",
                "--ca-dir=/tmp/ca",
                "--socket-mode=600",
                "--connect-timeout=1",
                "--response-timeout=2.5",
                "--stall-timeout=.5",
                "--client-timeout=4",
                "--keepalive-timeout=5",
                "--idle-timeout=6",
                "--max-idle-per-origin=7",
                "--http2=always",
                "--drain-timeout=0",
                "--via=fastcar",
                "--verbose",
            ]
        )
        expected = Config(
            unix="/tmp/x.sock",
            https_unix="/tmp/y.sock",
            listen=("tcp:3128",),
            allow_remote=True,
            tunnel=("22",),
            ca_dir="/tmp/ca",
            socket_mode=0o600,
            connect_timeout=1.0,
            response_timeout=2.5,
            stall_timeout=0.5,
            client_timeout=4.0,
            keepalive_timeout=5.0,
            idle_timeout=6.0,
            max_idle_per_origin=7,
            http2="always",
            drain_timeout=0.0,
            via="fastcar",
            verbose=True,
        )
        self.assertEqual(config, expected)

    def test_repeatable(self) -> None:
        """Some options add up, in order; one parser does not leak into the next."""
        for option, field, one, two in (
            ("insecure-origin", "insecure_origins", "a", "b:1"),
            ("listen", "listen", "tcp:1:interface=127.0.0.1", "unix:/a.sock"),
            ("tunnel", "tunnel", "22", "a.test:25"),
        ):
            arguments = [f"--{option}", one, f"--{option}={two}"]
            self.assertEqual(getattr(Options().parse(arguments), field), (one, two))
            self.assertEqual(getattr(Options().parse([]), field), ())

    def test_mode_with_prefix(self) -> None:
        """Python's way of writing octal is understood as well."""
        self.assertEqual(Options().parse(["--socket-mode", "0o640"]).socket_mode, 0o640)

    def test_parse_options_returns_quietly(self) -> None:
        """twistd's entry leaves the values for to_config."""
        options = Options()
        options.parseOptions(["--unix", "/tmp/y.sock"])
        self.assertEqual(options.to_config().unix, "/tmp/y.sock")


class MistakeTests(SynchronousTestCase):
    """A mistake ends twistd with one line: SystemExit with a text is status 1 and that text."""

    def exit_line(self, *arguments: str) -> str:
        """Return the line twistd ends with."""
        error = self.assertRaises(SystemExit, Options().parseOptions, list(arguments))
        self.assertIsInstance(error.code, str)
        line = str(error.code)
        self.assertNotIn("\n", line)
        return line

    def test_wrong_values(self) -> None:
        """The line names the option, the value as typed, and what was expected."""
        for option, value, expected in (
            ("--unix", "", "a path of at most 107 bytes"),
            ("--https-unix", "", "a path of at most 107 bytes"),
            ("--listen", "3128", "an endpoint such as tcp:3128:interface=127.0.0.1"),
            ("--listen", "tcp:3128", "interface=127.0.0.1, or --allow-remote"),
            ("--tunnel", "ssh", "PORT or HOST:PORT, a port from 1 to 65535"),
            ("--cert", "/nonexistent", "a readable PEM file (No such file or directory)"),
            ("--key", "/nonexistent", "a readable PEM file (No such file or directory)"),
            ("--ca-dir", "", "a directory"),
            ("--trust", "/nonexistent", "a readable file of PEM certificates (No such file"),
            ("--insecure-origin", "::1", "HOST or HOST:PORT, an IPv6 address in brackets"),
            ("--socket-mode", "888", "octal permissions from 000 to 777"),
            ("--socket-mode", "1777", "octal permissions from 000 to 777"),
            ("--socket-group", "no such group", "the name of an existing group"),
            ("--connect-timeout", "soon", "a number of seconds greater than 0"),
            ("--response-timeout", "0", "a number of seconds greater than 0"),
            ("--stall-timeout", "-1", "a number of seconds greater than 0"),
            ("--client-timeout", "inf", "a number of seconds greater than 0"),
            ("--keepalive-timeout", "1_000", "a number of seconds greater than 0"),
            ("--idle-timeout", "", "a number of seconds greater than 0"),
            ("--max-idle-per-origin", "1.5", "a whole number, 0 or more"),
            ("--max-connections", "0", "a whole number, 1 or more"),
            ("--max-connections-per-origin", "many", "a whole number, 1 or more"),
            ("--max-queue", "-1", "a whole number, 0 or more"),
            ("--queue-timeout", "0", "a number of seconds greater than 0"),
            ("--max-age", "0", "a number of seconds greater than 0"),
            ("--fail-fast-after", "no", "a whole number, 0 or more"),
            ("--prewarm", "a.test", "http://HOST[:PORT] or https://HOST[:PORT]"),
            ("--http2", "on", "auto, off or always"),
            ("--dns-ttl", "-1", "a number of seconds, 0 or more"),
            ("--resolve", "a.test", "HOST:PORT:ADDRESS[,ADDRESS...]"),
            ("--drain-timeout", "-1", "a number of seconds, 0 or more"),
            ("--via", "a b", "a token of RFC 9110"),
        ):
            line = self.exit_line(f"{option}={value}")
            shown = "0" if value == "0" else repr(value)
            start = f"fastcar: {option}: got {shown}, expected {expected}"
            self.assertTrue(line.startswith(start), line)

    def test_unknown_option(self) -> None:
        """An unknown option is named, without a page of usage."""
        self.assertEqual(self.exit_line("--unixx"), "fastcar: option --unixx not recognized")

    def test_line_break_in_an_option(self) -> None:
        """What was typed cannot break the line."""
        self.assertIn("--un ix", self.exit_line("--un\nix"))

    def test_missing_argument(self) -> None:
        """An option without its argument is named."""
        self.assertEqual(self.exit_line("--unix"), "fastcar: option --unix requires argument")

    def test_stray_argument(self) -> None:
        """A word that is neither an option nor a service is refused, not ignored."""
        self.assertEqual(self.exit_line("/a"), "fastcar: Unknown command: /a")

    def test_twice_the_same_path(self) -> None:
        """Two sockets cannot share a path."""
        line = self.exit_line("--unix=/tmp/x.sock", "--https-unix=/tmp/x.sock")
        self.assertIn("--https-unix: got '/tmp/x.sock', expected another path than --unix", line)

    def test_cert_without_key(self) -> None:
        """Rules across options are checked on the command line as well."""
        self.assertIn("--key: got nothing", self.exit_line("--cert", sys.executable))

    def test_parse_raises_usage_error(self) -> None:
        """Embedders get an exception they can handle, with the same words."""
        error = self.assertRaises(usage.UsageError, Options().parse, ["--via", "a b"])
        self.assertIn("--via: got 'a b'", str(error))


class HelpTests(SynchronousTestCase):
    """--help and --version."""

    def test_help_states_the_defaults(self) -> None:
        """Each option with a default shows it as it would be typed."""
        text = " ".join(Options().getUsage(width=200).split())
        for line in (
            "--unix= Path of the socket to listen on. [default: /tmp/fastcar.sock]",
            "--socket-mode= Permissions of the socket, octal. [default: 660]",
            "--connect-timeout= Seconds to connect to an origin, with TLS. [default: 10]",
            "--max-idle-per-origin= Idle upstream connections per origin. [default: 100]",
        ):
            self.assertIn(line, text)

    def test_help_exits_with_success(self) -> None:
        """--help is no mistake."""
        output = StringIO()
        self.patch(sys, "stdout", output)
        error = self.assertRaises(SystemExit, Options().parseOptions, ["--help"])
        self.assertEqual(error.code, 0)
        for option in ("--insecure-origin=", "--listen=", "--allow-remote", "--tunnel="):
            self.assertIn(option, output.getvalue())
