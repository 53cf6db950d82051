"""Framings by their names, and frames that tell their size."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.framing import (
    FRAMINGS,
    FrameError,
    FrameSizeError,
    Framing,
    FramingError,
    SizedFramer,
    parse_framing,
)
from fastcar_tw.relay.framings.eof import EOFFraming
from fastcar_tw.relay.framings.length import LengthFraming
from tests.relay.framings.support import ends, every_split, fails
from tests.relay.netstring import NetstringFramer, NetstringFraming

NETSTRING = "tests.relay.netstring.NetstringFraming"
BARE = f"{__name__}.BareFraming"
BROKEN = f"{__name__}.BrokenFraming"


class BareFraming(Framing):
    """Takes no argument."""

    def __init__(self) -> None:
        pass


class BrokenFraming(Framing):
    """Cannot be made."""

    def __init__(self, argument: str, max_frame: int) -> None:
        raise OSError("no such place")


class ParseFraming(SynchronousTestCase):
    """What --framing understands."""

    def refused(self, text: str) -> FramingError:
        """Assert that a text is refused in the name of the option."""
        error: FramingError = self.assertRaises(FramingError, parse_framing, text, 1000)
        self.assertTrue(str(error).startswith("--framing: expected "), str(error))
        return error

    def test_short_names(self) -> None:
        """A short name makes the framing that it stands for."""
        self.assertIsInstance(parse_framing("eof:\\n", 1000), EOFFraming)
        self.assertIsInstance(parse_framing("length:N:0:4", 1000), LengthFraming)

    def test_argument(self) -> None:
        """What follows the first colon is the argument, further colons included."""
        framer = parse_framing("eof::", 1000).requests()
        self.assertEqual(framer.feed(b"a:bc:"), [2, 5])

    def test_dotted_place(self) -> None:
        """A class is found by its place in Python, and has its argument as others have."""
        self.assertIsInstance(parse_framing(NETSTRING, 1000), NetstringFraming)
        self.assertIn("no argument", self.refused(NETSTRING + ":x").reason)

    def test_max_frame(self) -> None:
        """The framing is told of --max-frame."""
        framer = parse_framing(NETSTRING, 3).requests()
        self.assertEqual(framer.feed(b"0:,"), [3])
        self.assertRaises(FrameSizeError, framer.feed, b"1:x,")

    def test_unknown_name(self) -> None:
        """What is no name and no place is refused with the names that there are."""
        for text in ("", "eol", "EOF", ":", "length\n"):
            with self.subTest(text=text):
                expected = self.refused(text).expected
                for name in FRAMINGS:
                    self.assertIn(name, expected)

    def test_nothing_there(self) -> None:
        """A place where there is no module, or nothing in it, is refused with the reason."""
        self.assertIn("no_such", self.refused("no_such.module.Framing").reason)
        self.assertIn("NoSuch", self.refused("tests.relay.netstring.NoSuch").reason)
        for text in (".", "..", "a..b", ".x"):
            with self.subTest(text=text):
                self.refused(text)

    def test_no_framing(self) -> None:
        """What is no class, or no class of framings, is refused."""
        for place in (
            "tests.relay.netstring",
            "tests.relay.netstring.NetstringFramer",
            "fastcar_tw.relay.framing.parse_framing",
        ):
            with self.subTest(place=place):
                self.assertIn(place, self.refused(place).reason)

    def test_other_constructor(self) -> None:
        """A class that cannot be made, for whatever reason, is refused with the reason."""
        expected = "a subclass of fastcar_tw.relay.framing.Framing"
        for place, reason in ((BARE, "positional argument"), (BROKEN, "no such place")):
            error = self.refused(place)
            self.assertEqual(error.expected, expected)
            self.assertTrue(error.reason.startswith(f"{place}(argument, max_frame): "))
            self.assertIn(reason, error.reason)

    def test_defaults(self) -> None:
        """A framing that says nothing of clients lets all share, knows no error, and has no
        response for requests that are not carried out."""
        framing = Framing("", 1000)
        self.assertIsNone(framing.session())
        self.assertFalse(framing.is_error(b"anything"))
        self.assertIsNone(framing.refusal("anything"))


class Netstrings(SynchronousTestCase):
    """The example of a framing of one's own, and with it frames that tell their size."""

    def framer(self) -> NetstringFramer:
        """A framer of netstrings of up to 100 bytes."""
        return NetstringFramer(100)

    def test_every_split(self) -> None:
        """However netstrings are split, their ends are found."""
        stream = b"5:hello,0:,12:a 5:hello, b,3:"
        self.assertEqual(every_split(self.framer, stream), [8, 11, 27])

    def test_end_before_it_is_there(self) -> None:
        """A frame whose size is known takes what comes, whatever it is, and keeps none of it."""
        chunks = [b"20:", b":" * 10, b"", b":" * 10, b",1", b":x", b","]
        self.assertEqual(ends(self.framer(), chunks), [24, 28])

    def test_largest(self) -> None:
        """A frame may have as many bytes as --max-frame says, and not one more."""
        self.assertEqual(every_split(self.framer, b"96:" + b"x" * 96 + b","), [100])
        self.assertIn("1 to 100 bytes (--max-frame)", fails(self.framer, b"0:,97:xxx"))

    def test_too_large_is_known_early(self) -> None:
        """A frame is refused as soon as it tells its size."""
        framer = self.framer()
        self.assertEqual(framer.feed(b"99999"), [])
        self.assertRaises(FrameSizeError, framer.feed, b":")

    def test_none(self) -> None:
        """What is no netstring is refused; no byte of it is in the error."""
        for stream in (b":x,", b"1:x,secret:", b"-1:x,", b" 1:x,"):
            with self.subTest(stream=stream):
                self.assertEqual(fails(self.framer, stream), "expected a netstring")

    def test_comma(self) -> None:
        """A frame that does not end where its size says is none; those before it are."""
        for chunks in ([b"0:,1:xX0:,"], [b"0:,", b"1:x", b"X0:,"]):
            with self.subTest(chunks=chunks):
                framer = self.framer()
                for chunk in chunks[:-1]:
                    framer.feed(chunk)
                error = self.assertRaises(FrameError, framer.feed, chunks[-1])
                self.assertEqual(str(error), "expected ',' behind a netstring")
                self.assertEqual(list(error.ends), [3] if len(chunks) == 1 else [])

    def test_no_size(self) -> None:
        """A frame must tell its size within the bytes that it has for this."""
        framer = self.framer()
        self.assertEqual(framer.feed(b"000000000"), [])
        self.assertRaises(FrameError, framer.feed, b"0")
        self.assertIn("first 10 bytes", fails(self.framer, b"0:,0000000000:"))

    def test_no_bytes(self) -> None:
        """A frame without a byte, which would never end, is refused."""

        class Empty(SizedFramer):
            def frame_size(self, data: bytes, start: int) -> int:
                return 0

        self.assertRaises(FrameSizeError, Empty(100).feed, b"x")
