"""
Between an exchange and the connection it goes over, whichever version of HTTP that speaks.

Who asks whom: an exchange hands over content as it comes and knows nothing of framing; the
connection asks it for the head in the form that it needs, and tells it what arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fastcar_tw.http.head import ResponseHead
from fastcar_tw.http.target import Origin
from fastcar_tw.http2.fields import Field
from fastcar_tw.http2.stream import StreamUser
from fastcar_tw.upstream.kept_connection import ConnectionOwner, KeptConnection


class UpstreamExchange(StreamUser, Protocol):
    """
    What a connection asks of an exchange, and what it tells it about the response, besides what any
    stream does.

    @ivar request_complete: all of the request was handed over.
    @ivar request_chunked: the length of the request's body is not known before its end.
    @ivar pinned: the connection is for one client only.
    """

    __slots__ = ()

    request_complete: bool
    request_chunked: bool
    pinned: bool

    def request_head(self) -> bytes:
        """
        The request's head in HTTP/1.1.
        """

    def request_fields(self) -> Sequence[Field]:
        """
        The request's head in HTTP/2, pseudo-header fields first (RFC 9113 section 8.3.1).
        """

    def keep(self, connection: Any) -> None:
        return

    def switched(self, head: ResponseHead, early: bytes) -> None: ...


class UpstreamHandle(Protocol):
    """
    What an exchange holds while it is under way: a connection of its own, or a stream of one that
    others use too.
    """

    @property
    def full(self) -> bool:
        """
        The origin has not read what was sent to it.
        """

    def send(self, content: bytes, ended: bool) -> None:
        """
        Send more of the request's body.

        @param ended: that was all.
        """

    def sent(self) -> int:
        """
        How many bytes have left, by a measure that is only good for seeing that some have.
        """

    def pause_reading(self) -> None:
        """
        Take no more of the response for now.
        """

    def resume_reading(self) -> None:
        """
        Take more of the response.
        """

    def abort(self) -> None:
        """
        Give the exchange up, at once.
        """


class OriginConnection(KeptConnection):
    """
    A kept connection to one origin.

    @ivar origin: whom it leads to; the key it is pooled under.
    @cvar protocol: what it speaks, in words.
    """

    __slots__ = ("origin",)

    protocol: str

    def __init__(
        self, origin: Origin, owner: ConnectionOwner[Any], address: str | None = None
    ) -> None:
        super().__init__(owner)
        self.origin = origin
        self.address = address

    def __repr__(self) -> str:
        return self.describe(self.origin)

    @property
    def tls_version(self) -> str | None:
        """
        As OpenSSL names it, C{TLSv1.3}; None: no TLS, or not connected any more.
        """
        return getattr(self._wire, "tls_version", None)

    def start(self, exchange: UpstreamExchange, content: bytes, ended: bool) -> UpstreamHandle:
        """
        Begin an exchange.

        @param content: as much of the request's body as there is.
        @param ended: that is all of it.
        """
        raise NotImplementedError
