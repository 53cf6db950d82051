"""
A session and its origin when both do as they should: requests, responses, capacity, leaving.
"""

from __future__ import annotations

from h2.events import PingReceived, RequestReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, PingFrame, SettingsFrame
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.head import MAX_INTERIM, parse_request_head
from fastcar_tw.http2.fields import request_fields
from fastcar_tw.http2.liveness import IDLE_TRUST
from fastcar_tw.http2.session import EARLY_STREAMS, LAST_STREAM_ID, MAX_CAPACITY
from fastcar_tw.http2.windows import CONNECTION_WINDOW, INITIAL_WINDOW
from tests.http2.origin import GET, OK, POST, Link, User, linked

CAPACITY = int(SettingCodes.MAX_CONCURRENT_STREAMS)


class BeginningTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """
        The origin is told what it may send, and that it may not push.
        """
        settings = linked().origin.h2.remote_settings
        self.assertEqual(settings.enable_push, 0)
        self.assertEqual(settings.initial_window_size, INITIAL_WINDOW)

    def test_connection_window(self) -> None:
        """
        The connection's window is opened before the first response.
        """
        origin = linked().origin
        self.assertEqual(origin.h2.outbound_flow_control_window, CONNECTION_WINDOW)

    def test_before_settings(self) -> None:
        """
        Requests do not wait for the origin's SETTINGS (RFC 9113 section 3.4).
        """
        link = Link()
        link.request()
        link.to_origin()
        self.assertEqual(len(link.origin.seen(RequestReceived)), 1)

    def test_one_transmission(self) -> None:
        """
        What one call causes is transmitted at once and together.
        """
        link = linked()
        link.request(fields=POST, content=b"x" * 40_000)
        self.assertEqual(len(link.out), 1)


class RequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked()
        self.origin = self.link.origin

    def test_translated(self) -> None:
        """
        A request as a client sends it arrives as HTTP/2 has it.
        """
        head = (
            b"POST /a?b HTTP/1.1\r\nHost: origin.test\r\nCookie: a=1; b=2\r\n"
            b"Connection: close\r\nX-Case: Kept\r\nContent-Length: 2\r\n\r\n"
        )
        fields = request_fields(parse_request_head(head, len(head)), b"Via: 1.1 fastcar\r\n")
        self.link.request(fields=fields, content=b"hi")
        self.link.run()
        self.assertEqual(
            self.origin.fields_of(1),
            [
                (b":method", b"POST"),
                (b":scheme", b"https"),
                (b":authority", b"origin.test"),
                (b":path", b"/a?b"),
                (b"cookie", b"a=1"),
                (b"cookie", b"b=2"),
                (b"x-case", b"Kept"),
                (b"content-length", b"2"),
                (b"via", b"1.1 fastcar"),
            ],
        )
        self.assertEqual(self.origin.content_of(1), b"hi")

    def test_end(self) -> None:
        """
        A request without content is one frame that ends it.
        """
        self.link.request()
        self.link.run()
        self.assertIsNotNone(self.origin.seen(RequestReceived)[0].stream_ended)

    def test_parts(self) -> None:
        """
        Content is sent as it comes, and the end when it is told.
        """
        _, stream = self.link.request(fields=POST, content=b"one", ended=False)
        self.link.run()
        stream.send(b"two", False)
        self.link.run()
        self.assertEqual(self.origin.seen(StreamEnded), [])
        stream.send(b"", True)
        self.link.run()
        self.assertEqual(self.origin.content_of(1), b"onetwo")
        self.assertEqual(len(self.origin.seen(StreamEnded)), 1)

    def test_trailers(self) -> None:
        """
        Trailers are sent behind the content, in lower case.
        """
        user = User()
        user.request_trailers = b"X-Sum: 1\r\nX-More: 2\r\n"
        self.link.request(user, POST, b"content")
        self.link.run()
        self.assertEqual(self.origin.content_of(1), b"content")
        (trailers,) = self.origin.seen(TrailersReceived)
        self.assertEqual(
            [tuple(field) for field in trailers.headers], [(b"x-sum", b"1"), (b"x-more", b"2")]
        )
        self.assertEqual(len(self.origin.seen(StreamEnded)), 1)

    def test_trailers_only(self) -> None:
        """
        Trailers do not need content in front of them, nor windows.
        """
        user = User()
        _, stream = self.link.request(user, POST, b"", ended=False)
        user.request_trailers = b"X-Sum: 1\r\n"
        stream.send(b"", True)
        self.link.run()
        self.assertEqual(len(self.origin.seen(TrailersReceived)), 1)


class ResponseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked()
        self.origin = self.link.origin

    def _responded(self, user: User) -> None:
        self.link.run()
        self.assertIsNone(user.error)
        self.assertEqual(self.link.session.streams, 0)
        self.assertEqual(self.link.calls, ["stream_ended"])
        self.assertEqual(self.origin.resets(), [])

    def test_whole(self) -> None:
        """
        Head, content and end are told in order, and then that this was all.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1, b"hello", [*OK, (b"content-length", b"5"), (b"x", b"y")])
        self._responded(user)
        self.assertEqual(
            user.calls, [("head", (200, True)), ("body", b"hello"), ("end", b""), ("flush", None)]
        )
        self.assertEqual(user.heads[0].fields, b"content-length: 5\r\nx: y\r\n")

    def test_empty(self) -> None:
        """
        A response that ends with its head may have had content for all that its head says.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1)
        self._responded(user)
        self.assertEqual(user.calls, [("head", (200, True)), ("end", b""), ("flush", None)])

    def test_length_zero(self) -> None:
        """
        Content-Length: 0 is no body.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1, b"", [*OK, (b"content-length", b"0")])
        self._responded(user)
        self.assertEqual(user.calls[0], ("head", (200, False)))

    def test_no_length(self) -> None:
        """
        Without a length content goes on until the stream ends.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1, b"x" * 100_000)
        self._responded(user)
        self.assertEqual(user.content, b"x" * 100_000)

    def test_trailers(self) -> None:
        """
        Trailers are told as lines with the end.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1, b"c", trailers=[(b"grpc-status", b"0"), (b"a", b"b")])
        self._responded(user)
        self.assertEqual(user.calls[2], ("end", b"grpc-status: 0\r\na: b\r\n"))

    def test_head_only(self) -> None:
        """
        The length of what a GET would have got is no promise of content (RFC 9113 section 8.1.1).
        """
        user, _ = self.link.request(User(head_only=True))
        self.link.run()
        self.origin.respond(1, b"", [*OK, (b"content-length", b"99")])
        self._responded(user)
        self.assertEqual(user.calls[0], ("head", (200, False)))
        self.assertEqual(user.heads[0].content_length, 99)

    def test_not_modified(self) -> None:
        """
        Nor is that of a 304.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1, b"", [(b":status", b"304"), (b"content-length", b"99")])
        self._responded(user)
        self.assertEqual(user.calls[0], ("head", (304, False)))

    def test_no_content(self) -> None:
        """
        A 204 may end with an empty frame of content.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1, b"", [(b":status", b"204")], ended=False)
        self.origin.h2.send_data(1, b"", True)
        self._responded(user)
        self.assertEqual(user.calls[:2], [("head", (204, False)), ("end", b"")])

    def test_interim(self) -> None:
        """
        Interim responses are told in front of the final one.
        """
        user, _ = self.link.request()
        self.link.run()
        for status in (b"100", b"103"):
            self.origin.respond(1, b"", [(b":status", status), (b"link", b"<a>")], ended=False)
        self.origin.respond(1, b"c")
        self._responded(user)
        self.assertEqual(
            user.calls[:3],
            [
                ("interim", (100, b"link: <a>\r\n")),
                ("interim", (103, b"link: <a>\r\n")),
                ("head", (200, True)),
            ],
        )

    def test_interim_limit(self) -> None:
        """
        As many interim responses as one may send do no harm.
        """
        user, _ = self.link.request()
        self.link.run()
        for _ in range(MAX_INTERIM):
            self.origin.respond(1, b"", [(b":status", b"102")], ended=False)
        self.origin.respond(1, b"c")
        self._responded(user)

    def test_padding(self) -> None:
        """
        Padding is no content.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1, b"", [*OK, (b"content-length", b"4")], ended=False)
        self.origin.h2.send_data(1, b"four", True, pad_length=200)
        self._responded(user)
        self.assertEqual(user.content, b"four")

    def test_interleaved(self) -> None:
        """
        Responses may come in any order and mixed: each user is told its own, and flushed once.
        """
        users = [self.link.request()[0] for _ in range(3)]
        self.link.run()
        for stream_id in (5, 1, 3):
            self.origin.respond(stream_id, b"%d" % stream_id, ended=False)
        for stream_id in (3, 1, 5):
            self.origin.h2.send_data(stream_id, b"!", True)
        self.link.run()
        self.assertEqual([user.content for user in users], [b"1!", b"3!", b"5!"])
        self.assertEqual([user.calls.count(("flush", None)) for user in users], [1, 1, 1])

    def test_early(self) -> None:
        """
        A complete response ends the request too: what is left of it is not sent, without blame
        (RFC 9113 section 8.1).
        """
        user, stream = self.link.request(fields=POST, content=b"begin", ended=False)
        self.link.run()
        self.origin.respond(1, b"enough", [(b":status", b"413")])
        self.link.run()
        self.assertTrue(user.ended)
        self.assertIsNone(user.error)
        self.assertEqual(self.origin.resets(), [(1, 0)])
        stream.send(b"more", True)
        self.link.run()
        self.assertEqual(self.origin.content_of(1), b"begin")

    def test_next_from_within(self) -> None:
        """
        A user that is told the end may begin the next request at once.
        """
        second = User()
        first, _ = self.link.request()
        first.on["end"] = lambda: self.link.request(second) and None
        self.link.run()
        self.origin.respond(1, b"1")
        self.link.run()
        self.origin.respond(3, b"2")
        self.link.run()
        self.assertEqual(second.content, b"2")


class CapacityTests(SynchronousTestCase):
    def test_assumed(self) -> None:
        """
        A few requests may begin before the origin is heard, and a hundred if it does not say how
        many it takes.
        """
        link = Link()
        self.assertEqual(link.session.capacity, EARLY_STREAMS)
        link.run()
        self.assertEqual((link.session.capacity, link.calls), (100, ["capacity_changed"]))

    def test_same(self) -> None:
        """
        The owner is told of the first SETTINGS, even if they allow as many as before.
        """
        link = linked({CAPACITY: EARLY_STREAMS})
        self.assertEqual(link.session.capacity, EARLY_STREAMS)
        link = Link({CAPACITY: EARLY_STREAMS})
        link.run()
        self.assertEqual(link.calls, ["capacity_changed"])

    def test_told(self) -> None:
        """
        The origin's SETTINGS count from then on, and the owner is told.
        """
        link = Link({CAPACITY: 7})
        link.run()
        self.assertEqual((link.session.capacity, link.calls), (7, ["capacity_changed"]))

    def test_limited(self) -> None:
        """
        Whatever it says, there is a limit.
        """
        link = linked({CAPACITY: 2**31 - 1})
        self.assertEqual(link.session.capacity, MAX_CAPACITY)

    def test_changed(self) -> None:
        """
        It may say something else at any time; what is under way goes on, even if it is more.
        """
        link = linked({CAPACITY: 7})
        users = [link.request()[0] for _ in range(3)]
        link.run()
        for value in (2, 0, 9, 9):
            link.origin.h2.update_settings({CAPACITY: value})
            link.run()
        self.assertEqual(link.session.capacity, 9)
        self.assertEqual(link.calls, ["capacity_changed"] * 3)
        link.origin.h2.update_settings({CAPACITY: 1})
        for stream_id in (1, 3, 5):
            link.origin.respond(stream_id, b"c")
        link.run()
        self.assertTrue(all(user.ended for user in users))

    def test_known_first(self) -> None:
        """
        What came together counts together: a place that becomes free is gone if the origin has said
        so behind it, once or several times, or has gone itself.
        """
        for values in ([1], [9, 1], [9, 9, 0, 1]):
            link = linked({CAPACITY: 2})
            for _ in range(2):
                link.request()
            link.run()
            seen: list[int] = []
            link.on_stream_ended = lambda link=link, seen=seen: seen.append(link.session.capacity)
            link.origin.respond(1, b"c")
            for value in values:
                link.origin.h2.update_settings({CAPACITY: value})
            link.to_session()
            self.assertEqual((seen, link.calls), ([1], ["capacity_changed", "stream_ended"]))
        link.origin.respond(3, b"c")
        link.origin.write(GoAwayFrame(0, last_stream_id=3))
        link.to_session()
        self.assertEqual(seen, [1, 0])

    def test_streams(self) -> None:
        """
        Requests under way are counted, and each that ends is told.
        """
        link = linked()
        _, first = link.request()
        link.request()
        self.assertEqual(link.session.streams, 2)
        first.abort()
        self.assertEqual((link.session.streams, link.calls), (1, ["stream_ended"]))

    def test_many_at_once(self) -> None:
        """
        As many requests as the origin allows are under way together, again and again.
        """
        link = linked({CAPACITY: 10})
        for turn in range(3):
            users = [link.request()[0] for _ in range(10)]
            link.run()
            for number in range(10):
                link.origin.respond(20 * turn + 2 * number + 1, b"c")
            link.run()
            self.assertTrue(all(user.ended for user in users))


class GoingAwayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked()
        self.users = [self.link.request()[0] for _ in range(3)]
        self.link.run()

    def _goaway(self, last: int, code: int = 0) -> None:
        self.link.origin.write(GoAwayFrame(0, last_stream_id=last, error_code=code))
        self.link.run()

    def test_between(self) -> None:
        """
        What the origin has not acted on is told so; what it has goes on to its end.
        """
        self._goaway(3)
        first, second, third = self.users
        self.assertEqual((third.unprocessed, third.answered), (True, False))
        assert third.error is not None
        self.assertEqual(third.error.proxy_status, "connection_terminated")
        for stream_id in (1, 3):
            self.link.origin.respond(stream_id, b"c")
        self.link.run()
        self.assertTrue(first.ended and second.ended)
        self.assertEqual(self.link.session._library.open_outbound_streams, 0)
        self.assertEqual(self.link.origin.resets(), [])
        self.assertFalse(self.link.session.broken)

    def test_told(self) -> None:
        """
        The owner is told before streams fail, and there is no room for others from then on.
        """
        self._goaway(3)
        self.assertEqual(self.link.calls, ["going_away", "stream_ended"])
        session = self.link.session
        self.assertEqual((session.capacity, session.going_away), (0, True))

    def test_accepted(self) -> None:
        """
        It is known after how many requests the origin has ended the connection, if that was not all
        of them.
        """
        for last, accepted in ((3, 2), (1, 1), (0, 0), (5, None), (2**31 - 1, None)):
            self.setUp()
            self._goaway(last)
            self.assertEqual(self.link.session.accepted, accepted)

    def test_twice(self) -> None:
        """
        A graceful origin first says that it will go, and then which requests it has seen (RFC 9113
        section 6.8).
        """
        self._goaway(2**31 - 1)
        self.assertEqual([user.error for user in self.users], [None] * 3)
        self._goaway(1)
        self.assertEqual([user.unprocessed for user in self.users], [False, True, True])
        self.assertEqual(self.link.calls.count("going_away"), 1)

    def test_settings_behind(self) -> None:
        """
        SETTINGS do not open it again.
        """
        self._goaway(5)
        self.link.origin.h2.update_settings({CAPACITY: 50})
        self.link.run()
        self.assertEqual(self.link.session.capacity, 0)

    def test_code(self) -> None:
        """
        The reason is passed on by name, what else the origin says is not.
        """
        self._goaway(0, 11)
        error = self.users[0].error
        assert error is not None
        self.assertIn("ENHANCE_YOUR_CALM", error.text)

    def test_content_goes_on(self) -> None:
        """
        A request that has begun is still sent to its end.
        """
        _, stream = self.link.request(fields=POST, content=b"a", ended=False)
        self.link.run()
        self._goaway(7)
        stream.send(b"b" * 100_000, True)
        self.link.run()
        self.assertEqual(len(self.link.origin.content_of(7)), 100_001)

    def test_stream_ids(self) -> None:
        """
        When the numbers of streams are used up the connection goes, after those under way.
        """
        self.link.session._library.highest_outbound_stream_id = LAST_STREAM_ID - 2
        user, _ = self.link.request()
        self.assertEqual(self.link.calls, ["going_away"])
        self.assertEqual(self.link.session.capacity, 0)
        self.link.run()
        self.link.origin.respond(LAST_STREAM_ID, b"last")
        self.link.run()
        self.assertEqual(user.content, b"last")

    def test_close(self) -> None:
        """
        We take leave without blame, too.
        """
        self.link.session.close()
        self.assertEqual(self.link.session.capacity, 0)
        self.link.to_origin()
        self.assertEqual(self.link.origin.goaway(), 0)

    def test_close_from_within(self) -> None:
        """
        An owner may take leave as soon as it is told that the last stream has ended.
        """
        self._goaway(2**31 - 1)
        session = self.link.session

        def leave() -> None:
            if not session.streams:
                session.close()

        self.link.on_stream_ended = leave
        for stream_id in (1, 3, 5):
            self.link.origin.respond(stream_id, b"x" * 100_000)
        self.link.to_session()
        self.assertTrue(all(user.ended for user in self.users))
        self.link.to_origin()
        self.assertEqual(self.link.origin.goaway(), 0)
        session.lost(GatewayError(502, "connection_terminated", "gone"), self.link.sent())


class IdleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked()
        self.link.now += IDLE_TRUST + 0.1

    def test_trusted(self) -> None:
        """
        A connection that was heard of just now is used as it is.
        """
        self.link.now -= 1
        self.link.request(User(repeatable=False), POST)
        self.link.to_origin()
        self.assertEqual(self.link.origin.pings, 0)
        self.assertEqual(len(self.link.origin.seen(RequestReceived)), 1)

    def test_repeatable(self) -> None:
        """
        What may be sent twice goes at once, with a PING.
        """
        self.link.request()
        self.link.to_origin()
        self.assertEqual(self.link.origin.pings, 1)
        self.assertEqual(len(self.link.origin.seen(RequestReceived)), 1)

    def test_held(self) -> None:
        """
        What may not waits for the answer, with all its content, and counts as a request meanwhile.
        """
        _, stream = self.link.request(User(repeatable=False), POST, b"one", ended=False)
        stream.send(b"two", True)
        self.assertEqual(self.link.session.streams, 1)
        self.link.to_origin()
        kinds = [type(event) for event in self.link.origin.events[-1:]]
        self.assertEqual(kinds, [PingReceived])
        self.link.run()
        self.assertEqual(self.link.origin.content_of(1), b"onetwo")
        self.assertEqual(self.link.session.streams, 1)

    def test_held_together(self) -> None:
        """
        One PING is enough for all that wait, and they go in their order.
        """
        for path in (b"/1", b"/2", b"/3"):
            self.link.request(User(repeatable=False), [*POST[:3], (b":path", path)])
        self.link.run()
        self.assertEqual(self.link.origin.pings, 1)
        paths = [self.link.origin.fields_of(number)[3][1] for number in (1, 3, 5)]
        self.assertEqual(paths, [b"/1", b"/2", b"/3"])

    def test_held_lost(self) -> None:
        """
        If the connection ends instead, nothing of it was sent.
        """
        held, _ = self.link.request(User(repeatable=False), POST)
        sent, _ = self.link.request()
        self.link.session.lost(GatewayError(502, "connection_terminated", "gone"), self.link.sent())
        self.assertEqual((held.unprocessed, sent.unprocessed), (True, False))

    def test_held_goaway(self) -> None:
        """
        So it was if the origin goes, whichever was its last stream.
        """
        held, _ = self.link.request(User(repeatable=False), POST)
        self.link.to_origin()
        self.link.session.receive(GoAwayFrame(0, last_stream_id=2**31 - 1).serialize())
        self.assertTrue(held.unprocessed)
        self.assertEqual(self.link.session.streams, 0)

    def test_held_aborted(self) -> None:
        """
        One that is not wanted any more is never sent.
        """
        _, stream = self.link.request(User(repeatable=False), POST)
        stream.abort()
        self.link.run()
        self.assertEqual(self.link.origin.seen(RequestReceived), [])
        self.assertEqual(self.link.calls, ["stream_ended"])

    def test_held_without_room(self) -> None:
        """
        If meanwhile the origin allows fewer requests, those beyond were not sent.
        """
        users = [self.link.request(User(repeatable=False), POST)[0] for _ in range(3)]
        self.link.to_origin()
        frame = SettingsFrame(0, settings={CAPACITY: 2})
        self.link.session.receive(frame.serialize())
        self.link.run()
        self.assertEqual([user.unprocessed for user in users], [False, False, True])

    def test_unasked(self) -> None:
        """
        The answer to a PING nobody has sent does nothing.
        """
        self.link.origin.write(PingFrame(0, b"fastcar?", flags=["ACK"]))
        self.link.run()
        self.assertFalse(self.link.session.broken)

    def test_get_goes_while_post_waits(self) -> None:
        """
        A request that may be repeated does not wait behind one that may not.
        """
        self.link.request(User(repeatable=False), POST)
        self.link.request(fields=GET)
        self.link.to_origin()
        self.assertEqual(self.link.origin.fields_of(1)[0], (b":method", b"GET"))
