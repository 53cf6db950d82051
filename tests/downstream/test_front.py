"""The first byte of a connection decides what is spoken on it."""

from __future__ import annotations

from functools import partial

from OpenSSL import SSL

from fastcar_tw.config import Config
from fastcar_tw.http.head import MAX_HEAD, MAX_TARGET
from fastcar_tw.routes.selection import Routes
from fastcar_tw.testing import MemoryProxy, Peer
from fastcar_tw.tls.local_ca import LocalCA
from fastcar_tw.tls.machine import TLSMachine
from tests.forward.support import GET, OK, POST, ProxyTestCase, answer, logged, request, response
from tests.routes.support import bytewise
from tests.tls.support import SelfSigned, careless_context, local_ca

from .support import (
    CHOSEN,
    CONNECTED,
    SUCCEEDED,
    TUNNELS,
    OpeningsTestCase,
    connect,
    opening,
    socks5,
    start_tls,
)

ABSOLUTE = b"GET %b HTTP/1.1\r\nHost: ignored.test\r\n\r\n"

#: What a client says, what it is answered before its response, which origin is asked, and what.
OPENINGS = {
    "origin-form": (GET, b"", "http://a.test:80", GET),
    "absolute-form": (ABSOLUTE % b"http://a.test/", b"", "http://a.test:80", GET),
    "absolute-form, https": (ABSOLUTE % b"https://a.test/", b"", "https://a.test:443", GET),
    "CONNECT 1.0": (connect() + GET, CONNECTED, "http://a.test:80", GET),
    "CONNECT 1.1": (connect(version=b"1.1") + GET, CONNECTED, "http://a.test:80", GET),
    "CONNECT with fields": (
        connect(b"A.test:81", b"Host: x", b"User-Agent: y", version=b"1.1") + POST,
        CONNECTED,
        "http://a.test:81",
        POST,
    ),
    "CONNECT to IPv6": (
        connect(b"[2001:DB8::1]:80") + GET,
        CONNECTED,
        "http://[2001:db8::1]:80",
        GET,
    ),
    "SOCKS5 by name": (socks5() + GET, CHOSEN + SUCCEEDED, "http://a.test:80", GET),
    "SOCKS5 by IPv4": (
        socks5("127.0.0.1", 8080) + POST,
        CHOSEN + SUCCEEDED,
        "http://127.0.0.1:8080",
        POST,
    ),
    "SOCKS5 by IPv6": (socks5("::1") + GET, CHOSEN + SUCCEEDED, "http://[::1]:80", GET),
}


class FrontTests(ProxyTestCase):
    """Sniffing."""

    def test_plain(self) -> None:
        """HTTP in the clear is served as http."""
        self.exchange()
        self.assertEqual(str(self.origin.origin), "http://a.test:80")

    def test_tls(self) -> None:
        """A TLS handshake is taken up, and what is inside served as https."""
        client = self.proxy.tls_client()
        client.send(GET)
        self.origin.send(OK)
        self.assertEqual(client.received, OK)
        self.assertEqual(str(self.origin.origin), "https://a.test:443")

    def test_first_byte_alone(self) -> None:
        """One byte is enough to decide, and may come alone."""
        for asked in (GET, request(b"/2")):
            for piece in (asked[:1], asked[1:2], asked[2:]):
                self.client.send(piece)
            self.assertEqual(self.origin.take(), asked)
            self.origin.send(OK)

    def test_handshake_byte_by_byte(self) -> None:
        """A handshake may come byte by byte."""
        client = self.proxy.client()
        client.machine = TLSMachine.client(careless_context(), "a.test")
        for byte in client.machine.start():
            client.send_raw(bytes([byte]))
        self.assertTrue(client.machine.ready)
        client.send(GET)
        self.assertEqual(self.origin.received, GET)

    def test_verified_by_the_client(self) -> None:
        """A client that trusts the local CA accepts the certificate for the name it asks for."""
        client = self.proxy.tls_client("php.example")
        assert client.machine is not None
        self.assertIsNone(client.failure)
        self.assertTrue(client.machine.ready)

    def test_refused_by_the_client(self) -> None:
        """A client that refuses our certificate is one line in the log, and hurts nobody."""
        context = careless_context()
        context.set_verify(SSL.VERIFY_PEER)
        lines = logged(lambda: self.proxy.tls_client(context=context))
        [line] = lines
        self.assertRegex(line, "^client TLS failed: .*unknown")
        self.assertEqual(len(self.proxy.forwarder.clients), 1)
        self.alive()

    def test_garbage_in_the_handshake(self) -> None:
        """So is one that sends garbage in its handshake."""
        client = self.proxy.client()
        [line] = logged(lambda: client.send(b"\x16garbage garbage garbage"))
        self.assertTrue(line.startswith("client TLS failed: "))
        self.assertTrue(client.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 1)
        self.alive()

    def test_old_version(self) -> None:
        """A client that offers nothing newer than TLS 1.1 is refused."""
        client = self.proxy.client()
        hello = b"\x03\x02" + bytes(32) + b"\x00\x00\x02\xc0\x13\x01\x00"
        message = b"\x01" + len(hello).to_bytes(3, "big") + hello
        record = b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message
        self.assertEqual(len(logged(lambda: client.send(record))), 1)
        self.assertTrue(client.received.startswith(b"\x15"))
        self.assertTrue(client.closed)

    def test_gone_in_the_handshake(self) -> None:
        """A client that goes away in its handshake is nothing to talk about."""
        client = self.proxy.client()
        client.send(b"\x16\x03\x01")
        self.assertEqual(logged(client.close), [])
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_half_closed_in_the_handshake(self) -> None:
        """Nor is one that ends its sending there."""
        client = self.proxy.client()
        client.send(b"\x16\x03\x01")
        client.end()
        self.assertTrue(client.closed)

    def test_half_closed_before_the_first_byte(self) -> None:
        """A client that ends before it has said anything is let go."""
        self.client.end()
        self.assertTrue(self.client.closed)

    def test_silent_clients_cost_only_themselves(self) -> None:
        """Many silent clients do not keep others from being served."""
        silent = [self.proxy.client() for _ in range(50)]
        for client in silent[::2]:
            client.send(b"\x16")
        self.alive()
        self.proxy.elapse(20)
        self.assertTrue(all(client.closed for client in silent))

    def test_data_with_the_end_of_the_handshake(self) -> None:
        """A request that comes with the last message of the handshake is served."""
        client = self.proxy.client()
        machine = TLSMachine.client(careless_context(), "a.test")
        client.send_raw(machine.start())
        machine.receive(client.take())
        self.assertTrue(machine.ready)
        client.send_raw(machine.outgoing() + machine.send(GET))
        self.assertEqual(self.origin.received, GET)

    def test_plain_http_in_tls(self) -> None:
        """Plain HTTP sent on a connection where TLS is spoken ends it."""
        client = self.proxy.tls_client()
        client.send_raw(GET * 300)  # its first bytes tell of a record of 8 KiB
        self.assertTrue(client.closed)
        self.assertEqual(self.proxy.connects, [])

    def test_truncated_tls(self) -> None:
        """A client that ends TLS without close_notify in its request has not finished it."""
        client = self.proxy.tls_client()
        client.send(request(b"/", b"Content-Length: 5", method=b"POST") + b"he")
        client.end(notify=False)
        self.assertTrue(self.origin.aborted)
        self.assertTrue(client.closed)

    def test_broken_record_under_a_response(self) -> None:
        """A broken record ends the exchange, also when the client reads nothing more."""
        client = self.proxy.tls_client()
        client.send(GET)
        client.pause()
        self.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + bytes(500000))
        client.send_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.assertTrue(client.closed)
        self.assertTrue(self.origin.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_http_error_in_tls(self) -> None:
        """A broken request inside TLS is answered inside TLS, and ended with close_notify."""
        client = self.proxy.tls_client()
        client.send(b"BROKEN\r\n\r\n")
        self.assertEqual(answer(client.received).status, 400)
        self.assertTrue(client.ended_cleanly)


class SplitTests(OpeningsTestCase):
    """Every opening may be cut anywhere, and what comes behind it may come with it."""

    def check(self, name: str, pieces: list[bytes]) -> None:
        """A client that sends these pieces is served."""
        _, granted, origin, asked = OPENINGS[name]
        client = self.proxy.client()
        for piece in pieces:
            client.send(piece)
        [serving] = [peer for peer in self.proxy.origins if peer.received]
        self.assertEqual((str(serving.origin), serving.take()), (origin, asked), (name, pieces))
        serving.send(OK)
        self.assertEqual(client.take(), granted + OK, (name, pieces))
        client.close()

    def test_whole(self) -> None:
        """In one piece."""
        for name, (sent, *_) in OPENINGS.items():
            self.check(name, [sent])

    def test_byte_by_byte(self) -> None:
        """One byte at a time."""
        for name, (sent, *_) in OPENINGS.items():
            self.check(name, bytewise(sent))

    def test_every_split(self) -> None:
        """In two pieces, cut at every byte."""
        for name, (sent, *_) in OPENINGS.items():
            for at in range(1, len(sent)):
                self.check(name, [sent[:at], sent[at:]])

    def test_handshake(self) -> None:
        """A ClientHello cut at every byte, direct and in each kind of tunnel."""
        self.start(max_idle_per_origin=1)
        for how in ("", *TUNNELS):
            asked, answered = opening(how, port=443) if how else (b"", b"")
            for at in range(1, len(TLSMachine.client(careless_context(), "a.test").start()), 3):
                client = self.proxy.client()
                machine = TLSMachine.client(careless_context(), "a.test")
                hello = machine.start()
                client.send(asked + hello[:at])
                self.assertEqual(client.take(), answered)
                client.machine = machine
                client.send_raw(hello[at:])
                self.assertTrue(machine.ready, (how, at))
                client.close()

    def test_handshake_with_its_opening(self) -> None:
        """A client that does not wait for its tunnel to be granted."""
        for how in TUNNELS:
            machine = TLSMachine.client(careless_context(), "a.test")
            asked, answered = opening(how, port=443)
            client = self.proxy.client()
            client.send(asked + machine.start())
            got = client.take()
            self.assertTrue(got.startswith(answered))
            client.machine = machine
            machine.receive(got[len(answered) :])
            client.send_raw(machine.outgoing())
            self.served(client, "https://a.test:443")


class TunnelTests(OpeningsTestCase):
    """What is inside of a tunnel is looked at anew."""

    def test_plain(self) -> None:
        """HTTP in the clear goes to the tunnel's target as http, whatever the port is."""
        for how in TUNNELS:
            for port in (80, 443, 8080):
                client = self.tunnel(port=port, how=how)
                for _ in range(2):
                    self.served(client, f"http://a.test:{port}")
        self.assertEqual(len(self.proxy.origins), 3)

    def test_host_is_unchanged(self) -> None:
        """The target decides where a request goes, and Host is passed as it is."""
        for how in TUNNELS:
            for host in (b"b.test", b"b.test:81", b"A.TEST", b"127.0.0.1"):
                self.served(self.tunnel(how=how), "http://a.test:80", request(host=host))
            client = self.tunnel("10.0.0.1", 443, how)
            start_tls(client, "a.test")
            origin = "https://10.0.0.1:443 as a.test"
            self.served(client, origin, request(host=b"b.test"))

    def test_through_a_forwarding_proxy(self) -> None:
        """Also where the origin is reached through a proxy that is told URLs: it is not asked for
        what Host says."""
        self.proxy = MemoryProxy(Config(), Routes("http://p.test:3128", "", {}))
        self.addCleanup(self.proxy.close)
        client = self.tunnel()
        asked = request(host=b"b.test")
        client.send(asked)
        self.assertNotIn(b"http://b.test", self.origin.received)
        self.assertIn(b"CONNECT a.test:80 ", self.origin.take())
        self.origin.send(CONNECTED)
        self.assertEqual(self.origin.take(), asked)

    def test_invalid_host(self) -> None:
        """Host has to be valid all the same."""
        for host in (b"a b", b"a.test:x", b"u@a.test"):
            client = self.tunnel()
            client.send(request(host=host))
            self.assertEqual(answer(client.received).status, 400)
        self.assertEqual(self.proxy.connects, [])

    def test_absolute_form(self) -> None:
        """An absolute-form target in a tunnel repeats where that leads to."""
        for how in TUNNELS:
            for named in (b"http://a.test/", b"http://A.TEST:80/", b"HTTP://a.test"):
                expected = b"a.test:80" if b":80" in named else b"a.test"
                got = request(host=b"A.TEST:80" if b"A.TEST" in named else expected)
                self.served(self.tunnel(how=how), "http://a.test:80", ABSOLUTE % named, got)
            client = self.tunnel("b.test", 443, how)
            start_tls(client, "a.test")
            for host in (b"a.test", b"b.test"):
                asked = ABSOLUTE % b"https://%b/" % host
                self.served(client, "https://b.test:443 as a.test", asked, request(host=host))

    def test_misdirected(self) -> None:
        """One that names anything else is a 400, and goes nowhere; a proxy sends no 421 (RFC 9110
        section 15.5.20)."""
        for tls, named in (
            (False, b"http://b.test/"),
            (False, b"http://a.test:81/"),
            (False, b"https://a.test/"),
            (False, b"https://a.test:80/"),
            (True, b"https://c.test/"),
            (True, b"https://a.test:444/"),
            (True, b"http://a.test/"),
            (True, b"http://a.test:443/"),
        ):
            client = self.tunnel("a.test", 443 if tls else 80)
            if tls:
                start_tls(client, "b.test")
            client.send(ABSOLUTE % named)
            got = answer(client.received)
            self.assertEqual((got.status, got.fields[b"connection"]), (400, b"close"), named)
            self.assertIn(b"the target is not where the tunnel leads to", got.body)
            self.assertTrue(client.ended_cleanly)
        self.assertEqual(self.proxy.connects, [])

    def test_anything_else(self) -> None:
        """What is neither TLS nor HTTP is refused at its first byte, and a line in the log says
        what would let it through."""
        for how in TUNNELS:
            for first in (0, 4, 5, 9, 0x15, 0x17, 0x20, 0x7B, 0x80, 0xFF):
                client = self.tunnel("a.test", 22, how)
                [line] = logged(partial(client.send, bytes([first])))
                self.assertEqual(
                    line,
                    "client refused: 400 the tunnel to a.test:22 carries neither TLS nor HTTP; "
                    "--tunnel 22 would let anything through",
                )
                self.assertTrue(client.closed)
                self.assertEqual(client.received, b"")
        self.assertEqual(self.proxy.connects, [])
        self.alive()

    def test_silence(self) -> None:
        """So is a client that says nothing: it may wait for the other side to begin."""
        for how in TUNNELS:
            client = self.tunnel("::1", 22, how)
            self.proxy.elapse(self.proxy.forwarder.config.client_timeout - 1)
            self.assertFalse(client.closed)
            [line] = logged(lambda: self.proxy.elapse(2.5))
            self.assertIn("408 nothing came through the tunnel to [::1]:22 in time", line)
            self.assertIn("--tunnel 22 ", line)
            self.assertTrue(client.closed)

    def test_broken_handshake_behind_a_response(self) -> None:
        """A client that does not read the response in front of its tunnel has no more time for
        that when TLS in the tunnel has failed."""
        broken = b"\x16\x03\x01\x00\x10" + b"\xff" * 16
        body = bytes(40000)  # less than makes us wait for the client
        for enter in (self.proxy.client, self.proxy.tls_client):
            client = enter(capacity=4096)
            client.pause()
            client.send(GET + connect(b"a.test:443") + broken)
            length = b"Content-Length: %d" % len(body)
            self.proxy.origins[-1].send(response(b"200 OK", length, body=body))
            self.assertFalse(client.closed)
            self.elapse_deadline()
            self.assertTrue(client.closed)

    def test_own_deadline(self) -> None:
        """What is inside has a deadline of its own."""
        self.client.close()
        for how in TUNNELS:
            client = self.proxy.client()
            self.proxy.elapse(10)
            self.tunnel(how=how, client=client)
            self.proxy.elapse(10)
            client.send(GET[:5])
            self.proxy.elapse(10)
            client.send(GET[5:])
            self.origin.take()
            self.origin.send(OK)
            self.assertEqual(client.take(), OK)

    def test_handshake_deadline(self) -> None:
        """A handshake inside has the time that is left to say anything, and a request after it a
        new one."""
        for how in TUNNELS:
            slow, other = self.tunnel(how=how), self.tunnel(how=how)
            self.proxy.elapse(10)
            slow.send(b"\x16\x03\x01")
            start_tls(other)
            self.proxy.elapse(7)
            self.assertTrue(slow.closed)
            self.assertFalse(other.closed)
            self.proxy.elapse(10)
            self.assertTrue(other.ended)

    def test_ends(self) -> None:
        """A client that ends before it has said anything is let go."""
        for how in TUNNELS:
            client, gone = self.tunnel(how=how), self.tunnel(how=how)
            self.assertEqual(logged(client.end), [])
            self.assertTrue(client.closed)
            self.assertEqual(logged(gone.close), [])
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_ends_in_the_handshake(self) -> None:
        """Or in the middle of its handshake."""
        for how in TUNNELS:
            client = self.tunnel(how=how)
            client.send(b"\x16\x03\x01")
            self.assertEqual(logged(client.end), [])
            self.assertTrue(client.closed)
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_broken_handshake(self) -> None:
        """One that breaks it is told by TLS, and is one line in the log."""
        for how in TUNNELS:
            client = self.tunnel(how=how)
            lines = logged(partial(client.send, b"\x16garbage garbage"))
            self.assertEqual(len(lines), 1)
            self.assertTrue(lines[0].startswith("client TLS failed: "))
            self.assertTrue(client.closed)
        self.alive()

    def test_broken_request(self) -> None:
        """A broken request inside is answered as one outside."""
        for how in TUNNELS:
            for asked, status in (
                (request(b"/", b"Bad Field: x"), 400),
                (GET.replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
                (request(b"/", b"Transfer-Encoding: gzip, chunked"), 501),
                (request(b"/", b"A: " + b"x" * MAX_HEAD), 431),
                (request(b"/" + b"x" * MAX_TARGET), 414),
                (b"GET /" + b"x" * MAX_HEAD, 414),
            ):
                client = self.tunnel(how=how)
                client.send(asked)
                got = answer(client.received)
                self.assertEqual(got.status, status)
                self.assertNotIn(b"--tunnel", got.body)
                self.assertTrue(client.ended_cleanly)

    def test_late_request(self) -> None:
        """So is one that takes too long, whatever there is of it."""
        for how in TUNNELS:
            for size in (1, 3, 8, len(GET) - 1):
                client = self.tunnel(how=how)
                client.send(GET[:size])
                self.elapse_deadline()
                self.assertEqual(answer(client.received).status, 408, size)

    def test_other_lines(self) -> None:
        """A first line that is none of HTTP's is a 400 that says what would let it through."""
        for how in TUNNELS:
            for line in (b"EHLO x\r\n", b"*1\r\n", b"PING\r\n", b"BROKEN\r\n\r\n"):
                client = self.tunnel("a.test", 25, how)
                client.send(line)
                got = answer(client.received)
                self.assertEqual(got.status, 400)
                self.assertIn(b"--tunnel 25 would", got.body)
                self.assertTrue(client.ended_cleanly)

    def test_nothing_is_mixed(self) -> None:
        """Origins reached through tunnels and without are pooled alike."""
        first = self.served(self.client, "http://a.test:80")
        for how in TUNNELS:
            self.assertIs(self.served(self.tunnel(how=how), "http://a.test:80"), first)
        tls = self.proxy.tls_client()
        second = self.served(tls, "https://a.test:443")
        for how in TUNNELS:
            client = self.tunnel("a.test", 443, how)
            start_tls(client, "a.test")
            self.assertIs(self.served(client, "https://a.test:443"), second)
        self.assertEqual(len(self.proxy.connects), 2)


class CertificateTests(OpeningsTestCase):
    """Whom a client in a tunnel is shown, and whom it is led to."""

    def test_shown(self) -> None:
        """The certificate is for the SNI name, or else for the tunnel's target."""
        for how in TUNNELS:
            for host, name, shown in (
                ("a.test", "a.test", "a.test"),
                ("a.test", "", "a.test"),
                ("a.test.", "", "a.test"),
                ("10.0.0.1", "", "10.0.0.1"),
                ("2001:db8::1", "", "2001:db8::1"),
                ("10.0.0.1", "a.test", "a.test"),
                ("b.test", "a.test", "a.test"),
            ):
                client = self.tunnel(host, 443, how)
                start_tls(client, name)
                self.assertEqual(self.leaf(client), [shown])

    def test_server_name_of_the_target(self) -> None:
        """A name that only repeats the target is nothing to tell apart."""
        for host, name in (("a.test", "a.test"), ("A.test", "a.test"), ("a.test.", "A.TEST")):
            client = self.tunnel(host, 443)
            start_tls(client, name)
            client.send(GET)
            self.assertEqual(str(self.origin.origin), f"https://{host.lower()}:443")

    def origin_for(self, *names: str) -> TLSMachine:
        """The server side of an origin that has a certificate for these names, of a CA that is
        trusted."""
        certificate, key = self.ca.issue(names)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        return TLSMachine.server(context)

    def trusting(self, *insecure: str) -> LocalCA:
        """Begin anew with a CA of origins, and some that are not verified."""
        self.ca = local_ca(self)
        self.start(trust=(self.ca.certificate_path,), insecure_origins=insecure)
        self.proxy.accepting = False
        return self.ca

    def ask(self, host: str, name: str, machine: TLSMachine) -> tuple[int, Peer]:
        """Ask inside of a tunnel to a host for what is at a name; return the status, and what
        plays the origin."""
        client = self.tunnel(host, 443)
        start_tls(client, name)
        client.send(GET)
        origin = self.proxy.connects[-1].accept(machine)
        if origin.received:
            origin.send(OK)
        return answer(client.received).status, origin

    def test_verified(self) -> None:
        """What the client has asked for is what the origin has to be: its certificate is for the
        SNI name, not for the target."""
        self.trusting()
        for host in ("b.test", "10.0.0.1"):
            self.assertEqual(self.ask(host, "a.test", self.origin_for("a.test"))[0], 200)
            status, origin = self.ask(host, "c.test", self.origin_for(host))
            self.assertEqual(status, 502)
            self.assertEqual(origin.received, b"")

    def test_server_name_is_sent(self) -> None:
        """It is told to the origin too."""
        self.trusting()
        machine = self.origin_for("a.test")
        self.ask("10.0.0.1", "a.test", machine)
        self.assertEqual(machine.connection.get_servername(), b"a.test")

    def test_without_server_name(self) -> None:
        """Without one it is the target that is verified."""
        self.trusting()
        self.assertEqual(self.ask("b.test", "", self.origin_for("b.test"))[0], 200)
        self.assertEqual(self.ask("c.test", "", self.origin_for("b.test"))[0], 502)

    def test_never_shared(self) -> None:
        """Connections that were verified for different names are different, though they lead to
        the same place."""
        serving = []
        for name, origin in (
            ("a.test", "https://a.test:443"),
            ("b.test", "https://a.test:443 as b.test"),
            ("c.test", "https://a.test:443 as c.test"),
            ("", "https://a.test:443"),
        ):
            client = self.tunnel("a.test", 443)
            start_tls(client, name)
            serving.append(self.served(client, origin))
        self.assertEqual(len(set(serving)), 3)
        self.assertIs(serving[0], serving[3])

    def test_insecure_origin(self) -> None:
        """--insecure-origin looks at that name too, and at no other."""
        self.trusting("a.test")
        stranger = SelfSigned("x.test").context()
        for host, name, verified in (
            ("b.test", "a.test", False),
            ("b.test", "c.test", True),
            ("a.test", "b.test", True),
            ("a.test", "", False),
        ):
            status, _ = self.ask(host, name, TLSMachine.server(stranger))
            self.assertEqual(status, 502 if verified else 200)
            self.assertIs(self.proxy.connects[-1].origin.verified, verified)

    def test_client_that_verifies(self) -> None:
        """A client that trusts the local CA accepts what it is shown."""
        trusted = self.proxy.tls_client("other.test")
        assert trusted.machine is not None
        context = trusted.machine.connection.get_context()
        for how in TUNNELS:
            client = self.tunnel("a.test", 443, how)
            self.assertTrue(start_tls(client, "", context).ready)
            self.served(client, "https://a.test:443")


class TLSInTLSTests(OpeningsTestCase):
    """A tunnel that is opened inside TLS, as through an https proxy."""

    def test_plain(self) -> None:
        """What is plain in it is http: the TLS around it ends here."""
        client = self.tunnel(client=self.proxy.tls_client("proxy.test"))
        for _ in range(2):
            self.served(client, "http://a.test:80")

    def test_tls(self) -> None:
        """TLS inside is terminated, too."""
        client = self.tunnel("a.test", 443, client=self.proxy.tls_client("proxy.test"))
        inner = start_tls(client, "b.test")
        self.assertTrue(inner.ready)
        self.assertEqual(self.leaf(client), ["b.test"])
        for _ in range(2):
            self.served(client, "https://a.test:443 as b.test")

    def test_without_server_name(self) -> None:
        """The name of the proxy is not taken for that of the origin."""
        client = self.tunnel("a.test", 443, client=self.proxy.tls_client("proxy.test"))
        start_tls(client)
        self.assertEqual(self.leaf(client), ["a.test"])
        self.served(client, "https://a.test:443")

    def test_large(self) -> None:
        """Much passes, both ways."""
        client = self.tunnel("a.test", 443, client=self.proxy.tls_client("proxy.test"))
        start_tls(client, "a.test")
        much = bytes(1 << 20)
        asked = request(method=b"POST", body=much)
        client.send(asked)
        self.assertEqual(self.origin.take(), asked)
        self.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(much) + much)
        self.assertTrue(client.take().endswith(much))
        self.served(client, "https://a.test:443")

    def test_ends(self) -> None:
        """It ends as it has begun: inside first, then outside."""
        client = self.tunnel("a.test", 443, client=self.proxy.tls_client("proxy.test"))
        start_tls(client, "a.test")
        client.send(request(b"/", b"Connection: close"))
        self.origin.send(OK)
        self.assertTrue(client.ended_cleanly)

    def test_anything_else(self) -> None:
        """What is neither is refused there as well."""
        client = self.tunnel(client=self.proxy.tls_client("proxy.test"))
        self.assertEqual(len(logged(lambda: client.send(b"\x00"))), 1)
        self.assertTrue(client.closed)

    def test_gone(self) -> None:
        """Wherever it goes away, nothing is left and nothing is told."""
        for stage in range(4):
            client = self.proxy.tls_client("proxy.test")
            if stage > 0:
                self.tunnel("a.test", 443, client=client)
            if stage == 2:
                client.send(b"\x16\x03")
            elif stage == 3:
                start_tls(client)
            for leave in (partial(client.end, False), client.close):
                self.assertEqual(logged(leave), [])
        self.assertEqual(len(self.proxy.forwarder.clients), 1)

    def test_late(self) -> None:
        """Or stays and says nothing more."""
        self.client.close()
        for stage in range(3):
            client = self.proxy.tls_client("proxy.test")
            self.tunnel("a.test", 443, client=client)
            if stage == 1:
                client.send(b"\x16\x03")
            elif stage == 2:
                start_tls(client)
            self.elapse_deadline()
            self.assertTrue(client.ended)
            client.close()

    def test_no_socks_in_tls(self) -> None:
        """SOCKS5 is not looked for inside TLS."""
        client = self.proxy.tls_client("proxy.test")
        client.send(socks5() + b"\r\n\r\n")
        self.assertEqual(answer(client.received).status, 400)


class SecureListenerTests(OpeningsTestCase):
    """The socket where plain HTTP is for https origins."""

    def secure(self, asked: bytes, origin: str, got: bytes = b"") -> None:
        """A request there goes to this origin."""
        self.served(self.proxy.client(secure=True), origin, asked, got)

    def test_origin_form(self) -> None:
        """A Host without a port means 443; any port it gives stands."""
        self.secure(GET, "https://a.test:443")
        self.secure(request(host=b"a.test:8443"), "https://a.test:8443")
        self.secure(request(host=b"a.test:80"), "https://a.test:80")

    def test_absolute_form(self) -> None:
        """So it is in absolute-form, whose scheme does not matter."""
        for scheme in (b"http", b"https"):
            self.secure(ABSOLUTE % b"%b://a.test/" % scheme, "https://a.test:443", GET)
            self.secure(
                ABSOLUTE % b"%b://a.test:8443/" % scheme,
                "https://a.test:8443",
                request(host=b"a.test:8443"),
            )

    def test_tunnel(self) -> None:
        """In a plain tunnel port 80 becomes 443, and other ports stay."""
        for how in TUNNELS:
            for port, origin in ((80, 443), (443, 443), (8080, 8080), (8443, 8443)):
                client = self.tunnel("a.test", port, how, self.proxy.client(secure=True))
                self.served(client, f"https://a.test:{origin}")

    def test_absolute_form_in_a_tunnel(self) -> None:
        """There an absolute-form target repeats the URL as the client knows it, or as it is
        served."""
        for named in (b"http://a.test/", b"https://a.test/", b"http://a.test:443/"):
            client = self.tunnel("a.test", 80, client=self.proxy.client(secure=True))
            client.send(ABSOLUTE % named)
            self.assertEqual(str(self.origin.origin), "https://a.test:443")
        client = self.tunnel("a.test", 80, client=self.proxy.client(secure=True))
        client.send(ABSOLUTE % b"http://b.test/")
        self.assertEqual(answer(client.received).status, 400)

    def test_tls(self) -> None:
        """TLS there is nothing special, in a tunnel or not; a tunnel's port stays."""
        client = self.proxy.client(secure=True)
        start_tls(client, "a.test")
        self.served(client, "https://a.test:443")
        for port in (80, 443, 8443):
            client = self.tunnel("a.test", port, client=self.proxy.client(secure=True))
            start_tls(client, "a.test")
            self.served(client, f"https://a.test:{port}")

    def test_never_in_plain(self) -> None:
        """An origin that speaks no TLS is not asked."""
        self.proxy.accepting = False
        for client, asked in (
            (self.proxy.client(secure=True), GET),
            (self.tunnel(client=self.proxy.client(secure=True)), GET),
            (self.proxy.client(secure=True), ABSOLUTE % b"http://a.test/"),
        ):
            client.send(asked)
            peer = self.proxy.connects[-1].accept(plain=True)
            self.assertEqual(peer.received[:1], b"\x16")
            peer.send(OK)
            self.assertEqual(answer(client.received).status, 502)

    def test_shared_with_the_others(self) -> None:
        """Its connections are those of https clients."""
        self.served(self.proxy.tls_client(), "https://a.test:443")
        self.secure(GET, "https://a.test:443")
        self.assertEqual(len(self.proxy.connects), 1)


class SOCKS4Tests(OpeningsTestCase):
    """An opening that is not served."""

    def test_refused(self) -> None:
        """It is told so in its own protocol, at its first byte, and what it still sends does not
        matter."""
        for client in (self.proxy.client(), self.proxy.client(secure=True)):
            [line] = logged(partial(client.send, b"\x04"))
            self.assertEqual(
                line, "client refused: 400 SOCKS4 is not served, only SOCKS5 (socks5h://)"
            )
            self.assertEqual(client.received, b"\x00\x5b" + bytes(6))
            self.assertTrue(client.ended_cleanly)
            client.send(b"\x01\x00\x50\x0a\x00\x00\x01user\x00")
            client.end()
            self.assertTrue(client.closed and not client.aborted)


class AbsoluteFormTests(OpeningsTestCase):
    """Outside of tunnels an absolute-form target decides alone."""

    def test_scheme(self) -> None:
        """Its scheme counts, inside TLS too, where a client may use us as its https proxy."""
        for client in (self.client, self.proxy.tls_client("proxy.test")):
            for scheme, port in (("http", 80), ("https", 443)):
                asked = ABSOLUTE % b"%b://a.test/" % scheme.encode()
                self.served(client, f"{scheme}://a.test:{port}", asked, GET)
                asked = ABSOLUTE % b"%b://a.test:81/" % scheme.encode()
                self.served(client, f"{scheme}://a.test:81", asked, request(host=b"a.test:81"))
