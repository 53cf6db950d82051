"""
One stream beside others: content that waits for windows and wire, turns, reading and not reading.
"""

from __future__ import annotations

from h2.events import DataReceived, StreamEnded, TrailersReceived, WindowUpdated
from h2.settings import SettingCodes
from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http2.stream import DRAINED, FULL, MAX_DATA
from fastcar_tw.http2.windows import CONNECTION_WINDOW, INITIAL_WINDOW
from tests.http2.origin import OK, POST, User, linked

WINDOW = int(SettingCodes.INITIAL_WINDOW_SIZE)
FRAME = int(SettingCodes.MAX_FRAME_SIZE)


class SendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked({WINDOW: 1000})
        self.origin = self.link.origin
        self.origin.acknowledges = False

    def _got(self, stream_id: int = 1) -> int:
        self.link.run()
        return len(self.origin.content_of(stream_id))

    def test_window(self) -> None:
        """
        No more is sent than the stream's window holds; the rest when that opens.
        """
        _, stream = self.link.request(fields=POST, content=b"x" * 2500)
        self.assertEqual((self._got(), stream.sent()), (1000, 1000))
        self.origin.h2.increment_flow_control_window(1200, 1)
        self.assertEqual(self._got(), 2200)
        self.assertEqual(self.origin.seen(StreamEnded), [])
        self.origin.h2.increment_flow_control_window(1200, 1)
        self.assertEqual(self._got(), 2500)
        self.assertEqual(len(self.origin.seen(StreamEnded)), 1)

    def test_window_setting(self) -> None:
        """
        SETTINGS change the windows of all streams under way, downwards below zero if need be (RFC
        9113 section 6.9.2).
        """
        for _ in range(2):
            self.link.request(fields=POST, content=b"x" * 5000)
        self.assertEqual((self._got(1), self._got(3)), (1000, 1000))
        self.origin.h2.update_settings({WINDOW: 3000})
        self.assertEqual((self._got(1), self._got(3)), (3000, 3000))
        self.origin.h2.update_settings({WINDOW: 100})
        self.link.run()
        self.origin.h2.increment_flow_control_window(2000, 1)
        self.assertEqual(self._got(1), 3000)
        self.origin.h2.increment_flow_control_window(910, 1)
        self.assertEqual(self._got(1), 3010)

    def test_connection_window(self) -> None:
        """
        The connection's window is shared, in turns, and all go on when it opens.
        """
        self.origin.h2.update_settings({WINDOW: 1_000_000})
        self.link.run()
        self.link.session.pause_sending()
        for _ in range(2):
            self.link.request(fields=POST, content=b"x" * 65535)
        self.link.session.resume_sending()
        self.assertEqual(self._got(1) + self._got(3), 65535)
        self.assertGreater(min(self._got(1), self._got(3)), 16384)
        self.origin.h2.increment_flow_control_window(65535)
        self.assertEqual((self._got(1), self._got(3)), (65535, 65535))

    def test_end_without_window(self) -> None:
        """
        An end, and trailers, need no window.
        """
        user, stream = self.link.request(fields=POST, content=b"x" * 1000, ended=False)
        self.assertEqual(self._got(), 1000)
        user.request_trailers = b"a: b\r\n"
        stream.send(b"", True)
        self.link.run()
        self.assertEqual(len(self.origin.seen(TrailersReceived)), 1)

    def test_trailers_wait(self) -> None:
        """
        Trailers do not overtake content.
        """
        user = User()
        user.request_trailers = b"a: b\r\n"
        self.link.request(user, POST, b"x" * 1500)
        self.link.run()
        self.assertEqual(self.origin.seen(TrailersReceived), [])
        self.origin.h2.increment_flow_control_window(1000, 1)
        self.link.run()
        self.assertEqual(len(self.origin.seen(TrailersReceived)), 1)

    def test_frame_size(self) -> None:
        """
        A frame is as large as the origin allows, from the moment on it does.
        """
        self.origin.h2.update_settings({WINDOW: 60_000})
        self.link.run()
        self.link.request(fields=POST, content=b"x" * 20_000)
        self.link.run()
        self.origin.h2.update_settings({FRAME: 30_000})
        self.link.run()
        self.link.request(fields=POST, content=b"x" * 20_000)
        self.link.run()
        sizes = [len(event.data) for event in self.origin.seen(DataReceived)]
        self.assertEqual(sizes, [16384, 3616, 20_000])

    def test_largest_frame(self) -> None:
        """
        However large a frame may be, others get their turn.
        """
        self.origin.h2.update_settings({WINDOW: 1 << 24, FRAME: (1 << 24) - 1})
        self.origin.h2.increment_flow_control_window(1 << 24)
        self.link.run()
        self.link.request(fields=POST, content=bytes(4 * MAX_DATA))
        self.link.run()
        sizes = [len(event.data) for event in self.origin.seen(DataReceived)]
        self.assertEqual(sizes, [MAX_DATA] * 4)

    def test_full(self) -> None:
        """
        A user is told once when much waits, and once when it does not any more.
        """
        user, stream = self.link.request(fields=POST, content=b"x" * FULL, ended=False)
        self.assertFalse(stream.full)
        stream.send(b"x" * 1000, False)
        self.assertTrue(stream.full)
        stream.send(b"x", False)
        self.assertEqual(user.calls, [("full", None)])
        self.link.run()
        self.origin.h2.increment_flow_control_window(FULL - DRAINED - 1000, 1)
        self.link.run()
        self.assertTrue(stream.full)
        self.origin.h2.increment_flow_control_window(1001, 1)
        self.link.run()
        self.assertFalse(stream.full)
        self.assertEqual(user.calls, [("full", None), ("drained", None)])

    def test_full_from_the_start(self) -> None:
        """
        What does not go at once may fill it, too.
        """
        user, stream = self.link.request(fields=POST, content=b"x" * 2 * FULL, ended=False)
        self.assertTrue(stream.full)
        self.assertEqual(user.calls, [("full", None)])

    def test_aborted_while_full(self) -> None:
        """
        A user that has given up is not told that there is room.
        """
        user, stream = self.link.request(fields=POST, content=b"x" * 2 * FULL, ended=False)
        self.link.session.pause_sending()
        self.link.run()
        self.origin.h2.increment_flow_control_window(1000, 1)
        self.link.run()
        stream.abort()
        self.link.session.resume_sending()
        self.assertEqual(user.calls, [("full", None)])
        self.assertEqual(self._got(), 1000)

    def test_refilled(self) -> None:
        """
        A user may send more from within being told that there is room.
        """
        self.origin.acknowledges = True
        user, stream = self.link.request(fields=POST, content=b"x" * 2 * FULL, ended=False)
        more = [b"y" * FULL] * 5

        def refill() -> None:
            while more and not stream.full:
                stream.send(more.pop(), not more)

        user.on["drained"] = refill
        self.assertEqual(self._got(), 7 * FULL)
        self.assertEqual(len(self.origin.seen(StreamEnded)), 1)


class FairnessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked({WINDOW: 2**20})
        self.link.origin.h2.increment_flow_control_window(2**24)
        self.link.run()

    def _order(self) -> list[int]:
        self.link.run()
        return [event.stream_id for event in self.link.origin.seen(DataReceived)]

    def test_turns(self) -> None:
        """
        Streams take turns, a frame each, however much one of them has.
        """
        self.link.session.pause_sending()
        for size in (100_000, 40_000, 10):
            self.link.request(fields=POST, content=b"x" * size)
        self.link.session.resume_sending()
        self.assertEqual(self._order(), [1, 3, 5, 1, 3, 1, 3, 1, 1, 1, 1])

    def test_closed_window(self) -> None:
        """
        One whose window is closed holds up nobody.
        """
        self.link.origin.acknowledges = False
        self.link.request(fields=POST, content=b"x" * 2**21)
        self.link.run()
        self.link.request(fields=POST, content=b"x" * 100)
        self.assertEqual(self._order()[-1], 3)

    def test_wire_full(self) -> None:
        """
        While the wire is full no content is framed, but it is taken; heads go nevertheless.
        """
        self.link.session.pause_sending()
        user, stream = self.link.request(fields=POST, content=b"x" * FULL, ended=False)
        self.assertEqual(self._order(), [])
        self.assertEqual(len(self.link.origin.fields_of(1)), 4)
        self.assertTrue(stream.full)
        self.link.session.resume_sending()
        self.assertEqual(user.calls, [("full", None), ("drained", None)])
        self.assertEqual(len(self._order()), 4)

    def test_wire_fills(self) -> None:
        """
        A wire that says within a transmission that it is full gets no more than a batch.
        """
        self.link.session.pause_sending()
        for _ in range(4):
            self.link.request(fields=POST, content=b"x" * 200_000)
        before = self.link.taken
        self.link.on_transmit = self.link.session.pause_sending
        self.link.session.resume_sending()
        self.assertLess(self.link.taken - before, 200_000)
        while self.link.session.streams and len(self._order()) < 52:
            self.link.session.resume_sending()


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = linked()
        self.origin = self.link.origin

    def _window_of(self, stream_id: int) -> int:
        self.link.run()
        return self.origin.h2.streams[stream_id].outbound_flow_control_window

    def test_given_back(self) -> None:
        """
        What a user has read is given back, after it was told all that came together.
        """
        user, _ = self.link.request()
        self.link.run()
        self.origin.respond(1, b"x" * INITIAL_WINDOW, ended=False)
        self.assertGreaterEqual(self._window_of(1), INITIAL_WINDOW)
        self.assertEqual(len(user.content), INITIAL_WINDOW)

    def test_stalled(self) -> None:
        """
        A user that does not read holds its window and no more, until it does.
        """
        user, stream = self.link.request()
        self.link.run()
        user.on["flush"] = stream.pause_reading
        self.origin.respond(1, b"x" * INITIAL_WINDOW, ended=False)
        self.assertEqual(self._window_of(1), 0)
        user.on.clear()
        stream.resume_reading()
        self.assertGreaterEqual(self._window_of(1), INITIAL_WINDOW)

    def _fill(self, stream_id: int) -> None:
        """
        Send as much content as the windows allow.
        """
        window = self.origin.h2.local_flow_control_window(stream_id)
        for at in range(0, window, 65536):
            self.origin.h2.send_data(stream_id, bytes(min(65536, window - at)))

    def test_stalled_beside(self) -> None:
        """
        More than the connection's window comes for others while one stream is not read.
        """
        _, stalled = self.link.request()
        other, _ = self.link.request()
        self.link.run()
        stalled.pause_reading()
        self.origin.respond(1, b"x" * INITIAL_WINDOW, ended=False)
        self.origin.respond(3, b"", ended=False)
        self.link.run()
        for _ in range(12):
            self._fill(3)
            self.link.run()
        self.assertGreater(sum(map(len, other.parts)), CONNECTION_WINDOW)
        self.assertEqual(self.origin.h2.local_flow_control_window(1), 0)

    def test_far_away(self) -> None:
        """
        100 MB come in 32 round trips, though the reader pauses for a tenth of each.
        """
        user, stream = self.link.request()
        self.link.run()
        self.origin.respond(1, b"", ended=False)
        for _ in range(32):
            stream.pause_reading()
            self._fill(1)
            self.link.to_session()
            self.link.now += 0.002
            stream.resume_reading()
            self.link.now += 0.018
            self.link.to_origin()
        self.assertGreater(sum(map(len, user.parts)), 100_000_000)

    def test_short_response(self) -> None:
        """
        No window is given back for a response that does not need it.
        """
        self.link.request()
        self.link.run()
        before = len(self.origin.seen(WindowUpdated))
        self.origin.respond(1, b"x" * 10_000)
        self.link.run()
        self.assertEqual(len(self.origin.seen(WindowUpdated)), before)

    def test_ended(self) -> None:
        """
        To a stream that has ended, nothing can be done any more, and nothing is sent for it.
        """
        user, stream = self.link.request()
        self.link.run()
        self.origin.respond(1, b"x" * INITIAL_WINDOW, OK)
        self.link.run()
        calls = len(user.calls)
        stream.send(b"more", True)
        stream.pause_reading()
        stream.resume_reading()
        stream.abort()
        self.assertEqual((self.link.out, len(user.calls)), ([], calls))
        self.assertEqual(self.link.calls, ["stream_ended"])
