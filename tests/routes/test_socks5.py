"""SOCKS5 messages and the client's handshake."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.routes.handshake import HandshakeError
from fastcar_tw.routes.proxy import parse_proxy
from fastcar_tw.routes.socks5 import (
    CONNECT,
    MessageFormatError,
    SOCKS5Handshake,
    decode_message,
    encode_message,
)
from tests.routes.support import bytewise, run

# RFC 1928 section 4: code, host, port, message.
MESSAGES = (
    (1, "192.0.2.1", 80, b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"),
    (1, "a.test", 443, b"\x05\x01\x00\x03\x06a.test\x01\xbb"),
    (
        0,
        "2001:db8::1",
        65535,
        b"\x05\x00\x00\x04" + IPv6Address("2001:db8::1").packed + b"\xff\xff",
    ),
    (5, "x" * 255, 1, b"\x05\x05\x00\x03\xff" + b"x" * 255 + b"\x00\x01"),
)
MALFORMED = (
    (b"\x04", "expected version 5, got 4"),
    (b"HTTP/1.1 400", "expected version 5, got 72"),
    (b"\x05\x00\x00\x02", "unknown address type 2"),
    (b"\x05\x00\x00\x00", "unknown address type 0"),
    (b"\x05\x00\x00\x03\x01\xff\x00\x50", "the name is not ASCII"),
)

PLAIN = parse_proxy("socks5h://p.test")
SECRET = parse_proxy("socks5h://user:secret@p.test")
BOUND = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


class MessageTests(SynchronousTestCase):
    """L{encode_message} and L{decode_message}."""

    def test_messages(self) -> None:
        """Requests and replies are those of RFC 1928, with names and addresses of all kinds."""
        for code, host, port, message in MESSAGES:
            self.assertEqual(encode_message(code, host, port), message)
            self.assertEqual(decode_message(message), (code, host, port, len(message)))

    def test_truncated(self) -> None:
        """A message cut short is incomplete, wherever it is cut."""
        for *_, message in MESSAGES:
            for size in range(len(message)):
                self.assertIsNone(decode_message(message[:size]))

    def test_trailing(self) -> None:
        """What follows a message is not part of it."""
        for *_, message in MESSAGES:
            decoded = decode_message(message + b"more")
            assert decoded is not None
            self.assertEqual(decoded[3], len(message))

    def test_malformed(self) -> None:
        """What is no message is refused as soon as that can be seen."""
        for data, reason in MALFORMED:
            error = self.assertRaises(MessageFormatError, decode_message, data)
            self.assertEqual(str(error), reason)

    def test_hosts_that_do_not_fit(self) -> None:
        """A name has 1 to 255 ASCII characters."""
        for host in ("", "x" * 256, "\xe9.test"):
            self.assertRaises(MessageFormatError, encode_message, 1, host, 80)

    def test_empty_name(self) -> None:
        """Some proxies tell no address in their reply."""
        self.assertEqual(decode_message(b"\x05\x00\x00\x03\x00\x00\x00"), (0, "", 0, 7))

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are a message, a part of one, or refused; what was decoded is what was sent."""
        try:
            decoded = decode_message(data)
        except MessageFormatError:
            return
        if decoded is not None and decoded[1]:
            code, host, port, size = decoded
            again = encode_message(code, host, port)
            if data[3] != 3:  # a name may spell an address
                self.assertEqual(again, data[:2] + b"\0" + data[3:size])

    @given(
        st.integers(0, 255),
        st.ip_addresses().map(str)
        | st.from_regex(r"[a-z]{1,63}(\.[a-z]{1,9}){0,9}", fullmatch=True),
        st.integers(0, 65535),
        st.binary(max_size=9),
    )
    def test_round_trip(self, code: int, host: str, port: int, behind: bytes) -> None:
        """What was encoded is decoded, whatever comes behind it."""
        message = encode_message(code, host, port)
        self.assertEqual(decode_message(message + behind), (code, host, port, len(message)))


class HandshakeTests(SynchronousTestCase):
    """L{SOCKS5Handshake}."""

    def converse(
        self, proxy: str, *replies: bytes, host: str = "a.test", chunked: bool = False
    ) -> tuple[SOCKS5Handshake, list[bytes]]:
        """Speak with a proxy that waits for its turn."""
        handshake = SOCKS5Handshake(parse_proxy(proxy), host, 443)
        pieces = [p for reply in replies for p in (bytewise(reply) if chunked else [reply])]
        return handshake, run(handshake, pieces)

    def test_no_authentication(self) -> None:
        """Without credentials none are offered."""
        for chunked in (False, True):
            handshake, said = self.converse(
                "socks5h://p.test", b"\x05\x00", BOUND + b"hello", chunked=chunked
            )
            self.assertEqual(said, [b"\x05\x01\x00", b"\x05\x01\x00\x03\x06a.test\x01\xbb"])
            self.assertTrue(handshake.done)
            self.assertEqual(handshake.leftover, b"hello")

    def test_password(self) -> None:
        """Credentials are sent when the proxy wants them."""
        for chunked in (False, True):
            handshake, said = self.converse(
                "socks5h://user:se%20cret@p.test", b"\x05\x02", b"\x01\x00", BOUND, chunked=chunked
            )
            self.assertEqual(
                said,
                [
                    b"\x05\x02\x00\x02",
                    b"\x01\x04user\x07se cret",
                    encode_message(CONNECT, "a.test", 443),
                ],
            )
            self.assertTrue(handshake.done)
            self.assertEqual(handshake.leftover, b"")

    def test_longest_password(self) -> None:
        """255 bytes of each fit."""
        _, said = self.converse(f"socks5h://{'u' * 255}:{'p' * 255}@p.test", b"\x05\x02")
        self.assertEqual(said[1], b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255)

    def test_credentials_not_wanted(self) -> None:
        """Credentials that the proxy does not ask for are not sent."""
        handshake, said = self.converse("socks5h://user:secret@p.test", b"\x05\x00", BOUND)
        self.assertEqual(said[1], encode_message(CONNECT, "a.test", 443))
        self.assertTrue(handshake.done)

    def test_addresses(self) -> None:
        """An address is told as one."""
        for host in ("192.0.2.1", "2001:db8::1"):
            _, said = self.converse("socks5://p.test", b"\x05\x00", host=host)
            self.assertEqual(said[1], encode_message(CONNECT, host, 443))

    def test_truncated(self) -> None:
        """Until the reply is complete the tunnel is not open."""
        for size in range(len(BOUND)):
            handshake, _ = self.converse("socks5h://p.test", b"\x05\x00", BOUND[:size])
            self.assertFalse(handshake.done)

    def test_replies(self) -> None:
        """Each refusal is told in words, even if the proxy says no more than its code."""
        expected = {
            1: ("reports a general failure", "destination_unavailable", True),
            2: ("does not allow the connection", "http_request_denied", True),
            3: ("cannot reach the network", "destination_ip_unroutable", True),
            4: ("cannot reach the host", "destination_ip_unroutable", True),
            5: ("reports: connection refused", "connection_refused", True),
            6: ("reports: TTL expired", "connection_timeout", True),
            7: ("does not support CONNECT", "proxy_configuration_error", False),
            8: ("does not support this type of address", "proxy_configuration_error", True),
            9: ("refused with the unknown code 9", "destination_unavailable", True),
        }
        for code, told in expected.items():
            for reply in (BOUND, BOUND[:2], b"\x05\0\0\0\0\0", b"\x05\0\0\x03\x01\xff\0\0"):
                error = self.refused("\0", b"\x05\x00", b"\x05%c" % code + reply[2:])
                got = (error.reason, error.proxy_status, error.other_address)
                self.assertEqual(got, told)

    def test_odd_bound_address(self) -> None:
        """What the proxy says of itself in a success does not matter, only how long it is."""
        for bound in (b"\x03\x00\x00\x00", b"\x03\x02\xc3\xa9\x00\x00"):
            for chunked in (False, True):
                handshake, _ = self.converse(
                    "socks5h://p.test", b"\x05\x00", b"\x05\x00\x00" + bound, chunked=chunked
                )
                self.assertTrue(handshake.done)

    def refused(self, password: str, *replies: bytes) -> HandshakeError:
        """The error, which holds no credentials."""
        proxy = "socks5h://p.test" if password == "\0" else f"socks5h://user:{password}@p.test"
        error: HandshakeError = self.assertRaises(HandshakeError, self.converse, proxy, *replies)
        self.assertNotIn("secret", str(error))
        again = self.assertRaises(HandshakeError, self.converse, proxy, *replies, chunked=True)
        self.assertEqual(str(again), str(error))
        return error

    def test_credentials_refused(self) -> None:
        """It is told whether credentials are missing or wrong."""
        for password, replies, reason in (
            ("\0", [b"\x05\xff"], "wants credentials"),
            ("secret", [b"\x05\xff"], "wants other than user name and password"),
            ("secret", [b"\x05\x02", b"\x01\x01"], "does not accept the credentials"),
        ):
            error = self.refused(password, *replies)
            self.assertEqual(error.reason, reason)
            self.assertEqual(error.proxy_status, "proxy_configuration_error")

    def test_malformed(self) -> None:
        """What does not answer in SOCKS5 is found out at its first wrong byte."""
        for replies, what in (
            ([b"H"], "expected version 5, got 72"),
            ([b"\x04\x00"], "expected version 5, got 4"),
            ([b"\x05\x02"], "it chose a method that was not offered"),
            ([b"\x05\x01"], "it chose a method that was not offered"),
            ([b"\x05\x00", b"\x05\x00\x00\x00"], "unknown address type 0"),
            ([b"\x05\x00", b"\x00"], "expected version 5, got 0"),
            ([b"\x05\x00", b"\x05\x00\x00\x09"], "unknown address type 9"),
        ):
            error = self.refused("\0", *replies)
            self.assertEqual(error.reason, f"does not speak SOCKS5: {what}")
        error = self.refused("secret", b"\x05\x01")
        self.assertIn("it chose a method that was not offered", error.reason)
        error = self.refused("secret", b"\x05\x02", b"\x05\x00")
        self.assertEqual(error.reason, "does not speak SOCKS5: expected version 1, got 5")

    def test_answers_without_being_asked(self) -> None:
        """A proxy has to wait for its turn."""
        for proxy, replies in (
            ("socks5h://p.test", [b"\x05\x00\x05"]),
            ("socks5h://u:p@p.test", [b"\x05\x02\x01"]),
            ("socks5h://u:p@p.test", [b"\x05\x02", b"\x01\x00\x05"]),
        ):
            error = self.assertRaises(HandshakeError, self.converse, proxy, *replies)
            self.assertIn("it answered before it was asked", error.reason)

    def test_impossible_host(self) -> None:
        """A host that SOCKS5 cannot tell is refused before there is a connection."""
        self.assertRaises(MessageFormatError, SOCKS5Handshake, PLAIN, "x" * 256, 80)

    @given(st.lists(st.binary(max_size=20), max_size=20), st.booleans())
    def test_any_bytes(self, pieces: list[bytes], secret: bool) -> None:
        """Whatever a proxy says, the handshake ends, waits or is refused."""
        handshake = SOCKS5Handshake(SECRET if secret else PLAIN, "a.test", 80)
        try:
            run(handshake, pieces)
        except HandshakeError as error:
            self.assertNotIn("secret", str(error))
