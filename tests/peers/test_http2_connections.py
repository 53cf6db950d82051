"""What becomes of connections with HTTP/2: how many there are, who shares them, and their end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from twisted.python import log

from tests.peers.asgi import DELAY
from tests.peers.clients import require_php_curl
from tests.peers.http2 import (
    TEXT,
    Asker,
    HTTP2Nginx,
    HTTP2TestCase,
    Hypercorn,
    Nghttpd,
    Origin,
    connection_of,
    origins,
)
from tests.peers.processes import LIMIT
from tests.peers.sockets import Message

MIB = 1 << 20
_MANY = os.path.join(os.path.dirname(__file__), "many.php")


class ManyTests(HTTP2TestCase):
    """Many requests at once."""

    COUNT = 200

    def ask_many(self, origin: Origin) -> None:
        """PHP sends so many requests at once, which are answered when all of them are there, and
        some time has passed."""
        require_php_curl()
        url = f"http://localhost:{origin.port}/together/{self.COUNT}?%d"
        done = subprocess.run(
            ["php", _MANY, self.fastcar.https_socket, url, str(self.COUNT)],
            capture_output=True,
            timeout=2 * LIMIT,
            check=True,
        )
        told = json.loads(done.stdout)
        wanted = [[200, str(number)] for number in range(self.COUNT)]
        self.assertEqual(told["answers"], wanted)
        log.msg(f"{self.COUNT} requests of {DELAY} s each took PHP {told['seconds']:.3f} s")

    def test_php(self) -> None:
        """200 requests of PHP's need two connections to an origin that takes 100 on each; those
        who come next, too."""
        hypercorn = self.hypercorn()
        self.ask_many(hypercorn)
        self.assertEqual(hypercorn.application.versions, {"2"})
        self.assertLessEqual(len(hypercorn.application.connections), 2)

    def test_php_wide(self) -> None:
        """Once it is known that an origin takes more, they need one."""
        hypercorn = self.hypercorn(h2_max_concurrent_streams=self.COUNT)
        self.assertEqual(self.fetch(hypercorn, "/hello").status, 200)
        self.ask_many(hypercorn)
        self.assertEqual(len(hypercorn.application.connections), 1)

    def test_few_streams(self) -> None:
        """An origin that takes four at once on a connection gets more connections, and all are
        answered."""
        hypercorn = self.hypercorn(h2_max_concurrent_streams=4)
        self.assertEqual(self.fetch(hypercorn, "/hello").status, 200)
        askers = [self.ask(hypercorn, "/hold", "POST", b"%d" % each) for each in range(40)]
        for _ in askers:
            hypercorn.application.arrived.get(timeout=LIMIT)
        hypercorn.application.let_on("/hold", len(askers))
        bodies = [asker.answer().body for asker in askers]
        self.assertEqual(bodies, [b"%d" % each for each in range(40)])
        held = [each for each in hypercorn.application.seen if each.path == "/hold"]
        counts = Counter(each.connection for each in held)
        self.assertEqual(set(counts.values()), {4})

    def test_few_streams_of_one_connection(self) -> None:
        """If there may be but one connection the others wait for their turn, and none is sent
        twice. (nginx refuses what is too much, as it does not know what is assumed of it.)"""
        backend = Hypercorn(None)
        self.addCleanup(backend.stop)
        nginx = self.http2_nginx(
            "http2_max_concurrent_streams 4;", f"http://127.0.0.1:{backend.port}"
        )
        fastcar = self.start_open("--http2", "auto", "--max-connections-per-origin", "1")
        askers = []
        for number in range(40):
            asker = Asker(fastcar.https_socket)
            self.addCleanup(asker.close)
            asker.ask(nginx, "/hold", "POST", b"%d" % number)
            askers.append(asker)
        application = backend.application
        for _ in range(10):
            for _ in range(4):
                application.arrived.get(timeout=LIMIT)
            self.assertTrue(application.arrived.empty())
            application.let_on("/hold", 4)
        messages = [asker.answer() for asker in askers]
        self.assertEqual([each.body for each in messages], [b"%d" % each for each in range(40)])
        self.assertEqual(len({connection_of(each) for each in messages}), 1)
        self.assertEqual(len(application.seen), 40)


class SharedConnectionTests(HTTP2TestCase):
    """Those who share a connection do each other no harm."""

    def test_bodies_at_once(self) -> None:
        """What many send at once comes back to each as it was."""

        def client(origin: Origin, data: bytes) -> bool:
            return self.ask(origin, "/echo", "POST", data).answer().body == data

        for origin in (origins().hypercorn, origins().nginx, origins().nghttpd):
            bodies = [os.urandom(300_000 + number) for number in range(20)]
            with ThreadPoolExecutor(len(bodies)) as executor:
                self.assertTrue(all(executor.map(client, [origin] * len(bodies), bodies)))

    def test_stalled_reader(self) -> None:
        """A client that does not read its 50 MiB holds nobody up, and gets them all later."""
        nginx = self.http2_nginx()
        data = os.urandom(MIB) * 50
        nginx.write("large", data)
        slow = self.ask(nginx, "/files/large")
        head = slow.peer.read_head()
        for _ in range(20):
            other = self.ask(nginx, "/files/text")
            message = other.answer()
            self.assertEqual(message.body, TEXT)
            self.assertIn(b"x-connection: " + connection_of(message), head)
        nginx.write("five", data[: 5 * MIB])
        self.assertEqual(self.fetch(nginx, "/files/five").body, data[: 5 * MIB])
        body = slow.peer.read(len(data))
        self.assertEqual(hashlib.sha256(body).digest(), hashlib.sha256(data).digest())

    def test_stalled_upload(self) -> None:
        """A client that does not send the rest of its body holds nobody up either."""
        nginx = self.http2_nginx()
        slow = Asker(self.fastcar.https_socket)
        self.addCleanup(slow.close)
        slow.ask(nginx, "/echo", "POST", fields="Content-Length: 1000001\r\n")
        slow.peer.send(bytes(1_000_000))
        for _ in range(20):
            data = os.urandom(200_000)
            self.assertEqual(self.ask(nginx, "/echo", "POST", data).answer().body, data)
        slow.peer.send(b"1")
        self.assertEqual(slow.answer().body, bytes(1_000_000) + b"1")
        connections = {line[0] for line in nginx.end()}
        self.assertEqual(len(connections), 1)

    def test_client_gone(self) -> None:
        """The request of a client that has gone is cancelled at the origin, and the connection
        serves on."""
        hypercorn = self.hypercorn()
        application = hypercorn.application
        for path in ("/hold/one", "/hold/two"):
            asker = self.ask(hypercorn, path)
            application.arrived.get(timeout=LIMIT)
            asker.close()
            self.assertEqual(application.left.get(timeout=LIMIT).path, path)
        asker = self.ask(hypercorn, "/large/10000")
        asker.peer.read(MIB)
        asker.close()
        self.assertEqual(self.fetch(hypercorn, "/hello").body, b"hello\n")
        self.assertEqual(len(application.connections), 1, application.seen)


class EndTests(HTTP2TestCase):
    """Connections that their origins end."""

    def load(
        self, nginx: HTTP2Nginx, meanwhile: Callable[[], None], clients: int = 8, each: int = 30
    ) -> None:
        """Clients at once send requests, no two the same, every third one a POST; `meanwhile`
        is called after each third of one client's. Then nginx is ended.

        Every GET is answered, and every POST, which nginx has seen once.
        """

        def client(number: int) -> list[tuple[str, str, Message]]:
            answers = []
            for request in range(each):
                method, target = "POST" if request % 3 else "GET", f"/told?{number}.{request}"
                asker = Asker(self.fastcar.https_socket)
                asker.ask(nginx, target, method, b"a=1" if method == "POST" else b"")
                answers.append((method, target, asker.answer()))
                asker.close()
                if number == 0 and request in (each // 3, 2 * each // 3):
                    meanwhile()
            return answers

        with ThreadPoolExecutor(clients) as executor:
            answers = [answer for each in executor.map(client, range(clients)) for answer in each]
        seen = Counter((line[1], line[2]) for line in nginx.end())
        for method, target, message in answers:
            self.assertEqual((message.status, message.body), (200, target.encode()), message)
            if method == "POST":
                self.assertEqual(seen[method, target], 1)

    def test_few_requests(self) -> None:
        """An origin that ends its connections (GOAWAY) every few requests loses none."""
        nginx = self.http2_nginx("keepalive_requests 20;")
        self.load(nginx, lambda: None)

    def test_no_keep_alive(self) -> None:
        """Nor does one that ends each connection behind its first request."""
        nginx = self.http2_nginx("keepalive_timeout 0;")
        self.load(nginx, lambda: None)

    def test_reload(self) -> None:
        """Nor does one that is reloaded, which ends all of them at once."""
        nginx = self.http2_nginx()
        self.load(nginx, nginx.reload)

    def test_shutdown_of_nginx(self) -> None:
        """What is under way when nginx ends is answered, what comes then is 502."""
        backend = origins().plain_hypercorn.application
        nginx = self.http2_nginx()
        asker = self.ask(nginx, "/hold/shutdown", "POST", b"a=1")
        backend.arrived.get(timeout=LIMIT)
        nginx.process.send_signal(signal.SIGQUIT)
        nginx.process.wait_for("gracefully shutting down")
        backend.let_on("/hold/shutdown")
        self.assertEqual(asker.answer().body, b"a=1")
        self.assertEqual(nginx.process.wait(), 0)
        answer = self.fetch(nginx, "/told")
        self.assertEqual((answer.status, answer.proxy_error), (502, "connection_refused"), answer)

    def test_shutdown_of_hypercorn(self) -> None:
        """So it is with hypercorn."""
        hypercorn = self.hypercorn(graceful_timeout=LIMIT)
        asker = self.ask(hypercorn, "/hold", "POST", b"a=1")
        hypercorn.application.arrived.get(timeout=LIMIT)
        hypercorn.begin_to_end()
        hypercorn.application.let_on("/hold")
        self.assertEqual(asker.answer().body, b"a=1")
        hypercorn.wait()
        self.assertEqual(self.fetch(hypercorn, "/hello").status, 502)

    def test_killed(self) -> None:
        """What an origin that is killed was sending is broken off; when it is back it serves."""
        folder = self.folder()
        with open(os.path.join(folder, "large"), "wb") as file:
            file.write(bytes(20 * MIB))
        first = Nghttpd(folder, self.shared.pair)
        self.addCleanup(first.stop)
        reader = self.ask(first, "/large")
        reader.peer.read(MIB)
        self.assertEqual(self.ask(first, "/text").answer().body, TEXT)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        self.assertRaises(EOFError, reader.peer.read, 20 * MIB)
        self.assertEqual(self.fetch(first, "/text").status, 502)
        second = Nghttpd(folder, self.shared.pair, port=first.port)
        self.addCleanup(second.stop)
        askers = [self.ask(second, "/text") for _ in range(20)]
        self.assertEqual([asker.answer().body for asker in askers], [TEXT] * 20)
        self.assertEqual(second.connections, 1)
