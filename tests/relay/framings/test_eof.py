"""Frames that end with a terminator."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.framing import Framer, FrameSizeError, FramingError
from fastcar_tw.relay.framings.eof import EOFFraming
from tests.relay.framings.support import bytewise, ends, every_split, fails


class Ends(SynchronousTestCase):
    """Where frames end."""

    def framer(self) -> Framer:
        """A framer of lines of up to 100 bytes."""
        return EOFFraming(r"\r\n", 100).requests()

    def test_whole(self) -> None:
        """A frame ends behind its terminator."""
        self.assertEqual(self.framer().feed(b"hello\r\n"), [7])

    def test_several(self) -> None:
        """All frames of a read are found; one may be nothing but its terminator."""
        self.assertEqual(self.framer().feed(b"a\r\n\r\nbc\r\n"), [3, 5, 9])

    def test_partial(self) -> None:
        """What is behind the last terminator belongs to the frame that follows."""
        framer = self.framer()
        self.assertEqual(framer.feed(b"a\r\nb"), [3])
        self.assertEqual(framer.feed(b""), [])
        self.assertEqual(framer.feed(b"c\r\nd\r\n"), [3, 6])

    def test_every_split(self) -> None:
        """However frames are split, in the midst of a terminator too, their ends are found."""
        stream = b"first\r\nse\rco\nnd\r\n\r\r\n\n\r\r\nlast\r"
        self.assertEqual(every_split(self.framer, stream), [7, 17, 20, 24])

    def test_overlapping_itself(self) -> None:
        """A terminator that begins like it goes on is found where a search finds it first."""
        for text, stream, expected in (
            ("aab", b"aaab aabaab aaaaab a", [4, 8, 11, 18]),
            (r"\r\r\n", b"x\r\r\r\n\r\r\n\r\n\r\r", [5, 8]),
            ("aa", b"aaaaa", [2, 4]),
            ("abab", b"ababab abab", [4, 11]),
            ("aaa", b"aa aaaa aa a", [6]),
        ):
            with self.subTest(text=text):
                framing = EOFFraming(text, 100)
                self.assertEqual(every_split(framing.responses, stream), expected)

    def test_one_byte(self) -> None:
        """A terminator may be one byte."""
        framing = EOFFraming(r"\0", 100)
        self.assertEqual(every_split(framing.requests, b"a\0\0bc\0d"), [2, 3, 6])

    def test_two_ways(self) -> None:
        """Each framer is one of its own: requests and responses are fed apart."""
        framing = EOFFraming(r"\r\n", 100)
        requests, responses = framing.requests(), framing.responses()
        self.assertEqual(requests.feed(b"a\r"), [])
        self.assertEqual(responses.feed(b"\nb\r\n"), [4])
        self.assertEqual(requests.feed(b"\n"), [1])


class Largest(SynchronousTestCase):
    """How large frames may be."""

    def framer(self) -> Framer:
        """A framer of lines of up to 10 bytes."""
        return EOFFraming(r"\r\n", 10).requests()

    def test_largest(self) -> None:
        """Frames may have as many bytes as --max-frame says, their terminators included."""
        self.assertEqual(every_split(self.framer, b"12345678\r\n" * 2 + b"123456789"), [10, 20])

    def test_whole_but_too_large(self) -> None:
        """One byte more is too much, though its end is there, and wherever it stands in a read."""
        for stream in (b"123456789\r\n", b"1\r\n123456789\r\n2\r\n", b"1234567890\n\r\n"):
            with self.subTest(stream=stream):
                said = fails(self.framer, stream)
                self.assertEqual(said, "expected a frame of 1 to 10 bytes (--max-frame)")

    def test_without_end(self) -> None:
        """A frame is refused with the byte that lets no end be small enough."""
        framer = self.framer()
        self.assertEqual(ends(framer, bytewise(b"\r\n123456789")), [2])
        self.assertRaises(FrameSizeError, framer.feed, b"\r")

    def test_no_bytes_kept(self) -> None:
        """Many frames in small reads are no large frame."""
        self.assertEqual(len(ends(self.framer(), [b"1234", b"56\r\n1", b"\r\n"] * 50)), 100)


class Terminator(SynchronousTestCase):
    """What a terminator may be."""

    def terminates(self, text: str, terminator: bytes) -> None:
        """Assert which bytes a text stands for."""
        framer = EOFFraming(text, 100).requests()
        self.assertEqual(framer.feed(b"<" + terminator + b">"), [1 + len(terminator)])

    def test_escapes(self) -> None:
        """Escapes stand for the bytes that have no letter."""
        for text, terminator in (
            (r"\r\n\r\n", b"\r\n\r\n"),
            (r"\t\0", b"\t\0"),
            (r"\x00\x0a\xFF\xfe", b"\0\n\xff\xfe"),
            (r"\\n", b"\\n"),
            (r"\\\n", b"\\\n"),
            (r"\01", b"\x001"),
            ("END\n", b"END\n"),
            (":", b":"),
            ("\u00e9", b"\xc3\xa9"),
            ("\udcff", b"\xff"),
        ):
            with self.subTest(text=text):
                self.terminates(text, terminator)

    def test_refused(self) -> None:
        """What cannot be understood is refused, with what would do."""
        for text in ("", "\\", "a\\", r"\q", r"\x", r"\x0", r"\xg0", "\\\u00e9", "\\\n", r"\R"):
            with self.subTest(text=text):
                error = self.assertRaises(FramingError, EOFFraming, text, 100)
                self.assertIn(r"eof:TERMINATOR, a TERMINATOR of at least one byte", str(error))
                self.assertTrue(error.reason)

    def test_larger_than_frames(self) -> None:
        """A terminator that no frame has room for is refused."""
        self.assertEqual(EOFFraming("abc", 3).requests().feed(b"abc"), [3])
        error = self.assertRaises(FramingError, EOFFraming, "abcd", 3)
        self.assertEqual(error.reason, "it has 4 bytes, and --max-frame is 3")
