"""
Tests of C{--framing resp}.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.framing import FrameError, FrameSizeError, Framing, FramingError, Use
from fastcar_tw.relay.framings.lines import MAX_LINE
from fastcar_tw.relay.framings.resp import RESPFraming

from .support import bytewise, ends, every_split, fails

quick = settings(max_examples=200, derandomize=True, deadline=None, database=None)

FRAMING = RESPFraming("", 1 << 20)

#: Ends, or the beginning, of whatever line or string they are in.
_nasty = st.sampled_from([b"\r\n", b"\n", b"\r", b"$3\r\nabc\r\n", b"*1\r\n", b"+OK\r\n", b"\0"])
_strings = st.one_of(
    st.binary(max_size=12),
    st.binary(min_size=97, max_size=102),
    st.lists(_nasty, max_size=4).map(b"".join),
)
_lines = st.binary(max_size=8).map(lambda text: text.translate(None, b"\r\n"))
_numbers = st.integers(-(10**12), 10**12)


def command(*arguments: bytes) -> bytes:
    """
    @return: a request as clients send it.
    """
    strings = [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return b"*%d\r\n" % len(arguments) + b"".join(strings)


def _aggregate(kind: bytes, per_element: int) -> st.SearchStrategy[bytes]:
    def encode(elements: list[bytes]) -> bytes:
        count = len(elements) // per_element
        return kind + b"%d\r\n" % count + b"".join(elements[: count * per_element])

    return st.lists(st.deferred(lambda: replies), max_size=5).map(encode)


replies: st.SearchStrategy[bytes] = st.one_of(
    st.builds(lambda kind, text: kind + text + b"\r\n", st.sampled_from([b"+", b"-"]), _lines),
    st.builds(lambda kind, n: kind + b"%d\r\n" % n, st.sampled_from([b":", b"("]), _numbers),
    st.sampled_from([b"_\r\n", b"#t\r\n", b"#f\r\n", b",1.5e-3\r\n", b",inf\r\n"]),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n"]),
    st.builds(
        lambda kind, text: kind + b"%d\r\n%b\r\n" % (len(text), text),
        st.sampled_from([b"$", b"!", b"="]),
        _strings,
    ),
    _aggregate(b"*", 1),
    _aggregate(b"~", 1),
    _aggregate(b"%", 2),
    st.builds(
        lambda pairs, reply: pairs + reply, _aggregate(b"|", 2), st.deferred(lambda: replies)
    ),
)


def naive_end(data: bytes, at: int) -> int:
    """
    Read one reply recursively, as the specification describes it.

    @return: the offset behind it.
    """
    kind = data[at : at + 1]
    end = data.index(b"\r\n", at) + 2
    if kind in b"+-:(,#_":
        return end
    number = int(data[at + 1 : end])
    if kind in b"$!=":
        return end if number < 0 else end + number + 2
    if kind in b"%|":
        number *= 2
    for _ in range(number + (kind == b"|")):
        end = naive_end(data, end)
    return end


def naive_ends(data: bytes) -> list[int]:
    """
    @return: the ends of the replies that data consist of.
    """
    found = [0]
    while found[-1] < len(data):
        found.append(naive_end(data, found[-1]))
    return found[1:]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """
    @return: the stream in pieces.
    """
    offsets = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(offsets)]


_places = st.lists(st.integers(0, 10**6), max_size=6)


class GeneratedTests(SynchronousTestCase):
    """
    Whatever the frames are, and however they arrive.
    """

    @quick
    @given(st.lists(replies, min_size=1, max_size=4), _places)
    def test_replies(self, parts: list[bytes], places: list[int]) -> None:
        """
        Replies end where a recursive reading ends them.
        """
        stream = b"".join(parts)
        expected = naive_ends(stream)
        self.assertEqual(len(expected), len(parts))
        self.assertEqual(ends(FRAMING.responses(), cut(stream, places)), expected)
        self.assertEqual(ends(FRAMING.responses(), bytewise(stream)), expected)

    @quick
    @given(
        st.lists(st.lists(_strings, min_size=1, max_size=7), min_size=1, max_size=5),
        _places,
    )
    def test_requests(self, commands: list[list[bytes]], places: list[int]) -> None:
        """
        Requests end where they were joined, whatever is in their arguments.
        """
        stream, expected = b"", []
        for arguments in commands:
            stream += command(*arguments)
            expected.append(len(stream))
        self.assertEqual(ends(FRAMING.requests(), cut(stream, places)), expected)
        self.assertEqual(ends(FRAMING.requests(), bytewise(stream)), expected)

    @quick
    @given(st.lists(st.one_of(_nasty, st.sampled_from([b"*", b"$", b"-1", b"2"])), max_size=8))
    def test_rubbish(self, parts: list[bytes]) -> None:
        """
        What is no request is an error at once and byte by byte, or is not yet complete in both.
        """
        stream = b"".join(parts)
        self.assertEqual(self._ends_or_none([stream]), self._ends_or_none(bytewise(stream)))

    def _ends_or_none(self, chunks: list[bytes]) -> list[int] | None:
        try:
            return ends(FRAMING.requests(), chunks)
        except FrameError:
            return None


class RequestTests(SynchronousTestCase):
    """
    Where requests end.
    """

    def test_split(self) -> None:
        """
        Arrays of strings and inline commands can be split anywhere, with anything behind them.
        """
        parts = [
            command(b"GET", b"key"),
            command(b"SET", b"key", b"*1\r\n$4\r\nQUIT\r\n"),
            command(b"SET", b"key", b"x" * 110),
            command(*[b"a"] * 12),
            command(b""),
            b"PING\r\n",
            b"PING\n",
            b"\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"$1\r\n",
        ]
        stream, expected = b"", []
        for part in parts:
            stream += part
            expected.append(len(stream))
        self.assertEqual(every_split(FRAMING.requests, stream), expected)
        self.assertEqual(every_split(FRAMING.requests, stream + b"*2\r\n$3\r\nGE"), expected)

    def test_malformed(self) -> None:
        """
        What Redis answers with "Protocol error" is no request, nor is what only looks like one.
        """
        for stream, expected in [
            (b"*a\r\n", "expected '*', the number of arguments and CR LF"),
            (b"*\r\n", "expected '*', the number of arguments and CR LF"),
            (b"*01\r\n", "expected '*', the number of arguments and CR LF"),
            (b"*+1\r\n", "expected '*', the number of arguments and CR LF"),
            (b"*1 \r\n", "expected '*', the number of arguments and CR LF"),
            (b"*1\n", "expected '*', the number of arguments and CR LF"),
            (b"*1\rx\n", "expected '*', the number of arguments and CR LF"),
            (b"*1\r\nGET\r\n", "expected '$', the length of an argument and CR LF"),
            (b"*1\r\n:1\r\n", "expected '$', the length of an argument and CR LF"),
            (b"*1\r\n$-1\r\n", "expected '$', the length of an argument and CR LF"),
            (b"*1\r\n$1x\r\n", "expected '$', the length of an argument and CR LF"),
            (b"*1\r\n*0\r\n", "expected '$', the length of an argument and CR LF"),
            (b"GET\0 key\r\n", "expected an inline command without NUL"),
        ]:
            self.assertEqual(fails(FRAMING.requests, stream), expected, stream)

    def test_ends_before_error(self) -> None:
        """
        The requests before one that is none are told with the error.
        """
        framer = FRAMING.requests()
        self.assertEqual(framer.feed(b"PI"), [])
        with self.assertRaises(FrameError) as caught:
            framer.feed(b"NG\r\n" + command(b"GET", b"key") + b"*x\r\n")
        self.assertEqual(list(caught.exception.ends), [4, 26])

    def test_long_line(self) -> None:
        """
        An inline command may be as long as for Redis, whether it comes at once or not.
        """
        for length in (MAX_LINE, MAX_LINE + 1):
            line = b"x" * (length - 2) + b"\r\n"
            for chunks in ([line], [line[:-1], line[-1:]], [line[:9], line[9:]]):
                if length > MAX_LINE:
                    with self.assertRaisesRegex(FrameError, "a line of at most 65536 bytes"):
                        ends(FRAMING.requests(), chunks)
                else:
                    self.assertEqual(ends(FRAMING.requests(), chunks), [length])

    def test_max_frame(self) -> None:
        """
        A frame may be just as large as allowed, in whatever pieces it comes.
        """
        for arguments in ([b"a" * 10, b"b" * 10], [b"a" * 10, b"b" * 200], [b"", b"", b""]):
            frame = command(*arguments)
            framing = RESPFraming("", len(frame))
            self.assertEqual(every_split(framing.requests, frame * 2), [len(frame), 2 * len(frame)])
            framing = RESPFraming("", len(frame) - 1)
            fails(framing.requests, frame * 2)

    def test_too_large_early(self) -> None:
        """
        A frame that will be too large is refused when its lengths say so.
        """
        for framer in (FRAMING.requests(), FRAMING.responses()):
            for head in (b"*2\r\n$1048576\r\n", b"*1000000\r\n", b"*1\r\n$999999999999999999\r\n"):
                with self.assertRaises(FrameSizeError):
                    framer.feed(head)

    def test_large(self) -> None:
        """
        Of a large string nothing is kept, however it comes.
        """
        framer = FRAMING.requests()
        head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000\r\n"
        self.assertEqual(framer.feed(head), [])
        for _ in range(5):
            self.assertEqual(framer.feed(b"*1\r\n" * 25000), [])
        self.assertEqual(framer.feed(b"\r\n*1\r\n"), [2])


class ResponseTests(SynchronousTestCase):
    """
    Where responses end.
    """

    def test_split(self) -> None:
        """
        All types of both versions can be split anywhere.
        """
        parts = [
            b"+OK\r\n",
            b"-ERR unknown command\r\n",
            b":-5\r\n",
            b"$5\r\nhello\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*3\r\n:1\r\n*2\r\n+a\r\n$-1\r\n$100\r\n" + b"x" * 100 + b"\r\n",
            b"*1\r\n" * 20 + b"_\r\n",
            b"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n#t\r\n",
            b"|1\r\n+ttl\r\n:5\r\n*2\r\n,1.5\r\n|1\r\n+a\r\n+b\r\n(12345678901234567890\r\n",
            b"=7\r\ntxt:a\r\n\r\n",
            b"!5\r\nERR x\r\n",
        ]
        stream, expected = b"", []
        for part in parts:
            stream += part
            expected.append(len(stream))
        self.assertEqual(naive_ends(stream), expected)
        self.assertEqual(every_split(FRAMING.responses, stream), expected)
        self.assertEqual(every_split(FRAMING.responses, stream + b"*2\r\n+a"), expected)

    def test_refused(self) -> None:
        """
        What no shared connection can be sent, or nobody sends, is an error.
        """
        for stream in [
            b">2\r\n+message\r\n+x\r\n",
            b"$?\r\n;0\r\n",
            b"*?\r\n.\r\n",
            b"OK\r\n",
            b"\r\n",
            b"*1\r\nx\r\n",
            b"+a\rb\r\n",
            b"+a\n",
            b"$-2\r\n",
            b"%-1\r\n",
        ]:
            self.assertEqual(
                fails(FRAMING.responses, stream),
                "expected the type of a reply, what belongs to it, and CR LF",
                stream,
            )

    def test_max_frame(self) -> None:
        """
        A frame may be just as large as allowed, in whatever pieces it comes.
        """
        for frame in (b"*2\r\n$9\r\nsomething\r\n_\r\n", b"$9\r\nsomething\r\n", b"+something\r\n"):
            framing = RESPFraming("", len(frame))
            self.assertEqual(every_split(framing.responses, frame), [len(frame)])
            fails(RESPFraming("", len(frame) - 1).responses, frame)


class UseTests(SynchronousTestCase):
    """
    What requests do to their connection.
    """

    def _use(self, *requests: bytes) -> list[Use]:
        session = FRAMING.session()
        assert session is not None
        return [session.use(request) for request in requests]

    def _words(self, *lines: bytes) -> list[Use]:
        """
        The same as arrays and inline, in upper and lower case.
        """
        found = self._use(*[command(*line.split()) for line in lines])
        self.assertEqual(self._use(*[command(*line.lower().split()) for line in lines]), found)
        self.assertEqual(self._use(*[line + b"\r\n" for line in lines]), found)
        self.assertEqual(self._use(*[line.lower() + b"\n" for line in lines]), found)
        return found

    def test_shared(self) -> None:
        """
        Ordinary commands, and those that Redis does not know, share a connection.
        """
        for line in [
            b"GET key",
            b"SET key value",
            b"PING",
            b"EVAL return(1) 0",
            b"PUBLISH channel text",
            b"XREAD COUNT 2 STREAMS stream 0",
            b"XREADGROUP GROUP g c STREAMS stream >",
            b"SCRIPT LOAD return(1)",
            b"CLUSTER INFO",
            b"NOSUCHCOMMAND",
            b"SUBSCRIBERS",
            b"AUTHOR x",
            b"UNWATCH",
            b"EXEC",
            b"DISCARD",
            b"RESET",
        ]:
            self.assertEqual(self._words(line), [Use.SHARED], line)

    def test_own(self) -> None:
        """
        What changes the connection, waits, or has other than one response needs one of its own.
        """
        for line in [
            *b"ASKING MONITOR PSYNC READONLY READWRITE SHUTDOWN SYNC SUBSCRIBE UNSUBSCRIBE".split(),
            b"AUTH user password",
            b"BLMOVE a b LEFT RIGHT 0",
            b"BLMPOP 0 1 a LEFT",
            b"BLPOP a 0",
            b"BRPOP a 0",
            b"BRPOPLPUSH a b 0",
            b"BZMPOP 0 1 a MIN",
            b"BZPOPMAX a 0",
            b"BZPOPMIN a 0",
            b"CLIENT REPLY OFF",
            b"CLUSTER SYNCSLOTS SYNC x",
            b"DEBUG SLEEP 1",
            b"HELLO 3",
            b"PSUBSCRIBE a*",
            b"PUNSUBSCRIBE",
            b"REPLCONF ACK 1",
            b"SCRIPT DEBUG YES",
            b"SELECT 00",
            b"SELECT 1",
            b"SSUBSCRIBE a",
            b"SUNSUBSCRIBE",
            b"XREAD BLOCK 0 STREAMS stream $",
            b"XREADGROUP GROUP streams c BLOCK 0 STREAMS stream >",
        ]:
            self.assertEqual(self._words(line), [Use.OWN], line)
            self.assertEqual(self._words(b"MULTI", line), [Use.BEGINS, Use.OWN], line)

    def test_select_same(self) -> None:
        """
        The database that a shared connection has anyway may be asked for.
        """
        self.assertEqual(self._words(b"SELECT 0"), [Use.SHARED])
        self.assertEqual(self._words(b"MULTI", b"select 0"), [Use.BEGINS, Use.SHARED])

    def test_own_hidden(self) -> None:
        """
        Redis compares words of an argument up to a NUL.
        """
        for arguments in ([b"XREAD", b"block\0x", b"0"], [b"SCRIPT", b"debug\0", b"yes"]):
            self.assertEqual(self._use(command(*arguments)), [Use.OWN])

    def test_nul_in_name(self) -> None:
        """
        Redis compares names of commands up to a NUL, if they happen to have the same hash.
        """
        with self.assertRaisesRegex(FrameError, "without NUL"):
            self._use(command(b"MULTI\0abc"))

    def test_name_by_length(self) -> None:
        """
        A name ends where its length says, not with the line.
        """
        self.assertEqual(self._use(b"*1\r\n$5\r\nMULTIxx"), [Use.BEGINS])
        self.assertEqual(self._use(b"*1\r\n$7\r\nMULTI\r\n\r\n"), [Use.SHARED])

    def test_http(self) -> None:
        """
        Redis closes the connection of whoever sends HTTP; a shared one must not be.
        """
        for request in (b"POST / HTTP/1.1\r\n", b"Host: redis\r\n", command(b"post", b"/")):
            with self.assertRaisesRegex(FrameError, "not HTTP"):
                self._use(request)

    def test_about_writes(self) -> None:
        """
        WAIT is about the writes of its connection, which here is another than they were sent on.
        """
        for request in (command(b"WAIT", b"1", b"0"), b"waitaof 1 0 0\r\n"):
            with self.assertRaisesRegex(FrameError, "no WAIT"):
                self._use(request)

    def test_quotes(self) -> None:
        """
        An inline command with quotes is for Redis to understand.
        """
        for line in (b'"MULT\\x49"\r\n', b"'multi'\r\n", b'SET a "b c"\r\n', b'SET a "b\r\n'):
            self.assertEqual(self._use(line), [Use.OWN])

    def test_nothing(self) -> None:
        """
        Redis does not answer what is empty.
        """
        for request in (b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"\r\n", b"\n", b" \t\r\n"):
            self.assertEqual(self._use(request), [Use.NOTHING], request)

    def test_last(self) -> None:
        """
        QUIT ends the connection of the client only.
        """
        self.assertEqual(self._words(b"QUIT"), [Use.LAST])
        self.assertEqual(self._words(b"MULTI", b"QUIT"), [Use.BEGINS, Use.LAST])
        self.assertEqual(FRAMING.farewell, b"+OK\r\n")

    def test_transactions(self) -> None:
        """
        A connection is held from MULTI or WATCH until Redis has forgotten them.
        """
        shared, begins, end = Use.SHARED, Use.BEGINS, Use.ENDS
        for lines, expected in [
            ([b"MULTI", b"SET a 1", b"EXEC", b"GET a"], [begins, shared, end, shared]),
            ([b"MULTI", b"DISCARD", b"EXEC"], [begins, end, shared]),
            ([b"MULTI", b"MULTI", b"EXEC"], [begins, shared, end]),
            ([b"MULTI x", b"EXEC"], [shared, shared]),
            ([b"MULTI", b"EXEC x", b"DISCARD x", b"EXEC"], [begins, shared, shared, end]),
            ([b"WATCH a", b"GET a", b"UNWATCH", b"UNWATCH"], [begins, shared, end, shared]),
            ([b"WATCH a", b"WATCH b", b"UNWATCH x", b"UNWATCH"], [begins, begins, shared, end]),
            ([b"WATCH", b"UNWATCH"], [shared, shared]),
            ([b"WATCH a", b"EXEC", b"DISCARD", b"UNWATCH"], [begins, shared, shared, end]),
            ([b"WATCH a", b"MULTI", b"UNWATCH", b"EXEC"], [begins, begins, shared, end]),
            ([b"WATCH a", b"MULTI", b"EXEC", b"UNWATCH"], [begins, begins, end, shared]),
            ([b"MULTI", b"WATCH a", b"EXEC", b"UNWATCH"], [begins, shared, end, shared]),
            ([b"WATCH a", b"RESET x", b"RESET", b"UNWATCH"], [begins, shared, end, shared]),
            ([b"MULTI", b"RESET", b"EXEC"], [begins, end, shared]),
        ]:
            self.assertEqual(self._words(*lines), expected, lines)

    def test_is_error(self) -> None:
        """
        A request that should end a transaction may fail.
        """
        self.assertTrue(FRAMING.is_error(b"-ERR EXEC without MULTI\r\n"))
        self.assertFalse(FRAMING.is_error(b"*1\r\n-ERR one of its commands failed\r\n"))
        self.assertFalse(FRAMING.is_error(b"*-1\r\n"))

    def test_refusal(self) -> None:
        """
        What was not carried out has an error as its reply, of a kind that phpredis does not take
        for nothing found: those begin with ERR, NOSCRIPT, WRONGTYPE, BUSYGROUP or NOGROUP.
        """
        reply = FRAMING.refusal("connection refused")
        self.assertEqual(reply, b"-FASTCAR connection refused\r\n")
        self.assertEqual(every_split(FRAMING.responses, reply * 3), [29, 58, 87])
        self.assertEqual(FRAMING.refusal("it\u2019s \xe9"), b"-FASTCAR it?s ?\r\n")

    def test_argument(self) -> None:
        """
        There is nothing to say about this framing.
        """
        self.assertIsInstance(FRAMING, Framing)
        with self.assertRaisesRegex(FramingError, "--framing: expected resp, without an argument"):
            RESPFraming("3", 1 << 20)
