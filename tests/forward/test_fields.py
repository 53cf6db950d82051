"""Header fields on their way through: all pass unchanged but those that belong to one hop."""

from __future__ import annotations

from .support import CHUNKED, GET, OK, POST, ProxyTestCase, request, response

#: Fields of every kind, some odd, some repeated.
FIELDS = (
    b"x-b: 2",
    b"X-A:1",
    b"X-a:\t spaced \t",
    b"X-A: again",
    b"Empty:",
    b"Latin: \xe9\xff",
    b"Cookie: a=1; b=2",
    b"Authorization: Basic Zm9vOmJhcg==",
    b"Accept-Encoding: gzip, br;q=0.5",
    b"Range: bytes=0-1, 5-",
    b'If-None-Match: "x", W/"y"',
)


class FieldTests(ProxyTestCase):
    """What becomes of fields."""

    def test_requests_pass_unchanged(self) -> None:
        """A request's fields keep order, case and multiplicity, and nothing is added."""
        asked = request(b"/", *FIELDS)
        self.assertEqual(self.exchange(asked)[0], asked)

    def test_responses_pass_unchanged(self) -> None:
        """So do a response's: no Date or Server is invented."""
        whole = response(b"200 Fine", *FIELDS, b"Content-Length: 2", body=b"hi")
        self.assertEqual(self.exchange(GET, whole)[1], whole)

    def test_content_is_not_transformed(self) -> None:
        """Coded content passes as it is."""
        whole = response(
            b"200 OK", b"Content-Encoding: gzip", b"Content-Length: 4", body=b"\x1f\x8b\x00\xff"
        )
        self.assertEqual(self.exchange(GET, whole)[1], whole)

    def test_hop_by_hop_fields_of_requests(self) -> None:
        """Connection, what it names, and the other fields of one hop are not passed on."""
        asked = request(
            b"/",
            b"Connection: keep-alive, X-Mine",
            b"Keep-Alive: timeout=5",
            b"X-Mine: 1",
            b"TE: trailers",
            b"Proxy-Connection: keep-alive",
            b"X-Ours: 2",
        )
        self.assertEqual(self.exchange(asked)[0], request(b"/", b"X-Ours: 2"))

    def test_credentials_for_this_proxy(self) -> None:
        """Proxy-Authorization was meant for us, and stays here (RFC 9110 section 11.7.2)."""
        self.assertEqual(self.exchange(request(b"/", b"Proxy-Authorization: x"))[0], GET)

    def test_hop_by_hop_fields_of_responses(self) -> None:
        """The same towards the client."""
        whole = response(
            b"200 OK",
            b"Connection: X-Mine",
            b"Connection: keep-alive",
            b"Keep-Alive: timeout=5, max=100",
            b"x-mine: 1",
            b"Content-Length: 2",
            body=b"hi",
        )
        self.assertEqual(self.exchange(GET, whole)[1], OK)

    def test_te_is_not_sent(self) -> None:
        """TE is not sent on: trailers are relayed in any case, codings never."""
        got = self.exchange(request(b"/", b"TE: trailers, deflate", b"Connection: TE"))[0]
        self.assertEqual(got, GET)

    def test_own_version_is_sent(self) -> None:
        """A request of HTTP/1.0 goes out as HTTP/1.1."""
        self.assertEqual(self.exchange(request(version=b"1.0"))[0], GET)

    def test_status_line_for_1_0(self) -> None:
        """A client of HTTP/1.0 gets a status line of HTTP/1.1 (RFC 9110 section 6.2)."""
        got = self.exchange(request(version=b"1.0"))[1]
        self.assertTrue(got.startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_reason_phrase_passes(self) -> None:
        """Any reason phrase passes, none too."""
        for status in (b"200 ", b"200 \xe4\xf6", b"599 Whatever (you) want", b"999 X"):
            whole = response(status, b"Content-Length: 0")
            self.assertEqual(self.exchange(GET, whole)[1], whole)

    def test_no_content_length_in_204(self) -> None:
        """Content-Length is cut from a 204 (RFC 9110 section 8.6)."""
        got = self.exchange(GET, response(b"204 No", b"A: 1", b"Content-Length: 0", b"B: 2"))[1]
        self.assertEqual(got, response(b"204 No", b"A: 1", b"B: 2"))

    def test_no_transfer_encoding_in_204(self) -> None:
        """Transfer-Encoding is cut from a 204 (RFC 9112 section 6.1)."""
        got = self.exchange(GET, response(b"204 No", CHUNKED))[1]
        self.assertEqual(got, response(b"204 No"))

    def test_content_length_of_304(self) -> None:
        """A 304 keeps its Content-Length, and gets none."""
        for fields in ((b"Content-Length: 5",), ()):
            whole = response(b"304 Not Modified", *fields)
            self.assertEqual(self.exchange(GET, whole)[1], whole)

    def test_any_method(self) -> None:
        """Methods nobody has heard of are forwarded, in their case."""
        for method in (b"PROPFIND", b"get", b"X-!#", b"M" * 200):
            asked = request(method=method)
            self.assertEqual(self.exchange(asked), (asked, OK))

    def test_target_is_never_corrected(self) -> None:
        """Escapes, dots, slashes and odd bytes of a target reach the origin as they were."""
        for target in (b"/%7e/../a//b/./", b'/?a=%zz&b[]="<>"', b"/\xc3\xa9|{}", b"//x"):
            asked = request(target)
            self.assertEqual(self.exchange(asked)[0], asked)

    def test_asterisk_form(self) -> None:
        """OPTIONS * passes."""
        asked = request(b"*", method=b"OPTIONS")
        self.assertEqual(self.exchange(asked)[0], asked)

    def test_trailers_named_by_connection(self) -> None:
        """A trailer that Connection names is for one hop too."""
        self.client.send(
            request(
                b"/",
                CHUNKED,
                b"Connection: X-Mine",
                method=b"POST",
                body=b"1\r\nx\r\n0\r\nX-Mine: 1\r\nX-Ours: 2\r\n\r\n",
            )
        )
        self.assertTrue(self.origin.received.endswith(b"\r\n0\r\nX-Ours: 2\r\n\r\n"))


class ViaTests(ProxyTestCase):
    """The Via field (RFC 9110 section 7.6.3)."""

    def setUp(self) -> None:
        """Name the proxy."""
        self.start(via="php-host")

    def test_no_via_by_default(self) -> None:
        """Without the option nothing is added."""
        self.start()
        self.assertEqual(self.exchange(), (GET, OK))

    def test_via_is_appended(self) -> None:
        """Both messages get a line behind those that are there."""
        earlier = b"Via: 1.0 fred, 1.1 b.test"
        via = b"Via: 1.1 php-host"
        got, answered = self.exchange(request(b"/", earlier), response(b"204 No Content", earlier))
        self.assertEqual(got, request(b"/", earlier, via))
        self.assertEqual(answered, response(b"204 No Content", earlier, via))

    def test_via_tells_the_received_version(self) -> None:
        """The version in it is the one the message was received in."""
        got, answered = self.exchange(
            request(version=b"1.0"), b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertIn(b"Via: 1.0 php-host\r\n", got)
        self.assertIn(b"Via: 1.0 php-host\r\n", answered)

    def test_via_in_interim_responses(self) -> None:
        """Interim responses are forwarded messages too."""
        self.client.send(GET)
        self.origin.send(response(b"103 Early Hints", b"Link: x"))
        self.assertEqual(
            self.client.received, response(b"103 Early Hints", b"Link: x", b"Via: 1.1 php-host")
        )

    def test_via_with_chunked(self) -> None:
        """It stands next to the framing without disturbing it."""
        asked = request(b"/", CHUNKED, method=b"POST", body=b"0\r\n\r\n")
        got = self.exchange(asked)[0]
        self.assertEqual(
            got,
            request(b"/", b"Via: 1.1 php-host", CHUNKED, method=b"POST", body=b"0\r\n\r\n"),
        )


class FramingFieldTests(ProxyTestCase):
    """The fields that frame a message."""

    def test_length_stands_once(self) -> None:
        """Content-Length stands where it stood, once."""
        got = self.exchange(POST)[0]
        self.assertEqual(got.lower().count(b"content-length"), 1)
        self.assertNotIn(b"transfer-encoding", got.lower())

    def test_coding_stands_once(self) -> None:
        """Transfer-Encoding stands once, without a length."""
        body = b"2\r\nhi\r\n0\r\n\r\n"
        asked = request(b"/", b"transfer-encoding: Chunked", method=b"POST") + body
        got, answered = self.exchange(asked, response(b"200 OK", CHUNKED, body=body))
        for message in (got, answered):
            self.assertEqual(message.lower().count(b"transfer-encoding: chunked"), 1)
            self.assertNotIn(b"content-length", message.lower())
