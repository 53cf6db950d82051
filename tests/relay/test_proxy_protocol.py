"""The PROXY protocol: headers made and read; sections are those of HAProxy's specification."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from itertools import chain

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.crc32c import crc32c
from fastcar_tw.relay.proxy_protocol import (
    ProxyAddresses,
    ProxyHeaderError,
    ProxyHeaderReader,
    encode,
)

quick = settings(max_examples=300, derandomize=True, deadline=None, database=None)

UNKNOWN = ProxyAddresses(None, None)
FOUR = ProxyAddresses(("192.168.0.1", 56324), ("192.168.0.11", 443))
SIX = ProxyAddresses(("2001:db8::1", 1), ("2001:db8::2", 65535))
#: The example of section 2.1.
LINE = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
LOCAL, PROXY = 0x20, 0x21
TCP4, UDP4, TCP6, UDP6, UNIX_STREAM, UNIX_DATAGRAM = 0x11, 0x12, 0x21, 0x22, 0x31, 0x32
FOUR_BLOCK = b"\xc0\xa8\0\x01\xc0\xa8\0\x0b" + struct.pack("!HH", 56324, 443)
SIX_BLOCK = (
    bytes.fromhex("20010db8000000000000000000000001" + "20010db8000000000000000000000002")
    + b"\0\x01\xff\xff"
)
#: Longest headers.
MAX_LINE, MAX_BLOCK = 107, 4096


def block(command: int, kind: int, content: bytes = b"") -> bytes:
    """A header of version 2, written down by the specification, not by the code under test."""
    return SIGNATURE + struct.pack("!BBH", command, kind, len(content)) + content


def extension(kind: int, value: bytes) -> bytes:
    """A type-length-value vector."""
    return struct.pack("!BH", kind, len(value)) + value


def with_checksum(before: bytes = b"", after: bytes = b"") -> bytes:
    """A header with a right checksum between other vectors."""
    zero = block(PROXY, TCP4, FOUR_BLOCK + before + extension(3, bytes(4)) + after)
    at = 16 + len(FOUR_BLOCK) + len(before) + 3
    return zero[:at] + struct.pack("!I", crc32c(zero)) + zero[at + 4 :]


HEADERS: dict[bytes, ProxyAddresses] = {
    LINE: FOUR,
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n": SIX,
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": ProxyAddresses(
        ("255.255.255.255", 65535), ("255.255.255.255", 65535)
    ),
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n": ProxyAddresses(("0.0.0.0", 0), ("0.0.0.0", 0)),
    b"PROXY TCP6 2001:0DB8:0:0:0:0:0:0001 2001:db8::0002 1 65535\r\n": SIX,
    b"PROXY TCP6 :: ::1 1 2\r\n": ProxyAddresses(("::", 1), ("::1", 2)),
    b"PROXY TCP6 ::ffff:192.168.0.1 ::ffff:c0a8:b 56324 443\r\n": FOUR,
    b"PROXY UNKNOWN\r\n": UNKNOWN,
    b"PROXY UNKNOWN \r\n": UNKNOWN,
    b"PROXY UNKNOWN ffff::1 what\rever\nthis is\0\r\n": UNKNOWN,
    b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n": UNKNOWN,
    block(LOCAL, 0): UNKNOWN,
    # Whatever it holds is skipped, its family included.
    block(LOCAL, TCP4, FOUR_BLOCK): UNKNOWN,
    block(LOCAL, 0xFF, b"what"): UNKNOWN,
    block(PROXY, TCP4, FOUR_BLOCK): FOUR,
    block(PROXY, TCP6, SIX_BLOCK): SIX,
    block(PROXY, TCP6, bytes(10) + b"\xff\xff\1\2\3\4" + SIX_BLOCK[16:]): ProxyAddresses(
        ("1.2.3.4", 1), ("2001:db8::2", 65535)
    ),
    # Nothing is known of these, or nothing that would do as a source.
    block(PROXY, 0): UNKNOWN,
    block(PROXY, 0, b"what"): UNKNOWN,
    block(PROXY, 0x10, b"what"): UNKNOWN,
    block(PROXY, 0x01): UNKNOWN,
    block(PROXY, UDP4, FOUR_BLOCK): UNKNOWN,
    block(PROXY, UDP6, SIX_BLOCK): UNKNOWN,
    block(PROXY, UNIX_STREAM, b"/tmp/it".ljust(108, b"\0") * 2): UNKNOWN,
    block(PROXY, UNIX_DATAGRAM, bytes(216)): UNKNOWN,
    # Extensions are skipped: ALPN, NOOP, one of another's own; a checksum is verified.
    block(PROXY, TCP4, FOUR_BLOCK + extension(1, b"h2") + extension(4, b"")): FOUR,
    block(PROXY, TCP6, SIX_BLOCK + extension(0xEA, b"\x01vpce-1")): SIX,
    with_checksum(): FOUR,
    with_checksum(extension(2, b"host"), extension(5, b"unique")): FOUR,
}

_ANY = "expected a PROXY header, version 1 or 2"
#: What becomes wrong with its last byte, and the end of the message.
MALFORMED: list[tuple[bytes, str]] = [
    # Those of others; each is told off at its first byte that no header could have there.
    (b"G", _ANY),
    (b"\x16", _ANY),
    (b"\0", _ANY),
    (b"p", _ANY),
    (b"PO", _ANY),
    (b"PROP", _ANY),
    (b"PROXY\t", _ANY),
    (b"PROXY  ", _ANY),
    (b"PROXY TCP5", _ANY),
    (b"PROXY TCP4\t", _ANY),
    (b"PROXY t", _ANY),
    (b"PROXY UD", _ANY),
    (b"PROXY UNKNOWNS", _ANY),
    (b"PROXY UNKNOWN\n", _ANY),
    (b"\r\n\r\n\0\r\nQUIT\r", _ANY),
    (b"\r\nG", _ANY),
    # Version 1: the line.
    (b"PROXY TCP4 1.2.3.4\t", "(a byte that cannot be in its line)"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "(a byte that cannot be in its line)"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rG", "(a byte that cannot be in its line)"),
    (b"PROXY TCP4 ex", "(a byte that cannot be in its line)"),
    (b"PROXY TCP6 fe80::1%", "(a byte that cannot be in its line)"),
    (b"PROXY TCP4 -", "(a byte that cannot be in its line)"),
    (b"PROXY TCP4 \xd9", "(a byte that cannot be in its line)"),
    (b"PROXY TCP4 " + b"1" * (MAX_LINE - 11), "at most 107 bytes, with CRLF at its end)"),
    (b"PROXY TCP6 " + b"1" * (MAX_LINE - 12) + b"\r", "at most 107 bytes, with CRLF at its end)"),
    (b"PROXY UNKNOWN " + b"u" * (MAX_LINE - 14), "at most 107 bytes, with CRLF at its end)"),
    # Version 2: the fixed part, each of its bytes.
    (SIGNATURE + b"\x10", _ANY),
    (SIGNATURE + b"\x30", _ANY),
    (SIGNATURE + b"\x22", _ANY),
    (SIGNATURE + b"\x2f", _ANY),
    (SIGNATURE + b"\x21\x41", "(an address family and a transport that exist)"),
    (SIGNATURE + b"\x21\x13", "(an address family and a transport that exist)"),
    (SIGNATURE + b"\x21\x03", "(an address family and a transport that exist)"),
    (SIGNATURE + b"\x21\xf0", "(an address family and a transport that exist)"),
    (SIGNATURE + b"\x21\x11\0\x0b", "(a length that its addresses fit in)"),
    (SIGNATURE + b"\x21\x12\0\x00", "(a length that its addresses fit in)"),
    (SIGNATURE + b"\x21\x21\0\x23", "(a length that its addresses fit in)"),
    (SIGNATURE + b"\x21\x22\0\x0c", "(a length that its addresses fit in)"),
    (SIGNATURE + b"\x21\x31\0\xd7", "(a length that its addresses fit in)"),
    (SIGNATURE + b"\x21\x11" + struct.pack("!H", MAX_BLOCK - 15), "(at most 4096 bytes)"),
    (SIGNATURE + b"\x20\x00\xff\xff", "(at most 4096 bytes)"),
]
#: Lines that have come to their end; what is wrong, and with what.
LINES: dict[str, list[bytes]] = {
    "a line of two addresses and two ports, with one space before each": [
        b"",
        b"1.2.3.4",
        b"1.2.3.4 5.6.7.8",
        b"1.2.3.4 5.6.7.8 1",
        b"1.2.3.4 5.6.7.8 1 2 3",
        b"1.2.3.4 5.6.7.8 1 2 ",
        b" 1.2.3.4 5.6.7.8 1 2",
        b"1.2.3.4  5.6.7.8 1 2",
        b"1.2.3.4 5.6.7.8 1  2",
        b"1.2.3.4 5.6.7.8  2",
        b"1.2.3.4 5.6.7.8 01 2",
        b"1.2.3.4 5.6.7.8 1 00",
        b"1.2.3.4 5.6.7.8 -1 2",
        b"1.2.3.4 5.6.7.8 +1 2",
        b"1.2.3.4 5.6.7.8 a 2",
        b"1.2.3.4 5.6.7.8 1 100000",
        b"1.2.3.4 5.6.7.8 1 \xd9\xa1",
        b"1.2.3.4\t5.6.7.8 1 2",
        b"1.2.3.4 5.6.7.8 1 2\n",
        b"1.2.3.4 5.6.7.8 1 2\r",
        b"localhost 5.6.7.8 1 2",
        b"1.2.3.4 fe80::1%lo 1 2",
    ],
    "ports from 0 to 65535": [
        b"1.2.3.4 5.6.7.8 65536 2",
        b"1.2.3.4 5.6.7.8 1 99999",
    ],
    "addresses of IPv4": [
        b"1.2.3 5.6.7.8 1 2",
        b"1.2.3.4.5 5.6.7.8 1 2",
        b"1.2.3.4 5.6.7.256 1 2",
        b"1.2.3.04 5.6.7.8 1 2",
        b"1.2.3. 5.6.7.8 1 2",
        b"16909060 5.6.7.8 1 2",
        b"0.0.0.a 5.6.7.8 1 2",
        b"::1 ::2 1 2",
        b"1.2.3.4 ::ffff:5.6.7.8 1 2",
    ],
}
LINES_6: list[bytes] = [
    b"1.2.3.4 5.6.7.8 1 2",
    b"::1 5.6.7.8 1 2",
    b"1::2::3 ::1 1 2",
    b"::1 ::12345 1 2",
    b"1:2:3:4:5:6:7 ::1 1 2",
    b"1:2:3:4:5:6:7:8:9 ::1 1 2",
    b": ::1 1 2",
    b"::ffff:1.2.3.256 ::1 1 2",
]


def read(*pieces: bytes) -> tuple[ProxyAddresses | None, bytes]:
    """What a reader makes of pieces, of which only the last one ends the header."""
    reader = ProxyHeaderReader()
    for piece in pieces[:-1]:
        if reader.feed(piece) is not None:
            raise AssertionError(f"a header that ends with {piece!r}")
    return reader.feed(pieces[-1]), reader.rest


class ReaderTests(SynchronousTestCase):
    """Headers as they should be."""

    def test_at_once(self) -> None:
        """A header is read that comes in one piece; nothing follows it."""
        for header, addresses in HEADERS.items():
            self.assertEqual(read(header), (addresses, b""), header)

    def test_bytewise(self) -> None:
        """So is one that comes byte by byte, at its last one (section 2: be tolerant)."""
        for header, addresses in HEADERS.items():
            pieces = [bytes((byte,)) for byte in header]
            self.assertEqual(read(*pieces), (addresses, b""), header)

    def test_every_split(self) -> None:
        """So is one in two pieces, wherever they meet; what follows it is kept as it is."""
        for header, addresses in HEADERS.items():
            for at in range(len(header)):
                found = read(header[:at], header[at:] + b"\r\nPROXY ")
                self.assertEqual(found, (addresses, b"\r\nPROXY "), (header, at))

    def test_rest(self) -> None:
        """What follows is the client's, even if it looks like another header, and all of it."""
        for header, addresses in HEADERS.items():
            for rest in (LINE, block(LOCAL, 0), b"GET / HTTP/1.1\r\n\r\n", bytes(1 << 20)):
                self.assertEqual(read(header + rest), (addresses, rest), header)

    def test_nothing(self) -> None:
        """Nothing is the beginning of anything."""
        self.assertEqual(read(b"", b"", LINE), (FOUR, b""))

    def test_longest(self) -> None:
        """A line may have 107 bytes, and a header of version 2 4 KiB."""
        line = b"PROXY UNKNOWN ".ljust(MAX_LINE - 2) + b"\r\n"
        self.assertEqual(read(line), (UNKNOWN, b""))
        vector = extension(0xEE, bytes(MAX_BLOCK - 16 - len(FOUR_BLOCK) - 3))
        longest = block(PROXY, TCP4, FOUR_BLOCK + vector)
        self.assertEqual(len(longest), MAX_BLOCK)
        self.assertEqual(read(longest[:-1], longest[-1:] + b"!"), (FOUR, b"!"))

    def test_example_of_the_specification(self) -> None:
        """The example of section 2.1, with the request behind it."""
        request = b"GET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n"
        self.assertEqual(read(LINE + request), (FOUR, request))


class MalformedTests(SynchronousTestCase):
    """What is no header, or a wrong one."""

    def refusal(self, data: bytes) -> str:
        """What a reader says that is fed all of it at once; it must not accept it."""
        return str(self.assertRaises(ProxyHeaderError, ProxyHeaderReader().feed, data))

    def test_as_early_as_possible(self) -> None:
        """It is refused at the first byte that makes it wrong, not later and not before."""
        for data, end in MALFORMED:
            reader = ProxyHeaderReader()
            for byte in data[:-1]:
                self.assertIsNone(reader.feed(bytes((byte,))), data)
            error = self.assertRaises(ProxyHeaderError, reader.feed, data[-1:])
            self.assertTrue(str(error).endswith(end), (data, error))

    def test_in_one_piece(self) -> None:
        """It is refused in the same words, whatever follows in the same piece."""
        for data, end in MALFORMED:
            message = self.refusal(data + b" 1\r\n\r\n" + bytes(MAX_BLOCK))
            # A line is judged as a whole, if there is one.
            if not data.startswith(b"PROXY TCP"):
                self.assertTrue(message.endswith(end), (data, message))

    def test_lines(self) -> None:
        """A line must match exactly (section 2.1), and its addresses be of its family."""
        for expected, lines in LINES.items():
            for line in lines:
                message = self.refusal(b"PROXY TCP4 " + line + b"\r\n")
                self.assertEqual(message, f"{_ANY} ({expected})", line)
        for line in LINES_6:
            message = self.refusal(b"PROXY TCP6 " + line + b"\r\n")
            self.assertEqual(message, f"{_ANY} (addresses of IPv6)", line)

    def test_lines_bytewise(self) -> None:
        """None of them gets by at some other pace."""
        for line in chain(*LINES.values()):
            reader = ProxyHeaderReader()
            feeding = (reader.feed(bytes((byte,))) for byte in b"PROXY TCP4 " + line + b"\r\n")
            self.assertRaises(ProxyHeaderError, list, feeding)

    def test_extensions(self) -> None:
        """Extensions have to end where the header does."""
        for vectors in (b"\x04", b"\x04\0", b"\x04\0\x01", extension(1, b"h2") + b"\x04\x01\0!"):
            message = self.refusal(block(PROXY, TCP4, FOUR_BLOCK + vectors))
            self.assertEqual(message, f"{_ANY} (type-length-value vectors that fill its length)")

    def test_checksum(self) -> None:
        """A checksum must be that of the header (section 2.2.3): no bit may be changed."""
        right = with_checksum(extension(2, b"host"))
        # Past what decides about the size, and how the vectors are cut.
        for at in (16, 20, 24, 26, 31, 33, *range(len(right) - 4, len(right))):
            wrong = bytearray(right)
            wrong[at] ^= 0x10
            self.assertEqual(self.refusal(bytes(wrong)), f"{_ANY} (a right checksum)", at)

    def test_size_of_checksum(self) -> None:
        """A checksum is four bytes long."""
        for value in (b"", bytes(3), bytes(5)):
            self.refusal(block(PROXY, TCP4, FOUR_BLOCK + extension(3, value)))

    def test_message_holds_nothing_of_it(self) -> None:
        """What was received is not in the message: it may be a secret, or forge a line of a log."""
        for data in (b"PROXY TCP4 3333 3333 1 1\r\n", b"PROXY UNKNOWNsecret", b"secret"):
            message = self.refusal(data)
            self.assertNotIn("3333", message)
            self.assertNotIn("secret", message)


class EncodeTests(SynchronousTestCase):
    """Headers that are made."""

    def test_version_1(self) -> None:
        """The example of section 2.1, and one of IPv6."""
        self.assertEqual(encode(1, FOUR), LINE)
        self.assertEqual(encode(1, SIX), b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n")

    def test_version_2(self) -> None:
        """The layouts of section 2.2."""
        self.assertEqual(encode(2, FOUR), block(PROXY, TCP4, FOUR_BLOCK))
        self.assertEqual(encode(2, SIX), block(PROXY, TCP6, SIX_BLOCK))

    def test_unknown(self) -> None:
        """If an end is not known, the receiver is told to use those it sees, as it must."""
        for addresses in (UNKNOWN, FOUR._replace(source=None), FOUR._replace(destination=None)):
            self.assertEqual(encode(1, addresses), b"PROXY UNKNOWN\r\n")
            self.assertEqual(encode(2, addresses), block(LOCAL, 0))

    def test_mapped(self) -> None:
        """A client of IPv4 at a listener for both families has addresses of IPv4."""
        both = ProxyAddresses(("::ffff:192.168.0.1", 56324), ("::ffff:c0a8:b", 443))
        for addresses in (both, both._replace(source=FOUR.source)):
            self.assertEqual(encode(1, addresses), LINE)
            self.assertEqual(encode(2, addresses), block(PROXY, TCP4, FOUR_BLOCK))

    def test_mixed(self) -> None:
        """Addresses of both families: that of IPv4 is sent mapped, as HAProxy does."""
        mixed = ProxyAddresses(("10.0.0.1", 1), ("2001:db8::2", 65535))
        mapped = ProxyAddresses(("::ffff:10.0.0.1", 1), mixed.destination)
        packed = bytes(10) + b"\xff\xff\x0a\0\0\x01" + SIX_BLOCK[16:]
        for addresses in (mixed, mapped):
            line = b"PROXY TCP6 ::ffff:a00:1 2001:db8::2 1 65535\r\n"
            self.assertEqual(encode(1, addresses), line)
            self.assertEqual(encode(2, addresses), block(PROXY, TCP6, packed))
        turned = ProxyAddresses(mixed.destination, mixed.source)
        self.assertEqual(encode(1, turned), b"PROXY TCP6 2001:db8::2 ::ffff:a00:1 65535 1\r\n")

    def test_canonical(self) -> None:
        """IPv6 addresses are written as RFC 5952 has it, and without the scope they have here."""
        addresses = ProxyAddresses(("FE80:0:0:0:0:0:0:00AB%eth0", 1), ("2001:0DB8::0:1", 2))
        self.assertEqual(encode(1, addresses), b"PROXY TCP6 fe80::ab 2001:db8::1 1 2\r\n")
        block_ends = encode(2, addresses)[16:48]
        expected = IPv6Address("fe80::ab").packed + IPv6Address("2001:db8::1").packed
        self.assertEqual(block_ends, expected)

    def test_no_address(self) -> None:
        """A host that is no IP address is an error of the caller's."""
        addresses = FOUR._replace(source=("localhost", 1))
        for version in (1, 2):
            self.assertRaises(ValueError, encode, version, addresses)


_PORTS = st.integers(0, 65535)
_V4 = st.ip_addresses(v=4).map(str)
_V6 = (
    st.ip_addresses(v=6)
    # Those that mean one of IPv4 are read as that.
    .filter(lambda address: isinstance(address, IPv6Address) and address.ipv4_mapped is None)
    .map(str)
)
_END = st.tuples(_V4 | _V6, _PORTS)
_ADDRESSES = st.builds(ProxyAddresses, _END, _END) | st.just(UNKNOWN)


class PropertyTests(SynchronousTestCase):
    """What holds for all addresses, and all bytes."""

    @quick
    @given(st.sampled_from((1, 2)), _ADDRESSES, st.binary(max_size=20), st.data())
    def test_round_trip(
        self, version: int, addresses: ProxyAddresses, rest: bytes, data: st.DataObject
    ) -> None:
        """What is made is read as it was, split anywhere, and made again from that."""
        header = encode(version, addresses)
        at = data.draw(st.integers(0, len(header) - 1))
        self.assertEqual(read(header[:at], header[at:] + rest), (addresses, rest))
        self.assertLess(len(header), MAX_LINE + 1)

    @quick
    @given(_V4, _V4, st.sampled_from((1, 2)))
    def test_mapped_round_trip(self, source: str, destination: str, version: int) -> None:
        """Mapped addresses are read as those of IPv4, next to one of IPv6 as well."""
        mapped = f"::ffff:{source}"
        for other in (destination, f"::ffff:{destination}", "2001:db8::1"):
            header = encode(version, ProxyAddresses((mapped, 1), (other, 2)))
            found = read(header)[0]
            assert found is not None and found.source is not None
            self.assertEqual(IPv4Address(found.source[0]), IPv4Address(source))

    @quick
    @given(
        st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE, LINE[:-4])),
        st.binary(max_size=200),
    )
    @example(SIGNATURE + b"\x21\x11\0\x0f", bytes(15))
    def test_any_bytes(self, start: bytes, data: bytes) -> None:
        """Bytes are a header, the beginning of one, or refused; in one piece or in many."""
        outcomes = [self._result([start + data])]
        outcomes.append(self._result([bytes((byte,)) for byte in start + data]))
        self.assertEqual(outcomes[0], outcomes[1])

    def _result(self, pieces: list[bytes]) -> object:
        reader = ProxyHeaderReader()
        try:
            for number, piece in enumerate(pieces):
                if (found := reader.feed(piece)) is not None:
                    return found, reader.rest + b"".join(pieces[number + 1 :])
        except ProxyHeaderError:
            return ProxyHeaderError
        return None
