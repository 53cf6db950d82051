"""
Tests of C{--framing memcached}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.framing import FrameError, FrameSizeError, FramingError, Use
from fastcar_tw.relay.framings.memcached import MAX_LINE, MemcachedFraming

from .support import bytewise, ends, every_split, fails

FRAMING = MemcachedFraming("", 1 << 20)

KEY = b"k" * 250

#: Requests that every memcached answers once.
SHARED = [
    b"get a\r\n",
    b"get a b  c \r\n",
    b"get noreply\r\n",
    b"gets %b %b\r\n" % (KEY, KEY),
    b"gat 0 a\r\n",
    b"gats 100 a b\r\n",
    b"set a 0 0 2\r\nab\r\n",
    b"set %b 4294967295 -1 0\r\n\r\n" % KEY,
    b"set a 4199999999 2139999999 2\r\nab\r\n",
    b"set a 0 -2139999999 2\r\nab\r\n",
    b"add a 0 0 6\r\nget b\r\r\n",
    b"add a 0 0 7\r\nget b\r\n\r\n",
    b"replace a 0 0 1\n\n\r\n",
    b"append a 0 0 1\r\n\x80\r\n",
    b"prepend a 0 1700000000 1\r\nx\r\n",
    b"cas a 0 0 1 9223372036854775807\r\nx\r\n",
    b"delete a\r\n",
    b"incr a 18446744073709551615\r\n",
    b"decr a 1\r\n",
    b"touch a 0\r\n",
    b"mg a\r\n",
    b"mg a v k Oq t\r\n",
    b"md a I\r\n",
    b"ma a D5 v\r\n",
    b"me a\r\n",
    b"mn\r\n",
    b"version\r\n",
    b"version\n",
    b"flush_all\r\n",
    b"flush_all -1\r\n",
    b"verbosity 1\r\n",
    b"cache_memlimit 64\r\n",
    b"stats\r\n",
    b"stats items\r\n",
    b"stats slabs\r\n",
    b"stats conns\r\n",
    b"stats reset\r\n",
    b"stats detail dump\r\n",
    b"stats cachedump 1 10\r\n",
]

#: Others.
OWN = [
    b"get\r\n",
    b"get k%b\r\n" % KEY,
    b"get a\tb\r\n",
    b"get a" + b" " * 10 + b"b\r\n",
    b"get a\0b\r\n",
    b" get a\r\n",
    b"GET a\r\n",
    b"set a 0 0 2 noreply\r\n",
    b"set a 0 0 -1\r\n",
    b"set a 0 0 x\r\n",
    b"set a 0 0\r\n",
    b"set a 0 0 2 3\r\n",
    b"set a x 0 2\r\n",
    b"set k%b 0 0 2\r\n" % KEY,
    b"set a 0 0 9999999999\r\n",
    # Where they do not fit, memcached takes the data for a command.
    b"set a 4294967296 0 2\r\n",
    b"set a 9999999999 0 2\r\n",
    b"set a 0 2147483648 2\r\n",
    b"set a 0 -2147483649 2\r\n",
    b"cas a 0 9999999999 2 1\r\n",
    b"touch a 2147483648\r\n",
    b"gat 9999999999 a\r\n",
    b"cas a 0 0 1\r\n",
    b"cas a 0 0 1 2 noreply\r\n",
    b"delete a noreply\r\n",
    b"delete a 0\r\n",
    b"incr a 1 noreply\r\n",
    b"touch a 0 noreply\r\n",
    b"flush_all noreply\r\n",
    b"verbosity 1 noreply\r\n",
    b"mg a v q\r\n",
    b"md a q k\r\n",
    b"ms a 2\r\n",
    b"ms a S2\r\n",
    b"mn x\r\n",
    b"stats detail\r\n",
    b"stats other\r\n",
    b"watch\r\n",
    b"watch fetchers\r\n",
    b"shutdown\r\n",
    b"lru_crawler metadump all\r\n",
    b"slabs automove 1\r\n",
    b"nonsense\r\n",
    b"\r\n",
]

RESPONSES = [
    b"END\r\n",
    b"VALUE a 0 3\r\nabc\r\nEND\r\n",
    b"VALUE a 0 3 17\r\nabc\r\nVALUE b 1 5\r\nEND\r\n\r\nVALUE c 0 0\r\n\r\nEND\r\n",
    b"VALUE a 0 120\r\n" + b"x" * 120 + b"\r\nEND\r\n",
    b"VALUE %b 4294967295 7\r\nVALUE \n\r\nEND\r\n" % KEY,
    b"VALUE a 0 3\r\nabc\r\nSERVER_ERROR out of memory writing get response\r\n",
    b"CLIENT_ERROR bad command line format\r\n",
    b"SERVER_ERROR object too large for cache\r\n",
    b"ERROR\r\n",
    b"STORED\r\n",
    b"NOT_STORED\r\n",
    b"42  \r\n",
    b"VERSION 1.6.18\r\n",
    b"STAT pid 1\r\nSTAT version END\r\nEND\r\n",
    b"ITEM a [1 b; 0 s]\r\nEND\r\n",
    b"PREFIX a get 2 hit 1 set 1 del 0\r\nEND\r\n",
    b"RESET\r\n",
    b"VA 2\r\n13\r\n",
    b"VA 5 ka:b O77\r\nEND\r\n\r\n",
    b"HD ka\r\n",
    b"EN\r\n",
    b"ME a exp=-1 la=0 cas=1 fetch=no cls=1 size=63\r\n",
    b"MN\r\n",
    b"BUSY currently processing\r\n",
]


class RequestTests(SynchronousTestCase):
    """
    Where requests end.
    """

    def test_shared(self) -> None:
        """
        Each known request ends with its line or its data, and nothing of it is taken for another.
        """
        stream, expected = b"", []
        for request in SHARED:
            stream += request
            expected.append(len(stream))
        self.assertEqual(ends(FRAMING.requests(), [stream]), expected)
        self.assertEqual(ends(FRAMING.requests(), bytewise(stream)), expected)
        for request in SHARED:
            size = len(request)
            self.assertEqual(every_split(FRAMING.requests, request), [size], request)
            self.assertEqual(
                every_split(FRAMING.requests, b"mn\n" + request + b"se"), [3, 3 + size]
            )

    def test_own(self) -> None:
        """
        Any other request ends with its line, and behind it nothing is looked for.
        """
        for request in OWN:
            stream = b"mn\r\n" + request + b"\x80" + b"x" * 9 + b"\r\nget a\r\n"
            self.assertEqual(every_split(FRAMING.requests, stream), [4, 4 + len(request)], request)
        framer = FRAMING.requests()
        framer.feed(b"watch\r\n" + b"x" * 10000)
        self.assertEqual(framer.feed(b"\r\nget a\r\n"), [])

    def test_many_keys(self) -> None:
        """
        A request for more keys than are looked at still ends with its line.
        """
        line = b"get" + b" a" * 2001 + b"\r\n"
        self.assertEqual(ends(FRAMING.requests(), [line, b"x"]), [len(line)])
        session = FRAMING.session()
        assert session is not None
        self.assertEqual(session.use(line), Use.OWN)

    def test_data_without_end(self) -> None:
        """
        Behind data there is CR LF, or versions differ in what is the next request.
        """
        for data in (b"abc\r\n", b"ab\n", b"ab\rx", b"abCRLF", b"ab\n\r"):
            self.assertEqual(
                fails(FRAMING.requests, b"set a 0 0 2\r\n" + data.ljust(4, b"x")),
                "expected CR LF behind as much data as were announced",
            )

    def test_binary(self) -> None:
        """
        For the binary protocol there is another framing.
        """
        self.assertIn("length:N:8:24", fails(FRAMING.requests, b"mn\r\n\x80\x0b" + b"\0" * 22))

    def test_ends_before_error(self) -> None:
        """
        The requests before one that is none are told with the error.
        """
        framer = FRAMING.requests()
        self.assertEqual(framer.feed(b"m"), [])
        with self.assertRaises(FrameError) as caught:
            framer.feed(b"n\r\nget a\r\n\x80\x0b")
        self.assertEqual(list(caught.exception.ends), [3, 10])

    def test_long_lines(self) -> None:
        """
        A line may be as long as for memcached, and one with keys to get as long as a frame.
        """
        for line in (b"gat 0", b"nonsense", b"mg"):
            line += b" k" * 1200
            for length in (MAX_LINE - 1, MAX_LINE, MAX_LINE + 1):
                chunks = [line[:length] + b"\n"]
                if length <= MAX_LINE:
                    self.assertEqual(ends(FRAMING.requests(), chunks), [length + 1])
                    self.assertEqual(ends(FRAMING.requests(), bytewise(chunks[0])), [length + 1])
                    continue
                for each in (chunks, bytewise(chunks[0]), [line[:length]]):
                    with self.assertRaisesRegex(FrameError, "a line of at most 2048 bytes"):
                        ends(FRAMING.requests(), each)
        line = b"get" + b" key" * 2000 + b"\r\n"
        for framing in (FRAMING, MemcachedFraming("", len(line))):
            self.assertEqual(ends(framing.requests(), bytewise(line)), [len(line)])
            self.assertEqual(ends(framing.requests(), [line, line]), [len(line), 2 * len(line)])
        for chunks in ([line], bytewise(line), [line[:-1]]):
            with self.assertRaises(FrameSizeError):
                ends(MemcachedFraming("", len(line) - 1).requests(), chunks)

    def test_max_frame(self) -> None:
        """
        A request may be just as large as allowed, and is refused as soon as it says that it is not.
        """
        request = b"set a 0 0 20\r\n" + b"x" * 20 + b"\r\n"
        framing = MemcachedFraming("", len(request))
        self.assertEqual(every_split(framing.requests, request * 2), [36, 72])
        with self.assertRaises(FrameSizeError):
            framing.requests().feed(b"set a 0 0 21\r\n")

    def test_large(self) -> None:
        """
        Large data may come in any pieces.
        """
        framer = FRAMING.requests()
        self.assertEqual(framer.feed(b"set a 0 0 500000\r\n"), [])
        for _ in range(5):
            self.assertEqual(framer.feed(b"get\r\n" * 20000), [])
        self.assertEqual(framer.feed(b"\r"), [])
        self.assertEqual(framer.feed(b"\nmn\r\n"), [1, 5])


class ResponseTests(SynchronousTestCase):
    """
    Where responses end.
    """

    def test_split(self) -> None:
        """
        Whatever is in values, responses end with their last line, or with an error in its place.
        """
        stream, expected = b"", []
        for response in RESPONSES:
            stream += response
            expected.append(len(stream))
            size = len(response)
            self.assertEqual(every_split(FRAMING.responses, response), [size], response)
            self.assertEqual(every_split(FRAMING.responses, b"EN\r\n" + response), [4, 4 + size])
        self.assertEqual(ends(FRAMING.responses(), [stream]), expected)
        self.assertEqual(ends(FRAMING.responses(), bytewise(stream)), expected)
        self.assertEqual(ends(FRAMING.responses(), [stream + b"VALUE a 0 2\r\n"]), expected)

    def test_values_without_length(self) -> None:
        """
        A value must say how long it is: before 1.6 meta commands did not.
        """
        for stream in (b"VALUE a 0\r\n", b"VALUE a 0 x\r\n", b"VA\x20\r\n", b"VA v 2\r\n"):
            self.assertEqual(
                fails(FRAMING.responses, stream), "expected a value's length in its line"
            )

    def test_max_frame(self) -> None:
        """
        A response may be just as large as allowed, and is refused as soon as it says otherwise.
        """
        response = b"VALUE a 0 120\r\n" + b"x" * 120 + b"\r\nEND\r\n"
        framing = MemcachedFraming("", len(response))
        self.assertEqual(every_split(framing.responses, response), [len(response)])
        with self.assertRaises(FrameSizeError):
            framing.responses().feed(b"VALUE a 0 130\r\n")


class UseTests(SynchronousTestCase):
    """
    What requests do to their connection.
    """

    def _use(self, request: bytes) -> Use:
        session = FRAMING.session()
        assert session is not None
        return session.use(request)

    def test_shared(self) -> None:
        """
        Requests share a connection that have one response in any case.
        """
        for request in SHARED:
            self.assertEqual(self._use(request), Use.SHARED, request)

    def test_own(self) -> None:
        """
        Others need one of their own.
        """
        for request in OWN:
            self.assertEqual(self._use(request), Use.OWN, request)

    def test_last(self) -> None:
        """
        C{quit} ends the connection of the client only, which is not answered.
        """
        self.assertEqual(self._use(b"quit\r\n"), Use.LAST)
        self.assertEqual(FRAMING.farewell, b"")
        self.assertEqual(every_split(FRAMING.requests, b"mn\r\nquit\r\nx"), [4, 10])

    def test_refusal(self) -> None:
        """
        What was not carried out has no response: PHP's client takes any error for nothing found.
        """
        self.assertIsNone(FRAMING.refusal("connection refused"))

    def test_argument(self) -> None:
        """
        There is nothing to say about this framing.
        """
        with self.assertRaisesRegex(FramingError, "--framing: expected memcached, without an arg"):
            MemcachedFraming("binary", 1 << 20)
