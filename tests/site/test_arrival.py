"""What fastcar tells a client about itself: how it has come in, and no secret."""

from __future__ import annotations

import os
import socket
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

import fastcar_tw
from fastcar_tw.config import Config
from fastcar_tw.routes.selection import Routes
from fastcar_tw.routes.socks5 import CONNECT, encode_message
from fastcar_tw.site.arrival import describe_peer
from fastcar_tw.testing import MemoryProxy, Peer
from fastcar_tw.tls.machine import TLSMachine
from tests.forward.support import request
from tests.site.support import SITE, SiteTestCase, site_request

CONNECTING = b"CONNECT fastcar.localhost:443 HTTP/1.1\r\nHost: fastcar.localhost:443\r\n\r\n"


class OpeningTests(SiteTestCase):
    """Every way in leads to the same site."""

    def enter_tunnel(self, client: Peer) -> None:
        """Ask for a tunnel to the site."""
        client.send(CONNECTING)
        self.assertTrue(client.take().startswith(b"HTTP/1.1 200 "))

    def start_tls(self, client: Peer, name: str) -> None:
        """Shake hands inside a tunnel."""
        pem = self.proxy.forwarder.server_contexts.ca_certificate
        assert pem is not None
        ca = crypto.X509.from_cryptography(x509.load_pem_x509_certificate(pem))
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(ca)
        context.set_verify(SSL.VERIFY_PEER)
        machine = TLSMachine.client(context, name)
        client.send(machine.start())
        client.start_tls(machine)
        self.assertTrue(machine.ready)

    def assert_came(self, told: dict[str, Any], opening: str, **more: Any) -> None:
        """That a client has come so, and in no other way."""
        expected = {"opening": opening, "tunnel": None, "tls": None, "scheme": "http", **more}
        self.assertEqual({name: told[name] for name in expected}, expected)
        self.assertEqual(self.proxy.connects, [])

    def test_origin_form(self) -> None:
        """Plain HTTP whose Host is the site."""
        self.assert_came(self.ask(), "origin-form")

    def test_any_port(self) -> None:
        """The site is there whatever port Host names, and in whatever case."""
        self.client.send(request(host=b"FastCar.LocalHost:8080"))
        self.assert_came(self.json(), "origin-form")

    def test_absolute_form(self) -> None:
        """A target that names the site, whatever Host says."""
        self.client.send(request(b"http://fastcar.localhost/"))
        self.assert_came(self.json(), "absolute-form")

    def test_absolute_form_of_https(self) -> None:
        """A target that names it as https."""
        self.client.send(request(b"https://fastcar.localhost/"))
        self.assert_came(self.json(), "absolute-form")

    def test_tls(self) -> None:
        """TLS: the version and the name that was asked for are told."""
        client = self.proxy.tls_client("fastcar.localhost")
        tls = {"version": "TLSv1.3", "server_name": "fastcar.localhost"}
        self.assert_came(self.ask(client), "tls", tls=tls, scheme="https")

    def test_tls_without_name(self) -> None:
        """TLS without SNI has no name to tell."""
        client = self.proxy.tls_client("")
        tls = {"version": "TLSv1.3", "server_name": None}
        self.assert_came(self.ask(client), "tls", tls=tls, scheme="https")

    def test_connect(self) -> None:
        """A tunnel through CONNECT is told with its target."""
        self.enter_tunnel(self.client)
        self.assert_came(self.ask(), "connect", tunnel="fastcar.localhost:443")

    def test_connect_and_tls(self) -> None:
        """TLS inside of a tunnel."""
        self.enter_tunnel(self.client)
        self.start_tls(self.client, "fastcar.localhost")
        tls = {"version": "TLSv1.3", "server_name": "fastcar.localhost"}
        target = "fastcar.localhost:443"
        self.assert_came(self.ask(), "connect", tunnel=target, tls=tls, scheme="https")

    def test_tls_and_connect(self) -> None:
        """A tunnel inside of TLS: the first opening is told, and the TLS of none inside."""
        client = self.proxy.tls_client("proxy.test")
        self.enter_tunnel(client)
        self.assert_came(self.ask(client), "tls", tunnel="fastcar.localhost:443")

    def test_socks5(self) -> None:
        """A tunnel through SOCKS5."""
        self.client.send(b"\x05\x01\x00")
        self.client.send(encode_message(CONNECT, "fastcar.localhost", 80))
        self.assertEqual(self.client.take()[:4], b"\x05\x00\x05\x00")
        self.assert_came(self.ask(), "socks5", tunnel="fastcar.localhost:80")

    def test_https_socket(self) -> None:
        """Where plain HTTP is for https origins the site is there too, and says so."""
        self.assert_came(self.ask(self.proxy.client(secure=True)), "origin-form", scheme="https")

    def test_other_tunnel(self) -> None:
        """In a tunnel to another origin no Host leads here."""
        self.client.send(b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n")
        self.client.take()
        self.client.send(site_request())
        self.assertIn(b"Host: " + SITE, self.origin.take())


class ContentTests(SiteTestCase):
    """What else is told, and what is not."""

    def test_whole(self) -> None:
        """All that is told, of a client in this very process."""
        self.assertEqual(
            self.ask(),
            {
                "version": fastcar_tw.__version__,
                "listener": "memory",
                "opening": "origin-form",
                "tunnel": None,
                "tls": None,
                "scheme": "http",
                "peer": {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()},
                "verification": {"on": True, "exceptions": 0},
            },
        )

    def test_text(self) -> None:
        """It is for people too: a line for each thing, and an end to the last one."""
        self.client.send(site_request())
        body = self.client.take().partition(b"\r\n\r\n")[2]
        self.assertTrue(body.startswith(b'{\n  "version": '), body)
        self.assertTrue(body.endswith(b"}\n"), body)

    def test_exceptions(self) -> None:
        """The origins that are not verified are counted, not named."""
        self.start(insecure_origins=("a.test", "b.test:8443"))
        self.client.send(site_request())
        self.assertNotIn(b".test", self.client.received)
        self.assertEqual(self.json()["verification"], {"on": True, "exceptions": 2})

    def test_no_secrets(self) -> None:
        """Proxies, their credentials and files are nobody's business here."""
        config = Config(unix="/tmp/here.sock", ca_dir="/tmp/hidden")
        routes = Routes("http://user:hidden@hidden.test:3128", "hidden.test", {})
        proxy = MemoryProxy(config, routes)
        self.addCleanup(proxy.close)
        client = proxy.client()
        client.send(site_request(b"/", b"Proxy-Authorization: hidden", b"Cookie: hidden"))
        self.assertNotIn(b"hidden", client.received)
        self.assertIn("version", self.json(client))


class PeerTests(SynchronousTestCase):
    """Who is at the other end."""

    def test_unix(self) -> None:
        """Of a UNIX socket: the process that has connected."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        expected = {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
        self.assertEqual(describe_peer(ours), expected)

    def test_tcp(self) -> None:
        """Of TCP: address and port."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            accepted, _ = listener.accept()
        with client, accepted:
            address, port = client.getsockname()
            self.assertEqual(describe_peer(accepted), {"address": address, "port": port})

    def test_gone(self) -> None:
        """A peer that has gone in the meantime is nobody."""
        with socket.socket() as unconnected:
            self.assertIsNone(describe_peer(unconnected))
