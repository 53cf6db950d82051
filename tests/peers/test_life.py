"""Start, end, and the socket file in between."""

from __future__ import annotations

import contextlib
import grp
import os
import re
import signal
import socket
import stat
import threading

from tests.peers.case import Fastcar, PeersTestCase
from tests.peers.clients import curl
from tests.peers.processes import LIMIT
from tests.peers.sockets import Peer

#: twistd ends everything in order, and itself by the signal that asked for it.
ENDED = -signal.SIGTERM


class StartTests(PeersTestCase):
    """What has to be so before fastcar serves."""

    def refused(self, folder: str, *options: str) -> str:
        """The line with which a fastcar in `folder` ends at once, with exit status 1."""
        fastcar = Fastcar(folder, *options, ready=False)
        self.addCleanup(fastcar.stop)
        self.assertEqual(fastcar.wait(), 1, fastcar.output)
        # Once logging has begun, lines of twistd come before it.
        lines = re.findall(r"^(?:.* )?fastcar: .*", fastcar.output, re.MULTILINE)
        self.assertEqual(len(lines), 1, fastcar.output)
        self.assertTrue(fastcar.output.endswith(lines[0] + "\n"), fastcar.output)
        self.assertNotIn("Traceback", fastcar.output)
        return str(lines[0])

    def test_start_line(self) -> None:
        """The log names socket, mode and CA file."""
        fastcar = self.start_fastcar()
        self.assertRegex(
            fastcar.output, rf"forwarding from {fastcar.socket} \(mode 660\).* {fastcar.ca_file}\n"
        )

    def test_mode(self) -> None:
        """The socket is for owner and group, unless --socket-mode says otherwise."""
        for options, mode in (((), 0o660), (("--socket-mode", "600"), 0o600)):
            fastcar = self.start_fastcar(*options)
            self.assertEqual(stat.S_IMODE(os.stat(fastcar.socket).st_mode), mode)

    def test_group(self) -> None:
        """--socket-group gives it to a group."""
        group = grp.getgrgid(os.getgroups()[-1] if os.getgroups() else os.getgid())
        fastcar = self.start_fastcar("--socket-group", group.gr_name)
        self.assertEqual(os.stat(fastcar.socket).st_gid, group.gr_gid)

    def test_second_instance(self) -> None:
        """A second fastcar on the same socket ends, and the first one serves on."""
        fastcar = self.start_fastcar()
        line = self.refused(os.path.dirname(fastcar.socket))
        self.assertIn(fastcar.socket, line)
        self.assertIn("in use", line)
        self.assert_still_serving(fastcar)

    def test_somebody_elses_socket(self) -> None:
        """So it ends when another program listens there, which gets nothing but a connection."""
        folder = self.folder()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.join(folder, "fastcar.sock"))
            listener.listen()
            self.assertIn("in use", self.refused(folder))
            self.assertTrue(os.path.exists(listener.getsockname()))

    def test_stale_socket(self) -> None:
        """The socket file of a fastcar that was killed is replaced."""
        fastcar = self.start_fastcar()
        fastcar.send_signal(signal.SIGKILL)
        self.assertEqual(fastcar.wait(), -signal.SIGKILL)
        self.assertTrue(os.path.exists(fastcar.socket))
        again = Fastcar(os.path.dirname(fastcar.socket))
        self.addCleanup(again.stop)
        self.assert_still_serving(again)

    def test_same_authority_again(self) -> None:
        """After a restart clients need no new CA file."""
        fastcar = self.start_fastcar("--trust", self.shared.authority.file)
        with open(fastcar.ca_file) as file:
            before = file.read()
        fastcar.stop()
        again = Fastcar(os.path.dirname(fastcar.socket), "--trust", self.shared.authority.file)
        self.addCleanup(again.stop)
        with open(fastcar.ca_file) as file:
            self.assertEqual(file.read(), before)
        answer = curl(again.socket, self.nginx.url("https", "/hello"), "--cacert", again.ca_file)
        self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)

    def test_other_file(self) -> None:
        """A file that is no socket is never deleted."""
        folder = self.folder()
        path = os.path.join(folder, "fastcar.sock")
        with open(path, "w") as file:
            file.write("precious")
        self.assertIn(path, self.refused(folder))
        with open(path) as file:
            self.assertEqual(file.read(), "precious")

    def test_wrong_options(self) -> None:
        """A wrong value ends with a line that names option and value, and says what would do."""
        pair = self.shared.authority.issue("localhost")
        other = self.shared.authority.issue("localhost")
        for options, value in (
            (("--connect-timeout", "soon"), "soon"),
            (("--stall-timeout", "0"), "0"),
            (("--socket-mode", "999"), "999"),
            (("--socket-group", "no-such-group"), "no-such-group"),
            (("--trust", "/no/such/file"), "/no/such/file"),
            (("--insecure-origin", "a:b:c"), "a:b:c"),
            (("--key", other.key, "--cert", pair.certificate), other.key),
            (("--key", pair.key, "--cert", "/no/such/file"), "/no/such/file"),
        ):
            line = self.refused(self.folder(), *options)
            self.assertIn(options[-2] if "file" in value else options[0], line)
            self.assertIn(value, line)
            self.assertIn("expected", line)

    def test_unknown_option(self) -> None:
        """An option that does not exist is named."""
        self.assertIn("--warp", self.refused(self.folder(), "--warp", "9"))

    def test_unusable_authority(self) -> None:
        """A CA key that others can read is not used."""
        fastcar = self.start_fastcar()
        fastcar.stop()
        os.chmod(os.path.join(fastcar.ca_directory, "ca-key.pem"), 0o644)
        self.assertIn("ca-key.pem", self.refused(os.path.dirname(fastcar.socket)))


class StopTests(PeersTestCase):
    """What SIGTERM does."""

    def under_way(self, *options: str) -> tuple[Fastcar, Peer, threading.Event]:
        """A download that is half done; the event lets the origin send the rest."""
        go_on = threading.Event()

        def script(peer: Peer) -> None:
            peer.read_message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            go_on.wait(LIMIT)
            peer.send(b"rest")

        origin = self.origin(script)
        self.addCleanup(go_on.set)
        fastcar = self.start_fastcar(*options)
        client = self.dial(fastcar)
        client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % origin.authority.encode())
        client.read_through(b"half")
        return fastcar, client, go_on

    def test_idle(self) -> None:
        """With nothing to do it ends at once, and its socket file goes."""
        fastcar = self.start_fastcar()
        idle = self.dial(fastcar)
        silent = self.dial(fastcar)
        authority = self.nginx.url("http", "").partition("//")[2]
        idle.send(f"GET /hello HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        idle.read_message()
        self.assertEqual(fastcar.stop(), ENDED)
        self.assertEqual((idle.read_to_end(), silent.read_to_end()), (b"", b""))
        self.assertFalse(os.path.exists(fastcar.socket))

    def test_drain(self) -> None:
        """A download under way is finished; nobody new gets in."""
        fastcar, client, go_on = self.under_way()
        fastcar.send_signal(signal.SIGTERM)
        fastcar.wait_for("Port .* Closed")
        with self.assertRaises(OSError):
            self.dial(fastcar)
        go_on.set()
        self.assertEqual(client.read_to_end(), b"rest")
        self.assertEqual(fastcar.wait(), ENDED)

    def test_drain_timeout(self) -> None:
        """What is not finished after --drain-timeout is broken off."""
        fastcar, client, _ = self.under_way("--drain-timeout", "0.2")
        fastcar.send_signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):
            self.assertEqual(client.read_to_end(), b"")
        self.assertEqual(fastcar.wait(), ENDED)
        self.assertIn("stopping; client connections broken off: 1", fastcar.output)

    def test_again(self) -> None:
        """A second signal ends the waiting, whichever of the two it is."""
        for number in (signal.SIGTERM, signal.SIGINT):
            fastcar, client, _ = self.under_way("--drain-timeout", "200")
            fastcar.send_signal(signal.SIGTERM)
            fastcar.wait_for("stopping; client connections that get up to 200 s: 1")
            fastcar.send_signal(number)
            with contextlib.suppress(ConnectionError):
                self.assertEqual(client.read_to_end(), b"")
            self.assertEqual(fastcar.wait(), ENDED)
            self.assertIn("stopping; client connections broken off: 1", fastcar.output)

    def test_replaced_socket(self) -> None:
        """A socket file that is another's by now stays."""
        fastcar = self.start_fastcar()
        os.unlink(fastcar.socket)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(fastcar.socket)
            fastcar.stop()
            self.assertTrue(os.path.exists(fastcar.socket))
