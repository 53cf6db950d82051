"""Probes: they go through the pool like any request, report what happened, and let go."""

from __future__ import annotations

import tempfile
from typing import Any

from twisted.internet.error import DNSLookupError

from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.target import Origin
from fastcar_tw.site.probe import MAX_BODY, Probe
from fastcar_tw.site.probe_target import parse_probe
from fastcar_tw.testing import Connect, Peer
from fastcar_tw.tls.local_ca import LocalCA
from fastcar_tw.tls.server_contexts import ServerContexts
from tests.forward.support import GET, OK, OK_CLOSE, answer, logged, response
from tests.routes.case import RoutesTestCase
from tests.site.support import SiteTestCase, probe_request, site_request

HTTP = "http://a.test/b?c=d&e"
HTTPS = "https://a.test/"
#: Seconds of a probe that takes no time in memory.
AT_ONCE = {"connection": 0.0, "first_byte": 0.0, "total": 0.0}


class ProbeTestCase(SiteTestCase):
    """
    Probes, with answers from the origin.
    """

    def probe(self, url: str = HTTP, answered: bytes = OK) -> dict[str, Any]:
        """Let a probe end well."""
        self.client.send(probe_request(url))
        self.origin.send(answered)
        return self.json()

    def assert_report(self, **expected: Any) -> None:
        """What the client has been told, as far as expected."""
        report = self.json()
        self.assertEqual({name: report[name] for name in expected}, expected)

    def assert_error(self, kind: str, *words: str, **expected: Any) -> None:
        """That the report is of a failure, in these words."""
        report = self.json()
        self.assertEqual(report["error"]["type"], kind)
        for word in words:
            self.assertIn(word, report["error"]["text"])
        self.assertEqual({name: report[name] for name in expected}, expected)

    def counts(self) -> tuple[int, int, int]:
        """Idle and active connections, and waiting requests, in all."""
        total = self.proxy.pool.stats().total
        return total.idle, total.active, total.waiting

    def asked_once(self, peer: Peer | None = None) -> bytes:
        """What an origin has been asked, which is one thing."""
        asked = (peer or self.origin).take()
        self.assertEqual(asked.count(b"\r\n\r\n"), 1)
        return asked


class SuccessTests(ProbeTestCase):
    """Probes that bring a response."""

    def test_http(self) -> None:
        """The whole report of a fresh connection without TLS."""
        self.assertEqual(
            self.probe(),
            {
                "url": HTTP,
                "route": "direct",
                "address": None,
                "tls": None,
                "protocol": "HTTP/1.1",
                "verified": None,
                "reused": False,
                "status": 200,
                "bytes": 2,
                "truncated": False,
                "seconds": AT_ONCE,
                "error": None,
            },
        )

    def test_request(self) -> None:
        """The origin is asked as by any client, and learns nothing of ours."""
        self.client.send(probe_request(HTTP, b"Cookie: hidden", b"X-Hidden: hidden"))
        lines = self.asked_once().split(b"\r\n")
        self.assertEqual(lines[:2], [b"GET /b?c=d&e HTTP/1.1", b"Host: a.test"])
        self.assertTrue(lines[2].startswith(b"User-Agent: fastcar/"), lines)
        self.assertEqual(lines[3:], [b"Accept: */*", b"", b""])

    def test_https(self) -> None:
        """Over TLS the version is told, and that the certificate was verified."""
        report = self.probe(HTTPS)
        told = (report["tls"], report["verified"], report["reused"], report["error"])
        self.assertEqual(told, ("TLSv1.3", True, False, None))

    def test_https_unverified(self) -> None:
        """An origin excepted from verification is told as such."""
        self.start(insecure_origins=("a.test",))
        report = self.probe(HTTPS)
        self.assertEqual((report["tls"], report["verified"]), ("TLSv1.3", False))

    def test_reused(self) -> None:
        """An idle connection is taken, and serves the next client afterwards."""
        self.warm()
        self.assertTrue(self.probe()["reused"])
        self.alive()
        self.assertEqual(len(self.proxy.connects), 1)

    def test_reused_https(self) -> None:
        """TLS and its verification are told of a reused connection too."""
        self.probe(HTTPS)
        report = self.probe(HTTPS)
        told = (report["reused"], report["tls"], report["verified"])
        self.assertEqual(told, (True, "TLSv1.3", True))

    def test_given_back(self) -> None:
        """The connection goes back to the pool as after any exchange."""
        self.probe()
        self.assertEqual(self.counts(), (1, 0, 0))
        self.exchange()
        self.assertEqual(len(self.proxy.connects), 1)

    def test_closed_by_origin(self) -> None:
        """An origin that closes is believed."""
        self.probe(answered=OK_CLOSE)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_any_status(self) -> None:
        """Redirects are not followed; errors are responses."""
        for status in (b"204 No Content", b"302 Found", b"404 Not Found", b"503 Unavailable"):
            answered = response(status, b"Location: http://b.test/", b"Content-Length: 0")
            if status.startswith(b"204"):
                answered = response(status)
            report = self.probe(answered=answered)
            told = (report["status"], report["bytes"], report["error"])
            self.assertEqual(told, (int(status[:3]), 0, None))
        self.assertEqual(len(self.proxy.connects), 1)

    def test_interim(self) -> None:
        """Interim responses are passed over."""
        report = self.probe(answered=b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        self.assertEqual((report["status"], report["error"]), (200, None))

    def test_chunked(self) -> None:
        """The bytes are those of the content, not of its coding."""
        body = b"3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
        report = self.probe(answered=response(b"200 OK", b"Transfer-Encoding: chunked", body=body))
        self.assertEqual(report["bytes"], 5)

    def test_until_close(self) -> None:
        """A body without a length ends with its connection."""
        self.client.send(probe_request(HTTP))
        self.origin.send(response(b"200 OK", body=b"abcd"))
        self.assertEqual(self.client.take(), b"")
        self.origin.close()
        self.assert_report(status=200, bytes=4, error=None)

    def test_head(self) -> None:
        """HEAD makes the same probe and leaves the report out."""
        asked = probe_request(HTTP).replace(b"GET ", b"HEAD ", 1)
        self.client.send(asked)
        self.assertTrue(self.origin.take().startswith(b"GET "))
        self.origin.send(OK)
        status, fields, body = answer(self.client.take())
        self.assertEqual((status, body), (200, b""))
        self.assertGreater(int(fields[b"content-length"]), 100)

    def test_kept_alive(self) -> None:
        """The client's connection serves further requests."""
        self.probe()
        self.probe()
        self.ask()
        self.exchange()

    def test_on_https_socket(self) -> None:
        """A URL says what it means: http stays http, where plain requests become https."""
        self.client = self.proxy.client(secure=True)
        self.probe()
        self.assertEqual(self.proxy.connects[0].origin.scheme, "http")

    def test_407_of_origin(self) -> None:
        """An origin's own 407 is a response like any other."""
        report = self.probe(answered=response(b"407 Auth", b"Content-Length: 0"))
        self.assertEqual((report["status"], report["error"]), (407, None))

    def test_same_connections(self) -> None:
        """Probe and requests share the connections of one origin."""
        self.probe()
        self.client.send(GET)
        self.assertEqual(self.proxy.connects[0].origin, Origin("http", "a.test", 80))
        self.assertEqual(len(self.proxy.connects), 1)


class BoundTests(ProbeTestCase):
    """How much of a body is read."""

    def test_all(self) -> None:
        """A body that is just not too long is read to its end, and the connection kept."""
        head = response(b"200 OK", b"Content-Length: %d" % MAX_BODY)
        report = self.probe(answered=head + bytes(MAX_BODY))
        self.assertEqual((report["bytes"], report["truncated"]), (MAX_BODY, False))
        self.assertEqual(self.counts(), (1, 0, 0))

    def test_truncated(self) -> None:
        """A longer one is broken off, which is no error; the connection is of no more use."""
        for framing in (b"Content-Length: 1000000000000", b"Transfer-Encoding: chunked"):
            self.client.send(probe_request(HTTP))
            self.origin.send(response(b"200 OK", framing, body=b"7fffffff\r\n" + bytes(MAX_BODY)))
            self.origin.send(bytes(65536))
            report = self.json()
            told = (report["status"], report["truncated"], report["error"])
            self.assertEqual(told, (200, True, None))
            self.assertLess(report["bytes"], MAX_BODY + 2 * 65536)
            self.assertTrue(self.origin.aborted)
            self.assertEqual(self.counts(), (0, 0, 0))
        self.exchange()


class TimingTests(ProbeTestCase):
    """Times are in seconds from the beginning."""

    def test_steps(self) -> None:
        """Until there was a connection, until the response began, until it ended."""
        self.proxy.accepting = False
        self.client.send(probe_request(HTTP))
        self.proxy.elapse(0.1234)
        self.proxy.connects[0].accept()
        self.proxy.elapse(1)
        self.origin.send(response(b"200 OK", b"Content-Length: 2"))
        self.proxy.elapse(2)
        self.origin.send(b"hi")
        self.assert_report(seconds={"connection": 0.123, "first_byte": 1.123, "total": 3.123})

    def test_reused(self) -> None:
        """A connection that is there takes no time to get."""
        self.warm()
        self.client.send(probe_request(HTTP))
        self.proxy.elapse(0.5)
        self.origin.send(OK)
        self.assert_report(seconds={"connection": 0.0, "first_byte": 0.5, "total": 0.5})

    def test_failed(self) -> None:
        """What was not reached has no time."""
        self.proxy.accepting = False
        self.client.send(probe_request(HTTP))
        self.proxy.elapse(2)
        self.proxy.connects[0].refuse()
        self.assert_report(seconds={"connection": None, "first_byte": None, "total": 2.0})


class FailureTests(ProbeTestCase):
    """A failed probe is a good answer: 200, with the error type of RFC 9209 and why."""

    def refuse(self, url: str, reason: Exception | None = None) -> None:
        """Let the attempt to connect fail."""
        self.proxy.accepting = False
        self.client.send(probe_request(url))
        self.proxy.connects[-1].refuse(reason)

    def test_refused(self) -> None:
        """A refused connection."""
        self.refuse(HTTP)
        nothing: dict[str, Any] = {"tls": None, "verified": None, "reused": None, "status": None}
        self.assert_error("connection_refused", "http://a.test:80", "refused", url=HTTP, **nothing)

    def test_no_such_name(self) -> None:
        """A name without an address."""
        self.refuse(HTTPS, DNSLookupError("a.test"))
        self.assert_error("dns_error", "https://a.test:443", "look-up failed")

    def test_untrusted(self) -> None:
        """A certificate of a CA that is not trusted: nothing was verified, and nothing asked."""
        with tempfile.TemporaryDirectory() as folder:
            contexts = ServerContexts.from_ca(LocalCA.load_or_create(folder))
        self.proxy.accepting = False
        self.client.send(probe_request(HTTPS))
        origin = self.proxy.connects[0].accept(contexts.server())
        self.assertEqual(origin.take(), b"")
        self.assert_error("tls_certificate_error", "https://a.test:443", tls=None, verified=None)

    def test_no_tls(self) -> None:
        """An https origin that does not speak TLS."""
        self.proxy.accepting = False
        self.client.send(probe_request(HTTPS))
        self.proxy.connects[0].accept(plain=True).send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assert_error("tls_protocol_error", "https://a.test:443", tls=None, verified=None)

    def test_connect_timeout(self) -> None:
        """Connecting has its own limit."""
        self.proxy.accepting = False
        self.client.send(probe_request(HTTP))
        self.proxy.elapse(11)
        self.assert_error("connection_timeout", "too long")
        self.assertTrue(self.proxy.connects[0].cancelled)

    def test_failing_fast(self) -> None:
        """An origin that is left alone is not asked: the answer says why, at once."""
        self.start(fail_fast_after=1)
        self.refuse(HTTP)
        self.json()
        self.client.send(probe_request(HTTP))
        self.assert_error("destination_unavailable", "not tried again yet", "refused")

    def test_closed(self) -> None:
        """A fresh connection that ends before the response is not tried again."""
        self.client.send(probe_request(HTTP))
        self.origin.close()
        self.assert_error("connection_terminated", reused=False, status=None)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_incomplete(self) -> None:
        """A response that breaks off is told with what there was of it."""
        self.client.send(probe_request(HTTP))
        self.origin.send(response(b"200 OK", b"Content-Length: 5", body=b"abc"))
        self.origin.close()
        self.assert_error("http_response_incomplete", status=200, bytes=3, truncated=False)

    def test_no_http(self) -> None:
        """A response that is none."""
        self.client.send(probe_request(HTTP))
        self.origin.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        self.assert_error("http_protocol_error", "invalid status line", status=None)

    def test_switched(self) -> None:
        """An origin that switches protocols unasked is not followed."""
        self.client.send(probe_request(HTTP))
        self.origin.send(response(b"101 Switching", b"Connection: upgrade", b"Upgrade: x"))
        self.assert_error("http_upgrade_failed", "unasked", status=101)
        self.assertTrue(self.origin.aborted)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_next_probe(self) -> None:
        """After a failure the client's connection goes on."""
        self.refuse(HTTP)
        self.json()
        self.proxy.accepting = True
        self.assertEqual(self.probe()["status"], 200)


class AgainTests(ProbeTestCase):
    """A connection that has served before may have been closed just then."""

    def test_closed(self) -> None:
        """Then the probe is made on a new one, and reports that."""
        old = self.warm()
        self.client.send(probe_request(HTTP))
        old.close()
        self.assertTrue(self.asked_once().startswith(b"GET /b?c=d&e "))
        self.origin.send(OK)
        self.assert_report(status=200, reused=False, error=None)

    def test_once(self) -> None:
        """When that fails too, it has failed."""
        old = self.warm()
        self.client.send(probe_request(HTTP))
        old.close()
        self.origin.close()
        self.assert_error("connection_terminated", reused=False)
        self.assertEqual(len(self.proxy.connects), 2)

    def vanish(self, connect: Connect) -> None:
        """Let a connection be opened whose origin is gone before anything is written to it."""
        protocol = connect._factory.buildProtocol(None)  # type: ignore[arg-type]
        Peer(self.proxy.reactor, protocol, origin=connect.origin)._socket.close()
        self.proxy.reactor.peers.pop()
        connect._result.callback(protocol)
        self.proxy.reactor.settle()

    def test_never_sent(self) -> None:
        """A fresh one that has taken nothing of the request is no different."""
        self.proxy.accepting = False
        self.client.send(probe_request(HTTP))
        for number in range(2):
            self.assertEqual(len(self.proxy.connects), number + 1)
            self.vanish(self.proxy.connects[number])
        self.assert_error("connection_terminated", reused=False)
        self.assertEqual(len(self.proxy.connects), 2)

    def test_new(self) -> None:
        """A new one it is, though another idle one is there."""
        other = self.proxy.client()
        self.client.send(GET)
        other.send(GET)
        for origin in self.proxy.origins:
            origin.take()
            origin.send(OK)
        self.client.take()
        self.client.send(probe_request(HTTP))
        [used] = [origin for origin in self.proxy.origins if origin.received]
        used.close()
        self.assertEqual(len(self.proxy.connects), 3)
        self.origin.send(OK)
        self.assert_report(status=200, reused=False)

    def test_after_an_answer(self) -> None:
        """Not when a response has begun: that is what there is to tell."""
        old = self.warm()
        self.client.send(probe_request(HTTP))
        old.send(b"HTTP/1.1 200 OK\r\nContent-")
        old.close()
        self.assert_error("connection_terminated", "in the middle", reused=True)
        self.assertEqual(len(self.proxy.connects), 1)

    def test_no_new_one(self) -> None:
        """Nor is anything left in the pool when there is no new connection."""
        old = self.warm()
        self.proxy.accepting = False
        self.client.send(probe_request(HTTP))
        old.close()
        self.proxy.connects[-1].refuse()
        self.assert_error("connection_refused")
        self.assertEqual(self.counts(), (0, 0, 0))


class TimeoutTests(ProbeTestCase):
    """A probe as a whole has --response-timeout."""

    def test_no_response(self) -> None:
        """An origin that says nothing."""
        self.start(response_timeout=5.0)
        self.client.send(probe_request(HTTP))
        self.proxy.elapse(4.5)
        self.assertEqual(self.client.received, b"")
        self.proxy.elapse(2)
        self.assert_error("http_response_timeout", "http://a.test:80", status=None, reused=False)
        self.assertTrue(self.origin.aborted)
        self.alive()

    def test_dribble(self) -> None:
        """One that says its body byte by byte does not hold it up for ever."""
        self.start(response_timeout=5.0)
        self.client.send(probe_request(HTTP))
        self.origin.send(response(b"200 OK", b"Content-Length: 1000"))
        for _ in range(7):
            self.origin.send(b"x")
            self.proxy.elapse(1)
        self.assert_error("http_response_timeout", status=200)
        self.assertTrue(self.origin.aborted)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_no_connection(self) -> None:
        """Waiting for a connection is part of it; whoever comes next gets that one."""
        self.start(response_timeout=5.0, connect_timeout=60.0)
        self.proxy.accepting = False
        self.client.send(probe_request(HTTP))
        self.proxy.elapse(7)
        self.assert_error("connection_timeout", "http://a.test:80", reused=None)
        self.assertEqual(self.counts()[2], 0)
        self.proxy.connects[0].accept()
        self.assertEqual(self.origin.take(), b"")
        self.assertEqual(self.counts(), (1, 0, 0))


class GoneTests(ProbeTestCase):
    """When the client goes, all is let go of."""

    def test_while_connecting(self) -> None:
        """Nothing is asked on a connection that comes too late."""
        self.proxy.accepting = False
        self.client.send(probe_request(HTTP))
        self.client.close()
        self.assertEqual(self.counts()[2], 0)
        self.proxy.connects[0].accept()
        self.assertEqual(self.origin.take(), b"")
        self.assertEqual(self.counts(), (1, 0, 0))

    def test_before_response(self) -> None:
        """The origin's connection is ended."""
        self.client.send(probe_request(HTTP))
        self.client.close()
        self.assertTrue(self.origin.aborted)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_during_body(self) -> None:
        """So it is in the middle of a response."""
        self.client.send(probe_request(HTTP))
        self.origin.send(response(b"200 OK", b"Content-Length: 9", body=b"abc"))
        self.client.close()
        self.assertTrue(self.origin.aborted)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_while_sent_again(self) -> None:
        """And when it is waiting for a new connection."""
        old = self.warm()
        self.proxy.accepting = False
        self.client.send(probe_request(HTTP))
        old.close()
        self.assertEqual(self.counts()[2], 1)
        self.client.close()
        self.assertEqual(self.counts()[2], 0)
        self.proxy.connects[-1].accept()
        self.assertEqual(self.origin.take(), b"")

    def test_too_late(self) -> None:
        """What the pool had decided before is not reported any more, and a connection not kept."""
        reports: list[dict[str, Any]] = []
        pool = self.proxy.pool
        target = parse_probe(b"url=http://a.test/", self.proxy.forwarder.origin)
        probe = Probe(self.proxy.forwarder, target, reports.append)
        probe.cancel()
        connecting = pool.getConnection(target.origin, self.proxy._endpoint_for(target.origin))
        self.proxy.reactor.settle()
        probe.connected(self.successResultOf(connecting))
        probe.connect_failed(GatewayError(503, "destination_unavailable", "too late"))
        self.assertEqual((reports, self.origin.take(), self.counts()), ([], b"", (1, 0, 0)))

    def test_stopping(self) -> None:
        """A fastcar that stops lets the probe end, and its client's connection with it."""
        self.client.send(probe_request(HTTP))
        drained = self.proxy.forwarder.drain()
        self.assertNoResult(drained)
        self.origin.send(OK)
        self.assertEqual(answer(self.client.take()).fields[b"connection"], b"close")
        self.successResultOf(drained)


class RefusalTests(ProbeTestCase):
    """What is not probed."""

    def test_bad_url(self) -> None:
        """A missing or unusable URL is the client's mistake; the connection goes on."""
        for target in (b"/probe", b"/probe?", b"/probe?url=", b"/probe?url=ftp://a.test/"):
            self.client.send(site_request(target))
            status, fields, _ = answer(self.client.take())
            self.assertEqual((status, b"connection" in fields), (400, False))
        self.assertEqual(self.proxy.connects, [])

    def test_itself(self) -> None:
        """fastcar itself is not probed, however it is spelt."""
        for host in ("fastcar.localhost", "FastCar.localhost:8080", "fastcar.localhost."):
            for scheme in ("http", "https"):
                self.client.send(probe_request(f"{scheme}://{host}/probe"))
                self.assertEqual(answer(self.client.take()).status, 400)
        self.assertEqual(self.proxy.connects, [])

    def test_cross_site(self) -> None:
        """The page of another site does not get a browser to have things fetched (TCP)."""
        for site in (b"cross-site", b"same-site", b""):
            self.client.send(probe_request(HTTP, b"Sec-Fetch-Site: " + site))
            self.assertEqual(answer(self.client.take()).status, 403)
        self.assertEqual(self.proxy.connects, [])

    def test_same_site(self) -> None:
        """What a person has typed in is fetched."""
        for site in (b"none", b"same-origin"):
            self.client.send(probe_request(HTTP, b"sec-fetch-site:" + site + b" "))
            self.origin.send(OK)
            self.assert_report(status=200)

    def test_cross_origin(self) -> None:
        """An old browser says whose page it is, if anything: one field of another is enough."""
        ours = b"Origin: http://fastcar.localhost"
        for fields in (
            (b"Origin: http://evil.test",),
            (b"Origin: null",),
            (b"Origin:",),
            (b"origin: http://fastcar.localhost.evil.test",),
            (b"Origin: http://x.fastcar.localhost",),
            (b"Origin: http://fastcarXlocalhost",),
            (b"Origin: ftp://fastcar.localhost",),
            (ours, b"Origin: http://evil.test"),
            (ours, b"Sec-Fetch-Site: cross-site"),
            (b"Sec-Fetch-Site: none", b"Origin: http://evil.test"),
        ):
            self.client.send(probe_request(HTTP, *fields))
            self.assertEqual((fields, answer(self.client.take()).status), (fields, 403))
        self.assertEqual(self.proxy.connects, [])

    def test_same_origin(self) -> None:
        """A page of ours would be no other site's, however it was reached."""
        for ours in (b"http://fastcar.localhost", b"https://fastcar.localhost.:8080"):
            self.client.send(probe_request(HTTP, b"Origin: " + ours))
            self.origin.send(OK)
            self.assert_report(status=200)


class LogTests(ProbeTestCase):
    """The log has a probe as it has an exchange, with nothing of the URL but the origin."""

    def test_success(self) -> None:
        """With --verbose a probe that brings a response is a line; its time is in it."""
        self.start(verbose=True)
        self.client.send(probe_request("https://a.test/hidden?hidden"))
        self.proxy.elapse(0.25)
        lines = logged(lambda: self.origin.send(OK))
        self.assertEqual(lines, ["probe of https://a.test:443: 200 after 0.250 s"])

    def test_silent(self) -> None:
        """Without it, it is none."""
        self.assertEqual(logged(self.probe), [])

    def test_failure(self) -> None:
        """One that fails always is."""
        self.client.send(probe_request("http://a.test/hidden?hidden"))
        self.proxy.elapse(0.25)
        [line] = logged(self.origin.close)
        self.assertEqual(
            line,
            "probe of http://a.test:80: connection_terminated (502): "
            "http://a.test:80 closed the connection before its response after 0.250 s",
        )

    def test_gone(self) -> None:
        """One whose client has gone is not, as with exchanges."""
        self.start(verbose=True)
        self.client.send(probe_request(HTTP))
        self.assertEqual(logged(self.client.close), [])


class RouteTests(RoutesTestCase, ProbeTestCase):
    """Probes go by the routes that requests go by; the report names no credentials."""

    def test_http(self) -> None:
        """An HTTP proxy is asked for http origins in absolute-form, with its credentials."""
        self.start(url="http://me:hidden@p.test:3128")
        self.client.send(probe_request(HTTP))
        asked = self.asked_once()
        self.assertTrue(asked.startswith(b"GET http://a.test/b?c=d&e HTTP/1.1\r\n"), asked)
        self.assertIn(b"Proxy-Authorization: Basic ", asked)
        self.origin.send(OK)
        self.assertNotIn(b"hidden", self.client.received)
        self.assert_report(route="http://p.test:3128", status=200, tls=None, verified=None)

    def test_secure_proxy(self) -> None:
        """TLS with the proxy is not told as TLS with the origin."""
        self.start(url="https://p.test")
        self.client.send(probe_request(HTTP))
        self.origin.send(OK)
        self.assert_report(route="https://p.test:443", status=200, tls=None, verified=None)

    def test_https(self) -> None:
        """For an https origin a tunnel is opened, and TLS is the origin's."""
        self.client.send(probe_request(HTTPS))
        self.assertTrue(self.origin.received.startswith(b"CONNECT a.test:443 "))
        self.open_tunnel().send(OK)
        self.assert_report(route="http://p.test:3128", status=200, tls="TLSv1.3", verified=True)

    def test_socks5(self) -> None:
        """So it is through SOCKS5."""
        self.start(url="socks5h://p.test")
        self.client.send(probe_request(HTTP))
        self.open_tunnel(tls=False).send(OK)
        self.assert_report(route="socks5h://p.test:1080", status=200)

    def test_no_proxy(self) -> None:
        """Who needs no proxy is reached directly."""
        self.client.send(probe_request("http://direct.test/"))
        self.origin.send(OK)
        self.assert_report(route="direct", status=200)

    def test_407_through_tunnel(self) -> None:
        """Through a tunnel it is the origin that speaks, whatever it says."""
        self.client.send(probe_request(HTTPS))
        self.open_tunnel().send(response(b"407 Auth", b"Content-Length: 0"))
        self.assert_report(status=407, error=None)

    def test_credentials_wanted(self) -> None:
        """A proxy that lets nobody through is the error it is for any request."""
        self.client.send(probe_request(HTTP))
        self.origin.send(response(b"407 Auth", b"Content-Length: 0"))
        self.assert_error("proxy_configuration_error", "wants credentials", status=407)
        self.assertTrue(self.origin.aborted)
