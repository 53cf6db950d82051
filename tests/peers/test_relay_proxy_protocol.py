"""fastcar relay: the PROXY header, to and from haproxy and nginx."""

from __future__ import annotations

import queue
import re
import socket
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from unittest import SkipTest

from fastcar_tw.relay.proxy_protocol import ProxyAddresses, ProxyHeaderReader, encode
from tests.peers.gateway import read_to_any_end
from tests.peers.processes import LIMIT
from tests.peers.proxy_protocol import (
    NOTHING,
    SEND,
    SendingHAProxy,
    SendingNginx,
    ask,
    ends,
    has_ipv6,
    receivers,
)
from tests.peers.relay import Relay, RelayTestCase, dial_port
from tests.peers.sockets import Peer

#: What haproxy is to add to version 2.
EXTENSIONS = "proxy-v2-options crc32c,unique-id,authority"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


class ProxyProtocolTestCase(RelayTestCase):
    """Tests with haproxy and nginx before and behind a relay."""

    def peer(self, port: int) -> Peer:
        """A connection to a loopback port."""
        peer = dial_port(port)
        self.addCleanup(peer.close)
        return peer

    def unix_peer(self, path: str) -> Peer:
        """A connection to a UNIX socket."""
        peer = Peer.dial(path)
        self.addCleanup(peer.close)
        return peer

    def sending_haproxy(self, target: str, options: str) -> SendingHAProxy:
        """A haproxy in front of what is at `target`, with these options for it."""
        haproxy = SendingHAProxy(self.folder(), target, options)
        self.addCleanup(haproxy.stop)
        return haproxy

    def sending_nginx(self, target: str) -> SendingNginx:
        """A nginx in front of what is at `target`, which sends version 1."""
        nginx = SendingNginx(self.folder(), target)
        self.addCleanup(nginx.stop)
        return nginx

    def assert_told(self, peer: Peer, message: str = "") -> None:
        """The receiver behind it knows from where to where this connection is."""
        expected = ends(peer)
        self.assertEqual(ask(peer), expected, message)


class CodecTests(ProxyProtocolTestCase):
    """Our headers, and those of haproxy and nginx, with no relay between."""

    def setUp(self) -> None:
        super().setUp()
        self.found: queue.Queue[ProxyAddresses] = queue.Queue()

    def test_receivers_understand(self) -> None:
        """haproxy and nginx read the addresses that we write, of all kinds."""
        kinds = [
            ProxyAddresses(("192.0.2.1", 1), ("198.51.100.255", 65535)),
            ProxyAddresses(("2001:db8::1", 50000), ("::1", 443)),
            ProxyAddresses(("::ffff:192.0.2.1", 1), ("::ffff:192.0.2.2", 2)),
            ProxyAddresses(("192.0.2.1", 1), ("2001:db8::2", 2)),
            ProxyAddresses(("fe80::1%eth0", 1), ("fe80::2", 2)),
        ]
        for receiver in receivers().all:
            for addresses in kinds:
                answers = [
                    ask(self.peer(receiver.port), encode(version, addresses)) for version in (1, 2)
                ]
                self.assertEqual(_plain(answers[0]), _plain(answers[1]))
                self.assertEqual(_plain(answers[0]), _plain(_written(addresses)), receiver)

    def test_unknown(self) -> None:
        """They accept what we write of a client that nothing is known of."""
        for receiver in receivers().all:
            for version in (1, 2):
                peer = self.unix_peer(receiver.unix.partition(":")[2])
                self.assertEqual(ask(peer, encode(version, ProxyAddresses())), NOTHING)

    def reading_backend(self) -> str:
        """The authority of a backend that reads a header from each connection."""
        return self.backend(lambda peer: self.found.put(_read(peer))).authority

    def assert_read(self, port: int) -> None:
        """What comes through the sender at a port has a header with the right addresses."""
        peer = self.peer(port)
        expected = ends(peer)
        peer.send(b"!")
        self.assertEqual(_written(self.found.get(timeout=LIMIT)), expected)

    def test_haproxy_is_read(self) -> None:
        """We read what haproxy writes, with extensions and a checksum, and of UNIX clients."""
        target = self.reading_backend()
        for options in (*SEND.values(), f"{SEND['v2']} {EXTENSIONS}"):
            sender = self.sending_haproxy(target, options)
            self.assert_read(sender.port)
            self.unix_peer(sender.socket).send(b"!")
            self.assertEqual(self.found.get(timeout=LIMIT), ProxyAddresses())

    def test_nginx_is_read(self) -> None:
        """We read what nginx writes."""
        self.assert_read(self.sending_nginx(self.reading_backend()).port)


#: Listeners for IPv6, and for IPv4 clients that a listener for both is to take for IPv6 ones.
MAPPED = "::ffff:127.0.0.1"
INTERFACES = ("::1", MAPPED) if has_ipv6() else ()


class SendingTests(ProxyProtocolTestCase):
    """A relay with --proxy-protocol."""

    def relays(self) -> Iterator[Relay]:
        """Relays that send either version to either receiver, at a port or at a UNIX socket."""
        haproxy, nginx = receivers().all
        listeners: list[str] = []
        for interface in INTERFACES:
            listeners += "--listen", "tcp:0:interface=" + interface.replace(":", r"\:")
        for version, backend in (
            ("v1", haproxy.tcp),
            ("v2", haproxy.unix),
            ("v1", nginx.unix),
            ("v2", nginx.tcp),
        ):
            options = ("--proxy-protocol", version, "--backend", backend, *listeners)
            yield self.shared_relay(*options)

    def test_tcp_clients(self) -> None:
        """haproxy and nginx are told the client's address and port, and where it has connected
        to.
        """
        for relay in self.relays():
            self.assert_told(self.client(relay), relay.output)

    def test_unix_clients(self) -> None:
        """Clients of a UNIX socket are served, and nothing is told of them."""
        # At its port haproxy answers then with the ends that it sees itself.
        seen = rf"{NOTHING}|127\.0\.0\.1 \d+ 127\.0\.0\.1 {receivers().haproxy.port}"
        for relay in self.relays():
            self.assertRegex(ask(self.unix_peer(relay.socket)), f"^({seen})$")

    def test_tls_clients(self) -> None:
        """Clients that speak TLS are told of as others are; the header is not a part of it."""
        pair = self.shared.pair
        options = ("--proxy-protocol", "v2", "--cert", pair.certificate, "--key", pair.key)
        relay = self.start_relay(*options, backend=receivers().nginx.tcp)
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.load_verify_locations(self.shared.authority.file)
        sock = socket.create_connection(("127.0.0.1", relay.port), LIMIT)
        client = Peer(trust.wrap_socket(sock, server_hostname="127.0.0.1"))
        self.addCleanup(client.close)
        self.assert_told(client)

    def test_ipv6(self) -> None:
        """Of a client that comes over IPv6, its IPv6 address is told."""
        self.assert_ipv6("::1", "::1")

    def test_ipv4_at_an_ipv6_listener(self) -> None:
        """Of one that comes over IPv4 to a listener for both, its IPv4 address is told."""
        self.assert_ipv6(MAPPED, "127.0.0.1")

    def assert_ipv6(self, interface: str, address: str) -> None:
        """Receivers are told of a client that has connected to `address`."""
        if not INTERFACES:
            raise SkipTest("no ::1 here")
        for relay in self.relays():
            listener = re.escape(f"tcp:[{interface}]:")
            port = int(relay.wait_for(rf"listening on {listener}(\d+)")[1])
            peer = Peer(socket.create_connection((address, port), LIMIT))
            self.addCleanup(peer.close)
            self.assert_told(peer, relay.output)

    def test_before_the_client_speaks(self) -> None:
        """A backend that speaks first has the header before, at once and once only; what the
        client sends then follows untouched.
        """
        seen: queue.Queue[bytes] = queue.Queue()

        def greet(peer: Peer) -> None:
            seen.put(peer.read_through(b"\r\n"))
            peer.send(b"220 hello\r\n")
            seen.put(peer.read_to_end())

        relay = self.start_relay("--proxy-protocol", "v1", backend=self.backend(greet))
        client = self.client(relay)
        self.assertEqual(client.read_through(b"\r\n"), b"220 hello\r\n")
        source, port, destination, listening = ends(client).split()
        line = f"PROXY TCP4 {source} {destination} {port} {listening}\r\n"
        self.assertEqual(seen.get(timeout=LIMIT), line.encode())
        client.send(b"PROXY UNKNOWN\r\nEHLO\r\n")
        client.end_output()
        self.assertEqual(seen.get(timeout=LIMIT), b"PROXY UNKNOWN\r\nEHLO\r\n")


class ReadingTests(ProxyProtocolTestCase):
    """A relay with --accept-proxy-protocol, and with --proxy-protocol beside it."""

    def test_header_ends_here(self) -> None:
        """A backend that expects no header gets none; what follows it is passed on."""
        options = ("--accept-proxy-protocol", "--backend", receivers().nginx.plain)
        relay = self.shared_relay(*options)
        for version in SEND.values():
            sender = self.sending_haproxy(f"127.0.0.1:{relay.port}", version)
            self.assertEqual(ask(self.peer(sender.port)), "plain")
        self.assertEqual(ask(self.unix_peer(relay.socket), b"PROXY UNKNOWN\r\n"), "plain")

    def test_chain(self) -> None:
        """What haproxy tells is passed on to haproxy and nginx, whatever the versions are."""
        for version in SEND:
            for receiver in receivers().all:
                relay = self.passing_relay(version, receiver.tcp)
                for options, target in (
                    (SEND["v1"], f"127.0.0.1:{relay.port}"),
                    (SEND["v2"], f"unix@{relay.socket}"),
                ):
                    sender = self.sending_haproxy(target, options)
                    self.assert_told(self.peer(sender.port), f"{options} to {version}")

    def test_nginx_first(self) -> None:
        """So is what nginx tells."""
        relay = self.passing_relay("v2", receivers().haproxy.tcp)
        self.assert_told(self.peer(self.sending_nginx(f"127.0.0.1:{relay.port}").port))
        self.assert_told(self.peer(self.sending_nginx(f"unix:{relay.socket}").port))

    def test_relay_after_relay(self) -> None:
        """So is what another relay tells."""
        second = self.passing_relay("v1", receivers().nginx.tcp)
        first = self.start_relay("--proxy-protocol", "v2", backend=f"unix:{second.socket}")
        self.assert_told(self.client(first))

    def test_before_tls(self) -> None:
        """If clients speak TLS, the header comes before it, as haproxy sends it; the log names the
        client that it tells of.
        """
        pair = self.shared.pair
        tls = ("--cert", pair.certificate, "--key", pair.key, "--verbose")
        relay = self.passing_relay("v1", receivers().nginx.tcp, *tls)
        for options in SEND.values():
            target = f"127.0.0.1:{relay.port}"
            sender = self.sending_haproxy(target, f"ssl verify none {options}")
            peer = self.peer(sender.port)
            source, port, *_ = ends(peer).split()
            self.assert_told(peer, options)
            relay.logs(f"{source}:{port}.*connected")

    def test_pooled(self) -> None:
        """Clients that share connections begin with a header each, which does not go on."""
        seen: queue.Queue[bytes] = queue.Queue()

        def echo(peer: Peer) -> None:
            while True:
                line = peer.read_through(b"\n")
                seen.put(line)
                peer.send(line)

        options = ("--accept-proxy-protocol", "--pool", "1", "--framing", r"eof:\n")
        relay = self.start_relay(*options, backend=self.backend(echo))
        for header in (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", LOCAL):
            client = self.client(relay, header + b"one\ntwo\n")
            self.assertEqual(client.read(8), b"one\ntwo\n")
            self.assertEqual([seen.get(timeout=LIMIT) for _ in "12"], [b"one\n", b"two\n"])

    def test_addresses_of_elsewhere(self) -> None:
        """What is told is passed on as it is, of the other family too."""
        relay = self.passing_relay("v2", receivers().nginx.tcp)
        header = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"
        answer = ask(self.client(relay), header)
        self.assertEqual(answer, "2001:db8::1 1 2001:db8::2 65535")

    def test_nothing_told(self) -> None:
        """If a header tells nothing, the connection itself is what counts (section 2.1: "use the
        real connection's parameters").
        """
        relay = self.passing_relay("v1", receivers().nginx.tcp)
        for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN what ever\r\n", LOCAL):
            client = self.client(relay)
            expected = ends(client)
            self.assertEqual(ask(client, header), expected, header)

    def test_extensions(self) -> None:
        """Extensions of version 2 are skipped, and a checksum is found right."""
        relay = self.passing_relay("v1", receivers().nginx.tcp)
        sender = self.sending_haproxy(f"127.0.0.1:{relay.port}", f"{SEND['v2']} {EXTENSIONS}")
        self.assert_told(self.peer(sender.port))

    def test_health_checks(self) -> None:
        """A relay passes haproxy's checks of the server behind it, in either version."""
        relay = self.passing_relay("v1", receivers().nginx.tcp)
        for options in SEND.values():
            checked = f"{options} check check-send-proxy inter 50 rise 2"
            sender = self.sending_haproxy(f"127.0.0.1:{relay.port}", checked)
            sender.wait_for("Health check for server sending/receiving succeeded.*3/3 UP")

    def test_bytewise(self) -> None:
        """A header may come byte by byte; a backend is not asked for anything before its end."""
        relay = self.passing_relay("v1", receivers().haproxy.tcp)
        source = ("192.0.2.1", 1), ("192.0.2.2", 2)
        for version in (1, 2):
            client = self.client(relay)
            for byte in encode(version, ProxyAddresses(*source)):
                client.send(bytes((byte,)))
            self.assertEqual(ask(client), "192.0.2.1 1 192.0.2.2 2")

    def passing_relay(self, version: str, backend: str, *options: str) -> Relay:
        """A relay that reads headers, and passes on what they tell in one of a version."""
        fixed = ("--accept-proxy-protocol", "--proxy-protocol", version, "--backend", backend)
        return self.shared_relay(*fixed, *options)


class RefusalTests(ProxyProtocolTestCase):
    """Clients of --accept-proxy-protocol that do not begin with a header."""

    def setUp(self) -> None:
        super().setUp()
        # Whoever is let through is met by an error, which is logged.
        backend = "unix:/nonexistent/backend"
        options = ("--accept-proxy-protocol", "--client-timeout", "1", "--backend", backend)
        self.relay = self.shared_relay(*options)
        self._start = len(self.relay.output)

    def tearDown(self) -> None:
        super().tearDown()
        self.assertNotIn("/nonexistent/backend", self.relay.output[self._start :])

    def assert_refused(self, client: Peer, data: bytes, reason: str = "") -> None:
        """It is closed at once with nothing said to it, and the log tells what was expected."""
        start = len(self.relay.output)
        client.send(data)
        self.assertEqual(read_to_any_end(client), b"")
        line = self.relay.wait_for(r".*expected a PROXY header, version 1 or 2.*\n", start)[0]
        self.assertIn(reason, line)
        # Nothing of what it has sent is in the log.
        self.assertNotIn("secret", self.relay.output)

    def test_other_protocols(self) -> None:
        """HTTP, TLS, Redis, and SSH clients that came by mistake; one byte of them is enough."""
        for data in (
            b"GET /secret HTTP/1.1\r\nHost: secret\r\n\r\n",
            b"POST /secret HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"*1\r\n$4\r\nPING\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"G",
        ):
            self.assert_refused(self.client(self.relay), data)
        self.assert_refused(self.unix_peer(self.relay.socket), b"GET /secret HTTP/1.1\r\n\r\n")

    def test_client_is_named(self) -> None:
        """The log names the client that was refused."""
        client = self.client(self.relay)
        source, port, *_ = ends(client).split()
        self.assert_refused(client, b"GET / HTTP/1.1\r\n\r\n", f"{source}:{port}")

    def test_malformed_headers(self) -> None:
        """Headers that are wrong, even if only a little."""
        for data, reason in (
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\nsecret", "two addresses and two ports"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nsecret", "cannot be in its line"),
            (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\nsecret", "addresses of IPv6"),
            (b"PROXY UNKNOWN " + b"u" * 200, "at most 107 bytes"),
            (LOCAL[:12] + b"\x21\x11\0\x04secret", "a length that its addresses fit in"),
            (LOCAL[:12] + b"\x31\x11\0\x0c" + bytes(12), ""),
        ):
            self.assert_refused(self.client(self.relay), data, reason)

    def test_silence(self) -> None:
        """A client that does not go on with its header is closed, in the end."""
        for data in (b"", b"P", LOCAL[:-1]):
            client = self.client(self.relay, data)
            self.assertEqual(read_to_any_end(client), b"")

    def test_leaving(self) -> None:
        """A client that leaves instead, or in the middle of its header, disturbs nobody."""
        for data in (b"", b"PROXY TCP4 "):
            client = self.client(self.relay, data)
            client.end_output()
            self.assertEqual(read_to_any_end(client), b"")
            client = self.client(self.relay, data)
            client.reset()
        self.assert_refused(self.client(self.relay), b"G")


def _plain(answer: str) -> list[object]:
    """The addresses and ports of an answer, however it writes them."""
    words = answer.split()
    hosts = [ip_address(host) for host in words[0::2]]
    return [getattr(host, "ipv4_mapped", None) or host for host in hosts] + list(words[1::2])


def _written(addresses: ProxyAddresses) -> str:
    """Addresses as a receiver would write them."""
    assert addresses.source is not None and addresses.destination is not None
    return "{} {} {} {}".format(*addresses.source, *addresses.destination).replace("%eth0", "")


def _read(peer: Peer) -> ProxyAddresses:
    """Read a header, byte by byte."""
    reader = ProxyHeaderReader()
    while (addresses := reader.feed(peer.read(1))) is None:
        pass
    return addresses
