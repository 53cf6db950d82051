"""
A session when something goes wrong: for one stream, for one user, or for the whole connection.
"""

from __future__ import annotations

from collections.abc import Callable

from h2.errors import ErrorCodes
from h2.events import RequestReceived
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.head import MAX_INTERIM
from fastcar_tw.http2.errors import HTTP1RequiredError
from fastcar_tw.http2.frames import MAX_FRAME
from fastcar_tw.http2.liveness import PING_AFTER, PING_PATIENCE
from fastcar_tw.http2.windows import INITIAL_WINDOW
from tests.http2.origin import GET, OK, POST, Fields, Link, User, linked


class ResetTests(SynchronousTestCase):
    def _reset(self, code: int, *, responded: bool = False) -> User:
        """
        A request beside which another one is not harmed.
        """
        link = linked()
        user, _ = link.request()
        other, _ = link.request()
        link.run()
        if responded:
            link.origin.respond(1, b"begin", ended=False)
        link.origin.h2.reset_stream(1, code)
        link.origin.respond(3, b"other")
        link.run()
        self.assertEqual(other.content, b"other")
        self.assertEqual((link.session.streams, link.session.broken), (0, False))
        self.assertEqual(link.origin.resets(), [])
        return user

    def test_each_code(self) -> None:
        """
        Each code is named, and means what RFC 9113 section 7 says: two of them, that the request
        was not acted on.
        """
        for code in ErrorCodes:
            user = self._reset(code)
            error = user.error
            assert error is not None
            self.assertIn(code.name, error.text)
            self.assertEqual(error.status, 502)
            not_acted_on = code in (ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED)
            self.assertEqual((user.unprocessed, user.answered), (not_acted_on, not not_acted_on))
            over_http1 = code == ErrorCodes.HTTP_1_1_REQUIRED
            self.assertEqual(isinstance(error, HTTP1RequiredError), over_http1)
            if not over_http1:
                self.assertEqual(error.proxy_status, "connection_terminated")

    def test_in_the_middle(self) -> None:
        """
        A response that is reset is incomplete, whatever the code: it was acted on.
        """
        for code in ErrorCodes:
            user = self._reset(code, responded=True)
            error = user.error
            assert error is not None
            self.assertEqual(error.proxy_status, "http_response_incomplete")
            self.assertEqual((user.answered, user.unprocessed), (True, False))
            self.assertNotIsInstance(error, HTTP1RequiredError)

    def test_unknown_code(self) -> None:
        """
        A code nobody knows is an error like others (RFC 9113 section 7).
        """
        user = self._reset(0xDEAD)
        assert user.error is not None
        self.assertIn("0xdead", user.error.text)

    def test_after_the_end(self) -> None:
        """
        After a complete response a reset asks for no more of the request, and is no failure (RFC
        9113 section 8.1).
        """
        link = linked()
        user, _ = link.request(fields=POST, content=b"a", ended=False)
        link.run()
        link.origin.respond(1, b"done")
        link.origin.h2.reset_stream(1, ErrorCodes.NO_ERROR)
        link.to_session()
        self.assertTrue(user.ended)
        self.assertIsNone(user.error)
        link.run()
        self.assertFalse(link.session.broken)

    def test_interim_counts(self) -> None:
        """
        What has sent an interim response may have acted on the request.
        """
        link = linked()
        user, _ = link.request()
        link.run()
        link.origin.respond(1, b"", [(b":status", b"103")], ended=False)
        link.origin.h2.reset_stream(1, ErrorCodes.REFUSED_STREAM)
        link.run()
        self.assertEqual((user.answered, user.unprocessed), (True, False))

    def test_end_too_late(self) -> None:
        """
        A user that ends its request, while the reset of it came together with what it is told just
        now, does no harm.
        """
        link = linked()
        user, stream = link.request(fields=POST, content=b"a", ended=False)
        link.run()
        user.on["head"] = lambda: stream.send(b"", True)
        link.origin.respond(1, b"", ended=False)
        link.origin.h2.reset_stream(1)
        link.run()
        assert user.error is not None
        self.assertEqual(user.error.proxy_status, "http_response_incomplete")
        self.assertNotIn("user_raised", link.calls)


class AbortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked()
        self.user, self.stream = self.link.request(fields=POST, content=b"x", ended=False)
        self.link.run()

    def test_cancel(self) -> None:
        """
        What the client does not want any more is cancelled, and there is room at once.
        """
        self.stream.abort()
        self.assertEqual((self.link.session.streams, self.link.calls), (0, ["stream_ended"]))
        self.link.run()
        self.assertEqual(self.link.origin.resets(), [(1, ErrorCodes.CANCEL)])
        self.assertEqual(self.user.calls, [])

    def test_late_frames(self) -> None:
        """
        What was under way meanwhile is told to nobody, and the connection's window is given back
        for it, without an answer for each frame.
        """
        self.link.origin.respond(1, b"y" * INITIAL_WINDOW, ended=False)
        late = self.link.origin.data_to_send()
        self.stream.abort()
        self.link.run()
        self.link.session.receive(late)
        self.assertEqual(self.user.calls, [])
        self.assertEqual(self.link.out, [])
        self.assertFalse(self.link.session.broken)

    def test_from_within(self) -> None:
        """
        A user may abort while it is told something; it is told nothing more.
        """
        self.user.on["head"] = self.stream.abort
        self.link.origin.respond(1, b"content")
        self.link.to_session()
        self.assertEqual([name for name, _ in self.user.calls], ["head", "flush"])

    def test_another_from_within(self) -> None:
        """
        So it may abort another stream, for which something has come together with this.
        """
        other, stream = self.link.request()
        self.link.run()
        self.user.on["head"] = stream.abort
        self.link.origin.respond(1, b"1", ended=False)
        self.link.origin.respond(3, b"2")
        self.link.run()
        self.assertEqual(other.calls, [])
        self.assertEqual(self.user.content, b"1")


class UserTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked()
        self.user, self.stream = self.link.request()
        self.other, _ = self.link.request()
        self.link.run()

    def test_refuses_head(self) -> None:
        """
        A response that is none to pass on is cancelled, and its user told what it said itself.
        """
        error = GatewayError(502, "proxy_configuration_error", "no")
        self.user.on["head"] = lambda: (_ for _ in ()).throw(error)
        self.link.origin.respond(1, b"x", ended=False)
        self.link.run()
        self.assertIs(self.user.error, error)
        self.assertTrue(self.user.answered)
        self.assertEqual(self.link.origin.resets(), [(1, ErrorCodes.CANCEL)])

    def test_raises(self) -> None:
        """
        A user that raises loses its own stream, and nobody else's.
        """
        for at in ("head", "body", "flush", "interim"):
            link = linked()
            user, _ = link.request()
            other, _ = link.request()
            link.run()
            user.on[at] = lambda: (_ for _ in ()).throw(ValueError("bug"))
            link.origin.respond(1, b"", [(b":status", b"103")], ended=False)
            link.origin.respond(1, b"x", ended=False)
            link.origin.respond(3, b"other")
            link.run()
            self.assertEqual(other.content, b"other", at)
            self.assertEqual(link.calls.count("user_raised"), 1, at)
            self.assertEqual(link.origin.resets(), [(1, ErrorCodes.INTERNAL_ERROR)], at)
            assert user.error is not None
            self.assertEqual(user.error.proxy_status, "proxy_internal_error")
            self.assertEqual(link.session.streams, 0)

    def test_raises_at_the_end(self) -> None:
        """
        It does no harm when the stream has ended, either.
        """
        for name in ("end", "failed"):
            link = linked()
            user, _ = link.request()
            link.run()
            user.on[name] = lambda: (_ for _ in ()).throw(ValueError("bug"))
            if name == "end":
                link.origin.respond(1, b"x")
            else:
                link.origin.h2.reset_stream(1)
            link.run()
            self.assertEqual(link.calls.count("user_raised"), 1)
            self.assertEqual(link.session.streams, 0)

    def test_raises_when_drained(self) -> None:
        """
        Nor does it while content is being sent.
        """
        user, _ = self.link.request(fields=POST, content=b"x" * 200_000, ended=False)
        user.on["drained"] = lambda: (_ for _ in ()).throw(ValueError("bug"))
        _, last = self.link.request(fields=POST, content=b"x" * 200_000)
        self.link.run()
        self.assertEqual(self.link.origin.resets(), [(5, ErrorCodes.INTERNAL_ERROR)])
        self.assertEqual(last.sent(), 200_000)


class MalformedTests(SynchronousTestCase):
    """
    Responses that become a 502, and nothing else (RFC 9113 section 8.1.1).
    """

    def _malformed(self, act: Callable[[Link], None], words: str) -> User:
        link = linked()
        user, _ = link.request(fields=POST, ended=False)
        other, _ = link.request()
        link.run()
        act(link)
        link.run()
        error = user.error
        assert error is not None, user.calls
        self.assertEqual((error.status, error.proxy_status), (502, "http_protocol_error"))
        self.assertIn(words, error.text)
        self.assertTrue(user.answered)
        self.assertFalse(user.ended or user.unprocessed)
        self.assertFalse(link.session.broken)
        codes = [code for stream_id, code in link.origin.resets() if stream_id == 1]
        self.assertEqual(len(codes), 1)
        link.origin.respond(3, b"other")
        link.run()
        self.assertEqual(other.content, b"other")
        return user

    def _head(self, *fields: tuple[bytes, bytes], words: str) -> None:
        def act(link: Link) -> None:
            link.origin.respond(1, b"", fields, ended=False)

        user = self._malformed(act, words)
        self.assertEqual(user.heads, [])

    def test_heads(self) -> None:
        """
        Heads that HTTP/2 forbids.
        """
        ok = (b":status", b"200")
        self._head((b"server", b"x"), words=":status")
        self._head(ok, (b"connection", b"close"), words="connection")
        self._head(ok, (b"transfer-encoding", b"chunked"), words="transfer-encoding")
        self._head(ok, (b"Server", b"x"), words="field 1")
        self._head(ok, (b"a", b"b\r\nset-cookie: c"), words="field 1 (a)")
        self._head(ok, (b"a", b" b"), words="field 1 (a)")
        self._head(ok, (b"a", b"b"), ok, words="field 2")
        self._head((b":status", b"101"), words=":status")
        self._head((b":status", b"2000"), words=":status")
        self._head(ok, (b":path", b"/"), words="field 1")

    def test_length_of_nothing(self) -> None:
        """
        A head that promises content ends the response.
        """
        head: Fields = [*OK, (b"content-length", b"5")]
        self._malformed(lambda link: link.origin.respond(1, b"", head), "less content")

    def test_too_little(self) -> None:
        """
        Less content than the head says is no response, though all of it was passed on.
        """
        head: Fields = [*OK, (b"content-length", b"5")]
        self._malformed(lambda link: link.origin.respond(1, b"four", head), "less content")

    def test_too_much(self) -> None:
        """
        More content than the head says is not passed on.
        """
        head: Fields = [*OK, (b"content-length", b"5")]
        user = self._malformed(lambda link: link.origin.respond(1, b"sixsix", head), "more content")
        self.assertEqual(user.content, b"")

    def test_lengths(self) -> None:
        """
        Two lengths, or none that is a number, are malformed.
        """
        for fields in ([b"5", b"5"], [b"5", b"6"], [b"+5"], [b"5, 5"]):
            head: Fields = [*OK, *((b"content-length", value) for value in fields)]

            def act(link: Link, head: Fields = head) -> None:
                link.origin.respond(1, b"five!", head)

            self._malformed(act, "content-length")

    def test_content_of_no_content(self) -> None:
        """
        A response to HEAD, a 204 and a 304 have no content.
        """
        for status in (b"204", b"304"):

            def act(link: Link, status: bytes = status) -> None:
                link.origin.respond(1, b"c", [(b":status", status)])

            self._malformed(act, "more content")
        link = linked()
        user, _ = link.request(User(head_only=True))
        link.run()
        link.origin.respond(1, b"c")
        link.run()
        assert user.error is not None
        self.assertIn("more content", user.error.text)

    def test_interim_end(self) -> None:
        """
        An interim response cannot be the last.
        """

        def act(link: Link) -> None:
            fields = link.origin.encode([(b":status", b"103")])
            frame = HeadersFrame(1, fields, flags=["END_HEADERS", "END_STREAM"])
            link.origin.write(frame)

        self._malformed(act, "")

    def test_interim_flood(self) -> None:
        """
        Interim responses have to come to an end.
        """

        def act(link: Link) -> None:
            for _ in range(MAX_INTERIM + 1):
                link.origin.respond(1, b"", [(b":status", b"103")], ended=False)

        self._malformed(act, "too many interim")

    def test_content_first(self) -> None:
        """
        Content cannot come before a head.
        """
        self._malformed(lambda link: link.origin.write(DataFrame(1, b"x")), "")

    def test_second_head(self) -> None:
        """
        Behind content only trailers may come, and they are the end.
        """

        def act(link: Link) -> None:
            link.origin.respond(1, b"x", ended=False)
            link.origin.write(HeadersFrame(1, link.origin.encode(OK), flags=["END_HEADERS"]))

        self._malformed(act, "")

    def test_trailers(self) -> None:
        """
        Trailers may not hold what would change the message, nor pseudo-fields.
        """
        for field in ((b"content-length", b"1"), (b":status", b"200"), (b"A", b"b")):

            def act(link: Link, field: tuple[bytes, bytes] = field) -> None:
                link.origin.respond(1, b"x", trailers=[field])

            self._malformed(act, "")

    def test_window_overflow(self) -> None:
        """
        A stream's window beyond 2^31 - 1 ends that stream (RFC 9113 section 6.9.1).
        """
        frame = WindowUpdateFrame(1, window_increment=2**31 - 1)
        self._malformed(lambda link: link.origin.write(frame), "")

    def test_window_ignored(self) -> None:
        """
        An origin that sends more than a stream's window ends that stream, or the connection; the
        user gets no more than the window.
        """
        link = linked()
        user, stream = link.request()
        link.run()
        stream.pause_reading()
        link.origin.respond(1, b"", ended=False)
        frames = [DataFrame(1, b"x" * 16384) for _ in range(INITIAL_WINDOW // 16384 + 1)]
        link.origin.write(*frames)
        link.run()
        self.assertIsNotNone(user.error)
        self.assertLessEqual(len(user.content), INITIAL_WINDOW)


class BrokenTests(SynchronousTestCase):
    """
    What ends the connection (RFC 9113 section 5.4.1).
    """

    def _broken(self, *frames: Frame, code: ErrorCodes, raw: bytes = b"") -> None:
        link = linked()
        users = [link.request()[0] for _ in range(2)]
        link.run()
        link.origin.write(*frames)
        link.origin.write_bytes(raw)
        data = link.origin.data_to_send()
        link.session.receive(data)
        self.assertTrue(link.session.broken)
        self.assertEqual((link.session.capacity, link.session.streams), (0, 0))
        for user in users:
            error = user.error
            assert error is not None
            self.assertEqual((error.status, error.proxy_status), (502, "http_protocol_error"))
            self.assertIn(code.name, error.text)
            self.assertFalse(user.unprocessed)
        link.to_origin()
        self.assertEqual(link.origin.goaway(), code)
        link.session.receive(data)
        link.session.check()
        link.session.close()
        self.assertEqual(link.out, [])

    def test_push(self) -> None:
        """
        Pushes were forbidden.
        """
        encoded = linked().origin.encode(GET)
        self._broken(
            PushPromiseFrame(1, promised_stream_id=2, data=encoded, flags=["END_HEADERS"]),
            code=ErrorCodes.PROTOCOL_ERROR,
        )

    def test_oversized_frame(self) -> None:
        """
        Frames larger than we have allowed are not waited for.
        """
        size = (MAX_FRAME + 1).to_bytes(3, "big")
        self._broken(code=ErrorCodes.FRAME_SIZE_ERROR, raw=size + b"\0\0\0\0\0\1")

    def test_header_bomb(self) -> None:
        """
        A small header section that unfolds into a large one is not unfolded.
        """
        big = HeadersFrame(1, b"\x88\x40\x01a\x7f\xa1\x1e" + b"b" * 4000, flags=["END_HEADERS"])
        many = HeadersFrame(1, b"\x88" + b"\xbe" * 40_000, flags=["END_HEADERS"])
        self._broken(big, many, code=ErrorCodes.ENHANCE_YOUR_CALM)

    def test_compression(self) -> None:
        """
        A header section that cannot be decoded leaves us without the table that all share.
        """
        frame = HeadersFrame(1, b"\xff\xff\xff\xff\xff", flags=["END_HEADERS"])
        self._broken(frame, code=ErrorCodes.COMPRESSION_ERROR)

    def test_continuation_flood(self) -> None:
        """
        A header section has to come to an end.
        """
        frames: list[Frame] = [HeadersFrame(1, b"\x88")]
        frames += [ContinuationFrame(1, b"") for _ in range(3000)]
        self._broken(*frames, code=ErrorCodes.ENHANCE_YOUR_CALM)

    def test_floods(self) -> None:
        """
        Frames that bring nothing are counted.
        """
        for frame in (
            PingFrame(0, b"12345678"),
            SettingsFrame(0, settings={3: 100}),
            PriorityFrame(1),
            DataFrame(1, b""),
            RstStreamFrame(1, 8),
            WindowUpdateFrame(0, window_increment=1),
            GoAwayFrame(0, last_stream_id=2**31 - 1),
        ):
            link = linked()
            user, _ = link.request()
            link.run()
            link.origin.respond(1, b"", ended=False)
            link.origin.write(*[frame] * 3000)
            link.to_session()
            self.assertTrue(link.session.broken, frame)
            self.assertIsNotNone(user.error)

    def test_connection_window_overflow(self) -> None:
        """
        The connection's window cannot exceed 2^31 - 1.
        """
        frame = WindowUpdateFrame(0, window_increment=2**31 - 1)
        self._broken(frame, code=ErrorCodes.FLOW_CONTROL_ERROR)

    def test_unopened_stream(self) -> None:
        """
        Nothing can come on a stream that nobody has opened.
        """
        self._broken(DataFrame(99, b"x"), code=ErrorCodes.PROTOCOL_ERROR)

    def test_no_http2(self) -> None:
        """
        What speaks another protocol is not HTTP/2.
        """
        link = Link()
        user, _ = link.request()
        link.session.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(link.session.broken)
        self.assertIsNotNone(user.error)

    def test_before(self) -> None:
        """
        What came complete before the error is told.
        """
        link = linked()
        first, _ = link.request()
        second, _ = link.request()
        link.run()
        link.origin.respond(1, b"whole")
        link.origin.write(DataFrame(99, b"x"))
        link.run()
        self.assertEqual((first.content, first.ended, first.error), (b"whole", True, None))
        self.assertIsNotNone(second.error)

    def test_owner_first(self) -> None:
        """
        The owner knows that no request can begin before any user is told that its own has failed,
        or that it has ended.
        """
        link = linked()
        users = [link.request()[0] for _ in range(2)]
        link.run()
        told: list[list[str]] = []
        for user in users:
            user.on["end"] = user.on["failed"] = lambda: told.append(link.calls[:1])
        link.origin.respond(1, b"whole")
        link.origin.write(DataFrame(99, b"x"))
        link.run()
        self.assertEqual(told, [["going_away"]] * 2)
        self.assertEqual(link.calls, ["going_away", "stream_ended"])

    def test_calls_before(self) -> None:
        """
        Users that call in when it is already too late do no harm.
        """
        link = linked()
        first, stream = link.request(fields=POST, content=b"a", ended=False)
        second, other = link.request(fields=POST, content=b"a", ended=False)
        link.run()

        def call_in() -> None:
            stream.send(b"", True)
            stream.resume_reading()
            other.abort()

        first.on["body"] = call_in
        link.origin.respond(1, b"x" * INITIAL_WINDOW, ended=False)
        link.origin.write(DataFrame(99, b"x"))
        link.run()
        self.assertIsNotNone(first.error)
        self.assertEqual(second.calls, [])
        self.assertEqual(link.session.streams, 0)
        self.assertNotIn("user_raised", link.calls)


class LostTests(SynchronousTestCase):
    ERROR = GatewayError(502, "connection_terminated", "the wire has ended")

    def test_any_moment(self) -> None:
        """
        Wherever the wire ends, each user is told its end or the failure, once.
        """
        link = linked()
        link.request()
        link.run()
        link.origin.respond(1, b"", [(b":status", b"103")], ended=False)
        link.origin.respond(1, b"content" * 10, trailers=[(b"a", b"b")])
        data = link.origin.data_to_send()
        for size in range(len(data) + 1):
            link = linked()
            user, _ = link.request()
            link.run()
            link.session.receive(data[:size])
            link.session.lost(self.ERROR, link.sent())
            link.session.lost(self.ERROR, link.sent())
            ends = [name for name, _ in user.calls if name in ("end", "failed")]
            self.assertEqual(ends, ["end" if size == len(data) else "failed"])
            self.assertEqual(user.answered, size < len(data) and len(user.calls) > 1)
            self.assertFalse(user.unprocessed)

    def test_unsent(self) -> None:
        """
        A request of which the kernel has taken nothing was not acted on.
        """
        link = linked()
        sent, _ = link.request()
        link.stuck = True
        unsent, _ = link.request()
        link.session.lost(self.ERROR, link.sent())
        self.assertEqual((sent.unprocessed, unsent.unprocessed), (False, True))

    def test_afterwards(self) -> None:
        """
        Nothing happens any more.
        """
        link = linked()
        user, stream = link.request(fields=POST, content=b"x", ended=False)
        link.run()
        link.session.lost(self.ERROR, link.sent())
        stream.send(b"y", True)
        stream.abort()
        link.session.resume_sending()
        link.session.check()
        link.session.close()
        link.session.receive(b"x")
        self.assertEqual((link.out, len(user.calls)), ([], 1))
        self.assertEqual(link.calls, [])


class LivenessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked()

    def _pass(self, seconds: float) -> None:
        self.link.now += seconds
        self.link.session.check()

    def test_silence(self) -> None:
        """
        An origin that says nothing for a while is asked, once, and then given up.
        """
        user, _ = self.link.request()
        self.link.run()
        self._pass(PING_AFTER - 1)
        self.link.to_origin()
        self.assertEqual(self.link.origin.pings, 0)
        self._pass(1)
        self._pass(1)
        self.link.to_origin()
        self.assertEqual(self.link.origin.pings, 1)
        self._pass(PING_PATIENCE)
        error = user.error
        assert error is not None
        self.assertEqual((error.status, error.proxy_status), (504, "connection_read_timeout"))
        self.assertFalse(user.unprocessed)
        self.assertTrue(self.link.session.broken)

    def test_alive(self) -> None:
        """
        One that answers may take as long as it likes for the response; it is asked less and less
        often, until something else comes.
        """
        user, _ = self.link.request()
        pings = []
        for _ in range(64):
            self._pass(PING_AFTER)
            self.link.run()
            pings.append(self.link.origin.pings)
        self.assertIsNone(user.error)
        self.assertEqual([pings.count(number) for number in range(1, 6)], [2, 4, 8, 16, 16])
        self.link.origin.respond(1, ended=False)
        self.link.run()
        before = self.link.origin.pings
        self._pass(PING_AFTER)
        self.link.run()
        self.assertEqual(self.link.origin.pings, before + 1)

    def test_content_is_life(self) -> None:
        """
        So does anything else that comes, though the answer is behind it.
        """
        self.link.request()
        self.link.run()
        self.link.origin.respond(1, b"", ended=False)
        self._pass(PING_AFTER)
        for _ in range(10):
            self.link.origin.write(DataFrame(1, b"x"))
            self.link.to_session()
            self._pass(PING_PATIENCE - 1)
        self.assertFalse(self.link.session.broken)

    def test_idle(self) -> None:
        """
        Of an idle connection nothing is expected.
        """
        self._pass(1000)
        self.assertEqual(self.link.out, [])
        self.assertFalse(self.link.session.broken)

    def test_dead_before_use(self) -> None:
        """
        A connection that has died while it was idle: what was held back was not acted on, and what
        was not may have been.
        """
        self.link.now += 100
        held, _ = self.link.request(User(repeatable=False), POST)
        sent, _ = self.link.request()
        self._pass(PING_PATIENCE)
        self.assertEqual((held.unprocessed, sent.unprocessed), (True, False))
        self.assertEqual(self.link.origin.seen(RequestReceived), [])
