"""What a peer has not read yet."""

from __future__ import annotations

import socket
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from fastcar_tw.transport.unread import has_unread, unread_by_peer


class UnreadTests(SynchronousTestCase):
    """A socket pair, whose far end reads when it is told to."""

    def setUp(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("SIOCOUTQ on UNIX sockets is Linux's")
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def test_nothing_sent(self) -> None:
        """A connection on which nothing was sent has nothing unread."""
        self.assertEqual(unread_by_peer(self.ours), 0)
        self.assertFalse(has_unread(self.ours))

    def test_one_byte(self) -> None:
        """A single byte is unread until it is read; the kernel counts the buffer around it."""
        self.ours.send(b"x")
        self.assertTrue(has_unread(self.ours))
        self.assertGreater(unread_by_peer(self.ours), 1)
        self.theirs.recv(1)
        self.assertFalse(has_unread(self.ours))
        self.assertEqual(unread_by_peer(self.ours), 0)

    def test_last_byte(self) -> None:
        """What was sent together stays unread until its last byte is read."""
        self.ours.send(b"begin")
        before = unread_by_peer(self.ours)
        self.theirs.recv(4)
        self.assertEqual(unread_by_peer(self.ours), before)
        self.theirs.recv(1)
        self.assertFalse(has_unread(self.ours))

    def test_peeking_is_not_reading(self) -> None:
        """A peer that only looks has not read."""
        self.ours.send(b"x")
        self.theirs.recv(1, socket.MSG_PEEK)
        self.assertTrue(has_unread(self.ours))

    def test_other_direction(self) -> None:
        """What we have not read does not count."""
        self.theirs.send(b"x")
        self.assertFalse(has_unread(self.ours))

    def test_peer_gone(self) -> None:
        """A peer that is gone leaves nothing unread, whatever it has not read."""
        self.ours.send(b"x")
        self.theirs.close()
        self.assertFalse(has_unread(self.ours))

    def test_closed(self) -> None:
        """A closed socket is an error."""
        self.ours.close()
        self.assertRaises(ValueError, has_unread, self.ours)
