"""Where origins are, whether they are there, and connections that wait for the first request."""

from __future__ import annotations

import socket
import threading

from tests.peers.case import PeersTestCase
from tests.peers.clients import curl
from tests.peers.processes import LIMIT
from tests.peers.sockets import Peer, echo


class NameTests(PeersTestCase):
    """Names and their addresses."""

    def test_resolve(self) -> None:
        """--resolve gives a name's address; the certificate is still verified for the name."""
        nginx = self.nginx
        url = nginx.url("https", "/hello").replace("localhost", "origin.test")
        port = url.rpartition(":")[2].partition("/")[0]
        fastcar = self.start_fastcar("--resolve", f"origin.test:{port}:127.0.0.1")
        answer = curl(fastcar.socket, url, "--cacert", fastcar.ca_file)
        self.assertEqual((answer.status, answer.body), (200, b"hello\n"), answer)

    def test_unknown_name(self) -> None:
        """A name that nobody knows is a 502 that says what the resolver said."""
        answer = self.curl("http://no-such-name.invalid/")
        self.assertEqual((answer.status, answer.proxy_error), (502, "dns_error"), answer)
        self.assertIn(b"name look-up failed (no-such-name.invalid: ", answer.body)


class PrewarmTests(PeersTestCase):
    """Connections before there is a request."""

    def test_tls_is_done(self) -> None:
        """They are opened and verified at the start, and the first requests take them."""
        opened = threading.Semaphore(0)

        def script(peer: Peer) -> None:
            opened.release()  # the handshake is finished
            echo(peer)

        origin = self.origin(script, "https")
        fastcar = self.start_fastcar("--prewarm", f"{origin.url}=2")
        for _ in range(2):
            self.assertTrue(opened.acquire(timeout=LIMIT))
        fastcar.logs(f"prewarmed https://{origin.authority}: 2 of 2 open")
        for _ in range(3):
            answer = curl(
                fastcar.socket, origin.url, "--cacert", fastcar.ca_file, "--data", "there?"
            )
            self.assertEqual(answer.body, b"there?", answer)
        self.assertEqual(origin.accepted, 2)

    def test_after_loss(self) -> None:
        """One that its origin ends is replaced."""
        opened = threading.Semaphore(0)
        more = threading.Event()

        def script(peer: Peer) -> None:
            opened.release()
            if more.is_set():
                echo(peer)

        origin = self.origin(script)
        self.start_fastcar("--prewarm", origin.url)
        self.assertTrue(opened.acquire(timeout=LIMIT))
        more.set()
        self.assertTrue(opened.acquire(timeout=LIMIT))


class DownTests(PeersTestCase):
    """An origin that is not there."""

    def test_fail_fast(self) -> None:
        """After five failures nobody waits for the next; when the origin is back, one request finds
        out, and the others are served again."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        fastcar = self.start_fastcar()
        answers = [curl(fastcar.socket, url) for _ in range(6)]
        self.assertEqual([answer.status for answer in answers], [502] * 5 + [503])
        last = answers[-1]
        self.assertEqual(last.proxy_error, "destination_unavailable", last)
        self.assertIn(last.values("Retry-After"), (["1"], ["2"]))
        with socket.create_server(("127.0.0.1", port)) as listener:
            serving = threading.Thread(target=_serve_one, args=(listener,), daemon=True)
            serving.start()
            answer = curl(fastcar.socket, url, "--retry", "4", "--data", "up")
            self.assertTrue(answer.body.endswith(b"up"), answer)


def _serve_one(listener: socket.socket) -> None:
    peer = Peer(listener.accept()[0])
    try:
        echo(peer)
    except (EOFError, OSError):
        peer.close()
