"""Where fastcar listens besides its socket: what --listen and --https-unix open, and who may come
in."""

from __future__ import annotations

import grp
import os
import re
import socket
import stat
from unittest import SkipTest

from tests.peers.case import Fastcar
from tests.peers.clients import curl
from tests.peers.openings import OK, OpeningsTestCase, connect_request, local, run_curl
from tests.peers.sockets import answering
from tests.peers.test_life import ENDED


class ListenersTestCase(OpeningsTestCase):
    """A test of starts that succeed, or fail."""

    def serves(self, *options: str) -> None:
        """curl with these options gets a response."""
        answer = run_curl(self.nginx.url("http", "/hello", "localhost"), *options)
        self.assertEqual((answer.exit_status, answer.body), (0, b"hello\n"), answer)

    def refused(self, folder: str, *options: str) -> str:
        """The line with which a fastcar in `folder` ends at once, with exit status 1, leaving no
        socket behind that was not there."""
        before = self.sockets(folder)
        fastcar = Fastcar(folder, *options, ready=False)
        self.addCleanup(fastcar.stop)
        self.assertEqual(fastcar.wait(), 1, fastcar.output)
        lines = re.findall(r"^(?:.* )?fastcar: .*", fastcar.output, re.MULTILINE)
        self.assertEqual(len(lines), 1, fastcar.output)
        self.assertTrue(fastcar.output.endswith(lines[0] + "\n"), fastcar.output)
        self.assertNotIn("Traceback", fastcar.output)
        self.assertEqual(self.sockets(folder), before)
        return str(lines[0])

    def sockets(self, folder: str) -> list[str]:
        """The sockets in a directory."""
        return sorted(
            each.name for each in os.scandir(folder) if stat.S_ISSOCK(each.stat().st_mode)
        )


class TCPTests(ListenersTestCase):
    """--listen tcp:..."""

    def port(self, fastcar: Fastcar, address: str) -> int:
        """Where it listens, as its log tells."""
        return int(fastcar.wait_for(rf"listening on tcp:{re.escape(address)}:(\d+)")[1])

    def test_ipv4(self) -> None:
        """A loopback port serves, beside the socket."""
        fastcar = self.start_fastcar("--listen", "tcp:0:interface=127.0.0.1")
        self.serves("-x", f"127.0.0.1:{self.port(fastcar, '127.0.0.1')}")
        self.assert_still_serving(fastcar)

    def test_other_loopback_address(self) -> None:
        """All of 127.0.0.0/8 is the loopback; only the address that was named is open."""
        fastcar = self.start_fastcar("--listen", "tcp:0:interface=127.0.0.2")
        port = self.port(fastcar, "127.0.0.2")
        self.serves("-x", f"127.0.0.2:{port}")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    def test_ipv6(self) -> None:
        """The loopback of IPv6 is one, in both of Twisted's spellings."""
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError as error:
            raise SkipTest(f"no IPv6 loopback: {error}") from None
        for text in (r"tcp:0:interface=\:\:1", r"tcp6:0:interface=\:\:1"):
            fastcar = self.start_fastcar("--listen", text)
            self.serves("-x", f"http://[::1]:{self.port(fastcar, '[::1]')}")

    def test_several(self) -> None:
        """The option may be repeated."""
        texts = ("tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.2")
        fastcar = self.start_fastcar("--listen", texts[0], "--listen", texts[1])
        for address in ("127.0.0.1", "127.0.0.2"):
            self.serves("-x", f"{address}:{self.port(fastcar, address)}")

    def test_remote_refused(self) -> None:
        """What is open to other machines takes --allow-remote; without it nothing listens."""
        for text in (
            "tcp:0",
            "tcp:0:interface=0.0.0.0",
            r"tcp:0:interface=\:\:",
            "tcp:0:interface=192.0.2.1",
            "tcp6:0",
        ):
            line = self.refused(self.folder(), "--listen", text)
            for expected in ("--listen", repr(text), "--allow-remote", "127.0.0.1"):
                self.assertIn(expected, line)

    def test_remote_allowed(self) -> None:
        """With --allow-remote it serves, and the log warns."""
        fastcar = self.start_fastcar("--allow-remote", "--listen", "tcp:0")
        self.serves("-x", f"127.0.0.1:{self.port(fastcar, '0.0.0.0')}")
        self.assertRegex(fastcar.output, "#warn. listening on .* open to other machines")

    def test_in_use(self) -> None:
        """A port where somebody listens ends the start, and the sockets that were there already."""
        folder = self.folder()
        https = os.path.join(folder, "https.sock")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            listen = ("--listen", f"tcp:{port}:interface=127.0.0.1")
            line = self.refused(folder, "--https-unix", https, *listen)
        self.assertIn(f"127.0.0.1:{port}", line)
        self.assertIn("in use", line)
        # What failed once does not stand in the way.
        again = Fastcar(folder, "--https-unix", https, *listen)
        self.addCleanup(again.stop)
        self.serves("-x", f"127.0.0.1:{port}")

    def test_foreign_address(self) -> None:
        """An address that this machine does not have ends the start."""
        line = self.refused(
            self.folder(), "--allow-remote", "--listen", "tcp:0:interface=192.0.2.1"
        )
        self.assertIn("192.0.2.1", line)

    def test_twice(self) -> None:
        """The same place twice is a mistake."""
        folder = self.folder()
        socket_path = os.path.join(folder, "fastcar.sock")
        for options in (
            (
                "--listen",
                "tcp:4711:interface=127.0.0.1",
                "--listen",
                "tcp:4711:interface=127.0.0.1",
            ),
            ("--listen", f"unix:{socket_path}"),
            ("--https-unix", socket_path),
        ):
            self.assertIn(options[0], self.refused(folder, *options))

    def test_unusable(self) -> None:
        """What is no endpoint, or none that fastcar has a use for, is named."""
        for text in (
            "3128",
            "tcp:70000:interface=127.0.0.1",
            "tcp:1:interface=localhost",
            "tcp:1:colour=red",
            "ssl:443:interface=127.0.0.1",
            "unix:",
        ):
            line = self.refused(self.folder(), "--listen", text)
            self.assertIn("fastcar: --listen: got ", line)
            self.assertIn("expected", line)

    def test_still_used_port(self) -> None:
        """After a stop with connections the port can be taken again at once."""
        fastcar = self.start_fastcar("--listen", "tcp:0:interface=127.0.0.1")
        port = self.port(fastcar, "127.0.0.1")
        peer = self.dial_door(port)
        self.assertEqual(fastcar.stop(), ENDED)
        again = self.start_fastcar("--listen", f"tcp:{port}:interface=127.0.0.1")
        self.serves("-x", f"127.0.0.1:{self.port(again, '127.0.0.1')}")
        peer.close()


class LoopTests(ListenersTestCase):
    """Requests for fastcar's own port."""

    def assert_loop(self, url: str, *options: str) -> None:
        """It is refused at once."""
        answer = run_curl(url, *options)
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)
        self.assertEqual(answer.proxy_error, "proxy_loop_detected", answer)

    def test_spellings(self) -> None:
        """However the address is written."""
        port = self.fastcar.port
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"):
            self.assert_loop(f"http://{host}:{port}/", "--unix-socket", self.fastcar.socket)

    def test_openings(self) -> None:
        """Whatever opening leads there."""
        port = self.fastcar.port
        http, https = f"http://127.0.0.1:{port}/", f"https://127.0.0.1:{port}/"
        for options in (
            ("--connect-to", f"::127.0.0.1:{port}"),
            ("--proxy", f"http://127.0.0.1:{port}"),
            ("-p", "--proxy", f"http://127.0.0.1:{port}"),
            ("--proxy", f"socks5h://127.0.0.1:{port}"),
        ):
            self.assert_loop(http, *options)
            self.assert_loop(https, *options, "--cacert", self.fastcar.ca_file)
        # As somebody asks who takes it for a web server.
        self.assert_loop(http)

    def test_all_interfaces(self) -> None:
        """A port of all interfaces is reached by any address of this machine."""
        for text in ("tcp:0", r"tcp6:0:interface=\:\:"):
            fastcar = self.start_fastcar("--allow-remote", "--listen", text)
            port = fastcar.wait_for(r"listening on tcp:.*:(\d+)")[1]
            for host in ("127.0.0.1", "127.0.0.2", "0.0.0.0"):
                self.assert_loop(f"http://{host}:{port}/", "--unix-socket", fastcar.socket)

    def test_relayed(self) -> None:
        """A tunnel that is allowed does not lead there either."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        listen = ("--listen", f"tcp:{port}:interface=127.0.0.1", "--tunnel", str(port))
        self.start_fastcar(*listen)
        peer = self.dial_door(port, connect_request(f"localhost:{port}"))
        head = peer.read_head()
        self.assertIn(b" 502 ", head)
        self.assertIn(b"proxy_loop_detected", head)

    def test_own_proxy(self) -> None:
        """A fastcar that is told to be its own proxy says so."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        proxy = ("--proxy", f"http://127.0.0.1:{port}")
        self.start_fastcar("--listen", f"tcp:{port}:interface=127.0.0.1", *proxy)
        self.assert_loop("http://origin.test/", *proxy)

    def test_still_serving(self) -> None:
        """The same port number elsewhere is nobody's loop, and others are served."""
        try:
            server = socket.create_server(("127.0.0.2", self.fastcar.port))
        except OSError as error:
            raise SkipTest(f"no second loopback address: {error}") from None
        server.close()
        url = f"http://127.0.0.2:{self.fastcar.port}/"
        answer = run_curl(url, "--unix-socket", self.fastcar.socket)
        self.assertEqual(answer.proxy_error, "connection_refused", answer)
        self.assert_still_serving()


class UNIXTests(ListenersTestCase):
    """Further UNIX sockets."""

    def test_modes(self) -> None:
        """--socket-mode and --socket-group are for all of them; a stop removes them all."""
        folder = self.folder()
        paths = [os.path.join(folder, name) for name in ("a.sock", "b.sock", "https.sock")]
        group = grp.getgrgid(os.getgroups()[-1] if os.getgroups() else os.getgid())
        fastcar = self.start_fastcar(
            *("--listen", f"unix:{paths[0]}", "--listen", f"unix:{paths[1]}"),
            *("--https-unix", paths[2], "--socket-mode", "606"),
            *("--socket-group", group.gr_name),
        )
        for path in (fastcar.socket, *paths):
            status = os.stat(path)
            self.assertEqual(stat.S_IMODE(status.st_mode), 0o606)
            self.assertEqual(status.st_gid, group.gr_gid)
        for path in paths[:2]:
            self.serves("--unix-socket", path)
        self.assertEqual(fastcar.stop(), ENDED)
        for path in (fastcar.socket, *paths):
            self.assertFalse(os.path.exists(path), path)

    def test_default_mode(self) -> None:
        """They are for owner and group."""
        for path in (self.fastcar.socket, self.fastcar.https_socket):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o660)

    def test_in_use(self) -> None:
        """A socket where somebody listens stays his, and the start ends."""
        for option, text in (("--https-unix", "{}"), ("--listen", "unix:{}")):
            folder = self.folder()
            path = os.path.join(folder, "taken.sock")
            with socket.socket(socket.AF_UNIX) as taken:
                taken.bind(path)
                taken.listen()
                line = self.refused(folder, option, text.format(path))
                self.assertIn(path, line)
                self.assertIn("in use", line)

    def test_other_file(self) -> None:
        """A file that is no socket is never deleted."""
        folder = self.folder()
        path = os.path.join(folder, "precious")
        with open(path, "w") as file:
            file.write("precious")
        for options in (("--https-unix", path), ("--listen", f"unix:{path}")):
            self.assertIn(path, self.refused(folder, *options))
        with open(path) as file:
            self.assertEqual(file.read(), "precious")

    def test_no_directory(self) -> None:
        """A directory that is not there ends the start."""
        path = "/tmp/no-such-directory/fastcar.sock"
        self.assertIn(path, self.refused(self.folder(), "--https-unix", path))

    def test_stale(self) -> None:
        """The socket files of a fastcar that was killed are replaced."""
        folder = self.folder()
        path = os.path.join(folder, "https.sock")
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        fastcar = Fastcar(folder, "--https-unix", path, "--trust", self.shared.authority.file)
        self.addCleanup(fastcar.stop)
        origin = self.origin(answering(OK), "https")
        answer = curl(path, local(origin).replace("https:", "http:"))
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)

    def test_told(self) -> None:
        """The log tells all of them, and what is special."""
        output = self.fastcar.output
        self.assertIn(f"listening on unix:{self.fastcar.https_socket}; plain HTTP there is", output)
        self.assertIn(f"forwarding from {self.fastcar.socket} ", output)
