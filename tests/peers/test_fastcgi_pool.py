"""fastcar fastcgi: requests for more than php-fpm has children, and children that go."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterable

from tests.peers.fpm import FPM
from tests.peers.gates import Gate
from tests.peers.gateway import (
    CHILDREN,
    GatewayTestCase,
    read_to_any_end,
    request,
    start_fpm,
    target,
)
from tests.peers.processes import LIMIT
from tests.peers.sockets import Message, Peer

#: Connections to php-fpm, unless an option says otherwise.
CONNECTIONS = CHILDREN - 1
#: Clients at once.
CROWD = 64


class PoolTestCase(GatewayTestCase):
    """Tests with scripts that wait at a gate."""

    def hold(self, gate: Gate, *names: str | int) -> list[Peer]:
        """Clients, one after the other, whose scripts wait at the gate.

        All of them are there when the gateway looks: else it may meet a client before another one
        that has connected earlier, but not sent its request yet.
        """
        paths = [target("gate.php", gate=gate.name, name=name) for name in names]
        with self.site.gateway.stopped():
            return [self.dial_site(request(path)) for path in paths]

    def assert_answered(self, clients: Iterable[Peer], *names: str | int) -> None:
        """Each client has its own answer."""
        for client, name in zip(clients, names, strict=True):
            answer = client.read_message()
            self.assertEqual((answer.status, answer.body), (200, str(name).encode()), answer)


class CrowdTests(PoolTestCase):
    """More clients than children."""

    def test_order(self) -> None:
        """All are served, in the order in which they came, as many at a time as allowed."""
        gate = self.gate()
        clients = self.hold(gate, *range(CROWD))
        started = gate.reports(CONNECTIONS)
        self.assertEqual(sorted(map(int, started)), list(range(CONNECTIONS)))
        for number in range(CONNECTIONS, CROWD):
            self.assertTrue(gate.quiet())
            gate.let_on()
            self.assertEqual(gate.report(), str(number))
        gate.let_on(CONNECTIONS)
        self.assert_answered(clients, *range(CROWD))

    def test_at_full_speed(self) -> None:
        """Hundreds of requests of many clients at once, with bodies of all sizes: none is lost."""
        self.assert_none_lost()

    def test_with_all_children(self) -> None:
        """Nor with as many connections as children."""
        self.start_site("--connections", str(CHILDREN))
        self.assert_none_lost()

    def test_without_kept_connections(self) -> None:
        """Nor with a connection for each."""
        self.start_site("--no-keep")
        self.assert_none_lost()

    def test_over_tcp(self) -> None:
        """Nor where php-fpm listens on a port."""
        self.start_site(tcp=True)
        self.assert_none_lost()

    def assert_none_lost(self) -> None:
        """Every request of a crowd gets its own answer."""
        failures: list[object] = []

        def client(name: int) -> None:
            peer = self.site.gateway.dial()
            try:
                for number in range(3):
                    text = f"{name}.{number}"
                    body = text.encode() * (name if number % 2 else 5000)
                    method = "PUT" if number % 2 else "POST"
                    peer.send(request("/echo.php", method=method, body=body))
                    answer = peer.read_message()
                    if (answer.status, answer.body) != (200, body):
                        failures.append((text, answer.start_line, len(answer.body), len(body)))
            except BaseException as failure:
                failures.append((name, failure))
            finally:
                peer.close()

        threads = [threading.Thread(target=client, args=(name,)) for name in range(1, CROWD + 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        self.assertEqual(failures, [])

    def test_slow_beside_fast(self) -> None:
        """Slow scripts that leave one connection stop nobody."""
        gate = self.gate()
        slow = self.hold(gate, *range(CONNECTIONS - 1))
        gate.reports(CONNECTIONS - 1)
        for _ in range(50):
            self.assert_serving()
        gate.let_on(CONNECTIONS - 1)
        self.assert_answered(slow, *range(CONNECTIONS - 1))

    def test_child_to_spare(self) -> None:
        """One child is left for others, when all of our connections are busy."""
        gate = self.gate()
        clients = self.hold(gate, *range(CROWD))
        gate.reports(CONNECTIONS)
        variables = os.path.join(self.site.root, "respond.php")
        self.assertEqual(self.site.fpm.get(variables, "body=other"), "other")
        gate.let_on(CROWD)
        self.assert_answered(clients, *range(CROWD))


class LeaverTests(PoolTestCase):
    """Clients that do not wait for the end."""

    def test_abort(self) -> None:
        """A script that writes ends when its client leaves, and its child serves others."""
        gate = self.gate()
        path = target("endless.php", gate=gate.name, name="endless")
        clients = [self.dial_site(request(path)) for _ in range(CONNECTIONS)]
        self.assertEqual(gate.reports(CONNECTIONS), ["endless"] * CONNECTIONS)
        for client in clients:
            client.read_through(b".")
            client.close()
        self.assertEqual(gate.reports(CONNECTIONS), ["endless aborted: 1"] * CONNECTIONS)
        self.assert_serving()

    def test_half_closed(self) -> None:
        """A client that only stops sending has left too."""
        gate = self.gate()
        peer = self.dial_site(request(target("endless.php", gate=gate.name, name="x")))
        self.assertEqual(gate.report(), "x")
        peer.end_output()
        self.assertEqual(gate.report(), "x aborted: 1")

    def test_upload_broken_off(self) -> None:
        """A PUT that is broken off ends the script's reading; the child serves others."""
        gate = self.gate()
        path = target("intake.php", gate=gate.name)
        data = request(path, "Content-Length: 1000", method="PUT")
        # They never have all connections.
        count = CONNECTIONS - 1
        clients = [self.dial_site(data) for _ in range(count)]
        self.assertEqual(gate.reports(count), ["reading"] * count)
        for client in clients:
            client.send(b"some")
            client.close()
        for line in gate.reports(count):
            self.assertIn(line, ("read 0", "read 4"))
        self.assert_serving()

    def test_post_broken_off(self) -> None:
        """A POST that is broken off never runs, not even with a part of its body."""
        self.assert_never_runs("Content-Length: 1000", "Transfer-Encoding: chunked")

    def test_long_post_broken_off(self) -> None:
        """Nor does one that is too long for memory."""
        self.assert_never_runs("Content-Length: 9000000")

    def assert_never_runs(self, *codings: str) -> None:
        """A POST without its end is forgotten, one that is whole runs."""
        gate = self.gate()
        path = target("intake.php", gate=gate.name)
        for coding in codings:
            peer = self.dial_site(request(path, coding, method="POST"))
            peer.send(b"4\r\nsome\r\n")
            # What was sent has been read when others are served.
            for _ in range(5):
                self.assert_serving()
            peer.close()
        whole = self.dial_site(request(path, method="POST", body=b"whole"))
        self.assertEqual(gate.reports(2), ["reading", "read 5"])
        self.assertEqual(whole.read_message().status, 200)
        self.assertTrue(gate.quiet())

    def test_queued(self) -> None:
        """Of those who wait, requests of clients that have left are never run."""
        gate = self.gate()
        clients = self.hold(gate, *range(CROWD))
        gate.reports(CONNECTIONS)
        stay = {CONNECTIONS, CROWD // 2, CROWD - 1}
        for number in set(range(CONNECTIONS, CROWD)) - stay:
            clients[number].close()
        gate.let_on(CONNECTIONS)
        self.assert_answered(clients[:CONNECTIONS], *range(CONNECTIONS))
        self.assertEqual({int(line) for line in gate.reports(len(stay))}, stay)
        gate.let_on(len(stay))
        self.assert_answered([clients[number] for number in sorted(stay)], *sorted(stay))
        self.assert_serving()
        self.assertTrue(gate.quiet())


class DeathTests(PoolTestCase):
    """Children that die, and the php-fpm."""

    def kill(self, gate: Gate) -> None:
        """Kill the child that reports itself."""
        os.kill(int(gate.report()), signal.SIGKILL)

    def test_before_head(self) -> None:
        """A child that dies before it answers makes a 502, without details."""
        gate = self.gate()
        answers: list[Message] = []
        for method, body in (("POST", b"x"), ("PUT", b"x")):
            path = target("pid.php", gate=gate.name)
            peer = self.dial_site(request(path, method=method, body=body))
            self.kill(gate)
            answers.append(peer.read_message())
        for answer in answers:
            self.assertEqual(answer.status, 502, answer)
            self.assertNotIn(self.site.folder.encode(), answer.head + answer.body)
        self.assertTrue(gate.quiet())
        self.assert_serving()

    def truncated(self, version: str, *fields: str) -> Peer:
        """The client of a child that was killed in the middle of a response."""
        gate = self.gate()
        path = target("parts.php", gate=gate.name, parts=["half", "rest"], fields=fields)
        data = request(path).replace(b"HTTP/1.1", version.encode(), 1)
        peer = self.dial_site(data)
        peer.read_through(b"half")
        self.kill(gate)
        return peer

    def test_chunked(self) -> None:
        """A response that has lost its child has no last chunk."""
        peer = self.truncated("HTTP/1.1")
        self.assertNotIn(b"0\r\n\r\n", read_to_any_end(peer))
        self.assert_serving()

    def test_known_length(self) -> None:
        """One of known length ends before that."""
        peer = self.truncated("HTTP/1.1", "Content-Length: 8")
        self.assertEqual(read_to_any_end(peer), b"")
        self.assert_serving()

    def test_old_client(self) -> None:
        """One that the end of the connection would end is broken off with a reset."""
        with self.assertRaises(ConnectionResetError):
            self.truncated("HTTP/1.0").read_to_end()
        self.assert_serving()

    def test_restart(self) -> None:
        """A php-fpm that was restarted between two requests serves the second one."""
        for tcp in (False, True):
            self.start_site(tcp=tcp)
            peer = self.dial_site()
            for number in range(3):
                for method, body in (("GET", None), ("POST", b"a body"), ("PUT", b"a body")):
                    path = target("respond.php", body=number)
                    peer.send(request(path, method=method, body=body))
                    self.assertEqual(peer.read_message().body, b"%d" % number)
                self.site.restart_fpm()

    def test_restart_in_full_run(self) -> None:
        """After a php-fpm has ended, and until there is another, it is 502; then all is well."""
        self.start_site()
        self.assert_serving()
        self.site.fpm.stop()
        for method, body in (("GET", None), ("POST", b"body")):
            answer = self.ask(target("respond.php", body="x"), method=method, body=body)
            self.assertEqual(answer.status, 502, answer)
            self.assertNotIn(b"/", answer.body)
            self.assertNotIn(b"fpm", answer.head + answer.body)
        self.site.restart_fpm()
        self.assert_serving()

    def test_recycling(self) -> None:
        """Nobody notices that children end after a few requests."""
        for tcp, count in ((False, 200), (True, 60)):
            self.start_site(fpm=["pm.max_requests = 5"], tcp=tcp)
            self.assert_recycled(count)

    def assert_recycled(self, count: int) -> None:
        """So many requests are all answered, by at least a fifth as many children."""
        peer = self.dial_site()
        pids = set()
        for number in range(count):
            body = b"%d" % number if number % 2 else None
            method = ("POST", "PUT")[number // 2 % 2] if body else "GET"
            peer.send(request(target("pid.php", name=number), method=method, body=body))
            answer = peer.read_message()
            self.assertEqual(answer.status, 200, (number, answer))
            pids.add(answer.body)
        self.assertGreaterEqual(len(pids), count // 5)

    def test_recycling_of_many(self) -> None:
        """Nor do many clients at once."""
        self.start_site(fpm=["pm.max_requests = 5"])
        clients = [self.dial_site() for _ in range(20)]
        for number in range(10):
            body = b"body" if number % 2 else None
            for client in clients:
                path = target("pid.php", name=number)
                client.send(request(path, method="POST" if body else "GET", body=body))
            statuses = [client.read_message().status for client in clients]
            self.assertEqual(statuses, [200] * len(clients), number)


class StopTests(PoolTestCase):
    """What SIGTERM does."""

    def test_drain(self) -> None:
        """Requests under way, and those in line, are finished; nobody new gets in."""
        self.start_site("--connections", "1")
        gate = self.gate()
        clients = self.hold(gate, 0, 1)
        idle = self.dial_site()
        self.assertEqual(gate.report(), "0")
        self.site.gateway.send_signal(signal.SIGTERM)
        self.assertEqual(idle.read_to_end(), b"")
        with self.assertRaises(OSError):
            self.site.gateway.dial()
        gate.let_on(2)
        self.assert_answered(clients, 0, 1)
        self.assertEqual(self.site.gateway.wait(), -signal.SIGTERM)


class FinishedTests(PoolTestCase):
    """fastcgi_finish_request()."""

    def test_finished(self) -> None:
        """The client has its answer while the script works on; nobody waits behind that."""
        gate = self.gate()
        path = target("finish.php", gate=gate.name)
        for _ in range(CONNECTIONS - 1):
            peer = self.dial_site(request(path))
            self.assertEqual(peer.read_message().body, b"finished")
            self.assertEqual(gate.report(), "working")
        for _ in range(20):
            self.assert_serving()
        self.assertTrue(gate.quiet())
        gate.let_on(CONNECTIONS - 1)
        self.assertEqual(gate.reports(CONNECTIONS - 1), ["worked"] * (CONNECTIONS - 1))
        self.assert_serving()

    def test_same_client(self) -> None:
        """Not even who comes next on the same connection, with a body or without."""
        self.assert_next_is_served()

    def test_over_tcp(self) -> None:
        """It is the same where php-fpm listens on a port."""
        self.start_site(tcp=True)
        self.assert_next_is_served()

    def assert_next_is_served(self) -> None:
        """A client gets answers while the script that it asked for first still works."""
        gate = self.gate()
        peer = self.dial_site(request(target("finish.php", gate=gate.name)))
        self.assertEqual(peer.read_message().body, b"finished")
        self.assertEqual(gate.report(), "working")
        for body in (None, b"x"):
            path = target("respond.php", body="next")
            peer.send(request(path, method="POST" if body else "GET", body=body))
            self.assertEqual(peer.read_message().body, b"next")
        self.assertTrue(gate.quiet())
        gate.let_on()
        self.assertEqual(gate.report(), "worked")

    def test_more_than_children(self) -> None:
        """When all connections lead to such scripts, the next one waits for the first that ends,
        and nothing is lost."""
        gate = self.gate()
        finishers = [
            self.dial_site(request(target("finish.php", gate=gate.name)))
            for _ in range(CHILDREN + 2)
        ]
        last = self.dial_site(request(target("respond.php", body="last")))
        gate.let_on(len(finishers))
        for peer in finishers:
            self.assertEqual(peer.read_message().body, b"finished")
        self.assertEqual(last.read_message().body, b"last")
        lines = gate.reports(2 * len(finishers))
        self.assertEqual(lines.count("worked"), len(finishers))


class BackendsTests(PoolTestCase):
    """Several --fpm."""

    def start_pair(self, *options: str, alive: bool = True) -> list[FPM]:
        """A site whose gateway has two, or one of which nothing is there; its own one is first."""
        self.start_site("--fpm", "unix:{folder}/second/fpm.sock", *options)
        folder = os.path.join(self.site.folder, "second")
        os.mkdir(folder)
        if not alive:
            return [self.site.fpm]
        second = start_fpm(folder)
        self.addCleanup(second.stop)
        return [self.site.fpm, second]

    def master(self, child: str) -> int:
        """The php-fpm that a child is of."""
        with open(f"/proc/{child}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])

    def test_least_busy(self) -> None:
        """A request goes to the one that has less to do."""
        pair = self.start_pair("--connections", "2")
        gate = self.gate()
        path = target("parts.php", gate=gate.name, parts=["x"])
        masters = []
        for _ in range(4):
            self.dial_site(request(path)).read_through(b"x")
            masters.append(self.master(gate.report()))
        expected = sorted(fpm.pid for fpm in pair)
        self.assertEqual([sorted(masters[:2]), sorted(masters[2:])], [expected, expected])

    def test_one_line(self) -> None:
        """Those who wait are one line: whichever connection is free serves who came first."""
        self.start_pair("--connections", "1")
        gate = self.gate()
        clients = self.hold(gate, *range(20))
        self.assertEqual(sorted(gate.reports(2)), ["0", "1"])
        for number in range(2, 20):
            gate.let_on()
            self.assertEqual(gate.report(), str(number))
        gate.let_on(2)
        self.assert_answered(clients, *range(20))

    def test_one_dead(self) -> None:
        """Where one is not there the other serves all."""
        self.start_pair(alive=False)
        self.assert_all_served()

    def test_one_dies(self) -> None:
        """One that ends between requests is not missed, whichever it is."""
        for number in range(2):
            pair = self.start_pair()
            self.assert_all_served()
            pair[number].stop()
            self.assert_all_served()

    def assert_all_served(self) -> None:
        """GET and POST, one by one and many at once."""
        bodies = (None, b"body")
        for number in range(20):
            body = bodies[number % 2]
            method = "POST" if body else "GET"
            answer = self.ask(target("respond.php", body="x"), method=method, body=body)
            self.assertEqual(answer.status, 200, answer)
        clients = [self.dial_site() for _ in range(20)]
        for client in clients:
            client.send(request(target("respond.php", body="x"), method="POST", body=b"body"))
        self.assertEqual([client.read_message().status for client in clients], [200] * 20)


class LimitsTests(PoolTestCase):
    """Those who are told to come again."""

    def assert_refused(self, answer: Message, status: int) -> None:
        """The answer is short, plain and says nothing of our inside."""
        self.assertEqual(answer.status, status, answer)
        self.assertTrue(answer.values(b"Content-Type")[0].startswith(b"text/plain"))
        self.assertLess(len(answer.body), 200)
        self.assertNotIn(b"/", answer.body)
        if status == 503:
            self.assertRegex(b",".join(answer.values(b"Retry-After")), rb"^[1-9]\d*$")

    def test_queue_full(self) -> None:
        """With --max-queue waiting, the next one is refused at once; those who wait are served."""
        self.start_site("--connections", "1", "--max-queue", "2")
        gate = self.gate()
        clients = self.hold(gate, 0, 1, 2)
        self.assertEqual(gate.report(), "0")
        self.assert_refused(self.ask(target("respond.php", body="x")), 503)
        gate.let_on(3)
        self.assert_answered(clients, 0, 1, 2)
        self.assertEqual(gate.reports(2), ["1", "2"])

    def test_queue_timeout(self) -> None:
        """Who has waited for --queue-timeout is refused, and never run."""
        self.start_site("--connections", "1", "--queue-timeout", "0.3")
        gate = self.gate()
        first, second = self.hold(gate, 1, 2)
        self.assert_refused(second.read_message(), 503)
        gate.let_on(2)
        self.assert_answered([first], 1)
        self.assert_serving()
        self.assertEqual((gate.report(), gate.quiet()), ("1", True))

    def test_no_fpm(self) -> None:
        """Where no php-fpm is it is 502."""
        self.start_site()
        self.site.fpm.stop()
        self.assert_refused(self.ask("/respond.php"), 502)
        self.site.gateway.logs(re.escape(self.site.fpm.socket))

    def test_slow_script(self) -> None:
        """A script that does not answer within --response-timeout is a 504, and its child is free
        when it ends."""
        self.start_site("--response-timeout", "0.3", "--connections", "1")
        gate = self.gate()
        [client] = self.hold(gate, "slow")
        self.assert_refused(client.read_message(), 504)
        gate.let_on()
        self.assert_serving()

    def test_stalled_script(self) -> None:
        """One that stops in the middle for --stall-timeout is broken off."""
        self.start_site("--stall-timeout", "0.3")
        gate = self.gate()
        path = target("parts.php", gate=gate.name, parts=["half", "rest"])
        peer = self.dial_site(request(path))
        peer.read_through(b"half")
        self.assertNotIn(b"0\r\n\r\n", read_to_any_end(peer))
