"""
Files: what twisted.web serves, on a client connection of ours.

Theory of operation.  L{ServedFile} is a L{twisted.web.static.File}, rendered with a real
L{twisted.web.http.Request}, which stands on a small channel.  Of the client's request it is shown
only a condition or ranges that we have judged ourselves; the head that it wants written is written
by us, so the framing is that of all other responses, and the length always known.  The body comes
from the producer that File makes, which is asked for a block for as long as the client takes them.
"""

from __future__ import annotations

import errno
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from twisted.internet.interfaces import IDelayedCall
from twisted.web.http import HTTPChannel, Request, datetimeToString
from twisted.web.http_headers import Headers

from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.fastcgi.answers import describe, for_client
from fastcar_tw.fastcgi.file_head import FileHead
from fastcar_tw.fastcgi.preconditions import find_conditions, judge, range_to_send
from fastcar_tw.fastcgi.request_channel import RequestChannel
from fastcar_tw.fastcgi.served_file import ServedFile
from fastcar_tw.http.errors import FastcarError, stall_error
from fastcar_tw.http.head import RequestHead

if TYPE_CHECKING:
    from fastcar_tw.downstream.clients import Clients
    from fastcar_tw.downstream.http1 import DownstreamConnection

#: Blocks of 64 KiB after which all others get their turn, however fast the client reads.
BLOCKS_AT_ONCE = 4

_METHODS = (b"GET", b"HEAD")
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class StaticExchange(DownstreamExchange):
    """
    One request for a file and its response.

    A request's body, if it has one, is ignored: the response does not wait for it, after which the
    client connection is of further use only if all of it has come already.
    """

    __slots__ = (
        "_any_method",
        "_call",
        "_channel",
        "_clients",
        "_downstream",
        "_file",
        "_full",
        "_head",
        "_moved",
        "_path",
        "_request",
        "_started",
        "_status",
    )

    def __init__(
        self,
        clients: Clients,
        downstream: DownstreamConnection,
        request: RequestHead,
        path: bytes,
        *,
        status: int | None = None,
        reason: bytes = b"",
        fields: bytes = b"",
    ) -> None:
        """
        @param path: of the file, without symbolic links.
        @param status: of a script that has the file sent in place of its own body, which any method
            may bring about; not one that has no body.  None: the file itself was asked for.
        @param reason: the script's reason phrase with its leading space; none: the usual one.
        @param fields: the script's field lines, valid and without hop-by-hop fields, each ended by
            CRLF.  They are passed on, but for what they say of the length and coding of the
            script's own body; they go before what the file says.
        """
        super().__init__(request)
        self._clients = clients
        self._downstream = downstream
        self._request = request
        self._path = path
        self._head = FileHead(status, reason, fields)
        self._any_method = status is not None
        self._started = clients.now()
        self._status = 0
        self._file: ServedFile | None = None
        self._channel: RequestChannel | None = None
        self._call: IDelayedCall | None = None
        self._full = False
        self._moved = 0

    def __repr__(self) -> str:
        return f"<StaticExchange {self._what()}>"

    # From the client.

    def start(self) -> None:
        """
        The request's head, and what came with it, is there.
        """
        if self._request.method not in _METHODS and not self._any_method:
            self._answer(405, "expected GET or HEAD", b"Allow: GET, HEAD\r\n")
            return
        try:
            self._file = ServedFile(self._path)
        except OSError as error:
            self._cannot_open(error)
        else:
            self._serve(self._file)

    def downstream_full(self) -> None:
        """
        The client does not read.
        """
        self._full = True

    def downstream_drained(self) -> None:
        """
        The client has read what was there.
        """
        self._full = False
        if self._call is None and self._channel is not None:
            self._send_some(self._channel)

    def downstream_lost(self) -> None:
        """
        The client has gone.
        """
        self._end()

    def expired(self) -> None:
        """
        Nothing was seen to happen for too long.
        """
        if self._downstream.sent() != self._moved:
            # Buffers were emptying all the while.
            self._set_deadline()
        else:
            self._break_off(stall_error())

    # The response.

    def _serve(self, file: ServedFile) -> None:
        if self._head.content_type is not None:
            file.set_type(self._head.content_type)
        channel = self._channel = RequestChannel(self._begin, self._downstream.queue)
        request = Request(cast(HTTPChannel, channel))
        request.method = b"HEAD" if self.head_only else b"GET"
        # So it leaves the framing to us.
        request.clientproto = b"HTTP/1.0"
        request.setETag(file.validators.etag)
        if self._head.may_vary and not self._ask(request, file):
            self._end()
            self._answer(412, "the file is not the one that was expected")
            return
        if not file.render_GET(request):
            request.finish()
        self._send_some(channel)

    def _ask(self, request: Request, file: ServedFile) -> bool:
        """
        Ask File for what the client's conditions and ranges come to.

        @return: whether the preconditions allow of it.
        """
        asked = self._request
        conditions = find_conditions(asked.fields) if asked.method in _METHODS else {}
        if not conditions:
            return True
        validators = self._head.validators(file.validators)
        status = judge(conditions, validators)
        if status == 304:
            date = datetimeToString(file.validators.modified)
            request.requestHeaders.setRawHeaders(b"if-modified-since", [date])
        elif status is None:
            ranges = range_to_send(conditions, validators, file.size)
            if ranges is not None:
                request.requestHeaders.setRawHeaders(b"range", [ranges])
        return status != 412

    def _begin(self, status: int, reason: bytes, headers: Headers) -> None:
        self._status, head = self._head.encode(status, reason, headers)
        self._downstream.queue(b"%b%b\r\n" % (head, self._connection_field()))

    def _send_some(self, channel: RequestChannel) -> None:
        """
        Send as much as the client takes, up to where it is the turn of others.
        """
        self._call = None
        for _ in range(BLOCKS_AT_ONCE):
            if self._full or not self._send_block(channel):
                return
        self._call = self._clients.deadlines.clock.callLater(0, self._send_some, channel)

    def _send_block(self, channel: RequestChannel) -> bool:
        """
        @return: whether there is more.
        """
        try:
            if channel.producer is not None:
                channel.producer.resumeProducing()
        except (OSError, EOFError) as error:
            text = "the file has become shorter"
            if isinstance(error, OSError):
                text = f"the file cannot be read: {error.strerror}"
            self._break_off(FastcarError(500, "proxy_internal_error", text))
            return False
        if channel.finished:
            self._done()
            return False
        self._downstream.flush()
        self._set_deadline()
        return True

    # Ends.

    def _done(self) -> None:
        self._end()
        if self._clients.config.verbose:
            self._clients.succeeded(self._what(), self._status, self._started)
        self._downstream.response_done(self.persist)

    def _cannot_open(self, error: OSError) -> None:
        if error.errno in _NO_DESCRIPTOR:
            answer = FastcarError(503, "proxy_internal_error", "too many open files", 1)
        else:
            answer = FastcarError(404, "http_request_error", "not found")
        self._clients.log.warn(
            "{what}: {path}: {reason}",
            what=self._what(),
            path=self._path.decode("utf-8", "backslashreplace"),
            reason=error.strerror or str(error),
        )
        self._downstream.failed(for_client(answer))

    def _break_off(self, error: FastcarError) -> None:
        self._end()
        self._clients.failed(self._what(), error, self._started)
        if self.responded:
            self._downstream.abort()
        else:
            self._downstream.failed(for_client(error))

    def _end(self) -> None:
        """
        Read no more of the file.
        """
        channel, self._channel = self._channel, None
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        if channel is not None and channel.producer is not None:
            channel.producer.stopProducing()
        if self._file is not None:
            self._file.close()

    def _answer(self, status: int, text: str, fields: bytes = b"") -> None:
        """
        Answer with something else than the file.
        """
        if self._clients.config.verbose:
            self._clients.succeeded(self._what(), status, self._started)
        body = f"fastcar: {text}\n".encode("ascii")
        self._downstream.queue(
            b"HTTP/1.1 %d %b\r\nDate: %b\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: %d\r\n%b%b\r\n%b"
            % (
                status,
                HTTPStatus(status).phrase.encode("ascii"),
                formatdate(usegmt=True).encode("ascii"),
                len(body),
                fields,
                self._connection_field(),
                b"" if self.head_only else body,
            )
        )
        self._downstream.response_done(self.persist)

    def _connection_field(self) -> bytes:
        """
        Settle what becomes of the client connection, now that the response begins.
        """
        self.responded = True
        self.persist = self.persist and self.request_complete
        return b"" if self.persist else b"Connection: close\r\n"

    def _set_deadline(self) -> None:
        self._moved = self._downstream.sent()
        self._downstream.deadline = self._clients.stall_deadline()

    def _what(self) -> str:
        return describe(self._request)
