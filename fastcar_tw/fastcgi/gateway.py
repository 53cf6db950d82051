"""
What all exchanges of the FastCGI service share: what requests become, variables, and the log.
"""

from __future__ import annotations

import os
import re
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime

from fastcar_tw.downstream.clients import Clients
from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.exchange import DownstreamExchange
from fastcar_tw.downstream.http1 import DownstreamConnection
from fastcar_tw.fastcgi.answers import Answer, Refusal, describe
from fastcar_tw.fastcgi.cgi import CGIHead
from fastcar_tw.fastcgi.config import FastCGIConfig
from fastcar_tw.fastcgi.documents import DocumentRoot, NotFoundError, Redirect, Script
from fastcar_tw.fastcgi.exchange import ScriptExchange
from fastcar_tw.fastcgi.forwarded import TrustedProxies
from fastcar_tw.fastcgi.pool import FastCGIPool
from fastcar_tw.fastcgi.request_body import too_large
from fastcar_tw.fastcgi.static import StaticExchange
from fastcar_tw.fastcgi.variables import (
    client_variables,
    common_variables,
    encode_variables,
    request_variables,
)
from fastcar_tw.http.errors import FastcarError, GatewayError, MessageError
from fastcar_tw.http.fields import without_fields
from fastcar_tw.http.head import RequestHead
from fastcar_tw.http.target import parse_authority

if TYPE_CHECKING:
    from fastcar_tw.tls.server_contexts import ServerContexts

#: How many scripts may send a request on to one another, by Location or X-Accel-Redirect.
MAX_REDIRECTS = 10
#: Parts of what php writes to its log that are told for one request, and bytes of each.
MAX_STDERR = 50
MAX_STDERR_LINE = 2000
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BODY_FIELDS = frozenset((b"content-length", b"content-type", b"expect"))


class Gateway(Clients):
    """
    The FastCGI service's shared parts.

    @ivar pool: connections to php-fpm.
    @ivar local_addresses: of TCP listeners that have one only: address and port, by name.
    @ivar server_contexts: the certificate shown to clients; None: no TLS.
    """

    config: FastCGIConfig

    def __init__(
        self,
        config: FastCGIConfig,
        clock: IReactorTime,
        pool: FastCGIPool,
        server_contexts: ServerContexts | None = None,
    ) -> None:
        super().__init__(config, clock)
        self.pool = pool
        self.local_addresses: dict[str, tuple[str, int]] = {}
        self.server_contexts = server_contexts
        assert config.root is not None
        self._documents = DocumentRoot(
            config.root,
            index=config.index,
            front_controller=config.front_controller,
            split=config.split,
            static=config.static,
            symlinks_to=config.symlinks_to,
            fpm_root=config.fpm_root,
            now=self.now,
        )
        self._proxies = TrustedProxies(config.trusted_proxy)
        # What the operator says comes last, and so counts.
        named = (text.partition("=") for text in config.param)
        self._own_variables = encode_variables((name, value) for name, _, value in named)
        self._common_variables = common_variables()
        # A kept connection asks for the same again and again.
        self._client_variables = lru_cache(1024)(client_variables)
        self._date = b""
        self._date_until = 0.0

    # What requests become.

    def exchange(
        self, downstream: DownstreamConnection, request: RequestHead
    ) -> DownstreamExchange:
        """
        See L{Clients.exchange}.
        """
        if request.host:
            _check_host(request.host)
        return self._exchange(downstream, request, 0)

    def tunnel(self, entrance: Entrance, request: RequestHead) -> Any:
        """
        See L{Clients.tunnel}.
        """
        raise MessageError("there are no tunnels here: CONNECT is not served", 501)

    def substitute(
        self, downstream: DownstreamConnection, request: RequestHead, head: CGIHead, redirects: int
    ) -> DownstreamExchange:
        """
        @param head: one that L{has a substitute<CGIHead.has_substitute>}.
        @return: what answers in the script's place.
        @raise FastcarError: there is no such thing.
        """
        if head.local_redirect is None:
            path = self._sent_file(head)
            return StaticExchange(
                self,
                downstream,
                request,
                path,
                status=head.status,
                reason=head.reason,
                fields=head.fields,
            )
        if redirects >= MAX_REDIRECTS:
            raise GatewayError(502, "http_protocol_error", "too many redirections")
        return self._exchange(downstream, _redirected(request, head.local_redirect), redirects + 1)

    def _exchange(
        self, downstream: DownstreamConnection, request: RequestHead, redirects: int
    ) -> DownstreamExchange:
        limit = self.config.max_body
        if request.target == b"*":
            return Answer(self, downstream, request, 200)
        if request.method == b"TRACE":
            error = FastcarError(501, "http_request_error", "TRACE is not served")
            return Refusal(self, downstream, request, error)
        if request.content_length is not None and 0 < limit < request.content_length:
            error = too_large(limit)
            self.failed(describe(request), error, self.now())
            return Refusal(self, downstream, request, error)
        try:
            document = self._documents.find(request.target)
        except NotFoundError as missing:
            if missing.reason:
                self.log.warn("not found: {reason}", reason=missing.reason)
            return Refusal(self, downstream, request, missing)
        if isinstance(document, Script):
            return ScriptExchange(self, downstream, request, document, redirects)
        if isinstance(document, Redirect):
            return Answer(self, downstream, request, 301, b"Location: %b\r\n" % document.location)
        return StaticExchange(self, downstream, request, document.path)

    def _sent_file(self, head: CGIHead) -> bytes:
        """
        The file that a script wants to be sent.

        @raise GatewayError: it may not be.
        """
        directory = self.config.sendfile
        if directory is None:
            raise GatewayError(
                502,
                "http_protocol_error",
                "the script wants a file sent, but there is no --sendfile",
            )
        base = os.path.realpath(os.fsencode(directory))
        if head.sendfile is not None:
            wanted = unquote_to_bytes(head.sendfile)
        else:
            uri = (head.accel or b"").partition(b"?")[0]
            wanted = os.path.join(base, unquote_to_bytes(uri).lstrip(b"/"))
        path = os.path.realpath(wanted) if b"\0" not in wanted else b""
        if not path.startswith(base.rstrip(b"/") + b"/") or not os.path.isabs(wanted):
            raise GatewayError(
                502, "http_protocol_error", "the script wants a file sent that is not in --sendfile"
            )
        return path

    # Variables and fields.

    def variables(
        self, downstream: DownstreamConnection, request: RequestHead, script: Script, length: int
    ) -> list[bytes]:
        """
        The variables of a request, encoded.  What is wanting in the request, or told of it by a
        trusted proxy, is put right in it.

        @param length: bytes of its body.
        @raise MessageError: the Host field is no authority.
        """
        entrance = downstream.entrance
        peer, https = entrance.peer, bool(entrance.tls_version)
        local = None
        if peer is not None:
            local = self.local_addresses.get(entrance.listener) or _local_address(downstream)
        believed = self._proxies.trusts(peer)
        if believed:
            peer, local, https, request.fields = self._proxies.arrival(
                peer, local, https, request.fields
            )
        if not request.host:
            # Of HTTP/1.0, as many a check of health is.
            name = b"localhost" if local is None else local[0].encode("ascii")
            request.host = b"[%b]" % name if b":" in name else name
        pairs = request_variables(request, script, length, believed)
        pairs += (
            self._client_variables(peer, local, https),
            self._common_variables,
            self._own_variables,
        )
        return pairs

    def date_field(self) -> bytes:
        """
        The field line that says what time it is (RFC 9110 section 6.6.1).
        """
        now = self.now()
        if now >= self._date_until:
            self._date = f"Date: {formatdate(usegmt=True)}\r\n".encode("ascii")
            self._date_until = now + 0.5
        return self._date

    # The log.

    def log_stderr(self, script: str, content: bytes, told: int) -> int:
        """
        Log what a script has written to stderr, which is where php-fpm has its messages go.

        @param told: how many lines were told of this request.
        @return: the same, now.
        """
        for line in content.decode("utf-8", "replace").splitlines():
            text = _CONTROLS.sub(" ", line).strip()[:MAX_STDERR_LINE]
            if text and told < MAX_STDERR:
                self.log.warn("{script}: stderr: {text}", script=script, text=text)
            told += bool(text)
            if told == MAX_STDERR:
                self.log.warn("{script}: stderr: no more of this request is told", script=script)
                told += 1
        return told


@lru_cache(256)
def _check_host(host: bytes) -> None:
    """
    @raise MessageError: it is no authority (RFC 9112 section 3.2).
    """
    parse_authority(host, "http")


def _local_address(downstream: DownstreamConnection) -> tuple[str, int] | None:
    try:
        name = downstream.handle.getsockname()
    except (OSError, AttributeError):
        return None
    # A UNIX socket has a path, or nothing.
    return name[:2] if isinstance(name, tuple) else None


def _redirected(request: RequestHead, target: bytes) -> RequestHead:
    """
    The request that a local redirection stands for (RFC 3875 section 6.2.2).
    """
    method = b"HEAD" if request.method == b"HEAD" else b"GET"
    redirected = RequestHead(method, target, request.version)
    redirected.host = request.host
    redirected.fields = without_fields(request.fields, _BODY_FIELDS)
    redirected.close = request.close
    return redirected
