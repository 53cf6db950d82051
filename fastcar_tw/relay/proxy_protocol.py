"""
The PROXY protocol, versions 1 and 2: between whom a connection is that others pass on, told before
its first byte.

Source: doc/proxy-protocol.txt of HAProxy; sections below are its.

Rules of this file: no I/O; a reader expects a header and nothing else, never guesses whether there
is one (section 2), and refuses it at the first byte that cannot belong to it.  Of connections other
than TCP over IPv4 or IPv6 nothing is told, and nothing is understood: a receiver may take them as
those of an unknown kind (section 2.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import NamedTuple, TypeAlias

from fastcar_tw.relay.crc32c import crc32c

__all__ = ["ProxyAddresses", "ProxyHeaderError", "ProxyHeaderReader", "encode"]

#: Bytes of the longest line (section 2.1).
_MAX_LINE = 107
#: Bytes of the longest header of version 2 that is read.  Senders stay below 536 (section 2), but
#: for what they add of certificates.
_MAX_BLOCK = 4096

_LINE = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+)"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
#: What such a line can be like before it has ended.
_UNFINISHED = re.compile(rb"PROXY TCP[46] [0-9A-Fa-f:. ]*\r?")
_FAMILIES: dict[bytes, type[IPv4Address] | type[IPv6Address]] = {
    b"4": IPv4Address,
    b"6": IPv6Address,
}

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
#: The first thirteen bytes; the last one is version and command.
_LOCAL = _SIGNATURE + b"\x20"
_PROXY = _SIGNATURE + b"\x21"
#: Bytes before the addresses: signature, version and command, family and transport, length.
_FIXED = 16
#: The highest values of the two halves of the fourteenth byte; greater ones must be rejected.
_UNIX, _DGRAM = 3, 2
#: Bytes of the addresses, by the fourteenth byte.  Those of an unspecified kind are not known.
_SIZES = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
#: TCP: source and destination, and their ports.
_LAYOUTS = {0x11: Struct("!4s4sHH"), 0x21: Struct("!16s16sHH")}
_CRC32C = 0x03

_Address: TypeAlias = "IPv4Address | IPv6Address"


class ProxyHeaderError(ValueError):
    """
    What was received is no PROXY header, or a wrong one.  The message says what was expected, and
    holds no byte of what was received.
    """

    def __init__(self, reason: str = "") -> None:
        expected = "expected a PROXY header, version 1 or 2"
        super().__init__(f"{expected} ({reason})" if reason else expected)


class ProxyAddresses(NamedTuple):
    """
    The ends of a connection: each is an IP address and a port, or None if nothing is known of it,
    as of the ends of UNIX sockets.

    An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) means the IPv4 address: the same client
    has the one at a listener for both families, and the other elsewhere.

    @ivar source: the client's end.
    @ivar destination: where it has connected to.
    """

    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None


#: What a header says, and its size; None: there has to come more of it.
_Found: TypeAlias = "tuple[ProxyAddresses, int] | None"


class ProxyHeaderReader:
    """
    Reads the header at the beginning of a connection.

    @ivar rest: what followed the header, as far as it was fed.
    """

    __slots__ = ("_buffer", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._buffer = b""

    def feed(self, data: bytes) -> ProxyAddresses | None:
        """
        Take what was received next.  After a header or an error, nothing more is fed.

        @return: what the header says; None: there has to come more of it.
        @raise ProxyHeaderError: it is none.
        """
        buffer = self._buffer = self._buffer + data
        found = _read(buffer)
        if found is None:
            return None
        addresses, size = found
        self.rest = buffer[size:]
        self._buffer = b""
        return addresses


def encode(version: int, addresses: ProxyAddresses) -> bytes:
    """
    Make a header.

    Both addresses of a header are of one family: if one of them is IPv6, an IPv4 address is sent
    IPv4-mapped.  If an end is not known, version 1 says UNKNOWN, and version 2 LOCAL, for this is
    all that every receiver must accept of what makes it use the addresses it sees itself.

    @param version: 1 or 2.
    @raise ValueError: a host is not an IP address.
    """
    if addresses.source is None or addresses.destination is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _LOCAL + bytes(3)
    (source, source_port), (destination, destination_port) = addresses.source, addresses.destination
    ends = [_parse(source), _parse(destination)]
    if any(end.version == 6 for end in ends):
        ends = [_mapped(end) for end in ends]
    family = ends[0].version
    ports = source_port, destination_port
    if version == 1:
        return f"PROXY TCP{family} {' '.join(map(_text, ends))} %d %d\r\n".encode() % ports
    kind = 0x11 if family == 4 else 0x21
    block = _LAYOUTS[kind].pack(ends[0].packed, ends[1].packed, *ports)
    return _PROXY + bytes((kind,)) + len(block).to_bytes(2, "big") + block


def _parse(host: str) -> _Address:
    # A scope has a meaning on one machine only (RFC 4007 section 6).
    return _plain(ip_address(host.partition("%")[0]))


def _plain(address: _Address) -> _Address:
    """
    The IPv4 address that is meant, if one is.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _mapped(address: _Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(0xFFFF << 32 | int(address))


def _text(address: _Address) -> str:
    """
    In hexadecimal digits only (section 2.1): newer Pythons write mapped addresses with dots.
    """
    plain = _plain(address)
    if plain is address:
        return str(address)
    high, low = divmod(int(plain), 1 << 16)
    return f"::ffff:{high:x}:{low:x}"


def _read(buffer: bytes) -> _Found:
    for start, read in _STARTS.items():
        if start.startswith(buffer[: len(start)]):
            return read(buffer) if len(buffer) >= len(start) else None
    raise ProxyHeaderError


def _read_tcp(buffer: bytes) -> _Found:
    end = _line_end(buffer)
    if not end:
        if _UNFINISHED.fullmatch(buffer):
            return None
        raise ProxyHeaderError("a byte that cannot be in its line")
    match = _LINE.fullmatch(buffer, 0, end)
    if match is None:
        raise ProxyHeaderError("a line of two addresses and two ports, with one space before each")
    family, source, destination, *digits = match.groups()
    ports = int(digits[0]), int(digits[1])
    if max(ports) > 0xFFFF:
        raise ProxyHeaderError("ports from 0 to 65535")
    try:
        hosts = [_FAMILIES[family](text.decode()) for text in (source, destination)]
    except ValueError:
        raise ProxyHeaderError(f"addresses of IPv{family.decode()}") from None
    return _known(hosts[0], hosts[1], ports), end


def _known(source: _Address, destination: _Address, ports: tuple[int, int]) -> ProxyAddresses:
    return ProxyAddresses((str(_plain(source)), ports[0]), (str(_plain(destination)), ports[1]))


def _read_unknown(buffer: bytes) -> _Found:
    end = _line_end(buffer)
    return (ProxyAddresses(), end) if end else None


def _line_end(buffer: bytes) -> int:
    """
    The size of the line; 0: it may yet end.
    """
    end = buffer.find(b"\r\n", 0, _MAX_LINE)
    if end < 0 and len(buffer) >= _MAX_LINE:
        raise ProxyHeaderError(f"a line of at most {_MAX_LINE} bytes, with CRLF at its end")
    return end + 2 if end >= 0 else 0


def _read_local(buffer: bytes) -> _Found:
    size = _block_size(buffer)
    return (ProxyAddresses(), size) if size and len(buffer) >= size else None


def _read_proxied(buffer: bytes) -> _Found:
    kind = buffer[13] if len(buffer) > 13 else 0
    if kind >> 4 > _UNIX or kind & 0xF > _DGRAM:
        raise ProxyHeaderError("an address family and a transport that exist")
    size = _block_size(buffer)
    if not size:
        return None
    addresses_end = _FIXED + _SIZES.get(kind, 0)
    if size < addresses_end:
        raise ProxyHeaderError("a length that its addresses fit in")
    if len(buffer) < size:
        return None
    if kind in _SIZES:
        _check_extensions(buffer[:size], addresses_end)
    layout = _LAYOUTS.get(kind)
    if layout is None:
        return ProxyAddresses(), size
    source, destination, *ports = layout.unpack_from(buffer, _FIXED)
    return _known(ip_address(source), ip_address(destination), (ports[0], ports[1])), size


def _block_size(buffer: bytes) -> int:
    """
    The size of the header, by its length field; 0: that has to come.
    """
    if len(buffer) < _FIXED:
        return 0
    size = _FIXED + int.from_bytes(buffer[14:_FIXED], "big")
    if size > _MAX_BLOCK:
        raise ProxyHeaderError(f"at most {_MAX_BLOCK} bytes")
    return size


def _check_extensions(header: bytes, at: int) -> None:
    """
    Walk over the type-length-value vectors.  All but a checksum are ignored (section 2.2).
    """
    checksum = 0
    while at < len(header):
        value = at + 3
        end = value + int.from_bytes(header[at + 1 : value], "big")
        if end > len(header):
            raise ProxyHeaderError("type-length-value vectors that fill its length")
        if header[at] == _CRC32C:
            checksum = value
        at = end
    if checksum:
        _check_crc32c(header, checksum)


def _check_crc32c(header: bytes, at: int) -> None:
    """
    See section 2.2.3.  The sum is as long as it should be, or another one would not be equal.
    """
    end = at + 4
    if crc32c(header[:at] + bytes(4) + header[end:]) != int.from_bytes(header[at:end], "big"):
        raise ProxyHeaderError("a right checksum")


#: How a header can begin, and who reads the rest of it.
_STARTS: dict[bytes, Callable[[bytes], _Found]] = {
    b"PROXY TCP4 ": _read_tcp,
    b"PROXY TCP6 ": _read_tcp,
    b"PROXY UNKNOWN\r\n": _read_unknown,
    b"PROXY UNKNOWN ": _read_unknown,
    _LOCAL: _read_local,
    _PROXY: _read_proxied,
}
