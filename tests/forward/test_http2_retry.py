"""When a request over HTTP/2 is sent again, and when never (RFC 9110 section 9.2.2, RFC 9113
section 8.7); and what its client is told when it is not."""

from __future__ import annotations

from h2.errors import ErrorCodes

from fastcar_tw.forward.exchange import MAX_REPLAY, MAX_SENDS
from fastcar_tw.testing import Peer

from .http2 import OK, HTTP2TestCase, Origin2, answers, dechunked
from .support import CHUNKED, GET, POST, logged, request
from .support import OK as OK1

KEY = b"Idempotency-Key: 1"
WITH_LENGTH = (*OK, (b"content-length", b"100"))

#: More than is kept, and not all of it yet.
LARGE = request(b"/", b"Content-Length: 1000000", method=b"POST") + bytes(MAX_REPLAY + 1)


class GoAwayTests(HTTP2TestCase):
    """An origin that takes leave (RFC 9113 section 6.8)."""

    def posts(self, count: int) -> list[Peer]:
        """Have POSTs under way, each with a body of its own."""
        return self.ask(*(request(method=b"POST", body=b"%d" % each) for each in range(count)))

    def contents(self, origin: Origin2) -> list[bytes]:
        """The bodies that have come, of all requests."""
        return [origin.content_of(stream) for stream in origin.requests]

    def test_above(self) -> None:
        """What is above the last stream is sent again, on a new connection, POSTs too."""
        clients = self.posts(4)
        first = self.h2
        first.go_away(3)
        self.assertEqual(len(self.proxy.connects), 2)
        self.assertEqual(self.contents(self.h2), [b"2", b"3"])
        first.answer_all()
        self.h2.answer_all()
        self.assertEqual(answers(clients), [b"/"] * 4)

    def test_once(self) -> None:
        """It is sent again once, and answered once."""
        self.posts(1)
        self.h2.go_away(0)
        second = self.h2
        self.assertEqual(self.contents(second), [b"0"])
        self.elapse(3)
        self.assertEqual(len(second.requests), 1)
        self.assertEqual(len(self.proxy.connects), 2)

    def test_below(self) -> None:
        """What is not above it goes on, and is not sent again, even if it then fails."""
        clients = self.posts(2)
        first = self.h2
        first.go_away(3)
        first.respond(1, b"fine")
        first.peer.close()
        self.run_origins()
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertEqual(answers(clients[:1]), [b"fine"])
        self.assert_error(clients[1], 502, "connection_terminated")

    def test_drains(self) -> None:
        """The connection takes nothing new, and closes with its last stream."""
        clients = self.posts(2)
        first = self.h2
        first.go_away(3)
        clients += self.ask(GET)
        self.assertEqual([len(each.requests) for each in self.origins], [2, 1])
        first.respond(1, b"x")
        self.assertFalse(first.peer.ended)
        first.respond(3, b"x")
        self.run_origins()
        self.assertTrue(first.peer.ended_cleanly)
        self.h2.answer_all()
        self.assertEqual(answers(clients), [b"x", b"x", b"/"])
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_idle(self) -> None:
        """Without streams it closes at once, and the next request takes another."""
        first = self.warm_up()
        first.go_away(1)
        self.run_origins()
        self.assertTrue(first.peer.ended_cleanly)
        self.assert_alive()
        self.assertEqual(len(self.origins), 2)

    def test_two_steps(self) -> None:
        """An origin may first say that it will take leave, and later from where on."""
        clients = self.posts(3)
        first = self.h2
        first.go_away(2**31 - 1)
        self.assertEqual(len(self.proxy.connects), 1)
        clients += self.ask(GET)
        self.assertEqual([len(each.requests) for each in self.origins], [3, 1])
        first.go_away(3)
        self.run_origins()
        self.assertEqual(self.contents(self.h2), [b"", b"2"])
        first.answer_all()
        self.h2.answer_all()
        self.assertEqual(len(answers(clients)), 4)

    def test_with_an_error(self) -> None:
        """The same if it says what has gone wrong."""
        clients = self.posts(2)
        self.h2.go_away(1, ErrorCodes.ENHANCE_YOUR_CALM)
        self.assertEqual(self.contents(self.h2), [b"1"])
        for origin in self.origins:
            origin.answer_all()
        self.assertEqual(answers(clients), [b"/"] * 2)

    def test_and_hangs_up(self) -> None:
        """Above stays above when the connection ends right behind it; below, only what may be is
        sent again."""
        self.warm_up()
        post, get = self.ask(POST, request(b"/get"))
        late = self.ask(request(b"/late", method=b"POST", body=b"late"))
        first = self.h2
        first.go_away(5)
        first.peer.close()
        self.run_origins()
        self.assert_error(post, 502, "connection_terminated")
        self.assertEqual(sorted(self.h2.paths), [b"/get", b"/late"])
        self.h2.answer_all()
        self.assertEqual(answers([get, *late]), [b"/get", b"/late"])

    def test_again_and_again(self) -> None:
        """Origins that never take a request are not asked for ever."""
        [client] = self.posts(1)
        self.assertEqual(MAX_SENDS, 8)
        for _ in range(MAX_SENDS):
            self.h2.go_away(0)
        self.run_origins()
        self.assertEqual(len(self.proxy.connects), MAX_SENDS)
        self.assert_error(client, 502, "connection_terminated")

    def test_large_upload(self) -> None:
        """An upload of which more was sent than is kept cannot be sent again."""
        self.send(LARGE)
        self.h2.go_away(0)
        self.assertEqual(len(self.proxy.connects), 1)
        self.assert_error(self.client, 502, "connection_terminated")

    def test_upload(self) -> None:
        """One that is kept is sent again, however it came."""
        self.send(request(b"/", b"Content-Length: 10", method=b"POST") + b"12345")
        self.send(b"678")
        self.h2.go_away(0)
        self.assertEqual(self.contents(self.h2), [b"12345678"])
        self.send(b"90")
        self.assertEqual(self.contents(self.h2), [b"1234567890"])
        self.assertTrue(self.h2.has_ended(1))

    def test_answered_upload(self) -> None:
        """Nothing is kept of one that was answered."""
        self.send(request(b"/", b"Content-Length: 10", method=b"POST") + b"12345")
        self.h2.respond(1, b"x", ended=False)
        self.run_origins()
        self.h2.go_away(0)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_beginning_of_an_upload(self) -> None:
        """One of which nothing but the beginning has come is sent again, and goes on there."""
        self.send(request(b"/", b"Content-Length: 10", method=b"POST") + b"12345")
        self.h2.go_away(0)
        self.assertEqual(self.contents(self.h2), [b"12345"])
        self.send(b"67890")
        self.assertEqual(self.contents(self.h2), [b"1234567890"])
        self.assertTrue(self.h2.has_ended(1))


class RefusedTests(HTTP2TestCase):
    """REFUSED_STREAM: the origin has provably done nothing."""

    def refuse(self) -> None:
        """Refuse what came last."""
        self.h2.reset(self.h2.requests[-1], ErrorCodes.REFUSED_STREAM)
        self.run_origins()

    def test_post(self) -> None:
        """A POST is sent again, with its body."""
        self.send(POST)
        self.refuse()
        self.assertEqual(self.h2.requests, [1, 3])
        self.assertEqual(self.h2.content_of(3), b"hello")
        self.h2.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/")

    def test_chunked(self) -> None:
        """So is one in chunks, with its trailers."""
        body = b"2\r\nhi\r\n0\r\nX: y\r\n\r\n"
        self.send(request(b"/", CHUNKED, method=b"POST", body=body))
        self.refuse()
        self.assertEqual(self.h2.content_of(3), b"hi")
        self.assertEqual(self.h2.trailers_of(3), [(b"x", b"y")])

    def test_at_most(self) -> None:
        """Only so often."""
        self.send(POST)
        for _ in range(MAX_SENDS):
            self.refuse()
        self.assertEqual(len(self.h2.requests), MAX_SENDS)
        got = self.assert_error(self.client, 502, "connection_terminated")
        self.assertNotIn(b"connection", got.fields)
        self.assert_alive()

    def test_logged(self) -> None:
        """One line tells of it, with method and origin, but no target."""
        self.send(request(b"/secret"))
        [line] = logged(self.refuse)
        self.assertTrue(line.startswith("GET https://a.test:443: sent again"))
        self.assertIn("REFUSED_STREAM", line)
        self.assertNotIn("secret", line)

    def test_after_an_interim_response(self) -> None:
        """Not after an interim response, which the client has got."""
        self.send(GET)
        self.h2.interim(1, b"103")
        self.refuse()
        self.assertEqual(self.h2.requests, [1])

    def test_client_gone(self) -> None:
        """Nobody's request is not sent again."""
        self.send(POST)
        self.client.close()
        self.refuse()
        self.assertEqual(self.h2.requests, [1])
        self.assertEqual(self.counts(), (0, 1, 0))


class ResetTests(HTTP2TestCase):
    """RST_STREAM for other reasons."""

    CODES = (*(code for code in ErrorCodes if code not in (7, 13)), 0xFF)

    def test_before_the_response(self) -> None:
        """It is a 502 that names the code; client and connection go on."""
        for code in self.CODES:
            self.send(POST)
            lines = logged(lambda code=code: self.h2.reset(self.h2.requests[-1], code))  # type: ignore[misc]
            name = code.name if isinstance(code, ErrorCodes) else "error code 0xff"
            self.assertTrue(any(name in line for line in lines), lines)
            self.assert_error(self.client, 502, "connection_terminated")
        self.assert_alive()
        self.assertEqual(len(self.proxy.connects), 1)

    def test_get_on_a_new_connection(self) -> None:
        """A GET too, whose connection has served nobody before."""
        self.send(GET)
        self.h2.reset(1, ErrorCodes.INTERNAL_ERROR)
        self.assert_error(self.client, 502, "connection_terminated")

    def test_chunked_response(self) -> None:
        """In the middle of a response, what the client has got does not look complete: there is no
        last chunk."""
        for code in self.CODES:
            client = self.secure()
            self.send(GET, client)
            stream = self.h2.requests[-1]
            self.h2.respond(stream, b"part", ended=False)
            self.h2.reset(stream, code)
            self.assertTrue(client.received.endswith(b"\r\n\r\n4\r\npart\r\n"))
            self.assertTrue(client.closed)
        self.assert_alive()
        self.assertEqual(len(self.proxy.connects), 1)

    def test_response_with_length(self) -> None:
        """Nor is there all that its Content-Length has promised."""
        self.send(GET)
        self.h2.respond(1, b"part", WITH_LENGTH, ended=False)
        self.h2.reset(1, ErrorCodes.INTERNAL_ERROR)
        self.assertTrue(self.client.received.endswith(b"\r\n\r\npart"))
        self.assertTrue(self.client.closed)

    def test_close_delimited(self) -> None:
        """An HTTP/1.0 client, whose response ends with the connection, sees it break."""
        self.send(request(version=b"1.0"))
        self.h2.respond(1, b"part", ended=False)
        self.h2.reset(1, ErrorCodes.INTERNAL_ERROR)
        self.assertTrue(self.client.aborted)

    def test_after_the_response(self) -> None:
        """NO_ERROR behind a response that was complete is none (RFC 9113 section 8.1)."""
        self.send(request(b"/", b"Content-Length: 10", method=b"POST") + b"12345")
        self.h2.respond(1, b"enough")
        self.h2.reset(1, ErrorCodes.NO_ERROR)
        self.assertEqual(dechunked(self.client.take()), b"enough")
        self.assert_alive(self.secure())


class LostTests(HTTP2TestCase):
    """Connections that end."""

    def test_get(self) -> None:
        """A GET on a connection that has served before is sent again, on a new one."""
        first = self.warm_up()
        self.send(GET)
        first.peer.close()
        self.run_origins()
        self.assertEqual(len(self.origins), 2)
        self.h2.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/")

    def test_all_of_them(self) -> None:
        """All that were under way are."""
        first = self.warm_up()
        clients = self.get(20)
        first.peer.close()
        self.run_origins()
        self.assertEqual(len(self.proxy.connects), 2)
        self.h2.answer_all()
        self.assertEqual(answers(clients), [b"/%d" % each for each in range(20)])

    def test_post(self) -> None:
        """A POST that has left is not."""
        for asked in (POST, request(b"/", b"Content-Length: 0", method=b"POST")):
            self.start()
            first = self.warm_up()
            self.send(asked)
            first.peer.close()
            self.run_origins()
            self.assertEqual(len(self.proxy.connects), 1)
            self.assert_error(self.client, 502, "connection_terminated")

    def test_key(self) -> None:
        """A POST with Idempotency-Key is."""
        first = self.warm_up()
        self.send(request(b"/", KEY, method=b"POST", body=b"hello"))
        first.peer.close()
        self.run_origins()
        self.assertEqual(self.h2.content_of(1), b"hello")

    def test_once(self) -> None:
        """It is sent again once."""
        first = self.warm_up()
        self.send(GET)
        first.peer.close()
        self.h2.peer.close()
        self.run_origins()
        self.assertEqual(len(self.proxy.connects), 2)
        self.assert_error(self.client, 502, "connection_terminated")

    def test_new_connection(self) -> None:
        """Not when it was the first on a new connection."""
        self.send(GET)
        self.h2.peer.close()
        self.run_origins()
        self.assertEqual(len(self.proxy.connects), 1)
        self.assert_error(self.client, 502, "connection_terminated")

    def test_nothing_left(self) -> None:
        """A POST of which nothing has left, for the kernel took nothing more, is sent again."""
        self.proxy.capacity = 8192
        first = self.warm_up()
        first.peer.pause()
        filler = self.secure()
        self.send(request(b"/filler", method=b"POST", body=bytes(100_000)), filler)
        self.send(POST)
        self.proxy.capacity = None
        first.peer.close()
        self.run_origins()
        self.assertEqual(self.h2.content_of(1), b"hello")
        self.assert_error(filler, 502, "connection_terminated")

    def test_after_an_interim_response(self) -> None:
        """Not after an interim response."""
        first = self.warm_up()
        self.send(GET)
        first.interim(3, b"103")
        self.client.take()
        first.peer.close()
        self.run_origins()
        self.assertEqual(len(self.proxy.connects), 1)
        self.assert_error(self.client, 502, "connection_terminated")

    def test_in_the_middle(self) -> None:
        """Responses that had begun do not look complete."""
        chunked, sized = self.get(2)
        self.h2.respond(1, b"part", ended=False)
        self.h2.respond(3, b"part", WITH_LENGTH, ended=False)
        self.h2.peer.close()
        self.run_origins()
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertTrue(chunked.received.endswith(b"4\r\npart\r\n"))
        self.assertTrue(sized.received.endswith(b"\r\n\r\npart"))
        self.assertTrue(chunked.closed)
        self.assertTrue(sized.closed)

    def test_end_of_stream(self) -> None:
        """An origin that says close_notify, or only ends its sending, counts like one that is
        gone."""
        for notify in (True, False):
            self.start()
            first = self.warm_up()
            self.send(GET)
            first.peer.end(notify)
            self.run_origins()
            self.assertEqual(len(self.origins), 2)
            self.h2.answer_all()
            self.assertEqual(dechunked(self.client.take()), b"/")

    def test_found_dead(self) -> None:
        """A connection that has ended while it was idle serves nobody, and a POST takes a new
        one."""
        first = self.warm_up()
        first.peer.close()
        self.send(POST)
        self.assertEqual(self.h2.content_of(1), b"hello")
        self.assertEqual(len(self.origins), 2)

    def test_cannot_connect(self) -> None:
        """When no new connection can be had the client learns why."""
        first = self.warm_up()
        self.send(GET)
        self.proxy.accepting = False
        first.peer.close()
        self.run_origins()
        self.proxy.connects[1].refuse()
        self.assert_error(self.client, 502, "connection_refused")


class Http1RequiredTests(HTTP2TestCase):
    """HTTP_1_1_REQUIRED (RFC 9113 section 7)."""

    def required(self, asked: bytes) -> bytes:
        """Have the origin want HTTP/1.1 for a request; return how it comes then."""
        self.send(asked)
        self.h2.reset(self.h2.requests[-1], ErrorCodes.HTTP_1_1_REQUIRED)
        self.run_origins()
        return self.origin.take()

    def test_sent_again(self) -> None:
        """The request is sent again in HTTP/1.1, a POST too."""
        for asked in (GET, POST, request(b"/", CHUNKED, method=b"POST", body=b"0\r\n\r\n")):
            self.start()
            self.assertEqual(self.required(asked), asked)
            self.origin.send(OK1)
            self.assertEqual(self.client.take(), OK1)

    def test_remembered(self) -> None:
        """Later requests are sent that way at once."""
        self.required(GET)
        self.origin.send(OK1)
        self.client.take()
        self.send(GET)
        self.assertEqual(self.origin.take(), GET)
        self.assertEqual(self.h2.requests, [1])
        self.send(GET, self.secure())
        self.assertEqual(len(self.origins), 1)

    def test_remembered_for_tunnels(self) -> None:
        """Those of clients with TLS of their own too."""
        self.required(GET)
        self.origin.send(OK1)
        client = self.proxy.tls_client()
        self.send(GET, client)
        self.assertEqual(self.origin.take(), GET)

    def test_large_upload(self) -> None:
        """An upload that cannot be sent again fails, but the next is sent as it should be."""
        self.send(LARGE)
        self.h2.reset(1, ErrorCodes.HTTP_1_1_REQUIRED)
        self.assert_error(self.client, 502, "http_upgrade_failed")
        self.send(POST, self.secure())
        self.assertEqual(self.origin.take(), POST)

    def test_others(self) -> None:
        """Other origins are not affected; nor streams that are under way."""
        [under_way] = self.ask(request(b"/under-way"))
        self.required(GET)
        self.send(request(host=b"b.test"), self.secure())
        self.assertEqual(self.h2.requests, [1])
        self.assertEqual(len(self.origins), 2)
        self.origins[0].answer_all()
        self.assertEqual(answers([under_way]), [b"/under-way"])

    def test_always(self) -> None:
        """Where only HTTP/2 is accepted the request fails, or goes over HTTP/1.1 as those do that
        HTTP/2 cannot carry."""
        self.start(http2="always")
        self.assertEqual(self.required(GET), GET)


class MalformedTests(HTTP2TestCase):
    """Responses that are malformed (RFC 9113 section 8.1.1) end their stream only, with a 502, and
    are not asked for again."""

    CASES = {
        "no status": [(b"x", b"y")],
        "101": [(b":status", b"101")],
        "status of two digits": [(b":status", b"20")],
        "status twice": [*OK, *OK],
        "pseudo-field behind": [*OK, (b"x", b"y"), (b":path", b"/")],
        "pseudo-field of requests": [*OK, (b":method", b"GET")],
        "upper case": [*OK, (b"X-Upper", b"y")],
        "line feed": [*OK, (b"x", b"y\nset-cookie: a=b")],
        "carriage return": [*OK, (b"x", b"y\rz")],
        "null": [*OK, (b"x", b"y\0z")],
        "space in front": [*OK, (b"x", b" y")],
        "empty name": [*OK, (b"", b"y")],
        "name with a colon": [*OK, (b"x:", b"y")],
        "connection": [*OK, (b"connection", b"close")],
        "keep-alive": [*OK, (b"keep-alive", b"timeout=5")],
        "transfer-encoding": [*OK, (b"transfer-encoding", b"chunked")],
        "upgrade": [*OK, (b"upgrade", b"websocket")],
        "length twice": [*OK, (b"content-length", b"0"), (b"content-length", b"0")],
        "length that is none": [*OK, (b"content-length", b"+0")],
    }

    def test_heads(self) -> None:
        """Of whatever is wrong with a head."""
        self.warm_up()
        other = self.secure()
        self.send(request(b"/other"), other)
        for case, head in self.CASES.items():
            self.send(GET)
            stream = self.h2.requests[-1]
            self.h2.respond(stream, b"", head, ended=False)
            self.assert_error(self.client, 502, "http_protocol_error")
            self.assertEqual(self.h2.resets()[-1:], [(stream, 1)], case)
        self.h2.answer_all()
        self.assertEqual(answers([other]), [b"/other"])
        self.assertEqual(len(self.proxy.connects), 1)

    def test_complete_ones(self) -> None:
        """It does not help that they are complete."""
        self.warm_up()
        for head in self.CASES.values():
            if head[0][1] == b"101":
                continue  # it cannot be
            self.send(GET)
            self.h2.respond(self.h2.requests[-1], b"", head)
            self.assert_error(self.client, 502, "http_protocol_error")
        self.assert_alive()
        self.assertEqual(len(self.proxy.connects), 1)

    def test_nothing_of_them_is_logged(self) -> None:
        """What they hold is not logged."""
        self.send(GET)
        lines = logged(lambda: self.h2.respond(1, b"", [*OK, (b"x", b"sec\0ret")]))
        self.assertTrue(lines)
        self.assertFalse([line for line in lines if "sec" in line.replace("section", "")])

    def test_interim(self) -> None:
        """Of interim heads."""
        self.warm_up()
        self.send(GET)
        self.h2.interim(3, b"103", (b"connection", b"close"))
        self.assert_error(self.client, 502, "http_protocol_error")

    def test_more_content(self) -> None:
        """Of more content than its length says: the client gets no byte too many, and not all that
        it waits for."""
        self.send(GET)
        self.h2.respond(1, b"he", [*OK, (b"content-length", b"3")], ended=False)
        self.h2.more(1, b"llo")
        self.assertTrue(self.client.received.endswith(b"\r\n\r\nhe"))
        self.assertTrue(self.client.closed)
        self.assertEqual(self.h2.resets(), [(1, 1)])
        self.assert_alive(self.secure())

    def test_less_content(self) -> None:
        """Of less: the client's connection breaks, so it does not look complete."""
        self.send(GET)
        self.h2.respond(1, b"he", [*OK, (b"content-length", b"3")], ended=False)
        self.h2.more(1, b"", ended=True)
        self.assertTrue(self.client.received.endswith(b"\r\n\r\nhe"))
        self.assertTrue(self.client.closed)
        self.assert_alive(self.secure())

    def test_no_content_at_all(self) -> None:
        """Of none."""
        self.send(GET)
        self.h2.respond(1, b"", [*OK, (b"content-length", b"3")])
        self.assertTrue(self.client.closed)
        self.assertFalse(self.client.received)
        self.assert_alive(self.secure())

    def test_content_of_head(self) -> None:
        """Of content where there may be none."""
        self.send(request(method=b"HEAD"))
        self.h2.respond(1, b"x")
        self.assert_alive(self.secure())
        self.assertNotIn(b"x", self.client.received.partition(b"\r\n\r\n")[2])

    def test_trailers(self) -> None:
        """Of trailers: the last chunk is not sent."""
        for trailers in ([(b":status", b"200")], [(b"X", b"y")], [(b"content-length", b"5")]):
            client = self.secure()
            self.send(GET, client)
            stream = self.h2.requests[-1]
            self.h2.respond(stream, b"hello", ended=False)
            self.h2.h2.send_headers(stream, trailers, True)
            self.run_origins()
            self.assertTrue(client.received.endswith(b"5\r\nhello\r\n"), trailers)
            self.assertTrue(client.closed)
        self.assert_alive()
        self.assertEqual(len(self.origins), 1)
