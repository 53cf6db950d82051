"""Endpoint strings, and what listens."""

from __future__ import annotations

import os
import stat
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from fastcar_tw.downstream import socketfile
from fastcar_tw.downstream.listeners import (
    Listener,
    ListenerError,
    listen_tcp,
    listen_unix,
    parse_listener,
)
from fastcar_tw.downstream.socketfile import SocketInUseError, SocketPathError
from fastcar_tw.transport.facade import EagerReactor
from tests.tls.support import temporary_directory

#: As the service uses it.
REACTOR: Any = EagerReactor(reactor)
LOCAL = ":interface=127.0.0.1"

#: Text, what it means, how that is written, whether it is for this machine only.
UNDERSTOOD = [
    ("tcp:3128" + LOCAL, Listener("", "127.0.0.1", 3128), "tcp:127.0.0.1:3128", True),
    ("tcp:port=0:interface=127.0.0.2", Listener("", "127.0.0.2", 0), "tcp:127.0.0.2:0", True),
    ("tcp:3128", Listener("", "", 3128), "tcp:0.0.0.0:3128", False),
    ("tcp:3128:interface=", Listener("", "", 3128), "tcp:0.0.0.0:3128", False),
    ("tcp:80:interface=10.0.0.1", Listener("", "10.0.0.1", 80), "tcp:10.0.0.1:80", False),
    ("tcp:80:interface=0.0.0.0", Listener("", "0.0.0.0", 80), "tcp:0.0.0.0:80", False),
    ("tcp:80:127.0.0.1", Listener("", "127.0.0.1", 80), "tcp:127.0.0.1:80", True),
    ("tcp:80:interface=\\:\\:1", Listener("", "::1", 80), "tcp:[::1]:80", True),
    ("tcp6:80:interface=\\:\\:1", Listener("", "::1", 80), "tcp:[::1]:80", True),
    ("tcp6:65535", Listener("", "::", 65535), "tcp:[::]:65535", False),
    ("unix:/run/f.sock", Listener("/run/f.sock"), "unix:/run/f.sock", True),
    ("unix:address=/run/../f.sock", Listener("/f.sock"), "unix:/f.sock", True),
    ("unix:/a\\:b", Listener("/a:b"), "unix:/a:b", True),
    ("unix:/a\\:mode\\=1", Listener("/a:mode=1"), "unix:/a:mode=1", True),
]
#: Text, and what the error expects or says.
REFUSED = [
    ("", "of the kind tcp, tcp6, unix"),
    ("3128", "of the kind tcp, tcp6, unix"),
    ("127.0.0.1:3128", "of the kind tcp, tcp6, unix"),
    ("ssl:443:privateKey=/key", "of the kind tcp, tcp6, unix"),
    ("systemd:domain=INET:index=0", "of the kind tcp, tcp6, unix"),
    ("haproxy:tcp:80", "of the kind tcp, tcp6, unix"),
    ("TCP:80", "of the kind tcp, tcp6, unix"),
    ("tcp", "an endpoint such as tcp:3128:interface=127.0.0.1"),
    ("tcp:", "an endpoint such as tcp:3128:interface=127.0.0.1"),
    ("tcp:http", "an endpoint such as tcp:3128:interface=127.0.0.1"),
    ("tcp:127.0.0.1:80", "(write tcp:80:interface=127.0.0.1)"),
    ("tcp:localhost:http", "an endpoint such as tcp:3128:interface=127.0.0.1"),
    ("tcp:80:colour=red", "port and interface only (not understood: colour=)"),
    ("tcp:80:backlog=50" + LOCAL, "port and interface only (not understood: backlog=)"),
    ("tcp6:80:backlog=9", "port and interface only (not understood: backlog=)"),
    ("tcp:80:127.0.0.1:9", "port and interface only (not understood: 9)"),
    ("tcp:-1", "a port from 0 to 65535"),
    ("tcp:65536", "a port from 0 to 65535"),
    ("tcp:80:interface=localhost", "interface= with an IP address"),
    ("tcp:80:interface=127.1", "interface= with an IP address"),
    ("tcp:80:interface=\\:\\:1%lo", "interface= with an IP address"),
    ("unix:", "absolute path"),
    ("unix:f.sock", "absolute path"),
    ("unix:./f.sock", "absolute path"),
    ("unix:/a\0b", "path of a socket"),
    ("unix:/" + "a" * 107, "at most 107"),
    ("unix:/f.sock:mode=666", "mode=; --socket-mode is for all UNIX sockets"),
    ("unix:/f.sock:666", "address only (not understood: 666)"),
    ("unix:/f.sock:backlog=5", "address only (not understood: backlog=)"),
    ("unix:/f.sock:lockfile=1", "address only (not understood: lockfile=)"),
    ("unix:/a\\\\:lockfile=0", "address only (not understood: lockfile=)"),
    ("unix:/a\\", "an endpoint such as"),
]


class ParseTests(SynchronousTestCase):
    """What a text means."""

    def test_understood(self) -> None:
        """Twisted's endpoint strings, as far as there is a use for them."""
        for text, listener, written, local in UNDERSTOOD:
            got = parse_listener(text)
            self.assertEqual((text, got, str(got)), (text, listener, written))
            self.assertIs(got.is_local, local, text)

    def test_refused(self) -> None:
        """Anything else is an error that says what would do."""
        for text, words in REFUSED:
            error: ListenerError = self.assertRaises(ListenerError, parse_listener, text)
            self.assertIn(words, f"{error.expected} ({error.reason})", text)
            self.assertIn(error.expected, str(error))

    def test_mapped_address(self) -> None:
        """What Python does not take for the loopback in all versions is not taken for local."""
        every = parse_listener("tcp:80:interface=\\:\\:ffff\\:10.0.0.1")
        self.assertFalse(every.is_local)

    def test_nothing_listens(self) -> None:
        """Nothing is opened by asking."""
        path = os.path.join(temporary_directory(self), "s")
        parse_listener(f"unix:{path}")
        self.assertFalse(os.path.exists(path))


class ListenTests(TestCase):
    """Ports."""

    def setUp(self) -> None:
        """Have a directory."""
        self.path = os.path.join(temporary_directory(self), "s")
        self.listener = Listener(self.path)

    @inlineCallbacks
    def test_unix(self) -> Any:
        """A UNIX socket has its mode, and goes when it is not listened on any more."""
        port = listen_unix(REACTOR, self.listener, Factory(), 0o604, None)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o604)
        yield port.stopListening()
        self.assertFalse(os.path.exists(self.path))

    @inlineCallbacks
    def test_unix_in_use(self) -> Any:
        """One that is in use stays."""
        port = listen_unix(REACTOR, self.listener, Factory(), 0o600, None)
        self.assertRaises(
            SocketInUseError, listen_unix, REACTOR, self.listener, Factory(), 0o600, None
        )
        self.assertTrue(os.path.exists(self.path))
        yield port.stopListening()

    def test_owner_only_until_the_group_is_set(self) -> None:
        """Nobody can come in before the group is set; when it cannot be, there is no socket."""
        modes = []

        def refuse(path: str, group: str) -> None:
            modes.append(stat.S_IMODE(os.stat(path).st_mode))
            raise SocketPathError("no")

        self.patch(socketfile, "set_group", refuse)
        self.assertRaises(
            SocketPathError, listen_unix, REACTOR, self.listener, Factory(), 0o666, "users"
        )
        self.assertEqual(modes, [0o600])
        self.assertFalse(os.path.exists(self.path))

    @inlineCallbacks
    def test_tcp(self) -> Any:
        """Port 0 is any free one, of the interface asked for; one in use is an error."""
        port = listen_tcp(REACTOR, Listener("", "127.0.0.1", 0), Factory())
        address: Any = port.getHost()
        self.assertEqual(address.host, "127.0.0.1")
        self.assertGreater(address.port, 0)
        taken = Listener("", "127.0.0.1", address.port)
        self.assertRaises(ListenerError, listen_tcp, REACTOR, taken, Factory())
        other = listen_tcp(REACTOR, Listener("", "127.0.0.2", address.port), Factory())
        yield port.stopListening()
        yield other.stopListening()

    @inlineCallbacks
    def test_tcp6(self) -> Any:
        """An IPv6 interface is listened on as such."""
        port = listen_tcp(REACTOR, Listener("", "::1", 0), Factory())
        address: Any = port.getHost()
        self.assertEqual((address.type, address.host), ("TCP", "::1"))
        yield port.stopListening()
