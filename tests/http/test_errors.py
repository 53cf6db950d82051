"""The responses fastcar writes itself."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import (
    REASONS,
    FastcarError,
    GatewayError,
    MessageError,
    as_response_error,
    error_response,
)

from .driver import read_response

#: A List of one Token with one parameter, itself a Token (RFC 9209 sections 2 and 2.1.1, RFC 8941
#: section 3.3.4).
PROXY_STATUS = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*; error=([a-z][a-z_]*)")

IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
)


def fields_of(response: bytes) -> dict[str, str]:
    """The field lines of a response, none of which may stand twice."""
    head = response.split(b"\r\n\r\n", 1)[0].decode("ascii")
    fields: dict[str, str] = {}
    for line in head.split("\r\n")[1:]:
        name, value = line.split(": ", 1)
        assert name not in fields
        fields[name] = value
    return fields


class ErrorResponseTests(SynchronousTestCase):
    """RFC 9110 section 15.5, 15.6."""

    def test_complete(self) -> None:
        """It is a whole response of known length, and says what failed."""
        error = GatewayError(502, "connection_refused", "http://a.test:80 refused the connection")
        data = error_response(error, head_only=False, close=False)
        message = read_response([data])
        assert message.head is not None
        self.assertEqual((message.head.status, message.head.reason), (502, b" Bad Gateway"))
        self.assertTrue(message.finished)
        self.assertEqual(message.content, b"fastcar: http://a.test:80 refused the connection\n")
        self.assertEqual(message.leftover, b"")
        self.assertFalse(message.head.close)
        fields = fields_of(data)
        self.assertEqual(fields["Content-Type"], "text/plain; charset=utf-8")
        self.assertEqual(set(fields), {"Date", "Content-Type", "Content-Length", "Proxy-Status"})

    def test_close(self) -> None:
        """A connection that ends says so (RFC 9112 section 9.6)."""
        data = error_response(MessageError("x"), head_only=False, close=True)
        self.assertEqual(fields_of(data)["Connection"], "close")
        head = read_response([data]).head
        assert head is not None
        self.assertTrue(head.close)

    def test_head(self) -> None:
        """A HEAD gets the same fields, length included, and no content (RFC 9110 section 9.3.2)."""
        error = GatewayError(504, "connection_timeout", "no answer")
        whole = error_response(error, head_only=False, close=False)
        only = error_response(error, head_only=True, close=False)
        message = read_response([only], head_only=True)
        self.assertTrue(message.finished)
        self.assertEqual(message.leftover, b"")
        length = fields_of(whole)["Content-Length"]
        self.assertEqual(fields_of(only)["Content-Length"], length)
        self.assertEqual(int(length), len(b"fastcar: no answer\n"))

    def test_date(self) -> None:
        """Date is an IMF-fixdate of now (RFC 9110 sections 5.6.7, 6.6.1)."""
        date = fields_of(error_response(MessageError("x"), head_only=False, close=True))["Date"]
        self.assertTrue(IMF_FIXDATE.fullmatch(date), date)
        self.assertGreater(parsedate_to_datetime(date).year, 2024)

    def test_proxy_status(self) -> None:
        """Proxy-Status is one member with its error type (RFC 9209 section 2)."""
        for error in (
            MessageError("x"),
            MessageError("x", 431),
            GatewayError(502, "tls_certificate_error", "x"),
            as_response_error("http://a.test:80", MessageError("x")),
        ):
            fields = fields_of(error_response(error, head_only=False, close=False))
            match = PROXY_STATUS.fullmatch(fields["Proxy-Status"])
            assert match is not None
            self.assertEqual(match[1], error.proxy_status)

    def test_length_counts_bytes(self) -> None:
        """Text outside ASCII, even what cannot be encoded, is counted as it is sent."""
        for text in ("naïve ☃", "broken \udcff", ""):
            data = error_response(GatewayError(502, "x", text), head_only=False, close=False)
            message = read_response([data])
            self.assertTrue(message.finished)
            self.assertEqual(message.leftover, b"")

    def test_text_cannot_reach_the_head(self) -> None:
        """Whatever a text holds stays within the body."""
        text = "a\r\nSet-Cookie: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        data = error_response(GatewayError(502, "x", text), head_only=False, close=True)
        self.assertNotIn("Set-Cookie", fields_of(data))
        message = read_response([data])
        self.assertEqual(message.content.decode("ascii"), f"fastcar: {text}\n")
        self.assertEqual(message.leftover, b"")


class ErrorTests(SynchronousTestCase):
    """The two families."""

    def test_reasons(self) -> None:
        """Every status has the reason phrase of RFC 9110, and none asks to authenticate."""
        for status, reason in REASONS.items():
            known = {413: "Content Too Large", 414: "URI Too Long"}.get(
                status, HTTPStatus(status).phrase
            )
            self.assertEqual(reason.decode("ascii"), known)
        self.assertFalse({401, 405, 407, 421, 426} & set(REASONS))

    def test_unknown_status(self) -> None:
        """A status without a phrase of ours still makes a valid status line."""
        data = error_response(GatewayError(599, "x", "y"), head_only=False, close=False)
        head = read_response([data]).head
        assert head is not None
        self.assertEqual(head.status, 599)

    def test_message_error(self) -> None:
        """A peer that breaks the rules is answered 400 unless there is a better status."""
        error = MessageError("no colon")
        self.assertIsInstance(error, FastcarError)
        self.assertEqual((error.status, error.text, str(error)), (400, "no colon", "no colon"))
        self.assertEqual(error.proxy_status, "http_request_error")
        self.assertEqual(MessageError("long", 414).status, 414)

    def test_response_error(self) -> None:
        """A broken response is a 502 that names the origin (RFC 9209 section 2.3.13)."""
        error = as_response_error("http://a.test:80", MessageError("no colon", 431))
        self.assertEqual((error.status, error.proxy_status), (502, "http_protocol_error"))
        self.assertEqual(error.text, "http://a.test:80 sent an invalid response: no colon")
