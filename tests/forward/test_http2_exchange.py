"""What clients in HTTP/1.1, and origins in HTTP/2, get of each other's messages (RFC 9113 section
8)."""

from __future__ import annotations

from h2.errors import ErrorCodes

from fastcar_tw.http.head import MAX_INTERIM
from fastcar_tw.testing import Peer
from tests.downstream.support import TUNNELS, opening, start_tls

from .http2 import OK, HTTP2TestCase, answers, dechunked, fields
from .support import CHUNKED, GET, POST, answer, request, response

MUCH = bytes(range(256)) * (1 << 12)  # 1 MiB
LENGTH_2 = (*OK, (b"content-length", b"2"))


class OpeningTests(HTTP2TestCase):
    """Clients reach an https origin in several ways, and HTTP/2 serves all of them."""

    def served(self, client: Peer, asked: bytes = GET) -> dict[bytes, bytes]:
        """Have a client served; return what its origin got."""
        self.send(asked, client)
        [stream] = self.h2.requests
        self.h2.respond(stream, b"hi", LENGTH_2)
        self.assertEqual(client.take(), response(b"200 OK", b"content-length: 2", body=b"hi"))
        return fields(self.h2, stream)

    def test_https_socket(self) -> None:
        """On the https socket requests are plain, and the origin gets the four pseudo-fields."""
        self.assertEqual(
            self.served(self.client, request(b"/a?b=c")),
            {
                b":method": b"GET",
                b":scheme": b"https",
                b":authority": b"a.test",
                b":path": b"/a?b=c",
            },
        )

    def test_tls_inside_the_socket(self) -> None:
        """A client that speaks TLS to fastcar, as to the origin, is served over HTTP/2."""
        got = self.served(self.proxy.tls_client())
        self.assertEqual(got[b":authority"], b"a.test")

    def test_tunnels(self) -> None:
        """So is one that has asked for a tunnel first."""
        for how in TUNNELS:
            self.start()
            client = self.proxy.client()
            asked, granted = opening(how, "a.test", 443)
            client.send(asked)
            self.assertEqual(client.take(), granted)
            start_tls(client, "a.test")
            self.served(client)

    def test_absolute_form(self) -> None:
        """So is a request in absolute-form for an https origin; :path has no authority."""
        asked = b"GET https://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n"
        got = self.served(self.proxy.client(), asked)
        self.assertEqual((got[b":authority"], got[b":path"]), (b"a.test", b"/x?y"))

    def test_shared(self) -> None:
        """All of them share one connection."""
        clients = [self.client, self.proxy.tls_client(), self.secure()]
        for client in clients:
            self.send(GET, client)
        self.assertEqual(len(self.proxy.origins), 1)
        self.assertEqual(self.h2.answer_all(), 3)
        self.assertEqual(answers(clients), [b"/"] * 3)

    def test_plain_origins(self) -> None:
        """An http origin is spoken to in HTTP/1.1."""
        client = self.proxy.client()
        client.send(GET)
        self.assertEqual(self.origin.received, GET)


class RequestTests(HTTP2TestCase):
    """What origins get."""

    def got(self, asked: bytes) -> dict[bytes, bytes]:
        """The fields that a request arrives with."""
        self.send(asked)
        return fields(self.h2, self.h2.requests[-1])

    def content(self) -> bytes:
        """The content of the only request, which is complete."""
        self.assertTrue(self.h2.has_ended(1))
        return self.h2.content_of(1)

    def test_fields(self) -> None:
        """Names are in lower case, values untouched but for the space around them, in order."""
        self.send(request(b"/", b"X-B: 1", b"x-a:\t two  words ", b"X-B: 3", b"X-E:"))
        self.assertEqual(
            self.h2.fields_of(1)[4:],
            [(b"x-b", b"1"), (b"x-a", b"two  words"), (b"x-b", b"3"), (b"x-e", b"")],
        )

    def test_pseudo_fields_come_first(self) -> None:
        """Pseudo-fields come before all others (RFC 9113 section 8.3)."""
        self.send(request(b"/", b"A: 1"))
        names = [name for name, _ in self.h2.fields_of(1)]
        self.assertEqual(names, [b":method", b":scheme", b":authority", b":path", b"a"])

    def test_authority(self) -> None:
        """Host becomes :authority, as it was written, and is not sent besides."""
        for host in (b"A.test", b"A.test:443"):
            got = self.got(request(host=host))
            self.assertEqual(got[b":authority"], host)
            self.assertNotIn(b"host", got)
            self.h2.answer_all()

    def test_hop_by_hop(self) -> None:
        """What is about the client's connection stays there, named by Connection or not."""
        got = self.got(
            request(
                b"/",
                b"Connection: keep-alive, X-Hop",
                b"X-Hop: 1",
                b"Keep-Alive: timeout=5",
                b"Proxy-Connection: keep-alive",
                b"X-Kept: 1",
            )
        )
        self.assertEqual(set(got), {b":method", b":scheme", b":authority", b":path", b"x-kept"})

    def test_cookies(self) -> None:
        """Cookie is sent in crumbs (RFC 9113 section 8.2.3)."""
        self.send(request(b"/", b"Cookie: a=b; c=d; e=f"))
        crumbs = [value for name, value in self.h2.fields_of(1) if name == b"cookie"]
        self.assertEqual(crumbs, [b"a=b", b"c=d", b"e=f"])

    def test_te(self) -> None:
        """TE is sent only if trailers are wanted, and says nothing else."""
        te = b"Connection: TE", b"TE: gzip;q=0.5, trailers"
        self.assertEqual(self.got(request(b"/", *te))[b"te"], b"trailers")
        self.h2.answer_all()
        self.assertNotIn(b"te", self.got(request(b"/", b"Connection: TE", b"TE: gzip")))

    def test_asterisk(self) -> None:
        """OPTIONS * keeps its asterisk (RFC 9113 section 8.3.1)."""
        self.assertEqual(self.got(request(b"*", method=b"OPTIONS"))[b":path"], b"*")

    def test_methods(self) -> None:
        """Methods have case, and need not be known."""
        self.assertEqual(self.got(request(method=b"bReW"))[b":method"], b"bReW")

    def test_no_content(self) -> None:
        """A request without content is complete with its head."""
        self.send(GET)
        self.assertEqual(self.content(), b"")

    def test_content_length(self) -> None:
        """Content whose length is known comes with it."""
        self.assertEqual(self.got(POST)[b"content-length"], b"5")
        self.assertEqual(self.content(), b"hello")

    def test_empty_post(self) -> None:
        """A POST of nothing says so."""
        got = self.got(request(b"/", b"Content-Length: 0", method=b"POST"))
        self.assertEqual(got[b"content-length"], b"0")
        self.assertEqual(self.content(), b"")

    def test_chunked(self) -> None:
        """A chunked upload has no length, and its chunks do not reach the origin."""
        body = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
        got = self.got(request(b"/", CHUNKED, method=b"POST", body=body))
        self.assertNotIn(b"content-length", got)
        self.assertNotIn(b"transfer-encoding", got)
        self.assertEqual(self.content(), b"hello world")

    def test_empty_chunked(self) -> None:
        """A chunked upload of nothing is complete."""
        self.send(request(b"/", CHUNKED, method=b"POST", body=b"0\r\n\r\n"))
        self.assertEqual(self.content(), b"")

    def test_chunked_as_it_comes(self) -> None:
        """What has come of an upload goes on at once, and the end when it comes."""
        self.send(request(b"/", CHUNKED, method=b"POST"))
        for part in (b"one", b"two"):
            self.send(b"3\r\n%b\r\n" % part)
            self.assertTrue(self.h2.content_of(1).endswith(part))
            self.assertFalse(self.h2.has_ended(1))
        self.send(b"0\r\n\r\n")
        self.assertEqual(self.content(), b"onetwo")

    def test_trailers(self) -> None:
        """Trailers of an upload come behind its content, in lower case."""
        body = b"2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"
        self.send(request(b"/", CHUNKED, method=b"POST", body=body))
        self.assertEqual(self.h2.trailers_of(1), [(b"x-sum", b"1"), (b"x-more", b"2")])
        self.assertEqual(self.content(), b"hi")

    def test_trailers_only(self) -> None:
        """Trailers behind no content arrive too."""
        self.send(request(b"/", CHUNKED, method=b"POST", body=b"0\r\nX-Sum: 1\r\n\r\n"))
        self.assertEqual(self.h2.trailers_of(1), [(b"x-sum", b"1")])
        self.assertTrue(self.h2.has_ended(1))

    def test_large(self) -> None:
        """A large upload arrives whole."""
        self.send(request(method=b"POST", body=MUCH))
        self.assertTrue(self.content() == MUCH)

    def test_large_with_trailers(self) -> None:
        """So does one in chunks, with trailers behind."""
        body = b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(MUCH), MUCH)
        self.send(request(b"/", CHUNKED, method=b"POST", body=body))
        self.assertTrue(self.content() == MUCH)
        self.assertEqual(self.h2.trailers_of(1), [(b"x-sum", b"1")])

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client's request is like any other."""
        self.send(request(b"/old", version=b"1.0"))
        self.assertEqual(self.h2.paths, [b"/old"])

    def test_via(self) -> None:
        """Via tells what the client spoke."""
        self.start(via="fc")
        self.send(request(b"/", b"Via: 1.0 x"))
        self.assertEqual(self.h2.fields_of(1)[4:], [(b"via", b"1.0 x"), (b"via", b"1.1 fc")])
        self.h2.answer_all()
        self.assertEqual(self.got(request(version=b"1.0"))[b"via"], b"1.0 fc")


class ResponseTests(HTTP2TestCase):
    """What clients get."""

    def answered(
        self, *more: tuple[bytes, bytes], status: bytes = b"200", content: bytes = b""
    ) -> bytes:
        """What the client gets of a response to what it has asked."""
        self.h2.respond(self.h2.open[0], content, [(b":status", status), *more])
        return self.client.take()

    def test_with_length(self) -> None:
        """A response whose length is known is passed on with it."""
        self.send(GET)
        self.assertEqual(
            self.answered((b"content-length", b"2"), (b"x-a", b"b"), content=b"hi"),
            response(b"200 OK", b"content-length: 2", b"x-a: b", body=b"hi"),
        )
        self.assert_alive()

    def test_without_length(self) -> None:
        """One whose length is not known becomes chunked."""
        self.send(GET)
        self.assertEqual(
            self.answered(content=b"hello"),
            response(b"200 OK", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
        )
        self.assert_alive()

    def test_empty(self) -> None:
        """One that ends with its head is whole."""
        self.send(GET)
        self.assertEqual(answer(self.answered()).status, 200)
        self.assert_alive()

    def test_as_it_comes(self) -> None:
        """What has come of a response goes on at once."""
        self.send(GET)
        self.h2.respond(1, b"one", ended=False)
        self.assertTrue(self.client.take().endswith(b"\r\n\r\n3\r\none\r\n"))
        self.h2.more(1, b"three")
        self.assertEqual(self.client.take(), b"5\r\nthree\r\n")
        self.h2.more(1, b"", ended=True)
        self.assertEqual(self.client.take(), b"0\r\n\r\n")

    def test_trailers(self) -> None:
        """Trailers go behind the last chunk."""
        self.send(GET)
        self.h2.respond(1, b"hi", trailers=[(b"grpc-status", b"0"), (b"x", b"y")])
        self.assertTrue(
            self.client.take().endswith(b"2\r\nhi\r\n0\r\ngrpc-status: 0\r\nx: y\r\n\r\n")
        )
        self.assert_alive()

    def test_trailers_where_there_is_no_room(self) -> None:
        """Behind a Content-Length there is no place for trailers, and they are dropped."""
        self.send(GET)
        self.h2.respond(1, b"hi", LENGTH_2, trailers=[(b"x", b"y")])
        self.assertEqual(self.client.take(), response(b"200 OK", b"content-length: 2", body=b"hi"))
        self.assert_alive()

    def test_large(self) -> None:
        """A large response arrives whole."""
        self.send(GET)
        self.h2.respond(1, head=OK, ended=False)
        for start in range(0, len(MUCH), 65536):
            self.h2.more(1, MUCH[start : start + 65536], start + 65536 == len(MUCH))
        self.assertTrue(dechunked(self.client.take()) == MUCH)

    def test_fields_stay(self) -> None:
        """Fields come in order, those that stand twice too."""
        self.send(GET)
        cookies = (b"set-cookie", b"a=b"), (b"x", b""), (b"set-cookie", b"c=d, e")
        got = self.answered(*cookies, (b"content-length", b"0"))
        lines = b"set-cookie: a=b", b"x: ", b"set-cookie: c=d, e", b"content-length: 0"
        self.assertEqual(got, response(b"200 OK", *lines))

    def test_status(self) -> None:
        """Any final status is passed on, with the reason phrase that it has in the standard, or
        none."""
        for status, line in (
            (b"201", b"201 Created"),
            (b"404", b"404 Not Found"),
            (b"503", b"503 Service Unavailable"),
            (b"599", b"599 "),
        ):
            self.send(GET)
            got = self.answered((b"content-length", b"0"), status=status)
            self.assertEqual(got, response(line, b"content-length: 0"))

    def test_head(self) -> None:
        """The response to a HEAD has no content, whatever length it states."""
        for more in ((), ((b"content-length", b"100"),)):
            self.send(request(method=b"HEAD"))
            got = self.answered(*more)
            self.assertEqual(got, response(b"200 OK", *(b"%b: %b" % each for each in more)))
        self.assert_alive()

    def test_204(self) -> None:
        """A 204 has no content, and no length."""
        self.send(GET)
        got = self.answered((b"content-length", b"0"), (b"x", b"y"), status=b"204")
        self.assertEqual(got, response(b"204 No Content", b"x: y"))
        self.assert_alive()

    def test_304(self) -> None:
        """A 304 may state the length that a 200 would have, and has no content."""
        self.send(GET)
        got = self.answered((b"content-length", b"100"), status=b"304")
        self.assertEqual(got, response(b"304 Not Modified", b"content-length: 100"))
        self.assert_alive()

    def test_1xx(self) -> None:
        """Interim responses are passed on when they come."""
        self.send(GET)
        for status, line in ((b"103", b"103 Early Hints"), (b"102", b"102 Processing")):
            self.h2.interim(1, status, (b"link", b"</x>"))
            self.assertEqual(self.client.take(), response(line, b"link: </x>"))
        self.assertEqual(answer(self.answered()).status, 200)
        self.assert_alive()

    def test_1xx_to_http_1_0(self) -> None:
        """An HTTP/1.0 client gets none of them."""
        self.send(request(version=b"1.0"))
        self.h2.interim(1, b"103")
        self.assertEqual(self.client.received, b"")
        self.assertEqual(answer(self.answered()).status, 200)

    def test_too_many_1xx(self) -> None:
        """Too many of them end one request, not the connection."""
        self.send(GET)
        other = self.secure()
        self.send(GET, other)
        for _ in range(MAX_INTERIM):
            self.h2.interim(1, b"103")
        self.client.take()
        self.h2.interim(1, b"103")
        self.assert_error(self.client, 502, "http_protocol_error")
        self.assertEqual(self.h2.resets(), [(1, ErrorCodes.PROTOCOL_ERROR)])
        self.h2.respond(3, b"fine")
        self.assertEqual(answers([other]), [b"fine"])

    def test_http_1_0(self) -> None:
        """To an HTTP/1.0 client, what has no length ends with the connection."""
        self.send(request(version=b"1.0"))
        self.h2.respond(1, b"hi", trailers=[(b"x", b"y")])
        self.assertEqual(
            self.client.received, response(b"200 OK", b"Connection: close", body=b"hi")
        )
        self.assertTrue(self.client.ended_cleanly)

    def test_via(self) -> None:
        """Via tells that the origin spoke HTTP/2."""
        self.start(via="fc")
        self.send(GET)
        self.h2.interim(1, b"103")
        self.assertEqual(self.client.take(), response(b"103 Early Hints", b"Via: 2.0 fc"))
        got = answer(self.answered((b"content-length", b"0")))
        self.assertEqual(got.fields[b"via"], b"2.0 fc")

    def test_continue(self) -> None:
        """A client that waits for 100 gets it at once: many origins send none in HTTP/2."""
        self.send(request(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"))
        self.assertNotIn(b"expect", fields(self.h2, 1))
        self.assertFalse(self.h2.has_ended(1))
        self.assertEqual(self.client.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.send(b"hello")
        self.assertEqual(self.h2.content_of(1), b"hello")
        self.assertTrue(self.h2.has_ended(1))
        self.assertEqual(answer(self.answered()).status, 200)
        self.assert_alive()

    def test_continue_once(self) -> None:
        """A request that is sent again asks its client for the content once."""
        self.send(request(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"))
        self.client.take()
        self.h2.reset(1, ErrorCodes.REFUSED_STREAM)
        self.run_origins()
        self.assertEqual(self.client.take(), b"")
        self.assertNotIn(b"expect", fields(self.h2, 3))
        self.send(b"hello")
        self.assertEqual(self.h2.content_of(3), b"hello")

    def test_expectation_failed(self) -> None:
        """An origin that does not want the content says so, and the client's connection ends; the
        origin's serves the next."""
        self.send(request(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"))
        self.client.take()
        got = self.answered((b"content-length", b"0"), status=b"417")
        self.assertEqual(answer(got).fields[b"connection"], b"close")
        self.assertEqual(self.h2.resets(), [(1, ErrorCodes.NO_ERROR)])
        self.assert_alive(self.secure())
        self.assertEqual(len(self.origins), 1)


class ConnectionTests(HTTP2TestCase):
    """Messages one after another, and many at once."""

    def test_keep_alive(self) -> None:
        """One client connection takes many exchanges, and each is one stream."""
        for number in range(5):
            self.send(request(b"/%d" % number))
            self.h2.answer_all()
            self.assertEqual(dechunked(self.client.take()), b"/%d" % number)
        self.assertEqual(self.h2.requests, [1, 3, 5, 7, 9])
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_close_by_the_client(self) -> None:
        """What a client says about its connection does not end the origin's."""
        client = self.secure()
        self.send(request(b"/", b"Connection: close"), client)
        self.h2.answer_all()
        self.assertTrue(client.ended_cleanly)
        self.assert_alive()
        self.assertEqual(len(self.origins), 1)

    def test_pipelined(self) -> None:
        """Pipelined requests are answered in their order, one after another."""
        self.send(request(b"/1") + request(b"/2"))
        self.assertEqual(self.h2.paths, [b"/1"])
        self.h2.answer_all()
        self.run_origins()
        self.h2.answer_all()
        self.assertEqual(self.h2.paths, [b"/1", b"/2"])
        first, second = self.client.take().split(b"HTTP/1.1 200 OK\r\n")[1:]
        self.assertIn(b"/1", first)
        self.assertIn(b"/2", second)

    def test_out_of_order(self) -> None:
        """Responses go to who has asked, in whatever order they come."""
        clients = self.get(50)
        for stream in reversed(self.h2.requests):
            self.h2.respond(stream, dict(self.h2.fields_of(stream))[b":path"])
        self.assertEqual(answers(clients), [b"/%d" % number for number in range(50)])

    def test_interleaved(self) -> None:
        """Responses whose parts come by turns stay apart."""
        clients = self.get(10)
        origin = self.h2
        for stream in origin.requests:
            origin.respond(stream, ended=False)
        for part in range(20):
            for stream in origin.requests:
                origin.more(stream, b"%d-%d," % (stream, part), part == 19)
        for stream, got in zip(origin.requests, answers(clients), strict=True):
            self.assertEqual(got, b"".join(b"%d-%d," % (stream, part) for part in range(20)))

    def test_uploads_at_once(self) -> None:
        """Uploads at the same time stay apart too."""
        bodies = [bytes([number]) * 100_000 for number in range(8)]
        clients = self.ask(*(request(method=b"POST", body=body) for body in bodies))
        self.assertEqual([self.h2.content_of(each) for each in self.h2.requests], bodies)
        self.h2.answer_all()
        self.assertEqual(answers(clients), [b"/"] * 8)

    def test_pinned_name(self) -> None:
        """Origins that differ have connections of their own."""
        self.send(GET)
        self.send(request(host=b"b.test"), self.secure())
        self.send(request(host=b"a.test:444"), self.secure())
        self.assertEqual([len(each.requests) for each in self.origins], [1, 1, 1])
