"""Which values a `Config` takes, what it makes of them, and how it refuses the others."""

from __future__ import annotations

import dataclasses
import datetime
import grp
import os
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.checks import option_name
from fastcar_tw.config import Config, ConfigError, default_ca_dir
from fastcar_tw.pool.core import PoolLimits

TIMEOUTS = (
    "connect_timeout",
    "response_timeout",
    "stall_timeout",
    "client_timeout",
    "keepalive_timeout",
    "idle_timeout",
)


def certificate_and_key() -> tuple[bytes, ec.EllipticCurvePrivateKey]:
    """Return a self-signed certificate as PEM, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key


def pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return a private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption(),
    )


class ConfigCase(SynchronousTestCase):
    """Helpers to make files and to look at refusals."""

    def file(self, content: bytes) -> str:
        """Return the path of a new file."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return str(path)

    def refused(self, **values: Any) -> ConfigError:
        """Return the error of `Config(**values)`, whose message is one line."""
        error: ConfigError = self.assertRaises(ConfigError, Config, **values)
        self.assertNotIn("\n", str(error))
        return error

    def assert_refused(self, field: str, value: object, expected: str) -> None:
        """See that the message names the option, the value and what was expected."""
        error = self.refused(**{field: value})
        self.assertEqual((error.field, error.value), (field, value))
        self.assertTrue(
            str(error).startswith(f"{option_name(field)}: got {value!r}, expected "), str(error)
        )
        self.assertIn(expected, str(error))


class DefaultsTests(ConfigCase):
    """The configuration nobody touched."""

    def test_defaults_are_those_of_the_manual(self) -> None:
        """Without any argument a Config holds the documented defaults."""
        self.assertEqual(
            dataclasses.asdict(Config()),
            {
                "unix": "/tmp/fastcar.sock",
                "listen": (),
                "allow_remote": False,
                "https_unix": None,
                "tunnel": (),
                "cert": None,
                "key": None,
                "ca_dir": None,
                "trust": (),
                "insecure_origins": (),
                "socket_mode": 0o660,
                "socket_group": None,
                "connect_timeout": 10.0,
                "response_timeout": 60.0,
                "stall_timeout": 60.0,
                "client_timeout": 15.0,
                "keepalive_timeout": 75.0,
                "idle_timeout": 120.0,
                "max_idle_per_origin": 100,
                "max_connections_per_origin": 128,
                "max_connections": 1024,
                "max_queue": 1024,
                "queue_timeout": 10.0,
                "max_age": 3600.0,
                "fail_fast_after": 5,
                "prewarm": (),
                "http2": "auto",
                "dns_ttl": 30.0,
                "resolve": (),
                "proxy": None,
                "no_proxy": None,
                "drain_timeout": 10.0,
                "via": None,
                "verbose": False,
            },
        )

    def test_frozen(self) -> None:
        """A Config does not change after it was checked."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            Config().verbose = True  # type: ignore[misc]

    def test_replace_checks_again(self) -> None:
        """A changed copy goes through the same checks."""
        self.assertEqual(dataclasses.replace(Config(), connect_timeout=3).connect_timeout, 3.0)
        with self.assertRaises(ConfigError):
            dataclasses.replace(Config(), connect_timeout=0)


class CaDirTests(ConfigCase):
    """Where the local CA lives."""

    def test_xdg_state_home(self) -> None:
        """A user's CA lies in the XDG state directory."""
        self.assertEqual(default_ca_dir({"XDG_STATE_HOME": "/s", "HOME": "/h"}, 1000), "/s/fastcar")

    def test_home(self) -> None:
        """Without XDG_STATE_HOME that is ~/.local/state."""
        self.assertEqual(default_ca_dir({"HOME": "/h"}, 1000), "/h/.local/state/fastcar")

    def test_relative_xdg_state_home_is_ignored(self) -> None:
        """XDG Base Directory: relative paths are invalid and ignored."""
        environ = {"XDG_STATE_HOME": "state", "HOME": "/h"}
        self.assertEqual(default_ca_dir(environ, 1000), "/h/.local/state/fastcar")

    def test_root(self) -> None:
        """Root's CA lies in /var/lib, whatever the environment says."""
        self.assertEqual(
            default_ca_dir({"XDG_STATE_HOME": "/s", "HOME": "/h"}, 0), "/var/lib/fastcar"
        )

    def test_no_home(self) -> None:
        """Without HOME the user database tells it."""
        uid = os.geteuid()
        self.assertTrue(os.path.isabs(default_ca_dir({}, uid)))

    def test_given_directory_wins(self) -> None:
        """ca_directory is ca_dir where that is set, made absolute."""
        self.assertEqual(Config(ca_dir="ca").ca_directory, os.path.abspath("ca"))

    def test_default_directory(self) -> None:
        """ca_directory is the running user's default where ca_dir is not set."""
        self.assertEqual(Config().ca_directory, default_ca_dir(os.environ, os.geteuid()))

    def test_a_file_is_no_directory(self) -> None:
        """ca_dir may be missing, it is made later; but it must not be a file."""
        self.assert_refused("ca_dir", self.file(b""), "a directory")


class SocketTests(ConfigCase):
    """Path, mode and group of the socket."""

    def test_path_becomes_absolute(self) -> None:
        """A relative path is kept as an absolute one: twistd changes directory afterwards."""
        self.assertEqual(Config(unix="a.sock").unix, os.path.abspath("a.sock"))

    def test_longest_path(self) -> None:
        """sun_path holds 107 bytes and a NUL."""
        path = "/" + "a" * 106
        self.assertEqual(Config(unix=path).unix, path)
        self.assert_refused("unix", path + "a", "at most 107 bytes")

    def test_length_counts_bytes(self) -> None:
        """The limit is in bytes, not characters."""
        self.assert_refused("unix", "/" + "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 54, "bytes")

    def test_unusable_paths(self) -> None:
        """An empty path, one with NUL and a non-text are no paths."""
        for path in ("", "/a\0b", None, 3):
            error = self.refused(unix=path)
            self.assertIn("--unix: got", str(error))

    def test_mode_limits(self) -> None:
        """Any permission bits will do, nothing beyond them."""
        self.assertEqual(Config(socket_mode=0).socket_mode, 0)
        self.assertEqual(Config(socket_mode=0o777).socket_mode, 0o777)
        for mode in ("rw", True, 6.6):
            self.assert_refused("socket_mode", mode, "octal")

    def test_mode_is_shown_in_octal(self) -> None:
        """A refused mode is shown as it would be typed."""
        self.assertIn("'1000'", str(self.refused(socket_mode=0o1000)))

    def test_group_exists(self) -> None:
        """The group is one the system knows."""
        group = grp.getgrgid(os.getegid()).gr_name
        self.assertEqual(Config(socket_group=group).socket_group, group)
        for name in ("no such group", "", "a\0b", 5):
            self.assert_refused("socket_group", name, "existing group")


class ListenTests(ConfigCase):
    """Further places to listen."""

    LOCAL = "tcp:3128:interface=127.0.0.1"

    def test_https_socket(self) -> None:
        """Its path obeys the rules of the other socket's, and is another one."""
        self.assertEqual(Config(https_unix="a.sock").https_unix, os.path.abspath("a.sock"))
        self.assert_refused("https_unix", "/" + "a" * 107, "at most 107 bytes")
        self.assert_refused("https_unix", "", "a path")
        error = self.refused(unix="/s", https_unix="/../s")
        self.assertEqual(error.field, "https_unix")
        self.assertIn("another path than --unix has", str(error))

    def test_endpoints(self) -> None:
        """Endpoints stay as they were given."""
        given = (self.LOCAL, "tcp:0:interface=\\:\\:1", "unix:/a.sock")
        self.assertEqual(Config(listen=given).listen, given)
        self.assertEqual(Config(listen=list(given)).listen, given)  # type: ignore[arg-type]

    def test_unusable_endpoints(self) -> None:
        """What is none is refused and shown."""
        self.assert_refused("listen", self.LOCAL, "a list of endpoints")
        for value in ("3128", "ssl:443", "tcp:x", "tcp:80:interface=a.test", "unix:a", 5):
            error = self.refused(listen=(value,))
            self.assertTrue(str(error).startswith(f"--listen: got {value!r}, expected "), error)

    def test_remote(self) -> None:
        """What is open to other machines has to be asked for twice."""
        for value in (
            "tcp:3128",
            "tcp6:3128",
            "tcp:3128:interface=",
            "tcp:3128:interface=0.0.0.0",
            "tcp:3128:interface=10.0.0.1",
            "tcp:3128:interface=\\:\\:",
        ):
            error = self.refused(listen=(self.LOCAL, value))
            self.assertEqual(
                str(error),
                f"--listen: got {value!r}, expected interface=127.0.0.1, or --allow-remote "
                "(other machines could use everything this one can reach)",
            )
            self.assertEqual(Config(listen=(value,), allow_remote=True).listen, (value,))
        self.assert_refused("allow_remote", "yes", "true or false")

    def test_one_place_twice(self) -> None:
        """No two listeners can be at one place; any free port may be asked for more than once."""
        paths: dict[str, Any] = {"unix": "/s", "https_unix": "/t"}
        for values in (
            ("unix:/s",),
            ("unix:/t",),
            ("unix:/x/../t",),
            ("unix:/u", "unix:/u"),
            (self.LOCAL, self.LOCAL),
            (self.LOCAL, "tcp:port=3128:interface=127.0.0.1"),
            ("tcp6:1:interface=\\:\\:1", "tcp:1:interface=\\:\\:1"),
        ):
            error = self.refused(listen=values, **paths)
            self.assertEqual((error.field, error.value), ("listen", values[-1]))
            self.assertIn("a place where nothing else listens", str(error))
        different: tuple[tuple[str, ...], ...] = (
            ("tcp:0:interface=127.0.0.1",) * 2,
            (self.LOCAL, "tcp:3128:interface=127.0.0.2", "tcp:3129:interface=127.0.0.1"),
            ("unix:/u", "unix:/v"),
        )
        for allowed in different:
            self.assertEqual(Config(listen=allowed, **paths).listen, allowed)

    def test_tunnel(self) -> None:
        """Allowed tunnels are ports, with a host or without."""
        given = ("22", "a.test:5432", "[::1]:25")
        self.assertEqual(Config(tunnel=given).tunnel, given)
        self.assert_refused("tunnel", "22", "a list of ports")
        for value in ("", "0", "ssh", "a.test", "*:22", 22):
            error = self.refused(tunnel=(value,))
            self.assertTrue(str(error).startswith(f"--tunnel: got {value!r}, expected "), error)


class NumberTests(ConfigCase):
    """Times and counts."""

    def test_timeouts_are_positive_and_finite(self) -> None:
        """Every timeout takes a number of seconds above 0, and becomes a float."""
        for field in TIMEOUTS:
            self.assertEqual(getattr(Config(**{field: 3}), field), 3.0)  # type: ignore[arg-type]
            for value in (0, -1, float("inf"), float("nan"), "10", True, 10**400):
                self.assert_refused(field, value, "greater than 0")

    def test_drain_may_be_zero(self) -> None:
        """drain_timeout 0 means not to wait."""
        self.assertEqual(Config(drain_timeout=0).drain_timeout, 0.0)
        for value in (-0.1, float("inf"), "x", False):
            self.assert_refused("drain_timeout", value, "0 or more")

    def test_max_idle_is_a_count(self) -> None:
        """max_idle_per_origin is a whole number from 0."""
        self.assertEqual(Config(max_idle_per_origin=0).max_idle_per_origin, 0)
        for value in (-1, 1.5, "7", True):
            self.assert_refused("max_idle_per_origin", value, "whole number")

    def test_verbose_is_a_truth_value(self) -> None:
        """A text such as "no" must not count as true."""
        self.assert_refused("verbose", "no", "true or false")


class CertificateTests(ConfigCase):
    """--cert and --key."""

    def setUp(self) -> None:
        """Make a matching pair."""
        self.certificate, self.private = certificate_and_key()
        self.cert = self.file(self.certificate)
        self.key = self.file(pem(self.private))

    def test_matching_pair(self) -> None:
        """A certificate with its key is accepted, under absolute paths."""
        config = Config(cert=os.path.relpath(self.cert), key=os.path.relpath(self.key))
        self.assertEqual((config.cert, config.key), (self.cert, self.key))

    def test_one_file_for_both(self) -> None:
        """Certificate and key may share a file."""
        both = self.file(self.certificate + pem(self.private))
        self.assertEqual(Config(cert=both, key=both).key, both)

    def test_only_together(self) -> None:
        """One without the other names the missing one."""
        self.assertIn("--key: got nothing", str(self.refused(cert=self.cert)))
        self.assertIn("--cert: got nothing", str(self.refused(key=self.key)))

    def test_missing_file(self) -> None:
        """A file that cannot be read is named with the system's reason."""
        error = self.refused(cert="/nonexistent/c.pem", key=self.key)
        self.assertIn("--cert: got '/nonexistent/c.pem'", str(error))
        self.assertIn("No such file or directory", str(error))

    def test_directory_is_no_file(self) -> None:
        """A directory is refused like an unreadable file."""
        self.assert_refused("cert", "/", "a readable PEM file")

    def test_no_certificate(self) -> None:
        """A file without a PEM certificate is refused under --cert."""
        error = self.refused(cert=self.key, key=self.key)
        self.assertIn(f"--cert: got {self.key!r}, expected a PEM certificate chain", str(error))

    def test_no_key(self) -> None:
        """A file without a private key is refused under --key."""
        error = self.refused(cert=self.cert, key=self.cert)
        self.assertIn(f"--key: got {self.cert!r}, expected the unencrypted PEM", str(error))

    def test_mismatch(self) -> None:
        """A key of another certificate is refused, both files named."""
        other = self.file(pem(certificate_and_key()[1]))
        error = self.refused(cert=self.cert, key=other)
        self.assertIn(f"--key: got {other!r}", str(error))
        self.assertIn(self.cert, str(error))
        self.assertIn("mismatch", error.reason)

    def test_encrypted_key(self) -> None:
        """An encrypted key is refused; nobody is asked for its pass phrase."""
        locked = self.file(pem(self.private, b"secret"))
        self.assertIn("unencrypted", str(self.refused(cert=self.cert, key=locked)))


class TrustTests(ConfigCase):
    """--trust and --insecure-origin."""

    def test_ca_files(self) -> None:
        """Each file holds at least one certificate; paths become absolute."""
        one = certificate_and_key()[0]
        first, second = self.file(one), self.file(b"# comment\n" + one + one)
        config = Config(trust=(os.path.relpath(first), second))
        self.assertEqual(config.trust, (first, second))

    def test_unusable_ca_files(self) -> None:
        """A missing file, an empty one and a broken certificate are refused by name."""
        broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        for path in ("/nonexistent.pem", self.file(b""), self.file(broken)):
            error = self.refused(trust=(path,))
            self.assertIn(f"--trust: got {path!r}, expected a readable file", str(error))

    def test_lone_text_is_no_list(self) -> None:
        """A text in place of a tuple is not taken apart into characters."""
        self.assert_refused("trust", "ca.pem", "a list of PEM files")
        self.assert_refused("insecure_origins", "host", "a list of origins")

    def test_origins(self) -> None:
        """Origins are kept in one spelling."""
        given = ("Host", "a_b.example:8443", "10.0.0.1:0443", "[::1]", "[2001:DB8:0::1]:443")
        kept = ("host", "a_b.example:8443", "10.0.0.1:443", "[::1]", "[2001:db8::1]:443")
        self.assertEqual(Config(insecure_origins=given).insecure_origins, kept)

    def test_unusable_origins(self) -> None:
        """What is no HOST[:PORT] is refused and shown."""
        for origin in (
            "",
            ":443",
            "host:",
            "host:0",
            "host:65536",
            "host:123456",
            "host:https",
            "https://host",
            "host/path",
            "user@host",
            "::1",
            "[::1",
            "[1.2.3.4]",
            "[]",
            "*",
            "a b",
            "host\n",
            "a..b",
            "-a.example",
            "1.2.3",
            "[fe80::1%eth0]",
            "\N{KELVIN SIGN}.example",
            "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example",
            443,
        ):
            error = self.refused(insecure_origins=(origin,))
            self.assertIn(f"--insecure-origin: got {origin!r}, expected HOST", str(error))


class ViaTests(ConfigCase):
    """RFC 9110 section 7.6.3: the pseudonym is a token."""

    def test_token(self) -> None:
        """Any token will do."""
        self.assertEqual(Config(via="fast-car.1!").via, "fast-car.1!")

    def test_no_token(self) -> None:
        """Anything that could end the field or start a comment is refused."""
        for name in ("", "a b", "a,b", "a\r\nX: y", "a/b", "(c)", "\N{EURO SIGN}"):
            self.assert_refused("via", name, "a token")


class HTTP2Tests(ConfigCase):
    """Whether HTTP/2 is spoken to origins."""

    def test_modes(self) -> None:
        """There are three."""
        for mode in ("auto", "off", "always"):
            self.assertEqual(Config(http2=mode).http2, mode)

    def test_anything_else(self) -> None:
        """Anything else is refused, truth values included: they would leave out one."""
        values: tuple[object, ...] = ("", "on", "AUTO", "h2", True, False, 2, b"auto", ["auto"])
        for value in values:
            self.assert_refused("http2", value, "auto, off or always")


class PoolTests(ConfigCase):
    """The limits of the pool."""

    def test_at_least_one(self) -> None:
        """With no connection at all nothing could be served."""
        for field in ("max_connections", "max_connections_per_origin"):
            for value in (0, -1, True, 1.5):
                self.assert_refused(field, value, "1 or more")

    def test_passed_on(self) -> None:
        """The pool gets the limits that were configured."""
        names = [field.name for field in dataclasses.fields(PoolLimits)]
        values = {name: number for number, name in enumerate(names, 1)}
        self.assertEqual(dataclasses.asdict(Config(**values).pool_limits), values)  # type: ignore[arg-type]

    def test_prewarm(self) -> None:
        """An origin to keep warm is a URL without a path, with a count or without."""
        values = ("http://a.test", "https://[::1]:8443/=100", "HTTPS://b.test=2")
        self.assertEqual(Config(prewarm=values).prewarm, values)
        for value in ("a.test", "ftp://a.test", "http://a.test/x", "http://a.test=0"):
            error = self.refused(prewarm=(value,))
            self.assertIn(f"--prewarm: got {value!r}, expected http://HOST[:PORT]", str(error))
        self.assert_refused("prewarm", "http://a.test", "a list of URLs")
        self.assertNotIn("secret", str(self.refused(prewarm=("http://me:secret@a.test",))))

    def test_more_prewarmed_than_allowed(self) -> None:
        """What is to be kept open must be allowed to be open."""
        self.refused(prewarm=("http://a.test=101",))
        error = self.refused(prewarm=("http://a.test=3",), max_connections_per_origin=2)
        self.assertIn("at most 2 in all, which is --max-connections-per-origin", str(error))
        error = self.refused(prewarm=("http://a.test=3", "http://b.test=3"), max_connections=5)
        self.assertIn("--prewarm: got 'http://b.test=3', expected at most 5", str(error))

    def test_resolve(self) -> None:
        """An override is what curl takes."""
        values = ("a.test:443:192.0.2.1,[2001:db8::1]", "*:80:127.0.0.1")
        self.assertEqual(Config(resolve=values).resolve, values)
        error = self.refused(resolve=("a.test:192.0.2.1",))
        self.assertIn("--resolve: got 'a.test:192.0.2.1', expected HOST:PORT:ADDRESS", str(error))


class ProxyTests(ConfigCase):
    """The proxy to reach origins through."""

    def test_none(self) -> None:
        """Nothing and the empty text are different: the environment counts, or it does not."""
        self.assertIsNone(Config().proxy)
        self.assertEqual(Config(proxy="").proxy, "")

    def test_no_proxy(self) -> None:
        """A list of hosts that could never match one is refused."""
        for value in ("", "*", "a.test,.b.test 192.0.2.1", "10.0.0.0/8,::1,2001:db8::/32"):
            self.assertEqual(Config(no_proxy=value).no_proxy, value)
        for wrong in ("10.0.0.0/33", "10.0.0.0/x", "a.test:80", "*.a.test", "a.test,*", "http://a"):
            error = self.refused(no_proxy=f"b.test,{wrong}")
            self.assertIn("expected names, addresses and networks", str(error))
            self.assertIn("matches nothing", str(error))

    def test_secret(self) -> None:
        """No error and no picture of a configuration shows a password."""
        url = "socks5://me:secret@p.test"
        self.assertNotIn("secret", repr(Config(proxy=url)))
        for wrong in (
            "socks4://me:secret@p.test",
            "http://me:secret@p.test/x",
            "http://me:secret@",
        ):
            error = self.refused(proxy=wrong)
            self.assertTrue(str(error).startswith("--proxy: got a value that is not shown here"))
            self.assertNotIn("secret", f"{error} {error!r} {error.value!r}")
