"""
A request to fastcar itself.

Answers are JSON, PEM or a line of text, never HTML, and a probe is not made for the pages of other
sites: on a TCP listener a browser may ask.
"""

from __future__ import annotations

import json
import re
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.grammar import special_fields
from fastcar_tw.http.head import RequestHead
from fastcar_tw.site.arrival import describe_arrival
from fastcar_tw.site.probe import Probe
from fastcar_tw.site.probe_target import parse_probe

if TYPE_CHECKING:
    from fastcar_tw.downstream.http1 import DownstreamConnection
    from fastcar_tw.forward.forwarder import Forwarder

#: The host that is fastcar itself, on every listener and whatever the port, in both its spellings.
SITE_NAMES = frozenset(("fastcar.localhost", "fastcar.localhost."))

_PATHS = (b"/", b"/ca.pem", b"/probe")
_METHODS = (b"GET", b"HEAD")
_TEXT = b"text/plain; charset=utf-8"
_FIELDS = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
#: From where a browser's request comes (W3C Fetch Metadata, RFC 6454 section 7).
_WHENCE = special_fields("sec-fetch-site", "origin")
#: Values of either that are no other site's.
_OURS = re.compile(rb"none|same-origin|https?://fastcar\.localhost\.?(?::[0-9]+)?")


class SiteExchange(DownstreamExchange):
    """
    One request to fastcar itself and its response.

    Its answer does not wait for the request's body, after which the client connection is of further
    use only if that has come already.
    """

    __slots__ = ("_downstream", "_forwarder", "_probe", "_request")

    def __init__(
        self, forwarder: Forwarder, downstream: DownstreamConnection, request: RequestHead
    ) -> None:
        super().__init__(request)
        self._forwarder = forwarder
        self._downstream = downstream
        self._request = request
        self._probe: Probe | None = None

    # From the client.

    def start(self) -> None:
        """
        The request's head, and what came with it, is there.
        """
        path, _, query = self._request.target.partition(b"?")
        if path not in _PATHS:
            self._refuse(404, "expected /, /ca.pem or /probe?url=URL")
        elif self._request.method not in _METHODS:
            self._refuse(405, "expected GET or HEAD", b"Allow: GET, HEAD\r\n")
        elif path == b"/":
            self._tell_arrival()
        elif path == b"/ca.pem":
            self._serve_ca()
        elif self._is_cross_site():
            self._refuse(403, "a probe is not made for the page of another site")
        else:
            self._begin_probe(query)

    def downstream_lost(self) -> None:
        """
        The client has gone.
        """
        if self._probe is not None:
            self._probe.cancel()

    def expired(self) -> None:
        """
        The probe has taken too long.
        """
        if self._probe is not None:
            self._probe.expired()

    # The pages.

    def _tell_arrival(self) -> None:
        entrance, handle = self._downstream.entrance, self._downstream.handle
        self._answer_json(describe_arrival(self._forwarder, entrance, self._request, handle))

    def _serve_ca(self) -> None:
        certificate = self._forwarder.server_contexts.ca_certificate
        if certificate is None:
            self._refuse(404, "there is no local CA: the certificate for clients is that of --cert")
        else:
            self._answer(200, b"application/x-pem-file", certificate)

    def _is_cross_site(self) -> bool:
        found = _WHENCE.findall(b"\n" + self._request.fields)
        return not all(_OURS.fullmatch(value.strip()) for _, value in found)

    def _begin_probe(self, query: bytes) -> None:
        try:
            target = parse_probe(query, self._forwarder.origin)
            if target.origin.host in SITE_NAMES:
                raise MessageError("a probe of fastcar itself would tell nothing")
        except MessageError as error:
            self._refuse(error.status, error.text)
            return
        forwarder = self._forwarder
        self._downstream.deadline = forwarder.now() + forwarder.config.response_timeout
        self._probe = Probe(forwarder, target, self._answer_json)
        self._probe.start()

    # Answers.

    def _refuse(self, status: int, text: str, fields: bytes = b"") -> None:
        self._answer(status, _TEXT, f"fastcar: {text}\n".encode(), fields)

    def _answer_json(self, content: dict[str, Any]) -> None:
        self._answer(200, b"application/json", json.dumps(content, indent=2).encode() + b"\n")

    def _answer(self, status: int, content_type: bytes, body: bytes, fields: bytes = b"") -> None:
        self.persist = self.persist and self.request_complete
        if not self.persist:
            fields += b"Connection: close\r\n"
        self.responded = True
        self._downstream.queue(
            b"HTTP/1.1 %d %b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b"
            % (
                status,
                HTTPStatus(status).phrase.encode("ascii"),
                formatdate(usegmt=True).encode("ascii"),
                content_type,
                len(body),
                _FIELDS,
                fields,
                b"" if self.head_only else body,
            )
        )
        self._downstream.response_done(self.persist)
