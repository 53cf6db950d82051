"""Origins that authenticate a connection, for whatever comes over it (RFC 4559 section 6): nobody
but the client that has authenticated it may ever use it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import NamedTuple

from tests.peers.case import PeersTestCase
from tests.peers.clients import php
from tests.peers.ntlm import PASSWORD, USER, NTLMServer
from tests.peers.processes import LIMIT
from tests.peers.sockets import Message, Peer

CREDENTIALS = f"{USER}:{PASSWORD}"
#: Prints bodies and status codes of the last responses only.
NTLM = ("--no-include", "-w", "%{http_code};", "--ntlm", "-u", CREDENTIALS)
#: What authenticates at once, as Kerberos does.
NEGOTIATE = b"Authorization: Negotiate " + USER.encode() + b"\r\n"


class Served(NamedTuple):
    """What the origin saw of a request: on its how manieth connection, and as whose."""

    connection: int
    line: bytes
    scheme: bytes
    user: str


class Gatekeeper:
    """An origin that tells everybody who they are: the one who has authenticated the connection.

    Requests for /hold are answered when `gate` is set. A connection is ended, in silence, behind
    the answer to a request for /last.
    """

    def __init__(self) -> None:
        self.served: list[Served] = []
        self.held: Queue[int] = Queue()
        self.gate = threading.Event()
        #: Numbers of connections that have ended.
        self.ended: Queue[int] = Queue()
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        with self._lock:
            self._count += 1
            number = self._count
        ntlm = NTLMServer()
        try:
            while self._serve(peer, ntlm, number):
                pass
        finally:
            self.ended.put(number)

    def _serve(self, peer: Peer, ntlm: NTLMServer, number: int) -> bool:
        request = peer.read_message()
        scheme, offer = self._authenticate(ntlm, request)
        path = request.start_line.split()[1]
        self.served.append(Served(number, request.start_line, scheme, ntlm.user))
        if path == b"/hold":
            self.held.put(number)
            self.gate.wait(LIMIT)
        if ntlm.user:
            answer = b"%b %d %b" % (ntlm.user.encode(), number, request.body)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        else:
            peer.send(b"HTTP/1.1 401 Who\r\nContent-Length: 4\r\n%b\r\nwho?" % offer)
        return path != b"/last"

    def _authenticate(self, ntlm: NTLMServer, request: Message) -> tuple[bytes, bytes]:
        """Judge the credentials; return their scheme, and what a 401 has to offer."""
        for credentials in request.values(b"Authorization"):
            scheme, _, token = credentials.partition(b" ")
            if scheme == b"NTLM":
                answer = ntlm.receive(token)
                return scheme, b"WWW-Authenticate: NTLM%b\r\n" % (answer and b" " + answer)
            if scheme == b"Negotiate":
                ntlm.user = token.decode()
            return scheme, b""
        return b"", b"WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n"


class AuthenticatedTestCase(PeersTestCase):
    """Has such an origin, and a fastcar that knows no other."""

    def setUp(self) -> None:
        super().setUp()
        self.gatekeeper = Gatekeeper()
        self.raw = self.origin(self.gatekeeper)

    def get(self, client: Peer, path: bytes = b"/", fields: bytes = b"") -> Message:
        """An exchange on a client's connection."""
        authority = self.raw.authority.encode()
        client.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (path, authority, fields))
        return client.read_message()

    def assert_anonymous(self, *clients: Peer) -> None:
        """Whoever comes without credentials is nobody."""
        for client in clients or (self.dial(),):
            message = self.get(client)
            self.assertEqual(message.start_line, b"HTTP/1.1 401 Who")


class CurlTests(AuthenticatedTestCase):
    """curl --ntlm."""

    def test_dance(self) -> None:
        """The three messages go over one connection, which ends with the client's."""
        answer = self.curl(self.raw.url, *NTLM)
        self.assertEqual(answer.body, b"alice 1 200;", answer)
        self.assertEqual([each.scheme for each in self.gatekeeper.served], [b"NTLM", b"NTLM"])
        self.assertEqual(self.gatekeeper.ended.get(timeout=LIMIT), 1)
        self.assert_anonymous()
        self.assertEqual(self.raw.accepted, 2)

    def test_after_an_anonymous_request(self) -> None:
        """The connection may be one that has served others before; from then on it does not."""
        other = self.dial()
        self.assert_anonymous(other)
        answer = self.curl(self.raw.url, *NTLM)
        self.assertEqual(answer.body, b"alice 1 200;", answer)
        self.assertEqual(self.gatekeeper.ended.get(timeout=LIMIT), 1)
        self.assert_anonymous(other)

    def test_wrong_password(self) -> None:
        """A refusal is passed on, and nobody is authenticated."""
        answer = self.curl(self.raw.url, *NTLM[:-1], f"{USER}:guess")
        self.assertEqual(answer.body, b"who?401;", answer)
        self.assert_anonymous()

    def test_tls(self) -> None:
        """The same over TLS, on both sides."""
        self.raw = self.origin(self.gatekeeper, "https")
        answer = self.curl(self.raw.url, *NTLM)
        self.assertEqual(answer.body, b"alice 1 200;", answer)
        self.assertEqual(self.gatekeeper.ended.get(timeout=LIMIT), 1)

    def test_others_meanwhile(self) -> None:
        """While the client's connection is authenticated, busy or idle, others are nobody."""
        early = [self.dial() for _ in range(3)]
        self.assert_anonymous(*early)
        with ThreadPoolExecutor(1) as executor:
            both = executor.submit(self.curl, self.raw.url + "hold", *NTLM, self.raw.url)
            held = self.gatekeeper.held.get(timeout=LIMIT)
            self.assert_anonymous(*early, *[self.dial() for _ in range(20)])
            self.gatekeeper.gate.set()
            answer = both.result(LIMIT)
        self.assertEqual(answer.body, 2 * (b"alice %d 200;" % held), answer)
        # curl sends no credentials again: the connection has them.
        [last] = [each for each in self.gatekeeper.served if b"/hold" in each.line]
        self.assertEqual((last.connection, last.scheme, last.user), (held, b"", USER))
        self.assertEqual(self.gatekeeper.ended.get(timeout=LIMIT), held)
        self.assert_anonymous(*early)

    def test_connection_lost(self) -> None:
        """When the origin ends the connection the client's ends too, so that curl begins anew."""
        answer = self.curl(self.raw.url, *NTLM, self.raw.url, self.raw.url + "last")
        self.assertEqual(answer.body, b"alice 1 200;alice 1 200;alice 2 200;", answer)


class PHPTests(AuthenticatedTestCase):
    """PHP's curl with CURLAUTH_NTLM."""

    def test_handle(self) -> None:
        """The requests of one handle, POSTs among them, go over the connection that the first of
        them has authenticated."""
        fixed = {
            "UNIX_SOCKET_PATH": self.fastcar.socket,
            "HTTPAUTH": 8,  # CURLAUTH_NTLM
            "USERPWD": CREDENTIALS,
        }
        one = {**fixed, "URL": self.raw.url}
        two = {**fixed, "URL": self.raw.url + "two", "POSTFIELDS": "a=1"}
        answers = php(one, two, two, one)
        bodies = [answer.body for answer in answers]
        self.assertEqual(bodies, [b"alice 1 ", b"alice 1 a=1", b"alice 1 a=1", b"alice 1 "])
        self.assertEqual(self.raw.accepted, 1)
        self.assertEqual(self.gatekeeper.ended.get(timeout=LIMIT), 1)

    def test_post_first(self) -> None:
        """A POST may begin the dance; the origin gets its body once."""
        request = {
            "UNIX_SOCKET_PATH": self.fastcar.socket,
            "HTTPAUTH": 8,
            "USERPWD": CREDENTIALS,
            "URL": self.raw.url,
            "POSTFIELDS": "x" * 100_000,
        }
        [answer] = php(request)
        self.assertEqual(answer.body, b"alice 1 " + b"x" * 100_000)


class NegotiateTests(AuthenticatedTestCase):
    """Credentials that authenticate a connection without a challenge."""

    def test_own_connection(self) -> None:
        """The client keeps its connection, others get others, and when it goes that one ends."""
        client = self.dial()
        self.assertEqual(self.get(client, fields=NEGOTIATE).body, b"alice 1 ")
        self.assert_anonymous(self.dial(), self.dial())
        self.assertEqual(self.get(client).body, b"alice 1 ")
        self.assertEqual(self.raw.accepted, 2)
        client.close()
        self.assertEqual(self.gatekeeper.ended.get(timeout=LIMIT), 1)
        self.assert_anonymous()

    def test_many_clients(self) -> None:
        """Clients that authenticate at the same time get a connection each."""
        clients = [self.dial() for _ in range(10)]
        bodies = [self.get(client, fields=NEGOTIATE).body for client in clients]
        self.assertEqual(len(set(bodies)), 10)
        self.assertEqual([self.get(client).body for client in clients], bodies)

    def test_connection_lost(self) -> None:
        """When the origin ends the connection the client's ends too: with nothing in between that
        could be taken for an answer."""
        client = self.dial()
        self.assertEqual(self.get(client, b"/last", NEGOTIATE).body, b"alice 1 ")
        self.assertEqual(client.read_to_end(), b"")

    def test_end_of_the_service(self) -> None:
        """The end of the service ends the connection."""
        fastcar = self.start_fastcar()
        client = self.dial(fastcar)
        self.assertEqual(self.get(client, fields=NEGOTIATE).body, b"alice 1 ")
        fastcar.stop()
        self.assertEqual(self.gatekeeper.ended.get(timeout=LIMIT), 1)
        self.assertEqual(client.read_to_end(), b"")
