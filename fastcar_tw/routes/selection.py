"""
Which proxy a request goes through, by curl's rules.

  - C{--proxy} beats the variables; empty, it switches them off.
  - Else, for an http origin, the first of C{http_proxy}, C{HTTP_PROXY}, C{all_proxy} and
    C{ALL_PROXY} that is set and not empty; C{https_proxy} and C{HTTPS_PROXY} for an https one.
  - What the list of C{--no-proxy} names is reached directly, whoever named the proxy; without that
    option, the list of C{no_proxy} or C{NO_PROXY}.

Two deviations.  curl ignores C{HTTP_PROXY} because a web server sets it from a request's Proxy
field; as in Go, it counts here unless C{REQUEST_METHOD} says that this is such a process.  And
the elements of the list may be separated by blanks alone, as they could in curl up to 8.8: newer
ones read no further, and would then use a proxy where none is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from fastcar_tw.http.target import ip_literal
from fastcar_tw.routes.proxy import Proxy, parse_proxy
from fastcar_tw.tls.names import is_dns_name

#: Bytes of an address with its prefix length in a list; a longer one matches nothing.
MAX_NETWORK = 127

_SEPARATORS = re.compile(r"[ \t,]+")
_NETWORK = re.compile(r"([0-9A-Fa-f:.]+)(?:/([0-9]{1,10}))?")


class Routes:
    """
    The choice of a proxy.
    """

    def __init__(self, proxy: str | None, no_proxy: str | None, environ: Mapping[str, str]) -> None:
        """
        @param proxy: URL of the proxy for all; empty: none; None: what the variables say.
        @param no_proxy: list of hosts to reach directly; None: what the variables say.
        @raise ProxyURLError: a URL is invalid; it tells from which variable.
        """
        if proxy is None:
            self._proxies = {scheme: _from_environ(scheme, environ) for scheme in ("http", "https")}
        else:
            chosen = parse_proxy(proxy, "--proxy") if proxy else None
            self._proxies = {"http": chosen, "https": chosen}
        if no_proxy is None:
            no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        self._direct = DirectHosts(no_proxy)

    def __repr__(self) -> str:
        return f"<Routes {self}>"

    def __str__(self) -> str:
        """
        Which proxy serves which scheme; empty when there is none.
        """
        told = {scheme: proxy for scheme, proxy in self._proxies.items() if proxy is not None}
        return ", ".join(f"{scheme} through {proxy}" for scheme, proxy in told.items())

    def route(self, scheme: str, host: str) -> Proxy | None:
        """
        The proxy for an origin, None when it is reached directly.

        @param host: lower-case name or address, without brackets.
        """
        proxy = self._proxies[scheme]
        return None if proxy is None or host in self._direct else proxy


class DirectHostsError(ValueError):
    """
    A no-proxy list has an element that matches nothing.

    @ivar expected: what would do.
    @ivar reason: what is wrong.
    """

    expected = "names, addresses and networks like 10.0.0.0/8, separated by commas, or *"

    def __init__(self, element: str) -> None:
        super().__init__(f"{element!r}: expected {self.expected}")
        self.reason = f"{element!r} matches nothing"


def check_direct_hosts(text: str) -> None:
    """
    See that each element of a no-proxy list can match a host.

    @raise DirectHostsError: one cannot.
    """
    if text == "*":
        return
    for element in filter(None, _SEPARATORS.split(text)):
        name = element.removesuffix(".").removeprefix(".")
        if _network(element) is None and (ip_literal(name) or not is_dns_name(name)):
            raise DirectHostsError(element)


class DirectHosts:
    """
    The hosts of a no-proxy list, see L{__contains__}.
    """

    def __init__(self, text: str) -> None:
        """
        @param text: names, addresses and networks, separated by commas or blanks; or C{*}.
        """
        elements = [element for element in _SEPARATORS.split(text) if element]
        self._all = text == "*"
        names = (element.lower().removesuffix(".").removeprefix(".") for element in elements)
        self._names = frozenset(name for name in names if name)
        self._networks = [network for network in map(_network, elements) if network]

    def __contains__(self, host: str) -> bool:
        """
        Whether the list names a host: all hosts, if it is an asterisk and nothing else; a name, if
        that or a domain it lies in is listed, with a leading dot or without; an address, if it or
        its network is listed.  One final dot of a name counts for nothing.
        """
        if self._all:
            return True
        address = ip_literal(host)
        if address is not None:
            return any(_lies_in(address, *network) for network in self._networks)
        labels = host.removesuffix(".").split(".")
        return any(".".join(labels[start:]) in self._names for start in range(len(labels)))


def _from_environ(scheme: str, environ: Mapping[str, str]) -> Proxy | None:
    names = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
    if environ.get("REQUEST_METHOD"):
        # https://httpoxy.org
        names = [name for name in names if name != "HTTP_PROXY"]
    for name in names:
        value = environ.get(name)
        if value:
            return parse_proxy(value, name)
    return None


def _network(text: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    """
    An address and how many of its leading bits count; None if the text is something else.
    """
    match = _NETWORK.fullmatch(text) if len(text) <= MAX_NETWORK else None
    address = ip_literal(match[1]) if match is not None else None
    if match is None or address is None:
        return None
    # As in curl, a length of 0 is that of the whole address.
    bits = int(match[2] or 0) or address.max_prefixlen
    return (address, bits) if bits <= address.max_prefixlen else None


def _lies_in(
    address: IPv4Address | IPv6Address, network: IPv4Address | IPv6Address, bits: int
) -> bool:
    return (
        address.version == network.version
        and (int(address) ^ int(network)) >> (address.max_prefixlen - bits) == 0
    )
