"""
Tunnels through HTTP proxies: the client's side of CONNECT (RFC 9110 section 9.3.6).
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.fields import without_fields
from fastcar_tw.http.head import MAX_INTERIM, find_head_end, parse_response_head
from fastcar_tw.http.target import join_authority
from fastcar_tw.routes.handshake import HandshakeError
from fastcar_tw.routes.proxy import Proxy

#: To be ignored in a successful response, and without meaning here in any other.
_FRAMING = (b"content-length", b"transfer-encoding")

#: RFC 9209 error type by status; others by their class.
_PROXY_STATUS = {407: "proxy_configuration_error", 504: "connection_timeout"}


@lru_cache(64)
def proxy_authorization(proxy: Proxy) -> bytes:
    """
    The Proxy-Authorization field line (RFC 9110 section 11.7.2) with Basic credentials (RFC 7617),
    nothing when there are none.
    """
    if proxy.username is None:
        return b""
    encoded = b64encode(b"%b:%b" % (proxy.username, proxy.password))
    return b"Proxy-Authorization: Basic %b\r\n" % encoded


def wanted_credentials(proxy: Proxy) -> str:
    """
    What a 407 means (RFC 9110 section 15.5.8), as the predicate of a sentence about the proxy.
    """
    if proxy.username is None:
        return "wants credentials (407)"
    return "does not accept the credentials (407)"


class ConnectHandshake:
    """
    Asks an HTTP proxy for a tunnel; see L{fastcar_tw.routes.handshake.Handshake}.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        """
        @param host: name or address of the origin, without brackets.
        """
        self.done = False
        self.leftover = b""
        self._proxy = proxy
        self._authority = join_authority(host, port).encode("ascii")
        self._buffer = b""
        self._interim = 0

    def start(self) -> bytes:
        """
        @return: the request.
        """
        return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (
            self._authority,
            self._authority,
            proxy_authorization(self._proxy),
        )

    def receive(self, data: bytes) -> bytes:
        """
        Take what the proxy sent.

        @return: nothing: one request is all there is to send.
        @raise HandshakeError: it refused, or is no HTTP proxy.
        """
        searched = len(self._buffer)
        buffer = self._buffer + data
        try:
            while not self.done:
                end = find_head_end(buffer, searched)
                if end < 0:
                    break
                self._judge(buffer[:end])
                buffer = buffer[end:]
                searched = 0
        except MessageError as error:
            raise _invalid(error.text) from None
        if self.done:
            self.leftover, buffer = buffer, b""
        self._buffer = buffer
        return b""

    def _judge(self, head: bytes) -> None:
        head = without_fields(head, _FRAMING)
        status = parse_response_head(head, len(head)).status
        if status == 101:
            raise _invalid("it switched protocols unasked")
        if status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise _invalid("too many interim responses")
        elif status < 300:
            self.done = True
        else:
            raise _refusal(status, self._proxy)


def _invalid(what: str) -> HandshakeError:
    return HandshakeError(f"sent an invalid response: {what}", "http_protocol_error")


def _refusal(status: int, proxy: Proxy) -> HandshakeError:
    proxy_status = _PROXY_STATUS.get(status)
    if proxy_status is None:
        denied = 400 <= status < 500
        proxy_status = "http_request_denied" if denied else "destination_unavailable"
    if status == 407:
        return HandshakeError(wanted_credentials(proxy), proxy_status)
    return HandshakeError(f"answered CONNECT with status {status}", proxy_status)
