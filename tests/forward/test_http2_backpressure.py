"""Back-pressure over HTTP/2: who does not read makes one stream wait, and nothing grows (RFC 9113
section 5.2); and origins that do not behave."""

from __future__ import annotations

from h2.errors import ErrorCodes
from h2.events import DataReceived
from h2.settings import SettingCodes
from hyperframe.frame import (
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    SettingsFrame,
)

from fastcar_tw.http2.liveness import PING_AFTER, PING_PATIENCE
from fastcar_tw.http2.stream import FULL
from fastcar_tw.http2.windows import INITIAL_WINDOW
from fastcar_tw.testing import Peer

from .http2 import OK, HTTP2TestCase, Origin2, answers, dechunked
from .support import CHUNKED, GET, POST, request

MUCH = bytes(range(256)) * (1 << 13)  # 2 MiB
#: The most that is held for one side: a window, which has doubled while the kernel still took what
#: the client did not read, and what was read at once.
BOUND = 2 * INITIAL_WINDOW + 256 * 1024


class Download:
    """
    A response of an origin that sends whatever the windows let through.
    """

    def __init__(self, origin: Origin2, stream: int, content: bytes = MUCH) -> None:
        self.left = content
        self._origin = origin
        self._stream = stream
        origin.respond(stream, ended=False)

    def go_on(self) -> bool:
        """Send what may be sent; tell whether that was anything."""
        self._origin.run()
        h2 = self._origin.h2
        room = min(h2.local_flow_control_window(self._stream), h2.max_outbound_frame_size)
        if not self.left or not room:
            return False
        part, self.left = self.left[:room], self.left[room:]
        h2.send_data(self._stream, part, not self.left)
        self._origin.run()
        return True


def exhaust(*downloads: Download) -> None:
    """Send by turns until no window lets anything through."""
    while sum(each.go_on() for each in downloads):
        pass


class DownloadTests(HTTP2TestCase):
    """Clients that do not read."""

    def test_one_of_ten(self) -> None:
        """One client that does not read holds a window at most; nine others get all of theirs."""
        slow, *others = self.get(10)
        slow.pause()
        origin = self.h2
        downloads = [Download(origin, stream) for stream in origin.requests]
        exhaust(*downloads)
        self.assertEqual([bool(each.left) for each in downloads], [True] + [False] * 9)
        for client in others:
            self.assertTrue(dechunked(client.take()) == MUCH)
        self.assertLess(slow.transport.buffered, BOUND)
        self.assertFalse(origin.peer.transport.paused)

    def test_resumed(self) -> None:
        """It gets all of it when it reads again."""
        [client] = self.get(1)
        client.pause()
        download = Download(self.h2, 1)
        exhaust(download)
        self.assertGreater(len(download.left), 0)
        client.resume()
        exhaust(download)
        self.assertEqual(len(download.left), 0)
        self.assertTrue(dechunked(client.take()) == MUCH)
        self.assert_alive(client)

    def test_in_small_steps(self) -> None:
        """A client that reads a little at a time gets everything, and little is held throughout."""
        client = self.secure(capacity=8192)
        client.pause()
        self.send(GET, client)
        download = Download(self.h2, 1)
        most = 0
        while download.left:
            exhaust(download)
            client.read(65536)
            self.elapse(0.25)
            most = max(most, client.transport.buffered)
        self.assertLess(most, BOUND)
        client.resume()
        self.assertTrue(dechunked(client.take()) == MUCH)

    def test_all_slow(self) -> None:
        """When nobody reads each one's window is all that is held; another request is served."""
        clients = self.get(5)
        for client in clients:
            client.pause()
        origin = self.h2
        downloads = [Download(origin, stream) for stream in origin.requests]
        exhaust(*downloads)
        held = [client.transport.buffered for client in clients]
        self.assertLess(max(held), BOUND)
        self.assert_alive()
        for client in clients:
            client.resume()
        exhaust(*downloads)
        self.assertEqual([dechunked(client.take()) == MUCH for client in clients], [True] * 5)

    def test_slow_client_leaves(self) -> None:
        """A client that leaves without having read gives back what it held."""
        [slow] = self.get(1)
        slow.pause()
        download = Download(self.h2, 1)
        exhaust(download)
        slow.close()
        self.run_origins()
        self.assertEqual(self.h2.resets(), [(1, ErrorCodes.CANCEL)])
        self.assert_alive()
        self.assertEqual(len(self.origins), 1)

    def test_many_leave(self) -> None:
        """Those that leave in the middle never use up the connection's window."""
        origin = self.warm_up()
        for _ in range(80):
            client = self.secure()
            client.pause()
            self.send(GET, client)
            exhaust(Download(origin, origin.requests[-1]))
            client.close()
            self.run_origins()
        self.assert_alive()
        self.assertEqual(len(self.origins), 1)

    def test_stall(self) -> None:
        """A client that does not read for too long is given up; its stream is reset."""
        self.start(stall_timeout=20.0)
        [slow] = self.get(1)
        slow.pause()
        download = Download(self.h2, 1)
        exhaust(download)
        self.elapse(22)
        self.assertTrue(slow.closed)
        self.assertEqual(self.h2.resets(), [(1, ErrorCodes.CANCEL)])
        self.assert_alive(self.secure())

    def test_wire(self) -> None:
        """An origin's wire that is full of a download does not keep a request from being sent."""
        self.proxy.capacity = 16384
        [client] = self.get(1)
        download = Download(self.h2, 1)
        exhaust(download)
        self.assertTrue(dechunked(client.take()) == MUCH)
        self.assert_alive()


class UploadTests(HTTP2TestCase):
    """Origins that do not read."""

    def held(self) -> Origin2:
        """Have a connection to an origin that does not open its windows."""
        origin = self.warm_up()
        origin.acknowledges = False
        return origin

    def upload(self, origin: Origin2, client: Peer, body: bytes = MUCH) -> int:
        """Begin an upload; tell its stream."""
        self.send(request(b"/up", method=b"POST", body=body), client)
        return origin.requests[-1]

    def open_windows(self, origin: Origin2, stream: int) -> None:
        """Give back all that was used, until nothing comes any more."""
        given = 0
        while True:
            events = [each for each in origin.seen(DataReceived) if each.stream_id == stream]
            if len(events) == given:
                return
            for event in events[given:]:
                if origin.h2.streams.get(stream) is not None:
                    origin.give_back(event)
            given = len(events)
            self.run_origins()

    def test_paused(self) -> None:
        """The client is not read any more, and little is held; it all arrives in the end."""
        origin = self.held()
        stream = self.upload(origin, self.client)
        self.assertEqual(len(origin.content_of(stream)), 65535)
        self.assertTrue(self.client.transport.paused)
        self.assertGreater(len(self.client.unsent), len(MUCH) - 65535 - FULL - BOUND)
        self.open_windows(origin, stream)
        self.assertTrue(origin.content_of(stream) == MUCH)
        self.assertTrue(origin.has_ended(stream))
        self.assertFalse(self.client.transport.paused)

    def test_chunked(self) -> None:
        """The same in chunks, with trailers behind."""
        origin = self.held()
        body = b"%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (len(MUCH), MUCH)
        self.send(request(b"/up", CHUNKED, method=b"POST", body=body))
        stream = origin.requests[-1]
        self.assertTrue(self.client.transport.paused)
        self.open_windows(origin, stream)
        self.assertTrue(origin.content_of(stream) == MUCH)
        self.assertEqual(origin.trailers_of(stream), [(b"x", b"y")])

    def test_closed_window(self) -> None:
        """A window that is closed from the beginning lets the head through, and no content."""
        self.settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
        origin = self.held()
        stream = self.upload(origin, self.client, b"hello")
        self.assertEqual(origin.content_of(stream), b"")
        self.assertFalse(origin.has_ended(stream))
        origin.settings(initial_window_size=100)
        self.run_origins()
        self.assertEqual(origin.content_of(stream), b"hello")
        self.assertTrue(origin.has_ended(stream))

    def test_large_beginning(self) -> None:
        """A client whose first bytes alone are too many, as those of a pipelined request may be, is
        not read any more either."""
        origin = self.warm_up()
        origin.settings(initial_window_size=0)
        self.client.send(GET + request(b"/up", method=b"POST", body=MUCH))
        before = len(self.client.unsent)
        self.run_origins()
        origin.h2.increment_flow_control_window(100, origin.open[0])
        origin.respond(origin.open[0], b"x")
        self.run_origins()
        self.assertEqual(origin.paths[-1], b"/up")
        self.assertTrue(self.client.transport.paused)
        self.assertLess(before - len(self.client.unsent), BOUND)

    def test_others_go_on(self) -> None:
        """Downloads, and requests without content, go on beside uploads that wait."""
        origin = self.held()
        self.upload(origin, self.client)
        clients = self.get(3)
        for stream in origin.requests[-3:]:
            origin.respond(stream, b"fine")
        self.assertEqual(answers(clients), [b"fine"] * 3)

    def test_other_upload(self) -> None:
        """An upload that waits for its stream's window does not keep another from going on."""
        origin = self.held()
        origin.h2.increment_flow_control_window(1 << 24)
        self.run_origins()
        stuck = self.upload(origin, self.client)
        other = self.secure()
        stream = self.upload(origin, other)
        self.open_windows(origin, stream)
        self.assertTrue(origin.content_of(stream) == MUCH)
        self.assertEqual(len(origin.content_of(stuck)), 65535)

    def test_fair(self) -> None:
        """Uploads share what the connection's window lets through."""
        origin = self.held()
        origin.h2.increment_flow_control_window(1 << 18)
        self.run_origins()
        clients = self.ask(*[request(b"/up", method=b"POST", body=MUCH)] * 4)
        self.assertEqual(len(clients), 4)
        sizes = [len(origin.content_of(stream)) for stream in origin.requests[-4:]]
        self.assertGreater(min(sizes) * 2, max(sizes))

    def test_lowered(self) -> None:
        """A window that SETTINGS make negative is waited out (RFC 9113 section 6.9.2)."""
        origin = self.held()
        stream = self.upload(origin, self.client)
        origin.settings(initial_window_size=1000)
        self.run_origins()
        self.assertEqual(len(origin.content_of(stream)), 65535)
        origin.settings(initial_window_size=1 << 22)
        origin.h2.increment_flow_control_window(1 << 22)
        self.run_origins()
        self.assertTrue(origin.content_of(stream) == MUCH)

    def test_stall(self) -> None:
        """A window that does not open for too long: the client is told, the stream reset."""
        self.start(stall_timeout=20.0)
        origin = self.held()
        stream = self.upload(origin, self.client)
        self.elapse(25)
        self.assert_error(self.client, 504, "connection_write_timeout")
        self.assertEqual(origin.resets(), [(stream, ErrorCodes.CANCEL)])
        self.assert_alive(self.secure())

    def test_full_wire(self) -> None:
        """An origin that reads nothing at all makes the client wait too."""
        self.settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24}
        self.proxy.capacity = 8192
        origin = self.warm_up()
        origin.h2.increment_flow_control_window(1 << 24)
        self.run_origins()
        origin.peer.pause()
        self.client.send(request(b"/up", method=b"POST", body=MUCH))
        self.assertTrue(self.client.transport.paused)
        self.assertLess(origin.peer.transport.buffered, BOUND)
        origin.peer.resume()
        self.run_origins()
        self.assertEqual(origin.content_of(origin.requests[-1]), MUCH)

    def test_early_response(self) -> None:
        """A response before the end of an upload reaches the client, whose connection ends; the
        rest of the upload is not sent, and the stream reset with NO_ERROR."""
        origin = self.held()
        stream = self.upload(origin, self.client)
        origin.respond(stream, b"too much", [(b":status", b"413")])
        self.assertEqual(dechunked(self.client.take()), b"too much")
        self.run_origins()
        self.assertEqual(origin.resets(), [(stream, ErrorCodes.NO_ERROR)])
        self.assertEqual(len(origin.content_of(stream)), 65535)
        self.assert_alive(self.secure())
        self.assertEqual(len(self.origins), 1)

    def test_early_head(self) -> None:
        """A response that begins early and goes on while the upload does is relayed both ways."""
        self.send(request(b"/", CHUNKED, method=b"POST"))
        self.h2.respond(1, b"one", ended=False)
        self.assertTrue(self.client.take().endswith(b"3\r\none\r\n"))
        self.send(b"3\r\ntwo\r\n")
        self.assertEqual(self.h2.content_of(1), b"two")
        self.send(b"0\r\n\r\n")
        self.assertTrue(self.h2.has_ended(1))
        self.h2.more(1, b"three", ended=True)
        self.assertEqual(self.client.take(), b"5\r\nthree\r\n0\r\n\r\n")
        self.assertEqual(self.h2.resets(), [])


class LivenessTests(HTTP2TestCase):
    """Origins that have gone without a word."""

    def test_before_use(self) -> None:
        """After a pause, a request goes with a PING; a GET does not wait for the answer."""
        origin = self.warm_up()
        self.elapse(6)
        self.assertEqual(origin.pings, 0)
        origin.peer.pause()
        self.client.send(GET)
        origin.peer.resume()
        self.run_origins()
        self.assertEqual(origin.pings, 1)
        self.assertEqual(len(origin.requests), 2)

    def test_after_a_short_pause(self) -> None:
        """Not after a short pause."""
        origin = self.warm_up()
        self.elapse(4)
        self.send(GET)
        self.assertEqual(origin.pings, 0)

    def test_post_waits(self) -> None:
        """A POST waits until the origin has shown that it is there."""
        origin = self.warm_up()
        self.elapse(6)
        self.client.send(POST)
        origin.receive(origin.peer.take())
        self.assertEqual((origin.pings, len(origin.requests)), (1, 1))
        self.run_origins()
        self.assertEqual(origin.content_of(3), b"hello")
        origin.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/")

    def test_post_to_a_dead_one(self) -> None:
        """If it has gone, the POST is sent on a new connection, for nothing of it was sent."""
        origin = self.warm_up()
        self.elapse(6)
        origin.peer.pause()
        self.client.send(POST)
        self.forget(origin)
        self.elapse(PING_PATIENCE + 2)
        self.assertEqual(len(self.origins), 1)
        self.assertEqual(self.h2.content_of(1), b"hello")
        self.h2.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/")

    def test_get_to_a_dead_one(self) -> None:
        """A GET is sent again there too, when the PING is not answered."""
        origin = self.warm_up()
        self.elapse(6)
        origin.peer.pause()
        self.client.send(GET)
        self.forget(origin)
        self.elapse(PING_PATIENCE + 2)
        self.h2.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/")

    def test_stalled(self) -> None:
        """One that says nothing while something is waited for is asked, and given up if it does
        not answer: long before the time for a response is over."""
        origin = self.warm_up()
        self.send(POST)
        origin.peer.pause()
        self.elapse(PING_AFTER + PING_PATIENCE + 3)
        self.assert_error(self.client, 504, "connection_read_timeout")
        self.assertTrue(origin.peer.transport.disconnecting or origin.peer.closed)

    def test_slow(self) -> None:
        """One that answers is left to its work, for as long as a response may take, and is asked
        less and less often."""
        self.start(response_timeout=60.0)
        origin = self.warm_up()
        self.send(POST)
        self.elapse(50)
        self.assertEqual(origin.pings, 2)
        origin.answer_all()
        self.assertEqual(dechunked(self.client.take()), b"/")

    def test_response_timeout(self) -> None:
        """Longer than that is a timeout of one stream."""
        self.start(response_timeout=20.0)
        origin = self.warm_up()
        self.send(GET)
        self.elapse(22)
        self.assert_error(self.client, 504, "http_response_timeout")
        self.assertEqual(origin.resets(), [(3, ErrorCodes.CANCEL)])
        self.assert_alive()
        self.assertEqual(len(self.origins), 1)

    def forget(self, origin: Origin2) -> None:
        """Let an origin do nothing any more, not even hang up."""
        self.origins.remove(origin)
        self.proxy.origins.remove(origin.peer)


class HostileTests(HTTP2TestCase):
    """Origins that break the connection's rules, or flood it."""

    def ended(self, origin: Origin2, code: int, *frames: Frame) -> None:
        """These frames end the connection with this code; others' requests are sent again or
        failed, and new ones served."""
        get, post = self.ask(request(b"/get"), request(b"/post", method=b"POST", body=b"x"))
        origin.write(*frames)
        self.run_origins()
        self.assertEqual(origin.goaway(), code)
        self.assertTrue(origin.peer.ended)
        self.assert_error(post, 502, "http_protocol_error")
        self.h2.answer_all()
        self.assertEqual(answers([get]), [b"/get"])
        self.assertEqual(len(self.origins), 2)
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_pings(self) -> None:
        """A flood of PING."""
        frames = [PingFrame(0, opaque_data=b"12345678")] * 5000
        self.ended(self.warm_up(), ErrorCodes.ENHANCE_YOUR_CALM, *frames)

    def test_settings(self) -> None:
        """A flood of SETTINGS."""
        frames = [SettingsFrame(0, settings={})] * 5000
        self.ended(self.warm_up(), ErrorCodes.ENHANCE_YOUR_CALM, *frames)

    def test_unknown(self) -> None:
        """A flood of frames of a type that nobody knows."""
        frame = ExtensionFrame(type=0xBB, stream_id=0, flag_byte=0, body=b"")
        self.ended(self.warm_up(), ErrorCodes.ENHANCE_YOUR_CALM, *[frame] * 5000)

    def test_empty_data(self) -> None:
        """A flood of empty DATA."""
        origin = self.warm_up()
        victim = self.secure()
        self.send(request(b"/victim", method=b"POST", body=b"x"), victim)
        origin.respond(3, b"x", ended=False)
        self.ended(origin, ErrorCodes.ENHANCE_YOUR_CALM, *[DataFrame(3, data=b"")] * 5000)
        self.assertTrue(victim.closed)

    def test_push(self) -> None:
        """PUSH_PROMISE, which was forbidden."""
        frame = PushPromiseFrame(1, promised_stream_id=2, data=b"", flags=["END_HEADERS"])
        self.ended(self.warm_up(), ErrorCodes.PROTOCOL_ERROR, frame)

    def test_nobodys_stream(self) -> None:
        """A response to what was not asked."""
        origin = self.warm_up()
        frame = HeadersFrame(99, data=origin.encode(OK), flags=["END_HEADERS"])
        self.ended(origin, ErrorCodes.PROTOCOL_ERROR, frame)

    def test_garbage(self) -> None:
        """Fields that cannot be decompressed."""
        frame = HeadersFrame(3, data=b"\xff" * 20, flags=["END_HEADERS"])
        self.ended(self.warm_up(), ErrorCodes.COMPRESSION_ERROR, frame)

    def test_not_http2(self) -> None:
        """An origin that has chosen HTTP/2 and then speaks something else: nobody is served, and
        everybody told."""
        self.client.send(POST)
        self.origin.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        self.assert_error(self.client, 502, "http_protocol_error")
        self.assertTrue(self.origin.ended)

    def test_large_head(self) -> None:
        """Fields of more than a limit's worth end the connection, whose compression they have
        used."""
        origin = self.warm_up()
        self.send(request(b"/", method=b"POST", body=b"x"))
        head = [*OK, *((b"x-%d" % each, b"y" * 4000) for each in range(30))]
        origin.h2.send_headers(3, head, True)
        self.run_origins()
        self.assertEqual(self.client.take().split()[1], b"502")
        self.assert_alive(self.secure())
