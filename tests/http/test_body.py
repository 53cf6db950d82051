"""Body readers: content at once, the exact end, and nothing lost behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.body import (
    MAX_CHUNK_EXTENSIONS,
    MAX_CHUNK_LINE,
    BodyReader,
    ChunkedReader,
    CloseDelimitedReader,
    LengthReader,
    chunk,
    last_chunk,
)
from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.head import MAX_HEAD

#: Every state of the reader within a few bytes.
CHUNKED = b"3;a=b\r\nabc\r\n01 ; c\r\nd\r\n2\r\n\r\n\r\n0;e\r\nT: u\r\nV:\r\n\r\n"
CONTENT = b"abcd\r\n"
TRAILERS = b"T: u\r\nV:\r\n"
BEHIND = b"GET / HTTP/1.1\r\n\r\n"


def drain(reader: BodyReader, pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
    """Feed a reader until it is finished; return the content and what is behind it."""
    content = b""
    behind = b""
    for piece in pieces:
        if reader.finished:
            behind += piece
        else:
            content += reader.feed(piece)
    return content, reader.leftover + behind


class ReaderCase(SynchronousTestCase):
    """Splits messages."""

    def assert_splits(
        self, make: Callable[[], BodyReader], body: bytes, content: bytes, trailers: bytes = b""
    ) -> None:
        """Cut in two at every position, in three at many, or bytewise: the result is the same."""
        data = body + BEHIND
        cuts = [(first, second) for first in range(len(data)) for second in (first, first + 2)]
        for first, second in cuts:
            pieces = [data[:first], data[first:second], data[second:]]
            reader = make()
            result = drain(reader, [piece for piece in pieces if piece])
            self.assertEqual((first, result), (first, (content, BEHIND)))
            self.assertEqual(reader.trailers, trailers)
            self.assertTrue(reader.finished and reader.end_of_stream())
        single = (data[at : at + 1] for at in range(len(data)))
        self.assertEqual(drain(make(), single), (content, BEHIND))

    def assert_incomplete(self, make: Callable[[], BodyReader], body: bytes) -> None:
        """However much of it is missing, the end of the stream does not complete it."""
        for end in range(len(body)):
            reader = make()
            if end:
                reader.feed(body[:end])
            self.assertFalse(reader.finished or reader.end_of_stream(), end)


class LengthReaderTests(ReaderCase):
    """RFC 9112 section 6.3, rule 6."""

    def test_splits(self) -> None:
        """The body ends after its length, however it arrives."""
        self.assert_splits(lambda: LengthReader(7), b"content", b"content")

    def test_nothing(self) -> None:
        """A length of 0 is complete before anything arrives."""
        reader = LengthReader(0)
        self.assertTrue(reader.finished)
        self.assertEqual((reader.leftover, reader.trailers), (b"", b""))

    def test_incomplete(self) -> None:
        """An early end leaves it incomplete (section 8)."""
        self.assert_incomplete(lambda: LengthReader(7), b"content")

    def test_content_is_not_copied(self) -> None:
        """What is all content is handed on as the object it came as."""
        reader = LengthReader(6)
        data = b"con"
        self.assertIs(reader.feed(data), data)
        self.assertIs(reader.feed(data), data)


class CloseDelimitedReaderTests(SynchronousTestCase):
    """RFC 9112 section 6.3, rule 8."""

    def test_ends_with_the_stream(self) -> None:
        """All of it is content, and only the end of the stream ends it."""
        reader = CloseDelimitedReader()
        self.assertEqual(reader.feed(b"a\r\n0\r\n\r\n"), b"a\r\n0\r\n\r\n")
        self.assertEqual(reader.feed(b"b"), b"b")
        self.assertFalse(reader.finished)
        self.assertTrue(reader.end_of_stream())
        self.assertTrue(reader.finished)
        self.assertEqual((reader.leftover, reader.trailers), (b"", b""))


class ChunkedReaderTests(ReaderCase):
    """RFC 9112 section 7.1; what is refused is in tests.http.shapes."""

    def test_splits(self) -> None:
        """Content, trailers and end are the same however it arrives."""
        self.assert_splits(ChunkedReader, CHUNKED, CONTENT, TRAILERS)

    def test_splits_without_trailers(self) -> None:
        """The same without trailers."""
        self.assert_splits(ChunkedReader, b"5\r\nhello\r\n0\r\n\r\n", b"hello")

    def test_incomplete(self) -> None:
        """An early end leaves it incomplete, in the trailers too (section 8)."""
        self.assert_incomplete(ChunkedReader, CHUNKED)

    def test_content_comes_at_once(self) -> None:
        """Content is handed on as it arrives, not when its chunk is complete."""
        reader = ChunkedReader()
        self.assertEqual(reader.feed(b"a\r\nab"), b"ab")
        self.assertEqual(reader.feed(b"cd"), b"cd")
        self.assertEqual(reader.feed(b"efghij"), b"efghij")
        self.assertEqual(reader.feed(b"\r\n3\r\nk"), b"k")

    def test_content_is_not_copied(self) -> None:
        """What is all content is handed on as the object it came as."""
        reader = ChunkedReader()
        reader.feed(b"100\r\n")
        data = b"x" * 100
        self.assertIs(reader.feed(data), data)

    def test_large_sizes(self) -> None:
        """Chunks beyond 32 and 53 bits are counted exactly."""
        for size in (2**32, 2**53 + 1, 16**15 - 1):
            reader = ChunkedReader()
            self.assertEqual(reader.feed(b"%x\r\nabc" % size), b"abc")
            self.assertFalse(reader.finished)

    def test_many_chunks_at_once(self) -> None:
        """Any number of chunks may come in one piece."""
        reader = ChunkedReader()
        self.assertEqual(reader.feed(b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"), b"x" * 5000)
        self.assertTrue(reader.finished)

    def test_longest_line(self) -> None:
        """A line of the limit passes; one byte more does not, with or without its end."""
        line = b"1;" + b"e" * (MAX_CHUNK_LINE - 4) + b"\r\n"
        self.assertEqual(ChunkedReader().feed(line + b"x"), b"x")
        self.assertRaises(MessageError, ChunkedReader().feed, line[:-2] + b"e\r\n")
        self.assertRaises(MessageError, ChunkedReader().feed, line[:-2] + b"eee")

    def test_sum_of_extensions(self) -> None:
        """All extensions of a message together are limited (section 7.1.1)."""
        part = b"1;%b\r\nx\r\n" % (b"e" * 1023)
        reader = ChunkedReader()
        for _ in range(MAX_CHUNK_EXTENSIONS // 1024):
            self.assertEqual(reader.feed(part), b"x")
        self.assertRaises(MessageError, reader.feed, b"1;\r\n")

    def test_largest_trailer(self) -> None:
        """A trailer section of the limit passes; one byte more is a 431."""
        line = b"T: %b\r\n" % (b"t" * (MAX_HEAD - 5))
        self.assertEqual(len(line), MAX_HEAD)
        reader = ChunkedReader()
        reader.feed(b"0\r\n" + line + b"\r\n" + BEHIND)
        self.assertTrue(reader.finished)
        self.assertEqual((reader.trailers, reader.leftover), (line, BEHIND))
        error = self.assertRaises(MessageError, ChunkedReader().feed, b"0\r\nt" + line + b"\r\n")
        self.assertEqual(error.status, 431)


class WriteTests(SynchronousTestCase):
    """Encoding."""

    def test_chunk(self) -> None:
        """Content becomes a chunk of its size; empty content nothing, for it would end the body."""
        self.assertEqual(chunk(b"hello"), b"5\r\nhello\r\n")
        self.assertEqual(chunk(b"x" * 256), b"100\r\n" + b"x" * 256 + b"\r\n")
        self.assertEqual(chunk(b""), b"")

    def test_last_chunk(self) -> None:
        """The end of a body holds its trailers."""
        self.assertEqual(last_chunk(b""), b"0\r\n\r\n")
        self.assertEqual(last_chunk(b"T: u\r\n"), b"0\r\nT: u\r\n\r\n")

    def test_round_trip(self) -> None:
        """What is encoded is read back, in any sizes."""
        for sizes in ((1,), (9, 10, 15, 16, 17), (255, 256, 257), (65536, 0, 1)):
            contents = [b"\r\n0\r\n\r\n"[: size % 7] * (size // 7) + b"x" * size for size in sizes]
            data = b"".join(map(chunk, contents)) + last_chunk(TRAILERS)
            reader = ChunkedReader()
            self.assertEqual(drain(reader, [data + BEHIND]), (b"".join(contents), BEHIND))
            self.assertEqual(reader.trailers, TRAILERS)
