"""Tunnels into which nobody looks, as --tunnel allows; and those that are refused."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import threading
from queue import Queue

from tests.peers.clients import Answer
from tests.peers.openings import (
    NOT_REACHED,
    OK,
    REFUSED,
    OpenFastcar,
    OpeningsTestCase,
    connect_request,
    inside_tls,
    local,
    run_curl,
    socks5_reply,
    socks5_request,
)
from tests.peers.processes import LIMIT, Process, require
from tests.peers.recorder import Recorder
from tests.peers.sockets import Peer, answering

#: twistd ends itself by the signal that asked for it.
ENDED = -signal.SIGTERM

OPENINGS = ("connect", "connect 1.0", "socks5")


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Redis(Process):
    """A redis-server that keeps nothing."""

    def __init__(self, folder: str) -> None:
        self.port = free_port()
        program = require("redis-server", "redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        super().__init__([program, *options, "--appendonly", "no"], folder)
        self.wait_for("Ready to accept connections")


class TunnelsTestCase(OpeningsTestCase):
    """A test with tunnels that end."""

    def ends(self, peer: Peer) -> None:
        """A connection ends without a further word, in order or not."""
        with contextlib.suppress(ConnectionError):
            self.assertEqual(peer.read_to_end(), b"")


class RelayedTests(TunnelsTestCase):
    """Any protocol, on a port that is allowed."""

    def relaying(self, port: int, *options: str) -> OpenFastcar:
        return self.start_open("--tunnel", str(port), *options)

    def test_redis(self) -> None:
        """Redis answers through every opening of every listener."""
        redis = Redis(self.folder())
        self.addCleanup(redis.stop)
        fastcar = self.relaying(redis.port)
        for number, (opening, door) in enumerate(
            (opening, door) for opening in OPENINGS for door in fastcar.doors
        ):
            peer = self.tunnel(opening, door, "localhost", redis.port)
            peer.send(b"*1\r\n$4\r\nPING\r\n")
            self.assertEqual(peer.read_through(b"\r\n"), b"+PONG\r\n")
            peer.send(b"INCR counter\r\nQUIT\r\n")
            self.assertEqual(peer.read_to_end(), b":%d\r\n+OK\r\n" % (number + 1))

    def test_server_first(self) -> None:
        """The other side may begin, and the client needs to say nothing."""
        origin = self.origin(lambda peer: peer.send(b"220 mail.test\r\n"))
        fastcar = self.relaying(origin.port)
        for opening in OPENINGS:
            for door in fastcar.doors:
                peer = self.tunnel(opening, door, "127.0.0.1", origin.port)
                self.assertEqual(peer.read_to_end(), b"220 mail.test\r\n")

    def test_client_first(self) -> None:
        """What the client sends with the opening is not lost."""
        origin = self.origin(lambda peer: peer.send(peer.read(5)[::-1]))
        fastcar = self.relaying(origin.port)
        target = f"localhost:{origin.port}"
        for opening in (connect_request(target), socks5_request("localhost", origin.port)):
            for door in fastcar.doors:
                peer = self.dial_door(door, opening + b"\x00\x01abc")
                self.assertTrue(peer.read_to_end().endswith(b"cba\x01\x00"))

    def test_client_stops_sending(self) -> None:
        """The end of what the client sends is passed on, and the answer to it comes back."""
        origin = self.origin(lambda peer: peer.send(peer.read_to_end()[::-1]))
        fastcar = self.relaying(origin.port)
        for door in fastcar.doors:
            peer = self.tunnel("connect", door, "localhost", origin.port)
            peer.send(b"abc")
            peer.end_output()
            self.assertEqual(peer.read_to_end(), b"cba")

    def test_origin_stops_sending(self) -> None:
        """So is the end of what the origin sends."""
        received: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            peer.send(b"all")
            peer.end_output()
            received.put(peer.read_to_end())

        origin = self.origin(script)
        fastcar = self.relaying(origin.port)
        for door in fastcar.doors:
            peer = self.tunnel("socks5", door, "localhost", origin.port)
            self.assertEqual(peer.read_to_end(), b"all")
            peer.send(b"thanks")
            peer.end_output()
            self.assertEqual(received.get(timeout=LIMIT), b"thanks")

    def test_reset(self) -> None:
        """A connection that the origin breaks off does not end in order for the client."""

        def script(peer: Peer) -> None:
            peer.send(peer.read(4))
            peer.reset()

        origin = self.origin(script)
        fastcar = self.relaying(origin.port)
        peer = self.tunnel("connect", fastcar.port, "localhost", origin.port)
        peer.send(b"half")
        with self.assertRaises(ConnectionResetError):
            peer.read_to_end()

    def test_client_gone(self) -> None:
        """When the client goes, the origin's connection ends."""
        ended: Queue[bytes] = Queue()

        def script(peer: Peer) -> None:
            peer.send(b"hello")
            ended.put(peer.read_to_end())

        origin = self.origin(script)
        fastcar = self.relaying(origin.port)
        for door in fastcar.doors:
            peer = self.tunnel("connect", door, "localhost", origin.port)
            peer.read(5)
            peer.close()
            self.assertEqual(ended.get(timeout=LIMIT), b"")

    def test_large(self) -> None:
        """Large amounts go both ways at once, and slow readers are waited for."""
        content = os.urandom(4 << 20)

        def echo(peer: Peer) -> None:
            while data := peer.socket.recv(65536):
                peer.send(data)

        origin = self.origin(echo)
        fastcar = self.relaying(origin.port)
        for door in fastcar.doors:
            peer = self.tunnel("socks5", door, "localhost", origin.port)
            sender = threading.Thread(target=peer.send, args=(content,))
            sender.start()
            self.assertEqual(peer.read(len(content)), content)
            sender.join(LIMIT)
        self.assertLess(fastcar.peak_kib(), 150 << 10)

    def test_end_to_end_tls(self) -> None:
        """Inside is the origin's own certificate: fastcar's is not known there."""
        origin = self.origin(answering(OK), "https")
        fastcar = self.relaying(origin.port)
        proxies = (f"http://127.0.0.1:{fastcar.port}", f"socks5h://localhost{fastcar.socket}")
        for proxy in proxies:
            for ca, status in ((self.shared.authority.file, 0), (fastcar.ca_file, 60)):
                answer = run_curl(local(origin), "--proxy", proxy, "--cacert", ca)
                self.assertEqual(answer.exit_status, status, answer)

    def test_nothing_is_pooled(self) -> None:
        """Each tunnel is a connection of its own."""
        origin = self.origin(answering(OK))
        fastcar = self.relaying(origin.port)
        for _ in range(3):
            answer = run_curl(local(origin), "-p", "--proxy", f"http://127.0.0.1:{fastcar.port}")
            self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        self.assertEqual(origin.accepted, 3)

    def test_through_a_proxy(self) -> None:
        """With --proxy, that is asked for the tunnel, and its refusal is told."""
        proxy = Recorder("proxy")
        self.own(proxy)
        fastcar = self.relaying(4711, "--proxy", f"http://127.0.0.1:{proxy.port}")
        answer = run_curl("http://origin.test:4711/", "-p", "-x", f"127.0.0.1:{fastcar.port}")
        self.assertNotEqual(answer.exit_status, 0)
        self.assertEqual([each[1:3] for each in proxy.contacts], [("connect", "origin.test:4711")])

    def test_standing_still(self) -> None:
        """A tunnel in which nothing moves ends after --stall-timeout, and the log tells."""
        origin = self.origin(self.ends)
        fastcar = self.relaying(origin.port, "--stall-timeout", "0.4")
        peer = self.tunnel("connect", fastcar.socket, "localhost", origin.port)
        self.ends(peer)
        fastcar.logs("no byte moved for too long")


class UnreachableTests(OpeningsTestCase):
    """Allowed targets that cannot be reached, in the words of the protocol."""

    @functools.cached_property
    def doors(self) -> OpenFastcar:
        return self.start_open("--tunnel", str(self.port), "--connect-timeout", "1")

    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()

    def connect(self, host: str) -> Answer:
        """CONNECT, as curl sees it."""
        proxy = ("--proxytunnel", "--proxy", f"http://127.0.0.1:{self.doors.port}")
        return run_curl(f"http://{host}:{self.port}/", *proxy, "--no-suppress-connect-headers")

    def socks5(self, host: str) -> bytes:
        """The reply to SOCKS5, which is the last that comes."""
        peer = self.dial_door(self.doors.port, socks5_request(host, self.port))
        return peer.read_to_end().removeprefix(b"\x05\x00")

    def test_refused(self) -> None:
        """Nobody listens: 502, and reply 5."""
        answer = self.connect("127.0.0.1")
        self.assertEqual((answer.status, answer.proxy_error), (502, "connection_refused"), answer)
        self.assertEqual(answer.exit_status, 56, answer)
        self.assertEqual(self.socks5("127.0.0.1"), socks5_reply(REFUSED))
        self.doors.logs(rf"tunnel tcp://127\.0\.0\.1:{self.port}: connection_refused \(502\)")

    def test_unknown_name(self) -> None:
        """No such name: 502, and reply 4."""
        answer = self.connect("nowhere.invalid")
        self.assertEqual((answer.status, answer.proxy_error), (502, "dns_error"), answer)
        self.assertEqual(self.socks5("nowhere.invalid"), socks5_reply(NOT_REACHED))

    def test_curl_says(self) -> None:
        """curl says in its own words what SOCKS5 told it."""
        proxy = ("--socks5-hostname", f"127.0.0.1:{self.doors.port}")
        answer = run_curl(f"http://127.0.0.1:{self.port}/", *proxy)
        self.assertEqual(answer.exit_status, 97, answer)
        self.assertIn("(5)", answer.error)


class NotAllowedTests(TunnelsTestCase):
    """Tunnels to ports that --tunnel does not name."""

    def test_binary(self) -> None:
        """What is neither TLS nor HTTP is refused, nobody is connected to, and the log says how it
        could be allowed."""
        origin = self.origin(lambda peer: None)
        for opening in OPENINGS:
            for door in self.fastcar.doors:
                self.fastcar.new_output()
                peer = self.tunnel(opening, door, "localhost", origin.port)
                # PostgreSQL's first message.
                peer.send(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
                self.ends(peer)
                line = self.fastcar.logs(f"--tunnel {origin.port} ")
                self.assertIn(f"localhost:{origin.port}", line)
        self.assertEqual(origin.accepted, 0)

    def test_text(self) -> None:
        """So is a text protocol, before its client gives up."""
        origin = self.origin(lambda peer: None)
        for text in (b"*1\r\n$4\r\nPING\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"PING\r\n"):
            self.fastcar.new_output()
            peer = self.tunnel("connect", self.fastcar.port, "localhost", origin.port)
            peer.send(text)
            self.assertIn(f"--tunnel {origin.port} ", self.fastcar.logs("client refused: "))
        self.assertEqual(origin.accepted, 0)

    def test_silent(self) -> None:
        """A client that waits for the other side is refused after --client-timeout."""
        fastcar = self.start_open("--client-timeout", "1")
        peers = [
            self.tunnel(opening, fastcar.port, "localhost", port)
            for port, opening in enumerate(OPENINGS, 25)
        ]
        for port, peer in enumerate(peers, 25):
            self.ends(peer)
            fastcar.logs(f"tunnel to localhost:{port} .*--tunnel {port} ")

    def test_other_host(self) -> None:
        """A port that is allowed for one host is not for another, nor another port for that."""
        origin = self.origin(lambda peer: peer.send(b"hello"))
        fastcar = self.start_open("--tunnel", f"127.0.0.1:{origin.port}")
        peer = self.tunnel("connect", fastcar.port, "127.0.0.1", origin.port)
        self.assertEqual(peer.read_to_end(), b"hello")
        for host, port in (("localhost", origin.port), ("127.0.0.1", origin.port + 1)):
            peer = self.tunnel("connect", fastcar.port, host, port)
            peer.send(b"\x00")
            fastcar.logs(f"tunnel to {host}:{port} carries neither")
        self.assertEqual(origin.accepted, 1)

    def test_tunnel_in_tunnel(self) -> None:
        """There is no tunnel through a tunnel."""
        peer = self.tunnel("connect", self.fastcar.port, "localhost", 80)
        peer.send(connect_request("localhost:81"))
        self.assertIn(b" 501 ", peer.read_head())


class StopTests(TunnelsTestCase):
    """SIGTERM while there are tunnels."""

    def test_idle(self) -> None:
        """Openings that are half done, and tunnels without a request, are ended at once."""
        fastcar = self.start_open("--drain-timeout", "600")
        peers = [
            self.dial_door(fastcar.port, b"CONNECT localhost:80 HT"),
            self.dial_door(fastcar.port, b"\x05\x01\x00\x05\x01"),
            self.dial_door(fastcar.socket, b"\x16\x03\x01\x02"),
            *(self.tunnel(each, fastcar.port, "localhost", 80) for each in OPENINGS),
        ]
        self.assertEqual(fastcar.stop(), ENDED)
        for peer in peers:
            self.ends(peer)

    def test_request_in_tunnel(self) -> None:
        """A request in a tunnel is finished."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        def script(peer: Peer) -> None:
            peer.read_message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            go_on.wait(LIMIT)
            peer.send(b"rest")

        origin = self.origin(script, "https")
        fastcar = self.start_open("--drain-timeout", "600")
        tunnel = self.tunnel("socks5", fastcar.port, "localhost", origin.port)
        peer = inside_tls(tunnel, fastcar.ca_file, "localhost")
        self.addCleanup(peer.close)
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer.read_through(b"half")
        fastcar.send_signal(signal.SIGTERM)
        fastcar.wait_for("Port .* Closed")
        go_on.set()
        self.assertEqual(peer.read_to_end(), b"rest")
        self.assertEqual(fastcar.wait(), ENDED)

    def test_relayed(self) -> None:
        """What is relayed goes on until it ends by itself."""
        origin = self.origin(lambda peer: peer.send(peer.read(4)[::-1]))
        fastcar = self.start_open("--drain-timeout", "600", "--tunnel", str(origin.port))
        peer = self.tunnel("connect", fastcar.port, "localhost", origin.port)
        fastcar.send_signal(signal.SIGTERM)
        fastcar.wait_for("Port .* Closed")
        peer.send(b"last")
        self.assertEqual(peer.read_to_end(), b"tsal")
        peer.close()
        self.assertEqual(fastcar.wait(), ENDED)

    def test_connecting(self) -> None:
        """A tunnel for which fastcar is still connecting is given up at once."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            port = full.getsockname()[1]
            waiting = socket.create_connection(("127.0.0.1", port))
            self.addCleanup(waiting.close)
            fastcar = self.start_open("--drain-timeout", "600", "--tunnel", str(port))
            peers = [
                self.dial_door(fastcar.port, connect_request(f"127.0.0.1:{port}")),
                self.dial_door(fastcar.port, socks5_request("127.0.0.1", port)),
            ]
            # Greeted: what follows has been read as well.
            self.assertEqual(peers[1].read(2), b"\x05\x00")
            self.assertEqual(fastcar.stop(), ENDED)
            for peer in peers:
                self.ends(peer)

    def test_drain_timeout(self) -> None:
        """After --drain-timeout it is broken off."""
        origin = self.origin(self.ends)
        fastcar = self.start_open("--drain-timeout", "0.3", "--tunnel", str(origin.port))
        peers = [self.tunnel(each, fastcar.port, "localhost", origin.port) for each in OPENINGS]
        fastcar.send_signal(signal.SIGTERM)
        for peer in peers:
            self.ends(peer)
        self.assertEqual(fastcar.wait(), ENDED)
