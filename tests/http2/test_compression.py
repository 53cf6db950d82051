"""HPACK with what is done again and again remembered."""

from __future__ import annotations

from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http2.compression import (
    MAX_INDEXED,
    MAX_NAMES,
    TABLE_SIZE,
    FieldEncoder,
    SectionDecoder,
)

Field = tuple[bytes, bytes]

GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"a.test"),
    (b":path", b"/"),
    (b"user-agent", b"curl/8.0"),
]
SECRET = NeverIndexedHeaderTuple(b"authorization", b"Bearer secret")


class FieldEncoderTests(SynchronousTestCase):
    """L{FieldEncoder}."""

    def setUp(self) -> None:
        """Have one, and an ordinary decoder at the other end."""
        self.encoder = FieldEncoder()
        self.decoder = Decoder()

    def encode(self, fields: list[Field]) -> bytes:
        """Encode and see that it means the same to a decoder."""
        block = self.encoder.encode(fields)
        self.assertEqual([tuple(each) for each in self.decoder.decode(block, raw=True)], fields)
        return block

    @property
    def indexed(self) -> list[Field]:
        """What is in the table of the other end."""
        return list(self.decoder.header_table.dynamic_entries)

    def test_second_time(self) -> None:
        """A field enters the table when its name has had the same value twice in a row."""
        self.encode(GET)
        self.assertEqual(self.indexed, [])
        self.encode(GET)
        self.assertEqual(set(self.indexed), {GET[2], GET[4]})

    def test_repeated(self) -> None:
        """From then on the same fields take a byte each."""
        for _ in range(3):
            block = self.encode(GET)
        self.assertEqual(len(block), len(GET))

    def test_changing_value(self) -> None:
        """What differs each time never enters the table, so that all else can stay."""
        for number in range(100):
            path = (b":path", b"/%d" % number)
            block = self.encode([*GET[:3], path, GET[4]])
        self.assertEqual(len(self.indexed), 2)
        self.assertLess(len(block), len(GET) + 8)

    def test_never_indexed(self) -> None:
        """What must never be indexed is not, however often it comes."""
        for _ in range(5):
            block = self.encode([*GET, SECRET])
        self.assertNotIn(tuple(SECRET), self.indexed)
        kinds = [type(each) for each in Decoder.decode(self.decoder, block, raw=True)]
        self.assertIs(kinds[-1], NeverIndexedHeaderTuple)

    def test_never_indexed_beside_indexed(self) -> None:
        """The same field in both kinds is written in both kinds, unless it is in the table."""
        plain = (SECRET[0], SECRET[1])
        self.encode([SECRET])
        self.encode([plain])
        self.assertEqual(self.indexed, [])

    def test_large_value(self) -> None:
        """A large value does not push out all others."""
        for _ in range(3):
            self.encode([*GET, (b"x-large", b"x" * (MAX_INDEXED + 1))])
        self.assertEqual(len(self.indexed), 2)

    def test_many_names(self) -> None:
        """Not every name ever sent is remembered."""
        for number in range(3 * MAX_NAMES):
            self.encode([(b"x-%d" % number, b"1")])
        self.assertLessEqual(len(self.encoder._last), MAX_NAMES)

    def test_smaller_table(self) -> None:
        """A smaller table is told before the next fields, and what was known is written anew."""
        for _ in range(3):
            self.encode(GET)
        for size in (0, 100, TABLE_SIZE):
            self.encoder.header_table_size = size
            for _ in range(3):
                self.encode(GET)
            self.assertEqual(self.decoder.header_table_size, size)

    def test_larger_table(self) -> None:
        """The table stays as it is when the origin would keep a larger one."""
        self.encoder.header_table_size = 1 << 30
        self.assertEqual(self.encoder.header_table_size, TABLE_SIZE)
        self.encode(GET)

    def test_two_changes(self) -> None:
        """Of several sizes the smallest and the last are told (RFC 7541 section 4.2)."""
        for sizes in ((300, 40), (40, 300), (300, 40, 200), (0, TABLE_SIZE)):
            for size in sizes:
                self.encoder.header_table_size = size
            # What the origin has allowed last is what its decoder goes by.
            self.decoder.max_allowed_table_size = sizes[-1]
            self.encode(GET)
            self.assertEqual(self.decoder.header_table_size, sizes[-1])

    @given(
        st.lists(
            st.one_of(
                st.lists(
                    st.tuples(
                        st.sampled_from((b":path", b"a", b"b", b"accept", b"x" * 50)),
                        st.sampled_from((b"", b"/", b"1", b"2", b"y" * 900, b"z" * 1500)),
                    ),
                    max_size=6,
                ),
                st.sampled_from((0, 60, 1000, TABLE_SIZE)),
            ),
            max_size=40,
        )
    )
    def test_any_sequence(self, steps: list[list[Field] | int]) -> None:
        """Whatever comes, in whatever order, an ordinary decoder reads it."""
        self.setUp()
        for step in steps:
            if isinstance(step, int):
                self.encoder.header_table_size = step
            else:
                self.encode(step)


class SectionDecoderTests(SynchronousTestCase):
    """L{SectionDecoder}."""

    def setUp(self) -> None:
        """Have one, and an ordinary encoder at the other end."""
        self.decoder = SectionDecoder(2000)
        self.encoder = Encoder()

    def test_repeated(self) -> None:
        """A section that changes nothing means the same again."""
        self.decoder.decode(self.encoder.encode(GET), raw=True)
        block = self.encoder.encode(GET)
        first = self.decoder.decode(block, raw=True)
        self.assertEqual([tuple(each) for each in first], GET)
        self.assertIs(self.decoder.decode(block, raw=True), first)

    def test_without_the_table(self) -> None:
        """A section that refers to nothing in the table means the same again, and adds the same."""
        block = b"\x40\x01x\x011\x40\x01y\x012"
        first = self.decoder.decode(block, raw=True)
        self.decoder.decode(self.encoder.encode([(b"z", b"3")]), raw=True)
        self.assertIs(self.decoder.decode(block, raw=True), first)
        self.assertEqual(
            list(self.decoder.header_table.dynamic_entries),
            [(b"y", b"2"), (b"x", b"1"), (b"z", b"3"), (b"y", b"2"), (b"x", b"1")],
        )

    def test_not_after_an_error(self) -> None:
        """What could not be read is not remembered."""
        for _ in range(2):
            with self.assertRaises(HPACKError):
                self.decoder.decode(b"\x40\x01x\x011\x40\x05y", raw=True)

    def test_resized(self) -> None:
        """Nor is one that changes the table's size."""
        block = b"\x20" + Encoder().encode([(b"x", b"1")])
        for _ in range(2):
            self.decoder.decode(Encoder().encode([(b"z", b"3")]), raw=True)
            [field] = self.decoder.decode(block, raw=True)
            self.assertEqual(tuple(field), (b"x", b"1"))
            self.assertEqual(list(self.decoder.header_table.dynamic_entries), [])

    def test_resized_between(self) -> None:
        """Such a section counts each time, whatever size the table has been given between."""
        block = b"\x3f\x45" + b"\x40\x01x\x01" + b"1"  # a table of 100 bytes, and an entry
        self.decoder.decode(block, raw=True)
        self.decoder.decode(b"\x3f\xe1\x1f", raw=True)  # one of 4096
        self.decoder.decode(block, raw=True)
        self.assertEqual(self.decoder.header_table_size, 100)

    def test_after_a_change(self) -> None:
        """The same bytes mean something else when the table has changed."""
        for _ in range(3):
            block = self.encoder.encode([(b"x", b"1")])
            self.decoder.decode(block, raw=True)
        self.decoder.decode(self.encoder.encode([(b"y", b"2")]), raw=True)
        [field] = self.decoder.decode(block, raw=True)
        self.assertEqual(tuple(field), (b"y", b"2"))

    def test_too_large(self) -> None:
        """A section beyond the limit is an error each time."""
        block = self.encoder.encode([(b"x", b"1" * 2000)])
        for _ in range(2):
            with self.assertRaises(OversizedHeaderListError):
                self.decoder.decode(block, raw=True)

    @given(
        st.lists(
            st.tuples(
                st.lists(
                    st.tuples(
                        st.sampled_from((b":status", b"a", b"date")),
                        st.sampled_from((b"", b"200", b"1", b"y" * 600)),
                    ),
                    max_size=3,
                ),
                st.sampled_from((False, False, True)),
            ),
            max_size=40,
        )
    )
    def test_any_sequence(self, sections: list[tuple[list[Field], bool]]) -> None:
        """Whatever comes, in whatever order, is read as by an ordinary decoder."""
        self.setUp()
        for section, literally in sections:
            if literally:
                # As nginx does it: an entry is made, and never used.
                block = b"".join(
                    self.encoder._encode_literal(name, value, b"\x40") for name, value in section
                )
                for name, value in section:
                    self.encoder.header_table.add(name, value)
            else:
                block = self.encoder.encode(section)
            fields = self.decoder.decode(block, raw=True)
            self.assertEqual([tuple(each) for each in fields], section)
