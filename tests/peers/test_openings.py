"""Whatever opening a client knows, on whatever listener: curl's own, and openings by hand."""

from __future__ import annotations

import os
import ssl
import subprocess
from queue import Queue

from tests.peers.certificates import Authority
from tests.peers.clients import Answer
from tests.peers.ntlm import PASSWORD, USER
from tests.peers.openings import (
    CONNECTED,
    OK,
    OpenFastcar,
    OpeningsTestCase,
    connect_request,
    inside_tls,
    local,
    run_curl,
    socks5_request,
)
from tests.peers.processes import LIMIT, require
from tests.peers.sockets import Message, Peer, RawOrigin, answering, echo
from tests.peers.test_connection_auth import Gatekeeper

#: curl's error numbers for a server certificate that it does not trust, and for a handshake that
#: failed for whatever reason.
PEER_FAILED_VERIFICATION, TLS_CONNECT_ERROR = 60, 35
#: curl processes that share one connection to the origin.
PROCESSES = 4


class PlainTests(OpeningsTestCase):
    """Origin-form on the UNIX socket; the other openings are below, with the same tests."""

    #: Of the origin.
    scheme = "http"

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        """What curl is told."""
        return ("--unix-socket", fastcar.socket)

    def url(self, origin: RawOrigin, path: str = "/") -> str:
        """What curl is asked for."""
        return local(origin, path)

    def fetch(
        self, origin: RawOrigin, *arguments: str, data: bytes = b"", path: str = "/"
    ) -> Answer:
        """curl, which verifies whatever certificate it sees."""
        options = self.options(self.fastcar, origin)
        ca = () if "--cacert" in arguments else ("--cacert", self.fastcar.ca_file)
        return run_curl(self.url(origin, path), *ca, *options, *arguments, data=data)

    def test_shared_connection(self) -> None:
        """Many curl processes share one connection, and the origin cannot tell how they came."""
        requests: Queue[Message] = Queue()
        origin = self.origin(answering(OK, requests), self.scheme)
        for _ in range(PROCESSES):
            answer = self.fetch(origin, "-A", "me", path="/a?b=c")
            self.assertEqual(
                (answer.exit_status, answer.status, answer.body), (0, 200, b"ok"), answer
            )
        self.assertEqual((origin.accepted, requests.qsize()), (1, PROCESSES))
        expected = f"GET /a?b=c HTTP/1.1\r\nHost: localhost:{origin.port}\r\n"
        expected += "User-Agent: me\r\nAccept: */*\r\n\r\n"
        self.assertEqual(requests.get_nowait().head.decode(), expected)

    def test_credentials(self) -> None:
        """Credentials for the proxy end here, those for the origin go on."""
        requests: Queue[Message] = Queue()
        origin = self.origin(answering(OK, requests), self.scheme)
        answer = self.fetch(origin, "--proxy-user", "me:word", "-u", "someone:else")
        self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        request = requests.get_nowait()
        self.assertEqual(request.values(b"proxy-authorization"), [])
        self.assertEqual(request.values(b"authorization"), [b"Basic c29tZW9uZTplbHNl"])

    def test_large_body(self) -> None:
        """A megabyte goes there and back."""
        content = os.urandom(1 << 20)
        origin = self.origin(echo, self.scheme)
        answer = self.fetch(origin, "--data-binary", "@-", data=content)
        self.assertEqual((answer.exit_status, answer.status), (0, 200), answer.error)
        self.assertEqual(answer.body, content)

    def test_kept_connection(self) -> None:
        """One curl needs one connection to fastcar for several requests."""
        origin = self.origin(answering(OK), self.scheme)
        answer = self.fetch(origin, "-w", "%{num_connects}", self.url(origin))
        self.assertTrue(answer.body.startswith(b"ok1"), answer)
        self.assertTrue(answer.body.endswith(b"ok0"), answer)
        self.assertEqual(origin.accepted, 1)

    def test_refused_origin(self) -> None:
        """An origin that refuses connections is a 502 that says so."""
        origin = self.origin(answering(OK), self.scheme)
        origin.close()
        answer = self.fetch(origin)
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)
        self.assertEqual(answer.proxy_error, "connection_refused", answer)


class TLSTests(PlainTests):
    """TLS on the UNIX socket: both connections are verified."""

    scheme = "https"

    def test_untrusted_origin(self) -> None:
        """An origin with a certificate from nowhere is a 502, and gets no byte of the request."""
        stranger = Authority(self.folder(), "stranger").issue("localhost", "127.0.0.1")
        origin = self.own(RawOrigin(answering(OK), stranger.server_context()))
        answer = self.fetch(origin)
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)
        self.assertEqual(answer.proxy_error, "tls_certificate_error", answer)
        self.assertIn("unknown ca", origin.refusals.get(timeout=LIMIT))

    def test_other_name(self) -> None:
        """So is one whose certificate is for another name."""
        other = self.shared.authority.issue("other.test")
        origin = self.own(RawOrigin(answering(OK), other.server_context()))
        answer = self.fetch(origin)
        self.assertEqual(
            (answer.status, answer.proxy_error), (502, "tls_certificate_error"), answer
        )


class VerifiedTLSTests(TLSTests):
    """The same, where curl sees a certificate of fastcar's."""

    wrong_ca = PEER_FAILED_VERIFICATION

    def test_wrong_ca(self) -> None:
        """A curl with another CA fails, and the origin does not hear of it."""
        origin = self.origin(answering(OK), self.scheme)
        answer = self.fetch(origin, "--cacert", self.shared.authority.file)
        self.assertEqual(answer.exit_status, self.wrong_ca, answer)
        self.fastcar.logs("client TLS failed: .*unknown ca")
        self.assertEqual(origin.accepted, 0)


class TLSOnHTTPSSocketTests(VerifiedTLSTests):
    """TLS on the socket for https."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--unix-socket", fastcar.https_socket)


class PlainOnTCPTests(PlainTests):
    """Origin-form on a TCP listener."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--connect-to", f"::127.0.0.1:{fastcar.port}")


class TLSOnTCPTests(PlainOnTCPTests, VerifiedTLSTests):
    """TLS on a TCP listener."""


class AbsoluteFormTests(PlainTests):
    """Absolute-form, which curl sends to a proxy for http://."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--proxy", f"http://127.0.0.1:{fastcar.port}")


class ConnectTests(AbsoluteFormTests, VerifiedTLSTests):
    """CONNECT, which it sends for https://."""


class ProxyTunnelTests(PlainTests):
    """CONNECT for http:// as well."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--proxytunnel", "--proxy", f"http://127.0.0.1:{fastcar.port}")


class Connect10Tests(PlainTests):
    """CONNECT in HTTP/1.0."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--proxytunnel", "--proxy1.0", f"127.0.0.1:{fastcar.port}")


class HTTPSProxyTests(PlainTests):
    """An https proxy: absolute-form inside of TLS."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        proxy = f"https://localhost:{fastcar.port}"
        return ("--proxy", proxy, "--proxy-cacert", fastcar.ca_file)


class ConnectInsideTLSTests(HTTPSProxyTests, VerifiedTLSTests):
    """CONNECT inside of TLS, and TLS again inside of that."""

    # Here curl loses the reason, which it has told fastcar.
    wrong_ca = TLS_CONNECT_ERROR

    def test_wrong_proxy_ca(self) -> None:
        """A curl that trusts another CA for the proxy does not even ask."""
        origin = self.origin(answering(OK), self.scheme)
        answer = self.fetch(origin, "--proxy-cacert", self.shared.authority.file)
        self.assertEqual(answer.exit_status, PEER_FAILED_VERIFICATION, answer)
        self.assertEqual(origin.accepted, 0)


class ProxyTunnelInsideTLSTests(HTTPSProxyTests):
    """CONNECT inside of TLS, and nothing inside of that."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--proxytunnel", *super().options(fastcar, origin))


class SOCKSByNameTests(PlainTests):
    """SOCKS5 on a TCP listener, with a name."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--socks5-hostname", f"127.0.0.1:{fastcar.port}")


class SOCKSByNameTLSTests(SOCKSByNameTests, VerifiedTLSTests):
    """And TLS inside of that."""


class SOCKSByAddressTests(PlainTests):
    """SOCKS5 with the address that curl has looked up."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        here = f"localhost:{origin.port}:127.0.0.1"
        return ("--resolve", here, "--socks5", f"127.0.0.1:{fastcar.port}")


class SOCKSByAddressTLSTests(SOCKSByAddressTests, VerifiedTLSTests):
    """And TLS inside of that, with the name that the certificates are for."""


class SOCKSOnUNIXTests(PlainTests):
    """SOCKS5 on the UNIX socket."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--proxy", f"socks5h://localhost{fastcar.socket}")


class SOCKSOnUNIXTLSTests(SOCKSOnUNIXTests, VerifiedTLSTests):
    """And TLS inside of that."""


class SOCKSOnHTTPSSocketTests(VerifiedTLSTests):
    """SOCKS5 on the socket for https, and TLS inside of that."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--proxy", f"socks5h://localhost{fastcar.https_socket}")


class PlainForHTTPSTests(TLSTests):
    """Plain HTTP on the socket for https: the origin is verified, and curl needs no CA."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--unix-socket", fastcar.https_socket, "--cacert", os.devnull)

    def url(self, origin: RawOrigin, path: str = "/") -> str:
        return f"http://localhost:{origin.port}{path}"

    def test_redirect_to_https(self) -> None:
        """A redirect to https:// works on the same socket, verified again."""
        target = self.origin(answering(OK), "https")
        head = f"HTTP/1.1 302 Found\r\nLocation: {local(target)}\r\nContent-Length: 0\r\n\r\n"
        origin = self.origin(answering(head.encode()), "https")
        refused = (self.shared.authority.file, PEER_FAILED_VERIFICATION)
        for ca, status in ((self.fastcar.ca_file, 0), refused):
            options = ("--unix-socket", self.fastcar.https_socket, "--cacert", ca)
            answer = run_curl(self.url(origin), "--location", *options)
            self.assertEqual(answer.exit_status, status, answer)
        self.assertEqual((origin.accepted, target.accepted), (1, 1))

    def test_default_port(self) -> None:
        """Without a port, and with 80, it is 443 where the request goes."""
        proxy = self.origin(answering(OK.replace(b"200 OK", b"403 No")))
        fastcar = self.start_open("--proxy", f"http://{proxy.authority}", "--verbose")
        for url in ("http://origin.test/", "http://origin.test:80/", "http://origin.test:443/"):
            run_curl(url, "--unix-socket", fastcar.https_socket)
        self.assertEqual(fastcar.output.count("GET https://origin.test:443"), 3, fastcar.output)

    def test_plain_origin(self) -> None:
        """An origin without TLS is a 502: nothing is sent to it in plain."""
        requests: Queue[bytes] = Queue()
        origin = self.origin(lambda peer: requests.put(peer.read(1)))
        answer = self.fetch(origin)
        self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)
        self.assertEqual(requests.get(timeout=LIMIT), b"\x16")


class SOCKSForHTTPSTests(PlainForHTTPSTests):
    """The same in a tunnel."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--proxy", f"socks5h://localhost{fastcar.https_socket}", "--cacert", os.devnull)


class AbsoluteHTTPSTests(TLSTests):
    """`GET https://...` in plain on the UNIX socket: TLS goes on to the origin."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--unix-socket", fastcar.socket)

    def url(self, origin: RawOrigin, path: str = "/") -> str:
        return f"http://localhost:{origin.port}{path}"

    def fetch(
        self, origin: RawOrigin, *arguments: str, data: bytes = b"", path: str = "/"
    ) -> Answer:
        target = ("--request-target", local(origin, path))
        return super().fetch(origin, *target, *arguments, data=data, path=path)


class AbsoluteHTTPSOnTCPTests(AbsoluteHTTPSTests):
    """And on a TCP listener."""

    def options(self, fastcar: OpenFastcar, origin: RawOrigin) -> tuple[str, ...]:
        return ("--connect-to", f"::127.0.0.1:{fastcar.port}")


class EveryDoorTests(OpeningsTestCase):
    """Tunnels opened by hand, on every listener."""

    def test_pooled(self) -> None:
        """CONNECT, without a field and in HTTP/1.0 too, and SOCKS5: one connection for all."""
        for scheme in ("http", "https"):
            origin = self.origin(answering(OK), scheme)
            for opening in ("connect", "connect 1.0", "socks5"):
                for door in self.fastcar.doors:
                    if scheme == "http" and door == self.fastcar.https_socket:
                        continue
                    peer = self.tunnel(opening, door, "localhost", origin.port)
                    if scheme == "https":
                        peer = inside_tls(peer, self.fastcar.ca_file, "localhost")
                        self.addCleanup(peer.close)
                    for _ in range(2):
                        peer.send(b"GET / HTTP/1.1\r\nHost: any.test\r\n\r\n")
                        self.assertEqual(peer.read_message().body, b"ok")
            self.assertEqual(origin.accepted, 1)

    def test_host_unchanged(self) -> None:
        """The tunnel's target is where it goes; Host is the client's affair."""
        requests: Queue[Message] = Queue()
        origin = self.origin(answering(OK, requests))
        peer = self.tunnel("connect", self.fastcar.port, "localhost", origin.port)
        peer.send(b"GET / HTTP/1.1\r\nHost: other.test:81\r\n\r\n")
        self.assertEqual(peer.read_message().body, b"ok")
        self.assertEqual(requests.get_nowait().values(b"host"), [b"other.test:81"])

    def test_misdirected(self) -> None:
        """In a tunnel absolute-form may repeat where that leads to, and say nothing else."""
        origin = self.origin(answering(OK))
        for url, status in ((local(origin), b"200"), ("http://localhost:1/", b"400")):
            peer = self.tunnel("socks5", self.fastcar.port, "localhost", origin.port)
            peer.send(f"GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
            self.assertEqual(peer.read_message().start_line[9:12], status)

    def test_byte_by_byte(self) -> None:
        """Openings may come in pieces of any size."""
        origin = self.origin(answering(OK))
        request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
        target = f"localhost:{origin.port}"
        for opening in (connect_request(target), socks5_request("localhost", origin.port)):
            for door in (self.fastcar.port, self.fastcar.socket):
                peer = self.dial_door(door)
                for number in opening + request:
                    peer.send(bytes([number]))
                peer.read_through(b"\r\n\r\nok" if opening[0] == 5 else CONNECTED)

    def test_all_at_once(self) -> None:
        """What follows an opening may come with it, a TLS handshake too; and the client may stop
        sending behind its request."""
        origin = self.origin(answering(OK))
        request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        target = f"localhost:{origin.port}"
        for opening in (connect_request(target), socks5_request("localhost", origin.port)):
            for door in (self.fastcar.port, self.fastcar.socket):
                peer = self.dial_door(door, opening + request)
                peer.end_output()
                self.assertTrue(peer.read_to_end().endswith(b"\r\n\r\nok"))

    def test_eager_handshake(self) -> None:
        """A TLS client that does not wait for the tunnel to be granted gets what it wants."""
        origin = self.origin(answering(OK), "https")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=self.fastcar.ca_file)
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        opening = connect_request(f"localhost:{origin.port}")
        peer = self.dial_door(self.fastcar.port, opening + outgoing.read())
        self.assertEqual(peer.read(len(CONNECTED)), CONNECTED)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                peer.send(outgoing.read())
                incoming.write(peer.read(1))
        self.assertEqual(tls.version(), "TLSv1.3")

    def test_tunnel_after_request(self) -> None:
        """A connection that has carried requests may become a tunnel."""
        origin = self.origin(answering(OK))
        request = f"GET {local(origin)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        opening = connect_request(f"localhost:{origin.port}")
        peer = self.dial_door(self.fastcar.port, request + opening + request)
        peer.read_through(b"\r\n\r\nok" + CONNECTED)
        self.assertEqual(peer.read_message().body, b"ok")

    def test_upgrade_in_tunnel(self) -> None:
        """A WebSocket in a tunnel is one for the origin."""

        def script(origin: Peer) -> None:
            origin.read_head()
            origin.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n")
            origin.send(b"Upgrade: websocket\r\n\r\n")
            origin.send(origin.read(4)[::-1])

        for scheme in ("http", "https"):
            origin = self.origin(script, scheme)
            peer = self.tunnel("connect", self.fastcar.port, "localhost", origin.port)
            if scheme == "https":
                peer = inside_tls(peer, self.fastcar.ca_file, "localhost")
                self.addCleanup(peer.close)
            peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n")
            peer.send(b"Upgrade: websocket\r\n\r\n")
            self.assertIn(b" 101 ", peer.read_head())
            peer.send(b"ping")
            self.assertEqual(peer.read(4), b"gnip")

    def test_authenticated_connection(self) -> None:
        """A connection that a client has authenticated in a tunnel is nobody else's."""
        origin = self.origin(Gatekeeper(), "https")
        authenticating = ("--ntlm", "-u", f"{USER}:{PASSWORD}")
        for proxy in (
            f"http://127.0.0.1:{self.fastcar.port}",
            f"socks5h://localhost{self.fastcar.socket}",
        ):
            options = ("--cacert", self.fastcar.ca_file, "--proxy", proxy)
            for more, expected in ((authenticating, USER), ((), "who?")):
                answer = run_curl(local(origin), *options, *more)
                self.assertEqual(answer.exit_status, 0, answer)
                self.assertIn(expected.encode(), answer.body)

    def test_ipv6(self) -> None:
        """An IPv6 address is a target for CONNECT and SOCKS5; nothing listens there."""
        for opening in ("connect", "socks5"):
            peer = self.tunnel(opening, self.fastcar.port, "::1", 1)
            peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b"http://[::1]:1: ", peer.read_message().body)


class CertificateTests(OpeningsTestCase):
    """The certificates that are shown, and verified, in tunnels."""

    def shown(self, door: str | int, host: str, name: str | None) -> list[str]:
        """The names in the certificate that a client sees in a tunnel to `host`."""
        peer = inside_tls(self.tunnel("socks5", door, host, 443), self.fastcar.ca_file, name)
        self.addCleanup(peer.close)
        assert isinstance(peer.socket, ssl.SSLSocket)
        certificate = peer.socket.getpeercert()
        assert certificate is not None
        return [str(name[1]) for name in certificate["subjectAltName"]]

    def test_server_name(self) -> None:
        """It is for the name that TLS asks for, whatever the target."""
        for door in self.fastcar.doors:
            self.assertEqual(self.shown(door, "192.0.2.1", "shop.test"), ["shop.test"])

    def test_target(self) -> None:
        """Without such a name it is for the target."""
        for host, name in (("shop.test", "shop.test"), ("192.0.2.1", "192.0.2.1")):
            self.assertEqual(self.shown(self.fastcar.port, host, None), [name])
        self.assertEqual(
            self.shown(self.fastcar.port, "2001:db8::1", None), ["2001:DB8:0:0:0:0:0:1"]
        )

    def test_url_with_address(self) -> None:
        """curl verifies it for a URL with an address, for which there is no SNI, by any tunnel."""
        origin = self.origin(answering(OK), "https")
        for kind in ("http", "socks5", "socks5h"):
            proxy = ("--proxy", f"{kind}://127.0.0.1:{self.fastcar.port}")
            answer = run_curl(origin.url, "--cacert", self.fastcar.ca_file, *proxy)
            self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        self.assertEqual(origin.accepted, 1)

    def test_name_at_address(self) -> None:
        """The origin is asked and verified for the name that the client has looked up itself."""
        proxy = ("--socks5", f"127.0.0.1:{self.fastcar.port}", "--cacert", self.fastcar.ca_file)
        for name, status in (("origin.test", 200), ("other.test", 502)):
            here = f"{name}:{self.nginx.https_port}:127.0.0.1"
            url = self.nginx.url("https", "/sni", name)
            answer = run_curl(url, "--resolve", here, *proxy)
            self.assertEqual((answer.exit_status, answer.status), (0, status), answer)
            if status == 200:
                self.assertEqual(answer.body, name.encode())
            else:
                self.assertEqual(answer.proxy_error, "tls_certificate_error", answer)

    def test_names_do_not_mix(self) -> None:
        """Connections to one address are shared only by requests for the same name."""
        origin = self.origin(answering(OK), "https")
        proxy = ("--socks5", f"127.0.0.1:{self.fastcar.port}", "--cacert", self.fastcar.ca_file)
        for name in ("localhost", "origin.test", "localhost", "origin.test"):
            here = ("--resolve", f"{name}:{origin.port}:127.0.0.1")
            answer = run_curl(f"https://{name}:{origin.port}/", *here, *proxy)
            self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        self.assertEqual(origin.accepted, 2)

    def test_openssl(self) -> None:
        """openssl s_client verifies the certificate through CONNECT, with and without SNI."""
        for name in ("shop.test", None):
            sni = ("-servername", name) if name else ("-noservername",)
            expected = name or "target.test"
            done = subprocess.run(
                [
                    *(require("openssl", "openssl"), "s_client", "-brief", "-verify_return_error"),
                    *("-proxy", f"127.0.0.1:{self.fastcar.port}", "-connect", "target.test:443"),
                    *("-CAfile", self.fastcar.ca_file, "-verify_hostname", expected, *sni),
                ],
                input=b"",
                capture_output=True,
                timeout=LIMIT,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done)
            self.assertIn(b"Verified peername: " + expected.encode(), done.stderr)
