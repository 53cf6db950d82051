"""FastCGI records: bytes in, records out, and the other way round."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.fastcgi import records
from fastcar_tw.fastcgi.records import (
    BEGIN_CLOSE,
    BEGIN_KEEP,
    CANT_MPX_CONN,
    END_OF_STDIN,
    END_REQUEST,
    GET_VALUES,
    GET_VALUES_RESULT,
    MAX_CONTENT,
    OVERLOADED,
    PARAMS,
    REQUEST_COMPLETE,
    REQUEST_ID,
    STDERR,
    STDIN,
    STDOUT,
    UNKNOWN_ROLE,
    UNKNOWN_TYPE,
    EndRequest,
    RecordError,
    RecordReader,
    encode_pair,
    encode_params,
    encode_record,
    encode_stdin,
    parse_end_request,
    parse_values,
)

quick = settings(max_examples=200, derandomize=True, deadline=None, database=None)

#: A kind that FastCGI 1.0 does not know.
UNHEARD_OF = 12
END = b"\0\0\0\0\0\0\0\0"


def record(kind: int, content: bytes, padding: int = 0, request_id: int = REQUEST_ID) -> bytes:
    """A record written down by the specification, and not by the code under test."""
    head = struct.pack("!BBHHBB", 1, kind, request_id, len(content), padding, 0)
    return head + content + b"p" * padding


def joined(found: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Join the pieces of streams that follow each other."""
    result: list[tuple[int, bytes]] = []
    for kind, content in found:
        if result and result[-1][0] == kind and kind in (STDOUT, STDERR):
            content = result.pop()[1] + content
        result.append((kind, content))
    return result


def read(pieces: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """Feed the pieces to one reader; all of them make whole records."""
    reader = RecordReader()
    found: list[tuple[int, bytes]] = []
    for piece in pieces:
        fed = reader.feed(piece)
        assert all(content for kind, content in fed if kind in (STDOUT, STDERR))
        found += fed
    assert not reader.inside
    return joined(found)


def split(data: bytes) -> list[tuple[int, bytes]]:
    """Take a stream of records from a server apart, by the specification."""
    found = []
    while data:
        version, kind, request_id, length, padding, _ = struct.unpack_from("!BBHHBB", data)
        assert (version, request_id) == (1, REQUEST_ID)
        assert length + padding <= MAX_CONTENT
        found.append((kind, data[8 : 8 + length]))
        data = data[8 + length + padding :]
    return found


class SentTests(SynchronousTestCase):
    """What a server sends, byte by byte as in the specification's examples (appendix B)."""

    def test_begin_request(self) -> None:
        """{FCGI_BEGIN_REQUEST, 1, {FCGI_RESPONDER, flags}}: with FCGI_KEEP_CONN, and without."""
        self.assertEqual(BEGIN_CLOSE, b"\1\1\0\1\0\x08\0\0\0\1\0\0\0\0\0\0")
        self.assertEqual(BEGIN_KEEP, b"\1\1\0\1\0\x08\0\0\0\1\1\0\0\0\0\0")

    def test_params(self) -> None:
        """The variables of example 1, and the empty record that ends them."""
        pairs = [
            encode_pair(b"SERVER_PORT", b"80"),
            encode_pair(b"SERVER_ADDR", b"199.170.183.42"),
        ]
        self.assertEqual(
            encode_params(pairs),
            b"\1\4\0\1\0\x2a\0\0\013\002SERVER_PORT80\013\016SERVER_ADDR199.170.183.42"
            b"\1\4\0\1\0\0\0\0",
        )

    def test_stdin(self) -> None:
        """The body of example 2, and the empty record that ends it."""
        self.assertEqual(
            encode_stdin(b"quantity=100&item=3047936") + END_OF_STDIN,
            b"\1\5\0\1\0\x19\0\0quantity=100&item=3047936\1\5\0\1\0\0\0\0",
        )

    def test_get_values(self) -> None:
        """A management record, so for request 0, which asks for a value by its name."""
        self.assertEqual(GET_VALUES, b"\1\x09\0\0\0\x11\0\0\x0f\0FCGI_MPXS_CONNS")

    def test_kinds(self) -> None:
        """The numbers of section 8."""
        names = "BEGIN_REQUEST ABORT_REQUEST END_REQUEST PARAMS STDIN STDOUT STDERR DATA"
        for number, name in enumerate(names.split(), 1):
            self.assertEqual(getattr(records, name), number)
        self.assertEqual((GET_VALUES_RESULT, UNKNOWN_TYPE), (10, 11))


class PairTests(SynchronousTestCase):
    """Name-value pairs (section 3.4)."""

    def test_forms(self) -> None:
        """A length of up to 127 has one byte, a longer one four, of the name and of the value."""
        short, long = b"s" * 127, b"l" * 128
        for name, value, lengths in (
            (b"", b"", b"\0\0"),
            (short, short, b"\x7f\x7f"),
            (short, long, b"\x7f\x80\0\0\x80"),
            (long, short, b"\x80\0\0\x80\x7f"),
            (long, long, b"\x80\0\0\x80\x80\0\0\x80"),
            (b"n", b"v" * 1023, b"\1\x80\0\x03\xff"),
            (b"n", b"v" * 1024, b"\1\x80\0\x04\0"),
            (b"n" * 1024, b"v", b"\x80\0\x04\0\1"),
            (b"n", b"v" * 0x12345, b"\1\x80\x01\x23\x45"),
        ):
            self.assertEqual(encode_pair(name, value), lengths + name + value)

    @quick
    @given(st.dictionaries(st.binary(max_size=200), st.binary(max_size=2000), max_size=5))
    def test_round_trip(self, values: dict[bytes, bytes]) -> None:
        """What is encoded is read back."""
        content = b"".join(encode_pair(name, value) for name, value in values.items())
        self.assertEqual(parse_values(content), values)

    def test_cut(self) -> None:
        """Pairs that are cut off anywhere are an error, and not taken for shorter ones."""
        whole = encode_pair(b"n" * 130, b"v" * 130)
        for end in range(1, len(whole)):
            self.assertRaises(RecordError, parse_values, whole[:end])

    def test_php_fpm(self) -> None:
        """What php-fpm answers to GET_VALUES is read."""
        self.assertEqual(parse_values(b"\x0f\x01FCGI_MPXS_CONNS0"), {b"FCGI_MPXS_CONNS": b"0"})


class ParamsTests(SynchronousTestCase):
    """How pairs are put into records."""

    def assert_whole(self, pairs: list[bytes], *counts: int) -> None:
        """The pairs are sent in order, and the records have so many of them."""
        sent = split(encode_params(pairs))
        self.assertEqual(sent.pop(), (PARAMS, b""))
        at = 0
        for (kind, content), count in zip(sent, counts, strict=True):
            self.assertEqual(kind, PARAMS)
            self.assertEqual(content, b"".join(pairs[at : at + count]))
            at += count
        self.assertEqual(at, len(pairs))

    def test_none(self) -> None:
        """Without pairs there is only the end: an empty record comes once."""
        self.assertEqual(split(encode_params([])), [(PARAMS, b"")])

    def test_limits(self) -> None:
        """A record holds 65535 bytes of content; what does not fit goes into the next, whole."""
        self.assert_whole([b"a" * 65535], 1)
        self.assert_whole([b"a" * 65534, b"b"], 2)
        self.assert_whole([b"a" * 65535, b"b"], 1, 1)
        self.assert_whole([b"a", b"b" * 65535], 1, 1)
        self.assert_whole([b"a", b"b" * 65535, b"c", b"d"], 1, 1, 2)
        self.assert_whole([b"a" * 40000, b"b" * 25535, b"c" * 65000, b"d" * 600], 2, 1, 1)

    def test_too_large(self) -> None:
        """A pair larger than a record is an error: php-fpm reads no pair from two records."""
        pair = encode_pair(b"HTTP_COOKIE", b"v" * 65535)
        for pairs in ([pair], [b"a", pair], [pair, b"a"]):
            self.assertRaises(RecordError, encode_params, pairs)
        name, room = b"HTTP_COOKIE", 65535 - 1 - 4 - 11
        self.assert_whole([encode_pair(name, b"v" * room)], 1)
        self.assertRaises(RecordError, encode_params, [encode_pair(name, b"v" * (room + 1))])

    @quick
    @given(st.lists(st.integers(0, 70), max_size=30))
    def test_many(self, sizes: list[int]) -> None:
        """Whatever their sizes, pairs are sent in order, none is divided, and no record could have
        held the first pair of the next."""
        pairs = [bytes((number,)) * (size * 1000 % 65536) for number, size in enumerate(sizes)]
        sent = split(encode_params(pairs))
        self.assertEqual(sent.pop(), (PARAMS, b""))
        contents = [content for _, content in sent]
        self.assertEqual(b"".join(contents), b"".join(pairs))
        self.assertNotIn(b"", contents)
        for former, latter in pairwise(contents):
            self.assertNotEqual(former[-1], latter[0])
            self.assertGreater(len(former) + len(pairs[latter[0]]), MAX_CONTENT)


class StdinTests(SynchronousTestCase):
    """How a body is put into records."""

    def test_empty(self) -> None:
        """Of nothing no record is made: an empty one would end the body."""
        self.assertEqual(encode_stdin(b""), b"")

    def test_limits(self) -> None:
        """A record holds 65535 bytes; more go into several."""
        for length in (1, 65534, 65535, 65536, 2 * 65535, 2 * 65535 + 1, 1 << 20):
            body = bytes(range(251)) * (length // 251 + 1)
            sent = split(encode_stdin(body[:length]))
            self.assertEqual({kind for kind, _ in sent}, {STDIN})
            self.assertEqual(b"".join(content for _, content in sent), body[:length])
            self.assertEqual(len(sent), -(-length // MAX_CONTENT))


#: Example 3, whose application writes to both streams, in the form it has on the wire.
EXAMPLE = (
    record(STDOUT, b"Content-type: text/html\r\n\r\n<ht", 2)
    + record(STDERR, b"config error: missing SI_UID\n", 3)
    + record(STDOUT, b"ml>\n<head> ... ", 255)
    + record(STDOUT, b"")
    + record(STDERR, b"", 8)
    + record(END_REQUEST, b"\0\0\x03\xaa\0\0\0\0", 0)
)
EXAMPLE_READ = [
    (STDOUT, b"Content-type: text/html\r\n\r\n<ht"),
    (STDERR, b"config error: missing SI_UID\n"),
    (STDOUT, b"ml>\n<head> ... "),
    (END_REQUEST, b"\0\0\x03\xaa\0\0\0\0"),
]
#: Every kind an application may send, and two that nobody has defined.
ALL_KINDS = (
    record(GET_VALUES_RESULT, b"\x0f\x01FCGI_MPXS_CONNS0", 6, 0)
    + record(UNKNOWN_TYPE, b"\x0c\0\0\0\0\0\0\0", 1, 0)
    + record(UNHEARD_OF, b"what?", 3)
    + record(0, b"", 0, 0)
    + EXAMPLE
)
ALL_READ = [
    (GET_VALUES_RESULT, b"\x0f\x01FCGI_MPXS_CONNS0"),
    (UNKNOWN_TYPE, b"\x0c\0\0\0\0\0\0\0"),
    (UNHEARD_OF, b"what?"),
    (0, b""),
    *EXAMPLE_READ,
]


class ReaderTests(SynchronousTestCase):
    """What an application sends."""

    def test_typical(self) -> None:
        """A response in one read: its content and its end."""
        reader = RecordReader()
        self.assertFalse(reader.inside)
        self.assertEqual(
            reader.feed(record(STDOUT, b"\r\nhello", 1) + record(END_REQUEST, END)),
            [(STDOUT, b"\r\nhello"), (END_REQUEST, END)],
        )
        self.assertFalse(reader.inside)

    def test_example(self) -> None:
        """The response of example 3: the empty records that end the streams are not told of."""
        self.assertEqual(read([EXAMPLE]), EXAMPLE_READ)
        self.assertEqual(parse_end_request(EXAMPLE_READ[-1][1]), EndRequest(938, REQUEST_COMPLETE))

    def test_cut_anywhere(self) -> None:
        """Cut in two at every byte, in three at many, or bytewise: the result is the same."""
        end = len(ALL_KINDS)
        for first in range(end + 1):
            for second in {first, min(first + 1, end), min(first + 9, end)}:
                pieces = [ALL_KINDS[:first], ALL_KINDS[first:second], ALL_KINDS[second:]]
                self.assertEqual((first, second, read(pieces)), (first, second, ALL_READ))
        self.assertEqual(read(ALL_KINDS[at : at + 1] for at in range(end)), ALL_READ)

    def test_inside(self) -> None:
        """It is in the middle of a record until that record's last byte, padding included."""
        data = record(STDOUT, b"ab", 2) + record(END_REQUEST, END, 3)
        whole = {0, 12, len(data)}
        reader = RecordReader()
        for at in range(len(data)):
            self.assertEqual(reader.inside, at not in whole)
            reader.feed(data[at : at + 1])
        self.assertFalse(reader.inside)

    def test_at_once(self) -> None:
        """Content of a stream is handed out as it arrives, that of other records when it is
        complete; padding is not waited for."""
        reader = RecordReader()
        data = record(STDOUT, b"abc", 1)
        self.assertEqual(reader.feed(data[:8]), [])
        self.assertEqual(reader.feed(data[8:10]), [(STDOUT, b"ab")])
        self.assertEqual(reader.feed(data[10:11]), [(STDOUT, b"c")])
        self.assertEqual(reader.feed(data[11:]), [])
        end = record(END_REQUEST, END, 7)
        self.assertEqual(reader.feed(end[:15]), [])
        self.assertEqual(reader.feed(end[15:17]), [(END_REQUEST, END)])

    def test_nothing(self) -> None:
        """Nothing changes nothing, wherever it comes."""
        reader = RecordReader()
        for piece in (b"", b"\1", b"", record(STDOUT, b"ab", 1)[1:9], b"", b"b", b""):
            reader.feed(piece)
        self.assertEqual(reader.feed(b"p"), [])
        self.assertFalse(reader.inside)

    def test_inside_a_record_nothing_is_copied(self) -> None:
        """What is all content is handed out as the object it came in."""
        reader = RecordReader()
        reader.feed(record(STDOUT, b"a" * 60000)[:100])
        data = b"a" * 1000
        self.assertIs(reader.feed(data)[0][1], data)

    def test_largest(self) -> None:
        """Records of 65535 bytes with 255 bytes of padding, of every form."""
        content = b"c" * MAX_CONTENT
        for kind in (STDOUT, STDERR, UNHEARD_OF):
            data = record(kind, content, 255)
            self.assertEqual(read([data]), [(kind, content)])
            self.assertEqual(read([data[:40000], data[40000:]]), [(kind, content)])

    @quick
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([STDOUT, STDERR, END_REQUEST, GET_VALUES_RESULT, UNHEARD_OF, 255]),
                st.one_of(st.binary(max_size=20), st.integers(0, 65535).map(bytes)),
                st.integers(0, 255),
            ),
            max_size=6,
        ),
        st.lists(st.integers(1, 70000), max_size=12),
    )
    def test_round_trip(self, sent: list[tuple[int, bytes, int]], cuts: list[int]) -> None:
        """However records are cut, what was sent is read."""
        data, expected = b"", []
        for kind, content, padding in sent:
            if kind == END_REQUEST:
                content = content[:8].ljust(8, b"\0")
            data += record(kind, content, padding, 0 if kind == GET_VALUES_RESULT else 1)
            if content or kind not in (STDOUT, STDERR):
                expected.append((kind, content))
        pieces = []
        for cut in cuts:
            pieces.append(data[:cut])
            data = data[cut:]
        self.assertEqual(read([*pieces, data]), joined(expected))


class EndTests(SynchronousTestCase):
    """END_REQUEST (section 5.5)."""

    def test_every_status(self) -> None:
        """Both statuses are read, the protocol's also when no version has defined it."""
        self.assertEqual((REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE), (0, 1, 2, 3))
        for app_status in (0, 1, 938, 2**32 - 1):
            for status in (REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE, 255):
                content = struct.pack("!IBxxx", app_status, status)
                ((kind, found),) = read([record(END_REQUEST, content)])
                self.assertEqual(kind, END_REQUEST)
                self.assertEqual(parse_end_request(found), (app_status, status))

    def test_reserved(self) -> None:
        """The reserved bytes are not looked at."""
        end = parse_end_request(b"\0\0\0\2\1xyz")
        self.assertEqual((end.app_status, end.protocol_status), (2, CANT_MPX_CONN))


class ErrorTests(SynchronousTestCase):
    """What is refused, and as soon as it can be known."""

    def assert_refused(self, data: bytes, text: str, known: int = 8) -> None:
        """It is refused after so many bytes, also when they come one by one or behind others."""
        for before in (b"", record(STDOUT, b"a", 3)):
            with self.assertRaisesRegex(RecordError, text):
                RecordReader().feed(before + data[:known])
        reader = RecordReader()
        for at in range(known - 1):
            self.assertEqual(reader.feed(data[at : at + 1]), [])
        with self.assertRaisesRegex(RecordError, text):
            reader.feed(data[known - 1 : known])

    def test_version(self) -> None:
        """A version other than 1; HTTP, say."""
        self.assert_refused(b"HTTP/1.1 400 Bad Request\r\n", "version 72")
        self.assert_refused(b"\2" + record(STDOUT, b"a")[1:], "version 2")
        self.assert_refused(bytes(8), "version 0")

    def test_request_id(self) -> None:
        """A request other than ours, be its record of an unknown kind."""
        for kind in (STDOUT, STDERR, END_REQUEST, UNHEARD_OF):
            self.assert_refused(record(kind, END, 0, 2), "request 2")
            self.assert_refused(record(kind, END, 0, 256), "request 256")

    def test_null_request_id(self) -> None:
        """Management records are for request 0, the others are not (appendix A)."""
        for kind in (STDOUT, STDERR, END_REQUEST):
            self.assert_refused(record(kind, END, 0, 0), f"kind {kind} for request 0")
        for kind in (GET_VALUES_RESULT, UNKNOWN_TYPE):
            self.assert_refused(record(kind, END, 0, 1), f"kind {kind} for request 1")

    def test_kinds_of_the_server(self) -> None:
        """Kinds that only a server sends: something sends back what it gets."""
        for data in (BEGIN_KEEP, END_OF_STDIN, GET_VALUES, encode_params([b"\1\1ab"])):
            self.assert_refused(data, "from an application")
        for kind in (2, 8):
            self.assert_refused(record(kind, b""), f"kind {kind} .* from an application")

    def test_size(self) -> None:
        """END_REQUEST and UNKNOWN_TYPE have eight bytes of content."""
        for length in (0, 1, 7, 9, 16, 65535):
            content = bytes(length)
            self.assert_refused(record(END_REQUEST, content), f"kind 3 with {length} bytes")
            self.assert_refused(record(UNKNOWN_TYPE, content, 0, 0), f"kind 11 with {length}")

    def test_unknown_kinds(self) -> None:
        """Kinds that are not defined are handed out, as management records or the request's."""
        for kind in (0, 12, 13, 128, 255):
            for request_id in (0, REQUEST_ID):
                data = record(kind, b"whatever", 2, request_id) + record(STDOUT, b"goes on")
                self.assertEqual(read([data]), [(kind, b"whatever"), (STDOUT, b"goes on")])

    def test_is_a_value_error(self) -> None:
        """Callers that know nothing of records can tell it from a defect."""
        self.assertTrue(issubclass(RecordError, ValueError))


class RecordTests(SynchronousTestCase):
    """Any record."""

    def test_encode(self) -> None:
        """Kind, request and content are where section 3.3 has them; there is no padding."""
        self.assertEqual(encode_record(UNHEARD_OF, b"abc", 0x102), record(12, b"abc", 0, 0x102))
        self.assertEqual(encode_record(STDOUT, b""), record(STDOUT, b""))
