"""fastcar fastcgi: what the client gets of PHP's response."""

from __future__ import annotations

import http.client
import json

from tests.peers.gateway import GatewayTestCase, read_to_any_end, request, target
from tests.peers.sockets import Message
from tests.peers.test_fastcgi_requests import SIZES, content


class ResponseTests(GatewayTestCase):
    """What scripts answer."""

    def respond(
        self, *fields: str, status: int = 200, body: str = "", method: str = "GET"
    ) -> Message:
        """The response of a script that answers with these."""
        path = target("respond.php", status=status, fields=fields, body=body)
        return self.ask(path, method=method)

    def test_sizes(self) -> None:
        """A body of any size arrives as it is, whether PHP tells its length or not."""
        for size in SIZES:
            for told in (0, 1):
                answer = self.ask(target("bytes.php", count=size, told=told))
                self.assertEqual(answer.body, content(size))
                if told:
                    self.assertEqual(answer.values(b"Content-Length"), [b"%d" % size])

    def test_both_ways(self) -> None:
        """20 MB are echoed."""
        body = content(20_000_000)
        for method in ("PUT", "POST"):
            sent = ("-X", method, "-H", "Expect:", "--data-binary", "@-")
            answer = self.curl_site("/echo.php", *sent, data=body)
            self.assertEqual((answer.exit_status, answer.status), (0, 200), answer.error)
            self.assertTrue(answer.body == body)

    def test_status(self) -> None:
        """Status is the status, and no field."""
        for status in (200, 201, 299, 301, 400, 403, 404, 418, 500, 503, 599):
            answer = self.respond(status=status, body="text")
            self.assertEqual((answer.status, answer.body), (status, b"text"))
            self.assertEqual(answer.values(b"Status"), [])

    def test_reason(self) -> None:
        """A script may name the reason."""
        answer = self.respond("HTTP/1.1 404 Gone fishing")
        self.assertEqual(answer.start_line, b"HTTP/1.1 404 Gone fishing")

    def test_location(self) -> None:
        """Location alone is a redirect for the client, whatever it names."""
        for location in ("/index.php", "https://other.test/x", "relative"):
            answer = self.respond(f"Location: {location}")
            self.assertEqual(answer.status, 302)
            self.assertEqual(answer.values(b"Location"), [location.encode()])
        answer = self.respond("Location: /made", status=201)
        self.assertEqual((answer.status, answer.values(b"Location")), (201, [b"/made"]))

    def test_local_redirect(self) -> None:
        """A path in Location without a Status is answered by what is there (RFC 3875, 6.2.2)."""
        here = ["Location: /variables.php?x=1", "HTTP/1.1 200 OK"]
        for method, body in (("GET", None), ("POST", b"a=1")):
            answer = self.ask(target("respond.php", fields=here), method=method, body=body)
            self.assertEqual((answer.status, answer.values(b"Location")), (200, []))
            found = json.loads(answer.body)["server"]
            self.assertEqual((found["REQUEST_METHOD"], found["QUERY_STRING"]), ("GET", "x=1"))
            self.assertEqual(found["SCRIPT_NAME"], "/variables.php")

    def test_cookies(self) -> None:
        """Several Set-Cookie stay several, in their order."""
        cookies = ["a=1; Path=/", "b=2; Expires=Wed, 01 Jan 2031 00:00:00 GMT", "c=3"]
        answer = self.respond(*[f"Set-Cookie: {cookie}" for cookie in cookies])
        self.assertEqual(answer.values(b"Set-Cookie"), [cookie.encode() for cookie in cookies])

    def test_fields(self) -> None:
        """Fields pass as they are; there is one Date."""
        answer = self.respond("X-Some: thing", "Content-Type: image/png", 'ETag: "x"')
        self.assertEqual(answer.values(b"X-Some"), [b"thing"])
        self.assertEqual(answer.values(b"Content-Type"), [b"image/png"])
        self.assertEqual(answer.values(b"ETag"), [b'"x"'])
        self.assertEqual(len(answer.values(b"Date")), 1)
        date = "Wed, 01 Jan 2020 00:00:00 GMT"
        self.assertEqual(self.respond(f"Date: {date}").values(b"Date"), [date.encode()])

    def test_large_head(self) -> None:
        """A head of many fields arrives."""
        fields = [f"X-Field-{number}: {'v' * 100}" for number in range(60)]
        answer = self.respond(*fields, body="end")
        self.assertEqual(answer.values(b"X-Field-59"), [b"v" * 100])
        self.assertEqual(answer.body, b"end")

    def test_bodiless(self) -> None:
        """After responses without a body the connection serves on."""
        peer = self.dial_site()
        for status, method in ((204, "GET"), (304, "GET"), (200, "HEAD"), (404, "HEAD")):
            path = target("respond.php", status=status, body="none" * (method == "HEAD"))
            peer.send(request(path, method=method))
            answer = peer.read_message(bodiless=True)
            self.assertEqual(answer.status, status)
            if status == 204:
                self.assertEqual(answer.values(b"Content-Length"), [])
            peer.send(request(target("respond.php", body="full")))
            self.assertEqual(peer.read_message().body, b"full")

    def test_bodiless_with_body(self) -> None:
        """What a script writes where no body may be is dropped."""
        peer = self.dial_site()
        for status in (204, 304):
            peer.send(request(target("respond.php", status=status, body="none")))
            self.assertEqual(peer.read_message(bodiless=True).status, status)
            peer.send(request(target("respond.php", body="full")))
            self.assertEqual(peer.read_message().body, b"full")

    def test_head(self) -> None:
        """A HEAD tells the length that a script tells."""
        answer = self.respond("Content-Length: 4", body="none", method="HEAD")
        self.assertEqual(answer.values(b"Content-Length"), [b"4"])

    def test_pipelined(self) -> None:
        """Requests that come at once are answered in their order."""
        paths = [target("respond.php", body=str(number)) for number in range(10)]
        peer = self.dial_site(b"".join(map(request, paths)))
        bodies = [peer.read_message().body for _ in paths]
        self.assertEqual(bodies, [b"%d" % number for number in range(10)])

    def test_old_client(self) -> None:
        """HTTP/1.0 gets a response without chunks, and the end of the connection."""
        path = target("bytes.php", count=100_000).encode()
        peer = self.dial_site(b"GET %b HTTP/1.0\r\n\r\n" % path)
        head = peer.read_head()
        self.assertNotIn(b"chunked", head.lower())
        self.assertEqual(peer.read_to_end(), content(100_000))

    def test_close(self) -> None:
        """A client that says so is served, and left."""
        peer = self.dial_site(request(target("respond.php", body="x"), "Connection: close"))
        self.assertEqual(peer.read_message().body, b"x")
        self.assertEqual(peer.read_to_end(), b"")

    def test_session(self) -> None:
        """A session lasts, by its cookie."""
        client = http.client.HTTPConnection("127.0.0.1", self.site.gateway.port)
        self.addCleanup(client.close)
        cookie = ""
        for count in range(1, 6):
            client.request("GET", "/session.php", headers={"Cookie": cookie} if cookie else {})
            answer = client.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, b"%d" % count))
            cookie = (answer.getheader("Set-Cookie") or cookie).partition(";")[0]

    def test_log(self) -> None:
        """What a script logs is in our log, with its name, and not in the response."""
        answer = self.ask(target("respond.php", log="broken window", body="fine"))
        self.assertEqual(answer.body, b"fine")
        self.assertNotIn(b"broken", answer.head)
        line = self.site.gateway.logs("broken window")
        self.assertIn("respond.php", line)


class BrokenResponseTests(GatewayTestCase):
    """Scripts that answer what nobody may."""

    def raw(self, *fields: str, body: str = "") -> bytes:
        """All that a client gets, with a second request behind the first one."""
        first = target("respond.php", fields=fields, body=body)
        second = target("respond.php", body="second")
        peer = self.dial_site(request(first) + request(second, "Connection: close"))
        return peer.read_to_end()

    def test_invalid_head(self) -> None:
        """A head that is none is a 502, which does not quote it."""
        for field in ("No Name: x", ": x", "X-\x01: x"):
            answer = self.ask(target("respond.php", fields=[field], body="body"))
            self.assertEqual(answer.status, 502, field)
            self.assertNotIn(b"body", answer.body)
        self.assert_serving()

    def test_invalid_length(self) -> None:
        """So is a length that is none."""
        for fields in (["Content-Length: x"], ["Content-Length: -1"], ["Content-Length: 1, 2"]):
            answer = self.ask(target("respond.php", fields=fields, body="body"))
            self.assertEqual(answer.status, 502, fields)

    def test_invalid_status(self) -> None:
        """So is a status that is none, and an interim one, which a gateway cannot pass on."""
        for status in ("99", "1000", "abc", "-1"):
            answer = self.ask(target("respond.php", fields=[f"Status: {status}"]))
            self.assertEqual(answer.status, 502, status)

    def test_connection_fields(self) -> None:
        """A script has no say about the connection."""
        fields = ("Transfer-Encoding: chunked", "Connection: close, X-A", "Keep-Alive: x")
        peer = self.dial_site(request(target("respond.php", fields=fields, body="5\r\nabc")))
        answer = peer.read_message()
        self.assertEqual((answer.status, answer.body), (200, b"5\r\nabc"))
        self.assertEqual(answer.values(b"Keep-Alive"), [])
        peer.send(request(target("respond.php", body="second")))
        self.assertEqual(peer.read_message().body, b"second")

    def test_longer_than_told(self) -> None:
        """What is longer than told is cut: the next response is where it belongs."""
        data = self.raw("Content-Length: 3", body="abcdef HTTP/1.1 666 No\r\n\r\n")
        self.assertIn(b"\r\n\r\nabc", data)
        self.assertNotIn(b"666", data)
        self.assertNotIn(b"abcdef", data)

    def test_shorter_than_told(self) -> None:
        """What is shorter than told is a 502, or broken off if some of it was passed on."""
        answer = self.ask(target("respond.php", fields=["Content-Length: 9"], body="abc"))
        self.assertEqual(answer.status, 502)
        gate = self.gate()
        path = target("parts.php", gate=gate.name, parts=["abc"], fields=["Content-Length: 9"])
        peer = self.dial_site(request(path))
        peer.read_through(b"\r\n\r\nabc")
        gate.let_on()
        self.assertEqual(read_to_any_end(peer), b"")

    def test_fatal_error(self) -> None:
        """An error before anything is written is PHP's own 500."""
        answer = self.ask(target("respond.php", fatal=1, body=""))
        self.assertIn(answer.status, (200, 500))
        self.assertNotIn(b"no_such_function", answer.body)
