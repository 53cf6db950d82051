"""fastcar itself as curl sees it: how it came in, the CA for clients, and probes of an nginx."""

from __future__ import annotations

import json
import os
import socket
from typing import Any
from urllib.parse import quote

from tests.peers.certificates import Authority
from tests.peers.clients import curl
from tests.peers.openings import OpeningsTestCase, local, run_curl
from tests.peers.sockets import RawOrigin, echo

SITE = "http://fastcar.localhost"


class SiteTests(OpeningsTestCase):
    """The site over a real socket."""

    def ask(self, url: str, *arguments: str) -> dict[str, Any]:
        """The JSON at a URL."""
        answer = self.curl(url, *arguments)
        self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
        content: dict[str, Any] = json.loads(answer.body)
        return content

    def probe(self, url: str) -> dict[str, Any]:
        """The report of a probe."""
        return self.ask(f"{SITE}/probe?url={quote(url, safe='')}")

    def test_arrival(self) -> None:
        """curl is told how it has come, and that we know who it is."""
        told = self.ask(f"{SITE}/")
        self.assertEqual(told["listener"], f"unix:{self.fastcar.socket}")
        self.assertEqual((told["opening"], told["tls"]), ("origin-form", None))
        peer = told["peer"]
        self.assertEqual((peer["uid"], peer["gid"]), (os.getuid(), os.getgid()))
        self.assertNotEqual(peer["pid"], os.getpid())

    def test_arrival_over_tls(self) -> None:
        """https works too: the certificate for the name is made like any other."""
        told = self.ask("https://fastcar.localhost/")
        tls = {"version": "TLSv1.3", "server_name": "fastcar.localhost"}
        self.assertEqual((told["opening"], told["tls"]), ("tls", tls))

    def test_arrival_over_tcp(self) -> None:
        """On a TCP listener the peer is an address, and each way through it is told."""
        address = f"127.0.0.1:{self.fastcar.port}"
        openings = {
            "absolute-form": ("--proxy", f"http://{address}"),
            "connect": ("--proxy", f"http://{address}", "--proxytunnel"),
            "socks5": ("--proxy", f"socks5h://{address}"),
        }
        for opening, options in openings.items():
            told = json.loads(run_curl(f"{SITE}/", *options).body)
            self.assertEqual((told["opening"], told["peer"]["address"]), (opening, "127.0.0.1"))

    def test_arrival_on_https_socket(self) -> None:
        """Where plain HTTP is for https origins, the site says so."""
        told = json.loads(curl(self.fastcar.https_socket, f"{SITE}/").body)
        self.assertEqual((told["opening"], told["scheme"]), ("origin-form", "https"))

    def test_ca(self) -> None:
        """The CA is the file in --ca-dir, and curl gets through with what it was served."""
        answer = self.curl(f"{SITE}/ca.pem")
        with open(self.fastcar.ca_file, "rb") as file:
            self.assertEqual(answer.body, file.read())
        served = os.path.join(self.folder(), "served.pem")
        with open(served, "wb") as file:
            file.write(answer.body)
        url = self.nginx.url("https", "/hello")
        answer = curl(self.fastcar.socket, url, "--cacert", served)
        self.assertEqual((answer.status, answer.body), (200, b"hello\n"), answer)

    def test_no_local_ca(self) -> None:
        """With --cert and --key there is none."""
        pair = self.shared.pair
        fastcar = self.start_fastcar("--cert", pair.certificate, "--key", pair.key)
        answer = curl(fastcar.socket, f"{SITE}/ca.pem")
        self.assertEqual((answer.status, answer.body.count(b"\n")), (404, 1), answer)

    def test_probe(self) -> None:
        """A probe of an https origin tells how it is reached; its connection serves others."""
        url = self.nginx.url("https", "/hello")
        self.probe(url)
        report = self.probe(url)
        self.assertEqual((report["url"], report["error"]), (url, None))
        self.assertEqual((report["route"], report["address"]), ("direct", "127.0.0.1"))
        self.assertEqual((report["verified"], report["reused"]), (True, True))
        self.assertIn(report["tls"], ("TLSv1.2", "TLSv1.3"))
        self.assertEqual((report["status"], report["bytes"]), (200, 6))
        seconds = report["seconds"]
        self.assertLessEqual(seconds["connection"], seconds["first_byte"])
        self.assertLessEqual(seconds["first_byte"], seconds["total"])

    def test_failed_probe(self) -> None:
        """A probe says why an origin cannot be reached."""
        pair = Authority(self.folder(), "other").issue("localhost")
        origin = self.own(RawOrigin(echo, pair.server_context()))
        report = self.probe(local(origin))
        self.assertEqual(report["error"]["type"], "tls_certificate_error", report)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        report = self.probe(f"http://127.0.0.1:{port}/")
        self.assertEqual(report["error"]["type"], "connection_refused", report)
