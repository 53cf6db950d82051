"""Which values a `FastCGIConfig` takes, what it makes of them, and how it refuses the others."""

from __future__ import annotations

import dataclasses
import grp
import os
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock

from fastcar_tw.checks import option_name
from fastcar_tw.config import Config, ConfigError
from fastcar_tw.fastcgi.checks import CHECKS
from fastcar_tw.fastcgi.config import FastCGIConfig
from fastcar_tw.fastcgi.service import FastCGIService
from fastcar_tw.pool.core import PoolLimits
from fastcar_tw.upstream.backends import Backend
from tests.test_config import ConfigCase, certificate_and_key, pem

FPM = ("unix:/run/php/fpm.sock",)

TIMEOUTS = (
    "queue_timeout",
    "connect_timeout",
    "response_timeout",
    "stall_timeout",
    "client_timeout",
    "keepalive_timeout",
    "idle_timeout",
    "max_age",
)


class FastCGIConfigCase(ConfigCase):
    """Has a root with a script in it."""

    def setUp(self) -> None:
        """Make the root."""
        self.root = Path(self.mktemp()).absolute()
        (self.root / "app").mkdir(parents=True)
        (self.root / "index.php").touch()
        (self.root / "app" / "front controller.php").touch()

    def config(self, **values: Any) -> FastCGIConfig:
        """A configuration with what it needs."""
        return FastCGIConfig(**{"fpm": FPM, "root": str(self.root), **values})

    def refused(self, **values: Any) -> ConfigError:
        """See L{ConfigCase.refused}."""
        error: ConfigError = self.assertRaises(ConfigError, self.config, **values)
        self.assertNotIn("\n", str(error))
        return error


class DefaultsTests(FastCGIConfigCase):
    """The configuration nobody touched."""

    def test_defaults_are_those_of_the_manual(self) -> None:
        """With what it needs alone it holds the documented defaults."""
        self.assertEqual(
            dataclasses.asdict(self.config()),
            {
                "fpm": FPM,
                "root": str(self.root),
                "listen": ("tcp:8080:interface=127.0.0.1",),
                "socket_mode": 0o660,
                "socket_group": None,
                "cert": None,
                "key": None,
                "fpm_root": None,
                "index": ("index.php",),
                "front_controller": None,
                "split": ".php",
                "static": True,
                "symlinks_to": (),
                "sendfile": None,
                "param": (),
                "trusted_proxy": (),
                "connections": 3,
                "keep": True,
                "prewarm": 0,
                "max_queue": 1024,
                "queue_timeout": 10.0,
                "connect_timeout": 5.0,
                "response_timeout": 60.0,
                "stall_timeout": 60.0,
                "client_timeout": 15.0,
                "keepalive_timeout": 75.0,
                "idle_timeout": 2.0,
                "max_age": 3600.0,
                "max_requests": 0,
                "fail_fast_after": 5,
                "max_body": 100 << 20,
                "spool_memory": 1 << 20,
                "drain_timeout": 10.0,
                "verbose": False,
            },
        )

    def test_every_field_has_a_check(self) -> None:
        """No field enters a configuration unchecked."""
        fields = [field.name for field in dataclasses.fields(FastCGIConfig)]
        self.assertEqual(list(CHECKS), fields)

    def test_frozen(self) -> None:
        """A configuration that was checked stays what it is."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            self.config().connections = 5  # type: ignore[misc]

    def test_needed(self) -> None:
        """Without php-fpm and without a root there is nothing to serve."""
        self.assertEqual(
            str(self.refused(fpm=())),
            "--fpm: got nothing, expected unix:/PATH or tcp:HOST:PORT",
        )
        self.assertEqual(
            str(self.refused(root=None)), "--root: got nothing, expected an existing directory"
        )


class BackendsTests(FastCGIConfigCase):
    """--fpm."""

    def test_several(self) -> None:
        """Each php-fpm is a backend, in the order given."""
        config = self.config(fpm=["unix:/a.sock", "tcp:a.test:9000"])
        self.assertEqual(config.fpm, ("unix:/a.sock", "tcp:a.test:9000"))
        self.assertEqual(config.backends, [Backend("/a.sock"), Backend("", "a.test", 9000)])

    def test_unusable(self) -> None:
        """What is no place of a php-fpm is refused and shown."""
        self.assert_refused("fpm", FPM[0], "a list of endpoints")
        for value in ("9000", "tcp:9000", "unix:fpm.sock", "tcp:a.test:0", "", 9000, None):
            error = self.refused(fpm=(*FPM, value))
            shown = "nothing" if value is None else repr(value)
            self.assertTrue(str(error).startswith(f"--fpm: got {shown}, expected "), error)

    def test_twice(self) -> None:
        """Each php-fpm is named once, whatever its spelling."""
        error = self.refused(fpm=("unix:/a", "unix:/x/../a", "unix:/b"))
        self.assertEqual(str(error), "--fpm: got 'unix:/x/../a', expected each place once")

    def test_reason_in_one_line(self) -> None:
        """A path cannot break the line, nor end in a traceback."""
        self.assertIn("bytes long", str(self.refused(fpm=("unix:/\n" + "a" * 110,))))
        self.assertIn("the path of a socket", str(self.refused(fpm=("unix:/\ud800",))))


class RootTests(FastCGIConfigCase):
    """What is served."""

    def test_absolute(self) -> None:
        """Directories become absolute, as twistd may change its own."""
        relative = os.path.relpath(self.root)
        config = self.config(root=relative, sendfile=relative, symlinks_to=(relative,))
        paths = (config.root, config.sendfile, *config.symlinks_to)
        self.assertEqual(paths, (str(self.root),) * 3)

    def test_parents_behind_a_link(self) -> None:
        """ ".." behind a symbolic link leads where the system says, not where it looks."""
        link = self.root / "link"
        link.symlink_to(self.root / "app")
        (self.root / "other").mkdir()
        config = self.config(root=f"{link}/../other")
        assert config.root is not None
        self.assertTrue(os.path.samefile(config.root, self.root / "other"))
        self.assert_refused("root", f"{self.root}/none/../app", "an existing directory")

    def test_directories_are_there(self) -> None:
        """What is not there, or no directory, is refused."""
        for value in ("", "/nonexistent", str(self.root / "index.php"), "a\0b", "/\ud800", 5):
            for field in ("root", "sendfile"):
                self.assert_refused(field, value, "an existing directory")
            error = self.refused(symlinks_to=(str(self.root), value))
            self.assertEqual(
                str(error), f"--symlinks-to: got {value!r}, expected an existing directory"
            )
        self.assert_refused("symlinks_to", str(self.root), "a list of directories")

    def test_fpm_root(self) -> None:
        """The root as php-fpm sees it need not exist here, but has to be absolute."""
        self.assertEqual(self.config(fpm_root="/srv/app/./x/").fpm_root, "/srv/app/x")
        for value in ("", "srv", "./srv", "/a\0b", "/\ud800", 5):
            self.assert_refused("fpm_root", value, "an absolute path")

    def test_index(self) -> None:
        """Index files are names; there may be none."""
        for index in ((), ("index.php", "index.html")):
            self.assertEqual(self.config(index=list(index)).index, index)
        self.assert_refused("index", "index.php", "a list of names")
        for value in ("", ".x.php", "a/b.php", "../x.php", "/index.php", "a%41", "\ud800"):
            error = self.refused(index=("index.php", value))
            self.assertEqual(
                str(error),
                f"--index: got {value!r}, expected the name of a file that is not hidden, as "
                "index.php",
            )

    def test_split(self) -> None:
        """The suffix has its dot."""
        self.assertEqual(self.config(split=".php8").split, ".php8")
        for value in ("", "php", ".", ".php/", "*.php", ".p\u0127p"):
            self.assert_refused("split", value, "a suffix such as .php")
        self.assert_refused("split", 5, "text")

    def test_front_controller(self) -> None:
        """A front controller is a script that is there, by its path below the root."""
        for value in ("index.php", "/index.php", "app/front controller.php"):
            self.assertEqual(self.config(front_controller=value).front_controller, value)
        for value in ("", "/", "index.html", "../index.php", ".x.php", "app", "\ud800"):
            expected = "a script below the root, its name ending in .php"
            self.assert_refused("front_controller", value, expected)
        self.assert_refused("front_controller", 5, "a script below the root")

    def test_front_controller_of_another_suffix(self) -> None:
        """The suffix is that of --split."""
        (self.root / "index.php8").touch()
        self.assertEqual(
            self.config(front_controller="index.php8", split=".php8").front_controller,
            "index.php8",
        )
        error = self.refused(front_controller="index.php", split=".php8")
        self.assertIn("its name ending in .php8", str(error))

    def test_front_controller_that_is_not_there(self) -> None:
        """A mistyped front controller is told at the start, not with each request."""
        expected = "a script that is there, below --root"
        self.assertEqual(
            str(self.refused(front_controller="none.php")),
            f"--front-controller: got 'none.php', expected {expected}",
        )
        (self.root / "dir.php").mkdir()
        self.assert_refused("front_controller", "dir.php", expected)
        (self.root / "dir.php" / "index.php").touch()
        self.assert_refused("front_controller", "dir.php", f"{expected} (it is a directory)")
        (self.root / "link.php").symlink_to(self.file(b""))
        self.assert_refused("front_controller", "link.php", f"{expected} (a link leads outside")


class VariableTests(FastCGIConfigCase):
    """--param."""

    def test_taken(self) -> None:
        """A name of letters, digits and underscores, and any value."""
        values = ("A=", "_b1=x=y", "PHP_VALUE=a=1\nb=2", "Umlaut=\N{LATIN SMALL LETTER U}\udcff")
        self.assertEqual(self.config(param=list(values)).param, values)

    def test_never_set(self) -> None:
        """What would break every request, or have another file run, cannot be set."""
        for name in ("CONTENT_LENGTH", "PATH_TRANSLATED"):
            error = self.refused(param=[f"{name}=/x"])
            self.assertIn("none of CONTENT_LENGTH, PATH_TRANSLATED", str(error))

    def test_unusable(self) -> None:
        """What is none is refused; a value is not shown, as it may be a password."""
        expected = "expected NAME=VALUE, the name of letters, digits and _"
        self.assert_refused("param", "A=b", "a list of variables")
        for value in ("", "A", "A b", 5, None):
            shown = "nothing" if value is None else repr(value)
            self.assertEqual(str(self.refused(param=(value,))), f"--param: got {shown}, {expected}")
        for value in ("=secret", "1A=secret", "A B=secret", "A-B=secret", "A=secret\0", "A=\ud800"):
            error = self.refused(param=(value,))
            self.assertEqual(str(error), f"--param: got a value that is not shown here, {expected}")

    def test_no_secret_is_shown(self) -> None:
        """A picture of a configuration shows no values."""
        self.assertNotIn("pa55", repr(self.config(param=("DB_PASSWORD=pa55",))))

    def test_too_many(self) -> None:
        """All together fit into one record, beside what else is in it."""
        large = "A=" + "x" * 16000
        self.assertEqual(len(self.config(param=(large, large)).param), 2)
        for values in ((large,) * 3, ("A=" + "\N{EURO SIGN}" * 11000,)):
            error = self.refused(param=values)
            self.assertIn("--param: got a value that is not shown here", str(error))
            self.assertIn("expected at most 32768 bytes in all", str(error))


class TrustedProxyTests(FastCGIConfigCase):
    """--trusted-proxy."""

    def test_taken(self) -> None:
        """Addresses, networks and all UNIX sockets."""
        values = ("10.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "unix")
        self.assertEqual(self.config(trusted_proxy=list(values)).trusted_proxy, values)

    def test_unusable(self) -> None:
        """Anything else, a network that is none included."""
        self.assert_refused("trusted_proxy", "unix", "a list of addresses")
        for value in ("", "*", "a.test", "10.0.0.1/8", "10.0.0.0/33", "::1%lo", "10.0.0.1:80", 5):
            error = self.refused(trusted_proxy=(value,))
            self.assertTrue(
                str(error).startswith(f"--trusted-proxy: got {value!r}, expected "), error
            )


class ListenTests(FastCGIConfigCase):
    """Where clients come in."""

    def test_endpoints(self) -> None:
        """Any number of server endpoints; other machines are welcome."""
        values = ("tcp:80", "tcp6:80:interface=\\:\\:1", "unix:/a.sock", "tcp:0", "tcp:0")
        self.assertEqual(self.config(listen=list(values)).listen, values)

    def test_none(self) -> None:
        """Somewhere they must."""
        self.assertEqual(
            str(self.refused(listen=())),
            "--listen: got nothing, expected an endpoint such as tcp:8080:interface=127.0.0.1",
        )

    def test_unusable(self) -> None:
        """What is no endpoint is refused and shown in one line."""
        self.assert_refused("listen", "tcp:80", "a list of endpoints")
        for value in ("80", "ssl:443", "tcp:x", "unix:a", "unix:/\ud800", "tcp:1:a\nb=c", 5):
            error = self.refused(listen=(value,))
            self.assertTrue(str(error).startswith(f"--listen: got {value!r}, expected "), error)

    def test_one_place_twice(self) -> None:
        """No two listeners can be at one place."""
        for values in (
            ("unix:/u", "unix:/x/../u"),
            ("tcp:80", "tcp:port=80"),
            ("tcp6:1:interface=\\:\\:1", "tcp:1:interface=\\:\\:1"),
        ):
            error = self.refused(listen=values)
            self.assertEqual(
                str(error),
                f"--listen: got {values[1]!r}, expected a place where nothing else listens",
            )

    def test_modes(self) -> None:
        """Mode and group of sockets obey the rules of the forward service."""
        group = grp.getgrgid(os.getegid()).gr_name
        config = self.config(socket_mode=0o600, socket_group=group)
        self.assertEqual((config.socket_mode, config.socket_group), (0o600, group))
        self.assertIn("'1000'", str(self.refused(socket_mode=0o1000)))
        self.assert_refused("socket_mode", "rw", "octal permissions from 000 to 777")
        self.assert_refused("socket_group", "no such group", "the name of an existing group")

    def test_certificate(self) -> None:
        """A certificate and its key go together."""
        certificate, private = certificate_and_key()
        cert, key = self.file(certificate), self.file(pem(private))
        config = self.config(cert=os.path.relpath(cert), key=key)
        self.assertEqual((config.cert, config.key), (cert, key))
        self.assertIn("--key: got nothing", str(self.refused(cert=cert)))
        self.assertIn("--cert: got nothing", str(self.refused(key=key)))
        self.assertIn("--key: got", str(self.refused(cert=cert, key=cert)))
        other = self.file(pem(certificate_and_key()[1]))
        self.assertIn(f"--key: got {other!r}", str(self.refused(cert=cert, key=other)))
        for value in ("/nonexistent", "", "/\ud800", str(self.root)):
            self.assert_refused("cert", value, "a readable PEM file")


class NumberTests(FastCGIConfigCase):
    """Times, counts, sizes and truth values."""

    def test_timeouts_are_positive_and_finite(self) -> None:
        """Every timeout takes a number of seconds above 0, and becomes a float."""
        for field in TIMEOUTS:
            self.assertEqual(getattr(self.config(**{field: 3}), field), 3.0)
            for value in (0, -1, float("inf"), float("nan"), "10", True, 10**400):
                self.assert_refused(field, value, "a number of seconds greater than 0")

    def test_drain_may_be_zero(self) -> None:
        """drain_timeout 0 means not to wait."""
        self.assertEqual(self.config(drain_timeout=0).drain_timeout, 0.0)
        self.assert_refused("drain_timeout", -0.1, "a number of seconds, 0 or more")

    def test_counts(self) -> None:
        """Counts are whole numbers from 0."""
        for field in ("prewarm", "max_queue", "max_requests", "fail_fast_after"):
            self.assertEqual(getattr(self.config(**{field: 0}), field), 0)
            for value in (-1, 1.5, "7", True, None):
                error = self.refused(**{field: value})
                self.assertIn("expected a whole number, 0 or more", str(error))
                self.assertTrue(str(error).startswith(f"{option_name(field)}: got "))

    def test_at_least_one_connection(self) -> None:
        """With no connection at all nothing could be served."""
        for value in (0, -1, True, 1.5, "3"):
            self.assert_refused("connections", value, "a whole number, 1 or more")

    def test_sizes(self) -> None:
        """Sizes are bytes, from 0 to a PiB."""
        for field in ("max_body", "spool_memory"):
            for value in (0, 1, 1 << 50):
                self.assertEqual(getattr(self.config(**{field: value}), field), value)
            for wrong in (-1, 1.5, "64k", True, (1 << 50) + 1):
                self.assert_refused(field, wrong, "a number of bytes, as 65536, 64k, 100M or 1G")

    def test_truth_values(self) -> None:
        """A text such as "no" must not count as true."""
        for field in ("static", "keep", "verbose"):
            for value in ("no", 0, 1):
                self.assert_refused(field, value, "true or false")

    def test_prewarm(self) -> None:
        """No more connections are opened ahead than may be open, and none that are not kept."""
        self.assertEqual(self.config(prewarm=3).prewarm, 3)
        self.assertEqual(
            str(self.refused(prewarm=4)),
            "--prewarm: got 4, expected at most 3, which is --connections",
        )
        self.assertEqual(
            str(self.refused(prewarm=1, keep=False)),
            "--prewarm: got 1, expected no --no-keep beside it",
        )

    def test_pool_limits(self) -> None:
        """The pool gets the limits that were configured; the line is one for all php-fpm."""
        config = self.config(
            fpm=("unix:/a", "unix:/b"),
            connections=5,
            max_queue=6,
            queue_timeout=7,
            idle_timeout=8,
            max_age=9,
            fail_fast_after=10,
        )
        expected = PoolLimits(
            max_connections=10,
            max_connections_per_origin=5,
            max_idle_per_origin=5,
            max_queue=6,
            queue_timeout=7.0,
            idle_timeout=8.0,
            max_age=9.0,
            fail_fast_after=10,
        )
        self.assertEqual(config.pool_limits, expected)
        self.assertEqual(self.config(keep=False).pool_limits.max_idle_per_origin, 0)


#: Values of every type that could be given by mistake.
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**5000)
    | st.floats()
    | st.binary(max_size=8)
    | st.text(st.characters(), max_size=12)
    | st.builds("{}{}".format, st.sampled_from(("unix:/", "tcp:", "A=", "/")), st.text(max_size=9))
    | st.just("unix:/\ud800\n" + "x" * 120)
)
ANYTHING: st.SearchStrategy[Any] = (
    SCALARS | st.lists(SCALARS, max_size=3) | st.lists(SCALARS, max_size=3).map(tuple)
)
ANYTHING |= st.dictionaries(st.text(max_size=3), SCALARS, max_size=2) | st.just({1, 2})


class FuzzTests(FastCGIConfigCase):
    """Values of whatever type."""

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_nothing_but_config_error(self, data: st.DataObject) -> None:
        """Whatever is given is refused in one line, or is such that there can be a service."""
        field = data.draw(st.sampled_from(list(CHECKS)))
        try:
            FastCGIService(self.config(**{field: data.draw(ANYTHING)}), MemoryReactorClock())
        except ConfigError as error:
            self.assertTrue(str(error).startswith(f"{option_name(error.field)}: got "), error)
            self.assertNotIn("\n", str(error))

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_forward(self, data: st.DataObject) -> None:
        """So it is for the forward service."""
        field = data.draw(st.sampled_from([each.name for each in dataclasses.fields(Config)]))
        try:
            Config(**{field: data.draw(ANYTHING)})
        except ConfigError as error:
            self.assertTrue(str(error).startswith(f"{option_name(error.field)}: got "), error)
            self.assertNotIn("\n", str(error))
