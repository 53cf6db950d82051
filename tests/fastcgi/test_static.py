"""Files on a client connection: what is told, what is sent, and what becomes of the connection."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from email.utils import formatdate, parsedate_to_datetime
from itertools import pairwise
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.config import Config
from fastcar_tw.downstream.clients import Clients
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.downstream.http1 import DownstreamConnection
from fastcar_tw.fastcgi import static
from fastcar_tw.fastcgi.served_file import ServedFile
from fastcar_tw.fastcgi.static import StaticExchange
from fastcar_tw.http.head import RequestHead
from fastcar_tw.testing import MemoryReactor, Peer
from tests.forward.support import Answer, answer, logged, request

TEXT = b"0123456789"
#: More than any buffer between the two ends holds.
MUCH = bytes(range(256)) * (1 << 14)  # 4 MiB
#: What may be held for a client that does not read: a block that filled the buffer and the next.
BOUND = 3 * 65536
#: Longer ago than files have dates for.
LONG_AGO = b"Thu, 01 Jan 1970 00:00:00 GMT"


class StaticClients(Clients):
    """
    Serves files of one folder, by the last part of the target.

    @ivar script: what a script has said that has the file sent.
    """

    def __init__(self, reactor: MemoryReactor, config: Config, folder: str) -> None:
        super().__init__(config, reactor)
        self.folder = folder
        self.script: dict[str, Any] = {}

    def exchange(
        self, downstream: DownstreamConnection, request: RequestHead
    ) -> DownstreamExchange:
        path = os.path.join(self.folder.encode(), request.target.rpartition(b"/")[2])
        return StaticExchange(self, downstream, request, path, **self.script)


class EmptiedFile(ServedFile):
    """A file that is emptied as soon as it was opened."""

    def __init__(self, path: bytes) -> None:
        super().__init__(path)
        os.truncate(path, 0)


class StaticTestCase(SynchronousTestCase):
    """
    Has a folder, a service that serves its files, and a client.
    """

    def setUp(self) -> None:
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="fc", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.reactor = MemoryReactor()
        self.start()

    def start(self, **options: Any) -> None:
        """Begin anew with these options."""
        self.clients = StaticClients(self.reactor, Config(**options), self.folder)
        self.clients.deadlines.start()
        self.addCleanup(self.stop, self.clients)
        self.client = self.connect()

    def stop(self, clients: StaticClients) -> None:
        """End it all."""
        clients.deadlines.stop()
        clients.abort()
        self.reactor.settle()
        for peer in list(self.reactor.peers):
            peer.release()

    def connect(self, capacity: int | None = None) -> Peer:
        """Connect a client."""
        entrance = Entrance("memory", False)
        deadline = self.clients.client_deadline()
        protocol = DownstreamConnection(self.clients, entrance, deadline)
        return Peer(self.reactor, protocol, capacity=capacity)

    def write(self, content: bytes = TEXT, name: str = "a.txt") -> str:
        """Write a file."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def get(self, *fields: bytes, name: str = "a.txt", **more: Any) -> Answer:
        """Ask for a file."""
        self.client.send(request(b"/" + name.encode(), *fields, **more))
        return answer(self.client.take())

    def slow_client(self, content: bytes = MUCH) -> Peer:
        """Have a large file under way to a client that does not read."""
        self.write(content)
        client = self.connect(capacity=65536)
        client.pause()
        client.send(request(b"/a.txt"))
        return client

    def open_files(self) -> list[str]:
        """Files of the folder that this process has open."""
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                path = os.readlink(f"/proc/self/fd/{name}")
            except OSError:
                continue
            if path.startswith(self.folder):
                found.append(path)
        return found


class FileTests(StaticTestCase):
    """A whole file, as twisted.web serves it."""

    def test_file(self) -> None:
        """A file is sent with its length, type, dates and entity tag, and nothing of the server."""
        path = self.write()
        os.utime(path, (1700000000, 1700000000))
        self.client.send(request(b"/a.txt"))
        received = self.client.take()
        self.assertTrue(received.startswith(b"HTTP/1.1 200 OK\r\n"))
        fields, body = answer(received)[1:]
        self.assertEqual(body, TEXT)
        parsedate_to_datetime(fields.pop(b"date").decode())
        self.assertEqual(
            fields,
            {
                b"content-length": b"10",
                b"content-type": b"text/plain",
                b"accept-ranges": b"bytes",
                b"last-modified": b"Tue, 14 Nov 2023 22:13:20 GMT",
                b"etag": b'"%x-a"' % (1700000000 * 10**9),
                b"x-content-type-options": b"nosniff",
            },
        )

    def test_sizes(self) -> None:
        """Files of every size come whole, and the connection goes on."""
        for size in (0, 1, 65535, 65536, 65537, 3 * 65536, 1000000):
            self.write(MUCH[:size])
            status, fields, body = self.get()
            self.assertEqual((status, fields[b"content-length"]), (200, b"%d" % size))
            self.assertEqual(body, MUCH[:size])
            self.assertFalse(self.client.ended)
        self.assertEqual(self.open_files(), [])

    def test_one_piece(self) -> None:
        """A small file leaves in one piece with its head."""
        self.write()
        self.get()
        self.assertEqual(len(self.client.transport.writes), 1)

    def test_head(self) -> None:
        """HEAD brings the same fields and no body."""
        self.write(MUCH)
        got, head = self.get(), self.get(method=b"HEAD")
        self.assertEqual(head.body, b"")
        self.assertEqual(head.status, 200)
        got.fields.pop(b"date"), head.fields.pop(b"date")
        self.assertEqual(head.fields, got.fields)
        self.assertEqual(self.open_files(), [])

    def test_types(self) -> None:
        """What web pages consist of has the same type everywhere; the unknown is never HTML."""
        expected = {
            "a.HTML": b"text/html",
            "a.css": b"text/css",
            "a.js": b"text/javascript",
            "a.mjs": b"text/javascript",
            "a.json": b"application/json",
            "a.js.map": b"application/json",
            "a.svg": b"image/svg+xml",
            "a.webp": b"image/webp",
            "a.avif": b"image/avif",
            "a.woff2": b"font/woff2",
            "a.wasm": b"application/wasm",
            "a.php~": b"application/octet-stream",
            "a": b"application/octet-stream",
            "a.rpy": b"application/octet-stream",
        }
        for name, content_type in expected.items():
            self.write(name=name)
            status, fields, body = self.get(name=name)
            self.assertEqual((status, body), (200, TEXT))
            self.assertEqual((name, fields[b"content-type"]), (name, content_type))
            self.assertNotIn(b"content-encoding", fields)

    def test_gzip(self) -> None:
        """A compressed file has the type of what is in it, and its coding is told."""
        self.write(name="a.css.gz")
        _, fields, body = self.get(name="a.css.gz")
        self.assertEqual(fields[b"content-encoding"], b"gzip")
        self.assertEqual((fields[b"content-type"], body), (b"text/css", TEXT))

    def test_name_that_is_no_text(self) -> None:
        """A name may consist of any bytes."""
        with open(os.path.join(self.folder.encode(), b"\xff.css"), "wb") as file:
            file.write(TEXT)
        self.client.send(request(b"/\xff.css"))
        _, fields, body = answer(self.client.take())
        self.assertEqual((fields[b"content-type"], body), (b"text/css", TEXT))

    def test_future(self) -> None:
        """A file is never said to be younger than its response (RFC 9110 section 8.8.2.1)."""
        os.utime(self.write(), (4000000000, 4000000000))
        fields = self.get().fields
        modified, date = (
            parsedate_to_datetime(fields[name].decode()) for name in (b"last-modified", b"date")
        )
        self.assertLessEqual(modified, date)


class RefusalTests(StaticTestCase):
    """What is not sent."""

    def test_methods(self) -> None:
        """Only GET and HEAD have a meaning for a file (RFC 9110 section 15.5.6)."""
        self.write()
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"get"):
            status, fields, body = self.get(method=method)
            self.assertEqual((status, fields[b"allow"]), (405, b"GET, HEAD"))
            self.assertNotIn(TEXT, body)

    def test_vanished(self) -> None:
        """A file that is no longer there is a 404 that names no path."""
        self.check_not_found("gone.txt")

    def test_no_regular_file(self) -> None:
        """Only regular files are sent: no folder, no link, and nobody waits for a FIFO."""
        self.write()
        os.mkdir(os.path.join(self.folder, "folder"))
        os.mkfifo(os.path.join(self.folder, "fifo"))
        os.symlink("a.txt", os.path.join(self.folder, "link"))
        for name in ("folder", "fifo", "link", "x" * 300):
            self.check_not_found(name)

    def test_not_permitted(self) -> None:
        """A file that may not be read is a 404 too; why is in the log."""
        path = self.write()
        os.chmod(path, 0)
        if os.access(path, os.R_OK):
            self.skipTest("this user may read every file")
        self.assertIn("Permission denied", self.check_not_found("a.txt")[0])

    def test_no_descriptor(self) -> None:
        """When this process may open no more, that is its own failure, and will pass; clients are
        not told more."""
        self.write()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        status, fields, body = self.get()
        self.assertEqual((status, fields[b"retry-after"]), (503, b"1"))
        self.assertNotIn(b"files", body)

    def check_not_found(self, name: str) -> list[str]:
        """Check the response, and return what is logged."""
        got: list[Answer] = []
        lines = logged(lambda: got.append(self.get(name=name)))
        self.assertEqual(got[0].status, 404)
        self.assertNotIn(name.encode(), got[0].body)
        self.assertNotIn(self.folder.encode(), got[0].body)
        self.assertEqual(len(lines), 1)
        self.assertFalse(self.client.ended)
        self.assertEqual(self.open_files(), [])
        return lines


class ConnectionTests(StaticTestCase):
    """The client's connection persists as with any exchange."""

    def setUp(self) -> None:
        super().setUp()
        self.write()

    def test_closed_when_asked(self) -> None:
        """A client that says close is answered, told so, and closed on."""
        for asked in (request(b"/a.txt", b"Connection: close"), request(b"/a.txt", version=b"1.0")):
            client = self.connect()
            client.send(asked)
            _, fields, body = answer(client.take())
            self.assertEqual((fields[b"connection"], body), (b"close", TEXT))
            self.assertNotIn(b"transfer-encoding", fields)
            self.assertTrue(client.ended_cleanly)

    def test_body_ignored(self) -> None:
        """A body that came with its request is skipped, and the connection goes on."""
        for method in (b"GET", b"POST"):
            self.assertNotIn(b"connection", self.get(method=method, body=b"hello").fields)
            self.assertFalse(self.client.ended)

    def test_early_answer(self) -> None:
        """The response does not wait for the rest of a body, and ends the connection."""
        got = self.get(b"Content-Length: 100000")
        self.assertEqual((got.fields[b"connection"], got.body), (b"close", TEXT))
        self.client.send(bytes(100000))
        self.assertTrue(self.client.ended_cleanly)

    def test_pipelined(self) -> None:
        """Requests in one piece are answered in their order, however many."""
        last = request(b"/a.txt", b"Connection: close")
        self.client.send((request(b"/a.txt") + request(b"/b.txt")) * 200 + last)
        received = self.client.take()
        self.assertEqual(received.count(b"HTTP/1.1 "), 401)
        self.assertEqual(received.count(TEXT), 201)
        self.assertTrue(self.client.ended_cleanly)

    def test_drained(self) -> None:
        """When fastcar stops, a response under way is sent to its end, and then it closes."""
        client = self.slow_client()
        self.clients.drain()
        client.resume()
        self.assertEqual(answer(client.take()).body, MUCH)
        self.assertTrue(client.ended_cleanly)

    def test_log(self) -> None:
        """With --verbose each response has its line."""
        self.start(verbose=True)
        (line,) = logged(self.get)
        self.assertIn("GET ", line)
        self.assertIn(": 200 after", line)


class ConditionTests(StaticTestCase):
    """Conditional requests (RFC 9110 section 13)."""

    def setUp(self) -> None:
        super().setUp()
        self.write()
        fields = self.get().fields
        self.etag, self.modified = fields[b"etag"], fields[b"last-modified"]

    def check(self, status: int, *fields: bytes, **more: Any) -> Answer:
        """Check the status of the response to a request with these fields."""
        got = self.get(*fields, **more)
        self.assertEqual((fields, got.status), (fields, status))
        self.assertFalse(self.client.ended)
        self.assertEqual(self.open_files(), [])
        return got

    def test_not_modified(self) -> None:
        """A 304 has no body, and says what a cache needs (RFC 9110 section 15.4.5)."""
        since = b"If-Modified-Since: " + self.modified
        for asked in (since, b"If-None-Match: " + self.etag):
            for method in (b"GET", b"HEAD"):
                _, fields, body = self.check(304, asked, method=method)
                self.assertEqual(body, b"")
                self.assertNotIn(b"content-length", fields)
                self.assertIn(b"date", fields)
                self.assertEqual(fields[b"etag"], self.etag)
                self.assertEqual(fields[b"last-modified"], self.modified)

    def test_modified(self) -> None:
        """What does not hold, or is no date, changes nothing."""
        for asked in (
            b"If-Modified-Since: " + LONG_AGO,
            b"If-Modified-Since: \xff",
            b"If-Modified-Since: ",
            b'If-None-Match: "other"',
            b"If-Match: *",
            b"If-Match: " + self.etag,
            b"If-Unmodified-Since: " + self.modified,
        ):
            self.assertEqual(self.check(200, asked).body, TEXT)

    def test_precedence(self) -> None:
        """An entity tag counts more than a date (RFC 9110 section 13.1.3)."""
        self.check(200, b'If-None-Match: "x"', b"If-Modified-Since: " + self.modified)

    def test_failed(self) -> None:
        """A precondition that fails is a 412, and nothing of the file is sent."""
        for asked in (b'If-Match: "x"', b"If-Unmodified-Since: " + LONG_AGO):
            got = self.check(412, asked)
            self.assertNotIn(TEXT, got.body)
            self.assertEqual(self.check(412, asked, method=b"HEAD").body, b"")

    def test_other_version(self) -> None:
        """A file that was written anew has another entity tag."""
        os.utime(self.write(b"9876543210"), (1700000000, 1700000000))
        got = self.check(200, b"If-None-Match: " + self.etag)
        self.assertNotEqual(got.fields[b"etag"], self.etag)


class RangeTests(StaticTestCase):
    """Ranges (RFC 9110 section 14)."""

    def setUp(self) -> None:
        super().setUp()
        self.write()

    def range(self, value: bytes, *fields: bytes, **more: Any) -> Answer:
        """Ask for ranges."""
        got = self.get(b"Range: " + value, *fields, **more)
        self.assertFalse(self.client.ended)
        self.assertEqual(self.open_files(), [])
        return got

    def test_single(self) -> None:
        """One range is a 206 with these bytes."""
        for value, body, where in (
            (b"bytes=0-0", b"0", b"0-0"),
            (b"bytes=2-4", b"234", b"2-4"),
            (b"bytes=7-", b"789", b"7-9"),
            (b"bytes=7-99999999999999999", b"789", b"7-9"),
            (b"bytes=-3", b"789", b"7-9"),
            (b"bytes=-30", TEXT, b"0-9"),
            (b"Bytes=0-,", TEXT, b"0-9"),
            (b"bytes=4-4,10-", b"4", b"4-4"),
        ):
            got = self.range(value)
            self.assertEqual((value, got.status, got.body), (value, 206, body))
            self.assertEqual(got.fields[b"content-range"], b"bytes %b/10" % where)
            self.assertEqual(got.fields[b"content-length"], b"%d" % len(body))

    def test_long(self) -> None:
        """A range may be longer than a block."""
        self.write(MUCH)
        got = self.range(b"bytes=100000-3000000")
        self.assertEqual((got.status, got.body), (206, MUCH[100000:3000001]))

    def test_several(self) -> None:
        """Several are parts of one body whose length is told; each has the file's type."""
        got = self.range(b"bytes=-1,0-1")
        self.assertEqual(got.status, 206)
        self.assertNotIn(b"transfer-encoding", got.fields)
        content_type, _, boundary = got.fields[b"content-type"].partition(b"; boundary=")
        self.assertEqual(content_type, b"multipart/byteranges")
        self.assertEqual(got.fields[b"content-length"], b"%d" % len(got.body))
        separator = b"\r\n--" + boundary.strip(b'"')
        parts = got.body.split(separator)
        self.assertEqual((parts[0], parts[-1]), (b"", b"--\r\n"))
        self.assertEqual(
            [part.partition(b"\r\n\r\n") for part in parts[1:-1]],
            [
                (b"\r\nContent-type: text/plain\r\nContent-range: bytes 9-9/10", b"\r\n\r\n", b"9"),
                (
                    b"\r\nContent-type: text/plain\r\nContent-range: bytes 0-1/10",
                    b"\r\n\r\n",
                    b"01",
                ),
            ],
        )

    def test_several_long(self) -> None:
        """Several ranges of several blocks each come whole."""
        self.write(MUCH)
        got = self.range(b"bytes=0-999999,2000000-2999999")
        self.assertEqual(got.fields[b"content-length"], b"%d" % len(got.body))
        self.assertIn(MUCH[:1000000] + b"\r\n--", got.body)
        self.assertIn(b"\r\n\r\n" + MUCH[2000000:3000000] + b"\r\n--", got.body)

    def test_unsatisfiable(self) -> None:
        """Ranges behind the end are a 416 that tells the length."""
        for value in (b"bytes=10-", b"bytes=10-11", b"bytes=-0", b"bytes=10-,11-", b"bytes=10-,-0"):
            status, fields, body = self.range(value)
            self.assertEqual((value, status, body), (value, 416, b""))
            self.assertEqual(fields[b"content-range"], b"bytes */10")
            self.assertEqual(fields[b"content-length"], b"0")

    def test_empty_file(self) -> None:
        """There is no range of nothing."""
        self.write(b"")
        for value in (b"bytes=0-", b"bytes=-5", b"bytes=0-,-1"):
            self.assertEqual(self.range(value).status, 416)

    def test_ignored(self) -> None:
        """What is no range, or is more than the whole file, is not looked at."""
        for value in (
            b"bytes=",
            b"bytes",
            b"bytes=5-4",
            b"bytes=a-b",
            b"bytes=+1-2",
            b"bytes=1_0-",
            b"bytes=--1",
            b"bytes=0-1,x",
            b"lines=1-2",
            b"bytes=\xff-",
            b"bytes=0-,0-",
            b"bytes=" + b"0-0," * 101,
        ):
            got = self.range(value)
            self.assertEqual((value, got.status, got.body), (value, 200, TEXT))
        self.assertEqual(self.range(b"bytes=0-1", b"Range: bytes=0-1").status, 200)

    def test_head(self) -> None:
        """A range of a HEAD means nothing (RFC 9110 section 14.2)."""
        got = self.range(b"bytes=0-1", method=b"HEAD")
        self.assertEqual((got.status, got.fields[b"content-length"]), (200, b"10"))

    def test_if_range(self) -> None:
        """A range of another version than the client has is not sent (RFC 9110 section 13.1.5)."""
        fields = self.get().fields
        for name in (b"etag", b"last-modified"):
            self.assertEqual(self.range(b"bytes=1-1", b"If-Range: " + fields[name]).status, 206)
        for other in (b'"x"', b"W/" + fields[b"etag"], LONG_AGO, b"x", b""):
            got = self.range(b"bytes=1-1", b"If-Range: " + other)
            self.assertEqual((other, got.status, got.body), (other, 200, TEXT))

    def test_not_modified(self) -> None:
        """A version that the client has is a 304, whatever range it asks for."""
        since = b"If-Modified-Since: " + formatdate(usegmt=True).encode()
        self.assertEqual(self.range(b"bytes=0-1", since).status, 304)


class ScriptTests(StaticTestCase):
    """A file that a script has sent in place of its own body."""

    def setUp(self) -> None:
        super().setUp()
        self.write(name="a.html")

    def ask(self, fields: bytes, *asked: bytes, status: int = 200, **more: Any) -> Answer:
        """Ask for a file of which the script has said something."""
        reason = more.pop("reason", b" OK")
        self.clients.script = {"status": status, "reason": reason, "fields": fields}
        return self.get(*asked, name="a.html", **more)

    def test_fields(self) -> None:
        """What the script says is passed on as it is, and goes before what the file says."""
        said = (
            b"content-type: text/x-own; charset=utf-8\r\nX-A: 1\r\nSet-Cookie: a=b\r\n"
            b"Content-Disposition: attachment\r\nDate: " + LONG_AGO + b"\r\n"
            b"Last-Modified: " + LONG_AGO + b'\r\nETag: "own"\r\nX-Content-Type-Options: none\r\n'
            b"Cache-Control: private\r\n"
        )
        status, fields, body = self.ask(said)
        self.assertEqual((status, body), (200, TEXT))
        self.assertEqual(
            fields,
            {
                b"content-type": b"text/x-own; charset=utf-8",
                b"content-length": b"10",
                b"accept-ranges": b"bytes",
                b"x-a": b"1",
                b"set-cookie": b"a=b",
                b"content-disposition": b"attachment",
                b"date": LONG_AGO,
                b"last-modified": LONG_AGO,
                b"etag": b'"own"',
                b"x-content-type-options": b"none",
                b"cache-control": b"private",
            },
        )

    def test_lines(self) -> None:
        """Fields of several lines keep them."""
        self.clients.script = {"status": 200, "fields": b"Set-Cookie: a\r\nSet-Cookie: b\r\n"}
        self.client.send(request(b"/a.html"))
        self.assertIn(b"Set-Cookie: a\r\nSet-Cookie: b\r\n", self.client.take())

    def test_own_body(self) -> None:
        """What the script says of its own body's length and coding is not about the file."""
        fields = self.ask(
            b"Content-Length: 0\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-0/1\r\n"
        ).fields
        self.assertEqual(fields[b"content-length"], b"10")
        self.assertNotIn(b"content-encoding", fields)
        self.assertNotIn(b"content-range", fields)

    def test_type_of_archive(self) -> None:
        """A file of the script's type is not unpacked on the way."""
        self.write(name="a.tar.gz")
        self.clients.script = {"status": 200, "fields": b"Content-Type: application/gzip\r\n"}
        self.assertNotIn(b"content-encoding", self.get(name="a.tar.gz").fields)

    def test_no_type(self) -> None:
        """Without a type from the script, the file has its own."""
        self.assertEqual(self.ask(b"").fields[b"content-type"], b"text/html")

    def test_odd_type(self) -> None:
        """What is no ASCII in a type is left out."""
        got = self.ask(b"Content-Type: text/\xffplain\r\n")
        self.assertEqual((got.fields[b"content-type"], got.body), (b"text/plain", TEXT))

    def test_any_method(self) -> None:
        """A script may answer any method with a file; conditions and ranges are not for those."""
        got = self.ask(b"", b"Range: bytes=0-1", b"If-None-Match: *", method=b"POST", body=b"x")
        self.assertEqual((got.status, got.body), (200, TEXT))
        self.assertEqual(self.ask(b"", method=b"HEAD").body, b"")

    def test_ranges(self) -> None:
        """Ranges are of the file, in the script's type."""
        got = self.ask(b"Content-Type: video/mp4\r\nX-A: 1\r\n", b"Range: bytes=1-2")
        self.assertEqual((got.status, got.body), (206, b"12"))
        self.assertEqual((got.fields[b"content-type"], got.fields[b"x-a"]), (b"video/mp4", b"1"))
        got = self.ask(b"Content-Type: video/mp4\r\n", b"Range: bytes=1-2,4-5")
        self.assertTrue(got.fields[b"content-type"].startswith(b"multipart/byteranges;"))
        self.assertEqual(got.body.count(b"Content-type: video/mp4\r\n"), 2)

    def test_validators(self) -> None:
        """The script's validators are those that conditions are about."""
        said = b'ETag: "own"\r\nLast-Modified: ' + LONG_AGO + b"\r\nX-A: 1\r\n"
        got = self.ask(said, b'If-None-Match: W/"own"')
        self.assertEqual((got.status, got.body, got.fields[b"x-a"]), (304, b"", b"1"))
        self.assertEqual((got.fields[b"etag"]), b'"own"')
        self.assertEqual(self.ask(said, b"If-Modified-Since: " + LONG_AGO).status, 304)
        self.assertEqual(self.ask(said, b'If-Match: "x"').status, 412)
        self.assertEqual(self.ask(said, b"Range: bytes=0-0", b'If-Range: "own"').status, 206)

    def test_status(self) -> None:
        """A status of the script's stands, and no condition or range changes it."""
        asked = (b"Range: bytes=0-1", b"If-None-Match: *")
        self.clients.script = {"status": 404, "reason": b" Not here", "fields": b"X-A: 1\r\n"}
        self.client.send(request(b"/a.html", *asked))
        received = self.client.take()
        self.assertTrue(received.startswith(b"HTTP/1.1 404 Not here\r\n"))
        self.assertEqual(answer(received).body, TEXT)
        self.assertEqual(self.ask(b"", status=500, reason=b"").status, 500)

    def test_vanished(self) -> None:
        """A file that is not there is a 404, with nothing of what the script said."""
        os.unlink(os.path.join(self.folder, "a.html"))
        status, fields, body = self.ask(b"X-A: 1\r\n")
        self.assertEqual(status, 404)
        self.assertNotIn(b"x-a", fields)
        self.assertNotIn(self.folder.encode(), body)


class BackpressureTests(StaticTestCase):
    """A client that reads slowly, or not at all."""

    def test_held(self) -> None:
        """No more is read of a file than its client takes."""
        client = self.slow_client()
        self.assertEqual(len(self.open_files()), 1)
        self.assertLess(client.transport.buffered, BOUND)
        written = sum(map(len, client.transport.writes))
        self.assertLess(written, len(MUCH) // 2)
        client.resume()
        self.assertEqual(answer(client.take()).body, MUCH)
        self.assertEqual(self.open_files(), [])

    def test_trickle(self) -> None:
        """A client that reads little by little gets all of it, and little is held meanwhile."""
        client = self.slow_client()
        received = 0
        while received < len(MUCH):
            client.read(50000)
            received += len(client.take())
            self.assertLess(client.transport.buffered, BOUND)
        client.resume()
        self.assertFalse(client.ended)

    def test_others_have_their_turn(self) -> None:
        """Between some blocks and the next everybody else is served, however fast they go."""
        self.write(MUCH)
        written: list[int] = []
        turns: list[int] = []

        def take_turn() -> None:
            turns.append(sum(written))
            if turns[-1] < len(MUCH):
                self.reactor.callLater(0, take_turn)

        def write(data: bytes) -> None:
            if not written:
                self.reactor.callLater(0, take_turn)
            written.append(len(data))

        self.client.transport.write = write  # type: ignore[method-assign]
        self.client.send(request(b"/a.txt"))
        self.assertGreater(turns[-1], len(MUCH))
        self.assertLess(max(later - turn for turn, later in pairwise(turns)), 5 * 65536)

    def test_client_lost(self) -> None:
        """When the client goes the file is closed, whether it was waiting or not."""
        client = self.slow_client()
        client.close()
        self.assertEqual(self.open_files(), [])
        self.client.pause()
        self.client.unsent = request(b"/a.txt")
        self.client.carry()
        self.reactor.poller.doRead()
        self.assertEqual(len(self.open_files()), 1)
        self.client.close()
        self.assertEqual(self.open_files(), [])
        self.reactor.elapse(1)

    def test_stalled(self) -> None:
        """A client that takes nothing for too long is broken off."""
        self.start(stall_timeout=10)
        client = self.slow_client()
        self.reactor.elapse(9)
        self.assertFalse(client.closed)
        lines = logged(lambda: self.reactor.elapse(3))
        self.assertTrue(client.aborted)
        self.assertIn("no byte moved for too long", lines[0])
        self.assertEqual(self.open_files(), [])

    def test_slow(self) -> None:
        """A client that takes something now and then is served, however long it takes."""
        self.start(stall_timeout=10)
        client = self.slow_client()
        for _ in range(10):
            self.reactor.elapse(8)
            client.read(70000)
        client.resume()
        self.assertEqual(answer(client.take()).body, MUCH)


class ChangeTests(StaticTestCase):
    """A file that changes while it is sent."""

    def test_shorter(self) -> None:
        """A response that cannot be completed is broken off: it never looks whole."""
        for asked in (b"X: y", b"Range: bytes=0-4000000", b"Range: bytes=0-9,10-4000000"):
            path = self.write(MUCH)
            client = self.connect(capacity=65536)
            client.pause()
            client.send(request(b"/a.txt", asked))
            os.truncate(path, 1000000)
            lines = logged(client.resume)
            self.assertTrue(client.aborted)
            self.assertLess(len(client.take()), 1100000)
            self.assertIn("the file has become shorter", lines[0])
            self.assertEqual(self.open_files(), [])

    def test_shorter_at_once(self) -> None:
        """While nothing was sent, there can be an answer; what has happened is the log's."""
        self.write()
        self.patch(static, "ServedFile", EmptiedFile)
        lines = logged(lambda: self.client.send(request(b"/a.txt")))
        status, fields, body = answer(self.client.take())
        self.assertEqual((status, body), (500, b"fastcar: internal error\n"))
        self.assertIn("the file has become shorter", lines[0])
        self.assertNotIn(b"etag", fields)
        self.assertFalse(self.client.ended)
        self.assertEqual(self.open_files(), [])

    def test_longer(self) -> None:
        """Only what was announced is sent of a file that grows."""
        client = self.slow_client()
        with open(os.path.join(self.folder, "a.txt"), "ab") as file:
            file.write(MUCH)
        client.resume()
        self.assertEqual(answer(client.take()).body, MUCH)
        client.send(request(b"/b.txt"))
        self.assertEqual(answer(client.take()).status, 404)

    def test_replaced(self) -> None:
        """A file in whose place another one is put is sent to its end."""
        client = self.slow_client()
        os.replace(self.write(b"new", "b.txt"), os.path.join(self.folder, "a.txt"))
        client.resume()
        self.assertEqual(answer(client.take()).body, MUCH)
        self.assertEqual(self.get().body, b"new")
