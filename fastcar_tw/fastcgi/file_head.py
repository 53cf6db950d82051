"""
The head of a response that is a file, of which a script may have said something.
"""

from __future__ import annotations

from email.utils import formatdate

from twisted.web.http_headers import Headers

from fastcar_tw.fastcgi.preconditions import Validators, parse_date
from fastcar_tw.http.fields import scan, without_fields
from fastcar_tw.http.grammar import special_fields

#: What a script says of its own body, which is not the one that is sent; its type is told with the
#: file's fields, since of several ranges each has it.
_NOT_PASSED_ON = frozenset(
    (b"content-encoding", b"content-length", b"content-range", b"content-type")
)
#: In which a script is believed, in place of what would be said without it.
_SCRIPT_FIELDS = special_fields(
    "accept-ranges", "content-type", "date", "etag", "last-modified", "x-content-type-options"
)


class FileHead:
    """
    What a script has said, to which the file's own fields are added.

    @ivar may_vary: preconditions and ranges of the request matter: the response is a 200 without
        them (RFC 9110 sections 13.2.1 and 14.2).
    @ivar content_type: the script's; None: that of the file.
    """

    __slots__ = ("_fields", "_found", "_reason", "_status", "content_type", "may_vary")

    def __init__(self, status: int | None, reason: bytes, fields: bytes) -> None:
        """
        @param status: None: there is no script.
        @param reason: with its leading space; none: the usual one.
        @param fields: valid field lines, each ended by CRLF, without hop-by-hop fields.
        """
        self.may_vary = status in (None, 200)
        self._status = status
        self._reason = reason
        self._found = scan(b"\n" + fields, 1, len(fields) + 1, _SCRIPT_FIELDS)[1]
        self._fields = without_fields(fields, _NOT_PASSED_ON)
        self.content_type = self._found.get(b"content-type")

    def validators(self, own: Validators) -> Validators:
        """
        The script's, else the file's.
        """
        modified = parse_date(self._found.get(b"last-modified", b""))
        return Validators(
            self._found.get(b"etag", own.etag), own.modified if modified is None else modified
        )

    def encode(self, status: int, reason: bytes, headers: Headers) -> tuple[int, bytes]:
        """
        @param status: what twisted.web would answer.
        @param reason: of that.
        @param headers: what it says of the file.
        @return: the status, and status line and field lines without anything about the connection
            and without the empty line.
        """
        reason = b" " + reason
        if self._status is not None and (status == 200 or not self.may_vary):
            status, reason = self._status, self._reason or reason
        found = self._found
        lines = [b"HTTP/1.1 %d%b\r\n" % (status, reason)]
        if b"date" not in found:
            lines.append(b"Date: %b\r\n" % formatdate(usegmt=True).encode("ascii"))
        for name, values in headers.getAllRawHeaders():
            if name == b"Content-Type" or name.lower() not in found:
                lines += [b"%b: %b\r\n" % (name, value) for value in values]
        if b"x-content-type-options" not in found:
            lines.append(b"X-Content-Type-Options: nosniff\r\n")
        lines.append(self._fields)
        return status, b"".join(lines)
