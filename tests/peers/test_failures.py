"""When the origin fails, the client is told what failed, and never gets a part for the whole."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from tests.peers.case import PeersTestCase
from tests.peers.clients import Answer, curl
from tests.peers.sockets import Peer, RawOrigin, echo

#: curl's error numbers.
PARTIAL_FILE = 18
EMPTY_REPLY = 52
RECEIVE_ERROR = 56
BROKEN_OFF = (PARTIAL_FILE, EMPTY_REPLY, RECEIVE_ERROR)


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port that takes no connection and refuses none: its queue of them is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def closed_port() -> int:
    """A port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class ConnectTests(PeersTestCase):
    """No connection to the origin."""

    def check(self, answer: Answer, status: int, error: str, origin: str) -> None:
        """The response and one line of the log say what failed, and for which origin."""
        self.assertEqual((answer.exit_status, answer.status), (0, status), answer)
        self.assertEqual(answer.proxy_error, error, answer)
        self.assertEqual(answer.values("Content-Type")[0].partition(";")[0], "text/plain")
        self.assertIn(origin, answer.body.decode())
        self.assertEqual(answer.body.count(b"\n"), 1)

    def test_refused(self) -> None:
        """A refused connection is 502."""
        origin = f"http://127.0.0.1:{closed_port()}"
        answer = self.curl(f"{origin}/path?secret", "-u", "me:password")
        self.check(answer, 502, "connection_refused", origin)
        line = self.fastcar.logs(f"GET {origin}: ")
        self.assertRegex(line, r"connection_refused.* after \d+\.\d+ s")
        for secret in ("path", "secret", "me:", "password"):
            self.assertNotIn(secret, line)

    def test_refused_https(self) -> None:
        """So it is inside TLS."""
        origin = f"https://127.0.0.1:{closed_port()}"
        self.check(self.curl(f"{origin}/"), 502, "connection_refused", origin)

    def test_head(self) -> None:
        """The response to HEAD has no body, and the connection goes on."""
        url = f"http://127.0.0.1:{closed_port()}/"
        answer = self.curl(url, "--head", url)
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)

    def test_unknown_name(self) -> None:
        """A name that nobody has is 502 (RFC 2606: .invalid never exists)."""
        self.check(self.curl("http://no.invalid/"), 502, "dns_error", "http://no.invalid:80")

    def test_unusual_name(self) -> None:
        """A name that is no host name of RFC 952 is looked up all the same."""
        for name in ("my_service.invalid", "-x.invalid"):
            answer = self.curl(f"http://{name}/")
            self.check(answer, 502, "dns_error", f"http://{name}:80")

    def test_impossible_name(self) -> None:
        """A name that DNS cannot hold is an error like others, and at once."""
        for name in ("a" * 64 + ".invalid", "a..invalid"):
            client = self.dial()
            client.send(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            self.assertIn(client.read_message().start_line[9:12], (b"400", b"502"))

    def test_connect_timeout(self) -> None:
        """Nobody accepts the connection: 504 after --connect-timeout."""
        fastcar = self.start_fastcar("--connect-timeout", "0.3")
        with deaf_port() as port:
            origin = f"http://127.0.0.1:{port}"
            self.check(curl(fastcar.socket, origin), 504, "connection_timeout", origin)

    def test_handshake_timeout(self) -> None:
        """The origin accepts, but does not answer in TLS: 504 after --connect-timeout."""
        fastcar = self.start_fastcar("--connect-timeout", "0.3")
        origin = self.origin(lambda peer: _ignore(peer.read_to_end()))
        url = f"https://{origin.authority}"
        answer = curl(fastcar.socket, url, "--cacert", fastcar.ca_file)
        self.check(answer, 504, "connection_timeout", url)

    def test_another_origin_meanwhile(self) -> None:
        """Clients of other origins do not wait with those of an origin that is down."""
        with deaf_port() as port:
            waiting = [self.dial() for _ in range(50)]
            for client in waiting:
                client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
            self.assert_still_serving()
            for client in waiting:
                client.close()


class ResponseTests(PeersTestCase):
    """A connection, but no response, or a broken one."""

    def response_of(self, script: Callable[[Peer], object], *arguments: str) -> Answer:
        """What curl gets from an origin that runs `script` when a request is there."""

        def run(peer: Peer) -> None:
            peer.read_message()
            script(peer)

        return self.curl(self.origin(run).url, *arguments)

    def sends(self, data: bytes) -> Callable[[Peer], object]:
        return lambda peer: peer.send(data)

    def test_closed(self) -> None:
        """An origin that closes without a word is 502."""
        answer = self.response_of(lambda peer: None)
        self.assertEqual((answer.status, answer.proxy_error), (502, "connection_terminated"))

    def test_reset(self) -> None:
        """So is one that resets the connection."""
        answer = self.response_of(Peer.reset)
        self.assertEqual((answer.status, answer.proxy_error), (502, "connection_terminated"))

    def test_not_http(self) -> None:
        """What is not HTTP is 502, and nothing of it reaches the client."""
        answer = self.response_of(self.sends(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"))
        self.assertEqual((answer.status, answer.proxy_error), (502, "http_protocol_error"))
        self.assertNotIn(b"OpenSSH", answer.head + answer.body)

    def test_ambiguous(self) -> None:
        """So is a response with two lengths."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
        answer = self.response_of(self.sends(head))
        self.assertEqual((answer.status, answer.proxy_error), (502, "http_protocol_error"))

    def test_truncated_head(self) -> None:
        """Half a head is no response."""
        answer = self.response_of(self.sends(b"HTTP/1.1 200 OK\r\nContent-Le"))
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)

    def test_truncated_length(self) -> None:
        """A body shorter than its Content-Length is broken off, not ended."""
        answer = self.response_of(self.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
        self.assertIn(answer.exit_status, BROKEN_OFF, answer)

    def test_truncated_chunks(self) -> None:
        """So is a chunked one without its last chunk."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = self.response_of(self.sends(head + b"4\r\nhalf\r\n"))
        self.assertIn(answer.exit_status, BROKEN_OFF, answer)

    def test_broken_chunks(self) -> None:
        """So is one with a chunk size that is none."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = self.response_of(self.sends(head + b"4\r\nhalf\r\nzz\r\n"))
        self.assertIn(answer.exit_status, BROKEN_OFF, answer)
        self.assertNotIn(b"zz", answer.body)

    def test_close_delimited(self) -> None:
        """A body that ends with the connection is complete."""
        answer = self.response_of(self.sends(b"HTTP/1.1 200 OK\r\n\r\neverything"))
        self.assertEqual((answer.exit_status, answer.body), (0, b"everything"), answer)

    def test_more_than_announced(self) -> None:
        """What comes behind a response is no part of it, nor of the next one."""
        answer = self.response_of(
            self.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 666 Evil\r\n\r\n")
        )
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        self.assert_still_serving()

    def test_early_response(self) -> None:
        """An origin that answers before it has read the body gets through to the client."""
        early = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(early)
            peer.read_to_end()

        client = self.dial()
        origin = self.origin(script)
        client.send(b"POST / HTTP/1.1\r\nHost: %b\r\n" % origin.authority.encode())
        client.send(b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
        answer = client.read_message()
        self.assertEqual((answer.start_line[9:12], answer.body), (b"403", b"no\n"))
        self.assertEqual(answer.values(b"Connection"), [b"close"])

    def test_response_timeout(self) -> None:
        """No response within --response-timeout: 504."""
        fastcar = self.start_fastcar("--response-timeout", "0.3")
        origin = self.origin(lambda peer: _ignore(peer.read_to_end()))
        answer = curl(fastcar.socket, origin.url)
        self.assertEqual((answer.status, answer.proxy_error), (504, "http_response_timeout"))

    def test_stall_timeout(self) -> None:
        """A body that stands still for --stall-timeout is broken off."""

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            peer.read_to_end()

        fastcar = self.start_fastcar("--stall-timeout", "0.3")
        answer = curl(fastcar.socket, self.origin(script).url)
        self.assertIn(answer.exit_status, BROKEN_OFF, answer)
        fastcar.logs("connection_read_timeout")

    def test_client_goes_away(self) -> None:
        """When the client goes, its request is broken off at the origin."""

        def script(peer: Peer) -> None:
            peer.read_head()
            arrived.append(origin)
            client.socket.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(ConnectionError):
                arrived.append(peer.read_to_end())

        arrived: list[object] = []
        client = self.dial()
        origin = self.origin(script)
        client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % origin.authority.encode())
        self.assertEqual(client.read_to_end(), b"")
        origin.close()
        self.assertTrue(arrived)
        self.assert_still_serving()


class RetryTests(PeersTestCase):
    """Requests on kept connections that the origin closes just then."""

    def origin_once(self) -> RawOrigin:
        """An origin that answers the first request of a connection, and drops it at the second."""

        def script(peer: Peer) -> None:
            for close in (False, True):
                body = peer.read_message().body
                if close:
                    return
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        return self.origin(script)

    def test_get(self) -> None:
        """A GET on a kept connection that is lost is sent again on a new one."""
        origin = self.origin_once()
        answers = [self.curl(origin.url) for _ in range(4)]
        self.assertEqual([answer.status for answer in answers], [200] * 4)
        self.assertEqual(origin.accepted, 4)

    def test_post(self) -> None:
        """A POST is never sent twice: 502."""
        origin = self.origin_once()
        answers = [self.curl(origin.url, "--data", "order") for _ in range(3)]
        self.assertEqual([answer.status for answer in answers], [200, 502, 200])
        self.assertEqual(origin.accepted, 2)

    def test_closed_while_idle(self) -> None:
        """A connection that the origin has closed while it was idle is not used, even by POST."""

        def script(peer: Peer) -> None:
            peer.read_message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        origin = self.origin(script)
        answers = [self.curl(origin.url, "--data", "order") for _ in range(5)]
        self.assertEqual([answer.status for answer in answers], [200] * 5)


class IdleTests(PeersTestCase):
    """Connections to origins that nobody needs."""

    def test_idle_timeout(self) -> None:
        """A connection that has been idle for --idle-timeout is closed."""
        ends: list[bytes] = []

        def script(peer: Peer) -> None:
            peer.read_message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            ends.append(peer.read_to_end())

        origin = self.origin(script)
        fastcar = self.start_fastcar("--idle-timeout", "0.2")
        self.assertEqual(curl(fastcar.socket, origin.url).status, 200)
        origin.wait()
        self.assertEqual(ends, [b""])

    def test_none_kept(self) -> None:
        """--max-idle-per-origin 0 keeps none."""
        origin = self.origin(echo)
        fastcar = self.start_fastcar("--max-idle-per-origin", "0")
        for _ in range(3):
            self.assertEqual(curl(fastcar.socket, origin.url, "--data", "x").body, b"x")
        self.assertEqual(origin.accepted, 3)


def _ignore(_: object) -> None:
    """Make a script of an expression."""
