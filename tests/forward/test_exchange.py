"""One request and its response: what goes where, and what becomes of the connections."""

from __future__ import annotations

from .support import (
    CHUNKED,
    GET,
    OK,
    OK_CLOSE,
    POST,
    ProxyTestCase,
    answer,
    logged,
    request,
    response,
)


class BodyTests(ProxyTestCase):
    """Bodies both ways, in all their framings."""

    def test_get(self) -> None:
        """A GET and its response pass unchanged."""
        self.assertEqual(self.exchange(), (GET, OK))

    def test_body_with_length(self) -> None:
        """A body with Content-Length keeps its framing."""
        self.assertEqual(self.exchange(POST), (POST, OK))

    def test_chunked_request(self) -> None:
        """A chunked request stays chunked."""
        asked = request(b"/", CHUNKED, method=b"POST", body=b"5\r\nhello\r\n0\r\n\r\n")
        self.assertEqual(self.exchange(asked)[0], asked)

    def test_chunked_request_in_pieces(self) -> None:
        """What has arrived of a chunked request goes on as one chunk."""
        asked = request(b"/", CHUNKED, method=b"POST", body=b"3\r\nabc\r\n2\r\nde")
        self.client.send(asked)
        self.client.send(b"\r\n1;x=y\r\nf\r\n0\r\n\r\n")
        self.assertEqual(
            self.origin.received,
            request(b"/", CHUNKED, method=b"POST", body=b"5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n"),
        )

    def test_request_trailers(self) -> None:
        """Trailers of a request follow its last chunk."""
        body = b"1\r\nx\r\n0\r\nDigest: 1\r\nX-B: 2\r\n\r\n"
        asked = request(b"/", CHUNKED, method=b"PUT", body=body)
        self.assertEqual(self.exchange(asked)[0], asked)

    def test_response_trailers(self) -> None:
        """Trailers of a response follow its last chunk."""
        whole = response(b"200 OK", CHUNKED, body=b"1\r\nx\r\n0\r\nDigest: 1\r\n\r\n")
        self.assertEqual(self.exchange(GET, whole)[1], whole)

    def test_chunked_response_in_pieces(self) -> None:
        """A chunked response is passed on as it arrives."""
        self.client.send(GET)
        self.origin.send(response(b"200 OK", CHUNKED, body=b"5\r\nhe"))
        self.assertEqual(self.client.take(), response(b"200 OK", CHUNKED, body=b"2\r\nhe\r\n"))
        self.origin.send(b"llo\r\n")
        self.assertEqual(self.client.take(), b"3\r\nllo\r\n")
        self.origin.send(b"0\r\n\r\n")
        self.assertEqual(self.client.take(), b"0\r\n\r\n")

    def test_head(self) -> None:
        """The response to a HEAD has no body, whatever its length says, and the origin is kept."""
        asked = request(method=b"HEAD")
        head = response(b"200 OK", b"Content-Length: 1000")
        self.assertEqual(self.exchange(asked, head), (asked, head))
        self.alive()
        self.assertEqual(len(self.proxy.origins), 1)

    def test_head_of_chunked(self) -> None:
        """A HEAD is answered without content also when the origin would send it chunked."""
        got = self.exchange(request(method=b"HEAD"), response(b"200 OK", CHUNKED))[1]
        self.assertEqual(got, response(b"200 OK"))
        self.alive()

    def test_statuses_without_body(self) -> None:
        """204 and 304 end with their heads."""
        for status in (b"204 No Content", b"304 Not Modified"):
            whole = response(status, b"ETag: x")
            self.assertEqual(self.exchange(GET, whole)[1], whole)
        self.assertEqual(len(self.proxy.origins), 1)

    def test_empty_body(self) -> None:
        """Content-Length: 0 ends both messages with their heads."""
        asked = request(b"/", b"Content-Length: 0", method=b"POST")
        whole = response(b"201 Created", b"Content-Length: 0")
        self.assertEqual(self.exchange(asked, whole), (asked, whole))
        self.alive()

    def test_close_delimited_becomes_chunked(self) -> None:
        """For HTTP/1.1 a body that ends with the connection becomes chunked, and is ended."""
        self.client.send(GET)
        self.origin.send(response(b"200 OK", body=b"some"))
        self.origin.send(b"more")
        self.origin.end()
        body = b"4\r\nsome\r\n4\r\nmore\r\n0\r\n\r\n"
        self.assertEqual(self.client.received, response(b"200 OK", CHUNKED, body=body))
        self.alive()

    def test_close_delimited_for_1_0(self) -> None:
        """For HTTP/1.0 it goes on as it is, and the connection ends with it."""
        self.client.send(request(version=b"1.0"))
        self.origin.send(response(b"200 OK", body=b"some"))
        self.assertFalse(self.client.ended)
        self.origin.end()
        self.assertEqual(
            self.client.received, response(b"200 OK", b"Connection: close", body=b"some")
        )
        self.assertTrue(self.client.ended_cleanly)

    def test_chunked_for_1_0(self) -> None:
        """For HTTP/1.0 a chunked body is decoded, its trailers dropped, and the connection ends."""
        body = b"4\r\nsome\r\n0\r\nX: y\r\n\r\n"
        got = self.exchange(request(version=b"1.0"), response(b"200 OK", CHUNKED, body=body))[1]
        self.assertEqual(got, response(b"200 OK", b"Connection: close", body=b"some"))
        self.assertTrue(self.client.ended_cleanly)

    def test_origin_of_1_0(self) -> None:
        """An origin that answers in HTTP/1.0 is answered for in HTTP/1.1."""
        got = self.exchange(GET, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")[1]
        self.assertEqual(got, OK)
        self.assertTrue(self.origin.closed)

    def test_origin_of_1_0_without_length(self) -> None:
        """A body of HTTP/1.0 without length becomes chunked too."""
        self.client.send(GET)
        self.origin.send(b"HTTP/1.0 200 OK\r\n\r\nhi")
        self.origin.end()
        self.assertEqual(
            self.client.received, response(b"200 OK", CHUNKED, body=b"2\r\nhi\r\n0\r\n\r\n")
        )

    def test_large_bodies(self) -> None:
        """Bodies of a megabyte arrive whole, both ways."""
        much = bytes(range(256)) * 4096
        asked = request(method=b"PUT", body=much)
        whole = response(b"200 OK", b"Content-Length: %d" % len(much), body=much)
        self.assertEqual(self.exchange(asked, whole), (asked, whole))
        self.alive()


class TargetTests(ProxyTestCase):
    """Where a request goes."""

    def test_host_decides(self) -> None:
        """The Host field names the origin; its default port is 80."""
        self.client.send(request(host=b"B.test:8080"))
        self.client.send(request(host=b"b.test"))
        origins = [str(connect.origin) for connect in self.proxy.connects]
        self.assertEqual(origins, ["http://b.test:8080"])
        self.origin.send(OK)
        self.assertEqual(str(self.origin.origin), "http://b.test:80")

    def test_tls_means_https(self) -> None:
        """Inside TLS the origin is https, port 443."""
        client = self.proxy.tls_client()
        client.send(GET)
        self.assertEqual(str(self.origin.origin), "https://a.test:443")
        self.assertEqual(self.origin.received, GET)
        self.origin.send(OK)
        self.assertEqual(client.received, OK)

    def test_absolute_form(self) -> None:
        """An absolute-form target decides instead of Host, and goes out in origin-form."""
        asked = b"GET http://b.test:81/x?y HTTP/1.1\r\nA: 1\r\nHost: a.test\r\nB: 2\r\n\r\n"
        self.client.send(asked)
        self.assertEqual(str(self.origin.origin), "http://b.test:81")
        self.assertEqual(
            self.origin.received,
            b"GET /x?y HTTP/1.1\r\nHost: b.test:81\r\nA: 1\r\nB: 2\r\n\r\n",
        )

    def test_absolute_form_asks_for_https(self) -> None:
        """An https URI in plain HTTP reaches its origin over TLS."""
        self.client.send(b"GET https://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n")
        self.assertEqual(str(self.origin.origin), "https://b.test:443")
        self.assertTrue(self.origin.received.startswith(b"GET / HTTP/1.1\r\nHost: b.test\r\n"))

    def test_origins_take_turns(self) -> None:
        """Requests on one client connection may go to different origins, each to its own."""
        for host in (b"a.test", b"b.test", b"a.test"):
            asked = request(b"/", b"Authorization: for " + host, host=host)
            self.client.send(asked)
            [origin] = [
                peer
                for peer in self.proxy.origins
                if peer.origin is not None and peer.origin.host.encode() == host
            ]
            self.assertEqual(origin.take(), asked)
            origin.send(OK)
            self.assertEqual(self.client.take(), OK)


class CoalescingTests(ProxyTestCase):
    """What arrived together leaves together."""

    def test_head_and_body_in_one_write(self) -> None:
        """A response that came in one piece leaves in one write."""
        self.exchange()
        self.assertEqual(self.client.transport.writes, [OK])

    def test_chunked_in_one_write(self) -> None:
        """So does one that is chunked, its end included."""
        whole = response(b"200 OK", CHUNKED, body=b"2\r\nhi\r\n0\r\n\r\n")
        self.exchange(GET, whole)
        self.assertEqual(self.client.transport.writes, [whole])

    def test_request_in_one_write(self) -> None:
        """A request's head and body that came together leave in one write."""
        self.exchange(POST)
        self.assertEqual(self.origin.transport.writes, [POST])

    def test_interim_and_final_response_in_one_write(self) -> None:
        """An interim response and the final one behind it leave in one write."""
        both = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
        self.exchange(GET, both)
        self.assertEqual(self.client.transport.writes, [both])

    def test_one_record(self) -> None:
        """Inside TLS a response that came in one piece is one record."""
        client = self.proxy.tls_client()
        client.send(GET)
        self.origin.send(OK)
        client.transport.writes.clear()
        client.send(GET)
        self.origin.send(OK)
        [record] = client.transport.writes
        self.assertEqual(record[3] << 8 | record[4], len(record) - 5)


class EarlyResponseTests(ProxyTestCase):
    """Responses that come before the request is complete (RFC 9112 section 9.5)."""

    ASKED = request(b"/", b"Content-Length: 10", method=b"POST") + b"half "

    def test_client_connection_ends(self) -> None:
        """The client is told that its connection ends, and it does once the client has ended."""
        got = self.exchange(self.ASKED)[1]
        self.assertEqual(
            got, response(b"200 OK", b"Content-Length: 2", b"Connection: close", body=b"hi")
        )
        self.assertTrue(self.client.ended_cleanly)
        self.assertFalse(self.client.closed)
        self.client.send(b"later")
        self.client.end()
        self.assertTrue(self.client.closed)
        self.assertFalse(self.client.aborted)

    def test_origin_is_not_reused(self) -> None:
        """The origin's connection is ended: what it would take for a request is a body."""
        self.exchange(self.ASKED)
        self.assertTrue(self.origin.closed)
        other = self.proxy.client()
        other.send(GET)
        self.assertEqual(len(self.proxy.origins), 2)

    def test_rest_is_not_a_request(self) -> None:
        """What the client still sends is read and dropped, even if it looks like a request."""
        self.exchange(self.ASKED)
        self.client.send(b"12345" + GET)
        self.assertEqual(len(self.proxy.connects), 1)
        self.assertEqual(self.client.received, b"")

    def test_upload_goes_on(self) -> None:
        """As long as the response is not complete, the body goes on to the origin."""
        self.client.send(self.ASKED)
        self.origin.send(response(b"200 OK", b"Content-Length: 4", body=b"12"))
        self.origin.take()
        self.client.send(b"other")
        self.assertEqual(self.origin.take(), b"other")
        self.origin.send(b"34")
        self.assertTrue(self.client.received.endswith(b"\r\n\r\n1234"))

    def test_complete_in_the_end(self) -> None:
        """An upload that is complete before its response leaves the origin usable."""
        self.test_upload_goes_on()
        self.assertFalse(self.origin.closed)
        self.assertTrue(self.client.ended_cleanly)

    def test_response_before_the_connection_ends(self) -> None:
        """An origin that answers and hangs up has its answer delivered."""
        self.client.send(self.ASKED)
        self.origin.send(response(b"413 Too Large", b"Content-Length: 0", b"Connection: close"))
        self.origin.close()
        self.assertEqual(answer(self.client.received).status, 413)

    def test_origin_vanishes(self) -> None:
        """An origin that hangs up in the middle of an upload becomes a 502."""
        self.client.send(self.ASKED)
        self.origin.close()
        self.assertEqual(answer(self.client.received).status, 502)
        self.assertTrue(self.client.ended_cleanly)


class ReuseTests(ProxyTestCase):
    """When a connection to an origin serves again."""

    def reused(self, asked: bytes = GET, answered: bytes = OK) -> bool:
        """Whether the connection of one exchange serves the next."""
        self.exchange(asked, answered)
        if self.client.ended:
            self.client = self.proxy.client()
        self.client.send(GET)
        return len(self.proxy.connects) == 1

    def test_kept(self) -> None:
        """A connection whose exchange has ended cleanly serves the next."""
        self.assertTrue(self.reused())

    def test_kept_for_other_clients(self) -> None:
        """Connections are not tied to clients."""
        self.assertTrue(self.reused(request(b"/", b"Connection: close")))

    def test_client_close_is_its_own_affair(self) -> None:
        """Connection: close of a client is not passed on."""
        got = self.exchange(request(b"/", b"Connection: close"))[0]
        self.assertEqual(got, GET)

    def test_close_from_the_origin(self) -> None:
        """Connection: close of an origin is obeyed, and not passed on."""
        self.assertFalse(self.reused(GET, OK_CLOSE))
        self.assertTrue(self.proxy.origins[0].closed)

    def test_close_is_not_passed_on(self) -> None:
        """The client's connection persists when the origin's does not."""
        self.assertEqual(self.exchange(GET, OK_CLOSE)[1], OK)
        self.alive()

    def test_http_1_0(self) -> None:
        """HTTP/1.0 is not kept."""
        self.assertFalse(self.reused(GET, OK.replace(b"1.1", b"1.0")))

    def test_http_1_0_with_keep_alive(self) -> None:
        """HTTP/1.0 with keep-alive is."""
        kept = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
        self.assertTrue(self.reused(GET, kept))

    def test_close_delimited(self) -> None:
        """A body that ended with the connection leaves nothing to reuse, for the next in line
        neither."""
        self.client.send(GET)
        self.proxy.accepting = False
        other = self.proxy.client()
        other.send(GET)
        self.origin.send(response(b"200 OK", body=b"some"))
        self.origin.take()
        self.origin.end()
        self.assertEqual(self.origin.received, b"")
        self.proxy.connects[1].accept()
        self.assertEqual(self.origin.received, GET)

    def test_bytes_behind_the_end(self) -> None:
        """Bytes behind a response end the connection and reach no client."""
        self.assertFalse(self.reused(GET, OK + b"x"))
        self.assertTrue(self.proxy.origins[0].closed)
        self.assertEqual(self.client.received, b"")

    def test_two_responses(self) -> None:
        """A second response to one request is given to nobody."""
        self.assertFalse(self.reused(GET, OK + response(b"200 OK", b"Content-Length: 0")))
        self.assertEqual(self.client.received, b"")

    def test_body_behind_a_head(self) -> None:
        """A body where none may be ends the connection."""
        self.assertFalse(self.reused(request(method=b"HEAD"), OK))

    def test_body_behind_a_204(self) -> None:
        """So does one behind a 204."""
        self.assertFalse(self.reused(GET, response(b"204 No", b"Content-Length: 1", body=b"x")))

    def test_parse_error(self) -> None:
        """A broken response ends the connection."""
        self.assertFalse(self.reused(GET, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"))

    def test_client_gone(self) -> None:
        """A client that leaves in the middle of a response takes the connection with it."""
        self.client.send(GET)
        self.origin.send(response(b"200 OK", b"Content-Length: 5", body=b"123"))
        self.client.close()
        self.assertTrue(self.origin.closed)
        self.assertTrue(self.origin.aborted)

    def test_end_while_idle(self) -> None:
        """An idle connection that the origin ends is gone."""
        self.warm().end()
        self.assertTrue(self.origin.closed)
        self.client.send(GET)
        self.assertEqual(len(self.proxy.origins), 2)
        self.assertEqual(self.origin.received, GET)

    def test_bytes_while_idle(self) -> None:
        """Bytes on an idle connection kill it, and are given to nobody."""
        self.warm().send(OK)
        self.assertTrue(self.origin.aborted)
        self.client.send(GET)
        self.assertEqual(self.client.received, b"")
        self.origin.send(response(b"204 No Content"))
        self.assertEqual(self.client.received, response(b"204 No Content"))


class ClientAbortTests(ProxyTestCase):
    """A client that goes away ends its exchange, in every phase."""

    def gone(self) -> None:
        """The client goes, and nothing of it is left."""
        self.assertEqual(logged(self.client.close), [])
        self.assertEqual(len(self.proxy.forwarder.clients), 0)

    def test_while_waiting_for_a_connection(self) -> None:
        """Its place in line is given up; the connection serves another."""
        self.proxy.accepting = False
        self.client.send(GET)
        self.gone()
        other = self.proxy.client()
        other.send(request(b"/other"))
        [connect] = self.proxy.connects
        connect.accept()
        self.assertEqual(self.origin.received, request(b"/other"))

    def test_while_waiting_with_a_body_under_way(self) -> None:
        """A client that leaves in its request while a connection is being opened is noticed when
        it is there: the origin sees nothing of the request, and the connection is kept."""
        self.proxy.accepting = False
        self.client.send(POST[:-2])
        self.client.close()
        self.proxy.connects[0].accept()
        self.assertEqual((self.origin.received, self.origin.closed), (b"", False))
        self.assertEqual(len(self.proxy.forwarder.clients), 0)
        self.assertEqual(self.proxy.pool.stats().total.idle, 1)

    def test_in_its_request(self) -> None:
        """The origin's connection is broken off: what it has is no whole request."""
        self.client.send(POST[:-2])
        self.gone()
        self.assertTrue(self.origin.aborted)

    def test_half_closed_in_its_request(self) -> None:
        """Half-closing in the middle of a request is the same."""
        self.client.send(POST[:-2])
        self.client.end()
        self.assertTrue(self.origin.aborted)
        self.assertTrue(self.client.closed)

    def test_before_the_response(self) -> None:
        """A client that leaves while the origin works ends its exchange."""
        self.client.send(GET)
        self.gone()
        self.assertTrue(self.origin.aborted)

    def test_in_the_response(self) -> None:
        """A client that leaves in the middle of a response ends it."""
        self.client.send(GET)
        self.origin.send(response(b"200 OK", CHUNKED, body=b"1\r\nx\r\n"))
        self.gone()
        self.assertTrue(self.origin.aborted)

    def test_while_not_reading(self) -> None:
        """A client that leaves with its buffers full ends the exchange too."""
        client = self.proxy.client(capacity=8192)
        client.pause()
        client.send(GET)
        self.origin.send(response(b"200 OK", b"Content-Length: 9999999", body=bytes(1 << 20)))
        self.assertTrue(self.origin.unsent)
        client.close()
        self.assertTrue(self.origin.aborted)

    def test_in_tls(self) -> None:
        """The same inside TLS, with close_notify or without."""
        for notify in (True, False):
            client = self.proxy.tls_client()
            client.send(GET)
            client.close(notify)
            self.assertTrue(self.origin.aborted)
        self.assertEqual(len(self.proxy.forwarder.clients), 1)


class HalfCloseTests(ProxyTestCase):
    """Clients that end their sending and wait for the response."""

    def test_response_is_delivered(self) -> None:
        """A client that has half-closed gets its response; then the connection ends."""
        self.client.send(GET)
        self.client.end()
        self.assertFalse(self.origin.closed)
        self.origin.send(OK)
        self.assertEqual(self.client.received, OK)
        self.assertTrue(self.client.ended_cleanly)
        self.assertTrue(self.client.closed)

    def test_pipelined_requests_are_served(self) -> None:
        """All requests sent before the end are answered."""
        self.client.send(GET + request(b"/2"))
        self.client.end()
        self.origin.send(OK)
        self.assertFalse(self.client.ended)
        self.origin.send(OK)
        self.assertEqual(self.client.received, OK + OK)
        self.assertTrue(self.client.closed)

    def test_incomplete_request_is_dropped(self) -> None:
        """A request that can never be complete does not keep the connection."""
        self.client.send(GET + GET[:-2])
        self.client.end()
        self.origin.send(OK)
        self.assertEqual(self.client.received, OK)
        self.assertTrue(self.client.closed)

    def test_failure_is_delivered(self) -> None:
        """A failure is told to a client that has half-closed."""
        self.proxy.accepting = False
        self.client.send(GET)
        self.client.end()
        self.proxy.connects[0].refuse()
        self.assertEqual(answer(self.client.received).status, 502)
        self.assertTrue(self.client.closed)

    def test_tls(self) -> None:
        """Inside TLS a client may say close_notify and half-close, and gets its response."""
        client = self.proxy.tls_client()
        client.send(GET)
        client.end()
        self.assertFalse(self.origin.closed)
        self.origin.send(OK)
        self.assertEqual(client.received, OK)
        self.assertTrue(client.ended_cleanly)
        self.assertTrue(client.closed)

    def test_idle(self) -> None:
        """A client that ends between requests is let go."""
        self.exchange()
        self.client.end()
        self.assertTrue(self.client.closed)
        self.assertFalse(self.client.aborted)
        self.assertFalse(self.origin.closed)


class VerboseTests(ProxyTestCase):
    """The --verbose option."""

    def test_success_is_logged(self) -> None:
        """With it each exchange is one line: method, origin, status and time, but no target."""
        self.start(verbose=True)
        lines = logged(lambda: self.exchange(request(b"/secret?token=1")))
        self.assertEqual(lines, ["GET http://a.test:80: 200 after 0.000 s"])

    def test_success_is_not_logged(self) -> None:
        """Without it there is none."""
        self.assertEqual(logged(self.exchange), [])
