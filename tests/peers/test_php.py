"""What PHP's curl extension does with the socket, certificates verified unless said otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import Any

from tests.peers.case import PeersTestCase
from tests.peers.clients import Answer, php, require_php_curl
from tests.peers.sockets import Peer, answering, echo

#: curl's error number for a server certificate that it does not trust.
PEER_FAILED_VERIFICATION = 60


class HTTPTests(PeersTestCase):
    """Plain HTTP from PHP to the origin."""

    scheme = "http"

    def options(self, url: str, **more: Any) -> dict[str, Any]:
        """What a PHP program sets to fetch `url` through fastcar."""
        return {
            "URL": url,
            "UNIX_SOCKET_PATH": self.fastcar.socket,
            "CAINFO": self.fastcar.ca_file,
            **more,
        }

    def php(self, path: str, **more: Any) -> Answer:
        """What PHP makes of nginx's response."""
        return php(self.options(self.nginx.url(self.scheme, path), **more))[0]

    def test_get(self) -> None:
        """A page comes with its status and body."""
        answer = self.php("/hello")
        self.assertEqual((answer.exit_status, answer.status), (0, 200), answer)
        self.assertEqual(answer.body, b"hello\n")

    def test_kept_handle(self) -> None:
        """One handle keeps its connection to fastcar, and fastcar its own to the origin."""
        url = self.nginx.url(self.scheme, "/hello")
        answers = php(*[self.options(url)] * 10)
        self.assertEqual([answer.connections for answer in answers], [1] + [0] * 9)
        self.assertEqual(len({answer.values("X-Connection")[0] for answer in answers}), 1)

    def test_form(self) -> None:
        """A form arrives as PHP wrote it."""
        origin = self.origin(echo, self.scheme)
        answer = php(self.options(origin.url, POST=True, POSTFIELDS="a=1&b=%C3%A9"))[0]
        self.assertEqual(answer.body, b"a=1&b=%C3%A9", answer)

    def test_multipart_form(self) -> None:
        """So does an array, which curl sends as multipart/form-data."""
        origin = self.origin(echo, self.scheme)
        answer = php(self.options(origin.url, POSTFIELDS={"name": "value", "big": "x" * 70_000}))[0]
        self.assertEqual(answer.status, 200, answer)
        self.assertIn(b'name="name"\r\n\r\nvalue\r\n', answer.body)
        self.assertIn(b"x" * 70_000 + b"\r\n", answer.body)

    def test_custom_request(self) -> None:
        """CURLOPT_CUSTOMREQUEST names any method."""
        answer = self.php("/echo", CUSTOMREQUEST="PURGE")
        self.assertTrue(answer.body.startswith(b"PURGE /echo "), answer)

    def test_no_body(self) -> None:
        """CURLOPT_NOBODY is HEAD."""
        answer = self.php("/hello", NOBODY=True)
        self.assertEqual((answer.exit_status, answer.values("Content-Length")), (0, ["6"]), answer)

    def test_redirect(self) -> None:
        """CURLOPT_FOLLOWLOCATION goes through fastcar again."""
        self.assertEqual(self.php("/moved", FOLLOWLOCATION=True).body[-6:], b"hello\n")

    def test_cookies(self) -> None:
        """Cookies of one response are sent with the next request."""
        response = (
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        )
        setter = self.origin(answering(response), self.scheme)
        answer = php(self.options(setter.url, COOKIEFILE=""))[0]
        self.assertEqual(answer.values("Set-Cookie"), ["a=1", "b=2"], answer)

    def test_decompression(self) -> None:
        """CURLOPT_ENCODING asks for compression and undoes it: fastcar has no part in it."""
        answer = self.php("/text", ENCODING="")
        self.assertEqual(answer.values("Content-Encoding"), ["gzip"], answer)
        self.assertEqual(answer.body, self.nginx.read("text"))

    def test_truncated_response(self) -> None:
        """A body that the origin breaks off is an error in PHP too, not a short body."""

        def script(peer: Peer) -> None:
            peer.read_message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

        answer = php(self.options(self.origin(script, self.scheme).url))[0]
        self.assertNotEqual(answer.exit_status, 0, answer)


class HTTPSTests(HTTPTests):
    """The same over TLS on both sides, and what there is to say about certificates."""

    scheme = "https"

    def test_verified(self) -> None:
        """With verification on, and the CA file of one certificate, PHP is content."""
        answer = self.php("/hello", SSL_VERIFYPEER=True, SSL_VERIFYHOST=2)
        self.assertEqual((answer.exit_status, answer.body), (0, b"hello\n"), answer)
        with open(self.fastcar.ca_file) as file:
            self.assertEqual(file.read().count("BEGIN CERTIFICATE"), 1)

    def test_names(self) -> None:
        """Every name gets a certificate of its own; what is behind it is another question."""
        names = ("localhost", "example.test", "a.b-c.example.test", "xn--bcher-kva.test")
        options = [
            self.options(f"https://{name}:9/", CAINFO=self.fastcar.ca_file) for name in names
        ]
        for answer in php(*options):
            self.assertEqual((answer.exit_status, answer.status), (0, 502), answer)

    def test_not_verified(self) -> None:
        """Who verifies nothing is served as well."""
        answer = self.php("/hello", SSL_VERIFYPEER=False, SSL_VERIFYHOST=0, CAINFO="/dev/null")
        self.assertEqual((answer.exit_status, answer.body), (0, b"hello\n"), answer)

    def test_wrong_ca(self) -> None:
        """A PHP that trusts another CA fails with curl's error 60, and nobody else notices."""
        answer = self.php("/hello", CAINFO=self.shared.authority.file)
        self.assertEqual(answer.exit_status, PEER_FAILED_VERIFICATION, answer)
        self.assert_still_serving()

    def test_hundred_processes(self) -> None:
        """A hundred PHP processes after each other open one connection to the origin."""
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        origin = self.origin(answering(response), "https")
        for _ in range(100):
            answer = php(self.options(origin.url, SSL_VERIFYPEER=True))[0]
            self.assertEqual((answer.exit_status, answer.body), (0, b"ok"), answer)
        self.assertEqual(origin.accepted, 1)

    def test_sixteen_processes_at_once(self) -> None:
        """PHP processes at the same time open no more connections than there are of them."""
        require_php_curl()
        origin = self.origin(answering(b"HTTP/1.1 204 No\r\n\r\n"), "https")
        job = json.dumps([self.options(origin.url)] * 5)
        client = os.path.join(os.path.dirname(__file__), "client.php")
        processes = []
        for _ in range(16):
            with tempfile.TemporaryFile() as request:
                request.write(job.encode())
                request.seek(0)
                processes.append(
                    subprocess.Popen(["php", client], stdin=request, stdout=subprocess.PIPE)
                )
                self.addCleanup(processes[-1].kill)
        for process in processes:
            output, _ = process.communicate(timeout=40)
            self.assertEqual([each["errno"] for each in json.loads(output)], [0] * 5)
        self.assertLessEqual(origin.accepted, 16)
