"""The site as a server: its paths, methods and fields, and what becomes of the connection."""

from __future__ import annotations

import tempfile

from cryptography import x509

from fastcar_tw.tls.local_ca import LocalCA
from fastcar_tw.tls.server_contexts import ServerContexts
from tests.forward.support import OK, answer, request
from tests.peers.certificates import Authority
from tests.site.support import SiteTestCase, probe_request, site_request


class PathTests(SiteTestCase):
    """What is there, and that nothing else is."""

    def test_query(self) -> None:
        """A query does not change the page."""
        self.assertIn("version", self.ask(target=b"/?a=b"))

    def test_elsewhere(self) -> None:
        """There is nothing else; the answer says what there is."""
        for target in (b"/x", b"//", b"/ca.pem/", b"/ca-key.pem", b"/probe/", b"/%63a.pem", b"/.."):
            self.client.send(site_request(target))
            status, fields, body = answer(self.client.take())
            self.assertEqual((status, fields[b"content-type"]), (404, b"text/plain; charset=utf-8"))
            self.assertEqual(body, b"fastcar: expected /, /ca.pem or /probe?url=URL\n")

    def test_other_methods(self) -> None:
        """Only GET and HEAD have a meaning here (RFC 9110 section 15.5.6)."""
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"FROB", b"get"):
            for target in (b"/", b"/ca.pem", b"/probe?url=http://a.test/"):
                self.client.send(site_request(target, method=method))
                status, fields, _ = answer(self.client.take())
                self.assertEqual((status, fields[b"allow"]), (405, b"GET, HEAD"))
        self.assertEqual(self.proxy.connects, [])

    def test_asterisk(self) -> None:
        """OPTIONS * is about the server, and not known here."""
        self.assertEqual(self.status(site_request(b"*", method=b"OPTIONS")), 404)

    def test_head(self) -> None:
        """HEAD brings the same fields, Content-Length too, and no body."""
        self.client.send(site_request(b"/ca.pem"))
        head = self.client.take().partition(b"\r\n\r\n")[0]
        self.client.send(site_request(b"/ca.pem", method=b"HEAD"))
        without_date = [
            [line for line in each.split(b"\r\n") if not line.startswith(b"Date: ")]
            for each in (head, self.client.take().removesuffix(b"\r\n\r\n"))
        ]
        self.assertEqual(without_date[0], without_date[1])

    def test_fields(self) -> None:
        """No answer is kept by anybody, or taken for what it is not."""
        for target in (b"/", b"/ca.pem", b"/probe", b"/x"):
            self.client.send(site_request(target))
            fields = answer(self.client.take()).fields
            self.assertEqual(fields[b"cache-control"], b"no-store")
            self.assertEqual(fields[b"x-content-type-options"], b"nosniff")
            self.assertIn(b"date", fields)


class CATests(SiteTestCase):
    """The certificate for clients."""

    def test_certificate(self) -> None:
        """It is the file of the local CA, which is not read for it, and no key is with it."""
        with tempfile.TemporaryDirectory() as folder:
            ca = LocalCA.load_or_create(folder)
            with open(ca.certificate_path, "rb") as file:
                content = file.read()
        self.proxy.forwarder.server_contexts = ServerContexts.from_ca(ca)
        self.client.send(site_request(b"/ca.pem"))
        status, fields, body = answer(self.client.take())
        self.assertEqual((status, fields[b"content-type"]), (200, b"application/x-pem-file"))
        self.assertEqual(body, content)
        self.assertEqual(len(x509.load_pem_x509_certificates(body)), 1)
        self.assertNotIn(b"PRIVATE", body)

    def test_no_local_ca(self) -> None:
        """With --cert there is none, which is said in one line."""
        with tempfile.TemporaryDirectory() as folder:
            pair = Authority(folder, "other").issue("a.test")
            contexts = ServerContexts.from_files(pair.certificate, pair.key)
        self.proxy.forwarder.server_contexts = contexts
        self.client.send(site_request(b"/ca.pem"))
        status, fields, body = answer(self.client.take())
        self.assertEqual((status, fields[b"content-type"]), (404, b"text/plain; charset=utf-8"))
        self.assertIn(b"--cert", body)
        self.assertEqual(body.count(b"\n"), 1)


class ConnectionTests(SiteTestCase):
    """The client's connection persists as with any exchange."""

    def test_kept(self) -> None:
        """Several requests on one connection, to the site and to origins."""
        self.ask()
        self.assertEqual(self.exchange()[1], OK)
        self.ask()
        self.assertFalse(self.client.ended)

    def test_closed_when_asked(self) -> None:
        """A client that says close is answered, told so, and closed on."""
        for asked in (site_request(b"/", b"Connection: close"), site_request(version=b"1.0")):
            client = self.proxy.client()
            client.send(asked)
            self.assertEqual(answer(client.take()).fields[b"connection"], b"close")
            self.assertTrue(client.ended_cleanly)

    def test_errors_do_not_close(self) -> None:
        """Neither a wrong path nor a wrong method ends the connection."""
        self.assertEqual(self.status(site_request(b"/x")), 404)
        self.assertEqual(self.status(site_request(method=b"POST", body=b"x")), 405)
        self.ask()

    def test_body_ignored(self) -> None:
        """A body that came with its request is skipped, and the connection goes on."""
        chunked = b"3\r\nabc\r\n0\r\n\r\n"
        self.client.send(site_request(b"/", b"Transfer-Encoding: chunked", body=chunked))
        self.assertNotIn(b"connection", answer(self.client.take()).fields)
        self.ask()

    def test_early_answer(self) -> None:
        """The answer does not wait for a body, whose rest is then taken and thrown away."""
        self.client.send(site_request(b"/x", b"Content-Length: 100000", method=b"POST"))
        self.assertEqual(answer(self.client.take()).fields[b"connection"], b"close")
        self.assertTrue(self.client.ended)
        self.client.send(bytes(100000) + site_request())
        self.assertEqual((self.client.take(), self.client.aborted), (b"", False))
        self.client.close()
        self.assertTrue(self.client.closed)

    def test_broken_body(self) -> None:
        """A body that breaks the rules ends the probe that its request has asked for."""
        self.proxy.accepting = False
        head = probe_request("http://a.test/", b"Transfer-Encoding: chunked")
        self.client.send(head)
        self.client.send(b"x\r\n")
        self.assertEqual(answer(self.client.take()).status, 400)
        self.proxy.connects[0].accept()
        self.assertEqual(self.origin.take(), b"")

    def test_pipelined(self) -> None:
        """Requests in one piece are answered in their order, however many."""
        self.client.send(site_request(b"/x") * 500 + site_request(b"/", b"Connection: close"))
        received = self.client.take()
        self.assertEqual(received.count(b"HTTP/1.1 404 "), 500)
        self.assertTrue(received.endswith(b"}\n"))
        self.assertTrue(self.client.ended_cleanly)

    def test_half_closed(self) -> None:
        """A client that has ended its sending is answered."""
        self.client.unsent = site_request()
        self.client.end()
        self.assertEqual(self.json()["listener"], "memory")
        self.assertTrue(self.client.ended_cleanly)

    def test_unknown_host_unaffected(self) -> None:
        """Names that only resemble the site's are origins like any other."""
        for host in (b"x.fastcar.localhost", b"fastcar.localhost.test", b"localhost"):
            self.client.send(request(host=host))
            self.assertIn(b"Host: " + host, self.origin.take())
            self.origin.send(OK)
            self.assertEqual(self.client.take(), OK)
