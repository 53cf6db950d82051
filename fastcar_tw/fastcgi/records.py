"""
FastCGI records, for the side of the web server (FastCGI Specification 1.0, sections 3 to 5 and 8).

One request at a time uses a connection, always with the same id: php-fpm does not multiplex.  What
is sent is not padded: no reader needs that, the specification only recommends it.

Rules of this file: no I/O; a reader hands out content at once and keeps none; what is not exactly
right raises L{RecordError}, except for kinds that the specification does not know: a later version
may define them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

#: The id of every request; 0 belongs to management records.
REQUEST_ID = 1

# Kinds of records (section 8, "type").
BEGIN_REQUEST = 1
ABORT_REQUEST = 2
END_REQUEST = 3
PARAMS = 4
STDIN = 5
STDOUT = 6
STDERR = 7
DATA = 8
_GET_VALUES = 9  # without the underscore: the record
GET_VALUES_RESULT = 10
UNKNOWN_TYPE = 11

# How a request ended (section 5.5, "protocolStatus").
REQUEST_COMPLETE = 0
CANT_MPX_CONN = 1
OVERLOADED = 2
UNKNOWN_ROLE = 3

#: Bytes of content that one record can hold.
MAX_CONTENT = 0xFFFF

_VERSION = 1
_RESPONDER = 1
_KEEP_CONN = 1
_LONG = 1 << 31  # marks a length of four bytes; one byte holds up to 127
_HEADER_SIZE = 8
_encode_header = struct.Struct(">BBHHBx").pack
#: Version, kind and request id in one number; length; padding.
_decode_header = struct.Struct(">IHBx").unpack_from
_decode_end = struct.Struct(">IB3x").unpack


class RecordError(ValueError):
    """
    The peer broke the rules of FastCGI, or a pair does not fit into a record.
    """


class EndRequest(NamedTuple):
    """
    What END_REQUEST says.

    @ivar app_status: the exit status of the application; php-fpm says 0 always.
    @ivar protocol_status: L{REQUEST_COMPLETE}, L{CANT_MPX_CONN}, L{OVERLOADED}, L{UNKNOWN_ROLE}, or
        what a later version may add.
    """

    app_status: int
    protocol_status: int


def encode_record(kind: int, content: bytes, request_id: int = REQUEST_ID) -> bytes:
    """
    Make one record.

    @param content: at most L{MAX_CONTENT} bytes.
    """
    return _encode_header(_VERSION, kind, request_id, len(content), 0) + content


def _encode_length(length: int) -> bytes:
    return bytes((length,)) if length < 128 else (length | _LONG).to_bytes(4, "big")


#: The lengths of nearly all names and values.
_LENGTHS = [_encode_length(length) for length in range(1024)]


def encode_pair(name: bytes, value: bytes) -> bytes:
    """
    Make a name-value pair (section 3.4).
    """
    try:
        return _LENGTHS[len(name)] + _LENGTHS[len(value)] + name + value
    except IndexError:
        return _encode_length(len(name)) + _encode_length(len(value)) + name + value


#: The empty records that end the streams.
END_OF_STDIN = encode_record(STDIN, b"")
_END_OF_PARAMS = encode_record(PARAMS, b"")

#: Asks for a response; the connection stays with the server, or is closed by the application.
BEGIN_KEEP = encode_record(BEGIN_REQUEST, struct.pack(">HB5x", _RESPONDER, _KEEP_CONN))
BEGIN_CLOSE = encode_record(BEGIN_REQUEST, struct.pack(">HB5x", _RESPONDER, 0))

#: Asks whether the application multiplexes connections (section 4.1).
GET_VALUES = encode_record(_GET_VALUES, encode_pair(b"FCGI_MPXS_CONNS", b""), 0)


def encode_params(pairs: Sequence[bytes]) -> bytes:
    """
    Make the stream of the request's variables, its end included.

    Pairs are not divided between records: the specification allows that, php-fpm does not.

    @param pairs: encoded pairs.  Several joined to one are kept together.
    @raise RecordError: one of them is larger than a record.
    """
    content = b"".join(pairs)
    if 0 < len(content) <= MAX_CONTENT:
        return b"%b%b%b" % (
            _encode_header(_VERSION, PARAMS, REQUEST_ID, len(content), 0),
            content,
            _END_OF_PARAMS,
        )
    records = [encode_record(PARAMS, group) for group in _grouped(pairs)]
    return b"".join([*records, _END_OF_PARAMS])


def _grouped(pairs: Sequence[bytes]) -> list[bytes]:
    """
    Join pairs to contents of records, as few as their order allows.
    """
    groups: list[bytes] = []
    group: list[bytes] = []
    size = 0
    for pair in pairs:
        if len(pair) > MAX_CONTENT:
            raise RecordError(f"a variable of {len(pair)} bytes, where {MAX_CONTENT} can be sent")
        if size + len(pair) > MAX_CONTENT:
            groups.append(b"".join(group))
            group.clear()
            size = 0
        group.append(pair)
        size += len(pair)
    if size:
        groups.append(b"".join(group))
    return groups


def encode_stdin(content: bytes) -> bytes:
    """
    Make records of a part of the request's body: none of nothing, for an empty one ends the body
    (L{END_OF_STDIN}).
    """
    length = len(content)
    if 0 < length <= MAX_CONTENT:
        return _encode_header(_VERSION, STDIN, REQUEST_ID, length, 0) + content
    whole = memoryview(content)
    pieces: list[bytes | memoryview] = []
    for at in range(0, length, MAX_CONTENT):
        piece = whole[at : at + MAX_CONTENT]
        pieces += _encode_header(_VERSION, STDIN, REQUEST_ID, len(piece), 0), piece
    return b"".join(pieces)


def parse_end_request(content: bytes) -> EndRequest:
    """
    Read the content of END_REQUEST, as L{RecordReader} hands it out.
    """
    return EndRequest(*_decode_end(content))


def parse_values(content: bytes) -> dict[bytes, bytes]:
    """
    Read the content of GET_VALUES_RESULT.

    @raise RecordError: it ends inside a pair.
    """
    values: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        name_length, at = _parse_length(content, at)
        value_length, at = _parse_length(content, at)
        middle, end = at + name_length, at + name_length + value_length
        if end > len(content):
            raise RecordError("a name-value pair that ends behind its record")
        values[content[at:middle]] = content[middle:end]
        at = end
    return values


def _parse_length(content: bytes, at: int) -> tuple[int, int]:
    """
    Read a length; return it and where it ends.
    """
    size = 4 if content[at : at + 1] >= b"\x80" else 1
    encoded = content[at : at + size]
    if len(encoded) < size:
        raise RecordError("a name-value pair that ends inside its lengths")
    return int.from_bytes(encoded, "big") & (_LONG - 1), at + size


def _prefix(kind: int, request_id: int = REQUEST_ID) -> int:
    return _VERSION << 24 | kind << 16 | request_id


#: The kinds an application sends, by how their records begin.
_EXPECTED = {
    _prefix(STDOUT): STDOUT,
    _prefix(STDERR): STDERR,
    _prefix(END_REQUEST): END_REQUEST,
    _prefix(GET_VALUES_RESULT, 0): GET_VALUES_RESULT,
    _prefix(UNKNOWN_TYPE, 0): UNKNOWN_TYPE,
}

_STREAMS = (STDOUT, STDERR)

#: Bytes of content of those that have a fixed form.
_SIZES = {END_REQUEST: 8, UNKNOWN_TYPE: 8}


def _unexpected(prefix: int) -> int:
    """
    Return the kind of a record that is none of the expected ones, if it may be ignored.

    @raise RecordError: if not.
    """
    version, kind, request_id = prefix >> 24, prefix >> 16 & 0xFF, prefix & 0xFFFF
    if version != _VERSION:
        raise RecordError(f"a record of version {version}, where {_VERSION} was expected")
    if request_id not in (0, REQUEST_ID):
        raise RecordError(f"a record for request {request_id}, where {REQUEST_ID} was expected")
    if 0 < kind <= UNKNOWN_TYPE:
        raise RecordError(f"a record of kind {kind} for request {request_id} from an application")
    return kind


class RecordReader:
    """
    What an application sends.

    After a L{RecordError} there is nothing more to be had from it.
    """

    __slots__ = ("_held", "_kind", "_padding", "_remaining")

    def __init__(self) -> None:
        self._held = b""  # less than a header, or than a record that is handed out whole
        self._kind = 0  # of the stream record that goes on
        self._remaining = 0  # bytes of its content
        self._padding = 0  # bytes to be skipped

    @property
    def inside(self) -> bool:
        """
        In the middle of a record.
        """
        return bool(self._held or self._remaining or self._padding)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """
        Take the next bytes and return what is in them: kinds of records, and their content.

        The content of STDOUT and STDERR comes in pieces as it arrives, and is never empty.  Other
        records come whole.

        @raise RecordError: a version or a request other than ours, a kind that only servers send, a
            content that is not as long as its kind has it.
        """
        found: list[tuple[int, bytes]] = []
        at = 0
        if self._held:
            data = self._held + data
            self._held = b""
        elif self._remaining or self._padding:
            at = self._go_on(data, found)
        end = len(data)
        while end - at >= _HEADER_SIZE:
            prefix, length, padding = _decode_header(data, at)
            kind = _EXPECTED.get(prefix) or _unexpected(prefix)
            start = at + _HEADER_SIZE
            stop = start + length
            if kind in _STREAMS:
                if stop > end:
                    self._kind, self._remaining, self._padding = kind, stop - end, padding
                    stop, padding = end, 0
                if stop > start:
                    found.append((kind, data[start:stop]))
            elif length != _SIZES.get(kind, length):
                raise RecordError(f"a record of kind {kind} with {length} bytes of content")
            elif stop > end:
                break
            else:
                found.append((kind, data[start:stop]))
            at = stop + padding
        if at < end:
            self._held = data[at:]
        elif at > end:
            self._padding = at - end
        return found

    def _go_on(self, data: bytes, found: list[tuple[int, bytes]]) -> int:
        """
        Take what is left of a record; return where it ends in C{data}.
        """
        content = min(self._remaining, len(data))
        if content:
            self._remaining -= content
            found.append((self._kind, data[:content]))
        padding = min(self._padding, len(data) - content)
        self._padding -= padding
        return content + padding
