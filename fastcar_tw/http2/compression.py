"""
HPACK (RFC 7541) for one connection that carries the requests of many clients to one origin, which
are much alike: the library hpack, with what it would do again and again remembered.

Theory of operation.  How a field is written depends on the table and on nothing else.  So as long
as the table has not changed, a field that is in it is written as the last time, and a header
section that did not change it means what it meant the last time.  A section that refers to no entry
of the table always means the same, and adds the same to it: nginx sends only such.

The table only helps if it is left alone: every entry moves all others.  So a field enters it when
its name has had the same value twice in a row, and not, like the path, with each request anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hpack.table import HeaderTable

#: Bytes of the table that header sections are compressed with, in either direction.
TABLE_SIZE = 4096
#: Bytes of a value that may enter the table: none is to push out all others.
MAX_INDEXED = 1024
#: Names whose last value is remembered.
MAX_NAMES = 128
#: Header sections whose meaning is remembered, and bytes of each.
MAX_SECTIONS = 32
MAX_SECTION = 2048

#: The first bits of a literal that is never to be indexed (RFC 7541 section 6.2.3).
_NEVER = 0x10


class CountingTable(HeaderTable):
    """
    A table that can tell what is done to it.

    @ivar changes: how often it has changed.
    @ivar resizes: how often its size has.
    @ivar highest: the highest index that was asked for.
    @ivar added: entries, if somebody wants to know.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.resizes = 0
        self.highest = 0
        self.added: list[tuple[bytes, bytes]] | None = None

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        if self.added is not None:
            self.added.append((name, value))
        super().add(name, value)

    def get_by_index(self, index: int) -> tuple[bytes, bytes]:
        if index > self.highest:
            self.highest = index
        return super().get_by_index(index)

    @property
    def maxsize(self) -> int:
        return HeaderTable.maxsize.fget(self)  # type: ignore[attr-defined,no-any-return]  # a property

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changes += 1
        self.resizes += 1
        HeaderTable.maxsize.fset(self, size)  # type: ignore[attr-defined]  # so is this


class FieldEncoder(Encoder):
    """
    Writes fields, with a table of at most L{TABLE_SIZE} whatever the origin would keep.
    """

    header_table: CountingTable

    def __init__(self) -> None:
        super().__init__()
        self.header_table = CountingTable()
        self._known: dict[tuple[bytes, bytes], bytes] = {}
        self._last: dict[bytes, bytes] = {}

    @property
    def header_table_size(self) -> int:
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        size = min(size, TABLE_SIZE)
        # hpack forgets to tell a change if the same size is set once more before it has told it.
        if size != self.header_table.maxsize:
            self.header_table.maxsize = size
            # The smallest, then the one that holds, and no more (RFC 7541 section 4.2).
            smallest = min([size, *self.table_size_changes])
            self.table_size_changes = sorted({smallest, size})
            self._known.clear()

    def encode(self, headers: Iterable[Any], huffman: bool = False) -> bytes:
        """
        @param headers: pairs of bytes; what must never be indexed is a L{NeverIndexedHeaderTuple}.
        @param huffman: make literals shorter, which takes more time than that is worth.
        """
        known = self._known
        block = [super().encode((), huffman)] if self.header_table.resized else []
        for field in headers:
            written = known.get(field)
            if written is None or field.__class__ is NeverIndexedHeaderTuple:
                written = self._write(field, huffman)
            block.append(written)
        return b"".join(block)

    def _write(self, field: tuple[bytes, bytes], huffman: bool) -> bytes:
        table = self.header_table
        if not self._is_worth_indexing(field):
            written = self.add(field, True, huffman)
            if field.__class__ is not NeverIndexedHeaderTuple and written[0] & 0xF0 == _NEVER:
                # hpack knows no third way: not indexed here, but others may (RFC 7541 section 6.2).
                written = bytes([written[0] & ~_NEVER]) + written[1:]
            return written
        before = table.changes
        written = self.add(field, False, huffman)
        if table.changes == before:
            self._known[field] = written
        else:
            self._known.clear()
        return written

    def _is_worth_indexing(self, field: tuple[bytes, bytes]) -> bool:
        if field.__class__ is NeverIndexedHeaderTuple:
            return False
        name, value = field
        last = self._last
        if last.get(name) == value:
            return True
        if len(value) <= MAX_INDEXED:
            if len(last) >= MAX_NAMES:
                last.clear()
            last[name] = value
        return False


class SectionDecoder(Decoder):
    """
    Reads header sections.  What it returns is remembered, and not to be changed.
    """

    header_table: CountingTable

    def __init__(self, max_header_list_size: int) -> None:
        """
        @param max_header_list_size: bytes of a section, as RFC 9113 section 6.5.2 counts them.
        """
        super().__init__(max_header_list_size)
        self.header_table = CountingTable()
        # Sections that mean this as long as the table is as it was, and those that always do, with
        # what they add to it.
        self._known: dict[bytes, Any] = {}
        self._constant: dict[bytes, tuple[Any, list[tuple[bytes, bytes]]]] = {}
        self._changes = 0

    def decode(self, data: bytes, raw: bool = False) -> Any:
        """
        @raise HPACKError: it cannot be read.
        """
        table = self.header_table
        constant = self._constant.get(data)
        if constant is not None:
            fields, added = constant
            for name, value in added:
                table.add(name, value)
            return fields
        if self._changes != table.changes:
            self._changes = table.changes
            self._known.clear()
        fields = self._known.get(data)
        return self._read(data, raw) if fields is None else fields

    def _read(self, data: bytes, raw: bool) -> Any:
        table = self.header_table
        resizes = table.resizes
        table.highest = 0
        added: list[tuple[bytes, bytes]] = []
        table.added = added
        fields = super().decode(data, raw)
        table.added = None
        if len(data) > MAX_SECTION or table.resizes != resizes:
            return fields
        if table.highest <= HeaderTable.STATIC_TABLE_LENGTH:
            if len(self._constant) >= MAX_SECTIONS:
                self._constant.clear()
            self._constant[data] = fields, added
        elif not added and len(self._known) < MAX_SECTIONS:
            self._known[data] = fields
        return fields
