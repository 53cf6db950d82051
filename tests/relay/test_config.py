"""Which values a `RelayConfig` takes, what it makes of them, and how it refuses the others."""

from __future__ import annotations

import dataclasses
import grp
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock

from fastcar_tw.checks import option_name
from fastcar_tw.config import ConfigError
from fastcar_tw.downstream.clients import ClientConfig
from fastcar_tw.pool.core import PoolLimits
from fastcar_tw.relay.checks import CHECKS
from fastcar_tw.relay.config import RelayConfig
from fastcar_tw.relay.framing import Framing, FramingError
from fastcar_tw.relay.service import RelayService
from fastcar_tw.upstream.backends import Backend
from tests.test_config import ConfigCase, certificate_and_key, pem

LISTEN = ("tcp:6379:interface=127.0.0.1",)
BACKEND = ("tcp:redis.test:6379",)
TLS = ("tls:redis.test:6380",)
KINDS = "unix:/PATH, tcp:HOST:PORT or tls:HOST:PORT"

TIMEOUTS = (
    "pool_idle_timeout",
    "pool_max_age",
    "queue_timeout",
    "connect_timeout",
    "response_timeout",
    "client_timeout",
    "idle_timeout",
)


class Picky(Framing):
    """A framing of a user's own, which wants no argument."""

    def __init__(self, argument: str, max_frame: int) -> None:
        """Remember the largest frame."""
        if argument:
            raise FramingError("no argument", f"not {argument}")
        self.max_frame = max_frame


PICKY = f"{__name__}.Picky"


class RelayConfigCase(ConfigCase):
    """Makes configurations."""

    def config(self, **values: Any) -> RelayConfig:
        """A configuration with what it needs."""
        return RelayConfig(**{"listen": LISTEN, "backend": BACKEND, **values})

    def pooled(self, **values: Any) -> RelayConfig:
        """A configuration with a pool."""
        return self.config(**{"framing": PICKY, "pool": 4, **values})

    def refused(self, **values: Any) -> ConfigError:
        """See L{ConfigCase.refused}."""
        error: ConfigError = self.assertRaises(ConfigError, self.config, **values)
        self.assertNotIn("\n", str(error))
        return error

    def assert_message(self, message: str, **values: Any) -> None:
        """See that values are refused with this message."""
        self.assertEqual(str(self.refused(**values)), message)


class DefaultsTests(RelayConfigCase):
    """The configuration nobody touched."""

    def test_defaults_are_those_of_the_manual(self) -> None:
        """With what it needs alone it holds the documented defaults."""
        self.assertEqual(
            dataclasses.asdict(self.config()),
            {
                "listen": LISTEN,
                "backend": BACKEND,
                "trust": (),
                "insecure_origins": (),
                "cert": None,
                "key": None,
                "socket_mode": 0o660,
                "socket_group": None,
                "proxy_protocol": None,
                "accept_proxy_protocol": False,
                "framing": None,
                "pool": None,
                "pool_min": 0,
                "pool_idle_timeout": 60.0,
                "pool_max_age": 3600.0,
                "max_frame": 2 << 20,
                "max_clients": 10000,
                "max_queue": 1024,
                "queue_timeout": 10.0,
                "connect_timeout": 5.0,
                "response_timeout": 60.0,
                "client_timeout": 15.0,
                "idle_timeout": 3600.0,
                "fail_fast_after": 5,
                "drain_timeout": 10.0,
                "verbose": False,
            },
        )

    def test_every_field_has_a_check(self) -> None:
        """No field enters a configuration unchecked."""
        fields = [field.name for field in dataclasses.fields(RelayConfig)]
        self.assertEqual(list(CHECKS), fields)

    def test_frozen(self) -> None:
        """A configuration that was checked stays what it is."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            self.config().pool = 5  # type: ignore[misc]  # that is the test

    def test_needed(self) -> None:
        """There is something to listen on and something to relay to."""
        self.assert_message(
            "--listen: got nothing, expected an endpoint such as tcp:8080:interface=127.0.0.1",
            listen=(),
        )
        self.assert_message(f"--backend: got nothing, expected {KINDS}", backend=())

    def test_clients(self) -> None:
        """What the parts that all services share ask about clients is answered."""
        config: ClientConfig = self.config(idle_timeout=7)
        self.assertEqual((config.keepalive_timeout, config.stall_timeout), (7.0, 7.0))


class ListenTests(RelayConfigCase):
    """Where clients come in."""

    def test_endpoints(self) -> None:
        """Any number of server endpoints; other machines are welcome."""
        values = ("tcp:80", "tcp6:80:interface=\\:\\:1", "unix:/a.sock", "tcp:0", "tcp:0")
        self.assertEqual(self.config(listen=list(values)).listen, values)

    def test_unusable(self) -> None:
        """What is no endpoint is refused and shown in one line."""
        self.assert_refused("listen", "tcp:80", "a list of endpoints")
        for value in ("80", "ssl:443", "tcp:x", "unix:a", "unix:/\ud800", "tcp:1:a\nb=c", 5):
            error = self.refused(listen=(value,))
            self.assertTrue(str(error).startswith(f"--listen: got {value!r}, expected "), error)

    def test_one_place_twice(self) -> None:
        """No two listeners can be at one place."""
        for values in (("unix:/u", "unix:/x/../u"), ("tcp:80", "tcp:port=80")):
            expected = "a place where nothing else listens"
            self.assert_message(f"--listen: got {values[1]!r}, expected {expected}", listen=values)

    def test_modes(self) -> None:
        """Mode and group of sockets obey the rules of the forward service."""
        group = grp.getgrgid(os.getegid()).gr_name
        config = self.config(socket_mode=0o600, socket_group=group)
        self.assertEqual((config.socket_mode, config.socket_group), (0o600, group))
        self.assert_refused("socket_mode", "rw", "octal permissions from 000 to 777")
        self.assert_refused("socket_group", "no such group", "the name of an existing group")

    def test_certificate(self) -> None:
        """A certificate and its key go together."""
        certificate, private = certificate_and_key()
        cert, key = self.file(certificate), self.file(pem(private))
        config = self.config(cert=os.path.relpath(cert), key=key)
        self.assertEqual((config.cert, config.key), (cert, key))
        together = "; the two go together"
        self.assert_message(
            f"--key: got nothing, expected the private key of --cert{together}", cert=cert
        )
        self.assert_message(
            f"--cert: got nothing, expected the certificate of --key{together}", key=key
        )
        self.assertIn(f"--key: got {cert!r}", str(self.refused(cert=cert, key=cert)))
        for value in ("/nonexistent", "", "/\ud800", os.path.dirname(cert)):
            self.assert_refused("cert", value, "a readable PEM file")


class BackendTests(RelayConfigCase):
    """What is relayed to."""

    def test_several(self) -> None:
        """Each is a backend, in the order given."""
        config = self.config(backend=["unix:/a.sock", "tcp:a.test:1", "tls:a.test:1"])
        self.assertEqual(config.backend, ("unix:/a.sock", "tcp:a.test:1", "tls:a.test:1"))
        self.assertEqual(
            config.backends,
            [Backend("/a.sock"), Backend("", "a.test", 1), Backend("", "a.test", 1, True)],
        )

    def test_unusable(self) -> None:
        """What is no place of a backend is refused and shown."""
        self.assert_refused("backend", BACKEND[0], "a list of endpoints")
        for value in ("9000", "tcp:9000", "ssl:a.test:1", "tls:/a.sock", "tls:a.test", ""):
            self.assert_message(
                f"--backend: got {value!r}, expected {KINDS}", backend=(*BACKEND, value)
            )
        for other in ("unix:a.sock", "tcp:a.test:0", 9000, None):
            shown = "nothing" if other is None else repr(other)
            error = self.refused(backend=(*BACKEND, other))
            self.assertTrue(str(error).startswith(f"--backend: got {shown}, expected "), error)

    def test_twice(self) -> None:
        """Each backend is named once, whatever its spelling."""
        for one, two in (("unix:/a", "unix:/x/../a"), ("tcp:a.test:1", "tcp:A.test:01")):
            self.assert_message(
                f"--backend: got {two!r}, expected each place once", backend=(one, "unix:/b", two)
            )

    def test_own_place(self) -> None:
        """What comes in cannot be sent to where it came in: it would come in again."""
        for listen, backend in (
            ("unix:/a", "unix:/x/../a"),
            ("tcp:80:interface=127.0.0.1", "tcp:127.0.0.1:80"),
            ("tcp:80:interface=127.0.0.1", "tls:127.0.0.1:80"),
            ("tcp:80:interface=127.0.0.1", "tcp:localhost:80"),
            ("tcp:80", "tcp:localhost:80"),
            ("tcp:80", "tcp:127.0.0.9:80"),
            ("tcp6:80:interface=\\:\\:1", "tcp:[0::1]:80"),
        ):
            self.assert_message(
                f"--backend: got {backend!r}, expected another place than --listen has",
                listen=("tcp:1", listen),
                backend=("tcp:a.test:80", backend),
            )

    def test_other_places(self) -> None:
        """Another address of this machine or another port is another place."""
        for listen, backend in (
            ("tcp:80:interface=127.0.0.1", "tcp:127.0.0.2:80"),
            ("tcp:80:interface=127.0.0.1", "tcp:[::1]:80"),
            ("tcp:80", "tcp:[::1]:80"),
            ("tcp:80", "tcp:localhost:81"),
            ("tcp:80", "tcp:10.0.0.1:80"),
            ("tcp:80", "tcp:a.test:80"),
            ("tcp:80", "unix:/a"),
            ("unix:/a", "tcp:a.test:80"),
        ):
            self.assertEqual(self.config(listen=(listen,), backend=(backend,)).backend, (backend,))


class TrustTests(RelayConfigCase):
    """Certificates of backends."""

    def test_taken(self) -> None:
        """Further CAs, and backends that are not verified, by host or by host and port."""
        path = self.file(certificate_and_key()[0])
        config = self.config(backend=TLS, trust=[os.path.relpath(path)])
        self.assertEqual(config.trust, (path,))
        for backend, origin, kept in (
            ("tls:redis.test:6380", "redis.test", "redis.test"),
            ("tls:redis.test.:6380", "REDIS.test:6380", "redis.test:6380"),
            ("tls:[0::1]:6380", "[::1]", "[::1]"),
        ):
            insecure = self.config(backend=[*BACKEND, backend], insecure_origins=[origin])
            self.assertEqual(insecure.insecure_origins, (kept,))

    def test_unusable(self) -> None:
        """The rules are those of the forward service."""
        error = self.refused(backend=TLS, trust=(self.file(b"nothing"),))
        self.assertIn("no valid certificate in it", str(error))
        error = self.refused(backend=TLS, insecure_origins=("::1",))
        self.assertIn("--insecure-origin: got '::1', expected HOST or HOST:PORT", str(error))
        self.assert_refused("trust", "/a.pem", "a list of PEM files")
        self.assert_refused("insecure_origins", "redis.test", "a list of origins")

    def test_without_effect(self) -> None:
        """A word about certificates is about a backend that has one."""
        path = self.file(certificate_and_key()[0])
        self.assert_message(
            f"--trust: got {path!r}, expected a tls: --backend beside it", trust=(path,)
        )
        for backend, origin in (
            (BACKEND, "redis.test"),
            (TLS, "other.test"),
            (TLS, "redis.test:6379"),
            ((*TLS, "tcp:other.test:1"), "other.test:1"),
        ):
            self.assert_message(
                f"--insecure-origin: got {origin!r}, expected the host of a tls: --backend",
                backend=backend,
                insecure_origins=(origin,),
            )

    def test_host_without_certificate(self) -> None:
        """A host that no certificate can be for is refused at the start; without TLS it will do."""
        for host in ("1.2.3", "a-.test"):
            self.assertEqual(len(self.config(backend=(f"tcp:{host}:1",)).backends), 1)
            self.assert_message(
                f"--backend: got 'tls:{host}:1', expected a host that a certificate can be for",
                backend=(f"tls:{host}:1",),
            )
        for backend in ("tls:redis_1:1", "tls:127.0.0.1:1", "tls:[::1]:1", "tls:a.test.:1"):
            self.assertEqual(self.config(backend=(backend,)).backend, (backend,))


class ProxyProtocolTests(RelayConfigCase):
    """--proxy-protocol and --accept-proxy-protocol."""

    def test_versions(self) -> None:
        """There are two versions of the header."""
        for value, version in (("v1", 1), ("v2", 2), (None, None)):
            self.assertEqual(self.config(proxy_protocol=value).proxy_version, version)
        for wrong in ("", "1", "v3", "V1", 1, True, b"v1"):
            self.assert_refused("proxy_protocol", wrong, "v1 or v2")

    def test_of_a_pool(self) -> None:
        """A connection that clients share cannot begin with the address of one."""
        self.assert_message(
            "--proxy-protocol: got 'v1', expected no --pool beside it "
            "(connections of a pool are of no one client)",
            proxy_protocol="v1",
            framing=PICKY,
            pool=4,
        )

    def test_with_tls(self) -> None:
        """Backends expect the header before TLS, and it is not sent there."""
        self.assert_message(
            "--proxy-protocol: got 'v2', expected no tls: --backend beside it "
            "(it would come inside of TLS)",
            proxy_protocol="v2",
            backend=BACKEND + TLS,
        )

    def test_accepted(self) -> None:
        """A header that clients send goes with everything."""
        self.assertTrue(self.config(accept_proxy_protocol=True).accept_proxy_protocol)
        self.assertTrue(self.pooled(accept_proxy_protocol=True).accept_proxy_protocol)
        self.assertTrue(self.config(backend=TLS, accept_proxy_protocol=True))
        both = self.config(proxy_protocol="v1", accept_proxy_protocol=True)
        self.assertEqual((both.proxy_version, both.accept_proxy_protocol), (1, True))


class PoolTests(RelayConfigCase):
    """--pool, --framing and what belongs to them."""

    def test_none(self) -> None:
        """Each client has a connection of its own unless something else is said."""
        config = self.config()
        self.assertFalse(config.pooled)
        self.assertIsNone(config.make_framing())

    def test_pool(self) -> None:
        """A pool has the framing that is asked for, which knows the largest frame."""
        config = self.pooled(max_frame=512)
        self.assertTrue(config.pooled)
        framing = config.make_framing()
        assert isinstance(framing, Picky)
        self.assertEqual(framing.max_frame, 512)

    def test_one_without_the_other(self) -> None:
        """Without a framing nothing can be shared, without a pool nothing is."""
        self.assert_message(
            "--framing: got nothing, expected the framing of --pool; the two go together", pool=4
        )
        self.assert_message(
            "--pool: got nothing, expected how many connections share what --framing tells apart; "
            "the two go together",
            framing=PICKY,
        )

    def test_unusable_framing(self) -> None:
        """What a framing says about its argument is told as one line."""
        self.assert_message(
            f"--framing: got '{PICKY}:\\n', expected no argument (not)",
            framing=f"{PICKY}:\n",
            pool=4,
        )
        for value in ("", "nonsense", "no.such.module", f"{__name__}.PICKY", "a.b\ud800"):
            error = self.refused(framing=value, pool=4)
            self.assertTrue(str(error).startswith(f"--framing: got {value!r}, expected "), error)
        self.assert_refused("framing", 5, "text")

    def test_kept_open(self) -> None:
        """No more connections are kept open than there may be."""
        self.assertEqual(self.pooled(pool_min=4).pool_min, 4)
        self.assert_message(
            "--pool-min: got 5, expected at most 4, which is --pool",
            framing=PICKY,
            pool=4,
            pool_min=5,
        )

    def test_without_effect(self) -> None:
        """What only a pool has a use for is refused where there is none."""
        for field, value in (
            ("pool_min", 1),
            ("pool_idle_timeout", 5.0),
            ("pool_max_age", 5.0),
            ("max_frame", 1024),
            ("max_queue", 5),
            ("response_timeout", 5.0),
        ):
            message = f"{option_name(field)}: got {value}, expected --pool beside it"
            self.assert_message(message, **{field: value})
            self.assertEqual(getattr(self.pooled(**{field: value}), field), value)

    def test_limits_of_a_pool(self) -> None:
        """Each backend has that many connections, and requests wait in one line."""
        config = self.pooled(
            backend=("unix:/a", "unix:/b"),
            pool=5,
            pool_idle_timeout=6,
            pool_max_age=7,
            max_queue=8,
            queue_timeout=9,
            fail_fast_after=10,
            max_clients=11,
        )
        expected = PoolLimits(
            max_connections=10,
            max_connections_per_origin=5,
            max_idle_per_origin=5,
            max_queue=8,
            queue_timeout=9.0,
            idle_timeout=6.0,
            max_age=7.0,
            fail_fast_after=10,
        )
        self.assertEqual(config.pool_limits, expected)

    def test_limits_of_pairs(self) -> None:
        """Without a pool every client gets a connection, and none is kept."""
        config = self.config(
            backend=("unix:/a", "unix:/b"),
            max_clients=5,
            queue_timeout=7,
            fail_fast_after=8,
        )
        expected = PoolLimits(
            max_connections=10,
            max_connections_per_origin=5,
            max_idle_per_origin=0,
            max_queue=5,
            queue_timeout=7.0,
            idle_timeout=60.0,
            max_age=3600.0,
            fail_fast_after=8,
        )
        self.assertEqual(config.pool_limits, expected)


class NumberTests(RelayConfigCase):
    """Times, counts, sizes and truth values."""

    def test_timeouts_are_positive_and_finite(self) -> None:
        """Every timeout takes a number of seconds above 0, and becomes a float."""
        for field in TIMEOUTS:
            self.assertEqual(getattr(self.pooled(**{field: 3}), field), 3.0)
            for value in (0, -1, float("inf"), float("nan"), "10", True, 10**400):
                self.assert_refused(field, value, "a number of seconds greater than 0")

    def test_drain_may_be_zero(self) -> None:
        """drain_timeout 0 means not to wait."""
        self.assertEqual(self.config(drain_timeout=0).drain_timeout, 0.0)
        self.assert_refused("drain_timeout", -0.1, "a number of seconds, 0 or more")

    def test_counts(self) -> None:
        """Counts are whole numbers from 0."""
        for field in ("pool_min", "max_queue", "fail_fast_after"):
            self.assertEqual(getattr(self.pooled(**{field: 0}), field), 0)
            for value in (-1, 1.5, "7", True):
                self.assert_refused(field, value, "a whole number, 0 or more")

    def test_at_least_one(self) -> None:
        """With no connection or no client at all nothing could be relayed."""
        for field in ("pool", "max_clients"):
            for value in (0, -1, True, 1.5, "3"):
                self.assert_refused(field, value, "a whole number, 1 or more")

    def test_largest_frame(self) -> None:
        """A size in bytes, from 1 to a PiB."""
        for value in (1, 1 << 50):
            self.assertEqual(self.pooled(max_frame=value).max_frame, value)
        for wrong in (-1, 1.5, "64k", True, (1 << 50) + 1):
            self.assert_refused("max_frame", wrong, "a number of bytes, as 65536, 64k, 100M or 1G")
        self.assert_refused("max_frame", 0, "at least 1 byte")

    def test_truth_values(self) -> None:
        """A text such as "no" must not count as true."""
        for field in ("accept_proxy_protocol", "verbose"):
            for value in ("no", 0, 1):
                self.assert_refused(field, value, "true or false")


#: Values of every type that could be given by mistake.
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**5000)
    | st.floats()
    | st.binary(max_size=8)
    | st.text(st.characters(), max_size=12)
    | st.builds("{}{}".format, st.sampled_from(("unix:/", "tcp:", "tls:")), st.text(max_size=9))
    | st.just("unix:/\ud800\n" + "x" * 120)
)
ANYTHING: st.SearchStrategy[Any] = (
    SCALARS | st.lists(SCALARS, max_size=3) | st.lists(SCALARS, max_size=3).map(tuple)
)


class FuzzTests(RelayConfigCase):
    """Values of whatever type."""

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_nothing_but_config_error(self, data: st.DataObject) -> None:
        """Whatever is given is refused in one line, or is such that there can be a service."""
        make = data.draw(st.sampled_from((self.config, self.pooled)))
        field = data.draw(st.sampled_from(list(CHECKS)))
        try:
            RelayService(make(**{field: data.draw(ANYTHING)}), MemoryReactorClock())
        except ConfigError as error:
            self.assertTrue(str(error).startswith(f"{option_name(error.field)}: got "), error)
            self.assertNotIn("\n", str(error))
