"""
A probe: one GET through the pool, and a report of what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastcar_tw.forward.exchange import refused_by_proxy
from fastcar_tw.forward.request_head import request_head, request_head_to_proxy
from fastcar_tw.http.errors import GatewayError
from fastcar_tw.http.head import ResponseHead
from fastcar_tw.http2.fields import request_fields
from fastcar_tw.site.probe_target import ProbeTarget
from fastcar_tw.upstream.exchange import OriginConnection, UpstreamExchange, UpstreamHandle

if TYPE_CHECKING:
    from fastcar_tw.forward.forwarder import Forwarder

#: Bytes of a body that are read.
MAX_BODY = 1024 * 1024


class Probe(UpstreamExchange):
    """
    Fetches and reports, once; a L{Waiter<fastcar_tw.upstream.pool.Waiter>} too.
    """

    __slots__ = (
        "_done",
        "_forwarder",
        "_handle",
        "_hop",
        "_pool",
        "_report",
        "_sent_again",
        "_started",
        "_target",
        "_waiting",
    )

    head_only = False
    request_complete = True
    request_chunked = False
    request_trailers = b""
    pinned = False

    def __init__(
        self,
        forwarder: Forwarder,
        target: ProbeTarget,
        done: Callable[[dict[str, Any]], None],
    ) -> None:
        """
        @param done: is told the report, which is ready for JSON.
        """
        self._forwarder = forwarder
        self._pool = forwarder.pool
        self._target = target
        self._done: Callable[[dict[str, Any]], None] | None = done
        self._hop = target.origin.next_hop
        self._started = forwarder.now()
        self._handle: UpstreamHandle | None = None
        self._waiting = False
        self._sent_again = False
        route = target.origin.route
        self._report: dict[str, Any] = {
            "url": target.url,
            "route": "direct" if route is None else str(route),
            "address": None,
            "tls": None,
            "protocol": None,
            "verified": None,
            "reused": None,
            "status": None,
            "bytes": 0,
            "truncated": False,
            "seconds": {"connection": None, "first_byte": None, "total": None},
            "error": None,
        }

    def start(self) -> None:
        """
        Get a connection.
        """
        self._waiting = True
        self._pool.acquire(self._hop, self)

    def cancel(self) -> None:
        """
        Let go of everything and report nothing.
        """
        self._done = None
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.abort()
        if self._waiting:
            self._waiting = False
            self._pool.cancel(self._hop, self)

    def expired(self) -> None:
        """
        It has taken too long.
        """
        origin = self._target.origin
        if self._waiting:
            error = GatewayError(504, "connection_timeout", f"{origin}: no connection in time")
        else:
            error = GatewayError(504, "http_response_timeout", f"{origin}: no response in time")
        self._finish(error)

    # From the pool.

    def is_repeatable(self) -> bool:
        """
        It is a GET.
        """
        return True

    def connected(self, connection: OriginConnection) -> None:
        """
        A connection is there: send the request.
        """
        self._waiting = False
        if self._done is None:
            self._pool.release(connection)
            return
        target, report = self._target, self._report
        secure = target.origin.scheme == "https"
        report["address"] = connection.address
        # Of an http origin, TLS is what the proxy speaks, if anything.
        report["tls"] = connection.tls_version if secure else None
        report["protocol"] = connection.protocol
        report["verified"] = target.origin.verified if secure else None
        report["reused"] = not connection.fresh
        self._note("connection")
        self._handle = connection.start(self, b"", True)

    def connect_failed(self, error: GatewayError) -> None:
        """
        There will be no connection.
        """
        self._finish(error)

    # From the connection.

    def response_head(self, head: ResponseHead, has_body: bool) -> None:
        """
        The response begins.

        @raise GatewayError: it is from a proxy that does not let us through.
        """
        self._report["status"] = head.status
        self._note("first_byte")
        if head.status == 407 and self._hop is not self._target.origin:
            raise refused_by_proxy(self._target.origin)

    def response_body(self, content: bytes) -> None:
        """
        Some of the body, which is only counted.
        """
        self._report["bytes"] += len(content)
        if self._report["bytes"] > MAX_BODY:
            self._report["truncated"] = True
            self._finish()

    def response_end(self, trailers: bytes) -> None:
        """
        The response is complete; the connection is no longer ours.
        """
        self._handle = None
        self._finish()

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """
        The origin has switched protocols unasked.
        """
        self._report["status"] = head.status
        text = f"{self._target.origin} switched protocols unasked"
        self._finish(GatewayError(502, "http_upgrade_failed", text))

    def upstream_failed(self, error: GatewayError, *, answered: bool, unprocessed: bool) -> None:
        """
        The connection has ended before the response did: when it has served before, its origin may
        have closed it just then, and a new one is tried, once.
        """
        self._handle = None
        if answered or self._sent_again or not (unprocessed or self._report["reused"]):
            self._finish(error)
            return
        self._sent_again = True
        self._waiting = True
        self._pool.acquire_again(self._hop, self)

    def request_head(self) -> bytes:
        """
        See L{UpstreamExchange<fastcar_tw.upstream.exchange.UpstreamExchange>}.
        """
        target = self._target
        if self._hop is target.origin:
            return request_head(target.request, target.request.target, b"")
        return request_head_to_proxy(target.request, b"", target.origin)

    def request_fields(self) -> Sequence[tuple[bytes, bytes]]:
        """
        See L{UpstreamExchange<fastcar_tw.upstream.exchange.UpstreamExchange>}.
        """
        return request_fields(self._target.request, b"")

    # Ours.

    def _note(self, moment: str) -> None:
        """
        All times are from the beginning.
        """
        self._report["seconds"][moment] = round(self._forwarder.now() - self._started, 3)

    def _finish(self, error: GatewayError | None = None) -> None:
        done = self._done
        if done is None:
            return
        self._note("total")
        if error is not None:
            self._report["error"] = {"type": error.proxy_status, "text": error.text}
        self._log(error)
        self.cancel()
        done(self._report)

    def _log(self, error: GatewayError | None) -> None:
        forwarder = self._forwarder
        what = f"probe of {self._target.origin}"
        if error is not None:
            forwarder.failed(what, error, self._started)
        elif forwarder.config.verbose:
            forwarder.succeeded(what, self._report["status"], self._started)
