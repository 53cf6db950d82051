"""
What a probe is to fetch, read from the query of its request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from fastcar_tw.http.errors import MessageError
from fastcar_tw.http.head import RequestHead
from fastcar_tw.http.target import Origin, split_absolute_form
from fastcar_tw.site.arrival import VERSION

_PARAMETER = re.compile(rb"url=((?:[^%&]|%[0-9A-Fa-f]{2})*)")
#: Anything else has to be percent-encoded (RFC 3986 section 2), and would break the request.
_URL = re.compile(rb"[\x21\x22\x24-\x7e]+")


class ProbeTarget(NamedTuple):
    """
    What to fetch.

    @ivar url: as it was asked for, without its percent-encoding as a parameter.
    @ivar origin: whom to ask.
    @ivar request: what to ask.
    """

    url: str
    origin: Origin
    request: RequestHead


def parse_probe(query: bytes, origin_of: Callable[[str, bytes], Origin]) -> ProbeTarget:
    """
    Read the query C{url=URL}, in which the URL is percent-encoded (RFC 3986 section 2.1) at least
    where it has an ampersand or a percent sign.

    @param origin_of: the origin of a scheme and an authority; may raise L{MessageError}.
    @raise MessageError: 400: the query is something else, or the URL is not C{http} or C{https},
        has user information or a fragment, or is not in ASCII.
    """
    parameter = _PARAMETER.fullmatch(query)
    if parameter is None:
        raise MessageError("expected ?url=URL and no more, with each & of the URL as %26, % as %25")
    url = unquote_to_bytes(parameter[1])
    if _URL.fullmatch(url) is None:
        raise MessageError("invalid url: expected percent-encoded ASCII without a fragment")
    if b"@" in url.partition(b"//")[2].partition(b"/")[0].partition(b"?")[0]:
        raise MessageError("invalid url: expected no user information")
    try:
        scheme, authority, path = split_absolute_form(url)
    except MessageError:
        raise MessageError("invalid url: expected http://host/path or https://host/path") from None
    request = RequestHead(b"GET", path or b"/", 11)
    request.host = authority
    request.fields = b"Host: %b\r\nUser-Agent: fastcar/%b\r\nAccept: */*\r\n" % (
        authority,
        VERSION.encode("ascii"),
    )
    return ProbeTarget(url.decode("ascii"), origin_of(scheme, authority), request)
