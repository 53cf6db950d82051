"""Connections that are upgraded and then tunnelled (RFC 9110 section 7.8)."""

from __future__ import annotations

from fastcar_tw.testing import Peer

from .support import GET, OK, ProxyTestCase, answer, logged, request, response

ASK = request(b"/chat", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")
SWITCH = response(
    b"101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-Accept: y"
)


class UpgradeTests(ProxyTestCase):
    """The switch."""

    def test_asked_and_granted(self) -> None:
        """Request and 101 are relayed with Upgrade and its Connection option."""
        got, answered = self.exchange(ASK, SWITCH)
        option = b"Connection: upgrade", b"Upgrade: websocket"
        self.assertEqual(got, request(b"/chat", b"Sec-WebSocket-Key: x", *option))
        self.assertEqual(answered, response(b"101 Switching Protocols", b"Sec-Accept: y", *option))

    def test_refused(self) -> None:
        """An origin that does not switch just answers, and both connections are kept."""
        self.assertEqual(self.exchange(ASK, OK)[1], OK)
        self.alive()
        self.assertEqual(len(self.proxy.origins), 1)

    def test_upgrade_required(self) -> None:
        """A 426 keeps its Upgrade."""
        whole = response(
            b"426 Upgrade Required",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Content-Length: 0",
        )
        self.assertEqual(
            self.exchange(GET, whole)[1],
            response(
                b"426 Upgrade Required",
                b"Content-Length: 0",
                b"Connection: upgrade",
                b"Upgrade: websocket",
            ),
        )

    def unasked(self, asked: bytes, answered: bytes) -> None:
        """The answer to this is a 502, and the origin's connection is thrown away."""
        got = answer(self.exchange(asked, answered)[1])
        self.assertEqual(got.status, 502)
        self.assertEqual(got.fields[b"proxy-status"], b"fastcar; error=http_upgrade_failed")
        self.assertTrue(self.origin.aborted)

    def test_unasked(self) -> None:
        """A 101 to a request that asked for nothing is a 502."""
        self.unasked(GET, SWITCH)
        self.alive()

    def test_switched_to_something_else(self) -> None:
        """So is one that names a protocol that was not offered."""
        self.unasked(ASK, SWITCH.replace(b"websocket", b"other"))

    def test_switched_to_nothing(self) -> None:
        """So is one that names none."""
        self.unasked(ASK, response(b"101 Switching Protocols"))

    def test_switched_too_early(self) -> None:
        """So is one that comes before the request is complete."""
        asked = request(
            b"/", b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: 5", method=b"POST"
        )
        self.unasked(asked + b"1", SWITCH.replace(b"websocket", b"x"))

    def test_h2c_is_not_passed_on(self) -> None:
        """An upgrade to h2c is not offered to the origin: it would end pooling."""
        asked = request(
            b"/",
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAAQAAP__",
        )
        self.assertEqual(self.exchange(asked)[0], GET)

    def test_upgrade_without_option(self) -> None:
        """An Upgrade that Connection does not name is for another hop, and dropped."""
        self.assertEqual(self.exchange(request(b"/", b"Upgrade: websocket"))[0], GET)

    def test_after_100(self) -> None:
        """100 and 101 keep their order."""
        self.client.send(ASK)
        self.origin.send(b"HTTP/1.1 100 Continue\r\n\r\n" + SWITCH)
        statuses = [part[:12] for part in self.client.received.split(b"\r\n\r\n")[:-1]]
        self.assertEqual(statuses, [b"HTTP/1.1 100", b"HTTP/1.1 101"])

    def test_not_sent_twice(self) -> None:
        """A request for an upgrade is not repeated."""
        self.warm()
        self.client.send(ASK)
        self.origin.close()
        self.assertEqual(answer(self.client.received).status, 502)


class TunnelTests(ProxyTestCase):
    """What follows the switch."""

    def setUp(self) -> None:
        """Switch."""
        super().setUp()
        self.exchange(ASK, SWITCH)

    def test_both_ways(self) -> None:
        """Any bytes pass, both ways."""
        anything = bytes(range(256))
        self.client.send(anything)
        self.assertEqual(self.origin.take(), anything)
        self.origin.send(anything)
        self.assertEqual(self.client.take(), anything)

    def test_nothing_is_parsed(self) -> None:
        """What looks like a request is none."""
        self.client.send(GET)
        self.assertEqual(self.origin.take(), GET)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_sent_with_the_switch(self) -> None:
        """Bytes right behind the two heads belong to the tunnel."""
        client = self.proxy.client()
        client.send(ASK + b"early")
        self.assertTrue(self.origin.take().endswith(b"\r\n\r\n"))
        self.origin.send(SWITCH + b"birds")
        self.assertEqual(self.origin.take(), b"early")
        self.assertTrue(client.received.endswith(b"\r\n\r\nbirds"))

    def test_client_half_closes(self) -> None:
        """The client's end is passed on; the other way stays open."""
        self.client.send(b"bye")
        self.client.end()
        self.assertEqual(self.origin.take(), b"bye")
        self.assertTrue(self.origin.ended_cleanly)
        self.assertFalse(self.origin.closed)
        self.origin.send(b"more")
        self.assertEqual(self.client.take(), b"more")

    def test_client_half_closed_before_the_switch(self) -> None:
        """An end of the client that came before the switch is passed on after it, behind what
        came with it."""
        client = self.proxy.client()
        client.send(ASK + b"bye")
        client.end()
        self.origin.take()
        self.assertFalse(self.origin.ended)
        self.origin.send(SWITCH)
        client.take()
        self.assertEqual(self.origin.take(), b"bye")
        self.assertTrue(self.origin.ended_cleanly)
        self.assertFalse(self.origin.closed)
        self.origin.send(b"more")
        self.assertEqual(client.take(), b"more")

    def test_origin_half_closes(self) -> None:
        """So is the origin's."""
        self.origin.send(b"bye")
        self.origin.end()
        self.assertEqual(self.client.take(), b"bye")
        self.assertTrue(self.client.ended_cleanly)
        self.assertFalse(self.client.closed)
        self.client.send(b"more")
        self.assertEqual(self.origin.take(), b"more")

    def ended(self) -> None:
        """Both connections are closed, and nobody is left."""
        self.assertTrue(self.client.closed and self.origin.closed)
        self.assertFalse(self.origin.aborted)
        self.assertEqual(len(self.proxy.forwarder.clients), 0)

    def test_both_end(self) -> None:
        """When both have ended, both connections are closed, in peace."""
        self.client.end()
        self.assertEqual(logged(self.origin.end), [])
        self.ended()

    def test_both_end_the_other_way(self) -> None:
        """It does not matter who ends first."""
        self.origin.end()
        self.assertEqual(logged(self.client.end), [])
        self.ended()

    def test_rest_is_delivered(self) -> None:
        """What the client has not read when both have ended is delivered."""
        self.client.pause()
        much = bytes(1 << 19)
        self.origin.send(much)
        self.client.end()
        self.origin.end()
        self.client.resume()
        self.assertEqual(len(self.client.received), len(much))
        self.ended()

    def test_client_closes(self) -> None:
        """A client that says its last and goes has it delivered, and the origin's connection
        ends."""
        self.client._socket.send(b"last")
        self.client.close()
        self.assertEqual(self.origin.received, b"last")
        self.assertTrue(self.origin.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 0)

    def test_origin_closes(self) -> None:
        """An origin that closes ends the tunnel once the client has ended too."""
        self.origin.close()
        self.assertTrue(self.client.ended)
        self.client.end()
        self.assertTrue(self.client.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 0)

    def test_never_pooled(self) -> None:
        """A connection that was upgraded serves nobody else."""
        self.origin.end()
        self.client.end()
        other = self.proxy.client()
        other.send(GET)
        self.assertEqual(len(self.proxy.connects), 2)

    def test_slow_client(self) -> None:
        """A client that does not read makes the origin wait, and the other way about."""
        for slow, fast in ((self.client, self.origin), (self.origin, self.client)):
            slow.pause()
            fast.send(bytes(4 << 20))
            self.assertTrue(fast.unsent)
            self.assertTrue(fast.transport.paused)
            self.assertLess(slow.transport.buffered, 256 << 10)
            slow.resume()
            self.assertFalse(fast.unsent)
            self.assertEqual(len(slow.take()), 4 << 20)

    def test_half_close_with_full_buffers(self) -> None:
        """An end that comes while buffers are full is passed on when they are empty."""
        client, origin = self.tls_tunnel()
        for slow, fast in ((client, origin), (origin, client)):
            slow.pause()
            fast.unsent += fast.machine.send(bytes(2 << 20)) if fast.machine else b""
            fast.end()
            self.assertFalse(slow.ended)
            slow.resume()
            self.assertEqual(len(slow.received), 2 << 20)
            self.assertTrue(slow.ended_cleanly)
        self.assertTrue(client.closed and origin.closed)

    def tls_tunnel(self) -> tuple[Peer, Peer]:
        """A tunnel with TLS on both sides."""
        client = self.proxy.tls_client()
        client.send(ASK)
        origin = self.origin
        origin.take()
        origin.send(SWITCH)
        client.take()
        return client, origin

    def test_tls_half_close(self) -> None:
        """Inside TLS an end is a close_notify, on either side."""
        client, origin = self.tls_tunnel()
        client.send(b"bye")
        client.end()
        self.assertEqual(origin.take(), b"bye")
        self.assertTrue(origin.ended_cleanly)
        self.assertFalse(origin.closed)
        origin.send(b"more")
        self.assertEqual(client.take(), b"more")
        origin.end()
        self.assertTrue(client.ended_cleanly and client.closed and origin.closed)

    def test_tls_end_in_two_steps(self) -> None:
        """The end of what carries it, coming later than close_notify, changes nothing."""
        for index in (0, 1):
            ends = self.tls_tunnel()
            first, second = ends[index], ends[1 - index]
            assert first.machine is not None
            first.send_raw(first.machine.shutdown())
            self.assertTrue(second.ended_cleanly)
            first.end(notify=False)
            self.assertFalse(first.closed or second.closed)
            second.send(b"more")
            self.assertEqual(first.take(), b"more")
            second.end()
            self.assertTrue(first.ended_cleanly and first.closed and second.closed)
