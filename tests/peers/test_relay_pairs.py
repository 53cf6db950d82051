"""fastcar relay without a pool: each client with a connection of its own, and no byte changed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import signal
import socket
import ssl
import threading
from queue import Queue

from tests.peers.certificates import Authority
from tests.peers.gateway import free_port
from tests.peers.processes import LIMIT
from tests.peers.redis import Redis, command
from tests.peers.relay import Relay, RelayTestCase
from tests.peers.sockets import Peer, RawOrigin

#: twistd ends itself by the signal that asked for it.
ENDED = -signal.SIGTERM
#: Bytes of the bulk, in each direction.
BULK = 50 << 20


def echo(peer: Peer) -> None:
    """A script that gives every byte back."""
    while data := peer.socket.recv(65536):
        peer.send(data)


@functools.cache
def noise() -> bytes:
    """A MiB of all bytes, which is not a whole number of anything."""
    return random.Random(6).randbytes((1 << 20) + 7)


def full_backlog(path: str) -> tuple[socket.socket, socket.socket]:
    """A listener whose backlog has room for one connection, and that connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.settimeout(LIMIT)
    listener.bind(path)
    listener.listen(0)
    first = socket.socket(socket.AF_UNIX)
    first.connect(path)
    return listener, first


class BytesTests(RelayTestCase):
    """What passes."""

    def doors(self, relay: Relay) -> list[Peer]:
        """A connection to either listener."""
        peers = [relay.dial(), relay.dial_tcp()]
        for peer in peers:
            self.addCleanup(peer.close)
        return peers

    def test_client_ends_first(self) -> None:
        """A client that sends no more still gets the whole answer, and then the end."""

        def script(peer: Peer) -> None:
            data = peer.read_to_end()
            peer.send(hashlib.sha256(data).digest())
            peer.send(data)

        relay = self.shared_relay(backend=self.backend(script))
        for client in self.doors(relay):
            client.send(noise())
            client.end_output()
            self.assertEqual(client.read(32), hashlib.sha256(noise()).digest())
            self.assertEqual(client.read_to_end(), noise())

    def test_backend_ends_first(self) -> None:
        """So does a backend: a client that has seen its end goes on sending."""
        received: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            peer.send(noise())
            peer.end_output()
            received.put(peer.read_to_end())

        relay = self.shared_relay(backend=self.backend(script))
        for client in self.doors(relay):
            self.assertEqual(client.read_to_end(), noise())
            for number in range(3):
                client.send(b"%d, " % number)
            client.send(noise())
            client.end_output()
            self.assertEqual(received.get(timeout=LIMIT), b"0, 1, 2, " + noise())

    def test_ends_at_once(self) -> None:
        """A client that says nothing and ends has a backend see just that; so has a backend."""
        received: Queue[bytes] = Queue()
        relay = self.shared_relay(
            backend=self.backend(lambda peer: received.put(peer.read_to_end()))
        )
        for client in self.doors(relay):
            client.end_output()
            self.assertEqual(client.read_to_end(), b"")
            self.assertEqual(received.get(timeout=LIMIT), b"")
        relay = self.shared_relay(backend=self.backend(lambda peer: None))
        for client in self.doors(relay):
            self.assertEqual(client.read_to_end(), b"")

    def test_backend_speaks_first(self) -> None:
        """A client that waits to be greeted is."""

        def script(peer: Peer) -> None:
            peer.send(b"220 ready\r\n")
            peer.send(b"to " + peer.read_through(b"\n"))

        relay = self.shared_relay(backend=self.backend(script))
        for client in self.doors(relay):
            self.assertEqual(client.read_through(b"\n"), b"220 ready\r\n")
            client.send(b"HELO\n")
            self.assertEqual(client.read_to_end(), b"to HELO\n")

    def test_early(self) -> None:
        """What a client sends, and that it ends, before there is a backend is not lost."""
        relay = self.shared_relay(backend=self.backend(lambda peer: peer.send(peer.read_to_end())))
        for size in (1, 60_000, 100_000):
            with relay.stopped():
                clients = self.doors(relay)
                for client in clients:
                    client.send(noise()[:size])
                    client.end_output()
            for client in clients:
                self.assertEqual(client.read_to_end(), noise()[:size])

    def test_written_and_closed(self) -> None:
        """Neither is what a client sends that then closes altogether, as loggers do."""
        received: Queue[bytes] = Queue()
        relay = self.shared_relay(
            backend=self.backend(lambda peer: received.put(peer.read_to_end()))
        )
        for dial in (relay.dial, relay.dial_tcp):
            # Whether the relay sees the bytes and the end in one look or in two.
            for together in (contextlib.nullcontext, relay.stopped):
                for size in (7, 60_000, 100_000):
                    with together():
                        client = dial()
                        client.send(noise()[:size])
                        client.close()
                    self.assertEqual(received.get(timeout=LIMIT), noise()[:size])
        self.assertTrue(received.empty())

    def test_late_backend(self) -> None:
        """So it is if the backend cannot take connections yet."""
        listener, first = full_backlog(os.path.join(self.folder(), "late.sock"))
        self.addCleanup(listener.close)
        self.addCleanup(first.close)
        relay = self.start_relay(backend=f"unix:{listener.getsockname()}")
        client = self.client(relay, noise()[:100_000])
        client.end_output()
        listener.accept()[0].close()
        backend = Peer(listener.accept()[0])
        self.addCleanup(backend.close)
        backend.send(backend.read_to_end()[::-1])
        backend.end_output()
        self.assertEqual(client.read_to_end(), noise()[:100_000][::-1])

    def test_bulk(self) -> None:
        """Many MiB pass in both directions at a time, and all bytes are right."""
        hashes: Queue[bytes] = Queue()
        relay = self.shared_relay(backend=self.backend(lambda peer: hashes.put(exchange(peer))))
        for client in self.doors(relay):
            self.assertEqual(exchange(client), _bulk_hash())
            self.assertEqual(hashes.get(timeout=LIMIT), _bulk_hash())
            client.close()

    def test_any_bytes_of_a_protocol(self) -> None:
        """What a pool would look into is not looked into: QUIT is the backend's to understand."""
        relay = self.shared_relay(backend=self.backend(echo))
        for data in (command("QUIT"), b"*-1\r\n$x\r\n", b"\0" * 100, b"PROXY UNKNOWN\r\n"):
            client = self.client(relay, data)
            client.end_output()
            self.assertEqual(client.read_to_end(), data)


def exchange(peer: Peer) -> bytes:
    """Send the bulk, and end; return the hash of what comes meanwhile and after it."""

    def send() -> None:
        for _ in range(BULK // len(noise())):
            peer.send(noise())
        peer.end_output()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    found = hashlib.sha256()
    while data := peer.socket.recv(1 << 20):
        found.update(data)
    sender.join(LIMIT)
    return found.digest()


@functools.cache
def _bulk_hash() -> bytes:
    found = hashlib.sha256()
    for _ in range(BULK // len(noise())):
        found.update(noise())
    return found.digest()


class BrokenOffTests(RelayTestCase):
    """Connections that do not end in order."""

    def test_client_resets(self) -> None:
        """What a client breaks off is broken off for its backend, too."""
        ends: Queue[object] = Queue()

        def script(peer: Peer) -> None:
            peer.send(peer.read(1))
            try:
                ends.put(peer.read_to_end())
            except ConnectionResetError as error:
                ends.put(type(error))

        relay = self.shared_relay(backend=self.backend(script))
        client = self.client(relay, b"x")
        self.assertEqual(client.read(1), b"x")
        client.reset()
        self.assertIs(ends.get(timeout=LIMIT), ConnectionResetError)

    def test_backend_resets(self) -> None:
        """And what a backend breaks off for its client."""

        def script(peer: Peer) -> None:
            peer.send(peer.read(1))
            go_on.get(timeout=LIMIT)
            peer.reset()

        go_on: Queue[None] = Queue()
        relay = self.shared_relay(backend=self.backend(script))
        client = self.client(relay, b"x")
        self.assertEqual(client.read(1), b"x")
        go_on.put(None)
        self.assertRaises(ConnectionResetError, client.read, 1)

    def test_reset_after_end(self) -> None:
        """Also when the other direction has ended in order before."""

        def script(peer: Peer) -> None:
            peer.send(peer.read_to_end())
            go_on.get(timeout=LIMIT)
            peer.reset()

        go_on: Queue[None] = Queue()
        relay = self.shared_relay(backend=self.backend(script))
        client = self.client(relay, b"x")
        client.end_output()
        self.assertEqual(client.read(1), b"x")
        go_on.put(None)
        self.assertRaises(ConnectionResetError, client.read, 1)

    def test_client_leaves_early(self) -> None:
        """A client that goes before its backend is connected costs nothing, and nobody else."""
        relay = self.shared_relay(backend=self.backend(echo))
        with relay.stopped():
            for _ in range(20):
                self.client(relay, b"x").reset()
        client = self.client(relay, b"still there")
        self.assertEqual(client.read(11), b"still there")


class NoBackendTests(RelayTestCase):
    """Backends that cannot be reached."""

    def assert_closed(self, relay: Relay, reason: str) -> None:
        """A client is closed without a byte, and the log says why."""
        relay.new_output()
        for client in (relay.dial(), relay.dial_tcp()):
            self.addCleanup(client.close)
            try:
                client.send(b"request")
                self.assertEqual(client.read_to_end(), b"")
            except ConnectionError:
                pass
            self.assertRegex(relay.logs(reason), "#warn")

    def test_refused(self) -> None:
        """Nobody listens at a port."""
        port = free_port()
        relay = self.start_relay(backend=f"tcp:127.0.0.1:{port}")
        self.assert_closed(relay, rf"tcp:127\.0\.0\.1:{port}.*[Rr]efused")

    def test_no_path(self) -> None:
        """Nothing lies at a path, or no socket."""
        path = os.path.join(self.folder(), "backend.sock")
        relay = self.start_relay(backend=f"unix:{path}")
        self.assert_closed(relay, rf"unix:{path}.*No such file")
        with open(path, "w"):
            pass
        self.assert_closed(relay, rf"unix:{path}.*[Rr]efused")

    def test_unknown_name(self) -> None:
        """A name has no address."""
        relay = self.start_relay(backend="tcp:nowhere.invalid:1")
        self.assert_closed(relay, r"nowhere\.invalid")

    def test_busy(self) -> None:
        """A backend takes no connections for too long."""
        listener, first = full_backlog(os.path.join(self.folder(), "busy.sock"))
        self.addCleanup(listener.close)
        self.addCleanup(first.close)
        path = listener.getsockname()
        relay = self.start_relay("--connect-timeout", "0.2", backend=f"unix:{path}")
        self.assert_closed(relay, rf"unix:{path}: connecting took too long")

    def test_too_many_clients(self) -> None:
        """One more client than may be is turned away; when one has gone, there is room."""
        relay = self.start_relay("--max-clients", "2", backend=self.backend(echo))
        clients = [self.client(relay, b"x") for _ in range(2)]
        for client in clients:
            self.assertEqual(client.read(1), b"x")
        refused = relay.dial_tcp()
        self.addCleanup(refused.close)
        self.assertEqual(_rest(refused), b"")
        relay.logs("--max-clients")
        clients[0].end_output()
        self.assertEqual(clients[0].read_to_end(), b"")
        self.assertEqual(self.client(relay, b"y").read(1), b"y")


def _rest(peer: Peer) -> bytes:
    try:
        return peer.read_to_end()
    except ConnectionError:
        return b""


class SeveralBackendsTests(RelayTestCase):
    """More than one backend."""

    def named(self, ends: Queue[bytes], name: bytes) -> RawOrigin:
        """A backend that says its name, and tells when a client has gone."""

        def script(peer: Peer) -> None:
            peer.send(name)
            _rest(peer)
            ends.put(name)

        return self.origin(script)

    def test_fewest_clients(self) -> None:
        """A client is led to the backend that has the fewest."""
        ends: Queue[bytes] = Queue()
        first, second = self.named(ends, b"1"), self.named(ends, b"2")
        relay = self.start_relay(
            *("--backend", f"tcp:{first.authority}", "--backend", f"tcp:{second.authority}")
        )
        clients = [self.client(relay) for _ in range(6)]
        names = [client.read(1) for client in clients]
        self.assertEqual(sorted(names), [b"1"] * 3 + [b"2"] * 3)
        for client, name in zip(clients, names, strict=True):
            if name == b"1":
                client.end_output()
                self.assertEqual(client.read_to_end(), b"")
                self.assertEqual(ends.get(timeout=LIMIT), b"1")
        again = [self.client(relay) for _ in range(3)]
        self.assertEqual([client.read(1) for client in again], [b"1"] * 3)

    def test_one_is_gone(self) -> None:
        """One that is gone is passed over, and used again when it is back."""
        ends: Queue[bytes] = Queue()
        folder = self.folder()
        redis = Redis(folder)
        self.addCleanup(redis.stop)
        well = self.named(ends, b"+well")
        relay = self.start_relay(
            *("--backend", redis.backend, "--backend", f"tcp:{well.authority}"),
            *("--fail-fast-after", "1"),
        )
        clients = [self.client(relay, command("PING")) for _ in range(4)]
        answers = sorted(client.read(5) for client in clients)
        self.assertEqual(answers, [b"+PONG"] * 2 + [b"+well"] * 2)
        redis.stop()
        for _ in range(6):
            self.assertEqual(self.client(relay, command("PING")).read(5), b"+well")
        relay.logs(r"redis\.sock: .*not tried again for")
        again = Redis(folder)
        self.addCleanup(again.stop)
        relay.logs(r"redis\.sock can be reached again")
        for _ in range(3):
            self.assertEqual(self.client(relay, command("PING")).read(5), b"+PONG")
        self.assertGreaterEqual(again.accepted(), 3)


class TLSTests(RelayTestCase):
    """TLS on either side."""

    def context(self, authority: Authority) -> ssl.SSLContext:
        """What a client needs to trust an authority."""
        return ssl.create_default_context(cafile=authority.file)

    def test_clients(self) -> None:
        """Clients speak TLS with the relay, and plainly none."""
        authority, pair = self.shared.authority, self.shared.pair
        relay = self.shared_relay(
            *("--cert", pair.certificate, "--key", pair.key), backend=self.backend(echo)
        )
        trust = self.context(authority)
        for sock in (relay.dial().socket, relay.dial_tcp().socket):
            client = Peer(
                trust.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
            )
            self.addCleanup(client.close)
            # Not in two threads, which may not share an object of ssl's.
            for start in range(0, len(noise()), 60_000):
                part = noise()[start : start + 60_000]
                client.send(part)
                self.assertEqual(client.read(len(part)), part)
            client.end()
        plain = self.client(relay, b"GET / HTTP/1.0\r\n\r\n")
        self.assertNotIn(b"GET", _rest(plain))
        relay.logs("TLS failed")

    def test_backend_ends(self) -> None:
        """A backend's end is told to a TLS client in order, and what it breaks off is not."""
        pair = self.shared.pair

        def script(peer: Peer) -> None:
            if peer.read(1) == b"r":
                peer.reset()
            else:
                peer.send(b"bye")

        relay = self.shared_relay(
            *("--cert", pair.certificate, "--key", pair.key), backend=self.backend(script)
        )
        trust = self.context(self.shared.authority)
        client = Peer.dial(relay.socket, trust, "localhost")
        client.send(b"x")
        self.assertEqual(client.read_to_end(), b"bye")
        client.close()
        client = Peer.dial(relay.socket, trust, "localhost")
        client.send(b"r")
        self.assertRaises(OSError, client.read_to_end)
        client.close()

    def test_backends(self) -> None:
        """A backend with TLS is sent to after its certificate was verified."""
        backend = self.own(RawOrigin(echo, self.shared.pair.server_context()))
        relay = self.start_relay(
            *("--trust", self.shared.authority.file, "--backend", f"tls:localhost:{backend.port}"),
            backend=f"tls:127.0.0.1:{backend.port}",
        )
        # One with a name, and one with an address.
        for client in (self.client(relay), self.client(relay)):
            sender = threading.Thread(target=client.send, args=(noise(),))
            sender.start()
            self.assertEqual(client.read(len(noise())), noise())
            sender.join(LIMIT)

    def test_pooled_backend(self) -> None:
        """So it is with a pool."""

        def script(peer: Peer) -> None:
            while True:
                peer.send(b"to " + peer.read_through(b"\n"))

        backend = self.own(RawOrigin(script, self.shared.pair.server_context()))
        relay = self.start_relay(
            *("--pool", "1", "--framing", r"eof:\n", "--trust", self.shared.authority.file),
            backend=f"tls:localhost:{backend.port}",
        )
        for number in range(5):
            client = self.client(relay, b"%d\n" % number)
            self.assertEqual(client.read_through(b"\n"), b"to %d\n" % number)
        self.assertEqual(backend.accepted, 1)

    def test_wrong_certificates(self) -> None:
        """Nothing is sent to one whose certificate nobody trusted issued, or is another's."""
        received: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            received.put(peer.read(1))

        stranger = Authority(self.folder(), "stranger").issue("localhost")
        other = self.shared.authority.issue("other.test")
        for pair in (stranger, other):
            backend = self.own(RawOrigin(script, pair.server_context()))
            trust = ("--trust", self.shared.authority.file)
            relay = self.start_relay(*trust, backend=f"tls:localhost:{backend.port}")
            self.assertEqual(_rest(self.client(relay, b"secret")), b"")
            self.assertRegex(relay.logs("certificate"), "#warn")
        insecure = ("--insecure-origin", f"localhost:{backend.port}")
        relay = self.start_relay(*insecure, backend=f"tls:localhost:{backend.port}")
        self.client(relay, b"s")
        self.assertEqual(received.get(timeout=LIMIT), b"s")
        self.assertTrue(received.empty())


class EndsTests(RelayTestCase):
    """Pairs that fastcar ends."""

    def test_idle(self) -> None:
        """A pair through which nothing passes ends on both sides, and the log says so."""
        ends: Queue[bytes] = Queue()
        backend = self.backend(lambda peer: ends.put(_rest(peer)))
        relay = self.start_relay("--idle-timeout", "0.3", backend=backend)
        client = self.client(relay)
        self.assertEqual(_rest(client), b"")
        self.assertEqual(ends.get(timeout=LIMIT), b"")
        relay.logs("nothing has passed for 0.3 s; closed")

    def test_drained(self) -> None:
        """A pair goes on while fastcar stops, and fastcar has ended when it has."""
        relay = self.start_relay(backend=self.backend(echo))
        client = self.client(relay, b"x")
        self.assertEqual(client.read(1), b"x")
        relay.send_signal(signal.SIGTERM)
        relay.logs("stopping; client connections that get up to 10 s: 1")
        client.send(b"y")
        self.assertEqual(client.read(1), b"y")
        for dial in (relay.dial, relay.dial_tcp):
            # Not in the turn that says so.
            with self.assertRaises((ConnectionError, FileNotFoundError)):
                for _ in range(100_000):
                    dial().close()
        client.end_output()
        self.assertEqual(client.read_to_end(), b"")
        self.assertEqual(relay.wait(), ENDED)

    def test_drained_for_too_long(self) -> None:
        """A pair that does not end in time is broken off."""
        relay = self.start_relay("--drain-timeout", "0.2", backend=self.backend(echo))
        client = self.client(relay, b"x")
        self.assertEqual(client.read(1), b"x")
        relay.send_signal(signal.SIGTERM)
        self.assertEqual(_rest(client), b"")
        self.assertEqual(relay.wait(), ENDED)
        relay.logs("client connections broken off: 1")

    def test_pool_drained(self) -> None:
        """With a pool, requests under way are answered, and idle clients end at once."""
        go_on: Queue[None] = Queue()
        requests: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            request = peer.read_through(b"\n")
            requests.put(request)
            go_on.get(timeout=LIMIT)
            peer.send(b"to " + request)

        pool = ("--pool", "2", "--framing", r"eof:\n")
        relay = self.start_relay(*pool, backend=self.backend(script))
        idle, busy = self.client(relay), self.client(relay, b"busy\n")
        self.assertEqual(requests.get(timeout=LIMIT), b"busy\n")
        relay.send_signal(signal.SIGTERM)
        self.assertEqual(_rest(idle), b"")
        go_on.put(None)
        self.assertEqual(busy.read_to_end(), b"to busy\n")
        self.assertEqual(relay.wait(), ENDED)
