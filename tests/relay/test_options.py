"""The command line of the relay: each option reaches its field, each mistake ends in one line."""

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
from fastcar_tw.options import Options
from fastcar_tw.relay.config import RelayConfig
from fastcar_tw.relay.options import RelayOptions
from tests.test_config import certificate_and_key, pem

from .test_config import BACKEND, LISTEN, PICKY, TLS

ROOT = Path(__file__).resolve().parent.parent.parent
NEEDED = (f"--listen={LISTEN[0]}", f"--backend={BACKEND[0]}")
POOL = (f"--framing={PICKY}", "--pool=4")
SECONDS = "a number of seconds greater than 0"
COUNT = "a whole number, 0 or more"
ONE = "a whole number, 1 or more"
SIZE = "a number of bytes, as 65536, 64k, 100M or 1G"
KINDS = "unix:/PATH, tcp:HOST:PORT or tls:HOST:PORT"


def parse(*arguments: str) -> RelayConfig:
    """What these and the needed options become."""
    config: RelayConfig = RelayOptions().parse([*NEEDED, *arguments])
    return config


class ParsingTests(SynchronousTestCase):
    """What is typed becomes a RelayConfig."""

    def pair(self) -> str:
        """The path of a file with a certificate and its key."""
        path = Path(self.mktemp()).absolute()
        certificate, private = certificate_and_key()
        path.write_bytes(certificate + pem(private))
        return str(path)

    def test_needed(self) -> None:
        """With what is needed alone the defaults of RelayConfig hold: they are stated once."""
        self.assertEqual(parse(), RelayConfig(listen=LISTEN, backend=BACKEND))

    def test_every_value_is_converted(self) -> None:
        """Each option sets its field, in the field's type."""
        pair = self.pair()
        config = parse(
            f"--backend={TLS[0]}",
            f"--trust={pair}",
            "--insecure-origin=redis.test",
            f"--cert={pair}",
            f"--key={pair}",
            "--socket-mode=600",
            "--socket-group=root",
            "--accept-proxy-protocol",
            f"--framing={PICKY}",
            "--pool=4",
            "--pool-min=2",
            "--pool-idle-timeout=5",
            "--pool-max-age=6.5",
            "--max-frame=64k",
            "--max-clients=7",
            "--max-queue=8",
            "--queue-timeout=9",
            "--connect-timeout=.5",
            "--response-timeout=10",
            "--client-timeout=11",
            "--idle-timeout=12",
            "--fail-fast-after=13",
            "--drain-timeout=0",
            "--verbose",
        )
        expected = RelayConfig(
            listen=LISTEN,
            backend=BACKEND + TLS,
            trust=(pair,),
            insecure_origins=("redis.test",),
            cert=pair,
            key=pair,
            socket_mode=0o600,
            socket_group="root",
            accept_proxy_protocol=True,
            framing=PICKY,
            pool=4,
            pool_min=2,
            pool_idle_timeout=5.0,
            pool_max_age=6.5,
            max_frame=64 << 10,
            max_clients=7,
            max_queue=8,
            queue_timeout=9.0,
            connect_timeout=0.5,
            response_timeout=10.0,
            client_timeout=11.0,
            idle_timeout=12.0,
            fail_fast_after=13,
            drain_timeout=0.0,
            verbose=True,
        )
        self.assertEqual(config, expected)

    def test_proxy_protocol(self) -> None:
        """The version of the header is told as it is called."""
        self.assertEqual(parse("--proxy-protocol", "v2").proxy_version, 2)

    def test_repeatable(self) -> None:
        """Some options add up, in order; one parser does not leak into the next."""
        default = parse()
        one, two = self.pair(), self.pair()
        for option, field, values in (
            ("listen", "listen", (*LISTEN, "tcp:1", "unix:/a.sock")),
            ("backend", "backend", (*BACKEND, "tls:a.test:1", "unix:/b.sock")),
            ("trust", "trust", (one, two)),
            ("insecure-origin", "insecure_origins", ("redis.test", "redis.test:6380")),
        ):
            extra = [f"--{option}={value}" for value in values[-2:]]
            secure = [] if option == "backend" else [f"--backend={TLS[0]}"]
            self.assertEqual(getattr(parse(*secure, *extra), field), values)
            self.assertEqual(parse(), default)

    def test_behind_the_forward_service(self) -> None:
        """Options of twistd fastcar lead here by the service's name."""
        options = Options()
        options.parseOptions(["relay", *NEEDED, "--max-clients", "7"])
        self.assertEqual(options.subCommand, "relay")
        sub: Any = options.subOptions
        self.assertEqual(sub.to_config(), parse("--max-clients=7"))

    def test_every_field_has_an_option(self) -> None:
        """And every option a field; help and version aside."""
        fields = {option_name(field.name) for field in dataclasses.fields(RelayConfig)}
        options = {f"--{name.rstrip('=')}" for name in RelayOptions().longOpt}
        # Twisted adds each spelling with an underscore as well.
        dashed = {name.replace("_", "-") for name in options}
        self.assertEqual(dashed - {"--help", "--version"}, fields)


class MistakeTests(SynchronousTestCase):
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
        return self.exit_line("relay", *NEEDED, *arguments)

    def test_wrong_values(self) -> None:
        """The line names the option, the value as typed, and what was expected."""
        for option, value, expected in (
            ("--listen", "8080", "an endpoint such as tcp:3128:interface=127.0.0.1"),
            ("--listen", LISTEN[0], "a place where nothing else listens"),
            ("--backend", "9000", KINDS),
            ("--backend", "ssl:a.test:1", KINDS),
            ("--backend", "unix:a", "an absolute path of a socket"),
            ("--backend", BACKEND[0], "each place once"),
            ("--backend", "tcp:127.0.0.1:6379", "another place than --listen has"),
            ("--backend", "tls:1.2.3:1", "a host that a certificate can be for"),
            ("--trust", "/nonexistent", "a readable file of PEM certificates (No such file"),
            ("--insecure-origin", "::1", "HOST or HOST:PORT, an IPv6 address in brackets"),
            ("--insecure-origin", "redis.test", "the host of a tls: --backend"),
            ("--cert", "/nonexistent", "a readable PEM file (No such file or directory)"),
            ("--key", "/nonexistent", "a readable PEM file (No such file or directory)"),
            ("--socket-mode", "888", "octal permissions from 000 to 777"),
            ("--socket-group", "no such group", "the name of an existing group"),
            ("--proxy-protocol", "1", "v1 or v2"),
            ("--proxy-protocol", "", "v1 or v2"),
            ("--pool", "0", ONE),
            ("--pool", "many", ONE),
            ("--pool-min", "-1", COUNT),
            ("--pool-min", "1", "--pool beside it"),
            ("--pool-idle-timeout", "0", SECONDS),
            ("--pool-idle-timeout", "1", "--pool beside it"),
            ("--pool-max-age", "", SECONDS),
            ("--max-frame", "1T", SIZE),
            ("--max-frame", "-1", SIZE),
            ("--max-frame", "0", "at least 1 byte"),
            ("--max-frame", "1k", "--pool beside it"),
            ("--max-clients", "0", ONE),
            ("--max-queue", "-1", COUNT),
            ("--max-queue", "5", "--pool beside it"),
            ("--queue-timeout", "0", SECONDS),
            ("--connect-timeout", "soon", SECONDS),
            ("--response-timeout", "-1", SECONDS),
            ("--response-timeout", "1", "--pool beside it"),
            ("--client-timeout", "inf", SECONDS),
            ("--idle-timeout", "1_000", SECONDS),
            ("--fail-fast-after", "no", COUNT),
            ("--drain-timeout", "-1", "a number of seconds, 0 or more"),
        ):
            line = self.wrong(f"{option}={value}")
            shown = {"1k": "1024"}.get(value, value if value.isdecimal() else repr(value))
            if option in ("--listen", "--backend", "--socket-mode", "--proxy-protocol"):
                shown = repr(value)
            if option.endswith("-timeout") and value == "1":
                shown = "1.0"
            start = f"fastcar: {option}: got {shown}, expected {expected}"
            self.assertTrue(line.startswith(start), line)

    def test_wrong_framings(self) -> None:
        """What a framing says is told with its option."""
        for text, expected in (
            ("nonsense", "eof, length, memcached, resp or the place of a class in Python"),
            (f"{PICKY}:x", "no argument (not x)"),
            ("os.path", "a subclass of fastcar_tw.relay.framing.Framing (os.path is not one)"),
        ):
            self.assertEqual(
                self.wrong("--pool=4", f"--framing={text}"),
                f"fastcar: --framing: got {text!r}, expected {expected}",
            )

    def test_what_does_not_go_together(self) -> None:
        """The line names the option and the one that it misses or contradicts."""
        together = "; the two go together"
        for arguments, line in (
            (("--pool=4",), f"--framing: got nothing, expected the framing of --pool{together}"),
            (
                (f"--framing={PICKY}",),
                "--pool: got nothing, expected how many connections share what --framing tells "
                f"apart{together}",
            ),
            (
                (*POOL, "--pool-min=5"),
                "--pool-min: got 5, expected at most 4, which is --pool",
            ),
            (
                (*POOL, "--proxy-protocol=v1"),
                "--proxy-protocol: got 'v1', expected no --pool beside it (connections of a pool "
                "are of no one client)",
            ),
            (
                ("--proxy-protocol=v1", f"--backend={TLS[0]}"),
                "--proxy-protocol: got 'v1', expected no tls: --backend beside it (it would come "
                "inside of TLS)",
            ),
            (
                (f"--cert={__file__}",),
                f"--key: got nothing, expected the private key of --cert{together}",
            ),
            (
                (f"--key={__file__}",),
                f"--cert: got nothing, expected the certificate of --key{together}",
            ),
        ):
            self.assertEqual(self.wrong(*arguments), f"fastcar: {line}")

    def test_needed(self) -> None:
        """The line names what is missing."""
        self.assertEqual(
            self.exit_line("relay"), f"fastcar: --backend: got nothing, expected {KINDS}"
        )
        self.assertEqual(
            self.exit_line("relay", NEEDED[1]),
            "fastcar: --listen: got nothing, expected an endpoint such as "
            "tcp:8080:interface=127.0.0.1",
        )

    def test_options_before_the_name(self) -> None:
        """Options of the forward service would have no effect, so they are refused."""
        line = self.exit_line("--verbose", "relay", *NEEDED)
        self.assertEqual(line, "fastcar: options of relay go behind its name")

    def test_unknown(self) -> None:
        """Stray words and unknown options are named, without a page of usage."""
        self.assertEqual(self.wrong("/a"), "fastcar: got '/a', expected only options")
        self.assertEqual(self.wrong("--unix=/x"), "fastcar: option --unix not recognized")
        self.assertEqual(self.wrong("--pool"), "fastcar: option --pool requires argument")

    def test_parse_raises_usage_error(self) -> None:
        """Embedders get an exception they can handle, with the same words."""
        error = self.assertRaises(usage.UsageError, RelayOptions().parse, [*NEEDED, "--pool=x"])
        self.assertEqual(str(error), f"--pool: got 'x', expected {ONE}")


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
        text = self.printed("relay", "--help")
        for line in (
            "--accept-proxy-protocol Every client begins with a PROXY header.",
            "--backend= Where to connect to: tcp:HOST:PORT, unix:/PATH or tls:HOST:PORT; "
            "repeatable.",
            "--cert= PEM certificate chain; with it clients speak TLS.",
            "--client-timeout= Seconds a client may stop in the middle of something. [default: 15]",
            "--connect-timeout= Seconds to connect to a backend, with TLS. [default: 5]",
            "--drain-timeout= Seconds for clients to finish at shutdown. [default: 10]",
            "--fail-fast-after= Failed connects in a row to fail fast after; 0: never. "
            "[default: 5]",
            "--framing= How requests and responses are told apart for --pool: eof:TERMINATOR, "
            "length:TYPE:OFFSET:BODY_OFFSET, memcached, resp, or a class in Python",
            "--help Display this help and exit.",
            "--idle-timeout= Seconds in which no byte passes, or no request comes. [default: 3600]",
            "--insecure-origin= HOST[:PORT] of a tls: backend whose certificate is not verified; "
            "repeatable.",
            "--key= PEM private key of --cert.",
            "--listen= Where to listen, as tcp:6379:interface=127.0.0.1 or unix:/PATH; repeatable.",
            "--max-clients= Clients at a time. [default: 10000]",
            "--max-frame= Bytes of the largest request or response, with --pool. [default: 2M]",
            "--max-queue= Requests that may wait for a connection of --pool. [default: 1024]",
            "--pool= Connections to each backend that clients share [default: each client has its "
            "own]",
            "--pool-idle-timeout= Seconds a connection of --pool may be idle. [default: 60]",
            "--pool-max-age= Seconds after which a connection of --pool is replaced. "
            "[default: 3600]",
            "--pool-min= Connections of --pool to keep open to each backend. [default: 0]",
            "--proxy-protocol= v1 or v2, the PROXY header that backends are sent [default: none]",
            "--queue-timeout= Seconds to wait for a connection. [default: 10]",
            "--response-timeout= Seconds a backend that owes a response may be silent. "
            "[default: 60]",
            "--socket-group= Group of those sockets [default: that of the process]",
            "--socket-mode= Permissions of the sockets listened on, octal. [default: 660]",
            "--trust= PEM file of CAs to trust besides the system's, for tls: backends; "
            "repeatable.",
            "--verbose Log every client, not only the failures.",
            "--version Display the version of fastcar and exit.",
        ):
            self.assertIn(line, text)
        options = {name for name in RelayOptions().longOpt if "_" not in name}
        self.assertEqual({f"--{name}" for name in options} - set(text.split()), set())

    def test_synopsis(self) -> None:
        """The first line is how the service is started."""
        self.assertTrue(self.printed("relay", "--help").startswith("relay [options] Options:"))

    def test_page_of_the_forward_service(self) -> None:
        """It names this one."""
        text = self.printed("--help")
        line = "relay Relay TCP, over few shared connections if wanted."
        self.assertTrue(text.endswith(line), text)

    def test_version(self) -> None:
        """--version is understood behind the name as well."""
        self.assertEqual(self.printed("relay", "--version"), self.printed("--version"))


class TwistdTests(SynchronousTestCase):
    """The command line as the operator sees it."""

    def test_mistake(self) -> None:
        """A mistake ends twistd with status 1 and one line on stderr."""
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        done = subprocess.run(
            [*command, "-n", "--pidfile=", "fastcar", "relay", *NEEDED, "--pool=4"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        line = (
            "fastcar: --framing: got nothing, expected the framing of --pool; the two go together"
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", f"{line}\n"))
